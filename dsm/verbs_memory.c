/*
 * Registration of memory.
 *
 * The table is read by lanes on the fault path while another thread makes or destroys a region: so each entry
 * is a sequence lock. A reader that meets an entry in change passes it by: a buffer that somebody uses lies
 * in an entry that is stable.
 */
#include "dsm/verbs_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "dsm/report.h"

#define MIB_BYTES ((size_t)1 << 20)
#define SMALL_PAGE_BYTES 4096u

unsigned verbs_plan_access(const struct segment_memory *memory, bool on_demand, bool on_demand_atomic,
			   int *flags)
{
	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	unsigned count = 0;

	if (memory->atomic)
		access |= IBV_ACCESS_REMOTE_ATOMIC;
	if (on_demand && (!memory->atomic || on_demand_atomic)) {
		/* Not every device with on-demand paging knows huge pages; on those that do, one entry of its
		 * page table serves where 512 would. */
		if (memory->page_bytes > SMALL_PAGE_BYTES)
			flags[count++] = access | IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB;
		flags[count++] = access | IBV_ACCESS_ON_DEMAND;
	}
	flags[count++] = access;
	return count;
}

void verbs_report_locked_memory(const char *what, size_t bytes, int error)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		report("cannot register %s with the RDMA device, %zu bytes (%zu MiB): %s; the limit of "
		       "locked memory is "
		       "unlimited, so the machine or the device has too little memory",
		       what, bytes, bytes / MIB_BYTES, strerror(error));
	else
		report("cannot register %s with the RDMA device, %zu bytes (%zu MiB): %s; the limit of "
		       "locked memory is "
		       "%llu bytes: raise it with `ulimit -l unlimited`, for good in /etc/security/limits.d "
		       "(\"* - memlock unlimited\")",
		       what, bytes, bytes / MIB_BYTES, strerror(error), (unsigned long long)limit.rlim_cur);
}

int verbs_register(struct ibv_pd *domain, const char *what, void *base, size_t bytes, const int *flags,
		   unsigned count, struct ibv_mr **out)
{
	int error = EINVAL;

	for (unsigned i = 0; i < count; i++) {
		struct ibv_mr *region = ibv_reg_mr(domain, base, bytes, flags[i]);

		if (region) {
			*out = region;
			return 0;
		}
		error = errno;
	}
	if (error == ENOMEM || error == EAGAIN) {
		verbs_report_locked_memory(what, bytes, error);
		return -ENOMEM;
	}
	if (error == EFAULT) {
		report("cannot register %s with the RDMA device, %zu bytes (%zu MiB): its pages could not be "
		       "allocated; "
		       "is the pool of hugepages large enough for the whole of it?",
		       what, bytes, bytes / MIB_BYTES);
		return -ENOSPC;
	}
	report("cannot register %s with the RDMA device, %zu bytes: %s", what, bytes, strerror(error));
	return -error;
}

static void entry_write(struct verbs_registered *entry, uintptr_t base, size_t bytes, uint32_t key)
{
	unsigned version = atomic_load_explicit(&entry->version, memory_order_relaxed);

	atomic_store_explicit(&entry->version, version + 1, memory_order_relaxed);
	/* The odd version before the fields; pairs with the acquire fence in entry_holds(). */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&entry->base, base, memory_order_relaxed);
	atomic_store_explicit(&entry->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&entry->local_key, key, memory_order_relaxed);
	/* The fields before the even version; pairs with the acquire load in entry_holds(). */
	atomic_store_explicit(&entry->version, version + 2, memory_order_release);
}

void verbs_registered_set(struct verbs_registered *entry, struct ibv_mr *region, void *base, size_t bytes)
{
	entry->region = region;
	entry_write(entry, (uintptr_t)base, bytes, region->lkey);
}

void verbs_registered_clear(struct verbs_registered *entry)
{
	if (!entry->region)
		return;
	entry_write(entry, 0, 0, 0);
	ibv_dereg_mr(entry->region);
	entry->region = NULL;
}

static bool entry_holds(struct verbs_registered *entry, uintptr_t address, size_t bytes, uint32_t *key)
{
	/* Pairs with the release store at the end of entry_write(). */
	unsigned before = atomic_load_explicit(&entry->version, memory_order_acquire);
	uintptr_t base = atomic_load_explicit(&entry->base, memory_order_relaxed);
	size_t length = atomic_load_explicit(&entry->bytes, memory_order_relaxed);
	uint32_t found = atomic_load_explicit(&entry->local_key, memory_order_relaxed);

	/* Pairs with the release fence in entry_write(): a field that was new makes this version differ. */
	atomic_thread_fence(memory_order_acquire);
	if (before % 2 || atomic_load_explicit(&entry->version, memory_order_relaxed) != before)
		return false;
	if (address < base || bytes > length || address - base > length - bytes)
		return false;
	*key = found;
	return true;
}

bool verbs_find_local_key(struct verbs_registered *entries, unsigned likely, const void *address,
			  size_t bytes, uint32_t *key)
{
	if (entry_holds(&entries[likely], (uintptr_t)address, bytes, key))
		return true;
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (entry_holds(&entries[i], (uintptr_t)address, bytes, key))
			return true;
	return false;
}
