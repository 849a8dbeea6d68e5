/*
 * The barrier between nodes: dissemination over one-sided writes, no MPI.
 */
#ifndef MINORCA_DSM_BARRIER_H
#define MINORCA_DSM_BARRIER_H

#include <stddef.h>

/* 2^20 nodes. */
#define BARRIER_ROUNDS_MAX 20

/** Makes this node's control segment (the words that peers write). Exposed as SEGMENT_CONTROL by the caller.
 * @return 0 or -errno. */
int barrier_create(void);
void barrier_destroy(void);

/** The control segment's file, memory and size. */
int barrier_file(void);
void *barrier_memory(void);
size_t barrier_bytes(void);

#endif
