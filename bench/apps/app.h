/*
 * An application in several forms: serial, plain threads, MPI, Minorca.
 *
 * app_main() does what they have in common: it reads the command line, runs the forms in turn, takes the
 * time, compares each result with that of the serial form, and prints a row for each form. The serial form is
 * the threads' with one worker.
 */
#ifndef MINORCA_BENCH_APPS_APP_H
#define MINORCA_BENCH_APPS_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/apps/worker.h"

enum app_class { CLASS_S, CLASS_W, CLASS_A, CLASS_B, CLASSES };

#define APP_PARAMETERS_MAX 6
#define APP_WRONG_MESSAGE_MAX 160

/* A number that says what the problem is: an option. */
struct app_parameter {
	const char *name, *help;
	uint64_t minimum, maximum;
	uint64_t of_class[CLASSES];
};

/* What is to be computed. Immutable while workers run. */
struct problem {
	uint64_t values[APP_PARAMETERS_MAX]; /* of the parameters, in their order */
	unsigned int variant;		     /* which of the variants */
	const char *file;		     /* --file; NULL: none */
	void *prepared;			     /* what prepare() made */
};

struct app {
	const char *name, *title;
	const char *help;
	const struct app_parameter *parameters; /* up to APP_PARAMETERS_MAX; ends with one without a name */
	const char *const *variants;	/* ways to do it, each a row; NULL-terminated; NULL: one way */
	const char *const *shared_only; /* NULL; or those of the variants that have no MPI form of their own,
					   NULL-terminated */
	bool reads_file;		/* there is an option --file */
	size_t page_bytes;		/* of shared arrays, unless --page-size says */

	/* Of what the rate is, and how much of it a run does. */
	const char *rate_unit;
	double (*work)(const struct problem *problem);

	/* NULL, or: what all runs use and none changes (a graph, say). On each node, once. */
	void (*prepare)(struct problem *problem);
	void (*unprepare)(struct problem *problem);

	/* What follows is called in this order for each run. @state: zeroed, one for each node, of
	 * @state_bytes. Not timed but for run() and run_mpi(). */
	size_t state_bytes;
	/* Allocates what is shared: on each node, in shared forms. */
	void (*allocate)(const struct problem *problem, struct shared *shared, unsigned int workers,
			 void *state);
	/* Each worker, in all forms: allocates and makes its part of the input. A barrier follows. */
	void (*start)(const struct problem *problem, struct worker *worker, void *state);
	/* Each worker; barriers before and after are in the time. */
	void (*run)(const struct problem *problem, struct worker *worker, void *state);
	void (*run_mpi)(const struct problem *problem, struct worker *worker, void *state);
	/* NULL, or: each worker, in shared forms: puts what only it has where worker 0 sees it. A barrier
	 * follows. */
	void (*finish)(const struct problem *problem, struct worker *worker, void *state);
	/* Brings the result together at worker 0: by that one alone in shared forms, by all in MPI's. */
	void (*collect)(const struct problem *problem, struct worker *worker, void *state, void *result);
	size_t (*result_bytes)(const struct problem *problem);

	/* On node 0. How much of @result is not what the serial form's is. */
	uint64_t (*compare)(const struct problem *problem, const void *result, const void *serial);
	/* NULL, or: how much may be, by the rules of this application. */
	uint64_t (*allowed)(const struct problem *problem);
	/* NULL, or: what is wrong with it in itself (the serial one too); nothing: leave it. */
	void (*validate)(const struct problem *problem, const void *result,
			 char wrong[APP_WRONG_MESSAGE_MAX]);
};

/** main() of an application. @return the exit status. */
int app_main(const struct app *app, int argc, char **argv);

/** MPI: brings @bytes at @part of every rank to rank 0, one behind the other; any size. */
void app_gather(struct worker *worker, const void *part, size_t bytes, void *all);

#endif
