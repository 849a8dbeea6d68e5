/*
 * A home's part in memory: heads, one word for each publisher, together, since a reader reads all of them;
 * then the rings.
 *
 * Order. Publisher, one chain to one peer: data, versions, entries, head. Reader: heads, then entries, or
 * versions. Whoever sees a head sees the entries below it (or later ones in their place, which the lap
 * tells), and the versions and data that they stand for. So comparing versions after reading the heads finds
 * all that was logged below those heads.
 */
#include "dsm/change_log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* Words that one read brings into the scratch buffer. */
#define WORDS_AT_ONCE (LANE_SCRATCH_BYTES / sizeof(uint64_t))

static struct node_segment own;
static size_t nodes;
static uint64_t ring_entries;
/* [home]: entries that this node has written there. By the thread that publishes. */
static uint64_t *written;
/* [home * nodes + publisher]: entries that this node has applied. By the thread that acquires; anybody reads.
 */
static _Atomic uint64_t *applied;
/* Heads as change_log_apply() read them. By the thread that acquires. */
static uint64_t *heads;

int change_log_create(unsigned node_count, uint64_t entries)
{
	nodes = node_count;
	ring_entries = entries;
	written = calloc(nodes, sizeof *written);
	applied = calloc(nodes * nodes, sizeof *applied);
	heads = calloc(nodes, sizeof *heads);
	if (!written || !applied || !heads)
		return -ENOMEM;
	return node_segment_create(&own, "minorca-log", nodes * (1 + entries) * sizeof(uint64_t));
}

void change_log_destroy(void)
{
	node_segment_destroy(&own);
	free(written);
	free((void *)applied);
	free(heads);
	written = heads = NULL;
	applied = NULL;
}

int change_log_connect(void)
{
	return node_segment_connect(&own, SEGMENT_LOG, PEERS_READ | PEERS_WRITE);
}

static uint64_t head_offset(size_t publisher)
{
	return publisher * sizeof(uint64_t);
}

static uint64_t entry_offset(size_t publisher, uint64_t number)
{
	return (nodes + publisher * ring_entries + number % ring_entries) * sizeof(uint64_t);
}

/* How many entries from @number on lie in the ring without a break. */
static uint64_t until_wrap(uint64_t number)
{
	return ring_entries - number % ring_entries;
}

/* --- publishing ------------------------------------------------------------------------------------------
 */

int change_log_post(struct lane *lane, int home, const struct change *changes, unsigned count,
		    uint64_t *words)
{
	uint64_t number = written[home], end = number + count;
	size_t me = (size_t)runtime.node;
	int error = 0;

	written[home] =
	    end; /* whatever comes of it: a head that has been seen must not be used for other entries */
	for (unsigned i = 0; i < count; i++)
		words[i] = change_encode(&changes[i], (number + i) / ring_entries);
	for (uint64_t piece; number < end && !error; number += piece, words += piece) {
		piece = until_wrap(number) < end - number ? until_wrap(number) : end - number;
		error = runtime.ops->post_write(runtime.transport, lane, home, SEGMENT_LOG,
						entry_offset(me, number), words, piece * sizeof *words);
	}
	if (error)
		return error;
	*words = end;
	return runtime.ops->post_write(runtime.transport, lane, home, SEGMENT_LOG, head_offset(me), words,
				       sizeof *words);
}

/* --- acquiring -------------------------------------------------------------------------------------------
 */

static _Atomic uint64_t *applied_of(int home, size_t publisher)
{
	return &applied[(size_t)home * nodes + publisher];
}

/* Posts a read of as many heads of @home as fit, from @publisher on. */
static int post_heads(struct lane *lane, int home, size_t publisher, size_t count, uint64_t *to)
{
	return runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_LOG, head_offset(publisher), to,
				      count * sizeof *to);
}

static bool is_news(int home, const uint64_t *words)
{
	for (size_t p = 0; p < nodes; p++)
		/* Acquire: pairs with the release in count_as_applied(). Who finds entries applied finds
		 * their pages out of sight, and may go on. */
		if (p != (size_t)runtime.node &&
		    words[p] > atomic_load_explicit(applied_of(home, p), memory_order_acquire))
			return true;
	return false;
}

int change_log_is_news(struct lane *lane)
{
	uint64_t *words = (uint64_t *)(void *)lane->scratch;
	int homes_at_once = (int)(WORDS_AT_ONCE / nodes), end;

	if (!homes_at_once)
		return 1; /* that many nodes: change_log_apply() looks */
	for (int first = 0; first < (int)nodes; first = end) {
		int error = 0;
		end = (int)nodes - first < homes_at_once ? (int)nodes : first + homes_at_once;
		for (int h = first; h < end && !error; h++)
			if (h != runtime.node)
				error = post_heads(lane, h, 0, nodes, words + (size_t)(h - first) * nodes);
		int completed = runtime.ops->complete(runtime.transport, lane);
		if (error || completed)
			return error ? error : completed;
		for (int h = first; h < end; h++)
			if (h != runtime.node && is_news(h, words + (size_t)(h - first) * nodes))
				return 1;
	}
	return 0;
}

/* Reads all heads of @home into `heads`. */
static int read_heads(struct lane *lane, int home)
{
	const uint64_t *words = (const uint64_t *)(void *)lane->scratch;

	for (size_t p = 0, count; p < nodes; p += count) {
		count = nodes - p < WORDS_AT_ONCE ? nodes - p : WORDS_AT_ONCE;
		int error = post_heads(lane, home, p, count, (uint64_t *)(void *)lane->scratch);
		int completed = runtime.ops->complete(runtime.transport, lane);
		if (error || completed)
			return error ? error : completed;
		for (size_t i = 0; i < count; i++)
			heads[p + i] = words[i];
	}
	return 0;
}

/*
 * Reads entries [@number, @number + *@count), or as many of them as go at once, into @words; and then the
 * head, for @head. If that is not more than a lap ahead, no entry can be of a later lap that only looks like
 * the expected one.
 */
static int read_entries(struct lane *lane, int home, size_t publisher, uint64_t number, uint64_t *count,
			uint64_t *words, uint64_t *head)
{
	const uint64_t *scratch = (const uint64_t *)(const void *)lane->scratch;

	if (*count > CHANGE_PAGES_MAX)
		*count = CHANGE_PAGES_MAX;
	if (*count > until_wrap(number))
		*count = until_wrap(number);
	int error =
	    runtime.ops->post_read(runtime.transport, lane, home, SEGMENT_LOG,
				   entry_offset(publisher, number), lane->scratch, *count * sizeof *words);
	if (!error)
		error = post_heads(lane, home, publisher, 1, (uint64_t *)(void *)lane->scratch + *count);
	int completed = runtime.ops->complete(runtime.transport, lane);
	for (uint64_t i = 0; i < *count; i++)
		words[i] = scratch[i];
	*head = scratch[*count];
	return error ? error : completed;
}

static void count_as_applied(int home, size_t publisher)
{
	atomic_store_explicit(applied_of(home, publisher), heads[publisher],
			      memory_order_release); /* see is_news() */
}

/* Applies the entries of one ring up to its head; @lost is set if some cannot be had. */
static int apply_ring(struct lane *lane, int home, size_t publisher,
		      int (*apply)(void *, const struct change *), void *argument, bool *lost)
{
	uint64_t number = atomic_load_explicit(applied_of(home, publisher), memory_order_relaxed), count;
	uint64_t head = heads[publisher], head_after = 0;
	uint64_t words[CHANGE_PAGES_MAX];
	int error = 0;

	if (head - number > ring_entries)
		*lost = true;
	for (; number < head && !*lost && !error; number += count) {
		count = head - number;
		error =
		    peers_note(home, read_entries(lane, home, publisher, number, &count, words, &head_after));
		*lost = !error && head_after - number > ring_entries;
		for (uint64_t i = 0; i < count && !*lost && !error; i++) {
			struct change change;
			if (change_decode(words[i], (number + i) / ring_entries, &change))
				error = apply(argument, &change);
			else
				*lost = true;
		}
	}
	if (!error && !*lost)
		count_as_applied(home, publisher);
	return error;
}

/* Heads only grow. One that went back would hide what is logged from here on. */
static int check_head(int home, size_t publisher)
{
	uint64_t before = *applied_of(home, publisher);

	if (heads[publisher] >= before)
		return 0;
	report("the change log of node %d at node %d has %llu entries, and had %llu: its memory is damaged",
	       (int)publisher, home, (unsigned long long)heads[publisher], (unsigned long long)before);
	return -EPROTO;
}

int change_log_apply(struct lane *lane, int home, int (*apply)(void *argument, const struct change *change),
		     void *argument, bool *lost)
{
	int error = peers_note(home, read_heads(lane, home));

	*lost = false;
	for (size_t p = 0; p < nodes && !error; p++) {
		if (p == (size_t)runtime.node)
			continue;
		error = check_head(home, p);
		if (!error && heads[p] > *applied_of(home, p))
			error = apply_ring(lane, home, p, apply, argument, lost);
	}
	return error;
}

void change_log_caught_up(int home)
{
	for (size_t p = 0; p < nodes; p++)
		count_as_applied(home, p);
}
