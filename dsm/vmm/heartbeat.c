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

bool heartbeat_judge(const struct heartbeat *h, char *why, size_t why_bytes)
{
	if (h->went_back)
		snprintf(why, why_bytes,
			 "%" PRIu64 " of %" PRIu64
			 " heartbeats did not follow the one before: it has gone on "
			 "from another state than it was in",
			 h->went_back, h->beats);
	else if (h->failed)
		snprintf(why, why_bytes,
			 "%" PRIu64
			 " of its own checks failed; lines that begin with BAD say where its memory "
			 "was wrong",
			 h->failed);
	else if (!h->beats)
		snprintf(why, why_bytes, "it has not come to a single heartbeat; give it longer (--seconds)");
	return !h->went_back && !h->failed && h->beats;
}
