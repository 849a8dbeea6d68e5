/*
 * How long a page fault on distributed shared memory takes, case by case, beside its floor. See README.md.
 *
 * This file reads the command line, starts the job, and prints; harness.c measures.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/anatomy.h"
#include "bench/harness.h"
#include "bench/host.h"
#include "bench/job.h"
#include "bench/options.h"
#include "bench/output.h"
#include "bench/placement.h"
#include "bench/plan.h"
#include "bench/pool.h"
#include "bench/progress.h"
#include "bench/timer.h"
#include "kernel/memory.h"

#define TITLE "Minorca: latency of page faults, in us (sweep_prefetch: of calls)"
#define TITLE_ANATOMY "Minorca: stages of page faults, in us: the middle fifth of them"
#define TITLE_KERNEL "Minorca: the kernel's part of page faults, in us: the middle fifth of them"

/* --- results ------------------------------------------------------------------------------------------- */

/* One row of the results. */
struct result {
	const char *benchmark, *kind, *delivery, *access, *transport, *floor_source, *commit, *host;
	uint64_t blocks, page_size_bytes, threads, nodes;
	uint64_t samples, mean_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
	uint64_t floor_samples, floor_mean_ns, floor_p50_ns, floor_p99_ns;
	uint64_t read_p50_ns, map_p50_ns;
	double ratio, beyond_read_ratio;
	const struct distribution *quantiles, *floor_quantiles;
	uint64_t bytes_moved, faults, bytes_per_fault, continues_without_copy;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"case", "Case", -14, COLUMN_TEXT, AT(kind)},
    {"blocks", "Blocks", 6, COLUMN_COUNT, AT(blocks)},
    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},
    {"delivery", "Delivery", -12, COLUMN_TEXT, AT(delivery)},
    {"access", "Access", -6, COLUMN_TEXT, AT(access)},
    {"threads", "Thr", 3, COLUMN_COUNT, AT(threads)},
    {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"samples", "Samples", 7, COLUMN_COUNT, AT(samples)},
    {"p50_ns", "p50", 8, COLUMN_NS, AT(p50_ns)},
    {"p90_ns", "p90", 8, COLUMN_NS, AT(p90_ns)},
    {"p99_ns", "p99", 8, COLUMN_NS, AT(p99_ns)},
    {"p999_ns", "p99.9", 8, COLUMN_NS, AT(p999_ns)},
    {"max_ns", "max", 8, COLUMN_NS, AT(max_ns)},
    {"mean_ns", NULL, 0, COLUMN_NS, AT(mean_ns)},
    {"floor_samples", NULL, 0, COLUMN_COUNT, AT(floor_samples)},
    {"floor_mean_ns", NULL, 0, COLUMN_NS, AT(floor_mean_ns)},
    {"floor_p50_ns", "FloorP50", 8, COLUMN_NS, AT(floor_p50_ns)},
    {"floor_p99_ns", NULL, 0, COLUMN_NS, AT(floor_p99_ns)},
    {"ratio", "Ratio", 5, COLUMN_RATIO, AT(ratio)},
    {"floor_source", NULL, 0, COLUMN_TEXT, AT(floor_source)},
    {"read_p50_ns", "ReadP50", 8, COLUMN_NS, AT(read_p50_ns)},
    {"map_p50_ns", "MapP50", 7, COLUMN_NS, AT(map_p50_ns)},
    {"beyond_read_ratio", "Beyond", 6, COLUMN_RATIO, AT(beyond_read_ratio)},
    {"bytes_moved", NULL, 0, COLUMN_COUNT, AT(bytes_moved)},
    {"faults", NULL, 0, COLUMN_COUNT, AT(faults)},
    {"bytes_per_fault", "Bytes/flt", 10, COLUMN_COUNT, AT(bytes_per_fault)},
    {"continues_without_copy", NULL, 0, COLUMN_COUNT, AT(continues_without_copy)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
    {"quantiles", NULL, 0, COLUMN_QUANTILES, AT(quantiles)},
    {"floor_quantiles", NULL, 0, COLUMN_QUANTILES, AT(floor_quantiles)},
};

/* What is the same for all rows. */
struct run {
	struct job job;
	struct options options;
	struct placement placement;
	struct host host;
	struct plan plan;
	const char *transport, *commit;
	bool rdma; /* the floor reads by it, as the runtime does */
};

static struct result describe(const struct run *run, const struct setup *s)
{
	return (struct result){
	    .benchmark = "fault_latency",
	    .kind = s->kind->name,
	    .delivery = delivery_names()[s->delivery],
	    .access = access_names()[s->access],
	    .transport = run->transport,
	    .floor_source = run->rdma ? "read" : "memcpy",
	    .commit = run->commit,
	    .host = run->host.name,
	    .blocks = s->changed,
	    .page_size_bytes = s->page_bytes,
	    .threads = s->threads,
	    .nodes = (uint64_t)run->job.nodes,
	};
}

static void fill_runtime(struct result *r, const struct outcome *outcome)
{
	const struct distribution *d = &outcome->runtime;

	r->samples = d->samples;
	if (!d->samples) { /* --floor-only */
		r->mean_ns = r->p50_ns = r->p90_ns = r->p99_ns = r->p999_ns = r->max_ns = OUTPUT_ABSENT;
		r->bytes_moved = r->faults = r->bytes_per_fault = r->continues_without_copy = OUTPUT_ABSENT;
		return;
	}
	r->mean_ns = d->mean_ns;
	r->p50_ns = d->p50_ns;
	r->p90_ns = d->p90_ns;
	r->p99_ns = d->p99_ns;
	r->p999_ns = d->p999_ns;
	r->max_ns = d->max_ns;
	r->bytes_moved = outcome->counts.bytes_fetched;
	r->faults = outcome->counts.faults;
	r->bytes_per_fault = r->faults ? r->bytes_moved / r->faults : OUTPUT_ABSENT;
	r->continues_without_copy = outcome->counts.pages_current;
}

/* What a fault costs beyond the read that it cannot do without, by what the kernel's part costs. */
static void fill_parts(struct result *r, const struct outcome *outcome)
{
	bool measured = outcome->read.samples && outcome->map.samples;

	r->read_p50_ns = measured ? outcome->read.p50_ns : OUTPUT_ABSENT;
	r->map_p50_ns = measured ? outcome->map.p50_ns : OUTPUT_ABSENT;
	r->beyond_read_ratio = NAN;
	if (measured && r->samples && r->map_p50_ns)
		r->beyond_read_ratio = ((double)r->p50_ns - (double)r->read_p50_ns) / (double)r->map_p50_ns;
}

static struct result result_of(const struct run *run, const struct setup *setup,
			       const struct outcome *outcome)
{
	struct result r = describe(run, setup);

	fill_runtime(&r, outcome);
	r.floor_samples = outcome->floor.samples;
	r.floor_mean_ns = outcome->floor.mean_ns;
	r.floor_p50_ns = outcome->floor.p50_ns;
	r.floor_p99_ns = outcome->floor.p99_ns;
	r.quantiles = outcome->runtime.samples ? &outcome->runtime : NULL;
	r.floor_quantiles = outcome->floor.samples ? &outcome->floor : NULL;
	fill_parts(&r, outcome);
	r.ratio = output_ratio(r.p50_ns, r.floor_p50_ns);
	return r;
}

/* --- output -------------------------------------------------------------------------------------------- */

static void print_header(const struct run *run, const struct output *output)
{
	char nodes[64], timer[64], placement[sizeof run->placement.text];

	/* That of node 1, for all: the other measuring nodes are placed in the same way. */
	memcpy(placement, run->placement.text, sizeof placement);
	job_share_from(1, placement, sizeof placement);
	if (run->job.node != 0)
		return;
	snprintf(nodes, sizeof nodes, "%d, node 0 is home, the others measure", run->job.nodes);
	snprintf(timer, sizeof timer, "CLOCK_MONOTONIC, %" PRIu64 " ns a sample (included)", timer_cost_ns());
	const struct fact facts[] = {
	    {"host", run->host.name},	   {"kernel", run->host.kernel},   {"commit", run->commit},
	    {"CPU", run->host.cpu},	   {"hugepages", run->host.pools}, {"nodes", nodes},
	    {"transport", run->transport}, {"placement", placement},	   {"timer", timer},
	};
	const char *title = run->options.kernel ? TITLE_KERNEL : run->options.anatomy ? TITLE_ANATOMY : TITLE;
	output_begin(output, title, facts, sizeof facts / sizeof facts[0]);
}

/* --- the run ------------------------------------------------------------------------------------------- */

static void run_rows(struct run *run, const struct output *output)
{
	unsigned int threads = plan_threads(&run->plan);
	uint64_t deadline_ns = timer_now_ns() + run->options.time_s * 1000000000u;
	struct progress progress;
	struct harness harness;

	harness_create(&run->job, &run->placement, &run->options, threads, run->rdma, &harness);
	progress_begin(&progress, run->plan.count, run->job.node == 0);
	for (size_t i = 0; i < run->plan.count; i++) {
		struct outcome outcome;
		uint64_t now_ns = timer_now_ns(), left = run->plan.count - i;

		harness_run(&harness, &run->plan.setups[i],
			    now_ns < deadline_ns ? (deadline_ns - now_ns) / left : 0, &outcome);
		struct result result = result_of(run, &run->plan.setups[i], &outcome);
		progress_step(&progress);
		if (run->job.node == 0 && output_row(output, &result))
			job_fail("cannot write the results: %s", strerror(EIO));
	}
	progress_end(&progress);
	harness_destroy(&harness);
}

static void describe_anatomy(const struct run *run, const struct setup *setup, struct anatomy *out)
{
	struct result row = describe(run, setup);

	*out = (struct anatomy){.benchmark = run->options.kernel ? "fault_kernel" : "fault_anatomy"};
	out->kind = row.kind;
	out->delivery = row.delivery;
	out->access = row.access;
	out->transport = row.transport;
	out->commit = row.commit;
	out->host = row.host;
	out->blocks = row.blocks;
	out->page_size_bytes = row.page_size_bytes;
	out->threads = row.threads;
	out->nodes = row.nodes;
}

/* On nodes that measure. @return whether all of them can; if not, why the first of them cannot is in @reason
 * on all nodes. */
static bool open_kernel(const struct run *run, struct kernel_trace **kernel, char *reason)
{
	bool fails = run->options.kernel && run->job.node && kernel_trace_open(kernel, reason);

	if (!run->options.kernel)
		return true;
	uint64_t first = job_minimum(fails ? (uint64_t)run->job.node : UINT64_MAX);
	if (first == UINT64_MAX)
		return true;
	job_share_from((int)first, reason, KERNEL_TRACE_REASON_MAX);
	if (run->job.node == 0)
		fprintf(stderr, "fault_latency: left out: node %d: %s\n", (int)first, reason);
	kernel_trace_close(*kernel);
	*kernel = NULL;
	return false;
}

/* In place of run_rows(). A sweep has no faults to look into. */
static void run_anatomy(struct run *run, const struct output *output)
{
	uint64_t deadline_ns = timer_now_ns() + run->options.time_s * 1000000000u;
	char reason[KERNEL_TRACE_REASON_MAX] = "";
	struct kernel_trace *kernel = NULL;
	struct progress progress;
	struct harness harness;

	harness_create(&run->job, &run->placement, &run->options, plan_threads(&run->plan), false, &harness);
	bool possible = open_kernel(run, &kernel, reason);
	progress_begin(&progress, run->plan.count, run->job.node == 0);
	for (size_t i = 0; i < run->plan.count; i++) {
		const struct setup *setup = &run->plan.setups[i];
		uint64_t now_ns = timer_now_ns(), left = run->plan.count - i;
		struct anatomy row;

		progress_step(&progress);
		if (setup->kind->sweep)
			continue;
		describe_anatomy(run, setup, &row);
		if (possible)
			anatomy_run(&harness, setup, kernel,
				    now_ns < deadline_ns ? (deadline_ns - now_ns) / left : 0, &row);
		else
			anatomy_skip(reason, &row);
		if (run->job.node == 0 && output_row(output, &row))
			job_fail("cannot write the results: %s", strerror(EIO));
	}
	progress_end(&progress);
	kernel_trace_close(kernel);
	harness_destroy(&harness);
}

/* How many pages of each size a measuring node may have. Says which sizes are left out; ends the job if they
 * were asked for. */
static void limit_pages(const struct run *run, size_t *limits)
{
	const struct options *o = &run->options;

	for (size_t i = 0; i < o->page_sizes.count; i++) {
		size_t size = o->page_sizes.values[i], least = plan_pages_least(o, size);
		struct pool_share share =
		    pool_share(&run->job, size, setup_shares_memory(size) ? 1 : 2, run->rdma);
		char text[256];

		limits[i] = share.pages >= least ? share.pages : 0;
		if (limits[i])
			continue;
		snprintf(text, sizeof text,
			 "%s pages: %zu hugepages are needed at least, the pool has %zu free; echo N > "
			 "/sys/kernel/mm/hugepages/hugepages-%zukB/nr_hugepages",
			 memory_page_size_name(size), share.pool_needed_for_one * least, share.pool_free,
			 size / KIB);
		if (o->page_sizes.given)
			job_refuse(&run->job, "%s", text);
		if (run->job.node == 0)
			fprintf(stderr, "fault_latency: left out: %s\n", text);
	}
}

static void start(struct run *run, int *argc, char ***argv)
{
	size_t limits[OPTIONS_LIST_MAX];

	if (run->job.nodes < 2)
		job_refuse(
		    &run->job,
		    "needs 2 nodes or more: mpirun -n 2 fault_latency (or scripts/run -n 2 fault_latency)");
	run->rdma = !strcmp(host_transport(run->job.one_host), "verbs");
	limit_pages(run, limits);
	if (plan_make(&run->options, limits, &run->plan))
		job_fail("out of memory");
	if (!run->plan.count)
		job_refuse(&run->job,
			   "nothing to measure: no case has these page sizes, accesses, blocks and threads");
	placement_choose(&run->job, plan_threads(&run->plan), &run->placement);
	host_describe(&run->host);
	run->transport = run->options.floor_only ? "none" : host_transport(run->job.one_host);
	run->commit = run->options.line.commit ? run->options.line.commit : host_commit();
	if (!run->options.floor_only && dsm_init(argc, argv))
		job_give_up(); /* the runtime has said why */
}

static void stop(struct run *run)
{
	if (!run->options.floor_only && dsm_finalize())
		job_give_up();
	placement_free(&run->placement);
	plan_free(&run->plan);
	job_end();
}

/* Those of RDMA are not in a table of a run without, quantiles only where they were asked for: they come
 * last. */
static size_t choose_columns(bool rdma, bool distribution, struct column *out)
{
	size_t count = sizeof columns / sizeof columns[0] - (distribution ? 0 : 2);

	memcpy(out, columns, sizeof columns);
	for (size_t i = 0; i < count; i++)
		if (!rdma && (out[i].offset == AT(read_p50_ns) || out[i].offset == AT(map_p50_ns) ||
			      out[i].offset == AT(beyond_read_ratio)))
			out[i].heading = NULL;
	return count;
}

int main(int argc, char **argv)
{
	struct column chosen[sizeof columns / sizeof columns[0]];
	static struct run run;

	run.options = options_defaults;
	int status = command_line_read(&options_argp, "fault_latency", argc, argv, &run.options.line,
				       options_print_cases);

	if (status >= 0)
		return status;
	job_start(&argc, &argv, &run.job);
	start(&run, &argc, &argv);
	struct output output = {stdout, run.options.line.format, chosen,
				choose_columns(run.rdma, run.options.distribution, chosen)};
	if (run.options.anatomy) {
		output.columns = run.options.kernel ? anatomy_kernel_columns : anatomy_columns;
		output.column_count = run.options.kernel ? anatomy_kernel_column_count : anatomy_column_count;
	}
	print_header(&run, &output);
	(run.options.anatomy ? run_anatomy : run_rows)(&run, &output);
	stop(&run);
	return EXIT_SUCCESS;
}
