#include "dsm/destroyed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/region.h"

#define REMEMBERED 16u
/* More address space than this is not held for it. */
#define REMEMBERED_BYTES ((size_t)1 << 44)

static struct {
	_Atomic(unsigned char *) base; /* NULL: free. Set last, cleared first: handlers look at any time */
	size_t bytes;
	char name[REGION_NAME_BYTES];
} places[REMEMBERED];
static unsigned next;

static void forget(unsigned i)
{
	unsigned char *base = atomic_exchange(&places[i].base, NULL);

	if (base)
		munmap(base, places[i].bytes);
}

/* Maps an empty file over the range. */
static int close_off(void *base, size_t bytes)
{
	int fd = memfd_create("minorca-destroyed", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	void *p = mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
	close(fd);
	return p == MAP_FAILED ? -1 : 0;
}

void destroyed_remember(void *base, size_t bytes, const char *name)
{
	if (bytes > REMEMBERED_BYTES || close_off(base, bytes)) {
		munmap(base, bytes);
		return;
	}
	unsigned i = next++ % REMEMBERED;
	forget(i);
	places[i].bytes = bytes;
	snprintf(places[i].name, sizeof places[i].name, "%s", name);
	atomic_store(&places[i].base, base);
}

void destroyed_forget(const void *base, size_t bytes)
{
	for (unsigned i = 0; i < REMEMBERED; i++) {
		const unsigned char *place = atomic_load(&places[i].base);
		if (place && place < (const unsigned char *)base + bytes &&
		    (const unsigned char *)base < place + places[i].bytes)
			forget(i);
	}
}

void destroyed_forget_all(void)
{
	for (unsigned i = 0; i < REMEMBERED; i++)
		forget(i);
}

const char *destroyed_find(const void *address)
{
	for (unsigned i = 0; i < REMEMBERED; i++) {
		const unsigned char *place = atomic_load(&places[i].base);
		if (place && (size_t)((const unsigned char *)address - place) < places[i].bytes)
			return places[i].name;
	}
	return NULL;
}
