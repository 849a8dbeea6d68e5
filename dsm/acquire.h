/*
 * Acquiring: what other nodes published goes out of sight, and is fetched anew when touched.
 */
#ifndef MINORCA_DSM_ACQUIRE_H
#define MINORCA_DSM_ACQUIRE_H

#include <stddef.h>

struct lane;
struct dsm_region;

/* The caller of these holds @lane with all signals blocked, and is the one thread of the node that publishes
 * or acquires at the time (consistency.c). They return 0, -EHOSTDOWN, -ETIMEDOUT, or what userfaultfd
 * answered. */

/** Un-maps the pages of other homes that other nodes published since the last time. */
int acquire_all(struct lane *lane);

/** Un-maps those of pages [@first, @first + @count) that have another home, published first if changed. */
int acquire_unmap(struct lane *lane, struct dsm_region *region, size_t first, size_t count);

#endif
