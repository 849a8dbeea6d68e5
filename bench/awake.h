/*
 * Keeps processing units from going idle while latencies are measured across them.
 *
 * A thread that waits for a handler lets its core go idle, and waking an idle core costs anything between
 * nothing (it was still polling) and tens of microseconds (a deep idle state, a halted virtual CPU). Which of
 * them it is changes from one second to the next, and is neither the runtime's doing nor the floor's. A
 * thread of policy SCHED_IDLE on the core keeps it awake, and gives way to any other at once.
 */
#ifndef MINORCA_BENCH_AWAKE_H
#define MINORCA_BENCH_AWAKE_H

struct awake;
struct topology;

/**
 * Starts a sleeping thread for each of @pus (OS indexes; one that is named twice counts once).
 * @return 0 or -errno. To be ended by awake_destroy().
 */
int awake_create(const struct topology *topology, unsigned int count, const int *pus, struct awake **out);
void awake_destroy(struct awake *awake);

/** Keeps the first @count of the units awake, from about now on until awake_stop(). */
void awake_start(struct awake *awake, unsigned int count);
void awake_stop(struct awake *awake);

#endif
