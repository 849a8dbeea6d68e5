/*
 * Memory that moves while it is stored to: the same bytes there, in every mode, there and back, and nothing
 * lost when it does not come to it.
 *
 * The user of the memory stores by a sequence of random numbers, whose state is what moves with it; so what
 * the memory must hold is known by going through the sequence once more.
 */
#include "dsm/tests/nodes.h"

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

/* --- the user ----------------------------------------------------------------------------------------------
 */

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

/* --- moving ------------------------------------------------------------------------------------------------
 */

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

static void move_away(int to, const struct dsm_migration_options *options)
{
	CHECK_EQUAL(dsm_migrate_begin(region, to, options), 0);
	CHECK_EQUAL(dsm_migrate_precopy(region), 0);
	pause_it();
	CHECK_EQUAL(dsm_migrate_switch(region, &user, sizeof user), 0);
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
	return nodes_end();
}
