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
/* Queues, logs and the lanes' buffers of a job of some ten nodes; more than that is the heap, and regions. */
#define LOCKED_MEMORY_BESIDE (64 * MIB)
/* What RoCE makes of an Ethernet MTU of 1500: the next power of two below, less headers. */
#define MTU_OF_PLAIN_ETHERNET 1024

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

const struct rdma_port *machine_chosen_port(const struct machine_info *info,
					    const struct rdma_device **device)
{
	for (unsigned i = 0; i < info->rdma_device_count; i++)
		for (unsigned j = 0; j < info->rdma_devices[i].port_count && j < MACHINE_MAX_RDMA_PORTS; j++)
			if (info->rdma_devices[i].ports[j].chosen) {
				*device = &info->rdma_devices[i];
				return &info->rdma_devices[i].ports[j];
			}
	return NULL;
}

uint64_t machine_locked_memory_needed(const struct machine_info *info)
{
	const struct rdma_device *device;

	if (!info->rdma_device_count)
		return 0;
	if (machine_chosen_port(info, &device) && device->on_demand_atomic)
		return LOCKED_MEMORY_BESIDE;
	return info->heap_bytes + LOCKED_MEMORY_BESIDE;
}

bool machine_locked_memory_suffices(const struct machine_info *info)
{
	return info->limits.may_lock_all ||
	       info->limits.locked_memory_soft_bytes >= machine_locked_memory_needed(info);
}

/* "rxe0 port 1: its link is not up; mlx5_0 port 1: ..." */
static void list_verdicts(const struct machine_info *info, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = 0;
	for (unsigned i = 0; i < info->rdma_device_count; i++)
		for (unsigned j = 0; j < info->rdma_devices[i].port_count && j < MACHINE_MAX_RDMA_PORTS; j++)
			if (used < bytes)
				used += (size_t)snprintf(text + used, bytes - used, "%s%s port %u: %s",
							 used ? "; " : "", info->rdma_devices[i].name,
							 info->rdma_devices[i].ports[j].number,
							 info->rdma_devices[i].ports[j].verdict);
}

static void judge_port(const struct machine_info *info, const char *consequence, struct list *list)
{
	const struct rdma_device *device;
	const struct rdma_port *port = machine_chosen_port(info, &device);
	char verdicts[512];

	if (!port) {
		list_verdicts(info, verdicts, sizeof verdicts);
		add(list, "rdma-port", false, consequence,
		    "ip link set NAME up, and give it an address; unset MINORCA_VERBS_DEVICE, "
		    "MINORCA_VERBS_PORT and MINORCA_VERBS_GID; ibv_devinfo -v shows the ports",
		    "no port of any RDMA device can be used%s%s", verdicts[0] ? ": " : "", verdicts);
	} else if (!strcmp(port->link_layer, "Ethernet") && port->mtu_bytes &&
		   port->mtu_bytes <= MTU_OF_PLAIN_ETHERNET) {
		add(list, "rdma-mtu", false,
		    "four times as many packets as with 4096: less bandwidth, more work where RoCE is "
		    "software",
		    "ip link set NAME mtu 4200, or more (jumbo frames), on every node and on the switches "
		    "between; both ends' least counts",
		    "port %u of %s%s%s%s sends packets of %u bytes: its Ethernet MTU is 1500 or thereabouts",
		    port->number, device->name, port->interface[0] ? " (" : "", port->interface,
		    port->interface[0] ? ")" : "", port->mtu_bytes);
	}
}

static void judge_locked_memory(const struct machine_info *info, struct list *list)
{
	char limit[32], needed[32];

	/* Only a NIC pins memory; without one the limit concerns nobody. */
	if (machine_locked_memory_suffices(info))
		return;
	add(list, "memlock", false,
	    "jobs over verbs do not start, or their regions cannot be registered with the NIC (ENOMEM)",
	    "ulimit -l unlimited; to stay: '* - memlock unlimited' in /etc/security/limits.d/minorca.conf; a "
	    "smaller MINORCA_HEAP_BYTES needs less",
	    "this process may lock only %s of memory; the heap and the queues take %s, regions add theirs",
	    format_bytes(info->limits.locked_memory_soft_bytes, limit, sizeof limit),
	    format_bytes(machine_locked_memory_needed(info), needed, sizeof needed));
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
	judge_port(info, one_machine, list);
}

static void judge_limits(const struct machine_info *info, struct list *list)
{
	const struct machine_limits *l = &info->limits;

	judge_locked_memory(info, list);
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
