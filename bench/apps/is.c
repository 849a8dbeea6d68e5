/*
 * Integer sort by the rules of the NAS Parallel Benchmarks (Bailey et al., "The NAS parallel benchmarks",
 * 1991): their generator of keys, their classes, their ten iterations with two keys changed in each, and
 * their partial and full verification.
 *
 * In an iteration every worker sorts its keys into buckets, all agree which of them go to whom so that each
 * has about as many keys, and whoever gets a bucket counts the keys in it. What goes to another worker lies
 * in the sender's part of shared memory; what stays is private.
 */
#include <stdio.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "kernel/memory.h"

enum { PARAMETER_KEYS, PARAMETER_MAX_KEY };

static const struct app_parameter parameters[] = {
    {"keys-log2", "2^N keys", 12, 30, {16, 20, 23, 25}},
    {"max-key-log2", "keys are less than 2^N", 11, 28, {11, 16, 19, 21}},
    {0},
};

#define ITERATIONS 10
#define BUCKETS_LOG2 10
#define BUCKETS (1u << BUCKETS_LOG2)
#define TESTS 5

/* Partial verification, of NPB: where the keys are whose ranks are known, those ranks, and how they change:
 * by iteration + @shift, upwards for tests in the mask @up and downwards for the others. */
static const struct test {
	uint64_t keys_log2, max_key_log2;
	uint64_t index[TESTS];
	uint64_t rank[TESTS];
	unsigned int up;
	int shift_up, shift_down;
} tests[] = {
    {16, 11, {48427, 17148, 23627, 62548, 4431}, {0, 18, 346, 64917, 65463}, 0x07, 0, 0},
    {20, 16, {357773, 934767, 875723, 898999, 404505}, {1249, 11698, 1039987, 1043896, 1048018}, 0x03, -2, 0},
    {23,
     19,
     {2112377, 662041, 5336171, 3642833, 4250760},
     {104, 17523, 123928, 8288932, 8388264},
     0x07,
     -1,
     -1},
    {25,
     21,
     {41869, 812306, 5102857, 18232239, 26860214},
     {33422937, 10244, 59149, 33135281, 99},
     0x16,
     0,
     0},
};

/* What a worker says of its outbox, at its beginning; keys follow. */
struct outbox {
	uint64_t start[256 + 1]; /* of the keys for worker r, start[r] to start[r + 1] */
	uint32_t keys[];
};

/* Of a node. */
struct sort {
	char *outboxes; /* a part for each worker */
	char *sorted;	/* likewise, for the end */
	size_t outbox_stride, sorted_stride;
};

/* Of a worker. */
struct part {
	const struct test *test; /* NULL: this size has none */
	uint64_t failures;	 /* of partial verification */
	size_t first, end;	 /* its keys, by number */
	uint32_t *keys;
	uint32_t *staying; /* its keys that are in its buckets */
	size_t staying_count;
	struct outbox *outbox; /* MPI: private */
	uint32_t *arrived;     /* MPI */
	size_t arrived_count;
	uint64_t buckets[BUCKETS + TESTS]; /* keys in each of all workers; behind them, the keys of tests */
	uint64_t mine[BUCKETS];		   /* those of this worker */
	unsigned int owner[BUCKETS];
	unsigned int first_bucket, end_bucket; /* that this worker owns */
	uint64_t below;			       /* keys in buckets before those */
	uint32_t *counts;		       /* keys up to and with each key of its buckets */
};

static size_t key_count(const struct problem *p)
{
	return (size_t)1 << p->values[PARAMETER_KEYS];
}

static unsigned int bucket_shift(const struct problem *p)
{
	return (unsigned int)p->values[PARAMETER_MAX_KEY] - BUCKETS_LOG2;
}

static double work(const struct problem *p)
{
	return (double)key_count(p) * ITERATIONS / 1e6;
}

/* --- the generator ------------------------------------------------------------------------------------- */

#define SEED UINT64_C(314159265)
#define MULTIPLIER UINT64_C(1220703125)
#define MODULUS_LOG2 46
#define MODULUS_MASK ((UINT64_C(1) << MODULUS_LOG2) - 1)

/* The state before the @n-th number: SEED MULTIPLIER^n mod 2^46. */
static uint64_t seek(uint64_t n)
{
	uint64_t state = SEED, power = MULTIPLIER;

	for (; n; n >>= 1, power = power * power & MODULUS_MASK)
		if (n & 1)
			state = state * power & MODULUS_MASK;
	return state;
}

/* A key is the mean of four numbers; in integers, which is exact, as NPB's sums of doubles are. */
static void generate(const struct problem *p, struct part *part)
{
	uint64_t state = seek(4 * part->first);

	for (size_t i = 0; i < part->end - part->first; i++) {
		uint64_t sum = 0;
		for (unsigned int turn = 0; turn < 4; turn++)
			sum += state = state * MULTIPLIER & MODULUS_MASK;
		part->keys[i] = (uint32_t)(sum >> (MODULUS_LOG2 + 2 - p->values[PARAMETER_MAX_KEY]));
	}
}

/* --- an iteration, step by step ------------------------------------------------------------------------ */

static bool has_key(const struct part *part, size_t number)
{
	return part->first <= number && number < part->end;
}

/* What NPB changes in each iteration. */
static void change_keys(const struct problem *p, struct part *part, unsigned int iteration)
{
	uint32_t max_key = UINT32_C(1) << p->values[PARAMETER_MAX_KEY];

	if (has_key(part, iteration))
		part->keys[iteration - part->first] = iteration;
	if (has_key(part, iteration + ITERATIONS))
		part->keys[iteration + ITERATIONS - part->first] = max_key - iteration;
}

static void count_buckets(const struct problem *p, struct part *part)
{
	unsigned int shift = bucket_shift(p);

	memset(part->mine, 0, sizeof part->mine);
	for (size_t i = 0; i < part->end - part->first; i++)
		part->mine[part->keys[i] >> shift]++;
	memcpy(part->buckets, part->mine, sizeof part->mine);
	for (unsigned int i = 0; i < TESTS; i++) {
		bool here = part->test && has_key(part, part->test->index[i]);
		part->buckets[BUCKETS + i] = here ? part->keys[part->test->index[i] - part->first] : 0;
	}
}

/* Deals buckets out in order, each to the worker to whose share of the keys its middle belongs. */
static void deal_buckets(const struct problem *p, const struct worker *w, struct part *part)
{
	uint64_t before = 0, keys = key_count(p);

	part->first_bucket = part->end_bucket = 0;
	part->below = 0;
	for (unsigned int i = 0; i < BUCKETS; i++) {
		uint64_t middle = before + part->buckets[i] / 2;
		part->owner[i] = (unsigned int)((middle < keys ? middle : keys - 1) * w->workers / keys);
		if (part->owner[i] < w->rank) {
			part->first_bucket = i + 1;
			part->below = before + part->buckets[i];
		}
		if (part->owner[i] <= w->rank)
			part->end_bucket = i + 1;
		before += part->buckets[i];
	}
}

/* Puts keys into their buckets: those that stay in one array, the others in the outbox, by owner. */
static void sort_into_buckets(const struct problem *p, const struct worker *w, struct part *part)
{
	uint32_t *at[BUCKETS], *staying = part->staying;
	unsigned int shift = bucket_shift(p), next = 0;
	size_t out = 0;

	for (unsigned int i = 0; i < BUCKETS; i++) {
		for (; next <= part->owner[i]; next++)
			part->outbox->start[next] = out;
		if (part->owner[i] == w->rank) {
			at[i] = staying;
			staying += part->mine[i];
		} else {
			at[i] = part->outbox->keys + out;
			out += part->mine[i];
		}
	}
	for (; next <= w->workers; next++)
		part->outbox->start[next] = out;
	part->staying_count = (size_t)(staying - part->staying);
	for (size_t i = 0; i < part->end - part->first; i++)
		*at[part->keys[i] >> shift]++ = part->keys[i];
}

static uint32_t lowest_key(const struct problem *p, const struct part *part)
{
	return part->first_bucket << bucket_shift(p);
}

static size_t key_range(const struct problem *p, const struct part *part)
{
	return (size_t)(part->end_bucket - part->first_bucket) << bucket_shift(p);
}

static void count_keys(const struct problem *p, struct part *part, const uint32_t *keys, size_t count)
{
	uint32_t *counts = part->counts, lowest = lowest_key(p, part);

	for (size_t i = 0; i < count; i++)
		counts[keys[i] - lowest]++;
}

/* Ranks: how many keys of these buckets are as large as each. */
static void sum_up(const struct problem *p, struct part *part)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < key_range(p, part); i++)
		part->counts[i] = sum += part->counts[i];
}

static void verify_partially(const struct problem *p, struct part *part, int iteration)
{
	uint32_t lowest = lowest_key(p, part);

	for (unsigned int i = 0; part->test && i < TESTS; i++) {
		uint64_t key = part->buckets[BUCKETS + i];
		if (key < lowest || key - lowest >= key_range(p, part))
			continue;
		/* How many keys are less. */
		uint64_t rank = part->below + (key == lowest ? 0 : part->counts[key - lowest - 1]);
		bool up = part->test->up & (1u << i);
		int change = up ? iteration + part->test->shift_up : -(iteration + part->test->shift_down);
		part->failures += rank != part->test->rank[i] + (uint64_t)(int64_t)change;
	}
}

/* --- shared -------------------------------------------------------------------------------------------- */

static const struct outbox *outbox_of(const struct sort *s, unsigned int rank)
{
	return (const struct outbox *)(s->outboxes + rank * s->outbox_stride);
}

/*
 * One reduction and one barrier. A worker fills its outbox again after the next reduction, which all others
 * enter when they have counted what they found in it.
 */
static void iterate(const struct problem *p, struct worker *w, const struct sort *s, unsigned int iteration)
{
	struct part *part = w->mine;

	change_keys(p, part, iteration);
	count_buckets(p, part);
	worker_reduce(w, part->buckets, BUCKETS + TESTS, SUM_UINT64);
	deal_buckets(p, w, part);
	sort_into_buckets(p, w, part);
	worker_barrier(w);
	memset(part->counts, 0, key_range(p, part) * sizeof *part->counts);
	count_keys(p, part, part->staying, part->staying_count);
	for (unsigned int turn = 1; turn < w->workers; turn++) {
		const struct outbox *theirs = outbox_of(s, (w->rank + turn) % w->workers);
		uint64_t first = theirs->start[w->rank], end = theirs->start[w->rank + 1];
		worker_prefetch(w, theirs->keys + first, (end - first) * sizeof *theirs->keys, false);
		count_keys(p, part, theirs->keys + first, end - first);
	}
	sum_up(p, part);
	verify_partially(p, part, (int)iteration);
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

static void exchange(struct worker *w, struct part *part)
{
	int sent[256], sent_at[256], received[256], received_at[256], all = 0;

	for (unsigned int i = 0; i < w->workers; i++) {
		sent_at[i] = (int)part->outbox->start[i];
		sent[i] = (int)(part->outbox->start[i + 1] - part->outbox->start[i]);
	}
	MPI_Alltoall(sent, 1, MPI_INT, received, 1, MPI_INT, MPI_COMM_WORLD);
	for (unsigned int i = 0; i < w->workers; i++) {
		received_at[i] = all;
		all += received[i];
	}
	part->arrived_count = (size_t)all;
	MPI_Alltoallv(part->outbox->keys, sent, sent_at, MPI_UINT32_T, part->arrived, received, received_at,
		      MPI_UINT32_T, MPI_COMM_WORLD);
}

static void iterate_mpi(const struct problem *p, struct worker *w, unsigned int iteration)
{
	struct part *part = w->mine;

	change_keys(p, part, iteration);
	count_buckets(p, part);
	worker_reduce(w, part->buckets, BUCKETS + TESTS, SUM_UINT64);
	deal_buckets(p, w, part);
	sort_into_buckets(p, w, part);
	WORKER_CALL(w, exchange(w, part));
	memset(part->counts, 0, key_range(p, part) * sizeof *part->counts);
	count_keys(p, part, part->staying, part->staying_count);
	count_keys(p, part, part->arrived, part->arrived_count);
	sum_up(p, part);
	verify_partially(p, part, (int)iteration);
}

/* --- an application ------------------------------------------------------------------------------------ */

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct sort *s = state;
	size_t keys = key_count(p) / workers + 1;

	s->outboxes = shared_parts(shared, "outboxes", sizeof(struct outbox) + keys * sizeof(uint32_t),
				   &s->outbox_stride);
	s->sorted = shared_parts(shared, "sorted", keys * sizeof(uint32_t), &s->sorted_stride);
}

static const struct test *find_test(const struct problem *p)
{
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
		if (tests[i].keys_log2 == p->values[PARAMETER_KEYS] &&
		    tests[i].max_key_log2 == p->values[PARAMETER_MAX_KEY])
			return &tests[i];
	return NULL;
}

/* The iteration before the ten is not timed. */
static void start(const struct problem *p, struct worker *w, void *state)
{
	const struct sort *s = state;
	struct part *part = w->mine = worker_private(w, sizeof *part);
	size_t keys = key_count(p) / w->workers + 1, bytes = keys * sizeof(uint32_t);

	part->test = find_test(p);
	part->first = worker_first(key_count(p), w->rank, w->workers);
	part->end = worker_first(key_count(p), w->rank + 1, w->workers);
	part->keys = worker_private(w, bytes);
	part->staying = worker_private(w, bytes);
	part->counts = worker_private(w, sizeof(uint32_t) << p->values[PARAMETER_MAX_KEY]);
	if (w->form == FORM_MPI) {
		part->outbox = worker_private(w, sizeof *part->outbox + bytes);
		part->arrived = worker_private(w, key_count(p) * sizeof(uint32_t));
	} else {
		part->outbox = (struct outbox *)(s->outboxes + w->rank * s->outbox_stride);
	}
	generate(p, part);
	if (w->form == FORM_MPI)
		iterate_mpi(p, w, 1);
	else
		iterate(p, w, s, 1);
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	for (unsigned int iteration = 1; iteration <= ITERATIONS; iteration++)
		iterate(p, w, state, iteration);
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	(void)state;
	for (unsigned int iteration = 1; iteration <= ITERATIONS; iteration++)
		iterate_mpi(p, w, iteration);
}

/* Full verification: the keys of this worker in order, which are its share of all. Into its private memory.
 */
static size_t unfold(const struct problem *p, struct part *part, uint32_t *sorted)
{
	size_t count = 0;

	for (size_t i = 0; i < key_range(p, part); i++)
		while (count < part->counts[i])
			sorted[count++] = lowest_key(p, part) + (uint32_t)i;
	return count;
}

/* Key number @at of all, in order. */
static uint32_t *sorted_key(const struct problem *p, const struct worker *w, const struct sort *s, size_t at)
{
	size_t keys = key_count(p) / w->workers + 1;

	return (uint32_t *)(s->sorted + at / keys * s->sorted_stride) + at % keys;
}

static void finish(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;
	uint32_t *sorted = worker_private(w, key_count(p) * sizeof *sorted);
	size_t count = unfold(p, part, sorted);

	for (size_t i = 0; i < count; i++)
		*sorted_key(p, w, state, part->below + i) = sorted[i];
	worker_reduce(w, &part->failures, 1, SUM_UINT64);
}

/* The keys in order, and before them how often partial verification failed. */
static size_t result_bytes(const struct problem *p)
{
	return (key_count(p) + 1) * sizeof(uint32_t);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	struct part *part = w->mine;
	uint32_t *keys = result;

	if (w->form == FORM_MPI) {
		uint32_t *sorted = worker_private(w, key_count(p) * sizeof *sorted);
		size_t count = unfold(p, part, sorted);
		app_gather(w, sorted, count * sizeof *sorted, keys + 1);
		worker_reduce(w, &part->failures, 1, SUM_UINT64);
	} else {
		for (size_t i = 0; i < key_count(p); i++)
			keys[1 + i] = *sorted_key(p, w, state, i);
	}
	if (w->rank == 0)
		keys[0] = (uint32_t)part->failures;
}

static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const uint32_t *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i <= key_count(p); i++)
		wrong += a[i] != b[i];
	return wrong;
}

static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	const uint32_t *keys = (const uint32_t *)result + 1;

	if (keys[-1])
		snprintf(wrong, APP_WRONG_MESSAGE_MAX, "%u ranks are not those that NPB says", keys[-1]);
	for (size_t i = 1; i < key_count(p) && !wrong[0]; i++)
		if (keys[i] < keys[i - 1])
			snprintf(wrong, APP_WRONG_MESSAGE_MAX, "key %zu is less than the one before it", i);
}

static const struct app is = {
    .name = "is",
    .title = "Minorca: integer sort by the rules of NPB",
    .help = "Ranks integer keys as NPB IS does: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .page_bytes = 2 * MIB,
    .rate_unit = "Mkey/s",
    .work = work,
    .state_bytes = sizeof(struct sort),
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run_mpi,
    .finish = finish,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
    .validate = validate,
};

int main(int argc, char **argv)
{
	return app_main(&is, argc, argv);
}
