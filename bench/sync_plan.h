/*
 * What sync measures: its cases, and the rows that they come to.
 */
#ifndef MINORCA_BENCH_SYNC_PLAN_H
#define MINORCA_BENCH_SYNC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sync_options.h"

/* In the order of the output. */
enum sync_case_id {
	ACQUIRE_NOTHING,
	ACQUIRE_CHANGED,
	PUBLISH_LINE,
	PUBLISH_LINE_HOT,
	PUBLISH_BYTES,
	PUBLISH_PAGE,
	PUBLISH_PAGES,
	STORE_FIRST,
	STORE_HOT,
	DIFF,
	LOCK_UNCONTENDED,
	LOCK_PUBLISH,
	TRYLOCK,
	LOCK_HANDOVER,
	RWLOCK_READ,
	RWLOCK_READ_ALL,
	RWLOCK_WRITE,
	FALSE_SHARING,
	FALSE_SHARING_LOCK,
	STORM_ONE,
	STORM_ALL,
	BARRIER,
	BARRIER_PUBLISH,
	ATOMIC_ADD,
	ATOMIC_LOAD,
	ATOMIC_COMPARE_SWAP,
	ATOMIC_ADD_CONTENDED,
	EVENT_PINGPONG,
	REDUCE,
	BROADCAST,
	MALLOC_FREE,
	SYNC_CASES
};

/* What a case needs besides the runtime. */
enum {
	NEEDS_TWO_NODES = 1,
	NEEDS_ONE_HOST = 2,  /* memory or a clock that its nodes share */
	NEEDS_HOT_PAGES = 4, /* which only the shm transport has */
};

struct sync_case {
	const char *name;    /* the JSON field `case` */
	const char *summary; /* one line, for --list */
	unsigned int needs;
};

const struct sync_case *sync_case(unsigned int id);

/** NULL-terminated, in the order of enum sync_case_id. Static. */
const char *const *sync_case_names(void);

/* Where the page that is worked on has its home, seen from node 0, which works on it. */
enum sync_home {
	HOME_NONE,
	HOME_HERE,
	HOME_THERE,
	HOME_AROUND, /* page i on node i mod N */
	HOME_PARTS,  /* the i-th of N parts on node i */
};

/** "here", "there"; NULL where it is neither. */
const char *sync_home_name(enum sync_home home);

/* What tells apart rows that are else the same. */
enum sync_variant {
	VARIANT_NONE,
	NEIGHBOURS,
	SCATTERED,
	EQUAL,
	ONE_LINE,
	BETWEEN_NODES,
	WITHIN_NODE,
	ONE_PAGE,
	PAGE_EACH,
	PAGE_AT_HOME,
	FAULTS,
	READAHEAD,
	LOG_OVERFLOW,
};

const char *sync_variant_name(enum sync_variant variant);

#define NO_ROW SIZE_MAX

/* One row of the results, before it is measured. */
struct sync_row {
	enum sync_case_id id;
	enum sync_home home;
	enum sync_variant variant;
	size_t page_bytes;     /* 0: the case has no region, or it does not matter */
	uint64_t region_bytes; /* 0: the case has no region */
	bool sparse;
	size_t touched;	      /* pages of the region that a node touches at most */
	unsigned int changed; /* pages */
	size_t changed_bytes; /* of each of them; 0: it does not matter */
	unsigned int threads;
	const char *baseline; /* its name; NULL: there is none */
	size_t baseline_row;  /* the row that is the baseline, or NO_ROW: measured in turn with the row */
};

struct sync_plan {
	struct sync_row *rows;
	size_t count;
};

/** The rows of the cases that were asked for, the same on all @nodes nodes; with @rdma, and the baselines of
 * sync_rdma.h. @return 0 or -ENOMEM. */
int sync_plan_make(const struct sync_options *options, int nodes, bool rdma, struct sync_plan *out);
void sync_plan_free(struct sync_plan *plan);

#endif
