/*
 * Memory that moves while it is stored to: the same bytes there, in every mode, there and back, and nothing
 * lost when it does not come to it.
 *
 * The user of the memory stores by a sequence of random numbers, whose state is what moves with it; so what
 * the memory must hold is known by going through the sequence once more.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/memory.h"

static int node;
static dsm_region *region;
static volatile uint64_t *base;
static size_t words;

/* --- the user ------------------------------------------------------------------------------------------ */

struct state {
	uint64_t random, steps;
};

static struct state user;
static atomic_bool pause_user;
static pthread_t user_thread;

static const struct state fresh = {.random = 88172645463325252u};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Mostly in an eighth of the memory, so that pre-copy has an end. */
static size_t place(uint64_t random)
{
	size_t range = random % 64 ? words / 8 : words;

	return (size_t)(random >> 8) % range;
}

static void step(struct state *s, volatile uint64_t *memory)
{
	uint64_t random = next_random(&s->random);

	s->steps++;
	memory[place(random)] = s->steps << 20 | random >> 44;
}

static void *use(void *unused)
{
	(void)unused;
	while (!atomic_load(&pause_user)) {
		for (int i = 0; i < 100; i++)
			step(&user, base);
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	return NULL;
}

static void go_on(void)
{
	atomic_store(&pause_user, false);
	CHECK_EQUAL(pthread_create(&user_thread, NULL, use, NULL), 0);
}

static void pause_it(void)
{
	atomic_store(&pause_user, true);
	pthread_join(user_thread, NULL);
}

/* All of the memory is what the sequence makes of it. */
static void check_contents(void)
{
	uint64_t *expected = calloc(words, sizeof *expected);
	struct state s = fresh;
	size_t wrong = 0;

	while (expected && s.steps < user.steps)
		step(&s, expected);
	for (size_t i = 0; expected && i < words; i++)
		wrong += base[i] != expected[i];
	CHECK(expected != NULL);
	CHECK_EQUAL(wrong, 0);
	CHECK_EQUAL(s.random, user.random);
	free(expected);
}

/* --- moving -------------------------------------------------------------------------------------------- */

static void begin(size_t page_bytes, size_t bytes, enum dsm_delivery delivery)
{
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .movable = true, .delivery = delivery};

	base = NULL;
	words = bytes / sizeof(uint64_t);
	user = fresh;
	if (CHECK_EQUAL(dsm_region_create("guest", bytes, &options, &region), 0))
		base = dsm_region_base(region);
}

static void end(void)
{
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void check_that_nothing_is_left(void)
{
	struct dsm_migration_progress p;

	CHECK_EQUAL(dsm_migrate_progress(region, &p), 0);
	CHECK_EQUAL(p.pages_left, 0);
}

static void move_away(int to, const struct dsm_migration_options *options)
{
	CHECK_EQUAL(dsm_migrate_begin(region, to, options), 0);
	CHECK_EQUAL(dsm_migrate_precopy(region), 0);
	pause_it();
	CHECK_EQUAL(dsm_migrate_switch(region, &user, sizeof user), 0);
	if (options->mode == DSM_MIGRATION_PRE_COPY || options->mode == DSM_MIGRATION_STOP_AND_COPY)
		check_that_nothing_is_left();
	CHECK_EQUAL(dsm_migrate_finish(region), 0);
	CHECK_EQUAL(dsm_migrate_holder(region), to);
}

static void take_in(int from, const struct dsm_migration_options *options, long use_ms)
{
	size_t bytes = 0;

	CHECK_EQUAL(dsm_migrate_accept(region, from, options), 0);
	CHECK_EQUAL(dsm_migrate_await(region, &user, sizeof user, &bytes), 0);
	CHECK_EQUAL(bytes, sizeof user);
	go_on();
	CHECK_EQUAL(dsm_migrate_finish(region), 0);
	CHECK_EQUAL(dsm_migrate_holder(region), node);
	sleep_ms(use_ms);
}

static void tell_progress(const char *what)
{
	struct dsm_migration_progress p;

	CHECK_EQUAL(dsm_migrate_progress(region, &p), 0);
	printf("# node %d: %s: %u rounds, %llu bytes before, %llu in the pause, %llu of the map; %llu bytes "
	       "fetched, %llu faults (%llu current, %llu early); down %lld us, done after %lld us\n",
	       node, what, p.rounds, (unsigned long long)p.bytes_precopied,
	       (unsigned long long)p.bytes_switched, (unsigned long long)p.bytes_mapped,
	       (unsigned long long)p.bytes_fetched, (unsigned long long)p.faults,
	       (unsigned long long)p.faults_current, (unsigned long long)p.faults_early,
	       (long long)(p.resumed_ns - p.switched_ns) / 1000,
	       (long long)(p.done_ns - p.switched_ns) / 1000);
}

/* From node 0 to the last node and so on, @times. */
static void move_around(const struct dsm_migration_options *options, int times)
{
	int holder = 0, nodes = dsm_nodes();

	if (node == 0)
		go_on();
	sleep_ms(5);
	for (int i = 0; i < times; i++) {
		int to = (holder + nodes - 1) % nodes;
		if (node == holder)
			move_away(to, options);
		else if (node == to)
			take_in(holder, options, 5);
		if (node == 0 || node == to)
			tell_progress("moved");
		holder = to;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == holder) {
		pause_it();
		check_contents();
		printf("# %llu steps\n", (unsigned long long)user.steps);
	}
}

static const char *mode_name(enum dsm_migration_mode mode)
{
	static const char *const names[] = {"minor", "pre-copy", "post-copy", "stop-and-copy"};

	return names[mode];
}

static void every_mode(size_t page_bytes, size_t bytes, enum dsm_delivery delivery, bool by_faults)
{
	for (int mode = DSM_MIGRATION_MINOR; mode <= DSM_MIGRATION_STOP_AND_COPY; mode++) {
		struct dsm_migration_options options = {.mode = (enum dsm_migration_mode)mode,
							.track_by_faults = by_faults};
		bool tracks = mode == DSM_MIGRATION_MINOR || mode == DSM_MIGRATION_PRE_COPY;

		if (by_faults && !tracks)
			continue;
		nodes_case("%s, %s, %s%s", mode_name(options.mode), nodes_page_name(page_bytes),
			   nodes_delivery_name(delivery), by_faults ? ", stores found by faults" : "");
		if (!nodes_have_pages(page_bytes, bytes / page_bytes + 32, 2))
			continue;
		begin(page_bytes, bytes, delivery);
		if (base)
			move_around(&options, nodes_rounds(3, 2));
		end();
	}
}

static void ten_times(size_t page_bytes, size_t bytes)
{
	struct dsm_migration_options options = {.mode = DSM_MIGRATION_MINOR};

	nodes_case("there and back ten times, %s", nodes_page_name(page_bytes));
	if (!nodes_have_pages(page_bytes, bytes / page_bytes + 32, 2))
		return;
	begin(page_bytes, bytes, DSM_DELIVERY_INLINE);
	if (base)
		move_around(&options, 20);
	end();
}

/* --- when it does not come to it ----------------------------------------------------------------------- */

static void cancel_when_copying(dsm_region *r, const struct dsm_migration_progress *progress, void *unused)
{
	(void)unused;
	if (progress->step == DSM_MIGRATION_COPYING)
		CHECK_EQUAL(dsm_migrate_cancel(r), 0);
}

/* The user goes on at the source and knows nothing of it; after that, the region can be moved. */
static void cancelled_by(int who, bool by_faults)
{
	struct dsm_migration_options options = {.track_by_faults = by_faults}, cancelling = options;
	size_t bytes = 0;

	nodes_case("cancelled by the %s%s", who ? "destination" : "source",
		   by_faults ? ", stores found by faults" : "");
	begin(4 * KIB, 16 * MIB, DSM_DELIVERY_INLINE);
	if (node == who)
		cancelling.on_progress = cancel_when_copying;
	if (node == 0)
		go_on();
	for (int i = 0; i < 3; i++) {
		if (node == 0) {
			int error = dsm_migrate_begin(region, 1, &cancelling);
			while (!error) /* asked for, it comes soon */
				error = dsm_migrate_precopy(region);
			CHECK_EQUAL(error, -ECANCELED);
			CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), -EINVAL);
		} else if (node == 1) {
			CHECK_EQUAL(dsm_migrate_accept(region, 0, &cancelling), 0);
			CHECK_EQUAL(dsm_migrate_await(region, &user, sizeof user, &bytes), -ECANCELED);
		}
		CHECK_EQUAL(dsm_migrate_holder(region), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	if (node == 0)
		move_away(1, &options);
	else if (node == 1)
		take_in(0, &options, 1);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 1) {
		pause_it();
		check_contents();
	}
	end();
}

static void misuse_is_refused(void)
{
	struct dsm_region_options cyclic = {.home = DSM_HOME_CYCLIC, .movable = true};
	struct dsm_region_options sparse = {.home = DSM_HOME_NODE, .movable = true, .sparse = true};
	struct dsm_migration_options unknown = {.mode = (enum dsm_migration_mode)9},
				     post = {.mode = DSM_MIGRATION_POST_COPY};
	struct dsm_migration_progress progress;
	dsm_region *plain, *none = NULL;
	uint64_t value;
	size_t bytes;

	nodes_case("misuse is refused");
	CHECK_EQUAL(dsm_region_create("cyclic", 16 * KIB, &cyclic, &none), -EINVAL);
	CHECK_EQUAL(dsm_region_create("sparse", 16 * KIB, &sparse, &none), -EINVAL);
	CHECK_EQUAL(dsm_region_create("plain", 16 * KIB, NULL, &plain), 0);
	CHECK_EQUAL(dsm_migrate_begin(plain, 1, NULL), -EINVAL);
	CHECK_EQUAL(dsm_migrate_holder(plain), -EINVAL);
	CHECK_EQUAL(dsm_migrate_progress(plain, &progress), -EINVAL);
	CHECK_EQUAL(dsm_region_destroy(plain), 0);
	begin(4 * KIB, 1 * MIB, DSM_DELIVERY_INLINE);
	CHECK_EQUAL(dsm_home((const void *)base), 0);
	CHECK_EQUAL(dsm_prefetch((const void *)base, 4096, true), -EFAULT);
	CHECK_EQUAL(dsm_atomic_load((const uint64_t *)base, &value, DSM_RELAXED), -EFAULT);
	CHECK_EQUAL(dsm_migrate_begin(region, node, NULL), -EINVAL); /* to itself, or not its to move */
	CHECK_EQUAL(dsm_migrate_begin(region, dsm_nodes(), NULL), -EINVAL);
	CHECK_EQUAL(dsm_migrate_begin(region, 1 - node, &unknown), -EINVAL);
	CHECK_EQUAL(dsm_migrate_precopy(region), -EINVAL);
	CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), -EINVAL);
	CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), -EINVAL);
	CHECK_EQUAL(dsm_migrate_finish(region), -EINVAL);
	CHECK_EQUAL(dsm_migrate_cancel(region), -EINVAL);
	CHECK_EQUAL(dsm_migrate_background(region), -EINVAL);
	/* Each side means another way to do it. */
	if (node == 0)
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &post), -EPROTO);
	else if (node == 1)
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), -EPROTO);
	end();
}

static void too_small_a_buffer(void)
{
	size_t bytes = 0;

	nodes_case("a buffer that the state does not fit in");
	begin(4 * KIB, 1 * MIB, DSM_DELIVERY_INLINE);
	if (node == 0) {
		CHECK_EQUAL(dsm_migrate_begin(region, 1, NULL), 0);
		CHECK_EQUAL(dsm_migrate_switch(region, &user, DSM_MIGRATION_STATE_BYTES + 1), -EMSGSIZE);
		CHECK_EQUAL(dsm_migrate_switch(region, &user, sizeof user), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, NULL), 0);
		CHECK_EQUAL(dsm_migrate_await(region, &user, 1, &bytes), -EMSGSIZE);
		CHECK_EQUAL(dsm_migrate_await(region, &user, sizeof user, &bytes), 0);
		CHECK_EQUAL(bytes, sizeof user);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* --- many faults at once ------------------------------------------------------------------------------- */

#define STORMERS 4
static atomic_size_t wrong_in_storm;

static void *touch_all(void *argument)
{
	size_t page_words = dsm_region_page_bytes(region) / sizeof *base, pages = words / page_words,
	       wrong = 0;
	uint64_t random = 1234567 + (uint64_t)(uintptr_t)argument;

	for (size_t i = 0; i < 4 * pages; i++) {
		size_t page = next_random(&random) % pages;
		wrong += base[page * page_words + 7] != page + 1;
	}
	for (size_t page = 0; page < pages; page++)
		wrong += base[page * page_words + 7] != page + 1;
	atomic_fetch_add(&wrong_in_storm, wrong);
	return NULL;
}

/* Threads touch everything at random while the background brings it over. */
static void fault_storm(enum dsm_migration_mode mode, size_t page_bytes, size_t pages,
			enum dsm_delivery delivery)
{
	struct dsm_migration_options options = {.mode = mode};
	pthread_t threads[STORMERS];
	size_t bytes, page_words = page_bytes / sizeof *base;

	nodes_case("a storm of faults, %s, %s, %s", mode_name(mode), nodes_page_name(page_bytes),
		   nodes_delivery_name(delivery));
	if (!nodes_have_pages(page_bytes, pages + 32, 2))
		return;
	begin(page_bytes, pages * page_bytes, delivery);
	if (node == 0) {
		for (size_t page = 0; page < pages; page++)
			base[page * page_words + 7] = page % 3 ? page + 1 : 0;
		CHECK_EQUAL(dsm_migrate_begin(region, 1, &options), 0);
		CHECK_EQUAL(dsm_migrate_precopy(region), 0);
		for (size_t page = 0; page < pages; page += 3)
			base[page * page_words + 7] = page + 1;
		CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
	} else if (node == 1) {
		CHECK_EQUAL(dsm_migrate_accept(region, 0, &options), 0);
		CHECK_EQUAL(dsm_migrate_await(region, NULL, 0, &bytes), 0);
		atomic_store(&wrong_in_storm, 0);
		for (size_t i = 0; i < STORMERS; i++)
			CHECK_EQUAL(pthread_create(&threads[i], NULL, touch_all, (void *)i), 0);
		for (size_t i = 0; i < STORMERS; i++)
			pthread_join(threads[i], NULL);
		CHECK_EQUAL(wrong_in_storm, 0);
		CHECK_EQUAL(dsm_migrate_finish(region), 0);
		tell_progress("moved");
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

/* The page is being read as a whole, since the map had not come, when the map says that nothing is missing.
 * The source must not be let go before the page is there. */
static void touch_as_the_map_arrives(size_t page_bytes, enum dsm_delivery delivery, int times)
{
	size_t wrong = 0;

	nodes_case("touched as the map arrives, %s, %s", nodes_page_name(page_bytes),
		   nodes_delivery_name(delivery));
	if (!nodes_have_pages(page_bytes, 8, 2))
		return;
	begin(page_bytes, page_bytes, delivery);
	for (size_t i = 0; base && node == 0 && i < words; i++)
		base[i] = ~i;
	for (int i = 0, holder = 0; base && i < times; i++, holder = !holder) {
		size_t bytes;
		if (node == holder) {
			CHECK_EQUAL(dsm_migrate_begin(region, !holder, NULL), 0);
			CHECK_EQUAL(dsm_migrate_precopy(region), 0);
			CHECK_EQUAL(dsm_migrate_switch(region, NULL, 0), 0);
			CHECK_EQUAL(dsm_migrate_finish(region), 0);
		} else if (node == !holder) {
			CHECK_EQUAL(dsm_migrate_accept(region, holder, NULL), 0);
			CHECK_EQUAL(dsm_migrate_await(region, &bytes, sizeof bytes, &bytes), 0);
			for (size_t word = 0; word < words; word++)
				wrong += base[word] != ~word;
			CHECK_EQUAL(dsm_migrate_finish(region), 0);
		}
	}
	CHECK_EQUAL(wrong, 0);
	end();
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	every_mode(4 * KIB, 16 * MIB, DSM_DELIVERY_INLINE, false);
	every_mode(4 * KIB, 16 * MIB, DSM_DELIVERY_THREAD_BLOCK, false);
	every_mode(4 * KIB, 16 * MIB, DSM_DELIVERY_INLINE, true);
	every_mode(4 * KIB, 16 * MIB, DSM_DELIVERY_THREAD_BLOCK, true);
	every_mode(2 * MIB, 64 * MIB, DSM_DELIVERY_INLINE, false);
	every_mode(2 * MIB, 64 * MIB, DSM_DELIVERY_THREAD_BLOCK, false);
	every_mode(2 * MIB, 64 * MIB, DSM_DELIVERY_THREAD_BLOCK, true);
	ten_times(4 * KIB, 16 * MIB);
	ten_times(2 * MIB, 64 * MIB);
	for (int i = 0; i < 4; i++)
		cancelled_by(i % 2, i > 1);
	misuse_is_refused();
	too_small_a_buffer();
	for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++) {
		fault_storm(DSM_MIGRATION_MINOR, 4 * KIB, 4096, d);
		fault_storm(DSM_MIGRATION_MINOR, 2 * MIB, 32, d);
		fault_storm(DSM_MIGRATION_POST_COPY, 4 * KIB, 4096, d);
	}
	touch_as_the_map_arrives(4 * KIB, DSM_DELIVERY_INLINE, nodes_rounds(100, 20));
	touch_as_the_map_arrives(2 * MIB, DSM_DELIVERY_INLINE, nodes_rounds(100, 20));
	touch_as_the_map_arrives(2 * MIB, DSM_DELIVERY_THREAD_BLOCK, nodes_rounds(100, 20));
	return nodes_end();
}
