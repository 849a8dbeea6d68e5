/*
 * The command line, by argp. See migration_options.h.
 */
#include "bench/migration_options.h"

#include "bench/list.h"
#include "bench/options.h"
#include "kernel/memory.h"

/* Words are numbered with 32 bits (guest.h), and pages must be some for a working set. */
#define MEMORY_LEAST (16 * MIB)
#define MEMORY_MOST (16 * GIB)

static const char *const names[] = {[MODE_STOP_AND_COPY] = "stop-and-copy",
				    [MODE_PRE_COPY] = "pre-copy",
				    [MODE_POST_COPY] = "post-copy",
				    [MODE_MINOR] = "minor",
				    NULL};

static const char *const summaries[] = {
    [MODE_STOP_AND_COPY] = "all is copied while the user is paused",
    [MODE_PRE_COPY] = "rounds while the user goes on; what is left, while it is paused",
    [MODE_POST_COPY] = "switched at once: everything is out of date",
    [MODE_MINOR] = "rounds, the switch, the map of what is out of date, faults",
};

enum {
	KEY_MODE = 'm',
	KEY_PAGE_SIZE = 'p',
	KEY_MEMORY = 'r',
	KEY_RATE = 'w',
	KEY_DELIVERY = 'd',
	KEY_REPETITIONS = 'n',
	KEY_WORKING_SET = 0x100,
	KEY_FAULT_ROUNDS,
	KEY_LIST,
};

static const struct argp_option argp_options[] = {
    {NULL, 0, NULL, 0, "What is moved, and how:", 1},
    {"mode", KEY_MODE, "LIST", 0, "by name or shell pattern, as --list names them; default: all", 0},
    {"page-size", KEY_PAGE_SIZE, "LIST", 0, "4KiB, 2MiB; default: both", 0},
    {"memory", KEY_MEMORY, "LIST", 0, "sizes; default: 256MiB", 0},
    {"rate", KEY_RATE, "LIST", 0, "stores in a second, in percent of the pages; default: 1,10,50", 0},
    {"working-set", KEY_WORKING_SET, "PERCENT", 0, "of the memory that is loaded from; default: 10", 0},
    {"delivery", KEY_DELIVERY, "NAME", 0, "inline, thread-block, thread-spin; default: thread-block", 0},
    {"repetitions", KEY_REPETITIONS, "N", 0, "of each row; default: 1", 0},
    {"fault-rounds", KEY_FAULT_ROUNDS, "N", 0,
     "moves by which single faults are measured, for each page size; default: 5", 0},
    {"list", KEY_LIST, NULL, 0, "say what the modes are, and stop", 0},
    {0},
};

static error_t take_sizes(struct migration_options *o, const char *text, struct number_list *out)
{
	char bad[LIST_ELEMENT_MAX];
	bool fine = !list_parse_sizes(text, MIGRATION_LIST_MAX, out->values, &out->count, bad);

	for (size_t i = 0; fine && i < out->count; i++)
		fine = out->values[i] >= MEMORY_LEAST && out->values[i] <= MEMORY_MOST;
	return fine ? 0 : argument_refuse(o->line.error, "memory", text, "a list of sizes, 16MiB to 16GiB");
}

static error_t take_page_sizes(struct migration_options *o, const char *text)
{
	struct number_list *sizes = &o->page_sizes;
	char bad[LIST_ELEMENT_MAX];
	bool fine = !list_parse_sizes(text, MIGRATION_LIST_MAX, sizes->values, &sizes->count, bad);

	for (size_t i = 0; fine && i < sizes->count; i++)
		fine = sizes->values[i] == 4 * KIB || sizes->values[i] == 2 * MIB;
	return fine ? 0 : argument_refuse(o->line.error, "page-size", text, "4KiB, 2MiB, or both");
}

static error_t take_rates(struct migration_options *o, const char *text)
{
	char bad[LIST_ELEMENT_MAX];

	return list_parse_numbers(text, 0, 1000, MIGRATION_LIST_MAX, o->rates.values, &o->rates.count, bad)
		   ? argument_refuse(o->line.error, "rate", text, "a list of percents, 0 to 1000")
		   : 0;
}

static error_t take_delivery(struct migration_options *o, const char *text)
{
	uint32_t mask;
	error_t error = argument_words(o->line.error, "delivery", text, delivery_names(), &mask);

	if (error)
		return error;
	if (mask & (mask - 1))
		return argument_refuse(o->line.error, "delivery", text, "one of them");
	o->delivery = (unsigned int)__builtin_ctz(mask);
	return 0;
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct migration_options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_MODE:
		return argument_words(error, "mode", text, names, &o->modes);
	case KEY_PAGE_SIZE:
		return take_page_sizes(o, text);
	case KEY_MEMORY:
		return take_sizes(o, text, &o->memory);
	case KEY_RATE:
		return take_rates(o, text);
	case KEY_DELIVERY:
		return take_delivery(o, text);
	case KEY_WORKING_SET:
		return argument_number(error, "working-set", text, 1, 100, &o->working_percent);
	case KEY_REPETITIONS:
		return argument_number(error, "repetitions", text, 1, 1000, &o->repetitions);
	case KEY_FAULT_ROUNDS:
		return argument_number(error, "fault-rounds", text, 1, 1000, &o->fault_rounds);
	case KEY_LIST:
		o->line.action = COMMAND_LIST;
		return 0;
	default:
		return command_line_other(key, state);
	}
}

const struct argp migration_options_argp = {
    .options = argp_options,
    .parser = parse_option,
    .children = command_line_common,
    .doc =
	"Measures what it costs to move memory from node 0 to node 1 while a thread uses it: how long that "
	"thread stands still, how long it is slowed down, what is moved, and what a fault costs on the way.\n"
	"\n"
	"To be started by mpirun on 2 nodes.",
};

const struct migration_options migration_options_defaults = {
    .modes = (1u << MODES) - 1,
    .page_sizes = {{4 * KIB, 2 * MIB}, 2},
    .memory = {{256 * MIB}, 1},
    .rates = {{1, 10, 50}, 3},
    .working_percent = 10,
    .repetitions = 1,
    .fault_rounds = 5,
    .delivery = DELIVERY_THREAD_BLOCK,
};

const char *const *migration_mode_names(void)
{
	return names;
}

void migration_options_print_modes(FILE *stream)
{
	for (unsigned int i = 0; i < MODES; i++)
		fprintf(stream, "%-14s %s\n", names[i], summaries[i]);
}
