/*
 * The calls of a migration, and what its two sides have in common: words, waiting, progress. See migration.h.
 *
 * The source alone decides who holds the region, and says it once for each epoch: by writing `switched` or
 * `source_over` to the destination. What goes wrong before leaves the region with it. A destination that
 * wants to cancel asks (`target_over`), and waits for what the source says. It holds the region from when it
 * reads `switched`, and says so (`resumed`) before its user may go on.
 */
#include "dsm/migration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "dsm/clock.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

/* How often an application is told that does not ask. */
#define TELL_NS 200000000u
/* Nobody sleeps longer who is to notice what others say. */
#define LOOK_UP_NS 20000000u
/* What the other side says went wrong is an errno. */
#define ERRNO_MAX 4095

/* --- making -------------------------------------------------------------------------------------------- */

size_t migration_words_bytes(size_t blocks)
{
	return sizeof(struct migration_words) + (blocks + 63) / 64 * sizeof(uint64_t);
}

/* Small pages need none: they are one block. Those of 1 GiB would cost too much. */
size_t migration_spare_bytes(size_t page_bytes, size_t pages)
{
	size_t spares = pages / 4 + 1 < MIGRATION_SPARES_MAX ? pages / 4 + 1 : MIGRATION_SPARES_MAX;

	return page_bytes == 2 * MIB ? spares * page_bytes : 0;
}

int migration_create(struct dsm_region *r)
{
	size_t words = (r->table.count + 63) / 64;
	struct migration *m = aligned_alloc(64, (sizeof *m + 63) / 64 * 64);

	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof *m); /* no other thread knows it */
	m->stored = calloc(words, sizeof *m->stored);
	m->sending = calloc(words, sizeof *m->sending);
	m->complete = calloc(words, sizeof *m->complete);
	m->lost = calloc(words, sizeof *m->lost);
	m->region = r;
	m->words = (struct migration_words *)(void *)r->versions;
	m->holder = r->home.home_node;
	m->uffd = m->pagemap = -1;
	r->migration = m;
	return m->stored && m->sending && m->complete && m->lost ? 0 : -ENOMEM; /* the caller destroys it */
}

void migration_destroy(struct dsm_region *r)
{
	struct migration *m = r->migration;

	if (!m)
		return;
	migration_stop_background(m);
	migration_untrack(m);
	free(m->stored);
	free(m->sending);
	free(m->complete);
	free(m->lost);
	free(m);
	r->migration = NULL;
}

void migration_reset_pages(struct dsm_region *r, bool in_file)
{
	for (size_t page = 0; page < r->table.count; page++) {
		r->table.pages[page].state = PAGE_UNMAPPED;
		r->table.pages[page].flags = in_file ? PAGE_IN_FILE : 0;
	}
	for (size_t word = 0; word < (r->table.count + 63) / 64; word++) {
		atomic_store_explicit(&r->migration->complete[word], 0, memory_order_relaxed);
		atomic_store_explicit(&r->migration->lost[word], 0, memory_order_relaxed);
	}
	atomic_store(&r->migration->lost_count, 0);
}

/* --- words --------------------------------------------------------------------------------------------- */

int migration_put(struct migration *m, const void *first, size_t count)
{
	size_t offset = (size_t)((const unsigned char *)first - (const unsigned char *)m->words);
	sigset_t saved;

	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire();
	int error = runtime.ops->post_write(runtime.transport, lane, m->peer, SEGMENT_VERSIONS(m->region->id),
					    offset, first, count * sizeof(uint64_t));
	int completed = runtime.ops->complete(runtime.transport, lane);
	lane_release(lane);
	runtime_unblock_signals(&saved);
	return peers_note(m->peer, error ? error : completed);
}

int migration_tell(struct migration *m, _Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed); /* the transport orders what it writes */
	return migration_put(m, word, 1);
}

static uint64_t value_of(const _Atomic uint64_t *word)
{
	/* Acquire: pairs with the order of the other side's writes. */
	return word ? atomic_load_explicit(word, memory_order_acquire) : 0;
}

/* Before the switch. The source does it by itself; the destination asks, and waits on. */
static int request_cancel(struct migration *m)
{
	if (m->switched)
		return 0;
	return m->role == ROLE_SOURCE ? -ECANCELED : migration_tell(m, &m->words->target_over, m->epoch);
}

/* What the kernel may add to this thread's sleeps, in ns. The user may be paused until one ends: @return what
 * it was. */
static int set_timer_slack(int ns)
{
	int before = prctl(PR_GET_TIMERSLACK);

	if (ns > 0)
		prctl(PR_SET_TIMERSLACK, ns);
	return before;
}

static int wait_for_word(struct migration *m, const _Atomic uint64_t *word, const _Atomic uint64_t *over,
			 const _Atomic uint64_t *beat)
{
	uint64_t beats = value_of(beat);
	struct wait wait = {0};

	while (value_of(word) != m->epoch) {
		if (value_of(over) >= m->epoch)
			return -ECANCELED;
		if (atomic_exchange(&m->cancel, false)) {
			int error = request_cancel(m);
			if (error)
				return error;
		}
		if (beats != value_of(beat)) {
			beats = value_of(beat);
			wait.deadline_ns = 0; /* it gets on: the bound begins anew, and we go on sleeping */
		}
		enum wait_turn turn = wait_turn(&wait);
		/* Once more: the word may have been the last that it did. */
		if (turn == WAIT_ASK && peers_ask(m->peer) && value_of(word) != m->epoch)
			return -EHOSTDOWN;
		if (turn == WAIT_OVER)
			return -ETIMEDOUT;
		migration_report(m);
	}
	return 0;
}

int migration_wait(struct migration *m, const _Atomic uint64_t *word, const _Atomic uint64_t *over,
		   const _Atomic uint64_t *beat)
{
	int slack_ns = set_timer_slack(1);
	int error = wait_for_word(m, word, over, beat);

	set_timer_slack(slack_ns);
	return error;
}

/* --- progress ------------------------------------------------------------------------------------------ */

static struct dsm_migration_progress progress_of(const struct migration *m)
{
#define NOW(field) atomic_load_explicit(&m->progress.field, memory_order_relaxed)
	return (struct dsm_migration_progress){
	    .step = (enum dsm_migration_step)NOW(step),
	    .rounds = NOW(rounds),
	    .pages = m->region->table.count,
	    .pages_left = NOW(pages_left),
	    .bytes_precopied = NOW(bytes_precopied),
	    .bytes_switched = NOW(bytes_switched),
	    .bytes_mapped = NOW(bytes_mapped),
	    .bytes_fetched = NOW(bytes_fetched),
	    .faults = NOW(faults),
	    .faults_current = NOW(faults_current),
	    .faults_early = NOW(faults_early),
	    .begun_ns = NOW(begun_ns),
	    .switched_ns = NOW(switched_ns),
	    .resumed_ns = NOW(resumed_ns),
	    .mapped_ns = NOW(mapped_ns),
	    .done_ns = NOW(done_ns),
	};
#undef NOW
}

static void tell_application(struct migration *m)
{
	struct dsm_migration_progress progress = progress_of(m);

	m->told_ns = clock_ns();
	if (m->options.on_progress)
		m->options.on_progress(m->region, &progress, m->options.argument);
}

void migration_step(struct migration *m, enum dsm_migration_step step)
{
	atomic_store(&m->progress.step, step);
	tell_application(m);
}

void migration_report(struct migration *m)
{
	if (m->options.on_progress && clock_ns() - m->told_ns > TELL_NS)
		tell_application(m);
}

uint64_t migration_throttle_ns(const struct migration *m, uint64_t bytes, uint64_t since_ns)
{
	uint64_t passed_ns = clock_ns() - since_ns;
	double due_ns = m->options.bytes_per_s ? (double)bytes * 1e9 / (double)m->options.bytes_per_s : 0;

	if (due_ns <= (double)passed_ns)
		return 0;
	return due_ns - (double)passed_ns < LOOK_UP_NS ? (uint64_t)due_ns - passed_ns + 1 : LOOK_UP_NS;
}

int dsm_migrate_progress(const dsm_region *r, struct dsm_migration_progress *out)
{
	if (!r || !r->migration)
		return -EINVAL;
	*out = progress_of(r->migration);
	return 0;
}

int dsm_migrate_holder(const dsm_region *r)
{
	return r && r->migration ? atomic_load_explicit(&r->migration->holder, memory_order_relaxed)
				 : -EINVAL;
}

/* --- mapping ahead ------------------------------------------------------------------------------------- */

#define AHEAD_BYTES (64 * MIB)

/*
 * Copies should not fault: one fault for each small page costs more than its copy. So what copies will go to,
 * or come from, is mapped while the user still runs: of the other's memory what the transport maps, and of
 * this node's, if @own, the alias. What cannot be mapped ahead is mapped by the copies.
 */
static void map_ahead(struct migration *m, bool own, _Atomic uint64_t *beat)
{
	struct dsm_region *r = m->region;
	size_t most = AHEAD_BYTES < region_page_bytes(r) ? region_page_bytes(r) : AHEAD_BYTES;

	for (size_t at = 0; at < r->bytes; at += most) {
		size_t bytes = r->bytes - at < most ? r->bytes - at : most;
		if (runtime.ops->populate)
			runtime.ops->populate(runtime.transport, m->peer, SEGMENT_DATA(r->id), at, bytes);
		if (own)
			madvise(r->alias + at, bytes, MADV_POPULATE_WRITE);
		migration_tell(m, beat, atomic_load(beat) + 1);
	}
}

static bool is_copied_before(const struct migration *m)
{
	return m->options.mode != DSM_MIGRATION_POST_COPY;
}

static bool is_read_after(const struct migration *m)
{
	return m->options.mode == DSM_MIGRATION_POST_COPY || m->options.mode == DSM_MIGRATION_MINOR;
}

/* --- beginning, on both sides -------------------------------------------------------------------------- */

/* The node's other half of a migration that is about to begin. */
static int check_begin(const dsm_region *r, int peer, const struct dsm_migration_options *options,
		       bool as_source)
{
	if (!runtime.started || !r || !r->migration || peer < 0 || peer >= runtime.nodes ||
	    peer == runtime.node)
		return -EINVAL;
	if (options && (options->mode < DSM_MIGRATION_MINOR || options->mode > DSM_MIGRATION_STOP_AND_COPY))
		return -EINVAL;
	const struct migration *m = r->migration;
	if (m->role != ROLE_NONE || (m->holder == runtime.node) != as_source ||
	    atomic_load(&m->progress.step) == DSM_MIGRATION_LOST)
		return -EINVAL;
	return 0;
}

static void begin(struct migration *m, enum migration_role role, int peer,
		  const struct dsm_migration_options *options)
{
	_Atomic uint64_t *counters = (_Atomic uint64_t *)&m->progress;

	m->options = options ? *options : (struct dsm_migration_options){0};
	m->peer = peer;
	m->switched = false;
	atomic_store(&m->cancel, false);
	for (size_t i = 0; i < sizeof m->progress / sizeof counters[0]; i++)
		atomic_store_explicit(&counters[i], 0, memory_order_relaxed);
	atomic_store(&m->progress.begun_ns, clock_ns());
	m->role = role; /* last: from here on it can be cancelled */
}

int migration_settle(struct migration *m, int error, const char *what)
{
	static const char *const meaning = "it stays where it was";

	if (!error)
		return 0;
	if (error == -ETIMEDOUT)
		report("%s: node %d got nothing done for %g s (MINORCA_TIMEOUT); region %s: %s", what,
		       m->peer, (double)runtime.settings.timeout_ns / 1e9, m->region->name, meaning);
	if (m->role == ROLE_SOURCE) {
		/* If this does not arrive, the destination is lost, or notices that we are. */
		migration_tell(m, &m->words->source_over, m->epoch);
		migration_untrack(m);
	}
	migration_stop_background(m);
	m->role = ROLE_NONE;
	migration_step(m, DSM_MIGRATION_CANCELLED);
	return peers_tell(error, what, meaning);
}

static int offer(struct migration *m)
{
	struct migration_words *words = m->words;

	m->epoch++;
	atomic_store(&words->offer_node, (uint64_t)runtime.node);
	atomic_store(&words->offer_mode, (uint64_t)m->options.mode);
	int error = migration_put(m, &words->offer_node, 2);
	if (!error)
		error = migration_tell(m, &words->offered, m->epoch);
	if (!error)
		error = migration_wait(m, &words->answered, &words->target_over, &words->target_beat);
	if (error)
		return error;
	uint64_t refused = value_of(&words->answer_error);
	return refused <= ERRNO_MAX ? -(int)refused : -EPROTO;
}

int dsm_migrate_begin(dsm_region *r, int to, const struct dsm_migration_options *options)
{
	int saved_errno = errno, error = check_begin(r, to, options, true);

	if (error)
		return error;
	struct migration *m = r->migration;
	begin(m, ROLE_SOURCE, to, options);
	error = offer(m);
	if (!error && is_copied_before(m))
		map_ahead(m, true, &m->words->source_beat);
	if (!error)
		error = migration_track(m);
	if (!error)
		migration_step(m, DSM_MIGRATION_COPYING);
	error = migration_settle(m, error, "dsm_migrate_begin()");
	errno = saved_errno;
	return error;
}

static bool is_withdrawn(const struct migration *m)
{
	return value_of(&m->words->source_over) >= value_of(&m->words->offered);
}

/* Waits for an offer that is newer than all that this node has seen. */
static int await_offer(struct migration *m)
{
	struct wait wait = {0};

	while (value_of(&m->words->offered) <= m->epoch || is_withdrawn(m)) {
		enum wait_turn turn = wait_turn(&wait);
		if (atomic_exchange(&m->cancel, false))
			return -ECANCELED;
		if (turn == WAIT_ASK && peers_ask(m->peer))
			return -EHOSTDOWN;
		if (turn == WAIT_OVER)
			return -ETIMEDOUT;
	}
	m->epoch = value_of(&m->words->offered);
	return 0;
}

/* The region is elsewhere: its memory is given back, and a touch of it is noticed. */
static int let_go(struct migration *m)
{
	struct dsm_region *r = m->region;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
	int error = uffd_register(r->uffd, r->app, r->bytes, modes, NULL);

	m->must_let_go = true;
	if (!error && madvise(r->app, r->bytes, MADV_DONTNEED_LOCKED))
		error = -errno;
	/* Not what a device has pinned: it would go on using pages that are in no file. */
	if (!error && runtime.ops->populate)
		error = memory_punch(r->fd, 0, r->file_bytes);
	migration_reset_pages(r, !runtime.ops->populate);
	m->must_let_go = error != 0;
	return error;
}

/* Memory for all pages; for post-copy none, if it can be given back: that is what it is to show. */
static int make_room(struct migration *m)
{
	struct dsm_region *r = m->region;
	bool empty = m->options.mode == DSM_MIGRATION_POST_COPY && runtime.ops->populate;
	size_t piece = AHEAD_BYTES >> r->page_shift, pages = r->table.count;
	int error =
	    m->must_let_go ? let_go(m) : 0; /* or what is mapped since then would be taken for right */

	if (!error && empty)
		error = memory_punch(r->fd, 0, r->file_bytes);
	piece = piece ? piece : 1;
	for (size_t page = 0; page < pages && !empty && !error; page += piece) {
		error = region_allocate_pages(r, page, pages - page < piece ? pages - page : piece);
		migration_tell(m, &m->words->target_beat, atomic_load(&m->words->target_beat) + 1);
	}
	migration_reset_pages(r, !empty);
	return error;
}

/* The offer is what this node waits for. */
static int check_offer(struct migration *m)
{
	uint64_t node = value_of(&m->words->offer_node), mode = value_of(&m->words->offer_mode);

	if (node == (uint64_t)m->peer && mode == (uint64_t)m->options.mode)
		return 0;
	report("dsm_migrate_accept(): node %" PRIu64 " offers region %s in mode %" PRIu64
	       "; this node expects it from node "
	       "%d in mode %d",
	       node, m->region->name, mode, m->peer, (int)m->options.mode);
	if (node < (uint64_t)runtime.nodes) /* it is to hear of it */
		m->peer = (int)node;
	return -EPROTO;
}

static int answer(struct migration *m)
{
	struct migration_words *words = m->words;
	int error = await_offer(m);

	if (error)
		return error;
	/* All that the source will write for this epoch, before it may. */
	atomic_store(&words->map_pages, 0);
	atomic_store(&words->map_over, 0);
	error = check_offer(m);
	if (!error)
		error = make_room(m);
	if (!error && is_read_after(m) && !m->options.no_background)
		error = migration_start_background(m);
	/* For post-copy, there is nothing here to be mapped. */
	if (!error && is_read_after(m))
		map_ahead(m, is_copied_before(m), &words->target_beat);
	atomic_store(&words->answer_error, (uint64_t)-error);
	int told = migration_put(m, &words->answer_error, 1);
	if (!told)
		told = migration_tell(m, &words->answered, m->epoch);
	return error ? error : told;
}

int dsm_migrate_accept(dsm_region *r, int from, const struct dsm_migration_options *options)
{
	int saved_errno = errno, error = check_begin(r, from, options, false);

	if (error)
		return error;
	struct migration *m = r->migration;
	begin(m, ROLE_TARGET, from, options);
	error = answer(m);
	if (!error)
		migration_step(m, DSM_MIGRATION_COPYING);
	error = migration_settle(m, error, "dsm_migrate_accept()");
	errno = saved_errno;
	return error;
}

/* --- cancelling and finishing -------------------------------------------------------------------------- */

int dsm_migrate_cancel(dsm_region *r)
{
	if (!runtime.started || !r || !r->migration || r->migration->role == ROLE_NONE)
		return -EINVAL;
	struct migration *m = r->migration;
	enum dsm_migration_step step = (enum dsm_migration_step)atomic_load(&m->progress.step);
	if (step >= DSM_MIGRATION_SWITCHING)
		return -EALREADY;
	atomic_store(&m->cancel, true); /* for the call under way, or the next */
	/* The source need not wait until this side makes a call. */
	if (m->role == ROLE_TARGET && step == DSM_MIGRATION_COPYING)
		migration_tell(m, &m->words->target_over, m->epoch);
	return 0;
}

static int finish_source(struct migration *m)
{
	struct migration_words *words = m->words;
	int error = migration_wait(m, &words->done, NULL, &words->target_beat);

	if (error == -ETIMEDOUT)
		return error; /* it may be called again */
	/* Not before: of much memory it takes long, and others wait for what comes first. */
	migration_untrack(m);
	m->role = ROLE_NONE;
	atomic_store(&m->holder, m->peer);
	int kept = let_go(m);
	if (kept)
		report("region %s is at node %d, and this node cannot give its own memory back: %s; it tries "
		       "again "
		       "before the region comes back",
		       m->region->name, m->peer, strerror(-kept));
	atomic_store(&m->progress.done_ns, clock_ns());
	migration_step(m, error ? DSM_MIGRATION_LOST : DSM_MIGRATION_DONE);
	return error ? error : kept;
}

int dsm_migrate_finish(dsm_region *r)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || !r->migration->switched)
		return -EINVAL;
	struct migration *m = r->migration;
	int error = m->role == ROLE_SOURCE   ? finish_source(m)
		    : m->role == ROLE_TARGET ? migration_join(m)
					     : -EINVAL;
	peers_tell(error, "dsm_migrate_finish()",
		   m->holder == runtime.node ? "pages of a region that it held cannot be had"
					     : "the region that it held is gone");
	errno = saved_errno;
	return error;
}
