/*
 * The suite's own machinery, given cases that pass, differ, fail, crash and hang: a suite that can't fail
 * proves nothing.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/conformance/harness.h"
#include "kernel/conformance/report.h"
#include "kernel/conformance/trial.h"
#include "kernel/test_support.h"

/* Long enough for a sanitizer on a busy machine; only the case that hangs is to feel it. */
static const struct run_options patient = {.timeout_s = 60};
static const struct run_options quick = {.timeout_s = 1};

/* Runs @run as a case on shmem, with both promises unless it is said otherwise. */
static struct conformance_case row_of(void (*run)(struct trial *t))
{
	return (struct conformance_case){
	    .name = "made-up",
	    .run = run,
	    .memory = ON(MEMORY_SHMEM),
	    .pages = 2,
	    .claim = "made up",
	    .letter = "old",
	    .later = "new",
	    .since = "9.9",
	};
}

static struct outcome outcome_on(const struct conformance_case *row, enum memory_kind kind)
{
	struct outcome outcome;

	run_case(row, kind, &patient, &outcome);
	return outcome;
}

static struct outcome outcome_of(void (*run)(struct trial *t))
{
	struct conformance_case row = row_of(run);

	return outcome_on(&row, MEMORY_SHMEM);
}

static void say_nothing(struct trial *t)
{
	(void)t;
}

static void say_old(struct trial *t)
{
	trial_answer(t, "old");
}

static void say_new(struct trial *t)
{
	trial_answer(t, "%s", "new");
	trial_note(t, "seen %d times", 3);
}

static void say_else(struct trial *t)
{
	trial_answer(t, "else");
}

static void require_false(struct trial *t)
{
	trial_answer(t, "old");
	REQUIRE(t, 1 + 1 == 3);
}

static void require_another_result(struct trial *t)
{
	REQUIRE_RESULT(t, -EEXIST, -ENOENT);
}

static void skip_it(struct trial *t)
{
	trial_skip(t, "no %s here", "moon");
}

static void get_killed(struct trial *t)
{
	trial_answer(t, "old");
	raise(SIGKILL);
}

static void exit_silently(struct trial *t)
{
	trial_answer(t, "old");
	_exit(3);
}

static void hang(struct trial *t)
{
	(void)t;
	while (true)
		pause();
}

/* Leaves a process behind; its number goes out by the note. */
static void leave_a_process(struct trial *t)
{
	pid_t pid = fork();

	if (pid == 0)
		hang(t);
	trial_answer(t, "old");
	trial_note(t, "%d", (int)pid);
}

static void the_letters_answer_passes(void **state)
{
	struct outcome outcome = outcome_of(say_old);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_PASS);
	assert_string_equal(outcome.answer, "old");
	assert_string_equal(outcome.note, "");
}

static void a_later_answer_is_told_apart(void **state)
{
	struct outcome outcome = outcome_of(say_new);
	struct conformance_case silent = row_of(say_new);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_NEWER);
	assert_string_equal(outcome.note, "seen 3 times");
	silent.letter = NULL;
	assert_int_equal(outcome_on(&silent, MEMORY_SHMEM).verdict, VERDICT_PASS);
}

static void any_other_answer_fails(void **state)
{
	struct outcome outcome = outcome_of(say_else);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_string_equal(outcome.answer, "else");
}

static void silence_is_the_one_promise(void **state)
{
	struct conformance_case row = row_of(say_nothing);

	(void)state;
	assert_int_equal(outcome_on(&row, MEMORY_SHMEM).verdict, VERDICT_FAIL);
	row.later = NULL;
	assert_int_equal(outcome_on(&row, MEMORY_SHMEM).verdict, VERDICT_PASS);
	assert_string_equal(outcome_on(&row, MEMORY_SHMEM).answer, "old");
}

static void a_requirement_that_does_not_hold_fails(void **state)
{
	struct outcome outcome = outcome_of(require_false);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_non_null(strstr(outcome.note, "harness_test.c:"));
	assert_non_null(strstr(outcome.note, "1 + 1 == 3"));
	outcome = outcome_of(require_another_result);
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_non_null(strstr(outcome.note, "-ENOENT, expected -EEXIST"));
}

static void a_skip_says_why(void **state)
{
	struct outcome outcome = outcome_of(skip_it);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_SKIP);
	assert_string_equal(outcome.note, "no moon here");
}

static void a_crash_fails(void **state)
{
	struct outcome outcome = outcome_of(get_killed);

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_non_null(strstr(outcome.note, "killed by signal 9"));
	outcome = outcome_of(exit_silently);
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_non_null(strstr(outcome.note, "exited with status 3"));
}

static void a_case_that_hangs_fails(void **state)
{
	struct conformance_case row = row_of(hang);
	struct outcome outcome;

	(void)state;
	run_case(&row, MEMORY_SHMEM, &quick, &outcome);
	assert_int_equal(outcome.verdict, VERDICT_FAIL);
	assert_string_equal(outcome.note, "not done after 1 s");
	assert_true(outcome.elapsed_ms >= 1000);
}

/* "PID (name) S ...": gone, or Z for dead and not yet reaped by its new parent. */
static bool is_dead(pid_t pid)
{
	char path[64];
	char line[256] = "";
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	stat = fopen(path, "r");
	if (!stat)
		return true;
	if (!fgets(line, sizeof(line), stat))
		line[0] = '\0';
	fclose(stat);
	return !line[0] || strstr(line, ") Z ") || strstr(line, ") X ");
}

/* The signal is sent before run_case() returns; that it has done its work may take a moment. */
static void a_case_leaves_no_process(void **state)
{
	struct outcome outcome = outcome_of(leave_a_process);
	pid_t pid = (pid_t)strtol(outcome.note, NULL, 10);
	unsigned int tries;

	(void)state;
	assert_int_equal(outcome.verdict, VERDICT_PASS);
	assert_true(pid > 0);
	for (tries = 0; tries < 1000 && !is_dead(pid); tries++)
		usleep(10000);
	assert_true(is_dead(pid));
}

static void what_is_lacking_is_skipped(void **state)
{
	struct conformance_case row = row_of(say_old);
	struct outcome outcome;

	(void)state;
	row.features = 1ull << 62;
	outcome = outcome_on(&row, MEMORY_SHMEM);
	assert_int_equal(outcome.verdict, VERDICT_SKIP);
	assert_non_null(strstr(outcome.note, "0x4000000000000000"));
	row = row_of(say_old);
	row.pages = (size_t)1 << 40;
	outcome = outcome_on(&row, MEMORY_HUGETLB_2M);
	assert_int_equal(outcome.verdict, VERDICT_SKIP);
	row = row_of(say_old);
	row.takes_pool = true;
	outcome = outcome_on(&row, MEMORY_SHMEM);
	assert_int_equal(outcome.verdict, VERDICT_SKIP);
	assert_non_null(strstr(outcome.note, "--take-pool"));
}

/* --- reports --- */

static const struct outcome sample_outcomes[MEMORY_KIND_COUNT] = {
    [MEMORY_ANON] = {.verdict = VERDICT_PASS, .answer = "old"},
    [MEMORY_SHARED_ANON] = {.verdict = VERDICT_NEWER, .answer = "new"},
    [MEMORY_SHMEM] = {.verdict = VERDICT_NEWER, .answer = "new"},
    [MEMORY_HUGETLB_2M] = {.verdict = VERDICT_FAIL, .answer = "else", .note = "quite wrong"},
    [MEMORY_HUGETLB_1G] = {.verdict = VERDICT_SKIP, .note = "no pages"},
};

/* What a report of the sample outcomes prints; the caller frees it. */
static char *print_report(enum report_format format)
{
	struct conformance_case row = row_of(say_old);
	struct report *report = calloc(1, sizeof(*report));
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	unsigned int kind;

	assert_non_null(report);
	assert_non_null(out);
	report_begin(report, format, out, MEMORY_KIND_COUNT);
	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++)
		report_outcome(report, &row, (enum memory_kind)kind, &sample_outcomes[kind]);
	report_row(report, &row, ON(MEMORY_KIND_COUNT) - 1, sample_outcomes);
	report_end(report);
	fclose(out);
	assert_int_equal(report->counts[VERDICT_NEWER], 2);
	assert_int_equal(report->counts[VERDICT_FAIL], 1);
	free(report);
	return text;
}

static void tap_is_tap(void **state)
{
	char *text = print_report(REPORT_TAP);

	(void)state;
	assert_string_equal(text, "1..5\n"
				  "ok 1 - made-up [anon]\n"
				  "ok 2 - made-up [shared-anon]\n"
				  "# the letter of 2021: old; this kernel: new, as documented since 9.9\n"
				  "ok 3 - made-up [shmem]\n"
				  "# the letter of 2021: old; this kernel: new, as documented since 9.9\n"
				  "not ok 4 - made-up [hugetlb-2m]\n"
				  "# quite wrong\n"
				  "# claim: made up\n"
				  "# the letter of 2021: old; later: new; this kernel: else\n"
				  "ok 5 - made-up [hugetlb-1g] # SKIP no pages\n");
	free(text);
}

static void json_is_json(void **state)
{
	char *text = print_report(REPORT_JSON);
	char *rest = text;
	char *line;
	unsigned int lines = 0;

	(void)state;
	while ((line = strsep(&rest, "\n")) && *line) {
		json_t *object = json_loads(line, 0, NULL);

		assert_non_null(object);
		assert_string_equal(json_string_value(json_object_get(object, "case")), "made-up");
		assert_string_equal(json_string_value(json_object_get(object, "memory")),
				    memory_type_of((enum memory_kind)lines)->name);
		assert_string_equal(json_string_value(json_object_get(object, "verdict")),
				    verdict_name(sample_outcomes[lines].verdict));
		assert_string_equal(json_string_value(json_object_get(object, "letter")), "old");
		json_decref(object);
		lines++;
	}
	assert_int_equal(lines, MEMORY_KIND_COUNT);
	free(text);
}

static void the_table_says_all(void **state)
{
	char *text = print_report(REPORT_TABLE);

	(void)state;
	assert_non_null(strstr(text, "made-up                  pass                        skip   old"));
	assert_non_null(strstr(text, "newer  newer  "));
	assert_non_null(strstr(text, "new (since 9.9)"));
	assert_non_null(strstr(text, "fail on hugetlb-2m: quite wrong"));
	assert_non_null(strstr(text, "hugetlb-1g, made-up: no pages"));
	assert_non_null(
	    strstr(text, "1 passed, 2 passed by what is newer than the letter, 1 skipped, 1 failed"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_letters_answer_passes),
	    cmocka_unit_test(a_later_answer_is_told_apart),
	    cmocka_unit_test(any_other_answer_fails),
	    cmocka_unit_test(silence_is_the_one_promise),
	    cmocka_unit_test(a_requirement_that_does_not_hold_fails),
	    cmocka_unit_test(a_skip_says_why),
	    cmocka_unit_test(a_crash_fails),
	    cmocka_unit_test(a_case_that_hangs_fails),
	    cmocka_unit_test(a_case_leaves_no_process),
	    cmocka_unit_test(what_is_lacking_is_skipped),
	    cmocka_unit_test(tap_is_tap),
	    cmocka_unit_test(json_is_json),
	    cmocka_unit_test(the_table_says_all),
	};
	uint64_t features;

	if (uffd_query(&features, NULL) != 0) {
		print_message(
		    "# SKIP userfaultfd is not to be had here, so that every case would be skipped\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
