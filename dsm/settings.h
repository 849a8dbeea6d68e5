/*
 * Settings: one table (settings.c) of every environment variable MINORCA_*, its type, unit, default and
 * meaning. The table feeds the parser, `minorca settings`, `minorca info` and the check that all nodes agree.
 */
#ifndef MINORCA_DSM_SETTINGS_H
#define MINORCA_DSM_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <minorca.h>

/* The longest text of a setting, with its end. */
#define SETTING_STRING_BYTES 256

enum transport_choice { TRANSPORT_AUTO, TRANSPORT_SHM, TRANSPORT_VERBS, TRANSPORT_MIXED };

/* The values in force. Read-only once settings_parse() has filled it. */
struct settings {
	enum transport_choice transport;
	enum dsm_delivery delivery;
	uint64_t page_size_bytes;
	uint64_t timeout_ns;
	uint64_t heap_bytes; /* 0: no heap */
	uint64_t heap_page_bytes;
	uint64_t lanes;
	uint64_t log_entries;
	uint64_t kept_twins_mib;
	uint64_t readahead_bytes;
	uint64_t handlers;
	int64_t handler_pu; /* -1: hwloc chooses */
	bool bind_memory;
	bool print_stats;
	char trace[SETTING_STRING_BYTES]; /* "": none */
	uint64_t trace_faults;
	char verbs_device[SETTING_STRING_BYTES]; /* "": choose */
	int64_t verbs_port;			 /* 0: choose */
	int64_t verbs_gid;			 /* -1: choose */
	uint64_t verbs_chunk_bytes;
	uint64_t verbs_read_bytes; /* 0: reads are not split */
};

enum setting_type {
	SETTING_CHOICE,	  /* one of a list of words */
	SETTING_BYTES,	  /* a size: 4096, 4KiB, 2MiB, 1GiB; one of a list */
	SETTING_SIZE,	  /* any size, 0 too */
	SETTING_SECONDS,  /* 10, 0.5; held in ns */
	SETTING_UNSIGNED, /* a number */
	SETTING_SIGNED,
	SETTING_BOOL, /* 0 1 no yes off on */
	SETTING_STRING,
};

struct setting {
	const char *name; /* "MINORCA_TRANSPORT" */
	enum setting_type type;
	const char *unit;	    /* "s", "bytes", or "" */
	const char *default_text;   /* as one would write it */
	const char *const *choices; /* SETTING_CHOICE, SETTING_BYTES: NULL-terminated, else NULL */
	int64_t min, max;	    /* numbers; seconds: in ns */
	bool same_on_all_nodes;	    /* nodes must agree */
	size_t offset;		    /* in struct settings */
	const char *help;
};

/** The table. @param count set to its length. Static. */
const struct setting *settings_table(size_t *count);

/**
 * Reads every MINORCA_* variable of @environment (NULL-terminated NAME=VALUE strings, as environ).
 *
 * @param out    filled with defaults and what was set, on success
 * @param error  on -EINVAL, one line: the name, the value and what was expected (or, for a name that is not
 * in the table, the nearest that is)
 * @return 0 or -EINVAL.
 */
int settings_parse(char *const *environment, struct settings *out, char *error, size_t error_bytes);

/** Writes the value of @setting in @settings as text, in the form that the parser reads. */
void setting_format(const struct setting *setting, const struct settings *settings, char *text,
		    size_t text_bytes);

/* Values as settings have them, for options of commands too. */

/** "4096", "64MiB". @return whether it is a size. */
bool setting_read_size(const char *text, uint64_t *out);

/** As short as it can be written: "1GiB", "1536MiB", "100". */
void setting_format_size(uint64_t bytes, char *text, size_t text_bytes);

/** "0.5", "10s", in ns. @return whether it is a time, maybe less than none. */
bool setting_read_seconds(const char *text, int64_t *out);

#endif
