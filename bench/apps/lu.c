/*
 * LU factorisation of a dense matrix, without pivoting, in square blocks that are contiguous and dealt out to
 * a grid of workers (as LU of SPLASH-2 does: Woo et al., "The SPLASH-2 programs", 1995).
 *
 * A block is updated by its owner alone, in private memory. When it is done, and others need it, it is stored
 * to shared memory, once. Blocks of L that a worker needs lie behind each other at one owner, and so do those
 * of U.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "bench/job.h"
#include "kernel/memory.h"

enum { PARAMETER_SIZE };

#define BLOCK ((size_t)64)
#define BLOCK_NUMBERS (BLOCK * BLOCK)
#define BLOCK_BYTES (BLOCK_NUMBERS * sizeof(double))

static const struct app_parameter parameters[] = {
    {"size", "rows and columns, rounded up to a multiple of 64", 64, 65536, {256, 1024, 2048, 4096}},
    {0},
};

/* Of a node. */
struct factors {
	char *lower; /* a part for each worker: its blocks, by columns */
	char *upper; /* the same, by rows */
	size_t stride;
};

/* Of a worker: it owns blocks (i, j) with i = row mod `rows` and j = column mod `columns`. */
struct grid {
	size_t blocks; /* on a side of the matrix */
	unsigned int rows, columns, row, column;
	size_t own_rows, own_columns;		      /* the most that any worker owns */
	double *own;				      /* by columns */
	double *diagonal, *lower_panel, *upper_panel; /* MPI */
	MPI_Comm along_row, along_column;
};

static size_t block_count(const struct problem *p)
{
	return (p->values[PARAMETER_SIZE] + BLOCK - 1) / BLOCK;
}

static double work(const struct problem *p)
{
	return 2.0 / 3.0 * pow((double)(block_count(p) * BLOCK), 3) / 1e9;
}

/* A matrix whose diagonal dominates needs no pivots. */
static double element(size_t size, size_t row, size_t column)
{
	uint64_t hash = (row * size + column) * UINT64_C(0x9e3779b97f4a7c15);

	return (double)(hash >> 40) / (double)(1 << 24) - 0.5 + (row == column ? (double)size : 0);
}

/* --- blocks -------------------------------------------------------------------------------------------- */

static void factor(double *a)
{
	for (size_t k = 0; k < BLOCK; k++)
		for (size_t i = k + 1; i < BLOCK; i++) {
			double l = a[i * BLOCK + k] /= a[k * BLOCK + k];
			for (size_t j = k + 1; j < BLOCK; j++)
				a[i * BLOCK + j] -= l * a[k * BLOCK + j];
		}
}

/* A U^-1, for a block below the diagonal. */
static void solve_lower(double *restrict a, const double *restrict diagonal)
{
	for (size_t i = 0; i < BLOCK; i++)
		for (size_t k = 0; k < BLOCK; k++) {
			double l = a[i * BLOCK + k] /= diagonal[k * BLOCK + k];
			for (size_t j = k + 1; j < BLOCK; j++)
				a[i * BLOCK + j] -= l * diagonal[k * BLOCK + j];
		}
}

/* L^-1 A, for a block to the right of the diagonal. */
static void solve_upper(double *restrict a, const double *restrict diagonal)
{
	for (size_t k = 0; k < BLOCK; k++)
		for (size_t i = k + 1; i < BLOCK; i++)
			for (size_t j = 0; j < BLOCK; j++)
				a[i * BLOCK + j] -= diagonal[i * BLOCK + k] * a[k * BLOCK + j];
}

/* A - L U, four rows at once. */
static void update(double *restrict a, const double *restrict lower, const double *restrict upper)
{
	for (size_t i = 0; i < BLOCK; i += 4)
		for (size_t k = 0; k < BLOCK; k++) {
			const double *l = lower + i * BLOCK + k, *restrict row = upper + k * BLOCK;
			const double l0 = l[0], l1 = l[BLOCK], l2 = l[2 * BLOCK], l3 = l[3 * BLOCK];
			double *restrict at = a + i * BLOCK;
			for (size_t j = 0; j < BLOCK; j++) {
				at[j] -= l0 * row[j];
				at[BLOCK + j] -= l1 * row[j];
				at[2 * BLOCK + j] -= l2 * row[j];
				at[3 * BLOCK + j] -= l3 * row[j];
			}
		}
}

/* --- the grid ------------------------------------------------------------------------------------------ */

/* The most square grid of so many workers. */
static unsigned int grid_rows(unsigned int workers)
{
	unsigned int rows = 1;

	for (unsigned int i = 2; i * i <= workers; i++)
		if (workers % i == 0)
			rows = i;
	return rows;
}

static bool owns_row(const struct grid *g, size_t row)
{
	return row % g->rows == g->row;
}

static bool owns_column(const struct grid *g, size_t column)
{
	return column % g->columns == g->column;
}

/* The first of this worker's rows, or columns, from @from on. */
static size_t next_row(const struct grid *g, size_t from)
{
	return from + (g->row + g->rows - from % g->rows) % g->rows;
}

static size_t next_column(const struct grid *g, size_t from)
{
	return from + (g->column + g->columns - from % g->columns) % g->columns;
}

/* Where block (i, j) is among its owner's, in numbers. */
static size_t place_by_columns(const struct grid *g, size_t i, size_t j)
{
	return (j / g->columns * g->own_rows + i / g->rows) * BLOCK_NUMBERS;
}

static size_t place_by_rows(const struct grid *g, size_t i, size_t j)
{
	return (i / g->rows * g->own_columns + j / g->columns) * BLOCK_NUMBERS;
}

static double *own_block(const struct grid *g, size_t i, size_t j)
{
	return g->own + place_by_columns(g, i, j);
}

static size_t owner(const struct grid *g, size_t i, size_t j)
{
	return i % g->rows * g->columns + j % g->columns;
}

static double *lower_block(const struct factors *f, const struct grid *g, size_t i, size_t j)
{
	return (double *)(f->lower + owner(g, i, j) * f->stride) + place_by_columns(g, i, j);
}

static double *upper_block(const struct factors *f, const struct grid *g, size_t i, size_t j)
{
	return (double *)(f->upper + owner(g, i, j) * f->stride) + place_by_rows(g, i, j);
}

/* Solves this worker's blocks of column and row @k. */
static void solve_own(const struct grid *g, size_t k, const double *diagonal)
{
	if (owns_column(g, k))
		for (size_t i = next_row(g, k + 1); i < g->blocks; i += g->rows)
			solve_lower(own_block(g, i, k), diagonal);
	if (owns_row(g, k))
		for (size_t j = next_column(g, k + 1); j < g->blocks; j += g->columns)
			solve_upper(own_block(g, k, j), diagonal);
}

/* Updates this worker's blocks beyond @k. @lower: its first row's block of column k, the others follow;
 * @upper: its first column's block of row k, the others each @upper_step numbers further. */
static void update_own(const struct grid *g, size_t k, const double *lower, const double *upper,
		       size_t upper_step)
{
	for (size_t j = next_column(g, k + 1); j < g->blocks; j += g->columns, upper += upper_step) {
		const double *l = lower;
		for (size_t i = next_row(g, k + 1); i < g->blocks; i += g->rows, l += BLOCK_NUMBERS)
			update(own_block(g, i, j), l, upper);
	}
}

/* How many of this worker's rows, or columns, there are from @first on. */
static size_t count_rows(const struct grid *g, size_t first)
{
	return first < g->blocks ? (g->blocks - first + g->rows - 1) / g->rows : 0;
}

static size_t count_columns(const struct grid *g, size_t first)
{
	return first < g->blocks ? (g->blocks - first + g->columns - 1) / g->columns : 0;
}

/* --- shared -------------------------------------------------------------------------------------------- */

/* Stores what others need of column and row @k. */
static void publish_panels(struct worker *w, const struct factors *f, const struct grid *g, size_t k)
{
	size_t i = next_row(g, k + 1), j = next_column(g, k + 1);

	if (owns_column(g, k) && g->columns > 1 && i < g->blocks) {
		double *to = lower_block(f, g, i, k);
		worker_prefetch(w, to, count_rows(g, i) * BLOCK_BYTES, true);
		memcpy(to, own_block(g, i, k), count_rows(g, i) * BLOCK_BYTES);
	}
	if (owns_row(g, k) && g->rows > 1 && j < g->blocks) {
		worker_prefetch(w, upper_block(f, g, k, j), count_columns(g, j) * BLOCK_BYTES, true);
		for (; j < g->blocks; j += g->columns)
			memcpy(upper_block(f, g, k, j), own_block(g, k, j), BLOCK_BYTES);
	}
}

/* The diagonal's block is needed by owners of its row and column. */
static const double *factor_diagonal(struct worker *w, const struct factors *f, const struct grid *g,
				     size_t k)
{
	double *shared = lower_block(f, g, k, k);

	if (owns_row(g, k) && owns_column(g, k)) {
		factor(own_block(g, k, k));
		if (w->workers > 1)
			memcpy(shared, own_block(g, k, k), BLOCK_BYTES);
	}
	worker_barrier(w);
	if (owns_row(g, k) && owns_column(g, k))
		return own_block(g, k, k);
	if (owns_row(g, k) || owns_column(g, k))
		worker_prefetch(w, shared, BLOCK_BYTES, false);
	return shared;
}

/* Where this worker finds what it needs of column and row @k. */
static void update_from_panels(struct worker *w, const struct factors *f, const struct grid *g, size_t k)
{
	size_t i = next_row(g, k + 1), j = next_column(g, k + 1);

	if (i >= g->blocks || j >= g->blocks)
		return;
	bool own_lower = owns_column(g, k), own_upper = owns_row(g, k);
	const double *lower = own_lower ? own_block(g, i, k) : lower_block(f, g, i, k);
	const double *upper = own_upper ? own_block(g, k, j) : upper_block(f, g, k, j);
	if (!own_lower)
		worker_prefetch(w, lower, count_rows(g, i) * BLOCK_BYTES, false);
	if (!own_upper)
		worker_prefetch(w, upper, count_columns(g, j) * BLOCK_BYTES, false);
	update_own(g, k, lower, upper, own_upper ? g->own_rows * BLOCK_NUMBERS : BLOCK_NUMBERS);
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	const struct grid *g = w->mine;

	(void)p;
	for (size_t k = 0; k < g->blocks; k++) {
		solve_own(g, k, factor_diagonal(w, state, g, k));
		publish_panels(w, state, g, k);
		worker_barrier(w);
		update_from_panels(w, state, g, k);
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

/* @return the block of the diagonal, everywhere. */
static const double *broadcast_diagonal(struct worker *w, const struct grid *g, size_t k)
{
	double *block = g->diagonal;

	if (owns_row(g, k) && owns_column(g, k)) {
		block = own_block(g, k, k);
		factor(block);
	}
	WORKER_CALL(w, MPI_Bcast(block, BLOCK_NUMBERS, MPI_DOUBLE, (int)owner(g, k, k), MPI_COMM_WORLD));
	return block;
}

static void update_by_messages(struct worker *w, const struct grid *g, size_t k)
{
	size_t i = next_row(g, k + 1), j = next_column(g, k + 1);
	size_t rows = count_rows(g, i), columns = count_columns(g, j);
	double *lower = owns_column(g, k) && rows ? own_block(g, i, k) : g->lower_panel,
	       *upper = g->upper_panel;

	if (owns_row(g, k))
		for (size_t c = 0; c < columns; c++)
			memcpy(upper + c * BLOCK_NUMBERS, own_block(g, k, j + c * g->columns), BLOCK_BYTES);
	WORKER_CALL(w, {
		MPI_Bcast(lower, (int)(rows * BLOCK_NUMBERS), MPI_DOUBLE, (int)(k % g->columns),
			  g->along_row);
		MPI_Bcast(upper, (int)(columns * BLOCK_NUMBERS), MPI_DOUBLE, (int)(k % g->rows),
			  g->along_column);
	});
	update_own(g, k, lower, upper, BLOCK_NUMBERS);
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	const struct grid *g = w->mine;

	(void)p;
	(void)state;
	for (size_t k = 0; k < g->blocks; k++) {
		solve_own(g, k, broadcast_diagonal(w, g, k));
		update_by_messages(w, g, k);
	}
}

/* --- an application ------------------------------------------------------------------------------------ */

static void shape(const struct problem *p, unsigned int workers, struct grid *g)
{
	g->blocks = block_count(p);
	g->rows = grid_rows(workers);
	g->columns = workers / g->rows;
	g->own_rows = (g->blocks + g->rows - 1) / g->rows;
	g->own_columns = (g->blocks + g->columns - 1) / g->columns;
}

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct factors *f = state;
	struct grid g = {0};

	shape(p, workers, &g);
	size_t bytes = g.own_rows * g.own_columns * BLOCK_BYTES;
	f->lower = shared_parts(shared, "L", bytes, &f->stride);
	f->upper = shared_parts(shared, "U", bytes, &f->stride);
}

static void fill(const struct grid *g, size_t i, size_t j)
{
	double *block = own_block(g, i, j);

	for (size_t row = 0; row < BLOCK; row++)
		for (size_t column = 0; column < BLOCK; column++)
			block[row * BLOCK + column] =
			    element(g->blocks * BLOCK, i * BLOCK + row, j * BLOCK + column);
}

static void start_mpi(struct worker *w, struct grid *g)
{
	g->diagonal = worker_private(w, BLOCK_BYTES);
	g->lower_panel = worker_private(w, g->own_rows * BLOCK_BYTES);
	g->upper_panel = worker_private(w, g->own_columns * BLOCK_BYTES);
	MPI_Comm_split(MPI_COMM_WORLD, (int)g->row, (int)g->column, &g->along_row);
	MPI_Comm_split(MPI_COMM_WORLD, (int)g->column, (int)g->row, &g->along_column);
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	struct grid *g = w->mine = worker_private(w, sizeof *g);

	(void)state;
	shape(p, w->workers, g);
	g->row = w->rank / g->columns;
	g->column = w->rank % g->columns;
	g->own = worker_private(w, g->own_rows * g->own_columns * BLOCK_BYTES);
	for (size_t j = g->column; j < g->blocks; j += g->columns)
		for (size_t i = g->row; i < g->blocks; i += g->rows)
			fill(g, i, j);
	if (w->form == FORM_MPI)
		start_mpi(w, g);
}

/* All blocks of this worker go where worker 0 can read them. */
static void finish(const struct problem *p, struct worker *w, void *state)
{
	const struct grid *g = w->mine;
	const struct factors *f = state;

	(void)p;
	memcpy(f->lower + w->rank * f->stride, g->own, g->own_rows * g->own_columns * BLOCK_BYTES);
}

/* All blocks, by workers, and theirs by columns. */
static size_t result_bytes(const struct problem *p)
{
	return block_count(p) * block_count(p) * BLOCK_BYTES;
}

/* From the blocks of one worker to the whole matrix, in blocks by rows. */
static void place(struct grid *g, unsigned int rank, const double *blocks, double *result)
{
	g->row = rank / g->columns;
	g->column = rank % g->columns;
	for (size_t j = g->column; j < g->blocks; j += g->columns)
		for (size_t i = g->row; i < g->blocks; i += g->rows)
			memcpy(result + (i * g->blocks + j) * BLOCK_NUMBERS,
			       blocks + place_by_columns(g, i, j), BLOCK_BYTES);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	struct grid *own = w->mine, g = *own;
	const struct factors *f = state;
	size_t bytes = g.own_rows * g.own_columns * BLOCK_BYTES;
	char *all = NULL;

	(void)p;
	if (w->form == FORM_MPI) {
		MPI_Comm_free(&own->along_row);
		MPI_Comm_free(&own->along_column);
		if (w->rank == 0)
			all = worker_private(w, bytes * w->workers);
		app_gather(w, g.own, bytes, all);
		if (w->rank)
			return;
	}
	for (unsigned int rank = 0; rank < w->workers; rank++)
		place(&g, rank, (const double *)(all ? all + rank * bytes : f->lower + rank * f->stride),
		      result);
}

/* Each block goes through the same operations in the same order in all forms: equal to the bit. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const double *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i < result_bytes(p) / sizeof *a; i++)
		wrong += a[i] != b[i];
	return wrong;
}

static double factor_element(const double *factors, size_t blocks, size_t row, size_t column)
{
	return factors[(row / BLOCK * blocks + column / BLOCK) * BLOCK_NUMBERS + row % BLOCK * BLOCK +
		       column % BLOCK];
}

/* L (U x) = A x, for x = (1, 1/2, 1/3, ...). */
static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	size_t blocks = block_count(p), size = blocks * BLOCK;
	double *ux = calloc(size, sizeof *ux);

	if (!ux)
		job_fail("no memory for a vector of %zu numbers", size);
	for (size_t i = 0; i < size; i++)
		for (size_t j = i; j < size; j++)
			ux[i] += factor_element(result, blocks, i, j) / (double)(j + 1);
	for (size_t i = 0; i < size && !wrong[0]; i++) {
		double difference = ux[i];
		for (size_t j = 0; j < i; j++)
			difference += factor_element(result, blocks, i, j) * ux[j];
		for (size_t j = 0; j < size; j++)
			difference -= element(size, i, j) / (double)(j + 1);
		if (!(fabs(difference) <= 1e-12 * (double)size))
			snprintf(wrong, APP_WRONG_MESSAGE_MAX, "row %zu of L U is not that of A", i);
	}
	free(ux);
}

static const struct app lu = {
    .name = "lu",
    .title = "Minorca: LU factorisation in blocks",
    .help = "Factors a dense matrix into L U: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .page_bytes = 4 * KIB,
    .rate_unit = "GFLOP/s",
    .work = work,
    .state_bytes = sizeof(struct factors),
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
	return app_main(&lu, argc, argv);
}
