/*
 * Why a page that was fetched is right: its versions are read before its data. A publisher writes data first
 * and advances the version after (release.c), so data read here is at least as new as the version that is
 * remembered for it. If it is newer, the remembered version is too old, and the worst that follows is that
 * the block is read once more.
 */
#include "dsm/fetch.h"

#include <errno.h>
#include <string.h>

#include "dsm/lane.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "kernel/memory.h"

size_t fetch_pages_max(const struct dsm_region *r)
{
	return LANE_SCRATCH_BYTES / sizeof(uint64_t) / r->blocks_per_page;
}

static int post_versions(struct lane *lane, struct dsm_region *r, int home, size_t first, size_t count)
{
	return runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_VERSIONS(r->id),
				      first * r->blocks_per_page * sizeof(uint64_t), lane->scratch,
				      count * r->blocks_per_page * sizeof(uint64_t));
}

static int post_blocks(struct lane *lane, struct dsm_region *r, int home, size_t first_block, size_t count)
{
	size_t offset = first_block << r->block_shift;

	return runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_DATA(r->id), offset,
				      r->alias + offset, count << r->block_shift);
}

/*
 * Sees to it that the file holds the pages. hugetlb: an empty pool must be an error here, not a SIGBUS at the
 * alias. shmem has no pool, and storing to the alias allocates; only a page to which nothing will be stored
 * needs it done.
 */
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

static int allocate_missing(struct dsm_region *r, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!(r->table.pages[first + i].flags & PAGE_IN_FILE))
			return allocate(r, first + i, count - i);
	return 0;
}

/* True if the data will be needed whatever the versions are, and asking first would cost a round trip. */
static bool read_in_one_chain(const struct dsm_region *r, size_t first, size_t count)
{
	if (runtime.ops->round_trip_is_free)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!(r->table.pages[first + i].flags & PAGE_STALE) &&
		    r->table.held[(first + i) * r->blocks_per_page])
			return false;
	/* Stale says nothing of each block of a page of many: look. */
	return r->blocks_per_page == 1;
}

/* Posts reads for the blocks that are out of date, neighbours together. Nothing is read of blocks that nobody
 * ever published: they are zero at home, and zero here if nothing was ever held. */
static int post_stale_blocks(struct lane *lane, struct dsm_region *r, int home, size_t first_block,
			     size_t count)
{
	const uint64_t *versions = (const uint64_t *)(void *)lane->scratch;
	const uint64_t *held = r->table.held + first_block;
	size_t run = 0;

	for (size_t i = 0; i < count; i++) {
		if (versions[i] && held[i] != versions[i] + 1) {
			run++;
			continue;
		}
		if (run) {
			int error = post_blocks(lane, r, home, first_block + i - run, run);
			if (error)
				return error;
		}
		run = 0;
	}
	return run ? post_blocks(lane, r, home, first_block + count - run, run) : 0;
}

/* Remembers what is held now, and counts. Returns how many blocks of the page were read. */
static unsigned remember(struct lane *lane, struct dsm_region *r, size_t page, const uint64_t *versions)
{
	uint64_t *held = r->table.held + page * r->blocks_per_page;
	unsigned read = 0;
	bool zero = true;

	for (unsigned b = 0; b < r->blocks_per_page; b++) {
		read += versions[b] && held[b] != versions[b] + 1;
		zero &= !versions[b] && !held[b];
		held[b] = versions[b] + 1;
	}
	r->table.pages[page].flags &= (uint8_t)~PAGE_STALE;
	if (read)
		r->table.pages[page].flags |= PAGE_IN_FILE;
	stats_add(zero			       ? &lane->stats.pages_zero
		  : !read		       ? &lane->stats.pages_current
		  : read == r->blocks_per_page ? &lane->stats.pages_full
					       : &lane->stats.pages_partial,
		  1);
	return read;
}

/* Waits for what was posted, also when posting failed on the way: nothing may arrive once the lane is let go.
 */
static int finish(struct lane *lane, int posted)
{
	int completed = runtime.ops->complete(runtime.transport, lane);

	return posted ? posted : completed;
}

int fetch_pages(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	const uint64_t *versions = (const uint64_t *)(void *)lane->scratch;
	size_t first_block = first * r->blocks_per_page, blocks = count * r->blocks_per_page;
	int home = home_of(&r->home, first);
	int error;

	if (r->hugetlb) {
		error = allocate_missing(r, first, count);
		if (error)
			return error;
	}
	bool one_chain = read_in_one_chain(r, first, count);
	error = post_versions(lane, r, home, first, count);
	if (!error && one_chain)
		error = post_blocks(lane, r, home, first_block, blocks);
	error = finish(lane, error);
	if (!error && !one_chain)
		error = finish(lane, post_stale_blocks(lane, r, home, first_block, blocks));
	if (error)
		return error;

	size_t read = 0;
	for (size_t i = 0; i < count; i++)
		read += remember(lane, r, first + i, versions + i * r->blocks_per_page);
	stats_add(&lane->stats.blocks_fetched, read);
	stats_add(&lane->stats.bytes_fetched, (one_chain ? blocks : read) << r->block_shift);
	return r->hugetlb ? 0 : allocate_missing(r, first, count);
}
