/*
 * What moves with memory that is migrated, of any bytes but for some; over memory as it was before. It is
 * refused, or the table can be worked on with it, checked and saved: in this thread, so that the same input
 * does the same each time.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/vmm/heartbeat.h"
#include "dsm/vmm/process_state.h"
#include "dsm/vmm/workload.h"
#include "fuzz/node.h"

#define BYTES ((size_t)64 << 10) /* a table of 256 keys: quick to write and to check */
#define STEPS 300		 /* more than a pass */

static struct workload *workload;
static char *memory;

static void set_up(void)
{
	struct workload_options options = {.bytes = BYTES, .walk_bytes = BYTES, .writes_per_s = 100000};
	char why[256];

	options.memory = memory = aligned_alloc(4096, options.bytes);
	REQUIRE(memory);
	REQUIRE(!workload_process.create(&options, &workload, why, sizeof why));
}

/* Pieces of the input, each behind a place and a length. */
static void spoil(char *state, size_t state_bytes, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		size_t at = data[0] % state_bytes, bytes = data[1];

		data += 2;
		size -= 2;
		bytes = bytes < size ? bytes : size;
		bytes = bytes < state_bytes - at ? bytes : state_bytes - at;
		memcpy(state + at, data, bytes);
		data += bytes;
		size -= bytes;
	}
}

static void take_text(const uint8_t *data, size_t size)
{
	struct heartbeat any = {0};
	char line[256];

	size = size < sizeof line ? size : sizeof line - 1;
	memcpy(line, data, size);
	line[size] = 0;
	heartbeat_take(&any, line);
}

/* What the workload's thread does with what was restored, but for its rests and its beats. */
static void work_with(struct process_state *s)
{
	const struct churn table = {
	    .memory = memory, .bytes = BYTES, .walk_bytes = s->walk_bytes, .stride_bytes = s->stride_bytes};
	uint64_t steps = s->progress.steps;
	char why[256];

	for (unsigned int i = 0; i < STEPS; i++) {
		why[0] = 0;
		REQUIRE(churn_step(&table, &s->progress, why, sizeof why) == !why[0]);
	}
	REQUIRE(s->progress.steps == steps + STEPS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct process_state right, state;
	char why[256] = "";

	if (!workload)
		set_up();
	take_text(data, size);
	REQUIRE(!workload_process.boot(workload));
	REQUIRE(workload_process.save(workload, &right, sizeof right) == (ssize_t)sizeof right);
	state = right;
	spoil((char *)&state, sizeof state, data, size);
	REQUIRE(workload_process.restore(workload, &state, sizeof state - 1) == -EPROTO);
	bool is_right = !memcmp(&state, &right, sizeof right);
	int error = workload_process.restore(workload, &state, sizeof state);

	REQUIRE(!error || (error == -EPROTO && !is_right));
	if (error)
		return 0;
	REQUIRE(workload_process.save(workload, &state, sizeof state) == (ssize_t)sizeof state);
	work_with(&state);
	/* It has gone on, to where it still is what may come over a wire. */
	REQUIRE(!workload_process.restore(workload, &state, sizeof state));
	error = workload_process.check(workload, why, sizeof why);
	REQUIRE(!error || (error == -EBADMSG && why[0] && !is_right));
	return 0;
}
