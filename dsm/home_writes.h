/*
 * Finding the stores to pages at home without a fault for each: write-protection that the kernel lifts by
 * itself (UFFD_FEATURE_WP_ASYNC) and a scan for the pages where it did (PAGEMAP_SCAN; Linux 6.7, and
 * Documentation/admin-guide/mm/pagemap.rst there).
 *
 * A fault costs some 4 us for each page of 4 KiB and interval, this 1 us; but every release has to scan,
 * which costs about 1 us for each 2 MiB. So it is for the parts of a region that are stored to in bulk: a
 * chunk of pages goes over when many of them were dirty at two releases (the first may be all that there is:
 * a program that fills its memory), and comes back when scans find nothing for a while. Larger pages stay
 * with faults: those are few, and tell of the first store in time to make a twin.
 *
 * Where scans find nearly all pages of a chunk again and again, there is nothing to be found out, and 1 us a
 * page is still more than computing a page may take. Such a chunk is *presumed* changed: at each release all
 * of its pages are published without a look, stay writable, and cost nothing but their versions and an entry
 * in the log. Only a sample of two pages is still scanned, and when that is not stored to any more, the whole
 * chunk is again. A presumption that is wrong makes other nodes fetch pages that have not changed, for a few
 * intervals; it never hides a change.
 */
#ifndef MINORCA_DSM_HOME_WRITES_H
#define MINORCA_DSM_HOME_WRITES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsm_region;

/* By the thread that publishes. */
struct home_chunk {
	uint16_t dirty; /* pages that were found in this pass, by faults or by the scan */
	uint8_t bulk;	/* not scanned: passes that found many dirty, up to enough of them */
	/* Scanned: */
	uint8_t idle;  /* scans in a row that found nothing */
	uint8_t full;  /* of the latest scans, bit 0 the last, 1: nearly all pages, or all of the sample */
	bool presumed; /* changed */
};

struct home_writes {
	struct home_chunk *chunk; /* [chunks]; NULL: not for this region */
	size_t chunks;
	size_t scanned; /* how many chunks are */
	/* Bit c: of chunk c. By the thread that publishes, `is_scanned` under the locks of all its pages too:
	 * whoever has one of them may look. */
	_Atomic uint64_t *is_scanned;
	uint64_t *is_counted; /* pages of it were dirty in this pass */
	uint64_t *to_switch;  /* has had enough of how it is */
};

/** For a region that is otherwise complete. Without memory or the kernel feature it does nothing, and faults
 * find the stores. */
void home_writes_create(struct dsm_region *region);
void home_writes_destroy(struct dsm_region *region);

/** Closes the descriptors that all regions share. */
void home_writes_close(void);

/** Whether stores to the page, which is mapped, are found by the next pass, and need not be noted. Its lock
 * is held. */
bool home_writes_finds(const struct dsm_region *region, size_t page);

/* The rest is for the thread that publishes. */

/** Home pages [@first, @first + @count) were dirty: a fault told. */
void home_writes_count(struct dsm_region *region, size_t first, size_t count);

/**
 * Calls @visit for runs of home pages that were stored to since the last scan, and are write-protected again,
 * and for those that are presumed to have been, and are not.
 * @return 0, what @visit returned, or -errno of the kernel.
 */
int home_writes_scan(struct dsm_region *region, int (*visit)(void *argument, size_t first, size_t count),
		     void *argument);

/** At the end of a pass, with no page lock held: lets chunks go over, or come back. */
void home_writes_adapt(struct dsm_region *region);

#endif
