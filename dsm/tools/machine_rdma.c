/*
 * Asks libibverbs for RDMA devices, their ports and addresses. Opens each device for a moment and leaves
 * nothing.
 */
#include "dsm/tools/machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <infiniband/verbs.h>

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

/* All addresses of the device at once; those of port @out->number go to @out. */
static void capture_gids(struct rdma_port *out, const struct ibv_gid_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].port_num != out->number)
			continue;
		if (out->gid_count < MACHINE_MAX_RDMA_GIDS) {
			struct rdma_gid *gid = &out->gids[out->gid_count];

			gid->index = entries[i].gid_index;
			gid->type = gid_type_name(entries[i].gid_type);
			inet_ntop(AF_INET6, entries[i].gid.raw, gid->address, sizeof gid->address);
		}
		out->gid_count++;
	}
}

static void capture_port(struct ibv_context *context, unsigned number, struct rdma_port *out)
{
	struct ibv_port_attr attributes;

	out->number = number;
	out->state = "unknown";
	out->link_layer = "unspecified";
	if (ibv_query_port(context, (uint8_t)number, &attributes))
		return;
	out->active = attributes.state == IBV_PORT_ACTIVE;
	out->state = ibv_port_state_str(attributes.state);
	out->link_layer = link_layer_name(attributes.link_layer);
	if (attributes.active_mtu >= IBV_MTU_256 && attributes.active_mtu <= IBV_MTU_4096)
		out->mtu_bytes = 128u << attributes.active_mtu;
}

static void capture_ports(struct ibv_context *context, struct rdma_device *out)
{
	enum { MAX_ENTRIES = 512 };
	struct ibv_device_attr attributes;
	struct ibv_gid_entry *entries;
	ssize_t count;

	if (ibv_query_device(context, &attributes)) {
		out->error = -EIO;
		return;
	}
	out->port_count = attributes.phys_port_cnt;
	entries = calloc(MAX_ENTRIES, sizeof *entries);
	count = entries ? ibv_query_gid_table(context, entries, MAX_ENTRIES, 0) : 0;
	for (unsigned i = 0; i < out->port_count && i < MACHINE_MAX_RDMA_PORTS; i++) {
		capture_port(context, i + 1, &out->ports[i]);
		if (count > 0)
			capture_gids(&out->ports[i], entries, (size_t)count);
	}
	free(entries);
}

static void capture_device(struct ibv_device *device, struct rdma_device *out)
{
	struct ibv_context *context;

	snprintf(out->name, sizeof out->name, "%s", ibv_get_device_name(device));
	out->transport = transport_name(device->transport_type);
	errno = 0;
	context = ibv_open_device(device);
	if (!context) {
		out->error = errno ? -errno : -EIO;
		return;
	}
	capture_ports(context, out);
	ibv_close_device(context);
}

void machine_capture_rdma(struct machine_info *out)
{
	int count = 0;
	struct ibv_device **devices;

	errno = 0;
	devices = ibv_get_device_list(&count);
	if (!devices) {
		/* ENOSYS: the kernel has no RDMA at all, which is the same as no device. */
		out->rdma_error = errno == ENOSYS ? 0 : -errno;
		return;
	}
	for (int i = 0; i < count && i < MACHINE_MAX_RDMA_DEVICES; i++)
		capture_device(devices[i], &out->rdma_devices[out->rdma_device_count++]);
	ibv_free_device_list(devices);
}
