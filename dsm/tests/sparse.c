/*
 * Sparse regions: a page costs memory when it is first touched, published or prefetched, at home too, and not
 * before.
 */
#include "dsm/tests/nodes.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int node, nodes;

/* Bytes that this process's memory file of name @name holds; UINT64_MAX: there is none. */
static uint64_t bytes_in_file(const char *name)
{
	uint64_t bytes = UINT64_MAX;
	char wanted[96];
	struct dirent *entry;
	DIR *directory = opendir("/proc/self/fd");

	snprintf(wanted, sizeof wanted, "/memfd:%s ", name);
	while (directory && (entry = readdir(directory))) {
		char path[300], link[256];
		struct stat status;
		snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
		ssize_t length = readlink(path, link, sizeof link - 1);
		if (length < 0)
			continue;
		link[length] = 0;
		if (!strncmp(link, wanted, strlen(wanted)) && !stat(path, &status))
			bytes = (uint64_t)status.st_blocks * 512;
	}
	if (directory)
		closedir(directory);
	return bytes;
}

/* The file of this name holds @bytes: what was touched, and no more. */
static void check_cost(const char *name, uint64_t bytes)
{
	if (!nodes_memory_is_pinned())
		CHECK_EQUAL(bytes_in_file(name), bytes);
}

static dsm_region *make(size_t page_bytes, size_t pages, enum dsm_delivery delivery)
{
	struct dsm_region_options options = {.page_size_bytes = page_bytes,
					     .home = DSM_HOME_CYCLIC,
					     .chunk_bytes = page_bytes,
					     .delivery = delivery,
					     .sparse = true};
	dsm_region *r = NULL;

	CHECK_EQUAL(dsm_region_create("sparse", pages * page_bytes, &options, &r), 0);
	if (r)
		check_cost("sparse", 0);
	CHECK_EQUAL(dsm_barrier(), 0); /* before anybody touches it */
	return r;
}

static volatile uint64_t *word_of(dsm_region *r, size_t page)
{
	return (volatile uint64_t *)(void *)((unsigned char *)dsm_region_base(r) +
					     page * dsm_region_page_bytes(r) + 4096 - 8);
}

/* Each node touches one page that it is home of: it costs one page, there. */
static void touched_at_home(dsm_region *r, size_t page_bytes)
{
	CHECK_EQUAL(*word_of(r, (size_t)node), 0);
	check_cost("sparse", page_bytes);
	*word_of(r, (size_t)node) = (uint64_t)node + 1;
	check_cost("sparse", page_bytes);
	CHECK_EQUAL(dsm_barrier(), 0);
	size_t other = (size_t)(node + 1) % (size_t)nodes;
	CHECK_EQUAL(*word_of(r, other), other + 1);
	check_cost("sparse", 2 * page_bytes);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* A load of another node's page that nobody stored to costs a page here, and none at its home. */
static void touched_elsewhere(dsm_region *r, size_t page_bytes)
{
	if (node == 1)
		CHECK_EQUAL(*word_of(r, 0), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	check_cost("sparse", node == 1 ? page_bytes : 0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* A node publishes to a page that its home never touched; the home sees it, and so does everybody. */
static void published_to_an_untouched_page(dsm_region *r, size_t page_bytes)
{
	if (node == 1)
		*word_of(r, 0) = 0xabcdef;
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node < 2)
		check_cost("sparse", page_bytes);
	CHECK_EQUAL(*word_of(r, 0), 0xabcdef);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 0)
		*word_of(r, 0) += 1;
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(*word_of(r, 0), 0xabcdf0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void prefetched(dsm_region *r, size_t page_bytes)
{
	CHECK_EQUAL(dsm_prefetch((const void *)word_of(r, (size_t)node), 8, true), 0);
	check_cost("sparse", page_bytes);
	struct dsm_stats before = nodes_stats();
	*word_of(r, (size_t)node) = 7;
	CHECK_EQUAL(nodes_stats_since(&before).faults, 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_prefetch(dsm_region_base(r), dsm_region_bytes(r), false), 0);
	check_cost("sparse", dsm_region_bytes(r));
	for (size_t p = 0; p < (size_t)nodes; p++)
		CHECK_EQUAL(*word_of(r, p), 7);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void run(size_t page_bytes, enum dsm_delivery delivery)
{
	size_t pages = (size_t)nodes + 1;
	static const struct {
		const char *name;
		void (*run)(dsm_region *, size_t);
	} cases[] = {
	    {"touched at home", touched_at_home},
	    {"touched elsewhere", touched_elsewhere},
	    {"published to an untouched page", published_to_an_untouched_page},
	    {"prefetched", prefetched},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		nodes_case("%s: %s, %s", cases[i].name, nodes_page_name(page_bytes),
			   nodes_delivery_name(delivery));
		if (!nodes_have_pages(page_bytes, pages, (unsigned)nodes))
			continue;
		dsm_region *r = make(page_bytes, pages, delivery);
		if (!r)
			continue;
		cases[i].run(r, page_bytes);
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Larger than it could be if its pages were allocated in the time. */
static void large_is_cheap(void)
{
	struct dsm_region_options options = {.page_size_bytes = 4096, .sparse = true};
	dsm_region *r = NULL;

	nodes_case("8 GiB cost nothing: 4 KiB");
	if (nodes_skip_if_pinned())
		return;
	CHECK_EQUAL(dsm_barrier(), 0);
	double began = seconds();
	CHECK_EQUAL(dsm_region_create("large", (size_t)8 << 30, &options, &r), 0);
	double took = seconds() - began;
	if (!node)
		printf("# made in %.1f ms\n", took * 1e3);
	if (!r)
		return;
	CHECK(took < 1); /* allocating takes seconds; sanitizers and other programs slow this down too */
	check_cost("large", 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	*word_of(r, dsm_region_bytes(r) / 4096 * (size_t)node / (size_t)nodes) = 1;
	check_cost("large", 4096);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* A hugetlb region of more pages than the pool has can be made: it is promised nothing. */
static void more_than_the_pool(void)
{
	struct dsm_region_options options = {.page_size_bytes = (size_t)2 << 20, .sparse = true};
	dsm_region *r = NULL;

	nodes_case("more than the pool has: 2 MiB");
	if (nodes_skip_if_pinned() || !nodes_have_pages((size_t)2 << 20, 1, (unsigned)nodes))
		return;
	CHECK_EQUAL(dsm_region_create("large", (size_t)64 << 30, &options, &r), 0);
	if (!r)
		return;
	*word_of(r, dsm_region_bytes(r) / ((size_t)2 << 20) * (size_t)node / (size_t)nodes) = 1;
	check_cost("large", 2 << 20);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	nodes_case("what the cases below say of memory is checked");
	nodes_skip_if_pinned();
	for (size_t s = 0; s < nodes_page_size_count; s++)
		for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++)
			run(nodes_page_sizes[s], d);
	large_is_cheap();
	more_than_the_pool();
	return nodes_end();
}
