/*
 * Why a page that was fetched is right: its versions are read before its data. A publisher writes data first
 * and advances the version after (publish.c), so data read here is at least as new as the version that is
 * remembered for it. If it is newer, the remembered version is too old, and the worst that follows is that
 * the block is read once more.
 *
 * Blocks of a page that its home is storing to are the exception: their bytes may be of no version at all.
 * See region.h; the page's interval is read before and after the data.
 */
#include "dsm/fetch.h"

#include <errno.h>
#include <string.h>

#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "dsm/trace.h"

size_t fetch_pages_max(const struct dsm_region *r)
{
	return LANE_SCRATCH_BYTES / sizeof(uint64_t) / (r->words_per_page + 1);
}

static int post_versions(struct lane *lane, struct dsm_region *r, int home, size_t first, size_t count)
{
	return runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_VERSIONS(r->id),
				      region_versions_offset(r, first), lane->scratch,
				      count * r->words_per_page * sizeof(uint64_t));
}

static int post_blocks(struct lane *lane, struct dsm_region *r, int home, size_t first_block, size_t count)
{
	size_t offset = first_block << r->block_shift;

	return runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_DATA(r->id), offset,
				      r->alias + offset, count << r->block_shift);
}

/* True if the data will be needed whatever the versions are, and asking first would cost a round trip. */
static bool read_in_one_chain(const struct dsm_region *r, int home, size_t first, size_t count)
{
	if (runtime.ops->is_near(runtime.transport, home))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!(r->table.pages[first + i].flags & PAGE_STALE) &&
		    r->table.held[(first + i) * r->blocks_per_page])
			return false;
	/* Stale says nothing of each block of a page of many: look. */
	return r->blocks_per_page == 1;
}

/* What was read of the versions of a page. */
static const uint64_t *versions_of(const struct lane *lane, const struct dsm_region *r, size_t i)
{
	return (const uint64_t *)(const void *)lane->scratch + i * r->words_per_page;
}

static bool is_stale(uint64_t held, uint64_t version)
{
	return version && held != version + 1;
}

/*
 * Posts reads for the blocks that are out of date, neighbours together, also of neighbouring pages. Nothing
 * is read of blocks that nobody ever published: they are zero at home, and zero here if nothing was ever
 * held.
 */
static int post_stale_blocks(struct lane *lane, struct dsm_region *r, int home, size_t first, size_t count)
{
	size_t block = first * r->blocks_per_page, run = 0; /* blocks before `block` that are to be read */
	int error = 0;

	for (size_t i = 0; i < count && !error; i++) {
		const uint64_t *versions = versions_of(lane, r, i), *held = r->table.held + block;
		for (unsigned b = 0; b < r->blocks_per_page && !error; b++, block++) {
			if (is_stale(held[b], versions[b])) {
				run++;
			} else if (run) {
				error = post_blocks(lane, r, home, block - run, run);
				run = 0;
			}
		}
	}
	return run && !error ? post_blocks(lane, r, home, block - run, run) : error;
}

/* Where the interval of a page is read to once more, after its data. */
static uint64_t *interval_after(const struct lane *lane, const struct dsm_region *r, size_t count, size_t i)
{
	return (uint64_t *)(void *)lane->scratch + count * r->words_per_page + i;
}

/* Pages of many blocks: posts reads of their intervals, behind those of the data. */
static int post_intervals(struct lane *lane, struct dsm_region *r, int home, size_t first, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && r->blocks_per_page > 1 && !error; i++)
		error = runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_VERSIONS(r->id),
					       region_versions_offset(r, first + i) +
						   r->blocks_per_page * sizeof(uint64_t),
					       interval_after(lane, r, count, i), sizeof(uint64_t));
	return error;
}

/* True if the home may have been storing to the page while its data were read: then they may be of no
 * version. */
static bool is_uncertain(const struct lane *lane, const struct dsm_region *r, size_t count, size_t i)
{
	if (r->blocks_per_page == 1)
		return false;
	uint64_t before = versions_of(lane, r, i)[r->blocks_per_page];
	return before % 2 || before != *interval_after(lane, r, count, i);
}

/* Remembers what is held now, and counts. Blocks that were read uncertainly count as one version behind: they
 * are read again when the page has been un-mapped, which the home's log sees to. Returns how many blocks were
 * read. */
static unsigned remember(struct lane *lane, struct dsm_region *r, size_t page, const uint64_t *versions,
			 bool uncertain)
{
	uint64_t *held = r->table.held + page * r->blocks_per_page;
	unsigned read = 0;
	bool zero = true;

	for (unsigned b = 0; b < r->blocks_per_page; b++) {
		bool stale = is_stale(held[b], versions[b]);
		read += stale;
		zero &= !versions[b] && !held[b];
		held[b] = stale && uncertain ? versions[b] : versions[b] + 1;
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
static int finish(struct lane *lane, int home, int posted)
{
	int completed = runtime.ops->complete(runtime.transport, lane);

	return peers_note(home, posted ? posted : completed);
}

/* What was read without a look at the versions before is undefined if it failed, also where what was held was
 * current. */
static void forget(struct dsm_region *r, size_t first, size_t count)
{
	memset(r->table.held + first * r->blocks_per_page, 0,
	       count * r->blocks_per_page * sizeof *r->table.held);
}

int fetch_pages(struct lane *lane, struct dsm_region *r, size_t first, size_t count)
{
	size_t first_block = first * r->blocks_per_page, blocks = count * r->blocks_per_page;
	int home = home_of(&r->home, first);
	int error = peers_reach(home);

	if (error)
		return error;
	/* hugetlb: an empty pool must be an error here, not a SIGBUS at the alias. shmem has no pool, and
	 * storing to the alias allocates; only a page to which nothing is stored needs it done, below. */
	if (r->hugetlb) {
		error = populate_pages(r, first, count);
		if (error)
			return error;
	}
	trace_moment(lane, DSM_MOMENT_PREPARED);
	bool one_chain = read_in_one_chain(r, home, first, count);
	error = post_versions(lane, r, home, first, count);
	if (!error && one_chain)
		error = post_blocks(lane, r, home, first_block, blocks);
	error = finish(lane, home, error);
	if (!error && !one_chain) {
		trace_moment(lane, DSM_MOMENT_ASKED);
		error = post_stale_blocks(lane, r, home, first, count);
		error = finish(lane, home, error ? error : post_intervals(lane, r, home, first, count));
	}
	trace_moment(lane, DSM_MOMENT_READ);
	if (error) {
		if (one_chain)
			forget(r, first, count);
		return error;
	}

	size_t read = 0;
	for (size_t i = 0; i < count; i++)
		read +=
		    remember(lane, r, first + i, versions_of(lane, r, i), is_uncertain(lane, r, count, i));
	stats_add(&lane->stats.blocks_fetched, read);
	stats_add(&lane->stats.bytes_fetched, (one_chain ? blocks : read) << r->block_shift);
	return r->hugetlb ? 0 : populate_pages(r, first, count);
}
