/*
 * Rounds of touches with the runtime's trace beside them. See anatomy.h.
 */
#include "bench/anatomy.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/awake.h"
#include "bench/collect.h"
#include "bench/team.h"
#include "bench/timer.h"

/* Faults that are kept of a row on each node; rounds, traced and not in turn, of which the first two are not.
 */
#define SAMPLES_MAX ((size_t)40000)
#define ROUNDS_LEAST 6
#define ROUNDS_UNSAMPLED 2

#define AT(field) offsetof(struct anatomy, field)
#define STAGE(i) (AT(stage_ns) + (i) * sizeof(uint64_t))

#define COLUMNS_FIRST                                                                                      \
	{"benchmark", NULL, 0, COLUMN_TEXT, AT(benchmark)}, {"case", "Case", -14, COLUMN_TEXT, AT(kind)},  \
	    {"blocks", "Blocks", 6, COLUMN_COUNT, AT(blocks)},                                             \
	    {"page_size_bytes", "Page", 5, COLUMN_BYTES, AT(page_size_bytes)},                             \
	    {"delivery", "Delivery", -12, COLUMN_TEXT, AT(delivery)},                                      \
	    {"access", "Access", -6, COLUMN_TEXT, AT(access)},                                             \
	    {"threads", "Thr", 3, COLUMN_COUNT, AT(threads)}, {"nodes", NULL, 0, COLUMN_COUNT, AT(nodes)}, \
	    {"transport", NULL, 0, COLUMN_TEXT, AT(transport)},                                            \
	{                                                                                                  \
		"samples", NULL, 0, COLUMN_COUNT, AT(samples)                                              \
	}

const struct column anatomy_columns[] = {
    COLUMNS_FIRST,
    {"trap_ns", "Trap", 7, COLUMN_NS, STAGE(DSM_MOMENT_ENTERED)},
    {"lock_ns", "Lock", 6, COLUMN_NS, STAGE(DSM_MOMENT_LOCKED)},
    {"prepare_ns", "Prep", 7, COLUMN_NS, STAGE(DSM_MOMENT_PREPARED)},
    {"ask_ns", "Ask", 6, COLUMN_NS, STAGE(DSM_MOMENT_ASKED)},
    {"read_ns", "Read", 7, COLUMN_NS, STAGE(DSM_MOMENT_READ)},
    {"ready_ns", "Ready", 7, COLUMN_NS, STAGE(DSM_MOMENT_READY)},
    {"map_ns", "Map", 7, COLUMN_NS, STAGE(DSM_MOMENT_MAPPED)},
    {"leave_ns", "Leave", 6, COLUMN_NS, STAGE(DSM_MOMENT_LEFT)},
    {"return_ns", "Return", 7, COLUMN_NS, STAGE(DSM_MOMENTS)},
    {"sum_ns", "Sum", 8, COLUMN_NS, AT(sum_ns)},
    {"whole_ns", "Whole", 8, COLUMN_NS, AT(whole_ns)},
    {"sum_ratio", "Ratio", 5, COLUMN_RATIO, AT(sum_ratio)},
    {"untraced_ns", "Untraced", 8, COLUMN_NS, AT(untraced_ns)},
    {"moment_cost_ns", NULL, 0, COLUMN_COUNT, AT(moment_cost_ns)},
    {"idle_moment_cost_ps", NULL, 0, COLUMN_COUNT, AT(idle_moment_cost_ps)},
    {"invariant_tsc", NULL, 0, COLUMN_TEXT, AT(invariant)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

const size_t anatomy_column_count = sizeof anatomy_columns / sizeof anatomy_columns[0];

const struct column anatomy_kernel_columns[] = {
    COLUMNS_FIRST,
    {"exception_ns", "Except.", 7, COLUMN_NS, STAGE(KERNEL_STAGE_EXCEPTION)},
    {"handle_ns", "Handle", 7, COLUMN_NS, STAGE(KERNEL_STAGE_HANDLE)},
    {"signal_ns", "Signal", 7, COLUMN_NS, STAGE(KERNEL_STAGE_SIGNAL)},
    {"frame_ns", "Frame", 7, COLUMN_NS, STAGE(KERNEL_STAGE_FRAME)},
    {"handover_ns", "Handover", 8, COLUMN_NS, STAGE(KERNEL_STAGE_HANDOVER)},
    {"data_ns", "Data", 7, COLUMN_NS, STAGE(KERNEL_STAGE_DATA)},
    {"runtime_ns", "Runtime", 7, COLUMN_NS, STAGE(KERNEL_STAGE_RUNTIME)},
    {"ioctl_ns", "Ioctl", 7, COLUMN_NS, STAGE(KERNEL_STAGE_IOCTL)},
    {"calls_ns", "Calls", 7, COLUMN_NS, STAGE(KERNEL_STAGE_CALLS)},
    {"wake_ns", "Wake", 7, COLUMN_NS, STAGE(KERNEL_STAGE_WAKE)},
    {"sigreturn_ns", "Sigret.", 7, COLUMN_NS, STAGE(KERNEL_STAGE_SIGRETURN)},
    {"resume_ns", "Resume", 7, COLUMN_NS, STAGE(KERNEL_STAGE_RESUME)},
    {"kernel_ns", "Kernel", 8, COLUMN_NS, AT(kernel_ns)},
    {"sum_ns", "Sum", 8, COLUMN_NS, AT(sum_ns)},
    {"whole_ns", NULL, 0, COLUMN_NS, AT(whole_ns)},
    {"untraced_ns", "Untraced", 8, COLUMN_NS, AT(untraced_ns)},
    {"untraced_ratio", "Ratio", 5, COLUMN_RATIO, AT(untraced_ratio)},
    {"event_cost_ns", NULL, 0, COLUMN_COUNT, AT(event_cost_ns)},
    {"moment_cost_ns", NULL, 0, COLUMN_COUNT, AT(moment_cost_ns)},
    {"invariant_tsc", NULL, 0, COLUMN_TEXT, AT(invariant)},
    {"skipped", NULL, 0, COLUMN_TEXT, AT(skipped)},
    {"host", NULL, 0, COLUMN_TEXT, AT(host)},
    {"commit", NULL, 0, COLUMN_TEXT, AT(commit)},
};

const size_t anatomy_kernel_column_count = sizeof anatomy_kernel_columns / sizeof anatomy_kernel_columns[0];

/* A touch of a page: ticks before and after. */
struct touch {
	uint64_t before, after;
};

/* What is sampled: the stages, the whole, and the whole of rounds that are not traced. */
enum { WHOLE = KERNEL_STAGES, UNTRACED, SERIES };

struct dissection {
	struct harness *harness;
	struct side side;
	struct dsm_trace_clock clock;
	uint32_t *order;       /* of the slice's pages */
	struct touch *touches; /* by page of the slice */
	struct dsm_fault_trace *faults;
	unsigned int stages; /* ANATOMY_STAGES or KERNEL_STAGES */
	uint64_t *samples[SERIES];
	size_t sampled[SERIES];

	struct kernel_trace *kernel; /* NULL: the kernel is not traced */
	const struct kernel_event *events;
	size_t event_count;
	pid_t toucher; /* the thread that touches, of the only one */
};

/* --- a round -------------------------------------------------------------------------------------------- */

static void touch_page(struct dissection *d, size_t page)
{
	struct side *side = &d->side;
	size_t of_region = side_first(side) + page;
	volatile uint64_t *word = (volatile uint64_t *)(void *)(side_page(side, side->base, of_region) +
								pattern_offset(&side->pattern, of_region));
	uint64_t value = pattern_store(&side->pattern, of_region, side->round);
	struct touch *touch = &d->touches[page];

	if (side->setup->access == ACCESS_READ) {
		touch->before = dsm_trace_ticks();
		value = *word;
		touch->after = dsm_trace_ticks();
		if (value !=
		    pattern_value(&side->pattern, of_region, pattern_block(&side->pattern, of_region, 0)))
			job_fail("anatomy, case %s: page %zu: loaded %#" PRIx64
				 ", its home wrote another word",
				 side->setup->kind->name, of_region, value);
	} else {
		touch->before = dsm_trace_ticks();
		word[1] = value;
		touch->after = dsm_trace_ticks();
	}
}

static void touch_part(void *argument, unsigned int thread)
{
	struct dissection *d = argument;
	size_t pages = d->side.setup->pages, threads = d->side.setup->threads;

	if (thread == 0)
		d->toucher = gettid();
	for (size_t i = pages * thread / threads; i < pages * (thread + 1) / threads; i++)
		touch_page(d, d->order[i]);
}

static void touch_all(struct dissection *d)
{
	const struct setup *s = d->side.setup;

	if (s->delivery != DELIVERY_INLINE)
		awake_start(d->harness->awake, s->threads);
	team_run(d->harness->team, s->threads, touch_part, d);
	awake_stop(d->harness->awake);
}

/* --- samples -------------------------------------------------------------------------------------------- */

static uint64_t to_ns(const struct dissection *d, uint64_t ticks)
{
	return (uint64_t)((double)ticks * 1e9 / d->clock.ticks_per_s + 0.5);
}

/* Without what it took to note @moments of them. */
static uint64_t net_ns(const struct dissection *d, uint64_t ticks, uint64_t moments)
{
	uint64_t cost = moments * d->clock.cost_ticks;

	return to_ns(d, ticks > cost ? ticks - cost : 0);
}

static void keep(struct dissection *d, unsigned int series, uint64_t ns)
{
	if (d->sampled[series] < SAMPLES_MAX)
		d->samples[series][d->sampled[series]++] = ns;
}

/*
 * A moment that the fault left out belongs to the stage after it. A handler thread goes on after it has let
 * the faulting thread go: what it does then is nobody's time.
 */
static void dissect(struct dissection *d, const struct dsm_fault_trace *fault, const struct touch *touch)
{
	uint64_t last = touch->before, noted = 0;

	for (unsigned int i = 0; i <= DSM_MOMENTS; i++) {
		uint64_t at = i < DSM_MOMENTS ? fault->at[i] : touch->after;

		if (at == 0) {
			keep(d, i, 0);
			continue;
		}
		at = at < touch->after ? at : touch->after;
		keep(d, i, net_ns(d, at - last, at > last));
		noted += at > last;
		last = at;
	}
	keep(d, WHOLE, net_ns(d, touch->after - touch->before, noted));
}

/* The first event at @ticks or later. */
static size_t event_at(const struct dissection *d, uint64_t ticks)
{
	size_t low = 0, high = d->event_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (d->events[middle].ticks < ticks)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What has cost nothing but tracing is off the whole, too: it is the sum of the stages. */
static void dissect_kernel(struct dissection *d, const struct dsm_fault_trace *fault,
			   const struct touch *touch)
{
	size_t first = event_at(d, touch->before);
	struct kernel_window window = {
	    .before = touch->before,
	    .after = touch->after,
	    .thread = d->toucher,
	    .moments = fault->at,
	    .events = d->events + first,
	    .count = event_at(d, touch->after) - first,
	    .moment_cost = d->clock.cost_ticks,
	    .event_cost = kernel_trace_cost_ticks(d->kernel),
	};
	uint64_t ticks[KERNEL_STAGES], sum = 0;

	if (!kernel_stages(&window, ticks))
		return;
	for (unsigned int i = 0; i < KERNEL_STAGES; i++) {
		keep(d, i, to_ns(d, ticks[i]));
		sum += ticks[i];
	}
	keep(d, WHOLE, to_ns(d, sum));
}

static void keep_traced(struct dissection *d)
{
	size_t count, pages = d->side.setup->pages, first = side_first(&d->side), found = 0;
	uint64_t left_out;
	int error = dsm_trace_read(d->faults, 2 * pages, &count, &left_out);

	if (error || left_out)
		job_fail("anatomy: the trace of %zu faults is not whole: %s", pages, strerror(-error));
	for (size_t i = 0; i < count; i++) {
		size_t page = (size_t)d->faults[i].page_index - first;

		if (page >= pages)
			continue;
		found++;
		(d->kernel ? dissect_kernel : dissect)(d, &d->faults[i], &d->touches[page]);
	}
	if (found != pages)
		job_fail("anatomy, case %s: %zu faults were traced on %zu pages", d->side.setup->kind->name,
			 found, pages);
}

static void keep_untraced(struct dissection *d)
{
	for (size_t page = 0; page < d->side.setup->pages; page++)
		keep(d, UNTRACED, net_ns(d, d->touches[page].after - d->touches[page].before, 1));
}

/* --- rounds --------------------------------------------------------------------------------------------- */

static void require(int error, const char *what)
{
	if (error)
		job_fail("anatomy: %s: %s", what, strerror(-error));
}

static void trace_start(struct dissection *d)
{
	require(dsm_trace_start(2 * d->side.setup->pages), "dsm_trace_start()");
	if (d->kernel)
		require(kernel_trace_start(d->kernel), "tracing the kernel");
}

static void trace_stop(struct dissection *d)
{
	if (d->kernel) {
		require(kernel_trace_stop(d->kernel), "tracing the kernel");
		require(kernel_trace_read(d->kernel, &d->events, &d->event_count), "the kernel's trace");
	}
	require(dsm_trace_stop(), "dsm_trace_stop()");
}

static void run_round(struct dissection *d, unsigned int round)
{
	struct side *side = &d->side;
	bool traced = round % 2, home = side_is_home(side);
	struct counts counts;

	if (!side->state)
		side->operations->open(side);
	side->operations->prepare(side);
	pattern_permute(d->order, (uint32_t)side->setup->pages, side->seed + round);
	side->operations->begin(side);
	if (traced && !home)
		trace_start(d);
	job_meet();
	if (!home)
		touch_all(d);
	job_meet();
	side->operations->end(side, &counts);
	if (traced && !home)
		trace_stop(d);
	if (!home && round >= ROUNDS_UNSAMPLED)
		traced ? keep_traced(d) : keep_untraced(d);
	if (side->setup->access == ACCESS_WRITE)
		side->operations->check_stores(side);
	if (side->operations->close_each_turn(side->setup))
		side->operations->close(side);
}

static void run_rounds(struct dissection *d, uint64_t budget_ns)
{
	uint64_t end_ns = timer_now_ns() + budget_ns;
	unsigned int round = 0;
	bool go_on;

	do {
		run_round(d, round++);
		run_round(d, round++);
		go_on = d->side.job->node == 0 && (round < ROUNDS_LEAST || timer_now_ns() < end_ns);
	} while (job_any(go_on));
	if (d->side.state)
		d->side.operations->close(&d->side);
}

/* --- results -------------------------------------------------------------------------------------------- */

static void *allocate(size_t bytes)
{
	void *memory = calloc(1, bytes);

	if (!memory)
		job_fail("out of memory for samples");
	return memory;
}

/* The mean of a series over the faults that took @low to @high ns as a whole. */
static uint64_t mean_of(struct dissection *d, unsigned int series, const uint64_t *whole, uint64_t low,
			uint64_t high)
{
	size_t count, chosen = 0;
	uint64_t *all = collect_samples(d->samples[series], d->sampled[series], &count);
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		if (whole[i] >= low && whole[i] <= high) {
			sum += (double)all[i];
			chosen++;
		}
	free(all);
	return chosen ? (uint64_t)(sum / (double)chosen + 0.5) : 0;
}

/* Node 1 measures, and knows what an event costs. */
static void fill_kernel(const struct dissection *d, struct anatomy *out)
{
	const uint64_t *ns = out->stage_ns;
	uint64_t cost_ns = d->kernel ? to_ns(d, kernel_trace_cost_ticks(d->kernel)) : 0;

	job_share_from(1, &cost_ns, sizeof cost_ns);
	out->event_cost_ns = cost_ns;
	out->kernel_ns = out->sum_ns - ns[KERNEL_STAGE_DATA] - ns[KERNEL_STAGE_RUNTIME];
	out->untraced_ratio = output_ratio(out->sum_ns, out->untraced_ns);
	if (!out->samples)
		anatomy_skip("in no fault all of the kernel's events were seen", out);
}

void anatomy_skip(const char *because, struct anatomy *out)
{
	out->skipped = because;
	for (unsigned int i = 0; i < KERNEL_STAGES; i++)
		out->stage_ns[i] = OUTPUT_ABSENT;
	out->sum_ns = out->whole_ns = out->untraced_ns = out->kernel_ns = out->event_cost_ns =
	    out->moment_cost_ns = out->idle_moment_cost_ps = OUTPUT_ABSENT;
	out->samples = 0;
	out->sum_ratio = out->untraced_ratio = NAN;
}

/*
 * The stages are those of the middle fifth of all faults: where the time of a typical fault goes. (Medians of
 * each stage by itself would leave out what happens to another stage each time.)
 */
static void fill(struct dissection *d, struct anatomy *out)
{
	size_t count;
	uint64_t *whole = collect_samples(d->samples[WHOLE], d->sampled[WHOLE], &count),
		 *sorted = allocate((count + 1) * sizeof *sorted);

	memcpy(sorted, whole, count * sizeof *sorted);
	percentile_sort(sorted, count);
	uint64_t low = count ? percentile(sorted, count, 40) : 0,
		 high = count ? percentile(sorted, count, 60) : 0;

	out->samples = count;
	out->whole_ns = count ? percentile(sorted, count, 50) : 0;
	out->sum_ns = 0;
	for (unsigned int i = 0; i < d->stages; i++) {
		out->stage_ns[i] = mean_of(d, i, whole, low, high);
		out->sum_ns += out->stage_ns[i];
	}
	out->untraced_ns = collect_distribution(d->samples[UNTRACED], d->sampled[UNTRACED]).p50_ns;
	out->sum_ratio = output_ratio(out->sum_ns, out->whole_ns);
	out->moment_cost_ns = to_ns(d, d->clock.cost_ticks);
	out->idle_moment_cost_ps = d->clock.idle_cost_ps;
	out->invariant = d->clock.invariant ? "yes" : "no";
	if (d->harness->options->kernel)
		fill_kernel(d, out);
	free(sorted);
	free(whole);
}

void anatomy_run(struct harness *h, const struct setup *setup, struct kernel_trace *kernel,
		 uint64_t budget_ns, struct anatomy *out)
{
	struct dissection d = {
	    .harness = h,
	    .stages = h->options->kernel ? KERNEL_STAGES : ANATOMY_STAGES,
	    .kernel = kernel,
	    .side = {.operations = &side_dsm,
		     .job = h->job,
		     .placement = h->placement,
		     .setup = setup,
		     .seed = h->options->seed},
	    .order = allocate(setup->pages * sizeof *d.order),
	    .touches = allocate(setup->pages * sizeof *d.touches),
	    .faults = allocate(2 * setup->pages * sizeof *d.faults),
	};

	dsm_trace_clock(&d.clock);
	for (unsigned int i = 0; i < SERIES; i++)
		d.samples[i] = allocate(SAMPLES_MAX * sizeof *d.samples[i]);
	run_rounds(&d, budget_ns);
	fill(&d, out);
	for (unsigned int i = 0; i < SERIES; i++)
		free(d.samples[i]);
	free(d.faults);
	free(d.touches);
	free(d.order);
}
