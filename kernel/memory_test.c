/*
 * memory.h: files, mappings, pools. Needs no userfaultfd, so it runs in a sandbox too; what needs hugepages
 * is skipped without.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "kernel/memory.h"
#include "kernel/test_support.h"

#define PAGE (4 * KIB)

static int make_file(size_t pages, size_t page_bytes)
{
	int fd = memory_file_create("memory-test", pages * page_bytes, page_bytes);

	if (fd == -ENODEV || fd == -ENOSYS)
		SKIP_BECAUSE("no memory files of %s pages: %d", memory_page_size_name(page_bytes), fd);
	assert_true(fd >= 0);
	return fd;
}

static char *map(int fd, size_t bytes)
{
	void *p = NULL;

	assert_int_equal(memory_map(fd, bytes, NULL, &p), 0);
	assert_non_null(p);
	return p;
}

static size_t bytes_in_file(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_blocks * 512;
}

static void three_page_sizes_are_known(void **state)
{
	(void)state;
	assert_true(memory_page_size_is_known(4 * KIB));
	assert_true(memory_page_size_is_known(2 * MIB));
	assert_true(memory_page_size_is_known(1 * GIB));
	assert_false(memory_page_size_is_known(0));
	assert_false(memory_page_size_is_known(64 * KIB));
	assert_string_equal(memory_page_size_name(4 * KIB), "4 KiB");
	assert_string_equal(memory_page_size_name(2 * MIB), "2 MiB");
	assert_string_equal(memory_page_size_name(1 * GIB), "1 GiB");
	assert_string_equal(memory_page_size_name(3), "?");
}

static void sizes_that_do_not_fit_are_refused(void **state)
{
	(void)state;
	errno = ECHILD;
	assert_int_equal(memory_file_create("x", 0, PAGE), -EINVAL);
	assert_int_equal(memory_file_create("x", PAGE + 1, PAGE), -EINVAL);
	assert_int_equal(memory_file_create("x", PAGE, 2 * MIB), -EINVAL);
	assert_int_equal(memory_file_create("x", 64 * KIB, 64 * KIB), -EINVAL);
	assert_int_equal(errno, ECHILD);
}

static void a_new_file_has_its_size_and_no_page(void **state)
{
	int fd = make_file(3, PAGE);
	struct stat st;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3 * PAGE);
	assert_int_equal(bytes_in_file(fd), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void check_that_nobody_changes_its_size(int fd, size_t page_bytes)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(ftruncate(fd, (off_t)page_bytes), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, (off_t)(4 * page_bytes)), -1);
	assert_int_equal(errno, EPERM);
	/* Nor may a peer seal it against stores. */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(memory_punch(fd, page_bytes, page_bytes), 0);
}

static void a_file_is_private_and_keeps_its_size(void **state)
{
	int fd = make_file(3, PAGE);

	(void)state;
	check_that_nobody_changes_its_size(fd, PAGE);
	assert_int_equal(memory_allocate(fd, 0, 3 * PAGE), 0);
	close(fd);
	fd = make_file(3, 2 * MIB);
	check_that_nobody_changes_its_size(fd, 2 * MIB);
	close(fd);
}

static void a_file_is_opened_by_its_identity_only(void **state)
{
	int fd = make_file(2, PAGE);
	int plain = memfd_create("plain", MFD_CLOEXEC);
	struct memory_identity identity;
	struct memory_identity other;
	int again;

	(void)state;
	assert_int_equal(memory_file_identity(fd, &identity), 0);
	again = memory_file_open(getpid(), fd, &identity, 2 * PAGE);
	assert_true(again >= 0);
	assert_true(fcntl(again, F_GETFD) & FD_CLOEXEC);
	close(again);
	assert_int_equal(memory_file_open(getpid(), fd, &identity, 3 * PAGE), -ESTALE);
	assert_int_equal(memory_file_open(0, fd, &identity, PAGE), -ESTALE);
	assert_int_equal(memory_file_open(getpid(), -1, &identity, PAGE), -ESTALE);
	assert_int_equal(memory_file_open(getpid(), 1000000, &identity, PAGE), -ENOENT);
	other = (struct memory_identity){identity.device, identity.inode + 1};
	assert_int_equal(memory_file_open(getpid(), fd, &other, PAGE), -ESTALE);
	other = (struct memory_identity){identity.device + 1, identity.inode};
	assert_int_equal(memory_file_open(getpid(), fd, &other, PAGE), -ESTALE);
	assert_int_equal(ftruncate(plain, (off_t)(2 * PAGE)), 0);
	assert_int_equal(memory_file_identity(plain, &other), 0);
	assert_int_equal(memory_file_open(getpid(), plain, &other, PAGE), -ESTALE);
	close(fd);
	assert_int_equal(memory_file_identity(fd, &identity), -EBADF);
	close(plain);
}

static void two_mappings_show_the_same_bytes(void **state)
{
	int fd = make_file(2, PAGE);
	char *app = map(fd, 2 * PAGE);
	char *alias = map(fd, 2 * PAGE);

	(void)state;
	assert_ptr_not_equal(app, alias);
	alias[PAGE + 5] = 'a';
	assert_int_equal(app[PAGE + 5], 'a');
	munmap(app, 2 * PAGE);
	munmap(alias, 2 * PAGE);
	close(fd);
}

static void a_given_address_is_taken_when_free(void **state)
{
	int fd = make_file(2, PAGE);
	char *first = map(fd, 2 * PAGE);
	void *p = NULL;

	(void)state;
	munmap(first, 2 * PAGE);
	assert_int_equal(memory_map(fd, 2 * PAGE, first, &p), 0);
	assert_ptr_equal(p, first);
	munmap(p, 2 * PAGE);
	close(fd);
}

static void a_taken_address_is_left_alone(void **state)
{
	int fd = make_file(2, PAGE);
	int other = make_file(2, PAGE);
	char *first = map(fd, 2 * PAGE);
	void *p = &fd;

	(void)state;
	first[0] = 'f';
	errno = ECHILD;
	assert_int_equal(memory_map(other, 2 * PAGE, first, &p), -EEXIST);
	assert_int_equal(errno, ECHILD);
	assert_ptr_equal(p, &fd);
	assert_int_equal(first[0], 'f');
	munmap(first, 2 * PAGE);
	close(fd);
	close(other);
}

static char *parents_mapping;

static void mapping_is_gone(void)
{
	unsigned char in_core;

	CHILD_CHECK(mincore(parents_mapping, PAGE, &in_core) == -1 && errno == ENOMEM);
}

static void a_child_does_not_inherit_the_mapping(void **state)
{
	int fd = make_file(1, PAGE);

	(void)state;
	parents_mapping = map(fd, PAGE);
	in_child(mapping_is_gone);
	munmap(parents_mapping, PAGE);
	close(fd);
}

static void allocated_pages_are_zero_and_stay(void **state)
{
	int fd = make_file(4, PAGE);
	char *p = map(fd, 4 * PAGE);

	(void)state;
	assert_int_equal(memory_allocate(fd, PAGE, 2 * PAGE), 0);
	assert_int_equal(bytes_in_file(fd), 2 * PAGE);
	assert_int_equal(p[PAGE], 0);
	p[PAGE] = 'b';
	assert_int_equal(memory_allocate(fd, 0, 4 * PAGE), 0);
	assert_int_equal(bytes_in_file(fd), 4 * PAGE);
	assert_int_equal(p[PAGE], 'b');
	munmap(p, 4 * PAGE);
	close(fd);
}

static void punched_pages_are_gone(void **state)
{
	int fd = make_file(4, PAGE);
	char *p = map(fd, 4 * PAGE);
	struct stat st;

	(void)state;
	memset(p, 'c', 4 * PAGE);
	assert_int_equal(memory_punch(fd, PAGE, 2 * PAGE), 0);
	assert_int_equal(bytes_in_file(fd), 2 * PAGE);
	assert_int_equal(p[PAGE - 1], 'c');
	assert_int_equal(p[PAGE], 0);
	assert_int_equal(p[3 * PAGE - 1], 0);
	assert_int_equal(p[3 * PAGE], 'c');
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4 * PAGE);
	munmap(p, 4 * PAGE);
	close(fd);
}

static void failing_calls_leave_errno(void **state)
{
	void *p = NULL;

	(void)state;
	errno = ECHILD;
	assert_int_equal(memory_map(-1, PAGE, NULL, &p), -EBADF);
	assert_int_equal(memory_allocate(-1, 0, PAGE), -EBADF);
	assert_int_equal(memory_punch(-1, 0, PAGE), -EBADF);
	assert_int_equal(errno, ECHILD);
	assert_null(p);
}

/* More than the pool will ever have, so that only a mapping that reserves nothing can succeed. */
static void a_mapping_reserves_no_hugepages(void **state)
{
	struct hugepage_pool pool;
	size_t pages;
	char *p;
	int fd;

	(void)state;
	if (hugepage_pool_read(2 * MIB, &pool) != 0)
		SKIP_BECAUSE("no hugepages of 2 MiB on this machine");
	pages = pool.total + pool.overcommit + 1;
	fd = make_file(pages, 2 * MIB);
	p = map(fd, pages * 2 * MIB);
	assert_int_equal((uintptr_t)p % (2 * MIB), 0);
	munmap(p, pages * 2 * MIB);
	close(fd);
}

static void hugepages_are_allocated_and_punched(void **state)
{
	int fd = make_file(2, 2 * MIB);
	int err = memory_allocate(fd, 0, 2 * MIB);
	char *p;

	(void)state;
	if (err == -ENOSPC)
		SKIP_BECAUSE("the pool has no free hugepage of 2 MiB");
	assert_int_equal(err, 0);
	assert_int_equal(bytes_in_file(fd), 2 * MIB);
	p = map(fd, 4 * MIB);
	p[2 * MIB - 1] = 'd';
	assert_int_equal(memory_punch(fd, 0, 2 * MIB), 0);
	assert_int_equal(bytes_in_file(fd), 0);
	munmap(p, 4 * MIB);
	close(fd);
}

static void a_pool_is_read(void **state)
{
	struct hugepage_pool pool;
	int err = hugepage_pool_read(2 * MIB, &pool);

	(void)state;
	if (err == -ENOENT)
		SKIP_BECAUSE("no hugepages of 2 MiB on this machine");
	assert_int_equal(err, 0);
	assert_int_equal(pool.page_bytes, 2 * MIB);
	assert_true(pool.free <= pool.total);
	assert_true(pool.surplus <= pool.total);
}

static void a_pool_that_is_none_is_not_read(void **state)
{
	struct hugepage_pool pool = {.total = 77};

	(void)state;
	errno = ECHILD;
	assert_int_equal(hugepage_pool_read(4 * KIB, &pool), -ENOENT);
	assert_int_equal(pool.total, 77);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(three_page_sizes_are_known),
	    cmocka_unit_test(sizes_that_do_not_fit_are_refused),
	    cmocka_unit_test(a_new_file_has_its_size_and_no_page),
	    cmocka_unit_test(a_file_is_private_and_keeps_its_size),
	    cmocka_unit_test(a_file_is_opened_by_its_identity_only),
	    cmocka_unit_test(two_mappings_show_the_same_bytes),
	    cmocka_unit_test(a_given_address_is_taken_when_free),
	    cmocka_unit_test(a_taken_address_is_left_alone),
	    cmocka_unit_test(a_child_does_not_inherit_the_mapping),
	    cmocka_unit_test(allocated_pages_are_zero_and_stay),
	    cmocka_unit_test(punched_pages_are_gone),
	    cmocka_unit_test(failing_calls_leave_errno),
	    cmocka_unit_test(a_mapping_reserves_no_hugepages),
	    cmocka_unit_test(hugepages_are_allocated_and_punched),
	    cmocka_unit_test(a_pool_is_read),
	    cmocka_unit_test(a_pool_that_is_none_is_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
