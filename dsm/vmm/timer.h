/*
 * A timer counter: microseconds for which the machine has run, so that they go on where they were on another
 * host; and rests, by which a guest spreads its work over time. Plain data; the caller says what time it is
 * on this host.
 */
#ifndef MINORCA_DSM_VMM_TIMER_H
#define MINORCA_DSM_VMM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct timer_counter {
	uint64_t ran_ns;	/* until it was stopped last */
	uint64_t rest_until_ns; /* of ran_ns; where the last rest ended */
	uint64_t started_ns;	/* by this host's clock; 0: it is stopped, as always when it moves */
	uint32_t high;		/* what TIMER_HIGH shows: the upper half of what was read last */
	uint32_t rest;		/* enum timer_rest */
};

enum timer_rest {
	TIMER_NO_REST,
	TIMER_ARMED,   /* the next HLT is a rest */
	TIMER_RESTING, /* the guest has come to it */
};

enum { TIMER_LOW = 0, TIMER_HIGH = 4, TIMER_REST = 8, TIMER_PORTS = 12 };

void timer_start(struct timer_counter *t, uint64_t now_ns);
void timer_stop(struct timer_counter *t, uint64_t now_ns);

/** The time for which it has run. */
uint64_t timer_ran_ns(const struct timer_counter *t, uint64_t now_ns);

/** The guest reads from port @number: TIMER_LOW also holds the upper half for TIMER_HIGH. */
uint32_t timer_read(struct timer_counter *t, unsigned int number, uint64_t now_ns);

/** The guest writes to TIMER_REST: asks for a rest that lasts until @us after the end of the last, but for no
 * time that is over. */
void timer_arm(struct timer_counter *t, uint32_t us, uint64_t now_ns);

/** When a rest that was asked for ends, by this host's clock. The counter runs. */
uint64_t timer_rest_ends_ns(const struct timer_counter *t);

#endif
