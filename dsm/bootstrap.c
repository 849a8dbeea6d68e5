/*
 * Everything goes through node 0 with non-blocking messages, polled against a deadline: a collective
 * operation of MPI would wait for ever for a node that does not come, and could not tell which.
 */
#include "dsm/bootstrap.h"

#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dsm/clock.h"
#include "dsm/report.h"

/* Node 0 decides that somebody is missing; the others give it this much longer, to hear who. */
#define GRACE_NS 1000000000ull

#define TAG_TO_ROOT 7001
#define TAG_FROM_ROOT 7002

/* Precedes each contribution and each result. Two nodes whose headers differ are in different calls. */
struct header {
	uint64_t sequence;
	uint64_t bytes;
	int64_t status; /* in a result: 0 or -errno */
};

static MPI_Comm job = MPI_COMM_NULL;
static int own_node, node_count;
static uint64_t timeout_ns;
static uint64_t sequence;
/* Buffer of a collective call that failed: kept, and kept findable. */
static void *volatile abandoned;

/* --- starting MPI -------------------------------------------------------------------------------------- */

/* MPI_Init() waits for all processes of the job, without a bound. This thread is the bound. */
struct watchdog {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t done;
	bool finished;
	uint64_t limit_ns;
};

static void *watch(void *argument)
{
	struct watchdog *dog = argument;
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(dog->limit_ns / 1000000000);
	pthread_mutex_lock(&dog->mutex);
	while (!dog->finished && error != ETIMEDOUT)
		error = pthread_cond_timedwait(&dog->done, &dog->mutex, &until);
	bool finished = dog->finished;
	pthread_mutex_unlock(&dog->mutex);
	if (!finished) {
		report("MPI_Init() has not returned within %llu s: a process of the job did not start, or "
		       "hangs; look at "
		       "the other nodes, or set MINORCA_TIMEOUT if the cluster is only slow",
		       (unsigned long long)(dog->limit_ns / 1000000000));
		_exit(1);
	}
	return NULL;
}

static int start_mpi(int *argc, char ***argv, uint64_t limit_ns)
{
	struct watchdog dog = {.mutex = PTHREAD_MUTEX_INITIALIZER,
			       .done = PTHREAD_COND_INITIALIZER,
			       .limit_ns = limit_ns < 1000000000 ? 1000000000 : limit_ns};
	bool watched = !pthread_create(&dog.thread, NULL, watch, &dog);
	int provided;
	int error = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);

	if (watched) {
		pthread_mutex_lock(&dog.mutex);
		dog.finished = true;
		pthread_cond_signal(&dog.done);
		pthread_mutex_unlock(&dog.mutex);
		pthread_join(dog.thread, NULL);
	}
	if (error)
		report("MPI_Init_thread() failed with code %d", error);
	return error ? -EIO : 0;
}

/* --- bounded waits ------------------------------------------------------------------------------------- */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* Waits until all requests are complete or the deadline has passed. @return how many are not. */
static int wait_all(int count, MPI_Request *requests, uint64_t deadline_ns)
{
	for (;;) {
		int missing = 0;
		for (int i = 0; i < count; i++) {
			int done = 1;
			if (requests[i] != MPI_REQUEST_NULL)
				MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
			missing += !done;
		}
		if (!missing || clock_ns() > deadline_ns)
			return missing;
		nap();
	}
}

static void forget(int count, MPI_Request *requests)
{
	for (int i = 0; i < count; i++)
		if (requests[i] != MPI_REQUEST_NULL) {
			MPI_Cancel(&requests[i]);
			MPI_Request_free(&requests[i]);
		}
}

/* --- gathering ----------------------------------------------------------------------------------------- */

static void report_missing(const char *what, const MPI_Request *requests)
{
	char list[256] = "";
	size_t used = 0;
	int missing = 0;

	for (int i = 1; i < node_count; i++)
		if (requests[i] != MPI_REQUEST_NULL) {
			missing++;
			if (used < sizeof list - 12)
				used += (size_t)snprintf(list + used, sizeof list - used, "%s%d",
							 used ? ", " : "", i);
		}
	report("%s: node%s %s did not arrive within %g s (MINORCA_TIMEOUT); look there: it has died, hangs, "
	       "or is in "
	       "another call",
	       what, missing > 1 ? "s" : "", list, (double)timeout_ns / 1e9);
}

/* Node 0: takes every node's contribution, then sends all of them, or the error, to all who came. */
static int gather_at_root(const char *what, const struct header *mine, unsigned char *boxes, size_t box_bytes)
{
	MPI_Request *requests = calloc((size_t)node_count, sizeof *requests);
	struct header *result = (struct header *)boxes;

	if (!requests)
		return -ENOMEM;
	requests[0] = MPI_REQUEST_NULL;
	for (int i = 1; i < node_count; i++)
		MPI_Irecv(boxes + (size_t)i * box_bytes, (int)box_bytes, MPI_BYTE, i, TAG_TO_ROOT, job,
			  &requests[i]);
	if (wait_all(node_count, requests, clock_ns() + timeout_ns)) {
		report_missing(what, requests);
		result->status = -ETIMEDOUT;
	}
	for (int i = 1; i < node_count && !result->status; i++) {
		const struct header *theirs = (const struct header *)(boxes + (size_t)i * box_bytes);
		if (theirs->sequence != mine->sequence || theirs->bytes != mine->bytes) {
			report("%s: node %d is in another collective call; all nodes must make the same "
			       "calls in the same "
			       "order",
			       what, i);
			result->status = -EIO;
		}
	}
	int status = (int)result->status;
	for (int i = 1; i < node_count; i++) {
		bool came = requests[i] == MPI_REQUEST_NULL;
		if (!came) {
			forget(1, &requests[i]);
			continue;
		}
		MPI_Isend(boxes, (int)(status ? sizeof *result : box_bytes * (size_t)node_count), MPI_BYTE, i,
			  TAG_FROM_ROOT, job, &requests[i]);
	}
	if (wait_all(node_count, requests, clock_ns() + timeout_ns)) {
		report_missing(what, requests);
		forget(node_count, requests);
		status = status ? status : -ETIMEDOUT;
	}
	free(requests);
	return status;
}

/* The others: send, and wait for the answer a little longer than node 0 waits for the slowest. */
static int gather_from_root(const char *what, const unsigned char *contribution, unsigned char *boxes,
			    size_t box_bytes)
{
	MPI_Request requests[2];

	MPI_Isend((void *)(uintptr_t)contribution, (int)box_bytes, MPI_BYTE, 0, TAG_TO_ROOT, job,
		  &requests[0]);
	MPI_Irecv(boxes, (int)(box_bytes * (size_t)node_count), MPI_BYTE, 0, TAG_FROM_ROOT, job,
		  &requests[1]);
	if (wait_all(2, requests, clock_ns() + timeout_ns + GRACE_NS)) {
		report("%s: node 0 did not answer within %g s (MINORCA_TIMEOUT)", what,
		       (double)timeout_ns / 1e9);
		forget(2, requests);
		return -ETIMEDOUT;
	}
	return (int)((const struct header *)boxes)->status;
}

int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes)
{
	size_t box_bytes = sizeof(struct header) + ((bytes + 7) & ~(size_t)7);
	struct header header = {.sequence = ++sequence, .bytes = bytes};
	unsigned char *boxes = calloc((size_t)node_count + 1, box_bytes);
	int error;

	if (!boxes)
		return -ENOMEM;
	unsigned char *contribution = own_node ? boxes + (size_t)node_count * box_bytes : boxes;
	memcpy(contribution, &header, sizeof header);
	memcpy(contribution + sizeof header, mine, bytes);
	error = own_node ? gather_from_root(what, contribution, boxes, box_bytes)
			 : gather_at_root(what, &header, boxes, box_bytes);
	for (int i = 0; i < node_count && !error; i++)
		memcpy((unsigned char *)all + (size_t)i * bytes,
		       boxes + (size_t)i * box_bytes + sizeof header, bytes);
	if (!error)
		free(boxes);
	else
		abandoned = boxes; /* MPI may still send from it; the job is over */
	return error;
}

int bootstrap_agree(const char *what, int status, const char *message)
{
	int *all = calloc((size_t)node_count, sizeof *all);
	int error = all ? bootstrap_gather(what, &status, all, sizeof status) : -ENOMEM;
	int first = 0;

	while (!error && first < node_count && !all[first])
		first++;
	if (status && message && (error || first == own_node))
		report("%s", message);
	if (!error && !status && first < node_count)
		status = all[first];
	free(all);
	return status ? status : error;
}

/* --- opening and closing ------------------------------------------------------------------------------- */

int bootstrap_open(int *argc, char ***argv, uint64_t limit_ns, int *node, int *nodes, bool *owns_mpi)
{
	int initialized, finalized, error;

	MPI_Finalized(&finalized);
	if (finalized) {
		report("dsm_init() after MPI_Finalize(): MPI cannot be started twice in a process");
		return -EINVAL;
	}
	MPI_Initialized(&initialized);
	if (!initialized) {
		error = start_mpi(argc, argv, limit_ns);
		if (error)
			return error;
	}
	*owns_mpi = !initialized;
	MPI_Comm_rank(MPI_COMM_WORLD, &own_node);
	MPI_Comm_size(MPI_COMM_WORLD, &node_count);
	report_set_node(own_node);
	timeout_ns = limit_ns;
	*node = own_node;
	*nodes = node_count;

	/* A roll call first: MPI_Comm_dup() waits without a bound, so all must be known to be here. */
	job = MPI_COMM_WORLD;
	error = bootstrap_agree("dsm_init()", 0, NULL);
	if (error) {
		job = MPI_COMM_NULL;
		return error;
	}
	return MPI_Comm_dup(MPI_COMM_WORLD, &job) ? -EIO : 0;
}

void bootstrap_close(bool owns_mpi, bool in_step)
{
	if (!in_step)
		return;
	if (job != MPI_COMM_NULL && job != MPI_COMM_WORLD)
		MPI_Comm_free(&job);
	job = MPI_COMM_NULL;
	if (owns_mpi)
		MPI_Finalize();
}
