/*
 * What a fault costs in data: stale, partial and current pages, with the statistics asserted; and what is
 * paid in memory.
 *
 * Node 0 is home of everything here and node 1 is the one that is watched; the others keep step.
 */
#include "dsm/tests/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/runtime.h"
#include "kernel/memory.h"

static int node, nodes;

struct subject {
	dsm_region *region;
	volatile unsigned char *base;
	size_t page_bytes, pages, blocks, block_bytes;
};

static struct subject subject(size_t page_bytes, size_t pages)
{
	/* Each page's own fault is counted here; walks.c is about several. */
	struct dsm_region_options options = {.page_size_bytes = page_bytes,
					     .home = DSM_HOME_NODE,
					     .home_node = 0,
					     .readahead = DSM_READAHEAD_OFF};
	struct subject s = {.page_bytes = page_bytes, .pages = pages};

	s.block_bytes = page_bytes / 64 < 4096 ? 4096 : page_bytes / 64;
	s.blocks = page_bytes / s.block_bytes;
	if (CHECK_EQUAL(dsm_region_create("paging", pages * page_bytes, &options, &s.region), 0))
		s.base = dsm_region_base(s.region);
	return s;
}

static void barrier(void)
{
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Node 0 stores one byte in each of the first @blocks blocks of each page. */
static void home_changes(const struct subject *s, size_t blocks, unsigned char value)
{
	if (node == 0)
		for (size_t p = 0; p < s->pages; p++)
			for (size_t b = 0; b < blocks; b++)
				s->base[p * s->page_bytes + b * s->block_bytes + 17] = value;
	barrier();
}

/* Node 1 loads one byte of each page, and returns what that cost. The others: zeros. */
static struct dsm_stats node_1_reads(const struct subject *s, unsigned char expected)
{
	struct dsm_stats before = nodes_stats(), none = {0};

	if (node == 1)
		for (size_t p = 0; p < s->pages; p++)
			CHECK_EQUAL(s->base[p * s->page_bytes + 17], expected);
	struct dsm_stats cost = nodes_stats_since(&before);
	barrier();
	return node == 1 ? cost : none;
}

/* True on node 1, whose statistics are checked. */
static bool watched(void)
{
	return node == 1;
}

static void never_published(const struct subject *s)
{
	struct dsm_stats cost = node_1_reads(s, 0);

	if (watched()) {
		CHECK_EQUAL(cost.faults_read, s->pages);
		CHECK_EQUAL(cost.pages_zero, s->pages);
		/* From a home that is far away, a page of one block is read along with its version. */
		if (runtime.ops->is_near(runtime.transport, 0) || s->page_bytes > 4096)
			CHECK_EQUAL(cost.bytes_fetched, 0);
	}
}

static void new_pages_are_read_whole(const struct subject *s)
{
	home_changes(s, s->blocks, 5);
	struct dsm_stats cost = node_1_reads(s, 5);
	if (watched()) {
		CHECK_EQUAL(cost.faults, s->pages);
		CHECK_EQUAL(cost.pages_full, s->pages);
		CHECK_EQUAL(cost.bytes_fetched, s->pages * s->page_bytes);
	}
}

static void current_pages_move_nothing(const struct subject *s)
{
	home_changes(s, s->blocks, 6);
	node_1_reads(s, 6);
	CHECK_EQUAL(dsm_invalidate((const void *)s->base, s->pages * s->page_bytes), 0);
	struct dsm_stats cost = node_1_reads(s, 6);
	if (watched()) {
		CHECK_EQUAL(cost.faults_read, s->pages);
		CHECK_EQUAL(cost.pages_current, s->pages);
		CHECK_EQUAL(cost.bytes_fetched, 0);
	}
}

static void stale_blocks_are_read_alone(const struct subject *s)
{
	home_changes(s, s->blocks, 7);
	node_1_reads(s, 7);
	for (size_t k = 1; k < s->blocks; k = k * 2 + 1) {
		home_changes(s, k, (unsigned char)(10 + k));
		struct dsm_stats cost = node_1_reads(s, (unsigned char)(10 + k));
		if (!watched())
			continue;
		CHECK_EQUAL(cost.pages_partial, s->pages);
		CHECK_EQUAL(cost.blocks_fetched, k * s->pages);
		CHECK_EQUAL(cost.bytes_fetched, k * s->pages * s->block_bytes);
	}
}

static void unchanged_pages_stay_mapped(const struct subject *s)
{
	home_changes(s, s->blocks, 8);
	node_1_reads(s, 8);
	struct dsm_stats before = nodes_stats();
	barrier();
	barrier();
	CHECK_EQUAL(nodes_stats_since(&before).pages_invalidated, 0);
	CHECK_EQUAL(node_1_reads(s, 8).faults, 0);
}

static void home_never_faults_to_read(const struct subject *s)
{
	struct dsm_stats before = nodes_stats();
	unsigned sum = 0;

	if (node == 0)
		for (size_t p = 0; p < s->pages; p++)
			sum += s->base[p * s->page_bytes + 100];
	CHECK_EQUAL(sum, 0);
	CHECK_EQUAL(nodes_stats_since(&before).faults, 0);
	barrier();
}

/* One byte stored away from home: one twin, one byte published, one version advanced; and the writer's copy
 * stays current. */
static void one_byte_is_published(const struct subject *s)
{
	struct dsm_stats before = nodes_stats();

	if (node == 1)
		s->base[s->page_bytes - 3] = 77;
	barrier();
	struct dsm_stats cost = nodes_stats_since(&before);
	if (watched()) {
		CHECK_EQUAL(cost.faults_write, 1);
		CHECK_EQUAL(cost.twins, 1);
		CHECK_EQUAL(cost.pages_published, 1);
		CHECK_EQUAL(cost.blocks_published, 1);
		CHECK_EQUAL(cost.bytes_published, 1);
		CHECK_EQUAL(cost.pages_invalidated, 0);
	}
	CHECK_EQUAL(s->base[s->page_bytes - 3], 77);
	barrier();
}

static void upgrade_after_read(const struct subject *s)
{
	home_changes(s, 1, 9);
	node_1_reads(s, 9);
	struct dsm_stats before = nodes_stats();
	if (node == 1) {
		s->base[200] = 1;
		s->base[201] = 2; /* the second store of the interval costs nothing */
	}
	struct dsm_stats cost = nodes_stats_since(&before);
	if (watched()) {
		CHECK_EQUAL(cost.faults, 1);
		CHECK_EQUAL(cost.faults_upgrade, 1);
	}
	barrier();
	CHECK_EQUAL(s->base[201], 2);
	barrier();
}

static void prefetch_leaves_no_fault(const struct subject *s)
{
	home_changes(s, s->blocks, 11);
	for (int write = 0; write < 2; write++) {
		CHECK_EQUAL(dsm_invalidate((const void *)s->base, s->pages * s->page_bytes), 0);
		barrier();
		if (node == 1) {
			struct dsm_stats before = nodes_stats();
			CHECK_EQUAL(dsm_prefetch((const void *)s->base, s->pages * s->page_bytes, write), 0);
			for (size_t p = 0; p < s->pages; p++) {
				CHECK_EQUAL(s->base[p * s->page_bytes + 17], 11);
				if (write)
					s->base[p * s->page_bytes + 18] = 12;
			}
			struct dsm_stats cost = nodes_stats_since(&before);
			CHECK_EQUAL(cost.faults, 0);
			CHECK_EQUAL(cost.pages_prefetched, s->pages);
			CHECK_EQUAL(cost.bytes_fetched, write ? 0 : s->pages * s->page_bytes);
		}
		barrier();
	}
	for (size_t p = 0; p < s->pages; p++)
		CHECK_EQUAL(s->base[p * s->page_bytes + 18], 12);
	barrier();
}

/* What was stored and not yet published survives being un-mapped. */
static void invalidate_publishes_first(const struct subject *s)
{
	if (node == 1) {
		s->base[300] = 31;
		CHECK_EQUAL(dsm_invalidate((const void *)(s->base + 300), 1), 0);
		CHECK_EQUAL(s->base[300], 31);
	}
	barrier();
	CHECK_EQUAL(s->base[300], 31);
	barrier();
}

/* A page that this node changed and another published meanwhile: both changes are there after the barrier. */
static void stale_and_dirty(const struct subject *s)
{
	for (int round = 0; round < 4; round++) {
		unsigned char v = (unsigned char)(40 + round);
		if (node < 2)
			s->base[400 + (size_t)node] = v;
		barrier();
		CHECK_EQUAL(s->base[400], v);
		CHECK_EQUAL(s->base[401], v);
		barrier();
	}
}

static void bad_ranges_are_refused(const struct subject *s)
{
	int local = 0;
	size_t bytes = s->pages * s->page_bytes;

	CHECK_EQUAL(-dsm_prefetch(&local, 4, false), 14 /* EFAULT */);
	CHECK_EQUAL(-dsm_prefetch((const void *)s->base, bytes + 1, false), 14);
	CHECK_EQUAL(-dsm_invalidate((const void *)(s->base + bytes), 1), 14);
	CHECK_EQUAL(dsm_prefetch((const void *)s->base, 0, false), 0);
	CHECK_EQUAL(dsm_home((const void *)s->base), 0);
	CHECK_EQUAL(-dsm_home(&local), 14);
}

static void run(size_t page_bytes)
{
	/* Of 4 KiB, too few for the home to publish them together (home_writes.h). */
	size_t pages = page_bytes == 4096 ? 100 : page_bytes == 2 * MIB ? 6 : 1;
	static const struct {
		const char *name;
		void (*run)(const struct subject *);
	} cases[] = {
	    {"a page that nobody published is zero, for no data", never_published},
	    {"a new page is read whole", new_pages_are_read_whole},
	    {"a current page moves no data", current_pages_move_nothing},
	    {"only stale blocks are read", stale_blocks_are_read_alone},
	    {"unchanged pages stay mapped over a barrier", unchanged_pages_stay_mapped},
	    {"a load at home does not fault", home_never_faults_to_read},
	    {"one byte is published as one byte", one_byte_is_published},
	    {"a store after a load is one upgrade", upgrade_after_read},
	    {"a prefetched page does not fault", prefetch_leaves_no_fault},
	    {"un-mapping publishes first", invalidate_publishes_first},
	    {"stale and dirty at once", stale_and_dirty},
	    {"bad ranges are refused", bad_ranges_are_refused},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		nodes_case("%s: %s", cases[i].name, nodes_page_name(page_bytes));
		if (!nodes_have_pages(page_bytes, pages, (unsigned)nodes))
			continue;
		struct subject s = subject(page_bytes, pages);
		if (!s.base)
			continue;
		cases[i].run(&s);
		CHECK_EQUAL(dsm_region_destroy(s.region), 0);
	}
}

static uint64_t free_pages(void)
{
	struct hugepage_pool pool;

	return hugepage_pool_read(2 * MIB, &pool) ? 0 : pool.free;
}

/* Resident shmem of this process, in KiB. */
static uint64_t resident_shmem_kib(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[128];
	unsigned long long kib = 0;

	while (status && fgets(line, sizeof line, status))
		sscanf(line, "RssShmem: %llu", &kib);
	if (status)
		fclose(status);
	return kib;
}

static void a_node_pays_for_what_it_has(void)
{
	nodes_case("sparse: a node pays for the hugepages that it is home of or fetched");
	if (!nodes_skip_if_pinned() && nodes_have_pages(2 * MIB, 24, 1)) {
		uint64_t before = free_pages();
		barrier();
		struct subject s = subject(2 * MIB, 16);
		if (s.base) {
			CHECK_EQUAL(before - free_pages(), 16);
			barrier();
			if (node == 1)
				(void)(s.base[0] + s.base[3 * s.page_bytes] + s.base[15 * s.page_bytes]);
			barrier();
			CHECK_EQUAL(before - free_pages(), 16 + 3);
			barrier();
			CHECK_EQUAL(dsm_region_destroy(s.region), 0);
			barrier();
			CHECK_EQUAL(free_pages(), before);
			barrier();
		}
	}

	nodes_case("sparse: a region of 1 GiB at another home costs nearly nothing here");
	if (nodes_skip_if_pinned())
		return;
	struct dsm_region_options one_home = {.page_size_bytes = 4096, .home = DSM_HOME_NODE};
	dsm_region *r;
	uint64_t before = resident_shmem_kib();
	if (CHECK_EQUAL(dsm_region_create("sparse", GIB, &one_home, &r), 0)) {
		if (node == 1) {
			volatile unsigned char *base = dsm_region_base(r);
			for (size_t p = 0; p < 64; p++)
				(void)base[p * 16 * MIB];
			CHECK(resident_shmem_kib() - before < 2048);
		}
		barrier();
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	}
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	for (size_t s = 0; s < nodes_page_size_count; s++)
		run(nodes_page_sizes[s]);
	a_node_pays_for_what_it_has();
	return nodes_end();
}
