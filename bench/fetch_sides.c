/*
 * Passes over pages that their home has changed. See fetch_sides.h.
 */
#include "bench/fetch_sides.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "bench/floor.h"
#include "bench/floor_source.h"
#include "bench/pattern.h"
#include "bench/team.h"
#include "bench/timer.h"
#include "kernel/memory.h"

static void require(int error, const char *what)
{
	if (error)
		job_fail("%s: %s", what, strerror(-error));
}

/* --- words --------------------------------------------------------------------------------------------- */

static size_t slices(const struct sides *s)
{
	return (size_t)s->job->nodes - 1;
}

static size_t first_page(const struct sides *s)
{
	return ((size_t)s->job->node - 1) * s->pages;
}

/* The runtime's blocks: a page of 4 KiB is one, a larger one has 64. All of them change. */
static size_t block_bytes(const struct sides *s)
{
	return s->page_bytes > 4 * KIB ? s->page_bytes / 64 : s->page_bytes;
}

/* A line of each block, not the same of all. */
static volatile uint64_t *word_of(const struct sides *s, char *base, size_t block)
{
	size_t at = block * block_bytes(s) + block * 64 % block_bytes(s);

	return (volatile uint64_t *)(void *)(base + at);
}

static uint64_t value_of(const struct sides *s, size_t block)
{
	return s->generation << 32 | block;
}

static void write_all(const struct sides *s, char *base)
{
	for (size_t block = 0; block < slices(s) * s->pages * s->page_bytes / block_bytes(s); block++)
		*word_of(s, base, block) = value_of(s, block);
}

/* --- the home changes all ------------------------------------------------------------------------------ */

static void change_region(const struct sides *s, dsm_region *region)
{
	char *base = dsm_region_base(region);

	if (s->job->node == 0) {
		require(dsm_prefetch(base, dsm_region_bytes(region), true), "dsm_prefetch()");
		write_all(s, base);
	} else { /* also what this pass will not touch */
		require(dsm_invalidate(base, dsm_region_bytes(region)), "dsm_invalidate()");
	}
}

void sides_change(struct sides *s)
{
	s->generation++;
	job_meet();
	for (size_t i = 0; i < 2; i++)
		if (s->regions[i])
			change_region(s, s->regions[i]);
	job_meet();
	require(dsm_barrier(), "dsm_barrier()");
	if (s->job->node == 0)
		write_all(s, floor_alias(s->floor));
	else
		require(floor_unmap(s->floor, first_page(s), s->pages), "floor: cannot un-map");
	job_meet();
}

/* --- a pass -------------------------------------------------------------------------------------------- */

/* What the threads of a pass share. */
struct walk {
	struct sides *sides;
	const struct pass *pass;
	char *base;
	/* Brings in pages [first, first + count) of the slice. NULL: nobody does, touching is enough. */
	int (*bring_in)(struct walk *walk, size_t first, size_t count);
	bool touch;
};

/* The @index-th page of the pass, within the slice. */
static size_t page_at(const struct walk *w, size_t index)
{
	switch (w->pass->order) {
	case ORDER_BACKWARD:
		return w->sides->pages - 1 - index;
	case ORDER_STRIDED:
		return index * w->pass->stride;
	case ORDER_RANDOM:
		return w->sides->random_order[index];
	default:
		return index;
	}
}

size_t sides_pages_of(const struct sides *s, const struct pass *pass)
{
	return s->pages / (pass->order == ORDER_STRIDED ? pass->stride : 1);
}

/* A window that begins with the @index-th page: of neighbours, or of one page. */
static size_t bring_in_window(struct walk *w, size_t index, size_t end)
{
	bool neighbours = w->pass->order == ORDER_SEQUENTIAL || w->pass->order == ORDER_BACKWARD;
	size_t count = neighbours ? w->pass->window_pages : 1, page = page_at(w, index);

	count = count < end - index ? count : end - index;
	require(w->bring_in(w, w->pass->order == ORDER_BACKWARD ? page - (count - 1) : page, count),
		"bringing pages in");
	return count;
}

/* One word of the page. */
static void check(const struct walk *w, size_t index)
{
	size_t page = first_page(w->sides) + page_at(w, index);
	size_t block = page * (w->sides->page_bytes / block_bytes(w->sides));
	uint64_t found = *word_of(w->sides, w->base, block);

	if (found != value_of(w->sides, block))
		job_fail("page %zu: loaded %#" PRIx64 ", its home had written %#" PRIx64, page, found,
			 value_of(w->sides, block));
}

/* Thread @thread's part of the pass. */
static void walk_part(void *argument, unsigned int thread)
{
	struct walk *w = argument;
	size_t all = sides_pages_of(w->sides, w->pass), threads = w->pass->threads;
	size_t index = all * thread / threads, end = all * (thread + 1) / threads;

	for (size_t ready = index; index < end; index++) {
		if (w->bring_in && index == ready)
			ready += bring_in_window(w, index, end);
		if (w->touch)
			check(w, index);
	}
}

static uint64_t walk_all(struct walk *w)
{
	uint64_t before = timer_now_ns();

	team_run(w->sides->team, w->pass->threads, walk_part, w);
	return timer_now_ns() - before;
}

static int prefetch(struct walk *w, size_t first, size_t count)
{
	return dsm_prefetch(w->base + (first_page(w->sides) + first) * w->sides->page_bytes,
			    count * w->sides->page_bytes, false);
}

static struct dsm_stats stats(void)
{
	struct dsm_stats now;

	require(dsm_stats(&now), "dsm_stats()");
	return now;
}

uint64_t sides_pass(struct sides *s, const struct pass *pass, struct pass_counts *counts)
{
	dsm_region *region = s->regions[pass->means == MEANS_READAHEAD];
	struct walk w = {s, pass, dsm_region_base(region), pass->means == MEANS_PREFETCH ? prefetch : NULL,
			 true};
	struct dsm_stats before = stats();
	uint64_t ns = walk_all(&w);
	struct dsm_stats after = stats();

	*counts = (struct pass_counts){
	    .faults = after.faults - before.faults,
	    .pages_read_ahead = after.pages_read_ahead - before.pages_read_ahead,
	    .bytes_fetched = after.bytes_fetched - before.bytes_fetched,
	};
	return ns;
}

/* --- the floor ----------------------------------------------------------------------------------------- */

static int copy_and_map(struct walk *w, size_t first, size_t count)
{
	return floor_prefetch(w->sides->floor, first_page(w->sides) + first, count);
}

static int copy(struct walk *w, size_t first, size_t count)
{
	return floor_hold(w->sides->floor, first_page(w->sides) + first, count);
}

uint64_t sides_floor_pass(struct sides *s, const struct pass *pass)
{
	const struct pattern whole = {.page_bytes = s->page_bytes, .blocks = 1, .changed = 1};
	bool by_faults = pass->window_pages == 1;
	struct walk w = {s, pass, floor_base(s->floor), by_faults ? NULL : copy_and_map, true};

	if (!by_faults)
		return walk_all(&w);
	floor_set_work(s->floor, FLOOR_COPY | FLOOR_MAP, &whole);
	require(floor_listen(s->floor), "floor: cannot take faults");
	uint64_t ns = walk_all(&w);
	floor_deafen(s->floor);
	return ns;
}

uint64_t sides_copy_pass(struct sides *s, const struct pass *pass)
{
	struct walk w = {s, pass, NULL, copy, false};

	return walk_all(&w);
}

/* --- set-up -------------------------------------------------------------------------------------------- */

static dsm_region *make_region(const struct sides *s, enum dsm_readahead readahead)
{
	const struct dsm_region_options options = {
	    .page_size_bytes = s->page_bytes,
	    .home = DSM_HOME_NODE,
	    .delivery = DSM_DELIVERY_INLINE,
	    .readahead = readahead,
	};
	dsm_region *region;

	require(dsm_region_create("fetch_bandwidth", slices(s) * s->pages * s->page_bytes, &options, &region),
		"dsm_region_create()");
	return region;
}

static void open_floor(struct sides *s)
{
	const struct floor_options options = {
	    .page_bytes = s->page_bytes,
	    .pages = slices(s) * s->pages,
	    .delivery = FLOOR_INLINE,
	    .topology = s->placement->topology,
	    .handler_pu = s->placement->handler_pu,
	    .bare = s->bare,
	};
	bool home = s->job->node == 0;
	size_t first = home ? 0 : first_page(s), count = home ? slices(s) * s->pages : s->pages;

	require(floor_create(&options, &s->floor), "floor: cannot make memory with userfaultfd");
	require(floor_allocate(s->floor, first, count), "floor: cannot allocate pages");
	job_meet();
	if (s->bare)
		floor_expose(s->floor, first, count);
	else
		floor_source_attach(s->job, s->floor);
	job_meet();
}

void sides_open(struct sides *s)
{
	s->generation = 0;
	s->random_order = malloc(s->pages * sizeof *s->random_order);
	if (!s->random_order)
		job_fail("out of memory");
	pattern_permute(s->random_order, (uint32_t)s->pages, 1);
	s->regions[0] = make_region(s, DSM_READAHEAD_OFF);
	s->regions[1] = make_region(s, DSM_READAHEAD_AUTO);
	open_floor(s);
}

void sides_close(struct sides *s)
{
	job_meet();
	floor_destroy(s->floor);
	for (size_t i = 0; i < 2; i++)
		require(dsm_region_destroy(s->regions[i]), "dsm_region_destroy()");
	free(s->random_order);
}
