/*
 * What `minorca info` tells of RDMA: each port, which one a job would use and why, and whether it may lock
 * the memory that this takes.
 */
#include <inttypes.h>
#include <string.h>

#include "dsm/tools/machine.h"

static unsigned ports_shown(const struct rdma_device *device)
{
	return device->port_count < MACHINE_MAX_RDMA_PORTS ? device->port_count : MACHINE_MAX_RDMA_PORTS;
}

/* --- for people ---------------------------------------------------------------------------------------- */

static void print_gids(const struct rdma_port *port, FILE *out)
{
	for (unsigned i = 0; i < port->gid_count && i < MACHINE_MAX_RDMA_GIDS; i++)
		fprintf(out, "      GID %u: %s (%s)%s\n", port->gids[i].index, port->gids[i].address,
			port->gids[i].type,
			port->chosen && (int)port->gids[i].index == port->gid_used ? ", CHOSEN" : "");
	if (port->gid_count > MACHINE_MAX_RDMA_GIDS)
		fprintf(out, "      and %u more GIDs\n", port->gid_count - MACHINE_MAX_RDMA_GIDS);
}

static void print_port(const struct rdma_port *port, FILE *out)
{
	fprintf(out, "    port %u: %s, %s, MTU %u", port->number, port->state, port->link_layer,
		port->mtu_bytes);
	if (port->gigabits)
		fprintf(out, ", %u Gbit/s", port->gigabits);
	if (port->interface[0])
		fprintf(out, ", interface %s", port->interface);
	fprintf(out, "\n      %s: %s\n", port->chosen ? "CHOSEN" : "not chosen", port->verdict);
	print_gids(port, out);
}

static void print_device(const struct rdma_device *device, FILE *out)
{
	char text[32];

	if (device->error) {
		fprintf(out, "  %s: cannot be opened: %s\n", device->name, strerror(-device->error));
		return;
	}
	fprintf(out, "  %s: transport %s, %s; ", device->name, device->transport,
		device->software ? "software" : "hardware");
	if (device->numa_node >= 0)
		fprintf(out, "NUMA node %d, ", device->numa_node);
	fprintf(out, "distance: %s\n", device->distance);
	fprintf(out, "    atomics %s; on-demand paging: %s\n", device->atomics,
		!device->on_demand	   ? "no"
		: device->on_demand_atomic ? "yes"
					   : "yes, but not of memory for atomics");
	fprintf(out, "    largest registration: %s; %u reads under way at a time; %u bytes inline\n",
		format_limit(device->registration_bytes, text, sizeof text), device->reads,
		device->inline_bytes);
	for (unsigned i = 0; i < ports_shown(device); i++)
		print_port(&device->ports[i], out);
	if (device->port_count > MACHINE_MAX_RDMA_PORTS)
		fprintf(out, "    and %u more ports\n", device->port_count - MACHINE_MAX_RDMA_PORTS);
}

static void print_locked_memory(const struct machine_info *info, FILE *out)
{
	char limit[32], needed[32];

	if (info->limits.may_lock_all)
		snprintf(limit, sizeof limit, "any amount (CAP_IPC_LOCK)");
	else
		format_limit(info->limits.locked_memory_soft_bytes, limit, sizeof limit);
	fprintf(out, "  locked memory: allowed: %s; the heap and the queues take %s, regions add theirs%s\n",
		limit, format_bytes(machine_locked_memory_needed(info), needed, sizeof needed),
		machine_locked_memory_suffices(info) ? "" : ": TOO LITTLE");
}

void info_print_rdma(const struct machine_info *info, FILE *out)
{
	fprintf(out, "\nRDMA devices\n");
	if (info->rdma_error)
		fprintf(out, "  cannot be listed: %s\n", strerror(-info->rdma_error));
	else if (!info->rdma_device_count)
		fprintf(out, "  none; see \"Missing\" for how to make one of an Ethernet interface\n");
	for (unsigned i = 0; i < info->rdma_device_count; i++)
		print_device(&info->rdma_devices[i], out);
	if (info->rdma_device_count)
		print_locked_memory(info, out);
}

/* --- for programs -------------------------------------------------------------------------------------- */

/* json_pack()'s "o" steals the reference and fails on NULL, so a failed allocation surfaces at the top. */
static json_t *json_port(const struct rdma_port *port)
{
	json_t *gids = json_array();

	for (unsigned i = 0; i < port->gid_count && i < MACHINE_MAX_RDMA_GIDS; i++)
		json_array_append_new(gids,
				      json_pack("{s:i, s:s, s:s}", "index", (int)port->gids[i].index, "gid",
						port->gids[i].address, "type", port->gids[i].type));
	return json_pack("{s:i, s:b, s:s, s:s, s:i, s:i, s:s?, s:b, s:s, s:o, s:i, s:o}", "port",
			 (int)port->number, "active", port->active, "state", port->state, "link_layer",
			 port->link_layer, "mtu_bytes", (int)port->mtu_bytes, "speed_gbit_s",
			 (int)port->gigabits, "interface", port->interface[0] ? port->interface : NULL,
			 "chosen", port->chosen, "verdict", port->verdict, "gid_used",
			 port->gid_used < 0 ? json_null() : json_integer(port->gid_used), "gid_count",
			 (int)port->gid_count, "gids", gids);
}

static json_t *json_device(const struct rdma_device *device)
{
	json_t *ports = json_array(), *object;

	for (unsigned i = 0; i < ports_shown(device); i++)
		json_array_append_new(ports, json_port(&device->ports[i]));
	object = json_pack("{s:s, s:s, s:s?, s:o}", "name", device->name, "transport", device->transport,
			   "error", device->error ? strerror(-device->error) : NULL, "ports", ports);
	if (!object || device->error)
		return object;

	json_t *most = device->registration_bytes == MACHINE_UNLIMITED
			   ? json_null()
			   : json_integer((json_int_t)device->registration_bytes);
	json_t *more = json_pack(
	    "{s:b, s:o, s:s, s:s, s:b, s:b, s:o, s:i, s:i}", "software", device->software, "numa_node",
	    device->numa_node < 0 ? json_null() : json_integer(device->numa_node), "distance",
	    device->distance, "atomics", device->atomics, "on_demand_paging", device->on_demand,
	    "on_demand_paging_atomics", device->on_demand_atomic, "max_registration_bytes", most,
	    "reads_under_way", (int)device->reads, "inline_bytes", (int)device->inline_bytes);

	if (!more || json_object_update(object, more)) {
		json_decref(object);
		object = NULL;
	}
	json_decref(more);
	return object;
}

static json_t *json_chosen(const struct machine_info *info)
{
	const struct rdma_device *device;
	const struct rdma_port *port = machine_chosen_port(info, &device);

	if (!port)
		return json_null();
	return json_pack("{s:s, s:i, s:i, s:s}", "device", device->name, "port", (int)port->number,
			 "gid_index", port->gid_used, "reason", port->verdict);
}

json_t *info_json_rdma(const struct machine_info *info)
{
	json_t *devices = json_array();

	for (unsigned i = 0; i < info->rdma_device_count; i++)
		json_array_append_new(devices, json_device(&info->rdma_devices[i]));
	return json_pack("{s:s?, s:o, s:I, s:b, s:o}", "error",
			 info->rdma_error ? strerror(-info->rdma_error) : NULL, "chosen", json_chosen(info),
			 "locked_memory_needed_bytes", (json_int_t)machine_locked_memory_needed(info),
			 "locked_memory_suffices", machine_locked_memory_suffices(info), "devices", devices);
}
