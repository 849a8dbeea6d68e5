/*
 * The parts of the benchmark of migration: one move (migration_move.c), and what single faults after a move
 * cost beside their floor (migration_faults.c). All calls are collective; what goes wrong ends the job.
 */
#ifndef MINORCA_BENCH_MIGRATION_BENCH_H
#define MINORCA_BENCH_MIGRATION_BENCH_H

#include <minorca.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/job.h"
#include "bench/percentile.h"
#include "bench/placement.h"
#include "bench/throughput.h"

struct bare;

/* From node SOURCE to node TARGET; others only wait. */
enum { SOURCE = 0, TARGET = 1 };

/* What all parts need. */
struct bench {
	struct job job;
	struct placement placement;
	struct bare *bare;	       /* over verbs; else NULL */
	unsigned int delivery;	       /* DELIVERY_* of options.h */
	struct throughput *throughput; /* of the move under way */
};

/** Ends the job if @error is one. */
void bench_require(int error, const char *what);

/** One that can be moved, and is at node SOURCE. */
dsm_region *bench_make_region(const struct bench *bench, size_t page_bytes, size_t memory_bytes);

/* --- one move ------------------------------------------------------------------------------------------ */

struct move {
	enum dsm_migration_mode mode;
	size_t page_bytes, memory_bytes;
	double stores_per_s;	      /* each to some page */
	unsigned int working_percent; /* of the memory that is loaded from */
	unsigned int after_ms;	      /* that its user is watched after the switch */
};

/* Times that need both nodes' clocks are OUTPUT_ABSENT where the nodes do not share one. */
struct moved {
	uint64_t downtime_ns;	/* from when the user is told to pause until it goes on */
	uint64_t first_step_ns; /* until it has made its first step there */
	uint64_t total_ns;	/* from the beginning until the destination needs the source no more */
	uint64_t last_page_ns;	/* the same, from the pause on */
	uint64_t map_ns;	/* from the switch until the destination has been told what is out of date */
	uint64_t rounds, bytes_precopied, bytes_switched, bytes_mapped, bytes_fetched, blocks_fetched;
	uint64_t pages_out_of_date; /* after the switch */
	uint64_t faults, faults_current, faults_early;
	struct distribution fault;		/* the access that faulted, as its thread saw it */
	uint64_t begun_ns, paused_ns, ended_ns; /* by the nodes' clock */
	uint64_t steps, stores;
	uint64_t stores_per_s; /* that its user came to before the pause */
	uint64_t wrong_words, compared_bytes;
};

/** Moves memory once while it is used. Node 0 gets @out, and the throughput of both. */
void move_once(struct bench *bench, const struct move *move, struct moved *out);

/** Whether all of it was compared, and nothing was wrong. */
static inline bool moved_intact(const struct moved *moved, const struct move *move)
{
	return !moved->wrong_words && moved->compared_bytes == move->memory_bytes;
}

/** Ends the job if it is not. */
void moved_require_intact(const struct moved *moved, const struct move *move);

/** Downtime of memory of one page with nothing stored: the median. Node 0 gets it. */
uint64_t move_empty(struct bench *bench, size_t page_bytes);

/** Bytes of hugepages that this node needs for it. */
size_t move_pool_bytes(const struct bench *bench, size_t page_bytes, size_t memory_bytes);

/* --- single faults ------------------------------------------------------------------------------------- */

/* Medians, of node TARGET; OUTPUT_ABSENT: there is no such fault. */
struct fault_costs {
	uint64_t current_p50_ns; /* the page is up to date: it is mapped */
	uint64_t partial_p50_ns; /* a large page, one of whose blocks has changed */
	uint64_t whole_p50_ns;	 /* all of the page is read */
	uint64_t floor_current_p50_ns, floor_whole_p50_ns;
	uint64_t copy_bytes_per_s; /* the bare copy between the nodes, by page */
};

void fault_costs_measure(struct bench *bench, size_t page_bytes, unsigned int rounds,
			 struct fault_costs *out);

/** As move_pool_bytes(). */
size_t fault_costs_pool_bytes(const struct bench *bench, size_t page_bytes);

#endif
