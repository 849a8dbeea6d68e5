#include "bench/rdma_device.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dsm/settings.h"
#include "dsm/topology.h"
#include "dsm/transport.h"

/* Nodes with equal places have the same ports to choose from. */
struct place {
	int host; /* the first node that runs there */
	char numa_nodes[256];
};

/* How many nodes of lower number have this node's place. */
static unsigned turn_of(const struct job *job, const struct topology *topology)
{
	struct place own = {.host = job->first_of_host};
	unsigned turn = 0;

	topology_numa_nodes(topology, own.numa_nodes, sizeof own.numa_nodes);
	for (int from = 0; from < job->nodes; from++) {
		struct place place = own;

		job_share_from(from, &place, sizeof place);
		turn +=
		    from < job->node && place.host == own.host && !strcmp(place.numa_nodes, own.numa_nodes);
	}
	return turn;
}

int rdma_device_open(const struct job *job, struct verbs_device *out)
{
	struct settings settings;
	struct topology *topology;
	char text[256];
	int error = settings_parse(environ, &settings, text, sizeof text);

	if (error) {
		fprintf(stderr, "%s\n", text);
		return error;
	}
	error = topology_create(&topology);
	if (error) {
		fprintf(stderr, "cannot read the machine's topology: %s\n", strerror(-error));
		return error;
	}
	const struct transport_config config = {
	    .device = settings.verbs_device[0] ? settings.verbs_device : NULL,
	    .port = (int)settings.verbs_port,
	    .gid_index = (int)settings.verbs_gid,
	    .topology = topology,
	    .turn = job ? turn_of(job, topology) : 0,
	};
	error = verbs_device_open(&config, out);
	topology_destroy(topology);
	return error;
}
