/*
 * Going over. A range belongs to one userfaultfd, and whether write-protection is lifted by the kernel or
 * faults is a property of that: so a chunk is unregistered from the region's and registered with another. In
 * between its pages are writable and nothing is noticed; therefore they are marked dirty before, and the next
 * pass protects and publishes all of them, stored to or not. (Comparing them with a copy would not do: a page
 * may have been fetched that had other bytes in between.) All their locks are held meanwhile, so that no
 * thread of this node resolves a fault by what was.
 */
#include "dsm/home_writes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "kernel/pagemap.h"
#include "kernel/uffd.h"

#define CHUNK_SHIFT 9 /* 512 pages of 4 KiB: one page table */
#define CHUNK_PAGES ((size_t)1 << CHUNK_SHIFT)
/* Half of a chunk: going over takes all of its pages for changed once, and costs less than that many faults.
 */
#define ENOUGH_DIRTY 256
/* Scans in vain, after which a chunk comes back. */
#define ENOUGH_IDLE 16
/* Chunks of a region that may be scanned: each may cost two mappings (vm.max_map_count, 65530 for the
 * process). */
#define SCANNED_MOST ((size_t)4096)
#define FOUND_AT_ONCE 64

/* Made when first needed; by the thread that publishes. */
static int uffd = -1, pagemap = -1;

/* --- making ----------------------------------------------------------------------------------------------
 */

void home_writes_create(struct dsm_region *r)
{
	struct home_writes *w = &r->home_writes;
	size_t chunks = r->table.count >> CHUNK_SHIFT;

	/* Inline only: handler threads would have to read the other descriptor too. */
	if (!chunks || r->hugetlb || !r->inline_delivery || !r->detects_stores ||
	    !runtime.kernel[KERNEL_UFFD_WP_ASYNC].available || !runtime.kernel[KERNEL_PAGEMAP_SCAN].available)
		return;
	w->dirty = calloc(chunks, sizeof *w->dirty);
	w->idle = calloc(chunks, sizeof *w->idle);
	w->to_switch = calloc((chunks + 63) / 64, sizeof *w->to_switch);
	w->chunks = chunks;
	if (!w->dirty || !w->idle || !w->to_switch)
		home_writes_destroy(r);
}

void home_writes_destroy(struct dsm_region *r)
{
	free(r->home_writes.dirty);
	free(r->home_writes.idle);
	free(r->home_writes.to_switch);
	r->home_writes = (struct home_writes){0};
}

void home_writes_close(void)
{
	if (uffd >= 0)
		close(uffd);
	if (pagemap >= 0)
		close(pagemap);
	uffd = pagemap = -1;
}

static int open_descriptors(void)
{
	if (uffd < 0)
		uffd = uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
				     UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM |
				     UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
				 false, NULL);
	if (pagemap < 0)
		pagemap = pagemap_open();
	return uffd < 0 ? uffd : pagemap < 0 ? pagemap : 0;
}

/* --- scanning --------------------------------------------------------------------------------------------
 */

static bool is_scanned(const struct home_writes *w, size_t chunk)
{
	return w->idle[chunk] > 0;
}

static void want_switch(struct home_writes *w, size_t chunk)
{
	w->to_switch[chunk / 64] |= (uint64_t)1 << (chunk % 64);
}

static void mark_dirty(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++)
		if (r->table.pages[page].state != PAGE_UNMAPPED) {
			r->table.pages[page].state = PAGE_WRITE;
			region_note_dirty(r, page);
		}
}

/* What was found and could not be visited is protected again, and no scan will tell of it: it counts as
 * dirty. */
static void keep_for_later(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++) {
		page_lock(&r->table.pages[page]);
		mark_dirty(r, page, 1);
		page_unlock(&r->table.pages[page]);
	}
}

/* Visits what was found, and notes that its chunks are in use. */
static int visit_found(struct dsm_region *r, const struct page_region *found, size_t count,
		       int (*visit)(void *, size_t, size_t), void *argument)
{
	int error = 0;

	for (size_t i = 0; i < count; i++) {
		size_t first = (size_t)(found[i].start - (uintptr_t)r->app) >> r->page_shift;
		size_t end = (size_t)(found[i].end - (uintptr_t)r->app) >> r->page_shift;
		for (size_t chunk = first >> CHUNK_SHIFT; chunk <= (end - 1) >> CHUNK_SHIFT; chunk++)
			r->home_writes.idle[chunk] = 1;
		if (!error)
			error = visit(argument, first, end - first);
		if (error)
			keep_for_later(r, first, end - first);
	}
	return error;
}

/* Scans chunks [@first, @end). */
static int scan_chunks(struct dsm_region *r, size_t first, size_t end, int (*visit)(void *, size_t, size_t),
		       void *argument)
{
	unsigned char *at = region_app(r, first << CHUNK_SHIFT), *stop = region_app(r, end << CHUNK_SHIFT);
	struct page_region found[FOUND_AT_ONCE];
	int error = 0;

	for (size_t chunk = first; chunk < end; chunk++)
		r->home_writes.idle[chunk]++;
	while (at < stop && !error) {
		const void *walk_end = stop;
		size_t count = 0;
		error = pagemap_scan_written(pagemap, at, (size_t)(stop - at), found, FOUND_AT_ONCE, &count,
					     &walk_end);
		if (!error)
			error = visit_found(r, found, count, visit, argument);
		at += (size_t)((const unsigned char *)walk_end - at);
	}
	for (size_t chunk = first; chunk < end; chunk++)
		if (r->home_writes.idle[chunk] > ENOUGH_IDLE)
			want_switch(&r->home_writes, chunk);
	return error;
}

int home_writes_scan(struct dsm_region *r, int (*visit)(void *argument, size_t first, size_t count),
		     void *argument)
{
	struct home_writes *w = &r->home_writes;
	int error = 0;

	for (size_t chunk = 0, end; chunk < w->chunks && w->scanned && !error; chunk = end) {
		end = chunk + 1;
		if (!is_scanned(w, chunk))
			continue;
		while (end < w->chunks && is_scanned(w, end))
			end++;
		error = scan_chunks(r, chunk, end, visit, argument);
	}
	return error;
}

/* --- adapting --------------------------------------------------------------------------------------------
 */

void home_writes_count(struct dsm_region *r, size_t first, size_t count)
{
	struct home_writes *w = &r->home_writes;

	if (!w->chunks)
		return;
	for (size_t page = first; page < first + count; page++) {
		size_t chunk = page >> CHUNK_SHIFT;
		if (chunk < w->chunks && !is_scanned(w, chunk) && ++w->dirty[chunk] == ENOUGH_DIRTY)
			want_switch(w, chunk);
		w->counted = true;
	}
}

/* Is all of the chunk at home, and mapped? (A sparse region's may not be.) Locked. */
static bool may_be_scanned(const struct dsm_region *r, size_t chunk)
{
	size_t first = chunk << CHUNK_SHIFT;

	if (home_of(&r->home, first) != runtime.node || home_run_end(&r->home, first) < first + CHUNK_PAGES)
		return false;
	for (size_t i = 0; i < CHUNK_PAGES; i++)
		if (r->table.pages[first + i].state == PAGE_UNMAPPED)
			return false;
	return true;
}

/* Moves a chunk from one descriptor to the other. Its pages are locked. False: it stays where it is; but then
 * too it may have lost its protection. */
static bool move(struct dsm_region *r, size_t chunk, int from, int to)
{
	unsigned char *start = region_app(r, chunk << CHUNK_SHIFT);
	size_t bytes = CHUNK_PAGES << r->page_shift;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;

	mark_dirty(r, chunk << CHUNK_SHIFT, CHUNK_PAGES);
	if (uffd_unregister(from, start, bytes))
		return false; /* too many mappings */
	int error = uffd_register(to, start, bytes, modes, NULL);
	if (!error)
		return true;
	/* The mapping is there by itself now: what could fail has not failed. */
	error = uffd_register(from, start, bytes, modes, NULL);
	if (error)
		report("region %s: pages %zu to %zu cannot be registered with userfaultfd any more (%s): "
		       "stores to them are "
		       "not noticed",
		       r->name, chunk << CHUNK_SHIFT, ((chunk + 1) << CHUNK_SHIFT) - 1, strerror(-error));
	return false;
}

static void switch_chunk(struct dsm_region *r, size_t chunk)
{
	struct home_writes *w = &r->home_writes;

	pages_lock(&r->table, chunk << CHUNK_SHIFT, CHUNK_PAGES);
	if (is_scanned(w, chunk)) {
		w->idle[chunk] = 1;
		if (move(r, chunk, uffd, r->uffd)) {
			w->idle[chunk] = 0;
			w->scanned--;
			/* What move() has marked is no store: the pass that publishes it must not make the
			 * chunk go over again. Past the number that would, until that pass is over. */
			w->dirty[chunk] = ENOUGH_DIRTY;
		}
	} else if (w->scanned < SCANNED_MOST && may_be_scanned(r, chunk) && move(r, chunk, r->uffd, uffd)) {
		w->idle[chunk] = 1;
		w->scanned++;
	}
	pages_unlock(&r->table, chunk << CHUNK_SHIFT, CHUNK_PAGES);
}

void home_writes_adapt(struct dsm_region *r)
{
	struct home_writes *w = &r->home_writes;

	if (w->counted)
		memset(w->dirty, 0, w->chunks * sizeof *w->dirty);
	w->counted = false;
	for (size_t word = 0; word < (w->chunks + 63) / 64; word++) {
		for (uint64_t bits = w->to_switch[word]; bits; bits &= bits - 1)
			if (!open_descriptors())
				switch_chunk(r, word * 64 + (size_t)__builtin_ctzll(bits));
		w->to_switch[word] = 0;
	}
}
