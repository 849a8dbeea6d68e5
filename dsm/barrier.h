/*
 * The barrier between nodes: dissemination over one-sided writes, no MPI.
 */
#ifndef MINORCA_DSM_BARRIER_H
#define MINORCA_DSM_BARRIER_H

/* 2^20 nodes. */
#define BARRIER_ROUNDS_MAX 20

/** Makes this node's words that peers write. @return 0 or -errno. */
int barrier_create(void);
void barrier_destroy(void);
/** Makes them known to all nodes. Collective. */
int barrier_connect(void);

/** dsm_barrier(), for the call of the public interface that @what names in messages. */
int barrier_pass(const char *what);

#endif
