/*
 * A part of the heap: a range of slabs, and what this process knows of those that it allocates in. There is
 * one part for each node, of memory that the node is home of, and the interleaved part. Every process has a
 * heap_part for each of them.
 *
 * A slab of small objects is owned by the node that took it: only the owner sets bits of its bitmap, any node
 * clears them. So the owner knows, without asking, of bits that are clear, and asks only when it has used
 * them up.
 *
 * What that has to do with memory: an object must not be given to somebody whose copy of it is old, nor while
 * somebody's stores to it are not published.
 *   - Freed by another node than the owner: that node releases before it clears the bit (heap.c), and the
 * owner acquires after it has read the bitmap and before it hands the object out.
 *   - Freed by the owner: it will be the next to have it, and who used it before was ordered before the free,
 * so the owner has acquired what they stored. Neither is needed.
 *   - A slab that is given up, and a run that is freed: released before, acquired by who takes it.
 */
#ifndef MINORCA_DSM_HEAP_PART_H
#define MINORCA_DSM_HEAP_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsm/heap_words.h"
#include "dsm/slab.h"

struct heap_part;

/** @return NULL: out of memory. Slabs are numbered within their half. */
struct heap_part *heap_part_create(enum heap_half half, size_t first_slab, size_t slabs);
void heap_part_destroy(struct heap_part *part);

/*
 * All below: any thread. @return 0; -ENOSPC: the part is full; -EHOSTDOWN, -ETIMEDOUT, -EIO of the transport;
 * -ENOMEM: this process has no memory for its own tables.
 */

/**
 * Takes an object. @thorough: look everywhere before saying that the part is full; otherwise, if it was full
 * a moment ago, believe that it is.
 */
int heap_part_take_object(struct heap_part *part, unsigned class, bool thorough, size_t *slab,
			  unsigned *object);

/** Takes @length slabs in a row. @fresh: set to whether nobody ever had any of them. */
int heap_part_take_run(struct heap_part *part, size_t length, bool thorough, size_t *slab, bool *fresh);

/** The state of a slab that is this node's, without asking. @return false: it is not. */
bool heap_part_recall(struct heap_part *part, size_t slab, uint64_t *state);

/** True if @state, which was read, can be that of @slab of the part. */
bool heap_part_is_possible(const struct heap_part *part, size_t slab, uint64_t state);

/** Gives back an object of a slab of this node. @return also -EINVAL: it is not allocated. */
int heap_part_give_object(struct heap_part *part, size_t slab, unsigned class, unsigned object);

/** Gives back a run that has @state, any node's. @return also -EINVAL: another thread or node was faster. */
int heap_give_run(enum heap_half half, size_t slab, uint64_t state);

/** Clears the bit of an object of another node's slab. @return also -EINVAL: it is clear. */
int heap_give_object(enum heap_half half, size_t slab, unsigned object);

/** Gives up the slabs of this node that have no objects. */
int heap_part_trim(struct heap_part *part);

/** Something of the part was freed by a way that does not tell it. */
void heap_part_expect_room(struct heap_part *part);

/** How many slabs are taken, and the longest run that is free. */
int heap_part_survey(struct heap_part *part, size_t *taken, size_t *longest_free);

#endif
