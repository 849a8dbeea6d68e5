#include "fuzz/node.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/bootstrap.h"
#include "dsm/consistency.h"
#include "dsm/lane.h"
#include "dsm/populate.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

struct runtime runtime;

/* --- the input ---------------------------------------------------------------------------------------------
 */

static const uint8_t *input;
static size_t input_left;

size_t node_bytes_left(void)
{
	return input_left;
}

uint8_t node_byte(void)
{
	if (!input_left)
		return 0;
	input_left--;
	return *input++;
}

static uint64_t next_word(void)
{
	uint64_t word = 0;

	for (size_t i = 0; i < sizeof word; i++)
		word |= (uint64_t)node_byte() << 8 * i;
	return word;
}

/* --- memory of all nodes -----------------------------------------------------------------------------------
 */

static struct {
	unsigned char *memory[FUZZ_NODES];
	size_t bytes;
} segments[SEGMENTS_MAX];

static void *map_anonymous(size_t bytes)
{
	void *memory =
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(memory != MAP_FAILED);
	return memory;
}

static unsigned char *target(int peer, unsigned id, uint64_t offset, size_t bytes)
{
	REQUIRE(peer >= 0 && peer < FUZZ_NODES && id < SEGMENTS_MAX);
	REQUIRE(offset <= segments[id].bytes && bytes <= segments[id].bytes - offset);
	return segments[id].memory[peer] + offset;
}

/* --- the transport -----------------------------------------------------------------------------------------
 */

#define SPOIL_RESULT 1
#define SPOIL_MEMORY 2 /* ours: peers may write there */

/* What peers do that they should not. */
static void misbehave(unsigned id, void *result, size_t bytes)
{
	uint8_t what = node_byte();

	if (what & SPOIL_RESULT && bytes >= sizeof(uint64_t)) {
		uint64_t word = next_word();
		memcpy((unsigned char *)result + (what >> 2) % (bytes / sizeof word) * sizeof word, &word,
		       sizeof word);
	}
	if (what & SPOIL_MEMORY) {
		uint64_t word = next_word(), at = next_word() % (segments[id].bytes / sizeof word);
		memcpy(segments[id].memory[0] + at * sizeof word, &word, sizeof word);
	}
}

static size_t fuzz_key_bytes(struct transport *t, size_t bytes)
{
	(void)t, (void)bytes;
	return 1;
}

static bool fuzz_is_near(const struct transport *t, int peer)
{
	(void)t, (void)peer;
	return false;
}

static int fuzz_probe(struct transport *t, int peer)
{
	(void)t, (void)peer;
	return 0;
}

static int fuzz_expose(struct transport *t, unsigned id, const struct segment_memory *memory, void *key)
{
	(void)t, (void)key;
	segments[id].memory[0] = memory->base;
	segments[id].bytes = memory->bytes;
	for (int peer = 1; peer < FUZZ_NODES; peer++)
		segments[id].memory[peer] = map_anonymous(memory->bytes);
	return 0;
}

static int fuzz_attach(struct transport *t, unsigned id, int peer, size_t bytes, const void *key)
{
	(void)t, (void)id, (void)peer, (void)bytes, (void)key;
	return 0;
}

static int fuzz_read(struct transport *t, struct lane *lane, int peer, unsigned id, uint64_t offset,
		     void *local, size_t bytes)
{
	(void)t, (void)lane;
	memcpy(local, target(peer, id, offset, bytes), bytes);
	misbehave(id, local, bytes);
	return 0;
}

static int fuzz_write(struct transport *t, struct lane *lane, int peer, unsigned id, uint64_t offset,
		      const void *local, size_t bytes)
{
	(void)t, (void)lane;
	memcpy(target(peer, id, offset, bytes), local, bytes);
	return 0;
}

static int fuzz_fetch_add(struct transport *t, struct lane *lane, int peer, unsigned id, uint64_t offset,
			  uint64_t add, uint64_t *old)
{
	uint64_t *word = (uint64_t *)(void *)target(peer, id, offset, sizeof *word);

	(void)t, (void)lane;
	*old = *word;
	*word += add;
	misbehave(id, old, sizeof *old);
	return 0;
}

static int fuzz_compare_swap(struct transport *t, struct lane *lane, int peer, unsigned id, uint64_t offset,
			     uint64_t expected, uint64_t desired, uint64_t *old)
{
	uint64_t *word = (uint64_t *)(void *)target(peer, id, offset, sizeof *word);

	(void)t, (void)lane;
	*old = *word;
	if (*word == expected)
		*word = desired;
	misbehave(id, old, sizeof *old);
	return 0;
}

static int fuzz_complete(struct transport *t, struct lane *lane)
{
	(void)t, (void)lane;
	return 0;
}

static const struct transport_ops fuzz_transport = {
    .name = "fuzz",
    .is_near = fuzz_is_near,
    .probe = fuzz_probe,
    .key_bytes = fuzz_key_bytes,
    .expose = fuzz_expose,
    .attach = fuzz_attach,
    .post_read = fuzz_read,
    .post_write = fuzz_write,
    .post_fetch_add = fuzz_fetch_add,
    .post_compare_swap = fuzz_compare_swap,
    .complete = fuzz_complete,
};

/* --- the rest of a node ------------------------------------------------------------------------------------
 */

void node_begin(const uint8_t *data, size_t size)
{
	static char reports[1024];

	report_capture(reports, sizeof reports);
	input = data;
	input_left = size;
	if (!lanes_count())
		REQUIRE(!lanes_create(1));
	runtime.started = true;
	runtime.nodes = FUZZ_NODES;
	runtime.settings.timeout_ns = 1000;
	runtime.ops = &fuzz_transport;
}

void node_end(void)
{
	for (unsigned id = 0; id < SEGMENTS_MAX; id++) {
		for (int peer = 1; peer < FUZZ_NODES && segments[id].bytes; peer++)
			munmap(segments[id].memory[peer], segments[id].bytes);
		memset(&segments[id], 0, sizeof segments[id]);
	}
}

int bootstrap_agree(const char *what, int status, const char *message)
{
	(void)what, (void)message;
	return status;
}

int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes)
{
	(void)what;
	for (size_t i = 0; i < FUZZ_NODES; i++)
		memcpy((unsigned char *)all + i * bytes, mine, bytes);
	return 0;
}

int dsm_release(void)
{
	return 0;
}

int dsm_acquire(void)
{
	return 0;
}

int consistency_release(const char *what)
{
	(void)what;
	return 0;
}

int consistency_acquire(const char *what)
{
	(void)what;
	return 0;
}

int consistency_renew(const void *address, size_t bytes)
{
	(void)address, (void)bytes;
	return 0;
}

int region_find_range(const void *address, size_t bytes, struct dsm_region **region, size_t *first,
		      size_t *count)
{
	(void)address, (void)bytes, (void)region, (void)first, (void)count;
	return -EFAULT;
}

/* A region as far as the heap knows one: an address and a size. */
int region_create(const char *name, size_t bytes, const struct dsm_region_options *options, unsigned first_id,
		  unsigned end_id, struct dsm_region **region)
{
	static struct dsm_region made[REGIONS_MAX];

	(void)name, (void)options, (void)end_id;
	*region = &made[first_id];
	if (!made[first_id].app)
		made[first_id].app = map_anonymous(bytes);
	made[first_id].bytes = bytes;
	made[first_id].id = first_id;
	return 0;
}

int dsm_region_destroy(dsm_region *region)
{
	(void)region;
	return 0;
}

bool populate_is_needed(const struct dsm_region *r, size_t page)
{
	(void)r, (void)page;
	return false;
}

int populate_home_at(const void *address)
{
	(void)address;
	return -EFAULT;
}
