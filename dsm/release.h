/*
 * Release consistency: publishing what this node stored, and un-mapping what others published.
 */
#ifndef MINORCA_DSM_RELEASE_H
#define MINORCA_DSM_RELEASE_H

#include <stddef.h>

struct lane;
struct dsm_region;

/**
 * Writes the bytes that this node changed since the last time to their homes, and advances the versions of
 * their blocks. When it returns 0, whoever reads a version from then on finds it advanced, and who finds it
 * advanced finds the bytes. The caller holds @lane, has all signals blocked, and no other thread is in here
 * for the same region.
 *
 * @return 0, -EHOSTDOWN, -ETIMEDOUT, or what userfaultfd answered.
 */
int release_publish(struct lane *lane, struct dsm_region *region);

/**
 * Un-maps the pages whose versions have advanced past the ones held here. The caller as above.
 */
int release_acquire(struct lane *lane, struct dsm_region *region);

/** Un-maps cached pages [@first, @first + @count), published first if changed. Any thread that holds @lane
 * with all signals blocked. */
int release_unmap(struct lane *lane, struct dsm_region *region, size_t first, size_t count);

#endif
