/*
 * probe.h: the rows are complete, they agree with what a caller can do, and probing leaves nothing behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "kernel/memory.h"
#include "kernel/probe.h"
#include "kernel/test_support.h"

static struct kernel_feature_status rows[KERNEL_FEATURE_COUNT];

static void every_row_says_what_it_is_for(void **state)
{
	size_t i;
	size_t j;

	(void)state;
	kernel_probe(rows);
	for (i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		assert_true(rows[i].name && *rows[i].name);
		assert_true(rows[i].since && strchr(rows[i].since, '.'));
		assert_true(rows[i].purpose && *rows[i].purpose);
		assert_true(rows[i].consequence && *rows[i].consequence);
		assert_true(rows[i].remedy && *rows[i].remedy);
		for (j = 0; j < i; j++)
			assert_string_not_equal(rows[i].name, rows[j].name);
	}
}

static void what_is_available_has_no_error(void **state)
{
	size_t i;

	(void)state;
	kernel_probe(rows);
	for (i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		assert_true(rows[i].error <= 0);
		if (rows[i].available)
			assert_int_equal(rows[i].error, 0);
	}
}

static void any_door_makes_userfaultfd_available(void **state)
{
	bool any;

	(void)state;
	kernel_probe(rows);
	any = rows[KERNEL_UFFD_SYSCALL].available || rows[KERNEL_UFFD_DEVICE].available ||
	      rows[KERNEL_UFFD_USER_MODE].available;
	assert_int_equal(rows[KERNEL_UFFD].available, any);
	assert_true(rows[KERNEL_UFFD].required);
}

static void features_agree_with_the_handshake(void **state)
{
	uint64_t features = 0;
	int err = uffd_query(&features, NULL);

	(void)state;
	if (err)
		SKIP_BECAUSE("userfaultfd is not to be had here: %d", err);
	kernel_probe(rows);
	assert_int_equal(rows[KERNEL_UFFD_SIGBUS].available, !!(features & UFFD_FEATURE_SIGBUS));
	assert_int_equal(rows[KERNEL_UFFD_POISON].available, !!(features & UFFD_FEATURE_POISON));
	assert_int_equal(rows[KERNEL_UFFD_WP_ASYNC].available, !!(features & UFFD_FEATURE_WP_ASYNC));
	assert_int_equal(rows[KERNEL_UFFD_MINOR_SHMEM].available, !!(features & UFFD_FEATURE_MINOR_SHMEM));
	assert_int_equal(rows[KERNEL_UFFD_MINOR_HUGETLB].available,
			 !!(features & UFFD_FEATURE_MINOR_HUGETLBFS));
	/* 6.4 brought both, and only one has a feature bit. */
	assert_int_equal(rows[KERNEL_UFFD_CONTINUE_WP].available, !!(features & UFFD_FEATURE_WP_UNPOPULATED));
}

static void memory_files_agree_with_an_attempt(void **state)
{
	int fd = memory_file_create("probe-test", 1 * GIB, 1 * GIB);

	(void)state;
	kernel_probe(rows);
	assert_int_equal(rows[KERNEL_MEMFD_HUGETLB_1G].available, fd >= 0);
	assert_int_equal(rows[KERNEL_MEMFD_HUGETLB_1G].error, fd < 0 ? fd : 0);
	if (fd >= 0)
		close(fd);
}

static size_t count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static size_t count_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t n = 0;
	int c;

	assert_non_null(maps);
	while ((c = fgetc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

static void probing_leaves_nothing_behind(void **state)
{
	size_t descriptors;
	size_t mappings;
	int i;

	(void)state;
	/* Once before: what the C library keeps for itself is not ours. */
	kernel_probe(rows);
	count_mappings();
	descriptors = count_descriptors();
	mappings = count_mappings();
	for (i = 0; i < 10; i++)
		kernel_probe(rows);
	assert_int_equal(count_descriptors(), descriptors);
	assert_true(count_mappings() <= mappings + 2);
}

static void probe_as_nobody(void)
{
	become_nobody();
	kernel_probe(rows);
	CHILD_CHECK(rows[KERNEL_UFFD_USER_MODE].available);
	CHILD_CHECK(rows[KERNEL_UFFD].available);
	CHILD_CHECK(rows[KERNEL_UFFD_MINOR_SHMEM].available);
	CHILD_CHECK(!rows[KERNEL_UFFD_SYSCALL].available);
	CHILD_CHECK(rows[KERNEL_UFFD_SYSCALL].error == -EPERM);
	CHILD_CHECK(!rows[KERNEL_UFFD_DEVICE].available);
	CHILD_CHECK(rows[KERNEL_UFFD_DEVICE].error == -EACCES);
}

static void lost_privilege_is_seen(void **state)
{
	char sysctl[4] = "";
	int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY);

	(void)state;
	if (fd >= 0) {
		assert_true(read(fd, sysctl, sizeof(sysctl) - 1) > 0);
		close(fd);
	}
	kernel_probe(rows);
	if (geteuid() != 0 || !rows[KERNEL_UFFD_SYSCALL].available || !rows[KERNEL_UFFD_DEVICE].available ||
	    !rows[KERNEL_UFFD_MINOR_SHMEM].available)
		SKIP_BECAUSE("there is no privilege to lose here");
	if (sysctl[0] != '0')
		SKIP_BECAUSE("vm.unprivileged_userfaultfd is set: everybody is privileged");
	in_child(probe_as_nobody);
}

static void probe_without_descriptors(void)
{
	const struct rlimit none = {0, 0};
	size_t i;

	CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	kernel_probe(rows);
	for (i = 0; i < KERNEL_FEATURE_COUNT; i++)
		CHILD_CHECK(!rows[i].available && rows[i].error < 0);
	CHILD_CHECK(rows[KERNEL_UFFD_DEVICE].error == -EMFILE || rows[KERNEL_UFFD_DEVICE].error == -ENOENT);
	CHILD_CHECK(rows[KERNEL_MEMFD_HUGETLB_2M].error == -EMFILE);
	CHILD_CHECK(rows[KERNEL_UFFD_MINOR_SHMEM].error == -EMFILE);
}

static void what_could_not_be_tried_is_not_available(void **state)
{
	(void)state;
	in_child(probe_without_descriptors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_says_what_it_is_for),
	    cmocka_unit_test(what_is_available_has_no_error),
	    cmocka_unit_test(any_door_makes_userfaultfd_available),
	    cmocka_unit_test(features_agree_with_the_handshake),
	    cmocka_unit_test(memory_files_agree_with_an_attempt),
	    cmocka_unit_test(probing_leaves_nothing_behind),
	    cmocka_unit_test(lost_privilege_is_seen),
	    cmocka_unit_test(what_could_not_be_tried_is_not_available),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
