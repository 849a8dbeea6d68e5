/*
 * Tests of the verbs and the mixed transport on a real device, soft-RoCE for example: nodes are processes of
 * this machine; for the mixed transport, nodes 0 and 1 count as one machine and node 2 as another.
 * Without a device what remains is that open() says so; the rest is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#include "dsm/lane.h"
#include "dsm/report.h"
#include "dsm/transport.h"
#include "dsm/verbs_wire.h"
#include "kernel/memory.h"

#define NODES_MAX 3
#define LANES 2u
#define SECOND_NS 1000000000ull
#define TIMEOUT_NS (20 * SECOND_NS)

/* Segments. */
#define DATA 1u
#define DATA_BYTES ((size_t)24 << 20) /* more than soft-RoCE's largest message, 8 MiB */
#define WORDS 2u
#define WORDS_BYTES ((size_t)65536)

/* What the test processes share, so that they need no MPI. */
static struct world {
	int nodes;
	uint64_t timeout_ns;
	atomic_int arrived;
	atomic_int stop;
	struct transport_address addresses[NODES_MAX];
	unsigned char keys[NODES_MAX][2][256];
	struct variant {
		bool mixed;
		uint64_t chunk_bytes, read_bytes; /* 0: the usual */
		uint64_t wrong_key;		  /* of node 1 */
	} variant;
} * world;

/* Of the next run_nodes(). */
static struct variant next_variant;

/* This process. */
static struct {
	int node;
	int meetings;
	struct transport *transport;
	struct lane lanes[LANES];
	unsigned char *scratch;
	unsigned char *data;
	uint64_t *words;
} own;

/* In a node's process cmocka's assertions are of no use: it ends, and the test sees that. */
#define CHECK(condition)                                                                                    \
	do {                                                                                                \
		if (!(condition)) {                                                                         \
			fprintf(stderr, "node %d: %s:%d: %s does not hold\n", own.node, __FILE__, __LINE__, \
				#condition);                                                                \
			_exit(1);                                                                           \
		}                                                                                           \
	} while (0)

#define CHECK_RETURNS(call, expected)                                                                     \
	do {                                                                                              \
		int returned_ = (call), expected_ = (expected);                                           \
		if (returned_ != expected_) {                                                             \
			fprintf(stderr, "node %d: %s:%d: %s gives %d (%s), not %d\n", own.node, __FILE__, \
				__LINE__, #call, returned_, strerror(-returned_), expected_);             \
			_exit(1);                                                                         \
		}                                                                                         \
	} while (0)

static const struct transport_ops *ops = &transport_verbs;
static const uint64_t hosts[NODES_MAX] = {7, 7, 8};

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Waits for all nodes, without using the transport. */
static void meet(void)
{
	int all = ++own.meetings * world->nodes;

	atomic_fetch_add(&world->arrived, 1);
	for (double end = seconds_now() + 120; atomic_load(&world->arrived) < all; usleep(500))
		CHECK(seconds_now() < end);
}

/* Waits until @count nodes have got as far; for when a node is missing that meet() would wait for. */
static void wait_for_stops(int count)
{
	atomic_fetch_add(&world->stop, 1);
	for (double end = seconds_now() + 60; atomic_load(&world->stop) < count; usleep(500))
		CHECK(seconds_now() < end);
}

static void *shared_memory(size_t bytes, int *fd)
{
	void *memory;

	*fd = memory_file_create("verbs_test", bytes, 4096);
	CHECK(*fd >= 0);
	CHECK_RETURNS(memory_map(*fd, bytes, NULL, &memory), 0);
	return memory;
}

static struct transport_config config_of(int node, int nodes)
{
	if (!own.scratch) {
		own.scratch = mmap(NULL, LANES * LANE_SCRATCH_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(own.scratch != MAP_FAILED);
	}
	for (unsigned i = 0; i < LANES; i++) {
		own.lanes[i].index = i;
		own.lanes[i].scratch = own.scratch + i * LANE_SCRATCH_BYTES;
	}
	return (struct transport_config){
	    .node = node,
	    .nodes = nodes,
	    .lanes = LANES,
	    .scratch_bytes = LANE_SCRATCH_BYTES,
	    .scratch = own.scratch,
	    .timeout_ns = world->timeout_ns,
	    .device = getenv("MINORCA_VERBS_DEVICE"),
	    .gid_index = -1,
	    .chunk_bytes = world->variant.chunk_bytes ? world->variant.chunk_bytes : (uint64_t)1 << 30,
	    .read_bytes = world->variant.read_bytes,
	    .hosts = hosts,
	    .job_key = {4711, node == 1 ? world->variant.wrong_key : 0},
	};
}

static void *expose_segment(unsigned id, size_t bytes, unsigned access)
{
	struct segment_memory memory = {
	    .name = "memory", .bytes = bytes, .page_bytes = 4096, .access = access};

	memory.base = shared_memory(bytes, &memory.fd);
	CHECK(ops->key_bytes(own.transport, bytes) <= sizeof world->keys[0][0]);
	CHECK_RETURNS(ops->expose(own.transport, id, &memory, world->keys[own.node][id - DATA]), 0);
	return memory.base;
}

static size_t segment_bytes(unsigned id)
{
	return id == DATA ? DATA_BYTES : WORDS_BYTES;
}

static void start_node(int node)
{
	struct transport_config config = config_of(node, world->nodes);

	own.node = node;
	report_set_node(node);
	ops = world->variant.mixed ? &transport_mixed : &transport_verbs;
	CHECK_RETURNS(ops->open(&config, &own.transport, &world->addresses[node]), 0);
	own.data = expose_segment(DATA, DATA_BYTES, PEERS_READ | PEERS_WRITE);
	own.words = expose_segment(WORDS, WORDS_BYTES, PEERS_READ | PEERS_ATOMIC);
	meet();
	for (int peer = 0; peer < world->nodes; peer++) {
		CHECK_RETURNS(ops->connect(own.transport, peer, &world->addresses[peer]), 0);
		for (unsigned id = DATA; id <= WORDS; id++)
			CHECK_RETURNS(ops->attach(own.transport, id, peer, segment_bytes(id),
						  world->keys[peer][id - DATA]),
				      0);
	}
	meet();
}

static void stop_node(void)
{
	meet();
	ops->detach(own.transport, DATA);
	ops->detach(own.transport, WORDS);
	ops->close(own.transport);
}

/* --- running nodes ------------------------------------------------------------------------------------- */

static pid_t fork_node(int node, void (*body)(void))
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		start_node(node);
		body();
		_exit(0);
	}
	return child;
}

/* Runs @body on nodes in processes of their own; node @victim (or -1) ends by SIGKILL, the others well. */
static void run_nodes(int nodes, uint64_t timeout_ns, int victim, void (*body)(void))
{
	pid_t children[NODES_MAX];
	int status[NODES_MAX];

	memset(world, 0, sizeof *world);
	world->variant = next_variant;
	memset(&next_variant, 0, sizeof next_variant);
	world->nodes = nodes;
	world->timeout_ns = timeout_ns;
	for (int node = 0; node < nodes; node++)
		children[node] = fork_node(node, body);
	for (int node = 0; node < nodes; node++)
		assert_int_equal(waitpid(children[node], &status[node], 0), children[node]);
	for (int node = 0; node < nodes; node++) {
		if (node == victim)
			assert_true(WIFSIGNALED(status[node]) && WTERMSIG(status[node]) == SIGKILL);
		else
			assert_true(WIFEXITED(status[node]) && WEXITSTATUS(status[node]) == 0);
	}
}

/* Runs @body in one process of its own, without a transport. @return its exit status. */
static int run_alone(void (*body)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		world->timeout_ns = TIMEOUT_NS;
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int open_with(const struct transport_config *config)
{
	struct transport *transport;
	struct transport_address address;
	int error = ops->open(config, &transport, &address);

	if (!error)
		ops->close(transport);
	return error;
}

/* Whether the machine has a port that must do: asked without the transport, whose failure is not to be
 * skipped. */
static bool has_usable_port(struct ibv_context *context)
{
	struct ibv_device_attr device;
	struct ibv_port_attr port;

	if (context->device->transport_type != IBV_TRANSPORT_IB || ibv_query_device(context, &device) ||
	    device.atomic_cap == IBV_ATOMIC_NONE)
		return false;
	for (uint8_t i = 1; i <= device.phys_port_cnt; i++)
		if (ibv_query_port(context, i, &port) == 0 && port.state == IBV_PORT_ACTIVE)
			return true;
	return false;
}

static void look_for_device(void)
{
	int count = 0;
	struct ibv_device **devices = ibv_get_device_list(&count);

	for (int i = 0; devices && i < count; i++) {
		struct ibv_context *context = ibv_open_device(devices[i]);

		if (context && has_usable_port(context))
			return;
	}
	_exit(77);
}

static bool have_device(void)
{
	static int answer = -1;

	if (answer < 0)
		answer = run_alone(look_for_device) == 0;
	return answer;
}

#define NEED_DEVICE()                                                                          \
	do {                                                                                   \
		if (!have_device()) {                                                          \
			printf("skipped: this machine has no RDMA device that can be used\n"); \
			skip();                                                                \
		}                                                                              \
	} while (0)

/* --- opening ------------------------------------------------------------------------------------------- */

static void check_no_device(void)
{
	struct transport_config config = config_of(0, 1);

	CHECK_RETURNS(open_with(&config), -ENODEV);
	config.device = "mlx5_0";
	CHECK_RETURNS(open_with(&config), -ENODEV);
}

static void a_machine_without_a_device_says_so(void **state)
{
	int count = 0;
	struct ibv_device **devices = ibv_get_device_list(&count);

	(void)state;
	if (devices)
		ibv_free_device_list(devices);
	if (count > 0) {
		printf("skipped: this machine has an RDMA device\n");
		skip();
	}
	assert_int_equal(run_alone(check_no_device), 0);
}

static void check_refusals_of_open(void)
{
	struct transport_config config = config_of(0, 1);

	config.device = "no_such_device";
	CHECK_RETURNS(open_with(&config), -ENODEV);
	config = config_of(0, 1);
	config.port = 200;
	CHECK_RETURNS(open_with(&config), -ENODEV);
	config = config_of(0, 1);
	config.gid_index = 1000;
	CHECK_RETURNS(open_with(&config), -ENODEV);
	config = config_of(0, 1);
	config.node = 1;
	CHECK_RETURNS(open_with(&config), -EINVAL);
}

static void a_device_port_or_gid_that_is_not_there_is_an_error(void **state)
{
	(void)state;
	NEED_DEVICE();
	assert_int_equal(run_alone(check_refusals_of_open), 0);
}

static void check_locked_memory(void)
{
	struct transport_config config = config_of(0, 1);
	const struct rlimit limit = {4096, 4096};

	/* The limit does not bind root. */
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	if (getuid() == 0)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	CHECK_RETURNS(open_with(&config), -ENOMEM);
}

static void too_little_locked_memory_is_an_error(void **state)
{
	(void)state;
	NEED_DEVICE();
	assert_int_equal(run_alone(check_locked_memory), 0);
}

/* --- operations ---------------------------------------------------------------------------------------- */

static struct lane *lane(void)
{
	return &own.lanes[0];
}

static int complete(void)
{
	return ops->complete(own.transport, lane());
}

static void check_every_operation(void)
{
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;
	unsigned char *buffer = lane()->scratch + 64;
	uint64_t word_there = 0x1122334455667788;

	memset(own.data, 'a' + own.node, 4096);
	own.words[3] = 100;
	meet();
	for (int peer = 0; peer < world->nodes; peer++) {
		/* Each node has a place of its own at every peer. */
		uint64_t mine = 8192 * (uint64_t)(own.node + 1);

		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, DATA, 1, buffer, 4095), 0);
		CHECK_RETURNS(complete(), 0);
		for (int i = 0; i < 4095; i++)
			CHECK(buffer[i] == 'a' + peer);

		/* Small and large, from scratch; from an exposed segment. */
		memset(buffer, 'A' + own.node, 1000);
		memcpy(old, &word_there, 8);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, mine, old, 8), 0);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, mine + 8, buffer, 1000), 0);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, mine + 1008, own.data, 2000),
			      0);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, 0, buffer, 0), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, DATA, mine, buffer, 3008), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK(memcmp(buffer, &word_there, 8) == 0);
		for (int i = 8; i < 3008; i++)
			CHECK(buffer[i] == (i < 1008 ? 'A' : 'a') + own.node);

		uint64_t word = 1024 + 8 * (uint64_t)own.node;

		CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), peer, WORDS, word, 5, &old[0]), 0);
		CHECK_RETURNS(
		    ops->post_fetch_add(own.transport, lane(), peer, WORDS, word, UINT64_MAX, &old[1]), 0);
		CHECK_RETURNS(
		    ops->post_compare_swap(own.transport, lane(), peer, WORDS, word, 4, 77, &old[2]), 0);
		CHECK_RETURNS(
		    ops->post_compare_swap(own.transport, lane(), peer, WORDS, word, 4, 88, &old[3]), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, word, &old[4], 8), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK(old[0] == 0 && old[1] == 5 && old[2] == 4 && old[3] == 77 && old[4] == 77);
	}
	stop_node();
}

static void every_operation_reaches_every_node(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_every_operation);
}

static void every_operation_reaches_near_and_far_nodes(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant.mixed = true;
	run_nodes(3, TIMEOUT_NS, -1, check_every_operation);
}

static void check_refusals(void)
{
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;
	unsigned char *buffer = lane()->scratch;
	unsigned char elsewhere[512] = {0};
	unsigned char *key = world->keys[0][0];

	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, DATA_BYTES - 7, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, UINT64_MAX - 3, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA + 2, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, SEGMENTS_MAX, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 1, DATA, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), -1, DATA, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, 0, elsewhere, 8), -EINVAL);
	CHECK_RETURNS(ops->post_write(own.transport, lane(), 0, DATA, DATA_BYTES, elsewhere, 1), -EINVAL);
	CHECK_RETURNS(ops->post_write(own.transport, lane(), 0, DATA, 0, elsewhere, sizeof elsewhere),
		      -EINVAL);
	CHECK_RETURNS(ops->post_write(own.transport, lane(), 0, WORDS, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, WORDS, 4, 1, old), -EINVAL);
	CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, WORDS, WORDS_BYTES, 1, old), -EINVAL);
	CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, DATA, 0, 1, old), -EINVAL);
	CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, WORDS, 0, 1, own.words), -EINVAL);
	CHECK_RETURNS(ops->attach(own.transport, DATA, 0, DATA_BYTES, key), -EINVAL); /* it is */
	CHECK_RETURNS(ops->attach(own.transport, DATA + 2, 0, DATA_BYTES, key), -EPROTO);
	CHECK_RETURNS(complete(), 0);

	ops->detach(own.transport, DATA);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, 0, buffer, 8), -EINVAL);
	CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, WORDS, 0, 1, old), 0);
	CHECK_RETURNS(complete(), 0);
	stop_node();
}

static void what_lies_outside_a_segment_is_refused_before_it_is_posted(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(1, TIMEOUT_NS, -1, check_refusals);
}

static void check_large(void)
{
	const size_t bytes = (size_t)20 << 20;
	int peer = (own.node + 1) % world->nodes;

	if (own.node == 0) {
		for (size_t i = 0; i < DATA_BYTES; i++)
			own.data[i] = (unsigned char)(i * 7 + i / 4096);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, 12345, own.data, bytes), 0);
		CHECK_RETURNS(complete(), 0);
	}
	meet();
	if (own.node == 1) {
		for (size_t i = 0; i < bytes; i++)
			CHECK(own.data[12345 + i] == (unsigned char)(i * 7 + i / 4096));
		memset(own.data, 0, DATA_BYTES);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, DATA, 999, own.data, bytes), 0);
		CHECK_RETURNS(complete(), 0);
		for (size_t i = 0; i < bytes; i++)
			CHECK(own.data[i] == (unsigned char)((i + 999) * 7 + (i + 999) / 4096));
		CHECK(own.data[bytes] == 0);
	}
	stop_node();
}

static void operations_larger_than_a_message_are_split(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_large);
}

static void operations_over_chunks_of_memory_are_split_and_so_are_long_reads(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant = (struct variant){.chunk_bytes = (uint64_t)2 << 20, .read_bytes = (uint64_t)256 << 10};
	run_nodes(2, TIMEOUT_NS, -1, check_large);
}

/* Node 1 has another job's key. */
static void check_strangers(void)
{
	if (own.node == 0) {
		int error = ops->post_read(own.transport, lane(), 1, DATA, 0, lane()->scratch, 8);

		CHECK_RETURNS(error, -EHOSTDOWN);
		/* Ourselves we reach. */
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), 0);
	}
	stop_node();
}

static void a_node_without_the_key_of_the_job_cannot_connect(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant.wrong_key = 1;
	run_nodes(2, 2 * SECOND_NS, -1, check_strangers);
}

static void check_many(void)
{
	enum { MANY = 5000 };
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;
	int peer = (own.node + 1) % world->nodes;

	uint64_t *values = (uint64_t *)(void *)(own.data + (4 << 20));

	for (uint64_t i = 0; i < MANY; i++) {
		values[i] = i;
		CHECK_RETURNS(ops->post_write(own.transport, lane(), i % 5 ? peer : own.node, DATA, i * 8,
					      &values[i], 8),
			      0);
	}
	for (uint64_t i = 0; i < MANY; i++)
		CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), peer, WORDS, 0, 1, &old[i % 2]), 0);
	CHECK_RETURNS(complete(), 0);
	CHECK(old[1] == MANY - 1);
	meet();
	/* Both nodes wrote the same everywhere. */
	for (uint64_t i = 0; i < MANY; i++)
		CHECK(memcmp(own.data + i * 8, &i, 8) == 0);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), own.node, WORDS, 0, old, 8), 0);
	CHECK_RETURNS(complete(), 0);
	CHECK(old[0] == MANY);
	stop_node();
}

static void thousands_of_posts_need_no_complete_between_them(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_many);
}

/* --- order --------------------------------------------------------------------------------------------- */

/* Several packets. Bytes, for while it is written a longer word may be read half old and half new. */
#define PAGE_BYTES ((size_t)16384)
#define ROUNDS 255u /* the most that a byte holds */

static void write_versions(void)
{
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;

	for (unsigned round = 1; round <= ROUNDS; round++) {
		memset(own.data, (int)round, PAGE_BYTES);
		CHECK_RETURNS(ops->post_write(own.transport, lane(), 0, DATA, 0, own.data, PAGE_BYTES), 0);
		CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), 0, WORDS, 0, 1, old), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK(*old == round - 1);
	}
	atomic_store(&world->stop, 1);
}

static void read_versions(void)
{
	uint64_t *version = (uint64_t *)(void *)lane()->scratch;
	/* Not where the writer writes on node 0. */
	const unsigned char *page = own.data + 65536;
	uint64_t reads = 0, changes = 0, newer = 0, last = 0;

	for (bool more = true; more; reads++) {
		more = !atomic_load(&world->stop);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, WORDS, 0, version, 8), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, 0, own.data + 65536, PAGE_BYTES),
			      0);
		CHECK_RETURNS(complete(), 0);
		for (size_t i = 0; i < PAGE_BYTES; i++)
			CHECK(page[i] >= *version);
		CHECK(*version >= last);
		changes += *version != last;
		newer += page[0] > *version;
		last = *version;
	}
	CHECK(last == ROUNDS);
	printf("node %d: %llu reads, %llu new versions, %llu times the data were newer than the version\n",
	       own.node, (unsigned long long)reads, (unsigned long long)changes, (unsigned long long)newer);
	fflush(stdout);
}

static void check_publication(void)
{
	if (own.node == 1)
		write_versions();
	else
		read_versions();
	stop_node();
}

static void data_are_no_older_than_the_version_read_before_them(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(3, TIMEOUT_NS, -1, check_publication);
}

static void check_overtaking(void)
{
	uint64_t *before = (uint64_t *)(void *)lane()->scratch;
	uint64_t *copy = (uint64_t *)(void *)(own.data + 65536);
	int peer = (own.node + 1) % world->nodes;

	for (uint64_t round = 0; round < 1000; round++) {
		uint64_t next = round + 1;

		/* A long read, so that what follows has time to overtake it; it ends with the word that is
		 * written. */
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, DATA, 0, copy, 16384), 0);
		before[4] = next;
		CHECK_RETURNS(ops->post_write(own.transport, lane(), peer, DATA, 16376, &before[4], 8), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, 64, &before[0], 8), 0);
		CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), peer, WORDS, 64, 1, &before[1]), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, 64, &before[2], 8), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, DATA, 16376, &before[3], 8), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK(copy[2047] == round);
		CHECK(before[0] == round && before[1] == round && before[2] == next && before[3] == next);
	}
	stop_node();
}

static void nothing_overtakes_a_read(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_overtaking);
}

static void nothing_overtakes_what_goes_another_way(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant.mixed = true;
	run_nodes(3, TIMEOUT_NS, -1, check_overtaking);
}

static void near_and_far_nodes_see_no_data_older_than_its_version(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant.mixed = true;
	run_nodes(3, TIMEOUT_NS, -1, check_publication);
}

/* Takes a lock word by compare-and-swap, adds one to a word with a read and a write, and lets the lock go. */
static void *count_up(void *argument)
{
	struct lane *l = argument;
	uint64_t *old = (uint64_t *)(void *)l->scratch;

	for (int i = 0; i < 100; i++) {
		CHECK_RETURNS(ops->post_fetch_add(own.transport, l, 0, WORDS, 128, 1, old), 0);
		do {
			sched_yield();
			CHECK_RETURNS(ops->post_compare_swap(own.transport, l, 0, WORDS, 136, 0, 1, old), 0);
			CHECK_RETURNS(ops->complete(own.transport, l), 0);
		} while (*old != 0);
		CHECK_RETURNS(ops->post_read(own.transport, l, 0, DATA, 0, old, 8), 0);
		CHECK_RETURNS(ops->complete(own.transport, l), 0);
		++*old;
		CHECK_RETURNS(ops->post_write(own.transport, l, 0, DATA, 0, old, 8), 0);
		CHECK_RETURNS(ops->post_compare_swap(own.transport, l, 0, WORDS, 136, 1, 0, old + 1), 0);
		CHECK_RETURNS(ops->complete(own.transport, l), 0);
		CHECK(old[1] == 1);
	}
	return NULL;
}

static void check_atomics(void)
{
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, count_up, &own.lanes[1]) == 0);
	count_up(&own.lanes[0]);
	CHECK(pthread_join(thread, NULL) == 0);
	meet();
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, WORDS, 128, &old[0], 8), 0);
	CHECK_RETURNS(ops->post_read(own.transport, lane(), 0, DATA, 0, &old[1], 8), 0);
	CHECK_RETURNS(complete(), 0);
	CHECK(old[0] == 100u * LANES * (unsigned)world->nodes);
	CHECK(old[1] == 100u * LANES * (unsigned)world->nodes);
	stop_node();
}

static void atomics_of_all_nodes_and_lanes_exclude_each_other(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_atomics);
}

static void atomics_of_near_and_far_nodes_exclude_each_other(void **state)
{
	(void)state;
	NEED_DEVICE();
	next_variant.mixed = true;
	run_nodes(3, TIMEOUT_NS, -1, check_atomics);
}

/* --- failure ------------------------------------------------------------------------------------------- */

#define VICTIM 2

static void check_loss(void)
{
	/* Lane 0 of node 0 has a queue pair to it, no other has. */
	if (own.node == 0) {
		CHECK_RETURNS(ops->post_read(own.transport, lane(), VICTIM, DATA, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), 0);
	}
	meet();
	if (own.node == VICTIM) {
		raise(SIGKILL);
	} else {
		/* Node 0 meets the dying process, which refuses; node 1 the dead one, which does not answer.
		 */
		if (own.node == 1)
			sleep(2);

		double start = seconds_now();
		int error;

		do {
			error = ops->post_read(own.transport, lane(), VICTIM, DATA, 0, lane()->scratch, 8);
			if (!error)
				error = complete();
		} while (!error);
		printf("node %d: the loss of a peer shows after %.2f s of %.1f s\n", own.node,
		       seconds_now() - start, (double)world->timeout_ns / SECOND_NS);
		fflush(stdout);
		CHECK_RETURNS(error, -EHOSTDOWN);
		CHECK(seconds_now() - start < (double)world->timeout_ns / SECOND_NS);

		/* From now on at once, on every lane. */
		start = seconds_now();
		CHECK_RETURNS(ops->post_read(own.transport, lane(), VICTIM, DATA, 0, lane()->scratch, 8),
			      -EHOSTDOWN);
		CHECK_RETURNS(
		    ops->post_read(own.transport, &own.lanes[1], VICTIM, DATA, 0, own.lanes[1].scratch, 8),
		    -EHOSTDOWN);
		CHECK(seconds_now() - start < 0.5);

		/* The others are as they were. */
		memset(own.data, 'a' + own.node, 8);
		wait_for_stops(2);
		CHECK_RETURNS(
		    ops->post_read(own.transport, lane(), 1 - own.node, DATA, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK(lane()->scratch[0] == 'a' + 1 - own.node);
		wait_for_stops(4);
		ops->close(own.transport);
	}
}

static void a_peer_that_is_killed_shows_as_down_within_the_time_out(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(3, 8 * SECOND_NS, VICTIM, check_loss);
}

/* A key that the peer's device does not know: it refuses, and both ends of the queue pair go to the error
 * state. */
static void check_error_state(void)
{
	if (own.node == 0) {
		uint32_t forged = 0x7fffff00;
		struct verbs_segment segment = {
		    .address = 4096, .bytes = DATA_BYTES, .access = PEERS_READ, .keys = &forged};
		unsigned char key[64];
		double start = seconds_now();

		verbs_encode_segment(&segment, 1, DATA + 2, key);
		CHECK_RETURNS(ops->attach(own.transport, DATA + 2, 1, DATA_BYTES, key), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 1, DATA, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 1, DATA + 2, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), -EHOSTDOWN);
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 1, DATA, 0, lane()->scratch, 8),
			      -EHOSTDOWN);
		CHECK_RETURNS(ops->probe(own.transport, 1), -EHOSTDOWN);
		/* The others are as they were. */
		CHECK_RETURNS(ops->post_read(own.transport, lane(), 2, DATA, 0, lane()->scratch, 8), 0);
		CHECK_RETURNS(complete(), 0);
		CHECK_RETURNS(ops->probe(own.transport, 2), 0);
		CHECK(seconds_now() - start < (double)world->timeout_ns / SECOND_NS);
	}
	stop_node();
}

static void a_queue_pair_in_the_error_state_is_an_error_at_once(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(3, TIMEOUT_NS, -1, check_error_state);
}

/* The queue pair for greetings of this process: the linker has the transport make its queue pairs here. */
static struct ibv_qp *greeter;

/* NOLINTBEGIN(bugprone-reserved-identifier) */
struct ibv_qp *__real_ibv_create_qp(struct ibv_pd *domain, struct ibv_qp_init_attr *attr);
struct ibv_qp *__wrap_ibv_create_qp(struct ibv_pd *domain, struct ibv_qp_init_attr *attr);

struct ibv_qp *__wrap_ibv_create_qp(struct ibv_pd *domain, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp *pair = __real_ibv_create_qp(domain, attr);

	if (attr->qp_type == IBV_QPT_UD)
		greeter = pair;
	return pair;
}
/* NOLINTEND(bugprone-reserved-identifier) */

/* Both who asks for a queue pair and who is asked lose theirs for greetings, as soft-RoCE makes them when the
 * network interface is down. */
static void check_greeter(void)
{
	struct ibv_qp_attr error = {.qp_state = IBV_QPS_ERR};

	for (struct lane *l = own.lanes; l < own.lanes + LANES; l++) {
		CHECK_RETURNS(ibv_modify_qp(greeter, &error, IBV_QP_STATE), 0);
		meet();
		if (own.node == 0) {
			CHECK_RETURNS(ops->post_read(own.transport, l, 1, DATA, 0, l->scratch, 8), 0);
			CHECK_RETURNS(ops->complete(own.transport, l), 0);
		}
		meet();
	}
	stop_node();
}

static void a_queue_pair_for_greetings_that_ends_is_made_ready_again(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, check_greeter);
}

/* Not a test of anything: what the operations cost here. */
static void print_costs(void)
{
	enum { TIMES = 500 };
	uint64_t *old = (uint64_t *)(void *)lane()->scratch;

	for (int peer = 0; own.node == 0 && peer < world->nodes; peer++) {
		double before = seconds_now();

		CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, 0, old, 8), 0);
		CHECK_RETURNS(complete(), 0);
		double start = seconds_now();

		for (int i = 0; i < TIMES; i++) {
			CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, 0, old, 8), 0);
			CHECK_RETURNS(complete(), 0);
		}
		double one = seconds_now();

		for (int i = 0; i < TIMES; i++) {
			CHECK_RETURNS(ops->post_read(own.transport, lane(), peer, WORDS, 0, old, 8), 0);
			CHECK_RETURNS(
			    ops->post_read(own.transport, lane(), peer, DATA, 0, own.data + 4096, 4096), 0);
			CHECK_RETURNS(complete(), 0);
		}
		double two = seconds_now();

		for (int i = 0; i < TIMES; i++) {
			CHECK_RETURNS(ops->post_fetch_add(own.transport, lane(), peer, WORDS, 0, 1, old), 0);
			CHECK_RETURNS(complete(), 0);
		}
		double three = seconds_now();

		printf("node 0 to %d: first read, which makes the queue pair, %.0f us; read 8 bytes %.1f us; "
		       "version and 4 KiB in one chain %.1f us; "
		       "fetch_add %.1f us\n",
		       peer, (start - before) * 1e6, (one - start) / TIMES * 1e6, (two - one) / TIMES * 1e6,
		       (three - two) / TIMES * 1e6);
		fflush(stdout);
	}
	stop_node();
}

static void costs_are_printed(void **state)
{
	(void)state;
	NEED_DEVICE();
	run_nodes(2, TIMEOUT_NS, -1, print_costs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_machine_without_a_device_says_so),
	    cmocka_unit_test(a_device_port_or_gid_that_is_not_there_is_an_error),
	    cmocka_unit_test(too_little_locked_memory_is_an_error),
	    cmocka_unit_test(every_operation_reaches_every_node),
	    cmocka_unit_test(every_operation_reaches_near_and_far_nodes),
	    cmocka_unit_test(what_lies_outside_a_segment_is_refused_before_it_is_posted),
	    cmocka_unit_test(operations_larger_than_a_message_are_split),
	    cmocka_unit_test(operations_over_chunks_of_memory_are_split_and_so_are_long_reads),
	    cmocka_unit_test(a_node_without_the_key_of_the_job_cannot_connect),
	    cmocka_unit_test(thousands_of_posts_need_no_complete_between_them),
	    cmocka_unit_test(data_are_no_older_than_the_version_read_before_them),
	    cmocka_unit_test(nothing_overtakes_a_read),
	    cmocka_unit_test(nothing_overtakes_what_goes_another_way),
	    cmocka_unit_test(near_and_far_nodes_see_no_data_older_than_its_version),
	    cmocka_unit_test(atomics_of_all_nodes_and_lanes_exclude_each_other),
	    cmocka_unit_test(atomics_of_near_and_far_nodes_exclude_each_other),
	    cmocka_unit_test(a_peer_that_is_killed_shows_as_down_within_the_time_out),
	    cmocka_unit_test(a_queue_pair_in_the_error_state_is_an_error_at_once),
	    cmocka_unit_test(a_queue_pair_for_greetings_that_ends_is_made_ready_again),
	    cmocka_unit_test(costs_are_printed),
	};

	world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
