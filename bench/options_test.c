/*
 * The command line: defaults, what is accepted, and what is said of what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options.h"
#include "kernel/memory.h"

/* Parses one option (NULL: none) with its argument. */
static int parse(struct options *options, const char *option)
{
	char program[] = "fault_latency", copy[128];
	char *argv[] = {program, copy, NULL};

	if (option)
		snprintf(copy, sizeof copy, "%s", option);
	else
		argv[1] = NULL;
	*options = options_defaults;
	return command_line_parse(&options_argp, option ? 2 : 1, argv, false, &options->line);
}

static void without_options_all_is_crossed(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, NULL), 0);
	assert_int_equal(o.line.action, COMMAND_RUN);
	assert_int_equal(o.line.format, OUTPUT_TABLE);
	assert_int_equal(o.cases, UINT32_MAX);
	assert_int_equal(o.deliveries, UINT32_MAX);
	assert_int_equal(o.page_sizes.count, 3);
	assert_int_equal(o.threads.count, 2);
	assert_false(o.threads.given);
	assert_int_equal(o.iterations, 0);
	assert_int_equal(o.seed, 1);
}

static void a_distribution_needs_json(void **state)
{
	char program[] = "fault_latency", distribution[] = "--distribution", json[] = "--json";
	char *argv[] = {program, distribution, json, NULL};
	struct options o = options_defaults;

	(void)state;
	assert_int_equal(command_line_parse(&options_argp, 3, argv, false, &o.line), 0);
	assert_true(o.distribution);
	assert_int_equal(parse(&o, "--distribution"), -EINVAL);
	assert_non_null(strstr(o.line.error, "--json"));
}

static void the_kernels_part_needs_anatomy_and_one_thread(void **state)
{
	char program[] = "fault_latency", anatomy[] = "--anatomy", kernel[] = "--kernel",
	     two[] = "--threads=2";
	char *argv[] = {program, anatomy, kernel, two, NULL};
	struct options o = options_defaults;

	(void)state;
	assert_int_equal(command_line_parse(&options_argp, 3, argv, false, &o.line), 0);
	assert_true(o.kernel);
	assert_int_equal(o.threads.count, 1);
	assert_int_equal(o.threads.values[0], 1);
	o = options_defaults;
	assert_int_equal(command_line_parse(&options_argp, 4, argv, false, &o.line), -EINVAL);
	assert_non_null(strstr(o.line.error, "--threads 1"));
	assert_int_equal(parse(&o, "--kernel"), -EINVAL);
	assert_non_null(strstr(o.line.error, "--anatomy"));
}

static void lists_replace_the_defaults(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "--page-size=2M"), 0);
	assert_int_equal(o.page_sizes.count, 1);
	assert_int_equal(o.page_sizes.values[0], 2 * MIB);
	assert_int_equal(parse(&o, "--threads=4"), 0);
	assert_int_equal(o.threads.count, 1);
	assert_true(o.threads.given);
	assert_int_equal(parse(&o, "--delivery=thread-*"), 0);
	assert_int_equal(o.deliveries, 1 << DELIVERY_THREAD_SPIN | 1 << DELIVERY_THREAD_BLOCK);
	assert_int_equal(parse(&o, "--case=current,fetch_new"), 0);
	assert_int_equal(o.cases, 1 | 1 << 3);
}

static void formats_exclude_each_other(void **state)
{
	char program[] = "fault_latency", json[] = "--json", csv[] = "--csv";
	char *argv[] = {program, json, csv, NULL};
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "--json"), 0);
	assert_int_equal(o.line.format, OUTPUT_JSON);
	assert_int_equal(parse(&o, "--csv"), 0);
	assert_int_equal(o.line.format, OUTPUT_CSV);
	o = options_defaults;
	assert_int_equal(command_line_parse(&options_argp, 3, argv, false, &o.line), -EINVAL);
	assert_non_null(strstr(o.line.error, "one format"));
}

static void help_and_list_do_not_run(void **state)
{
	struct options o;

	(void)state;
	assert_int_equal(parse(&o, "--help"), 0);
	assert_int_equal(o.line.action, COMMAND_HELP);
	assert_int_equal(parse(&o, "--list"), 0);
	assert_int_equal(o.line.action, COMMAND_LIST);
}

static void what_is_refused_is_named_with_what_was_expected(void **state)
{
	static const char *const cases[][2] = {
	    {"--page-size=3K", "--page-size: '3K' is not a list of 4KiB, 2MiB, 1GiB"},
	    {"--page-size=big", "--page-size: 'big' is not 4KiB, 2MiB or 1GiB"},
	    {"--delivery=post", "--delivery: 'post' is not one of inline, thread-block, thread-spin"},
	    {"--access=execute", "--access: 'execute' is not one of read, write"},
	    {"--threads=0", "--threads: '0' is not a number from 1 to 256"},
	    {"--blocks=65", "--blocks: '65' is not a number from 1 to 64"},
	    {"--iterations=-1", "--iterations: '-1' is not a number from 1 to 100000000"},
	    {"--region-bytes=0", "--region-bytes: '0' is not a size such as 64MiB"},
	    {"extra", "'extra': there are options only, no arguments"},
	};
	struct options o;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(parse(&o, cases[i][0]), -EINVAL);
		assert_string_equal(o.line.error, cases[i][1]);
	}
	assert_int_equal(parse(&o, "--case=fetch"), -EINVAL);
	assert_non_null(strstr(o.line.error, "fetch_new, fetch_stale"));
	assert_int_equal(parse(&o, "--no-such-option"), -EINVAL);
	assert_string_equal(o.line.error, ""); /* argp says it */
}

static void the_list_of_cases_explains_each(void **state)
{
	char *text = NULL;
	size_t bytes;
	FILE *stream = open_memstream(&text, &bytes);

	(void)state;
	options_print_cases(stream);
	fclose(stream);
	assert_non_null(strstr(text, "fetch_new       load"));
	assert_non_null(strstr(text, "sweep_prefetch "));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_options_all_is_crossed),
	    cmocka_unit_test(a_distribution_needs_json),
	    cmocka_unit_test(the_kernels_part_needs_anatomy_and_one_thread),
	    cmocka_unit_test(lists_replace_the_defaults),
	    cmocka_unit_test(formats_exclude_each_other),
	    cmocka_unit_test(help_and_list_do_not_run),
	    cmocka_unit_test(what_is_refused_is_named_with_what_was_expected),
	    cmocka_unit_test(the_list_of_cases_explains_each),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
