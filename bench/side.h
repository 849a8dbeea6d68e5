/*
 * The two sides that are compared: the runtime (side_dsm.c) and its floor (side_floor.c). Both bring the same
 * pages into the same state; harness.c touches them with the same code.
 *
 * Memory is one range of pages, laid out alike on every node: node 0 is home of all, and measuring node i
 * touches slice i - 1 of it, so that nodes do not disturb each other's pages.
 *
 * Every operation is made by all nodes together, by one thread of each; what goes wrong ends the job with a
 * message, unless the operation says otherwise.
 */
#ifndef MINORCA_BENCH_SIDE_H
#define MINORCA_BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/job.h"
#include "bench/pattern.h"
#include "bench/placement.h"
#include "bench/plan.h"

/* What the runtime counted while pages were touched; the floor counts nothing. */
struct counts {
	uint64_t faults;
	uint64_t bytes_fetched, blocks_fetched;
	uint64_t pages_current; /* mapped without reading a byte */
};

struct bare;

struct side {
	const struct side_operations *operations;
	const struct job *job;
	struct bare *bare; /* for the floor, where the runtime uses RDMA; else NULL */
	const struct placement *placement;
	const struct setup *setup;
	uint64_t seed;

	char *base;		/* where to touch; set by open() */
	struct pattern pattern; /* what the home wrote last */
	uint64_t round;		/* counts prepare() since open() */
	void *state;		/* the operations' own */
};

struct side_operations {
	const char *name;

	/* It must be closed after each turn, so that it does not run on in the background. */
	bool (*close_each_turn)(const struct setup *setup);

	/* Makes the memory; the home writes it; unless the case is about pages never seen, the other nodes
	 * hold it. */
	void (*open)(struct side *side);
	/* Brings the pages into the state that the case begins with. */
	void (*prepare)(struct side *side);
	/* Just before and just after the touches of a round. */
	void (*begin)(struct side *side);
	void (*end)(struct side *side, struct counts *counts);
	/* Brings in a part of this node's slice. Any thread, between begin() and end(). @return 0 or -errno.
	 */
	int (*prefetch)(struct side *side, void *address, size_t bytes);
	/* Of a fault that reads from the home by RDMA, its two parts: makes pages that are held fault again,
	 * and a fault do nothing but map; what a fault reads of a page, without one (any thread, as
	 * prefetch()). NULL: nobody asks. */
	void (*prepare_map)(struct side *side);
	int (*read)(struct side *side, size_t page);
	/* After a round of stores: sees to it that they arrive where they must, and checks it. */
	void (*check_stores)(struct side *side);
	/* Gives the memory back. */
	void (*close)(struct side *side);
};

extern const struct side_operations side_dsm, side_floor;

/* --- what both sides need ------------------------------------------------------------------------------ */

/** Pages of all slices together. */
size_t side_pages(const struct side *side);

/** The first page of this node's slice; of measuring nodes only. */
size_t side_first(const struct side *side);

static inline bool side_is_home(const struct side *side)
{
	return side->job->node == 0;
}

/** Where page @page begins, in a mapping that begins at @base. */
static inline char *side_page(const struct side *side, char *base, size_t page)
{
	return base + page * side->setup->page_bytes;
}

/** Sets the pattern for the next time that the home writes, @changed blocks of each page. */
void side_next_pattern(struct side *side, unsigned int changed);

/** Ends the job if @error is one: "PROGRAM: node N: SIDE: WHAT: ...". */
void side_require(const struct side *side, int error, const char *what);

#endif
