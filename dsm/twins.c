#include "dsm/twins.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

/*
 * Memory of pools that were destroyed, for pools that are made: a first copy into fresh memory costs the
 * kernel's page faults on top, and regions come and go. (Transparent huge pages would cost one fault instead
 * of 512, and were tried: where memory is fragmented the kernel compacts it first, and a store waited 8 ms.)
 */
#define KEPT_POOLS 4
#define KEPT_BYTES ((size_t)64 << 20) /* of each; the rest goes back to the kernel */

static struct {
	unsigned char *memory;
	size_t mapped_bytes;
} kept[KEPT_POOLS];
static pthread_mutex_t kept_mutex = PTHREAD_MUTEX_INITIALIZER;

/* The smallest kept memory of at least @bytes and at most four times that, or NULL. */
static unsigned char *take_kept(size_t bytes, size_t *mapped_bytes)
{
	unsigned char *memory = NULL;
	unsigned best = KEPT_POOLS;

	pthread_mutex_lock(&kept_mutex);
	for (unsigned i = 0; i < KEPT_POOLS; i++)
		if (kept[i].memory && kept[i].mapped_bytes >= bytes && kept[i].mapped_bytes / 4 <= bytes &&
		    (best == KEPT_POOLS || kept[i].mapped_bytes < kept[best].mapped_bytes))
			best = i;
	if (best < KEPT_POOLS) {
		memory = kept[best].memory;
		*mapped_bytes = kept[best].mapped_bytes;
		kept[best].memory = NULL;
	}
	pthread_mutex_unlock(&kept_mutex);
	return memory;
}

/* Keeps the memory if there is room. */
static bool keep(unsigned char *memory, size_t mapped_bytes)
{
	bool done = false;

	if (mapped_bytes > KEPT_BYTES)
		madvise(memory + KEPT_BYTES, mapped_bytes - KEPT_BYTES, MADV_DONTNEED);
	pthread_mutex_lock(&kept_mutex);
	for (unsigned i = 0; i < KEPT_POOLS && !done; i++)
		if (!kept[i].memory) {
			kept[i].memory = memory;
			kept[i].mapped_bytes = mapped_bytes;
			done = true;
		}
	pthread_mutex_unlock(&kept_mutex);
	return done;
}

void twins_release_kept(void)
{
	for (unsigned i = 0; i < KEPT_POOLS; i++) {
		if (kept[i].memory)
			munmap(kept[i].memory, kept[i].mapped_bytes);
		kept[i].memory = NULL;
	}
}

int twins_create(struct twins *twins, size_t pages, size_t page_bytes)
{
	if (pages >= UINT32_MAX - 1)
		return -EINVAL;
	size_t bytes = (pages * (page_bytes + sizeof(uint32_t)) + 4095) & ~(size_t)4095, mapped_bytes = bytes;
	unsigned char *memory = take_kept(bytes, &mapped_bytes);

	if (!memory)
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	*twins = (struct twins){
	    .memory = memory,
	    .next = (uint32_t *)(void *)(memory + pages * page_bytes),
	    .slot_bytes = page_bytes,
	    .mapped_bytes = mapped_bytes,
	    .slots = (uint32_t)pages,
	};
	return 0;
}

void twins_destroy(struct twins *twins)
{
	if (twins->memory && !keep(twins->memory, twins->mapped_bytes))
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
