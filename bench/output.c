/*
 * The three writers. See output.h.
 */
#include "bench/output.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench/percentile.h"

/* The longest value that is no text. */
#define VALUE_MAX 32

static const void *field(const struct column *column, const void *row)
{
	return (const char *)row + column->offset;
}

static uint64_t number(const struct column *column, const void *row)
{
	uint64_t value;

	memcpy(&value, field(column, row), sizeof value);
	return value;
}

static double ratio(const struct column *column, const void *row)
{
	double value;

	memcpy(&value, field(column, row), sizeof value);
	return value;
}

static bool is_double(const struct column *column)
{
	return column->type == COLUMN_RATIO || column->type == COLUMN_SECONDS;
}

static const char *text(const struct column *column, const void *row)
{
	const char *value;

	memcpy(&value, field(column, row), sizeof value);
	return value;
}

/* --- table --------------------------------------------------------------------------------------------- */

static void format_bytes(uint64_t bytes, char out[VALUE_MAX])
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB"};
	unsigned int unit = 0;

	while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, VALUE_MAX, "%" PRIu64 "%s", bytes, units[unit]);
}

/* Three decimals where they mean something, none where they are noise: the column keeps its width. */
static void format_us(uint64_t ns, char out[VALUE_MAX])
{
	int decimals = ns < 100000 ? 3 : ns < 10000000 ? 1 : 0;

	snprintf(out, VALUE_MAX, "%.*f", decimals, (double)ns / 1000.0);
}

static const char *format_cell(const struct column *column, const void *row, char out[VALUE_MAX])
{
	switch (column->type) {
	case COLUMN_TEXT:
		return text(column, row) ? text(column, row) : "-";
	case COLUMN_RATIO:
		if (isnan(ratio(column, row)))
			return "-";
		snprintf(out, VALUE_MAX, "%.2f", ratio(column, row));
		return out;
	case COLUMN_QUANTILES:
	case COLUMN_CURVE:
		return "-";
	case COLUMN_SECONDS:
		if (isnan(ratio(column, row)))
			return "-";
		snprintf(out, VALUE_MAX, "%.4f", ratio(column, row));
		return out;
	case COLUMN_BOOL:
		return number(column, row) == OUTPUT_ABSENT ? "-" : number(column, row) ? "yes" : "no";
	case COLUMN_COUNT:
	case COLUMN_BYTES:
	case COLUMN_NS:
		break;
	}
	if (number(column, row) == OUTPUT_ABSENT)
		return "-";
	if (column->type == COLUMN_BYTES)
		format_bytes(number(column, row), out);
	else if (column->type == COLUMN_NS)
		format_us(number(column, row), out);
	else
		snprintf(out, VALUE_MAX, "%" PRIu64, number(column, row));
	return out;
}

static void table_row(const struct output *output, const void *row)
{
	const char *gap = "";
	char cell[VALUE_MAX];

	for (size_t i = 0; i < output->column_count; i++) {
		const struct column *column = &output->columns[i];
		if (!column->heading)
			continue;
		fprintf(output->stream, "%s%*s", gap, column->width, format_cell(column, row, cell));
		gap = " ";
	}
	fputc('\n', output->stream);
}

static void table_begin(const struct output *output, const char *title, const struct fact *facts,
			size_t fact_count)
{
	const char *gap = "";

	fprintf(output->stream, "# %s\n", title);
	for (size_t i = 0; i < fact_count; i++)
		fprintf(output->stream, "# %-14s %s\n", facts[i].name, facts[i].value);
	fputc('\n', output->stream);
	for (size_t i = 0; i < output->column_count; i++) {
		const struct column *column = &output->columns[i];
		if (!column->heading)
			continue;
		fprintf(output->stream, "%s%*s", gap, column->width, column->heading);
		gap = " ";
	}
	fputc('\n', output->stream);
}

/* --- CSV ----------------------------------------------------------------------------------------------- */

/* RFC 4180: a value that holds a comma, a quote or an end of line is quoted, a quote in it doubled. */
static void csv_text(FILE *stream, const char *value)
{
	if (!strpbrk(value, ",\"\r\n")) {
		fputs(value, stream);
		return;
	}
	fputc('"', stream);
	for (; *value; value++) {
		if (*value == '"')
			fputc('"', stream);
		fputc(*value, stream);
	}
	fputc('"', stream);
}

static void csv_value(FILE *stream, const struct column *column, const void *row)
{
	if (column->type == COLUMN_TEXT) {
		if (text(column, row))
			csv_text(stream, text(column, row));
	} else if (is_double(column)) {
		if (!isnan(ratio(column, row)))
			fprintf(stream, "%.6g", ratio(column, row));
	} else if (column->type == COLUMN_QUANTILES || column->type == COLUMN_CURVE ||
		   number(column, row) == OUTPUT_ABSENT) {
		return;
	} else if (column->type == COLUMN_BOOL) {
		fputs(number(column, row) ? "true" : "false", stream);
	} else {
		fprintf(stream, "%" PRIu64, number(column, row));
	}
}

static void csv_row(const struct output *output, const void *row)
{
	for (size_t i = 0; i < output->column_count; i++) {
		if (i)
			fputc(',', output->stream);
		csv_value(output->stream, &output->columns[i], row);
	}
	fputc('\n', output->stream);
}

static void csv_begin(const struct output *output)
{
	for (size_t i = 0; i < output->column_count; i++)
		fprintf(output->stream, "%s%s", i ? "," : "", output->columns[i].name);
	fputc('\n', output->stream);
}

/* --- JSON lines ---------------------------------------------------------------------------------------- */

static json_t *json_quantiles(const struct column *column, const void *row)
{
	const struct distribution *distribution;
	json_t *array;

	memcpy(&distribution, field(column, row), sizeof distribution);
	if (!distribution)
		return json_null();
	array = json_array();
	for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++) {
		json_t *point = json_array();
		json_array_append_new(point, json_real(distribution_percent(i)));
		json_array_append_new(point, json_integer((json_int_t)distribution->quantiles_ns[i]));
		json_array_append_new(array, point);
	}
	return array;
}

static json_t *json_curve(const struct column *column, const void *row)
{
	const struct curve *curve;
	json_t *array;

	memcpy(&curve, field(column, row), sizeof curve);
	if (!curve)
		return json_null();
	array = json_array();
	for (size_t i = 0; i < curve->count; i++)
		json_array_append_new(array, json_pack("[f, f]", curve->points[i][0], curve->points[i][1]));
	return array;
}

static json_t *json_value(const struct column *column, const void *row)
{
	if (column->type == COLUMN_TEXT)
		return text(column, row) ? json_string(text(column, row)) : json_null();
	if (is_double(column))
		return isnan(ratio(column, row)) ? json_null() : json_real(ratio(column, row));
	if (column->type == COLUMN_QUANTILES)
		return json_quantiles(column, row);
	if (column->type == COLUMN_CURVE)
		return json_curve(column, row);
	if (number(column, row) == OUTPUT_ABSENT)
		return json_null();
	if (column->type == COLUMN_BOOL)
		return json_boolean(number(column, row));
	return json_integer((json_int_t)number(column, row));
}

static void json_row(const struct output *output, const void *row)
{
	json_t *object = json_object();

	for (size_t i = 0; i < output->column_count; i++)
		json_object_set_new(object, output->columns[i].name, json_value(&output->columns[i], row));
	json_dumpf(object, output->stream, JSON_REAL_PRECISION(6));
	json_decref(object);
	fputc('\n', output->stream);
}

/* ------------------------------------------------------------------------------------------------------- */

double output_ratio(uint64_t part, uint64_t whole)
{
	return part == OUTPUT_ABSENT || whole == OUTPUT_ABSENT || !whole ? NAN : (double)part / (double)whole;
}

void output_begin(const struct output *output, const char *title, const struct fact *facts, size_t fact_count)
{
	if (output->format == OUTPUT_TABLE)
		table_begin(output, title, facts, fact_count);
	else if (output->format == OUTPUT_CSV)
		csv_begin(output);
	fflush(output->stream);
}

int output_row(const struct output *output, const void *row)
{
	switch (output->format) {
	case OUTPUT_TABLE:
		table_row(output, row);
		break;
	case OUTPUT_JSON:
		json_row(output, row);
		break;
	case OUTPUT_CSV:
		csv_row(output, row);
		break;
	}
	return fflush(output->stream) || ferror(output->stream) ? -EIO : 0;
}
