/*
 * RDMA at its barest, for baselines: reliable queue pairs by libibverbs alone, without anything of the
 * runtime's but its choice of device, port and GID (MINORCA_VERBS_*).
 *
 * A star: node 0 has queue pairs to every node, itself among them; the others to node 0. Each lane has its
 * own, with a completion queue, and is used by one thread at a time.
 *
 * All return 0 or -errno. bare_post() and bare_wait() are async-signal-safe.
 */
#ifndef MINORCA_BENCH_BARE_VERBS_H
#define MINORCA_BENCH_BARE_VERBS_H

#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "bench/job.h"

/* The most requests of one chain, and that a lane may have under way. */
#define BARE_CHAIN_MOST 64
#define BARE_DEPTH 128

/* Payload up to which a write is sent inline. */
#define BARE_INLINE_BYTES 64

struct bare;

/* Memory that a node exposes, and what all nodes have told of theirs. */
struct bare_memory {
	struct ibv_mr *region;
	struct bare_key *keys; /* of each node */
};

struct bare_request {
	enum ibv_wr_opcode opcode;
	void *local; /* in the bare_memory of this node */
	size_t bytes;
	uint64_t offset; /* in that of the peer */
	uint64_t add_or_expected, desired;
};

/** Connects the star. Collective; what goes wrong ends the job. */
void bare_open(const struct job *job, unsigned int lanes, struct bare **out);
void bare_close(struct bare *bare);

unsigned int bare_lanes(const struct bare *bare);

/** For people: "rxe0, port 1, GID 1, path MTU 4096". */
const char *bare_describe(const struct bare *bare);

/** Reads and atomics of one queue pair that the device has under way at a time. */
unsigned int bare_reads(const struct bare *bare);

/**
 * Registers this node's memory and learns of the others'. Collective; what goes wrong ends the job. Pages
 * that are not there yet are allocated.
 */
void bare_expose(struct bare *bare, void *base, size_t bytes, struct bare_memory *out);

/** Forgets the registration, if there is one. */
void bare_conceal(struct bare_memory *memory);

/** Posts a chain of at most BARE_CHAIN_MOST requests with one doorbell; its last one gives a completion. */
int bare_post(struct bare *bare, unsigned int lane, int peer, const struct bare_memory *memory,
	      const struct bare_request *requests, unsigned int count);

/** Polls until a chain has completed: -EIO if it failed, -ETIMEDOUT after a minute. */
int bare_wait(struct bare *bare, unsigned int lane);

/** A chain of one, and its completion. */
static inline int bare_do(struct bare *bare, unsigned int lane, int peer, const struct bare_memory *memory,
			  const struct bare_request *request)
{
	int error = bare_post(bare, lane, peer, memory, request, 1);

	return error ? error : bare_wait(bare, lane);
}

#endif
