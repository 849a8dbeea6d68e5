/*
 * Locks whose waiters give up, and come again. A queue that is left in its middle or at its end must go on
 * working: whoever waits long enough gets the lock, nobody gets it twice, and what was done under it is
 * there.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dsm/tests/torture.h"

#define THREADS 3
#define MUTEXES 32
/* MINORCA_TIMEOUT, if nobody says: long enough for a barrier of nodes that arrive together, on few cores. */
#define TIMEOUT_TEXT "0.3"

static struct torture_options options;
static int node, nodes;
static unsigned timeout_us; /* MINORCA_TIMEOUT */

static struct shared {
	dsm_mutex mutex[MUTEXES];
	dsm_rwlock rwlock;
	_Alignas(4096) uint64_t counter[MUTEXES];
	_Alignas(4096) uint64_t first;
	_Alignas(4096) uint64_t second;
} * s;

/* How often this node gave up, and what its threads have counted. */
static _Atomic uint64_t given_up, counted[MUTEXES];

/* They meet outside of the runtime first, whose barrier waits only for so long. */
static void barrier(void)
{
	int error;

	MPI_Barrier(MPI_COMM_WORLD);
	while ((error = dsm_barrier()) == -ETIMEDOUT)
		;
	CHECK_EQUAL(error, 0);
}

/* Takes a mutex, again and again until it is had. */
static void insist(dsm_mutex *mutex)
{
	int error;

	while ((error = dsm_lock(mutex)) == -ETIMEDOUT)
		atomic_fetch_add(&given_up, 1);
	CHECK_EQUAL(error, 0);
}

static void insist_on_rwlock(int (*take)(dsm_rwlock *))
{
	int error;

	while ((error = take(&s->rwlock)) == -ETIMEDOUT)
		atomic_fetch_add(&given_up, 1);
	CHECK_EQUAL(error, 0);
}

/* --- one lock, one waiter of each node -------------------------------------------------------------------
 */

static void wait_for_a_mutex(struct dice *dice)
{
	usleep(dice_throw(dice, timeout_us));
	insist(&s->mutex[0]);
	s->counter[0]++;
	CHECK_EQUAL(dsm_unlock(&s->mutex[0]), 0);
}

/* A holder keeps the lock longer than others wait; they come at random, so that it is now the first, now one
 * in the middle, now the last that gives up. */
static void a_mutex_is_held_too_long(uint64_t round, struct dice *dice)
{
	bool holds = round % (uint64_t)nodes == (uint64_t)node;

	if (holds)
		insist(&s->mutex[0]);
	barrier();
	if (holds) {
		usleep(timeout_us * 3 / 4 + dice_throw(dice, timeout_us));
		s->counter[0]++;
		CHECK_EQUAL(dsm_unlock(&s->mutex[0]), 0);
	} else {
		wait_for_a_mutex(dice);
	}
	barrier();
	CHECK_EQUAL(s->counter[0], round * (uint64_t)nodes);
	barrier();
}

static void read_or_write(struct dice *dice, bool write)
{
	if (write) {
		insist_on_rwlock(dsm_write_lock);
		CHECK_EQUAL(s->first, s->second);
		s->first++;
		usleep(dice_throw(dice, 100));
		s->second++;
		atomic_fetch_add(&counted[0], 1);
		CHECK_EQUAL(dsm_write_unlock(&s->rwlock), 0);
	} else {
		insist_on_rwlock(dsm_read_lock);
		CHECK_EQUAL(s->first, s->second);
		CHECK_EQUAL(dsm_read_unlock(&s->rwlock), 0);
	}
}

static uint64_t sum_of_nodes(uint64_t mine)
{
	MPI_Allreduce(MPI_IN_PLACE, &mine, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
	return mine;
}

/* The same with readers and writers, of which the holder may be either. */
static void a_rwlock_is_held_too_long(uint64_t round, struct dice *dice)
{
	bool holds = round % (uint64_t)nodes == (uint64_t)node, holds_to_write = round % 2;

	if (holds)
		insist_on_rwlock(holds_to_write ? dsm_write_lock : dsm_read_lock);
	barrier();
	if (holds) {
		usleep(timeout_us * 3 / 4 + dice_throw(dice, timeout_us));
		CHECK_EQUAL(holds_to_write ? dsm_write_unlock(&s->rwlock) : dsm_read_unlock(&s->rwlock), 0);
	} else {
		usleep(dice_throw(dice, timeout_us));
		for (int i = 0; i < 3; i++)
			read_or_write(dice, dice_throw(dice, 2));
	}
	barrier();
	uint64_t all = sum_of_nodes(counted[0]);
	CHECK_EQUAL(s->first, all);
	CHECK_EQUAL(s->second, all);
	barrier();
}

static void rounds_of(void (*round)(uint64_t, struct dice *))
{
	struct dice dice = dice_of(options.seed, (uint64_t)node, 3);
	double end = torture_now() + options.seconds / 4;
	uint64_t number = 0;

	do
		round(++number, &dice);
	while (torture_goes_on(end));
	uint64_t all = sum_of_nodes(given_up);
	if (!node)
		printf("# %llu rounds, %llu waits given up\n", (unsigned long long)number,
		       (unsigned long long)all);
	/* Else it tested nothing: but a few rounds may pass without. */
	CHECK(all > 0 || number < 8);
}

/* --- many locks, many threads ----------------------------------------------------------------------------
 */

static double hammer_until;
static bool hold_for_long;

static void hold(struct dice *dice)
{
	if (hold_for_long && !dice_throw(dice, 3000))
		usleep(timeout_us * 3 / 2);
	else if (!dice_throw(dice, 16))
		usleep(dice_throw(dice, 60));
}

static void *hammer(void *argument)
{
	struct dice dice = dice_of(options.seed, (uint64_t)node, 10 + (uint64_t)(uintptr_t)argument);

	while (torture_now() < hammer_until) {
		/* Some are wanted by many. */
		unsigned i = dice_throw(&dice, dice_throw(&dice, 2) ? 3 : MUTEXES);
		if (dice_throw(&dice, 3)) {
			insist(&s->mutex[i]);
		} else {
			int error = dsm_trylock(&s->mutex[i]);
			if (error == -EBUSY)
				continue;
			CHECK_EQUAL(error, 0);
		}
		s->counter[i]++;
		atomic_fetch_add(&counted[i], 1);
		hold(&dice);
		CHECK_EQUAL(dsm_unlock(&s->mutex[i]), 0);
	}
	return NULL;
}

static void threads_hammer(bool for_long)
{
	pthread_t threads[THREADS];
	uint64_t total = 0;

	hold_for_long = for_long;
	hammer_until = torture_now() + options.seconds / 4;
	for (size_t i = 0; i < THREADS; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, hammer, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	barrier();
	for (unsigned i = 0; i < MUTEXES; i++) {
		uint64_t all = sum_of_nodes(counted[i]);
		CHECK_EQUAL(s->counter[i], all);
		total += all;
		if (node)
			continue;
		CHECK_EQUAL(dsm_trylock(&s->mutex[i]), 0); /* it is free */
		CHECK_EQUAL(dsm_unlock(&s->mutex[i]), 0);
	}
	uint64_t waits = sum_of_nodes(given_up);
	CHECK(total > 0);
	if (!node)
		printf("# %llu times locked, %llu waits given up\n", (unsigned long long)total,
		       (unsigned long long)waits);
	barrier();
}

static void case_of_locks(const char *name, int home, void (*body)(void))
{
	struct dsm_region_options how = {.home = DSM_HOME_NODE, .home_node = home, .page_size_bytes = 4096};
	dsm_region *r;

	nodes_case("%s", name);
	if (!torture_wanted(&options, name) ||
	    !CHECK_EQUAL(dsm_region_create("locks", sizeof *s, &how, &r), 0))
		return;
	s = dsm_region_base(r);
	atomic_store(&given_up, 0);
	for (unsigned i = 0; i < MUTEXES; i++)
		atomic_store(&counted[i], 0);
	body();
	MPI_Barrier(MPI_COMM_WORLD);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

static void mutex_rounds(void)
{
	rounds_of(a_mutex_is_held_too_long);
}

static void rwlock_rounds(void)
{
	rounds_of(a_rwlock_is_held_too_long);
}

static void short_hammering(void)
{
	threads_hammer(false);
}

static void long_hammering(void)
{
	threads_hammer(true);
}

int main(int argc, char **argv)
{
	const char *timeout_text;

	options = torture_options(argc, argv, 32);
	setenv("MINORCA_TIMEOUT", TIMEOUT_TEXT, 0);
	timeout_text = getenv("MINORCA_TIMEOUT");
	timeout_us = (unsigned)(atof(timeout_text ? timeout_text : TIMEOUT_TEXT) * 1e6);
	/* Starting processes may take longer. */
	MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &(int){0});
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	if (!node)
		torture_print(&options);
	case_of_locks("waiters of a mutex give up and come again", 0, mutex_rounds);
	case_of_locks("waiters of a read-write lock give up and come again", nodes - 1, rwlock_rounds);
	case_of_locks("many threads want many mutexes", 0, short_hammering);
	case_of_locks("many threads want many mutexes, and some are held for long", nodes - 1,
		      long_hammering);
	int status = nodes_end();
	MPI_Finalize();
	return status;
}
