/*
 * What the home writes into pages, and where: computed, so that every node knows without asking.
 *
 * The home writes one word at the start of each block that it changes. A measuring node loads the word of one
 * such block, or stores to the word behind it, so that the two never write the same byte. Which blocks change
 * is scattered over the page and differs from page to page and from round to round.
 */
#ifndef MINORCA_BENCH_PATTERN_H
#define MINORCA_BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pattern {
	size_t page_bytes;
	unsigned int blocks;  /* of a page; a power of two */
	unsigned int changed; /* how many of them the home writes */
	uint64_t seed;
	uint64_t generation; /* counts the times that the home has written */
};

/** A number that has nothing to do with @x, the same each time (the finaliser of splitmix64). */
static inline uint64_t pattern_mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t pattern_of_page(const struct pattern *p, size_t page)
{
	return pattern_mix(p->seed ^ p->generation << 32 ^ page);
}

/** The @index-th block of @page that changes, @index < changed; no two are the same. */
static inline unsigned int pattern_block(const struct pattern *p, size_t page, unsigned int index)
{
	uint64_t random = pattern_of_page(p, page);
	unsigned int first = (unsigned int)random, stride = (unsigned int)(random >> 32) | 1;

	/* An odd stride visits every residue of a power of two once. */
	return (first + index * stride) & (p->blocks - 1);
}

/** Where in @page a measuring node loads: the word of its first changed block. It stores to the word behind.
 */
static inline size_t pattern_offset(const struct pattern *p, size_t page)
{
	return pattern_block(p, page, 0) * (p->page_bytes / p->blocks);
}

/** What the home writes there. Never zero. */
static inline uint64_t pattern_value(const struct pattern *p, size_t page, unsigned int block)
{
	return pattern_mix(pattern_of_page(p, page) + block) | 1;
}

/** What the measuring node stores in its round number @round. Never zero. */
static inline uint64_t pattern_store(const struct pattern *p, size_t page, uint64_t round)
{
	return pattern_mix(pattern_of_page(p, page) ^ ~round) | 1;
}

/** Writes the changed blocks of one page. @at: where the page begins. */
void pattern_write(const struct pattern *p, size_t page, void *at);

/** True if the changed blocks of the page at @at hold what the home wrote. */
bool pattern_holds(const struct pattern *p, size_t page, const void *at);

/** Fills @order with 0 .. @count - 1 in random order. */
void pattern_permute(uint32_t *order, uint32_t count, uint64_t seed);

#endif
