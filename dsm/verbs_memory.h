/*
 * Memory of this node that its device may use: how it is registered, and the table in which the hot path
 * finds the local key of a buffer.
 */
#ifndef MINORCA_DSM_VERBS_MEMORY_H
#define MINORCA_DSM_VERBS_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/transport.h"

/* A registered piece of memory. Written by the set-up thread, read by every lane meanwhile: see
 * verbs_memory.c. */
struct verbs_registered {
	atomic_uint version; /* odd while the others change */
	_Atomic(uintptr_t) base;
	atomic_size_t bytes; /* 0: none */
	_Atomic(uint32_t) local_key;
	struct ibv_mr *region; /* set-up thread only */
};

/* The most ways in which one registration is tried. */
#define VERBS_ACCESS_MOST 3

/**
 * The access flags to try for @memory, best first: on-demand paging by huge pages, on-demand paging, pinned.
 *
 * @param flags  VERBS_ACCESS_MOST of them
 * @return how many.
 */
unsigned verbs_plan_access(const struct segment_memory *memory, bool on_demand, bool on_demand_atomic,
			   int *flags);

/** Registers memory. @return 0; -ENOMEM, -ENOSPC, -EIO ..., reported. */
int verbs_register(struct ibv_pd *domain, const char *what, void *base, size_t bytes, const int *flags,
		   unsigned count, struct ibv_mr **out);

/** Says that memory for @what, @bytes of it, could not be had, and how to raise the limit on locked memory.
 */
void verbs_report_locked_memory(const char *what, size_t bytes, int error);

/** Puts a registration into the table's @entry. */
void verbs_registered_set(struct verbs_registered *entry, struct ibv_mr *region, void *base, size_t bytes);

/** Takes the entry's registration out of the table and ends it. An empty entry stays as it is. */
void verbs_registered_clear(struct verbs_registered *entry);

/**
 * Finds the local key for @bytes at @address among SEGMENTS_MAX entries; looks at entry @likely first.
 * Async-signal-safe.
 *
 * @return whether they lie in one entry.
 */
bool verbs_find_local_key(struct verbs_registered *entries, unsigned likely, const void *address,
			  size_t bytes, uint32_t *key);

#endif
