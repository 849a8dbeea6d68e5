/*
 * Transport: RDMA by libibverbs.
 *
 * One device and port per node (verbs_device.c). Per lane a completion queue, per lane and peer a reliable
 * queue pair (verbs_connection.c), also to this node itself: atomics on own words must go through the device,
 * as those of peers do. A lane's requests are collected, handed over and waited for in verbs_lane.c; how
 * their order is kept is argued in verbs_plan.c. What peers tell each other is in verbs_wire.c, registration
 * in verbs_memory.c.
 *
 * After a post that failed, what was posted before it is still under way: complete() waits for that too. A
 * queue pair that failed stays failed, and a peer that a device has given up on is lost to all lanes.
 */
#include "dsm/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <infiniband/verbs.h>

#include "dsm/lane.h"
#include "dsm/report.h"
#include "dsm/verbs_connection.h"
#include "dsm/verbs_device.h"
#include "dsm/verbs_lane.h"
#include "dsm/verbs_memory.h"
#include "dsm/verbs_plan.h"
#include "dsm/verbs_wire.h"

#define PACKET_NUMBER_MASK 0xffffffu

/* struct transport, as this file knows it. Immutable once opened, but for what is noted. */
struct verbs {
	struct transport_config config;
	struct verbs_device device;
	struct verbs_lanes common;
	struct ibv_pd *domain;
	struct ibv_mr *scratch;
	struct verbs_lane *lanes;	  /* config.lanes; each owned by who holds the lane */
	struct verbs_endpoint *endpoints; /* config.lanes; set-up thread */
	struct verbs_queue *queues;	  /* lanes x nodes, a lane's together; see struct verbs_queue */
	uint32_t *packets;		  /* lanes x nodes: our first packet's number; set-up thread */
	/* Segments x nodes, a segment's together. An entry is written by the set-up thread, and read by lanes
	 * only between attach() and detach() of its segment, which the caller orders. */
	struct verbs_segment *remote;
	struct verbs_registered own[SEGMENTS_MAX]; /* set-up thread writes; see verbs_memory.c */
};

static struct verbs *verbs_of(struct transport *transport)
{
	return (struct verbs *)transport;
}

static struct verbs_queue *queue_of(struct verbs *v, unsigned lane, int peer)
{
	return &v->queues[lane * (size_t)v->config.nodes + (size_t)peer];
}

static uint32_t *packet_of(struct verbs *v, unsigned lane, int peer)
{
	return &v->packets[lane * (size_t)v->config.nodes + (size_t)peer];
}

static struct verbs_segment *remote_of(struct verbs *v, unsigned segment, int peer)
{
	return &v->remote[segment * (size_t)v->config.nodes + (size_t)peer];
}

static bool is_node(const struct verbs *v, int peer)
{
	return peer >= 0 && peer < v->config.nodes;
}

/* --- opening and closing ------------------------------------------------------------------------------- */

static int allocate_tables(struct verbs *v)
{
	size_t nodes = (size_t)v->config.nodes, lanes = v->config.lanes;

	v->common.peers = calloc(nodes, sizeof *v->common.peers);
	v->lanes = aligned_alloc(_Alignof(struct verbs_lane), lanes * sizeof *v->lanes);
	v->endpoints = calloc(lanes, sizeof *v->endpoints);
	v->queues = calloc(lanes * nodes, sizeof *v->queues);
	v->packets = calloc(lanes * nodes, sizeof *v->packets);
	v->remote = calloc(SEGMENTS_MAX * nodes, sizeof *v->remote);
	if (v->common.peers && v->lanes && v->endpoints && v->queues && v->packets && v->remote)
		return 0;
	report("no memory for the queues of %zu lanes to %zu nodes", lanes, nodes);
	return -ENOMEM;
}

static int open_lanes(struct verbs *v)
{
	for (unsigned lane = 0; lane < v->config.lanes; lane++) {
		int error = verbs_endpoint_open(&v->device, v->domain, &v->endpoints[lane]);

		if (error)
			return error;
		verbs_lane_init(&v->lanes[lane], &v->common, v->endpoints[lane].completions,
				queue_of(v, lane, 0));
	}
	return 0;
}

static int register_scratch(struct verbs *v)
{
	static const int access = IBV_ACCESS_LOCAL_WRITE;

	return verbs_register(v->domain, "the lanes' scratch buffers", v->config.scratch,
			      v->config.lanes * v->config.scratch_bytes, &access, 1, &v->scratch);
}

static void close_transport(struct transport *transport)
{
	struct verbs *v = verbs_of(transport);

	for (size_t i = 0; v->queues && i < v->config.lanes * (size_t)v->config.nodes; i++)
		if (v->queues[i].pair)
			ibv_destroy_qp(v->queues[i].pair);
	for (unsigned lane = 0; v->endpoints && lane < v->config.lanes; lane++)
		verbs_endpoint_close(&v->endpoints[lane], v->domain);
	for (unsigned id = 0; id < SEGMENTS_MAX; id++)
		verbs_registered_clear(&v->own[id]);
	if (v->scratch)
		ibv_dereg_mr(v->scratch);
	if (v->domain)
		ibv_dealloc_pd(v->domain);
	verbs_device_close(&v->device);
	free(v->remote);
	free(v->packets);
	free(v->queues);
	free(v->endpoints);
	free(v->lanes);
	free(v->common.peers);
	free(v);
}

static int open_transport(const struct transport_config *config, struct transport **out,
			  struct transport_address *address)
{
	struct verbs *v;
	int error;

	if (config->lanes == 0 || config->nodes <= 0 || config->node < 0 || config->node >= config->nodes)
		return -EINVAL;
	/*
	 * Before any other call of libibverbs. Since Linux 5.12, which minor faults need anyway, fork()
	 * copies pinned pages for the child and this only says so. It fails if somebody registered memory
	 * before us on an older kernel: then a fork() may take pages away from the device, and regions are
	 * not inherited all the same.
	 */
	if (ibv_fork_init())
		report("libibverbs cannot be prepared for fork() (%s); do not call fork() or system()",
		       strerror(errno));

	v = calloc(1, sizeof *v);
	if (!v) {
		report("no memory for the verbs transport");
		return -ENOMEM;
	}
	v->config = *config;
	error = allocate_tables(v);
	if (!error)
		error = verbs_device_open(config, &v->device);
	if (error)
		goto close;
	v->common.timeout_ns = config->timeout_ns;
	v->common.nodes = (unsigned)config->nodes;
	v->common.window = v->device.window;
	v->common.bus_atomics = v->device.bus_atomics;

	v->domain = ibv_alloc_pd(v->device.context);
	if (!v->domain) {
		error = -errno;
		report("cannot make a protection domain on RDMA device %s: %s", v->device.name,
		       strerror(-error));
		goto close;
	}
	error = register_scratch(v);
	if (!error)
		error = open_lanes(v);
	if (error)
		goto close;
	verbs_encode_address(&v->device.address, address);
	*out = (struct transport *)v;
	return 0;
close:
	close_transport((struct transport *)v);
	return error;
}

/* --- connecting ---------------------------------------------------------------------------------------- */

static size_t connection_bytes(struct transport *transport)
{
	return verbs_connection_bytes(verbs_of(transport)->config.lanes);
}

/* A start that packets of an earlier connection with the same queue pair number do not match. */
static uint32_t random_packet_number(void)
{
	uint32_t number;

	if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number) {
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		number = (uint32_t)t.tv_nsec;
	}
	return number & PACKET_NUMBER_MASK;
}

static int connection_fill(struct transport *transport, int peer, void *data)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_end *ends;
	int error = 0;

	if (!is_node(v, peer))
		return -EINVAL;
	ends = calloc(v->config.lanes, sizeof *ends);
	if (!ends) {
		report("no memory to connect to node %d", peer);
		return -ENOMEM;
	}
	for (unsigned lane = 0; lane < v->config.lanes && !error; lane++) {
		struct verbs_queue *queue = queue_of(v, lane, peer);

		if (!queue->pair) {
			error = verbs_pair_create(&v->device, &v->endpoints[lane], &queue->pair,
						  &queue->inline_bytes);
			*packet_of(v, lane, peer) = random_packet_number();
			queue->failed = true; /* until it is connected */
		}
		if (!error)
			ends[lane] = (struct verbs_end){queue->pair->qp_num, *packet_of(v, lane, peer)};
	}
	if (!error)
		verbs_encode_connection(ends, v->config.lanes, data);
	free(ends);
	return error;
}

static int connect_lanes(struct verbs *v, int peer, const struct verbs_address *address,
			 const struct verbs_end *ends)
{
	for (unsigned lane = 0; lane < v->config.lanes; lane++) {
		struct verbs_queue *queue = queue_of(v, lane, peer);
		int error = verbs_pair_connect(&v->device, queue->pair, *packet_of(v, lane, peer), peer,
					       address, &ends[lane], v->config.timeout_ns);

		if (error)
			return error;
		queue->failed = false;
	}
	return 0;
}

static int connect_peer(struct transport *transport, int peer, const struct transport_address *bytes,
			const void *data)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_address address;
	struct verbs_end *ends;
	int error;

	if (!is_node(v, peer) || !queue_of(v, v->config.lanes - 1, peer)->pair)
		return -EINVAL; /* not filled */
	ends = calloc(v->config.lanes, sizeof *ends);
	if (!ends) {
		report("no memory to connect to node %d", peer);
		return -ENOMEM;
	}
	error = verbs_decode_address(bytes, &address);
	if (!error)
		error = verbs_decode_connection(data, v->config.lanes, ends);
	if (error)
		report("node %d sent an address that is not one of this transport; do all nodes run the same "
		       "build with the same MINORCA_LANES?",
		       peer);
	else
		error = verbs_check_peer(&v->device, peer, &address);
	if (!error)
		error = connect_lanes(v, peer, &address, ends);
	free(ends);
	return error;
}

/* --- segments ------------------------------------------------------------------------------------------ */

static int expose(struct transport *transport, unsigned id, const struct segment_memory *memory,
		  struct segment_key *key)
{
	struct verbs *v = verbs_of(transport);
	int flags[VERBS_ACCESS_MOST];
	struct ibv_mr *region;

	if (id >= SEGMENTS_MAX || memory->bytes == 0 || v->own[id].region)
		return -EINVAL;

	unsigned count = verbs_plan_access(memory, v->device.on_demand, v->device.on_demand_atomic, flags);
	int error =
	    verbs_register(v->domain, "shared memory", memory->base, memory->bytes, flags, count, &region);

	if (error)
		return error;
	verbs_registered_set(&v->own[id], region, memory->base, memory->bytes);

	struct verbs_segment segment = {
	    .address = (uintptr_t)memory->base,
	    .bytes = memory->bytes,
	    .rkey = region->rkey,
	    .atomic = memory->atomic,
	};

	verbs_encode_segment(&segment, id, key);
	return 0;
}

static int attach(struct transport *transport, unsigned id, int peer, const struct segment_key *key)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_segment segment;
	int error;

	if (id >= SEGMENTS_MAX || !is_node(v, peer))
		return -EINVAL;
	error = verbs_decode_segment(key, id, &segment);
	if (error) {
		report("node %d sent a key that is not one of segment %u; do all nodes run the same build?",
		       peer, id);
		return error;
	}
	*remote_of(v, id, peer) = segment;
	return 0;
}

static void detach(struct transport *transport, unsigned id)
{
	struct verbs *v = verbs_of(transport);

	if (id >= SEGMENTS_MAX)
		return;
	memset(remote_of(v, id, 0), 0, (size_t)v->config.nodes * sizeof *v->remote);
	verbs_registered_clear(&v->own[id]);
}

/* --- operations: the hot path -------------------------------------------------------------------------- */

/* The peer's segment, if [@offset, @offset + @bytes) lies in it; or NULL. */
static const struct verbs_segment *find_remote(struct verbs *v, int peer, unsigned segment, uint64_t offset,
					       size_t bytes)
{
	if (segment >= SEGMENTS_MAX || !is_node(v, peer))
		return NULL;

	const struct verbs_segment *remote = remote_of(v, segment, peer);

	if (remote->bytes == 0 || !verbs_range_is_inside(remote->bytes, offset, bytes))
		return NULL;
	return remote;
}

/* The key for local memory: a lane's scratch buffer, or an exposed segment, most likely @segment. */
static bool find_local(struct verbs *v, unsigned segment, const void *local, size_t bytes, uint32_t *key)
{
	uintptr_t from_scratch = (uintptr_t)local - (uintptr_t)v->config.scratch;

	if (verbs_range_is_inside(v->config.lanes * v->config.scratch_bytes, from_scratch, bytes)) {
		*key = v->scratch->lkey;
		return true;
	}
	return verbs_find_local_key(v->own, segment, local, bytes, key);
}

/* Posts @bytes > 0 as requests that the port can carry. */
static int post_pieces(struct verbs_lane *lane, uint32_t peer, struct verbs_request *request, size_t bytes,
		       size_t piece_bytes)
{
	const unsigned char *local = request->local;
	int error = 0;

	while (bytes > 0 && !error) {
		size_t piece = bytes < piece_bytes ? bytes : piece_bytes;

		request->local = local;
		request->bytes = (uint32_t)piece;
		error = verbs_lane_post(lane, peer, request);
		local += piece;
		request->remote_address += piece;
		bytes -= piece;
	}
	return error;
}

static int post_read(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		     uint64_t offset, void *local, size_t bytes)
{
	struct verbs *v = verbs_of(transport);
	const struct verbs_segment *remote = find_remote(v, peer, segment, offset, bytes);
	struct verbs_request request = {.opcode = IBV_WR_RDMA_READ, .local = local};

	if (!remote || !find_local(v, segment, local, bytes, &request.local_key))
		return -EINVAL;
	request.remote_address = remote->address + offset;
	request.remote_key = remote->rkey;
	return post_pieces(&v->lanes[lane->index], (uint32_t)peer, &request, bytes, v->device.piece_bytes);
}

static int post_write(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		      uint64_t offset, const void *local, size_t bytes)
{
	struct verbs *v = verbs_of(transport);
	const struct verbs_segment *remote = find_remote(v, peer, segment, offset, bytes);
	struct verbs_request request = {.opcode = IBV_WR_RDMA_WRITE, .local = local};

	if (!remote)
		return -EINVAL;
	request.is_inline = bytes <= queue_of(v, lane->index, peer)->inline_bytes;
	if (!request.is_inline && !find_local(v, segment, local, bytes, &request.local_key))
		return -EINVAL;
	request.remote_address = remote->address + offset;
	request.remote_key = remote->rkey;
	return post_pieces(&v->lanes[lane->index], (uint32_t)peer, &request, bytes, v->device.piece_bytes);
}

/* A word that atomics may be done on, and a place in the lane's scratch buffer for what it was. */
static int post_atomic(struct verbs *v, const struct lane *lane, int peer, unsigned segment, uint64_t offset,
		       uint64_t *old, struct verbs_request *request)
{
	const struct verbs_segment *remote = find_remote(v, peer, segment, offset, sizeof *old);
	uintptr_t from_scratch = (uintptr_t)old - (uintptr_t)lane->scratch;

	if (!remote || !remote->atomic || offset % sizeof *old)
		return -EINVAL;
	if (from_scratch % sizeof *old ||
	    !verbs_range_is_inside(v->config.scratch_bytes, from_scratch, sizeof *old))
		return -EINVAL;
	request->bytes = sizeof *old;
	request->remote_address = remote->address + offset;
	request->remote_key = remote->rkey;
	request->local_key = v->scratch->lkey;
	request->local = old;
	return verbs_lane_post(&v->lanes[lane->index], (uint32_t)peer, request);
}

static int post_fetch_add(struct transport *transport, struct lane *lane, int peer, unsigned segment,
			  uint64_t offset, uint64_t add, uint64_t *old)
{
	struct verbs_request request = {.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD, .add_or_expected = add};

	return post_atomic(verbs_of(transport), lane, peer, segment, offset, old, &request);
}

static int post_compare_swap(struct transport *transport, struct lane *lane, int peer, unsigned segment,
			     uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old)
{
	struct verbs_request request = {
	    .opcode = IBV_WR_ATOMIC_CMP_AND_SWP,
	    .add_or_expected = expected,
	    .desired = desired,
	};

	return post_atomic(verbs_of(transport), lane, peer, segment, offset, old, &request);
}

static int complete(struct transport *transport, struct lane *lane)
{
	return verbs_lane_complete(&verbs_of(transport)->lanes[lane->index]);
}

static int probe(struct transport *transport, int peer)
{
	const struct verbs_peer *p = &verbs_of(transport)->common.peers[peer];

	return atomic_load_explicit(&p->lost, memory_order_relaxed) ? -EHOSTDOWN : 0;
}

const struct transport_ops transport_verbs = {
    .name = "verbs",
    .round_trip_is_free = false,
    .open = open_transport,
    .connection_bytes = connection_bytes,
    .connection_fill = connection_fill,
    .connect = connect_peer,
    .expose = expose,
    .attach = attach,
    .detach = detach,
    .post_read = post_read,
    .post_write = post_write,
    .post_fetch_add = post_fetch_add,
    .post_compare_swap = post_compare_swap,
    .complete = complete,
    .probe = probe,
    .populate = NULL, /* pinned whole, or faulted in by the device */
    .close = close_transport,
};
