/*
 * The product of two dense square matrices, C = A B: each worker computes a band of C's rows.
 *
 * Who has the band of C has that of A to itself. B is shared in bands too; each worker reads all of it, band
 * by band, beginning with its own, so that not all read from one node at once.
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

static const struct app_parameter parameters[] = {
    {"size", "rows and columns", 8, 32768, {128, 768, 1536, 3072}},
    {0},
};

/* A block of B that stays in the second-level cache, and the columns of C that one of them touches. */
#define BLOCK_ROWS 64
#define BLOCK_COLUMNS 512

/* Of a node. */
struct matmul {
	char *b, *c; /* a part for each worker, its band */
	size_t stride;
};

/* Of a worker: rows [first, end) of A, and in the MPI form of B and C. */
struct band {
	size_t first, end;
	double *a, *b, *c;
	double *visiting[2]; /* MPI: the bands of B that go round */
};

static size_t size_of(const struct problem *p)
{
	return p->values[PARAMETER_SIZE];
}

static double work(const struct problem *p)
{
	return 2 * pow((double)size_of(p), 3) / 1e9;
}

/* Any numbers that are not all alike. */
static double element_a(size_t row, size_t column)
{
	return (double)((row * 31 + column * 17) % 64) / 64 - 0.5;
}

static double element_b(size_t row, size_t column)
{
	return (double)((row * 13 + column * 29) % 128) / 128 - 0.5;
}

/* --- the kernel ---------------------------------------------------------------------------------------- */

/* Four rows of C at once, so that an element of B is loaded once for four products. */
static void add_four_rows(double *restrict c, const double *restrict a, const double *restrict b, size_t size,
			  size_t depth, size_t columns)
{
	for (size_t k = 0; k < depth; k++) {
		const double a0 = a[k], a1 = a[size + k], a2 = a[2 * size + k], a3 = a[3 * size + k];
		const double *restrict row = b + k * size;
		for (size_t j = 0; j < columns; j++) {
			c[j] += a0 * row[j];
			c[size + j] += a1 * row[j];
			c[2 * size + j] += a2 * row[j];
			c[3 * size + j] += a3 * row[j];
		}
	}
}

static void add_row(double *restrict c, const double *restrict a, const double *restrict b, size_t size,
		    size_t depth, size_t columns)
{
	for (size_t k = 0; k < depth; k++)
		for (size_t j = 0; j < columns; j++)
			c[j] += a[k] * b[k * size + j];
}

/* C += A B for one block of B: rows [k, k + depth), columns [j, j + columns). */
static void add_block(const struct band *band, double *c, const double *b, size_t size, size_t k,
		      size_t depth, size_t j, size_t columns)
{
	size_t rows = band->end - band->first, i = 0;

	for (; i + 4 <= rows; i += 4)
		add_four_rows(c + i * size + j, band->a + i * size + k, b + j, size, depth, columns);
	for (; i < rows; i++)
		add_row(c + i * size + j, band->a + i * size + k, b + j, size, depth, columns);
}

/* C += A B for rows [first, end) of B, which begin at @b. */
static void add_band(const struct problem *p, const struct band *band, double *c, const double *b,
		     size_t first, size_t end)
{
	size_t size = size_of(p);

	for (size_t k = first; k < end; k += BLOCK_ROWS) {
		size_t depth = end - k < BLOCK_ROWS ? end - k : BLOCK_ROWS;
		for (size_t j = 0; j < size; j += BLOCK_COLUMNS)
			add_block(band, c, b + (k - first) * size, size, k, depth, j,
				  size - j < BLOCK_COLUMNS ? size - j : BLOCK_COLUMNS);
	}
}

/* --- shared -------------------------------------------------------------------------------------------- */

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct matmul *m = state;
	size_t bytes = (size_of(p) / workers + 1) * size_of(p) * sizeof(double);

	m->b = shared_parts(shared, "B", bytes, &m->stride);
	m->c = shared_parts(shared, "C", bytes, &m->stride);
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	size_t size = size_of(p), i = 0;
	struct band *band = w->mine = worker_private(w, sizeof *band);
	struct matmul *m = state;

	band->first = worker_first(size, w->rank, w->workers);
	band->end = worker_first(size, w->rank + 1, w->workers);
	size_t bytes = (size / w->workers + 1) * size * sizeof(double);
	band->a = worker_private(w, bytes);
	if (w->form == FORM_MPI) {
		band->b = worker_private(w, bytes);
		band->c = worker_private(w, bytes);
		band->visiting[0] = worker_private(w, bytes);
		band->visiting[1] = worker_private(w, bytes);
	} else {
		band->b = (double *)(m->b + w->rank * m->stride);
		band->c = (double *)(m->c + w->rank * m->stride);
	}
	for (size_t row = band->first; row < band->end; row++)
		for (size_t column = 0; column < size; column++, i++) {
			band->a[i] = element_a(row, column);
			band->b[i] = element_b(row, column);
		}
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	const struct matmul *m = state;
	const struct band *band = w->mine;
	size_t size = size_of(p);

	for (unsigned int turn = 0; turn < w->workers; turn++) {
		unsigned int rank = (w->rank + turn) % w->workers;
		size_t first = worker_first(size, rank, w->workers),
		       end = worker_first(size, rank + 1, w->workers);
		const double *b = (const double *)(m->b + rank * m->stride);
		if (turn)
			worker_prefetch(w, b, (end - first) * size * sizeof(double), false);
		add_band(p, band, band->c, b, first, end);
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

/* The bands of B go round, and the next is under way while one is used. */
static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	const struct band *band = w->mine;
	size_t size = size_of(p);
	int before = (int)((w->rank + w->workers - 1) % w->workers),
	    after = (int)((w->rank + 1) % w->workers);
	const double *b = band->b;

	(void)state;
	for (unsigned int turn = 0; turn < w->workers; turn++) {
		unsigned int rank = (w->rank + turn) % w->workers, next = (rank + 1) % w->workers;
		size_t first = worker_first(size, rank, w->workers),
		       end = worker_first(size, rank + 1, w->workers);
		size_t incoming =
		    worker_first(size, next + 1, w->workers) - worker_first(size, next, w->workers);
		double *arriving = band->visiting[turn % 2];
		MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
		if (turn + 1 < w->workers)
			WORKER_CALL(w, {
				MPI_Irecv(arriving, (int)(incoming * size), MPI_DOUBLE, after, 0,
					  MPI_COMM_WORLD, &requests[0]);
				MPI_Isend(b, (int)((end - first) * size), MPI_DOUBLE, before, 0,
					  MPI_COMM_WORLD, &requests[1]);
			});
		add_band(p, band, band->c, b, first, end);
		WORKER_CALL(w, MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
		b = arriving;
	}
}

/* --- an application ------------------------------------------------------------------------------------ */

static size_t result_bytes(const struct problem *p)
{
	return size_of(p) * size_of(p) * sizeof(double);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	const struct matmul *m = state;
	const struct band *band = w->mine;
	size_t row = size_of(p) * sizeof(double);

	if (w->form == FORM_MPI) {
		app_gather(w, band->c, (band->end - band->first) * row, result);
		return;
	}
	for (unsigned int rank = 0; rank < w->workers; rank++) {
		size_t first = worker_first(size_of(p), rank, w->workers);
		size_t end = worker_first(size_of(p), rank + 1, w->workers);
		memcpy((char *)result + first * row, m->c + rank * m->stride, (end - first) * row);
	}
}

/* Bands of B are added in another order by each worker; products are at most 1/4. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const double *a = result, *b = serial;
	double tolerance = 1e-15 * (double)size_of(p);
	uint64_t wrong = 0;

	for (size_t i = 0; i < size_of(p) * size_of(p); i++)
		wrong += !(fabs(a[i] - b[i]) <= tolerance);
	return wrong;
}

/* Freivalds: C x = A (B x) for a vector x, which a wrong C fails for nearly any. */
static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	size_t size = size_of(p);
	const double *c = result;
	double *bx = calloc(size, sizeof *bx);

	if (!bx)
		job_fail("no memory for a vector of %zu numbers", size);
	for (size_t i = 0; i < size; i++)
		for (size_t j = 0; j < size; j++)
			bx[i] += element_b(i, j) * element_a(j, 7);
	for (size_t i = 0; i < size && !wrong[0]; i++) {
		double difference = 0;
		for (size_t j = 0; j < size; j++)
			difference += c[i * size + j] * element_a(j, 7) - element_a(i, j) * bx[j];
		if (!(fabs(difference) <= 1e-13 * (double)size * (double)size))
			snprintf(wrong, APP_WRONG_MESSAGE_MAX, "row %zu of C is not that of A B", i);
	}
	free(bx);
}

static const struct app matmul = {
    .name = "matmul",
    .title = "Minorca: product of two dense matrices",
    .help = "Multiplies two square matrices: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .page_bytes = 2 * MIB,
    .rate_unit = "GFLOP/s",
    .work = work,
    .state_bytes = sizeof(struct matmul),
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run_mpi,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
    .validate = validate,
};

int main(int argc, char **argv)
{
	return app_main(&matmul, argc, argv);
}
