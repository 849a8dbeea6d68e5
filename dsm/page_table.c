#include "dsm/page_table.h"

#include <errno.h>
#include <sys/mman.h>

#include "dsm/backoff.h"

int page_table_create(struct page_table *table, size_t pages, unsigned blocks_per_page)
{
	size_t page_bytes = (pages * sizeof(struct page) + 63) & ~(size_t)63;
	size_t bytes = page_bytes + pages * blocks_per_page * sizeof(uint64_t);
	unsigned char *memory =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	*table = (struct page_table){
	    .pages = (struct page *)memory,
	    .held = (uint64_t *)(memory + page_bytes),
	    .count = pages,
	    .blocks_per_page = blocks_per_page,
	    .mapped_bytes = bytes,
	};
	return 0;
}

void page_table_destroy(struct page_table *table)
{
	if (table->pages)
		munmap(table->pages, table->mapped_bytes);
	table->pages = NULL;
}

void page_lock(struct page *page)
{
	/*
	 * The holder makes progress on its own: it waits for no page that is locked below its own, and for
	 * the fabric at most MINORCA_TIMEOUT, after which it ends the process or gives up. So this wait has a
	 * bound too.
	 */
	for (unsigned turns = 0; !page_try_lock(page);)
		backoff(&turns);
}

void pages_lock(struct page_table *table, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		page_lock(&table->pages[first + i]);
}

void pages_unlock(struct page_table *table, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		page_unlock(&table->pages[first + i]);
}
