/*
 * The runtime's side: everything goes through <minorca.h>, as an application would do it.
 */
#include "bench/side.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/delivery.h"

/* How long the counters of a handler thread may lag behind the fault that it has resolved. */
#define COUNTERS_SETTLE_US 100000
#define SETTLE_BARRIERS 24 /* see settle() */

/* How long a spinning handler goes on after its last fault, and a bit: the floor is not measured meanwhile.
 */
#define HANDLERS_SETTLE_US 3000

struct dsm_state {
	dsm_region *region;
	struct dsm_stats before; /* of the round */
};

/* Pages never seen are had by making a new region; of pages of 1 GiB there are seldom enough for both sides.
 */
static bool close_each_turn(const struct setup *setup)
{
	return setup_needs_new_pages(setup) || setup_shares_memory(setup->page_bytes);
}

/* Made writable in one call: the home's own faults are not what is measured, and thousands of them take their
 * time. */
static void home_writes(struct side *side, unsigned int changed)
{
	size_t pages = side_pages(side);

	side_next_pattern(side, changed);
	/* Nobody reads meanwhile: what is read of a page of many blocks while its home stores is read again
	 * later. */
	job_meet();
	if (side_is_home(side)) {
		side_require(side, dsm_prefetch(side->base, pages * side->setup->page_bytes, true),
			     "dsm_prefetch()");
		for (size_t page = 0; page < pages; page++)
			pattern_write(&side->pattern, page, side_page(side, side->base, page));
	}
	job_meet();
	side_require(side, dsm_barrier(), "dsm_barrier()");
}

/* Maps this node's slice for reading. */
static void read_slice(struct side *side)
{
	const struct setup *s = side->setup;

	if (!side_is_home(side))
		side_require(side,
			     dsm_prefetch(side_page(side, side->base, side_first(side)),
					  s->pages * s->page_bytes, false),
			     "dsm_prefetch()");
}

static void make_region(struct side *side, struct dsm_state *state)
{
	const struct setup *s = side->setup;
	const struct dsm_region_options options = {
	    .page_size_bytes = s->page_bytes,
	    .home = DSM_HOME_NODE,
	    .home_node = 0,
	    .delivery = delivery_of_runtime(s->delivery),
	    .readahead = DSM_READAHEAD_OFF, /* one page, one fault */
	};

	job_meet();
	side_require(
	    side,
	    dsm_region_create("fault_latency", side_pages(side) * s->page_bytes, &options, &state->region),
	    "dsm_region_create()");
	side->base = dsm_region_base(state->region);
}

/*
 * The home has stored in bulk, and finds its stores by scanning from then on (dsm/home_writes.h) until some
 * scans have found nothing. When it goes back it may take pages for changed that others publish at that
 * moment; that is to be over before faults are counted.
 */
static void settle(struct side *side)
{
	for (int i = 0; i < SETTLE_BARRIERS; i++)
		side_require(side, dsm_barrier(), "dsm_barrier()");
}

static void open_side(struct side *side)
{
	struct dsm_state *state = calloc(1, sizeof *state);

	if (!state)
		job_fail("out of memory");
	side->state = state;
	side->round = 0;
	make_region(side, state);
	home_writes(side, side->setup->blocks);
	settle(side);
	if (side->setup->kind->before != PAGE_NEVER_SEEN)
		read_slice(side);
}

static void un_map(struct side *side)
{
	const struct setup *s = side->setup;

	if (!side_is_home(side))
		side_require(
		    side,
		    dsm_invalidate(side_page(side, side->base, side_first(side)), s->pages * s->page_bytes),
		    "dsm_invalidate()");
}

static void prepare(struct side *side)
{
	const struct setup *s = side->setup;

	side->round++;
	switch (s->kind->before) {
	case PAGE_NEVER_SEEN: /* open() left them so */
		break;
	case PAGE_OUT_OF_DATE:
		home_writes(side, s->changed);
		break;
	case PAGE_UP_TO_DATE:
		un_map(side);
		break;
	case PAGE_READ_ONLY:
		/* Un-mapped before: a page that was stored to in the last round keeps its twin, and stored to
		 * round after round it would not fault any more. Here it is as after a first load. */
		un_map(side);
		read_slice(side);
		break;
	}
}

static void begin(struct side *side)
{
	struct dsm_state *state = side->state;

	side_require(side, dsm_stats(&state->before), "dsm_stats()");
}

/* A handler thread counts a fault a moment after it has let the thread go on that met it. */
static void wait_for_counters(struct side *side, struct dsm_stats *now)
{
	struct dsm_state *state = side->state;
	uint64_t expected = state->before.faults + (side->setup->kind->sweep ? 0 : side->setup->pages);

	for (int waited_us = 0; waited_us < COUNTERS_SETTLE_US; waited_us += 100) {
		side_require(side, dsm_stats(now), "dsm_stats()");
		if (side_is_home(side) || now->faults >= expected)
			return;
		usleep(100);
	}
}

static void end(struct side *side, struct counts *counts)
{
	const struct dsm_stats *before = &((struct dsm_state *)side->state)->before;
	struct dsm_stats now;

	wait_for_counters(side, &now);
	if (side->setup->delivery == DELIVERY_THREAD_SPIN)
		usleep(HANDLERS_SETTLE_US);
	*counts = (struct counts){
	    .faults = now.faults - before->faults,
	    .bytes_fetched = now.bytes_fetched - before->bytes_fetched,
	    .blocks_fetched = now.blocks_fetched - before->blocks_fetched,
	    .pages_current = now.pages_current - before->pages_current,
	};
}

static int prefetch(struct side *side, void *address, size_t bytes)
{
	(void)side;
	return dsm_prefetch(address, bytes, false);
}

/* After a barrier the home must have them. */
static void check_stores(struct side *side)
{
	job_meet();
	side_require(side, dsm_barrier(), "dsm_barrier()");
	for (size_t page = 0; side_is_home(side) && page < side_pages(side); page++) {
		const char *at = side_page(side, side->base, page) + pattern_offset(&side->pattern, page);
		uint64_t found = ((const volatile uint64_t *)(const void *)at)[1];
		uint64_t stored = pattern_store(&side->pattern, page, side->round);
		if (found != stored)
			job_fail("case %s: page %zu at its home holds %#" PRIx64
				 " where node %zu stored %#" PRIx64,
				 side->setup->kind->name, page, found, page / side->setup->pages + 1, stored);
	}
}

static void close_side(struct side *side)
{
	struct dsm_state *state = side->state;

	job_meet();
	side_require(side, dsm_region_destroy(state->region), "dsm_region_destroy()");
	free(state);
	side->state = NULL;
}

const struct side_operations side_dsm = {
    .name = "runtime",
    .close_each_turn = close_each_turn,
    .open = open_side,
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .prefetch = prefetch,
    .check_stores = check_stores,
    .close = close_side,
};
