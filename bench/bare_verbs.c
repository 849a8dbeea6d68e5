/*
 * Bare queue pairs. See bare_verbs.h. The path of a request is bare_post() and bare_wait(); the rest is
 * set-up.
 */
#include "bench/bare_verbs.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/rdma_device.h"
#include "bench/timer.h"
#include "dsm/verbs_device.h"

/* As perftest has them: an answer that is missing for 67 ms is asked for again, 7 times. */
#define ACK_TIMEOUT 14
#define RETRIES 7
#define HOP_LIMIT 64

/*
 * A poll costs next to nothing, and most answers come within so many. Where a device is made of the CPU
 * and that CPU is the only one, it would never come to its turn without the yielding.
 */
#define POLLS_BEFORE_YIELD 500u
#define WAIT_MOST_NS UINT64_C(60000000000)

/* One end of a queue pair, as the other is told of it. */
struct bare_end {
	struct verbs_address address;
	uint32_t queue_pair;
};

struct bare_key {
	uint64_t address;
	uint32_t key;
};

struct lane {
	struct ibv_cq *completions;
	struct ibv_qp **pairs; /* by peer; NULL: not of the star */
};

struct bare {
	const struct job *job;
	struct verbs_device device;
	struct ibv_pd *domain;
	struct lane *lanes;
	unsigned int lane_count;
	char description[128];
};

/* --- requests ------------------------------------------------------------------------------------------ */

static void fill(struct ibv_send_wr *wr, struct ibv_sge *sge, const struct bare_memory *memory, int peer,
		 const struct bare_request *request)
{
	const struct bare_key *key = &memory->keys[peer];
	bool is_inline = request->opcode == IBV_WR_RDMA_WRITE && request->bytes <= BARE_INLINE_BYTES;

	*sge = (struct ibv_sge){(uintptr_t)request->local, (uint32_t)request->bytes, memory->region->lkey};
	*wr = (struct ibv_send_wr){.sg_list = sge, .num_sge = 1, .opcode = request->opcode};
	wr->send_flags = is_inline ? IBV_SEND_INLINE : 0;
	if (request->opcode == IBV_WR_RDMA_READ || request->opcode == IBV_WR_RDMA_WRITE) {
		wr->wr.rdma.remote_addr = key->address + request->offset;
		wr->wr.rdma.rkey = key->key;
	} else {
		wr->wr.atomic.remote_addr = key->address + request->offset;
		wr->wr.atomic.rkey = key->key;
		wr->wr.atomic.compare_add = request->add_or_expected;
		wr->wr.atomic.swap = request->desired;
	}
}

int bare_post(struct bare *bare, unsigned int lane, int peer, const struct bare_memory *memory,
	      const struct bare_request *requests, unsigned int count)
{
	struct ibv_send_wr wrs[BARE_CHAIN_MOST], *refused;
	struct ibv_sge sges[BARE_CHAIN_MOST];

	if (count == 0 || count > BARE_CHAIN_MOST)
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		fill(&wrs[i], &sges[i], memory, peer, &requests[i]);
		wrs[i].next = &wrs[i + 1];
	}
	wrs[count - 1].next = NULL;
	wrs[count - 1].send_flags |= IBV_SEND_SIGNALED;
	return -ibv_post_send(bare->lanes[lane].pairs[peer], wrs, &refused);
}

int bare_wait(struct bare *bare, unsigned int lane)
{
	struct ibv_wc completion;
	uint64_t began_ns = 0;

	for (unsigned int polls = 1;; polls++) {
		int count = ibv_poll_cq(bare->lanes[lane].completions, 1, &completion);

		if (count)
			return count > 0 && completion.status == IBV_WC_SUCCESS ? 0 : -EIO;
		if (polls < POLLS_BEFORE_YIELD)
			continue;
		began_ns = began_ns ? began_ns : timer_now_ns();
		if (timer_now_ns() - began_ns > WAIT_MOST_NS)
			return -ETIMEDOUT;
		sched_yield();
	}
}

/* --- queue pairs --------------------------------------------------------------------------------------- */

static _Noreturn void fail(const char *what, int error)
{
	job_fail("bare RDMA: cannot %s: %s", what, strerror(error));
}

static struct ibv_qp *make_pair(struct bare *bare, struct ibv_cq *completions)
{
	struct ibv_qp_init_attr attr = {
	    .send_cq = completions,
	    .recv_cq = completions,
	    .cap = {.max_send_wr = BARE_DEPTH,
		    .max_recv_wr = 1,
		    .max_send_sge = 1,
		    .max_recv_sge = 1,
		    .max_inline_data = BARE_INLINE_BYTES},
	    .qp_type = IBV_QPT_RC,
	};
	struct ibv_qp_attr state = {
	    .qp_state = IBV_QPS_INIT,
	    .port_num = (uint8_t)bare->device.port,
	    .qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC,
	};
	struct ibv_qp *pair = ibv_create_qp(bare->domain, &attr);

	if (!pair)
		fail("make a queue pair", errno);
	int error =
	    ibv_modify_qp(pair, &state, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	if (error)
		fail("initialise a queue pair", error);
	return pair;
}

static uint8_t lesser(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

/* Packets are numbered from 0 on both sides. */
static void connect_pair(struct bare *bare, struct ibv_qp *pair, const struct bare_end *peer)
{
	const struct verbs_address *own = &bare->device.address;
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_RTR,
	    .path_mtu = (enum ibv_mtu)lesser(own->mtu, peer->address.mtu),
	    .dest_qp_num = peer->queue_pair,
	    .max_dest_rd_atomic = lesser(own->reads, peer->address.reads),
	    .max_rd_atomic = lesser(own->reads, peer->address.reads),
	    .min_rnr_timer = 5,
	    .timeout = ACK_TIMEOUT,
	    .retry_cnt = RETRIES,
	    .rnr_retry = RETRIES,
	    .ah_attr = {.dlid = peer->address.lid,
			.port_num = (uint8_t)bare->device.port,
			.is_global = own->global || peer->address.global,
			.grh = {.sgid_index = (uint8_t)bare->device.gid_index, .hop_limit = HOP_LIMIT}},
	};

	memcpy(attr.ah_attr.grh.dgid.raw, peer->address.gid, sizeof attr.ah_attr.grh.dgid.raw);
	int error = ibv_modify_qp(pair, &attr,
				  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
	if (error)
		fail("connect a queue pair", error);
	attr.qp_state = IBV_QPS_RTS;
	error = ibv_modify_qp(pair, &attr,
			      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
	if (error)
		fail("connect a queue pair", error);
}

static bool is_of_star(const struct bare *bare, int peer)
{
	return bare->job->node == 0 || peer == 0;
}

static void open_lane(struct bare *bare, struct lane *lane)
{
	size_t nodes = (size_t)bare->job->nodes;

	lane->pairs = calloc(nodes, sizeof(struct ibv_qp *));
	if (!lane->pairs)
		job_fail("out of memory");
	lane->completions = ibv_create_cq(bare->device.context, BARE_DEPTH, NULL, NULL, 0);
	if (!lane->completions)
		fail("make a completion queue", errno);
	for (int peer = 0; peer < bare->job->nodes; peer++)
		if (is_of_star(bare, peer))
			lane->pairs[peer] = make_pair(bare, lane->completions);
}

/* Each node in turn tells all of its ends, by peer; and takes, of those of others, the one that is for it. */
static void connect_lane(struct bare *bare, const struct lane *lane)
{
	size_t nodes = (size_t)bare->job->nodes;
	struct bare_end *ends = calloc(nodes, sizeof *ends);

	if (!ends)
		job_fail("out of memory");
	for (int from = 0; from < bare->job->nodes; from++) {
		for (size_t peer = 0; peer < nodes && from == bare->job->node; peer++)
			ends[peer] = (struct bare_end){bare->device.address,
						       lane->pairs[peer] ? lane->pairs[peer]->qp_num : 0};
		job_share_from(from, ends, nodes * sizeof *ends);
		if (lane->pairs[from])
			connect_pair(bare, lane->pairs[from], &ends[bare->job->node]);
	}
	free(ends);
}

static void open_device(struct bare *bare)
{
	int error = rdma_device_open(bare->job, &bare->device);

	if (error)
		fail("open an RDMA device", -error);
	snprintf(bare->description, sizeof bare->description, "%s, port %d, GID %d, MTU %d",
		 bare->device.name, bare->device.port, bare->device.gid_index,
		 128 << bare->device.address.mtu);
}

void bare_open(const struct job *job, unsigned int lanes, struct bare **out)
{
	struct bare *bare = calloc(1, sizeof *bare);

	if (bare)
		bare->lanes = calloc(lanes, sizeof *bare->lanes);
	if (!bare || !bare->lanes)
		job_fail("out of memory");
	bare->job = job;
	bare->lane_count = lanes;
	open_device(bare);
	bare->domain = ibv_alloc_pd(bare->device.context);
	if (!bare->domain)
		fail("make a protection domain", errno);
	for (unsigned int i = 0; i < lanes; i++)
		open_lane(bare, &bare->lanes[i]);
	for (unsigned int i = 0; i < lanes; i++)
		connect_lane(bare, &bare->lanes[i]);
	job_meet(); /* nobody sends to one who is not connected yet */
	*out = bare;
}

void bare_close(struct bare *bare)
{
	if (!bare)
		return;
	for (unsigned int i = 0; i < bare->lane_count; i++) {
		for (int peer = 0; peer < bare->job->nodes; peer++)
			if (bare->lanes[i].pairs[peer])
				ibv_destroy_qp(bare->lanes[i].pairs[peer]);
		ibv_destroy_cq(bare->lanes[i].completions);
		free(bare->lanes[i].pairs);
	}
	ibv_dealloc_pd(bare->domain);
	verbs_device_close(&bare->device);
	free(bare->lanes);
	free(bare);
}

unsigned int bare_lanes(const struct bare *bare)
{
	return bare->lane_count;
}

const char *bare_describe(const struct bare *bare)
{
	return bare->description;
}

unsigned int bare_reads(const struct bare *bare)
{
	return bare->device.address.reads;
}

/* --- memory -------------------------------------------------------------------------------------------- */

void bare_expose(struct bare *bare, void *base, size_t bytes, struct bare_memory *out)
{
	int nodes = bare->job->nodes;

	out->keys = calloc((size_t)nodes, sizeof *out->keys);
	if (!out->keys)
		job_fail("out of memory");
	out->region = ibv_reg_mr(bare->domain, base, bytes,
				 IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE |
				     IBV_ACCESS_REMOTE_ATOMIC);
	if (!out->region)
		job_fail("bare RDMA: cannot register %zu bytes: %s; `ulimit -l unlimited` lifts the limit of "
			 "locked memory",
			 bytes, strerror(errno));
	out->keys[bare->job->node] = (struct bare_key){(uintptr_t)base, out->region->rkey};
	for (int from = 0; from < nodes; from++)
		job_share_from(from, &out->keys[from], sizeof *out->keys);
}

void bare_conceal(struct bare_memory *memory)
{
	if (memory->region)
		ibv_dereg_mr(memory->region);
	free(memory->keys);
	*memory = (struct bare_memory){0};
}
