/*
 * What synchronisation of distributed shared memory costs, case by case. See README.md.
 *
 * This file reads the command line, starts the job, and prints; sync_bench.c measures.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/collect.h"
#include "bench/host.h"
#include "bench/job.h"
#include "bench/output.h"
#include "bench/placement.h"
#include "bench/progress.h"
#include "bench/sync_bench.h"
#include "bench/sync_options.h"
#include "bench/sync_plan.h"
#include "bench/timer.h"

#define TITLE "Minorca: what synchronisation costs, in us"

/* Of the row with most of them. */
#define THREADS_MAX 2

/* A run ends after ten times what it should take, and this. */
#define WATCHDOG_S 300

/* --- results ------------------------------------------------------------------------------------------- */

/* One row of the results. */
struct result {
	const char *benchmark, *name, *variant, *home, *transport, *baseline, *skipped, *commit, *host;
	uint64_t page_size_bytes, region_bytes, changed_pages, changed_bytes, threads, nodes;
	uint64_t samples, calls_per_sample, mean_ns, p50_ns, p90_ns, p99_ns, max_ns;
	uint64_t baseline_samples, baseline_p50_ns, bytes_per_s, baseline_bytes_per_s;
	double faults, pages_invalidated, bytes_fetched, bytes_published;
	double ratio;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"case", "Case", -20, COLUMN_TEXT, AT(name)},
    {"variant", "Variant", -13, COLUMN_TEXT, AT(variant)},
    {"home", "Home", -5, COLUMN_TEXT, AT(home)},
    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},
    {"region_bytes", "Region", 6, COLUMN_BYTES, AT(region_bytes)},
    {"changed_pages", "Chg", 3, COLUMN_COUNT, AT(changed_pages)},
    {"changed_bytes", "Bytes", 6, COLUMN_BYTES, AT(changed_bytes)},
    {"threads", "Thr", 3, COLUMN_COUNT, AT(threads)},
    {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"samples", "Samples", 7, COLUMN_COUNT, AT(samples)},
    {"calls_per_sample", NULL, 0, COLUMN_COUNT, AT(calls_per_sample)},
    {"p50_ns", "p50", 8, COLUMN_NS, AT(p50_ns)},
    {"p90_ns", "p90", 8, COLUMN_NS, AT(p90_ns)},
    {"p99_ns", "p99", 8, COLUMN_NS, AT(p99_ns)},
    {"max_ns", NULL, 0, COLUMN_NS, AT(max_ns)},
    {"mean_ns", NULL, 0, COLUMN_NS, AT(mean_ns)},
    {"baseline_samples", NULL, 0, COLUMN_COUNT, AT(baseline_samples)},
    {"baseline_p50_ns", "BaseP50", 8, COLUMN_NS, AT(baseline_p50_ns)},
    {"ratio", "Ratio", 6, COLUMN_RATIO, AT(ratio)},
    {"faults_per_interval", "Faults", 7, COLUMN_RATIO, AT(faults)},
    {"pages_invalidated_per_interval", NULL, 0, COLUMN_RATIO, AT(pages_invalidated)},
    {"bytes_fetched_per_interval", NULL, 0, COLUMN_RATIO, AT(bytes_fetched)},
    {"bytes_published_per_interval", NULL, 0, COLUMN_RATIO, AT(bytes_published)},
    {"baseline", "Baseline", -1, COLUMN_TEXT, AT(baseline)},
    {"bytes_per_s", NULL, 0, COLUMN_COUNT, AT(bytes_per_s)},
    {"baseline_bytes_per_s", NULL, 0, COLUMN_COUNT, AT(baseline_bytes_per_s)},
    {"skipped", NULL, 0, COLUMN_TEXT, AT(skipped)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

/* What is the same for all rows. */
struct run {
	struct job job;
	struct sync_options options;
	struct placement placement;
	struct host host;
	struct sync_plan plan;
	struct distribution *measured; /* of each row; node 0 */
	const char *transport, *commit;
};

static struct result describe(const struct run *run, const struct sync_row *row)
{
	bool in_region = row->region_bytes || row->page_bytes;

	return (struct result){
	    .benchmark = "sync",
	    .name = sync_case(row->id)->name,
	    .variant = sync_variant_name(row->variant),
	    .home = sync_home_name(row->home),
	    .transport = run->transport,
	    .commit = run->commit,
	    .host = run->host.name,
	    .page_size_bytes = in_region ? row->page_bytes : OUTPUT_ABSENT,
	    .region_bytes = row->region_bytes ? row->region_bytes : OUTPUT_ABSENT,
	    .changed_pages = row->changed,
	    .changed_bytes = row->changed_bytes ? row->changed_bytes : OUTPUT_ABSENT,
	    .threads = row->threads,
	    .nodes = (uint64_t)run->job.nodes,
	    .calls_per_sample = OUTPUT_ABSENT,
	    .mean_ns = OUTPUT_ABSENT,
	    .p50_ns = OUTPUT_ABSENT,
	    .p90_ns = OUTPUT_ABSENT,
	    .p99_ns = OUTPUT_ABSENT,
	    .max_ns = OUTPUT_ABSENT,
	    .baseline_samples = OUTPUT_ABSENT,
	    .baseline_p50_ns = OUTPUT_ABSENT,
	    .bytes_per_s = OUTPUT_ABSENT,
	    .baseline_bytes_per_s = OUTPUT_ABSENT,
	    .faults = NAN,
	    .pages_invalidated = NAN,
	    .bytes_fetched = NAN,
	    .bytes_published = NAN,
	    .ratio = NAN,
	};
}

static void fill_runtime(struct result *r, const struct sync_outcome *outcome)
{
	const struct distribution *d = &outcome->runtime;

	r->samples = d->samples;
	r->calls_per_sample = outcome->calls;
	r->mean_ns = d->mean_ns;
	r->p50_ns = d->p50_ns;
	r->p90_ns = d->p90_ns;
	r->p99_ns = d->p99_ns;
	r->max_ns = d->max_ns;
}

static void fill_baseline(struct result *r, const char *name, const struct distribution *d)
{
	if (!d->samples)
		return;
	r->baseline = name;
	r->baseline_samples = d->samples;
	r->baseline_p50_ns = d->p50_ns;
	r->ratio = output_ratio(r->p50_ns, d->p50_ns);
}

static void fill_counts(struct result *r, const struct sync_outcome *outcome)
{
	double intervals = (double)outcome->intervals;

	if (!outcome->intervals)
		return;
	r->faults = (double)outcome->counts.faults / intervals;
	r->pages_invalidated = (double)outcome->counts.pages_invalidated / intervals;
	r->bytes_fetched = (double)outcome->counts.bytes_fetched / intervals;
	r->bytes_published = (double)outcome->counts.bytes_published / intervals;
}

static uint64_t rate(uint64_t bytes, uint64_t ns)
{
	return ns && ns != OUTPUT_ABSENT ? per_second(bytes, ns) : OUTPUT_ABSENT;
}

static struct result result_of(const struct run *run, size_t index, const struct sync_outcome *outcome)
{
	const struct sync_row *row = &run->plan.rows[index];
	struct result r = describe(run, row);

	if (outcome->skipped[0]) {
		r.skipped = outcome->skipped;
		return r;
	}
	fill_runtime(&r, outcome);
	fill_baseline(&r, row->baseline,
		      row->baseline_row == NO_ROW ? &outcome->baseline : &run->measured[row->baseline_row]);
	fill_counts(&r, outcome);
	if (row->id == DIFF) {
		r.bytes_per_s = rate(row->page_bytes, r.p50_ns);
		r.baseline_bytes_per_s = rate(row->page_bytes, r.baseline_p50_ns);
	}
	return r;
}

/* --- output -------------------------------------------------------------------------------------------- */

static void print_header(const struct run *run, const struct output *output)
{
	char nodes[64], timer[64];

	if (run->job.node != 0)
		return;
	snprintf(nodes, sizeof nodes, "%d", run->job.nodes);
	snprintf(timer, sizeof timer, "CLOCK_MONOTONIC, %" PRIu64 " ns a sample (included)", timer_cost_ns());
	const struct fact facts[] = {
	    {"host", run->host.name},	   {"kernel", run->host.kernel},       {"commit", run->commit},
	    {"CPU", run->host.cpu},	   {"hugepages", run->host.pools},     {"nodes", nodes},
	    {"transport", run->transport}, {"placement", run->placement.text}, {"timer", timer},
	};
	output_begin(output, TITLE, facts, sizeof facts / sizeof facts[0]);
}

/* People are told what is missing, programs find it in its place. */
static int print_row(const struct output *output, const struct result *result)
{
	if (!result->skipped || output->format != OUTPUT_TABLE)
		return output_row(output, result);
	fprintf(stderr, "sync: left out: %s%s%s", result->name, result->home ? ", home " : "",
		result->home ? result->home : "");
	if (result->region_bytes != OUTPUT_ABSENT)
		fprintf(stderr, ", %" PRIu64 " MiB of %" PRIu64 " KiB pages", result->region_bytes >> 20,
			result->page_size_bytes >> 10);
	fprintf(stderr, ": %s\n", result->skipped);
	return 0;
}

/* --- the run ------------------------------------------------------------------------------------------- */

/* What is left is shared by the rows that are left; but a row that takes longer than its share does not leave
 * those after it without samples. */
static uint64_t share_ns(const struct run *run, size_t row, uint64_t deadline_ns)
{
	uint64_t now_ns = timer_now_ns(), left = run->plan.count - row;
	uint64_t least_ns = run->options.seconds * 1000000000u / (2 * run->plan.count);
	uint64_t even_ns = now_ns < deadline_ns ? (deadline_ns - now_ns) / left : 0;

	return even_ns > least_ns ? even_ns : least_ns;
}

static void run_rows(struct run *run, const struct output *output)
{
	uint64_t deadline_ns = timer_now_ns() + run->options.seconds * 1000000000u;
	struct progress progress;
	struct bench bench;

	bench_create(&run->job, &run->placement, &run->options, run->transport, THREADS_MAX, &bench);
	progress_begin(&progress, run->plan.count, run->job.node == 0);
	for (size_t i = 0; i < run->plan.count; i++) {
		struct sync_outcome outcome;

		bench_run(&bench, &run->plan.rows[i], share_ns(run, i, deadline_ns), &outcome);
		run->measured[i] = outcome.runtime;
		struct result result = result_of(run, i, &outcome);
		progress_step(&progress);
		if (run->job.node == 0 && print_row(output, &result))
			job_fail("cannot write the results: %s", strerror(EIO));
	}
	progress_end(&progress);
	bench_destroy(&bench);
}

/* Every wait of the runtime has a bound, those of MPI have none. */
static void on_alarm(int signal)
{
	static const char message[] = "sync: a node waits for another, or the machine is far too slow\n";

	(void)signal;
	if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE); /* and mpirun ends the others */
}

static void set_watchdog(const struct sync_options *options)
{
	struct sigaction action = {.sa_handler = on_alarm};

	sigaction(SIGALRM, &action, NULL);
	alarm(WATCHDOG_S + 10 * (unsigned int)options->seconds);
}

static void start(struct run *run, int *argc, char ***argv)
{
	set_watchdog(&run->options);
	run->transport = host_transport(run->job.one_host);
	if (!sync_plan_make(&run->options, run->job.nodes, !strcmp(run->transport, "verbs"), &run->plan))
		run->measured = calloc(run->plan.count + 1, sizeof *run->measured);
	if (!run->measured)
		job_fail("out of memory");
	placement_choose(&run->job, THREADS_MAX, &run->placement);
	host_describe(&run->host);
	run->commit = run->options.line.commit ? run->options.line.commit : host_commit();
	if (dsm_init(argc, argv))
		job_give_up(); /* the runtime has said why */
}

static void stop(struct run *run)
{
	if (dsm_finalize())
		job_give_up();
	placement_free(&run->placement);
	free(run->measured);
	sync_plan_free(&run->plan);
	job_end();
}

int main(int argc, char **argv)
{
	static struct run run;

	run.options = sync_options_defaults;
	int status = command_line_read(&sync_options_argp, "sync", argc, argv, &run.options.line,
				       sync_options_print_cases);

	if (status >= 0)
		return status;
	job_start(&argc, &argv, &run.job);
	start(&run, &argc, &argv);
	const struct output output = {stdout, run.options.line.format, columns,
				      sizeof columns / sizeof columns[0]};
	print_header(&run, &output);
	run_rows(&run, &output);
	stop(&run);
	return EXIT_SUCCESS;
}
