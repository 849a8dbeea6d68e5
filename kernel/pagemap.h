/*
 * /proc/PID/pagemap: which pages of a mapping are mapped, write-protected, written.
 *
 * Source: Documentation/admin-guide/mm/pagemap.rst. PAGEMAP_SCAN: Linux 6.7.
 * Every function returns 0 or -errno.
 */
#ifndef MINORCA_KERNEL_PAGEMAP_H
#define MINORCA_KERNEL_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/uapi.h"

/* Bits of a pagemap entry. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FILE (1ull << 61)
#define PAGEMAP_UFFD_WP (1ull << 57)
#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_PFN_MASK ((1ull << 55) - 1) /* zero without CAP_SYS_ADMIN */

/** Opens /proc/self/pagemap; the caller closes it. @return the descriptor or -errno. */
int pagemap_open(void);

/** Reads the entries of @count base (4 KiB) pages from @address on. */
int pagemap_read(int pagemap_fd, const void *address, size_t count, uint64_t *entries);

/**
 * PAGEMAP_SCAN: the parts of [@start, @start + @bytes) that were written since they were last protected, and
 * protects them again in the same step (the range must be registered with UFFD_FEATURE_WP_ASYNC).
 *
 * @param regions   filled with the written parts, ascending
 * @param capacity  of @regions
 * @param count     set to the number of regions filled
 * @param walk_end  set to where the scan ended: less than the end when @regions was full; go on from there
 * @return 0; -ENOTTY / -EINVAL: the kernel has no PAGEMAP_SCAN; -EPERM: the range is not WP_ASYNC.
 */
int pagemap_scan_written(int pagemap_fd, const void *start, size_t bytes, struct page_region *regions,
			 size_t capacity, size_t *count, const void **walk_end);

#endif
