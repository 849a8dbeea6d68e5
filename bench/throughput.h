/*
 * What was done over time: steps by bins of 100 us, for a dip and its end. No locks: who counts is one
 * thread at a time.
 */
#ifndef MINORCA_BENCH_THROUGHPUT_H
#define MINORCA_BENCH_THROUGHPUT_H

#include <stddef.h>
#include <stdint.h>

#include "bench/output.h"

#define THROUGHPUT_BIN_NS 100000u
#define THROUGHPUT_BINS 600000u /* a minute */

struct throughput {
	uint64_t origin_ns;
	uint32_t bins[THROUGHPUT_BINS];
};

/** Forgets all, and begins at @origin_ns. */
void throughput_begin(struct throughput *t, uint64_t origin_ns);

/** A step was done at @now_ns. */
static inline void throughput_add(struct throughput *t, uint64_t now_ns)
{
	uint64_t bin = (now_ns - t->origin_ns) / THROUGHPUT_BIN_NS;

	if (bin < THROUGHPUT_BINS)
		t->bins[bin]++;
}

/** Adds what was counted elsewhere, from the same origin. */
void throughput_merge(struct throughput *t, const uint32_t *bins);

/** Steps in a millisecond, of those in [@from_ns, @to_ns): the median. 0: not one is in there. */
uint64_t throughput_usual(const struct throughput *t, uint64_t from_ns, uint64_t to_ns);

/**
 * When it is back to @share of @usual (steps in a millisecond), seen from @since_ns: the end of the last bin
 * before the first one that has so many, and so have the 2 ms from it on, together.
 *
 * @return the time from @since_ns on; OUTPUT_ABSENT: not before @end_ns, or nothing is usual
 */
uint64_t throughput_recovered(const struct throughput *t, uint64_t since_ns, uint64_t end_ns, uint64_t usual,
			      double share);

/**
 * Points of a curve: the time in ms from @zero_ns on, and steps in a ms, by bins of @bin_ms, from @before of
 * them before @zero_ns on.
 */
void throughput_curve(const struct throughput *t, uint64_t zero_ns, unsigned int bin_ms, unsigned int before,
		      struct curve *out);

#endif
