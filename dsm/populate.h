/*
 * Pages into memory files: this node's own, and, for sparse regions, those of homes.
 */
#ifndef MINORCA_DSM_POPULATE_H
#define MINORCA_DSM_POPULATE_H

#include <stdbool.h>
#include <stddef.h>

struct dsm_region;

/**
 * Sees to it that this node's file holds the pages; does nothing for those that are flagged so. The caller
 * holds their locks. Async-signal-safe.
 *
 * @return 0; -ENOSPC: the hugepage pool is empty; -ENOMEM.
 */
int populate_pages(struct dsm_region *r, size_t first, size_t count);

/**
 * Sees to it that the file of the page's home holds it: before the first one-sided write, atomic or read of
 * this node that does not follow a version. Only where it may not and a store would not do (sparse, hugetlb,
 * a transport whose stores can fault); else it costs a test of two flags. One system call for each page and
 * node. Async-signal-safe.
 *
 * The caller holds the page's lock.
 *
 * @return 0; -ENOSPC: the hugepage pool there is empty; -ENOMEM.
 */
int region_populate_home(struct dsm_region *r, size_t page);

/** The same for who holds no lock and no lane: is it needed, and if so, for the page of @address. */
bool populate_is_needed(const struct dsm_region *r, size_t page);
int populate_home_at(const void *address);

#endif
