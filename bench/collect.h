/*
 * Samples of all nodes, brought together at node 0. Collective.
 */
#ifndef MINORCA_BENCH_COLLECT_H
#define MINORCA_BENCH_COLLECT_H

#include <stddef.h>
#include <stdint.h>

#include "bench/percentile.h"

/**
 * All nodes' samples, node by node: series of which each node has as many come in the same order.
 *
 * @param all_count  how many; 0 on the other nodes
 * @return to be freed, on every node. Without memory the job ends.
 */
uint64_t *collect_samples(const uint64_t *mine, size_t count, size_t *all_count);

/** Their distribution; all zero on the other nodes. */
struct distribution collect_distribution(const uint64_t *mine, size_t count);

/** What has been @count (bytes, say) in @ns, for a second; 0 if there is no time. */
static inline uint64_t per_second(uint64_t count, uint64_t ns)
{
	return ns ? (uint64_t)((double)count * 1e9 / (double)ns) : 0;
}

#endif
