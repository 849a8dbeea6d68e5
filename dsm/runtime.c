/*
 * dsm_init() and dsm_finalize(): builds the runtime up in layers, and takes it down in the reverse order.
 */
#include "dsm/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsm/barrier.h"
#include "dsm/bootstrap.h"
#include "dsm/build_id.h"
#include "dsm/card.h"
#include "dsm/change_log.h"
#include "dsm/collective.h"
#include "dsm/delivery.h"
#include "dsm/destroyed.h"
#include "dsm/fault.h"
#include "dsm/hash.h"
#include "dsm/heap.h"
#include "dsm/home_writes.h"
#include "dsm/lane.h"
#include "dsm/lock_queue.h"
#include "dsm/lock_table.h"
#include "dsm/peers.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/topology.h"
#include "dsm/trace.h"

struct runtime runtime;

const char *dsm_version(void)
{
	return MINORCA_VERSION;
}

int dsm_node(void)
{
	return runtime.started ? runtime.node : -EINVAL;
}

int dsm_nodes(void)
{
	return runtime.started ? runtime.nodes : -EINVAL;
}

struct dsm_region *runtime_find_region(const void *address)
{
	for (unsigned id = 0; id < REGIONS_MAX; id++) {
		struct dsm_region *r = atomic_load_explicit(&runtime.regions[id], memory_order_acquire);
		if (r && (size_t)((const unsigned char *)address - r->app) < r->bytes)
			return r;
	}
	return NULL;
}

bool runtime_speaks_for_host(void)
{
	for (int i = 0; i < runtime.node; i++)
		if (runtime.hosts[i] == runtime.hosts[runtime.node])
			return false;
	return true;
}

void runtime_block_signals(void *saved)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, saved);
}

void runtime_unblock_signals(const void *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* --- who we are ---------------------------------------------------------------------------------------- */

/*
 * Equal for processes that can open each other's memory: one kernel, one PID namespace, one user.
 */
static uint64_t host_identity(void)
{
	char text[128] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, text, sizeof text - 1) < 0)
			text[0] = 0;
		close(fd);
	}
	uint64_t h = hash_text(HASH_START, text);
	if (readlink("/proc/self/ns/pid", text, sizeof text - 1) > 0)
		h = hash_text(h, text);
	snprintf(text, sizeof text, "%u", (unsigned)geteuid());
	return hash_text(h, text);
}

static int fill_card(struct card *card)
{
	size_t count;
	const struct setting *table = settings_table(&count);
	char numa_nodes[256];

	memset(card, 0, sizeof *card);
	if (getrandom(card->job_key, sizeof card->job_key, 0) != (ssize_t)sizeof card->job_key)
		return -errno;
	snprintf(card->build, sizeof card->build, "%s %s", MINORCA_VERSION, MINORCA_BUILD_ID);
	card->host = host_identity();
	topology_numa_nodes(runtime.topology, numa_nodes, sizeof numa_nodes);
	card->place = hash_text(HASH_START, numa_nodes);
	card->bytes = sizeof *card;
	for (size_t i = 0; i < count && i < CARD_SETTINGS_MAX; i++)
		if (table[i].same_on_all_nodes)
			setting_format(&table[i], &runtime.settings, card->settings[i], CARD_SETTING_BYTES);
	return 0;
}

static int exchange_cards(uint64_t *job_key)
{
	struct card mine, *all = calloc((size_t)runtime.nodes, sizeof *all);
	char message[512];

	runtime.hosts = calloc((size_t)runtime.nodes, sizeof *runtime.hosts);
	int error = runtime.hosts ? fill_card(&mine) : -ENOMEM;

	error = bootstrap_agree("dsm_init()", error, "no memory or no random numbers");
	if (!error)
		error = bootstrap_gather("dsm_init()", &mine, all, sizeof mine);
	if (!error && all) {
		for (int i = 0; i < runtime.nodes; i++)
			runtime.hosts[i] = all[i].host;
		memcpy(job_key, all[0].job_key, sizeof all[0].job_key);
		for (int i = 0; i < runtime.node; i++)
			runtime.turn += all[i].host == mine.host && all[i].place == mine.place;
		error = card_compare(&mine, &all[0], message, sizeof message);
		error = bootstrap_agree("dsm_init()", error, message);
	}
	free(all);
	return error;
}

/* --- what the kernel can do ----------------------------------------------------------------------------- */

static int check_kernel(char *message, size_t bytes)
{
	kernel_probe(runtime.kernel);
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		const struct kernel_feature_status *f = &runtime.kernel[i];
		if (!f->required || f->available)
			continue;
		snprintf(message, bytes, "this kernel or user lacks %s (Linux %s), needed for %s: %s; %s",
			 f->name, f->since, f->purpose,
			 f->error ? strerror(-f->error) : "the kernel does not have it", f->remedy);
		return f->error == -EPERM || f->error == -EACCES ? -EPERM : -EOPNOTSUPP;
	}
	return 0;
}

static void tell_what_is_lost(void)
{
	if (!runtime.kernel[KERNEL_UFFD_CONTINUE_WP].available && runtime_speaks_for_host())
		report("this kernel cannot map a page write-protected (UFFDIO_CONTINUE_MODE_WP, Linux 6.4): "
		       "every page that is "
		       "touched counts as written and costs a twin");
}

/* --- transport ----------------------------------------------------------------------------------------- */

static const struct transport_ops *choose_transport(char *message, size_t bytes)
{
	int stranger = -1;

	for (int i = 0; i < runtime.nodes && stranger < 0; i++)
		if (runtime.hosts[i] != runtime.hosts[runtime.node])
			stranger = i;
	if (runtime.settings.transport == TRANSPORT_VERBS)
		return &transport_verbs;
	if (runtime.settings.transport == TRANSPORT_MIXED)
		return &transport_mixed;
	if (stranger < 0)
		return &transport_shm;
	if (runtime.settings.transport == TRANSPORT_AUTO)
		return &transport_mixed;
	snprintf(message, bytes,
		 "MINORCA_TRANSPORT=shm, but node %d is on another machine (or in another PID namespace, or "
		 "another user); use "
		 "auto, mixed or verbs",
		 stranger);
	return NULL;
}

__attribute__((weak)) const struct transport_ops *transport_choose_hook(const struct transport_ops *chosen)
{
	return chosen;
}

/* Makes every peer known, and us. */
static int connect_peers(const struct transport_address *own)
{
	struct transport_address *all = calloc((size_t)runtime.nodes, sizeof *all);
	int error = bootstrap_gather("dsm_init()", own, all, sizeof *own);

	for (int peer = 0; all && peer < runtime.nodes && !error; peer++)
		error = runtime.ops->connect(runtime.transport, peer, &all[peer]);
	free(all);
	return bootstrap_agree("dsm_init()", error, NULL);
}

static int open_transport(const uint64_t *job_key)
{
	char message[512];
	struct transport_address own = {0};
	struct transport_config config = {
	    .node = runtime.node,
	    .nodes = runtime.nodes,
	    .lanes = lanes_count(),
	    .scratch_bytes = LANE_SCRATCH_BYTES,
	    .scratch = lanes_scratch(),
	    .timeout_ns = runtime.settings.timeout_ns,
	    .device = runtime.settings.verbs_device[0] ? runtime.settings.verbs_device : NULL,
	    .port = (int)runtime.settings.verbs_port,
	    .gid_index = (int)runtime.settings.verbs_gid,
	    .chunk_bytes = runtime.settings.verbs_chunk_bytes,
	    .read_bytes = runtime.settings.verbs_read_bytes,
	    .job_key = {job_key[0], job_key[1]},
	    .hosts = runtime.hosts,
	    .topology = runtime.topology,
	    .turn = runtime.turn,
	};

	runtime.ops = choose_transport(message, sizeof message);
	if (runtime.ops)
		runtime.ops = transport_choose_hook(runtime.ops);
	int error = bootstrap_agree("dsm_init()", runtime.ops ? 0 : -ENODEV, message);
	if (error)
		return error;
	report_capture(message, sizeof message); /* on a cluster without a device, one node says so */
	error = runtime.ops->open(&config, &runtime.transport, &own);
	report_capture(NULL, 0);
	if (error)
		runtime.transport = NULL;
	error = bootstrap_agree("dsm_init()", error, message);
	return error ? error : connect_peers(&own);
}

/* For bootstrap.c. Who has lost this node does not come, either. */
static bool watch_node(int node, bool ask)
{
	if (ask)
		peers_ask(node);
	return peers_is_lost(node) || peers_is_lost(runtime.node);
}

/* What nodes share besides regions. */
static int open_node_segments(void)
{
	int error = peers_create();

	if (!error)
		error = barrier_create();
	if (!error)
		error = change_log_create((unsigned)runtime.nodes, runtime.settings.log_entries);
	if (!error)
		error = lock_queue_create();
	if (!error)
		error = collective_create();
	error = bootstrap_agree("dsm_init()", error,
				error ? "cannot make the words that nodes share: out of memory" : NULL);
	if (!error)
		error = peers_connect();
	if (!error)
		error = barrier_connect();
	if (!error)
		error = change_log_connect();
	if (!error)
		error = lock_queue_connect();
	if (!error)
		error = collective_connect();
	return error;
}

/* --- up and down --------------------------------------------------------------------------------------- */

/* What this node needs before it can talk of itself: nothing here waits for others. */
static int prepare_node(char *message, size_t bytes)
{
	int error = check_kernel(message, bytes);

	if (error)
		return error;
	error = topology_create(&runtime.topology);
	if (!error)
		error = lanes_create((unsigned)runtime.settings.lanes);
	if (error)
		snprintf(message, bytes, "cannot read the machine's topology or make %" PRIu64 " lanes: %s",
			 runtime.settings.lanes, strerror(-error));
	return error;
}

static void tear_down(void)
{
	fault_uninstall();
	regions_release_all();
	destroyed_forget_all();
	home_writes_close();
	twins_release_kept();
	delivery_close_all();
	if (runtime.transport)
		runtime.ops->close(runtime.transport);
	bootstrap_watch(NULL);
	peers_destroy();
	collective_destroy();
	lock_queue_destroy();
	lock_table_clear();
	change_log_destroy();
	heap_destroy();
	barrier_destroy();
	lanes_destroy();
	if (runtime.topology)
		topology_destroy(runtime.topology);
	free(runtime.hosts);
	memset(&runtime, 0, sizeof runtime);
}

static int start(char *parse_error, int parsed)
{
	char message[1024];
	uint64_t job_key[2];
	int error = bootstrap_agree("dsm_init()", parsed, parse_error);

	if (error)
		return error;
	error = bootstrap_agree("dsm_init()", prepare_node(message, sizeof message), message);
	if (!error)
		error = exchange_cards(job_key);
	if (!error)
		error = open_transport(job_key);
	if (!error)
		error = open_node_segments();
	if (error)
		return error;
	bootstrap_watch(watch_node);
	tell_what_is_lost();
	/* Last: MPI and UCX install handlers of their own when they start; ours comes after them. */
	return bootstrap_agree("dsm_init()", fault_install(), "cannot install a handler for SIGBUS");
}

int dsm_init(int *argc, char ***argv)
{
	char parse_error[512];
	struct settings settings;
	int saved_errno = errno;

	if (runtime.started)
		return -EALREADY;
	/* Before MPI, which may change the environment; told after, when there is somebody to agree with. */
	int parsed = settings_parse(environ, &settings, parse_error, sizeof parse_error);
	uint64_t timeout_ns = parsed ? 10000000000u : settings.timeout_ns;
	int error = bootstrap_open(argc, argv, timeout_ns, &runtime.node, &runtime.nodes, &runtime.owns_mpi);
	if (!error) {
		if (!parsed)
			runtime.settings = settings;
		error = start(parse_error, parsed);
	}
	if (!error) {
		runtime.started = true; /* the heap's regions are made as any */
		error = heap_create();
	}
	if (!error)
		trace_open();
	if (error) {
		bool owns_mpi = runtime.owns_mpi;
		tear_down();
		bootstrap_close(owns_mpi, error != -ETIMEDOUT && error != -EHOSTDOWN);
	}
	errno = saved_errno;
	return error;
}

static void print_statistics(void)
{
	struct dsm_stats s;

	dsm_stats(&s);
	report("faults %" PRIu64 " (read %" PRIu64 ", write %" PRIu64 ", upgrade %" PRIu64
	       "), pages current %" PRIu64 ", partial %" PRIu64 ", full %" PRIu64 ", zero %" PRIu64
	       ", fetched %" PRIu64 " bytes, published %" PRIu64 " bytes in %" PRIu64
	       " pages, invalidated %" PRIu64 " pages, %" PRIu64 " barriers, waited %.3f s in them",
	       s.faults, s.faults_read, s.faults_write, s.faults_upgrade, s.pages_current, s.pages_partial,
	       s.pages_full, s.pages_zero, s.bytes_fetched, s.bytes_published, s.pages_published,
	       s.pages_invalidated, s.barriers, (double)s.barrier_wait_ns / 1e9);
	if (s.rdma_requests)
		report("RDMA: %" PRIu64 " requests by %" PRIu64 " doorbells, %" PRIu64
		       " completions, %" PRIu64 " queue pairs",
		       s.rdma_requests, s.rdma_doorbells, s.rdma_completions, s.rdma_queue_pairs);
}

int dsm_finalize(void)
{
	int saved_errno = errno;

	if (!runtime.started)
		return -EINVAL;
	/* Peers may still be reading our memory. Those that are lost are not waited for. */
	int error = bootstrap_agree("dsm_finalize()", 0, NULL);
	if (runtime.settings.print_stats)
		print_statistics();
	trace_close();
	bool owns_mpi = runtime.owns_mpi;
	tear_down();
	bootstrap_close(owns_mpi, !error);
	errno = saved_errno;
	return error;
}
