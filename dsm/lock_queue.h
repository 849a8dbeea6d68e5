/*
 * The queue of nodes for a lock: Mellor-Crummey and Scott's list-based queue lock ("Algorithms for scalable
 * synchronization on shared-memory multiprocessors", 1991) over one-sided operations. The lock is one word,
 * the tail of the queue, at its home. Each waiter has a place in its own node's memory, and waits there.
 *
 * Uncontended, entering and leaving cost one compare_swap each. A hand-over is one chain of two operations.
 *
 * Leaving the queue while waiting (the bound of every wait) follows the idea of Scott and Scherer, "Scalable
 * queue-based spin locks with timeout" (2001): granting and giving up compete for one word, and who finds the
 * other was first acts accordingly.
 */
#ifndef MINORCA_DSM_LOCK_QUEUE_H
#define MINORCA_DSM_LOCK_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "dsm/lock_id.h"
#include "dsm/word.h"

/* This node's place in a queue, while it is in it. */
struct lock_place {
	uint32_t slot;
	uint64_t id; /* of node, slot and use; what the tail says */
};

/** Makes the places of this node. @return 0 or -errno. */
int lock_queue_create(void);
void lock_queue_destroy(void);
/** Makes them known to all nodes. Collective. */
int lock_queue_connect(void);

/**
 * Enters the queue whose tail is @tail, and waits until this node is its head.
 *
 * @return 0; -ETIMEDOUT: still another's turn after MINORCA_TIMEOUT: reported, and left; -ENOLCK: no place is
 * free; -EPROTO: the words of the queue are not what they can be: reported; -EHOSTDOWN: the home, or a node
 * that is before this one in the queue, is lost: reported, and left.
 */
int lock_queue_enter(const struct word *tail, const char *what, struct lock_place *place);

/** Enters if nobody is in the queue. @return 0; -EBUSY; as above. */
int lock_queue_try(const struct word *tail, struct lock_place *place);

/** Leaves the queue, whose head this node is: the next one's turn. @return 0; -EPROTO, -EHOSTDOWN,
 * -ETIMEDOUT. */
int lock_queue_leave(const struct word *tail, const char *what, struct lock_place *place);

/** This node has the lock and cannot leave: what it stored cannot be published, or leaving has failed. Who
 * waits is told so, instead of getting the lock. */
void lock_queue_abandon(const struct lock_place *place);

/** True if another node waits behind this one (or may be about to: false says little). */
bool lock_queue_is_contended(const struct lock_place *place);

#endif
