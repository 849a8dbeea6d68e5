/*
 * Tests of the verbs transport's decisions, of its bytes on the wire, and of its memory table. No device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/verbs_memory.h"
#include "dsm/verbs_plan.h"
#include "dsm/verbs_wire.h"

/* --- decisions ----------------------------------------------------------------------------------------- */

static void reads_and_writes_before_atomics_are_not_fenced(void **state)
{
	(void)state;
	assert_false(verbs_needs_fence(IBV_WR_RDMA_READ, true, false, false));
	assert_false(verbs_needs_fence(IBV_WR_RDMA_READ, true, true, false));
	assert_false(verbs_needs_fence(IBV_WR_RDMA_WRITE, false, true, false));
	assert_false(verbs_needs_fence(IBV_WR_ATOMIC_FETCH_AND_ADD, false, true, false));
	assert_false(verbs_needs_fence(IBV_WR_ATOMIC_FETCH_AND_ADD, false, false, true));
}

static void what_changes_memory_after_a_read_is_fenced(void **state)
{
	(void)state;
	assert_true(verbs_needs_fence(IBV_WR_RDMA_WRITE, true, false, false));
	assert_true(verbs_needs_fence(IBV_WR_ATOMIC_FETCH_AND_ADD, true, false, false));
	assert_true(verbs_needs_fence(IBV_WR_ATOMIC_CMP_AND_SWP, true, false, false));
}

static void everything_after_an_atomic_on_the_bus_is_fenced(void **state)
{
	(void)state;
	assert_true(verbs_needs_fence(IBV_WR_RDMA_READ, false, true, true));
	assert_true(verbs_needs_fence(IBV_WR_RDMA_WRITE, false, true, true));
	assert_true(verbs_needs_fence(IBV_WR_ATOMIC_FETCH_AND_ADD, false, true, true));
	assert_false(verbs_needs_fence(IBV_WR_RDMA_READ, true, false, true));
}

static void ranges_outside_a_segment_are_refused(void **state)
{
	(void)state;
	assert_true(verbs_range_is_inside(100, 0, 100));
	assert_true(verbs_range_is_inside(100, 100, 0));
	assert_true(verbs_range_is_inside(100, 92, 8));
	assert_false(verbs_range_is_inside(100, 93, 8));
	assert_false(verbs_range_is_inside(100, 101, 0));
	assert_false(verbs_range_is_inside(100, 0, 101));
	assert_false(verbs_range_is_inside(100, UINT64_MAX - 3, 8));
	assert_false(verbs_range_is_inside(100, 8, UINT64_MAX - 3));
}

static void pieces_are_whole_pages_that_the_port_carries(void **state)
{
	(void)state;
	assert_int_equal(verbs_piece_bytes(8u << 20), 8u << 20);
	assert_int_equal(verbs_piece_bytes((8u << 20) + 100), 8u << 20);
	assert_int_equal(verbs_piece_bytes(1u << 31), 1u << 30);
	assert_int_equal(verbs_piece_bytes(UINT32_MAX), 1u << 30);
	assert_int_equal(verbs_piece_bytes(1000), 1000);
	assert_int_equal(verbs_piece_bytes(0), 0);
}

static void all_tries_end_within_half_of_the_time_out(void **state)
{
	(void)state;
	for (uint64_t timeout_ns = 100000000; timeout_ns <= 60000000000; timeout_ns += 50000000) {
		uint64_t one_try_ns = 4096ull << verbs_ack_timeout(timeout_ns);

		assert_true(one_try_ns * (VERBS_RETRIES + 1) <= timeout_ns / 2);
		assert_true(one_try_ns * (VERBS_RETRIES + 1) > timeout_ns / 4);
	}
	assert_int_equal(verbs_ack_timeout(1), 10);
	assert_int_equal(verbs_ack_timeout(UINT64_MAX), 22);
}

static void the_window_fits_the_shorter_queue(void **state)
{
	(void)state;
	assert_int_equal(verbs_window(1000000, 32767), 128);
	assert_int_equal(verbs_window(64, 32767), 64);
	assert_int_equal(verbs_window(1000, 50), 50);
	assert_int_equal(verbs_window(15, 1000), 0);
	assert_int_equal(verbs_window(-1, 1000), 0);
}

static void an_unanswered_request_means_a_lost_peer(void **state)
{
	(void)state;
	assert_int_equal(verbs_status_error(IBV_WC_SUCCESS), 0);
	assert_int_equal(verbs_status_error(IBV_WC_RETRY_EXC_ERR), -EHOSTDOWN);
	assert_int_equal(verbs_status_error(IBV_WC_RNR_RETRY_EXC_ERR), -EHOSTDOWN);
	assert_int_equal(verbs_status_error(IBV_WC_WR_FLUSH_ERR), -EHOSTDOWN);
	assert_int_equal(verbs_status_error(IBV_WC_REM_ACCESS_ERR), -EHOSTDOWN);
	assert_int_equal(verbs_status_error(IBV_WC_LOC_PROT_ERR), -EIO);
	assert_int_equal(verbs_status_error(IBV_WC_LOC_LEN_ERR), -EIO);
	assert_int_equal(verbs_status_error(IBV_WC_REM_INV_REQ_ERR), -EIO);
	assert_int_equal(verbs_status_error((enum ibv_wc_status)1000), -EIO);
}

/* --- the wire ------------------------------------------------------------------------------------------ */

static const struct verbs_segment segment = {
    .address = 0x7f0000001000, .bytes = 123456789, .rkey = 0xdeadbeef, .atomic = true};

static void a_segment_key_comes_back_as_it_was(void **state)
{
	struct segment_key key;
	struct verbs_segment back;

	(void)state;
	verbs_encode_segment(&segment, 17, &key);
	assert_int_equal(verbs_decode_segment(&key, 17, &back), 0);
	assert_int_equal(back.address, segment.address);
	assert_int_equal(back.bytes, segment.bytes);
	assert_int_equal(back.rkey, segment.rkey);
	assert_true(back.atomic);
}

static void assert_key_refused(struct verbs_segment bad)
{
	struct segment_key key;
	struct verbs_segment back = {.rkey = 1};

	verbs_encode_segment(&bad, 3, &key);
	assert_int_equal(verbs_decode_segment(&key, 3, &back), -EPROTO);
	assert_int_equal(back.rkey, 1); /* outputs are set on success only */
}

static void senseless_segment_keys_are_refused(void **state)
{
	struct segment_key key;
	struct verbs_segment back;

	(void)state;
	verbs_encode_segment(&segment, 17, &key);
	assert_int_equal(verbs_decode_segment(&key, 18, &back), -EPROTO);
	key.bytes[0] ^= 1;
	assert_int_equal(verbs_decode_segment(&key, 17, &back), -EPROTO);
	memset(&key, 0, sizeof key);
	assert_int_equal(verbs_decode_segment(&key, 0, &back), -EPROTO);

	assert_key_refused((struct verbs_segment){.address = 4096, .bytes = 0});
	assert_key_refused((struct verbs_segment){.address = UINT64_MAX - 10, .bytes = 4096});
	assert_key_refused((struct verbs_segment){.address = 4097, .bytes = 4096, .atomic = true});
}

static struct verbs_address some_address(void)
{
	return (struct verbs_address){
	    .gid = {0xfe, 0x80, [15] = 7},
	    .lid = 0x1234,
	    .link_layer = IBV_LINK_LAYER_ETHERNET,
	    .gid_type = IBV_GID_TYPE_ROCE_V2,
	    .mtu = IBV_MTU_4096,
	    .reads = 16,
	    .global = true,
	};
}

static void an_address_comes_back_as_it_was(void **state)
{
	struct verbs_address address = some_address(), back;
	struct transport_address bytes;

	(void)state;
	verbs_encode_address(&address, &bytes);
	assert_int_equal(verbs_decode_address(&bytes, &back), 0);
	assert_memory_equal(back.gid, address.gid, sizeof address.gid);
	assert_int_equal(back.lid, address.lid);
	assert_int_equal(back.link_layer, address.link_layer);
	assert_int_equal(back.gid_type, address.gid_type);
	assert_int_equal(back.mtu, address.mtu);
	assert_int_equal(back.reads, address.reads);
	assert_true(back.global);
}

static void assert_address_refused(struct verbs_address bad)
{
	struct transport_address bytes;
	struct verbs_address back;

	verbs_encode_address(&bad, &bytes);
	assert_int_equal(verbs_decode_address(&bytes, &back), -EPROTO);
}

static void senseless_addresses_are_refused(void **state)
{
	struct verbs_address bad;
	struct transport_address zero = {{0}};

	(void)state;
	assert_int_equal(verbs_decode_address(&zero, &bad), -EPROTO);
	bad = some_address(), bad.link_layer = 0;
	assert_address_refused(bad);
	bad = some_address(), bad.gid_type = 3;
	assert_address_refused(bad);
	bad = some_address(), bad.mtu = 0;
	assert_address_refused(bad);
	bad = some_address(), bad.mtu = 6;
	assert_address_refused(bad);
	bad = some_address(), bad.reads = 0;
	assert_address_refused(bad);
}

static void connection_data_come_back_as_they_were(void **state)
{
	const struct verbs_end ends[3] = {{2, 0}, {0xffffff, 0xffffff}, {1234, 5678}};
	struct verbs_end back[3];
	unsigned char data[64];

	(void)state;
	assert_true(verbs_connection_bytes(3) <= sizeof data);
	verbs_encode_connection(ends, 3, data);
	assert_int_equal(verbs_decode_connection(data, 3, back), 0);
	assert_memory_equal(back, ends, sizeof ends);
}

static void senseless_connection_data_are_refused(void **state)
{
	struct verbs_end back[3];
	unsigned char data[64] = {0};

	(void)state;
	assert_int_equal(verbs_decode_connection(data, 3, back), -EPROTO);
	verbs_encode_connection((struct verbs_end[]){{2, 0}, {3, 0}, {4, 0}}, 3, data);
	assert_int_equal(verbs_decode_connection(data, 2, back), -EPROTO); /* other MINORCA_LANES */
	verbs_encode_connection((struct verbs_end[]){{2, 0}, {1, 0}, {4, 0}}, 3, data);
	assert_int_equal(verbs_decode_connection(data, 3, back), -EPROTO);
	verbs_encode_connection((struct verbs_end[]){{2, 0}, {3, 1u << 24}, {4, 0}}, 3, data);
	assert_int_equal(verbs_decode_connection(data, 3, back), -EPROTO);
	verbs_encode_connection((struct verbs_end[]){{2, 0}, {3, 0}, {1u << 24, 0}}, 3, data);
	assert_int_equal(verbs_decode_connection(data, 3, back), -EPROTO);
}

/* --- memory -------------------------------------------------------------------------------------------- */

static void access_is_what_a_segment_needs_and_no_more(void **state)
{
	const int plain = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	const struct segment_memory data = {.page_bytes = 4096};
	const struct segment_memory words = {.page_bytes = 4096, .atomic = true};
	int flags[VERBS_ACCESS_MOST];

	(void)state;
	assert_int_equal(verbs_plan_access(&data, false, false, flags), 1);
	assert_int_equal(flags[0], plain);
	assert_int_equal(verbs_plan_access(&words, false, false, flags), 1);
	assert_int_equal(flags[0], plain | IBV_ACCESS_REMOTE_ATOMIC);
}

static void memory_is_paged_on_demand_where_the_device_can_and_pinned_where_it_refuses(void **state)
{
	const struct segment_memory data = {.page_bytes = 4096};
	const struct segment_memory huge = {.page_bytes = 2u << 20};
	const struct segment_memory words = {.page_bytes = 4096, .atomic = true};
	int flags[VERBS_ACCESS_MOST];

	(void)state;
	assert_int_equal(verbs_plan_access(&data, true, false, flags), 2);
	assert_true(flags[0] & IBV_ACCESS_ON_DEMAND);
	assert_false(flags[1] & IBV_ACCESS_ON_DEMAND);
	assert_int_equal(verbs_plan_access(&huge, true, true, flags), 3);
	assert_int_equal(flags[0] & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB),
			 IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB);
	assert_int_equal(flags[1] & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB), IBV_ACCESS_ON_DEMAND);
	assert_int_equal(flags[2] & IBV_ACCESS_ON_DEMAND, 0);
	assert_int_equal(verbs_plan_access(&words, true, false, flags), 1);
	assert_false(flags[0] & IBV_ACCESS_ON_DEMAND);
	assert_int_equal(verbs_plan_access(&words, true, true, flags), 2);
}

static void a_buffer_is_found_in_the_segment_that_holds_all_of_it(void **state)
{
	struct verbs_registered *own = calloc(SEGMENTS_MAX, sizeof *own);
	static unsigned char memory[2][256];
	struct ibv_mr regions[2] = {{.lkey = 11}, {.lkey = 22}};
	uint32_t key = 0;

	(void)state;
	assert_false(verbs_find_local_key(own, 0, memory[0], 8, &key));
	verbs_registered_set(&own[0], &regions[0], memory[0], sizeof memory[0]);
	verbs_registered_set(&own[SEGMENTS_MAX - 1], &regions[1], memory[1], sizeof memory[1]);

	assert_true(verbs_find_local_key(own, 0, memory[0], sizeof memory[0], &key));
	assert_int_equal(key, 11);
	assert_true(
	    verbs_find_local_key(own, 0, memory[1] + 255, 1, &key)); /* not where it was looked for first */
	assert_int_equal(key, 22);
	assert_false(verbs_find_local_key(own, 5, memory[1] + 255, 2, &key));
	assert_false(verbs_find_local_key(own, 5, (void *)((uintptr_t)memory[0] - 1), 2, &key));
	assert_false(verbs_find_local_key(own, 5, memory[1], SIZE_MAX, &key));

	atomic_fetch_add(&own[0].version, 1); /* as if it were being changed */
	assert_false(verbs_find_local_key(own, 0, memory[0], 8, &key));
	free(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_and_writes_before_atomics_are_not_fenced),
	    cmocka_unit_test(what_changes_memory_after_a_read_is_fenced),
	    cmocka_unit_test(everything_after_an_atomic_on_the_bus_is_fenced),
	    cmocka_unit_test(ranges_outside_a_segment_are_refused),
	    cmocka_unit_test(pieces_are_whole_pages_that_the_port_carries),
	    cmocka_unit_test(all_tries_end_within_half_of_the_time_out),
	    cmocka_unit_test(the_window_fits_the_shorter_queue),
	    cmocka_unit_test(an_unanswered_request_means_a_lost_peer),
	    cmocka_unit_test(a_segment_key_comes_back_as_it_was),
	    cmocka_unit_test(senseless_segment_keys_are_refused),
	    cmocka_unit_test(an_address_comes_back_as_it_was),
	    cmocka_unit_test(senseless_addresses_are_refused),
	    cmocka_unit_test(connection_data_come_back_as_they_were),
	    cmocka_unit_test(senseless_connection_data_are_refused),
	    cmocka_unit_test(access_is_what_a_segment_needs_and_no_more),
	    cmocka_unit_test(memory_is_paged_on_demand_where_the_device_can_and_pinned_where_it_refuses),
	    cmocka_unit_test(a_buffer_is_found_in_the_segment_that_holds_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
