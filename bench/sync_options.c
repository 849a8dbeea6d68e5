/*
 * The command line, by argp. See sync_options.h.
 */
#include "bench/sync_options.h"

#include <argp.h>
#include <errno.h>

#include "bench/sync_plan.h"
#include "kernel/memory.h"

#define DEFAULT_SECONDS 35
#define SAMPLES_AT_MOST 1000000

enum {
	KEY_CASE = 'c',
	KEY_SAMPLES = 'n',
	KEY_REGION_BYTES = 'r',
	KEY_HELP = 'h',
	KEY_SECONDS = 0x100,
	KEY_USAGE,
	KEY_JSON,
	KEY_CSV,
	KEY_LIST,
	KEY_COMMIT,
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "What is measured, and for how long:", 1},
    {"case", KEY_CASE, "LIST", 0,
     "cases, by name or shell pattern, separated by commas, as --list names them; default: all", 0},
    {"seconds", KEY_SECONDS, "N", 0, "for all cases together; default: 35", 0},
    {"samples", KEY_SAMPLES, "N", 0, "at least N samples of each row, whatever the time", 0},
    {"region-bytes", KEY_REGION_BYTES, "SIZE", 0, "of the large region of acquire_nothing; default: 8GiB", 0},

    {NULL, 0, NULL, 0, "What is printed:", 2},
    {"json", KEY_JSON, NULL, 0, "one JSON object for each row, and nothing else", 0},
    {"csv", KEY_CSV, NULL, 0, "comma-separated values with a line of names", 0},
    {"commit", KEY_COMMIT, "TEXT", 0, "the version to name in the results; default: that of the build", 0},
    {"list", KEY_LIST, NULL, 0, "say what the cases are, and stop", 0},
    {"help", KEY_HELP, NULL, 0, "print this, and stop", 0},
    {"usage", KEY_USAGE, NULL, OPTION_HIDDEN, NULL, 0}, /* argp's own messages mention it */
    {0},
};

static const char documentation[] =
    "Measures what synchronisation of distributed shared memory costs, case by case, most beside a "
    "baseline that is measured in turn with it.\n"
    "\n"
    "To be started by mpirun. Cases that need two nodes are left out on one.";

/* What the parser fills. */
struct parse {
	struct sync_options *options;
	char *error; /* ARGUMENT_ERROR_MAX bytes */
};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct parse *parse = state->input;
	struct sync_options *o = parse->options;

	switch (key) {
	case KEY_CASE:
		return argument_words(parse->error, "case", text, sync_case_names(), &o->cases);
	case KEY_SAMPLES:
		return argument_number(parse->error, "samples", text, 1, SAMPLES_AT_MOST, &o->samples);
	case KEY_SECONDS:
		return argument_number(parse->error, "seconds", text, 1, 100000, &o->seconds);
	case KEY_REGION_BYTES:
		return argument_size(parse->error, "region-bytes", text, &o->region_bytes);
	case KEY_JSON:
		return argument_format(parse->error, OUTPUT_JSON, &o->format);
	case KEY_CSV:
		return argument_format(parse->error, OUTPUT_CSV, &o->format);
	case KEY_COMMIT:
		o->commit = text;
		return 0;
	case KEY_LIST:
		o->action = SYNC_LIST;
		return 0;
	case KEY_HELP:
	case KEY_USAGE:
		o->action = SYNC_HELP;
		return 0;
	case ARGP_KEY_ARG:
		return argument_stray(parse->error, text);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {.options = argp_options, .parser = parse_option, .doc = documentation};

int sync_options_parse(int argc, char **argv, bool speak, struct sync_options *out,
		       char error[ARGUMENT_ERROR_MAX])
{
	struct sync_options options = {
	    .cases = UINT32_MAX,
	    .seconds = DEFAULT_SECONDS,
	    .region_bytes = 8 * GIB,
	};
	struct parse parse = {&options, error};
	unsigned int flags = ARGP_NO_EXIT | ARGP_NO_HELP | (speak ? 0 : ARGP_NO_ERRS);

	error[0] = '\0';
	if (argp_parse(&argp, argc, argv, flags, NULL, &parse))
		return -EINVAL;
	*out = options;
	return 0;
}

void sync_options_print_help(const char *program, FILE *stream)
{
	char name[64];

	snprintf(name, sizeof name, "%s", program);
	argp_help(&argp, stream, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}

void sync_options_print_cases(FILE *stream)
{
	for (unsigned int i = 0; i < SYNC_CASES; i++)
		fprintf(stream, "%-20s %s\n", sync_case(i)->name, sync_case(i)->summary);
}
