/*
 * What the tests of dsm/diff.c need beside dsm/diff.h: every way to compare, whatever the CPU at hand
 * prefers.
 */
#ifndef MINORCA_DSM_DIFF_INTERNAL_H
#define MINORCA_DSM_DIFF_INTERNAL_H

#include "dsm/diff.h"

/**
 * Compares whole chunks from @at on, as long as each has the same mask of bytes that differ (bit i: byte i).
 *
 * @param same  the mask to skip: 0 for chunks that are equal, ~0 for those that are all different
 * @param mask  set to the mask of the chunk at which it stopped
 * @return where that chunk begins, or, when all whole chunks were skipped, where the last one ended.
 */
typedef size_t diff_skip_fn(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes,
			    uint64_t same, uint64_t *mask);

struct diff_implementation {
	const char *name;
	bool (*supported)(void); /* by this CPU and its kernel */
	diff_skip_fn *skip;
};

/* From the slowest to the fastest; ends with a name of NULL. */
extern const struct diff_implementation diff_implementations[];

/* Which one is used. While no other thread compares. */
const struct diff_implementation *diff_chosen(void);
void diff_choose(const struct diff_implementation *implementation);

#endif
