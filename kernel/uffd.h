/*
 * userfaultfd: one C function for each thing that is asked of it.
 *
 * Thin on purpose: no state, no policy, no allocation. Every function returns 0 or -errno, leaves errno
 * as it was, and may be called from any thread. Those marked "signal-safe" make one system call
 * and nothing else, and may be called from a signal handler. Errors listed are the ones that a correct caller
 * can see; kernel/conformance checks them on the running kernel.
 *
 * Source: Documentation/admin-guide/mm/userfaultfd.rst, userfaultfd(2), ioctl_userfaultfd(2).
 */
#ifndef MINORCA_KERNEL_UFFD_H
#define MINORCA_KERNEL_UFFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/uapi.h"

/* How a descriptor was had, from the most able to the least. */
enum uffd_door {
	UFFD_DOOR_SYSCALL, /* userfaultfd(2), faults from the kernel too: CAP_SYS_PTRACE, or the sysctl
			      vm.unprivileged_userfaultfd */
	UFFD_DOOR_DEVICE,  /* /dev/userfaultfd, the same for whoever may open the device (Linux 6.1) */
	UFFD_DOOR_SYSCALL_USER_MODE, /* userfaultfd(2) with UFFD_USER_MODE_ONLY (Linux 5.11): anybody; a fault
					inside a system call is not delivered, the call fails with EFAULT */
	UFFD_DOOR_COUNT,
};

/** The door's name for people: "syscall", "device", "syscall-user-mode". */
const char *uffd_door_name(enum uffd_door door);

/**
 * Opens a descriptor (O_CLOEXEC | O_NONBLOCK) through one door. The caller closes it.
 *
 * @return the descriptor, or -EPERM (not permitted), -EACCES / -ENOENT (the device), -EINVAL (the kernel does
 *         not know UFFD_USER_MODE_ONLY), -ENOSYS (no userfaultfd in this kernel), -EMFILE.
 */
int uffd_open_door(enum uffd_door door);

/**
 * Opens a descriptor through the first door that lets us in and enables @features on it.
 *
 * @param need_kernel_faults  refuse UFFD_DOOR_SYSCALL_USER_MODE
 * @param door  set to the door that was used, on success; may be NULL
 * @return the descriptor, or what the last door answered; -EOPNOTSUPP if the kernel lacks one of @features.
 */
int uffd_open(uint64_t features, bool need_kernel_faults, enum uffd_door *door);

/**
 * The features that the kernel has, asked through a descriptor that is opened and closed for the purpose.
 *
 * @param features  set to the UFFD_FEATURE_* mask, on success
 * @param ioctls    set to the mask of ioctls of the API handshake, on success; may be NULL
 */
int uffd_query(uint64_t *features, uint64_t *ioctls);

/**
 * UFFDIO_API on a fresh descriptor.
 * @return 0; -EINVAL: one of @features is unknown to the kernel, or the handshake was made before.
 */
int uffd_api(int uffd, uint64_t features, uint64_t *features_out, uint64_t *ioctls_out);

/**
 * Registers [@start, @start + @bytes) with UFFDIO_REGISTER_MODE_* @modes.
 *
 * @param ioctls  set to the mask of (1 << _UFFDIO_*) that the range supports; may be NULL
 * @return 0; -EINVAL: a mode that this memory does not support, or not page-aligned; -EBUSY: registered with
 *         another descriptor; -EPERM: the file is not writable for us; -ENOMEM: vm.max_map_count reached.
 */
int uffd_register(int uffd, void *start, size_t bytes, uint64_t modes, uint64_t *ioctls);

/**
 * Takes the registration off again and wakes whoever waits in the range. Two system calls: the kernel's own
 * UFFDIO_UNREGISTER wakes only threads of ranges that were registered for MISSING (seen on 6.18).
 *
 * @return 0, also when nothing was registered; -EINVAL: no mapping there, registered with another descriptor,
 * or not page-aligned.
 */
int uffd_unregister(int uffd, void *start, size_t bytes);

/**
 * UFFDIO_CONTINUE: maps pages that the file holds. Signal-safe. Does not retry.
 *
 * This and the following take the descriptor that the range is registered with. The kernel does not check
 * that: by another one of this process it answers 0 and maps or protects, but wakes nobody (seen on 6.18).
 *
 * @param mode    UFFDIO_CONTINUE_MODE_DONTWAKE, UFFDIO_CONTINUE_MODE_WP (Linux 6.4)
 * @param mapped  bytes mapped from the start of the range, on success and on failure; may be NULL
 * @return 0; -EEXIST: the page at start + mapped is mapped already; -EAGAIN: the address space was changing
 *         under us, go on from start + mapped; -EFAULT: the file has no such page; -ENOENT: not registered;
 * -ENOMEM.
 */
int uffd_continue(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *mapped);

/**
 * UFFDIO_CONTINUE for a whole range, with the kernel's "again" and "there already" taken care of: goes
 * on after -EAGAIN, steps over pages that are mapped already. Signal-safe.
 *
 * @param page_bytes  the size of one page of this memory
 * @param existed     pages that were mapped already; may be NULL
 * @return 0, or the first other error.
 */
int uffd_continue_all(int uffd, void *start, size_t bytes, size_t page_bytes, uint64_t mode, size_t *existed);

/**
 * UFFDIO_WRITEPROTECT. Signal-safe. Goes on after -EAGAIN.
 *
 * @param protect  true: stores fault from now on; false: they go through, and waiting threads are woken
 * @return 0; -ENOENT: the range is not registered for WP, or the kernel cannot do it on shared memory
 *         (before 5.19); -EINVAL: the same on some kernels.
 */
int uffd_writeprotect(int uffd, void *start, size_t bytes, bool protect);

/** UFFDIO_WAKE: lets the threads that wait in the range try again. Signal-safe. */
int uffd_wake(int uffd, void *start, size_t bytes);

/** UFFDIO_COPY: allocates pages and fills them from @src. Does not retry. @return 0, -EEXIST, -EAGAIN, ... */
int uffd_copy(int uffd, void *dst, const void *src, size_t bytes, uint64_t mode, int64_t *copied);

/** UFFDIO_ZEROPAGE. Does not retry. @return 0, -EEXIST, -EINVAL (hugetlb), -EAGAIN, ... */
int uffd_zeropage(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *zeroed);

/** UFFDIO_POISON (Linux 6.6): a later touch raises SIGBUS. @return 0, -EEXIST, -EAGAIN, -EINVAL (older
 * kernel). */
int uffd_poison(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *updated);

#endif
