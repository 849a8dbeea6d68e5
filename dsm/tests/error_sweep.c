/*
 * A small job is run again and again, and each time another call of the runtime to its transport or to the
 * kernel fails: the first of its kind, the second, ... Whatever fails, each node ends in time, and in one of
 * three ways: all went well; a call returned an error; a fault ended in SIGBUS, with a message. It never
 * finds a wrong value: after an error a value is right, or cannot be had. A call that failed is made once
 * more, so that what a failure leaves behind is tried too.
 *
 * usage: error_sweep [--every N] [CALL...]      every Nth failure only (1); calls by their names in inject.c
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <minorca.h>

#include "dsm/tests/forked.h"
#include "dsm/tests/inject.h"

#define NODES 2
#define PAGES 6
#define WORDS (4096 / sizeof(uint64_t))
#define ROUNDS 4
#define SECONDS_MOST 10.0

/* How a node ends. */
enum { ALL_WELL = 0, ERROR_GIVEN = 2, WRONG_VALUE = 3, WRONG_ERROR = 4 };

/* Shared with the children. */
static struct shared {
	uint64_t counts[NODES][INJECT_CALLS];
	bool failed[NODES]; /* the failure was met */
} * shared;

struct scenario {
	int victim; /* the node whose call fails; -1: none */
	enum inject_call call;
	uint64_t nth;
	int error;
	bool fabric, lost;
};

/* --- the workload
 * -------------------------------------------------------------------------------------------- */

static int node;
static bool had_error; /* a call here has failed: what this node stored may not have been published */

static _Noreturn void end_with(int how)
{
	shared->failed[node] = inject_has_failed();
	for (int call = 0; call < INJECT_CALLS; call++)
		shared->counts[node][call] = inject_count((enum inject_call)call);
	exit(how);
}

static void must_be_errno(int error, const char *call)
{
	if (error > 0 || error < -4095) {
		fprintf(stderr, "%s returned %d\n", call, error);
		end_with(WRONG_ERROR);
	}
}

/* What can be done again is, once; then the node gives up. */
#define TRY(call)                              \
	do {                                   \
		int error_ = (call);           \
		must_be_errno(error_, #call);  \
		if (error_) {                  \
			had_error = true;      \
			error_ = (call);       \
		}                              \
		must_be_errno(error_, #call);  \
		if (error_)                    \
			end_with(ERROR_GIVEN); \
	} while (0)

/* What may have been done although it failed. */
#define ONCE(call)                             \
	do {                                   \
		int error_ = (call);           \
		must_be_errno(error_, #call);  \
		if (error_)                    \
			end_with(ERROR_GIVEN); \
	} while (0)

#define EXPECT(actual, expected) expect((uint64_t)(actual), (uint64_t)(expected), #actual, __LINE__)

static void expect(uint64_t actual, uint64_t expected, const char *what, int line)
{
	if (actual == expected)
		return;
	fprintf(stderr, "line %d: %s is %llu, not %llu; an error was seen here before: %s\n", line, what,
		(unsigned long long)actual, (unsigned long long)expected, had_error ? "yes" : "no");
	end_with(WRONG_VALUE);
}

struct words {
	dsm_mutex mutex;
	dsm_rwlock rwlock;
	dsm_event event;
	uint64_t counter, under_lock, under_rwlock;
};

static dsm_region *plain, *many_blocks, *for_words;

/* Each node stores to words of its own in all pages, and reads those of all. */
static void share(volatile uint64_t *base, size_t pages, size_t words_per_page, uint64_t round)
{
	for (size_t p = 0; p < pages; p++)
		for (size_t w = 0; w < words_per_page; w += words_per_page / 4)
			base[p * words_per_page + w + (size_t)node] =
			    round * 1000 + p * 10 + (uint64_t)node + w;
	TRY(dsm_barrier());
	for (size_t p = 0; p < pages; p++)
		for (size_t w = 0; w < words_per_page; w += words_per_page / 4)
			for (size_t n = 0; n < NODES; n++)
				EXPECT(base[p * words_per_page + w + n], round * 1000 + p * 10 + n + w);
	TRY(dsm_barrier());
}

static void use_locks(struct words *words)
{
	TRY(dsm_lock(&words->mutex));
	words->under_lock++;
	TRY(dsm_unlock(&words->mutex));
	ONCE(dsm_write_lock(&words->rwlock));
	words->under_rwlock++;
	ONCE(dsm_write_unlock(&words->rwlock));
	ONCE(dsm_read_lock(&words->rwlock));
	ONCE(dsm_read_unlock(&words->rwlock));
}

static void use_atomics(struct words *words, uint64_t round)
{
	uint64_t value;

	ONCE(dsm_atomic_fetch_add(&words->counter, 1, &value, DSM_ACQ_REL));
	ONCE(dsm_event_advance(&words->event, 1));
	ONCE(dsm_event_await(&words->event, NODES * (round - 1) + 1));
}

static void use_heap(void)
{
	void *small = NULL, *large = NULL;
	uint64_t sum = 0, one = 1;
	char text[16] = "";

	ONCE(dsm_malloc(100, DSM_HERE, &small));
	ONCE(dsm_calloc(3, 40000, 1 - node, &large));
	memset(small, 7, 100);
	EXPECT(((volatile unsigned char *)large)[119999], 0);
	ONCE(dsm_free(large));
	ONCE(dsm_free(small));
	ONCE(dsm_reduce(&one, &sum, 1, DSM_UINT64, DSM_SUM));
	EXPECT(sum, NODES);
	if (!node)
		strcpy(text, "from node 0");
	ONCE(dsm_broadcast(text, sizeof text, 0));
	EXPECT(strcmp(text, "from node 0"), 0);
}

static void do_round(struct words *words, uint64_t round)
{
	volatile uint64_t *base = dsm_region_base(plain), *blocks = dsm_region_base(many_blocks);

	share(base, PAGES, WORDS, round);
	if (many_blocks != plain)
		share(blocks, 1, dsm_region_page_bytes(many_blocks) / sizeof(uint64_t), round);
	TRY(dsm_prefetch((const void *)base, PAGES * 4096, round % 2));
	TRY(dsm_invalidate((const void *)base, PAGES * 4096));
	EXPECT(base[WORDS + 1 - (unsigned)node], round * 1000 + 10 + 1 - (unsigned)node);
	use_locks(words);
	use_atomics(words, round);
	use_heap();
	TRY(dsm_barrier());
	EXPECT(words->under_lock, NODES * round);
	EXPECT(words->under_rwlock, NODES * round);
	TRY(dsm_barrier());
}

static dsm_region *make(const char *name, size_t page_bytes, size_t bytes, bool sparse)
{
	struct dsm_region_options options = {.page_size_bytes = page_bytes,
					     .home = DSM_HOME_CYCLIC,
					     .chunk_bytes = page_bytes,
					     .sparse = sparse};
	dsm_region *r = NULL;

	TRY(dsm_region_create(name, bytes, &options, &r));
	return r;
}

static bool has_hugepages; /* as this program began */

static int run_node(int number, void *argument)
{
	const struct scenario *s = argument;
	struct rlimit none = {0, 0};

	node = number;
	setrlimit(RLIMIT_CORE, &none); /* some of it dies */
	if (s->fabric)
		inject_fabric();
	if (s->victim == node && s->lost)
		inject_lost_peer(1 - node, s->nth);
	else if (s->victim == node)
		inject_failure(s->call, s->nth, s->error);
	int error = dsm_init(NULL, NULL);
	must_be_errno(error, "dsm_init()");
	if (error)
		end_with(ERROR_GIVEN);
	plain = make("plain", 4096, (size_t)PAGES * 4096, false);
	many_blocks = has_hugepages ? make("many blocks", 2 << 20, 4 << 20, true) : plain;
	for_words = make("words", 4096, sizeof(struct words), false);
	for (uint64_t round = 1; round <= ROUNDS; round++)
		do_round(dsm_region_base(for_words), round);
	TRY(dsm_region_destroy(for_words));
	error = dsm_finalize();
	must_be_errno(error, "dsm_finalize()");
	end_with(error ? ERROR_GIVEN : ALL_WELL);
}

/* --- what may become of it
 * ------------------------------------------------------------------------------------ */

/* NULL: as it should be. */
static const char *problem_of(const struct forked_end *end)
{
	if (end->hung)
		return "it hangs";
	if (WIFSIGNALED(end->status))
		return WTERMSIG(end->status) != SIGBUS ? "it was killed by another signal than SIGBUS"
		       : strstr(end->text, "cannot resolve the fault") ? NULL
								       : "SIGBUS without a message";
	switch (WEXITSTATUS(end->status)) {
	case ALL_WELL:
	case ERROR_GIVEN:
		return NULL;
	case WRONG_VALUE:
		return "it found a wrong value";
	case WRONG_ERROR:
		return "a call returned what is no error";
	default:
		return "it ended by itself";
	}
}

static int jobs, problems, errors_given, buses;

/* @return true: the failure was met. */
static bool run_scenario(const struct scenario *s)
{
	struct forked_end ends[FORKED_NODES_MAX];

	memset(shared->failed, 0, sizeof shared->failed);
	forked_job(NODES, SECONDS_MOST, run_node, (void *)(uintptr_t)s, ends);
	jobs++;
	for (int i = 0; i < NODES; i++) {
		const char *problem = problem_of(&ends[i]);
		buses += WIFSIGNALED(ends[i].status);
		errors_given += WIFEXITED(ends[i].status) && WEXITSTATUS(ends[i].status) == ERROR_GIVEN;
		if (!problem && s->victim < 0 && ends[i].status)
			problem = "it went wrong without a failure";
		if (!problem)
			continue;
		problems++;
		printf("# %s number %llu on node %d %s with %s%s: node %d (status %#x): %s\n# | %s\n",
		       s->lost ? "operation to the other node" : inject_name(s->call),
		       (unsigned long long)s->nth, s->victim, s->lost ? "and all later ones fail" : "fails",
		       strerror(-s->error), s->fabric ? " (as over a fabric)" : "", i,
		       (unsigned)ends[i].status, problem, ends[i].text);
	}
	return s->victim >= 0 && (shared->failed[s->victim] || !WIFEXITED(ends[s->victim].status));
}

/* --- all failures
 * ----------------------------------------------------------------------------------------------- */

static const struct {
	enum inject_call call;
	int errors[2]; /* in turn */
} sweeps[] = {
    {INJECT_OPEN, {-ENODEV, -ENOMEM}},
    {INJECT_CONNECT, {-ETIMEDOUT, -EPROTO}},
    {INJECT_EXPOSE, {-ENOMEM, -ENOSPC}},
    {INJECT_ATTACH, {-EPROTO, -ENOENT}},
    {INJECT_READ, {-EIO, -ETIMEDOUT}},
    {INJECT_WRITE, {-EIO, -ETIMEDOUT}},
    {INJECT_FETCH_ADD, {-EIO, -EHOSTDOWN}},
    {INJECT_COMPARE_SWAP, {-EIO, -ETIMEDOUT}},
    {INJECT_COMPLETE, {-EIO, -ETIMEDOUT}},
    {INJECT_POPULATE, {-ENOSPC, -ENOMEM}},
    {INJECT_API, {-EPERM, -EINVAL}},
    {INJECT_REGISTER, {-ENOMEM, -EBUSY}},
    {INJECT_CONTINUE, {-ENOMEM, -ESRCH}},
    {INJECT_WRITEPROTECT, {-ENOENT, -ENOMEM}},
    {INJECT_SCAN, {-ENOMEM, -EPERM}},
    {INJECT_DONTNEED, {-ENOMEM, -EINVAL}},
    {INJECT_MADV_POPULATE, {-EFAULT, -ENOMEM}},
    {INJECT_FALLOCATE, {-ENOSPC, -ENOMEM}},
    {INJECT_MEMFD, {-EMFILE, -ENOMEM}},
};

#define SWEEPS (sizeof sweeps / sizeof sweeps[0])

static unsigned every = 1;
static uint64_t without_failure[NODES][INJECT_CALLS]; /* how often each call is made then */
static int number;

static void say(int before, const char *what, bool fabric)
{
	number++;
	printf("%sok %d - %s%s: %d jobs, so far %d errors given and %d deaths by SIGBUS\n",
	       problems > before ? "not " : "", number, what, fabric ? ", as over a fabric" : "", jobs,
	       errors_given, buses);
	fflush(stdout);
}

static void sweep(size_t which, bool fabric)
{
	enum inject_call call = sweeps[which].call;
	int before = problems;
	uint64_t most = 0;

	for (int n = 0; n < NODES; n++)
		most = without_failure[n][call] > most ? without_failure[n][call] : most;
	/* Of what is called a few times, some are tried in any case. */
	unsigned step = most / 3 < every ? (unsigned)(most / 3) : every, missed = 0;
	step = step ? step : 1;
	/* Victims take turns where not every failure is tried. How often a node polls differs from run to
	 * run. */
	for (uint64_t nth = 1 + which % step; nth <= most && problems - before < 5 && missed < 4; nth += step)
		for (int victim = 0; victim < NODES; victim++) {
			struct scenario s = {.victim = victim,
					     .call = call,
					     .nth = nth,
					     .error = sweeps[which].errors[nth / step % 2],
					     .fabric = fabric};
			if (step == 1 || (int)(nth / step) % NODES == victim)
				missed = run_scenario(&s) ? 0 : missed + 1;
		}
	say(before, inject_name(call), fabric);
}

static void sweep_lost_peer(bool fabric)
{
	int before = problems;
	uint64_t most = without_failure[0][INJECT_READ] + without_failure[0][INJECT_WRITE];

	for (uint64_t nth = 1; nth <= most && problems - before < 5; nth += every * 4) {
		struct scenario s = {.victim = (int)(nth / every % NODES),
				     .nth = nth,
				     .error = -EHOSTDOWN,
				     .fabric = fabric,
				     .lost = true};
		run_scenario(&s);
	}
	say(before, "a lost peer", fabric);
}

/* How often each call is made, if none fails. */
static void count_calls(bool fabric)
{
	struct scenario s = {.victim = -1, .fabric = fabric};
	int before = problems;

	run_scenario(&s);
	memcpy(without_failure, shared->counts, sizeof without_failure);
	say(before, "no failure", fabric);
}

static bool is_wanted(const char *name, int argc, char **argv)
{
	bool any = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--every"))
			i++;
		else if (!strcmp(argv[i], name))
			return true;
		else
			any = true;
	}
	return !any;
}

int main(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--every"))
			every = (unsigned)atoi(argv[i + 1]);
	FILE *pool = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned pages = 0;
	has_hugepages = pool && fscanf(pool, "%u", &pages) == 1 && pages >= 32;
	if (pool)
		fclose(pool);
	setenv("MINORCA_TIMEOUT", "0.3", 1);
	setenv("MINORCA_HEAP_BYTES", "16MiB", 1);
	setenv("MINORCA_LANES", "4", 1);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int fabric = 0; fabric < 2; fabric++) {
		count_calls(fabric);
		for (size_t i = 0; i < SWEEPS; i++)
			/* What the kernel does is the same over a fabric. */
			if (is_wanted(inject_name(sweeps[i].call), argc, argv) &&
			    (!fabric || (sweeps[i].call >= INJECT_READ && sweeps[i].call <= INJECT_COMPLETE)))
				sweep(i, fabric);
		if (is_wanted("lost", argc, argv))
			sweep_lost_peer(fabric);
	}
	printf("1..%d\n", number);
	return problems > 0;
}
