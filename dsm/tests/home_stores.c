/*
 * Stores at home, in bulk: found by write-protection that the kernel lifts by itself where it can do that,
 * and by faults before and after.
 */
#include "dsm/tests/nodes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "kernel/probe.h"

#define PAGE ((size_t)4096)
#define WORDS (PAGE / sizeof(uint64_t))

static int node;
static size_t page_count;
static dsm_region *region;
static volatile uint64_t *base;

static void begin(enum dsm_home_policy home)
{
	struct dsm_region_options options = {.page_size_bytes = PAGE, .home = home};

	base = NULL;
	if (CHECK_EQUAL(dsm_region_create("home", page_count * PAGE, &options, &region), 0))
		base = dsm_region_base(region);
}

static void end(void)
{
	if (base)
		CHECK_EQUAL(dsm_region_destroy(region), 0);
}

static volatile uint64_t *word(size_t page, size_t index)
{
	return &base[page * WORDS + index];
}

/* Node 0 stores @value to every @step-th page; all look at all pages. */
static void store_and_compare(uint64_t *expected, uint64_t value, size_t step)
{
	for (size_t p = 0; p < page_count; p += step) {
		if (node == 0)
			*word(p, 3) = value;
		expected[p] = value;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	size_t wrong = 0;
	for (size_t p = 0; p < page_count; p++)
		wrong += *word(p, 3) != expected[p];
	CHECK_EQUAL(wrong, 0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static long kernel_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static bool kernel_finds_stores(void)
{
	struct kernel_feature_status kernel[KERNEL_FEATURE_COUNT];

	kernel_probe(kernel);
	return kernel[KERNEL_UFFD_WP_ASYNC].available && kernel[KERNEL_PAGEMAP_SCAN].available;
}

static void bulk_then_little_then_bulk(void)
{
	uint64_t *expected = calloc(page_count, sizeof *expected), value = 0;
	struct dsm_stats before;

	for (int i = 0; i < 4; i++)
		store_and_compare(expected, ++value, 1);
	before = nodes_stats();
	for (int i = 0; i < 4; i++)
		store_and_compare(expected, ++value, 1);
	uint64_t bulk_faults = nodes_stats_since(&before).faults_upgrade;
	if (node == 0 && kernel_finds_stores())
		CHECK(bulk_faults < 3 * page_count); /* 4 * page_count without */
	if (node == 0)
		printf("# faults of 4 rounds of stores to %zu pages: %llu\n", page_count,
		       (unsigned long long)bulk_faults);
	for (int i = 0; i < nodes_rounds(60, 9); i++)
		store_and_compare(expected, ++value, i % 3 ? 777 : 5000);
	for (int i = 0; i < nodes_rounds(6, 2); i++)
		store_and_compare(expected, ++value, 2);
	free(expected);
}

/* Node 0, the home of all pages, stores to all of them in each interval, or in every second. */
static void bulk_costs_no_faults(int every, bool prefetch)
{
	const int first = 12, rounds = 20; /* counted; and before */
	const uint64_t last = (uint64_t)((first + rounds - 1) / every) * (uint64_t)every;
	long before = 0;

	for (int i = 0; i < first + rounds; i++) {
		if (i == first)
			before = kernel_faults();
		if (node == 0 && prefetch)
			CHECK_EQUAL(dsm_prefetch((const void *)base, page_count * PAGE, true), 0);
		for (size_t p = 0; node == 0 && i % every == 0 && p < page_count; p++)
			*word(p, 3) = (uint64_t)i;
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	size_t faults = (size_t)(kernel_faults() - before), wrong = 0;
	if (node == 0) {
		printf("# faults that the kernel resolved in %d intervals: %zu\n", rounds, faults);
		/* Two for each chunk of 128, and all those of the pages behind the last whole chunk. */
		size_t few = page_count / 128 * 2 + page_count % 128 + 64;
		if (kernel_finds_stores())
			CHECK(faults < few * (size_t)rounds);
	}
	for (size_t p = 0; p < page_count; p++)
		wrong += *word(p, 3) != last;
	CHECK_EQUAL(wrong, 0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Stores in bulk, and then to a few pages: soon no more than those are published. */
static void little_after_bulk(void)
{
	uint64_t *expected = calloc(page_count, sizeof *expected), value = 0;
	struct dsm_stats before;

	for (int i = 0; i < 12; i++)
		store_and_compare(expected, ++value, 1);
	for (int i = 0; i < 8; i++)
		store_and_compare(expected, ++value, 500);
	before = nodes_stats();
	store_and_compare(expected, ++value, 500);
	if (node == 0)
		CHECK_EQUAL(nodes_stats_since(&before).pages_published, (page_count + 499) / 500);
	free(expected);
}

/* Threads of the home that store all the time, while chunks go over and come back: each word only grows, and
 * is wrong if a store was not noticed. */
#define STORERS 2
static atomic_int stop;
static uint64_t stored[STORERS][64];

static void *store_all_the_time(void *argument)
{
	size_t me = (size_t)argument;

	for (uint64_t value = 1; !atomic_load(&stop); value++)
		for (size_t i = 0; i < 64; i++) {
			*word(i * 37 % page_count, 10 + me) = value;
			stored[me][i] = value;
		}
	return NULL;
}

/* @in_bulk: all chunks are presumed changed, and the threads end between two of the main thread's stores, so
 * that what they stored last is published by that presumption or not at all. */
static void stores_while_chunks_go_over(bool in_bulk)
{
	uint64_t *expected = calloc(page_count, sizeof *expected), value = 0;
	const size_t storers = node == 0 ? STORERS : 0; /* on this node */
	pthread_t threads[STORERS];

	atomic_store(&stop, 0);
	for (size_t i = 0; i < storers; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, store_all_the_time, (void *)i), 0);
	for (int i = 0; i < nodes_rounds(in_bulk ? 20 : 80, 10); i++)
		store_and_compare(expected, ++value, in_bulk || i % 40 < 6 ? 1 : page_count);
	atomic_store(&stop, 1);
	for (size_t i = 0; i < storers; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_broadcast(stored, sizeof stored, 0), 0);
	for (size_t me = 0; me < STORERS; me++)
		for (size_t i = 0; i < 64; i++)
			CHECK_EQUAL(*word(i * 37 % page_count, 10 + me), stored[me][i]);
	free(expected);
}

/* Other nodes publish to the same pages meanwhile. */
static void others_store_too(void)
{
	for (uint64_t round = 1; round < (uint64_t)nodes_rounds(30, 8); round++) {
		size_t step = round % 10 < 5 ? 1 : 601;
		for (size_t p = 0; p < page_count; p += step)
			*word(p, 20 + (size_t)node) = round + p;
		CHECK_EQUAL(dsm_barrier(), 0);
		size_t wrong = 0;
		for (size_t p = 0; p < page_count; p += step)
			for (int n = 0; n < dsm_nodes(); n++)
				wrong += *word(p, 20 + (size_t)n) != round + p;
		CHECK_EQUAL(wrong, 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
}

/* Stores in bulk, and then none: chunks go back to faults once, and stay. Nothing is published any more. */
static void peace_returns(void)
{
	for (size_t p = 0; p < page_count; p++)
		if (dsm_home((const void *)word(p, 0)) == node)
			*word(p, 0) = p;
	for (int i = 0; i < 30; i++)
		CHECK_EQUAL(dsm_barrier(), 0);
	struct dsm_stats before = nodes_stats();
	for (int i = 0; i < 60; i++)
		CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(nodes_stats_since(&before).pages_published, 0);
}

int main(int argc, char **argv)
{
	static const enum dsm_home_policy homes[] = {DSM_HOME_NODE, DSM_HOME_BLOCK};

	nodes_begin(&argc, &argv);
	node = dsm_node();
	page_count = (size_t)nodes_rounds(2500, 1100); /* chunks of 512, and some */
	for (size_t h = 0; h < 2; h++) {
		begin(homes[h]);
		nodes_case("stores in bulk, then few, then many: home %s", nodes_home_name(homes[h]));
		bulk_then_little_then_bulk();
		if (homes[h] == DSM_HOME_NODE) {
			nodes_case("stores in bulk do without faults");
			bulk_costs_no_faults(1, false);
			nodes_case("stores in bulk in every second interval do, too");
			bulk_costs_no_faults(2, false);
			nodes_case("stores in bulk do, announced by dsm_prefetch()");
			bulk_costs_no_faults(1, true);
		}
		nodes_case("a few stores after many are found one by one: home %s",
			   nodes_home_name(homes[h]));
		little_after_bulk();
		nodes_case("stores of other threads meanwhile: home %s", nodes_home_name(homes[h]));
		stores_while_chunks_go_over(false);
		nodes_case("stores of other threads, in bulk: home %s", nodes_home_name(homes[h]));
		stores_while_chunks_go_over(true);
		nodes_case("stores of other nodes meanwhile: home %s", nodes_home_name(homes[h]));
		others_store_too();
		nodes_case("no store for long, and nothing is published: home %s", nodes_home_name(homes[h]));
		peace_returns();
		end();
	}
	return nodes_end();
}
