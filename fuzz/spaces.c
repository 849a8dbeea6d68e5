/* What nodes tell of their free addresses: chosen from only if it can be, and then within all of them. */
#include <stdbool.h>
#include <string.h>

#include "dsm/address.h"
#include "fuzz/node.h"

static bool is_free(const struct address_space *space, uint64_t address, size_t bytes)
{
	for (uint32_t i = 0; i < space->count; i++)
		if (address >= space->free[i].start && address < space->free[i].end &&
		    bytes <= space->free[i].end - address)
			return true;
	return false;
}

/* The input is short of a whole space: a count, and as many ranges as there are. */
static void read_space(const uint8_t **data, size_t *size, struct address_space *out)
{
	size_t head = *size < 4 ? *size : 4;

	memset(out, 0, sizeof *out);
	memcpy(&out->count, *data, head);
	*data += head;
	*size -= head;
	size_t bytes =
	    (out->count < ADDRESS_RANGES_MAX ? out->count : ADDRESS_RANGES_MAX) * sizeof out->free[0];
	bytes = bytes < *size ? bytes : *size;
	memcpy(out->free, *data, bytes);
	*data += bytes;
	*size -= bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address_space spaces[2];

	for (int i = 0; i < 2; i++) {
		read_space(&data, &size, &spaces[i]);
		if (!address_space_is_possible(&spaces[i]))
			return 0;
	}
	size_t bytes = (size_t)1 << (12 + (size ? data[0] % 36 : 0)), alignment = (size_t)2 << 20;
	uint64_t address = address_choose(spaces, 2, bytes, alignment);
	if (!address)
		return 0;
	REQUIRE(address % alignment == 0);
	REQUIRE(is_free(&spaces[0], address, bytes) && is_free(&spaces[1], address, bytes));
	return 0;
}
