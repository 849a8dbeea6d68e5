/*
 * `minorca migrate`, in parts: migrate_command.c (what is asked for), migrate_job.c (what is moved, and
 * moving it), migrate_output.c (what is said of it).
 */
#ifndef MINORCA_DSM_TOOLS_MIGRATE_H
#define MINORCA_DSM_TOOLS_MIGRATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

#include "dsm/vmm/heartbeat.h"
#include "dsm/vmm/workload.h"

#define MOVES_MAX 1000
#define MIGRATE_WHY_MAX 256

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

/* One move, as both sides saw it; all of it at node 0. */
struct migrate_move {
	int from, to;
	uint64_t pause_ns;   /* from the call for a pause until it stood still, and its state was had */
	uint64_t switch_ns;  /* from the call of dsm_migrate_switch() until the source knew that the
				destination may go on */
	uint64_t restore_ns; /* from then on at the destination, until it went on */
	uint64_t total_ns;   /* at the source, until its memory was given back */
	struct dsm_migration_progress source, destination;
};

/* A node's part of it. */
struct migrate_job {
	const struct migrate_options *options;
	int node;
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
	bool right;		   /* all memory was checked in the end, and is as it must be */
	char why[MIGRATE_WHY_MAX]; /* what went wrong; or "" */
};

/** Does all of it. Collective. @return whether all went well on this node, and at node 0 on any; job->why is
 * told by report() already */
bool migrate_run(struct migrate_job *job);

/** "minor", "pre-copy", ... NULL-terminated, in the order of enum dsm_migration_mode. */
extern const char *const migrate_mode_names[];

/** At node 0, in the beginning: what is moved, and why not something else. */
void migrate_print_choice(const struct migrate_job *job);

/** A line of what works on this node, a step of a move. They print nothing with --json. */
void migrate_print_line(const struct migrate_job *job, const char *line);
void migrate_print_progress(struct migrate_job *job, const struct dsm_migration_progress *progress);

/** At node 0, in the end: text or JSON. @return 0, or -1: the JSON could not be made. */
int migrate_print_summary(const struct migrate_job *job, bool well);

#endif
