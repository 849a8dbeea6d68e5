/*
 * Which RDMA device, port and GID this node uses. The choice itself is made on plain tables, so that it is
 * tested without hardware; verbs_device_open() fills the tables from the machine.
 *
 * One device per node, for all lanes and peers: a device's atomics are atomic among themselves only.
 */
#ifndef MINORCA_DSM_VERBS_DEVICE_H
#define MINORCA_DSM_VERBS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/transport.h"
#include "dsm/verbs_wire.h"

/* How far a port gets on the way to be used; each step takes the ones before for granted. */
enum verbs_fitness {
	VERBS_OTHER_DEVICE,   /* not the device that was asked for */
	VERBS_NOT_OPENED,     /* the device could not be opened */
	VERBS_OTHER_PORT,     /* not the port that was asked for */
	VERBS_NOT_CONNECTED,  /* no reliable connections as InfiniBand defines them (iWARP) */
	VERBS_WITHOUT_ATOMIC, /* no atomics, or no reads */
	VERBS_DOWN,	      /* the link is not up */
	VERBS_FIT,
};

/* A port of the machine. */
struct verbs_candidate {
	const char *device;
	struct ibv_context *context; /* NULL: could not be opened; owned by who made the table */
	int port;
	bool connected; /* serves reliable connections */
	bool atomic;	/* serves atomics and reads */
	bool active;
	bool software; /* made of the CPU (soft-RoCE) */
	unsigned gigabits;
};

/** How far @candidate gets; @device NULL and @port 0: any. */
enum verbs_fitness verbs_fitness(const struct verbs_candidate *candidate, const char *device, int port);

/**
 * The port to use: among the fittest hardware before software, then the fastest, then the first.
 *
 * @param fitness  set to how far it gets; it may be used if that is VERBS_FIT
 * @return its place in @candidates; -1 if there is none.
 */
int verbs_choose_port(const struct verbs_candidate *candidates, size_t count, const char *device, int port,
		      enum verbs_fitness *fitness);

/**
 * The GID to use of @port's: RoCE v2 before v1 (v2 is routed, and the only one some networks carry), an IPv4
 * address before IPv6 (it is what fabrics are set up for), a loopback address last, then the first.
 *
 * @param wanted  its index in the device's table; -1: choose
 * @return its place in @entries; -1: there is none, or not the one that was wanted.
 */
int verbs_choose_gid(const struct ibv_gid_entry *entries, size_t count, int port, int wanted);

/** Data rate of a port in Gbit/s, from its active_speed and active_width. 0: unknown. */
unsigned verbs_gigabits(uint8_t speed, uint8_t width);

/* The device in use. Immutable once opened. */
struct verbs_device {
	struct ibv_context *context;
	const char *name;
	int port;
	int gid_index; /* of address.gid */
	struct verbs_address address;
	size_t piece_bytes;    /* the most of one request ... */
	size_t read_bytes;     /* ... that reads; longer reads are split, and under way together */
	unsigned window;       /* requests of a lane that may be under way */
	bool bus_atomics;      /* atomics go over PCI Express */
	bool on_demand;	       /* memory need not be pinned ... */
	bool on_demand_atomic; /* ... not even where atomics go */
};

/** Chooses and opens. @return 0; -ENODEV, -ENOMEM, reported. */
int verbs_device_open(const struct transport_config *config, struct verbs_device *out);

void verbs_device_close(struct verbs_device *device);

#endif
