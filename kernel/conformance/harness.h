/*
 * The conformance suite's machinery: a table of cases, crossed at run time with types of memory, each run in
 * a process of its own, its answer compared with what was promised.
 *
 * The shape is that of the kernel's own tools/testing/selftests/mm/uffd-unit-tests.c. What is added is the
 * promise: the cover letter of the minor fault series ("[PATCH 0/9] userfaultfd: add minor fault handling",
 * January 2021, "the letter" from here on) and what kernels document since then stand in the table as
 * data, so that the verdict is a comparison and not an opinion.
 */
#ifndef MINORCA_KERNEL_CONFORMANCE_HARNESS_H
#define MINORCA_KERNEL_CONFORMANCE_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trial;

enum memory_kind {
	MEMORY_ANON,	    /* private anonymous memory */
	MEMORY_SHARED_ANON, /* MAP_SHARED | MAP_ANONYMOUS: shmem without a descriptor */
	MEMORY_SHMEM,	    /* memfd, 4 KiB pages */
	MEMORY_HUGETLB_2M,
	MEMORY_HUGETLB_1G,
	MEMORY_KIND_COUNT,
};

#define ON(kind) (1u << (kind))
#define ON_SHMEM (ON(MEMORY_SHARED_ANON) | ON(MEMORY_SHMEM))
#define ON_HUGETLB (ON(MEMORY_HUGETLB_2M) | ON(MEMORY_HUGETLB_1G))
#define ON_SHARED (ON_SHMEM | ON_HUGETLB)
#define ON_MEMFD (ON(MEMORY_SHMEM) | ON_HUGETLB)

struct memory_type {
	const char *name; /* "hugetlb-2m" */
	size_t page_bytes;
	bool shared;
	bool hugetlb;
	uint64_t minor_feature; /* UFFD_FEATURE_* that promises minor faults on it, or 0 */
};

/** The type of memory behind @kind. */
const struct memory_type *memory_type_of(enum memory_kind kind);

/*
 * One row: what is checked, where, and what was promised. All of it is immutable.
 *
 * `letter` and `later` are answers, worded as the case words them. A case checks everything else on its way
 * and fails at the first difference; one whose promise never changed need not word its answer at all.
 */
struct conformance_case {
	const char *name;	      /* "continue-hole" */
	void (*run)(struct trial *t); /* in a child process; returns when all is as claimed */
	unsigned int memory;	      /* ON() mask */
	bool takes_pool;	      /* takes every free hugepage for a moment: only when asked for */
	bool maps_only;		      /* no page of `pages` is ever allocated: runs with an empty pool too */
	uint64_t features;	      /* UFFD_FEATURE_* that the kernel must list */
	size_t pages;		      /* pages of memory that `run` finds in its trial; 0: none */
	const char *claim;	      /* a sentence for people */
	const char *letter;	      /* the answer that the letter of 2021 promises; NULL: it says nothing */
	const char *later;	      /* the answer documented since then, where it is new; NULL: none */
	const char *since;	      /* the release that brought `later`, "5.19"; NULL with `later` NULL */
};

/* A topic's rows; each topic is a file. */
struct case_table {
	const struct conformance_case *cases;
	size_t count;
};

extern const struct case_table registration_cases;
extern const struct case_table minor_cases;
extern const struct case_table resolve_cases;
extern const struct case_table file_cases;
extern const struct case_table writeprotect_cases;
extern const struct case_table async_cases;
extern const struct case_table delivery_cases;
extern const struct case_table sharing_cases;
extern const struct case_table migration_cases;

enum verdict {
	VERDICT_PASS,  /* as the letter promised; or as documented later, where the letter is silent */
	VERDICT_NEWER, /* not as the letter promised, but as documented since */
	VERDICT_SKIP,  /* could not run here; the note says why */
	VERDICT_FAIL,
	VERDICT_COUNT,
};

/** "pass", "newer", "skip", "fail". */
const char *verdict_name(enum verdict verdict);

#define ANSWER_BYTES 64
#define NOTE_BYTES 256

struct outcome {
	enum verdict verdict;
	char answer[ANSWER_BYTES]; /* what this kernel answered; "" when skipped or failed before it did */
	char note[NOTE_BYTES];	   /* why skipped or failed; otherwise a remark or "" */
	unsigned int elapsed_ms;
};

struct run_options {
	unsigned int timeout_s; /* for one case; 1 GiB pages get three times as much */
	bool take_pool;		/* cases that take every free hugepage may run */
};

/**
 * What an answer is worth.
 *
 * @param answer  "" stands for "as promised": right only where there is one promise
 */
enum verdict judge_answer(const struct conformance_case *row, const char *answer);

/** Runs one case on one type of memory in a child process, which is gone when this returns. */
void run_case(const struct conformance_case *row, enum memory_kind kind, const struct run_options *options,
	      struct outcome *out);

#endif
