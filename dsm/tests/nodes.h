/*
 * A small harness for tests that run on several nodes.
 *
 * Every node runs every case. A check that fails is printed by the node that saw it and counted; after each
 * case the nodes add up their failures, and node 0 prints one TAP line. A case never leaves early on one node
 * only: the others would wait in a barrier for it.
 */
#ifndef MINORCA_DSM_TESTS_NODES_H
#define MINORCA_DSM_TESTS_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

/**
 * Starts the runtime; exits with a message if it does not. Call first. Takes --effort=PERCENT from the
 * command line.
 */
void nodes_begin(int *argc, char ***argv);

/** Prints the plan, ends the runtime, and returns main()'s exit status. */
int nodes_end(void);

/**
 * How often to repeat what a race needs to show: @rounds, or the share of them that --effort asks for (where
 * a round trip is slow, as between emulated machines), and never less than @least.
 */
int nodes_rounds(int rounds, int least);

/** Begins a case with this name; ends the one before. */
__attribute__((format(printf, 1, 2))) void nodes_case(const char *format, ...);

/** The case cannot run here, and why. Every node must say so. */
void nodes_skip(const char *reason);

/** Counts a failure and says where, if @condition is false. Goes on. */
#define CHECK(condition) nodes_check((condition), #condition, __FILE__, __LINE__, NULL)
/** The same for equal numbers, and prints both. */
#define CHECK_EQUAL(actual, expected) \
	nodes_check_equal((uint64_t)(actual), (uint64_t)(expected), #actual, #expected, __FILE__, __LINE__)

bool nodes_check(bool ok, const char *text, const char *file, int line, const char *detail);
bool nodes_check_equal(uint64_t actual, uint64_t expected, const char *actual_text, const char *expected_text,
		       const char *file, int line);

/* The memory that regions are tried on. */
extern const size_t nodes_page_sizes[];
extern const size_t nodes_page_size_count;

/** True if the machine can hold a region of @pages pages @copies times; otherwise skips the case. The same
 * answer on all nodes. */
bool nodes_have_pages(size_t page_bytes, size_t pages, unsigned copies);

/**
 * True if memory that nobody has touched may cost memory all the same: a transport whose device cannot fault
 * pages in registers all of a region, and so pins it, on every node. Only shm promises that it does not.
 */
bool nodes_memory_is_pinned(void);

/** The same as a reason to skip the case. */
bool nodes_skip_if_pinned(void);

/** From now on this process gets no threads: pthread_create() answers EAGAIN. Or it does again. */
void nodes_give_no_threads(bool none);

/** "4 KiB" ... */
const char *nodes_page_name(size_t page_bytes);
const char *nodes_delivery_name(enum dsm_delivery delivery);
const char *nodes_home_name(enum dsm_home_policy home);

/** What the counters of this node have moved by since @before. */
struct dsm_stats nodes_stats_since(const struct dsm_stats *before);
struct dsm_stats nodes_stats(void);

#endif
