/*
 * `minorca migrate`, in parts: migrate_command.c (what is asked for), migrate_job.c (what is moved, and all
 * of it), migrate_move.c (one move), migrate_meeting.c (how nodes wait for each other), migrate_output.c
 * (what is said).
 */
#ifndef MINORCA_DSM_TOOLS_MIGRATE_H
#define MINORCA_DSM_TOOLS_MIGRATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "dsm/vmm/heartbeat.h"
#include "dsm/vmm/runner.h"
#include "dsm/vmm/workload.h"

#define MOVES_MAX 1000
#define MIGRATE_WHY_MAX 512
/* For what is put into such a text. */
#define MIGRATE_PART_MAX 256
/* Nodes that it moves between: 0 and 1. */
#define MIGRATE_SIDES 2

enum workload_choice { WORKLOAD_AUTO, WORKLOAD_VM, WORKLOAD_PROCESS };

/* From the command line; the same on all nodes. */
struct migrate_options {
	uint64_t memory_bytes, page_bytes;
	enum dsm_migration_mode mode;
	enum workload_choice workload;
	bool rate_given;
	uint64_t writes_per_s;	/* pages of 4 KiB; 0: as fast as it goes */
	uint64_t bytes_per_s;	/* of the copying; 0: as fast as it goes */
	uint64_t seconds_in_ns; /* that it works before, between and after moves */
	unsigned int moves;
	bool json;
};

/* One move, as both sides saw it. */
struct migrate_move {
	int from, to;
	uint64_t pause_ns;   /* from the call for a pause until the call of dsm_migrate_switch() */
	uint64_t switch_ns;  /* from then on until the source knew that the destination may go on */
	uint64_t restore_ns; /* at the destination, from having the state until it went on */
	uint64_t total_ns;   /* at the source, until its memory was given back */
	struct dsm_migration_progress source, destination;
};

struct migrate_words;

/* How nodes wait for each other; the thread that moves uses it alone. */
struct migrate_meeting {
	struct migrate_words *words; /* in shared memory */
	struct runner keeper;	     /* says that this node is at work; paused while it waits */
	uint64_t number;	     /* of meetings so far */
};

/* A node's part of it. */
struct migrate_job {
	const struct migrate_options *options;
	int node;
	bool alone; /* a node is lost or hangs: no more collective calls */
	struct migrate_meeting meeting;
	dsm_region *region;
	const struct workload_kind *kind;
	struct workload *workload;
	char fallback[MIGRATE_WHY_MAX]; /* why it is not a virtual machine, though one was asked for if
					   possible; or "" */

	/* Under @lock: what the thread that works says, and what those say that move. */
	pthread_mutex_t lock;
	struct heartbeat heart;
	enum dsm_migration_step step_told;
	unsigned int rounds_told;

	struct migrate_move moves[MOVES_MAX];
	unsigned int moves_made;
	size_t pages_lost;	   /* of this node: they were at a node that is lost */
	bool right;		   /* all memory was checked in the end, and is as it must be */
	char why[MIGRATE_WHY_MAX]; /* what went wrong first, on this node or another; or "" */
};

/** Does all of it. Collective. @return whether all went well on this node, and at node 0 on any; job->why is
 * told by report() already */
bool migrate_run(struct migrate_job *job);

/** Makes move number job->moves_made, and counts it; all nodes get to know of it. Collective. @return whether
 * it went well on both sides; if not, it is where dsm_migrate_holder() says, and works there if it can. */
bool migrate_make_move(struct migrate_job *job);

/** Pauses what works. @return false: it says why. */
bool migrate_pause(struct migrate_job *job);

/** Says what went wrong, if nothing has before. @return false. */
__attribute__((format(printf, 2, 3))) bool migrate_fail(struct migrate_job *job, const char *format, ...);

/** What another node has said. @return false. */
bool migrate_fail_as(struct migrate_job *job, int node, const char *why);

/** What an error of a dsm_migrate_*() call means here, and what to do. */
const char *migrate_reason(int error);

/* --- nodes wait for each other ------------------------------------------------------------------------- */

/** Before all others. Collective. @return 0 or -errno */
int migrate_meeting_open(struct migrate_meeting *m);
/** Not collective. */
void migrate_meeting_close(struct migrate_meeting *m);

/**
 * Waits for all nodes, for as long as those that have not come are at work: MINORCA_TIMEOUT bounds only how
 * long none of them gives a sign. Collective; afterwards collective calls are quick.
 * @return whether all came; if not, job->alone is set, and it has said so.
 */
bool migrate_meet(struct migrate_job *job);

/** True everywhere if it is everywhere. Collective. */
bool migrate_all(struct migrate_job *job, bool here);

/* --- what is said -------------------------------------------------------------------------------------- */

/** "minor", "pre-copy", ... NULL-terminated, in the order of enum dsm_migration_mode. */
extern const char *const migrate_mode_names[];

/** At node 0, in the beginning: what is moved, and why not something else. */
void migrate_print_choice(const struct migrate_job *job);

/** A line of what works on this node, a step of a move. They print nothing with --json. */
void migrate_print_line(const struct migrate_job *job, const char *line);
void migrate_print_progress(struct migrate_job *job, const struct dsm_migration_progress *progress);

/** Which pages are lost: all of them, on as many lines as that takes. */
void migrate_print_lost(const struct dsm_page_range *lost, size_t ranges);

/** At node 0, in the end: text or JSON. @return 0, or -1: the JSON could not be made. */
int migrate_print_summary(const struct migrate_job *job, bool well);

#endif
