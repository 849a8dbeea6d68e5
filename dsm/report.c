/*
 * Messages to people. stdio outside the fault path, a bare write(2) inside it.
 */
#include "dsm/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE_BYTES 1024

static int own_node = -1;
static char *captured;
static size_t captured_bytes;

/* By a bare system call: write() is a cancellation point, and a thread that reports may hold locks. */
static void write_line(const char *line, size_t bytes)
{
	if (syscall(SYS_write, STDERR_FILENO, line, bytes) < 0)
		return; /* nobody is listening */
}

void report_set_node(int node)
{
	own_node = node;
}

void report_capture(char *buffer, size_t bytes)
{
	captured = buffer;
	captured_bytes = bytes;
	if (buffer)
		buffer[0] = 0;
}

void report(const char *format, ...)
{
	char line[LINE_BYTES];
	int used;
	va_list arguments;

	if (captured) {
		va_start(arguments, format);
		vsnprintf(captured, captured_bytes, format, arguments);
		va_end(arguments);
		return;
	}
	if (own_node >= 0)
		used = snprintf(line, sizeof line, "minorca: node %d: ", own_node);
	else
		used = snprintf(line, sizeof line, "minorca: ");
	va_start(arguments, format);
	used += vsnprintf(line + used, sizeof line - (size_t)used, format, arguments);
	va_end(arguments);
	if (used > (int)sizeof line - 2)
		used = (int)sizeof line - 2;
	line[used++] = '\n';
	/* One write: lines of several nodes do not mix. And no stdio: a thread that waits in a fault may hold
	 * the lock of stderr. */
	write_line(line, (size_t)used);
}

static size_t append_text(char *line, size_t used, const char *text)
{
	size_t length = strlen(text);

	if (length > LINE_BYTES - 1 - used)
		length = LINE_BYTES - 1 - used;
	memcpy(line + used, text, length);
	return used + length;
}

static size_t append_number(char *line, size_t used, uint64_t number, unsigned base)
{
	char digits[24];
	size_t at = sizeof digits;

	digits[--at] = 0;
	do {
		digits[--at] = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	if (base == 16)
		used = append_text(line, used, "0x");
	return append_text(line, used, digits + at);
}

void report_signal_safe(const struct report_part *parts, unsigned count)
{
	char line[LINE_BYTES];
	size_t used = append_text(line, 0, "minorca: ");

	if (own_node >= 0) {
		used = append_text(line, used, "node ");
		used = append_number(line, used, (uint64_t)own_node, 10);
		used = append_text(line, used, ": ");
	}
	for (unsigned i = 0; i < count; i++)
		used = parts[i].text ? append_text(line, used, parts[i].text)
				     : append_number(line, used, parts[i].number, parts[i].hex ? 16 : 10);
	line[used++] = '\n';
	write_line(line, used);
}
