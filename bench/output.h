/*
 * Results: a table for people, JSON lines or CSV for programs. A benchmark describes its rows once, as a
 * table of columns over a structure of its own; the writers know no benchmark.
 */
#ifndef MINORCA_BENCH_OUTPUT_H
#define MINORCA_BENCH_OUTPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What has no value: "-" in the table, null in JSON, nothing between two commas. Ratios: NAN. Text: NULL. */
#define OUTPUT_ABSENT UINT64_MAX

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV };

enum column_type {
	COLUMN_TEXT,	/* const char * */
	COLUMN_COUNT,	/* uint64_t */
	COLUMN_BYTES,	/* uint64_t; a size: "2MiB" in the table, bytes elsewhere */
	COLUMN_NS,	/* uint64_t; microseconds in the table, ns elsewhere */
	COLUMN_RATIO,	/* double */
	COLUMN_SECONDS, /* double */
	COLUMN_BOOL,	/* uint64_t; true or false, in the table yes or no */
	/* const struct distribution *; NULL: absent. In JSON an array of [percent, ns], nothing elsewhere. */
	COLUMN_QUANTILES,
	/* const struct curve *; NULL: absent. In JSON an array of [x, y], nothing elsewhere. */
	COLUMN_CURVE,
};

/** For a column of ratios: NAN where a part is absent, or nothing is divided by. */
double output_ratio(uint64_t part, uint64_t whole);

struct curve {
	size_t count;
	double (*points)[2];
};

struct column {
	const char *name;    /* in JSON and CSV */
	const char *heading; /* in the table; NULL: not in it */
	int width;	     /* there; negative: to the left */
	enum column_type type;
	size_t offset; /* of the field in a row */
};

/* One line of the table's header: what was measured where. */
struct fact {
	const char *name;
	const char *value;
};

struct output {
	FILE *stream;
	enum output_format format;
	const struct column *columns;
	size_t column_count;
};

/** Writes what comes before the first row: title, facts and headings; for CSV, the names; for JSON, nothing.
 */
void output_begin(const struct output *output, const char *title, const struct fact *facts,
		  size_t fact_count);

/** Writes one row and flushes it. @return 0, or -EIO if the stream has failed. */
int output_row(const struct output *output, const void *row);

#endif
