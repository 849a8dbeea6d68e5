/*
 * The threads that fault. See team.h.
 */
#include "bench/team.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "dsm/topology.h"

/* Waiting for the others to be awake: so often looked, then asleep for so long. */
#define SPINS 10000
#define SLEEP_NS 10000

struct member {
	struct team *team;
	pthread_t thread;
	unsigned int index;
	int pu;
};

struct team {
	const struct topology *topology;
	unsigned int threads;
	struct member *members; /* immutable once the threads run */

	pthread_mutex_t lock; /* for what follows, up to `arrived` */
	pthread_cond_t woken, finished;
	unsigned int run; /* counts team_run() */
	bool ending;
	unsigned int running; /* threads that take part in this run */
	unsigned int done;    /* of those but thread 0 */
	void (*work)(void *argument, unsigned int thread);
	void *argument;

	atomic_uint arrived; /* in this run */
};

/*
 * Those who are early wait here, so that nobody measures while another is still being woken. They do not
 * yield: with Linux's EEVDF scheduler who yields often is put off for long, also when the measuring begins.
 */
static void start_together(struct team *team, unsigned int threads)
{
	atomic_fetch_add(&team->arrived, 1);
	for (unsigned int turn = 0; atomic_load(&team->arrived) < threads; turn++)
		if (turn > SPINS)
			nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
}

/* Waits for a run after @run that this member takes part in. @return false: the team is being ended. */
static bool wait_for_run(struct member *member, unsigned int *run)
{
	struct team *team = member->team;

	pthread_mutex_lock(&team->lock);
	do {
		while (team->run == *run && !team->ending)
			pthread_cond_wait(&team->woken, &team->lock);
		*run = team->run;
	} while (member->index >= team->running && !team->ending);
	bool go_on = !team->ending;
	pthread_mutex_unlock(&team->lock);
	return go_on;
}

static void report_done(struct team *team)
{
	pthread_mutex_lock(&team->lock);
	team->done++;
	pthread_cond_signal(&team->finished);
	pthread_mutex_unlock(&team->lock);
}

static void *serve(void *argument)
{
	struct member *member = argument;
	struct team *team = member->team;
	unsigned int run = 0;

	topology_bind_thread(team->topology,
			     member->pu); /* where it may not: unbound, and slower to repeat */
	while (wait_for_run(member, &run)) {
		start_together(team, team->running);
		team->work(team->argument, member->index);
		report_done(team);
	}
	return NULL;
}

void team_run(struct team *team, unsigned int threads, void (*work)(void *argument, unsigned int thread),
	      void *argument)
{
	if (threads == 1) {
		work(argument, 0);
		return;
	}
	pthread_mutex_lock(&team->lock);
	team->work = work;
	team->argument = argument;
	team->running = threads;
	team->done = 0;
	atomic_store(&team->arrived, 0);
	team->run++;
	pthread_cond_broadcast(&team->woken);
	pthread_mutex_unlock(&team->lock);

	start_together(team, threads);
	work(argument, 0);
	/* Asleep: a thread that polled here would take cycles from the others, and from the handler. */
	pthread_mutex_lock(&team->lock);
	while (team->done < threads - 1)
		pthread_cond_wait(&team->finished, &team->lock);
	pthread_mutex_unlock(&team->lock);
}

int team_create(const struct topology *topology, unsigned int threads, const int *pus, struct team **out)
{
	struct team *team = calloc(1, sizeof *team);
	int error = 0;

	if (!team)
		return -ENOMEM;
	team->members = calloc(threads, sizeof *team->members);
	if (!team->members) {
		free(team);
		return -ENOMEM;
	}
	team->topology = topology;
	pthread_mutex_init(&team->lock, NULL);
	pthread_cond_init(&team->woken, NULL);
	pthread_cond_init(&team->finished, NULL);
	topology_bind_thread(topology, pus[0]);
	for (team->threads = 1; team->threads < threads && !error;) {
		struct member *member = &team->members[team->threads];
		*member = (struct member){.team = team, .index = team->threads, .pu = pus[team->threads]};
		error = -pthread_create(&member->thread, NULL, serve, member);
		if (!error)
			team->threads++;
	}
	if (error)
		team_destroy(team);
	else
		*out = team;
	return error;
}

void team_destroy(struct team *team)
{
	if (!team)
		return;
	pthread_mutex_lock(&team->lock);
	team->ending = true;
	pthread_cond_broadcast(&team->woken);
	pthread_mutex_unlock(&team->lock);
	for (unsigned int i = 1; i < team->threads; i++)
		pthread_join(team->members[i].thread, NULL);
	pthread_cond_destroy(&team->finished);
	pthread_cond_destroy(&team->woken);
	pthread_mutex_destroy(&team->lock);
	free(team->members);
	free(team);
}
