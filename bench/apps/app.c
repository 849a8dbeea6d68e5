/*
 * What applications have in common: forms in turn, time, verification, rows. See app.h.
 */
#include "bench/apps/app.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/anatomy.h"
#include "bench/apps/options.h"
#include "bench/host.h"
#include "bench/job.h"
#include "bench/output.h"
#include "bench/placement.h"
#include "bench/team.h"

/* --- results ------------------------------------------------------------------------------------------- */

/* What one run of a form came to; of all nodes together. */
struct measure {
	uint64_t ns;		      /* of the worker that took longest from barrier to barrier */
	uint64_t barrier_ns, call_ns; /* of all workers */
	uint64_t page_bytes;
	uint64_t faults_here; /* of this node alone */
	struct dsm_stats stats;
	struct anatomy anatomy; /* of a traced run */
};

/* One row. */
struct result {
	const char *benchmark, *name, *variant, *form, *problem_class, *parameters, *transport, *rate_unit,
	    *host, *commit;
	uint64_t nodes, threads, workers, size, page_size_bytes, repetitions;
	double seconds, serial_seconds, speed_up, rate;
	uint64_t verified, errors;
	uint64_t faults, faults_read, faults_write, faults_upgrade, bytes_fetched, bytes_published,
	    pages_prefetched, pages_read_ahead;
	double outside_seconds, compute_seconds, fault_seconds, barrier_seconds, other_seconds;
	double trap_seconds, data_seconds, map_seconds, rest_seconds; /* of faults */
	double lock_seconds, unlock_seconds, atomic_seconds, prefetch_seconds, consistency_seconds;
	double anatomy_seconds, accounted_ratio;
	uint64_t fault_mean_ns[ANATOMY_KINDS], faults_left_out, moment_cost_ns;
};

#define AT(field) offsetof(struct result, field)

static const struct column columns[] = {
    {"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)},
    {"name", NULL, 0, COLUMN_TEXT, AT(name)},
    {"variant", "Variant", -10, COLUMN_TEXT, AT(variant)},
    {"form", "Form", -7, COLUMN_TEXT, AT(form)},
    {"nodes", "Nodes", 5, COLUMN_COUNT, AT(nodes)},
    {"threads", "Thr", 3, COLUMN_COUNT, AT(threads)},
    {"workers", NULL, 0, COLUMN_COUNT, AT(workers)},
    {"class", NULL, 0, COLUMN_TEXT, AT(problem_class)},
    {"size", NULL, 0, COLUMN_COUNT, AT(size)},
    {"parameters", NULL, 0, COLUMN_TEXT, AT(parameters)},
    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},
    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},
    {"repetitions", NULL, 0, COLUMN_COUNT, AT(repetitions)},
    {"seconds", "Seconds", 8, COLUMN_SECONDS, AT(seconds)},
    {"serial_seconds", NULL, 0, COLUMN_SECONDS, AT(serial_seconds)},
    {"speed_up", "Speed-up", 8, COLUMN_RATIO, AT(speed_up)},
    {"rate", "Rate", 9, COLUMN_RATIO, AT(rate)},
    {"rate_unit", "", -8, COLUMN_TEXT, AT(rate_unit)},
    {"verified", "Right", 5, COLUMN_BOOL, AT(verified)},
    {"errors", NULL, 0, COLUMN_COUNT, AT(errors)},
    {"faults", "Faults", 8, COLUMN_COUNT, AT(faults)},
    {"faults_read", NULL, 0, COLUMN_COUNT, AT(faults_read)},
    {"faults_write", NULL, 0, COLUMN_COUNT, AT(faults_write)},
    {"faults_upgrade", NULL, 0, COLUMN_COUNT, AT(faults_upgrade)},
    {"pages_prefetched", NULL, 0, COLUMN_COUNT, AT(pages_prefetched)},
    {"pages_read_ahead", NULL, 0, COLUMN_COUNT, AT(pages_read_ahead)},
    {"bytes_fetched", "Fetched", 11, COLUMN_COUNT, AT(bytes_fetched)},
    {"bytes_published", "Published", 11, COLUMN_COUNT, AT(bytes_published)},
    {"outside_seconds", "Outside", 8, COLUMN_SECONDS, AT(outside_seconds)},
    {"compute_seconds", NULL, 8, COLUMN_SECONDS, AT(compute_seconds)},
    {"fault_seconds", NULL, 8, COLUMN_SECONDS, AT(fault_seconds)},
    {"barrier_seconds", "Barrier", 8, COLUMN_SECONDS, AT(barrier_seconds)},
    {"other_seconds", "Other", 8, COLUMN_SECONDS, AT(other_seconds)},
    {"fault_trap_seconds", NULL, 8, COLUMN_SECONDS, AT(trap_seconds)},
    {"fault_data_seconds", NULL, 8, COLUMN_SECONDS, AT(data_seconds)},
    {"fault_map_seconds", NULL, 8, COLUMN_SECONDS, AT(map_seconds)},
    {"fault_rest_seconds", NULL, 8, COLUMN_SECONDS, AT(rest_seconds)},
    {"fault_read_mean_ns", NULL, 8, COLUMN_NS, AT(fault_mean_ns[DSM_FAULT_READ])},
    {"fault_write_mean_ns", NULL, 8, COLUMN_NS, AT(fault_mean_ns[DSM_FAULT_WRITE])},
    {"fault_upgrade_mean_ns", NULL, 8, COLUMN_NS, AT(fault_mean_ns[DSM_FAULT_UPGRADE])},
    {"lock_seconds", NULL, 8, COLUMN_SECONDS, AT(lock_seconds)},
    {"unlock_seconds", NULL, 8, COLUMN_SECONDS, AT(unlock_seconds)},
    {"atomic_seconds", NULL, 8, COLUMN_SECONDS, AT(atomic_seconds)},
    {"prefetch_seconds", NULL, 8, COLUMN_SECONDS, AT(prefetch_seconds)},
    {"consistency_seconds", NULL, 8, COLUMN_SECONDS, AT(consistency_seconds)},
    {"anatomy_seconds", NULL, 8, COLUMN_SECONDS, AT(anatomy_seconds)},
    {"accounted_ratio", NULL, 8, COLUMN_RATIO, AT(accounted_ratio)},
    {"faults_left_out", NULL, 8, COLUMN_COUNT, AT(faults_left_out)},
    {"moment_cost_ns", NULL, 0, COLUMN_COUNT, AT(moment_cost_ns)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

#define COLUMN_COUNT_OF_ROWS (sizeof columns / sizeof columns[0])

/* What is in the table of a run with --anatomy as well. */
static const struct {
	const char *name, *heading;
} anatomy_headings[] = {
    {"compute_seconds", "Compute"},	   {"fault_seconds", "Faults"},
    {"fault_trap_seconds", "Trap"},	   {"fault_data_seconds", "Data"},
    {"fault_map_seconds", "Map"},	   {"fault_rest_seconds", "Rest"},
    {"fault_read_mean_ns", "Read/us"},	   {"fault_write_mean_ns", "Write/us"},
    {"fault_upgrade_mean_ns", "Upgr./us"}, {"lock_seconds", "Lock"},
    {"unlock_seconds", "Unlock"},	   {"atomic_seconds", "Atomics"},
    {"prefetch_seconds", "Prefetch"},	   {"consistency_seconds", "Consist."},
    {"anatomy_seconds", "Traced"},	   {"faults_left_out", "Left out"},
};

/* --- the session --------------------------------------------------------------------------------------- */

struct session {
	const struct app *app;
	struct app_options options;
	struct job job;
	struct problem problem;
	struct placement placement;
	struct team *team;	/* of this node's threads; node 0 has those of the threads form */
	unsigned int team_size; /* of the threads form */
	struct host host;
	char parameters[256];

	struct anatomy_scale scale; /* with --anatomy */

	void *result, *serial; /* node 0 */
	bool serial_kept;
};

static bool runs(const struct session *session, enum form form)
{
	return session->options.forms & (1u << form) || form == FORM_SERIAL;
}

static bool has_many_nodes(enum form form)
{
	return form == FORM_MPI || form == FORM_DSM;
}

/* Workers of each node that takes part. */
static unsigned int threads_of(const struct session *session, enum form form)
{
	switch (form) {
	case FORM_SERIAL:
		return 1;
	case FORM_THREADS:
		return session->team_size;
	case FORM_MPI:
	case FORM_DSM:
	default:
		return (unsigned int)session->options.threads;
	}
}

static unsigned int nodes_of(const struct session *session, enum form form)
{
	return has_many_nodes(form) ? (unsigned int)session->job.nodes : 1;
}

/* --- one run ------------------------------------------------------------------------------------------- */

struct run {
	const struct app *app;
	const struct problem *problem;
	struct shared *shared;
	void *state;
	bool traced;
	uint64_t faults_expected; /* of this node */
};

static void start_worker(void *argument, unsigned int thread)
{
	struct run *run = argument;
	struct worker *worker = shared_worker(run->shared, thread);

	run->app->start(run->problem, worker, run->state);
	worker_barrier(worker);
}

static void count_from_now_on(const struct run *run)
{
	if (dsm_stats_reset())
		job_fail("no statistics");
	if (run->traced)
		anatomy_start(run->faults_expected);
}

static void time_worker(void *argument, unsigned int thread)
{
	struct run *run = argument;
	struct worker *worker = shared_worker(run->shared, thread);

	worker_barrier(worker);
	if (worker->form == FORM_DSM && thread == 0)
		count_from_now_on(run);
	worker_barrier(worker); /* no thread of this node counts anything before that */
	worker->barrier_ns = worker->call_ns = 0;
	worker->watched = run->traced;
	uint64_t began_ns = timer_now_ns();
	if (worker->form == FORM_MPI)
		run->app->run_mpi(run->problem, worker, run->state);
	else
		run->app->run(run->problem, worker, run->state);
	worker_barrier(worker);
	worker->run_ns = timer_now_ns() - began_ns;
}

static void finish_worker(void *argument, unsigned int thread)
{
	struct run *run = argument;
	struct worker *worker = shared_worker(run->shared, thread);

	run->app->finish(run->problem, worker, run->state);
	worker_barrier(worker);
}

static void collect(struct session *session, struct run *run)
{
	struct worker *worker = shared_worker(run->shared, 0);

	if (worker->form == FORM_MPI || worker->rank == 0)
		session->app->collect(run->problem, worker, run->state, session->result);
}

/* Reads the statistics into @measure, and the workers' clocks. */
static void note(struct run *run, enum form form, unsigned int threads, struct measure *measure)
{
	*measure = (struct measure){.page_bytes = shared_page_bytes(run->shared)};
	for (unsigned int i = 0; i < threads; i++) {
		const struct worker *worker = shared_worker(run->shared, i);
		if (worker->run_ns > measure->ns)
			measure->ns = worker->run_ns;
		measure->barrier_ns += worker->barrier_ns;
		measure->call_ns += worker->call_ns;
	}
	if (form != FORM_DSM)
		return;
	if (dsm_stats(&measure->stats))
		job_fail("no statistics");
	measure->faults_here = measure->stats.faults;
	/* What the runtime waited for other nodes, without publishing and acquiring; the last words of the
	 * barrier before are in it. */
	measure->barrier_ns = measure->stats.barrier_wait_ns * threads;
	if (measure->barrier_ns > measure->call_ns)
		measure->barrier_ns = measure->call_ns;
}

/* @expected: NULL, or what the run is to be taken apart for: a run before it. */
static void run_here(struct session *session, enum form form, const struct measure *expected,
		     struct measure *measure)
{
	const struct app *app = session->app;
	unsigned int threads = threads_of(session, form), nodes = nodes_of(session, form);
	struct run run = {.app = app,
			  .problem = &session->problem,
			  .state = calloc(1, app->state_bytes),
			  .traced = expected != NULL,
			  .faults_expected = expected ? expected->faults_here : 0};

	if (!run.state)
		job_fail("no memory for the state of a run");
	run.shared = shared_begin(form, has_many_nodes(form) ? (unsigned int)session->job.node : 0, nodes,
				  threads, session->options.page_bytes);
	if (form != FORM_MPI)
		app->allocate(&session->problem, run.shared, threads * nodes, run.state);
	team_run(session->team, threads, start_worker, &run);
	team_run(session->team, threads, time_worker, &run);
	note(&run, form, threads, measure);
	if (run.traced)
		anatomy_end(&session->scale, run.shared, threads, &measure->anatomy);
	if (form != FORM_MPI && app->finish)
		team_run(session->team, threads, finish_worker, &run);
	collect(session, &run);
	job_meet();
	shared_end(run.shared);
	free(run.state);
}

/* Node 0's view of all nodes. */
static void sum_nodes(struct measure *measure)
{
	struct dsm_stats *s = &measure->stats;
	uint64_t *sums[] = {&measure->barrier_ns, &measure->call_ns,   &s->faults,	  &s->faults_read,
			    &s->faults_write,	  &s->faults_upgrade,  &s->bytes_fetched, &s->bytes_published,
			    &s->pages_prefetched, &s->pages_read_ahead};

	for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
		*sums[i] = job_sum(*sums[i]);
	uint64_t numbers[ANATOMY_NUMBERS];
	memcpy(numbers, &measure->anatomy, sizeof numbers);
	for (size_t i = 0; i < ANATOMY_NUMBERS; i++)
		numbers[i] = job_sum(numbers[i]);
	memcpy(&measure->anatomy, numbers, sizeof numbers);
	measure->ns = ~job_minimum(~measure->ns); /* the maximum */
}

static struct measure run_form(struct session *session, enum form form, const struct measure *expected)
{
	struct measure measure = {0};

	job_meet();
	if (session->job.node == 0 || has_many_nodes(form))
		run_here(session, form, expected, &measure);
	else
		job_meet(); /* that of run_here() */
	sum_nodes(&measure);
	return measure;
}

/* --- verification -------------------------------------------------------------------------------------- */

/* Node 0. @return how much is wrong; ends the job if that is too much. */
static uint64_t verify(struct session *session, enum form form)
{
	const struct app *app = session->app;
	char wrong[APP_WRONG_MESSAGE_MAX] = "";

	if (app->validate)
		app->validate(&session->problem, session->result, wrong);
	if (wrong[0])
		job_fail("the result of form \"%s\" is wrong: %s", app_form_names[form], wrong);
	if (form == FORM_SERIAL && !session->serial_kept) {
		memcpy(session->serial, session->result, app->result_bytes(&session->problem));
		session->serial_kept = true;
		return 0;
	}
	uint64_t errors = app->compare(&session->problem, session->result, session->serial);
	uint64_t allowed = app->allowed ? app->allowed(&session->problem) : 0;
	if (errors > allowed)
		job_fail("the result of form \"%s\" is wrong: %" PRIu64
			 " of its parts are not what the serial form's "
			 "are, and %" PRIu64 " may be",
			 app_form_names[form], errors, allowed);
	return errors;
}

/* --- rows ---------------------------------------------------------------------------------------------- */

static double seconds(uint64_t ns, uint64_t shares)
{
	return (double)ns / 1e9 / (double)shares;
}

static void add_statistics(const struct measure *measure, struct result *row)
{
	row->page_size_bytes = measure->page_bytes ? measure->page_bytes : OUTPUT_ABSENT;
	row->faults = measure->stats.faults;
	row->faults_read = measure->stats.faults_read;
	row->faults_write = measure->stats.faults_write;
	row->faults_upgrade = measure->stats.faults_upgrade;
	row->pages_prefetched = measure->stats.pages_prefetched;
	row->pages_read_ahead = measure->stats.pages_read_ahead;
	row->bytes_fetched = measure->stats.bytes_fetched;
	row->bytes_published = measure->stats.bytes_published;
}

static void add_no_statistics(struct result *row)
{
	row->page_size_bytes = row->faults = row->faults_read = row->faults_write = row->faults_upgrade =
	    row->pages_prefetched = row->pages_read_ahead = row->bytes_fetched = row->bytes_published =
		OUTPUT_ABSENT;
}

/* Means over workers. In the Minorca form, faults are outside of calls, as computing is. */
static void add_parts(enum form form, const struct measure *measure, struct result *row)
{
	double calls = seconds(measure->call_ns, row->workers);

	row->outside_seconds = fmax(row->seconds - calls, 0);
	row->compute_seconds = form == FORM_DSM ? NAN : row->outside_seconds;
	row->barrier_seconds = seconds(measure->barrier_ns, row->workers);
	row->other_seconds = fmax(calls - row->barrier_seconds, 0);
	row->fault_seconds = row->trap_seconds = row->data_seconds = row->map_seconds = row->rest_seconds =
	    row->lock_seconds = row->unlock_seconds = row->atomic_seconds = row->prefetch_seconds =
		row->consistency_seconds = row->anatomy_seconds = row->accounted_ratio = NAN;
	row->faults_left_out = row->moment_cost_ns = OUTPUT_ABSENT;
	for (unsigned int i = 0; i < ANATOMY_KINDS; i++)
		row->fault_mean_ns[i] = OUTPUT_ABSENT;
}

static uint64_t total(const uint64_t *numbers, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += numbers[i];
	return sum;
}

/* The time outside of calls, in the proportions of the traced run. */
static void split_outside(const struct anatomy *anatomy, struct result *row)
{
	uint64_t faults_ns = total(anatomy->fault_ns, ANATOMY_KINDS);
	uint64_t all_ns =
	    anatomy->compute_ns + faults_ns + anatomy->lock_ns + anatomy->unlock_ns + anatomy->atomic_ns;
	double share = all_ns ? row->outside_seconds / (double)all_ns : 0;

	row->compute_seconds = share * (double)anatomy->compute_ns;
	row->fault_seconds = share * (double)faults_ns;
	row->trap_seconds = share * (double)anatomy->stage_ns[STAGE_TRAP];
	row->data_seconds = share * (double)anatomy->stage_ns[STAGE_DATA];
	row->map_seconds = share * (double)anatomy->stage_ns[STAGE_MAP];
	row->rest_seconds = share * (double)anatomy->stage_ns[STAGE_REST];
	row->lock_seconds = share * (double)anatomy->lock_ns;
	row->unlock_seconds = share * (double)anatomy->unlock_ns;
	row->atomic_seconds = share * (double)anatomy->atomic_ns;
}

/* Likewise that of calls which is not waiting in barriers. */
static void split_calls(const struct measure *traced, struct result *row)
{
	uint64_t all_ns = traced->call_ns - traced->barrier_ns, prefetch_ns = traced->anatomy.prefetch_ns;
	double share = all_ns ? (double)(prefetch_ns < all_ns ? prefetch_ns : all_ns) / (double)all_ns : 0;

	row->prefetch_seconds = row->other_seconds * share;
	row->consistency_seconds = row->other_seconds - row->prefetch_seconds;
}

static void add_anatomy(const struct session *session, const struct measure *traced, struct result *row)
{
	const struct anatomy *anatomy = &traced->anatomy;
	uint64_t kept = total(anatomy->faults, ANATOMY_KINDS);
	double all = kept ? (double)(kept + anatomy->left_out) / (double)kept : 1;

	split_outside(anatomy, row);
	split_calls(traced, row);
	for (unsigned int i = 0; i < ANATOMY_KINDS; i++)
		if (anatomy->faults[i])
			row->fault_mean_ns[i] =
			    (uint64_t)((double)anatomy->fault_ns[i] / all / (double)anatomy->faults[i]);
	row->anatomy_seconds = seconds(traced->ns, 1);
	row->accounted_ratio = output_ratio(anatomy->accounted_ns, anatomy->run_ns);
	row->faults_left_out = anatomy->left_out;
	row->moment_cost_ns = (uint64_t)((double)session->scale.cost_ticks * session->scale.ns_per_tick);
}

/* @traced: NULL unless the form was taken apart. */
static void print_row(struct session *session, const struct output *output, enum form form,
		      const struct measure *measure, const struct measure *traced, uint64_t serial_ns,
		      uint64_t errors)
{
	const struct app *app = session->app;
	const struct app_options *options = &session->options;
	struct result row = {
	    .benchmark = "app",
	    .name = app->name,
	    .variant = app->variants ? app->variants[session->problem.variant] : NULL,
	    .form = app_form_names[form],
	    .problem_class = app_class_names[options->problem_class],
	    .parameters = session->parameters,
	    .transport = form == FORM_DSM ? host_transport(session->job.one_host) : NULL,
	    .rate_unit = app->rate_unit,
	    .host = session->host.name,
	    .commit = options->line.commit ? options->line.commit : host_commit(),
	    .nodes = nodes_of(session, form),
	    .threads = threads_of(session, form),
	    .workers = (uint64_t)nodes_of(session, form) * threads_of(session, form),
	    .size = session->problem.values[0],
	    .repetitions = options->repetitions,
	    .seconds = seconds(measure->ns, 1),
	    .serial_seconds = seconds(serial_ns, 1),
	    .speed_up = (double)serial_ns / (double)measure->ns,
	    .rate = app->work(&session->problem) / seconds(measure->ns, 1),
	    .verified = 1,
	    .errors = errors,
	};

	add_parts(form, measure, &row);
	if (traced)
		add_anatomy(session, traced, &row);
	if (form == FORM_DSM)
		add_statistics(measure, &row);
	else
		add_no_statistics(&row);
	if (output_row(output, &row))
		job_fail("the results cannot be written");
}

/* --- all runs ------------------------------------------------------------------------------------------ */

/* A variant that is a way to share has no MPI form. */
static bool has_form(const struct session *session, enum form form)
{
	const char *const *only = session->app->shared_only;

	if (!runs(session, form))
		return false;
	for (; form == FORM_MPI && only && *only; only++)
		if (!strcmp(*only, session->app->variants[session->problem.variant]))
			return false;
	return true;
}

/* Node 0 keeps the most that was wrong. */
static void check(struct session *session, enum form form, uint64_t *errors)
{
	if (session->job.node)
		return;
	uint64_t wrong = verify(session, form);
	errors[form] = wrong > errors[form] ? wrong : errors[form];
}

/* All forms in turn, so that what disturbs the machine disturbs all; the best of each. */
static void run_variant(struct session *session, const struct output *output)
{
	struct measure best[FORMS] = {0}, traced = {0};
	uint64_t errors[FORMS] = {0};
	bool anatomy = session->options.anatomy && has_form(session, FORM_DSM);

	session->serial_kept = false;
	for (uint64_t i = 0; i < session->options.repetitions; i++)
		for (enum form form = 0; form < FORMS; form++) {
			if (!has_form(session, form))
				continue;
			struct measure measure = run_form(session, form, NULL);
			check(session, form, errors);
			if (i == 0 || measure.ns < best[form].ns)
				best[form] = measure;
		}
	if (anatomy) {
		traced = run_form(session, FORM_DSM, &best[FORM_DSM]);
		check(session, FORM_DSM, errors);
	}
	if (session->job.node == 0)
		for (enum form form = 0; form < FORMS; form++)
			if (has_form(session, form))
				print_row(session, output, form, &best[form],
					  anatomy && form == FORM_DSM ? &traced : NULL, best[FORM_SERIAL].ns,
					  errors[form]);
}

/* With --anatomy, its columns are in the table too. */
static void choose_columns(bool anatomy, struct column *out)
{
	memcpy(out, columns, sizeof columns);
	for (size_t i = 0; anatomy && i < COLUMN_COUNT_OF_ROWS; i++)
		for (size_t j = 0; j < sizeof anatomy_headings / sizeof anatomy_headings[0]; j++)
			if (!strcmp(out[i].name, anatomy_headings[j].name))
				out[i].heading = anatomy_headings[j].heading;
}

static void run_variants(struct session *session)
{
	struct column chosen[COLUMN_COUNT_OF_ROWS];
	const struct output output = {stdout, session->options.line.format, chosen, COLUMN_COUNT_OF_ROWS};
	const struct fact facts[] = {{"host", session->host.name},
				     {"cpu", session->host.cpu},
				     {"problem", session->parameters},
				     {"page pools", session->host.pools}};

	choose_columns(session->options.anatomy, chosen);
	if (session->job.node == 0)
		output_begin(&output, session->app->title, facts, sizeof facts / sizeof facts[0]);
	for (unsigned int i = 0; i == 0 || (session->app->variants && session->app->variants[i]); i++) {
		session->problem.variant = i;
		if (session->options.variants & (1u << i))
			run_variant(session, &output);
	}
}

/* --- beginning and end --------------------------------------------------------------------------------- */

static void describe_problem(struct session *session)
{
	size_t used = 0;

	for (unsigned int i = 0; session->app->parameters[i].name; i++)
		used += (size_t)snprintf(session->parameters + used, sizeof session->parameters - used,
					 "%s%s=%" PRIu64, i ? " " : "", session->app->parameters[i].name,
					 session->problem.values[i]);
	if (session->problem.file)
		snprintf(session->parameters + used, sizeof session->parameters - used, " file=%.100s",
			 session->problem.file);
}

/* A rank of the MPI form is one worker. */
static void settle_forms(struct session *session)
{
	struct app_options *options = &session->options;

	if (options->threads == 1 || !(options->forms & (1u << FORM_MPI)))
		return;
	if (options->forms_asked)
		job_refuse(&session->job, "--form mpi has one worker on each node; leave --threads out");
	options->forms &= ~(1u << FORM_MPI);
}

/* The threads form has as many workers as the nodes together, so far as this host has room for them. */
static void make_team(struct session *session)
{
	unsigned int threads = (unsigned int)(session->options.threads * (uint64_t)session->job.nodes);

	if (threads > PLACEMENT_THREADS_MAX)
		job_refuse(&session->job, "%u workers are too many: %d at most", threads,
			   PLACEMENT_THREADS_MAX);
	session->team_size = threads;
	if (session->job.node)
		threads = (unsigned int)session->options.threads;
	placement_choose(&session->job, threads, &session->placement);
	if (team_create(session->placement.topology, threads, session->placement.pus, &session->team))
		job_fail("the threads of a team could not be started");
}

static void begin(struct session *session, int *argc, char ***argv)
{
	const struct app *app = session->app;

	job_start(argc, argv, &session->job);
	settle_forms(session);
	make_team(session);
	if (runs(session, FORM_DSM) && dsm_init(argc, argv))
		job_give_up();
	if (session->options.anatomy && runs(session, FORM_DSM))
		anatomy_calibrate((unsigned int)session->job.node, (unsigned int)session->job.nodes,
				  &session->scale);
	memcpy(session->problem.values, session->options.values, sizeof session->problem.values);
	session->problem.file = session->options.file;
	describe_problem(session);
	host_describe(&session->host);
	if (app->prepare)
		app->prepare(&session->problem);
	if (session->job.node)
		return;
	size_t bytes = app->result_bytes(&session->problem);
	session->result = malloc(bytes ? bytes : 1);
	session->serial = malloc(bytes ? bytes : 1);
	if (!session->result || !session->serial)
		job_fail("no memory for two results of %zu bytes", bytes);
}

static void end(struct session *session)
{
	team_destroy(session->team);
	placement_free(&session->placement);
	free(session->result);
	free(session->serial);
	if (session->app->unprepare)
		session->app->unprepare(&session->problem);
	if (runs(session, FORM_DSM) && dsm_finalize())
		job_fail("the runtime did not end well");
	job_end();
}

int app_main(const struct app *app, int argc, char **argv)
{
	struct session session = {.app = app};
	int status = app_options_read(app, argc, argv, &session.options);

	if (status >= 0)
		return status;
	begin(&session, &argc, &argv);
	run_variants(&session);
	end(&session);
	return EXIT_SUCCESS;
}

/* --- for MPI forms ------------------------------------------------------------------------------------- */

#define GATHER_AT_ONCE ((size_t)1 << 28) /* a count of MPI is an int */

static size_t receive_part(unsigned int rank, char *to)
{
	uint64_t bytes;

	MPI_Recv(&bytes, 1, MPI_UINT64_T, (int)rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	for (size_t done = 0; done < bytes; done += GATHER_AT_ONCE)
		MPI_Recv(to + done, (int)(bytes - done < GATHER_AT_ONCE ? bytes - done : GATHER_AT_ONCE),
			 MPI_BYTE, (int)rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	return bytes;
}

static void send_part(const char *part, uint64_t bytes)
{
	MPI_Send(&bytes, 1, MPI_UINT64_T, 0, 0, MPI_COMM_WORLD);
	for (size_t done = 0; done < bytes; done += GATHER_AT_ONCE)
		MPI_Send(part + done, (int)(bytes - done < GATHER_AT_ONCE ? bytes - done : GATHER_AT_ONCE),
			 MPI_BYTE, 0, 0, MPI_COMM_WORLD);
}

void app_gather(struct worker *worker, const void *part, size_t bytes, void *all)
{
	if (worker->rank) {
		send_part(part, bytes);
		return;
	}
	memcpy(all, part, bytes);
	size_t at = bytes;
	for (unsigned int rank = 1; rank < worker->workers; rank++)
		at += receive_part(rank, (char *)all + at);
}
