/*
 * The command line of an application.
 */
#ifndef MINORCA_BENCH_APPS_OPTIONS_H
#define MINORCA_BENCH_APPS_OPTIONS_H

#include "bench/apps/app.h"
#include "bench/command_line.h"

struct app_options {
	struct command_line line;
	const struct app *app;
	uint32_t forms;	  /* mask of 1 << enum form; the serial one is always run */
	bool forms_asked; /* --form was given */
	bool anatomy;
	uint32_t variants; /* mask */
	uint64_t threads;  /* workers of a node */
	uint64_t repetitions;
	uint64_t page_bytes;
	enum app_class problem_class;
	bool value_given[APP_PARAMETERS_MAX];
	uint64_t values[APP_PARAMETERS_MAX];
	const char *file;
};

extern const char *const app_form_names[FORMS + 1];
extern const char *const app_class_names[CLASSES + 1];

/** How many parameters an application has. */
unsigned int app_parameter_count(const struct app *app);

/** Reads the command line before MPI is there; see command_line_read(). @return the exit status; -1: run. */
int app_options_read(const struct app *app, int argc, char **argv, struct app_options *out);

#endif
