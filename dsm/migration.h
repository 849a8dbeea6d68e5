/*
 * Regions that move (options.movable): what a node knows of one, and what goes between source and
 * destination. The calls are in migration.c, what the source does in migration_source.c, how it finds what is
 * stored to in migration_track.c, what the destination does, its faults among them, in migration_target.c and
 * migration_background.c.
 *
 * The two talk by words: each has a struct migration_words, which the other writes one-sided and it reads by
 * itself. Each migration has an epoch, greater than that of all before it, so that what was left of an
 * earlier one says nothing.
 */
#ifndef MINORCA_DSM_MIGRATION_H
#define MINORCA_DSM_MIGRATION_H

#include <minorca.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct dsm_region;
struct lane;

/* --- words --------------------------------------------------------------------------------------------- */

/* In place of a region's version table. Words that a side writes to the other it stages in its own copy,
 * which the other does not write: the roles do not change within an epoch. */
struct migration_words {
	/* By the source. */
	_Alignas(64) _Atomic uint64_t offer_node; /* who offers, and how; */
	_Atomic uint64_t offer_mode;
	_Atomic uint64_t offered;		   /* then the epoch */
	_Alignas(64) _Atomic uint64_t source_beat; /* counts what the source gets done */
	_Atomic uint64_t source_over;		   /* the epoch that it has given up */
	_Alignas(64) _Atomic uint64_t state_bytes; /* after the state; */
	_Atomic uint64_t switched;		   /* then the epoch */
	_Alignas(64) _Atomic uint64_t map_pages;   /* how many pages of the map are there; after them */
	_Atomic uint64_t map_over;		   /* the epoch of which no more of the map will come */
	/* The epoch of which the map says of each large page whether it is out of date: if it is, in all of
	 * its blocks, until the map has come to it. */
	_Atomic uint64_t outlined;

	/* By the destination. */
	_Alignas(64) _Atomic uint64_t answer_error;  /* an errno, or 0; */
	_Atomic uint64_t answered;		     /* then the epoch */
	_Atomic uint64_t resumed, done, target_over; /* epochs */
	_Alignas(64) _Atomic uint64_t target_beat;

	_Alignas(64) unsigned char state[DSM_MIGRATION_STATE_BYTES];
	_Alignas(64) _Atomic uint64_t map[]; /* a bit for each block: 1: out of date at the destination */
};

/** Their size for a region of so many blocks. */
size_t migration_words_bytes(size_t blocks);

/* --- of one region ------------------------------------------------------------------------------------- */

enum migration_role { ROLE_NONE, ROLE_SOURCE, ROLE_TARGET };

/* How the source finds stores. */
enum migration_tracking { TRACKING_NONE, TRACKING_BY_KERNEL, TRACKING_BY_FAULTS };

/* A page in the spare pages of the region's file, as it was written to the destination. */
#define MIGRATION_SPARES_MAX 32

struct migration {
	/* Written by the thread that makes the calls, while no other is at it. */
	struct dsm_region *region;
	struct migration_words *words; /* this node's; immutable */
	_Atomic(enum migration_role) role;
	atomic_int holder;
	int peer;
	uint64_t epoch;
	struct dsm_migration_options options;
	atomic_bool cancel; /* somebody asks for it */
	bool switched;	    /* the destination holds it, or may */
	uint64_t told_ns;   /* when on_progress() was last called: by the background, while it runs */

	/* Source. */
	_Atomic(enum migration_tracking) tracking; /* read by faults */
	int uffd, pagemap;
	_Atomic uint64_t *stored; /* a bit for each page: found stored to, and not sent since */
	uint64_t *sending;	  /* a bit for each page: what this round sends */
	unsigned int spares, next_spare;
	size_t spare_page[MIGRATION_SPARES_MAX]; /* plus one; 0: none: what the destination has of it */
	uint64_t bytes_sent;			 /* in this round */
	uint64_t asked_ns;			 /* when the destination was last asked whether it lives */
	int map_error;				 /* that the map met with, so far */
	bool must_let_go; /* it holds the region no more, and has not given it back yet */

	/* Destination. */
	atomic_bool resolves;	    /* faults are: from the switch on */
	_Atomic uint64_t *complete; /* a bit for each page: nothing is missing, or can be had; set
				       under its lock */
	_Atomic uint64_t *lost;	    /* a bit for each page: poisoned; set under its lock, before `complete` */
	atomic_size_t lost_count;   /* of these */
	atomic_int demand;	    /* faults that read: the background steps back */
	atomic_size_t latest;	    /* page of the latest fault */
	/* A thread that waits until it is to bring in the rest: making it would take longer than the switch.
	 */
	pthread_t background;
	bool background_runs;
	sem_t go;	  /* it may go on: with the rest, or, */
	atomic_bool stop; /* to its end */

	/* Read, and but for the step added to, by any thread. */
	struct migration_progress {
		_Atomic uint64_t step, rounds, pages_left, bytes_precopied, bytes_switched, bytes_mapped,
		    bytes_fetched, faults, faults_current, faults_early, begun_ns, switched_ns, resumed_ns,
		    mapped_ns, done_ns;
	} progress;
};

/** Makes it for a region that has its memory. @return 0 or -ENOMEM. */
int migration_create(struct dsm_region *region);
/** Ends what is under way, and frees it. */
void migration_destroy(struct dsm_region *region);

/** Bytes of spare pages behind the region in its file, for pages of this size: copies of pages that were
 * sent. */
size_t migration_spare_bytes(size_t page_bytes, size_t pages);

/** fault_resolve(), of a movable region; the page is locked. Async-signal-safe. */
int migration_fault(struct lane *lane, struct dsm_region *region, size_t page, bool write, bool present);

/** The page could not be read, and is about to be poisoned (or else the process ends); it is locked.
 * Async-signal-safe. */
void migration_page_lost(struct dsm_region *region, size_t page);

/* --- between its files --------------------------------------------------------------------------------- */

/** Bits of a set of pages, or of blocks. */
static inline bool bit_is_set(const _Atomic uint64_t *words, size_t bit)
{
	/* Acquire: pairs with bit_set(). */
	return atomic_load_explicit(&words[bit / 64], memory_order_acquire) >> (bit % 64) & 1;
}

static inline void bit_set(_Atomic uint64_t *words, size_t bit)
{
	atomic_fetch_or_explicit(&words[bit / 64], (uint64_t)1 << (bit % 64), memory_order_release);
}

/** Writes words [@first, @first + @count) of this node's migration_words to the peer's, after all that was
 * posted before. @return 0 or -errno. */
int migration_put(struct migration *m, const void *first, size_t count);

/** Sets a word of this node's, and puts it. */
int migration_tell(struct migration *m, _Atomic uint64_t *word, uint64_t value);

/**
 * Waits until @word is the epoch. Ends early if the other side gives up (@over is the epoch, or a later one:
 * it has begun anew), is lost, or @beat does not move for MINORCA_TIMEOUT; @over, @beat NULL: it has none.
 */
int migration_wait(struct migration *m, const _Atomic uint64_t *word, const _Atomic uint64_t *over,
		   const _Atomic uint64_t *beat);

/** The end of a call before the switch: with an error, the migration is over, and the source holds the region
 * as before. Reports it, and returns it. */
int migration_settle(struct migration *m, int error, const char *what);

/** Notes the step, and tells the application. */
void migration_step(struct migration *m, enum dsm_migration_step step);
/** Tells the application, if some time has passed since. */
void migration_report(struct migration *m);

/** How long to wait until @bytes, sent or read since @since_ns, keep within bytes_per_s: 0, or a part of it
 * that is short enough to look up in between. */
uint64_t migration_throttle_ns(const struct migration *m, uint64_t bytes, uint64_t since_ns);

static inline void migration_sleep(uint64_t ns)
{
	nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL); /* less than a second */
}

/** Of all pages of this node: not mapped; @in_file: their memory is there. Nobody faults meanwhile. */
void migration_reset_pages(struct dsm_region *region, bool in_file);

/** Source: begins to find stores, and notes all pages. @return 0 or -errno. */
int migration_track(struct migration *m);
/** Ends it, if it was begun. Of 1 GiB of small pages this takes tens of ms. */
void migration_untrack(struct migration *m);
/** Gives back the copies of what was sent. */
void migration_drop_spares(struct migration *m);

/** Notes what was stored to in [@first, @first + @count) since the last time, and protects it again. */
int migration_scan(struct migration *m, size_t first, size_t count);

/**
 * What was noted becomes `sending`, what this round sends. Only then is it protected, where faults note it,
 * and only then is it read: who stores to it meanwhile has noted it anew, or stored before it was read. After
 * an error, what has been taken is in `sending`.
 */
int migration_take(struct migration *m);

/** Notes pages as stored to. */
void migration_note(struct migration *m, size_t first, size_t count);

/** How many are noted. */
size_t migration_noted(const struct migration *m);

/** A fault of the source while it finds stores by them; the page is locked. Async-signal-safe. */
int migration_note_store(struct migration *m, size_t page);
/** Stores to the page do not fault any more. Async-signal-safe. */
int migration_unprotect(struct dsm_region *region, size_t page);

/** Of how many pages the map is there, with all that it says of them. */
size_t migration_map_end(const struct migration *m);
/** Whether the map says anything of the page. What it says is right, and may yet become less. */
bool migration_is_told_of(const struct migration *m, size_t page);
/** Blocks of a page to be read: those that differ, by the map; perhaps more, where it has not come to
 * (@early). */
uint64_t migration_blocks_to_read(const struct migration *m, size_t page, bool *early);
/** Whether a page is known to be out of date and has not been read. */
bool migration_is_left(const struct migration *m, size_t page);
/** Reads blocks of a locked page into the alias, neighbours together. @return 0 or -errno.
 * Async-signal-safe. */
int migration_read_blocks(struct migration *m, struct lane *lane, size_t page, uint64_t blocks);
/** Maps locked pages, to be stored to. @return 0 or -errno. Async-signal-safe. */
int migration_map_pages(struct dsm_region *region, size_t first, size_t count);

/** Nothing is missing by the map, which is complete: the region becomes plain memory, the source is told. */
void migration_become_independent(struct migration *m);

/** Makes the thread that waits for @go. @return 0; -EAGAIN: no thread, for whatever reason. */
int migration_start_background(struct migration *m);
/** Ends it, if there is one. */
void migration_stop_background(struct migration *m);
/** The destination's part of dsm_migrate_finish(). */
int migration_join(struct migration *m);

#endif
