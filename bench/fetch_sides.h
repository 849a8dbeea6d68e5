/*
 * What fetch_bandwidth compares: regions of the runtime, and pages of floor.c, of which node 0 changes every
 * page before each pass, and over which the other nodes then pass.
 *
 * Memory is one range of pages, node 0 is home of all, and measuring node i has slice i - 1. What goes wrong
 * ends the job.
 */
#ifndef MINORCA_BENCH_FETCH_SIDES_H
#define MINORCA_BENCH_FETCH_SIDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/job.h"
#include "bench/placement.h"

struct bare;
struct floor;
struct team;
typedef struct dsm_region dsm_region;

/* In which order pages are touched. */
enum order { ORDER_SEQUENTIAL, ORDER_BACKWARD, ORDER_STRIDED, ORDER_RANDOM, ORDER_COUNT };

/* How pages come: by a fault for each; by faults that read ahead; by dsm_prefetch() in front of the reader.
 */
enum means { MEANS_FAULT, MEANS_READAHEAD, MEANS_PREFETCH, MEANS_COUNT };

/* How a pass is made. */
struct pass {
	enum order order;
	enum means means;
	unsigned int threads;
	size_t stride;	     /* pages from one to the next; 1 but for ORDER_STRIDED */
	size_t window_pages; /* that are brought in at once */
};

/* What the runtime counted. */
struct pass_counts {
	uint64_t faults, pages_read_ahead, bytes_fetched;
};

struct sides {
	const struct job *job;
	const struct placement *placement;
	struct team *team;
	struct bare *bare; /* NULL: shared memory */
	size_t page_bytes, pages /* of a slice */;
	uint64_t generation;	/* of what node 0 has written */
	dsm_region *regions[2]; /* without and with readahead */
	struct floor *floor;
	uint32_t *random_order; /* of the pages of a slice */
};

/** Collective, as all but the passes. */
void sides_open(struct sides *sides);
void sides_close(struct sides *sides);

/** Node 0 stores to every page, and publishes; every other node has nothing of it mapped. */
void sides_change(struct sides *sides);

/**
 * By measuring nodes: touches a word of each page of the slice (of every stride-th), in the order and by the
 * means of @pass, and checks what it finds. @return ns.
 */
uint64_t sides_pass(struct sides *sides, const struct pass *pass, struct pass_counts *counts);

/** The same by the barest code: SIGBUS, a copy and CONTINUE for each page; or, where pages may come in
 * windows
 * (@pass->window_pages is not 1), a copy and CONTINUE for each window. @return ns. */
uint64_t sides_floor_pass(struct sides *sides, const struct pass *pass);

/** The copies alone, in the same order and windows. @return ns. */
uint64_t sides_copy_pass(struct sides *sides, const struct pass *pass);

/** How many pages a pass touches. */
size_t sides_pages_of(const struct sides *sides, const struct pass *pass);

#endif
