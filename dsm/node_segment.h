/*
 * Memory that each node has one of and peers reach one-sided, besides regions: the words of the barrier, the
 * change log, the queues of locks. Made at dsm_init(), all alike on every node.
 */
#ifndef MINORCA_DSM_NODE_SEGMENT_H
#define MINORCA_DSM_NODE_SEGMENT_H

#include <stddef.h>

struct node_segment {
	const char *name; /* static */
	void *memory;	  /* zero at first; NULL: not made */
	size_t bytes;
	int fd;
};

/** Makes this node's part, sparse, zero. @return 0 or -errno. */
int node_segment_create(struct node_segment *segment, const char *name, size_t bytes);

/** Frees it. No peer may use it any more. Not made: nothing. */
void node_segment_destroy(struct node_segment *segment);

/** Makes it reachable for peers and theirs for us, as segment @id of the transport. Collective; errors are
 * reported.
 * @access: PEERS_*, what they do to it (dsm/transport.h). */
int node_segment_connect(const struct node_segment *segment, unsigned id, unsigned access);

#endif
