/*
 * What a case has at hand: memory mapped twice, a userfaultfd, threads that touch pages, and ways to say
 * what was found. A case runs alone in its process, so that it may fail by leaving it.
 *
 * Functions that can fail end the case; none returns an error.
 */
#ifndef MINORCA_KERNEL_CONFORMANCE_TRIAL_H
#define MINORCA_KERNEL_CONFORMANCE_TRIAL_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/conformance/harness.h"
#include "kernel/memory.h"
#include "kernel/pagemap.h"
#include "kernel/uffd.h"

#define MODE_MISSING UFFDIO_REGISTER_MODE_MISSING
#define MODE_MINOR UFFDIO_REGISTER_MODE_MINOR
#define MODE_WP UFFDIO_REGISTER_MODE_WP

struct trial {
	const struct conformance_case *row;
	const struct memory_type *memory;
	struct outcome *outcome; /* shared with the parent process */
	uint64_t features;	 /* what the kernel lists */
	unsigned int timeout_s;	 /* the time that the case has */
	size_t page_bytes;
	size_t bytes; /* row->pages of them; 0: nothing below is mapped */
	int file;     /* -1: memory without a descriptor */
	char *app;    /* the mapping that the case registers */
	char *alias;  /* the same memory, never registered; NULL on private memory */
	int uffd;     /* trial_open() */
};

/* --- saying what was found --- */

_Noreturn void trial_fail(struct trial *t, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
_Noreturn void trial_skip(struct trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** What this kernel answers: compared with the row's `letter` and `later`. */
void trial_answer(struct trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A remark that is printed beside the answer. */
void trial_note(struct trial *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** "-EEXIST" for -17, "0" for 0. */
const char *result_name(int result);

#define REQUIRE(t, condition)                                                        \
	do {                                                                         \
		if (!(condition))                                                    \
			trial_fail(t, __FILE__, __LINE__, "not so: %s", #condition); \
	} while (0)

#define REQUIRE_RESULT(t, expected, call)                                                                   \
	do {                                                                                                \
		int result_ = (call);                                                                       \
		if (result_ != (expected))                                                                  \
			trial_fail(t, __FILE__, __LINE__, "%s, expected %s, from %s", result_name(result_), \
				   result_name(expected), #call);                                           \
	} while (0)

#define REQUIRE_OK(t, call) REQUIRE_RESULT(t, 0, call)

/* --- memory --- */

/** Maps what the row asks for, with no page in it. Called before the case runs. */
void trial_map_memory(struct trial *t);

char *app_page(const struct trial *t, size_t page);
char *alias_page(const struct trial *t, size_t page);

/** The first word of an app page: what cases touch. */
volatile uint64_t *app_word(const struct trial *t, size_t page);

/** Puts page @page into the file and writes a pattern made from @seed, through the alias. */
void fill_page(struct trial *t, size_t page, uint64_t seed);

/** Whether the page at @base holds the pattern of @seed. Touches it. */
bool page_holds(const struct trial *t, const char *base, uint64_t seed);

/** The pattern's first word. */
uint64_t pattern_word(uint64_t seed);

/** Takes a page out of the file. */
void punch_page(struct trial *t, size_t page);

/** Un-maps pages from the app mapping (MADV_DONTNEED); they stay in the file. */
void drop_app_pages(struct trial *t, size_t page, size_t count);

/** Opens /proc/self/pagemap, or skips the case where there is none. The caller closes it. */
int trial_pagemap(struct trial *t);

/** Whether @address is in this process's page table. */
bool is_mapped(struct trial *t, const void *address);

/** Whether @address is write-protected by userfaultfd, mapped or not. */
bool is_protected(struct trial *t, const void *address);

/* --- userfaultfd --- */

/** Opens t->uffd with @features, by any door. Skips the case when the kernel does not know one of them. */
void trial_open(struct trial *t, uint64_t features);

/** trial_open(), then registers the whole app mapping. Skips where the kernel does not promise @modes. */
void trial_watch(struct trial *t, uint64_t features, uint64_t modes);

/** Waits for a page fault message and requires its page and its UFFD_PAGEFAULT_FLAG_*. */
void expect_fault(struct trial *t, const void *page, uint64_t flags);

/** Waits for a page fault message. */
struct uffd_msg next_fault(struct trial *t);

/** Requires that no message waits in the descriptor. */
void expect_no_message(struct trial *t);

/* --- touching memory from a second thread, which may then wait in a fault --- */

struct touch {
	pthread_t thread;
	volatile uint64_t *address; /* immutable once started */
	bool write;		    /* immutable once started */
	uint64_t value;		    /* to write; or read, valid after touch_join() */
	atomic_bool done;	    /* set by the thread */
};

void touch_read(struct trial *t, struct touch *touch, volatile uint64_t *address);
void touch_write(struct trial *t, struct touch *touch, volatile uint64_t *address, uint64_t value);

/** Whether the thread still waits a little later. */
bool touch_waits(struct touch *touch);

/** Requires that it does. */
void expect_waiting(struct trial *t, struct touch *touch);

/** Waits for the thread; the harness's time limit bounds it. @return the value read or written. */
uint64_t touch_join(struct trial *t, struct touch *touch);

/* --- SIGBUS --- */

/* What the last SIGBUS said. Written by the signal handler, on the thread that then reads it. */
struct sigbus_report {
	volatile sig_atomic_t count;
	int code;	     /* si_code */
	void *address;	     /* si_addr */
	int trap;	     /* x86: the processor's exception, 14 is a page fault */
	uint64_t error_code; /* x86: of the page fault */
};

extern struct sigbus_report sigbus_seen;

/* The processor's page-fault error code, x86. */
#define FAULT_WAS_PRESENT 1u /* the page was mapped, and forbade it */
#define FAULT_WAS_WRITE 2u
#define FAULT_FROM_USER 4u

/** Whether the signal context tells reads from writes on this machine. */
bool sigbus_has_error_code(void);

/**
 * From now on SIGBUS is answered by @resolve on the thread that took it, and the access is tried again.
 * @resolve returns 0 or the -errno to fail the case with.
 */
void sigbus_resolve_by(struct trial *t, int (*resolve)(struct trial *t, void *address));

/** Reads (or writes 0 to) @address. @return whether that raised SIGBUS; the access is then given up. */
bool raises_sigbus(struct trial *t, volatile uint64_t *address, bool write);

#endif
