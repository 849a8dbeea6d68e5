#include "dsm/capacity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dsm/home.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

/* What stays free when a region is made of ordinary memory: a region is not worth the machine. */
#define MEMORY_SLACK_BYTES (64 * MIB)

/* What a file of the form "NAME: N kB" or "N" says, in bytes; @otherwise if it does not. */
static uint64_t read_limit(const char *path, const char *name, uint64_t otherwise)
{
	FILE *file = fopen(path, "re");
	char line[256];
	uint64_t value, found = otherwise;

	if (!file)
		return otherwise;
	while (fgets(line, sizeof line, file)) {
		if (name && !strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), "%" SCNu64, &value) == 1)
			found = value * KIB;
		else if (!name && sscanf(line, "%" SCNu64, &value) == 1)
			found = value;
	}
	fclose(file);
	return found;
}

static uint64_t memory_available(void)
{
	uint64_t available = read_limit("/proc/meminfo", "MemAvailable:", UINT64_MAX);
	/* A container's own limit, where it is mounted as usual (cgroup v2). */
	uint64_t limit = read_limit("/sys/fs/cgroup/memory.max", NULL, UINT64_MAX);
	uint64_t used = read_limit("/sys/fs/cgroup/memory.current", NULL, 0);

	if (limit != UINT64_MAX && limit - used < available && used <= limit)
		available = limit - used;
	return available;
}

/* Bytes of @map that the nodes of this machine are home of. */
static uint64_t host_bytes(const struct home_map *map, unsigned page_shift)
{
	uint64_t bytes = 0;

	for (int i = 0; i < runtime.nodes; i++)
		if (runtime.hosts[i] == runtime.hosts[runtime.node])
			bytes += (uint64_t)home_pages(map, i) << page_shift;
	return bytes;
}

static int check_memory(uint64_t needed, char *message, size_t bytes)
{
	uint64_t available = memory_available();

	if (needed <= available && available - needed >= MEMORY_SLACK_BYTES)
		return 0;
	snprintf(message, bytes,
		 "too large: the nodes of this machine are home of %" PRIu64 " MiB and %" PRIu64
		 " MiB of memory are available; make the region smaller or use more machines",
		 needed / MIB, available / MIB);
	return -ENOMEM;
}

static int check_pool(uint64_t needed, size_t page_bytes, char *message, size_t bytes)
{
	struct hugepage_pool pool;

	if (hugepage_pool_read(page_bytes, &pool)) {
		snprintf(message, bytes, "this kernel has no hugepages of %s (see `minorca info`)",
			 memory_page_size_name(page_bytes));
		return -ENODEV;
	}
	uint64_t pages = needed / page_bytes,
		 unpromised = pool.free > pool.reserved ? pool.free - pool.reserved : 0;
	uint64_t on_demand = pool.overcommit > pool.surplus ? pool.overcommit - pool.surplus : 0;
	if (pages <= unpromised + on_demand)
		return 0;
	snprintf(message, bytes,
		 "the nodes of this machine are home of %" PRIu64
		 " hugepages of %s, and the pool has %" PRIu64 " free (of %" PRIu64
		 "); enlarge it, with room for pages that are fetched: echo %" PRIu64
		 " > /sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages",
		 pages, memory_page_size_name(page_bytes), unpromised, pool.total,
		 pool.total - unpromised + 2 * pages, page_bytes / KIB);
	return -ENOSPC;
}

int capacity_check(const struct home_map *homes, unsigned page_shift, char *message, size_t message_bytes)
{
	uint64_t needed = host_bytes(homes, page_shift);
	size_t page_bytes = (size_t)1 << page_shift;

	return page_bytes > 4 * KIB ? check_pool(needed, page_bytes, message, message_bytes)
				    : check_memory(needed, message, message_bytes);
}
