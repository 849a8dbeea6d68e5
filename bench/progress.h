/*
 * How far a run has come: a short line on stderr every few seconds, and none if the run is over before.
 */
#ifndef MINORCA_BENCH_PROGRESS_H
#define MINORCA_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	size_t steps, done;
	uint64_t started_ns, told_ns;
	bool speak;
	bool terminal; /* the line is written over, not repeated */
};

/** @param speak  this node is the one that tells */
void progress_begin(struct progress *progress, size_t steps, bool speak);

/** Another step is done. */
void progress_step(struct progress *progress);

void progress_end(struct progress *progress);

#endif
