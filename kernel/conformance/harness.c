/*
 * Runs one case in a process of its own, so that a crash, a hang or a leak is that case's verdict and nobody
 * else's. See harness.h.
 */
#include "kernel/conformance/harness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

static const struct memory_type memory_types[MEMORY_KIND_COUNT] = {
    [MEMORY_ANON] = {"anon", 4 * KIB, false, false, 0},
    [MEMORY_SHARED_ANON] = {"shared-anon", 4 * KIB, true, false, UFFD_FEATURE_MINOR_SHMEM},
    [MEMORY_SHMEM] = {"shmem", 4 * KIB, true, false, UFFD_FEATURE_MINOR_SHMEM},
    [MEMORY_HUGETLB_2M] = {"hugetlb-2m", 2 * MIB, true, true, UFFD_FEATURE_MINOR_HUGETLBFS},
    [MEMORY_HUGETLB_1G] = {"hugetlb-1g", 1 * GIB, true, true, UFFD_FEATURE_MINOR_HUGETLBFS},
};

const struct memory_type *memory_type_of(enum memory_kind kind)
{
	return &memory_types[kind];
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[VERDICT_COUNT] = {
	    [VERDICT_PASS] = "pass",
	    [VERDICT_NEWER] = "newer",
	    [VERDICT_SKIP] = "skip",
	    [VERDICT_FAIL] = "fail",
	};

	return names[verdict];
}

enum verdict judge_answer(const struct conformance_case *row, const char *answer)
{
	if (!*answer)
		return row->letter && row->later ? VERDICT_FAIL : VERDICT_PASS;
	if (row->letter && strcmp(answer, row->letter) == 0)
		return VERDICT_PASS;
	if (row->later && strcmp(answer, row->later) == 0)
		return row->letter ? VERDICT_NEWER : VERDICT_PASS;
	return VERDICT_FAIL;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Fills in what the pool lacks for this case. @return whether something is lacking. */
static bool lacks_hugepages(const struct conformance_case *row, const struct memory_type *memory, char *why)
{
	struct hugepage_pool pool;
	uint64_t usable;
	int err;

	if (!memory->hugetlb || row->pages == 0)
		return false;
	err = hugepage_pool_read(memory->page_bytes, &pool);
	if (err) {
		snprintf(why, NOTE_BYTES, "no hugepages of %s on this machine",
			 memory_page_size_name(memory->page_bytes));
		return true;
	}
	usable = pool.free > pool.reserved ? pool.free - pool.reserved : 0;
	if (usable >= row->pages || row->maps_only)
		return false;
	snprintf(why, NOTE_BYTES,
		 "free hugepages of %s: %zu needed, %ju there; raise "
		 "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages",
		 memory_page_size_name(memory->page_bytes), row->pages, (uintmax_t)usable,
		 memory->page_bytes / KIB);
	return true;
}

/* @return whether the case can't run here, with the reason in @why. */
static bool cannot_run(const struct conformance_case *row, const struct memory_type *memory,
		       const struct run_options *options, uint64_t *features, char *why)
{
	int err = uffd_query(features, NULL);

	if (err) {
		snprintf(why, NOTE_BYTES, "userfaultfd cannot be opened: %s", result_name(err));
		return true;
	}
	if (row->features & ~*features) {
		snprintf(why, NOTE_BYTES, "this kernel does not list feature 0x%jx (Linux %s)",
			 (uintmax_t)(row->features & ~*features), row->since ? row->since : "5.13");
		return true;
	}
	if (row->takes_pool && !options->take_pool) {
		snprintf(why, NOTE_BYTES, "takes every free hugepage for a moment: only with --take-pool");
		return true;
	}
	return lacks_hugepages(row, memory, why);
}

static _Noreturn void child_main(struct trial *t)
{
	/* The case must not outlive the suite, nor the suite's terminal. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	alarm(t->timeout_s + 1);
	trial_map_memory(t);
	t->row->run(t);
	_exit(0);
}

/* @return whether the child ended in time. */
static bool ends_within(pid_t child, unsigned int timeout_ms)
{
	struct pollfd ready = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
	int n;

	/* Without a pidfd (before Linux 5.3) the child's own alarm is the bound. */
	if (ready.fd < 0)
		return true;
	do {
		n = poll(&ready, 1, (int)timeout_ms);
	} while (n < 0 && errno == EINTR);
	close(ready.fd);
	return n != 0;
}

/* Waits for the child. @return its wait status, or -1: it was killed because its time was up. */
static int wait_bounded(pid_t child, unsigned int timeout_ms)
{
	bool in_time = ends_within(child, timeout_ms);
	int status = 0;

	if (!in_time)
		kill(child, SIGKILL);
	waitpid(child, &status, 0);
	/* A case may have started processes of its own. */
	kill(-child, SIGKILL);
	return in_time ? status : -1;
}

static void fail_outcome(struct outcome *out, const char *format, int number, const char *name)
{
	out->verdict = VERDICT_FAIL;
	snprintf(out->note, sizeof(out->note), format, number, name);
}

/* Turns how the child ended, and what it said before, into the outcome. */
static void judge_child(const struct conformance_case *row, int status, unsigned int timeout_s,
			struct outcome *out)
{
	if (status == -1) {
		fail_outcome(out, "not done after %d s%s", (int)timeout_s, "");
	} else if (WIFSIGNALED(status)) {
		fail_outcome(out, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) != 0) {
		/* trial_fail() and trial_skip() have said what; anybody else's exit is a failure without a
		 * word. */
		if (!out->note[0])
			fail_outcome(out, "exited with status %d%s", WEXITSTATUS(status), "");
	} else {
		out->verdict = judge_answer(row, out->answer);
		if (out->verdict == VERDICT_FAIL)
			snprintf(out->note, sizeof(out->note), "neither the letter's answer nor a later one");
		else if (!out->answer[0])
			snprintf(out->answer, sizeof(out->answer), "%s",
				 row->letter ? row->letter : row->later);
	}
}

static void run_in_child(struct trial *t)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child < 0) {
		fail_outcome(t->outcome, "fork: errno %d (%s)", errno, strerror(errno));
		return;
	}
	if (child == 0)
		child_main(t);
	/* Here and in the child: whoever comes first. */
	setpgid(child, child);
	status = wait_bounded(child, t->timeout_s * 1000);
	judge_child(t->row, status, t->timeout_s, t->outcome);
}

void run_case(const struct conformance_case *row, enum memory_kind kind, const struct run_options *options,
	      struct outcome *out)
{
	struct trial t = {.row = row, .memory = memory_type_of(kind), .file = -1, .uffd = -1};
	uint64_t start = now_ms();

	t.timeout_s = options->timeout_s * (kind == MEMORY_HUGETLB_1G ? 3 : 1);
	memset(out, 0, sizeof(*out));
	if (cannot_run(row, t.memory, options, &t.features, out->note)) {
		out->verdict = VERDICT_SKIP;
		return;
	}
	t.outcome = mmap(NULL, sizeof(*out), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.outcome == MAP_FAILED) {
		fail_outcome(out, "mmap: errno %d (%s)", errno, strerror(errno));
		return;
	}
	t.outcome->verdict = VERDICT_FAIL;
	run_in_child(&t);
	*out = *t.outcome;
	out->elapsed_ms = (unsigned int)(now_ms() - start);
	munmap(t.outcome, sizeof(*out));
}
