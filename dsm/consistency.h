/*
 * Release and acquire of the node: one pass at a time, and none at all when there is nothing to do.
 */
#ifndef MINORCA_DSM_CONSISTENCY_H
#define MINORCA_DSM_CONSISTENCY_H

#include <stddef.h>

/*
 * Called with no lane and no page lock held, by any thread. They return 0, -EHOSTDOWN, -ETIMEDOUT, or what
 * userfaultfd answered, and report errors: @what names the call of the public interface that failed.
 */

/** Everything that this thread stored, or saw stored by threads of this node, is published when this returns.
 */
int consistency_release(const char *what);

/** Everything that was published before this was called is seen from when this returns. */
int consistency_acquire(const char *what);

/** Publishes what this node stored to the pages of [@address, @address + @bytes), which lie in one region,
 * and makes all nodes fetch those bytes anew, also this one: the home's copy was changed by other means. */
int consistency_renew(const void *address, size_t bytes);

#endif
