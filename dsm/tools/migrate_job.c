/*
 * What is moved, and all that happens to it: it begins, it moves, it is looked at. Nodes 0 and 1 take turns;
 * others of the job look on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dsm/clock.h"
#include "dsm/report.h"
#include "dsm/tools/migrate.h"

#define NS_PER_S 1000000000u

static void sleep_ns(uint64_t ns)
{
	struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

bool migrate_fail(struct migrate_job *job, const char *format, ...)
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

bool migrate_fail_as(struct migrate_job *job, int node, const char *why)
{
	if (why[0] && !job->why[0])
		snprintf(job->why, sizeof job->why, "node %d: %.*s", node, MIGRATE_WHY_MAX - 32, why);
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
		snprintf(why, why_bytes, "no memory to try one with: %s; free some", strerror(errno));
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
	char why[MIGRATE_PART_MAX] = "another node cannot run one, and says why";
	enum workload_choice choice = job->options->workload;

	job->kind = choice == WORKLOAD_PROCESS ? &workload_process : &workload_vm;
	if (choice == WORKLOAD_PROCESS)
		return true;
	bool can = vm_can_be_had(why, sizeof why);

	if (migrate_all(job, can))
		return true;
	if (choice == WORKLOAD_VM)
		return migrate_fail(job, "no virtual machine: %s", why);
	/* Node 0 prints its own reason. */
	if (job->node && !can)
		report("no virtual machine here: %s", why);
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
		snprintf(
		    job->fallback, sizeof job->fallback,
		    "faults of the kernel are not delivered to this user: minorca info says how they can be");
		job->kind = &workload_process;
		error = create_region(job);
	}
	return error ? migrate_fail(job, "no memory that can move: %s", migrate_reason(error)) : true;
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
	char why[MIGRATE_PART_MAX];

	if (job->kind->create(&o, &job->workload, why, sizeof why))
		return migrate_fail(job, "%s: %s", job->kind->what, why);
	return true;
}

static bool begin_work(struct migrate_job *job)
{
	int error = job->kind->boot(job->workload);

	if (!error)
		error = job->kind->run(job->workload);
	return error ? migrate_fail(job, "%s does not start: %s; see what dmesg says", job->kind->what,
				    strerror(-error))
		     : true;
}

/* --- all of it ----------------------------------------------------------------------------------------- */

static bool open_meeting(struct migrate_job *job)
{
	int error = migrate_meeting_open(&job->meeting);

	/* Who found it out has said it, and what to do. */
	return error ? migrate_fail(job, "nodes cannot wait for each other: %s", migrate_reason(error))
		     : true;
}

static bool set_up(struct migrate_job *job)
{
	bool ready = open_meeting(job) && choose_workload(job) && set_up_region(job);

	if (!ready)
		return false;
	migrate_print_choice(job);
	if (job->node < MIGRATE_SIDES)
		ready = set_up_workload(job) && (job->node != 0 || begin_work(job));
	return migrate_all(job, ready) || migrate_fail(job, "another node is not ready, and says why");
}

/* What was found in the end, where it is. */
struct finding {
	bool looked, right;
	struct heartbeat heart;
	char why[MIGRATE_WHY_MAX];
};

/* Looks at everything. Not at pages that are lost: that would end the process. */
static void look(struct migrate_job *job, struct finding *f)
{
	char why[MIGRATE_PART_MAX] = "";

	f->looked = !job->pages_lost && migrate_pause(job);
	pthread_mutex_lock(&job->lock);
	f->heart = job->heart;
	pthread_mutex_unlock(&job->lock);
	if (!f->looked)
		return;
	int error = job->kind->check(job->workload, why, sizeof why);

	if (error == -EBADMSG)
		snprintf(f->why, sizeof f->why,
			 "its memory is wrong: %s; please report it, with all that was printed", why);
	else if (error)
		snprintf(f->why, sizeof f->why, "its memory could not be looked at: %s", why);
	f->right = !error;
	if (f->right)
		heartbeat_judge(&f->heart, f->why, sizeof f->why);
}

/* Where something else has gone wrong before. */
static void say_how_it_is(const struct finding *f)
{
	if (f->looked && !f->why[0])
		report("it works here all the same: %" PRIu64 " beats, %" PRIu64
		       " checks, none failed; every byte of its memory is right",
		       f->heart.beats, f->heart.last_steps);
	else if (f->looked)
		report("%s", f->why);
}

static void say_where_it_is(const struct migrate_job *job)
{
	if (job->alone && job->node < MIGRATE_SIDES)
		report("it is not here: if node %d is lost, so is it", MIGRATE_SIDES - 1 - job->node);
}

/* Gives all nodes what was found. Collective, unless a node is lost. */
static void share_finding(struct migrate_job *job, struct finding *f, int holder)
{
	int error = 0;

	if (!job->alone && migrate_meet(job))
		error = dsm_broadcast(f, sizeof *f, holder);
	if (!error)
		return;
	job->alone = true;
	migrate_fail(job, "what was found on node %d cannot be told to all: %s", holder,
		     migrate_reason(error));
}

/* By who has it; then all nodes get to know. */
static bool check(struct migrate_job *job)
{
	int holder = (int)(job->moves_made % MIGRATE_SIDES);
	bool has_it = dsm_migrate_holder(job->region) == job->node && job->workload;
	struct finding f = {.looked = false};

	if (has_it)
		look(job, &f);
	share_finding(job, &f, holder);
	if (has_it && job->why[0])
		say_how_it_is(&f);
	else if (has_it && f.why[0])
		migrate_fail(job, "%s", f.why);
	else if (!has_it)
		say_where_it_is(job);
	migrate_fail_as(job, holder, f.why);
	job->right = f.right;
	if (f.looked)
		job->heart = f.heart;
	return f.right && !job->why[0];
}

static bool move_about(struct migrate_job *job)
{
	bool well = true;

	for (unsigned int i = 0; well && i < job->options->moves; i++) {
		sleep_ns(job->options->seconds_in_ns);
		well = migrate_make_move(job);
	}
	sleep_ns(job->options->seconds_in_ns);
	return well;
}

bool migrate_run(struct migrate_job *job)
{
	bool well = set_up(job);

	if (well) {
		well = move_about(job);
		well = check(job) && well;
	}
	if (job->workload)
		job->kind->destroy(job->workload);
	job->workload = NULL;
	migrate_meeting_close(&job->meeting);
	return well;
}
