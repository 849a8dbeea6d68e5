/*
 * Crossing the options. See plan.h.
 */
#include "bench/plan.h"

#include <errno.h>
#include <stdlib.h>

#include "kernel/memory.h"

/* What a measuring node faults on when nothing is said: enough for many samples per round, little to set up.
 */
static size_t default_bytes(const struct fault_case *kind, size_t page_bytes)
{
	if (page_bytes >= GIB)
		return page_bytes;
	if (page_bytes >= 2 * MIB)
		return kind->sweep ? 64 * MIB : 32 * MIB;
	return kind->sweep ? 16 * MIB : 2 * MIB;
}

static size_t pages_of(const struct options *o, const struct fault_case *kind, size_t page_bytes,
		       unsigned int threads)
{
	size_t bytes = o->region_bytes ? o->region_bytes : default_bytes(kind, page_bytes);
	size_t pages = bytes / page_bytes;

	return pages < threads ? threads : pages;
}

/*
 * Pages of 1 GiB take seconds where others take microseconds. Unless more is asked for they are measured with
 * one delivery and one thread, and unless they are asked for, only in the cases that are about moving little
 * or much.
 */
static bool too_slow_by_default(const struct options *o, const struct setup *s)
{
	if (s->page_bytes < GIB)
		return false;
	if (!o->page_sizes.given && (s->access == ACCESS_WRITE || setup_needs_new_pages(s)))
		return true;
	return (!o->deliveries_given && s->delivery != DELIVERY_INLINE) ||
	       (!o->threads.given && s->threads != 1) ||
	       (!o->blocks.given && s->kind->some_blocks && s->changed != 1);
}

static bool makes_sense(const struct setup *s)
{
	if (s->kind->some_blocks && s->blocks == 1)
		return false; /* some of one is all */
	/* A sweep of pages larger than a call is nothing but fetches. */
	return !s->kind->sweep || s->page_bytes <= sweep_call_bytes(s->page_bytes);
}

/* How many blocks are out of date before the touch. */
static unsigned int changed_blocks(const struct setup *s, unsigned int asked)
{
	switch (s->kind->before) {
	case PAGE_NEVER_SEEN:
		return s->blocks;
	case PAGE_OUT_OF_DATE:
		return s->kind->some_blocks ? asked : s->blocks;
	case PAGE_UP_TO_DATE:
	case PAGE_READ_ONLY:
		break;
	}
	return 0;
}

struct crossing {
	const struct options *options;
	const size_t *page_limit;
	struct plan *plan;
	size_t capacity; /* 0: only count */
};

static void add(struct crossing *c, const struct setup *setup)
{
	if (c->capacity)
		c->plan->setups[c->plan->count] = *setup;
	c->plan->count++;
}

static void cross_blocks(struct crossing *c, struct setup s)
{
	const struct option_list *blocks = &c->options->blocks;

	for (size_t i = 0; i < (s.kind->some_blocks ? blocks->count : 1); i++) {
		s.changed = changed_blocks(&s, (unsigned int)blocks->values[i]);
		if (makes_sense(&s) && !too_slow_by_default(c->options, &s))
			add(c, &s);
	}
}

static void cross_cases(struct crossing *c, struct setup s, size_t limit)
{
	size_t count;
	const struct fault_case *cases = cases_table(&count);

	for (size_t i = 0; i < count; i++) {
		s.kind = &cases[i];
		s.pages = pages_of(c->options, s.kind, s.page_bytes, s.threads);
		if (s.pages > limit)
			s.pages = limit;
		if (!(c->options->cases >> i & 1) || s.pages < s.threads)
			continue;
		for (unsigned int access = 0; access < ACCESS_COUNT; access++) {
			s.access = access;
			if (s.kind->accesses & c->options->accesses & UINT32_C(1) << access)
				cross_blocks(c, s);
		}
	}
}

static void cross_all(struct crossing *c)
{
	const struct options *o = c->options;
	struct setup s = {0};

	c->plan->count = 0;
	for (s.delivery = 0; s.delivery < DELIVERY_COUNT; s.delivery++)
		for (size_t size = 0; size < o->page_sizes.count && o->deliveries >> s.delivery & 1; size++) {
			s.page_bytes = o->page_sizes.values[size];
			s.blocks = blocks_per_page(s.page_bytes);
			for (size_t t = 0; t < o->threads.count; t++) {
				s.threads = (unsigned int)o->threads.values[t];
				cross_cases(c, s, c->page_limit[size]);
			}
		}
}

int plan_make(const struct options *options, const size_t *page_limit, struct plan *out)
{
	struct plan plan = {0};
	struct crossing crossing = {options, page_limit, &plan, 0};

	cross_all(&crossing);
	crossing.capacity = plan.count;
	plan.setups = calloc(plan.count + 1, sizeof *plan.setups);
	if (!plan.setups)
		return -ENOMEM;
	if (crossing.capacity)
		cross_all(&crossing);
	*out = plan;
	return 0;
}

void plan_free(struct plan *plan)
{
	free(plan->setups);
	*plan = (struct plan){0};
}

unsigned int plan_threads(const struct plan *plan)
{
	unsigned int most = 1;

	for (size_t i = 0; i < plan->count; i++)
		if (plan->setups[i].threads > most)
			most = plan->setups[i].threads;
	return most;
}

size_t plan_pages_least(const struct options *o, size_t page_bytes)
{
	unsigned int least = UINT32_MAX;

	if (page_bytes >= GIB && !o->threads.given)
		return 1;
	for (size_t i = 0; i < o->threads.count; i++)
		if (o->threads.values[i] < least)
			least = (unsigned int)o->threads.values[i];
	return least;
}

size_t plan_pages_wanted(const struct options *o, size_t page_bytes)
{
	size_t count, most = 0;
	const struct fault_case *cases = cases_table(&count);

	for (size_t i = 0; i < count; i++)
		for (size_t t = 0; t < o->threads.count; t++) {
			size_t pages = pages_of(o, &cases[i], page_bytes, (unsigned int)o->threads.values[t]);
			if (pages > most)
				most = pages;
		}
	return most;
}

bool setup_needs_new_pages(const struct setup *setup)
{
	return setup->kind->before == PAGE_NEVER_SEEN;
}

bool setup_shares_memory(size_t page_bytes)
{
	return page_bytes >= GIB;
}
