/*
 * Conformance: what may be registered, which ioctls a range then reports, which fault is which.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kernel/conformance/trial.h"

#define IOCTL_BIT(number) ((uint64_t)1 << (number))

static void register_minor(struct trial *t)
{
	int err;

	trial_open(t, 0);
	err = uffd_register(t->uffd, t->app, t->bytes, MODE_MINOR, NULL);
	if (!err)
		REQUIRE(t, t->features & t->memory->minor_feature);
	trial_answer(t, "%s", err ? result_name(err) : "registered");
}

/* The ioctls that a registration with @modes reports; the registration is taken off again. */
static uint64_t reported_ioctls(struct trial *t, uint64_t modes)
{
	uint64_t ioctls = 0;

	REQUIRE_OK(t, uffd_register(t->uffd, t->app, t->bytes, modes, &ioctls));
	REQUIRE_OK(t, uffd_unregister(t->uffd, t->app, t->bytes));
	return ioctls;
}

static void ioctls_continue(struct trial *t)
{
	const uint64_t bit = IOCTL_BIT(_UFFDIO_CONTINUE);

	trial_open(t, 0);
	REQUIRE(t, !(reported_ioctls(t, MODE_MISSING) & bit));
	if (!t->memory->shared)
		return;
	REQUIRE(t, reported_ioctls(t, MODE_MINOR) & bit);
	REQUIRE(t, reported_ioctls(t, MODE_MINOR | MODE_MISSING) & bit);
}

static void ioctls_zeropage(struct trial *t)
{
	bool reported;

	trial_open(t, 0);
	reported = reported_ioctls(t, MODE_MISSING) & IOCTL_BIT(_UFFDIO_ZEROPAGE);
	REQUIRE(t, reported_ioctls(t, MODE_MISSING) & IOCTL_BIT(_UFFDIO_COPY));
	trial_answer(t, reported ? "reported" : "not reported");
}

static void ioctls_writeprotect(struct trial *t)
{
	const uint64_t bit = IOCTL_BIT(_UFFDIO_WRITEPROTECT);
	uint64_t ioctls = 0;
	int err;

	trial_open(t, 0);
	REQUIRE(t, !(reported_ioctls(t, MODE_MISSING) & bit));
	err = uffd_register(t->uffd, t->app, t->bytes, MODE_WP, &ioctls);
	/* A kernel that cannot protect this memory refuses the mode: then no range of it reports the ioctl.
	 */
	if (err)
		REQUIRE_RESULT(t, -EINVAL, err);
	trial_answer(t, ioctls & bit ? "reported for WP ranges" : "not reported");
}

static void register_twice(struct trial *t)
{
	int other;

	trial_watch(t, 0, MODE_MINOR);
	other = uffd_open(0, false, NULL);
	REQUIRE(t, other >= 0);
	trial_answer(t, "%s", result_name(uffd_register(other, t->app, t->bytes, MODE_MINOR, NULL)));
}

static void read_and_resolve_minor(struct trial *t, size_t page, uint64_t seed)
{
	struct touch touch;

	touch_read(t, &touch, app_word(t, page));
	expect_fault(t, app_page(t, page), UFFD_PAGEFAULT_FLAG_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, page), t->page_bytes, 0, NULL));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(seed));
}

/* Zeroes and one word. They are brought in, or the kernel would need a second hugepage to copy by way of. */
static uint64_t *make_copy_source(struct trial *t)
{
	uint64_t *source = mmap(NULL, t->page_bytes, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(t, source != MAP_FAILED);
	REQUIRE(t, madvise(source, t->page_bytes, MADV_POPULATE_READ) == 0);
	source[1] = 22;
	return source;
}

static void write_and_resolve_missing(struct trial *t, size_t page)
{
	struct touch touch;
	uint64_t *source = make_copy_source(t);

	touch_write(t, &touch, app_word(t, page), 11);
	expect_fault(t, app_page(t, page), UFFD_PAGEFAULT_FLAG_WRITE);
	REQUIRE_OK(t, uffd_copy(t->uffd, app_page(t, page), source, t->page_bytes, 0, NULL));
	touch_join(t, &touch);
	REQUIRE(t, app_word(t, page)[0] == 11 && app_word(t, page)[1] == 22);
	REQUIRE(t, ((volatile uint64_t *)alias_page(t, page))[0] == 11);
}

/* Page 0 is in the file, page 1 is not. Both are registered both ways. */
static void minor_and_missing(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_MISSING);
	read_and_resolve_minor(t, 0, 1);
	write_and_resolve_missing(t, 1);
	expect_no_message(t);
}

/* The way this project fills a hole: the alias allocates, then the fault is resolved as a minor one. */
static void missing_by_continue(struct trial *t)
{
	struct touch touch;

	trial_watch(t, 0, MODE_MINOR | MODE_MISSING);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), 0);
	fill_page(t, 0, 7);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(7));
	expect_no_message(t);
}

/* Were the hole reported, nobody would answer and the case's time would run out. */
static void minor_only_hole(struct trial *t)
{
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE(t, *app_word(t, 0) == 0);
	expect_no_message(t);
	REQUIRE(t, is_mapped(t, app_page(t, 0)));
}

static void wait_then_unregister(struct trial *t, struct touch *touch, uint64_t modes)
{
	struct uffdio_range range = {.start = (uintptr_t)t->app, .len = t->bytes};

	fill_page(t, 0, 3);
	trial_watch(t, 0, modes);
	touch_read(t, touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	/* Not uffd_unregister(), which also wakes. */
	REQUIRE(t, ioctl(t->uffd, UFFDIO_UNREGISTER, &range) == 0);
}

static void unregister_wakes(struct trial *t)
{
	struct touch touch;

	wait_then_unregister(t, &touch, MODE_MINOR | MODE_MISSING);
	REQUIRE(t, touch_join(t, &touch) == pattern_word(3));
}

static void unregister_minor_only(struct trial *t)
{
	struct touch touch;

	wait_then_unregister(t, &touch, MODE_MINOR);
	trial_note(t, touch_waits(&touch) ? "by WAKE only" : "by UNREGISTER");
	REQUIRE_OK(t, uffd_wake(t->uffd, t->app, t->bytes));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(3));
}

/* The file opened again for reading only, so that its mapping can never be made writable. */
static void register_read_only(struct trial *t)
{
	char path[64];
	void *p;
	int fd;

	fill_page(t, 0, 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	REQUIRE(t, fd >= 0);
	p = mmap(NULL, t->bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	REQUIRE(t, p != MAP_FAILED);
	trial_open(t, 0);
	trial_answer(t, "%s", result_name(uffd_register(t->uffd, p, t->bytes, MODE_MINOR, NULL)));
}

static const struct conformance_case cases[] = {
    {
	.name = "register-minor",
	.run = register_minor,
	.memory = ON_HUGETLB,
	.maps_only = true,
	.pages = 1,
	.claim = "hugetlb memory may be registered for minor faults",
	.letter = "registered",
    },
    {
	.name = "register-minor",
	.run = register_minor,
	.memory = ON_SHMEM,
	.maps_only = true,
	.pages = 1,
	.claim = "shmem may be registered for minor faults (in 2021: only hugetlb)",
	.letter = "-EINVAL",
	.later = "registered",
	.since = "5.14",
    },
    {
	.name = "register-minor",
	.run = register_minor,
	.memory = ON(MEMORY_ANON),
	.maps_only = true,
	.pages = 1,
	.claim = "private anonymous memory has no second mapping, thus no minor faults",
	.letter = "-EINVAL",
    },
    {
	.name = "ioctls-continue",
	.run = ioctls_continue,
	.memory = ON(MEMORY_ANON) | ON_SHARED,
	.maps_only = true,
	.pages = 1,
	.claim = "CONTINUE is reported for MINOR ranges and for no other",
	.letter = "only for MINOR ranges",
    },
    {
	.name = "ioctls-zeropage",
	.run = ioctls_zeropage,
	.memory = ON(MEMORY_ANON) | ON_SHMEM,
	.maps_only = true,
	.pages = 1,
	.claim = "ZEROPAGE is reported for anonymous memory and shmem",
	.later = "reported",
	.since = "4.11",
    },
    {
	.name = "ioctls-zeropage",
	.run = ioctls_zeropage,
	.memory = ON_HUGETLB,
	.maps_only = true,
	.pages = 1,
	.claim = "ZEROPAGE is unsupported on hugetlb",
	.letter = "not reported",
    },
    {
	.name = "ioctls-writeprotect",
	.run = ioctls_writeprotect,
	.memory = ON_SHARED,
	.maps_only = true,
	.pages = 1,
	.claim = "WRITEPROTECT is reported for ranges registered for it (in 2021: not on shared memory)",
	.letter = "not reported",
	.later = "reported for WP ranges",
	.since = "5.19",
    },
    {
	.name = "register-twice",
	.run = register_twice,
	.memory = ON_SHARED,
	.maps_only = true,
	.pages = 1,
	.claim = "a range belongs to one descriptor",
	.later = "-EBUSY",
	.since = "4.3",
    },
    {
	.name = "minor-and-missing",
	.run = minor_and_missing,
	.memory = ON_SHARED,
	.pages = 2,
	.claim = "registered for both: a page in the file faults as minor, a hole as missing",
	.letter = "each fault as what it is",
    },
    {
	.name = "missing-by-continue",
	.run = missing_by_continue,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "a missing fault is over once the alias has made the page and CONTINUE maps it",
	.later = "resolved",
	.since = "5.13",
    },
    {
	.name = "minor-only-hole",
	.run = minor_only_hole,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "registered for minor faults only, a hole is filled with a zero page without a word",
	.letter = "no fault, a zero page",
    },
    {
	.name = "register-read-only",
	.run = register_read_only,
	.memory = ON_MEMFD,
	.pages = 1,
	.claim = "a mapping that can never be written cannot be registered",
	.later = "-EPERM",
	.since = "4.11",
    },
    {
	.name = "unregister-wakes",
	.run = unregister_wakes,
	.memory = ON_SHARED,
	.pages = 1,
	.claim =
	    "a thread that waits in a fault goes on when its range, registered for MISSING, is unregistered",
	.later = "woken",
	.since = "4.3",
    },
    {
	.name = "unregister-minor-only",
	.run = unregister_minor_only,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "of a range registered for minor faults only it goes on after UNREGISTER and WAKE",
	.later = "woken",
	.since = "5.13",
    },
};

const struct case_table registration_cases = {cases, sizeof(cases) / sizeof(cases[0])};
