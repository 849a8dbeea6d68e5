#include "dsm/heap_words.h"

#include <string.h>

#include "dsm/peers.h"
#include "dsm/runtime.h"

/* Words of one node that lie in a row. */
struct words {
	int node;
	uint64_t offset; /* in SEGMENT_HEAP */
	size_t count;
};

static size_t per_node;

void heap_words_set_up(size_t slabs)
{
	per_node = slabs;
}

/* The states of both halves, then the bitmaps of both, the marks of both, and the count of askings. */
static size_t marks_offset(void)
{
	return HEAP_HALVES * per_node * (1 + SLAB_WORDS) * sizeof(uint64_t);
}

static size_t asked_offset(void)
{
	return marks_offset() + HEAP_HALVES * per_node * sizeof(uint64_t);
}

size_t heap_words_bytes(void)
{
	return asked_offset() + sizeof(uint64_t);
}

_Atomic uint64_t *heap_asked(void *words)
{
	return (_Atomic uint64_t *)(void *)((unsigned char *)words + asked_offset());
}

int heap_keeper(size_t slab)
{
	return (int)(slab / per_node);
}

/* The first of @count states: as many as one node has, and as can be had in one go. */
static struct words find_states(enum heap_half half, size_t slab, size_t count)
{
	size_t own = slab % per_node;

	count = count < per_node - own ? count : per_node - own;
	return (struct words){
	    .node = heap_keeper(slab),
	    .offset = ((size_t)half * per_node + own) * sizeof(uint64_t),
	    .count = count < HEAP_WORDS_AT_ONCE ? count : HEAP_WORDS_AT_ONCE,
	};
}

static struct words find_mark(enum heap_half half, size_t slab)
{
	return (struct words){
	    .node = heap_keeper(slab),
	    .offset = marks_offset() + ((size_t)half * per_node + slab % per_node) * sizeof(uint64_t),
	    .count = 1,
	};
}

static struct words find_bitmap(enum heap_half half, size_t slab, unsigned first, unsigned count)
{
	size_t entry = (size_t)half * per_node + slab % per_node;

	return (struct words){
	    .node = heap_keeper(slab),
	    .offset = (HEAP_HALVES * per_node + entry * SLAB_WORDS + first) * sizeof(uint64_t),
	    .count = count,
	};
}

/* --- with a lane --------------------------------------------------------------------------------------- */

/* Waits for what was posted, also when posting failed on the way; takes its results; lets the lane go. */
static int end(struct lane *lane, int node, int posted, uint64_t *out, size_t count)
{
	int completed = runtime.ops->complete(runtime.transport, lane);
	int error = posted ? posted : completed;

	if (!error)
		memcpy(out, lane->scratch, count * sizeof *out);
	lane_release(lane);
	peers_note(node, error);
	return error;
}

static int read_words(const struct words *from, uint64_t *out)
{
	struct lane *lane = lane_acquire_sync();
	int error = runtime.ops->post_read(runtime.transport, lane, from->node, SEGMENT_HEAP, from->offset,
					   lane->scratch, from->count * sizeof *out);

	return end(lane, from->node, error, out, from->count);
}

static int swap_words(const struct words *at, const uint64_t *expected, const uint64_t *desired,
		      uint64_t *old)
{
	struct lane *lane = lane_acquire_sync();
	uint64_t *results = (uint64_t *)(void *)lane->scratch;
	int error = 0;

	for (size_t i = 0; i < at->count && !error; i++)
		error = runtime.ops->post_compare_swap(runtime.transport, lane, at->node, SEGMENT_HEAP,
						       at->offset + i * sizeof *old, expected[i], desired[i],
						       &results[i]);
	return end(lane, at->node, error, old, at->count);
}

/* --- what there is to do with them ---------------------------------------------------------------------- */

int heap_read_states(enum heap_half half, size_t slab, size_t count, uint64_t *states)
{
	int error = 0;

	for (size_t done = 0; done < count && !error;) {
		struct words some = find_states(half, slab + done, count - done);
		error = read_words(&some, states + done);
		done += some.count;
	}
	return error;
}

int heap_read_bitmap(enum heap_half half, size_t slab, unsigned count, uint64_t *words)
{
	struct words bitmap = find_bitmap(half, slab, 0, count);

	return read_words(&bitmap, words);
}

int heap_swap_states(enum heap_half half, size_t slab, size_t count, const uint64_t *expected,
		     const uint64_t *desired, uint64_t *old)
{
	int error = 0;

	for (size_t done = 0; done < count && !error;) {
		struct words some = find_states(half, slab + done, count - done);
		error = swap_words(&some, expected + done, desired + done, old + done);
		done += some.count;
	}
	return error;
}

int heap_swap_state(enum heap_half half, size_t slab, uint64_t expected, uint64_t desired, uint64_t *old)
{
	return heap_swap_states(half, slab, 1, &expected, &desired, old);
}

int heap_swap_bitmap(enum heap_half half, size_t slab, unsigned word, uint64_t expected, uint64_t desired,
		     uint64_t *old)
{
	struct words one = find_bitmap(half, slab, word, 1);

	return swap_words(&one, &expected, &desired, old);
}

int heap_mark(enum heap_half half, size_t slab)
{
	struct words mark = find_mark(half, slab);
	struct lane *lane = lane_acquire_sync();
	uint64_t *one = (uint64_t *)(void *)lane->scratch, unused;

	*one = 1;
	return end(lane, mark.node,
		   runtime.ops->post_write(runtime.transport, lane, mark.node, SEGMENT_HEAP, mark.offset, one,
					   sizeof *one),
		   &unused, 1);
}

int heap_read_mark(enum heap_half half, size_t slab, uint64_t *mark)
{
	struct words one = find_mark(half, slab);

	return read_words(&one, mark);
}

/* A node that is lost has nothing to give up; and two that ask at once ask once. */
void heap_ask_others(void)
{
	for (int node = 0; node < runtime.nodes; node++) {
		struct words word = {node, asked_offset(), 1};
		uint64_t asked, old, next;

		if (node == runtime.node || read_words(&word, &asked))
			continue;
		next = asked + 1;
		swap_words(&word, &asked, &next, &old);
	}
}
