/*
 * How the source of a migration finds what is stored to: by write-protection that the kernel lifts by itself,
 * and PAGEMAP_SCAN, which protects and tells in one step; before Linux 6.7 by a fault for each page.
 *
 * Pages that were found are in `stored` until migration_take() takes them; a call that fails leaves them
 * there.
 */
#include "dsm/migration.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "dsm/region.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"
#include "kernel/pagemap.h"
#include "kernel/uffd.h"

#define FOUND_AT_ONCE 256
/* Pages whose locks are held together. */
#define LOCKED_AT_ONCE 64

void migration_note(struct migration *m, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++)
		bit_set(m->stored, page);
}

/* Those that were stored to since they were protected: protects them, and notes them, or does not care. */
static int scan_by_kernel(struct migration *m, size_t first, size_t count, bool note)
{
	struct dsm_region *r = m->region;
	unsigned char *at = region_app(r, first), *end = region_app(r, first + count);
	struct page_region found[FOUND_AT_ONCE];
	int error = 0;

	while (at < end && !error) {
		const void *walk_end = end;
		size_t parts = 0;
		error = pagemap_scan_written(m->pagemap, at, (size_t)(end - at), found, FOUND_AT_ONCE, &parts,
					     &walk_end);
		for (size_t i = 0; i < parts && note && !error; i++)
			migration_note(m, (size_t)(found[i].start - (uintptr_t)r->app) >> r->page_shift,
				       (size_t)(found[i].end - found[i].start) >> r->page_shift);
		at += (size_t)((const unsigned char *)walk_end - at);
	}
	return error;
}

int migration_unprotect(struct dsm_region *r, size_t page)
{
	int error = uffd_writeprotect(r->uffd, region_app(r, page), region_page_bytes(r), false);

	return error == -ENOENT ? 0 : error; /* nobody asks any more, and nothing is protected */
}

int migration_note_store(struct migration *m, size_t page)
{
	bit_set(m->stored, page); /* before the store can be made */
	return migration_unprotect(m->region, page);
}

/* Pages from @first on that were found stored to, as many as are locked at once. */
static size_t stored_run(const struct migration *m, size_t first)
{
	size_t count = 0;

	while (first + count < m->region->table.count && count < LOCKED_AT_ONCE &&
	       bit_is_set(m->stored, first + count))
		count++;
	return count;
}

/* By faults: a fault notes a page and lifts its protection under the page's lock, and so under the lock, what
 * was noted is taken and protected anew. Else the protection could be lifted after its note was taken. */
static int take_run(struct migration *m, size_t first, size_t count)
{
	struct dsm_region *r = m->region;
	sigset_t saved;

	runtime_block_signals(&saved);
	for (size_t page = first; page < first + count; page++) {
		page_lock(&r->table.pages[page]);
		atomic_fetch_and(&m->stored[page / 64], ~((uint64_t)1 << (page % 64)));
		m->sending[page / 64] |= (uint64_t)1 << (page % 64);
	}
	int error = uffd_writeprotect(r->uffd, region_app(r, first), count << r->page_shift, true);
	for (size_t page = first; page < first + count; page++)
		page_unlock(&r->table.pages[page]);
	runtime_unblock_signals(&saved);
	return error;
}

static int take_by_faults(struct migration *m)
{
	size_t pages = m->region->table.count;
	int error = 0;

	for (size_t page = 0, run; page < pages && !error; page += run ? run : 1) {
		run = stored_run(m, page);
		if (run)
			error = take_run(m, page, run);
	}
	return error;
}

int migration_scan(struct migration *m, size_t first, size_t count)
{
	return m->tracking == TRACKING_BY_KERNEL ? scan_by_kernel(m, first, count, true) : 0;
}

int migration_take(struct migration *m)
{
	bool by_faults = m->tracking == TRACKING_BY_FAULTS;

	for (size_t word = 0; word < (m->region->table.count + 63) / 64; word++)
		m->sending[word] = by_faults ? 0 : atomic_exchange(&m->stored[word], 0);
	return by_faults ? take_by_faults(m) : 0;
}

size_t migration_noted(const struct migration *m)
{
	size_t count = 0;

	for (size_t word = 0; word < (m->region->table.count + 63) / 64; word++)
		count += (size_t)__builtin_popcountll(atomic_load(&m->stored[word]));
	return count;
}

static int track_by_kernel(struct migration *m)
{
	struct dsm_region *r = m->region;

	m->uffd = uffd_open(UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
				UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP,
			    false, NULL);
	if (m->uffd < 0)
		return m->uffd;
	m->pagemap = pagemap_open();
	if (m->pagemap < 0)
		return m->pagemap;
	int error = uffd_register(m->uffd, r->app, r->bytes, UFFDIO_REGISTER_MODE_WP, NULL);
	if (error)
		return error;
	m->tracking = TRACKING_BY_KERNEL;
	return scan_by_kernel(m, 0, r->table.count, false); /* protects all */
}

static int track_by_faults(struct migration *m)
{
	struct dsm_region *r = m->region;
	int error = uffd_register(r->uffd, r->app, r->bytes, UFFDIO_REGISTER_MODE_WP, NULL);

	if (error)
		return error;
	m->tracking = TRACKING_BY_FAULTS;
	return uffd_writeprotect(r->uffd, r->app, r->bytes, true);
}

/* Spare pages: as many as there is memory for. */
static void make_spares(struct migration *m)
{
	struct dsm_region *r = m->region;
	unsigned int wanted = (unsigned int)((r->file_bytes - r->bytes) >> r->page_shift);

	memset(m->spare_page, 0, sizeof m->spare_page);
	m->next_spare = 0;
	for (m->spares = 0; m->spares < wanted; m->spares++)
		if (memory_allocate(r->fd, r->bytes + ((size_t)m->spares << r->page_shift),
				    region_page_bytes(r)))
			break;
}

int migration_track(struct migration *m)
{
	bool by_kernel = runtime.kernel[KERNEL_UFFD_WP_ASYNC].available &&
			 runtime.kernel[KERNEL_PAGEMAP_SCAN].available && !m->options.track_by_faults;
	size_t pages = m->region->table.count;

	for (size_t word = 0; word < (pages + 63) / 64; word++)
		atomic_store_explicit(&m->stored[word], 0, memory_order_relaxed);
	migration_note(m, 0, pages); /* the first round sends all */
	atomic_store(&m->progress.pages_left, pages);
	if (m->options.mode == DSM_MIGRATION_POST_COPY || m->options.mode == DSM_MIGRATION_STOP_AND_COPY)
		return 0;
	make_spares(m);
	return by_kernel ? track_by_kernel(m) : track_by_faults(m);
}

void migration_drop_spares(struct migration *m)
{
	struct dsm_region *r = m->region;

	if (m->spares && runtime.ops->populate)
		memory_punch(r->fd, r->bytes, r->file_bytes - r->bytes);
	m->spares = 0;
}

void migration_untrack(struct migration *m)
{
	struct dsm_region *r = m->region;

	/* If that fails, closing ends it by the kernel, and by faults each lifts the protection of its page.
	 */
	if (m->tracking != TRACKING_NONE)
		uffd_unregister(m->tracking == TRACKING_BY_KERNEL ? m->uffd : r->uffd, r->app, r->bytes);
	if (m->uffd >= 0)
		close(m->uffd);
	if (m->pagemap >= 0)
		close(m->pagemap);
	migration_drop_spares(m);
	m->tracking = TRACKING_NONE;
	m->uffd = m->pagemap = -1;
}
