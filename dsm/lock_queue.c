#include "dsm/lock_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/peers.h"
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
	_Atomic uint64_t before; /* id of who we wait behind; 0: nobody; or ABANDONED. Written by us */
	_Atomic uint64_t lock;	 /* which lock's queue the place is in; written by us */
	uint64_t turn;
};

#define ABANDONED UINT64_MAX

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

/* Wraps: a place that is taken and waited in once a microsecond gets there within hours. */
static uint32_t use_after(uint32_t use)
{
	return use + 1;
}

/* A number for the lock that no other lock has. */
static uint64_t lock_number(const struct word *tail)
{
	return (uint64_t)tail->segment << 48 | tail->offset;
}

/* A field of the place with that id, as a word. */
static struct word field(uint64_t id, size_t offset)
{
	return (struct word){lock_id_node(id), SEGMENT_LOCKS,
			     lock_id_slot(id) * sizeof(struct slot) + offset};
}

/* @id was read from a word of @where, and is used next. @return 0; -EPROTO: it cannot be. Who and where the
 * words are is all that can be said: a plain store may have gone there, or they were not zero at first. */
static int check_id(uint64_t id, int where, const char *what)
{
	if (lock_id_is_possible(id, runtime.nodes))
		return 0;
	report("%s: a word of the lock, on node %d, is %#llx, which no lock writes: it was not zero at "
	       "first, or was "
	       "overwritten",
	       what, where, (unsigned long long)id);
	return -EPROTO;
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

static int place_take(const struct word *tail, struct lock_place *place)
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
	atomic_store_explicit(&slots()[slot].lock, lock_number(tail), memory_order_relaxed);
	*place = (struct lock_place){slot, lock_id_make(runtime.node, slot, known[slot].use)};
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
	return peers_note(word.home, error ? error : completed);
}

/* Makes it the turn of @id, and wakes it. @given_up: it was too late, that node waits no more. */
static int pass_turn(uint64_t id, bool *was_given_up)
{
	struct word turn = field(id, offsetof(struct slot, turn)),
		    woken = field(id, offsetof(struct slot, woken));
	struct lane *lane = lane_acquire_sync();
	uint64_t *words = (uint64_t *)(void *)lane->scratch;
	uint32_t use = lock_id_use(id);

	words[1] = use_after(use);
	int error = runtime.ops->post_compare_swap(runtime.transport, lane, turn.home, turn.segment,
						   turn.offset, use, use_after(use), &words[0]);
	if (!error)
		error = runtime.ops->post_write(runtime.transport, lane, woken.home, woken.segment,
						woken.offset, &words[1], sizeof words[1]);
	int completed = runtime.ops->complete(runtime.transport, lane);
	*was_given_up = words[0] != use;
	lane_release(lane);
	return peers_note(turn.home, error ? error : completed);
}

/* --- who is in the way -----------------------------------------------------------------------------------
 */

/* Follows the queue from @id to its head, one-sided. A guess: it moves meanwhile. */
static int find_head(uint64_t id)
{
	for (unsigned steps = 0; steps < 4096; steps++) {
		struct word before = field(id, offsetof(struct slot, before));
		uint64_t next;
		if (word_read(&before, 0, &next) || !lock_id_is_possible(next, runtime.nodes))
			break;
		id = next;
	}
	return lock_id_node(id);
}

static int report_timeout(const char *what, const struct lock_place *place)
{
	uint64_t before = atomic_load_explicit(&slots()[place->slot].before, memory_order_relaxed);

	report(
	    "%s: node %d has the lock, and this node's turn behind node %d has not come within %g s "
	    "(MINORCA_TIMEOUT); look at node %d: it holds the lock for longer than that, hangs, or has died",
	    what, find_head(before), lock_id_node(before), (double)runtime.settings.timeout_ns / 1e9,
	    find_head(before));
	return -ETIMEDOUT;
}

/*
 * Follows the queue from @id to its head for a place that will never pass the turn on: of a node that is
 * lost, or abandoned. The queue moves meanwhile, and a place that was left may be in the queue of another
 * lock by now; it says so. (If it is in this one again, it is behind us: then the lock is lost too, only
 * later.)
 *
 * @return its id; 0: none.
 */
static uint64_t find_broken(uint64_t id, const struct word *tail)
{
	for (unsigned steps = 0; steps < 4096; steps++) {
		struct word before = field(id, offsetof(struct slot, before)),
			    lock = field(id, offsetof(struct slot, lock));
		uint64_t next, number;
		if (peers_ask(lock_id_node(id)))
			return id;
		/* In this order: if the place was left in between, the number has changed. */
		if (word_read(&before, 0, &next) || word_read(&lock, 0, &number) ||
		    number != lock_number(tail) || !next)
			return 0;
		if (next == ABANDONED)
			return id;
		if (!lock_id_is_possible(next, runtime.nodes))
			return 0;
		id = next;
	}
	return 0;
}

static int report_broken(const char *what, uint64_t broken, const struct word *tail)
{
	char lock[128], means[320];

	word_describe(tail, lock, sizeof lock);
	if (peers_is_lost(lock_id_node(broken))) {
		snprintf(means, sizeof means,
			 "node %d has the lock %s, or was to have it before this node; nobody can have it "
			 "any more",
			 lock_id_node(broken), lock);
		return peers_tell(-EHOSTDOWN, what, means);
	}
	report(
	    "%s: node %d had the lock %s, and could not publish what it stored under it, or not hand it on: "
	    "nobody can have it any more",
	    what, lock_id_node(broken), lock);
	return -EHOSTDOWN;
}

/* The node before us, @before, cannot be told that we wait behind it. */
static int report_not_told(const char *what, uint64_t before, const struct word *tail, int error)
{
	char lock[128];

	if (error == -EHOSTDOWN)
		return report_broken(what, before, tail);
	word_describe(tail, lock, sizeof lock);
	report(
	    "%s: node %d, which has the lock %s or is to have it before this node, cannot be told that this "
	    "node waits: %s",
	    what, lock_id_node(before), lock, strerror(-error));
	return error;
}

/* It was our turn, and @before, who said so in one word, did not in the other. */
static int report_not_woken(const char *what, uint64_t before, const struct word *tail)
{
	char lock[128];

	word_describe(tail, lock, sizeof lock);
	report(
	    "%s: node %d handed the lock %s to this node, and failed before that was done: nobody can have "
	    "it any more",
	    what, lock_id_node(before), lock);
	return -EHOSTDOWN;
}

/* --- entering --------------------------------------------------------------------------------------------
 */

/*
 * Waits for our turn; or gives up: when the time is up, or the turn will never come. In @broken is then
 * because of which place. Turn and giving up compete also if a node died: it may have passed the turn before.
 */
static int wait_for_turn(const struct word *tail, const char *what, const struct lock_place *place,
			 uint64_t *broken)
{
	struct slot *own = &slots()[place->slot];
	uint32_t use = lock_id_use(place->id);
	struct word word = field(place->id, offsetof(struct slot, turn));
	uint64_t before = atomic_load_explicit(&own->before, memory_order_relaxed), old;
	struct wait wait = {0};
	bool late = false;

	*broken = 0;
	known[place->slot].use = use_after(use); /* whoever wins, this use of `turn` is over then */
	/* Acquire: pairs with the write in pass_turn(), whose node had published before it. */
	while (atomic_load_explicit(&own->woken, memory_order_acquire) != use_after(use)) {
		enum wait_turn turn = wait_turn(&wait);
		if (turn == WAIT_ASK && !late)
			*broken = find_broken(before, tail);
		if (turn != WAIT_OVER && (late || !*broken))
			continue;
		if (late)
			return report_not_woken(what, before, tail);
		int error = word_compare_swap(&word, 0, use, use_after(use), &old);
		if (error)
			return error;
		if (old == use)
			return *broken ? report_broken(what, *broken, tail) : report_timeout(what, place);
		late = true; /* our turn has come just now: its waker writes as we speak */
		wait = (struct wait){0};
	}
	*broken = 0;
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

/* Moves the tail from whoever is last, in @last, to us. Sequentially consistent on the home's word. */
static int take_tail(const struct word *tail, const char *what, const struct lock_place *place,
		     uint64_t *last)
{
	uint64_t found;

	for (*last = 0;; *last = found) {
		if (*last && peers_is_lost(lock_id_node(*last)))
			return report_broken(what, *last, tail);
		int error = word_compare_swap(tail, 0, *last, place->id, &found);
		if (!error && found && found != *last)
			error = check_id(found, tail->home, what);
		if (error)
			return peers_tell(error, what, "the lock's home is, and so is the lock");
		if (found == *last)
			return 0;
	}
}

int lock_queue_enter(const struct word *tail, const char *what, struct lock_place *place)
{
	uint64_t last, found, broken = 0;
	int error = place_take(tail, place);

	if (error)
		return error;
	error = take_tail(tail, what, place, &last);
	if (error)
		place_put(place);
	if (error || !last)
		return error;
	atomic_store_explicit(&slots()[place->slot].before, last, memory_order_relaxed);
	error = write_word(field(last, offsetof(struct slot, next)), place->id);
	if (error)
		error = report_not_told(what, last, tail, error);
	else
		error = wait_for_turn(tail, what, place, &broken);
	if (error)
		give_up(place); /* if the fabric failed, for good */
	/* Those that come after us need not wait to find out. (Our place stays as it is: if the node lives
	 * after all, it finds that we gave up, and nobody behind us.) */
	if (broken)
		word_compare_swap(tail, 0, place->id, broken, &found);
	return error;
}

int lock_queue_try(const struct word *tail, struct lock_place *place)
{
	uint64_t found;
	int error = place_take(tail, place);

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

void lock_queue_abandon(const struct lock_place *place)
{
	atomic_store_explicit(&slots()[place->slot].before, ABANDONED, memory_order_release);
}

bool lock_queue_is_contended(const struct lock_place *place)
{
	return atomic_load_explicit(&slots()[place->slot].next, memory_order_relaxed) != 0;
}

/* The id of who waits behind the place @id; 0: nobody has said so. It is no target of atomics: our own we
 * just load. */
static int read_next(uint64_t id, const char *what, uint64_t *next)
{
	struct word word = field(id, offsetof(struct slot, next));
	int error = 0;

	if (lock_id_node(id) != runtime.node)
		error = word_read(&word, 0, next);
	else
		*next = atomic_load_explicit(&slots()[lock_id_slot(id)].next, memory_order_acquire);
	return error || !*next ? error : check_id(*next, word.home, what);
}

/* The id of who is behind the place @id, which may be given up; 0: nobody, and the lock is free now. */
static int find_next(const struct word *tail, const char *what, uint64_t id, uint64_t *next)
{
	unsigned lost_before = peers_lost_count();
	struct wait wait = {0};
	uint64_t found;
	int error = read_next(id, what, next);

	if (error || *next)
		return error;
	error = word_compare_swap(tail, 0, id, 0, &found);
	if (error || found == id)
		return error;
	/* Somebody has entered, and is about to say so. Who is last we know; between us may be others. */
	while (!error && !*next) {
		enum wait_turn turn = wait_turn(&wait);
		if (turn == WAIT_ASK && (peers_ask(lock_id_node(found)) || peers_lost_count() != lost_before))
			return peers_tell(-EHOSTDOWN, what,
					  "it came into the lock's queue, and never said behind whom; nobody "
					  "can have the lock any more");
		if (turn == WAIT_OVER) {
			report("%s: node %d is last in the queue of the lock, and somebody before it entered "
			       "and never said so (within %g s, MINORCA_TIMEOUT): it has died",
			       what, lock_id_node(found), (double)runtime.settings.timeout_ns / 1e9);
			return -ETIMEDOUT;
		}
		error = read_next(id, what, next);
	}
	return error;
}

static int report_endless(const char *what, uint64_t id)
{
	report("%s: the queue of the lock goes in a circle at node %d: its memory is damaged", what,
	       lock_id_node(id));
	return -EPROTO;
}

int lock_queue_leave(const struct word *tail, const char *what, struct lock_place *place)
{
	uint64_t id = place->id, next, most = (uint64_t)runtime.nodes * LOCK_PLACES;
	bool was_given_up = true;
	int error = 0;

	/* Past all that gave up, to the first that has not. There are no more than all places. */
	for (uint64_t steps = 0; was_given_up; steps++) {
		error = steps < most ? find_next(tail, what, id, &next) : report_endless(what, id);
		if (!error && id != place->id)
			error =
			    write_word(field(id, offsetof(struct slot, passed)), use_after(lock_id_use(id)));
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
