/*
 * A region as the runtime sees it.
 */
#ifndef MINORCA_DSM_REGION_H
#define MINORCA_DSM_REGION_H

#include <minorca.h>

#include "dsm/home.h"
#include "dsm/home_writes.h"
#include "dsm/page_set.h"
#include "dsm/page_table.h"
#include "dsm/twins.h"

#define REGION_NAME_BYTES 64
#define BLOCKS_PER_PAGE_MAX 64
#define BLOCK_BYTES_MIN 4096

/*
 * The version table has a word for each block of a page: its version, which only transports' atomics advance.
 * A page of many blocks has one more, the number of its *interval* at home: odd while the home may store to
 * the page without having published it. Stores at home go to the master at once, so what is fetched meanwhile
 * may be of a block that in the end has the bytes, and the version, that it had before. Who fetches it does
 * not count it as current (fetch.c), and the home logs the page at the end of the interval whatever changed
 * (publish.c). Only the home's CPU writes that word. (A page of one block needs none: its version advances if
 * it was stored to at all.)
 */

struct dsm_region {
	/* Read by every fault; immutable while the region exists. */
	unsigned char *app;   /* where the application loads and stores */
	unsigned char *alias; /* the same memory, for the runtime and its peers */
	size_t bytes;
	unsigned page_shift, block_shift;
	unsigned blocks_per_page; /* 1 or 64 */
	unsigned words_per_page;  /* of the version table: 1 or 65 */
	unsigned id;
	struct migration *migration; /* movable: see migration.h; NULL: it is not */
	int uffd;		     /* of the delivery; not owned */
	int fd;			     /* the memory file */
	bool inline_delivery;
	bool hugetlb;
	bool keeps_hot_pages; /* see publish.c */
	size_t twins_kept_most;
	bool sparse;		  /* home pages too come into the file when they are touched */
	uint32_t readahead_pages; /* of a window, at most; less than READAHEAD_FIRST: none */
	bool detects_stores;	  /* false (kernel before 6.4): every mapped page counts as written */
	struct home_map home;
	struct page_table table;

	/* Written by the fault path and by publish and acquire. */
	struct twins twins;
	struct page_set
	    dirty; /* pages that this node has stored to since they were published, and perhaps others */
	struct page_set cached; /* pages of other homes that are mapped here, and perhaps others */

	/* Written by the thread that publishes or acquires. */
	struct home_writes home_writes;
	size_t twins_kept; /* pages with PAGE_TWIN_KEPT */

	/* Set-up only. */
	size_t file_bytes;	 /* of the memory file and the alias: `bytes`, and spare pages */
	unsigned char *versions; /* this node's part of the version table; movable: struct migration_words */
	size_t versions_bytes;
	int versions_fd;
	enum dsm_delivery delivery;
	char name[REGION_NAME_BYTES];
};

static inline size_t region_page_bytes(const struct dsm_region *r)
{
	return (size_t)1 << r->page_shift;
}

static inline uint64_t region_versions_offset(const struct dsm_region *r, size_t page)
{
	return (uint64_t)page * r->words_per_page * sizeof(uint64_t);
}

/** The word of a page of many blocks of this home with the number of its interval. */
static inline _Atomic uint64_t *region_interval(const struct dsm_region *r, size_t page)
{
	return (_Atomic uint64_t *)(void *)(r->versions + region_versions_offset(r, page)) +
	       r->blocks_per_page;
}

static inline unsigned char *region_alias(const struct dsm_region *r, size_t page)
{
	return r->alias + (page << r->page_shift);
}

static inline unsigned char *region_app(const struct dsm_region *r, size_t page)
{
	return r->app + (page << r->page_shift);
}

/** A page is, or is about to be, stored to: the next pass that publishes looks at it. Any thread;
 * async-signal-safe. */
void region_note_dirty(struct dsm_region *region, size_t page);

/**
 * The pages of [@address, @address + @bytes), rounded outward. The caller holds a lane: until it lets go, the
 * region is not freed. @return 0; -EFAULT: not wholly in one region, or that is movable.
 */
int region_find_range(const void *address, size_t bytes, struct dsm_region **region, size_t *first,
		      size_t *count);

/** Puts pages into this node's file. @return 0; -ENOSPC: the hugepage pool is empty; -ENOMEM. */
int region_allocate_pages(struct dsm_region *region, size_t first, size_t count);

/** dsm_region_create(), with the region's number chosen from [@first_id, @end_id). */
int region_create(const char *name, size_t bytes, const struct dsm_region_options *options, unsigned first_id,
		  unsigned end_id, struct dsm_region **region);

/** Destroys what is left at dsm_finalize(). Not collective: no peer touches it any more. */
void regions_release_all(void);

#endif
