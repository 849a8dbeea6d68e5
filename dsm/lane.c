/*
 * Lanes: a fixed pool, one for each thread as long as they last.
 */
#include "dsm/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/backoff.h"

static struct lane *lanes;
static unsigned char *scratch;
static unsigned count; /* of all kinds: those for faults, for synchronisation, and the one to ask with */
static unsigned fault_count; /* for faults */
static atomic_uint next_thread;

/*
 * This thread's lane number plus one; 0: none yet. The library is built with the initial-exec TLS model, so
 * that reading this in a signal handler allocates nothing.
 */
static __thread unsigned mine;

int lanes_create(unsigned fault_lanes)
{
	unsigned wanted = fault_lanes + (fault_lanes + 3) / 4 + 1;
	size_t scratch_bytes = wanted * LANE_SCRATCH_BYTES;
	void *memory = mmap(NULL, scratch_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	lanes = aligned_alloc(_Alignof(struct lane), wanted * sizeof *lanes);
	if (!lanes) {
		munmap(memory, scratch_bytes);
		return -ENOMEM;
	}
	memset(lanes, 0, wanted * sizeof *lanes);
	scratch = memory;
	count = wanted;
	fault_count = fault_lanes;
	for (unsigned i = 0; i < wanted; i++) {
		lanes[i].index = i;
		lanes[i].scratch = scratch + i * LANE_SCRATCH_BYTES;
	}
	return 0;
}

void lanes_destroy(void)
{
	if (scratch)
		munmap(scratch, count * LANE_SCRATCH_BYTES);
	free(lanes);
	lanes = NULL;
	scratch = NULL;
	count = fault_count = 0;
}

unsigned lanes_count(void)
{
	return count;
}

struct lane *lane_at(unsigned index)
{
	return &lanes[index];
}

void *lanes_scratch(void)
{
	return scratch;
}

/* This thread's number, from 0. */
static unsigned thread_number(void)
{
	if (!mine)
		mine = atomic_fetch_add_explicit(&next_thread, 1, memory_order_relaxed) + 1;
	return mine - 1;
}

static struct lane *take(struct lane *lane)
{
	/*
	 * Acquire: what the thread before us left in the lane (scratch, counters, the transport's queues) is
	 * seen here; pairs with lane_release(). Sequentially consistent, because lanes_quiesce() must see the
	 * lane held if we still find a region that was taken off the table before it. Uncontended unless
	 * there are more threads than lanes.
	 */
	for (unsigned turns = 0;;) {
		unsigned turn = atomic_load_explicit(&lane->turn, memory_order_relaxed);
		if (turn % 2 == 0 && atomic_compare_exchange_strong(&lane->turn, &turn, turn + 1))
			break;
		backoff(&turns);
	}
	return lane;
}

struct lane *lane_acquire(void)
{
	return take(&lanes[thread_number() % fault_count]);
}

struct lane *lane_acquire_sync(void)
{
	return take(&lanes[fault_count + thread_number() % (count - 1 - fault_count)]);
}

struct lane *lane_acquire_to_ask(void)
{
	return take(&lanes[count - 1]);
}

void lane_release(struct lane *lane)
{
	unsigned turn =
	    atomic_load_explicit(&lane->turn, memory_order_relaxed); /* ours: nobody else writes it */

	atomic_store_explicit(&lane->turn, turn + 1, memory_order_release); /* pairs with lane_acquire() */
}

void lanes_quiesce(void)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned turn = atomic_load(&lanes[i].turn), turns = 0;
		/* A holder lets go on its own: it waits for page locks and, for a bounded time, the fabric.
		 */
		while (turn % 2 && atomic_load_explicit(&lanes[i].turn, memory_order_acquire) == turn)
			backoff(&turns);
	}
}
