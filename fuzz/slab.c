/* Searches in the states of slabs that say anything. */
#include <stdlib.h>
#include <string.h>

#include "dsm/slab.h"
#include "fuzz/node.h"

static void check_run(const uint64_t *states, size_t count, size_t length)
{
	size_t found = slab_find_run(states, count, length);

	REQUIRE(found <= count);
	if (found == count)
		return;
	REQUIRE(length <= count - found);
	for (size_t i = 0; i < length; i++)
		REQUIRE(slab_is_free(states[found + i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count = size / sizeof(uint64_t), taken, longest;
	uint64_t *states = malloc(count * sizeof *states + 1);

	REQUIRE(states);
	memcpy(states, data, count * sizeof *states);
	REQUIRE(slab_find_free(states, count) <= count);
	slab_survey(states, count, &taken, &longest);
	REQUIRE(taken + longest <= count);
	for (size_t length = 1; length <= 5; length++)
		check_run(states, count, length);
	if (longest)
		REQUIRE(slab_find_run(states, count, longest) < count);
	for (size_t i = 0; i < count; i++)
		if (slab_is_possible(states[i], i, count, FUZZ_NODES)) {
			uint64_t word = slab_encode(slab_decode(states[i]));
			REQUIRE((word & 0xf) == (states[i] & 0xf));
		}
	free(states);
	return 0;
}
