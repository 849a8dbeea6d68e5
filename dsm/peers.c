#include "dsm/peers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/hash.h"
#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* Waits are longer than that only if something is slow, or wrong; then asking costs nothing that matters. */
#define ASK_AFTER_NS 100000000u
#define ASK_AGAIN_NS 250000000u
/* Nodes that peers_ask_some() reads from: with verbs each costs a connection. */
#define ASK_AT_ONCE 8
#define TOLD_MOST 64

static struct node_segment segment; /* words with a bit for each node that this one has lost; read by peers */
static atomic_uchar *lost;	    /* [node] */
static atomic_uint lost_count;
static atomic_flag asking = ATOMIC_FLAG_INIT; /* one thread at a time: others go by what it finds */
/* Hashes of calls that have spoken of the present losses. */
static _Atomic uint64_t told[TOLD_MOST];

static size_t words_count(void)
{
	return ((size_t)runtime.nodes + 63) / 64;
}

static void forget_told(void)
{
	for (unsigned i = 0; i < TOLD_MOST; i++)
		atomic_store_explicit(&told[i], 0, memory_order_relaxed);
}

int peers_create(void)
{
	forget_told();
	atomic_store(&lost_count, 0);
	lost = calloc((size_t)runtime.nodes, sizeof *lost);
	return lost ? node_segment_create(&segment, "minorca-peers", words_count() * sizeof(uint64_t))
		    : -ENOMEM;
}

void peers_destroy(void)
{
	node_segment_destroy(&segment);
	free((void *)lost);
	lost = NULL;
	atomic_store(&lost_count, 0);
}

int peers_connect(void)
{
	return node_segment_connect(&segment, SEGMENT_PEERS, PEERS_READ);
}

/* --- what is known ---------------------------------------------------------------------------------------
 */

unsigned peers_lost_count(void)
{
	return atomic_load_explicit(&lost_count, memory_order_acquire);
}

bool peers_is_lost(int node)
{
	return peers_lost_count() && atomic_load_explicit(&lost[node], memory_order_relaxed);
}

int peers_reach(int node)
{
	return peers_is_lost(node) && !runtime.ops->memory_outlives_process ? -EHOSTDOWN : 0;
}

static void note_lost(int node)
{
	_Atomic uint64_t *own = segment.memory;

	if (!lost || atomic_exchange(&lost[node], 1))
		return;
	forget_told();
	/* After the node's own mark, which who sees the count looks for. */
	atomic_fetch_add_explicit(&lost_count, 1, memory_order_release);
	if (own)
		atomic_fetch_or(&own[node / 64], (uint64_t)1 << node % 64);
}

int peers_note(int node, int error)
{
	if (error == -EHOSTDOWN)
		note_lost(node);
	return error;
}

/* --- asking ----------------------------------------------------------------------------------------------
 */

/* What the transport knows by itself. */
static void look(void)
{
	for (int node = 0; node < runtime.nodes; node++)
		if (node != runtime.node)
			peers_note(node, runtime.ops->probe(runtime.transport, node));
}

/* What another node has lost is lost to this one. Maybe this one itself: it cannot be reached. */
static void take_over(const uint64_t *words)
{
	for (size_t w = 0; w < words_count(); w++)
		for (uint64_t bits = words[w]; bits; bits &= bits - 1) {
			size_t node = w * 64 + (size_t)__builtin_ctzll(bits);
			if (node < (size_t)runtime.nodes)
				note_lost((int)node);
		}
}

/* Reads the node's words. An operation on memory that is lost fails. */
static void read_words(int node)
{
	struct lane *lane = lane_acquire_to_ask();
	int error = runtime.ops->post_read(runtime.transport, lane, node, SEGMENT_PEERS, 0, lane->scratch,
					   words_count() * sizeof(uint64_t));
	int completed = runtime.ops->complete(runtime.transport, lane);

	if (!error && !completed)
		take_over((const uint64_t *)(const void *)lane->scratch);
	lane_release(lane);
	peers_note(node, error ? error : completed);
}

static void ask(int first, int count)
{
	if (atomic_flag_test_and_set_explicit(&asking, memory_order_acquire))
		return;
	look();
	for (int i = 0; i < count; i++) {
		int node = (first + i) % runtime.nodes;
		if (node != runtime.node && !peers_is_lost(node))
			read_words(node);
	}
	atomic_flag_clear_explicit(&asking, memory_order_release);
}

int peers_ask(int node)
{
	ask(node, 1);
	return peers_is_lost(node) ? -EHOSTDOWN : 0;
}

void peers_ask_some(void)
{
	static atomic_uint next;
	int count = runtime.nodes < ASK_AT_ONCE ? runtime.nodes : ASK_AT_ONCE;

	ask((int)(atomic_fetch_add(&next, ASK_AT_ONCE) % (unsigned)runtime.nodes), count);
}

/* --- telling ---------------------------------------------------------------------------------------------
 */

/* True the first time that it is asked about @what since a node was lost. */
static bool is_first_time(const char *what)
{
	uint64_t hash = hash_text(HASH_START, what) | 1;

	for (unsigned i = 0; i < TOLD_MOST; i++) {
		uint64_t found = 0;
		if (atomic_compare_exchange_strong(&told[i], &found, hash))
			return true;
		if (found == hash)
			return false;
	}
	return false;
}

static void list_lost(char *list, size_t bytes)
{
	size_t used = 0;

	list[0] = 0;
	for (int node = 0; node < runtime.nodes && used < bytes - 24; node++)
		if (peers_is_lost(node))
			used += (size_t)snprintf(list + used, bytes - used, "%s%d%s", used ? ", " : "", node,
						 node == runtime.node ? " (this one, to others)" : "");
}

int peers_tell(int error, const char *what, const char *means)
{
	char list[128];

	if (error != -EHOSTDOWN)
		return error;
	look(); /* the chain that failed may have gone to several nodes */
	if (!is_first_time(what))
		return error;
	list_lost(list, sizeof list);
	if (list[0])
		report("%s: node %s is lost: its process has ended, or its device does not answer; %s", what,
		       list, means);
	else /* a page that was lost when its home did not answer in time */
		report("%s: needs what could not be had before, and counts as lost", what);
	return error;
}

/* --- waiting ---------------------------------------------------------------------------------------------
 */

enum wait_turn wait_turn(struct wait *wait)
{
	if (!backoff(&wait->turns))
		return WAIT_AGAIN;
	uint64_t now = clock_ns();
	if (!wait->deadline_ns) {
		wait->deadline_ns = now + runtime.settings.timeout_ns;
		wait->ask_ns = now + ASK_AFTER_NS;
	}
	if (now > wait->deadline_ns)
		return WAIT_OVER;
	if (now < wait->ask_ns)
		return WAIT_AGAIN;
	wait->ask_ns = now + ASK_AGAIN_NS;
	return WAIT_ASK;
}
