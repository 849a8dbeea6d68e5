/*
 * Finding the stores to pages at home without a fault for each: write-protection that the kernel lifts by
 * itself (UFFD_FEATURE_WP_ASYNC) and a scan for the pages where it did (PAGEMAP_SCAN; Linux 6.7, and
 * Documentation/admin-guide/mm/pagemap.rst there).
 *
 * A fault costs some 4 us for each page of 4 KiB and interval, this 1 us; but every release has to scan,
 * which costs about 1 us for each 2 MiB. So it is for the parts of a region that are stored to in bulk: a
 * chunk of 2 MiB goes over when many of its pages were dirty at one release, and comes back when scans find
 * nothing for a while. Larger pages stay with faults: those are few, and tell of the first store in time to
 * make a twin.
 */
#ifndef MINORCA_DSM_HOME_WRITES_H
#define MINORCA_DSM_HOME_WRITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dsm_region;

struct home_writes {
	/* [chunk]; NULL: not for this region. By the thread that publishes. */
	uint16_t *dirty; /* pages that were found by faults in this pass */
	uint8_t *idle;	 /* of a chunk that is scanned: scans in a row that found nothing, plus one; 0: not
			    scanned */
	bool counted;	 /* some of `dirty` is not zero */
	size_t chunks;
	size_t scanned;	     /* how many chunks are */
	uint64_t *to_switch; /* bit c: chunk c has had enough of how it is */
};

/** For a region that is otherwise complete. Without memory or the kernel feature it does nothing, and faults
 * find the stores. */
void home_writes_create(struct dsm_region *region);
void home_writes_destroy(struct dsm_region *region);

/** Closes the descriptors that all regions share. */
void home_writes_close(void);

/* The rest is for the thread that publishes. */

/** Home pages [@first, @first + @count) were dirty: a fault told. */
void home_writes_count(struct dsm_region *region, size_t first, size_t count);

/**
 * Calls @visit for runs of home pages that were stored to since the last scan, and are write-protected again.
 * @return 0, what @visit returned, or -errno of the kernel.
 */
int home_writes_scan(struct dsm_region *region, int (*visit)(void *argument, size_t first, size_t count),
		     void *argument);

/** At the end of a pass, with no page lock held: lets chunks go over, or come back. */
void home_writes_adapt(struct dsm_region *region);

#endif
