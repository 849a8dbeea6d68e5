/*
 * Exact percentiles: every sample is kept, nothing is binned or interpolated.
 */
#ifndef MINORCA_BENCH_PERCENTILE_H
#define MINORCA_BENCH_PERCENTILE_H

#include <stddef.h>
#include <stdint.h>

/** Sorts ascending, in place. */
void percentile_sort(uint64_t *samples, size_t count);

/**
 * The smallest sample that at least @percent of all samples do not exceed (nearest rank).
 *
 * @param sorted   ascending, @count > 0 of them
 * @param percent  0 < @percent <= 100; 100 gives the maximum
 */
uint64_t percentile(const uint64_t *sorted, size_t count, double percent);

/* Points of the cumulative distribution: every percent, and closer towards the tail. */
#define DISTRIBUTION_QUANTILES 109

/** The percent that quantile @index is of: ascending from 0.1, the last is 100. */
double distribution_percent(size_t index);

/* What is reported of one distribution. */
struct distribution {
	uint64_t samples;
	uint64_t mean_ns;
	uint64_t min_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
	uint64_t quantiles_ns[DISTRIBUTION_QUANTILES];
};

/** Sorts @samples and sums them up. No samples: all zero. */
struct distribution distribution_of(uint64_t *samples, size_t count);

#endif
