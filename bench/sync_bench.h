/*
 * What the cases of sync have in common: the region of a row, its samples, and how nodes meet.
 *
 * A row is measured in rounds. The runtime and the baseline take turns within a round, so that what disturbs
 * the machine disturbs both. Node 0 says after each round whether there is another.
 */
#ifndef MINORCA_BENCH_SYNC_BENCH_H
#define MINORCA_BENCH_SYNC_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "bench/job.h"
#include "bench/percentile.h"
#include "bench/sync_plan.h"
#include "bench/timer.h"

struct placement;
struct team;

enum { RUNTIME, BASELINE, SIDES };

#define SYNC_LINE_BYTES ((size_t)64)

struct samples {
	uint64_t *ns;
	size_t count;
};

/* Memory of all nodes of a host, beside the runtime's. */
struct shared {
	_Alignas(64) uint64_t ball; /* of the ping-pong */
	uint64_t thrown_ns;	    /* in the same line */
	_Alignas(64) uint64_t word; /* of the atomics */
	_Alignas(64) uint64_t turn; /* of false sharing: whose it is, by the number of nodes */
	struct {
		_Alignas(64) uint64_t words[8];
	} lines[]; /* one for each node */
};

/* What the runtime did in the intervals of a row, where the case is about that. */
struct sync_counts {
	uint64_t faults, pages_invalidated, pages_published, bytes_fetched, bytes_published;
};

struct bench {
	const struct job *job;
	const struct placement *placement;
	const struct sync_options *options;
	struct team *team;
	struct shared *shared;	/* NULL: the nodes are on several hosts */
	struct sync_rdma *rdma; /* for baselines, where the runtime uses RDMA; else NULL */
	int peer; /* the node that node 0 works with, on another core if there is one; 0: none */
	bool peer_is_apart;
	bool has_hot_pages;
	uint64_t throws; /* of the ball, by both of the pair */

	/* Of the row. */
	const struct sync_row *row;
	const struct operations *operations;
	dsm_region *region;
	char *base;
	unsigned int calls; /* that make up a sample */
	unsigned int round;
	struct samples sides[SIDES];
	struct sync_counts counts; /* of this node, in so many intervals; 0: the case does not tell */
	uint64_t intervals;
	void *state; /* of the case */
};

/* Who takes part in a round. The others wait, asleep. */
enum who { NODE_0, PAIR, ALL_NODES };

/* How a case is measured. */
struct operations {
	enum who who;
	void (*open)(struct bench *); /* by all nodes, whoever takes part; may be NULL, as close() */
	void (*close)(struct bench *);
	/* Either what is timed, so many times for a sample ... */
	unsigned int calls;
	void (*runtime)(struct bench *);
	void (*baseline)(struct bench *);
	void (*rdma)(struct bench *); /* the baseline where the runtime uses RDMA, if that is another */
	bool baseline_is_shared;      /* and needs one host */
	/* ... or a round of its own; called by all nodes. */
	void (*round)(struct bench *);
};

extern const struct operations acquire_nothing, acquire_changed, publish, publish_hot, store_first, store_hot,
    diff_pages;
extern const struct operations lock_uncontended, lock_publish, trylock, lock_handover, rwlock_read,
    rwlock_read_all, rwlock_write;
extern const struct operations false_sharing, false_sharing_lock, storm;
extern const struct operations barrier, barrier_publish, atomic_add, atomic_load, atomic_compare_swap,
    atomic_add_contended, event_pingpong, reduce, broadcast, malloc_free;

/* What a row has come to. On node 0 only, but for `skipped`. */
struct sync_outcome {
	struct distribution runtime, baseline; /* no samples: not measured */
	struct sync_counts counts;	       /* of all nodes */
	uint64_t intervals;		       /* in which; 0: the case does not tell */
	unsigned int calls;
	char skipped[160]; /* why; empty: it was not */
};

void bench_create(const struct job *job, const struct placement *placement,
		  const struct sync_options *options, const char *transport, unsigned int threads,
		  struct bench *out);
void bench_destroy(struct bench *b);

/** Measures a row. Collective. What must not be, ends the job. */
void bench_run(struct bench *b, const struct sync_row *row, uint64_t budget_ns, struct sync_outcome *out);

/* --- for the cases ------------------------------------------------------------------------------------- */

_Noreturn void bench_fail(const struct bench *b, const char *what, int error);

/** Ends the job if @what has failed. */
static inline void require(const struct bench *b, int error, const char *what)
{
	if (error)
		bench_fail(b, what, error);
}

/** Ends the job if the runtime has not done what the case says. */
void expect(const struct bench *b, const char *what, uint64_t found, uint64_t expected);

struct dsm_stats bench_stats(const struct bench *b);

struct sync_counts bench_counts_between(const struct dsm_stats *before, const struct dsm_stats *now);

/** Adds to what this node did in the row, in @intervals of it. By all nodes alike. */
void bench_count(struct bench *b, const struct sync_counts *counts, uint64_t intervals);

/** Memory of the case, zero; freed by free(). */
void *bench_allocate(size_t bytes);

/** Keeps a sample, unless this is the first round, in which everything is new. */
void bench_sample(struct bench *b, unsigned int side, uint64_t ns);

/** True on node 0 and on its peer. */
bool bench_is_of_pair(const struct bench *b);

/** Node 0 and its peer wait for each other, awake at first. */
void bench_pair_meets(const struct bench *b);

/** All nodes wait for each other, awake at first. */
void bench_all_meet(void);

/** True if the ping-pongs below can be had. */
bool bench_has_pingpong(const struct bench *b);

/** A cache line, or an RDMA WRITE, goes to the other node of the pair and back, @count times. @return ns one
 * way. */
uint64_t bench_pingpong(struct bench *b, unsigned int count);

/** The same, sampled throw by throw, each from a look at the clock on one side to a look at the clock on the
 * other: for what is measured like that. Takes baseline samples. */
void bench_timed_pingpong(struct bench *b, unsigned int count);

static inline char *bench_page(const struct bench *b, size_t page)
{
	return b->base + page * b->row->page_bytes;
}

static inline size_t bench_pages(const struct bench *b)
{
	return b->row->region_bytes / b->row->page_bytes;
}

/** From one page that changes to the next. */
static inline size_t bench_stride(const struct bench *b)
{
	return b->row->variant == SCATTERED || b->row->variant == LOG_OVERFLOW ? 2 : 1;
}

/** Where in page @page the line is that changes. */
static inline char *bench_line(const struct bench *b, size_t page)
{
	return bench_page(b, page) + page % (4096 / SYNC_LINE_BYTES) * SYNC_LINE_BYTES;
}

static inline void bench_release(const struct bench *b)
{
	require(b, dsm_release(), "dsm_release()");
}

static inline void bench_acquire(struct bench *b)
{
	require(b, dsm_acquire(), "dsm_acquire()");
}

static inline void bench_pass_barrier(struct bench *b)
{
	require(b, dsm_barrier(), "dsm_barrier()");
}

static inline void bench_prefetch(const struct bench *b, size_t page, size_t count, bool for_write)
{
	require(b, dsm_prefetch(bench_page(b, page), count * b->row->page_bytes, for_write),
		"dsm_prefetch()");
}

/** Changes each of @bytes bytes, a multiple of 8. */
static inline void bench_flip(char *at, size_t bytes)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)at;

	for (size_t i = 0; i < bytes / sizeof *words; i++)
		words[i] = ~words[i];
}

static inline void bench_flip_line(char *line)
{
	bench_flip(line, SYNC_LINE_BYTES);
}

#endif
