/*
 * The command line of sync, and the rows that come of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/sync_options.h"
#include "bench/sync_plan.h"
#include "kernel/memory.h"

/* Parses one option (NULL: none) with its argument. */
static int parse(struct sync_options *options, const char *option)
{
	char program[] = "sync", copy[128] = "";
	char *argv[] = {program, copy, NULL};

	if (option)
		snprintf(copy, sizeof copy, "%s", option);
	*options = sync_options_defaults;
	return command_line_parse(&sync_options_argp, option ? 2 : 1, argv, false, &options->line);
}

static struct sync_plan planned(const char *option, int nodes)
{
	struct sync_options options;
	struct sync_plan plan;

	assert_int_equal(parse(&options, option), 0);
	assert_int_equal(sync_plan_make(&options, nodes, false, &plan), 0);
	return plan;
}

/* --- the command line ---------------------------------------------------------------------------------- */

static void without_options_all_is_measured(void **state)
{
	struct sync_options o;

	(void)state;
	assert_int_equal(parse(&o, NULL), 0);
	assert_int_equal(o.line.action, COMMAND_RUN);
	assert_int_equal(o.line.format, OUTPUT_TABLE);
	assert_int_equal(o.cases, UINT32_MAX);
	assert_int_equal(o.samples, 0);
	assert_int_equal(o.region_bytes, 8 * GIB);
}

static void options_are_read(void **state)
{
	struct sync_options o;

	(void)state;
	assert_int_equal(parse(&o, "--samples=7"), 0);
	assert_int_equal(o.samples, 7);
	assert_int_equal(parse(&o, "--seconds=3"), 0);
	assert_int_equal(o.seconds, 3);
	assert_int_equal(parse(&o, "--region-bytes=64MiB"), 0);
	assert_int_equal(o.region_bytes, 64 * MIB);
	assert_int_equal(parse(&o, "--case=diff,atomic_*"), 0);
	assert_int_equal(o.cases, 1u << DIFF | 1u << ATOMIC_ADD | 1u << ATOMIC_LOAD |
				      1u << ATOMIC_COMPARE_SWAP | 1u << ATOMIC_ADD_CONTENDED);
	assert_int_equal(parse(&o, "--json"), 0);
	assert_int_equal(o.line.format, OUTPUT_JSON);
	assert_int_equal(parse(&o, "--list"), 0);
	assert_int_equal(o.line.action, COMMAND_LIST);
}

static void what_is_refused_is_named(void **state)
{
	struct sync_options o;

	(void)state;
	assert_int_equal(parse(&o, "--case=locks"), -EINVAL);
	assert_string_equal(o.line.error, "--case: 'locks' is not one of those that --list shows");
	assert_int_equal(parse(&o, "--samples=0"), -EINVAL);
	assert_string_equal(o.line.error, "--samples: '0' is not a number from 1 to 1000000");
	assert_int_equal(parse(&o, "--region-bytes=much"), -EINVAL);
	assert_string_equal(o.line.error, "--region-bytes: 'much' is not a size such as 64MiB");
	assert_int_equal(parse(&o, "more"), -EINVAL);
	assert_string_equal(o.line.error, "'more': there are options only, no arguments");
}

/* --- the rows ------------------------------------------------------------------------------------------ */

static void every_case_has_a_name_and_a_row(void **state)
{
	struct sync_plan plan = planned(NULL, 2);
	uint32_t found = 0;

	(void)state;
	for (unsigned int i = 0; i < SYNC_CASES; i++) {
		assert_non_null(sync_case(i)->name);
		assert_non_null(sync_case(i)->summary);
	}
	for (size_t i = 0; i < plan.count; i++) {
		assert_true(!i || plan.rows[i].id >= plan.rows[i - 1].id); /* in the order of the list */
		found |= UINT32_C(1) << plan.rows[i].id;
	}
	assert_int_equal(found, (UINT32_C(1) << SYNC_CASES) - 1);
	sync_plan_free(&plan);
}

static void rows_fit_their_regions(void **state)
{
	struct sync_plan plan = planned(NULL, 100);

	(void)state;
	for (size_t i = 0; i < plan.count; i++) {
		const struct sync_row *row = &plan.rows[i];
		size_t pages = row->region_bytes ? row->region_bytes / row->page_bytes : 0;
		assert_true(row->threads > 0);
		if (row->home == HOME_AROUND)
			assert_true(pages >= 100);
		if (row->id == FALSE_SHARING || row->id == FALSE_SHARING_LOCK)
			assert_true(pages > 100); /* one is for the lock */
		if (row->id == STORM_ALL)
			assert_int_equal(pages, 100 * row->changed);
		if (row->id == STORM_ONE) /* a node has mapped nothing that does not change */
			assert_int_equal(
			    pages, row->changed *
				       (row->variant == SCATTERED || row->variant == LOG_OVERFLOW ? 2u : 1u));
		if (row->id == ACQUIRE_CHANGED)
			assert_true(pages >= row->changed * (row->variant == SCATTERED ? 2u : 1u));
		if (row->id >= PUBLISH_LINE && row->id <= PUBLISH_PAGES) {
			assert_int_equal(pages % row->changed, 0); /* a round takes each page once */
			assert_in_range(row->changed_bytes, 8, row->page_bytes);
		}
	}
	sync_plan_free(&plan);
}

/* The curve of publish_* has one point for each number of bytes, and begins and ends with what has a case of
 * its own. */
static void each_number_of_changed_bytes_comes_once(void **state)
{
	struct sync_plan plan = planned("--case=publish_line,publish_bytes,publish_page", 2);
	size_t bytes[2] = {0}, rows[2] = {0};

	(void)state;
	for (size_t i = 0; i < plan.count; i++) {
		const struct sync_row *row = &plan.rows[i];
		bool large = row->page_bytes > 4 * KIB;
		if (row->home != HOME_THERE)
			continue;
		assert_int_equal(bytes[large] & row->changed_bytes, 0); /* all are powers of two */
		bytes[large] |= row->changed_bytes;
		rows[large]++;
	}
	assert_int_equal(bytes[0], 8 + 64 + 512 + 4 * KIB);
	assert_int_equal(bytes[1], 8 + 64 + 512 + 4 * KIB + 64 * KIB + 2 * MIB);
	assert_int_equal(rows[0], 4);
	assert_int_equal(rows[1], 6);
	sync_plan_free(&plan);
}

static void a_row_that_is_a_baseline_comes_before(void **state)
{
	struct sync_plan plan = planned("--case=acquire_nothing,lock_*,barrier*", 2);
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < plan.count; i++) {
		size_t baseline = plan.rows[i].baseline_row;
		if (baseline == NO_ROW)
			continue;
		found++;
		assert_true(baseline < i);
		assert_non_null(plan.rows[i].baseline);
	}
	assert_int_equal(found, 3 + 1 + 1);
	sync_plan_free(&plan);
}

static void without_the_row_there_is_no_baseline(void **state)
{
	struct sync_plan plan = planned("--case=lock_publish", 2);

	(void)state;
	assert_int_equal(plan.count, 1);
	assert_null(plan.rows[0].baseline);
	assert_int_equal(plan.rows[0].baseline_row, NO_ROW);
	sync_plan_free(&plan);
}

static void over_rdma_baselines_are_requests(void **state)
{
	struct sync_options options;
	struct sync_plan plan;

	(void)state;
	assert_int_equal(parse(&options, "--case=lock_*,publish_line,barrier"), 0);
	assert_int_equal(sync_plan_make(&options, 2, true, &plan), 0);
	for (size_t i = 0; i < plan.count; i++) {
		const struct sync_row *row = &plan.rows[i];
		if (row->id == LOCK_UNCONTENDED)
			assert_string_equal(row->baseline, "2 CMP_SWPs");
		if (row->id == LOCK_HANDOVER && row->variant == WITHIN_NODE)
			assert_null(row->baseline);
		if (row->id == PUBLISH_LINE)
			assert_string_equal(row->baseline,
					    row->home == HOME_HERE ? "FETCH_ADD" : "WRITE + FETCH_ADD");
		if (row->id == BARRIER)
			assert_string_equal(row->baseline, "MPI_Barrier");
	}
	sync_plan_free(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_options_all_is_measured),
	    cmocka_unit_test(options_are_read),
	    cmocka_unit_test(what_is_refused_is_named),
	    cmocka_unit_test(every_case_has_a_name_and_a_row),
	    cmocka_unit_test(rows_fit_their_regions),
	    cmocka_unit_test(each_number_of_changed_bytes_comes_once),
	    cmocka_unit_test(a_row_that_is_a_baseline_comes_before),
	    cmocka_unit_test(without_the_row_there_is_no_baseline),
	    cmocka_unit_test(over_rdma_baselines_are_requests),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("sync_plan", tests, NULL, NULL);
}
