/*
 * The heap's making, and its calls. Which slabs and objects are taken is heap_part.c's.
 *
 * A free releases first, unless the object goes back to this node itself: a twin of this node may have stores
 * to the object that are not published yet, and would be published over what the next owner stores. An
 * allocation acquires, unless what it gets was not used by another node since the last acquire: an old copy
 * of a page here would hide from the next publish a store that happens to restore what the copy says.
 */
#include "dsm/heap.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "dsm/bootstrap.h"
#include "dsm/consistency.h"
#include "dsm/heap_part.h"
#include "dsm/heap_words.h"
#include "dsm/node_segment.h"
#include "dsm/peers.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/slab.h"
#include "kernel/memory.h"

#define WHY_BYTES 512

static struct {
	bool made;
	char why[WHY_BYTES]; /* there is none */
	struct dsm_region *regions[HEAP_HALVES];
	size_t per_node;	  /* slabs of each half */
	struct heap_part **parts; /* one for each node, and the interleaved one */
	struct node_segment words;
	atomic_uchar *marked[HEAP_HALVES]; /* [slab]: this node knows that its mark is set */
	_Atomic uint64_t answered;	   /* how many askings of other nodes we have seen */
} heap;

/* --- making -------------------------------------------------------------------------------------------- */

static int make_parts(void)
{
	heap.parts = calloc((size_t)runtime.nodes + 1, sizeof(struct heap_part *));
	for (int half = 0; half < HEAP_HALVES; half++)
		heap.marked[half] = calloc(heap.per_node * (size_t)runtime.nodes, 1);
	if (!heap.parts || !heap.marked[HEAP_PARTS] || !heap.marked[HEAP_INTERLEAVED])
		return -ENOMEM;
	for (size_t i = 0; i <= (size_t)runtime.nodes; i++) {
		bool interleaved = i == (size_t)runtime.nodes;
		heap.parts[i] = heap_part_create(interleaved ? HEAP_INTERLEAVED : HEAP_PARTS,
						 interleaved ? 0 : i * heap.per_node,
						 interleaved ? i * heap.per_node : heap.per_node);
		if (!heap.parts[i])
			return -ENOMEM;
	}
	return 0;
}

/* The words and the parts, and the words to the peers. */
static int open_words(void)
{
	int error = node_segment_create(&heap.words, "minorca-heap", heap_words_bytes());

	if (!error)
		error = make_parts();
	error = bootstrap_agree("dsm_init()", error, "out of memory for its tables");
	return error
		   ? error
		   : node_segment_connect(&heap.words, SEGMENT_HEAP, PEERS_READ | PEERS_WRITE | PEERS_ATOMIC);
}

static int make_region(enum heap_half half, const char *name)
{
	size_t page_bytes = runtime.settings.heap_page_bytes;
	struct dsm_region_options options = {
	    .page_size_bytes = page_bytes,
	    .home = half == HEAP_PARTS ? DSM_HOME_BLOCK : DSM_HOME_CYCLIC,
	    .chunk_bytes = page_bytes,
	    .sparse = true,
	};
	unsigned id = REGIONS_OF_APPLICATION + (unsigned)half;

	return region_create(name, heap.per_node * (size_t)runtime.nodes * SLAB_BYTES, &options, id, id + 1,
			     &heap.regions[half]);
}

/* Of each half every node has as many slabs, in whole pages, and at least one. */
static void plan(void)
{
	size_t unit = runtime.settings.heap_page_bytes / SLAB_BYTES;
	size_t slabs = (runtime.settings.heap_bytes + SLAB_BYTES - 1) / SLAB_BYTES;
	size_t shares = HEAP_HALVES * (size_t)runtime.nodes;

	unit = unit ? unit : 1;
	heap.per_node = ((slabs + shares - 1) / shares + unit - 1) / unit * unit;
	heap_words_set_up(heap.per_node);
}

/* One node knows why; all are to. */
static int spread_reason(void)
{
	char *all = calloc((size_t)runtime.nodes, WHY_BYTES);
	int error = bootstrap_gather("dsm_init()", heap.why, all, WHY_BYTES);

	for (int i = 0; all && !error && !heap.why[0] && i < runtime.nodes; i++)
		memcpy(heap.why, all + (size_t)i * WHY_BYTES, WHY_BYTES - 1); /* its end is ours */
	free(all);
	return error;
}

static void unmake_regions(void)
{
	for (int half = 0; half < HEAP_HALVES; half++) {
		if (heap.regions[half])
			dsm_region_destroy(heap.regions[half]);
		heap.regions[half] = NULL;
	}
}

int heap_create(void)
{
	if (!runtime.settings.heap_bytes) {
		snprintf(heap.why, sizeof heap.why, "MINORCA_HEAP_BYTES is 0");
		return 0;
	}
	plan();
	report_capture(heap.why, sizeof heap.why); /* said when it is missed, and not before */
	int error = make_region(HEAP_PARTS, "minorca-heap-parts");
	if (!error)
		error = make_region(HEAP_INTERLEAVED, "minorca-heap-interleaved");
	if (!error)
		error = open_words();
	report_capture(NULL, 0);
	if (error == -ETIMEDOUT || error == -EIO) {
		if (heap.why[0])
			report("%s", heap.why);
		return error;
	}
	heap.made = !error;
	if (!error)
		return 0;
	unmake_regions();
	error = spread_reason();
	if (!error && strlen(heap.why) < sizeof heap.why - 80)
		strcat(heap.why,
		       "; that was when the job started; MINORCA_HEAP_BYTES says how large it is to be");
	return error;
}

void heap_destroy(void)
{
	for (size_t i = 0; heap.parts && i <= (size_t)runtime.nodes; i++)
		heap_part_destroy(heap.parts[i]);
	free(heap.parts);
	for (int half = 0; half < HEAP_HALVES; half++)
		free((void *)heap.marked[half]);
	node_segment_destroy(&heap.words);
	memset(&heap, 0, sizeof heap);
}

/* --- where things are ---------------------------------------------------------------------------------- */

/* A piece of the heap, by slab. */
struct place {
	enum heap_half half;
	size_t slab;
	size_t offset; /* in the slab */
};

static bool find_place(const void *memory, struct place *out)
{
	for (int half = 0; half < HEAP_HALVES; half++) {
		const struct dsm_region *r = heap.regions[half];
		size_t offset = (size_t)((const unsigned char *)memory - r->app);
		if (offset < r->bytes) {
			*out = (struct place){(enum heap_half)half, offset / SLAB_BYTES, offset % SLAB_BYTES};
			return true;
		}
	}
	return false;
}

static void *address_of(enum heap_half half, size_t slab, size_t offset)
{
	return heap.regions[half]->app + slab * SLAB_BYTES + offset;
}

static struct heap_part *part_of(const struct place *place)
{
	return heap.parts[place->half == HEAP_PARTS ? place->slab / heap.per_node : (size_t)runtime.nodes];
}

/* The part to try as number @turn: the one that was asked for, then the others around; all of them once. */
static struct heap_part *part_for(int where, int turn)
{
	int interleaved = runtime.nodes, first = where < 0 ? runtime.node : where;

	if (turn == (where == DSM_INTERLEAVED ? 0 : interleaved))
		return heap.parts[interleaved];
	int around = first + turn - (where == DSM_INTERLEAVED);
	return heap.parts[around < runtime.nodes ? around : around - runtime.nodes];
}

static enum heap_half half_of(const struct heap_part *part)
{
	return part == heap.parts[runtime.nodes] ? HEAP_INTERLEAVED : HEAP_PARTS;
}

/* Gives up what we do not use, if somebody who found the heap full has asked for it. The word is in our own
 * memory, so it costs nothing to look. */
static void answer(void)
{
	uint64_t asked = atomic_load_explicit(heap_asked(heap.words.memory), memory_order_relaxed);

	if (asked == atomic_load_explicit(&heap.answered, memory_order_relaxed) ||
	    atomic_exchange_explicit(&heap.answered, asked, memory_order_relaxed) == asked)
		return;
	for (int i = 0; i <= runtime.nodes; i++)
		heap_part_trim(heap.parts[i]); /* if that fails, whoever needs the node will say so */
}

/* --- allocating ---------------------------------------------------------------------------------------- */

/* What is asked for. */
struct request {
	const char *call;
	size_t bytes;
	int where;
};

static int allocate_in(struct heap_part *part, size_t bytes, bool thorough, void **memory, bool *fresh)
{
	size_t slab = 0, offset = 0;
	unsigned object = 0;
	int error;

	*fresh = false;
	if (bytes <= SLAB_OBJECT_BYTES_MAX) {
		unsigned class = slab_class_of(bytes);
		error = heap_part_take_object(part, class, thorough, &slab, &object);
		offset = object * slab_class_bytes(class);
	} else {
		error = heap_part_take_run(part, (bytes - 1) / SLAB_BYTES + 1, thorough, &slab, fresh);
	}
	if (!error)
		*memory = address_of(half_of(part), slab, offset);
	return error;
}

static void report_full(const struct request *request)
{
	size_t total = 0, taken = 0, longest = 0;

	for (int i = 0; i <= runtime.nodes; i++) {
		size_t part_taken = 0, part_longest = 0;
		if (heap_part_survey(heap.parts[i], &part_taken, &part_longest))
			continue;
		taken += part_taken;
		longest = part_longest > longest ? part_longest : longest;
	}
	total = HEAP_HALVES * heap.per_node * (size_t)runtime.nodes;
	report("%s: no room for %zu bytes: of the heap's %zu KiB, %zu KiB are taken, and the longest piece "
	       "that is free is of %zu KiB; enlarge the heap with MINORCA_HEAP_BYTES, which is %" PRIu64
	       " now; or free more: pieces that other nodes keep though they are free come back when those "
	       "nodes next allocate or free, which they were asked for",
	       request->call, request->bytes, total * (SLAB_BYTES / KIB), taken * (SLAB_BYTES / KIB),
	       longest * (SLAB_BYTES / KIB), runtime.settings.heap_bytes);
}

static int check_request(const struct request *request)
{
	if (request->where < DSM_INTERLEAVED || request->where >= runtime.nodes) {
		report("%s: there is no node %d; the job has nodes 0 to %d, and there are DSM_HERE and "
		       "DSM_INTERLEAVED",
		       request->call, request->where, runtime.nodes - 1);
		return -EINVAL;
	}
	if (!heap.made) {
		report("%s: there is no heap: %s", request->call, heap.why);
		return -ENOMEM;
	}
	return 0;
}

/* Once around the parts. */
static int allocate_anywhere(const struct request *request, bool thorough, void **memory, bool *fresh)
{
	size_t bytes = request->bytes ? request->bytes : 1;
	int error = -ENOSPC;

	for (int turn = 0; turn <= runtime.nodes && error == -ENOSPC; turn++)
		error = allocate_in(part_for(request->where, turn), bytes, thorough, memory, fresh);
	return error;
}

static int allocate(const struct request *request, void **memory, bool *fresh)
{
	int error = check_request(request);

	if (error)
		return error;
	answer();
	error = allocate_anywhere(request, false, memory, fresh);
	if (error == -ENOSPC)
		error = allocate_anywhere(request, true, memory, fresh);
	if (error == -ENOSPC) {
		heap_ask_others();
		report_full(request);
		return -ENOMEM;
	}
	if (error && error != -EHOSTDOWN)
		report("%s: %zu bytes could not be allocated: %s", request->call, request->bytes,
		       strerror(-error));
	peers_tell(error, request->call, "the heap cannot be used as before");
	return error;
}

int dsm_malloc(size_t bytes, int where, void **memory)
{
	struct request request = {"dsm_malloc()", bytes, where};
	int saved_errno = errno;
	bool fresh;

	if (!runtime.started)
		return -EINVAL;
	int error = allocate(&request, memory, &fresh);
	errno = saved_errno;
	return error;
}

int dsm_calloc(size_t count, size_t bytes, int where, void **memory)
{
	struct request request = {"dsm_calloc()", SIZE_MAX, where};
	int saved_errno = errno;
	void *got;
	bool fresh;

	if (!runtime.started)
		return -EINVAL;
	if (__builtin_mul_overflow(count, bytes, &request.bytes))
		request.bytes = SIZE_MAX;
	int error = allocate(&request, &got, &fresh);
	if (!error && !fresh) {
		memset(got, 0, request.bytes);
		/* To the home: atomics and locks are used there. */
		error = dsm_release();
		if (error)
			dsm_free(got);
	}
	if (!error)
		*memory = got;
	errno = saved_errno;
	return error;
}

/* --- atomics in the heap ------------------------------------------------------------------------------- */

int heap_note_atomics(const void *address)
{
	struct place place;

	if (!find_place(address, &place))
		return 0;
	atomic_uchar *marked = &heap.marked[place.half][place.slab];
	if (atomic_load_explicit(marked, memory_order_relaxed))
		return 0;
	int error = heap_mark(place.half, place.slab);
	if (!error)
		atomic_store_explicit(marked, 1, memory_order_relaxed); /* a mark is never taken back */
	return error;
}

/* Before an object is free for others: if atomics were done in slabs of it, no copy of its pages is current
 * any more. */
static int forget_atomics(const struct place *place, size_t slabs, const void *memory, size_t bytes)
{
	uint64_t mark = 0;
	int error = 0;

	for (size_t i = 0; i < slabs && !error && !mark; i++)
		error = heap_read_mark(place->half, place->slab + i, &mark);
	return error || !mark ? error : consistency_renew(memory, bytes);
}

/* --- freeing ------------------------------------------------------------------------------------------- */

static int refuse_inside(const void *memory, const void *begin)
{
	report("dsm_free(%p): inside the object that begins at %p; free that address", memory, begin);
	return -EINVAL;
}

static int refuse_free(const void *memory)
{
	report("dsm_free(%p): freed already, or never allocated; nothing was done", memory);
	return -EINVAL;
}

/* Is the object's bit set? */
static int look_at(const struct place *place, unsigned object, bool *allocated)
{
	uint64_t words[SLAB_WORDS];
	int error = heap_read_bitmap(place->half, place->slab, object / 64 + 1, words);

	if (!error)
		*allocated = words[object / 64] >> (object % 64) & 1;
	return error;
}

static int free_object(const struct place *place, const struct slab_state *state, const void *memory)
{
	size_t bytes = slab_class_bytes(state->class);
	unsigned object = (unsigned)(place->offset / bytes);
	bool in_object = object < slab_objects(state->class), allocated = false;
	int error = 0;

	if (!in_object)
		return refuse_free(memory);
	if (place->offset % bytes) {
		error = look_at(place, object, &allocated);
		if (error)
			return error;
		return allocated ? refuse_inside(memory, address_of(place->half, place->slab, object * bytes))
				 : refuse_free(memory);
	}
	error = forget_atomics(place, 1, memory, bytes);
	if (error)
		return error;
	if (state->owner == (unsigned)runtime.node) {
		error = heap_part_give_object(part_of(place), place->slab, state->class, object);
	} else {
		error = dsm_release();
		if (!error)
			error = heap_give_object(place->half, place->slab, object);
	}
	return error == -EINVAL ? refuse_free(memory) : error;
}

static int free_run(const struct place *place, uint64_t word, const void *memory)
{
	if (place->offset)
		return refuse_inside(memory, address_of(place->half, place->slab, 0));
	size_t slabs = slab_decode(word).length;
	int error = forget_atomics(place, slabs, memory, slabs * SLAB_BYTES);
	if (!error)
		error = dsm_release();
	if (!error)
		error = heap_give_run(place->half, place->slab, word);
	if (!error)
		heap_part_expect_room(part_of(place));
	return error == -EINVAL ? refuse_free(memory) : error;
}

static int free_place(const struct place *place, const void *memory)
{
	uint64_t word;
	int error = heap_part_recall(part_of(place), place->slab, &word)
			? 0
			: heap_read_states(place->half, place->slab, 1, &word);

	if (error)
		return error;
	if (!heap_part_is_possible(part_of(place), place->slab, word))
		return -EPROTO;
	struct slab_state state = slab_decode(word);
	switch (state.kind) {
	case SLAB_SMALL:
		return free_object(place, &state, memory);
	case SLAB_HEAD:
		return free_run(place, word, memory);
	case SLAB_TAIL:
		return refuse_inside(memory, address_of(place->half, place->slab - state.length, 0));
	default:
		return refuse_free(memory);
	}
}

int dsm_free(void *memory)
{
	int saved_errno = errno;
	struct place place;

	if (!runtime.started)
		return -EINVAL;
	if (!memory)
		return 0;
	if (!heap.made || !find_place(memory, &place)) {
		report("dsm_free(%p): not memory of dsm_malloc(): it does not lie in the heap", memory);
		return -EINVAL;
	}
	answer();
	int error = free_place(&place, memory);
	if (error == -EPROTO)
		report("dsm_free(%p): the words that describe it, on node %d, are damaged; nothing was done",
		       memory, heap_keeper(place.slab));
	else if (error && error != -EINVAL && error != -EHOSTDOWN)
		report("dsm_free(%p): could not be freed, for the words that describe it are on node %d: %s",
		       memory, heap_keeper(place.slab), strerror(-error));
	peers_tell(error, "dsm_free()", "memory whose words are there stays taken");
	errno = saved_errno;
	return error;
}
