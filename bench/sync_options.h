/*
 * The command line of sync.
 */
#ifndef MINORCA_BENCH_SYNC_OPTIONS_H
#define MINORCA_BENCH_SYNC_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/argument.h"
#include "bench/output.h"

enum sync_action { SYNC_RUN, SYNC_LIST, SYNC_HELP };

struct sync_options {
	enum sync_action action;
	enum output_format format;
	const char *commit;    /* NULL: what the build says */
	uint32_t cases;	       /* mask of sync_case_names() */
	uint64_t samples;      /* of each row; 0: as time allows */
	uint64_t seconds;      /* for all rows together, when samples is 0 */
	uint64_t region_bytes; /* of acquire_nothing's large region */
};

/**
 * Reads the command line.
 *
 * @param speak  print what argp itself has to say of an option that does not exist
 * @param error  on an error that is ours to explain, one line; else empty
 * @return 0 or -EINVAL.
 */
int sync_options_parse(int argc, char **argv, bool speak, struct sync_options *out,
		       char error[ARGUMENT_ERROR_MAX]);

/** What --help prints. */
void sync_options_print_help(const char *program, FILE *stream);

/** What --list prints: the cases, and what each is. */
void sync_options_print_cases(FILE *stream);

#endif
