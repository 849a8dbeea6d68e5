#include "dsm/word.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "dsm/consistency.h"
#include "dsm/heap.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/runtime.h"

int word_find(const void *address, size_t bytes, const char *what, struct word *out)
{
	struct dsm_region *r;
	size_t page, count;
	bool dirty = false, in_heap = false, missing = false;

	if (!runtime.started || (uintptr_t)address % sizeof(uint64_t))
		return -EINVAL;
	struct lane *lane = lane_acquire_sync(); /* until it is let go, the region is not freed */
	int error = region_find_range(address, bytes, &r, &page, &count);
	if (!error) {
		*out = (struct word){home_of(&r->home, page), SEGMENT_DATA(r->id),
				     (uint64_t)((const unsigned char *)address - r->app)};
		/* Without the page's lock: what matters is a store that this thread has made, or knows of. */
		dirty = out->home != runtime.node &&
			__atomic_load_n(&r->table.pages[page].state, __ATOMIC_RELAXED) == PAGE_WRITE;
		missing = populate_is_needed(r, page);
		in_heap = r->id >= REGIONS_OF_APPLICATION;
	}
	lane_release(lane);
	if (!error && dirty)
		error = consistency_release(what);
	if (!error && missing)
		error = populate_home_at(address);
	if (!error && in_heap)
		error = heap_note_atomics(address);
	return error;
}

void word_describe(const struct word *word, char *text, size_t bytes)
{
	struct lane *lane = lane_acquire_sync(); /* until it is let go, the region is not freed */
	const struct dsm_region *r = NULL;

	if (word->segment >= SEGMENT_DATA(0))
		r = atomic_load_explicit(&runtime.regions[(word->segment - SEGMENT_DATA(0)) / 2],
					 memory_order_acquire);
	if (r)
		snprintf(text, bytes, "at %p in region %s", (void *)(r->app + word->offset), r->name);
	else
		snprintf(text, bytes, "at offset %llu of segment %u", (unsigned long long)word->offset,
			 word->segment);
	lane_release(lane);
}

/* Completes what was posted to @home, also after an error; then takes the result out of the scratch buffer.
 */
static int finish(struct lane *lane, int home, int posted, uint64_t *result)
{
	int completed = runtime.ops->complete(runtime.transport, lane);

	if (!posted && !completed)
		*result = *(const uint64_t *)(const void *)lane->scratch;
	lane_release(lane);
	return peers_note(home, posted ? posted : completed);
}

int word_read(const struct word *word, unsigned index, uint64_t *value)
{
	struct lane *lane = lane_acquire_sync();

	return finish(lane, word->home,
		      runtime.ops->post_read(runtime.transport, lane, word->home, word->segment,
					     word->offset + index * sizeof *value, lane->scratch,
					     sizeof *value),
		      value);
}

int word_fetch_add(const struct word *word, unsigned index, uint64_t add, uint64_t *old)
{
	struct lane *lane = lane_acquire_sync();

	return finish(lane, word->home,
		      runtime.ops->post_fetch_add(runtime.transport, lane, word->home, word->segment,
						  word->offset + index * sizeof *old, add,
						  (uint64_t *)(void *)lane->scratch),
		      old);
}

int word_compare_swap(const struct word *word, unsigned index, uint64_t expected, uint64_t desired,
		      uint64_t *old)
{
	struct lane *lane = lane_acquire_sync();

	return finish(lane, word->home,
		      runtime.ops->post_compare_swap(runtime.transport, lane, word->home, word->segment,
						     word->offset + index * sizeof *old, expected, desired,
						     (uint64_t *)(void *)lane->scratch),
		      old);
}
