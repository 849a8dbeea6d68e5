/*
 * The plan: what is crossed with what, and what is left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bench/plan.h"
#include "kernel/memory.h"

static const size_t plenty[] = {1000000, 1000000, 1000000};

/* The plan of a command line of at most two options. */
static struct plan planned(const char *first, const char *second, const size_t *limits)
{
	char program[] = "fault_latency";
	char *a = strdup(first), *b = strdup(second);
	char *argv[] = {program, a, b, NULL};
	struct options options = options_defaults;
	struct plan plan;

	assert_int_equal(command_line_parse(&options_argp, 3, argv, false, &options.line), 0);
	assert_int_equal(plan_make(&options, limits, &plan), 0);
	free(a);
	free(b);
	return plan;
}

static size_t count_case(const struct plan *plan, const char *name)
{
	size_t found = 0;

	for (size_t i = 0; i < plan->count; i++)
		found += !strcmp(plan->setups[i].kind->name, name);
	return found;
}

static void each_case_is_crossed_with_deliveries_and_threads(void **state)
{
	struct plan plan = planned("--page-size=4KiB", "--case=current", plenty);

	(void)state;
	assert_int_equal(plan.count, 3 * 2 * 2); /* deliveries, threads, accesses */
	plan_free(&plan);
}

static void blocks_are_crossed_for_pages_that_have_several(void **state)
{
	struct plan small = planned("--page-size=4KiB", "--delivery=inline", plenty);
	struct plan large = planned("--page-size=2MiB", "--delivery=inline", plenty);

	(void)state;
	assert_int_equal(count_case(&small, "fetch_blocks"), 0);
	assert_int_equal(count_case(&large, "fetch_blocks"), 2 * 4);
	assert_int_equal(count_case(&small, "sweep_prefetch"), 2);
	plan_free(&small);
	plan_free(&large);
}

static void blocks_out_of_date_follow_from_the_case(void **state)
{
	struct plan plan = planned("--page-size=2MiB", "--threads=1", plenty);

	(void)state;
	for (size_t i = 0; i < plan.count; i++) {
		const struct setup *s = &plan.setups[i];
		if (!strcmp(s->kind->name, "current") || !strcmp(s->kind->name, "write_upgrade"))
			assert_int_equal(s->changed, 0);
		else if (s->kind->some_blocks)
			assert_in_range(s->changed, 1, 64);
		else
			assert_int_equal(s->changed, 64);
	}
	plan_free(&plan);
}

static void few_hugepages_shrink_the_regions(void **state)
{
	const size_t limits[] = {6};
	struct plan plan = planned("--page-size=2MiB", "--threads=2", limits);

	(void)state;
	assert_true(plan.count > 0);
	for (size_t i = 0; i < plan.count; i++)
		assert_int_equal(plan.setups[i].pages, 6);
	plan_free(&plan);
}

static void a_size_without_hugepages_is_left_out(void **state)
{
	const size_t limits[] = {512, 0, 0};
	struct plan plan = planned("--case=*", "--delivery=inline", limits);

	(void)state;
	assert_true(plan.count > 0);
	for (size_t i = 0; i < plan.count; i++)
		assert_int_equal(plan.setups[i].page_bytes, 4 * KIB);
	plan_free(&plan);
}

static void more_threads_than_pages_are_left_out(void **state)
{
	const size_t limits[] = {3};
	struct plan plan = planned("--page-size=2MiB", "--threads=2,4", limits);

	(void)state;
	assert_int_equal(plan_threads(&plan), 2);
	plan_free(&plan);
}

static void pages_of_1_GiB_are_measured_little_unless_asked_for(void **state)
{
	struct plan little = planned("--page-size=1GiB", "--case=*", plenty);
	struct plan more = planned("--page-size=1GiB", "--threads=1,2", plenty);
	struct plan all = planned("--case=*", "--access=read,write", plenty);
	size_t large = 0;

	(void)state;
	for (size_t i = 0; i < all.count; i++)
		large += all.setups[i].page_bytes == GIB;
	assert_int_equal(large, 3); /* fetch_stale, fetch_blocks, current */
	plan_free(&all);
	for (size_t i = 0; i < little.count; i++) {
		assert_int_equal(little.setups[i].delivery, DELIVERY_INLINE);
		assert_int_equal(little.setups[i].threads, 1);
	}
	assert_int_equal(count_case(&little, "sweep_prefetch"), 0);
	assert_int_equal(plan_threads(&more), 2);
	plan_free(&little);
	plan_free(&more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_case_is_crossed_with_deliveries_and_threads),
	    cmocka_unit_test(blocks_are_crossed_for_pages_that_have_several),
	    cmocka_unit_test(blocks_out_of_date_follow_from_the_case),
	    cmocka_unit_test(few_hugepages_shrink_the_regions),
	    cmocka_unit_test(a_size_without_hugepages_is_left_out),
	    cmocka_unit_test(more_threads_than_pages_are_left_out),
	    cmocka_unit_test(pages_of_1_GiB_are_measured_little_unless_asked_for),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
