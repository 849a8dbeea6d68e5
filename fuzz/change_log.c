/*
 * The change log, as another node's publishing, or its damaged memory, has it: what is applied are pages that
 * entries can tell of, and it ends.
 */
#include "dsm/change_log.h"
#include "dsm/lane.h"
#include "dsm/runtime.h"
#include "fuzz/node.h"

#define ENTRIES 8

static int apply(void *argument, const struct change *change)
{
	uint64_t *pages = argument;

	REQUIRE(change->region < REGIONS_MAX);
	REQUIRE(change->count >= 1 && change->count <= CHANGE_PAGES_MAX);
	for (uint64_t region_pages = 1; region_pages; region_pages <<= 7)
		if (change_lies_in(change, region_pages)) {
			REQUIRE(change->first < region_pages);
			REQUIRE(change->first + change->count <= region_pages);
		}
	*pages += change->count;
	return 0;
}

static void encode_and_decode(void)
{
	struct change change;
	uint64_t word = 0, lap = node_byte();

	for (int i = 0; i < 8; i++)
		word = word << 8 | node_byte();
	if (!change_decode(word, lap, &change))
		return;
	REQUIRE(change_encode(&change, lap) == word);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t pages = 0;

	node_begin(data, size);
	REQUIRE(!change_log_create(FUZZ_NODES, ENTRIES));
	REQUIRE(!change_log_connect());
	encode_and_decode();
	for (int round = 0; round < 8; round++) {
		struct lane *lane = lane_acquire_sync();
		int home = 1 + node_byte() % (FUZZ_NODES - 1), news = change_log_is_news(lane);
		bool lost = false;
		REQUIRE(news <= 1 && news > -4096);
		int error = change_log_apply(lane, home, apply, &pages, &lost);
		REQUIRE_STATUS(error);
		if (!error && lost)
			change_log_caught_up(home);
		lane_release(lane);
	}
	/* A ring tells of no more than it holds. */
	REQUIRE(pages <= (uint64_t)8 * FUZZ_NODES * ENTRIES * CHANGE_PAGES_MAX);
	change_log_destroy();
	node_end();
	return 0;
}
