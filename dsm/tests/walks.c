/*
 * Reading ahead: a thread that walks through a region faults once for many pages, gets the right bytes, and
 * nothing beyond what it walks over; a thread that does not walk gets its page alone. What is recognised as a
 * walk is tested in dsm/readahead_test.c; here it is about what the fault path makes of it.
 */
#include "dsm/tests/nodes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)2048)
/* Of a walk over PAGES: a few single pages, windows that double up to 256, and that again and again. */
#define FAULTS_OF_WALK ((size_t)24)

static int node, nodes;
static dsm_region *region;
static unsigned char *base;

static volatile uint64_t *word_of(size_t page)
{
	return (volatile uint64_t *)(void *)(base + page * PAGE + (page * 8) % PAGE);
}

static uint64_t value_of(size_t page, uint64_t generation)
{
	return generation << 32 | page;
}

static void barrier(void)
{
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void make(const struct dsm_region_options *options)
{
	CHECK_EQUAL(dsm_region_create("walks", PAGES * PAGE, options, &region), 0);
	base = dsm_region_base(region);
}

static void drop(void)
{
	barrier();
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

/* Node 0, which is the home, stores to every page. */
static void change_all(uint64_t generation)
{
	barrier();
	if (node == 0)
		for (size_t page = 0; page < PAGES; page++)
			*word_of(page) = value_of(page, generation);
	barrier();
}

static void check_page(size_t page, uint64_t generation)
{
	CHECK_EQUAL(*word_of(page), value_of(page, generation));
}

static void forwards(uint64_t generation)
{
	for (size_t page = 0; page < PAGES; page++)
		check_page(page, generation);
}

static void backwards(uint64_t generation)
{
	for (size_t page = PAGES; page-- > 0;)
		check_page(page, generation);
}

/* Every page is read once: the odd ones backwards. */
static void in_steps(uint64_t generation)
{
	for (size_t page = 0; page < PAGES; page += 2)
		check_page(page, generation);
	for (size_t page = PAGES - 1; page < PAGES; page -= 2)
		check_page(page, generation);
}

static void two_at_once(uint64_t generation)
{
	for (size_t page = 0; page < PAGES / 2; page++) {
		check_page(page, generation);
		check_page(PAGES - 1 - page, generation);
	}
}

static const struct walk {
	const char *name;
	void (*walk)(uint64_t generation);
} walks[] = {
    {"forwards", forwards}, {"backwards", backwards}, {"in steps", in_steps}, {"two at once", two_at_once}};

#define WALKS (sizeof walks / sizeof walks[0])

/* New pages first; then all of them, out of date, again. */
static void a_walk_faults_once_for_many_pages(const struct walk *walk)
{
	nodes_case("a walk faults once for many pages: %s", walk->name);
	make(&(struct dsm_region_options){.home = DSM_HOME_NODE});
	for (uint64_t generation = 1; generation <= 2; generation++) {
		change_all(generation);
		struct dsm_stats before = nodes_stats();
		if (node != 0) {
			walk->walk(generation);
			struct dsm_stats cost = nodes_stats_since(&before);
			CHECK(cost.faults <= 2 * FAULTS_OF_WALK);
			CHECK_EQUAL(cost.faults_read + cost.pages_read_ahead, PAGES);
			CHECK_EQUAL(cost.bytes_fetched, PAGES * PAGE);
		}
	}
	drop();
}

static void switched_off_each_page_comes_alone(void)
{
	nodes_case("DSM_READAHEAD_OFF: each fault brings in its page alone");
	make(&(struct dsm_region_options){.home = DSM_HOME_NODE, .readahead = DSM_READAHEAD_OFF});
	change_all(1);
	struct dsm_stats before = nodes_stats();
	if (node != 0) {
		forwards(1);
		CHECK_EQUAL(nodes_stats_since(&before).faults, PAGES);
		CHECK_EQUAL(nodes_stats_since(&before).pages_read_ahead, 0);
	}
	drop();
}

static void shuffle(size_t *pages)
{
	srandom(1);
	for (size_t i = 0; i < PAGES; i++)
		pages[i] = i;
	for (size_t i = 1; i < PAGES; i++) {
		size_t j = (size_t)random() % (i + 1), page = pages[i];

		pages[i] = pages[j];
		pages[j] = page;
	}
}

static void pages_at_random_come_alone(void)
{
	size_t order[PAGES];

	shuffle(order);
	nodes_case("who touches pages at random gets them alone");
	make(&(struct dsm_region_options){.home = DSM_HOME_NODE});
	change_all(1);
	struct dsm_stats before = nodes_stats();
	if (node != 0) {
		for (size_t i = 0; i < PAGES / 4; i++)
			check_page(order[i], 1);
		CHECK(nodes_stats_since(&before).pages_read_ahead * 10 <= PAGES / 4);
	}
	drop();
}

/* Each node stores to all pages of all homes, a word of its own in each. */
static void stores_that_walk_are_published(void)
{
	nodes_case("stores of a walk fault once for many pages, and are published");
	make(&(struct dsm_region_options){.home = DSM_HOME_BLOCK});
	barrier();
	struct dsm_stats before = nodes_stats();
	for (size_t page = 0; page < PAGES; page++)
		*(volatile uint64_t *)(void *)(base + page * PAGE + 8 * (size_t)node) = value_of(page, 7);
	struct dsm_stats cost = nodes_stats_since(&before);
	CHECK(cost.pages_read_ahead >= PAGES / (size_t)nodes / 2);
	CHECK_EQUAL(cost.faults_upgrade, PAGES / (size_t)nodes); /* at home: mapped already */
	barrier();
	for (size_t page = 0; page < PAGES; page++)
		for (size_t i = 0; i < (size_t)nodes; i++)
			CHECK_EQUAL(*(volatile uint64_t *)(void *)(base + page * PAGE + 8 * i),
				    value_of(page, 7));
	drop();
}

/* A window ends where another home begins; pages there are no worse for it. */
static void homes_change_on_the_way(void)
{
	nodes_case("homes change on the way");
	make(&(struct dsm_region_options){.home = DSM_HOME_CYCLIC, .chunk_bytes = 20 * PAGE});
	for (uint64_t generation = 1; generation <= 3; generation++) {
		change_all(generation);
		forwards(generation);
		change_all(generation + 10);
		backwards(generation + 10);
	}
	drop();
}

struct walker {
	pthread_t thread;
	size_t first;
	uint64_t generation;
};

static void *walk_by_thread(void *argument)
{
	const struct walker *w = argument;

	for (size_t i = 0; i < PAGES; i++)
		check_page((w->first + i) % PAGES, w->generation);
	return NULL;
}

/* All walk over all pages, from different places: they meet each other's windows. */
static void threads_walk_over_each_other(enum dsm_delivery delivery)
{
	enum { WALKERS = 4 };
	struct walker walkers[WALKERS];
	int rounds = nodes_rounds(20, 2);

	nodes_case("threads walk over each other: %s", nodes_delivery_name(delivery));
	make(&(struct dsm_region_options){.home = DSM_HOME_NODE, .delivery = delivery});
	for (int round = 1; round <= rounds; round++) {
		change_all((uint64_t)round);
		for (size_t i = 0; i < WALKERS; i++) {
			walkers[i].first = i * (PAGES / WALKERS) + (size_t)round;
			walkers[i].generation = (uint64_t)round;
			pthread_create(&walkers[i].thread, NULL, walk_by_thread, &walkers[i]);
		}
		for (size_t i = 0; i < WALKERS; i++)
			pthread_join(walkers[i].thread, NULL);
	}
	drop();
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	for (size_t i = 0; i < WALKS; i++)
		a_walk_faults_once_for_many_pages(&walks[i]);
	switched_off_each_page_comes_alone();
	pages_at_random_come_alone();
	stores_that_walk_are_published();
	homes_change_on_the_way();
	threads_walk_over_each_other(DSM_DELIVERY_INLINE);
	threads_walk_over_each_other(DSM_DELIVERY_THREAD_BLOCK);
	return nodes_end();
}
