#include "dsm/tests/forked.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dsm/bootstrap.h"
#include "dsm/clock.h"
#include "dsm/hash.h"
#include "dsm/report.h"

#define BOX_BYTES ((size_t)65536)

/* Shared by the nodes of a job. Of two sets of boxes one is filled while the other may still be read. */
struct meeting {
	_Atomic uint64_t arrived[FORKED_NODES_MAX];
	struct header {
		uint64_t what, bytes; /* of the call: nodes in different calls are told */
		int64_t status;
	} headers[2][FORKED_NODES_MAX];
	unsigned char boxes[2][FORKED_NODES_MAX][BOX_BYTES];
};

static struct meeting *meeting;
static int own_node, node_count;
static uint64_t sequence, timeout_ns;

/* --- the bootstrap -----------------------------------------------------------------------------------------
 */

int bootstrap_open(int *argc, char ***argv, uint64_t limit_ns, int *node, int *nodes, bool *owns_mpi)
{
	(void)argc, (void)argv;
	report_set_node(own_node);
	timeout_ns = limit_ns;
	*node = own_node;
	*nodes = node_count;
	*owns_mpi = false;
	return bootstrap_agree("dsm_init()", 0, NULL);
}

/* A node that died is noticed by the time-out, which is short here. */
void bootstrap_watch(bool (*is_lost)(int node, bool ask))
{
	(void)is_lost;
}

void bootstrap_close(bool owns_mpi, bool in_step)
{
	(void)owns_mpi, (void)in_step;
}

int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes)
{
	uint64_t deadline = clock_ns() + timeout_ns, set = ++sequence % 2;

	if (bytes > BOX_BYTES)
		abort();
	memcpy(meeting->boxes[set][own_node], mine, bytes);
	meeting->headers[set][own_node] =
	    (struct header){hash_text(HASH_START, what), bytes, all ? 0 : -ENOMEM};
	atomic_store(&meeting->arrived[own_node], sequence);
	for (int i = 0; i < node_count; i++)
		while (atomic_load(&meeting->arrived[i]) < sequence) {
			if (clock_ns() > deadline) {
				report("%s: node %d did not arrive", what, i);
				return -ETIMEDOUT;
			}
			usleep(20);
		}
	const struct header *headers = meeting->headers[set], *own = &headers[own_node];
	for (int i = 0; i < node_count; i++)
		if (headers[i].what != own->what || headers[i].bytes != own->bytes)
			return -EIO;
	for (int i = 0; i < node_count; i++)
		if (headers[i].status)
			return (int)headers[i].status;
	for (int i = 0; i < node_count; i++)
		memcpy((unsigned char *)all + (size_t)i * bytes, meeting->boxes[set][i], bytes);
	return 0;
}

int bootstrap_agree(const char *what, int status, const char *message)
{
	int all[FORKED_NODES_MAX] = {0}, first = 0;
	int error = bootstrap_gather(what, &status, all, sizeof status);

	while (!error && first < node_count && !all[first])
		first++;
	if (status && message && (error || first == own_node))
		report("%s", message);
	if (!error && !status && first < node_count)
		status = all[first];
	return status ? status : error;
}

/* --- the job -----------------------------------------------------------------------------------------------
 */

static FILE *open_output(void)
{
	int fd = memfd_create("forked-stderr", MFD_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w+");

	if (!file)
		abort();
	return file;
}

static void read_output(FILE *file, char *text)
{
	long size = fseek(file, 0, SEEK_END) ? 0 : ftell(file);

	fseek(file, size < FORKED_TEXT_BYTES ? 0 : size - FORKED_TEXT_BYTES + 1, SEEK_SET);
	text[fread(text, 1, FORKED_TEXT_BYTES - 1, file)] = 0;
	fclose(file);
}

static pid_t start(int node, FILE *output, int (*body)(int, void *), void *argument)
{
	fflush(NULL); /* or the child writes it too */
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1); /* others open our memory */
	dup2(fileno(output), STDERR_FILENO);
	own_node = node;
	exit(body(node, argument));
}

/* @return true: it has ended. */
static bool wait_until(pid_t pid, uint64_t deadline, int *status)
{
	while (waitpid(pid, status, WNOHANG) != pid) {
		if (clock_ns() > deadline)
			return false;
		usleep(200);
	}
	return true;
}

void forked_job(int nodes, double seconds, int (*body)(int node, void *argument), void *argument,
		struct forked_end ends[FORKED_NODES_MAX])
{
	uint64_t deadline = clock_ns() + (uint64_t)(seconds * 1e9);
	FILE *outputs[FORKED_NODES_MAX];
	pid_t pids[FORKED_NODES_MAX];

	meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (meeting == MAP_FAILED)
		abort();
	node_count = nodes;
	for (int i = 0; i < nodes; i++) {
		outputs[i] = open_output();
		pids[i] = start(i, outputs[i], body, argument);
	}
	for (int i = 0; i < nodes; i++) {
		ends[i].hung = !wait_until(pids[i], deadline, &ends[i].status);
		if (ends[i].hung) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], &ends[i].status, 0);
		}
		read_output(outputs[i], ends[i].text);
	}
	munmap(meeting, sizeof *meeting);
}
