/*
 * What one node stores, the others load after a barrier: for every page size, delivery and home policy.
 */
#include "dsm/tests/nodes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int node, nodes;

/* A region for a case; NULL (and the case counted as failed) if it cannot be made. */
static dsm_region *make(size_t page_bytes, size_t pages, enum dsm_home_policy home,
			enum dsm_delivery delivery)
{
	struct dsm_region_options options = {.page_size_bytes = page_bytes,
					     .home = home,
					     .chunk_bytes = page_bytes,
					     .home_node = nodes - 1,
					     .delivery = delivery};
	dsm_region *r = NULL;

	CHECK_EQUAL(dsm_region_create("sharing", pages * page_bytes, &options, &r), 0);
	return r;
}

static uint64_t value_of(size_t page, int round)
{
	return (uint64_t)page * 1000003 + (uint64_t)round + 1;
}

/* One writer per round, in turn; everybody reads all pages after the barrier. */
static void one_writes_all_read(dsm_region *r, size_t page_bytes, size_t pages)
{
	unsigned char *base = dsm_region_base(r);

	for (int round = 0; round < nodes + 1; round++) {
		if (round % nodes == node)
			for (size_t p = 0; p < pages; p++)
				*(uint64_t *)(void *)(base + p * page_bytes + 8 * ((size_t)round % 16)) =
				    value_of(p, round);
		CHECK_EQUAL(dsm_barrier(), 0);
		for (size_t p = 0; p < pages; p++)
			CHECK_EQUAL(*(uint64_t *)(void *)(base + p * page_bytes + 8 * ((size_t)round % 16)),
				    value_of(p, round));
		CHECK_EQUAL(dsm_barrier(), 0);
	}
}

/* Every node stores other bytes of the same pages between two barriers; neighbours in one word, far ends of
 * the page. */
static void many_write_one_page(dsm_region *r, size_t page_bytes, size_t pages)
{
	unsigned char *base = dsm_region_base(r);
	size_t stride = page_bytes / 64;

	for (int round = 1; round <= 3; round++) {
		for (size_t p = 0; p < pages; p++)
			for (size_t at = 0; at + (size_t)nodes <= page_bytes; at += stride)
				base[p * page_bytes + at + (size_t)node] =
				    (unsigned char)(16 * round + node + 1);
		CHECK_EQUAL(dsm_barrier(), 0);
		for (size_t p = 0; p < pages; p++)
			for (size_t at = 0; at + (size_t)nodes <= page_bytes; at += stride)
				for (int n = 0; n < nodes; n++)
					CHECK_EQUAL(base[p * page_bytes + at + (size_t)n],
						    16 * round + n + 1);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
}

/* A list through the region: each node links its own elements, all follow all. */
struct element {
	struct element *next;
	uint64_t value;
};

static void pointers_mean_the_same(dsm_region *r, size_t page_bytes, size_t pages)
{
	unsigned char *base = dsm_region_base(r);
	size_t step = page_bytes / 16, count = pages * 16;

	/* Element i is written by node i mod N and points to element i + 1, which another node writes. */
	for (size_t i = (size_t)node; i < count; i += (size_t)nodes) {
		struct element *e = (struct element *)(void *)(base + i * step + 64);
		e->value = i * 7 + 1;
		e->next = i + 1 < count ? (struct element *)(void *)(base + (i + 1) * step + 64) : NULL;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	size_t seen = 0;
	for (struct element *e = (struct element *)(void *)(base + 64); e && seen <= count;
	     e = e->next, seen++)
		CHECK_EQUAL(e->value, seen * 7 + 1);
	CHECK_EQUAL(seen, count);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Stores to a page that was only read, and to a page that was never touched, survive the next barrier at all
 * nodes. */
static void read_then_written(dsm_region *r, size_t page_bytes, size_t pages)
{
	volatile uint64_t *words = dsm_region_base(r);
	size_t words_per_page = page_bytes / 8, mine = (size_t)node * 5 + 100;
	uint64_t sum = 0;

	for (size_t p = 0; p < pages; p++)
		sum += words[p * words_per_page + mine];
	for (size_t p = 0; p < pages; p++)
		words[p * words_per_page + mine] = sum + p + (uint64_t)node;
	CHECK_EQUAL(dsm_barrier(), 0);
	for (size_t p = 0; p < pages; p++)
		for (size_t n = 0; n < (size_t)nodes; n++)
			CHECK_EQUAL(words[p * words_per_page + n * 5 + 100] - p - n, words[n * 5 + 100] - n);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void run(size_t page_bytes, enum dsm_home_policy home, enum dsm_delivery delivery)
{
	size_t pages = page_bytes == 4096      ? (size_t)nodes_rounds(67, 9)
		       : page_bytes == 2 << 20 ? (size_t)nodes_rounds(5, 2)
					       : 1;
	static const struct {
		const char *name;
		void (*run)(dsm_region *, size_t, size_t);
	} cases[] = {
	    {"one writes, all read", one_writes_all_read},
	    {"many write one page", many_write_one_page},
	    {"pointers mean the same", pointers_mean_the_same},
	    {"read, then written", read_then_written},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		nodes_case("%s: %s, home %s, %s", cases[i].name, nodes_page_name(page_bytes),
			   nodes_home_name(home), nodes_delivery_name(delivery));
		if (!nodes_have_pages(page_bytes, pages, (unsigned)nodes))
			continue;
		dsm_region *r = make(page_bytes, pages, home, delivery);
		if (!r)
			continue;
		cases[i].run(r, page_bytes, pages);
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	}
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	for (size_t s = 0; s < nodes_page_size_count; s++)
		for (enum dsm_home_policy h = DSM_HOME_BLOCK; h <= DSM_HOME_NODE; h++)
			for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++)
				run(nodes_page_sizes[s], h, d);
	return nodes_end();
}
