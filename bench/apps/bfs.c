/*
 * Breadth-first search on a Kronecker graph or one of a file, validated as Graph500 does; from several roots,
 * one after the other. Levels are searched from the frontier downwards, or, when the frontier has many edges,
 * from the vertices that are not found yet upwards (Beamer, Asanović and Patterson, "Direction-optimizing
 * breadth-first search", 2012).
 *
 * A vertex belongs to a worker, which alone stores its parent, in private memory. Downwards, a worker puts
 * what it finds of others' vertices into its outbox, each at most once, and its owner fetches it. Upwards,
 * each worker shares the part of the frontier's bitmap that it owns.
 */
#include <stdio.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "bench/apps/graph.h"
#include "kernel/memory.h"

enum { PARAMETER_SCALE, PARAMETER_EDGE_FACTOR, PARAMETER_ROOTS };

static const struct app_parameter parameters[] = {
    {"scale", "2^N vertices, unless there is a file", 4, 30, {10, 16, 18, 20}},
    {"edge-factor", "edges for each vertex, unless there is a file", 1, 1024, {16, 16, 16, 16}},
    {"roots", "vertices to begin from, one after the other", 1, 64, {4, 8, 8, 8}},
    {0},
};

#define NONE UINT32_MAX
#define WORKERS_MAX 256

/* When to turn: Beamer's alpha and beta. */
#define UPWARDS_EDGES 14
#define DOWNWARDS_VERTICES 24

/* A vertex that was found, and from where. */
struct found {
	uint32_t vertex, parent;
};

/* What a worker found of others' vertices: for worker r, found[start[r]] and the @count[r] that follow. */
struct outbox {
	uint64_t start[WORKERS_MAX], count[WORKERS_MAX];
	struct found found[];
};

/* Of a node. */
struct search {
	char *outboxes;
	size_t outboxes_stride;
	char *bitmaps; /* a part for each worker: its vertices in the frontier */
	size_t bitmaps_stride;
	char *parents; /* a part for each worker and all roots, for the end; parents, then levels */
	size_t parents_stride;
};

/* Of a worker: vertices [first, end), a multiple of 64 apart from its neighbours'. */
struct part {
	size_t chunk; /* vertices of each worker; the last may have fewer */
	size_t first, end;
	uint32_t *parents, *levels; /* of all roots */
	uint32_t *parent, *level;   /* of this root */
	uint32_t *frontier, *next;  /* its own vertices */
	size_t frontier_count, next_count;
	uint64_t *sent;	  /* bitmap: others' vertices that were put into the outbox */
	uint64_t *bitmap; /* of the whole frontier */
	struct outbox *outbox;
	struct found *arrived;	   /* MPI */
	uint64_t unexplored_edges; /* of its own vertices */
};

static const struct graph *graph_of(const struct problem *p)
{
	return p->prepared;
}

static double work(const struct problem *p)
{
	return (double)graph_of(p)->edges * (double)p->values[PARAMETER_ROOTS] / 1e6;
}

static uint64_t degree_of(const struct graph *graph, size_t vertex)
{
	return graph->first[vertex + 1] - graph->first[vertex];
}

/* Vertices with edges, spread over the graph. */
static uint32_t root_of(const struct problem *p, unsigned int index)
{
	const struct graph *graph = graph_of(p);
	size_t vertex = (index * 2 + 1) * graph->vertices / (2 * p->values[PARAMETER_ROOTS]);

	while (!degree_of(graph, vertex))
		vertex = (vertex + 1) % graph->vertices;
	return (uint32_t)vertex;
}

static size_t chunk_of(const struct problem *p, unsigned int workers)
{
	size_t chunk = (graph_of(p)->vertices + workers - 1) / workers;

	return (chunk + 63) / 64 * 64;
}

/* --- what a worker finds ------------------------------------------------------------------------------- */

static bool is_mine(const struct part *part, uint32_t vertex)
{
	return part->first <= vertex && vertex < part->end;
}

static bool test_bit(const uint64_t *bitmap, uint32_t vertex)
{
	return bitmap[vertex / 64] >> (vertex % 64) & 1;
}

static void set_bit(uint64_t *bitmap, uint32_t vertex)
{
	bitmap[vertex / 64] |= UINT64_C(1) << (vertex % 64);
}

/* One of its own vertices, if it is new. */
static void claim(const struct problem *p, struct part *part, uint32_t vertex, uint32_t parent,
		  uint32_t level)
{
	size_t at = vertex - part->first;

	if (part->parent[at] != NONE)
		return;
	part->parent[at] = parent;
	part->level[at] = level;
	part->next[part->next_count++] = vertex;
	part->unexplored_edges -= degree_of(graph_of(p), vertex);
}

static void tell_owner(struct part *part, uint32_t vertex, uint32_t parent)
{
	struct outbox *outbox = part->outbox;
	size_t owner = vertex / part->chunk;

	if (test_bit(part->sent, vertex))
		return;
	set_bit(part->sent, vertex);
	outbox->found[outbox->start[owner] + outbox->count[owner]++] = (struct found){vertex, parent};
}

static void search_downwards(const struct problem *p, struct part *part, uint32_t level)
{
	const struct graph *graph = graph_of(p);

	for (size_t i = 0; i < part->frontier_count; i++) {
		uint32_t from = part->frontier[i];
		for (uint64_t e = graph->first[from]; e < graph->first[from + 1]; e++) {
			uint32_t vertex = graph->neighbours[e];
			if (is_mine(part, vertex))
				claim(p, part, vertex, from, level);
			else
				tell_owner(part, vertex, from);
		}
	}
}

static void search_upwards(const struct problem *p, struct part *part, uint32_t level)
{
	const struct graph *graph = graph_of(p);

	for (size_t v = part->first; v < part->end; v++) {
		if (part->parent[v - part->first] != NONE)
			continue;
		for (uint64_t e = graph->first[v]; e < graph->first[v + 1]; e++)
			if (test_bit(part->bitmap, graph->neighbours[e])) {
				claim(p, part, (uint32_t)v, graph->neighbours[e], level);
				break;
			}
	}
}

static void claim_all(const struct problem *p, struct part *part, const struct found *found, size_t count,
		      uint32_t level)
{
	for (size_t i = 0; i < count; i++)
		claim(p, part, found[i].vertex, found[i].parent, level);
}

/* --- exchange ------------------------------------------------------------------------------------------ */

/* In the outbox, a worker has room for as many vertices as there are: each is told of once a level at most.
 */
static void empty_outbox(const struct worker *w, struct part *part)
{
	for (unsigned int i = 0; i < w->workers; i++) {
		part->outbox->start[i] = i * part->chunk;
		part->outbox->count[i] = 0;
	}
}

static const struct outbox *outbox_of(const struct search *s, unsigned int rank)
{
	return (const struct outbox *)(s->outboxes + rank * s->outboxes_stride);
}

static void fetch_found(const struct problem *p, struct worker *w, const struct search *s, uint32_t level)
{
	struct part *part = w->mine;

	worker_barrier(w);
	for (unsigned int turn = 1; turn < w->workers; turn++) {
		const struct outbox *theirs = outbox_of(s, (w->rank + turn) % w->workers);
		const struct found *found = theirs->found + theirs->start[w->rank];
		size_t count = theirs->count[w->rank];
		worker_prefetch(w, found, count * sizeof *found, false);
		claim_all(p, part, found, count, level);
	}
}

/* The words of the frontier's bitmap that a worker owns: all have as many, but for the last. */
static size_t bitmap_words(const struct part *part)
{
	return part->chunk / 64;
}

static void fill_bitmap(struct part *part, uint64_t *own)
{
	memset(own, 0, bitmap_words(part) * sizeof *own);
	for (size_t i = 0; i < part->frontier_count; i++)
		set_bit(own, (uint32_t)(part->frontier[i] - part->first));
}

static void share_frontier(struct worker *w, const struct search *s)
{
	struct part *part = w->mine;
	size_t bytes = bitmap_words(part) * sizeof(uint64_t);

	fill_bitmap(part, (uint64_t *)(s->bitmaps + w->rank * s->bitmaps_stride));
	worker_barrier(w);
	for (unsigned int rank = 0; rank < w->workers; rank++) {
		const char *theirs = s->bitmaps + rank * s->bitmaps_stride;
		if (rank != w->rank)
			worker_prefetch(w, theirs, bytes, false);
		memcpy((char *)part->bitmap + rank * bytes, theirs, bytes);
	}
}

/* The same by messages. */
static void exchange_found(const struct problem *p, struct worker *w, uint32_t level)
{
	struct part *part = w->mine;
	int sent[WORKERS_MAX], sent_at[WORKERS_MAX], received[WORKERS_MAX], received_at[WORKERS_MAX], all = 0;

	for (unsigned int i = 0; i < w->workers; i++) {
		sent[i] = 2 * (int)part->outbox->count[i];
		sent_at[i] = 2 * (int)part->outbox->start[i];
	}
	WORKER_CALL(w, MPI_Alltoall(sent, 1, MPI_INT, received, 1, MPI_INT, MPI_COMM_WORLD));
	for (unsigned int i = 0; i < w->workers; i++) {
		received_at[i] = all;
		all += received[i];
	}
	WORKER_CALL(w, MPI_Alltoallv(part->outbox->found, sent, sent_at, MPI_UINT32_T, part->arrived,
				     received, received_at, MPI_UINT32_T, MPI_COMM_WORLD));
	claim_all(p, part, part->arrived, (size_t)all / 2, level);
}

static void gather_frontier(struct worker *w)
{
	struct part *part = w->mine;
	int words = (int)bitmap_words(part);

	fill_bitmap(part, part->bitmap + w->rank * bitmap_words(part));
	WORKER_CALL(w, MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, part->bitmap, words, MPI_UINT64_T,
				     MPI_COMM_WORLD));
}

/* --- levels -------------------------------------------------------------------------------------------- */

/* What decides the direction; of all workers. */
struct frontier {
	uint64_t vertices, edges, unexplored_edges;
};

/* What was found becomes the frontier. A barrier: outboxes and bitmaps may be written again. */
static struct frontier turn_over(const struct problem *p, struct worker *w)
{
	struct part *part = w->mine;
	uint32_t *old = part->frontier;
	uint64_t sums[3] = {part->next_count, 0, part->unexplored_edges};

	part->frontier = part->next;
	part->frontier_count = part->next_count;
	part->next = old;
	part->next_count = 0;
	for (size_t i = 0; i < part->frontier_count; i++)
		sums[1] += degree_of(graph_of(p), part->frontier[i]);
	worker_reduce(w, sums, 3, SUM_UINT64);
	return (struct frontier){sums[0], sums[1], sums[2]};
}

static bool goes_upwards(const struct problem *p, const struct frontier *f, bool upwards)
{
	return upwards ? f->vertices > graph_of(p)->vertices / DOWNWARDS_VERTICES
		       : f->edges > f->unexplored_edges / UPWARDS_EDGES;
}

/* @s: NULL in the MPI form. */
static void search_level(const struct problem *p, struct worker *w, const struct search *s, bool upwards,
			 uint32_t level)
{
	struct part *part = w->mine;

	if (upwards) {
		if (s)
			share_frontier(w, s);
		else
			gather_frontier(w);
		search_upwards(p, part, level);
		return;
	}
	empty_outbox(w, part);
	search_downwards(p, part, level);
	if (s)
		fetch_found(p, w, s, level);
	else
		exchange_found(p, w, level);
}

static void begin_search(const struct problem *p, struct part *part, unsigned int index)
{
	const struct graph *graph = graph_of(p);
	size_t count = part->end - part->first;
	uint32_t root = root_of(p, index);

	part->parent = part->parents + index * part->chunk;
	part->level = part->levels + index * part->chunk;
	memset(part->parent, 0xff, count * sizeof *part->parent);
	memset(part->level, 0xff, count * sizeof *part->level);
	memset(part->sent, 0, (graph->vertices / 64 + 1) * sizeof *part->sent);
	part->next_count = 0;
	part->unexplored_edges = graph->first[part->end] - graph->first[part->first];
	if (is_mine(part, root))
		claim(p, part, root, root, 0);
}

static void search_all(const struct problem *p, struct worker *w, const struct search *s)
{
	for (unsigned int root = 0; root < p->values[PARAMETER_ROOTS]; root++) {
		bool upwards = false;
		begin_search(p, w->mine, root);
		struct frontier frontier = turn_over(p, w);
		for (uint32_t level = 1; frontier.vertices; level++) {
			upwards = goes_upwards(p, &frontier, upwards);
			search_level(p, w, s, upwards, level);
			frontier = turn_over(p, w);
		}
	}
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	search_all(p, w, state);
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	(void)state;
	search_all(p, w, NULL);
}

/* --- an application ------------------------------------------------------------------------------------ */

static void prepare(struct problem *p)
{
	p->prepared = p->file ? graph_read(p->file, GRAPH_BOTH)
			      : graph_generate((unsigned int)p->values[PARAMETER_SCALE],
					       p->values[PARAMETER_EDGE_FACTOR], GRAPH_BOTH);
}

static void unprepare(struct problem *p)
{
	graph_free(p->prepared);
}

/* Parents of all roots, and as many levels. */
static size_t own_bytes(const struct problem *p, unsigned int workers)
{
	return 2 * p->values[PARAMETER_ROOTS] * chunk_of(p, workers) * sizeof(uint32_t);
}

static size_t outbox_bytes(const struct problem *p, unsigned int workers)
{
	return sizeof(struct outbox) + workers * chunk_of(p, workers) * sizeof(struct found);
}

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct search *s = state;

	s->outboxes = shared_parts(shared, "outboxes", outbox_bytes(p, workers), &s->outboxes_stride);
	s->bitmaps = shared_parts(shared, "frontier", chunk_of(p, workers) / 8, &s->bitmaps_stride);
	s->parents = shared_parts(shared, "parents", own_bytes(p, workers), &s->parents_stride);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	const struct graph *graph = graph_of(p);
	const struct search *s = state;
	struct part *part = w->mine = worker_private(w, sizeof *part);

	part->chunk = chunk_of(p, w->workers);
	part->first = least(w->rank * part->chunk, graph->vertices);
	part->end = least(part->first + part->chunk, graph->vertices);
	part->parents = worker_private(w, own_bytes(p, w->workers));
	part->levels = part->parents + p->values[PARAMETER_ROOTS] * part->chunk;
	part->frontier = worker_private(w, part->chunk * sizeof *part->frontier);
	part->next = worker_private(w, part->chunk * sizeof *part->next);
	part->sent = worker_private(w, (graph->vertices / 64 + 1) * sizeof *part->sent);
	part->bitmap = worker_private(w, w->workers * bitmap_words(part) * sizeof *part->bitmap);
	if (w->form == FORM_MPI) {
		part->outbox = worker_private(w, outbox_bytes(p, w->workers));
		part->arrived = worker_private(w, w->workers * part->chunk * sizeof *part->arrived);
	} else {
		part->outbox = (struct outbox *)(s->outboxes + w->rank * s->outboxes_stride);
	}
}

static void finish(const struct problem *p, struct worker *w, void *state)
{
	const struct search *s = state;
	const struct part *part = w->mine;

	memcpy(s->parents + w->rank * s->parents_stride, part->parents, own_bytes(p, w->workers));
}

/* Of each root, the parents of all vertices and then their levels. */
static size_t result_bytes(const struct problem *p)
{
	return 2 * p->values[PARAMETER_ROOTS] * graph_of(p)->vertices * sizeof(uint32_t);
}

/* What one worker has, which begins at @own, to where it belongs. */
static void place(const struct problem *p, unsigned int rank, size_t chunk, const uint32_t *own,
		  uint32_t *result)
{
	size_t vertices = graph_of(p)->vertices, roots = p->values[PARAMETER_ROOTS];
	size_t first = least(rank * chunk, vertices), count = least(chunk, vertices - first);

	for (size_t root = 0; root < roots; root++) {
		memcpy(result + 2 * root * vertices + first, own + root * chunk, count * sizeof *own);
		memcpy(result + (2 * root + 1) * vertices + first, own + (roots + root) * chunk,
		       count * sizeof *own);
	}
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	const struct search *s = state;
	const struct part *part = w->mine;
	size_t bytes = own_bytes(p, w->workers);
	char *all = NULL;

	if (w->form == FORM_MPI) {
		if (w->rank == 0)
			all = worker_private(w, bytes * w->workers);
		app_gather(w, part->parents, bytes, all);
		if (w->rank)
			return;
	}
	for (unsigned int rank = 0; rank < w->workers; rank++)
		place(p, rank, part->chunk,
		      (const uint32_t *)(all ? all + rank * bytes : s->parents + rank * s->parents_stride),
		      result);
}

/* Trees may differ, levels not. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const uint32_t *a = result, *b = serial;
	size_t vertices = graph_of(p)->vertices;
	uint64_t wrong = 0;

	for (size_t root = 0; root < p->values[PARAMETER_ROOTS]; root++)
		for (size_t v = 0; v < vertices; v++)
			wrong += a[(2 * root + 1) * vertices + v] != b[(2 * root + 1) * vertices + v];
	return wrong;
}

static bool has_edge(const struct graph *graph, size_t from, uint32_t to)
{
	for (uint64_t e = graph->first[from]; e < graph->first[from + 1]; e++)
		if (graph->neighbours[e] == to)
			return true;
	return false;
}

/* An edge joins two vertices that were found, at most one level apart, or two that were not. */
static bool edges_agree(const struct graph *graph, const uint32_t *levels, size_t vertex)
{
	for (uint64_t e = graph->first[vertex]; e < graph->first[vertex + 1]; e++) {
		uint32_t a = levels[vertex], b = levels[graph->neighbours[e]];
		if (a != b && (a == NONE || b == NONE || (a > b ? a - b : b - a) > 1))
			return false;
	}
	return true;
}

/*
 * Graph500's rules: a tree without cycles, whose edges are edges of the graph that go down one level; all
 * edges of the graph join levels at most one apart, or vertices that are both in the tree or both not. Levels
 * that go down along parents to the root's rule out cycles.
 */
static const char *fault_of(const struct graph *graph, uint32_t root, const uint32_t *parents,
			    const uint32_t *levels, size_t vertex)
{
	uint32_t parent = parents[vertex];

	if ((parent == NONE) != (levels[vertex] == NONE))
		return "it has a parent or a level only";
	if (!edges_agree(graph, levels, vertex))
		return "an edge of it joins levels that are too far apart";
	if (parent == NONE)
		return NULL;
	if (vertex == root)
		return parent == root && levels[vertex] == 0 ? NULL
							     : "it is the root, and not its own parent";
	if (parent >= graph->vertices || !has_edge(graph, vertex, parent))
		return "there is no edge to its parent";
	return levels[vertex] == levels[parent] + 1 ? NULL : "it is not one level below its parent";
}

static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	const struct graph *graph = graph_of(p);
	const uint32_t *parents = result;

	for (unsigned int i = 0; i < p->values[PARAMETER_ROOTS]; i++, parents += 2 * graph->vertices)
		for (size_t v = 0; v < graph->vertices && !wrong[0]; v++) {
			const char *fault =
			    fault_of(graph, root_of(p, i), parents, parents + graph->vertices, v);
			if (fault)
				snprintf(wrong, APP_WRONG_MESSAGE_MAX, "vertex %zu, root %u: %s", v,
					 root_of(p, i), fault);
		}
}

static const struct app bfs = {
    .name = "bfs",
    .title = "Minorca: breadth-first search by the rules of Graph500",
    .help = "Searches a graph from several roots: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .reads_file = true,
    .page_bytes = 4 * KIB,
    .rate_unit = "MTEPS",
    .work = work,
    .prepare = prepare,
    .unprepare = unprepare,
    .state_bytes = sizeof(struct search),
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run_mpi,
    .finish = finish,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
    .validate = validate,
};

int main(int argc, char **argv)
{
	return app_main(&bfs, argc, argv);
}
