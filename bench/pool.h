/*
 * How many hugepages a benchmark may use.
 */
#ifndef MINORCA_BENCH_POOL_H
#define MINORCA_BENCH_POOL_H

#include <stddef.h>

#include "bench/job.h"

/* What is found of the pool of one page size, the same on all nodes. */
struct pool_share {
	size_t pages; /* that each measuring node may have; SIZE_MAX for 4 KiB pages, which need no pool */
	size_t
	    pool_free; /* on the host that has fewest for its nodes; 0 where the kernel has no such pages */
	size_t pool_needed_for_one; /* on that host, if each measuring node had one page */
};

/**
 * Shares out the pool. Collective.
 *
 * @param copies  how often a page exists on a node at the same time: once for the runtime and once for its
 * floor, say. The home has all pages of all nodes
 * @param rdma  the runtime's pages of all nodes are on each of them, for it registers the whole region
 */
struct pool_share pool_share(const struct job *job, size_t page_bytes, unsigned int copies, bool rdma);

#endif
