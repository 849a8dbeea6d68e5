/*
 * Values of options on a command line that argp reads, and what is said of those that are refused.
 *
 * Every reader returns 0, or EINVAL for argp; then there is one line in @error, and outputs are untouched.
 */
#ifndef MINORCA_BENCH_ARGUMENT_H
#define MINORCA_BENCH_ARGUMENT_H

#include <stdint.h>

#include "bench/output.h"

#define ARGUMENT_ERROR_MAX 256

/** "--OPTION: 'VALUE' is not EXPECTED". @return EINVAL. */
int argument_refuse(char error[ARGUMENT_ERROR_MAX], const char *option, const char *value,
		    const char *expected);

/** Names or shell patterns of a set of at most 32 words, see list_parse_words(). */
int argument_words(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text,
		   const char *const *words, uint32_t *mask);

int argument_number(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text, uint64_t minimum,
		    uint64_t maximum, uint64_t *number);

/** "64MiB" */
int argument_size(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text, uint64_t *bytes);

/** --json and --csv exclude each other. */
int argument_format(char error[ARGUMENT_ERROR_MAX], enum output_format wanted, enum output_format *format);

/** What is not an option. @return EINVAL. */
int argument_stray(char error[ARGUMENT_ERROR_MAX], const char *text);

#endif
