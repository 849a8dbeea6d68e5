/*
 * A hash table under churn, as a workload: what takes the virtual machine's place where there is no /dev/kvm.
 * A thread of this process works on it, with plain loads and stores.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/clock.h"
#include "dsm/vmm/process_state.h"
#include "dsm/vmm/workload.h"

#define LINE_MAX_BYTES 160

_Static_assert(sizeof(struct process_state) <= WORKLOAD_STATE_MAX, "callers have room for it");

struct workload {
	struct workload_options options;
	struct runner runner;
	bool has_state; /* the owner's */

	/* The thread's while it works, else the owner's. */
	struct churn table;
	struct process_state state;
};

/* --- the thread's -------------------------------------------------------------------------------------- */

static void say(const struct workload *w, const char *line)
{
	if (w->options.on_line)
		w->options.on_line(w->options.argument, line);
}

static void beat(struct workload *w)
{
	const struct churn_progress *p = &w->state.progress;
	char line[LINE_MAX_BYTES];

	w->state.beats++;
	if (p->failures)
		snprintf(line, sizeof line, "beat %" PRIu64 " steps %" PRIu64 " failed %" PRIu64,
			 w->state.beats, p->steps, p->failures);
	else
		snprintf(line, sizeof line, "beat %" PRIu64 " steps %" PRIu64 " ok", w->state.beats,
			 p->steps);
	say(w, line);
}

static void beat_if_it_is_time(struct workload *w)
{
	uint64_t now_us = timer_ran_ns(&w->state.timer, clock_ns()) / 1000;

	if (now_us < w->state.next_beat_us)
		return;
	w->state.next_beat_us = now_us + w->state.beat_us;
	beat(w);
}

static void step(struct workload *w)
{
	char why[LINE_MAX_BYTES - 4], line[LINE_MAX_BYTES];

	w->state.steps_left--;
	if (churn_step(&w->table, &w->state.progress, why, sizeof why))
		return;
	snprintf(line, sizeof line, "BAD %s", why);
	say(w, line);
}

static void begin_rest(struct workload *w)
{
	uint64_t rest_us = workload_rest_us(w->state.writes_per_s);

	w->state.steps_left = workload_steps_per_rest(w->state.writes_per_s);
	if (!rest_us)
		return;
	timer_arm(&w->state.timer, (uint32_t)rest_us, clock_ns());
	w->state.timer.rest = TIMER_RESTING;
}

static enum runner_condition work(void *argument)
{
	struct workload *w = argument;
	struct timer_counter *t = &w->state.timer;

	timer_start(t, clock_ns());
	while (runner_is_to_go_on(&w->runner)) {
		if (t->rest == TIMER_RESTING) {
			if (!runner_rest(&w->runner, timer_rest_ends_ns(t)))
				break;
			t->rest = TIMER_NO_REST;
		}
		while (w->state.steps_left && runner_is_to_go_on(&w->runner))
			step(w);
		if (w->state.steps_left)
			break;
		begin_rest(w);
		beat_if_it_is_time(w);
	}
	timer_stop(t, clock_ns());
	return RUNNER_PAUSED;
}

/* --- the owner's --------------------------------------------------------------------------------------- */

static int create(const struct workload_options *options, struct workload **out, char *why, size_t why_bytes)
{
	struct workload *w = calloc(1, sizeof *w);
	int error = -ENOMEM;

	if (w) {
		w->options = *options;
		error = runner_start(&w->runner, work, NULL, w, 0);
	}
	if (error) {
		snprintf(why, why_bytes,
			 "a thread to work: %s; free some memory, or raise the limit (ulimit -u)",
			 strerror(-error));
		free(w);
		return error;
	}
	*out = w;
	return 0;
}

static void destroy(struct workload *w)
{
	if (!w)
		return;
	runner_stop(&w->runner);
	free(w);
}

static bool stands_still(struct workload *w)
{
	return runner_condition(&w->runner, NULL, 0) == RUNNER_PAUSED;
}

static struct churn table_of(const struct workload *w, const struct process_state *s)
{
	return (struct churn){.memory = w->options.memory,
			      .bytes = w->options.bytes,
			      .walk_bytes = s->walk_bytes,
			      .stride_bytes = s->stride_bytes};
}

static int boot(struct workload *w)
{
	const struct workload_options *o = &w->options;

	if (!stands_still(w))
		return -EBUSY;
	w->state = (struct process_state){
	    .magic = PROCESS_STATE_MAGIC,
	    .version = PROCESS_STATE_VERSION,
	    .bytes = sizeof w->state,
	    .walk_bytes = workload_walk_bytes(o),
	    .stride_bytes = o->stride_bytes ? o->stride_bytes : 4096,
	    .writes_per_s = o->writes_per_s,
	    .beat_us = workload_beat_us(o),
	    .steps_left = workload_steps_per_rest(o->writes_per_s),
	};
	w->table = table_of(w, &w->state);
	int error = churn_begin(&w->table, &w->state.progress);

	w->has_state = !error;
	return error;
}

static int run(struct workload *w)
{
	return w->has_state ? runner_run(&w->runner) : -EBUSY;
}

static int pause_work(struct workload *w)
{
	return runner_pause(&w->runner);
}

static ssize_t save(struct workload *w, void *out, size_t capacity)
{
	if (!w->has_state || !stands_still(w))
		return -EBUSY;
	if (capacity < sizeof w->state)
		return -EMSGSIZE;
	memcpy(out, &w->state, sizeof w->state);
	return sizeof w->state;
}

/* It came over a wire. */
static bool makes_sense(const struct process_state *s, const struct churn *table)
{
	return s->magic == PROCESS_STATE_MAGIC && s->version == PROCESS_STATE_VERSION &&
	       s->bytes == sizeof *s && s->timer.rest <= TIMER_RESTING && !s->timer.started_ns &&
	       s->steps_left && churn_is_possible(table);
}

static int restore(struct workload *w, const void *in, size_t bytes)
{
	struct process_state s;

	if (!stands_still(w))
		return -EBUSY;
	if (bytes != sizeof s)
		return -EPROTO;
	memcpy(&s, in, sizeof s);
	struct churn table = table_of(w, &s);

	if (!makes_sense(&s, &table))
		return -EPROTO;
	w->state = s;
	w->table = table;
	w->has_state = true;
	return 0;
}

static int check(struct workload *w, char *why, size_t why_bytes)
{
	if (w->has_state && stands_still(w))
		return churn_check(&w->table, &w->state.progress, why, why_bytes);
	snprintf(why, why_bytes, "it does not stand still with a state");
	return -EBUSY;
}

static enum runner_condition condition(struct workload *w, char *why, size_t why_bytes)
{
	return runner_condition(&w->runner, why, why_bytes);
}

const struct workload_kind workload_process = {
    .name = "process",
    .what = "a hash table of this process under churn",
    .create = create,
    .boot = boot,
    .run = run,
    .pause = pause_work,
    .save = save,
    .restore = restore,
    .check = check,
    .condition = condition,
    .destroy = destroy,
};
