/*
 * A fault is followed through the kernel: no tick of it is lost, what other threads do is none of it, and
 * what tracing costs is taken off.
 */
#include "bench/kernel_stages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { FAULTER = 10, HANDLER = 20, OTHER = 30 };

/* All but the last one begin with the event or moment that is named. */
static const uint64_t inline_moments[DSM_MOMENTS] = {
    [DSM_MOMENT_ENTERED] = 1400, [DSM_MOMENT_LOCKED] = 1410, [DSM_MOMENT_PREPARED] = 1420,
    [DSM_MOMENT_ASKED] = 1430,	 [DSM_MOMENT_READ] = 1500,   [DSM_MOMENT_READY] = 1510,
    [DSM_MOMENT_MAPPED] = 1730,	 [DSM_MOMENT_LEFT] = 1740,
};

static const struct kernel_event inline_events[] = {
    {1100, KERNEL_PAGE_FAULT, FAULTER, 0},	    {1150, KERNEL_CALL, OTHER, SYS_ioctl},
    {1200, KERNEL_SIGNAL_GENERATED, FAULTER, 7},    {1300, KERNEL_SIGNAL_DELIVERED, FAULTER, 7},
    {1520, KERNEL_CALL, FAULTER, SYS_ioctl},	    {1720, KERNEL_CALL_DONE, FAULTER, SYS_ioctl},
    {1750, KERNEL_CALL, FAULTER, SYS_rt_sigreturn}, {1850, KERNEL_CALL_DONE, FAULTER, SYS_rt_sigreturn},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct kernel_window window_of(const uint64_t *moments, const struct kernel_event *events,
				      size_t count)
{
	return (struct kernel_window){.before = 1000,
				      .after = 1900,
				      .thread = FAULTER,
				      .moments = moments,
				      .events = events,
				      .count = count};
}

static void inline_delivery_is_followed(void **state)
{
	struct kernel_window window = window_of(inline_moments, inline_events, COUNT(inline_events));
	uint64_t ticks[KERNEL_STAGES];
	static const uint64_t expected[KERNEL_STAGES] = {
	    [KERNEL_STAGE_EXCEPTION] = 100, [KERNEL_STAGE_HANDLE] = 100,    [KERNEL_STAGE_SIGNAL] = 100,
	    [KERNEL_STAGE_FRAME] = 100,	    [KERNEL_STAGE_DATA] = 90,	    [KERNEL_STAGE_RUNTIME] = 60,
	    [KERNEL_STAGE_IOCTL] = 200,	    [KERNEL_STAGE_SIGRETURN] = 100, [KERNEL_STAGE_RESUME] = 50,
	};

	(void)state;
	assert_true(kernel_stages(&window, ticks));
	for (unsigned int i = 0; i < KERNEL_STAGES; i++)
		assert_int_equal(ticks[i], expected[i]);
}

static void costs_are_taken_off_what_follows(void **state)
{
	struct kernel_window window = window_of(inline_moments, inline_events, COUNT(inline_events));
	uint64_t plain[KERNEL_STAGES], net[KERNEL_STAGES];

	(void)state;
	assert_true(kernel_stages(&window, plain));
	window.event_cost = 3;
	window.moment_cost = 1;
	assert_true(kernel_stages(&window, net));
	assert_int_equal(net[KERNEL_STAGE_EXCEPTION], plain[KERNEL_STAGE_EXCEPTION] - 1);
	assert_int_equal(net[KERNEL_STAGE_HANDLE], plain[KERNEL_STAGE_HANDLE] - 3);
	assert_int_equal(net[KERNEL_STAGE_IOCTL], plain[KERNEL_STAGE_IOCTL] - 3);
	assert_int_equal(net[KERNEL_STAGE_DATA], plain[KERNEL_STAGE_DATA] - 3); /* of three moments */
}

static void delivery_to_a_thread_is_followed(void **state)
{
	static const struct kernel_event events[] = {
	    {1100, KERNEL_PAGE_FAULT, FAULTER, 0},   {1200, KERNEL_WAKING, FAULTER, HANDLER},
	    {1250, KERNEL_SWITCH, FAULTER, 0},	     {1350, KERNEL_CALL_DONE, HANDLER, SYS_read},
	    {1520, KERNEL_CALL, HANDLER, SYS_ioctl}, {1540, KERNEL_CALL, OTHER, SYS_futex},
	    {1550, KERNEL_WAKING, OTHER, HANDLER},   {1560, KERNEL_CALL_DONE, OTHER, SYS_futex},
	    {1600, KERNEL_WAKING, HANDLER, FAULTER}, {1610, KERNEL_CALL_DONE, HANDLER, SYS_ioctl},
	    {1800, KERNEL_SWITCH, 0, FAULTER},
	};
	struct kernel_window window = window_of(inline_moments, events, COUNT(events));
	uint64_t ticks[KERNEL_STAGES], sum = 0;

	(void)state;
	assert_true(kernel_stages(&window, ticks));
	assert_int_equal(ticks[KERNEL_STAGE_HANDLE], 100);
	assert_int_equal(ticks[KERNEL_STAGE_HANDOVER], 200);
	assert_int_equal(ticks[KERNEL_STAGE_IOCTL], 80);
	assert_int_equal(ticks[KERNEL_STAGE_WAKE], 200);
	assert_int_equal(ticks[KERNEL_STAGE_RESUME], 100);
	for (unsigned int i = 0; i < KERNEL_STAGES; i++)
		sum += ticks[i];
	assert_int_equal(sum, window.after - window.before);
}

static void lost_events_are_noticed(void **state)
{
	uint64_t ticks[KERNEL_STAGES];

	(void)state;
	for (size_t i = 0; i < COUNT(inline_events); i++) {
		struct kernel_event rest[COUNT(inline_events)];
		if (inline_events[i].thread != FAULTER || inline_events[i].number == SYS_ioctl)
			continue;
		memcpy(rest, inline_events, sizeof rest);
		rest[i].thread = OTHER;
		struct kernel_window window = window_of(inline_moments, rest, COUNT(rest));
		assert_false(kernel_stages(&window, ticks));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(inline_delivery_is_followed),
	    cmocka_unit_test(costs_are_taken_off_what_follows),
	    cmocka_unit_test(delivery_to_a_thread_is_followed),
	    cmocka_unit_test(lost_events_are_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
