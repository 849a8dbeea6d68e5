/*
 * The job, through MPI. See job.h.
 */
#include "bench/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mpi.h>

#define SLEEP_MIN_US 20
#define SLEEP_MAX_US 400

static int this_node = -1;
static MPI_Comm host = MPI_COMM_NULL; /* the nodes of this host */

void job_start(int *argc, char ***argv, struct job *job)
{
	int provided;

	/* Only the main thread calls MPI, here and in the runtime. */
	MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &job->node);
	MPI_Comm_size(MPI_COMM_WORLD, &job->nodes);
	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
	MPI_Comm_rank(host, &job->local_node);
	MPI_Comm_size(host, &job->local_nodes);
	MPI_Allreduce(&job->node, &job->first_of_host, 1, MPI_INT, MPI_MIN, host);
	job->home_is_here = job->first_of_host == 0;
	job->one_host = job->local_nodes == job->nodes;
	this_node = job->node;
}

void job_end(void)
{
	MPI_Comm_free(&host);
	MPI_Finalize();
}

/*
 * Waits for a collective operation, asleep most of the time. MPI's own waiting calls poll; told of more nodes
 * than cores, they yield as they poll, and with Linux's EEVDF scheduler who yields often is put off for long.
 */
static void finish(MPI_Request *request)
{
	useconds_t sleep_us = SLEEP_MIN_US;
	int done;

	for (;;) {
		MPI_Test(request, &done, MPI_STATUS_IGNORE);
		if (done)
			return;
		usleep(sleep_us);
		if (sleep_us < SLEEP_MAX_US)
			sleep_us *= 2;
	}
}

void job_meet(void)
{
	MPI_Request request;

	MPI_Ibarrier(MPI_COMM_WORLD, &request);
	finish(&request);
}

void job_share_from(int from, void *data, size_t bytes)
{
	MPI_Request request;

	MPI_Ibcast(data, (int)bytes, MPI_BYTE, from, MPI_COMM_WORLD, &request);
	finish(&request);
}

void job_share(void *data, size_t bytes)
{
	job_share_from(0, data, bytes);
}

static uint64_t reduce(uint64_t value, MPI_Op operation, MPI_Comm among)
{
	MPI_Request request;
	uint64_t result;

	MPI_Iallreduce(&value, &result, 1, MPI_UINT64_T, operation, among, &request);
	finish(&request);
	return result;
}

uint64_t job_sum(uint64_t value)
{
	return reduce(value, MPI_SUM, MPI_COMM_WORLD);
}

uint64_t job_minimum(uint64_t value)
{
	return reduce(value, MPI_MIN, MPI_COMM_WORLD);
}

bool job_any(bool value)
{
	return reduce(value, MPI_MAX, MPI_COMM_WORLD);
}

uint64_t job_host_sum(uint64_t value)
{
	return reduce(value, MPI_SUM, host);
}

/* Where each node's samples go: counts and displacements. @return their sum. */
static size_t lay_out(const int *counts, int nodes, int *starts)
{
	size_t total = 0;

	for (int i = 0; i < nodes; i++) {
		starts[i] = (int)total;
		total += (size_t)counts[i];
	}
	return total;
}

size_t job_gather(const uint64_t *mine, size_t count, uint64_t *all)
{
	int nodes, my_count = (int)count;
	MPI_Request request;

	MPI_Comm_size(MPI_COMM_WORLD, &nodes);
	int *counts = calloc((size_t)nodes * 2, sizeof *counts);
	if (!counts)
		job_fail("out of memory for the counts of %d nodes", nodes);
	MPI_Igather(&my_count, 1, MPI_INT, counts, 1, MPI_INT, 0, MPI_COMM_WORLD, &request);
	finish(&request);
	size_t total = lay_out(counts, nodes, counts + nodes);
	MPI_Igatherv(mine, my_count, MPI_UINT64_T, all, counts, counts + nodes, MPI_UINT64_T, 0,
		     MPI_COMM_WORLD, &request);
	finish(&request);
	free(counts);
	return total;
}

_Noreturn void job_fail(const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fprintf(stderr, "%s: node %d: %s\n", program_invocation_short_name, this_node, text);
	fflush(stderr);
	MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

_Noreturn void job_give_up(void)
{
	int over;

	MPI_Finalized(&over);
	if (!over)
		job_end();
	exit(EXIT_FAILURE);
}

_Noreturn void job_refuse(const struct job *job, const char *format, ...)
{
	va_list arguments;

	if (job->node == 0) {
		fprintf(stderr, "%s: ", program_invocation_short_name);
		va_start(arguments, format);
		vfprintf(stderr, format, arguments);
		va_end(arguments);
		fputc('\n', stderr);
	}
	job_give_up();
}

int job_launcher_rank(void)
{
	/* Open MPI; MPICH and what uses its process manager; PMIx; Slurm. */
	static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *text = getenv(names[i]);
		if (text)
			return atoi(text);
	}
	return 0;
}
