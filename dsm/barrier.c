/*
 * dsm_barrier(): publish, wait for all, acquire.
 *
 * Waiting is a dissemination barrier (Hensgen, Finkel and Manber, "Two algorithms for barrier
 * synchronization", 1988): in round k, node i writes the number of this barrier into a word of node i + 2^k
 * and waits for node i - 2^k to have done the same to it. After ceil(log2 N) rounds each node has heard,
 * through others, from all. The words only grow, so that none needs to be reset, and a node that runs ahead
 * into the next barrier does no harm.
 */
#include "dsm/barrier.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <minorca.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/lane.h"
#include "dsm/region.h"
#include "dsm/release.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "kernel/memory.h"

/* In the control segment; each word has a cache line of its own, for it has a writer of its own. */
struct control {
	struct {
		_Alignas(64) _Atomic uint64_t word;
	} arrived, /* the barrier that this node is in; written by itself, read by peers that look for who is
		      missing */
	    heard[BARRIER_ROUNDS_MAX]; /* by round; written by a peer */
};

static struct control *control;
static int control_fd = -1;
static uint64_t current; /* number of the last barrier that was begun */
static bool unfinished;	 /* it has failed here so far: the next call goes on with it */
static atomic_flag busy = ATOMIC_FLAG_INIT;

int barrier_create(void)
{
	void *memory;

	control_fd = memory_file_create("minorca-control", barrier_bytes(), 4096);
	if (control_fd < 0)
		return control_fd;
	int error = memory_map(control_fd, barrier_bytes(), NULL, &memory);
	if (error) {
		close(control_fd);
		control_fd = -1;
		return error;
	}
	control = memory;
	current = 0;
	unfinished = false;
	return 0;
}

void barrier_destroy(void)
{
	if (control)
		munmap(control, barrier_bytes());
	if (control_fd >= 0)
		close(control_fd);
	control = NULL;
	control_fd = -1;
}

int barrier_file(void)
{
	return control_fd;
}

void *barrier_memory(void)
{
	return control;
}

size_t barrier_bytes(void)
{
	return (sizeof(struct control) + 4095) & ~(size_t)4095;
}

/* --- between nodes ------------------------------------------------------------------------------------- */

/* Runs @operation with this thread's lane and all signals blocked. */
static int with_lane(int (*operation)(struct lane *, uint64_t), uint64_t argument)
{
	sigset_t saved;

	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire();
	int error = operation(lane, argument);
	lane_release(lane);
	runtime_unblock_signals(&saved);
	return error;
}

/* Tells the partner of round @round that this node is there. */
static int signal_partner(struct lane *lane, uint64_t round)
{
	int partner = (int)((unsigned)runtime.node + (1u << round)) % runtime.nodes;
	uint64_t *word = (uint64_t *)(void *)lane->scratch;

	*word = current;
	int error = runtime.ops->post_write(
	    runtime.transport, lane, partner, SEGMENT_CONTROL,
	    offsetof(struct control, heard) + round * sizeof control->heard[0], word, sizeof *word);
	return error ? error : runtime.ops->complete(runtime.transport, lane);
}

/* Names the nodes that have not begun this barrier. Each is asked one-sided, so that those that wait like us
 * are not blamed. */
static int report_missing(struct lane *lane, uint64_t unused)
{
	uint64_t *word = (uint64_t *)(void *)lane->scratch;
	char list[256] = "";
	size_t used = 0;

	(void)unused;
	for (int i = 0; i < runtime.nodes && used < sizeof list - 12; i++) {
		int error = runtime.ops->post_read(runtime.transport, lane, i, SEGMENT_CONTROL,
						   offsetof(struct control, arrived), word, sizeof *word);
		if (!error)
			error = runtime.ops->complete(runtime.transport, lane);
		if (error || *word < current)
			used +=
			    (size_t)snprintf(list + used, sizeof list - used, "%s%d", used ? ", " : "", i);
	}
	report("dsm_barrier() number %llu: node %s did not arrive within %g s (MINORCA_TIMEOUT); look there: "
	       "it has died, "
	       "hangs, computes for longer than that, or takes part in fewer barriers",
	       (unsigned long long)current, used ? list : "(all have begun it, and one is slow)",
	       (double)runtime.settings.timeout_ns / 1e9);
	return 0;
}

/* Waits until @word has reached this barrier's number. */
static int wait_for(_Atomic uint64_t *word)
{
	uint64_t deadline = clock_ns() + runtime.settings.timeout_ns;

	/* Acquire: pairs with the write in signal_partner(), whose node published before it. */
	for (unsigned turns = 0; atomic_load_explicit(word, memory_order_acquire) < current;)
		if (backoff(&turns) && clock_ns() > deadline)
			return -ETIMEDOUT;
	return 0;
}

static int wait_for_all(void)
{
	int error = 0;

	if (!unfinished)
		current++;
	unfinished = true;
	atomic_store_explicit(&control->arrived.word, current, memory_order_release);
	for (unsigned round = 0; 1u << round < (unsigned)runtime.nodes && !error; round++) {
		error = with_lane(signal_partner, round);
		if (!error)
			error = wait_for(&control->heard[round].word);
	}
	if (error == -ETIMEDOUT)
		with_lane(report_missing, 0);
	return error;
}

/* --- with memory --------------------------------------------------------------------------------------- */

static int for_each_region(struct lane *lane, int (*operation)(struct lane *, struct dsm_region *))
{
	int error = 0;

	for (unsigned id = 0; id < REGIONS_MAX && !error; id++) {
		struct dsm_region *r = atomic_load_explicit(&runtime.regions[id], memory_order_acquire);
		if (r)
			error = operation(lane, r);
	}
	return error;
}

static int publish_all(struct lane *lane, uint64_t unused)
{
	(void)unused;
	stats_add(&lane->stats.barriers, 1);
	return for_each_region(lane, release_publish);
}

static int acquire_all(struct lane *lane, uint64_t waited_ns)
{
	stats_add(&lane->stats.barrier_wait_ns, waited_ns);
	return for_each_region(lane, release_acquire);
}

static int acquire_and_report(uint64_t waited_ns)
{
	int error = with_lane(acquire_all, waited_ns);

	if (error)
		report("dsm_barrier(): cannot un-map what other nodes changed: %s", strerror(-error));
	return error;
}

int dsm_barrier(void)
{
	int saved_errno = errno;

	if (!runtime.started)
		return -EINVAL;
	if (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
		return -EBUSY;
	int error = with_lane(publish_all, 0);
	if (error)
		report("dsm_barrier(): cannot publish what this node stored: %s", strerror(-error));
	else {
		uint64_t began = clock_ns();
		error = wait_for_all();
		if (!error)
			error = acquire_and_report(clock_ns() - began);
		if (!error)
			unfinished = false;
	}
	atomic_flag_clear_explicit(&busy, memory_order_release);
	errno = saved_errno;
	return error;
}
