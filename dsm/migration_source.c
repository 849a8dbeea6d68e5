/*
 * The source of a migration: rounds of pre-copy, the switch, the map.
 *
 * Why nothing is missed. A page is write-protected first and copied after: a store that the copy does not
 * have faults, and the next scan finds the page (kernel: PAGEMAP_SCAN protects and tells in one step). What
 * the last scan before the switch found and no round has copied is in `stored`; so is what a scan finds once
 * the user is paused. Those are the pages that the map calls out of date, and all others are at the
 * destination as they are here.
 *
 * Which blocks of a large page are: those that differ from what was sent. So a large page that is found
 * stored to is copied to a spare page and sent from there; while its spare page is not needed for another,
 * the two are compared. (In the very first round pages are sent as they are: most are not stored to again.)
 */
#include "dsm/migration.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "dsm/clock.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

#define ROUNDS_MAX 8u
/* Written at once: between two of these, cancelling is noticed. */
#define SEND_BYTES ((size_t)1 << 20)
/* Pages of a step of the map. */
#define MAP_PAGES ((size_t)4096)
#define ASK_NS 20000000u

/* --- sending ------------------------------------------------------------------------------------------- */

/* A page of the round: see migration_take(). */
static bool is_sending(const struct migration *m, size_t page)
{
	return m->sending[page / 64] >> (page % 64) & 1;
}

/* What goes out at once, on one lane, and is waited for together. */
struct batch {
	struct lane *lane;
	size_t bytes;
};

static int post(struct migration *m, struct batch *batch, size_t offset, size_t to, size_t bytes)
{
	struct dsm_region *r = m->region;

	batch->bytes += bytes;
	return runtime.ops->post_write(runtime.transport, batch->lane, m->peer, SEGMENT_DATA(r->id), to,
				       r->alias + offset, bytes);
}

/* By way of a spare page, which then is what the destination has. Once there are copies, nothing is sent in
 * another way before the map. */
static int post_copy(struct migration *m, struct batch *batch, size_t page)
{
	struct dsm_region *r = m->region;
	unsigned int slot = m->next_spare++ % m->spares;
	size_t offset = r->bytes + ((size_t)slot << r->page_shift);

	for (unsigned int i = 0; i < m->spares; i++)
		if (m->spare_page[i] == page + 1)
			m->spare_page[i] = 0;
	memcpy(r->alias + offset, region_alias(r, page), region_page_bytes(r));
	m->spare_page[slot] = page + 1;
	return post(m, batch, offset, page << r->page_shift, region_page_bytes(r));
}

/* Neighbours that the round sends, from @page on, as many as go out at once. */
static size_t sending_run(const struct migration *m, size_t page)
{
	size_t most = SEND_BYTES >> m->region->page_shift, count = 0;

	while (page + count < m->region->table.count && is_sending(m, page + count) &&
	       count < (most ? most : 1))
		count++;
	return count;
}

static int post_batch(struct migration *m, struct batch *batch, size_t *page, bool copied)
{
	unsigned int shift = m->region->page_shift;
	int error = 0;

	while (*page < m->region->table.count && batch->bytes < SEND_BYTES && !error) {
		size_t count = sending_run(m, *page);
		/* A spare page may be used again only when it has been sent: one to a batch. */
		if (count && copied)
			error = post_copy(m, batch, *page);
		else if (count)
			error = post(m, batch, *page << shift, *page << shift, count << shift);
		*page += count ? count : 1;
	}
	return error;
}

/* Sends what the round sends of the pages from @page on, until enough is under way, and waits for it. */
static int send_batch(struct migration *m, size_t *page, bool copied)
{
	struct batch batch = {0};
	sigset_t saved;

	runtime_block_signals(&saved);
	batch.lane = lane_acquire();
	int error = post_batch(m, &batch, page, copied);
	int completed = runtime.ops->complete(runtime.transport, batch.lane);
	lane_release(batch.lane);
	runtime_unblock_signals(&saved);
	m->bytes_sent += batch.bytes;
	return peers_note(m->peer, error ? error : completed);
}

/* What the other side, or the application, has to say meanwhile. */
static int look_up(struct migration *m)
{
	struct migration_words *words = m->words;

	migration_report(m);
	if (atomic_exchange(&m->cancel, false) || atomic_load(&words->target_over) == m->epoch)
		return -ECANCELED;
	/* Memory of a dead process takes what is written to it. */
	if (clock_ns() - m->asked_ns > ASK_NS) {
		m->asked_ns = clock_ns();
		if (peers_ask(m->peer))
			return -EHOSTDOWN;
	}
	return migration_tell(m, &words->source_beat, atomic_load(&words->source_beat) + 1);
}

/* Looks up, again and again while it is too fast. */
static int keep_pace(struct migration *m, uint64_t since_ns)
{
	int error = look_up(m);

	for (uint64_t ns; !error && (ns = migration_throttle_ns(m, m->bytes_sent, since_ns));) {
		migration_sleep(ns);
		error = look_up(m);
	}
	return error;
}

/* @copied: large pages by way of spare pages. @paused: the user is, and nobody else is listened to. */
static int send_stored(struct migration *m, bool copied, bool paused)
{
	uint64_t since_ns = clock_ns();
	int error = migration_take(m);

	m->bytes_sent = 0;
	for (size_t page = 0; page < m->region->table.count && !error;) {
		error = send_batch(m, &page, copied);
		if (!error && !paused)
			error = keep_pace(m, since_ns);
	}
	return error;
}

/* --- pre-copy ------------------------------------------------------------------------------------------ */

static uint64_t enough_bytes(const struct migration *m)
{
	uint64_t least = 4 * region_page_bytes(m->region), part = m->region->bytes / 1024;

	if (m->options.enough_bytes)
		return m->options.enough_bytes;
	return part > least ? part : least;
}

/* Finds what the next round is to send. */
static int end_round(struct migration *m)
{
	int error = migration_scan(m, 0, m->region->table.count);

	atomic_fetch_add(&m->progress.rounds, 1);
	atomic_store(&m->progress.pages_left, migration_noted(m));
	atomic_fetch_add(&m->progress.bytes_precopied, m->bytes_sent);
	return error;
}

/* Whether another round is of use: @left pages, and @before it there were so many. */
static bool is_worth_a_round(const struct migration *m, uint64_t left, uint64_t before)
{
	/* As many again: they are stored to as fast as they are sent. */
	return left << m->region->page_shift > enough_bytes(m) && left * 8 <= before * 7;
}

static int make_rounds(struct migration *m)
{
	unsigned int most = m->options.rounds_max ? m->options.rounds_max : ROUNDS_MAX;
	uint64_t left = m->region->table.count, before = 2 * left;
	int error = 0;

	for (unsigned int round = 0; round < most && !error; round++) {
		if (round && !is_worth_a_round(m, left, before))
			break;
		before = left;
		error = send_stored(m, atomic_load(&m->progress.rounds) > 0 && m->spares > 0, false);
		if (!error)
			error = end_round(m);
		left = atomic_load(&m->progress.pages_left);
	}
	return error;
}

int dsm_migrate_precopy(dsm_region *r)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || r->migration->role != ROLE_SOURCE ||
	    r->migration->switched)
		return -EINVAL;
	struct migration *m = r->migration;
	int error = look_up(m);
	if (!error && m->tracking != TRACKING_NONE)
		error = make_rounds(m);
	error = migration_settle(m, error, "dsm_migrate_precopy()");
	errno = saved_errno;
	return error;
}

/* --- the map ------------------------------------------------------------------------------------------- */

/* Blocks of a large page that are not as the destination has them. */
static uint64_t differing_blocks(const struct migration *m, size_t page)
{
	const struct dsm_region *r = m->region;
	const unsigned char *now = region_alias(r, page), *sent = NULL;
	size_t block_bytes = (size_t)1 << r->block_shift;
	uint64_t differ = 0;

	for (unsigned int i = 0; i < m->spares && !sent; i++)
		if (m->spare_page[i] == page + 1)
			sent = r->alias + r->bytes + ((size_t)i << r->page_shift);
	if (!sent)
		return UINT64_MAX;
	for (unsigned int b = 0; b < r->blocks_per_page; b++)
		if (memcmp(now + b * block_bytes, sent + b * block_bytes, block_bytes))
			differ |= (uint64_t)1 << b;
	return differ;
}

/* The destination says that its user may go on. */
static void note_resumed(struct migration *m)
{
	if (!atomic_load(&m->progress.resumed_ns) && atomic_load(&m->words->resumed) == m->epoch)
		atomic_store(&m->progress.resumed_ns, clock_ns());
}

/* Words of the map, and how far it is then. */
static int send_words(struct migration *m, size_t first, size_t count, size_t map_pages)
{
	int error = migration_put(m, &m->words->map[first], count);

	if (!error && map_pages)
		error = migration_tell(m, &m->words->map_pages, map_pages);
	atomic_fetch_add(&m->progress.bytes_mapped, (count + (map_pages > 0)) * sizeof(uint64_t));
	note_resumed(m);
	return error;
}

/* The last scan. What the kernel cannot tell of is out of date: to read a page that is not does no harm. */
static void scan_for_map(struct migration *m, size_t first, size_t count)
{
	int error = migration_scan(m, first, count);

	if (!error)
		return;
	report("region %s: stores to pages %zu to %zu cannot be told (%s): all of them are read by node %d",
	       m->region->name, first, first + count - 1, strerror(-error), m->peer);
	migration_note(m, first, count);
}

/* Small pages: a bit for each, step by step. */
static int send_bits(struct migration *m)
{
	size_t pages = m->region->table.count;
	int error = 0;

	for (size_t first = 0, end; first < pages && !error; first = end) {
		end = first + MAP_PAGES < pages ? first + MAP_PAGES : pages;
		scan_for_map(m, first, end - first);
		for (size_t word = first / 64; word * 64 < end; word++)
			atomic_store_explicit(&m->words->map[word], atomic_load(&m->stored[word]),
					      memory_order_relaxed);
		error = send_words(m, first / 64, (end - first + 63) / 64, end);
	}
	return error;
}

/* Of large pages, first whether they were stored to: most are known to be up to date then. */
static int send_outline(struct migration *m)
{
	size_t pages = m->region->table.count;
	int error = 0;

	scan_for_map(m, 0, pages);
	for (size_t page = 0; page < pages; page++)
		atomic_store_explicit(&m->words->map[page], bit_is_set(m->stored, page) ? UINT64_MAX : 0,
				      memory_order_relaxed);
	for (size_t first = 0; first < pages && !error; first += MAP_PAGES)
		error = send_words(m, first, pages - first < MAP_PAGES ? pages - first : MAP_PAGES, 0);
	return error ? error : migration_tell(m, &m->words->outlined, m->epoch);
}

/* Then which of their blocks are out of date: to compare a page takes long, so each is told of by itself. */
static int send_blocks(struct migration *m)
{
	size_t pages = m->region->table.count;
	int error = 0;

	for (size_t page = 0; page < pages && !error; page++) {
		if (!bit_is_set(m->stored, page))
			continue;
		atomic_store_explicit(&m->words->map[page], differing_blocks(m, page), memory_order_relaxed);
		error = send_words(m, page, 1, page + 1);
	}
	return error ? error : migration_tell(m, &m->words->map_pages, pages);
}

/* What was stored to since the last scan is found, and told, without waiting for the destination's user: the
 * less is missing when it goes on, the better. What takes long is told when it has gone on. */
static void send_map_first(struct migration *m)
{
	m->map_error = m->region->blocks_per_page > 1 ? send_outline(m) : send_bits(m);
}

/* If it cannot all be sent, the destination takes the rest for out of date, which does no harm. */
static void send_map_rest(struct migration *m)
{
	if (!m->map_error && m->region->blocks_per_page > 1)
		m->map_error = send_blocks(m);
	atomic_store(&m->progress.pages_left, migration_noted(m));
	if (m->map_error && m->map_error != -EHOSTDOWN)
		report("region %s: the map of what is out of date cannot be written to node %d (%s): it "
		       "reads all that "
		       "it was not told of",
		       m->region->name, m->peer, strerror(-m->map_error));
	migration_tell(m, &m->words->map_over, m->epoch);
}

/* --- the switch ---------------------------------------------------------------------------------------- */

/* While the user is paused: what must be there before it goes on. */
static int send_before(struct migration *m)
{
	int error = 0;

	if (m->options.mode == DSM_MIGRATION_PRE_COPY)
		error = migration_scan(m, 0, m->region->table.count);
	if (!error &&
	    (m->options.mode == DSM_MIGRATION_PRE_COPY || m->options.mode == DSM_MIGRATION_STOP_AND_COPY)) {
		error = send_stored(m, false, true);
		atomic_fetch_add(&m->progress.bytes_switched, m->bytes_sent);
		if (!error) /* or it begins anew */
			atomic_store(&m->progress.pages_left, migration_noted(m));
	}
	return error;
}

static int send_state(struct migration *m, const void *state, size_t bytes)
{
	struct migration_words *words = m->words;

	if (bytes) /* @state may be NULL otherwise */
		memcpy(words->state, state, bytes);
	atomic_store(&words->state_bytes, bytes);
	int error = bytes ? migration_put(m, words->state, (bytes + 7) / 8) : 0;
	if (!error)
		error = migration_put(m, &words->state_bytes, 1);
	atomic_fetch_add(&m->progress.bytes_switched, bytes);
	return error;
}

/*
 * Waits until the destination says that its user may go on. If it lives and does not say so, it has not come
 * to dsm_migrate_await() yet, and holds the region all the same.
 */
static int hear_of_it(struct migration *m)
{
	int error = migration_wait(m, &m->words->resumed, NULL, &m->words->target_beat);

	note_resumed(m);
	if (error == -ETIMEDOUT) {
		report("dsm_migrate_switch(): node %d holds region %s, and does not say that it has gone on "
		       "with it; is it "
		       "in dsm_migrate_await()?",
		       m->peer, m->region->name);
		error = 0;
	}
	return error;
}

/* @return 0: the destination holds the region; -ENOTRECOVERABLE: it may; else it does not. */
static int hand_over(struct migration *m, const void *state, size_t bytes)
{
	int error = look_up(m);

	if (!error)
		error = send_before(m);
	if (!error)
		error = send_state(m, state, bytes);
	if (error)
		return error;
	m->switched = true; /* whatever becomes of the next write */
	error = migration_tell(m, &m->words->switched, m->epoch);
	if (!error && m->options.mode == DSM_MIGRATION_MINOR)
		send_map_first(m);
	if (!error)
		error = hear_of_it(m);
	if (!error)
		return 0;
	/* It died. If writing is a store to our memory, what it has not written it has not written; else
	 * nobody knows which of the two words was lost on the way. */
	m->switched = !runtime.ops->memory_outlives_process;
	return m->switched ? -ENOTRECOVERABLE : error;
}

/* From here on nothing else can go wrong than that the destination is lost, which dsm_migrate_finish() says.
 */
static void tell_the_rest(struct migration *m)
{
	atomic_store(&m->holder, m->peer);
	migration_step(m, DSM_MIGRATION_MAPPING);
	if (m->options.mode == DSM_MIGRATION_MINOR)
		send_map_rest(m);
	atomic_store(&m->progress.mapped_ns, clock_ns());
	migration_drop_spares(m);
	migration_step(m, DSM_MIGRATION_FETCHING);
}

int dsm_migrate_switch(dsm_region *r, const void *state, size_t bytes)
{
	int saved_errno = errno;

	if (!runtime.started || !r || !r->migration || r->migration->role != ROLE_SOURCE ||
	    r->migration->switched)
		return -EINVAL;
	if (bytes > DSM_MIGRATION_STATE_BYTES)
		return -EMSGSIZE;
	struct migration *m = r->migration;
	atomic_store(&m->progress.switched_ns, clock_ns());
	atomic_store(&m->progress.step, DSM_MIGRATION_SWITCHING); /* nobody is told: the user is paused */
	int error = hand_over(m, state, bytes);
	if (!error)
		tell_the_rest(m);
	else if (m->switched)
		peers_tell(-EHOSTDOWN, "dsm_migrate_switch()",
			   "nobody can say whether it went on with a region");
	else
		error = migration_settle(m, error, "dsm_migrate_switch()");
	errno = saved_errno;
	return error;
}
