/*
 * What a migration must put up with: a region that is destroyed on the way, a pace that is slow, a side that
 * comes late, cancels, begins again, or stops in the middle, calls that the kernel refuses, words of the
 * other side that cannot be. And what depends on who comes first, with both orders made to happen.
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
#include "dsm/tests/inject.h"
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

static void finish(void)
{
	if (node < 2)
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
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

/* --- cancelling ---------------------------------------------------------------------------------------- */

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

/* The destination makes no call meanwhile, and learns that what it had accepted is over. */
static void cancelled_and_begun_again(void)
{
	pthread_t canceller;
	size_t bytes;

	nodes_case("cancelled twice before the destination looks");
	begin();
	if (node == 1)
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), 0);
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), 0);
		CHECK_EQUAL(dsm_migrate_cancel(region), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), -ECANCELED);
		CHECK_EQUAL(pthread_create(&canceller, NULL, cancel_soon, NULL), 0);
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), -ECANCELED);
		pthread_join(canceller, NULL);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 1)
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), -ECANCELED);
	switch_over(NULL);
	finish();
	CHECK_EQUAL(node == 1 ? wrong_pages() : 0, 0);
	end();
}

static void cancelled_by_a_destination_that_does_not_wait(void)
{
	size_t bytes;

	nodes_case("a destination that cancels, and does not wait for the switch");
	begin();
	if (node == 0)
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), 0);
	if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), 0);
		CHECK_EQUAL(dsm_migrate_cancel(region), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 0)
		CHECK_EQUAL(dsm_migrate_precopy(region), -ECANCELED);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 1)
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), -ECANCELED);
	CHECK_EQUAL(dsm_migrate_holder(region), 0);
	end();
}

/* --- late, and half-way -------------------------------------------------------------------------------- */

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

/* Both are told in time. With @no_background, it is not needed before it is asked for. */
static void no_thread_for_the_rest(void)
{
	struct dsm_migration_options by_hand = {.no_background = true};

	nodes_case("a destination that has no thread for the rest");
	begin();
	if (node == 1)
		nodes_give_no_threads(true);
	if (node == 0)
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), -EAGAIN);
	else if (node == 1)
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), -EAGAIN);
	CHECK_EQUAL(dsm_migrate_holder(region), 0);
	switch_over(&by_hand);
	if (node == 1) {
		CHECK_EQUAL(dsm_migrate_background(region), -EAGAIN);
		nodes_give_no_threads(false);
		CHECK_EQUAL(base[8 * PAGE], 2);
		CHECK_EQUAL(dsm_migrate_finish(region), -EINVAL);
		CHECK_EQUAL(dsm_migrate_background(region), 0);
	}
	finish();
	CHECK_EQUAL(node == 1 ? wrong_pages() : 0, 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* The map has not come to a page: it is read as a whole, whatever the map will say. */
static void touched_before_the_map_comes(void)
{
	struct dsm_migration_options by_hand = {.no_background = true};
	struct dsm_migration_progress progress;

	nodes_case("a page that is touched before the map comes to it");
	begin();
	switch_over(&by_hand);
	CHECK_EQUAL(dsm_barrier(), 0); /* the map is there */
	if (node == 1) {
		struct migration_words *words = region->migration->words;
		atomic_store(&words->map_pages, 64);
		CHECK_EQUAL(base[63 * PAGE], 1);
		CHECK_EQUAL(base[64 * PAGE], 2);
		CHECK_EQUAL(base[65 * PAGE], 1);
		CHECK_EQUAL(dsm_migrate_progress(region, &progress), 0);
		CHECK_EQUAL(progress.faults, 3);
		CHECK_EQUAL(progress.faults_current, 1);
		CHECK_EQUAL(progress.faults_early, 2);
		atomic_store(&words->map_pages, PAGES);
		CHECK_EQUAL(base[67 * PAGE], 1);
		CHECK_EQUAL(dsm_migrate_progress(region, &progress), 0);
		CHECK_EQUAL(progress.faults_current, 2);
		CHECK_EQUAL(dsm_migrate_background(region), 0);
	}
	finish();
	CHECK_EQUAL(node == 1 ? wrong_pages() : 0, 0);
	end();
}

/* @says_so: the source, that no more of the map comes. Else it is stopped, as it seems, and may go on. */
static void map_ends_half_way(bool says_so)
{
	struct dsm_migration_options by_hand = {.no_background = true};
	uint64_t timeout_ns = runtime.settings.timeout_ns, began;

	nodes_case("a map that ends half-way: the source %s", says_so ? "says so" : "is stopped");
	begin();
	switch_over(&by_hand);
	CHECK_EQUAL(dsm_barrier(), 0); /* the map is there */
	if (node == 1) {
		struct migration_words *words = region->migration->words;
		uint64_t epoch = atomic_load(&words->map_over);
		CHECK_EQUAL(epoch, region->migration->epoch);
		runtime.settings.timeout_ns = 300000000;
		atomic_store(&words->map_pages, 100);
		/* What it says of pages further on does not count. */
		for (size_t word = 2; word < PAGES / 64; word++)
			atomic_store(&words->map[word], 0);
		atomic_store(&words->map_over, says_so ? epoch : 0);
		began = clock_ns();
		CHECK_EQUAL(dsm_migrate_background(region), 0);
		if (!says_so)
			CHECK_EQUAL(dsm_migrate_finish(region), -ETIMEDOUT);
		CHECK_EQUAL(clock_ns() - began > 300000000, !says_so);
		CHECK_EQUAL(wrong_pages(), 0);
		atomic_store(&words->map_over, epoch);
		runtime.settings.timeout_ns = timeout_ns;
	}
	finish();
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* --- large pages --------------------------------------------------------------------------------------- */

#define BLOCK (2 * MIB / 64)

/* Which pages were stored to is known, and not yet in which blocks: those that were not are up to date. And
 * if nothing is known, all is read. */
static void touched_by_the_outline(void)
{
	struct migration_words *words = region->migration->words;
	uint64_t map_pages = atomic_load(&words->map_pages), outlined = atomic_load(&words->outlined);
	struct dsm_migration_progress before, after;

	CHECK_EQUAL(dsm_migrate_progress(region, &before), 0);
	CHECK_EQUAL(outlined, region->migration->epoch);
	atomic_store(&words->map_pages, 5);
	atomic_store(&words->map[6], UINT64_MAX);
	CHECK_EQUAL(base[5 * 2 * MIB], 1);
	CHECK_EQUAL(base[6 * 2 * MIB], 1);
	atomic_store(&words->outlined, outlined - 1); /* what an earlier migration has left */
	CHECK_EQUAL(base[7 * 2 * MIB], 1);
	CHECK_EQUAL(dsm_migrate_progress(region, &after), 0);
	CHECK_EQUAL(after.faults_current - before.faults_current, 1);
	CHECK_EQUAL(after.faults_early - before.faults_early, 2);
	atomic_store(&words->map_pages, map_pages);
}

/* Pre-copy in several calls: the map names the blocks that differ from what was sent last, and no others. */
static void blocks_that_differ(void)
{
	struct dsm_migration_options by_hand = {.no_background = true};
	struct dsm_region_options options = {
	    .page_size_bytes = 2 * MIB, .home = DSM_HOME_NODE, .movable = true};
	struct dsm_stats before;
	size_t bytes;

	nodes_case("the blocks of a large page that differ");
	if (!nodes_have_pages(2 * MIB, 8 + 8, 2))
		return;
	if (!CHECK_EQUAL(dsm_region_create("large", 8 * 2 * MIB, &options, &region), 0))
		return;
	base = dsm_region_base(region);
	if (node == 0) {
		memset((void *)base, 1, 8 * 2 * MIB);
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &by_hand), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		for (unsigned char round = 2; round < 6; round++) {
			base[2 * MIB] = base[2 * 2 * MIB + 5 * BLOCK] = round;
			CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		}
		base[2 * MIB] = 4; /* as a copy said that was sent before the last */
		base[2 * 2 * MIB + 63 * BLOCK] = 9;
		base[3 * 2 * MIB + 7 * BLOCK] = 9; /* no copy: all of it */
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, &by_hand), 0);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0); /* the map is there */
	if (node == 1) {
		before = nodes_stats();
		CHECK_EQUAL(base[2 * MIB], 4);
		CHECK_EQUAL(base[2 * 2 * MIB + 5 * BLOCK], 5);
		CHECK_EQUAL(base[2 * 2 * MIB + 63 * BLOCK], 9);
		struct dsm_stats since = nodes_stats_since(&before);
		CHECK_EQUAL(since.pages_partial, 2);
		CHECK_EQUAL(since.blocks_fetched, 2);
		CHECK_EQUAL(base[3 * 2 * MIB + 7 * BLOCK], 9);
		CHECK_EQUAL(base[4 * 2 * MIB], 1);
		since = nodes_stats_since(&before);
		CHECK_EQUAL(since.pages_full, 1);
		CHECK_EQUAL(since.blocks_fetched, 2 + 64);
		CHECK_EQUAL(since.pages_current, 1);
		touched_by_the_outline();
		CHECK_EQUAL(dsm_migrate_background(region), 0);
	}
	finish();
	end();
}

/* --- what the kernel refuses --------------------------------------------------------------------------- */

/* Who held the region has old pages mapped yet when it comes back: they are not taken for what is there. */
static void memory_cannot_be_given_back(void)
{
	size_t bytes;

	nodes_case("a source that cannot give its memory back");
	begin();
	switch_over(NULL);
	if (node == 0)
		inject_failure(INJECT_DONTNEED, 1, -ENOMEM);
	if (node < 2) {
		CHECK_EQUAL(dsm_migrate_finish(region), node == 0 ? -ENOMEM : 0);
		CHECK_EQUAL(dsm_migrate_holder(region), 1);
	}
	for (size_t page = 0; node == 1 && page < PAGES; page++)
		base[page * PAGE] = page % 2 ? 1 : 2;
	for (int i = 0; i < 2; i++) { /* it still cannot; then it can */
		if (node == 1) {
			CHECK_EQUAL(dsm_migrate_begin(region, 0, NULL), i ? 0 : -ENOMEM);
		} else if (node == 0) {
			if (!i)
				inject_failure(INJECT_DONTNEED, 1, -ENOMEM);
			CHECK_EQUAL(dsm_migrate_accept(region, 1, NULL), i ? 0 : -ENOMEM);
		}
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	if (node == 1) {
		base[7 * PAGE] = 77;
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		base[8 * PAGE] = 88;
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
	} else if (node == 0) {
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), 0);
		CHECK_EQUAL(base[7 * PAGE], 77);
		CHECK_EQUAL(base[8 * PAGE], 88);
		CHECK_EQUAL(wrong_pages(), 2);
	}
	finish();
	end();
}

/* Its pages are protected yet, and nobody asks any more which are stored to. */
static void stores_cannot_be_let_alone(void)
{
	struct dsm_migration_options by_faults = {.track_by_faults = true};
	size_t bytes;

	nodes_case("a source that cannot end finding stores by faults");
	begin();
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &by_faults), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		inject_failure(INJECT_UNREGISTER, 1, -ENOMEM);
		CHECK_EQUAL(dsm_migrate_cancel(region), 0);
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), -ECANCELED);
		CHECK(inject_has_failed());
		for (size_t page = 0; page < PAGES; page++)
			base[page * PAGE]++;
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, &by_faults), 0);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), -ECANCELED);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	switch_over(&by_faults);
	finish();
	for (size_t page = 0; node == 1 && page < PAGES; page++)
		CHECK_EQUAL(base[page * PAGE], 2);
	end();
}

/* --- what cannot be ------------------------------------------------------------------------------------ */

/* Lengths and indices from the other side are checked before they are used. */
static void words_that_cannot_be(void)
{
	struct dsm_migration_options by_hand = {.no_background = true};
	struct migration_words *words;

	nodes_case("an offer of a node that there is not");
	begin();
	words = region->migration->words;
	for (uint64_t i = 0; node == 1 && i < 3; i++) {
		/* Truncated to an int, they were nodes, or less than nothing. */
		atomic_store(&words->offer_node, i == 0 ? 7 : i == 1 ? 0x80000000u : (uint64_t)1 << 40);
		atomic_store(&words->offered, 1000 + i);
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
	cancelled_and_begun_again();
	cancelled_by_a_destination_that_does_not_wait();
	destination_comes_late();
	no_thread_for_the_rest();
	touched_before_the_map_comes();
	map_ends_half_way(true);
	map_ends_half_way(false);
	blocks_that_differ();
	memory_cannot_be_given_back();
	stores_cannot_be_let_alone();
	words_that_cannot_be();
	return nodes_end();
}
