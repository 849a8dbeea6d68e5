/*
 * The destination of a migration: the switch, the faults after it, the rest in the background.
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

/* In the background, at once: short, since a fault may come. */
#define BATCH_BYTES ((size_t)64 << 10)
#define IDLE_NS 50000
#define ASK_NS 20000000u
#define MAP_WAIT_NS 100000u
#define STEP_BACK_NS 100000u

/* --- what is out of date ------------------------------------------------------------------------------- */

/* How much of the map is there. Acquire: its words are; pairs with the order of the writes in
 * send_map_step(). No more than there are pages, whatever the source says. */
static size_t map_end(const struct migration *m)
{
	uint64_t end = atomic_load_explicit(&m->words->map_pages, memory_order_acquire);

	return end < m->region->table.count ? end : m->region->table.count;
}

/* Blocks of a page to be read: those that differ, by the map; all, where it has not come to. */
static uint64_t blocks_to_read(const struct migration *m, size_t page, bool *early)
{
	unsigned int blocks = m->region->blocks_per_page;

	*early = page >= map_end(m);
	if (*early)
		return blocks == 64 ? UINT64_MAX : 1;
	if (blocks == 1)
		return bit_is_set(m->words->map, page);
	return atomic_load_explicit(&m->words->map[page], memory_order_relaxed);
}

/* Reads blocks into the alias, neighbours together. The page is locked. */
static int read_blocks(struct migration *m, struct lane *lane, size_t page, uint64_t blocks)
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

/* Locked pages. Unlike pages_map() it un-maps nothing when it fails: a new migration may be noticing stores
 * by then. */
static int map_pages_writable(struct dsm_region *r, size_t first, size_t count)
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

	while (page >= map_end(m) && clock_ns() < until_ns)
		__builtin_ia32_pause();
}

static int complete_page(struct migration *m, struct lane *lane, size_t page)
{
	bool early = false;

	if (m->region->blocks_per_page > 1)
		wait_for_map(m, page);
	uint64_t blocks = bit_is_set(m->complete, page) ? 0 : blocks_to_read(m, page, &early);
	int error = blocks ? read_blocks(m, lane, page, blocks) : populate_pages(m->region, page, 1);

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
		error = map_pages_writable(r, page, 1);
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
	/* Held here, and nothing to be resolved: the fault was under way when the region became plain memory.
	 */
	if (!atomic_load(&m->resolves))
		return dsm_migrate_holder(r) == runtime.node ? 0 : -EACCES;
	atomic_fetch_add(&m->demand, 1);
	int error = resolve(m, lane, page);
	atomic_store_explicit(&m->latest, page, memory_order_relaxed);
	atomic_fetch_sub(&m->demand, 1);
	return error;
}

/* --- the background ------------------------------------------------------------------------------------ */

/* Whether a page is known to be out of date and has not been read. */
static bool is_left(const struct migration *m, size_t page)
{
	return m->region->blocks_per_page == 1
		   ? bit_is_set(m->words->map, page) && !bit_is_set(m->complete, page)
		   : m->words->map[page] && !bit_is_set(m->complete, page);
}

/* A word of 64 pages of which none is left, so that much need not be looked at. */
static bool none_left(const struct migration *m, size_t page)
{
	return m->region->blocks_per_page == 1 && !(page % 64) &&
	       !(atomic_load(&m->words->map[page / 64]) & ~atomic_load(&m->complete[page / 64]));
}

/* The first page from @first on that is left, before @end; @end if there is none. */
static size_t find_left(const struct migration *m, size_t first, size_t end)
{
	size_t page = first;

	while (page < end && !is_left(m, page))
		page += none_left(m, page) ? 64 : 1;
	return page < end ? page : end;
}

/* Locks pages from @first on that are left and that nobody is at. @return how many. */
static size_t lock_left(struct migration *m, size_t first, size_t end)
{
	struct dsm_region *r = m->region;
	size_t most = BATCH_BYTES >> r->page_shift, count = 0;

	while (first + count < end && count < (most ? most : 1) && is_left(m, first + count) &&
	       page_try_lock(&r->table.pages[first + count])) {
		/* Again, under the lock. */
		if (!is_left(m, first + count) || r->table.pages[first + count].state != PAGE_UNMAPPED) {
			page_unlock(&r->table.pages[first + count]);
			break;
		}
		count++;
	}
	return count;
}

static int bring(struct migration *m, struct lane *lane, size_t first, size_t count)
{
	bool early;
	int error = 0;

	for (size_t i = 0; i < count && !error; i++) {
		error = read_blocks(m, lane, first + i, blocks_to_read(m, first + i, &early));
		if (!error)
			bit_set(m->complete, first + i);
	}
	/* Stored to shortly before, they are likely to be touched soon. */
	return error ? error : map_pages_writable(m->region, first, count);
}

/* Brings in some pages from @first on. @return the page to go on with. */
static size_t bring_some(struct migration *m, size_t first, size_t end, int *error)
{
	sigset_t saved;

	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire();
	size_t count = lock_left(m, first, end);
	*error = count ? bring(m, lane, first, count) : 0;
	for (size_t i = 0; i < count; i++)
		page_unlock(&m->region->table.pages[first + i]);
	lane_release(lane);
	runtime_unblock_signals(&saved);
	return first + (count ? count : 1);
}

/* The first page that is left, from @first on and around; @end if there is none. */
static size_t find_left_around(const struct migration *m, size_t first, size_t end)
{
	size_t page = find_left(m, first, end);

	if (page < end)
		return page;
	page = find_left(m, 0, first < end ? first : end);
	return page < first ? page : end;
}

/* While a fault is being resolved; but not for long: where there is always one, the rest must come all the
 * same. */
static void step_back(const struct migration *m)
{
	uint64_t until_ns = clock_ns() + STEP_BACK_NS;

	while (atomic_load(&m->demand) && clock_ns() < until_ns)
		__builtin_ia32_pause();
}

/* Brings in what the map tells of so far, behind the latest fault first, until nothing is left of it, or it
 * is time to stay in touch. @return 0 or -errno. */
static int bring_round(struct migration *m, size_t end, uint64_t since_ns)
{
	uint64_t until_ns = clock_ns() + ASK_NS;
	size_t seen = atomic_load(&m->latest), from = seen, page;
	int error = 0;

	while (!error && !atomic_load(&m->stop) && clock_ns() < until_ns) {
		size_t latest = atomic_load(&m->latest);
		if (latest != seen)
			seen = from = latest;
		page = find_left_around(m, from < end ? from : 0, end);
		if (page == end ||
		    migration_throttle_ns(m, atomic_load(&m->progress.bytes_fetched), since_ns))
			break;
		step_back(m);
		from = bring_some(m, page, end, &error);
		migration_report(m);
	}
	return error;
}

static size_t count_left(const struct migration *m)
{
	size_t count = 0, end = map_end(m);

	for (size_t page = find_left(m, 0, end); page < end; page = find_left(m, page + 1, end))
		count++;
	return count;
}

/*
 * Nothing is missing by the map, which is complete: the region becomes plain memory, the source is told. Not
 * before all faults are over that may have begun when the map had not come so far: such a one reads a page
 * that is up to date, and the source's memory must be there until it has.
 */
static void become_independent(struct migration *m)
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

/* The source lives, and so does this node: each tells the other. @return 0; -EHOSTDOWN: it does not. */
static int stay_in_touch(struct migration *m, uint64_t *asked_ns)
{
	if (clock_ns() - *asked_ns < ASK_NS)
		return 0;
	*asked_ns = clock_ns();
	migration_tell(m, &m->words->target_beat, atomic_load(&m->words->target_beat) + 1);
	int error = peers_ask(m->peer);
	if (!error || !runtime.ops->memory_outlives_process)
		return error;
	/* Its memory is there all the same. It will say no more of the map: all that is not told of is read.
	 */
	size_t end = map_end(m), pages = m->region->table.count;
	for (size_t page = end; page < pages; page++) {
		if (m->region->blocks_per_page == 1)
			bit_set(m->words->map, page);
		else
			atomic_store(&m->words->map[page], UINT64_MAX);
	}
	atomic_store_explicit(&m->words->map_pages, pages, memory_order_release);
	return 0;
}

/* Whether all of the map is there, and nothing is left of it. */
static bool nothing_is_left(struct migration *m, size_t end)
{
	if (end == m->region->table.count && !atomic_load(&m->progress.mapped_ns)) {
		atomic_store(&m->progress.mapped_ns, clock_ns());
		migration_step(m, DSM_MIGRATION_FETCHING);
	}
	atomic_store(&m->progress.pages_left, count_left(m));
	return end == m->region->table.count && !atomic_load(&m->progress.pages_left);
}

static void *bring_rest(void *argument)
{
	struct migration *m = argument;
	uint64_t since_ns = clock_ns(), asked_ns = 0;
	int error = 0;

	while (!error && !atomic_load(&m->stop)) {
		size_t end = map_end(m);
		error = bring_round(m, end, since_ns);
		if (!error && nothing_is_left(m, end)) {
			become_independent(m);
			return NULL;
		}
		if (!error)
			error = stay_in_touch(m, &asked_ns);
		if (!error)
			migration_sleep(IDLE_NS);
	}
	if (!error)
		return (void *)(intptr_t)-ECANCELED; /* the region is being destroyed */
	report("node %d was lost while region %s came from it: dsm_migrate_lost() tells which pages are "
	       "missing; all "
	       "others are right",
	       m->peer, m->region->name);
	migration_step(m, DSM_MIGRATION_LOST);
	return (void *)(intptr_t)error;
}

static int start_background(struct migration *m)
{
	sigset_t all, saved;

	sigfillset(&all); /* the application's signals are for its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int error = -pthread_create(&m->background, NULL, bring_rest, m);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	m->background_runs = !error;
	return error;
}

int dsm_migrate_background(dsm_region *r)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || r->migration->role != ROLE_TARGET ||
	    !r->migration->switched || r->migration->background_runs)
		return -EINVAL;
	int error = start_background(r->migration);
	errno = saved_errno;
	return error;
}

int migration_join(struct migration *m)
{
	void *result;

	if (!m->background_runs) {
		if (m->options.mode != DSM_MIGRATION_PRE_COPY &&
		    m->options.mode != DSM_MIGRATION_STOP_AND_COPY)
			return -EINVAL; /* no_background, and nobody has asked for the rest */
		m->role = ROLE_NONE;
		return 0;
	}
	pthread_join(m->background, &result);
	m->background_runs = false;
	m->role = ROLE_NONE;
	return (int)(intptr_t)result;
}

/* --- the switch ---------------------------------------------------------------------------------------- */

/* What the map says without the source, by the mode. */
static void begin_map(struct migration *m)
{
	struct dsm_region *r = m->region;
	size_t pages = r->table.count, words = (pages * r->blocks_per_page + 63) / 64;

	atomic_store(&m->latest, 0);
	atomic_store(&m->stop, false);
	if (m->options.mode != DSM_MIGRATION_POST_COPY)
		return;
	for (size_t word = 0; word < words; word++)
		atomic_store_explicit(&m->words->map[word], UINT64_MAX, memory_order_relaxed);
	atomic_store_explicit(&m->words->map_pages, pages, memory_order_release);
}

static int take_over(struct migration *m)
{
	bool all_is_here =
	    m->options.mode == DSM_MIGRATION_PRE_COPY || m->options.mode == DSM_MIGRATION_STOP_AND_COPY;

	m->switched = true;
	atomic_store(&m->holder, runtime.node);
	atomic_store(&m->progress.switched_ns, clock_ns());
	begin_map(m);
	atomic_store(&m->resolves, true);
	if (all_is_here)
		become_independent(m);
	else
		atomic_store(&m->progress.step, DSM_MIGRATION_MAPPING);
	/* If the source is lost by now, what is here is what there is, and the user may go on all the same.
	 */
	migration_tell(m, &m->words->resumed, m->epoch);
	atomic_store(&m->progress.resumed_ns, clock_ns());
	return all_is_here || m->options.no_background ? 0 : start_background(m);
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
		*bytes = size; /* also if there is no thread: this node holds the region from here on */
		error = take_over(m);
	}
	errno = saved_errno;
	return error;
}

/* --- what is lost -------------------------------------------------------------------------------------- */

int dsm_migrate_lost(const dsm_region *r, struct dsm_page_range *out, size_t capacity, size_t *count)
{
	size_t ranges = 0, run = 0;

	if (!r || !r->migration)
		return -EINVAL;
	const struct migration *m = r->migration;
	bool lost =
	    atomic_load(&m->progress.step) == DSM_MIGRATION_LOST && dsm_migrate_holder(r) == runtime.node;
	for (size_t page = 0; page <= r->table.count; page++) {
		if (lost && page < r->table.count && !bit_is_set(m->complete, page) &&
		    (page >= map_end(m) || is_left(m, page))) {
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
