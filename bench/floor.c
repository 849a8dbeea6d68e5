/*
 * The floor. See floor.h. The path of a fault is resolve() and what leads to it; the rest is set-up.
 */
#include "bench/floor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bare_verbs.h"
#include "bench/timer.h"
#include "dsm/topology.h"
#include "kernel/memory.h"
#include "kernel/uffd.h"

/* The wait of a spinning handler is that of the runtime: no yielding, and after so long without a fault it
 * sleeps. */
#define SPIN_IDLE_NS 2000000

#define TWIN_ALIGNMENT ((size_t)2 << 20)

struct floor {
	/* Immutable after floor_create(). */
	size_t page_bytes, pages, bytes;
	enum floor_delivery delivery;
	const struct topology *topology;
	int handler_pu;
	int fd, uffd;
	char *app, *alias;
	char *twins; /* one for each page */
	char *source;
	struct bare *bare; /* NULL: copies come from `source` */

	/* Changed while nobody may fault. */
	struct bare_memory exposed;

	/* Of the round; not changed while anybody may fault. */
	unsigned int work;
	struct pattern pattern;
	struct sigaction previous; /* inline, while listening */

	/* Handler thread. */
	pthread_t thread;
	bool has_thread;
	int wake; /* eventfd: ends a poll() */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool listening; /* changed under the lock */
	bool parked;	       /* under the lock: the thread has seen that it is not */
	bool ending;	       /* under the lock */
};

/* For the signal handler: the object that listens. */
static struct floor *inline_floor;

/* --- the fault ----------------------------------------------------------------------------------------- */

/* Of a version. */
#define WORD_BYTES sizeof(uint64_t)

/* The lane of whoever reads. The handler thread has the last; those that fault keep one each, for good. */
static unsigned int lane_of(const struct floor *f)
{
	static atomic_uint given;
	static _Thread_local unsigned int own; /* 0: none yet */

	if (f->has_thread && pthread_equal(pthread_self(), f->thread))
		return bare_lanes(f->bare) - 1;
	if (!own)
		own = atomic_fetch_add(&given, 1) + 1;
	return own - 1;
}

static struct bare_request read_request(const struct floor *f, size_t at, size_t bytes)
{
	return (struct bare_request){
	    .opcode = IBV_WR_RDMA_READ,
	    .local = f->alias + at,
	    .bytes = bytes,
	    .offset = at,
	};
}

/* One chain, one completion. */
static int read_requests(struct floor *f, const struct bare_request *requests, unsigned int count)
{
	unsigned int lane = lane_of(f);
	int error = bare_post(f->bare, lane, 0, &f->exposed, requests, count);

	return error ? error : bare_wait(f->bare, lane);
}

/* A page of 2 MiB is one request; some devices carry little more. */
#define READ_MOST ((size_t)2 << 20)

static int read_range(struct floor *f, size_t at, size_t bytes)
{
	struct bare_request requests[BARE_CHAIN_MOST];
	int error = 0;

	while (bytes && !error) {
		unsigned int count = 0;
		for (; bytes && count < BARE_CHAIN_MOST; count++) {
			size_t piece = bytes < READ_MOST ? bytes : READ_MOST;
			requests[count] = read_request(f, at, piece);
			at += piece;
			bytes -= piece;
		}
		error = read_requests(f, requests, count);
	}
	return error;
}

static int copy_range(struct floor *f, size_t at, size_t bytes)
{
	if (f->bare)
		return read_range(f, at, bytes);
	memcpy(f->alias + at, f->source + at, bytes);
	return 0;
}

static int copy_changed_blocks(struct floor *f, size_t page)
{
	const struct pattern *p = &f->pattern;
	size_t at = page * f->page_bytes, block_bytes = f->page_bytes / p->blocks;
	struct bare_request requests[BARE_CHAIN_MOST];
	int error = 0;

	if (p->changed == p->blocks)
		return copy_range(f, at, f->page_bytes);
	if (f->bare && block_bytes <= READ_MOST) {
		for (unsigned int i = 0; i < p->changed; i++)
			requests[i] =
			    read_request(f, at + pattern_block(p, page, i) * block_bytes, block_bytes);
		return read_requests(f, requests, p->changed);
	}
	for (unsigned int i = 0; i < p->changed && !error; i++)
		error = copy_range(f, at + pattern_block(p, page, i) * block_bytes, block_bytes);
	return error;
}

/* The page is held, so what is read is what is there already. */
static int ask(struct floor *f, size_t page)
{
	struct bare_request request = read_request(f, page * f->page_bytes, f->pattern.blocks * WORD_BYTES);

	return read_requests(f, &request, 1);
}

int floor_read(struct floor *f, unsigned int work, size_t page)
{
	int error = work & FLOOR_ASK ? ask(f, page) : 0;

	return work & FLOOR_COPY && !error ? copy_changed_blocks(f, page) : error;
}

static int map_page(struct floor *f, size_t at)
{
	uint64_t mode = f->work & FLOOR_TWIN ? 0 : UFFDIO_CONTINUE_MODE_WP;

	if (f->delivery == FLOOR_INLINE)
		mode |= UFFDIO_CONTINUE_MODE_DONTWAKE; /* nobody waits in the kernel */
	return uffd_continue_all(f->uffd, f->app + at, f->page_bytes, f->page_bytes, mode, NULL);
}

/* There is nothing to measure any more. Async-signal-safe. */
static _Noreturn void give_up(int error)
{
	static const char pool[] =
	    "fault_latency: floor: the pool of hugepages is empty; another program took some meanwhile\n";
	static const char other[] = "fault_latency: floor: a fault cannot be resolved: the kernel refuses, "
				    "or the home cannot be read\n";
	ssize_t written = error == -ENOSPC ? write(STDERR_FILENO, pool, sizeof pool - 1)
					   : write(STDERR_FILENO, other, sizeof other - 1);

	(void)written; /* nobody is left to be told */
	_exit(EXIT_FAILURE);
}

/* Runs in a signal handler or in the handler thread. */
static void resolve(struct floor *f, uintptr_t address)
{
	size_t page = (address - (uintptr_t)f->app) / f->page_bytes, at = page * f->page_bytes;
	int error = 0;

	if (f->work & FLOOR_ALLOCATE)
		error = memory_allocate(f->fd, at, f->page_bytes);
	if (!error)
		error = floor_read(f, f->work, page);
	if (f->work & FLOOR_TWIN)
		memcpy(f->twins + at, f->alias + at, f->page_bytes);
	if (f->work & FLOOR_MAP && !error)
		error = map_page(f, at);
	if (f->work & FLOOR_UNPROTECT)
		error = uffd_writeprotect(f->uffd, f->app + at, f->page_bytes, false);
	if (error)
		give_up(error);
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;

	(void)context;
	if (address - (uintptr_t)inline_floor->app >= inline_floor->bytes) {
		signal(signal_number, SIG_DFL); /* a real bus error: the access is tried again, and kills */
		return;
	}
	resolve(inline_floor, address);
}

/* --- the handler thread -------------------------------------------------------------------------------- */

/* Takes what has come, if anything. @return how many faults. */
static size_t take_faults(struct floor *f)
{
	struct uffd_msg messages[16];
	ssize_t bytes = read(f->uffd, messages, sizeof messages);
	size_t count = bytes > 0 ? (size_t)bytes / sizeof messages[0] : 0;

	for (size_t i = 0; i < count; i++)
		resolve(f, (uintptr_t)messages[i].arg.pagefault.address);
	return count;
}

/* Sleeps until there is a fault, or something has changed. */
static void sleep_for_faults(struct floor *f)
{
	struct pollfd fds[] = {{.fd = f->uffd, .events = POLLIN}, {.fd = f->wake, .events = POLLIN}};
	uint64_t count;

	poll(fds, 2, -1);
	if (fds[1].revents & POLLIN && read(f->wake, &count, sizeof count) < 0)
		give_up(-errno); /* nobody else reads it */
}

static void listen_to_faults(struct floor *f)
{
	uint64_t idle_since = 0; /* as the runtime's handler when a round begins: asleep since long ago */
	bool spin = f->delivery == FLOOR_THREAD_SPIN;

	while (atomic_load_explicit(&f->listening, memory_order_relaxed)) {
		if (take_faults(f))
			idle_since = timer_now_ns();
		else if (!spin || timer_now_ns() - idle_since >= SPIN_IDLE_NS)
			sleep_for_faults(f);
	}
}

/* Sleeps until there is something to listen to. @return false: the object is being destroyed. */
static bool wait_to_listen(struct floor *f)
{
	pthread_mutex_lock(&f->lock);
	f->parked = true;
	pthread_cond_broadcast(&f->changed);
	while (!atomic_load(&f->listening) && !f->ending)
		pthread_cond_wait(&f->changed, &f->lock);
	f->parked = false;
	bool go_on = !f->ending;
	pthread_mutex_unlock(&f->lock);
	return go_on;
}

static void *serve(void *argument)
{
	struct floor *f = argument;

	topology_bind_thread(f->topology, f->handler_pu);
	while (wait_to_listen(f))
		listen_to_faults(f);
	return NULL;
}

static int start_thread(struct floor *f)
{
	sigset_t all, saved;

	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int error = -pthread_create(&f->thread, NULL, serve, f);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	f->has_thread = !error;
	return error;
}

static void wake_thread(struct floor *f)
{
	const uint64_t one = 1;

	pthread_cond_broadcast(&f->changed);
	if (write(f->wake, &one, sizeof one) < 0)
		abort(); /* an eventfd of ours that is not full takes it */
}

static void stop_thread(struct floor *f)
{
	pthread_mutex_lock(&f->lock);
	f->ending = true;
	atomic_store(&f->listening, false);
	wake_thread(f);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
}

/* --- listening ----------------------------------------------------------------------------------------- */

static int take_sigbus(struct floor *f)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigfillset(&action.sa_mask);
	inline_floor = f;
	return sigaction(SIGBUS, &action, &f->previous) ? -errno : 0;
}

int floor_listen(struct floor *f)
{
	if (f->delivery == FLOOR_INLINE)
		return take_sigbus(f);
	pthread_mutex_lock(&f->lock);
	atomic_store(&f->listening, true);
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

void floor_deafen(struct floor *f)
{
	if (f->delivery == FLOOR_INLINE) {
		sigaction(SIGBUS, &f->previous, NULL);
		return;
	}
	pthread_mutex_lock(&f->lock);
	atomic_store(&f->listening, false);
	wake_thread(f);
	while (!f->parked)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

void floor_set_work(struct floor *f, unsigned int work, const struct pattern *pattern)
{
	f->work = work;
	f->pattern = *pattern;
}

int floor_prefetch(struct floor *f, size_t first, size_t count)
{
	int error = floor_hold(f, first, count);

	return error ? error : floor_map(f, first, count);
}

/* --- memory -------------------------------------------------------------------------------------------- */

char *floor_base(const struct floor *f)
{
	return f->app;
}

char *floor_alias(const struct floor *f)
{
	return f->alias;
}

int floor_file(const struct floor *f)
{
	return f->fd;
}

int floor_attach_source(struct floor *f, pid_t pid, int fd)
{
	char path[64];
	void *source;

	snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)pid, fd);
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return -errno;
	int error = memory_map(file, f->bytes, NULL, &source);
	close(file);
	if (!error)
		f->source = source;
	return error;
}

void floor_expose(struct floor *f, size_t first, size_t count)
{
	bare_conceal(&f->exposed);
	bare_expose(f->bare, f->alias + first * f->page_bytes, count * f->page_bytes, &f->exposed);
}

int floor_hold(struct floor *f, size_t first, size_t count)
{
	return copy_range(f, first * f->page_bytes, count * f->page_bytes);
}

void floor_twin(struct floor *f, size_t first, size_t count)
{
	size_t at = first * f->page_bytes;

	memcpy(f->twins + at, f->alias + at, count * f->page_bytes);
}

/* By block, as the runtime does: a comparison of the whole page would end at the first byte that differs. */
int floor_compare(struct floor *f, size_t first, size_t count)
{
	size_t block_bytes = f->page_bytes / f->pattern.blocks, end = (first + count) * f->page_bytes;
	int differing = 0;

	for (size_t at = first * f->page_bytes; at < end; at += block_bytes)
		differing += memcmp(f->alias + at, f->twins + at, block_bytes) != 0;
	return differing;
}

int floor_allocate(struct floor *f, size_t first, size_t count)
{
	return memory_allocate(f->fd, first * f->page_bytes, count * f->page_bytes);
}

int floor_renew(struct floor *f)
{
	bare_conceal(&f->exposed); /* or the device would keep the pages */
	return memory_punch(f->fd, 0, f->bytes);
}

int floor_populate_source(struct floor *f)
{
	return madvise(f->source, f->bytes, MADV_POPULATE_READ) ? -errno : 0;
}

int floor_map(struct floor *f, size_t first, size_t count)
{
	return uffd_continue_all(f->uffd, f->app + first * f->page_bytes, count * f->page_bytes,
				 f->page_bytes, UFFDIO_CONTINUE_MODE_WP, NULL);
}

int floor_unmap(struct floor *f, size_t first, size_t count)
{
	return madvise(f->app + first * f->page_bytes, count * f->page_bytes, MADV_DONTNEED) ? -errno : 0;
}

int floor_protect(struct floor *f, size_t first, size_t count)
{
	return uffd_writeprotect(f->uffd, f->app + first * f->page_bytes, count * f->page_bytes, true);
}

/* --- set-up -------------------------------------------------------------------------------------------- */

/* Memory for twins, in huge pages where the kernel gives them; paid for as it is used. */
static int map_twins(struct floor *f)
{
	char *memory = mmap(NULL, f->bytes + TWIN_ALIGNMENT, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	size_t head = -(uintptr_t)memory % TWIN_ALIGNMENT;
	if (head)
		munmap(memory, head);
	if (TWIN_ALIGNMENT - head)
		munmap(memory + head + f->bytes, TWIN_ALIGNMENT - head);
	f->twins = memory + head;
	madvise(f->twins, f->bytes, MADV_HUGEPAGE); /* without it: slower, no more */
	return 0;
}

static int map_memory(struct floor *f)
{
	void *memory;
	int error;

	f->fd = memory_file_create("fault_latency-floor", f->bytes, f->page_bytes);
	if (f->fd < 0)
		return f->fd;
	error = memory_map(f->fd, f->bytes, NULL, &memory);
	if (error)
		return error;
	f->app = memory;
	error = memory_map(f->fd, f->bytes, NULL, &memory);
	if (error)
		return error;
	f->alias = memory;
	return map_twins(f);
}

static int register_memory(struct floor *f)
{
	uint64_t features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_MINOR_HUGETLBFS |
			    UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;

	if (f->delivery == FLOOR_INLINE)
		features |= UFFD_FEATURE_SIGBUS;
	f->uffd = uffd_open(features, f->delivery != FLOOR_INLINE, NULL);
	if (f->uffd < 0)
		return f->uffd;
	return uffd_register(f->uffd, f->app, f->bytes, modes, NULL);
}

static void unmap(char *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}

void floor_destroy(struct floor *f)
{
	if (!f)
		return;
	if (f->has_thread)
		stop_thread(f);
	bare_conceal(&f->exposed);
	if (f->wake >= 0)
		close(f->wake);
	if (f->uffd >= 0)
		close(f->uffd);
	unmap(f->app, f->bytes);
	unmap(f->alias, f->bytes);
	unmap(f->twins, f->bytes);
	unmap(f->source, f->bytes);
	if (f->fd >= 0)
		close(f->fd);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int floor_create(const struct floor_options *options, struct floor **out)
{
	struct floor *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->page_bytes = options->page_bytes;
	f->pages = options->pages;
	f->bytes = options->pages * options->page_bytes;
	f->delivery = options->delivery;
	f->topology = options->topology;
	f->handler_pu = options->handler_pu;
	f->bare = options->bare;
	f->fd = f->uffd = f->wake = -1;
	f->pattern.blocks = 1;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	int error = map_memory(f);
	if (!error)
		error = register_memory(f);
	if (!error && f->delivery != FLOOR_INLINE)
		error = start_thread(f);
	if (error)
		floor_destroy(f);
	else
		*out = f;
	return error;
}
