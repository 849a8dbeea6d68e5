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

static json_t *limits(const struct machine_info *info)
{
	const struct machine_limits *l = &info->limits;
	json_t *unprivileged =
	    l->unprivileged_userfaultfd < 0 ? json_null() : json_integer(l->unprivileged_userfaultfd);

	return json_pack(
	    "{s:o, s:o, s:b, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I}", "locked_memory_soft_bytes",
	    amount(l->locked_memory_soft_bytes), "locked_memory_hard_bytes",
	    amount(l->locked_memory_hard_bytes), "may_lock_all", l->may_lock_all, "open_files_soft",
	    amount(l->open_files_soft), "open_files_hard", amount(l->open_files_hard), "max_map_count",
	    (json_int_t)l->max_map_count, "unprivileged_userfaultfd", unprivileged, "memory_total_bytes",
	    (json_int_t)l->memory_total_bytes, "memory_available_bytes",
	    (json_int_t)l->memory_available_bytes, "dev_shm_total_bytes", (json_int_t)l->dev_shm_total_bytes,
	    "dev_shm_free_bytes", (json_int_t)l->dev_shm_free_bytes);
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
			 "rdma", info_json_rdma(info), "limits", limits(info), "mpi", "library",
			 info->mpi_library, "topology", topology(info), "settings", settings(info), "missing",
			 missing(findings, count));
}
