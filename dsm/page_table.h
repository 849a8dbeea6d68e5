/*
 * What this node knows of each page of a region: its lock, how it is mapped, its twin, and the versions of
 * the bytes held.
 *
 * A table is region-shaped and costs memory only for pages that were used. It knows nothing of userfaultfd or
 * transports.
 *
 * Page locks are spin locks: they are taken in the fault handler. A thread that holds one has all signals
 * blocked and never touches the app mapping. Whoever needs several takes them in ascending order of the page
 * number, or does not wait for what is taken, so that there is no deadlock.
 */
#ifndef MINORCA_DSM_PAGE_TABLE_H
#define MINORCA_DSM_PAGE_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_state {
	PAGE_UNMAPPED = 0, /* the next access faults */
	PAGE_READ,	   /* mapped, write-protected: the next store faults */
	PAGE_WRITE,	   /* mapped, writable; changed since the last publish */
};

#define PAGE_IN_FILE 1 /* the memory file holds the page */
#define PAGE_STALE 2   /* known to be out of date: read its data without looking at its versions first */
#define PAGE_TWIN_IS_CURRENT 4 /* the twin equals the page: a first store need not copy */
#define PAGE_TWIN_KEPT 8       /* the page has its twin also between intervals */
#define PAGE_HOT 16	       /* stays writable when it is published */

/*
 * `habit` of a page of another home: how many times in a row it was published when there was a chance, from
 * which it becomes hot ...
 */
#define HABIT_HOT 3
#define HABIT_COOLED (-6) /* ... where a page begins that was hot in vain */
/* ... and of a page of many blocks at home: publications in a row that changed most blocks, negative, down to
 * ... */
#define HABIT_DENSE (-3)
/* ... where it goes without a twin for some intervals, counted down; then it is tried once more. */
#define HABIT_NO_TWIN 3
#define PAGE_AT_HOME 32 /* of a sparse region: the home's memory file holds the page */
#define PAGE_LOST 64	/* could not be fetched, and is poisoned: an access raises SIGBUS for good */
#define PAGE_OWED 128	/* hot: bytes of it are in the master whose version is not advanced: see publish.c */

struct page {
	/* All but the lock are under the lock. */
	atomic_uchar lock;
	uint8_t state; /* enum page_state */
	uint8_t flags;
	int8_t habit;
	uint32_t twin; /* slot plus one, 0: none */
};

struct page_table {
	struct page *pages;
	/*
	 * Versions of the bytes that this node holds, one for each block, plus one; 0: it holds none.
	 * Under the lock of the page.
	 */
	uint64_t *held;
	size_t count;
	unsigned blocks_per_page;
	size_t mapped_bytes;
};

/** @return 0 or -ENOMEM. All pages are unmapped, and nothing is held. */
int page_table_create(struct page_table *table, size_t pages, unsigned blocks_per_page);
void page_table_destroy(struct page_table *table);

/** Takes a page's lock if it is free. */
static inline bool page_try_lock(struct page *page)
{
	/* Acquire: pairs with page_unlock(); what the holder before us wrote to the page's fields and bytes
	 * is seen. */
	return !atomic_load_explicit(&page->lock, memory_order_relaxed) &&
	       !atomic_exchange_explicit(&page->lock, 1, memory_order_acquire);
}

/** Takes a page's lock; waits for its holder, first spinning, then sleeping. Async-signal-safe. */
void page_lock(struct page *page);

/** Pages [@first, @first + @count), in the order that everybody takes them in. */
void pages_lock(struct page_table *table, size_t first, size_t count);
void pages_unlock(struct page_table *table, size_t first, size_t count);

static inline void page_unlock(struct page *page)
{
	atomic_store_explicit(&page->lock, 0, memory_order_release); /* pairs with page_try_lock() */
}

#endif
