/*
 * See kernel_stages.h.
 *
 * A fault is followed from thread to thread: the one that faults, with thread delivery the one that handles
 * it, and the first one again. What other threads do meanwhile is not part of its time, and is passed over.
 */
#include "bench/kernel_stages.h"

#include <string.h>
#include <sys/syscall.h>

/* No thread; the idle one is 0. */
#define NOBODY ((pid_t)-1)

/* Where the fault is. */
enum phase { FAULTING, HANDLING, RETURNING };

struct walk {
	const struct kernel_window *window;
	enum phase phase;
	enum kernel_stage stage;
	size_t next;   /* event */
	pid_t handler; /* the thread that handles it; NOBODY: it is not known */
	uint64_t last; /* ticks are accounted for until then */
	uint64_t debt; /* of what comes next, it was spent on tracing */
	uint64_t *ticks;
};

static void account(struct walk *walk, enum kernel_stage stage, uint64_t until, uint64_t cost)
{
	uint64_t ticks = until > walk->last ? until - walk->last : 0;

	walk->ticks[stage] += ticks > walk->debt ? ticks - walk->debt : 0;
	walk->last = until;
	walk->debt = cost;
}

static void go_on(struct walk *walk, const struct kernel_event *event, enum kernel_stage stage)
{
	account(walk, walk->stage, event->ticks, walk->window->event_cost);
	walk->stage = stage;
}

/* --- the kernel's events ------------------------------------------------------------------------------- */

static void fault_event(struct walk *walk, const struct kernel_event *event)
{
	if (event->thread != walk->window->thread)
		return;
	if (event->kind == KERNEL_PAGE_FAULT && walk->stage == KERNEL_STAGE_EXCEPTION)
		go_on(walk, event, KERNEL_STAGE_HANDLE);
	else if (event->kind == KERNEL_SIGNAL_GENERATED && walk->stage == KERNEL_STAGE_HANDLE)
		go_on(walk, event, KERNEL_STAGE_SIGNAL);
	else if (event->kind == KERNEL_SIGNAL_DELIVERED && walk->stage == KERNEL_STAGE_SIGNAL)
		go_on(walk, event, KERNEL_STAGE_FRAME);
	else if ((event->kind == KERNEL_WAKING || event->kind == KERNEL_SWITCH) &&
		 walk->stage == KERNEL_STAGE_HANDLE)
		go_on(walk, event, KERNEL_STAGE_HANDOVER);
}

static enum kernel_stage stage_of_call(long number)
{
	return number == SYS_ioctl	    ? KERNEL_STAGE_IOCTL
	       : number == SYS_rt_sigreturn ? KERNEL_STAGE_SIGRETURN
					    : KERNEL_STAGE_CALLS;
}

static void handling_event(struct walk *walk, const struct kernel_event *event)
{
	bool handed_over = walk->handler != walk->window->thread;

	if (event->thread != walk->handler)
		return; /* the thread that has faulted goes to sleep, others do what they do */
	if (event->kind == KERNEL_CALL) {
		go_on(walk, event, stage_of_call(event->number));
	} else if (event->kind == KERNEL_WAKING && handed_over && event->number == walk->window->thread) {
		go_on(walk, event, KERNEL_STAGE_WAKE);
		walk->phase = RETURNING;
	} else if (event->kind == KERNEL_CALL_DONE && walk->stage == KERNEL_STAGE_SIGRETURN) {
		go_on(walk, event, KERNEL_STAGE_RESUME);
		walk->phase = RETURNING;
	} else if (event->kind == KERNEL_CALL_DONE) {
		go_on(walk, event, KERNEL_STAGE_RUNTIME);
	} else {
		walk->debt += walk->window->event_cost;
	}
}

static void returning_event(struct walk *walk, const struct kernel_event *event)
{
	if (event->kind == KERNEL_SWITCH && event->number == walk->window->thread &&
	    walk->stage == KERNEL_STAGE_WAKE)
		go_on(walk, event, KERNEL_STAGE_RESUME);
}

/* --- the runtime's moments ----------------------------------------------------------------------------- */

static enum kernel_stage stage_of_moment(enum dsm_moment moment)
{
	return moment == DSM_MOMENT_PREPARED || moment == DSM_MOMENT_ASKED || moment == DSM_MOMENT_READ
		   ? KERNEL_STAGE_DATA
		   : KERNEL_STAGE_RUNTIME;
}

/* The one that lets the faulting thread go on. */
static pid_t find_handler(const struct walk *walk)
{
	const struct kernel_window *w = walk->window;

	for (size_t i = walk->next; i < w->count; i++)
		if (w->events[i].kind == KERNEL_WAKING && w->events[i].number == w->thread)
			return w->events[i].thread;
	return NOBODY;
}

static void moment(struct walk *walk, enum dsm_moment moment, uint64_t at)
{
	uint64_t cost = walk->window->moment_cost;

	if (moment == DSM_MOMENT_ENTERED && walk->phase == FAULTING) {
		account(walk, walk->stage, at, cost);
		walk->handler = walk->stage == KERNEL_STAGE_FRAME ? walk->window->thread : find_handler(walk);
		walk->stage = KERNEL_STAGE_RUNTIME;
		walk->phase = HANDLING;
	} else if (walk->phase == HANDLING && walk->stage == KERNEL_STAGE_RUNTIME) {
		account(walk, stage_of_moment(moment), at, cost);
	}
}

/* --- both ---------------------------------------------------------------------------------------------- */

bool kernel_stages(const struct kernel_window *w, uint64_t ticks[KERNEL_STAGES])
{
	static void (*const follow[])(struct walk *, const struct kernel_event *) = {
	    [FAULTING] = fault_event, [HANDLING] = handling_event, [RETURNING] = returning_event};
	struct walk walk = {
	    .window = w, .handler = NOBODY, .last = w->before, .debt = w->moment_cost, .ticks = ticks};

	memset(ticks, 0, KERNEL_STAGES * sizeof *ticks);
	for (unsigned int i = 0; i <= DSM_MOMENTS; i++) {
		uint64_t at = i < DSM_MOMENTS ? w->moments[i] : w->after;
		if (!at || (i < DSM_MOMENTS && at > w->after))
			continue;
		for (; walk.next < w->count && w->events[walk.next].ticks <= at; walk.next++)
			follow[walk.phase](&walk, &w->events[walk.next]);
		if (i < DSM_MOMENTS)
			moment(&walk, i, at);
	}
	account(&walk, walk.stage, w->after, 0);
	/* A fault in whose middle events were lost ends somewhere else. */
	return walk.phase == RETURNING && walk.stage == KERNEL_STAGE_RESUME && ticks[KERNEL_STAGE_HANDLE] > 0;
}
