/* What nodes tell each other when they connect by verbs. What is accepted is in its bounds, and is encoded as
 * it came. */
#include "dsm/verbs_wire.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz/node.h"

static void segment(const uint8_t *data, size_t size)
{
	struct segment_key key, again;
	struct verbs_segment s, t;

	memset(&key, 0, sizeof key);
	memcpy(&key, data, size < sizeof key ? size : sizeof key);
	if (verbs_decode_segment(&key, 7, &s))
		return;
	REQUIRE(s.bytes && s.address + s.bytes >= s.address);
	verbs_encode_segment(&s, 7, &again);
	REQUIRE(!verbs_decode_segment(&again, 7, &t));
	REQUIRE(s.address == t.address && s.bytes == t.bytes && s.rkey == t.rkey && s.atomic == t.atomic);
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

static void connection(const uint8_t *data, size_t size)
{
	unsigned lanes = size ? data[0] % 8 + 1u : 1u;
	size_t bytes = verbs_connection_bytes(lanes);
	unsigned char *received = calloc(1, bytes);
	struct verbs_end *ends = calloc(lanes, sizeof *ends);

	REQUIRE(received && ends);
	if (size)
		memcpy(received, data + 1, size - 1 < bytes ? size - 1 : bytes);
	if (!verbs_decode_connection(received, lanes, ends))
		for (unsigned i = 0; i < lanes; i++)
			REQUIRE(ends[i].queue_pair >> 24 == 0 && ends[i].packet >> 24 == 0);
	free(received);
	free(ends);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const decoders[])(const uint8_t *, size_t) = {segment, address, connection};

	if (size)
		decoders[data[0] % 3](data + 1, size - 1);
	return 0;
}
