#include "dsm/vmm/workload.h"

#define RESTS_PER_S 200
#define STEPS_PER_REST_MAX 1024
#define STEPS_WITHOUT_REST 64 /* until it looks whether it is time for a beat */
#define BEAT_US 100000

uint64_t workload_steps_per_rest(uint64_t writes_per_s)
{
	uint64_t steps = writes_per_s / RESTS_PER_S;

	if (!writes_per_s)
		return STEPS_WITHOUT_REST;
	if (steps > STEPS_PER_REST_MAX)
		return STEPS_PER_REST_MAX;
	return steps ? steps : 1;
}

uint64_t workload_rest_us(uint64_t writes_per_s)
{
	return writes_per_s ? workload_steps_per_rest(writes_per_s) * 1000000 / writes_per_s : 0;
}

uint64_t workload_beat_us(const struct workload_options *options)
{
	return options->beat_us ? options->beat_us : BEAT_US;
}

size_t workload_walk_bytes(const struct workload_options *options)
{
	size_t walk = WORKLOAD_BYTES_MIN;

	if (options->walk_bytes)
		return options->walk_bytes;
	while (walk <= options->bytes / 2)
		walk *= 2;
	return walk;
}
