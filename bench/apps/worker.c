/*
 * The back ends. See worker.h.
 */
#include "bench/apps/worker.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mpi.h>

#include "bench/job.h"
#include "kernel/memory.h"

#define ARRAYS_MAX 16

/* How often a barrier looks before it sleeps: some tens of microseconds. */
#define SPINS 4000

/* Memory that is freed at the end. */
struct piece {
	struct piece *next;
	void *address;
	size_t bytes;
};

/* The numbers that a worker brings to a reduction. */
struct contribution {
	uint64_t words[WORKER_REDUCE_MAX];
};

struct shared {
	enum form form;
	unsigned int node, nodes, threads;
	size_t page_bytes, smallest_page_bytes;
	struct worker *workers; /* of this node */

	dsm_region *regions[ARRAYS_MAX];
	unsigned int region_count;

	pthread_mutex_t lock; /* for `pieces` */
	struct piece *pieces;

	struct contribution *contributions; /* of each thread; [threads]: the result */

	_Alignas(128) atomic_uint arrived;
	_Alignas(128)
	    atomic_uint generation; /* of the barrier of this node's threads; who waits sleeps on it */
};

/* --- memory -------------------------------------------------------------------------------------------- */

static size_t round_up(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* Zeroed; large pieces on transparent hugepages, so that plain forms are as fast as they can be. */
static void *allocate(struct shared *s, size_t bytes)
{
	struct piece *piece = malloc(sizeof *piece);
	size_t whole = round_up(bytes ? bytes : 1, bytes >= 2 * MIB ? 2 * MIB : 4 * KIB);

	/* A hugepage must be aligned: mapped with a hugepage too many, which costs address space alone. */
	void *address = mmap(NULL, whole + 2 * MIB, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!piece || address == MAP_FAILED)
		job_fail("no memory for %zu bytes: %s", bytes, strerror(errno));
	*piece = (struct piece){.address = address, .bytes = whole + 2 * MIB};
	pthread_mutex_lock(&s->lock);
	piece->next = s->pieces;
	s->pieces = piece;
	pthread_mutex_unlock(&s->lock);
	if (whole < 2 * MIB)
		return address;
	void *aligned = (void *)round_up((size_t)address, 2 * MIB);
	madvise(aligned, whole, MADV_HUGEPAGE); /* a kernel without them gives small ones */
	return aligned;
}

static void free_pieces(struct shared *s)
{
	while (s->pieces) {
		struct piece *piece = s->pieces;
		s->pieces = piece->next;
		munmap(piece->address, piece->bytes);
		free(piece);
	}
}

/* Whether each host has hugepages for a whole copy of a region on each of its nodes, and somewhat more. */
static bool pool_has(const struct shared *s, size_t bytes)
{
	struct hugepage_pool pool;
	uint64_t nodes_here = job_host_sum(1);
	bool enough = !hugepage_pool_read(s->page_bytes, &pool) &&
		      pool.free >= nodes_here * (bytes / s->page_bytes) + nodes_here;

	return !job_any(!enough);
}

/* The page size of a region with such parts. */
static size_t choose_page(const struct shared *s, const char *name, size_t bytes)
{
	if (s->page_bytes == 4 * KIB)
		return s->page_bytes;
	if (pool_has(s, round_up(bytes, s->page_bytes) * s->threads * s->nodes))
		return s->page_bytes;
	if (s->node == 0)
		fprintf(stderr,
			"%s: \"%s\" has pages of 4 KiB: there are too few hugepages for larger ones\n",
			program_invocation_short_name, name);
	return 4 * KIB;
}

static void *make_region(struct shared *s, const char *name, size_t bytes, size_t page_bytes)
{
	struct dsm_region_options options = {.page_size_bytes = page_bytes, .home = DSM_HOME_BLOCK};

	if (s->region_count == ARRAYS_MAX)
		job_fail("more than %d shared arrays", ARRAYS_MAX);
	if (dsm_region_create(name, bytes, &options, &s->regions[s->region_count]))
		job_fail("no region \"%s\" of %zu bytes", name, bytes);
	return dsm_region_base(s->regions[s->region_count++]);
}

void *shared_parts(struct shared *s, const char *name, size_t bytes, size_t *stride)
{
	if (s->form != FORM_DSM) {
		*stride = round_up(bytes, 4 * KIB);
		return allocate(s, *stride * s->threads);
	}
	size_t page_bytes = choose_page(s, name, bytes);
	*stride = round_up(bytes, page_bytes);
	if (!s->smallest_page_bytes || page_bytes < s->smallest_page_bytes)
		s->smallest_page_bytes = page_bytes;
	/* As many pages for each node: homes in blocks are the nodes' parts exactly. */
	return make_region(s, name, *stride * s->threads * s->nodes, page_bytes);
}

void *worker_private(struct worker *worker, size_t bytes)
{
	return allocate(worker->shared, bytes);
}

size_t shared_page_bytes(const struct shared *shared)
{
	return shared->smallest_page_bytes;
}

struct worker *shared_worker(struct shared *shared, unsigned int thread)
{
	return &shared->workers[thread];
}

struct shared *shared_begin(enum form form, unsigned int node, unsigned int nodes, unsigned int threads,
			    size_t page_bytes)
{
	struct shared *s = aligned_alloc(128, sizeof *s);

	if (!s)
		job_fail("no memory for a team");
	*s = (struct shared){
	    .form = form, .node = node, .nodes = nodes, .threads = threads, .page_bytes = page_bytes};
	pthread_mutex_init(&s->lock, NULL);
	s->workers = allocate(s, threads * sizeof *s->workers);
	s->contributions = allocate(s, (threads + 1) * sizeof *s->contributions);
	for (unsigned int i = 0; i < threads; i++)
		s->workers[i] = (struct worker){.shared = s,
						.form = form,
						.rank = node * threads + i,
						.workers = nodes * threads,
						.thread = i,
						.threads = threads};
	return s;
}

void shared_end(struct shared *s)
{
	while (s->region_count)
		if (dsm_region_destroy(s->regions[--s->region_count]))
			job_fail("a region could not be destroyed");
	free_pieces(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* --- the barrier of a node's threads ------------------------------------------------------------------- */

static void sleep_on(atomic_uint *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/*
 * The last to arrive opens it. `arrived` is zeroed before the generation changes, and nobody arrives at the
 * next barrier before that.
 */
static void meet_threads(struct shared *s)
{
	if (s->threads == 1)
		return;
	unsigned int generation = atomic_load(&s->generation);
	if (atomic_fetch_add(&s->arrived, 1) + 1 == s->threads) {
		atomic_store(&s->arrived, 0);
		atomic_fetch_add(&s->generation, 1);
		syscall(SYS_futex, &s->generation, FUTEX_WAKE_PRIVATE, (int)s->threads, NULL, NULL, 0);
		return;
	}
	for (unsigned int turn = 0; atomic_load(&s->generation) == generation; turn++)
		if (turn < SPINS)
			__builtin_ia32_pause();
		else
			sleep_on(&s->generation, generation);
}

void worker_barrier(struct worker *w)
{
	struct shared *s = w->shared;
	uint64_t since_ns = timer_now_ns();

	meet_threads(s);
	if (s->form == FORM_MPI)
		MPI_Barrier(MPI_COMM_WORLD);
	if (s->form == FORM_DSM) {
		if (w->thread == 0 && dsm_barrier())
			job_fail("a barrier failed");
		meet_threads(s);
	}
	uint64_t took_ns = timer_now_ns() - since_ns;
	w->call_ns += took_ns;
	w->barrier_ns += took_ns;
}

/* --- reductions ---------------------------------------------------------------------------------------- */

static const struct {
	enum dsm_type type;
	enum dsm_reduction reduction;
} dsm_combinations[] = {
    [SUM_DOUBLE] = {DSM_DOUBLE, DSM_SUM},
    [MAX_DOUBLE] = {DSM_DOUBLE, DSM_MAX},
    [SUM_UINT64] = {DSM_UINT64, DSM_SUM},
    [MAX_UINT64] = {DSM_UINT64, DSM_MAX},
};

static void combine(uint64_t *into, const uint64_t *from, size_t count, enum combination combination)
{
	for (size_t i = 0; i < count; i++) {
		double a, b;
		memcpy(&a, &into[i], sizeof a);
		memcpy(&b, &from[i], sizeof b);
		switch (combination) {
		case SUM_DOUBLE:
			a += b;
			memcpy(&into[i], &a, sizeof a);
			break;
		case MAX_DOUBLE:
			if (b > a)
				into[i] = from[i];
			break;
		case SUM_UINT64:
			into[i] += from[i];
			break;
		case MAX_UINT64:
			if (from[i] > into[i])
				into[i] = from[i];
			break;
		}
	}
}

static void reduce_by_mpi(void *numbers, size_t count, enum combination combination)
{
	bool is_sum = combination == SUM_DOUBLE || combination == SUM_UINT64;
	bool is_double = combination == SUM_DOUBLE || combination == MAX_DOUBLE;

	MPI_Allreduce(MPI_IN_PLACE, numbers, (int)count, is_double ? MPI_DOUBLE : MPI_UINT64_T,
		      is_sum ? MPI_SUM : MPI_MAX, MPI_COMM_WORLD);
}

/* Thread 0: what all threads of this node have brought, in their order, then the nodes'. */
static void reduce_node(struct shared *s, size_t count, enum combination combination)
{
	uint64_t *result = s->contributions[s->threads].words;

	memcpy(result, s->contributions[0].words, count * sizeof *result);
	for (unsigned int i = 1; i < s->threads; i++)
		combine(result, s->contributions[i].words, count, combination);
	if (s->form == FORM_DSM && dsm_reduce(result, result, count, dsm_combinations[combination].type,
					      dsm_combinations[combination].reduction))
		job_fail("a reduction failed");
}

void worker_reduce(struct worker *w, void *numbers, size_t count, enum combination combination)
{
	struct shared *s = w->shared;
	uint64_t since_ns = timer_now_ns();
	size_t bytes = count * sizeof(uint64_t);

	if (count > WORKER_REDUCE_MAX)
		job_fail("%zu numbers in a reduction", count);
	if (s->form == FORM_MPI) {
		reduce_by_mpi(numbers, count, combination);
	} else {
		memcpy(s->contributions[w->thread].words, numbers, bytes);
		meet_threads(s);
		if (w->thread == 0)
			reduce_node(s, count, combination);
		/* Who is through may bring its next numbers: the result is read by others, not those. The
		 * result is not written before all threads have met again, and so have read it. */
		meet_threads(s);
		memcpy(numbers, s->contributions[s->threads].words, bytes);
	}
	uint64_t took_ns = timer_now_ns() - since_ns;
	w->call_ns += took_ns;
	w->barrier_ns += took_ns;
}

/* --- hints and locks ----------------------------------------------------------------------------------- */

static uint64_t watch_begin(const struct worker *w)
{
	return w->watched ? dsm_trace_ticks() : 0;
}

static void watch_end(struct worker *w, unsigned int watch, uint64_t since)
{
	if (!w->watched)
		return;
	w->watches[watch].ticks += dsm_trace_ticks() - since;
	w->watches[watch].calls++;
}

static void prefetch(struct worker *w, const void *address, size_t bytes, bool for_write)
{
	uint64_t since = watch_begin(w);

	if (dsm_prefetch(address, bytes, for_write))
		job_fail("a prefetch failed");
	watch_end(w, WATCH_PREFETCH, since);
}

void worker_prefetch(struct worker *w, const void *address, size_t bytes, bool for_write)
{
	if (w->form == FORM_DSM && bytes)
		WORKER_CALL(w, prefetch(w, address, bytes, for_write));
}

void worker_lock(struct worker *w, union worker_lock *lock)
{
	if (w->form != FORM_DSM) {
		pthread_mutex_lock(&lock->thread);
		return;
	}
	uint64_t since = watch_begin(w);
	if (dsm_lock(&lock->dsm))
		job_fail("a lock failed");
	watch_end(w, WATCH_LOCK, since);
}

void worker_unlock(struct worker *w, union worker_lock *lock)
{
	if (w->form != FORM_DSM) {
		pthread_mutex_unlock(&lock->thread);
		return;
	}
	uint64_t since = watch_begin(w);
	if (dsm_unlock(&lock->dsm))
		job_fail("an unlock failed");
	watch_end(w, WATCH_UNLOCK, since);
}

/* Minorca has no such operation: a compare-swap that is tried again when another was faster. */
static void xor_by_swaps(uint64_t *word, uint64_t value)
{
	uint64_t expected, old;
	int error = dsm_atomic_load(word, &expected, DSM_RELAXED);

	for (; !error; expected = old) {
		error = dsm_atomic_compare_swap(word, expected, expected ^ value, &old, DSM_RELAXED);
		if (!error && old == expected)
			return;
	}
	job_fail("an atomic operation failed");
}

void worker_atomic_xor(struct worker *w, uint64_t *word, uint64_t value)
{
	if (w->form != FORM_DSM) {
		__atomic_fetch_xor(word, value, __ATOMIC_RELAXED);
		return;
	}
	uint64_t since = watch_begin(w);
	xor_by_swaps(word, value);
	watch_end(w, WATCH_ATOMIC, since);
}
