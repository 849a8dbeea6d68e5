/*
 * Tests of dsm/topology.c on machines that hwloc makes up, and of binding on the real one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dsm/topology.h"
#include "dsm/topology_internal.h"

/* PUs of "pack:2 l3:2 core:2 pu:2", OS indexes: package 0: L3 {0 1 | 2 3} {4 5 | 6 7}; package 1: 8 to 15. */
#define TWO_PACKAGES "pack:2 l3:2 core:2 pu:2"

static struct topology *make(const char *description, const char *usable)
{
	struct topology *t;

	assert_int_equal(topology_create_synthetic(description, usable, &t), 0);
	return t;
}

static void assert_handlers(const char *machine, const char *usable, int near, const int *expected,
			    unsigned count)
{
	struct topology *t = make(machine, usable);

	for (unsigned i = 0; i < count; i++)
		assert_int_equal(topology_handler_pu(t, near, i), expected[i]);
	topology_destroy(t);
}

static void handler_takes_the_other_core_of_the_same_cache(void **state)
{
	(void)state;
	assert_handlers(TWO_PACKAGES, NULL, 0, (int[]){2}, 1);
	assert_handlers(TWO_PACKAGES, NULL, 3, (int[]){0}, 1);
	assert_handlers(TWO_PACKAGES, NULL, 13, (int[]){14}, 1);
}

static void further_handlers_go_outward_and_then_start_again(void **state)
{
	(void)state;
	/* Same L3, then same package, then the other one, last of all the other thread of the same core. */
	assert_handlers(TWO_PACKAGES, NULL, 0,
			(int[]){2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 2, 3}, 17);
}

static void handler_stays_among_usable_pus(void **state)
{
	(void)state;
	assert_handlers(TWO_PACKAGES, "0-1,6,12", 0, (int[]){6, 12, 1, 6}, 4);
	assert_handlers(TWO_PACKAGES, "0,15", 0, (int[]){15, 15}, 2);
}

static void handler_prefers_the_closest_of_three_cache_levels(void **state)
{
	(void)state;
	/* L2 {0 1} {2 3} in L3 {0..3} {4..7}, one thread a core. */
	assert_handlers("pack:1 l3:2 l2:2 core:2 pu:1", NULL, 5, (int[]){4, 6, 7, 0}, 4);
	assert_handlers("pack:1 l3:2 l2:2 core:2 pu:1", "2,3,5,6", 5, (int[]){6, 2, 3, 6}, 4);
}

static void with_one_core_the_other_hyperthread_serves(void **state)
{
	(void)state;
	assert_handlers("pack:1 core:1 pu:2", NULL, 0, (int[]){1, 1}, 2);
	assert_handlers(TWO_PACKAGES, "4-5", 5, (int[]){4}, 1);
}

static void with_one_pu_it_is_that_one(void **state)
{
	(void)state;
	assert_handlers("pack:1 core:1 pu:1", NULL, 0, (int[]){0, 0}, 2);
	assert_handlers(TWO_PACKAGES, "9", 9, (int[]){9, 9}, 2);
}

static void a_pu_that_does_not_exist_counts_as_the_first_usable_one(void **state)
{
	(void)state;
	assert_handlers(TWO_PACKAGES, NULL, -1, (int[]){2}, 1);
	assert_handlers(TWO_PACKAGES, "8-11", 99, (int[]){10}, 1);
}

static void a_pu_that_is_not_usable_still_has_a_handler_nearby(void **state)
{
	(void)state;
	assert_handlers(TWO_PACKAGES, "3,12", 0, (int[]){3, 12}, 2);
	assert_handlers(TWO_PACKAGES, "12", 0, (int[]){12, 12}, 2);
}

static void describes_a_machine_in_words(void **state)
{
	struct topology *t = make("pack:2 [numa] l3:1 core:4 pu:2", "0-5,8");
	char text[256];

	(void)state;
	topology_describe(t, text, sizeof text);
	assert_string_equal(text,
			    "2 packages, 8 cores, 16 PUs, 2 NUMA nodes; this process may use PUs 0-5,8");
	assert_int_equal(topology_allowed_pus(t), 7);
	topology_destroy(t);

	t = make("pack:1 core:1 pu:1", NULL);
	topology_describe(t, text, sizeof text);
	assert_string_equal(text, "1 package, 1 core, 1 PU, 1 NUMA node; this process may use PU 0");
	topology_describe(t, text, 10);
	assert_string_equal(text, "1 package");
	topology_destroy(t);
}

/* PUs of its NUMA nodes: 0-1 and 2-3 in package 0, 4-5 and 6-7 in package 1. */
#define SUB_NUMA "pack:2 numa:2 core:2 pu:1"

static void a_device_is_as_far_as_the_nearest_pu_that_may_be_used(void **state)
{
	static const struct {
		const char *machine, *usable, *cpus;
		enum topology_distance expected;
	} cases[] = {
	    {SUB_NUMA, "0-1", "0-1", TOPOLOGY_SAME_NUMA_NODE},
	    {SUB_NUMA, "0-1", "2-3", TOPOLOGY_SAME_PACKAGE},
	    {SUB_NUMA, "0-1", "4-5", TOPOLOGY_OTHER_PACKAGE},
	    {SUB_NUMA, "0-1", "4-7", TOPOLOGY_OTHER_PACKAGE},
	    {SUB_NUMA, "1,7", "6-7", TOPOLOGY_SAME_NUMA_NODE},
	    {SUB_NUMA, "1,7", "4-5", TOPOLOGY_SAME_PACKAGE},
	    {SUB_NUMA, NULL, "4-5", TOPOLOGY_SAME_NUMA_NODE},
	    {"pack:2 [numa] core:2 pu:1", "3", "0-1", TOPOLOGY_OTHER_PACKAGE},
	    {"pack:2 [numa] core:2 pu:1", "3", "2-3,64-127", TOPOLOGY_SAME_NUMA_NODE},
	    /* All CPUs of several nodes: the kernel does not know. Of one node: they are all near. */
	    {SUB_NUMA, "0-1", "0-7", TOPOLOGY_UNKNOWN},
	    {SUB_NUMA, "0-1", "0-127", TOPOLOGY_UNKNOWN},
	    {"pack:1 core:2 pu:1", "0", "0-1", TOPOLOGY_SAME_NUMA_NODE},
	    {SUB_NUMA, NULL, NULL, TOPOLOGY_UNKNOWN},
	    {SUB_NUMA, NULL, "", TOPOLOGY_UNKNOWN},
	    {SUB_NUMA, NULL, "nonsense", TOPOLOGY_UNKNOWN},
	    {SUB_NUMA, NULL, "64-127", TOPOLOGY_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct topology *t = make(cases[i].machine, cases[i].usable);
		enum topology_distance distance = topology_distance(t, cases[i].cpus);

		if (distance != cases[i].expected)
			fail_msg("case %zu: %s, not %s", i, topology_distance_name(distance),
				 topology_distance_name(cases[i].expected));
		topology_destroy(t);
	}
}

static void the_numa_nodes_of_this_process_are_told(void **state)
{
	static const struct {
		const char *usable, *expected;
	} cases[] = {{NULL, "0-3"}, {"0-1", "0"}, {"1", "0"}, {"2,7", "1,3"}};
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct topology *t = make(SUB_NUMA, cases[i].usable);

		topology_numa_nodes(t, text, sizeof text);
		assert_string_equal(text, cases[i].expected);
		topology_destroy(t);
	}
}

static void refuses_a_machine_that_makes_no_sense(void **state)
{
	struct topology *t = NULL;

	(void)state;
	assert_int_equal(topology_create_synthetic("no machine", NULL, &t), -EINVAL);
	assert_int_equal(topology_create_synthetic(TWO_PACKAGES, "99", &t), -EIO);
	assert_null(t);
}

static void reads_this_machine_and_its_affinity(void **state)
{
	cpu_set_t mask;
	struct topology *t;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof mask, &mask), 0);
	errno = 0;
	assert_int_equal(topology_create(&t), 0);
	assert_int_equal(errno, 0);
	assert_int_equal(topology_allowed_pus(t), CPU_COUNT(&mask));
	for (unsigned i = 0; i < 4; i++)
		assert_true(CPU_ISSET((unsigned)topology_handler_pu(t, sched_getcpu(), i), &mask));
	topology_destroy(t);
}

static void reads_a_narrowed_affinity(void **state)
{
	cpu_set_t before, one;
	struct topology *t;
	int here = sched_getcpu();

	(void)state;
	CPU_ZERO(&one);
	CPU_SET((unsigned)here, &one);
	assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
	assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
	assert_int_equal(topology_create(&t), 0);
	assert_int_equal(topology_allowed_pus(t), 1);
	assert_int_equal(topology_handler_pu(t, here, 0), here);
	assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
	topology_destroy(t);
}

static void binds_a_thread_to_a_pu(void **state)
{
	cpu_set_t before, now;
	struct topology *t;

	(void)state;
	assert_int_equal(topology_create(&t), 0);
	assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
	int pu = topology_handler_pu(t, sched_getcpu(), 0);
	assert_int_equal(topology_bind_thread(t, pu), 0);
	assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
	assert_int_equal(CPU_COUNT(&now), 1);
	assert_true(CPU_ISSET((unsigned)pu, &now));
	assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
	assert_int_equal(topology_bind_thread(t, -1), -EINVAL);
	assert_true(topology_bind_thread(t, 60000) < 0);
	topology_destroy(t);
}

static void binding_memory_leaves_it_usable(void **state)
{
	size_t bytes = 1 << 20;
	struct topology *t;
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(topology_create(&t), 0);
	int error = topology_bind_memory(t, memory, bytes);
	/* A container may forbid mbind(2): then it says so and nothing else changes. */
	assert_true(error == 0 || error == -EPERM || error == -ENOSYS);
	memset(memory, 1, bytes);
	assert_int_equal(munmap(memory, bytes), 0);
	topology_destroy(t);
}

static void destroying_nothing_is_allowed(void **state)
{
	(void)state;
	topology_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handler_takes_the_other_core_of_the_same_cache),
	    cmocka_unit_test(further_handlers_go_outward_and_then_start_again),
	    cmocka_unit_test(handler_stays_among_usable_pus),
	    cmocka_unit_test(handler_prefers_the_closest_of_three_cache_levels),
	    cmocka_unit_test(with_one_core_the_other_hyperthread_serves),
	    cmocka_unit_test(with_one_pu_it_is_that_one),
	    cmocka_unit_test(a_pu_that_does_not_exist_counts_as_the_first_usable_one),
	    cmocka_unit_test(a_pu_that_is_not_usable_still_has_a_handler_nearby),
	    cmocka_unit_test(describes_a_machine_in_words),
	    cmocka_unit_test(a_device_is_as_far_as_the_nearest_pu_that_may_be_used),
	    cmocka_unit_test(the_numa_nodes_of_this_process_are_told),
	    cmocka_unit_test(refuses_a_machine_that_makes_no_sense),
	    cmocka_unit_test(reads_this_machine_and_its_affinity),
	    cmocka_unit_test(reads_a_narrowed_affinity),
	    cmocka_unit_test(binds_a_thread_to_a_pu),
	    cmocka_unit_test(binding_memory_leaves_it_usable),
	    cmocka_unit_test(destroying_nothing_is_allowed),
	};

	return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
