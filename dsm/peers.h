/*
 * Which nodes are lost: their process has ended, or their device does not answer. Who waits for another node
 * asks, now and then while it sleeps, so that a death ends the wait long before MINORCA_TIMEOUT does.
 *
 * A node that was lost stays lost. What one node finds out, others learn from it: each node has words that
 * name those that it has lost, and asking a node reads them. So it is enough to ask whom one waits for: if
 * that node lives and waits itself, for one that is lost, it says so.
 */
#ifndef MINORCA_DSM_PEERS_H
#define MINORCA_DSM_PEERS_H

#include <stdbool.h>
#include <stdint.h>

/** Makes the words that peers read, for runtime.nodes nodes. @return 0 or -errno. */
int peers_create(void);
void peers_destroy(void);
/** Makes it known to all nodes. Collective. */
int peers_connect(void);

/** True if the node is known to be lost. Async-signal-safe. */
bool peers_is_lost(int node);

/** How many are known to be. Only grows. */
unsigned peers_lost_count(void);

/** 0; -EHOSTDOWN: the node is known to be lost, and its memory went with it. Async-signal-safe. */
int peers_reach(int node);

/** An operation on @node's memory has ended with @error: -EHOSTDOWN means that it is lost. Returns @error.
 * Async-signal-safe. */
int peers_note(int node, int error);

/**
 * Asks whether @node lives: looks what the transport knows, of all nodes, and reads the node's words. At most
 * MINORCA_TIMEOUT, where its device does not answer. The caller holds no lane.
 *
 * @return 0; -EHOSTDOWN.
 */
int peers_ask(int node);

/** For who waits for nobody in particular: asks some nodes, others each time. peers_lost_count() tells. */
void peers_ask_some(void);

/**
 * Says that @what ends with -EHOSTDOWN, which nodes are lost, and what that @means: once for each call and
 * loss, however often it is made. Does nothing if @error is another. Returns @error.
 */
int peers_tell(int error, const char *what, const char *means);

/* --- waiting ------------------------------------------------------------------------------------------- */

/* A wait for another node. All zero: not begun. */
struct wait {
	unsigned turns;
	uint64_t ask_ns, deadline_ns;
};

enum wait_turn {
	WAIT_AGAIN, /* look again */
	WAIT_ASK,   /* ask whether who is waited for lives; then look again */
	WAIT_OVER,  /* MINORCA_TIMEOUT has passed */
};

/** One turn of a wait loop: spins at first, then sleeps, and asks when it has slept for a while. */
enum wait_turn wait_turn(struct wait *wait);

#endif
