/*
 * What a migration must put up with: a region that is destroyed on the way, a pace that is slow, a
 * destination that comes late, words of the other side that cannot be.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "dsm/clock.h"
#include "dsm/migration.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

#define PAGE (4 * KIB)
#define PAGES 4096

static int node;
static dsm_region *region;
static volatile unsigned char *base;

static void begin(void)
{
	struct dsm_region_options options = {.page_size_bytes = PAGE, .home = DSM_HOME_NODE, .movable = true};

	base = NULL;
	if (CHECK_EQUAL(dsm_region_create("moving", PAGES * PAGE, &options, &region), 0))
		base = dsm_region_base(region);
	for (size_t page = 0; base && node == 0 && page < PAGES; page++)
		base[page * PAGE] = 1;
}

static void end(void)
{
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

static void switch_over(const struct dsm_migration_options *options)
{
	size_t bytes;

	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, options), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		for (size_t page = 0; page < PAGES; page += 2)
			base[page * PAGE] = 2;
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, options), 0);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), 0);
	}
}

static size_t wrong_pages(void)
{
	size_t wrong = 0;

	for (size_t page = 0; page < PAGES; page++)
		wrong += base[page * PAGE] != (page % 2 ? 1 : 2);
	return wrong;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* The background has hours to go, at this pace, and ends at once. */
static void destroyed_on_the_way(void)
{
	struct dsm_migration_options slow = {.mode = DSM_MIGRATION_POST_COPY, .bytes_per_s = 1};
	uint64_t began = clock_ns();

	nodes_case("a region that is destroyed while the rest is brought in");
	begin();
	switch_over(&slow);
	if (node == 1)
		CHECK_EQUAL(base[5 * PAGE], 1); /* a touch does not wait for that */
	sleep_ms(30);
	end();
	CHECK(clock_ns() - began < 5000000000u);

	nodes_case("a region that is destroyed while it is copied");
	begin();
	slow = (struct dsm_migration_options){0};
	if (node == 0)
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &slow), 0);
	else if (node == 1)
		CHECK_EQUAL(dsm_migrate_accept(region, 0, &slow), 0);
	end();
}

static void *cancel_soon(void *unused)
{
	(void)unused;
	sleep_ms(100);
	CHECK_EQUAL(dsm_migrate_cancel(region), 0);
	return NULL;
}

static void cancelled_at_a_slow_pace(void)
{
	struct dsm_migration_options slow = {.bytes_per_s = 1};
	uint64_t began = clock_ns();
	pthread_t canceller;
	size_t bytes;

	nodes_case("cancelled while it keeps to a slow pace");
	begin();
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &slow), 0);
		CHECK_EQUAL(pthread_create(&canceller, NULL, cancel_soon, NULL), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), -ECANCELED);
		pthread_join(canceller, NULL);
		CHECK_EQUAL(dsm_migrate_cancel(region), -EINVAL);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, &slow), 0);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), -ECANCELED);
	}
	CHECK(clock_ns() - began < 5000000000u);
	end();
}

/* It holds the region as soon as it is told, though it does not listen yet; the source does not go on. */
static void destination_comes_late(void)
{
	uint64_t timeout_ns = runtime.settings.timeout_ns;
	size_t bytes;

	nodes_case("a destination that waits for the switch too late");
	begin();
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		for (size_t page = 0; page < PAGES; page += 2)
			base[page * PAGE] = 2;
		runtime.settings.timeout_ns = 200000000;
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
		runtime.settings.timeout_ns = timeout_ns;
		CHECK_EQUAL(dsm_migrate_cancel(region), -EALREADY);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), 0);
		sleep_ms(600);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
		CHECK_EQUAL(wrong_pages(), 0);
	}
	CHECK_EQUAL(dsm_migrate_holder(region), node < 2 ? 1 : 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* A thread with a stack that no address space has room for is not to be had. */
static void give_no_threads(bool none)
{
	static pthread_attr_t usual;
	pthread_attr_t attributes;

	if (!none) {
		CHECK_EQUAL(pthread_setattr_default_np(&usual), 0);
		return;
	}
	CHECK_EQUAL(pthread_getattr_default_np(&usual), 0);
	CHECK_EQUAL(pthread_getattr_default_np(&attributes), 0);
	CHECK_EQUAL(pthread_attr_setstacksize(&attributes, (size_t)1 << 47), 0);
	CHECK_EQUAL(pthread_setattr_default_np(&attributes), 0);
}

/* It holds the region all the same, and has the state. */
static void no_thread_for_the_rest(void)
{
	char state[8] = "";
	size_t bytes = 0;

	nodes_case("a destination that has no thread for the rest");
	begin();
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		for (size_t page = 0; page < PAGES; page += 2)
			base[page * PAGE] = 2;
		CHECK_EQUAL(dsm_migrate_switch(region, "state", 6), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), 0);
		give_no_threads(true);
		CHECK_EQUAL(dsm_migrate_await(region, state, sizeof state, &bytes), -EAGAIN);
		give_no_threads(false);
		CHECK_EQUAL(bytes, 6);
		CHECK(!strcmp(state, "state"));
		CHECK_EQUAL(dsm_migrate_holder(region), 1);
		CHECK_EQUAL(base[8 * PAGE], 2);
		CHECK_EQUAL(dsm_migrate_finish(region), -EINVAL);
		CHECK_EQUAL(dsm_migrate_background(region), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
		CHECK_EQUAL(wrong_pages(), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* Lengths and indices from the other side are checked before they are used. */
static void words_that_cannot_be(void)
{
	struct dsm_migration_options by_hand = {.no_background = true};
	struct migration_words *words;

	nodes_case("an offer of a node that there is not");
	begin();
	words = region->migration->words;
	if (node == 1) {
		atomic_store(&words->offer_node, (uint64_t)1 << 40 | 7);
		atomic_store(&words->offered, 1000);
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), -EPROTO);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();

	nodes_case("a map that is longer than the region");
	begin();
	switch_over(&by_hand);
	CHECK_EQUAL(dsm_barrier(), 0); /* the map is there */
	words = region->migration->words;
	if (node == 1) {
		atomic_store(&words->map_pages, UINT64_MAX);
		CHECK_EQUAL(base[8 * PAGE], 2);
		CHECK_EQUAL(dsm_migrate_background(region), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
		CHECK_EQUAL(wrong_pages(), 0);
	} else if (node == 0) {
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();

	nodes_case("an answer that is no error");
	begin();
	words = region->migration->words;
	if (node == 0) {
		atomic_store(&words->answer_error, UINT64_MAX / 3);
		atomic_store(&words->answered, region->migration->epoch + 1);
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), -EPROTO);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	destroyed_on_the_way();
	cancelled_at_a_slow_pace();
	destination_comes_late();
	no_thread_for_the_rest();
	words_that_cannot_be();
	return nodes_end();
}
