#include "dsm/address.h"

#include <inttypes.h>
#include <string.h>

/* Below: the null page, small executables, what 32-bit code may want. Above: the end of user space on x86-64
 * with four-level page tables, which every kernel gives to a process that does not ask for more. */
#define LOWEST ((uint64_t)1 << 32)
#define HIGHEST (((uint64_t)1 << 47) - 4096)

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static bool holds(struct address_range range, size_t bytes, size_t alignment)
{
	uint64_t start = align_up(range.start, alignment);

	return start >= range.start && start < range.end && range.end - start >= bytes;
}

/* Keeps the largest ranges, in ascending order. */
static void keep(struct address_space *space, struct address_range range)
{
	uint32_t smallest = 0;

	if (space->count < ADDRESS_RANGES_MAX) {
		space->free[space->count++] = range;
		return;
	}
	for (uint32_t i = 1; i < space->count; i++)
		if (space->free[i].end - space->free[i].start <
		    space->free[smallest].end - space->free[smallest].start)
			smallest = i;
	if (range.end - range.start <= space->free[smallest].end - space->free[smallest].start)
		return;
	memmove(&space->free[smallest], &space->free[smallest + 1],
		(space->count - smallest - 1) * sizeof space->free[0]);
	space->free[space->count - 1] = range;
}

bool address_space_is_possible(const struct address_space *space)
{
	uint64_t at = LOWEST;

	if (space->count > ADDRESS_RANGES_MAX)
		return false;
	for (uint32_t i = 0; i < space->count; i++) {
		if (space->free[i].start < at || space->free[i].end <= space->free[i].start)
			return false;
		at = space->free[i].end;
	}
	return at <= HIGHEST;
}

/* The next mapping of @maps, and its line, or as much of that as fits: the rest of it is not taken for a
 * line. */
static bool next_mapping(FILE *maps, char *line, size_t bytes, struct address_range *out)
{
	while (fgets(line, (int)bytes, maps)) {
		size_t end = strcspn(line, "\n");
		bool found = sscanf(line, "%" SCNx64 "-%" SCNx64, &out->start, &out->end) == 2 &&
			     out->start < out->end;
		for (int c = (unsigned char)line[end]; c != '\n' && c != EOF;)
			c = getc(maps);
		line[end] = 0;
		if (found)
			return true;
	}
	return false;
}

void address_read_free(FILE *maps, size_t bytes, size_t alignment, struct address_space *out)
{
	struct address_range used;
	uint64_t free_from = LOWEST;
	char line[4096];

	memset(out, 0, sizeof *out);
	while (next_mapping(maps, line, sizeof line, &used)) {
		struct address_range gap = {free_from, used.start < HIGHEST ? used.start : HIGHEST};
		if (gap.end > gap.start && holds(gap, bytes, alignment))
			keep(out, gap);
		free_from = used.end > free_from ? used.end : free_from;
	}
	struct address_range gap = {free_from, HIGHEST};
	if (gap.end > gap.start && holds(gap, bytes, alignment))
		keep(out, gap);
}

/* What @a and @b have in common. Both ascending. */
static void intersect(const struct address_space *a, const struct address_space *b, size_t bytes,
		      size_t alignment, struct address_space *out)
{
	struct address_space result = {0};

	for (uint32_t i = 0, j = 0; i < a->count && j < b->count;) {
		struct address_range x = a->free[i], y = b->free[j];
		struct address_range both = {x.start > y.start ? x.start : y.start,
					     x.end < y.end ? x.end : y.end};
		if (both.start < both.end && holds(both, bytes, alignment))
			keep(&result, both);
		if (x.end < y.end)
			i++;
		else
			j++;
	}
	*out = result;
}

uint64_t address_choose(const struct address_space *spaces, int count, size_t bytes, size_t alignment)
{
	struct address_space common = spaces[0];
	struct address_range best = {0, 0};

	for (int i = 1; i < count; i++)
		intersect(&common, &spaces[i], bytes, alignment, &common);
	for (uint32_t i = 0; i < common.count; i++)
		if (common.free[i].end - common.free[i].start > best.end - best.start)
			best = common.free[i];
	if (!best.end)
		return 0;
	uint64_t middle = align_up(best.start + (best.end - best.start - bytes) / 2, alignment);
	return middle + bytes <= best.end ? middle : align_up(best.start, alignment);
}

bool address_find_user(FILE *maps, uint64_t start, size_t bytes, char *line, size_t line_bytes)
{
	struct address_range used;

	while (next_mapping(maps, line, line_bytes, &used))
		if (used.start < start + bytes && used.end > start)
			return true;
	return false;
}
