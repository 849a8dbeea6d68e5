/*
 * The destination of a migration brings in the rest: a thread that reads what the map tells of, next what
 * lies behind the latest fault, steps back while a fault reads, and ends when nothing is left, or
 * nothing more can be had.
 */
#include "dsm/migration.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/clock.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* At once: short, since a fault may come. */
#define BATCH_BYTES ((size_t)64 << 10)
#define IDLE_NS 50000
#define ASK_NS 20000000u
#define COUNT_NS 200000000u
#define RETRY_NS 10000000u
#define STEP_BACK_NS 100000u

/* What its thread knows. */
struct background {
	uint64_t since_ns;     /* it began */
	uint64_t asked_ns;     /* it last stayed in touch */
	uint64_t counted_ns;   /* it last counted what is left */
	uint64_t fetched;      /* bytes, when ... */
	uint64_t failing_ns;   /* ... it began to get nothing done; 0: it gets on */
	uint64_t map, beat;    /* where the source was with the map, when ... */
	uint64_t map_moved_ns; /* ... it last got on with it */
};

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

	while (page < end && !migration_is_left(m, page))
		page += none_left(m, page) ? 64 : 1;
	return page < end ? page : end;
}

/* Locks pages from @first on that are left and that nobody is at. @return how many. */
static size_t lock_left(struct migration *m, size_t first, size_t end)
{
	struct dsm_region *r = m->region;
	size_t most = BATCH_BYTES >> r->page_shift, count = 0;

	while (first + count < end && count < (most ? most : 1) && migration_is_left(m, first + count) &&
	       page_try_lock(&r->table.pages[first + count])) {
		/* Again, under the lock. */
		if (!migration_is_left(m, first + count) ||
		    r->table.pages[first + count].state != PAGE_UNMAPPED) {
			page_unlock(&r->table.pages[first + count]);
			break;
		}
		count++;
	}
	return count;
}

/* Small pages that have no memory yet, together: storing to each would be a fault, and takes a third longer.
 */
static int allocate_batch(struct migration *m, size_t first, size_t count)
{
	struct dsm_region *r = m->region;

	if (r->hugetlb || r->table.pages[first].flags & PAGE_IN_FILE)
		return 0;
	int error = populate_pages(r, first, count);
	if (!error) /* else they are mapped one by one */
		madvise(region_alias(r, first), count << r->page_shift, MADV_POPULATE_WRITE);
	return error;
}

static int bring(struct migration *m, struct lane *lane, size_t first, size_t count)
{
	int error = allocate_batch(m, first, count);
	bool early;

	for (size_t i = 0; i < count && !error; i++) {
		error =
		    migration_read_blocks(m, lane, first + i, migration_blocks_to_read(m, first + i, &early));
		if (!error)
			bit_set(m->complete, first + i);
	}
	/* Stored to shortly before, they are likely to be touched soon. */
	return error ? error : migration_map_pages(m->region, first, count);
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

/* While a fault reads; but not for long: where there is always one, the rest must come all the
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
	size_t count = 0, end = migration_map_end(m);

	for (size_t page = find_left(m, 0, end); page < end; page = find_left(m, page + 1, end))
		count++;
	return count;
}

/* The source will say no more of the map: all that is not told of is read. If it does say more later, which
 * it may until it has said `map_over`, that is as right. */
static void end_map(struct migration *m)
{
	size_t end = migration_map_end(m), pages = m->region->table.count;

	for (size_t page = end; page < pages; page++) {
		if (migration_is_told_of(m, page))
			continue;
		if (m->region->blocks_per_page == 1)
			bit_set(m->words->map, page);
		else
			atomic_store(&m->words->map[page], UINT64_MAX);
	}
	atomic_store_explicit(&m->words->map_pages, pages, memory_order_release);
}

/* Whether no more of the map comes, or it is not worth waiting for. */
static bool has_map_ended(struct migration *m, struct background *b)
{
	struct migration_words *words = m->words;
	uint64_t now_ns = clock_ns(), beat = atomic_load(&words->source_beat);
	/* Acquire: then, all that was written of the map is here. */
	bool over = atomic_load_explicit(&words->map_over, memory_order_acquire) == m->epoch;
	size_t map = migration_map_end(m);

	if (map == m->region->table.count)
		return false; /* it is all here */
	if (map != b->map || beat != b->beat || !b->map_moved_ns)
		b->map_moved_ns = now_ns;
	b->map = map;
	b->beat = beat;
	return over || now_ns - b->map_moved_ns > runtime.settings.timeout_ns;
}

/* The source lives, and so does this node: each tells the other. @return 0; -EHOSTDOWN: it does not. */
static int stay_in_touch(struct migration *m, struct background *b)
{
	if (clock_ns() - b->asked_ns < ASK_NS)
		return 0;
	b->asked_ns = clock_ns();
	migration_tell(m, &m->words->target_beat, atomic_load(&m->words->target_beat) + 1);
	int error = peers_ask(m->peer);
	if (error || has_map_ended(m, b))
		end_map(m);
	return runtime.ops->memory_outlives_process ? 0 : error; /* a dead source's memory may be there */
}

/* Whether all of the map is there, and nothing is left of it. */
static bool nothing_is_left(struct migration *m, struct background *b, size_t end)
{
	bool nothing = end == m->region->table.count && find_left(m, 0, end) == end;

	if (end == m->region->table.count && !atomic_load(&m->progress.mapped_ns)) {
		atomic_store(&m->progress.mapped_ns, clock_ns());
		migration_step(m, DSM_MIGRATION_FETCHING);
	}
	/* Not each time: there may be millions of pages. */
	if (nothing || clock_ns() - b->counted_ns > COUNT_NS) {
		b->counted_ns = clock_ns();
		atomic_store(&m->progress.pages_left, nothing ? 0 : count_left(m));
	}
	return nothing;
}

/* Errors that say that the source cannot be reached, and will not be. Others are of this node's own doing. */
static bool is_lost(int error)
{
	return error == -EHOSTDOWN || error == -ETIMEDOUT;
}

/* Memory, say, may be had later. @return 0: try again; @error: for MINORCA_TIMEOUT nothing came, or the
 * source is lost. */
static int put_up_with(struct migration *m, struct background *b, int error)
{
	uint64_t fetched = atomic_load(&m->progress.bytes_fetched), now_ns = clock_ns();

	if (!error || fetched != b->fetched)
		b->failing_ns = 0;
	b->fetched = fetched;
	if (!error || is_lost(error))
		return error;
	if (!b->failing_ns) {
		b->failing_ns = now_ns;
		report(
		    "region %s: this node cannot bring in what is left at node %d (%s%s); it goes on trying",
		    m->region->name, m->peer, strerror(-error),
		    error == -ENOSPC ? ": the pool of hugepages is empty" : "");
	}
	migration_sleep(RETRY_NS);
	return now_ns - b->failing_ns < runtime.settings.timeout_ns ? 0 : error;
}

/* Without all pages. @return -errno. */
static int give_up(struct migration *m, int error)
{
	if (!is_lost(error)) {
		report("region %s: nothing could be brought in from node %d for %g s (MINORCA_TIMEOUT): %s; "
		       "when that "
		       "is mended, dsm_migrate_background() goes on",
		       m->region->name, m->peer, (double)runtime.settings.timeout_ns / 1e9, strerror(-error));
		return error;
	}
	report("node %d was lost while region %s came from it: dsm_migrate_lost() tells which pages are "
	       "missing; all others are right",
	       m->peer, m->region->name);
	migration_step(m, DSM_MIGRATION_LOST);
	return -EHOSTDOWN;
}

/* All that can be had is here. @return 0; -EHOSTDOWN: pages are lost. */
static int end_rest(struct migration *m)
{
	if (!atomic_load(&m->lost_count)) {
		migration_become_independent(m);
		return 0;
	}
	lanes_quiesce(); /* as there */
	report("region %s: %zu pages could not be read from node %d when they were touched, and are lost: "
	       "dsm_migrate_lost() tells which; all others are here, and right",
	       m->region->name, atomic_load(&m->lost_count), m->peer);
	migration_step(m, DSM_MIGRATION_LOST);
	migration_tell(m, &m->words->done, m->epoch);
	return -EHOSTDOWN;
}

static int bring_all(struct migration *m)
{
	struct background b = {.since_ns = clock_ns()};

	while (!atomic_load(&m->stop)) {
		int error = put_up_with(m, &b, bring_round(m, migration_map_end(m), b.since_ns));
		if (!error)
			error = stay_in_touch(m, &b);
		/* A source that is lost may have told, and given, all that there was to. */
		if (nothing_is_left(m, &b, migration_map_end(m)))
			return end_rest(m);
		if (error)
			return give_up(m, error);
		migration_sleep(IDLE_NS);
	}
	return -ECANCELED; /* the region is being destroyed */
}

static void *run_background(void *argument)
{
	struct migration *m = argument;

	while (sem_wait(&m->go)) /* interrupted: nobody's signals come here, but a debugger's */
		;
	return (void *)(intptr_t)bring_all(m);
}

int migration_start_background(struct migration *m)
{
	sigset_t all, saved;

	atomic_store(&m->stop, false);
	sem_init(&m->go, 0, 0);
	sigfillset(&all); /* the application's signals are for its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	m->background_runs = !pthread_create(&m->background, NULL, run_background, m);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return m->background_runs ? 0 : -EAGAIN;
}

void migration_stop_background(struct migration *m)
{
	if (!m->background_runs)
		return;
	atomic_store(&m->stop, true);
	sem_post(&m->go);
	pthread_join(m->background, NULL);
	m->background_runs = false;
}

int dsm_migrate_background(dsm_region *r)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || r->migration->role != ROLE_TARGET ||
	    !r->migration->switched || r->migration->background_runs ||
	    atomic_load(&r->migration->progress.step) >= DSM_MIGRATION_DONE)
		return -EINVAL;
	int error = migration_start_background(r->migration);
	if (!error)
		sem_post(&r->migration->go);
	errno = saved_errno;
	return error;
}

/* Until it has, a source that was held up may write to this node's map, which the next migration may need. */
static int await_map_over(struct migration *m)
{
	if (m->options.mode != DSM_MIGRATION_MINOR)
		return 0;
	int error = migration_wait(m, &m->words->map_over, NULL, &m->words->source_beat);
	if (error == -ETIMEDOUT)
		report("region %s is here, but node %d, which it came from, got nothing done for %g s "
		       "(MINORCA_TIMEOUT): "
		       "is it stopped? dsm_migrate_finish() can be called again",
		       m->region->name, m->peer, (double)runtime.settings.timeout_ns / 1e9);
	return error == -EHOSTDOWN ? 0 : error; /* a dead one writes no more */
}

int migration_join(struct migration *m)
{
	void *result = NULL;

	if (m->background_runs) {
		pthread_join(m->background, &result);
		m->background_runs = false;
	}
	int error = (int)(intptr_t)result;
	enum dsm_migration_step step = (enum dsm_migration_step)atomic_load(&m->progress.step);
	if (!error && step < DSM_MIGRATION_DONE)
		return -EINVAL; /* nobody has asked for the rest */
	if (!error && step == DSM_MIGRATION_DONE)
		error = await_map_over(m);
	if (!error || step == DSM_MIGRATION_LOST)
		m->role = ROLE_NONE;
	return error;
}
