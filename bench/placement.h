/*
 * Where the threads of a benchmark run: nodes of one host spread over its cores, threads of a node on
 * neighbouring cores, a handler thread where the runtime would put it.
 */
#ifndef MINORCA_BENCH_PLACEMENT_H
#define MINORCA_BENCH_PLACEMENT_H

#include "bench/job.h"

struct topology;

#define PLACEMENT_THREADS_MAX 256

struct placement {
	struct topology *topology;
	int pus[PLACEMENT_THREADS_MAX]; /* OS indexes; of faulting thread i. With more threads than PUs some
					   share one */
	int handler_pu;
	char text[192]; /* for people */
};

/**
 * Chooses, and puts MINORCA_HANDLER_PU into the environment if nobody has, so that the runtime's handler is
 * where the floor's is. To be called before dsm_init(). Ends the job if the machine cannot be read.
 */
void placement_choose(const struct job *job, unsigned int threads, struct placement *out);
void placement_free(struct placement *placement);

#endif
