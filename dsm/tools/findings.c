/*
 * Judges a captured machine: what is missing, what that costs and what mends it. Pure: asks the machine
 * nothing.
 */
#include "dsm/tools/machine.h"

#include <stdarg.h>
#include <string.h>

/* What the runtime needs for a region or two; the kernel's own default is 65530. */
#define MAP_COUNT_WANTED 65530
#define OPEN_FILES_WANTED 1024
#define LOCKED_MEMORY_WANTED (1 * GIB)

struct list {
	struct finding *findings;
	unsigned count;
};

__attribute__((format(printf, 6, 7))) static void add(struct list *list, const char *subject, bool required,
						      const char *consequence, const char *remedy,
						      const char *format, ...)
{
	struct finding *f;
	va_list arguments;

	if (list->count == MACHINE_MAX_FINDINGS)
		return;
	f = &list->findings[list->count++];
	f->subject = subject;
	f->required = required;
	f->consequence = consequence;
	f->remedy = remedy;
	va_start(arguments, format);
	vsnprintf(f->what, sizeof f->what, format, arguments);
	va_end(arguments);
}

static bool has(const struct machine_info *info, enum kernel_feature feature)
{
	return info->features[feature].available;
}

/*
 * A door that is closed is not missed while one that is as good is open; what lies behind the doors cannot be
 * known when all are closed.
 */
static bool is_missed(const struct machine_info *info, enum kernel_feature feature)
{
	if (feature >= KERNEL_UFFD_SIGBUS && feature <= KERNEL_UFFD_WP_ASYNC)
		return has(info, KERNEL_UFFD);
	switch (feature) {
	case KERNEL_UFFD_SYSCALL:
		return !has(info, KERNEL_UFFD_DEVICE);
	case KERNEL_UFFD_DEVICE:
		return !has(info, KERNEL_UFFD_SYSCALL);
	case KERNEL_UFFD_USER_MODE:
		return !has(info, KERNEL_UFFD_SYSCALL) && !has(info, KERNEL_UFFD_DEVICE);
	default:
		return true;
	}
}

static void judge_kernel(const struct machine_info *info, struct list *list)
{
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature_status *f = &info->features[i];

		if (f->available || !is_missed(info, (enum kernel_feature)i))
			continue;
		if (f->error)
			add(list, f->name, f->required, f->consequence, f->remedy, "%s (%s): %s", f->name,
			    f->purpose, strerror(-f->error));
		else
			add(list, f->name, f->required, f->consequence, f->remedy,
			    "%s (%s): this kernel does not have it", f->name, f->purpose);
	}
}

/* A pool that exists and has nothing to give. No pool at all is a missing kernel feature. */
static void judge_pool(const struct machine_info *info, size_t page_bytes, const char *subject,
		       const char *consequence, const char *remedy, struct list *list)
{
	for (unsigned i = 0; i < info->pool_count; i++) {
		const struct hugepage_pool *p = &info->pools[i];

		if (p->page_bytes != page_bytes || p->free > p->reserved || p->overcommit > p->surplus)
			continue;
		if (p->total)
			add(list, subject, false, consequence, remedy,
			    "the pool of %s hugepages is used up: %llu pages, %llu free, %llu of these "
			    "reserved",
			    memory_page_size_name(page_bytes), (unsigned long long)p->total,
			    (unsigned long long)p->free, (unsigned long long)p->reserved);
		else
			add(list, subject, false, consequence, remedy, "the pool of %s hugepages is empty",
			    memory_page_size_name(page_bytes));
	}
}

static void judge_pools(const struct machine_info *info, struct list *list)
{
	judge_pool(info, 2 * MIB, "hugepages-2MiB", "a region of 2 MiB pages cannot be made (ENOSPC)",
		   "sysctl -w vm.nr_hugepages=512 (1 GiB; scripts/setup does it)", list);
	judge_pool(info, 1 * GIB, "hugepages-1GiB", "a region of 1 GiB pages cannot be made (ENOSPC)",
		   "echo 2 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages, soon after boot, or "
		   "hugepagesz=1G hugepages=2 on the kernel's command line",
		   list);
}

static bool any_port_is_active(const struct machine_info *info)
{
	for (unsigned i = 0; i < info->rdma_device_count; i++)
		for (unsigned j = 0; j < info->rdma_devices[i].port_count && j < MACHINE_MAX_RDMA_PORTS; j++)
			if (info->rdma_devices[i].ports[j].active)
				return true;
	return false;
}

static void judge_rdma(const struct machine_info *info, struct list *list)
{
	static const char one_machine[] = "all nodes of a job must be on this machine (transport shm)";

	if (info->rdma_error) {
		add(list, "rdma-device", false, one_machine,
		    "see that /dev/infiniband is there and may be opened",
		    "RDMA devices cannot be listed: %s", strerror(-info->rdma_error));
		return;
	}
	if (!info->rdma_device_count) {
		add(list, "rdma-device", false, one_machine,
		    "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev NAME makes one of any Ethernet "
		    "interface",
		    "there is no RDMA device");
		return;
	}
	for (unsigned i = 0; i < info->rdma_device_count; i++)
		if (info->rdma_devices[i].error)
			add(list, "rdma-open", false, "this device is not used",
			    "apt-get install ibverbs-providers; see that /dev/infiniband/uverbs* may be "
			    "opened",
			    "RDMA device %s cannot be opened: %s", info->rdma_devices[i].name,
			    strerror(-info->rdma_devices[i].error));
	if (!any_port_is_active(info))
		add(list, "rdma-port", false, one_machine, "ip link set NAME up; ibv_devinfo shows the ports",
		    "no port of any RDMA device is active");
}

static void judge_limits(const struct machine_info *info, struct list *list)
{
	const struct machine_limits *l = &info->limits;
	char text[32];

	/* Only a NIC pins memory; without one the limit concerns nobody. */
	if (info->rdma_device_count && l->locked_memory_soft_bytes < LOCKED_MEMORY_WANTED)
		add(list, "memlock", false,
		    "regions larger than that cannot be registered with the NIC (ENOMEM)",
		    "ulimit -l unlimited; to stay: '* - memlock unlimited' in "
		    "/etc/security/limits.d/minorca.conf",
		    "this process may lock only %s of memory",
		    format_bytes(l->locked_memory_soft_bytes, text, sizeof text));
	if (l->max_map_count < MAP_COUNT_WANTED)
		add(list, "max-map-count", false,
		    "regions whose homes alternate often cannot be made (ENOMEM)",
		    "sysctl -w vm.max_map_count=262144", "a process may have only %llu mappings",
		    (unsigned long long)l->max_map_count);
	if (l->open_files_soft < OPEN_FILES_WANTED)
		add(list, "open-files", false, "jobs of many nodes or many regions end with EMFILE",
		    "ulimit -n 65536; to stay: '* - nofile 65536' in /etc/security/limits.d/minorca.conf",
		    "a process may have only %llu open files", (unsigned long long)l->open_files_soft);
}

static void judge_rest(const struct machine_info *info, struct list *list)
{
	if (info->topology_error)
		add(list, "topology", false, "handler threads and memory are placed by the kernel alone",
		    "see that /sys is mounted", "hwloc cannot read the topology: %s",
		    strerror(-info->topology_error));
	if (info->settings_error[0])
		add(list, "settings", true, "no job starts", "correct or unset the variable", "%s",
		    info->settings_error);
}

unsigned machine_findings(const struct machine_info *info, struct finding out[MACHINE_MAX_FINDINGS])
{
	struct finding all[MACHINE_MAX_FINDINGS];
	struct list list = {.findings = all};
	unsigned count = 0;

	judge_kernel(info, &list);
	judge_pools(info, &list);
	judge_rdma(info, &list);
	judge_limits(info, &list);
	judge_rest(info, &list);
	for (int required = 1; required >= 0; required--)
		for (unsigned i = 0; i < list.count; i++)
			if (all[i].required == (bool)required)
				out[count++] = all[i];
	return count;
}
