/*
 * Which bytes of a page changed: comparison with its twin.
 *
 * A run is exact: every byte in it differs, and the bytes next to it do not. A byte that this node did not
 * change must not be written to the master: another node may have. So runs are never merged over a gap,
 * however short the gap and whatever a message costs.
 *
 * May be called from signal handlers, from any thread and before main(): nothing is allocated, locked or
 * chosen on the first call.
 */
#ifndef MINORCA_DSM_DIFF_H
#define MINORCA_DSM_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that are compared at once: one per bit of a mask. */
#define DIFF_CHUNK ((size_t)64)

/* A walk over the runs. @now and @before stay, and stay as they are, until it ends. */
struct diff {
	const unsigned char *now, *before;
	size_t bytes;
	size_t at;     /* where the next chunk to compare begins */
	uint64_t left; /* of the chunk before @at, bit i: its byte i differs, and has been in no run yet */
};

static inline struct diff diff_begin(const unsigned char *now, const unsigned char *before, size_t bytes)
{
	return (struct diff){.now = now, .before = before, .bytes = bytes};
}

/* For diff_run(). Goes to the next chunk in which a byte differs; false when there is none. */
bool diff_seek(struct diff *d);

/* For diff_run(). Goes to the chunk in which the run that reaches @at ends; returns where. */
size_t diff_seek_end(struct diff *d);

/**
 * Finds the next run, from left to right. Nothing outside [0, bytes) is read.
 *
 * Here, because a page of many short runs would otherwise cost a call for each.
 *
 * @param start,end  where the run begins and ends (exclusive); not set when there is none
 * @return false when there are no more.
 */
static inline bool diff_run(struct diff *d, size_t *start, size_t *end)
{
	if (!d->left && !diff_seek(d))
		return false;

	size_t chunk = d->at - DIFF_CHUNK;
	uint64_t carried;
	*start = chunk + (size_t)__builtin_ctzll(d->left);
	/* A one added where the run starts carries through it, and sets the bit after it, if there is one. */
	if (__builtin_add_overflow(d->left, d->left & -d->left, &carried)) {
		*end = diff_seek_end(d);
	} else {
		*end = chunk + (size_t)__builtin_ctzll(carried);
		d->left &= carried;
	}
	return true;
}

/**
 * Finds the first run in [@from, @bytes), without a walk to remember: for a few runs. Over many, a walk is
 * five times faster, because it does not compare a chunk again for each run in it.
 *
 * @param end  set to the end of the run (exclusive), when there is one
 * @return where the run begins, or @bytes when there is none.
 */
size_t diff_next(const unsigned char *now, const unsigned char *before, size_t from, size_t bytes,
		 size_t *end);

#endif
