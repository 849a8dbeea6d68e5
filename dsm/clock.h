/*
 * Time for bounds and statistics.
 */
#ifndef MINORCA_DSM_CLOCK_H
#define MINORCA_DSM_CLOCK_H

#include <stdint.h>
#include <time.h>

/** CLOCK_MONOTONIC in ns. Async-signal-safe; no system call where the vDSO serves it. */
static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
