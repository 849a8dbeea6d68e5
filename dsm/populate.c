#include "dsm/populate.h"

#include <errno.h>
#include <signal.h>

#include "dsm/lane.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

static int allocate(struct dsm_region *r, size_t first, size_t count)
{
	size_t page_bytes = region_page_bytes(r);
	int error;

	do
		error = memory_allocate(r->fd, first * page_bytes, count * page_bytes);
	while (error == -EINTR);
	for (size_t i = 0; !error && i < count; i++)
		r->table.pages[first + i].flags |= PAGE_IN_FILE;
	return error;
}

int populate_pages(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!(r->table.pages[first + i].flags & PAGE_IN_FILE))
			return allocate(r, first + i, count - i);
	return 0;
}

/* shmem has no pool: whoever stores allocates. A transport that pins memory has all of it. */
static bool may_be_missing_at_home(const struct dsm_region *r)
{
	return r->sparse && r->hugetlb && runtime.ops->populate;
}

int region_populate_home(struct dsm_region *r, size_t page)
{
	struct page *p = &r->table.pages[page];
	int home = home_of(&r->home, page);

	if (!may_be_missing_at_home(r))
		return 0;
	if (p->flags & PAGE_AT_HOME)
		return 0;
	int error = home == runtime.node ? populate_pages(r, page, 1)
					 : runtime.ops->populate(runtime.transport, home, SEGMENT_DATA(r->id),
								 page << r->page_shift, region_page_bytes(r));
	if (!error)
		p->flags |= PAGE_AT_HOME;
	return error;
}

bool populate_is_needed(const struct dsm_region *r, size_t page)
{
	return may_be_missing_at_home(r) &&
	       !(__atomic_load_n(&r->table.pages[page].flags, __ATOMIC_RELAXED) & PAGE_AT_HOME);
}

int populate_home_at(const void *address)
{
	struct dsm_region *r;
	size_t page, count;
	sigset_t saved;

	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire();
	int error = region_find_range(address, 1, &r, &page, &count);
	if (!error) {
		page_lock(&r->table.pages[page]);
		error = region_populate_home(r, page);
		page_unlock(&r->table.pages[page]);
	}
	lane_release(lane);
	runtime_unblock_signals(&saved);
	return error;
}
