/*
 * Publish and acquire.
 *
 * Publishing a page, in this order, under its lock:
 *   1. write-protect it: a store that comes from now on faults, waits for the lock, and belongs to the next
 * interval;
 *   2. write the bytes that differ from the twin to the master;
 *   3. advance the versions of the blocks that changed.
 * 2 before 3 pairs with fetch.c, which reads versions before data: whoever sees the new version reads the new
 * bytes. Steps 2 and 3 are one chain to one peer on one lane, which the transport keeps in order.
 *
 * What this node holds after publishing a block: if the version that the fetch_add found is the one that was
 * held, nobody else published the block since it was read, and what is held here is the new version. If not,
 * somebody else's bytes are missing here; the old version is kept, the next acquire finds it out of date, and
 * the block is read.
 */
#include "dsm/release.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/diff.h"
#include "dsm/fault.h"
#include "dsm/fetch.h"
#include "dsm/lane.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "kernel/uapi.h"

/* Pages whose locks are held at once: bounds how long a fault may wait for a range operation. */
#define RUN_PAGES_MAX ((size_t)256)

struct pass {
	struct lane *lane;
	struct dsm_region *region;
};

static void lock_run(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		page_lock(&r->table.pages[first + i]);
}

static void unlock_run(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		page_unlock(&r->table.pages[first + i]);
}

/* --- publish ------------------------------------------------------------------------------------------- */

/* Posts the bytes of one block that differ from the twin; true in @changed if there are any. */
static int post_diff(struct lane *lane, struct dsm_region *r, int home, size_t offset,
		     const unsigned char *now, const unsigned char *before, bool *changed)
{
	size_t bytes = (size_t)1 << r->block_shift, end = 0;

	*changed = false;
	for (size_t at = 0; (at = diff_next(now, before, at, bytes, &end)) < bytes; at = end) {
		*changed = true;
		int error = runtime.ops->post_write(runtime.transport, lane, home, SEGMENT_DATA(r->id),
						    offset + at, now + at, end - at);
		if (error)
			return error;
		stats_add(&lane->stats.bytes_published, end - at);
	}
	return 0;
}

/* Did a block of a page at home change? Without a twin (pages of one block): it was stored to, so yes. */
static bool home_block_changed(const struct dsm_region *r, const unsigned char *now,
			       const unsigned char *before)
{
	return !before || memcmp(now, before, (size_t)1 << r->block_shift);
}

/* Steps 2 and 3 for one page. Locked, write-protected. */
static int publish_page(struct lane *lane, struct dsm_region *r, size_t page)
{
	struct page *p = &r->table.pages[page];
	int home = home_of(&r->home, page);
	size_t first_block = page * r->blocks_per_page;
	const unsigned char *now = region_alias(r, page);
	const unsigned char *before = p->twin ? twins_memory(&r->twins, p->twin - 1) : NULL;
	uint64_t *held = r->table.held + first_block, *old = (uint64_t *)(void *)lane->scratch;
	uint64_t changed = 0; /* bit b: block b */
	int error = 0;

	for (unsigned b = 0; b < r->blocks_per_page && !error; b++) {
		size_t at = (size_t)b << r->block_shift;
		bool block_changed = false;
		if (home == runtime.node)
			block_changed = home_block_changed(r, now + at, before ? before + at : NULL);
		else
			error = post_diff(lane, r, home, (page << r->page_shift) + at, now + at, before + at,
					  &block_changed);
		changed |= (uint64_t)block_changed << b;
	}
	for (uint64_t left = changed; left && !error; left &= left - 1) {
		unsigned b = (unsigned)__builtin_ctzll(left);
		error = runtime.ops->post_fetch_add(runtime.transport, lane, home, SEGMENT_VERSIONS(r->id),
						    (first_block + b) * sizeof(uint64_t), 1, &old[b]);
	}
	/* Also when posting failed on the way: nothing may be under way once the lane is let go. */
	int completed = runtime.ops->complete(runtime.transport, lane);
	error = error ? error : completed;
	if (error)
		return error;

	for (uint64_t left = changed; left; left &= left - 1) {
		unsigned b = (unsigned)__builtin_ctzll(left);
		if (old[b] + 1 == held[b])
			held[b]++;
	}
	if (p->twin)
		twins_put(&r->twins, p->twin - 1);
	p->twin = 0;
	p->state = PAGE_READ;
	stats_add(&lane->stats.pages_published, 1);
	stats_add(&lane->stats.blocks_published, (uint64_t)__builtin_popcountll(changed));
	return 0;
}

static int publish_written(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	int error = pages_protect(r, first, count, true); /* step 1, for the run at once */

	for (size_t i = 0; i < count && !error; i++)
		error = publish_page(lane, r, first + i);
	return error;
}

/* Pages that may be dirty: locks them, and publishes those that are, neighbours together. */
static int publish_run(void *argument, size_t first, size_t count)
{
	struct pass *pass = argument;
	struct dsm_region *r = pass->region;
	int error = 0;

	lock_run(r, first, count);
	for (size_t i = 0; i < count && !error;) {
		size_t written = 0;
		while (i + written < count && r->table.pages[first + i + written].state == PAGE_WRITE)
			written++;
		if (written)
			error = publish_written(pass->lane, r, first + i, written);
		i += written ? written : 1;
	}
	unlock_run(r, first, count);
	return error;
}

int release_publish(struct lane *lane, struct dsm_region *r)
{
	struct pass pass = {lane, r};

	return page_set_take(&r->dirty, RUN_PAGES_MAX, publish_run, &pass);
}

/* --- acquire ------------------------------------------------------------------------------------------- */

/* Takes locked pages out of the application's sight. Their bytes stay, and so does what is known of their
 * versions. */
static int unmap_locked(struct lane *lane, struct dsm_region *r, size_t first, size_t count, uint8_t flags)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		if (r->table.pages[first + i].state == PAGE_WRITE)
			error = publish_written(lane, r, first + i, 1);
	/* Only now: a store between publishing and un-mapping would have faulted, and waits for the lock. */
	if (!error && madvise(region_app(r, first), count << r->page_shift, MADV_DONTNEED_LOCKED))
		error = -errno;
	if (error)
		return error;
	for (size_t i = 0; i < count; i++) {
		r->table.pages[first + i].state = PAGE_UNMAPPED;
		r->table.pages[first + i].flags |= flags;
	}
	stats_add(&lane->stats.pages_invalidated, count);
	return 0;
}

/* True if the page is mapped and some block of it was published since it was read. Locked. */
static bool page_is_stale(const struct dsm_region *r, size_t page, const uint64_t *versions)
{
	const uint64_t *held = r->table.held + page * r->blocks_per_page;

	if (r->table.pages[page].state == PAGE_UNMAPPED)
		return false;
	/* Less, not different: another thread may have read the page after we read its versions. */
	for (unsigned b = 0; b < r->blocks_per_page; b++)
		if (held[b] < versions[b] + 1)
			return true;
	return false;
}

/*
 * Pages of one home that may be mapped: reads their versions, and un-maps those that are out of date,
 * neighbours together. The versions are copied out of the scratch buffer, which publishing uses. The others
 * stay in the set of cached pages.
 */
static int acquire_pages(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	uint64_t versions[RUN_PAGES_MAX];
	size_t words = count * r->blocks_per_page;
	size_t stale = 0; /* pages before page i that are out of date, and locked */
	int error = runtime.ops->post_read(
	    runtime.transport, lane, home_of(&r->home, first), SEGMENT_VERSIONS(r->id),
	    first * r->blocks_per_page * sizeof(uint64_t), lane->scratch, words * sizeof(uint64_t));

	if (!error)
		error = runtime.ops->complete(runtime.transport, lane);
	if (error)
		return error;
	memcpy(versions, lane->scratch, words * sizeof(uint64_t));

	for (size_t i = 0; i <= count && !error; i++) {
		struct page *p = &r->table.pages[first + i];
		if (i < count) {
			page_lock(p);
			if (page_is_stale(r, first + i, versions + i * r->blocks_per_page)) {
				stale++;
				continue;
			}
			if (p->state != PAGE_UNMAPPED)
				page_set_add(&r->cached, first + i);
			page_unlock(p);
		}
		if (stale) {
			error = unmap_locked(lane, r, first + i - stale, stale, PAGE_STALE);
			unlock_run(r, first + i - stale, stale);
			stale = 0;
		}
	}
	return error;
}

static int acquire_run(void *argument, size_t first, size_t count)
{
	struct pass *pass = argument;
	struct dsm_region *r = pass->region;
	size_t at_once = RUN_PAGES_MAX / r->blocks_per_page;
	int error = 0;

	for (size_t page = first, end; page < first + count && !error; page = end) {
		end = home_run_end(&r->home, page);
		end = end < first + count ? end : first + count;
		end = end - page < at_once ? end : page + at_once;
		if (home_of(&r->home, page) != runtime.node)
			error = acquire_pages(pass->lane, r, page, end - page);
	}
	return error;
}

int release_acquire(struct lane *lane, struct dsm_region *r)
{
	struct pass pass = {lane, r};

	return page_set_take(&r->cached, RUN_PAGES_MAX, acquire_run, &pass);
}

int release_unmap(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	int error = 0;

	for (size_t page = first, end; page < first + count && !error; page = end) {
		end = home_run_end(&r->home, page);
		end = end < first + count ? end : first + count;
		end = end - page < RUN_PAGES_MAX ? end : page + RUN_PAGES_MAX;
		if (home_of(&r->home, page) == runtime.node)
			continue;
		lock_run(r, page, end - page);
		error = unmap_locked(lane, r, page, end - page, 0);
		unlock_run(r, page, end - page);
	}
	return error;
}
