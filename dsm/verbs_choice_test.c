/*
 * Tests of the choice of port and GID, on tables of made-up machines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "dsm/verbs_choice.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

#define LINK_LOCAL "\xfe\x80\0\0\0\0\0\0\x50\x54\0\xff\xfe\x77\0\1"
#define IPV6 "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define IPV4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\0\1"
#define MADE_UP "\xfe\x80\0\0\0\0\0\0\x02\0\0\xff\xfe\0\0\0"
#define LOOPBACK4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"
#define LOOPBACK6 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
#define OTHER_SUBNET "\xfe\xc0\0\0\0\0\0\7\x50\x54\0\xff\xfe\x77\0\1"
#define NONE "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

/* A device that could be opened; only its address is used. */
static struct ibv_context opened;

/* What an RoCE port that may be used has; designators that follow override it, which is meant. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define PORT(name, number, rate, ...)                                                                      \
	{                                                                                                  \
		.device = (name), .context = &opened, .port = (number), .connected = true, .atomic = true, \
		.active = true, .has_gid = true, .gigabits = (rate), .gid.gid.raw = IPV4,                  \
		.link_layer = IBV_LINK_LAYER_ETHERNET, __VA_ARGS__                                         \
	}
#define INFINIBAND .link_layer = IBV_LINK_LAYER_INFINIBAND, .gid.gid.raw = LINK_LOCAL
#define SOFTWARE .software = true, .distance = TOPOLOGY_UNKNOWN
#define DOWN .active = false
#define ADDRESS(bytes) .gid.gid.raw = bytes
#define NEAR .distance = TOPOLOGY_SAME_NUMA_NODE
#define PACKAGE .distance = TOPOLOGY_SAME_PACKAGE
#define FAR .distance = TOPOLOGY_OTHER_PACKAGE
#define UNKNOWN .distance = TOPOLOGY_UNKNOWN

/* --- ports --------------------------------------------------------------------------------------------- */

struct choice {
	const char *title;
	struct verbs_candidate table[4];
	struct verbs_wish wish;
	int expected;
};

#define ANY                    \
	{                      \
		NULL, 0, -1, 0 \
	}
#define TURN(turn)                  \
	{                           \
		NULL, 0, -1, (turn) \
	}
#define NAMED(device, port)             \
	{                               \
		(device), (port), -1, 0 \
	}

static const struct choice choices[] = {
    {"the fastest", {PORT("a", 1, 100), PORT("a", 2, 200), PORT("b", 1, 200)}, ANY, 1},
    {"of equals the first", {PORT("a", 1, 100), PORT("b", 1, 100)}, ANY, 0},
    {"up before fast", {PORT("a", 1, 400, DOWN), PORT("b", 1, 100)}, ANY, 1},
    {"with atomics before fast", {PORT("a", 1, 400, .atomic = false), PORT("b", 1, 10)}, ANY, 1},
    {"with a GID before fast", {PORT("a", 1, 400, .has_gid = false), PORT("b", 1, 10)}, ANY, 1},
    {"RoCE before iWARP", {PORT("a", 1, 400, .connected = false), PORT("b", 1, 10)}, ANY, 1},
    {"what opens", {{.device = "a"}, PORT("b", 1, 10)}, ANY, 1},

    {"hardware before fast software", {PORT("rxe0", 1, 100, SOFTWARE), PORT("a", 1, 25)}, ANY, 1},
    {"hardware far away before software", {PORT("rxe0", 1, 100, SOFTWARE), PORT("a", 1, 25, FAR)}, ANY, 1},
    {"software before hardware that is down", {PORT("rxe0", 1, 1, SOFTWARE), PORT("a", 1, 25, DOWN)}, ANY, 0},

    {"near before fast", {PORT("a", 1, 400, FAR), PORT("b", 1, 100, NEAR)}, ANY, 1},
    {"the package before another", {PORT("a", 1, 100, FAR), PORT("b", 1, 100, PACKAGE)}, ANY, 1},
    {"the NUMA node before the package", {PORT("a", 1, 100, PACKAGE), PORT("b", 1, 100, NEAR)}, ANY, 1},
    {"known before unknown", {PORT("a", 1, 400, UNKNOWN), PORT("b", 1, 100, FAR)}, ANY, 1},
    {"the fastest of the nearest",
     {PORT("a", 1, 400, FAR), PORT("b", 1, 25, NEAR), PORT("c", 1, 50, NEAR), PORT("d", 1, 50, NEAR)},
     ANY,
     2},

    {"any address before loopback",
     {PORT("rxe0", 1, 100, SOFTWARE, ADDRESS(LOOPBACK4)), PORT("rxe1", 1, 1, SOFTWARE, ADDRESS(LINK_LOCAL))},
     ANY,
     1},
    {"loopback if there is no other", {PORT("rxe0", 1, 1, SOFTWARE, ADDRESS(LOOPBACK6))}, ANY, 0},
    {"an address of the network before near",
     {PORT("a", 1, 400, NEAR, ADDRESS(LINK_LOCAL)), PORT("b", 1, 100, FAR)},
     ANY,
     1},
    {"IPv6 is as good as IPv4", {PORT("a", 1, 100, ADDRESS(IPV6)), PORT("b", 1, 100)}, ANY, 0},
    {"InfiniBand's link-local GIDs are as good as any",
     {PORT("a", 1, 100, INFINIBAND), PORT("b", 1, 100)},
     ANY,
     0},

    {"a named device", {PORT("a", 1, 400), PORT("b", 1, 100), PORT("b", 2, 200)}, NAMED("b", 0), 2},
    {"a named port of it", {PORT("a", 1, 400), PORT("b", 1, 100), PORT("b", 2, 200)}, NAMED("b", 1), 1},
    {"a port of any device", {PORT("a", 1, 400), PORT("b", 1, 100), PORT("b", 2, 200)}, NAMED(NULL, 2), 2},
    {"named, though far and slow and soft",
     {PORT("a", 1, 400, NEAR), PORT("rxe0", 1, 1, SOFTWARE)},
     NAMED("rxe0", 0),
     1},
};

static void the_best_port_is_chosen(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(choices); i++) {
		const struct choice *c = &choices[i];
		size_t count = 0;

		while (count < COUNT(c->table) && c->table[count].device)
			count++;

		int chosen = verbs_choose_port(c->table, count, &c->wish);

		if (chosen != c->expected)
			fail_msg("%s: %d, not %d", c->title, chosen, c->expected);
		assert_int_equal(verbs_fitness(&c->table[chosen], &c->wish), VERBS_FIT);
	}
}

/* Which ports nodes 0 to 5 of one machine take. */
static void assert_dealt_out(const struct verbs_candidate *table, size_t count, const char *expected)
{
	char taken[7] = "";

	for (unsigned node = 0; node < 6; node++) {
		const struct verbs_wish wish = {NULL, 0, -1, node};

		taken[node] = (char)('0' + verbs_choose_port(table, count, &wish));
	}
	assert_string_equal(taken, expected);
}

static void nodes_of_one_machine_are_dealt_out_to_infiniband_ports_that_are_as_good(void **state)
{
	const struct verbs_candidate same[] = {
	    PORT("a", 1, 200, INFINIBAND, FAR),
	    PORT("b", 1, 200, INFINIBAND, NEAR),
	    PORT("c", 1, 100, INFINIBAND, NEAR),
	    PORT("d", 1, 200, INFINIBAND, NEAR),
	};
	const struct verbs_candidate one[] = {PORT("a", 1, 200, INFINIBAND)};
	const struct verbs_candidate three[] = {
	    PORT("a", 1, 200, INFINIBAND),
	    PORT("a", 2, 200, INFINIBAND),
	    PORT("b", 1, 200, INFINIBAND),
	};

	(void)state;
	assert_dealt_out(same, COUNT(same), "131313");
	assert_dealt_out(one, COUNT(one), "000000");
	assert_dealt_out(three, COUNT(three), "012012");
}

static void ports_that_may_not_reach_each_other_are_not_dealt_out(void **state)
{
	const struct verbs_candidate roce[] = {PORT("a", 1, 200), PORT("b", 1, 200)};
	const struct verbs_candidate subnets[] = {
	    PORT("a", 1, 200, INFINIBAND, ADDRESS(OTHER_SUBNET)),
	    PORT("b", 1, 200, INFINIBAND),
	    PORT("c", 1, 200, INFINIBAND, ADDRESS(OTHER_SUBNET)),
	};
	const struct verbs_candidate mixed[] = {PORT("a", 1, 200, INFINIBAND), PORT("b", 1, 200)};

	(void)state;
	assert_dealt_out(roce, COUNT(roce), "000000");
	assert_dealt_out(subnets, COUNT(subnets), "020202");
	assert_dealt_out(mixed, COUNT(mixed), "000000");
}

static void a_machine_without_devices_has_nothing_to_choose(void **state)
{
	const struct verbs_wish any = ANY, named = NAMED("mlx5_0", 1);

	(void)state;
	assert_int_equal(verbs_choose_port(NULL, 0, &any), -1);
	assert_int_equal(verbs_choose_port(NULL, 0, &named), -1);
}

static void what_is_wrong_with_the_nearest_port_is_told(void **state)
{
	static const struct {
		struct verbs_candidate port;
		struct verbs_wish wish;
		enum verbs_fitness expected;
	} cases[] = {
	    {PORT("a", 1, 100), NAMED("b", 0), VERBS_OTHER_DEVICE},
	    {PORT("a", 1, 100), NAMED("a", 2), VERBS_OTHER_PORT},
	    {{.device = "a"}, ANY, VERBS_NOT_OPENED},
	    {PORT("a", 1, 100, .connected = false), ANY, VERBS_NOT_CONNECTED},
	    {PORT("a", 1, 100, .atomic = false), ANY, VERBS_WITHOUT_ATOMIC},
	    {PORT("a", 1, 100, DOWN, .has_gid = false), ANY, VERBS_DOWN},
	    {PORT("a", 1, 100, .has_gid = false), ANY, VERBS_WITHOUT_GID},
	    {PORT("a", 1, 100), NAMED("a", 1), VERBS_FIT},
	};
	const struct verbs_candidate machine[] = {
	    {.device = "a"}, PORT("b", 1, 10, DOWN), PORT("c", 1, 10, DOWN)};
	const struct verbs_wish any = ANY, second = TURN(1);

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(verbs_choose_port(&cases[i].port, 1, &cases[i].wish), 0);
		assert_int_equal(verbs_fitness(&cases[i].port, &cases[i].wish), cases[i].expected);
	}
	assert_int_equal(verbs_choose_port(machine, COUNT(machine), &any), 1);
	assert_int_equal(verbs_choose_port(machine, COUNT(machine), &second), 1);
}

/* --- why ----------------------------------------------------------------------------------------------- */

static void assert_verdicts(const struct verbs_candidate *table, size_t count, const struct verbs_wish *wish,
			    const char *const *expected)
{
	int chosen = verbs_choose_port(table, count, wish);

	if (chosen >= 0 && verbs_fitness(&table[chosen], wish) != VERBS_FIT)
		chosen = -1;
	for (size_t i = 0; i < count; i++)
		assert_string_equal(verbs_verdict(table, count, chosen, i, wish), expected[i]);
}

static void each_port_is_told_why(void **state)
{
	const struct verbs_candidate machine[] = {
	    PORT("a", 1, 400, FAR),	    PORT("b", 1, 100, NEAR),
	    PORT("b", 2, 200, NEAR),	    PORT("c", 1, 200, NEAR),
	    PORT("c", 2, 200, NEAR, DOWN),  PORT("d", 1, 400, NEAR, ADDRESS(LINK_LOCAL)),
	    PORT("rxe0", 1, 400, SOFTWARE), {.device = "e"},
	};
	const struct verbs_wish any = ANY, named = NAMED("b", 1), nowhere = NAMED("z", 0);

	(void)state;
	assert_verdicts(machine, COUNT(machine), &any,
			(const char *const[]){
			    "farther from the CPUs of this process",
			    "slower",
			    "the first of those that are as good",
			    "as good, but not the first",
			    "its link is not up",
			    "has only a link-local or loopback address",
			    "software; hardware is preferred",
			    "cannot be opened",
			});
	assert_verdicts(machine, 3, &named,
			(const char *const[]){
			    "MINORCA_VERBS_DEVICE names another",
			    "the settings name it",
			    "MINORCA_VERBS_PORT names another",
			});
	assert_verdicts(machine, 1, &nowhere, (const char *const[]){"MINORCA_VERBS_DEVICE names another"});
	assert_verdicts(machine, 1, &any, (const char *const[]){"the only one that can be used"});
	assert_verdicts(machine, 2, &any,
			(const char *const[]){
			    "farther from the CPUs of this process",
			    "nearest to the CPUs of this process",
			});
	assert_verdicts(machine + 1, 2, &any, (const char *const[]){"slower", "the fastest of the nearest"});
	assert_verdicts(machine + 4, 2, &any,
			(const char *const[]){"its link is not up", "the only one that can be used"});
	assert_verdicts(machine + 5, 2, &any,
			(const char *const[]){"hardware, not software", "software; hardware is preferred"});
}

static void turns_are_told(void **state)
{
	const struct verbs_candidate machine[] = {PORT("a", 1, 200, INFINIBAND),
						  PORT("b", 1, 200, INFINIBAND)};
	const struct verbs_wish second = TURN(1);

	(void)state;
	assert_verdicts(machine, COUNT(machine), &second,
			(const char *const[]){
			    "as good; for other nodes of this machine",
			    "as good as others, which other nodes of this machine use",
			});
}

static void a_gid_that_is_missing_is_told(void **state)
{
	const struct verbs_candidate port[] = {PORT("a", 1, 200, .has_gid = false)};
	const struct verbs_wish any = ANY, third = {NULL, 0, 3, 0};

	(void)state;
	assert_verdicts(port, 1, &any, (const char *const[]){"has no GID"});
	assert_verdicts(port, 1, &third,
			(const char *const[]){"has no GID of the number in MINORCA_VERBS_GID"});
}

/* --- rates --------------------------------------------------------------------------------------------- */

static void rates_are_read_from_the_codes_of_the_port(void **state)
{
	(void)state;
	assert_int_equal(verbs_gigabits(1, 2), 10);	/* SDR x4 */
	assert_int_equal(verbs_gigabits(32, 2), 100);	/* EDR x4 */
	assert_int_equal(verbs_gigabits(64, 2), 200);	/* HDR x4 */
	assert_int_equal(verbs_gigabits(128, 16), 200); /* NDR x2 */
	assert_int_equal(verbs_gigabits(0, 2), 0);
	assert_int_equal(verbs_gigabits(3, 2), 0);
}

/* --- GIDs ---------------------------------------------------------------------------------------------- */

static struct ibv_gid_entry entry(uint32_t index, uint32_t type, const char *bytes)
{
	struct ibv_gid_entry e = {.gid_index = index, .port_num = 1, .gid_type = type};

	memcpy(e.gid.raw, bytes, sizeof e.gid.raw);
	return e;
}

static void roce_v2_on_ipv4_is_the_first_choice(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_ROCE_V1, LINK_LOCAL), entry(1, IBV_GID_TYPE_ROCE_V2, LINK_LOCAL),
	    entry(2, IBV_GID_TYPE_ROCE_V1, IPV4),	entry(3, IBV_GID_TYPE_ROCE_V2, IPV4),
	    entry(4, IBV_GID_TYPE_ROCE_V2, IPV6),	entry(5, IBV_GID_TYPE_ROCE_V2, IPV4),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, -1), 3);
	assert_int_equal(verbs_choose_gid(table, 3, 1, -1), 1); /* v2 even if link-local */
	assert_int_equal(verbs_choose_gid(table, 1, 1, -1), 0);
	assert_int_equal(verbs_choose_gid(table + 4, 1, 1, -1), 0);
}

static void a_gid_that_is_asked_for_is_taken_by_its_index_in_the_device(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_ROCE_V2, IPV4),
	    entry(7, IBV_GID_TYPE_ROCE_V1, LINK_LOCAL),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, 7), 1);
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, 1), -1);
}

static void gids_of_other_ports_and_empty_ones_are_not_taken(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_ROCE_V2, NONE),
	    entry(1, IBV_GID_TYPE_ROCE_V2, IPV4),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, 0), -1);
	table[1].port_num = 2;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, -1), -1);
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 2, -1), 1);
	assert_int_equal(verbs_choose_gid(table, 0, 1, -1), -1);
}

static void a_loopback_address_is_the_last_choice(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_ROCE_V2, LOOPBACK4),
	    entry(1, IBV_GID_TYPE_ROCE_V2, LOOPBACK6),
	    entry(2, IBV_GID_TYPE_ROCE_V1, LINK_LOCAL),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, -1), 2);
	assert_int_equal(verbs_choose_gid(table, 2, 1, -1), 0);
}

/* As soft-RoCE on lo has them. */
static void a_made_up_link_local_address_comes_even_after_loopback(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_ROCE_V2, MADE_UP),
	    entry(1, IBV_GID_TYPE_ROCE_V2, LOOPBACK6),
	    entry(2, IBV_GID_TYPE_ROCE_V2, LOOPBACK4),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, -1), 2);
	assert_int_equal(verbs_choose_gid(table, 2, 1, -1), 1);
	assert_int_equal(verbs_choose_gid(table, 1, 1, -1), 0);
}

static void infiniband_uses_its_first_gid(void **state)
{
	struct ibv_gid_entry table[] = {
	    entry(0, IBV_GID_TYPE_IB, LINK_LOCAL),
	    entry(1, IBV_GID_TYPE_IB, LINK_LOCAL),
	};

	(void)state;
	assert_int_equal(verbs_choose_gid(table, COUNT(table), 1, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_best_port_is_chosen),
	    cmocka_unit_test(nodes_of_one_machine_are_dealt_out_to_infiniband_ports_that_are_as_good),
	    cmocka_unit_test(ports_that_may_not_reach_each_other_are_not_dealt_out),
	    cmocka_unit_test(a_machine_without_devices_has_nothing_to_choose),
	    cmocka_unit_test(what_is_wrong_with_the_nearest_port_is_told),
	    cmocka_unit_test(each_port_is_told_why),
	    cmocka_unit_test(turns_are_told),
	    cmocka_unit_test(a_gid_that_is_missing_is_told),
	    cmocka_unit_test(rates_are_read_from_the_codes_of_the_port),
	    cmocka_unit_test(roce_v2_on_ipv4_is_the_first_choice),
	    cmocka_unit_test(a_gid_that_is_asked_for_is_taken_by_its_index_in_the_device),
	    cmocka_unit_test(gids_of_other_ports_and_empty_ones_are_not_taken),
	    cmocka_unit_test(a_loopback_address_is_the_last_choice),
	    cmocka_unit_test(a_made_up_link_local_address_comes_even_after_loopback),
	    cmocka_unit_test(infiniband_uses_its_first_gid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
