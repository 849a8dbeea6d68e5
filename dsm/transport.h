/*
 * Transports: one-sided access to memory that a peer exposes. One interface, three implementations:
 * transport_shm.c (peers on this machine, whose memory files are mapped here), transport_verbs.c (RDMA), and
 * transport_mixed.c (the one within a machine, the other between machines).
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

/* What a node tells its peers of itself when transports are opened: opaque to all but the transport. Plain
 * bytes, sent by MPI. */
struct transport_address {
	unsigned char bytes[128];
};

/* As much of it as a transport may use that is a part of another. */
#define TRANSPORT_ADDRESS_BYTES 64

/* What peers (this node among them) may do to a segment, by the transport. */
enum { PEERS_READ = 1, PEERS_WRITE = 2, PEERS_ATOMIC = 4 };

/* A node's own memory that it exposes. */
struct segment_memory {
	const char *name; /* for messages: "region grid" */
	int fd;		  /* memory file that holds it, whole */
	void *base;	  /* where it is mapped here (the alias mapping) */
	size_t bytes;
	size_t page_bytes; /* page size of the file */
	unsigned access;   /* PEERS_*: what they need, and no more */
	bool words;	   /* it is made of words that each have a meaning: none is ever seen half written */
	/* Whether peers need anything in [@offset, @offset + @bytes); NULL: all of it. The rest is reached by
	 * this node's own operations only, as their @local. */
	bool (*is_served)(const void *argument, uint64_t offset, uint64_t bytes);
	const void *argument; /* of is_served() */
};

struct lane;	 /* dsm/lane.h */
struct topology; /* dsm/topology.h */
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
	/* verbs, to choose: how far ports are (NULL: not known), and how many nodes of lower number are on
	 * this machine that may run on the same NUMA nodes, and so have the same ports to choose from. */
	const struct topology *topology;
	unsigned turn;
	uint64_t chunk_bytes;  /* verbs: MINORCA_VERBS_CHUNK; a power of two, the same on all nodes */
	uint64_t read_bytes;   /* verbs: MINORCA_VERBS_READ, or 0: reads are not split */
	uint64_t job_key[2];   /* random, the same on all nodes of this job, and secret */
	const uint64_t *hosts; /* mixed: [node]; equal numbers are nodes of one machine */
	bool flush_writes;     /* verbs: complete() waits until CPUs see what was written */
};

struct transport_ops {
	const char *name; /* "shm", "verbs", "mixed" */

	/*
	 * A peer's memory can be read and written though its process has ended: what it published is not
	 * lost. False: it is.
	 */
	bool memory_outlives_process;

	/* What is written may come from anywhere, and is free when post_write() returns. */
	bool writes_from_anywhere;

	/* Opens the transport on this node; @address is what peers must be told. Errors are reported. */
	int (*open)(const struct transport_config *config, struct transport **out,
		    struct transport_address *address);

	/* Makes @peer (maybe this node) known by its address. Nobody uses the transport before all nodes know
	 * all. Errors are reported. */
	int (*connect)(struct transport *, int peer, const struct transport_address *address);

	/*
	 * Whether the peer's memory is a load away, so that a second round trip costs nothing: look before
	 * you read. False: post version read and data read in one chain when the data will be needed anyway.
	 * Async-signal-safe.
	 */
	bool (*is_near)(const struct transport *, int peer);

	/* The size of what peers must be told of a segment of @bytes, its key: the same on all nodes. */
	size_t (*key_bytes)(struct transport *, size_t bytes);
	/* Own memory in, its @key out. @id < SEGMENTS_MAX. Errors are reported. */
	int (*expose)(struct transport *, unsigned id, const struct segment_memory *memory, void *key);
	/* A peer's (maybe this node's) segment of @bytes, by its key. Errors are reported. */
	int (*attach)(struct transport *, unsigned id, int peer, size_t bytes, const void *key);
	/* Forgets segment @id, own and peers'. Nobody uses it any more. Never fails. */
	void (*detach)(struct transport *, unsigned id);

	/* One-sided operations. @local lies, unless writes_from_anywhere, in the lane's scratch buffer or in
	 * this node's part of the same segment, and stays as it is until complete(). */
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

	/*
	 * What is known here of @peer, without traffic: 0, or -EHOSTDOWN: its process has ended, or its
	 * device did not answer. It does not come back. Any thread, also while lanes are in use. (Where a
	 * dead peer is noticed only by an operation that fails, the caller reads a word of it first: see
	 * peers.c.)
	 */
	int (*probe)(struct transport *, int peer);

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
extern const struct transport_ops transport_mixed;

#endif
