/*
 * Publishing a page, in this order, under its lock:
 *   1. write-protect it: a store that comes from now on faults, waits for the lock, and belongs to the next
 *      interval;
 *   2. write the bytes that differ from the twin to the master;
 *   3. advance the versions of the blocks that changed;
 *   4. log the page.
 * 2 before 3 pairs with fetch.c, which reads versions before data: whoever sees the new version reads the new
 * bytes. 3 before 4 pairs with acquire.c, which compares versions when it has lost track of the log: whoever
 * sees that something was logged sees the versions. Steps 2 to 4 for a run of pages of one home are one chain
 * to one peer on one lane, which the transport keeps in order, and are waited for once.
 *
 * What this node holds after publishing a block: if the version that the fetch_add found is the one that was
 * held, nobody else published the block since it was read, and what is held here is the new version. If not,
 * somebody else's bytes are missing here; the old version is kept, and that other node's entry in the log
 * makes the next acquire un-map the page.
 *
 * The twin stays with the page, made equal to what was published: the next interval's first store then copies
 * nothing. It goes when the page is un-mapped. A page that has one writer thus pays for a twin once.
 *
 * When a publish to another home fails half way, nobody knows what has arrived, and the twin, which has the
 * new bytes already, cannot tell what has not: to try again would find nothing to publish, and call that a
 * success. Nor may it be tried again, for what was posted may still arrive, and undo what others store
 * meanwhile. So the error stays: no later publish of the region succeeds. (Transports do not lose single
 * operations: a peer or a lane is lost.) At home nothing is lost, and what failed is done again.
 *
 * Hot pages (see page_table.h). A page of one block of another home that is stored to in interval after
 * interval is not write-protected any more: it stays writable and in the dirty set, and every pass compares
 * it with its twin. That saves the fault (some microseconds) for a comparison (a tenth of one). Step 1 is not
 * needed then: the bytes are copied into the twin first, once, and sent from there, so what is sent is what
 * the twin has; a store that comes in between differs from the twin afterwards, and is found by the next
 * pass, which the storing thread's own release makes. A pass that finds nothing cools the page down.
 */
#include "dsm/publish.h"

#include <stdbool.h>
#include <string.h>

#include "dsm/change_log.h"
#include "dsm/diff.h"
#include "dsm/fault.h"
#include "dsm/home_writes.h"
#include "dsm/lane.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"

/* The scratch buffer while publishing: what fetch_adds return, then the log's words. */
#define OLD_WORDS ((size_t)1024)

_Static_assert((OLD_WORDS + PASS_PAGES_MAX + 1) * sizeof(uint64_t) <= LANE_SCRATCH_BYTES, "a batch fits");
_Static_assert(PASS_PAGES_MAX <= CHANGE_PAGES_MAX, "a run is one entry");
_Static_assert(BLOCKS_PER_PAGE_MAX <= OLD_WORDS, "a page fits");

/* Pages of one home that are published by one chain. All are locked, and PAGE_WRITE. */
struct batch {
	struct lane *lane;
	struct dsm_region *region;
	int home;
	size_t first, count;
	uint64_t changed[PASS_PAGES_MAX]; /* of each page, bit b: block b */
	uint64_t *old; /* versions found, blocks_per_page for each page; in the scratch buffer */
	struct change log[PASS_PAGES_MAX];
	unsigned logged;
};

static size_t pages_per_batch(const struct dsm_region *r)
{
	size_t pages = OLD_WORDS / r->blocks_per_page;

	return pages < PASS_PAGES_MAX ? pages : PASS_PAGES_MAX;
}

static unsigned char *twin_of(struct dsm_region *r, const struct page *p)
{
	return p->twin ? twins_memory(&r->twins, p->twin - 1) : NULL;
}

/* --- steps 2 and 3 ---------------------------------------------------------------------------------------
 */

/* Posts the bytes of one block that differ from the twin, which has them from then on; true in @changed if
 * there are any. */
static int post_diff(struct batch *batch, size_t offset, const unsigned char *now, unsigned char *twin,
		     bool from_twin, bool *changed)
{
	struct dsm_region *r = batch->region;
	struct diff diff = diff_begin(now, twin, (size_t)1 << r->block_shift);
	size_t at, end;
	int error = 0;

	while (!error && diff_run(&diff, &at, &end)) {
		*changed = true;
		memcpy(twin + at, now + at, end - at); /* behind the walk: it does not look there again */
		error =
		    runtime.ops->post_write(runtime.transport, batch->lane, batch->home, SEGMENT_DATA(r->id),
					    offset + at, (from_twin ? twin : now) + at, end - at);
		stats_add(&batch->lane->stats.bytes_published, end - at);
	}
	return error;
}

/*
 * Blocks of a page at home whose versions have moved since its twin was made: somebody published to them, so
 * that they may have changed though they equal the twin. (Another node sets a byte, and this one sets it
 * back.) Asks this node's own version table, through the transport.
 */
static int add_published_by_others(struct batch *batch, size_t page, uint64_t *changed, uint64_t *now)
{
	struct dsm_region *r = batch->region;
	const uint64_t *before = r->table.held + page * r->blocks_per_page;
	int error =
	    runtime.ops->post_read(runtime.transport, batch->lane, batch->home, SEGMENT_VERSIONS(r->id),
				   region_versions_offset(r, page), now, r->blocks_per_page * sizeof *now);
	int completed = runtime.ops->complete(runtime.transport, batch->lane);

	for (unsigned b = 0; b < r->blocks_per_page && !error && !completed; b++)
		*changed |= (uint64_t)(now[b] != before[b]) << b;
	return error ? error : completed;
}

/* Did a block of a page at home change? Without a twin: the page was stored to, so it may have. */
static bool home_block_changed(const struct dsm_region *r, const unsigned char *now, unsigned char *twin)
{
	return !twin || memcmp(now, twin, (size_t)1 << r->block_shift);
}

static int post_data(struct batch *batch, size_t page, uint64_t *changed, uint64_t *old)
{
	struct dsm_region *r = batch->region;
	struct page *p = &r->table.pages[page];
	const unsigned char *now = region_alias(r, page);
	unsigned char *twin = twin_of(r, p);
	int error = 0;

	for (unsigned b = 0; b < r->blocks_per_page && !error; b++) {
		size_t at = (size_t)b << r->block_shift;
		bool block_changed = false;
		if (batch->home == runtime.node)
			block_changed = home_block_changed(r, now + at, twin ? twin + at : NULL);
		else
			error = post_diff(batch, (page << r->page_shift) + at, now + at, twin + at,
					  p->flags & PAGE_HOT, &block_changed);
		*changed |= (uint64_t)block_changed << b;
	}
	if (!error && twin && batch->home == runtime.node)
		error = add_published_by_others(batch, page, changed, old);
	return error;
}

static int post_versions(struct batch *batch, size_t page, uint64_t changed, uint64_t *old)
{
	struct dsm_region *r = batch->region;
	int error = 0;

	for (uint64_t left = changed; left && !error; left &= left - 1) {
		unsigned b = (unsigned)__builtin_ctzll(left);
		error = runtime.ops->post_fetch_add(
		    runtime.transport, batch->lane, batch->home, SEGMENT_VERSIONS(r->id),
		    region_versions_offset(r, page) + b * sizeof(uint64_t), 1, &old[b]);
	}
	return error;
}

/* --- step 4 ----------------------------------------------------------------------------------------------
 */

static void note_change(struct batch *batch, size_t page)
{
	struct change *last = batch->logged ? &batch->log[batch->logged - 1] : NULL;

	if (last && last->first + last->count == page)
		last->count++;
	else
		batch->log[batch->logged++] = (struct change){batch->region->id, page, 1};
}

/* --- afterwards ------------------------------------------------------------------------------------------
 */

static void advance_held(struct dsm_region *r, size_t page, uint64_t changed, const uint64_t *old)
{
	uint64_t *held = r->table.held + page * r->blocks_per_page;

	for (uint64_t left = changed; left; left &= left - 1) {
		unsigned b = (unsigned)__builtin_ctzll(left);
		if (old[b] + 1 == held[b])
			held[b]++;
	}
}

/*
 * How warm a page of another home is: publications in a row. When a hot page is found unchanged it stays as
 * it is for one more pass, which protects it before it looks: a store may have come in since we looked.
 */
static void note_heat(const struct dsm_region *r, struct page *p, bool changed)
{
	if (changed && r->keeps_hot_pages && p->habit < HABIT_HOT)
		p->habit++;
	if (!changed && p->flags & PAGE_HOT) {
		p->habit = HABIT_COOLED;
		p->flags &= (uint8_t)~PAGE_HOT;
	}
}

/*
 * Whether a page of many blocks at home gets a twin: it tells which blocks changed, at the price of a copy
 * and a comparison of all. Where most of them do, some intervals go without, and then it is tried again.
 */
static void note_density(const struct dsm_region *r, struct page *p, uint64_t changed)
{
	bool dense = (unsigned)__builtin_popcountll(changed) * 2 > r->blocks_per_page;

	if (p->habit > 0) /* without a twin nothing is known but that it was stored to */
		p->habit = p->habit > 1 ? (int8_t)(p->habit - 1) : HABIT_DENSE + 1;
	else if (!dense)
		p->habit = 0;
	else if (--p->habit == HABIT_DENSE)
		p->habit = HABIT_NO_TWIN;
}

void publish_drop_twin(struct dsm_region *r, struct page *p)
{
	if (p->flags & PAGE_TWIN_KEPT)
		r->twins_kept--;
	if (p->twin)
		twins_put(&r->twins, p->twin - 1);
	p->twin = 0;
	p->flags &= (uint8_t) ~(PAGE_TWIN_KEPT | PAGE_TWIN_IS_CURRENT | PAGE_HOT);
}

/* The twin equals the page now; it stays, as long as there are not too many. */
static void keep_twin(struct dsm_region *r, struct page *p)
{
	if (p->flags & PAGE_TWIN_KEPT) {
		p->flags |= PAGE_TWIN_IS_CURRENT;
	} else if (r->twins_kept < r->twins_kept_most) {
		r->twins_kept++;
		p->flags |= PAGE_TWIN_KEPT | PAGE_TWIN_IS_CURRENT;
	} else {
		publish_drop_twin(r, p);
	}
}

static void end_home_interval(struct dsm_region *r, size_t page)
{
	_Atomic uint64_t *interval = region_interval(r, page);

	/* Even. Release: after the versions and the log, which are complete. */
	atomic_store_explicit(interval, (atomic_load_explicit(interval, memory_order_relaxed) | 1) + 1,
			      memory_order_release);
}

static void finish_page(struct batch *batch, size_t page, uint64_t changed, const uint64_t *old)
{
	struct dsm_region *r = batch->region;
	struct page *p = &r->table.pages[page];
	bool writable = p->flags & PAGE_HOT;

	advance_held(r, page, changed, old);
	if (batch->home == runtime.node) {
		/* Others write to the master: a twin of it is of no use for long. */
		note_density(r, p, changed);
		publish_drop_twin(r, p);
		if (r->blocks_per_page > 1)
			end_home_interval(r, page);
	} else {
		note_heat(r, p, changed);
		keep_twin(r, p);
	}
	if (writable)
		region_note_dirty(r, page); /* again, for the next pass */
	else
		p->state = PAGE_READ;
	stats_add(&batch->lane->stats.pages_published, changed != 0);
	stats_add(&batch->lane->stats.blocks_published, (uint64_t)__builtin_popcountll(changed));
}

/* --- all steps -------------------------------------------------------------------------------------------
 */

/* Step 1, for neighbours at once. Hot pages stay as they are. */
static int protect(const struct batch *batch)
{
	struct dsm_region *r = batch->region;
	size_t run = 0;
	int error = 0;

	for (size_t i = 0; i <= batch->count && !error; i++) {
		if (i < batch->count && !(r->table.pages[batch->first + i].flags & PAGE_HOT)) {
			run++;
			continue;
		}
		if (run)
			error = pages_protect(r, batch->first + i - run, run, true);
		run = 0;
	}
	return error;
}

static int post_pages(struct batch *batch)
{
	unsigned blocks = batch->region->blocks_per_page;
	int error = 0;

	for (size_t i = 0; i < batch->count && !error; i++) {
		size_t page = batch->first + i;
		batch->changed[i] = 0;
		error = post_data(batch, page, &batch->changed[i], batch->old + i * blocks);
		if (!error)
			error = post_versions(batch, page, batch->changed[i], batch->old + i * blocks);
		/* A home's interval ends: even if nothing changed, who fetched meanwhile is to look again. */
		if (!error && (batch->changed[i] || (blocks > 1 && batch->home == runtime.node)))
			note_change(batch, page);
	}
	return error;
}

static void begin_batch(struct batch *batch, struct lane *lane, struct dsm_region *r, size_t first,
			size_t count)
{
	batch->lane = lane;
	batch->region = r;
	batch->home = home_of(&r->home, first);
	batch->first = first;
	batch->count = count;
	batch->logged = 0;
	batch->old = (uint64_t *)(void *)lane->scratch;
}

/* Step 4, if steps 2 and 3 could be posted, and waits for all. */
static int end_batch(struct batch *batch, int error)
{
	if (!error && batch->logged)
		error = change_log_post(batch->lane, batch->home, batch->log, batch->logged,
					batch->old + OLD_WORDS);
	/* Also when posting failed on the way: nothing may be under way once the lane is let go. */
	int completed = runtime.ops->complete(runtime.transport, batch->lane);
	return error ? error : completed;
}

/* Locked pages of one home that are all PAGE_WRITE, at most pages_per_batch(). */
static int publish_batch(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	struct batch batch;

	begin_batch(&batch, lane, r, first, count);
	bool elsewhere = batch.home != runtime.node;
	int error = elsewhere ? r->publish_error : 0;
	if (error)
		return error;
	error = protect(&batch);
	/* Before anything is posted: what fails here must not leave pages that are published and not logged.
	 */
	for (size_t i = 0; i < count && !error; i++)
		error = region_populate_home(r, first + i);
	if (error)
		return error;
	error = end_batch(&batch, post_pages(&batch));
	if (elsewhere)
		r->publish_error = error;
	for (size_t i = 0; i < count && !error; i++)
		finish_page(&batch, first + i, batch.changed[i], batch.old + i * r->blocks_per_page);
	return error;
}

/* Those of the locked pages that are dirty, in batches of neighbours. */
static int publish_dirty(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	size_t most = pages_per_batch(r), end = first + count;
	int error = 0;

	for (size_t page = first, run; page < end && !error; page += run ? run : 1) {
		size_t home_end = home_run_end(&r->home, page);
		for (run = 0; run < most && page + run < end && page + run < home_end &&
			      r->table.pages[page + run].state == PAGE_WRITE;)
			run++;
		if (!run)
			continue;
		error = publish_batch(lane, r, page, run);
		if (home_of(&r->home, page) == runtime.node)
			home_writes_count(r, page, run);
	}
	return error;
}

struct pass {
	struct lane *lane;
	struct dsm_region *region;
};

static int publish_run(void *argument, size_t first, size_t count)
{
	struct pass *pass = argument;

	pages_lock(&pass->region->table, first, count);
	int error = publish_dirty(pass->lane, pass->region, first, count);
	pages_unlock(&pass->region->table, first, count);
	return error;
}

/* Home pages that were stored to, and are write-protected again: their bytes are the master. No lock is
 * needed, for nothing that this node knows of the pages changes. */
static int publish_home_batch(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	struct batch batch;
	int error = 0;

	begin_batch(&batch, lane, r, first, count);
	for (size_t i = 0; i < count && !error; i++) {
		error = post_versions(&batch, first + i, 1, batch.old + i);
		note_change(&batch, first + i);
	}
	error = end_batch(&batch, error);
	stats_add(&lane->stats.pages_published, count);
	stats_add(&lane->stats.blocks_published, count);
	return error;
}

static int publish_home_run(void *argument, size_t first, size_t count)
{
	struct pass *pass = argument;
	int error = 0;

	for (size_t done = 0, some; done < count && !error; done += some) {
		some = count - done < PASS_PAGES_MAX ? count - done : PASS_PAGES_MAX;
		error = publish_home_batch(pass->lane, pass->region, first + done, some);
	}
	return error;
}

int publish_region(struct lane *lane, struct dsm_region *r)
{
	struct pass pass = {lane, r};
	int error = home_writes_scan(r, publish_home_run, &pass);

	if (!error)
		error = page_set_take(&r->dirty, PASS_PAGES_MAX, publish_run, &pass);
	if (!error)
		home_writes_adapt(r);
	return error;
}

int publish_before_unmap(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++)
		r->table.pages[page].flags &= (uint8_t)~PAGE_HOT; /* protected like the others */
	return publish_dirty(lane, r, first, count);
}

/* Those of the blocks of a page that lie in [@first, @end), by number in the region. */
static uint64_t blocks_of_page(const struct dsm_region *r, size_t page, size_t first, size_t end)
{
	uint64_t bits = 0;

	for (unsigned b = 0; b < r->blocks_per_page; b++) {
		size_t block = page * r->blocks_per_page + b;
		bits |= (uint64_t)(block >= first && block < end) << b;
	}
	return bits;
}

static int renew_batch(struct lane *lane, struct dsm_region *r, size_t page, size_t count, size_t first_block,
		       size_t end_block)
{
	struct batch batch;
	int error = 0;

	begin_batch(&batch, lane, r, page, count);
	for (size_t i = 0; i < count && !error; i++) {
		error = post_versions(&batch, page + i, blocks_of_page(r, page + i, first_block, end_block),
				      batch.old + i * r->blocks_per_page);
		note_change(&batch, page + i);
	}
	return end_batch(&batch, error);
}

int publish_renewed(struct lane *lane, struct dsm_region *r, size_t offset, size_t bytes)
{
	size_t first_block = offset >> r->block_shift,
	       end_block = ((offset + bytes - 1) >> r->block_shift) + 1;
	size_t end = (end_block - 1) / r->blocks_per_page + 1;
	int error = 0;

	for (size_t page = first_block / r->blocks_per_page, next; page < end && !error; page = next) {
		next = home_run_end(&r->home, page);
		next = next < end ? next : end;
		next = next - page < pages_per_batch(r) ? next : page + pages_per_batch(r);
		error = renew_batch(lane, r, page, next - page, first_block, end_block);
	}
	return error;
}
