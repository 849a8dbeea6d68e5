/*
 * The RDMA devices of the machine, and the one in use.
 */
#include "dsm/verbs_device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/report.h"
#include "dsm/verbs_plan.h"

/* vendor_id of soft-RoCE: of no vendor. */
#define VENDOR_NONE 0xffffffu

/* --- the machine --------------------------------------------------------------------------------------- */

static int table_add(struct verbs_ports *table, struct verbs_candidate candidate)
{
	struct verbs_candidate *more =
	    realloc(table->candidates, (table->count + 1) * sizeof *table->candidates);

	if (!more)
		return -ENOMEM;
	table->candidates = more;
	table->candidates[table->count++] = candidate;
	return 0;
}

static bool device_has_atomics(const struct ibv_device_attr *attr)
{
	return attr->atomic_cap != IBV_ATOMIC_NONE && attr->max_qp_rd_atom > 0 &&
	       attr->max_qp_init_rd_atom > 0;
}

/* What is made of the CPU has no PCI device, and so no such file; then its distance is unknown. */
static enum topology_distance distance_of(const struct topology *topology, const struct ibv_device *device)
{
	char path[IBV_SYSFS_PATH_MAX + 32], cpus[1024];
	enum topology_distance distance = TOPOLOGY_UNKNOWN;
	FILE *file;

	if (!topology)
		return distance;
	snprintf(path, sizeof path, "%s/device/local_cpulist", device->ibdev_path);
	file = fopen(path, "re");
	if (!file)
		return distance;
	if (fgets(cpus, sizeof cpus, file)) {
		cpus[strcspn(cpus, "\n")] = 0;
		distance = topology_distance(topology, cpus);
	}
	fclose(file);
	return distance;
}

/*
 * Finds the GID to use. They are read one by one: the call for all of them fails on a device whose table is
 * long.
 */
static int find_gid(struct verbs_candidate *candidate, int table_length, int wanted)
{
	struct ibv_gid_entry *entries = calloc((size_t)table_length + 1, sizeof *entries);
	size_t count = 0;

	if (!entries)
		return -ENOMEM;
	for (int i = 0; i < table_length; i++)
		if (ibv_query_gid_ex(candidate->context, (uint32_t)candidate->port, (uint32_t)i,
				     &entries[count], 0) == 0)
			count++;

	int best = verbs_choose_gid(entries, count, candidate->port, wanted);

	candidate->has_gid = best >= 0;
	if (candidate->has_gid)
		candidate->gid = entries[best];
	free(entries);
	return 0;
}

/* Adds each port of an open device. The context is in the table once it returns 0. */
static int table_add_ports(struct verbs_ports *table, struct ibv_context *context,
			   const struct ibv_device_attr *attr, enum topology_distance distance, int gid_index)
{
	for (int port = 1; port <= attr->phys_port_cnt; port++) {
		struct ibv_port_attr p;
		struct verbs_candidate candidate = {
		    .device = ibv_get_device_name(context->device),
		    .context = context,
		    .port = port,
		    .connected = context->device->transport_type == IBV_TRANSPORT_IB,
		    .atomic = device_has_atomics(attr),
		    .software = attr->vendor_id == VENDOR_NONE,
		    .distance = distance,
		};
		int error = 0;

		if (!ibv_query_port(context, (uint8_t)port, &p)) {
			candidate.active = p.state == IBV_PORT_ACTIVE;
			candidate.link_layer =
			    p.link_layer ? p.link_layer : (uint8_t)IBV_LINK_LAYER_INFINIBAND;
			candidate.gigabits = verbs_gigabits(p.active_speed, p.active_width);
			error = find_gid(&candidate, p.gid_tbl_len, gid_index);
		}
		if (!error)
			error = table_add(table, candidate);
		if (error)
			return error;
	}
	return 0;
}

static int table_add_device(struct verbs_ports *table, struct ibv_device *device,
			    const struct topology *topology, int gid_index)
{
	struct ibv_device_attr attr;
	struct ibv_context *context = ibv_open_device(device);
	int error;

	if (context) {
		error = ibv_query_device(context, &attr);
		if (!error && attr.phys_port_cnt > 0) {
			error =
			    table_add_ports(table, context, &attr, distance_of(topology, device), gid_index);
			if (error &&
			    (!table->count || table->candidates[table->count - 1].context != context))
				ibv_close_device(context); /* else the table has it */
			return error;
		}
		errno = error ? error : ENODEV;
	}
	int open_error = errno;

	if (context)
		ibv_close_device(context);
	return table_add(
	    table, (struct verbs_candidate){.device = ibv_get_device_name(device), .open_error = open_error});
}

int verbs_ports_open(const struct topology *topology, int gid_index, struct verbs_ports *out)
{
	int device_count = 0, error = 0;

	*out = (struct verbs_ports){.devices = ibv_get_device_list(&device_count)};
	/* ENOSYS: this kernel has no RDMA at all, which is to have no device. */
	if (!out->devices && errno != ENOSYS)
		out->list_error = errno;
	for (int i = 0; out->devices && i < device_count && !error; i++)
		error = table_add_device(out, out->devices[i], topology, gid_index);
	return error;
}

/* A device's ports are neighbours in the table. */
void verbs_ports_close(struct verbs_ports *ports, const struct ibv_context *keep)
{
	struct ibv_context *closed = NULL;

	for (size_t i = 0; ports->candidates && i < ports->count; i++) {
		struct ibv_context *context = ports->candidates[i].context;

		if (!context || context == keep || context == closed)
			continue;
		ibv_close_device(context);
		closed = context;
	}
	free(ports->candidates);
	if (ports->devices)
		ibv_free_device_list(ports->devices);
	*ports = (struct verbs_ports){0};
}

/* --- the choice ---------------------------------------------------------------------------------------- */

/* Tells why no port may be used; @nearest is the fittest. */
static void report_unfit(const struct transport_config *config, enum verbs_fitness fitness,
			 const struct verbs_candidate *nearest)
{
	if (!nearest) {
		report("no RDMA device on this host; load its driver and install ibverbs-providers, or make "
		       "one of "
		       "any network interface: rdma link add rxe0 type rxe netdev eth0");
		return;
	}
	switch (fitness) {
	case VERBS_OTHER_DEVICE:
		report("there is no RDMA device %s here (there is %s); set MINORCA_VERBS_DEVICE to one that "
		       "`ibv_devices` lists, or unset it",
		       config->device, nearest->device);
		break;
	case VERBS_NOT_OPENED:
		report("cannot open RDMA device %s: %s; check the rights on /dev/infiniband/uverbs* and that "
		       "ibverbs-providers is installed",
		       nearest->device, strerror(nearest->open_error));
		break;
	case VERBS_OTHER_PORT:
		report("RDMA device %s has no port %d; set MINORCA_VERBS_PORT to one that `ibv_devinfo` "
		       "lists, or "
		       "unset it",
		       nearest->device, config->port);
		break;
	case VERBS_NOT_CONNECTED:
		report(
		    "RDMA device %s does not speak InfiniBand or RoCE (iWARP is not supported); use another, "
		    "such as soft-RoCE: rdma link add rxe0 type rxe netdev eth0",
		    nearest->device);
		break;
	case VERBS_WITHOUT_GID:
		if (config->gid_index >= 0)
			report("port %d of RDMA device %s has no GID %d; set MINORCA_VERBS_GID to one that "
			       "`ibv_devinfo -v` lists, or unset it",
			       nearest->port, nearest->device, config->gid_index);
		else
			report("port %d of RDMA device %s has no GID; give its network interface an address",
			       nearest->port, nearest->device);
		break;
	case VERBS_WITHOUT_ATOMIC:
		report("RDMA device %s serves no atomics, which are needed; use another, such as soft-RoCE: "
		       "rdma "
		       "link add rxe0 type rxe netdev eth0",
		       nearest->device);
		break;
	default:
		report("port %d of RDMA device %s is down; connect it and bring its network interface up, or "
		       "choose another by MINORCA_VERBS_DEVICE and MINORCA_VERBS_PORT",
		       nearest->port, nearest->device);
	}
}

/* Opens the devices, chooses a port and closes the other devices. */
static int open_port(const struct transport_config *config, struct verbs_candidate *chosen)
{
	const struct verbs_wish wish = {config->device, config->port, config->gid_index, config->turn};
	struct verbs_ports ports;
	int error = verbs_ports_open(config->topology, config->gid_index, &ports);

	if (error) {
		report("no memory for the list of RDMA devices");
	} else if (ports.list_error) {
		report(
		    "RDMA devices cannot be listed: %s; see that /dev/infiniband is there and may be opened",
		    strerror(ports.list_error));
		error = -ENODEV;
	} else {
		int best = ports.candidates ? verbs_choose_port(ports.candidates, ports.count, &wish) : -1;
		enum verbs_fitness fitness =
		    best < 0 ? VERBS_OTHER_DEVICE : verbs_fitness(&ports.candidates[best], &wish);

		if (fitness == VERBS_FIT) {
			*chosen = ports.candidates[best];
		} else {
			report_unfit(config, fitness, best < 0 ? NULL : &ports.candidates[best]);
			error = -ENODEV;
		}
	}
	verbs_ports_close(&ports, error ? NULL : chosen->context);
	return error;
}

uint8_t verbs_reads_at_a_time(const struct ibv_device_attr *attr)
{
	int least = attr->max_qp_rd_atom < attr->max_qp_init_rd_atom ? attr->max_qp_rd_atom
								     : attr->max_qp_init_rd_atom;

	/* As many as common hardware has; more costs memory for each queue pair. */
	return least < 16 ? (uint8_t)least : 16;
}

/*
 * Not with soft-RoCE, though it says that it can: Linux 7.3 puts what is written at an offset in a page that
 * is paged on demand at the page's start, and reads it from there.
 */
bool verbs_pages_on_demand(bool software, const struct ibv_device_attr_ex *attr)
{
	const uint32_t read_write = IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_WRITE;

	return !software && (attr->odp_caps.general_caps & IBV_ODP_SUPPORT) &&
	       (attr->odp_caps.per_transport_caps.rc_odp_caps & read_write) == read_write;
}

bool verbs_pages_on_demand_atomic(bool software, const struct ibv_device_attr_ex *attr)
{
	return verbs_pages_on_demand(software, attr) &&
	       (attr->odp_caps.per_transport_caps.rc_odp_caps & IBV_ODP_SUPPORT_ATOMIC);
}

static void note_capabilities(struct verbs_device *device, bool software,
			      const struct ibv_device_attr_ex *attr)
{
	device->address.reads = verbs_reads_at_a_time(&attr->orig_attr);
	device->window = verbs_window(attr->orig_attr.max_qp_wr, attr->orig_attr.max_cqe);
	device->bus_atomics = attr->pci_atomic_caps.fetch_add || attr->pci_atomic_caps.compare_swap;
	device->on_demand = verbs_pages_on_demand(software, attr);
	device->on_demand_atomic = verbs_pages_on_demand_atomic(software, attr);
}

int verbs_device_open(const struct transport_config *config, struct verbs_device *out)
{
	struct verbs_candidate chosen = {0};
	struct ibv_device_attr_ex attr = {0};
	struct ibv_port_attr port;
	struct verbs_device device = {0};
	int error = open_port(config, &chosen);

	if (error)
		return error;
	device.context = chosen.context;
	device.name = ibv_get_device_name(chosen.context->device);
	device.port = chosen.port;

	error = ibv_query_device_ex(device.context, NULL, &attr);
	if (!error)
		error = ibv_query_port(device.context, (uint8_t)device.port, &port);
	if (error) {
		report("cannot query RDMA device %s: %s", device.name, strerror(error));
		error = -ENODEV;
		goto close;
	}
	note_capabilities(&device, chosen.software, &attr);
	device.piece_bytes = verbs_piece_bytes(port.max_msg_sz);
	device.read_bytes = verbs_read_bytes(device.piece_bytes, config->read_bytes);
	if (!device.window || !device.piece_bytes) {
		report("RDMA device %s has queues of %d requests, which are too short; use another",
		       device.name, attr.orig_attr.max_qp_wr);
		error = -ENODEV;
		goto close;
	}
	device.address.lid = port.lid;
	device.address.link_layer = chosen.link_layer;
	device.address.mtu = (uint8_t)port.active_mtu;
	device.address.global = device.address.link_layer == IBV_LINK_LAYER_ETHERNET || port.lid == 0 ||
				(port.flags & IBV_QPF_GRH_REQUIRED) || config->gid_index >= 0;
	memcpy(device.address.gid, chosen.gid.gid.raw, sizeof device.address.gid);
	device.address.gid_type = (uint8_t)chosen.gid.gid_type;
	device.gid_index = (int)chosen.gid.gid_index;
	*out = device;
	return 0;
close:
	ibv_close_device(device.context);
	return error;
}

void verbs_device_close(struct verbs_device *device)
{
	if (device->context)
		ibv_close_device(device->context);
	device->context = NULL;
}
