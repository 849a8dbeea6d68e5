/*
 * How fast a program reads what another node has written: sequentially, backwards, in strides, at random; by
 * faults, by faults that read ahead, and with dsm_prefetch(). See README.md.
 *
 * Node 0 is home of everything and changes it before each pass. Rows take turns, sample by sample, each
 * beside its floor and the bare copy, so that what disturbs the machine disturbs all.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/bare_verbs.h"
#include "bench/collect.h"
#include "bench/command_line.h"
#include "bench/fetch_sides.h"
#include "bench/host.h"
#include "bench/job.h"
#include "bench/list.h"
#include "bench/output.h"
#include "bench/percentile.h"
#include "bench/placement.h"
#include "bench/pool.h"
#include "bench/progress.h"
#include "bench/team.h"
#include "bench/timer.h"
#include "dsm/settings.h"
#include "kernel/memory.h"

#define TITLE "Minorca: bandwidth of fetches, times of a pass in us"

#define LIST_MAX 16
#define DEFAULT_SAMPLES 5
#define DEFAULT_STRIDE 4
/* What one dsm_prefetch() brings in. */
#define PREFETCH_BYTES(page_bytes) ((page_bytes) > 4 * KIB ? 16 * MIB : 1 * MIB)
/* How many times the memory of a slice is there on each node: two regions, the floor. */
#define COPIES 3

static const char *const order_names[] = {[ORDER_SEQUENTIAL] = "sequential",
					  [ORDER_BACKWARD] = "backward",
					  [ORDER_STRIDED] = "strided",
					  [ORDER_RANDOM] = "random",
					  NULL};

static const char *const means_names[] = {
    [MEANS_FAULT] = "fault", [MEANS_READAHEAD] = "readahead", [MEANS_PREFETCH] = "prefetch", NULL};

struct numbers {
	uint64_t values[LIST_MAX];
	size_t count;
};

struct options {
	struct command_line line;
	uint32_t orders, means; /* masks */
	struct numbers page_sizes, threads;
	uint64_t region_bytes; /* of a slice; 0: 1 GiB, or what there is room for */
	uint64_t samples, stride;
};

/* A row, and what it has seen so far. */
struct row {
	struct pass pass;
	uint64_t *samples, *floor, *copy;
	size_t count;
	struct pass_counts counts; /* sums */
};

struct run {
	struct job job;
	struct options options;
	struct host host;
	struct placement placement;
	struct sides sides;
	struct row *rows; /* of a page size */
	size_t row_count;
	uint64_t readahead_bytes; /* the setting */
	struct output output;
};

/* --- rows ---------------------------------------------------------------------------------------------- */

static uint64_t *allocate_samples(const struct run *run)
{
	uint64_t *samples = calloc(run->options.samples, sizeof *samples);

	if (!samples)
		job_fail("out of memory for samples");
	return samples;
}

static size_t window_pages(const struct run *run, enum order order, enum means means)
{
	size_t page_bytes = run->sides.page_bytes;
	size_t bytes = means == MEANS_PREFETCH ? PREFETCH_BYTES(page_bytes) : run->readahead_bytes;

	/* A window of pages apart from each other is mapped page by page, without a signal for each. */
	return means == MEANS_FAULT || order == ORDER_RANDOM ? 1
	       : bytes < 2 * page_bytes			     ? 1
							     : bytes / page_bytes;
}

/* Prefetching is for those who know what comes: here, what comes in a row. */
static bool makes_sense(const struct run *run, enum order order, enum means means)
{
	if (means == MEANS_PREFETCH)
		return order == ORDER_SEQUENTIAL;
	return means == MEANS_FAULT || run->readahead_bytes >= 2 * run->sides.page_bytes;
}

static void add_row(struct run *run, enum order order, enum means means, unsigned int threads)
{
	const struct options *o = &run->options;

	if (!(o->orders >> order & 1) || !(o->means >> means & 1) || !makes_sense(run, order, means))
		return;
	run->rows[run->row_count++] = (struct row){
	    .pass = {.order = order,
		     .means = means,
		     .threads = threads,
		     .stride = order == ORDER_STRIDED ? o->stride : 1,
		     .window_pages = window_pages(run, order, means)},
	    .samples = allocate_samples(run),
	    .floor = allocate_samples(run),
	    .copy = allocate_samples(run),
	};
}

static void make_rows(struct run *run)
{
	const struct numbers *threads = &run->options.threads;

	run->rows = calloc(threads->count * ORDER_COUNT * MEANS_COUNT, sizeof *run->rows);
	if (!run->rows)
		job_fail("out of memory");
	run->row_count = 0;
	for (size_t i = 0; i < threads->count; i++)
		for (enum order order = 0; order < ORDER_COUNT; order++)
			for (enum means means = 0; means < MEANS_COUNT; means++)
				add_row(run, order, means, (unsigned int)threads->values[i]);
}

static void free_rows(struct run *run)
{
	for (size_t i = 0; i < run->row_count; i++) {
		free(run->rows[i].samples);
		free(run->rows[i].floor);
		free(run->rows[i].copy);
	}
	free(run->rows);
}

/* --- measuring ----------------------------------------------------------------------------------------- */

/* The statistics must say what the row says. */
static void check_counts(const struct run *run, const struct row *row, const struct pass_counts *counts)
{
	uint64_t pages = sides_pages_of(&run->sides, &row->pass);
	uint64_t expected = row->pass.means == MEANS_PREFETCH ? 0 : pages;

	if (row->pass.means != MEANS_READAHEAD && counts->faults != expected)
		job_fail("%s, %s: %" PRIu64 " faults, expected %" PRIu64, order_names[row->pass.order],
			 means_names[row->pass.means], counts->faults, expected);
	if (counts->bytes_fetched < pages * run->sides.page_bytes)
		job_fail("%s, %s: %" PRIu64 " bytes fetched for %" PRIu64 " pages",
			 order_names[row->pass.order], means_names[row->pass.means], counts->bytes_fetched,
			 pages);
}

/* In a first round, everything is new: no samples. */
static void take_sample(struct run *run, struct row *row, bool sampled)
{
	struct pass_counts counts;

	sides_change(&run->sides);
	if (run->job.node == 0)
		return;
	uint64_t ns = sides_pass(&run->sides, &row->pass, &counts);
	uint64_t floor_ns = sides_floor_pass(&run->sides, &row->pass);
	uint64_t copy_ns = sides_copy_pass(&run->sides, &row->pass);

	check_counts(run, row, &counts);
	if (!sampled)
		return;
	row->samples[row->count] = ns;
	row->floor[row->count] = floor_ns;
	row->copy[row->count++] = copy_ns;
	row->counts.faults += counts.faults;
	row->counts.pages_read_ahead += counts.pages_read_ahead;
	row->counts.bytes_fetched += counts.bytes_fetched;
}

/* --- results ------------------------------------------------------------------------------------------- */

struct result {
	const char *benchmark, *order, *means, *transport, *host, *commit;
	uint64_t page_size_bytes, bytes, threads, nodes, stride, window_pages;
	uint64_t samples, p50_ns, min_ns, max_ns, ns_per_page, bytes_per_s, mb_per_s;
	uint64_t faults, faults_per_s, pages_read_ahead, bytes_fetched;
	uint64_t floor_p50_ns, copy_p50_ns;
	double ratio, floor_bandwidth_ratio, copy_bandwidth_ratio;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"case", "Case", -10, COLUMN_TEXT, AT(order)},
    {"means", "Means", -9, COLUMN_TEXT, AT(means)},
    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},
    {"bytes", "Bytes", 7, COLUMN_BYTES, AT(bytes)},
    {"threads", "Thr", 3, COLUMN_COUNT, AT(threads)},
    {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"stride_pages", NULL, 0, COLUMN_COUNT, AT(stride)},
    {"window_pages", NULL, 0, COLUMN_COUNT, AT(window_pages)},
    {"samples", NULL, 0, COLUMN_COUNT, AT(samples)},
    {"p50_ns", "p50", 10, COLUMN_NS, AT(p50_ns)},
    {"min_ns", NULL, 0, COLUMN_NS, AT(min_ns)},
    {"max_ns", NULL, 0, COLUMN_NS, AT(max_ns)},
    {"ns_per_page", "PerPage", 8, COLUMN_NS, AT(ns_per_page)},
    {"bytes_per_s", NULL, 0, COLUMN_COUNT, AT(bytes_per_s)},
    {"mb_per_s", "MB/s", 7, COLUMN_COUNT, AT(mb_per_s)},
    {"faults", "Faults", 7, COLUMN_COUNT, AT(faults)},
    {"faults_per_s", "Faults/s", 8, COLUMN_COUNT, AT(faults_per_s)},
    {"pages_read_ahead", "Ahead", 7, COLUMN_COUNT, AT(pages_read_ahead)},
    {"bytes_fetched", NULL, 0, COLUMN_COUNT, AT(bytes_fetched)},
    {"floor_p50_ns", "FloorP50", 10, COLUMN_NS, AT(floor_p50_ns)},
    {"ratio", NULL, 0, COLUMN_RATIO, AT(ratio)},
    {"floor_bandwidth_ratio", "/floor", 6, COLUMN_RATIO, AT(floor_bandwidth_ratio)},
    {"copy_p50_ns", "CopyP50", 10, COLUMN_NS, AT(copy_p50_ns)},
    {"copy_bandwidth_ratio", "/copy", 6, COLUMN_RATIO, AT(copy_bandwidth_ratio)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

static struct result result_of(const struct run *run, const struct row *row)
{
	uint64_t measuring = (uint64_t)run->job.nodes - 1;
	struct distribution d = collect_distribution(row->samples, row->count);
	struct distribution floor = collect_distribution(row->floor, row->count);
	struct distribution copy = collect_distribution(row->copy, row->count);
	size_t pages = sides_pages_of(&run->sides, &row->pass), bytes = pages * run->sides.page_bytes;
	uint64_t passes = d.samples ? d.samples / measuring : 1; /* by all measuring nodes */
	uint64_t faults = job_sum(row->counts.faults) / passes;

	return (struct result){
	    .benchmark = "fetch_bandwidth",
	    .order = order_names[row->pass.order],
	    .means = means_names[row->pass.means],
	    .transport = host_transport(run->job.one_host),
	    .host = run->host.name,
	    .commit = run->options.line.commit ? run->options.line.commit : host_commit(),
	    .page_size_bytes = run->sides.page_bytes,
	    .bytes = bytes,
	    .threads = row->pass.threads,
	    .nodes = (uint64_t)run->job.nodes,
	    .stride = row->pass.stride,
	    .window_pages = row->pass.window_pages,
	    .samples = d.samples,
	    .p50_ns = d.p50_ns,
	    .min_ns = d.min_ns,
	    .max_ns = d.max_ns,
	    .ns_per_page = d.p50_ns / pages,
	    .bytes_per_s = per_second(bytes * measuring, d.p50_ns),
	    .mb_per_s = per_second(bytes * measuring, d.p50_ns) / 1000000,
	    .faults = faults,
	    .faults_per_s = per_second(faults, d.p50_ns),
	    .pages_read_ahead = job_sum(row->counts.pages_read_ahead) / passes,
	    .bytes_fetched = job_sum(row->counts.bytes_fetched) / passes,
	    .floor_p50_ns = floor.p50_ns,
	    .ratio = output_ratio(d.p50_ns, floor.p50_ns),
	    .floor_bandwidth_ratio = output_ratio(floor.p50_ns, d.p50_ns),
	    .copy_p50_ns = copy.p50_ns,
	    .copy_bandwidth_ratio = output_ratio(copy.p50_ns, d.p50_ns),
	};
}

static void print_head(const struct run *run)
{
	char nodes[64], window[64];

	snprintf(nodes, sizeof nodes, "%d, node 0 is home, the others read", run->job.nodes);
	snprintf(window, sizeof window, "%" PRIu64 " KiB (MINORCA_READAHEAD)", run->readahead_bytes / KIB);
	const struct fact facts[] = {
	    {"host", run->host.name},
	    {"kernel", run->host.kernel},
	    {"commit", run->options.line.commit ? run->options.line.commit : host_commit()},
	    {"CPU", run->host.cpu},
	    {"hugepages", run->host.pools},
	    {"nodes", nodes},
	    {"transport", host_transport(run->job.one_host)},
	    {"readahead", window},
	    {"placement", run->placement.text},
	};
	if (run->job.node == 0)
		output_begin(&run->output, TITLE, facts, sizeof facts / sizeof facts[0]);
}

static void print_rows(const struct run *run)
{
	for (size_t i = 0; i < run->row_count; i++) {
		struct result result = result_of(run, &run->rows[i]);
		if (run->job.node == 0 && output_row(&run->output, &result))
			job_fail("cannot write the results: %s", strerror(EIO));
	}
}

/* --- a page size --------------------------------------------------------------------------------------- */

/* By default as much as fits three times into what is free, 1 GiB at most. */
static size_t slice_bytes(const struct run *run, size_t page_bytes)
{
	uint64_t wanted = run->options.region_bytes ? run->options.region_bytes : GIB, room = GIB;
	long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	struct pool_share share = pool_share(&run->job, page_bytes, COPIES, run->sides.bare != NULL);

	if (pages > 0 && page > 0)
		room = (uint64_t)pages * (uint64_t)page / (2 * COPIES * (uint64_t)run->job.local_nodes);
	room = page_bytes > 4 * KIB ? share.pages * page_bytes : room;
	room = job_minimum(room);
	return (wanted < room ? wanted : room) / page_bytes * page_bytes;
}

static void measure(struct run *run, struct progress *progress)
{
	for (uint64_t round = 0; round <= run->options.samples; round++) {
		for (size_t i = 0; i < run->row_count; i++)
			take_sample(run, &run->rows[i], round > 0);
		progress_step(progress);
	}
}

static void run_page_size(struct run *run, size_t page_bytes, struct progress *progress)
{
	size_t bytes = slice_bytes(run, page_bytes);

	run->sides.page_bytes = page_bytes;
	run->sides.pages = bytes / page_bytes;
	if (run->sides.pages < 2 * run->options.stride) {
		if (run->job.node == 0)
			fprintf(
			    stderr,
			    "fetch_bandwidth: left out pages of %zu KiB: there is room for %zu on each node, "
			    "%" PRIu64 " are needed\n",
			    page_bytes / KIB, run->sides.pages, 2 * run->options.stride);
		return;
	}
	make_rows(run);
	sides_open(&run->sides);
	measure(run, progress);
	print_rows(run);
	sides_close(&run->sides);
	free_rows(run);
}

/* --- set-up -------------------------------------------------------------------------------------------- */

static unsigned int most_threads(const struct options *o)
{
	uint64_t most = 1;

	for (size_t i = 0; i < o->threads.count; i++)
		most = o->threads.values[i] > most ? o->threads.values[i] : most;
	return (unsigned int)most;
}

static uint64_t readahead_setting(void)
{
	struct settings settings;
	char error[256];

	/* What is wrong with the settings dsm_init() says. */
	return settings_parse(environ, &settings, error, sizeof error) ? 0 : settings.readahead_bytes;
}

static void start(struct run *run, int *argc, char ***argv)
{
	unsigned int threads = most_threads(&run->options);

	if (run->job.nodes < 2)
		job_refuse(&run->job, "needs 2 nodes or more: mpirun -n 2 fetch_bandwidth");
	if (!run->job.one_host && strcmp(host_transport(run->job.one_host), "verbs") != 0)
		job_refuse(&run->job, "on several hosts, set MINORCA_TRANSPORT=verbs");
	host_describe(&run->host);
	placement_choose(&run->job, threads, &run->placement);
	if (dsm_init(argc, argv))
		job_give_up(); /* the runtime has said why */
	run->readahead_bytes = readahead_setting();
	run->output =
	    (struct output){stdout, run->options.line.format, columns, sizeof columns / sizeof columns[0]};
	run->sides.job = &run->job;
	run->sides.placement = &run->placement;
	int error = team_create(run->placement.topology, threads, run->placement.pus, &run->sides.team);
	if (error)
		job_fail("cannot start %u threads: %s", threads, strerror(-error));
	if (!strcmp(host_transport(run->job.one_host), "verbs"))
		bare_open(&run->job, threads + 2, &run->sides.bare);
}

static void stop(struct run *run)
{
	bare_close(run->sides.bare);
	team_destroy(run->sides.team);
	placement_free(&run->placement);
	if (dsm_finalize())
		job_give_up();
	job_end();
}

/* --- the command line ---------------------------------------------------------------------------------- */

enum {
	KEY_CASE = 'c',
	KEY_MEANS = 'm',
	KEY_PAGE_SIZE = 'p',
	KEY_THREADS = 't',
	KEY_REGION_BYTES = 'r',
	KEY_SAMPLES = 'n',
	KEY_STRIDE = 's',
};

static const struct argp_option argp_options[] = {
    {"case", KEY_CASE, "LIST", 0, "sequential, backward, strided, random, or shell patterns; default: all",
     0},
    {"means", KEY_MEANS, "LIST", 0,
     "fault (each page by itself), readahead (faults, with MINORCA_READAHEAD), prefetch (dsm_prefetch() in "
     "front of the reader); default: all",
     0},
    {"page-size", KEY_PAGE_SIZE, "LIST", 0, "4KiB, 2MiB; default: both", 0},
    {"threads", KEY_THREADS, "LIST", 0, "of each node, each with a part of its pages; default: 1", 0},
    {"region-bytes", KEY_REGION_BYTES, "SIZE", 0,
     "that each node reads in a pass; default: 1GiB, or as much as there is room for", 0},
    {"samples", KEY_SAMPLES, "N", 0, "passes of each row; default: 5", 0},
    {"stride", KEY_STRIDE, "PAGES", 0, "of strided passes; default: 4", 0},
    {0},
};

static error_t take_numbers(struct options *o, const char *name, const char *text, uint64_t most,
			    struct numbers *out)
{
	char bad[LIST_ELEMENT_MAX];

	return list_parse_numbers(text, 1, most, LIST_MAX, out->values, &out->count, bad)
		   ? argument_refuse(o->line.error, name, text, "a list of numbers above 0")
		   : 0;
}

static error_t take_page_sizes(struct options *o, const char *text)
{
	struct numbers *sizes = &o->page_sizes;
	char bad[LIST_ELEMENT_MAX];
	bool fine = !list_parse_sizes(text, LIST_MAX, sizes->values, &sizes->count, bad);

	for (size_t i = 0; fine && i < sizes->count; i++)
		fine = sizes->values[i] == 4 * KIB || sizes->values[i] == 2 * MIB;
	return fine ? 0 : argument_refuse(o->line.error, "page-size", text, "4KiB, 2MiB, or both");
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_CASE:
		return argument_words(error, "case", text, order_names, &o->orders);
	case KEY_MEANS:
		return argument_words(error, "means", text, means_names, &o->means);
	case KEY_PAGE_SIZE:
		return take_page_sizes(o, text);
	case KEY_THREADS:
		return take_numbers(o, "threads", text, PLACEMENT_THREADS_MAX, &o->threads);
	case KEY_REGION_BYTES:
		return argument_size(error, "region-bytes", text, &o->region_bytes);
	case KEY_SAMPLES:
		return argument_number(error, "samples", text, 1, 1000000, &o->samples);
	case KEY_STRIDE:
		return argument_number(error, "stride", text, 2, 100000, &o->stride);
	default:
		return command_line_other(key, state);
	}
}

static const struct argp argp = {
    .options = argp_options,
    .parser = parse_option,
    .children = command_line_common,
    .doc =
	"Measures how fast pages are read that another node has changed, in several orders, by faults, with "
	"readahead and with prefetching, beside the floor (the same copies and mappings by the barest code) "
	"and the bare copy.\n"
	"\n"
	"To be started by mpirun on 2 nodes or more. Node 0 is the home.",
};

int main(int argc, char **argv)
{
	static struct run run = {.options = {.orders = UINT32_MAX,
					     .means = UINT32_MAX,
					     .page_sizes = {{4 * KIB, 2 * MIB}, 2},
					     .threads = {{1}, 1},
					     .samples = DEFAULT_SAMPLES,
					     .stride = DEFAULT_STRIDE}};
	struct progress progress;
	int status = command_line_read(&argp, "fetch_bandwidth", argc, argv, &run.options.line, NULL);

	if (status >= 0)
		return status;
	job_start(&argc, &argv, &run.job);
	start(&run, &argc, &argv);
	print_head(&run);
	progress_begin(&progress, run.options.page_sizes.count * (run.options.samples + 1),
		       run.job.node == 0);
	for (size_t i = 0; i < run.options.page_sizes.count; i++)
		run_page_size(&run, run.options.page_sizes.values[i], &progress);
	progress_end(&progress);
	stop(&run);
	return EXIT_SUCCESS;
}
