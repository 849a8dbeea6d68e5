/*
 * How nodes wait for each other. A collective call waits for MINORCA_TIMEOUT at most, and a move, or looking
 * at all memory, takes as long as it takes. So nodes meet before: each counts itself in and waits until all
 * are there; and a thread of each node that is still at work says that it is, several times a second. Who
 * waits gives up only when nobody has said anything for MINORCA_TIMEOUT, or a node is lost.
 */
#include <errno.h>

#include "dsm/clock.h"
#include "dsm/peers.h"
#include "dsm/tools/migrate.h"

#define SIGN_NS UINT64_C(500000000)

/* In a region of its own, at node 0; each only grows. */
struct migrate_words {
	dsm_event arrived; /* once for each node and meeting */
	dsm_event signs;   /* of nodes at work, and once more for each that arrives */
};

/* The keeper's work. */
static enum runner_condition give_signs(void *argument)
{
	struct migrate_meeting *m = argument;

	do
		dsm_event_advance(&m->words->signs, 1); /* an error is found by who waits */
	while (runner_rest(&m->keeper, clock_ns() + SIGN_NS));
	return RUNNER_PAUSED;
}

int migrate_meeting_open(struct migrate_meeting *m)
{
	struct dsm_region_options o = {.home = DSM_HOME_NODE, .home_node = 0};
	dsm_region *region;
	int error = dsm_region_create("migrate-meeting", sizeof *m->words, &o, &region);

	if (error)
		return error;
	error = runner_start(&m->keeper, give_signs, NULL, m, 0);
	if (error)
		return error;
	m->words = dsm_region_base(region);
	return runner_run(&m->keeper);
}

void migrate_meeting_close(struct migrate_meeting *m)
{
	if (m->words)
		runner_stop(&m->keeper);
	m->words = NULL;
}

/* Until so many have arrived. Signs are read first: one that comes in between ends the wait at once. */
static int await_arrivals(struct migrate_words *words, uint64_t count)
{
	uint64_t arrived = 0, signs = 0;

	for (;;) {
		int error = dsm_event_read(&words->signs, &signs);

		if (!error)
			error = dsm_event_read(&words->arrived, &arrived);
		if (error || arrived >= count)
			return error;
		/* One that was lost before is not noticed by the wait. */
		error = peers_lost_count() ? -EHOSTDOWN : dsm_event_await(&words->signs, signs + 1);
		if (error)
			return error;
	}
}

static int arrive(struct migrate_meeting *m)
{
	uint64_t count = ++m->number * (uint64_t)dsm_nodes();
	int error;

	runner_pause(&m->keeper); /* it does not wait for itself */
	error = dsm_event_advance(&m->words->arrived, 1);
	if (!error)
		error = dsm_event_advance(&m->words->signs, 1);
	if (!error)
		error = await_arrivals(m->words, count);
	runner_run(&m->keeper);
	return error;
}

bool migrate_meet(struct migrate_job *job)
{
	int error = job->alone ? -EHOSTDOWN : arrive(&job->meeting);

	if (!error)
		return true;
	job->alone = true;
	return migrate_fail(job, "the other nodes do not come: %s", migrate_reason(error));
}

bool migrate_all(struct migrate_job *job, bool here)
{
	uint32_t mine = here, least = 0;

	if (!migrate_meet(job))
		return false;
	if (dsm_reduce(&mine, &least, 1, DSM_UINT32, DSM_MIN)) {
		job->alone = true;
		return false;
	}
	return least;
}
