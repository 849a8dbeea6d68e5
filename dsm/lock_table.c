#include "dsm/lock_table.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dsm/backoff.h"
#include "dsm/clock.h"
#include "dsm/runtime.h"

#define BUCKETS 256u

/* Spinning before sleeping: longer than most critical sections. */
#define SPINS 2000

static struct bucket {
	_Alignas(64) atomic_uchar locked; /* for moments; by no signal handler */
	struct local_lock *first;
} buckets[BUCKETS];

static void lock_bucket(struct bucket *bucket)
{
	/* Acquire: pairs with unlock_bucket(). */
	for (unsigned turns = 0; atomic_exchange_explicit(&bucket->locked, 1, memory_order_acquire);)
		backoff(&turns);
}

static void unlock_bucket(struct bucket *bucket)
{
	atomic_store_explicit(&bucket->locked, 0, memory_order_release);
}

const void *lock_table_thread(void)
{
	static __thread char here;

	return &here;
}

static struct bucket *bucket_of(const void *address)
{
	/* Fibonacci hashing of the address in words. */
	return &buckets[(uintptr_t)address / 8 * 0x9e3779b97f4a7c15u >> 56];
}

_Static_assert(BUCKETS == 256, "bucket_of() takes 8 bits");

static struct local_lock *find(const struct bucket *bucket, const void *address)
{
	struct local_lock *lock = bucket->first;

	while (lock && lock->address != address)
		lock = lock->next;
	return lock;
}

struct local_lock *lock_table_find(const void *address)
{
	struct bucket *bucket = bucket_of(address);

	lock_bucket(bucket);
	return find(bucket, address);
}

struct local_lock *lock_table_enter(const void *address, const struct word *word)
{
	struct bucket *bucket = bucket_of(address);
	struct local_lock *lock;

	lock_bucket(bucket);
	lock = find(bucket, address);
	if (!lock) {
		lock = calloc(1, sizeof *lock);
		if (!lock) {
			unlock_bucket(bucket);
			return NULL;
		}
		lock->address = address;
		lock->word = *word;
		lock->next = bucket->first;
		bucket->first = lock;
	}
	lock->users++;
	return lock;
}

void lock_table_leave(const void *address, struct local_lock *lock)
{
	struct bucket *bucket = bucket_of(address);
	bool unused = lock && !lock->users;

	if (unused) {
		struct local_lock **link = &bucket->first;
		while (*link != lock)
			link = &(*link)->next;
		*link = lock->next;
	}
	unlock_bucket(bucket);
	if (unused)
		free(lock);
}

size_t lock_table_count(const void *base, size_t bytes)
{
	size_t count = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		lock_bucket(&buckets[i]);
		for (const struct local_lock *l = buckets[i].first; l; l = l->next)
			count += (size_t)((const char *)l->address - (const char *)base) < bytes;
		unlock_bucket(&buckets[i]);
	}
	return count;
}

void lock_table_clear(void)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct local_lock *l = buckets[i].first, *next; l; l = next) {
			next = l->next;
			free(l);
			buckets[i].first = next;
		}
}

/* --- waiting ---------------------------------------------------------------------------------------------
 */

bool local_waiter_sleep(struct local_waiter *waiter)
{
	uint64_t deadline = clock_ns() + runtime.settings.timeout_ns, now;

	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&waiter->woken, memory_order_acquire) == 2)
			return true;
		__builtin_ia32_pause();
	}
	int awake = 0;
	atomic_compare_exchange_strong(&waiter->woken, &awake, 1);
	while (atomic_load_explicit(&waiter->woken, memory_order_acquire) != 2) {
		now = clock_ns();
		if (now >= deadline)
			return false;
		struct timespec left = {(time_t)((deadline - now) / 1000000000),
					(long)((deadline - now) % 1000000000)};
		syscall(SYS_futex, &waiter->woken, FUTEX_WAIT_PRIVATE, 1, &left, NULL, 0);
	}
	return true;
}

void local_waiter_wake(struct local_waiter *waiter)
{
	/* Release: what the thread before it did is seen. The waiter may be gone as soon as it reads 2; a
	 * wake-up of memory that is something else by then does no harm. */
	if (atomic_exchange_explicit(&waiter->woken, 2, memory_order_acq_rel) == 1)
		syscall(SYS_futex, &waiter->woken, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
