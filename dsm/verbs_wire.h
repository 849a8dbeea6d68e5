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
	unsigned access;  /* PEERS_* */
	uint32_t *keys;	  /* of each chunk, for its device; VERBS_NO_KEY: peers have no business there */
};

#define VERBS_NO_KEY 0u

/* A node's port. */
struct verbs_address {
	uint8_t gid[16];
	uint16_t lid;	    /* InfiniBand */
	uint8_t link_layer; /* IBV_LINK_LAYER_ */
	uint8_t gid_type;   /* IBV_GID_TYPE_ */
	uint8_t mtu;	    /* enum ibv_mtu */
	uint8_t reads; /* reads and atomics that it serves, and has under way, at a time on one queue pair */
	bool global;   /* must be addressed by its GID, also on InfiniBand */
	uint32_t greeter; /* queue pair that takes greetings */
};

/* One end of a queue pair; both numbers have 24 bits. */
struct verbs_end {
	uint32_t queue_pair;
	uint32_t packet; /* number of the first packet that it sends */
};

/* What nodes say to each other to connect a lane: by datagram. */
enum verbs_greeting_kind {
	VERBS_ASK = 1, /* here is my end, give me yours */
	VERBS_ANSWER,  /* here is mine, it is connected to yours */
	VERBS_REFUSE,  /* I cannot make one */
};

struct verbs_greeting {
	enum verbs_greeting_kind kind;
	uint64_t job_key[2];
	uint32_t from, to; /* nodes */
	uint32_t lane;
	struct verbs_end end;
	uint32_t error; /* errno; VERBS_REFUSE */
};

/* The size of a greeting on the wire. */
#define VERBS_GREETING_BYTES ((size_t)52)

/** The size of the key of a segment of @chunks chunks. */
size_t verbs_key_bytes(size_t chunks);

/** @param segment  with its @chunks keys */
void verbs_encode_segment(const struct verbs_segment *segment, size_t chunks, unsigned id, void *key);

/**
 * @param bytes    what the segment's size must be
 * @param segment  its `keys` have room for @chunks; the rest is filled
 * @return 0; -EPROTO: not the key of a segment @id of that size.
 */
int verbs_decode_segment(const void *key, size_t bytes, size_t chunks, unsigned id,
			 struct verbs_segment *segment);

void verbs_encode_address(const struct verbs_address *address, struct transport_address *bytes);

/** @return 0; -EPROTO: not an address of this transport. */
int verbs_decode_address(const struct transport_address *bytes, struct verbs_address *address);

/** @param bytes  VERBS_GREETING_BYTES */
void verbs_encode_greeting(const struct verbs_greeting *greeting, void *bytes);

/**
 * @param length  how many @bytes came
 * @return 0; -EPROTO: not a greeting. Whom it is from, and whether it knows the job's key, the caller checks.
 */
int verbs_decode_greeting(const void *bytes, size_t length, struct verbs_greeting *greeting);

#endif
