/*
 * The cases about false sharing: every node stores to a word of its own, and what differs is whether the
 * words lie in one page. The baseline is the same with cache lines in the place of pages, by processes on the
 * same cores.
 */
#include <sched.h>
#include <stdlib.h>

#include <mpi.h>

#include "bench/sync_bench.h"
#include "kernel/memory.h"

/* In which pages are fetched that nobody has had, and become hot that stay so. */
#define WARM_UP 16

/* Looks at a word before another process gets the processor. */
#define SPINS 1000

struct sharing {
	uint64_t intervals; /* that this node has begun */
	uint64_t warmed_up; /* how many of them are not counted */
	struct dsm_stats before;
};

static bool shares_a_page(const struct bench *b)
{
	return b->row->variant == ONE_PAGE;
}

/* --- words --------------------------------------------------------------------------------------------- */

/* A line for each node, as long as there are enough of them in a page of 4 KiB. */
static volatile uint64_t *word_of(const struct bench *b, int node)
{
	size_t apart = b->job->nodes > 64 ? sizeof(uint64_t) : SYNC_LINE_BYTES;
	char *at = shares_a_page(b) ? b->base + (size_t)node * apart : bench_page(b, (size_t)node);

	return (volatile uint64_t *)(void *)at;
}

/* Every byte differs from that of the interval before. */
static uint64_t value_of(uint64_t interval)
{
	return interval * UINT64_C(0x0101010101010101);
}

static void store(const struct bench *b)
{
	struct sharing *s = b->state;

	*word_of(b, b->job->node) = value_of(++s->intervals);
}

/* Behind all words. */
static dsm_mutex *mutex_of(const struct bench *b)
{
	return (dsm_mutex *)(void *)bench_page(b, (size_t)b->job->nodes);
}

/* --- an interval --------------------------------------------------------------------------------------- */

static void store_and_pass(struct bench *b)
{
	store(b);
	bench_pass_barrier(b);
}

static void lock_and_store(struct bench *b)
{
	require(b, dsm_lock(mutex_of(b)), "dsm_lock()");
	store(b);
	require(b, dsm_unlock(mutex_of(b)), "dsm_unlock()");
}

/* Of lines that the nodes of a host share: eight words in a line, or one. */
static void plain_store(const struct bench *b)
{
	volatile uint64_t *words = &b->shared->lines[0].words[0];
	size_t apart = shares_a_page(b) ? 1 : SYNC_LINE_BYTES / sizeof *words;

	words[(size_t)b->job->node * apart]++;
}

static void plain_store_and_pass(struct bench *b)
{
	plain_store(b);
	MPI_Barrier(MPI_COMM_WORLD);
}

/* The lock goes around: one that is free for all would be had a hundred times in a row by who comes first,
 * and no line would move. With fewer cores than nodes, whose turn it is may not be running. */
static void plain_take_turns(struct bench *b)
{
	uint64_t *turn = &b->shared->turn, nodes = (uint64_t)b->job->nodes, mine = (uint64_t)b->job->node;

	for (unsigned int spin = 1; __atomic_load_n(turn, __ATOMIC_ACQUIRE) % nodes != mine; spin++)
		if (spin % SPINS == 0)
			sched_yield();
	plain_store(b);
	__atomic_fetch_add(turn, 1, __ATOMIC_RELEASE);
}

/* --- what the runtime must have done ------------------------------------------------------------------- */

static void open_sharing(struct bench *b)
{
	struct sharing *s = bench_allocate(sizeof *s);

	b->state = s;
	job_meet();
	while (s->intervals < WARM_UP)
		b->operations->runtime(b);
	job_meet();
	s->warmed_up = s->intervals;
	s->before = bench_stats(b);
}

/* What is published is known to the byte. What is fetched is not: under a lock, a node may have its turn
 * twice in a row; and who comes late to a barrier may see what others have published since, and then finds
 * nothing new in the next. */
static void check_counts(const struct bench *b, uint64_t intervals, const struct sync_counts *counts)
{
	/* Of the page that it stores to. */
	bool is_home = b->job->node == 0 || b->row->variant == PAGE_AT_HOME;
	uint64_t block_bytes = b->row->page_bytes > 4 * KIB ? b->row->page_bytes / 64 : b->row->page_bytes;
	uint64_t most = is_home || !shares_a_page(b) ? 0 : intervals * block_bytes;
	uint64_t least = b->row->id == FALSE_SHARING ? most / 2 : 0;

	expect(b, "pages published", counts->pages_published, intervals);
	expect(b, "bytes published", counts->bytes_published, is_home ? 0 : intervals * sizeof(uint64_t));
	if (counts->faults > intervals)
		expect(b, "faults", counts->faults, intervals);
	if (counts->bytes_fetched > most || counts->bytes_fetched < least)
		expect(b, "bytes fetched", counts->bytes_fetched, most);
}

static void check_words(struct bench *b, uint64_t intervals)
{
	bench_pass_barrier(b); /* where a lock was all */
	for (int node = 0; node < b->job->nodes; node++)
		expect(b, "a word", *word_of(b, node), value_of(intervals));
}

static void close_sharing(struct bench *b)
{
	struct sharing *s = b->state;
	uint64_t intervals = s->intervals - s->warmed_up;
	struct dsm_stats now = bench_stats(b);
	struct sync_counts counts = bench_counts_between(&s->before, &now);

	check_counts(b, intervals, &counts);
	bench_count(b, &counts, intervals);
	check_words(b, s->intervals);
	job_meet();
	free(s);
}

const struct operations false_sharing = {
    .who = ALL_NODES,
    .open = open_sharing,
    .close = close_sharing,
    .calls = 16,
    .runtime = store_and_pass,
    .baseline = plain_store_and_pass,
    .baseline_is_shared = true,
};

const struct operations false_sharing_lock = {
    .who = ALL_NODES,
    .open = open_sharing,
    .close = close_sharing,
    .calls = 16,
    .runtime = lock_and_store,
    .baseline = plain_take_turns,
    .baseline_is_shared = true,
};
