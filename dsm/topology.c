/*
 * Placement, asked of hwloc. What is read is read once: a topology does not follow later changes of the
 * process's CPU affinity. Not for the fault path: hwloc allocates.
 */
#include "dsm/topology.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <hwloc.h>

#include "dsm/topology_internal.h"

/* Immutable after it was made. */
struct topology {
	hwloc_topology_t machine;
	hwloc_bitmap_t usable; /* PUs (OS indexes) that this process may run on; never empty */
};

/* hwloc sets errno, but not on every path. */
static int error_from_errno(int fallback)
{
	return errno ? -errno : -fallback;
}

void topology_destroy(struct topology *topology)
{
	if (!topology)
		return;
	hwloc_bitmap_free(topology->usable);
	if (topology->machine)
		hwloc_topology_destroy(topology->machine);
	free(topology);
}

/* An object whose machine can still be told where to look; loaded by load(). */
static int allocate(struct topology **out)
{
	struct topology *t = calloc(1, sizeof *t);

	if (!t)
		return -ENOMEM;
	t->usable = hwloc_bitmap_alloc();
	if (!t->usable || hwloc_topology_init(&t->machine)) {
		t->machine = NULL;
		topology_destroy(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

/* Discovers the machine, then which of its PUs are ours: @usable, or those that the affinity mask allows. */
static int load(struct topology *t, const char *usable)
{
	errno = 0;
	if (hwloc_topology_load(t->machine))
		return error_from_errno(EIO) == -ENOMEM ? -ENOMEM : -EIO;
	if (usable) {
		if (hwloc_bitmap_list_sscanf(t->usable, usable))
			return -EINVAL;
	} else if (hwloc_get_cpubind(t->machine, t->usable, HWLOC_CPUBIND_PROCESS)) {
		/* A container may refuse the question; then everything that the cgroup allows counts. */
		hwloc_bitmap_copy(t->usable, hwloc_topology_get_allowed_cpuset(t->machine));
	}
	hwloc_bitmap_and(t->usable, t->usable, hwloc_topology_get_allowed_cpuset(t->machine));
	return hwloc_bitmap_iszero(t->usable) ? -EIO : 0;
}

int topology_create(struct topology **out)
{
	int saved_errno = errno;
	struct topology *t;
	int error = allocate(&t);

	if (!error) {
		error = load(t, NULL);
		if (error)
			topology_destroy(t);
		else
			*out = t;
	}
	errno = saved_errno;
	return error;
}

int topology_create_synthetic(const char *description, const char *usable, struct topology **out)
{
	struct topology *t;
	int error = allocate(&t);

	if (error)
		return error;
	error = hwloc_topology_set_synthetic(t->machine, description) ? -EINVAL : load(t, usable);
	if (error) {
		topology_destroy(t);
		return error;
	}
	*out = t;
	return 0;
}

/* The core of a PU; the PU itself on a machine that shows no cores. */
static hwloc_obj_t core_of(const struct topology *t, hwloc_obj_t pu)
{
	hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(t->machine, HWLOC_OBJ_CORE, pu);

	return core ? core : pu;
}

/* How good a place for a handler is; the larger, the better. */
struct rank {
	bool other_core;  /* a handler that spins must not take cycles from the thread that it serves */
	int shared_depth; /* of the smallest object that holds both: a common L2 before a common package */
	unsigned order;	  /* hwloc's numbering decides what is left; the smaller, the better */
};

static struct rank rank_of(const struct topology *t, hwloc_obj_t near, hwloc_obj_t pu)
{
	return (struct rank){
	    .other_core = core_of(t, pu) != core_of(t, near),
	    .shared_depth = hwloc_get_common_ancestor_obj(t->machine, near, pu)->depth,
	    .order = pu->logical_index,
	};
}

static bool better(struct rank a, struct rank b)
{
	if (a.other_core != b.other_core)
		return a.other_core;
	if (a.shared_depth != b.shared_depth)
		return a.shared_depth > b.shared_depth;
	return a.order < b.order;
}

/* The PU with this OS index, or the first usable one. */
static hwloc_obj_t find_pu(const struct topology *t, int os_index)
{
	hwloc_obj_t pu = NULL;

	if (os_index >= 0)
		pu = hwloc_get_pu_obj_by_os_index(t->machine, (unsigned)os_index);
	if (!pu)
		pu = hwloc_get_pu_obj_by_os_index(t->machine, (unsigned)hwloc_bitmap_first(t->usable));
	return pu;
}

/* The best usable PU for a handler of @here among those that are worse than @last (NULL: of all); NULL: none
 * is left. */
static hwloc_obj_t next_best(const struct topology *t, hwloc_obj_t here, hwloc_obj_t last)
{
	hwloc_obj_t best = NULL;
	unsigned os_index;

	hwloc_bitmap_foreach_begin(os_index, t->usable)
	{
		hwloc_obj_t pu = hwloc_get_pu_obj_by_os_index(t->machine, os_index);
		if (pu == here || (last && !better(rank_of(t, here, last), rank_of(t, here, pu))))
			continue;
		if (!best || better(rank_of(t, here, pu), rank_of(t, here, best)))
			best = pu;
	}
	hwloc_bitmap_foreach_end();
	return best;
}

int topology_handler_pu(const struct topology *topology, int near, unsigned index)
{
	hwloc_obj_t here = find_pu(topology, near), chosen = NULL;
	unsigned others = topology_allowed_pus(topology);

	others -= hwloc_bitmap_isset(topology->usable, here->os_index) ? 1 : 0;
	for (unsigned round = 0; others && round <= index % others; round++)
		chosen = next_best(topology, here, chosen);
	return (int)(chosen ? chosen : here)->os_index;
}

int topology_bind_thread(const struct topology *topology, int pu)
{
	int saved_errno = errno, error = 0;
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	if (!set)
		return -ENOMEM;
	if (pu < 0 || hwloc_bitmap_only(set, (unsigned)pu)) {
		error = -EINVAL;
	} else {
		errno = 0;
		if (hwloc_set_cpubind(topology->machine, set, HWLOC_CPUBIND_THREAD))
			error = error_from_errno(EIO);
	}
	hwloc_bitmap_free(set);
	errno = saved_errno;
	return error;
}

int topology_bind_memory(const struct topology *topology, void *start, size_t bytes)
{
	int saved_errno = errno, error = 0;
	hwloc_bitmap_t nodes;

	/* With one node there is nothing to choose, and a container that forbids mbind(2) need not be asked.
	 */
	if (hwloc_get_nbobjs_by_type(topology->machine, HWLOC_OBJ_NUMANODE) < 2)
		return 0;
	nodes = hwloc_bitmap_alloc();
	if (!nodes)
		return -ENOMEM;
	hwloc_cpuset_to_nodeset(topology->machine, topology->usable, nodes);
	errno = 0;
	/* Without HWLOC_MEMBIND_STRICT it is a preference: a full node spills over instead of failing. */
	if (hwloc_set_area_membind(topology->machine, start, bytes, nodes, HWLOC_MEMBIND_BIND,
				   HWLOC_MEMBIND_BYNODESET))
		error = error_from_errno(EIO);
	hwloc_bitmap_free(nodes);
	errno = saved_errno;
	return error;
}

/* The PUs of all packages that @cpus has a part of; @cpus itself on a machine that shows no packages. */
static int packages_of(const struct topology *t, hwloc_const_bitmap_t cpus, hwloc_bitmap_t out)
{
	hwloc_obj_t package = NULL;

	if (hwloc_bitmap_copy(out, cpus))
		return -ENOMEM;
	while ((package = hwloc_get_next_obj_by_type(t->machine, HWLOC_OBJ_PACKAGE, package)))
		if (hwloc_bitmap_intersects(package->complete_cpuset, cpus) &&
		    hwloc_bitmap_or(out, out, package->complete_cpuset))
			return -ENOMEM;
	return 0;
}

/* @near: PUs next to a device. @scratch: overwritten. */
static enum topology_distance distance_to(const struct topology *t, hwloc_const_bitmap_t near,
					  hwloc_bitmap_t scratch)
{
	/* With those that a container hides, next to which a device may be. */
	hwloc_const_bitmap_t all = hwloc_topology_get_complete_cpuset(t->machine);
	bool several = hwloc_get_nbobjs_by_type(t->machine, HWLOC_OBJ_NUMANODE) > 1;

	if (!hwloc_bitmap_intersects(near, all) || (several && hwloc_bitmap_isincluded(all, near)))
		return TOPOLOGY_UNKNOWN;
	if (hwloc_bitmap_intersects(near, t->usable))
		return TOPOLOGY_SAME_NUMA_NODE;
	if (packages_of(t, near, scratch))
		return TOPOLOGY_UNKNOWN;
	return hwloc_bitmap_intersects(scratch, t->usable) ? TOPOLOGY_SAME_PACKAGE : TOPOLOGY_OTHER_PACKAGE;
}

enum topology_distance topology_distance(const struct topology *topology, const char *cpus)
{
	hwloc_bitmap_t near = hwloc_bitmap_alloc(), scratch = hwloc_bitmap_alloc();
	enum topology_distance distance = TOPOLOGY_UNKNOWN;

	if (near && scratch && cpus && !hwloc_bitmap_list_sscanf(near, cpus))
		distance = distance_to(topology, near, scratch);
	hwloc_bitmap_free(scratch);
	hwloc_bitmap_free(near);
	return distance;
}

const char *topology_distance_name(enum topology_distance distance)
{
	static const char *const names[] = {
	    [TOPOLOGY_SAME_NUMA_NODE] = "same NUMA node",
	    [TOPOLOGY_SAME_PACKAGE] = "same package",
	    [TOPOLOGY_OTHER_PACKAGE] = "other package",
	    [TOPOLOGY_UNKNOWN] = "unknown",
	};

	return names[distance];
}

void topology_numa_nodes(const struct topology *topology, char *text, size_t bytes)
{
	hwloc_bitmap_t nodes = hwloc_bitmap_alloc();

	text[0] = 0;
	if (!nodes)
		return;
	hwloc_cpuset_to_nodeset(topology->machine, topology->usable, nodes);
	hwloc_bitmap_list_snprintf(text, bytes, nodes);
	hwloc_bitmap_free(nodes);
}

/* "2 cores": how many objects of a type there are, with its name. @return what snprintf() returns. */
static int describe_count(const struct topology *t, hwloc_obj_type_t type, const char *name, char *text,
			  size_t bytes)
{
	int count = hwloc_get_nbobjs_by_type(t->machine, type);

	return snprintf(text, bytes, "%d %s%s", count, name, count == 1 ? "" : "s");
}

void topology_describe(const struct topology *topology, char *text, size_t bytes)
{
	char packages[32], cores[32], pus[32], nodes[32], usable[256];

	describe_count(topology, HWLOC_OBJ_PACKAGE, "package", packages, sizeof packages);
	describe_count(topology, HWLOC_OBJ_CORE, "core", cores, sizeof cores);
	describe_count(topology, HWLOC_OBJ_PU, "PU", pus, sizeof pus);
	describe_count(topology, HWLOC_OBJ_NUMANODE, "NUMA node", nodes, sizeof nodes);
	hwloc_bitmap_list_snprintf(usable, sizeof usable, topology->usable);
	snprintf(text, bytes, "%s, %s, %s, %s; this process may use PU%s %s", packages, cores, pus, nodes,
		 topology_allowed_pus(topology) == 1 ? "" : "s", usable);
}

unsigned topology_allowed_pus(const struct topology *topology)
{
	return (unsigned)hwloc_bitmap_weight(topology->usable);
}
