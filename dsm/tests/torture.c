#include "dsm/tests/torture.h"

#include <argp.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONG_SECONDS 600

static const struct argp_option option_table[] = {
    {"seconds", 's', "SECONDS", 0, "how long to go on, all cases together", 0},
    {"long", 'l', NULL, 0, "the same as --seconds 600", 0},
    {"seed", 'r', "NUMBER", 0, "where the random numbers begin", 0},
    {"phases", 'p', "NUMBER", 0, "rounds of each case, whatever the time", 0},
    {"only", 'o', "TEXT", 0, "the cases whose name contains TEXT", 0},
    {0},
};

static uint64_t number(const char *text, struct argp_state *state)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!*text || *end)
		argp_error(state, "not a number: %s", text);
	return value;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct torture_options *options = state->input;

	switch (key) {
	case 's':
		options->seconds = strtod(argument, NULL);
		if (!(options->seconds > 0))
			argp_error(state, "the time must be more than 0 s, not %s", argument);
		return 0;
	case 'l':
		options->seconds = LONG_SECONDS;
		return 0;
	case 'r':
		options->seed = number(argument, state);
		return 0;
	case 'p':
		options->phases = (unsigned)number(argument, state);
		return 0;
	case 'o':
		options->only = argument;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct torture_options torture_options(int argc, char **argv, double seconds)
{
	struct torture_options options = {.seconds = seconds, .seed = 1};
	const struct argp parser = {
	    .options = option_table,
	    .parser = parse_option,
	    .doc = "A randomised test, to be started by mpirun (scripts/mpirun.sh NODES PROGRAM OPTION...).",
	};

	argp_parse(&parser, argc, argv, 0, NULL, &options);
	return options;
}

const char *torture_environment(void)
{
	static char text[512];
	size_t used = 0;

	text[0] = 0;
	for (char **entry = environ; *entry; entry++)
		if (!strncmp(*entry, "MINORCA_", 8) && used + strlen(*entry) + 2 < sizeof text)
			used += (size_t)snprintf(text + used, sizeof text - used, "%s ", *entry);
	return text;
}

void torture_print(const struct torture_options *options)
{
	printf("# %s--seed %llu, %g s\n", torture_environment(), (unsigned long long)options->seed,
	       options->seconds);
}

bool torture_wanted(const struct torture_options *options, const char *name)
{
	return !options->only || strstr(name, options->only);
}

double torture_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool torture_goes_on(double deadline)
{
	int on = torture_now() < deadline;

	MPI_Bcast(&on, 1, MPI_INT, 0, MPI_COMM_WORLD);
	return on;
}
