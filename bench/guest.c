/*
 * The user of memory that moves. See guest.h.
 */
#include "bench/guest.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/pattern.h"
#include "bench/throughput.h"
#include "bench/timer.h"

/* Of a step: 16 lines of a page, about half a microsecond. */
#define STEP_LINES 16u
#define LINE_WORDS (64 / sizeof(uint64_t))

/* A user who was held up for longer does not catch up with its stores: it was slowed down. */
#define LAG_MOST_NS 1000000u

/* Of who waits for the user to stop: some steps. */
#define SPINS 200u

static const struct guest_state fresh = {.random = 88172645463325252u};

/* --- what the memory holds ------------------------------------------------------------------------------ */

static size_t words_of(const struct guest *g)
{
	return g->pages * (g->page_bytes / sizeof(uint64_t));
}

static uint64_t scale(uint64_t random, uint64_t range)
{
	return (uint64_t)((unsigned __int128)random * range >> 64);
}

static size_t place_of(uint64_t store, size_t words)
{
	return (size_t)scale(pattern_mix(store), words);
}

/* Of word @word, when it was stored to @stores stores after the beginning; 0: never. */
static uint64_t value_of(uint64_t stores, size_t word)
{
	return stores << 32 | (uint32_t)word;
}

void guest_fill(const struct guest *g)
{
	for (size_t word = 0; word < words_of(g); word++)
		g->base[word] = value_of(0, word);
}

static size_t compare_with(const struct guest *g, uint64_t *expected)
{
	size_t words = words_of(g), page_words = g->page_bytes / sizeof(uint64_t), wrong = 0;

	for (size_t word = 0; word < words; word++)
		expected[word] = value_of(0, word);
	for (uint64_t store = 0; store < g->state.stores; store++) {
		size_t word = place_of(store, words);
		expected[word] = value_of(store + 1, word);
	}
	for (size_t at = 0; at < words; at += page_words)
		if (memcmp(g->base + at, expected + at, g->page_bytes))
			for (size_t word = at; word < at + page_words; word++)
				wrong += g->base[word] != expected[word];
	return wrong;
}

size_t guest_compare(const struct guest *g)
{
	size_t bytes = words_of(g) * sizeof(uint64_t);
	uint64_t *expected =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (expected == MAP_FAILED)
		return SIZE_MAX;
	madvise(expected, bytes, MADV_HUGEPAGE); /* without it: slower, no more */
	size_t wrong = compare_with(g, expected);
	munmap(expected, bytes);
	return wrong;
}

/* --- steps ---------------------------------------------------------------------------------------------- */

void guest_begin(struct guest *g, const struct guest_state *state)
{
	g->state = state ? *state : fresh;
	g->next_store_ns = timer_now_ns();
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A first touch is a load or a store of one word, and nothing else is in its time. */
static void watch_touch(const struct guest *g, size_t page, volatile uint64_t *word, const uint64_t *store)
{
	struct guest_watch *w = g->watch;

	w->seen[page / 64] |= (uint64_t)1 << (page % 64);
	uint64_t begin = timer_now_ns();
	if (store)
		*word = *store;
	else
		(void)*word;
	w->touched(w->argument, timer_now_ns() - begin);
}

static void touch(const struct guest *g, size_t word, const uint64_t *store)
{
	size_t page = word / (g->page_bytes / sizeof(uint64_t));

	if (g->watch && !(g->watch->seen[page / 64] >> (page % 64) & 1))
		watch_touch(g, page, g->base + word, store);
}

static void load_some(struct guest *g)
{
	const volatile uint64_t *base = g->base;
	uint64_t random = next_random(&g->state.random), wrong = 0;
	size_t page_words = g->page_bytes / sizeof(uint64_t);
	size_t first = (size_t)scale(random, g->working_pages) * page_words;
	size_t at = (random & 0xffff) * LINE_WORDS;

	touch(g, first + at % page_words, NULL);
	for (unsigned int i = 0; i < STEP_LINES; i++) {
		size_t word = first + (at + i * LINE_WORDS) % page_words;
		wrong += (uint32_t)base[word] != (uint32_t)word;
	}
	g->state.wrong += wrong;
}

static void store_if_due(struct guest *g, uint64_t now)
{
	volatile uint64_t *base = g->base;

	if (g->stores_per_s <= 0 || now < g->next_store_ns)
		return;
	size_t word = place_of(g->state.stores, words_of(g));
	uint64_t value = value_of(g->state.stores + 1, word);
	touch(g, word, &value);
	base[word] = value;
	g->state.stores++;
	g->next_store_ns += (uint64_t)(1e9 / g->stores_per_s);
	if (g->next_store_ns + LAG_MOST_NS < now)
		g->next_store_ns = now;
}

uint64_t guest_step(struct guest *g)
{
	load_some(g);
	g->state.steps++;
	uint64_t now = timer_now_ns();
	throughput_add(g->throughput, now);
	store_if_due(g, now);
	return now;
}

/* --- in a thread --------------------------------------------------------------------------------------- */

struct guest_thread {
	struct guest *guest;
	pthread_t thread;
	atomic_bool pause, paused;
};

static void *use(void *argument)
{
	struct guest_thread *t = argument;

	while (!atomic_load_explicit(&t->pause, memory_order_relaxed))
		guest_step(t->guest);
	atomic_store(&t->paused, true); /* release: its stores are before */
	return NULL;
}

struct guest_thread *guest_start(struct guest *guest)
{
	struct guest_thread *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->guest = guest;
	if (pthread_create(&t->thread, NULL, use, t)) {
		free(t);
		return NULL;
	}
	return t;
}

/* Joining would add how long it takes to wake a thread, which is no part of a pause. It may be on our core.
 */
void guest_pause(struct guest_thread *t)
{
	atomic_store(&t->pause, true);
	for (unsigned int turn = 0; !atomic_load(&t->paused); turn++)
		if (turn < SPINS)
			__builtin_ia32_pause();
		else
			sched_yield();
}

void guest_end(struct guest_thread *t)
{
	pthread_join(t->thread, NULL);
	free(t);
}
