/*
 * The cases about publishing, and about the first store of an interval.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"
#include "dsm/page_table.h"
#include "kernel/memory.h"

/* --- pages that are stored to in turn ------------------------------------------------------------------ */

/*
 * A page of one block of another home that is published again and again becomes hot: it stays writable, and
 * its first store does not fault (page_table.h). Cold pages are had by making all hot and leaving them alone
 * for two releases: then they are cold, and stay so for HABIT_HOT - HABIT_COOLED intervals. Whether they
 * were, the statistics tell.
 */
struct turns {
	unsigned int cold_left; /* intervals of each page */
	char *now, *before;	/* of the baseline, as large as the region each */
	size_t next;		/* of their pages */
};

static bool becomes_hot(const struct bench *b)
{
	return b->has_hot_pages && b->row->page_bytes == 4 * KIB && b->row->home == HOME_THERE;
}

/* At home one by one: pages that are changed in bulk there may have their stores found without faults. */
static void flip_all(const struct bench *b, size_t pages)
{
	for (size_t page = 0; page < pages; page++) {
		bench_flip_line(bench_line(b, page));
		if (b->row->home == HOME_HERE)
			bench_release(b);
	}
	bench_release(b);
}

static void heat(const struct bench *b, size_t pages)
{
	uint64_t faults;
	unsigned int interval = 0;

	do {
		faults = bench_stats(b).faults;
		flip_all(b, pages);
		faults = bench_stats(b).faults - faults;
	} while (faults && ++interval < 2 * (HABIT_HOT - HABIT_COOLED));
	expect(b, "faults on pages that should be hot", faults, 0);
}

/* Sees to it that no page becomes hot in the next @intervals. */
static void keep_cold(const struct bench *b, struct turns *t, unsigned int intervals)
{
	if (!becomes_hot(b))
		return;
	if (t->cold_left < intervals) {
		heat(b, bench_pages(b));
		bench_release(b);
		bench_release(b);
		t->cold_left = HABIT_HOT - HABIT_COOLED;
	}
	t->cold_left -= intervals;
}

static void open_turns(struct bench *b)
{
	struct turns *t = bench_allocate(sizeof *t);

	b->state = t;
	if (b->job->node)
		return;
	t->now = bench_allocate(b->row->region_bytes);
	t->before = bench_allocate(b->row->region_bytes);
	bench_prefetch(b, 0, bench_pages(b), false);
	flip_all(b, bench_pages(b)); /* for twins, and for memory under them */
}

static void close_turns(struct bench *b)
{
	struct turns *t = b->state;

	free(t->now);
	free(t->before);
	free(t);
}

/* The next @count pages of the baseline. */
static size_t take_turn(const struct bench *b, struct turns *t, size_t count)
{
	size_t page = t->next;

	t->next = (t->next + count) % bench_pages(b);
	return page * b->row->page_bytes;
}

/* --- publish_* ----------------------------------------------------------------------------------------- */

/* Of a page, what the baseline copies: the bytes that go to the home, where they are more than a line or the
 * case is about them. The rest it compares. */
static size_t copied_bytes(const struct bench *b)
{
	return b->row->id == PUBLISH_PAGE || b->row->id == PUBLISH_BYTES ? b->row->changed_bytes : 0;
}

/* Their twins and they, and the bytes that go to the home. The buffers are equal: all of them is read. Over
 * RDMA, the requests. */
static uint64_t time_publish_floor(const struct bench *b, struct turns *t)
{
	size_t bytes = b->row->changed * b->row->page_bytes, at = take_turn(b, t, b->row->changed);
	size_t copied = copied_bytes(b);
	uint64_t before = timer_now_ns();

	if (b->rdma) {
		sync_rdma_publish(b);
		return timer_now_ns() - before;
	}
	memcpy(t->before + at, t->now + at, copied);
	at += copied;
	expect(b, "memcmp", (uint64_t)memcmp(t->before + at, t->now + at, bytes - copied), 0);
	return timer_now_ns() - before;
}

/* Not at the same place of all pages. */
static void change(const struct bench *b, size_t page)
{
	size_t bytes = b->row->changed_bytes, step = bytes < SYNC_LINE_BYTES ? SYNC_LINE_BYTES : bytes;
	size_t places = step < 4096 ? 4096 / step : 1;

	bench_flip(bench_page(b, page) + page % places * step, bytes);
}

static void publish_pages(struct bench *b, struct turns *t, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		change(b, first + i);
	uint64_t before = timer_now_ns();
	bench_release(b);
	bench_sample(b, RUNTIME, timer_now_ns() - before);
	if (b->row->baseline)
		bench_sample(b, BASELINE, time_publish_floor(b, t));
}

/* @pages were published since @before, each in an interval of its own. */
static void check_published(const struct bench *b, const struct dsm_stats *before, uint64_t pages,
			    uint64_t faults)
{
	struct dsm_stats now = bench_stats(b);

	expect(b, "pages published", now.pages_published - before->pages_published, pages);
	expect(b, "bytes published", now.bytes_published - before->bytes_published,
	       b->row->home == HOME_HERE ? 0 : pages * b->row->changed_bytes);
	expect(b, "faults", now.faults - before->faults, faults);
}

static void round_publish(struct bench *b)
{
	struct turns *t = b->state;
	size_t pages = bench_pages(b);

	if (b->job->node)
		return;
	keep_cold(b, t, 1);
	struct dsm_stats before = bench_stats(b);
	for (size_t page = 0; page < pages; page += b->row->changed)
		publish_pages(b, t, page, b->row->changed);
	check_published(b, &before, pages, pages);
}

const struct operations publish = {
    .who = NODE_0,
    .open = open_turns,
    .close = close_turns,
    .round = round_publish,
};

#define HOT_SAMPLES 256

/* One page only: each release looks at all that are hot. */
static void round_publish_hot(struct bench *b)
{
	if (b->job->node)
		return;
	heat(b, 1);
	struct dsm_stats before = bench_stats(b);
	for (unsigned int i = 0; i < HOT_SAMPLES; i++)
		publish_pages(b, b->state, 0, 1);
	check_published(b, &before, HOT_SAMPLES, 0);
}

const struct operations publish_hot = {
    .who = NODE_0,
    .open = open_turns,
    .close = close_turns,
    .round = round_publish_hot,
};

/* --- store_* ------------------------------------------------------------------------------------------- */

static uint64_t time_store(char *at)
{
	volatile uint64_t *word = (volatile uint64_t *)(void *)at;
	uint64_t value = ~*word, before = timer_now_ns();

	*word = value;
	return timer_now_ns() - before;
}

/* First with the twin that the last interval left; then without, for an un-mapped page has none. Both times
 * the page is mapped for reading, and the store faults. */
static void store_twice(struct bench *b, size_t page)
{
	bench_sample(b, RUNTIME, time_store(bench_line(b, page)));
	bench_release(b);
	require(b, dsm_invalidate(bench_page(b, page), b->row->page_bytes), "dsm_invalidate()");
	bench_prefetch(b, page, 1, false);
	bench_sample(b, BASELINE, time_store(bench_line(b, page)));
	bench_release(b);
}

static void round_store_first(struct bench *b)
{
	struct turns *t = b->state;
	size_t pages = bench_pages(b);

	if (b->job->node)
		return;
	keep_cold(b, t, 2);
	struct dsm_stats before = bench_stats(b);
	for (size_t page = 0; page < pages; page++)
		store_twice(b, page);
	struct dsm_stats now = bench_stats(b);
	expect(b, "twins copied", now.twins - before.twins, pages);
	expect(b, "faults of stores", now.faults_upgrade - before.faults_upgrade, 2 * pages);
}

const struct operations store_first = {
    .who = NODE_0,
    .open = open_turns,
    .close = close_turns,
    .round = round_store_first,
};

static void round_store_hot(struct bench *b)
{
	struct turns *t = b->state;

	if (b->job->node)
		return;
	heat(b, 1);
	struct dsm_stats before = bench_stats(b);
	for (unsigned int i = 0; i < HOT_SAMPLES; i++) {
		bench_sample(b, RUNTIME, time_store(bench_line(b, 0)));
		bench_sample(b, BASELINE, time_store(t->now));
		bench_release(b);
	}
	expect(b, "faults", bench_stats(b).faults - before.faults, 0);
}

const struct operations store_hot = {
    .who = NODE_0,
    .open = open_turns,
    .close = close_turns,
    .round = round_store_hot,
};
