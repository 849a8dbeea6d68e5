/*
 * Values of options. See argument.h.
 */
#include "bench/argument.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/list.h"

/* A set of words that is longer is not quoted in a message. */
#define QUOTED_MAX 150

int argument_refuse(char error[ARGUMENT_ERROR_MAX], const char *option, const char *value,
		    const char *expected)
{
	snprintf(error, ARGUMENT_ERROR_MAX, "--%s: '%s' is not %s", option, value, expected);
	return EINVAL;
}

/* What may be written, for a message: "one of read, write". */
static void describe_words(const char *const *words, char out[QUOTED_MAX])
{
	size_t used = (size_t)snprintf(out, QUOTED_MAX, "one of ");

	for (unsigned int i = 0; words[i] && used < QUOTED_MAX; i++)
		used += (size_t)snprintf(out + used, QUOTED_MAX - used, "%s%s", i ? ", " : "", words[i]);
	if (used >= QUOTED_MAX)
		snprintf(out, QUOTED_MAX, "one of those that --list shows");
}

int argument_words(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text,
		   const char *const *words, uint32_t *mask)
{
	char bad[LIST_ELEMENT_MAX], expected[QUOTED_MAX];

	if (!list_parse_words(text, words, mask, bad))
		return 0;
	describe_words(words, expected);
	return argument_refuse(error, option, bad, expected);
}

int argument_number(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text, uint64_t minimum,
		    uint64_t maximum, uint64_t *number)
{
	char expected[64];

	if (!list_parse_number(text, minimum, maximum, number))
		return 0;
	snprintf(expected, sizeof expected, "a number from %" PRIu64 " to %" PRIu64, minimum, maximum);
	return argument_refuse(error, option, text, expected);
}

int argument_size(char error[ARGUMENT_ERROR_MAX], const char *option, const char *text, uint64_t *bytes)
{
	if (!list_parse_size(text, bytes))
		return 0;
	return argument_refuse(error, option, text, "a size such as 64MiB");
}

int argument_format(char error[ARGUMENT_ERROR_MAX], enum output_format wanted, enum output_format *format)
{
	if (*format != OUTPUT_TABLE && *format != wanted)
		return argument_refuse(error, "csv", "--json --csv", "one format");
	*format = wanted;
	return 0;
}

int argument_stray(char error[ARGUMENT_ERROR_MAX], const char *text)
{
	snprintf(error, ARGUMENT_ERROR_MAX, "'%s': there are options only, no arguments", text);
	return EINVAL;
}
