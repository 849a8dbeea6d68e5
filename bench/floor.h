/*
 * The floor of a page fault: what it costs at least, by the barest code that does the same kernel work and
 * the same copy. A pair of mappings of a memory file, a userfaultfd, and a handler that knows in advance what
 * it has to do: no page table, no versions, no locks, no statistics, one region.
 *
 * One object for each node. The home's holds the master copy. The others open the home's file and copy from
 * it; or, where the runtime uses RDMA, read it by bare libibverbs. Calls that change the object are made by
 * one thread while nobody touches it. All return 0 or -errno.
 */
#ifndef MINORCA_BENCH_FLOOR_H
#define MINORCA_BENCH_FLOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/pattern.h"

struct bare;
struct topology;

/* How a fault arrives: in the faulting thread as SIGBUS, or in a thread that reads the descriptor. */
enum floor_delivery { FLOOR_INLINE, FLOOR_THREAD_BLOCK, FLOOR_THREAD_SPIN };

/* What a fault does, in this order. A mask. */
enum {
	FLOOR_ALLOCATE = 1,   /* put the page into the file (hugepages: an empty pool must be an error) */
	FLOOR_ASK = 32,	      /* RDMA: read as many bytes as it takes to know whether the page is current */
	FLOOR_COPY = 2,	      /* copy what is out of date from the source */
	FLOOR_TWIN = 4,	      /* copy the page to its twin: it is about to be stored to */
	FLOOR_MAP = 8,	      /* CONTINUE, write-protected unless there is a twin */
	FLOOR_UNPROTECT = 16, /* the page is mapped: let stores through */
};

struct floor_options {
	size_t page_bytes;
	size_t pages;
	enum floor_delivery delivery;
	const struct topology *topology; /* for the handler thread */
	int handler_pu;
	struct bare *bare; /* reads come by it; NULL: copies from a mapping of the home's file */
};

struct floor;

int floor_create(const struct floor_options *options, struct floor **out);
void floor_destroy(struct floor *floor);

/* --- memory -------------------------------------------------------------------------------------------- */

/** The mapping that faults. */
char *floor_base(const struct floor *floor);

/** The other one, which never does. */
char *floor_alias(const struct floor *floor);

/** The memory file, for others to open. */
int floor_file(const struct floor *floor);

/** Maps the file @fd of process @pid as the source of copies; for -EACCES and the like, see /proc/PID/fd in
 * proc(5). */
int floor_attach_source(struct floor *floor, pid_t pid, int fd);

/** RDMA: registers pages @first to @first + @count, and learns where the home's are. Collective, on all nodes
 * at once; node 0 must expose all pages. Ends what was exposed before. */
void floor_expose(struct floor *floor, size_t first, size_t count);

/** Copies the pages from the source to the alias, unmeasured. */
int floor_hold(struct floor *floor, size_t first, size_t count);

/** Copies each page to its twin, or compares it with it: what a runtime does at home around a store. */
void floor_twin(struct floor *floor, size_t first, size_t count);
int floor_compare(struct floor *floor, size_t first, size_t count);

/** Allocates pages in the file. */
int floor_allocate(struct floor *floor, size_t first, size_t count);

/** Frees all pages: nothing is held, nothing is mapped, nothing is exposed. */
int floor_renew(struct floor *floor);

/** Makes the source's pages present here, so that a copy does not fault on them. */
int floor_populate_source(struct floor *floor);

/** Maps pages write-protected; takes them away; protects them again. */
int floor_map(struct floor *floor, size_t first, size_t count);
int floor_unmap(struct floor *floor, size_t first, size_t count);
int floor_protect(struct floor *floor, size_t first, size_t count);

/* --- faults -------------------------------------------------------------------------------------------- */

/** Says what a fault is to do from now on, and which blocks it copies. */
void floor_set_work(struct floor *floor, unsigned int work, const struct pattern *pattern);

/** Takes SIGBUS, or lets the handler thread run; gives it back, or puts the thread to sleep. */
int floor_listen(struct floor *floor);
void floor_deafen(struct floor *floor);

/** What a fault on @page that is to do @work reads, and no fault. */
int floor_read(struct floor *floor, unsigned int work, size_t page);

/** Copies the pages from the source and maps them with one CONTINUE: a prefetch at its barest. */
int floor_prefetch(struct floor *floor, size_t first, size_t count);

#endif
