/*
 * Bringing in many pages at once: for dsm_prefetch(), and for a fault that goes on (readahead.h).
 */
#ifndef MINORCA_DSM_PREFETCH_H
#define MINORCA_DSM_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>

struct lane;
struct dsm_region;

/* Pages whose locks are held at once, at most. */
#define PREFETCH_PAGES_MAX ((size_t)512)

/**
 * Brings in pages that the caller has locked, that have one home and are all in one state, also as to how
 * their stores are found (home_writes_finds()): up to date, mapped, and for stores with what a first store
 * needs. Async-signal-safe.
 *
 * @param count  at most PREFETCH_PAGES_MAX and fetch_pages_max()
 * @return 0; -errno as fetch_pages(): then their states are as before.
 */
int pages_bring_in(struct lane *lane, struct dsm_region *region, size_t first, size_t count, bool for_write);

#endif
