/*
 * For the unit tests of kernel/: skipping with a reason, and doing things in a child process.
 */
#ifndef MINORCA_KERNEL_TEST_SUPPORT_H
#define MINORCA_KERNEL_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP_BECAUSE(...)                             \
	do {                                          \
		print_message("# SKIP " __VA_ARGS__); \
		print_message("\n");                  \
		skip();                               \
	} while (0)

/* In a child: ends it with the line that went wrong, which the parent's assertion then shows. */
#define CHILD_CHECK(condition)                     \
	do {                                       \
		if (!(condition))                  \
			_exit(1 + __LINE__ % 255); \
	} while (0)

/* Runs @body in a child process, where cmocka's assertions must not be used, and requires that it ends well.
 */
static inline void in_child(void (*body)(void))
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* In a child: becomes a user without any privilege. */
static inline void become_nobody(void)
{
	const uid_t nobody = 65534;

	CHILD_CHECK(setgroups(0, NULL) == 0);
	CHILD_CHECK(setresgid(nobody, nobody, nobody) == 0);
	CHILD_CHECK(setresuid(nobody, nobody, nobody) == 0);
}

#endif
