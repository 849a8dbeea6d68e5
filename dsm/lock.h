/*
 * Mutual exclusion between the threads of all nodes, without what it does to plain memory: for locks of all
 * kinds.
 */
#ifndef MINORCA_DSM_LOCK_H
#define MINORCA_DSM_LOCK_H

#include <stdbool.h>

#include "dsm/word.h"

/*
 * @address names the lock, @tail is its word. 0 or -errno as dsm_lock(), dsm_trylock() and dsm_unlock() say.
 */
int lock_take(const void *address, const struct word *tail, const char *what);
int lock_try(const void *address, const struct word *tail);

/** True if this thread has the lock. */
bool lock_is_mine(const void *address);

/**
 * Lets go of a lock; -EPERM, unreported: this thread does not have it. @publish: first publishes, unless the
 * lock stays within this node, whose threads see each other's stores anyway.
 */
int lock_give(const void *address, const char *what, bool publish);

/** Ends the use of a lock that this thread has, and that nobody may have any more: who waits is told so. */
void lock_abandon(const void *address);

#endif
