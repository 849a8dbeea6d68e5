/*
 * A minimal virtual machine on /dev/kvm: one virtual CPU, memory that the caller gives it, a serial port and
 * a timer counter, no interrupts. It can be paused at any instruction, its state taken out as a plain struct,
 * and let go on with that state elsewhere, in another process or on another machine. Nothing here knows of
 * nodes or regions.
 *
 * The kernel loads from and stores to its memory on behalf of it: memory that is registered with userfaultfd
 * needs a descriptor that takes faults of the kernel, and another thread to resolve them.
 *
 * Calls that return an int return 0 or -errno. All calls for one machine are made by one thread, not the one
 * that runs the machine.
 */
#ifndef MINORCA_DSM_VMM_VMM_H
#define MINORCA_DSM_VMM_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#include "dsm/vmm/runner.h"
#include "dsm/vmm/serial.h"
#include "dsm/vmm/timer.h"

struct vmm;

struct vmm_options {
	void *memory; /* guest-physical 0, page-aligned; stays the caller's */
	size_t bytes;
	/* Called for each line that the guest sends, by the thread that runs it. NULL: nobody listens. */
	void (*on_line)(void *argument, const char *line);
	void *argument;
};

/* Where a machine begins: in 64-bit mode, with page tables that are in its memory already. */
struct vmm_entry {
	uint64_t instruction, page_tables;
};

#define VMM_STATE_MAGIC 0x4d4d564du
#define VMM_STATE_VERSION 1
#define VMM_MSRS_MAX 16

/* What is taken along of a paused machine beside its memory: general, segment, control and floating-point
 * registers, some MSRs, pending events, devices. Not what its guest does not use: what only XSAVE has (AVX
 * and later), debug registers, a local APIC. For processors alike in what they offer to guests. */
struct vmm_state {
	uint32_t magic, version, bytes, msrs_count;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_vcpu_events events;
	struct kvm_msr_entry msrs[VMM_MSRS_MAX];
	struct serial serial;
	struct timer_counter timer;
};

/**
 * Makes a machine, paused, that has no state yet: vmm_boot() or vmm_restore() comes next. Touches none of its
 * memory.
 *
 * @param why  set to a sentence when it fails: what was asked for, and what came
 * @return 0; -ENOENT, -EACCES, ...: no /dev/kvm for us; -EOPNOTSUPP: it lacks something; -ENOMEM.
 */
int vmm_create(const struct vmm_options *options, struct vmm **out, char *why, size_t why_bytes);

/** Ends the machine, running or not. */
void vmm_destroy(struct vmm *v);

/** Gives it the state of a processor at @entry, and fresh devices. @return 0; -EBUSY: it runs, or has ended;
 * others: KVM does not take it. */
int vmm_boot(struct vmm *v, const struct vmm_entry *entry);

/** Lets it run. @return 0; -EBUSY: it has no state yet, runs already, or has ended. */
int vmm_run(struct vmm *v);

/**
 * Pauses it: a few instructions later it stands between two. While its memory makes it wait (for
 * userfaultfd), so may this call: KVM on hardware leaves such a wait for a signal from Linux 6.2 on, and
 * comes back to it when the machine runs again.
 * @return 0; -ESRCH: it has ended by itself; -ETIMEDOUT: it still waits for memory, after
 * RUNNER_PAUSE_TIMEOUT_S, and will be paused when it has it.
 */
int vmm_pause(struct vmm *v);

/** Takes out its state. @return 0; -EBUSY: it is not paused, or has none yet. */
int vmm_save(struct vmm *v, struct vmm_state *state);

/** Gives it the state that another machine was in. @return 0; -EPROTO: not a state that this build
 * understands; -EBUSY: it runs, or has ended; -EINVAL and others: KVM does not take it, and what it has is
 * of no use until it was given another. */
int vmm_restore(struct vmm *v, const struct vmm_state *state);

/** How it is. @param why  set to a sentence if it has ended, else to "" */
enum runner_condition vmm_condition(struct vmm *v, char *why, size_t why_bytes);

#endif
