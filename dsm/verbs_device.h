/*
 * The RDMA devices of the machine, and the one that this node uses. How it is chosen: verbs_choice.h.
 */
#ifndef MINORCA_DSM_VERBS_DEVICE_H
#define MINORCA_DSM_VERBS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/transport.h"
#include "dsm/verbs_choice.h"
#include "dsm/verbs_wire.h"

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

/* The ports of all devices, each device opened. */
struct verbs_ports {
	struct ibv_device **devices;
	struct verbs_candidate *candidates;
	size_t count;
	int list_error; /* why devices cannot be listed: errno; 0: they can, or the kernel has no RDMA at all
			 */
};

/**
 * Opens every device and looks at its ports.
 *
 * @param topology  to tell distances by; NULL: all are unknown
 * @param gid_index MINORCA_VERBS_GID
 * @return 0; -ENOMEM. No device at all is none in the table. To be closed, then too.
 */
int verbs_ports_open(const struct topology *topology, int gid_index, struct verbs_ports *out);

/** Closes every device but @keep (NULL: every one). Names of devices in the table end with it. */
void verbs_ports_close(struct verbs_ports *ports, const struct ibv_context *keep);

/** Memory need not be pinned on this device ... */
bool verbs_pages_on_demand(bool software, const struct ibv_device_attr_ex *attr);
/** ... not even where atomics go. */
bool verbs_pages_on_demand_atomic(bool software, const struct ibv_device_attr_ex *attr);

/** Requests of each lane that read or do atomics and may be under way to one peer, and are served from it. */
uint8_t verbs_reads_at_a_time(const struct ibv_device_attr *attr);

/** Chooses and opens. @return 0; -ENODEV, -ENOMEM, reported. */
int verbs_device_open(const struct transport_config *config, struct verbs_device *out);

void verbs_device_close(struct verbs_device *device);

#endif
