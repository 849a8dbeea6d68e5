/*
 * What the command lines of all benchmarks have in common: what is printed, help, and reading them by argp.
 */
#ifndef MINORCA_BENCH_COMMAND_LINE_H
#define MINORCA_BENCH_COMMAND_LINE_H

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>

#include "bench/argument.h"
#include "bench/output.h"

enum command_action { COMMAND_RUN, COMMAND_LIST, COMMAND_HELP };

/* The first member of a benchmark's options, which are what its argp parser gets as input. */
struct command_line {
	enum command_action action;
	enum output_format format;
	const char *commit;		/* NULL: what the build says */
	char error[ARGUMENT_ERROR_MAX]; /* ours to explain, one line; else empty */
};

/* The `children` of a benchmark's argp: --json, --csv, --commit, --help, and what is no option. */
extern const struct argp_child command_line_common[];

/** What a benchmark's parser does with keys that it does not know. */
error_t command_line_other(int key, struct argp_state *state);

/**
 * Reads a command line into the options whose first member is @line.
 *
 * @param speak  print what argp itself has to say of an option that does not exist
 * @return 0 or -EINVAL.
 */
int command_line_parse(const struct argp *argp, int argc, char **argv, bool speak, struct command_line *line);

/**
 * The same before MPI is there, with node 0 speaking for all; answers --help and --list.
 *
 * @param print_cases  what --list prints; NULL: there is no --list
 * @return the exit status; -1: run.
 */
int command_line_read(const struct argp *argp, const char *program, int argc, char **argv,
		      struct command_line *line, void (*print_cases)(FILE *stream));

#endif
