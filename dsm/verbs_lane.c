/*
 * The queues of one lane. Hot path: verbs_lane_post() and verbs_lane_complete().
 */
#include "dsm/verbs_lane.h"

#include <errno.h>
#include <string.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/report.h"

/* Completions taken by one poll. */
#define POLL_ENTRIES 16

/* How often a lane polls before it begins to pause and then to sleep between polls. An answer is looked for
 * as often as can be: a pause takes as long as several polls, and half of it is added to what a fault waits.
 */
#define POLLS_BEFORE_BACKOFF 1000u

/* How long a stopped queue pair may take to give its requests back. */
#define FLUSH_NS 1000000000ull

/* How much longer than its time-out a lane waits for the connector. */
#define CONNECTOR_GRACE_NS 1000000000ull

static inline uint64_t request_id(uint32_t peer, uint32_t sequence)
{
	return (uint64_t)peer << 32 | sequence;
}

static inline bool is_after(uint32_t sequence, uint32_t other)
{
	return (int32_t)(sequence - other) > 0;
}

void verbs_lane_init(struct verbs_lane *lane, struct verbs_lanes *common, unsigned index,
		     struct verbs_queue *queues)
{
	memset(lane, 0, sizeof *lane);
	lane->common = common;
	lane->index = index;
	lane->queues = queues;
	for (unsigned i = 0; i < VERBS_BATCH; i++) {
		lane->requests[i].sg_list = &lane->buffers[i];
		lane->requests[i].num_sge = 1;
	}
}

/* --- failure ------------------------------------------------------------------------------------------- */

static const char *advice(int error)
{
	return error == -EIO ? "the request or the device on this node is at fault"
			     : "see whether its process ended, and whether the network between the two is up";
}

/* Says once per peer what became of it, and what to do. */
static void report_peer(struct verbs_lane *lane, uint32_t peer, const char *what, uint32_t code,
			const char *to_do)
{
	if (atomic_exchange_explicit(&lane->common->peers[peer].reported, true, memory_order_relaxed))
		return;

	const struct report_part parts[] = {
	    REPORT_TEXT("RDMA to node "), REPORT_NUMBER(peer), REPORT_TEXT(" failed: "), REPORT_TEXT(what),
	    REPORT_TEXT(" (code "),	  REPORT_HEX(code),    REPORT_TEXT("); "),	 REPORT_TEXT(to_do),
	};

	report_signal_safe(parts, sizeof parts / sizeof *parts);
}

static void note_error(struct verbs_lane *lane, int error)
{
	if (!lane->error)
		lane->error = error;
}

/* Ends the use of a queue pair, and makes the device give its requests back. A system call, but the fabric is
 * ill. */
static void queue_stop(struct verbs_queue *queue)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

	queue->failed = true;
	ibv_modify_qp(queue->pair, &attr, IBV_QP_STATE);
}

/*
 * Requests came back flushed and none failed before them: the device has ended the queue pair by itself. An
 * adapter does when it is reset. Soft-RoCE (Linux 6.12) does whenever its own network interface refuses a
 * packet: while it is down, has no route, or has its queue exchanged. The peer may well live, but it counts
 * as lost: which of the requests were carried out is not known, and an atomic must not be carried out twice,
 * nor can what it gave be had again. So the queue pair is not made anew.
 */
static void report_ended(struct verbs_lane *lane, uint32_t peer)
{
	report_peer(
	    lane, peer,
	    "this node's device has ended the queue pair, and whether requests under way were carried "
	    "out is not known",
	    IBV_WC_WR_FLUSH_ERR,
	    "soft-RoCE does so when its network interface is down, has no route or refuses a packet: "
	    "leave it as it is while jobs run; for an adapter see the kernel's log");
}

static void queue_failed(struct verbs_lane *lane, uint32_t peer, const struct ibv_wc *completion)
{
	int error = verbs_status_error(completion->status);

	bool known = lane->queues[peer].failed;

	lane->queues[peer].failed = true;
	note_error(lane, error);
	if (completion->status == IBV_WC_WR_FLUSH_ERR) {
		if (!known) /* else an earlier request failed, or the queue was stopped: said already */
			report_ended(lane, peer);
		return;
	}
	if (error == -EHOSTDOWN)
		atomic_store_explicit(&lane->common->peers[peer].lost, true, memory_order_relaxed);
	report_peer(lane, peer, ibv_wc_status_str(completion->status), completion->vendor_err, advice(error));
}

/* --- to the device ------------------------------------------------------------------------------------- */

/* The device refused @refused and what follows it in the queue's chain. Never seen on a healthy device. */
static void chain_refused(struct verbs_lane *lane, uint32_t peer, const struct ibv_send_wr *refused,
			  int error)
{
	struct verbs_queue *queue = &lane->queues[peer];
	unsigned taken = 0;

	for (const struct ibv_send_wr *r = queue->first; r && r != refused; r = r->next)
		taken++;
	queue->posted -= queue->batched - taken;
	lane->under_way += taken;
	queue_stop(queue); /* what was taken asks for no completion; this makes it give one each */
	note_error(lane, -EIO);
	report_peer(lane, peer, "the device refused a request", (uint32_t)error, advice(-EIO));
}

/*
 * The provider may make system calls here (soft-RoCE's writes to the device), and write() is a cancellation
 * point: a thread that another one cancelled would end with this lane, and a page's lock, in its hands. Only
 * a variable of this thread is changed: also inside a signal handler.
 */
static int post_uncancelled(struct ibv_qp *pair, struct ibv_send_wr *first, struct ibv_send_wr **refused)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	int error = ibv_post_send(pair, first, refused);
	pthread_setcancelstate(state, &state);
	return error;
}

/* Hands a queue's part of the batch to the device. */
static void queue_hand_over(struct verbs_lane *lane, uint32_t peer)
{
	struct verbs_queue *queue = &lane->queues[peer];
	struct ibv_send_wr *refused = queue->first;

	queue->last->next = NULL;
	queue->last->send_flags |= IBV_SEND_SIGNALED;
	if (queue->failed) { /* since they were taken */
		queue->posted -= queue->batched;
		note_error(lane, -EHOSTDOWN);
	} else {
		/* The device sees what the CPU wrote to the buffers: the provider's write barrier pairs with
		 * the device's reading of the request. */
		int error = post_uncancelled(queue->pair, queue->first, &refused);

		lane->counts.requests += queue->batched;
		lane->counts.doorbells++;

		if (error)
			chain_refused(lane, peer, refused, error);
		else
			lane->under_way += queue->batched;
	}
	queue->batched = 0;
	queue->first = queue->last = NULL;
}

static void lane_hand_over(struct verbs_lane *lane)
{
	for (unsigned i = 0; i < lane->touched_count; i++)
		queue_hand_over(lane, lane->touched[i]);
	lane->touched_count = 0;
	lane->batched = 0;
	lane->batched_bytes = 0;
}

/* --- from the device ----------------------------------------------------------------------------------- */

/* Queue pairs complete in order: request @sequence is done, and so are all before it. @return whether it was
 * under way: a queue that was stopped may give back what nobody waits for any more. */
static bool queue_retire(struct verbs_lane *lane, struct verbs_queue *queue, uint32_t sequence)
{
	uint32_t done = sequence - queue->retired;

	if (done == 0 || done > queue->posted - queue->batched - queue->retired)
		return false;
	queue->retired = sequence;
	lane->under_way -= done;
	return true;
}

/* Takes what completed. @return how many completions; 0: none. */
static int lane_poll(struct verbs_lane *lane)
{
	struct ibv_wc completions[POLL_ENTRIES];
	/* What the device wrote to the buffers is seen after this: the provider's read barrier pairs with the
	 * device's writing of the completion after the data. */
	int count = ibv_poll_cq(lane->completions, POLL_ENTRIES, completions);

	lane->counts.completions += count > 0 ? (unsigned)count : 0;
	for (int i = 0; i < count; i++) {
		uint32_t peer = (uint32_t)(completions[i].wr_id >> 32);

		if (queue_retire(lane, &lane->queues[peer], (uint32_t)completions[i].wr_id) &&
		    completions[i].status != IBV_WC_SUCCESS)
			queue_failed(lane, peer, &completions[i]);
	}
	return count;
}

/* Nothing came for too long: stops the queue pairs that are waited for, so that nothing is written later into
 * buffers that are used for something else by then. */
static void lane_give_up(struct verbs_lane *lane, int error, const char *what)
{
	uint64_t end_ns = clock_ns() + FLUSH_NS;
	unsigned turns = 0;

	note_error(lane, error);
	for (uint32_t peer = 0; peer < lane->common->nodes; peer++) {
		struct verbs_queue *queue = &lane->queues[peer];

		if (queue->retired == queue->posted - queue->batched)
			continue;
		if (error == -ETIMEDOUT) /* else it is this node's device that failed */
			atomic_store_explicit(&lane->common->peers[peer].lost, true, memory_order_relaxed);
		report_peer(lane, peer, what, 0, advice(error));
		queue_stop(queue);
	}
	while (lane->under_way && clock_ns() < end_ns)
		if (lane_poll(lane) <= 0)
			backoff(&turns);
	for (uint32_t peer = 0; peer < lane->common->nodes; peer++) {
		struct verbs_queue *queue = &lane->queues[peer];

		queue->retired = queue->posted - queue->batched;
	}
	lane->under_way = 0;
}

/*
 * Waits until at most @allowed requests are with the device. Errors go to lane->error. On a healthy fabric
 * the answer is there while this still spins, and neither the clock nor the kernel is asked.
 */
static void lane_wait(struct verbs_lane *lane, unsigned allowed)
{
	unsigned polls = 0, turns = 0;
	uint64_t end_ns = 0;

	while (lane->under_way > allowed) {
		int count = lane_poll(lane);

		if (count > 0) {
			polls = turns = 0;
			end_ns = 0;
		} else if (count < 0) {
			atomic_store_explicit(&lane->broken, true, memory_order_relaxed);
			lane_give_up(lane, -EIO, "the completion queue is broken");
		} else if (polls++ < POLLS_BEFORE_BACKOFF || !backoff(&turns)) {
			continue;
		} else if (atomic_load_explicit(&lane->broken, memory_order_relaxed)) {
			lane_give_up(lane, -EIO, "the completion queue overran or its device failed");
		} else if (end_ns == 0) {
			end_ns = clock_ns() + lane->common->timeout_ns;
		} else if (clock_ns() >= end_ns) {
			lane_give_up(lane, -ETIMEDOUT, "no answer within MINORCA_TIMEOUT");
		}
	}
}

/* --- operations ---------------------------------------------------------------------------------------- */

/* Room in the batch for one more request, and in the window for the batch with it. */
static void lane_make_room(struct verbs_lane *lane, size_t bytes)
{
	unsigned window = lane->common->window;

	/* A few words more do not matter, and go along. */
	if (lane->posted_bytes && bytes > VERBS_BATCH_BYTES &&
	    lane->posted_bytes + bytes > lane->common->window_bytes) {
		lane_hand_over(lane);
		lane_wait(lane, 0);
		lane->posted_bytes = 0;
	}

	if (lane->batched == VERBS_BATCH || lane->batched_bytes >= VERBS_BATCH_BYTES)
		lane_hand_over(lane);
	if (lane->under_way + lane->batched < window)
		return;
	lane_hand_over(lane);
	lane_wait(lane, window / 2);
}

/* Notes what a later request may have to be fenced from. @return whether this one is to be fenced. */
static bool queue_fence(struct verbs_queue *queue, enum ibv_wr_opcode opcode, bool bus_atomics)
{
	bool reads = is_after(queue->last_read, queue->retired);
	bool atomics = is_after(queue->last_atomic, queue->retired);
	bool fence = verbs_needs_fence(opcode, reads, atomics, bus_atomics);

	if (fence)
		queue->last_read = queue->last_atomic = queue->retired;
	if (opcode == IBV_WR_RDMA_READ)
		queue->last_read = queue->posted;
	else if (opcode != IBV_WR_RDMA_WRITE)
		queue->last_atomic = queue->posted;
	return fence;
}

static void fill(struct ibv_send_wr *wr, const struct verbs_request *request, uint32_t peer,
		 uint32_t sequence, bool fence)
{
	wr->wr_id = request_id(peer, sequence);
	wr->opcode = request->opcode;
	wr->send_flags = fence ? IBV_SEND_FENCE : 0;
	wr->sg_list->addr = (uintptr_t)request->local;
	wr->sg_list->length = request->bytes;
	wr->sg_list->lkey = request->local_key;
	if (request->opcode == IBV_WR_RDMA_READ || request->opcode == IBV_WR_RDMA_WRITE) {
		wr->wr.rdma.remote_addr = request->remote_address;
		wr->wr.rdma.rkey = request->remote_key;
	} else {
		wr->wr.atomic.remote_addr = request->remote_address;
		wr->wr.atomic.rkey = request->remote_key;
		wr->wr.atomic.compare_add = request->add_or_expected;
		wr->wr.atomic.swap = request->desired;
	}
}

/* The batch may reach the device when the caller's bytes are no more, so inline bytes move into the lane. */
static void take_inline(struct verbs_lane *lane, struct ibv_send_wr *wr, const struct verbs_request *request)
{
	unsigned char *copy = lane->inlined[wr - lane->requests];

	memcpy(copy, request->local, request->bytes);
	wr->sg_list->addr = (uintptr_t)copy;
	wr->send_flags |= IBV_SEND_INLINE;
}

/* The first request to a peer: has a queue pair made, and waits for it. */
static int queue_make(struct verbs_lane *lane, struct verbs_queue *queue, uint32_t peer)
{
	/* The connector has a bound of its own, and more to say of it. */
	uint64_t end_ns = clock_ns() + lane->common->timeout_ns + CONNECTOR_GRACE_NS;
	unsigned turns = 0, state = atomic_load_explicit(&queue->state, memory_order_acquire);

	if (state == QUEUE_UNASKED) {
		state = QUEUE_ASKED;
		lane->counts.queue_pairs++;
		atomic_store_explicit(&queue->state, state, memory_order_relaxed);
		lane->common->ask(lane->common->connector, lane->index, peer);
	}
	/* Acquire: pairs with the connector's release, whose queue pair we use then. */
	while (state == QUEUE_ASKED) {
		if (backoff(&turns) && clock_ns() >= end_ns) {
			report_peer(lane, peer, "this node's connector has not made a queue pair", 0,
				    advice(-ETIMEDOUT));
			return -ETIMEDOUT;
		}
		state = atomic_load_explicit(&queue->state, memory_order_acquire);
	}
	if (state == QUEUE_READY)
		return 0;
	return state == QUEUE_REFUSED ? -EHOSTDOWN : -EIO; /* the connector has said why */
}

/* Whether a request to the peer may be posted. */
static int queue_check(struct verbs_lane *lane, struct verbs_queue *queue, uint32_t peer)
{
	/* Of this node's own device: its peers are not lost for that. */
	if (atomic_load_explicit(&lane->broken, memory_order_relaxed))
		return -EIO;
	if (queue->failed || atomic_load_explicit(&lane->common->peers[peer].lost, memory_order_relaxed))
		return -EHOSTDOWN;
	if (atomic_load_explicit(&queue->state, memory_order_acquire) == QUEUE_READY)
		return 0;
	return queue_make(lane, queue, peer);
}

/* A read or an atomic pushes the writes before it into memory; see verbs_plan.c. */
static void note_writes(struct verbs_lane *lane, struct verbs_queue *queue,
			const struct verbs_request *request)
{
	queue->unflushed = request->opcode == IBV_WR_RDMA_WRITE;
	queue->flush_address = request->remote_address;
	queue->flush_key = request->remote_key;
	lane->unflushed |= queue->unflushed;
}

static void flush_writes(struct verbs_lane *lane)
{
	lane->unflushed = false;
	for (uint32_t peer = 0; peer < lane->common->nodes; peer++) {
		struct verbs_queue *queue = &lane->queues[peer];
		const struct verbs_request read = {
		    .opcode = IBV_WR_RDMA_READ,
		    .bytes = 1,
		    .remote_address = queue->flush_address,
		    .remote_key = queue->flush_key,
		    .local = lane->sink,
		    .local_key = lane->sink_key,
		};

		if (!queue->unflushed)
			continue;
		queue->unflushed = false; /* also if it fails: later chains have no part in it */
		note_error(lane, verbs_lane_post(lane, peer, &read));
	}
}

int verbs_lane_post(struct verbs_lane *lane, uint32_t peer, const struct verbs_request *request)
{
	struct verbs_queue *queue = &lane->queues[peer];

	int error = queue_check(lane, queue, peer);

	if (error)
		return error;
	lane_make_room(lane, request->bytes);
	if (lane->error)
		return lane->error;

	struct ibv_send_wr *wr = &lane->requests[lane->batched++];

	queue->posted++;
	fill(wr, request, peer, queue->posted,
	     queue_fence(queue, request->opcode, lane->common->bus_atomics));
	if (request->opcode == IBV_WR_RDMA_WRITE && request->bytes <= queue->inline_bytes)
		take_inline(lane, wr, request);
	if (lane->sink)
		note_writes(lane, queue, request);
	lane->batched_bytes += request->bytes;
	lane->posted_bytes += request->bytes;
	if (queue->batched++ == 0) {
		lane->touched[lane->touched_count++] = peer;
		queue->first = wr;
	} else {
		queue->last->next = wr;
	}
	queue->last = wr;
	return 0;
}

int verbs_lane_complete(struct verbs_lane *lane)
{
	int error;

	if (lane->unflushed)
		flush_writes(lane);
	if (lane->batched)
		lane_hand_over(lane);
	if (lane->under_way)
		lane_wait(lane, 0);
	lane->posted_bytes = 0;
	error = lane->error;
	lane->error = 0;
	return error;
}
