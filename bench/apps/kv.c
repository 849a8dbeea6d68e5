/*
 * A key-value store in a hash table, with the mixes of YCSB (Cooper et al., "Benchmarking cloud serving
 * systems with YCSB", 2010): a: half of the operations are updates; b: one of twenty; c: none. Keys are drawn
 * by Zipf's law (0.99), scrambled.
 *
 * Any worker does any operation, one at a time, under the lock of the key's bucket: in shared memory by loads
 * and stores, by MPI with a lock of the owner's window, MPI_Get and MPI_Put. Records are loaded before; none
 * is added.
 *
 * Every record counts its updates. As operations are the same in all forms, so must be the counts; that holds
 * only if no two updates of a record overlap. A record that is read in two halves of different updates is
 * found by its words.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <mpi.h>

#include "bench/apps/app.h"
#include "kernel/memory.h"

enum { PARAMETER_RECORDS, PARAMETER_OPERATIONS };
enum { VARIANT_A, VARIANT_B, VARIANT_C };

static const struct app_parameter parameters[] = {
    {"records-log2", "2^N records", 6, 30, {10, 16, 18, 20}},
    {"operations",
     "operations of all workers together",
     1,
     UINT64_C(1) << 40,
     {4000, 100000, 400000, 1600000}},
    {0},
};

static const unsigned int updates_of_100[] = {[VARIANT_A] = 50, [VARIANT_B] = 5, [VARIANT_C] = 0};

#define ZIPF 0.99
#define SLOTS 6
#define WORDS 14
#define EMPTY 0 /* keys begin at 1 */

/* 128 bytes. All words are the same function of the key and of how often it was updated. */
struct record {
	uint64_t key, updates;
	uint64_t words[WORDS];
};

/* Of a page of 4 KiB, five. What does not fit is in the next bucket of the same worker. */
struct bucket {
	union worker_lock lock;
	struct record records[SLOTS];
};

/* Of a node. */
struct store {
	char *buckets; /* a part for each worker */
	size_t stride;
};

/* Of a worker. */
struct part {
	size_t count;	    /* buckets of each worker */
	struct bucket *own; /* its buckets; MPI: in its window */
	MPI_Win window;
	uint64_t first, end; /* its operations, by number */
	uint64_t torn;	     /* records whose words were not of one update */
	uint64_t checksum;   /* of what was read, so that it is read */
	double zeta, eta, alpha;
};

static size_t record_count(const struct problem *p)
{
	return (size_t)1 << p->values[PARAMETER_RECORDS];
}

static double work(const struct problem *p)
{
	return (double)p->values[PARAMETER_OPERATIONS] / 1e6;
}

static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* --- Zipf's law ---------------------------------------------------------------------------------------- */

/* Gray et al., "Quickly generating billion-record synthetic databases", 1994, as in YCSB. */
static void prepare_zipf(const struct problem *p, struct part *part)
{
	double records = (double)record_count(p), two = 1 + pow(0.5, ZIPF);

	part->zeta = 0;
	for (size_t i = 1; i <= record_count(p); i++)
		part->zeta += pow(1 / (double)i, ZIPF);
	part->alpha = 1 / (1 - ZIPF);
	part->eta = (1 - pow(2 / records, 1 - ZIPF)) / (1 - two / part->zeta);
}

/* @return a key; the most frequent ones are not neighbours. */
static uint64_t draw_key(const struct problem *p, const struct part *part, uint64_t random)
{
	double u = (double)(random >> 11) / (double)(UINT64_C(1) << 53), uz = u * part->zeta;
	uint64_t rank;

	if (uz < 1)
		rank = 0;
	else if (uz < 1 + pow(0.5, ZIPF))
		rank = 1;
	else
		rank = (uint64_t)((double)record_count(p) * pow(part->eta * u - part->eta + 1, part->alpha));
	return 1 + (mix(rank) & (record_count(p) - 1));
}

/* --- buckets ------------------------------------------------------------------------------------------- */

/* On the average half full. */
static size_t bucket_count(const struct problem *p, unsigned int workers)
{
	return record_count(p) / workers * 2 / SLOTS + 16;
}

static unsigned int owner_of(uint64_t key, unsigned int workers)
{
	return (unsigned int)(mix(key) % workers);
}

static size_t bucket_of(uint64_t key, const struct part *part)
{
	return (size_t)((mix(key) >> 20) % part->count);
}

static struct record *find(struct bucket *bucket, uint64_t key)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (bucket->records[i].key == key)
			return &bucket->records[i];
	return NULL;
}

static uint64_t word_of(uint64_t key, uint64_t updates)
{
	return mix(key ^ updates << 32);
}

static void fill(struct record *record, uint64_t key, uint64_t updates)
{
	record->key = key;
	record->updates = updates;
	for (unsigned int i = 0; i < WORDS; i++)
		record->words[i] = word_of(key, updates);
}

static void look(struct part *part, const struct record *record)
{
	uint64_t expected = word_of(record->key, record->updates);

	for (unsigned int i = 0; i < WORDS; i++) {
		part->torn += record->words[i] != expected;
		part->checksum += record->words[i];
	}
}

/* A worker's own records; what does not fit into its bucket goes to the next. */
static void load(const struct problem *p, const struct worker *w, struct part *part)
{
	for (uint64_t key = 1; key <= record_count(p); key++) {
		if (owner_of(key, w->workers) != w->rank)
			continue;
		size_t at = bucket_of(key, part);
		while (!find(&part->own[at], EMPTY))
			at = (at + 1) % part->count;
		fill(find(&part->own[at], EMPTY), key, 0);
	}
}

/* --- shared -------------------------------------------------------------------------------------------- */

static void operate(struct worker *w, const struct store *s, uint64_t key, bool is_update)
{
	struct part *part = w->mine;
	struct bucket *buckets = (struct bucket *)(s->buckets + owner_of(key, w->workers) * s->stride);

	for (size_t at = bucket_of(key, part);; at = (at + 1) % part->count) {
		worker_lock(w, &buckets[at].lock);
		struct record *record = find(&buckets[at], key);
		if (record && is_update)
			fill(record, key, record->updates + 1);
		else if (record)
			look(part, record);
		worker_unlock(w, &buckets[at].lock);
		if (record)
			return;
	}
}

/* --- MPI ----------------------------------------------------------------------------------------------- */

static void operate_by_mpi(struct worker *w, uint64_t key, bool is_update)
{
	struct part *part = w->mine;
	struct bucket bucket;
	int owner = (int)owner_of(key, w->workers);
	struct record *record = NULL;

	WORKER_CALL(w,
		    MPI_Win_lock(is_update ? MPI_LOCK_EXCLUSIVE : MPI_LOCK_SHARED, owner, 0, part->window));
	for (size_t at = bucket_of(key, part); !record; at = (at + 1) % part->count) {
		MPI_Aint place = (MPI_Aint)(at * sizeof bucket);
		WORKER_CALL(w, {
			MPI_Get(&bucket, sizeof bucket, MPI_BYTE, owner, place, sizeof bucket, MPI_BYTE,
				part->window);
			MPI_Win_flush(owner, part->window);
		});
		record = find(&bucket, key);
		if (record && is_update) {
			fill(record, key, record->updates + 1);
			WORKER_CALL(w, MPI_Put(record, sizeof *record, MPI_BYTE, owner,
					       place + ((char *)record - (char *)&bucket), sizeof *record,
					       MPI_BYTE, part->window));
		} else if (record) {
			look(part, record);
		}
	}
	WORKER_CALL(w, MPI_Win_unlock(owner, part->window));
}

/* --- an application ------------------------------------------------------------------------------------ */

static void allocate(const struct problem *p, struct shared *shared, unsigned int workers, void *state)
{
	struct store *s = state;

	s->buckets =
	    shared_parts(shared, "buckets", bucket_count(p, workers) * sizeof(struct bucket), &s->stride);
}

static void start(const struct problem *p, struct worker *w, void *state)
{
	const struct store *s = state;
	struct part *part = w->mine = worker_private(w, sizeof *part);

	part->count = bucket_count(p, w->workers);
	part->first = worker_first(p->values[PARAMETER_OPERATIONS], w->rank, w->workers);
	part->end = worker_first(p->values[PARAMETER_OPERATIONS], w->rank + 1, w->workers);
	prepare_zipf(p, part);
	if (w->form == FORM_MPI) {
		MPI_Win_allocate((MPI_Aint)(part->count * sizeof *part->own), 1, MPI_INFO_NULL,
				 MPI_COMM_WORLD, &part->own, &part->window);
		memset(part->own, 0, part->count * sizeof *part->own);
	} else {
		part->own = (struct bucket *)(s->buckets + w->rank * s->stride);
	}
	load(p, w, part);
}

/* Operation @number, the same whoever does it. */
static uint64_t choose(const struct problem *p, const struct part *part, uint64_t number, bool *is_update)
{
	*is_update = mix(number * 2 + 1) % 100 < updates_of_100[p->variant];
	return draw_key(p, part, mix(number * 2));
}

static void run(const struct problem *p, struct worker *w, void *state)
{
	const struct part *part = w->mine;
	bool is_update;

	for (uint64_t number = part->first; number < part->end; number++) {
		uint64_t key = choose(p, part, number, &is_update);
		operate(w, state, key, is_update);
	}
}

static void run_mpi(const struct problem *p, struct worker *w, void *state)
{
	const struct part *part = w->mine;
	bool is_update;

	(void)state;
	for (uint64_t number = part->first; number < part->end; number++) {
		uint64_t key = choose(p, part, number, &is_update);
		operate_by_mpi(w, key, is_update);
	}
}

static void finish(const struct problem *p, struct worker *w, void *state)
{
	struct part *part = w->mine;

	(void)p;
	(void)state;
	worker_reduce(w, &part->torn, 1, SUM_UINT64);
}

/* How often each record was updated; before them, how many words were not right. */
static size_t result_bytes(const struct problem *p)
{
	return (record_count(p) + 1) * sizeof(uint64_t);
}

static void count_updates(struct part *part, const struct bucket *buckets, uint64_t *result)
{
	for (size_t at = 0; at < part->count; at++)
		for (unsigned int i = 0; i < SLOTS; i++)
			if (buckets[at].records[i].key != EMPTY) {
				look(part, &buckets[at].records[i]);
				result[buckets[at].records[i].key] = buckets[at].records[i].updates;
			}
}

static void collect(const struct problem *p, struct worker *w, void *state, void *result)
{
	const struct store *s = state;
	struct part *part = w->mine;
	size_t bytes = part->count * sizeof *part->own, stride = bytes;
	char *all = NULL;

	if (w->form == FORM_MPI) {
		worker_reduce(w, &part->torn, 1, SUM_UINT64);
		if (w->rank == 0)
			all = worker_private(w, bytes * w->workers);
		app_gather(w, part->own, bytes, all);
		MPI_Win_free(&part->window);
		if (w->rank)
			return;
	} else {
		all = s->buckets;
		stride = s->stride;
	}
	memset(result, 0xff, result_bytes(p)); /* a record that is not found is wrong */
	for (unsigned int rank = 0; rank < w->workers; rank++)
		count_updates(part, (const struct bucket *)(all + rank * stride), result);
	*(uint64_t *)result = part->torn;
}

static uint64_t compare(const struct problem *p, const void *result, const void *serial)
{
	const uint64_t *a = result, *b = serial;
	uint64_t wrong = 0;

	for (size_t i = 0; i <= record_count(p); i++)
		wrong += a[i] != b[i];
	return wrong;
}

static void validate(const struct problem *p, const void *result, char wrong[APP_WRONG_MESSAGE_MAX])
{
	const uint64_t *counts = result;
	uint64_t updates = 0, expected = 0;

	for (uint64_t number = 0; number < p->values[PARAMETER_OPERATIONS]; number++)
		expected += mix(number * 2 + 1) % 100 < updates_of_100[p->variant];
	for (size_t key = 1; key <= record_count(p); key++)
		updates += counts[key];
	if (counts[0])
		snprintf(wrong, APP_WRONG_MESSAGE_MAX, "%zu words of records were not of one update",
			 (size_t)counts[0]);
	else if (updates != expected)
		snprintf(wrong, APP_WRONG_MESSAGE_MAX, "%zu updates are in the records, and %zu were made",
			 (size_t)updates, (size_t)expected);
}

static const char *const variants[] = {"a", "b", "c", NULL};

static const struct app kv = {
    .name = "kv",
    .title = "Minorca: a key-value store with the mixes of YCSB",
    .help = "Reads and updates records of a hash table: serial, with threads, by MPI, and on Minorca.",
    .parameters = parameters,
    .variants = variants,
    .page_bytes = 4 * KIB,
    .rate_unit = "Mop/s",
    .work = work,
    .state_bytes = sizeof(struct store),
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
	return app_main(&kv, argc, argv);
}
