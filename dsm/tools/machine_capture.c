/*
 * Asks the machine what it is. Prints nothing and judges nothing.
 */
#include "dsm/tools/machine.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <minorca.h>
#include <mpi.h>

#include "dsm/settings.h"
#include "dsm/topology.h"

static void capture_system(struct machine_info *out)
{
	struct utsname system;

	snprintf(out->version, sizeof out->version, "%s", dsm_version());
	if (uname(&system))
		return;
	snprintf(out->host, sizeof out->host, "%s", system.nodename);
	snprintf(out->kernel_release, sizeof out->kernel_release, "%s", system.release);
	snprintf(out->architecture, sizeof out->architecture, "%s", system.machine);
}

static int by_page_size(const void *a, const void *b)
{
	const struct hugepage_pool *x = a, *y = b;

	return (x->page_bytes > y->page_bytes) - (x->page_bytes < y->page_bytes);
}

/* One directory a page size: hugepages-2048kB. */
static void capture_pools(struct machine_info *out)
{
	static const char prefix[] = "hugepages-";
	DIR *directory = opendir("/sys/kernel/mm/hugepages");
	const struct dirent *entry;

	if (!directory)
		return;
	while ((entry = readdir(directory)) && out->pool_count < MACHINE_MAX_POOLS) {
		if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0)
			continue;
		size_t kib = strtoul(entry->d_name + sizeof prefix - 1, NULL, 10);
		if (kib && !hugepage_pool_read(kib * KIB, &out->pools[out->pool_count]))
			out->pool_count++;
	}
	closedir(directory);
	qsort(out->pools, out->pool_count, sizeof out->pools[0], by_page_size);
}

/* The number in a file of /proc; @fallback when there is none. */
static long long number_in(const char *path, long long fallback)
{
	FILE *file = fopen(path, "re");
	char line[64];
	long long number = fallback;

	if (!file)
		return fallback;
	if (fgets(line, sizeof line, file)) {
		char *end;
		long long parsed = strtoll(line, &end, 10);
		if (end != line)
			number = parsed;
	}
	fclose(file);
	return number;
}

static uint64_t limit_value(rlim_t value)
{
	return value == RLIM_INFINITY ? MACHINE_UNLIMITED : (uint64_t)value;
}

/* "MemAvailable:   24000000 kB"; 0 if the kernel does not say. */
static uint64_t available_memory_bytes(void)
{
	static const char name[] = "MemAvailable:";
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t bytes = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, name, sizeof name - 1))
			bytes = strtoull(line + sizeof name - 1, NULL, 10) * KIB;
	fclose(file);
	return bytes;
}

/*
 * CAP_IPC_LOCK, in the first user namespace: in another one (a container without root) the kernel does not
 * honour it for memory that a device pins.
 */
static bool may_lock_all(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
	unsigned long long first = 1, outside = 1, count = 0;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (map) {
		if (fscanf(map, "%llu %llu %llu", &first, &outside, &count) != 3)
			first = 1;
		fclose(map);
	}
	if (first != 0 || outside != 0 || count != UINT32_MAX)
		return false;
	return !syscall(SYS_capget, &header, sets) && (sets[0].effective & 1u << CAP_IPC_LOCK);
}

static void capture_limits(struct machine_limits *out)
{
	struct rlimit limit;
	struct statvfs shm;
	struct sysinfo memory;

	if (!getrlimit(RLIMIT_MEMLOCK, &limit)) {
		out->locked_memory_soft_bytes = limit_value(limit.rlim_cur);
		out->locked_memory_hard_bytes = limit_value(limit.rlim_max);
	}
	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		out->open_files_soft = limit_value(limit.rlim_cur);
		out->open_files_hard = limit_value(limit.rlim_max);
	}
	out->max_map_count = (uint64_t)number_in("/proc/sys/vm/max_map_count", 0);
	out->unprivileged_userfaultfd = (int)number_in("/proc/sys/vm/unprivileged_userfaultfd", -1);
	if (!statvfs("/dev/shm", &shm)) {
		out->dev_shm_total_bytes = (uint64_t)shm.f_blocks * shm.f_frsize;
		out->dev_shm_free_bytes = (uint64_t)shm.f_bavail * shm.f_frsize;
	}
	if (!sysinfo(&memory))
		out->memory_total_bytes = (uint64_t)memory.totalram * memory.mem_unit;
	out->memory_available_bytes = available_memory_bytes();
	out->may_lock_all = may_lock_all();
}

/* The first line of what the library says of itself: MPICH prints a page. Allowed before MPI_Init(). */
static void capture_mpi(struct machine_info *out)
{
	char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
	int length = 0;

	if (MPI_Get_library_version(text, &length) != MPI_SUCCESS)
		return;
	text[strcspn(text, "\n")] = 0;
	for (char *c = text; *c; c++)
		if (*c == '\t')
			*c = ' ';
	snprintf(out->mpi_library, sizeof out->mpi_library, "%.*s", (int)sizeof out->mpi_library - 1, text);
}

/* @return the topology, to be destroyed; NULL: hwloc cannot. */
static struct topology *capture_topology(struct machine_info *out)
{
	struct topology *topology;

	out->topology_error = topology_create(&topology);
	if (out->topology_error)
		return NULL;
	topology_describe(topology, out->topology, sizeof out->topology);
	out->usable_pus = topology_allowed_pus(topology);
	return topology;
}

static bool is_set(const char *name, char *const *environment)
{
	size_t length = strlen(name);

	for (; *environment; environment++)
		if (!strncmp(*environment, name, length) && (*environment)[length] == '=')
			return true;
	return false;
}

int machine_capture_settings(char *const *environment, struct settings *settings, struct machine_info *out)
{
	static char *const nothing[] = {NULL};
	char unused[sizeof out->settings_error];
	size_t count;
	const struct setting *table = settings_table(&count);
	int error = settings_parse(environment, settings, out->settings_error, sizeof out->settings_error);

	if (!error)
		out->settings_error[0] = 0;
	else
		(void)settings_parse(nothing, settings, unused, sizeof unused); /* the defaults */
	out->heap_bytes = settings->heap_bytes;
	for (size_t i = 0; i < count && i < MACHINE_MAX_SETTINGS; i++) {
		struct setting_value *value = &out->settings[out->setting_count++];

		value->name = table[i].name;
		value->default_text = table[i].default_text;
		value->set = is_set(table[i].name, environment);
		if (!error)
			setting_format(&table[i], settings, value->value, sizeof value->value);
	}
	return error;
}

void machine_capture(char *const *environment, struct machine_info *out)
{
	struct settings settings;
	struct topology *topology;

	memset(out, 0, sizeof *out);
	capture_system(out);
	kernel_probe(out->features);
	capture_pools(out);
	capture_limits(&out->limits);
	capture_mpi(out);
	topology = capture_topology(out);
	(void)machine_capture_settings(environment, &settings, out); /* settings_error says it */
	machine_capture_rdma(&settings, topology, out);
	topology_destroy(topology);
}
