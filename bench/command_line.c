#include "bench/command_line.h"

#include <errno.h>
#include <stdlib.h>

#include "bench/job.h"

enum { KEY_HELP = 'h', KEY_USAGE = 0x200, KEY_JSON, KEY_CSV, KEY_COMMIT };

static const struct argp_option argp_options[] = {
    {"json", KEY_JSON, NULL, 0, "one JSON object for each row, and nothing else", 0},
    {"csv", KEY_CSV, NULL, 0, "comma-separated values with a line of names", 0},
    {"commit", KEY_COMMIT, "TEXT", 0, "the version to name in the results; default: that of the build", 0},
    {"help", KEY_HELP, NULL, 0, "print this, and stop", 0},
    {"usage", KEY_USAGE, NULL, OPTION_HIDDEN, NULL, 0}, /* argp's own messages mention it */
    {0},
};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct command_line *line = state->input;

	switch (key) {
	case KEY_JSON:
		return argument_format(line->error, OUTPUT_JSON, &line->format);
	case KEY_CSV:
		return argument_format(line->error, OUTPUT_CSV, &line->format);
	case KEY_COMMIT:
		line->commit = text;
		return 0;
	case KEY_HELP:
	case KEY_USAGE:
		line->action = COMMAND_HELP;
		return 0;
	case ARGP_KEY_ARG:
		return argument_stray(line->error, text);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp common = {.options = argp_options, .parser = parse_option};

const struct argp_child command_line_common[] = {
    {&common, 0, "What is printed:", 9},
    {0},
};

error_t command_line_other(int key, struct argp_state *state)
{
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

int command_line_parse(const struct argp *argp, int argc, char **argv, bool speak, struct command_line *line)
{
	unsigned int flags = ARGP_NO_EXIT | ARGP_NO_HELP | (speak ? 0 : ARGP_NO_ERRS);

	line->error[0] = '\0';
	return argp_parse(argp, argc, argv, flags, NULL, line) ? -EINVAL : 0;
}

int command_line_read(const struct argp *argp, const char *program, int argc, char **argv,
		      struct command_line *line, void (*print_cases)(FILE *stream))
{
	bool speak = job_launcher_rank() == 0;
	char name[64];

	if (command_line_parse(argp, argc, argv, speak, line)) {
		if (speak && line->error[0])
			fprintf(stderr, "%s: %s\n", program, line->error);
		return EXIT_FAILURE;
	}
	if (line->action == COMMAND_RUN)
		return -1;
	snprintf(name, sizeof name, "%s", program);
	if (speak && line->action == COMMAND_HELP)
		argp_help(argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
	if (speak && line->action == COMMAND_LIST)
		print_cases(stdout);
	return EXIT_SUCCESS;
}
