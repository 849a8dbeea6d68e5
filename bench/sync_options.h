/*
 * The command line of sync.
 */
#ifndef MINORCA_BENCH_SYNC_OPTIONS_H
#define MINORCA_BENCH_SYNC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/command_line.h"

struct sync_options {
	struct command_line line;
	uint32_t cases;	       /* mask of sync_case_names() */
	uint64_t samples;      /* of each row; 0: as time allows */
	uint64_t seconds;      /* for all rows together, when samples is 0 */
	uint64_t region_bytes; /* of acquire_nothing's large region */
};

/* For command_line_read(), and what it begins with. */
extern const struct argp sync_options_argp;
extern const struct sync_options sync_options_defaults;

/** What --list prints: the cases, and what each is. */
void sync_options_print_cases(FILE *stream);

#endif
