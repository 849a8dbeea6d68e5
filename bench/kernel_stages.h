/*
 * The stages of a fault as the kernel sees them: its tracepoints and the runtime's moments, in one order.
 */
#ifndef MINORCA_BENCH_KERNEL_STAGES_H
#define MINORCA_BENCH_KERNEL_STAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <minorca.h>

#include "bench/kernel_trace.h"

enum kernel_stage {
	KERNEL_STAGE_EXCEPTION, /* the access, until the kernel's handler of page faults runs */
	KERNEL_STAGE_HANDLE,	/* it finds the mapping and the page table's entry, and asks userfaultfd */
	KERNEL_STAGE_SIGNAL,	/* from the signal's being sent to its being taken, on the way to user mode */
	KERNEL_STAGE_FRAME,	/* registers are saved on the stack; until the runtime's handler runs */
	KERNEL_STAGE_HANDOVER, /* thread delivery: the faulting thread has let go; until the handler has it */
	KERNEL_STAGE_DATA,     /* user mode: memory, versions, data */
	KERNEL_STAGE_RUNTIME,  /* user mode: all else; entering and leaving the kernel for its calls, too */
	KERNEL_STAGE_IOCTL,    /* CONTINUE, or write-protection taken off */
	KERNEL_STAGE_CALLS,    /* other system calls */
	KERNEL_STAGE_WAKE,     /* thread delivery: from the waking of the faulting thread until it runs */
	KERNEL_STAGE_SIGRETURN, /* registers are restored */
	KERNEL_STAGE_RESUME,	/* until the access is over */
	KERNEL_STAGES
};

/* One access and what is known of it. */
struct kernel_window {
	uint64_t before, after;		   /* ticks around the access */
	pid_t thread;			   /* which made it */
	const uint64_t *moments;	   /* [DSM_MOMENTS], of its fault */
	const struct kernel_event *events; /* from before to after, by time */
	size_t count;
	uint64_t moment_cost, event_cost; /* ticks, taken off what follows each */
};

/**
 * How long each stage took, in ticks.
 *
 * @return false: the kernel's events are not all there.
 */
bool kernel_stages(const struct kernel_window *window, uint64_t ticks[KERNEL_STAGES]);

#endif
