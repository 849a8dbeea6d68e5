/*
 * The shm transport: peers on this machine, whose memory files are mapped here. A read is a memcpy.
 *
 * A peer's file is opened through /proc/PID/fd/N: nothing has a name that could be left behind, and only this
 * user may. Its key says which file that must be: PIDs are used again, and a peer may be wrong.
 *
 * Order (see transport.h). Every operation is done when post returns. Reads are posted in program order with
 * an acquire fence after each, writes with a release fence before each, so a reader that sees a word written
 * later sees the bytes written before it; fetch_add and compare_swap are sequentially consistent. (memcpy()
 * of large blocks may use non-temporal stores; it ends with an sfence.)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dsm/report.h"
#include "dsm/transport.h"
#include "kernel/memory.h"

struct view {
	unsigned char *base;
	size_t bytes;
	unsigned access; /* PEERS_* */
	bool mapped_by_us;
	bool words; /* nothing but words: copied word by word */
};

struct transport {
	struct transport_config config;
	struct view *views; /* [segment * nodes + peer] */
	int *processes;	    /* [peer]: pidfd, readable once the process has ended; -1: not connected */
};

/* A process, so that another that got its number later is not taken for it. */
struct shm_address {
	int32_t pid;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};

_Static_assert(sizeof(struct shm_address) <= TRANSPORT_ADDRESS_BYTES, "an address fits");

struct shm_key {
	int32_t pid, fd;
	uint64_t bytes;
	struct memory_identity file;
	uint32_t words, access;
};

static struct view *view_of(struct transport *t, int peer, unsigned segment)
{
	return &t->views[(size_t)segment * (size_t)t->config.nodes + (size_t)peer];
}

/* When a process was started, in clock ticks since the machine was; 0: there is no such process. */
static uint64_t start_ticks(int pid)
{
	char path[64], text[1024];
	uint64_t ticks = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t bytes = read(fd, text, sizeof text - 1);
	close(fd);
	text[bytes > 0 ? bytes : 0] = 0;
	/* Field 2 is the name in parentheses, which may hold anything; field 3 follows its last one. */
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtoull(at, NULL, 10);
	return ticks;
}

static int shm_open_transport(const struct transport_config *config, struct transport **out,
			      struct transport_address *address)
{
	struct transport *t = calloc(1, sizeof *t);

	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->views = calloc((size_t)config->nodes * SEGMENTS_MAX, sizeof *t->views);
	t->processes = calloc((size_t)config->nodes, sizeof *t->processes);
	if (!t->views || !t->processes) {
		free(t->views);
		free(t->processes);
		free(t);
		return -ENOMEM;
	}
	for (int peer = 0; peer < config->nodes; peer++)
		t->processes[peer] = -1;
	struct shm_address own = {(int32_t)getpid(), start_ticks(getpid())};
	memset(address, 0, sizeof *address);
	memcpy(address, &own, sizeof own);
	*out = t;
	return 0;
}

static bool shm_is_near(const struct transport *t, int peer)
{
	(void)t, (void)peer;
	return true;
}

/* The process is the right one if it is after the descriptor was had: the descriptor stays with it. */
static int shm_connect(struct transport *t, int peer, const struct transport_address *encoded)
{
	struct shm_address address;

	memcpy(&address, encoded, sizeof address);
	int fd = (int)syscall(SYS_pidfd_open, address.pid, 0);
	int error = fd < 0 ? -errno : start_ticks(address.pid) != address.start_ticks ? -EHOSTDOWN : 0;
	if (error) {
		report("node %d, process %d, cannot be watched: %s; nodes of one machine must run in one PID "
		       "namespace, and Linux 5.3 or newer is needed",
		       peer, (int)address.pid, strerror(-error));
		if (fd >= 0)
			close(fd);
		return error;
	}
	t->processes[peer] = fd;
	return 0;
}

static int shm_probe(struct transport *t, int peer)
{
	struct pollfd process = {.fd = t->processes[peer], .events = POLLIN};
	int saved_errno = errno, ended = process.fd >= 0 && poll(&process, 1, 0) == 1;

	errno = saved_errno;
	return ended ? -EHOSTDOWN : 0;
}

static size_t shm_key_bytes(struct transport *t, size_t bytes)
{
	(void)t, (void)bytes;
	return sizeof(struct shm_key);
}

static int shm_expose(struct transport *t, unsigned id, const struct segment_memory *memory, void *out)
{
	struct shm_key key = {.pid = (int32_t)getpid(),
			      .fd = memory->fd,
			      .bytes = memory->bytes,
			      .words = memory->words,
			      .access = memory->access};
	int error = memory_file_identity(memory->fd, &key.file);

	if (error) {
		report("cannot look at this node's own memory file: %s", strerror(-error));
		return error;
	}
	memcpy(out, &key, sizeof key);
	*view_of(t, t->config.node, id) =
	    (struct view){memory->base, memory->bytes, memory->access, false, memory->words};
	return 0;
}

static void report_peer(const struct shm_key *key, int peer, int error)
{
	if (error == -ESTALE)
		report("descriptor %d of process %d is not the memory that node %d says it is; has the node "
		       "died, and its "
		       "number been given to another process?",
		       key->fd, key->pid, peer);
	else
		report("cannot open the memory of node %d (/proc/%d/fd/%d): %s; nodes of one machine must "
		       "run as one "
		       "user, in one PID namespace",
		       peer, key->pid, key->fd, strerror(-error));
}

static int map_peer(const struct shm_key *key, int peer, unsigned char **base)
{
	void *memory;
	int fd = memory_file_open(key->pid, key->fd, &key->file, key->bytes);

	if (fd < 0) {
		report_peer(key, peer, fd);
		return fd == -ESTALE ? -EPROTO : fd;
	}
	int error = memory_map(fd, key->bytes, NULL, &memory);
	close(fd);
	if (error)
		report("cannot map %llu bytes of node %d: %s; see `ulimit -v` and vm.max_map_count",
		       (unsigned long long)key->bytes, peer, strerror(-error));
	else
		*base = memory;
	return error;
}

static int shm_attach(struct transport *t, unsigned id, int peer, size_t bytes, const void *encoded)
{
	struct view *view = view_of(t, peer, id);
	const struct view *own = view_of(t, t->config.node, id);
	struct shm_key key;

	if (peer == t->config.node)
		return 0; /* expose() has it */
	memcpy(&key, encoded, sizeof key);
	/* A segment has the same size and use on every node. */
	if (key.bytes != bytes || !own->bytes || bytes != own->bytes || key.words != own->words ||
	    key.access != own->access) {
		report("node %d tells of a segment %u of %llu bytes; here it has %zu", peer, id,
		       (unsigned long long)key.bytes, own->bytes);
		return -EPROTO;
	}
	int error = map_peer(&key, peer, &view->base);
	if (error)
		return error;
	view->bytes = key.bytes;
	view->access = key.access;
	view->mapped_by_us = true;
	view->words = key.words;
	return 0;
}

static void shm_detach(struct transport *t, unsigned id)
{
	for (int peer = 0; peer < t->config.nodes; peer++) {
		struct view *view = view_of(t, peer, id);
		if (view->mapped_by_us)
			munmap(view->base, view->bytes);
		*view = (struct view){0};
	}
}

/* Where an operation goes, or NULL if it is not within the segment, or not for peers. */
static unsigned char *target(struct transport *t, int peer, unsigned segment, uint64_t offset, size_t bytes,
			     unsigned access)
{
	const struct view *view = view_of(t, peer, segment);

	if (!(view->access & access) || offset > view->bytes || bytes > view->bytes - offset)
		return NULL;
	return view->base + offset;
}

/* Words that others may store to or add to meanwhile: in segments of words, and one by itself anywhere. */
static bool are_words(const struct view *view, uint64_t offset, const void *local, size_t bytes)
{
	return (view->words || bytes == sizeof(uint64_t)) && !(offset % sizeof(uint64_t)) &&
	       !(bytes % sizeof(uint64_t)) && !((uintptr_t)local % sizeof(uint64_t));
}

/* A word is read whole: memcpy() promises that of bytes only. */
static void copy_words(uint64_t *to, const uint64_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
}

static int shm_read(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		    void *local, size_t bytes)
{
	const unsigned char *from = target(t, peer, segment, offset, bytes, PEERS_READ);

	(void)lane;
	if (!from)
		return -EINVAL;
	if (are_words(view_of(t, peer, segment), offset, local, bytes))
		copy_words(local, (const uint64_t *)(const void *)from, bytes / sizeof(uint64_t));
	else
		memcpy(local, from, bytes);
	atomic_thread_fence(memory_order_acquire); /* pairs with the release in shm_write() and the atomics */
	return 0;
}

static int shm_write(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		     const void *local, size_t bytes)
{
	unsigned char *to = target(t, peer, segment, offset, bytes, PEERS_WRITE);

	(void)lane;
	if (!to)
		return -EINVAL;
	atomic_thread_fence(
	    memory_order_release); /* pairs with the acquire in shm_read(), or of who polls the word */
	if (are_words(view_of(t, peer, segment), offset, local, bytes))
		for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
			__atomic_store_n((uint64_t *)(void *)to + i, ((const uint64_t *)local)[i],
					 __ATOMIC_RELEASE);
	else
		memcpy(to, local, bytes);
	return 0;
}

static int shm_fetch_add(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
			 uint64_t add, uint64_t *old)
{
	unsigned char *word = target(t, peer, segment, offset, sizeof(uint64_t), PEERS_ATOMIC);

	(void)lane;
	if (!word || offset % sizeof(uint64_t))
		return -EINVAL;
	*old = __atomic_fetch_add((uint64_t *)(void *)word, add, __ATOMIC_SEQ_CST);
	return 0;
}

static int shm_compare_swap(struct transport *t, struct lane *lane, int peer, unsigned segment,
			    uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old)
{
	unsigned char *word = target(t, peer, segment, offset, sizeof(uint64_t), PEERS_ATOMIC);

	(void)lane;
	if (!word || offset % sizeof(uint64_t))
		return -EINVAL;
	__atomic_compare_exchange_n((uint64_t *)(void *)word, &expected, desired, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	*old = expected; /* the value that was found, either way */
	return 0;
}

static int shm_complete(struct transport *t, struct lane *lane)
{
	(void)t, (void)lane;
	return 0;
}

/* Through the mapping, so that the peer's file need not stay open here: a descriptor for each peer and region
 * would be many. */
static int shm_populate(struct transport *t, int peer, unsigned segment, uint64_t offset, size_t bytes)
{
	unsigned char *memory = target(t, peer, segment, offset, bytes, PEERS_WRITE);
	int saved_errno = errno, error;

	if (!memory)
		return -EINVAL;
	do
		error = madvise(memory, bytes, MADV_POPULATE_WRITE) ? -errno : 0;
	while (error == -EINTR);
	errno = saved_errno;
	/* madvise(2): EFAULT is what would have been a SIGBUS. */
	return error == -EFAULT ? -ENOSPC : error;
}

static void shm_close(struct transport *t)
{
	for (unsigned id = 0; id < SEGMENTS_MAX; id++)
		shm_detach(t, id);
	for (int peer = 0; peer < t->config.nodes; peer++)
		if (t->processes[peer] >= 0)
			close(t->processes[peer]);
	free(t->processes);
	free(t->views);
	free(t);
}

const struct transport_ops transport_shm = {
    .name = "shm",
    .memory_outlives_process = true,
    .writes_from_anywhere = true,
    .open = shm_open_transport,
    .connect = shm_connect,
    .is_near = shm_is_near,
    .key_bytes = shm_key_bytes,
    .expose = shm_expose,
    .attach = shm_attach,
    .detach = shm_detach,
    .post_read = shm_read,
    .post_write = shm_write,
    .post_fetch_add = shm_fetch_add,
    .post_compare_swap = shm_compare_swap,
    .complete = shm_complete,
    .populate = shm_populate,
    .probe = shm_probe,
    .close = shm_close,
};
