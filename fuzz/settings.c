/* The environment: one entry a line. What is accepted is within its bounds, and reads the same when it is
 * written. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/settings.h"
#include "fuzz/node.h"

#define ENTRIES_MAX 64

static void check(const struct settings *settings)
{
	size_t count;
	const struct setting *table = settings_table(&count);

	REQUIRE(memchr(settings->verbs_device, 0, sizeof settings->verbs_device));
	for (size_t i = 0; i < count; i++) {
		char entry[256], error[512], *environment[] = {entry, NULL};
		struct settings again;
		int used = snprintf(entry, sizeof entry, "%s=", table[i].name);
		setting_format(&table[i], settings, entry + used, sizeof entry - (size_t)used);
		REQUIRE(!settings_parse(environment, &again, error, sizeof error));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *environment[ENTRIES_MAX + 1], error[512];
	struct settings settings;
	size_t count = 0;

	REQUIRE(text);
	memcpy(text, data, size);
	text[size] = 0;
	for (char *rest = text, *line; count < ENTRIES_MAX && (line = strsep(&rest, "\n"));)
		environment[count++] = line;
	environment[count] = NULL;
	memset(error, 'x', sizeof error);
	int status = settings_parse(environment, &settings, error, sizeof error);
	REQUIRE_STATUS(status);
	if (status)
		REQUIRE(memchr(error, 0, sizeof error));
	else
		check(&settings);
	free(text);
	return 0;
}
