/*
 * What moves with memory that is migrated, of any bytes but for some; over memory that has nothing to do with
 * it. It is refused, or what runs with it can be paused, checked and saved.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/vmm/heartbeat.h"
#include "dsm/vmm/workload.h"
#include "fuzz/node.h"

static struct workload *workload;
static char right[WORKLOAD_STATE_MAX];
static size_t right_bytes;
static struct heartbeat heart;

static void take_line(void *unused, const char *line)
{
	(void)unused;
	heartbeat_take(&heart, line);
}

static void set_up(void)
{
	struct workload_options options = {.bytes = WORKLOAD_BYTES_MIN,
					   .stride_bytes = 65536, /* so that it is quick to check */
					   .writes_per_s = 100000,
					   .on_line = take_line};
	char why[256];

	options.memory = aligned_alloc(4096, options.bytes);
	REQUIRE(options.memory);
	REQUIRE(!workload_process.create(&options, &workload, why, sizeof why));
	REQUIRE(!workload_process.boot(workload));
	ssize_t bytes = workload_process.save(workload, right, sizeof right);

	REQUIRE(bytes > 0);
	right_bytes = (size_t)bytes;
}

/* Pieces of the input, each behind a place and a length. */
static void spoil(char *state, const uint8_t *data, size_t size)
{
	while (size >= 2) {
		size_t at = data[0] % right_bytes, bytes = data[1];

		data += 2;
		size -= 2;
		bytes = bytes < size ? bytes : size;
		bytes = bytes < right_bytes - at ? bytes : right_bytes - at;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char state[WORKLOAD_STATE_MAX];
	char why[256] = "";

	if (!workload)
		set_up();
	take_text(data, size);
	memcpy(state, right, right_bytes);
	spoil(state, data, size);
	REQUIRE(workload_process.restore(workload, state, right_bytes - 1) == -EPROTO);
	int error = workload_process.restore(workload, state, right_bytes);

	REQUIRE(!error || error == -EPROTO);
	if (error)
		return 0;
	REQUIRE(!workload_process.run(workload));
	REQUIRE(!workload_process.pause(workload));
	error = workload_process.check(workload, why, sizeof why);
	REQUIRE(!error || (error == -EBADMSG && why[0]));
	REQUIRE(workload_process.save(workload, state, sizeof state) == (ssize_t)right_bytes);
	return 0;
}
