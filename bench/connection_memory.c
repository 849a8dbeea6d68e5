/*
 * What connections by verbs cost in memory. See README.md.
 *
 * Makes many completion queues and queue pairs with the runtime's own code, connects each queue pair to
 * itself, and divides by their number what the process and the machine have less of afterwards. One process,
 * no MPI.
 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command_line.h"
#include "bench/host.h"
#include "bench/output.h"
#include "bench/rdma_device.h"
#include "dsm/verbs_connection.h"
#include "dsm/verbs_device.h"

#define TITLE "Minorca: memory of a connection by verbs, in bytes"

/* Numbers of first packets need not be random among queue pairs that talk to themselves. */
#define FIRST_PACKET 0

struct options {
	struct command_line line;
	uint64_t pairs, queues;
};

/* --- what is there ------------------------------------------------------------------------------------- */

/* Memory in use, in bytes. What is not told is 0. */
struct memory {
	uint64_t process; /* resident in this process */
	uint64_t slab, vmalloc, percpu;
	uint64_t machine; /* that nobody else can have any more: MemTotal - MemAvailable */
};

/* "NAME:  123 kB" of a file of /proc. */
static uint64_t read_figure(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[128];
	uint64_t kib, bytes = 0;

	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':' &&
		    sscanf(line + strlen(name) + 1, "%" SCNu64, &kib) == 1)
			bytes = kib * 1024;
	if (file)
		fclose(file);
	return bytes;
}

static struct memory memory_now(void)
{
	static const char machine[] = "/proc/meminfo";

	return (struct memory){
	    .process = read_figure("/proc/self/status", "VmRSS"),
	    .slab = read_figure(machine, "Slab"),
	    .vmalloc = read_figure(machine, "VmallocUsed"),
	    .percpu = read_figure(machine, "Percpu"),
	    .machine = read_figure(machine, "MemTotal") - read_figure(machine, "MemAvailable"),
	};
}

/* --- results ------------------------------------------------------------------------------------------- */

struct result {
	const char *benchmark, *object, *device, *commit;
	uint64_t count, depth;
	uint64_t process, slab, vmalloc, percpu, machine; /* of each */
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"object", "Object", -22, COLUMN_TEXT, AT(object)},
    {"device", NULL, 0, COLUMN_TEXT, AT(device)},
    {"count", "Count", 6, COLUMN_COUNT, AT(count)},
    {"depth", "Depth", 6, COLUMN_COUNT, AT(depth)},
    {"process_bytes", "Process", 9, COLUMN_COUNT, AT(process)},
    {"slab_bytes", "Slab", 9, COLUMN_COUNT, AT(slab)},
    {"vmalloc_bytes", "Vmalloc", 9, COLUMN_COUNT, AT(vmalloc)},
    {"percpu_bytes", "Percpu", 9, COLUMN_COUNT, AT(percpu)},
    {"machine_bytes", "Machine", 9, COLUMN_COUNT, AT(machine)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

/* Others give memory back meanwhile: less than nothing is nothing. */
static uint64_t of_each(uint64_t before, uint64_t after, uint64_t count)
{
	return after > before ? (after - before) / count : 0;
}

static void print(const struct output *output, const struct options *options,
		  const struct verbs_device *device, const char *object, uint64_t count,
		  const struct memory *before)
{
	struct memory after = memory_now();
	struct result result = {
	    .benchmark = "connection_memory",
	    .object = object,
	    .device = device->name,
	    .commit = options->line.commit ? options->line.commit : host_commit(),
	    .count = count,
	    .depth = device->window,
	    .process = of_each(before->process, after.process, count),
	    .slab = of_each(before->slab, after.slab, count),
	    .vmalloc = of_each(before->vmalloc, after.vmalloc, count),
	    .percpu = of_each(before->percpu, after.percpu, count),
	    .machine = of_each(before->machine, after.machine, count),
	};

	if (output_row(output, &result))
		exit(EXIT_FAILURE);
}

/* --- the objects --------------------------------------------------------------------------------------- */

struct connections {
	struct verbs_device device;
	struct ibv_pd *domain;
	struct verbs_endpoint *queues;
	struct ibv_qp **pairs;
};

static _Noreturn void give_up(const char *what, int error)
{
	fprintf(stderr, "connection_memory: %s: %s\n", what, strerror(error));
	exit(EXIT_FAILURE);
}

static void open_device(struct connections *c, const struct options *options)
{
	int error = rdma_device_open(NULL, &c->device);

	if (error)
		give_up("no RDMA device can be used", -error);
	c->domain = ibv_alloc_pd(c->device.context);
	if (!c->domain)
		give_up("no protection domain", errno);
	/* Written to, so that they do not count as they are used. */
	c->queues = malloc(options->queues * sizeof *c->queues);
	c->pairs = malloc(options->pairs * sizeof *c->pairs);
	if (!c->queues || !c->pairs)
		give_up("no memory", ENOMEM);
	memset(c->queues, 1, options->queues * sizeof *c->queues);
	memset(c->pairs, 1, options->pairs * sizeof *c->pairs);
}

static void make_queues(struct connections *c, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		if (verbs_endpoint_open(&c->device, c->domain, &c->queues[i]))
			exit(EXIT_FAILURE); /* it has said why */
}

static void make_pairs(struct connections *c, uint64_t count, uint64_t queues)
{
	unsigned inline_bytes;

	for (uint64_t i = 0; i < count; i++)
		if (verbs_pair_create(&c->device, &c->queues[i % queues], &c->pairs[i], &inline_bytes))
			exit(EXIT_FAILURE);
}

static void connect_pairs(struct connections *c, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct verbs_end end = {c->pairs[i]->qp_num, FIRST_PACKET};

		if (verbs_pair_connect(&c->device, c->pairs[i], FIRST_PACKET, 0, &c->device.address, &end,
				       10000000000u))
			exit(EXIT_FAILURE);
	}
}

/* So that what a first object costs once (a provider's tables) is not in the figures. */
static void warm_up(struct connections *c)
{
	make_queues(c, 1);
	make_pairs(c, 1, 1);
	connect_pairs(c, 1);
	ibv_destroy_qp(c->pairs[0]);
	verbs_endpoint_close(&c->queues[0], c->domain);
}

static void clear(struct connections *c, const struct options *options)
{
	for (uint64_t i = 0; i < options->pairs; i++)
		ibv_destroy_qp(c->pairs[i]);
	for (uint64_t i = 0; i < options->queues; i++)
		verbs_endpoint_close(&c->queues[i], c->domain);
	ibv_dealloc_pd(c->domain);
	verbs_device_close(&c->device);
	free(c->queues);
	free(c->pairs);
}

static void run(const struct options *options)
{
	struct connections connections = {0}, *c = &connections;
	const struct output output = {stdout, options->line.format, columns,
				      sizeof columns / sizeof columns[0]};

	open_device(c, options);
	warm_up(c);
	output_begin(&output, TITLE, &(struct fact){"device", c->device.name}, 1);
	struct memory start = memory_now(), before = start;
	make_queues(c, options->queues);
	print(&output, options, &c->device, "completion queue", options->queues, &before);
	before = memory_now();
	make_pairs(c, options->pairs, options->queues);
	print(&output, options, &c->device, "queue pair", options->pairs, &before);
	connect_pairs(c, options->pairs);
	print(&output, options, &c->device, "queue pair, connected", options->pairs, &before);
	clear(c, options);
}

/* --- the command line ---------------------------------------------------------------------------------- */

enum { KEY_PAIRS = 'p', KEY_QUEUES = 'q' };

static const struct argp_option argp_options[] = {
    {"pairs", KEY_PAIRS, "N", 0, "queue pairs to make; default: 512", 0},
    {"queues", KEY_QUEUES, "N", 0, "completion queues to make, which they share; default: 64", 0},
    {0},
};

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_PAIRS:
		return argument_number(error, "pairs", text, 1, 1000000, &o->pairs);
	case KEY_QUEUES:
		return argument_number(error, "queues", text, 1, 1000000, &o->queues);
	default:
		return command_line_other(key, state);
	}
}

static const struct argp argp = {
    .options = argp_options,
    .parser = parse_option,
    .children = command_line_common,
    .doc = "Measures what a queue pair and a completion queue cost in memory, made as the runtime makes "
	   "them: one "
	   "queue pair for each lane and peer, one completion queue for each lane.",
};

int main(int argc, char **argv)
{
	struct options options = {.pairs = 512, .queues = 64};
	int status = command_line_read(&argp, "connection_memory", argc, argv, &options.line, NULL);

	if (status >= 0)
		return status;
	run(&options);
	return EXIT_SUCCESS;
}
