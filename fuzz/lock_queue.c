/*
 * The queue of nodes for a lock, with tails and places that say anything: no index leaves its array, and
 * nothing waits for ever.
 */
#include <string.h>

#include "dsm/lock_queue.h"
#include "dsm/node_segment.h"
#include "dsm/runtime.h"
#include "fuzz/node.h"

#define HELD_MAX 4

static struct {
	struct lock_place place;
	struct word tail;
} held[HELD_MAX];
static unsigned held_count;

static void enter_or_leave(uint8_t choice)
{
	struct word tail = {choice >> 2 & 1, SEGMENT_CONTROL, (size_t)(choice >> 3 & 3) * 64};
	struct lock_place place;
	int error;

	if (choice & 1 && held_count) {
		held_count--;
		error = lock_queue_leave(&held[held_count].tail, "fuzz", &held[held_count].place);
		REQUIRE_STATUS(error);
		return;
	}
	error = choice & 2 ? lock_queue_enter(&tail, "fuzz", &place) : lock_queue_try(&tail, &place);
	REQUIRE_STATUS(error);
	if (error || held_count == HELD_MAX)
		return;
	(void)lock_queue_is_contended(&place);
	held[held_count].place = place;
	held[held_count++].tail = tail;
}

static void check_ids(void)
{
	uint64_t id = 0;

	for (int i = 0; i < 8; i++)
		id = id << 8 | node_byte();
	if (!lock_id_is_possible(id, FUZZ_NODES))
		return;
	REQUIRE(lock_id_node(id) >= 0 && lock_id_node(id) < FUZZ_NODES && lock_id_slot(id) < LOCK_PLACES);
	REQUIRE(lock_id_make(lock_id_node(id), lock_id_slot(id), lock_id_use(id)) == id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct node_segment words;

	node_begin(data, size);
	held_count = 0;
	REQUIRE(!lock_queue_create() && !lock_queue_connect());
	REQUIRE(!node_segment_create(&words, "fuzz-words", 4096));
	REQUIRE(!node_segment_connect(&words, SEGMENT_CONTROL, true));
	check_ids();
	for (int i = 0; i < 16 && node_bytes_left(); i++)
		enter_or_leave(node_byte());
	while (held_count)
		enter_or_leave(1);
	node_segment_destroy(&words);
	lock_queue_destroy();
	node_end();
	return 0;
}
