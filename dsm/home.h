/*
 * Which node is home of which page. Arithmetic only.
 */
#ifndef MINORCA_DSM_HOME_H
#define MINORCA_DSM_HOME_H

#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

struct home_map {
	enum dsm_home_policy policy;
	int nodes;
	int home_node;	    /* DSM_HOME_NODE */
	size_t pages;	    /* of the region */
	size_t chunk_pages; /* BLOCK: pages of each node's part; CYCLIC: of a chunk */
};

/** The home of @page < pages. */
static inline int home_of(const struct home_map *map, size_t page)
{
	switch (map->policy) {
	case DSM_HOME_BLOCK:
		return (int)(page / map->chunk_pages);
	case DSM_HOME_CYCLIC:
		return (int)(page / map->chunk_pages % (size_t)map->nodes);
	default:
		return map->home_node;
	}
}

/** The first page after @page (or the number of pages) whose home may be another. */
static inline size_t home_run_end(const struct home_map *map, size_t page)
{
	if (map->policy == DSM_HOME_NODE || map->nodes == 1)
		return map->pages;
	size_t end = (page / map->chunk_pages + 1) * map->chunk_pages;
	return end < map->pages ? end : map->pages;
}

/** How many pages @node is home of. */
static inline size_t home_pages(const struct home_map *map, int node)
{
	if (map->policy == DSM_HOME_NODE)
		return node == map->home_node ? map->pages : 0;
	size_t chunk = map->chunk_pages, chunks = map->pages / chunk, rest = map->pages % chunk;
	size_t nodes = (size_t)map->nodes, n = (size_t)node;
	/* BLOCK is CYCLIC with at most one chunk for each node. */
	size_t count = (chunks / nodes + (n < chunks % nodes)) * chunk;
	if (rest && n == chunks % nodes)
		count += rest;
	return count;
}

#endif
