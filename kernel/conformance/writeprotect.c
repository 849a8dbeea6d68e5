/*
 * Conformance: write-protection of shared memory, as this project detects its stores with it.
 *
 * CONTINUE_MODE_WP has no feature bit; the cases that need it ask for FEATURE_WP_UNPOPULATED, which came in
 * the same release.
 */
#include "kernel/conformance/trial.h"

#define WP_FAULT (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE)
#define LINUX_6_4 (UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED)

static void map_protected(struct trial *t, size_t page)
{
	REQUIRE_OK(t,
		   uffd_continue(t->uffd, app_page(t, page), t->page_bytes, UFFDIO_CONTINUE_MODE_WP, NULL));
}

static void set_protection(struct trial *t, size_t page, bool protect)
{
	REQUIRE_OK(t, uffd_writeprotect(t->uffd, app_page(t, page), t->page_bytes, protect));
}

/* A store to @page waits in a write-protect fault, and goes through once it is allowed. */
static void store_faults_until_allowed(struct trial *t, size_t page, uint64_t value)
{
	struct touch touch;

	touch_write(t, &touch, app_word(t, page), value);
	expect_fault(t, app_page(t, page), WP_FAULT);
	expect_waiting(t, &touch);
	set_protection(t, page, false);
	touch_join(t, &touch);
	REQUIRE(t, *app_word(t, page) == value);
}

static void continue_wp(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	map_protected(t, 0);
	REQUIRE(t, is_mapped(t, app_page(t, 0)));
	REQUIRE(t, is_protected(t, app_page(t, 0)));
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	expect_no_message(t);
	store_faults_until_allowed(t, 0, 5);
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 5);
}

static void continue_without_wp(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, !is_protected(t, app_page(t, 0)));
	*app_word(t, 0) = 5;
	expect_no_message(t);
}

static int allow_stores(struct trial *t, void *address)
{
	size_t page = (size_t)((char *)address - t->app) / t->page_bytes;

	return uffd_writeprotect(t->uffd, app_page(t, page), t->page_bytes, false);
}

static void upgrade_by_sigbus(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR | MODE_WP);
	map_protected(t, 0);
	sigbus_resolve_by(t, allow_stores);
	*app_word(t, 0) = 5;
	REQUIRE(t, sigbus_seen.count == 1);
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 5);
}

static void protect_again(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	*app_word(t, 0) = 4;
	set_protection(t, 0, true);
	store_faults_until_allowed(t, 0, 5);
	set_protection(t, 0, true);
	store_faults_until_allowed(t, 0, 6);
}

static void alias_unprotected(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	map_protected(t, 0);
	fill_page(t, 0, 2);
	expect_no_message(t);
	REQUIRE(t, page_holds(t, app_page(t, 0), 2));
	REQUIRE(t, is_protected(t, app_page(t, 0)));
}

/* Protection put on a page that is not mapped holds when a load maps it. */
static void protect_unmapped(struct trial *t)
{
	if (t->memory->shared)
		fill_page(t, 0, 1);
	trial_watch(t, t->memory->shared ? 0 : UFFD_FEATURE_WP_UNPOPULATED, MODE_WP);
	set_protection(t, 0, true);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	REQUIRE(t, is_protected(t, app_page(t, 0)));
	REQUIRE(t, *app_word(t, 0) == (t->memory->shared ? pattern_word(1) : 0));
	expect_no_message(t);
	store_faults_until_allowed(t, 0, 5);
}

static void marker_survives_dontneed(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_WP);
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	set_protection(t, 0, true);
	drop_app_pages(t, 0, 1);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	REQUIRE(t, is_protected(t, app_page(t, 0)));
	store_faults_until_allowed(t, 0, 5);
}

/* A page that was protected and then un-mapped; a store to it waits in the fault that is reported first. */
static void wait_over_marker(struct trial *t, struct touch *touch)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	map_protected(t, 0);
	drop_app_pages(t, 0, 1);
	REQUIRE(t, is_protected(t, app_page(t, 0)));
	touch_write(t, touch, app_word(t, 0), 5);
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
}

static void continue_over_marker(struct trial *t)
{
	struct touch touch;

	wait_over_marker(t, &touch);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	touch_join(t, &touch);
	expect_no_message(t);
	REQUIRE(t, !is_protected(t, app_page(t, 0)));
}

static void continue_wp_over_marker(struct trial *t)
{
	struct touch touch;

	wait_over_marker(t, &touch);
	map_protected(t, 0);
	expect_fault(t, app_page(t, 0), WP_FAULT);
	set_protection(t, 0, false);
	REQUIRE(t, touch_join(t, &touch) == 5);
}

static void protect_many(struct trial *t)
{
	size_t i;

	for (i = 0; i < t->row->pages; i++)
		fill_page(t, i, i);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	REQUIRE_OK(t, uffd_continue(t->uffd, t->app, t->bytes, 0, NULL));
	REQUIRE_OK(t, uffd_writeprotect(t->uffd, t->app, t->bytes, true));
	for (i = 0; i < t->row->pages; i++)
		REQUIRE(t, is_protected(t, app_page(t, i)));
	set_protection(t, 0, false);
	REQUIRE(t, !is_protected(t, app_page(t, 0)) && is_protected(t, app_page(t, 1)));
}

static const struct conformance_case cases[] = {
    {
	.name = "continue-wp",
	.run = continue_wp,
	.memory = ON_SHARED,
	.features = LINUX_6_4,
	.pages = 1,
	.claim = "CONTINUE_MODE_WP maps a page that can be read; the first store is a write-protect fault",
	.later = "mapped protected",
	.since = "6.4",
    },
    {
	.name = "continue-without-wp",
	.run = continue_without_wp,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 1,
	.claim =
	    "CONTINUE without that mode maps for stores, also in a range registered for write-protection",
	.later = "mapped for stores",
	.since = "5.19",
    },
    {
	.name = "upgrade-by-sigbus",
	.run = upgrade_by_sigbus,
	.memory = ON_SHARED,
	.features = LINUX_6_4 | UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim = "a write-protect fault can be resolved in a SIGBUS handler: one signal",
	.later = "one SIGBUS",
	.since = "6.4",
    },
    {
	.name = "protect-again",
	.run = protect_again,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 1,
	.claim = "a page that was written can be protected again, and again",
	.later = "stores fault again",
	.since = "5.19",
    },
    {
	.name = "protect-many",
	.run = protect_many,
	.memory = ON_SHMEM | ON(MEMORY_HUGETLB_2M),
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 16,
	.claim = "one WRITEPROTECT protects a range; allowing one page leaves the others protected",
	.later = "all, then all but one",
	.since = "5.19",
    },
    {
	.name = "alias-unprotected",
	.run = alias_unprotected,
	.memory = ON_SHARED,
	.features = LINUX_6_4,
	.pages = 1,
	.claim = "protection belongs to the mapping: stores through the other one go on, and are seen",
	.later = "no fault",
	.since = "6.4",
    },
    {
	.name = "protect-unmapped",
	.run = protect_unmapped,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 1,
	.claim = "protection can be put on a page of shared memory that is not mapped yet",
	.later = "protected when mapped",
	.since = "5.19",
    },
    {
	.name = "protect-unmapped",
	.run = protect_unmapped,
	.memory = ON(MEMORY_ANON),
	.features = UFFD_FEATURE_WP_UNPOPULATED,
	.pages = 1,
	.claim = "with FEATURE_WP_UNPOPULATED on anonymous memory too",
	.later = "protected when mapped",
	.since = "6.4",
    },
    {
	.name = "marker-survives-dontneed",
	.run = marker_survives_dontneed,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 1,
	.claim = "MADV_DONTNEED un-maps a protected page of shared memory and leaves it protected",
	.later = "still protected",
	.since = "5.19",
    },
    {
	.name = "continue-over-marker",
	.run = continue_over_marker,
	.memory = ON_SHARED,
	.features = LINUX_6_4,
	.pages = 1,
	.claim = "of such a page the minor fault comes first, and CONTINUE alone drops the protection",
	.later = "protection dropped",
	.since = "6.4",
    },
    {
	.name = "continue-wp-over-marker",
	.run = continue_wp_over_marker,
	.memory = ON_SHARED,
	.features = LINUX_6_4,
	.pages = 1,
	.claim = "CONTINUE_MODE_WP keeps it: a waiting store comes back as a write-protect fault",
	.later = "protection kept",
	.since = "6.4",
    },
};

const struct case_table writeprotect_cases = {cases, sizeof(cases) / sizeof(cases[0])};
