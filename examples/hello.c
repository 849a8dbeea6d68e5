/*
 * The smallest program: each node stores a number of its own, and after a barrier all load all of them.
 *
 *     scripts/run -n 4 hello
 */
#include <stdio.h>

#include <minorca.h>

int main(int argc, char **argv)
{
	dsm_region *region;

	if (dsm_init(&argc, &argv))
		return 1;
	if (dsm_region_create("hello", (size_t)dsm_nodes() * sizeof(int), NULL, &region))
		return 1;
	int *numbers = dsm_region_base(region);

	numbers[dsm_node()] = 100 + dsm_node(); /* a plain store; all nodes store to one page */
	if (dsm_barrier())
		return 1;
	if (dsm_node() == 0)
		for (int i = 0; i < dsm_nodes(); i++)
			printf("node %d stored %d\n", i, numbers[i]); /* a plain load */

	dsm_region_destroy(region);
	return dsm_finalize() ? 1 : 0;
}
