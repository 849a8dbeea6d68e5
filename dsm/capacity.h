/*
 * Is there enough memory on this machine for a region? Asked before anything is allocated: a hugepage pool
 * that is too small is told as a whole, with what all nodes of the machine need; and ordinary memory that is
 * too small would be told by the kernel's OOM killer.
 */
#ifndef MINORCA_DSM_CAPACITY_H
#define MINORCA_DSM_CAPACITY_H

#include <stddef.h>

struct home_map;

/**
 * @param message  on an error: what is needed, what there is, and what to do
 * @return 0; -ENOSPC: the hugepage pool is too small; -ENODEV: no hugepages of this size; -ENOMEM.
 */
int capacity_check(const struct home_map *homes, unsigned page_shift, char *message, size_t message_bytes);

#endif
