/*
 * The runtime of this process: what dsm_init() set up. One, because SIGBUS has one handler.
 */
#ifndef MINORCA_DSM_RUNTIME_H
#define MINORCA_DSM_RUNTIME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dsm/settings.h"
#include "dsm/transport.h"
#include "kernel/probe.h"

/* Those of the application, and the heap's, which come after. A bit of a word for each (dirty_regions). */
#define REGIONS_OF_APPLICATION 62
#define REGIONS_MAX 64

/* Segment numbers. Each region has two. */
#define SEGMENT_CONTROL 0u
#define SEGMENT_LOG 1u
#define SEGMENT_HEAP 2u
#define SEGMENT_LOCKS 3u
#define SEGMENT_COLLECTIVE 4u
#define SEGMENT_DATA(region_id) (5u + 2u * (region_id))
#define SEGMENT_VERSIONS(region_id) (6u + 2u * (region_id))

struct topology;
struct dsm_region;

/* Immutable between dsm_init() and dsm_finalize(), but for the last two. */
struct runtime {
	bool started;
	bool owns_mpi;
	int node, nodes;
	uint64_t *hosts; /* [node]: equal numbers are nodes of one machine */
	unsigned turn;	 /* how many nodes of lower number are on this machine and the same NUMA nodes */
	struct settings settings;
	struct kernel_feature_status kernel[KERNEL_FEATURE_COUNT];
	struct topology *topology;
	const struct transport_ops *ops;
	struct transport *transport;
	/* By id; NULL: free. Set when a region is complete, cleared before it is taken apart. */
	_Atomic(struct dsm_region *) regions[REGIONS_MAX];
	/* Bit i: region i may have dirty pages. Set by faults, taken by the thread that publishes. */
	_Alignas(64) _Atomic uint64_t dirty_regions;
	/* Some page has become hot, once. Set before that page is writable. */
	atomic_bool hot_pages;
};

extern struct runtime runtime;

/**
 * The region that @address lies in, or NULL. The caller holds a lane, and may use the region until it lets go
 * of it (see lanes_quiesce()). Async-signal-safe.
 */
struct dsm_region *runtime_find_region(const void *address);

/** True if this node is the lowest-numbered one of its machine: it speaks for the machine. */
bool runtime_speaks_for_host(void);

/** Blocks all signals; to be undone by runtime_unblock_signals(). Held around everything that takes a page
 * lock or a lane: a signal handler that touched the same page on this thread would wait for itself. */
void runtime_block_signals(void *saved_sigset);
void runtime_unblock_signals(const void *saved_sigset);

#endif
