/*
 * A set of page numbers that many threads add to and one thread takes from: two levels of bits, so that
 * taking costs what is in it and not what could be.
 *
 * Adding is wait-free, allocates nothing and is async-signal-safe.
 */
#ifndef MINORCA_DSM_PAGE_SET_H
#define MINORCA_DSM_PAGE_SET_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct page_set {
	_Atomic uint64_t *leaf;	   /* bit p % 64 of word p / 64: page p is in the set */
	_Atomic uint64_t *summary; /* bit w % 64 of word w / 64: leaf word w may be non-zero */
	size_t leaf_words, summary_words;
	size_t mapped_bytes;
};

/** Makes an empty set for pages 0 .. @pages - 1. Costs address space; memory when used. @return 0 or -ENOMEM.
 */
int page_set_create(struct page_set *set, size_t pages);
void page_set_destroy(struct page_set *set);

/** Adds a page. Any thread, at any time. */
void page_set_add(struct page_set *set, size_t page);

/**
 * Takes all pages out and calls @visit for each run of consecutive ones, ascending, at most @max_run pages
 * long. A page that is added meanwhile is either visited or stays for the next time. One thread at a time.
 * @visit may add pages again.
 *
 * @return 0, or the first non-zero that @visit returned; then the pages that were not visited, and those of
 * that run, are in the set again.
 */
int page_set_take(struct page_set *set, size_t max_run,
		  int (*visit)(void *argument, size_t first, size_t count), void *argument);

#endif
