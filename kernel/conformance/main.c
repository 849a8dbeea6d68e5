/*
 * The conformance suite's command line: picks cases and types of memory, runs them, reports.
 */
#include <argp.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/conformance/harness.h"
#include "kernel/conformance/report.h"

#define MAX_GLOBS 32
#define DEFAULT_TIMEOUT_S 10
#define ALL_MEMORY (ON(MEMORY_KIND_COUNT) - 1)

struct settings {
	enum report_format format;
	bool list;
	const char *globs[MAX_GLOBS];
	size_t glob_count;
	unsigned int memory; /* ON() mask; 0: all */
	struct run_options run;
};

static const struct case_table *const tables[] = {
    &registration_cases, &minor_cases,	  &resolve_cases, &file_cases,	    &writeprotect_cases,
    &async_cases,	 &delivery_cases, &sharing_cases, &migration_cases,
};

#define TABLE_COUNT (sizeof(tables) / sizeof(tables[0]))

enum option_key {
	OPTION_TAP = 't',
	OPTION_JSON = 'j',
	OPTION_LIST = 'l',
	OPTION_CASE = 'c',
	OPTION_MEMORY = 'm',
	OPTION_TIMEOUT = 'T',
	OPTION_TAKE_POOL = 0x100,
};

static const struct argp_option option_table[] = {
    {"tap", OPTION_TAP, NULL, 0, "Print TAP (Test Anything Protocol)", 0},
    {"json", OPTION_JSON, NULL, 0, "Print a line of JSON for each outcome", 0},
    {"list", OPTION_LIST, NULL, 0, "Print the cases and what each checks; run nothing", 0},
    {"case", OPTION_CASE, "GLOB", 0, "Run the cases whose name matches; may be given again", 1},
    {"memory", OPTION_MEMORY, "NAME", 0,
     "Run on this memory: anon, shared-anon, shmem, hugetlb-2m, hugetlb-1g; may be given again", 1},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "Time for one case (default 10; 1 GiB pages: three times that)",
     1},
    {"take-pool", OPTION_TAKE_POOL, NULL, 0,
     "Run also the cases that take every free hugepage for a moment; other programs may fail meanwhile", 1},
    {0},
};

static void add_memory(struct settings *settings, const char *name, struct argp_state *state)
{
	unsigned int kind;

	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
		if (strcmp(name, memory_type_of((enum memory_kind)kind)->name) == 0) {
			settings->memory |= ON(kind);
			return;
		}
	}
	argp_error(state, "no such memory: %s", name);
}

static void add_glob(struct settings *settings, const char *glob, struct argp_state *state)
{
	if (settings->glob_count == MAX_GLOBS)
		argp_error(state, "more than %d --case", MAX_GLOBS);
	else
		settings->globs[settings->glob_count++] = glob;
}

static void set_timeout(struct settings *settings, const char *text, struct argp_state *state)
{
	char *end;
	unsigned long seconds = strtoul(text, &end, 10);

	if (*end || seconds < 1 || seconds > 600)
		argp_error(state, "the timeout must be 1 to 600 seconds, not %s", text);
	settings->run.timeout_s = (unsigned int)seconds;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct settings *settings = state->input;

	switch (key) {
	case OPTION_TAP:
		settings->format = REPORT_TAP;
		return 0;
	case OPTION_JSON:
		settings->format = REPORT_JSON;
		return 0;
	case OPTION_LIST:
		settings->list = true;
		return 0;
	case OPTION_CASE:
		add_glob(settings, arg, state);
		return 0;
	case OPTION_MEMORY:
		add_memory(settings, arg, state);
		return 0;
	case OPTION_TIMEOUT:
		set_timeout(settings, arg, state);
		return 0;
	case OPTION_TAKE_POOL:
		settings->run.take_pool = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", arg);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool is_chosen(const struct settings *settings, const struct conformance_case *row)
{
	size_t i;

	for (i = 0; i < settings->glob_count; i++) {
		if (fnmatch(settings->globs[i], row->name, 0) == 0)
			return true;
	}
	return settings->glob_count == 0;
}

/* The types of memory to run @row on; 0: none. */
static unsigned int chosen_memory(const struct settings *settings, const struct conformance_case *row)
{
	if (!is_chosen(settings, row))
		return 0;
	return row->memory & (settings->memory ? settings->memory : ALL_MEMORY);
}

static void for_each_chosen(const struct settings *settings,
			    void (*visit)(const struct settings *settings, const struct conformance_case *row,
					  unsigned int memory, void *data),
			    void *data)
{
	size_t table;
	size_t i;

	for (table = 0; table < TABLE_COUNT; table++) {
		for (i = 0; i < tables[table]->count; i++) {
			const struct conformance_case *row = &tables[table]->cases[i];
			unsigned int memory = chosen_memory(settings, row);

			if (memory)
				visit(settings, row, memory, data);
		}
	}
}

static void count_row(const struct settings *settings, const struct conformance_case *row,
		      unsigned int memory, void *data)
{
	(void)settings;
	(void)row;
	*(size_t *)data += (size_t)__builtin_popcount(memory);
}

static void list_row(const struct settings *settings, const struct conformance_case *row, unsigned int memory,
		     void *data)
{
	unsigned int kind;

	(void)settings;
	(void)data;
	printf("%s:", row->name);
	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
		if (memory & ON(kind))
			printf(" %s", memory_type_of((enum memory_kind)kind)->name);
	}
	printf("\n    %s\n", row->claim);
	if (row->letter)
		printf("    letter of 2021: %s\n", row->letter);
	if (row->later)
		printf("    since %s: %s\n", row->since, row->later);
}

static void run_row(const struct settings *settings, const struct conformance_case *row, unsigned int memory,
		    void *data)
{
	struct outcome outcomes[MEMORY_KIND_COUNT];
	struct report *report = data;
	unsigned int kind;

	for (kind = 0; kind < MEMORY_KIND_COUNT; kind++) {
		if (!(memory & ON(kind)))
			continue;
		run_case(row, (enum memory_kind)kind, &settings->run, &outcomes[kind]);
		report_outcome(report, row, (enum memory_kind)kind, &outcomes[kind]);
	}
	report_row(report, row, memory, outcomes);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
	    .options = option_table,
	    .parser = parse_option,
	    .doc = "Checks on the running kernel what was promised of userfaultfd minor faults: by the cover "
		   "letter of 2021, and by what newer kernels document.\vExit status: 0, nothing failed; 1, "
		   "something did; 2, no case matches; 64, usage.",
	};
	struct settings settings = {.format = REPORT_TABLE, .run = {.timeout_s = DEFAULT_TIMEOUT_S}};
	static struct report report;
	size_t total = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &settings);
	for_each_chosen(&settings, count_row, &total);
	if (total == 0) {
		fprintf(stderr, "%s: no case matches\n", argv[0]);
		return 2;
	}
	if (settings.list) {
		for_each_chosen(&settings, list_row, NULL);
		return 0;
	}
	report_begin(&report, settings.format, stdout, total);
	for_each_chosen(&settings, run_row, &report);
	report_end(&report);
	return report.counts[VERDICT_FAIL] ? 1 : 0;
}
