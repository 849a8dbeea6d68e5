/*
 * Tracing faults. See trace.h.
 *
 * dsm_trace_stop() clears trace_on and then waits until every lane that is held has been let go of. Who took
 * a lane before looks at trace_on after that, in trace_begin(): either it is waited for, or it sees that
 * tracing is over. (Both sequentially consistent: the store and the load of the lane's turn here, the taking
 * of the lane and the load there.)
 */
#include "dsm/trace.h"

#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dsm/clock.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* How long the counter is compared with the clock, and how often its own cost is taken. */
#define CALIBRATION_NS 20000000
#define COST_SAMPLES 1001

/* The faults that a lane has kept. Written by whoever holds the lane. */
struct trace {
	struct dsm_fault_trace *faults;
	size_t count, capacity;
	uint64_t left_out; /* there was no room for them */
	struct dsm_fault_trace spare;
};

bool trace_on;

static struct trace *traces; /* by lane; NULL: nothing was traced yet */

/* --- in a fault ----------------------------------------------------------------------------------------- */

void trace_begin(struct lane *lane, uint64_t entered)
{
	if (__builtin_expect(!entered, 1) || !__atomic_load_n(&trace_on, __ATOMIC_SEQ_CST))
		return;
	struct trace *t = &traces[lane->index];

	lane->fault = t->count < t->capacity ? &t->faults[t->count] : &t->spare;
	*lane->fault = (struct dsm_fault_trace){.at[DSM_MOMENT_ENTERED] = entered, .pages = 1};
}

void trace_end(struct lane *lane, const struct dsm_region *r, size_t page, bool write, bool present)
{
	struct dsm_fault_trace *fault = lane->fault;

	if (__builtin_expect(!fault, 1))
		return;
	struct trace *t = &traces[lane->index];

	lane->fault = NULL;
	fault->page = region_app(r, page);
	fault->page_index = page;
	fault->kind = !write ? DSM_FAULT_READ : present ? DSM_FAULT_UPGRADE : DSM_FAULT_WRITE;
	memcpy(fault->region, r->name, sizeof fault->region - 1);
	fault->at[DSM_MOMENT_LEFT] = dsm_trace_ticks();
	if (fault == &t->spare)
		t->left_out++;
	else
		t->count++;
}

/* --- switching on and off ------------------------------------------------------------------------------- */

static void free_traces(void)
{
	for (unsigned i = 0; traces && i < lanes_count(); i++)
		free(traces[i].faults);
	free(traces);
	traces = NULL;
}

/* Written once, so that keeping a fault does not fault. */
static int make_traces(size_t faults)
{
	free_traces();
	if (faults > SIZE_MAX / sizeof *traces->faults)
		return -ENOMEM; /* said here, since AddressSanitizer ends a program that lets an allocator
				   find it */
	traces = calloc(lanes_count(), sizeof *traces);
	for (unsigned i = 0; traces && i < lanes_count(); i++) {
		traces[i].faults = malloc(faults * sizeof *traces[i].faults);
		if (!traces[i].faults) {
			free_traces();
			break;
		}
		memset(traces[i].faults, 0, faults * sizeof *traces[i].faults);
		traces[i].capacity = faults;
	}
	return traces ? 0 : -ENOMEM;
}

int dsm_trace_start(size_t faults)
{
	if (!runtime.started || !faults || trace_on)
		return trace_on ? -EBUSY : -EINVAL;
	int error = make_traces(faults);

	if (!error)
		__atomic_store_n(&trace_on, true, __ATOMIC_SEQ_CST);
	return error;
}

int dsm_trace_stop(void)
{
	if (!runtime.started || !trace_on)
		return -EINVAL;
	__atomic_store_n(&trace_on, false, __ATOMIC_SEQ_CST);
	lanes_quiesce();
	return 0;
}

/* --- what was kept -------------------------------------------------------------------------------------- */

int dsm_trace_read(struct dsm_fault_trace *out, size_t capacity, size_t *count, uint64_t *left_out)
{
	size_t copied = 0;
	uint64_t lost = 0;

	if (!traces || trace_on)
		return -EINVAL;
	for (unsigned i = 0; i < lanes_count(); i++) {
		const struct trace *t = &traces[i];
		size_t fit = t->count < capacity - copied ? t->count : capacity - copied;

		memcpy(out + copied, t->faults, fit * sizeof *out);
		copied += fit;
		lost += t->left_out + (t->count - fit);
	}
	*count = copied;
	if (left_out)
		*left_out = lost;
	return 0;
}

/* --- the counter ---------------------------------------------------------------------------------------- */

/* CPUID 80000007h EDX bit 8: it runs at one rate whatever the CPU does, and on in its sleep (Intel
 * SDM 18.17). */
static bool is_invariant(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && edx & 1u << 8;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median_cost(void)
{
	uint64_t costs[COST_SAMPLES];

	for (unsigned i = 0; i < COST_SAMPLES; i++) {
		uint64_t before = dsm_trace_ticks();

		costs[i] = dsm_trace_ticks() - before;
	}
	qsort(costs, COST_SAMPLES, sizeof *costs, by_value);
	return costs[COST_SAMPLES / 2];
}

/* What switched-off moments cost, in ps each: many of them in a loop, on a lane that is not in use; the least
 * of some loops, since others may interrupt them. */
static uint64_t idle_cost_ps(void)
{
	enum { LOOPS = 32, TIMES = 4096 };
	struct lane lane = {0};
	struct lane *volatile idle = &lane; /* the compiler is to look each time */
	uint64_t least_ns = UINT64_MAX;

	for (unsigned loop = 0; loop < LOOPS; loop++) {
		uint64_t before = clock_ns();

		for (unsigned i = 0; i < TIMES; i++)
			trace_moment(idle, DSM_MOMENT_ASKED);
		uint64_t ns = clock_ns() - before;
		least_ns = ns < least_ns ? ns : least_ns;
	}
	return least_ns * 1000 / TIMES;
}

void dsm_trace_clock(struct dsm_trace_clock *out)
{
	uint64_t ns = clock_ns(), ticks = dsm_trace_ticks(), now_ns;

	do
		now_ns = clock_ns();
	while (now_ns - ns < CALIBRATION_NS);
	uint64_t now_ticks = dsm_trace_ticks();

	*out = (struct dsm_trace_clock){
	    .ticks_per_s = (double)(now_ticks - ticks) * 1e9 / (double)(now_ns - ns),
	    .cost_ticks = median_cost(),
	    .idle_cost_ps = idle_cost_ps(),
	    .invariant = is_invariant(),
	};
}

/* --- MINORCA_TRACE -------------------------------------------------------------------------------------- */

static uint64_t opened_ticks;

void trace_open(void)
{
	if (!runtime.settings.trace[0])
		return;
	opened_ticks = dsm_trace_ticks();
	if (dsm_trace_start(runtime.settings.trace_faults))
		report("no memory for the traces of %" PRIu64
		       " faults on each of %u lanes (MINORCA_TRACE_FAULTS)",
		       runtime.settings.trace_faults, lanes_count());
}

static const char *kind_name(enum dsm_fault_kind kind)
{
	return kind == DSM_FAULT_READ ? "read" : kind == DSM_FAULT_WRITE ? "write" : "upgrade";
}

/* A name may have commas and quotes: RFC 4180. */
static void write_name(FILE *file, const char *name)
{
	putc('"', file);
	for (; *name; name++) {
		if (*name == '"')
			putc('"', file);
		putc(*name, file);
	}
	putc('"', file);
}

static void write_fault(FILE *file, const struct dsm_fault_trace *fault, double ns_per_tick)
{
	uint64_t entered = fault->at[DSM_MOMENT_ENTERED], left = fault->at[DSM_MOMENT_LEFT];

	fprintf(file, "%.0f,%.0f,", (double)(entered - opened_ticks) * ns_per_tick,
		(double)(left - entered) * ns_per_tick);
	write_name(file, fault->region);
	fprintf(file, ",%" PRIu64 ",%s,%" PRIu32 "\n", fault->page_index, kind_name(fault->kind),
		fault->pages);
}

static uint64_t write_faults(FILE *file)
{
	struct dsm_trace_clock clock;
	uint64_t left_out = 0;

	dsm_trace_clock(&clock);
	fputs("time_ns,duration_ns,region,page,access,pages\n", file);
	for (unsigned i = 0; i < lanes_count(); i++) {
		for (size_t j = 0; j < traces[i].count; j++)
			write_fault(file, &traces[i].faults[j], 1e9 / clock.ticks_per_s);
		left_out += traces[i].left_out;
	}
	return left_out;
}

/* What there is, also if the program has ended the trace itself. */
static void write_file(void)
{
	char path[sizeof runtime.settings.trace + 16];

	snprintf(path, sizeof path, "%s.%d.csv", runtime.settings.trace, runtime.node);
	FILE *file = fopen(path, "we");
	uint64_t left_out = file ? write_faults(file) : 0;

	if (!file || fclose(file))
		report("cannot write %s: %s (MINORCA_TRACE)", path, strerror(errno));
	else if (left_out)
		report("%s: %" PRIu64 " faults are left out; MINORCA_TRACE_FAULTS keeps more", path,
		       left_out);
}

void trace_close(void)
{
	dsm_trace_stop(); /* whoever has begun it: nobody writes any more to what is freed */
	if (runtime.settings.trace[0] && traces)
		write_file();
	free_traces();
}
