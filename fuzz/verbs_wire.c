/* What nodes tell each other when they connect by verbs. What is accepted is in its bounds, and is encoded as
 * it came. */
#include "dsm/verbs_wire.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/node.h"

#define CHUNKS_MAX 8u

static void segment(const uint8_t *data, size_t size)
{
	size_t chunks = size ? data[0] % CHUNKS_MAX + 1u : 1u, key_bytes = verbs_key_bytes(chunks);
	/* As large as it must be: a byte too far is seen. */
	unsigned char *key = calloc(1, key_bytes), *again = calloc(1, key_bytes);
	uint32_t *keys = calloc(2 * chunks, sizeof *keys);
	struct verbs_segment s = {.keys = keys}, t = {.keys = keys + chunks};
	uint64_t bytes = 0;

	REQUIRE(key && again && keys);
	if (size)
		memcpy(key, data + 1, size - 1 < key_bytes ? size - 1 : key_bytes);
	memcpy(&bytes, key + 16, sizeof bytes); /* what it says of itself is what is expected */
	if (!verbs_decode_segment(key, bytes, chunks, 7, &s)) {
		REQUIRE(s.bytes && s.address + s.bytes >= s.address && s.access < 8);
		verbs_encode_segment(&s, chunks, 7, again);
		REQUIRE(!verbs_decode_segment(again, bytes, chunks, 7, &t));
		REQUIRE(s.address == t.address && s.bytes == t.bytes && s.access == t.access);
		REQUIRE(!memcmp(s.keys, t.keys, chunks * sizeof *keys));
	}
	free(key);
	free(again);
	free(keys);
}

static void address(const uint8_t *data, size_t size)
{
	struct transport_address bytes, again;
	struct verbs_address a, b;

	memset(&bytes, 0, sizeof bytes);
	memcpy(&bytes, data, size < sizeof bytes ? size : sizeof bytes);
	if (verbs_decode_address(&bytes, &a))
		return;
	REQUIRE(a.reads);
	verbs_encode_address(&a, &again);
	REQUIRE(!verbs_decode_address(&again, &b));
	REQUIRE(!memcmp(a.gid, b.gid, sizeof a.gid) && a.lid == b.lid && a.mtu == b.mtu &&
		a.global == b.global);
}

static void greeting(const uint8_t *data, size_t size)
{
	unsigned char again[VERBS_GREETING_BYTES];
	struct verbs_greeting g, h;

	if (verbs_decode_greeting(data, size, &g))
		return;
	REQUIRE(g.kind >= VERBS_ASK && g.kind <= VERBS_REFUSE);
	REQUIRE(g.kind == VERBS_REFUSE || (g.end.queue_pair >> 24 == 0 && g.end.packet >> 24 == 0));
	verbs_encode_greeting(&g, again);
	REQUIRE(!verbs_decode_greeting(again, sizeof again, &h));
	REQUIRE(g.kind == h.kind && g.job_key[0] == h.job_key[0] && g.job_key[1] == h.job_key[1] &&
		g.from == h.from && g.to == h.to && g.lane == h.lane && g.error == h.error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const decoders[])(const uint8_t *, size_t) = {segment, address, greeting};

	if (size)
		decoders[data[0] % 3](data + 1, size - 1);
	return 0;
}
