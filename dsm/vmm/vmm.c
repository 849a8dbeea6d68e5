/*
 * A machine's life, and how it runs.
 *
 * Pausing: the runner is told, immediate_exit is set, and the thread gets a signal. Wherever the thread
 * is, it comes to KVM_RUN once more, which then completes what the guest had begun (a read of a port, say)
 * and returns EINTR: between two instructions. If it is in KVM_RUN, the signal makes it return; if it is
 * about to enter, immediate_exit does; so none gets lost, and the signal's handler need not do anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/clock.h"
#include "dsm/vmm/vmm_internal.h"

#define CPUID_ENTRIES_MAX 256

/* --- running ------------------------------------------------------------------------------------------- */

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int number)
{
	(void)number; /* it has interrupted a system call, which is all that it is for */
}

static int take_kicks(void)
{
	struct sigaction action = {.sa_handler = on_kick, .sa_flags = SA_RESTART};

	return sigaction(kick_signal(), &action, NULL) ? -errno : 0;
}

/* The runner's: has the thread leave KVM_RUN. */
static void kick(void *argument)
{
	struct vmm *v = argument;

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->runner.thread, kick_signal());
}

static enum runner_condition run_until_paused(struct vmm *v)
{
	for (;;) {
		if (v->timer.rest == TIMER_RESTING) {
			if (!runner_rest(&v->runner, timer_rest_ends_ns(&v->timer)))
				return RUNNER_PAUSED;
			v->timer.rest = TIMER_NO_REST;
		}
		if (ioctl(v->cpu, KVM_RUN, 0) < 0) {
			if (errno == EINTR && !runner_is_to_go_on(&v->runner))
				return RUNNER_PAUSED;
			if (errno == EINTR || errno == EAGAIN)
				continue;
			vmm_end(v, "KVM_RUN: %s%s", strerror(errno),
				errno == EFAULT ? ": a page of its memory is not to be had"
						: "; see what dmesg says");
			return RUNNER_ENDED;
		}
		if (vmm_handle_exit(v) == VMM_END)
			return RUNNER_ENDED;
	}
}

/* The runner's work. */
static enum runner_condition run_machine(void *argument)
{
	struct vmm *v = argument;

	timer_start(&v->timer, clock_ns());
	enum runner_condition condition = run_until_paused(v);

	timer_stop(&v->timer, clock_ns());
	return condition;
}

/* --- making it ----------------------------------------------------------------------------------------- */

static int refuse(char *why, size_t bytes, const char *what, const char *remedy, int error)
{
	snprintf(why, bytes, "%s: %s; %s", what, strerror(-error), remedy);
	return error;
}

/* By the kernel, for a reason that only its log may have. */
static int refused_by_kvm(char *why, size_t bytes, const char *what, int error)
{
	return refuse(why, bytes, what,
		      error == -ENOMEM ? "free some memory, or give this user more"
				       : "see what dmesg says, and whether another hypervisor has the "
					 "processor",
		      error);
}

static int cannot_open(char *why, size_t bytes, int error)
{
	const char *remedy = error == -EACCES || error == -EPERM ? ": join its group (usually kvm)"
			     : error == -ENOENT || error == -ENODEV || error == -ENXIO
				 ? ": have the firmware offer virtualisation, and load kvm_intel or kvm_amd"
				 : "";

	snprintf(why, bytes, "/dev/kvm: %s%s", strerror(-error), remedy);
	return error;
}

/* Something else of that name. */
static int cannot_ask(char *why, size_t bytes, int error)
{
	snprintf(why, bytes, "/dev/kvm is not KVM's device (%s): remove it, and load kvm_intel or kvm_amd",
		 strerror(-error));
	return error == -ENOTTY ? -EOPNOTSUPP : error;
}

static int open_kvm(struct vmm *v, char *why, size_t why_bytes)
{
	v->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (v->kvm < 0)
		return cannot_open(why, why_bytes, -errno);
	int version = ioctl(v->kvm, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return cannot_ask(why, why_bytes, -errno);
	if (version != KVM_API_VERSION) {
		snprintf(why, why_bytes,
			 "/dev/kvm is of version %d, and not %d: use a kernel of Linux 2.6.22 or later",
			 version, KVM_API_VERSION);
		return -EOPNOTSUPP;
	}
	if (ioctl(v->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0) {
		snprintf(why, why_bytes, "/dev/kvm has no immediate_exit; use Linux 4.13 or later");
		return -EOPNOTSUPP;
	}
	v->machine = ioctl(v->kvm, KVM_CREATE_VM, 0);
	return v->machine < 0 ? refused_by_kvm(why, why_bytes, "KVM_CREATE_VM", -errno) : 0;
}

static int give_memory(struct vmm *v)
{
	struct kvm_userspace_memory_region memory = {
	    .memory_size = v->options.bytes,
	    .userspace_addr = (uintptr_t)v->options.memory,
	};

	return ioctl(v->machine, KVM_SET_USER_MEMORY_REGION, &memory) ? -errno : 0;
}

/* The virtual processor is what the real one can be for a guest. */
static int set_cpuid(struct vmm *v)
{
	struct kvm_cpuid2 *cpuid =
	    calloc(1, sizeof *cpuid + CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
	int error = -ENOMEM;

	if (!cpuid)
		return error;
	cpuid->nent = CPUID_ENTRIES_MAX;
	error = ioctl(v->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) || ioctl(v->cpu, KVM_SET_CPUID2, cpuid) ? -errno
												      : 0;
	free(cpuid);
	return error;
}

static int make_cpu(struct vmm *v, char *why, size_t why_bytes)
{
	v->cpu = ioctl(v->machine, KVM_CREATE_VCPU, 0);
	if (v->cpu < 0)
		return refused_by_kvm(why, why_bytes, "KVM_CREATE_VCPU", -errno);
	int error = set_cpuid(v);

	if (error)
		return refused_by_kvm(why, why_bytes, "KVM_SET_CPUID2", error);
	int bytes = ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (bytes < 0)
		return refused_by_kvm(why, why_bytes, "KVM_GET_VCPU_MMAP_SIZE", -errno);
	void *run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->cpu, 0);

	if (run == MAP_FAILED)
		return refused_by_kvm(why, why_bytes, "mapping the virtual CPU", -errno);
	v->run = run;
	v->run_bytes = (size_t)bytes;
	return 0;
}

/* All but the thread. */
static void release(struct vmm *v)
{
	if (v->run)
		munmap(v->run, v->run_bytes);
	if (v->cpu >= 0)
		close(v->cpu);
	if (v->machine >= 0)
		close(v->machine);
	if (v->kvm >= 0)
		close(v->kvm);
	free(v);
}

int vmm_create(const struct vmm_options *options, struct vmm **out, char *why, size_t why_bytes)
{
	struct vmm *v = calloc(1, sizeof *v);

	if (!v)
		return refused_by_kvm(why, why_bytes, "a virtual machine", -ENOMEM);
	v->options = *options;
	v->kvm = v->machine = v->cpu = -1;
	int error = open_kvm(v, why, why_bytes);

	if (error)
		goto release;
	error = give_memory(v);
	if (error) {
		refused_by_kvm(why, why_bytes, "KVM_SET_USER_MEMORY_REGION", error);
		goto release;
	}
	error = make_cpu(v, why, why_bytes);
	if (error)
		goto release;
	error = take_kicks();
	if (!error)
		error = runner_start(&v->runner, run_machine, kick, v, kick_signal());
	if (error) {
		refuse(why, why_bytes, "a thread for the virtual CPU", "raise the limit (ulimit -u)", error);
		goto release;
	}
	*out = v;
	return 0;

release:
	release(v);
	return error;
}

void vmm_destroy(struct vmm *v)
{
	if (!v)
		return;
	runner_stop(&v->runner);
	release(v);
}

int vmm_run(struct vmm *v)
{
	if (!v->has_state || runner_condition(&v->runner, NULL, 0) != RUNNER_PAUSED)
		return -EBUSY;
	v->run->immediate_exit = 0;
	return runner_run(&v->runner);
}

int vmm_pause(struct vmm *v)
{
	return runner_pause(&v->runner);
}

enum runner_condition vmm_condition(struct vmm *v, char *why, size_t why_bytes)
{
	return runner_condition(&v->runner, why, why_bytes);
}
