/*
 * The fault path, top to bottom: on_sigbus() is where inline delivery enters, fault_resolve() is what both
 * deliveries do. It allocates nothing, takes no lock but the page's and the thread's own lane, calls no stdio
 * and no MPI.
 */
#include "dsm/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "dsm/destroyed.h"
#include "dsm/fetch.h"
#include "dsm/lane.h"
#include "dsm/migration.h"
#include "dsm/populate.h"
#include "dsm/prefetch.h"
#include "dsm/readahead.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"
#include "dsm/trace.h"
#include "kernel/uapi.h"
#include "kernel/uffd.h"

#ifndef __x86_64__
#error "the fault handler reads x86-64's page-fault error code; add your machine's in fault_from_context()"
#endif

/* Lost pages that are reported one by one. */
#define LOST_PAGES_TOLD 8

static struct sigaction previous;
static atomic_uint lost_pages;

/* --- inline delivery ----------------------------------------------------------------------------------- */

/* Bits of x86's page-fault error code (Intel SDM 4.7), which the kernel leaves in the signal context. */
#define FAULT_PRESENT 1
#define FAULT_WRITE 2

static void hand_on(int signal, siginfo_t *info, void *context);
static void die_if_destroyed(const void *address);
static void report_lost(const struct dsm_region *r, size_t page, int error);

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	uint64_t entered = trace_ticks();
	/* The lane first: while it is held, no region that is found is freed (see lanes_quiesce()). */
	struct lane *lane = runtime.started ? lane_acquire() : NULL;
	struct dsm_region *r =
	    lane && info->si_code == BUS_ADRERR ? runtime_find_region(info->si_addr) : NULL;

	if (!r || !r->inline_delivery) {
		if (lane)
			lane_release(lane);
		if (!r && info->si_code == BUS_ADRERR)
			die_if_destroyed(info->si_addr);
		hand_on(signal, info, context);
		errno = saved_errno;
		return;
	}
	size_t page = (size_t)((unsigned char *)info->si_addr - r->app) >> r->page_shift;
	greg_t code = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
	trace_begin(lane, entered);
	int error = fault_resolve(lane, r, page, code & FAULT_WRITE, code & FAULT_PRESENT);
	trace_end(lane, r, page, code & FAULT_WRITE, code & FAULT_PRESENT);
	if (error && error != -EHWPOISON)
		fault_die(r, page, error);
	lane_release(lane);
	if (error) /* a kernel without memory failure handling says BUS_ADRERR of poisoned pages too */
		hand_on(signal, info, context);
	errno = saved_errno;
}

/* --- both deliveries ----------------------------------------------------------------------------------- */

/*
 * Locks the pages that a walk is to touch next, up to the first that somebody else is at, that is here, or
 * that has another home. They are only tried, since they are not always locked in ascending order. @return
 * how many, @page included, which the caller holds.
 */
static uint32_t lock_ahead(struct dsm_region *r, size_t page, const struct readahead_stream *stream)
{
	int home = home_of(&r->home, page);
	uint32_t count = 1;

	for (; count < stream->window; count++) {
		size_t next = page + (size_t)(stream->step * count); /* below 0 is above all */

		if (next >= r->table.count || home_of(&r->home, next) != home)
			break;
		struct page *p = &r->table.pages[next];

		if (!page_try_lock(p))
			break;
		if (p->state != PAGE_UNMAPPED || p->flags & PAGE_LOST) {
			page_unlock(p);
			break;
		}
	}
	return count;
}

/* Neighbours in one go, others one by one. @return how many were brought in. */
static uint32_t bring_in_ahead(struct lane *lane, struct dsm_region *r, size_t page, int64_t step,
			       uint32_t count, bool write)
{
	uint32_t done = 0;

	if (step == 1)
		return pages_bring_in(lane, r, page, count, write) ? 0 : count;
	if (step == -1)
		return pages_bring_in(lane, r, page - (count - 1), count, write) ? 0 : count;
	while (done < count && !pages_bring_in(lane, r, page + (size_t)(step * done), 1, write))
		done++;
	return done;
}

/*
 * If the page is one of a walk through the region, brings it in together with those that follow. @return
 * whether the page itself was brought in. If not, trying it alone shows what is wrong with it.
 */
static bool map_ahead(struct lane *lane, struct dsm_region *r, size_t page, bool write)
{
	uint64_t place = readahead_place(r->id, page);
	struct readahead_stream *stream;

	if (r->readahead_pages < READAHEAD_FIRST || home_of(&r->home, page) == runtime.node)
		return false;
	stream = readahead_fault(&lane->readahead, place, r->readahead_pages);
	if (!stream)
		return false;

	uint32_t locked = lock_ahead(r, page, stream);
	uint32_t done = locked > 1 ? bring_in_ahead(lane, r, page, stream->step, locked, write) : 0;

	for (uint32_t i = 1; i < locked; i++)
		page_unlock(&r->table.pages[page + (size_t)(stream->step * i)]);
	readahead_taken(stream, place, done ? done : 1);
	if (!done)
		return false;
	stats_add(&lane->stats.pages_read_ahead, done - 1);
	trace_pages(lane, done);
	return true;
}

/* The page is not mapped: complete it, and map it. */
static int map_page(struct lane *lane, struct dsm_region *r, size_t page, bool write)
{
	struct page *p = &r->table.pages[page];
	bool writable = write || !r->detects_stores;
	int error = 0;

	stats_add(write ? &lane->stats.faults_write : &lane->stats.faults_read, 1);
	if (map_ahead(lane, r, page, write))
		return 0;
	/*
	 * Before its versions are read, let alone mapped: either the acquire of a barrier finds the page in
	 * the set and waits for our lock, or it has passed, and then what was published before that barrier
	 * is what we read. (The locked instruction in page_set_add() keeps the read after it. It pairs with
	 * the exchange in page_set_take().)
	 */
	page_set_add(&r->cached, page);
	if (p->flags & PAGE_LOST)
		error = -EHOSTDOWN;
	else if (home_of(&r->home, page) != runtime.node)
		error = fetch_pages(lane, r, page, 1);
	else if (r->sparse)
		error = populate_pages(r, page, 1);
	if (!error && writable)
		error = page_begin_write(lane, r, page);
	if (error)
		return error;
	trace_moment(lane, DSM_MOMENT_READY);
	error = pages_map(r, page, 1, writable);
	trace_moment(lane, DSM_MOMENT_MAPPED);
	if (!error)
		p->state = writable ? PAGE_WRITE : PAGE_READ;
	return error;
}

/* The page is mapped read-only, and this is the first store of the interval. */
static int upgrade_page(struct lane *lane, struct dsm_region *r, size_t page)
{
	int error = page_begin_write(lane, r, page);

	stats_add(&lane->stats.faults_upgrade, 1);
	trace_moment(lane, DSM_MOMENT_READY);
	if (!error)
		error = pages_protect(r, page, 1, false);
	trace_moment(lane, DSM_MOMENT_MAPPED);
	if (!error)
		r->table.pages[page].state = PAGE_WRITE;
	return error;
}

/*
 * The page is mapped as the access needs it. Another thread of this node was faster; or the kernel took the
 * page out of the page table on its own (reclaim), and it has to be mapped again. With it went what the
 * kernel knew of stores to it, where it keeps that itself (home_writes.c): the page may have been stored to.
 */
static int map_again(struct lane *lane, struct dsm_region *r, size_t page, bool present)
{
	struct page *p = &r->table.pages[page];

	stats_add(&lane->stats.faults_resolved_elsewhere, 1);
	if (!present && p->state == PAGE_READ && r->home_writes.chunks &&
	    home_of(&r->home, page) == runtime.node) {
		region_note_dirty(r, page);
		p->state = PAGE_WRITE;
	}
	if (!present)
		return pages_map(r, page, 1, p->state == PAGE_WRITE);
	return p->state == PAGE_WRITE ? pages_protect(r, page, 1, false) : 0;
}

/* Errors of fetching, which say that a page's home cannot be reached; of this node's own doing are others. */
static bool is_unreachable(int error)
{
	return error == -EHOSTDOWN || error == -ETIMEDOUT || error == -EIO;
}

static int poison(struct dsm_region *r, size_t page)
{
	int error;

	do /* the address space is changing: for a moment */
		error = uffd_poison(r->uffd, region_app(r, page), region_page_bytes(r), 0, NULL);
	while (error == -EAGAIN);
	return error;
}

/*
 * A page that cannot be fetched: the access is to raise SIGBUS, in the thread that made it and for it to
 * handle if it can; inside a system call, EFAULT. That is what the kernel does with a poisoned page when the
 * access is tried again. The page stays poisoned: once it was said that its data is lost, it is. Whatever
 * else fails, for want of memory say, is this node's own affair, may mend, and says nothing of the data: that
 * is not poisoned, and ends the process.
 *
 * @return 0: poisoned; -EHWPOISON: it was already; @error: the kernel cannot.
 */
static int poison_page(struct dsm_region *r, size_t page, int error)
{
	struct page *p = &r->table.pages[page];

	if (!runtime.kernel[KERNEL_UFFD_POISON].available)
		return error;
	if (r->migration) /* before the thread gets its signal: it may ask at once what is lost */
		migration_page_lost(r, page);
	int refused = poison(r, page);
	if (refused == -EEXIST && p->flags & PAGE_LOST)
		return -EHWPOISON;
	/* A page that was protected when it was un-mapped has left a mark, and the kernel takes that for a
	 * page. */
	if (refused == -EEXIST && !pages_protect(r, page, 1, false))
		refused = poison(r, page);
	if (refused)
		return error;
	p->flags |= PAGE_LOST;
	report_lost(r, page, error);
	return 0;
}

int fault_resolve(struct lane *lane, struct dsm_region *r, size_t page, bool write, bool present)
{
	struct page *p = &r->table.pages[page];
	int error;

	stats_add(&lane->stats.faults, 1);
	page_lock(p);
	trace_moment(lane, DSM_MOMENT_LOCKED);
	if (r->migration) {
		error = migration_fault(lane, r, page, write, present);
		if (is_unreachable(error))
			error = poison_page(r, page, error);
	} else if (p->state == PAGE_UNMAPPED) {
		error = map_page(lane, r, page, write);
		if (is_unreachable(error) && home_of(&r->home, page) != runtime.node)
			error = poison_page(r, page, error);
	} else if (p->state == PAGE_READ && write) {
		error = upgrade_page(lane, r, page);
	} else {
		error = map_again(lane, r, page, present);
	}
	page_unlock(p);
	return error;
}

/* --- steps --------------------------------------------------------------------------------------------- */

static int make_twin(struct lane *lane, struct dsm_region *r, size_t page)
{
	struct page *p = &r->table.pages[page];

	if (!(p->flags & PAGE_TWIN_IS_CURRENT)) {
		uint32_t slot = p->twin ? p->twin - 1 : twins_get(&r->twins);
		if (slot == TWIN_NONE)
			return -ENOMEM;
		p->twin = slot + 1;
		memcpy(twins_memory(&r->twins, slot), region_alias(r, page), region_page_bytes(r));
		stats_add(&lane->stats.twins, 1);
	}
	p->flags &= (uint8_t)~PAGE_TWIN_IS_CURRENT;
	return 0;
}

/*
 * A page of many blocks at home is about to be stored to: its interval begins, and so do, from here on,
 * others' copies of its blocks to be uncertain (see region.h). Versions are read before the twin is made:
 * what is published to a block after that shows, in its version or in its bytes.
 */
static int begin_home_interval(struct lane *lane, struct dsm_region *r, size_t page)
{
	uint64_t *versions = (uint64_t *)(void *)lane->scratch,
		 *held = r->table.held + page * r->blocks_per_page;

	/* Odd; it may be so already, if mapping the page failed. We alone write it, under the page's lock. */
	atomic_store(region_interval(r, page), atomic_load(region_interval(r, page)) | 1);
	int error = runtime.ops->post_read(runtime.transport, lane, runtime.node, SEGMENT_VERSIONS(r->id),
					   region_versions_offset(r, page), versions,
					   r->blocks_per_page * sizeof *versions);
	int completed = runtime.ops->complete(runtime.transport, lane);

	if (error || completed)
		return error ? error : completed;
	memcpy(held, versions, r->blocks_per_page * sizeof *held);
	return r->table.pages[page].habit <= 0 ? make_twin(lane, r, page) : 0;
}

/*
 * A page at home is its own master: publishing it needs no bytes, only to know which blocks changed. A page
 * of one block needs no twin for that, and one of many blocks none if most of them change anyway.
 */
int page_begin_write(struct lane *lane, struct dsm_region *r, size_t page)
{
	struct page *p = &r->table.pages[page];
	int error = 0;

	if (home_of(&r->home, page) != runtime.node)
		error = make_twin(lane, r, page);
	else if (r->blocks_per_page > 1)
		error = begin_home_interval(lane, r, page);
	if (error)
		return error;
	/* Only with a twin that it keeps: publish.c compares a hot page with it each time. */
	if (p->flags & PAGE_TWIN_KEPT && p->habit >= HABIT_HOT) {
		p->flags |= PAGE_HOT;
		atomic_store_explicit(&runtime.hot_pages, true,
				      memory_order_relaxed); /* see is_published() */
	}
	region_note_dirty(r, page);
	return 0;
}

int pages_map(struct dsm_region *r, size_t first, size_t count, bool writable)
{
	size_t page_bytes = region_page_bytes(r), existed = 0;
	uint64_t mode = writable ? 0 : UFFDIO_CONTINUE_MODE_WP;
	int error;

	if (r->inline_delivery)
		mode |= UFFDIO_CONTINUE_MODE_DONTWAKE; /* nobody waits in the kernel */
	error =
	    uffd_continue_all(r->uffd, region_app(r, first), count * page_bytes, page_bytes, mode, &existed);
	/* Pages that were mapped already: threads may wait for them, and CONTINUE has not woken those. */
	if (!error && existed && !r->inline_delivery)
		error = uffd_wake(r->uffd, region_app(r, first), count * page_bytes);
	/* All or nothing: what was mapped before it failed does not count as mapped, so it must not be. */
	if (error)
		madvise(region_app(r, first), count * page_bytes, MADV_DONTNEED_LOCKED);
	return error;
}

int pages_protect(struct dsm_region *r, size_t first, size_t count, bool protect)
{
	return uffd_writeprotect(r->uffd, region_app(r, first), count * region_page_bytes(r), protect);
}

/* --- what is not ours, and what cannot be mended ---------------------------------------------------------
 */

/* As the kernel would have done without us: by the disposition that was there before. */
static void hand_on(int signal, siginfo_t *info, void *context)
{
	bool sent = info->si_code <= 0; /* by kill() and the like, not raised by an access */

	if (previous.sa_flags & SA_SIGINFO ||
	    (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)) {
		sigset_t mask = ((ucontext_t *)context)->uc_sigmask, now;
		sigorset(&mask, &mask, &previous.sa_mask);
		if (!(previous.sa_flags & SA_NODEFER))
			sigaddset(&mask, signal);
		pthread_sigmask(SIG_SETMASK, &mask, &now);
		if (previous.sa_flags & SA_SIGINFO)
			previous.sa_sigaction(signal, info, context);
		else
			previous.sa_handler(signal);
		pthread_sigmask(SIG_SETMASK, &now, NULL);
		return;
	}
	if (sent && previous.sa_handler == SIG_IGN)
		return;
	/* Ignoring does not help against an access: the kernel kills then, and so do we. The access is tried
	 * again on return; a signal that was sent is sent again and waits until then. */
	struct sigaction die = {.sa_handler = SIG_DFL};
	sigaction(signal, &die, NULL);
	if (sent)
		raise(signal);
}

int fault_install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};

	/* No SA_ONSTACK: a fault may come while a handler of the application runs on the alternate stack. */
	sigfillset(&action.sa_mask);
	struct sigaction before;
	if (sigaction(SIGBUS, &action, &before))
		return -errno;
	/* If the application put us back itself, whom we hand on to stays: to ourselves it would never end.
	 */
	if (before.sa_sigaction != on_sigbus)
		previous = before;
	return 0;
}

void fault_uninstall(void)
{
	struct sigaction current;

	/* Leave alone what the application installed after us. */
	if (!sigaction(SIGBUS, NULL, &current) && current.sa_sigaction == on_sigbus)
		sigaction(SIGBUS, &previous, NULL);
}

static const char *explain(int error)
{
	switch (error) {
	case -ENOSPC:
		return "the pool of hugepages is empty; enlarge it: echo N > "
		       "/sys/kernel/mm/hugepages/hugepages-*kB/nr_hugepages (`minorca info` shows the pools)";
	case -ENOMEM:
		return "out of memory";
	case -EHOSTDOWN:
		return "the home of the page is lost; its data cannot be had";
	case -EACCES:
		return "the region is movable, and another node holds it: this one may not touch it";
	case -ETIMEDOUT:
		return "the home of the page does not answer (MINORCA_TIMEOUT says how long to wait)";
	case -EIO:
		return "the device failed that the home of the page is reached by";
	default:
		return "the kernel or the transport refused; the number is its errno";
	}
}

/* By SIGBUS, as the kernel would have it. */
static _Noreturn void die(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t bus;

	sigaction(SIGBUS, &action, NULL);
	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	raise(SIGBUS);
	for (;;)
		_exit(128 + SIGBUS);
}

static void report_fault(const struct dsm_region *r, size_t page, int error, const char *then)
{
	struct report_part parts[] = {
	    REPORT_TEXT("cannot resolve the fault on page "),
	    REPORT_NUMBER(page),
	    REPORT_TEXT(" (home: node "),
	    REPORT_NUMBER((uint64_t)(r->migration ? dsm_migrate_holder(r) : home_of(&r->home, page))),
	    REPORT_TEXT(") of region "),
	    REPORT_TEXT(r->name),
	    REPORT_TEXT(" at "),
	    REPORT_HEX((uint64_t)(uintptr_t)region_app(r, page)),
	    REPORT_TEXT(", error "),
	    REPORT_NUMBER((uint64_t)-error),
	    REPORT_TEXT(": "),
	    REPORT_TEXT(explain(error)),
	    REPORT_TEXT(then),
	};

	report_signal_safe(parts, sizeof parts / sizeof parts[0]);
}

_Noreturn void fault_die(const struct dsm_region *r, size_t page, int error)
{
	report_fault(r, page, error, "");
	die();
}

/* The first few are enough to understand. */
static void report_lost(const struct dsm_region *r, size_t page, int error)
{
	unsigned before = atomic_fetch_add_explicit(&lost_pages, 1, memory_order_relaxed);

	if (before < LOST_PAGES_TOLD)
		report_fault(r, page, error,
			     before + 1 < LOST_PAGES_TOLD
				 ? "; whoever touches it gets SIGBUS"
				 : "; whoever touches it gets SIGBUS; further lost pages are not reported");
}

static void die_if_destroyed(const void *address)
{
	const char *name = destroyed_find(address);

	if (!name)
		return;
	struct report_part parts[] = {
	    REPORT_TEXT("access to "),
	    REPORT_HEX((uint64_t)(uintptr_t)address),
	    REPORT_TEXT(", where region "),
	    REPORT_TEXT(name),
	    REPORT_TEXT(" was: it has been destroyed"),
	};
	report_signal_safe(parts, sizeof parts / sizeof parts[0]);
	die();
}
