/*
 * Bandwidth and latency of RDMA READs, and of the runtime's fetches of 2 MiB pages beside them. See
 * README.md.
 *
 * Node 1 measures; node 0 has what is read, and prints. Rows take turns, sample by sample, so that what
 * disturbs the machine disturbs all.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/bare_verbs.h"
#include "bench/collect.h"
#include "bench/command_line.h"
#include "bench/host.h"
#include "bench/job.h"
#include "bench/output.h"
#include "bench/percentile.h"
#include "bench/timer.h"
#include "dsm/settings.h"
#include "kernel/memory.h"

#define TITLE "Minorca: bandwidth of RDMA READs and of fetches, times in us"

#define PAGE_BYTES (2 * MIB)
#define BLOCK_BYTES (PAGE_BYTES / 64)
#define PAGES 8
#define BUFFER_BYTES (PAGES * PAGE_BYTES)

#define DEFAULT_TIME_S 60
#define SAMPLES_MAX 20000
#define SAMPLES_LEAST 3

/* Samples of a row in a round: so many that small reads take their share of the time, too. */
#define ROUND_BYTES (1 * MIB)
#define ROUND_SAMPLES_MOST 16

enum kind { BARE, SPLIT, FAULT, PREFETCH };

static const char *const kind_names[] = {
    [BARE] = "read", [SPLIT] = "split_read", [FAULT] = "fetch_fault", [PREFETCH] = "fetch_prefetch", NULL};

/* A row: @pieces reads of @bytes each, outstanding together; a fetch: of @pieces for each page. */
struct row {
	enum kind kind;
	size_t bytes;
	unsigned int pieces;
	uint64_t *samples, *baseline; /* fetches have a baseline */
	size_t count;
};

struct options {
	struct command_line line;
	uint32_t cases; /* mask of kind_names */
	uint64_t time_s;
	uint64_t pieces; /* that a fetch of a page is compared with */
};

struct run {
	struct job job;
	struct options options;
	struct host host;
	struct bare *bare;
	struct bare_memory exposed;
	char *buffer;
	dsm_region *region;
	char *base;
	uint64_t generation; /* of what the home has written */
	struct row *rows;
	size_t row_count;
};

/* --- rows ---------------------------------------------------------------------------------------------- */

static const size_t sizes[] = {8, 64, 512, 4 * KIB, 32 * KIB, 256 * KIB, 2 * MIB, 4 * MIB};
static const unsigned int depths[] = {1, 2, 4, 8, 16};

#define SIZES (sizeof sizes / sizeof sizes[0])
#define DEPTHS (sizeof depths / sizeof depths[0])

static uint64_t *allocate_samples(void)
{
	uint64_t *samples = malloc(SAMPLES_MAX * sizeof *samples);

	if (!samples)
		job_fail("out of memory for samples");
	memset(samples, 0, SAMPLES_MAX * sizeof *samples); /* so that keeping a sample does not fault */
	return samples;
}

static void add_row(struct run *run, enum kind kind, size_t bytes, unsigned int pieces)
{
	bool fetch = kind == FAULT || kind == PREFETCH;

	/* No two reads into the same bytes. */
	if (!(run->options.cases >> kind & 1) || (!fetch && bytes * pieces > BUFFER_BYTES))
		return;
	run->rows[run->row_count++] =
	    (struct row){kind, bytes, pieces, allocate_samples(), fetch ? allocate_samples() : NULL, 0};
}

static void add_rows(struct run *run)
{
	run->rows = calloc(SIZES * DEPTHS + DEPTHS + 2, sizeof *run->rows);
	if (!run->rows)
		job_fail("out of memory");
	for (size_t i = 0; i < SIZES; i++)
		for (size_t j = 0; j < DEPTHS; j++)
			add_row(run, BARE, sizes[i], depths[j]);
	for (size_t i = 0; i < DEPTHS; i++)
		add_row(run, SPLIT, PAGE_BYTES / depths[i], depths[i]);
	add_row(run, FAULT, PAGE_BYTES, (unsigned int)run->options.pieces);
	add_row(run, PREFETCH, PAGES * PAGE_BYTES, (unsigned int)run->options.pieces);
}

/* What one sample moves. */
static size_t sample_bytes(const struct row *row)
{
	return row->baseline ? row->bytes : row->bytes * row->pieces;
}

static size_t round_samples(const struct row *row)
{
	size_t count = ROUND_BYTES / sample_bytes(row);

	return count < 1 ? 1 : count > ROUND_SAMPLES_MOST ? ROUND_SAMPLES_MOST : count;
}

/* --- bare reads ---------------------------------------------------------------------------------------- */

static void require(int error, const char *what)
{
	if (error)
		job_fail("%s: %s", what, strerror(-error));
}

/* @count reads of @bytes each, from the @first place of that size on, posted together. @return ns until the
 * last has completed. */
static uint64_t read_together(struct run *run, size_t first, size_t bytes, unsigned int count)
{
	struct bare_request requests[BARE_DEPTH];
	unsigned int chains = 0;

	for (unsigned int i = 0; i < count; i++) {
		size_t at = (first + i) * bytes % BUFFER_BYTES;
		requests[i] = (struct bare_request){
		    .opcode = IBV_WR_RDMA_READ, .local = run->buffer + at, .bytes = bytes, .offset = at};
	}
	uint64_t before = timer_now_ns();
	for (unsigned int i = 0; i < count; i += BARE_CHAIN_MOST, chains++) {
		unsigned int length = count - i < BARE_CHAIN_MOST ? count - i : BARE_CHAIN_MOST;
		require(bare_post(run->bare, 0, 0, &run->exposed, requests + i, length), "bare READ");
	}
	while (chains--)
		require(bare_wait(run->bare, 0), "bare READ");
	return timer_now_ns() - before;
}

/* In a first round, everything is new: no samples. */
static void read_row(struct run *run, struct row *row, bool sampled)
{
	for (size_t i = round_samples(row); i-- && row->count < SAMPLES_MAX;) {
		uint64_t ns = read_together(run, 0, row->bytes, row->pieces);
		if (sampled)
			row->samples[row->count++] = ns;
	}
}

/* --- fetches ------------------------------------------------------------------------------------------- */

static volatile uint64_t *word_of(const struct run *run, size_t block)
{
	return (volatile uint64_t *)(void *)(run->base + block * BLOCK_BYTES);
}

/* Every block of every page changes, at home. */
static void change_pages(struct run *run)
{
	run->generation++;
	job_meet();
	if (run->job.node == 0) {
		require(dsm_prefetch(run->base, PAGES * PAGE_BYTES, true), "dsm_prefetch()");
		for (size_t block = 0; block < PAGES * PAGE_BYTES / BLOCK_BYTES; block++)
			*word_of(run, block) = run->generation << 32 | block;
	}
	job_meet();
	require(dsm_barrier(), "dsm_barrier()");
	job_meet();
}

static void check_pages(const struct run *run)
{
	for (size_t block = 0; block < PAGES * PAGE_BYTES / BLOCK_BYTES; block++)
		if (*word_of(run, block) != (run->generation << 32 | block))
			job_fail("block %zu: loaded %#" PRIx64 ", its home had written %#" PRIx64, block,
				 *word_of(run, block), run->generation << 32 | block);
}

static uint64_t bytes_fetched(void)
{
	struct dsm_stats stats;

	require(dsm_stats(&stats), "dsm_stats()");
	return stats.bytes_fetched;
}

static void keep(struct row *row, bool sampled, uint64_t ns, uint64_t baseline_ns)
{
	if (!sampled || row->count == SAMPLES_MAX)
		return;
	row->baseline[row->count] = baseline_ns;
	row->samples[row->count++] = ns;
}

static void fault_pages(struct run *run, struct row *row, bool sampled)
{
	for (size_t page = 0; page < PAGES; page++) {
		/* Page after page, as the faults: what was read just now is in a cache. */
		uint64_t bare_ns =
		    read_together(run, page * row->pieces, PAGE_BYTES / row->pieces, row->pieces);
		uint64_t before = timer_now_ns();
		(void)*word_of(run, page * (PAGE_BYTES / BLOCK_BYTES));
		keep(row, sampled, timer_now_ns() - before, bare_ns);
	}
}

static void prefetch_pages(struct run *run, struct row *row, bool sampled)
{
	uint64_t bare_ns = read_together(run, 0, PAGE_BYTES / row->pieces, PAGES * row->pieces);
	uint64_t before = timer_now_ns();

	require(dsm_prefetch(run->base, PAGES * PAGE_BYTES, false), "dsm_prefetch()");
	keep(row, sampled, timer_now_ns() - before, bare_ns);
}

/* By node 1. */
static void fetch_row(struct run *run, struct row *row, bool sampled)
{
	uint64_t before = bytes_fetched();

	if (row->kind == FAULT)
		fault_pages(run, row, sampled);
	else
		prefetch_pages(run, row, sampled);
	check_pages(run);
	if (bytes_fetched() - before != PAGES * PAGE_BYTES)
		job_fail("%s: %" PRIu64 " bytes fetched, expected %zu", kind_names[row->kind],
			 bytes_fetched() - before, (size_t)(PAGES * PAGE_BYTES));
}

/* --- rounds -------------------------------------------------------------------------------------------- */

static void run_round(struct run *run, bool sampled)
{
	for (size_t i = 0; i < run->row_count; i++) {
		struct row *row = &run->rows[i];

		if (row->baseline)
			change_pages(run);
		if (run->job.node != 1)
			continue;
		if (row->baseline)
			fetch_row(run, row, sampled);
		else
			read_row(run, row, sampled);
	}
	job_meet();
}

static void run_rounds(struct run *run)
{
	uint64_t end_ns = timer_now_ns() + run->options.time_s * 1000000000u;
	unsigned int round = 0;

	do
		run_round(run, round++ > 0);
	while (job_any(run->job.node == 0 && (round <= SAMPLES_LEAST || timer_now_ns() < end_ns)));
}

/* --- results ------------------------------------------------------------------------------------------- */

struct result {
	const char *benchmark, *kind, *transport, *host, *commit;
	uint64_t bytes, outstanding, nodes;
	uint64_t samples, p50_ns, p90_ns, p99_ns, max_ns, bytes_per_s;
	uint64_t baseline_p50_ns, baseline_bytes_per_s;
	double bandwidth_ratio;
	uint64_t mb_per_s;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"case", "Case", -14, COLUMN_TEXT, AT(kind)},
    {"bytes", "Bytes", 6, COLUMN_BYTES, AT(bytes)},
    {"outstanding", "Outst", 5, COLUMN_COUNT, AT(outstanding)},
    {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"samples", "Samples", 7, COLUMN_COUNT, AT(samples)},
    {"p50_ns", "p50", 9, COLUMN_NS, AT(p50_ns)},
    {"p90_ns", "p90", 9, COLUMN_NS, AT(p90_ns)},
    {"p99_ns", "p99", 9, COLUMN_NS, AT(p99_ns)},
    {"max_ns", NULL, 0, COLUMN_NS, AT(max_ns)},
    {"bytes_per_s", NULL, 0, COLUMN_COUNT, AT(bytes_per_s)},
    {"mb_per_s", "MB/s", 7, COLUMN_COUNT, AT(mb_per_s)},
    {"baseline_p50_ns", "BareP50", 9, COLUMN_NS, AT(baseline_p50_ns)},
    {"baseline_bytes_per_s", NULL, 0, COLUMN_COUNT, AT(baseline_bytes_per_s)},
    {"bandwidth_ratio", "Ratio", 5, COLUMN_RATIO, AT(bandwidth_ratio)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

static struct result result_of(const struct run *run, const struct row *row)
{
	struct distribution d = collect_distribution(row->samples, row->count);
	size_t bytes = sample_bytes(row);
	struct result r = {
	    .benchmark = "read_bandwidth",
	    .kind = kind_names[row->kind],
	    .transport = "verbs",
	    .host = run->host.name,
	    .commit = run->options.line.commit ? run->options.line.commit : host_commit(),
	    .bytes = row->bytes,
	    .outstanding = row->pieces,
	    .nodes = (uint64_t)run->job.nodes,
	    .samples = d.samples,
	    .p50_ns = d.p50_ns,
	    .p90_ns = d.p90_ns,
	    .p99_ns = d.p99_ns,
	    .max_ns = d.max_ns,
	    .bytes_per_s = per_second(bytes, d.p50_ns),
	    .mb_per_s = per_second(bytes, d.p50_ns) / 1000000,
	    .baseline_p50_ns = OUTPUT_ABSENT,
	    .baseline_bytes_per_s = OUTPUT_ABSENT,
	    .bandwidth_ratio = NAN,
	};

	if (!row->baseline)
		return r;
	struct distribution baseline = collect_distribution(row->baseline, row->count);
	r.baseline_p50_ns = baseline.p50_ns;
	r.baseline_bytes_per_s = per_second(bytes, baseline.p50_ns);
	r.bandwidth_ratio = output_ratio(baseline.p50_ns, d.p50_ns);
	return r;
}

static void print_results(const struct run *run)
{
	char nodes[64], reads[64];
	const struct output output = {stdout, run->options.line.format, columns,
				      sizeof columns / sizeof columns[0]};

	snprintf(nodes, sizeof nodes, "%d, node 1 reads from node 0", run->job.nodes);
	snprintf(reads, sizeof reads, "%u at a time on one queue pair", bare_reads(run->bare));
	const struct fact facts[] = {
	    {"host", run->host.name}, {"kernel", run->host.kernel},	    {"CPU", run->host.cpu},
	    {"nodes", nodes},	      {"device", bare_describe(run->bare)}, {"reads", reads},
	};
	if (run->job.node == 0)
		output_begin(&output, TITLE, facts, sizeof facts / sizeof facts[0]);
	for (size_t i = 0; i < run->row_count; i++) {
		struct result result = result_of(run, &run->rows[i]);
		if (run->job.node == 0 && output_row(&output, &result))
			job_fail("cannot write the results: %s", strerror(EIO));
	}
}

/* --- set-up -------------------------------------------------------------------------------------------- */

static void require_hugepages(const struct run *run)
{
	struct hugepage_pool pool = {0};
	/* A buffer and the region, on each node of the host. */
	uint64_t needed = 2 * PAGES * (uint64_t)run->job.local_nodes;

	if (hugepage_pool_read(PAGE_BYTES, &pool))
		pool = (struct hugepage_pool){0};
	uint64_t available = pool.free - pool.reserved + pool.overcommit - pool.surplus;
	if (job_any(available < needed))
		job_refuse(&run->job,
			   "%" PRIu64 " hugepages are needed, the pool has %" PRIu64
			   " free; echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
			   needed, available);
}

static void make_buffer(struct run *run)
{
	int fd = memory_file_create("read_bandwidth", BUFFER_BYTES, PAGE_BYTES);
	void *memory;

	require(fd < 0 ? fd : 0, "memory of hugepages");
	require(memory_map(fd, BUFFER_BYTES, NULL, &memory), "memory of hugepages");
	close(fd);
	run->buffer = memory;
	memset(run->buffer, 1, BUFFER_BYTES);
	bare_expose(run->bare, run->buffer, BUFFER_BYTES, &run->exposed);
}

static void make_region(struct run *run)
{
	const struct dsm_region_options options = {
	    .page_size_bytes = PAGE_BYTES,
	    .home = DSM_HOME_NODE,
	    .home_node = 0,
	    .delivery = DSM_DELIVERY_INLINE,
	};

	require(dsm_region_create("read_bandwidth", PAGES * PAGE_BYTES, &options, &run->region),
		"dsm_region_create()");
	run->base = dsm_region_base(run->region);
}

static void start(struct run *run, int *argc, char ***argv)
{
	if (run->job.nodes < 2)
		job_refuse(&run->job, "needs 2 nodes or more: mpirun -n 2 read_bandwidth");
	if (strcmp(host_transport(run->job.one_host), "verbs") != 0)
		job_refuse(&run->job,
			   "measures RDMA: set MINORCA_TRANSPORT=verbs, on nodes that have a device");
	require_hugepages(run);
	host_describe(&run->host);
	if (dsm_init(argc, argv))
		job_give_up(); /* the runtime has said why */
	bare_open(&run->job, 1, &run->bare);
	make_buffer(run);
	make_region(run);
	add_rows(run);
}

static void stop(struct run *run)
{
	for (size_t i = 0; i < run->row_count; i++) {
		free(run->rows[i].samples);
		free(run->rows[i].baseline);
	}
	free(run->rows);
	require(dsm_region_destroy(run->region), "dsm_region_destroy()");
	bare_conceal(&run->exposed);
	bare_close(run->bare);
	if (dsm_finalize())
		job_give_up();
	job_end();
}

/* --- the command line ---------------------------------------------------------------------------------- */

enum {
	KEY_CASE = 'c',
	KEY_TIME = 't',
	KEY_PIECES = 'p',
	KEY_HELP = 'h',
	KEY_JSON = 0x100,
	KEY_CSV,
	KEY_COMMIT
};

static const struct argp_option argp_options[] = {
    {"case", KEY_CASE, "LIST", 0,
     "names or shell patterns: read, split_read (2 MiB in pieces), fetch_fault, fetch_prefetch; default: all",
     0},
    {"time", KEY_TIME, "SECONDS", 0, "for all rows together; default: 60", 0},
    {"pieces", KEY_PIECES, "N", 0,
     "reads outstanding together in which the fetch of a 2 MiB page is compared, a power of two up to 16; "
     "default: 2 MiB by MINORCA_VERBS_READ, or 1",
     0},
    {0},
};

static error_t take_pieces(struct options *o, const char *text)
{
	error_t error = argument_number(o->line.error, "pieces", text, 1, 16, &o->pieces);

	if (!error && PAGE_BYTES % o->pieces)
		error = argument_refuse(o->line.error, "pieces", text, "a power of two up to 16");
	return error;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_CASE:
		return argument_words(error, "case", text, kind_names, &o->cases);
	case KEY_TIME:
		return argument_number(error, "time", text, 1, 1000000, &o->time_s);
	case KEY_PIECES:
		return take_pieces(o, text);
	default:
		return command_line_other(key, state);
	}
}

static const struct argp argp = {
    .options = argp_options,
    .parser = parse_option,
    .children = command_line_common,
    .doc = "Measures RDMA READs by bare libibverbs, by size and number outstanding, and the runtime's "
	   "fetches of "
	   "2 MiB pages beside the same reads.\n"
	   "\n"
	   "To be started by mpirun on 2 nodes or more, with MINORCA_TRANSPORT=verbs.",
};

/* What the runtime's own setting comes to for a page of 2 MiB. */
static uint64_t pieces_of_runtime(void)
{
	struct settings settings;
	char error[256];
	uint64_t pieces = 1;

	/* What is wrong with the settings dsm_init() says. */
	if (settings_parse(environ, &settings, error, sizeof error) || !settings.verbs_read_bytes)
		return 1;
	while (pieces < 16 && PAGE_BYTES / pieces > settings.verbs_read_bytes)
		pieces *= 2;
	return pieces;
}

int main(int argc, char **argv)
{
	static struct run run = {.options = {.cases = UINT32_MAX, .time_s = DEFAULT_TIME_S}};

	run.options.pieces = pieces_of_runtime();
	int status = command_line_read(&argp, "read_bandwidth", argc, argv, &run.options.line, NULL);
	if (status >= 0)
		return status;
	job_start(&argc, &argv, &run.job);
	start(&run, &argc, &argv);
	run_rounds(&run);
	print_results(&run);
	stop(&run);
	return EXIT_SUCCESS;
}
