/*
 * Waiting for a word to change: spin for a while, then sleep.
 *
 * There is no sched_yield() in between. What was seen: four nodes on two cores, waiting with it, stalled for
 * 8 to 28 s, with runnable threads that were not run holding locks inside the kernel's hugetlb code, and
 * every hugetlb fault on the machine behind them; the same tests without it do not stall. The likely cause:
 * under EEVDF (Linux 6.6 on) whoever yields gives up the rest of its slice from its future too, each time, so
 * that a thread that yields in a loop is runnable and not run for long afterwards. A thread that sleeps keeps
 * its place.
 */
#ifndef MINORCA_DSM_BACKOFF_H
#define MINORCA_DSM_BACKOFF_H

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* About 20 to 60 us, by the machine's pause instruction: longer than resolving a small page takes on another
 * core. */
#define BACKOFF_SPINS 1000u
#define BACKOFF_SLEEP_NS 20000

/** One turn of a wait loop. @turns counts them, from 0. Async-signal-safe. @return true if it slept. */
static inline int backoff(unsigned *turns)
{
	if ((*turns)++ < BACKOFF_SPINS) {
		__builtin_ia32_pause();
		return 0;
	}
	/* Not nanosleep(): that is a cancellation point, and whoever waits here may hold a lane or page
	 * locks. */
	syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = BACKOFF_SLEEP_NS}, NULL);
	return 1;
}

#endif
