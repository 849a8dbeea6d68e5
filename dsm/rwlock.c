/*
 * Read-write locks: a queue (lock.c) and a word that counts readers.
 *
 * A reader adds one to the count; if no writer has announced itself, that is all. A writer takes the queue,
 * announces itself, and waits until the readers that are there have left. A reader that finds a writer takes
 * its one back and queues: when its turn has come there is no writer, for a writer keeps the queue while it
 * writes. So whoever waits longest goes first, and neither kind starves.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <minorca.h>

#include "dsm/consistency.h"
#include "dsm/lock.h"
#include "dsm/lock_table.h"
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* Where the count of readers is: a cache line away from the queue's tail, and maybe on a page of another
 * home. */
#define STATE 8
#define WRITER ((uint64_t)1 << 63)

/* A thread of this node begins to read, +1, or ends, -1. False: none does, so none can end. */
static bool count_reader(const void *address, const struct word *word, int by)
{
	struct local_lock *lock = by > 0 ? lock_table_enter(address, word) : lock_table_find(address);
	bool counted = lock && (by > 0 || lock->readers);

	if (counted) {
		lock->readers += (unsigned)by;
		if (by < 0)
			lock->users--;
	}
	if (lock || by < 0)
		lock_table_leave(address, lock);
	return counted;
}

static int find_state(const dsm_rwlock *lock, const char *what, struct word *state)
{
	return word_find(&lock->opaque[STATE], sizeof lock->opaque[STATE], what, state);
}

/* The queue's tail and the count. */
static int find_both(const dsm_rwlock *lock, const char *what, struct word *tail, struct word *state)
{
	int error = word_find(lock, sizeof *lock, what, tail);

	return error ? error : find_state(lock, what, state);
}

static int add(const struct word *state, uint64_t what, uint64_t *old)
{
	return word_fetch_add(state, 0, what, old);
}

/* --- reading ---------------------------------------------------------------------------------------------
 */

/* Adds one to the readers, if there is no writer. @return 0; -EBUSY; what the transport says. */
static int try_to_enter(const struct word *word)
{
	uint64_t old, unused;
	int error = add(word, 1, &old);

	if (error || !(old & WRITER))
		return error;
	error = add(word, (uint64_t)-1, &unused);
	return error ? error : -EBUSY;
}

static int enter_in_turn(dsm_rwlock *lock, const struct word *tail, const struct word *state,
			 const char *what)
{
	uint64_t old;
	int error = lock_take(lock, tail, what), given;

	if (error)
		return error;
	error = add(state, 1, &old);
	given = lock_give(lock, what, false);
	return error ? error : given;
}

static int read_lock(dsm_rwlock *lock, bool wait, const char *what)
{
	struct word tail, state;
	uint64_t old;
	int error = find_both(lock, what, &tail, &state);

	if (!error && lock_is_mine(lock))
		error = -EDEADLK;
	if (!error)
		error = try_to_enter(&state);
	if (error == -EBUSY && wait)
		error = enter_in_turn(lock, &tail, &state, what);
	if (error == -EDEADLK)
		report("%s: this thread has the lock at %p for writing", what, (void *)lock);
	if (error)
		return error;
	bool counted = count_reader(lock, &tail, 1);
	error = counted ? consistency_acquire(what) : -ENOMEM;
	if (!error)
		return 0;
	if (counted)
		count_reader(lock, NULL, -1);
	add(&state, (uint64_t)-1, &old);
	return error;
}

static int read_unlock(dsm_rwlock *lock)
{
	static const char what[] = "dsm_read_unlock()";
	struct word state;
	uint64_t old;
	int error = find_state(lock, what, &state);

	if (error)
		return error;
	if (!count_reader(lock, NULL, -1)) {
		report("%s: no thread of this node reads under the lock at %p", what, (void *)lock);
		return -EPERM;
	}
	error = consistency_release(what);
	return error ? error : add(&state, (uint64_t)-1, &old);
}

/* --- writing ---------------------------------------------------------------------------------------------
 */

/* It is not known who they are: maybe threads of a node that is lost. */
static int report_readers(uint64_t readers, const char *what)
{
	if (peers_lost_count())
		return peers_tell(-EHOSTDOWN, what, "threads of its may read under the lock for ever");
	report("%s: %llu threads have read under the lock for %g s (MINORCA_TIMEOUT)", what,
	       (unsigned long long)readers, (double)runtime.settings.timeout_ns / 1e9);
	return -ETIMEDOUT;
}

/*
 * Waits until the readers have left. The home's word is looked at again and again: nobody of them could tell
 * whom to wake, for they may come and go while a writer waits. A node that is lost meanwhile may be one that
 * reads; of those lost before this says so only when its time is up, for others may hold it up.
 */
static int wait_for_readers(const struct word *word, const char *what)
{
	unsigned lost_before = peers_lost_count();
	struct wait wait = {0};
	uint64_t state;

	for (;;) {
		int error = word_read(word, 0, &state);
		if (error || state == WRITER)
			return error;
		enum wait_turn turn = wait_turn(&wait);
		if (turn == WAIT_ASK)
			peers_ask_some();
		if (turn == WAIT_OVER || (turn == WAIT_ASK && peers_lost_count() != lost_before))
			return report_readers(state & ~WRITER, what);
	}
}

/* The queue is ours: keeps new readers out, and waits for the others. */
static int exclude_readers(const struct word *word, const char *what)
{
	uint64_t old, unused;
	int error = add(word, WRITER, &old);

	if (error || !old)
		return error;
	error = wait_for_readers(word, what);
	if (error)
		add(word, (uint64_t)0 - WRITER, &unused);
	return error;
}

static int exclude_readers_now(const struct word *word)
{
	uint64_t old;
	int error = word_compare_swap(word, 0, 0, WRITER, &old);

	return error ? error : old ? -EBUSY : 0;
}

static int write_lock(dsm_rwlock *lock, bool wait, const char *what)
{
	struct word tail, state;
	int error = find_both(lock, what, &tail, &state);

	if (!error)
		error = wait ? lock_take(lock, &tail, what) : lock_try(lock, &tail);
	if (error)
		return error;
	error = wait ? exclude_readers(&state, what) : exclude_readers_now(&state);
	if (error) {
		lock_give(lock, what, false);
		return error;
	}
	error = consistency_acquire(what);
	if (error)
		dsm_write_unlock(lock);
	return error;
}

static int write_unlock(dsm_rwlock *lock)
{
	static const char what[] = "dsm_write_unlock()";
	struct word state;
	uint64_t old;
	int error = find_state(lock, what, &state);

	if (error)
		return error;
	if (!lock_is_mine(lock)) {
		report("%s: this thread does not have the lock at %p for writing", what, (void *)lock);
		return -EPERM;
	}
	/* Always published, also if the next one is a thread of this node: readers of others may come in
	 * between. */
	error = consistency_release(what);
	if (!error)
		error = peers_tell(add(&state, (uint64_t)0 - WRITER, &old), what,
				   "nobody can have the lock any more");
	if (!error)
		return lock_give(lock, what, false);
	/* Readers find a writer for ever, and are told in the queue: they might see less than was stored. */
	lock_abandon(lock);
	return error;
}

/* --- for users -------------------------------------------------------------------------------------------
 */

int dsm_read_lock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = read_lock(lock, true, "dsm_read_lock()");

	errno = saved_errno;
	return error;
}

int dsm_try_read_lock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = read_lock(lock, false, "dsm_try_read_lock()");

	errno = saved_errno;
	return error;
}

int dsm_read_unlock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = read_unlock(lock);

	errno = saved_errno;
	return error;
}

int dsm_write_lock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = write_lock(lock, true, "dsm_write_lock()");

	errno = saved_errno;
	return error;
}

int dsm_try_write_lock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = write_lock(lock, false, "dsm_try_write_lock()");

	errno = saved_errno;
	return error;
}

int dsm_write_unlock(dsm_rwlock *lock)
{
	int saved_errno = errno, error = write_unlock(lock);

	errno = saved_errno;
	return error;
}
