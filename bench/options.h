/*
 * The command line of fault_latency.
 */
#ifndef MINORCA_BENCH_OPTIONS_H
#define MINORCA_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/command_line.h"

#define OPTIONS_LIST_MAX 16

/*
 * The deliveries that are measured, as bits of a mask and as indexes of delivery_names(), in the order of the
 * run: the one that keeps cores busy comes last.
 */
enum { DELIVERY_INLINE, DELIVERY_THREAD_BLOCK, DELIVERY_THREAD_SPIN, DELIVERY_COUNT };

struct option_list {
	uint64_t values[OPTIONS_LIST_MAX];
	size_t count;
	bool given; /* on the command line; otherwise the default */
};

struct options {
	struct command_line line;
	bool floor_only;
	bool anatomy;	   /* the stages of faults, and no floor */
	bool kernel;	   /* those of the kernel */
	bool distribution; /* quantiles of each row too; JSON only */

	/* What to cross. Masks: of cases_table(), delivery_names(), access_names(). */
	uint32_t cases, deliveries, accesses;
	bool deliveries_given;
	struct option_list page_sizes, threads, blocks;

	uint64_t iterations;   /* samples of each case from each thread; 0: as time allows */
	uint64_t time_s;       /* for all cases together, when iterations is 0 */
	uint64_t region_bytes; /* for each measuring node; 0: by page size */
	uint64_t seed;
};

/** "inline", "thread-block", "thread-spin"; NULL-terminated. Static. */
const char *const *delivery_names(void);

/* For command_line_read(), and what it begins with. */
extern const struct argp options_argp;
extern const struct options options_defaults;

/** What --list prints: the cases, and what each is. */
void options_print_cases(FILE *stream);

#endif
