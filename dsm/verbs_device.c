/*
 * The choice of device, port and GID.
 */
#include "dsm/verbs_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/report.h"
#include "dsm/verbs_plan.h"

/* vendor_id of soft-RoCE: of no vendor. */
#define VENDOR_NONE 0xffffffu

/* --- the choice, on tables ----------------------------------------------------------------------------- */

enum verbs_fitness verbs_fitness(const struct verbs_candidate *candidate, const char *device, int port)
{
	if (device && strcmp(candidate->device, device) != 0)
		return VERBS_OTHER_DEVICE;
	if (!candidate->context)
		return VERBS_NOT_OPENED;
	if (port && candidate->port != port)
		return VERBS_OTHER_PORT;
	if (!candidate->connected)
		return VERBS_NOT_CONNECTED;
	if (!candidate->atomic)
		return VERBS_WITHOUT_ATOMIC;
	if (!candidate->active)
		return VERBS_DOWN;
	return VERBS_FIT;
}

static bool is_preferred(const struct verbs_candidate *a, enum verbs_fitness fitness_a,
			 const struct verbs_candidate *b, enum verbs_fitness fitness_b)
{
	if (fitness_a != fitness_b)
		return fitness_a > fitness_b;
	if (a->software != b->software)
		return b->software;
	return a->gigabits > b->gigabits;
}

int verbs_choose_port(const struct verbs_candidate *candidates, size_t count, const char *device, int port,
		      enum verbs_fitness *fitness)
{
	int best = -1;

	*fitness = VERBS_OTHER_DEVICE;
	for (size_t i = 0; i < count; i++) {
		enum verbs_fitness f = verbs_fitness(&candidates[i], device, port);

		if (best < 0 || is_preferred(&candidates[i], f, &candidates[best], *fitness)) {
			best = (int)i;
			*fitness = f;
		}
	}
	return best;
}

static bool is_ipv4(const union ibv_gid *gid)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(gid->raw, mapped, sizeof mapped) == 0;
}

static bool is_loopback(const union ibv_gid *gid)
{
	static const uint8_t ipv6[16] = {[15] = 1};

	return memcmp(gid->raw, ipv6, sizeof ipv6) == 0 || (is_ipv4(gid) && gid->raw[12] == 127);
}

static bool is_link_local(const union ibv_gid *gid)
{
	if (is_ipv4(gid))
		return gid->raw[12] == 169 && gid->raw[13] == 254;
	return gid->raw[0] == 0xfe && (gid->raw[1] & 0xc0) == 0x80;
}

/* 0: there is no such GID. */
static int gid_rank(const struct ibv_gid_entry *entry)
{
	static const union ibv_gid none;
	int rank = 2;

	if (memcmp(&entry->gid, &none, sizeof none) == 0)
		return 0;
	if (is_loopback(&entry->gid))
		return 1;
	if (entry->gid_type == IBV_GID_TYPE_ROCE_V2)
		rank += 4;
	if (!is_link_local(&entry->gid))
		rank += is_ipv4(&entry->gid) ? 2 : 1;
	return rank;
}

int verbs_choose_gid(const struct ibv_gid_entry *entries, size_t count, int port, int wanted)
{
	int best = -1;

	for (size_t i = 0; i < count; i++) {
		const struct ibv_gid_entry *entry = &entries[i];

		if (entry->port_num != (uint32_t)port || gid_rank(entry) == 0)
			continue;
		if (wanted >= 0 && entry->gid_index != (uint32_t)wanted)
			continue;
		if (best < 0 || gid_rank(entry) > gid_rank(&entries[best]))
			best = (int)i;
	}
	return best;
}

unsigned verbs_gigabits(uint8_t speed, uint8_t width)
{
	/* By bit of active_speed: SDR, DDR, QDR, FDR10, FDR, EDR, HDR, NDR; tenths of Gbit/s of one lane. */
	static const unsigned tenths[] = {25, 50, 100, 100, 140, 250, 500, 1000};
	/* By bit of active_width. */
	static const unsigned wires[] = {1, 4, 8, 12, 2};

	for (unsigned s = 0; s < sizeof tenths / sizeof *tenths; s++)
		for (unsigned w = 0; w < sizeof wires / sizeof *wires; w++)
			if (speed == 1u << s && width == 1u << w)
				return tenths[s] * wires[w] / 10;
	return 0;
}

/* --- the machine --------------------------------------------------------------------------------------- */

struct candidate_table {
	struct verbs_candidate *candidates;
	size_t count;
	int open_error; /* why a device could not be opened, the last one */
};

static int table_add(struct candidate_table *table, struct verbs_candidate candidate)
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

/* Adds each port of an open device. The context is in the table once it returns 0. */
static int table_add_ports(struct candidate_table *table, struct ibv_context *context,
			   const struct ibv_device_attr *attr)
{
	int error;

	for (int port = 1; port <= attr->phys_port_cnt; port++) {
		struct ibv_port_attr p;

		if (ibv_query_port(context, (uint8_t)port, &p))
			p = (struct ibv_port_attr){.state = IBV_PORT_NOP};
		error = table_add(table, (struct verbs_candidate){
					     .device = ibv_get_device_name(context->device),
					     .context = context,
					     .port = port,
					     .connected = context->device->transport_type == IBV_TRANSPORT_IB,
					     .atomic = device_has_atomics(attr),
					     .active = p.state == IBV_PORT_ACTIVE,
					     .software = attr->vendor_id == VENDOR_NONE,
					     .gigabits = verbs_gigabits(p.active_speed, p.active_width),
					 });
		if (error)
			return error;
	}
	return 0;
}

static int table_add_device(struct candidate_table *table, struct ibv_device *device)
{
	struct ibv_device_attr attr;
	struct ibv_context *context = ibv_open_device(device);
	int error;

	if (context) {
		error = ibv_query_device(context, &attr);
		if (!error && attr.phys_port_cnt > 0) {
			error = table_add_ports(table, context, &attr);
			if (error &&
			    (!table->count || table->candidates[table->count - 1].context != context))
				ibv_close_device(context); /* else the table has it */
			return error;
		}
		errno = error ? error : ENODEV;
	}
	table->open_error = errno;
	if (context)
		ibv_close_device(context);
	return table_add(table, (struct verbs_candidate){.device = ibv_get_device_name(device)});
}

/* Closes every device but @keep, and forgets the table. A device's ports are neighbours in it. */
static void table_clear(struct candidate_table *table, const struct ibv_context *keep)
{
	struct ibv_context *closed = NULL;

	for (size_t i = 0; i < table->count; i++) {
		struct ibv_context *context = table->candidates[i].context;

		if (!context || context == keep || context == closed)
			continue;
		ibv_close_device(context);
		closed = context;
	}
	free(table->candidates);
	*table = (struct candidate_table){0};
}

/* Tells why no port may be used; @nearest is the fittest. */
static void report_unfit(const struct transport_config *config, enum verbs_fitness fitness,
			 const struct verbs_candidate *nearest, int open_error)
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
		       nearest->device, strerror(open_error));
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
	int device_count = 0;
	struct ibv_device **devices = ibv_get_device_list(&device_count);
	struct candidate_table table = {0};
	enum verbs_fitness fitness;
	int error = 0;

	/* NULL: this kernel has no RDMA at all, which is to have no device. */
	for (int i = 0; devices && i < device_count && !error; i++)
		error = table_add_device(&table, devices[i]);
	if (error)
		goto out;

	int best = verbs_choose_port(table.candidates, table.count, config->device, config->port, &fitness);

	if (best < 0 || fitness != VERBS_FIT) {
		report_unfit(config, fitness, best < 0 ? NULL : &table.candidates[best], table.open_error);
		error = -ENODEV;
		goto out;
	}
	*chosen = table.candidates[best];
out:
	if (error == -ENOMEM)
		report("no memory for the list of RDMA devices");
	table_clear(&table, error ? NULL : chosen->context);
	if (devices)
		ibv_free_device_list(devices);
	return error;
}

/* Reads the GIDs of the port one by one: the call for all of them fails on a device whose table is long. */
static size_t read_gids(const struct verbs_device *device, struct ibv_gid_entry *entries, int table_length)
{
	size_t count = 0;

	for (int i = 0; i < table_length; i++)
		if (ibv_query_gid_ex(device->context, (uint32_t)device->port, (uint32_t)i, &entries[count],
				     0) == 0)
			count++;
	return count;
}

/* Finds the GID and writes it into the address. */
static int take_gid(struct verbs_device *device, int table_length, int wanted)
{
	struct ibv_gid_entry *entries = calloc((size_t)table_length + 1, sizeof *entries);

	if (!entries) {
		report("no memory for the GID table of RDMA device %s", device->name);
		return -ENOMEM;
	}

	size_t count = read_gids(device, entries, table_length);
	int best = verbs_choose_gid(entries, count, device->port, wanted);

	if (best >= 0) {
		memcpy(device->address.gid, entries[best].gid.raw, sizeof device->address.gid);
		device->address.gid_type = (uint8_t)entries[best].gid_type;
		device->gid_index = (int)entries[best].gid_index;
	} else if (wanted >= 0) {
		report("port %d of RDMA device %s has no GID %d; set MINORCA_VERBS_GID to one that "
		       "`ibv_devinfo -v` "
		       "lists, or unset it",
		       device->port, device->name, wanted);
	} else {
		report("port %d of RDMA device %s has no GID; give its network interface an address",
		       device->port, device->name);
	}
	free(entries);
	return best >= 0 ? 0 : -ENODEV;
}

static uint8_t reads_at_a_time(const struct ibv_device_attr *attr)
{
	int least = attr->max_qp_rd_atom < attr->max_qp_init_rd_atom ? attr->max_qp_rd_atom
								     : attr->max_qp_init_rd_atom;

	/* As many as common hardware has; more costs memory for each queue pair. */
	return least < 16 ? (uint8_t)least : 16;
}

static void note_capabilities(struct verbs_device *device, bool software,
			      const struct ibv_device_attr_ex *attr)
{
	const uint32_t read_write = IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_WRITE;
	uint32_t odp = attr->odp_caps.per_transport_caps.rc_odp_caps;

	device->address.reads = reads_at_a_time(&attr->orig_attr);
	device->window = verbs_window(attr->orig_attr.max_qp_wr, attr->orig_attr.max_cqe);
	device->bus_atomics = attr->pci_atomic_caps.fetch_add || attr->pci_atomic_caps.compare_swap;
	/*
	 * Not with soft-RoCE, though it says that it can: Linux 7.3 puts what is written at an offset in a
	 * page that is paged on demand at the page's start, and reads it from there.
	 */
	device->on_demand =
	    !software && (attr->odp_caps.general_caps & IBV_ODP_SUPPORT) && (odp & read_write) == read_write;
	device->on_demand_atomic = device->on_demand && (odp & IBV_ODP_SUPPORT_ATOMIC);
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
	device.address.link_layer = port.link_layer ? port.link_layer : IBV_LINK_LAYER_INFINIBAND;
	device.address.mtu = (uint8_t)port.active_mtu;
	device.address.global = device.address.link_layer == IBV_LINK_LAYER_ETHERNET || port.lid == 0 ||
				(port.flags & IBV_QPF_GRH_REQUIRED) || config->gid_index >= 0;
	error = take_gid(&device, port.gid_tbl_len, config->gid_index);
	if (error)
		goto close;
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
