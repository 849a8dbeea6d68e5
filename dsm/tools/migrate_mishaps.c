/*
 * Moves of `minorca migrate` in which what is moved does not do what it is asked for, on one side: the other
 * comes to an end by itself, long before MINORCA_TIMEOUT, and what works is where it is said to be, and goes
 * on if it can. Two nodes.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <minorca.h>

#include "dsm/clock.h"
#include "dsm/tests/nodes.h"
#include "dsm/tools/migrate.h"
#include "kernel/memory.h"

#define BYTES (8 * MIB)
#define QUICK_NS UINT64_C(10000000000) /* far less than nodes_begin() sets MINORCA_TIMEOUT to */
#define SOURCE 0
#define DESTINATION 1

static const struct migrate_options quiet = {
    .memory_bytes = BYTES, .page_bytes = 4 * KIB, .moves = 1, .json = true};

static struct migrate_job job;
static int node;

/* --- what is moved: the process, which fails once where it is told to ---------------------------------- */

static struct {
	int pause, save, restore; /* what the next call fails with; 0: it does not */
	bool spoils;		  /* what save() gives is too short for restore() */
} mishap;

static int once(int *error)
{
	int now = *error;

	*error = 0;
	return now;
}

static int pause_or_not(struct workload *w)
{
	int error = once(&mishap.pause);

	return error ? error : workload_process.pause(w);
}

static ssize_t save_or_not(struct workload *w, void *state, size_t capacity)
{
	int error = once(&mishap.save);
	ssize_t bytes = error ? error : workload_process.save(w, state, capacity);

	return mishap.spoils && bytes > 0 ? bytes - 1 : bytes;
}

static int restore_or_not(struct workload *w, const void *state, size_t bytes)
{
	int error = once(&mishap.restore);

	return error ? error : workload_process.restore(w, state, bytes);
}

static struct workload_kind clumsy;

static void on_line(void *unused, const char *line)
{
	(void)unused;
	pthread_mutex_lock(&job.lock);
	heartbeat_take(&job.heart, line);
	pthread_mutex_unlock(&job.lock);
}

static uint64_t beats(void)
{
	pthread_mutex_lock(&job.lock);
	uint64_t count = job.heart.beats;

	pthread_mutex_unlock(&job.lock);
	return count;
}

static bool beats_on(void)
{
	uint64_t from = beats(), until_ns = clock_ns() + QUICK_NS;

	while (beats() < from + 2 && clock_ns() < until_ns)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	return beats() >= from + 2;
}

/* --- a case -------------------------------------------------------------------------------------------- */

static void begin(const char *name)
{
	struct dsm_region_options movable = {.home = DSM_HOME_NODE, .movable = true};
	char why[MIGRATE_PART_MAX];

	nodes_case("%s", name);
	memset(&mishap, 0, sizeof mishap);
	memset(&job, 0, sizeof job);
	pthread_mutex_init(&job.lock, NULL);
	clumsy = workload_process;
	clumsy.pause = pause_or_not;
	clumsy.save = save_or_not;
	clumsy.restore = restore_or_not;
	job.options = &quiet;
	job.node = node;
	job.kind = &clumsy;
	CHECK_EQUAL(migrate_meeting_open(&job.meeting), 0);
	CHECK_EQUAL(dsm_region_create("moved", BYTES, &movable, &job.region), 0);
	struct workload_options o = {.memory = dsm_region_base(job.region),
				     .bytes = BYTES,
				     .writes_per_s = 2000,
				     .beat_us = 10000,
				     .on_line = on_line};
	CHECK_EQUAL(clumsy.create(&o, &job.workload, why, sizeof why), 0);
	if (node == SOURCE) {
		CHECK_EQUAL(clumsy.boot(job.workload), 0);
		CHECK_EQUAL(clumsy.run(job.workload), 0);
		CHECK(beats_on());
	}
	CHECK_EQUAL(dsm_barrier(), 0);
}

static void end(void)
{
	clumsy.destroy(job.workload);
	migrate_meeting_close(&job.meeting);
	pthread_mutex_destroy(&job.lock);
	CHECK_EQUAL(dsm_region_destroy(job.region), 0);
}

static bool move(void)
{
	uint64_t from_ns = clock_ns();
	bool well = migrate_make_move(&job);

	CHECK(clock_ns() - from_ns < QUICK_NS);
	CHECK(!job.alone);
	CHECK(well == !job.why[0]);
	return well;
}

/* It works at @where, and is right. */
static void check_it_works(int where)
{
	char why[MIGRATE_PART_MAX] = "";

	CHECK_EQUAL(dsm_migrate_holder(job.region), where);
	if (node == where) {
		CHECK(beats_on());
		CHECK_EQUAL(clumsy.pause(job.workload), 0);
		nodes_check(!clumsy.check(job.workload, why, sizeof why), "its memory is right", __FILE__,
			    __LINE__, why);
		CHECK_EQUAL(job.heart.went_back, 0);
		CHECK_EQUAL(job.heart.failed, 0);
		CHECK_EQUAL(clumsy.run(job.workload), 0);
	}
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* All know what @who has said. */
static void check_why(int who, const char *part)
{
	char prefix[16] = "";

	if (node != who)
		snprintf(prefix, sizeof prefix, "node %d: ", who);
	nodes_check(!strncmp(job.why, prefix, strlen(prefix)) && strstr(job.why, part), "it says why",
		    __FILE__, __LINE__, job.why);
	job.why[0] = 0;
}

/* --- the cases ----------------------------------------------------------------------------------------- */

/* @mishap_of: of the source. */
static void it_stays_and_moves_later(const char *name, int *mishap_of, int error, const char *why)
{
	begin(name);
	if (node == SOURCE)
		*mishap_of = error;
	CHECK(!move());
	check_why(SOURCE, why);
	check_it_works(SOURCE);
	CHECK(move());
	check_it_works(DESTINATION);
	end();
}

static void its_state_is_not_taken(void)
{
	begin("a state that is not taken lets the source go");
	if (node == DESTINATION)
		mishap.restore = -EINVAL;
	CHECK(!move());
	check_why(DESTINATION, "does not take the state");
	CHECK_EQUAL(dsm_migrate_holder(job.region), DESTINATION);
	CHECK_EQUAL(dsm_barrier(), 0);
	end();

	begin("a state that is too short is not taken");
	mishap.spoils = node == SOURCE;
	CHECK(!move());
	check_why(DESTINATION, "does not take the state");
	CHECK_EQUAL(dsm_migrate_holder(job.region), DESTINATION);
	CHECK_EQUAL(dsm_barrier(), 0);
	end();
}

static void there_is_no_thread(void)
{
	begin("where there is no thread for the rest, it stays, and moves later");
	if (node == DESTINATION)
		nodes_give_no_threads(true);
	CHECK(!move());
	if (node == DESTINATION)
		nodes_give_no_threads(false);
	check_why(node, "no thread can be had"); /* each by itself */
	check_it_works(SOURCE);
	CHECK(move());
	check_it_works(DESTINATION);
	end();
}

static void parts_of_the_downtime(void)
{
	begin("the parts of the downtime leave nothing out");
	CHECK(move());
	const struct migrate_move *m = &job.moves[0];

	CHECK(m->pause_ns > 0 && m->switch_ns > 0 && m->restore_ns > 0);
	CHECK_EQUAL(m->switch_ns, m->source.resumed_ns - m->source.switched_ns);
	CHECK(m->total_ns >= m->pause_ns + m->switch_ns);
	end();
}

int main(int argc, char **argv)
{
	nodes_begin(&argc, &argv);
	node = dsm_node();
	it_stays_and_moves_later("what cannot be paused stays, and moves later", &mishap.pause, -ETIMEDOUT,
				 "cannot be paused");
	it_stays_and_moves_later("what has no state to give stays, goes on, and moves later", &mishap.save,
				 -EIO, "cannot be had");
	its_state_is_not_taken();
	there_is_no_thread();
	parts_of_the_downtime();
	return nodes_end();
}
