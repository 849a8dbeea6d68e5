/*
 * What the running kernel can do for us, found out by asking it, never from its version number.
 *
 * Each feature is a row: what it is for, whether it is there, and if not, what is lost and the command
 * that mends it. `minorca info` prints the rows; the runtime reads `available`.
 */
#ifndef MINORCA_KERNEL_PROBE_H
#define MINORCA_KERNEL_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/uffd.h"

enum kernel_feature {
	KERNEL_UFFD,		   /* any door at all */
	KERNEL_UFFD_SYSCALL,	   /* UFFD_DOOR_SYSCALL */
	KERNEL_UFFD_DEVICE,	   /* UFFD_DOOR_DEVICE */
	KERNEL_UFFD_USER_MODE,	   /* UFFD_DOOR_SYSCALL_USER_MODE */
	KERNEL_UFFD_SIGBUS,	   /* UFFD_FEATURE_SIGBUS: inline delivery */
	KERNEL_UFFD_MINOR_SHMEM,   /* minor faults on shmem, tried */
	KERNEL_UFFD_MINOR_HUGETLB, /* UFFD_FEATURE_MINOR_HUGETLBFS */
	KERNEL_UFFD_MISSING_SHMEM,
	KERNEL_UFFD_MISSING_HUGETLB,
	KERNEL_UFFD_WP_SHARED,	 /* write-protect on shmem and hugetlb (5.19) */
	KERNEL_UFFD_CONTINUE_WP, /* UFFDIO_CONTINUE_MODE_WP, tried on a page of shmem (6.4) */
	KERNEL_UFFD_EXACT_ADDRESS,
	KERNEL_UFFD_WP_UNPOPULATED,
	KERNEL_UFFD_POISON,	 /* (6.6) */
	KERNEL_UFFD_WP_ASYNC,	 /* (6.7) */
	KERNEL_PAGEMAP_SCAN,	 /* tried (6.7) */
	KERNEL_MEMFD_HUGETLB_2M, /* memfd_create(MFD_HUGETLB | MFD_HUGE_2MB) works */
	KERNEL_MEMFD_HUGETLB_1G,
	KERNEL_FEATURE_COUNT,
};

struct kernel_feature_status {
	const char *name;  /* "uffd-minor-shmem" */
	const char *since; /* "5.14" */
	bool required;	   /* the runtime cannot work without it */
	bool available;
	int error; /* -errno of the attempt when not available, or 0 when the kernel does not list it */
	const char *purpose;	 /* what it is used for */
	const char *consequence; /* what is lost without it */
	const char *remedy;	 /* what to do: a command where there is one */
};

/**
 * Tries everything. Costs about a millisecond; opens and closes descriptors, maps a few pages, leaves
 * nothing. Safe from any thread; not for signal handlers.
 *
 * @param out  an array of KERNEL_FEATURE_COUNT rows, indexed by enum kernel_feature; filled always
 */
void kernel_probe(struct kernel_feature_status out[KERNEL_FEATURE_COUNT]);

#endif
