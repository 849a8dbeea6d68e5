/*
 * A hash of text (FNV-1a), the same on all nodes. Not for anything that an enemy may choose.
 */
#ifndef MINORCA_DSM_HASH_H
#define MINORCA_DSM_HASH_H

#include <stdint.h>

#define HASH_START 0xcbf29ce484222325

/** Goes on from @h, which begins as HASH_START. */
static inline uint64_t hash_text(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3;
	return h;
}

#endif
