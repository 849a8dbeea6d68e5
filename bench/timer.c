/*
 * What the clock itself costs. See timer.h.
 */
#include "bench/timer.h"

#include "bench/percentile.h"

#define ROUNDS 2001

uint64_t timer_cost_ns(void)
{
	uint64_t samples[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t before = timer_now_ns();
		samples[i] = timer_now_ns() - before;
	}
	percentile_sort(samples, ROUNDS);
	return percentile(samples, ROUNDS, 50.0);
}
