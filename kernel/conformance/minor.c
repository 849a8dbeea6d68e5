/*
 * Conformance: minor faults and CONTINUE when all goes as it should, by the descriptor and by SIGBUS.
 */
#include "kernel/conformance/trial.h"

static int continue_page_of(struct trial *t, void *address)
{
	size_t offset = (size_t)((char *)address - t->app);

	return uffd_continue(t->uffd, app_page(t, offset / t->page_bytes), t->page_bytes, 0, NULL);
}

static void minor_read_thread(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	expect_waiting(t, &touch);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(1));
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
}

static void minor_write_thread(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	touch_write(t, &touch, app_word(t, 0), 42);
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
	expect_waiting(t, &touch);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	touch_join(t, &touch);
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 42);
}

static void minor_read_sigbus(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR);
	sigbus_resolve_by(t, continue_page_of);
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	REQUIRE(t, sigbus_seen.count == 1);
}

static void minor_write_sigbus(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR);
	sigbus_resolve_by(t, continue_page_of);
	*app_word(t, 0) = 42;
	REQUIRE(t, sigbus_seen.count == 1);
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 42);
}

static void continue_updated(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	fill_page(t, 0, 2);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(2));
	REQUIRE(t, page_holds(t, app_page(t, 0), 2));
}

static void alias_never_faults(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE(t, page_holds(t, alias_page(t, 0), 1));
	fill_page(t, 0, 2);
	expect_no_message(t);
	REQUIRE(t, is_mapped(t, alias_page(t, 0)));
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
}

/* Were there a fault, nobody would answer it, and the case's time would run out. */
static void continue_before_touch(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	REQUIRE(t, is_mapped(t, app_page(t, 0)));
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	*app_word(t, 0) = 9;
	expect_no_message(t);
}

static void continue_many(struct trial *t)
{
	size_t pages = t->row->pages;
	int64_t mapped = 0;
	size_t i;

	for (i = 0; i < pages; i++)
		fill_page(t, i, i);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, t->app, t->bytes, 0, &mapped));
	REQUIRE(t, (size_t)mapped == t->bytes);
	for (i = 0; i < pages; i++)
		REQUIRE(t, page_holds(t, app_page(t, i), i));
	expect_no_message(t);
}

static void continue_dontwake(struct trial *t)
{
	struct touch touch;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	REQUIRE_OK(
	    t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, UFFDIO_CONTINUE_MODE_DONTWAKE, NULL));
	REQUIRE(t, is_mapped(t, app_page(t, 0)));
	expect_waiting(t, &touch);
	REQUIRE_OK(t, uffd_wake(t->uffd, app_page(t, 0), t->page_bytes));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(1));
}

/* Both threads are made to wait before the one CONTINUE: each has sent its message. */
static void continue_wakes_all(struct trial *t)
{
	struct touch first;
	struct touch second;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	touch_read(t, &first, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	touch_read(t, &second, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	REQUIRE(t, touch_join(t, &first) == pattern_word(1));
	REQUIRE(t, touch_join(t, &second) == pattern_word(1));
}

static void check_fault_address(struct trial *t, uint64_t features, size_t offset, size_t reported)
{
	struct touch touch;
	struct uffd_msg msg;

	fill_page(t, 0, 1);
	trial_watch(t, features, MODE_MINOR);
	touch_read(t, &touch, (volatile uint64_t *)(app_page(t, 0) + offset));
	msg = next_fault(t);
	REQUIRE(t, msg.arg.pagefault.address == (uintptr_t)app_page(t, 0) + reported);
	REQUIRE_OK(t, continue_page_of(t, app_page(t, 0)));
	touch_join(t, &touch);
}

static void page_address(struct trial *t)
{
	check_fault_address(t, 0, t->page_bytes - 64, 0);
}

static void exact_address(struct trial *t)
{
	check_fault_address(t, UFFD_FEATURE_EXACT_ADDRESS, t->page_bytes - 64, t->page_bytes - 64);
}

static const struct conformance_case cases[] = {
    {
	.name = "minor-read-thread",
	.run = minor_read_thread,
	.memory = ON_SHARED,
	.pages = 1,
	.claim =
	    "a load from a page that is in the file and not mapped is a minor fault; CONTINUE alone ends it",
	.letter = "a minor fault",
    },
    {
	.name = "minor-write-thread",
	.run = minor_write_thread,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "so is a store, which says that it is one; it lands in the file",
	.letter = "a minor fault",
    },
    {
	.name = "minor-read-sigbus",
	.run = minor_read_sigbus,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim = "the same load, resolved in a SIGBUS handler on the thread itself: one signal",
	.letter = "a minor fault",
    },
    {
	.name = "minor-write-sigbus",
	.run = minor_write_sigbus,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim = "the same store, resolved in a SIGBUS handler on the thread itself: one signal",
	.letter = "a minor fault",
    },
    {
	.name = "continue-updated",
	.run = continue_updated,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "what the second mapping wrote before CONTINUE is what the waiting thread reads",
	.letter = "the new bytes",
    },
    {
	.name = "alias-never-faults",
	.run = alias_never_faults,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "the second mapping is read and written without a fault, and maps nothing in the first",
	.letter = "no fault",
    },
    {
	.name = "continue-before-touch",
	.run = continue_before_touch,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "a page may be mapped in the background, before anybody faults on it",
	.letter = "no fault",
    },
    {
	.name = "continue-many",
	.run = continue_many,
	.memory = ON_SHMEM | ON(MEMORY_HUGETLB_2M),
	.pages = 16,
	.claim = "one CONTINUE maps a range of pages",
	.later = "all mapped",
	.since = "5.13",
    },
    {
	.name = "continue-many",
	.run = continue_many,
	.memory = ON(MEMORY_HUGETLB_1G),
	.pages = 2,
	.claim = "one CONTINUE maps a range of pages",
	.later = "all mapped",
	.since = "5.13",
    },
    {
	.name = "continue-dontwake",
	.run = continue_dontwake,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "CONTINUE_MODE_DONTWAKE maps and lets the thread wait until UFFDIO_WAKE",
	.later = "woken by WAKE only",
	.since = "5.13",
    },
    {
	.name = "continue-wakes-all",
	.run = continue_wakes_all,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "one CONTINUE lets every thread go on that waits for the page",
	.later = "all woken",
	.since = "5.13",
    },
    {
	.name = "page-address",
	.run = page_address,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "the message names the start of the page, huge or not",
	.later = "the page's address",
	.since = "5.13",
    },
    {
	.name = "exact-address",
	.run = exact_address,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_EXACT_ADDRESS,
	.pages = 1,
	.claim = "with FEATURE_EXACT_ADDRESS the message names the byte that was touched",
	.later = "the byte's address",
	.since = "5.18",
    },
};

const struct case_table minor_cases = {cases, sizeof(cases) / sizeof(cases[0])};
