/*
 * pagemap.h: entries and scans of a range whose state is known.
 */
#include <errno.h>
#include <sys/mman.h>

#include "kernel/memory.h"
#include "kernel/pagemap.h"
#include "kernel/test_support.h"
#include "kernel/uffd.h"

#define PAGE (4 * KIB)
#define PAGES 8

struct fixture {
	int pagemap;
	int uffd; /* -1 until watch() */
	char *memory;
};

static int set_up(void **state)
{
	static struct fixture f;
	void *p = NULL;
	int file = memory_file_create("pagemap-test", PAGES * PAGE, PAGE);

	assert_true(file >= 0);
	assert_int_equal(memory_map(file, PAGES * PAGE, NULL, &p), 0);
	close(file);
	f.memory = p;
	f.uffd = -1;
	f.pagemap = pagemap_open();
	assert_true(f.pagemap >= 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->uffd >= 0)
		close(f->uffd);
	close(f->pagemap);
	munmap(f->memory, PAGES * PAGE);
	return 0;
}

/* Registers the range for asynchronous write-protection, and protects it. */
static void watch(struct fixture *f)
{
	f->uffd = uffd_open(UFFD_FEATURE_WP_ASYNC, false, NULL);
	if (f->uffd == -EPERM || f->uffd == -ENOSYS || f->uffd == -EOPNOTSUPP)
		SKIP_BECAUSE("userfaultfd with WP_ASYNC is not to be had here: %d", f->uffd);
	assert_true(f->uffd >= 0);
	assert_int_equal(uffd_register(f->uffd, f->memory, PAGES * PAGE, UFFDIO_REGISTER_MODE_WP, NULL), 0);
	assert_int_equal(uffd_writeprotect(f->uffd, f->memory, PAGES * PAGE, true), 0);
}

static int scan(const struct fixture *f, struct page_region *regions, size_t capacity, size_t *count,
		const void **walk_end)
{
	return pagemap_scan_written(f->pagemap, f->memory, PAGES * PAGE, regions, capacity, count, walk_end);
}

static void entries_tell_mapped_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t entries[PAGES];
	size_t i;

	f->memory[2 * PAGE] = 1;
	f->memory[5 * PAGE] = 1;
	assert_int_equal(pagemap_read(f->pagemap, f->memory, PAGES, entries), 0);
	for (i = 0; i < PAGES; i++)
		assert_int_equal(!!(entries[i] & PAGEMAP_PRESENT), i == 2 || i == 5);
	assert_true(entries[2] & PAGEMAP_FILE);
}

static void an_address_within_a_page_means_its_page(void **state)
{
	struct fixture *f = *state;
	uint64_t entry = 0;

	f->memory[PAGE] = 1;
	assert_int_equal(pagemap_read(f->pagemap, f->memory + PAGE + 100, 1, &entry), 0);
	assert_true(entry & PAGEMAP_PRESENT);
}

static void entries_tell_protected_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t entries[2];

	watch(f);
	(void)*(volatile char *)f->memory;
	assert_int_equal(pagemap_read(f->pagemap, f->memory, 2, entries), 0);
	assert_true((entries[0] & PAGEMAP_PRESENT) && (entries[0] & PAGEMAP_UFFD_WP));
	assert_true(!(entries[1] & PAGEMAP_PRESENT) && (entries[1] & PAGEMAP_UFFD_WP));
}

static void beyond_the_address_space_is_a_fault(void **state)
{
	struct fixture *f = *state;
	/* The kernel's half. */
	const void *beyond =
	    (const void *)(uintptr_t)0xffff800000000000ull; // NOLINT(performance-no-int-to-ptr)
	uint64_t entry = 0;

	errno = ECHILD;
	assert_int_equal(pagemap_read(f->pagemap, beyond, 1, &entry), -EFAULT);
	assert_int_equal(pagemap_read(-1, f->memory, 1, &entry), -EBADF);
	assert_int_equal(errno, ECHILD);
}

static void a_scan_finds_written_pages_once(void **state)
{
	struct fixture *f = *state;
	struct page_region regions[PAGES];
	const void *walk_end = NULL;
	size_t count = 99;

	watch(f);
	f->memory[PAGE] = 1;
	f->memory[2 * PAGE] = 1;
	f->memory[6 * PAGE] = 1;
	assert_int_equal(scan(f, regions, PAGES, &count, &walk_end), 0);
	assert_int_equal(count, 2);
	assert_int_equal(regions[0].start, (uintptr_t)f->memory + PAGE);
	assert_int_equal(regions[0].end, (uintptr_t)f->memory + 3 * PAGE);
	assert_int_equal(regions[1].start, (uintptr_t)f->memory + 6 * PAGE);
	assert_int_equal(regions[1].end, (uintptr_t)f->memory + 7 * PAGE);
	assert_ptr_equal(walk_end, f->memory + PAGES * PAGE);
	assert_int_equal(scan(f, regions, PAGES, &count, &walk_end), 0);
	assert_int_equal(count, 0);
}

static void a_scan_that_is_full_says_where_to_go_on(void **state)
{
	struct fixture *f = *state;
	struct page_region regions[2];
	const void *walk_end = NULL;
	size_t count = 99;
	size_t found = 0;
	char *at = f->memory;
	char *end = f->memory + PAGES * PAGE;
	size_t i;

	watch(f);
	for (i = 0; i < PAGES; i += 2)
		f->memory[i * PAGE] = 1;
	while (at < end) {
		assert_int_equal(
		    pagemap_scan_written(f->pagemap, at, (size_t)(end - at), regions, 2, &count, &walk_end),
		    0);
		assert_true((const char *)walk_end > at);
		found += count;
		at = (char *)walk_end;
	}
	assert_int_equal(found, PAGES / 2);
}

static void a_scan_of_an_unwatched_range_is_refused(void **state)
{
	struct fixture *f = *state;
	struct page_region region;
	const void *walk_end = f;
	size_t count = 99;
	int err = scan(f, &region, 1, &count, &walk_end);

	if (err == -ENOTTY)
		SKIP_BECAUSE("this kernel has no PAGEMAP_SCAN (Linux 6.7)");
	assert_int_equal(err, -EPERM);
	assert_int_equal(count, 99);
	assert_ptr_equal(walk_end, f);
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    WITH_FIXTURE(entries_tell_mapped_pages),
	    WITH_FIXTURE(an_address_within_a_page_means_its_page),
	    WITH_FIXTURE(entries_tell_protected_pages),
	    WITH_FIXTURE(beyond_the_address_space_is_a_fault),
	    WITH_FIXTURE(a_scan_finds_written_pages_once),
	    WITH_FIXTURE(a_scan_that_is_full_says_where_to_go_on),
	    WITH_FIXTURE(a_scan_of_an_unwatched_range_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
