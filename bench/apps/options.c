#include "bench/apps/options.h"

#include <stdio.h>
#include <string.h>

#include "bench/list.h"
#include "kernel/memory.h"

#define THREADS_MAX 256
#define REPETITIONS_MAX 1000
#define DEFAULT_REPETITIONS 5

const char *const app_form_names[FORMS + 1] = {"serial", "threads", "mpi", "dsm", NULL};
const char *const app_class_names[CLASSES + 1] = {"S", "W", "A", "B", NULL};

enum {
	KEY_FORM = 'f',
	KEY_THREADS = 't',
	KEY_REPETITIONS = 'r',
	KEY_PAGE_SIZE = 'p',
	KEY_CLASS = 'c',
	KEY_VARIANT = 'v',
	KEY_FILE = 0x100,
	KEY_ANATOMY,
	KEY_PARAMETER = 0x300, /* and those that follow */
};

unsigned int app_parameter_count(const struct app *app)
{
	unsigned int count = 0;

	while (app->parameters[count].name)
		count++;
	return count;
}

static error_t read_class(struct app_options *o, const char *text)
{
	for (unsigned int i = 0; i < CLASSES; i++)
		if (!strcasecmp(text, app_class_names[i])) {
			o->problem_class = i;
			return 0;
		}
	return argument_refuse(o->line.error, "class", text, "S, W, A or B");
}

static error_t read_page_size(struct app_options *o, const char *text)
{
	if (argument_size(o->line.error, "page-size", text, &o->page_bytes))
		return EINVAL;
	return memory_page_size_is_known(o->page_bytes)
		   ? 0
		   : argument_refuse(o->line.error, "page-size", text, "4KiB, 2MiB or 1GiB");
}

static error_t read_parameter(struct app_options *o, unsigned int index, const char *text)
{
	const struct app_parameter *parameter = &o->app->parameters[index];

	o->value_given[index] = true;
	return argument_number(o->line.error, parameter->name, text, parameter->minimum, parameter->maximum,
			       &o->values[index]);
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct app_options *o = state->input;
	char *error = o->line.error;

	switch (key) {
	case KEY_FORM:
		o->forms_asked = true;
		return argument_words(error, "form", text, app_form_names, &o->forms);
	case KEY_THREADS:
		return argument_number(error, "threads", text, 1, THREADS_MAX, &o->threads);
	case KEY_REPETITIONS:
		return argument_number(error, "repetitions", text, 1, REPETITIONS_MAX, &o->repetitions);
	case KEY_PAGE_SIZE:
		return read_page_size(o, text);
	case KEY_CLASS:
		return read_class(o, text);
	case KEY_VARIANT:
		return argument_words(error, "variant", text, o->app->variants, &o->variants);
	case KEY_ANATOMY:
		o->anatomy = true;
		return 0;
	case KEY_FILE:
		o->file = text;
		return 0;
	default:
		if (key >= KEY_PARAMETER && key < KEY_PARAMETER + APP_PARAMETERS_MAX)
			return read_parameter(o, (unsigned int)(key - KEY_PARAMETER), text);
		return command_line_other(key, state);
	}
}

static const struct argp_option common_options[] = {
    {"form", KEY_FORM, "LIST", 0,
     "serial, threads, mpi, dsm; default: all. The serial form is run in any case", 1},
    {"threads", KEY_THREADS, "N", 0,
     "workers of each node; default: 1. The threads form has as many workers as all nodes together", 1},
    {"class", KEY_CLASS, "LETTER", 0, "size of the problem: S (a test), W, A, B; default: W", 2},
    {"page-size", KEY_PAGE_SIZE, "SIZE", 0,
     "of shared arrays: 4KiB, 2MiB, 1GiB; default: what suits the application", 3},
    {"repetitions", KEY_REPETITIONS, "N", 0, "of each form, in turn; the best is printed; default: 5", 3},
    {"anatomy", KEY_ANATOMY, NULL, 0,
     "where the time of the Minorca form goes, by one run more, whose own time is not printed as a result",
     3},
};

#define COMMON (sizeof common_options / sizeof common_options[0])
#define EXTRA_MAX (APP_PARAMETERS_MAX + 3) /* --variant, --file, and the end */

static void list_options(const struct app *app, struct argp_option *out)
{
	memcpy(out, common_options, sizeof common_options);
	out += COMMON;
	for (unsigned int i = 0; app->parameters[i].name; i++)
		*out++ = (struct argp_option){.name = app->parameters[i].name,
					      .key = KEY_PARAMETER + (int)i,
					      .arg = "N",
					      .doc = app->parameters[i].help,
					      .group = 2};
	if (app->variants)
		*out++ = (struct argp_option){.name = "variant",
					      .key = KEY_VARIANT,
					      .arg = "LIST",
					      .doc = "which of the variants; default: all",
					      .group = 1};
	if (app->reads_file)
		*out++ = (struct argp_option){
		    .name = "file",
		    .key = KEY_FILE,
		    .arg = "PATH",
		    .doc = "a graph: an edge (two numbers) in each line, # begins a comment",
		    .group = 2};
	*out = (struct argp_option){0};
}

int app_options_read(const struct app *app, int argc, char **argv, struct app_options *out)
{
	struct argp_option options[COMMON + EXTRA_MAX];
	struct argp argp = {
	    .options = options, .parser = parse_option, .doc = app->help, .children = command_line_common};
	char program[64];

	list_options(app, options);
	*out = (struct app_options){
	    .app = app,
	    .forms = (1u << FORMS) - 1,
	    .variants = UINT32_MAX,
	    .threads = 1,
	    .repetitions = DEFAULT_REPETITIONS,
	    .page_bytes = app->page_bytes,
	    .problem_class = CLASS_W,
	};
	snprintf(program, sizeof program, "app_%s", app->name);
	int status = command_line_read(&argp, program, argc, argv, &out->line, NULL);
	for (unsigned int i = 0; app->parameters[i].name; i++)
		if (!out->value_given[i])
			out->values[i] = app->parameters[i].of_class[out->problem_class];
	return status;
}
