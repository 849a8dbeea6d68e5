#include "bench/apps/graph.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/job.h"

struct edge {
	uint32_t from, to;
};

struct edge_list {
	struct edge *edges;
	size_t count, room, vertices;
};

static void *allocate(size_t count, size_t bytes)
{
	void *memory = calloc(count ? count : 1, bytes);

	if (!memory)
		job_fail("no memory for a graph: %zu times %zu bytes", count, bytes);
	return memory;
}

/* --- Kronecker ----------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* A permutation of the numbers of @scale bits: each step can be undone. */
static uint32_t permute(uint64_t label, unsigned int scale)
{
	uint64_t mask = (UINT64_C(1) << scale) - 1;

	for (int turn = 0; turn < 3; turn++) {
		label = label * UINT64_C(0x9e3779b97f4a7c15) & mask;
		label ^= label >> (scale / 2 + 1);
	}
	return (uint32_t)label;
}

/* One bit of both ends: in which quarter of the matrix the edge is. */
static struct edge generate_edge(uint64_t number, unsigned int scale)
{
	const uint64_t a = (uint64_t)(0.57 * (1 << 24)), b = (uint64_t)(0.19 * (1 << 24));
	uint64_t from = 0, to = 0, random = 0;

	for (unsigned int bit = 0; bit < scale; bit++) {
		random = bit % 2 ? random >> 32 : mix(number << 6 | bit);
		uint64_t where = random & 0xffffff;
		from = from << 1 | (where >= a + b);
		to = to << 1 | ((where >= a && where < a + b) || where >= a + 2 * b);
	}
	return (struct edge){permute(from, scale), permute(to, scale)};
}

/* --- adjacency ----------------------------------------------------------------------------------------- */

static void count_ends(const struct edge_list *list, enum graph_kind kind, struct graph *graph)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct edge *edge = &list->edges[i];
		graph->out_degree[edge->from]++;
		graph->first[edge->to + 1]++;
		if (kind == GRAPH_BOTH)
			graph->first[edge->from + 1]++;
	}
	for (size_t v = 0; v < list->vertices; v++)
		graph->first[v + 1] += graph->first[v];
}

static void place_ends(const struct edge_list *list, enum graph_kind kind, struct graph *graph)
{
	uint64_t *at = allocate(list->vertices, sizeof *at);

	memcpy(at, graph->first, list->vertices * sizeof *at);
	for (size_t i = 0; i < list->count; i++) {
		const struct edge *edge = &list->edges[i];
		graph->neighbours[at[edge->to]++] = edge->from;
		if (kind == GRAPH_BOTH)
			graph->neighbours[at[edge->from]++] = edge->to;
	}
	free(at);
}

/* Takes the list's memory. */
static struct graph *build(struct edge_list *list, enum graph_kind kind)
{
	struct graph *graph = allocate(1, sizeof *graph);

	graph->vertices = list->vertices;
	graph->edges = list->count;
	graph->first = allocate(list->vertices + 1, sizeof *graph->first);
	graph->out_degree = allocate(list->vertices, sizeof *graph->out_degree);
	graph->neighbours = allocate(list->count * (kind == GRAPH_BOTH ? 2 : 1), sizeof *graph->neighbours);
	count_ends(list, kind, graph);
	place_ends(list, kind, graph);
	free(list->edges);
	return graph;
}

struct graph *graph_generate(unsigned int scale, uint64_t edge_factor, enum graph_kind kind)
{
	struct edge_list list = {.vertices = (size_t)1 << scale, .room = edge_factor << scale};

	list.edges = allocate(list.room, sizeof *list.edges);
	for (uint64_t i = 0; i < list.room; i++) {
		struct edge edge = generate_edge(i, scale);
		if (edge.from != edge.to)
			list.edges[list.count++] = edge;
	}
	return build(&list, kind);
}

/* --- files --------------------------------------------------------------------------------------------- */

static void add(struct edge_list *list, uint64_t from, uint64_t to)
{
	uint64_t last = from > to ? from : to;

	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 1024;
		list->edges = realloc(list->edges, list->room * sizeof *list->edges);
		if (!list->edges)
			job_fail("no memory for %zu edges", list->room);
	}
	if (last >= list->vertices)
		list->vertices = last + 1;
	if (from != to)
		list->edges[list->count++] = (struct edge){(uint32_t)from, (uint32_t)to};
}

static bool read_line(char *line, struct edge_list *list)
{
	uint64_t from, to;

	line[strcspn(line, "#%\n")] = '\0'; /* % begins a comment in files of Matrix Market's kind */
	if (!line[strspn(line, " \t\r")])
		return true;
	if (sscanf(line, "%" SCNu64 " %" SCNu64, &from, &to) != 2 || from >= UINT32_MAX || to >= UINT32_MAX)
		return false;
	add(list, from, to);
	return true;
}

struct graph *graph_read(const char *path, enum graph_kind kind)
{
	struct edge_list list = {0};
	char line[256];
	size_t number = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		job_fail("%s cannot be read: %s", path, strerror(errno));
	while (fgets(line, sizeof line, file)) {
		number++;
		if (!read_line(line, &list))
			job_fail("%s:%zu: two numbers of vertices are expected, less than %" PRIu32, path,
				 number, UINT32_MAX);
	}
	if (ferror(file) || !list.count)
		job_fail("%s: %s", path, list.count ? "cannot be read" : "there is no edge in it");
	fclose(file);
	return build(&list, kind);
}

void graph_free(struct graph *graph)
{
	free(graph->first);
	free(graph->neighbours);
	free(graph->out_degree);
	free(graph);
}
