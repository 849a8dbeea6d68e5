/*
 * The logic of locks, by itself: many threads of one node over a real transport, without regions, faults or
 * MPI, so that the thread sanitizer sees all of it. What the lock protects are plain variables: if it did not
 * order them, that would be a data race.
 */
#include "dsm/test_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "dsm/bootstrap.h"
#include "dsm/consistency.h"
#include "dsm/heap.h"
#include "dsm/lane.h"
#include "dsm/lock.h"
#include "dsm/lock_table.h"
#include "dsm/node_segment.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/runtime.h"

#define THREADS 6
#define ROUNDS 4000
#define LOCKS 3

/* --- what a node has around locks, for a job of one -------------------------------------------------------
 */

struct runtime runtime;

int bootstrap_agree(const char *what, int status, const char *message)
{
	(void)what, (void)message;
	return status;
}

int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes)
{
	(void)what;
	memcpy(all, mine, bytes);
	return 0;
}

static int publish_passes; /* by whoever has lock 0 */

int consistency_release(const char *what)
{
	(void)what;
	return 0;
}

int consistency_acquire(const char *what)
{
	(void)what;
	return 0;
}

/* Not reached: the tests say where their words are. */
int region_find_range(const void *address, size_t bytes, struct dsm_region **region, size_t *first,
		      size_t *count)
{
	(void)address, (void)bytes, (void)region, (void)first, (void)count;
	return -EFAULT;
}

int heap_note_atomics(const void *address)
{
	(void)address;
	return -EFAULT;
}

bool populate_is_needed(const struct dsm_region *r, size_t page)
{
	(void)r, (void)page;
	return false;
}

int populate_home_at(const void *address)
{
	(void)address;
	return -EFAULT;
}

int dsm_atomic_load(const uint64_t *word, uint64_t *value, enum dsm_order order)
{
	(void)word, (void)value, (void)order;
	return -EFAULT;
}

int dsm_event_await(const dsm_event *event, uint64_t value)
{
	(void)event, (void)value;
	return -EFAULT;
}

int dsm_event_advance(dsm_event *event, uint64_t by)
{
	(void)event, (void)by;
	return -EFAULT;
}

static struct node_segment words;

static int set_up(void **state)
{
	struct transport_address address;

	(void)state;
	runtime.nodes = 1;
	runtime.settings.timeout_ns = 30000000000u;
	runtime.ops = &transport_shm;
	if (lanes_create(8))
		return -1;
	struct transport_config config = {.nodes = 1,
					  .lanes = lanes_count(),
					  .scratch_bytes = LANE_SCRATCH_BYTES,
					  .scratch = lanes_scratch(),
					  .timeout_ns = runtime.settings.timeout_ns};
	if (runtime.ops->open(&config, &runtime.transport, &address) || lock_queue_create() ||
	    lock_queue_connect() || node_segment_create(&words, "words", 4096))
		return -1;
	return node_segment_connect(&words, SEGMENT_CONTROL, PEERS_READ | PEERS_WRITE | PEERS_ATOMIC);
}

static int tear_down(void **state)
{
	(void)state;
	runtime.ops->close(runtime.transport);
	lock_queue_destroy();
	node_segment_destroy(&words);
	lanes_destroy();
	return 0;
}

/* --- locks and what they protect
 * ---------------------------------------------------------------------------- */

static char names[LOCKS]; /* their addresses are the locks' */
static struct {
	_Alignas(64) uint64_t count;
	bool held;
} protected[LOCKS];

static struct word tail_of(size_t lock)
{
	return (struct word){0, SEGMENT_CONTROL, lock * 64};
}

static void in_the_lock(size_t lock)
{
	assert_false(protected[lock].held);
	protected[lock].held = true;
	protected[lock].count++;
	protected[lock].held = false;
}

static void run(void *(*body)(void *))
{
	pthread_t threads[THREADS];

	memset(protected, 0, sizeof protected);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(lock_table_count(names, sizeof names), 0);
}

static void *take_and_give(void *argument)
{
	unsigned seed = (unsigned)(size_t)argument;

	for (int i = 0; i < ROUNDS; i++) {
		size_t lock = (size_t)rand_r(&seed) % LOCKS;
		struct word tail = tail_of(lock);
		assert_int_equal(lock_take(&names[lock], &tail, "test"), 0);
		assert_true(lock_is_mine(&names[lock]));
		in_the_lock(lock);
		assert_int_equal(lock_give(&names[lock], "test", true), 0);
		assert_false(lock_is_mine(&names[lock]));
	}
	return NULL;
}

static void threads_exclude_each_other(void **state)
{
	uint64_t sum = 0;

	(void)state;
	run(take_and_give);
	for (size_t lock = 0; lock < LOCKS; lock++)
		sum += protected[lock].count;
	assert_int_equal(sum, THREADS * ROUNDS);
}

static void *try_and_give(void *unused)
{
	struct word tail = tail_of(0);

	for (int i = 0; i < ROUNDS; i++) {
		int error = lock_try(&names[0], &tail);
		if (error) {
			assert_int_equal(error, -EBUSY);
			continue;
		}
		in_the_lock(0);
		publish_passes++;
		assert_int_equal(lock_give(&names[0], "test", false), 0);
	}
	return unused;
}

static void who_tries_gets_it_or_is_told(void **state)
{
	(void)state;
	run(try_and_give);
	assert_int_equal(protected[0].count, publish_passes);
	assert_true(publish_passes > 0);
}

/* Half of the threads give up before their turn comes, again and again. */
static void *wait_or_give_up(void *argument)
{
	struct word tail = tail_of(0);
	uint64_t *late = argument;

	for (int i = 0; i < 30; i++) {
		int error = lock_take(&names[0], &tail, "test");
		if (error) {
			assert_int_equal(error, -ETIMEDOUT);
			++*late;
			continue;
		}
		in_the_lock(0);
		nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
		assert_int_equal(lock_give(&names[0], "test", false), 0);
	}
	return NULL;
}

static void who_gives_up_is_passed_over(void **state)
{
	pthread_t threads[THREADS];
	uint64_t late[THREADS * 8] = {0}, sum = 0; /* a line for each */

	(void)state;
	memset(protected, 0, sizeof protected);
	runtime.settings.timeout_ns = 4000000;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_or_give_up, &late[i * 8]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += late[i * 8];
	}
	runtime.settings.timeout_ns = 30000000000u;
	assert_int_equal(sum + protected[0].count, THREADS * 30);
	assert_true(sum > 0);
	struct word tail = tail_of(0);
	assert_int_equal(lock_try(&names[0], &tail), 0); /* it is free, and works */
	assert_int_equal(lock_give(&names[0], "test", false), 0);
}

/* --- the queue of nodes, of which each thread plays one
 * ----------------------------------------------------- */

static void *queue_and_leave(void *unused)
{
	struct word tail = tail_of(1);
	struct lock_place place;

	for (int i = 0; i < ROUNDS / 4; i++) {
		assert_int_equal(lock_queue_enter(&tail, "test", &place), 0);
		in_the_lock(1);
		assert_int_equal(lock_queue_leave(&tail, "test", &place), 0);
		while (lock_queue_try(&tail, &place) == -EBUSY)
			;
		in_the_lock(1);
		assert_int_equal(lock_queue_leave(&tail, "test", &place), 0);
	}
	return unused;
}

static void places_take_turns(void **state)
{
	(void)state;
	run(queue_and_leave);
	assert_int_equal(protected[1].count, 2 * THREADS * (ROUNDS / 4));
}

/* Waiters leave at the front, in the middle and at the end of the queue, while it moves. */
static void *queue_or_give_up(void *argument)
{
	struct word tail = tail_of(2);
	struct lock_place place;
	uint64_t *late = argument;
	unsigned seed = (unsigned)(size_t)argument;

	for (int i = 0; i < 300; i++) {
		int error = lock_queue_enter(&tail, "test", &place);
		if (error) {
			assert_int_equal(error, -ETIMEDOUT);
			++*late;
			continue;
		}
		in_the_lock(2);
		nanosleep(&(struct timespec){.tv_nsec = rand_r(&seed) % 300000}, NULL);
		assert_int_equal(lock_queue_leave(&tail, "test", &place), 0);
	}
	return NULL;
}

static void a_queue_survives_those_who_leave_it(void **state)
{
	pthread_t threads[THREADS];
	uint64_t late[THREADS * 8] = {0}, sum = 0;
	struct word tail = tail_of(2);
	struct lock_place place;

	(void)state;
	memset(protected, 0, sizeof protected);
	runtime.settings.timeout_ns = 500000;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, queue_or_give_up, &late[i * 8]), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += late[i * 8];
	}
	runtime.settings.timeout_ns = 30000000000u;
	assert_int_equal(sum + protected[2].count, THREADS * 300);
	assert_true(sum > 0);
	assert_int_equal(lock_queue_try(&tail, &place), 0); /* nobody is in it */
	assert_int_equal(lock_queue_leave(&tail, "test", &place), 0);
	/* All places can be had: those that were given up have been passed. */
	struct lock_place *all = calloc(LOCK_PLACES, sizeof *all);
	for (size_t i = 0; i < LOCK_PLACES; i++) {
		struct word own = {0, SEGMENT_CONTROL, 512 + i % 400 * 8};
		assert_int_equal(lock_queue_try(&own, &all[i]), i < 400 ? 0 : -EBUSY);
	}
	for (size_t i = 0; i < 400; i++) {
		struct word own = {0, SEGMENT_CONTROL, 512 + i * 8};
		assert_int_equal(lock_queue_leave(&own, "test", &all[i]), 0);
	}
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(threads_exclude_each_other),
	    cmocka_unit_test(who_tries_gets_it_or_is_told),
	    cmocka_unit_test(who_gives_up_is_passed_over),
	    cmocka_unit_test(places_take_turns),
	    cmocka_unit_test(a_queue_survives_those_who_leave_it),
	};

	return cmocka_run_group_tests_name("lock", tests, set_up, tear_down);
}
