#include "dsm/heap_part.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "dsm/clock.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* Full slabs that are looked at for objects that were freed elsewhere, before a new slab is taken: few, so
 * that what an allocation costs does not grow with what is allocated. */
#define LOOK_AGAIN_SLABS 8
/* For so long a part that was full is believed to be. */
#define FULL_NS 10000000u
#define FREE_AT_ONCE 256
/* Slabs without objects that a node keeps of a part, so that a program that takes and frees one object does
 * not take and give up a slab each time. */
#define EMPTY_SLABS_KEPT 4

/* A slab of this node. */
struct slab {
	struct slab *next, *previous;
	size_t number;
	unsigned class;
	unsigned known_count;
	uint64_t seen[SLAB_WORDS];  /* its bitmap; bits that are clear here are clear there */
	uint64_t known[SLAB_WORDS]; /* objects that may be handed out: bits of them are clear */
};

/* Doubly linked, with a head that is no slab. */
struct list {
	struct slab *first, *last;
};

struct heap_part {
	enum heap_half half;
	size_t first, slabs;
	pthread_mutex_t mutex; /* over all below; never held while the application's memory is touched */
	struct list open[SLAB_CLASSES];	     /* objects of them are known to be free */
	struct list full[SLAB_CLASSES];	     /* others: some may have been freed by another node */
	struct slab *kept[EMPTY_SLABS_KEPT]; /* open slabs without objects, oldest first; then NULL */
	struct slab **owned;		     /* [number - first] */
	size_t hint;			     /* slabs before it are likely taken */
	uint64_t full_until;		     /* believed to be full until then, ... */
	size_t full_for;		     /* ... for as many slabs in a row */
};

/* --- lists --------------------------------------------------------------------------------------------- */

static void list_append(struct list *list, struct slab *slab)
{
	slab->next = NULL;
	slab->previous = list->last;
	if (list->last)
		list->last->next = slab;
	else
		list->first = slab;
	list->last = slab;
}

static void list_remove(struct list *list, struct slab *slab)
{
	if (slab->previous)
		slab->previous->next = slab->next;
	else
		list->first = slab->next;
	if (slab->next)
		slab->next->previous = slab->previous;
	else
		list->last = slab->previous;
}

static struct list *list_of(struct heap_part *part, const struct slab *slab)
{
	return slab->known_count ? &part->open[slab->class] : &part->full[slab->class];
}

/* --- making -------------------------------------------------------------------------------------------- */

struct heap_part *heap_part_create(enum heap_half half, size_t first_slab, size_t slabs)
{
	struct heap_part *part = calloc(1, sizeof *part);
	struct slab **owned = calloc(slabs, sizeof *owned);

	if (!part || !owned) {
		free(part);
		free(owned);
		return NULL;
	}
	part->half = half;
	part->first = first_slab;
	part->slabs = slabs;
	part->owned = owned;
	pthread_mutex_init(&part->mutex, NULL);
	return part;
}

void heap_part_destroy(struct heap_part *part)
{
	if (!part)
		return;
	for (size_t i = 0; i < part->slabs; i++)
		free(part->owned[i]);
	pthread_mutex_destroy(&part->mutex);
	free(part->owned);
	free(part);
}

/* --- slabs that become ours ----------------------------------------------------------------------------- */

static uint64_t own_state(unsigned class)
{
	return slab_encode(
	    (struct slab_state){.kind = SLAB_SMALL, .owner = (unsigned)runtime.node, .class = class});
}

bool heap_part_recall(struct heap_part *part, size_t number, uint64_t *state)
{
	pthread_mutex_lock(&part->mutex);
	const struct slab *slab = part->owned[number - part->first];
	if (slab)
		*state = own_state(slab->class);
	pthread_mutex_unlock(&part->mutex);
	return slab;
}

bool heap_part_is_possible(const struct heap_part *part, size_t slab, uint64_t state)
{
	return slab_is_possible(state, slab - part->first, part->slabs, (unsigned)runtime.nodes);
}

/* Objects that others have freed: they may be handed out after an acquire, which the caller has done. */
static void learn(struct heap_part *part, struct slab *slab)
{
	list_remove(list_of(part, slab), slab);
	slab->known_count = 0;
	for (unsigned w = 0; w < slab_words(slab->class); w++) {
		slab->known[w] = ~slab->seen[w] & slab_object_bits(slab->class, w);
		slab->known_count += (unsigned)__builtin_popcountll(slab->known[w]);
	}
	list_append(list_of(part, slab), slab);
}

/* True if none of the slabs from @at on is this node's. A peer's words may say that one is free: then nothing
 * of the part can be believed, for who has it would share it. */
static bool are_others(const struct heap_part *part, size_t at, size_t count)
{
	for (size_t i = at; i < at + count; i++)
		if (part->owned[i]) {
			report("the heap's slab %zu is this node's, and the words on node %d say that it is "
			       "free: they "
			       "are damaged",
			       part->first + i, heap_keeper(part->first + i));
			return false;
		}
	return true;
}

/* Takes the free slab @number, whose state is @state. @return also -EAGAIN: somebody else has taken it. */
static int own(struct heap_part *part, size_t number, uint64_t state, unsigned class)
{
	uint64_t desired = own_state(class);
	struct slab *slab = NULL;
	uint64_t old;

	if (!are_others(part, number - part->first, 1))
		return -EPROTO;
	slab = calloc(1, sizeof *slab);
	if (!slab)
		return -ENOMEM;
	int error = heap_swap_state(part->half, number, state, desired, &old);
	if (!error && old != state)
		error = -EAGAIN;
	if (!error && state != SLAB_WORD_FRESH)
		error = dsm_acquire();
	if (error) {
		if (error != -EAGAIN)
			heap_swap_state(part->half, number, desired, SLAB_WORD_FREED, &old);
		free(slab);
		return error;
	}
	slab->number = number;
	slab->class = class;
	part->owned[number - part->first] = slab;
	list_append(&part->full[class], slab);
	learn(part, slab);
	return 0;
}

/* Takes the first free slab from @from on. */
static int own_next(struct heap_part *part, size_t from, unsigned class)
{
	uint64_t states[512];

	for (size_t at = from, count; at < part->slabs; at += count) {
		count = part->slabs - at < 512 ? part->slabs - at : 512;
		int error = heap_read_states(part->half, part->first + at, count, states);
		for (size_t i = 0; !error && (i += slab_find_free(states + i, count - i)) < count; i++) {
			error = own(part, part->first + at + i, states[i], class);
			if (!error)
				part->hint = at + i + 1;
			if (error != -EAGAIN)
				return error;
			error = 0;
		}
		if (error)
			return error;
	}
	return -ENOSPC;
}

static int own_any(struct heap_part *part, unsigned class)
{
	int error = own_next(part, part->hint, class);

	return error == -ENOSPC && part->hint ? own_next(part, 0, class) : error;
}

static void kept_remove(struct heap_part *part, const struct slab *slab)
{
	unsigned at = 0;

	while (at < EMPTY_SLABS_KEPT && part->kept[at] != slab)
		at++;
	if (at == EMPTY_SLABS_KEPT)
		return;
	for (; at + 1 < EMPTY_SLABS_KEPT; at++)
		part->kept[at] = part->kept[at + 1];
	part->kept[at] = NULL;
}

/* Gives up a slab without objects. The caller has released. */
static int disown(struct heap_part *part, struct slab *slab)
{
	uint64_t old, state = own_state(slab->class);
	size_t at = slab->number - part->first;

	kept_remove(part, slab);
	list_remove(list_of(part, slab), slab);
	part->owned[at] = NULL;
	part->hint = at < part->hint ? at : part->hint;
	part->full_until = 0;
	int error = heap_swap_state(part->half, slab->number, state, SLAB_WORD_FREED, &old);
	free(slab);
	return error;
}

/* --- looking again ------------------------------------------------------------------------------------- */

/* Reads the bitmap of a slab; returns in @news whether objects are free that were not known to be. */
static int look(struct heap_part *part, struct slab *slab, bool *news)
{
	int error = heap_read_bitmap(part->half, slab->number, slab_words(slab->class), slab->seen);

	for (unsigned w = 0; !error && w < slab_words(slab->class); w++)
		*news |= (~slab->seen[w] & slab_object_bits(slab->class, w)) != slab->known[w];
	return error;
}

/* Looks at up to @most full slabs of a class for objects that others have freed. Those that were looked at go
 * to the end, so that next time others have their turn. */
static int look_again(struct heap_part *part, unsigned class, size_t most)
{
	struct slab *looked_at[LOOK_AGAIN_SLABS];
	bool news = false;
	int error = 0;
	size_t count = 0;

	for (; count < most && part->full[class].first && !error; count++) {
		struct slab *slab = part->full[class].first;
		if (count && slab == looked_at[0])
			break; /* all */
		looked_at[count] = slab;
		list_remove(&part->full[class], slab);
		list_append(&part->full[class], slab);
		error = look(part, slab, &news);
	}
	if (!error && news)
		error = dsm_acquire();
	for (size_t i = 0; i < count && !error && news; i++)
		learn(part, looked_at[i]);
	return error;
}

/* Looks at all full slabs of a class until one has something. */
static int look_at_all(struct heap_part *part, unsigned class)
{
	size_t slabs = 0;
	int error = 0;

	for (struct slab *slab = part->full[class].first; slab; slab = slab->next)
		slabs++;
	for (size_t done = 0; done < slabs && !part->open[class].first && !error; done += LOOK_AGAIN_SLABS)
		error = look_again(part, class, LOOK_AGAIN_SLABS);
	return error;
}

static bool is_empty(const struct slab *slab)
{
	for (unsigned w = 0; w < slab_words(slab->class); w++)
		if (slab->seen[w])
			return false;
	return true;
}

/* Gives up all slabs of the list that have no objects. */
static int trim_list(struct heap_part *part, struct list *list)
{
	int error = 0;
	bool news = false;

	for (struct slab *slab = list->first, *next; slab && !error; slab = next) {
		next = slab->next;
		error = look(part, slab, &news);
		if (!error && is_empty(slab))
			error = disown(part, slab);
	}
	return error;
}

static int trim(struct heap_part *part)
{
	int error = dsm_release();

	for (unsigned class = 0; class < SLAB_CLASSES && !error; class ++) {
		error = trim_list(part, &part->open[class]);
		if (!error)
			error = trim_list(part, &part->full[class]);
	}
	return error;
}

int heap_part_trim(struct heap_part *part)
{
	pthread_mutex_lock(&part->mutex);
	int error = trim(part);
	pthread_mutex_unlock(&part->mutex);
	return error;
}

/* --- objects ------------------------------------------------------------------------------------------- */

/* Sees to it that a slab of the class is open. */
static int open_slab(struct heap_part *part, unsigned class)
{
	const struct list *open = &part->open[class];
	int error = look_again(part, class, LOOK_AGAIN_SLABS);

	if (error || open->first)
		return error;
	error = own_any(part, class);
	if (error != -ENOSPC)
		return error;
	error = look_at_all(part, class);
	if (error || open->first)
		return error;
	error = trim(part);
	return error ? error : own_any(part, class);
}

/* Sets the bit of an object that is known to be free. */
static int take_known(struct heap_part *part, struct slab *slab, unsigned *object)
{
	unsigned w = 0;

	while (!slab->known[w])
		w++;
	uint64_t bit = slab->known[w] & -slab->known[w], old = slab->seen[w];
	do {
		slab->seen[w] = old; /* others have cleared bits meanwhile */
		int error =
		    heap_swap_bitmap(part->half, slab->number, w, slab->seen[w], slab->seen[w] | bit, &old);
		if (error)
			return error;
	} while (old != slab->seen[w]);
	kept_remove(part, slab);
	slab->seen[w] |= bit;
	slab->known[w] &= ~bit;
	if (!--slab->known_count) {
		list_remove(&part->open[slab->class], slab);
		list_append(&part->full[slab->class], slab);
	}
	*object = w * 64 + (unsigned)__builtin_ctzll(bit);
	return 0;
}

static bool believed_full(const struct heap_part *part, size_t length, bool thorough)
{
	return !thorough && part->full_until && length >= part->full_for && clock_ns() < part->full_until;
}

static void believe_full(struct heap_part *part, size_t length)
{
	part->full_until = clock_ns() + FULL_NS;
	part->full_for = length;
}

void heap_part_expect_room(struct heap_part *part)
{
	pthread_mutex_lock(&part->mutex);
	part->full_until = 0;
	pthread_mutex_unlock(&part->mutex);
}

int heap_part_take_object(struct heap_part *part, unsigned class, bool thorough, size_t *slab,
			  unsigned *object)
{
	int error = 0;

	pthread_mutex_lock(&part->mutex);
	if (!part->open[class].first) {
		error = believed_full(part, 1, thorough) ? -ENOSPC : open_slab(part, class);
		if (error == -ENOSPC)
			believe_full(part, 1);
	}
	if (!error) {
		*slab = part->open[class].first->number;
		error = take_known(part, part->open[class].first, object);
	}
	pthread_mutex_unlock(&part->mutex);
	return error;
}

/* Clears the bit @bit of word @w; *@seen is what it may be, and what it is then. */
static int clear_bit(enum heap_half half, size_t slab, unsigned w, uint64_t bit, uint64_t *seen)
{
	uint64_t old = *seen;

	do {
		*seen = old;
		if (!(*seen & bit))
			return -EINVAL;
		int error = heap_swap_bitmap(half, slab, w, *seen, *seen & ~bit, &old);
		if (error)
			return error;
	} while (old != *seen);
	*seen &= ~bit;
	return 0;
}

/* Keeps a slab that has become empty, and gives up the one that has been kept longest. If that fails, it
 * stays as it is. */
static void keep(struct heap_part *part, struct slab *slab)
{
	if (part->kept[EMPTY_SLABS_KEPT - 1] && !dsm_release())
		disown(part, part->kept[0]);
	for (unsigned at = 0; at < EMPTY_SLABS_KEPT; at++)
		if (!part->kept[at]) {
			part->kept[at] = slab;
			return;
		}
}

int heap_part_give_object(struct heap_part *part, size_t number, unsigned class, unsigned object)
{
	uint64_t bit = UINT64_C(1) << (object % 64);
	unsigned w = object / 64;

	pthread_mutex_lock(&part->mutex);
	struct slab *slab = part->owned[number - part->first];
	/* NULL: given up meanwhile, so nothing in it was allocated. What is known to be free is not either,
	 * whatever the bitmap says that peers may write to. */
	bool may_be = slab && slab->class == class && !(slab->known[w] & bit);
	int error = may_be ? clear_bit(part->half, number, w, bit, &slab->seen[w]) : -EINVAL;
	if (!error) {
		list_remove(list_of(part, slab), slab);
		slab->known[w] |= bit;
		slab->known_count++;
		list_append(&part->open[class], slab);
		if (slab->known_count == slab_objects(class))
			keep(part, slab);
	}
	pthread_mutex_unlock(&part->mutex);
	return error;
}

int heap_give_object(enum heap_half half, size_t slab, unsigned object)
{
	uint64_t words[SLAB_WORDS];
	unsigned w = object / 64;
	int error = heap_read_bitmap(half, slab, w + 1, words);

	return error ? error : clear_bit(half, slab, w, UINT64_C(1) << (object % 64), &words[w]);
}

/* --- runs ---------------------------------------------------------------------------------------------- */

/* What a run is taken with: three arrays of as many words as the part has slabs. */
struct claim {
	struct heap_part *part;
	uint64_t *states, *desired, *old;
};

/* Undoes what was done to slabs [@first, @first + @count) of the part, whose results are in claim->old. The
 * head is the last, for as long as it is there nobody tries to take the others. */
static int roll_back(struct claim *claim, size_t first, size_t count)
{
	int error = 0;
	uint64_t old;

	for (size_t i = first + count; i-- > first && !error;)
		if (claim->old[i] == claim->states[i])
			error = heap_swap_state(claim->part->half, claim->part->first + i, claim->desired[i],
						claim->states[i], &old);
	return error;
}

/* Takes the run at @first. @return also -EAGAIN: somebody else was faster; nothing is taken. */
static int claim_run(struct claim *claim, size_t first, size_t length)
{
	struct heap_part *part = claim->part;
	unsigned owner = (unsigned)runtime.node;

	for (size_t i = 0; i < length; i++)
		claim->desired[first + i] = slab_encode((struct slab_state){
		    .kind = i ? SLAB_TAIL : SLAB_HEAD, .owner = owner, .length = (uint32_t)(i ? i : length)});
	int error = heap_swap_state(part->half, part->first + first, claim->states[first],
				    claim->desired[first], &claim->old[first]);
	if (error)
		return error;
	if (claim->old[first] != claim->states[first])
		return -EAGAIN;
	error = heap_swap_states(part->half, part->first + first + 1, length - 1, claim->states + first + 1,
				 claim->desired + first + 1, claim->old + first + 1);
	if (error)
		return error; /* the transport has failed: what is taken stays taken */
	if (!memcmp(claim->old + first, claim->states + first, length * sizeof(uint64_t)))
		return 0;
	error = roll_back(claim, first, length);
	return error ? error : -EAGAIN;
}

/*
 * Somebody always gets on: of runs that overlap, the one with the highest head meets no other head, and
 * whoever looks again sees a head and keeps off its run. The bound is for what nobody has thought of.
 */
static int find_and_claim(struct claim *claim, size_t length, size_t *found)
{
	struct heap_part *part = claim->part;
	uint64_t deadline = clock_ns() + runtime.settings.timeout_ns;
	bool trimmed = false;

	for (;;) {
		int error = heap_read_states(part->half, part->first, part->slabs, claim->states);
		if (error)
			return error;
		*found = slab_find_run(claim->states, part->slabs, length);
		if (*found < part->slabs)
			error = are_others(part, *found, length) ? claim_run(claim, *found, length) : -EPROTO;
		else
			error = trimmed ? -ENOSPC : trim(part);
		if (*found < part->slabs ? error != -EAGAIN : error)
			return error;
		trimmed |= *found >= part->slabs;
		if (clock_ns() > deadline)
			return -ETIMEDOUT;
	}
}

static int take_run_locked(struct heap_part *part, size_t length, size_t *slab, bool *fresh)
{
	uint64_t *words = malloc(3 * part->slabs * sizeof *words);
	struct claim claim = {part, words, words + part->slabs, words + 2 * part->slabs};
	size_t found = 0;

	if (!words)
		return -ENOMEM;
	int error = find_and_claim(&claim, length, &found);
	if (!error) {
		*slab = part->first + found;
		*fresh = true;
		for (size_t i = 0; i < length; i++)
			*fresh &= claim.states[found + i] == SLAB_WORD_FRESH;
	}
	free(words);
	return error;
}

int heap_part_take_run(struct heap_part *part, size_t length, bool thorough, size_t *slab, bool *fresh)
{
	if (length > part->slabs)
		return -ENOSPC;
	pthread_mutex_lock(&part->mutex);
	int error =
	    believed_full(part, length, thorough) ? -ENOSPC : take_run_locked(part, length, slab, fresh);
	if (error == -ENOSPC)
		believe_full(part, length);
	pthread_mutex_unlock(&part->mutex);
	if (!error && !*fresh)
		error = dsm_acquire();
	return error;
}

static int free_tails(enum heap_half half, size_t slab, const struct slab_state *head)
{
	uint64_t expected[FREE_AT_ONCE], desired[FREE_AT_ONCE], old[FREE_AT_ONCE];
	int error = 0;

	for (size_t at = 1, count; at < head->length && !error; at += count) {
		count = head->length - at < FREE_AT_ONCE ? head->length - at : FREE_AT_ONCE;
		for (size_t i = 0; i < count; i++) {
			expected[i] = slab_encode((struct slab_state){
			    .kind = SLAB_TAIL, .owner = head->owner, .length = (uint32_t)(at + i)});
			desired[i] = SLAB_WORD_FREED;
		}
		error = heap_swap_states(half, slab + at, count, expected, desired, old);
	}
	return error;
}

int heap_give_run(enum heap_half half, size_t slab, uint64_t state)
{
	struct slab_state head = slab_decode(state), leaving = head;
	uint64_t old;

	leaving.kind = SLAB_LEAVING;
	int error = heap_swap_state(half, slab, state, slab_encode(leaving), &old);
	if (!error && old != state)
		error = -EINVAL;
	if (!error && head.length > 1)
		error = free_tails(half, slab, &head);
	if (!error)
		error = heap_swap_state(half, slab, slab_encode(leaving), SLAB_WORD_FREED, &old);
	return error;
}

int heap_part_survey(struct heap_part *part, size_t *taken, size_t *longest_free)
{
	uint64_t *states = malloc(part->slabs * sizeof *states);
	int error = states ? heap_read_states(part->half, part->first, part->slabs, states) : -ENOMEM;

	if (!error)
		slab_survey(states, part->slabs, taken, longest_free);
	free(states);
	return error;
}
