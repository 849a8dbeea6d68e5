/*
 * Entries of the change log: what is written is read, and no other lap's.
 */
#include "dsm/test_support.h"

#include <string.h>

#include "dsm/change_log.h"

static const struct change changes[] = {
    {0, 0, 1},
    {63, ((uint64_t)1 << 38) - 1, 256},
    {1, 12345678901, 2},
    {17, (uint64_t)1 << 37, 255},
};

static const uint64_t laps[] = {0, 1, 2, 4093, 4094, 4095, 4096, 4097, 12345678, UINT64_MAX - 1};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void an_entry_is_read_as_written(void **state)
{
	(void)state;
	for (size_t c = 0; c < COUNT(changes); c++)
		for (size_t l = 0; l < COUNT(laps); l++) {
			struct change change = {0};
			assert_true(change_decode(change_encode(&changes[c], laps[l]), laps[l], &change));
			assert_int_equal(change.region, changes[c].region);
			assert_int_equal(change.first, changes[c].first);
			assert_int_equal(change.count, changes[c].count);
		}
}

static void an_entry_of_another_lap_is_refused(void **state)
{
	struct change change;

	(void)state;
	for (size_t c = 0; c < COUNT(changes); c++)
		for (size_t l = 0; l < COUNT(laps); l++)
			for (uint64_t away = 1; away < CHANGE_LAPS; away++) {
				uint64_t word = change_encode(&changes[c], laps[l]);
				assert_false(change_decode(word, laps[l] + away, &change));
			}
}

static void fresh_memory_is_no_entry_of_the_first_lap(void **state)
{
	struct change change;

	(void)state;
	assert_false(change_decode(0, 0, &change));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_entry_is_read_as_written),
	    cmocka_unit_test(an_entry_of_another_lap_is_refused),
	    cmocka_unit_test(fresh_memory_is_no_entry_of_the_first_lap),
	};

	return cmocka_run_group_tests_name("change_log", tests, NULL, NULL);
}
