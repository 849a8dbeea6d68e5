/*
 * `minorca settings [--json | --markdown]`: the table of settings. docs/settings.md is made of --markdown,
 * which therefore says nothing of this machine or its environment.
 */
#include <argp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "dsm/report.h"
#include "dsm/settings.h"
#include "dsm/tools/commands.h"
#include "dsm/tools/machine.h"

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_MARKDOWN };

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "A JSON array, one object for each setting", 0},
    {"markdown", 'm', NULL, 0, "The text of docs/settings.md, without values in force", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	enum format *format = state->input;

	switch (key) {
	case 'j':
		*format = FORMAT_JSON;
		return 0;
	case 'm':
		*format = FORMAT_MARKDOWN;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument \"%s\"", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .doc =
	"Every setting, a variable of the environment: its type, unit, default, value in force and meaning.\v"
	"Exit status: 0, 2 if a setting is malformed.",
};

static const char *type_name(enum setting_type type)
{
	switch (type) {
	case SETTING_CHOICE:
		return "word";
	case SETTING_BYTES:
	case SETTING_SIZE:
		return "size";
	case SETTING_SECONDS:
		return "seconds";
	case SETTING_UNSIGNED:
	case SETTING_SIGNED:
		return "number";
	case SETTING_BOOL:
		return "yes or no";
	case SETTING_STRING:
		return "text";
	}
	return "?";
}

/* What values it takes: "auto, shm, verbs"; "1 to 1024"; "0.1 to 86400 s"; "" where the type says it all. */
static void format_values(const struct setting *s, char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = 0;
	for (unsigned i = 0; s->choices && s->choices[i] && used < bytes; i++)
		used += (size_t)snprintf(text + used, bytes - used, "%s%s", i ? ", " : "", s->choices[i]);
	if (s->type == SETTING_UNSIGNED || s->type == SETTING_SIGNED)
		snprintf(text, bytes, "%lld to %lld", (long long)s->min, (long long)s->max);
	if (s->type == SETTING_SIZE)
		snprintf(text, bytes, "%lld to %lld GiB", (long long)s->min >> 30, (long long)s->max >> 30);
	if (s->type == SETTING_SECONDS)
		snprintf(text, bytes, "%g to %g s", (double)s->min / 1e9, (double)s->max / 1e9);
}

static const char *or_empty(const char *text)
{
	return text[0] ? text : "\"\"";
}

static void print_text(const struct setting *table, size_t count, const struct machine_info *info)
{
	char values[160];

	for (size_t i = 0; i < count; i++) {
		const struct setting *s = &table[i];

		format_values(s, values, sizeof values);
		printf("%s%s", i ? "\n" : "", s->name);
		if (info->settings_error[0])
			printf("\n");
		else
			printf("=%s%s\n", info->settings[i].value, info->settings[i].set ? "  (set)" : "");
		printf("  %s%s%s; default %s%s\n", type_name(s->type), values[0] ? ": " : "", values,
		       or_empty(s->default_text), s->same_on_all_nodes ? "; the same on all nodes" : "");
		printf("  %s\n", s->help);
	}
}

static void print_markdown(const struct setting *table, size_t count)
{
	char values[160];

	printf("<!-- Made by `minorca settings --markdown`; a test compares. -->\n"
	       "# Settings\n\n"
	       "Variables of the environment, read once by `dsm_init()`. A name that begins with `MINORCA_` "
	       "and is not "
	       "in this list, or a value that is not of its type, is refused before the job starts. `minorca "
	       "settings` "
	       "shows the values in force.\n\n"
	       "| name | type | values | default | same on all nodes | meaning |\n"
	       "|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < count; i++) {
		const struct setting *s = &table[i];

		format_values(s, values, sizeof values);
		printf("| `%s` | %s | %s | %s%s%s | %s | %s |\n", s->name, type_name(s->type), values,
		       s->default_text[0] ? "`" : "", s->default_text[0] ? s->default_text : "empty",
		       s->default_text[0] ? "`" : "", s->same_on_all_nodes ? "yes" : "no", s->help);
	}
	printf("\nA size may be written 4096, 4K, 4KB or 4KiB (all powers of two); seconds may have a "
	       "fraction; yes or no may "
	       "also be on or off, true or false, 1 or 0.\n");
}

/* @return 0, or -1 if it could not be made. */
static int print_json(const struct setting *table, size_t count, const struct machine_info *info)
{
	bool known = !info->settings_error[0];
	json_t *list = json_array();
	int error;

	for (size_t i = 0; i < count; i++) {
		const struct setting *s = &table[i];
		char values[160];

		format_values(s, values, sizeof values);
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:b, s:b, s:s}",
						      "name", s->name, "type", type_name(s->type), "unit",
						      s->unit, "values", values, "default", s->default_text,
						      "value", known ? info->settings[i].value : NULL, "set",
						      info->settings[i].set, "same_on_all_nodes",
						      s->same_on_all_nodes, "help", s->help));
	}
	error = list && json_array_size(list) == count ? json_dumpf(list, stdout, JSON_INDENT(2)) : -1;
	json_decref(list);
	if (error)
		report("the JSON text could not be made: out of memory, or a value that is not UTF-8");
	else
		putchar('\n');
	return error;
}

int command_settings(int argc, char **argv)
{
	static struct machine_info info;
	struct settings settings;
	enum format format = FORMAT_TEXT;
	size_t count;
	const struct setting *table = settings_table(&count);

	argp_parse(&argp, argc, argv, 0, NULL, &format);
	if (format == FORMAT_MARKDOWN) {
		print_markdown(table, count);
		return STATUS_OK;
	}
	int error = machine_capture_settings(environ, &settings, &info);
	if (format == FORMAT_JSON) {
		if (print_json(table, count, &info))
			return STATUS_MISSING;
	} else {
		print_text(table, count, &info);
	}
	if (error)
		report("%s", info.settings_error);
	return error ? STATUS_USAGE : STATUS_OK;
}
