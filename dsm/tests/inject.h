/*
 * Faults on purpose, for tests: between the runtime and its transport, and between it and the kernel. A
 * program that links it (//dsm/tests:inject) gets both; nothing happens before it is asked for, by the
 * functions here or by the environment:
 *
 *   INJECT_SEED=N INJECT_PERMILLE=N   harmless faults, in N of 1000 calls: delays, so that orders change;
 * UFFDIO_CONTINUE that does a part, or was outrun, or is to be tried again
 *
 * What happens follows from the seed, the thread and how many calls it has made, never from the time: the
 * same seed does the same again, as far as threads do.
 */
#ifndef MINORCA_DSM_TESTS_INJECT_H
#define MINORCA_DSM_TESTS_INJECT_H

#include <stdbool.h>
#include <stdint.h>

enum inject_call {
	/* Of the transport. */
	INJECT_OPEN,
	INJECT_CONNECT,
	INJECT_EXPOSE,
	INJECT_ATTACH,
	INJECT_READ,
	INJECT_WRITE,
	INJECT_FETCH_ADD,
	INJECT_COMPARE_SWAP,
	INJECT_COMPLETE, /* what was posted has been done, and it is not known */
	INJECT_POPULATE,
	/* Of the kernel. */
	INJECT_API,
	INJECT_REGISTER,
	INJECT_UNREGISTER,
	INJECT_CONTINUE,
	INJECT_WRITEPROTECT,
	INJECT_SCAN,	 /* PAGEMAP_SCAN */
	INJECT_DONTNEED, /* madvise(): MADV_DONTNEED_LOCKED */
	INJECT_MADV_POPULATE,
	INJECT_FALLOCATE,
	INJECT_MEMFD,
	INJECT_CALLS
};

const char *inject_name(enum inject_call call);

/** From now on: harmless faults. */
void inject_harmless(uint64_t seed, unsigned permille);

/**
 * The @nth call from now on (1: the next) of this process fails with @error (-EIO ...), once. Outputs of a
 * transport's calls that fail are spoiled. @nth 0: none does.
 */
void inject_failure(enum inject_call call, uint64_t nth, int error);

/** Has it failed? */
bool inject_has_failed(void);

/** From the @nth operation on that goes to it, @peer is lost: -EHOSTDOWN, for good. */
void inject_lost_peer(int peer, uint64_t nth);

/** The transport says that a round trip is not free, as those over a fabric do. Before dsm_init(). */
void inject_fabric(void);

/** How often it was called so far. */
uint64_t inject_count(enum inject_call call);

/* --- for inject_*.c ---------------------------------------------------------------------------------------
 */

/** Counts a call. @return 0, or -errno: it is to fail. */
int inject_decide(enum inject_call call);

/** A number for a harmless decision at this call; 0: nothing is to happen. Waits a while, if so decided. */
uint64_t inject_dice(void);

#endif
