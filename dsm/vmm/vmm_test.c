/*
 * A virtual machine that runs the guest: it beats, it notices damage, and it goes on elsewhere as if nothing
 * had been. Skipped where there is no /dev/kvm for us.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/memory.h"
#include "kernel/test_support.h"
#include "kernel/uffd.h"

#include "dsm/clock.h"
#include "dsm/vmm/guest.h"
#include "dsm/vmm/vmm.h"

#define BYTES (8 * MIB)
#define LINES_MAX 256
#define WAIT_S 20
#define MS 1000000u

/* What a machine has said, and the machine. */
struct subject {
	struct vmm *vmm;
	int file;
	char *memory;
	size_t bytes;
	pthread_mutex_t lock;
	unsigned int lines;
	char text[LINES_MAX][SERIAL_LINE_MAX];
};

static const struct guest_options busy = {
    .walk_bytes = BYTES, .stride_bytes = 4 * KIB, .steps_per_rest = 64, .beat_us = 5000};

static void take_line(void *argument, const char *line)
{
	struct subject *s = argument;

	pthread_mutex_lock(&s->lock);
	if (s->lines < LINES_MAX)
		snprintf(s->text[s->lines++], sizeof s->text[0], "%s", line);
	pthread_mutex_unlock(&s->lock);
}

static unsigned int lines_of(struct subject *s)
{
	pthread_mutex_lock(&s->lock);
	unsigned int lines = s->lines;

	pthread_mutex_unlock(&s->lock);
	return lines;
}

static void sleep_ms(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

/* @return whether so many lines come within WAIT_S, and the machine lives. */
static bool says(struct subject *s, unsigned int lines)
{
	char why[256];

	for (unsigned int i = 0; i < WAIT_S * 200; i++) {
		if (lines_of(s) >= lines)
			return true;
		if (vmm_condition(s->vmm, why, sizeof why) == RUNNER_ENDED) {
			print_message("# %s\n", why);
			return false;
		}
		sleep_ms(5);
	}
	return false;
}

/* @return whether it makes so many steps within WAIT_S. */
static bool makes(const struct subject *s, uint64_t steps)
{
	for (unsigned int i = 0; i < WAIT_S * 200 && guest_steps(s->memory) < steps; i++)
		sleep_ms(5);
	return guest_steps(s->memory) >= steps;
}

/* @return the machine's last words; "" if it goes on for WAIT_S. */
static const char *ends(struct subject *s)
{
	static char why[256];

	for (unsigned int i = 0; i < WAIT_S * 200; i++) {
		if (vmm_condition(s->vmm, why, sizeof why) == RUNNER_ENDED)
			return why;
		sleep_ms(5);
	}
	return "";
}

static void make_memory(struct subject *s, size_t page_bytes)
{
	void *memory = NULL;

	s->bytes = BYTES;
	s->file = memory_file_create("vmm-test", BYTES, page_bytes);
	if (s->file == -ENODEV || s->file == -ENOSYS)
		SKIP_BECAUSE("no pages of %s here", memory_page_size_name(page_bytes));
	assert_true(s->file >= 0);
	int error = memory_allocate(s->file, 0, BYTES);

	if (error == -ENOSPC) {
		close(s->file);
		SKIP_BECAUSE("too few free pages of %s", memory_page_size_name(page_bytes));
	}
	assert_int_equal(error, 0);
	assert_int_equal(memory_map(s->file, BYTES, NULL, &memory), 0);
	s->memory = memory;
}

/* A machine without a state. Skips the test where there can be none. */
static void make_machine(struct subject *s, size_t page_bytes)
{
	struct vmm_options options = {.on_line = take_line, .argument = s};
	char why[256];

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	make_memory(s, page_bytes);
	options.memory = s->memory;
	options.bytes = s->bytes;
	int error = vmm_create(&options, &s->vmm, why, sizeof why);

	if (error == -ENOENT || error == -EACCES || error == -EPERM || error == -ENODEV ||
	    error == -EOPNOTSUPP) {
		munmap(s->memory, s->bytes);
		close(s->file);
		SKIP_BECAUSE("no virtual machine here: %s", why);
	}
	assert_int_equal(error, 0);
}

static void boot(struct subject *s, const struct guest_options *options)
{
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};

	assert_int_equal(guest_load(s->memory, s->bytes, options), 0);
	assert_int_equal(vmm_boot(s->vmm, &entry), 0);
	assert_int_equal(vmm_run(s->vmm), 0);
}

static void end(struct subject *s)
{
	vmm_destroy(s->vmm);
	munmap(s->memory, s->bytes);
	close(s->file);
	pthread_mutex_destroy(&s->lock);
}

/* That lines are beats, all well, which go on from @beat and @steps. */
static void assert_beats(const struct subject *s, unsigned long long *beat, unsigned long long *steps)
{
	for (unsigned int i = 0; i < s->lines; i++) {
		unsigned long long n, m;
		char rest[8] = "";

		assert_int_equal(sscanf(s->text[i], "beat %llu steps %llu %7s", &n, &m, rest), 3);
		assert_string_equal(rest, "ok");
		assert_int_equal(n, *beat + 1);
		assert_true(m > *steps);
		*beat = n;
		*steps = m;
	}
}

/* Of a paused machine. */
static void assert_memory_is_right(struct subject *s)
{
	struct vmm_state state;
	char why[256] = "";
	int error;

	assert_int_equal(vmm_save(s->vmm, &state), 0);
	error = guest_check(s->memory, s->bytes, state.regs.r12, why, sizeof why);
	if (error)
		print_message("# %s\n", why);
	assert_int_equal(error, 0);
}

static void guest_runs_and_beats_on(size_t page_bytes)
{
	static struct subject s;
	unsigned long long beat = 0, steps = 0;

	make_machine(&s, page_bytes);
	boot(&s, &busy);
	assert_true(says(&s, 3));
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_beats(&s, &beat, &steps);
	assert_memory_is_right(&s);
	end(&s);
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
	struct guest_options options = busy;
	static struct subject s;

	(void)state;
	options.walk_bytes = GUEST_BYTES_MIN;
	make_machine(&s, 4 * KIB);
	boot(&s, &options);
	assert_true(makes(&s, 2500)); /* three passes over 768 pages, and a bit */
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_memory_is_right(&s);
	end(&s);
}

/* What it had sent of a line, what it had still to rest, all moves. Times chosen so that each is met in some
 * round. */
static void guest_goes_on_in_another_machine(void **state)
{
	static struct subject machines[2];
	struct guest_options options = busy;
	unsigned long long beat = 0, steps = 0;

	(void)state;
	options.rest_us = 1500;
	make_machine(&machines[0], 4 * KIB);
	boot(&machines[0], &options);
	for (unsigned int round = 0; round < 6; round++) {
		struct subject *from = &machines[round % 2], *to = &machines[(round + 1) % 2];
		struct vmm_state moving;

		assert_true(says(from, 2));
		sleep_ms(round * 3);
		make_machine(to, 4 * KIB);
		assert_int_equal(vmm_pause(from->vmm), 0);
		assert_memory_is_right(from);
		assert_int_equal(vmm_save(from->vmm, &moving), 0);
		memcpy(to->memory, from->memory, BYTES);
		assert_int_equal(vmm_restore(to->vmm, &moving), 0);
		assert_int_equal(vmm_run(to->vmm), 0);
		assert_beats(from, &beat, &steps);
		end(from);
	}
	assert_true(says(&machines[0], 1));
	assert_int_equal(vmm_pause(machines[0].vmm), 0);
	assert_beats(&machines[0], &beat, &steps);
	assert_memory_is_right(&machines[0]);
	end(&machines[0]);
}

static void paused_guest_goes_on_where_it_was(void **state)
{
	static struct subject s;
	unsigned long long beat = 0, steps = 0;

	(void)state;
	make_machine(&s, 4 * KIB);
	boot(&s, &busy);
	for (unsigned int round = 0; round < 50; round++) {
		sleep_ms(1);
		uint64_t from_ns = clock_ns();

		assert_int_equal(vmm_pause(s.vmm), 0);
		assert_true(clock_ns() - from_ns < 1000ull * MS);
		assert_int_equal(vmm_run(s.vmm), 0);
	}
	assert_true(says(&s, lines_of(&s) + 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_beats(&s, &beat, &steps);
	assert_memory_is_right(&s);
	end(&s);
}

/* At once, that is: before the thread of the machine has even seen that it may run. */
static void machine_that_has_hardly_begun_can_be_paused(void **state)
{
	static struct subject s;

	(void)state;
	make_machine(&s, 4 * KIB);
	boot(&s, &busy);
	for (unsigned int round = 0; round < 200; round++) {
		assert_int_equal(vmm_pause(s.vmm), 0);
		assert_int_equal(vmm_run(s.vmm), 0);
	}
	end(&s);
}

static void resting_guest_can_be_paused_at_once(void **state)
{
	struct guest_options options = busy;
	static struct subject s;

	(void)state;
	options.rest_us = 60000000;
	make_machine(&s, 4 * KIB);
	boot(&s, &options);
	sleep_ms(100);
	uint64_t from_ns = clock_ns();

	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_true(clock_ns() - from_ns < 1000ull * MS);
	assert_memory_is_right(&s);
	assert_int_equal(guest_steps(s.memory), options.steps_per_rest);
	end(&s);
}

/* A page is put back to what it was: the guest finds it when it comes by, and we find it when we look. */
static void page_of_a_former_time_is_noticed(void **state)
{
	static struct subject s;
	struct guest_options options = busy;
	char former[GUEST_PAGE_BYTES], why[256] = "";
	struct vmm_state paused;
	char *page;

	(void)state;
	options.walk_bytes = GUEST_BYTES_MIN;
	make_machine(&s, 4 * KIB);
	page = s.memory + 2 * MIB;
	boot(&s, &options);
	memcpy(former, page, sizeof former); /* as loaded */
	assert_true(makes(&s, 1600));
	assert_int_equal(vmm_pause(s.vmm), 0);
	memcpy(page, former, sizeof former);
	assert_int_equal(vmm_save(s.vmm, &paused), 0);
	assert_int_equal(guest_check(s.memory, s.bytes, paused.regs.r12, why, sizeof why), -EBADMSG);
	assert_non_null(strstr(why, "visited"));
	unsigned int before = s.lines;
	uint64_t steps = guest_steps(s.memory);

	assert_int_equal(vmm_run(s.vmm), 0);
	assert_true(makes(&s, steps + 800));
	assert_true(says(&s, lines_of(&s) + 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	bool found = false;

	for (unsigned int i = before; i < s.lines; i++)
		found |= !strncmp(s.text[i], "BAD page 0x200000 holds 0x200", 29);
	assert_true(found);
	assert_non_null(strstr(s.text[s.lines - 1], " failed 1"));
	end(&s);
}

static void changed_byte_anywhere_is_noticed_by_the_check(void **state)
{
	static const size_t offsets[] = {GUEST_FIRST + 17, 3 * MIB + 64, BYTES - 1};
	static struct subject s;
	char why[256];

	(void)state;
	make_machine(&s, 4 * KIB);
	boot(&s, &busy);
	assert_true(says(&s, 1));
	assert_int_equal(vmm_pause(s.vmm), 0);
	struct vmm_state paused;

	assert_int_equal(vmm_save(s.vmm, &paused), 0);
	for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
		s.memory[offsets[i]] ^= 4;
		assert_int_equal(guest_check(s.memory, s.bytes, paused.regs.r12, why, sizeof why), -EBADMSG);
		s.memory[offsets[i]] ^= 4;
	}
	assert_memory_is_right(&s);
	end(&s);
}

static void page_that_is_not_to_be_had_ends_it_in_words(void **state)
{
	static struct subject s;

	(void)state;
	make_machine(&s, 4 * KIB);
	assert_int_equal(mprotect(s.memory + 2 * MIB, 4 * KIB, PROT_NONE), 0);
	struct guest_options options = busy;
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};

	/* Loaded before, through the file's other mapping. */
	void *other = NULL;

	assert_int_equal(memory_map(s.file, BYTES, NULL, &other), 0);
	assert_int_equal(guest_load(other, BYTES, &options), 0);
	munmap(other, BYTES);
	assert_int_equal(vmm_boot(s.vmm, &entry), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	const char *why = ends(&s);

	print_message("# %s\n", why);
	assert_non_null(strstr(why, "not to be had"));
	assert_non_null(strstr(why, "rip 0x10"));
	assert_int_equal(vmm_pause(s.vmm), -ESRCH);
	assert_int_equal(vmm_run(s.vmm), -EBUSY);
	end(&s);
}

static void machine_without_a_state_does_not_run(void **state)
{
	static struct subject s;

	(void)state;
	make_machine(&s, 4 * KIB);
	assert_int_equal(vmm_run(s.vmm), -EBUSY);
	end(&s);
}

static void state_of_another_build_is_refused(void **state)
{
	static struct subject s;
	struct vmm_state moving;

	(void)state;
	make_machine(&s, 4 * KIB);
	boot(&s, &busy);
	assert_int_equal(vmm_save(s.vmm, &moving), -EBUSY);
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_int_equal(vmm_save(s.vmm, &moving), 0);
	moving.version++;
	assert_int_equal(vmm_restore(s.vmm, &moving), -EPROTO);
	moving.version--;
	moving.serial.used = SERIAL_LINE_MAX;
	assert_int_equal(vmm_restore(s.vmm, &moving), -EPROTO);
	moving.serial.used = 0;
	assert_int_equal(vmm_restore(s.vmm, &moving), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	end(&s);
}

/* --- memory that comes when it is touched -------------------------------------------------------------- */

struct handler {
	int uffd;
	size_t page_bytes;
	unsigned int delay_ms; /* before the first answer */
	unsigned int faults, bad_addresses;
	char *memory;
	bool stop;
};

static void *resolve_faults(void *argument)
{
	struct handler *h = argument;
	struct pollfd p = {.fd = h->uffd, .events = POLLIN};
	struct uffd_msg m;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		if (poll(&p, 1, 10) <= 0 || read(h->uffd, &m, sizeof m) != sizeof m)
			continue;
		char *page = (char *)(m.arg.pagefault.address & ~(uint64_t)(h->page_bytes - 1));

		if (!(m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) || page < h->memory ||
		    page >= h->memory + BYTES)
			__atomic_add_fetch(&h->bad_addresses, 1, __ATOMIC_RELAXED);
		if (!__atomic_fetch_add(&h->faults, 1, __ATOMIC_RELAXED))
			sleep_ms(h->delay_ms);
		uffd_continue_all(h->uffd, page, h->page_bytes, h->page_bytes, 0, NULL);
	}
	return NULL;
}

/* All pages are in the file and none is mapped: KVM's own touch of each is a minor fault, which blocks the
 * guest until the handler says CONTINUE. Meanwhile it can be asked to pause, and is paused when it has the
 * page. */
static void guest_runs_on_minor_faults(size_t page_bytes)
{
	static struct subject s;
	struct handler h = {.page_bytes = page_bytes, .delay_ms = 200};
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};
	unsigned long long beat = 0, steps = 0;
	pthread_t thread;
	uint64_t from_ns;

	make_machine(&s, page_bytes);
	assert_int_equal(guest_load(s.memory, BYTES, &busy), 0);
	h.memory = s.memory;
	h.uffd = uffd_open(0, true, NULL);
	if (h.uffd < 0) {
		end(&s);
		SKIP_BECAUSE("no userfaultfd for faults of the kernel here");
	}
	assert_int_equal(uffd_register(h.uffd, s.memory, BYTES, UFFDIO_REGISTER_MODE_MINOR, NULL), 0);
	assert_int_equal(madvise(s.memory, BYTES, MADV_DONTNEED), 0);
	assert_int_equal(pthread_create(&thread, NULL, resolve_faults, &h), 0);
	assert_int_equal(vmm_boot(s.vmm, &entry), 0);
	from_ns = clock_ns();
	assert_int_equal(vmm_run(s.vmm), 0);
	sleep_ms(20);
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_true(clock_ns() - from_ns >= 190ull * MS);
	assert_int_equal(vmm_run(s.vmm), 0);
	assert_true(says(&s, 3));
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_beats(&s, &beat, &steps);
	assert_memory_is_right(&s);
	print_message("# %u faults of %u pages\n", h.faults, (unsigned int)(BYTES / page_bytes));
	assert_true(h.faults > (page_bytes == 4 * KIB ? 100 : 2));
	assert_int_equal(h.bad_addresses, 0);
	__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(h.uffd);
	end(&s);
}

static void guest_runs_on_minor_faults_of_small_pages(void **state)
{
	(void)state;
	guest_runs_on_minor_faults(4 * KIB);
}

static void guest_runs_on_minor_faults_of_hugepages(void **state)
{
	(void)state;
	guest_runs_on_minor_faults(2 * MIB);
}

/* --- devices ------------------------------------------------------------------------------------------- */

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
	    cmocka_unit_test(page_that_is_not_to_be_had_ends_it_in_words),
	    cmocka_unit_test(guest_runs_on_minor_faults_of_small_pages),
	    cmocka_unit_test(guest_runs_on_minor_faults_of_hugepages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
