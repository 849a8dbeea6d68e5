/*
 * The destination of a migration: what is out of date, the faults on it, the switch, what is lost.
 *
 * Why a page is right when it is mapped. The source's user is paused before `switched` is written, so from
 * then on what is read from the source is the last there is. The words of the map are written before
 * `map_pages` says so, and read after. A page is `complete` when it is up to date by the map or has been
 * read; both are done, and noted, under its lock.
 */
#include "dsm/migration.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "dsm/clock.h"
#include "dsm/fault.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "dsm/trace.h"
#include "kernel/uffd.h"

/* About as long as to read 2 MiB: whoever waits in vain has lost no more than that. */
#define MAP_WAIT_NS 300000u

/* --- what is out of date ------------------------------------------------------------------------------- */

/* Acquire: its words are there, too; pairs with the order of the writes in send_words(). No more than
 * there are pages, whatever the source says. */
size_t migration_map_end(const struct migration *m)
{
	uint64_t end = atomic_load_explicit(&m->words->map_pages, memory_order_acquire);

	return end < m->region->table.count ? end : m->region->table.count;
}

/* Acquire: a word for each page is there, too; pairs with the order of the writes in send_outline(). */
static bool is_outlined(const struct migration *m)
{
	return atomic_load_explicit(&m->words->outlined, memory_order_acquire) == m->epoch;
}

bool migration_is_told_of(const struct migration *m, size_t page)
{
	return page < migration_map_end(m) || is_outlined(m);
}

static uint64_t blocks_by_map(const struct migration *m, size_t page)
{
	unsigned int blocks = m->region->blocks_per_page;

	if (!migration_is_told_of(m, page))
		return blocks == 64 ? UINT64_MAX : 1;
	if (blocks == 1)
		return bit_is_set(m->words->map, page);
	return atomic_load_explicit(&m->words->map[page], memory_order_relaxed);
}

uint64_t migration_blocks_to_read(const struct migration *m, size_t page, bool *early)
{
	bool told_all = page < migration_map_end(m);
	uint64_t blocks = blocks_by_map(m, page);

	*early = blocks && !told_all;
	return blocks;
}

bool migration_is_left(const struct migration *m, size_t page)
{
	return m->region->blocks_per_page == 1
		   ? bit_is_set(m->words->map, page) && !bit_is_set(m->complete, page)
		   : m->words->map[page] && !bit_is_set(m->complete, page);
}

int migration_read_blocks(struct migration *m, struct lane *lane, size_t page, uint64_t blocks)
{
	struct dsm_region *r = m->region;
	uint64_t read = (uint64_t)__builtin_popcountll(blocks);
	int error = peers_reach(m->peer);

	/* hugetlb: an empty pool must be an error here, not a SIGBUS at the alias. Storing to shmem
	 * allocates. */
	if (!error && r->hugetlb)
		error = populate_pages(r, page, 1);
	while (blocks && !error) {
		unsigned int first = (unsigned int)__builtin_ctzll(blocks);
		uint64_t rest = ~(blocks >> first);
		unsigned int count = rest ? (unsigned int)__builtin_ctzll(rest) : 64 - first;
		size_t offset = (page << r->page_shift) + ((size_t)first << r->block_shift);
		error = runtime.ops->post_read(runtime.transport, lane, m->peer, SEGMENT_DATA(r->id), offset,
					       r->alias + offset, (size_t)count << r->block_shift);
		blocks &= count + first == 64 ? ((uint64_t)1 << first) - 1 : UINT64_MAX << (count + first);
	}
	int completed = runtime.ops->complete(runtime.transport, lane);
	error = peers_note(m->peer, error ? error : completed);
	if (error)
		return error;
	r->table.pages[page].flags |= PAGE_IN_FILE;
	stats_add(&lane->stats.blocks_fetched, read);
	stats_add(&lane->stats.bytes_fetched, read << r->block_shift);
	atomic_fetch_add_explicit(&m->progress.bytes_fetched, read << r->block_shift, memory_order_relaxed);
	return 0;
}

/* Unlike pages_map() it un-maps nothing when it fails: a new migration may be noticing stores by then. */
int migration_map_pages(struct dsm_region *r, size_t first, size_t count)
{
	uint64_t mode =
	    r->inline_delivery ? UFFDIO_CONTINUE_MODE_DONTWAKE : 0; /* nobody waits in the kernel */
	size_t page_bytes = region_page_bytes(r), existed = 0;
	int error =
	    uffd_continue_all(r->uffd, region_app(r, first), count * page_bytes, page_bytes, mode, &existed);

	/* Pages that were mapped already: threads may wait for them, and CONTINUE has not woken those. */
	if (!error && existed && !r->inline_delivery)
		error = uffd_wake(r->uffd, region_app(r, first), count * page_bytes);
	if (error == -ENOENT) /* the migration ended meanwhile: whoever touches the page tries again */
		return 0;
	for (size_t i = 0; i < count && !error; i++)
		r->table.pages[first + i].state = PAGE_WRITE;
	return error;
}

/* --- faults -------------------------------------------------------------------------------------------- */

/* Reading a large page takes longer than the map may need to come to it: that is waited for, a little. */
static void wait_for_map(const struct migration *m, size_t page)
{
	uint64_t until_ns = clock_ns() + MAP_WAIT_NS;

	while (page >= migration_map_end(m) && blocks_by_map(m, page) && clock_ns() < until_ns)
		__builtin_ia32_pause();
}

/* What the background reads would be in its way. */
static int read_on_demand(struct migration *m, struct lane *lane, size_t page, uint64_t blocks)
{
	atomic_fetch_add(&m->demand, 1);
	int error = migration_read_blocks(m, lane, page, blocks);
	atomic_fetch_sub(&m->demand, 1);
	return error;
}

static int complete_page(struct migration *m, struct lane *lane, size_t page)
{
	bool early = false;

	if (m->region->blocks_per_page > 1)
		wait_for_map(m, page);
	uint64_t blocks = bit_is_set(m->complete, page) ? 0 : migration_blocks_to_read(m, page, &early);
	int error = blocks ? read_on_demand(m, lane, page, blocks) : populate_pages(m->region, page, 1);

	if (error)
		return error;
	bit_set(m->complete, page);
	if (early)
		atomic_fetch_add_explicit(&m->progress.faults_early, 1, memory_order_relaxed);
	else if (!blocks)
		atomic_fetch_add_explicit(&m->progress.faults_current, 1, memory_order_relaxed);
	stats_add(!blocks						    ? &lane->stats.pages_current
		  : blocks == UINT64_MAX || m->region->blocks_per_page == 1 ? &lane->stats.pages_full
									    : &lane->stats.pages_partial,
		  1);
	return 0;
}

static int resolve(struct migration *m, struct lane *lane, size_t page)
{
	struct dsm_region *r = m->region;
	int error = r->table.pages[page].flags & PAGE_LOST ? -EHOSTDOWN : 0;

	if (!error && r->table.pages[page].state == PAGE_UNMAPPED)
		error = complete_page(m, lane, page);
	trace_moment(lane, DSM_MOMENT_READY);
	if (!error) {
		/* Before the thread that has faulted goes on: it may ask at once whether it has. */
		atomic_fetch_add_explicit(&m->progress.faults, 1, memory_order_relaxed);
		error = migration_map_pages(r, page, 1);
	}
	trace_moment(lane, DSM_MOMENT_MAPPED);
	return error;
}

int migration_fault(struct lane *lane, struct dsm_region *r, size_t page, bool write, bool present)
{
	struct migration *m = r->migration;

	stats_add(present ? &lane->stats.faults_upgrade
		  : write ? &lane->stats.faults_write
			  : &lane->stats.faults_read,
		  1);
	if (atomic_load(&m->tracking) == TRACKING_BY_FAULTS)
		return migration_note_store(m, page);
	/* Held here, and nothing to be resolved: the fault was under way when the region became plain memory,
	 * or it could not become so. */
	if (!atomic_load(&m->resolves))
		return dsm_migrate_holder(r) == runtime.node ? migration_unprotect(r, page) : -EACCES;
	int error = resolve(m, lane, page);
	atomic_store_explicit(&m->latest, page, memory_order_relaxed);
	return error;
}

void migration_page_lost(struct dsm_region *r, size_t page)
{
	struct migration *m = r->migration;

	if (bit_is_set(m->lost, page))
		return;
	bit_set(m->lost, page);
	atomic_fetch_add(&m->lost_count, 1);
	bit_set(m->complete, page); /* the background leaves it alone */
}

/* --- the switch ---------------------------------------------------------------------------------------- */

/* Not before all faults are over that may have begun when the map had not come so far: such a one reads a
 * page that is up to date, and the source's memory must be there until it has. */
void migration_become_independent(struct migration *m)
{
	struct dsm_region *r = m->region;

	lanes_quiesce(); /* each fault holds one */
	int error = uffd_unregister(r->uffd, r->app, r->bytes);
	if (error) { /* then faults go on being resolved, from what is here */
		report("region %s cannot be unregistered from userfaultfd (%s): each page costs a fault yet",
		       r->name, strerror(-error));
		for (size_t page = 0; page < r->table.count; page++)
			bit_set(m->complete, page);
	}
	atomic_store(&m->resolves, error != 0);
	atomic_store(&m->progress.done_ns, clock_ns());
	migration_step(m, DSM_MIGRATION_DONE);
	/* If the source is lost by now, nobody needs to know. */
	migration_tell(m, &m->words->done, m->epoch);
}

/* What the map says without the source, by the mode. */
static void begin_map(struct migration *m)
{
	struct dsm_region *r = m->region;
	size_t pages = r->table.count, words = (pages * r->blocks_per_page + 63) / 64;

	atomic_store(&m->latest, 0);
	if (m->options.mode != DSM_MIGRATION_POST_COPY)
		return;
	for (size_t word = 0; word < words; word++)
		atomic_store_explicit(&m->words->map[word], UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&m->words->map_pages, pages, memory_order_release);
}

static void take_over(struct migration *m)
{
	bool all_is_here =
	    m->options.mode == DSM_MIGRATION_PRE_COPY || m->options.mode == DSM_MIGRATION_STOP_AND_COPY;

	m->switched = true;
	atomic_store(&m->holder, runtime.node);
	atomic_store(&m->progress.switched_ns, clock_ns());
	begin_map(m);
	atomic_store(&m->resolves, true);
	if (all_is_here)
		migration_become_independent(m);
	else
		atomic_store(&m->progress.step, DSM_MIGRATION_MAPPING);
	/* If the source is lost by now, what is here is what there is, and the user may go on all the same.
	 */
	migration_tell(m, &m->words->resumed, m->epoch);
	atomic_store(&m->progress.resumed_ns, clock_ns());
	if (m->background_runs)
		sem_post(&m->go);
}

int dsm_migrate_await(dsm_region *r, void *state, size_t capacity, size_t *bytes)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || r->migration->role != ROLE_TARGET ||
	    r->migration->switched)
		return -EINVAL;
	struct migration *m = r->migration;
	int error = migration_wait(m, &m->words->switched, &m->words->source_over, &m->words->source_beat);
	if (error && error != -ETIMEDOUT)
		error = migration_settle(m, error, "dsm_migrate_await()");
	size_t size = atomic_load(&m->words->state_bytes);
	if (!error && size > DSM_MIGRATION_STATE_BYTES)
		error = -EPROTO;
	if (!error && size > capacity)
		error = -EMSGSIZE;
	if (!error) {
		if (size) /* @state may be NULL otherwise */
			memcpy(state, m->words->state, size);
		*bytes = size;
		take_over(m);
	}
	errno = saved_errno;
	return error;
}

/* --- what is lost -------------------------------------------------------------------------------------- */

/* Poisoned; or nobody has touched it, and it can be had no more. */
static bool is_page_lost(const struct migration *m, size_t page)
{
	if (bit_is_set(m->lost, page))
		return true;
	return atomic_load(&m->progress.step) == DSM_MIGRATION_LOST &&
	       dsm_migrate_holder(m->region) == runtime.node && !bit_is_set(m->complete, page) &&
	       (!migration_is_told_of(m, page) || migration_is_left(m, page));
}

int dsm_migrate_lost(const dsm_region *r, struct dsm_page_range *out, size_t capacity, size_t *count)
{
	size_t ranges = 0, run = 0;

	if (!r || !r->migration)
		return -EINVAL;
	const struct migration *m = r->migration;
	for (size_t page = 0; page <= r->table.count; page++) {
		if (page < r->table.count && is_page_lost(m, page)) {
			run++;
			continue;
		}
		if (run && ranges < capacity)
			out[ranges] = (struct dsm_page_range){page - run, run};
		ranges += run > 0;
		run = 0;
	}
	*count = ranges;
	return 0;
}
