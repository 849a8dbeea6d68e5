/*
 * Locks, events, atomics and collectives: what each promises by itself. How they order memory is in litmus.c.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/memory.h"

#define THREADS 3

static int node, nodes;

/* What the cases share, a page apart. */
struct shared {
	_Alignas(4096) dsm_mutex mutex;
	dsm_rwlock rwlock;
	dsm_event event;
	dsm_cond cond;
	uint64_t word, other_word;
	_Alignas(4096) uint64_t counter, first, second;
	_Alignas(4096) uint64_t slots[64];
};

static dsm_region *region;
static struct shared *s;

/* A region for a case, its home at @home; without it there is nothing to go on with. */
static void begin(size_t page_bytes, int home)
{
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes, .home = DSM_HOME_NODE, .home_node = home};

	if (!CHECK_EQUAL(dsm_region_create("sync", sizeof *s, &options, &region), 0)) {
		if (!node)
			printf("Bail out! no region for the case\n");
		exit(1);
	}
	s = dsm_region_base(region);
}

static void end(void)
{
	CHECK_EQUAL(dsm_region_destroy(region), 0);
}

/* Runs @body on THREADS threads of each node at once. */
static void on_threads(void *(*body)(void *))
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		CHECK_EQUAL(pthread_create(&threads[i], NULL, body, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* --- mutual exclusion ------------------------------------------------------------------------------------
 */

static int rounds;

static void *add_under_mutex(void *unused)
{
	for (int i = 0; i < rounds; i++) {
		CHECK_EQUAL(dsm_lock(&s->mutex), 0);
		s->counter++;
		CHECK_EQUAL(dsm_unlock(&s->mutex), 0);
	}
	return unused;
}

static void *add_by_trylock(void *unused)
{
	for (int i = 0; i < rounds; i++) {
		int error;
		while ((error = dsm_trylock(&s->mutex)) == -EBUSY)
			;
		CHECK_EQUAL(error, 0);
		s->counter++;
		CHECK_EQUAL(dsm_unlock(&s->mutex), 0);
	}
	return unused;
}

static void *add_under_write_lock(void *unused)
{
	for (int i = 0; i < rounds; i++) {
		CHECK_EQUAL(dsm_write_lock(&s->rwlock), 0);
		s->first++;
		s->second++;
		CHECK_EQUAL(dsm_write_unlock(&s->rwlock), 0);
		CHECK_EQUAL(dsm_read_lock(&s->rwlock), 0);
		CHECK(s->first == s->second);
		CHECK_EQUAL(dsm_read_unlock(&s->rwlock), 0);
	}
	return unused;
}

static void counts(void *(*body)(void *), int n, const uint64_t *counter)
{
	rounds = nodes_rounds(n, 10);
	on_threads(body);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(*counter, (uint64_t)nodes * THREADS * (uint64_t)rounds);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void who_does_not_have_a_lock_is_told(void)
{
	if (node == 0) {
		CHECK_EQUAL(dsm_unlock(&s->mutex), -EPERM);
		CHECK_EQUAL(dsm_write_unlock(&s->rwlock), -EPERM);
		CHECK_EQUAL(dsm_read_unlock(&s->rwlock), -EPERM);
		CHECK_EQUAL(dsm_cond_wait(&s->cond, &s->mutex), -EPERM);
		CHECK_EQUAL(dsm_lock(&s->mutex), 0);
		CHECK_EQUAL(dsm_lock(&s->mutex), -EDEADLK);
		CHECK_EQUAL(dsm_trylock(&s->mutex), -EBUSY);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node) {
		CHECK_EQUAL(dsm_trylock(&s->mutex), -EBUSY);
		CHECK_EQUAL(dsm_unlock(&s->mutex), -EPERM);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 0)
		CHECK_EQUAL(dsm_unlock(&s->mutex), 0);
	CHECK_EQUAL(dsm_barrier(), 0);

	CHECK_EQUAL(dsm_lock((dsm_mutex *)((char *)&s->mutex + 4)), -EINVAL);
	dsm_mutex elsewhere = {{0}};
	CHECK_EQUAL(dsm_lock(&elsewhere), -EFAULT);
	CHECK_EQUAL(dsm_lock((dsm_mutex *)((char *)s + dsm_region_bytes(region) - 8)), -EFAULT);
	CHECK_EQUAL(dsm_unlock(&elsewhere), -EPERM);
}

static void readers_share_and_writers_do_not(void)
{
	CHECK_EQUAL(dsm_read_lock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_barrier(), 0); /* all read at once */
	CHECK_EQUAL(dsm_try_write_lock(&s->rwlock), -EBUSY);
	CHECK_EQUAL(dsm_try_read_lock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_read_unlock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_read_unlock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 0)
		CHECK_EQUAL(dsm_try_write_lock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node)
		CHECK_EQUAL(dsm_try_read_lock(&s->rwlock), -EBUSY);
	else
		CHECK_EQUAL(dsm_read_lock(&s->rwlock), -EDEADLK);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 0)
		CHECK_EQUAL(dsm_write_unlock(&s->rwlock), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* A lock may lie on pages of two homes. */
static void a_lock_across_homes(void)
{
	struct dsm_region_options options = {.home = DSM_HOME_CYCLIC, .chunk_bytes = 4096};
	dsm_region *r;

	if (!CHECK_EQUAL(dsm_region_create("across", 4 * 4096, &options, &r), 0))
		return;
	char *base = dsm_region_base(r);
	dsm_rwlock *lock = (dsm_rwlock *)(void *)(base + 4096 - 64);
	volatile char *beside = base + 4096 + 1024;
	if (node == 1) {
		CHECK_EQUAL(dsm_write_lock(lock), 0);
		*beside = 1;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(*beside, 1); /* its page is fetched */
	if (node != 1)
		CHECK_EQUAL(dsm_try_read_lock(lock), -EBUSY);
	CHECK_EQUAL(dsm_barrier(), 0);
	if (node == 1)
		CHECK_EQUAL(dsm_write_unlock(lock), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_read_lock(lock), 0);
	CHECK_EQUAL(dsm_read_unlock(lock), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* Many locks at once, of which a node holds many. */
static void many_locks(void)
{
	size_t count = (size_t)nodes_rounds(3000, 100);
	dsm_region *r;
	struct dsm_region_options options = {.home = DSM_HOME_CYCLIC, .chunk_bytes = 4096};

	if (!CHECK_EQUAL(dsm_region_create("locks", count * sizeof(dsm_mutex), &options, &r), 0))
		return;
	dsm_mutex *locks = dsm_region_base(r);
	for (size_t i = 0; i < count; i++)
		if (i % (size_t)nodes == (size_t)node)
			CHECK_EQUAL(dsm_lock(&locks[i]), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	for (size_t i = 0; i < count; i++)
		CHECK_EQUAL(dsm_trylock(&locks[i]), -EBUSY);
	CHECK_EQUAL(dsm_barrier(), 0);
	for (size_t i = 0; i < count; i++)
		if (i % (size_t)nodes == (size_t)node)
			CHECK_EQUAL(dsm_unlock(&locks[i]), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
	for (size_t i = (size_t)node; i < count; i += (size_t)nodes) {
		CHECK_EQUAL(dsm_trylock(&locks[count - 1 - i]), 0);
		CHECK_EQUAL(dsm_unlock(&locks[count - 1 - i]), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- atomics ---------------------------------------------------------------------------------------------
 */

static void *add_atomically(void *unused)
{
	uint64_t old;

	for (int i = 0; i < rounds; i++) {
		CHECK_EQUAL(dsm_atomic_fetch_add(&s->word, 1, NULL, DSM_RELAXED), 0);
		CHECK_EQUAL(dsm_atomic_load(&s->other_word, &old, DSM_RELAXED), 0);
		for (uint64_t seen = old + 1; old != seen;) {
			seen = old;
			CHECK_EQUAL(
			    dsm_atomic_compare_swap(&s->other_word, seen, seen + 1, &old, DSM_RELAXED), 0);
		}
	}
	return unused;
}

static void atomics_count(void)
{
	uint64_t value;

	rounds = nodes_rounds(500, 10);
	on_threads(add_atomically);
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_atomic_load(&s->word, &value, DSM_RELAXED), 0);
	CHECK_EQUAL(value, (uint64_t)nodes * THREADS * (uint64_t)rounds);
	CHECK_EQUAL(dsm_atomic_load(&s->other_word, &value, DSM_RELAXED), 0);
	CHECK_EQUAL(value, (uint64_t)nodes * THREADS * (uint64_t)rounds);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void each_atomic_answers(void)
{
	uint64_t *word = &s->slots[node], value = 77;

	*word = 5; /* a plain store that nobody has published: it counts as before */
	CHECK_EQUAL(dsm_atomic_fetch_add(word, 2, &value, DSM_RELAXED), 0);
	CHECK_EQUAL(value, 5);
	CHECK_EQUAL(dsm_atomic_swap(word, 9, &value, DSM_ACQ_REL), 0);
	CHECK_EQUAL(value, 7);
	CHECK_EQUAL(dsm_atomic_compare_swap(word, 8, 1, &value, DSM_RELEASE), 0);
	CHECK_EQUAL(value, 9);
	CHECK_EQUAL(dsm_atomic_compare_swap(word, 9, 1, &value, DSM_ACQUIRE), 0);
	CHECK_EQUAL(value, 9);
	CHECK_EQUAL(dsm_atomic_store(word, 11, DSM_RELEASE), 0);
	CHECK_EQUAL(dsm_atomic_load(word, &value, DSM_ACQUIRE), 0);
	CHECK_EQUAL(value, 11);
	CHECK_EQUAL(dsm_atomic_load(word, NULL, DSM_ACQUIRE), -EINVAL);
	CHECK_EQUAL(dsm_atomic_load(word, &value, (enum dsm_order)4), -EINVAL);
	CHECK_EQUAL(dsm_atomic_load(&value, &value, DSM_ACQUIRE), -EFAULT);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* --- events and condition variables ----------------------------------------------------------------------
 */

/* A token goes around all nodes, carried by the event. */
static void an_event_goes_around(void)
{
	uint64_t turns = (uint64_t)nodes_rounds(200, 5) * (uint64_t)nodes, value;

	for (uint64_t t = 0; t < turns; t++) {
		if (t % (uint64_t)nodes != (uint64_t)node)
			continue;
		CHECK_EQUAL(dsm_event_await(&s->event, t), 0);
		CHECK_EQUAL(s->counter, t);
		s->counter = t + 1;
		CHECK_EQUAL(dsm_event_advance(&s->event, 1), 0);
	}
	CHECK_EQUAL(dsm_event_await(&s->event, turns), 0);
	CHECK_EQUAL(dsm_event_read(&s->event, &value), 0);
	CHECK_EQUAL(value, turns);
	CHECK_EQUAL(s->counter, turns);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* A bounded buffer in slots[0..7]; `first` counts what was put, `second` what was taken. */
static int items;
static _Atomic uint64_t taken_sum;

static void *produce_and_consume(void *argument)
{
	for (int i = 0; i < items; i++) {
		CHECK_EQUAL(dsm_lock(&s->mutex), 0);
		if (argument) {
			while (s->first - s->second == 8)
				CHECK_EQUAL(dsm_cond_wait(&s->cond, &s->mutex), 0);
			s->slots[s->first++ % 8] = (uint64_t)node * (uint64_t)items + (uint64_t)i;
		} else {
			while (s->first == s->second)
				CHECK_EQUAL(dsm_cond_wait(&s->cond, &s->mutex), 0);
			atomic_fetch_add(&taken_sum, s->slots[s->second++ % 8]);
		}
		CHECK_EQUAL(dsm_cond_broadcast(&s->cond), 0);
		CHECK_EQUAL(dsm_unlock(&s->mutex), 0);
	}
	return NULL;
}

static void a_bounded_buffer(void)
{
	uint64_t sum = 0, expected = 0;
	pthread_t producer, consumer;

	items = nodes_rounds(300, 20);
	if (node == 0)
		s->first = s->second = 0;
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(pthread_create(&producer, NULL, produce_and_consume, (void *)&taken_sum), 0);
	CHECK_EQUAL(pthread_create(&consumer, NULL, produce_and_consume, NULL), 0);
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
	sum = atomic_load(&taken_sum);
	CHECK_EQUAL(dsm_reduce(&sum, &sum, 1, DSM_UINT64, DSM_SUM), 0);
	for (uint64_t i = 0; i < (uint64_t)nodes * (uint64_t)items; i++)
		expected += i;
	CHECK_EQUAL(sum, expected);
}

/* --- collectives -----------------------------------------------------------------------------------------
 */

static void reductions(void)
{
	size_t count = 5000; /* several pieces */
	int64_t *in = malloc(count * sizeof *in), *out = malloc(count * sizeof *out);
	double d[3] = {node + 0.5, -node, 1.0 / 3}, e[3];
	int32_t i = -node, j = 1;
	uint32_t bits = 1u << node;
	float f = 2;

	for (size_t k = 0; k < count; k++)
		in[k] = (int64_t)k * (node + 1);
	CHECK_EQUAL(dsm_reduce(in, out, count, DSM_INT64, DSM_SUM), 0);
	for (size_t k = 0; k < count; k++)
		CHECK_EQUAL(out[k], (int64_t)k * nodes * (nodes + 1) / 2);
	CHECK_EQUAL(dsm_reduce(in, in, count, DSM_INT64, DSM_MAX), 0); /* in place */
	for (size_t k = 0; k < count; k++)
		CHECK_EQUAL(in[k], (int64_t)k * nodes);
	CHECK_EQUAL(dsm_reduce(d, e, 3, DSM_DOUBLE, DSM_MAX), 0);
	CHECK(e[0] == nodes - 0.5 && e[1] == 0 && e[2] == 1.0 / 3);
	CHECK_EQUAL(dsm_reduce(&i, &j, 1, DSM_INT32, DSM_MIN), 0);
	CHECK_EQUAL(j, 1 - nodes);
	CHECK_EQUAL(dsm_reduce(&bits, &bits, 1, DSM_UINT32, DSM_OR), 0);
	CHECK_EQUAL(bits, (1u << nodes) - 1);
	CHECK_EQUAL(dsm_reduce(&f, &f, 1, DSM_FLOAT, DSM_PRODUCT), 0);
	CHECK(f == (float)(1 << nodes));
	CHECK_EQUAL(dsm_reduce(&f, &f, 1, DSM_FLOAT, DSM_XOR), -EINVAL);
	CHECK_EQUAL(dsm_reduce(&f, &f, 1, (enum dsm_type)99, DSM_SUM), -EINVAL);
	CHECK_EQUAL(dsm_reduce(NULL, NULL, 0, DSM_FLOAT, DSM_SUM), 0);
	/* Results in shared memory, and a barrier too. */
	s->slots[node] = (uint64_t)node + 1;
	CHECK_EQUAL(dsm_reduce(&s->slots[node], &out[0], 1, DSM_UINT64, DSM_SUM), 0);
	CHECK_EQUAL(out[0], nodes * (nodes + 1) / 2);
	for (int n = 0; n < nodes; n++)
		CHECK_EQUAL(s->slots[n], n + 1);
	CHECK_EQUAL(dsm_barrier(), 0);
	free(in);
	free(out);
}

static void broadcasts(void)
{
	size_t bytes = 100000;
	unsigned char *buffer = malloc(bytes);

	for (int root = 0; root < nodes; root++) {
		memset(buffer, node == root ? root + 1 : 0xee, bytes);
		CHECK_EQUAL(dsm_broadcast(buffer, bytes, root), 0);
		size_t wrong = 0;
		for (size_t i = 0; i < bytes; i++)
			wrong += buffer[i] != root + 1;
		CHECK_EQUAL(wrong, 0);
	}
	CHECK_EQUAL(dsm_broadcast(buffer, bytes, nodes), -EINVAL);
	CHECK_EQUAL(dsm_broadcast(NULL, 0, 0), 0);
	free(buffer);
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	for (int home = 0; home < 2; home++) {
		nodes_case("a counter under a mutex, home node %d", home);
		begin(4096, home);
		counts(add_under_mutex, 2000, &s->counter);
		end();
		nodes_case("a counter under trylock, home node %d", home);
		begin(4096, home);
		counts(add_by_trylock, 200, &s->counter);
		end();
		nodes_case("a counter under a read-write lock, home node %d", home);
		begin(4096, home);
		counts(add_under_write_lock, 500, &s->first);
		end();
		nodes_case("atomics of many threads, home node %d", home);
		begin(4096, home);
		atomics_count();
		end();
		nodes_case("what each atomic answers, home node %d", home);
		begin(4096, home);
		each_atomic_answers();
		end();
	}
	nodes_case("a counter under a mutex, 2 MiB pages");
	if (nodes_have_pages(2 * MIB, 1, (unsigned)nodes)) {
		begin(2 * MIB, 0);
		counts(add_under_mutex, 300, &s->counter);
		end();
	}
	begin(4096, 0);
	nodes_case("who does not have a lock is told so");
	who_does_not_have_a_lock_is_told();
	nodes_case("readers share, writers do not");
	readers_share_and_writers_do_not();
	nodes_case("an event goes around the nodes");
	an_event_goes_around();
	nodes_case("a bounded buffer with a condition variable");
	a_bounded_buffer();
	nodes_case("reductions");
	reductions();
	nodes_case("broadcasts");
	broadcasts();
	end();
	nodes_case("a read-write lock across pages of two homes");
	a_lock_across_homes();
	nodes_case("thousands of locks at once");
	many_locks();
	return nodes_end();
}
