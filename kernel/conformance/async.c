/*
 * Conformance: stores that the kernel notes by itself (FEATURE_WP_ASYNC), found by PAGEMAP_SCAN.
 */
#include <errno.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

#define LINUX_6_7 (UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_ASYNC)
#define MAX_REGIONS 16

/* Skips where /proc/self/pagemap answers no scans: the feature bit does not promise CONFIG_PROC_PAGE_MONITOR.
 */
static int scan(struct trial *t, struct page_region *regions, size_t capacity, size_t *count,
		const void **walk_end)
{
	int fd = trial_pagemap(t);
	int err = pagemap_scan_written(fd, t->app, t->bytes, regions, capacity, count, walk_end);

	close(fd);
	if (err == -ENOTTY)
		trial_skip(t, "this kernel has no PAGEMAP_SCAN");
	return err;
}

/* Scans all and requires the written pages to be the @count pages from @page on, or none. */
static void expect_written(struct trial *t, size_t page, size_t count)
{
	struct page_region regions[MAX_REGIONS];
	const void *walk_end = NULL;
	size_t found = 0;

	REQUIRE_OK(t, scan(t, regions, MAX_REGIONS, &found, &walk_end));
	REQUIRE(t, walk_end == t->app + t->bytes);
	if (count == 0) {
		REQUIRE(t, found == 0);
		return;
	}
	REQUIRE(t, found == 1);
	REQUIRE(t, regions[0].start == (uintptr_t)app_page(t, page));
	REQUIRE(t, regions[0].end == (uintptr_t)app_page(t, page + count));
	REQUIRE(t, regions[0].categories & PAGE_IS_WRITTEN);
}

static void protect_all(struct trial *t)
{
	REQUIRE_OK(t, uffd_writeprotect(t->uffd, t->app, t->bytes, true));
}

static void store_found_and_protected_again(struct trial *t, size_t page)
{
	*app_word(t, page) = 5;
	expect_no_message(t);
	REQUIRE(t, !is_protected(t, app_page(t, page)));
	expect_written(t, page, 1);
	REQUIRE(t, is_protected(t, app_page(t, page)));
	expect_written(t, 0, 0);
}

/* Nobody reads the descriptor: a store that waited would run into the time limit. */
static void async_mapped(struct trial *t)
{
	size_t i;

	trial_watch(t, UFFD_FEATURE_WP_ASYNC, MODE_WP);
	for (i = 0; i < t->row->pages; i++) {
		fill_page(t, i, i);
		REQUIRE(t, page_holds(t, app_page(t, i), i));
	}
	protect_all(t);
	expect_written(t, 0, 0);
	store_found_and_protected_again(t, 1);
	store_found_and_protected_again(t, 1);
	store_found_and_protected_again(t, 0);
}

static void async_unmapped(struct trial *t)
{
	size_t i;

	for (i = 0; i < t->row->pages; i++)
		fill_page(t, i, i);
	trial_watch(t, UFFD_FEATURE_WP_ASYNC, MODE_WP);
	protect_all(t);
	expect_written(t, 0, 0);
	REQUIRE(t, page_holds(t, app_page(t, 0), 0));
	expect_written(t, 0, 0);
	store_found_and_protected_again(t, 1);
}

static void async_after_dontneed(struct trial *t)
{
	size_t i;

	for (i = 0; i < t->row->pages; i++)
		fill_page(t, i, i);
	trial_watch(t, UFFD_FEATURE_WP_ASYNC, MODE_WP);
	protect_all(t);
	REQUIRE(t, page_holds(t, app_page(t, 1), 1));
	drop_app_pages(t, 0, t->row->pages);
	expect_written(t, 0, 0);
	store_found_and_protected_again(t, 1);
}

static void async_with_minor(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	fill_page(t, 1, 2);
	trial_watch(t, UFFD_FEATURE_WP_ASYNC, MODE_MINOR | MODE_WP);
	touch_read(t, &touch, app_word(t, 1));
	expect_fault(t, app_page(t, 1), UFFD_PAGEFAULT_FLAG_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, t->app, t->bytes, UFFDIO_CONTINUE_MODE_WP, NULL));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(2));
	expect_written(t, 0, 0);
	store_found_and_protected_again(t, 1);
}

static void scan_resumes(struct trial *t)
{
	struct page_region region;
	const void *walk_end = NULL;
	size_t count = 0;
	size_t i;

	for (i = 0; i < t->row->pages; i++)
		fill_page(t, i, i);
	trial_watch(t, UFFD_FEATURE_WP_ASYNC, MODE_WP);
	protect_all(t);
	*app_word(t, 0) = 5;
	*app_word(t, 2) = 5;
	REQUIRE_OK(t, scan(t, &region, 1, &count, &walk_end));
	REQUIRE(t, count == 1 && region.start == (uintptr_t)app_page(t, 0));
	REQUIRE(t, region.end == (uintptr_t)app_page(t, 1));
	REQUIRE(t, (char *)walk_end >= app_page(t, 1) && (char *)walk_end <= app_page(t, 2));
	/* What did not fit is left unprotected, and so it is found by the next scan. */
	expect_written(t, 2, 1);
}

static void scan_needs_async(struct trial *t)
{
	struct page_region region;
	const void *walk_end;
	size_t count;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_WP);
	trial_answer(t, "%s", result_name(scan(t, &region, 1, &count, &walk_end)));
}

static const struct conformance_case cases[] = {
    {
	.name = "async-mapped",
	.run = async_mapped,
	.memory = ON_SHARED,
	.features = LINUX_6_7,
	.pages = 2,
	.claim =
	    "a store to a protected page goes through; a scan finds just that page and protects it again",
	.later = "found, protected again",
	.since = "6.7",
    },
    {
	.name = "async-unmapped",
	.run = async_unmapped,
	.memory = ON_SHARED,
	.features = LINUX_6_7,
	.pages = 2,
	.claim =
	    "the same for pages protected before they are mapped; a load alone does not count as written",
	.later = "found, protected again",
	.since = "6.7",
    },
    {
	.name = "async-after-dontneed",
	.run = async_after_dontneed,
	.memory = ON_SHARED,
	.features = LINUX_6_7,
	.pages = 2,
	.claim = "a protected page that MADV_DONTNEED un-mapped does not count as written, until it is",
	.later = "found, protected again",
	.since = "6.7",
    },
    {
	.name = "async-with-minor",
	.run = async_with_minor,
	.memory = ON_SHARED,
	.features = LINUX_6_7,
	.pages = 2,
	.claim =
	    "WP_ASYNC leaves minor faults as they are; CONTINUE_MODE_WP maps a page that is not written yet",
	.later = "found, protected again",
	.since = "6.7",
    },
    {
	.name = "scan-resumes",
	.run = scan_resumes,
	.memory = ON_SHMEM | ON(MEMORY_HUGETLB_2M),
	.features = LINUX_6_7,
	.pages = 3,
	.claim = "a scan whose vector is full says where it ended, and loses nothing beyond",
	.later = "the rest is found next",
	.since = "6.7",
    },
    {
	.name = "scan-needs-async",
	.run = scan_needs_async,
	.memory = ON_SHARED,
	.features = LINUX_6_7,
	.pages = 1,
	.claim = "a scan that protects refuses a range without WP_ASYNC",
	.later = "-EPERM",
	.since = "6.7",
    },
};

const struct case_table async_cases = {cases, sizeof(cases) / sizeof(cases[0])};
