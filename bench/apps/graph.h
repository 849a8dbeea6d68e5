/*
 * A graph: a Kronecker graph as Graph500 generates it, or one of a file. Each node has all of it, and its
 * workers use what they own.
 *
 * Source: Graph500, "Specification", version 2: initiator 0.57, 0.19, 0.19, 0.05; edge factor 16; labels of
 * vertices are permuted.
 */
#ifndef MINORCA_BENCH_APPS_GRAPH_H
#define MINORCA_BENCH_APPS_GRAPH_H

#include <stddef.h>
#include <stdint.h>

enum graph_kind {
	GRAPH_BOTH, /* neighbours of a vertex, whichever way the edge goes */
	GRAPH_IN,   /* those that have an edge to it */
};

struct graph {
	size_t vertices, edges; /* edges as they were generated, but for those from a vertex to itself */
	uint64_t *first;	/* neighbours of v: first[v] to first[v + 1] */
	uint32_t *neighbours;
	uint32_t *out_degree;
};

/** A Kronecker graph of 2^@scale vertices and @edge_factor times as many edges. Ends the job without memory.
 */
struct graph *graph_generate(unsigned int scale, uint64_t edge_factor, enum graph_kind kind);

/** A graph from a file with an edge (two numbers) in each line; what follows a # is not read. Ends the job if
 * it cannot be read. */
struct graph *graph_read(const char *path, enum graph_kind kind);

void graph_free(struct graph *graph);

#endif
