/*
 * The shm transport between two nodes that happen to be one process: bounds, values, and the order that
 * publishing relies on.
 */
#include "dsm/test_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsm/transport.h"
#include "kernel/memory.h"

#define BYTES ((size_t)65536)
#define SEGMENT 3
#define READ_ONLY 5

static struct transport *nodes[2];
static unsigned char *memory[2];
static int files[2];

static int set_up(void **state)
{
	struct transport_address address;
	unsigned char keys[2][64], read_only[2][64];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct transport_config config = {.node = i, .nodes = 2, .lanes = 1};
		void *base;
		files[i] = memory_file_create("test", BYTES, 4096);
		assert_true(files[i] >= 0);
		assert_int_equal(memory_map(files[i], BYTES, NULL, &base), 0);
		memory[i] = base;
		assert_int_equal(transport_shm.open(&config, &nodes[i], &address), 0);
		struct segment_memory segment = {
		    .name = "memory",
		    .fd = files[i],
		    .base = base,
		    .bytes = BYTES,
		    .page_bytes = 4096,
		    .access = PEERS_READ | PEERS_WRITE | PEERS_ATOMIC,
		    .words = true,
		};
		assert_true(transport_shm.key_bytes(nodes[i], BYTES) <= sizeof keys[i]);
		assert_int_equal(transport_shm.expose(nodes[i], SEGMENT, &segment, keys[i]), 0);
		segment.access = PEERS_READ;
		assert_int_equal(transport_shm.expose(nodes[i], READ_ONLY, &segment, read_only[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		for (int peer = 0; peer < 2; peer++)
			assert_int_equal(transport_shm.attach(nodes[i], SEGMENT, peer, BYTES, keys[peer]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(transport_shm.attach(nodes[i], READ_ONLY, 1, BYTES, read_only[1]), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		transport_shm.close(nodes[i]);
		munmap(memory[i], BYTES);
		close(files[i]);
	}
	return 0;
}

static void bytes_arrive_and_neighbours_stay(void **state)
{
	unsigned char got[100];

	(void)state;
	memset(memory[1], 1, BYTES);
	assert_int_equal(transport_shm.post_write(nodes[0], NULL, 1, SEGMENT, 1001, "hello", 5), 0);
	assert_int_equal(transport_shm.complete(nodes[0], NULL), 0);
	assert_memory_equal(memory[1] + 1001, "hello", 5);
	assert_int_equal(memory[1][1000], 1);
	assert_int_equal(memory[1][1006], 1);
	assert_int_equal(transport_shm.post_read(nodes[0], NULL, 1, SEGMENT, 1001, got, 5), 0);
	assert_memory_equal(got, "hello", 5);
}

static void what_lies_outside_is_refused(void **state)
{
	static const struct {
		uint64_t offset;
		size_t bytes;
	} outside[] = {{BYTES, 1}, {BYTES - 7, 8}, {UINT64_MAX, 1}, {0, BYTES + 1}, {8, SIZE_MAX}};
	uint64_t word = 0;

	(void)state;
	for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
		assert_int_equal(transport_shm.post_read(nodes[0], NULL, 1, SEGMENT, outside[i].offset, &word,
							 outside[i].bytes),
				 -EINVAL);
		assert_int_equal(transport_shm.post_write(nodes[0], NULL, 1, SEGMENT, outside[i].offset,
							  &word, outside[i].bytes),
				 -EINVAL);
	}
	assert_int_equal(transport_shm.post_fetch_add(nodes[0], NULL, 1, SEGMENT, BYTES, 1, &word), -EINVAL);
	assert_int_equal(transport_shm.post_fetch_add(nodes[0], NULL, 1, SEGMENT, 4, 1, &word), -EINVAL);
	assert_int_equal(transport_shm.post_compare_swap(nodes[0], NULL, 1, SEGMENT, BYTES - 4, 1, 2, &word),
			 -EINVAL);
	/* A segment that nobody exposed. */
	assert_int_equal(transport_shm.post_read(nodes[0], NULL, 1, SEGMENT + 1, 0, &word, 8), -EINVAL);
}

static void what_peers_have_no_business_in_is_refused(void **state)
{
	uint64_t word = 0;

	(void)state;
	assert_int_equal(transport_shm.post_read(nodes[0], NULL, 1, READ_ONLY, 0, &word, 8), 0);
	assert_int_equal(transport_shm.post_write(nodes[0], NULL, 1, READ_ONLY, 0, &word, 8), -EINVAL);
	assert_int_equal(transport_shm.post_fetch_add(nodes[0], NULL, 1, READ_ONLY, 0, 1, &word), -EINVAL);
	assert_int_equal(transport_shm.post_write(nodes[1], NULL, 1, READ_ONLY, 0, &word, 8), -EINVAL);
}

static void atomics_return_what_was_there(void **state)
{
	uint64_t old = 99, *word = (uint64_t *)(void *)(memory[1] + 64);

	(void)state;
	*word = 10;
	assert_int_equal(transport_shm.post_fetch_add(nodes[0], NULL, 1, SEGMENT, 64, 5, &old), 0);
	assert_int_equal(old, 10);
	assert_int_equal(*word, 15);
	assert_int_equal(transport_shm.post_compare_swap(nodes[0], NULL, 1, SEGMENT, 64, 14, 1, &old), 0);
	assert_int_equal(old, 15);
	assert_int_equal(*word, 15);
	assert_int_equal(transport_shm.post_compare_swap(nodes[1], NULL, 1, SEGMENT, 64, 15, 1, &old), 0);
	assert_int_equal(old, 15);
	assert_int_equal(*word, 1);
}

/* A key of a process or file that is not there, or of a file that is too small, is an error and not a crash
 * later. */
static void a_wrong_key_is_refused(void **state)
{
	struct {
		int32_t pid, fd;
		uint64_t bytes;
	} wrong[] = {{0x7ffffffe, 0, BYTES},
		     {(int32_t)getpid(), 1000000, BYTES},
		     {(int32_t)getpid(), files[1], BYTES * 2}};
	unsigned char key[64];

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		memset(key, 0, sizeof key);
		memcpy(key, &wrong[i], sizeof wrong[i]);
		assert_true(transport_shm.attach(nodes[0], SEGMENT + 4, 1, wrong[i].bytes, key) < 0);
		assert_int_equal(transport_shm.attach(nodes[0], SEGMENT + 4, 1, BYTES + 1, key), -EPROTO);
	}
}

static size_t bytes_in_file(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return (size_t)status.st_blocks * 512;
}

/* Runs first: memory is fresh. */
static void populating_allocates_and_keeps_what_is_there(void **state)
{
	unsigned char got[2] = {1, 1};

	(void)state;
	assert_int_equal(bytes_in_file(files[1]), 0);
	assert_int_equal(transport_shm.populate(nodes[0], 1, SEGMENT, 8192, 4096), 0);
	assert_int_equal(bytes_in_file(files[1]), 4096);
	memory[1][8192] = 7;
	assert_int_equal(transport_shm.populate(nodes[0], 1, SEGMENT, 8192, 8192), 0);
	assert_int_equal(bytes_in_file(files[1]), 8192);
	assert_int_equal(transport_shm.post_read(nodes[0], NULL, 1, SEGMENT, 8192, got, 2), 0);
	assert_int_equal(got[0], 7);
	assert_int_equal(got[1], 0);
	assert_int_equal(transport_shm.populate(nodes[0], 1, SEGMENT, BYTES, 4096), -EINVAL);
}

#define ROUNDS 200000
#define DATA_BYTES 256

/* The publisher: data, then version. */
static void *publish(void *argument)
{
	unsigned char data[DATA_BYTES];
	uint64_t old;

	(void)argument;
	for (unsigned i = 1; i <= ROUNDS; i++) {
		memset(data, (int)(i & 0xff), sizeof data);
		/* The whole round number too, so that "older" can be told. */
		memcpy(data + 8, &(uint64_t){i}, 8);
		transport_shm.post_write(nodes[0], NULL, 1, SEGMENT, 8192, data, sizeof data);
		transport_shm.post_write(nodes[0], NULL, 1, SEGMENT, 8192 + 8, data + 8, 8);
		transport_shm.post_fetch_add(nodes[0], NULL, 1, SEGMENT, 4096, 1, &old);
	}
	return NULL;
}

/* The reader: version, then data. Data older than the version must never be seen. */
static void data_is_never_older_than_its_version(void **state)
{
	pthread_t publisher;
	uint64_t version = 0, first, got;
	size_t old_data = 0;

	(void)state;
	memset(memory[1], 0, BYTES);
	first = 0;
	assert_int_equal(pthread_create(&publisher, NULL, publish, NULL), 0);
	while (version < ROUNDS) {
		transport_shm.post_read(nodes[1], NULL, 1, SEGMENT, 4096, &version, 8);
		transport_shm.post_read(nodes[1], NULL, 1, SEGMENT, 8192 + 8, &got, 8);
		assert_true(version >= first);
		first = version;
		/* A torn round shows the filler bytes; the word itself is written last, whole. */
		if (got <= ROUNDS)
			old_data += got < version;
	}
	pthread_join(publisher, NULL);
	assert_int_equal(old_data, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(populating_allocates_and_keeps_what_is_there),
	    cmocka_unit_test(bytes_arrive_and_neighbours_stay),
	    cmocka_unit_test(what_lies_outside_is_refused),
	    cmocka_unit_test(what_peers_have_no_business_in_is_refused),
	    cmocka_unit_test(atomics_return_what_was_there),
	    cmocka_unit_test(a_wrong_key_is_refused),
	    cmocka_unit_test(data_is_never_older_than_its_version),
	};

	return cmocka_run_group_tests_name("transport_shm", tests, set_up, tear_down);
}
