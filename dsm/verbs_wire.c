/*
 * Keys, addresses and connection data as bytes. Nothing here talks to a device.
 */
#include "dsm/verbs_wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include <infiniband/verbs.h>

/* "MNK1", "MNA1", "MNC1": what it is, and the version of its layout. */
#define MAGIC_KEY 0x314b4e4du
#define MAGIC_ADDRESS 0x31414e4du
#define MAGIC_CONNECTION 0x31434e4du

/* Queue pair numbers 0 and 1 belong to the fabric's management. */
#define FIRST_QUEUE_PAIR 2u
#define LIMIT_24_BITS (1u << 24)

struct wire_key {
	uint32_t magic;
	uint32_t id;
	uint64_t address;
	uint64_t bytes;
	uint32_t rkey;
	uint32_t atomic;
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
	uint8_t gid[16];
};

struct wire_connection {
	uint32_t magic;
	uint32_t lanes;
};

struct wire_end {
	uint32_t queue_pair;
	uint32_t packet;
};

_Static_assert(sizeof(struct wire_key) <= sizeof(struct segment_key), "a key fits");
_Static_assert(sizeof(struct wire_address) <= sizeof(struct transport_address), "an address fits");

void verbs_encode_segment(const struct verbs_segment *segment, unsigned id, struct segment_key *key)
{
	struct wire_key wire = {
	    .magic = htole32(MAGIC_KEY),
	    .id = htole32(id),
	    .address = htole64(segment->address),
	    .bytes = htole64(segment->bytes),
	    .rkey = htole32(segment->rkey),
	    .atomic = htole32(segment->atomic),
	};

	memset(key, 0, sizeof *key);
	memcpy(key, &wire, sizeof wire);
}

int verbs_decode_segment(const struct segment_key *key, unsigned id, struct verbs_segment *segment)
{
	struct wire_key wire;

	memcpy(&wire, key, sizeof wire);

	struct verbs_segment s = {
	    .address = le64toh(wire.address),
	    .bytes = le64toh(wire.bytes),
	    .rkey = le32toh(wire.rkey),
	    .atomic = le32toh(wire.atomic) == 1,
	};

	if (le32toh(wire.magic) != MAGIC_KEY || le32toh(wire.id) != id || le32toh(wire.atomic) > 1)
		return -EPROTO;
	if (s.bytes == 0 || s.address + s.bytes < s.address)
		return -EPROTO;
	if (s.atomic && s.address % 8)
		return -EPROTO; /* or an aligned offset would be a word that is not */
	*segment = s;
	return 0;
}

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

	*address = (struct verbs_address){
	    .lid = le16toh(wire.lid),
	    .link_layer = wire.link_layer,
	    .gid_type = wire.gid_type,
	    .mtu = wire.mtu,
	    .reads = wire.reads,
	    .global = wire.global == 1,
	};
	memcpy(address->gid, wire.gid, sizeof wire.gid);
	return 0;
}

size_t verbs_connection_bytes(unsigned lanes)
{
	return sizeof(struct wire_connection) + lanes * sizeof(struct wire_end);
}

void verbs_encode_connection(const struct verbs_end *ends, unsigned lanes, void *data)
{
	struct wire_connection head = {htole32(MAGIC_CONNECTION), htole32(lanes)};
	unsigned char *at = data;

	memcpy(at, &head, sizeof head);
	at += sizeof head;
	for (unsigned i = 0; i < lanes; i++) {
		struct wire_end end = {htole32(ends[i].queue_pair), htole32(ends[i].packet)};

		memcpy(at, &end, sizeof end);
		at += sizeof end;
	}
}

int verbs_decode_connection(const void *data, unsigned lanes, struct verbs_end *ends)
{
	struct wire_connection head;
	const unsigned char *at = data;

	memcpy(&head, at, sizeof head);
	if (le32toh(head.magic) != MAGIC_CONNECTION || le32toh(head.lanes) != lanes)
		return -EPROTO;
	at += sizeof head;
	for (unsigned i = 0; i < lanes; i++) {
		struct wire_end end;

		memcpy(&end, at, sizeof end);
		at += sizeof end;
		ends[i].queue_pair = le32toh(end.queue_pair);
		ends[i].packet = le32toh(end.packet);
		if (ends[i].queue_pair < FIRST_QUEUE_PAIR || ends[i].queue_pair >= LIMIT_24_BITS ||
		    ends[i].packet >= LIMIT_24_BITS)
			return -EPROTO;
	}
	return 0;
}
