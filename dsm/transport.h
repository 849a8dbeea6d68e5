/*
 * Transports: one-sided access to memory that a peer exposes. One interface, two implementations:
 * transport_shm.c (peers on this machine, whose memory files are mapped here) and transport_verbs.c (RDMA).
 *
 * A transport knows of segments, lanes and peers. It knows nothing of pages, versions or regions.
 *
 * Segments. A segment is a piece of memory that every node has one of, with the same number and size: a
 * region's bytes, its version table, the runtime's control words. Each node expose()s its own, the keys go
 * round by MPI, and each attach()es its peers'. Set-up calls are made by one thread at a time, may block and
 * allocate.
 *
 * Operations. Posted to a lane, and done when complete() returns 0. They run in the order in which they were
 * posted to one peer on one lane: a read sees memory no older than the read posted before it, and a fetch_add
 * is performed after the writes posted before it are visible to every reader. (verbs: one RC queue pair per
 * lane and peer, reads are served in order, and an atomic follows earlier writes. shm: done before post
 * returns, with the barriers that this needs.) A lane is used by one thread at a time. post and complete
 * allocate nothing, take no lock, make no system call on a healthy fabric and are async-signal-safe: they run
 * inside the fault handler.
 *
 * Words that are the target of fetch_add or compare_swap are 8-byte aligned and touched through the transport
 * only (NIC atomics are not atomic with the CPU's), also by their own node: peer may be this node.
 *
 * All functions return 0 or -errno. post_*: -EHOSTDOWN (the peer is lost), -EINVAL (outside the segment), and
 * what complete() says, for a lane whose queue is full waits for room. complete(): -EHOSTDOWN, -ETIMEDOUT,
 * -EIO (the adapter failed). After an error of either, the outputs of everything posted are undefined; after
 * an error of post_*, what was posted before may still be under way: call complete() before the memory is
 * used for something else.
 */
#ifndef MINORCA_DSM_TRANSPORT_H
#define MINORCA_DSM_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Segments per node: two for each of 64 regions, and words of the runtime's own. */
#define SEGMENTS_MAX 144

/* What a node tells its peers of a segment: opaque to all but the transport. Plain bytes, sent by MPI. */
struct segment_key {
	unsigned char bytes[48];
};

/* What a node tells its peers of itself when transports are opened, likewise. Lane-specific data follows by
 * connect(). */
struct transport_address {
	unsigned char bytes[64];
};

/* A node's own memory that it exposes. */
struct segment_memory {
	int fd;	    /* memory file that holds it, whole */
	void *base; /* where it is mapped here (the alias mapping) */
	size_t bytes;
	size_t page_bytes; /* page size of the file */
	bool atomic;	   /* targets of atomics may lie in it */
	bool words;	   /* it is made of words that each have a meaning: none is ever seen half written */
};

struct lane; /* dsm/lane.h */
struct transport;

struct transport_config {
	int node; /* ours */
	int nodes;
	unsigned lanes;	      /* how many lanes there are, numbered from 0 */
	size_t scratch_bytes; /* size of each lane's scratch buffer ... */
	void *scratch;	      /* ... which are contiguous here, lane 0's first */
	uint64_t timeout_ns;  /* bound of every wait: MINORCA_TIMEOUT */
	const char *device;   /* verbs: MINORCA_VERBS_DEVICE, or NULL: choose */
	int port;	      /* verbs: MINORCA_VERBS_PORT, or 0: choose */
	int gid_index;	      /* verbs: MINORCA_VERBS_GID, or -1: choose */
};

struct transport_ops {
	const char *name; /* "shm", "verbs" */

	/*
	 * A second round trip costs nothing (memory is a load away): look before you read. False: post
	 * version read and data read in one chain when the data will be needed anyway.
	 */
	bool round_trip_is_free;

	/* Opens the transport on this node; @address is what peers must be told. Errors are reported. */
	int (*open)(const struct transport_config *config, struct transport **out,
		    struct transport_address *address);

	/*
	 * How many bytes of connection data this node has for each peer (0: none); fill() writes them for one
	 * peer. connect() makes @peer (maybe this node) reachable, given its address and the data that it
	 * filled for us.
	 */
	size_t (*connection_bytes)(struct transport *);
	int (*connection_fill)(struct transport *, int peer, void *data);
	int (*connect)(struct transport *, int peer, const struct transport_address *address,
		       const void *data);

	/* Own memory in; @key is what peers must be told. @id < SEGMENTS_MAX. Errors are reported. */
	int (*expose)(struct transport *, unsigned id, const struct segment_memory *memory,
		      struct segment_key *key);
	/* A peer's (maybe this node's) segment, by its key. */
	int (*attach)(struct transport *, unsigned id, int peer, const struct segment_key *key);
	/* Forgets segment @id, own and peers'. Nobody uses it any more. Never fails. */
	void (*detach)(struct transport *, unsigned id);

	/* One-sided operations. @local lies in the lane's scratch buffer or in an exposed segment of this
	 * node, and stays as it is until complete(). */
	int (*post_read)(struct transport *, struct lane *, int peer, unsigned segment, uint64_t offset,
			 void *local, size_t bytes);
	int (*post_write)(struct transport *, struct lane *, int peer, unsigned segment, uint64_t offset,
			  const void *local, size_t bytes);
	/* @old: where the value before goes; in the lane's scratch buffer. */
	int (*post_fetch_add)(struct transport *, struct lane *, int peer, unsigned segment, uint64_t offset,
			      uint64_t add, uint64_t *old);
	int (*post_compare_swap)(struct transport *, struct lane *, int peer, unsigned segment,
				 uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old);
	/* Waits, for at most the time-out, until all that was posted to the lane is done. */
	int (*complete)(struct transport *, struct lane *);

	/*
	 * Sees to it that the peer's memory file holds [@offset, @offset + @bytes), so that an operation on
	 * it does not find the pool of hugepages empty, which would be a SIGBUS. A system call. NULL: there
	 * is no need, for what is exposed is there. Async-signal-safe.
	 * @return 0; -ENOSPC: the pool is empty; -EINVAL; -ENOMEM.
	 */
	int (*populate)(struct transport *, int peer, unsigned segment, uint64_t offset, size_t bytes);

	/* Gives everything back. Never fails. */
	void (*close)(struct transport *);
};

/**
 * What is used in place of the transport that dsm_init() chose: that itself, unless a program defines a
 * function of this name, as tests do to stand in between (dsm/tests/inject_transport.h). Not for what links
 * the shared library.
 */
const struct transport_ops *transport_choose_hook(const struct transport_ops *chosen);

extern const struct transport_ops transport_shm;
extern const struct transport_ops transport_verbs;

#endif
