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
#include "dsm/hash.h"
#include "dsm/report.h"

/* Node 0 decides that somebody is missing; the others give it this much longer, to hear who. */
#define GRACE_NS 1000000000ull

/* How often a wait asks whether whom it waits for lives. */
#define ASK_NS 250000000u

enum { TAG_HEADER = 7001, TAG_VERDICT, TAG_DATA, TAG_ALL };

/* Precedes each collective call. Nodes whose headers differ are in different calls. */
struct header {
	uint64_t sequence;
	uint64_t bytes;
	uint64_t what;	/* hash of the call's name */
	int64_t status; /* 0 or -errno: a node that cannot take part says so; in node 0's verdict: of all */
};

static MPI_Comm job = MPI_COMM_NULL;
static int own_node, node_count;
static uint64_t timeout_ns;
static uint64_t sequence;
/* Node 0's, for all nodes; made once, so that a collective call cannot fail for want of them. */
static struct header *headers;
static MPI_Request *requests;
/* Buffer of a collective call that failed: kept, and kept findable. */
static void *volatile abandoned;
/* Somebody has not come to a collective call: MPI's own would wait for it without a bound. */
static bool somebody_missed;
static bool (*watch_node)(int node, bool ask);

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
	int error = MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &provided);

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

void bootstrap_watch(bool (*lost)(int node, bool ask))
{
	watch_node = lost;
}

static bool is_lost(int node, bool ask)
{
	return watch_node && watch_node(node, ask);
}

/*
 * Waits until all requests are complete, but for those of nodes that are lost, or @limit_ns has passed. The
 * requests are of node 0 (@of_root), or each of the node of its number.
 *
 * @return 0; -EHOSTDOWN: only requests of lost nodes are not complete; -ETIMEDOUT: others.
 */
static int wait_all(int count, MPI_Request *pending, bool of_root, uint64_t limit_ns)
{
	uint64_t now = clock_ns(), deadline = now + limit_ns, ask_at = now + ASK_NS;

	for (;;) {
		int missing = 0, missing_and_lost = 0;
		bool ask = now > ask_at;
		ask_at = ask ? now + ASK_NS : ask_at;
		for (int i = 0; i < count; i++) {
			int done = 1;
			if (pending[i] != MPI_REQUEST_NULL)
				MPI_Test(&pending[i], &done, MPI_STATUS_IGNORE);
			missing += !done;
			missing_and_lost += !done && is_lost(of_root ? 0 : i, ask);
			/* One that does not answer takes long: the others are asked after another time. */
			ask = ask && clock_ns() - now < ASK_NS;
		}
		if (missing == missing_and_lost)
			return missing ? -EHOSTDOWN : 0;
		if (now > deadline)
			return -ETIMEDOUT;
		nap();
		now = clock_ns();
	}
}

static void forget(int count, MPI_Request *pending)
{
	for (int i = 0; i < count; i++)
		if (pending[i] != MPI_REQUEST_NULL) {
			MPI_Cancel(&pending[i]);
			MPI_Request_free(&pending[i]);
		}
}

/* Says what became of a wait for node 0. */
static void report_root(const char *what, int error)
{
	if (error == -EHOSTDOWN)
		report("%s: node 0 is lost: its process has ended, or its device does not answer; the nodes "
		       "that are left cannot agree any more",
		       what);
	else
		report("%s: node 0 did not answer within %g s (MINORCA_TIMEOUT)", what,
		       (double)timeout_ns / 1e9);
}

/* --- gathering: headers to node 0, its verdict back; then data to node 0, and all of it back ------------ */

/* Lists the nodes whose requests are not complete: those that are lost, or the others. @return how many. */
static int list_missing(bool lost, char *list, size_t bytes)
{
	size_t used = 0;
	int missing = 0;

	list[0] = 0;
	for (int i = 1; i < node_count; i++)
		if (requests[i] != MPI_REQUEST_NULL && is_lost(i, false) == lost) {
			missing++;
			if (used < bytes - 12)
				used +=
				    (size_t)snprintf(list + used, bytes - used, "%s%d", used ? ", " : "", i);
		}
	return missing;
}

static void report_missing(const char *what)
{
	char list[256];
	int missing = list_missing(true, list, sizeof list);

	if (missing)
		report(
		    "%s: node%s %s: lost: the process has ended, or the device does not answer; not waited "
		    "for",
		    what, missing > 1 ? "s" : "", list);
	missing = list_missing(false, list, sizeof list);
	if (missing)
		report("%s: node%s %s did not arrive within %g s (MINORCA_TIMEOUT); look there: it has died, "
		       "hangs, or is in another call",
		       what, missing > 1 ? "s" : "", list, (double)timeout_ns / 1e9);
}

/* A status that another node tells: 0 or -errno, or else it is none. */
static int64_t checked_status(int64_t status)
{
	return status > 0 || status < -4095 ? -EPROTO : status;
}

static int64_t judge(const char *what)
{
	for (int i = 1; i < node_count; i++) {
		const struct header *theirs = &headers[i];
		if (theirs->sequence != headers[0].sequence || theirs->bytes != headers[0].bytes ||
		    theirs->what != headers[0].what) {
			report("%s: node %d is in another collective call; all nodes must make the same "
			       "calls in the same order, "
			       "with the same arguments",
			       what, i);
			return -EIO;
		}
	}
	for (int i = 0; i < node_count; i++)
		if (headers[i].status)
			return checked_status(headers[i].status);
	return 0;
}

/* Node 0: hears from all, and tells all who came whether the call goes on. */
static int64_t verdict_at_root(const char *what)
{
	requests[0] = MPI_REQUEST_NULL;
	for (int i = 1; i < node_count; i++)
		MPI_Irecv(&headers[i], sizeof headers[i], MPI_BYTE, i, TAG_HEADER, job, &requests[i]);
	int64_t status = wait_all(node_count, requests, false, timeout_ns);
	if (status)
		report_missing(what);
	else
		status = judge(what);
	headers[0].status = status;
	for (int i = 1; i < node_count; i++) {
		if (requests[i] != MPI_REQUEST_NULL)
			forget(1, &requests[i]); /* it did not come */
		else
			MPI_Isend(&headers[0], sizeof headers[0], MPI_BYTE, i, TAG_VERDICT, job,
				  &requests[i]);
	}
	int error = wait_all(node_count, requests, false, timeout_ns);
	if (error) {
		report_missing(what);
		forget(node_count, requests);
	}
	return status ? status : error;
}

/* Node 0: collects the data in @boxes, where its own is already, and sends all of it to all. */
static int exchange_at_root(const char *what, unsigned char *boxes, size_t bytes)
{
	for (int i = 1; i < node_count; i++)
		MPI_Irecv(boxes + (size_t)i * bytes, (int)bytes, MPI_BYTE, i, TAG_DATA, job, &requests[i]);
	int error = wait_all(node_count, requests, false, timeout_ns);
	for (int i = 1; i < node_count && !error; i++)
		MPI_Isend(boxes, (int)(bytes * (size_t)node_count), MPI_BYTE, i, TAG_ALL, job, &requests[i]);
	if (!error)
		error = wait_all(node_count, requests, false, timeout_ns);
	if (error) {
		report_missing(what);
		forget(node_count, requests);
	}
	return error;
}

/* The others: wait for node 0 a little longer than it waits for the slowest. */
static int wait_for_root(const char *what, MPI_Request *two)
{
	int error = wait_all(2, two, true, timeout_ns + GRACE_NS);

	if (error) {
		report_root(what, error);
		forget(2, two);
	}
	return error;
}

static int64_t verdict_from_root(const char *what, const struct header *mine)
{
	static struct header sent, verdict; /* MPI may use them after a time-out */
	MPI_Request two[2];

	sent = *mine;
	MPI_Isend(&sent, sizeof sent, MPI_BYTE, 0, TAG_HEADER, job, &two[0]);
	MPI_Irecv(&verdict, sizeof verdict, MPI_BYTE, 0, TAG_VERDICT, job, &two[1]);
	int error = wait_for_root(what, two);
	if (!error && verdict.sequence != sent.sequence) {
		report("%s: node 0 is in another collective call; all nodes must make the same calls in the "
		       "same "
		       "order",
		       what);
		error = -EIO;
	}
	return error ? error : checked_status(verdict.status);
}

static int exchange_with_root(const char *what, unsigned char *boxes, size_t bytes)
{
	MPI_Request two[2];

	MPI_Isend(boxes + (size_t)node_count * bytes, (int)bytes, MPI_BYTE, 0, TAG_DATA, job, &two[0]);
	MPI_Irecv(boxes, (int)(bytes * (size_t)node_count), MPI_BYTE, 0, TAG_ALL, job, &two[1]);
	return wait_for_root(what, two);
}

int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes)
{
	/* All nodes' data, and behind it this node's own. */
	unsigned char *boxes = all ? malloc(((size_t)node_count + 1) * bytes) : NULL;
	struct header header = {.sequence = ++sequence,
				.bytes = bytes,
				.what = hash_text(HASH_START, what),
				.status = boxes ? 0 : -ENOMEM};

	if (!boxes)
		report("%s: out of memory", what);
	if (!own_node)
		headers[0] = header;
	int error = (int)(own_node ? verdict_from_root(what, &header) : verdict_at_root(what));
	somebody_missed |= error == -ETIMEDOUT || error == -EHOSTDOWN;
	if (error || !boxes) {
		free(boxes);
		return error ? error : -ENOMEM;
	}
	memcpy(boxes + (own_node ? (size_t)node_count * bytes : 0), mine, bytes);
	error = own_node ? exchange_with_root(what, boxes, bytes) : exchange_at_root(what, boxes, bytes);
	if (error) {
		somebody_missed = true;
		abandoned = boxes; /* MPI may still use it; the job is over */
		return error;
	}
	memcpy(all, boxes, (size_t)node_count * bytes);
	free(boxes);
	return 0;
}

int bootstrap_agree(const char *what, int status, const char *message)
{
	int *all = calloc((size_t)node_count, sizeof *all);
	int error = bootstrap_gather(what, &status, all, sizeof status);
	int first = 0;

	while (!error && all && first < node_count && !all[first])
		first++;
	if (status && message && (error || first == own_node))
		report("%s", message);
	if (!error && all && !status && first < node_count)
		status = (int)checked_status(all[first]);
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

	headers = calloc((size_t)node_count, sizeof *headers);
	requests = calloc((size_t)node_count, sizeof(MPI_Request));
	if (!headers || !requests) {
		report("dsm_init(): out of memory");
		return -ENOMEM;
	}

	/* A roll call first: MPI_Comm_dup() waits without a bound, so all must be known to be here. */
	job = MPI_COMM_WORLD;
	error = bootstrap_agree("dsm_init()", 0, NULL);
	if (error) {
		job = MPI_COMM_NULL;
		return error;
	}
	if (MPI_Comm_dup(MPI_COMM_WORLD, &job))
		return -EIO;
	/* A node that is lost must not make MPI end those that are left. */
	return MPI_Comm_set_errhandler(job, MPI_ERRORS_RETURN) ? -EIO : 0;
}

void bootstrap_close(bool owns_mpi, bool in_step)
{
	if (!in_step || somebody_missed)
		return;
	free(headers);
	free(requests);
	headers = NULL;
	requests = NULL;
	if (job != MPI_COMM_NULL && job != MPI_COMM_WORLD)
		MPI_Comm_free(&job);
	job = MPI_COMM_NULL;
	if (owns_mpi)
		MPI_Finalize();
}
