/*
 * A team of workers, and the memory that they share: what the applications are written in.
 *
 * The shared-memory form of an application is one source for two back ends: threads of one process (malloc()
 * and a barrier in memory), and Minorca, whose nodes have one worker or several. In the MPI form a worker is
 * a rank, and barriers and reductions go to MPI.
 *
 * What fails ends the job, with a message: a benchmark has nothing to go on with.
 */
#ifndef MINORCA_BENCH_APPS_WORKER_H
#define MINORCA_BENCH_APPS_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "bench/timer.h"

enum form { FORM_SERIAL, FORM_THREADS, FORM_MPI, FORM_DSM, FORMS };

struct shared;

/* Calls that are timed in a run for its anatomy alone: reading a clock would slow others down. */
enum { WATCH_LOCK, WATCH_UNLOCK, WATCH_ATOMIC, WATCH_PREFETCH, WATCHES };

struct stopwatch {
	uint64_t ticks, calls; /* of dsm_trace_ticks() */
};

struct worker {
	struct shared *shared;
	enum form form;
	unsigned int rank, workers;   /* among all; those of a node follow each other */
	unsigned int thread, threads; /* of this node */
	uint64_t run_ns;	      /* the whole run */
	void *mine;		      /* the application's, for this worker */
	uint64_t barrier_ns;	      /* spent waiting for others, where that can be told */
	uint64_t call_ns;	      /* spent in calls that synchronise or communicate, waiting included */
	bool watched;		      /* it has time for `watches` */
	struct stopwatch watches[WATCHES];
} __attribute__((aligned(128))); /* neighbours write to theirs all the time */

/* Runs a statement that synchronises or communicates, and counts its time. */
#define WORKER_CALL(worker, statement)                           \
	do {                                                     \
		uint64_t since_ns_ = timer_now_ns();             \
		statement;                                       \
		(worker)->call_ns += timer_now_ns() - since_ns_; \
	} while (0)

/* --- the memory of one run ----------------------------------------------------------------------------- */

/**
 * Begins a run of a form. In FORM_DSM and FORM_MPI all nodes make the call, in the others one.
 *
 * @param nodes       with workers; 1 unless the form has several
 * @param threads     workers of this node
 * @param page_bytes  FORM_DSM: of regions, where the hugepage pool has enough; else 4 KiB are taken
 */
struct shared *shared_begin(enum form form, unsigned int node, unsigned int nodes, unsigned int threads,
			    size_t page_bytes);

/** Frees all memory of the run. By whoever began it. */
void shared_end(struct shared *shared);

struct worker *shared_worker(struct shared *shared, unsigned int thread);

/** The smallest page of the regions that were made, 0 if none was. */
size_t shared_page_bytes(const struct shared *shared);

/**
 * Zeroed memory that all workers see, a part of at least @bytes for each of them, whose home is that worker's
 * node. By one thread of each node, in the same order; not in FORM_MPI.
 *
 * @param stride  set to the distance of two parts, a multiple of the page size
 * @return worker 0's part.
 */
void *shared_parts(struct shared *shared, const char *name, size_t bytes, size_t *stride);

/** Zeroed memory of this worker alone, until the run ends; on hugepages where the kernel gives any. */
void *worker_private(struct worker *worker, size_t bytes);

/* --- what workers do together -------------------------------------------------------------------------- */

/** What a worker stored before it, all see after it. */
void worker_barrier(struct worker *worker);

enum combination { SUM_DOUBLE, MAX_DOUBLE, SUM_UINT64, MAX_UINT64 };

/** Combines @count (at most WORKER_REDUCE_MAX) numbers of 8 bytes of every worker, in place, in an order that
 * does not change from run to run. A barrier too. */
#define WORKER_REDUCE_MAX 4096
void worker_reduce(struct worker *worker, void *numbers, size_t count, enum combination combination);

/** Says that what is at @address is about to be read, or stored to. */
void worker_prefetch(struct worker *worker, const void *address, size_t bytes, bool for_write);

/* In shared memory; zero: free. */
union worker_lock {
	dsm_mutex dsm;
	pthread_mutex_t thread;
};

void worker_lock(struct worker *worker, union worker_lock *lock);
void worker_unlock(struct worker *worker, union worker_lock *lock);

/** Changes a word of shared memory by exclusive or, atomically. Such a word is not accessed otherwise
 * meanwhile. */
void worker_atomic_xor(struct worker *worker, uint64_t *word, uint64_t value);

/** The part of [0, @count) that falls to worker @rank: [worker_first(rank), worker_first(rank + 1)). */
static inline size_t worker_first(size_t count, unsigned int rank, unsigned int workers)
{
	return count * rank / workers;
}

#endif
