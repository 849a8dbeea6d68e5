/*
 * Exact percentiles by sorting. See percentile.h.
 */
#include "bench/percentile.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void percentile_sort(uint64_t *samples, size_t count)
{
	qsort(samples, count, sizeof *samples, compare);
}

uint64_t percentile(const uint64_t *sorted, size_t count, double percent)
{
	/* 99.9 has no exact binary form: without the slack the rank of p99.9 among 1000 would come out one
	 * high. */
	double rank = ceil(percent / 100.0 * (double)count - 1e-9);
	size_t index = rank < 1.0 ? 0 : (size_t)rank - 1;

	return sorted[index < count ? index : count - 1];
}

/* Of the sum, which holds 10^19 ns: samples of 300 years. */
static uint64_t mean(const uint64_t *samples, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += samples[i];
	return sum / count;
}

double distribution_percent(size_t index)
{
	static const double tail[] = {99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.995, 99.999, 100.0};

	static_assert(1 + 99 + sizeof tail / sizeof tail[0] == DISTRIBUTION_QUANTILES, "0.1, 1 to 99, tail");
	if (index == 0)
		return 0.1;
	return index < 100 ? (double)index : tail[index - 100];
}

struct distribution distribution_of(uint64_t *samples, size_t count)
{
	if (!count)
		return (struct distribution){0};
	percentile_sort(samples, count);
	struct distribution d = {
	    .samples = count,
	    .mean_ns = mean(samples, count),
	    .min_ns = samples[0],
	    .p50_ns = percentile(samples, count, 50.0),
	    .p90_ns = percentile(samples, count, 90.0),
	    .p99_ns = percentile(samples, count, 99.0),
	    .p999_ns = percentile(samples, count, 99.9),
	    .max_ns = samples[count - 1],
	};
	for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++)
		d.quantiles_ns[i] = percentile(samples, count, distribution_percent(i));
	return d;
}
