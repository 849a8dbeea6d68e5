/*
 * Which RDMA port and GID this node uses: the decision alone, on plain tables, so that it is tested without
 * hardware. verbs_device.c fills the tables from the machine.
 *
 * One port per node, for all lanes and peers. All atomics on a node's words arrive at its port, its own too
 * (transport_verbs.c connects a node with itself), and a device's atomics are atomic among themselves only.
 * So a node must not use two devices; nodes may well use different ones, of one machine too, for no node
 * touches another's words but through the other's device.
 *
 * What decides, in this order:
 *   it can be used, and is what the settings ask for
 *   hardware before software
 *   an address that reaches farther: one of the network, a link-local one, loopback
 *   distance to where this process may run
 *   speed
 *   order, or, among InfiniBand ports of one subnet that are as good, the turn of this node: nodes of one
 *   machine are dealt out to them. Not on Ethernet: whether two interfaces of one machine reach each other
 *   there hangs on routes and on who answers ARP requests, which nothing here can see.
 */
#ifndef MINORCA_DSM_VERBS_CHOICE_H
#define MINORCA_DSM_VERBS_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/topology.h"

/* How far a port gets on the way to be used; each step takes the ones before for granted. */
enum verbs_fitness {
	VERBS_OTHER_DEVICE,   /* not the device that was asked for */
	VERBS_NOT_OPENED,     /* the device could not be opened */
	VERBS_OTHER_PORT,     /* not the port that was asked for */
	VERBS_NOT_CONNECTED,  /* no reliable connections as InfiniBand defines them (iWARP) */
	VERBS_WITHOUT_ATOMIC, /* no atomics, or no reads */
	VERBS_DOWN,	      /* the link is not up */
	VERBS_WITHOUT_GID,    /* no GID, or not the one that was asked for */
	VERBS_FIT,
};

/* What the user asks for, and which node asks. */
struct verbs_wish {
	const char *device; /* NULL: any */
	int port;	    /* 0: any */
	int gid_index;	    /* -1: any */
	unsigned turn;	    /* how many nodes of this machine chose before among the same ports */
};

/* A port of the machine. */
struct verbs_candidate {
	const char *device;
	struct ibv_context *context; /* NULL: could not be opened; owned by who made the table */
	int open_error;		     /* why it could not: errno */
	int port;
	bool connected; /* serves reliable connections */
	bool atomic;	/* serves atomics and reads */
	bool active;
	bool software; /* made of the CPU (soft-RoCE) */
	bool has_gid;
	struct ibv_gid_entry gid; /* the one to use, by verbs_choose_gid() */
	uint8_t link_layer;	  /* IBV_LINK_LAYER_ */
	unsigned gigabits;
	enum topology_distance distance;
};

enum verbs_fitness verbs_fitness(const struct verbs_candidate *candidate, const struct verbs_wish *wish);

/**
 * The port to use; of unfit ones the one that is nearest to being fit, for the message.
 *
 * @return its place in @candidates; it may be used if its fitness is VERBS_FIT. -1: there is none.
 */
int verbs_choose_port(const struct verbs_candidate *candidates, size_t count, const struct verbs_wish *wish);

/**
 * Why @candidates[@index] is chosen, or why not, in a few words: "slower". Static text.
 *
 * @param chosen  what verbs_choose_port() said, and fit; or -1
 */
const char *verbs_verdict(const struct verbs_candidate *candidates, size_t count, int chosen, size_t index,
			  const struct verbs_wish *wish);

/**
 * The GID to use of @port's: RoCE v2 before v1 (v2 is routed, and the only one some networks carry), an IPv4
 * address before IPv6 (it is what fabrics are set up for), a link-local one after both, a loopback address
 * last of all, then the first.
 *
 * @param wanted  its index in the device's table; -1: choose
 * @return its place in @entries; -1: there is none, or not the one that was wanted.
 */
int verbs_choose_gid(const struct ibv_gid_entry *entries, size_t count, int port, int wanted);

/** Data rate of a port in Gbit/s, from its active_speed and active_width. 0: unknown. */
unsigned verbs_gigabits(uint8_t speed, uint8_t width);

#endif
