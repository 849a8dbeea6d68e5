/*
 * Minorca: distributed shared memory on minor faults.
 *
 * N processes, the "nodes" of a job that mpirun starts, share regions of memory and use them with plain loads
 * and stores. A page that is out of date on a node raises a userfaultfd minor fault there; the runtime
 * reads what changed from the page's home node, one-sided, into a second mapping of the same memory and
 * lets the access go on. A region is at the same address on every node, so pointers into it mean the same
 * everywhere.
 *
 * The memory model is release consistency with many writers: a program without data races, whose accesses are
 * ordered by locks, barriers, events and atomics as a pthreads program's are, behaves as on plain memory (it
 * is sequentially consistent), on any number of nodes and threads. Two nodes may store to different bytes of
 * one page at once. minorca-memory-model(7) says what is promised and what is not.
 *
 *     dsm_init(&argc, &argv);
 *     dsm_region *r;
 *     dsm_region_create("grid", bytes, NULL, &r);
 *     double *grid = dsm_region_base(r);
 *     ... plain loads and stores; dsm_barrier() ...
 *     dsm_region_destroy(r);
 *     dsm_finalize();
 *
 * Conventions of every call:
 *   - Returns 0 or -errno, leaves errno as it was, and sets its outputs only on success.
 *   - Whoever detects an error says so once on stderr: which node, what happened, what to do.
 *   - -EHOSTDOWN: a node is lost, that is, its process has ended or its device does not answer, and the call
 *     waits for it or needs what it was home of. That is found out long before MINORCA_TIMEOUT; each kind of
 *     call says so once for each loss. docs/failures.md tells what goes on working.
 *   - "Collective" means: every node makes the call, in the same order, with the same arguments. A collective
 *     call waits for the others for at most MINORCA_TIMEOUT seconds, then names who is missing and fails
 *     with -ETIMEDOUT; with -EHOSTDOWN, sooner, if a node is lost.
 *   - -EPROTO from any call: what another node says cannot be, so its memory is damaged (a stray store?), or
 *     a lock was not zero at first. Nothing was done. docs/security.md.
 *   - A call that is not collective may be made from any thread at any time between dsm_init() and
 *     dsm_finalize(), unless it says otherwise. None may be made from a signal handler.
 *   - An access to a region may be made by any thread, also inside a signal handler of the application.
 *
 * What an application must know (inline delivery, the default):
 *   - The runtime owns SIGBUS from dsm_init() on. A SIGBUS that is not about a region goes to the handler
 * that was installed before. Do not block SIGBUS and do not replace its handler. Under gdb: `handle SIGBUS
 * nostop noprint pass`.
 *   - A page whose home cannot be reached raises SIGBUS in the thread that touches it, for good, and the
 *     reason is printed. A handler that was installed before dsm_init() may leave by siglongjmp(); by default
 *     the process ends. A system call that is handed such memory gives EFAULT. (Before Linux 6.6 the process
 *     ends in any case.)
 *   - The kernel does not resolve a fault on our behalf inside a system call: read(fd, region, n) on a page
 * that is not mapped gives EFAULT. dsm_prefetch() the buffer first, or use DSM_DELIVERY_THREAD_*.
 *   - The stack of a thread must not lie in a region.
 *   - After fork() the child must not touch a region (it is not inherited: the child gets SIGSEGV).
 */
#ifndef MINORCA_H
#define MINORCA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The library's version, "0.1.0". Static. */
const char *dsm_version(void);

/**
 * Starts the runtime on this node. Collective over MPI_COMM_WORLD; calls MPI_Init_thread() if nobody has (and
 * dsm_finalize() then calls MPI_Finalize()). To be called once, from one thread, before any other thread
 * touches a region. Reads the settings MINORCA_* from the environment (`minorca settings` lists them).
 *
 * @param argc, argv  main()'s, handed to MPI; both may be NULL.
 * @return 0; on an error every node returns one, with one message on stderr:
 *   -EINVAL     a setting is unknown or malformed
 *   -EPROTO     nodes run different builds of the library, or have different settings
 *   -EPERM      this user may not use userfaultfd
 *   -EOPNOTSUPP the kernel lacks a required feature
 *   -ENODEV     MINORCA_TRANSPORT=verbs and there is no usable device; or shm and a node is on another host
 *   -ENOMEM     memory, or the limit of locked memory (ulimit -l) for verbs
 *   -ETIMEDOUT  a node did not arrive within MINORCA_TIMEOUT
 *   -EALREADY   already started
 */
int dsm_init(int *argc, char ***argv);

/**
 * Ends the runtime: destroys the regions that are left, gives SIGBUS back to the handler before us, ends MPI
 * if dsm_init() began it. Collective. No thread may touch a region from here on.
 *
 * @return 0; -EINVAL: not started; -ETIMEDOUT: a node did not arrive; -EHOSTDOWN: a node is lost, and is not
 * waited for. In both cases what this node holds is released all the same, MPI is not ended, and the process
 * may go on or exit as it likes.
 */
int dsm_finalize(void);

/** This node's number, 0 .. dsm_nodes() - 1 (its MPI rank); -EINVAL when not started. Any thread,
 * signal-safe. */
int dsm_node(void);

/** How many nodes the job has; -EINVAL when not started. Any thread, signal-safe. */
int dsm_nodes(void);

/* --- regions ------------------------------------------------------------------------------------------- */

/** A shared region. Made by dsm_region_create(), freed by dsm_region_destroy(). */
typedef struct dsm_region dsm_region;

/** Which node is the home of a page: it holds the master copy, and its own accesses never fetch. */
enum dsm_home_policy {
	DSM_HOME_BLOCK = 0, /* node i has the i-th of N contiguous parts (the default) */
	DSM_HOME_CYCLIC,    /* chunk c belongs to node c mod N; see chunk_bytes */
	DSM_HOME_NODE,	    /* one node has all; see home_node */
};

/** How a fault reaches the runtime. */
enum dsm_delivery {
	DSM_DELIVERY_DEFAULT = 0, /* what MINORCA_DELIVERY says; inline if nothing */
	DSM_DELIVERY_INLINE, /* SIGBUS in the faulting thread, resolved there: fastest, needs no privilege */
	DSM_DELIVERY_THREAD_SPIN,  /* handler threads that spin: system calls may touch the region; costs a
				      core */
	DSM_DELIVERY_THREAD_BLOCK, /* handler threads that sleep: the same, costs no core and is slower */
};

/** Whether a fault brings in pages that are likely to be touched next. */
enum dsm_readahead {
	DSM_READAHEAD_AUTO = 0, /* where a thread walks through the region: up to MINORCA_READAHEAD at once */
	DSM_READAHEAD_OFF,	/* never: each fault brings in its page alone */
};

/** How a region is made. All zero is the default. The same on all nodes. */
struct dsm_region_options {
	size_t page_size_bytes; /* 4 KiB (shmem), 2 MiB or 1 GiB (hugetlb); 0: MINORCA_PAGE_SIZE */
	enum dsm_home_policy home;
	size_t
	    chunk_bytes; /* DSM_HOME_CYCLIC: a multiple of the page size; 0: the larger of a page and 2 MiB */
	int home_node;	 /* DSM_HOME_NODE */
	enum dsm_delivery delivery;
	bool sparse; /* a page costs memory, also at home, when it is first touched (or read ahead); a
			hugepage pool that is empty then ends the process */
	enum dsm_readahead readahead;
	bool movable;  /* one node, at first home_node, uses it by itself, and it can move: see "migration" */
	void *address; /* where, on every node; NULL: the nodes agree on an address */
};

/**
 * Makes a region of zeroed memory, at the same address on every node. Collective; not from two threads of a
 * node at once.
 *
 * Memory is sparse: a node has allocated the pages that it is home of, and pays for another page when it
 * fetches it.
 *
 * @param name     for messages and /proc/PID/maps; up to 63 bytes; copied
 * @param bytes    rounded up to whole pages
 * @param options  NULL: the defaults
 * @param region   set on success; owned by the caller
 * @return 0; on an error every node returns one:
 *   -EINVAL     a size, policy or option that makes no sense, or that differs between nodes
 *   -ENOSPC     a node's pool of hugepages has too few free pages
 *   -ENODEV     a node's kernel has no hugepages of this size
 *   -EADDRINUSE something is mapped at options->address on a node, or no common free address was found
 *   -ENOMEM     address space, vm.max_map_count, locked memory (verbs), or too large for this machine
 *   -EPERM      thread delivery without the privilege it needs
 *   -EMFILE     too many regions (62) or descriptors
 *   -ETIMEDOUT  a node did not arrive
 *   -EHOSTDOWN  a node is lost
 */
int dsm_region_create(const char *name, size_t bytes, const struct dsm_region_options *options,
		      dsm_region **region);

/**
 * Frees a region and its memory on every node. Collective. No thread may touch it any more; what was stored
 * since the last barrier is gone. An access afterwards ends the process by SIGBUS, with a message that names
 * the region, as long as nothing else is mapped there and not many regions were destroyed since.
 *
 * @return 0; -EINVAL: not a region; -EBUSY: a thread of some node has or waits for a lock in it (nothing was
 * done); -ETIMEDOUT: a node did not arrive, -EHOSTDOWN: is lost (this node's part is freed all the
 * same).
 */
int dsm_region_destroy(dsm_region *region);

/** Where the region begins: the same on every node. */
void *dsm_region_base(const dsm_region *region);

/** Its size in bytes: what was asked for, rounded up to whole pages. */
size_t dsm_region_bytes(const dsm_region *region);

/** Its page size in bytes. */
size_t dsm_region_page_bytes(const dsm_region *region);

/** The node that is home of the page at @address; -EFAULT: in no region. */
int dsm_home(const void *address);

/* --- synchronisation ----------------------------------------------------------------------------------- */

/*
 * Every call of this part that is not called otherwise orders plain memory like its pthreads or C11
 * counterpart: what precedes a *release* (unlock, signal, advance, barrier, an atomic with DSM_RELEASE) in
 * one thread is seen by what follows the *acquire* (lock, wait, await, barrier, an atomic with DSM_ACQUIRE)
 * that it is ordered before, in any thread of any node. Releases and acquires work on the node: a release
 * publishes the stores of all threads of the node so far, an acquire takes pages out of the sight of all of
 * them. A store that another thread is in the middle of is not lost: it is published by this release or by
 * that thread's own next one. Nodes do all of it by one-sided operations: no CPU of another node takes part.
 *
 * The objects (dsm_mutex, dsm_rwlock, dsm_cond, dsm_event) and the words of atomics lie in regions or in
 * memory of dsm_malloc(), as many as one likes; the home of the page is where they are. All zero bytes is a
 * fresh object: regions and dsm_calloc() give those. They are used through these calls alone: a plain load of
 * one shows anything, and a plain store is for initialising it, ordered before its first use as for any
 * memory. Two cache lines of different objects do not interfere.
 *
 * Common errors: -EINVAL: not started, or not 8-byte aligned; -EFAULT: not in a region; -EHOSTDOWN: the
 * object's home, or a node that has it, or that must publish or be told, is lost; -ETIMEDOUT: nothing
 * happened for MINORCA_TIMEOUT; a message says whom it waited for. After either the caller does not have the
 * lock (or has not seen the event); after -ETIMEDOUT it may call again.
 */

/** Mutual exclusion. 64 bytes, 8-byte aligned, in a region; zero: free. */
typedef struct dsm_mutex {
	uint64_t opaque[8];
} dsm_mutex;

/**
 * Locks: waits until no thread of any node has the mutex. Nodes queue in order of arrival, each waiting on a
 * word of its own memory (Mellor-Crummey and Scott, "Algorithms for scalable synchronization on shared-memory
 * multiprocessors", 1991); threads of one node hand it over among themselves a bounded number of times before
 * it travels (Dice, Marathe and Shavit, "Lock cohorting", 2012). Not recursive.
 *
 * @return 0; -EDEADLK: this thread has it already; -ENOLCK: this node holds or waits for 16384 mutexes and
 * rwlocks already; or a common error.
 */
int dsm_lock(dsm_mutex *mutex);

/** The same, but does not wait. @return 0; -EBUSY: somebody has it; or as dsm_lock(). */
int dsm_trylock(dsm_mutex *mutex);

/** Unlocks. By the thread that locked it. @return 0; -EPERM: this thread does not have it, nothing was done;
 * or a common error (then the mutex is not usable any more: who waits for it gets -EHOSTDOWN). */
int dsm_unlock(dsm_mutex *mutex);

/** Many readers or one writer. 128 bytes, 8-byte aligned, in a region; zero: free. Fair: who has waited
 * longest goes first, be it a reader or a writer. */
typedef struct dsm_rwlock {
	uint64_t opaque[16];
} dsm_rwlock;

/** Locks for reading. A thread may hold it several times only if no writer can come in between.
 * @return as dsm_lock(). */
int dsm_read_lock(dsm_rwlock *lock);
/** Locks for writing. @return as dsm_lock(). */
int dsm_write_lock(dsm_rwlock *lock);
/** The same, not waiting. @return 0; -EBUSY; or as dsm_lock(). */
int dsm_try_read_lock(dsm_rwlock *lock);
int dsm_try_write_lock(dsm_rwlock *lock);
/** Unlocks what dsm_read_lock() locked; any thread of the node may. @return 0; -EPERM: no thread of this node
 * reads under it; or a common error. */
int dsm_read_unlock(dsm_rwlock *lock);
/** Unlocks what dsm_write_lock() locked. @return 0; -EPERM: this thread does not have it; or a common error.
 */
int dsm_write_unlock(dsm_rwlock *lock);

/** A number that only grows (Reed and Kanodia, "Synchronization with eventcounts and sequencers", 1979). 64
 * bytes, 8-byte aligned, in a region; zero: 0. */
typedef struct dsm_event {
	uint64_t opaque[8];
} dsm_event;

/** Adds @by. A release. @return 0 or a common error. */
int dsm_event_advance(dsm_event *event, uint64_t by);
/** The number now. An acquire. @return 0 or a common error. */
int dsm_event_read(const dsm_event *event, uint64_t *value);
/** Waits until the number is at least @value. An acquire. @return 0 or a common error; -EHOSTDOWN also if any
 * node is lost while it waits, for that may be the one to advance the event. */
int dsm_event_await(const dsm_event *event, uint64_t value);

/** A condition variable. 64 bytes, 8-byte aligned, in a region; zero: fresh. */
typedef struct dsm_cond {
	uint64_t opaque[8];
} dsm_cond;

/** Unlocks @mutex, which this thread has, waits for a signal that comes after that, and locks it again. May
 * return without one: check the condition in a loop. @return 0; -EPERM: this thread does not have the mutex;
 * or a common error; after -ETIMEDOUT and 0 this thread has the mutex, after others it does not. */
int dsm_cond_wait(dsm_cond *cond, dsm_mutex *mutex);
/** Wakes at least one waiter, if there is any (it may wake all). @return 0 or a common error. */
int dsm_cond_signal(dsm_cond *cond);
/** Wakes all waiters. @return 0 or a common error. */
int dsm_cond_broadcast(dsm_cond *cond);

/** What an atomic does to plain memory besides. */
enum dsm_order {
	DSM_RELAXED = 0, /* nothing */
	DSM_ACQUIRE,	 /* what the writer of the value that is read released is seen afterwards */
	DSM_RELEASE,	 /* stores so far are seen by who acquires from it */
	DSM_ACQ_REL,	 /* both */
};

/*
 * Atomics on 8-byte aligned words of regions. Whatever their order argument, atomics are sequentially
 * consistent among themselves: there is one order of all of them in which each thread's are as the program
 * has them. They are done on the home's copy, one-sided: a round trip (a store and a swap: at least two). A
 * word that atomics are done on is not accessed otherwise meanwhile.
 *
 * @old, @value  set on success to what the word was; may be NULL but for a load.
 * @return 0 or a common error.
 */
int dsm_atomic_load(const uint64_t *word, uint64_t *value, enum dsm_order order);
int dsm_atomic_store(uint64_t *word, uint64_t value, enum dsm_order order);
int dsm_atomic_fetch_add(uint64_t *word, uint64_t add, uint64_t *old, enum dsm_order order);
int dsm_atomic_swap(uint64_t *word, uint64_t value, uint64_t *old, enum dsm_order order);
/** Sets the word to @desired if it is @expected; it was, if *@old == @expected. */
int dsm_atomic_compare_swap(uint64_t *word, uint64_t expected, uint64_t desired, uint64_t *old,
			    enum dsm_order order);

/**
 * Publishes what the threads of this node stored. Together with dsm_acquire() for synchronisation of one's
 * own making (MPI messages, say): release, send; receive, acquire.
 *
 * @return 0; -EINVAL: not started; -EHOSTDOWN, -ETIMEDOUT, -EIO: what was stored has not all arrived, and of
 * a region whose publishing failed half way it never will: each later release gives that error too.
 */
int dsm_release(void);

/** Takes out of sight what other nodes have published; it is fetched anew when touched. @return as
 * dsm_release().
 */
int dsm_acquire(void);

/**
 * Publishes what this node stored, waits for all nodes, and acquires what they published: after it, every
 * node sees everything that any node stored before it. Collective; one thread of each node calls it. Other
 * threads of the node may go on using regions meanwhile: each of their stores is published by this barrier or
 * by the next.
 *
 * After -ETIMEDOUT it may be called again, and goes on waiting in the same barrier; what is stored between
 * the two calls may be seen by the others only after the next one.
 *
 * @return 0; -ETIMEDOUT: the nodes named on stderr did not arrive within MINORCA_TIMEOUT; -EBUSY: another
 *         thread of this node is in it; -EINVAL: not started; -EHOSTDOWN: a node is lost: no barrier can be
 *         passed any more.
 */
int dsm_barrier(void);

/** What dsm_reduce() combines. */
enum dsm_type {
	DSM_INT32 = 0,
	DSM_UINT32,
	DSM_INT64,
	DSM_UINT64,
	DSM_FLOAT,
	DSM_DOUBLE,
};

enum dsm_reduction {
	DSM_SUM = 0, /* integers wrap */
	DSM_PRODUCT,
	DSM_MIN, /* of floating-point numbers: as fmin() */
	DSM_MAX,
	DSM_AND, /* bitwise; integers only */
	DSM_OR,
	DSM_XOR,
};

/**
 * Combines @count numbers of every node, element by element in the order of the nodes, so that the result is
 * the same on all nodes, to the bit, and in every run. A barrier too (see dsm_barrier(), also for the
 * errors). Collective.
 *
 * @param in, out  @count numbers each, in private or shared memory; may be the same. @out is set on success.
 * @return 0; -EINVAL: an unknown type or reduction, or one that does not go with the type; -EPROTO: a node is
 * in another call, or began a long one anew after an error in the middle of it; or as dsm_barrier().
 */
int dsm_reduce(const void *in, void *out, size_t count, enum dsm_type type, enum dsm_reduction reduction);

/**
 * Copies @bytes of node @root's @buffer to the others' @buffer. A barrier too. Collective.
 *
 * @return 0; -EINVAL: no such node; or as dsm_barrier().
 */
int dsm_broadcast(void *buffer, size_t bytes, int root);

/* --- allocation ---------------------------------------------------------------------------------------- */

/* Where memory is to have its home; or the number of a node. */
#define DSM_HERE (-1)
#define DSM_INTERLEAVED (-2) /* page by page around the nodes */

/**
 * Allocates shared memory: any node, any thread, any time; no other node takes part. The address means the
 * same on every node. Comes out of a heap of MINORCA_HEAP_BYTES, made at start. Aligned to 16 bytes, from 64
 * bytes on to
 * 64. Contents: anything.
 *
 * @param where   DSM_HERE, DSM_INTERLEAVED or a node; a hint: when the heap's part there is full, elsewhere
 * @param memory  set on success; to be freed by dsm_free(), on any node
 * @return 0; -ENOMEM: the heap is full (a message says how to enlarge it); -EINVAL: not started, or no such
 * node; -EHOSTDOWN, -ETIMEDOUT.
 */
int dsm_malloc(size_t bytes, int where, void **memory);

/** The same for @count elements of @bytes each, zero; zero at the home already, so that dsm_mutex and the
 * like may be used at once. -ENOMEM also if the product overflows. */
int dsm_calloc(size_t count, size_t bytes, int where, void **memory);

/**
 * Frees. Whoever else used the memory must be ordered before. @memory NULL: nothing.
 *
 * @return 0; -EINVAL: not started, or not the start of allocated memory (freed already, or never allocated):
 * said on stderr, and nothing was done; -EHOSTDOWN, -ETIMEDOUT.
 */
int dsm_free(void *memory);

/* --- hints --------------------------------------------------------------------------------------------- */

/**
 * Brings [@address, @address + @bytes) up to date and maps it, so that a load (@for_write: or a store) does
 * not fault until the next barrier takes pages away that others changed. One call for many pages costs far
 * less than their faults: bytes are read and pages are mapped in ranges. Returns when all is there.
 *
 * @return 0; -EFAULT: not (wholly) in one region; -ENOSPC: the hugepage pool is empty (pages up to there are
 * mapped); -EHOSTDOWN.
 */
int dsm_prefetch(const void *address, size_t bytes, bool for_write);

/**
 * Un-maps the pages of the range on this node; publishes them first if this node changed them. The bytes
 * stay: the next touch faults, checks the version and copies only what is out of date. Pages that this node
 * is home of stay as they are. The range is rounded outward to whole pages.
 *
 * @return 0; -EFAULT: not in one region; -EHOSTDOWN.
 */
int dsm_invalidate(const void *address, size_t bytes);

/* --- migration ----------------------------------------------------------------------------------------- */

/*
 * Memory that moves from one node to another while it is used: a virtual machine's, or a process's own. It is
 * a region with options.movable: one node *holds* it, at first options.home_node, and uses it as plain
 * memory, from any thread and from the kernel (KVM), at no cost; nobody else touches it (that would end the
 * process, by SIGBUS and a message). Of the other calls only those that ask about a region know it: nothing
 * in it is published, locked or prefetched. Needs DSM_HOME_NODE; is not sparse.
 *
 *   the node that holds it (the source)             the node that is to hold it (the destination)
 *
 *   dsm_migrate_begin(r, to, &options)              dsm_migrate_accept(r, from, &options)
 *   dsm_migrate_precopy(r)      its user goes on
 *   ... pauses the user ...
 *   dsm_migrate_switch(r, state, bytes)             dsm_migrate_await(r, state, capacity, &bytes)
 *                                                   ... lets the user go on, with this state ...
 *   dsm_migrate_finish(r)                           dsm_migrate_finish(r)
 *
 * Pre-copy: rounds that write into the destination's alias what was stored to since the round before (found
 * by write-protection that the kernel lifts by itself, and PAGEMAP_SCAN; before Linux 6.7 by a fault for each
 * page). The switch hands over the state and nothing else: what it costs does not grow with the memory. The
 * map of what is out of date follows it: a bit for each block (4 KiB, or 1/64 of a larger page; a large page
 * of which no copy was kept counts as different in all of its blocks); of large pages first which they are,
 * then in which blocks. A page that is touched at the
 * destination is a minor fault: up to date by the map, it is mapped; out of date, the blocks that differ are
 * read from the source, one-sided, and it is mapped; if the map has not come so far, the whole page is read,
 * which is right in any case, since the source stores to nothing any more. A thread of the destination brings
 * over the rest, next what lies behind the latest fault, and steps back while a fault reads. When
 * nothing is out of date any more, the source is let go. (Hines and Gopalan, "Post-copy based live virtual
 * machine migration using adaptive pre-paging and dynamic self-ballooning", 2009; by minor faults: Rasmussen,
 * "userfaultfd: add minor fault handling", 2021.)
 *
 * The calls are made by one thread of each side. Faults at the destination are delivered as the region's
 * options.delivery says: DSM_DELIVERY_THREAD_* for memory that the kernel touches (KVM).
 *
 * Common errors: -EINVAL: not started, not movable, out of this order, or not this node's to call;
 * -EHOSTDOWN: the other node is lost; -ETIMEDOUT: the other node got nothing done for MINORCA_TIMEOUT;
 * -ECANCELED: dsm_migrate_cancel() was called on either side.
 */

/** How it goes. All but the first are there to be compared with it. The same on both sides. */
enum dsm_migration_mode {
	DSM_MIGRATION_MINOR = 0,     /* pre-copy, switch, map, faults on what is out of date */
	DSM_MIGRATION_PRE_COPY,	     /* pre-copy; what is left is copied while the user is paused */
	DSM_MIGRATION_POST_COPY,     /* switch at once: everything is out of date */
	DSM_MIGRATION_STOP_AND_COPY, /* everything is copied while the user is paused */
};

enum dsm_migration_step {
	DSM_MIGRATION_NONE = 0,
	DSM_MIGRATION_COPYING,	 /* pre-copy */
	DSM_MIGRATION_SWITCHING, /* in dsm_migrate_switch(), until the destination may go on */
	DSM_MIGRATION_MAPPING,	 /* the destination holds it, and the map is under way */
	DSM_MIGRATION_FETCHING,	 /* the map is complete, the pages are not */
	DSM_MIGRATION_DONE,	 /* the destination holds the region by itself */
	DSM_MIGRATION_CANCELLED, /* the source holds it as before */
	DSM_MIGRATION_LOST,	 /* pages were, or the other node, after the switch: dsm_migrate_lost() */
};

/** What a migration has come to, on this side. Times are CLOCK_MONOTONIC; 0: not yet. */
struct dsm_migration_progress {
	enum dsm_migration_step step;
	unsigned int rounds; /* of pre-copy, completed */
	uint64_t pages;	     /* of the region */
	uint64_t pages_left; /* source: to be copied or told of by the map; destination: known out of date */
	uint64_t bytes_precopied; /* source: written to the destination before the switch */
	uint64_t bytes_switched;  /* source: written while the user was paused, state included */
	uint64_t bytes_mapped;	  /* source: of the map */
	uint64_t bytes_fetched;	  /* destination: read from the source */
	uint64_t faults;	  /* destination: resolved ... */
	uint64_t faults_current;  /* ... by mapping a page alone */
	uint64_t faults_early;	  /* ... by reading, before the map had all that it says of the page */
	uint64_t begun_ns;	  /* dsm_migrate_begin(), dsm_migrate_accept() */
	uint64_t switched_ns;	  /* source: dsm_migrate_switch() was called; destination: it had the state */
	uint64_t resumed_ns;	  /* destination: its user may go on; source: it has heard so, while it
				     told what is out of date */
	uint64_t mapped_ns;	  /* the map was complete */
	uint64_t done_ns;
};

/** All zero is the default. */
struct dsm_migration_options {
	enum dsm_migration_mode mode;
	unsigned int rounds_max; /* of pre-copy; 0: 8 */
	uint64_t enough_bytes;	 /* pre-copy ends when no more than this is left; 0: 1/1024, or 4 pages */
	uint64_t bytes_per_s;	 /* of pre-copy and in the background, at most; 0: as fast as it goes */
	bool track_by_faults;	 /* find stores by faults though the kernel could by itself */
	bool no_background;	 /* destination: only what is touched is brought over, until
				    dsm_migrate_background() */
	/* Called some times a second and at each step, by the thread that makes the calls and by the one in
	 * the background. May call dsm_migrate_cancel(), and what asks. NULL: nobody is told. */
	void (*on_progress)(dsm_region *region, const struct dsm_migration_progress *progress,
			    void *argument);
	void *argument;
};

/** Source. Tells @to that the region comes, waits until it accepts, and begins to notice stores. @return 0;
 * -ENOSPC, -ENOMEM: the destination's memory; -EAGAIN: its thread; -EOPNOTSUPP: the kernel cannot notice
 * them; -EPROTO: the modes differ; or a common error. */
int dsm_migrate_begin(dsm_region *region, int to, const struct dsm_migration_options *options);

/** Source. Makes rounds until little enough is left, or no less than before, or the bound is met. @return 0:
 * pause the user, and switch; or a common error. After any error before the switch this node holds the region
 * as before, and its user need not know. */
int dsm_migrate_precopy(dsm_region *region);

/** As much state as fits. */
#define DSM_MIGRATION_STATE_BYTES ((size_t)65536)

/**
 * Source. The user is paused. @state goes to dsm_migrate_await().
 *
 * @return 0: the destination holds the region, and the user must not go on here (also if a message says that
 * the destination has not come to dsm_migrate_await() for MINORCA_TIMEOUT). After an error it may go on, but
 * after -ENOTRECOVERABLE: the destination was lost just then, and nobody can say whether it went on; then
 * dsm_migrate_finish() gives the memory back. -EMSGSIZE: more than DSM_MIGRATION_STATE_BYTES; or a common
 * error.
 */
int dsm_migrate_switch(dsm_region *region, const void *state, size_t bytes);

/** Destination. Waits until @from begins, for at most MINORCA_TIMEOUT, and makes room. @return 0; -ENOSPC,
 * -ENOMEM; -EAGAIN: no thread for the background; -EPROTO: the modes differ; or a common error. */
int dsm_migrate_accept(dsm_region *region, int from, const struct dsm_migration_options *options);

/** Destination. Waits for the switch, as long as the source gets on. @return 0: this node holds the region,
 * and the user may go on at once; -EMSGSIZE: the state has more than @capacity: call again with more;
 * -ETIMEDOUT: call again, or cancel and call again; -EPROTO; or a common error. */
int dsm_migrate_await(dsm_region *region, void *state, size_t capacity, size_t *bytes);

/**
 * Both. Waits until the destination needs the source no more. At the source, the memory is given back.
 *
 * @return 0; -EHOSTDOWN: the other node was lost before that, or could not be read (destination:
 * dsm_migrate_lost() tells what is missing; what is there is right); -ETIMEDOUT: the other node lives, and
 * got nothing done for MINORCA_TIMEOUT: call again; or a common error. Destination: another one (-ENOSPC,
 * -ENOMEM, -EIO): for MINORCA_TIMEOUT nothing could be brought in; when that is mended, call
 * dsm_migrate_background() and this again. After 0 the region can be moved again.
 */
int dsm_migrate_finish(dsm_region *region);

/**
 * Either, before the switch; any thread. At the source, the call under way, or the next one, ends with
 * -ECANCELED, and then so do the destination's. The destination asks for that, at once: if the switch comes
 * first, dsm_migrate_await() returns 0 all the same. Before the two have met, each cancels for itself alone:
 * a source in dsm_migrate_begin() takes its offer back, and a destination that comes later waits for the next
 * one; a destination in dsm_migrate_accept() waits no more, and the source waits on for one that comes, for
 * MINORCA_TIMEOUT. @return 0; -EINVAL: nothing is under way; -EALREADY: the switch has begun.
 */
int dsm_migrate_cancel(dsm_region *region);

/** Destination, with no_background, or after dsm_migrate_finish() could not: brings over the rest from now
 * on.
 * @return 0; -EINVAL; -EAGAIN: no thread. */
int dsm_migrate_background(dsm_region *region);

/** The node that holds the region, as far as this one knows. @return a node; -EINVAL: not movable. */
int dsm_migrate_holder(const dsm_region *region);

/** How far this side has come. Any thread. @return 0; -EINVAL: not movable. */
int dsm_migrate_progress(const dsm_region *region, struct dsm_migration_progress *out);

/** Pages @first to @first + @count - 1 of a region. */
struct dsm_page_range {
	size_t first, count;
};

/** Destination, after the source was lost or could not be read: the pages that cannot be had, ascending. A
 * touch of one raises SIGBUS. @param count  how many ranges there are; the first @capacity of them are in
 * @out. @return 0; -EINVAL: not movable. */
int dsm_migrate_lost(const dsm_region *region, struct dsm_page_range *out, size_t capacity, size_t *count);

/* --- statistics ---------------------------------------------------------------------------------------- */

/** What this node did since dsm_init() or dsm_stats_reset(). All threads and regions together. */
struct dsm_stats {
	uint64_t faults;		    /* faults that reached the runtime, of every kind below */
	uint64_t faults_read;		    /* loads from a page that was not mapped */
	uint64_t faults_write;		    /* stores to a page that was not mapped */
	uint64_t faults_upgrade;	    /* stores to a page that was mapped read-only */
	uint64_t faults_resolved_elsewhere; /* another thread had resolved it meanwhile */
	uint64_t pages_current; /* pages mapped without reading one byte of data: they were up to date */
	uint64_t pages_partial; /* pages of which some blocks were read */
	uint64_t pages_full;	/* pages of which all blocks were read */
	uint64_t pages_zero;	/* pages that nobody has published yet: zero everywhere, nothing read */
	uint64_t blocks_fetched;
	uint64_t bytes_fetched;	    /* data only, not versions */
	uint64_t pages_prefetched;  /* pages that dsm_prefetch() mapped */
	uint64_t pages_read_ahead;  /* pages that a fault on another page mapped, since a thread was walking
				       there */
	uint64_t twins;		    /* copies made at a first store */
	uint64_t pages_published;   /* pages whose changes were published */
	uint64_t blocks_published;  /* versions advanced */
	uint64_t bytes_published;   /* bytes written to a master on another node */
	uint64_t pages_invalidated; /* pages un-mapped because they were out of date, or asked for */
	uint64_t acquires;	    /* by whatever call; those that found nothing to do included */
	uint64_t log_overflows;	    /* acquires that had to compare versions, for a log was overrun */
	uint64_t barriers;
	uint64_t barrier_wait_ns;  /* time spent waiting for other nodes in them */
	uint64_t again;		   /* times that the kernel answered EAGAIN and was asked again */
	uint64_t rdma_requests;	   /* reads, writes and atomics given to the RDMA device */
	uint64_t rdma_doorbells;   /* calls by which they were given: a chain to one node is one */
	uint64_t rdma_completions; /* completions that it gave back */
	uint64_t rdma_queue_pairs; /* queue pairs that this node's lanes had made */
};

/** Sums the counters. Counters of other threads may be a few steps behind. @return 0; -EINVAL: not started.
 */
int dsm_stats(struct dsm_stats *out);

/** Sets all counters to zero; counts made by other threads meanwhile may be lost. @return 0; -EINVAL. */
int dsm_stats_reset(void);

/* --- where the time of faults goes ---------------------------------------------------------------------- */

/*
 * Each fault goes through these moments, in this order; some leave one out. What lies between two is a stage.
 * (By MINORCA_TRACE, without a call, the beginning, the end and the page of each fault are written to a
 * file.)
 */
enum dsm_moment {
	DSM_MOMENT_ENTERED,  /* it has reached the runtime: its signal handler, or its handler thread */
	DSM_MOMENT_LOCKED,   /* the page is known, and locked */
	DSM_MOMENT_PREPARED, /* there is memory for it */
	DSM_MOMENT_ASKED,    /* its versions are read */
	DSM_MOMENT_READ,     /* its data are read (with the versions, if both were asked for at once) */
	DSM_MOMENT_READY,    /* it may be mapped: what is held is noted, and for a store there is a twin */
	DSM_MOMENT_MAPPED,   /* the kernel has mapped it, or lets stores through */
	DSM_MOMENT_LEFT,     /* the runtime is done with it */
	DSM_MOMENTS
};

enum dsm_fault_kind { DSM_FAULT_READ, DSM_FAULT_WRITE, DSM_FAULT_UPGRADE };

/** A fault that was traced. */
struct dsm_fault_trace {
	uint64_t at[DSM_MOMENTS]; /* dsm_trace_ticks(); 0: it left that moment out */
	void *page;		  /* where the page begins */
	uint64_t page_index;	  /* in its region */
	uint32_t pages;		  /* brought in, itself included: more if it read ahead */
	enum dsm_fault_kind kind;
	char region[16]; /* the name, as far as it fits */
};

/** What the moments are measured with. */
struct dsm_trace_clock {
	double ticks_per_s;    /* measured against CLOCK_MONOTONIC */
	uint64_t cost_ticks;   /* what it takes to note a moment: part of each stage */
	uint64_t idle_cost_ps; /* what a moment costs while faults are not traced, in picoseconds */
	bool invariant;	       /* the CPU says that the counter runs at one rate, on all cores */
};

/** The time-stamp counter, after all instructions before it. */
static inline uint64_t dsm_trace_ticks(void)
{
#ifdef __x86_64__
	uint32_t low, high, cpu;

	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(cpu) : : "memory");
	return (uint64_t)high << 32 | low;
#else
#error "faults are resolved on x86-64 only"
#endif
}

/** Measures the counter, for 20 ms. */
void dsm_trace_clock(struct dsm_trace_clock *clock);

/**
 * Traces faults from now on, of all regions and threads of this node, and forgets those that were traced
 * before. One thread at a time, as the next two.
 *
 * @param faults  how many to keep for each lane (MINORCA_LANES; a thread uses one); further ones are counted
 * @return 0; -EINVAL: not started, or @faults is 0; -EBUSY: tracing already (MINORCA_TRACE does: stop it
 * first); -ENOMEM.
 */
int dsm_trace_start(size_t faults);

/** Ends it. @return 0; -EINVAL: nothing is being traced. */
int dsm_trace_stop(void);

/**
 * Copies what was traced, up to @capacity faults, those of a thread in their order.
 *
 * @param count     set to how many
 * @param left_out  set to how many more there were; may be NULL
 * @return 0; -EINVAL: nothing was traced, or it goes on.
 */
int dsm_trace_read(struct dsm_fault_trace *faults, size_t capacity, size_t *count, uint64_t *left_out);

#ifdef __cplusplus
}
#endif

#endif
