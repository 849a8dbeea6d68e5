/*
 * Where we are. See host.h.
 */
#include "bench/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/commit.h"
#include "kernel/memory.h"

/* The first "model name" of /proc/cpuinfo; other architectures have none. */
static void read_cpu_model(char *out, size_t bytes)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, bytes, "unknown");
	while (file && fgets(line, sizeof line, file)) {
		char *value = strstr(line, ": ");
		if (strncmp(line, "model name", strlen("model name")) || !value)
			continue;
		value[strcspn(value, "\n")] = '\0';
		snprintf(out, bytes, "%s", value + 2);
		break;
	}
	if (file)
		fclose(file);
}

static void describe_cpu(char out[HOST_TEXT_MAX])
{
	char model[96];

	read_cpu_model(model, sizeof model);
	snprintf(out, HOST_TEXT_MAX, "%s, %ld online", model, sysconf(_SC_NPROCESSORS_ONLN));
}

static void describe_pools(char out[HOST_TEXT_MAX])
{
	static const size_t sizes[] = {2 * MIB, 1 * GIB};
	size_t used = 0;

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct hugepage_pool pool;
		const char *name = memory_page_size_name(sizes[i]), *gap = i ? "; " : "";

		if (hugepage_pool_read(sizes[i], &pool) || !pool.total)
			used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used, "%s%s: none", gap, name);
		else
			used += (size_t)snprintf(out + used, HOST_TEXT_MAX - used,
						 "%s%s: %" PRIu64 " pages, %" PRIu64 " free", gap, name,
						 pool.total, pool.free);
	}
}

void host_describe(struct host *out)
{
	struct utsname name;

	if (uname(&name)) {
		snprintf(out->name, sizeof out->name, "unknown");
		snprintf(out->kernel, sizeof out->kernel, "unknown");
	} else {
		snprintf(out->name, sizeof out->name, "%.100s", name.nodename);
		snprintf(out->kernel, sizeof out->kernel, "%.20s %.64s %.20s", name.sysname, name.release,
			 name.machine);
	}
	describe_cpu(out->cpu);
	describe_pools(out->pools);
}

const char *host_commit(void)
{
	return BENCH_COMMIT;
}

const char *host_transport(int one_host)
{
	const char *asked = getenv("MINORCA_TRANSPORT");

	if (asked && (!strcmp(asked, "shm") || !strcmp(asked, "verbs")))
		return !strcmp(asked, "shm") ? "shm" : "verbs";
	return one_host ? "shm" : "verbs";
}
