/*
 * What people and programs read: the table, JSON lines, CSV.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench/output.h"
#include "bench/percentile.h"

struct row {
	const char *name;
	uint64_t count, bytes, ns;
	double ratio;
};

static const struct column columns[] = {
    {"name", "Name", -6, COLUMN_TEXT, offsetof(struct row, name)},
    {"count", NULL, 0, COLUMN_COUNT, offsetof(struct row, count)},
    {"size_bytes", "Size", 6, COLUMN_BYTES, offsetof(struct row, bytes)},
    {"time_ns", "[us]", 9, COLUMN_NS, offsetof(struct row, ns)},
    {"ratio", "Ratio", 5, COLUMN_RATIO, offsetof(struct row, ratio)},
};

static const struct row full = {"a", 3, 2 << 20, 4217, 1.256};
static const struct row empty = {NULL, OUTPUT_ABSENT, OUTPUT_ABSENT, OUTPUT_ABSENT, NAN};

/* Writes a header (if @facts) and @rows rows, and returns all of it; to be freed. */
static char *written(enum output_format format, const struct fact *facts, const struct row *rows,
		     size_t row_count)
{
	char *text = NULL;
	size_t bytes;
	struct output output = {
	    .stream = open_memstream(&text, &bytes),
	    .format = format,
	    .columns = columns,
	    .column_count = sizeof columns / sizeof columns[0],
	};

	assert_non_null(output.stream);
	if (facts)
		output_begin(&output, "Title", facts, 1);
	for (size_t i = 0; i < row_count; i++)
		assert_int_equal(output_row(&output, &rows[i]), 0);
	fclose(output.stream);
	return text;
}

static void the_table_has_a_header_and_aligned_columns(void **state)
{
	const struct fact fact = {"host", "here"};
	char *text = written(OUTPUT_TABLE, &fact, &full, 1);

	(void)state;
	assert_string_equal(text, "# Title\n"
				  "# host           here\n"
				  "\n"
				  "Name     Size      [us] Ratio\n"
				  "a        2MiB     4.217  1.26\n");
	free(text);
}

static void what_has_no_value_is_a_dash_in_the_table(void **state)
{
	char *text = written(OUTPUT_TABLE, NULL, &empty, 1);

	(void)state;
	assert_string_equal(text, "-           -         -     -\n");
	free(text);
}

static void seconds_and_truth_have_a_form_in_each_format(void **state)
{
	const struct {
		double seconds;
		uint64_t right;
	} rows[] = {{1.25, 1}, {NAN, 0}};
	const struct column both[] = {{"seconds", "Seconds", 8, COLUMN_SECONDS, 0},
				      {"right", "Right", 5, COLUMN_BOOL, sizeof(double)}};
	static const char *const expected[] = {
	    [OUTPUT_TABLE] = "  1.2500   yes\n       -    no\n",
	    [OUTPUT_JSON] = "{\"seconds\": 1.25, \"right\": true}\n{\"seconds\": null, \"right\": false}\n",
	    [OUTPUT_CSV] = "1.25,true\n,false\n",
	};

	(void)state;
	for (enum output_format format = OUTPUT_TABLE; format <= OUTPUT_CSV; format++) {
		char *text = NULL;
		size_t bytes;
		struct output output = {open_memstream(&text, &bytes), format, both, 2};

		assert_non_null(output.stream);
		assert_int_equal(output_row(&output, &rows[0]), 0);
		assert_int_equal(output_row(&output, &rows[1]), 0);
		fclose(output.stream);
		assert_string_equal(text, expected[format]);
		free(text);
	}
}

static void times_lose_decimals_as_they_grow(void **state)
{
	const struct row rows[] = {
	    {"a", 0, 1000, 99999, 1}, {"b", 0, 1024, 123456, 1}, {"c", 0, 1, 12345678, 1}};
	char *text = written(OUTPUT_TABLE, NULL, rows, 3);

	(void)state;
	assert_string_equal(text, "a        1000    99.999  1.00\n"
				  "b        1KiB     123.5  1.00\n"
				  "c           1     12346  1.00\n");
	free(text);
}

static void json_is_one_object_per_line_and_nothing_else(void **state)
{
	const struct row rows[] = {full, empty};
	const struct fact fact = {"host", "here"};
	char *text = written(OUTPUT_JSON, &fact, rows, 2);

	(void)state;
	char *second = strchr(text, '\n') + 1;
	second[-1] = '\0';
	json_t *object = json_loads(text, 0, NULL);
	assert_non_null(object);
	assert_string_equal(json_string_value(json_object_get(object, "name")), "a");
	assert_int_equal(json_integer_value(json_object_get(object, "count")), 3);
	assert_int_equal(json_integer_value(json_object_get(object, "size_bytes")), 2 << 20);
	assert_int_equal(json_integer_value(json_object_get(object, "time_ns")), 4217);
	assert_true(json_real_value(json_object_get(object, "ratio")) == 1.256);
	json_decref(object);

	assert_string_equal(second,
			    "{\"name\": null, \"count\": null, \"size_bytes\": null, \"time_ns\": null, "
			    "\"ratio\": null}\n");
	free(text);
}

/* Both of @rows, pointers to what they point to, in JSON, then the first in CSV; to be freed. */
static char *written_twice(const struct column *column, const void *const rows[2])
{
	char *text = NULL;
	size_t bytes;
	struct output output = {open_memstream(&text, &bytes), OUTPUT_JSON, column, 1};

	assert_non_null(output.stream);
	assert_int_equal(output_row(&output, &rows[0]), 0);
	assert_int_equal(output_row(&output, &rows[1]), 0);
	output.format = OUTPUT_CSV;
	assert_int_equal(output_row(&output, &rows[0]), 0);
	fclose(output.stream);
	return text;
}

static void quantiles_are_pairs_in_json_and_nothing_elsewhere(void **state)
{
	static const struct column quantiles = {"q", NULL, 0, COLUMN_QUANTILES, 0};
	uint64_t samples[] = {4, 5};
	struct distribution d = distribution_of(samples, 2);
	char *text = written_twice(&quantiles, (const void *const[]){&d, NULL});

	(void)state;
	assert_int_equal(strncmp(text, "{\"q\": [[0.1", 11), 0);
	assert_non_null(strstr(text, "[50.0, 4], [51.0, 5]"));
	assert_non_null(strstr(text, "[100.0, 5]]}\n{\"q\": null}\n\n"));
	free(text);
}

static void a_curve_is_pairs_in_json_and_nothing_elsewhere(void **state)
{
	static const struct column column = {"c", NULL, 0, COLUMN_CURVE, 0};
	double points[][2] = {{-1, 2}, {0, 2.5}};
	const struct curve curve = {2, points};
	char *text = written_twice(&column, (const void *const[]){&curve, NULL});

	(void)state;
	assert_string_equal(text, "{\"c\": [[-1.0, 2.0], [0.0, 2.5]]}\n{\"c\": null}\n\n");
	free(text);
}

static void what_nothing_is_divided_by_has_no_ratio(void **state)
{
	(void)state;
	assert_true(output_ratio(1, 4) == 0.25);
	assert_true(output_ratio(0, 4) == 0);
	assert_true(isnan(output_ratio(1, 0)));
	assert_true(isnan(output_ratio(OUTPUT_ABSENT, 4)));
	assert_true(isnan(output_ratio(1, OUTPUT_ABSENT)));
}

static void csv_names_its_columns_and_quotes_what_it_must(void **state)
{
	const struct row rows[] = {{"say \"a, b\"", 1, 2, 3, 0.5}, empty};
	const struct fact fact = {"host", "here"};
	char *text = written(OUTPUT_CSV, &fact, rows, 2);

	(void)state;
	assert_string_equal(text, "name,count,size_bytes,time_ns,ratio\n"
				  "\"say \"\"a, b\"\"\",1,2,3,0.5\n"
				  ",,,,\n");
	free(text);
}

static void a_stream_that_fails_is_an_error(void **state)
{
	struct output output = {
	    .stream = fopen("/dev/full", "w"),
	    .format = OUTPUT_CSV,
	    .columns = columns,
	    .column_count = sizeof columns / sizeof columns[0],
	};

	(void)state;
	assert_non_null(output.stream);
	assert_int_equal(output_row(&output, &full), -EIO);
	fclose(output.stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_has_a_header_and_aligned_columns),
	    cmocka_unit_test(what_has_no_value_is_a_dash_in_the_table),
	    cmocka_unit_test(seconds_and_truth_have_a_form_in_each_format),
	    cmocka_unit_test(times_lose_decimals_as_they_grow),
	    cmocka_unit_test(json_is_one_object_per_line_and_nothing_else),
	    cmocka_unit_test(quantiles_are_pairs_in_json_and_nothing_elsewhere),
	    cmocka_unit_test(a_curve_is_pairs_in_json_and_nothing_elsewhere),
	    cmocka_unit_test(what_nothing_is_divided_by_has_no_ratio),
	    cmocka_unit_test(csv_names_its_columns_and_quotes_what_it_must),
	    cmocka_unit_test(a_stream_that_fails_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
