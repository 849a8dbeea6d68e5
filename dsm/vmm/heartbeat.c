#include "dsm/vmm/heartbeat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum heartbeat_line heartbeat_take(struct heartbeat *h, const char *line)
{
	uint64_t beat, steps;
	char verdict[8];

	if (!strncmp(line, "BAD ", 4)) {
		h->failed++;
		return HEARTBEAT_FAILED;
	}
	if (sscanf(line, "beat %" SCNu64 " steps %" SCNu64 " %7s", &beat, &steps, verdict) != 3)
		return HEARTBEAT_OTHER;
	bool follows = beat == h->last_beat + 1 && (steps > h->last_steps || !h->last_beat);

	h->beats++;
	h->last_beat = beat;
	h->last_steps = steps;
	if (!follows) {
		h->went_back++;
		return HEARTBEAT_WENT_BACK;
	}
	return strcmp(verdict, "ok") ? HEARTBEAT_FAILED : HEARTBEAT_BEAT;
}
