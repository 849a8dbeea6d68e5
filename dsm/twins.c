#include "dsm/twins.h"

#include <errno.h>
#include <sys/mman.h>

/* The kernel gives the pool huge pages where it can: 512 twins of 4 KiB for one fault. */
#define HUGE_ALIGNMENT ((size_t)2 << 20)

int twins_create(struct twins *twins, size_t pages, size_t page_bytes)
{
	if (pages >= UINT32_MAX - 1)
		return -EINVAL;
	size_t next_bytes = (pages * sizeof(uint32_t) + HUGE_ALIGNMENT - 1) & ~(HUGE_ALIGNMENT - 1);
	size_t bytes = pages * page_bytes + next_bytes + HUGE_ALIGNMENT;
	unsigned char *memory =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;

	/* Trim to the alignment, so that one munmap() gives it all back. */
	size_t head = -(uintptr_t)memory & (HUGE_ALIGNMENT - 1);
	if (head)
		munmap(memory, head);
	if (HUGE_ALIGNMENT - head)
		munmap(memory + bytes - (HUGE_ALIGNMENT - head), HUGE_ALIGNMENT - head);
	*twins = (struct twins){
	    .memory = memory + head,
	    .next = (uint32_t *)(memory + head + pages * page_bytes),
	    .slot_bytes = page_bytes,
	    .mapped_bytes = bytes - HUGE_ALIGNMENT,
	    .slots = (uint32_t)pages,
	};
	if (pages * page_bytes >= HUGE_ALIGNMENT)
		madvise(twins->memory, pages * page_bytes, MADV_HUGEPAGE); /* without it: slower, no more */
	return 0;
}

void twins_destroy(struct twins *twins)
{
	if (twins->memory)
		munmap(twins->memory, twins->mapped_bytes);
	twins->memory = NULL;
}

uint32_t twins_get(struct twins *twins)
{
	uint64_t top = atomic_load_explicit(&twins->top, memory_order_acquire);

	while ((uint32_t)top) {
		uint32_t slot = (uint32_t)top - 1;
		/*
		 * next[slot] may be written by somebody who took the slot and put it back meanwhile; the
		 * count in the high half has changed then, and the exchange fails.
		 */
		uint32_t below = __atomic_load_n(&twins->next[slot], __ATOMIC_RELAXED);
		uint64_t replacement = ((top >> 32) + 1) << 32 | below;
		/* Acquire pairs with the release in twins_put(). */
		if (atomic_compare_exchange_weak_explicit(&twins->top, &top, replacement,
							  memory_order_acquire, memory_order_acquire))
			return slot;
	}
	uint32_t fresh = atomic_load_explicit(&twins->fresh, memory_order_relaxed);
	while (fresh < twins->slots)
		if (atomic_compare_exchange_weak_explicit(&twins->fresh, &fresh, fresh + 1,
							  memory_order_relaxed, memory_order_relaxed))
			return fresh;
	return TWIN_NONE;
}

void twins_put(struct twins *twins, uint32_t slot)
{
	uint64_t top = atomic_load_explicit(&twins->top, memory_order_relaxed), replacement;

	do {
		__atomic_store_n(&twins->next[slot], (uint32_t)top, __ATOMIC_RELAXED);
		replacement = ((top >> 32) + 1) << 32 | (slot + 1);
		/* Release: next[slot] before the slot is on top. Pairs with the acquire in twins_get(). */
	} while (!atomic_compare_exchange_weak_explicit(&twins->top, &top, replacement, memory_order_release,
							memory_order_relaxed));
}
