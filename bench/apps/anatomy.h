/*
 * Where the time of a run on Minorca goes: a run of its own, in which faults are traced (dsm_trace_start())
 * and the calls that are too short to be timed otherwise are timed. It is slower than the run that is
 * reported, so it says in which proportions that one's time is to be split, and no more.
 */
#ifndef MINORCA_BENCH_APPS_ANATOMY_H
#define MINORCA_BENCH_APPS_ANATOMY_H

#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "bench/apps/worker.h"

/* The stages of a fault, put together. */
enum anatomy_stage {
	STAGE_TRAP, /* from the access to the runtime, and back to it: not traced, but calibrated */
	STAGE_DATA, /* memory for the page, its versions, its bytes */
	STAGE_MAP,  /* CONTINUE, or write-protection taken off */
	STAGE_REST, /* the page's lock, the twin of a page that is stored to */
	ANATOMY_STAGES
};

#define ANATOMY_KINDS (DSM_FAULT_UPGRADE + 1)

/* Measured once, on each node. */
struct anatomy_scale {
	double ns_per_tick;
	uint64_t cost_ticks;	       /* of noting a moment */
	double trap_ns[ANATOMY_KINDS]; /* what of a fault is outside of its moments: medians */
};

/* What became of the workers' time in a traced run, in ns; of all workers of a node together. What noting it
 * has cost is taken off. All numbers of 8 bytes: nodes are added up. */
struct anatomy {
	uint64_t run_ns;		/* all of it */
	uint64_t accounted_ns;		/* all of the following, and what noting it has cost */
	uint64_t compute_ns;		/* the rest of it, or nothing if there is more of them than time */
	uint64_t faults[ANATOMY_KINDS]; /* as many were traced */
	uint64_t fault_ns[ANATOMY_KINDS],
	    stage_ns[ANATOMY_STAGES]; /* either way all faults, those left out too */
	uint64_t left_out;	      /* no room for them; counted like the others' mean */
	uint64_t lock_ns, unlock_ns, atomic_ns, prefetch_ns; /* calls */
	uint64_t call_ns; /* all others, prefetches, and waiting in barriers */
};

#define ANATOMY_NUMBERS (sizeof(struct anatomy) / sizeof(uint64_t))

/** Measures the clock, and how long faults take to reach the runtime and to return. Collective. */
void anatomy_calibrate(unsigned int node, unsigned int nodes, struct anatomy_scale *out);

/** Begins to trace on this node, where about @faults are expected. While no worker runs. */
void anatomy_start(uint64_t faults);

/** Ends it, and adds up what this node's workers did. */
void anatomy_end(const struct anatomy_scale *scale, struct shared *shared, unsigned int threads,
		 struct anatomy *out);

#endif
