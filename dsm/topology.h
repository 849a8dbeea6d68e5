/*
 * Where things run: hwloc places handler threads and binds region memory near them.
 */
#ifndef MINORCA_DSM_TOPOLOGY_H
#define MINORCA_DSM_TOPOLOGY_H

#include <stddef.h>
#include <sys/types.h>

struct topology;

/** Reads the machine (tens of ms). @return 0, -ENOMEM, or -EIO if hwloc cannot. Freed by topology_destroy().
 */
int topology_create(struct topology **out);
void topology_destroy(struct topology *topology);

/**
 * Chooses the processing unit (OS index) for handler number @index of a thread that runs on @near: among
 * those that this process may use, the one that shares the closest cache with @near but is on another core;
 * @near itself if there is no other.
 *
 * @return the OS index. Never fails: with one PU, that one.
 */
int topology_handler_pu(const struct topology *topology, int near, unsigned index);

/** Binds the calling thread to one PU. @return 0 or -errno (a container may forbid it). */
int topology_bind_thread(const struct topology *topology, int pu);

/** Binds memory to the NUMA nodes that this process may run on, as a preference. @return 0 or -errno. */
int topology_bind_memory(const struct topology *topology, void *start, size_t bytes);

/* How far from the PUs that this process may use; nearest first. */
enum topology_distance {
	TOPOLOGY_SAME_NUMA_NODE,
	TOPOLOGY_SAME_PACKAGE,
	TOPOLOGY_OTHER_PACKAGE,
	TOPOLOGY_UNKNOWN,
};

/**
 * How far a device is. Of the kernel's table of distances between NUMA nodes nothing is used: many machines'
 * firmware fills it with one value.
 *
 * @param cpus  the PUs next to the device, as sysfs lists them (local_cpulist, "0-15,32-47"). NULL,
 * malformed, or all of several NUMA nodes, which is how the kernel says that it does not know: UNKNOWN
 */
enum topology_distance topology_distance(const struct topology *topology, const char *cpus);

/** "same NUMA node". */
const char *topology_distance_name(enum topology_distance distance);

/** The NUMA nodes that this process may run on: "0-1". Into @text. */
void topology_numa_nodes(const struct topology *topology, char *text, size_t bytes);

/** "1 package, 2 cores, 2 PUs, 1 NUMA node; this process may use PUs 0-1". Into @text. */
void topology_describe(const struct topology *topology, char *text, size_t bytes);

/** How many PUs this process may use. */
unsigned topology_allowed_pus(const struct topology *topology);

#endif
