/*
 * Delivery by thread: handler threads read the descriptor and resolve what it says. The inline delivery has a
 * descriptor too, but nothing is ever read from it: its faults come as SIGBUS, to fault.c.
 */
#include "dsm/delivery.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/fault.h"
#include "dsm/lane.h"
#include "dsm/region.h"
#include "dsm/runtime.h"
#include "dsm/topology.h"
#include "dsm/trace.h"
#include "kernel/uffd.h"

/* Faults taken from the descriptor at once. */
#define BATCH 16
/* A spinning handler that has had nothing to do for this long sleeps until the next fault: more nodes than
 * cores must still make progress. (It does not yield: see backoff.h.) */
#define SPIN_IDLE_NS 2000000

struct handler {
	pthread_t thread;
	struct delivery *delivery;
	int pu;
};

struct delivery {
	bool open;
	int uffd;
	bool spin;
	int stop_event;	  /* eventfd: wakes the blocking handlers to end */
	atomic_bool stop; /* ends the spinning ones */
	struct handler *handlers;
	unsigned handler_count;
};

static struct delivery deliveries[DSM_DELIVERY_THREAD_BLOCK + 1];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

const char *delivery_name(enum dsm_delivery delivery)
{
	static const char *const names[] = {"default", "inline", "thread-spin", "thread-block"};

	return names[delivery];
}

/* --- handler threads ----------------------------------------------------------------------------------- */

/* @entered: when this handler came to it, if faults are traced. */
static void handle(struct lane *lane, const struct uffd_msg *message, uint64_t entered)
{
	if (message->event != UFFD_EVENT_PAGEFAULT)
		return; /* no other events were asked for */
	unsigned char *address = (unsigned char *)(uintptr_t)message->arg.pagefault.address;
	uint64_t flags = message->arg.pagefault.flags;
	struct dsm_region *r = runtime_find_region(address);
	if (!r)
		return; /* destroyed meanwhile; unregistering it wakes the thread */
	size_t page = (size_t)(address - r->app) >> r->page_shift;
	bool present = flags & UFFD_PAGEFAULT_FLAG_WP, write = present || flags & UFFD_PAGEFAULT_FLAG_WRITE;
	trace_begin(lane, entered);
	int error = fault_resolve(lane, r, page, write, present);
	trace_end(lane, r, page, write, present);
	if (error == -EHWPOISON)
		uffd_wake(r->uffd, region_app(r, page),
			  region_page_bytes(r)); /* another handler was faster */
	else if (error)
		fault_die(r, page, error);
}

static void handle_batch(const struct uffd_msg *messages, size_t count)
{
	uint64_t entered = trace_ticks();
	struct lane *lane = lane_acquire();
	for (size_t i = 0; i < count; i++) {
		handle(lane, &messages[i], entered);
		entered = trace_ticks();
	}
	lane_release(lane);
}

/* Waits for faults after an empty-handed read. @idle_since: when there was something last. @return false:
 * time to end. */
static bool wait_for_faults(struct delivery *d, uint64_t idle_since)
{
	if (d->spin && clock_ns() - idle_since < SPIN_IDLE_NS)
		return !atomic_load_explicit(&d->stop, memory_order_relaxed);
	struct pollfd fds[] = {{.fd = d->uffd, .events = POLLIN}, {.fd = d->stop_event, .events = POLLIN}};
	poll(fds, 2, -1);
	return !(fds[1].revents & POLLIN);
}

static void *run_handler(void *argument)
{
	struct handler *h = argument;
	struct uffd_msg messages[BATCH];
	uint64_t idle_since = clock_ns();

	/* A container may forbid it; the thread then runs where the kernel puts it. */
	topology_bind_thread(runtime.topology, h->pu);
	for (;;) {
		ssize_t bytes = read(h->delivery->uffd, messages, sizeof messages);
		if (bytes > 0) {
			handle_batch(messages, (size_t)bytes / sizeof messages[0]);
			idle_since = clock_ns();
		} else if (!wait_for_faults(h->delivery, idle_since)) {
			break; /* (bytes <= 0 is EAGAIN: another handler was faster, or nothing came) */
		}
	}
	return NULL;
}

static int start_handlers(struct delivery *d)
{
	unsigned wanted = (unsigned)runtime.settings.handlers;
	int near = sched_getcpu();
	sigset_t all, saved;

	d->handlers = calloc(wanted, sizeof *d->handlers);
	d->stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!d->handlers || d->stop_event < 0)
		return -ENOMEM;
	sigfillset(&all); /* the application's signals are for its own threads */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int error = 0;
	for (unsigned i = 0; i < wanted && !error; i++) {
		struct handler *h = &d->handlers[i];
		h->delivery = d;
		h->pu = runtime.settings.handler_pu >= 0 ? (int)runtime.settings.handler_pu + (int)i
							 : topology_handler_pu(runtime.topology, near, i);
		error = -pthread_create(&h->thread, NULL, run_handler, h);
		if (!error)
			d->handler_count++;
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	return error;
}

/* --- descriptors --------------------------------------------------------------------------------------- */

static void close_delivery(struct delivery *d)
{
	atomic_store_explicit(&d->stop, true, memory_order_relaxed);
	if (d->stop_event >= 0 && write(d->stop_event, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		abort(); /* an eventfd of ours that is not full takes it */
	for (unsigned i = 0; i < d->handler_count; i++)
		pthread_join(d->handlers[i].thread, NULL);
	free(d->handlers);
	if (d->stop_event >= 0)
		close(d->stop_event);
	if (d->uffd >= 0)
		close(d->uffd);
	*d = (struct delivery){0};
}

static int open_descriptor(enum dsm_delivery delivery, char *message, size_t message_bytes)
{
	uint64_t features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_SHMEM |
			    UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	bool by_thread = delivery != DSM_DELIVERY_INLINE;

	if (runtime.kernel[KERNEL_UFFD_MINOR_HUGETLB].available)
		features |= UFFD_FEATURE_MINOR_HUGETLBFS | UFFD_FEATURE_MISSING_HUGETLBFS;
	if (runtime.kernel[KERNEL_UFFD_POISON].available)
		features |= UFFD_FEATURE_POISON;
	if (!by_thread)
		features |= UFFD_FEATURE_SIGBUS;
	int fd = uffd_open(features, by_thread, NULL);
	if (fd >= 0)
		return fd;
	if (fd == -EPERM || fd == -EACCES)
		snprintf(message, message_bytes,
			 by_thread ? "thread delivery needs faults from the kernel, which this user may not "
				     "handle: run as "
				     "root, or `chmod 666 /dev/userfaultfd`, or `sysctl "
				     "vm.unprivileged_userfaultfd=1`; or use "
				     "MINORCA_DELIVERY=inline, which needs none of them"
				   : "this user may not use userfaultfd (%s): a container's seccomp filter "
				     "may forbid the call; "
				     "allow userfaultfd there, or `chmod 666 /dev/userfaultfd`",
			 strerror(-fd));
	else
		snprintf(message, message_bytes,
			 "cannot open userfaultfd for delivery %s: %s; see `minorca info`",
			 delivery_name(delivery), strerror(-fd));
	return fd;
}

static int open_delivery(enum dsm_delivery delivery, char *message, size_t message_bytes)
{
	struct delivery *d = &deliveries[delivery];

	d->stop_event = -1;
	d->spin = delivery == DSM_DELIVERY_THREAD_SPIN;
	d->uffd = open_descriptor(delivery, message, message_bytes);
	if (d->uffd < 0) {
		int error = d->uffd;
		*d = (struct delivery){0};
		return error == -EACCES ? -EPERM : error;
	}
	int error = delivery == DSM_DELIVERY_INLINE ? 0 : start_handlers(d);
	if (error) {
		snprintf(message, message_bytes, "cannot start %u handler threads (MINORCA_HANDLERS): %s",
			 (unsigned)runtime.settings.handlers, strerror(-error));
		close_delivery(d);
		return error;
	}
	d->open = true;
	return d->uffd;
}

int delivery_open(enum dsm_delivery delivery, char *message, size_t message_bytes)
{
	pthread_mutex_lock(&mutex);
	int fd = deliveries[delivery].open ? deliveries[delivery].uffd
					   : open_delivery(delivery, message, message_bytes);
	pthread_mutex_unlock(&mutex);
	return fd;
}

void delivery_close_all(void)
{
	for (unsigned i = 0; i < sizeof deliveries / sizeof deliveries[0]; i++)
		if (deliveries[i].open)
			close_delivery(&deliveries[i]);
}
