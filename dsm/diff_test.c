/*
 * The diff finds exactly the bytes that differ, and looks at no others: with each implementation that this
 * CPU has.
 */
#include "dsm/test_support.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/diff_internal.h"

/* Room for a buffer, between two pages that may not be touched. */
#define ROOM ((size_t)4 * 4096)

static unsigned char *room_now, *room_before; /* set by map_rooms() */

static unsigned char *map_room(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *memory = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	assert_int_equal(ROOM % page, 0);
	assert_int_equal(mprotect(memory + page, ROOM, PROT_READ | PROT_WRITE), 0);
	return memory + page;
}

static int map_rooms(void **state)
{
	(void)state;
	room_now = map_room();
	room_before = map_room();
	return 0;
}

/* Two buffers, and what must be found in them. */
struct pair {
	unsigned char *now, *before;
	size_t bytes;
};

/* At the very start or the very end of the rooms, so that reading outside the buffers faults. */
static struct pair pair_at_start(size_t bytes)
{
	return (struct pair){room_now, room_before, bytes};
}

static struct pair pair_at_end(size_t bytes)
{
	return (struct pair){room_now + ROOM - bytes, room_before + ROOM - bytes, bytes};
}

static void fill_equal(const struct pair *p)
{
	for (size_t i = 0; i < p->bytes; i++)
		p->now[i] = p->before[i] = (unsigned char)(i * 37 + 11);
}

static void change(const struct pair *p, size_t start, size_t end)
{
	for (size_t i = start; i < end; i++)
		p->now[i] ^= 0x80;
}

/* What diff_next() promises, one byte at a time. */
static size_t reference_next(const struct pair *p, size_t from, size_t *end)
{
	size_t start = from;

	while (start < p->bytes && p->now[start] == p->before[start])
		start++;
	if (start == p->bytes)
		return start;
	*end = start;
	while (*end < p->bytes && p->now[*end] != p->before[*end])
		(*end)++;
	return start;
}

/* Both ways to walk give the reference's runs. Returns how many there are. */
static size_t check_walks(const struct pair *p)
{
	struct diff walk = diff_begin(p->now, p->before, p->bytes);
	size_t runs = 0, start, end = 0, walk_start = 0, walk_end = 0, next_end = 0;

	for (; (start = reference_next(p, end, &end)) < p->bytes; runs++) {
		assert_true(diff_run(&walk, &walk_start, &walk_end));
		assert_int_equal(walk_start, start);
		assert_int_equal(walk_end, end);
		assert_int_equal(diff_next(p->now, p->before, next_end, p->bytes, &next_end), start);
		assert_int_equal(next_end, end);
	}
	assert_false(diff_run(&walk, &walk_start, &walk_end));
	assert_false(diff_run(&walk, &walk_start, &walk_end)); /* and stays so */
	assert_int_equal(diff_next(p->now, p->before, next_end, p->bytes, &next_end), p->bytes);
	assert_int_equal(next_end, end);
	return runs;
}

/* --- the cases; each is run with each implementation --------------------------------------------------- */

static void expect_run(const struct pair *p, size_t start, size_t end)
{
	struct diff walk = diff_begin(p->now, p->before, p->bytes);
	size_t walk_start = 0, walk_end = 0;

	assert_true(diff_run(&walk, &walk_start, &walk_end));
	assert_int_equal(walk_start, start);
	assert_int_equal(walk_end, end);
	assert_false(diff_run(&walk, &walk_start, &walk_end));
}

static void every_run_in(const struct pair *p)
{
	fill_equal(p);
	assert_int_equal(check_walks(p), 0);
	for (size_t start = 0; start < p->bytes; start++) {
		for (size_t end = start + 1; end <= p->bytes; end++) {
			change(p, end - 1, end);
			expect_run(p, start, end);
		}
		change(p, start, p->bytes); /* back */
	}
}

static void every_run_in_every_small_size(void)
{
	for (size_t bytes = 0; bytes <= 3 * DIFF_CHUNK + 3; bytes++) {
		struct pair first = pair_at_start(bytes), last = pair_at_end(bytes);
		every_run_in(&first);
		every_run_in(&last);
	}
}

/* Every choice of bytes to change from those around the ends of words, vectors and chunks. */
static void every_pattern_at_the_boundaries(void)
{
	static const unsigned char places[] = {0, 1, 7, 8, 15, 16, 31, 32, 47, 48, 62, 63, 64, 65, 127, 128};
	struct pair p = pair_at_end(129);

	for (unsigned pattern = 0; pattern < 1U << sizeof places; pattern++) {
		fill_equal(&p);
		for (size_t i = 0; i < sizeof places; i++)
			if (pattern >> i & 1)
				change(&p, places[i], places[i] + 1U);
		check_walks(&p);
	}
}

/* Every pair of values of two neighbours: a difference of 0x01 or 0x80 next to one of 0 is what arithmetic on
 * words could mistake. */
static void every_difference_of_neighbours(void)
{
	struct pair p = pair_at_start(DIFF_CHUNK);

	memset(p.before, 0, p.bytes);
	for (unsigned values = 0; values <= 0xffff; values++) {
		for (size_t i = 0; i < p.bytes; i += 2) {
			p.now[i] = (unsigned char)values;
			p.now[i + 1] = (unsigned char)(values >> 8);
		}
		size_t runs = check_walks(&p);
		assert_int_equal(runs, values > 0xff && values & 0xff ? 1 : values ? DIFF_CHUNK / 2 : 0);
	}
}

static void a_run_from_anywhere_is_cut_there(void)
{
	struct pair p = pair_at_end(2 * DIFF_CHUNK + 5);

	fill_equal(&p);
	change(&p, 3, p.bytes - 1);
	for (size_t from = 0; from <= p.bytes; from++) {
		size_t end = 0, expected_end = 0;
		assert_int_equal(diff_next(p.now, p.before, from, p.bytes, &end),
				 reference_next(&p, from, &expected_end));
		assert_int_equal(end, expected_end);
	}
}

static void huge_equal_and_different(void)
{
	struct pair p = pair_at_end(ROOM);

	fill_equal(&p);
	assert_int_equal(check_walks(&p), 0);
	change(&p, 0, p.bytes);
	assert_int_equal(check_walks(&p), 1);
	for (size_t i = 0; i < p.bytes; i += 2)
		change(&p, i, i + 1);
	assert_int_equal(check_walks(&p), p.bytes / 2);
}

static size_t below(size_t limit)
{
	return (size_t)rand() % limit;
}

/* Lengths of runs and gaps up to @longest, so that some rounds have many short ones, others few long ones. */
static void random_change(const struct pair *p, size_t longest)
{
	bool differ = below(2);

	for (size_t at = 0, end; at < p->bytes; at = end, differ = !differ) {
		end = at + 1 + below(longest);
		end = end < p->bytes ? end : p->bytes;
		for (size_t i = at; differ && i < end; i++)
			p->now[i] ^= (unsigned char)(1 + below(255));
	}
}

static void random_changes_at_any_alignment(void)
{
	srand(12345);
	for (int round = 0; round < 4000; round++) {
		struct pair p = {room_now + below(DIFF_CHUNK), room_before + below(DIFF_CHUNK),
				 below(ROOM - DIFF_CHUNK) >> below(12)};
		for (size_t i = 0; i < p.bytes; i++)
			p.now[i] = p.before[i] = (unsigned char)rand();
		random_change(&p, (size_t)1 << below(10));
		check_walks(&p);
	}
}

/* --- with each implementation -------------------------------------------------------------------------- */

/* The last one that the CPU supports. */
static const struct diff_implementation *fastest(void)
{
	const struct diff_implementation *best = NULL;

	for (const struct diff_implementation *i = diff_implementations; i->name; i++)
		if (i->supported())
			best = i;
	return best;
}

static void the_fastest_is_chosen_at_the_start(void **state)
{
	(void)state;
	assert_ptr_equal(diff_chosen(), fastest());
}

/* The state of a cmocka test is the case. */
struct test_case {
	void (*run)(void);
};

static void with_each_implementation(void **state)
{
	const struct test_case *c = *state;

	for (const struct diff_implementation *i = diff_implementations; i->name; i++) {
		if (!i->supported()) {
			print_message("           (not on this CPU: %s)\n", i->name);
			continue;
		}
		diff_choose(i);
		c->run();
	}
	diff_choose(fastest());
}

#define CASE(function)                                                    \
	{                                                                 \
		.name = #function, .test_func = with_each_implementation, \
		.initial_state = &(struct test_case)                      \
		{                                                         \
			function                                          \
		}                                                         \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_fastest_is_chosen_at_the_start),
	    CASE(every_run_in_every_small_size),
	    CASE(every_pattern_at_the_boundaries),
	    CASE(every_difference_of_neighbours),
	    CASE(a_run_from_anywhere_is_cut_there),
	    CASE(huge_equal_and_different),
	    CASE(random_changes_at_any_alignment),
	};

	return cmocka_run_group_tests_name("diff", tests, map_rooms, NULL);
}
