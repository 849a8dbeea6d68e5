/*
 * Memory of this node that its device may use: registered in chunks, so that no registration is larger than a
 * device or the kernel takes, and so that what peers have no business in has no key that they could use.
 */
#ifndef MINORCA_DSM_VERBS_MEMORY_H
#define MINORCA_DSM_VERBS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/transport.h"

/* A segment of this node. Set-up thread writes; lanes read, between expose() and detach(), which the caller
 * orders. */
struct verbs_registered {
	uintptr_t base;
	size_t bytes;	      /* 0: none */
	uint32_t *local_keys; /* of each chunk */
	struct ibv_mr **chunks;
	size_t chunk_count;
};

/* The most ways in which one registration is tried. */
#define VERBS_ACCESS_MOST 3

/** How many chunks of 2^@chunk_shift bytes a segment of @bytes has. */
static inline size_t verbs_chunks(size_t bytes, unsigned chunk_shift)
{
	return (bytes + ((size_t)1 << chunk_shift) - 1) >> chunk_shift;
}

/**
 * The access flags to try for a chunk of @memory, best first: on-demand paging by huge pages, on-demand
 * paging, pinned.
 *
 * @param served  peers need something in it
 * @param flags   VERBS_ACCESS_MOST of them
 * @return how many.
 */
unsigned verbs_plan_access(const struct segment_memory *memory, bool served, bool on_demand,
			   bool on_demand_atomic, int *flags);

/** Registers memory. @return 0; -ENOMEM, -ENOSPC, -EIO ..., reported. */
int verbs_register(struct ibv_pd *domain, const char *what, void *base, size_t bytes, const int *flags,
		   unsigned count, struct ibv_mr **out);

/* What decides how a segment is registered. */
struct verbs_registrar {
	struct ibv_pd *domain;
	unsigned chunk_shift;
	bool on_demand, on_demand_atomic;
};

/**
 * Registers a segment, chunk by chunk.
 *
 * @param remote_keys  filled: of each chunk, VERBS_NO_KEY where peers need nothing
 * @return 0; as verbs_register().
 */
int verbs_segment_register(const struct verbs_registrar *registrar, const struct segment_memory *memory,
			   struct verbs_registered *out, uint32_t *remote_keys);

/** Ends its registrations. An empty one stays as it is. */
void verbs_segment_deregister(struct verbs_registered *segment);

#endif
