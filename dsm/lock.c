/*
 * dsm_lock(): a lock cohort (Dice, Marathe and Shavit, "Lock cohorting", 2012). Threads of a node queue among
 * themselves; the first of them queues for the node (lock_queue.c). When it unlocks, the next of the node
 * goes on with the node's turn, but only so often while another node waits.
 *
 * A hand-over within the node publishes nothing and acquires nothing: its threads share one copy of memory.
 * What they stored is published when the lock leaves the node, or by the next release of one of them that
 * goes elsewhere.
 */
#include "dsm/lock.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <minorca.h>

#include "dsm/consistency.h"
#include "dsm/lock_table.h"
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* Hand-overs within a node while others wait: as many as make the lock's journey cheap, and few enough that
 * nobody waits long. */
#define PASSES_MOST 32u

/* --- among the threads of this node -----------------------------------------------------------------------
 */

/* Gives the node's turn to the thread that has waited longest, if any. The bucket is locked. */
static void wake_next(struct local_lock *lock)
{
	struct local_waiter *next = lock->first;

	lock->owner = next;
	if (!next)
		return;
	lock->first = next->next;
	if (!lock->first)
		lock->last = NULL;
	local_waiter_wake(next);
}

static void remove_waiter(struct local_lock *lock, struct local_waiter *waiter)
{
	struct local_waiter **link = &lock->first, *previous = NULL;

	while (*link != waiter) {
		previous = *link;
		link = &previous->next;
	}
	*link = waiter->next;
	if (lock->last == waiter)
		lock->last = previous;
}

/* Waits in line behind other threads of the node; the bucket is locked, and is unlocked. */
static int wait_in_line(const void *address, struct local_lock *lock, const char *what)
{
	struct local_waiter waiter = {0};

	if (lock->last)
		lock->last->next = &waiter;
	else
		lock->first = &waiter;
	lock->last = &waiter;
	lock_table_leave(address, lock);
	bool woken = local_waiter_sleep(&waiter);
	lock = lock_table_find(address); /* we are a user: it is there */
	if (!woken && atomic_load(&waiter.woken) != 2) {
		remove_waiter(lock, &waiter);
		lock->users--;
		lock_table_leave(address, lock);
		report("%s: another thread of this node has had the lock, or has waited for it, for %g s "
		       "(MINORCA_TIMEOUT)",
		       what, (double)runtime.settings.timeout_ns / 1e9);
		return -ETIMEDOUT;
	}
	lock->owner = lock_table_thread();
	lock_table_leave(address, lock);
	return 0;
}

/* Lets the next thread of the node have its turn; this one uses the lock no more. */
static void leave(const void *address)
{
	struct local_lock *lock = lock_table_find(address);

	wake_next(lock);
	lock->users--;
	lock_table_leave(address, lock);
}

/* --- with the other nodes ---------------------------------------------------------------------------------
 */

int lock_take(const void *address, const struct word *tail, const char *what)
{
	struct local_lock *lock = lock_table_enter(address, tail);
	int error = 0;

	if (!lock)
		return -ENOMEM;
	if (lock->owner == lock_table_thread()) {
		lock->users--;
		lock_table_leave(address, lock);
		report("%s: this thread has the lock at %p already", what, address);
		return -EDEADLK;
	}
	if (lock->owner) {
		error = wait_in_line(address, lock, what);
		if (error)
			return error;
	} else {
		lock->owner = lock_table_thread();
		lock_table_leave(address, lock);
	}
	if (lock->has_global)
		return 0;
	error = lock_queue_enter(tail, what, &lock->place);
	if (error) {
		leave(address);
		return error;
	}
	lock->has_global = true;
	lock->passes = 0;
	return 0;
}

int lock_try(const void *address, const struct word *tail)
{
	struct local_lock *lock = lock_table_enter(address, tail);

	if (!lock)
		return -ENOMEM;
	if (lock->owner) {
		lock->users--;
		lock_table_leave(address, lock);
		return -EBUSY;
	}
	lock->owner = lock_table_thread();
	lock_table_leave(address, lock);
	if (lock->has_global) /* cannot be: it goes with the last owner */
		return 0;
	int error = lock_queue_try(tail, &lock->place);
	if (error) {
		leave(address);
		return error;
	}
	lock->has_global = true;
	lock->passes = 0;
	return 0;
}

bool lock_is_mine(const void *address)
{
	struct local_lock *lock = lock_table_find(address);
	bool mine = lock && lock->owner == lock_table_thread();

	lock_table_leave(address, lock);
	return mine;
}

/* Hands the lock to the next thread of this node if there is one and it is the node's turn still. */
static bool pass_within_node(struct local_lock *lock)
{
	if (!lock->first || (lock_queue_is_contended(&lock->place) && lock->passes >= PASSES_MOST))
		return false;
	lock->passes++;
	wake_next(lock);
	lock->users--;
	return true;
}

int lock_give(const void *address, const char *what, bool publish)
{
	struct local_lock *lock = lock_table_find(address);
	bool mine = lock && lock->owner == lock_table_thread(), passed = mine && pass_within_node(lock);

	lock_table_leave(address, lock);
	if (!mine || passed)
		return mine ? 0 : -EPERM;
	int error = publish ? consistency_release(what) : 0;
	/* If not all that was stored is published, the next one must not have the lock: it might see less. */
	if (!error)
		error = lock_queue_leave(&lock->word, what, &lock->place);
	peers_tell(error, what, "nobody can have the lock any more");
	if (error)
		lock_queue_abandon(&lock->place);
	lock->has_global = false;
	leave(address);
	return error;
}

void lock_abandon(const void *address)
{
	struct local_lock *lock = lock_table_find(address);

	lock_table_leave(address, lock);
	lock_queue_abandon(&lock->place);
	lock->has_global = false;
	leave(address);
}

/* --- mutexes ----------------------------------------------------------------------------------------------
 */

static void not_mine(const char *what, const void *mutex)
{
	report("%s: this thread does not have the lock at %p", what, mutex);
}

/* What follows when the lock was to be had: memory as its last holder left it. */
static int acquire(const void *address, const char *what)
{
	int error = consistency_acquire(what);

	/* Published: it may have come to us within this node, from a thread that stored and left it to us. */
	if (error)
		lock_give(address, what, true);
	return error;
}

static int do_lock(dsm_mutex *mutex, const char *what)
{
	struct word tail;
	int error = word_find(mutex, sizeof *mutex, what, &tail);

	if (!error)
		error = lock_take(mutex, &tail, what);
	return error ? error : acquire(mutex, what);
}

int dsm_lock(dsm_mutex *mutex)
{
	int saved_errno = errno, error = do_lock(mutex, "dsm_lock()");

	errno = saved_errno;
	return error;
}

static int do_trylock(dsm_mutex *mutex)
{
	struct word tail;
	int error = word_find(mutex, sizeof *mutex, "dsm_trylock()", &tail);

	if (!error)
		error = lock_try(mutex, &tail);
	return error ? error : acquire(mutex, "dsm_trylock()");
}

int dsm_trylock(dsm_mutex *mutex)
{
	int saved_errno = errno, error = do_trylock(mutex);

	errno = saved_errno;
	return error;
}

int dsm_unlock(dsm_mutex *mutex)
{
	int saved_errno = errno, error;

	if (!runtime.started)
		return -EINVAL;
	error = lock_give(mutex, "dsm_unlock()", true);
	if (error == -EPERM)
		not_mine("dsm_unlock()", mutex);
	errno = saved_errno;
	return error;
}

/* --- condition variables: an event that a signal advances --------------------------------------------------
 */

static int do_cond_wait(dsm_cond *cond, dsm_mutex *mutex)
{
	static const char what[] = "dsm_cond_wait()";
	dsm_event *event = (dsm_event *)cond;
	uint64_t before;

	if (!runtime.started)
		return -EINVAL;
	if (!lock_is_mine(mutex)) {
		not_mine(what, mutex);
		return -EPERM;
	}
	/* While the mutex is ours: a signal that somebody gives who locks it after us comes after this. */
	int error = dsm_atomic_load(&event->opaque[0], &before, DSM_RELAXED);
	if (!error)
		error = lock_give(mutex, what, true);
	if (error)
		return error;
	int waited = dsm_event_await(event, before + 1);
	if (waited && waited != -ETIMEDOUT)
		return waited; /* without the mutex, which may be lost too */
	error = do_lock(mutex, what);
	return error ? error : waited;
}

int dsm_cond_wait(dsm_cond *cond, dsm_mutex *mutex)
{
	int saved_errno = errno, error = do_cond_wait(cond, mutex);

	errno = saved_errno;
	return error;
}

int dsm_cond_signal(dsm_cond *cond)
{
	return dsm_cond_broadcast(cond);
}

int dsm_cond_broadcast(dsm_cond *cond)
{
	return dsm_event_advance((dsm_event *)cond, 1);
}
