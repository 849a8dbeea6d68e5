/*
 * Placement by hwloc. See placement.h.
 */
#include "bench/placement.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hwloc.h>

#include "dsm/topology.h"

#define HANDLER_PU_VARIABLE "MINORCA_HANDLER_PU"

/* The usable PUs: first one of each core, in hwloc's order, then the second ones, and so on. */
struct pu_list {
	int *pus;
	unsigned int count, cores;
};

static void add_pus_of_rank(hwloc_topology_t machine, hwloc_const_bitmap_t usable, unsigned int rank,
			    struct pu_list *list)
{
	hwloc_obj_t pu = NULL;

	while ((pu = hwloc_get_next_obj_by_type(machine, HWLOC_OBJ_PU, pu)))
		if (pu->sibling_rank == rank && hwloc_bitmap_isset(usable, pu->os_index))
			list->pus[list->count++] = (int)pu->os_index;
}

/* @return 0 or -errno; list->pus is to be freed. */
static int list_pus(hwloc_topology_t machine, struct pu_list *list)
{
	hwloc_bitmap_t usable = hwloc_bitmap_alloc();
	int total = hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_PU);

	if (total > 0)
		list->pus = calloc((size_t)total, sizeof *list->pus);
	if (!usable || !list->pus) {
		hwloc_bitmap_free(usable);
		return total > 0 ? -ENOMEM : -EIO;
	}
	if (hwloc_get_cpubind(machine, usable, HWLOC_CPUBIND_PROCESS))
		hwloc_bitmap_copy(usable, hwloc_topology_get_allowed_cpuset(machine));
	for (unsigned int rank = 0; rank < (unsigned int)total && list->count < (unsigned int)total; rank++) {
		add_pus_of_rank(machine, usable, rank, list);
		if (!list->cores) /* those of the first rank of which we may use any */
			list->cores = list->count;
	}
	hwloc_bitmap_free(usable);
	return list->count ? 0 : -EIO;
}

static int read_pus(struct pu_list *list)
{
	hwloc_topology_t machine;

	if (hwloc_topology_init(&machine))
		return -ENOMEM;
	int error = hwloc_topology_load(machine) ? -EIO : list_pus(machine, list);
	hwloc_topology_destroy(machine);
	return error;
}

/* Node i of n on this host begins at the i-th n-th of the cores; its threads follow. */
static void place_threads(const struct job *job, const struct pu_list *list, unsigned int threads,
			  struct placement *out)
{
	unsigned int first = (unsigned int)job->local_node * list->cores / (unsigned int)job->local_nodes;

	for (unsigned int i = 0; i < threads; i++)
		out->pus[i] = list->pus[(first + i) % list->count];
}

static void place_handler(struct placement *out)
{
	const char *asked = getenv(HANDLER_PU_VARIABLE);
	char text[16];

	if (asked && atoi(asked) >= 0) { /* what is no number, the runtime refuses by name */
		out->handler_pu = atoi(asked);
		return;
	}
	out->handler_pu = topology_handler_pu(out->topology, out->pus[0], 0);
	snprintf(text, sizeof text, "%d", out->handler_pu);
	setenv(HANDLER_PU_VARIABLE, text, 1);
}

static void describe(const struct job *job, unsigned int threads, struct placement *out)
{
	size_t used = (size_t)snprintf(out->text, sizeof out->text, "node %d: threads on PU", job->node);

	for (unsigned int i = 0; i < threads && used < sizeof out->text; i++)
		used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s%d", i ? "," : " ",
					 out->pus[i]);
	if (used < sizeof out->text)
		snprintf(out->text + used, sizeof out->text - used, ", handler on PU %d", out->handler_pu);
}

void placement_choose(const struct job *job, unsigned int threads, struct placement *out)
{
	struct pu_list list = {0};
	int error = topology_create(&out->topology);

	if (!error)
		error = read_pus(&list);
	if (error)
		job_fail("cannot read the machine's topology: %s", strerror(-error));
	place_threads(job, &list, threads < PLACEMENT_THREADS_MAX ? threads : PLACEMENT_THREADS_MAX, out);
	free(list.pus);
	place_handler(out);
	describe(job, threads, out);
}

void placement_free(struct placement *placement)
{
	topology_destroy(placement->topology);
}
