/*
 * The change logs of the homes say which pages were published; those are un-mapped, whatever else there is.
 *
 * Why nothing is missed. A page that another node published before the release that we acquire from is in the
 * log of its home before the release is announced. We find its entry, and take the page's lock. If a thread
 * of this node is fetching it, we wait, and un-map what it mapped. If one fetches it later, it does so after
 * us, and after the publisher: it reads the new version.
 *
 * When the log has been overrun, the versions of all pages that are mapped here are compared with their
 * home's. A version is advanced before its page is logged, so all that was logged when the heads were read is
 * found; and a page enters the set of cached pages before its versions are read (fault.c), so that one which
 * is being fetched is found too, or has been read late enough.
 */
#include "dsm/acquire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/change_log.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/publish.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "kernel/uapi.h"

/* --- un-mapping ------------------------------------------------------------------------------------------
 */

/* Takes locked pages out of the application's sight. Their bytes stay, and so does what is known of their
 * versions. */
static int unmap_locked(struct lane *lane, struct dsm_region *r, size_t first, size_t count, uint8_t flags)
{
	int error = publish_before_unmap(lane, r, first, count);

	/* Only now: a store between publishing and un-mapping would have faulted, and waits for the lock. */
	if (!error && madvise(region_app(r, first), count << r->page_shift, MADV_DONTNEED_LOCKED))
		error = -errno;
	if (error)
		return error;
	for (size_t i = 0; i < count; i++) {
		struct page *p = &r->table.pages[first + i];
		publish_drop_twin(r, p); /* it equals what is going out of date */
		p->state = PAGE_UNMAPPED;
		p->flags |= flags;
	}
	stats_add(&lane->stats.pages_invalidated, count);
	return 0;
}

/* Locks pages of one home, and un-maps those that are mapped, neighbours together. */
static int unmap_run(struct lane *lane, struct dsm_region *r, size_t first, size_t count, uint8_t flags)
{
	size_t mapped = 0;
	int error = 0;

	pages_lock(&r->table, first, count);
	for (size_t i = 0; i <= count && !error; i++) {
		if (i < count && r->table.pages[first + i].state != PAGE_UNMAPPED) {
			mapped++;
			continue;
		}
		if (mapped)
			error = unmap_locked(lane, r, first + i - mapped, mapped, flags);
		mapped = 0;
	}
	pages_unlock(&r->table, first, count);
	return error;
}

/* Those of the pages that have another home. */
static int unmap_pages(struct lane *lane, struct dsm_region *r, size_t first, size_t count, uint8_t flags)
{
	int error = 0;

	for (size_t page = first, end; page < first + count && !error; page = end) {
		end = home_run_end(&r->home, page);
		end = end < first + count ? end : first + count;
		end = end - page < PASS_PAGES_MAX ? end : page + PASS_PAGES_MAX;
		if (home_of(&r->home, page) != runtime.node)
			error = unmap_run(lane, r, page, end - page, flags);
	}
	return error;
}

int acquire_unmap(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	return unmap_pages(lane, r, first, count, 0);
}

/* --- by the log ------------------------------------------------------------------------------------------
 */

static int apply_change(void *argument, const struct change *change)
{
	struct lane *lane = argument;
	struct dsm_region *r = atomic_load_explicit(&runtime.regions[change->region], memory_order_acquire);

	/* The region may have been destroyed since, and another have got its number, with other homes: at
	 * worst a page of another home is un-mapped for nothing. */
	if (!r || !change_lies_in(change, r->table.count))
		return 0;
	return unmap_pages(lane, r, change->first, change->count, PAGE_STALE);
}

/* --- by versions -----------------------------------------------------------------------------------------
 */

/* A pass over the pages of one home. */
struct comparison {
	struct lane *lane;
	struct dsm_region *region;
	int home;
};

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

/* Reads the versions of pages, and un-maps those that are out of date. The others stay in the set of cached
 * pages. The versions are copied out of the scratch buffer, which publishing uses. */
static int compare_pages(struct comparison *c, size_t first, size_t count)
{
	struct dsm_region *r = c->region;
	uint64_t versions[PASS_PAGES_MAX];
	size_t words = count * r->words_per_page;
	int error = runtime.ops->post_read(runtime.transport, c->lane, c->home, SEGMENT_VERSIONS(r->id),
					   region_versions_offset(r, first), c->lane->scratch,
					   words * sizeof(uint64_t));
	int completed = runtime.ops->complete(runtime.transport, c->lane);

	if (error || completed)
		return peers_note(c->home, error ? error : completed);
	memcpy(versions, c->lane->scratch, words * sizeof(uint64_t));
	pages_lock(&r->table, first, count);
	for (size_t i = 0; i < count && !error; i++) {
		if (page_is_stale(r, first + i, versions + i * r->words_per_page))
			error = unmap_locked(c->lane, r, first + i, 1, PAGE_STALE);
		else if (r->table.pages[first + i].state != PAGE_UNMAPPED)
			page_set_add(&r->cached, first + i);
	}
	pages_unlock(&r->table, first, count);
	return error;
}

static int compare_run(void *argument, size_t first, size_t count)
{
	struct comparison *c = argument;
	struct dsm_region *r = c->region;
	size_t at_once = PASS_PAGES_MAX / r->words_per_page;
	int error = 0;

	for (size_t page = first, end; page < first + count && !error; page = end) {
		end = home_run_end(&r->home, page);
		end = end < first + count ? end : first + count;
		end = end - page < at_once ? end : page + at_once;
		if (home_of(&r->home, page) == c->home)
			error = compare_pages(c, page, end - page);
		else
			for (size_t i = page; i < end; i++)
				page_set_add(&r->cached, i);
	}
	return error;
}

static int compare_home(struct lane *lane, int home)
{
	int error = 0;

	for (unsigned id = 0; id < REGIONS_MAX && !error; id++) {
		struct comparison c = {lane, atomic_load_explicit(&runtime.regions[id], memory_order_acquire),
				       home};
		if (c.region)
			error = page_set_take(&c.region->cached, PASS_PAGES_MAX, compare_run, &c);
	}
	return error;
}

static int acquire_home(struct lane *lane, int home)
{
	bool lost = false;
	int error = peers_reach(home);

	if (!error)
		error = change_log_apply(lane, home, apply_change, lane, &lost);
	if (error || !lost)
		return error;
	error = compare_home(lane, home);
	if (!error)
		change_log_caught_up(home);
	stats_add(&lane->stats.log_overflows, 1);
	return error;
}

int acquire_all(struct lane *lane)
{
	int error = 0, lost = 0;

	for (int home = 0; home < runtime.nodes && !error; home++) {
		error = home == runtime.node ? 0 : acquire_home(lane, home);
		if (error == -EHOSTDOWN) { /* pages of other homes are no worse for it */
			lost = error;
			error = 0;
		}
	}
	return error ? error : lost;
}
