/*
 * Registration of memory.
 *
 * Pages of 2 MiB and 1 GiB need nothing said: the kernel finds that pinned memory is made of them, and gives
 * the device page tables of the largest size that it knows (ib_umem_find_best_pgsz()). The flag
 * IBV_ACCESS_HUGETLB is for on-demand paging only.
 */
#include "dsm/verbs_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "dsm/report.h"
#include "dsm/verbs_wire.h"

#define MIB_BYTES ((size_t)1 << 20)
#define SMALL_PAGE_BYTES 4096u

/* --- one registration ---------------------------------------------------------------------------------- */

unsigned verbs_plan_access(const struct segment_memory *memory, bool served, bool on_demand,
			   bool on_demand_atomic, int *flags)
{
	bool atomic = served && memory->access & PEERS_ATOMIC;
	int access = IBV_ACCESS_LOCAL_WRITE;
	unsigned count = 0;

	if (served && memory->access & PEERS_READ)
		access |= IBV_ACCESS_REMOTE_READ;
	if (served && memory->access & PEERS_WRITE)
		access |= IBV_ACCESS_REMOTE_WRITE;
	if (atomic)
		access |= IBV_ACCESS_REMOTE_ATOMIC;
	if (on_demand && (!atomic || on_demand_atomic)) {
		/* Not every device with on-demand paging knows huge pages; on those that do, one entry of its
		 * page table serves where 512 would. */
		if (memory->page_bytes > SMALL_PAGE_BYTES)
			flags[count++] = access | IBV_ACCESS_ON_DEMAND | IBV_ACCESS_HUGETLB;
		flags[count++] = access | IBV_ACCESS_ON_DEMAND;
	}
	flags[count++] = access;
	return count;
}

/* Says that memory could not be had, and how to raise the limit of locked memory. */
static void report_locked_memory(const char *what, size_t bytes, int error)
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
		report_locked_memory(what, bytes, error);
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

/* --- a segment ----------------------------------------------------------------------------------------- */

static int register_chunk(const struct verbs_registrar *registrar, const struct segment_memory *memory,
			  struct verbs_registered *segment, size_t chunk, uint32_t *remote_key)
{
	uint64_t offset = (uint64_t)chunk << registrar->chunk_shift, left = memory->bytes - offset;
	uint64_t bytes = left >> registrar->chunk_shift ? (uint64_t)1 << registrar->chunk_shift : left;
	bool served = !memory->is_served || memory->is_served(memory->argument, offset, bytes);
	int flags[VERBS_ACCESS_MOST];
	unsigned count =
	    verbs_plan_access(memory, served, registrar->on_demand, registrar->on_demand_atomic, flags);
	struct ibv_mr *region;
	int error = verbs_register(registrar->domain, memory->name, (unsigned char *)memory->base + offset,
				   bytes, flags, count, &region);

	if (error) {
		if (chunk)
			report("(%llu MiB of %s were registered before)",
			       (unsigned long long)(offset / MIB_BYTES), memory->name);
		return error;
	}
	segment->chunks[chunk] = region;
	segment->local_keys[chunk] = region->lkey;
	*remote_key = served ? region->rkey : VERBS_NO_KEY;
	return 0;
}

int verbs_segment_register(const struct verbs_registrar *registrar, const struct segment_memory *memory,
			   struct verbs_registered *out, uint32_t *remote_keys)
{
	size_t count = verbs_chunks(memory->bytes, registrar->chunk_shift);
	struct verbs_registered segment = {
	    .base = (uintptr_t)memory->base,
	    .bytes = memory->bytes,
	    .local_keys = calloc(count, sizeof *segment.local_keys),
	    .chunks = calloc(count, sizeof(struct ibv_mr *)),
	    .chunk_count = count,
	};
	int error = segment.local_keys && segment.chunks ? 0 : -ENOMEM;

	if (error)
		report("no memory for the keys of %s", memory->name);
	for (size_t i = 0; i < count && !error; i++)
		error = register_chunk(registrar, memory, &segment, i, &remote_keys[i]);
	if (error)
		verbs_segment_deregister(&segment);
	else
		*out = segment;
	return error;
}

void verbs_segment_deregister(struct verbs_registered *segment)
{
	for (size_t i = 0; segment->chunks && i < segment->chunk_count; i++)
		if (segment->chunks[i])
			ibv_dereg_mr(segment->chunks[i]);
	free(segment->chunks);
	free(segment->local_keys);
	*segment = (struct verbs_registered){0};
}
