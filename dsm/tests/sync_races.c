/*
 * Locks under stress, and single races of the protocol that once were, or might be, lost. What each lock
 * promises by itself is in sync.c, how they order memory in litmus.c.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsm/tests/torture.h"
#include "kernel/memory.h"

#define THREADS 3

static int node, nodes;
static struct torture_options options;

static volatile unsigned char *make(size_t page_bytes, size_t bytes, int home, dsm_region **r)
{
	struct dsm_region_options how = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .home_node = home};

	if (!CHECK_EQUAL(dsm_region_create("sync_races", bytes, &how, r), 0))
		return NULL;
	return dsm_region_base(*r);
}

static void barrier(void)
{
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Tells the nodes where the others are, and orders no memory. */
static void barrier_beside(void)
{
	MPI_Barrier(MPI_COMM_WORLD);
}

/* --- a store of what was there before --------------------------------------------------------------------
 */

/*
 * The home has a page of many blocks in use, with a twin: it has stored to one block and not released.
 * Another node changes a byte of another block, and the home, in its turn, changes it back. Then the byte
 * equals the home's twin; but the other node has to hear of it.
 */
static void a_byte_is_changed_back_at_home(size_t page_bytes, int home)
{
	dsm_region *r, *locks;
	volatile unsigned char *base = make(page_bytes, page_bytes, home, &r);
	dsm_mutex *mutex = (dsm_mutex *)make(4096, 4096, home, &locks);
	volatile unsigned char *byte = base + page_bytes / 2;
	int other = (home + 1) % nodes;

	for (int round = 0; base && mutex && round < 20; round++) {
		if (node == home)
			base[0]++; /* a twin, now, of a page in which *byte is 0 */
		barrier_beside();
		if (node == other) {
			CHECK_EQUAL(dsm_lock(mutex), 0);
			CHECK_EQUAL(*byte, 0);
			*byte = 1;
			CHECK_EQUAL(dsm_unlock(mutex), 0);
		}
		barrier_beside();
		if (node == home) {
			CHECK_EQUAL(dsm_lock(mutex), 0);
			CHECK_EQUAL(*byte, 1);
			*byte = 0;
			CHECK_EQUAL(dsm_unlock(mutex), 0);
		}
		barrier_beside();
		CHECK_EQUAL(dsm_lock(mutex), 0);
		CHECK_EQUAL(*byte, 0);
		CHECK_EQUAL(dsm_unlock(mutex), 0);
		barrier();
	}
	if (base)
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	if (mutex)
		CHECK_EQUAL(dsm_region_destroy(locks), 0);
}

/*
 * The home's stores are in the master copy at once. Another node fetches the page for a neighbour's sake, and
 * gets a value that the home takes back before it releases: what was there when the interval began is there
 * again, but the other node has to hear of it.
 */
static void a_value_is_taken_back_at_home(size_t page_bytes, int home)
{
	dsm_region *r;
	volatile unsigned char *base = make(page_bytes, page_bytes, home, &r);
	volatile unsigned char *byte = base + page_bytes / 2;
	unsigned sum = 0;

	for (int round = 0; base && round < 20; round++) {
		if (node == home) {
			byte[1]++; /* has been published: zero would not be fetched */
			CHECK_EQUAL(dsm_release(), 0);
			*byte = 1;
		}
		barrier_beside();
		if (node != home) {
			CHECK_EQUAL(dsm_acquire(), 0);
			sum += byte[1]; /* in the same block; nobody stores to it now */
		}
		barrier_beside();
		if (node == home) {
			*byte = 0;
			CHECK_EQUAL(dsm_release(), 0);
		}
		barrier_beside();
		CHECK_EQUAL(dsm_acquire(), 0);
		CHECK_EQUAL(*byte, 0);
		barrier();
	}
	CHECK(node == home || sum > 0);
	if (base)
		CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- a page that one node stores to in interval after interval -------------------------------------------
 */

/* Pages become hot, more of them than twins are kept when MINORCA_KEPT_TWINS_MIB is small. */
static void pages_are_stored_to_again_and_again(void)
{
	size_t pages = 600;
	dsm_region *r;
	volatile unsigned char *base = make(4096, pages * 4096, 0, &r);

	for (unsigned k = 1; base && k <= 12; k++) {
		if (node == nodes - 1)
			for (size_t p = 0; p < pages; p++)
				base[p * 4096 + p % 4096] = (unsigned char)k;
		barrier();
		size_t wrong = 0;
		for (size_t p = 0; p < pages; p++)
			wrong += base[p * 4096 + p % 4096] != k;
		CHECK_EQUAL(wrong, 0);
		barrier();
	}
	if (base)
		CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- a release beside another thread's -------------------------------------------------------------------
 */

/*
 * Two threads of a node store to one page, which is hot, and release, both at the same time. A release that
 * finds the other thread's pass on its way must not take it for its own: the pass may have looked at the page
 * before this thread stored to it. After each step nobody publishes anything until the home has looked.
 */
struct steps {
	_Atomic uint64_t begun, released[2], looked, stop;
};

struct releaser {
	struct steps *steps;
	unsigned number;
	volatile uint64_t *word;
	struct dice dice;
};

/* Spins, then sleeps: there may be fewer cores than threads. */
static void await_number(_Atomic uint64_t *number, uint64_t value)
{
	for (unsigned turns = 0; atomic_load(number) < value; turns++)
		if (turns > 3000)
			usleep(20);
}

static void store_and_release(struct releaser *r, uint64_t k)
{
	for (unsigned i = dice_throw(&r->dice, 60); i; i--)
		__builtin_ia32_pause();
	*r->word = k;
	CHECK_EQUAL(dsm_release(), 0);
	torture_tell(&r->steps->released[r->number], k);
}

static void *release_beside(void *argument)
{
	struct releaser *r = argument;

	for (uint64_t k = 1;; k++) {
		await_number(&r->steps->begun, k);
		if (atomic_load(&r->steps->stop))
			return NULL;
		store_and_release(r, k);
	}
}

static uint64_t take_steps(struct steps *steps, volatile uint64_t *words)
{
	struct releaser first = {steps, 0, words, dice_of(options.seed, 1, 0)},
			second = {steps, 1, words + 8, dice_of(options.seed, 2, 0)};
	double end = torture_now() + options.seconds / 4;
	pthread_t thread;
	uint64_t k = 0;

	CHECK_EQUAL(pthread_create(&thread, NULL, release_beside, &second), 0);
	while (torture_now() < end) {
		torture_tell(&steps->begun, ++k);
		store_and_release(&first, k);
		await_number(&steps->looked, k);
	}
	torture_tell(&steps->stop, 1);
	torture_tell(&steps->begun, k + 1);
	pthread_join(thread, NULL);
	return k;
}

static void look_at_steps(struct steps *steps, const volatile uint64_t *words)
{
	uint64_t missing = 0;

	for (uint64_t k = 1;; k++) {
		await_number(&steps->released[0], k);
		await_number(&steps->released[1], k);
		if (atomic_load(&steps->stop))
			break;
		CHECK_EQUAL(dsm_acquire(), 0);
		missing += (words[0] != k) + (words[8] != k);
		torture_tell(&steps->looked, k);
	}
	CHECK_EQUAL(missing, 0);
}

/* The steps are told beside the runtime. */
static void releases_beside_each_other(void)
{
	dsm_region *r;
	volatile uint64_t *words = (volatile uint64_t *)(volatile void *)make(4096, 4096, 0, &r);

	if (!words)
		return;
	struct steps *steps = torture_share(sizeof *steps);
	barrier();
	if (node == 0) {
		look_at_steps(steps, words);
	} else if (node == 1) {
		uint64_t taken = take_steps(steps, words);
		CHECK(taken > 0);
		printf("# %llu steps\n", (unsigned long long)taken);
		torture_tell(&steps->released[0], UINT64_MAX);
		torture_tell(&steps->released[1], UINT64_MAX);
	}
	barrier();
	torture_unshare();
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

int main(int argc, char **argv)
{
	options = torture_options(argc, argv, 20);
	torture_start_mpi(&argc, &argv);
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	if (!node)
		torture_print(&options);
	for (int home = 0; home < 2; home++) {
		nodes_case("a byte is changed back at home %d, 4 KiB", home);
		a_byte_is_changed_back_at_home(4096, home);
		nodes_case("a byte is changed back at home %d, 2 MiB", home);
		if (nodes_have_pages(2 * MIB, 1, (unsigned)nodes))
			a_byte_is_changed_back_at_home(2 * MIB, home);
		nodes_case("a value is taken back at home %d, 4 KiB", home);
		a_value_is_taken_back_at_home(4096, home);
		nodes_case("a value is taken back at home %d, 2 MiB", home);
		if (nodes_have_pages(2 * MIB, 1, (unsigned)nodes))
			a_value_is_taken_back_at_home(2 * MIB, home);
	}
	nodes_case("pages are stored to again and again");
	pages_are_stored_to_again_and_again();
	nodes_case("releases of two threads at the same time");
	releases_beside_each_other();
	int status = nodes_end();
	MPI_Finalize();
	return status;
}
