/*
 * Tests of dsm/settings.c: what it takes, what it refuses and with which words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dsm/settings.h"

/* Parses one entry beside variables that are not ours. */
static int parse_one(const char *entry, struct settings *out, char *error, size_t error_bytes)
{
	const char *const environment[] = {"PATH=/bin", entry, "MINOR=1", "XMINORCA_LANES=x", NULL};

	return settings_parse((char *const *)environment, out, error, error_bytes);
}

static struct settings accept(const char *entry)
{
	struct settings s;
	char error[256] = "";

	if (parse_one(entry, &s, error, sizeof error))
		fail_msg("%s was refused: %s", entry, error);
	return s;
}

static void refuse(const char *entry, const char *message)
{
	struct settings s, before;
	char error[256] = "";

	memset(&s, 0x5a, sizeof s);
	before = s;
	if (parse_one(entry, &s, error, sizeof error) != -EINVAL)
		fail_msg("%s was not refused", entry);
	assert_string_equal(error, message);
	assert_memory_equal(&s, &before, sizeof s); /* outputs only on success */
}

static void defaults_are_those_of_the_table(void **state)
{
	struct settings s = accept("NOTHING=of ours");

	(void)state;
	assert_int_equal(s.transport, TRANSPORT_AUTO);
	assert_int_equal(s.delivery, DSM_DELIVERY_INLINE);
	assert_int_equal(s.page_size_bytes, 4096);
	assert_int_equal(s.heap_bytes, 1 << 30);
	assert_int_equal(s.heap_page_bytes, 4096);
	assert_int_equal(s.timeout_ns, 10000000000);
	assert_int_equal(s.handler_pu, -1);
	assert_true(s.bind_memory);
	assert_false(s.print_stats);
	assert_string_equal(s.verbs_device, "");
	assert_int_equal(s.verbs_port, 0);
	assert_int_equal(s.verbs_gid, -1);

	size_t count;
	const struct setting *table = settings_table(&count);
	for (size_t i = 0; i < count; i++) {
		char text[128];

		setting_format(&table[i], &s, text, sizeof text);
		assert_string_equal(text, table[i].default_text);
	}
}

static void an_empty_environment_gives_the_defaults(void **state)
{
	char *nothing[] = {NULL};
	struct settings s, other = accept("NOTHING=of ours");
	char error[256];

	(void)state;
	assert_int_equal(settings_parse(nothing, &s, error, sizeof error), 0);
	/* Byte for byte: nodes compare a digest. */
	assert_memory_equal(&s, &other, sizeof s);
}

static void choices_are_words(void **state)
{
	(void)state;
	assert_int_equal(accept("MINORCA_TRANSPORT=shm").transport, TRANSPORT_SHM);
	assert_int_equal(accept("MINORCA_TRANSPORT=verbs").transport, TRANSPORT_VERBS);
	assert_int_equal(accept("MINORCA_TRANSPORT=auto").transport, TRANSPORT_AUTO);
	assert_int_equal(accept("MINORCA_DELIVERY=inline").delivery, DSM_DELIVERY_INLINE);
	assert_int_equal(accept("MINORCA_DELIVERY=thread-spin").delivery, DSM_DELIVERY_THREAD_SPIN);
	assert_int_equal(accept("MINORCA_DELIVERY=thread-block").delivery, DSM_DELIVERY_THREAD_BLOCK);
}

static void delivery_in_force_is_never_the_word_default(void **state)
{
	(void)state;
	assert_int_equal(accept("MINORCA_DELIVERY=default").delivery, DSM_DELIVERY_INLINE);
}

static void other_words_are_refused(void **state)
{
	(void)state;
	refuse("MINORCA_TRANSPORT=tcp", "MINORCA_TRANSPORT=tcp: expected one of auto, shm, verbs, mixed");
	refuse("MINORCA_TRANSPORT=", "MINORCA_TRANSPORT=: expected one of auto, shm, verbs, mixed");
	refuse("MINORCA_TRANSPORT=SHM", "MINORCA_TRANSPORT=SHM: expected one of auto, shm, verbs, mixed");
	refuse("MINORCA_TRANSPORT=shm ", "MINORCA_TRANSPORT=shm : expected one of auto, shm, verbs, mixed");
	refuse("MINORCA_DELIVERY=thread",
	       "MINORCA_DELIVERY=thread: expected one of default, inline, thread-spin, thread-block");
}

static void sizes_have_units(void **state)
{
	static const char *const two_mib[] = {"2MiB", "2M", "2mb", "2 MiB", "2097152", "2097152B", "2048K"};
	char entry[64];

	(void)state;
	for (size_t i = 0; i < sizeof two_mib / sizeof two_mib[0]; i++) {
		snprintf(entry, sizeof entry, "MINORCA_PAGE_SIZE=%s", two_mib[i]);
		assert_int_equal(accept(entry).page_size_bytes, 2 << 20);
	}
	assert_int_equal(accept("MINORCA_PAGE_SIZE=4096").page_size_bytes, 4096);
	assert_int_equal(accept("MINORCA_PAGE_SIZE=1GiB").page_size_bytes, 1 << 30);
}

static void sizes_that_no_region_has_are_refused(void **state)
{
	static const char *const sizes[] = {
	    "",
	    "0",
	    "8KiB",
	    "4KiBs",
	    "KiB",
	    "-4096",
	    "4.0KiB",
	    "0x1000",
	    "4 096",
	    "4TiB",
	    " 4KiB",
	    "1e3",
	    "4096 KiB",
	    "18014398509481984K",
	    "99999999999999999999",
	};
	char entry[64], message[128];

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		snprintf(entry, sizeof entry, "MINORCA_PAGE_SIZE=%s", sizes[i]);
		snprintf(message, sizeof message, "%s: expected one of 4KiB, 2MiB, 1GiB", entry);
		refuse(entry, message);
	}
}

static void a_heap_has_any_size(void **state)
{
	const char *expected = ": expected a size from 0 to 1024GiB, such as 512MiB";
	static const char *const refused[] = {"", "-1", "1025GiB", "much", "1.5GiB", "99999999999999999999"};
	char entry[64], message[128], text[64];
	size_t count;
	const struct setting *table = settings_table(&count);

	(void)state;
	assert_int_equal(accept("MINORCA_HEAP_BYTES=0").heap_bytes, 0);
	assert_int_equal(accept("MINORCA_HEAP_BYTES=100").heap_bytes, 100);
	assert_int_equal(accept("MINORCA_HEAP_BYTES=1536 MiB").heap_bytes, (uint64_t)1536 << 20);
	assert_int_equal(accept("MINORCA_HEAP_BYTES=1024G").heap_bytes, (uint64_t)1 << 40);
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		snprintf(entry, sizeof entry, "MINORCA_HEAP_BYTES=%s", refused[i]);
		snprintf(message, sizeof message, "%s%s", entry, expected);
		refuse(entry, message);
	}
	struct settings s = accept("MINORCA_HEAP_BYTES=1610612736");
	for (size_t i = 0; i < count; i++)
		if (!strcmp(table[i].name, "MINORCA_HEAP_BYTES")) {
			setting_format(&table[i], &s, text, sizeof text);
			assert_string_equal(text, "1536MiB");
		}
}

static void seconds_may_have_a_fraction(void **state)
{
	(void)state;
	assert_int_equal(accept("MINORCA_TIMEOUT=0.5").timeout_ns, 500000000);
	assert_int_equal(accept("MINORCA_TIMEOUT=2s").timeout_ns, 2000000000);
	assert_int_equal(accept("MINORCA_TIMEOUT=0.1").timeout_ns, 100000000);
	assert_int_equal(accept("MINORCA_TIMEOUT=86400").timeout_ns, 86400000000000);
}

static void seconds_out_of_range_or_malformed_are_refused(void **state)
{
	static const char *const values[] = {"",    "0",   "-1",   "0.09", "86401", "1e300", "nan", "inf",
					     "ten", "10m", "10 s", " 10",  "1,5",   "10ss",  "s"};
	char entry[64], message[128];

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		snprintf(entry, sizeof entry, "MINORCA_TIMEOUT=%s", values[i]);
		snprintf(message, sizeof message, "%s: expected seconds, from 0.1 to 86400", entry);
		refuse(entry, message);
	}
}

static void numbers_have_bounds(void **state)
{
	(void)state;
	assert_int_equal(accept("MINORCA_LANES=1").lanes, 1);
	assert_int_equal(accept("MINORCA_LANES=1024").lanes, 1024);
	assert_int_equal(accept("MINORCA_HANDLER_PU=-1").handler_pu, -1);
	assert_int_equal(accept("MINORCA_HANDLER_PU=65535").handler_pu, 65535);
	refuse("MINORCA_LANES=0", "MINORCA_LANES=0: expected a number from 1 to 1024");
	refuse("MINORCA_LANES=1025", "MINORCA_LANES=1025: expected a number from 1 to 1024");
	refuse("MINORCA_HANDLER_PU=-2", "MINORCA_HANDLER_PU=-2: expected a number from -1 to 65535");
}

static void malformed_numbers_are_refused(void **state)
{
	static const char *const values[] = {
	    "", "four", "4x", "4.0", " 4", "4 ", "0x4", "--4", "99999999999999999999"};
	char entry[64], message[128];

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		snprintf(entry, sizeof entry, "MINORCA_LANES=%s", values[i]);
		snprintf(message, sizeof message, "%s: expected a number from 1 to 1024", entry);
		refuse(entry, message);
	}
}

static void yes_and_no_have_several_spellings(void **state)
{
	(void)state;
	assert_true(accept("MINORCA_STATS=1").print_stats);
	assert_true(accept("MINORCA_STATS=Yes").print_stats);
	assert_true(accept("MINORCA_STATS=on").print_stats);
	assert_true(accept("MINORCA_STATS=TRUE").print_stats);
	assert_false(accept("MINORCA_BIND_MEMORY=0").bind_memory);
	assert_false(accept("MINORCA_BIND_MEMORY=no").bind_memory);
	assert_false(accept("MINORCA_BIND_MEMORY=off").bind_memory);
	refuse("MINORCA_STATS=", "MINORCA_STATS=: expected yes or no");
	refuse("MINORCA_STATS=2", "MINORCA_STATS=2: expected yes or no");
	refuse("MINORCA_STATS=y", "MINORCA_STATS=y: expected yes or no");
}

static void text_fits_its_field_or_is_refused(void **state)
{
	char entry[512] = "MINORCA_VERBS_DEVICE=", message[256];
	size_t name_length = strlen(entry);

	(void)state;
	assert_string_equal(accept("MINORCA_VERBS_DEVICE=rxe0").verbs_device, "rxe0");
	assert_string_equal(accept("MINORCA_VERBS_DEVICE=").verbs_device, "");
	assert_string_equal(accept("MINORCA_VERBS_DEVICE=a=b").verbs_device, "a=b");
	memset(entry + name_length, 'x', SETTING_STRING_BYTES - 1);
	assert_string_equal(accept(entry).verbs_device, entry + name_length);
	memset(entry + name_length, 'x', SETTING_STRING_BYTES);
	snprintf(message, sizeof message, "%.*s: expected up to 255 characters", (int)name_length + 100,
		 entry);
	refuse(entry, message);
}

static void unknown_names_are_refused_with_the_nearest_that_exists(void **state)
{
	(void)state;
	refuse("MINORCA_TRANPSORT=shm", "MINORCA_TRANPSORT is not a setting; did you mean MINORCA_TRANSPORT? "
					"`minorca settings` lists them all");
	refuse("MINORCA_PAGESIZE=4KiB", "MINORCA_PAGESIZE is not a setting; did you mean MINORCA_PAGE_SIZE? "
					"`minorca settings` lists them all");
	refuse("MINORCA_lanes=4", "MINORCA_lanes is not a setting; did you mean MINORCA_LANES? "
				  "`minorca settings` lists them all");
	refuse("MINORCA_LANESX=4", "MINORCA_LANESX is not a setting; did you mean MINORCA_LANES? "
				   "`minorca settings` lists them all");
}

static void a_name_that_is_very_long_is_refused_in_bounds(void **state)
{
	char entry[512], error[64];
	struct settings s;

	(void)state;
	snprintf(entry, sizeof entry, "MINORCA_%0400d=1", 0);
	memset(error, '!', sizeof error);
	assert_int_equal(parse_one(entry, &s, error, sizeof error), -EINVAL);
	assert_non_null(memchr(error, 0, sizeof error));
}

static void a_long_value_is_refused_in_bounds(void **state)
{
	char entry[512], error[64];
	struct settings s;

	(void)state;
	snprintf(entry, sizeof entry, "MINORCA_LANES=%0400d", 0);
	memset(error, '!', sizeof error);
	assert_int_equal(parse_one(entry, &s, error, sizeof error), -EINVAL);
	assert_non_null(memchr(error, 0, sizeof error));
	assert_memory_equal(error, "MINORCA_LANES=000", 17);
}

/* Values that the parser must read back as they were after setting_format(). */
static void what_is_formatted_can_be_parsed_again(void **state)
{
	static const char *const entries[] = {
	    "MINORCA_TRANSPORT=verbs",	 "MINORCA_DELIVERY=thread-block",
	    "MINORCA_PAGE_SIZE=2M",	 "MINORCA_TIMEOUT=0.25",
	    "MINORCA_TIMEOUT=12345.678", "MINORCA_TIMEOUT=86399.5",
	    "MINORCA_LANES=7",		 "MINORCA_HANDLERS=64",
	    "MINORCA_HANDLER_PU=12",	 "MINORCA_BIND_MEMORY=off",
	    "MINORCA_STATS=on",		 "MINORCA_VERBS_DEVICE=mlx5_0",
	    "MINORCA_VERBS_PORT=2",	 "MINORCA_VERBS_GID=3",
	};
	size_t count;
	const struct setting *table = settings_table(&count);

	(void)state;
	for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
		struct settings first = accept(entries[i]), again;
		char text[128], entry[256];

		for (size_t j = 0; j < count; j++) {
			if (strncmp(entries[i], table[j].name, strlen(table[j].name)) != 0)
				continue;
			setting_format(&table[j], &first, text, sizeof text);
			snprintf(entry, sizeof entry, "%s=%s", table[j].name, text);
			again = accept(entry);
			assert_memory_equal(&again, &first, sizeof first);
		}
	}
}

static void the_table_is_well_formed(void **state)
{
	size_t count;
	const struct setting *table = settings_table(&count);

	(void)state;
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		assert_memory_equal(table[i].name, "MINORCA_", 8);
		assert_true(strlen(table[i].name) < 64);
		assert_true(strlen(table[i].help) > 10);
		assert_non_null(table[i].unit);
		assert_true(table[i].offset < sizeof(struct settings));
		bool has_choices = table[i].type == SETTING_CHOICE || table[i].type == SETTING_BYTES;
		assert_int_equal(table[i].choices != NULL, has_choices);
		for (size_t j = 0; j < i; j++) {
			assert_string_not_equal(table[i].name, table[j].name);
			assert_int_not_equal(table[i].offset, table[j].offset);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults_are_those_of_the_table),
	    cmocka_unit_test(an_empty_environment_gives_the_defaults),
	    cmocka_unit_test(choices_are_words),
	    cmocka_unit_test(delivery_in_force_is_never_the_word_default),
	    cmocka_unit_test(other_words_are_refused),
	    cmocka_unit_test(sizes_have_units),
	    cmocka_unit_test(sizes_that_no_region_has_are_refused),
	    cmocka_unit_test(a_heap_has_any_size),
	    cmocka_unit_test(seconds_may_have_a_fraction),
	    cmocka_unit_test(seconds_out_of_range_or_malformed_are_refused),
	    cmocka_unit_test(numbers_have_bounds),
	    cmocka_unit_test(malformed_numbers_are_refused),
	    cmocka_unit_test(yes_and_no_have_several_spellings),
	    cmocka_unit_test(text_fits_its_field_or_is_refused),
	    cmocka_unit_test(unknown_names_are_refused_with_the_nearest_that_exists),
	    cmocka_unit_test(a_name_that_is_very_long_is_refused_in_bounds),
	    cmocka_unit_test(a_long_value_is_refused_in_bounds),
	    cmocka_unit_test(what_is_formatted_can_be_parsed_again),
	    cmocka_unit_test(the_table_is_well_formed),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
