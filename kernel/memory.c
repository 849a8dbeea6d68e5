/*
 * Memory files on hugetlb and shmem, and their mappings. See memory.h.
 *
 * What can fail late with a signal is made to fail early with an errno: pages are put into the file by
 * fallocate(), an address is asked for by MAP_FIXED_NOREPLACE, and nobody may shrink a file under its
 * mappings.
 */
#include "kernel/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel/uapi.h"

struct page_size {
	size_t bytes;
	unsigned int memfd_flags;
	const char *name;
};

static const struct page_size page_sizes[] = {
    {4 * KIB, 0, "4 KiB"},
    {2 * MIB, MFD_HUGETLB | MFD_HUGE_2MB, "2 MiB"},
    {1 * GIB, MFD_HUGETLB | MFD_HUGE_1GB, "1 GiB"},
};

static const struct page_size *find_page_size(size_t page_bytes)
{
	size_t i;

	for (i = 0; i < sizeof(page_sizes) / sizeof(page_sizes[0]); i++) {
		if (page_sizes[i].bytes == page_bytes)
			return &page_sizes[i];
	}
	return NULL;
}

bool memory_page_size_is_known(size_t page_bytes)
{
	return find_page_size(page_bytes) != NULL;
}

const char *memory_page_size_name(size_t page_bytes)
{
	const struct page_size *size = find_page_size(page_bytes);

	return size ? size->name : "?";
}

/* Sizes the file once and for all. Pages may still be put in and taken out. */
static int size_and_seal(int fd, size_t bytes)
{
	/* The mode is 0777 at first; and a file without a seal against seals could be sealed by a peer. */
	if (fchmod(fd, S_IRUSR | S_IWUSR) || ftruncate(fd, (off_t)bytes) ||
	    fcntl(fd, F_ADD_SEALS, MEMORY_FILE_SEALS))
		return -errno;
	return 0;
}

int memory_file_create(const char *name, size_t bytes, size_t page_bytes)
{
	const struct page_size *size = find_page_size(page_bytes);
	int saved = errno;
	int fd;

	if (!size || bytes == 0 || bytes % page_bytes != 0)
		return -EINVAL;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | size->memfd_flags);
	if (fd < 0) {
		fd = -errno;
	} else {
		int err = size_and_seal(fd, bytes);

		if (err) {
			close(fd);
			fd = err;
		}
	}
	errno = saved;
	return fd;
}

/* The file that a path under /proc leads to, without opening it: to open a device or a FIFO does things. */
static int find_file(const char *path, const struct memory_identity *identity)
{
	struct stat status;
	int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int err = fstat(fd, &status) ? -errno : 0;
	if (!err && (!S_ISREG(status.st_mode) || (uint64_t)status.st_dev != identity->device ||
		     (uint64_t)status.st_ino != identity->inode))
		err = -ESTALE;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* -ESTALE: not a memory file as memory_file_create() makes them, of at least @bytes. */
static int check_memory_file(int fd, size_t bytes)
{
	int seals = fcntl(fd, F_GET_SEALS); /* -EINVAL: no memory file at all */
	struct stat status;

	if (seals < 0 || (seals & MEMORY_FILE_SEALS) != MEMORY_FILE_SEALS || fstat(fd, &status) ||
	    (uint64_t)status.st_size < bytes)
		return -ESTALE;
	return 0;
}

int memory_file_identity(int fd, struct memory_identity *out)
{
	struct stat status;
	int saved = errno;
	int err = fstat(fd, &status) ? -errno : 0;

	if (!err)
		*out = (struct memory_identity){status.st_dev, status.st_ino};
	errno = saved;
	return err;
}

int memory_file_open(int pid, int number, const struct memory_identity *identity, size_t bytes)
{
	char path[64];
	int saved = errno;
	int fd;

	if (pid <= 0 || number < 0)
		return -ESTALE;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	fd = find_file(path, identity);
	if (fd >= 0) {
		int found = fd;
		int err;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
		fd = open(path, O_RDWR | O_CLOEXEC);
		err = fd < 0 ? -errno : check_memory_file(fd, bytes);
		close(found);
		if (err && fd >= 0)
			close(fd);
		fd = err ? err : fd;
	}
	errno = saved;
	return fd;
}

int memory_map(int fd, size_t bytes, void *at, void **out)
{
	int flags = MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED_NOREPLACE : 0);
	int saved = errno;
	int err = 0;
	void *p = mmap(at, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED) {
		err = -errno;
	} else if (at && p != at) {
		/* A kernel before 4.17 takes the address as a hint. */
		munmap(p, bytes);
		err = -EEXIST;
	} else if (madvise(p, bytes, MADV_DONTFORK) < 0) {
		err = -errno;
		munmap(p, bytes);
	} else {
		*out = p;
	}
	errno = saved;
	return err;
}

/* By the raw call: glibc's fallocate() is a cancellation point, which a signal handler must not be. */
static int file_allocate(int fd, int mode, size_t offset, size_t bytes)
{
	int saved = errno;
	int err = syscall(SYS_fallocate, fd, mode, (off_t)offset, (off_t)bytes) < 0 ? -errno : 0;

	errno = saved;
	return err;
}

int memory_allocate(int fd, size_t offset, size_t bytes)
{
	return file_allocate(fd, 0, offset, bytes);
}

int memory_punch(int fd, size_t offset, size_t bytes)
{
	return file_allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

static int read_number(const char *path, uint64_t *out)
{
	char text[32];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	*out = strtoull(text, NULL, 10);
	return 0;
}

int hugepage_pool_read(size_t page_bytes, struct hugepage_pool *out)
{
	struct hugepage_pool pool = {.page_bytes = page_bytes};
	const struct {
		const char *file;
		uint64_t *value;
	} fields[] = {
	    {"nr_hugepages", &pool.total},	  {"free_hugepages", &pool.free},
	    {"resv_hugepages", &pool.reserved},	  {"nr_overcommit_hugepages", &pool.overcommit},
	    {"surplus_hugepages", &pool.surplus},
	};
	int saved = errno;
	int err = 0;
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]) && !err; i++) {
		char path[128];

		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/%s", page_bytes / KIB,
			 fields[i].file);
		err = read_number(path, fields[i].value);
	}
	if (!err)
		*out = pool;
	errno = saved;
	return err;
}
