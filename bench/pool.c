/*
 * Sharing out the hugepage pool. See pool.h.
 */
#include "bench/pool.h"

#include <stdint.h>

#include "kernel/memory.h"

static uint64_t free_pages(size_t page_bytes)
{
	struct hugepage_pool pool;

	if (hugepage_pool_read(page_bytes, &pool))
		return 0;
	return pool.free - pool.reserved + pool.overcommit - pool.surplus;
}

struct pool_share pool_share(const struct job *job, size_t page_bytes, unsigned int copies, bool rdma)
{
	uint64_t measuring = (uint64_t)job->nodes - 1;

	if (page_bytes <= 4 * KIB)
		return (struct pool_share){.pages = SIZE_MAX, .pool_free = SIZE_MAX};
	uint64_t mine = copies * (job->node == 0 ? measuring : 1);
	if (rdma && job->node)
		mine += measuring - 1; /* the floor has its slice only */
	else if (!job->home_is_here)
		mine *= 2; /* the floor's source is on this host too */
	uint64_t needed = job_host_sum(mine), available = free_pages(page_bytes);
	uint64_t pages = job_minimum(available / needed);
	/* The figures for people are those of a host that has the fewest. */
	uint64_t fewest = job_minimum(available / needed == pages ? available : UINT64_MAX);
	return (struct pool_share){
	    .pages = pages,
	    .pool_free = fewest,
	    .pool_needed_for_one = job_minimum(available == fewest ? needed : UINT64_MAX),
	};
}
