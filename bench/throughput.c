/*
 * Steps by time. See throughput.h.
 */
#include "bench/throughput.h"

#include <string.h>

#include "bench/percentile.h"

#define MS_NS 1000000u
#define BINS_OF_MS 10
_Static_assert(MS_NS / THROUGHPUT_BIN_NS == BINS_OF_MS, "they make a millisecond");
/* Of which a recovery is made sure. */
#define STEADY_BINS (2 * BINS_OF_MS)
#define USUAL_MOST 1024

void throughput_begin(struct throughput *t, uint64_t origin_ns)
{
	memset(t, 0, sizeof *t); /* all of it is touched before anything is timed */
	t->origin_ns = origin_ns;
}

void throughput_merge(struct throughput *t, const uint32_t *bins)
{
	for (size_t i = 0; i < THROUGHPUT_BINS; i++)
		t->bins[i] += bins[i];
}

static size_t bin_of(const struct throughput *t, uint64_t ns)
{
	uint64_t bin = ns > t->origin_ns ? (ns - t->origin_ns) / THROUGHPUT_BIN_NS : 0;

	return bin < THROUGHPUT_BINS ? (size_t)bin : THROUGHPUT_BINS;
}

static uint64_t sum(const struct throughput *t, size_t first, size_t count)
{
	uint64_t steps = 0;

	for (size_t i = first; i < first + count && i < THROUGHPUT_BINS; i++)
		steps += t->bins[i];
	return steps;
}

uint64_t throughput_usual(const struct throughput *t, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t samples[USUAL_MOST];
	size_t count = 0, end = bin_of(t, to_ns);

	for (size_t bin = bin_of(t, from_ns); bin + BINS_OF_MS <= end && count < USUAL_MOST;
	     bin += BINS_OF_MS)
		samples[count++] = sum(t, bin, BINS_OF_MS);
	return distribution_of(samples, count).p50_ns;
}

uint64_t throughput_recovered(const struct throughput *t, uint64_t since_ns, uint64_t end_ns, uint64_t usual,
			      double share)
{
	double least = share * (double)usual / BINS_OF_MS; /* in a bin */
	size_t end = bin_of(t, end_ns);

	if (!usual)
		return OUTPUT_ABSENT; /* nothing can be said */
	/* The bin of @since_ns has steps from before it. */
	for (size_t bin = bin_of(t, since_ns) + 1; bin + STEADY_BINS <= end; bin++)
		if ((double)t->bins[bin] >= least && (double)sum(t, bin, STEADY_BINS) >= least * STEADY_BINS)
			return t->origin_ns + bin * THROUGHPUT_BIN_NS - since_ns;
	return OUTPUT_ABSENT;
}

void throughput_curve(const struct throughput *t, uint64_t zero_ns, unsigned int bin_ms, unsigned int before,
		      struct curve *out)
{
	size_t width = (size_t)bin_ms * BINS_OF_MS, zero = bin_of(t, zero_ns);

	for (size_t i = 0; i < out->count; i++) {
		size_t first = zero + i * width;
		out->points[i][0] = ((double)i - before) * bin_ms;
		out->points[i][1] =
		    first < before * width ? 0 : (double)sum(t, first - before * width, width) / bin_ms;
	}
}
