/*
 * dsm_reduce() and dsm_broadcast(): each node has a buffer that the others read one-sided.
 */
#ifndef MINORCA_DSM_COLLECTIVE_H
#define MINORCA_DSM_COLLECTIVE_H

/** Makes this node's buffers. @return 0 or -errno. */
int collective_create(void);
void collective_destroy(void);
/** Makes them known to all nodes. Collective. */
int collective_connect(void);

#endif
