/*
 * The pattern that every node computes for itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bench/pattern.h"

#define PAGE_BYTES ((size_t)64 * 64)

static struct pattern pattern_with(unsigned int changed)
{
	return (struct pattern){
	    .page_bytes = PAGE_BYTES, .blocks = 64, .changed = changed, .seed = 3, .generation = 1};
}

static void changed_blocks_are_distinct(void **state)
{
	(void)state;
	for (size_t page = 0; page < 100; page++) {
		struct pattern p = pattern_with(64);
		uint64_t seen = 0;

		for (unsigned int i = 0; i < p.changed; i++)
			seen |= UINT64_C(1) << pattern_block(&p, page, i);
		assert_true(seen == UINT64_MAX);
	}
}

static void what_was_written_is_found(void **state)
{
	unsigned char page[PAGE_BYTES] __attribute__((aligned(8))) = {0};
	struct pattern p = pattern_with(5);

	(void)state;
	assert_false(pattern_holds(&p, 7, page));
	pattern_write(&p, 7, page);
	assert_true(pattern_holds(&p, 7, page));
	assert_false(pattern_holds(&p, 8, page));
	p.generation++;
	assert_false(pattern_holds(&p, 7, page));
}

static void only_the_changed_blocks_are_written(void **state)
{
	unsigned char page[PAGE_BYTES] __attribute__((aligned(8))) = {0};
	struct pattern p = pattern_with(3);
	unsigned int written = 0;

	(void)state;
	pattern_write(&p, 0, page);
	for (size_t at = 0; at < PAGE_BYTES; at += 8) {
		uint64_t value;
		memcpy(&value, page + at, sizeof value);
		written += value != 0;
		if (value)
			assert_int_equal(at % 64, 0);
	}
	assert_int_equal(written, 3);
}

static void the_word_that_is_loaded_is_one_that_was_written(void **state)
{
	unsigned char page[PAGE_BYTES] __attribute__((aligned(8))) = {0};
	struct pattern p = pattern_with(1);
	uint64_t value;

	(void)state;
	pattern_write(&p, 12, page);
	memcpy(&value, page + pattern_offset(&p, 12), sizeof value);
	assert_true(value == pattern_value(&p, 12, pattern_block(&p, 12, 0)));
}

static void stores_differ_from_round_to_round(void **state)
{
	struct pattern p = pattern_with(64);

	(void)state;
	assert_true(pattern_store(&p, 1, 1) != pattern_store(&p, 1, 2));
	assert_true(pattern_store(&p, 1, 1) != pattern_store(&p, 2, 1));
}

static void a_permutation_holds_every_number_once(void **state)
{
	uint32_t order[1000];
	unsigned char seen[1000] = {0};
	unsigned int in_place = 0;

	(void)state;
	pattern_permute(order, 1000, 42);
	for (unsigned int i = 0; i < 1000; i++) {
		assert_in_range(order[i], 0, 999);
		seen[order[i]]++;
		in_place += order[i] == i;
	}
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(seen[i], 1);
	assert_true(in_place < 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(changed_blocks_are_distinct),
	    cmocka_unit_test(what_was_written_is_found),
	    cmocka_unit_test(only_the_changed_blocks_are_written),
	    cmocka_unit_test(the_word_that_is_loaded_is_one_that_was_written),
	    cmocka_unit_test(stores_differ_from_round_to_round),
	    cmocka_unit_test(a_permutation_holds_every_number_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
