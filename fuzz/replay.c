/*
 * Runs a fuzz target over the files of its corpus, once each: what a fuzzer found once stays tested, by any
 * compiler. usage: NAME_corpus_test DIRECTORY...   Prints TAP.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/node.h"

#define INPUT_BYTES_MAX ((size_t)1 << 20)

/* @return false: it cannot be read. The input is in memory of its own size, so that a sanitizer sees its end.
 */
static bool run_file(const char *path)
{
	static uint8_t buffer[INPUT_BYTES_MAX];
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	size_t size = fread(buffer, 1, sizeof buffer, file);
	fclose(file);
	uint8_t *data = malloc(size ? size : 1);
	if (!data)
		return false;
	memcpy(data, buffer, size);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return true;
}

static unsigned run_directory(const char *path)
{
	DIR *directory = opendir(path);
	unsigned count = 0;

	for (struct dirent *entry; directory && (entry = readdir(directory));) {
		char name[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		count += run_file(name);
	}
	if (directory)
		closedir(directory);
	return count;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		count += run_directory(argv[i]);
	printf("1..1\n%sok 1 - %u inputs\n", count ? "" : "not ", count);
	return !count;
}
