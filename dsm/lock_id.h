/*
 * What the words of a lock's queue say: who is in it. Arithmetic only.
 *
 * An id is one word: 16 bits node + 1, 16 bits slot, 32 bits use. 0: nobody. The tail of a queue lies in the
 * application's own memory, and the rest in memory of peers: an id that was read is checked before it is
 * used.
 */
#ifndef MINORCA_DSM_LOCK_ID_H
#define MINORCA_DSM_LOCK_ID_H

#include <stdbool.h>
#include <stdint.h>

/* Places of a node: how many queues it can be in at once. */
#define LOCK_PLACES 16384u

static inline uint64_t lock_id_make(int node, uint32_t slot, uint32_t use)
{
	return (uint64_t)(node + 1) << 48 | (uint64_t)slot << 32 | use;
}

static inline int lock_id_node(uint64_t id)
{
	return (int)(id >> 48) - 1;
}

static inline uint32_t lock_id_slot(uint64_t id)
{
	return (uint32_t)(id >> 32) & 0xffff;
}

static inline uint32_t lock_id_use(uint64_t id)
{
	return (uint32_t)id;
}

/** True if it can be the id of a place of one of @nodes. */
static inline bool lock_id_is_possible(uint64_t id, int nodes)
{
	return lock_id_node(id) >= 0 && lock_id_node(id) < nodes && lock_id_slot(id) < LOCK_PLACES;
}

#endif
