/*
 * Conformance: ioctls that do not fit the fault, and what they answer. The letter's section "Interaction with
 * Existing APIs", line by line.
 */
#include <errno.h>
#include <sys/mman.h>

#include "kernel/conformance/trial.h"

/* A thread that waits in a minor fault on page 0, whose pattern is of seed 1. */
static void wait_in_minor_fault(struct trial *t, struct touch *touch, uint64_t modes)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, modes);
	touch_read(t, touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
}

/* What was tried did no harm: the thread waits on, the bytes are as they were, CONTINUE still ends it. */
static void still_a_minor_fault(struct trial *t, struct touch *touch)
{
	expect_waiting(t, touch);
	REQUIRE(t, page_holds(t, alias_page(t, 0), 1));
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, touch_join(t, touch) == pattern_word(1));
}

static void continue_hole(struct trial *t)
{
	uint64_t modes = MODE_MISSING | (t->memory->shared ? MODE_MINOR : 0);
	struct touch touch;
	int64_t mapped = -1;
	int err;

	trial_watch(t, 0, modes);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), 0);
	err = uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, &mapped);
	REQUIRE(t, err < 0 && mapped == 0);
	expect_waiting(t, &touch);
	REQUIRE(t, !is_mapped(t, app_page(t, 0)));
	trial_answer(t, "%s", result_name(err));
}

static void copy_on_minor(struct trial *t)
{
	struct touch touch;
	int64_t copied = -1;
	int err;
	void *source =
	    mmap(NULL, t->page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(t, source != MAP_FAILED);
	wait_in_minor_fault(t, &touch, MODE_MINOR | MODE_MISSING);
	err = uffd_copy(t->uffd, app_page(t, 0), source, t->page_bytes, 0, &copied);
	REQUIRE(t, err < 0 && copied == 0);
	still_a_minor_fault(t, &touch);
	trial_answer(t, "%s", result_name(err));
}

static void zeropage_on_minor(struct trial *t)
{
	struct touch touch;
	int64_t zeroed = -1;
	int err;

	wait_in_minor_fault(t, &touch, MODE_MINOR | MODE_MISSING);
	err = uffd_zeropage(t->uffd, app_page(t, 0), t->page_bytes, 0, &zeroed);
	REQUIRE(t, err < 0 && zeroed == 0);
	still_a_minor_fault(t, &touch);
	trial_answer(t, "%s", result_name(err));
}

static void writeprotect_on_minor(struct trial *t)
{
	struct touch touch;
	int err;

	wait_in_minor_fault(t, &touch, MODE_MINOR);
	err = uffd_writeprotect(t->uffd, app_page(t, 0), t->page_bytes, true);
	REQUIRE(t, err < 0);
	still_a_minor_fault(t, &touch);
	trial_answer(t, "%s", result_name(err));
}

/* "Regardless of the kind of fault": here a missing one. */
static void writeprotect_on_missing(struct trial *t)
{
	struct touch touch;
	int err;

	trial_watch(t, 0, MODE_MISSING);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), 0);
	err = uffd_writeprotect(t->uffd, app_page(t, 0), t->page_bytes, true);
	REQUIRE(t, err < 0);
	expect_waiting(t, &touch);
	trial_answer(t, "%s", result_name(err));
}

/* Registers for write-protection where the kernel can; in 2021 it could not, and the ioctl was refused. */
static void writeprotect_shared(struct trial *t)
{
	struct touch touch;
	int err;

	fill_page(t, 0, 1);
	trial_open(t, 0);
	err = uffd_register(t->uffd, t->app, t->bytes, MODE_MINOR | MODE_WP, NULL);
	if (err)
		REQUIRE_OK(t, uffd_register(t->uffd, t->app, t->bytes, MODE_MINOR, NULL));
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	err = uffd_writeprotect(t->uffd, app_page(t, 0), t->page_bytes, true);
	if (err) {
		trial_answer(t, "%s", result_name(err));
		return;
	}
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	expect_no_message(t);
	touch_write(t, &touch, app_word(t, 0), 5);
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
	expect_waiting(t, &touch);
	REQUIRE(t, page_holds(t, alias_page(t, 0), 1));
	REQUIRE_OK(t, uffd_writeprotect(t->uffd, app_page(t, 0), t->page_bytes, false));
	touch_join(t, &touch);
	REQUIRE(t, *(volatile uint64_t *)alias_page(t, 0) == 5);
	trial_answer(t, "stores fault until allowed");
}

static void continue_twice(struct trial *t)
{
	int64_t mapped = -1;
	int err;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	err = uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, &mapped);
	REQUIRE(t, mapped == 0);
	REQUIRE(t, page_holds(t, app_page(t, 0), 1));
	trial_answer(t, "%s", result_name(err));
}

/* Page 0 is in the file, page 1 is a hole: the call says how far it came, and a second one why it stopped. */
static void continue_stops_at_hole(struct trial *t)
{
	int64_t mapped = -1;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_RESULT(t, -EAGAIN, uffd_continue(t->uffd, t->app, t->bytes, 0, &mapped));
	REQUIRE(t, (size_t)mapped == t->page_bytes);
	REQUIRE_RESULT(t, -EFAULT, uffd_continue(t->uffd, app_page(t, 1), t->page_bytes, 0, &mapped));
	REQUIRE(t, mapped == 0);
	REQUIRE(t, is_mapped(t, app_page(t, 0)) && !is_mapped(t, app_page(t, 1)));
}

static void continue_stops_at_mapped(struct trial *t)
{
	int64_t mapped = -1;
	size_t existed = 0;

	fill_page(t, 0, 1);
	fill_page(t, 1, 2);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 1), t->page_bytes, 0, NULL));
	REQUIRE_RESULT(t, -EAGAIN, uffd_continue(t->uffd, t->app, t->bytes, 0, &mapped));
	REQUIRE(t, (size_t)mapped == t->page_bytes);
	REQUIRE_OK(t, uffd_continue_all(t->uffd, t->app, t->bytes, t->page_bytes, 0, &existed));
	REQUIRE(t, existed == 2);
}

static void continue_unregistered(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_open(t, 0);
	trial_answer(t, "%s", result_name(uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL)));
}

static const struct conformance_case cases[] = {
    {
	.name = "continue-hole",
	.run = continue_hole,
	.memory = ON(MEMORY_ANON),
	.maps_only = true,
	.pages = 1,
	.claim = "CONTINUE does not resolve a fault that is not minor: it allocates no page",
	.letter = "-EINVAL",
    },
    {
	.name = "continue-hole",
	.run = continue_hole,
	.memory = ON_SHMEM,
	.maps_only = true,
	.pages = 1,
	.claim = "the same on shmem: as on hugetlb, since it has minor faults itself",
	.letter = "-EINVAL",
	.later = "-EFAULT",
	.since = "5.14",
    },
    {
	.name = "continue-hole",
	.run = continue_hole,
	.memory = ON_HUGETLB,
	.maps_only = true,
	.pages = 1,
	.claim = "the same on hugetlb",
	.letter = "-EFAULT",
    },
    {
	.name = "copy-on-minor",
	.run = copy_on_minor,
	.memory = ON_SHARED,
	.pages = 2,
	.claim = "COPY does not resolve a minor fault, and leaves the page as it is",
	.letter = "-EEXIST",
    },
    {
	.name = "zeropage-on-minor",
	.run = zeropage_on_minor,
	.memory = ON_SHMEM,
	.pages = 2,
	.claim = "ZEROPAGE does not resolve a minor fault, and leaves the page as it is",
	.letter = "-EEXIST",
    },
    {
	.name = "zeropage-on-minor",
	.run = zeropage_on_minor,
	.memory = ON_HUGETLB,
	.pages = 1,
	.claim = "ZEROPAGE is unsupported on hugetlb, whatever the fault",
	.letter = "-EINVAL",
    },
    {
	.name = "writeprotect-on-minor",
	.run = writeprotect_on_minor,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "WRITEPROTECT does not apply to a range that is registered for minor faults only",
	.letter = "-ENOENT",
    },
    {
	.name = "writeprotect-on-missing",
	.run = writeprotect_on_missing,
	.memory = ON_SHARED,
	.maps_only = true,
	.pages = 1,
	.claim = "nor to one that is registered for missing faults only",
	.letter = "-ENOENT",
    },
    {
	.name = "writeprotect-shared",
	.run = writeprotect_shared,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "shared memory can be write-protected (in 2021: not at all)",
	.letter = "-ENOENT",
	.later = "stores fault until allowed",
	.since = "5.19",
    },
    {
	.name = "continue-twice",
	.run = continue_twice,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "CONTINUE of a page that is mapped says so",
	.later = "-EEXIST",
	.since = "5.13",
    },
    {
	.name = "continue-stops-at-hole",
	.run = continue_stops_at_hole,
	.memory = ON_SHARED,
	.pages = 2,
	.claim =
	    "CONTINUE of a range stops at a hole with -EAGAIN and says how far it came; there it is -EFAULT",
	.later = "mapped up to the hole",
	.since = "5.14",
    },
    {
	.name = "continue-stops-at-mapped",
	.run = continue_stops_at_mapped,
	.memory = ON_SHARED,
	.pages = 2,
	.claim = "CONTINUE of a range stops at a mapped page with -EAGAIN and says how far it came",
	.later = "mapped up to the mapped one",
	.since = "5.13",
    },
    {
	.name = "continue-unregistered",
	.run = continue_unregistered,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "CONTINUE needs a registered range",
	.later = "-ENOENT",
	.since = "5.13",
    },
};

const struct case_table resolve_cases = {cases, sizeof(cases) / sizeof(cases[0])};
