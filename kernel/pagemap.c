/*
 * /proc/PID/pagemap: which pages of a mapping are mapped, write-protected, written. See pagemap.h.
 *
 * Entries are always per 4 KiB, also within a larger page.
 */
#include "kernel/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BASE_PAGE_BYTES 4096u

int pagemap_open(void)
{
	int saved = errno;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fd = -errno;
	errno = saved;
	return fd;
}

int pagemap_read(int pagemap_fd, const void *address, size_t count, uint64_t *entries)
{
	off_t offset = (off_t)((uintptr_t)address / BASE_PAGE_BYTES * sizeof(*entries));
	size_t want = count * sizeof(*entries);
	size_t have = 0;
	int saved = errno;
	int err = 0;

	while (have < want) {
		ssize_t n = pread(pagemap_fd, (char *)entries + have, want - have, offset + (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			/* The end of the file is the end of the address space. */
			err = n < 0 ? -errno : -EFAULT;
			break;
		}
		have += (size_t)n;
	}
	errno = saved;
	return err;
}

int pagemap_scan_written(int pagemap_fd, const void *start, size_t bytes, struct page_region *regions,
			 size_t capacity, size_t *count, const void **walk_end)
{
	struct pm_scan_arg scan = {
	    .size = sizeof(scan),
	    .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
	    .start = (uintptr_t)start,
	    .end = (uintptr_t)start + bytes,
	    .vec = (uintptr_t)regions,
	    .vec_len = capacity,
	    .category_mask = PAGE_IS_WRITTEN,
	    .return_mask = PAGE_IS_WRITTEN,
	};
	int saved = errno;
	int n = ioctl(pagemap_fd, PAGEMAP_SCAN, &scan);
	int err = n < 0 ? -errno : 0;

	errno = saved;
	if (err)
		return err;
	*count = (size_t)n;
	*walk_end = (const void *)(uintptr_t)scan.walk_end; // NOLINT(performance-no-int-to-ptr)
	return 0;
}
