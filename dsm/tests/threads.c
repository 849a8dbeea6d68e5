/*
 * Many threads of each node: faulting on the same page, on different pages, and storing while another thread
 * of the node publishes and acquires.
 */
#include "dsm/tests/nodes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernel/memory.h"

#define THREADS 6
#define ROUNDS 40

static int node, nodes;

struct job {
	volatile unsigned char *base;
	size_t page_bytes, pages;
	unsigned thread;
	int round;
	pthread_barrier_t *start;
	atomic_bool *stop;
	uint64_t wrong; /* loads that saw something else than they should */
	uint64_t done;
};

static volatile uint64_t *word(const struct job *j, size_t page, size_t index)
{
	return (volatile uint64_t *)(volatile void *)(j->base + page * j->page_bytes) + index;
}

/* All threads load the same pages at the same moment: one fault is resolved, the others find it done. */
static void *read_same_pages(void *argument)
{
	struct job *j = argument;

	pthread_barrier_wait(j->start);
	for (size_t p = 0; p < j->pages; p++)
		j->wrong += *word(j, p, 3) != p * 11 + (uint64_t)j->round;
	return NULL;
}

/* Each thread stores its own word of every page, all at the same moment. */
static void *write_same_pages(void *argument)
{
	struct job *j = argument;
	size_t index = 8 + (size_t)node * THREADS + j->thread;

	pthread_barrier_wait(j->start);
	for (size_t p = 0; p < j->pages; p++)
		*word(j, p, index) = p * 13 + index + (uint64_t)j->round;
	return NULL;
}

/* Counts up in a word of its own on every page while the main thread publishes: no count may get lost. */
static void *count_until_told(void *argument)
{
	struct job *j = argument;
	size_t index = 8 + (size_t)node * THREADS + j->thread;

	pthread_barrier_wait(j->start);
	while (!atomic_load(j->stop)) {
		size_t p = (size_t)j->done++ % j->pages;
		uint64_t before = *word(j, p, index);
		*word(j, p, index) = before + 1;
		/* Two dozen threads share two cores here, and the nodes' main threads need their turn. */
		if (j->done % 64 == 0)
			nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	return NULL;
}

static void run_threads(void *(*body)(void *), struct job *jobs, void (*meanwhile)(struct job *))
{
	pthread_t threads[THREADS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, THREADS + 1);
	for (unsigned t = 0; t < THREADS; t++) {
		jobs[t].thread = t;
		jobs[t].start = &start;
		CHECK_EQUAL(pthread_create(&threads[t], NULL, body, &jobs[t]), 0);
	}
	pthread_barrier_wait(&start);
	if (meanwhile)
		meanwhile(jobs);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	pthread_barrier_destroy(&start);
	for (unsigned t = 0; t < THREADS; t++)
		CHECK_EQUAL(jobs[t].wrong, 0);
}

static void fill(struct job *jobs, volatile unsigned char *base, size_t page_bytes, size_t pages, int round)
{
	for (unsigned t = 0; t < THREADS; t++)
		jobs[t] =
		    (struct job){.base = base, .page_bytes = page_bytes, .pages = pages, .round = round};
}

static void same_pages(volatile unsigned char *base, size_t page_bytes, size_t pages)
{
	struct job jobs[THREADS];

	for (int round = 1; round <= nodes_rounds(ROUNDS / 4, 2); round++) {
		fill(jobs, base, page_bytes, pages, round);
		if (round % nodes == node)
			for (size_t p = 0; p < pages; p++)
				*word(&jobs[0], p, 3) = p * 11 + (uint64_t)round;
		CHECK_EQUAL(dsm_barrier(), 0);
		run_threads(read_same_pages, jobs, NULL);
		run_threads(write_same_pages, jobs, NULL);
		CHECK_EQUAL(dsm_barrier(), 0);
		for (size_t p = 0; p < pages; p++)
			for (size_t i = 8; i < 8 + (size_t)nodes * THREADS; i++)
				CHECK_EQUAL(*word(&jobs[0], p, i), p * 13 + i + (uint64_t)round);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
}

static void publish_many_times(struct job *jobs)
{
	for (int i = 0; i < nodes_rounds(ROUNDS, 4); i++)
		CHECK_EQUAL(dsm_barrier(), 0);
	atomic_store(jobs[0].stop, true);
}

static void publish_and_unmap_many_times(struct job *jobs)
{
	for (int i = 0; i < nodes_rounds(ROUNDS, 4); i++) {
		CHECK_EQUAL(dsm_invalidate((const void *)jobs[0].base, jobs[0].pages * jobs[0].page_bytes),
			    0);
		CHECK_EQUAL(
		    dsm_prefetch((const void *)jobs[0].base, jobs[0].pages * jobs[0].page_bytes, i % 2), 0);
		CHECK_EQUAL(dsm_barrier(), 0);
	}
	atomic_store(jobs[0].stop, true);
}

static void stores_while(volatile unsigned char *base, size_t page_bytes, size_t pages,
			 void (*meanwhile)(struct job *))
{
	struct job jobs[THREADS];
	atomic_bool stop = false;

	fill(jobs, base, page_bytes, pages, 0);
	for (unsigned t = 0; t < THREADS; t++)
		jobs[t].stop = &stop;
	run_threads(count_until_told, jobs, meanwhile);
	CHECK_EQUAL(dsm_barrier(), 0);

	/* What each thread counted is what its words say, here and, told through the region itself,
	 * elsewhere. */
	for (unsigned t = 0; t < THREADS; t++) {
		uint64_t sum = 0;
		for (size_t p = 0; p < pages; p++)
			sum += *word(&jobs[0], p, 8 + (size_t)node * THREADS + t);
		CHECK_EQUAL(sum, jobs[t].done);
		*word(&jobs[0], 0, 256 + (size_t)node * THREADS + t) = jobs[t].done;
	}
	CHECK_EQUAL(dsm_barrier(), 0);
	for (size_t i = 0; i < (size_t)nodes * THREADS; i++) {
		uint64_t sum = 0;
		for (size_t p = 0; p < pages; p++)
			sum += *word(&jobs[0], p, 8 + i);
		CHECK_EQUAL(sum, *word(&jobs[0], 0, 256 + i));
	}
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void stores_while_publishing(volatile unsigned char *base, size_t page_bytes, size_t pages)
{
	stores_while(base, page_bytes, pages, publish_many_times);
}

static void stores_while_unmapping(volatile unsigned char *base, size_t page_bytes, size_t pages)
{
	stores_while(base, page_bytes, pages, publish_and_unmap_many_times);
}

static void run(size_t page_bytes, enum dsm_delivery delivery)
{
	size_t pages = page_bytes == 4096 ? 33 : 3;
	static const struct {
		const char *name;
		void (*run)(volatile unsigned char *, size_t, size_t);
	} cases[] = {
	    {"threads on the same pages", same_pages},
	    {"stores while another thread publishes", stores_while_publishing},
	    {"stores while pages are un-mapped", stores_while_unmapping},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct dsm_region_options options = {.page_size_bytes = page_bytes,
						     .home = DSM_HOME_CYCLIC,
						     .chunk_bytes = page_bytes,
						     .delivery = delivery};
		dsm_region *r;
		nodes_case("%s: %s, %s", cases[i].name, nodes_page_name(page_bytes),
			   nodes_delivery_name(delivery));
		if (!nodes_have_pages(page_bytes, pages, (unsigned)nodes))
			continue;
		if (!CHECK_EQUAL(dsm_region_create("threads", pages * page_bytes, &options, &r), 0))
			continue;
		cases[i].run(dsm_region_base(r), page_bytes, pages);
		CHECK_EQUAL(dsm_region_destroy(r), 0);
	}
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	for (size_t s = 0; s < 2; s++)
		for (enum dsm_delivery d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++)
			run(nodes_page_sizes[s], d);
	return nodes_end();
}
