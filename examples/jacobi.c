/*
 * Heat on a square plate, relaxed by Jacobi's method: each node computes a band of rows and reads the rows of
 * its neighbours at the edges of its band by plain loads.
 *
 *     scripts/run -n 2 jacobi [SIZE [STEPS]]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <minorca.h>

/* One step for rows [first, end); returns the largest change. */
static double relax(const double *from, double *to, size_t size, size_t first, size_t end)
{
	double change = 0;

	for (size_t y = first; y < end; y++)
		for (size_t x = 1; x + 1 < size; x++) {
			size_t at = y * size + x;
			to[at] = 0.25 * (from[at - 1] + from[at + 1] + from[at - size] + from[at + size]);
			change = fmax(change, fabs(to[at] - from[at]));
		}
	return change;
}

int main(int argc, char **argv)
{
	dsm_region *region;

	if (dsm_init(&argc, &argv))
		return 1;
	size_t size = argc > 1 ? strtoull(argv[1], NULL, 10) : 512,
	       steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
	size_t node = (size_t)dsm_node(), nodes = (size_t)dsm_nodes(), cells = size * size;
	if (size < 3 || dsm_region_create("plates", (2 * cells + nodes) * sizeof(double), NULL, &region))
		return 1;
	double *plates[] = {dsm_region_base(region), (double *)dsm_region_base(region) + cells};
	double *changes = plates[1] + cells; /* one for each node */

	/* A region is zeroed; the upper edge is hot. */
	if (node == 0)
		for (size_t x = 0; x < size; x++)
			plates[0][x] = plates[1][x] = 100;
	if (dsm_barrier())
		return 1;

	size_t first = 1 + (size - 2) * node / nodes, end = 1 + (size - 2) * (node + 1) / nodes;
	for (size_t step = 0; step < steps; step++) {
		changes[node] = relax(plates[step % 2], plates[(step + 1) % 2], size, first, end);
		if (dsm_barrier())
			return 1;
	}

	if (node == 0) {
		double change = 0, sum = 0;
		for (size_t i = 0; i < nodes; i++)
			change = fmax(change, changes[i]);
		for (size_t i = 0; i < cells; i++)
			sum += plates[steps % 2][i];
		printf("%zu x %zu cells, %zu steps, %zu nodes: mean %.9f, last change %.3g\n", size, size,
		       steps, nodes, sum / (double)cells, change);
	}
	dsm_region_destroy(region);
	return dsm_finalize() ? 1 : 0;
}
