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

void address_read_free(FILE *maps, size_t bytes, size_t alignment, struct address_space *out)
{
	uint64_t start, end, free_from = LOWEST;
	char line[4096];

	memset(out, 0, sizeof *out);
	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			continue;
		struct address_range gap = {free_from, start < HIGHEST ? start : HIGHEST};
		if (gap.end > gap.start && holds(gap, bytes, alignment))
			keep(out, gap);
		free_from = end > free_from ? end : free_from;
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
	uint64_t from, to;

	while (fgets(line, (int)line_bytes, maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2 && from < start + bytes &&
		    to > start) {
			line[strcspn(line, "\n")] = 0;
			return true;
		}
	return false;
}
