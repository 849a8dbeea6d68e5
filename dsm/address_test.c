/*
 * Free ranges are read from captured maps, and all nodes choose the same address.
 */
#include "dsm/test_support.h"

#include <stdio.h>
#include <string.h>

#include "dsm/address.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static struct address_space read_maps(const char *text, size_t bytes, size_t alignment)
{
	struct address_space space;
	FILE *maps = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(maps);
	address_read_free(maps, bytes, alignment, &space);
	fclose(maps);
	return space;
}

static const char node_0[] = "555555554000-555555560000 r-xp 00000000 fe:00 1 /usr/bin/program\n"
			     "555555580000-5555555a1000 rw-p 00000000 00:00 0 [heap]\n"
			     "7f0000000000-7f0000200000 rw-p 00000000 00:00 0\n"
			     "7ffff7fc0000-7ffff7fff000 r-xp 00000000 fe:00 2 /lib/ld.so\n"
			     "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]\n"
			     "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";

static const char node_1[] = "100000000000-400000000000 rw-p 00000000 00:00 0 /a/big/mapping\n"
			     "560000000000-560000001000 r-xp 00000000 fe:00 1 /usr/bin/program\n"
			     "7ffff7fc0000-7ffff7fff000 r-xp 00000000 fe:00 2 /lib/ld.so\n";

static bool is_free(const char *text, uint64_t start, size_t bytes)
{
	char line[256];
	FILE *maps = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	bool taken = address_find_user(maps, start, bytes, line, sizeof line);

	fclose(maps);
	return !taken;
}

static void chosen_address_is_free_everywhere(void **state)
{
	struct address_space spaces[] = {read_maps(node_0, 8 * GIB, GIB), read_maps(node_1, 8 * GIB, GIB)};
	uint64_t address = address_choose(spaces, 2, 8 * GIB, GIB);

	(void)state;
	assert_true(address);
	assert_int_equal(address % GIB, 0);
	assert_true(is_free(node_0, address, 8 * GIB));
	assert_true(is_free(node_1, address, 8 * GIB));
}

static void order_of_nodes_does_not_matter(void **state)
{
	struct address_space forth[] = {read_maps(node_0, GIB, GIB), read_maps(node_1, GIB, GIB)};
	struct address_space back[] = {forth[1], forth[0]};

	(void)state;
	assert_int_equal(address_choose(forth, 2, GIB, GIB), address_choose(back, 2, GIB, GIB));
}

static void too_large_finds_nothing(void **state)
{
	struct address_space spaces[] = {read_maps(node_0, (size_t)1 << 47, 4096)};

	(void)state;
	assert_int_equal(spaces[0].count, 0);
	assert_int_equal(address_choose(spaces, 1, (size_t)1 << 47, 4096), 0);
}

static void nothing_in_common_finds_nothing(void **state)
{
	static const char low[] = "100000000-400000000000 rw-p 0 0 0\n";     /* the upper half is free */
	static const char high[] = "400000000000-7fffffffffff rw-p 0 0 0\n"; /* the lower half is free */
	struct address_space spaces[] = {read_maps(low, GIB, GIB), read_maps(high, GIB, GIB)};

	(void)state;
	assert_true(spaces[0].count && spaces[1].count);
	assert_int_equal(address_choose(spaces, 2, GIB, GIB), 0);
}

/* More holes than fit the message: the largest are told. */
static void the_largest_ranges_are_kept(void **state)
{
	static char text[200 * 80];
	size_t used = 0;

	(void)state;
	for (uint64_t i = 1; i <= 200; i++) /* hole i has i MiB */
		used += (size_t)snprintf(text + used, sizeof text - used, "%llx-%llx rw-p 0 0 0\n",
					 (unsigned long long)(((i + 4) * 1024 + i) * MIB),
					 (unsigned long long)((i + 5) * 1024 * MIB));
	struct address_space space = read_maps(text, MIB, MIB);
	assert_int_equal(space.count, ADDRESS_RANGES_MAX);
	for (uint32_t i = 1; i < space.count; i++)
		assert_true(space.free[i].start >= space.free[i - 1].end);
	for (uint32_t i = 0; i < space.count; i++)
		assert_true(space.free[i].end - space.free[i].start > 150 * MIB);
}

static void the_occupant_is_named(void **state)
{
	char line[256];
	FILE *maps = fmemopen((void *)(uintptr_t)node_0, strlen(node_0), "r");

	(void)state;
	assert_true(address_find_user(maps, 0x555555590000, 4096, line, sizeof line));
	assert_non_null(strstr(line, "[heap]"));
	fclose(maps);
}

/* A line longer than any buffer, whose rest looks like a mapping. */
static void the_rest_of_a_long_line_is_no_mapping(void **state)
{
	static char text[10000];
	char *at = text + sprintf(text, "100000000-100001000 rw-p 0 0 0 /");

	(void)state;
	while (at < text + 9000)
		at += sprintf(at, "200000000-7f0000000000 ");
	sprintf(at, "\n7f0000000000-7f0000001000 rw-p 0 0 0 x\nbackwards-line 0\n500000000-400000000 x\n");
	struct address_space space = read_maps(text, GIB, MIB);
	assert_int_equal(space.count, 2);
	assert_int_equal(space.free[0].start, 0x100001000);
	assert_int_equal(space.free[0].end, 0x7f0000000000);
	assert_int_equal(space.free[1].start, 0x7f0000001000);
	assert_true(address_space_is_possible(&space));
}

static void spaces_that_cannot_be_are_told(void **state)
{
	struct address_space right = {.count = 2, .free = {{GIB * 8, GIB * 9}, {GIB * 9, GIB * 10}}}, wrong;

	(void)state;
	assert_true(address_space_is_possible(&right));
	assert_true(address_space_is_possible(&(struct address_space){0}));
	wrong = right;
	wrong.count = ADDRESS_RANGES_MAX + 1;
	assert_false(address_space_is_possible(&wrong));
	wrong.count = UINT32_MAX;
	assert_false(address_space_is_possible(&wrong));
	wrong = right;
	wrong.free[1].start--; /* overlap */
	assert_false(address_space_is_possible(&wrong));
	wrong = right;
	wrong.free[1].end = wrong.free[1].start;
	assert_false(address_space_is_possible(&wrong));
	wrong = right;
	wrong.free[0].start = 4096;
	assert_false(address_space_is_possible(&wrong));
	wrong = right;
	wrong.free[1].end = UINT64_MAX;
	assert_false(address_space_is_possible(&wrong));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chosen_address_is_free_everywhere),
	    cmocka_unit_test(order_of_nodes_does_not_matter),
	    cmocka_unit_test(too_large_finds_nothing),
	    cmocka_unit_test(nothing_in_common_finds_nothing),
	    cmocka_unit_test(the_largest_ranges_are_kept),
	    cmocka_unit_test(the_occupant_is_named),
	    cmocka_unit_test(the_rest_of_a_long_line_is_no_mapping),
	    cmocka_unit_test(spaces_that_cannot_be_are_told),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
