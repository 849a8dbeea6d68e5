#include "dsm/vmm/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "dsm/clock.h"

#define NS_PER_S 1000000000u

static struct timespec timespec_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void *work(void *argument)
{
	struct runner *r = argument;

	pthread_mutex_lock(&r->lock);
	while (!r->to_quit) {
		if (r->condition != RUNNER_RUNNING) {
			pthread_cond_wait(&r->changed, &r->lock);
			continue;
		}
		pthread_mutex_unlock(&r->lock);
		enum runner_condition condition = r->work(r->argument);

		pthread_mutex_lock(&r->lock);
		r->condition = condition;
		pthread_cond_broadcast(&r->changed);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void init_lock(struct runner *r)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&r->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&r->lock, NULL);
}

static void destroy_lock(struct runner *r)
{
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
}

int runner_start(struct runner *r, enum runner_condition (*body)(void *argument),
		 void (*kick)(void *argument), void *argument, int unblocked)
{
	sigset_t mask, before;

	*r = (struct runner){.work = body, .kick = kick, .argument = argument};
	init_lock(r);
	sigfillset(&mask);
	sigdelset(&mask, SIGBUS);
	sigdelset(&mask, SIGSEGV);
	if (unblocked)
		sigdelset(&mask, unblocked);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	int error = pthread_create(&r->thread, NULL, work, r);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		destroy_lock(r);
	return -error;
}

/* Under the lock. */
static void tell_to_pause(struct runner *r)
{
	atomic_store_explicit(&r->to_go_on, false, memory_order_relaxed);
	pthread_cond_broadcast(&r->changed);
	if (r->kick)
		r->kick(r->argument);
}

void runner_stop(struct runner *r)
{
	pthread_mutex_lock(&r->lock);
	r->to_quit = true;
	tell_to_pause(r);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	destroy_lock(r);
}

int runner_run(struct runner *r)
{
	int error = -EBUSY;

	pthread_mutex_lock(&r->lock);
	if (r->condition == RUNNER_PAUSED) {
		atomic_store_explicit(&r->to_go_on, true, memory_order_relaxed);
		r->condition = RUNNER_RUNNING;
		pthread_cond_broadcast(&r->changed);
		error = 0;
	}
	pthread_mutex_unlock(&r->lock);
	return error;
}

int runner_pause(struct runner *r)
{
	struct timespec until = timespec_of(clock_ns() + (uint64_t)RUNNER_PAUSE_TIMEOUT_S * NS_PER_S);
	int error = 0;

	pthread_mutex_lock(&r->lock);
	if (r->condition == RUNNER_RUNNING)
		tell_to_pause(r);
	while (r->condition == RUNNER_RUNNING && !error)
		error = -pthread_cond_timedwait(&r->changed, &r->lock, &until);
	if (r->condition == RUNNER_PAUSED)
		error = 0;
	if (r->condition == RUNNER_ENDED)
		error = -ESRCH;
	pthread_mutex_unlock(&r->lock);
	return error;
}

enum runner_condition runner_condition(struct runner *r, char *why, size_t why_bytes)
{
	pthread_mutex_lock(&r->lock);
	enum runner_condition condition = r->condition;

	if (why)
		snprintf(why, why_bytes, "%s", condition == RUNNER_ENDED ? r->why : "");
	pthread_mutex_unlock(&r->lock);
	return condition;
}

bool runner_rest(struct runner *r, uint64_t until_ns)
{
	struct timespec until = timespec_of(until_ns);
	bool over = false;

	pthread_mutex_lock(&r->lock);
	while (runner_is_to_go_on(r) && !over)
		over = pthread_cond_timedwait(&r->changed, &r->lock, &until) == ETIMEDOUT;
	pthread_mutex_unlock(&r->lock);
	return over;
}

void runner_end(struct runner *r, const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&r->lock);
	va_start(arguments, format);
	vsnprintf(r->why, sizeof r->why, format, arguments);
	va_end(arguments);
	pthread_mutex_unlock(&r->lock);
}
