/*
 * What is moved, and moving it. Nodes 0 and 1 take turns; others of the job look on.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dsm/clock.h"
#include "dsm/report.h"
#include "dsm/tools/migrate.h"

#define NS_PER_S 1000000000u
#define SIDES 2 /* nodes that it moves between */

/* What goes with the memory. */
struct luggage {
	struct heartbeat heart;
	size_t state_bytes;
	char state[WORKLOAD_STATE_MAX];
};
_Static_assert(sizeof(struct luggage) <= DSM_MIGRATION_STATE_BYTES, "it is taken along");

static void sleep_ns(uint64_t ns)
{
	struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* True everywhere if it is everywhere. Collective. */
static bool all_nodes(bool here)
{
	uint32_t mine = here, least = 0;

	return !dsm_reduce(&mine, &least, 1, DSM_UINT32, DSM_MIN) && least;
}

/* Says what went wrong, once. @return false. */
__attribute__((format(printf, 2, 3))) static bool fail(struct migrate_job *job, const char *format, ...)
{
	va_list arguments;

	if (job->why[0])
		return false;
	va_start(arguments, format);
	vsnprintf(job->why, sizeof job->why, format, arguments);
	va_end(arguments);
	report("%s", job->why);
	return false;
}

/* --- what is moved ------------------------------------------------------------------------------------- */

static void on_line(void *argument, const char *line)
{
	struct migrate_job *job = argument;

	pthread_mutex_lock(&job->lock);
	heartbeat_take(&job->heart, line);
	migrate_print_line(job, line);
	pthread_mutex_unlock(&job->lock);
}

/* Whether this node can run a virtual machine: tried with a little memory. */
static bool vm_can_be_had(char *why, size_t why_bytes)
{
	struct workload_options o = {.bytes = WORKLOAD_BYTES_MIN};
	struct workload *w = NULL;

	o.memory =
	    mmap(NULL, o.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o.memory == MAP_FAILED) {
		snprintf(why, why_bytes, "memory: %s", strerror(errno));
		return false;
	}
	bool can = !workload_vm.create(&o, &w, why, why_bytes);

	workload_vm.destroy(w);
	munmap(o.memory, o.bytes);
	return can;
}

/* The virtual machine if all nodes can have one. */
static bool choose_workload(struct migrate_job *job)
{
	char why[MIGRATE_WHY_MAX - 64] = "another node cannot run one";
	enum workload_choice choice = job->options->workload;

	job->kind = choice == WORKLOAD_PROCESS ? &workload_process : &workload_vm;
	if (choice == WORKLOAD_PROCESS || all_nodes(vm_can_be_had(why, sizeof why)))
		return true;
	if (choice == WORKLOAD_VM)
		return fail(job, "no virtual machine: %s", why);
	snprintf(job->fallback, sizeof job->fallback, "%s", why);
	job->kind = &workload_process;
	return true;
}

/* The kernel stores to a virtual machine's memory, which takes a thread to resolve faults; a process does
 * without. */
static int create_region(struct migrate_job *job)
{
	struct dsm_region_options o = {
	    .page_size_bytes = job->options->page_bytes,
	    .home = DSM_HOME_NODE,
	    .home_node = 0,
	    .movable = true,
	    .delivery = job->kind == &workload_vm ? DSM_DELIVERY_THREAD_BLOCK : DSM_DELIVERY_DEFAULT,
	};

	return dsm_region_create("migrate", job->options->memory_bytes, &o, &job->region);
}

static bool set_up_region(struct migrate_job *job)
{
	int error = create_region(job);

	if (error == -EPERM && job->kind == &workload_vm && job->options->workload == WORKLOAD_AUTO) {
		snprintf(job->fallback, sizeof job->fallback,
			 "faults of the kernel are not delivered to this user");
		job->kind = &workload_process;
		error = create_region(job);
	}
	/* Who found it out has said it. */
	return error ? fail(job, "no memory that can move: %s", strerror(-error)) : true;
}

static bool set_up_workload(struct migrate_job *job)
{
	struct workload_options o = {
	    .memory = dsm_region_base(job->region),
	    .bytes = dsm_region_bytes(job->region),
	    .writes_per_s = job->options->writes_per_s,
	    .on_line = on_line,
	    .argument = job,
	};
	char why[MIGRATE_WHY_MAX - 64];

	if (job->kind->create(&o, &job->workload, why, sizeof why))
		return fail(job, "%s: %s", job->kind->what, why);
	return true;
}

static bool begin_work(struct migrate_job *job)
{
	int error = job->kind->boot(job->workload);

	if (!error)
		error = job->kind->run(job->workload);
	return error ? fail(job, "%s does not start: %s", job->kind->what, strerror(-error)) : true;
}

static bool pause_work(struct migrate_job *job)
{
	char why[MIGRATE_WHY_MAX - 64];
	int error = job->kind->pause(job->workload);

	if (!error)
		return true;
	job->kind->condition(job->workload, why, sizeof why);
	return fail(job, "%s %s: %s", job->kind->what, error == -ESRCH ? "has ended" : "cannot be paused",
		    error == -ESRCH ? why : strerror(-error));
}

/* --- moving it ----------------------------------------------------------------------------------------- */

static void on_progress(dsm_region *region, const struct dsm_migration_progress *progress, void *argument)
{
	struct migrate_job *job = argument;

	(void)region;
	pthread_mutex_lock(&job->lock);
	migrate_print_progress(job, progress);
	pthread_mutex_unlock(&job->lock);
}

static struct dsm_migration_options migration_options(struct migrate_job *job)
{
	job->step_told = DSM_MIGRATION_NONE;
	job->rounds_told = 0;
	return (struct dsm_migration_options){.mode = job->options->mode,
					      .bytes_per_s = job->options->bytes_per_s,
					      .on_progress = on_progress,
					      .argument = job};
}

static size_t luggage_bytes(const struct luggage *l)
{
	return offsetof(struct luggage, state) + l->state_bytes;
}

/* Puts together what goes with the memory. It is paused. */
static bool pack(struct migrate_job *job, struct luggage *luggage)
{
	ssize_t bytes = job->kind->save(job->workload, luggage->state, sizeof luggage->state);

	if (bytes < 0)
		return fail(job, "the state of %s: %s", job->kind->what, strerror((int)-bytes));
	luggage->state_bytes = (size_t)bytes;
	pthread_mutex_lock(&job->lock);
	luggage->heart = job->heart;
	pthread_mutex_unlock(&job->lock);
	return true;
}

static bool hand_over(struct migrate_job *job, struct migrate_move *move)
{
	static struct luggage luggage;
	uint64_t from_ns = clock_ns();

	if (!pause_work(job) || !pack(job, &luggage)) {
		dsm_migrate_cancel(job->region);
		return false;
	}
	uint64_t packed_ns = clock_ns();
	int error = dsm_migrate_switch(job->region, &luggage, luggage_bytes(&luggage));

	move->pause_ns = packed_ns - from_ns;
	if (!error)
		return true;
	if (error != -ENOTRECOVERABLE)
		job->kind->run(job->workload); /* it stays here */
	return fail(job, "the switch: %s", strerror(-error));
}

static bool send(struct migrate_job *job, struct migrate_move *move)
{
	struct dsm_migration_options o = migration_options(job);
	uint64_t from_ns = clock_ns();
	int error = dsm_migrate_begin(job->region, move->to, &o);

	if (!error)
		error = dsm_migrate_precopy(job->region);
	if (error)
		return fail(job, "it stays on node %d: %s", move->from, strerror(-error));
	if (!hand_over(job, move))
		return false;
	error = dsm_migrate_finish(job->region);
	move->total_ns = clock_ns() - from_ns;
	dsm_migrate_progress(job->region, &move->source);
	move->switch_ns = move->source.resumed_ns - move->source.switched_ns;
	return error ? fail(job, "after the switch: %s", strerror(-error)) : true;
}

static bool unpack(struct migrate_job *job, const struct luggage *luggage, size_t bytes)
{
	if (bytes < offsetof(struct luggage, state) || luggage->state_bytes > sizeof luggage->state ||
	    bytes != luggage_bytes(luggage))
		return fail(job, "what came with the memory is damaged");
	int error = job->kind->restore(job->workload, luggage->state, luggage->state_bytes);

	pthread_mutex_lock(&job->lock);
	job->heart = luggage->heart;
	pthread_mutex_unlock(&job->lock);
	if (!error)
		error = job->kind->run(job->workload);
	return error ? fail(job, "%s does not go on: %s", job->kind->what, strerror(-error)) : true;
}

static bool take(struct migrate_job *job, struct migrate_move *move)
{
	static struct luggage luggage;
	struct dsm_migration_options o = migration_options(job);
	size_t bytes = 0;
	int error = dsm_migrate_accept(job->region, move->from, &o);

	if (error)
		return fail(job, "it does not come: %s", strerror(-error));
	error = dsm_migrate_await(job->region, &luggage, sizeof luggage, &bytes);
	if (error == -ETIMEDOUT || error == -EMSGSIZE)
		dsm_migrate_cancel(job->region);
	if (error)
		return fail(job, "it does not come: %s", strerror(-error));
	uint64_t from_ns = clock_ns();

	if (!unpack(job, &luggage, bytes))
		return false;
	move->restore_ns = clock_ns() - from_ns;
	error = dsm_migrate_finish(job->region);
	dsm_migrate_progress(job->region, &move->destination);
	return error ? fail(job, "after the switch: %s", strerror(-error)) : true;
}

/* Gives node 0, and any other, what both sides saw. Collective. */
static bool share(struct migrate_move *move)
{
	struct migrate_move seen = *move;

	if (dsm_broadcast(&seen, sizeof seen, move->from))
		return false;
	struct migrate_move there = *move;

	if (dsm_broadcast(&there, sizeof there, move->to))
		return false;
	*move = seen;
	move->restore_ns = there.restore_ns;
	move->destination = there.destination;
	return true;
}

static bool make_move(struct migrate_job *job)
{
	struct migrate_move *move = &job->moves[job->moves_made];
	bool moved = true;

	move->from = (int)(job->moves_made % SIDES);
	move->to = SIDES - 1 - move->from;
	if (job->node == move->from)
		moved = send(job, move);
	else if (job->node == move->to)
		moved = take(job, move);
	if (!all_nodes(moved))
		return fail(job, "the other node could not do its part");
	job->moves_made++;
	return share(move) || fail(job, "nodes do not answer");
}

/* --- all of it ----------------------------------------------------------------------------------------- */

static bool set_up(struct migrate_job *job)
{
	bool ready = choose_workload(job) && set_up_region(job);

	if (!ready)
		return false;
	migrate_print_choice(job);
	if (job->node < SIDES)
		ready = set_up_workload(job) && (job->node != 0 || begin_work(job));
	return all_nodes(ready) || fail(job, "another node is not ready");
}

/* On the node that has it in the end: looks at everything; then all nodes get to know. */
static bool check(struct migrate_job *job)
{
	int holder = (int)(job->moves_made % SIDES);
	struct {
		struct heartbeat heart;
		bool right;
		char why[MIGRATE_WHY_MAX - 64];
	} result = {.why = ""};

	if (job->node == holder && pause_work(job)) {
		result.heart = job->heart;
		result.right = !job->kind->check(job->workload, result.why, sizeof result.why);
	}
	if (dsm_broadcast(&result, sizeof result, holder))
		return fail(job, "node %d does not answer", holder);
	job->heart = result.heart;
	job->right = result.right;
	if (!result.right && job->node == holder)
		fail(job, "its memory: %s", result.why);
	return result.right && !result.heart.went_back && !result.heart.failed && result.heart.beats;
}

bool migrate_run(struct migrate_job *job)
{
	bool well = set_up(job);

	for (unsigned int i = 0; well && i < job->options->moves; i++) {
		sleep_ns(job->options->seconds_in_ns);
		well = make_move(job);
	}
	if (well) {
		sleep_ns(job->options->seconds_in_ns);
		well = check(job);
	}
	if (job->workload)
		job->kind->destroy(job->workload);
	job->workload = NULL;
	return well;
}
