/*
 * PageRank (Page et al., "The PageRank citation ranking", 1999) on a Kronecker graph or one of a file: a
 * fixed number of steps by the power method. A worker pulls what the neighbours of its vertices contribute.
 *
 * Contributions are shared, in parts by owner. Those of even and of odd steps lie apart: one reduction (of
 * the rank that has nowhere to go) orders what was stored before what is read.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "bench/apps/graph.h"
#include "kernel/memory.h"

enum { PARAMETER_SCALE, PARAMETER_EDGE_FACTOR, PARAMETER_STEPS };

static const struct app_parameter parameters[] = {
    {"scale", "2^N vertices, unless there is a file", 4, 30, {10, 16, 18, 20}},
    {"edge-factor", "edges for each vertex, unless there is a file", 1, 1024, {16, 16, 16, 16}},
    {"steps", "steps of the power method", 1, 100000, {5, 20, 20, 20}},
    {0},
};

#define DAMPING 0.85

/* Of a node. */
struct pagerank {
	char *contributions[2]; /* a part for each worker */
	char *ranks;		/* likewise, for the end */
	size_t stride;
};

/* Of a worker: vertices [first, end). */
struct part {
	size_t first, end;
	uint64_t *edges_from; /* of its vertices, counted from its first edge */
	uint32_t *edges;      /* places of neighbours among contributions */
	double *inverse;      /* 1 / out-degree; 0: nowhere to go */
	double *ranks;
	double *contributions; /* MPI, Minorca: of all */
};

static const struct graph *graph_of(const struct problem *p)
{
	return p->prepared;
}

static double work(const struct problem *p)
{
	return (double)graph_of(p)->edges * (double)p->values[PARAMETER_STEPS] / 1e6;
}

/* --- a step -------------------------------------------------------------------------------------------- */

/* Stores what this worker's vertices contribute. @return the rank that has nowhere to go. */
static double contribute(const struct part *part, double *restrict out)
{
	double nowhere = 0;

	for (size_t v = 0; v < part->end - part->first; v++) {
		out[v] = part->ranks[v] * part->inverse[v];
		nowhere += part->inverse[v] > 0 ? 0 : part->ranks[v];
	}
	return nowhere;
}

static void pull(const struct problem *p, const struct part *part, const double *contributions,
		 double nowhere)
{
	double vertices = (double)graph_of(p)->vertices, base = (1 - DAMPING + DAMPING * nowhere) / vertices;

	for (size_t v = 0; v < part->end - part->first; v++) {
		double sum = 0;
		for (uint64_t e = part->edges_from[v]; e < part->edges_from[v + 1]; e++)
			sum += contributions[part->edges[e]];
		part->ranks[v] = base + DAMPING * sum;
	}
}

/*
 * Contributions are read in random order, many times each: from private memory on hugepages, that misses the
 * TLB less often than from pages of 4 KiB, and pays for the copy.
 */
static char *copy_contributions(struct worker *w, const struct pagerank *s, const char *contributions)
{
	const struct part *part = w->mine;
	char *copy = (char *)part->contributions;

	for (unsigned int turn = 0; turn < w->workers; turn++) {
		size_t at = (w->rank + turn) % w->workers * s->stride;
		worker_prefetch(w, contributions + at, s->stride, false);
		memcpy(copy + at, contributions + at, s->stride);
	}
	return copy;
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;
	const struct pagerank *s = state;

	for (uint64_t step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		char *contributions = s->contributions[step % 2];
		double *mine = (double *)(contributions + w->rank * s->stride);
		worker_prefetch(w, mine, (part->end - part->first) * sizeof *mine, true);
		double nowhere = contribute(part, mine);
		worker_reduce(w, &nowhere, 1, SUM_DOUBLE);
		if (w->form == FORM_DSM)
			contributions = copy_contributions(w, s, contributions);
		pull(p, part, (const double *)contributions, nowhere);
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;
	int counts[256], starts[256];

	(void)state;
	for (unsigned int i = 0; i < w->workers; i++) {
		starts[i] = (int)worker_first(graph_of(p)->vertices, i, w->workers);
		counts[i] = (int)worker_first(graph_of(p)->vertices, i + 1, w->workers) - starts[i];
	}
	for (uint64_t step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		double nowhere = contribute(part, part->contributions + part->first);
		worker_reduce(w, &nowhere, 1, SUM_DOUBLE);
		WORKER_CALL(w, MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, part->contributions, counts,
					      starts, MPI_DOUBLE, MPI_COMM_WORLD));
		pull(p, part, part->contributions, nowhere);
	}
}

/* --- an application ------------------------------------------------------------------------------------ */

static void prepare(struct problem *p)
{
	p->prepared = p->file ? graph_read(p->file, GRAPH_IN)
			      : graph_generate((unsigned int)p->values[PARAMETER_SCALE],
					       p->values[PARAMETER_EDGE_FACTOR], GRAPH_IN);
}

static void unprepare(struct problem *p)
{
	graph_free(p->prepared);
}

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct pagerank *s = state;
	size_t bytes = (graph_of(p)->vertices / workers + 1) * sizeof(double);

	s->contributions[0] = shared_parts(shared, "contributions 0", bytes, &s->stride);
	s->contributions[1] = shared_parts(shared, "contributions 1", bytes, &s->stride);
	s->ranks = shared_parts(shared, "ranks", bytes, &s->stride);
}

/* The worker that owns a vertex: the inverse of worker_first(). */
static unsigned int owner_of(size_t vertex, size_t vertices, unsigned int workers)
{
	return (unsigned int)(((vertex + 1) * workers - 1) / vertices);
}

/* Where the contribution of a vertex lies: parts are apart in shared memory. */
static uint32_t place_of(const struct problem *p, const struct worker *w, const struct pagerank *s,
			 uint32_t vertex)
{
	size_t vertices = graph_of(p)->vertices;
	unsigned int owner = owner_of(vertex, vertices, w->workers);

	if (w->form == FORM_MPI)
		return vertex;
	return (uint32_t)(owner * (s->stride / sizeof(double)) + vertex -
			  worker_first(vertices, owner, w->workers));
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	const struct graph *graph = graph_of(p);
	const struct pagerank *s = state;
	struct part *part = w->mine = worker_private(w, sizeof *part);

	part->first = worker_first(graph->vertices, w->rank, w->workers);
	part->end = worker_first(graph->vertices, w->rank + 1, w->workers);
	size_t count = part->end - part->first;
	uint64_t first_edge = graph->first[part->first], edges = graph->first[part->end] - first_edge;
	part->edges_from = worker_private(w, (count + 1) * sizeof *part->edges_from);
	part->edges = worker_private(w, edges * sizeof *part->edges);
	part->inverse = worker_private(w, count * sizeof *part->inverse);
	part->ranks = worker_private(w, count * sizeof *part->ranks);
	if (w->form == FORM_MPI)
		part->contributions = worker_private(w, graph->vertices * sizeof *part->contributions);
	else if (w->form == FORM_DSM)
		part->contributions = worker_private(w, w->workers * s->stride);
	for (uint64_t e = 0; e < edges; e++)
		part->edges[e] = place_of(p, w, s, graph->neighbours[first_edge + e]);
	for (size_t v = 0; v <= count; v++)
		part->edges_from[v] = graph->first[part->first + v] - first_edge;
	for (size_t v = 0; v < count; v++) {
		uint32_t degree = graph->out_degree[part->first + v];
		part->inverse[v] = degree ? 1.0 / degree : 0;
		part->ranks[v] = 1.0 / (double)graph->vertices;
	}
}

static void finish(const struct problem *p, struct worker *w, void *state)
{
	const struct pagerank *s = state;
	const struct part *part = w->mine;

	(void)p;
	memcpy(s->ranks + w->rank * s->stride, part->ranks, (part->end - part->first) * sizeof *part->ranks);
}

static size_t result_bytes(const struct problem *p)
{
	return graph_of(p)->vertices * sizeof(double);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	const struct pagerank *s = state;
	const struct part *part = w->mine;
	size_t vertices = graph_of(p)->vertices;

	if (w->form == FORM_MPI) {
		app_gather(w, part->ranks, (part->end - part->first) * sizeof *part->ranks, result);
		return;
	}
	for (unsigned int rank = 0; rank < w->workers; rank++) {
		size_t first = worker_first(vertices, rank, w->workers),
		       end = worker_first(vertices, rank + 1, w->workers);
		memcpy((double *)result + first, s->ranks + rank * s->stride, (end - first) * sizeof(double));
	}
}

/* What goes nowhere is summed in another order. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const double *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t v = 0; v < graph_of(p)->vertices; v++)
		wrong += !(fabs(a[v] - b[v]) <= 1e-10 * b[v]);
	return wrong;
}

static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	const double *ranks = result;
	double sum = 0;

	for (size_t v = 0; v < graph_of(p)->vertices; v++)
		sum += ranks[v];
	if (!(fabs(sum - 1) <= 1e-9))
		snprintf(wrong, APP_WRONG_MESSAGE_MAX, "ranks add up to %.12g, not to 1", sum);
}

static const struct app pagerank = {
    .name = "pagerank",
    .title = "Minorca: PageRank",
    .help = "Ranks the vertices of a graph: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .reads_file = true,
    .page_bytes = 4 * KIB,
    .rate_unit = "Medge/s",
    .work = work,
    .prepare = prepare,
    .unprepare = unprepare,
    .state_bytes = sizeof(struct pagerank),
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
	return app_main(&pagerank, argc, argv);
}
