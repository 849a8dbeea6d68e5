/*
 * Rows, rounds and samples. See sync_bench.h.
 */
#include "bench/sync_bench.h"
#include "bench/collect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>

#include "bench/placement.h"
#include "bench/sync_rdma.h"
#include "bench/team.h"
#include "kernel/memory.h"

/* Samples that a node keeps of each side. */
#define SAMPLES_MAX ((size_t)40000)
#define SAMPLES_LEAST 16

/* A row may take this much more than its share of the time to get its least number of samples; and this long
 * to get those that were asked for. */
#define PATIENCE 3
#define PATIENCE_NS UINT64_C(20000000000)

/* Samples of a round, if the case has none of its own; all nodes take each turn together. */
#define ROUND_SAMPLES 64
#define TURN_SAMPLES 8
#define TURNS 4

/* Waiting awake before falling asleep, and at most. */
#define AWAKE_NS UINT64_C(200000)
#define SLEEP_US 20
#define WAIT_NS UINT64_C(60000000000)

static MPI_Win window = MPI_WIN_NULL;

static const struct operations *const operations[SYNC_CASES] = {
    [ACQUIRE_NOTHING] = &acquire_nothing,
    [ACQUIRE_CHANGED] = &acquire_changed,
    [PUBLISH_LINE] = &publish,
    [PUBLISH_LINE_HOT] = &publish_hot,
    [PUBLISH_BYTES] = &publish,
    [PUBLISH_PAGE] = &publish,
    [PUBLISH_PAGES] = &publish,
    [STORE_FIRST] = &store_first,
    [STORE_HOT] = &store_hot,
    [DIFF] = &diff_pages,
    [LOCK_UNCONTENDED] = &lock_uncontended,
    [LOCK_PUBLISH] = &lock_publish,
    [TRYLOCK] = &trylock,
    [LOCK_HANDOVER] = &lock_handover,
    [RWLOCK_READ] = &rwlock_read,
    [RWLOCK_READ_ALL] = &rwlock_read_all,
    [RWLOCK_WRITE] = &rwlock_write,
    [FALSE_SHARING] = &false_sharing,
    [FALSE_SHARING_LOCK] = &false_sharing_lock,
    [STORM_ONE] = &storm,
    [STORM_ALL] = &storm,
    [BARRIER] = &barrier,
    [BARRIER_PUBLISH] = &barrier_publish,
    [ATOMIC_ADD] = &atomic_add,
    [ATOMIC_LOAD] = &atomic_load,
    [ATOMIC_COMPARE_SWAP] = &atomic_compare_swap,
    [ATOMIC_ADD_CONTENDED] = &atomic_add_contended,
    [EVENT_PINGPONG] = &event_pingpong,
    [REDUCE] = &reduce,
    [BROADCAST] = &broadcast,
    [MALLOC_FREE] = &malloc_free,
};

/* --- for the cases ------------------------------------------------------------------------------------- */

_Noreturn void bench_fail(const struct bench *b, const char *what, int error)
{
	job_fail("case %s: %s: %s", sync_case(b->row->id)->name, what, strerror(-error));
}

void expect(const struct bench *b, const char *what, uint64_t found, uint64_t expected)
{
	if (found != expected)
		job_fail("case %s, pages of %s: %s: %" PRIu64 ", expected %" PRIu64,
			 sync_case(b->row->id)->name, memory_page_size_name(b->row->page_bytes), what, found,
			 expected);
}

struct dsm_stats bench_stats(const struct bench *b)
{
	struct dsm_stats stats;

	require(b, dsm_stats(&stats), "dsm_stats()");
	return stats;
}

struct sync_counts bench_counts_between(const struct dsm_stats *before, const struct dsm_stats *now)
{
	return (struct sync_counts){
	    .faults = now->faults - before->faults,
	    .pages_invalidated = now->pages_invalidated - before->pages_invalidated,
	    .pages_published = now->pages_published - before->pages_published,
	    .bytes_fetched = now->bytes_fetched - before->bytes_fetched,
	    .bytes_published = now->bytes_published - before->bytes_published,
	};
}

void bench_count(struct bench *b, const struct sync_counts *counts, uint64_t intervals)
{
	b->intervals += intervals;
	b->counts.faults += counts->faults;
	b->counts.pages_invalidated += counts->pages_invalidated;
	b->counts.pages_published += counts->pages_published;
	b->counts.bytes_fetched += counts->bytes_fetched;
	b->counts.bytes_published += counts->bytes_published;
}

void *bench_allocate(size_t bytes)
{
	/* Aligned as pages are: what is compared or copied by vectors should not depend on luck. */
	size_t rounded = (bytes + 4095) & ~(size_t)4095;
	void *memory = aligned_alloc(4096, rounded);

	if (!memory)
		job_fail("out of memory");
	memset(memory, 0, rounded); /* so that using it does not fault */
	return memory;
}

void bench_sample(struct bench *b, unsigned int side, uint64_t ns)
{
	struct samples *s = &b->sides[side];

	if (b->round && s->count < SAMPLES_MAX)
		s->ns[s->count++] = ns;
}

bool bench_is_of_pair(const struct bench *b)
{
	return b->job->node == 0 || b->job->node == b->peer;
}

/* Polls, at first without sleeping: who wakes from a sleep measures the waking. */
static void wait_for(MPI_Request *requests, int count)
{
	uint64_t began_ns = timer_now_ns();
	int done;

	for (;;) {
		MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
		if (done)
			return;
		uint64_t waited_ns = timer_now_ns() - began_ns;
		if (waited_ns > WAIT_NS)
			job_fail("another node has not come for %d s", (int)(WAIT_NS / 1000000000));
		if (waited_ns > AWAKE_NS)
			usleep(SLEEP_US);
	}
}

void bench_pair_meets(const struct bench *b)
{
	int partner = b->job->node == 0 ? b->peer : 0;
	MPI_Request requests[2];

	MPI_Irecv(NULL, 0, MPI_BYTE, partner, 0, MPI_COMM_WORLD, &requests[0]);
	MPI_Isend(NULL, 0, MPI_BYTE, partner, 0, MPI_COMM_WORLD, &requests[1]);
	wait_for(requests, 2);
}

void bench_all_meet(void)
{
	MPI_Request request;

	MPI_Ibarrier(MPI_COMM_WORLD, &request);
	wait_for(&request, 1);
}

/* --- rounds -------------------------------------------------------------------------------------------- */

static uint64_t each_of(unsigned int count, uint64_t ns)
{
	return count ? ns / count : 0;
}

static void time_calls(struct bench *b, unsigned int side, void (*call)(struct bench *))
{
	uint64_t before = timer_now_ns();

	for (unsigned int i = 0; i < b->calls; i++)
		call(b);
	bench_sample(b, side, each_of(b->calls, timer_now_ns() - before));
}

static void round_of_node_0(struct bench *b, void (*baseline)(struct bench *))
{
	for (unsigned int i = 0; i < ROUND_SAMPLES; i++) {
		time_calls(b, RUNTIME, b->operations->runtime);
		if (baseline)
			time_calls(b, BASELINE, baseline);
	}
}

static void round_of_all(struct bench *b, void (*baseline)(struct bench *))
{
	for (unsigned int turn = 0; turn < TURNS; turn++) {
		bench_all_meet();
		for (unsigned int i = 0; i < TURN_SAMPLES; i++)
			time_calls(b, RUNTIME, b->operations->runtime);
		bench_all_meet();
		for (unsigned int i = 0; i < TURN_SAMPLES && baseline; i++)
			time_calls(b, BASELINE, baseline);
	}
}

static void run_round(struct bench *b)
{
	const struct operations *o = b->operations;
	void (*baseline)(struct bench *) = o->baseline_is_shared && !b->shared ? NULL : o->baseline;

	if (b->rdma && o->rdma)
		baseline = o->rdma;

	if (o->round)
		o->round(b);
	else if (o->who == ALL_NODES)
		round_of_all(b, baseline);
	else if (b->job->node == 0)
		round_of_node_0(b, baseline);
}

/* Asked on node 0. */
static bool is_enough(const struct bench *b, uint64_t elapsed_ns, uint64_t budget_ns)
{
	size_t count = b->sides[RUNTIME].count;

	if (count >= SAMPLES_MAX)
		return true;
	if (b->options->samples)
		return count >= b->options->samples || elapsed_ns > PATIENCE_NS;
	return elapsed_ns > budget_ns && (count >= SAMPLES_LEAST || elapsed_ns > PATIENCE * budget_ns) &&
	       b->round;
}

static void run_rounds(struct bench *b, uint64_t budget_ns)
{
	uint64_t began_ns = timer_now_ns();
	bool done = false;

	for (b->round = 0; !done; b->round++) {
		run_round(b);
		done = job_any(b->job->node == 0 && is_enough(b, timer_now_ns() - began_ns, budget_ns));
	}
}

static struct distribution collect(const struct bench *b, unsigned int side)
{
	return collect_distribution(b->sides[side].ns, b->sides[side].count);
}

static struct sync_counts counts_of_all(const struct bench *b)
{
	return (struct sync_counts){
	    .faults = job_sum(b->counts.faults),
	    .pages_invalidated = job_sum(b->counts.pages_invalidated),
	    .pages_published = job_sum(b->counts.pages_published),
	    .bytes_fetched = job_sum(b->counts.bytes_fetched),
	    .bytes_published = job_sum(b->counts.bytes_published),
	};
}

/* --- what cannot be measured here ---------------------------------------------------------------------- */

static uint64_t free_hugepages(size_t page_bytes)
{
	struct hugepage_pool pool;

	if (hugepage_pool_read(page_bytes, &pool))
		return 0;
	return pool.free - pool.reserved + pool.overcommit - pool.surplus;
}

/* At home all pages, or those that are touched; elsewhere those that are touched. An empty pool would end the
 * job in the middle of the row. */
static bool pool_is_too_small(const struct sync_row *row, char *why, size_t bytes)
{
	size_t pages = row->region_bytes / row->page_bytes;
	uint64_t needed = (row->sparse ? row->touched : pages) + row->touched;
	uint64_t available = job_minimum(free_hugepages(row->page_bytes));

	if (available >= needed)
		return false;
	snprintf(why, bytes, "%" PRIu64 " hugepages of %s are needed, %" PRIu64 " are free", needed,
		 memory_page_size_name(row->page_bytes), available);
	return true;
}

/* The same on all nodes. */
static void why_not(const struct bench *b, const struct sync_row *row, char *why, size_t bytes)
{
	unsigned int needs = sync_case(row->id)->needs;

	if (b->job->nodes < 2 && (needs & NEEDS_TWO_NODES || row->home == HOME_THERE))
		snprintf(why, bytes, "needs 2 nodes");
	else if (needs & NEEDS_ONE_HOST && !b->shared)
		snprintf(why, bytes, "needs nodes on one host");
	else if (needs & NEEDS_ONE_HOST && !b->peer_is_apart)
		snprintf(why, bytes, "needs 2 cores");
	else if (needs & NEEDS_HOT_PAGES && !b->has_hot_pages)
		snprintf(why, bytes, "this transport has no pages that stay writable");
	else if (row->region_bytes && row->page_bytes > 4 * KIB)
		pool_is_too_small(row, why, bytes);
}

static void make_region(struct bench *b, char *why, size_t bytes)
{
	const struct sync_row *row = b->row;
	const struct dsm_region_options options = {
	    .page_size_bytes = row->page_bytes,
	    .home = row->home == HOME_AROUND  ? DSM_HOME_CYCLIC
		    : row->home == HOME_PARTS ? DSM_HOME_BLOCK
					      : DSM_HOME_NODE,
	    .chunk_bytes = row->page_bytes,
	    .home_node = row->home == HOME_THERE ? b->peer : 0,
	    .sparse = row->sparse,
	    /* One page, one fault, unless the row is about that. */
	    .readahead = row->variant == READAHEAD ? DSM_READAHEAD_AUTO : DSM_READAHEAD_OFF,
	};
	int error = dsm_region_create("sync", row->region_bytes, &options, &b->region);

	if (!error)
		b->base = dsm_region_base(b->region);
	else if (error == -ENOMEM || error == -ENOSPC || error == -ENODEV)
		snprintf(why, bytes, "a region of %" PRIu64 " MiB cannot be had: %s", row->region_bytes / MIB,
			 strerror(-error));
	else
		require(b, error, "dsm_region_create()");
}

/* --- a row --------------------------------------------------------------------------------------------- */

static void measure(struct bench *b, uint64_t budget_ns, struct sync_outcome *out)
{
	/* What goes over a network takes long enough to be timed by itself. */
	b->calls = b->operations->calls && !b->rdma ? b->operations->calls : 1;
	b->sides[RUNTIME].count = b->sides[BASELINE].count = 0;
	b->counts = (struct sync_counts){0};
	b->intervals = 0;
	if (b->operations->open)
		b->operations->open(b);
	job_meet();
	run_rounds(b, budget_ns);
	if (b->operations->close)
		b->operations->close(b);
	out->calls = b->calls;
	out->runtime = collect(b, RUNTIME);
	out->baseline = collect(b, BASELINE);
	out->intervals = b->intervals;
	out->counts = counts_of_all(b);
	if (b->job->node == 0 && !out->runtime.samples)
		snprintf(out->skipped, sizeof out->skipped, "it did not happen in the time");
}

void bench_run(struct bench *b, const struct sync_row *row, uint64_t budget_ns, struct sync_outcome *out)
{
	*out = (struct sync_outcome){.calls = 1};
	b->row = row;
	b->operations = operations[row->id];
	b->region = NULL;
	why_not(b, row, out->skipped, sizeof out->skipped);
	if (!out->skipped[0] && row->region_bytes)
		make_region(b, out->skipped, sizeof out->skipped);
	if (!out->skipped[0])
		measure(b, budget_ns, out);
	if (b->region)
		require(b, dsm_region_destroy(b->region), "dsm_region_destroy()");
}

/* --- the nodes ----------------------------------------------------------------------------------------- */

static struct shared *share_memory(const struct job *job)
{
	struct shared *memory;
	MPI_Aint bytes = (MPI_Aint)(sizeof *memory + (size_t)job->nodes * sizeof memory->lines[0]);
	int unit;

	if (!job->one_host)
		return NULL;
	MPI_Win_allocate_shared(job->node == 0 ? bytes : 0, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &memory,
				&window);
	MPI_Win_shared_query(window, 0, &bytes, &unit, &memory);
	if (job->node == 0)
		memset(memory, 0, (size_t)bytes);
	job_meet();
	return memory;
}

/* The first node that does not share node 0's processing unit, or node 1. */
static void choose_peer(struct bench *b)
{
	int pu = b->placement->pus[0];

	job_share(&pu, sizeof pu);
	bool apart = !b->job->one_host || b->placement->pus[0] != pu;
	uint64_t first =
	    job_minimum(b->job->node && apart ? (uint64_t)b->job->node : (uint64_t)b->job->nodes);
	b->peer_is_apart = first < (uint64_t)b->job->nodes;
	b->peer = b->peer_is_apart ? (int)first : b->job->nodes > 1;
}

void bench_create(const struct job *job, const struct placement *placement,
		  const struct sync_options *options, const char *transport, unsigned int threads,
		  struct bench *out)
{
	*out = (struct bench){
	    .job = job,
	    .placement = placement,
	    .options = options,
	    .has_hot_pages = !strcmp(transport, "shm"),
	};
	out->shared = share_memory(job);
	if (!strcmp(transport, "verbs"))
		out->rdma = sync_rdma_open(job);
	choose_peer(out);
	for (unsigned int i = 0; i < SIDES; i++)
		out->sides[i].ns = bench_allocate(SAMPLES_MAX * sizeof *out->sides[i].ns);
	int error = team_create(placement->topology, threads, placement->pus, &out->team);
	if (error)
		job_fail("cannot start %u threads: %s", threads, strerror(-error));
}

void bench_destroy(struct bench *b)
{
	sync_rdma_close(b->rdma);
	team_destroy(b->team);
	for (unsigned int i = 0; i < SIDES; i++)
		free(b->sides[i].ns);
	if (window != MPI_WIN_NULL)
		MPI_Win_free(&window);
}
