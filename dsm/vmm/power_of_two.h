/*
 * What walks over memory asks of its sizes.
 */
#ifndef MINORCA_DSM_VMM_POWER_OF_TWO_H
#define MINORCA_DSM_VMM_POWER_OF_TWO_H

#include <stdbool.h>
#include <stddef.h>

static inline bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

#endif
