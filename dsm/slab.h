/*
 * The arithmetic of the heap: size classes, and the words that describe slabs. No memory, no nodes:
 * heap_part.c moves the words.
 *
 * The heap is divided into slabs. A slab holds objects of one class, or is a piece of a run of slabs that one
 * large allocation has. Each slab has a word that says which, its state; and a bitmap, in which a bit is set
 * while its object is allocated. Both lie apart from the memory that they describe (heap_words.h), so that a
 * store that goes astray cannot hurt them.
 */
#ifndef MINORCA_DSM_SLAB_H
#define MINORCA_DSM_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLAB_BYTES ((size_t)65536)
/* Two of the largest objects fit. What is larger gets slabs of its own. */
#define SLAB_OBJECT_BYTES_MAX (SLAB_BYTES / 2)
/* Words of a bitmap: a bit for each of the smallest objects. */
#define SLAB_WORDS (SLAB_BYTES / 16 / 64)
#define SLAB_CLASSES 35u

/*
 * Classes: 16, 32 and 48 bytes; then multiples of 64, for from there on objects are aligned to a cache line;
 * from 512 on four for each doubling, so that at most a fifth of an object is unused.
 */

/** The class of objects that hold @bytes, 1 .. SLAB_OBJECT_BYTES_MAX. */
unsigned slab_class_of(size_t bytes);
/** The size of objects of @class. */
size_t slab_class_bytes(unsigned class);
/** How many of them a slab has. */
unsigned slab_objects(unsigned class);

/** The bits of word @word of a bitmap that stand for objects. */
uint64_t slab_object_bits(unsigned class, unsigned word);

/** How many words of a bitmap have such bits. */
static inline unsigned slab_words(unsigned class)
{
	return (slab_objects(class) + 63) / 64;
}

enum slab_kind {
	SLAB_FREE = 0,
	SLAB_SMALL,   /* has objects of a class; one node allocates in it, its owner */
	SLAB_HEAD,    /* first of a run */
	SLAB_TAIL,    /* of a run, not the first */
	SLAB_LEAVING, /* first of a run that is being freed */
};

struct slab_state {
	enum slab_kind kind;
	unsigned owner;	 /* SMALL: who allocates in it; HEAD and TAIL: who allocated the run */
	unsigned class;	 /* SMALL */
	uint32_t length; /* HEAD, LEAVING: slabs of the run; TAIL: how many slabs before it the run begins */
};

/* A free slab is zero if it was never taken: then its memory is zero still. */
#define SLAB_WORD_FRESH UINT64_C(0)
#define SLAB_WORD_FREED UINT64_C(0x10)

uint64_t slab_encode(struct slab_state state);
struct slab_state slab_decode(uint64_t word);

static inline bool slab_is_free(uint64_t word)
{
	return !(word & 0xf);
}

/**
 * True if @word can be the state of slab @at of @count, which no run leaves, in a job of @nodes. Words of
 * peers are checked by it before anything is computed of them.
 */
bool slab_is_possible(uint64_t word, size_t at, size_t count, unsigned nodes);

/** The first of @count slabs, in @states, that is free; @count: none. */
size_t slab_find_free(const uint64_t *states, size_t count);

/**
 * The last @length free slabs in a row; @count: there are none. Runs are sought from the end and single slabs
 * from the beginning, so that they leave each other room. A head makes its whole run taken: it is written
 * first.
 */
size_t slab_find_run(const uint64_t *states, size_t count, size_t length);

/** How many slabs are taken, and how long the longest free run is. */
void slab_survey(const uint64_t *states, size_t count, size_t *taken, size_t *longest_free);

#endif
