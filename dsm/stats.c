/*
 * dsm_stats() and dsm_stats_reset().
 */
#include "dsm/stats.h"

#include <errno.h>
#include <minorca.h>

#include "dsm/lane.h"

#define COUNTERS (sizeof(struct dsm_stats) / sizeof(uint64_t))

int dsm_stats(struct dsm_stats *out)
{
	uint64_t sums[COUNTERS] = {0};

	if (!lanes_count())
		return -EINVAL;
	for (unsigned i = 0; i < lanes_count(); i++) {
		const uint64_t *counters = (const uint64_t *)&lane_at(i)->stats;
		for (unsigned c = 0; c < COUNTERS; c++)
			sums[c] += __atomic_load_n(&counters[c], __ATOMIC_RELAXED);
	}
	__builtin_memcpy(out, sums, sizeof *out);
	return 0;
}

int dsm_stats_reset(void)
{
	if (!lanes_count())
		return -EINVAL;
	for (unsigned i = 0; i < lanes_count(); i++) {
		uint64_t *counters = (uint64_t *)&lane_at(i)->stats;
		for (unsigned c = 0; c < COUNTERS; c++)
			__atomic_store_n(&counters[c], 0, __ATOMIC_RELAXED);
	}
	return 0;
}
