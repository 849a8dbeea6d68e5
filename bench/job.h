/*
 * The job that mpirun started, as a benchmark sees it: who we are, how to wait for the others without
 * taking cycles from whoever is measuring, and how to bring samples together at node 0.
 *
 * Any error of MPI ends the job (MPI's own default). All calls but job_fail() are collective, and who waits
 * in one is asleep most of the time: MPI's own waiting polls, and on a machine with as many nodes as cores
 * the node that waits would slow down the one that measures.
 */
#ifndef MINORCA_BENCH_JOB_H
#define MINORCA_BENCH_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Immutable after job_start(). */
struct job {
	int node, nodes;
	int local_node, local_nodes; /* among the nodes of this host */
	int first_of_host;	     /* the lowest node of this host */
	bool home_is_here;	     /* node 0 runs on this host */
	bool one_host;		     /* all nodes do */
};

/** Starts MPI, which nobody has yet. */
void job_start(int *argc, char ***argv, struct job *job);

/** Ends MPI. */
void job_end(void);

/** Waits for all nodes. Costs up to half a millisecond more than it must. */
void job_meet(void);

/** Gives every node what node @from (job_share(): node 0) has at @data. */
void job_share(void *data, size_t bytes);
void job_share_from(int from, void *data, size_t bytes);

uint64_t job_sum(uint64_t value);
uint64_t job_minimum(uint64_t value);

/** True on every node if @value is on any. */
bool job_any(bool value);

/** The sum of the nodes of this host only. */
uint64_t job_host_sum(uint64_t value);

/**
 * Brings everybody's samples to node 0.
 *
 * @param all  on node 0: where they go, room for job_sum(@count) of them; elsewhere ignored
 * @return how many there are; 0 on the other nodes
 */
size_t job_gather(const uint64_t *mine, size_t count, uint64_t *all);

/** Prints "PROGRAM: node N: MESSAGE" on stderr and ends the whole job with a failure. */
__attribute__((format(printf, 1, 2))) _Noreturn void job_fail(const char *format, ...);

/**
 * For what all nodes find out alike: node 0 prints the message, all end MPI in good order and exit with a
 * failure.
 */
__attribute__((format(printf, 2, 3))) _Noreturn void job_refuse(const struct job *job, const char *format,
								...);

/** The same, without a message: somebody else has said it. */
_Noreturn void job_give_up(void);

/**
 * The node number that the launcher put into the environment, before MPI is started; 0 without a launcher.
 * Serves to let one node speak of what is wrong with the command line.
 */
int job_launcher_rank(void);

#endif
