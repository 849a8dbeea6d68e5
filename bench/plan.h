/*
 * The plan of a run: every case crossed with page sizes, deliveries, accesses and numbers of threads.
 */
#ifndef MINORCA_BENCH_PLAN_H
#define MINORCA_BENCH_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/cases.h"
#include "bench/options.h"

/* One row of the results, before it is measured. Immutable. */
struct setup {
	const struct fault_case *kind;
	size_t page_bytes;
	unsigned int blocks;   /* of a page */
	unsigned int changed;  /* of those, how many are out of date: the JSON field `blocks` */
	unsigned int delivery; /* DELIVERY_* */
	enum access access;
	unsigned int threads;
	size_t pages; /* of each measuring node */
};

struct plan {
	struct setup *setups;
	size_t count;
};

/**
 * Crosses what @options ask for.
 *
 * @param page_limit  for each of options->page_sizes, how many pages a measuring node may have; 0: the size
 * is left out
 * @return 0 or -ENOMEM. To be freed by plan_free().
 */
int plan_make(const struct options *options, const size_t *page_limit, struct plan *out);
void plan_free(struct plan *plan);

/** The most threads that any row asks for. */
unsigned int plan_threads(const struct plan *plan);

/** Pages that a measuring node needs at least, and those that it has by default, for the largest row of this
 * page size. */
size_t plan_pages_least(const struct options *options, size_t page_bytes);
size_t plan_pages_wanted(const struct options *options, size_t page_bytes);

/** True for PAGE_NEVER_SEEN: each round needs pages that no round before had. */
bool setup_needs_new_pages(const struct setup *setup);

/** True for pages so large that the runtime and the floor have the same hugepages, one after the other. */
bool setup_shares_memory(size_t page_bytes);

#endif
