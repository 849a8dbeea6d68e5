/*
 * One move: what the source does, what the destination does, and what both have seen, for all nodes. Whatever
 * goes wrong on one side, the other comes to an end by itself: before the switch the region stays, and what
 * works there goes on; after it the source is let go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/clock.h"
#include "dsm/report.h"
#include "dsm/tools/migrate.h"

/* What goes with the memory. */
struct luggage {
	struct heartbeat heart;
	size_t state_bytes;
	char state[WORKLOAD_STATE_MAX];
};
_Static_assert(sizeof(struct luggage) <= DSM_MIGRATION_STATE_BYTES, "it is taken along");

/* Room for whatever comes. */
union arrival {
	struct luggage luggage;
	char room[DSM_MIGRATION_STATE_BYTES];
};

const char *migrate_reason(int error)
{
	switch (-error) {
	case EHOSTDOWN:
		return "a node is lost; look there for what has ended it";
	case ENOTRECOVERABLE:
		return "the other node was lost just then, and nobody can say whether it went on there; look "
		       "there";
	case ETIMEDOUT:
		return "the other node has got nothing done for MINORCA_TIMEOUT; look whether it hangs, or "
		       "set that higher";
	case ECANCELED:
		return "it was called off; the other node says why";
	case ENOSPC:
		return "too few free hugepages; enlarge the pool (minorca info says how), or take less "
		       "--memory";
	case ENOMEM:
		return "too little memory; take less --memory";
	case EAGAIN:
		return "no thread can be had; raise the limit (ulimit -u)";
	case EPERM:
		return "faults of the kernel are not delivered to this user; minorca info says how they can "
		       "be";
	case EOPNOTSUPP:
		return "this kernel cannot find what is stored to; minorca info says what it lacks";
	case EPROTO:
		return "the nodes do not understand each other; install the same build on all";
	default:
		return strerror(-error);
	}
}

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

/* Lost nodes are not waited for again. What was called off was so by the other side, whose reason this node
 * gets in the end. @return false. */
static bool fail_with(struct migrate_job *job, const char *what, int error)
{
	job->alone |= error == -EHOSTDOWN || error == -ENOTRECOVERABLE;
	if (error == -ECANCELED) {
		report("%s: %s", what, migrate_reason(error));
		return false;
	}
	return migrate_fail(job, "%s: %s", what, migrate_reason(error));
}

bool migrate_pause(struct migrate_job *job)
{
	char why[MIGRATE_PART_MAX];
	int error = job->kind->pause(job->workload);

	if (!error)
		return true;
	job->kind->condition(job->workload, why, sizeof why);
	if (error == -ESRCH)
		return migrate_fail(job, "%s has ended: %s", job->kind->what, why);
	return migrate_fail(job,
			    "%s cannot be paused, for it still waits for memory after %d s; look for "
			    "what keeps the other node, or the disk, from answering",
			    job->kind->what, RUNNER_PAUSE_TIMEOUT_S);
}

static bool set_going(struct migrate_job *job)
{
	char why[MIGRATE_PART_MAX];
	int error = job->kind->run(job->workload);

	if (!error)
		return true;
	job->kind->condition(job->workload, why, sizeof why);
	return migrate_fail(job, "%s does not go on: %s", job->kind->what, why[0] ? why : strerror(-error));
}

/* --- the source ---------------------------------------------------------------------------------------- */

/* Puts together what goes with the memory. It is paused. */
static bool pack(struct migrate_job *job, struct luggage *luggage)
{
	ssize_t bytes = job->kind->save(job->workload, luggage->state, sizeof luggage->state);

	if (bytes < 0)
		return migrate_fail(job, "the state of %s cannot be had: %s; see what dmesg says",
				    job->kind->what, strerror((int)-bytes));
	luggage->state_bytes = (size_t)bytes;
	pthread_mutex_lock(&job->lock);
	luggage->heart = job->heart;
	pthread_mutex_unlock(&job->lock);
	return true;
}

/* It stays here, whatever it was that failed; the next call is what tells the destination. */
static void call_off(struct migrate_job *job)
{
	dsm_migrate_cancel(job->region);
	dsm_migrate_switch(job->region, NULL, 0);
}

static bool switch_over(struct migrate_job *job, const struct luggage *luggage)
{
	int error = dsm_migrate_switch(job->region, luggage, luggage_bytes(luggage));

	if (!error)
		return true;
	fail_with(job, "the switch failed", error);
	if (error == -ENOTRECOVERABLE)
		dsm_migrate_finish(job->region); /* it may be there, and must not go on here */
	else
		set_going(job);
	return false;
}

static bool hand_over(struct migrate_job *job, struct migrate_move *move)
{
	static struct luggage luggage;
	uint64_t from_ns = clock_ns();

	if (!migrate_pause(job)) {
		call_off(job);
		return false;
	}
	if (!pack(job, &luggage)) {
		call_off(job);
		return set_going(job) && false;
	}
	if (!switch_over(job, &luggage))
		return false;
	uint64_t now_ns = clock_ns();

	dsm_migrate_progress(job->region, &move->source);
	move->pause_ns = move->source.switched_ns - from_ns;
	/* A destination that does not say that it goes on: until this side has stopped waiting for it. */
	move->switch_ns =
	    (move->source.resumed_ns ? move->source.resumed_ns : now_ns) - move->source.switched_ns;
	return true;
}

static bool send(struct migrate_job *job, struct migrate_move *move)
{
	struct dsm_migration_options o = migration_options(job);
	uint64_t from_ns = clock_ns();
	int error = dsm_migrate_begin(job->region, move->to, &o);

	if (!error)
		error = dsm_migrate_precopy(job->region);
	if (error)
		return fail_with(job, "it does not move, and goes on here", error);
	if (!hand_over(job, move))
		return false;
	error = dsm_migrate_finish(job->region);
	move->total_ns = clock_ns() - from_ns;
	dsm_migrate_progress(job->region, &move->source);
	return error ? fail_with(job, "it is at the other node, which has not all of it", error) : true;
}

/* --- the destination ----------------------------------------------------------------------------------- */

static bool unpack(struct migrate_job *job, const struct luggage *luggage, size_t bytes)
{
	if (bytes < offsetof(struct luggage, state) || luggage->state_bytes > sizeof luggage->state ||
	    bytes != luggage_bytes(luggage))
		return migrate_fail(job, "the state that came with the memory is damaged; install the same "
					 "build on all nodes");
	int error = job->kind->restore(job->workload, luggage->state, luggage->state_bytes);

	pthread_mutex_lock(&job->lock);
	job->heart = luggage->heart;
	pthread_mutex_unlock(&job->lock);
	if (!error)
		return set_going(job);
	return migrate_fail(job,
			    "%s does not take the state that came with the memory (%s); let both nodes "
			    "have the same build, processor and kernel",
			    job->kind->what, strerror(-error));
}

/* A source that gets nothing done is asked to call it off; whether the switch came first, it says. */
static int await(struct migrate_job *job, union arrival *arrival, size_t *bytes)
{
	int error = dsm_migrate_await(job->region, arrival, sizeof *arrival, bytes);

	if (error != -ETIMEDOUT)
		return error;
	migrate_fail(job, "it has not come, and is called off: %s", migrate_reason(error));
	dsm_migrate_cancel(job->region);
	return dsm_migrate_await(job->region, arrival, sizeof *arrival, bytes);
}

static bool say_what_is_lost(struct migrate_job *job, int error)
{
	struct dsm_page_range *lost = NULL;
	size_t ranges = 0;

	dsm_migrate_lost(job->region, NULL, 0, &ranges);
	if (ranges)
		lost = calloc(ranges, sizeof *lost);
	if (lost)
		dsm_migrate_lost(job->region, lost, ranges, &ranges);
	for (size_t i = 0; lost && i < ranges; i++)
		job->pages_lost += lost[i].count;
	if (ranges && !lost)
		job->pages_lost = 1; /* or more */
	fail_with(job,
		  ranges ? "pages were lost on the way, and all others are right"
			 : "nothing was lost on the way",
		  error);
	if (lost)
		migrate_print_lost(lost, ranges);
	free(lost);
	return false;
}

static bool finish_taking(struct migrate_job *job)
{
	int error = dsm_migrate_finish(job->region);

	if (error == -EHOSTDOWN)
		return say_what_is_lost(job, error);
	return error ? fail_with(job, "the rest of it does not come", error) : true;
}

static bool take(struct migrate_job *job, struct migrate_move *move)
{
	static union arrival arrival;
	struct dsm_migration_options o = migration_options(job);
	size_t bytes = 0;
	int error = dsm_migrate_accept(job->region, move->from, &o);

	if (!error)
		error = await(job, &arrival, &bytes);
	if (error)
		return fail_with(job, "it does not come", error);
	bool goes_on = unpack(job, &arrival.luggage, bytes);
	uint64_t now_ns = clock_ns();
	bool all_came = finish_taking(job); /* the source waits for that in any case */

	dsm_migrate_progress(job->region, &move->destination);
	move->restore_ns = now_ns - move->destination.switched_ns;
	return goes_on && all_came;
}

/* --- both ---------------------------------------------------------------------------------------------- */

/* How it went on one side. */
struct account {
	struct migrate_move move;
	bool well;
	char why[MIGRATE_WHY_MAX];
};

/* What both sides have seen, on all nodes. Collective. */
static bool share(struct migrate_job *job, struct migrate_move *move, bool well)
{
	struct account seen[MIGRATE_SIDES];

	if (!migrate_meet(job))
		return false;
	for (int side = 0; side < MIGRATE_SIDES; side++) {
		if (side == job->node) {
			seen[side] = (struct account){.move = *move, .well = well};
			memcpy(seen[side].why, job->why, sizeof job->why);
		}
		int error = dsm_broadcast(&seen[side], sizeof seen[side], side);

		if (error) {
			job->alone = true;
			return migrate_fail(job, "what node %d has seen cannot be told to all: %s", side,
					    migrate_reason(error));
		}
	}
	const struct migrate_move *there = &seen[move->to].move;

	*move = seen[move->from].move;
	move->restore_ns = there->restore_ns;
	move->destination = there->destination;
	for (int side = 0; side < MIGRATE_SIDES; side++)
		if (!seen[side].well)
			migrate_fail_as(job, side, seen[side].why);
	return seen[0].well && seen[1].well;
}

bool migrate_make_move(struct migrate_job *job)
{
	struct migrate_move *move = &job->moves[job->moves_made];
	bool well = true;

	move->from = (int)(job->moves_made % MIGRATE_SIDES);
	move->to = MIGRATE_SIDES - 1 - move->from;
	if (job->node == move->from)
		well = send(job, move);
	else if (job->node == move->to)
		well = take(job, move);
	well = share(job, move, well);
	job->moves_made += well;
	return well;
}
