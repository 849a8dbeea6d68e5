/*
 * dsm_prefetch(): the application's hint. What it shares with the fault path is in prefetch.h.
 */
#include "dsm/prefetch.h"

#include <errno.h>
#include <signal.h>

#include <minorca.h>

#include "dsm/fault.h"
#include "dsm/fetch.h"
#include "dsm/home_writes.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "dsm/trace.h"

static bool is_alike(const struct dsm_region *r, size_t a, size_t b)
{
	return r->table.pages[a].state == r->table.pages[b].state &&
	       home_writes_finds(r, a) == home_writes_finds(r, b);
}

/* How many pages from @first on are in the state that page @first is in. */
static size_t same_state(const struct dsm_region *r, size_t first, size_t end)
{
	size_t count = 1;

	while (first + count < end && is_alike(r, first, first + count))
		count++;
	return count;
}

static int begin_writes(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		error = page_begin_write(lane, r, first + i);
	return error;
}

int pages_bring_in(struct lane *lane, struct dsm_region *r, size_t first, size_t count, bool for_write)
{
	enum page_state state = r->table.pages[first].state;
	bool writable = for_write || !r->detects_stores;
	int error = 0;

	if (state == PAGE_WRITE || (state == PAGE_READ && !writable))
		return 0;
	/* The kernel lifts write-protection at the first store. To lift it beforehand would save nothing: the
	 * store finds the page read-only all the same, as one of a file whose changes are to be noticed. */
	if (state == PAGE_READ && home_writes_finds(r, first))
		return 0;
	for (size_t i = 0; i < count && state == PAGE_UNMAPPED; i++) {
		if (r->table.pages[first + i].flags & PAGE_LOST)
			return -EHOSTDOWN;
		page_set_add(&r->cached, first + i); /* before its versions are read: see map_page() */
	}
	if (state == PAGE_UNMAPPED && home_of(&r->home, first) != runtime.node)
		error = fetch_pages(lane, r, first, count);
	else if (state == PAGE_UNMAPPED && r->sparse)
		error = populate_pages(r, first, count);
	if (!error && writable)
		error = begin_writes(lane, r, first, count);
	trace_moment(lane, DSM_MOMENT_READY);
	if (!error)
		error = state == PAGE_READ ? pages_protect(r, first, count, false)
					   : pages_map(r, first, count, writable);
	trace_moment(lane, DSM_MOMENT_MAPPED);
	if (error)
		return error;
	for (size_t i = 0; i < count; i++)
		r->table.pages[first + i].state = writable ? PAGE_WRITE : PAGE_READ;
	return 0;
}

/* Counts those that were not there. */
static int bring_in(struct lane *lane, struct dsm_region *r, size_t first, size_t count, bool for_write)
{
	bool missing = r->table.pages[first].state == PAGE_UNMAPPED;
	int error = pages_bring_in(lane, r, first, count, for_write);

	if (!error && missing)
		stats_add(&lane->stats.pages_prefetched, count);
	return error;
}

static int prefetch_run(struct lane *lane, struct dsm_region *r, size_t first, size_t end, bool for_write)
{
	int error = 0;

	for (size_t page = first; page < end; page++)
		page_lock(&r->table.pages[page]);
	for (size_t page = first, count; page < end && !error; page += count) {
		count = same_state(r, page, end);
		error = bring_in(lane, r, page, count, for_write);
		/* The pool has too few for all of them: as many as there are. */
		for (size_t i = 0; error == -ENOSPC && count > 1 && i < count; i++)
			if (bring_in(lane, r, page + i, 1, for_write))
				break;
	}
	for (size_t page = first; page < end; page++)
		page_unlock(&r->table.pages[page]);
	return error;
}

static int prefetch_pages(struct lane *lane, struct dsm_region *r, size_t first, size_t count, bool for_write)
{
	size_t at_once = fetch_pages_max(r) < PREFETCH_PAGES_MAX ? fetch_pages_max(r) : PREFETCH_PAGES_MAX;
	int error = 0;

	for (size_t page = first, end; page < first + count && !error; page = end) {
		end = home_run_end(&r->home, page);
		end = end < first + count ? end : first + count;
		end = end - page < at_once ? end : page + at_once;
		error = prefetch_run(lane, r, page, end, for_write);
	}
	return error;
}

int dsm_prefetch(const void *address, size_t bytes, bool for_write)
{
	struct dsm_region *r;
	size_t first, count;
	sigset_t saved;
	int saved_errno = errno;

	if (!runtime.started)
		return -EFAULT;
	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire(); /* until it is let go, the region is not freed */
	int error = region_find_range(address, bytes, &r, &first, &count);
	if (!error)
		error = prefetch_pages(lane, r, first, count, for_write);
	lane_release(lane);
	runtime_unblock_signals(&saved);
	peers_tell(error, "dsm_prefetch()", "pages of its cannot be had");
	errno = saved_errno;
	return error;
}
