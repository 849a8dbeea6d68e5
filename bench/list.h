/*
 * Comma-separated lists on the command line: numbers, sizes, words.
 *
 * Every parser returns 0; -EINVAL: an element is not what was asked for; -E2BIG: more elements than
 * @capacity. On an error, outputs are untouched but for @bad, which holds the element that was refused.
 */
#ifndef MINORCA_BENCH_LIST_H
#define MINORCA_BENCH_LIST_H

#include <stddef.h>
#include <stdint.h>

/* The longest element that is quoted back in full. */
#define LIST_ELEMENT_MAX 64

/** "4096", "4K", "4KiB", "2m", "1GiB" in bytes, powers of 1024; the whole text must be a size above zero. */
int list_parse_size(const char *text, uint64_t *bytes);

/** Decimal, @minimum to @maximum; the whole text must be a number. */
int list_parse_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *number);

/** "4KiB,2MiB" */
int list_parse_sizes(const char *text, size_t capacity, uint64_t *sizes, size_t *count,
		     char bad[LIST_ELEMENT_MAX]);

/** "1,2,4" */
int list_parse_numbers(const char *text, uint64_t minimum, uint64_t maximum, size_t capacity,
		       uint64_t *numbers, size_t *count, char bad[LIST_ELEMENT_MAX]);

/**
 * Names or shell patterns ("fetch_*,current") of a set of words.
 *
 * @param words     the set, NULL-terminated, at most 32 of them
 * @param selected  set to the mask of the words that an element matches; each element must match one
 */
int list_parse_words(const char *text, const char *const *words, uint32_t *selected,
		     char bad[LIST_ELEMENT_MAX]);

#endif
