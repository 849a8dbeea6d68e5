/*
 * Writing and checking patterns. See pattern.h.
 */
#include "bench/pattern.h"

static volatile uint64_t *word(const struct pattern *p, const void *at, unsigned int block)
{
	return (volatile uint64_t *)((uintptr_t)at + block * (p->page_bytes / p->blocks));
}

void pattern_write(const struct pattern *p, size_t page, void *at)
{
	for (unsigned int i = 0; i < p->changed; i++) {
		unsigned int block = pattern_block(p, page, i);
		*word(p, at, block) = pattern_value(p, page, block);
	}
}

bool pattern_holds(const struct pattern *p, size_t page, const void *at)
{
	for (unsigned int i = 0; i < p->changed; i++) {
		unsigned int block = pattern_block(p, page, i);
		if (*word(p, at, block) != pattern_value(p, page, block))
			return false;
	}
	return true;
}

void pattern_permute(uint32_t *order, uint32_t count, uint64_t seed)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = (uint32_t)(pattern_mix(seed + i) % (i + 1));
		order[i] = order[j];
		order[j] = i;
	}
}
