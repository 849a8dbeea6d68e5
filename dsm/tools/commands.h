/*
 * The commands of `minorca`. Each takes its own argv (argv[0] is "minorca COMMAND") and returns the exit
 * status.
 */
#ifndef MINORCA_DSM_TOOLS_COMMANDS_H
#define MINORCA_DSM_TOOLS_COMMANDS_H

/* Exit statuses. */
enum {
	STATUS_OK = 0,
	STATUS_MISSING = 1, /* something that is required is not there */
	STATUS_FAILED = 1,  /* what was to be done was not, or not well */
	STATUS_USAGE = 2,   /* an argument or a setting makes no sense */
};

/** `minorca info [--json]`: the machine, and what is missing on it. */
int command_info(int argc, char **argv);

/** `minorca settings [--json | --markdown]`: the table of settings. */
int command_settings(int argc, char **argv);

/** `minorca migrate [OPTION...]`, on two nodes: moves a virtual machine while it runs. */
int command_migrate(int argc, char **argv);

#endif
