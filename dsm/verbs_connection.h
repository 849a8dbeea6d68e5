/*
 * Set-up of the queues of lanes: completion queues, queue pairs, and their way to a peer.
 */
#ifndef MINORCA_DSM_VERBS_CONNECTION_H
#define MINORCA_DSM_VERBS_CONNECTION_H

#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/verbs_device.h"
#include "dsm/verbs_wire.h"

/* What one lane has of the device. */
struct verbs_endpoint {
	struct ibv_td *thread; /* NULL: the provider has none */
	struct ibv_pd *domain; /* with the thread domain; or the common one */
	struct ibv_cq *completions;
};

/**
 * Makes a lane's endpoint, with room for the device's window of completions. Where the provider can, it is
 * told that one thread at a time uses it, so that it needs no locks and shares no doorbell with other lanes.
 * (That is about posting and polling. Queue pairs are added by the connector's thread meanwhile, which
 * providers guard by locks of their own, as they must for the numbers of queue pairs.)
 *
 * @return 0; -ENOMEM ..., reported.
 */
int verbs_endpoint_open(const struct verbs_device *device, struct ibv_pd *common, struct verbs_endpoint *out);

/** Undoes it; its queue pairs are gone. @common is what it was opened with. An empty one stays as it is. */
void verbs_endpoint_close(struct verbs_endpoint *endpoint, const struct ibv_pd *common);

/**
 * Makes a queue pair, not connected yet.
 *
 * @param inline_bytes  set to the payload that it takes inline, at most VERBS_INLINE_BYTES
 * @return 0; -ENOMEM ..., reported.
 */
int verbs_pair_create(const struct verbs_device *device, const struct verbs_endpoint *endpoint,
		      struct ibv_qp **pair, unsigned *inline_bytes);

/** The way to @peer's port. */
struct ibv_ah_attr verbs_way_to(const struct verbs_device *device, const struct verbs_address *peer);

/** Whether @peer's port can be reached from ours at all. @return 0; -EPROTO, reported. */
int verbs_check_peer(const struct verbs_device *device, int node, const struct verbs_address *peer);

/** Says that @node cannot be reached. @error: an errno. */
void verbs_report_no_way(const struct verbs_device *device, int node, int error);

/**
 * Connects a queue pair to its other end, which may be itself, and makes it ready.
 *
 * @param packet      number of our first packet
 * @param timeout_ns  see verbs_ack_timeout()
 * @return 0; -EHOSTUNREACH ..., reported.
 */
int verbs_pair_connect(const struct verbs_device *device, struct ibv_qp *pair, uint32_t packet, int node,
		       const struct verbs_address *peer, const struct verbs_end *end, uint64_t timeout_ns);

#endif
