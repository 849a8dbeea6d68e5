/*
 * A region as the runtime sees it.
 */
#ifndef MINORCA_DSM_REGION_H
#define MINORCA_DSM_REGION_H

#include <minorca.h>

#include "dsm/home.h"
#include "dsm/page_set.h"
#include "dsm/page_table.h"
#include "dsm/twins.h"

#define REGION_NAME_BYTES 64
#define BLOCKS_PER_PAGE_MAX 64
#define BLOCK_BYTES_MIN 4096

struct dsm_region {
	/* Read by every fault; immutable while the region exists. */
	unsigned char *app;   /* where the application loads and stores */
	unsigned char *alias; /* the same memory, for the runtime and its peers */
	size_t bytes;
	unsigned page_shift, block_shift;
	unsigned blocks_per_page; /* 1 or 64 */
	unsigned id;
	int uffd; /* of the delivery; not owned */
	int fd;	  /* the memory file */
	bool inline_delivery;
	bool hugetlb;
	bool detects_stores; /* false (kernel before 6.4): every mapped page counts as written */
	struct home_map home;
	struct page_table table;

	/* Written by the fault path and by publish and acquire. */
	struct twins twins;
	struct page_set
	    dirty; /* pages that this node has stored to since they were published, and perhaps others */
	struct page_set cached; /* pages of other homes that are mapped here, and perhaps others */

	/* Set-up only. */
	unsigned char *versions; /* this node's part of the version table */
	size_t versions_bytes;
	int versions_fd;
	enum dsm_delivery delivery;
	char name[REGION_NAME_BYTES];
};

static inline size_t region_page_bytes(const struct dsm_region *r)
{
	return (size_t)1 << r->page_shift;
}

static inline unsigned char *region_alias(const struct dsm_region *r, size_t page)
{
	return r->alias + (page << r->page_shift);
}

static inline unsigned char *region_app(const struct dsm_region *r, size_t page)
{
	return r->app + (page << r->page_shift);
}

/** Destroys what is left at dsm_finalize(). Not collective: no peer touches it any more. */
void regions_release_all(void);

#endif
