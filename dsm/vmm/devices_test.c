/*
 * The machine's devices by themselves.
 */
#include <string.h>

#include "kernel/test_support.h"

#include "dsm/vmm/serial.h"
#include "dsm/vmm/timer.h"

static void time_goes_on_where_it_was(void **state)
{
	struct timer_counter t = {0};

	(void)state;
	timer_start(&t, 5000);
	assert_int_equal(timer_ran_ns(&t, 8000), 3000);
	timer_stop(&t, 8000);
	timer_start(&t, 1); /* another host, whose clock is behind */
	assert_int_equal(timer_ran_ns(&t, 2), 3001);
}

static void upper_half_of_the_time_belongs_to_the_lower_that_was_read(void **state)
{
	struct timer_counter t = {.ran_ns = 0xffffffffull * 1000};

	(void)state;
	timer_start(&t, 1);
	assert_int_equal(timer_read(&t, TIMER_LOW, 1), 0xffffffffu);
	assert_int_equal(timer_read(&t, TIMER_HIGH, 5001), 0);
	assert_int_equal(timer_read(&t, TIMER_LOW, 5001), 4);
	assert_int_equal(timer_read(&t, TIMER_HIGH, 5001), 1);
}

static void rests_follow_each_other_at_equal_distances(void **state)
{
	struct timer_counter t = {0};

	(void)state;
	timer_start(&t, 1000);
	timer_arm(&t, 10, 2000);
	assert_int_equal(timer_rest_ends_ns(&t), 11000);
	timer_arm(&t, 10, 15000);
	assert_int_equal(timer_rest_ends_ns(&t), 21000);
	/* Late: at once, and from there on. */
	timer_arm(&t, 10, 50000);
	assert_int_equal(timer_rest_ends_ns(&t), 50000);
	timer_arm(&t, 10, 51000);
	assert_int_equal(timer_rest_ends_ns(&t), 60000);
}

static void serial_port_sends_lines(void **state)
{
	struct serial s = {0};
	const char *line = NULL;

	(void)state;
	serial_write(&s, 3, 0x80);
	assert_null(serial_write(&s, 0, 'x')); /* the divisor */
	assert_int_equal(serial_read(&s, 0), 'x');
	serial_write(&s, 3, 3);
	assert_null(serial_write(&s, 0, 'o'));
	assert_null(serial_write(&s, 0, 'k'));
	assert_null(serial_write(&s, 0, '\r'));
	assert_string_equal(serial_write(&s, 0, '\n'), "ok");
	assert_int_equal(serial_read(&s, 5) & 0x60, 0x60);
	for (unsigned int i = 0; i < SERIAL_LINE_MAX && !line; i++)
		line = serial_write(&s, 0, 'a');
	assert_non_null(line);
	assert_int_equal(strlen(line), SERIAL_LINE_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(time_goes_on_where_it_was),
	    cmocka_unit_test(upper_half_of_the_time_belongs_to_the_lower_that_was_read),
	    cmocka_unit_test(rests_follow_each_other_at_equal_distances),
	    cmocka_unit_test(serial_port_sends_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
