/*
 * The words that describe the heap's slabs, where they lie, and how a node gets at them: one-sided, whosever
 * they are, by reads and compare_swap alone (a NIC's atomics are atomic with nothing else). So any node may
 * allocate and free anywhere, no CPU of another takes part, and no node that dies leaves a lock behind.
 *
 * The heap has two halves, each a region: one whose node parts lie on one node each, one that is interleaved.
 * Of each half, a node keeps the words of as many slabs, `per_node`; in the first half they are those whose
 * memory it is home of.
 */
#ifndef MINORCA_DSM_HEAP_WORDS_H
#define MINORCA_DSM_HEAP_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "dsm/lane.h"
#include "dsm/slab.h"

enum heap_half { HEAP_PARTS = 0, HEAP_INTERLEAVED, HEAP_HALVES };

/* Words that are read or swapped in one go. */
#define HEAP_WORDS_AT_ONCE (LANE_SCRATCH_BYTES / sizeof(uint64_t))

/** Says how many slabs of each half a node has the words of. Set-up only. */
void heap_words_set_up(size_t per_node);

/** Bytes of the segment that holds a node's words. */
size_t heap_words_bytes(void);

/*
 * All return 0, or -EHOSTDOWN, -ETIMEDOUT, -EIO of the transport. They take this thread's lane.
 */

/** Reads the states of @count slabs from @slab on into @states. */
int heap_read_states(enum heap_half half, size_t slab, size_t count, uint64_t *states);

/** Reads @count words of the bitmap of a slab. */
int heap_read_bitmap(enum heap_half half, size_t slab, unsigned count, uint64_t *words);

/** Sets the state of a slab to @desired if it is @expected; it was, if *@old == @expected. */
int heap_swap_state(enum heap_half half, size_t slab, uint64_t expected, uint64_t desired, uint64_t *old);

/** The same for @count slabs, each on its own. */
int heap_swap_states(enum heap_half half, size_t slab, size_t count, const uint64_t *expected,
		     const uint64_t *desired, uint64_t *old);

/** The same for a word of a bitmap. */
int heap_swap_bitmap(enum heap_half half, size_t slab, unsigned word, uint64_t expected, uint64_t desired,
		     uint64_t *old);

/**
 * Marks a slab, once for all: something in it is changed behind the back of versions (heap_note_atomics()).
 * No atomic is done on a mark.
 */
int heap_mark(enum heap_half half, size_t slab);
int heap_read_mark(enum heap_half half, size_t slab, uint64_t *mark);

/**
 * Asks all other nodes to give up slabs that have no objects: they do when they next allocate or free. A word
 * of theirs counts how often they were asked.
 */
void heap_ask_others(void);

/** Where in this node's words, mapped at @words, that count is. */
_Atomic uint64_t *heap_asked(void *words);

/** The node that keeps the words of a slab. */
int heap_keeper(size_t slab);

#endif
