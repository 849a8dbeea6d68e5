/*
 * What `minorca migrate` says: lines as they come, from all nodes, and a summary by node 0.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "dsm/report.h"
#include "dsm/settings.h"
#include "dsm/tools/migrate.h"

#define SIZE_TEXT 32
#define LOST_LINE 512
#define LOST_RANGE 48 /* ", ", two numbers and a dash */

const char *const migrate_mode_names[] = {"minor", "pre-copy", "post-copy", "stop-and-copy", NULL};

void migrate_print_choice(const struct migrate_job *job)
{
	if (job->options->json || job->node != 0)
		return;
	if (job->fallback[0])
		printf("no virtual machine here (%s); instead: ", job->fallback);
	printf("%s\n", job->kind->what);
}

void migrate_print_line(const struct migrate_job *job, const char *line)
{
	if (!job->options->json)
		printf("[%d] %s\n", job->node, line);
}

static const char *step_text(enum dsm_migration_step step)
{
	switch (step) {
	case DSM_MIGRATION_COPYING:
		return "copying while it runs";
	case DSM_MIGRATION_SWITCHING:
		return "paused";
	case DSM_MIGRATION_MAPPING:
		return "switched; what is out of date is being told";
	case DSM_MIGRATION_FETCHING:
		return "what is out of date is known, and brought over";
	case DSM_MIGRATION_DONE:
		return "done";
	case DSM_MIGRATION_CANCELLED:
		return "cancelled";
	case DSM_MIGRATION_LOST:
		return "the other node is lost";
	case DSM_MIGRATION_NONE:
		break;
	}
	return "?";
}

void migrate_print_progress(struct migrate_job *job, const struct dsm_migration_progress *progress)
{
	if (progress->step == job->step_told && progress->rounds == job->rounds_told)
		return;
	job->step_told = progress->step;
	job->rounds_told = progress->rounds;
	if (job->options->json || progress->step == DSM_MIGRATION_NONE)
		return;
	printf("[%d] -- %s", job->node, step_text(progress->step));
	if (progress->step == DSM_MIGRATION_COPYING && progress->rounds)
		printf(": after round %u %" PRIu64 " of %" PRIu64 " pages are left", progress->rounds,
		       progress->pages_left, progress->pages);
	printf("\n");
}

void migrate_print_lost(const struct dsm_page_range *lost, size_t ranges)
{
	char line[LOST_LINE];

	for (size_t i = 0; i < ranges;) {
		size_t used = 0;

		for (; i < ranges && used < sizeof line - LOST_RANGE; i++)
			used += (size_t)snprintf(line + used, sizeof line - used,
						 lost[i].count > 1 ? "%s%zu-%zu" : "%s%zu", used ? ", " : "",
						 lost[i].first, lost[i].first + lost[i].count - 1);
		report("lost pages: %s", line);
	}
}

/* "1.5 MiB" */
static const char *size_text(uint64_t bytes, char text[SIZE_TEXT])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
	double value = (double)bytes;
	unsigned int unit = 0;

	for (; value >= 1024 && unit < 3; unit++)
		value /= 1024;
	snprintf(text, SIZE_TEXT, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

static uint64_t downtime_ns(const struct migrate_move *m)
{
	return m->pause_ns + m->switch_ns + m->restore_ns;
}

/* In hundredths of milliseconds, as it is printed, so that what is printed adds up. */
static uint64_t hundredths(uint64_t ns)
{
	return (ns + 5000) / 10000;
}

static void print_times(const struct migrate_move *m)
{
	uint64_t pause = hundredths(m->pause_ns), change = hundredths(m->switch_ns),
		 restore = hundredths(m->restore_ns);

	printf("  node %d to %d: downtime %.2f ms (pause %.2f, switch %.2f, restore %.2f), total %.1f ms\n",
	       m->from, m->to, (double)(pause + change + restore) / 100, (double)pause / 100,
	       (double)change / 100, (double)restore / 100, (double)m->total_ns / 1e6);
}

static void print_move(const struct migrate_move *m)
{
	char precopied[SIZE_TEXT], switched[SIZE_TEXT], mapped[SIZE_TEXT], fetched[SIZE_TEXT];

	print_times(m);
	printf("    %s before the switch in %u rounds, %s while it was paused, %s of map, %s fetched\n",
	       size_text(m->source.bytes_precopied, precopied), m->source.rounds,
	       size_text(m->source.bytes_switched, switched), size_text(m->source.bytes_mapped, mapped),
	       size_text(m->destination.bytes_fetched, fetched));
	printf("    %" PRIu64 " faults: %" PRIu64 " on pages that were up to date, %" PRIu64
	       " before the map was there\n",
	       m->destination.faults, m->destination.faults_current, m->destination.faults_early);
}

static void print_text(const struct migrate_job *job)
{
	const struct migrate_options *o = job->options;
	char memory[SIZE_TEXT], page[SIZE_TEXT];

	setting_format_size(o->memory_bytes, memory, sizeof memory);
	setting_format_size(o->page_bytes, page, sizeof page);
	printf("%s, %s in pages of %s, mode %s; moves: %u\n", job->kind->what, memory, page,
	       migrate_mode_names[o->mode], job->moves_made);
	for (unsigned int i = 0; i < job->moves_made; i++)
		print_move(&job->moves[i]);
	if (job->heart.went_back)
		printf("heartbeat went back %" PRIu64 " times in %" PRIu64 "\n", job->heart.went_back,
		       job->heart.beats);
	else
		printf("heartbeat never went back, %" PRIu64 " beats\n", job->heart.beats);
	if (job->heart.failed)
		printf("%" PRIu64 " checks, %" PRIu64 " failed\n", job->heart.last_steps, job->heart.failed);
	else
		printf("%" PRIu64 " checks, none failed\n", job->heart.last_steps);
	printf("memory: %s\n", job->right ? "every byte is right" : "not known to be right");
}

static json_t *move_json(const struct migrate_move *m)
{
	const struct dsm_migration_progress *s = &m->source, *d = &m->destination;
	uint64_t moved = s->bytes_precopied + s->bytes_switched + s->bytes_mapped + d->bytes_fetched;

	return json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "from", m->from, "to", m->to, "downtime_ns", (json_int_t)downtime_ns(m), "pause_ns",
			 (json_int_t)m->pause_ns, "switch_ns", (json_int_t)m->switch_ns, "restore_ns",
			 (json_int_t)m->restore_ns, "total_ns", (json_int_t)m->total_ns, "rounds",
			 (int)s->rounds, "bytes_moved", (json_int_t)moved, "bytes_precopied",
			 (json_int_t)s->bytes_precopied, "bytes_switched", (json_int_t)s->bytes_switched,
			 "bytes_mapped", (json_int_t)s->bytes_mapped, "bytes_fetched",
			 (json_int_t)d->bytes_fetched, "faults", (json_int_t)d->faults, "faults_current",
			 (json_int_t)d->faults_current, "faults_early", (json_int_t)d->faults_early);
}

static int print_json(const struct migrate_job *job, bool well)
{
	const struct migrate_options *o = job->options;
	json_t *moves = json_array();

	for (unsigned int i = 0; i < job->moves_made; i++)
		json_array_append_new(moves, move_json(&job->moves[i]));
	json_t *object = json_pack(
	    "{s:s?, s:s, s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:s}", "workload",
	    job->kind ? job->kind->name : NULL, "fallback", job->fallback, "mode",
	    migrate_mode_names[o->mode], "page_size_bytes", (json_int_t)o->page_bytes, "memory_bytes",
	    (json_int_t)o->memory_bytes, "write_pages_per_s", (json_int_t)o->writes_per_s, "moves", moves,
	    "beats", (json_int_t)job->heart.beats, "beats_back", (json_int_t)job->heart.went_back, "checks",
	    (json_int_t)job->heart.last_steps, "checks_failed", (json_int_t)job->heart.failed, "intact",
	    job->right, "ok", well, "error", job->why);
	int error = object ? json_dumpf(object, stdout, JSON_INDENT(2)) : -1;

	json_decref(object);
	if (error)
		report("the JSON text could not be made: out of memory, or a text that is not UTF-8");
	else
		putchar('\n');
	return error;
}

int migrate_print_summary(const struct migrate_job *job, bool well)
{
	if (job->options->json)
		return print_json(job, well);
	if (job->moves_made || job->heart.beats)
		print_text(job);
	return 0;
}
