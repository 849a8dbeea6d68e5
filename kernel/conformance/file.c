/*
 * Conformance: pages come and go in the file and in the page table, apart from each other.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

static void map_page(struct trial *t, size_t page)
{
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, page), t->page_bytes, 0, NULL));
}

static void dontneed_keeps_bytes(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_MISSING);
	map_page(t, 0);
	*app_word(t, 0) = 77;
	drop_app_pages(t, 0, 1);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 77);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	map_page(t, 0);
	REQUIRE(t, touch_join(t, &touch) == 77);
}

static void dontneed_spares_others(struct trial *t)
{
	fill_page(t, 0, 1);
	fill_page(t, 1, 2);
	trial_watch(t, 0, MODE_MINOR);
	map_page(t, 0);
	map_page(t, 1);
	drop_app_pages(t, 0, 1);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	REQUIRE(t, is_mapped(t, app_page(t, 1)));
	REQUIRE(t, is_mapped(t, alias_page(t, 0)));
}

static void punch_is_missing(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_MISSING);
	map_page(t, 0);
	punch_page(t, 0);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	REQUIRE(t, !is_mapped(t, alias_page(t, 0)));
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), 0);
	REQUIRE_RESULT(t, -EFAULT, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	fill_page(t, 0, 2);
	map_page(t, 0);
	REQUIRE(t, touch_join(t, &touch) == pattern_word(2));
}

static void allocate_keeps_bytes(struct trial *t)
{
	fill_page(t, 0, 1);
	REQUIRE_OK(t, memory_allocate(t->file, 0, t->page_bytes));
	REQUIRE(t, page_holds(t, alias_page(t, 0), 1));
}

/* A file one page larger than all that the pool has: allocating it page by page must end in -ENOSPC. */
static void empty_pool(struct trial *t)
{
	struct hugepage_pool pool;
	size_t pages;
	size_t i;
	int err = 0;
	int file;

	REQUIRE_OK(t, hugepage_pool_read(t->page_bytes, &pool));
	pages = pool.total + pool.overcommit + 1;
	file = memory_file_create("minorca-conformance-pool", pages * t->page_bytes, t->page_bytes);
	REQUIRE(t, file >= 0);
	for (i = 0; i < pages && !err; i++)
		err = memory_allocate(file, i * t->page_bytes, t->page_bytes);
	close(file);
	trial_answer(t, "%s", result_name(err));
}

static void empty_pool_now(struct trial *t)
{
	struct hugepage_pool pool;

	REQUIRE_OK(t, hugepage_pool_read(t->page_bytes, &pool));
	if (pool.free > pool.reserved || pool.overcommit > pool.surplus)
		trial_skip(t, "the pool is not empty; see empty-pool-taken and --take-pool");
	empty_pool(t);
}

static const struct conformance_case cases[] = {
    {
	.name = "dontneed-keeps-bytes",
	.run = dontneed_keeps_bytes,
	.memory = ON_SHARED,
	.pages = 1,
	.claim =
	    "MADV_DONTNEED un-maps a page, its bytes stay in the file, and the next touch is a minor fault",
	.later = "un-mapped, a minor fault",
	.since = "5.18",
    },
    {
	.name = "dontneed-spares-others",
	.run = dontneed_spares_others,
	.memory = ON_SHARED,
	.pages = 2,
	.claim = "MADV_DONTNEED un-maps no other page, and none of the second mapping",
	.later = "only those",
	.since = "5.18",
    },
    {
	.name = "punch-is-missing",
	.run = punch_is_missing,
	.memory = ON_SHARED,
	.pages = 1,
	.claim =
	    "a page punched out of the file is gone from both mappings and faults as missing, not as minor",
	.later = "a missing fault",
	.since = "5.13",
    },
    {
	.name = "allocate-keeps-bytes",
	.run = allocate_keeps_bytes,
	.memory = ON_MEMFD,
	.pages = 1,
	.claim = "fallocate() of a page that is in the file leaves its bytes",
	.later = "as they were",
	.since = "4.3",
    },
    {
	.name = "empty-pool",
	.run = empty_pool_now,
	.memory = ON_HUGETLB,
	.claim = "with no hugepage free, fallocate() fails early instead of a later touch by SIGBUS",
	.later = "-ENOSPC",
	.since = "4.3",
    },
    {
	.name = "empty-pool-taken",
	.run = empty_pool,
	.memory = ON_HUGETLB,
	.takes_pool = true,
	.claim = "the same, after this case has taken every free hugepage itself",
	.later = "-ENOSPC",
	.since = "4.3",
    },
};

const struct case_table file_cases = {cases, sizeof(cases) / sizeof(cases[0])};
