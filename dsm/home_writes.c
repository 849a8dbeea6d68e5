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
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "kernel/pagemap.h"
#include "kernel/uffd.h"

#define CHUNK_SHIFT 7 /* 512 KiB: small arrays have some, too */
#define CHUNK_PAGES ((size_t)1 << CHUNK_SHIFT)
/* Half of a chunk: going over takes all of its pages for changed once, and costs less than that many faults.
 */
#define ENOUGH_DIRTY (CHUNK_PAGES / 2)
#define ENOUGH_BULK 2
/* Scans in vain, after which a chunk comes back. */
#define ENOUGH_IDLE 16
/* Chunks of a region that may be scanned: each may cost two mappings (vm.max_map_count, 65530 for the
 * process), though neighbours share theirs. */
#define SCANNED_MOST ((size_t)16384)
#define FOUND_AT_ONCE 64

/* Of a chunk's pages; the others are published for nothing if it is presumed changed. */
#define NEARLY_ALL (CHUNK_PAGES * 7 / 8)
/* A program may store to two arrays in turn: a presumption begins when two of the latest four scans have
 * found nearly all pages, and ends when none of three has found the sample. */
#define ENOUGH_FULL 2
#define LATEST_FOUR 0xf
#define LATEST_THREE 7
/* In the middle of its chunk. */
#define SAMPLE_PAGES ((size_t)2)
#define SAMPLE_AT ((CHUNK_PAGES - SAMPLE_PAGES) / 2)

/* Made when first needed; by the thread that publishes. */
static int uffd = -1, pagemap = -1;

/* --- sets of chunks --------------------------------------------------------------------------------------
 */

static size_t words_of(size_t chunks)
{
	return (chunks + 63) / 64;
}

static uint64_t bit_of(size_t chunk)
{
	return (uint64_t)1 << (chunk % 64);
}

/* Relaxed: whoever looks has the lock of one of its pages, or is the thread that sets it. */
static bool is_scanned(const struct home_writes *w, size_t chunk)
{
	return atomic_load_explicit(&w->is_scanned[chunk / 64], memory_order_relaxed) & bit_of(chunk);
}

/* The first scanned chunk from @chunk on; w->chunks if there is none. */
static size_t next_scanned(const struct home_writes *w, size_t chunk)
{
	while (chunk < w->chunks && !is_scanned(w, chunk)) {
		uint64_t later =
		    atomic_load_explicit(&w->is_scanned[chunk / 64], memory_order_relaxed) >> (chunk % 64);
		chunk += later ? (size_t)__builtin_ctzll(later) : 64 - chunk % 64;
	}
	return chunk < w->chunks ? chunk : w->chunks;
}

/* --- making ----------------------------------------------------------------------------------------------
 */

void home_writes_create(struct dsm_region *r)
{
	struct home_writes *w = &r->home_writes;
	size_t chunks = r->table.count >> CHUNK_SHIFT, words = words_of(chunks);

	/* Inline only: handler threads would have to read the other descriptor too. */
	if (!chunks || r->hugetlb || !r->inline_delivery || !r->detects_stores ||
	    !runtime.kernel[KERNEL_UFFD_WP_ASYNC].available || !runtime.kernel[KERNEL_PAGEMAP_SCAN].available)
		return;
	w->chunk = calloc(chunks, sizeof *w->chunk);
	w->is_scanned = calloc(words, sizeof *w->is_scanned);
	w->is_counted = calloc(words, sizeof *w->is_counted);
	w->to_switch = calloc(words, sizeof *w->to_switch);
	w->chunks = chunks;
	if (!w->chunk || !w->is_scanned || !w->is_counted || !w->to_switch)
		home_writes_destroy(r);
}

void home_writes_destroy(struct dsm_region *r)
{
	free(r->home_writes.chunk);
	free(r->home_writes.is_scanned);
	free(r->home_writes.is_counted);
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

static void want_switch(struct home_writes *w, size_t chunk)
{
	w->to_switch[chunk / 64] |= bit_of(chunk);
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

/* Chunks that pages [@first, @end) were found in are in use, and so much. */
static void note_found(struct home_writes *w, size_t first, size_t end)
{
	for (size_t page = first, chunk_end; page < end; page = chunk_end) {
		struct home_chunk *c = &w->chunk[page >> CHUNK_SHIFT];
		chunk_end = ((page >> CHUNK_SHIFT) + 1) << CHUNK_SHIFT;
		chunk_end = chunk_end < end ? chunk_end : end;
		c->idle = 0;
		c->dirty = (uint16_t)(c->dirty + (chunk_end - page));
	}
}

/* After a scan of a chunk, or of its sample. (The first scan after a presumption finds all that was not
 * protected: one of ENOUGH_FULL.) */
static void judge(struct home_chunk *c, bool is_full)
{
	c->full = (uint8_t)(c->full << 1 | is_full);
	c->presumed =
	    c->presumed ? c->full & LATEST_THREE : __builtin_popcount(c->full & LATEST_FOUR) >= ENOUGH_FULL;
}

/* Visits what was found, and notes that its chunks are in use. */
static int visit_found(struct dsm_region *r, const struct page_region *found, size_t count,
		       int (*visit)(void *, size_t, size_t), void *argument)
{
	int error = 0;

	for (size_t i = 0; i < count; i++) {
		size_t first = (size_t)(found[i].start - (uintptr_t)r->app) >> r->page_shift;
		size_t end = (size_t)(found[i].end - (uintptr_t)r->app) >> r->page_shift;
		note_found(&r->home_writes, first, end);
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
		r->home_writes.chunk[chunk].idle++;
	while (at < stop && !error) {
		const void *walk_end = stop;
		size_t count = 0;
		error = pagemap_scan_written(pagemap, at, (size_t)(stop - at), found, FOUND_AT_ONCE, &count,
					     &walk_end);
		if (!error)
			error = visit_found(r, found, count, visit, argument);
		at += (size_t)((const unsigned char *)walk_end - at);
	}
	for (size_t chunk = first; chunk < end; chunk++) {
		struct home_chunk *c = &r->home_writes.chunk[chunk];
		judge(c, c->dirty >= NEARLY_ALL);
		c->dirty = 0;
		if (c->idle >= ENOUGH_IDLE)
			want_switch(&r->home_writes, chunk);
	}
	return error;
}

/* Looks at the sample of a chunk, and protects it again. */
static int scan_sample(struct dsm_region *r, size_t chunk)
{
	struct page_region found[SAMPLE_PAGES];
	const void *walk_end;
	size_t count, bytes = 0;
	int error =
	    pagemap_scan_written(pagemap, region_app(r, (chunk << CHUNK_SHIFT) + SAMPLE_AT),
				 SAMPLE_PAGES << r->page_shift, found, SAMPLE_PAGES, &count, &walk_end);

	if (error)
		return error;
	for (size_t i = 0; i < count; i++)
		bytes += found[i].end - found[i].start;
	judge(&r->home_writes.chunk[chunk], bytes == SAMPLE_PAGES << r->page_shift);
	return 0;
}

/*
 * Presumed changed: all pages are visited, and but for the sample they stay writable. A store before the
 * version is advanced is published by this pass; one after it by the next. That one comes before the thread
 * that stored announces anything: its own release makes a pass, since a region with scanned chunks is always
 * looked at (publish_pass() in consistency.c), and what it stored is in memory when it has the mutex of
 * passes. When the presumption ends, a scan protects each page before its version is advanced, as always.
 */
static int presume(struct dsm_region *r, size_t first, size_t end, int (*visit)(void *, size_t, size_t),
		   void *argument)
{
	size_t page = first << CHUNK_SHIFT, count = (end - first) << CHUNK_SHIFT;
	int error = 0;

	for (size_t chunk = first; chunk < end && !error; chunk++)
		error = scan_sample(r, chunk);
	if (!error)
		error = visit(argument, page, count);
	if (error) /* the samples are protected again, and a presumption may have ended */
		keep_for_later(r, page, count);
	return error;
}

int home_writes_scan(struct dsm_region *r, int (*visit)(void *argument, size_t first, size_t count),
		     void *argument)
{
	struct home_writes *w = &r->home_writes;
	int error = 0;

	for (size_t chunk = next_scanned(w, 0), end; chunk < w->chunks && !error;
	     chunk = next_scanned(w, end)) {
		bool presumed = w->chunk[chunk].presumed;
		for (end = chunk + 1;
		     end < w->chunks && is_scanned(w, end) && w->chunk[end].presumed == presumed;)
			end++;
		error = (presumed ? presume : scan_chunks)(r, chunk, end, visit, argument);
	}
	return error;
}

bool home_writes_finds(const struct dsm_region *r, size_t page)
{
	size_t chunk = page >> CHUNK_SHIFT;

	return chunk < r->home_writes.chunks && is_scanned(&r->home_writes, chunk);
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
		if (chunk >= w->chunks || is_scanned(w, chunk))
			continue;
		w->is_counted[chunk / 64] |= bit_of(chunk);
		struct home_chunk *c = &w->chunk[chunk];
		if (++c->dirty != ENOUGH_DIRTY)
			continue;
		c->bulk += c->bulk < ENOUGH_BULK;
		if (c->bulk == ENOUGH_BULK)
			want_switch(w, chunk);
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

static void set_scanned(struct home_writes *w, size_t chunk, bool scanned)
{
	uint64_t word = atomic_load_explicit(&w->is_scanned[chunk / 64], memory_order_relaxed);

	word = scanned ? word | bit_of(chunk) : word & ~bit_of(chunk);
	atomic_store_explicit(&w->is_scanned[chunk / 64], word, memory_order_relaxed);
	w->scanned = scanned ? w->scanned + 1 : w->scanned - 1;
	w->chunk[chunk] = (struct home_chunk){0};
}

static void switch_chunk(struct dsm_region *r, size_t chunk)
{
	struct home_writes *w = &r->home_writes;

	pages_lock(&r->table, chunk << CHUNK_SHIFT, CHUNK_PAGES);
	if (is_scanned(w, chunk)) {
		w->chunk[chunk].idle = 0;
		if (move(r, chunk, uffd, r->uffd)) {
			set_scanned(w, chunk, false);
			/* What move() has marked is no store: the pass that publishes it must not make the
			 * chunk go over again. Past the number that would, until that pass is over. */
			w->chunk[chunk].dirty = ENOUGH_DIRTY;
			w->is_counted[chunk / 64] |= bit_of(chunk);
		}
	} else if (w->scanned < SCANNED_MOST && may_be_scanned(r, chunk) && move(r, chunk, r->uffd, uffd)) {
		set_scanned(w, chunk, true);
	}
	pages_unlock(&r->table, chunk << CHUNK_SHIFT, CHUNK_PAGES);
}

/* The chunks of a word of `is_counted`: the next pass counts anew. */
static void forget_counts(struct home_writes *w, size_t word)
{
	for (uint64_t bits = w->is_counted[word]; bits; bits &= bits - 1)
		w->chunk[word * 64 + (size_t)__builtin_ctzll(bits)].dirty = 0;
	w->is_counted[word] = 0;
}

void home_writes_adapt(struct dsm_region *r)
{
	struct home_writes *w = &r->home_writes;

	for (size_t word = 0; word < words_of(w->chunks); word++) {
		forget_counts(w, word);
		for (uint64_t bits = w->to_switch[word]; bits; bits &= bits - 1)
			if (!open_descriptors())
				switch_chunk(r, word * 64 + (size_t)__builtin_ctzll(bits));
		w->to_switch[word] = 0;
	}
}
