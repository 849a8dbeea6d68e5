/*
 * Transport: RDMA by libibverbs.
 *
 * One device and port per node (verbs_device.c). Per lane a completion queue, per lane and peer a reliable
 * queue pair, also to this node itself: atomics on own words must go through the device, as those of peers
 * do. Queue pairs are made when they are first used (verbs_connector.c). A lane's requests are collected,
 * handed over and waited for in verbs_lane.c; how their order is kept is argued in verbs_plan.c. What peers
 * tell each other is in verbs_wire.c, registration in verbs_memory.c.
 *
 * After a post that failed, what was posted before it is still under way: complete() waits for that too. A
 * queue pair that failed stays failed, and a peer that a device has given up on is lost to all lanes.
 */
#include "dsm/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <infiniband/verbs.h>

#include "dsm/lane.h"
#include "dsm/report.h"
#include "dsm/verbs_connection.h"
#include "dsm/verbs_connector.h"
#include "dsm/verbs_device.h"
#include "dsm/verbs_lane.h"
#include "dsm/verbs_memory.h"
#include "dsm/verbs_plan.h"
#include "dsm/verbs_wire.h"

/* struct transport, as this file knows it. Immutable once opened, but for what is noted. */
struct verbs {
	struct transport_config config;
	struct verbs_device device;
	struct verbs_registrar registrar;
	struct verbs_lanes common;
	struct verbs_connector *connector;
	struct ibv_mr *scratch;
	uint64_t *sink; /* with config.flush_writes: a word for each lane, read into and never looked at */
	struct ibv_mr *sink_region;
	struct verbs_lane *lanes;   /* config.lanes; each owned by who holds the lane */
	struct verbs_queue *queues; /* lanes x nodes, a lane's together; see struct verbs_queue */
	/* Segments x nodes, a segment's together. An entry is written by the set-up thread, and read by lanes
	 * only between attach() and detach() of its segment, which the caller orders. So are our own. */
	struct verbs_segment *remote;
	struct verbs_registered own[SEGMENTS_MAX];
};

static struct verbs *verbs_of(struct transport *transport)
{
	return (struct verbs *)transport;
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
	v->queues = calloc(lanes * nodes, sizeof *v->queues);
	v->remote = calloc(SEGMENTS_MAX * nodes, sizeof *v->remote);
	if (v->common.peers && v->lanes && v->queues && v->remote)
		return 0;
	report("no memory for the queues of %zu lanes to %zu nodes", lanes, nodes);
	return -ENOMEM;
}

static int register_scratch(struct verbs *v)
{
	static const int access = IBV_ACCESS_LOCAL_WRITE;

	return verbs_register(v->registrar.domain, "the lanes' scratch buffers", v->config.scratch,
			      v->config.lanes * v->config.scratch_bytes, &access, 1, &v->scratch);
}

static int register_sink(struct verbs *v)
{
	static const int access = IBV_ACCESS_LOCAL_WRITE;
	size_t bytes = v->config.lanes * sizeof *v->sink;

	if (!v->config.flush_writes)
		return 0;
	v->sink = calloc(v->config.lanes, sizeof *v->sink);
	if (!v->sink) {
		report("no memory for the verbs transport");
		return -ENOMEM;
	}
	int error = verbs_register(v->registrar.domain, "the lanes' sinks", v->sink, bytes, &access, 1,
				   &v->sink_region);

	for (unsigned lane = 0; lane < v->config.lanes && !error; lane++) {
		v->lanes[lane].sink = &v->sink[lane];
		v->lanes[lane].sink_key = v->sink_region->lkey;
	}
	return error;
}

static int open_connector(struct verbs *v)
{
	const struct verbs_connector_config config = {
	    .device = &v->device,
	    .domain = v->registrar.domain,
	    .node = (uint32_t)v->config.node,
	    .nodes = (uint32_t)v->config.nodes,
	    .lanes = v->config.lanes,
	    .timeout_ns = v->config.timeout_ns,
	    .job_key = {v->config.job_key[0], v->config.job_key[1]},
	    .lane = v->lanes,
	    .queue = v->queues,
	};
	int error = verbs_connector_open(&config, &v->connector, &v->device.address.greeter);

	v->common.ask = verbs_connector_ask;
	v->common.connector = v->connector;
	return error;
}

/* Everything that needs the device. */
static int open_on_device(struct verbs *v)
{
	v->common.timeout_ns = v->config.timeout_ns;
	v->common.nodes = (unsigned)v->config.nodes;
	v->common.window = v->device.window;
	v->common.bus_atomics = v->device.bus_atomics;
	v->registrar.chunk_shift = (unsigned)__builtin_ctzll(v->config.chunk_bytes);
	v->registrar.on_demand = v->device.on_demand;
	v->registrar.on_demand_atomic = v->device.on_demand_atomic;
	for (unsigned lane = 0; lane < v->config.lanes; lane++)
		verbs_lane_init(&v->lanes[lane], &v->common, lane,
				&v->queues[lane * (size_t)v->config.nodes]);

	v->registrar.domain = ibv_alloc_pd(v->device.context);
	if (!v->registrar.domain) {
		int error = -errno;

		report("cannot make a protection domain on RDMA device %s: %s", v->device.name,
		       strerror(-error));
		return error;
	}
	int error = register_scratch(v);

	if (!error)
		error = register_sink(v);
	return error ? error : open_connector(v);
}

static void forget_segment(struct verbs *v, unsigned id)
{
	for (int peer = 0; v->remote && peer < v->config.nodes; peer++) {
		free(remote_of(v, id, peer)->keys);
		*remote_of(v, id, peer) = (struct verbs_segment){0};
	}
	verbs_segment_deregister(&v->own[id]);
}

static void close_transport(struct transport *transport)
{
	struct verbs *v = verbs_of(transport);

	verbs_connector_close(v->connector);
	for (unsigned id = 0; id < SEGMENTS_MAX; id++)
		forget_segment(v, id);
	if (v->sink_region)
		ibv_dereg_mr(v->sink_region);
	if (v->scratch)
		ibv_dereg_mr(v->scratch);
	if (v->registrar.domain)
		ibv_dealloc_pd(v->registrar.domain);
	verbs_device_close(&v->device);
	free(v->sink);
	free(v->remote);
	free(v->queues);
	free(v->lanes);
	free(v->common.peers);
	free(v);
}

static int open_transport(const struct transport_config *config, struct transport **out,
			  struct transport_address *address)
{
	struct verbs *v;
	int error;

	if (config->lanes == 0 || config->nodes <= 0 || config->node < 0 || config->node >= config->nodes ||
	    !config->chunk_bytes || config->chunk_bytes & (config->chunk_bytes - 1))
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
	if (!error)
		error = open_on_device(v);
	if (error) {
		close_transport((struct transport *)v);
		return error;
	}
	verbs_encode_address(&v->device.address, address);
	*out = (struct transport *)v;
	return 0;
}

static int connect_peer(struct transport *transport, int peer, const struct transport_address *bytes)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_address address;

	if (!is_node(v, peer))
		return -EINVAL;
	if (verbs_decode_address(bytes, &address)) {
		report("node %d sent an address that is not one of this transport; do all nodes run the same "
		       "build?",
		       peer);
		return -EPROTO;
	}
	return verbs_connector_add(v->connector, (uint32_t)peer, &address);
}

static bool is_near(const struct transport *transport, int peer)
{
	(void)transport, (void)peer;
	return false;
}

/* --- segments ------------------------------------------------------------------------------------------ */

static size_t chunks_of(const struct verbs *v, size_t bytes)
{
	return verbs_chunks(bytes, v->registrar.chunk_shift);
}

static size_t key_bytes(struct transport *transport, size_t bytes)
{
	return verbs_key_bytes(chunks_of(verbs_of(transport), bytes));
}

static int expose(struct transport *transport, unsigned id, const struct segment_memory *memory, void *key)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_segment segment = {(uintptr_t)memory->base, memory->bytes, memory->access, NULL};

	if (id >= SEGMENTS_MAX || memory->bytes == 0 || v->own[id].bytes)
		return -EINVAL;

	size_t chunks = chunks_of(v, memory->bytes);
	int error;

	segment.keys = calloc(chunks, sizeof *segment.keys);
	if (!segment.keys) {
		report("no memory for the keys of %s", memory->name);
		return -ENOMEM;
	}
	error = verbs_segment_register(&v->registrar, memory, &v->own[id], segment.keys);
	if (!error)
		verbs_encode_segment(&segment, chunks, id, key);
	free(segment.keys);
	return error;
}

static int attach(struct transport *transport, unsigned id, int peer, size_t bytes, const void *key)
{
	struct verbs *v = verbs_of(transport);
	struct verbs_segment segment = {0};
	int error;

	if (id >= SEGMENTS_MAX || !is_node(v, peer) || !bytes || remote_of(v, id, peer)->bytes)
		return -EINVAL;
	segment.keys = calloc(chunks_of(v, bytes), sizeof *segment.keys);
	if (!segment.keys) {
		report("no memory for the keys of node %d", peer);
		return -ENOMEM;
	}
	error = verbs_decode_segment(key, bytes, chunks_of(v, bytes), id, &segment);
	if (error) {
		report("node %d sent a key that is not one of segment %u; do all nodes run the same build?",
		       peer, id);
		free(segment.keys);
		return error;
	}
	*remote_of(v, id, peer) = segment;
	return 0;
}

static void detach(struct transport *transport, unsigned id)
{
	if (id < SEGMENTS_MAX)
		forget_segment(verbs_of(transport), id);
}

/* --- operations: the hot path -------------------------------------------------------------------------- */

/* One operation, on its way to be requests. */
struct operation {
	struct verbs_lane *lane;
	uint32_t peer;
	const struct verbs_segment *remote;
	uint64_t offset;
	const struct verbs_registered *own; /* the local memory is a part of this; NULL: of the scratch */
	uint64_t own_offset;
	size_t most; /* bytes of one request */
};

/* Checks where an operation goes to and whether peers let it. */
static bool find_remote(struct verbs *v, int peer, unsigned segment, uint64_t offset, size_t bytes,
			unsigned access, struct operation *o)
{
	if (segment >= SEGMENTS_MAX || !is_node(v, peer))
		return false;
	o->remote = remote_of(v, segment, peer);
	o->peer = (uint32_t)peer;
	o->offset = offset;
	return o->remote->access & access && verbs_range_is_inside(o->remote->bytes, offset, bytes);
}

/* The same of local memory: a lane's scratch buffer, or our part of the segment. */
static bool find_local(struct verbs *v, unsigned segment, const void *local, size_t bytes,
		       struct operation *o)
{
	uint64_t from_scratch = (uintptr_t)local - (uintptr_t)v->config.scratch;
	const struct verbs_registered *own = &v->own[segment];

	o->own = NULL;
	if (verbs_range_is_inside(v->config.lanes * v->config.scratch_bytes, from_scratch, bytes))
		return true;
	o->own = own;
	o->own_offset = (uintptr_t)local - own->base;
	return verbs_range_is_inside(own->bytes, o->own_offset, bytes);
}

/* Bytes from @offset to the end of its chunk. */
static uint64_t until_chunk_ends(const struct verbs *v, uint64_t offset)
{
	uint64_t chunk_bytes = (uint64_t)1 << v->registrar.chunk_shift;

	return chunk_bytes - (offset & (chunk_bytes - 1));
}

/* The most of @bytes that one request can carry. */
static size_t piece_bytes(const struct verbs *v, const struct operation *o, size_t bytes)
{
	size_t piece = bytes < o->most ? bytes : o->most;
	uint64_t left = until_chunk_ends(v, o->offset);

	piece = piece < left ? piece : left;
	if (!o->own)
		return piece;
	left = until_chunk_ends(v, o->own_offset);
	return piece < left ? piece : left;
}

/* Posts @bytes as requests that the port can carry, each within a chunk of memory here and there. */
static int post_pieces(struct verbs *v, struct operation *o, struct verbs_request *request, size_t bytes)
{
	const unsigned char *local = request->local;
	int error = 0;

	for (size_t piece; bytes && !error; bytes -= piece) {
		piece = piece_bytes(v, o, bytes);
		request->local = local;
		request->bytes = (uint32_t)piece;
		request->remote_address = o->remote->address + o->offset;
		request->remote_key = o->remote->keys[o->offset >> v->registrar.chunk_shift];
		request->local_key =
		    o->own ? o->own->local_keys[o->own_offset >> v->registrar.chunk_shift] : v->scratch->lkey;
		if (request->remote_key == VERBS_NO_KEY)
			return -EINVAL; /* the peer is not home of that */
		error = verbs_lane_post(o->lane, o->peer, request);
		local += piece;
		o->offset += piece;
		o->own_offset += piece;
	}
	return error;
}

static int post_read(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		     uint64_t offset, void *local, size_t bytes)
{
	struct verbs *v = verbs_of(transport);
	struct operation o = {.lane = &v->lanes[lane->index], .most = v->device.read_bytes};
	struct verbs_request request = {.opcode = IBV_WR_RDMA_READ, .local = local};

	if (!find_remote(v, peer, segment, offset, bytes, PEERS_READ, &o) ||
	    !find_local(v, segment, local, bytes, &o))
		return -EINVAL;
	return post_pieces(v, &o, &request, bytes);
}

static int post_write(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		      uint64_t offset, const void *local, size_t bytes)
{
	struct verbs *v = verbs_of(transport);
	struct operation o = {.lane = &v->lanes[lane->index], .most = v->device.piece_bytes};
	struct verbs_request request = {.opcode = IBV_WR_RDMA_WRITE, .local = local};

	if (!find_remote(v, peer, segment, offset, bytes, PEERS_WRITE, &o) ||
	    !find_local(v, segment, local, bytes, &o))
		return -EINVAL;
	return post_pieces(v, &o, &request, bytes);
}

/* On a word that atomics may be done on; with a place in the lane's scratch buffer for what it was. */
static int post_atomic(struct verbs *v, const struct lane *lane, int peer, unsigned segment, uint64_t offset,
		       uint64_t *old, struct verbs_request *request)
{
	struct operation o = {.lane = &v->lanes[lane->index], .most = sizeof *old};
	uintptr_t from_scratch = (uintptr_t)old - (uintptr_t)lane->scratch;

	if (!find_remote(v, peer, segment, offset, sizeof *old, PEERS_ATOMIC, &o) || offset % sizeof *old)
		return -EINVAL;
	if (from_scratch % sizeof *old ||
	    !verbs_range_is_inside(v->config.scratch_bytes, from_scratch, sizeof *old))
		return -EINVAL;
	request->local = old;
	return post_pieces(v, &o, request, sizeof *old);
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

const struct transport_ops transport_verbs = {
    .name = "verbs",
    .open = open_transport,
    .connect = connect_peer,
    .is_near = is_near,
    .key_bytes = key_bytes,
    .expose = expose,
    .attach = attach,
    .detach = detach,
    .post_read = post_read,
    .post_write = post_write,
    .post_fetch_add = post_fetch_add,
    .post_compare_swap = post_compare_swap,
    .complete = complete,
    .populate = NULL, /* pinned whole, or faulted in by the device */
    .close = close_transport,
};
