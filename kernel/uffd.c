/*
 * userfaultfd: one C function for each thing that is asked of it. See uffd.h.
 *
 * This file and no other calls userfaultfd(2) and its ioctls. It keeps no state, and it must not: half of its
 * functions run inside a signal handler, on a thread that was stopped anywhere.
 */
#include "kernel/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UFFD_OPEN_FLAGS (O_CLOEXEC | O_NONBLOCK)

/* ioctl() that answers 0 or -errno and leaves errno alone: the interrupted thread may be about to read it. */
static int uffd_ioctl(int uffd, unsigned long request, void *argument)
{
	int saved = errno;
	int err = ioctl(uffd, request, argument) < 0 ? -errno : 0;

	errno = saved;
	return err;
}

/* The kernel writes bytes done, or -errno when it did none, into one field; callers want bytes. */
static void set_bytes(int64_t *out, int64_t done)
{
	if (out)
		*out = done > 0 ? done : 0;
}

const char *uffd_door_name(enum uffd_door door)
{
	static const char *const names[UFFD_DOOR_COUNT] = {
	    [UFFD_DOOR_SYSCALL] = "syscall",
	    [UFFD_DOOR_DEVICE] = "device",
	    [UFFD_DOOR_SYSCALL_USER_MODE] = "syscall-user-mode",
	};

	return (unsigned int)door < UFFD_DOOR_COUNT ? names[door] : "?";
}

static int open_by_syscall(int flags)
{
	int saved = errno;
	int fd = (int)syscall(SYS_userfaultfd, UFFD_OPEN_FLAGS | flags);

	if (fd < 0)
		fd = -errno;
	errno = saved;
	return fd;
}

static int open_by_device(void)
{
	int saved = errno;
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd;

	if (device < 0) {
		fd = -errno;
	} else {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, UFFD_OPEN_FLAGS);
		if (fd < 0)
			fd = -errno;
		close(device);
	}
	errno = saved;
	return fd;
}

int uffd_open_door(enum uffd_door door)
{
	switch (door) {
	case UFFD_DOOR_SYSCALL:
		return open_by_syscall(0);
	case UFFD_DOOR_DEVICE:
		return open_by_device();
	case UFFD_DOOR_SYSCALL_USER_MODE:
		return open_by_syscall(UFFD_USER_MODE_ONLY);
	default:
		return -EINVAL;
	}
}

int uffd_open(uint64_t features, bool need_kernel_faults, enum uffd_door *door)
{
	unsigned int last = need_kernel_faults ? UFFD_DOOR_DEVICE : UFFD_DOOR_SYSCALL_USER_MODE;
	unsigned int d;
	int fd = -ENOSYS;
	int err;

	for (d = UFFD_DOOR_SYSCALL; d <= last; d++) {
		fd = uffd_open_door((enum uffd_door)d);
		if (fd >= 0)
			break;
	}
	if (fd < 0)
		return fd;
	err = uffd_api(fd, features, NULL, NULL);
	if (err) {
		close(fd);
		/* The descriptor is fresh, so that EINVAL can only mean the features. */
		return err == -EINVAL ? -EOPNOTSUPP : err;
	}
	if (door)
		*door = (enum uffd_door)d;
	return fd;
}

int uffd_query(uint64_t *features, uint64_t *ioctls)
{
	int fd = -ENOSYS;
	unsigned int d;
	int err;

	for (d = UFFD_DOOR_SYSCALL; d < UFFD_DOOR_COUNT && fd < 0; d++)
		fd = uffd_open_door((enum uffd_door)d);
	if (fd < 0)
		return fd;
	err = uffd_api(fd, 0, features, ioctls);
	close(fd);
	return err;
}

int uffd_api(int uffd, uint64_t features, uint64_t *features_out, uint64_t *ioctls_out)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int err = uffd_ioctl(uffd, UFFDIO_API, &api);

	if (err)
		return err;
	if (features_out)
		*features_out = api.features;
	if (ioctls_out)
		*ioctls_out = api.ioctls;
	return 0;
}

int uffd_register(int uffd, void *start, size_t bytes, uint64_t modes, uint64_t *ioctls)
{
	struct uffdio_register reg = {
	    .range = {.start = (uintptr_t)start, .len = bytes},
	    .mode = modes,
	};
	int err = uffd_ioctl(uffd, UFFDIO_REGISTER, &reg);

	if (!err && ioctls)
		*ioctls = reg.ioctls;
	return err;
}

int uffd_unregister(int uffd, void *start, size_t bytes)
{
	struct uffdio_range range = {.start = (uintptr_t)start, .len = bytes};
	int err = uffd_ioctl(uffd, UFFDIO_UNREGISTER, &range);

	/* The kernel wakes by itself only where MISSING was registered: a thread in a minor fault would hang.
	 */
	return err ? err : uffd_ioctl(uffd, UFFDIO_WAKE, &range);
}

int uffd_continue(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *mapped)
{
	struct uffdio_continue cont = {
	    .range = {.start = (uintptr_t)start, .len = bytes},
	    .mode = mode,
	};
	int err = uffd_ioctl(uffd, UFFDIO_CONTINUE, &cont);

	set_bytes(mapped, cont.mapped);
	return err;
}

int uffd_continue_all(int uffd, void *start, size_t bytes, size_t page_bytes, uint64_t mode, size_t *existed)
{
	size_t done = 0;
	size_t there = 0;
	int err = 0;

	while (done < bytes) {
		int64_t mapped = 0;

		err = uffd_continue(uffd, (char *)start + done, bytes - done, mode, &mapped);
		done += (size_t)mapped;
		if (err == -EEXIST) {
			there++;
			done += page_bytes;
		} else if (err && err != -EAGAIN) {
			break;
		}
		err = 0;
	}
	if (existed)
		*existed = there;
	return err;
}

int uffd_writeprotect(int uffd, void *start, size_t bytes, bool protect)
{
	struct uffdio_writeprotect wp = {
	    .range = {.start = (uintptr_t)start, .len = bytes},
	    .mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};
	int err;

	do {
		err = uffd_ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
	} while (err == -EAGAIN);
	return err;
}

int uffd_wake(int uffd, void *start, size_t bytes)
{
	struct uffdio_range range = {.start = (uintptr_t)start, .len = bytes};

	return uffd_ioctl(uffd, UFFDIO_WAKE, &range);
}

int uffd_copy(int uffd, void *dst, const void *src, size_t bytes, uint64_t mode, int64_t *copied)
{
	struct uffdio_copy copy = {
	    .dst = (uintptr_t)dst,
	    .src = (uintptr_t)src,
	    .len = bytes,
	    .mode = mode,
	};
	int err = uffd_ioctl(uffd, UFFDIO_COPY, &copy);

	set_bytes(copied, copy.copy);
	return err;
}

int uffd_zeropage(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *zeroed)
{
	struct uffdio_zeropage zero = {
	    .range = {.start = (uintptr_t)start, .len = bytes},
	    .mode = mode,
	};
	int err = uffd_ioctl(uffd, UFFDIO_ZEROPAGE, &zero);

	set_bytes(zeroed, zero.zeropage);
	return err;
}

int uffd_poison(int uffd, void *start, size_t bytes, uint64_t mode, int64_t *updated)
{
	struct uffdio_poison poison = {
	    .range = {.start = (uintptr_t)start, .len = bytes},
	    .mode = mode,
	};
	int err = uffd_ioctl(uffd, UFFDIO_POISON, &poison);

	set_bytes(updated, poison.updated);
	return err;
}
