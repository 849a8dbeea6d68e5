/*
 * Which pages a thread is about to touch, guessed from those that it touched last.
 *
 * A thread that walks through a region, forwards, backwards or in steps, is given its next pages together
 * with the one that it faults on: a window that doubles as long as the guess holds, so that the kernel's part
 * of a fault is paid once for many pages. A thread that touches pages at random is given what it asks for:
 * what is looked for are three (four, if they are not neighbours) pages in a row, and who has been given
 * windows in vain has to show more.
 *
 * Pages that are mapped raise no fault, so nobody sees them being used. What shows that a window was right is
 * the next fault: it comes just behind it. (The windows, and their doubling, are those of Linux' readahead:
 * Wu, Xi and Xu 2008; several streams at once as in the stream buffers of Jouppi 1990.)
 *
 * One for each lane, used by whoever holds the lane. Knows nothing of regions, userfaultfd or transports. No
 * system call, no allocation.
 */
#ifndef MINORCA_DSM_READAHEAD_H
#define MINORCA_DSM_READAHEAD_H

#include <stddef.h>
#include <stdint.h>

#define READAHEAD_FAULTS 16  /* faults that are remembered */
#define READAHEAD_STREAMS 8  /* streams that are followed at once */
#define READAHEAD_REACH 1024 /* pages: the longest step */
#define READAHEAD_FIRST 2    /* pages: the first window */

/* A walk that was found. */
struct readahead_stream {
	uint64_t next;	    /* where the page is that follows the last window; see readahead_place() */
	int64_t step;	    /* pages from one to the next; negative: backwards; 0: unused */
	uint32_t window;    /* pages of the last window */
	uint32_t continued; /* how many windows came after the first */
	uint64_t used;	    /* when, in faults */
};

/* All zero is ready for use. */
struct readahead {
	uint64_t faults[READAHEAD_FAULTS]; /* places; a ring */
	uint64_t time;			   /* faults seen */
	unsigned doubt;			   /* further pages that a walk has to show before it is believed */
	struct readahead_stream streams[READAHEAD_STREAMS];
};

/** A page of a region as one number: pages of different regions are far apart. 0 is no page's. */
static inline uint64_t readahead_place(unsigned region, size_t page)
{
	return (uint64_t)(region + 1) << 40 | page;
}

/**
 * A fault on a page that is not here. @return the stream that it belongs to, whose `step` and `window` say
 * what to bring in: the page itself is the first of `window`. NULL: of none, that page alone.
 *
 * The caller then says with readahead_taken() how far it went.
 *
 * @param window_most  pages; at least READAHEAD_FIRST
 */
struct readahead_stream *readahead_fault(struct readahead *readahead, uint64_t place, uint32_t window_most);

/** @pages of the window that begins at @place were brought in, itself included. */
static inline void readahead_taken(struct readahead_stream *stream, uint64_t place, uint32_t pages)
{
	stream->next = place + (uint64_t)(stream->step * pages);
}

#endif
