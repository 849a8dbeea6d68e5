/*
 * The command line, by argp. See sync_options.h.
 */
#include "bench/sync_options.h"

#include "bench/sync_plan.h"
#include "kernel/memory.h"

#define DEFAULT_SECONDS 35
#define SAMPLES_AT_MOST 1000000

enum {
	KEY_CASE = 'c',
	KEY_SAMPLES = 'n',
	KEY_REGION_BYTES = 'r',
	KEY_SECONDS = 0x100,
	KEY_LIST,
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "What is measured, and for how long:", 1},
    {"case", KEY_CASE, "LIST", 0,
     "cases, by name or shell pattern, separated by commas, as --list names them; default: all", 0},
    {"seconds", KEY_SECONDS, "N", 0, "for all cases together; default: 35", 0},
    {"samples", KEY_SAMPLES, "N", 0, "at least N samples of each row, whatever the time", 0},
    {"region-bytes", KEY_REGION_BYTES, "SIZE", 0, "of the large region of acquire_nothing; default: 8GiB", 0},
    {"list", KEY_LIST, NULL, 0, "say what the cases are, and stop", 0},
    {0},
};

static const char documentation[] =
    "Measures what synchronisation of distributed shared memory costs, case by case, most beside a "
    "baseline that is measured in turn with it.\n"
    "\n"
    "To be started by mpirun. Cases that need two nodes are left out on one.";

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct sync_options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_CASE:
		return argument_words(error, "case", text, sync_case_names(), &o->cases);
	case KEY_SAMPLES:
		return argument_number(error, "samples", text, 1, SAMPLES_AT_MOST, &o->samples);
	case KEY_SECONDS:
		return argument_number(error, "seconds", text, 1, 100000, &o->seconds);
	case KEY_REGION_BYTES:
		return argument_size(error, "region-bytes", text, &o->region_bytes);
	case KEY_LIST:
		o->line.action = COMMAND_LIST;
		return 0;
	default:
		return command_line_other(key, state);
	}
}

const struct argp sync_options_argp = {
    .options = argp_options,
    .parser = parse_option,
    .doc = documentation,
    .children = command_line_common,
};

const struct sync_options sync_options_defaults = {
    .cases = UINT32_MAX,
    .seconds = DEFAULT_SECONDS,
    .region_bytes = 8 * GIB,
};

void sync_options_print_cases(FILE *stream)
{
	for (unsigned int i = 0; i < SYNC_CASES; i++)
		fprintf(stream, "%-20s %s\n", sync_case(i)->name, sync_case(i)->summary);
}
