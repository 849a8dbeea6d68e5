/*
 * The cases about barriers, atomics, events and collectives.
 */
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"

/* --- barriers ------------------------------------------------------------------------------------------ */

static void pass_mpi_barrier(struct bench *b)
{
	(void)b;
	MPI_Barrier(MPI_COMM_WORLD);
}

/* To a page of the next node's that nobody else uses. */
static void store_and_pass(struct bench *b)
{
	bench_flip_line(bench_page(b, (size_t)((b->job->node + 1) % b->job->nodes)));
	bench_pass_barrier(b);
}

const struct operations barrier = {
    .who = ALL_NODES,
    .calls = 16,
    .runtime = bench_pass_barrier,
    .baseline = pass_mpi_barrier,
};

const struct operations barrier_publish = {
    .who = ALL_NODES,
    .calls = 16,
    .runtime = store_and_pass,
};

/* --- atomics ------------------------------------------------------------------------------------------- */

static uint64_t *word_of(const struct bench *b)
{
	return (uint64_t *)(void *)b->base;
}

/* Alone, or shared by all nodes of the host. */
static uint64_t *baseline_word(const struct bench *b)
{
	static uint64_t own;

	return b->shared ? &b->shared->word : &own;
}

/* By this node, to the word of this row. */
static uint64_t added;

static void open_add(struct bench *b)
{
	(void)b;
	added = 0;
}

static void add(struct bench *b)
{
	added++;
	require(b, dsm_atomic_fetch_add(word_of(b), 1, NULL, DSM_RELAXED), "dsm_atomic_fetch_add()");
}

static void load(struct bench *b)
{
	uint64_t value;

	require(b, dsm_atomic_load(word_of(b), &value, DSM_RELAXED), "dsm_atomic_load()");
}

static void compare_swap(struct bench *b)
{
	uint64_t old;

	require(b, dsm_atomic_compare_swap(word_of(b), 0, 0, &old, DSM_RELAXED), "dsm_atomic_compare_swap()");
}

static void cpu_add(struct bench *b)
{
	__atomic_fetch_add(baseline_word(b), 1, __ATOMIC_SEQ_CST);
}

static void cpu_load(struct bench *b)
{
	(void)__atomic_load_n(baseline_word(b), __ATOMIC_SEQ_CST);
}

static void cpu_compare_swap(struct bench *b)
{
	uint64_t expected = 0;

	__atomic_compare_exchange_n(baseline_word(b), &expected, 0, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
}

/* Nothing that a node added may be lost. */
static void check_sum(struct bench *b)
{
	uint64_t value, expected = job_sum(added);

	require(b, dsm_atomic_load(word_of(b), &value, DSM_RELAXED), "dsm_atomic_load()");
	expect(b, "the sum", value, expected);
	job_meet();
}

const struct operations atomic_add = {
    .who = NODE_0,
    .open = open_add,
    .close = check_sum,
    .calls = 16,
    .runtime = add,
    .baseline = cpu_add,
    .rdma = sync_rdma_add,
};

const struct operations atomic_load = {
    .who = NODE_0,
    .calls = 16,
    .runtime = load,
    .baseline = cpu_load,
    .rdma = sync_rdma_read,
};

const struct operations atomic_compare_swap = {
    .who = NODE_0,
    .calls = 16,
    .runtime = compare_swap,
    .baseline = cpu_compare_swap,
    .rdma = sync_rdma_compare_swap,
};

const struct operations atomic_add_contended = {
    .who = ALL_NODES,
    .open = open_add,
    .close = check_sum,
    .calls = 16,
    .runtime = add,
    .baseline = cpu_add,
    .rdma = sync_rdma_add,
    .baseline_is_shared = true,
};

/* --- events -------------------------------------------------------------------------------------------- */

#define EVENT_SAMPLES 32u
#define EVENT_PINGPONGS 8u

/* Each waits for the event on the page that is its own. */
static dsm_event *event_of(const struct bench *b, int node)
{
	return (dsm_event *)(void *)bench_page(b, (size_t)node);
}

static void play_events(struct bench *b, uint64_t *value)
{
	int me = b->job->node, other = me ? 0 : b->peer;

	for (unsigned int i = 0; i < EVENT_PINGPONGS; i++) {
		++*value;
		if (me == 0)
			require(b, dsm_event_advance(event_of(b, other), 1), "dsm_event_advance()");
		require(b, dsm_event_await(event_of(b, me), *value), "dsm_event_await()");
		if (me)
			require(b, dsm_event_advance(event_of(b, other), 1), "dsm_event_advance()");
	}
}

static void open_events(struct bench *b)
{
	b->state = bench_allocate(sizeof(uint64_t));
}

static void close_events(struct bench *b)
{
	free(b->state);
}

static void round_events(struct bench *b)
{
	if (!bench_is_of_pair(b))
		return;
	for (unsigned int i = 0; i < EVENT_SAMPLES; i++) {
		bench_pair_meets(b);
		uint64_t before = timer_now_ns();
		play_events(b, b->state);
		bench_sample(b, RUNTIME, (timer_now_ns() - before) / (2 * EVENT_PINGPONGS));
		if (bench_has_pingpong(b))
			bench_sample(b, BASELINE, bench_pingpong(b, EVENT_PINGPONGS));
	}
}

const struct operations event_pingpong = {
    .who = PAIR,
    .open = open_events,
    .close = close_events,
    .round = round_events,
};

/* --- collectives --------------------------------------------------------------------------------------- */

static void reduce_by_dsm(struct bench *b)
{
	uint64_t one = 1, sum;

	require(b, dsm_reduce(&one, &sum, 1, DSM_UINT64, DSM_SUM), "dsm_reduce()");
	expect(b, "the sum", sum, (uint64_t)b->job->nodes);
}

static void reduce_by_mpi(struct bench *b)
{
	uint64_t one = 1, sum;

	MPI_Allreduce(&one, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
	expect(b, "the sum", sum, (uint64_t)b->job->nodes);
}

const struct operations reduce = {
    .who = ALL_NODES,
    .calls = 16,
    .runtime = reduce_by_dsm,
    .baseline = reduce_by_mpi,
};

#define BROADCAST_BYTES 4096

/* Each node is the root in turn: the root of MPI's does not wait for the others, and would run ahead. */
struct broadcasts {
	int root[SIDES];
	char buffer[BROADCAST_BYTES];
};

static void open_broadcast(struct bench *b)
{
	b->state = bench_allocate(sizeof(struct broadcasts));
}

static void close_broadcast(struct bench *b)
{
	free(b->state);
}

static int next_root(const struct bench *b, unsigned int side)
{
	struct broadcasts *s = b->state;

	s->root[side] = (s->root[side] + 1) % b->job->nodes;
	return s->root[side];
}

static void broadcast_by_dsm(struct bench *b)
{
	struct broadcasts *s = b->state;

	require(b, dsm_broadcast(s->buffer, BROADCAST_BYTES, next_root(b, RUNTIME)), "dsm_broadcast()");
}

static void broadcast_by_mpi(struct bench *b)
{
	struct broadcasts *s = b->state;

	MPI_Bcast(s->buffer, BROADCAST_BYTES, MPI_BYTE, next_root(b, BASELINE), MPI_COMM_WORLD);
}

const struct operations broadcast = {
    .who = ALL_NODES,
    .open = open_broadcast,
    .close = close_broadcast,
    .calls = 16,
    .runtime = broadcast_by_dsm,
    .baseline = broadcast_by_mpi,
};

/* --- allocation ------------------------------------------------------------------------------------------
 */

#define OBJECT_BYTES 64

static void allocate_and_free(struct bench *b)
{
	int where = b->row->home == HOME_HERE ? DSM_HERE : b->peer;
	void *memory;

	require(b, dsm_malloc(OBJECT_BYTES, where, &memory), "dsm_malloc()");
	require(b, dsm_free(memory), "dsm_free()");
}

static void c_allocate_and_free(struct bench *b)
{
	void *memory = malloc(OBJECT_BYTES);

	(void)b;
	__asm__ volatile("" : : "r"(memory) : "memory"); /* or the compiler leaves both out */
	free(memory);
}

const struct operations malloc_free = {
    .who = NODE_0,
    .calls = 16,
    .runtime = allocate_and_free,
    .baseline = c_allocate_and_free,
};
