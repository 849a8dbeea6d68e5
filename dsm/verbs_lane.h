/*
 * The queues of one lane: requests are collected, handed to the device in chains, and waited for.
 *
 * post() puts a request into the lane's batch. The batch goes to the device when it is full, when it carries
 * much data, or at complete(): one call (and one doorbell) per peer, whose last request alone asks for a
 * completion. So a chain of up to VERBS_BATCH requests to a peer takes one completion.
 *
 * At most `window` requests of a lane are with the device, over all its queue pairs together. Each send queue
 * and the completion queue have room for that many, so none can overflow, even if every request fails and
 * makes a completion of its own.
 *
 * A queue pair is made when the lane first has something to say to that peer (verbs_connector.c makes it, and
 * sees to the other end): the lane waits for that once.
 *
 * A lane is used by one thread at a time; shared are `struct verbs_lanes` and the queues' `state`. Everything
 * but verbs_lane_init() is async-signal-safe: it allocates nothing and takes no lock but the provider's own
 * on queues that nobody else uses.
 */
#ifndef MINORCA_DSM_VERBS_LANE_H
#define MINORCA_DSM_VERBS_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/verbs_plan.h"

/* Requests that are collected before the device is told of them. */
#define VERBS_BATCH 32u

/* ... or this much data, which keeps the device busy for longer than a doorbell takes. */
#define VERBS_BATCH_BYTES ((size_t)64 << 10)

/* What lanes know of a peer. Any lane sets, any reads. */
struct verbs_peer {
	atomic_bool lost;     /* a device gave up on it: no lane posts to it any more */
	atomic_bool reported; /* somebody has said so */
};

/* What all lanes have in common. Immutable, but for the peers' flags. */
struct verbs_lanes {
	uint64_t timeout_ns;
	unsigned nodes;
	unsigned window;
	size_t window_bytes; /* data that a lane may have under way, unless it is one request */
	bool bus_atomics;
	struct verbs_peer *peers; /* one per node */
	/* Has the queue pair of a lane to a peer made, and returns at once. Async-signal-safe. */
	void (*ask)(void *connector, unsigned lane, uint32_t peer);
	void *connector;
};

/* Where a queue pair is in its life. The lane makes UNASKED to ASKED, the connector ASKED to the others. */
enum verbs_queue_state {
	QUEUE_UNASKED,
	QUEUE_ASKED,
	QUEUE_READY,
	QUEUE_REFUSED, /* the peer does not make its end, or cannot be reached */
	QUEUE_FAILED,  /* this node cannot make its own */
};

/*
 * One queue pair: this lane's to one peer. Sequence numbers count requests, and wrap; a request is "under
 * way" when its number is after `retired`.
 */
struct verbs_queue {
	/* Written by the connector before `state` is QUEUE_READY (release), read by the lane after (acquire).
	 */
	struct ibv_qp *pair;
	unsigned inline_bytes; /* payload that may go inline, at most VERBS_INLINE_BYTES */
	atomic_uint state;     /* enum verbs_queue_state */

	/* Owned by who holds the lane. */
	uint32_t posted;      /* of the last request taken */
	uint32_t retired;     /* of the last request known to be done */
	uint32_t last_read;   /* of the last read that no fence has waited for */
	uint32_t last_atomic; /* the same of atomics */
	bool failed;	      /* for good */
	/* Of the last write that no read or atomic has followed, so that it may not be in memory yet when it
	 * is complete; see verbs_plan.c. */
	bool unflushed;
	uint64_t flush_address;
	uint32_t flush_key;
	unsigned batched;		  /* requests in the lane's batch ... */
	struct ibv_send_wr *first, *last; /* ... and the chain of them */
};

/* What the device was asked for. The owner of the lane may set it to zero. */
struct verbs_counts {
	uint64_t requests, doorbells, completions, queue_pairs;
};

struct verbs_lane {
	/* Immutable. */
	_Alignas(64) struct verbs_lanes *common;
	struct verbs_queue *queues; /* one per node */
	unsigned index;
	uint64_t *sink; /* not NULL: complete() flushes writes, by reading into this */
	uint32_t sink_key;

	struct ibv_cq *completions; /* made with the first queue pair, as that */
	atomic_bool broken;	    /* the device has given up the completion queue; the connector tells */

	/* Owned by who holds the lane. */
	struct verbs_counts counts;
	unsigned under_way; /* requests with the device */
	unsigned batched;   /* requests in the batch */
	size_t batched_bytes;
	size_t posted_bytes;	/* since nothing was under way */
	bool unflushed;		/* some queue is */
	int error;		/* of the chain since the last complete(): the first */
	unsigned touched_count; /* peers with requests in the batch */
	uint32_t touched[VERBS_BATCH];
	struct ibv_send_wr requests[VERBS_BATCH];
	struct ibv_sge buffers[VERBS_BATCH];
	unsigned char inlined[VERBS_BATCH][VERBS_INLINE_BYTES]; /* copies of what goes inline */
};

/* One request, within one message. */
struct verbs_request {
	enum ibv_wr_opcode opcode;
	uint32_t bytes;
	uint64_t remote_address;
	uint32_t remote_key;
	uint32_t local_key;
	const void *local; /* registered; a small write goes inline, and leaves it free at once */
	uint64_t add_or_expected;
	uint64_t desired;
};

/** Makes an empty lane; its queues are the caller's, zeroed, one per node. */
void verbs_lane_init(struct verbs_lane *lane, struct verbs_lanes *common, unsigned index,
		     struct verbs_queue *queues);

/**
 * Takes a request for @peer < nodes. When the window is full it waits until half of it is free; the first
 * time, it waits until there is a queue pair.
 *
 * @return 0; -EHOSTDOWN: the peer is lost; -ETIMEDOUT: there is no queue pair within the time-out; -EIO: this
 * node's device has failed, or cannot make a queue pair; or the error of an earlier request of this chain,
 * met while waiting. After any error what was taken before is still under way: complete() waits for it.
 */
int verbs_lane_post(struct verbs_lane *lane, uint32_t peer, const struct verbs_request *request);

/**
 * Waits until all that was taken is done. The time-out starts anew with each completion: what it bounds is
 * how long nothing happens.
 *
 * @return 0; -EHOSTDOWN: a peer is lost; -EIO: a request was at fault; -ETIMEDOUT. After an error no buffer
 * of the chain is in use any more: the queue pairs concerned are stopped for good.
 */
int verbs_lane_complete(struct verbs_lane *lane);

#endif
