/*
 * Conformance: what reaches whom. SIGBUS and its contents, system calls that touch a page which is not there,
 * the doors to userfaultfd, poison.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

static void require_error_code(struct trial *t)
{
	if (!sigbus_has_error_code())
		trial_skip(t, "the signal context's error code is read on x86-64 only");
}

static void sigbus_says_where(struct trial *t)
{
	volatile uint64_t *address;

	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR);
	address = (volatile uint64_t *)(app_page(t, 0) + t->page_bytes - 40);
	REQUIRE(t, raises_sigbus(t, address, false));
	REQUIRE(t, sigbus_seen.code == BUS_ADRERR);
	REQUIRE(t, sigbus_seen.address == (void *)address);
	expect_no_message(t);
}

/* The processor's error code: bit 0 a protection (not an absent page), bit 1 a store, bit 2 from user mode.
 */
static void sigbus_says_how(struct trial *t)
{
	require_error_code(t);
	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR);
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), false));
	REQUIRE(t, sigbus_seen.trap == 14 && sigbus_seen.error_code == FAULT_FROM_USER);
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), true));
	REQUIRE(t, sigbus_seen.trap == 14);
	REQUIRE(t, sigbus_seen.error_code == (FAULT_FROM_USER | FAULT_WAS_WRITE));
}

static void sigbus_says_upgrade(struct trial *t)
{
	require_error_code(t);
	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR | MODE_WP);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, UFFDIO_CONTINUE_MODE_WP, NULL));
	REQUIRE(t, !raises_sigbus(t, app_word(t, 0), false));
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), true));
	REQUIRE(t, sigbus_seen.trap == 14);
	REQUIRE(t, sigbus_seen.error_code == (FAULT_FROM_USER | FAULT_WAS_WRITE | FAULT_WAS_PRESENT));
}

/* --- system calls --- */

static int open_pipe_with_a_word(struct trial *t, uint64_t word)
{
	int ends[2];

	REQUIRE(t, pipe(ends) == 0);
	REQUIRE(t, write(ends[1], &word, sizeof(word)) == (ssize_t)sizeof(word));
	return ends[0];
}

/* read(2) into the first app page. @return its result, or -errno. */
static int read_into_page(struct trial *t, int from)
{
	ssize_t n = read(from, app_page(t, 0), sizeof(uint64_t));

	return n < 0 ? -errno : (int)n;
}

static void syscall_under_sigbus(struct trial *t)
{
	int from = open_pipe_with_a_word(t, 42);

	fill_page(t, 0, 1);
	trial_watch(t, UFFD_FEATURE_SIGBUS, MODE_MINOR);
	/* For its handler: it counts, and none may come. */
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), false));
	trial_answer(t, "%s", result_name(read_into_page(t, from)));
	REQUIRE(t, sigbus_seen.count == 1);
	/* Brought in first, the same call works: this is what dsm_prefetch() is for. */
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, read_into_page(t, from) == (int)sizeof(uint64_t));
	REQUIRE(t, *app_word(t, 0) == 42);
}

/* Opens t->uffd by one door and registers the first page, which is in the file. */
static void watch_by_door(struct trial *t, enum uffd_door door)
{
	fill_page(t, 0, 1);
	t->uffd = uffd_open_door(door);
	if (t->uffd < 0)
		trial_skip(t, "the door %s: %s", uffd_door_name(door), result_name(t->uffd));
	REQUIRE_OK(t, uffd_api(t->uffd, 0, NULL, NULL));
	REQUIRE_OK(t, uffd_register(t->uffd, t->app, t->bytes, MODE_MINOR, NULL));
}

static void syscall_user_mode(struct trial *t)
{
	int from = open_pipe_with_a_word(t, 42);

	watch_by_door(t, UFFD_DOOR_SYSCALL_USER_MODE);
	trial_answer(t, "%s", result_name(read_into_page(t, from)));
	expect_no_message(t);
}

struct reader {
	struct trial *trial;
	pthread_t thread;
	int from;
	int result;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;

	reader->result = read_into_page(reader->trial, reader->from);
	return NULL;
}

static void syscall_is_delivered(struct trial *t, enum uffd_door door)
{
	struct reader reader = {.trial = t, .from = open_pipe_with_a_word(t, 42)};

	watch_by_door(t, door);
	REQUIRE_OK(t, -pthread_create(&reader.thread, NULL, reader_main, &reader));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR | UFFD_PAGEFAULT_FLAG_WRITE);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE_OK(t, -pthread_join(reader.thread, NULL));
	REQUIRE(t, reader.result == (int)sizeof(uint64_t));
	REQUIRE(t, *app_word(t, 0) == 42);
}

static void syscall_by_syscall_door(struct trial *t)
{
	syscall_is_delivered(t, UFFD_DOOR_SYSCALL);
}

static void syscall_by_device_door(struct trial *t)
{
	syscall_is_delivered(t, UFFD_DOOR_DEVICE);
}

static void user_mode_door(struct trial *t)
{
	struct touch touch;

	watch_by_door(t, UFFD_DOOR_SYSCALL_USER_MODE);
	touch_read(t, &touch, app_word(t, 0));
	expect_fault(t, app_page(t, 0), UFFD_PAGEFAULT_FLAG_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, touch_join(t, &touch) == pattern_word(1));
}

/* --- poison --- */

/* BUS_MCEERR_AR where the kernel handles memory failures, BUS_ADRERR elsewhere: either tells the program. */
static void poison_raises_sigbus(struct trial *t)
{
	if (t->memory->shared)
		fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MISSING);
	REQUIRE_OK(t, uffd_poison(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), false));
	REQUIRE(t, sigbus_seen.code == BUS_MCEERR_AR || sigbus_seen.code == BUS_ADRERR);
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), true));
	expect_no_message(t);
	trial_note(t, "si_code %s", sigbus_seen.code == BUS_ADRERR ? "BUS_ADRERR" : "BUS_MCEERR_AR");
}

/* The file's bytes are not harmed: the poison is in this mapping's page table. */
static void poison_is_of_the_mapping(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, uffd_poison(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, page_holds(t, alias_page(t, 0), 1));
}

static void poison_mapped(struct trial *t)
{
	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	trial_answer(t, "%s", result_name(uffd_poison(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL)));
}

/* Un-mapping leaves the mark of a page that was protected, and that is in the way. */
static void poison_marked(struct trial *t)
{
	int marked;

	fill_page(t, 0, 1);
	trial_watch(t, 0, MODE_MINOR | MODE_WP);
	REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, 0), t->page_bytes, UFFDIO_CONTINUE_MODE_WP, NULL));
	REQUIRE(t, madvise(app_page(t, 0), t->page_bytes, MADV_DONTNEED) == 0);
	marked = uffd_poison(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL);
	trial_answer(t, "%s", result_name(marked));
	REQUIRE_OK(t, uffd_writeprotect(t->uffd, app_page(t, 0), t->page_bytes, false));
	if (marked)
		REQUIRE_OK(t, uffd_poison(t->uffd, app_page(t, 0), t->page_bytes, 0, NULL));
	REQUIRE(t, raises_sigbus(t, app_word(t, 0), false));
}

static const struct conformance_case cases[] = {
    {
	.name = "sigbus-says-where",
	.run = sigbus_says_where,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim =
	    "under FEATURE_SIGBUS a fault is a SIGBUS with BUS_ADRERR and the byte's address, and no message",
	.later = "BUS_ADRERR, si_addr exact",
	.since = "4.14",
    },
    {
	.name = "sigbus-says-how",
	.run = sigbus_says_how,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim = "the error code in the signal context tells a load from a store",
	.later = "told apart",
	.since = "4.14",
    },
    {
	.name = "sigbus-says-upgrade",
	.run = sigbus_says_upgrade,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED,
	.pages = 1,
	.claim = "and a store to a protected page from a store to an absent one",
	.later = "told apart",
	.since = "6.4",
    },
    {
	.name = "syscall-under-sigbus",
	.run = syscall_under_sigbus,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_SIGBUS,
	.pages = 1,
	.claim = "under FEATURE_SIGBUS a system call that touches such a page fails, and no signal comes",
	.later = "-EFAULT",
	.since = "4.14",
    },
    {
	.name = "syscall-user-mode",
	.run = syscall_user_mode,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "a UFFD_USER_MODE_ONLY descriptor is not told of faults inside system calls: they fail",
	.later = "-EFAULT",
	.since = "5.11",
    },
    {
	.name = "syscall-by-syscall-door",
	.run = syscall_by_syscall_door,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "a descriptor by userfaultfd(2) is told of them, and the call ends as if nothing had been",
	.later = "delivered",
	.since = "4.3",
    },
    {
	.name = "syscall-by-device-door",
	.run = syscall_by_device_door,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "so is a descriptor by /dev/userfaultfd",
	.later = "delivered",
	.since = "6.1",
    },
    {
	.name = "user-mode-door",
	.run = user_mode_door,
	.memory = ON_SHARED,
	.pages = 1,
	.claim = "a UFFD_USER_MODE_ONLY descriptor is told of faults of the program itself",
	.later = "delivered",
	.since = "5.11",
    },
    {
	.name = "poison-raises-sigbus",
	.run = poison_raises_sigbus,
	.memory = ON(MEMORY_ANON) | ON_SHARED,
	.features = UFFD_FEATURE_POISON,
	.pages = 1,
	.claim = "a load from, or a store to, a poisoned page raises SIGBUS",
	.later = "SIGBUS",
	.since = "6.6",
    },
    {
	.name = "poison-of-the-mapping",
	.run = poison_is_of_the_mapping,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_POISON,
	.pages = 1,
	.claim = "poison is in the mapping: the file's bytes can still be read through the other one",
	.later = "the alias reads on",
	.since = "6.6",
    },
    {
	.name = "poison-mapped",
	.run = poison_mapped,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_POISON,
	.pages = 1,
	.claim = "a page that is mapped cannot be poisoned",
	.later = "-EEXIST",
	.since = "6.6",
    },
    {
	.name = "poison-marked",
	.run = poison_marked,
	.memory = ON_SHARED,
	.features = UFFD_FEATURE_POISON | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED,
	.pages = 1,
	.claim = "nor one that was protected and then un-mapped, until its protection is lifted",
	.later = "-EEXIST",
	.since = "6.6",
    },
};

const struct case_table delivery_cases = {cases, sizeof(cases) / sizeof(cases[0])};
