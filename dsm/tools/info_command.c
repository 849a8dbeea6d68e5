/*
 * `minorca info [--json]`.
 */
#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "dsm/report.h"
#include "dsm/tools/commands.h"
#include "dsm/tools/machine.h"

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "One JSON object (docs/info.md) instead of text", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	bool *json = state->input;

	switch (key) {
	case 'j':
		*json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc = "What this machine has for Minorca: kernel features, hugepage pools, RDMA devices, limits, MPI, "
	   "topology, "
	   "settings; and what is missing, with its consequence and what mends it.\v"
	   "Exit status: 0, 1 if something required is missing, 2 if a setting is malformed.",
};

/* @return 0, or -1 if it could not be made. */
static int print_json(const struct machine_info *info, const struct finding *findings, unsigned count)
{
	json_t *object = info_json(info, findings, count);
	int error = object ? json_dumpf(object, stdout, JSON_INDENT(2)) : -1;

	json_decref(object);
	if (error)
		report("the JSON text could not be made: out of memory, or a name that is not UTF-8");
	else
		putchar('\n');
	return error;
}

int command_info(int argc, char **argv)
{
	static struct machine_info info;
	static struct finding findings[MACHINE_MAX_FINDINGS];
	bool json = false;
	unsigned count;

	argp_parse(&argp, argc, argv, 0, NULL, &json);
	machine_capture(environ, &info);
	count = machine_findings(&info, findings);
	if (!json)
		info_print(&info, findings, count, stdout);
	else if (print_json(&info, findings, count))
		return STATUS_MISSING;
	if (info.settings_error[0]) {
		report("%s", info.settings_error);
		return STATUS_USAGE;
	}
	return count && findings[0].required ? STATUS_MISSING : STATUS_OK;
}
