/*
 * A virtual machine over memory that comes when it is touched, and over memory that does not come.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/memory.h"
#include "kernel/uffd.h"

#include "dsm/vmm/test_machine.h"

struct handler {
	int uffd;
	size_t page_bytes;
	unsigned int delay_ms; /* before the first answer */
	unsigned int faults, bad_addresses;
	char *memory;
	bool stop;
};

static void *resolve_faults(void *argument)
{
	struct handler *h = argument;
	struct pollfd p = {.fd = h->uffd, .events = POLLIN};
	struct uffd_msg m;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		if (poll(&p, 1, 10) <= 0 || read(h->uffd, &m, sizeof m) != sizeof m)
			continue;
		char *page = (char *)(m.arg.pagefault.address & ~(uint64_t)(h->page_bytes - 1));

		if (!(m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_MINOR) || page < h->memory ||
		    page >= h->memory + MACHINE_BYTES)
			__atomic_add_fetch(&h->bad_addresses, 1, __ATOMIC_RELAXED);
		if (!__atomic_fetch_add(&h->faults, 1, __ATOMIC_RELAXED))
			machine_wait_ms(h->delay_ms);
		uffd_continue_all(h->uffd, page, h->page_bytes, h->page_bytes, 0, NULL);
	}
	return NULL;
}

/* All pages are in the file and none is mapped: KVM's own touch of each is a minor fault, which blocks the
 * guest until the handler says CONTINUE. Meanwhile it can be asked to pause; whether that waits for the page
 * is KVM's affair. */
static void guest_runs_on_minor_faults(size_t page_bytes)
{
	static struct test_machine s;
	struct handler h = {.page_bytes = page_bytes, .delay_ms = 200};
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};
	unsigned long long beat = 0, steps = 0;
	pthread_t thread;

	machine_make(&s, page_bytes);
	assert_int_equal(guest_load(s.memory, MACHINE_BYTES, &machine_busy), 0);
	h.memory = s.memory;
	h.uffd = uffd_open(0, true, NULL);
	if (h.uffd < 0) {
		machine_end(&s);
		SKIP_BECAUSE("no userfaultfd for faults of the kernel here");
	}
	assert_int_equal(uffd_register(h.uffd, s.memory, MACHINE_BYTES, UFFDIO_REGISTER_MODE_MINOR, NULL), 0);
	assert_int_equal(madvise(s.memory, MACHINE_BYTES, MADV_DONTNEED), 0);
	assert_int_equal(pthread_create(&thread, NULL, resolve_faults, &h), 0);
	assert_int_equal(vmm_boot(s.vmm, &entry), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	machine_wait_ms(20);
	assert_int_equal(vmm_pause(s.vmm), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	assert_true(machine_says(&s, 3));
	assert_int_equal(vmm_pause(s.vmm), 0);
	machine_assert_beats(&s, &beat, &steps);
	machine_assert_memory(&s);
	print_message("# %u faults of %u pages\n", h.faults, (unsigned int)(MACHINE_BYTES / page_bytes));
	assert_true(h.faults > (page_bytes == 4 * KIB ? 100 : 2));
	assert_int_equal(h.bad_addresses, 0);
	__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(h.uffd);
	machine_end(&s);
}

static void guest_runs_on_minor_faults_of_small_pages(void **state)
{
	(void)state;
	guest_runs_on_minor_faults(4 * KIB);
}

static void guest_runs_on_minor_faults_of_hugepages(void **state)
{
	(void)state;
	guest_runs_on_minor_faults(2 * MIB);
}

static void page_that_is_not_to_be_had_ends_it_in_words(void **state)
{
	static struct test_machine s;

	(void)state;
	machine_make(&s, 4 * KIB);
	assert_int_equal(mprotect(s.memory + 2 * MIB, 4 * KIB, PROT_NONE), 0);
	struct guest_options options = machine_busy;
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};

	/* Loaded before, through the file's other mapping. */
	void *other = NULL;

	assert_int_equal(memory_map(s.file, MACHINE_BYTES, NULL, &other), 0);
	assert_int_equal(guest_load(other, MACHINE_BYTES, &options), 0);
	munmap(other, MACHINE_BYTES);
	assert_int_equal(vmm_boot(s.vmm, &entry), 0);
	assert_int_equal(vmm_run(s.vmm), 0);
	const char *why = machine_ends(&s);

	print_message("# %s\n", why);
	assert_non_null(strstr(why, "not to be had"));
	assert_non_null(strstr(why, "rip 0x10"));
	assert_int_equal(vmm_pause(s.vmm), -ESRCH);
	assert_int_equal(vmm_run(s.vmm), -EBUSY);
	machine_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(page_that_is_not_to_be_had_ends_it_in_words),
	    cmocka_unit_test(guest_runs_on_minor_faults_of_small_pages),
	    cmocka_unit_test(guest_runs_on_minor_faults_of_hugepages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
