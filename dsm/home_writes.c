/*
 * Going over. A range belongs to one userfaultfd, and whether write-protection is lifted by the kernel or
 * faults is a property of that: so a chunk is unregistered from the region's and registered with another. In
 * between its pages are writable and nothing is noticed. Therefore they are copied before, and compared when
 * they are protected again: what differs was stored to. (A store of the value that was there already makes no
 * difference to anybody.) The locks of all its pages are held meanwhile, so that no thread of this node
 * resolves a fault by what was.
 */
#include "dsm/home_writes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/fault.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "kernel/pagemap.h"
#include "kernel/uffd.h"

#define CHUNK_SHIFT 9 /* 512 pages of 4 KiB: one page table */
#define CHUNK_PAGES ((size_t)1 << CHUNK_SHIFT)
/* Faults in one interval that cost more than going over and back does, about. */
#define ENOUGH_DIRTY 64
/* Scans in vain, after which a chunk comes back. */
#define ENOUGH_IDLE 16
/* Chunks of a region that may be scanned: each may cost two mappings (vm.max_map_count, 65530 for the
 * process). */
#define SCANNED_MOST ((size_t)4096)
#define FOUND_AT_ONCE 64
#define COPY_BYTES (CHUNK_PAGES * 4096)

/* Made when first needed; by the thread that publishes. */
static int uffd = -1, pagemap = -1;
static unsigned char *copy; /* of a chunk */

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
	if (copy)
		munmap(copy, COPY_BYTES);
	uffd = pagemap = -1;
	copy = NULL;
}

static unsigned char *map_copy(void)
{
	void *memory = mmap(NULL, COPY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static int make_tools(void)
{
	if (uffd < 0)
		uffd = uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
				     UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM |
				     UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
				 false, NULL);
	if (pagemap < 0)
		pagemap = pagemap_open();
	if (!copy)
		copy = map_copy();
	return uffd < 0 ? uffd : pagemap < 0 ? pagemap : copy ? 0 : -ENOMEM;
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

/* Visits what was found, and notes that its chunks are in use. */
static int visit_found(struct dsm_region *r, const struct page_region *found, size_t count,
		       int (*visit)(void *, size_t, size_t), void *argument)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++) {
		size_t first = (size_t)(found[i].start - (uintptr_t)r->app) >> r->page_shift;
		size_t end = (size_t)(found[i].end - (uintptr_t)r->app) >> r->page_shift;
		for (size_t chunk = first >> CHUNK_SHIFT; chunk <= (end - 1) >> CHUNK_SHIFT; chunk++)
			r->home_writes.idle[chunk] = 1;
		error = visit(argument, first, end - first);
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

static void mark_dirty(struct dsm_region *r, size_t page)
{
	r->table.pages[page].state = PAGE_WRITE;
	region_note_dirty(r, page);
}

static int mark_found(void *argument, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++)
		mark_dirty(argument, page);
	return 0;
}

/* Moves a chunk from one descriptor to the other. Its pages are locked. False: it is as it was. */
static bool move(struct dsm_region *r, size_t chunk, int from, int to)
{
	unsigned char *start = region_app(r, chunk << CHUNK_SHIFT);
	size_t bytes = CHUNK_PAGES << r->page_shift;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;

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

/* Marks the pages of the chunk that are not as they were. They are protected, so that no store goes
 * unnoticed. */
static void mark_changed(struct dsm_region *r, size_t chunk)
{
	size_t first = chunk << CHUNK_SHIFT;
	int error = pages_protect(r, first, CHUNK_PAGES, true);

	for (size_t i = 0; i < CHUNK_PAGES; i++)
		if (r->table.pages[first + i].state == PAGE_READ &&
		    (error ||
		     memcmp(region_alias(r, first + i), copy + (i << r->page_shift), region_page_bytes(r))))
			mark_dirty(r, first + i);
}

/* From scans to faults. What was stored to since the last scan is found by one more, after the copy was made:
 * a store that comes after the scan differs from the copy. */
static void come_back(struct dsm_region *r, size_t chunk)
{
	if (scan_chunks(r, chunk, chunk + 1, mark_found, r) || !move(r, chunk, uffd, r->uffd))
		return;
	r->home_writes.idle[chunk] = 0;
	r->home_writes.scanned--;
	mark_changed(r, chunk);
}

static void go_over(struct dsm_region *r, size_t chunk)
{
	if (r->home_writes.scanned >= SCANNED_MOST || !may_be_scanned(r, chunk) ||
	    !move(r, chunk, r->uffd, uffd))
		return;
	r->home_writes.idle[chunk] = 1;
	r->home_writes.scanned++;
	mark_changed(r, chunk);
}

static void switch_chunk(struct dsm_region *r, size_t chunk)
{
	size_t first = chunk << CHUNK_SHIFT;

	pages_lock(&r->table, first, CHUNK_PAGES);
	memcpy(copy, region_alias(r, first), CHUNK_PAGES << r->page_shift);
	if (is_scanned(&r->home_writes, chunk))
		come_back(r, chunk);
	else
		go_over(r, chunk);
	pages_unlock(&r->table, first, CHUNK_PAGES);
}

void home_writes_adapt(struct dsm_region *r)
{
	struct home_writes *w = &r->home_writes;

	for (size_t word = 0; word < (w->chunks + 63) / 64; word++) {
		for (uint64_t bits = w->to_switch[word]; bits; bits &= bits - 1)
			if (!make_tools())
				switch_chunk(r, word * 64 + (size_t)__builtin_ctzll(bits));
		w->to_switch[word] = 0;
	}
	if (w->counted)
		memset(w->dirty, 0, w->chunks * sizeof *w->dirty);
	w->counted = false;
}
