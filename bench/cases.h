/*
 * What fault_latency measures: one row for each kind of fault. A case says in which state pages are before
 * they are touched; how they get there, and what their fault costs at least, follows from that for the
 * runtime (side_dsm.c) and for the floor (side_floor.c) alike.
 */
#ifndef MINORCA_BENCH_CASES_H
#define MINORCA_BENCH_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_COUNT };

/* Of the pages of a measuring node, when the clock starts. */
enum page_before {
	PAGE_NEVER_SEEN,  /* the home has written it; this node has no byte of it, and no memory for it */
	PAGE_OUT_OF_DATE, /* held, not mapped; the home has changed some or all of its blocks */
	PAGE_UP_TO_DATE,  /* held, not mapped, and nothing has changed */
	PAGE_READ_ONLY,	  /* mapped, and nothing has been stored to it */
};

struct fault_case {
	const char *name;    /* the JSON field `case` */
	const char *summary; /* one line, for --list */
	enum page_before before;
	uint32_t accesses; /* mask of 1 << enum access */
	bool some_blocks;  /* only some of the blocks are out of date; one row for each number asked for */
	bool sweep;	   /* sequential, through dsm_prefetch(), instead of page by page */
};

/** The table, in the order of the output. Static. */
const struct fault_case *cases_table(size_t *count);

/** The names alone, NULL-terminated, in the same order. Static. */
const char *const *cases_names(void);

/** "read", "write"; NULL-terminated. Static. */
const char *const *access_names(void);

/** Of a page of this size: 1 for 4 KiB, 64 for larger ones. Versions count by block. */
unsigned int blocks_per_page(size_t page_bytes);

/** How much of a sweep one dsm_prefetch() covers: 1 MiB of 4 KiB pages, 16 MiB of larger ones. */
size_t sweep_call_bytes(size_t page_bytes);

#endif
