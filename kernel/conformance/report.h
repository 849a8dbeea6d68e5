/*
 * What the conformance suite prints: a table for people, TAP for test runners, JSON lines for programs.
 */
#ifndef MINORCA_KERNEL_CONFORMANCE_REPORT_H
#define MINORCA_KERNEL_CONFORMANCE_REPORT_H

#include <stddef.h>
#include <stdio.h>

#include "kernel/conformance/harness.h"

enum report_format {
	REPORT_TABLE,
	REPORT_TAP,
	REPORT_JSON,
};

/* A reason why something was not run, and where. */
struct skip_reason {
	char why[NOTE_BYTES];
	enum memory_kind kind;
	unsigned int count;
	const char *first_case;
};

#define MAX_SKIP_REASONS 64

/* Owned by one thread; all fields are private to report.c but `counts`. */
struct report {
	enum report_format format;
	FILE *out;
	unsigned int number;
	unsigned int counts[VERDICT_COUNT];
	struct skip_reason reasons[MAX_SKIP_REASONS];
	size_t reason_count;
};

/** Starts a report of @total outcomes on @out, which stays open. */
void report_begin(struct report *report, enum report_format format, FILE *out, size_t total);

/** Takes the outcome of one case on one type of memory, as soon as it is there. */
void report_outcome(struct report *report, const struct conformance_case *row, enum memory_kind kind,
		    const struct outcome *outcome);

/**
 * Takes a row that is done.
 *
 * @param ran       ON() mask of the types of memory that it was run on
 * @param outcomes  indexed by enum memory_kind; those of @ran are valid
 */
void report_row(struct report *report, const struct conformance_case *row, unsigned int ran,
		const struct outcome outcomes[MEMORY_KIND_COUNT]);

void report_end(struct report *report);

#endif
