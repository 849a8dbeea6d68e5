/*
 * Asks libibverbs for RDMA devices, their ports and addresses, and the transport which one it would use.
 * Opens each device for a moment and leaves nothing.
 */
#include "dsm/tools/machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include <infiniband/verbs.h>

#include "dsm/settings.h"
#include "dsm/topology.h"
#include "dsm/verbs_device.h"
#include "dsm/verbs_plan.h"

static const char *transport_name(enum ibv_transport_type type)
{
	switch (type) {
	case IBV_TRANSPORT_IB:
		return "InfiniBand";
	case IBV_TRANSPORT_IWARP:
		return "iWARP";
	case IBV_TRANSPORT_USNIC:
	case IBV_TRANSPORT_USNIC_UDP:
		return "usNIC";
	default:
		return "unspecified";
	}
}

static const char *link_layer_name(uint8_t layer)
{
	switch (layer) {
	case IBV_LINK_LAYER_INFINIBAND:
		return "InfiniBand";
	case IBV_LINK_LAYER_ETHERNET:
		return "Ethernet";
	default:
		return "unspecified";
	}
}

static const char *gid_type_name(uint32_t type)
{
	switch (type) {
	case IBV_GID_TYPE_ROCE_V1:
		return "RoCE v1";
	case IBV_GID_TYPE_ROCE_V2:
		return "RoCE v2";
	default:
		return "IB";
	}
}

static const char *atomics_name(enum ibv_atomic_cap atomics)
{
	switch (atomics) {
	case IBV_ATOMIC_NONE:
		return "none";
	case IBV_ATOMIC_GLOB:
		return "with the CPU's";
	default:
		return "with its own";
	}
}

/* The number in a file of the device's; @fallback when there is none. */
static int number_of(const struct ibv_device *device, const char *name, int fallback)
{
	char path[IBV_SYSFS_PATH_MAX + 64];
	FILE *file;
	int number;

	snprintf(path, sizeof path, "%s/%s", device->ibdev_path, name);
	file = fopen(path, "re");
	if (!file)
		return fallback;
	if (fscanf(file, "%d", &number) != 1)
		number = fallback;
	fclose(file);
	return number;
}

/* What a queue pair like the transport's would get. */
static unsigned inline_bytes_of(struct ibv_context *context)
{
	struct ibv_pd *domain = ibv_alloc_pd(context);
	struct ibv_cq *completions = ibv_create_cq(context, 1, NULL, NULL, 0);
	unsigned bytes = 0;

	for (unsigned wanted = VERBS_INLINE_BYTES; domain && completions && wanted && !bytes; wanted /= 2) {
		struct ibv_qp_init_attr attr = {
		    .send_cq = completions,
		    .recv_cq = completions,
		    .cap = {.max_send_wr = 1,
			    .max_recv_wr = 1,
			    .max_send_sge = 1,
			    .max_recv_sge = 1,
			    .max_inline_data = wanted},
		    .qp_type = IBV_QPT_RC,
		};
		struct ibv_qp *pair = ibv_create_qp(domain, &attr);

		if (!pair)
			continue;
		bytes = attr.cap.max_inline_data < VERBS_INLINE_BYTES ? attr.cap.max_inline_data
								      : VERBS_INLINE_BYTES;
		ibv_destroy_qp(pair);
	}
	if (completions)
		ibv_destroy_cq(completions);
	if (domain)
		ibv_dealloc_pd(domain);
	return bytes;
}

static void capture_device(const struct verbs_candidate *candidate, const struct ibv_device *device,
			   struct rdma_device *out)
{
	struct ibv_device_attr_ex attributes = {0};

	snprintf(out->name, sizeof out->name, "%s", candidate->device);
	out->transport = transport_name(device->transport_type);
	if (!candidate->context) {
		out->error = candidate->open_error ? -candidate->open_error : -EIO;
		return;
	}
	out->software = candidate->software;
	out->numa_node = number_of(device, "device/numa_node", -1);
	out->distance = topology_distance_name(candidate->distance);
	out->atomics = atomics_name(IBV_ATOMIC_NONE);
	if (ibv_query_device_ex(candidate->context, NULL, &attributes))
		return;
	out->atomics = atomics_name(attributes.orig_attr.atomic_cap);
	out->on_demand = verbs_pages_on_demand(out->software, &attributes);
	out->on_demand_atomic = verbs_pages_on_demand_atomic(out->software, &attributes);
	out->registration_bytes = attributes.orig_attr.max_mr_size;
	out->reads = verbs_reads_at_a_time(&attributes.orig_attr);
	out->inline_bytes = inline_bytes_of(candidate->context);
}

/* Those that are empty are not counted. */
static void capture_gids(struct ibv_context *context, int table_length, struct rdma_port *out)
{
	static const union ibv_gid none;

	for (int i = 0; i < table_length; i++) {
		struct ibv_gid_entry entry;

		if (ibv_query_gid_ex(context, out->number, (uint32_t)i, &entry, 0) ||
		    !memcmp(&entry.gid, &none, sizeof none))
			continue;
		if (out->gid_count < MACHINE_MAX_RDMA_GIDS) {
			struct rdma_gid *gid = &out->gids[out->gid_count];

			gid->index = entry.gid_index;
			gid->type = gid_type_name(entry.gid_type);
			inet_ntop(AF_INET6, entry.gid.raw, gid->address, sizeof gid->address);
		}
		out->gid_count++;
	}
}

static void capture_port(const struct verbs_candidate *candidate, struct rdma_port *out)
{
	struct ibv_port_attr attributes;

	out->number = (unsigned)candidate->port;
	out->state = "unknown";
	out->link_layer = "unspecified";
	out->gigabits = candidate->gigabits;
	out->gid_used = candidate->has_gid ? (int)candidate->gid.gid_index : -1;
	if (candidate->has_gid && candidate->gid.ndev_ifindex)
		if (!if_indextoname(candidate->gid.ndev_ifindex, out->interface))
			out->interface[0] = 0;
	if (ibv_query_port(candidate->context, (uint8_t)candidate->port, &attributes))
		return;
	out->active = candidate->active;
	out->state = ibv_port_state_str(attributes.state);
	out->link_layer = link_layer_name(attributes.link_layer);
	if (attributes.active_mtu >= IBV_MTU_256 && attributes.active_mtu <= IBV_MTU_4096)
		out->mtu_bytes = 128u << attributes.active_mtu;
	capture_gids(candidate->context, attributes.gid_tbl_len, out);
}

static const struct ibv_device *find_device(const struct verbs_ports *ports, const char *name)
{
	struct ibv_device **device = ports->devices;

	while (strcmp(ibv_get_device_name(*device), name) != 0)
		device++;
	return *device;
}

/* The device of the next candidate: a device's ports are neighbours. NULL: there is no room for more. */
static struct rdma_device *next_device(const struct verbs_ports *ports, size_t index,
				       struct machine_info *out)
{
	const struct verbs_candidate *candidate = &ports->candidates[index];
	struct rdma_device *device;

	if (index && !strcmp(candidate->device, ports->candidates[index - 1].device))
		return &out->rdma_devices[out->rdma_device_count - 1];
	if (out->rdma_device_count == MACHINE_MAX_RDMA_DEVICES)
		return NULL;
	device = &out->rdma_devices[out->rdma_device_count++];
	capture_device(candidate, find_device(ports, candidate->device), device);
	return device;
}

static void capture_ports(const struct verbs_ports *ports, const struct verbs_wish *wish,
			  struct machine_info *out)
{
	int chosen = verbs_choose_port(ports->candidates, ports->count, wish);

	if (chosen >= 0 && verbs_fitness(&ports->candidates[chosen], wish) != VERBS_FIT)
		chosen = -1;
	for (size_t i = 0; i < ports->count; i++) {
		struct rdma_device *device = next_device(ports, i, out);

		if (!device)
			return;
		if (device->error || device->port_count++ >= MACHINE_MAX_RDMA_PORTS)
			continue;

		struct rdma_port *port = &device->ports[device->port_count - 1];

		capture_port(&ports->candidates[i], port);
		port->chosen = (int)i == chosen;
		port->verdict = verbs_verdict(ports->candidates, ports->count, chosen, i, wish);
	}
}

void machine_capture_rdma(const struct settings *settings, const struct topology *topology,
			  struct machine_info *out)
{
	const struct verbs_wish wish = {
	    .device = settings->verbs_device[0] ? settings->verbs_device : NULL,
	    .port = (int)settings->verbs_port,
	    .gid_index = (int)settings->verbs_gid,
	};
	struct verbs_ports ports;
	int error = verbs_ports_open(topology, wish.gid_index, &ports);

	out->rdma_error = error ? error : -ports.list_error;
	if (!error)
		capture_ports(&ports, &wish, out);
	verbs_ports_close(&ports, NULL);
}
