/*
 * Races and disturbances that once went wrong, each provoked for a while.
 */
#include "dsm/tests/nodes.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "kernel/memory.h"

static int node;

static volatile unsigned char *make(size_t page_bytes, size_t pages, dsm_region **r)
{
	struct dsm_region_options options = {.page_size_bytes = page_bytes, .home = DSM_HOME_NODE};

	if (!CHECK_EQUAL(dsm_region_create("races", pages * page_bytes, &options, r), 0))
		return NULL;
	return dsm_region_base(*r);
}

static void barrier(void)
{
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* --- a page fetched while a barrier passes -------------------------------------------------------------- */

#define PAGES 256
#define ROUNDS 400

struct toucher {
	volatile unsigned char *base;
	bool by_prefetch;
	atomic_int go, stop;
	unsigned sum;
};

static void busy_wait_ns(long ns)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec < ns);
}

/* Touches bytes that nobody stores to, at a random moment around the barrier: no data race. */
static void *touch(void *argument)
{
	struct toucher *t = argument;
	unsigned seed = 7;

	for (int last = 0; !atomic_load(&t->stop);) {
		int go = atomic_load(&t->go);
		if (go == last)
			continue;
		last = go;
		busy_wait_ns(rand_r(&seed) % 150000);
		if (t->by_prefetch)
			dsm_prefetch((const void *)t->base, PAGES * 4096, false);
		else
			for (size_t p = 0; p < PAGES; p++)
				t->sum += t->base[p * 4096];
	}
	return NULL;
}

static void store_everywhere(volatile unsigned char *base, int value)
{
	for (size_t p = 0; p < PAGES; p++)
		*(volatile int *)(volatile void *)(base + p * 4096 + 64) = value;
}

static void touched_while_a_barrier_passes(bool by_prefetch)
{
	dsm_region *r;
	struct toucher t = {.base = make(4096, PAGES, &r), .by_prefetch = by_prefetch};
	const bool touches = node == 1;
	pthread_t thread;

	if (!t.base)
		return;
	if (touches)
		CHECK_EQUAL(pthread_create(&thread, NULL, touch, &t), 0);
	for (int k = 1; k <= nodes_rounds(ROUNDS, 4); k++) {
		if (node == 0)
			store_everywhere(t.base, 2 * k);
		barrier();
		if (node == 0)
			store_everywhere(t.base, 2 * k + 1);
		atomic_store(&t.go, k);
		barrier();
		if (node == 1)
			for (size_t p = 0; p < PAGES; p++)
				CHECK_EQUAL(*(volatile int *)(volatile void *)(t.base + p * 4096 + 64),
					    2 * k + 1);
		barrier();
	}
	atomic_store(&t.stop, 1);
	if (touches)
		pthread_join(thread, NULL);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- regions that come and go under other threads --------------------------------------------------------
 */

#define ASKERS_MAX 4

struct asker {
	const void *address;
	atomic_int stop;
	uint64_t wrong;
};

static void *ask(void *argument)
{
	struct asker *a = argument;

	while (!atomic_load(&a->stop))
		a->wrong += dsm_home(a->address) != 0;
	return NULL;
}

static void lookups_while_regions_come_and_go(void)
{
	dsm_region *r;
	struct asker asker = {.address = (const void *)make(4096, 1, &r)};
	pthread_t threads[ASKERS_MAX];
	/* They never sleep: where many share few cores, all that happens is that collective calls wait for a
	 * turn. */
	const int askers = dsm_nodes() > 2 ? 1 : ASKERS_MAX;

	if (!asker.address)
		return;
	for (int i = 0; i < askers; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, ask, &asker), 0);
	for (int i = 0; i < nodes_rounds(30, 4); i++) {
		dsm_region *passing;
		if (make(4096, 4, &passing))
			CHECK_EQUAL(dsm_region_destroy(passing), 0);
	}
	atomic_store(&asker.stop, 1);
	for (int i = 0; i < askers; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQUAL(asker.wrong, 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- disturbances ----------------------------------------------------------------------------------------
 */

/* mlockall() maps pages before they are registered, if it is let. */
static void locked_memory(void)
{
	dsm_region *r;

	bool locked = !mlockall(MCL_FUTURE | MCL_ONFAULT) || !mlockall(MCL_FUTURE);
	volatile unsigned char *base = make(4096, 16, &r);
	munlockall();
	if (!base)
		return;
	if (locked)
		mlock((const void *)base,
		      4096); /* whatever it answers: the mapping may count as locked now */
	for (unsigned char k = 1; k < 5; k++) {
		base[node < 2 ? (size_t)node * 100 : 300] = k;
		barrier();
		CHECK_EQUAL(base[0], k);
		CHECK_EQUAL(base[100], k);
		barrier();
	}
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

static void ignore(int signal)
{
	(void)signal;
}

static void a_timer_goes_off_all_the_time(void)
{
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART: system calls are interrupted */
	size_t page_bytes = 2 * MIB, pages = 64;
	dsm_region *r;

	/* Where it is pinned, each node has all of it; all nodes may be on one machine. */
	if (!nodes_have_pages(page_bytes, pages + 8, nodes_memory_is_pinned() ? (unsigned)dsm_nodes() : 1))
		return;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	volatile unsigned char *base = make(page_bytes, pages, &r);
	for (unsigned char k = 1; base && k < 10; k++) {
		if (node == 0)
			base[k * page_bytes] = k;
		barrier();
		CHECK_EQUAL(base[page_bytes], 1);
		barrier();
		CHECK_EQUAL(dsm_invalidate((const void *)base, page_bytes * 2), 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	if (base)
		CHECK_EQUAL(dsm_region_destroy(r), 0);
}

struct victim {
	volatile unsigned char *base;
	size_t page_bytes, pages;
	unsigned sum;
};

static void *load_until_cancelled(void *argument)
{
	struct victim *v = argument;

	for (;;) {
		for (size_t p = 0; p < v->pages; p++)
			v->sum += v->base[p * v->page_bytes];
		pthread_testcancel(); /* the only place */
	}
	return NULL;
}

/* A thread that is cancelled while it waits for a page leaves no lock behind: the others go on. */
static void threads_are_cancelled(void)
{
	dsm_region *r;
	struct victim v = {.page_bytes = 4096, .pages = 512, .base = make(4096, 512, &r)};

	if (!v.base)
		return;
	if (node == 0)
		for (size_t p = 0; p < v.pages; p++)
			v.base[p * v.page_bytes] = 1;
	barrier();
	for (int i = 0; i < nodes_rounds(60, 4) && node == 1; i++) {
		pthread_t threads[3];
		for (int t = 0; t < 3; t++)
			CHECK_EQUAL(pthread_create(&threads[t], NULL, load_until_cancelled, &v), 0);
		for (int k = 0; k < 5; k++)
			CHECK_EQUAL(dsm_invalidate((const void *)v.base, v.pages * v.page_bytes), 0);
		for (int t = 0; t < 3; t++)
			pthread_cancel(threads[t]);
		CHECK_EQUAL(dsm_invalidate((const void *)v.base, v.pages * v.page_bytes), 0);
		for (int t = 0; t < 3; t++)
			pthread_join(threads[t], NULL);
	}
	barrier();
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* As many pages as the pool has are prefetched, and the call says that it was too few. */
static void prefetch_with_a_pool_that_runs_out(void)
{
	size_t page_bytes = 2 * MIB, pages = 8, left = 3;
	struct hugepage_pool pool;
	dsm_region *r;

	if (nodes_skip_if_pinned() || !nodes_have_pages(page_bytes, 2 * pages, 1))
		return;
	volatile unsigned char *base = make(page_bytes, pages, &r);
	if (!base)
		return;
	if (node == 0)
		for (size_t p = 0; p < pages; p++)
			base[p * page_bytes] = 1;
	barrier();
	if (node == 1 && !hugepage_pool_read(page_bytes, &pool)) {
		/* A mapping reserves what it may need: nobody else gets it, and nothing needs to be zeroed.
		 */
		size_t taken = (pool.free - pool.reserved - left) * page_bytes;
		int hog = memory_file_create("hog", taken, page_bytes);
		void *reserved = mmap(NULL, taken, PROT_READ | PROT_WRITE, MAP_SHARED, hog, 0);
		struct dsm_stats before = nodes_stats();
		CHECK(reserved != MAP_FAILED);
		CHECK_EQUAL(-dsm_prefetch((const void *)base, pages * page_bytes, false), 28 /* ENOSPC */);
		CHECK_EQUAL(nodes_stats_since(&before).pages_prefetched, left);
		for (size_t p = 0; p < left; p++)
			CHECK_EQUAL(base[p * page_bytes], 1);
		CHECK_EQUAL(nodes_stats_since(&before).faults, 0);
		munmap(reserved, taken);
		close(hog);
		CHECK_EQUAL(dsm_prefetch((const void *)base, pages * page_bytes, false), 0);
	}
	barrier();
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes_case("a page prefetched while a barrier passes is not stale after it");
	touched_while_a_barrier_passes(true);
	nodes_case("a page loaded while a barrier passes is not stale after it");
	touched_while_a_barrier_passes(false);
	nodes_case("regions come and go while threads look others up");
	lookups_while_regions_come_and_go();
	nodes_case("mlockall() before, and mlock() after a region is made");
	locked_memory();
	nodes_case("a timer goes off all the time");
	a_timer_goes_off_all_the_time();
	nodes_case("threads are cancelled while they wait for pages");
	threads_are_cancelled();
	nodes_case("prefetch with a pool that runs out");
	prefetch_with_a_pool_that_runs_out();
	return nodes_end();
}
