/*
 * The connector: a thread of each node that makes queue pairs when a lane first needs one, so that a job of N
 * nodes with L lanes each does not begin with N x N x L of them.
 *
 * Both ends of a queue pair must be made, so nodes greet each other by datagrams: "lane 3 of node 1: here is
 * my end, give me yours". Datagrams may be lost; who asks asks again until there is an answer or the time-out
 * has passed, and who is asked answers again. An end is made once, whoever asked first, and serves both
 * directions. A greeting counts only if it has the job's key; the datagram queue pair takes only packets with
 * a Q_Key that is derived from it, and sends, besides, nothing to nobody.
 *
 * The thread sleeps unless there is something to do. It touches no region and takes no page lock and no lane,
 * so a fault handler may wait for it.
 */
#ifndef MINORCA_DSM_VERBS_CONNECTOR_H
#define MINORCA_DSM_VERBS_CONNECTOR_H

#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

#include "dsm/verbs_device.h"
#include "dsm/verbs_lane.h"
#include "dsm/verbs_wire.h"

struct verbs_connector;

struct verbs_connector_config {
	const struct verbs_device *device;
	struct ibv_pd *domain;
	uint32_t node, nodes;
	unsigned lanes;
	uint64_t timeout_ns;
	uint64_t job_key[2];
	struct verbs_lane *lane;   /* lanes of them */
	struct verbs_queue *queue; /* lanes x nodes, a lane's together */
};

/**
 * Makes the connector and starts its thread.
 *
 * @param greeter  set to the number of the queue pair that takes greetings, for peers
 * @return 0; -ENOMEM ..., reported.
 */
int verbs_connector_open(const struct verbs_connector_config *config, struct verbs_connector **out,
			 uint32_t *greeter);

/**
 * Makes a peer known (maybe this node), and checks that there is a way to it. Set-up thread; before any node
 * asks.
 *
 * @return 0; -EHOSTUNREACH ..., reported.
 */
int verbs_connector_add(struct verbs_connector *connector, uint32_t peer,
			const struct verbs_address *address);

/** struct verbs_lanes' ask(). */
void verbs_connector_ask(void *connector, unsigned lane, uint32_t peer);

/** Ends the thread, and destroys all queue pairs and completion queues that it made. NULL: nothing. */
void verbs_connector_close(struct verbs_connector *connector);

#endif
