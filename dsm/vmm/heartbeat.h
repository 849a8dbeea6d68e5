/*
 * Reads what a workload says, and remembers what it has come to. Plain data: it moves with the workload, so
 * that each beat is compared with the one before, wherever that was.
 */
#ifndef MINORCA_DSM_VMM_HEARTBEAT_H
#define MINORCA_DSM_VMM_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heartbeat {
	uint64_t beats;	     /* lines "beat N steps M ..." so far */
	uint64_t last_beat;  /* N of the last; 0: none yet */
	uint64_t last_steps; /* M of the last: each step is a check that was made */
	uint64_t went_back;  /* beats whose N did not follow the one before, or whose M is not larger */
	uint64_t failed;     /* checks that failed, lines that begin with BAD */
};

enum heartbeat_line {
	HEARTBEAT_BEAT,
	HEARTBEAT_FAILED,    /* a check of its own failed */
	HEARTBEAT_WENT_BACK, /* a beat that does not follow the last */
	HEARTBEAT_OTHER,
};

/** Takes one line. */
enum heartbeat_line heartbeat_take(struct heartbeat *h, const char *line);

/** @return whether all that was said is as it must be, and something was; if not, @why is a sentence, else it
 * is left as it is. */
bool heartbeat_judge(const struct heartbeat *h, char *why, size_t why_bytes);

#endif
