/*
 * Steps by time: what is usual, when it is so again, and the curve.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/throughput.h"

#define MS UINT64_C(1000000)
#define ORIGIN (1000 * MS)

static struct throughput t;

/* @steps in each of the bins of [@from_ms, @to_ms). */
static void work(double from_ms, double to_ms, unsigned int steps)
{
	uint64_t from = (uint64_t)(from_ms * 10), to = (uint64_t)(to_ms * 10);

	for (uint64_t bin = from; bin < to; bin++)
		for (unsigned int i = 0; i < steps; i++)
			throughput_add(&t, ORIGIN + bin * THROUGHPUT_BIN_NS + i);
}

static int begin(void **state)
{
	(void)state;
	throughput_begin(&t, ORIGIN);
	return 0;
}

static void what_is_usual_is_the_median_of_milliseconds(void **state)
{
	(void)state;
	work(0, 10, 5);
	work(10, 11, 100);
	work(11, 13, 0);
	assert_int_equal(throughput_usual(&t, ORIGIN, ORIGIN + 13 * MS), 50);
	assert_int_equal(throughput_usual(&t, ORIGIN, ORIGIN), 0);
}

static void it_is_back_when_it_stays(void **state)
{
	(void)state;
	work(0, 20, 10);
	work(22, 22.5, 10); /* a burst */
	work(22.5, 26, 3);
	work(26, 40, 9);
	assert_int_equal(throughput_recovered(&t, ORIGIN + 20 * MS, ORIGIN + 40 * MS, 100, 0.9), 6 * MS);
}

static void it_is_not_back_before_the_end(void **state)
{
	(void)state;
	work(0, 20, 10);
	work(20, 40, 8);
	work(39, 40, 10);
	assert_int_equal(throughput_recovered(&t, ORIGIN + 20 * MS, ORIGIN + 39 * MS, 100, 0.9),
			 OUTPUT_ABSENT);
	assert_int_equal(throughput_recovered(&t, ORIGIN + 20 * MS, ORIGIN + 40 * MS, 0, 0.9), OUTPUT_ABSENT);
}

static void what_was_done_elsewhere_is_added(void **state)
{
	static uint32_t bins[THROUGHPUT_BINS];

	(void)state;
	work(0, 1, 2);
	bins[3] = 7;
	throughput_merge(&t, bins);
	assert_int_equal(t.bins[2], 2);
	assert_int_equal(t.bins[3], 9);
}

static void a_curve_has_its_zero_where_it_is_told(void **state)
{
	double points[4][2];
	struct curve curve = {4, points};

	(void)state;
	work(8, 10, 1);
	work(12, 14, 2);
	throughput_curve(&t, ORIGIN + 10 * MS, 2, 1, &curve);
	assert_true(points[0][0] == -2 && points[0][1] == 10); /* steps in a ms */
	assert_true(points[1][0] == 0 && points[1][1] == 0);
	assert_true(points[2][0] == 2 && points[2][1] == 20);
}

static void what_is_out_of_range_is_not_counted(void **state)
{
	(void)state;
	throughput_add(&t, ORIGIN - 1);
	throughput_add(&t, ORIGIN + THROUGHPUT_BIN_NS * (uint64_t)THROUGHPUT_BINS);
	for (size_t i = 0; i < THROUGHPUT_BINS; i++)
		assert_int_equal(t.bins[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_is_usual_is_the_median_of_milliseconds, begin),
	    cmocka_unit_test_setup(it_is_back_when_it_stays, begin),
	    cmocka_unit_test_setup(it_is_not_back_before_the_end, begin),
	    cmocka_unit_test_setup(what_was_done_elsewhere_is_added, begin),
	    cmocka_unit_test_setup(a_curve_has_its_zero_where_it_is_told, begin),
	    cmocka_unit_test_setup(what_is_out_of_range_is_not_counted, begin),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("throughput", tests, NULL, NULL);
}
