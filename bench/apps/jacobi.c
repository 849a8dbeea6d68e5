/*
 * Heat on a square plate, relaxed by Jacobi's method: each worker computes a band of rows.
 *
 * Two ways to share. "edges": a worker keeps its band to itself and shares the two rows at its edges, as one
 * who knows what moves would write it. "grid": the whole plate is shared and read and written in place, as a
 * threads program is written; then the runtime has to find out which pages of the band were stored to, in
 * each step.
 */
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "kernel/memory.h"

enum { PARAMETER_SIZE, PARAMETER_STEPS };
enum { VARIANT_EDGES, VARIANT_GRID };

static const struct app_parameter parameters[] = {
    {"size", "rows and columns, edges of the plate included", 8, 65536, {256, 1024, 2048, 4096}},
    {"steps", "how often the plate is relaxed", 1, 1000000, {20, 200, 200, 200}},
    {0},
};

/* Of a node. */
struct jacobi {
	char *plates[2]; /* "grid": a part for each worker, its rows */
	char *edges;	 /* "edges": a part for each worker, its edges of even and of odd steps */
	size_t stride, edges_stride;
};

/* Of a worker. Rows [first, end) of the plate are its own; each plate has one row more above, and below. */
struct band {
	size_t first, end;
	double *plates[2];
};

static size_t size_of(const struct problem *p)
{
	return p->values[PARAMETER_SIZE];
}

static double work(const struct problem *p)
{
	return (double)size_of(p) * (double)size_of(p) * (double)p->values[PARAMETER_STEPS] / 1e6;
}

static double initial(size_t y, size_t x)
{
	return y == 0 ? 100 : (double)((y * 7919 + x * 104729) % 1000) / 10;
}

static void relax_row(const double *restrict up, const double *restrict row, const double *restrict down,
		      double *restrict out, size_t size)
{
	out[0] = row[0];
	for (size_t x = 1; x + 1 < size; x++)
		out[x] = 0.25 * (row[x - 1] + row[x + 1] + up[x] + down[x]);
	out[size - 1] = row[size - 1];
}

/* --- bands of one's own -------------------------------------------------------------------------------- */

/* Row @y of the band, or a neighbour's row next to it. */
static double *band_row(const struct problem *p, const struct band *band, unsigned int plate, size_t y)
{
	return band->plates[plate] + (y + 1 - band->first) * size_of(p);
}

static void start_band(const struct problem *p, struct worker *w)
{
	size_t size = size_of(p);
	struct band *band = w->mine = worker_private(w, sizeof *band);

	band->first = worker_first(size, w->rank, w->workers);
	band->end = worker_first(size, w->rank + 1, w->workers);
	for (unsigned int plate = 0; plate < 2; plate++) {
		band->plates[plate] =
		    worker_private(w, (band->end - band->first + 2) * size * sizeof(double));
		for (size_t y = band->first ? band->first - 1 : 0; y < band->end + 1 && y < size; y++)
			for (size_t x = 0; x < size; x++)
				band_row(p, band, plate, y)[x] = initial(y, x);
	}
}

static void relax_band(const struct problem *p, const struct band *band, unsigned int from)
{
	size_t last = band->end < size_of(p) ? band->end : size_of(p) - 1;

	for (size_t y = band->first ? band->first : 1; y < last; y++)
		relax_row(band_row(p, band, from, y - 1), band_row(p, band, from, y),
			  band_row(p, band, from, y + 1), band_row(p, band, !from, y), size_of(p));
}

/* --- shared: edges ------------------------------------------------------------------------------------- */

/* The upper or lower edge of a worker's band after a step of this parity. */
static double *edge(const struct problem *p, const struct jacobi *j, unsigned int rank, unsigned int parity,
		    unsigned int lower)
{
	return (double *)(j->edges + rank * j->edges_stride) + (2 * parity + lower) * size_of(p);
}

/*
 * Edges of even and odd steps lie apart, so that one barrier is enough: what a neighbour reads after the
 * barrier of a step is overwritten two steps later, after the next barrier, which it passes when it has read.
 */
static void run_edges(const struct problem *p, struct worker *w, const struct jacobi *j)
{
	const struct band *band = w->mine;
	size_t bytes = size_of(p) * sizeof(double);

	for (unsigned int step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		unsigned int to = !(step % 2);
		relax_band(p, band, step % 2);
		worker_prefetch(w, edge(p, j, w->rank, to, 0), 2 * bytes, true);
		memcpy(edge(p, j, w->rank, to, 0), band_row(p, band, to, band->first), bytes);
		memcpy(edge(p, j, w->rank, to, 1), band_row(p, band, to, band->end - 1), bytes);
		worker_barrier(w);
		if (w->rank > 0) {
			const double *theirs = edge(p, j, w->rank - 1, to, 1);
			worker_prefetch(w, theirs, bytes, false);
			memcpy(band_row(p, band, to, band->first - 1), theirs, bytes);
		}
		if (w->rank + 1 < w->workers) {
			const double *theirs = edge(p, j, w->rank + 1, to, 0);
			worker_prefetch(w, theirs, bytes, false);
			memcpy(band_row(p, band, to, band->end), theirs, bytes);
		}
	}
}

/* --- shared: the grid ---------------------------------------------------------------------------------- */

static double *grid_row(const struct problem *p, const struct jacobi *j, unsigned int workers,
			unsigned int plate, unsigned int rank, size_t y)
{
	char *part = j->plates[plate] + rank * j->stride;

	return (double *)part + (y - worker_first(size_of(p), rank, workers)) * size_of(p);
}

static void start_grid(const struct problem *p, struct worker *w, const struct jacobi *j)
{
	size_t first = worker_first(size_of(p), w->rank, w->workers);
	size_t end = worker_first(size_of(p), w->rank + 1, w->workers);

	for (unsigned int plate = 0; plate < 2; plate++)
		for (size_t y = first; y < end; y++)
			for (size_t x = 0; x < size_of(p); x++)
				grid_row(p, j, w->workers, plate, w->rank, y)[x] = initial(y, x);
}

static void run_grid(const struct problem *p, struct worker *w, const struct jacobi *j)
{
	size_t size = size_of(p), first = worker_first(size, w->rank, w->workers);
	size_t end = worker_first(size, w->rank + 1, w->workers);

	for (unsigned int step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		unsigned int from = step % 2;
		/* One call for all pages that are about to be stored to, instead of a fault for each. */
		worker_prefetch(w, grid_row(p, j, w->workers, !from, w->rank, first),
				(end - first) * size * sizeof(double), true);
		for (size_t y = first ? first : 1; y < (end < size ? end : size - 1); y++) {
			unsigned int above = y == first ? w->rank - 1 : w->rank;
			unsigned int below = y + 1 == end ? w->rank + 1 : w->rank;
			relax_row(grid_row(p, j, w->workers, from, above, y - 1),
				  grid_row(p, j, w->workers, from, w->rank, y),
				  grid_row(p, j, w->workers, from, below, y + 1),
				  grid_row(p, j, w->workers, !from, w->rank, y), size);
		}
		worker_barrier(w);
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

static void exchange(const struct problem *p, struct worker *w, const struct band *band, unsigned int plate)
{
	int above = w->rank > 0 ? (int)w->rank - 1 : MPI_PROC_NULL;
	int below = w->rank + 1 < w->workers ? (int)w->rank + 1 : MPI_PROC_NULL;
	int size = (int)size_of(p);
	double *own_first = band_row(p, band, plate, band->first),
	       *own_last = band_row(p, band, plate, band->end - 1);

	MPI_Sendrecv(own_first, size, MPI_DOUBLE, above, 0, band_row(p, band, plate, band->end), size,
		     MPI_DOUBLE, below, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	MPI_Sendrecv(own_last, size, MPI_DOUBLE, below, 0, own_first - size, size, MPI_DOUBLE, above, 0,
		     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	(void)state;
	for (unsigned int step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		relax_band(p, w->mine, step % 2);
		WORKER_CALL(w, exchange(p, w, w->mine, !(step % 2)));
	}
}

/* --- an application ------------------------------------------------------------------------------------ */

static size_t result_bytes(const struct problem *p)
{
	return size_of(p) * size_of(p) * sizeof(double);
}

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct jacobi *j = state;
	size_t row = size_of(p) * sizeof(double), rows = size_of(p) / workers + 1;

	j->plates[0] = shared_parts(shared, "plate 0", rows * row, &j->stride);
	if (p->variant == VARIANT_EDGES)
		j->edges = shared_parts(shared, "edges", 4 * row, &j->edges_stride);
	else
		j->plates[1] = shared_parts(shared, "plate 1", rows * row, &j->stride);
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	if (w->form != FORM_MPI && p->variant == VARIANT_GRID)
		start_grid(p, w, state);
	else
		start_band(p, w);
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	if (p->variant == VARIANT_EDGES)
		run_edges(p, w, state);
	else
		run_grid(p, w, state);
}

/* Which plate the last step wrote. */
static unsigned int last_plate(const struct problem *p)
{
	return p->values[PARAMETER_STEPS] % 2;
}

/* A band that only its worker has goes where worker 0 can read it. */
static void finish(const struct problem *p, struct worker *w, void *state)
{
	const struct band *band = w->mine;

	if (p->variant == VARIANT_EDGES)
		memcpy(grid_row(p, state, w->workers, 0, w->rank, band->first),
		       band_row(p, band, last_plate(p), band->first),
		       (band->end - band->first) * size_of(p) * sizeof(double));
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	size_t row = size_of(p) * sizeof(double);
	const struct band *band = w->mine;

	if (w->form == FORM_MPI) {
		app_gather(w, band_row(p, band, last_plate(p), band->first), (band->end - band->first) * row,
			   result);
		return;
	}
	unsigned int plate = p->variant == VARIANT_EDGES ? 0 : last_plate(p);
	for (unsigned int rank = 0; rank < w->workers; rank++) {
		size_t first = worker_first(size_of(p), rank, w->workers);
		size_t end = worker_first(size_of(p), rank + 1, w->workers);
		memcpy((char *)result + first * row, grid_row(p, state, w->workers, plate, rank, first),
		       (end - first) * row);
	}
}

/* Every cell comes of the same sum of the same numbers in all forms: equal to the bit. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const double *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i < size_of(p) * size_of(p); i++)
		wrong += a[i] != b[i];
	return wrong;
}

static const char *const variants[] = {"edges", "grid", NULL};
static const char *const shared_only[] = {"grid", NULL};

static const struct app jacobi = {
    .name = "jacobi",
    .title = "Minorca: heat on a plate by Jacobi's method",
    .help = "Relaxes a square plate: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .variants = variants,
    .shared_only = shared_only,
    .page_bytes = 4 * KIB,
    .rate_unit = "Mcell/s",
    .work = work,
    .state_bytes = sizeof(struct jacobi),
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run_mpi,
    .finish = finish,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
};

int main(int argc, char **argv)
{
	return app_main(&jacobi, argc, argv);
}
