/*
 * The table of cases. See cases.h.
 */
#include "bench/cases.h"

#include "kernel/memory.h"

#define READ (UINT32_C(1) << ACCESS_READ)
#define WRITE (UINT32_C(1) << ACCESS_WRITE)

#define BLOCKS_OF_A_LARGE_PAGE 64

static const struct fault_case table[] = {
    {"fetch_new", "load from a page that this node has never seen", PAGE_NEVER_SEEN, READ, false, false},
    {"fetch_stale", "a page that is held, but out of date in all blocks", PAGE_OUT_OF_DATE, READ | WRITE,
     false, false},
    {"fetch_blocks", "a page that is held, k of its 64 blocks out of date", PAGE_OUT_OF_DATE, READ, true,
     false},
    {"current", "a page that is held and up to date: version check, no data", PAGE_UP_TO_DATE, READ | WRITE,
     false, false},
    {"write_new", "store to a page that this node has never seen", PAGE_NEVER_SEEN, WRITE, false, false},
    {"write_upgrade", "store to a page that is mapped for reading", PAGE_READ_ONLY, WRITE, false, false},
    {"sweep_prefetch",
     "one load per page in sequence, each 1 MiB (16 MiB) prefetched by one call; time per call",
     PAGE_OUT_OF_DATE, READ, false, true},
};

#define TABLE_LENGTH (sizeof table / sizeof table[0])

const struct fault_case *cases_table(size_t *count)
{
	*count = TABLE_LENGTH;
	return table;
}

const char *const *cases_names(void)
{
	static const char *names[TABLE_LENGTH + 1];

	for (size_t i = 0; i < TABLE_LENGTH; i++)
		names[i] = table[i].name;
	return names;
}

const char *const *access_names(void)
{
	static const char *const names[ACCESS_COUNT + 1] = {"read", "write", NULL};

	return names;
}

unsigned int blocks_per_page(size_t page_bytes)
{
	return page_bytes > 4 * KIB ? BLOCKS_OF_A_LARGE_PAGE : 1;
}

size_t sweep_call_bytes(size_t page_bytes)
{
	return page_bytes > 4 * KIB ? 16 * MIB : 1 * MIB;
}
