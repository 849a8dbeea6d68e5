/*
 * What a case has at hand. See trial.h.
 */
#include "kernel/conformance/trial.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* How long to watch that nothing happens. */
#define QUIET_MS 20

static void end_case(struct trial *t, enum verdict verdict) __attribute__((noreturn));

static void end_case(struct trial *t, enum verdict verdict)
{
	t->outcome->verdict = verdict;
	_exit(1);
}

void trial_fail(struct trial *t, const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	char *note = t->outcome->note;
	va_list args;
	int n = snprintf(note, NOTE_BYTES, "%s:%d: ", base ? base + 1 : file, line);

	va_start(args, format);
	vsnprintf(note + n, NOTE_BYTES - (size_t)n, format, args);
	va_end(args);
	end_case(t, VERDICT_FAIL);
}

void trial_skip(struct trial *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(t->outcome->note, NOTE_BYTES, format, args);
	va_end(args);
	end_case(t, VERDICT_SKIP);
}

void trial_answer(struct trial *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(t->outcome->answer, ANSWER_BYTES, format, args);
	va_end(args);
}

void trial_note(struct trial *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(t->outcome->note, NOTE_BYTES, format, args);
	va_end(args);
}

const char *result_name(int result)
{
	static _Thread_local char text[2][32];
	static _Thread_local unsigned int turn;
	const char *name = result < 0 ? strerrorname_np(-result) : NULL;
	char *out = text[turn++ % 2];

	if (name)
		snprintf(out, sizeof(text[0]), "-%s", name);
	else
		snprintf(out, sizeof(text[0]), "%d", result);
	return out;
}

/* --- memory --- */

static void *map_anonymous(struct trial *t, int sharing)
{
	void *p =
	    mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(t, p != MAP_FAILED);
	/* Base pages: a transparent huge page would be put where the case looks for a 4 KiB one. */
	madvise(p, t->bytes, MADV_NOHUGEPAGE);
	return p;
}

static void map_file_twice(struct trial *t)
{
	void *p = NULL;

	t->file = memory_file_create("minorca-conformance", t->bytes, t->page_bytes);
	if (t->file == -ENODEV || t->file == -ENOSYS)
		trial_skip(t, "no memory files of %s pages: %s", memory_page_size_name(t->page_bytes),
			   result_name(t->file));
	REQUIRE(t, t->file >= 0);
	REQUIRE_OK(t, memory_map(t->file, t->bytes, NULL, &p));
	t->app = p;
	REQUIRE_OK(t, memory_map(t->file, t->bytes, NULL, &p));
	t->alias = p;
}

void trial_map_memory(struct trial *t)
{
	t->page_bytes = t->memory->page_bytes;
	t->bytes = t->row->pages * t->page_bytes;
	if (t->bytes == 0)
		return;
	if (t->memory == memory_type_of(MEMORY_ANON)) {
		t->app = map_anonymous(t, MAP_PRIVATE);
	} else if (t->memory == memory_type_of(MEMORY_SHARED_ANON)) {
		t->app = map_anonymous(t, MAP_SHARED);
		/* An old size of 0 makes a second mapping of shared memory: the only way to one without a
		 * file. */
		t->alias = mremap(t->app, 0, t->bytes, MREMAP_MAYMOVE);
		REQUIRE(t, t->alias != MAP_FAILED);
	} else {
		map_file_twice(t);
	}
}

char *app_page(const struct trial *t, size_t page)
{
	return t->app + page * t->page_bytes;
}

char *alias_page(const struct trial *t, size_t page)
{
	return t->alias + page * t->page_bytes;
}

volatile uint64_t *app_word(const struct trial *t, size_t page)
{
	return (volatile uint64_t *)app_page(t, page);
}

/* Three words are enough to tell pages apart, and a 1 GiB page takes long to fill. */
#define PATTERN_WORDS 3

static size_t pattern_offset(const struct trial *t, unsigned int i)
{
	const size_t offsets[PATTERN_WORDS] = {0, t->page_bytes / 2, t->page_bytes - sizeof(uint64_t)};

	return offsets[i];
}

static uint64_t pattern_at(uint64_t seed, size_t offset)
{
	return (seed + 1) * 0x9e3779b97f4a7c15ull + offset;
}

uint64_t pattern_word(uint64_t seed)
{
	return pattern_at(seed, 0);
}

static void allocate_page(struct trial *t, size_t page)
{
	int err;

	/* Without a descriptor the store below allocates. */
	if (t->file < 0)
		return;
	err = memory_allocate(t->file, page * t->page_bytes, t->page_bytes);
	if (err == -ENOSPC)
		trial_skip(t, "somebody else took the free hugepages");
	REQUIRE_OK(t, err);
}

void fill_page(struct trial *t, size_t page, uint64_t seed)
{
	unsigned int i;

	allocate_page(t, page);
	for (i = 0; i < PATTERN_WORDS; i++) {
		size_t offset = pattern_offset(t, i);

		*(volatile uint64_t *)(alias_page(t, page) + offset) = pattern_at(seed, offset);
	}
}

bool page_holds(const struct trial *t, const char *base, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < PATTERN_WORDS; i++) {
		size_t offset = pattern_offset(t, i);

		if (*(const volatile uint64_t *)(base + offset) != pattern_at(seed, offset))
			return false;
	}
	return true;
}

void punch_page(struct trial *t, size_t page)
{
	if (t->file >= 0)
		REQUIRE_OK(t, memory_punch(t->file, page * t->page_bytes, t->page_bytes));
	else
		REQUIRE(t, madvise(alias_page(t, page), t->page_bytes, MADV_REMOVE) == 0);
}

void drop_app_pages(struct trial *t, size_t page, size_t count)
{
	REQUIRE(t, madvise(app_page(t, page), count * t->page_bytes, MADV_DONTNEED) == 0);
}

int trial_pagemap(struct trial *t)
{
	int fd = pagemap_open();

	if (fd == -ENOENT)
		trial_skip(t, "there is no /proc/self/pagemap to look at (CONFIG_PROC_PAGE_MONITOR)");
	REQUIRE(t, fd >= 0);
	return fd;
}

static uint64_t pagemap_entry(struct trial *t, const void *address)
{
	uint64_t entry = 0;
	int fd = trial_pagemap(t);

	REQUIRE_OK(t, pagemap_read(fd, address, 1, &entry));
	close(fd);
	return entry;
}

bool is_mapped(struct trial *t, const void *address)
{
	return pagemap_entry(t, address) & PAGEMAP_PRESENT;
}

bool is_protected(struct trial *t, const void *address)
{
	return pagemap_entry(t, address) & PAGEMAP_UFFD_WP;
}

/* --- userfaultfd --- */

void trial_open(struct trial *t, uint64_t features)
{
	t->uffd = uffd_open(features, false, NULL);
	if (t->uffd == -EOPNOTSUPP)
		trial_skip(t, "this kernel does not know one of the features 0x%jx", (uintmax_t)features);
	REQUIRE(t, t->uffd >= 0);
}

void trial_watch(struct trial *t, uint64_t features, uint64_t modes)
{
	if ((modes & MODE_MINOR) && !(t->features & t->memory->minor_feature))
		trial_skip(t, "this kernel does not list minor faults on %s", t->memory->name);
	if ((modes & MODE_WP) && t->memory->shared && !(t->features & UFFD_FEATURE_WP_HUGETLBFS_SHMEM))
		trial_skip(t, "this kernel does not list write-protection of shared memory (Linux 5.19)");
	trial_open(t, features);
	REQUIRE_OK(t, uffd_register(t->uffd, t->app, t->bytes, modes, NULL));
}

struct uffd_msg next_fault(struct trial *t)
{
	struct pollfd ready = {.fd = t->uffd, .events = POLLIN};
	/* Less than the case has, so that it can still say what it waited for. */
	int timeout_ms = (int)t->timeout_s * 750;
	struct uffd_msg msg;
	int n = poll(&ready, 1, timeout_ms);

	if (n == 0)
		trial_fail(t, __FILE__, __LINE__, "no message within %d ms", timeout_ms);
	REQUIRE(t, n == 1 && ready.revents == POLLIN);
	REQUIRE(t, read(t->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg));
	REQUIRE(t, msg.event == UFFD_EVENT_PAGEFAULT);
	return msg;
}

void expect_fault(struct trial *t, const void *page, uint64_t flags)
{
	struct uffd_msg msg = next_fault(t);

	if (msg.arg.pagefault.address != (uintptr_t)page || msg.arg.pagefault.flags != flags)
		trial_fail(t, __FILE__, __LINE__,
			   "fault at page %+jd with flags 0x%jx, expected page +0 with 0x%jx",
			   (intmax_t)(msg.arg.pagefault.address - (uintptr_t)page) / (intmax_t)t->page_bytes,
			   (uintmax_t)msg.arg.pagefault.flags, (uintmax_t)flags);
}

void expect_no_message(struct trial *t)
{
	struct pollfd ready = {.fd = t->uffd, .events = POLLIN};

	REQUIRE(t, poll(&ready, 1, 0) == 0);
}

/* --- touching --- */

static void *touch_main(void *arg)
{
	struct touch *touch = arg;

	if (touch->write)
		*touch->address = touch->value;
	else
		touch->value = *touch->address;
	atomic_store(&touch->done, true);
	return NULL;
}

static void touch_start(struct trial *t, struct touch *touch)
{
	atomic_init(&touch->done, false);
	REQUIRE_OK(t, -pthread_create(&touch->thread, NULL, touch_main, touch));
}

void touch_read(struct trial *t, struct touch *touch, volatile uint64_t *address)
{
	touch->address = address;
	touch->write = false;
	touch_start(t, touch);
}

void touch_write(struct trial *t, struct touch *touch, volatile uint64_t *address, uint64_t value)
{
	touch->address = address;
	touch->write = true;
	touch->value = value;
	touch_start(t, touch);
}

bool touch_waits(struct touch *touch)
{
	usleep(QUIET_MS * 1000);
	return !atomic_load(&touch->done);
}

void expect_waiting(struct trial *t, struct touch *touch)
{
	REQUIRE(t, touch_waits(touch));
}

uint64_t touch_join(struct trial *t, struct touch *touch)
{
	REQUIRE_OK(t, -pthread_join(touch->thread, NULL));
	return touch->value;
}
