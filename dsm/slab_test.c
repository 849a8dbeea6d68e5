/*
 * Size classes, states of slabs, and the search for runs.
 */
#include "dsm/test_support.h"

#include <stdlib.h>
#include <string.h>

#include "dsm/slab.h"

static void every_size_has_the_smallest_class_that_holds_it(void **state)
{
	(void)state;
	for (size_t bytes = 1; bytes <= SLAB_OBJECT_BYTES_MAX; bytes++) {
		unsigned class = slab_class_of(bytes);
		assert_true(class < SLAB_CLASSES);
		assert_true(slab_class_bytes(class) >= bytes);
		if (class)
			assert_true(slab_class_bytes(class - 1) < bytes);
	}
	assert_int_equal(slab_class_of(SLAB_OBJECT_BYTES_MAX), SLAB_CLASSES - 1);
	assert_int_equal(slab_class_bytes(SLAB_CLASSES - 1), SLAB_OBJECT_BYTES_MAX);
}

static void classes_are_aligned_and_waste_little(void **state)
{
	(void)state;
	for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
		size_t bytes = slab_class_bytes(class), before = class ? slab_class_bytes(class - 1) : 0;
		assert_int_equal(slab_class_of(bytes), class);
		assert_int_equal(bytes % 16, 0);
		if (bytes >= 64)
			assert_int_equal(bytes % 64, 0);
		/* The smallest that it is used for; below, alignment to a line costs more. */
		if (bytes >= 256)
			assert_true((bytes - before - 1) * 4 <= bytes);
		assert_true(slab_objects(class) >= 2);
		assert_true(slab_objects(class) * bytes <= SLAB_BYTES);
		assert_true(slab_words(class) <= SLAB_WORDS);
	}
}

static void a_bitmap_has_a_bit_for_each_object(void **state)
{
	(void)state;
	for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
		unsigned bits = 0;
		for (unsigned word = 0; word < SLAB_WORDS; word++) {
			uint64_t mask = slab_object_bits(class, word);
			bits += (unsigned)__builtin_popcountll(mask);
			assert_int_equal(mask & (mask + 1), 0); /* from bit 0 on, without a gap */
			assert_int_equal(mask != 0, word < slab_words(class));
		}
		assert_int_equal(bits, slab_objects(class));
	}
}

static void states_can_be_read_back(void **state)
{
	static const struct slab_state states[] = {
	    {.kind = SLAB_SMALL, .owner = 65535, .class = SLAB_CLASSES - 1},
	    {.kind = SLAB_HEAD, .owner = 3, .length = UINT32_MAX},
	    {.kind = SLAB_TAIL, .owner = 0, .length = 1},
	    {.kind = SLAB_LEAVING, .owner = 1, .length = 77},
	};

	(void)state;
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		struct slab_state back = slab_decode(slab_encode(states[i]));
		assert_memory_equal(&back, &states[i], sizeof back);
		assert_false(slab_is_free(slab_encode(states[i])));
	}
	assert_true(slab_is_free(SLAB_WORD_FRESH));
	assert_true(slab_is_free(SLAB_WORD_FREED));
	assert_int_equal(slab_decode(SLAB_WORD_FREED).kind, SLAB_FREE);
}

static uint64_t head(uint32_t length)
{
	return slab_encode((struct slab_state){.kind = SLAB_HEAD, .length = length});
}

static uint64_t small(void)
{
	return slab_encode((struct slab_state){.kind = SLAB_SMALL});
}

static void a_run_is_the_last_that_fits(void **state)
{
	uint64_t s[10] = {0};

	(void)state;
	assert_int_equal(slab_find_run(s, 10, 1), 9);
	assert_int_equal(slab_find_run(s, 10, 10), 0);
	assert_int_equal(slab_find_run(s, 10, 11), 10);
	s[7] = small(); /* 7 free, 1 taken, 2 free */
	assert_int_equal(slab_find_run(s, 10, 2), 8);
	assert_int_equal(slab_find_run(s, 10, 3), 4);
	assert_int_equal(slab_find_run(s, 10, 8), 10);
	s[2] = SLAB_WORD_FREED; /* as good as fresh */
	assert_int_equal(slab_find_run(s, 10, 7), 0);
	assert_int_equal(slab_find_run(s, 0, 1), 0);
}

/* A run that is being taken or freed is taken whole, whatever its other words say. */
static void a_head_covers_its_run(void **state)
{
	uint64_t s[10] = {0};
	size_t taken, longest;

	(void)state;
	s[3] = head(5);
	assert_int_equal(slab_find_run(s, 10, 3), 0);
	assert_int_equal(slab_find_run(s, 10, 2), 8);
	assert_int_equal(slab_find_run(s, 10, 4), 10);
	slab_survey(s, 10, &taken, &longest);
	assert_int_equal(taken, 5);
	assert_int_equal(longest, 3);
	s[8] = head(9); /* past the end: read in the middle of a change */
	assert_int_equal(slab_find_run(s, 10, 1), 2);
	s[3] = slab_encode((struct slab_state){.kind = SLAB_LEAVING, .length = 0});
	assert_int_equal(slab_find_run(s, 10, 4), 4);
}

static void a_free_slab_is_the_first(void **state)
{
	uint64_t s[4] = {small(), head(2), SLAB_WORD_FREED, 0};

	(void)state;
	assert_int_equal(slab_find_free(s, 4), 2);
	s[2] = s[3] = small();
	assert_int_equal(slab_find_free(s, 4), 4);
	assert_int_equal(slab_find_free(s, 0), 0);
}

static void states_that_cannot_be_are_told(void **state)
{
	static const struct {
		struct slab_state state;
		size_t at;
		bool possible;
	} cases[] = {
	    {{SLAB_SMALL, 1, 34, 0}, 0, true},	 {{SLAB_SMALL, 1, 35, 0}, 0, false},
	    {{SLAB_SMALL, 1, 255, 0}, 0, false}, {{SLAB_SMALL, 2, 0, 0}, 0, false},
	    {{SLAB_HEAD, 0, 0, 10}, 0, true},	 {{SLAB_HEAD, 0, 0, 11}, 0, false},
	    {{SLAB_HEAD, 0, 0, 0}, 0, false},	 {{SLAB_HEAD, 0, 0, 3}, 7, true},
	    {{SLAB_HEAD, 0, 0, 4}, 7, false},	 {{SLAB_HEAD, 2, 0, 1}, 0, false},
	    {{SLAB_LEAVING, 1, 0, 3}, 8, false}, {{SLAB_TAIL, 1, 0, 7}, 7, true},
	    {{SLAB_TAIL, 1, 0, 8}, 7, false},	 {{SLAB_TAIL, 1, 0, 0}, 7, false},
	    {{SLAB_TAIL, 9, 0, 1}, 7, false},	 {{SLAB_LEAVING + 1, 0, 0, 1}, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(slab_is_possible(slab_encode(cases[i].state), cases[i].at, 10, 2),
				 cases[i].possible);
	assert_true(slab_is_possible(SLAB_WORD_FRESH, 0, 10, 2));
	assert_true(slab_is_possible(SLAB_WORD_FREED, 9, 10, 2));
	assert_false(slab_is_possible((uint64_t)1 << 40, 0, 10, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(states_that_cannot_be_are_told),
	    cmocka_unit_test(every_size_has_the_smallest_class_that_holds_it),
	    cmocka_unit_test(classes_are_aligned_and_waste_little),
	    cmocka_unit_test(a_bitmap_has_a_bit_for_each_object),
	    cmocka_unit_test(states_can_be_read_back),
	    cmocka_unit_test(a_run_is_the_last_that_fits),
	    cmocka_unit_test(a_head_covers_its_run),
	    cmocka_unit_test(a_free_slab_is_the_first),
	};

	return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
