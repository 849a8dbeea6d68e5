/*
 * The order of the two levels is what makes it right. The adder sets the leaf bit, then the summary bit; the
 * taker clears the summary word, then the leaf word. If the taker's exchange of the leaf word misses the
 * adder's bit, it came before the adder's step on the leaf, so the taker's exchange of the summary did too,
 * and the adder's step on the summary, which follows, leaves the summary bit set for next time. All four are
 * sequentially consistent read-modify-writes or loads.
 */
#include "dsm/page_set.h"

#include <errno.h>
#include <sys/mman.h>

int page_set_create(struct page_set *set, size_t pages)
{
	set->leaf_words = (pages + 63) / 64;
	set->summary_words = (set->leaf_words + 63) / 64;
	set->mapped_bytes = (set->leaf_words + set->summary_words) * sizeof(uint64_t);
	void *memory = mmap(NULL, set->mapped_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	set->leaf = memory;
	set->summary = set->leaf + set->leaf_words;
	return 0;
}

void page_set_destroy(struct page_set *set)
{
	if (set->leaf)
		munmap((void *)set->leaf, set->mapped_bytes);
	set->leaf = NULL;
}

void page_set_add(struct page_set *set, size_t page)
{
	size_t word = page / 64;
	uint64_t summary_bit = 1ull << (word % 64);

	atomic_fetch_or(&set->leaf[word], 1ull << (page % 64));
	/* A set summary bit seen here is cleared, if at all, before the leaf word is taken: our bit is in it.
	 */
	if (!(atomic_load(&set->summary[word / 64]) & summary_bit))
		atomic_fetch_or(&set->summary[word / 64], summary_bit);
}

/* A run that is being gathered. */
struct run {
	size_t first, count;
};

static void add_run(struct page_set *set, const struct run *run)
{
	for (size_t i = 0; i < run->count; i++)
		page_set_add(set, run->first + i);
}

/* Adds @page to @run; visits what was gathered when @page does not continue it. */
static int gather(struct run *run, size_t page, size_t max_run, int (*visit)(void *, size_t, size_t),
		  void *argument)
{
	if (run->count && run->first + run->count == page && run->count < max_run) {
		run->count++;
		return 0;
	}
	struct run done = *run;
	int error = done.count ? visit(argument, done.first, done.count) : 0;
	if (!error)
		*run = (struct run){page, 1};
	return error;
}

static int take_word(struct page_set *set, size_t word, struct run *run, size_t max_run,
		     int (*visit)(void *, size_t, size_t), void *argument)
{
	for (uint64_t bits = atomic_exchange(&set->leaf[word], 0); bits; bits &= bits - 1) {
		int error = gather(run, word * 64 + (size_t)__builtin_ctzll(bits), max_run, visit, argument);
		if (error) {
			atomic_fetch_or(&set->leaf[word], bits); /* the caller puts the summary bit back */
			return error;
		}
	}
	return 0;
}

int page_set_take(struct page_set *set, size_t max_run,
		  int (*visit)(void *argument, size_t first, size_t count), void *argument)
{
	struct run run = {0, 0};
	int error = 0;

	for (size_t s = 0; s < set->summary_words && !error; s++) {
		if (!atomic_load_explicit(&set->summary[s], memory_order_relaxed))
			continue;
		uint64_t words = atomic_exchange(&set->summary[s], 0);
		for (; words; words &= words - 1) {
			error = take_word(set, s * 64 + (size_t)__builtin_ctzll(words), &run, max_run, visit,
					  argument);
			if (error) {
				atomic_fetch_or(&set->summary[s],
						words); /* this one, and those not looked at */
				break;
			}
		}
	}
	if (!error && run.count)
		error = visit(argument, run.first, run.count);
	if (error)
		add_run(set, &run);
	return error;
}
