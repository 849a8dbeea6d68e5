/*
 * Pages whose home is lost: an access raises SIGBUS in the thread that makes it, which may handle that and go
 * on; a system call fails; nothing else is harmed. A transport that fails on command stands in for a home
 * that dies, so that the job is whole again afterwards.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dsm/runtime.h"

/* --- a transport that fails ---------------------------------------------------------------------------- */

static const struct transport_ops *real;
static atomic_int read_error;	   /* what reads of data and versions end with */
static atomic_int piece_error;	   /* what reads of pieces of collective calls end with */
static atomic_int fail_at, posted; /* of writes, adds and so on: the one of that number fails */

static int fail_read(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		     void *local, size_t bytes)
{
	if (peer != runtime.node && segment >= SEGMENT_DATA(0) && atomic_load(&read_error))
		return atomic_load(&read_error);
	if (peer != runtime.node && segment == SEGMENT_COLLECTIVE && atomic_load(&piece_error))
		return atomic_load(&piece_error);
	return real->post_read(t, lane, peer, segment, offset, local, bytes);
}

static bool it_is_time(int peer)
{
	return peer != runtime.node && atomic_load(&fail_at) &&
	       atomic_fetch_add(&posted, 1) + 1 == atomic_load(&fail_at);
}

static int fail_write(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		      const void *local, size_t bytes)
{
	return it_is_time(peer) ? -ETIMEDOUT : real->post_write(t, lane, peer, segment, offset, local, bytes);
}

static int fail_fetch_add(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
			  uint64_t add, uint64_t *old)
{
	return it_is_time(peer) ? -ETIMEDOUT : real->post_fetch_add(t, lane, peer, segment, offset, add, old);
}

static int fail_complete(struct transport *t, struct lane *lane)
{
	int error = real->complete(t, lane);

	return it_is_time(-1) ? -ETIMEDOUT : error;
}

static void fail_from_here_on(void)
{
	static struct transport_ops failing;

	real = runtime.ops;
	failing = *real;
	failing.post_read = fail_read;
	failing.post_write = fail_write;
	failing.post_fetch_add = fail_fetch_add;
	failing.complete = fail_complete;
	runtime.ops = &failing;
}

/* --- an application that handles SIGBUS ---------------------------------------------------------------- */

static __thread sigjmp_buf escape;
static __thread volatile sig_atomic_t expects_it;
static atomic_uint signals;

static void handle_sigbus(int signal)
{
	(void)signal;
	atomic_fetch_add(&signals, 1);
	if (!expects_it)
		_exit(97);
	siglongjmp(escape, 1);
}

/* True if the access raised SIGBUS. */
static bool raises_sigbus(volatile unsigned char *at, bool write)
{
	bool raised = true;

	expects_it = 1;
	if (!sigsetjmp(escape, 1)) {
		if (write)
			*at = 1;
		else
			(void)*at;
		raised = false;
	}
	expects_it = 0;
	return raised;
}

static void *touch_elsewhere(void *at)
{
	return (void *)(uintptr_t)raises_sigbus(at, false);
}

/* --- cases --------------------------------------------------------------------------------------------- */

#define PAGES 4

static void lose_pages(volatile unsigned char *base, size_t page_bytes, enum dsm_delivery delivery)
{
	pthread_t thread[3];
	int pipe_ends[2];

	(void)base[0];	      /* was mapped, and protected, */
	base[page_bytes] = 1; /* ... and writable */
	CHECK_EQUAL(dsm_invalidate((const void *)base, 2 * page_bytes), 0);
	/* A time-out, not -EHOSTDOWN: all nodes would take the home for lost from then on. */
	atomic_store(&read_error, -ETIMEDOUT);
	for (int i = 0; i < 3; i++)
		CHECK_EQUAL(pthread_create(&thread[i], NULL, touch_elsewhere, (void *)(uintptr_t)(base + 8)),
			    0);
	CHECK(raises_sigbus(base, false));
	CHECK(raises_sigbus(base + 1, true));
	for (int i = 0; i < 3; i++) {
		void *raised = NULL;
		CHECK_EQUAL(pthread_join(thread[i], &raised), 0);
		CHECK(raised);
	}
	CHECK(raises_sigbus(base + page_bytes, true));
	CHECK(raises_sigbus(base + 2 * page_bytes, true)); /* never touched before */
	CHECK_EQUAL(pipe(pipe_ends), 0);
	CHECK_EQUAL(write(pipe_ends[1], (const void *)(base + 3 * page_bytes), 1), -1);
	CHECK_EQUAL(errno, EFAULT);
	if (delivery == DSM_DELIVERY_INLINE) /* the kernel has not told us: */
		CHECK(raises_sigbus(base + 3 * page_bytes, false));
	CHECK_EQUAL(dsm_prefetch((const void *)base, page_bytes, false), -EHOSTDOWN);
	atomic_store(&read_error, 0);
	CHECK(raises_sigbus(base, false)); /* for good */
	CHECK_EQUAL(dsm_prefetch((const void *)base, page_bytes, false), -EHOSTDOWN);
	CHECK_EQUAL(write(pipe_ends[1], (const void *)base, 1), -1);
	CHECK_EQUAL(errno, EFAULT);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void lost_pages(size_t page_bytes, enum dsm_delivery delivery)
{
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .home_node = 0, .delivery = delivery};
	dsm_region *r;

	nodes_case("lost pages of %s, %s", nodes_page_name(page_bytes), nodes_delivery_name(delivery));
	if (!nodes_have_pages(page_bytes, PAGES, 2))
		return;
	if (!runtime.kernel[KERNEL_UFFD_POISON].available) {
		nodes_skip("this kernel has no UFFDIO_POISON");
		return;
	}
	int error = dsm_region_create("lost pages", PAGES * page_bytes, &options, &r);
	if (error == -EPERM) {
		nodes_skip("this user may not handle faults by thread");
		return;
	}
	if (!CHECK_EQUAL(error, 0))
		return;
	volatile unsigned char *base = dsm_region_base(r);
	if (!dsm_node())
		memset((void *)base, 7, PAGES * page_bytes);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (dsm_node() == 1)
		lose_pages(base, page_bytes, delivery);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (!dsm_node()) { /* the home has what was published, and lives on */
		CHECK_EQUAL(base[0], 7);
		CHECK_EQUAL(base[page_bytes], 1);
		base[0] = 8;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/*
 * Publishing fails at each of its operations in turn: whatever was done before, nothing counts as published,
 * and what is published after it is complete. For pages that are stored to once, and for hot ones.
 */
static void failing_publications(unsigned rounds_before)
{
	enum { BYTES = 2 * 4096, STEP = 512, OPERATIONS = 2 * 8 + 2 + 1 + 1 + 1 };
	struct dsm_region_options options = {.page_size_bytes = 4096, .home = DSM_HOME_NODE, .home_node = 0};
	dsm_region *r;

	nodes_case("publishing that fails half way, after %u rounds", rounds_before);
	if (!CHECK_EQUAL(dsm_region_create("half way", BYTES, &options, &r), 0))
		return;
	volatile unsigned char *base = dsm_region_base(r);
	unsigned char value = 0;
	for (int fail = -(int)rounds_before; fail < OPERATIONS + 3; fail++) {
		value++;
		if (dsm_node() == 1) {
			for (int at = 0; at < BYTES; at += STEP)
				base[at] = value;
			atomic_store(&posted, 0);
			atomic_store(&fail_at, fail > 0 ? fail : 0);
			int error = dsm_release();
			atomic_store(&fail_at, 0);
			CHECK_EQUAL(error, fail > 0 && atomic_load(&posted) >= fail ? -ETIMEDOUT : 0);
			CHECK(fail != 1 || error); /* it does fail */
		}
		CHECK_EQUAL(dsm_barrier(), 0);
		if (dsm_node() != 1)
			for (int at = 0; at < BYTES; at += STEP)
				CHECK_EQUAL(base[at], value);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* A writer that cannot publish: nobody has the lock after it, for reading neither. */
static void failing_write_unlock(void)
{
	struct dsm_region_options options = {.page_size_bytes = 4096, .home = DSM_HOME_NODE, .home_node = 0};
	dsm_region *r;

	nodes_case("a write lock whose holder cannot publish");
	if (!CHECK_EQUAL(dsm_region_create("write lock", 2 * 4096, &options, &r), 0))
		return;
	dsm_rwlock *lock = dsm_region_base(r);
	if (dsm_node() == 1) {
		CHECK_EQUAL(dsm_write_lock(lock), 0);
		((volatile unsigned char *)lock)[4096] = 1;
		atomic_store(&posted, 0);
		atomic_store(&fail_at, 1);
		CHECK_EQUAL(dsm_write_unlock(lock), -ETIMEDOUT);
		atomic_store(&fail_at, 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_read_lock(lock), -EHOSTDOWN);
	CHECK_EQUAL(dsm_write_lock(lock), -EHOSTDOWN);
	CHECK_EQUAL(dsm_try_read_lock(lock), -EBUSY);
	CHECK_EQUAL(dsm_try_write_lock(lock), -EBUSY);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* One node cannot read the others' pieces: it stays in step with them all the same. */
static void failing_reduction(void)
{
	enum { COUNT = 5000 }; /* several pieces */
	static uint64_t numbers[COUNT], sums[COUNT];
	uint64_t nodes = (uint64_t)dsm_nodes();

	nodes_case("a reduction that fails on one node");
	for (uint64_t i = 0; i < COUNT; i++)
		numbers[i] = i;
	if (dsm_node() == 1)
		atomic_store(&piece_error, -EIO);
	CHECK_EQUAL(dsm_reduce(numbers, sums, COUNT, DSM_UINT64, DSM_SUM), dsm_node() == 1 ? -EIO : 0);
	atomic_store(&piece_error, 0);
	CHECK_EQUAL(sums[COUNT - 1], dsm_node() == 1 ? 0 : nodes * (COUNT - 1));
	for (uint64_t round = 1; round < 4; round++) {
		CHECK_EQUAL(dsm_reduce(&round, sums, 1, DSM_UINT64, DSM_SUM), 0);
		CHECK_EQUAL(sums[0], round * nodes);
	}
	if (dsm_node() == 1)
		atomic_store(&piece_error, -EIO);
	CHECK_EQUAL(dsm_broadcast(sums, sizeof sums, 0), dsm_node() == 1 ? -EIO : 0);
	atomic_store(&piece_error, 0);
	CHECK_EQUAL(dsm_broadcast(&nodes, sizeof nodes, 0), 0);
	CHECK_EQUAL(nodes, dsm_nodes());
}

/* A node that begins a call anew when the others are in the middle of theirs: nobody takes its first piece
 * for its second. */
static void reduction_begun_anew(void)
{
	enum { COUNT = 5000 }; /* three pieces */
	static uint64_t numbers[COUNT], sums[COUNT];
	bool alone = dsm_node() == 1;

	nodes_case("a reduction that one node begins anew");
	CHECK_EQUAL(dsm_reduce(numbers, sums, alone ? 1 : COUNT, DSM_UINT64, DSM_SUM), -EPROTO);
	CHECK_EQUAL(dsm_reduce(numbers, sums, alone ? COUNT : 1, DSM_UINT64, DSM_SUM), -EPROTO);
	CHECK_EQUAL(dsm_reduce(numbers, sums, COUNT, DSM_UINT64, DSM_SUM), 0);
}

/* --- a region that moves ------------------------------------------------------------------------------- */

enum { MOVED = 64, STALE_STEP = 10 };

/* Every tenth page is out of date, and can be had no more: that is told exactly, and all others are right. */
static void lose_what_is_stale(dsm_region *r, volatile unsigned char *base, size_t page_bytes)
{
	struct dsm_page_range lost[MOVED];
	size_t count = 0;

	CHECK_EQUAL(base[0], 2); /* read while it could be */
	atomic_store(&read_error, -ETIMEDOUT);
	CHECK_EQUAL(base[page_bytes], 1);
	CHECK(raises_sigbus(base + STALE_STEP * page_bytes, false));
	CHECK_EQUAL(dsm_migrate_background(r), 0);
	CHECK_EQUAL(dsm_migrate_finish(r), -EHOSTDOWN);
	CHECK_EQUAL(dsm_migrate_lost(r, lost, MOVED, &count), 0);
	CHECK_EQUAL(count, (MOVED - 1) / STALE_STEP);
	for (size_t i = 0; i < count; i++) {
		CHECK_EQUAL(lost[i].first, (i + 1) * STALE_STEP);
		CHECK_EQUAL(lost[i].count, 1);
	}
	for (size_t page = 0; page < MOVED; page++) {
		if (page && page % STALE_STEP == 0)
			CHECK(raises_sigbus(base + page * page_bytes, page % 20 == 0));
		else
			CHECK_EQUAL(base[page * page_bytes], page ? 1 : 2);
	}
	atomic_store(&read_error, 0);
	CHECK(raises_sigbus(base + STALE_STEP * page_bytes, false)); /* for good */
}

/* A touch fails, for a moment, though the source lives: that page is lost for good, and no other. */
static void lose_what_is_touched(dsm_region *r, volatile unsigned char *base, size_t page_bytes)
{
	struct dsm_page_range lost[MOVED];
	size_t count = 0;

	atomic_store(&read_error, -ETIMEDOUT);
	CHECK(raises_sigbus(base + STALE_STEP * page_bytes, true));
	atomic_store(&read_error, 0);
	CHECK_EQUAL(dsm_migrate_lost(r, lost, MOVED, &count), 0);
	CHECK_EQUAL(count, 1);
	CHECK_EQUAL(dsm_migrate_background(r), 0);
	CHECK_EQUAL(dsm_migrate_finish(r), -EHOSTDOWN);
	CHECK_EQUAL(dsm_migrate_lost(r, lost, MOVED, &count), 0);
	CHECK_EQUAL(count, 1);
	CHECK_EQUAL(lost[0].first, STALE_STEP);
	CHECK_EQUAL(lost[0].count, 1);
	for (size_t page = 0; page < MOVED; page++)
		if (page != STALE_STEP)
			CHECK_EQUAL(base[page * page_bytes], page % STALE_STEP ? 1 : 2);
	CHECK(raises_sigbus(base + STALE_STEP * page_bytes, false));
}

/* This node's device, say, does nothing for a while, or for too long: nothing is lost by that. */
static void fail_for_a_while(dsm_region *r, volatile unsigned char *base, size_t page_bytes)
{
	uint64_t timeout_ns = runtime.settings.timeout_ns;
	struct dsm_page_range lost[1];
	size_t count = 1;

	runtime.settings.timeout_ns = 200000000;
	atomic_store(&read_error, -EIO);
	CHECK_EQUAL(dsm_migrate_background(r), 0);
	CHECK_EQUAL(dsm_migrate_finish(r), -EIO);
	CHECK_EQUAL(dsm_migrate_finish(r), -EINVAL);
	runtime.settings.timeout_ns = timeout_ns;
	CHECK_EQUAL(dsm_migrate_background(r), 0);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	atomic_store(&read_error, 0);
	CHECK_EQUAL(dsm_migrate_finish(r), 0);
	CHECK_EQUAL(dsm_migrate_lost(r, lost, 1, &count), 0);
	CHECK_EQUAL(count, 0);
	for (size_t page = 0; page < MOVED; page++)
		CHECK_EQUAL(base[page * page_bytes], page % STALE_STEP ? 1 : 2);
}

static void lost_while_moving(const char *what, void (*lose)(dsm_region *, volatile unsigned char *, size_t),
			      size_t page_bytes, enum dsm_delivery delivery)
{
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .delivery = delivery, .movable = true};
	struct dsm_migration_options how = {.no_background = true};
	dsm_region *r;
	size_t bytes;

	nodes_case("%s, pages of %s, %s", what, nodes_page_name(page_bytes), nodes_delivery_name(delivery));
	if (!nodes_have_pages(page_bytes, MOVED + 32, 2))
		return;
	if (!runtime.kernel[KERNEL_UFFD_POISON].available) {
		nodes_skip("this kernel has no UFFDIO_POISON");
		return;
	}
	if (!CHECK_EQUAL(dsm_region_create("moving", MOVED * page_bytes, &options, &r), 0))
		return;
	volatile unsigned char *base = dsm_region_base(r);
	if (dsm_node() == 0) {
		memset((void *)base, 1, MOVED * page_bytes);
		CHECK_EQUAL(dsm_migrate_begin(r, 1, &how), 0);
		CHECK_EQUAL(dsm_migrate_precopy(r), 0);
		for (size_t page = 0; page < MOVED; page += STALE_STEP)
			base[page * page_bytes] = 2;
		CHECK_EQUAL(dsm_migrate_switch(r, NULL, 0), 0);
	} else if (dsm_node() == 1) {
		CHECK_EQUAL(dsm_migrate_accept(r, 0, &how), 0);
		CHECK_EQUAL(dsm_migrate_await(r, NULL, 0, &bytes), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0); /* the map is there */
	if (dsm_node() == 1)
		lose(r, base, page_bytes);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = handle_sigbus};

	sigaction(SIGBUS, &action, NULL); /* before dsm_init(): the runtime hands on to it */
	nodes_begin(&argc, &argv);
	const struct transport_ops *before = runtime.ops;
	fail_from_here_on();
	for (size_t i = 0; i < 2; i++)
		for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++)
			lost_pages(nodes_page_sizes[i], d);
	for (size_t i = 0; i < 2; i++)
		for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++) {
			lost_while_moving("a source that cannot be read", lose_what_is_stale,
					  nodes_page_sizes[i], d);
			lost_while_moving("a page that cannot be read", lose_what_is_touched,
					  nodes_page_sizes[i], d);
		}
	for (size_t i = 0; i < 2; i++)
		lost_while_moving("a device that fails", fail_for_a_while, nodes_page_sizes[i],
				  DSM_DELIVERY_INLINE);
	failing_publications(0);
	failing_publications(6);
	failing_write_unlock();
	failing_reduction();
	reduction_begun_anew();
	nodes_case("what happened was expected");
	CHECK(dsm_node() != 1 || atomic_load(&signals));
	runtime.ops = before;
	CHECK_EQUAL(dsm_barrier(), 0);
	return nodes_end();
}
