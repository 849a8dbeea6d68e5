/*
 * The command line of migration.
 */
#ifndef MINORCA_BENCH_MIGRATION_OPTIONS_H
#define MINORCA_BENCH_MIGRATION_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/command_line.h"

#define MIGRATION_LIST_MAX 16

/* As bits of a mask and as indexes of migration_mode_names(), in the order of the run. */
enum { MODE_STOP_AND_COPY, MODE_PRE_COPY, MODE_POST_COPY, MODE_MINOR, MODES };

struct number_list {
	uint64_t values[MIGRATION_LIST_MAX];
	size_t count;
};

struct migration_options {
	struct command_line line;
	uint32_t modes;			       /* mask */
	struct number_list page_sizes, memory; /* bytes */
	struct number_list rates;	       /* percent of the pages in a second */
	uint64_t working_percent, repetitions, fault_rounds;
	unsigned int delivery; /* DELIVERY_* of options.h */
};

/* For command_line_read(), and what it begins with. */
extern const struct argp migration_options_argp;
extern const struct migration_options migration_options_defaults;

/** NULL-terminated. */
const char *const *migration_mode_names(void);

/** What --list prints. */
void migration_options_print_modes(FILE *stream);

#endif
