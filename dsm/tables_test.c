/*
 * The tables of the runtime, by one thread and by many. Run under the thread sanitizer too.
 */
#include "dsm/test_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/home.h"
#include "dsm/page_set.h"
#include "dsm/page_table.h"
#include "dsm/twins.h"

#define THREADS 4

static void run_threads(void *(*body)(void *), void *argument)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, body, argument), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* --- page set ------------------------------------------------------------------------------------------ */

struct visits {
	unsigned char seen[20000];
	size_t runs, longest;
	size_t fail_at; /* the visit that fails, from 1; 0: none */
};

static int record(void *argument, size_t first, size_t count)
{
	struct visits *v = argument;

	if (++v->runs == v->fail_at)
		return -5;
	v->longest = count > v->longest ? count : v->longest;
	for (size_t i = 0; i < count; i++)
		v->seen[first + i]++;
	return 0;
}

static void pages_come_back_in_runs(void **state)
{
	struct page_set set;
	struct visits *v = calloc(1, sizeof *v);

	(void)state;
	assert_int_equal(page_set_create(&set, 20000), 0);
	for (size_t p = 100; p < 300; p++)
		page_set_add(&set, p);
	page_set_add(&set, 0);
	page_set_add(&set, 19999);
	page_set_add(&set, 0); /* twice is once */
	assert_int_equal(page_set_take(&set, 64, record, v), 0);
	assert_int_equal(v->longest, 64);
	assert_int_equal(v->runs, 2 + 4); /* 200 pages are 64 + 64 + 64 + 8 */
	for (size_t p = 0; p < 20000; p++)
		assert_int_equal(v->seen[p], p == 0 || p == 19999 || (p >= 100 && p < 300));

	/* And they are gone. */
	memset(v, 0, sizeof *v);
	assert_int_equal(page_set_take(&set, 64, record, v), 0);
	assert_int_equal(v->runs, 0);
	page_set_destroy(&set);
	free(v);
}

/* What was not visited because a visit failed is there the next time, wherever the failure was. */
static void a_failed_take_loses_nothing(void **state)
{
	static const size_t pages[] = {1, 2, 70, 71, 5000, 5001, 9000, 12345, 19999};
	size_t count = sizeof pages / sizeof pages[0];

	(void)state;
	for (size_t fail_at = 1; fail_at <= 6; fail_at++) {
		struct page_set set;
		struct visits *v = calloc(1, sizeof *v);
		assert_int_equal(page_set_create(&set, 20000), 0);
		for (size_t i = 0; i < count; i++)
			page_set_add(&set, pages[i]);
		v->fail_at = fail_at;
		assert_int_equal(page_set_take(&set, 64, record, v), -5);
		v->fail_at = 0;
		assert_int_equal(page_set_take(&set, 64, record, v), 0);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(v->seen[pages[i]], 1);
		page_set_destroy(&set);
		free(v);
	}
}

static int add_again_once(void *argument, size_t first, size_t count)
{
	struct page_set *set = argument;

	for (size_t i = 0; i < count; i++)
		page_set_add(set, first + i);
	return 0;
}

static void a_visit_may_add_again(void **state)
{
	struct page_set set;
	struct visits *v = calloc(1, sizeof *v);

	(void)state;
	assert_int_equal(page_set_create(&set, 20000), 0);
	for (size_t p = 0; p < 500; p += 3)
		page_set_add(&set, p);
	assert_int_equal(page_set_take(&set, 64, add_again_once, &set), 0);
	assert_int_equal(page_set_take(&set, 64, record, v), 0);
	for (size_t p = 0; p < 500; p++)
		assert_int_equal(v->seen[p], p % 3 == 0);
	page_set_destroy(&set);
	free(v);
}

/* Threads mark a page in a plain array and add it; the taker clears the mark. At the end no mark may be left.
 */
struct race {
	struct page_set set;
	_Atomic unsigned char marked[4096];
	atomic_uint adders;
};

static void *add_many(void *argument)
{
	struct race *race = argument;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 20000; i++) {
		size_t page = (size_t)rand_r(&seed) % 4096;
		atomic_store(&race->marked[page], 1);
		page_set_add(&race->set, page);
	}
	atomic_fetch_sub(&race->adders, 1);
	return NULL;
}

static int clear_marks(void *argument, size_t first, size_t count)
{
	struct race *race = argument;

	for (size_t i = 0; i < count; i++)
		atomic_store(&race->marked[first + i], 0);
	return 0;
}

static void *take_many(void *argument)
{
	struct race *race = argument;

	while (atomic_load(&race->adders))
		page_set_take(&race->set, 64, clear_marks, race);
	return NULL;
}

static void nothing_is_lost_between_adding_and_taking(void **state)
{
	struct race *race = calloc(1, sizeof *race);
	pthread_t taker;

	(void)state;
	assert_int_equal(page_set_create(&race->set, 4096), 0);
	atomic_store(&race->adders, THREADS);
	assert_int_equal(pthread_create(&taker, NULL, take_many, race), 0);
	run_threads(add_many, race);
	pthread_join(taker, NULL);
	page_set_take(&race->set, 64, clear_marks, race);
	for (size_t p = 0; p < 4096; p++)
		assert_int_equal(atomic_load(&race->marked[p]), 0);
	page_set_destroy(&race->set);
	free(race);
}

/* --- twins --------------------------------------------------------------------------------------------- */

static void twins_run_out_when_all_are_in_use(void **state)
{
	struct twins twins;

	(void)state;
	assert_int_equal(twins_create(&twins, 3, 4096), 0);
	uint32_t a = twins_get(&twins), b = twins_get(&twins), c = twins_get(&twins);
	assert_true(a != b && b != c && a != c);
	assert_int_equal(twins_get(&twins), TWIN_NONE);
	twins_put(&twins, b);
	twins_put(&twins, a);
	assert_int_equal(twins_get(&twins), a); /* last in, first out */
	assert_int_equal(twins_get(&twins), b);
	assert_int_equal(twins_get(&twins), TWIN_NONE);
	twins_destroy(&twins);
}

/* A new pool may get the memory of an old one, and works all the same, also when it is smaller. */
static void memory_of_a_destroyed_pool_is_used_again(void **state)
{
	(void)state;
	for (size_t pages = 9; pages >= 3; pages -= 3) {
		struct twins twins;
		assert_int_equal(twins_create(&twins, pages, 4096), 0);
		for (size_t i = 0; i < pages; i++)
			memset(twins_memory(&twins, twins_get(&twins)), 0xff, 4096);
		assert_int_equal(twins_get(&twins), TWIN_NONE);
		for (uint32_t i = 0; i < pages; i++)
			twins_put(&twins, i);
		for (size_t i = 0; i < pages; i++)
			assert_in_range(twins_get(&twins), 0, pages - 1);
		assert_int_equal(twins_get(&twins), TWIN_NONE);
		twins_destroy(&twins);
	}
	twins_release_kept();
}

#define POOL 7

static struct twins pool;

/* A slot that is held by one thread is held by no other: each writes its name and finds it unchanged. */
static void *use_twins(void *argument)
{
	uintptr_t wrong = 0;

	(void)argument;
	for (int i = 0; i < 30000; i++) {
		uint32_t slot = twins_get(&pool);
		if (slot == TWIN_NONE)
			continue;
		uint64_t *word = (uint64_t *)(void *)twins_memory(&pool, slot),
			 mine = (uint64_t)(uintptr_t)&wrong;
		*word = mine;
		for (int spin = 0; spin < 10; spin++)
			wrong += *(volatile uint64_t *)word != mine;
		twins_put(&pool, slot);
	}
	assert_int_equal(wrong, 0);
	return NULL;
}

static void a_twin_has_one_owner(void **state)
{
	(void)state;
	assert_int_equal(twins_create(&pool, POOL, 4096), 0);
	run_threads(use_twins, NULL);
	for (int i = 0; i < POOL; i++) /* none was lost */
		assert_true(twins_get(&pool) != TWIN_NONE);
	assert_int_equal(twins_get(&pool), TWIN_NONE);
	twins_destroy(&pool);
}

/* --- page table ---------------------------------------------------------------------------------------- */

struct counting {
	struct page_table table;
	uint64_t plain[4]; /* each under the lock of its page; a plain word, so that the sanitizer sees a
			      broken lock */
};

static void *count_under_locks(void *argument)
{
	struct counting *c = argument;

	for (int i = 0; i < 20000; i++) {
		struct page *page = &c->table.pages[i % 4];
		page_lock(page);
		c->plain[i % 4]++;
		page->state = (uint8_t)(i % 3);
		c->table.held[i % 4]++;
		page_unlock(page);
	}
	return NULL;
}

static void a_page_lock_excludes(void **state)
{
	struct counting c = {.plain = {0}};

	(void)state;
	assert_int_equal(page_table_create(&c.table, 4, 1), 0);
	assert_true(page_try_lock(&c.table.pages[0]));
	assert_false(page_try_lock(&c.table.pages[0]));
	page_unlock(&c.table.pages[0]);
	run_threads(count_under_locks, &c);
	for (int p = 0; p < 4; p++) {
		assert_int_equal(c.plain[p], THREADS * 20000 / 4);
		assert_int_equal(c.table.held[p], THREADS * 20000 / 4);
	}
	page_table_destroy(&c.table);
}

/* --- homes --------------------------------------------------------------------------------------------- */

static void every_page_has_one_home(void **state)
{
	struct home_map maps[] = {
	    {.policy = DSM_HOME_BLOCK, .nodes = 3, .pages = 10, .chunk_pages = 4},
	    {.policy = DSM_HOME_BLOCK, .nodes = 4, .pages = 5, .chunk_pages = 2}, /* node 3 has none */
	    {.policy = DSM_HOME_CYCLIC, .nodes = 3, .pages = 11, .chunk_pages = 2},
	    {.policy = DSM_HOME_NODE, .nodes = 3, .pages = 7, .home_node = 2, .chunk_pages = 7},
	    {.policy = DSM_HOME_CYCLIC, .nodes = 1, .pages = 7, .chunk_pages = 2},
	};

	(void)state;
	for (size_t m = 0; m < sizeof maps / sizeof maps[0]; m++) {
		const struct home_map *map = &maps[m];
		size_t counted[4] = {0};
		for (size_t page = 0; page < map->pages; page++) {
			int home = home_of(map, page);
			assert_in_range(home, 0, map->nodes - 1);
			counted[home]++;
			size_t end = home_run_end(map, page);
			assert_true(end > page && end <= map->pages);
			for (size_t i = page; i < end; i++)
				assert_int_equal(home_of(map, i), home);
		}
		for (int node = 0; node < map->nodes; node++)
			assert_int_equal(home_pages(map, node), counted[node]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pages_come_back_in_runs),
	    cmocka_unit_test(a_failed_take_loses_nothing),
	    cmocka_unit_test(a_visit_may_add_again),
	    cmocka_unit_test(nothing_is_lost_between_adding_and_taking),
	    cmocka_unit_test(twins_run_out_when_all_are_in_use),
	    cmocka_unit_test(memory_of_a_destroyed_pool_is_used_again),
	    cmocka_unit_test(a_twin_has_one_owner),
	    cmocka_unit_test(a_page_lock_excludes),
	    cmocka_unit_test(every_page_has_one_home),
	};

	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
