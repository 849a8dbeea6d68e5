/*
 * Things that go wrong, one at a time: `failures CASE`. Run under mpirun by failures_test.sh, which looks at
 * what is printed, at the exit status, and at the clock.
 *
 * Exits with 1 when a call failed as it should, with 99 when it did not fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <minorca.h>

#include "kernel/memory.h"

static int node;

/* The runtime, or the end. */
static void start(void)
{
	int error = dsm_init(NULL, NULL);

	if (error)
		exit(1);
	node = dsm_node();
}

static int finish(int error)
{
	dsm_finalize();
	return error ? 1 : 99;
}

static int create(size_t bytes, struct dsm_region_options options, dsm_region **out)
{
	return dsm_region_create("subject", bytes, &options, out);
}

static int case_init(void)
{
	start();
	return finish(0);
}

static int case_region_too_large(void)
{
	dsm_region *r;

	start();
	return finish(create((size_t)1 << 42, (struct dsm_region_options){.page_size_bytes = 4096}, &r));
}

static int case_address_space_exhausted(void)
{
	dsm_region *r;

	start();
	/* Mapped, not allocated: too large for the address space, whatever the memory. */
	return finish(create((size_t)1 << 47, (struct dsm_region_options){.page_size_bytes = 4096}, &r));
}

static int case_too_few_hugepages(void)
{
	struct hugepage_pool pool;
	dsm_region *r;

	start();
	uint64_t pages = hugepage_pool_read(2 * MIB, &pool) ? 1 : pool.total + pool.overcommit + 1;
	return finish(create(pages * 2 * MIB, (struct dsm_region_options){.page_size_bytes = 2 * MIB}, &r));
}

/* The pool is large enough for the home, and empty when the other node fetches. */
static int case_pool_empty_in_a_fault(void)
{
	struct hugepage_pool pool;
	dsm_region *r;

	start();
	if (create(4 * MIB, (struct dsm_region_options){.page_size_bytes = 2 * MIB, .home = DSM_HOME_NODE},
		   &r))
		return finish(1);
	volatile char *base = dsm_region_base(r);
	if (node == 0)
		base[0] = 1;
	dsm_barrier();
	if (node == 1) {
		hugepage_pool_read(2 * MIB, &pool);
		size_t taken = (pool.free - pool.reserved) * 2 * MIB;
		int hog = memory_file_create("hog", taken, 2 * MIB);
		/* A mapping reserves what it may need: the pool is empty to others, and nothing needs to be
		 * zeroed. */
		if (mmap(NULL, taken, PROT_READ | PROT_WRITE, MAP_SHARED, hog, 0) == MAP_FAILED)
			return finish(0);
		(void)base[0]; /* dies here */
	}
	dsm_barrier();
	return finish(0);
}

static int case_region_used_after_it_was_destroyed(void)
{
	dsm_region *r;

	start();
	if (create(2 * MIB, (struct dsm_region_options){.page_size_bytes = 4096}, &r))
		return finish(1);
	volatile char *base = dsm_region_base(r);
	base[0] = 1;
	if (dsm_region_destroy(r))
		return finish(1);
	if (dsm_region_destroy(r) != -EINVAL || dsm_lock((dsm_mutex *)(uintptr_t)base) != -EFAULT)
		return 99;
	if (node == 1)
		base[8] = 2; /* dies here */
	dsm_barrier();
	return 99;
}

static int case_mutex_is_never_unlocked(void)
{
	dsm_region *r;

	start();
	if (create(2 * MIB, (struct dsm_region_options){.page_size_bytes = 4096}, &r))
		return finish(1);
	dsm_mutex *mutex = dsm_region_base(r);
	int error = node ? 0 : dsm_lock(mutex);
	dsm_barrier();
	if (node)
		error = dsm_lock(mutex);
	MPI_Barrier(MPI_COMM_WORLD);
	if (!node)
		return dsm_unlock(mutex) || dsm_region_destroy(r) ? 98 : finish(1);
	return error == -ETIMEDOUT && !dsm_region_destroy(r) ? finish(1) : 98;
}

static int case_region_destroyed_with_a_lock_held(void)
{
	dsm_region *r;

	start();
	if (create(2 * MIB, (struct dsm_region_options){.page_size_bytes = 4096}, &r))
		return finish(1);
	if (node && dsm_lock(dsm_region_base(r)))
		return 98;
	return dsm_region_destroy(r) == -EBUSY ? finish(1) : 99;
}

static int case_address_collision(void)
{
	uintptr_t address = 0x200000000000;
	dsm_region *r;

	start();
	if (node == 1 && mmap((void *)address, 4096, PROT_READ,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return finish(0);
	return finish(create(2 * MIB, (struct dsm_region_options){.address = (void *)address}, &r));
}

static int case_different_arguments(void)
{
	dsm_region *r;

	start();
	return finish(create(node ? 4096 : 8192, (struct dsm_region_options){0}, &r));
}

static int case_name_too_long(void)
{
	char name[65];
	dsm_region *r;

	start();
	memset(name, 'x', 64);
	name[64] = 0;
	return finish(dsm_region_create(name, 4096, NULL, &r) == -EINVAL);
}

static int case_cyclic_too_large(void)
{
	struct dsm_region_options options = {
	    .page_size_bytes = 4096, .home = DSM_HOME_CYCLIC, .chunk_bytes = 4096};
	dsm_region *r;

	start();
	return finish(create((size_t)1 << 62, options, &r));
}

static int case_different_calls(void)
{
	dsm_region *r, *other;

	start();
	if (create(4096, (struct dsm_region_options){0}, &r))
		return finish(0);
	int error = node ? dsm_region_create("other", 4096, NULL, &other) : dsm_region_destroy(r);
	_exit(error == -EIO ? 1 : 99);
}

/* After a time-out the same barrier is gone on with: calls stay one to one. */
static int case_barrier_is_gone_on_with(void)
{
	int error, timeouts = 0;

	start();
	if (node == 1)
		usleep(1500000);
	do {
		error = dsm_barrier();
		timeouts += error == -ETIMEDOUT;
	} while (error == -ETIMEDOUT && timeouts < 10);
	for (int i = 0; i < 3 && !error; i++)
		error = dsm_barrier();
	bool as_it_should_be = !error && (node ? !timeouts : timeouts > 0);
	return dsm_finalize() || !as_it_should_be ? 99 : 1;
}

static int case_thread_delivery(void)
{
	dsm_region *r;

	start();
	return finish(create(4096, (struct dsm_region_options){.delivery = DSM_DELIVERY_THREAD_BLOCK}, &r));
}

static int rank(void)
{
	const char *text = getenv("OMPI_COMM_WORLD_RANK");

	text = text ? text : getenv("PMI_RANK");
	return text ? atoi(text) : 0;
}

static int case_dies_before_mpi(void)
{
	if (rank() == 1)
		_exit(3);
	start();
	return finish(0);
}

static int case_dies_after_mpi(void)
{
	MPI_Init(NULL, NULL);
	if (rank() == 1)
		raise(SIGKILL);
	start();
	return finish(0);
}

static int case_never_starts(void)
{
	MPI_Init(NULL, NULL);
	if (rank() == 1)
		sleep(60);
	start();
	return finish(0);
}

static int case_hangs_before_mpi(void)
{
	if (rank() == 1)
		sleep(60);
	start();
	return finish(0);
}

static int case_misses_the_barrier(void)
{
	start();
	if (node == 1)
		sleep(60);
	int error = dsm_barrier();
	_exit(error == -ETIMEDOUT ? 1 : 99);
}

static int case_killed_while_others_wait(void)
{
	start();
	if (node == 1)
		raise(SIGKILL);
	int error = dsm_barrier();
	_exit(error == -ETIMEDOUT ? 1 : 99);
}

/* The system call is refused, as a container's seccomp filter does, and the device is not ours to open. */
static int case_no_userfaultfd(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof code[0], code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 98;
	start();
	return finish(0);
}

static int case_too_many_regions(void)
{
	dsm_region *r;
	int error = 0;

	start();
	for (int i = 0; i < 65 && !error; i++)
		error = create(4096, (struct dsm_region_options){0}, &r);
	return finish(error == -EMFILE);
}

/* --- the heap ------------------------------------------------------------------------------------------ */

/* On one node, so that there is one message. */
static int case_heap_is_used_up(void)
{
	void *memory;
	int error = 0;

	start();
	while (!error && node == 0)
		error = dsm_malloc(20000, DSM_INTERLEAVED, &memory);
	dsm_barrier();
	return finish(node || error == -ENOMEM);
}

/* MINORCA_HEAP_BYTES is more than this. */
static int case_heap_does_not_fit(void)
{
	struct rlimit limit = {(rlim_t)64 << 30, (rlim_t)64 << 30};

	setrlimit(RLIMIT_AS, &limit);
	return case_heap_is_used_up();
}

static int case_freed_twice(void)
{
	void *memory = NULL;
	int error = 0;

	start();
	if (node == 0 && !dsm_malloc(100, 1, &memory)) {
		dsm_free(memory);
		error = dsm_free(memory);
	}
	dsm_barrier();
	return finish(node || error == -EINVAL);
}

/* --- SIGBUS that is not about a region ------------------------------------------------------------------ */

static volatile sig_atomic_t seen_code;
static void *volatile seen_address;

static void *beyond_end_of_file(void)
{
	int fd = memory_file_create("empty", 4096, 4096);
	void *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	return (char *)page + 4096;
}

static void on_bus(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	seen_code = info->si_code;
	seen_address = info->si_addr;
	/* Cures it, as a handler that knows its mapping does. */
	void *page = (void *)((uintptr_t)info->si_addr & ~(uintptr_t)4095);
	if (info->si_code == BUS_ADRERR && mmap(page, 4096, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		_exit(97);
}

/* The handler that was there before gets what is not ours, and a region still works afterwards. */
static int case_foreign_sigbus_is_handed_on(void)
{
	struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
	dsm_region *r;

	MPI_Init(NULL, NULL);
	sigaction(SIGBUS, &action, NULL);
	start();
	int error = create(
	    4096, (struct dsm_region_options){.home = DSM_HOME_NODE, .home_node = dsm_nodes() - 1}, &r);
	volatile char *page = beyond_end_of_file(), *base = dsm_region_base(r);
	page[5] = 7;
	bool handed_on = seen_code == BUS_ADRERR && seen_address == page + 5 && page[5] == 7;
	base[0] = (char)(base[1] + 1);
	seen_code = 0;
	raise(SIGBUS);
	handed_on &= seen_code == SI_TKILL;
	dsm_finalize();
	struct sigaction now;
	sigaction(SIGBUS, NULL, &now);
	MPI_Finalize();
	return !error && handed_on && now.sa_sigaction == on_bus ? 1 : 99;
}

static void set_default(void)
{
	MPI_Init(NULL, NULL);
	signal(SIGBUS, SIG_DFL);
	start();
}

static int case_foreign_sigbus_kills(void)
{
	set_default();
	*(volatile char *)beyond_end_of_file() = 1;
	return finish(0);
}

static int case_sent_sigbus_kills(void)
{
	set_default();
	kill(getpid(), SIGBUS);
	return finish(0);
}

static int case_ignored_sigbus_is_ignored(void)
{
	MPI_Init(NULL, NULL);
	signal(SIGBUS, SIG_IGN);
	start();
	kill(getpid(), SIGBUS);
	dsm_finalize();
	MPI_Finalize();
	return 1;
}

/* A system call may touch a region that is delivered by thread; inline it may not, until the buffer is
 * prefetched. */
static int case_system_calls(void)
{
	bool good = true;

	start();
	for (int d = DSM_DELIVERY_INLINE; d <= DSM_DELIVERY_THREAD_BLOCK; d++) {
		struct dsm_region_options options = {.home = DSM_HOME_NODE, .delivery = (enum dsm_delivery)d};
		dsm_region *r;
		int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		if (create(8192, options, &r))
			return finish(0);
		char *base = dsm_region_base(r);
		if (node == 1 && d == DSM_DELIVERY_INLINE) {
			good &= read(zero, base, 4096) == -1 && errno == EFAULT;
			good &= !dsm_prefetch(base, 4096, true);
		}
		if (node == 1)
			good &= read(zero, base, 4096) == 4096;
		close(zero);
		dsm_barrier();
		dsm_region_destroy(r);
	}
	return finish(good);
}

static const struct {
	const char *name;
	int (*run)(void);
} cases[] = {
    {"init", case_init},
    {"region-too-large", case_region_too_large},
    {"address-space-exhausted", case_address_space_exhausted},
    {"too-few-hugepages", case_too_few_hugepages},
    {"pool-empty-in-a-fault", case_pool_empty_in_a_fault},
    {"region-used-after-it-was-destroyed", case_region_used_after_it_was_destroyed},
    {"mutex-is-never-unlocked", case_mutex_is_never_unlocked},
    {"region-destroyed-with-a-lock-held", case_region_destroyed_with_a_lock_held},
    {"address-collision", case_address_collision},
    {"different-arguments", case_different_arguments},
    {"name-too-long", case_name_too_long},
    {"cyclic-too-large", case_cyclic_too_large},
    {"different-calls", case_different_calls},
    {"barrier-is-gone-on-with", case_barrier_is_gone_on_with},
    {"thread-delivery", case_thread_delivery},
    {"dies-before-mpi", case_dies_before_mpi},
    {"dies-after-mpi", case_dies_after_mpi},
    {"never-starts", case_never_starts},
    {"hangs-before-mpi", case_hangs_before_mpi},
    {"misses-the-barrier", case_misses_the_barrier},
    {"killed-while-others-wait", case_killed_while_others_wait},
    {"no-userfaultfd", case_no_userfaultfd},
    {"too-many-regions", case_too_many_regions},
    {"heap-is-used-up", case_heap_is_used_up},
    {"heap-does-not-fit", case_heap_does_not_fit},
    {"freed-twice", case_freed_twice},
    {"foreign-sigbus-is-handed-on", case_foreign_sigbus_is_handed_on},
    {"foreign-sigbus-kills", case_foreign_sigbus_kills},
    {"sent-sigbus-kills", case_sent_sigbus_kills},
    {"ignored-sigbus-is-ignored", case_ignored_sigbus_is_ignored},
    {"system-calls", case_system_calls},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof cases[0]; i++)
		if (!strcmp(argv[1], cases[i].name))
			return cases[i].run();
	fprintf(stderr, "usage: failures CASE\n");
	return 2;
}
