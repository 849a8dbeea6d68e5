/*
 * The command line, by argp. See options.h.
 */
#include "bench/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/argument.h"
#include "bench/cases.h"
#include "bench/list.h"
#include "kernel/memory.h"

#define THREADS_MAX 256
#define DEFAULT_TIME_S 45

enum {
	KEY_CASE = 'c',
	KEY_PAGE_SIZE = 'p',
	KEY_DELIVERY = 'd',
	KEY_ACCESS = 'a',
	KEY_THREADS = 't',
	KEY_BLOCKS = 'b',
	KEY_ITERATIONS = 'i',
	KEY_REGION_BYTES = 'r',
	KEY_SEED = 's',
	KEY_TIME = 0x100,
	KEY_LIST,
	KEY_FLOOR_ONLY,
	KEY_DISTRIBUTION,
	KEY_ANATOMY,
	KEY_KERNEL,
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "What is measured (LIST: words separated by commas):", 1},
    {"case", KEY_CASE, "LIST", 0, "cases, by name or shell pattern, as --list names them; default: all", 0},
    {"page-size", KEY_PAGE_SIZE, "LIST", 0,
     "4KiB, 2MiB, 1GiB; default: all for which there are enough hugepages", 0},
    {"delivery", KEY_DELIVERY, "LIST", 0, "inline, thread-spin, thread-block; default: all", 0},
    {"access", KEY_ACCESS, "LIST", 0, "read, write; default: both where a case has both", 0},
    {"threads", KEY_THREADS, "LIST", 0, "threads of each node that fault at the same time; default: 1,2", 0},
    {"blocks", KEY_BLOCKS, "LIST", 0,
     "fetch_blocks: how many of the 64 blocks of a page are out of date; default: 1,4,16,64", 0},
    {"floor-only", KEY_FLOOR_ONLY, NULL, 0, "measure the floors alone, without the runtime", 0},
    {"anatomy", KEY_ANATOMY, NULL, 0,
     "how long each stage of a fault takes, by the runtime's own trace, in place of all else", 0},
    {"kernel", KEY_KERNEL, NULL, 0,
     "with --anatomy: the stages of the kernel's part, by its tracepoints, with one thread; needs root", 0},
    {"distribution", KEY_DISTRIBUTION, NULL, 0, "with --json: quantiles of each row, to plot", 0},
    {"list", KEY_LIST, NULL, 0, "say what the cases are, and stop", 0},

    {NULL, 0, NULL, 0, "How long and how large:", 2},
    {"time", KEY_TIME, "SECONDS", 0, "for all cases together; default: 45", 0},
    {"iterations", KEY_ITERATIONS, "N", 0,
     "at least N samples of each case from each thread, whatever the time", 0},
    {"region-bytes", KEY_REGION_BYTES, "SIZE", 0,
     "memory that each measuring node faults on; default: by page size, less if hugepages are few", 0},
    {"seed", KEY_SEED, "N", 0, "of the order of pages and the choice of blocks; default: 1", 0},

    {0},
};

static const char documentation[] = "Measures how long a page fault on distributed shared memory takes, case "
				    "by case, beside the floor: the same "
				    "kernel work and the same copy by the barest code, in the same run.\n"
				    "\n"
				    "To be started by mpirun on 2 nodes or more: node 0 is home of all pages "
				    "and changes them, the others touch "
				    "them and measure.";

const char *const *delivery_names(void)
{
	static const char *const names[DELIVERY_COUNT + 1] = {
	    [DELIVERY_INLINE] = "inline",
	    [DELIVERY_THREAD_SPIN] = "thread-spin",
	    [DELIVERY_THREAD_BLOCK] = "thread-block",
	};

	return names;
}

/* --- values -------------------------------------------------------------------------------------------- */

static error_t take_numbers(struct options *o, const char *option, const char *text, uint64_t maximum,
			    struct option_list *list)
{
	char bad[LIST_ELEMENT_MAX], expected[64];
	int error = list_parse_numbers(text, 1, maximum, OPTIONS_LIST_MAX, list->values, &list->count, bad);

	list->given = true;
	if (!error)
		return 0;
	snprintf(expected, sizeof expected, "a number from 1 to %" PRIu64 ", or one too many", maximum);
	if (error != -E2BIG)
		*strchr(expected, ',') = '\0';
	return argument_refuse(o->line.error, option, bad, expected);
}

static error_t take_page_sizes(struct options *o, const char *text)
{
	struct option_list *list = &o->page_sizes;
	char bad[LIST_ELEMENT_MAX];

	list->given = true;
	if (list_parse_sizes(text, OPTIONS_LIST_MAX, list->values, &list->count, bad))
		return argument_refuse(o->line.error, "page-size", bad, "4KiB, 2MiB or 1GiB");
	for (size_t i = 0; i < list->count; i++)
		if (!memory_page_size_is_known(list->values[i]))
			return argument_refuse(o->line.error, "page-size", text,
					       "a list of 4KiB, 2MiB, 1GiB");
	return 0;
}

/* --- argp ---------------------------------------------------------------------------------------------- */

/* What goes with what. The kernel's events are told apart by thread, and one of them is followed. */
static error_t check_together(struct options *o)
{
	const char *wrong = NULL;

	if (o->distribution && o->line.format != OUTPUT_JSON)
		wrong = "--distribution: needs --json";
	else if (o->kernel && !o->anatomy)
		wrong = "--kernel: needs --anatomy";
	else if (o->kernel && o->threads.given && (o->threads.count > 1 || o->threads.values[0] != 1))
		wrong = "--kernel: needs --threads 1";
	else if (o->kernel)
		o->threads = (struct option_list){.values = {1}, .count = 1};
	if (wrong)
		snprintf(o->line.error, ARGUMENT_ERROR_MAX, "%s", wrong);
	return wrong ? EINVAL : 0;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_CASE:
		return argument_words(error, "case", text, cases_names(), &o->cases);
	case KEY_DELIVERY:
		o->deliveries_given = true;
		return argument_words(error, "delivery", text, delivery_names(), &o->deliveries);
	case KEY_ACCESS:
		return argument_words(error, "access", text, access_names(), &o->accesses);
	case KEY_PAGE_SIZE:
		return take_page_sizes(o, text);
	case KEY_THREADS:
		return take_numbers(o, "threads", text, THREADS_MAX, &o->threads);
	case KEY_BLOCKS:
		return take_numbers(o, "blocks", text, blocks_per_page(2 * MIB), &o->blocks);
	case KEY_ITERATIONS:
		return argument_number(error, "iterations", text, 1, 100000000, &o->iterations);
	case KEY_TIME:
		return argument_number(error, "time", text, 1, 1000000, &o->time_s);
	case KEY_SEED:
		return argument_number(error, "seed", text, 0, UINT64_MAX, &o->seed);
	case KEY_REGION_BYTES:
		return argument_size(error, "region-bytes", text, &o->region_bytes);
	case KEY_FLOOR_ONLY:
		o->floor_only = true;
		return 0;
	case KEY_DISTRIBUTION:
		o->distribution = true;
		return 0;
	case KEY_ANATOMY:
		o->anatomy = true;
		return 0;
	case KEY_KERNEL:
		o->kernel = true;
		return 0;
	case KEY_LIST:
		o->line.action = COMMAND_LIST;
		return 0;
	case ARGP_KEY_END:
		return check_together(o);
	default:
		return command_line_other(key, state);
	}
}

const struct argp options_argp = {
    .options = argp_options,
    .parser = parse_option,
    .doc = documentation,
    .children = command_line_common,
};

const struct options options_defaults = {
    .cases = UINT32_MAX,
    .deliveries = UINT32_MAX,
    .accesses = UINT32_MAX,
    .page_sizes = {{4 * KIB, 2 * MIB, 1 * GIB}, 3, false},
    .threads = {{1, 2}, 2, false},
    .blocks = {{1, 4, 16, 64}, 4, false},
    .time_s = DEFAULT_TIME_S,
    .seed = 1,
};

void options_print_cases(FILE *stream)
{
	size_t count;
	const struct fault_case *cases = cases_table(&count);

	for (size_t i = 0; i < count; i++)
		fprintf(stream, "%-15s %s\n", cases[i].name, cases[i].summary);
}
