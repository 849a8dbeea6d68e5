/*
 * One move, while the memory is used. See migration_bench.h.
 *
 * The source's user is a thread; the destination's is the thread that has waited for the switch, so that no
 * thread has to be woken in between.
 */
#include "bench/migration_bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/collect.h"
#include "bench/delivery.h"
#include "bench/guest.h"
#include "bench/output.h"
#include "bench/timer.h"
#include "kernel/memory.h"

/* That the user runs undisturbed before the move, to be compared with; and before that, to get going. */
#define USUAL_MS 100
#define START_MS 20
#define EMPTY_SAMPLES 9
#define DONE_WITHIN_NS UINT64_C(55000000000)
/* Steps between two looks at how far the move has come. */
#define LOOK_STEPS 64

/* What moves with the memory, and what node 0 is told afterwards. */
struct luggage {
	struct guest_state guest;
	uint64_t origin_ns, paused_ns;
};

struct arrival {
	uint64_t resumed_ns, stepped_ns, done_ns, ended_ns;
	uint64_t wrong, compared;
	uint64_t bytes_fetched, blocks_fetched, faults, faults_current, faults_early;
	struct guest_state guest;
	struct distribution fault;
};

/* Of node TARGET: what its faults took. */
struct arrivals {
	dsm_region *region;
	uint64_t faults; /* that the runtime has counted so far */
	uint64_t *samples;
	size_t count, capacity;
};

void bench_require(int error, const char *what)
{
	if (error)
		job_fail("%s: %s", what, strerror(-error));
}

dsm_region *bench_make_region(const struct bench *b, size_t page_bytes, size_t memory_bytes)
{
	const struct dsm_region_options options = {
	    .page_size_bytes = page_bytes,
	    .home = DSM_HOME_NODE,
	    .home_node = SOURCE,
	    .delivery = delivery_of_runtime(b->delivery),
	    .movable = true,
	};
	dsm_region *region = NULL;

	if (dsm_region_create("migration", memory_bytes, &options, &region))
		job_give_up(); /* the runtime has said why */
	return region;
}

size_t move_pool_bytes(const struct bench *b, size_t page_bytes, size_t memory_bytes)
{
	bool moves = b->job.node == SOURCE || b->job.node == TARGET;

	/* Both nodes have it, and either has copies of up to 32 pages (dsm/migration.h). */
	return moves && page_bytes > 4 * KIB ? memory_bytes + 32 * page_bytes : 0;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static struct dsm_migration_progress progress_of(const dsm_region *region)
{
	struct dsm_migration_progress progress;

	bench_require(dsm_migrate_progress(region, &progress), "dsm_migrate_progress()");
	return progress;
}

/* --- source -------------------------------------------------------------------------------------------- */

static void run_source(struct bench *b, struct guest *guest, dsm_region *region, const struct move *move,
		       struct moved *out)
{
	const struct dsm_migration_options options = {.mode = move->mode};
	struct luggage luggage = {.origin_ns = timer_now_ns()};

	throughput_begin(b->throughput, luggage.origin_ns);
	guest_fill(guest);
	guest_begin(guest, NULL);
	job_meet();
	struct guest_thread *user = guest_start(guest);
	if (!user)
		job_fail("cannot start a thread");
	uint64_t started_ns = timer_now_ns();
	sleep_ms(START_MS + USUAL_MS);
	out->begun_ns = timer_now_ns();
	bench_require(dsm_migrate_begin(region, TARGET, &options), "dsm_migrate_begin()");
	bench_require(dsm_migrate_precopy(region), "dsm_migrate_precopy()");
	luggage.paused_ns = timer_now_ns();
	guest_pause(user);
	luggage.guest = guest->state;
	out->stores_per_s = per_second(guest->state.stores, luggage.paused_ns - started_ns);
	bench_require(dsm_migrate_switch(region, &luggage, sizeof luggage), "dsm_migrate_switch()");
	out->pages_out_of_date = progress_of(region).pages_left;
	bench_require(dsm_migrate_finish(region), "dsm_migrate_finish()");
	guest_end(user);
	out->paused_ns = luggage.paused_ns;
}

/* --- destination --------------------------------------------------------------------------------------- */

/* Whether a first touch was a fault, the runtime knows; how long it took, the thread. */
static void note_touch(void *argument, uint64_t ns)
{
	struct arrivals *a = argument;
	uint64_t faults = progress_of(a->region).faults;

	if (faults != a->faults && a->count < a->capacity)
		a->samples[a->count++] = ns;
	a->faults = faults;
}

static void watch_begin(struct guest_watch *watch, struct arrivals *a, size_t pages, dsm_region *region)
{
	size_t words = (pages + 63) / 64;

	*a = (struct arrivals){
	    .region = region, .samples = malloc(pages * sizeof *a->samples), .capacity = pages};
	*watch = (struct guest_watch){note_touch, a, malloc(words * sizeof *watch->seen)};
	if (!a->samples || !watch->seen)
		job_fail("out of memory for the samples of %zu pages", pages);
	memset(a->samples, 0, pages * sizeof *a->samples); /* touched before anything is timed */
	memset(watch->seen, 0, words * sizeof *watch->seen);
}

/* Whether the user has been watched for long enough, and nothing is missing any more. */
static bool is_over(const dsm_region *region, uint64_t now, uint64_t end_ns, uint64_t begun_ns)
{
	enum dsm_migration_step step;

	if (now < end_ns)
		return false;
	step = progress_of(region).step;
	if (step == DSM_MIGRATION_LOST || now - begun_ns > DONE_WITHIN_NS)
		job_fail("the memory has not arrived after %" PRIu64 " s", (now - begun_ns) / 1000000000u);
	return step == DSM_MIGRATION_DONE;
}

static uint64_t run_on(struct guest *guest, const dsm_region *region, uint64_t end_ns)
{
	uint64_t begun_ns = timer_now_ns(), now;

	do {
		for (unsigned int i = 0; i < LOOK_STEPS; i++)
			now = guest_step(guest);
		/* No fault is the runtime's any more, and watching for them takes time. */
		if (progress_of(region).step == DSM_MIGRATION_DONE)
			guest->watch = NULL;
	} while (!is_over(region, now, end_ns, begun_ns));
	return now;
}

static void run_target(struct bench *b, struct guest *guest, dsm_region *region, const struct move *move,
		       struct arrival *out)
{
	const struct dsm_migration_options options = {.mode = move->mode};
	struct luggage luggage;
	struct guest_watch watch;
	struct arrivals arrivals;
	size_t bytes = 0;

	throughput_begin(b->throughput, 0);
	watch_begin(&watch, &arrivals, guest->pages, region);
	guest->watch = &watch;
	job_meet();
	bench_require(dsm_migrate_accept(region, SOURCE, &options), "dsm_migrate_accept()");
	bench_require(dsm_migrate_await(region, &luggage, sizeof luggage, &bytes), "dsm_migrate_await()");
	out->resumed_ns = timer_now_ns();
	b->throughput->origin_ns = b->job.one_host ? luggage.origin_ns : out->resumed_ns;
	guest_begin(guest, &luggage.guest);
	out->stepped_ns = guest_step(guest);
	out->ended_ns = run_on(guest, region, out->resumed_ns + move->after_ms * UINT64_C(1000000));
	bench_require(dsm_migrate_finish(region), "dsm_migrate_finish()");
	struct dsm_migration_progress p = progress_of(region);
	out->done_ns = p.done_ns;
	out->bytes_fetched = p.bytes_fetched;
	out->faults = p.faults;
	out->faults_current = p.faults_current;
	out->faults_early = p.faults_early;
	out->guest = guest->state;
	out->wrong = guest->state.wrong;
	out->fault = distribution_of(arrivals.samples, arrivals.count);
	free(arrivals.samples);
	free(watch.seen);
}

/* Every byte. */
static void compare(const struct guest *guest, struct arrival *out)
{
	size_t bytes = guest->pages * guest->page_bytes, wrong = guest_compare(guest);

	if (wrong == SIZE_MAX)
		job_fail("out of memory to compare %zu bytes with", bytes);
	out->wrong += wrong;
	out->compared = bytes;
}

/* --- both ---------------------------------------------------------------------------------------------- */

static uint64_t blocks_fetched(void)
{
	struct dsm_stats stats;

	bench_require(dsm_stats(&stats), "dsm_stats()");
	return stats.blocks_fetched;
}

static void merge_throughput(struct bench *b)
{
	uint32_t *bins = malloc(sizeof b->throughput->bins);

	if (!bins)
		job_fail("out of memory");
	memcpy(bins, b->throughput->bins, sizeof b->throughput->bins);
	job_share_from(TARGET, bins, sizeof b->throughput->bins);
	if (b->job.node == SOURCE)
		throughput_merge(b->throughput, bins);
	free(bins);
}

/* On several hosts: from the source's clock alone, which has heard that the destination goes on. */
static void settle_times(const struct bench *b, const struct dsm_migration_progress *source,
			 const struct arrival *arrival, struct moved *out)
{
	bool common = b->job.one_host;

	out->downtime_ns =
	    common ? arrival->resumed_ns - out->paused_ns : source->resumed_ns - out->paused_ns;
	out->first_step_ns = common ? arrival->stepped_ns - out->paused_ns : OUTPUT_ABSENT;
	out->total_ns = (common ? arrival->done_ns : source->done_ns) - out->begun_ns;
	out->last_page_ns = (common ? arrival->done_ns : source->done_ns) - out->paused_ns;
	out->map_ns = source->mapped_ns - source->switched_ns;
	out->ended_ns = arrival->ended_ns;
}

static void settle(const struct bench *b, const dsm_region *region, const struct arrival *arrival,
		   struct moved *out)
{
	struct dsm_migration_progress source = progress_of(region);

	settle_times(b, &source, arrival, out);
	out->rounds = source.rounds;
	out->bytes_precopied = source.bytes_precopied;
	out->bytes_switched = source.bytes_switched;
	out->bytes_mapped = source.bytes_mapped;
	out->bytes_fetched = arrival->bytes_fetched;
	out->blocks_fetched = arrival->blocks_fetched;
	out->faults = arrival->faults;
	out->faults_current = arrival->faults_current;
	out->faults_early = arrival->faults_early;
	out->fault = arrival->fault;
	out->steps = arrival->guest.steps;
	out->stores = arrival->guest.stores;
	out->wrong_words = arrival->wrong;
	out->compared_bytes = arrival->compared;
}

void moved_require_intact(const struct moved *moved, const struct move *move)
{
	if (!moved_intact(moved, move))
		job_fail("%" PRIu64 " words of %" PRIu64 " bytes are not what was stored", moved->wrong_words,
			 moved->compared_bytes);
}

void move_once(struct bench *b, const struct move *move, struct moved *out)
{
	dsm_region *region = bench_make_region(b, move->page_bytes, move->memory_bytes);
	struct arrival arrival = {0};
	struct guest guest = {
	    .base = dsm_region_base(region),
	    .page_bytes = move->page_bytes,
	    .pages = move->memory_bytes / move->page_bytes,
	    .stores_per_s = move->stores_per_s,
	    .throughput = b->throughput,
	};

	guest.working_pages = guest.pages * move->working_percent / 100;
	guest.working_pages += guest.working_pages == 0;
	*out = (struct moved){0};
	if (b->job.node == TARGET) {
		arrival.blocks_fetched = blocks_fetched();
		run_target(b, &guest, region, move, &arrival);
		arrival.blocks_fetched = blocks_fetched() - arrival.blocks_fetched;
		compare(&guest, &arrival);
	} else if (b->job.node == SOURCE) {
		run_source(b, &guest, region, move, out);
	} else {
		job_meet();
	}
	job_share_from(TARGET, &arrival, sizeof arrival);
	merge_throughput(b);
	if (b->job.node == SOURCE)
		settle(b, region, &arrival, out);
	if (dsm_region_destroy(region))
		job_give_up();
}

uint64_t move_empty(struct bench *b, size_t page_bytes)
{
	const struct move move = {.mode = DSM_MIGRATION_MINOR,
				  .page_bytes = page_bytes,
				  .memory_bytes = page_bytes,
				  .working_percent = 100};
	uint64_t samples[EMPTY_SAMPLES];
	struct moved moved;

	for (size_t i = 0; i < EMPTY_SAMPLES; i++) {
		move_once(b, &move, &moved);
		if (b->job.node == SOURCE)
			moved_require_intact(&moved, &move);
		samples[i] = moved.downtime_ns;
	}
	return distribution_of(samples, EMPTY_SAMPLES).p50_ns;
}
