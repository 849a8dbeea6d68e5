/*
 * What the running kernel can do for us. See probe.h.
 *
 * Feature bits are believed where nothing is known against it; where a kernel listed a feature and then did
 * not do it (or does it without listing it), the thing itself is tried on one page.
 */
#include "kernel/probe.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/memory.h"
#include "kernel/pagemap.h"

#define PROBE_PAGE_BYTES (4 * KIB)

static const struct kernel_feature_status descriptions[KERNEL_FEATURE_COUNT] = {
    [KERNEL_UFFD] =
	{
	    .name = "uffd",
	    .since = "4.3",
	    .required = true,
	    .purpose = "page faults handled by this process",
	    .consequence = "no region can be made",
	    .remedy = "a kernel with CONFIG_USERFAULTFD=y; in a container or sandbox: allow userfaultfd(2)",
	},
    [KERNEL_UFFD_SYSCALL] =
	{
	    .name = "uffd-syscall",
	    .since = "4.3",
	    .purpose = "delivery by thread: system calls may be handed pointers into a region",
	    .consequence =
		"system calls on memory that is not there yet answer EFAULT, unless the device is open",
	    .remedy = "sysctl -w vm.unprivileged_userfaultfd=1",
	},
    [KERNEL_UFFD_DEVICE] =
	{
	    .name = "uffd-device",
	    .since = "6.1",
	    .purpose = "the same as uffd-syscall, for whoever may open the device",
	    .consequence =
		"system calls on memory that is not there yet answer EFAULT, unless the system call is open",
	    .remedy = "setfacl -m u:$USER:rw /dev/userfaultfd",
	},
    [KERNEL_UFFD_USER_MODE] =
	{
	    .name = "uffd-user-mode",
	    .since = "5.11",
	    .purpose = "userfaultfd without privilege",
	    .consequence = "privilege is needed: see uffd-syscall and uffd-device",
	    .remedy = "Linux 5.11 or newer",
	},
    [KERNEL_UFFD_SIGBUS] =
	{
	    .name = "uffd-sigbus",
	    .since = "4.14",
	    .purpose = "inline delivery: a fault is resolved by the thread that took it",
	    .consequence = "every fault goes through a handler thread, which costs several times as much",
	    .remedy = "Linux 4.14 or newer",
	},
    [KERNEL_UFFD_MINOR_SHMEM] =
	{
	    .name = "uffd-minor-shmem",
	    .since = "5.14",
	    .required = true,
	    .purpose = "regions of 4 KiB pages",
	    .consequence = "no region of 4 KiB pages can be made",
	    .remedy = "Linux 5.14 or newer, on a 64-bit machine, with CONFIG_SHMEM=y",
	},
    [KERNEL_UFFD_MINOR_HUGETLB] =
	{
	    .name = "uffd-minor-hugetlb",
	    .since = "5.13",
	    .purpose = "regions of 2 MiB and 1 GiB pages",
	    .consequence = "regions have 4 KiB pages only",
	    .remedy = "Linux 5.13 or newer with CONFIG_HUGETLBFS=y",
	},
    [KERNEL_UFFD_MISSING_SHMEM] =
	{
	    .name = "uffd-missing-shmem",
	    .since = "4.11",
	    .purpose = "sparse regions of 4 KiB pages: memory is taken at the first touch",
	    .consequence = "regions of 4 KiB pages take all their memory when they are made",
	    .remedy = "Linux 4.11 or newer with CONFIG_SHMEM=y",
	},
    [KERNEL_UFFD_MISSING_HUGETLB] =
	{
	    .name = "uffd-missing-hugetlb",
	    .since = "4.11",
	    .purpose = "sparse regions of huge pages: memory is taken at the first touch",
	    .consequence = "regions of huge pages take all their memory when they are made",
	    .remedy = "Linux 4.11 or newer with CONFIG_HUGETLBFS=y",
	},
    [KERNEL_UFFD_WP_SHARED] =
	{
	    .name = "uffd-wp-shared",
	    .since = "5.19",
	    .purpose = "finds out which pages this node writes",
	    .consequence = "pages are mapped writable, and each one mapped is taken for written",
	    .remedy = "Linux 5.19 or newer",
	},
    [KERNEL_UFFD_CONTINUE_WP] =
	{
	    .name = "uffd-continue-wp",
	    .since = "6.4",
	    .purpose = "maps a page and protects it in one step",
	    .consequence = "a store may slip in between the two steps: pages are mapped writable instead",
	    .remedy = "Linux 6.4 or newer",
	},
    [KERNEL_UFFD_EXACT_ADDRESS] =
	{
	    .name = "uffd-exact-address",
	    .since = "5.18",
	    .purpose = "traces show the address that was touched, not just its page",
	    .consequence = "traces show page addresses; nothing else is lost",
	    .remedy = "Linux 5.18 or newer",
	},
    [KERNEL_UFFD_WP_UNPOPULATED] =
	{
	    .name = "uffd-wp-unpopulated",
	    .since = "6.4",
	    .purpose = "write-protects pages before they are mapped",
	    .consequence = "only mapped pages can be write-protected",
	    .remedy = "Linux 6.4 or newer",
	},
    [KERNEL_UFFD_POISON] =
	{
	    .name = "uffd-poison",
	    .since = "6.6",
	    .purpose = "a page whose home is lost raises SIGBUS in who touches it, who may handle that",
	    .consequence = "a touch of such a page is reported, and ends the process",
	    .remedy = "Linux 6.6 or newer",
	},
    [KERNEL_UFFD_WP_ASYNC] =
	{
	    .name = "uffd-wp-async",
	    .since = "6.7",
	    .purpose = "home pages: the kernel notes a first store by itself, without a fault to us",
	    .consequence = "a first store at home costs a write-protect fault",
	    .remedy = "Linux 6.7 or newer",
	},
    [KERNEL_PAGEMAP_SCAN] =
	{
	    .name = "pagemap-scan",
	    .since = "6.7",
	    .purpose = "finds and re-protects the pages that were written at home, in one call",
	    .consequence = "a first store at home costs a write-protect fault",
	    .remedy = "Linux 6.7 or newer with CONFIG_PROC_PAGE_MONITOR=y, and /proc mounted",
	},
    [KERNEL_MEMFD_HUGETLB_2M] =
	{
	    .name = "memfd-hugetlb-2m",
	    .since = "4.14",
	    .purpose = "memory files of 2 MiB pages",
	    .consequence = "no regions of 2 MiB pages",
	    .remedy =
		"a kernel with CONFIG_HUGETLBFS=y and CONFIG_MEMFD_CREATE=y, on a processor with 2 MiB pages",
	},
    [KERNEL_MEMFD_HUGETLB_1G] =
	{
	    .name = "memfd-hugetlb-1g",
	    .since = "4.14",
	    .purpose = "memory files of 1 GiB pages",
	    .consequence = "no regions of 1 GiB pages",
	    .remedy =
		"a processor with 1 GiB pages (pdpe1gb in /proc/cpuinfo); in a virtual machine: -cpu host",
	},
};

static void set_result(struct kernel_feature_status *row, int err)
{
	row->available = err == 0;
	row->error = err;
}

/* Any door will do for KERNEL_UFFD; the last door's answer stands when there is none. */
static void probe_doors(struct kernel_feature_status *out)
{
	static const enum kernel_feature rows[UFFD_DOOR_COUNT] = {
	    [UFFD_DOOR_SYSCALL] = KERNEL_UFFD_SYSCALL,
	    [UFFD_DOOR_DEVICE] = KERNEL_UFFD_DEVICE,
	    [UFFD_DOOR_SYSCALL_USER_MODE] = KERNEL_UFFD_USER_MODE,
	};
	unsigned int d;

	for (d = 0; d < UFFD_DOOR_COUNT; d++) {
		int fd = uffd_open_door((enum uffd_door)d);

		set_result(&out[rows[d]], fd < 0 ? fd : 0);
		if (!out[KERNEL_UFFD].available)
			set_result(&out[KERNEL_UFFD], fd < 0 ? fd : 0);
		if (fd >= 0)
			close(fd);
	}
}

static void probe_feature_bits(struct kernel_feature_status *out)
{
	static const struct {
		enum kernel_feature row;
		uint64_t bit;
	} bits[] = {
	    {KERNEL_UFFD_SIGBUS, UFFD_FEATURE_SIGBUS},
	    {KERNEL_UFFD_MINOR_HUGETLB, UFFD_FEATURE_MINOR_HUGETLBFS},
	    {KERNEL_UFFD_MISSING_SHMEM, UFFD_FEATURE_MISSING_SHMEM},
	    {KERNEL_UFFD_MISSING_HUGETLB, UFFD_FEATURE_MISSING_HUGETLBFS},
	    {KERNEL_UFFD_WP_SHARED, UFFD_FEATURE_WP_HUGETLBFS_SHMEM},
	    {KERNEL_UFFD_EXACT_ADDRESS, UFFD_FEATURE_EXACT_ADDRESS},
	    {KERNEL_UFFD_WP_UNPOPULATED, UFFD_FEATURE_WP_UNPOPULATED},
	    {KERNEL_UFFD_POISON, UFFD_FEATURE_POISON},
	    {KERNEL_UFFD_WP_ASYNC, UFFD_FEATURE_WP_ASYNC},
	};
	uint64_t features = 0;
	int err = uffd_query(&features, NULL);
	size_t i;

	for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		struct kernel_feature_status *row = &out[bits[i].row];

		row->available = !err && (features & bits[i].bit);
		row->error = err;
	}
}

/* One page of shmem, in its file and mapped, but not in the page table: what a minor fault needs. */
struct probe_page {
	int file;
	int uffd;
	void *address;
};

static int probe_page_open(struct probe_page *page, uint64_t features)
{
	int err;

	page->file = memory_file_create("minorca-probe", PROBE_PAGE_BYTES, PROBE_PAGE_BYTES);
	if (page->file < 0)
		return page->file;
	err = memory_allocate(page->file, 0, PROBE_PAGE_BYTES);
	if (!err)
		err = memory_map(page->file, PROBE_PAGE_BYTES, NULL, &page->address);
	if (err)
		goto close_file;
	page->uffd = uffd_open(features, false, NULL);
	if (page->uffd >= 0)
		return 0;
	err = page->uffd;
	munmap(page->address, PROBE_PAGE_BYTES);
close_file:
	close(page->file);
	return err;
}

static void probe_page_close(struct probe_page *page)
{
	close(page->uffd);
	munmap(page->address, PROBE_PAGE_BYTES);
	close(page->file);
}

/* Registers a page and continues it. @return 0, or what the kernel would not do. */
static int try_continue(uint64_t modes, uint64_t continue_mode)
{
	struct probe_page page;
	int err = probe_page_open(&page, 0);

	if (err)
		return err;
	err = uffd_register(page.uffd, page.address, PROBE_PAGE_BYTES, modes, NULL);
	if (!err)
		err = uffd_continue_all(page.uffd, page.address, PROBE_PAGE_BYTES, PROBE_PAGE_BYTES,
					continue_mode, NULL);
	probe_page_close(&page);
	return err;
}

static int scan_one_page(const struct probe_page *page)
{
	struct page_region region;
	const void *walk_end;
	size_t count;
	int pagemap = pagemap_open();
	int err;

	if (pagemap < 0)
		return pagemap;
	err = pagemap_scan_written(pagemap, page->address, PROBE_PAGE_BYTES, &region, 1, &count, &walk_end);
	close(pagemap);
	return err;
}

static int try_pagemap_scan(void)
{
	struct probe_page page;
	int err = probe_page_open(&page, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);

	if (err)
		return err;
	err = uffd_register(page.uffd, page.address, PROBE_PAGE_BYTES, UFFDIO_REGISTER_MODE_WP, NULL);
	if (!err)
		err = scan_one_page(&page);
	probe_page_close(&page);
	return err;
}

static int try_memory_file(size_t page_bytes)
{
	int fd = memory_file_create("minorca-probe", page_bytes, page_bytes);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

void kernel_probe(struct kernel_feature_status out[KERNEL_FEATURE_COUNT])
{
	const uint64_t minor = UFFDIO_REGISTER_MODE_MINOR;

	memcpy(out, descriptions, sizeof(descriptions));
	probe_doors(out);
	probe_feature_bits(out);
	set_result(&out[KERNEL_UFFD_MINOR_SHMEM], try_continue(minor, 0));
	set_result(&out[KERNEL_UFFD_CONTINUE_WP],
		   try_continue(minor | UFFDIO_REGISTER_MODE_WP, UFFDIO_CONTINUE_MODE_WP));
	set_result(&out[KERNEL_PAGEMAP_SCAN], try_pagemap_scan());
	set_result(&out[KERNEL_MEMFD_HUGETLB_2M], try_memory_file(2 * MIB));
	set_result(&out[KERNEL_MEMFD_HUGETLB_1G], try_memory_file(1 * GIB));
}
