/*
 * Where the time of faults goes: the moments of each fault, in ticks of the time-stamp counter, into memory
 * that was allocated before. Switched off, a moment costs a look at a word of the lane; there is no other
 * cost.
 *
 * dsm_trace_start() and what belongs to it are in <minorca.h>.
 */
#ifndef MINORCA_DSM_TRACE_H
#define MINORCA_DSM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "dsm/lane.h"

/* Whether faults are traced. */
extern bool trace_on;

/** Now, if faults are traced; else 0. */
static inline uint64_t trace_ticks(void)
{
	return __builtin_expect(__atomic_load_n(&trace_on, __ATOMIC_RELAXED), 0) ? dsm_trace_ticks() : 0;
}

/** A fault begins, which reached the runtime at @entered; 0: is not traced. */
void trace_begin(struct lane *lane, uint64_t entered);

/** It has come to this moment. */
static inline void trace_moment(struct lane *lane, enum dsm_moment moment)
{
	if (__builtin_expect(lane->fault != NULL, 0))
		lane->fault->at[moment] = dsm_trace_ticks();
}

/** It has brought in so many pages. */
static inline void trace_pages(struct lane *lane, uint32_t pages)
{
	if (__builtin_expect(lane->fault != NULL, 0))
		lane->fault->pages = pages;
}

struct dsm_region;

/** It is over. */
void trace_end(struct lane *lane, const struct dsm_region *region, size_t page, bool write, bool present);

/** MINORCA_TRACE: begins with the runtime, and writes what there is at its end. What fails is reported. */
void trace_open(void);
void trace_close(void);

#endif
