/*
 * Both workloads, by the same tests: what works beats, notices damage, and goes on over a copy of its memory.
 * And the reader of beats.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/test_support.h"

#include "dsm/vmm/churn.h"
#include "dsm/vmm/heartbeat.h"
#include "dsm/vmm/test_machine.h"
#include "dsm/vmm/workload.h"

#define BYTES ((size_t)8 << 20)
#define WAIT_MS 20000
#define RATE_LOOKS 3
#define RATE_TRIES 100 /* where the machine is busy all the time */

struct subject {
	const struct workload_kind *kind;
	struct workload *workload;
	char *memory;
	pthread_mutex_t lock;
	struct heartbeat heart;
	bool damaged; /* it is expected to say so */
};

static void take_line(void *argument, const char *line)
{
	struct subject *s = argument;

	pthread_mutex_lock(&s->lock);
	enum heartbeat_line kind = heartbeat_take(&s->heart, line);

	if (kind != HEARTBEAT_BEAT && !s->damaged)
		print_message("# %s\n", line);
	pthread_mutex_unlock(&s->lock);
}

static struct heartbeat heart_of(struct subject *s)
{
	pthread_mutex_lock(&s->lock);
	struct heartbeat heart = s->heart;

	pthread_mutex_unlock(&s->lock);
	return heart;
}

static bool beats_to(struct subject *s, uint64_t beat)
{
	for (unsigned int ms = 0; ms < WAIT_MS && heart_of(s).last_beat < beat; ms += 2)
		poll(NULL, 0, 2);
	return heart_of(s).last_beat >= beat;
}

static void make(struct subject *s, const struct workload_kind *kind, const struct workload_options *options)
{
	struct workload_options o = *options;
	char why[256];

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	s->kind = kind;
	s->memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s->memory != MAP_FAILED);
	o.memory = s->memory;
	o.bytes = BYTES;
	o.on_line = take_line;
	o.argument = s;
	int error = kind->create(&o, &s->workload, why, sizeof why);

	if (kind == &workload_vm && machine_cannot_be_had(error)) {
		munmap(s->memory, BYTES);
		SKIP_BECAUSE("no %s here: %s", kind->what, why);
	}
	if (error)
		print_message("# %s\n", why);
	assert_int_equal(error, 0);
}

static void end(struct subject *s)
{
	s->kind->destroy(s->workload);
	munmap(s->memory, BYTES);
	pthread_mutex_destroy(&s->lock);
}

static void assert_is_well(struct subject *s)
{
	char why[256] = "";
	int error = s->kind->check(s->workload, why, sizeof why);

	if (error)
		print_message("# %s\n", why);
	assert_int_equal(error, 0);
	assert_int_equal(heart_of(s).went_back, 0);
	assert_int_equal(heart_of(s).failed, 0);
}

static const struct workload_options quick = {.beat_us = 4000};

static void it_beats_and_is_well(void **state)
{
	static struct subject s;

	make(&s, *state, &quick);
	assert_int_equal(s.kind->run(s.workload), -EBUSY);
	assert_int_equal(s.kind->boot(s.workload), 0);
	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, 5));
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_is_well(&s);
	end(&s);
}

static void it_has_nothing_to_save_or_check_before_it_begins(void **state)
{
	static struct subject s;
	char moving[WORKLOAD_STATE_MAX], why[256] = "";

	make(&s, *state, &quick);
	assert_int_equal(s.kind->save(s.workload, moving, sizeof moving), -EBUSY);
	assert_int_equal(s.kind->check(s.workload, why, sizeof why), -EBUSY);
	assert_true(strlen(why) > 0);
	end(&s);
}

static void it_keeps_to_part_of_its_memory(void **state)
{
	struct workload_options some = quick;
	static struct subject s;

	some.walk_bytes = WORKLOAD_BYTES_MIN;
	some.stride_bytes = 64 << 10;
	make(&s, *state, &some);
	assert_int_equal(s.kind->boot(s.workload), 0);
	char *before = malloc(BYTES);

	memcpy(before, s.memory, BYTES);
	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, 5));
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_is_well(&s);
	/* Below 1 MiB the guest has itself. */
	for (size_t at = 1 << 20; at < BYTES; at += 4096)
		if (at >= some.walk_bytes || at % some.stride_bytes)
			assert_memory_equal(before + at, s.memory + at, 4096);
	assert_memory_not_equal(before + (1 << 20), s.memory + (1 << 20), 3 << 20);
	free(before);
	end(&s);
}

/* Steps to a beat, since a beat before; waits for @beats more. */
static uint64_t steps_to_a_beat(struct subject *s, uint64_t beats)
{
	struct heartbeat from = heart_of(s);

	assert_true(beats_to(s, from.last_beat + beats));
	struct heartbeat to = heart_of(s);

	return (to.last_steps - from.last_steps) / (to.last_beat - from.last_beat);
}

/*
 * 100 steps to a beat. However busy the machine, it never makes many more: what it has missed it does not
 * make up for. It may make fewer now and then, where others have the processor; but not always.
 */
static void it_keeps_to_its_rate(void **state)
{
	struct workload_options slow = quick;
	static struct subject s;
	uint64_t most = 0;

	slow.writes_per_s = 2000;
	slow.beat_us = 50000;
	make(&s, *state, &slow);
	assert_int_equal(s.kind->boot(s.workload), 0);
	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, 2));
	for (unsigned int i = 0; i < RATE_TRIES && (i < RATE_LOOKS || most < 80); i++) {
		uint64_t steps = steps_to_a_beat(&s, 2);

		assert_true(steps <= 150);
		most = steps > most ? steps : most;
	}
	print_message("# at most %d steps to a beat\n", (int)most);
	assert_true(most >= 80);
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_is_well(&s);
	end(&s);
}

static void it_goes_on_over_a_copy(void **state)
{
	static struct subject subjects[2];
	char moving[WORKLOAD_STATE_MAX];

	make(&subjects[0], *state, &quick);
	assert_int_equal(subjects[0].kind->boot(subjects[0].workload), 0);
	assert_int_equal(subjects[0].kind->run(subjects[0].workload), 0);
	for (unsigned int round = 0; round < 5; round++) {
		struct subject *from = &subjects[round % 2], *to = &subjects[(round + 1) % 2];

		assert_true(beats_to(from, 2 * round + 2));
		make(to, *state, &quick);
		assert_int_equal(from->kind->save(from->workload, moving, sizeof moving), -EBUSY);
		assert_int_equal(from->kind->pause(from->workload), 0);
		ssize_t bytes = from->kind->save(from->workload, moving, sizeof moving);

		assert_true(bytes > 0);
		assert_int_equal(from->kind->save(from->workload, moving, (size_t)bytes - 1), -EMSGSIZE);
		assert_is_well(from);
		memcpy(to->memory, from->memory, BYTES);
		to->heart = from->heart;
		assert_int_equal(to->kind->restore(to->workload, moving, (size_t)bytes - 1), -EPROTO);
		assert_int_equal(to->kind->restore(to->workload, moving, (size_t)bytes), 0);
		assert_int_equal(to->kind->run(to->workload), 0);
		end(from);
	}
	assert_true(beats_to(&subjects[1], 12));
	assert_int_equal(subjects[1].kind->pause(subjects[1].workload), 0);
	assert_is_well(&subjects[1]);
	end(&subjects[1]);
}

/* All memory is put back to what it was a while ago: what is found when it is met, and by the check. */
static void it_notices_memory_of_a_former_time(void **state)
{
	static struct subject s;
	char why[256] = "";

	make(&s, *state, &quick);
	assert_int_equal(s.kind->boot(s.workload), 0);
	char *former = malloc(BYTES);

	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, 2));
	assert_int_equal(s.kind->pause(s.workload), 0);
	memcpy(former, s.memory, BYTES);
	/* Until the walk has come by everywhere, and a bit further: 2048 pages, or 32768 keys. */
	uint64_t steps = heart_of(&s).last_steps;

	assert_int_equal(s.kind->run(s.workload), 0);
	for (unsigned int ms = 0; ms < WAIT_MS && heart_of(&s).last_steps < steps + 40000 &&
				  !(s.kind == &workload_vm && heart_of(&s).last_steps > steps + 2500);
	     ms += 2)
		poll(NULL, 0, 2);
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_is_well(&s);
	/* The guest's program stays. */
	memcpy(s.memory + (1 << 20), former + (1 << 20), BYTES - (1 << 20));
	s.damaged = true;
	assert_int_equal(s.kind->check(s.workload, why, sizeof why), -EBADMSG);
	assert_true(strlen(why) > 0);
	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, heart_of(&s).last_beat + 3));
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_true(heart_of(&s).failed > 0);
	assert_int_equal(heart_of(&s).went_back, 0);
	free(former);
	end(&s);
}

static void check_finds_any_changed_byte(void **state)
{
	static struct subject s;
	char why[256];

	make(&s, *state, &quick);
	assert_int_equal(s.kind->boot(s.workload), 0);
	assert_int_equal(s.kind->run(s.workload), 0);
	assert_true(beats_to(&s, 2));
	assert_int_equal(s.kind->pause(s.workload), 0);
	assert_is_well(&s);
	for (size_t at = 5; at < BYTES; at += 65535) {
		s.memory[at] ^= 0x10;
		assert_int_equal(s.kind->check(s.workload, why, sizeof why), -EBADMSG);
		s.memory[at] ^= 0x10;
	}
	assert_is_well(&s);
	end(&s);
}

/* --- what needs no thread ------------------------------------------------------------------------------ */

static void every_key_is_right_for_many_passes(void **state)
{
	struct churn_progress p;
	struct churn c = {.bytes = 16384, .walk_bytes = 8192, .stride_bytes = 4096};
	char why[256] = "";

	(void)state;
	c.memory = aligned_alloc(4096, c.bytes);
	assert_int_equal(churn_begin(&c, &p), 0);
	for (unsigned int i = 0; i < 32 * 1000; i++) {
		assert_true(churn_step(&c, &p, why, sizeof why));
		assert_int_equal(churn_check(&c, &p, why, sizeof why), 0);
	}
	assert_int_equal(p.pass, 1000);
	assert_int_equal(p.failures, 0);
	free(c.memory);
}

static void table_that_cannot_be_is_refused(void **state)
{
	struct churn_progress p;
	struct churn c = {.bytes = 16384, .walk_bytes = 32768, .stride_bytes = 4096};

	(void)state;
	assert_int_equal(churn_begin(&c, &p), -EINVAL);
	c.walk_bytes = 12288;
	assert_int_equal(churn_begin(&c, &p), -EINVAL);
	c.walk_bytes = 16384;
	c.stride_bytes = 0;
	assert_int_equal(churn_begin(&c, &p), -EINVAL);
}

static void heart_that_goes_back_is_noticed(void **state)
{
	struct heartbeat h = {0};

	(void)state;
	assert_int_equal(heartbeat_take(&h, "hello"), HEARTBEAT_OTHER);
	assert_int_equal(heartbeat_take(&h, "beat 1 steps 10 ok"), HEARTBEAT_BEAT);
	assert_int_equal(heartbeat_take(&h, "beat 2 steps 20 ok"), HEARTBEAT_BEAT);
	assert_int_equal(heartbeat_take(&h, "beat 2 steps 30 ok"), HEARTBEAT_WENT_BACK);
	assert_int_equal(heartbeat_take(&h, "beat 4 steps 40 ok"), HEARTBEAT_WENT_BACK);
	assert_int_equal(heartbeat_take(&h, "beat 5 steps 40 ok"), HEARTBEAT_WENT_BACK);
	assert_int_equal(heartbeat_take(&h, "beat 6 steps 50 ok"), HEARTBEAT_BEAT);
	assert_int_equal(heartbeat_take(&h, "beat 7 steps 60 failed 1"), HEARTBEAT_FAILED);
	assert_int_equal(heartbeat_take(&h, "BAD page 0x1000"), HEARTBEAT_FAILED);
	assert_int_equal(h.went_back, 3);
	assert_int_equal(h.failed, 1);
	assert_int_equal(h.last_steps, 60);
}

static void heart_is_judged_by_all_that_it_said(void **state)
{
	struct heartbeat h = {0};
	char why[256] = "";

	(void)state;
	assert_false(heartbeat_judge(&h, why, sizeof why));
	assert_non_null(strstr(why, "not come to a single heartbeat"));
	why[0] = 0;
	heartbeat_take(&h, "beat 1 steps 10 ok");
	assert_true(heartbeat_judge(&h, why, sizeof why));
	assert_string_equal(why, "");
	heartbeat_take(&h, "BAD page 0x1000");
	assert_false(heartbeat_judge(&h, why, sizeof why));
	assert_non_null(strstr(why, "1 of its own checks failed"));
	heartbeat_take(&h, "beat 1 steps 20 failed 1");
	assert_false(heartbeat_judge(&h, why, sizeof why));
	assert_non_null(strstr(why, "1 of 2 heartbeats did not follow"));
}

#define BOTH(test)                                                              \
	{#test " (vm)", test, NULL, NULL, (void *)&workload_vm},                \
	{                                                                       \
#test " (process)", test, NULL, NULL, (void *)&workload_process \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_key_is_right_for_many_passes),
	    cmocka_unit_test(table_that_cannot_be_is_refused),
	    cmocka_unit_test(heart_that_goes_back_is_noticed),
	    cmocka_unit_test(heart_is_judged_by_all_that_it_said),
	    BOTH(it_beats_and_is_well),
	    BOTH(it_has_nothing_to_save_or_check_before_it_begins),
	    BOTH(it_keeps_to_part_of_its_memory),
	    BOTH(it_keeps_to_its_rate),
	    BOTH(it_goes_on_over_a_copy),
	    BOTH(it_notices_memory_of_a_former_time),
	    BOTH(check_finds_any_changed_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
