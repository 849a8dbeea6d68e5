/*
 * Tests of the choice of port and GID, on tables of made-up machines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "dsm/verbs_device.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* A device that could be opened; only its address is used. */
static struct ibv_context opened;

#define PORT(name, number, up, rate)                                                                       \
	{                                                                                                  \
		.device = (name), .context = &opened, .port = (number), .connected = true, .atomic = true, \
		.active = (up), .gigabits = (rate)                                                         \
	}

static void assert_chosen(const struct verbs_candidate *table, size_t count, const char *device, int port,
			  int expected)
{
	enum verbs_fitness fitness;

	assert_int_equal(verbs_choose_port(table, count, device, port, &fitness), expected);
	assert_int_equal(fitness, VERBS_FIT);
}

static void assert_unfit(const struct verbs_candidate *table, size_t count, const char *device, int port,
			 enum verbs_fitness expected)
{
	enum verbs_fitness fitness;

	verbs_choose_port(table, count, device, port, &fitness);
	assert_int_equal(fitness, expected);
}

/* --- ports --------------------------------------------------------------------------------------------- */

static const struct verbs_candidate machine[] = {
    PORT("mlx5_0", 1, false, 100),
    PORT("mlx5_1", 1, true, 100),
    PORT("mlx5_1", 2, true, 200),
    PORT("mlx5_2", 1, true, 200),
};

static void the_fastest_port_that_is_up_is_chosen_and_of_equals_the_first(void **state)
{
	(void)state;
	assert_chosen(machine, COUNT(machine), NULL, 0, 2);
	assert_chosen(machine, 2, NULL, 0, 1);
}

static void a_named_device_and_port_are_obeyed(void **state)
{
	(void)state;
	assert_chosen(machine, COUNT(machine), "mlx5_1", 0, 2);
	assert_chosen(machine, COUNT(machine), "mlx5_1", 1, 1);
	assert_chosen(machine, COUNT(machine), "mlx5_2", 0, 3);
	assert_chosen(machine, COUNT(machine), NULL, 2, 2);
}

static void a_machine_without_devices_has_nothing_to_choose(void **state)
{
	enum verbs_fitness fitness;

	(void)state;
	assert_int_equal(verbs_choose_port(NULL, 0, NULL, 0, &fitness), -1);
	assert_int_equal(verbs_choose_port(NULL, 0, "mlx5_0", 1, &fitness), -1);
}

static void what_is_wrong_with_the_nearest_port_is_told(void **state)
{
	const struct verbs_candidate iwarp = {
	    .device = "siw0", .context = &opened, .port = 1, .active = true};
	const struct verbs_candidate plain = {
	    .device = "efa0", .context = &opened, .port = 1, .connected = true, .active = true};
	const struct verbs_candidate locked = {.device = "mlx5_0"};

	(void)state;
	assert_unfit(machine, COUNT(machine), "mlx5_9", 0, VERBS_OTHER_DEVICE);
	assert_unfit(machine, COUNT(machine), "mlx5_2", 2, VERBS_OTHER_PORT);
	assert_unfit(machine, COUNT(machine), "mlx5_0", 0, VERBS_DOWN);
	assert_unfit(machine, 1, NULL, 0, VERBS_DOWN);
	assert_unfit(&iwarp, 1, NULL, 0, VERBS_NOT_CONNECTED);
	assert_unfit(&plain, 1, NULL, 0, VERBS_WITHOUT_ATOMIC);
	assert_unfit(&locked, 1, NULL, 0, VERBS_NOT_OPENED);
}

static void a_port_that_is_up_is_preferred_to_a_faster_one_without_atomics(void **state)
{
	const struct verbs_candidate table[] = {
	    {.device = "siw0", .context = &opened, .port = 1, .active = true, .gigabits = 400},
	    PORT("mlx5_0", 1, true, 10),
	};

	(void)state;
	assert_chosen(table, COUNT(table), NULL, 0, 1);
}

static void hardware_is_preferred_to_faster_software(void **state)
{
	struct verbs_candidate table[] = {PORT("rxe0", 1, true, 100), PORT("mlx5_0", 1, true, 25)};

	(void)state;
	table[0].software = true;
	assert_chosen(table, COUNT(table), NULL, 0, 1);
	table[1].active = false;
	assert_chosen(table, COUNT(table), NULL, 0, 0);
}

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

#define LINK_LOCAL "\xfe\x80\0\0\0\0\0\0\x50\x54\0\xff\xfe\x77\0\1"
#define IPV6 "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define IPV4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\0\1"
#define LOOPBACK4 "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"
#define LOOPBACK6 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
#define NONE "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

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
	    cmocka_unit_test(the_fastest_port_that_is_up_is_chosen_and_of_equals_the_first),
	    cmocka_unit_test(a_named_device_and_port_are_obeyed),
	    cmocka_unit_test(a_machine_without_devices_has_nothing_to_choose),
	    cmocka_unit_test(what_is_wrong_with_the_nearest_port_is_told),
	    cmocka_unit_test(a_port_that_is_up_is_preferred_to_a_faster_one_without_atomics),
	    cmocka_unit_test(hardware_is_preferred_to_faster_software),
	    cmocka_unit_test(rates_are_read_from_the_codes_of_the_port),
	    cmocka_unit_test(roce_v2_on_ipv4_is_the_first_choice),
	    cmocka_unit_test(a_gid_that_is_asked_for_is_taken_by_its_index_in_the_device),
	    cmocka_unit_test(gids_of_other_ports_and_empty_ones_are_not_taken),
	    cmocka_unit_test(a_loopback_address_is_the_last_choice),
	    cmocka_unit_test(infiniband_uses_its_first_gid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
