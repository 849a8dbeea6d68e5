/*
 * The cases about memory: acquiring, and the diff.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"
#include "dsm/diff.h"
#include "kernel/memory.h"

/* --- acquire_nothing ----------------------------------------------------------------------------------- */

/* Pages all over the region are published by their home and mapped on node 0. */
static void open_acquire_nothing(struct bench *b)
{
	size_t step = bench_pages(b) / b->row->touched;

	for (size_t i = 0; i < b->row->touched && b->job->node == b->peer; i++)
		bench_flip_line(bench_page(b, i * step));
	if (b->job->node == b->peer)
		bench_release(b);
	job_meet();
	bench_acquire(b);
	for (size_t i = 0; i < b->row->touched && b->job->node == 0; i++)
		expect(b, "a word", *(volatile uint64_t *)(void *)bench_page(b, i * step), UINT64_MAX);
}

const struct operations acquire_nothing = {
    .who = NODE_0,
    .open = open_acquire_nothing,
    .calls = 16,
    .runtime = bench_acquire,
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

static void open_acquire_changed(struct bench *b)
{
	struct changing *c = bench_allocate(sizeof *c);
	size_t page_bytes = b->row->page_bytes;
	void *memory = NULL;

	b->state = c;
	if (b->job->node == 0) {
		c->bytes = (size_t)b->row->changed * bench_stride(b) * page_bytes;
		int fd = memory_file_create("floor", c->bytes, page_bytes);
		require(b, fd < 0 ? fd : memory_map(fd, c->bytes, NULL, &memory), "memory for the baseline");
		require(b, memory_allocate(fd, 0, c->bytes), "memory for the baseline");
		close(fd);
		c->floor = memory;
		bench_prefetch(b, 0, bench_pages(b), false);
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
		*(volatile uint64_t *)(void *)bench_line(b, i * bench_stride(b)) = c->value;
	bench_release(b);
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
	bench_prefetch(b, 0, bench_pages(b), false);
	for (size_t i = 0; i < b->row->changed; i++)
		expect(b, "a word", *(volatile uint64_t *)(void *)bench_line(b, i * bench_stride(b)),
		       c->value);
}

/* The same pages of plain memory are taken out of sight; over RDMA, after two looks at their home: at where
 * its log ends, and at what it says. */
static uint64_t time_madvise(struct bench *b, const struct changing *c)
{
	size_t page_bytes = b->row->page_bytes, step = bench_stride(b) * page_bytes;

	for (size_t i = 0; i < c->bytes; i += page_bytes)
		(void)*(volatile char *)(c->floor + i);
	uint64_t before = timer_now_ns();
	for (unsigned int i = 0; i < 2 && b->rdma; i++)
		sync_rdma_read(b);
	if (bench_stride(b) == 1)
		madvise(c->floor, c->bytes, MADV_DONTNEED);
	else
		for (size_t i = 0; i < c->bytes; i += step)
			madvise(c->floor + i, page_bytes, MADV_DONTNEED);
	return timer_now_ns() - before;
}

static void acquire_and_fetch(struct bench *b, struct changing *c)
{
	uint64_t unmapped = bench_stats(b).pages_invalidated, before = timer_now_ns();

	bench_acquire(b);
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
