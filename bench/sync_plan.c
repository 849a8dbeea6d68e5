/*
 * The rows of each case. See sync_plan.h.
 */
#include "bench/sync_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/memory.h"

#define SMALL (4 * KIB)
#define LARGE (2 * MIB)
#define LINE ((size_t)64)

/* Of regions whose pages are stored to in turn: the page and its twin are not in a cache when they are
 * compared. (Those of 4 KiB are, in the second level.) */
#define TURN_PAGES_SMALL 512
#define TURN_PAGES_LARGE 8

/* Apart from each other, each is an entry of the change log, which has 4096 (MINORCA_LOG_ENTRIES). */
#define LOG_OVERFLOW_PAGES 4608

struct planning {
	const struct sync_options *options;
	uint64_t nodes;
	bool rdma;
	struct sync_plan *plan;
	size_t capacity; /* 0: only count */
};

/* Names of baselines over RDMA, where they are others. */
static const char *const rdma_baselines[SYNC_CASES] = {
    [ACQUIRE_NOTHING] = "READ",
    [ACQUIRE_CHANGED] = "2 READs + madvise",
    [PUBLISH_LINE] = "WRITE + FETCH_ADD",
    [PUBLISH_LINE_HOT] = "WRITE + FETCH_ADD",
    [PUBLISH_BYTES] = "WRITE + FETCH_ADD",
    [PUBLISH_PAGE] = "WRITE + FETCH_ADD",
    [PUBLISH_PAGES] = "WRITEs + FETCH_ADDs",
    [LOCK_UNCONTENDED] = "2 CMP_SWPs",
    [TRYLOCK] = "2 CMP_SWPs",
    [LOCK_HANDOVER] = "WRITE",
    [RWLOCK_READ] = "2 FETCH_ADDs",
    [RWLOCK_READ_ALL] = "2 FETCH_ADDs",
    [RWLOCK_WRITE] = "2 CMP_SWPs",
    [STORM_ONE] = "MPI_Bcast",
    [ATOMIC_ADD] = "FETCH_ADD",
    [ATOMIC_LOAD] = "READ",
    [ATOMIC_COMPARE_SWAP] = "CMP_SWP",
    [ATOMIC_ADD_CONTENDED] = "FETCH_ADD",
    [EVENT_PINGPONG] = "WRITE",
};

static void set_rdma_baseline(struct sync_row *row)
{
	if (!rdma_baselines[row->id] || row->variant == WITHIN_NODE)
		return;
	row->baseline = rdma_baselines[row->id];
	row->baseline_row = NO_ROW;
	if (row->id == PUBLISH_LINE && row->home == HOME_HERE)
		row->baseline = "FETCH_ADD"; /* the bytes are there */
}

/* @return the number of the row, or NO_ROW if nobody asked for it. */
static size_t add(struct planning *p, struct sync_row row)
{
	if (!(p->options->cases >> row.id & 1))
		return NO_ROW;
	row.threads = row.threads ? row.threads : 1;
	if (p->rdma)
		set_rdma_baseline(&row);
	if (p->capacity)
		p->plan->rows[p->plan->count] = row;
	return p->plan->count++;
}

static void add_acquire_nothing(struct planning *p)
{
	const uint64_t regions[] = {16 * MIB, p->options->region_bytes};
	const size_t pages[] = {SMALL, LARGE};
	size_t first = NO_ROW;

	for (size_t size = 0; size < 2; size++)
		for (size_t region = 0; region < 2; region++) {
			size_t row =
			    add(p, (struct sync_row){
				       .id = ACQUIRE_NOTHING,
				       .home = HOME_THERE,
				       .page_bytes = pages[size],
				       .region_bytes = regions[region],
				       .sparse = true,
				       .touched = pages[size] == SMALL ? 64 : 8,
				       .baseline =
					   first == NO_ROW ? NULL : "acquire_nothing, 16 MiB of 4 KiB pages",
				       .baseline_row = first,
				   });
			first = first == NO_ROW ? row : first;
		}
}

static void add_acquire_changed(struct planning *p)
{
	static const unsigned int changed[] = {1, 4, 16, 64, 256};

	for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++)
		for (enum sync_variant variant = NEIGHBOURS; variant <= SCATTERED; variant++)
			if (changed[i] > 1 || variant == NEIGHBOURS)
				add(p, (struct sync_row){
					   .id = ACQUIRE_CHANGED,
					   .home = HOME_THERE,
					   .variant = variant,
					   .page_bytes = SMALL,
					   .region_bytes = 512 * SMALL,
					   .touched = 512,
					   .changed = changed[i],
					   .baseline = "madvise",
					   .baseline_row = NO_ROW,
				       });
	for (unsigned int i = 0; i < 2; i++)
		add(p, (struct sync_row){
			   .id = ACQUIRE_CHANGED,
			   .home = HOME_THERE,
			   .variant = NEIGHBOURS,
			   .page_bytes = LARGE,
			   .region_bytes = TURN_PAGES_LARGE * LARGE,
			   .touched = 2 * TURN_PAGES_LARGE, /* the baseline has as many */
			   .changed = changed[i],
			   .baseline = "madvise",
			   .baseline_row = NO_ROW,
		       });
}

/* A row whose pages are stored to in turn. */
static void add_turns(struct planning *p, struct sync_row row)
{
	row.touched = row.page_bytes == SMALL ? TURN_PAGES_SMALL : TURN_PAGES_LARGE;
	row.region_bytes = row.touched * row.page_bytes;
	row.baseline_row = NO_ROW;
	add(p, row);
}

static void add_publish(struct planning *p)
{
	static const struct {
		enum sync_case_id id;
		enum sync_home home;
		size_t page_bytes;
		unsigned int pages;
		size_t bytes;
		const char *baseline;
	} rows[] = {
	    {PUBLISH_LINE, HOME_THERE, SMALL, 1, LINE, "memcmp"},
	    {PUBLISH_LINE, HOME_HERE, SMALL, 1, LINE, NULL}, /* nothing is compared */
	    {PUBLISH_LINE, HOME_THERE, LARGE, 1, LINE, "memcmp"},
	    {PUBLISH_LINE, HOME_HERE, LARGE, 1, LINE, "memcmp"},
	    {PUBLISH_LINE_HOT, HOME_THERE, SMALL, 1, LINE, "memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, SMALL, 1, 8, "memcpy, memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, SMALL, 1, 512, "memcpy, memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, LARGE, 1, 8, "memcpy, memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, LARGE, 1, 512, "memcpy, memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, LARGE, 1, 4 * KIB, "memcpy, memcmp"},
	    {PUBLISH_BYTES, HOME_THERE, LARGE, 1, 64 * KIB, "memcpy, memcmp"},
	    {PUBLISH_PAGE, HOME_THERE, SMALL, 1, SMALL, "memcpy"},
	    {PUBLISH_PAGE, HOME_THERE, LARGE, 1, LARGE, "memcpy"},
	    {PUBLISH_PAGES, HOME_THERE, SMALL, 16, LINE, "memcmp"},
	    {PUBLISH_PAGES, HOME_THERE, SMALL, 64, LINE, "memcmp"},
	    {PUBLISH_PAGES, HOME_THERE, SMALL, 256, LINE, "memcmp"},
	    {PUBLISH_PAGES, HOME_THERE, LARGE, TURN_PAGES_LARGE, LINE, "memcmp"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		add_turns(p, (struct sync_row){
				 .id = rows[i].id,
				 .home = rows[i].home,
				 .page_bytes = rows[i].page_bytes,
				 .changed = rows[i].pages,
				 .changed_bytes = rows[i].bytes,
				 .baseline = rows[i].baseline,
			     });
}

static void add_store_row(struct planning *p, enum sync_case_id id, size_t page_bytes, const char *baseline)
{
	add_turns(p, (struct sync_row){
			 .id = id,
			 .home = HOME_THERE,
			 .page_bytes = page_bytes,
			 .changed = 1,
			 .baseline = baseline,
		     });
}

static void add_store(struct planning *p)
{
	add_store_row(p, STORE_FIRST, SMALL, "store_first, without a twin");
	add_store_row(p, STORE_FIRST, LARGE, "store_first, without a twin");
	add_store_row(p, STORE_HOT, SMALL, "private store");
}

static void add_diff(struct planning *p)
{
	const size_t pages[] = {SMALL, LARGE};

	for (size_t size = 0; size < 2; size++)
		for (enum sync_variant variant = EQUAL; variant <= ONE_LINE; variant++)
			add(p, (struct sync_row){
				   .id = DIFF,
				   .variant = variant,
				   .page_bytes = pages[size],
				   .changed = variant == ONE_LINE,
				   .baseline = "memcmp",
				   .baseline_row = NO_ROW,
			       });
}

/* A row about objects in a region of a few pages. @return its number. */
static size_t add_objects(struct planning *p, struct sync_row row)
{
	row.page_bytes = SMALL;
	row.touched = p->nodes < 16 ? 16 : p->nodes;
	row.region_bytes = row.touched * SMALL;
	return add(p, row);
}

static size_t add_object(struct planning *p, enum sync_case_id id, enum sync_home home, const char *baseline)
{
	return add_objects(
	    p, (struct sync_row){.id = id, .home = home, .baseline = baseline, .baseline_row = NO_ROW});
}

static void add_handover(struct planning *p, unsigned int threads, enum sync_variant variant)
{
	add_objects(p, (struct sync_row){
			   .id = LOCK_HANDOVER,
			   .home = HOME_HERE,
			   .variant = variant,
			   .threads = threads,
			   .baseline = variant == BETWEEN_NODES ? "cache line" : NULL,
			   .baseline_row = NO_ROW,
		       });
}

static void add_locks(struct planning *p)
{
	add_object(p, LOCK_UNCONTENDED, HOME_HERE, "2 CPU compare-swaps");
	size_t there = add_object(p, LOCK_UNCONTENDED, HOME_THERE, "2 CPU compare-swaps");
	add_objects(p, (struct sync_row){
			   .id = LOCK_PUBLISH,
			   .home = HOME_THERE,
			   .changed = 1,
			   .baseline = there == NO_ROW ? NULL : "lock_uncontended",
			   .baseline_row = there,
		       });
	add_object(p, TRYLOCK, HOME_HERE, "2 CPU compare-swaps");
	add_object(p, TRYLOCK, HOME_THERE, "2 CPU compare-swaps");
	add_handover(p, 1, BETWEEN_NODES);
	add_handover(p, 2, BETWEEN_NODES);
	add_handover(p, 2, WITHIN_NODE);
	add_object(p, RWLOCK_READ, HOME_HERE, "2 CPU adds");
	add_object(p, RWLOCK_READ, HOME_THERE, "2 CPU adds");
	add_object(p, RWLOCK_READ_ALL, HOME_HERE, "2 CPU adds");
	add_object(p, RWLOCK_WRITE, HOME_HERE, "2 CPU compare-swaps");
	add_object(p, RWLOCK_WRITE, HOME_THERE, "2 CPU compare-swaps");
}

/* A page for each node, of which one may do, and one for the lock. Node 0 is the home; which node is makes no
 * difference, for all are measured; but it does whether each is that of its own page. */
static void add_sharing_row(struct planning *p, enum sync_case_id id, size_t page_bytes,
			    enum sync_variant variant)
{
	add(p, (struct sync_row){
		   .id = id,
		   .home = variant == PAGE_AT_HOME ? HOME_AROUND : HOME_HERE,
		   .variant = variant,
		   .page_bytes = page_bytes,
		   .region_bytes = (p->nodes + 1) * page_bytes,
		   .touched = p->nodes * (p->nodes + 1),
		   .baseline = id == FALSE_SHARING ? "lines, MPI_Barrier" : "lines, in turn",
		   .baseline_row = NO_ROW,
	       });
}

static void add_sharing(struct planning *p)
{
	for (enum sync_case_id id = FALSE_SHARING; id <= FALSE_SHARING_LOCK; id++)
		for (size_t page_bytes = SMALL; page_bytes <= LARGE; page_bytes *= LARGE / SMALL)
			for (enum sync_variant variant = ONE_PAGE; variant <= PAGE_AT_HOME; variant++)
				add_sharing_row(p, id, page_bytes, variant);
}

/* @changed pages, by one node that is home of all; as many again on each node are the baseline's. */
static void add_storm_one(struct planning *p, size_t page_bytes, unsigned int changed,
			  enum sync_variant variant)
{
	size_t pages = (size_t)changed * (variant == SCATTERED || variant == LOG_OVERFLOW ? 2 : 1);

	add(p, (struct sync_row){
		   .id = STORM_ONE,
		   .home = HOME_HERE,
		   .variant = variant,
		   .page_bytes = page_bytes,
		   .region_bytes = pages * page_bytes,
		   .touched = 2 * p->nodes * pages,
		   .changed = changed,
		   .baseline =
		       variant == READAHEAD ? "madvise, copy, CONTINUE" : "madvise, SIGBUS, copy, CONTINUE",
		   .baseline_row = NO_ROW,
	       });
}

/* @changed pages by each node. */
static void add_storm_all(struct planning *p, size_t page_bytes, unsigned int changed,
			  enum sync_variant variant)
{
	size_t pages = p->nodes * changed;

	add(p, (struct sync_row){
		   .id = STORM_ALL,
		   .home = HOME_PARTS,
		   .variant = variant,
		   .page_bytes = page_bytes,
		   .region_bytes = pages * page_bytes,
		   .touched = p->nodes * pages,
		   .changed = changed,
		   .baseline = "MPI_Allgather",
		   .baseline_row = NO_ROW,
	       });
}

static void add_storms(struct planning *p)
{
	static const struct {
		void (*add)(struct planning *, size_t page_bytes, unsigned int changed, enum sync_variant);
		size_t page_bytes;
		unsigned int changed;
		enum sync_variant variant;
	} rows[] = {
	    {add_storm_one, SMALL, 1, FAULTS},	     {add_storm_one, SMALL, 16, FAULTS},
	    {add_storm_one, SMALL, 256, FAULTS},     {add_storm_one, SMALL, 256, SCATTERED},
	    {add_storm_one, SMALL, 256, READAHEAD},  {add_storm_one, SMALL, 4096, FAULTS},
	    {add_storm_one, SMALL, 4096, READAHEAD}, {add_storm_one, SMALL, LOG_OVERFLOW_PAGES, LOG_OVERFLOW},
	    {add_storm_one, LARGE, 1, FAULTS},	     {add_storm_one, LARGE, 8, FAULTS},
	    {add_storm_all, SMALL, 16, FAULTS},	     {add_storm_all, SMALL, 256, FAULTS},
	    {add_storm_all, SMALL, 1024, FAULTS},    {add_storm_all, SMALL, 1024, READAHEAD},
	    {add_storm_all, LARGE, 4, FAULTS},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		rows[i].add(p, rows[i].page_bytes, rows[i].changed, rows[i].variant);
}

static void add_barriers(struct planning *p)
{
	size_t barrier =
	    add(p, (struct sync_row){.id = BARRIER, .baseline = "MPI_Barrier", .baseline_row = NO_ROW});

	add_objects(p, (struct sync_row){
			   .id = BARRIER_PUBLISH,
			   .home = HOME_AROUND,
			   .changed = 1,
			   .baseline = barrier == NO_ROW ? NULL : "barrier",
			   .baseline_row = barrier,
		       });
}

static void add_words(struct planning *p)
{
	static const char *const baselines[] = {"CPU add", "CPU load", "CPU compare-swap"};

	for (unsigned int i = 0; i < 3; i++)
		for (enum sync_home home = HOME_HERE; home <= HOME_THERE; home++)
			add_object(p, ATOMIC_ADD + i, home, baselines[i]);
	add_object(p, ATOMIC_ADD_CONTENDED, HOME_HERE, "CPU add");
	add_object(p, EVENT_PINGPONG, HOME_AROUND, "cache line");
}

static void add_collectives(struct planning *p)
{
	add(p, (struct sync_row){.id = REDUCE, .baseline = "MPI_Allreduce", .baseline_row = NO_ROW});
	add(p, (struct sync_row){.id = BROADCAST, .baseline = "MPI_Bcast", .baseline_row = NO_ROW});
}

static void add_allocation(struct planning *p)
{
	add_object(p, MALLOC_FREE, HOME_HERE, "malloc, free");
	add_object(p, MALLOC_FREE, HOME_THERE, "malloc, free");
}

static void add_all(struct planning *p)
{
	p->plan->count = 0;
	add_acquire_nothing(p);
	add_acquire_changed(p);
	add_publish(p);
	add_store(p);
	add_diff(p);
	add_locks(p);
	add_sharing(p);
	add_storms(p);
	add_barriers(p);
	add_words(p);
	add_collectives(p);
	add_allocation(p);
}

int sync_plan_make(const struct sync_options *options, int nodes, bool rdma, struct sync_plan *out)
{
	struct sync_plan plan = {0};
	struct planning planning = {options, (uint64_t)nodes, rdma, &plan, 0};

	add_all(&planning);
	planning.capacity = plan.count;
	plan.rows = calloc(plan.count + 1, sizeof *plan.rows);
	if (!plan.rows)
		return -ENOMEM;
	if (planning.capacity)
		add_all(&planning);
	*out = plan;
	return 0;
}

void sync_plan_free(struct sync_plan *plan)
{
	free(plan->rows);
	*plan = (struct sync_plan){0};
}
