/*
 * The user of memory that moves: a thread that loads from a working set all the time, stores at a given rate
 * to pages anywhere, and counts what it gets done. What it needs to go on elsewhere is a few words.
 *
 * Store number n has its place and its value by n alone, so what the memory must hold is known from how many
 * stores there were. Each word also holds its own index: what is loaded is checked at once.
 */
#ifndef MINORCA_BENCH_GUEST_H
#define MINORCA_BENCH_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct throughput;

/* What moves with the memory. */
struct guest_state {
	uint64_t random, steps, stores;
	uint64_t wrong; /* words that were not what they must be */
};

/* First touches, for who wants to know of them. */
struct guest_watch {
	/* A page is about to be, and has been, touched for the first time; this took so long. */
	void (*touched)(void *argument, uint64_t ns);
	void *argument;
	uint64_t *seen; /* a bit for each page */
};

struct guest {
	/* Set by who makes it. */
	uint64_t *base;
	size_t page_bytes, pages;
	size_t working_pages;	   /* that it loads from: the first ones */
	double stores_per_s;	   /* each to a page of its own */
	struct guest_watch *watch; /* NULL: nobody watches */
	struct throughput *throughput;

	/* Its own. */
	struct guest_state state;
	uint64_t next_store_ns;
};

/** What the memory holds before the first store. */
void guest_fill(const struct guest *guest);

/** Begins, or goes on with a state that came from elsewhere. */
void guest_begin(struct guest *guest, const struct guest_state *state);

/** One step, and perhaps a store. @return the time after it. */
uint64_t guest_step(struct guest *guest);

/** How many words are not what so many stores have made of them; SIZE_MAX: no memory to find out. */
size_t guest_compare(const struct guest *guest);

/* --- in a thread --------------------------------------------------------------------------------------- */

struct guest_thread;

/** Starts it, going on. @return NULL: no thread. */
struct guest_thread *guest_start(struct guest *guest);
/** Pauses it: it has stopped when this returns. The thread remains until guest_end(). */
void guest_pause(struct guest_thread *thread);
void guest_end(struct guest_thread *thread);

#endif
