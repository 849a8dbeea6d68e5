/*
 * Keys, addresses and connection data as bytes. Nothing here talks to a device.
 */
#include "dsm/verbs_wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <infiniband/verbs.h>

/* "MNK2", "MNA2", "MNG1": what it is, and the version of its layout. */
#define MAGIC_KEY 0x324b4e4du
#define MAGIC_ADDRESS 0x32414e4du
#define MAGIC_GREETING 0x31474e4du

/* Queue pair numbers 0 and 1 belong to the fabric's management. */
#define FIRST_QUEUE_PAIR 2u
#define LIMIT_24_BITS (1u << 24)

#define PEERS_ANY (PEERS_READ | PEERS_WRITE | PEERS_ATOMIC)

struct wire_key {
	uint32_t magic;
	uint32_t id;
	uint64_t address;
	uint64_t bytes;
	uint32_t access;
	uint32_t chunks; /* a word for each follows */
};

struct wire_address {
	uint32_t magic;
	uint8_t link_layer;
	uint8_t gid_type;
	uint8_t mtu;
	uint8_t reads;
	uint8_t global;
	uint8_t zero;
	uint16_t lid;
	uint32_t greeter;
	uint8_t gid[16];
};

struct wire_greeting {
	uint32_t magic;
	uint32_t kind;
	uint32_t job_key[4];
	uint32_t from, to;
	uint32_t lane;
	uint32_t queue_pair;
	uint32_t packet;
	uint32_t error;
	uint32_t zero;
};

_Static_assert(sizeof(struct wire_address) <= sizeof(struct transport_address), "an address fits");
_Static_assert(sizeof(struct wire_greeting) == VERBS_GREETING_BYTES, "the header says how long it is");

static bool is_queue_pair(uint32_t number)
{
	return number >= FIRST_QUEUE_PAIR && number < LIMIT_24_BITS;
}

/* --- segments ------------------------------------------------------------------------------------------ */

size_t verbs_key_bytes(size_t chunks)
{
	return sizeof(struct wire_key) + chunks * sizeof(uint32_t);
}

void verbs_encode_segment(const struct verbs_segment *segment, size_t chunks, unsigned id, void *key)
{
	struct wire_key wire = {
	    .magic = htole32(MAGIC_KEY),
	    .id = htole32(id),
	    .address = htole64(segment->address),
	    .bytes = htole64(segment->bytes),
	    .access = htole32(segment->access),
	    .chunks = htole32((uint32_t)chunks),
	};
	unsigned char *at = key;

	memcpy(at, &wire, sizeof wire);
	at += sizeof wire;
	for (size_t i = 0; i < chunks; i++, at += sizeof(uint32_t))
		memcpy(at, &(uint32_t){htole32(segment->keys[i])}, sizeof(uint32_t));
}

int verbs_decode_segment(const void *key, size_t bytes, size_t chunks, unsigned id,
			 struct verbs_segment *segment)
{
	const unsigned char *at = key;
	struct wire_key wire;

	memcpy(&wire, at, sizeof wire);

	uint64_t address = le64toh(wire.address);
	uint32_t access = le32toh(wire.access);

	if (le32toh(wire.magic) != MAGIC_KEY || le32toh(wire.id) != id || le64toh(wire.bytes) != bytes ||
	    le32toh(wire.chunks) != chunks)
		return -EPROTO;
	if (bytes == 0 || address + bytes < address || access & ~(unsigned)PEERS_ANY)
		return -EPROTO;
	if (access & PEERS_ATOMIC && address % 8)
		return -EPROTO; /* or an aligned offset would be a word that is not */
	segment->address = address;
	segment->bytes = bytes;
	segment->access = access;
	at += sizeof wire;
	for (size_t i = 0; i < chunks; i++, at += sizeof(uint32_t)) {
		memcpy(&segment->keys[i], at, sizeof(uint32_t));
		segment->keys[i] = le32toh(segment->keys[i]);
	}
	return 0;
}

/* --- addresses ----------------------------------------------------------------------------------------- */

void verbs_encode_address(const struct verbs_address *address, struct transport_address *bytes)
{
	struct wire_address wire = {
	    .magic = htole32(MAGIC_ADDRESS),
	    .link_layer = address->link_layer,
	    .gid_type = address->gid_type,
	    .mtu = address->mtu,
	    .reads = address->reads,
	    .global = address->global,
	    .lid = htole16(address->lid),
	    .greeter = htole32(address->greeter),
	};

	memcpy(wire.gid, address->gid, sizeof wire.gid);
	memset(bytes, 0, sizeof *bytes);
	memcpy(bytes, &wire, sizeof wire);
}

int verbs_decode_address(const struct transport_address *bytes, struct verbs_address *address)
{
	struct wire_address wire;

	memcpy(&wire, bytes, sizeof wire);
	if (le32toh(wire.magic) != MAGIC_ADDRESS || wire.global > 1 || wire.reads == 0)
		return -EPROTO;
	if (wire.link_layer != IBV_LINK_LAYER_INFINIBAND && wire.link_layer != IBV_LINK_LAYER_ETHERNET)
		return -EPROTO;
	if (wire.gid_type > IBV_GID_TYPE_ROCE_V2 || wire.mtu < IBV_MTU_256 || wire.mtu > IBV_MTU_4096)
		return -EPROTO;
	if (!is_queue_pair(le32toh(wire.greeter)))
		return -EPROTO;

	*address = (struct verbs_address){
	    .lid = le16toh(wire.lid),
	    .link_layer = wire.link_layer,
	    .gid_type = wire.gid_type,
	    .mtu = wire.mtu,
	    .reads = wire.reads,
	    .global = wire.global == 1,
	    .greeter = le32toh(wire.greeter),
	};
	memcpy(address->gid, wire.gid, sizeof wire.gid);
	return 0;
}

/* --- greetings ----------------------------------------------------------------------------------------- */

void verbs_encode_greeting(const struct verbs_greeting *greeting, void *bytes)
{
	struct wire_greeting wire = {
	    .magic = htole32(MAGIC_GREETING),
	    .kind = htole32((uint32_t)greeting->kind),
	    .from = htole32(greeting->from),
	    .to = htole32(greeting->to),
	    .lane = htole32(greeting->lane),
	    .queue_pair = htole32(greeting->end.queue_pair),
	    .packet = htole32(greeting->end.packet),
	    .error = htole32(greeting->error),
	};

	for (unsigned i = 0; i < 4; i++)
		wire.job_key[i] = htole32((uint32_t)(greeting->job_key[i / 2] >> (i % 2 ? 32 : 0)));
	memcpy(bytes, &wire, sizeof wire);
}

int verbs_decode_greeting(const void *bytes, size_t length, struct verbs_greeting *greeting)
{
	struct wire_greeting wire;
	uint64_t key[4];

	if (length != sizeof wire)
		return -EPROTO;
	memcpy(&wire, bytes, sizeof wire);

	uint32_t kind = le32toh(wire.kind);
	struct verbs_end end = {le32toh(wire.queue_pair), le32toh(wire.packet)};

	if (le32toh(wire.magic) != MAGIC_GREETING || kind < VERBS_ASK || kind > VERBS_REFUSE || wire.zero)
		return -EPROTO;
	if (kind != VERBS_REFUSE && (!is_queue_pair(end.queue_pair) || end.packet >= LIMIT_24_BITS))
		return -EPROTO;
	for (unsigned i = 0; i < 4; i++)
		key[i] = le32toh(wire.job_key[i]);
	*greeting = (struct verbs_greeting){
	    .kind = (enum verbs_greeting_kind)kind,
	    .job_key = {key[0] | key[1] << 32, key[2] | key[3] << 32},
	    .from = le32toh(wire.from),
	    .to = le32toh(wire.to),
	    .lane = le32toh(wire.lane),
	    .end = end,
	    .error = le32toh(wire.error),
	};
	return 0;
}
