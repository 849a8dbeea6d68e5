/*
 * Tests of a lane's queues on a device that is made up here: it checks that nothing overflows, and fails on
 * demand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/verbs_lane.h"

#define NODES 4u
#define WINDOW 40u
#define NEVER UINT64_MAX

/* --- the device ---------------------------------------------------------------------------------------- */

/* A request that the device holds. */
struct held {
	uint64_t id;
	unsigned flags;
	enum ibv_wr_opcode opcode;
	uint64_t payload; /* of an inline write */
};

struct device_queue {
	struct held held[WINDOW]; /* a send queue that is as long as promised */
	unsigned count;
	bool stopped;		    /* gives everything back as flushed */
	enum ibv_wc_status next;    /* how the next request ends */
	unsigned served, calls;	    /* requests since the start; calls of post_send */
	unsigned signalled, fenced; /* requests that asked for it */
	enum ibv_wr_opcode last_opcode;
};

static struct {
	struct ibv_context context;
	struct ibv_cq completions;
	struct ibv_qp pairs[NODES];
	struct device_queue queues[NODES];
	bool asleep;	      /* serves nothing */
	bool broken;	      /* cannot be polled */
	unsigned refuse_from; /* how many requests the next call takes; UINT_MAX: all */
	unsigned completions_given;
} device;

static struct verbs_peer peers[NODES];
static struct verbs_lanes common;
static struct verbs_queue queues[NODES];
static struct verbs_lane lane;

static int device_post_send(struct ibv_qp *pair, struct ibv_send_wr *wr, struct ibv_send_wr **refused)
{
	struct device_queue *queue = &device.queues[pair - device.pairs];
	unsigned total = 0;

	queue->calls++;
	for (unsigned taken = 0; wr; wr = wr->next, taken++) {
		if (taken == device.refuse_from) {
			*refused = wr;
			return ENOMEM;
		}
		assert_true(queue->count < WINDOW); /* the send queue overflows */
		queue->held[queue->count] = (struct held){wr->wr_id, wr->send_flags, wr->opcode, 0};
		if (wr->send_flags & IBV_SEND_INLINE)
			memcpy(&queue->held[queue->count].payload, (void *)(uintptr_t)wr->sg_list->addr,
			       sizeof(uint64_t));
		queue->count++;
		queue->last_opcode = wr->opcode;
		queue->signalled += (wr->send_flags & IBV_SEND_SIGNALED) != 0;
		queue->fenced += (wr->send_flags & IBV_SEND_FENCE) != 0;
	}
	/* Should all fail, each makes a completion. */
	for (unsigned i = 0; i < NODES; i++)
		total += device.queues[i].count;
	assert_true(total <= WINDOW);
	return 0;
}

/* Serves the oldest request. @return whether it makes a completion. */
static bool device_serve(struct device_queue *queue, struct ibv_wc *completion)
{
	struct held oldest = queue->held[0];
	enum ibv_wc_status status = queue->stopped ? IBV_WC_WR_FLUSH_ERR : queue->next;

	memmove(&queue->held[0], &queue->held[1], --queue->count * sizeof queue->held[0]);
	queue->served++;
	if (status != IBV_WC_SUCCESS)
		queue->stopped = true;
	*completion = (struct ibv_wc){.wr_id = oldest.id, .status = status};
	return status != IBV_WC_SUCCESS || (oldest.flags & IBV_SEND_SIGNALED);
}

static int device_poll_cq(struct ibv_cq *cq, int most, struct ibv_wc *completions)
{
	int count = 0;

	assert_ptr_equal(cq, &device.completions);
	if (device.broken)
		return -1;
	if (device.asleep)
		return 0;
	for (unsigned i = 0; i < NODES; i++)
		while (device.queues[i].count && count < most)
			count += device_serve(&device.queues[i], &completions[count]);
	device.completions_given += (unsigned)count;
	return count;
}

/* Takes the place of libibverbs' own. The only change of state that a lane asks for is to stop. */
int ibv_modify_qp(struct ibv_qp *pair, struct ibv_qp_attr *attr, int mask)
{
	assert_int_equal(mask, IBV_QP_STATE);
	assert_int_equal(attr->qp_state, IBV_QPS_ERR);
	device.queues[pair - device.pairs].stopped = true;
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	memset(&device, 0, sizeof device);
	memset(peers, 0, sizeof peers);
	memset(queues, 0, sizeof queues);
	device.context.ops.post_send = device_post_send;
	device.context.ops.poll_cq = device_poll_cq;
	device.completions.context = &device.context;
	device.refuse_from = UINT32_MAX;
	common = (struct verbs_lanes){.timeout_ns = NEVER / 2,
				      .nodes = NODES,
				      .window = WINDOW,
				      .window_bytes = SIZE_MAX,
				      .peers = peers};
	for (unsigned i = 0; i < NODES; i++) {
		device.pairs[i].context = &device.context;
		queues[i] =
		    (struct verbs_queue){.pair = &device.pairs[i], .inline_bytes = 64, .state = QUEUE_READY};
	}
	verbs_lane_init(&lane, &common, 5, queues);
	lane.completions = &device.completions;
	return 0;
}

static int post(uint32_t peer, enum ibv_wr_opcode opcode)
{
	static uint64_t word;
	const struct verbs_request request = {.opcode = opcode, .bytes = sizeof word, .local = &word};

	return verbs_lane_post(&lane, peer, &request);
}

static int post_read(uint32_t peer)
{
	return post(peer, IBV_WR_RDMA_READ);
}

static int post_write(uint32_t peer)
{
	return post(peer, IBV_WR_RDMA_WRITE);
}

static int post_atomic(uint32_t peer)
{
	return post(peer, IBV_WR_ATOMIC_FETCH_AND_ADD);
}

/* --- chains -------------------------------------------------------------------------------------------- */

static void a_chain_takes_one_call_and_one_completion(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VERBS_BATCH; i++)
		assert_int_equal(post_read(1), 0);
	assert_int_equal(device.queues[1].calls, 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].served, VERBS_BATCH);
	assert_int_equal(device.queues[1].calls, 1);
	assert_int_equal(device.completions_given, 1);
}

static void a_chain_over_peers_takes_one_completion_of_each(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(post_write(i % 3), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	for (unsigned peer = 0; peer < 3; peer++) {
		assert_int_equal(device.queues[peer].served, 4);
		assert_int_equal(device.queues[peer].signalled, 1);
	}
	assert_int_equal(device.queues[3].calls, 0);
}

static void complete_with_nothing_posted_does_not_ask_the_device(void **state)
{
	(void)state;
	device.broken = true;
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void thousands_of_posts_do_not_overflow_the_device(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(post_write(i % 7 ? 0 : i % NODES), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);

	unsigned served = 0;

	for (unsigned i = 0; i < NODES; i++)
		served += device.queues[i].served;
	assert_int_equal(served, 10000);
	assert_int_equal(lane.under_way, 0);
}

static void sequence_numbers_may_wrap(void **state)
{
	(void)state;
	queues[2].posted = queues[2].retired = UINT32_MAX - 100;
	queues[2].last_read = queues[2].last_atomic = UINT32_MAX - 100;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[2].served, 1000);
	assert_int_equal(queues[2].retired, 1000 - 101);
}

static void much_data_is_handed_over_before_complete(void **state)
{
	const struct verbs_request large = {.opcode = IBV_WR_RDMA_READ, .bytes = VERBS_BATCH_BYTES};

	(void)state;
	assert_int_equal(verbs_lane_post(&lane, 1, &large), 0);
	assert_int_equal(device.queues[1].calls, 0);
	assert_int_equal(verbs_lane_post(&lane, 1, &large), 0);
	assert_int_equal(device.queues[1].calls, 1);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void more_data_than_the_window_has_is_not_under_way(void **state)
{
	const struct verbs_request large = {.opcode = IBV_WR_RDMA_READ, .bytes = 3 << 20};
	struct verbs_request huge = large;

	(void)state;
	common.window_bytes = 8 << 20;
	assert_int_equal(verbs_lane_post(&lane, 1, &large), 0);
	assert_int_equal(verbs_lane_post(&lane, 1, &large), 0);
	assert_int_equal(device.queues[1].served, 0);
	assert_int_equal(verbs_lane_post(&lane, 2, &large), 0); /* waits for both */
	assert_int_equal(device.queues[1].served, 2);
	huge.bytes = 100 << 20; /* alone it may go */
	assert_int_equal(verbs_lane_post(&lane, 1, &huge), 0);
	assert_int_equal(device.queues[2].served, 1);
	assert_int_equal(verbs_lane_post(&lane, 3, &large), 0);
	assert_int_equal(device.queues[1].served, 3);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[3].served, 1);
}

static void bytes_that_go_inline_are_free_at_once(void **state)
{
	(void)state;
	device.asleep = true;
	for (uint64_t i = 0; i < VERBS_BATCH; i++) {
		const struct verbs_request small = {
		    .opcode = IBV_WR_RDMA_WRITE, .bytes = sizeof i, .local = &i};

		assert_int_equal(verbs_lane_post(&lane, 1, &small), 0);
	}
	assert_int_equal(post_write(1), 0); /* makes the full batch go */
	for (uint64_t i = 0; i < VERBS_BATCH; i++)
		assert_int_equal(device.queues[1].held[i].payload, i);
	device.asleep = false;
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

/* --- order --------------------------------------------------------------------------------------------- */

static void reads_and_writes_then_an_atomic_pass_without_a_fence(void **state)
{
	(void)state;
	post_read(1), post_read(1);
	post_write(2), post_write(2), post_atomic(2), post_atomic(2), post_write(2), post_read(2);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].fenced, 0);
	assert_int_equal(device.queues[2].fenced, 0);
}

static void a_write_after_reads_is_fenced_once(void **state)
{
	(void)state;
	post_read(1), post_read(1), post_write(1), post_write(1), post_atomic(1);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].fenced, 1);
	post_read(1), post_atomic(1);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].fenced, 2);
}

static void a_read_that_is_done_or_of_another_peer_needs_no_fence(void **state)
{
	(void)state;
	post_read(1), post_write(2);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	post_write(1);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].fenced, 0);
	assert_int_equal(device.queues[2].fenced, 0);
}

static void what_follows_an_atomic_on_the_bus_is_fenced(void **state)
{
	(void)state;
	common.bus_atomics = true;
	post_write(1), post_atomic(1), post_write(1), post_write(1);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].fenced, 1);
}

/* --- failure ------------------------------------------------------------------------------------------- */

static void a_lost_peer_fails_its_chain_and_every_later_post(void **state)
{
	(void)state;
	device.queues[1].next = IBV_WC_RETRY_EXC_ERR;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(post_read(1), 0);
	assert_int_equal(verbs_lane_complete(&lane), -EHOSTDOWN);
	assert_int_equal(device.queues[1].count, 0); /* nothing is under way any more */
	assert_int_equal(post_read(1), -EHOSTDOWN);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void a_lost_peer_does_not_touch_the_others(void **state)
{
	(void)state;
	device.queues[1].next = IBV_WC_RETRY_EXC_ERR;
	assert_int_equal(post_read(1), 0);
	assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), -EHOSTDOWN);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[2].served, 101);
}

static void a_peer_lost_to_one_lane_is_lost_to_all(void **state)
{
	(void)state;
	atomic_store(&peers[3].lost, true);
	assert_int_equal(post_write(3), -EHOSTDOWN);
	assert_int_equal(post_write(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void an_error_met_while_making_room_stays_until_complete(void **state)
{
	int error = 0;

	(void)state;
	device.queues[1].next = IBV_WC_RETRY_EXC_ERR;
	for (unsigned i = 0; i < 100 && !error; i++)
		error = post_read(1);
	assert_int_equal(error, -EHOSTDOWN);
	assert_int_equal(post_read(2), -EHOSTDOWN);
	assert_int_equal(verbs_lane_complete(&lane), -EHOSTDOWN);
	assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void a_request_at_fault_is_an_error_of_its_own(void **state)
{
	(void)state;
	device.queues[1].next = IBV_WC_LOC_PROT_ERR;
	assert_int_equal(post_write(1), 0);
	assert_int_equal(post_write(1), 0);
	assert_int_equal(verbs_lane_complete(&lane), -EIO);
	assert_int_equal(post_write(1), -EHOSTDOWN); /* its queue pair is gone all the same */
}

static int open_said(void)
{
	int said = memfd_create("said", 0);

	assert_true(said >= 0 && dup2(said, STDERR_FILENO) >= 0);
	return said;
}

static bool said_once(int said, const char *words)
{
	char text[1024] = "";
	ssize_t length = pread(said, text, sizeof text - 1, 0);
	const char *first = length > 0 ? strstr(text, words) : NULL;

	return first && !strstr(first + 1, words);
}

/* Soft-RoCE does that when its interface refuses a packet. */
static void a_queue_pair_that_its_device_ends_is_told_from_a_peer_that_does_not_answer(void **state)
{
	int saved = dup(STDERR_FILENO), said = open_said();

	(void)state;
	device.queues[1].stopped = true;
	post_write(1), post_atomic(1), post_read(2);
	int error = verbs_lane_complete(&lane);

	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(error, -EHOSTDOWN);
	assert_true(said_once(said, "RDMA to node 1 failed: this node's device has ended the queue pair"));
	assert_false(said_once(said, "see whether its process ended"));
	close(said);
	assert_int_equal(device.queues[1].count, 0);
	assert_int_equal(device.queues[2].served, 1);
	assert_int_equal(post_read(1), -EHOSTDOWN); /* not on this queue pair any more ... */
	assert_false(peers[1].lost);		    /* ... but other lanes may */
}

static void what_a_device_refuses_is_not_waited_for(void **state)
{
	(void)state;
	for (unsigned taken = 0; taken < 5; taken++) {
		set_up(NULL);
		device.refuse_from = taken;
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(post_write(1), 0);
		assert_int_equal(verbs_lane_complete(&lane), -EIO);
		assert_int_equal(device.queues[1].served, taken);
		assert_int_equal(lane.under_way, 0);
	}
}

static void silence_ends_with_the_time_out_and_buffers_that_are_free(void **state)
{
	(void)state;
	common.timeout_ns = 20000000;
	device.asleep = true;
	assert_int_equal(post_read(1), 0);
	assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), -ETIMEDOUT);
	assert_true(device.queues[1].stopped);
	assert_true(device.queues[2].stopped);
	assert_false(device.queues[3].stopped);
	assert_true(atomic_load(&peers[1].lost));
	assert_int_equal(post_read(1), -EHOSTDOWN);

	/* What the device gives back after all is of no interest to the next chain. */
	device.asleep = false;
	assert_int_equal(post_read(3), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void a_completion_queue_that_breaks_ends_the_wait(void **state)
{
	(void)state;
	assert_int_equal(post_read(1), 0);
	device.broken = true;
	assert_int_equal(verbs_lane_complete(&lane), -EIO);
	assert_int_equal(post_read(1), -EIO);
	assert_int_equal(post_read(2), -EIO);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_false(atomic_load(&peers[1].lost)); /* it may live: this node's device has failed */
}

static void a_device_that_says_that_it_failed_ends_the_wait(void **state)
{
	(void)state;
	assert_int_equal(post_read(1), 0);
	device.asleep = true;
	atomic_store(&lane.broken, true);
	assert_int_equal(verbs_lane_complete(&lane), -EIO);
	assert_true(device.queues[1].stopped);
	assert_false(atomic_load(&peers[1].lost));
	assert_int_equal(post_read(1), -EIO);
}

static void what_the_device_was_asked_for_is_counted(void **state)
{
	(void)state;
	post_write(1), post_write(1), post_write(2), post_atomic(2), post_write(2);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(lane.counts.requests, 5);
	assert_int_equal(lane.counts.doorbells, 2);
	assert_int_equal(lane.counts.completions, 2);
}

static void a_chain_that_ends_in_writes_is_flushed_where_cpus_look(void **state)
{
	uint64_t sink;

	(void)state;
	lane.sink = &sink;
	post_write(1), post_write(1);  /* flushed */
	post_write(2), post_atomic(2); /* the atomic does */
	post_atomic(3), post_write(3); /* flushed */
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].served, 3);
	assert_int_equal(device.queues[1].last_opcode, IBV_WR_RDMA_READ);
	assert_int_equal(device.queues[2].served, 2);
	assert_int_equal(device.queues[3].served, 3);
	assert_int_equal(device.completions_given, 3);
	assert_int_equal(verbs_lane_complete(&lane), 0); /* once */
	assert_int_equal(device.queues[1].served, 3);
}

static void a_flush_that_failed_is_not_made_by_later_chains(void **state)
{
	uint64_t sink;

	(void)state;
	lane.sink = &sink;
	post_write(1);
	atomic_store(&peers[1].lost, true); /* another lane has found out */
	assert_int_equal(verbs_lane_complete(&lane), -EHOSTDOWN);
	assert_int_equal(post_write(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0); /* node 2 lives */
	assert_int_equal(device.queues[2].served, 2);
}

/* --- queue pairs that are not made yet ----------------------------------------------------------------- */

/* A connector that answers at once, with what it is told to. */
static struct {
	enum verbs_queue_state answer;
	unsigned asked;
} connector;

static void ask(void *c, unsigned lane_index, uint32_t peer)
{
	assert_ptr_equal(c, &connector);
	assert_int_equal(lane_index, 5);
	assert_int_equal(atomic_load(&queues[peer].state), QUEUE_ASKED);
	connector.asked++;
	queues[peer].pair = &device.pairs[peer];
	atomic_store(&queues[peer].state, connector.answer);
}

static void have_queue_of_peer_1_made(enum verbs_queue_state answer)
{
	connector.answer = answer;
	connector.asked = 0;
	common.ask = ask;
	common.connector = &connector;
	queues[1] = (struct verbs_queue){.state = QUEUE_UNASKED};
}

static void the_first_request_to_a_peer_has_a_queue_pair_made(void **state)
{
	(void)state;
	have_queue_of_peer_1_made(QUEUE_READY);
	assert_int_equal(post_read(1), 0);
	assert_int_equal(post_read(1), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(device.queues[1].served, 2);
	assert_int_equal(connector.asked, 1);
}

static void a_peer_that_refuses_a_queue_pair_is_down(void **state)
{
	(void)state;
	have_queue_of_peer_1_made(QUEUE_REFUSED);
	assert_int_equal(post_read(1), -EHOSTDOWN);
	assert_int_equal(post_read(1), -EHOSTDOWN);
	assert_int_equal(connector.asked, 1);
	assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void a_queue_pair_that_this_node_cannot_make_is_its_own_affair(void **state)
{
	(void)state;
	have_queue_of_peer_1_made(QUEUE_FAILED);
	assert_int_equal(post_read(1), -EIO);
	assert_false(atomic_load(&peers[1].lost));
	assert_int_equal(post_read(2), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
}

static void a_queue_pair_that_is_not_made_ends_the_wait(void **state)
{
	(void)state;
	common.timeout_ns = 1000000;
	have_queue_of_peer_1_made(QUEUE_ASKED);
	assert_int_equal(post_read(1), -ETIMEDOUT);
	/* It may still come. */
	atomic_store(&queues[1].state, QUEUE_READY);
	assert_int_equal(post_read(1), 0);
	assert_int_equal(verbs_lane_complete(&lane), 0);
	assert_int_equal(connector.asked, 1);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_chain_takes_one_call_and_one_completion),
	    TEST(a_chain_over_peers_takes_one_completion_of_each),
	    TEST(complete_with_nothing_posted_does_not_ask_the_device),
	    TEST(thousands_of_posts_do_not_overflow_the_device),
	    TEST(sequence_numbers_may_wrap),
	    TEST(much_data_is_handed_over_before_complete),
	    TEST(more_data_than_the_window_has_is_not_under_way),
	    TEST(bytes_that_go_inline_are_free_at_once),
	    TEST(reads_and_writes_then_an_atomic_pass_without_a_fence),
	    TEST(a_write_after_reads_is_fenced_once),
	    TEST(a_read_that_is_done_or_of_another_peer_needs_no_fence),
	    TEST(what_follows_an_atomic_on_the_bus_is_fenced),
	    TEST(a_lost_peer_fails_its_chain_and_every_later_post),
	    TEST(a_lost_peer_does_not_touch_the_others),
	    TEST(a_peer_lost_to_one_lane_is_lost_to_all),
	    TEST(an_error_met_while_making_room_stays_until_complete),
	    TEST(a_request_at_fault_is_an_error_of_its_own),
	    TEST(a_queue_pair_that_its_device_ends_is_told_from_a_peer_that_does_not_answer),
	    TEST(what_a_device_refuses_is_not_waited_for),
	    TEST(silence_ends_with_the_time_out_and_buffers_that_are_free),
	    TEST(a_completion_queue_that_breaks_ends_the_wait),
	    TEST(a_device_that_says_that_it_failed_ends_the_wait),
	    TEST(what_the_device_was_asked_for_is_counted),
	    TEST(a_chain_that_ends_in_writes_is_flushed_where_cpus_look),
	    TEST(a_flush_that_failed_is_not_made_by_later_chains),
	    TEST(the_first_request_to_a_peer_has_a_queue_pair_made),
	    TEST(a_peer_that_refuses_a_queue_pair_is_down),
	    TEST(a_queue_pair_that_this_node_cannot_make_is_its_own_affair),
	    TEST(a_queue_pair_that_is_not_made_ends_the_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
