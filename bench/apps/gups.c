/*
 * Random access by the rules of the HPC Challenge (Luszczek et al., "Introduction to the HPC Challenge
 * benchmark suite", 2005): words of a table are changed by exclusive or, at places that a generator of random
 * numbers says; four updates for each word; nobody looks ahead by more than 1024 updates; one word of a
 * hundred may be wrong at the end.
 *
 * "exchange": a worker has its part of the table to itself. It makes 1024 updates, puts those for others into
 * their inboxes, which lie at their home, and applies what it finds in its own. "atomics": the table is
 * shared, and each update is an atomic operation on one word of it, wherever that is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "bench/job.h"
#include "kernel/memory.h"

enum { PARAMETER_SIZE };
enum { VARIANT_EXCHANGE, VARIANT_ATOMICS };

static const struct app_parameter parameters[] = {
    {"size-log2", "2^N words of 8 bytes", 10, 34, {14, 20, 22, 25}},
    {0},
};

#define LOOK_AHEAD 1024
#define UPDATES_PER_WORD 4
#define POLYNOMIAL 7
#define PERIOD INT64_C(1317624576693539401)
#define WORKERS_MAX 256

/*
 * What one worker has sent another, a page of it: in even and in odd rounds. So one barrier for each round is
 * enough, and a page that is in use is stored to in every interval; such pages stay writable at the sender,
 * and do not fault.
 */
#define PAGE_UPDATES 255
struct inbox_page {
	struct half {
		uint64_t count;
		uint64_t updates[PAGE_UPDATES];
	} halves[2];
};

#define INBOX_PAGES ((LOOK_AHEAD + PAGE_UPDATES - 1) / PAGE_UPDATES)

/* Of a node. */
struct table {
	char *words; /* a part for each worker, its words */
	size_t words_stride;
	char *inboxes; /* a part for each worker: one of each sender, at a page of its own */
	size_t inboxes_stride;
};

/* Of a worker. */
struct part {
	size_t first, end; /* words */
	uint64_t *words;
	uint64_t random; /* the generator */
	uint64_t updates_left, rounds;
	uint64_t (*sorted)[LOOK_AHEAD];	 /* the updates of a round, by owner */
	size_t counts[WORKERS_MAX];	 /* of those */
	uint64_t (*arrived)[LOOK_AHEAD]; /* MPI */
};

static unsigned int size_log2(const struct problem *p)
{
	return (unsigned int)p->values[PARAMETER_SIZE];
}

static size_t word_count(const struct problem *p)
{
	return (size_t)1 << size_log2(p);
}

static double work(const struct problem *p)
{
	return (double)word_count(p) * UPDATES_PER_WORD / 1e9;
}

/* --- the generator ------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t random)
{
	return random << 1 ^ ((int64_t)random < 0 ? POLYNOMIAL : 0);
}

/* HPC Challenge's: number @n of the sequence, by squaring in the field that the polynomial makes. */
static uint64_t random_at(int64_t n)
{
	uint64_t squares[64], power = 1, random = 2;
	int bit = 62;

	n %= PERIOD;
	if (n == 0)
		return 1;
	for (int i = 0; i < 64; i++) {
		squares[i] = power;
		power = next_random(next_random(power));
	}
	while (!(n >> bit & 1))
		bit--;
	while (bit-- > 0) {
		uint64_t square = 0;
		for (int i = 0; i < 64; i++)
			if (random >> i & 1)
				square ^= squares[i];
		random = n >> bit & 1 ? next_random(square) : square;
	}
	return random;
}

/* --- updates ------------------------------------------------------------------------------------------- */

static size_t place_of(const struct problem *p, uint64_t update)
{
	return update & (word_count(p) - 1);
}

/* The worker in whose part of the table a word is: the inverse of worker_first(). */
static unsigned int owner_of(const struct problem *p, size_t place, unsigned int workers)
{
	return (unsigned int)(((place + 1) * workers - 1) >> size_log2(p));
}

static void apply(const struct problem *p, const struct part *part, const uint64_t *updates, size_t count)
{
	for (size_t i = 0; i < count; i++)
		part->words[place_of(p, updates[i]) - part->first] ^= updates[i];
}

/* Makes the updates of one round, and applies those that are this worker's own. */
static void make_updates(const struct problem *p, const struct worker *w, struct part *part)
{
	size_t count = part->updates_left < LOOK_AHEAD ? part->updates_left : LOOK_AHEAD;

	memset(part->counts, 0, w->workers * sizeof *part->counts);
	for (size_t i = 0; i < count; i++) {
		part->random = next_random(part->random);
		unsigned int owner = owner_of(p, place_of(p, part->random), w->workers);
		part->sorted[owner][part->counts[owner]++] = part->random;
	}
	part->updates_left -= count;
	apply(p, part, part->sorted[w->rank], part->counts[w->rank]);
}

/* --- shared: exchange ---------------------------------------------------------------------------------- */

static struct inbox_page *inbox(const struct table *t, unsigned int to, unsigned int from)
{
	return (struct inbox_page *)(t->inboxes + to * t->inboxes_stride) + from * INBOX_PAGES;
}

static void send_updates(struct inbox_page *to, unsigned int parity, const uint64_t *updates, size_t left)
{
	for (unsigned int page = 0; page < INBOX_PAGES; page++) {
		struct half *half = &to[page].halves[parity];
		size_t count = left < PAGE_UPDATES ? left : PAGE_UPDATES;
		if (half->count != count) /* a page that is not in use is not stored to */
			half->count = count;
		memcpy(half->updates, updates, count * sizeof *updates);
		updates += count;
		left -= count;
	}
}

static void apply_inbox(const struct problem *p, const struct part *part, const struct inbox_page *from,
			unsigned int parity)
{
	for (unsigned int page = 0; page < INBOX_PAGES; page++)
		apply(p, part, from[page].halves[parity].updates, from[page].halves[parity].count);
}

/* What is read after the barrier of a round is overwritten two rounds later, after another barrier. */
static void run_exchange(const struct problem *p, struct worker *w, const struct table *t)
{
	struct part *part = w->mine;

	for (uint64_t round = 0; round < part->rounds; round++) {
		make_updates(p, w, part);
		for (unsigned int to = 0; to < w->workers; to++)
			if (to != w->rank)
				send_updates(inbox(t, to, w->rank), round % 2, part->sorted[to],
					     part->counts[to]);
		worker_barrier(w);
		for (unsigned int from = 0; from < w->workers; from++)
			if (from != w->rank)
				apply_inbox(p, part, inbox(t, w->rank, from), round % 2);
	}
}

/* --- shared: atomics ----------------------------------------------------------------------------------- */

static void run_atomics(const struct problem *p, struct worker *w, const struct table *t)
{
	struct part *part = w->mine;

	for (; part->updates_left; part->updates_left--) {
		part->random = next_random(part->random);
		size_t place = place_of(p, part->random);
		unsigned int owner = owner_of(p, place, w->workers);
		uint64_t *words = (uint64_t *)(t->words + owner * t->words_stride);
		worker_atomic_xor(w, words + (place - worker_first(word_count(p), owner, w->workers)),
				  part->random);
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

/* One message between any two, of the length that it happens to have. */
static void exchange(struct worker *w, struct part *part)
{
	MPI_Request requests[2 * WORKERS_MAX];
	MPI_Status statuses[2 * WORKERS_MAX];
	int count = 0, length;

	for (unsigned int i = 0; i < w->workers; i++)
		if (i != w->rank)
			MPI_Irecv(part->arrived[i], LOOK_AHEAD, MPI_UINT64_T, (int)i, 0, MPI_COMM_WORLD,
				  &requests[count++]);
	for (unsigned int i = 0; i < w->workers; i++)
		if (i != w->rank)
			MPI_Isend(part->sorted[i], (int)part->counts[i], MPI_UINT64_T, (int)i, 0,
				  MPI_COMM_WORLD, &requests[count++]);
	MPI_Waitall(count, requests, statuses);
	for (int i = 0; i < count / 2; i++) {
		MPI_Get_count(&statuses[i], MPI_UINT64_T, &length);
		part->counts[statuses[i].MPI_SOURCE] = (size_t)length;
	}
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;

	(void)state;
	for (uint64_t round = 0; round < part->rounds; round++) {
		make_updates(p, w, part);
		WORKER_CALL(w, exchange(w, part));
		for (unsigned int i = 0; i < w->workers; i++)
			if (i != w->rank)
				apply(p, part, part->arrived[i], part->counts[i]);
	}
}

/* --- an application ------------------------------------------------------------------------------------ */

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct table *t = state;

	t->words =
	    shared_parts(shared, "table", (word_count(p) / workers + 1) * sizeof(uint64_t), &t->words_stride);
	t->inboxes = shared_parts(shared, "inboxes", workers * INBOX_PAGES * sizeof(struct inbox_page),
				  &t->inboxes_stride);
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	const struct table *t = state;
	struct part *part = w->mine = worker_private(w, sizeof *part);
	size_t updates = word_count(p) * UPDATES_PER_WORD, first = worker_first(updates, w->rank, w->workers);

	part->first = worker_first(word_count(p), w->rank, w->workers);
	part->end = worker_first(word_count(p), w->rank + 1, w->workers);
	part->random = random_at((int64_t)first);
	part->updates_left = worker_first(updates, w->rank + 1, w->workers) - first;
	part->rounds = (updates / w->workers + 1 + LOOK_AHEAD - 1) / LOOK_AHEAD;
	part->sorted = worker_private(w, w->workers * sizeof *part->sorted);
	if (w->form == FORM_MPI)
		part->arrived = worker_private(w, w->workers * sizeof *part->arrived);
	if (w->form == FORM_MPI || p->variant == VARIANT_EXCHANGE)
		part->words = worker_private(w, (part->end - part->first) * sizeof *part->words);
	else
		part->words = (uint64_t *)(t->words + w->rank * t->words_stride);
	for (size_t i = part->first; i < part->end; i++)
		part->words[i - part->first] = i;
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	if (p->variant == VARIANT_EXCHANGE)
		run_exchange(p, w, state);
	else
		run_atomics(p, w, state);
}

static void finish(const struct problem *p, struct worker *w, void *state)
{
	const struct table *t = state;
	const struct part *part = w->mine;

	if (p->variant == VARIANT_EXCHANGE)
		memcpy(t->words + w->rank * t->words_stride, part->words,
		       (part->end - part->first) * sizeof *part->words);
}

static size_t result_bytes(const struct problem *p)
{
	return word_count(p) * sizeof(uint64_t);
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	const struct table *t = state;
	const struct part *part = w->mine;

	if (w->form == FORM_MPI) {
		app_gather(w, part->words, (part->end - part->first) * sizeof *part->words, result);
		return;
	}
	for (unsigned int rank = 0; rank < w->workers; rank++) {
		size_t first = worker_first(word_count(p), rank, w->workers);
		size_t end = worker_first(word_count(p), rank + 1, w->workers);
		memcpy((uint64_t *)result + first, t->words + rank * t->words_stride,
		       (end - first) * sizeof(uint64_t));
	}
}

static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const uint64_t *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i < word_count(p); i++)
		wrong += a[i] != b[i];
	return wrong;
}

static uint64_t allowed(const struct problem *p)
{
	return word_count(p) / 100;
}

/* HPC Challenge's verification: the same updates once more take the table back to what it was. */
static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	uint64_t *words = malloc(result_bytes(p)), random = random_at(0);
	size_t errors = 0;

	if (!words)
		job_fail("no memory for a table of %zu bytes", result_bytes(p));
	memcpy(words, result, result_bytes(p));
	for (size_t i = 0; i < word_count(p) * UPDATES_PER_WORD; i++) {
		random = next_random(random);
		words[place_of(p, random)] ^= random;
	}
	for (size_t i = 0; i < word_count(p); i++)
		errors += words[i] != i;
	if (errors > allowed(p))
		snprintf(wrong, APP_WRONG_MESSAGE_MAX, "%zu words are not what they were before all updates",
			 errors);
	free(words);
}

static const char *const variants[] = {"exchange", "atomics", NULL};
static const char *const shared_only[] = {"atomics", NULL};

static const struct app gups = {
    .name = "gups",
    .title = "Minorca: random access by the rules of the HPC Challenge",
    .help = "Updates random words of a table: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .variants = variants,
    .shared_only = shared_only,
    .page_bytes = 4 * KIB,
    .rate_unit = "GUPS",
    .work = work,
    .state_bytes = sizeof(struct table),
    .allocate = allocate,
    .start = start,
    .run = run,
    .run_mpi = run_mpi,
    .finish = finish,
    .collect = collect,
    .result_bytes = result_bytes,
    .compare = compare,
    .allowed = allowed,
    .validate = validate,
};

int main(int argc, char **argv)
{
	return app_main(&gups, argc, argv);
}
