/*
 * uffd.h: what the wrappers add to the kernel's answers. What the kernel itself answers is
 * kernel/conformance's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel/memory.h"
#include "kernel/pagemap.h"
#include "kernel/test_support.h"
#include "kernel/uffd.h"

#define PAGE (4 * KIB)
#define PAGES 4

/* A file of four pages, all in it, mapped twice; none is mapped in the app mapping. */
struct fixture {
	int file;
	int uffd;
	char *app;
	char *alias;
};

static int set_up(void **state)
{
	static struct fixture f;
	void *p = NULL;

	f.file = memory_file_create("uffd-test", PAGES * PAGE, PAGE);
	assert_true(f.file >= 0);
	assert_int_equal(memory_allocate(f.file, 0, PAGES * PAGE), 0);
	assert_int_equal(memory_map(f.file, PAGES * PAGE, NULL, &p), 0);
	f.app = p;
	assert_int_equal(memory_map(f.file, PAGES * PAGE, NULL, &p), 0);
	f.alias = p;
	f.uffd = uffd_open(0, false, NULL);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->uffd >= 0)
		close(f->uffd);
	munmap(f->app, PAGES * PAGE);
	munmap(f->alias, PAGES * PAGE);
	close(f->file);
	return 0;
}

static struct fixture *fixture_of(void **state)
{
	struct fixture *f = *state;

	if (f->uffd == -EPERM || f->uffd == -ENOSYS)
		SKIP_BECAUSE("userfaultfd is not to be had here: %d", f->uffd);
	assert_true(f->uffd >= 0);
	return f;
}

static void register_minor(const struct fixture *f)
{
	assert_int_equal(uffd_register(f->uffd, f->app, PAGES * PAGE, UFFDIO_REGISTER_MODE_MINOR, NULL), 0);
}

static void every_door_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(uffd_door_name(UFFD_DOOR_SYSCALL), "syscall");
	assert_string_equal(uffd_door_name(UFFD_DOOR_DEVICE), "device");
	assert_string_equal(uffd_door_name(UFFD_DOOR_SYSCALL_USER_MODE), "syscall-user-mode");
	assert_string_equal(uffd_door_name(UFFD_DOOR_COUNT), "?");
}

static void a_door_that_is_none_is_refused(void **state)
{
	(void)state;
	assert_int_equal(uffd_open_door(UFFD_DOOR_COUNT), -EINVAL);
}

static void a_descriptor_is_closed_on_exec_and_does_not_block(void **state)
{
	struct fixture *f = fixture_of(state);

	assert_true(fcntl(f->uffd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(f->uffd, F_GETFL) & O_NONBLOCK);
}

static void an_unknown_feature_is_not_supported(void **state)
{
	enum uffd_door door = UFFD_DOOR_COUNT;

	fixture_of(state);
	assert_int_equal(uffd_open(1ull << 62, false, &door), -EOPNOTSUPP);
	assert_int_equal(door, UFFD_DOOR_COUNT);
}

static void the_first_open_door_is_taken(void **state)
{
	enum uffd_door door = UFFD_DOOR_COUNT;
	int fd = uffd_open_door(UFFD_DOOR_SYSCALL);

	fixture_of(state);
	if (fd < 0)
		SKIP_BECAUSE("the first door is closed to us: %d", fd);
	close(fd);
	fd = uffd_open(0, false, &door);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(door, UFFD_DOOR_SYSCALL);
}

static void open_as_nobody(void)
{
	enum uffd_door door = UFFD_DOOR_COUNT;
	int fd;

	become_nobody();
	fd = uffd_open(0, false, &door);
	CHILD_CHECK(fd >= 0 && door == UFFD_DOOR_SYSCALL_USER_MODE);
	door = UFFD_DOOR_COUNT;
	CHILD_CHECK(uffd_open(0, true, &door) == -EACCES && door == UFFD_DOOR_COUNT);
}

static void without_privilege_faults_from_the_kernel_are_refused(void **state)
{
	char sysctl[4] = "";
	int fd = open("/proc/sys/vm/unprivileged_userfaultfd", O_RDONLY);

	fixture_of(state);
	if (geteuid() != 0)
		SKIP_BECAUSE("only root can become nobody");
	if (access("/dev/userfaultfd", F_OK) != 0)
		SKIP_BECAUSE("there is no /dev/userfaultfd to be refused");
	assert_true(fd >= 0);
	assert_true(read(fd, sysctl, sizeof(sysctl) - 1) > 0);
	close(fd);
	if (sysctl[0] != '0')
		SKIP_BECAUSE("vm.unprivileged_userfaultfd is %c: everybody is privileged", sysctl[0]);
	in_child(open_as_nobody);
}

static void query_agrees_with_the_handshake(void **state)
{
	uint64_t features = 0;
	uint64_t ioctls = 0;
	uint64_t again = 0;
	int fd;

	fixture_of(state);
	assert_int_equal(uffd_query(&features, &ioctls), 0);
	assert_true(ioctls & (1ull << _UFFDIO_REGISTER));
	fd = uffd_open_door(UFFD_DOOR_SYSCALL_USER_MODE);
	assert_true(fd >= 0);
	assert_int_equal(uffd_api(fd, 0, &again, NULL), 0);
	assert_int_equal(uffd_api(fd, 0, &again, NULL), -EINVAL);
	close(fd);
	/* Write-protect features may be withheld by a door, never added. */
	assert_int_equal(again & ~features, 0);
}

/* A descriptor that is none: every wrapper says so, and none touches errno or its outputs. */
static void failure_touches_neither_errno_nor_outputs(void **state)
{
	uint64_t ioctls = 77;
	uint64_t features = 77;
	char page[8];

	(void)state;
	errno = ECHILD;
	assert_int_equal(uffd_api(-1, 0, &features, &ioctls), -EBADF);
	assert_int_equal(uffd_register(-1, page, PAGE, UFFDIO_REGISTER_MODE_MINOR, &ioctls), -EBADF);
	assert_int_equal(uffd_unregister(-1, page, PAGE), -EBADF);
	assert_int_equal(uffd_wake(-1, page, PAGE), -EBADF);
	assert_int_equal(uffd_writeprotect(-1, page, PAGE, true), -EBADF);
	assert_int_equal(ioctls, 77);
	assert_int_equal(features, 77);
	assert_int_equal(errno, ECHILD);
}

static void failure_has_done_no_bytes(void **state)
{
	int64_t done[5] = {7, 7, 7, 7, 7};
	size_t existed = 7;
	char page[8];
	size_t i;

	(void)state;
	errno = ECHILD;
	assert_int_equal(uffd_continue(-1, page, PAGE, 0, &done[0]), -EBADF);
	assert_int_equal(uffd_copy(-1, page, page, PAGE, 0, &done[1]), -EBADF);
	assert_int_equal(uffd_zeropage(-1, page, PAGE, 0, &done[2]), -EBADF);
	assert_int_equal(uffd_poison(-1, page, PAGE, 0, &done[3]), -EBADF);
	assert_int_equal(uffd_continue_all(-1, page, PAGE, PAGE, 0, &existed), -EBADF);
	for (i = 0; i < 4; i++)
		assert_int_equal(done[i], 0);
	assert_int_equal(existed, 0);
	assert_int_equal(errno, ECHILD);
}

static void success_leaves_errno(void **state)
{
	struct fixture *f = fixture_of(state);

	errno = ECHILD;
	register_minor(f);
	assert_int_equal(uffd_continue(f->uffd, f->app, PAGE, 0, NULL), 0);
	assert_int_equal(errno, ECHILD);
}

static void register_reports_ioctls(void **state)
{
	struct fixture *f = fixture_of(state);
	uint64_t ioctls = 0;

	assert_int_equal(uffd_register(f->uffd, f->app, PAGE, UFFDIO_REGISTER_MODE_MINOR, &ioctls), 0);
	assert_true(ioctls & (1ull << _UFFDIO_CONTINUE));
	assert_int_equal(uffd_register(f->uffd, f->app + 1, PAGE, UFFDIO_REGISTER_MODE_MINOR, &ioctls),
			 -EINVAL);
}

static void unregister_takes_off_what_is_ours(void **state)
{
	struct fixture *f = fixture_of(state);
	int other = uffd_open(0, false, NULL);

	assert_true(other >= 0);
	register_minor(f);
	assert_int_equal(uffd_unregister(f->uffd, f->app, PAGES * PAGE), 0);
	assert_int_equal(uffd_unregister(f->uffd, f->app, PAGES * PAGE), 0);
	/* Free again, or this would be -EBUSY. */
	assert_int_equal(uffd_register(other, f->app, PAGE, UFFDIO_REGISTER_MODE_MINOR, NULL), 0);
	assert_int_equal(uffd_unregister(f->uffd, f->app + 1, PAGE), -EINVAL);
	close(other);
}

static void continue_says_how_far_it_came(void **state)
{
	struct fixture *f = fixture_of(state);
	int64_t mapped = -1;

	assert_int_equal(memory_punch(f->file, 2 * PAGE, PAGE), 0);
	register_minor(f);
	assert_int_equal(uffd_continue(f->uffd, f->app, PAGES * PAGE, 0, &mapped), -EAGAIN);
	assert_int_equal(mapped, 2 * PAGE);
	assert_int_equal(uffd_continue(f->uffd, f->app, PAGE, 0, &mapped), -EEXIST);
	assert_int_equal(mapped, 0);
}

static void continue_all_steps_over_what_is_mapped(void **state)
{
	struct fixture *f = fixture_of(state);
	uint64_t entries[PAGES];
	size_t existed = 99;
	int pagemap;
	size_t i;

	register_minor(f);
	assert_int_equal(uffd_continue(f->uffd, f->app + PAGE, PAGE, 0, NULL), 0);
	assert_int_equal(uffd_continue(f->uffd, f->app + 3 * PAGE, PAGE, 0, NULL), 0);
	assert_int_equal(uffd_continue_all(f->uffd, f->app, PAGES * PAGE, PAGE, 0, &existed), 0);
	assert_int_equal(existed, 2);
	pagemap = pagemap_open();
	assert_int_equal(pagemap_read(pagemap, f->app, PAGES, entries), 0);
	close(pagemap);
	for (i = 0; i < PAGES; i++)
		assert_true(entries[i] & PAGEMAP_PRESENT);
	assert_int_equal(uffd_continue_all(f->uffd, f->app, PAGES * PAGE, PAGE, 0, &existed), 0);
	assert_int_equal(existed, PAGES);
}

static void continue_all_stops_at_a_hole(void **state)
{
	struct fixture *f = fixture_of(state);
	size_t existed = 99;

	assert_int_equal(memory_punch(f->file, 2 * PAGE, PAGE), 0);
	register_minor(f);
	assert_int_equal(uffd_continue(f->uffd, f->app, PAGE, 0, NULL), 0);
	assert_int_equal(uffd_continue_all(f->uffd, f->app, PAGES * PAGE, PAGE, 0, &existed), -EFAULT);
	assert_int_equal(existed, 1);
}

static void writeprotect_needs_its_mode(void **state)
{
	struct fixture *f = fixture_of(state);

	register_minor(f);
	assert_int_equal(uffd_writeprotect(f->uffd, f->app, PAGE, true), -ENOENT);
	assert_int_equal(uffd_writeprotect(f->uffd, f->app, PAGE, false), -ENOENT);
}

static void copy_and_zeropage_say_their_bytes(void **state)
{
	struct fixture *f = fixture_of(state);
	char source[2 * PAGE];
	int64_t done = -1;

	memset(source, 'x', sizeof(source));
	assert_int_equal(memory_punch(f->file, 0, 3 * PAGE), 0);
	assert_int_equal(uffd_register(f->uffd, f->app, PAGES * PAGE, UFFDIO_REGISTER_MODE_MISSING, NULL), 0);
	assert_int_equal(uffd_copy(f->uffd, f->app, source, 2 * PAGE, 0, &done), 0);
	assert_int_equal(done, 2 * PAGE);
	assert_int_equal(f->alias[2 * PAGE - 1], 'x');
	assert_int_equal(uffd_zeropage(f->uffd, f->app + 2 * PAGE, PAGE, 0, &done), 0);
	assert_int_equal(done, PAGE);
	assert_int_equal(uffd_zeropage(f->uffd, f->app + 2 * PAGE, PAGE, 0, &done), -EEXIST);
	assert_int_equal(done, 0);
}

static void poison_says_its_bytes(void **state)
{
	struct fixture *f = fixture_of(state);
	uint64_t features = 0;
	int64_t done = -1;

	assert_int_equal(uffd_query(&features, NULL), 0);
	if (!(features & UFFD_FEATURE_POISON))
		SKIP_BECAUSE("this kernel has no UFFDIO_POISON (Linux 6.6)");
	register_minor(f);
	assert_int_equal(uffd_poison(f->uffd, f->app, 2 * PAGE, 0, &done), 0);
	assert_int_equal(done, 2 * PAGE);
}

static void *read_a_byte(void *address)
{
	static char byte;

	byte = *(volatile char *)address;
	return &byte;
}

/* The kernel's UFFDIO_UNREGISTER alone would leave the thread asleep, and the alarm would ring. */
static void unregister_wakes_a_thread_in_a_minor_fault(void **state)
{
	struct fixture *f = fixture_of(state);
	struct pollfd ready = {.fd = f->uffd, .events = POLLIN};
	pthread_t thread;
	void *byte = NULL;

	*f->alias = 'm';
	register_minor(f);
	assert_int_equal(pthread_create(&thread, NULL, read_a_byte, f->app), 0);
	assert_int_equal(poll(&ready, 1, 5000), 1);
	assert_int_equal(uffd_unregister(f->uffd, f->app, PAGES * PAGE), 0);
	assert_int_equal(pthread_join(thread, &byte), 0);
	assert_int_equal(*(char *)byte, 'm');
}

int main(void)
{
#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_door_has_a_name),
	    cmocka_unit_test(a_door_that_is_none_is_refused),
	    WITH_FIXTURE(a_descriptor_is_closed_on_exec_and_does_not_block),
	    WITH_FIXTURE(an_unknown_feature_is_not_supported),
	    WITH_FIXTURE(the_first_open_door_is_taken),
	    WITH_FIXTURE(without_privilege_faults_from_the_kernel_are_refused),
	    WITH_FIXTURE(query_agrees_with_the_handshake),
	    cmocka_unit_test(failure_touches_neither_errno_nor_outputs),
	    cmocka_unit_test(failure_has_done_no_bytes),
	    WITH_FIXTURE(success_leaves_errno),
	    WITH_FIXTURE(register_reports_ioctls),
	    WITH_FIXTURE(unregister_takes_off_what_is_ours),
	    WITH_FIXTURE(continue_says_how_far_it_came),
	    WITH_FIXTURE(continue_all_steps_over_what_is_mapped),
	    WITH_FIXTURE(continue_all_stops_at_a_hole),
	    WITH_FIXTURE(writeprotect_needs_its_mode),
	    WITH_FIXTURE(copy_and_zeropage_say_their_bytes),
	    WITH_FIXTURE(poison_says_its_bytes),
	    WITH_FIXTURE(unregister_wakes_a_thread_in_a_minor_fault),
	};

	/* A wake-up that does not come must fail, not hang. */
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
