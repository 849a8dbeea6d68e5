/*
 * Percentiles are exact ranks of the samples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/percentile.h"

static void fill_descending(uint64_t *samples, size_t count)
{
	for (size_t i = 0; i < count; i++)
		samples[i] = count - i;
}

static void one_sample_is_every_percentile(void **state)
{
	uint64_t sample = 7;

	(void)state;
	assert_int_equal(percentile(&sample, 1, 0.001), 7);
	assert_int_equal(percentile(&sample, 1, 50.0), 7);
	assert_int_equal(percentile(&sample, 1, 100.0), 7);
}

static void of_two_samples_the_median_is_the_lower(void **state)
{
	const uint64_t samples[] = {10, 20};

	(void)state;
	assert_int_equal(percentile(samples, 2, 50.0), 10);
	assert_int_equal(percentile(samples, 2, 50.1), 20);
}

static void ranks_of_1_to_1000_are_their_own_values(void **state)
{
	uint64_t samples[1000];

	(void)state;
	fill_descending(samples, 1000);
	struct distribution d = distribution_of(samples, 1000);
	assert_int_equal(d.samples, 1000);
	assert_int_equal(d.mean_ns, 500); /* 500.5 */
	assert_int_equal(d.p50_ns, 500);
	assert_int_equal(d.p90_ns, 900);
	assert_int_equal(d.p99_ns, 990);
	assert_int_equal(d.p999_ns, 999);
	assert_int_equal(d.max_ns, 1000);
}

static void a_rank_between_samples_goes_up(void **state)
{
	uint64_t samples[101];

	(void)state;
	fill_descending(samples, 101);
	struct distribution d = distribution_of(samples, 101);
	assert_int_equal(d.p50_ns, 51);
	assert_int_equal(d.p90_ns, 91);
	assert_int_equal(d.p99_ns, 100);
	assert_int_equal(d.p999_ns, 101);
}

static void large_values_keep_their_order(void **state)
{
	uint64_t samples[] = {UINT64_MAX, 0, UINT64_MAX - 1, 1};

	(void)state;
	percentile_sort(samples, 4);
	assert_true(samples[0] == 0 && samples[1] == 1);
	assert_true(samples[2] == UINT64_MAX - 1 && samples[3] == UINT64_MAX);
}

static void quantiles_ascend_to_the_maximum(void **state)
{
	static uint64_t samples[100000];
	double last = 0.0;

	(void)state;
	fill_descending(samples, 100000);
	struct distribution d = distribution_of(samples, 100000);
	for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++) {
		double percent = distribution_percent(i);
		assert_true(percent > last);
		assert_int_equal(d.quantiles_ns[i], (uint64_t)(percent * 1000.0 + 0.5));
		last = percent;
	}
	assert_true(last == 100.0);
	assert_int_equal(d.quantiles_ns[50], d.p50_ns);
}

static void no_samples_are_all_zero(void **state)
{
	struct distribution d = distribution_of(NULL, 0);

	(void)state;
	assert_int_equal(d.samples, 0);
	assert_int_equal(d.max_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_sample_is_every_percentile),
	    cmocka_unit_test(of_two_samples_the_median_is_the_lower),
	    cmocka_unit_test(ranks_of_1_to_1000_are_their_own_values),
	    cmocka_unit_test(a_rank_between_samples_goes_up),
	    cmocka_unit_test(large_values_keep_their_order),
	    cmocka_unit_test(quantiles_ascend_to_the_maximum),
	    cmocka_unit_test(no_samples_are_all_zero),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("percentile", tests, NULL, NULL);
}
