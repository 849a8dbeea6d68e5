/*
 * `minorca COMMAND [OPTION...]`: what an administrator or a user asks of the library and of the machine.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "dsm/tools/commands.h"

static const char documentation[] =
    "Minorca, distributed shared memory on minor faults: what this machine has for it, how it is set, and a "
    "virtual machine that moves by it.\v"
    "Commands:\n"
    "  info        what this machine has, what is missing, and what mends it\n"
    "  migrate     a virtual machine that moves between two nodes while it runs (mpirun -n 2 minorca "
    "migrate)\n"
    "  settings    the table of settings, MINORCA_*\n"
    "  version     the version of the library\n"
    "  help        this text\n"
    "\n"
    "`minorca COMMAND --help` tells more. Exit status: 0, 1 if something required is missing or failed, 2 "
    "for an "
    "argument or a "
    "setting that makes no sense.";

/* Where the command stands in argv; 0: none given. */
static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	int *command = state->input;

	(void)argument;
	switch (key) {
	case ARGP_KEY_ARG:
		*command = state->next - 1;
		state->next = state->argc; /* the rest is the command's own */
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
    .parser = parse_option,
    .args_doc = "COMMAND [OPTION...]",
    .doc = documentation,
};

static void print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "minorca %s\n", dsm_version());
}

/* Runs a command as a program of the name "minorca COMMAND", so that its own usage messages say so. */
static int run(int (*command)(int, char **), int argc, char **argv)
{
	char name[64];

	snprintf(name, sizeof name, "minorca %s", argv[0]);
	argv[0] = name;
	return command(argc, argv);
}

int main(int argc, char **argv)
{
	static char own_name[] = "minorca";
	int command = 0;

	argp_err_exit_status = STATUS_USAGE;
	argp_program_version_hook = print_version;
	argv[0] = own_name; /* not the path, which says nothing to the reader */
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &command);
	argc -= command;
	argv += command;
	if (!strcmp(argv[0], "info"))
		return run(command_info, argc, argv);
	if (!strcmp(argv[0], "migrate"))
		return run(command_migrate, argc, argv);
	if (!strcmp(argv[0], "settings"))
		return run(command_settings, argc, argv);
	if (!strcmp(argv[0], "version")) {
		print_version(stdout, NULL);
		return STATUS_OK;
	}
	if (!strcmp(argv[0], "help")) {
		argp_help(&argp, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, own_name);
		return STATUS_OK;
	}
	fprintf(stderr,
		"minorca: there is no command \"%s\"; there are info, migrate, settings, version, help\n",
		argv[0]);
	return STATUS_USAGE;
}
