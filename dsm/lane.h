/*
 * Lanes: what a thread needs to talk to peers without sharing anything with other threads.
 *
 * There is a fixed number of lanes (MINORCA_LANES), made at start: the fault path allocates nothing. A thread
 * takes the same lane each time; with more threads than lanes some share one, and lane_acquire() makes them
 * take turns.
 *
 * Synchronisation (locks, atomics, the look at the change logs) has lanes of its own, a quarter as many.
 * Whoever holds one takes no page lock meanwhile, so that a signal handler that faults on this thread, on its
 * other lane, does not wait for itself: signals need not be blocked, which would cost two system calls.
 */
#ifndef MINORCA_DSM_LANE_H
#define MINORCA_DSM_LANE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "dsm/readahead.h"

/* Bytes of each lane's scratch buffer: versions that were read, results of atomics. */
#define LANE_SCRATCH_BYTES ((size_t)16384)

struct lane {
	/* Written by the thread that holds the lane, but for `held`. */
	_Alignas(64)
	    atomic_uint turn;	/* odd while a thread holds it; counts up at each taking and letting go */
	unsigned index;		/* immutable */
	unsigned char *scratch; /* LANE_SCRATCH_BYTES, 64-byte aligned; immutable pointer */
	struct dsm_stats stats; /* counted here, summed by dsm_stats() */
	struct readahead readahead;
	struct dsm_fault_trace *fault; /* being traced; NULL: none is. See trace.h */
};

/** Makes @count lanes for faults, a quarter as many for synchronisation, and one to ask with. @return 0 or
 * -ENOMEM. */
int lanes_create(unsigned count);

/** Frees them. No thread may hold one. */
void lanes_destroy(void);

/** How many there are of all kinds. */
unsigned lanes_count(void);

/** Lane number @index < lanes_count(). */
struct lane *lane_at(unsigned index);

/** The scratch buffers of all lanes, contiguous, lane 0's first; lanes_count() * LANE_SCRATCH_BYTES bytes. */
void *lanes_scratch(void);

/**
 * Takes this thread's lane; waits while another thread that shares it is using it. All signals must be
 * blocked (or this be the fault handler): a handler that ran on this thread meanwhile would wait for itself.
 * Async-signal-safe.
 */
struct lane *lane_acquire(void);

/**
 * The same for synchronisation: signals may stay as they are. The caller takes no page lock and touches no
 * region until it lets go.
 */
struct lane *lane_acquire_sync(void);

/**
 * The one lane that peers.c asks with whether a node lives: on a fabric it may wait long for one that does
 * not, and so no other thread is to depend on it. As lane_acquire_sync().
 */
struct lane *lane_acquire_to_ask(void);

void lane_release(struct lane *lane);

/**
 * Waits until every thread that held a lane when this was called has let go of it. Whoever looks up a region
 * holds a lane while it uses what it found, so after a region was taken off the table and this returned,
 * nobody uses it.
 */
void lanes_quiesce(void);

#endif
