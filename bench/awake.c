/*
 * Keeping cores awake. See awake.h.
 */
#include "bench/awake.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "dsm/topology.h"

struct keeper {
	struct awake *awake;
	pthread_t thread;
	sem_t work;
	unsigned int index;
	int pu;
	bool started;
};

/*
 * No lock is shared with the keepers: on a busy machine one that held it might not run for seconds, and with
 * it whoever wants to measure.
 */
struct awake {
	const struct topology *topology;
	unsigned int count;
	struct keeper *keepers;
	atomic_uint running; /* keepers whose index is below it run */
	atomic_bool ending;
};

static void *keep_awake(void *argument)
{
	struct keeper *keeper = argument;
	struct awake *awake = keeper->awake;
	const struct sched_param none = {0};

	/* Only as a guest that anybody may send away, and only where it belongs; otherwise it would do harm.
	 */
	if (sched_setscheduler(0, SCHED_IDLE, &none) || topology_bind_thread(awake->topology, keeper->pu))
		return NULL;
	while (!atomic_load(&awake->ending)) {
		/* No pause instruction: a hypervisor takes a loop with it for a lock that is waited for, and
		 * interferes. */
		while (keeper->index < atomic_load_explicit(&awake->running, memory_order_relaxed))
			;
		sem_wait(&keeper->work); /* interrupted: looks again, and waits again */
	}
	return NULL;
}

static void wake_keepers(struct awake *awake, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (awake->keepers[i].started)
			sem_post(&awake->keepers[i].work);
}

void awake_start(struct awake *awake, unsigned int count)
{
	atomic_store(&awake->running, count);
	wake_keepers(awake, count);
}

void awake_stop(struct awake *awake)
{
	atomic_store(&awake->running, 0);
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
		sem_init(&keeper->work, 0, 0);
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
	atomic_store(&awake->ending, true);
	awake_stop(awake);
	wake_keepers(awake, awake->count);
	for (unsigned int i = 0; i < awake->count; i++) {
		if (!awake->keepers[i].started)
			continue;
		pthread_join(awake->keepers[i].thread, NULL);
		sem_destroy(&awake->keepers[i].work);
	}
	free(awake->keepers);
	free(awake);
}
