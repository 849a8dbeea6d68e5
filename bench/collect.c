/*
 * See collect.h.
 */
#include "bench/collect.h"

#include <stdlib.h>

#include "bench/job.h"

uint64_t *collect_samples(const uint64_t *mine, size_t count, size_t *all_count)
{
	uint64_t total = job_sum(count);
	uint64_t *all = malloc((total + 1) * sizeof *all);

	if (!all)
		job_fail("out of memory for samples");
	*all_count = job_gather(mine, count, all);
	return all;
}

struct distribution collect_distribution(const uint64_t *mine, size_t count)
{
	size_t all_count;
	uint64_t *all = collect_samples(mine, count, &all_count);
	struct distribution d = distribution_of(all, all_count);

	free(all);
	return d;
}
