/*
 * A thread that works until it is paused, and goes on later: what runs a virtual machine's CPU, and what
 * takes its place.
 *
 * The calls of the first part are made by one thread, the owner; those of the second by the thread that
 * works.
 */
#ifndef MINORCA_DSM_VMM_RUNNER_H
#define MINORCA_DSM_VMM_RUNNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUNNER_WHY_MAX 256
#define RUNNER_PAUSE_TIMEOUT_S 10

enum runner_condition {
	RUNNER_PAUSED,
	RUNNER_RUNNING,
	RUNNER_ENDED, /* by itself; runner_condition() says why */
};

struct runner {
	/* Immutable after runner_start(). */
	enum runner_condition (*work)(void *argument); /* until runner_is_to_go_on() is false, or the end */
	void (*kick)(void *argument); /* has the work look at that soon; NULL: it does by itself */
	void *argument;
	pthread_t thread;

	/* Under @lock; @changed when any of them has. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum runner_condition condition;
	bool to_quit;
	char why[RUNNER_WHY_MAX];

	atomic_bool to_go_on; /* set under @lock, read by anybody */
};

/* --- the owner's --------------------------------------------------------------------------------------- */

/** Starts the thread, paused, with all signals blocked but SIGSEGV and SIGBUS, which a touch of memory
 * raises, and @unblocked (0: none).
 * @return 0 or -errno. */
int runner_start(struct runner *r, enum runner_condition (*work)(void *argument),
		 void (*kick)(void *argument), void *argument, int unblocked);

/** Ends the thread, working or not. */
void runner_stop(struct runner *r);

/** Lets it work. @return 0; -EBUSY: it does, or has ended. */
int runner_run(struct runner *r);

/** Pauses it. @return 0; -ESRCH: it has ended by itself; -ETIMEDOUT: it does not come to a pause within
 * RUNNER_PAUSE_TIMEOUT_S, and will when it can. */
int runner_pause(struct runner *r);

/** How it is. @param why  set to a sentence if it has ended, else to ""; may be NULL */
enum runner_condition runner_condition(struct runner *r, char *why, size_t why_bytes);

/* --- the work's ---------------------------------------------------------------------------------------- */

static inline bool runner_is_to_go_on(const struct runner *r)
{
	return atomic_load_explicit(&r->to_go_on, memory_order_relaxed);
}

/** Sleeps until CLOCK_MONOTONIC shows @until_ns. @return false: it is to pause before that. */
bool runner_rest(struct runner *r, uint64_t until_ns);

/** Says why the work ends, before it returns RUNNER_ENDED. */
__attribute__((format(printf, 2, 3))) void runner_end(struct runner *r, const char *format, ...);

#endif
