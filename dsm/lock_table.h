/*
 * What this node knows of the locks that its threads hold or wait for, by address. A lock that nobody here
 * uses is not in it, so there may be any number of locks.
 */
#ifndef MINORCA_DSM_LOCK_TABLE_H
#define MINORCA_DSM_LOCK_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "dsm/lock_queue.h"
#include "dsm/word.h"

/* A thread that waits for its turn among those of this node; on its stack. */
struct local_waiter {
	struct local_waiter *next;
	_Atomic int woken; /* futex: 0 waiting, 1 asleep, 2 its turn */
};

/* A lock. All under its bucket's lock, but `place` and `passes`, which belong to `owner`. */
struct local_lock {
	struct local_lock *next; /* in the bucket */
	const void *address;
	struct word word;
	unsigned users;			   /* threads that hold, read under or wait for it */
	unsigned readers;		   /* threads of this node that read under it */
	const void *owner;		   /* the thread whose turn it is on this node, or NULL */
	struct local_waiter *first, *last; /* threads that wait for that, in order */

	bool has_global;	 /* this node is the head of the lock's queue */
	struct lock_place place; /* its place, if so */
	unsigned passes;	 /* hand-overs within this node since it is */
};

/** Names this thread: the same for as long as it lives, different from other threads. */
const void *lock_table_thread(void);

/** Locks the bucket of @address, and finds the lock there; NULL: not in use. lock_table_leave() unlocks. */
struct local_lock *lock_table_find(const void *address);

/** The same, and makes an entry if there is none. NULL: no memory; nothing is locked then. Counts a user. */
struct local_lock *lock_table_enter(const void *address, const struct word *word);

/** Unlocks the bucket. @lock may be NULL; one without users is freed. */
void lock_table_leave(const void *address, struct local_lock *lock);

/** How many locks in [@base, @base + @bytes) threads of this node hold or wait for. */
size_t lock_table_count(const void *base, size_t bytes);

/** Forgets all, at dsm_finalize(): locks that were never unlocked. */
void lock_table_clear(void);

/** Waits until another thread wakes @waiter, with no bucket locked. @return false: not within
 * MINORCA_TIMEOUT. */
bool local_waiter_sleep(struct local_waiter *waiter);
void local_waiter_wake(struct local_waiter *waiter);

#endif
