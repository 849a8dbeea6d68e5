/*
 * A differential test: a random program without data races runs on shared memory, and every node runs the
 * same program for itself on plain memory. Whatever the runtime does, both must end up the same.
 *
 * A program is made of phases, with barriers between them. In a phase each byte of each region belongs to one
 * thread, or to none, as a hash of seed, phase and address says; at byte granularity, so that threads of
 * different nodes own bytes of one word, or in larger pieces, so that they own pages. A thread stores to its
 * own bytes, and loads those and the ones that belong to nobody. Besides there are records that are only
 * touched under a mutex, mailboxes that are handed over by an event or an atomic, counters, and calls of
 * dsm_release(), dsm_acquire(), dsm_prefetch() and dsm_invalidate() whenever it pleases.
 *
 * What a thread does is decided by its dice alone, never by what it reads; so others can tell without
 * looking. `expected` is kept up to date by the threads of this node while they run, and for the others'
 * after that.
 */
#include "dsm/tests/nodes.h"

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsm/tests/torture.h"
#include "kernel/memory.h"

#define THREADS 2 /* of each node */
#define THREADS_MAX 32
#define REGIONS_MAX 3
#define RECORDS 3 /* of each region */
#define PHASES 10
#define RUN_MAX ((size_t)3 * 4096) /* bytes that are stored at once, at most */

/* --- where things are ------------------------------------------------------------------------------------
 */

struct plan {
	size_t page_bytes, pages;
	enum dsm_home_policy home;
	enum dsm_delivery delivery;
};

static const struct case_of_plans {
	const char *name;
	struct plan regions[REGIONS_MAX];
} cases[] = {
    {"4 KiB pages",
     {{4 * KIB, 16, DSM_HOME_BLOCK, DSM_DELIVERY_INLINE},
      {4 * KIB, 16, DSM_HOME_CYCLIC, DSM_DELIVERY_INLINE},
      {4 * KIB, 16, DSM_HOME_NODE, DSM_DELIVERY_INLINE}}},
    {"2 MiB pages",
     {{2 * MIB, 2, DSM_HOME_CYCLIC, DSM_DELIVERY_INLINE}, {2 * MIB, 1, DSM_HOME_NODE, DSM_DELIVERY_INLINE}}},
    {"all kinds of pages and deliveries",
     {{4 * KIB, 32, DSM_HOME_CYCLIC, DSM_DELIVERY_THREAD_SPIN},
      {2 * MIB, 1, DSM_HOME_NODE, DSM_DELIVERY_THREAD_BLOCK},
      {4 * KIB, 16, DSM_HOME_NODE, DSM_DELIVERY_INLINE}}},
};

static struct memory {
	dsm_region *region;
	unsigned char *base, *expected;
	size_t bytes;
	/* Of this phase: who owns what. */
	uint64_t key;
	unsigned shift;
	/* What was done to the records, by all. */
	_Atomic uint64_t changes[RECORDS], sums[RECORDS];
} memories[REGIONS_MAX];
static unsigned regions;

/* A region of its own, around all homes. Words of atomics are apart from plain memory. */
static struct objects {
	dsm_mutex mutex[REGIONS_MAX][RECORDS];
	dsm_event posted[THREADS_MAX];
	uint64_t posted_word[THREADS_MAX]; /* the same, by atomics */
	uint64_t counter[4];
} * objects;
static _Atomic uint64_t counted[4];

/* The parts of a record: a number of changes and a sum, and, far from them, in another page or block, a byte
 * that every change turns from 0 to 1 or back. */
struct record {
	uint64_t changes, sum;
};

static struct record *record_at(const struct memory *m, unsigned number)
{
	return (struct record *)(void *)(m->base + m->bytes / 4 * number + 256);
}

static unsigned char *toggle_at(const struct memory *m, unsigned number)
{
	return m->base + m->bytes / 4 * number + m->bytes / 8 + 100;
}

#define MAILBOX_BYTES ((size_t)72) /* not a divisor of anything */

/* In the first region; it has room for all. */
static unsigned char *mailbox_of(unsigned thread)
{
	return memories[0].base + memories[0].bytes / 8 * 7 + thread * MAILBOX_BYTES;
}

static bool is_mailbox(const struct memory *m, size_t offset)
{
	size_t first = m->bytes / 8 * 7;

	return m == memories && offset >= first && offset < first + THREADS_MAX * MAILBOX_BYTES;
}

static bool is_reserved(const struct memory *m, size_t offset)
{
	size_t quarter = m->bytes / 4, in_quarter = offset % quarter;

	if (offset < RECORDS * quarter &&
	    (in_quarter - 256 < sizeof(struct record) || in_quarter == m->bytes / 8 + 100))
		return true;
	return is_mailbox(m, offset);
}

/* --- the run ---------------------------------------------------------------------------------------------
 */

static struct torture_options options;
static const char *program_name;
static char environment[512];
static int node, nodes;
static unsigned threads; /* of all nodes */
static const struct case_of_plans *current_case;
static uint64_t seed;	    /* of this run */
static unsigned phase;	    /* from 1 */
static atomic_int failures; /* of this node, in this run */

#define NOBODY (-1)
#define RESERVED (-2)

static int owner_of(const struct memory *m, size_t offset)
{
	struct dice dice = {m->key ^ (offset >> m->shift) * 0xd1342543de82ef95u};

	if (is_reserved(m, offset))
		return RESERVED;
	unsigned owner = dice_throw(&dice, threads + 1);
	return owner < threads ? (int)owner : NOBODY;
}

static void draw_owners(void)
{
	static const unsigned shifts[] = {0, 0, 1, 3, 6, 9, 12, 12, 15, 17};

	for (unsigned i = 0; i < regions; i++) {
		/* For some phases the same: pages that one node stores to again and again are special. */
		struct dice dice = dice_of(seed, 1000 + phase / 4, i);
		memories[i].shift = shifts[dice_throw(&dice, sizeof shifts / sizeof shifts[0])];
		if (dice_throw(&dice, 2))
			dice = dice_of(seed, 2000 + phase, i);
		memories[i].key = dice_bits(&dice);
	}
}

static void complain(const char *what, const struct memory *m, size_t offset, uint64_t expected, uint64_t got)
{
	char detail[1024];

	if (atomic_fetch_add(&failures, 1) > 2)
		return;
	snprintf(
	    detail, sizeof detail,
	    "seed %llu, phase %u, region %d, offset %#zx (home %d, owner: thread %d of all): expected %#llx, "
	    "got %#llx; again: %sscripts/mpirun.sh %d %s --only '%s' --seed %llu --phases %u",
	    (unsigned long long)seed, phase, (int)(m - memories), offset, dsm_home(m->base + offset),
	    owner_of(m, offset), (unsigned long long)expected, (unsigned long long)got, environment, nodes,
	    program_name, current_case->name, (unsigned long long)seed, phase);
	nodes_check(false, what, __FILE__, __LINE__, detail);
}

/* --- what a thread does ----------------------------------------------------------------------------------
 */

/* One that runs here, or one of another node, of which only the effect is made. */
struct actor {
	unsigned number;
	bool real;
	struct dice dice;
	struct memory *m; /* that it is about */
};

/* Both memories. The threads of this node share `expected`, each its own bytes. */
static void put(const struct actor *a, size_t offset, const unsigned char *data, size_t bytes)
{
	memcpy(a->m->expected + offset, data, bytes);
	if (a->real)
		memcpy(a->m->base + offset, data, bytes);
}

/* Bytes from @offset on that belong to @owner. */
static size_t owned_run(const struct actor *a, size_t offset, size_t end)
{
	size_t run = 0;

	while (offset + run < end && owner_of(a->m, offset + run) == (int)a->number)
		run++;
	return run;
}

static void put_owned(const struct actor *a, size_t offset, const unsigned char *data, size_t bytes)
{
	for (size_t at = 0, run; at < bytes; at += run ? run : 1) {
		run = owned_run(a, offset + at, offset + bytes);
		if (run)
			put(a, offset + at, data + at, run);
	}
}

static size_t draw_range(struct actor *a, size_t most, size_t *bytes)
{
	*bytes = 1 + dice_throw(&a->dice, most);
	return dice_throw(&a->dice, a->m->bytes - *bytes);
}

/* Few values, so that stores bring back what was there, or any. */
static void draw_data(struct actor *a, unsigned char *data, size_t bytes)
{
	unsigned kind = dice_throw(&a->dice, 4);

	if (kind == 0)
		memset(data, (int)dice_throw(&a->dice, 2), bytes);
	else
		for (size_t i = 0; i < bytes; i++)
			data[i] = (unsigned char)(kind == 1 ? dice_bits(&a->dice) : dice_bits(&a->dice) & 1);
}

static void store(struct actor *a, size_t most)
{
	unsigned char data[RUN_MAX];
	size_t bytes, offset = draw_range(a, most, &bytes);

	draw_data(a, data, bytes);
	put_owned(a, offset, data, bytes);
}

static void load(struct actor *a, size_t most)
{
	size_t bytes, offset = draw_range(a, most, &bytes);

	for (size_t i = offset; a->real && i < offset + bytes; i++) {
		int owner = owner_of(a->m, i);
		if (owner != NOBODY && owner != (int)a->number)
			continue;
		unsigned char got = *(volatile unsigned char *)(a->m->base + i);
		if (got != a->m->expected[i])
			complain("a load sees the last store", a->m, i, a->m->expected[i], got);
	}
}

static void change_record(struct actor *a)
{
	struct memory *m = a->m;
	unsigned number = dice_throw(&a->dice, RECORDS);
	uint64_t add = dice_bits(&a->dice);
	dsm_mutex *mutex = &objects->mutex[m - memories][number];

	atomic_fetch_add(&m->changes[number], 1);
	atomic_fetch_add(&m->sums[number], add);
	if (!a->real)
		return;
	CHECK_EQUAL(dsm_lock(mutex), 0);
	struct record *record = record_at(m, number);
	unsigned char *toggle = toggle_at(m, number);
	if (*toggle != (record->changes & 1))
		complain("the parts of a record agree", m, (size_t)(toggle - m->base), record->changes & 1,
			 *toggle);
	record->changes++;
	record->sum += add;
	*toggle = record->changes & 1;
	CHECK_EQUAL(dsm_unlock(mutex), 0);
}

static void hint(struct actor *a)
{
	size_t bytes, offset = draw_range(a, a->m->bytes / 4, &bytes);
	unsigned what = dice_throw(&a->dice, 4);

	if (!a->real)
		return;
	if (what < 2)
		CHECK_EQUAL(dsm_prefetch(a->m->base + offset, bytes, what), 0);
	else
		CHECK_EQUAL(dsm_invalidate(a->m->base + offset, bytes), 0);
}

static void count(struct actor *a)
{
	unsigned number = dice_throw(&a->dice, 4);
	enum dsm_order order = (enum dsm_order)dice_throw(&a->dice, DSM_ACQ_REL + 1);

	atomic_fetch_add(&counted[number], 1);
	if (a->real)
		CHECK_EQUAL(dsm_atomic_fetch_add(&objects->counter[number], 1, NULL, order), 0);
}

/* --- mailboxes -------------------------------------------------------------------------------------------
 */

static unsigned char letter(unsigned thread, size_t i)
{
	struct dice dice = dice_of(seed + thread, phase, i);

	return (unsigned char)dice_bits(&dice) & (phase % 3 ? 1 : 0xff);
}

static bool posted_by_event(unsigned thread)
{
	return (phase + thread) % 2;
}

static void post(const struct actor *a)
{
	unsigned char *box = mailbox_of(a->number);

	if (!a->real)
		return;
	for (size_t i = 0; i < MAILBOX_BYTES; i++)
		box[i] = letter(a->number, i);
	if (posted_by_event(a->number))
		CHECK_EQUAL(dsm_event_advance(&objects->posted[a->number], 1), 0);
	else
		CHECK_EQUAL(dsm_atomic_store(&objects->posted_word[a->number], phase, DSM_RELEASE), 0);
}

/* How often @thread has posted by its event before this phase, and in it. */
static uint64_t posts_by_event(unsigned thread)
{
	return (phase + 1 - thread % 2) / 2;
}

/* Whose mailbox a thread looks into: another's in each phase. Everybody posts without waiting, so there is
 * somebody to wait for. */
static void collect(const struct actor *a)
{
	unsigned from = (a->number + phase) % threads;
	const unsigned char *box = mailbox_of(from);
	uint64_t value = 0;

	if (posted_by_event(from))
		CHECK_EQUAL(dsm_event_await(&objects->posted[from], posts_by_event(from)), 0);
	while (!posted_by_event(from) && value != phase) {
		if (!CHECK_EQUAL(dsm_atomic_load(&objects->posted_word[from], &value, DSM_ACQUIRE), 0))
			return;
		if (value != phase)
			usleep(20);
	}
	for (size_t i = 0; i < MAILBOX_BYTES; i++)
		if (box[i] != letter(from, i))
			complain("a letter arrives whole", memories, (size_t)(box + i - memories[0].base),
				 letter(from, i), box[i]);
}

/* --- a phase ---------------------------------------------------------------------------------------------
 */

static void act_once(struct actor *a)
{
	unsigned what = dice_throw(&a->dice, 100);

	a->m = &memories[dice_throw(&a->dice, regions)];
	if (what < 50)
		store(a, 8);
	else if (what < 60)
		store(a, RUN_MAX);
	else if (what < 75)
		load(a, 64);
	else if (what < 80)
		load(a, 2 * 4096);
	else if (what < 88)
		change_record(a);
	else if (what < 92)
		count(a);
	else if (what < 96)
		hint(a);
	else if (a->real)
		CHECK_EQUAL(what < 98 ? dsm_release() : dsm_acquire(), 0);
}

static void act(unsigned number, bool real)
{
	struct actor a = {number, real, dice_of(seed, phase, number), NULL};
	unsigned acts = 5 + dice_throw(&a.dice, 80), posts_at = dice_throw(&a.dice, acts);

	for (unsigned i = 0; i < acts; i++) {
		if (i == posts_at)
			post(&a);
		act_once(&a);
	}
	if (real)
		collect(&a);
}

static pthread_barrier_t together; /* of this node's threads */
static bool over;

static void *thread_of_a_node(void *argument)
{
	unsigned number = (unsigned)(node * THREADS) + (unsigned)(uintptr_t)argument;

	for (;;) {
		pthread_barrier_wait(&together);
		if (over)
			return NULL;
		act(number, true);
		pthread_barrier_wait(&together);
	}
}

static void check_records(struct memory *m)
{
	for (unsigned k = 0; k < RECORDS; k++) {
		struct record *record = record_at(m, k);
		unsigned char *toggle = toggle_at(m, k);
		if (record->changes != m->changes[k])
			complain("all changes are there", m, (size_t)((unsigned char *)record - m->base),
				 m->changes[k], record->changes);
		if (record->sum != m->sums[k])
			complain("all changes are there", m,
				 (size_t)((unsigned char *)&record->sum - m->base), m->sums[k], record->sum);
		if (*toggle != (m->changes[k] & 1))
			complain("the parts of a record agree", m, (size_t)(toggle - m->base),
				 m->changes[k] & 1, *toggle);
	}
}

static void compare(struct memory *m)
{
	/* A page at a time: memcmp() of all would not say where. */
	for (size_t at = 0; at < m->bytes; at += 4096) {
		if (!memcmp(m->base + at, m->expected + at, 4096))
			continue;
		for (size_t i = at; i < at + 4096; i++)
			if (m->base[i] != m->expected[i] && !is_reserved(m, i))
				complain("memory is as on one machine", m, i, m->expected[i], m->base[i]);
	}
}

static void check_all(void)
{
	for (unsigned i = 0; i < regions; i++) {
		check_records(&memories[i]);
		compare(&memories[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		uint64_t value = 0;
		CHECK_EQUAL(dsm_atomic_load(&objects->counter[i], &value, DSM_RELAXED), 0);
		CHECK_EQUAL(value, counted[i]);
	}
}

/* True if all nodes found all as it should be. */
static bool run_phase(void)
{
	int wrong, all;

	draw_owners();
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	CHECK_EQUAL(dsm_barrier(), 0);
	for (unsigned t = 0; t < threads; t++)
		if (t / THREADS != (unsigned)node)
			act(t, false);
	check_all();
	wrong = atomic_load(&failures);
	MPI_Allreduce(&wrong, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	CHECK_EQUAL(dsm_barrier(), 0); /* before anybody stores again */
	return !all;
}

/* --- a run -----------------------------------------------------------------------------------------------
 */

static bool make_region(const struct plan *plan, struct memory *m)
{
	struct dsm_region_options how = {.page_size_bytes = plan->page_bytes,
					 .home = plan->home,
					 .chunk_bytes = plan->home == DSM_HOME_CYCLIC ? plan->page_bytes : 0,
					 .home_node = (int)(seed % (uint64_t)nodes),
					 .delivery = plan->delivery};

	memset(m, 0, sizeof *m);
	if (!CHECK_EQUAL(dsm_region_create("differential", plan->pages * plan->page_bytes, &how, &m->region),
			 0))
		return false;
	m->base = dsm_region_base(m->region);
	m->bytes = dsm_region_bytes(m->region);
	m->expected = calloc(1, m->bytes);
	return true;
}

static bool make_all(dsm_region **r)
{
	struct dsm_region_options around = {
	    .home = DSM_HOME_CYCLIC, .chunk_bytes = 4096, .page_size_bytes = 4096};

	for (regions = 0; regions < REGIONS_MAX && current_case->regions[regions].pages; regions++)
		if (!make_region(&current_case->regions[regions], &memories[regions]))
			return false;
	if (!CHECK_EQUAL(dsm_region_create("differential-objects", sizeof *objects, &around, r), 0))
		return false;
	objects = dsm_region_base(*r);
	memset((void *)counted, 0, sizeof counted);
	return true;
}

static void free_all(dsm_region *r)
{
	for (unsigned i = 0; i < regions; i++) {
		CHECK_EQUAL(dsm_region_destroy(memories[i].region), 0);
		free(memories[i].expected);
	}
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

/* @return how many phases it went well. */
static unsigned run_seed(unsigned phases, bool *failed)
{
	pthread_t workers[THREADS];
	dsm_region *r;
	unsigned done = 0;

	*failed = !make_all(&r); /* on all nodes alike */
	if (*failed)
		return 0;
	atomic_store(&failures, 0);
	over = false;
	pthread_barrier_init(&together, NULL, THREADS + 1);
	for (size_t i = 0; i < THREADS; i++)
		CHECK_EQUAL(pthread_create(&workers[i], NULL, thread_of_a_node, (void *)i), 0);
	for (phase = 1; phase <= phases && !*failed; phase++, done++)
		*failed = !run_phase();
	over = true;
	pthread_barrier_wait(&together);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(workers[i], NULL);
	pthread_barrier_destroy(&together);
	free_all(r);
	return done;
}

static bool can_run(void)
{
	size_t pages = 0;

	for (unsigned i = 0; i < REGIONS_MAX; i++)
		if (current_case->regions[i].page_bytes == 2 * MIB)
			pages += current_case->regions[i].pages;
	return !pages || nodes_have_pages(2 * MIB, pages, (unsigned)nodes);
}

static void run_case(double seconds)
{
	double began = torture_now(), end = began + seconds;
	unsigned phases = 0;
	bool failed;

	if (!can_run())
		return;
	seed = options.seed;
	do
		phases += run_seed(options.phases ? options.phases : PHASES, &failed);
	while (!options.phases && torture_goes_on(end) && !failed && ++seed);
	CHECK(phases > 0);
	if (!node)
		printf("# %s: seeds %llu to %llu, %u phases in %.0f s\n", current_case->name,
		       (unsigned long long)options.seed, (unsigned long long)seed, phases,
		       torture_now() - began);
}

int main(int argc, char **argv)
{
	size_t wanted = 0, count_of_cases = sizeof cases / sizeof cases[0];

	program_name = argv[0];
	snprintf(environment, sizeof environment, "%s", torture_environment());
	options = torture_options(argc, argv, 36);
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	if (!node)
		torture_print(&options);
	threads = (unsigned)nodes * THREADS;
	for (size_t i = 0; i < count_of_cases; i++)
		wanted += torture_wanted(&options, cases[i].name);
	for (size_t i = 0; i < count_of_cases; i++) {
		current_case = &cases[i];
		if (!torture_wanted(&options, current_case->name))
			continue;
		nodes_case("a random program gives what plain memory gives: %s", current_case->name);
		if (threads <= THREADS_MAX)
			run_case(options.seconds / (double)wanted);
		else
			nodes_skip("there are too many nodes");
	}
	CHECK(wanted > 0);
	return nodes_end();
}
