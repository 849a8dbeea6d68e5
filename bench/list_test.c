/*
 * Lists on the command line: what is accepted, and what is refused by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "bench/list.h"

static const char *const words[] = {"fetch_new", "fetch_stale", "current", NULL};

static void sizes_take_a_unit_in_any_case(void **state)
{
	uint64_t bytes;

	(void)state;
	assert_int_equal(list_parse_size("4096", &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(list_parse_size("4KiB", &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(list_parse_size("2m", &bytes), 0);
	assert_int_equal(bytes, 2 << 20);
	assert_int_equal(list_parse_size("1GB", &bytes), 0);
	assert_int_equal(bytes, 1 << 30);
}

static void what_is_no_size_is_refused(void **state)
{
	const char *const wrong[] = {
	    "", "0", "-4K", "K", "4KX", "4 KiB", "0x10", "99999999999999999999", "17179869184G"};
	uint64_t bytes = 5;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(list_parse_size(wrong[i], &bytes), -EINVAL);
	assert_int_equal(bytes, 5);
}

static void numbers_keep_to_their_bounds(void **state)
{
	uint64_t number = 5;

	(void)state;
	assert_int_equal(list_parse_number("1", 1, 8, &number), 0);
	assert_int_equal(number, 1);
	assert_int_equal(list_parse_number("0", 1, 8, &number), -EINVAL);
	assert_int_equal(list_parse_number("9", 1, 8, &number), -EINVAL);
	assert_int_equal(list_parse_number("2x", 1, 8, &number), -EINVAL);
	assert_int_equal(list_parse_number(" 2", 1, 8, &number), -EINVAL);
	assert_int_equal(number, 1);
}

static void lists_keep_their_order(void **state)
{
	char bad[LIST_ELEMENT_MAX];
	uint64_t values[3];
	size_t count;

	(void)state;
	assert_int_equal(list_parse_numbers("4,1,2", 1, 8, 3, values, &count, bad), 0);
	assert_int_equal(count, 3);
	assert_true(values[0] == 4 && values[1] == 1 && values[2] == 2);
	assert_int_equal(list_parse_sizes("2MiB,4096", 3, values, &count, bad), 0);
	assert_int_equal(count, 2);
	assert_true(values[0] == 2 << 20 && values[1] == 4096);
}

static void the_element_that_is_refused_is_named(void **state)
{
	uint64_t values[2] = {7, 7};
	char bad[LIST_ELEMENT_MAX];
	size_t count = 9;

	(void)state;
	assert_int_equal(list_parse_numbers("1,two", 1, 8, 2, values, &count, bad), -EINVAL);
	assert_string_equal(bad, "two");
	assert_int_equal(list_parse_numbers("1,,2", 1, 8, 2, values, &count, bad), -EINVAL);
	assert_string_equal(bad, "");
	assert_int_equal(list_parse_numbers("1,2,3", 1, 8, 2, values, &count, bad), -E2BIG);
	assert_string_equal(bad, "3");
	assert_true(values[0] == 7 && values[1] == 7 && count == 9);
}

static void an_element_that_is_too_long_is_cut(void **state)
{
	char text[3 * LIST_ELEMENT_MAX], bad[LIST_ELEMENT_MAX];
	uint32_t selected = 0;

	(void)state;
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	assert_int_equal(list_parse_words(text, words, &selected, bad), -EINVAL);
	assert_int_equal(strlen(bad), LIST_ELEMENT_MAX - 1);
}

static void words_match_by_name_and_by_pattern(void **state)
{
	char bad[LIST_ELEMENT_MAX];
	uint32_t selected;

	(void)state;
	assert_int_equal(list_parse_words("current", words, &selected, bad), 0);
	assert_int_equal(selected, 4);
	assert_int_equal(list_parse_words("fetch_*", words, &selected, bad), 0);
	assert_int_equal(selected, 3);
	assert_int_equal(list_parse_words("*_new,current", words, &selected, bad), 0);
	assert_int_equal(selected, 5);
}

static void a_word_that_matches_nothing_is_refused(void **state)
{
	char bad[LIST_ELEMENT_MAX];
	uint32_t selected = 8;

	(void)state;
	assert_int_equal(list_parse_words("current,write*", words, &selected, bad), -EINVAL);
	assert_string_equal(bad, "write*");
	assert_int_equal(list_parse_words("", words, &selected, bad), -EINVAL);
	assert_int_equal(selected, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes_take_a_unit_in_any_case),
	    cmocka_unit_test(what_is_no_size_is_refused),
	    cmocka_unit_test(numbers_keep_to_their_bounds),
	    cmocka_unit_test(lists_keep_their_order),
	    cmocka_unit_test(the_element_that_is_refused_is_named),
	    cmocka_unit_test(an_element_that_is_too_long_is_cut),
	    cmocka_unit_test(words_match_by_name_and_by_pattern),
	    cmocka_unit_test(a_word_that_matches_nothing_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
