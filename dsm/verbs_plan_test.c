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

#define CHUNKS 3u

static uint32_t keys[CHUNKS] = {0xdeadbeef, VERBS_NO_KEY, 7};
static const struct verbs_segment segment = {
    .address = 0x7f0000001000, .bytes = 123456789, .access = PEERS_READ | PEERS_ATOMIC, .keys = keys};

static void a_segment_key_comes_back_as_it_was(void **state)
{
	unsigned char key[64];
	uint32_t keys_back[CHUNKS];
	struct verbs_segment back = {.keys = keys_back};

	(void)state;
	assert_true(verbs_key_bytes(CHUNKS) <= sizeof key);
	verbs_encode_segment(&segment, CHUNKS, 17, key);
	assert_int_equal(verbs_decode_segment(key, segment.bytes, CHUNKS, 17, &back), 0);
	assert_int_equal(back.address, segment.address);
	assert_int_equal(back.bytes, segment.bytes);
	assert_int_equal(back.access, segment.access);
	assert_memory_equal(keys_back, keys, sizeof keys);
}

static void assert_key_refused(struct verbs_segment bad)
{
	unsigned char key[64];
	uint32_t key_back[1] = {1};
	struct verbs_segment back = {.keys = key_back};

	bad.keys = keys;
	verbs_encode_segment(&bad, 1, 3, key);
	assert_int_equal(verbs_decode_segment(key, bad.bytes, 1, 3, &back), -EPROTO);
	assert_int_equal(key_back[0], 1); /* outputs are set on success only */
	assert_int_equal(back.bytes, 0);
}

static void senseless_segment_keys_are_refused(void **state)
{
	unsigned char key[64] = {0};
	uint32_t keys_back[CHUNKS];
	struct verbs_segment back = {.keys = keys_back};

	(void)state;
	assert_int_equal(verbs_decode_segment(key, 0, 0, 0, &back), -EPROTO);
	verbs_encode_segment(&segment, CHUNKS, 17, key);
	assert_int_equal(verbs_decode_segment(key, segment.bytes, CHUNKS, 18, &back), -EPROTO);
	assert_int_equal(verbs_decode_segment(key, segment.bytes + 1, CHUNKS, 17, &back), -EPROTO);
	assert_int_equal(verbs_decode_segment(key, segment.bytes, CHUNKS - 1, 17, &back), -EPROTO);
	key[0] ^= 1;
	assert_int_equal(verbs_decode_segment(key, segment.bytes, CHUNKS, 17, &back), -EPROTO);

	assert_key_refused((struct verbs_segment){.address = 4096, .bytes = 0});
	assert_key_refused((struct verbs_segment){.address = UINT64_MAX - 10, .bytes = 4096});
	assert_key_refused((struct verbs_segment){.address = 4097, .bytes = 4096, .access = PEERS_ATOMIC});
	assert_key_refused((struct verbs_segment){.address = 4096, .bytes = 4096, .access = 8});
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
	    .greeter = 17,
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
	assert_int_equal(back.greeter, address.greeter);
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
	bad = some_address(), bad.greeter = 1;
	assert_address_refused(bad);
}

static struct verbs_greeting some_greeting(void)
{
	return (struct verbs_greeting){
	    .kind = VERBS_ANSWER,
	    .job_key = {0x0123456789abcdef, 0xfedcba9876543210},
	    .from = 5,
	    .to = 6,
	    .lane = 39,
	    .end = {0xffffff, 0xfffffe},
	    .error = 12,
	};
}

static void a_greeting_comes_back_as_it_was(void **state)
{
	struct verbs_greeting greeting = some_greeting(), back;
	unsigned char bytes[VERBS_GREETING_BYTES];

	(void)state;
	verbs_encode_greeting(&greeting, bytes);
	assert_int_equal(verbs_decode_greeting(bytes, sizeof bytes, &back), 0);
	assert_int_equal(back.kind, greeting.kind);
	assert_int_equal(back.job_key[0], greeting.job_key[0]);
	assert_int_equal(back.job_key[1], greeting.job_key[1]);
	assert_int_equal(back.from, greeting.from);
	assert_int_equal(back.to, greeting.to);
	assert_int_equal(back.lane, greeting.lane);
	assert_memory_equal(&back.end, &greeting.end, sizeof back.end);
	assert_int_equal(back.error, greeting.error);
}

static void assert_greeting_refused(struct verbs_greeting bad)
{
	unsigned char bytes[VERBS_GREETING_BYTES];
	struct verbs_greeting back;

	verbs_encode_greeting(&bad, bytes);
	assert_int_equal(verbs_decode_greeting(bytes, sizeof bytes, &back), -EPROTO);
}

static void senseless_greetings_are_refused(void **state)
{
	unsigned char bytes[VERBS_GREETING_BYTES] = {0};
	struct verbs_greeting bad = some_greeting();

	(void)state;
	assert_int_equal(verbs_decode_greeting(bytes, sizeof bytes, &bad), -EPROTO);
	bad = some_greeting();
	verbs_encode_greeting(&bad, bytes);
	assert_int_equal(verbs_decode_greeting(bytes, sizeof bytes - 1, &bad), -EPROTO);
	bad = some_greeting(), bad.kind = (enum verbs_greeting_kind)4;
	assert_greeting_refused(bad);
	bad = some_greeting(), bad.end.queue_pair = 1; /* the fabric's own */
	assert_greeting_refused(bad);
	bad = some_greeting(), bad.end.queue_pair = 1u << 24;
	assert_greeting_refused(bad);
	bad = some_greeting(), bad.end.packet = 1u << 24;
	assert_greeting_refused(bad);
}

/* --- memory -------------------------------------------------------------------------------------------- */

#define EVERYTHING (PEERS_READ | PEERS_WRITE | PEERS_ATOMIC)

static void access_is_what_peers_need_and_no_more(void **state)
{
	const int all = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE |
			IBV_ACCESS_REMOTE_ATOMIC;
	const struct segment_memory data = {.page_bytes = 4096, .access = EVERYTHING};
	const struct segment_memory versions = {.page_bytes = 4096, .access = PEERS_READ | PEERS_ATOMIC};
	int flags[VERBS_ACCESS_MOST];

	(void)state;
	assert_int_equal(verbs_plan_access(&data, true, false, false, flags), 1);
	assert_int_equal(flags[0], all);
	assert_int_equal(verbs_plan_access(&data, false, false, false, flags), 1);
	assert_int_equal(flags[0], IBV_ACCESS_LOCAL_WRITE);
	assert_int_equal(verbs_plan_access(&versions, true, false, false, flags), 1);
	assert_int_equal(flags[0], all & ~IBV_ACCESS_REMOTE_WRITE);
}

static void memory_is_paged_on_demand_where_the_device_can_and_pinned_where_it_refuses(void **state)
{
	const struct segment_memory data = {.page_bytes = 4096, .access = PEERS_READ | PEERS_WRITE};
	const struct segment_memory huge = {.page_bytes = 2u << 20, .access = PEERS_READ};
	const struct segment_memory words = {.page_bytes = 4096, .access = EVERYTHING};
	int flags[VERBS_ACCESS_MOST];

	(void)state;
	assert_int_equal(verbs_plan_access(&data, true, true, false, flags), 2);
	assert_true(flags[0] & IBV_ACCESS_ON_DEMAND);
	assert_false(flags[1] & IBV_ACCESS_ON_DEMAND);
	assert_int_equal(verbs_plan_access(&huge, true, true, true, flags), 3);
	assert_int_equal(flags[0] & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB),
			 IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB);
	assert_int_equal(flags[1] & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB), IBV_ACCESS_ON_DEMAND);
	assert_int_equal(flags[2] & IBV_ACCESS_ON_DEMAND, 0);
	assert_int_equal(verbs_plan_access(&words, true, true, false, flags), 1);
	assert_false(flags[0] & IBV_ACCESS_ON_DEMAND);
	assert_int_equal(verbs_plan_access(&words, true, true, true, flags), 2);
	/* Where nobody does atomics, a device that cannot page for them does no harm. */
	assert_int_equal(verbs_plan_access(&words, false, true, false, flags), 2);
}

/* A device that is made up: it notes what is registered, and refuses on demand. */
static struct {
	struct ibv_mr regions[8];
	int access[8];
	unsigned count, held, refuse_from;
} registrations;

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *domain, void *address, size_t bytes, uint64_t iova,
				unsigned access)
{
	unsigned i = registrations.count;

	(void)domain, (void)iova;
	assert_true(i < 8);
	if (i >= registrations.refuse_from) {
		errno = ENOMEM;
		return NULL;
	}
	registrations.regions[i] =
	    (struct ibv_mr){.addr = address, .length = bytes, .lkey = 100 + i, .rkey = 200 + i};
	registrations.access[i] = (int)access;
	registrations.count++;
	registrations.held++;
	return &registrations.regions[i];
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *domain, void *address, size_t bytes, int access)
{
	return ibv_reg_mr_iova2(domain, address, bytes, (uintptr_t)address, (unsigned)access);
}

int ibv_dereg_mr(struct ibv_mr *region)
{
	(void)region;
	registrations.held--;
	return 0;
}

/* Peers need something of the second chunk only. */
static bool is_second_chunk(const void *argument, uint64_t offset, uint64_t bytes)
{
	assert_ptr_equal(argument, &registrations);
	return offset <= 4096 && 4096 < offset + bytes;
}

static const struct segment_memory chunked = {
    .name = "memory",
    .base = (void *)0x10000, /* never touched */
    .bytes = 2 * 4096 + 100,
    .page_bytes = 4096,
    .access = PEERS_READ,
    .is_served = is_second_chunk,
    .argument = &registrations,
};

static void a_segment_is_registered_in_chunks_and_only_what_it_serves_has_a_key_for_peers(void **state)
{
	const struct verbs_registrar registrar = {.chunk_shift = 12};
	struct verbs_registered segment_out;
	uint32_t remote[CHUNKS];

	(void)state;
	memset(&registrations, 0, sizeof registrations);
	registrations.refuse_from = 8;
	assert_int_equal(verbs_segment_register(&registrar, &chunked, &segment_out, remote), 0);
	assert_int_equal(registrations.count, CHUNKS);
	assert_ptr_equal(registrations.regions[2].addr, (void *)(0x10000 + 2 * 4096));
	assert_int_equal(registrations.regions[1].length, 4096);
	assert_int_equal(registrations.regions[2].length, 100);
	assert_int_equal(registrations.access[0], IBV_ACCESS_LOCAL_WRITE);
	assert_int_equal(registrations.access[1], IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
	assert_int_equal(remote[0], VERBS_NO_KEY);
	assert_int_equal(remote[1], 201);
	assert_int_equal(remote[2], VERBS_NO_KEY);
	assert_int_equal(segment_out.local_keys[2], 102);
	verbs_segment_deregister(&segment_out);
	assert_int_equal(registrations.held, 0);
	assert_int_equal(segment_out.bytes, 0);
}

static void a_chunk_that_is_refused_takes_the_others_back(void **state)
{
	const struct verbs_registrar registrar = {.chunk_shift = 12};
	struct verbs_registered segment_out;
	uint32_t remote[CHUNKS];

	(void)state;
	memset(&registrations, 0, sizeof registrations);
	registrations.refuse_from = 2;
	assert_int_equal(verbs_segment_register(&registrar, &chunked, &segment_out, remote), -ENOMEM);
	assert_int_equal(registrations.count, 2);
	assert_int_equal(registrations.held, 0);
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
	    cmocka_unit_test(a_greeting_comes_back_as_it_was),
	    cmocka_unit_test(senseless_greetings_are_refused),
	    cmocka_unit_test(access_is_what_peers_need_and_no_more),
	    cmocka_unit_test(memory_is_paged_on_demand_where_the_device_can_and_pinned_where_it_refuses),
	    cmocka_unit_test(a_segment_is_registered_in_chunks_and_only_what_it_serves_has_a_key_for_peers),
	    cmocka_unit_test(a_chunk_that_is_refused_takes_the_others_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
