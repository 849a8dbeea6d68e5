#include "dsm/vmm/test_machine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define WAIT_S 20

const struct guest_options machine_busy = {
    .walk_bytes = MACHINE_BYTES, .stride_bytes = 4 * KIB, .steps_per_rest = 64, .beat_us = 5000};

static void take_line(void *argument, const char *line)
{
	struct test_machine *s = argument;

	pthread_mutex_lock(&s->lock);
	if (s->lines < MACHINE_LINES_MAX)
		snprintf(s->text[s->lines++], sizeof s->text[0], "%s", line);
	pthread_mutex_unlock(&s->lock);
}

unsigned int machine_lines(struct test_machine *s)
{
	pthread_mutex_lock(&s->lock);
	unsigned int lines = s->lines;

	pthread_mutex_unlock(&s->lock);
	return lines;
}

void machine_wait_ms(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

/* @return whether so many lines come within WAIT_S, and the machine lives. */
bool machine_says(struct test_machine *s, unsigned int lines)
{
	char why[256];

	for (unsigned int i = 0; i < WAIT_S * 200; i++) {
		if (machine_lines(s) >= lines)
			return true;
		if (vmm_condition(s->vmm, why, sizeof why) == RUNNER_ENDED) {
			print_message("# %s\n", why);
			return false;
		}
		machine_wait_ms(5);
	}
	return false;
}

/* @return whether it makes so many steps within WAIT_S. */
bool machine_makes(const struct test_machine *s, uint64_t steps)
{
	for (unsigned int i = 0; i < WAIT_S * 200 && guest_steps(s->memory) < steps; i++)
		machine_wait_ms(5);
	return guest_steps(s->memory) >= steps;
}

/* @return the machine's last words; "" if it goes on for WAIT_S. */
const char *machine_ends(struct test_machine *s)
{
	static char why[256];

	for (unsigned int i = 0; i < WAIT_S * 200; i++) {
		if (vmm_condition(s->vmm, why, sizeof why) == RUNNER_ENDED)
			return why;
		machine_wait_ms(5);
	}
	return "";
}

static void make_memory(struct test_machine *s, size_t page_bytes)
{
	void *memory = NULL;

	s->bytes = MACHINE_BYTES;
	s->file = memory_file_create("vmm-test", MACHINE_BYTES, page_bytes);
	if (s->file == -ENODEV || s->file == -ENOSYS)
		SKIP_BECAUSE("no pages of %s here", memory_page_size_name(page_bytes));
	assert_true(s->file >= 0);
	int error = memory_allocate(s->file, 0, MACHINE_BYTES);

	if (error == -ENOSPC) {
		close(s->file);
		SKIP_BECAUSE("too few free pages of %s", memory_page_size_name(page_bytes));
	}
	assert_int_equal(error, 0);
	assert_int_equal(memory_map(s->file, MACHINE_BYTES, NULL, &memory), 0);
	s->memory = memory;
}

bool machine_cannot_be_had(int error)
{
	return error == -ENOENT || error == -EACCES || error == -EPERM || error == -ENODEV ||
	       error == -EOPNOTSUPP;
}

/* A machine without a state. Skips the test where there can be none. */
void machine_make(struct test_machine *s, size_t page_bytes)
{
	struct vmm_options options = {.on_line = take_line, .argument = s};
	char why[256];

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	make_memory(s, page_bytes);
	options.memory = s->memory;
	options.bytes = s->bytes;
	int error = vmm_create(&options, &s->vmm, why, sizeof why);

	if (machine_cannot_be_had(error)) {
		munmap(s->memory, s->bytes);
		close(s->file);
		SKIP_BECAUSE("no virtual machine here: %s", why);
	}
	assert_int_equal(error, 0);
}

void machine_boot(struct test_machine *s, const struct guest_options *options)
{
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};

	assert_int_equal(guest_load(s->memory, s->bytes, options), 0);
	assert_int_equal(vmm_boot(s->vmm, &entry), 0);
	assert_int_equal(vmm_run(s->vmm), 0);
}

void machine_end(struct test_machine *s)
{
	vmm_destroy(s->vmm);
	munmap(s->memory, s->bytes);
	close(s->file);
	pthread_mutex_destroy(&s->lock);
}

/* That lines are beats, all well, which go on from @beat and @steps. */
void machine_assert_beats(const struct test_machine *s, unsigned long long *beat, unsigned long long *steps)
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
void machine_assert_memory(struct test_machine *s)
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
