/*
 * What the kernel refuses or takes away at a bad moment, and what is left of a region that is gone: nothing
 * that was stored gets lost by it. The kernel's part is played by inject_kernel.c.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <mpi.h>
#include <sys/mman.h>

#include "dsm/tests/inject.h"
#include "kernel/memory.h"

#define PAGES 512  /* four chunks: see home_writes.c */
#define SAMPLED 63 /* one of the two pages of the first that are looked at while all are presumed changed */
#define WORDS (4096 / sizeof(uint64_t))

static int node;
static volatile uint64_t *base;
static dsm_region *region;

/* --- the cases
 * ---------------------------------------------------------------------------------------------- */

/* Not dsm_barrier(): that publishes and acquires, and here it matters who does when. */
static void meet(void)
{
	MPI_Barrier(MPI_COMM_WORLD);
}

static void begin(size_t page_bytes, size_t bytes, int home, bool sparse)
{
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .home_node = home, .sparse = sparse};

	CHECK_EQUAL(dsm_region_create("mishaps", bytes, &options, &region), 0);
	base = dsm_region_base(region);
	meet();
}

static void end(void)
{
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

static void store_everywhere(uint64_t value)
{
	for (size_t p = 0; p < PAGES; p++)
		base[p * WORDS] = value;
}

/* @writer releases, then the others acquire and find @value on page 5. */
static void all_find(int writer, uint64_t value)
{
	if (node == writer)
		CHECK_EQUAL(dsm_release(), 0);
	meet();
	if (node != writer)
		CHECK_EQUAL(dsm_acquire(), 0);
	CHECK_EQUAL(base[5 * WORDS], value);
	meet();
}

static void a_region_with_the_number_of_one_that_is_gone(void)
{
	begin(4096, PAGES * 4096, 0, false);
	if (node == 0) {
		store_everywhere(1);
		CHECK_EQUAL(dsm_release(), 0);
	}
	end(); /* node 1 has not acquired: the entries are in the log still */
	begin(4096, PAGES * 4096, 1, false);
	if (node == 1)
		store_everywhere(10);
	all_find(1, 10);
	if (node == 1) {
		base[5 * WORDS] = 11;
		CHECK_EQUAL(dsm_acquire(), 0);
		CHECK_EQUAL(base[5 * WORDS], 11);
	}
	all_find(1, 11);
	end();
}

static void a_page_at_home_is_reclaimed(void)
{
	begin(4096, PAGES * 4096, 1, false);
	if (node == 1)
		store_everywhere(10); /* in bulk: stores are found by scanning from now on */
	all_find(1, 10);
	if (node == 1) {
		base[5 * WORDS] = 11;
		madvise((void *)(base + 5 * WORDS), 4096, MADV_DONTNEED);
		CHECK_EQUAL(base[5 * WORDS], 11);
	}
	all_find(1, 11);
	end();
}

static void a_chunk_cannot_go_over(enum inject_call call, int error)
{
	begin(4096, PAGES * 4096, 0, false);
	if (node == 0) {
		store_everywhere(10);
		inject_failure(call, 1, error);
	}
	all_find(0, 10);
	for (uint64_t value = 11; value < 14; value++) {
		if (node == 0)
			base[5 * WORDS] = value;
		all_find(0, value);
	}
	inject_failure(call, 0, 0);
	end();
}

/*
 * A scan takes its marks off what it found: what then cannot be published must not be forgotten. In bulk
 * once, pages are scanned from then on; three times more, and they are presumed changed until three intervals
 * have passed in which they were not stored to: @intervals have before the one that fails.
 */
static void what_was_scanned_cannot_be_published(enum inject_call call, int bulks, int intervals)
{
	uint64_t value = 10;

	begin(4096, PAGES * 4096, 0, false);
	for (int i = 0; i < bulks + intervals; i++) {
		value++;
		if (node == 0 && i < bulks)
			store_everywhere(value);
		else if (node == 0)
			base[5 * WORDS] = value;
		all_find(0, value);
	}
	CHECK_EQUAL(base[SAMPLED * WORDS], value - (uint64_t)intervals); /* all have it */
	meet();
	value++;
	if (node == 0) {
		base[5 * WORDS] = base[SAMPLED * WORDS] = value;
		inject_failure(call, 1, -EIO);
		CHECK_EQUAL(dsm_release(), -EIO);
		CHECK(inject_has_failed());
	}
	all_find(0, value);
	CHECK_EQUAL(base[SAMPLED * WORDS], value);
	end();
}

static void nothing_that_was_scanned_is_forgotten(int bulks, int intervals, const char *what)
{
	nodes_case("%s cannot be published", what);
	what_was_scanned_cannot_be_published(INJECT_FETCH_ADD, bulks, intervals);
	nodes_case("%s has been published, and it is not known", what);
	what_was_scanned_cannot_be_published(INJECT_COMPLETE, bulks, intervals);
	nodes_case("a scan fails: %s", what);
	what_was_scanned_cannot_be_published(INJECT_SCAN, bulks, intervals);
}

/* The interval of a page of many blocks has begun, and mapping it fails: the next store begins the same one.
 */
static void a_page_at_home_cannot_be_mapped(void)
{
	if (!nodes_have_pages(2 * MIB, 1, (unsigned)dsm_nodes()))
		return;
	begin(2 * MIB, 2 * MIB, 0, true);
	if (node == 0) {
		inject_failure(INJECT_CONTINUE, 1, -ENOMEM);
		CHECK_EQUAL(dsm_prefetch((const void *)base, 8, true), -ENOMEM);
		base[0] = 10;
		base[1] = 20;
		CHECK_EQUAL(dsm_release(), 0);
		base[0] = 66;
	}
	meet();
	if (node == 1) {
		CHECK_EQUAL(dsm_acquire(), 0);
		CHECK_EQUAL(base[1], 20); /* and has seen a 66 that nobody published */
	}
	meet();
	if (node == 0) {
		base[0] = 10;
		CHECK_EQUAL(dsm_release(), 0);
	}
	meet();
	if (node == 1) {
		CHECK_EQUAL(dsm_acquire(), 0);
		CHECK_EQUAL(base[0], 10);
	}
	meet();
	end();
}

/* A page cannot be allocated at its home when several are published: the next release publishes all. */
static void a_pool_is_empty_when_pages_are_published(void)
{
	int last = dsm_nodes() - 1; /* looks on */
	size_t words = 2 * MIB / sizeof(uint64_t);

	if (nodes_skip_if_pinned() || !nodes_have_pages(2 * MIB, 2, (unsigned)dsm_nodes()))
		return;
	begin(2 * MIB, 4 * MIB, 0, true);
	CHECK_EQUAL(base[0] + base[words], 0);
	meet();
	if (node == 1) {
		base[0] = base[words] = 1;
		inject_failure(INJECT_MADV_POPULATE, 1, -EFAULT);
		CHECK_EQUAL(dsm_release(), -ENOSPC);
		CHECK_EQUAL(dsm_release(), 0);
	}
	meet();
	if (node == last) {
		CHECK_EQUAL(dsm_acquire(), 0);
		CHECK_EQUAL(base[0], 1);
		CHECK_EQUAL(base[words], 1);
	}
	meet();
	end();
}

/* An atomic is the first that touches a page of a sparse region, and the pool is empty at its home. */
static void a_pool_is_empty_when_a_word_is_used(void)
{
	uint64_t old = 99;

	if (nodes_skip_if_pinned() || !nodes_have_pages(2 * MIB, 1, (unsigned)dsm_nodes()))
		return;
	begin(2 * MIB, 2 * MIB, 0, true);
	if (node == 1) {
		inject_failure(INJECT_MADV_POPULATE, 1, -EFAULT);
		CHECK_EQUAL(dsm_atomic_fetch_add((uint64_t *)(uintptr_t)base, 5, &old, DSM_RELAXED), -ENOSPC);
		CHECK_EQUAL(old, 99);
		CHECK_EQUAL(dsm_atomic_fetch_add((uint64_t *)(uintptr_t)base, 5, &old, DSM_RELAXED), 0);
		CHECK_EQUAL(old, 0);
	}
	meet();
	CHECK_EQUAL(dsm_atomic_load((uint64_t *)(uintptr_t)base, &old, DSM_RELAXED), 0);
	CHECK_EQUAL(old, 5);
	meet();
	end();
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes_case("log entries of a region that is gone");
	a_region_with_the_number_of_one_that_is_gone();
	nodes_case("a page at home is reclaimed");
	a_page_at_home_is_reclaimed();
	nodes_case("a chunk cannot go over to scanning");
	a_chunk_cannot_go_over(INJECT_REGISTER, -ENOMEM);
	nodes_case("a chunk cannot be taken from faults");
	a_chunk_cannot_go_over(INJECT_UNREGISTER, -ENOMEM);
	nothing_that_was_scanned_is_forgotten(2, 0, "what was scanned");
	nothing_that_was_scanned_is_forgotten(5, 0, "what is presumed changed");
	nothing_that_was_scanned_is_forgotten(5, 2, "what is presumed changed for the last time");
	nodes_case("a page at home cannot be mapped");
	a_page_at_home_cannot_be_mapped();
	nodes_case("a pool is empty when pages are published");
	a_pool_is_empty_when_pages_are_published();
	nodes_case("a pool is empty when a word is used");
	a_pool_is_empty_when_a_word_is_used();
	return nodes_end();
}
