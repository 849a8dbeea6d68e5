/*
 * The anatomy of a fault: how long each of its stages takes, by the moments that the runtime notes
 * (dsm_trace_start()) and two more around the touch; or by those and the kernel's tracepoints, which tell the
 * kernel's stages apart (kernel_stages.h).
 */
#ifndef MINORCA_BENCH_ANATOMY_H
#define MINORCA_BENCH_ANATOMY_H

#include <stdint.h>

#include <minorca.h>

#include "bench/harness.h"
#include "bench/kernel_stages.h"
#include "bench/kernel_trace.h"
#include "bench/output.h"

/* Stage i ends with moment i; the last one ends when the touch is over. */
#define ANATOMY_STAGES (DSM_MOMENTS + 1)

_Static_assert(KERNEL_STAGES >= ANATOMY_STAGES, "there is room for either");

/* A row of the results. What it takes to note a moment, and to trace an event of the kernel, has been taken
 * off. */
struct anatomy {
	const char *benchmark, *kind, *delivery, *access, *transport, *invariant, *skipped, *commit, *host;
	uint64_t blocks, page_size_bytes, threads, nodes, samples;
	uint64_t stage_ns[KERNEL_STAGES]; /* means over the middle fifth of the faults */
	uint64_t sum_ns;		  /* of the stages */
	uint64_t whole_ns;		  /* from before the touch until after it: the median */
	uint64_t untraced_ns;		  /* the same in rounds in which nothing was traced */
	double sum_ratio;		  /* sum_ns / whole_ns */
	uint64_t moment_cost_ns, idle_moment_cost_ps;

	/* With --kernel. */
	uint64_t kernel_ns; /* the stages that are the kernel's */
	uint64_t event_cost_ns;
	double untraced_ratio; /* sum_ns / untraced_ns */
};

extern const struct column anatomy_columns[], anatomy_kernel_columns[];
extern const size_t anatomy_column_count, anatomy_kernel_column_count;

/**
 * Fills in what was measured, on node 0. Collective. Ends the job if it cannot be had.
 *
 * @param kernel  with options.kernel, on nodes that measure; else NULL
 */
void anatomy_run(struct harness *harness, const struct setup *setup, struct kernel_trace *kernel,
		 uint64_t budget_ns, struct anatomy *out);

/** For a row that cannot be had, @because. */
void anatomy_skip(const char *because, struct anatomy *out);

#endif
