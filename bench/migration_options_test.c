/*
 * The command line of migration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "bench/migration_options.h"
#include "bench/options.h"

static struct migration_options options;

static int parse(const char *argument)
{
	char program[] = "migration", text[128];
	char *argv[] = {program, text, NULL};

	snprintf(text, sizeof text, "%s", argument);
	options = migration_options_defaults;
	return command_line_parse(&migration_options_argp, argument[0] ? 2 : 1, argv, false, &options.line);
}

static void without_options_it_crosses_all_modes(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(options.modes, (1u << MODES) - 1);
	assert_int_equal(options.page_sizes.count, 2);
	assert_int_equal(options.rates.count, 3);
	assert_int_equal(options.delivery, DELIVERY_THREAD_BLOCK);
}

static void lists_are_read(void **state)
{
	(void)state;
	assert_int_equal(parse("--memory=256MiB,1GiB,4GiB"), 0);
	assert_int_equal(options.memory.count, 3);
	assert_int_equal(options.memory.values[2], (uint64_t)4 << 30);
	assert_int_equal(parse("--rate=0,25"), 0);
	assert_int_equal(options.rates.values[1], 25);
	assert_int_equal(parse("--mode=minor,p*"), 0);
	assert_int_equal(options.modes, 1u << MODE_MINOR | 1u << MODE_PRE_COPY | 1u << MODE_POST_COPY);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
	static const char *const bad[] = {"--memory=1MiB",   "--memory=32GiB",	"--page-size=8KiB",
					  "--mode=sideways", "--rate=-1",	"--delivery=thread-*",
					  "--working-set=0", "--repetitions=0", "--rate=1001"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(parse(bad[i]), -EINVAL);
		assert_true(options.line.error[0] != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_options_it_crosses_all_modes),
	    cmocka_unit_test(lists_are_read),
	    cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("migration_options", tests, NULL, NULL);
}
