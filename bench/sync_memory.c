/*
 * The cases about memory: acquiring, publishing, the first store of an interval, and the diff.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"
#include "dsm/diff.h"
#include "dsm/page_table.h"
#include "kernel/memory.h"

/* Where in page @page the line is that changes. */
static char *line_of(const struct bench *b, size_t page)
{
	return bench_page(b, page) + page % (4096 / SYNC_LINE_BYTES) * SYNC_LINE_BYTES;
}

static void release(const struct bench *b)
{
	require(b, dsm_release(), "dsm_release()");
}

static void acquire(struct bench *b)
{
	require(b, dsm_acquire(), "dsm_acquire()");
}

static void prefetch(const struct bench *b, size_t page, size_t count, bool for_write)
{
	require(b, dsm_prefetch(bench_page(b, page), count * b->row->page_bytes, for_write),
		"dsm_prefetch()");
}

/* --- acquire_nothing ----------------------------------------------------------------------------------- */

/* Pages all over the region are published by their home and mapped on node 0. */
static void open_acquire_nothing(struct bench *b)
{
	size_t step = bench_pages(b) / b->row->touched;

	for (size_t i = 0; i < b->row->touched && b->job->node == b->peer; i++)
		bench_flip_line(bench_page(b, i * step));
	if (b->job->node == b->peer)
		release(b);
	job_meet();
	acquire(b);
	for (size_t i = 0; i < b->row->touched && b->job->node == 0; i++)
		expect(b, "a word", *(volatile uint64_t *)(void *)bench_page(b, i * step), UINT64_MAX);
}

const struct operations acquire_nothing = {
    .who = NODE_0,
    .open = open_acquire_nothing,
    .calls = 16,
    .runtime = acquire,
    .rdma = sync_rdma_read_all,
};

/* --- acquire_changed ----------------------------------------------------------------------------------- */

#define ACQUIRES_PER_ROUND 16

struct changing {
	char *floor; /* of as many pages, which nobody watches */
	size_t bytes;
	uint64_t value;
	uint64_t exact, surplus; /* acquires that un-mapped what had changed, and that un-mapped more */
};

static size_t stride(const struct bench *b)
{
	return b->row->variant == SCATTERED ? 2 : 1;
}

static void open_acquire_changed(struct bench *b)
{
	struct changing *c = bench_allocate(sizeof *c);
	size_t page_bytes = b->row->page_bytes;
	void *memory = NULL;

	b->state = c;
	if (b->job->node == 0) {
		c->bytes = (size_t)b->row->changed * stride(b) * page_bytes;
		int fd = memory_file_create("floor", c->bytes, page_bytes);
		require(b, fd < 0 ? fd : memory_map(fd, c->bytes, NULL, &memory), "memory for the baseline");
		require(b, memory_allocate(fd, 0, c->bytes), "memory for the baseline");
		close(fd);
		c->floor = memory;
		prefetch(b, 0, bench_pages(b), false);
	}
}

static void close_acquire_changed(struct bench *b)
{
	struct changing *c = b->state;

	if (c->floor)
		munmap(c->floor, c->bytes);
	free(c);
}

/* At home. */
static void change_pages(struct bench *b, const struct changing *c)
{
	for (size_t i = 0; i < b->row->changed; i++)
		*(volatile uint64_t *)(void *)line_of(b, i * stride(b)) = c->value;
	release(b);
}

/*
 * The home may publish a whole part of the region once, when it begins to find stores in another way, or ends
 * to. Such an acquire is no sample; but it must be an exception.
 */
static bool changed_exactly(const struct bench *b, struct changing *c, uint64_t unmapped)
{
	bool exact = unmapped == b->row->changed;

	if (unmapped < b->row->changed)
		expect(b, "pages un-mapped", unmapped, b->row->changed);
	c->exact += exact;
	c->surplus += !exact;
	if (c->surplus > c->exact + ACQUIRES_PER_ROUND)
		expect(b, "acquires that un-mapped what had not changed", c->surplus, 0);
	return exact;
}

/* Fetches what was un-mapped, and checks it. */
static void fetch_changed(const struct bench *b, const struct changing *c)
{
	prefetch(b, 0, bench_pages(b), false);
	for (size_t i = 0; i < b->row->changed; i++)
		expect(b, "a word", *(volatile uint64_t *)(void *)line_of(b, i * stride(b)), c->value);
}

/* The same pages of plain memory are taken out of sight; over RDMA, after two looks at their home: at where
 * its log ends, and at what it says. */
static uint64_t time_madvise(struct bench *b, const struct changing *c)
{
	size_t page_bytes = b->row->page_bytes, step = stride(b) * page_bytes;

	for (size_t i = 0; i < c->bytes; i += page_bytes)
		(void)*(volatile char *)(c->floor + i);
	uint64_t before = timer_now_ns();
	for (unsigned int i = 0; i < 2 && b->rdma; i++)
		sync_rdma_read(b);
	if (stride(b) == 1)
		madvise(c->floor, c->bytes, MADV_DONTNEED);
	else
		for (size_t i = 0; i < c->bytes; i += step)
			madvise(c->floor + i, page_bytes, MADV_DONTNEED);
	return timer_now_ns() - before;
}

static void acquire_and_fetch(struct bench *b, struct changing *c)
{
	uint64_t unmapped = bench_stats(b).pages_invalidated, before = timer_now_ns();

	acquire(b);
	uint64_t ns = timer_now_ns() - before;
	unmapped = bench_stats(b).pages_invalidated - unmapped;
	if (changed_exactly(b, c, unmapped))
		bench_sample(b, RUNTIME, ns);
	fetch_changed(b, c);
	bench_sample(b, BASELINE, time_madvise(b, c));
}

static void round_acquire_changed(struct bench *b)
{
	struct changing *c = b->state;

	for (unsigned int i = 0; i < ACQUIRES_PER_ROUND && bench_is_of_pair(b); i++) {
		c->value++;
		if (b->job->node)
			change_pages(b, c);
		bench_pair_meets(b);
		if (b->job->node == 0)
			acquire_and_fetch(b, c);
		bench_pair_meets(b);
	}
}

const struct operations acquire_changed = {
    .who = PAIR,
    .open = open_acquire_changed,
    .close = close_acquire_changed,
    .round = round_acquire_changed,
};

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
		bench_flip_line(line_of(b, page));
		if (b->row->home == HOME_HERE)
			release(b);
	}
	release(b);
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
		release(b);
		release(b);
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
	prefetch(b, 0, bench_pages(b), false);
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

/* Their twins and they, or the bytes that go to the home. The buffers are equal: all of them is read. Over
 * RDMA, the requests. */
static uint64_t time_publish_floor(const struct bench *b, struct turns *t)
{
	size_t bytes = b->row->changed * b->row->page_bytes, at = take_turn(b, t, b->row->changed);
	uint64_t before = timer_now_ns();

	if (b->rdma)
		sync_rdma_publish(b);
	else if (b->row->id == PUBLISH_PAGE)
		memcpy(t->before + at, t->now + at, bytes);
	else
		expect(b, "memcmp", (uint64_t)memcmp(t->before + at, t->now + at, bytes), 0);
	return timer_now_ns() - before;
}

static void change(const struct bench *b, size_t page)
{
	if (b->row->id == PUBLISH_PAGE)
		for (size_t i = 0; i < b->row->page_bytes; i += SYNC_LINE_BYTES)
			bench_flip_line(bench_page(b, page) + i);
	else
		bench_flip_line(line_of(b, page));
}

static void publish_pages(struct bench *b, struct turns *t, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		change(b, first + i);
	uint64_t before = timer_now_ns();
	release(b);
	bench_sample(b, RUNTIME, timer_now_ns() - before);
	if (b->row->baseline)
		bench_sample(b, BASELINE, time_publish_floor(b, t));
}

/* @pages were published since @before, each in an interval of its own. */
static void check_published(const struct bench *b, const struct dsm_stats *before, uint64_t pages,
			    uint64_t faults)
{
	struct dsm_stats now = bench_stats(b);
	uint64_t bytes = b->row->id == PUBLISH_PAGE ? b->row->page_bytes : SYNC_LINE_BYTES;

	expect(b, "pages published", now.pages_published - before->pages_published, pages);
	expect(b, "bytes published", now.bytes_published - before->bytes_published,
	       b->row->home == HOME_HERE ? 0 : pages * bytes);
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
	bench_sample(b, RUNTIME, time_store(line_of(b, page)));
	release(b);
	require(b, dsm_invalidate(bench_page(b, page), b->row->page_bytes), "dsm_invalidate()");
	prefetch(b, page, 1, false);
	bench_sample(b, BASELINE, time_store(line_of(b, page)));
	release(b);
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
		bench_sample(b, RUNTIME, time_store(line_of(b, 0)));
		bench_sample(b, BASELINE, time_store(t->now));
		release(b);
	}
	expect(b, "faults", bench_stats(b).faults - before.faults, 0);
}

const struct operations store_hot = {
    .who = NODE_0,
    .open = open_turns,
    .close = close_turns,
    .round = round_store_hot,
};

/* --- diff ---------------------------------------------------------------------------------------------- */

/* Small pages are compared in a cache, as after the stores to them; large ones are more than one holds. */
#define DIFF_PAIRS 8

struct pairs {
	unsigned char *now, *before;
	size_t next, differ; /* where a line does; beyond the end: nowhere */
};

static void open_diff(struct bench *b)
{
	struct pairs *p = bench_allocate(sizeof *p);
	size_t bytes = b->row->page_bytes;
	bool small = bytes == 4 * KIB;

	p->now = bench_allocate(DIFF_PAIRS * bytes);
	p->before = bench_allocate(DIFF_PAIRS * bytes);
	p->differ = b->row->changed ? bytes / 2 : bytes;
	for (size_t i = 0; i < DIFF_PAIRS && b->row->changed; i++)
		memset(p->now + i * bytes + p->differ, 1, SYNC_LINE_BYTES);
	b->calls = small ? 16 : 1;
	b->state = p;
}

static void close_diff(struct bench *b)
{
	struct pairs *p = b->state;

	free(p->now);
	free(p->before);
	free(p);
}

static size_t next_pair(const struct bench *b, struct pairs *p)
{
	p->next = (p->next + 1) % DIFF_PAIRS;
	return p->next * b->row->page_bytes;
}

static void compare_by_diff(struct bench *b)
{
	struct pairs *p = b->state;
	size_t pair = next_pair(b, p), start, end, changed = 0;
	struct diff diff = diff_begin(p->now + pair, p->before + pair, b->row->page_bytes);

	while (diff_run(&diff, &start, &end))
		changed += end - start;
	expect(b, "bytes that differ", changed, b->row->changed * SYNC_LINE_BYTES);
}

/* What is before the line that differs, and what comes after. */
static void compare_by_memcmp(struct bench *b)
{
	struct pairs *p = b->state;
	size_t pair = next_pair(b, p), bytes = b->row->page_bytes, after = p->differ + SYNC_LINE_BYTES;
	int order = memcmp(p->now + pair, p->before + pair, p->differ);

	if (after < bytes)
		order |= memcmp(p->now + pair + after, p->before + pair + after, bytes - after);
	expect(b, "memcmp", (uint64_t)order, 0);
}

const struct operations diff_pages = {
    .who = NODE_0,
    .open = open_diff,
    .close = close_diff,
    .runtime = compare_by_diff,
    .baseline = compare_by_memcmp,
};
