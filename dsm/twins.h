/*
 * Twins: copies of pages as they were before this node's first store of an interval.
 *
 * A pool per region, of as many slots as the region has pages, so that it cannot run out; memory is paid for
 * slots that were used. Slots are reused last-in first-out: a warm twin is copied into faster than a fresh
 * page. Getting and putting are lock-free and async-signal-safe.
 */
#ifndef MINORCA_DSM_TWINS_H
#define MINORCA_DSM_TWINS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define TWIN_NONE UINT32_MAX

struct twins {
	unsigned char *memory;
	uint32_t *next; /* of a free slot: the free slot below it. Written by who pushes the slot. */
	size_t slot_bytes, mapped_bytes;
	uint32_t slots;
	/* Low half: the free slot on top plus one, 0: none. High half: counts changes, against ABA. */
	_Alignas(64) _Atomic uint64_t top;
	_Alignas(64) atomic_uint fresh; /* slots from here on were never used */
};

/** @return 0; -ENOMEM; -EINVAL: more than 2^32 - 2 pages. */
int twins_create(struct twins *twins, size_t pages, size_t page_bytes);
void twins_destroy(struct twins *twins);

/** Gives back the memory that destroyed pools left for new ones. Set-up only. */
void twins_release_kept(void);

/** A free slot; TWIN_NONE if all are in use, which needs more twins than pages. */
uint32_t twins_get(struct twins *twins);
void twins_put(struct twins *twins, uint32_t slot);

static inline unsigned char *twins_memory(const struct twins *twins, uint32_t slot)
{
	return twins->memory + (size_t)slot * twins->slot_bytes;
}

#endif
