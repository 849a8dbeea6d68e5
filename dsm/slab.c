#include "dsm/slab.h"

#define LINE_BYTES 64u
#define LINE_STEP_MAX 512u /* up to here classes are multiples of a line */
#define TINY_CLASSES 3u	   /* 16, 32, 48 */
#define LINE_CLASSES 8u	   /* 64 .. 512 */
#define CLASSES_PER_DOUBLING 4u

_Static_assert(SLAB_OBJECT_BYTES_MAX == LINE_STEP_MAX << 6 &&
		   SLAB_CLASSES == TINY_CLASSES + LINE_CLASSES + 6 * CLASSES_PER_DOUBLING,
	       "the last class is the largest object");

unsigned slab_class_of(size_t bytes)
{
	if (bytes <= 48)
		return (unsigned)((bytes + 15) / 16) - 1;
	if (bytes <= LINE_STEP_MAX)
		return TINY_CLASSES + (unsigned)((bytes + LINE_BYTES - 1) / LINE_BYTES) - 1;
	unsigned shift = 63u - (unsigned)__builtin_clzll(bytes - 1); /* bytes in (2^shift, 2^(shift + 1)] */
	size_t over = bytes - 1 - ((size_t)1 << shift), step = ((size_t)1 << shift) / CLASSES_PER_DOUBLING;

	return TINY_CLASSES + LINE_CLASSES + (shift - 9) * CLASSES_PER_DOUBLING + (unsigned)(over / step);
}

size_t slab_class_bytes(unsigned class)
{
	if (class < TINY_CLASSES)
		return (class + 1) * (size_t)16;
	class -= TINY_CLASSES;
	if (class < LINE_CLASSES)
		return (class + 1) * (size_t)LINE_BYTES;
	class -= LINE_CLASSES;
	size_t base = (size_t)LINE_STEP_MAX << class / CLASSES_PER_DOUBLING;
	return base + (class % CLASSES_PER_DOUBLING + 1) * (base / CLASSES_PER_DOUBLING);
}

unsigned slab_objects(unsigned class)
{
	return (unsigned)(SLAB_BYTES / slab_class_bytes(class));
}

uint64_t slab_object_bits(unsigned class, unsigned word)
{
	unsigned objects = slab_objects(class);

	if (objects >= (word + 1) * 64)
		return UINT64_MAX;
	return objects <= word * 64 ? 0 : (UINT64_C(1) << (objects - word * 64)) - 1;
}

/* kind: bits 0 to 3; 4: a free slab was taken before; class: 8 to 15; owner: 16 to 31; length: 32 to 63. */
uint64_t slab_encode(struct slab_state s)
{
	return (uint64_t)s.kind | (uint64_t)s.class << 8 | (uint64_t)s.owner << 16 | (uint64_t)s.length << 32;
}

struct slab_state slab_decode(uint64_t word)
{
	return (struct slab_state){
	    .kind = (enum slab_kind)(word & 0xf),
	    .class = (unsigned)(word >> 8 & 0xff),
	    .owner = (unsigned)(word >> 16 & 0xffff),
	    .length = (uint32_t)(word >> 32),
	};
}

bool slab_is_possible(uint64_t word, size_t at, size_t count, unsigned nodes)
{
	struct slab_state s = slab_decode(word);

	switch (s.kind) {
	case SLAB_FREE:
		return word == SLAB_WORD_FRESH || word == SLAB_WORD_FREED;
	case SLAB_SMALL:
		return s.class < SLAB_CLASSES && s.owner < nodes;
	case SLAB_HEAD:
	case SLAB_LEAVING:
		return s.length && s.length <= count - at && s.owner < nodes;
	case SLAB_TAIL:
		return s.length && s.length <= at && s.owner < nodes;
	}
	return false;
}

size_t slab_find_free(const uint64_t *states, size_t count)
{
	size_t i = 0;

	while (i < count && !slab_is_free(states[i]))
		i++;
	return i;
}

/* How many slabs from the one with this state on are taken by it. */
static size_t taken_by(uint64_t word)
{
	struct slab_state s = slab_decode(word);

	return (s.kind == SLAB_HEAD || s.kind == SLAB_LEAVING) && s.length ? s.length : 1;
}

/* The next run of free slabs from @at on, or one of no length at the end. */
static size_t next_free_run(const uint64_t *states, size_t count, size_t at, size_t *length)
{
	while (at < count && !slab_is_free(states[at]))
		at += taken_by(states[at]);
	*length = 0;
	while (at + *length < count && slab_is_free(states[at + *length]))
		++*length;
	return at;
}

size_t slab_find_run(const uint64_t *states, size_t count, size_t length)
{
	size_t found = count, free;

	for (size_t at = next_free_run(states, count, 0, &free); free;
	     at = next_free_run(states, count, at + free, &free))
		if (free >= length)
			found = at + free - length;
	return found;
}

void slab_survey(const uint64_t *states, size_t count, size_t *taken, size_t *longest_free)
{
	size_t all_free = 0, free;

	*longest_free = 0;
	for (size_t at = next_free_run(states, count, 0, &free); free;
	     at = next_free_run(states, count, at + free, &free)) {
		all_free += free;
		*longest_free = free > *longest_free ? free : *longest_free;
	}
	*taken = count - all_free;
}
