/*
 * What the runtime says to people, on stderr, one line each: "minorca: node 1: WHAT; WHAT TO DO".
 * Whoever first detects an error reports it, once.
 */
#ifndef MINORCA_DSM_REPORT_H
#define MINORCA_DSM_REPORT_H

#include <stddef.h>
#include <stdint.h>

/** The node number that messages carry; negative: none yet. */
void report_set_node(int node);

/** Prints one line. Not for the fault path. */
__attribute__((format(printf, 1, 2))) void report(const char *format, ...);

/**
 * From here on, report() of this process goes to @buffer (the last message wins) instead of stderr; NULL: to
 * stderr again. For steps that fail alike on many nodes, of which one is to speak. Set-up only: one thread.
 */
void report_capture(char *buffer, size_t bytes);

/* --- async-signal-safe: for the fault path, where stdio is forbidden --- */

/** One part of a message: text, or a number when @text is NULL. */
struct report_part {
	const char *text;
	uint64_t number;
	int hex;
};

#define REPORT_TEXT(s) ((struct report_part){(s), 0, 0})
#define REPORT_NUMBER(n) ((struct report_part){0, (n), 0})
#define REPORT_HEX(n) ((struct report_part){0, (n), 1})

/** Prints "minorca: node N: " and the parts in one write(2). Async-signal-safe. */
void report_signal_safe(const struct report_part *parts, unsigned count);

#endif
