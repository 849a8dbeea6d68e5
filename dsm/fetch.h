/*
 * Bringing bytes up to date: versions are read, compared with those held, and the blocks that differ are read
 * into the alias.
 */
#ifndef MINORCA_DSM_FETCH_H
#define MINORCA_DSM_FETCH_H

#include <stddef.h>

struct lane;
struct dsm_region;

/** Pages that one fetch_pages() may take: their versions fit a lane's scratch buffer. */
size_t fetch_pages_max(const struct dsm_region *region);

/**
 * Makes pages [@first, @first + @count) complete in the alias and up to date as of now. They have one home,
 * which is not this node, they are locked by the caller and not mapped, and there are at most
 * fetch_pages_max() of them. Async-signal-safe.
 *
 * @return 0; -ENOSPC: the hugepage pool is empty; -EHOSTDOWN, -ETIMEDOUT: the home does not answer. After an
 * error nothing more is held than before.
 */
int fetch_pages(struct lane *lane, struct dsm_region *region, size_t first, size_t count);

#endif
