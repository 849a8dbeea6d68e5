/*
 * What the kernel does for this process, by its tracepoints: an instance of tracefs of our own, stamped with
 * the time-stamp counter, so that it goes with moments that were taken by dsm_trace_ticks().
 *
 * Tracepoints, and not probes of functions: they are in every kernel of a distribution, those that are locked
 * down included, and cost less. It needs root.
 */
#ifndef MINORCA_BENCH_KERNEL_TRACE_H
#define MINORCA_BENCH_KERNEL_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum kernel_event_kind {
	KERNEL_PAGE_FAULT,	 /* exceptions:page_fault_user */
	KERNEL_SIGNAL_GENERATED, /* signal:signal_generate; number: the signal */
	KERNEL_SIGNAL_DELIVERED, /* signal:signal_deliver; number: the signal */
	KERNEL_CALL,		 /* raw_syscalls:sys_enter; number: of the system call */
	KERNEL_CALL_DONE,	 /* raw_syscalls:sys_exit; number: of the system call */
	KERNEL_WAKING,		 /* sched:sched_waking; number: the thread that is woken */
	KERNEL_SWITCH,		 /* sched:sched_switch; number: the thread that runs next */
	KERNEL_EVENTS
};

struct kernel_event {
	uint64_t ticks;
	enum kernel_event_kind kind;
	pid_t thread; /* in which it happened; KERNEL_SWITCH: the one that ran before */
	long number;
};

struct kernel_trace;

#define KERNEL_TRACE_REASON_MAX 256

/**
 * Makes the instance, and measures what an event costs.
 *
 * @return 0, to be ended by kernel_trace_close(); -errno, and why in @reason.
 */
int kernel_trace_open(struct kernel_trace **out, char reason[KERNEL_TRACE_REASON_MAX]);
void kernel_trace_close(struct kernel_trace *trace);

/** What a tracepoint costs whoever comes by, in ticks: by a system call that does nothing. */
uint64_t kernel_trace_cost_ticks(const struct kernel_trace *trace);

/** Forgets what there was, and traces all threads that this process has now. @return 0 or -errno. */
int kernel_trace_start(struct kernel_trace *trace);

/** Ends it: tracepoints cost nothing any more. @return 0 or -errno. */
int kernel_trace_stop(struct kernel_trace *trace);

/** What was traced, by time. @return 0 or -errno; @events are valid until the next call. */
int kernel_trace_read(struct kernel_trace *trace, const struct kernel_event **events, size_t *count);

/** Reads one line of the kernel's text. @return false: it is none of the events. */
bool kernel_trace_parse(const char *line, struct kernel_event *out);

#endif
