/*
 * What a single fault after a move costs, by what it has to do, beside the floor: the same fault by the
 * barest code (floor.h). See migration_bench.h.
 *
 * A quarter of a region's pages is stored to, in one block each, as long as rounds of pre-copy go on; then
 * the region is switched, and nothing is brought over in the background. Its other pages are up to date at
 * the destination. With one round, no copy of a large page is kept, and all of a page that was stored to
 * counts as changed; with several, what was sent is compared with what is there, and one block differs.
 */
#include "bench/migration_bench.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/awake.h"
#include "bench/bare_verbs.h"
#include "bench/collect.h"
#include "bench/delivery.h"
#include "bench/floor.h"
#include "bench/floor_source.h"
#include "bench/options.h"
#include "bench/output.h"
#include "bench/pattern.h"
#include "bench/timer.h"
#include "dsm/topology.h"
#include "kernel/memory.h"

/* Pages of the region; of large ones, as many are stored to as copies of pages are kept. */
#define PAGES(page_bytes) ((page_bytes) > 4 * KIB ? (size_t)64 : (size_t)1024)
#define HOT(page_bytes) (PAGES(page_bytes) / 4)
/* Of the floor. */
#define FLOOR_BYTES (64 * MIB)
#define ROUNDS_OF_PRECOPY 6
#define COPY_SAMPLES 5

enum kind { KIND_CURRENT, KIND_PARTIAL, KIND_WHOLE, KIND_FLOOR_CURRENT, KIND_FLOOR_WHOLE, KINDS };

struct series {
	uint64_t *samples;
	size_t count;
};

struct faults {
	struct bench *bench;
	size_t page_bytes, pages, hot;
	size_t floor_pages;
	struct floor *floor;
	struct awake *awake;
	struct series series[KINDS];
	uint64_t copy_ns;

	/* Of a round. */
	dsm_region *region;
	unsigned char *base;
	enum kind stale; /* what a fault on a page that was stored to is */
	uint64_t round;
	sem_t storing;	  /* posted when all pages have been stored to */
	atomic_bool stop; /* storing */
};

size_t fault_costs_pool_bytes(const struct bench *b, size_t page_bytes)
{
	return move_pool_bytes(b, page_bytes, PAGES(page_bytes) * page_bytes) +
	       (page_bytes > 4 * KIB ? FLOOR_BYTES : 0);
}

/* --- pages --------------------------------------------------------------------------------------------- */

/* Every fourth page is stored to. */
static size_t hot_page(const struct faults *f, size_t index)
{
	(void)f;
	return index * 4;
}

static size_t cold_page(const struct faults *f, size_t index)
{
	(void)f;
	return index * 4 + 2;
}

/* The floor's lie apart, too, all over its memory, and in each round they are others than in the one before:
 * no page is had from a cache because it was touched lately. */
static size_t floor_page(const struct faults *f, size_t index)
{
	size_t apart = f->floor_pages / f->hot;

	return index * apart + f->round % apart;
}

/* Where it is stored to: a block of its own. */
static volatile uint64_t *hot_word(const struct faults *f, size_t page)
{
	size_t blocks = f->page_bytes > 4 * KIB ? 64 : 1;
	size_t block = pattern_mix(page) % blocks;

	return (volatile uint64_t *)(void *)(f->base + page * f->page_bytes +
					     block * (f->page_bytes / blocks));
}

static void store_once(const struct faults *f)
{
	for (size_t i = 0; i < f->hot; i++)
		++*hot_word(f, hot_page(f, i));
}

static void *store_on(void *argument)
{
	struct faults *f = argument;

	store_once(f);
	sem_post(&f->storing);
	while (!atomic_load(&f->stop))
		store_once(f);
	return NULL;
}

/* --- the source ---------------------------------------------------------------------------------------- */

static struct dsm_migration_options options_of(const struct faults *f)
{
	return (struct dsm_migration_options){
	    .mode = DSM_MIGRATION_MINOR,
	    .rounds_max = f->stale == KIND_PARTIAL ? ROUNDS_OF_PRECOPY : 1,
	    .enough_bytes = 1, /* never */
	    .no_background = true,
	};
}

/* The floor's as well: what is copied has been written as lately. */
static void write_pages(const struct faults *f)
{
	for (size_t i = 0; i < f->hot; i++) {
		size_t page = floor_page(f, i);
		memset(floor_alias(f->floor) + page * f->page_bytes, (int)page, f->page_bytes);
	}
	for (size_t page = 0; page < f->pages; page++)
		memset(f->base + page * f->page_bytes, (int)page, f->page_bytes);
}

/* No round begins before pages have been stored to: one that found none would be the last. */
static void start_storing(struct faults *f, pthread_t *user)
{
	atomic_store(&f->stop, false);
	bench_require(-pthread_create(user, NULL, store_on, f), "cannot start a thread");
	while (sem_wait(&f->storing))
		; /* a signal */
}

static void run_source(struct faults *f)
{
	struct dsm_migration_options options = options_of(f);
	pthread_t user;

	write_pages(f);
	job_meet();
	bench_require(dsm_migrate_begin(f->region, TARGET, &options), "dsm_migrate_begin()");
	start_storing(f, &user);
	bench_require(dsm_migrate_precopy(f->region), "dsm_migrate_precopy()");
	atomic_store(&f->stop, true);
	pthread_join(user, NULL);
	store_once(f); /* none has stayed as it was sent */
	bench_require(dsm_migrate_switch(f->region, NULL, 0), "dsm_migrate_switch()");
	job_meet(); /* the map is there */
	bench_require(dsm_migrate_finish(f->region), "dsm_migrate_finish()");
}

/* --- the destination ----------------------------------------------------------------------------------- */

static void touch_pages(struct faults *f, enum kind kind, const unsigned char *base,
			size_t (*page_of)(const struct faults *, size_t))
{
	struct series *s = &f->series[kind];
	uint32_t order[HOT(4 * KIB)];

	pattern_permute(order, (uint32_t)f->hot, f->round);
	for (size_t i = 0; i < f->hot; i++) {
		const volatile uint64_t *word =
		    (const volatile uint64_t *)(const void *)(base + page_of(f, order[i]) * f->page_bytes);
		uint64_t begin = timer_now_ns();
		(void)*word;
		s->samples[s->count++] = timer_now_ns() - begin;
	}
}

static void touch_floor(struct faults *f, enum kind kind, unsigned int work)
{
	const struct pattern pattern = {.page_bytes = f->page_bytes, .blocks = 1, .changed = 1};

	bench_require(floor_unmap(f->floor, 0, f->floor_pages), "floor: cannot unmap pages");
	floor_set_work(f->floor, work, &pattern);
	bench_require(floor_listen(f->floor), "floor: cannot take faults");
	touch_pages(f, kind, (const unsigned char *)floor_base(f->floor), floor_page);
	floor_deafen(f->floor);
}

/* The statistics must say what was measured. */
static void check_counts(const struct faults *f, const struct dsm_stats *before)
{
	struct dsm_stats now;

	bench_require(dsm_stats(&now), "dsm_stats()");
	uint64_t current = now.pages_current - before->pages_current;
	uint64_t blocks = now.blocks_fetched - before->blocks_fetched;
	uint64_t of_page = f->page_bytes > 4 * KIB && f->stale == KIND_WHOLE ? 64 : 1;

	if (current != f->hot || blocks != f->hot * of_page)
		job_fail("%zu pages up to date and as many out of date by %" PRIu64
			 " blocks were touched: %" PRIu64 " were mapped as they were, and %" PRIu64
			 " blocks read",
			 f->hot, of_page, current, blocks);
}

static void *touch_all(void *argument)
{
	struct faults *f = argument;
	struct dsm_stats before;

	topology_bind_thread(f->bench->placement.topology, f->bench->placement.pus[0]);
	if (f->bench->delivery != DELIVERY_INLINE)
		awake_start(f->awake, 2); /* the handler's, too: waking its core would hide all else */
	bench_require(dsm_stats(&before), "dsm_stats()");
	touch_pages(f, f->stale, f->base, hot_page);
	if (f->stale == KIND_WHOLE)
		touch_floor(f, KIND_FLOOR_WHOLE, FLOOR_COPY | FLOOR_MAP);
	touch_pages(f, KIND_CURRENT, f->base, cold_page);
	touch_floor(f, KIND_FLOOR_CURRENT, FLOOR_MAP);
	check_counts(f, &before);
	awake_stop(f->awake);
	return NULL;
}

static void run_target(struct faults *f)
{
	struct dsm_migration_options options = options_of(f);
	size_t bytes;
	pthread_t thread;

	job_meet();
	bench_require(dsm_migrate_accept(f->region, SOURCE, &options), "dsm_migrate_accept()");
	bench_require(dsm_migrate_await(f->region, &bytes, sizeof bytes, &bytes), "dsm_migrate_await()");
	job_meet();
	/* Bound, which is not for the threads that the runtime starts next. */
	bench_require(-pthread_create(&thread, NULL, touch_all, f), "cannot start a thread");
	pthread_join(thread, NULL);
	bench_require(dsm_migrate_background(f->region), "dsm_migrate_background()");
	bench_require(dsm_migrate_finish(f->region), "dsm_migrate_finish()");
}

/* --- rounds -------------------------------------------------------------------------------------------- */

static void run_round(struct faults *f, enum kind stale)
{
	f->region = bench_make_region(f->bench, f->page_bytes, f->pages * f->page_bytes);
	f->base = dsm_region_base(f->region);
	f->stale = stale;
	f->round++;
	if (f->bench->job.node == SOURCE)
		run_source(f);
	else if (f->bench->job.node == TARGET)
		run_target(f);
	else {
		job_meet();
		job_meet();
	}
	if (dsm_region_destroy(f->region))
		job_give_up();
}

/* How fast the bytes come without faults. */
static void time_copy(struct faults *f)
{
	uint64_t samples[COPY_SAMPLES];

	for (size_t i = 0; i < COPY_SAMPLES; i++) {
		uint64_t begin = timer_now_ns();
		for (size_t page = 0; page < f->floor_pages; page++)
			bench_require(floor_hold(f->floor, page, 1), "floor: cannot read the home's pages");
		samples[i] = timer_now_ns() - begin;
	}
	f->copy_ns = distribution_of(samples, COPY_SAMPLES).p50_ns;
}

static void open_floor(struct faults *f)
{
	const struct bench *b = f->bench;
	const struct floor_options options = {
	    .page_bytes = f->page_bytes,
	    .pages = f->floor_pages,
	    .delivery = delivery_of_floor(b->delivery),
	    .topology = b->placement.topology,
	    .handler_pu = b->placement.handler_pu,
	    .bare = b->bare,
	};

	bench_require(floor_create(&options, &f->floor),
		      "floor: cannot make memory with userfaultfd (see `minorca info`)");
	bench_require(floor_allocate(f->floor, 0, f->floor_pages), "floor: cannot allocate pages");
	memset(floor_alias(f->floor), 1, f->floor_pages * f->page_bytes);
	if (b->bare)
		floor_expose(f->floor, 0, f->floor_pages);
	else
		floor_source_attach(&b->job, f->floor);
	job_meet();
}

static void begin(struct faults *f, size_t rounds)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		f->series[kind].samples = calloc(2 * rounds * f->hot, sizeof(uint64_t));
		if (!f->series[kind].samples)
			job_fail("out of memory for samples");
	}
	if (sem_init(&f->storing, 0, 0))
		job_fail("no semaphore: %s", strerror(errno));
	const int pus[] = {f->bench->placement.pus[0], f->bench->placement.handler_pu};

	bench_require(awake_create(f->bench->placement.topology, 2, pus, &f->awake), "cannot start a thread");
	open_floor(f);
}

static void end(struct faults *f)
{
	job_meet(); /* nobody reads the other's pages any more */
	floor_destroy(f->floor);
	awake_destroy(f->awake);
	sem_destroy(&f->storing);
	for (enum kind kind = 0; kind < KINDS; kind++)
		free(f->series[kind].samples);
}

static uint64_t median(struct series *series)
{
	struct distribution d = collect_distribution(series->samples, series->count);

	return d.samples ? d.p50_ns : OUTPUT_ABSENT;
}

void fault_costs_measure(struct bench *b, size_t page_bytes, unsigned int rounds, struct fault_costs *out)
{
	struct faults f = {
	    .bench = b,
	    .page_bytes = page_bytes,
	    .pages = PAGES(page_bytes),
	    .hot = HOT(page_bytes),
	    .floor_pages = FLOOR_BYTES / page_bytes,
	};

	begin(&f, rounds);
	if (b->job.node == TARGET)
		time_copy(&f);
	for (unsigned int round = 0; round < rounds; round++) {
		run_round(&f, KIND_WHOLE);
		if (page_bytes > 4 * KIB)
			run_round(&f, KIND_PARTIAL);
	}
	job_share_from(TARGET, &f.copy_ns, sizeof f.copy_ns);
	*out = (struct fault_costs){
	    .current_p50_ns = median(&f.series[KIND_CURRENT]),
	    .partial_p50_ns = median(&f.series[KIND_PARTIAL]),
	    .whole_p50_ns = median(&f.series[KIND_WHOLE]),
	    .floor_current_p50_ns = median(&f.series[KIND_FLOOR_CURRENT]),
	    .floor_whole_p50_ns = median(&f.series[KIND_FLOOR_WHOLE]),
	    .copy_bytes_per_s = per_second(f.floor_pages * page_bytes, f.copy_ns),
	};
	end(&f);
}
