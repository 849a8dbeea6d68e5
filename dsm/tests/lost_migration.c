/*
 * One of two nodes dies at a step of a migration; the other ends its calls with what is true then, and what
 * it has of the memory is right. Run by lost_migration_test.sh.
 *
 * usage: lost_migration (source|destination) STEP [--page-size=BYTES]
 * Who survives prints "survivor N: ok".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <minorca.h>

#include "dsm/migration.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

#define BYTES (16 * MIB)
#define SOURCE 0
#define DESTINATION 1

static int node, dead, failures;
static const char *when;
static dsm_region *region;
static volatile uint64_t *base;
static size_t page_bytes = 4 * KIB;

static void expect(long actual, long expected, const char *what)
{
	if (actual == expected)
		return;
	fprintf(stderr, "node %d: %s is %ld, expected %ld\n", node, what, actual, expected);
	failures++;
}

#define EXPECT(expected, call) expect((call), (expected), #call)

static bool is_now(const char *step)
{
	return !strcmp(when, step);
}

static void die_if(const char *step)
{
	if (node != dead || !is_now(step))
		return;
	printf("node %d dies: %s\n", node, step);
	fflush(stdout);
	raise(SIGKILL);
}

static const char *name_of(enum dsm_migration_step step)
{
	static const char *const names[] = {"none",	"copying", "switching", "mapping",
					    "fetching", "done",	   "cancelled", "lost"};

	return names[step];
}

static void on_progress(dsm_region *r, const struct dsm_migration_progress *progress, void *unused)
{
	(void)r, (void)unused;
	die_if(name_of(progress->step));
}

static const struct dsm_migration_options options = {.on_progress = on_progress};

/* Word @i after @rounds of stores to all. */
static uint64_t value(size_t i, uint64_t rounds)
{
	return i * 2654435761u + rounds;
}

static void store(uint64_t rounds, size_t step)
{
	for (size_t i = 0; i < BYTES / sizeof *base; i += step)
		base[i] = value(i, rounds);
}

/* Every 700th word has been stored to once more while it moved. */
static void check_contents(const struct dsm_page_range *lost, size_t ranges)
{
	size_t words = page_bytes / sizeof *base, wrong = 0;

	for (size_t i = 0; i < BYTES / sizeof *base; i++) {
		while (ranges && i / words >= lost->first + lost->count) {
			lost++;
			ranges--;
		}
		if (ranges && i / words >= lost->first) {
			i = (lost->first + lost->count) * words - 1;
			continue;
		}
		wrong += base[i] != value(i, i % 700 ? 1 : 2);
	}
	EXPECT(0, (long)wrong);
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* --- the two sides ------------------------------------------------------------------------------------- */

/* As dsm_migrate_switch() begins: the destination holds it, and knows nothing of what is out of date, or
 * which pages may be. */
static void tell_some_and_die(void)
{
	struct migration *m = region->migration;

	if (is_now("outlined"))
		EXPECT(0, dsm_migrate_precopy(region)); /* nothing is out of date any more */
	atomic_store(&m->words->state_bytes, sizeof node);
	memcpy(m->words->state, &node, sizeof node);
	EXPECT(0, migration_put(m, m->words->state, 1));
	EXPECT(0, migration_put(m, &m->words->state_bytes, 1));
	EXPECT(0, migration_tell(m, &m->words->switched, m->epoch));
	if (is_now("outlined")) {
		EXPECT(0, migration_scan(m, 0, region->table.count));
		for (size_t page = 0; page < region->table.count; page++)
			m->words->map[page] = bit_is_set(m->stored, page) ? UINT64_MAX : 0;
		EXPECT(0, migration_put(m, &m->words->map[0], region->table.count));
		EXPECT(0, migration_tell(m, &m->words->outlined, m->epoch));
	}
	die_if(when);
}

/* The destination dies: what the source is told, and who holds the memory. */
static void be_source(void)
{
	store(1, 1);
	int error = dsm_migrate_begin(region, DESTINATION, &options);
	store(2, 700);
	error = error ? error : dsm_migrate_precopy(region);
	if (is_now("copied"))
		nap(); /* for it to die */
	die_if("copied");
	if (node == dead && !error && (is_now("told") || is_now("outlined")))
		tell_some_and_die();
	error = error ? error : dsm_migrate_switch(region, &node, sizeof node);
	if (dsm_migrate_holder(region) == SOURCE) { /* it never went on there */
		EXPECT(-EHOSTDOWN, error);
		EXPECT(-EINVAL, dsm_migrate_finish(region));
		check_contents(NULL, 0);
		store(3, 1); /* plain memory as before */
		return;
	}
	EXPECT(0, error);
	die_if("switched");
	error = dsm_migrate_finish(region);
	die_if("finished");
	EXPECT(is_now("finished") ? 0 : -EHOSTDOWN, error);
	EXPECT(DESTINATION, dsm_migrate_holder(region));
}

static void be_destination(void)
{
	struct dsm_page_range lost[BYTES / (4 * KIB)];
	size_t bytes = 0, ranges = 0;
	int state = -1;

	struct dsm_migration_options how = options;
	how.no_background = is_now("resumed"); /* which would be done before it dies */
	EXPECT(0, dsm_migrate_accept(region, SOURCE, &how));
	die_if("accepted");
	int error = dsm_migrate_await(region, &state, sizeof state, &bytes);
	if (dsm_migrate_holder(region) == SOURCE) {
		EXPECT(-EHOSTDOWN, error);
		EXPECT(-EINVAL, dsm_migrate_finish(region));
		return;
	}
	EXPECT(0, error);
	EXPECT(SOURCE, state);
	die_if("resumed");
	error = dsm_migrate_finish(region);
	die_if("finished");
	EXPECT(0, dsm_migrate_lost(region, lost, BYTES / (4 * KIB), &ranges));
	/* Over shm the memory of a dead source can be read: nothing is lost. */
	if (runtime.ops->memory_outlives_process || !ranges)
		EXPECT(0, error);
	else
		EXPECT(-EHOSTDOWN, error);
	if (runtime.ops->memory_outlives_process)
		EXPECT(0, (long)ranges);
	else if (is_now("told"))
		EXPECT(1, ranges > 0);
	check_contents(lost, ranges);
	printf("node %d: %zu ranges of pages are lost\n", node, ranges);
}

int main(int argc, char **argv)
{
	struct dsm_region_options movable = {
	    .home = DSM_HOME_NODE, .movable = true, .delivery = DSM_DELIVERY_INLINE};

	if (argc < 3) {
		fprintf(stderr, "usage: lost_migration source|destination STEP [--page-size=BYTES]\n");
		return 2;
	}
	dead = strcmp(argv[1], "source") ? DESTINATION : SOURCE;
	when = argv[2];
	if (argc > 3 && !strncmp(argv[3], "--page-size=", 12))
		page_bytes = (size_t)atol(argv[3] + 12);
	if (dsm_init(NULL, NULL))
		return 1;
	node = dsm_node();
	movable.page_size_bytes = page_bytes;
	if (dsm_region_create("guest", BYTES, &movable, &region))
		return 1;
	base = dsm_region_base(region);
	if (node == SOURCE)
		be_source();
	else
		be_destination();
	EXPECT(-EHOSTDOWN, dsm_region_destroy(region));
	EXPECT(-EHOSTDOWN, dsm_finalize());
	printf("survivor %d: %s\n", node, failures ? "not ok" : "ok");
	fflush(stdout);
	return failures != 0;
}
