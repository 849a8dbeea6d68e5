/* /proc/self/maps, of any content: what is said to be free can be, and fits. (Mappings that do not
 * ascend, which the kernel does not show, may lie in what is said to be free.) */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "dsm/address.h"
#include "fuzz/node.h"

#define LOW ((uint64_t)1 << 32)

static FILE *open_input(const uint8_t *data, size_t size)
{
	return fmemopen((void *)(uintptr_t)data, size, "r");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t alignments[] = {(size_t)2 << 20, (size_t)1 << 30};
	struct address_space space;
	char line[100];

	if (size < 2)
		return 0;
	size_t bytes = (size_t)1 << (12 + data[0] % 36), alignment = alignments[data[0] >> 7];
	FILE *maps = open_input(data + 1, size - 1);
	REQUIRE(maps);
	address_read_free(maps, bytes, alignment, &space);
	fclose(maps);
	REQUIRE(address_space_is_possible(&space));
	uint64_t address = address_choose(&space, 1, bytes, alignment);
	REQUIRE(!address == !space.count && address % alignment == 0);

	maps = open_input(data + 1, size - 1);
	REQUIRE(maps);
	if (address_find_user(maps, LOW, (size_t)1 << 46, line, sizeof line))
		REQUIRE(memchr(line, 0, sizeof line) && !strchr(line, '\n'));
	fclose(maps);
	return 0;
}
