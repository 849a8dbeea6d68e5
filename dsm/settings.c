/*
 * The table of settings, and the parser that reads it. Nothing else in the library calls getenv().
 */
#include "dsm/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX "MINORCA_"

/* The order of the words is the order of the enumerators. */
static const char *const transport_words[] = {"auto", "shm", "verbs", "mixed", NULL};
static const char *const delivery_words[] = {"default", "inline", "thread-spin", "thread-block", NULL};
static const char *const page_size_words[] = {"4KiB", "2MiB", "1GiB", NULL};
static const char *const chunk_words[] = {"2MiB", "64MiB", "1GiB", "16GiB", NULL};

#define AT(field) offsetof(struct settings, field)

static const struct setting table[] = {
    {"MINORCA_TRANSPORT", SETTING_CHOICE, "", "auto", transport_words, 0, 0, true, AT(transport),
     "how nodes reach each other's memory: shm (all on one machine), verbs (RDMA), mixed (shm within a "
     "machine, verbs between machines and for atomics); auto: shm if all nodes are on one machine, else "
     "mixed"},
    {"MINORCA_DELIVERY", SETTING_CHOICE, "", "inline", delivery_words, 0, 0, true, AT(delivery),
     "how a fault reaches the runtime in regions that do not say: inline (SIGBUS in the faulting thread), "
     "thread-spin, thread-block (handler threads; system calls may touch regions; needs privilege)"},
    {"MINORCA_PAGE_SIZE", SETTING_BYTES, "bytes", "4KiB", page_size_words, 0, 0, true, AT(page_size_bytes),
     "page size of regions that do not say: 4KiB (shmem), 2MiB or 1GiB (hugetlb)"},
    {"MINORCA_HEAP_BYTES", SETTING_SIZE, "bytes", "1GiB", NULL, 0, (int64_t)1 << 40, true, AT(heap_bytes),
     "size of the heap of dsm_malloc(), all nodes together: one half in parts that lie on one node each, one "
     "interleaved; costs address space, memory only when used (verbs without on-demand paging: locked "
     "memory, "
     "whole, on every node); 0: no heap"},
    {"MINORCA_HEAP_PAGE_SIZE", SETTING_BYTES, "bytes", "4KiB", page_size_words, 0, 0, true,
     AT(heap_page_bytes),
     "page size of that heap; hugepages are taken from the pool one by one, and a pool that is empty then "
     "ends the process"},
    {"MINORCA_TIMEOUT", SETTING_SECONDS, "s", "10", NULL, 100000000, 86400000000000, true, AT(timeout_ns),
     "how long anything waits for another node before it names the node and fails"},
    {"MINORCA_LANES", SETTING_UNSIGNED, "", "32", NULL, 1, 1024, true, AT(lanes),
     "threads of a node that can fetch at the same time; more threads than that take turns"},
    {"MINORCA_LOG_ENTRIES", SETTING_UNSIGNED, "", "4096", NULL, 1, 1048576, true, AT(log_entries),
     "entries of the change log that each node keeps for each other node, 8 bytes each; one entry tells of "
     "up to 256 "
     "neighbouring pages. A node that falls behind by more compares versions instead"},
    {"MINORCA_KEPT_TWINS_MIB", SETTING_UNSIGNED, "MiB", "256", NULL, 0, 1048576, false, AT(kept_twins_mib),
     "copies of pages that each region keeps from one interval to the next, so that a page with one writer "
     "is not "
     "copied again at each first store"},
    {"MINORCA_READAHEAD", SETTING_SIZE, "bytes", "1MiB", NULL, 0, (int64_t)1 << 30, false,
     AT(readahead_bytes),
     "most memory that a fault brings in when a thread walks through a region, its own page included; less "
     "than two pages: none"},
    {"MINORCA_HANDLERS", SETTING_UNSIGNED, "", "1", NULL, 1, 64, false, AT(handlers),
     "handler threads of this node, for regions with thread delivery"},
    {"MINORCA_HANDLER_PU", SETTING_SIGNED, "", "-1", NULL, -1, 65535, false, AT(handler_pu),
     "processing unit (OS index) of the first handler thread; the others follow; -1: hwloc chooses one near "
     "the thread that made the region, on another core if there is one"},
    {"MINORCA_BIND_MEMORY", SETTING_BOOL, "", "yes", NULL, 0, 1, false, AT(bind_memory),
     "bind the memory of regions to the NUMA nodes that this process may run on"},
    {"MINORCA_STATS", SETTING_BOOL, "", "no", NULL, 0, 1, false, AT(print_stats),
     "print this node's statistics on stderr at dsm_finalize()"},
    {"MINORCA_TRACE", SETTING_STRING, "", "", NULL, 0, 0, false, AT(trace),
     "write what faults there were to this path and `.NODE.csv` at dsm_finalize(): time, duration, region, "
     "page, "
     "access and pages of each; empty: none"},
    {"MINORCA_TRACE_FAULTS", SETTING_UNSIGNED, "", "16384", NULL, 1, 1 << 26, false, AT(trace_faults),
     "faults of each lane that MINORCA_TRACE keeps, 104 bytes each"},
    {"MINORCA_VERBS_DEVICE", SETTING_STRING, "", "", NULL, 0, 0, false, AT(verbs_device),
     "RDMA device, as ibv_devices names it; empty: of the ports that can be used, hardware first, then the "
     "nearest to this node's CPUs, then the fastest (docs/verbs.md; minorca info tells which)"},
    {"MINORCA_VERBS_PORT", SETTING_SIGNED, "", "0", NULL, 0, 255, false, AT(verbs_port),
     "port of that device; 0: choose likewise"},
    {"MINORCA_VERBS_GID", SETTING_SIGNED, "", "-1", NULL, -1, 1023, false, AT(verbs_gid),
     "index of the port's GID; -1: choose: RoCE v2 first, then an IPv4 address, then IPv6"},
    {"MINORCA_VERBS_CHUNK", SETTING_BYTES, "bytes", "1GiB", chunk_words, 0, 0, true, AT(verbs_chunk_bytes),
     "memory is registered with the RDMA device in pieces of this size; what a node is not home of is not "
     "made accessible to others, piece by piece"},
    {"MINORCA_VERBS_READ", SETTING_SIZE, "bytes", "0", NULL, 0, (int64_t)1 << 30, false, AT(verbs_read_bytes),
     "reads of more than this are split, and the parts are under way together; 0: they are not split"},
};

#define TABLE_LENGTH (sizeof table / sizeof table[0])

const struct setting *settings_table(size_t *count)
{
	*count = TABLE_LENGTH;
	return table;
}

bool setting_read_size(const char *text, uint64_t *out)
{
	static const struct {
		const char *suffix;
		unsigned shift;
	} units[] = {{"", 0},	 {"B", 0},    {"K", 10}, {"KB", 10}, {"KiB", 10}, {"M", 20},
		     {"MB", 20}, {"MiB", 20}, {"G", 30}, {"GB", 30}, {"GiB", 30}};
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	uint64_t value = strtoull(text, &end, 10);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (!strcasecmp(end, units[i].suffix) && value <= UINT64_MAX >> units[i].shift) {
			*out = value << units[i].shift;
			return true;
		}
	return false;
}

/* "4KiB" -> 4096; 0 if it is not a size. */
static uint64_t parse_bytes(const char *text)
{
	uint64_t bytes;

	return setting_read_size(text, &bytes) ? bytes : 0;
}

void setting_format_size(uint64_t bytes, char *text, size_t text_bytes)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB"};
	unsigned unit = 0;

	while (bytes && !(bytes % 1024) && unit < 3) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, text_bytes, "%" PRIu64 "%s", bytes, units[unit]);
}

static bool parse_number(const char *text, int64_t *out)
{
	char *end;

	if (!*text || isspace((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return !errno && !*end;
}

bool setting_read_seconds(const char *text, int64_t *out)
{
	char *end;

	if (!*text || isspace((unsigned char)*text))
		return false;
	double seconds = strtod(text, &end);
	if (*end == 's' && !end[1])
		end++;
	if (*end || !isfinite(seconds) || fabs(seconds) > 1e9)
		return false;
	*out = (int64_t)(seconds * 1e9);
	return true;
}

static bool parse_bool(const char *text, bool *out)
{
	static const char *const words[] = {"0", "1", "no", "yes", "off", "on", "false", "true"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (!strcasecmp(text, words[i])) {
			*out = i & 1;
			return true;
		}
	return false;
}

static bool store(const struct setting *s, const char *text, struct settings *out)
{
	char *field = (char *)out + s->offset;
	int64_t number;

	switch (s->type) {
	case SETTING_CHOICE:
		for (unsigned i = 0; s->choices[i]; i++)
			if (!strcmp(text, s->choices[i])) {
				*(unsigned *)field = i;
				return true;
			}
		return false;
	case SETTING_BYTES: {
		uint64_t bytes = parse_bytes(text);
		for (unsigned i = 0; s->choices[i]; i++)
			if (bytes && bytes == parse_bytes(s->choices[i])) {
				*(uint64_t *)field = bytes;
				return true;
			}
		return false;
	}
	case SETTING_SIZE: {
		uint64_t bytes;
		if (!setting_read_size(text, &bytes) || bytes < (uint64_t)s->min || bytes > (uint64_t)s->max)
			return false;
		*(uint64_t *)field = bytes;
		return true;
	}
	case SETTING_SECONDS:
		if (!setting_read_seconds(text, &number) || number < s->min || number > s->max)
			return false;
		*(uint64_t *)field = (uint64_t)number;
		return true;
	case SETTING_UNSIGNED:
	case SETTING_SIGNED:
		if (!parse_number(text, &number) || number < s->min || number > s->max)
			return false;
		*(int64_t *)field = number;
		return true;
	case SETTING_BOOL:
		return parse_bool(text, (bool *)field);
	case SETTING_STRING:
		if (strlen(text) >= SETTING_STRING_BYTES)
			return false;
		strcpy(field, text);
		return true;
	}
	return false;
}

static void describe_expected(const struct setting *s, char *text, size_t bytes)
{
	switch (s->type) {
	case SETTING_CHOICE:
	case SETTING_BYTES: {
		size_t used = (size_t)snprintf(text, bytes, "one of");
		for (unsigned i = 0; s->choices[i] && used < bytes; i++)
			used +=
			    (size_t)snprintf(text + used, bytes - used, "%s %s", i ? "," : "", s->choices[i]);
		break;
	}
	case SETTING_SIZE: {
		char least[32], most[32];
		setting_format_size((uint64_t)s->min, least, sizeof least);
		setting_format_size((uint64_t)s->max, most, sizeof most);
		snprintf(text, bytes, "a size from %s to %s, such as 512MiB", least, most);
		break;
	}
	case SETTING_SECONDS:
		snprintf(text, bytes, "seconds, from %g to %g", (double)s->min / 1e9, (double)s->max / 1e9);
		break;
	case SETTING_UNSIGNED:
	case SETTING_SIGNED:
		snprintf(text, bytes, "a number from %" PRId64 " to %" PRId64, s->min, s->max);
		break;
	case SETTING_BOOL:
		snprintf(text, bytes, "yes or no");
		break;
	case SETTING_STRING:
		snprintf(text, bytes, "up to %d characters", SETTING_STRING_BYTES - 1);
		break;
	}
}

/* Levenshtein distance, for "did you mean". Names are short. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[64];
	size_t n = strlen(b);

	if (n >= 64)
		return 64;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
			best = up + 1 < best ? up + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			diagonal = up;
		}
	}
	return row[n];
}

static void report_unknown(const char *name, int length, char *error, size_t bytes)
{
	const struct setting *nearest = &table[0];
	char copy[64];

	snprintf(copy, sizeof copy, "%.*s", length, name);
	for (size_t i = 1; i < TABLE_LENGTH; i++)
		if (distance(copy, table[i].name) < distance(copy, nearest->name))
			nearest = &table[i];
	snprintf(error, bytes, "%s is not a setting; did you mean %s? `minorca settings` lists them all",
		 copy, nearest->name);
}

int settings_parse(char *const *environment, struct settings *out, char *error, size_t error_bytes)
{
	struct settings s;

	memset(&s, 0, sizeof s); /* padding too: nodes compare a digest of it */
	for (size_t i = 0; i < TABLE_LENGTH; i++)
		if (!store(&table[i], table[i].default_text, &s)) {
			snprintf(error, error_bytes, "%s: its own default is malformed", table[i].name);
			return -EINVAL;
		}
	for (; *environment; environment++) {
		const char *entry = *environment, *equals = strchr(entry, '=');
		if (strncmp(entry, PREFIX, strlen(PREFIX)) || !equals)
			continue;
		int length = (int)(equals - entry);
		const struct setting *found = NULL;
		for (size_t i = 0; i < TABLE_LENGTH; i++)
			if (strlen(table[i].name) == (size_t)length &&
			    !strncmp(entry, table[i].name, (size_t)length))
				found = &table[i];
		if (!found) {
			report_unknown(entry, length, error, error_bytes);
			return -EINVAL;
		}
		if (!store(found, equals + 1, &s)) {
			char expected[160];
			describe_expected(found, expected, sizeof expected);
			snprintf(error, error_bytes, "%s=%.100s: expected %s", found->name, equals + 1,
				 expected); /* a text that is too long is not worth more */
			return -EINVAL;
		}
	}
	if (s.delivery == DSM_DELIVERY_DEFAULT)
		s.delivery = DSM_DELIVERY_INLINE;
	*out = s;
	return 0;
}

void setting_format(const struct setting *setting, const struct settings *settings, char *text, size_t bytes)
{
	const char *field = (const char *)settings + setting->offset;

	switch (setting->type) {
	case SETTING_CHOICE:
		snprintf(text, bytes, "%s", setting->choices[*(const unsigned *)field]);
		break;
	case SETTING_BYTES:
		for (unsigned i = 0; setting->choices[i]; i++)
			if (parse_bytes(setting->choices[i]) == *(const uint64_t *)field)
				snprintf(text, bytes, "%s", setting->choices[i]);
		break;
	case SETTING_SIZE:
		setting_format_size(*(const uint64_t *)field, text, bytes);
		break;
	case SETTING_SECONDS:
		snprintf(text, bytes, "%.15g", (double)*(const uint64_t *)field / 1e9);
		break;
	case SETTING_UNSIGNED:
	case SETTING_SIGNED:
		snprintf(text, bytes, "%" PRId64, *(const int64_t *)field);
		break;
	case SETTING_BOOL:
		snprintf(text, bytes, "%s", *(const bool *)field ? "yes" : "no");
		break;
	case SETTING_STRING:
		snprintf(text, bytes, "%s", field);
		break;
	}
}
