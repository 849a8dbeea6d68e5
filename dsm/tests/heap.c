/*
 * dsm_malloc() and its like: no two live objects overlap, whoever allocates and frees them; the heap can be
 * used up and comes back; what is not to be freed is refused.
 */
#include "dsm/tests/nodes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 4
#define SLOTS 48
#define ROUNDS 3
#define STEPS 400
#define HEAP_MIB 32

static int node, nodes;

/* An object that is alive. */
struct live {
	unsigned char *memory;
	size_t bytes;
	unsigned char pattern;
};

static unsigned next_random(unsigned *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Mostly small, now and then some slabs. */
static size_t random_size(unsigned *state)
{
	unsigned kind = next_random(state) % 100;

	if (kind < 60)
		return 1 + next_random(state) % 200;
	if (kind < 90)
		return 1 + next_random(state) % 5000;
	return 1 + next_random(state) % (kind < 98 ? 32768 : 200000);
}

/* The bytes that are stored and looked at: all of small objects, and both ends and the middle of large ones.
 */
static size_t stride(size_t bytes)
{
	return bytes <= 8192 ? 1 : bytes / 64;
}

static void fill(const struct live *o)
{
	for (size_t i = 0; i < o->bytes; i += stride(o->bytes))
		o->memory[i] = o->pattern;
	o->memory[o->bytes - 1] = o->pattern;
}

static bool is_intact(const struct live *o)
{
	for (size_t i = 0; i < o->bytes; i += stride(o->bytes))
		if (o->memory[i] != o->pattern)
			return false;
	return o->memory[o->bytes - 1] == o->pattern;
}

static bool is_aligned(const void *memory, size_t bytes)
{
	return !((uintptr_t)memory % (bytes >= 64 ? 64 : 16));
}

/* --- what one call gives ------------------------------------------------------------------------------- */

static void sizes_and_alignment(void)
{
	static const size_t sizes[] = {0,     1,     15,    16,	   17,	  48,	  49,	  63,	64,
				       65,    100,   128,   129,   512,	  513,	  4095,	  4097, 20000,
				       32767, 32768, 32769, 65536, 65537, 200000, 1 << 20};

	nodes_case("sizes and alignment");
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		void *memory[2] = {NULL, NULL};
		for (int k = 0; k < 2; k++) {
			CHECK_EQUAL(dsm_malloc(sizes[i], DSM_HERE, &memory[k]), 0);
			CHECK(is_aligned(memory[k], sizes[i]));
			if (memory[k] && sizes[i])
				memset(memory[k], k + 1, sizes[i]);
		}
		CHECK(memory[0] != memory[1]);
		if (memory[0] && sizes[i])
			CHECK(*(unsigned char *)memory[0] == 1 &&
			      ((unsigned char *)memory[0])[sizes[i] - 1] == 1);
		for (int k = 0; k < 2; k++)
			CHECK_EQUAL(dsm_free(memory[k]), 0);
	}
	CHECK_EQUAL(dsm_free(NULL), 0);
}

static void placement(void)
{
	static const size_t sizes[] = {16, 64, 5000, 100000};

	nodes_case("memory is where it was asked for");
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		void *memory = NULL;
		for (int where = DSM_HERE; where < nodes; where++) {
			int wanted = where == DSM_HERE ? node : where;
			CHECK_EQUAL(dsm_malloc(sizes[i], where, &memory), 0);
			CHECK_EQUAL(dsm_home(memory), wanted);
			CHECK_EQUAL(dsm_home((char *)memory + sizes[i] - 1), wanted);
			CHECK_EQUAL(dsm_free(memory), 0);
		}
	}
	void *memory = NULL;
	CHECK_EQUAL(dsm_malloc(100000, DSM_INTERLEAVED, &memory), 0);
	int first = dsm_home(memory);
	for (int page = 0; page < 20; page++)
		CHECK_EQUAL(dsm_home((char *)memory + 4096 * page), (first + page) % nodes);
	CHECK_EQUAL(dsm_free(memory), 0);
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void what_cannot_be_had(void)
{
	void *memory = &memory;

	nodes_case("sizes and places that cannot be had");
	CHECK_EQUAL(dsm_malloc(SIZE_MAX, DSM_HERE, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_malloc(SIZE_MAX - 65535, DSM_HERE, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_malloc(SIZE_MAX / 2 + 1, DSM_INTERLEAVED, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_malloc((size_t)HEAP_MIB << 20, DSM_HERE, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_calloc(SIZE_MAX / 2, 3, DSM_HERE, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_calloc((size_t)1 << 32, (size_t)1 << 32, DSM_HERE, &memory), -ENOMEM);
	CHECK_EQUAL(dsm_malloc(1, nodes, &memory), -EINVAL);
	CHECK_EQUAL(dsm_malloc(1, -3, &memory), -EINVAL);
	CHECK(memory == &memory); /* outputs only on success */
	CHECK_EQUAL(dsm_calloc(0, 0, DSM_HERE, &memory), 0);
	CHECK_EQUAL(dsm_free(memory), 0);
}

static void misuse(void)
{
	dsm_region *r = NULL;
	void *small = NULL, *other = NULL, *large = NULL;
	char local;

	nodes_case("what is not to be freed is refused");
	CHECK_EQUAL(dsm_region_create("foreign", 4096, NULL, &r), 0);
	CHECK_EQUAL(dsm_malloc(100, DSM_HERE, &small), 0);
	CHECK_EQUAL(dsm_malloc(100, DSM_HERE, &other), 0);
	CHECK_EQUAL(dsm_malloc(200000, DSM_HERE, &large), 0);
	if (!r || !small || !other || !large)
		return;
	memset(other, 77, 100);
	memset(large, 78, 200000);
	CHECK_EQUAL(dsm_free(&local), -EINVAL);
	CHECK_EQUAL(dsm_free(dsm_region_base(r)), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)small + 1), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)small + 64), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)large + 64), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)large + 65536), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)large + 131072 + 5), -EINVAL);
	CHECK_EQUAL(dsm_free(small), 0);
	CHECK_EQUAL(dsm_free(small), -EINVAL);
	CHECK_EQUAL(dsm_free((char *)small + 1), -EINVAL);
	CHECK(*(char *)other == 77 && ((char *)other)[99] == 77);
	CHECK(((char *)large)[0] == 78 && ((char *)large)[199999] == 78);
	CHECK_EQUAL(dsm_free(large), 0);
	CHECK_EQUAL(dsm_free(large), -EINVAL);
	CHECK_EQUAL(dsm_free(other), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- many at once -------------------------------------------------------------------------------------- */

/* All that is alive, of all nodes and threads. */
struct board {
	struct live live[64][THREADS][SLOTS];
};

struct worker {
	int thread;
	unsigned random;
	size_t failures;
	struct live live[SLOTS];
};

static int random_place(unsigned *state)
{
	return (int)(next_random(state) % (unsigned)(nodes + 2)) - 2;
}

/* Allocates what is not there and frees what is, at random. */
static void *churn(void *argument)
{
	struct worker *w = argument;

	for (int step = 0; step < nodes_rounds(STEPS, 40); step++) {
		struct live *o = &w->live[next_random(&w->random) % SLOTS];
		if (o->memory) {
			w->failures += !is_intact(o) || dsm_free(o->memory);
			o->memory = NULL;
			continue;
		}
		void *memory = NULL;
		o->bytes = random_size(&w->random);
		o->pattern = (unsigned char)(1 + next_random(&w->random) % 255);
		if (dsm_malloc(o->bytes, random_place(&w->random), &memory)) {
			w->failures++;
			continue;
		}
		o->memory = memory;
		w->failures += !is_aligned(memory, o->bytes);
		fill(o);
	}
	return NULL;
}

static int by_address(const void *a, const void *b)
{
	const struct live *x = a, *y = b;

	return x->memory < y->memory ? -1 : x->memory > y->memory;
}

/* Of all objects on the board: they do not overlap, and everybody sees what was stored. */
static void check_board(const struct board *board)
{
	static struct live all[64 * THREADS * SLOTS];
	size_t count = 0;

	for (int n = 0; n < nodes; n++)
		for (int t = 0; t < THREADS; t++)
			for (int s = 0; s < SLOTS; s++)
				if (board->live[n][t][s].memory)
					all[count++] = board->live[n][t][s];
	qsort(all, count, sizeof all[0], by_address);
	for (size_t i = 0; i < count; i++) {
		CHECK(is_intact(&all[i]));
		if (i + 1 < count)
			CHECK(all[i].memory + all[i].bytes <= all[i + 1].memory);
	}
}

static void run_threads(struct worker *workers, void *(*run)(void *))
{
	pthread_t threads[THREADS];

	for (int t = 0; t < THREADS; t++)
		CHECK_EQUAL(pthread_create(&threads[t], NULL, run, &workers[t]), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < THREADS; t++) {
		CHECK_EQUAL(workers[t].failures, 0);
		workers[t].failures = 0;
	}
}

/* Each round another node takes over a node's objects, and frees or keeps them. */
static void all_at_random(void)
{
	static struct worker workers[THREADS];
	dsm_region *r = NULL;

	nodes_case("all nodes and threads at random; freed by other nodes");
	CHECK_EQUAL(dsm_region_create("board", sizeof(struct board), NULL, &r), 0);
	if (!r)
		return;
	struct board *board = dsm_region_base(r);
	for (int t = 0; t < THREADS; t++)
		workers[t] = (struct worker){.thread = t, .random = (unsigned)(node * 1000 + t)};
	for (int round = 0; round < nodes_rounds(ROUNDS, 1); round++) {
		run_threads(workers, churn);
		for (int t = 0; t < THREADS; t++)
			memcpy(board->live[node][t], workers[t].live, sizeof workers[t].live);
		CHECK_EQUAL(dsm_barrier(), 0);
		check_board(board);
		for (int t = 0; t < THREADS; t++)
			memcpy(workers[t].live, board->live[(node + 1) % nodes][t], sizeof workers[t].live);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	for (int t = 0; t < THREADS; t++)
		for (int s = 0; s < SLOTS; s++) {
			CHECK(!workers[t].live[s].memory || is_intact(&workers[t].live[s]));
			CHECK_EQUAL(dsm_free(workers[t].live[s].memory), 0);
		}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- between nodes ------------------------------------------------------------------------------------- */

struct message {
	struct message *next;
	uint64_t value;
};

/* One node makes a list, the next changes it and frees it, its stores not published; the memory is at once
 * used again. */
static void producer_and_consumer(void)
{
	dsm_region *r = NULL;

	nodes_case("one node makes, the next frees");
	CHECK_EQUAL(dsm_region_create("heads", 4096, NULL, &r), 0);
	if (!r)
		return;
	/* Two sets: a node may be a round ahead of the one that reads. */
	struct message *(*heads)[64] = dsm_region_base(r);
	for (uint64_t round = 0; round < (uint64_t)nodes_rounds(20, 3); round++) {
		struct message *list = NULL;
		for (uint64_t i = 0; i < 100; i++) {
			void *memory = NULL;
			CHECK_EQUAL(dsm_malloc(sizeof *list, random_place(&(unsigned){(unsigned)i}), &memory),
				    0);
			if (!memory)
				break;
			*(struct message *)memory = (struct message){list, round * 1000 + i};
			list = memory;
		}
		heads[round % 2][node] = list;
		CHECK_EQUAL(dsm_barrier(), 0);
		uint64_t i = 100;
		for (struct message *m = heads[round % 2][(node + 1) % nodes], *next; m; m = next) {
			next = m->next;
			CHECK_EQUAL(m->value, round * 1000 + --i);
			m->value = 0xdeaddeaddead;
			m->next = NULL;
			CHECK_EQUAL(dsm_free(m), 0);
		}
		CHECK_EQUAL(i, 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* Zero for everybody, whoever dirtied the memory before. */
static void calloc_is_zero(void)
{
	dsm_region *r = NULL;

	nodes_case("dsm_calloc() gives zeros, at the home");
	CHECK_EQUAL(dsm_region_create("heads", 4096, NULL, &r), 0);
	if (!r)
		return;
	unsigned char **heads = dsm_region_base(r);
	for (int round = 0; round < nodes_rounds(10, 2); round++) {
		size_t bytes = round % 2 ? 100000 : 1000;
		void *memory = NULL;
		CHECK_EQUAL(dsm_calloc(bytes / 10, 10, node, &memory), 0);
		heads[node] = memory;
		CHECK_EQUAL(dsm_barrier(), 0);
		size_t wrong = 0;
		for (int n = 0; n < nodes; n++)
			for (size_t i = 0; i < bytes; i++)
				wrong += heads[n][i] != 0;
		CHECK_EQUAL(wrong, 0);
		CHECK_EQUAL(dsm_barrier(), 0);
		unsigned char *theirs = heads[(node + 1) % nodes];
		memset(theirs, 0xff, bytes);
		CHECK_EQUAL(dsm_free(theirs), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- all of it ----------------------------------------------------------------------------------------- */

#define MOST ((size_t)HEAP_MIB << 20 >> 14)

/* Allocates until there is no more; every node does, at once. Returns how many it got. */
static size_t exhaust(void **objects, size_t bytes)
{
	size_t count = 0;

	while (count < MOST && !dsm_malloc(bytes, DSM_HERE, &objects[count])) {
		*(size_t *)objects[count] = count * 64 + (size_t)node;
		count++;
	}
	return count;
}

static void exhaustion_and_recovery(size_t bytes)
{
	static void *objects[MOST];
	dsm_region *r = NULL;

	nodes_case("used up and freed: objects of %zu bytes", bytes);
	CHECK_EQUAL(dsm_region_create("counts", 4096, NULL, &r), 0);
	if (!r)
		return;
	size_t *counts = dsm_region_base(r);
	for (int round = 0; round < 2; round++) {
		size_t count = exhaust(objects, bytes), total = 0;
		counts[node] = count;
		CHECK_EQUAL(dsm_barrier(), 0);
		for (int n = 0; n < nodes; n++)
			total += counts[n];
		/* Large ones do not come out even with the parts, and what others keep is in their way. */
		size_t all =
		    ((size_t)HEAP_MIB << 20) / (bytes < 65536 ? bytes : (bytes + 65535) / 65536 * 65536);
		/* Every part is rounded up to whole slabs. */
		CHECK(total <= all + 2 * (size_t)nodes * (65536 / (bytes < 65536 ? bytes : 65536)));
		CHECK(total >= all / 2);
		for (size_t i = 0; i < count; i++)
			CHECK_EQUAL(*(size_t *)objects[i], i * 64 + (size_t)node);
		for (size_t i = 0; i < count; i++)
			CHECK_EQUAL(dsm_free(objects[i]), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	/* What nodes have freed, others can have, in one piece; at the latest after the nodes that keep some
	 * were asked and have called. */
	int got = -1;
	for (int attempt = 0; attempt < 2; attempt++) {
		void *memory = NULL;
		if (node == 0 && got) {
			got = dsm_malloc((size_t)HEAP_MIB << 18, DSM_INTERLEAVED, &memory);
			CHECK_EQUAL(dsm_free(memory), 0);
		}
		CHECK_EQUAL(dsm_barrier(), 0);
		CHECK_EQUAL(dsm_malloc(1, DSM_HERE, &memory), 0);
		CHECK_EQUAL(dsm_free(memory), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	CHECK(node || !got);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* --- time ---------------------------------------------------------------------------------------------- */

#define TIMED 20001

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void what_it_costs(void)
{
	static uint64_t took[TIMED];

	nodes_case("dsm_malloc() and dsm_free() of 64 bytes, timed");
	for (int where = DSM_INTERLEAVED; where < nodes; where++) {
		CHECK_EQUAL(dsm_barrier(), 0);
		if (node)
			continue;
		size_t timed = (size_t)nodes_rounds(TIMED, 101);
		for (size_t i = 0; i < timed; i++) {
			void *memory = NULL;
			uint64_t began = now_ns();
			CHECK_EQUAL(dsm_malloc(64, where, &memory), 0);
			CHECK_EQUAL(dsm_free(memory), 0);
			took[i] = now_ns() - began;
		}
		qsort(took, timed, sizeof took[0], by_number);
		printf("# where %d: median %llu ns, 99th percentile %llu ns\n", where,
		       (unsigned long long)took[timed / 2], (unsigned long long)took[timed * 99 / 100]);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* Atomics change a home's copy and no version. When the memory is used for something else then, no node may
 * take the copy that it has from before for current: a plain store of what that copy says would be published
 * to nobody. */
static void memory_that_atomics_were_done_on(size_t bytes)
{
	uint64_t *word = NULL, *again = NULL;
	int owner = nodes > 1;

	nodes_case("memory that atomics were done on is plain memory again: %zu bytes", bytes);
	for (int round = 0; round < nodes_rounds(20, 3); round++) {
		if (node == owner) {
			CHECK_EQUAL(dsm_malloc(bytes, 0, (void **)&word), 0);
			*word = 0;
		}
		CHECK_EQUAL(dsm_broadcast(&word, sizeof word, owner), 0);
		CHECK_EQUAL(*(volatile uint64_t *)word, 0); /* every node has a copy */
		CHECK_EQUAL(dsm_barrier(), 0);
		CHECK_EQUAL(dsm_atomic_fetch_add(word, 5, NULL, DSM_RELAXED), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
		if (node == owner) {
			CHECK_EQUAL(dsm_free(word), 0);
			CHECK_EQUAL(dsm_malloc(bytes, 0, (void **)&again), 0);
			*(volatile uint64_t *)again = 0; /* as the old copies say */
		}
		CHECK_EQUAL(dsm_broadcast(&again, sizeof again, owner), 0);
		CHECK_EQUAL(*(volatile uint64_t *)again, 0);
		CHECK_EQUAL(dsm_barrier(), 0);
		if (node == owner)
			CHECK_EQUAL(dsm_free(again), 0);
	}
}

int main(int argc, char **argv)
{
	setenv("MINORCA_HEAP_BYTES", "32MiB", 1); /* what the cases count on */
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	sizes_and_alignment();
	placement();
	what_cannot_be_had();
	misuse();
	all_at_random();
	producer_and_consumer();
	calloc_is_zero();
	memory_that_atomics_were_done_on(64);
	memory_that_atomics_were_done_on(200000);
	exhaustion_and_recovery(32768);
	exhaustion_and_recovery(16384);
	exhaustion_and_recovery(1000000);
	what_it_costs();
	return nodes_end();
}
