#include "dsm/tests/torture.h"

#include <argp.h>
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
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

/* --- what the nodes share beside the runtime -------------------------------------------------------------
 */

#define TAG_TELL 1
#define TELLS_NO_MORE UINT64_MAX

struct telling {
	uint64_t offset, value;
};

static struct {
	unsigned char *memory;
	MPI_Win window; /* on one machine */
	MPI_Comm comm;	/* else; MPI_COMM_NULL on one machine */
	pthread_t listener;
	int node, nodes, provided;
} beside = {.window = MPI_WIN_NULL, .comm = MPI_COMM_NULL};

void torture_start_mpi(int *argc, char ***argv)
{
	MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &beside.provided);
}

static void raise_word(_Atomic uint64_t *word, uint64_t value)
{
	uint64_t now = atomic_load(word);

	while (now < value && !atomic_compare_exchange_weak(word, &now, value))
		;
}

/* Looks for messages now and then: a receive that blocks would spin, and guests have one processor. */
static void *listen_to_others(void *unused)
{
	struct telling told;
	MPI_Request request = MPI_REQUEST_NULL;
	int done = 0;

	(void)unused;
	for (int talking = beside.nodes - 1; talking;) {
		if (request == MPI_REQUEST_NULL)
			MPI_Irecv(&told, sizeof told, MPI_BYTE, MPI_ANY_SOURCE, TAG_TELL, beside.comm,
				  &request);
		MPI_Test(&request, &done, MPI_STATUS_IGNORE);
		if (!done)
			usleep(50);
		else if (told.offset == TELLS_NO_MORE)
			talking--;
		else
			raise_word((_Atomic uint64_t *)(void *)(beside.memory + told.offset), told.value);
	}
	return NULL;
}

static void tell_others(struct telling told)
{
	for (int i = 0; i < beside.nodes; i++)
		if (i != beside.node)
			MPI_Send(&told, sizeof told, MPI_BYTE, i, TAG_TELL, beside.comm);
}

void torture_tell(_Atomic uint64_t *word, uint64_t value)
{
	raise_word(word, value);
	if (beside.comm != MPI_COMM_NULL)
		tell_others((struct telling){(uint64_t)((unsigned char *)word - beside.memory), value});
}

static bool on_one_machine(void)
{
	MPI_Comm machine;
	int here, least;

	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
	MPI_Comm_size(machine, &here);
	MPI_Comm_free(&machine);
	MPI_Allreduce(&here, &least, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
	return least == beside.nodes;
}

static void share_memory(size_t bytes)
{
	MPI_Aint size;
	int unit;

	MPI_Win_allocate_shared(beside.node ? 0 : (MPI_Aint)bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD,
				(void *)&beside.memory, &beside.window);
	MPI_Win_shared_query(beside.window, 0, &size, &unit, (void *)&beside.memory);
	if (!beside.node)
		memset(beside.memory, 0, bytes);
}

static void share_by_messages(size_t bytes)
{
	beside.memory = beside.provided == MPI_THREAD_MULTIPLE ? calloc(1, bytes) : NULL;
	if (beside.memory)
		MPI_Comm_dup(MPI_COMM_WORLD, &beside.comm);
	if (!beside.memory || pthread_create(&beside.listener, NULL, listen_to_others, NULL)) {
		fprintf(stderr, "# no memory, or MPI is not for several threads\n");
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
}

void *torture_share(size_t bytes)
{
	MPI_Comm_rank(MPI_COMM_WORLD, &beside.node);
	MPI_Comm_size(MPI_COMM_WORLD, &beside.nodes);
	if (on_one_machine())
		share_memory(bytes);
	else
		share_by_messages(bytes);
	MPI_Barrier(MPI_COMM_WORLD);
	return beside.memory;
}

void torture_unshare(void)
{
	if (beside.comm == MPI_COMM_NULL) {
		MPI_Win_free(&beside.window);
		return;
	}
	tell_others((struct telling){TELLS_NO_MORE, 0});
	pthread_join(beside.listener, NULL);
	MPI_Comm_free(&beside.comm);
	free(beside.memory);
}
