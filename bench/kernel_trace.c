/*
 * See kernel_trace.h. The kernel's side: Documentation/trace/ftrace.rst and events.rst.
 */
#include "bench/kernel_trace.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <minorca.h>

#include "bench/percentile.h"

/* Of all CPUs together, and of each. */
#define BUFFERS_KIB 65536
#define BUFFER_MOST_KIB 8192
#define BUFFER_LEAST_KIB 512
#define INSTANCE "minorca-" /* and the process */
#define COST_BATCHES 31
#define COST_CALLS 200

static const char *const mounts[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

/* Where the number of an event stands in its text: after this. */
static const struct {
	const char *folder, *name, *before_number;
} kinds[KERNEL_EVENTS] = {
    [KERNEL_PAGE_FAULT] = {"exceptions/page_fault_user", "page_fault_user", NULL},
    [KERNEL_SIGNAL_GENERATED] = {"signal/signal_generate", "signal_generate", "sig="},
    [KERNEL_SIGNAL_DELIVERED] = {"signal/signal_deliver", "signal_deliver", "sig="},
    [KERNEL_CALL] = {"raw_syscalls/sys_enter", "sys_enter", "NR "},
    [KERNEL_CALL_DONE] = {"raw_syscalls/sys_exit", "sys_exit", "NR "},
    [KERNEL_WAKING] = {"sched/sched_waking", "sched_waking", " pid="},
    [KERNEL_SWITCH] = {"sched/sched_switch", "sched_switch", "next_pid="},
};

struct kernel_trace {
	char folder[PATH_MAX / 4]; /* of the instance */
	uint64_t cost_ticks;
	struct kernel_event *events;
	size_t count, capacity;
};

/* --- text ---------------------------------------------------------------------------------------------- */

static bool parse_kind(const char *name, struct kernel_event *out)
{
	for (unsigned int i = 0; i < KERNEL_EVENTS; i++) {
		size_t length = strlen(kinds[i].name);
		if (strncmp(name, kinds[i].name, length) || name[length] != ':')
			continue;
		out->kind = i;
		const char *before = kinds[i].before_number;
		const char *number = before ? strstr(name + length, before) : NULL;
		out->number = number ? strtol(number + strlen(before), NULL, 10) : 0;
		return !before || number;
	}
	return false;
}

/* Whether a CPU's number, "[001] ", is at @at, and a thread's before that: "-4711   ". */
static bool parse_thread(const char *line, const char *at, pid_t *thread)
{
	size_t digits = strspn(at + 1, "0123456789");

	if (!digits || at[1 + digits] != ']')
		return false;
	while (at > line && at[-1] == ' ')
		at--;
	const char *number = at;
	while (number > line && isdigit((unsigned char)number[-1]))
		number--;
	*thread = (pid_t)strtol(number, NULL, 10);
	return number < at && number > line && number[-1] == '-';
}

/* "    a thread-4711    [001] d..1. 123456789: name: text". Its name may have anything in it. */
bool kernel_trace_parse(const char *line, struct kernel_event *out)
{
	const char *cpu = strchr(line, '[');

	while (cpu && !parse_thread(line, cpu, &out->thread))
		cpu = strchr(cpu + 1, '[');
	const char *end = cpu ? strstr(cpu, ": ") : NULL, *time = end;
	if (!end)
		return false;
	while (time[-1] != ' ' && time > cpu)
		time--;
	out->ticks = strtoull(time, NULL, 10);
	return parse_kind(end + 2, out);
}

/* --- files --------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int write_file(const struct kernel_trace *t, const char *name,
							    const char *format, ...)
{
	char path[PATH_MAX / 2], text[4096];
	va_list arguments;

	snprintf(path, sizeof path, "%s/%s", t->folder, name);
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (file < 0)
		return -errno;
	int error = length && write(file, text, (size_t)length) != length ? -errno : 0;
	close(file);
	return error;
}

static int enable(const struct kernel_trace *t, bool on)
{
	char name[128];
	int error = 0;

	for (unsigned int i = 0; i < KERNEL_EVENTS && !error; i++) {
		snprintf(name, sizeof name, "events/%s/enable", kinds[i].folder);
		error = write_file(t, name, "%d", on);
	}
	return error;
}

/* The kernel may know our threads by other numbers than we do, if we are in a namespace of our own; then
 * there will be no events. */
static int choose_threads(const struct kernel_trace *t)
{
	DIR *tasks = opendir("/proc/self/task");
	char list[4000] = "";
	size_t used = 0;

	if (!tasks)
		return -errno;
	for (struct dirent *task; (task = readdir(tasks)) && used < sizeof list - 16;)
		if (isdigit((unsigned char)task->d_name[0]))
			used += (size_t)snprintf(list + used, sizeof list - used, "%s ", task->d_name);
	closedir(tasks);
	return write_file(t, "set_event_pid", "%s", list);
}

int kernel_trace_start(struct kernel_trace *t)
{
	int error = write_file(t, "trace", "%s", "");

	if (!error)
		error = choose_threads(t);
	if (!error)
		error = enable(t, true);
	if (!error)
		error = write_file(t, "tracing_on", "1");
	return error;
}

int kernel_trace_stop(struct kernel_trace *t)
{
	int error = write_file(t, "tracing_on", "0");

	return error ? error : enable(t, false);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct kernel_event *)a)->ticks, y = ((const struct kernel_event *)b)->ticks;

	return (x > y) - (x < y);
}

static int keep(struct kernel_trace *t, const struct kernel_event *event)
{
	if (t->count == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 4096;
		struct kernel_event *events = realloc(t->events, capacity * sizeof *events);
		if (!events)
			return -ENOMEM;
		t->events = events;
		t->capacity = capacity;
	}
	t->events[t->count++] = *event;
	return 0;
}

int kernel_trace_read(struct kernel_trace *t, const struct kernel_event **events, size_t *count)
{
	char path[PATH_MAX / 2], *line = NULL;
	struct kernel_event event;
	size_t size = 0;
	int error = 0;

	snprintf(path, sizeof path, "%s/trace", t->folder);
	FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	t->count = 0;
	while (!error && getline(&line, &size, file) > 0)
		if (line[0] != '#' && kernel_trace_parse(line, &event))
			error = keep(t, &event);
	free(line);
	fclose(file);
	if (t->count)
		qsort(t->events, t->count, sizeof *t->events, by_time);
	*events = t->events;
	*count = t->count;
	return error;
}

/* --- cost ---------------------------------------------------------------------------------------------- */

static uint64_t time_calls(void)
{
	uint64_t batches[COST_BATCHES];

	for (unsigned int i = 0; i < COST_BATCHES; i++) {
		uint64_t before = dsm_trace_ticks();
		for (unsigned int j = 0; j < COST_CALLS; j++)
			syscall(SYS_getppid);
		batches[i] = dsm_trace_ticks() - before;
	}
	percentile_sort(batches, COST_BATCHES);
	return percentile(batches, COST_BATCHES, 50) / COST_CALLS;
}

/* @return -ENODATA: nothing was seen. */
static int measure_cost(struct kernel_trace *t)
{
	const struct kernel_event *events;
	uint64_t plain = time_calls();
	size_t count = 0;
	int error = kernel_trace_start(t);

	if (error)
		return error;
	uint64_t traced = time_calls();
	error = kernel_trace_stop(t);
	if (!error)
		error = kernel_trace_read(t, &events, &count);
	t->cost_ticks = traced > plain ? (traced - plain) / 2 : 0;
	return error ? error : count ? 0 : -ENODATA;
}

uint64_t kernel_trace_cost_ticks(const struct kernel_trace *t)
{
	return t->cost_ticks;
}

/* --- opening ------------------------------------------------------------------------------------------- */

static const char *find_mount(void)
{
	char path[PATH_MAX / 4];

	for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
		snprintf(path, sizeof path, "%s/instances", mounts[i]);
		if (!access(path, F_OK))
			return mounts[i];
	}
	return NULL;
}

/* What processes have left that did not come to their end: its events are switched on. */
static void remove_abandoned(const char *mount)
{
	char path[PATH_MAX / 2];

	snprintf(path, sizeof path, "%s/instances", mount);
	DIR *instances = opendir(path);
	if (!instances)
		return;
	for (struct dirent *one; (one = readdir(instances));) {
		if (strncmp(one->d_name, INSTANCE, strlen(INSTANCE)))
			continue;
		pid_t process = (pid_t)strtol(one->d_name + strlen(INSTANCE), NULL, 10);
		snprintf(path, sizeof path, "%s/instances/%s", mount, one->d_name);
		if (process > 0 && kill(process, 0) && errno == ESRCH)
			rmdir(path);
	}
	closedir(instances);
}

static int set_up(struct kernel_trace *t)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	long kib = BUFFERS_KIB / (cpus > 0 ? cpus : 1);

	kib = kib > BUFFER_MOST_KIB ? BUFFER_MOST_KIB : kib < BUFFER_LEAST_KIB ? BUFFER_LEAST_KIB : kib;
	int error = write_file(t, "tracing_on", "0");
	if (!error)
		error = write_file(t, "trace_clock", "x86-tsc");
	if (!error)
		error = write_file(t, "buffer_size_kb", "%ld", kib);
	return error;
}

static const char *why(int error)
{
	switch (error) {
	case -EACCES:
	case -EPERM:
		return "it needs root, and a kernel whose lockdown allows tracing";
	case -ENOENT:
		return "this kernel lacks a tracepoint (CONFIG_FTRACE_SYSCALLS), or instances of tracefs";
	case -EINVAL:
		return "this kernel's traces have no x86-tsc clock";
	case -ENODATA:
		return "no event of this process is seen: is it in a PID namespace of its own?";
	default:
		return strerror(-error);
	}
}

int kernel_trace_open(struct kernel_trace **out, char reason[KERNEL_TRACE_REASON_MAX])
{
	const char *mount = find_mount();

	if (!mount) {
		snprintf(reason, KERNEL_TRACE_REASON_MAX, "%s",
			 geteuid() ? "kernel tracing needs root"
				   : "no tracefs: mount -t tracefs nodev /sys/kernel/tracing");
		return -ENOENT;
	}
	struct kernel_trace *t = calloc(1, sizeof *t);
	if (!t) {
		snprintf(reason, KERNEL_TRACE_REASON_MAX, "no kernel tracing: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	remove_abandoned(mount);
	snprintf(t->folder, sizeof t->folder, "%s/instances/" INSTANCE "%d", mount, (int)getpid());
	int error = mkdir(t->folder, 0700) ? -errno : 0;
	if (error) {
		free(t);
	} else {
		error = set_up(t);
		if (!error)
			error = measure_cost(t);
		if (error)
			kernel_trace_close(t);
	}
	if (error)
		snprintf(reason, KERNEL_TRACE_REASON_MAX, "no kernel tracing (%s): %s", mount, why(error));
	else
		*out = t;
	return error;
}

/* An instance that is in use cannot be removed. */
void kernel_trace_close(struct kernel_trace *t)
{
	if (!t)
		return;
	kernel_trace_stop(t);
	rmdir(t->folder);
	free(t->events);
	free(t);
}
