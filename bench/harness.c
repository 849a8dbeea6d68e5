/*
 * Rounds, turns and samples. See harness.h.
 */
#include "bench/harness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/awake.h"
#include "bench/bare_verbs.h"
#include "bench/collect.h"
#include "bench/team.h"
#include "bench/timer.h"
#include "kernel/memory.h"

/* What is sampled. READ and MAP are parts of the floor, of the same memory. */
enum { RUNTIME, FLOOR, SIDES, READ = SIDES, MAP, SERIES };

/* Samples that a thread keeps of one row when time decides. */
#define SAMPLES_MAX ((size_t)40000)

/* A row may take this much more than its share of the time to get its least number of samples. */
#define PATIENCE 3

/* Rounds of a turn where making the memory takes longer than they do. */
#define ROUNDS_PER_TURN 4

/* What one thread touches in a round, and what it has found. Its own while a round runs. */
struct hand {
	size_t count;	  /* pages */
	size_t first;	  /* of the slice's pages */
	uint32_t *order;  /* of the pages */
	char **addresses; /* where to touch, in order */
	uint64_t *found;  /* what was loaded there; what to store there */
	uint64_t *samples[SERIES];
	size_t sampled[SERIES]; /* how many are kept */
	size_t capacity;
	int error; /* of prefetch() and read() */
};

/* --- touching: the only code that is timed, the same for both sides ------------------------------------ */

static void touch_loads(struct hand *hand, uint64_t *samples)
{
	for (size_t i = 0; i < hand->count; i++) {
		const volatile uint64_t *word = (const volatile uint64_t *)(void *)hand->addresses[i];
		uint64_t before = timer_now_ns();
		uint64_t value = *word;
		samples[i] = timer_now_ns() - before;
		hand->found[i] = value;
	}
}

static void touch_stores(struct hand *hand, uint64_t *samples)
{
	for (size_t i = 0; i < hand->count; i++) {
		volatile uint64_t *word = (volatile uint64_t *)(void *)hand->addresses[i] + 1;
		uint64_t value = hand->found[i];
		uint64_t before = timer_now_ns();
		*word = value;
		samples[i] = timer_now_ns() - before;
	}
}

/*
 * The read and the mapping of each page by themselves, in turn: so what the kernel's part leaves behind (cold
 * caches and TLBs, an idle device) is what the next read meets, as inside a fault.
 */
static void touch_parts(struct side *side, struct hand *hand, uint64_t *reads, uint64_t *maps)
{
	size_t first = side_first(side) + hand->first;

	for (size_t i = 0; i < hand->count; i++) {
		const volatile uint64_t *word = (const volatile uint64_t *)(void *)hand->addresses[i];
		uint64_t began = timer_now_ns();
		hand->error |= side->operations->read(side, first + hand->order[i]);
		uint64_t read = timer_now_ns();
		uint64_t value = *word;
		maps[i] = timer_now_ns() - read;
		reads[i] = read - began;
		hand->found[i] = value;
	}
}

static void load_pages(struct hand *hand, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		hand->found[i] = *(const volatile uint64_t *)(void *)hand->addresses[i];
}

/* Pages of one call of a sweep; at least one. */
static size_t call_pages(const struct setup *setup, const struct hand *hand)
{
	size_t pages = sweep_call_bytes(setup->page_bytes) / setup->page_bytes;

	if (pages > hand->count)
		pages = hand->count;
	return pages ? pages : 1;
}

static void touch_sweep(struct side *side, struct hand *hand, uint64_t *samples)
{
	size_t step = call_pages(side->setup, hand), page_bytes = side->setup->page_bytes;
	char *slice = side_page(side, side->base, side_first(side) + hand->first);
	size_t i = 0;

	for (; i + step <= hand->count; i += step) {
		uint64_t before = timer_now_ns();
		hand->error |= side->operations->prefetch(side, slice + i * page_bytes, step * page_bytes);
		load_pages(hand, i, i + step);
		*samples++ = timer_now_ns() - before;
	}
	if (i < hand->count) { /* less than a call: no sample */
		hand->error |=
		    side->operations->prefetch(side, slice + i * page_bytes, (hand->count - i) * page_bytes);
		load_pages(hand, i, hand->count);
	}
}

/* --- a round ------------------------------------------------------------------------------------------- */

struct round {
	struct harness *harness;
	struct side *side;
	unsigned int index; /* of the series; READ: of MAP as well */
	bool sampled;
};

/* How many samples a round gives a thread. */
static size_t round_samples(const struct setup *setup, const struct hand *hand)
{
	return setup->kind->sweep ? hand->count / call_pages(setup, hand) : hand->count;
}

/* Thread @index gets its share of the slice, in an order of its own. */
static void deal(struct side *side, struct hand *hand, unsigned int index, size_t samples)
{
	const struct setup *s = side->setup;
	size_t first = s->pages * index / s->threads;

	hand->first = first;
	hand->count = s->pages * (index + 1) / s->threads - first;
	if (s->kind->sweep)
		for (uint32_t i = 0; i < hand->count; i++)
			hand->order[i] = i;
	else
		pattern_permute(hand->order, (uint32_t)hand->count,
				side->seed + side->round * 1000003 + index + samples);
	for (size_t i = 0; i < hand->count; i++) {
		size_t page = side_first(side) + first + hand->order[i];
		hand->addresses[i] = side_page(side, side->base, page) + pattern_offset(&side->pattern, page);
		hand->found[i] = pattern_store(&side->pattern, page, side->round);
	}
}

/* Where the next samples go. */
static uint64_t *samples_end(const struct hand *hand, unsigned int index)
{
	return hand->samples[index] + hand->sampled[index];
}

static void touch(void *argument, unsigned int thread)
{
	struct round *round = argument;
	struct hand *hand = &round->harness->hands[thread];
	uint64_t *samples = samples_end(hand, round->index);

	if (round->index == READ)
		touch_parts(round->side, hand, samples, samples_end(hand, MAP));
	else if (round->side->setup->kind->sweep)
		touch_sweep(round->side, hand, samples);
	else if (round->side->setup->access == ACCESS_READ)
		touch_loads(hand, samples);
	else
		touch_stores(hand, samples);
	if (!round->sampled)
		return;
	hand->sampled[round->index] += round_samples(round->side->setup, hand);
	if (round->index == READ)
		hand->sampled[MAP] = hand->sampled[READ];
}

/* Every value that was loaded, and everything else that the home has written to the pages. */
static void check_loads(struct side *side, const struct hand *hand)
{
	for (size_t i = 0; i < hand->count; i++) {
		size_t page = side_first(side) + hand->first + hand->order[i];
		uint64_t written =
		    pattern_value(&side->pattern, page, pattern_block(&side->pattern, page, 0));
		if (hand->found[i] != written)
			job_fail("%s, case %s: page %zu: loaded %#" PRIx64 ", its home had written %#" PRIx64,
				 side->operations->name, side->setup->kind->name, page, hand->found[i],
				 written);
		if (!pattern_holds(&side->pattern, page, side_page(side, side->base, page)))
			job_fail("%s, case %s: page %zu: a block is not what its home had written",
				 side->operations->name, side->setup->kind->name, page);
	}
}

static void check_values(struct harness *h, struct side *side)
{
	for (unsigned int i = 0; i < side->setup->threads && !side_is_home(side); i++) {
		side_require(side, h->hands[i].error, "reading pages");
		if (side->setup->access == ACCESS_READ)
			check_loads(side, &h->hands[i]);
	}
	if (side->setup->access == ACCESS_WRITE)
		side->operations->check_stores(side);
}

/* The runtime must have moved what the case says, and no more. */
static void check_counts(const struct side *side, const struct counts *counts)
{
	const struct setup *s = side->setup;
	uint64_t blocks = (uint64_t)s->pages * s->changed, bytes = blocks * (s->page_bytes / s->blocks);
	uint64_t current = s->kind->before == PAGE_UP_TO_DATE ? s->pages : 0;
	bool faults_right = s->kind->sweep ? counts->faults == 0 : counts->faults >= s->pages;

	if (counts->blocks_fetched != blocks || counts->bytes_fetched != bytes)
		job_fail("case %s: %" PRIu64 " blocks, %" PRIu64 " bytes fetched, expected %" PRIu64
			 " and %" PRIu64,
			 s->kind->name, counts->blocks_fetched, counts->bytes_fetched, blocks, bytes);
	if (counts->pages_current != current)
		job_fail("case %s: %" PRIu64 " pages mapped without a copy, expected %" PRIu64, s->kind->name,
			 counts->pages_current, current);
	if (!faults_right)
		job_fail("case %s: %" PRIu64 " faults on %zu pages", s->kind->name, counts->faults, s->pages);
}

static void add_counts(struct counts *sum, const struct counts *counts)
{
	sum->faults += counts->faults;
	sum->bytes_fetched += counts->bytes_fetched;
	sum->blocks_fetched += counts->blocks_fetched;
	sum->pages_current += counts->pages_current;
}

/* On a measuring node. With inline delivery nobody waits for another thread, and no core goes idle. */
static void touch_all(struct round *round)
{
	struct harness *h = round->harness;
	const struct setup *s = round->side->setup;

	if (s->delivery != DELIVERY_INLINE)
		awake_start(h->awake, s->threads);
	team_run(h->team, s->threads, touch, round);
	awake_stop(h->awake);
}

static void run_round(struct round *round, struct counts *sum)
{
	struct harness *h = round->harness;
	struct side *side = round->side;
	const struct setup *s = side->setup;
	struct counts counts;

	side->operations->prepare(side);
	for (unsigned int i = 0; i < s->threads && !side_is_home(side); i++)
		deal(side, &h->hands[i], i, h->hands[i].sampled[round->index]);
	side->operations->begin(side);
	job_meet();
	if (!side_is_home(side))
		touch_all(round);
	job_meet();
	side->operations->end(side, &counts);
	if (!side_is_home(side) && round->index == RUNTIME) {
		check_counts(side, &counts);
		if (round->sampled)
			add_counts(sum, &counts);
	}
	check_values(h, side);
}

/* True if a fault is a read from the home and a mapping, which are then measured by themselves as well. */
static bool has_parts(const struct side *side)
{
	const struct setup *s = side->setup;

	return side->bare && s->access == ACCESS_READ && !s->kind->sweep && s->kind->before != PAGE_READ_ONLY;
}

/* After a round of the floor: the same pages in the same order. */
static void run_parts(const struct round *of_floor)
{
	struct round round = *of_floor;
	struct side *side = round.side;
	struct counts none;

	round.index = READ;
	side->operations->prepare_map(side);
	side->operations->begin(side);
	job_meet();
	if (!side_is_home(side))
		touch_all(&round);
	job_meet();
	side->operations->end(side, &none);
	check_values(round.harness, side);
}

/* --- turns --------------------------------------------------------------------------------------------- */

struct row {
	struct harness *harness;
	const struct setup *setup;
	struct side sides[SIDES];
	struct counts counts;
	uint64_t started_ns, budget_ns;
};

/* The floor makes as many rounds in a turn as the runtime does. */
static unsigned int rounds_per_turn(const struct setup *setup)
{
	return setup_shares_memory(setup->page_bytes) && !setup_needs_new_pages(setup) ? ROUNDS_PER_TURN : 1;
}

/* The first turn is not: twins and page tables are new. Pages of 1 GiB cost too much to be touched for
 * nothing. */
static bool is_sampled(const struct setup *setup, unsigned int turn)
{
	return turn > 0 || setup->page_bytes >= GIB;
}

static void take_turn(struct row *row, unsigned int index, unsigned int turn)
{
	struct side *side = &row->sides[index];

	if (!side->state)
		side->operations->open(side);
	for (unsigned int i = 0; i < rounds_per_turn(row->setup); i++) {
		struct round round = {row->harness, side, index, is_sampled(row->setup, turn)};
		run_round(&round, &row->counts);
		if (index == FLOOR && has_parts(side))
			run_parts(&round);
	}
	if (side->operations->close_each_turn(row->setup))
		side->operations->close(side);
}

/* Over all threads and nodes. */
static size_t least_samples(const struct setup *setup)
{
	if (setup->page_bytes >= GIB)
		return setup_needs_new_pages(setup) ? 3 : ROUNDS_PER_TURN;
	return setup->page_bytes >= 2 * MIB ? 64 : 256;
}

/* Asked on node 0, which measures nothing and whose hands are empty: counts by turns. */
static bool is_enough(const struct row *row, unsigned int turns)
{
	const struct setup *s = row->setup;
	const struct options *o = row->harness->options;
	struct hand share = {.count = s->pages / s->threads};
	unsigned int rounds = (turns - (is_sampled(s, 0) ? 0 : 1)) * rounds_per_turn(s);
	uint64_t each = (uint64_t)rounds * round_samples(s, &share);
	uint64_t all = each * s->threads * (uint64_t)(row->harness->job->nodes - 1);
	uint64_t elapsed_ns = timer_now_ns() - row->started_ns;

	if (o->iterations)
		return each >= o->iterations;
	if (elapsed_ns > row->budget_ns * PATIENCE && rounds)
		return true;
	return elapsed_ns > row->budget_ns && all >= least_samples(s);
}

/* Room for another turn in every hand? The same answer on all measuring nodes; node 0 has no samples. */
static bool is_full(const struct row *row)
{
	const struct harness *h = row->harness;
	size_t turn = rounds_per_turn(row->setup) * (row->setup->pages / row->setup->threads + 1);

	for (unsigned int i = 0; i < row->setup->threads; i++)
		for (unsigned int side = 0; side < SERIES; side++)
			if (h->hands[i].sampled[side] + turn > h->hands[i].capacity)
				return true;
	return false;
}

/* --- memory of samples --------------------------------------------------------------------------------- */

static void *allocate(size_t bytes)
{
	void *memory = malloc(bytes);

	if (!memory)
		job_fail("out of memory for samples");
	memset(memory, 0, bytes); /* so that keeping a sample does not fault */
	return memory;
}

static void free_hand(struct hand *hand)
{
	free(hand->order);
	free(hand->addresses);
	free(hand->found);
	for (unsigned int i = 0; i < SERIES; i++)
		free(hand->samples[i]);
	*hand = (struct hand){0};
}

static void make_hand(struct hand *hand, const struct options *options, const struct setup *setup)
{
	size_t pages = setup->pages / setup->threads + 1;
	size_t wanted = options->iterations ? options->iterations : SAMPLES_MAX;

	*hand = (struct hand){
	    .order = allocate(pages * sizeof *hand->order),
	    .addresses = allocate(pages * sizeof *hand->addresses),
	    .found = allocate(pages * sizeof *hand->found),
	    .capacity = wanted + 2 * ROUNDS_PER_TURN * pages,
	};
	for (unsigned int side = 0; side < SERIES; side++)
		hand->samples[side] = allocate(hand->capacity * sizeof *hand->samples[side]);
}

/* Brings one series' samples of all threads and nodes to node 0. */
static struct distribution collect(struct row *row, unsigned int index)
{
	struct harness *h = row->harness;
	size_t count = 0, threads = row->setup->threads;

	for (size_t i = 0; i < threads; i++)
		count += h->hands[i].sampled[index];
	uint64_t *mine = allocate((count + 1) * sizeof *mine);
	for (size_t i = 0, at = 0; i < threads; at += h->hands[i++].sampled[index])
		memcpy(mine + at, h->hands[i].samples[index], h->hands[i].sampled[index] * sizeof *mine);
	struct distribution d = collect_distribution(mine, count);
	free(mine);
	return d;
}

static void collect_counts(const struct counts *mine, struct counts *sum)
{
	sum->faults = job_sum(mine->faults);
	sum->bytes_fetched = job_sum(mine->bytes_fetched);
	sum->blocks_fetched = job_sum(mine->blocks_fetched);
	sum->pages_current = job_sum(mine->pages_current);
}

/* --- a row --------------------------------------------------------------------------------------------- */

void harness_run(struct harness *h, const struct setup *setup, uint64_t budget_ns, struct outcome *out)
{
	struct row row = {.harness = h, .setup = setup, .started_ns = timer_now_ns(), .budget_ns = budget_ns};
	unsigned int first = h->options->floor_only ? FLOOR : RUNTIME;
	bool done = false;

	for (unsigned int i = 0; i < setup->threads; i++)
		make_hand(&h->hands[i], h->options, setup);
	for (unsigned int i = 0; i < SIDES; i++)
		row.sides[i] = (struct side){
		    .operations = i == RUNTIME ? &side_dsm : &side_floor,
		    .job = h->job,
		    .bare = h->bare,
		    .placement = h->placement,
		    .setup = setup,
		    .seed = h->options->seed,
		};
	for (unsigned int turn = 0; !done; turn++) {
		for (unsigned int i = first; i < SIDES; i++)
			take_turn(&row, i, turn);
		done = job_any(is_full(&row) || (h->job->node == 0 && is_enough(&row, turn + 1)));
	}
	for (unsigned int i = first; i < SIDES; i++)
		if (row.sides[i].state)
			row.sides[i].operations->close(&row.sides[i]);
	out->runtime = collect(&row, RUNTIME);
	out->floor = collect(&row, FLOOR);
	out->read = collect(&row, READ);
	out->map = collect(&row, MAP);
	collect_counts(&row.counts, &out->counts);
	for (unsigned int i = 0; i < setup->threads; i++)
		free_hand(&h->hands[i]);
}

void harness_create(const struct job *job, const struct placement *placement, const struct options *options,
		    unsigned int threads, bool rdma, struct harness *out)
{
	*out = (struct harness){.job = job, .placement = placement, .options = options, .threads = threads};
	out->hands = calloc(threads, sizeof *out->hands);
	int error =
	    out->hands ? team_create(placement->topology, threads, placement->pus, &out->team) : -ENOMEM;
	if (!error)
		error = awake_create(placement->topology, threads, placement->pus, &out->awake);
	if (error)
		job_fail("cannot start %u threads: %s", threads, strerror(-error));
	/* One lane for each thread of the team, for the one that sets up, and for a handler thread. */
	if (rdma)
		bare_open(job, threads + 2, &out->bare);
}

void harness_destroy(struct harness *harness)
{
	bare_close(harness->bare);
	awake_destroy(harness->awake);
	team_destroy(harness->team);
	free(harness->hands);
}
