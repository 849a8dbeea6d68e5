/*
 * What it costs to move memory while it is used: by mode, page size, size and write rate. See README.md.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <minorca.h>

#include "bench/bare_verbs.h"
#include "bench/command_line.h"
#include "bench/host.h"
#include "bench/list.h"
#include "bench/migration_bench.h"
#include "bench/migration_options.h"
#include "bench/options.h"
#include "bench/output.h"
#include "bench/progress.h"
#include "kernel/memory.h"

#define TITLE "Minorca: moving memory while it is used, times in us"

/* Of the curve of throughput: points, and those of them before the pause. */
#define CURVE_POINTS 400
#define CURVE_BEFORE 50
#define CURVE_BIN_MOST_MS 10
#define USUAL_NS 100000000u
#define RECOVERED 0.9

static const enum dsm_migration_mode modes[] = {
    [MODE_STOP_AND_COPY] = DSM_MIGRATION_STOP_AND_COPY,
    [MODE_PRE_COPY] = DSM_MIGRATION_PRE_COPY,
    [MODE_POST_COPY] = DSM_MIGRATION_POST_COPY,
    [MODE_MINOR] = DSM_MIGRATION_MINOR,
};

struct run {
	struct bench bench;
	struct migration_options options;
	struct host host;
	struct output output;
	struct progress progress;

	/* Of the page size. */
	struct fault_costs costs;
	uint64_t empty_ns;
};

/* --- results ------------------------------------------------------------------------------------------- */

struct result {
	const char *benchmark, *mode, *transport, *delivery, *clock, *host, *commit;
	uint64_t page_size_bytes, memory_bytes, write_percent, write_pages_per_s, written_pages_per_s, nodes;
	uint64_t downtime_ns, empty_switch_ns, first_step_ns, total_ns, last_page_ns, map_ns, rounds;
	double downtime_ratio;
	uint64_t bytes_moved, bytes_precopied, bytes_switched, bytes_mapped, bytes_fetched, blocks_fetched;
	uint64_t pages_out_of_date, faults, faults_current, faults_early, fault_p50_ns, fault_p99_ns;
	uint64_t usual, recovered_ns, raw_copy_ns, copy_bytes_per_s;
	double recovered_ratio, current_ratio, partial_ratio;
	struct fault_costs costs;
	uint64_t steps, stores, intact;
	const struct curve *curve;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"mode", "Mode", -13, COLUMN_TEXT, AT(mode)},
    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},
    {"memory_bytes", "Memory", 7, COLUMN_BYTES, AT(memory_bytes)},
    {"write_percent", "Wr%", 3, COLUMN_COUNT, AT(write_percent)},
    {"write_pages_per_s", NULL, 0, COLUMN_COUNT, AT(write_pages_per_s)},
    {"written_pages_per_s", NULL, 0, COLUMN_COUNT, AT(written_pages_per_s)},
    {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"delivery", NULL, 0, COLUMN_TEXT, AT(delivery)},
    {"clock", NULL, 0, COLUMN_TEXT, AT(clock)},
    {"downtime_ns", "Downtime", 10, COLUMN_NS, AT(downtime_ns)},
    {"empty_switch_ns", "Empty", 9, COLUMN_NS, AT(empty_switch_ns)},
    {"downtime_ratio", NULL, 0, COLUMN_RATIO, AT(downtime_ratio)},
    {"first_step_ns", "1stStep", 10, COLUMN_NS, AT(first_step_ns)},
    {"total_ns", "Total", 9, COLUMN_NS, AT(total_ns)},
    {"last_page_ns", "LastPage", 9, COLUMN_NS, AT(last_page_ns)},
    {"map_ns", NULL, 0, COLUMN_NS, AT(map_ns)},
    {"rounds", NULL, 0, COLUMN_COUNT, AT(rounds)},
    {"bytes_moved", NULL, 0, COLUMN_COUNT, AT(bytes_moved)},
    {"bytes_precopied", NULL, 0, COLUMN_COUNT, AT(bytes_precopied)},
    {"bytes_switched", NULL, 0, COLUMN_COUNT, AT(bytes_switched)},
    {"bytes_mapped", NULL, 0, COLUMN_COUNT, AT(bytes_mapped)},
    {"bytes_fetched", "Fetched", 10, COLUMN_COUNT, AT(bytes_fetched)},
    {"blocks_fetched", NULL, 0, COLUMN_COUNT, AT(blocks_fetched)},
    {"pages_out_of_date", NULL, 0, COLUMN_COUNT, AT(pages_out_of_date)},
    {"postcopy_faults", "Faults", 6, COLUMN_COUNT, AT(faults)},
    {"postcopy_faults_current", NULL, 0, COLUMN_COUNT, AT(faults_current)},
    {"postcopy_faults_early", NULL, 0, COLUMN_COUNT, AT(faults_early)},
    {"fault_p50_ns", "FltP50", 8, COLUMN_NS, AT(fault_p50_ns)},
    {"fault_p99_ns", "FltP99", 8, COLUMN_NS, AT(fault_p99_ns)},
    {"usual_steps_per_ms", NULL, 0, COLUMN_COUNT, AT(usual)},
    {"recovered_ns", "Recov'd", 9, COLUMN_NS, AT(recovered_ns)},
    {"raw_copy_ns", "RawCopy", 9, COLUMN_NS, AT(raw_copy_ns)},
    {"recovered_ratio", NULL, 0, COLUMN_RATIO, AT(recovered_ratio)},
    {"copy_bytes_per_s", NULL, 0, COLUMN_COUNT, AT(copy_bytes_per_s)},
    {"fault_current_p50_ns", "Current", 8, COLUMN_NS, AT(costs.current_p50_ns)},
    {"floor_current_p50_ns", "Floor", 8, COLUMN_NS, AT(costs.floor_current_p50_ns)},
    {"fault_current_ratio", NULL, 0, COLUMN_RATIO, AT(current_ratio)},
    {"fault_partial_p50_ns", "1Block", 8, COLUMN_NS, AT(costs.partial_p50_ns)},
    {"fault_whole_p50_ns", "Whole", 8, COLUMN_NS, AT(costs.whole_p50_ns)},
    {"floor_whole_p50_ns", NULL, 0, COLUMN_NS, AT(costs.floor_whole_p50_ns)},
    {"fault_partial_ratio", NULL, 0, COLUMN_RATIO, AT(partial_ratio)},
    {"steps", NULL, 0, COLUMN_COUNT, AT(steps)},
    {"stores", NULL, 0, COLUMN_COUNT, AT(stores)},
    {"intact", "Intact", 6, COLUMN_BOOL, AT(intact)},
    {"throughput", NULL, 0, COLUMN_CURVE, AT(curve)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

/* What the runtime says of bytes and faults, and what these have cost. */
static void fill_counts(struct result *r, const struct moved *m)
{
	r->rounds = m->rounds;
	r->bytes_precopied = m->bytes_precopied;
	r->bytes_switched = m->bytes_switched;
	r->bytes_mapped = m->bytes_mapped;
	r->bytes_fetched = m->bytes_fetched;
	r->bytes_moved = m->bytes_precopied + m->bytes_switched + m->bytes_mapped + m->bytes_fetched;
	r->blocks_fetched = m->blocks_fetched;
	r->pages_out_of_date = m->pages_out_of_date;
	r->faults = m->faults;
	r->faults_current = m->faults_current;
	r->faults_early = m->faults_early;
	r->fault_p50_ns = m->fault.samples ? m->fault.p50_ns : OUTPUT_ABSENT;
	r->fault_p99_ns = m->fault.samples ? m->fault.p99_ns : OUTPUT_ABSENT;
	r->steps = m->steps;
	r->stores = m->stores;
	r->written_pages_per_s = m->stores_per_s;
}

static void fill_times(struct result *r, const struct moved *m, uint64_t empty_ns)
{
	r->downtime_ns = m->downtime_ns;
	r->first_step_ns = m->first_step_ns;
	r->total_ns = m->total_ns;
	r->last_page_ns = m->last_page_ns;
	r->map_ns = m->map_ns;
	r->empty_switch_ns = empty_ns;
	r->downtime_ratio = output_ratio(m->downtime_ns, empty_ns);
}

static void fill_costs(struct result *r, const struct fault_costs *costs)
{
	r->costs = *costs;
	r->copy_bytes_per_s = costs->copy_bytes_per_s;
	r->current_ratio = output_ratio(costs->current_p50_ns, costs->floor_current_p50_ns);
	r->partial_ratio = output_ratio(costs->partial_p50_ns, costs->whole_p50_ns);
}

/* By a clock of one host. What was out of date at the pause is what was copied from then on. */
static void fill_throughput(struct result *r, const struct bench *b, const struct moved *m,
			    unsigned int bin_ms, struct curve *curve)
{
	const struct throughput *t = b->throughput;
	uint64_t bytes = m->bytes_switched + m->bytes_fetched;

	r->raw_copy_ns = r->copy_bytes_per_s ? (uint64_t)((double)bytes * 1e9 / (double)r->copy_bytes_per_s)
					     : OUTPUT_ABSENT;
	r->usual = throughput_usual(t, m->begun_ns - USUAL_NS, m->begun_ns);
	r->recovered_ns = OUTPUT_ABSENT;
	if (b->job.one_host) {
		r->recovered_ns = throughput_recovered(t, m->paused_ns, m->ended_ns, r->usual, RECOVERED);
		throughput_curve(t, m->paused_ns, bin_ms, CURVE_BEFORE, curve);
		r->curve = curve;
	}
	r->recovered_ratio = output_ratio(r->recovered_ns, r->raw_copy_ns);
}

static struct result result_of(const struct run *run)
{
	const struct migration_options *o = &run->options;

	return (struct result){
	    .benchmark = "migration",
	    .transport = host_transport(run->bench.job.one_host),
	    .delivery = delivery_names()[run->bench.delivery],
	    .clock = run->bench.job.one_host ? "common" : "source",
	    .host = run->host.name,
	    .commit = o->line.commit ? o->line.commit : host_commit(),
	    .nodes = (uint64_t)run->bench.job.nodes,
	};
}

static void print_head(const struct run *run)
{
	char nodes[64];

	snprintf(nodes, sizeof nodes, "%d; memory moves from node %d to node %d", run->bench.job.nodes,
		 SOURCE, TARGET);
	const struct fact facts[] = {
	    {"host", run->host.name},
	    {"kernel", run->host.kernel},
	    {"commit", run->options.line.commit ? run->options.line.commit : host_commit()},
	    {"CPU", run->host.cpu},
	    {"hugepages", run->host.pools},
	    {"nodes", nodes},
	    {"transport", host_transport(run->bench.job.one_host)},
	    {"delivery", delivery_names()[run->bench.delivery]},
	    {"placement", run->bench.placement.text},
	};
	if (run->bench.job.node == 0)
		output_begin(&run->output, TITLE, facts, sizeof facts / sizeof facts[0]);
}

/* --- moves --------------------------------------------------------------------------------------------- */

static unsigned int bin_ms(size_t memory_bytes)
{
	size_t ms = memory_bytes / (256 * MIB);

	return ms < 1 ? 1 : ms > CURVE_BIN_MOST_MS ? CURVE_BIN_MOST_MS : (unsigned int)ms;
}

static void run_move(struct run *run, size_t page_bytes, size_t memory_bytes, uint64_t percent,
		     unsigned int mode)
{
	static double points[CURVE_POINTS][2];
	struct curve curve = {CURVE_POINTS, points};
	size_t pages = memory_bytes / page_bytes;
	double stores_per_s = (double)pages * (double)percent / 100;
	const struct move move = {
	    .mode = modes[mode],
	    .page_bytes = page_bytes,
	    .memory_bytes = memory_bytes,
	    .stores_per_s = stores_per_s,
	    .working_percent = (unsigned int)run->options.working_percent,
	    .after_ms = (CURVE_POINTS - CURVE_BEFORE) * bin_ms(memory_bytes),
	};
	struct moved moved;

	move_once(&run->bench, &move, &moved);
	progress_step(&run->progress);
	if (run->bench.job.node != SOURCE)
		return;
	struct result result = result_of(run);
	result.mode = migration_mode_names()[mode];
	result.page_size_bytes = page_bytes;
	result.memory_bytes = memory_bytes;
	result.write_percent = percent;
	result.write_pages_per_s = (uint64_t)(stores_per_s + 0.5);
	result.intact = moved_intact(&moved, &move);
	fill_times(&result, &moved, run->empty_ns);
	fill_counts(&result, &moved);
	fill_costs(&result, &run->costs);
	fill_throughput(&result, &run->bench, &moved, bin_ms(memory_bytes), &curve);
	if (output_row(&run->output, &result))
		job_fail("cannot write the results: %s", strerror(EIO));
	moved_require_intact(&moved, &move);
}

static void run_modes(struct run *run, size_t page_bytes, size_t memory_bytes, uint64_t percent)
{
	const struct migration_options *o = &run->options;

	for (uint64_t repetition = 0; repetition < o->repetitions; repetition++)
		for (unsigned int mode = 0; mode < MODES; mode++)
			if (o->modes >> mode & 1)
				run_move(run, page_bytes, memory_bytes, percent, mode);
}

/* Bytes that are free in the pool of this host. */
static uint64_t pool_bytes(size_t page_bytes)
{
	struct hugepage_pool pool;
	uint64_t pages = 0;

	if (!hugepage_pool_read(page_bytes, &pool))
		pages = pool.free - pool.reserved + pool.overcommit - pool.surplus;
	return pages * page_bytes;
}

/* Whether each host has room for all nodes on it, of which this one needs @needed bytes; if not, says so. */
static bool fits(const struct run *run, const char *what, size_t page_bytes, uint64_t needed)
{
	uint64_t here = job_host_sum(needed), there = here ? pool_bytes(page_bytes) : 0;
	uint64_t lacking = ~job_minimum(~(here > there ? here - there : 0)); /* the most on any host */

	if (lacking && run->bench.job.node == 0)
		fprintf(stderr,
			"migration: left out pages of %zu KiB, %s: %" PRIu64
			" MiB of them are lacking in a host's pool\n",
			page_bytes / KIB, what, (lacking + MIB - 1) / MIB);
	return !lacking;
}

static void run_memory(struct run *run, size_t page_bytes, size_t memory_bytes)
{
	const struct number_list *rates = &run->options.rates;
	char what[64];

	snprintf(what, sizeof what, "%zu MiB of memory", memory_bytes / MIB);
	if (fits(run, what, page_bytes, move_pool_bytes(&run->bench, page_bytes, memory_bytes)))
		for (size_t i = 0; i < rates->count; i++)
			run_modes(run, page_bytes, memory_bytes, rates->values[i]);
}

static void run_page_size(struct run *run, size_t page_bytes)
{
	const struct number_list *memory = &run->options.memory;

	if (!fits(run, "all of it", page_bytes, fault_costs_pool_bytes(&run->bench, page_bytes)))
		return;
	fault_costs_measure(&run->bench, page_bytes, (unsigned int)run->options.fault_rounds, &run->costs);
	run->empty_ns = move_empty(&run->bench, page_bytes);
	for (size_t i = 0; i < memory->count; i++)
		run_memory(run, page_bytes, memory->values[i] / page_bytes * page_bytes);
}

/* --- set-up -------------------------------------------------------------------------------------------- */

static void start(struct run *run, int *argc, char ***argv)
{
	struct bench *b = &run->bench;

	if (b->job.nodes < 2)
		job_refuse(&b->job, "needs 2 nodes: mpirun -n 2 migration");
	if (!b->job.one_host && strcmp(host_transport(b->job.one_host), "verbs") != 0)
		job_refuse(&b->job, "on several hosts, set MINORCA_TRANSPORT=verbs");
	host_describe(&run->host);
	placement_choose(&b->job, 1, &b->placement);
	if (dsm_init(argc, argv))
		job_give_up(); /* the runtime has said why */
	if (!strcmp(host_transport(b->job.one_host), "verbs"))
		bare_open(&b->job, 3, &b->bare);
	b->delivery = run->options.delivery;
	b->throughput = malloc(sizeof *b->throughput);
	if (!b->throughput)
		job_fail("out of memory");
	run->output =
	    (struct output){stdout, run->options.line.format, columns, sizeof columns / sizeof columns[0]};
}

static void stop(struct run *run)
{
	bare_close(run->bench.bare);
	free(run->bench.throughput);
	placement_free(&run->bench.placement);
	if (dsm_finalize())
		job_give_up();
	job_end();
}

int main(int argc, char **argv)
{
	static struct run run;
	struct migration_options *o = &run.options;

	*o = migration_options_defaults;
	int status = command_line_read(&migration_options_argp, "migration", argc, argv, &o->line,
				       migration_options_print_modes);
	if (status >= 0)
		return status;
	job_start(&argc, &argv, &run.bench.job);
	start(&run, &argc, &argv);
	print_head(&run);
	progress_begin(&run.progress,
		       o->page_sizes.count * o->memory.count * o->rates.count * o->repetitions *
			   (size_t)__builtin_popcount(o->modes),
		       run.bench.job.node == 0);
	for (size_t i = 0; i < o->page_sizes.count; i++)
		run_page_size(&run, o->page_sizes.values[i]);
	progress_end(&run.progress);
	stop(&run);
	return EXIT_SUCCESS;
}
