/*
 * Comma-separated lists. See list.h.
 */
#include "bench/list.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Takes the element at *@text into @element and steps over its comma. False when there is none left. */
static bool next_element(const char **text, char element[LIST_ELEMENT_MAX])
{
	const char *start = *text;

	if (!start)
		return false;
	size_t length = strcspn(start, ",");
	size_t kept = length < LIST_ELEMENT_MAX - 1 ? length : LIST_ELEMENT_MAX - 1;
	memcpy(element, start, kept);
	element[kept] = '\0';
	*text = start[length] == ',' ? start + length + 1 : NULL;
	return true;
}

int list_parse_number(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end || value < minimum || value > maximum)
		return -EINVAL;
	*number = value;
	return 0;
}

int list_parse_size(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *name;
		unsigned int shift;
	} units[] = {
	    {"", 0},	{"B", 0},    {"K", 10}, {"KB", 10}, {"KiB", 10}, {"M", 20},
	    {"MB", 20}, {"MiB", 20}, {"G", 30}, {"GB", 30}, {"GiB", 30},
	};
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || !value)
		return -EINVAL;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strcasecmp(end, units[i].name) || value > UINT64_MAX >> units[i].shift)
			continue;
		*bytes = (uint64_t)value << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

/* How one element is read. */
struct element_type {
	bool is_size;
	uint64_t minimum, maximum; /* of a number */
};

static int parse_element(const struct element_type *type, const char *element, uint64_t *value)
{
	if (type->is_size)
		return list_parse_size(element, value);
	return list_parse_number(element, type->minimum, type->maximum, value);
}

/* Reads the whole list before it stores any of it, so that an error leaves @values as they were. */
static int parse_values(const struct element_type *type, const char *text, size_t capacity, uint64_t *values,
			size_t *count, char bad[LIST_ELEMENT_MAX])
{
	char element[LIST_ELEMENT_MAX];
	const char *rest = text;
	size_t found = 0;
	uint64_t value;

	while (next_element(&rest, element)) {
		int error = parse_element(type, element, &value);
		if (!error && ++found > capacity)
			error = -E2BIG;
		if (error) {
			memcpy(bad, element, LIST_ELEMENT_MAX);
			return error;
		}
	}
	rest = text;
	for (size_t i = 0; next_element(&rest, element); i++)
		parse_element(type, element, &values[i]);
	*count = found;
	return 0;
}

int list_parse_sizes(const char *text, size_t capacity, uint64_t *sizes, size_t *count,
		     char bad[LIST_ELEMENT_MAX])
{
	static const struct element_type type = {.is_size = true};

	return parse_values(&type, text, capacity, sizes, count, bad);
}

int list_parse_numbers(const char *text, uint64_t minimum, uint64_t maximum, size_t capacity,
		       uint64_t *numbers, size_t *count, char bad[LIST_ELEMENT_MAX])
{
	const struct element_type type = {.minimum = minimum, .maximum = maximum};

	return parse_values(&type, text, capacity, numbers, count, bad);
}

int list_parse_words(const char *text, const char *const *words, uint32_t *selected,
		     char bad[LIST_ELEMENT_MAX])
{
	char element[LIST_ELEMENT_MAX];
	uint32_t all = 0;

	while (next_element(&text, element)) {
		uint32_t matched = 0;

		for (unsigned int i = 0; words[i]; i++)
			if (!fnmatch(element, words[i], 0))
				matched |= UINT32_C(1) << i;
		if (!matched) {
			memcpy(bad, element, LIST_ELEMENT_MAX);
			return -EINVAL;
		}
		all |= matched;
	}
	*selected = all;
	return 0;
}
