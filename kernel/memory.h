/*
 * Memory files (memfd) on hugetlb and shmem, and the pair of mappings that a minor fault needs:
 * the app mapping, which is registered with userfaultfd, and the alias, which never is.
 *
 * Every function returns 0 (or a descriptor) or -errno. Nothing here keeps state or takes a lock.
 *
 * Source: memfd_create(2), Documentation/admin-guide/mm/hugetlbpage.rst.
 */
#ifndef MINORCA_KERNEL_MEMORY_H
#define MINORCA_KERNEL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/** The page sizes that a region may have: 4 KiB (shmem), 2 MiB and 1 GiB (hugetlb). */
bool memory_page_size_is_known(size_t page_bytes);

/** "4 KiB", "2 MiB", "1 GiB". For other sizes "?". */
const char *memory_page_size_name(size_t page_bytes);

/* What cannot be done to a memory file of ours any more, by anybody: change its size (a mapping that is
 * longer than its file is a SIGBUS), or seal it further. Pages come and go as before. */
#define MEMORY_FILE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/**
 * Makes a memory file of @bytes (a multiple of @page_bytes), with no page in it yet. Close-on-exec, for this
 * user alone (mode 0600), sealed with MEMORY_FILE_SEALS.
 *
 * @param name  shown in /proc/PID/maps as "/memfd:NAME"
 * @return the descriptor; -EINVAL: sizes; -ENOSYS / -ENODEV: no hugetlbfs in this kernel, or not of this
 * size; -EMFILE, -ENOMEM.
 */
int memory_file_create(const char *name, size_t bytes, size_t page_bytes);

/* Which file it is, on this machine, for as long as anybody has it open. */
struct memory_identity {
	uint64_t device, inode;
};

/** @return 0 or -errno. */
int memory_file_identity(int fd, struct memory_identity *out);

/**
 * Opens another process's memory file, its descriptor @number, if it is the one with @identity: numbers are
 * used again, those of processes too. The caller closes it.
 *
 * @param bytes  it must have at least
 * @return the descriptor; -ESTALE: another file, or one that memory_file_create() did not make, or a smaller
 * one; -ENOENT: no such process or descriptor; -EACCES, -EPERM: another user's; -EMFILE.
 */
int memory_file_open(int pid, int number, const struct memory_identity *identity, size_t bytes);

/**
 * Maps the whole file shared, readable and writable, reserving nothing (MAP_NORESERVE) and not inherited by
 * fork() (MADV_DONTFORK).
 *
 * @param at   where; NULL: the kernel chooses. A given address is never taken from somebody else.
 * @param out  set on success; the caller unmaps it with munmap().
 * @return 0; -EEXIST: something is mapped at @at; -ENOMEM.
 */
int memory_map(int fd, size_t bytes, void *at, void **out);

/**
 * Puts pages into the file, zeroed, so that a later touch of a mapping cannot fail: an empty hugepage pool is
 * an error here and a SIGBUS there. Pages that are in the file already stay as they are. Signal-safe.
 *
 * @return 0; -ENOSPC: the hugepage pool has too few free pages (pages allocated so far stay); -EINTR;
 * -ENOMEM.
 */
int memory_allocate(int fd, size_t offset, size_t bytes);

/** Takes pages out of the file (hole punch); every mapping of them is gone too. */
int memory_punch(int fd, size_t offset, size_t bytes);

/** What the kernel says of the pool of hugepages of one size. */
struct hugepage_pool {
	size_t page_bytes;
	uint64_t total;	     /* nr_hugepages */
	uint64_t free;	     /* free_hugepages */
	uint64_t reserved;   /* resv_hugepages: free, but promised to a mapping */
	uint64_t overcommit; /* nr_overcommit_hugepages: may be made on demand */
	uint64_t surplus;    /* surplus_hugepages: made so, now */
};

/** Reads the pool of @page_bytes. @return 0; -ENOENT: the kernel has no hugepages of this size. */
int hugepage_pool_read(size_t page_bytes, struct hugepage_pool *out);

#endif
