/*
 * `mpirun -n 2 minorca migrate`: a virtual machine that moves between two nodes while it runs.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/report.h"
#include "dsm/settings.h"
#include "dsm/tools/commands.h"
#include "dsm/tools/migrate.h"

#define PAGE_BYTES 4096
#define NS_PER_S 1000000000
#define SIZE_TEXT 32

enum { KEY_RATE = 0x100, KEY_BANDWIDTH };

static const struct argp_option options[] = {
    {"memory", 'm', "SIZE", 0, "Memory of what is moved, 4MiB or more (256MiB)", 0},
    {"page-size", 'p', "SIZE", 0, "4KiB, 2MiB or 1GiB (4KiB)", 0},
    {"mode", 'M', "MODE", 0, "minor, pre-copy, post-copy or stop-and-copy (minor)", 0},
    {"workload", 'w', "WHAT", 0,
     "vm, process (a hash table under churn), or auto: vm where every node can run one (auto)", 0},
    {"write-rate", KEY_RATE, "N", 0,
     "Pages of 4 KiB that it stores to in a second; 0: all that it can (a tenth of them)", 0},
    {"bandwidth", KEY_BANDWIDTH, "SIZE", 0,
     "Bytes a second that are copied while it runs, at most; 0: no limit (0)", 0},
    {"seconds", 's', "N", 0, "How long it runs before the first move, between moves, and after the last (2)",
     0},
    {"times", 'n', "N", 0, "How many moves: there, back, there, ... (1)", 0},
    {"json", 'j', NULL, 0, "One JSON object in the end, and nothing else", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const char *const workload_names[] = {"auto", "vm", "process", NULL};

static error_t read_word(struct argp_state *state, const char *option, const char *text,
			 const char *const *words, int *out)
{
	for (int i = 0; words[i]; i++)
		if (!strcmp(text, words[i])) {
			*out = i;
			return 0;
		}
	argp_error(state, "--%s: there is no \"%s\"", option, text);
	return EINVAL;
}

static error_t read_size(struct argp_state *state, const char *option, const char *text, uint64_t *out)
{
	if (setting_read_size(text, out))
		return 0;
	argp_error(state, "--%s: \"%s\" is not a size such as 64MiB", option, text);
	return EINVAL;
}

static error_t read_number(struct argp_state *state, const char *option, const char *text, uint64_t min,
			   uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if (*text >= '0' && *text <= '9' && !*end && number >= min && number <= max) {
		*out = number;
		return 0;
	}
	argp_error(state, "--%s: \"%s\" is not a number from %llu to %llu", option, text,
		   (unsigned long long)min, (unsigned long long)max);
	return EINVAL;
}

static error_t read_seconds(struct argp_state *state, const char *text, uint64_t *out)
{
	int64_t ns;

	if (setting_read_seconds(text, &ns) && ns >= 0) {
		*out = (uint64_t)ns;
		return 0;
	}
	argp_error(state, "--seconds: \"%s\" is not a time in seconds", text);
	return EINVAL;
}

/* What only all of them together can tell. */
static error_t complete(struct argp_state *state, struct migrate_options *o)
{
	if (o->page_bytes != PAGE_BYTES && o->page_bytes != (uint64_t)2 << 20 &&
	    o->page_bytes != (uint64_t)1 << 30) {
		argp_error(state, "--page-size: pages have 4KiB, 2MiB or 1GiB");
		return EINVAL;
	}
	if (o->memory_bytes < WORKLOAD_BYTES_MIN || o->memory_bytes > WORKLOAD_BYTES_MAX ||
	    o->memory_bytes % o->page_bytes) {
		char least[SIZE_TEXT], most[SIZE_TEXT];

		setting_format_size(WORKLOAD_BYTES_MIN, least, sizeof least);
		setting_format_size(WORKLOAD_BYTES_MAX, most, sizeof most);
		argp_error(state, "--memory: whole pages, from %s to %s", least, most);
		return EINVAL;
	}
	if (!o->rate_given)
		o->writes_per_s = o->memory_bytes / PAGE_BYTES / 10;
	return 0;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct migrate_options *o = state->input;
	uint64_t number = 0;
	int word = 0;
	error_t error;

	switch (key) {
	case 'm':
		return read_size(state, "memory", text, &o->memory_bytes);
	case 'p':
		return read_size(state, "page-size", text, &o->page_bytes);
	case 'M':
		error = read_word(state, "mode", text, migrate_mode_names, &word);
		o->mode = (enum dsm_migration_mode)word;
		return error;
	case 'w':
		error = read_word(state, "workload", text, workload_names, &word);
		o->workload = (enum workload_choice)word;
		return error;
	case KEY_RATE:
		o->rate_given = true;
		return read_number(state, "write-rate", text, 0, 1000000000, &o->writes_per_s);
	case KEY_BANDWIDTH:
		return read_size(state, "bandwidth", text, &o->bytes_per_s);
	case 's':
		return read_seconds(state, text, &o->seconds_in_ns);
	case 'n':
		error = read_number(state, "times", text, 1, MOVES_MAX, &number);
		o->moves = (unsigned int)number;
		return error;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", text);
		return 0;
	case ARGP_KEY_END:
		return complete(state, o);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc =
	"Runs a virtual machine on node 0 of a job of two (`mpirun -n 2 minorca migrate`), moves it to node "
	"1 while it "
	"runs, and shows what it says meanwhile, with the number of the node that it is on in front.\v"
	"Exit status: 0 if its heartbeat never went back, none of its own checks failed, and all of its "
	"memory was right in "
	"the end; 1 if not, or if it could not be run; 2 for an argument or a setting that makes no sense.",
};

static int run(const struct migrate_options *o)
{
	static struct migrate_job job;
	bool well;

	if (dsm_nodes() < 2) {
		report("minorca migrate needs two nodes: mpirun -n 2 minorca migrate");
		return STATUS_USAGE;
	}
	job.options = o;
	job.node = dsm_node();
	pthread_mutex_init(&job.lock, NULL);
	well = migrate_run(&job);
	if (job.node == 0 && migrate_print_summary(&job, well))
		well = false;
	pthread_mutex_destroy(&job.lock);
	return well ? STATUS_OK : STATUS_FAILED;
}

int command_migrate(int argc, char **argv)
{
	static struct migrate_options o = {
	    .memory_bytes = (uint64_t)256 << 20,
	    .page_bytes = PAGE_BYTES,
	    .seconds_in_ns = (uint64_t)2 * NS_PER_S,
	    .moves = 1,
	};

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	setvbuf(stdout, NULL, _IOLBF, 0); /* lines, as they come, also into a pipe */
	int error = dsm_init(NULL, NULL);

	if (error)
		return error == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	int status = run(&o);

	return dsm_finalize() && !status ? STATUS_FAILED : status;
}
