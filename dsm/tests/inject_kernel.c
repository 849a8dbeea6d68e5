/*
 * Between the runtime and the kernel: wrappers of ioctl(), madvise(), memfd_create() and syscall(), which the
 * linker puts before libc's. What is not of interest goes on as it is.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dsm/tests/inject.h"
#include "kernel/uapi.h"

/* A system call without libc: x86-64's convention. */
static long raw_call(long number, const long a[6])
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static long result_of(long result)
{
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

long syscall(long number, ...)
{
	va_list arguments;
	long a[6];

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	int error = number == SYS_fallocate ? inject_decide(INJECT_FALLOCATE) : 0;
	return result_of(error ? error : raw_call(number, a));
}

int madvise(void *address, size_t bytes, int advice)
{
	int error = advice == MADV_DONTNEED_LOCKED  ? inject_decide(INJECT_DONTNEED)
		    : advice == MADV_POPULATE_WRITE ? inject_decide(INJECT_MADV_POPULATE)
						    : 0;
	const long a[6] = {(long)address, (long)bytes, advice};

	if (advice == MADV_DONTNEED_LOCKED)
		inject_dice();
	return (int)result_of(error ? error : raw_call(SYS_madvise, a));
}

int memfd_create(const char *name, unsigned flags)
{
	int error = inject_decide(INJECT_MEMFD);
	const long a[6] = {(long)name, flags};

	return (int)result_of(error ? error : raw_call(SYS_memfd_create, a));
}

static long real_ioctl(int fd, unsigned long request, void *argument)
{
	const long a[6] = {fd, (long)request, (long)argument};

	return raw_call(SYS_ioctl, a);
}

/*
 * What a CONTINUE may do though all is well: nothing yet (the address space was changing); a part; or all,
 * and find that another thread was faster.
 */
static long harmless_continue(int fd, struct uffdio_continue *cont, uint64_t dice)
{
	struct uffdio_continue part = *cont;
	long result;

	switch (dice >> 2 & 3) {
	case 0:
		cont->mapped = -EAGAIN;
		return -EAGAIN;
	case 1:
		part.range.len = part.range.len / 2 & ~(uint64_t)4095;
		if (!part.range.len || real_ioctl(fd, UFFDIO_CONTINUE, &part) < 0)
			break; /* a hugepage has no half */
		cont->mapped = part.mapped;
		return -EAGAIN;
	case 2:
		result = real_ioctl(fd, UFFDIO_CONTINUE, &part);
		cont->mapped = result ? part.mapped : -EEXIST;
		return result ? result : -EEXIST;
	}
	return real_ioctl(fd, UFFDIO_CONTINUE, cont);
}

static long inject_ioctl(int fd, unsigned long request, void *argument)
{
	static const struct {
		unsigned long request;
		enum inject_call call;
	} known[] = {
	    {UFFDIO_API, INJECT_API},
	    {UFFDIO_REGISTER, INJECT_REGISTER},
	    {UFFDIO_UNREGISTER, INJECT_UNREGISTER},
	    {UFFDIO_CONTINUE, INJECT_CONTINUE},
	    {UFFDIO_WRITEPROTECT, INJECT_WRITEPROTECT},
	    {PAGEMAP_SCAN, INJECT_SCAN},
	};
	int error = 0;

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].request == request)
			error = inject_decide(known[i].call);
	if (error) {
		if (request == UFFDIO_CONTINUE)
			((struct uffdio_continue *)argument)->mapped = error;
		return error;
	}
	if (request != UFFDIO_CONTINUE && request != UFFDIO_WRITEPROTECT)
		return real_ioctl(fd, request, argument);
	uint64_t dice = inject_dice();
	if (!dice)
		return real_ioctl(fd, request, argument);
	if (request == UFFDIO_CONTINUE)
		return harmless_continue(fd, argument, dice);
	return dice >> 2 & 1 ? -EAGAIN : real_ioctl(fd, request, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;

	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return (int)result_of(inject_ioctl(fd, request, argument));
}
