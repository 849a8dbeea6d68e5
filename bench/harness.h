/*
 * Runs one row of the plan: round by round, in turn on the runtime and on its floor, so that what disturbs
 * the machine disturbs both.
 */
#ifndef MINORCA_BENCH_HARNESS_H
#define MINORCA_BENCH_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/percentile.h"
#include "bench/side.h"

struct awake;
struct bare;
struct hand;
struct team;

/* Immutable while rows run, but for what hangs on `hands`. */
struct harness {
	const struct job *job;
	const struct placement *placement;
	const struct options *options;
	struct team *team;
	struct awake *awake; /* of the processing units that the team is on */
	struct hand *hands;  /* one for each thread of the team */
	struct bare *bare;   /* the floor's way to the home; NULL: by shared memory */
	unsigned int threads;
};

/* What a row has come to. On node 0 only. */
struct outcome {
	struct distribution runtime, floor; /* no samples: not measured */
	struct distribution read, map;	    /* the floor's two parts, where it reads by RDMA */
	struct counts counts; /* of the runtime, of the rounds that were sampled, all nodes together */
};

/** Ends the job if it cannot be had. Collective, with @rdma: the floor reads from the home by RDMA. */
void harness_create(const struct job *job, const struct placement *placement, const struct options *options,
		    unsigned int threads, bool rdma, struct harness *out);
void harness_destroy(struct harness *harness);

/**
 * Measures one row. Collective. A value that is not what the home wrote, or a count that is not what the case
 * says, ends the job.
 *
 * @param budget_ns  when to stop, unless options->iterations says; a minimum of samples is taken in any case
 */
void harness_run(struct harness *harness, const struct setup *setup, uint64_t budget_ns, struct outcome *out);

#endif
