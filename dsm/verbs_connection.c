/*
 * Set-up of queues.
 */
#include "dsm/verbs_connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dsm/report.h"
#include "dsm/verbs_memory.h"
#include "dsm/verbs_plan.h"

/* The code for 0.06 ms: how long a peer waits that we told "not ready", which is what a page that is being
 * brought in for it (on-demand paging) takes. */
#define NOT_READY_TIMER 5
/* "Not ready" is tried again for ever: our own time-out ends it. */
#define NOT_READY_RETRIES 7

#define HOP_LIMIT 64

/* --- endpoints ----------------------------------------------------------------------------------------- */

/* The lane's own domain; falls back to the common one. */
static void open_thread_domain(const struct verbs_device *device, struct ibv_pd *common,
			       struct verbs_endpoint *endpoint)
{
	struct ibv_td_init_attr thread_attr = {0};
	struct ibv_parent_domain_init_attr attr = {.pd = common};

	endpoint->domain = common;
	endpoint->thread = ibv_alloc_td(device->context, &thread_attr);
	if (!endpoint->thread)
		return;
	attr.td = endpoint->thread;

	struct ibv_pd *own = ibv_alloc_parent_domain(device->context, &attr);

	if (own) {
		endpoint->domain = own;
		return;
	}
	ibv_dealloc_td(endpoint->thread);
	endpoint->thread = NULL;
}

static struct ibv_cq *open_completions(const struct verbs_device *device)
{
	struct ibv_cq_init_attr_ex attr = {
	    .cqe = device->window,
	    .wc_flags = IBV_WC_STANDARD_FLAGS,
	    .comp_mask = IBV_CQ_INIT_ATTR_MASK_FLAGS,
	    .flags = IBV_CREATE_CQ_ATTR_SINGLE_THREADED,
	};
	struct ibv_cq_ex *single = ibv_create_cq_ex(device->context, &attr);

	if (single)
		return ibv_cq_ex_to_cq(single);
	return ibv_create_cq(device->context, (int)device->window, NULL, NULL, 0);
}

int verbs_endpoint_open(const struct verbs_device *device, struct ibv_pd *common, struct verbs_endpoint *out)
{
	struct verbs_endpoint endpoint = {0};

	open_thread_domain(device, common, &endpoint);
	endpoint.completions = open_completions(device);
	if (!endpoint.completions) {
		int error = errno;

		verbs_endpoint_close(&endpoint, common);
		report("cannot make a completion queue on RDMA device %s: %s; a smaller MINORCA_LANES needs "
		       "fewer, "
		       "and `ulimit -l unlimited` lifts the limit of locked memory",
		       device->name, strerror(error));
		return -error;
	}
	*out = endpoint;
	return 0;
}

void verbs_endpoint_close(struct verbs_endpoint *endpoint, const struct ibv_pd *common)
{
	if (endpoint->completions)
		ibv_destroy_cq(endpoint->completions);
	if (endpoint->domain && endpoint->domain != common)
		ibv_dealloc_pd(endpoint->domain);
	if (endpoint->thread)
		ibv_dealloc_td(endpoint->thread);
	*endpoint = (struct verbs_endpoint){0};
}

/* --- queue pairs --------------------------------------------------------------------------------------- */

/* To a state in which its number is known and it may be connected. */
static int pair_initialise(const struct verbs_device *device, struct ibv_qp *pair)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_INIT,
	    .port_num = (uint8_t)device->port,
	    .qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC,
	};

	return ibv_modify_qp(pair, &attr,
			     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

int verbs_pair_create(const struct verbs_device *device, const struct verbs_endpoint *endpoint,
		      struct ibv_qp **pair, unsigned *inline_bytes)
{
	struct ibv_qp *made = NULL;
	int error = 0;

	/* A device that takes less inline refuses; one that takes more says so. */
	for (unsigned wanted = VERBS_INLINE_BYTES; !made; wanted /= 2) {
		struct ibv_qp_init_attr attr = {
		    .send_cq = endpoint->completions,
		    .recv_cq = endpoint->completions,
		    /* Nothing is ever received; some providers refuse a receive queue of none. */
		    .cap = {.max_send_wr = device->window,
			    .max_recv_wr = 1,
			    .max_send_sge = 1,
			    .max_recv_sge = 1,
			    .max_inline_data = wanted},
		    .qp_type = IBV_QPT_RC,
		};

		made = ibv_create_qp(endpoint->domain, &attr);
		if (made)
			*inline_bytes = attr.cap.max_inline_data < VERBS_INLINE_BYTES
					    ? attr.cap.max_inline_data
					    : VERBS_INLINE_BYTES;
		else
			error = errno;
		if (!made && wanted == 0)
			break;
	}
	if (made) {
		error = pair_initialise(device, made);
		if (!error) {
			*pair = made;
			return 0;
		}
		ibv_destroy_qp(made);
	}
	report(
	    "cannot make a queue pair on RDMA device %s: %s; there is one for each lane and node: a smaller "
	    "MINORCA_LANES needs fewer, and `ulimit -l unlimited` lifts the limit of locked memory",
	    device->name, strerror(error));
	return -error;
}

static const char *link_name(const struct verbs_address *address)
{
	if (address->link_layer == IBV_LINK_LAYER_INFINIBAND)
		return "InfiniBand";
	return address->gid_type == IBV_GID_TYPE_ROCE_V2 ? "RoCE v2" : "RoCE v1";
}

int verbs_check_peer(const struct verbs_device *device, int node, const struct verbs_address *peer)
{
	const struct verbs_address *own = &device->address;

	if (peer->link_layer == own->link_layer && peer->gid_type == own->gid_type)
		return 0;
	report("cannot reach node %d by RDMA: it uses %s and this node %s; choose ports of one fabric by "
	       "MINORCA_VERBS_DEVICE, MINORCA_VERBS_PORT and MINORCA_VERBS_GID",
	       node, link_name(peer), link_name(own));
	return -EPROTO;
}

struct ibv_ah_attr verbs_way_to(const struct verbs_device *device, const struct verbs_address *peer)
{
	struct ibv_ah_attr way = {
	    .dlid = peer->lid,
	    .port_num = (uint8_t)device->port,
	};

	/* The first 8 bytes of a GID are its subnet: across subnets a LID means nothing. */
	if (!device->address.global && !peer->global && memcmp(peer->gid, device->address.gid, 8) == 0)
		return way;
	way.is_global = 1;
	memcpy(way.grh.dgid.raw, peer->gid, sizeof way.grh.dgid.raw);
	way.grh.sgid_index = (uint8_t)device->gid_index;
	way.grh.hop_limit = HOP_LIMIT;
	return way;
}

void verbs_report_no_way(const struct verbs_device *device, int node, int error)
{
	report(
	    "cannot connect to node %d by RDMA (device %s, port %d, GID %d, %s): %s; are both ports on one "
	    "network? MINORCA_VERBS_DEVICE, MINORCA_VERBS_PORT and MINORCA_VERBS_GID choose others",
	    node, device->name, device->port, device->gid_index, link_name(&device->address),
	    strerror(error));
}

static uint8_t lesser(uint8_t a, uint8_t b)
{
	return a < b ? a : b;
}

static int ready_to_receive(const struct verbs_device *device, struct ibv_qp *pair,
			    const struct verbs_address *peer, const struct verbs_end *end)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_RTR,
	    .ah_attr = verbs_way_to(device, peer),
	    .path_mtu = (enum ibv_mtu)lesser(device->address.mtu, peer->mtu),
	    .dest_qp_num = end->queue_pair,
	    .rq_psn = end->packet,
	    .max_dest_rd_atomic = lesser(device->address.reads, peer->reads),
	    .min_rnr_timer = NOT_READY_TIMER,
	};

	return ibv_modify_qp(pair, &attr,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				 IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
}

static int ready_to_send(const struct verbs_device *device, struct ibv_qp *pair, uint32_t packet,
			 const struct verbs_address *peer, uint64_t timeout_ns)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_RTS,
	    .sq_psn = packet,
	    .timeout = verbs_ack_timeout(timeout_ns),
	    .retry_cnt = VERBS_RETRIES,
	    .rnr_retry = NOT_READY_RETRIES,
	    /* What the other end serves at a time is the same minimum: see max_dest_rd_atomic above. */
	    .max_rd_atomic = lesser(device->address.reads, peer->reads),
	};

	return ibv_modify_qp(pair, &attr,
			     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				 IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int verbs_pair_connect(const struct verbs_device *device, struct ibv_qp *pair, uint32_t packet, int node,
		       const struct verbs_address *peer, const struct verbs_end *end, uint64_t timeout_ns)
{
	int error = ready_to_receive(device, pair, peer, end);

	if (!error)
		error = ready_to_send(device, pair, packet, peer, timeout_ns);
	if (!error)
		return 0;
	verbs_report_no_way(device, node, error);
	return -error;
}
