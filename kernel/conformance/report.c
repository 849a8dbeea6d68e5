/*
 * What the conformance suite prints. See report.h.
 *
 * TAP and JSON go out case by case, so that a runner that is stopped has what was done until then. The
 * table has a line for each row and a column for each type of memory, so it waits for the row's end.
 */
#include "kernel/conformance/report.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>

#define CASE_WIDTH 25
#define LETTER_WIDTH 30

/* Headings: the names of struct memory_type, short enough for a column. */
static const char *const headings[MEMORY_KIND_COUNT] = {
    [MEMORY_ANON] = "anon",	[MEMORY_SHARED_ANON] = "shanon", [MEMORY_SHMEM] = "shmem",
    [MEMORY_HUGETLB_2M] = "2m", [MEMORY_HUGETLB_1G] = "1g",
};

/* "6.18": the release without what a distribution puts behind it. */
static const char *kernel_version(void)
{
	static char version[32];
	struct utsname name;
	size_t n = 0;
	unsigned int dots = 0;

	if (uname(&name) < 0)
		return "?";
	while (n < sizeof(version) - 1 &&
	       (isdigit((unsigned char)name.release[n]) || (name.release[n] == '.' && dots == 0))) {
		dots += name.release[n] == '.';
		version[n] = name.release[n];
		n++;
	}
	version[n] = '\0';
	return version;
}

/* --- table --- */

static void table_begin(const struct report *report)
{
	unsigned int kind;

	fprintf(report->out,
		"Minor faults on Linux %s, beside the letter of 2021 (\"userfaultfd: add minor fault "
		"handling\")\n"
		"pass: as promised. newer: not as the letter says, but as documented since. Memory: anon, "
		"private\n"
		"anonymous; shanon, shared anonymous; shmem, a memfd of 4 KiB pages; 2m and 1g, of "
		"hugepages.\n\n",
		kernel_version());
	fprintf(report->out, "%-*s", CASE_WIDTH, "case");
	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++)
		fprintf(report->out, "%-7s", headings[kind]);
	fprintf(report->out, "%-*s%s\n", LETTER_WIDTH, "letter of 2021", "this kernel");
}

/* Two outcomes that a line of the table shows as one. What was skipped has no answer and joins any line. */
static bool same_line(const struct outcome *a, const struct outcome *b)
{
	if (a->verdict == VERDICT_SKIP)
		return true;
	return strcmp(a->answer, b->answer) == 0 && (!a->answer[0] || strcmp(a->note, b->note) == 0);
}

/* The outcome of @kinds that a line is to show: the first that was not skipped, if there is one. */
static const struct outcome *outcome_to_show(unsigned int kinds,
					     const struct outcome outcomes[MEMORY_KIND_COUNT])
{
	unsigned int kind;

	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
		if ((kinds & ON(kind)) && outcomes[kind].verdict != VERDICT_SKIP)
			return &outcomes[kind];
	}
	return &outcomes[__builtin_ctz(kinds)];
}

static void table_line(const struct report *report, const struct conformance_case *row, unsigned int kinds,
		       const struct outcome outcomes[MEMORY_KIND_COUNT], const struct outcome *shown)
{
	unsigned int kind;

	fprintf(report->out, "%-*s", CASE_WIDTH, row->name);
	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++)
		fprintf(report->out, "%-7s", kinds & ON(kind) ? verdict_name(outcomes[kind].verdict) : "");
	fprintf(report->out, "%-*s%s", LETTER_WIDTH, row->letter ? row->letter : "-",
		shown->answer[0] ? shown->answer : "-");
	if (shown->answer[0] && row->later && strcmp(shown->answer, row->later) == 0)
		fprintf(report->out, " (since %s)", row->since);
	if (shown->answer[0] && shown->note[0] && shown->verdict != VERDICT_FAIL)
		fprintf(report->out, ", %s", shown->note);
	fputc('\n', report->out);
}

static void table_failures(const struct report *report, unsigned int kinds,
			   const struct outcome outcomes[MEMORY_KIND_COUNT])
{
	unsigned int kind;

	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
		if ((kinds & ON(kind)) && outcomes[kind].verdict == VERDICT_FAIL)
			fprintf(report->out, "    fail on %s: %s\n",
				memory_type_of((enum memory_kind)kind)->name, outcomes[kind].note);
	}
}

/* One line for all types of memory that answered alike; as many lines as there are answers. */
static void table_row(const struct report *report, const struct conformance_case *row, unsigned int ran,
		      const struct outcome outcomes[MEMORY_KIND_COUNT])
{
	unsigned int left = ran;

	while (left) {
		const struct outcome *shown = outcome_to_show(left, outcomes);
		unsigned int alike = 0;
		unsigned int kind;

		for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
			if ((left & ON(kind)) && same_line(&outcomes[kind], shown))
				alike |= ON(kind);
		}
		table_line(report, row, alike, outcomes, shown);
		table_failures(report, alike, outcomes);
		left &= ~alike;
	}
	fflush(report->out);
}

static void remember_skip(struct report *report, const struct conformance_case *row, enum memory_kind kind,
			  const struct outcome *outcome)
{
	struct skip_reason *reason;
	size_t i;

	for (i = 0; i < report->reason_count; i++) {
		reason = &report->reasons[i];
		if (reason->kind == kind && strcmp(reason->why, outcome->note) == 0) {
			reason->count++;
			return;
		}
	}
	if (report->reason_count == MAX_SKIP_REASONS)
		return;
	reason = &report->reasons[report->reason_count++];
	snprintf(reason->why, sizeof(reason->why), "%s", outcome->note);
	reason->kind = kind;
	reason->count = 1;
	reason->first_case = row->name;
}

static void table_end(const struct report *report)
{
	size_t i;

	if (report->reason_count)
		fprintf(report->out, "\nnot run:\n");
	for (i = 0; i < report->reason_count; i++) {
		const struct skip_reason *reason = &report->reasons[i];

		fprintf(report->out, "    %s, %s", memory_type_of(reason->kind)->name, reason->first_case);
		if (reason->count > 1)
			fprintf(report->out, " and %u more", reason->count - 1);
		fprintf(report->out, ": %s\n", reason->why);
	}
	fprintf(report->out,
		"\n%u passed, %u passed by what is newer than the letter, %u skipped, %u failed\n",
		report->counts[VERDICT_PASS], report->counts[VERDICT_NEWER], report->counts[VERDICT_SKIP],
		report->counts[VERDICT_FAIL]);
}

/* --- TAP --- */

static void tap_outcome(const struct report *report, const struct conformance_case *row,
			enum memory_kind kind, const struct outcome *outcome)
{
	fprintf(report->out, "%s %u - %s [%s]", outcome->verdict == VERDICT_FAIL ? "not ok" : "ok",
		report->number, row->name, memory_type_of(kind)->name);
	if (outcome->verdict == VERDICT_SKIP)
		fprintf(report->out, " # SKIP %s", outcome->note);
	fputc('\n', report->out);
	if (outcome->verdict == VERDICT_NEWER)
		fprintf(report->out, "# the letter of 2021: %s; this kernel: %s, as documented since %s\n",
			row->letter, outcome->answer, row->since);
	if (outcome->verdict == VERDICT_FAIL)
		fprintf(report->out,
			"# %s\n# claim: %s\n# the letter of 2021: %s; later: %s; this kernel: %s\n",
			outcome->note, row->claim, row->letter ? row->letter : "-",
			row->later ? row->later : "-", outcome->answer[0] ? outcome->answer : "-");
	fflush(report->out);
}

/* --- JSON --- */

static json_t *json_text(const char *text)
{
	return text && *text ? json_string(text) : json_null();
}

static void json_outcome(const struct report *report, const struct conformance_case *row,
			 enum memory_kind kind, const struct outcome *outcome)
{
	json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:i}", "kernel",
				 kernel_version(), "case", row->name, "memory", memory_type_of(kind)->name,
				 "verdict", verdict_name(outcome->verdict), "claim", row->claim, "letter",
				 json_text(row->letter), "later", json_text(row->later), "since",
				 json_text(row->since), "answer", json_text(outcome->answer), "note",
				 json_text(outcome->note), "elapsed_ms", (int)outcome->elapsed_ms);

	if (!line)
		return;
	json_dumpf(line, report->out, JSON_COMPACT);
	fputc('\n', report->out);
	fflush(report->out);
	json_decref(line);
}

/* --- all --- */

void report_begin(struct report *report, enum report_format format, FILE *out, size_t total)
{
	memset(report, 0, sizeof(*report));
	report->format = format;
	report->out = out;
	if (format == REPORT_TABLE)
		table_begin(report);
	else if (format == REPORT_TAP)
		fprintf(out, "1..%zu\n", total);
}

void report_outcome(struct report *report, const struct conformance_case *row, enum memory_kind kind,
		    const struct outcome *outcome)
{
	report->number++;
	report->counts[outcome->verdict]++;
	if (outcome->verdict == VERDICT_SKIP)
		remember_skip(report, row, kind, outcome);
	if (report->format == REPORT_TAP)
		tap_outcome(report, row, kind, outcome);
	else if (report->format == REPORT_JSON)
		json_outcome(report, row, kind, outcome);
}

void report_row(struct report *report, const struct conformance_case *row, unsigned int ran,
		const struct outcome outcomes[MEMORY_KIND_COUNT])
{
	if (report->format == REPORT_TABLE)
		table_row(report, row, ran, outcomes);
}

void report_end(struct report *report)
{
	if (report->format == REPORT_TABLE)
		table_end(report);
}
