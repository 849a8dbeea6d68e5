/*
 * The anatomy of a fault: how long each of its stages takes, by the moments that the runtime notes
 * (dsm_trace_start()) and two more around the touch.
 */
#ifndef MINORCA_BENCH_ANATOMY_H
#define MINORCA_BENCH_ANATOMY_H

#include <stdint.h>

#include <minorca.h>

#include "bench/harness.h"
#include "bench/output.h"

/* Stage i ends with moment i; the last one ends when the touch is over. */
#define ANATOMY_STAGES (DSM_MOMENTS + 1)

/* A row of the results. What it takes to note a moment has been taken off. */
struct anatomy {
	const char *benchmark, *kind, *delivery, *access, *transport, *invariant, *commit, *host;
	uint64_t blocks, page_size_bytes, threads, nodes, samples;
	uint64_t stage_ns[ANATOMY_STAGES]; /* means over the middle fifth of the faults */
	uint64_t sum_ns;		   /* of the stages */
	uint64_t whole_ns;		   /* from before the touch until after it: the median */
	uint64_t untraced_ns;		   /* the same in rounds in which nothing was traced */
	double sum_ratio;		   /* sum_ns / whole_ns */
	uint64_t moment_cost_ns, idle_moment_cost_ps;
};

extern const struct column anatomy_columns[];
extern const size_t anatomy_column_count;

/** Fills in what was measured, on node 0. Collective. Ends the job if it cannot be had. */
void anatomy_run(struct harness *harness, const struct setup *setup, uint64_t budget_ns, struct anatomy *out);

#endif
