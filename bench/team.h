/*
 * The threads of a node that fault: thread 0 is the caller, each is bound to a processing unit of its own as
 * long as there are enough, and between runs they sleep.
 */
#ifndef MINORCA_BENCH_TEAM_H
#define MINORCA_BENCH_TEAM_H

struct team;
struct topology;

/**
 * Starts threads 1 .. @threads - 1 and binds all to @pus.
 *
 * @param pus  OS indexes, one for each thread; copied
 * @return 0 or -errno. To be ended by team_destroy().
 */
int team_create(const struct topology *topology, unsigned int threads, const int *pus, struct team **out);
void team_destroy(struct team *team);

/**
 * Runs @work(@argument, i) on threads 0 .. @threads - 1 at once, from the same moment on as nearly as can be
 * had, and returns when all are done.
 */
void team_run(struct team *team, unsigned int threads, void (*work)(void *argument, unsigned int thread),
	      void *argument);

#endif
