#include "dsm/tests/inject.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "dsm/report.h"

#define DELAY_MOST_NS 300000

static uint64_t seed;
static unsigned permille;
static atomic_uint_fast64_t counts[INJECT_CALLS];
static struct {
	enum inject_call call;
	_Atomic uint64_t at; /* number of the call; 0: none */
	int error;
	atomic_bool failed;
} failure;

const char *inject_name(enum inject_call call)
{
	static const char *const names[] = {
	    [INJECT_OPEN] = "open",
	    [INJECT_CONNECT] = "connect",
	    [INJECT_EXPOSE] = "expose",
	    [INJECT_ATTACH] = "attach",
	    [INJECT_READ] = "read",
	    [INJECT_WRITE] = "write",
	    [INJECT_FETCH_ADD] = "fetch_add",
	    [INJECT_COMPARE_SWAP] = "compare_swap",
	    [INJECT_COMPLETE] = "complete",
	    [INJECT_POPULATE] = "populate",
	    [INJECT_API] = "UFFDIO_API",
	    [INJECT_REGISTER] = "UFFDIO_REGISTER",
	    [INJECT_UNREGISTER] = "UFFDIO_UNREGISTER",
	    [INJECT_CONTINUE] = "UFFDIO_CONTINUE",
	    [INJECT_WRITEPROTECT] = "UFFDIO_WRITEPROTECT",
	    [INJECT_SCAN] = "PAGEMAP_SCAN",
	    [INJECT_DONTNEED] = "MADV_DONTNEED_LOCKED",
	    [INJECT_MADV_POPULATE] = "MADV_POPULATE_WRITE",
	    [INJECT_FALLOCATE] = "fallocate",
	    [INJECT_MEMFD] = "memfd_create",
	};

	return names[call];
}

void inject_harmless(uint64_t new_seed, unsigned new_permille)
{
	seed = new_seed;
	permille = new_permille;
}

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("INJECT_SEED"), *rate = getenv("INJECT_PERMILLE");

	if (!text)
		return;
	inject_harmless(strtoull(text, NULL, 0), rate ? (unsigned)atoi(rate) : 100);
	report("faults are injected: INJECT_SEED=%llu INJECT_PERMILLE=%u", (unsigned long long)seed,
	       permille);
}

void inject_failure(enum inject_call call, uint64_t nth, int error)
{
	atomic_store(&failure.at, 0);
	atomic_store(&failure.failed, false);
	failure.call = call;
	failure.error = error;
	atomic_store(&failure.at, nth ? atomic_load(&counts[call]) + nth : 0);
}

bool inject_has_failed(void)
{
	return atomic_load(&failure.failed);
}

uint64_t inject_count(enum inject_call call)
{
	return atomic_load(&counts[call]);
}

int inject_decide(enum inject_call call)
{
	uint64_t number = atomic_fetch_add(&counts[call], 1) + 1, at = atomic_load(&failure.at);

	if (!at || failure.call != call || number != at)
		return 0;
	atomic_store(&failure.failed, true);
	return failure.error;
}

/* Steele, Lea and Flood's SplitMix64. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t inject_dice(void)
{
	static atomic_uint threads;
	static __thread unsigned thread; /* plus one */
	static __thread uint64_t calls;

	if (!permille)
		return 0;
	if (!thread)
		thread = atomic_fetch_add(&threads, 1) + 1;
	uint64_t dice = mix(seed + 0x9e3779b97f4a7c15u * (thread + (++calls << 16)));
	if (dice % 1000 >= permille)
		return 0;
	dice = mix(dice) | 1;
	if (dice >> 1 & 1)
		nanosleep(&(struct timespec){.tv_nsec = (long)(dice >> 32) % DELAY_MOST_NS}, NULL);
	return dice;
}
