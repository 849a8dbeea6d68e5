/*
 * The cases about locks.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"
#include "bench/team.h"

static dsm_mutex *mutex_of(const struct bench *b)
{
	return (dsm_mutex *)(void *)b->base;
}

static dsm_rwlock *rwlock_of(const struct bench *b)
{
	return (dsm_rwlock *)(void *)b->base;
}

/* --- baselines: what the one-sided operations of an uncontended lock cost a CPU ------------------------- */

/* Alone, or on a word that all nodes of the host share. */
static uint64_t *baseline_word(const struct bench *b)
{
	static uint64_t own;

	return b->shared ? &b->shared->word : &own;
}

static void two_compare_swaps(struct bench *b)
{
	uint64_t expected = 0;

	__atomic_compare_exchange_n(baseline_word(b), &expected, 1, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	expected = 1;
	__atomic_compare_exchange_n(baseline_word(b), &expected, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

static void two_adds(struct bench *b)
{
	__atomic_fetch_add(baseline_word(b), 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(baseline_word(b), 1, __ATOMIC_SEQ_CST);
}

/* --- mutexes ------------------------------------------------------------------------------------------- */

static void lock_and_unlock(struct bench *b)
{
	require(b, dsm_lock(mutex_of(b)), "dsm_lock()");
	require(b, dsm_unlock(mutex_of(b)), "dsm_unlock()");
}

static void trylock_and_unlock(struct bench *b)
{
	require(b, dsm_trylock(mutex_of(b)), "dsm_trylock()");
	require(b, dsm_unlock(mutex_of(b)), "dsm_unlock()");
}

const struct operations lock_uncontended = {
    .who = NODE_0,
    .calls = 16,
    .runtime = lock_and_unlock,
    .baseline = two_compare_swaps,
    .rdma = sync_rdma_two_compare_swaps,
};

const struct operations trylock = {
    .who = NODE_0,
    .calls = 16,
    .runtime = trylock_and_unlock,
    .baseline = two_compare_swaps,
    .rdma = sync_rdma_two_compare_swaps,
};

/* Of a page that becomes hot, as a page does that is changed under a lock again and again. */
static void lock_and_store(struct bench *b)
{
	require(b, dsm_lock(mutex_of(b)), "dsm_lock()");
	bench_flip_line(bench_page(b, 1));
	require(b, dsm_unlock(mutex_of(b)), "dsm_unlock()");
}

#define PUBLISHING_LOCKS 64

static void round_lock_publish(struct bench *b)
{
	if (b->job->node)
		return;
	uint64_t bytes = bench_stats(b).bytes_published;
	for (unsigned int i = 0; i < PUBLISHING_LOCKS; i++) {
		uint64_t before = timer_now_ns();
		lock_and_store(b);
		bench_sample(b, RUNTIME, timer_now_ns() - before);
	}
	expect(b, "bytes published", bench_stats(b).bytes_published - bytes,
	       PUBLISHING_LOCKS * SYNC_LINE_BYTES);
}

const struct operations lock_publish = {.who = NODE_0, .round = round_lock_publish};

/* --- hand-overs ---------------------------------------------------------------------------------------- */

/* One thread's turn at the lock. Words, for job_gather(). */
struct turn {
	uint64_t called_ns, locked_ns, unlocked_ns; /* the calls of lock and unlock, the return of lock */
	uint64_t thread;			    /* of all nodes */
};

#define TURN_WORDS (sizeof(struct turn) / sizeof(uint64_t))
#define TURNS_OF_A_THREAD 200u

/* How long a thread has the lock: long enough that the one before it is in line again. */
#define HOLD_NS 1000u

#define PINGPONGS 100u

static uint64_t node_of(uint64_t thread)
{
	return thread >> 16;
}

static void take_turns(void *argument, unsigned int thread)
{
	struct bench *b = argument;
	struct turn *turns = (struct turn *)b->state + (size_t)thread * TURNS_OF_A_THREAD;

	for (unsigned int i = 0; i < TURNS_OF_A_THREAD; i++) {
		struct turn turn = {.thread = (uint64_t)b->job->node << 16 | thread};
		turn.called_ns = timer_now_ns();
		require(b, dsm_lock(mutex_of(b)), "dsm_lock()");
		turn.locked_ns = timer_now_ns();
		while ((turn.unlocked_ns = timer_now_ns()) < turn.locked_ns + HOLD_NS)
			;
		require(b, dsm_unlock(mutex_of(b)), "dsm_unlock()");
		turns[i] = turn;
	}
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct turn *)a)->locked_ns, y = ((const struct turn *)b)->locked_ns;

	return (x > y) - (x < y);
}

/* A hand-over: somebody waited when the lock was let go. Nobody may have had it at the same time. */
static void sample_handovers(struct bench *b, struct turn *turns, size_t count)
{
	bool between = b->row->variant == BETWEEN_NODES;

	qsort(turns, count, sizeof *turns, by_time);
	for (size_t i = 1; i < count; i++) {
		const struct turn *from = &turns[i - 1], *to = &turns[i];
		bool travelled = node_of(from->thread) != node_of(to->thread);
		expect(b, "two threads had the lock at once", to->locked_ns < from->unlocked_ns, 0);
		if (to->called_ns < from->unlocked_ns && travelled == between && from->thread != to->thread)
			bench_sample(b, RUNTIME, to->locked_ns - from->unlocked_ns);
	}
}

static void round_lock_handover(struct bench *b)
{
	size_t most = (size_t)TURNS_OF_A_THREAD * b->row->threads;
	size_t mine = bench_is_of_pair(b) ? most : 0, all_bytes = 2 * most * sizeof(struct turn);

	b->state = bench_allocate(all_bytes);
	struct turn *all = bench_allocate(all_bytes);
	if (mine) {
		bench_pair_meets(b);
		team_run(b->team, b->row->threads, take_turns, b);
	}
	size_t words = job_gather(b->state, mine * TURN_WORDS, (uint64_t *)(void *)all);
	sample_handovers(b, all, words / TURN_WORDS);
	if (mine && b->row->baseline)
		bench_timed_pingpong(b, PINGPONGS); /* with the clock where the hand-over has it */
	free(b->state);
	free(all);
}

const struct operations lock_handover = {.who = PAIR, .round = round_lock_handover};

/* --- read-write locks ---------------------------------------------------------------------------------- */

static void read_lock_and_unlock(struct bench *b)
{
	require(b, dsm_read_lock(rwlock_of(b)), "dsm_read_lock()");
	require(b, dsm_read_unlock(rwlock_of(b)), "dsm_read_unlock()");
}

static void write_lock_and_unlock(struct bench *b)
{
	require(b, dsm_write_lock(rwlock_of(b)), "dsm_write_lock()");
	require(b, dsm_write_unlock(rwlock_of(b)), "dsm_write_unlock()");
}

const struct operations rwlock_read = {
    .who = NODE_0,
    .calls = 16,
    .runtime = read_lock_and_unlock,
    .baseline = two_adds,
    .rdma = sync_rdma_two_adds,
};

const struct operations rwlock_read_all = {
    .who = ALL_NODES,
    .calls = 16,
    .runtime = read_lock_and_unlock,
    .baseline = two_adds,
    .rdma = sync_rdma_two_adds,
    .baseline_is_shared = true,
};

const struct operations rwlock_write = {
    .who = NODE_0,
    .calls = 16,
    .runtime = write_lock_and_unlock,
    .baseline = two_compare_swaps,
    .rdma = sync_rdma_two_compare_swaps,
};
