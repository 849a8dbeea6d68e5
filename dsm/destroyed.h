/*
 * Where regions were: an access to one that was destroyed is told from any other bad access.
 *
 * Its address range stays taken for a while, by a mapping of an empty file: the kernel raises SIGBUS for it,
 * and the fault handler says what the access was to. Only the last few are remembered.
 */
#ifndef MINORCA_DSM_DESTROYED_H
#define MINORCA_DSM_DESTROYED_H

#include <stddef.h>
#include <stdint.h>

/** Takes the place of the app mapping of a region. If that cannot be done it is just un-mapped. */
void destroyed_remember(void *base, size_t bytes, const char *name);

/** Makes room for a new region. */
void destroyed_forget(const void *base, size_t bytes);
void destroyed_forget_all(void);

/** The name of the region that was at @address; NULL: none is remembered. Async-signal-safe. */
const char *destroyed_find(const void *address);

#endif
