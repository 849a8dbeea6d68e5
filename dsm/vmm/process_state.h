/*
 * What moves with the process's hash table, beside the memory that it is in: see workload_process.c. A header
 * of its own for those who try what comes of a damaged one.
 */
#ifndef MINORCA_DSM_VMM_PROCESS_STATE_H
#define MINORCA_DSM_VMM_PROCESS_STATE_H

#include <stdint.h>

#include "dsm/vmm/churn.h"
#include "dsm/vmm/timer.h"

#define PROCESS_STATE_MAGIC 0x6e757263u
#define PROCESS_STATE_VERSION 1

struct process_state {
	uint32_t magic, version, bytes, reserved;
	uint64_t walk_bytes, stride_bytes, writes_per_s, beat_us;
	struct churn_progress progress;
	struct timer_counter timer;
	uint64_t steps_left; /* until it rests */
	uint64_t beats, next_beat_us;
};

#endif
