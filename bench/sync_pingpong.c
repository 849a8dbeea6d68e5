/*
 * A ball that goes to and fro between node 0 and its peer: a cache line, or an RDMA WRITE. See sync_bench.h.
 */
#include <unistd.h>

#include "bench/sync_bench.h"
#include "bench/sync_rdma.h"

/* Between looks of who waits long, and at most. */
#define SLEEP_US 20
#define WAIT_NS UINT64_C(60000000000)

/* Waits until the ball has that value: bounded, and on a machine with fewer cores than nodes asleep in
 * between. */
static void catch_ball(const uint64_t *ball, uint64_t value)
{
	uint64_t began_ns = 0;

	for (unsigned int turn = 1; __atomic_load_n(ball, __ATOMIC_ACQUIRE) != value; turn++) {
		if (turn % 65536)
			continue;
		began_ns = began_ns ? began_ns : timer_now_ns();
		if (timer_now_ns() - began_ns > WAIT_NS)
			job_fail("the other node has not answered for %d s", (int)(WAIT_NS / 1000000000));
		usleep(SLEEP_US);
	}
}

bool bench_has_pingpong(const struct bench *b)
{
	return b->rdma || (b->shared && b->peer_is_apart);
}

static void throw_ball(struct bench *b, uint64_t value)
{
	if (b->rdma)
		sync_rdma_throw(b, value);
	else
		__atomic_store_n(&b->shared->ball, value, __ATOMIC_RELEASE);
}

static void receive_ball(const struct bench *b, uint64_t value)
{
	catch_ball(b->rdma ? sync_rdma_ball(b) : &b->shared->ball, value);
}

static void end_pingpong(struct bench *b, unsigned int count)
{
	b->throws += 2 * (uint64_t)count;
	if (b->rdma)
		sync_rdma_finish_throw(b);
}

uint64_t bench_pingpong(struct bench *b, unsigned int count)
{
	uint64_t value = b->throws;

	bench_pair_meets(b);
	uint64_t before = timer_now_ns();
	for (unsigned int i = 0; i < count; i++, value += 2) {
		if (b->job->node == 0) {
			throw_ball(b, value + 1);
			receive_ball(b, value + 2);
		} else {
			receive_ball(b, value + 1);
			throw_ball(b, value + 2);
		}
	}
	uint64_t ns = timer_now_ns() - before;
	end_pingpong(b, count);
	return count ? ns / (2 * (uint64_t)count) : 0;
}

/* When it was thrown is told by shared memory, also where the ball goes by RDMA: posting a WRITE comes after
 * it, and so does its arrival. */
void bench_timed_pingpong(struct bench *b, unsigned int count)
{
	uint64_t value = b->throws;
	bool mine = b->job->node == 0;

	bench_pair_meets(b);
	for (unsigned int i = 0; i < 2 * count; i++, mine = !mine) {
		value++;
		if (mine) {
			__atomic_store_n(&b->shared->thrown_ns, timer_now_ns(), __ATOMIC_RELEASE);
			throw_ball(b, value);
		} else {
			receive_ball(b, value);
			bench_sample(b, BASELINE, timer_now_ns() - b->shared->thrown_ns);
		}
	}
	end_pingpong(b, count);
}
