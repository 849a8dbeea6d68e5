/*
 * Counters. Each lane has its own set, so that threads share no cache line; dsm_stats() sums them.
 */
#ifndef MINORCA_DSM_STATS_H
#define MINORCA_DSM_STATS_H

#include <stdint.h>

/*
 * Adds to a counter of a lane that the caller holds. It is the only writer; the relaxed atomics are for
 * dsm_stats(), which reads at any time.
 */
static inline void stats_add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

#endif
