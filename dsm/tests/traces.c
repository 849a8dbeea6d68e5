/*
 * Traces of faults: each fault is there, once, with its moments in order; what there was no room for is
 * counted; tracing begins and ends while threads fault. With --file: what MINORCA_TRACE writes.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)512)
#define NAME "tra,\"ced" /* as it may be */

static int node;
static dsm_region *region;
static volatile unsigned char *base;

static void barrier(void)
{
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Pages of node 0, which it has changed. */
static void make(enum dsm_delivery delivery)
{
	const struct dsm_region_options options = {
	    .home = DSM_HOME_NODE, .delivery = delivery, .readahead = DSM_READAHEAD_OFF};

	CHECK_EQUAL(dsm_region_create(NAME, PAGES * PAGE, &options, &region), 0);
	base = dsm_region_base(region);
	for (size_t page = 0; page < PAGES && node == 0; page++)
		base[page * PAGE] = 1;
	barrier();
}

static void drop(void)
{
	barrier();
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

/* The moments that came are in their order, from the first to the last. */
static bool is_in_order(const struct dsm_fault_trace *fault)
{
	uint64_t last = 0;

	if (!fault->at[DSM_MOMENT_ENTERED] || !fault->at[DSM_MOMENT_MAPPED] || !fault->at[DSM_MOMENT_LEFT])
		return false;
	for (unsigned i = 0; i < DSM_MOMENTS; i++) {
		if (fault->at[i] && fault->at[i] < last)
			return false;
		last = fault->at[i] ? fault->at[i] : last;
	}
	return true;
}

/* Even pages are loaded from, of which every fourth is stored to then; odd ones are stored to. */
static size_t touch_all(void)
{
	size_t faults = 0;

	for (size_t page = 0; page < PAGES; page++) {
		faults++;
		if (page % 2)
			base[page * PAGE + 1] = 2;
		else
			CHECK_EQUAL(base[page * PAGE], 1);
		if (page % 4 == 0) {
			base[page * PAGE + 1] = 2;
			faults++;
		}
	}
	return faults;
}

static enum dsm_fault_kind expected_kind(size_t page, unsigned nth)
{
	return page % 2 ? DSM_FAULT_WRITE : nth ? DSM_FAULT_UPGRADE : DSM_FAULT_READ;
}

static void check_fault(const struct dsm_fault_trace *fault, unsigned *seen)
{
	size_t page = (size_t)fault->page_index;

	CHECK(is_in_order(fault));
	CHECK(page < PAGES);
	if (page >= PAGES)
		return;
	CHECK_EQUAL((uintptr_t)fault->page, (uintptr_t)(base + page * PAGE));
	CHECK_EQUAL(fault->kind, expected_kind(page, seen[page]));
	CHECK_EQUAL(fault->pages, 1);
	CHECK(!strcmp(fault->region, NAME));
	CHECK_EQUAL(fault->at[DSM_MOMENT_READ] != 0, fault->kind != DSM_FAULT_UPGRADE);
	seen[page]++;
}

static void every_fault_is_there(enum dsm_delivery delivery)
{
	static struct dsm_fault_trace faults[2 * PAGES];
	unsigned seen[PAGES] = {0};
	uint64_t left_out = 1;
	size_t count = 0;

	nodes_case("every fault is there once, with its moments in order: %s", nodes_delivery_name(delivery));
	make(delivery);
	CHECK_EQUAL(dsm_trace_start(2 * PAGES), 0);
	size_t expected = node ? touch_all() : 0;
	if (delivery != DSM_DELIVERY_INLINE)
		usleep(100000); /* a handler notes the end of a fault after it has let the thread go */
	CHECK_EQUAL(dsm_trace_stop(), 0);
	CHECK_EQUAL(dsm_trace_read(faults, 2 * PAGES, &count, &left_out), 0);
	CHECK_EQUAL(left_out, 0);
	if (node != 0) {
		CHECK_EQUAL(count, expected);
		for (size_t i = 0; i < count; i++)
			check_fault(&faults[i], seen);
	}
	drop();
}

/* Some of the pages of a walk are here already: where a window would begin with one of them, too. */
static void faults_that_read_ahead_say_how_far(void)
{
	static struct dsm_fault_trace faults[PAGES];
	const struct dsm_region_options options = {.home = DSM_HOME_NODE};
	uint64_t pages = 0;
	size_t count = 0;

	nodes_case("faults that read ahead say how far");
	CHECK_EQUAL(dsm_region_create(NAME, PAGES * PAGE, &options, &region), 0);
	base = dsm_region_base(region);
	for (size_t page = 0; page < PAGES && node == 0; page++)
		base[page * PAGE] = 1;
	barrier();
	for (size_t page = 5; page < PAGES && node; page += 7)
		CHECK_EQUAL(dsm_prefetch((const void *)(base + page * PAGE), PAGE, false), 0);
	CHECK_EQUAL(dsm_trace_start(PAGES), 0);
	for (size_t page = 0; page < PAGES && node; page++)
		CHECK_EQUAL(base[page * PAGE], 1);
	CHECK_EQUAL(dsm_trace_stop(), 0);
	CHECK_EQUAL(dsm_trace_read(faults, PAGES, &count, NULL), 0);
	for (size_t i = 0; i < count && node; i++) {
		CHECK(faults[i].pages >= 1);
		pages += faults[i].pages;
	}
	if (node) {
		CHECK(count < PAGES / 2);
		CHECK_EQUAL(pages, PAGES - (PAGES - 5 + 6) / 7);
	}
	drop();
}

static void what_there_is_no_room_for_is_counted(void)
{
	static struct dsm_fault_trace faults[PAGES];
	uint64_t left_out = 0;
	size_t count = 0;

	nodes_case("what there is no room for is counted");
	make(DSM_DELIVERY_INLINE);
	CHECK_EQUAL(dsm_trace_start(10), 0);
	size_t expected = node ? touch_all() : 0;
	CHECK_EQUAL(dsm_trace_stop(), 0);
	CHECK_EQUAL(dsm_trace_read(faults, 4, &count, &left_out), 0);
	if (node != 0) {
		CHECK_EQUAL(count, 4);
		CHECK_EQUAL(count + left_out, expected);
	}
	drop();
}

static void misuse_is_refused(void)
{
	struct dsm_fault_trace fault;
	size_t count;

	nodes_case("misuse is refused");
	CHECK_EQUAL(dsm_trace_start(0), -EINVAL);
	CHECK_EQUAL(dsm_trace_start(SIZE_MAX / sizeof fault + 2),
		    -ENOMEM); /* times its size: a small number */
	CHECK_EQUAL(dsm_trace_stop(), -EINVAL);
	CHECK_EQUAL(dsm_trace_read(&fault, 1, &count, NULL), -EINVAL);
	CHECK_EQUAL(dsm_trace_start(1), 0);
	CHECK_EQUAL(dsm_trace_start(1), -EBUSY);
	CHECK_EQUAL(dsm_trace_read(&fault, 1, &count, NULL), -EINVAL);
	CHECK_EQUAL(dsm_trace_stop(), 0);
	CHECK_EQUAL(dsm_trace_read(&fault, 1, &count, NULL), 0);
}

static void the_counter_is_measured(void)
{
	struct dsm_trace_clock clock;

	nodes_case("the counter is measured");
	dsm_trace_clock(&clock);
	CHECK(clock.ticks_per_s > 1e8 && clock.ticks_per_s < 1e11);
	CHECK(clock.cost_ticks > 0);
	CHECK((double)clock.cost_ticks / clock.ticks_per_s < 1e-5);
}

static atomic_bool enough;

static void *fault_on(void *argument)
{
	size_t first = (size_t)(uintptr_t)argument;

	while (!atomic_load(&enough)) {
		CHECK_EQUAL(dsm_invalidate((const void *)(base + first * PAGE), 64 * PAGE), 0);
		for (size_t page = first; page < first + 64; page++)
			CHECK_EQUAL(base[page * PAGE], 1);
	}
	return NULL;
}

static void tracing_begins_and_ends_while_threads_fault(void)
{
	static struct dsm_fault_trace faults[4 * 50];
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	size_t count;

	nodes_case("tracing begins and ends while threads fault");
	make(DSM_DELIVERY_INLINE);
	atomic_store(&enough, false);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, fault_on, (void *)(uintptr_t)(i * 64));
	for (int round = 0; round < nodes_rounds(100, 10); round++) {
		CHECK_EQUAL(dsm_trace_start(50), 0);
		usleep(500);
		CHECK_EQUAL(dsm_trace_stop(), 0);
		CHECK_EQUAL(dsm_trace_read(faults, sizeof faults / sizeof *faults, &count, NULL), 0);
		for (size_t i = 0; i < count; i++)
			CHECK(is_in_order(&faults[i]));
	}
	atomic_store(&enough, true);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	drop();
}

/* --- MINORCA_TRACE ---------------------------------------------------------------------------------------
 */

static void walk_for_the_file(void)
{
	nodes_case("MINORCA_TRACE writes a file");
	make(DSM_DELIVERY_INLINE);
	if (node != 0)
		touch_all();
	drop();
}

/* After the runtime has ended. @return whether the file has a line for each fault, and is what it should be.
 */
static bool check_file(const char *prefix)
{
	char path[512], line[256];
	unsigned long lines = 0, wrong = 0;
	struct {
		double time_ns, duration_ns;
		unsigned long page;
		unsigned pages;
		char access[16];
	} f;

	snprintf(path, sizeof path, "%s.%d.csv", prefix, node);
	FILE *file = fopen(path, "re");
	if (!file || !fgets(line, sizeof line, file))
		return false;
	wrong += strcmp(line, "time_ns,duration_ns,region,page,access,pages\n") != 0;
	for (; fgets(line, sizeof line, file); lines++)
		wrong += sscanf(line, "%lf,%lf,\"tra,\"\"ced\",%lu,%15[a-z],%u", &f.time_ns, &f.duration_ns,
				&f.page, f.access, &f.pages) != 5 ||
			 f.page >= PAGES || f.duration_ns <= 0 || f.pages != 1;
	fclose(file);
	unlink(path);
	return wrong == 0 && (node == 0 || lines == PAGES + PAGES / 4);
}

static int test_file(int argc, char **argv)
{
	const char *directory = getenv("TEST_TMPDIR");
	char prefix[256];

	snprintf(prefix, sizeof prefix, "%s/trace", directory ? directory : "/tmp");
	setenv("MINORCA_TRACE", prefix, 1);
	nodes_begin(&argc, &argv);
	node = dsm_node();
	walk_for_the_file();
	int status = nodes_end();
	if (status == 0 && !check_file(prefix)) {
		printf("# node %d: %s.%d.csv is not what it should be\n", node, prefix, node);
		return EXIT_FAILURE;
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--file"))
		return test_file(argc, argv);
	nodes_begin(&argc, &argv);
	node = dsm_node();
	misuse_is_refused();
	the_counter_is_measured();
	every_fault_is_there(DSM_DELIVERY_INLINE);
	every_fault_is_there(DSM_DELIVERY_THREAD_BLOCK);
	faults_that_read_ahead_say_how_far();
	what_there_is_no_room_for_is_counted();
	tracing_begins_and_ends_while_threads_fault();
	CHECK_EQUAL(dsm_trace_start(10), 0); /* and the runtime ends */
	return nodes_end();
}
