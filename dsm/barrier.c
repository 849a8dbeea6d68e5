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
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include <minorca.h>

#include "dsm/clock.h"
#include "dsm/consistency.h"
#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "dsm/word.h"

/* In the control segment; each word has a cache line of its own, for it has a writer of its own. */
struct control {
	struct {
		_Alignas(64) _Atomic uint64_t word;
	} arrived, /* the barrier that this node is in; written by itself, read by peers that look for who is
		      missing */
	    heard[BARRIER_ROUNDS_MAX]; /* by round; written by a peer */
};

static struct node_segment segment;
static uint64_t current; /* number of the last barrier that was begun */
static bool unfinished;	 /* it has failed here so far: the next call goes on with it */
static atomic_flag busy = ATOMIC_FLAG_INIT;

static struct control *control(void)
{
	return segment.memory;
}

int barrier_create(void)
{
	current = 0;
	unfinished = false;
	return node_segment_create(&segment, "minorca-control", sizeof(struct control));
}

void barrier_destroy(void)
{
	node_segment_destroy(&segment);
}

int barrier_connect(void)
{
	return node_segment_connect(&segment, SEGMENT_CONTROL, PEERS_READ | PEERS_WRITE);
}

/* --- between nodes ------------------------------------------------------------------------------------- */

/* Tells the partner of round @round that this node is there. */
static int signal_partner(unsigned round)
{
	struct lane *lane = lane_acquire_sync();
	int partner = (int)((unsigned)runtime.node + (1u << round)) % runtime.nodes;
	uint64_t *word = (uint64_t *)(void *)lane->scratch;

	*word = current;
	int error = runtime.ops->post_write(runtime.transport, lane, partner, SEGMENT_CONTROL,
					    offsetof(struct control, heard) +
						round * sizeof(((struct control *)0)->heard[0]),
					    word, sizeof *word);
	int completed = runtime.ops->complete(runtime.transport, lane);
	lane_release(lane);
	return peers_note(partner, error ? error : completed);
}

/* Names the nodes that have not begun this barrier. Each is asked one-sided, so that those that wait like us
 * are not blamed. */
static void report_missing(const char *what)
{
	char list[256] = "";
	size_t used = 0;

	for (int i = 0; i < runtime.nodes && used < sizeof list - 12; i++) {
		const struct word arrived = {i, SEGMENT_CONTROL, offsetof(struct control, arrived)};
		uint64_t number;

		if (word_read(&arrived, 0, &number) || number < current)
			used +=
			    (size_t)snprintf(list + used, sizeof list - used, "%s%d", used ? ", " : "", i);
	}
	report("%s number %llu: node %s did not arrive within %g s (MINORCA_TIMEOUT); look there: "
	       "it has died, "
	       "hangs, computes for longer than that, or takes part in fewer barriers",
	       what, (unsigned long long)current, used ? list : "(all have begun it, and one is slow)",
	       (double)runtime.settings.timeout_ns / 1e9);
}

/*
 * Waits until the partner of round @round has signalled. If any node is lost, whichever, this barrier cannot
 * be passed by all. It is enough to ask the one that is waited for: it is in an earlier round itself, for it
 * signals when it begins one, and waits there for another, and so on; after at most log2 N of them comes one
 * that is lost, or whose caller is not here yet. Each that learns of a loss tells it to the one that asks it.
 */
static int wait_for_partner(unsigned round)
{
	_Atomic uint64_t *word = &control()->heard[round].word;
	int nodes = runtime.nodes, partner = (int)((unsigned)(runtime.node + nodes) - (1u << round)) % nodes;
	struct wait wait = {0};

	/* Acquire: pairs with the write in signal_partner(), whose node published before it. */
	while (atomic_load_explicit(word, memory_order_acquire) < current) {
		enum wait_turn turn = wait_turn(&wait);
		if (turn == WAIT_ASK)
			peers_ask(partner);
		if (turn == WAIT_ASK && peers_lost_count())
			return -EHOSTDOWN;
		if (turn == WAIT_OVER)
			return -ETIMEDOUT;
	}
	return 0;
}

static int wait_for_all(const char *what)
{
	int error = 0;

	if (!unfinished)
		current++;
	unfinished = true;
	atomic_store_explicit(&control()->arrived.word, current, memory_order_release);
	if (peers_lost_count())
		error = -EHOSTDOWN;
	for (unsigned round = 0; 1u << round < (unsigned)runtime.nodes && !error; round++) {
		error = signal_partner(round);
		if (!error)
			error = wait_for_partner(round);
	}
	if (error == -ETIMEDOUT)
		report_missing(what);
	return peers_tell(error, what, "nothing can wait for all nodes any more");
}

/* --- with memory --------------------------------------------------------------------------------------- */

static void count_barrier(uint64_t waited_ns)
{
	struct lane *lane = lane_acquire_sync();

	stats_add(&lane->stats.barriers, 1);
	stats_add(&lane->stats.barrier_wait_ns, waited_ns);
	lane_release(lane);
}

int barrier_pass(const char *what)
{
	if (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
		return -EBUSY;
	int error = consistency_release(what);
	uint64_t began = clock_ns();
	if (!error)
		error = wait_for_all(what);
	if (!error) {
		count_barrier(clock_ns() - began);
		error = consistency_acquire(what);
	}
	if (!error)
		unfinished = false;
	atomic_flag_clear_explicit(&busy, memory_order_release);
	return error;
}

int dsm_barrier(void)
{
	int saved_errno = errno;
	int error = runtime.started ? barrier_pass("dsm_barrier()") : -EINVAL;

	errno = saved_errno;
	return error;
}
