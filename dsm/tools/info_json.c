/*
 * A captured machine, as one JSON object. docs/info.md documents the layout: names are never renamed or
 * removed, only added.
 */
#include "dsm/tools/machine.h"

#include <string.h>

/* Unlimited is null: a number would be taken for one. */
static json_t *amount(uint64_t value)
{
	return value == MACHINE_UNLIMITED ? json_null() : json_integer((json_int_t)value);
}

static json_t *error_text(int error)
{
	return error ? json_string(strerror(-error)) : json_null();
}

/* json_pack()'s "o" steals the reference and fails on NULL, so a failed allocation below surfaces at the top.
 */
static json_t *kernel(const struct machine_info *info)
{
	json_t *features = json_array();

	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature_status *f = &info->features[i];

		json_array_append_new(
		    features, json_pack("{s:s, s:b, s:b, s:o, s:s, s:s, s:s, s:s}", "name", f->name,
					"available", f->available, "required", f->required, "error",
					error_text(f->available ? 0 : f->error), "since", f->since, "purpose",
					f->purpose, "consequence", f->consequence, "remedy", f->remedy));
	}
	return json_pack("{s:s, s:s, s:o}", "release", info->kernel_release, "architecture",
			 info->architecture, "features", features);
}

static json_t *hugepage_pools(const struct machine_info *info)
{
	json_t *pools = json_array();

	for (unsigned i = 0; i < info->pool_count; i++) {
		const struct hugepage_pool *p = &info->pools[i];

		json_array_append_new(
		    pools,
		    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "page_size_bytes", (json_int_t)p->page_bytes,
			      "total_pages", (json_int_t)p->total, "free_pages", (json_int_t)p->free,
			      "reserved_pages", (json_int_t)p->reserved, "overcommit_pages",
			      (json_int_t)p->overcommit, "surplus_pages", (json_int_t)p->surplus));
	}
	return pools;
}

static json_t *rdma_port(const struct rdma_port *port)
{
	json_t *gids = json_array();

	for (unsigned i = 0; i < port->gid_count && i < MACHINE_MAX_RDMA_GIDS; i++)
		json_array_append_new(gids,
				      json_pack("{s:i, s:s, s:s}", "index", (int)port->gids[i].index, "gid",
						port->gids[i].address, "type", port->gids[i].type));
	return json_pack("{s:i, s:b, s:s, s:s, s:i, s:i, s:o}", "port", (int)port->number, "active",
			 port->active, "state", port->state, "link_layer", port->link_layer, "mtu_bytes",
			 (int)port->mtu_bytes, "gid_count", (int)port->gid_count, "gids", gids);
}

static json_t *rdma(const struct machine_info *info)
{
	json_t *devices = json_array();

	for (unsigned i = 0; i < info->rdma_device_count; i++) {
		const struct rdma_device *d = &info->rdma_devices[i];
		json_t *ports = json_array();

		for (unsigned j = 0; j < d->port_count && j < MACHINE_MAX_RDMA_PORTS; j++)
			json_array_append_new(ports, rdma_port(&d->ports[j]));
		json_array_append_new(devices,
				      json_pack("{s:s, s:s, s:o, s:o}", "name", d->name, "transport",
						d->transport, "error", error_text(d->error), "ports", ports));
	}
	return json_pack("{s:o, s:o}", "error", error_text(info->rdma_error), "devices", devices);
}

static json_t *limits(const struct machine_info *info)
{
	const struct machine_limits *l = &info->limits;
	json_t *unprivileged =
	    l->unprivileged_userfaultfd < 0 ? json_null() : json_integer(l->unprivileged_userfaultfd);

	return json_pack(
	    "{s:o, s:o, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I}", "locked_memory_soft_bytes",
	    amount(l->locked_memory_soft_bytes), "locked_memory_hard_bytes",
	    amount(l->locked_memory_hard_bytes), "open_files_soft", amount(l->open_files_soft),
	    "open_files_hard", amount(l->open_files_hard), "max_map_count", (json_int_t)l->max_map_count,
	    "unprivileged_userfaultfd", unprivileged, "memory_total_bytes", (json_int_t)l->memory_total_bytes,
	    "memory_available_bytes", (json_int_t)l->memory_available_bytes, "dev_shm_total_bytes",
	    (json_int_t)l->dev_shm_total_bytes, "dev_shm_free_bytes", (json_int_t)l->dev_shm_free_bytes);
}

static json_t *topology(const struct machine_info *info)
{
	return json_pack("{s:o, s:s, s:i}", "error", error_text(info->topology_error), "summary",
			 info->topology, "usable_pus", (int)info->usable_pus);
}

static json_t *settings(const struct machine_info *info)
{
	bool known = !info->settings_error[0];
	json_t *values = json_array();

	for (unsigned i = 0; i < info->setting_count; i++) {
		const struct setting_value *s = &info->settings[i];

		json_array_append_new(values, json_pack("{s:s, s:s?, s:s, s:b}", "name", s->name, "value",
							known ? s->value : NULL, "default", s->default_text,
							"set", s->set));
	}
	return json_pack("{s:s?, s:o}", "error", known ? NULL : info->settings_error, "values", values);
}

static json_t *missing(const struct finding *findings, unsigned count)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:b, s:s, s:s, s:s}", "subject",
						      findings[i].subject, "required", findings[i].required,
						      "what", findings[i].what, "consequence",
						      findings[i].consequence, "remedy", findings[i].remedy));
	return list;
}

json_t *info_json(const struct machine_info *info, const struct finding *findings, unsigned count)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:{s:s}, s:o, s:o, s:o}", "version", info->version,
			 "host", info->host, "kernel", kernel(info), "hugepage_pools", hugepage_pools(info),
			 "rdma", rdma(info), "limits", limits(info), "mpi", "library", info->mpi_library,
			 "topology", topology(info), "settings", settings(info), "missing",
			 missing(findings, count));
}
