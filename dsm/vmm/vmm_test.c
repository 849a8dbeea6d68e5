/*
 * A virtual machine that runs the guest: it beats, it notices damage, and it goes on elsewhere as if nothing
 * had been. Skipped where there is no /dev/kvm for us.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/clock.h"
#include "dsm/vmm/test_machine.h"

#define MS 1000000u

static void guest_runs_and_beats_on(size_t page_bytes)
{
	static struct test_machine s;
	unsigned long long beat = 0, steps = 0;

	machine_make(&s, page_bytes);
	machine_boot(&s, &machine_busy);
	assert_true(machine_says(&s, 3));
	assert_int_equal(vmm_pause(s.vmm), 0);
	machine_assert_beats(&s, &beat, &steps);
	machine_assert_memory(&s);
	machine_end(&s);
}

static void guest_runs_and_beats_on_small_pages(void **state)
{
	(void)state;
	guest_runs_and_beats_on(4 * KIB);
}

static void guest_runs_and_beats_on_hugepages(void **state)
{
	(void)state;
	guest_runs_and_beats_on(2 * MIB);
}

static void guest_comes_to_every_page_in_each_pass(void **state)
{
	struct guest_options options = machine_busy;
	static struct test_machine s;

	(void)state;
	options.walk_bytes = GUEST_BYTES_MIN;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &options);
	assert_true(machine_makes(&s, 2500)); /* three passes over 768 pages, and a bit */
	assert_int_equal(vmm_pause(s.vmm), 0);
	machine_assert_memory(&s);
	machine_end(&s);
}

/* What it had sent of a line, what it had still to rest, all moves. Times chosen so that each is met in some
 * round. */
static void guest_goes_on_in_another_machine(void **state)
{
	static struct test_machine machines[2];
	struct guest_options options = machine_busy;
	unsigned long long beat = 0, steps = 0;

	(void)state;
	options.rest_us = 1500;
	machine_make(&machines[0], 4 * KIB);
	machine_boot(&machines[0], &options);
	for (unsigned int round = 0; round < 6; round++) {
		struct test_machine *from = &machines[round % 2], *to = &machines[(round + 1) % 2];
		struct vmm_state moving;

		assert_true(machine_says(from, 2));
		machine_wait_ms(round * 3);
		machine_make(to, 4 * KIB);
		assert_int_equal(vmm_pause(from->vmm), 0);
		machine_assert_memory(from);
		assert_int_equal(vmm_save(from->vmm, &moving), 0);
		memcpy(to->memory, from->memory, MACHINE_BYTES);
		assert_int_equal(vmm_restore(to->vmm, &moving), 0);
		assert_int_equal(vmm_run(to->vmm), 0);
		machine_assert_beats(from, &beat, &steps);
		machine_end(from);
	}
	assert_true(machine_says(&machines[0], 1));
	assert_int_equal(vmm_pause(machines[0].vmm), 0);
	machine_assert_beats(&machines[0], &beat, &steps);
	machine_assert_memory(&machines[0]);
	machine_end(&machines[0]);
}

static void paused_guest_goes_on_where_it_was(void **state)
{
	static struct test_machine s;
	unsigned long long beat = 0, steps = 0;

	(void)state;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &machine_busy);
	for (unsigned int round = 0; round < 50; round++) {
		machine_wait_ms(1);
		uint64_t from_ns = clock_ns();

		assert_int_equal(vmm_pause(s.vmm), 0);
		assert_true(clock_ns() - from_ns < 1000ull * MS);
		assert_int_equal(vmm_run(s.vmm), 0);
	}
	assert_true(machine_says(&s, machine_lines(&s) + 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	machine_assert_beats(&s, &beat, &steps);
	machine_assert_memory(&s);
	machine_end(&s);
}

/* At once, that is: before the thread of the machine has even seen that it may run. */
static void machine_that_has_hardly_begun_can_be_paused(void **state)
{
	static struct test_machine s;

	(void)state;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &machine_busy);
	for (unsigned int round = 0; round < 200; round++) {
		assert_int_equal(vmm_pause(s.vmm), 0);
		assert_int_equal(vmm_run(s.vmm), 0);
	}
	machine_end(&s);
}

static void resting_guest_can_be_paused_at_once(void **state)
{
	struct guest_options options = machine_busy;
	static struct test_machine s;

	(void)state;
	options.rest_us = 60000000;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &options);
	machine_wait_ms(100);
	uint64_t from_ns = clock_ns();

	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_true(clock_ns() - from_ns < 1000ull * MS);
	machine_assert_memory(&s);
	assert_int_equal(guest_steps(s.memory), options.steps_per_rest);
	machine_end(&s);
}

/* A page is put back to what it was: the guest finds it when it comes by, and we find it when we look. */
static void page_of_a_former_time_is_noticed(void **state)
{
	static struct test_machine s;
	struct guest_options options = machine_busy;
	char former[GUEST_PAGE_BYTES], why[256] = "";
	struct vmm_state paused;
	char *page;

	(void)state;
	options.walk_bytes = GUEST_BYTES_MIN;
	machine_make(&s, 4 * KIB);
	page = s.memory + 2 * MIB;
	machine_boot(&s, &options);
	memcpy(former, page, sizeof former); /* as loaded */
	assert_true(machine_makes(&s, 1600));
	assert_int_equal(vmm_pause(s.vmm), 0);
	memcpy(page, former, sizeof former);
	assert_int_equal(vmm_save(s.vmm, &paused), 0);
	assert_int_equal(guest_check(s.memory, s.bytes, paused.regs.r12, why, sizeof why), -EBADMSG);
	assert_non_null(strstr(why, "visited"));
	unsigned int before = s.lines;
	uint64_t steps = guest_steps(s.memory);

	assert_int_equal(vmm_run(s.vmm), 0);
	assert_true(machine_makes(&s, steps + 800));
	assert_true(machine_says(&s, machine_lines(&s) + 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	bool found = false;

	for (unsigned int i = before; i < s.lines; i++)
		found |= !strncmp(s.text[i], "BAD page 0x200000 holds 0x200", 29);
	assert_true(found);
	assert_non_null(strstr(s.text[s.lines - 1], " failed 1"));
	machine_end(&s);
}

static void changed_byte_anywhere_is_noticed_by_the_check(void **state)
{
	static const size_t offsets[] = {
	    0,
	    GUEST_HEADER_END,
	    GUEST_PML4 + 1,
	    GUEST_PDPT,
	    GUEST_IMAGE + 40,
	    GUEST_IMAGE_END - 1,
	    GUEST_PAGE_DIRECTORIES + 8,
	    GUEST_FIRST - 1,
	    GUEST_FIRST + 17,
	    3 * MIB + 64,
	    MACHINE_BYTES - 1,
	};
	static struct test_machine s;
	char why[256];

	(void)state;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &machine_busy);
	assert_true(machine_says(&s, 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	struct vmm_state paused;

	assert_int_equal(vmm_save(s.vmm, &paused), 0);
	for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
		s.memory[offsets[i]] ^= 4;
		assert_int_equal(guest_check(s.memory, s.bytes, paused.regs.r12, why, sizeof why), -EBADMSG);
		s.memory[offsets[i]] ^= 4;
	}
	machine_assert_memory(&s);
	machine_end(&s);
}

static void machine_without_a_state_does_not_run(void **state)
{
	static struct test_machine s;

	(void)state;
	machine_make(&s, 4 * KIB);
	assert_int_equal(vmm_run(s.vmm), -EBUSY);
	machine_end(&s);
}

static void state_of_another_build_is_refused(void **state)
{
	static struct test_machine s;
	struct vmm_state moving;

	(void)state;
	machine_make(&s, 4 * KIB);
	machine_boot(&s, &machine_busy);
	assert_int_equal(vmm_save(s.vmm, &moving), -EBUSY);
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_int_equal(vmm_save(s.vmm, &moving), 0);
	assert_true(moving.msrs_count > 0);
	moving.version++;
	assert_int_equal(vmm_restore(s.vmm, &moving), -EPROTO);
	moving.version--;
	moving.serial.used = SERIAL_LINE_MAX;
	assert_int_equal(vmm_restore(s.vmm, &moving), -EPROTO);
	moving.serial.used = 0;
	assert_int_equal(vmm_restore(s.vmm, &moving), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	machine_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(machine_without_a_state_does_not_run),
	    cmocka_unit_test(guest_runs_and_beats_on_small_pages),
	    cmocka_unit_test(guest_runs_and_beats_on_hugepages),
	    cmocka_unit_test(guest_comes_to_every_page_in_each_pass),
	    cmocka_unit_test(paused_guest_goes_on_where_it_was),
	    cmocka_unit_test(machine_that_has_hardly_begun_can_be_paused),
	    cmocka_unit_test(resting_guest_can_be_paused_at_once),
	    cmocka_unit_test(guest_goes_on_in_another_machine),
	    cmocka_unit_test(state_of_another_build_is_refused),
	    cmocka_unit_test(page_of_a_former_time_is_noticed),
	    cmocka_unit_test(changed_byte_anywhere_is_noticed_by_the_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
