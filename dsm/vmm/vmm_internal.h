/*
 * What the parts of the virtual machine share: vmm.c (its life, its thread), vmm_exits.c (what it asks of
 * us), vmm_state.c (what moves).
 */
#ifndef MINORCA_DSM_VMM_VMM_INTERNAL_H
#define MINORCA_DSM_VMM_VMM_INTERNAL_H

#include "dsm/vmm/runner.h"
#include "dsm/vmm/vmm.h"

struct vmm {
	/* Immutable after vmm_create(). */
	struct vmm_options options;
	int kvm, machine, cpu; /* descriptors */
	struct kvm_run *run;   /* shared with the kernel */
	size_t run_bytes;

	struct runner runner;

	bool has_state; /* it was booted or restored; the owner's */

	/* The thread's while the machine runs, else the caller's. */
	struct serial serial;
	struct timer_counter timer;
};

enum vmm_next {
	VMM_GO_ON,
	VMM_END, /* vmm_end() was told why */
};

/** Does what the guest asked for with the exit that is in v->run. */
enum vmm_next vmm_handle_exit(struct vmm *v);

/** Says why the machine ends, and where the guest is. @return VMM_END. */
__attribute__((format(printf, 2, 3))) enum vmm_next vmm_end(struct vmm *v, const char *format, ...);

#endif
