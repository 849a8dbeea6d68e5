#include "dsm/lock_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/*
 * One place. `turn` is the target of atomics, and touched through the transport only. It counts uses in which
 * the node had to wait: who moves it from `use` to `use + 1` first decides, the node before us (it is our
 * turn) or ourselves (we give up).
 */
struct slot {
	_Alignas(64) _Atomic uint64_t next; /* id of who waits behind us; written by it. 0: nobody yet */
	_Atomic uint64_t woken;	 /* use + 1: the node before us has moved `turn`, or has found it moved */
	_Atomic uint64_t passed; /* use + 1: the node before us is done with a place that was given up */
	_Atomic uint64_t before; /* id of who we wait behind, for messages; 0: nobody. Written by us */
	uint64_t turn;
};

#define NO_SLOT UINT32_MAX

/* What this node knows of its places. */
static struct {
	uint32_t next_free;
	uint32_t use; /* value of `turn` while nobody competes for it */
	bool given_up;
} known[LOCK_PLACES];
static uint32_t first_free, first_fresh;
static uint32_t given_up; /* how many places wait to be passed */
static pthread_mutex_t mutex =
    PTHREAD_MUTEX_INITIALIZER; /* of the above; held for moments, by no signal handler */

static struct node_segment segment;

static struct slot *slots(void)
{
	return segment.memory;
}

int lock_queue_create(void)
{
	first_free = NO_SLOT;
	first_fresh = given_up = 0;
	memset(known, 0, sizeof known);
	return node_segment_create(&segment, "minorca-locks", LOCK_PLACES * sizeof(struct slot));
}

void lock_queue_destroy(void)
{
	node_segment_destroy(&segment);
}

int lock_queue_connect(void)
{
	return node_segment_connect(&segment, SEGMENT_LOCKS, PEERS_READ | PEERS_WRITE | PEERS_ATOMIC);
}

/* --- ids: 16 bits node + 1, 16 bits slot, 32 bits use ----------------------------------------------------
 */

static uint64_t id_make(int node, uint32_t slot, uint32_t use)
{
	return (uint64_t)(node + 1) << 48 | (uint64_t)slot << 32 | use;
}

static int id_node(uint64_t id)
{
	return (int)(id >> 48) - 1;
}

static uint32_t id_slot(uint64_t id)
{
	return (uint32_t)(id >> 32) & 0xffff;
}

static uint32_t id_use(uint64_t id)
{
	return (uint32_t)id;
}

/* Wraps: a place that is taken and waited in once a microsecond gets there within hours. */
static uint32_t use_after(uint32_t use)
{
	return use + 1;
}

/* A field of the place with that id, as a word. */
static struct word field(uint64_t id, size_t offset)
{
	return (struct word){id_node(id), SEGMENT_LOCKS, id_slot(id) * sizeof(struct slot) + offset};
}

/* --- places ----------------------------------------------------------------------------------------------
 */

/* Places that were given up and that nobody will touch any more are free again. */
static void collect_given_up(void)
{
	for (uint32_t s = 0; s < first_fresh && given_up; s++)
		if (known[s].given_up &&
		    atomic_load_explicit(&slots()[s].passed, memory_order_acquire) == known[s].use) {
			known[s].given_up = false;
			known[s].next_free = first_free;
			first_free = s;
			given_up--;
		}
}

static int place_take(struct lock_place *place)
{
	uint32_t slot = NO_SLOT;

	pthread_mutex_lock(&mutex);
	if (first_free == NO_SLOT && first_fresh == LOCK_PLACES)
		collect_given_up();
	if (first_free != NO_SLOT) {
		slot = first_free;
		first_free = known[slot].next_free;
	} else if (first_fresh < LOCK_PLACES) {
		slot = first_fresh++;
	}
	pthread_mutex_unlock(&mutex);
	if (slot == NO_SLOT)
		return -ENOLCK;
	/* Nobody knows of the place: what others wrote for its last use has come, for that use has ended. */
	atomic_store_explicit(&slots()[slot].next, 0, memory_order_relaxed);
	atomic_store_explicit(&slots()[slot].before, 0, memory_order_relaxed);
	*place = (struct lock_place){slot, id_make(runtime.node, slot, known[slot].use)};
	return 0;
}

static void place_put(const struct lock_place *place)
{
	pthread_mutex_lock(&mutex);
	known[place->slot].next_free = first_free;
	first_free = place->slot;
	pthread_mutex_unlock(&mutex);
}

/* --- one-sided steps -------------------------------------------------------------------------------------
 */

/* Writes @value into a word that is no target of atomics. */
static int write_word(struct word word, uint64_t value)
{
	struct lane *lane = lane_acquire_sync();
	uint64_t *source = (uint64_t *)(void *)lane->scratch;

	*source = value;
	int error = runtime.ops->post_write(runtime.transport, lane, word.home, word.segment, word.offset,
					    source, sizeof value);
	int completed = runtime.ops->complete(runtime.transport, lane);
	lane_release(lane);
	return error ? error : completed;
}

/* Makes it the turn of @id, and wakes it. @given_up: it was too late, that node waits no more. */
static int pass_turn(uint64_t id, bool *was_given_up)
{
	struct word turn = field(id, offsetof(struct slot, turn)),
		    woken = field(id, offsetof(struct slot, woken));
	struct lane *lane = lane_acquire_sync();
	uint64_t *words = (uint64_t *)(void *)lane->scratch;
	uint32_t use = id_use(id);

	words[1] = use_after(use);
	int error = runtime.ops->post_compare_swap(runtime.transport, lane, turn.home, turn.segment,
						   turn.offset, use, use_after(use), &words[0]);
	if (!error)
		error = runtime.ops->post_write(runtime.transport, lane, woken.home, woken.segment,
						woken.offset, &words[1], sizeof words[1]);
	int completed = runtime.ops->complete(runtime.transport, lane);
	*was_given_up = words[0] != use;
	lane_release(lane);
	return error ? error : completed;
}

/* --- who is in the way -----------------------------------------------------------------------------------
 */

/* Follows the queue from @id to its head, one-sided. A guess: it moves meanwhile. */
static int find_head(uint64_t id)
{
	for (unsigned steps = 0; steps < 4096; steps++) {
		struct word before = field(id, offsetof(struct slot, before));
		uint64_t next;
		if (word_read(&before, 0, &next) || !next)
			break;
		id = next;
	}
	return id_node(id);
}

static int report_timeout(const char *what, const struct lock_place *place)
{
	uint64_t before = atomic_load_explicit(&slots()[place->slot].before, memory_order_relaxed);

	report(
	    "%s: node %d has the lock, and this node's turn behind node %d has not come within %g s "
	    "(MINORCA_TIMEOUT); look at node %d: it holds the lock for longer than that, hangs, or has died",
	    what, find_head(before), id_node(before), (double)runtime.settings.timeout_ns / 1e9,
	    find_head(before));
	return -ETIMEDOUT;
}

/* --- entering --------------------------------------------------------------------------------------------
 */

/* Waits for our turn; or gives up. */
static int wait_for_turn(const char *what, const struct lock_place *place)
{
	struct slot *own = &slots()[place->slot];
	uint64_t deadline = clock_ns() + runtime.settings.timeout_ns, old;
	uint32_t use = id_use(place->id);
	struct word turn = field(place->id, offsetof(struct slot, turn));
	bool late = false;

	known[place->slot].use = use_after(use); /* whoever wins, this use of `turn` is over then */
	/* Acquire: pairs with the write in pass_turn(), whose node had published before it. */
	for (unsigned turns = 0; atomic_load_explicit(&own->woken, memory_order_acquire) != use_after(use);) {
		if (!backoff(&turns) || clock_ns() < deadline)
			continue;
		if (late)
			return -EHOSTDOWN; /* it was our turn, and the waker died before it said so */
		int error = word_compare_swap(&turn, 0, use, use_after(use), &old);
		if (error)
			return error;
		if (old == use)
			return report_timeout(what, place);
		late = true; /* our turn has come just now: its waker writes as we speak */
		deadline = clock_ns() + runtime.settings.timeout_ns;
	}
	atomic_store_explicit(&own->before, 0, memory_order_relaxed);
	return 0;
}

static void give_up(const struct lock_place *place)
{
	pthread_mutex_lock(&mutex);
	known[place->slot].given_up = true;
	given_up++;
	pthread_mutex_unlock(&mutex);
}

int lock_queue_enter(const struct word *tail, const char *what, struct lock_place *place)
{
	uint64_t last = 0, found;
	int error = place_take(place);

	if (error)
		return error;
	/* The tail moves from whoever is last to us. Sequentially consistent on the home's word. */
	for (;; last = found) {
		error = word_compare_swap(tail, 0, last, place->id, &found);
		if (error) {
			place_put(place);
			return error;
		}
		if (found == last)
			break;
	}
	if (!last)
		return 0;
	atomic_store_explicit(&slots()[place->slot].before, last, memory_order_relaxed);
	error = write_word(field(last, offsetof(struct slot, next)), place->id);
	if (!error)
		error = wait_for_turn(what, place);
	if (error)
		give_up(place); /* if the fabric failed, for good */
	return error;
}

int lock_queue_try(const struct word *tail, struct lock_place *place)
{
	uint64_t found;
	int error = place_take(place);

	if (error)
		return error;
	error = word_compare_swap(tail, 0, 0, place->id, &found);
	if (!error && found)
		error = -EBUSY;
	if (error)
		place_put(place);
	return error;
}

/* --- leaving ---------------------------------------------------------------------------------------------
 */

bool lock_queue_is_contended(const struct lock_place *place)
{
	return atomic_load_explicit(&slots()[place->slot].next, memory_order_relaxed) != 0;
}

/* The id of who waits behind the place @id; 0: nobody has said so. It is no target of atomics: our own we
 * just load. */
static int read_next(uint64_t id, uint64_t *next)
{
	struct word word = field(id, offsetof(struct slot, next));

	if (id_node(id) != runtime.node)
		return word_read(&word, 0, next);
	*next = atomic_load_explicit(&slots()[id_slot(id)].next, memory_order_acquire);
	return 0;
}

/* The id of who is behind the place @id, which may be given up; 0: nobody, and the lock is free now. */
static int find_next(const struct word *tail, const char *what, uint64_t id, uint64_t *next)
{
	uint64_t deadline = 0, found;
	int error = read_next(id, next);

	if (error || *next)
		return error;
	error = word_compare_swap(tail, 0, id, 0, &found);
	if (error || found == id)
		return error;
	/* Somebody has entered, and is about to say so. */
	for (unsigned turns = 0; !error && !*next;) {
		if (backoff(&turns)) {
			deadline = deadline ? deadline : clock_ns() + runtime.settings.timeout_ns;
			if (clock_ns() > deadline) {
				report("%s: node %d is last in the queue of the lock, and somebody before it "
				       "entered and "
				       "never said so (within %g s, MINORCA_TIMEOUT): it has died",
				       what, id_node(found), (double)runtime.settings.timeout_ns / 1e9);
				return -ETIMEDOUT;
			}
		}
		error = read_next(id, next);
	}
	return error;
}

int lock_queue_leave(const struct word *tail, const char *what, struct lock_place *place)
{
	uint64_t id = place->id, next;
	bool was_given_up = true;
	int error = 0;

	/* Past all that gave up, to the first that has not. */
	while (was_given_up) {
		error = find_next(tail, what, id, &next);
		if (!error && id != place->id)
			error = write_word(field(id, offsetof(struct slot, passed)), use_after(id_use(id)));
		if (error)
			return error;
		if (!next)
			break;
		error = pass_turn(next, &was_given_up);
		if (error)
			return error;
		id = next;
	}
	place_put(place);
	return 0;
}
