/*
 * The cases about invalidation storms: pages that all nodes have mapped are stored to, a barrier takes them
 * out of everybody's sight, and everybody reads them again. One node writes, or each a part.
 *
 * The baseline of the first is floor.c's: each node takes as many pages out of sight, copies them and maps
 * them again, between two MPI_Barriers; that of the second, and over RDMA of both, is one collective call of
 * MPI that moves as many bytes into memory that stays mapped.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>

#include "bench/floor.h"
#include "bench/floor_source.h"
#include "bench/pattern.h"
#include "bench/placement.h"
#include "bench/sync_bench.h"
#include "dsm/settings.h"
#include "kernel/memory.h"

/* Storms of the first round, which are not counted: pages are fetched that nobody has had, and the home
 * learns that they are stored to in bulk; and of each other round, so that a row has some samples however
 * long one takes. */
#define WARM_UP 4
#define STORMS 4

/* Neighbours that are stored to so many at a time may be presumed changed. */
#define PRESUMED_PAGES 128

struct storm {
	uint64_t generation; /* of what was written, on both sides */
	uint64_t log_entries;
	int64_t
	    mapped; /* pages that faulted since the first storm that counts, less those that were un-mapped */
	size_t window_pages; /* that the floor maps at once; 1: it faults on each */
	struct floor *floor; /* NULL: the baseline is MPI's */
	char *memory;	     /* which is then moved: the pages that change, side by side */
};

static bool all_write(const struct bench *b)
{
	return b->row->id == STORM_ALL;
}

/* --- words --------------------------------------------------------------------------------------------- */

/* Pages are numbered without those between them that nobody uses. */
static size_t pages(const struct bench *b)
{
	return b->row->changed * (all_write(b) ? (size_t)b->job->nodes : 1);
}

static bool is_mine(const struct bench *b, size_t page)
{
	return b->job->node == (all_write(b) ? (int)(page / b->row->changed) : 0);
}

/* Every block changes, so that all of the page is moved. */
static size_t blocks(const struct bench *b)
{
	return b->row->page_bytes > 4 * KIB ? 64 : 1;
}

/* Memory in which the pages lie @stride apart. */
struct place {
	char *base;
	size_t stride;
};

static volatile uint64_t *word_of(const struct bench *b, struct place place, size_t page, size_t block)
{
	size_t line = page % (4096 / SYNC_LINE_BYTES);

	return (volatile uint64_t *)(void *)(place.base + page * place.stride * b->row->page_bytes +
					     block * (b->row->page_bytes / blocks(b)) +
					     line * SYNC_LINE_BYTES);
}

static uint64_t value_of(const struct bench *b, size_t page, size_t block)
{
	const struct storm *s = b->state;

	return s->generation << 32 | page << 8 | block;
}

static void write_mine(const struct bench *b, struct place place)
{
	for (size_t page = 0; page < pages(b); page++)
		for (size_t block = 0; is_mine(b, page) && block < blocks(b); block++)
			*word_of(b, place, page, block) = value_of(b, page, block);
}

/* The first @count blocks of each page that others wrote. */
static void read_others(const struct bench *b, struct place place, size_t count)
{
	for (size_t page = 0; page < pages(b); page++)
		for (size_t block = 0; !is_mine(b, page) && block < count; block++)
			expect(b, "a word", *word_of(b, place, page, block), value_of(b, page, block));
}

/* --- a storm ------------------------------------------------------------------------------------------- */

/* Twice: who has fallen asleep over the other's stores is awake the second time. */
static void all_meet_awake(void)
{
	bench_all_meet();
	bench_all_meet();
}

/*
 * Whether the home may presume its pages changed, and publish them again by the next barrier
 * (dsm/home_writes.h). When another node un-maps them for that differs: it may hear of both at once.
 */
static bool may_be_presumed(const struct bench *b)
{
	return b->row->page_bytes == 4 * KIB && bench_stride(b) == 1 && b->row->changed >= PRESUMED_PAGES;
}

/* What is mapped must be un-mapped before it faults again: each storm, or, if it may be presumed, in the long
 * run. */
static void check_mapped(const struct bench *b, uint64_t others, uint64_t faulted, uint64_t unmapped)
{
	struct storm *s = b->state;

	if (!may_be_presumed(b))
		expect(b, "pages un-mapped", unmapped, others);
	s->mapped += (int64_t)(faulted - unmapped);
	require(b, s->mapped < -(int64_t)others || s->mapped > (int64_t)others,
		"more or fewer pages were un-mapped than had faulted");
}

static void check_storm(const struct bench *b, const struct dsm_stats *before, const struct dsm_stats *now)
{
	const struct storm *s = b->state;
	uint64_t others = all_write(b) ? pages(b) - b->row->changed : b->job->node ? pages(b) : 0;
	uint64_t ahead = now->pages_read_ahead - before->pages_read_ahead;
	uint64_t faulted = now->faults - before->faults + ahead;
	bool overflow = b->row->variant == LOG_OVERFLOW && b->row->changed > s->log_entries && others;

	check_mapped(b, others, faulted, now->pages_invalidated - before->pages_invalidated);
	expect(b, "faults, and pages read ahead", faulted, others);
	expect(b, "bytes fetched", now->bytes_fetched - before->bytes_fetched, others * b->row->page_bytes);
	if (b->row->variant != READAHEAD)
		expect(b, "pages read ahead", ahead, 0);
	if (overflow || b->row->changed <= s->log_entries)
		expect(b, "logs that overflowed", now->log_overflows - before->log_overflows, overflow);
}

static void rage(struct bench *b)
{
	struct storm *s = b->state;
	const struct place place = {b->base, bench_stride(b)};

	s->generation++;
	write_mine(b, place);
	all_meet_awake();
	struct dsm_stats before = bench_stats(b);
	uint64_t began_ns = timer_now_ns();
	bench_pass_barrier(b);
	read_others(b, place, 1);
	bench_pass_barrier(b);
	uint64_t ns = timer_now_ns() - began_ns;
	struct dsm_stats now = bench_stats(b);
	if (blocks(b) > 1)
		read_others(b, place, blocks(b));
	bench_all_meet(); /* nobody stores to what others still look at */
	if (!b->round)
		return;
	struct sync_counts counts = bench_counts_between(&before, &now);
	check_storm(b, &before, &now);
	bench_count(b, &counts, 1);
	if (b->job->node == 0)
		bench_sample(b, RUNTIME, ns);
}

/* --- the baselines ------------------------------------------------------------------------------------- */

static void map_again(const struct bench *b)
{
	const struct storm *s = b->state;
	size_t step = bench_stride(b), end = pages(b) * step, at_once = step > 1 ? 1 : end;

	for (size_t page = 0; page<end; page += step> 1 ? step : at_once)
		require(b, floor_unmap(s->floor, page, at_once), "floor: cannot un-map pages");
	for (size_t page = 0; s->window_pages > 1 && page < end; page += s->window_pages) {
		size_t left = end - page;
		require(b, floor_prefetch(s->floor, page, left < s->window_pages ? left : s->window_pages),
			"floor: cannot copy and map pages");
	}
	read_others(b, (struct place){floor_base(s->floor), step}, 1);
}

static void rage_by_floor(const struct bench *b)
{
	MPI_Barrier(MPI_COMM_WORLD);
	if (b->job->node)
		map_again(b);
	MPI_Barrier(MPI_COMM_WORLD);
}

static void rage_by_mpi(const struct bench *b)
{
	const struct storm *s = b->state;
	int bytes = (int)(b->row->changed * b->row->page_bytes);

	if (all_write(b))
		MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, s->memory, bytes, MPI_BYTE, MPI_COMM_WORLD);
	else
		MPI_Bcast(s->memory, bytes, MPI_BYTE, 0, MPI_COMM_WORLD);
	read_others(b, (struct place){s->memory, 1}, 1);
	MPI_Barrier(MPI_COMM_WORLD);
}

static void rage_plainly(struct bench *b)
{
	struct storm *s = b->state;
	bool faults = s->floor && s->window_pages == 1;

	write_mine(b, s->floor ? (struct place){floor_alias(s->floor), bench_stride(b)}
			       : (struct place){s->memory, 1});
	if (faults)
		require(b, floor_listen(s->floor), "floor: cannot take faults");
	all_meet_awake();
	uint64_t began_ns = timer_now_ns();
	if (s->floor)
		rage_by_floor(b);
	else
		rage_by_mpi(b);
	if (b->job->node == 0)
		bench_sample(b, BASELINE, timer_now_ns() - began_ns);
	if (faults)
		floor_deafen(s->floor);
}

/* --- a row --------------------------------------------------------------------------------------------- */

static void read_settings(const struct bench *b, struct storm *s)
{
	struct settings settings;
	char error[256];

	require(b, settings_parse(environ, &settings, error, sizeof error), "settings");
	s->log_entries = settings.log_entries;
	s->window_pages = settings.readahead_bytes / b->row->page_bytes;
	if (b->row->variant != READAHEAD || !s->window_pages)
		s->window_pages = 1;
}

static struct floor *open_floor(const struct bench *b)
{
	static const unsigned int work = FLOOR_COPY | FLOOR_MAP;
	const struct pattern whole = {.page_bytes = b->row->page_bytes, .blocks = 1, .changed = 1};
	const struct floor_options options = {
	    .page_bytes = b->row->page_bytes,
	    .pages = bench_pages(b),
	    .delivery = FLOOR_INLINE,
	    .topology = b->placement->topology,
	    .handler_pu = b->placement->handler_pu,
	};
	struct floor *floor;

	require(b, floor_create(&options, &floor), "floor: cannot make memory with userfaultfd");
	require(b, floor_allocate(floor, 0, options.pages), "floor: cannot allocate pages");
	floor_set_work(floor, work, &whole);
	job_meet();
	floor_source_attach(b->job, floor);
	return floor;
}

static void open_storm(struct bench *b)
{
	struct storm *s = bench_allocate(sizeof *s);

	b->state = s;
	read_settings(b, s);
	if (all_write(b) || !b->shared || b->rdma)
		s->memory = bench_allocate(b->row->region_bytes);
	else
		s->floor = open_floor(b);
}

static void close_storm(struct bench *b)
{
	struct storm *s = b->state;

	job_meet();
	if (s->floor)
		floor_destroy(s->floor);
	free(s->memory);
	free(s);
}

static void round_storm(struct bench *b)
{
	for (unsigned int i = 0; i < WARM_UP && !b->round; i++)
		rage(b);
	for (unsigned int i = 0; i < STORMS && b->round; i++) {
		rage(b);
		rage_plainly(b);
	}
}

const struct operations storm = {
    .who = ALL_NODES,
    .open = open_storm,
    .close = close_storm,
    .round = round_storm,
};
