/*
 * The clock that samples are taken with: CLOCK_MONOTONIC, which the vDSO reads from the time-stamp counter
 * without a system call. It costs what a serialised rdtscp costs (both are measured in tens of ns), is in ns
 * already, and exists on every architecture.
 */
#ifndef MINORCA_BENCH_TIMER_H
#define MINORCA_BENCH_TIMER_H

#include <stdint.h>
#include <time.h>

static inline uint64_t timer_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/** What an empty sample reads: the median of two calls in a row. Printed with the results, never subtracted.
 */
uint64_t timer_cost_ns(void);

#endif
