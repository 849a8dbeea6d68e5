/*
 * What the randomised tests share: their command line, and dice that every node throws alike.
 */
#ifndef MINORCA_DSM_TESTS_TORTURE_H
#define MINORCA_DSM_TESTS_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct torture_options {
	double seconds;	  /* for the whole program */
	uint64_t seed;	  /* of everything that is random */
	unsigned phases;  /* how many rounds of each case; 0: as time allows */
	const char *only; /* cases whose name contains this; NULL: all */
};

/**
 * Reads --seconds, --seed, --phases, --only and --long (ten minutes). Call before nodes_begin(): every node
 * has the same command line. Ends the process on an error.
 *
 * @param seconds  how long the program takes if nobody says
 */
struct torture_options torture_options(int argc, char **argv, double seconds);

/**
 * What makes a run another one, as the beginning of a command line: "MINORCA_LOG_ENTRIES=2 ". Static; not for
 * several threads at once.
 */
const char *torture_environment(void);

/** Prints the seed and the environment, so that the run can be had again. On one node. */
void torture_print(const struct torture_options *options);

/** True for cases that are to be run. */
bool torture_wanted(const struct torture_options *options, const char *name);

/** Seconds on a clock that only grows. Differs between nodes. */
double torture_now(void);

/** True until @deadline has come for node 0: the same answer on all nodes. Collective. */
bool torture_goes_on(double deadline);

/* --- what the nodes share beside the runtime -------------------------------------------------------------
 *
 * Words that all nodes see and that only grow. They order nothing that the runtime could know of. One block
 * at a time. Where all nodes are on one machine it is one memory; otherwise each has a copy, and is told by
 * messages.
 */

/** Starts MPI, for several threads to use. Before nodes_begin(); MPI_Finalize() after nodes_end(). */
void torture_start_mpi(int *argc, char ***argv);

/** Zeroed memory for @bytes of words. Collective. Ends the process on an error. */
void *torture_share(size_t bytes);

/** Ends it, when all nodes have come. Collective. */
void torture_unshare(void);

/** The word becomes at least @value, here at once, elsewhere some time later; what one thread tells is seen
 * in the order in which it was told. */
void torture_tell(_Atomic uint64_t *word, uint64_t value);

/* --- dice ------------------------------------------------------------------------------------------------
 */

/* The state of a generator: splitmix64 (Steele, Lea and Flood, 2014). Any value is a good seed. */
struct dice {
	uint64_t state;
};

static inline uint64_t dice_bits(struct dice *dice)
{
	uint64_t z = dice->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/** 0 .. @sides - 1. */
static inline unsigned dice_throw(struct dice *dice, size_t sides)
{
	return (unsigned)((dice_bits(dice) >> 32) * sides >> 32);
}

/** A generator of its own for each combination of numbers. */
static inline struct dice dice_of(uint64_t seed, uint64_t a, uint64_t b)
{
	struct dice dice = {seed};

	dice.state = dice_bits(&dice) ^ a;
	dice.state = dice_bits(&dice) ^ b;
	return dice;
}

/** Waits for a moment, up to some hundred nanoseconds; most times not at all. */
static inline void dice_hesitate(struct dice *dice)
{
	uint64_t bits = dice_bits(dice);

	if (bits % 4)
		return;
	for (unsigned i = (unsigned)(bits >> 32) % 32; i; i--)
		__builtin_ia32_pause();
}

#endif
