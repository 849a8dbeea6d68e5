/*
 * The user of memory: what it stores is known afterwards, and what is wrong is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "bench/guest.h"
#include "bench/throughput.h"

#define PAGE 4096
#define PAGES 64

static struct throughput throughput;
static uint64_t *memory;
static struct guest guest;

static int begin(void **state)
{
	(void)state;
	memory = aligned_alloc(PAGE, (size_t)PAGE * PAGES);
	guest = (struct guest){.base = memory,
			       .page_bytes = PAGE,
			       .pages = PAGES,
			       .working_pages = PAGES / 2,
			       .stores_per_s = 1e9,
			       .throughput = &throughput};
	guest_fill(&guest);
	throughput_begin(&throughput, 0);
	guest_begin(&guest, NULL);
	return memory ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	free(memory);
	return 0;
}

static void run(int steps)
{
	for (int i = 0; i < steps; i++)
		guest_step(&guest);
}

static void what_it_has_stored_is_known(void **state)
{
	(void)state;
	run(5000);
	assert_int_equal(guest.state.steps, 5000);
	assert_true(guest.state.stores > 0);
	assert_int_equal(guest_compare(&guest), 0);
	assert_int_equal(guest.state.wrong, 0);
}

static void it_goes_on_elsewhere(void **state)
{
	(void)state;
	run(1000);
	struct guest other = guest;
	other.state = (struct guest_state){0};
	guest_begin(&other, &guest.state);
	for (int i = 0; i < 1000; i++)
		guest_step(&other);
	assert_int_equal(other.state.steps, 2000);
	assert_int_equal(guest_compare(&other), 0);
}

static void a_store_that_is_lost_is_found(void **state)
{
	(void)state;
	run(1000);
	guest.state.stores++; /* that nobody has made */
	assert_int_equal(guest_compare(&guest), 1);
}

static void a_page_that_is_missing_is_found_by_loads(void **state)
{
	(void)state;
	for (size_t i = 0; i < (size_t)PAGE * PAGES / sizeof *memory; i++)
		memory[i] = 0;
	run(100);
	assert_true(guest.state.wrong > 0);
}

static void who_does_not_store_stores_nothing(void **state)
{
	(void)state;
	guest.stores_per_s = 0;
	run(1000);
	assert_int_equal(guest.state.stores, 0);
}

static void count_touch(void *argument, uint64_t ns)
{
	(void)ns;
	++*(unsigned int *)argument;
}

static void a_first_touch_is_told_once(void **state)
{
	unsigned int touches = 0;
	uint64_t seen[PAGES / 64] = {0};
	struct guest_watch watch = {count_touch, &touches, seen};

	(void)state;
	guest.watch = &watch;
	run(20000);
	assert_int_equal(touches, PAGES);
}

static void a_thread_stops_when_it_is_paused(void **state)
{
	(void)state;
	struct guest_thread *thread = guest_start(&guest);
	assert_non_null(thread);
	guest_pause(thread);
	uint64_t steps = guest.state.steps;
	guest_end(thread);
	assert_int_equal(guest.state.steps, steps);
	assert_int_equal(guest_compare(&guest), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_it_has_stored_is_known, begin, end),
	    cmocka_unit_test_setup_teardown(it_goes_on_elsewhere, begin, end),
	    cmocka_unit_test_setup_teardown(a_store_that_is_lost_is_found, begin, end),
	    cmocka_unit_test_setup_teardown(a_page_that_is_missing_is_found_by_loads, begin, end),
	    cmocka_unit_test_setup_teardown(who_does_not_store_stores_nothing, begin, end),
	    cmocka_unit_test_setup_teardown(a_first_touch_is_told_once, begin, end),
	    cmocka_unit_test_setup_teardown(a_thread_stops_when_it_is_paused, begin, end),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
