/*
 * dsm_malloc() and dsm_free() over words that peers may have changed: what is allocated lies in the heap, no
 * word indexes anything unchecked, and both end.
 */
#include <stdbool.h>

#include <minorca.h>

#include "dsm/heap.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/slab.h"
#include "fuzz/node.h"

#define HELD_MAX 8
#define SLABS_OF_A_NODE 4

static unsigned char *held[HELD_MAX];
static unsigned held_count;
static struct dsm_region *halves[2];

static bool lies_in_heap(const unsigned char *memory, size_t bytes)
{
	for (int half = 0; half < 2; half++) {
		size_t offset = (size_t)(memory - halves[half]->app);
		if (offset < halves[half]->bytes && bytes <= halves[half]->bytes - offset)
			return true;
	}
	return false;
}

static void allocate(uint8_t choice)
{
	static const size_t sizes[] = {
	    1, 100, 4096, SLAB_OBJECT_BYTES_MAX, SLAB_BYTES, 3 * SLAB_BYTES, 9 * SLAB_BYTES, 0};
	size_t bytes = sizes[choice >> 2 & 7];
	int where = choice >> 5 > FUZZ_NODES ? DSM_INTERLEAVED : (choice >> 5) - 1;
	void *memory = NULL;
	int error = dsm_malloc(bytes, where, &memory);

	REQUIRE_STATUS(error);
	if (error)
		return;
	REQUIRE(lies_in_heap(memory, bytes));
	if (held_count < HELD_MAX)
		held[held_count++] = memory;
}

/* What was allocated, or anything else. */
static void free_something(uint8_t choice)
{
	unsigned char *anywhere =
	    halves[choice >> 2 & 1]->app + node_byte() * SLAB_BYTES / 4 + (choice >> 3) * 16;
	int error = dsm_free(choice & 2 && held_count ? held[--held_count] : anywhere);

	REQUIRE_STATUS(error);
}

static void check_words(void)
{
	uint64_t word = 0;

	for (int i = 0; i < 8; i++)
		word = word << 8 | node_byte();
	struct slab_state s = slab_decode(word);
	if (!slab_is_possible(word, 3, 10, FUZZ_NODES))
		return;
	if (s.kind == SLAB_SMALL) {
		REQUIRE(slab_objects(s.class) >= 2 && slab_words(s.class) <= SLAB_WORDS);
		REQUIRE(slab_class_bytes(s.class) <= SLAB_OBJECT_BYTES_MAX);
	}
	if (s.kind == SLAB_HEAD || s.kind == SLAB_LEAVING)
		REQUIRE(s.length <= 7);
	if (s.kind == SLAB_TAIL)
		REQUIRE(s.length <= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	node_begin(data, size);
	held_count = 0;
	runtime.settings.heap_bytes = (uint64_t)2 * FUZZ_NODES * SLABS_OF_A_NODE * SLAB_BYTES;
	runtime.settings.heap_page_bytes = 4096;
	check_words();
	REQUIRE(!heap_create());
	for (unsigned half = 0; half < 2; half++)
		region_create("", runtime.settings.heap_bytes / 2, NULL, REGIONS_OF_APPLICATION + half, 0,
			      &halves[half]);
	for (int i = 0; i < 24 && node_bytes_left(); i++) {
		uint8_t choice = node_byte();
		if (choice & 1)
			allocate(choice);
		else
			free_something(choice);
	}
	heap_destroy();
	node_end();
	return 0;
}
