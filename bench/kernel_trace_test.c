/*
 * Lines of the kernel's trace are read for what they say; and on a machine where this process may, a system
 * call is seen at the time at which it was made.
 */
#include "bench/kernel_trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <minorca.h>

static void lines_are_read(void **state)
{
	static const struct {
		const char *line;
		struct kernel_event event;
	} cases[] = {
	    {"            bash-20157   [000] ..... 1560824652696: sys_enter: NR 33 (b, 1, 5632054b79bc, 0, "
	     "7, b)",
	     {1560824652696, KERNEL_CALL, 20157, 33}},
	    {"   fault_latency-7    [101] d..1. 99: sys_exit: NR 16 = 0", {99, KERNEL_CALL_DONE, 7, 16}},
	    {"  fault_latency-12   [001] ..... 5: page_fault_user: address=0x7f0000000000 ip=0x401000 "
	     "error_code=0x4",
	     {5, KERNEL_PAGE_FAULT, 12, 0}},
	    {"  fault_latency-12   [001] d..1. 6: signal_generate: sig=7 errno=0 code=2 comm=fault_latency "
	     "pid=12 "
	     "grp=0 res=0",
	     {6, KERNEL_SIGNAL_GENERATED, 12, 7}},
	    {"  fault_latency-12   [001] d..1. 7: signal_deliver: sig=7 errno=0 code=2 sa_handler=401000 "
	     "sa_flags=0",
	     {7, KERNEL_SIGNAL_DELIVERED, 12, 7}},
	    {"  fault_latency-12   [001] d..2. 8: sched_waking: comm=a pid=34 prio=120 target_cpu=000",
	     {8, KERNEL_WAKING, 12, 34}},
	    {"          <idle>-0     [001] d..2. 9: sched_switch: prev_comm=swapper/1 prev_pid=0 "
	     "prev_prio=120 "
	     "prev_state=R ==> next_comm=x next_pid=34 next_prio=120",
	     {9, KERNEL_SWITCH, 0, 34}},
	    {"      a [7] b-3-4711   [002] ..... 10: sys_exit: NR 15 = 0", {10, KERNEL_CALL_DONE, 4711, 15}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct kernel_event event = {0};
		assert_true(kernel_trace_parse(cases[i].line, &event));
		assert_int_equal(event.ticks, cases[i].event.ticks);
		assert_int_equal(event.kind, cases[i].event.kind);
		assert_int_equal(event.thread, cases[i].event.thread);
		assert_int_equal(event.number, cases[i].event.number);
	}
}

static void other_lines_are_not(void **state)
{
	static const char *const lines[] = {
	    "",
	    "# tracer: nop",
	    "CPU:1 [LOST 312 EVENTS]",
	    "            bash-20157   [000] ..... 1560824652696: sys_enter_openat: dfd: 0xffffff9c",
	    "            bash-20157   [000] ..... 1560824652696: sched_waking: nothing",
	    "            bash   [000] ..... 1560824652696: sys_exit: NR 16 = 0",
	};
	struct kernel_event event;

	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_false(kernel_trace_parse(lines[i], &event));
}

static void system_calls_are_seen_when_they_are_made(void **state)
{
	char reason[KERNEL_TRACE_REASON_MAX];
	struct kernel_trace *trace;
	const struct kernel_event *events;
	size_t count, found = 0;

	(void)state;
	if (kernel_trace_open(&trace, reason)) {
		print_message("# SKIP %s\n", reason);
		skip();
	}
	assert_int_equal(kernel_trace_start(trace), 0);
	uint64_t before = dsm_trace_ticks();
	for (unsigned int i = 0; i < 10; i++)
		syscall(SYS_getppid);
	uint64_t after = dsm_trace_ticks();
	assert_int_equal(kernel_trace_stop(trace), 0);
	syscall(SYS_getppid); /* not any more */
	assert_int_equal(kernel_trace_read(trace, &events, &count), 0);
	for (size_t i = 0; i < count; i++) {
		if (events[i].number != SYS_getppid || events[i].kind != KERNEL_CALL)
			continue;
		assert_true(events[i].ticks > before && events[i].ticks < after);
		assert_int_equal(events[i].thread, syscall(SYS_gettid));
		found++;
	}
	assert_int_equal(found, 10);
	kernel_trace_close(trace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_are_read),
	    cmocka_unit_test(other_lines_are_not),
	    cmocka_unit_test(system_calls_are_seen_when_they_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
