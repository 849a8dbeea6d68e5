/*
 * Atomics on shared words, and events, which are such words.
 *
 * They are sequentially consistent among themselves: each is done at the word's home, and done when it
 * returns. That includes a store: as a compare_swap, it is ordered before the thread's next load, which a
 * plain store is not.
 */
#include <errno.h>
#include <stdbool.h>

#include <minorca.h>

#include "dsm/consistency.h"
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/word.h"

/* --- atomics ---------------------------------------------------------------------------------------------
 */

static int before(const void *address, enum dsm_order order, const char *what, struct word *word)
{
	if ((unsigned)order > DSM_ACQ_REL)
		return -EINVAL;
	int error = word_find(address, sizeof(uint64_t), what, word);
	if (!error && (order == DSM_RELEASE || order == DSM_ACQ_REL))
		error = consistency_release(what);
	return error;
}

/* After the operation said @error. Sets the caller's output, and gives errno back. */
static int after(int error, enum dsm_order order, const char *what, uint64_t found, uint64_t *out,
		 int saved_errno)
{
	if (!error && (order == DSM_ACQUIRE || order == DSM_ACQ_REL))
		error = consistency_acquire(what);
	if (!error && out)
		*out = found;
	peers_tell(error, what, "a word of its cannot be used, or nobody can say what is up to date");
	errno = saved_errno;
	return error;
}

static int swap(const struct word *word, uint64_t value, uint64_t *old)
{
	uint64_t expected;
	int error = word_read(word, 0, &expected);

	while (!error) {
		error = word_compare_swap(word, 0, expected, value, old);
		if (error || *old == expected)
			break;
		expected = *old;
	}
	return error;
}

int dsm_atomic_load(const uint64_t *address, uint64_t *value, enum dsm_order order)
{
	static const char what[] = "dsm_atomic_load()";
	struct word word;
	uint64_t found = 0;
	int saved_errno = errno, error = value ? before(address, order, what, &word) : -EINVAL;

	if (!error)
		error = word_read(&word, 0, &found);
	return after(error, order, what, found, value, saved_errno);
}

int dsm_atomic_store(uint64_t *address, uint64_t value, enum dsm_order order)
{
	static const char what[] = "dsm_atomic_store()";
	struct word word;
	uint64_t old = 0;
	int saved_errno = errno, error = before(address, order, what, &word);

	if (!error)
		error = swap(&word, value, &old);
	return after(error, order, what, old, NULL, saved_errno);
}

int dsm_atomic_fetch_add(uint64_t *address, uint64_t add, uint64_t *old, enum dsm_order order)
{
	static const char what[] = "dsm_atomic_fetch_add()";
	struct word word;
	uint64_t found = 0;
	int saved_errno = errno, error = before(address, order, what, &word);

	if (!error)
		error = word_fetch_add(&word, 0, add, &found);
	return after(error, order, what, found, old, saved_errno);
}

int dsm_atomic_swap(uint64_t *address, uint64_t value, uint64_t *old, enum dsm_order order)
{
	static const char what[] = "dsm_atomic_swap()";
	struct word word;
	uint64_t found = 0;
	int saved_errno = errno, error = before(address, order, what, &word);

	if (!error)
		error = swap(&word, value, &found);
	return after(error, order, what, found, old, saved_errno);
}

int dsm_atomic_compare_swap(uint64_t *address, uint64_t expected, uint64_t desired, uint64_t *old,
			    enum dsm_order order)
{
	static const char what[] = "dsm_atomic_compare_swap()";
	struct word word;
	uint64_t found = 0;
	int saved_errno = errno, error = before(address, order, what, &word);

	if (!error)
		error = word_compare_swap(&word, 0, expected, desired, &found);
	return after(error, order, what, found, old, saved_errno);
}

/* --- events ----------------------------------------------------------------------------------------------
 */

int dsm_event_advance(dsm_event *event, uint64_t by)
{
	return dsm_atomic_fetch_add(&event->opaque[0], by, NULL, DSM_RELEASE);
}

int dsm_event_read(const dsm_event *event, uint64_t *value)
{
	return dsm_atomic_load(&event->opaque[0], value, DSM_ACQUIRE);
}

static int report_standstill(const char *what, uint64_t now, uint64_t value)
{
	report(
	    "%s: the event stands at %llu, and nobody has advanced it to %llu within %g s (MINORCA_TIMEOUT)",
	    what, (unsigned long long)now, (unsigned long long)value,
	    (double)runtime.settings.timeout_ns / 1e9);
	return -ETIMEDOUT;
}

/*
 * Looks at the word again and again; it is not this node's to spin on, but it changes once for all who wait.
 * Who is to advance it is not known. A node that is lost meanwhile may be the one: the caller must think
 * again. But it may have done so and died then, which the word says: it is read once more. Of those that were
 * lost before it knew, or will be told elsewhere; nodes that are left may use events among themselves.
 */
static int await(const struct word *word, uint64_t value, const char *what)
{
	unsigned lost_before = peers_lost_count();
	struct wait wait = {0};
	bool lost = false;
	uint64_t now = 0;

	for (;;) {
		int error = word_read(word, 0, &now);
		if (error || now >= value)
			return error;
		if (lost)
			return peers_tell(-EHOSTDOWN, what, "the event may never be advanced");
		enum wait_turn turn = wait_turn(&wait);
		if (turn == WAIT_ASK)
			peers_ask_some();
		lost = turn == WAIT_ASK && peers_lost_count() != lost_before;
		if (turn == WAIT_OVER)
			return report_standstill(what, now, value);
	}
}

int dsm_event_await(const dsm_event *event, uint64_t value)
{
	static const char what[] = "dsm_event_await()";
	struct word word;
	int saved_errno = errno, error = before(&event->opaque[0], DSM_RELAXED, what, &word);

	if (!error)
		error = await(&word, value, what);
	return after(error, DSM_ACQUIRE, what, 0, NULL, saved_errno);
}
