/*
 * A captured machine, for people.
 */
#include "dsm/tools/machine.h"

#include <inttypes.h>
#include <string.h>

char *format_bytes(uint64_t bytes, char *text, size_t text_bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	unsigned unit = 0;
	uint64_t whole = bytes;

	while (unit < 4 && whole >= 1024) {
		whole /= 1024;
		unit++;
	}
	if (bytes == 1)
		snprintf(text, text_bytes, "1 byte");
	else if (whole << (10 * unit) == bytes)
		snprintf(text, text_bytes, "%" PRIu64 " %s", whole, units[unit]);
	else
		snprintf(text, text_bytes, "%.1f %s", (double)bytes / (double)(1ull << (10 * unit)),
			 units[unit]);
	return text;
}

char *format_limit(uint64_t bytes, char *text, size_t text_bytes)
{
	if (bytes == MACHINE_UNLIMITED) {
		snprintf(text, text_bytes, "unlimited");
		return text;
	}
	return format_bytes(bytes, text, text_bytes);
}

static char *format_count(uint64_t count, char *text, size_t text_bytes)
{
	if (count == MACHINE_UNLIMITED)
		snprintf(text, text_bytes, "unlimited");
	else
		snprintf(text, text_bytes, "%" PRIu64, count);
	return text;
}

static void print_features(const struct machine_info *info, FILE *out)
{
	fprintf(out, "\nKernel features\n");
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature_status *f = &info->features[i];

		fprintf(out, "  %-3s %-22s since %-5s %s\n", f->available ? "yes" : "no", f->name, f->since,
			f->purpose);
	}
}

static void print_pools(const struct machine_info *info, FILE *out)
{
	char text[32];

	fprintf(out, "\nHugepage pools\n");
	if (!info->pool_count)
		fprintf(out, "  none: this kernel has no hugepages\n");
	for (unsigned i = 0; i < info->pool_count; i++) {
		const struct hugepage_pool *p = &info->pools[i];

		fprintf(out, "  %-8s %" PRIu64 " pages: %" PRIu64 " free (%" PRIu64 " of these reserved)",
			format_bytes(p->page_bytes, text, sizeof text), p->total, p->free, p->reserved);
		if (p->overcommit)
			fprintf(out, ", up to %" PRIu64 " more on demand (%" PRIu64 " now)", p->overcommit,
				p->surplus);
		fprintf(out, "\n");
	}
}

static void print_limits(const struct machine_info *info, FILE *out)
{
	const struct machine_limits *l = &info->limits;
	char a[32], b[32];

	fprintf(out, "\nLimits\n");
	fprintf(out, "  %-34s %s (hard limit %s)\n", "locked memory (ulimit -l)",
		format_limit(l->locked_memory_soft_bytes, a, sizeof a),
		format_limit(l->locked_memory_hard_bytes, b, sizeof b));
	fprintf(out, "  %-34s %s (hard limit %s)\n", "open files (ulimit -n)",
		format_count(l->open_files_soft, a, sizeof a), format_count(l->open_files_hard, b, sizeof b));
	fprintf(out, "  %-34s %" PRIu64 "\n", "mappings (vm.max_map_count)", l->max_map_count);
	if (l->unprivileged_userfaultfd >= 0)
		fprintf(out, "  %-34s %d\n", "vm.unprivileged_userfaultfd", l->unprivileged_userfaultfd);
	fprintf(out, "  %-34s %s, %s available\n", "memory", format_bytes(l->memory_total_bytes, a, sizeof a),
		format_bytes(l->memory_available_bytes, b, sizeof b));
	if (l->dev_shm_total_bytes)
		fprintf(out, "  %-34s %s, %s free\n", "/dev/shm (not used by Minorca)",
			format_bytes(l->dev_shm_total_bytes, a, sizeof a),
			format_bytes(l->dev_shm_free_bytes, b, sizeof b));
	else
		fprintf(out, "  %-34s not mounted\n", "/dev/shm (not used by Minorca)");
}

static void print_settings(const struct machine_info *info, FILE *out)
{
	if (info->settings_error[0]) {
		fprintf(out, "\nSettings\n  refused: %s\n", info->settings_error);
		return;
	}
	fprintf(out, "\nSettings in force\n");
	for (unsigned i = 0; i < info->setting_count; i++) {
		const struct setting_value *s = &info->settings[i];

		fprintf(out, "  %-22s %-14s%s\n", s->name, s->value[0] ? s->value : "\"\"",
			s->set ? " (set)" : " (default)");
	}
}

static void print_findings(const struct finding *findings, unsigned count, FILE *out)
{
	if (!count) {
		fprintf(out, "\nNothing is missing.\n");
		return;
	}
	fprintf(out, "\nMissing\n");
	for (unsigned i = 0; i < count; i++) {
		const struct finding *f = &findings[i];

		fprintf(out, "  %s%s\n", f->required ? "REQUIRED: " : "", f->what);
		fprintf(out, "      so:   %s\n", f->consequence);
		fprintf(out, "      mend: %s\n", f->remedy);
	}
}

void info_print(const struct machine_info *info, const struct finding *findings, unsigned count, FILE *out)
{
	fprintf(out, "Minorca %s on %s: Linux %s %s\n", info->version, info->host, info->kernel_release,
		info->architecture);
	print_features(info, out);
	print_pools(info, out);
	info_print_rdma(info, out);
	print_limits(info, out);
	fprintf(out, "\nMPI\n  %s\n", info->mpi_library[0] ? info->mpi_library : "unknown");
	fprintf(out, "\nTopology\n  ");
	if (info->topology_error)
		fprintf(out, "cannot be read: %s\n", strerror(-info->topology_error));
	else
		fprintf(out, "%s\n", info->topology);
	print_settings(info, out);
	print_findings(findings, count, out);
}
