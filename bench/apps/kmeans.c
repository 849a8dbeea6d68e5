/*
 * k-means by Lloyd's algorithm: points go to the nearest centre, and centres to the mean of their points.
 *
 * Points stay with their worker. Sums and counts are accumulated privately and combined in one reduction in
 * each step.
 */
#include <math.h>
#include <string.h>

#include "bench/apps/app.h"
#include "kernel/memory.h"

enum { PARAMETER_POINTS, PARAMETER_CLUSTERS, PARAMETER_STEPS };

static const struct app_parameter parameters[] = {
    {"points", "points", 64, UINT64_C(1) << 32, {20000, 500000, 2000000, 8000000}},
    {"clusters", "centres", 2, 256, {8, 16, 16, 32}},
    {"steps", "how often centres are moved", 1, 100000, {5, 10, 10, 10}},
    {0},
};

#define DIMENSIONS 8

struct point {
	double at[DIMENSIONS];
};

/* What a step adds up of one cluster; numbers of 8 bytes for a reduction. */
struct sum {
	struct point total;
	double count; /* exact up to 2^53 */
};

/* Of a worker. */
struct part {
	size_t first, end;
	struct point *points;
	struct point *centres;
	struct sum *sums;
};

static size_t clusters_of(const struct problem *p)
{
	return p->values[PARAMETER_CLUSTERS];
}

static double work(const struct problem *p)
{
	return (double)p->values[PARAMETER_POINTS] * (double)p->values[PARAMETER_STEPS] / 1e6;
}

static double random_between(uint64_t seed, double lowest, double highest)
{
	seed += UINT64_C(0x9e3779b97f4a7c15);
	seed = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	seed = (seed ^ seed >> 27) * UINT64_C(0x94d049bb133111eb);
	return lowest +
	       (highest - lowest) * (double)((seed ^ seed >> 31) >> 11) / (double)(UINT64_C(1) << 53);
}

/* Point @i scatters around the true centre @i mod clusters. */
static void make_point(const struct problem *p, size_t i, struct point *out)
{
	size_t cluster = i % clusters_of(p);

	for (unsigned int d = 0; d < DIMENSIONS; d++)
		out->at[d] = random_between(cluster * DIMENSIONS + d, 0, 100) +
			     random_between((i + 1000) * DIMENSIONS + d, -8, 8);
}

static size_t nearest(const struct point *point, const struct point *centres, size_t count)
{
	double least = INFINITY;
	size_t found = 0;

	for (size_t c = 0; c < count; c++) {
		double distance = 0;
		for (unsigned int d = 0; d < DIMENSIONS; d++)
			distance += (point->at[d] - centres[c].at[d]) * (point->at[d] - centres[c].at[d]);
		if (distance < least) {
			least = distance;
			found = c;
		}
	}
	return found;
}

static void add_up(const struct problem *p, const struct part *part)
{
	memset(part->sums, 0, clusters_of(p) * sizeof *part->sums);
	for (size_t i = 0; i < part->end - part->first; i++) {
		struct sum *sum = &part->sums[nearest(&part->points[i], part->centres, clusters_of(p))];
		for (unsigned int d = 0; d < DIMENSIONS; d++)
			sum->total.at[d] += part->points[i].at[d];
		sum->count++;
	}
}

/* A centre without points stays where it is. */
static void move_centres(const struct problem *p, const struct part *part)
{
	for (size_t c = 0; c < clusters_of(p); c++)
		for (unsigned int d = 0; d < DIMENSIONS; d++)
			if (part->sums[c].count > 0)
				part->centres[c].at[d] = part->sums[c].total.at[d] / part->sums[c].count;
}

/* --- an application ------------------------------------------------------------------------------------ */

/* What worker 0 returns needs no shared memory: all workers have the same centres. */
static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	(void)p;
	(void)shared;
	(void)workers;
	(void)state;
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine = worker_private(w, sizeof *part);

	(void)state;
	part->first = worker_first(p->values[PARAMETER_POINTS], w->rank, w->workers);
	part->end = worker_first(p->values[PARAMETER_POINTS], w->rank + 1, w->workers);
	part->points = worker_private(w, (part->end - part->first) * sizeof *part->points);
	part->centres = worker_private(w, clusters_of(p) * sizeof *part->centres);
	part->sums = worker_private(w, clusters_of(p) * sizeof *part->sums);
	for (size_t i = part->first; i < part->end; i++)
		make_point(p, i, &part->points[i - part->first]);
	for (size_t c = 0; c < clusters_of(p); c++)
		make_point(p, c, &part->centres[c]);
}

/* Also by MPI: the reduction is the form's. */
static void run(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;

	(void)state;
	for (uint64_t step = 0; step < p->values[PARAMETER_STEPS]; step++) {
		add_up(p, part);
		worker_reduce(w, part->sums, clusters_of(p) * sizeof *part->sums / sizeof(double),
			      SUM_DOUBLE);
		move_centres(p, part);
	}
}

/* Centres, and how many points each had. */
static size_t result_bytes(const struct problem *p)
{
	return clusters_of(p) * sizeof(struct sum);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	struct part *part = w->mine;
	struct sum *out = result;

	(void)state;
	for (size_t c = 0; w->rank == 0 && c < clusters_of(p); c++)
		out[c] = (struct sum){.total = part->centres[c], .count = part->sums[c].count};
}

/* Sums are added in another order. */
static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const double *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i < result_bytes(p) / sizeof *a; i++)
		wrong += !(fabs(a[i] - b[i]) <= 1e-9 * fabs(b[i]));
	return wrong;
}

static const struct app kmeans = {
    .name = "kmeans",
    .title = "Minorca: k-means",
    .help = "Finds clusters of points of 8 dimensions: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .page_bytes = 4 * KIB,
    .rate_unit = "Mpoint/s",
    .work = work,
    .state_bytes = 1,
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
};

int main(int argc, char **argv)
{
	return app_main(&kmeans, argc, argv);
}
