/*
 * Where floors copy from when all nodes are on one host: the floor of node 0.
 */
#ifndef MINORCA_BENCH_FLOOR_SOURCE_H
#define MINORCA_BENCH_FLOOR_SOURCE_H

#include "bench/floor.h"
#include "bench/job.h"

/** Makes node 0's memory the source of the other nodes' copies, with its pages present, which must be there
 * already. Collective; what goes wrong ends the job. */
void floor_source_attach(const struct job *job, struct floor *floor);

#endif
