/*
 * The diff finds exactly the bytes that differ.
 */
#include "dsm/test_support.h"

#include <stdlib.h>
#include <string.h>

#include "dsm/diff.h"

#define BYTES 4096

static unsigned char before[BYTES], now[BYTES];

/* Every byte in a run differs, no byte outside one does, and runs do not touch. */
static size_t check_runs(size_t bytes)
{
	size_t end = 0, at = 0, runs = 0, last_end = 0;

	for (; (at = diff_next(now, before, at, bytes, &end)) < bytes; at = end) {
		assert_true(end > at && end <= bytes);
		assert_true(!runs || at > last_end);
		for (size_t i = runs ? last_end : 0; i < at; i++)
			assert_int_equal(now[i], before[i]);
		for (size_t i = at; i < end; i++)
			assert_int_not_equal(now[i], before[i]);
		last_end = end;
		runs++;
	}
	for (size_t i = last_end; i < bytes; i++)
		assert_int_equal(now[i], before[i]);
	return runs;
}

static void equal_has_no_run(void **state)
{
	(void)state;
	memset(before, 7, BYTES);
	memcpy(now, before, BYTES);
	assert_int_equal(check_runs(BYTES), 0);
}

static void all_different_is_one_run(void **state)
{
	(void)state;
	memset(before, 7, BYTES);
	memset(now, 8, BYTES);
	assert_int_equal(check_runs(BYTES), 1);
}

static void every_single_byte_is_found(void **state)
{
	(void)state;
	memset(before, 0, BYTES);
	for (size_t i = 0; i < BYTES; i++) {
		size_t end = 0;
		memset(now, 0, BYTES);
		now[i] = 0x80;
		assert_int_equal(diff_next(now, before, 0, BYTES, &end), i);
		assert_int_equal(end, i + 1);
		assert_int_equal(diff_next(now, before, end, BYTES, &end), BYTES);
	}
}

/* Values whose differences have 0x01 and 0x00 bytes next to each other, which the word trick could mistake.
 */
static void neighbours_of_one_are_not_mistaken(void **state)
{
	static const unsigned char patterns[][8] = {
	    {1, 0, 1, 1, 0, 0, 1, 0}, {0, 1, 0x80, 0, 0x81, 0, 0, 1}, {0xff, 0, 1, 0xff, 0, 0xff, 1, 1}};

	(void)state;
	for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++)
		for (size_t shift = 0; shift < 8; shift++) {
			memset(before, 0, BYTES);
			memset(now, 0, BYTES);
			for (size_t at = shift; at + 8 <= BYTES; at += 8)
				memcpy(now + at, patterns[p], 8);
			assert_true(check_runs(BYTES) > 0);
		}
}

static void random_changes_of_any_length(void **state)
{
	(void)state;
	srand(12345);
	for (int round = 0; round < 2000; round++) {
		size_t bytes = (size_t)rand() % BYTES + 1;
		for (size_t i = 0; i < bytes; i++)
			before[i] = (unsigned char)rand();
		memcpy(now, before, bytes);
		for (int change = rand() % 40; change > 0; change--) {
			size_t at = (size_t)((double)rand() / RAND_MAX * (double)(bytes - 1)),
			       length = 1 + (size_t)rand() % 20;
			for (size_t i = at; i < at + length && i < bytes; i++)
				now[i] = (unsigned char)rand(); /* sometimes the same as before */
		}
		check_runs(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_has_no_run),
	    cmocka_unit_test(all_different_is_one_run),
	    cmocka_unit_test(every_single_byte_is_found),
	    cmocka_unit_test(neighbours_of_one_are_not_mistaken),
	    cmocka_unit_test(random_changes_of_any_length),
	};

	return cmocka_run_group_tests_name("diff", tests, NULL, NULL);
}
