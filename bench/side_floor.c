/*
 * The floor's side: brings the pages of floor.c into the state that the case begins with, and on the way does
 * to caches what the runtime does to them. A copy of 2 MiB is several times as fast from a cache as from
 * memory, so the home writes the same words, makes a twin first and compares with it after, where the
 * runtime's home does.
 */
#include "bench/side.h"

#include <stdlib.h>
#include <unistd.h>

#include "bench/delivery.h"
#include "bench/floor.h"

struct floor_state {
	struct floor *floor;
	/*
	 * The memory that copies come from, where this node writes it: the home's own floor. Without RDMA, on
	 * another machine than the home's, a stand-in. NULL elsewhere.
	 */
	struct floor *master;
	struct floor *stand_in;
};

static struct floor *floor_of(const struct side *side)
{
	return ((struct floor_state *)side->state)->floor;
}

static bool close_each_turn(const struct setup *setup)
{
	return setup_shares_memory(setup->page_bytes); /* its handler sleeps when it is not listening */
}

/* What a fault of this case comes down to. */
static unsigned int work_of(const struct side *side)
{
	const struct setup *s = side->setup;
	unsigned int twin = s->access == ACCESS_WRITE ? FLOOR_TWIN : 0;

	switch (s->kind->before) {
	case PAGE_NEVER_SEEN: /* pages of 4 KiB are allocated by the copy itself, registered ones before */
		return (s->blocks > 1 && !side->bare ? FLOOR_ALLOCATE : 0) | FLOOR_COPY | FLOOR_MAP | twin;
	case PAGE_OUT_OF_DATE:
		return FLOOR_COPY | FLOOR_MAP | twin;
	case PAGE_UP_TO_DATE: /* in shared memory a look at the version costs nothing */
		return (side->bare ? FLOOR_ASK : 0) | FLOOR_MAP | twin;
	case PAGE_READ_ONLY:
		return FLOOR_UNPROTECT | twin;
	}
	return 0;
}

/* --- the home ------------------------------------------------------------------------------------------ */

/* What happens to the home's memory when the home stores to its pages, and publishes them. */
static void write_master(struct side *side, struct floor *master)
{
	size_t pages = side_pages(side);
	bool twins = side->setup->blocks > 1; /* a page of one block needs none at home */

	if (twins)
		floor_twin(master, 0, pages);
	for (size_t page = 0; page < pages; page++)
		pattern_write(&side->pattern, page, side_page(side, floor_alias(master), page));
	if (twins)
		floor_compare(master, 0, pages);
}

static void home_writes(struct side *side, unsigned int changed)
{
	struct floor_state *state = side->state;

	side_next_pattern(side, changed);
	floor_set_work(state->floor, work_of(side), &side->pattern);
	if (state->master) {
		floor_set_work(state->master, 0, &side->pattern);
		write_master(side, state->master);
	}
	job_meet();
}

/* What the device is to reach: the home's pages all, of other nodes their slice. */
static void expose(struct side *side)
{
	bool home = side_is_home(side);

	floor_expose(floor_of(side), home ? 0 : side_first(side),
		     home ? side_pages(side) : side->setup->pages);
}

/* Fresh memory everywhere, and the home's written. */
static void renew(struct side *side)
{
	struct floor_state *state = side->state;

	job_meet(); /* nobody reads what is there any more */
	side_require(side, floor_renew(state->floor), "cannot free pages");
	if (state->master && state->master != state->floor)
		side_require(side, floor_renew(state->master), "cannot free pages");
	job_meet();
	if (state->master)
		side_require(side, floor_allocate(state->master, 0, side_pages(side)),
			     "cannot allocate pages");
	if (side->bare)
		expose(side);
	home_writes(side, side->setup->blocks);
	if (!side_is_home(side) && !side->bare)
		side_require(side, floor_populate_source(state->floor), "cannot map the home's pages");
}

/* --- making it ----------------------------------------------------------------------------------------- */

static struct floor *make_floor(struct side *side)
{
	const struct floor_options options = {
	    .page_bytes = side->setup->page_bytes,
	    .pages = side_pages(side),
	    .delivery = delivery_of_floor(side->setup->delivery),
	    .topology = side->placement->topology,
	    .handler_pu = side->placement->handler_pu,
	    .bare = side->bare,
	};
	struct floor *floor = NULL;

	side_require(side, floor_create(&options, &floor),
		     "cannot make memory with userfaultfd (see `minorca info`)");
	return floor;
}

/* Whose memory this node copies from: that of node 0, or its own stand-in. */
static void attach_source(struct side *side)
{
	struct floor_state *state = side->state;
	struct {
		pid_t pid;
		int fd;
	} home = {getpid(), floor_file(state->floor)};

	job_share(&home, sizeof home);
	if (side_is_home(side))
		return;
	if (state->stand_in) {
		home.pid = getpid();
		home.fd = floor_file(state->stand_in);
	}
	side_require(side, floor_attach_source(state->floor, home.pid, home.fd),
		     "cannot open the home's memory");
}

static void open_side(struct side *side)
{
	const struct setup *s = side->setup;
	struct floor_state *state = calloc(1, sizeof *state);

	if (!state)
		job_fail("out of memory");
	side->state = state;
	side->round = 0;
	state->floor = make_floor(side);
	if (!side->job->home_is_here && !side->bare)
		state->stand_in = make_floor(side);
	state->master = side_is_home(side) ? state->floor : state->stand_in;
	side->base = floor_base(state->floor);
	if (!side->bare)
		attach_source(side);
	renew(side);
	if (side_is_home(side))
		return;
	side_require(side, floor_allocate(state->floor, side_first(side), s->pages), "cannot allocate pages");
	side_require(side, floor_hold(state->floor, side_first(side), s->pages),
		     "cannot read the home's pages");
	if (s->access == ACCESS_WRITE)
		floor_twin(state->floor, side_first(side),
			   s->pages); /* so that they are not new when a fault needs them */
	if (s->kind->before == PAGE_READ_ONLY)
		side_require(side, floor_map(state->floor, side_first(side), s->pages), "cannot map pages");
}

/* --- a round ------------------------------------------------------------------------------------------- */

static void unmap_slice(struct side *side)
{
	if (!side_is_home(side))
		side_require(side, floor_unmap(floor_of(side), side_first(side), side->setup->pages),
			     "cannot unmap pages");
}

static void prepare(struct side *side)
{
	side->round++;
	switch (side->setup->kind->before) {
	case PAGE_NEVER_SEEN:
		renew(side);
		break;
	case PAGE_OUT_OF_DATE:
		home_writes(side, side->setup->changed);
		unmap_slice(side);
		break;
	case PAGE_UP_TO_DATE:
		floor_set_work(floor_of(side), work_of(side), &side->pattern); /* prepare_map() changes it */
		unmap_slice(side);
		break;
	case PAGE_READ_ONLY: /* mapped by open(), protected by check_stores() */
		break;
	}
}

static void prepare_map(struct side *side)
{
	floor_set_work(floor_of(side), FLOOR_MAP, &side->pattern);
	unmap_slice(side);
}

static int read_page(struct side *side, size_t page)
{
	return floor_read(floor_of(side), work_of(side), page);
}

static void begin(struct side *side)
{
	side_require(side, floor_listen(floor_of(side)), "cannot take faults");
}

static void end(struct side *side, struct counts *counts)
{
	floor_deafen(floor_of(side));
	*counts = (struct counts){0};
}

static int prefetch(struct side *side, void *address, size_t bytes)
{
	size_t first = (size_t)((char *)address - side->base) / side->setup->page_bytes;

	return floor_prefetch(floor_of(side), first, bytes / side->setup->page_bytes);
}

/* What publishing does to the node that has stored: protects the pages, and compares them with their twins.
 */
static void check_stores(struct side *side)
{
	struct floor *floor = floor_of(side);
	size_t pages = side->setup->pages;

	job_meet();
	if (side_is_home(side))
		return;
	side_require(side, floor_protect(floor, side_first(side), pages), "cannot protect pages");
	if (floor_compare(floor, side_first(side), pages) != (int)pages)
		job_fail("floor, case %s: not every page differs from its twin in one block",
			 side->setup->kind->name);
}

static void close_side(struct side *side)
{
	struct floor_state *state = side->state;

	job_meet();
	floor_destroy(state->stand_in);
	floor_destroy(state->floor);
	free(state);
	side->state = NULL;
}

const struct side_operations side_floor = {
    .name = "floor",
    .close_each_turn = close_each_turn,
    .open = open_side,
    .prepare = prepare,
    .begin = begin,
    .end = end,
    .prefetch = prefetch,
    .prepare_map = prepare_map,
    .read = read_page,
    .check_stores = check_stores,
    .close = close_side,
};
