/*
 * How often each call waits for another node: counted at the transport, so that the counts are those of a
 * fabric where a wait is a round trip, whatever transport runs beneath.
 */
#include "dsm/tests/nodes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/runtime.h"

static int node;

/* --- a transport that counts ------------------------------------------------------------------------------
 */

static const struct transport_ops *real;
static atomic_uint posted, waits; /* requests since the last wait; waits for requests that were posted */

static int count_read(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		      void *local, size_t bytes)
{
	atomic_fetch_add(&posted, 1);
	return real->post_read(t, lane, peer, segment, offset, local, bytes);
}

static int count_write(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		       const void *local, size_t bytes)
{
	atomic_fetch_add(&posted, 1);
	return real->post_write(t, lane, peer, segment, offset, local, bytes);
}

static int count_fetch_add(struct transport *t, struct lane *lane, int peer, unsigned segment,
			   uint64_t offset, uint64_t add, uint64_t *old)
{
	atomic_fetch_add(&posted, 1);
	return real->post_fetch_add(t, lane, peer, segment, offset, add, old);
}

static int count_compare_swap(struct transport *t, struct lane *lane, int peer, unsigned segment,
			      uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old)
{
	atomic_fetch_add(&posted, 1);
	return real->post_compare_swap(t, lane, peer, segment, offset, expected, desired, old);
}

static int count_complete(struct transport *t, struct lane *lane)
{
	if (atomic_exchange(&posted, 0))
		atomic_fetch_add(&waits, 1);
	return real->complete(t, lane);
}

static void count_from_here_on(void)
{
	static struct transport_ops counting;

	real = runtime.ops;
	counting = *real;
	counting.post_read = count_read;
	counting.post_write = count_write;
	counting.post_fetch_add = count_fetch_add;
	counting.post_compare_swap = count_compare_swap;
	counting.complete = count_complete;
	runtime.ops = &counting;
}

/* Round trips of @call. */
#define ROUND_TRIPS(call) (atomic_store(&waits, 0), CHECK_EQUAL(call, 0), atomic_load(&waits))

/* --- what calls cost ---------------------------------------------------------------------------------------
 */

struct shared {
	dsm_mutex mutex;
	dsm_rwlock rwlock;
	uint64_t word;
	_Alignas(4096) volatile unsigned char data[101 * 4096];
};

static void locks(struct shared *s)
{
	unsigned lock = ROUND_TRIPS(dsm_lock(&s->mutex)), unlock = ROUND_TRIPS(dsm_unlock(&s->mutex));

	CHECK_EQUAL(lock, 2); /* the queue's tail; the logs' heads */
	CHECK_EQUAL(unlock, 1);
	CHECK_EQUAL(ROUND_TRIPS(dsm_trylock(&s->mutex)), 2);
	CHECK_EQUAL(dsm_unlock(&s->mutex), 0);
	CHECK_EQUAL(ROUND_TRIPS(dsm_read_lock(&s->rwlock)), 2);
	CHECK_EQUAL(ROUND_TRIPS(dsm_read_unlock(&s->rwlock)), 1);
}

static void atomics(struct shared *s)
{
	uint64_t value;

	CHECK_EQUAL(ROUND_TRIPS(dsm_atomic_fetch_add(&s->word, 1, &value, DSM_RELAXED)), 1);
	CHECK_EQUAL(ROUND_TRIPS(dsm_atomic_load(&s->word, &value, DSM_RELAXED)), 1);
	CHECK_EQUAL(ROUND_TRIPS(dsm_atomic_load(&s->word, &value, DSM_ACQUIRE)), 2);
	CHECK_EQUAL(ROUND_TRIPS(dsm_release()), 0);
	CHECK_EQUAL(ROUND_TRIPS(dsm_acquire()), 1);
}

/* Eight lines of a page, versions and log: one chain. So are many pages. */
static void publishing(struct shared *s, unsigned pages)
{
	for (unsigned p = 0; p < pages; p++)
		for (unsigned line = 0; line < 8; line++)
			s->data[p * 4096 + line * 512]++;
	CHECK_EQUAL(ROUND_TRIPS(dsm_release()), 1);
}

static void fetching(struct shared *s)
{
	(void)s->data[0];
	CHECK_EQUAL(dsm_invalidate((const void *)s->data, 4096), 0);
	atomic_store(&waits, 0);
	(void)s->data[0];
	CHECK_EQUAL(atomic_load(&waits), 1); /* its versions, which have not moved */
}

/* --- what the RDMA device is asked for --------------------------------------------------------------------
 */

/* What @statement adds to the counters. */
#define COUNT_RDMA(statement, change)                                                       \
	do {                                                                                \
		struct dsm_stats before_, after_;                                           \
		CHECK_EQUAL(dsm_stats(&before_), 0);                                        \
		statement;                                                                  \
		CHECK_EQUAL(dsm_stats(&after_), 0);                                         \
		(change)->requests = after_.rdma_requests - before_.rdma_requests;          \
		(change)->doorbells = after_.rdma_doorbells - before_.rdma_doorbells;       \
		(change)->completions = after_.rdma_completions - before_.rdma_completions; \
	} while (0)

struct rdma {
	uint64_t requests, doorbells, completions;
};

/* Eight writes, a version, a log entry and its head: one chain, one doorbell, one completion. */
static void rdma_publishing(struct shared *s)
{
	struct rdma change;

	for (unsigned line = 0; line < 8; line++)
		s->data[line * 512]++;
	COUNT_RDMA(CHECK_EQUAL(dsm_release(), 0), &change);
	CHECK_EQUAL(change.requests, 11);
	CHECK_EQUAL(change.doorbells, 1);
	CHECK_EQUAL(change.completions, 1);
}

/* Versions, then data, in one chain. */
static void rdma_fetching(struct shared *s, unsigned page)
{
	struct rdma change;

	COUNT_RDMA((void)s->data[page * 4096], &change);
	CHECK_EQUAL(change.requests, 2);
	CHECK_EQUAL(change.doorbells, 1);
	CHECK_EQUAL(change.completions, 1);
}

static void store_at_home(struct shared *s, unsigned page)
{
	if (node == 0)
		s->data[page * 4096]++;
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void rdma(struct shared *s)
{
	nodes_case("RDMA: a thread has queue pairs to the nodes that it talked to, and there are no others");
	/* Of its lane for faults, its lane for synchronisation, and the one to ask with. */
	CHECK(nodes_stats().rdma_queue_pairs <= 3 * (uint64_t)dsm_nodes());
	CHECK(nodes_stats().rdma_queue_pairs >= 1);
	nodes_case("RDMA: publishing eight lines of a page is one doorbell and one completion");
	if (node == 1)
		rdma_publishing(s);
	CHECK_EQUAL(dsm_barrier(), 0);
	nodes_case(
	    "RDMA: fetching a page of 4 KiB that is new or out of date is one doorbell and one completion");
	store_at_home(s, 100);
	if (node == 1)
		rdma_fetching(s, 100);
	CHECK_EQUAL(dsm_barrier(), 0);
	store_at_home(s, 100);
	if (node == 1)
		rdma_fetching(s, 100);
	CHECK_EQUAL(dsm_barrier(), 0);
}

int main(int argc, char **argv)
{
	struct dsm_region_options options = {.home = DSM_HOME_NODE, .home_node = 0};
	struct shared *s = NULL;
	dsm_region *r;

	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes_case("a region for it");
	if (CHECK_EQUAL(dsm_region_create("round trips", sizeof *s, &options, &r), 0))
		s = dsm_region_base(r);
	CHECK_EQUAL(dsm_barrier(), 0);
	const struct transport_ops *before = runtime.ops;
	count_from_here_on();
	bool counts = s && node == 1;
	nodes_case("an uncontended lock and unlock at another home: three round trips");
	if (counts)
		locks(s);
	nodes_case("atomics: one round trip each, an acquire: one more");
	if (counts)
		atomics(s);
	nodes_case("publishing eight lines of a page: one round trip");
	if (counts)
		publishing(s, 1);
	nodes_case("publishing eight lines of each of 64 pages: one round trip");
	if (counts)
		publishing(s, 64);
	nodes_case("a page that is current: one round trip");
	if (counts)
		fetching(s);
	CHECK_EQUAL(dsm_barrier(), 0);
	runtime.ops = before;
	CHECK_EQUAL(dsm_barrier(), 0);
	nodes_case("RDMA: what the device is asked for");
	if (strcmp(runtime.ops->name, "verbs"))
		nodes_skip("the transport is not verbs");
	else if (s)
		rdma(s);
	if (s)
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	return nodes_end();
}
