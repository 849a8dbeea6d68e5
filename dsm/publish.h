/*
 * Publishing: what this node stored goes to the pages' homes.
 */
#ifndef MINORCA_DSM_PUBLISH_H
#define MINORCA_DSM_PUBLISH_H

#include <stddef.h>

struct lane;
struct dsm_region;
struct page;

/* Pages whose locks are held at once: bounds how long a fault may wait for a pass. */
#define PASS_PAGES_MAX ((size_t)256)

/*
 * The caller of all of these holds @lane with all signals blocked, and is the one thread of the node that
 * publishes or acquires at the time (consistency.c). They return 0, -EHOSTDOWN, -ETIMEDOUT, or what
 * userfaultfd answered.
 */

/**
 * Writes the bytes that this node changed since the last time to their homes, advances the versions of their
 * blocks, and logs the pages. When it returns 0, whoever reads a version from then on finds it advanced, and
 * who finds it advanced finds the bytes.
 */
int publish_region(struct lane *lane, struct dsm_region *region);

/** The same for those of pages [@first, @first + @count), locked by the caller, that are dirty. None is
 * writable afterwards. */
int publish_before_unmap(struct lane *lane, struct dsm_region *region, size_t first, size_t count);

/** Advances the versions of the blocks that [@offset, @offset + @bytes) of the region touches, and logs their
 * pages, though this node changed nothing. What this node holds of them is out of date then, too. */
int publish_renewed(struct lane *lane, struct dsm_region *region, size_t offset, size_t bytes);

/** A locked page that is not dirty has no twin from here on. */
void publish_drop_twin(struct dsm_region *region, struct page *page);

#endif
