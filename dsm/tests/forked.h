/*
 * Jobs without MPI: the nodes are children of one process, which looks at what becomes of them. A job takes
 * some tens of milliseconds, so that there can be many.
 */
#ifndef MINORCA_DSM_TESTS_FORKED_H
#define MINORCA_DSM_TESTS_FORKED_H

#include <stdbool.h>
#include <stddef.h>

#define FORKED_NODES_MAX 4
#define FORKED_TEXT_BYTES 4096

/* What became of a node. */
struct forked_end {
	int status;		      /* as of waitpid() */
	bool hung;		      /* it was killed, for it did not end */
	char text[FORKED_TEXT_BYTES]; /* the end of what it wrote to stderr */
};

/**
 * Runs @body(node, argument) in each of @nodes processes, with a bootstrap by shared memory under dsm_init();
 * what it returns is the exit status. Waits for all, for at most @seconds.
 */
void forked_job(int nodes, double seconds, int (*body)(int node, void *argument), void *argument,
		struct forked_end ends[FORKED_NODES_MAX]);

#endif
