/*
 * Keeping cores awake. See awake.h.
 */
#include "bench/awake.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "dsm/topology.h"

struct keeper {
	struct awake *awake;
	pthread_t thread;
	unsigned int index;
	int pu;
	bool started;
};

struct awake {
	const struct topology *topology;
	unsigned int count;
	struct keeper *keepers;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Keepers whose index is below it run. Changed under the lock. */
	atomic_uint running;
	bool ending; /* under the lock */
};

/* @return false: it is time to end. */
static bool wait_for_work(struct keeper *keeper)
{
	struct awake *awake = keeper->awake;

	pthread_mutex_lock(&awake->lock);
	while (keeper->index >= atomic_load(&awake->running) && !awake->ending)
		pthread_cond_wait(&awake->changed, &awake->lock);
	bool go_on = !awake->ending;
	pthread_mutex_unlock(&awake->lock);
	return go_on;
}

static void *keep_awake(void *argument)
{
	struct keeper *keeper = argument;
	const struct sched_param none = {0};

	/* Only as a guest that anybody may send away, and only where it belongs; otherwise it would do harm.
	 */
	if (sched_setscheduler(0, SCHED_IDLE, &none) ||
	    topology_bind_thread(keeper->awake->topology, keeper->pu))
		return NULL;
	/* No pause instruction: a hypervisor takes a loop with it for a lock that is waited for, and
	 * interferes. */
	while (wait_for_work(keeper))
		while (keeper->index < atomic_load_explicit(&keeper->awake->running, memory_order_relaxed))
			;
	return NULL;
}

static void set_running(struct awake *awake, unsigned int count, bool ending)
{
	pthread_mutex_lock(&awake->lock);
	atomic_store(&awake->running, count);
	awake->ending = ending;
	pthread_cond_broadcast(&awake->changed);
	pthread_mutex_unlock(&awake->lock);
}

void awake_start(struct awake *awake, unsigned int count)
{
	set_running(awake, count, false);
}

void awake_stop(struct awake *awake)
{
	set_running(awake, 0, false);
}

static bool named_before(const int *pus, unsigned int index)
{
	for (unsigned int i = 0; i < index; i++)
		if (pus[i] == pus[index])
			return true;
	return false;
}

static int start_keepers(struct awake *awake, const int *pus)
{
	int error = 0;

	for (unsigned int i = 0; i < awake->count && !error; i++) {
		struct keeper *keeper = &awake->keepers[i];

		if (named_before(pus, i))
			continue;
		*keeper = (struct keeper){.awake = awake, .index = i, .pu = pus[i]};
		error = -pthread_create(&keeper->thread, NULL, keep_awake, keeper);
		keeper->started = !error;
	}
	return error;
}

int awake_create(const struct topology *topology, unsigned int count, const int *pus, struct awake **out)
{
	struct awake *awake = calloc(1, sizeof *awake);

	if (!awake)
		return -ENOMEM;
	awake->keepers = calloc(count, sizeof *awake->keepers);
	if (!awake->keepers) {
		free(awake);
		return -ENOMEM;
	}
	awake->topology = topology;
	awake->count = count;
	pthread_mutex_init(&awake->lock, NULL);
	pthread_cond_init(&awake->changed, NULL);
	int error = start_keepers(awake, pus);
	if (error)
		awake_destroy(awake);
	else
		*out = awake;
	return error;
}

void awake_destroy(struct awake *awake)
{
	if (!awake)
		return;
	set_running(awake, 0, true);
	for (unsigned int i = 0; i < awake->count; i++)
		if (awake->keepers[i].started)
			pthread_join(awake->keepers[i].thread, NULL);
	pthread_cond_destroy(&awake->changed);
	pthread_mutex_destroy(&awake->lock);
	free(awake->keepers);
	free(awake);
}
