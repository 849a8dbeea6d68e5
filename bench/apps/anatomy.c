/*
 * See anatomy.h.
 */
#include "bench/apps/anatomy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/job.h"
#include "bench/percentile.h"
#include "kernel/memory.h"

/*
 * A trace has room for as many faults on each lane, of which there are 32 (MINORCA_LANES) and of which a
 * worker uses one: at most half a GiB on each node. More faults than that are counted and not looked into.
 */
#define FAULTS_MOST 140000
#define FAULTS_MORE 1000 /* than in the run before */

/* Pages that are touched to calibrate, of each node; every so-manyth of them, so that a store to one at its
 * home is not taken for one of a stretch. */
#define CALIBRATION_PAGES 512
#define CALIBRATION_STRIDE 4

static void require(int error, const char *what)
{
	if (error)
		job_fail("anatomy: %s: %s", what, strerror(-error));
}

void anatomy_start(uint64_t faults)
{
	uint64_t room = faults + faults / 4 + FAULTS_MORE;
	int error = dsm_trace_start(room < FAULTS_MOST ? room : FAULTS_MOST);

	if (error == -EBUSY)
		job_fail("--anatomy traces faults itself, and MINORCA_TRACE is set: leave one of them out");
	require(error, "dsm_trace_start()");
}

/* To be freed. */
static struct dsm_fault_trace *read_trace(size_t room, size_t *count, uint64_t *left_out)
{
	struct dsm_fault_trace *faults = malloc(room * sizeof *faults);

	if (!faults)
		job_fail("no memory for %zu traced faults", room);
	require(dsm_trace_read(faults, room, count, left_out), "dsm_trace_read()");
	return faults;
}

/* --- calibration --------------------------------------------------------------------------------------- */

/* The ticks that a load and then a store of a page took. */
struct touch {
	uint64_t load, store;
};

static void touch(char *page, struct touch *out)
{
	volatile uint64_t *word = (volatile uint64_t *)(void *)page;
	uint64_t before = dsm_trace_ticks();

	(void)*word;
	uint64_t between = dsm_trace_ticks();
	*word = before;
	*out = (struct touch){.load = between - before, .store = dsm_trace_ticks() - between};
}

/* What of a touch was outside of the runtime. Each of @ticks has the cost of one moment in it. */
static uint64_t outside_ns(const struct anatomy_scale *scale, const struct dsm_fault_trace *fault,
			   uint64_t ticks)
{
	uint64_t inside = fault->at[DSM_MOMENT_LEFT] - fault->at[DSM_MOMENT_ENTERED] + scale->cost_ticks;

	return ticks > inside ? (uint64_t)((double)(ticks - inside) * scale->ns_per_tick) : 0;
}

/* Medians by kind. A kind that did not occur (with one node, no page is ever fetched) is taken to be as
 * another. */
static void settle(uint64_t samples[][CALIBRATION_PAGES], const size_t *counts, struct anatomy_scale *scale)
{
	double any = 0;

	for (unsigned int kind = 0; kind < ANATOMY_KINDS; kind++)
		if (counts[kind]) {
			percentile_sort(samples[kind], counts[kind]);
			scale->trap_ns[kind] = (double)percentile(samples[kind], counts[kind], 50);
			any = scale->trap_ns[kind];
		}
	for (unsigned int kind = 0; kind < ANATOMY_KINDS; kind++)
		if (!counts[kind])
			scale->trap_ns[kind] = any;
}

static void calibrate_traps(const struct touch *touches, uint64_t first, struct anatomy_scale *scale)
{
	static uint64_t samples[ANATOMY_KINDS][CALIBRATION_PAGES];
	size_t counts[ANATOMY_KINDS] = {0}, count;
	struct dsm_fault_trace *faults = read_trace(2 * CALIBRATION_PAGES, &count, NULL);

	for (size_t i = 0; i < count; i++) {
		const struct dsm_fault_trace *fault = &faults[i];
		uint64_t page = (fault->page_index - first) / CALIBRATION_STRIDE;

		if (fault->page_index < first || page >= CALIBRATION_PAGES ||
		    counts[fault->kind] == CALIBRATION_PAGES)
			continue;
		samples[fault->kind][counts[fault->kind]++] = outside_ns(
		    scale, fault, fault->kind == DSM_FAULT_READ ? touches[page].load : touches[page].store);
	}
	free(faults);
	settle(samples, counts, scale);
}

/* Each node touches the pages of the next one: those are fetched first, and then taken away and mapped again,
 * which is what most faults are. */
void anatomy_calibrate(unsigned int node, unsigned int nodes, struct anatomy_scale *out)
{
	static struct touch touches[CALIBRATION_PAGES];
	struct dsm_region_options options = {
	    .page_size_bytes = 4 * KIB, .home = DSM_HOME_BLOCK, .readahead = DSM_READAHEAD_OFF};
	size_t part = CALIBRATION_PAGES * CALIBRATION_STRIDE;
	uint64_t first = (node + 1) % nodes * part;
	struct dsm_trace_clock clock;
	dsm_region *region;

	dsm_trace_clock(&clock);
	*out = (struct anatomy_scale){.ns_per_tick = 1e9 / clock.ticks_per_s, .cost_ticks = clock.cost_ticks};
	require(dsm_region_create("calibration", nodes * part * 4 * KIB, &options, &region),
		"dsm_region_create()");
	char *pages = (char *)dsm_region_base(region) + first * 4 * KIB;
	for (unsigned int round = 0; round < 2; round++) {
		require(dsm_invalidate(pages, part * 4 * KIB), "dsm_invalidate()");
		if (round)
			anatomy_start(2 * CALIBRATION_PAGES);
		for (size_t i = 0; i < CALIBRATION_PAGES; i++)
			touch(pages + i * CALIBRATION_STRIDE * 4 * KIB, &touches[i]);
		require(dsm_barrier(), "dsm_barrier()");
	}
	require(dsm_trace_stop(), "dsm_trace_stop()");
	calibrate_traps(touches, first, out);
	require(dsm_region_destroy(region), "dsm_region_destroy()");
}

/* --- a run --------------------------------------------------------------------------------------------- */

static const enum anatomy_stage stage_of_moment[DSM_MOMENTS] = {
    [DSM_MOMENT_LOCKED] = STAGE_REST, [DSM_MOMENT_PREPARED] = STAGE_DATA, [DSM_MOMENT_ASKED] = STAGE_DATA,
    [DSM_MOMENT_READ] = STAGE_DATA,   [DSM_MOMENT_READY] = STAGE_REST,	  [DSM_MOMENT_MAPPED] = STAGE_MAP,
    [DSM_MOMENT_LEFT] = STAGE_REST,
};

/* Of the faults that were traced. */
struct sums {
	double kind_ns[ANATOMY_KINDS], stage_ns[ANATOMY_STAGES];
	uint64_t moments; /* noted: what they cost is none of the fault's time, nor of computing */
};

static void add_stage(struct sums *sums, const struct dsm_fault_trace *fault, enum anatomy_stage stage,
		      double ns)
{
	sums->stage_ns[stage] += ns;
	sums->kind_ns[fault->kind] += ns;
}

/* A moment that the fault left out belongs to the stage after it. */
static void add_fault(const struct anatomy_scale *scale, const struct dsm_fault_trace *fault,
		      struct sums *sums)
{
	uint64_t last = fault->at[DSM_MOMENT_ENTERED];

	sums->moments++;
	for (unsigned int i = DSM_MOMENT_ENTERED + 1; i < DSM_MOMENTS; i++) {
		if (!fault->at[i])
			continue;
		uint64_t ticks = fault->at[i] - last;
		add_stage(sums, fault, stage_of_moment[i],
			  ticks > scale->cost_ticks ? (double)(ticks - scale->cost_ticks) * scale->ns_per_tick
						    : 0);
		last = fault->at[i];
		sums->moments++;
	}
	add_stage(sums, fault, STAGE_TRAP, scale->trap_ns[fault->kind]);
}

/* Faults for which there was no room are taken to be as those before them. @return moments noted. */
static uint64_t add_faults(const struct anatomy_scale *scale, size_t room, struct anatomy *out)
{
	struct sums sums = {0};
	size_t count;
	struct dsm_fault_trace *faults = read_trace(room, &count, &out->left_out);

	for (size_t i = 0; i < count; i++) {
		out->faults[faults[i].kind]++;
		add_fault(scale, &faults[i], &sums);
	}
	free(faults);
	double all = count ? (double)(count + out->left_out) / (double)count : 1;
	for (unsigned int i = 0; i < ANATOMY_KINDS; i++)
		out->fault_ns[i] = (uint64_t)(sums.kind_ns[i] * all);
	for (unsigned int i = 0; i < ANATOMY_STAGES; i++)
		out->stage_ns[i] = (uint64_t)(sums.stage_ns[i] * all);
	return (uint64_t)((double)sums.moments * all);
}

/* Of the two readings around a call, one's cost is in the time that was taken. */
static uint64_t watched_ns(const struct anatomy_scale *scale, const struct stopwatch *watch,
			   uint64_t *moments)
{
	uint64_t cost = watch->calls * scale->cost_ticks;

	*moments += 2 * watch->calls;
	return watch->ticks > cost ? (uint64_t)((double)(watch->ticks - cost) * scale->ns_per_tick) : 0;
}

static void add_worker(const struct anatomy_scale *scale, const struct worker *worker, uint64_t *moments,
		       struct anatomy *out)
{
	uint64_t in_calls = 0;

	out->run_ns += worker->run_ns;
	out->call_ns += worker->call_ns;
	out->lock_ns += watched_ns(scale, &worker->watches[WATCH_LOCK], moments);
	out->unlock_ns += watched_ns(scale, &worker->watches[WATCH_UNLOCK], moments);
	out->atomic_ns += watched_ns(scale, &worker->watches[WATCH_ATOMIC], moments);
	out->prefetch_ns += watched_ns(scale, &worker->watches[WATCH_PREFETCH], &in_calls);
}

void anatomy_end(const struct anatomy_scale *scale, struct shared *shared, unsigned int threads,
		 struct anatomy *out)
{
	struct dsm_stats stats;

	*out = (struct anatomy){0};
	require(dsm_trace_stop(), "dsm_trace_stop()");
	require(dsm_stats(&stats), "dsm_stats()");
	uint64_t moments = add_faults(scale, stats.faults + FAULTS_MORE, out);

	for (unsigned int i = 0; i < threads; i++)
		add_worker(scale, shared_worker(shared, i), &moments, out);
	uint64_t others = (uint64_t)((double)(moments * scale->cost_ticks) * scale->ns_per_tick) +
			  out->call_ns + out->lock_ns + out->unlock_ns + out->atomic_ns;
	for (unsigned int i = 0; i < ANATOMY_KINDS; i++)
		others += out->fault_ns[i];
	out->accounted_ns = others;
	out->compute_ns = out->run_ns > others ? out->run_ns - others : 0;
}
