/*
 * What nodes tell each other when they connect by verbs, as bytes: segment keys, addresses, queue pairs.
 * Little-endian, fixed places. What comes from a peer is checked here before anybody uses it.
 */
#ifndef MINORCA_DSM_VERBS_WIRE_H
#define MINORCA_DSM_VERBS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsm/transport.h"

/* A segment of a node, as its peers see it. */
struct verbs_segment {
	uint64_t address; /* where the device there finds it */
	uint64_t bytes;	  /* 0: no such segment */
	uint32_t rkey;
	bool atomic; /* atomics are allowed */
};

/* A node's port. */
struct verbs_address {
	uint8_t gid[16];
	uint16_t lid;	    /* InfiniBand */
	uint8_t link_layer; /* IBV_LINK_LAYER_ */
	uint8_t gid_type;   /* IBV_GID_TYPE_ */
	uint8_t mtu;	    /* enum ibv_mtu */
	uint8_t reads; /* reads and atomics that it serves, and has under way, at a time on one queue pair */
	bool global;   /* must be addressed by its GID, also on InfiniBand */
};

/* One end of a queue pair; both numbers have 24 bits. */
struct verbs_end {
	uint32_t queue_pair;
	uint32_t packet; /* number of the first packet that it sends */
};

void verbs_encode_segment(const struct verbs_segment *segment, unsigned id, struct segment_key *key);

/** @return 0; -EPROTO: not the key of a segment @id. */
int verbs_decode_segment(const struct segment_key *key, unsigned id, struct verbs_segment *segment);

void verbs_encode_address(const struct verbs_address *address, struct transport_address *bytes);

/** @return 0; -EPROTO: not an address of this transport. */
int verbs_decode_address(const struct transport_address *bytes, struct verbs_address *address);

/** The size of connection data for @lanes lanes. */
size_t verbs_connection_bytes(unsigned lanes);

void verbs_encode_connection(const struct verbs_end *ends, unsigned lanes, void *data);

/** @return 0; -EPROTO: not connection data, or for another number of lanes. */
int verbs_decode_connection(const void *data, unsigned lanes, struct verbs_end *ends);

#endif
