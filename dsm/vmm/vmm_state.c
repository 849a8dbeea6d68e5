/*
 * What moves with a machine: registers and devices, as a plain struct.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dsm/vmm/vmm_internal.h"

#define CR0_PROTECTED 0x00000001u
#define CR0_EXTENSION_TYPE 0x00000010u
#define CR0_NUMERIC_ERROR 0x00000020u
#define CR0_PAGING 0x80000000u
#define CR4_PHYSICAL_ADDRESS_EXTENSION 0x20u
#define EFER_LONG_MODE 0x500u /* enabled, active */
#define FLAGS_RESERVED 2u

#define TYPE_CODE 11 /* execute, read, accessed */
#define TYPE_DATA 3  /* read, write, accessed */

/* Beside what KVM_GET_SREGS has: the time stamp counter, where system calls go, and how memory is cached. */
static const uint32_t msr_numbers[] = {
    0x10,	/* TSC */
    0x174,	/* SYSENTER_CS */
    0x175,	/* SYSENTER_ESP */
    0x176,	/* SYSENTER_EIP */
    0x277,	/* PAT */
    0xc0000081, /* STAR */
    0xc0000082, /* LSTAR */
    0xc0000083, /* CSTAR */
    0xc0000084, /* FMASK */
    0xc0000102, /* KERNEL_GS_BASE */
    0xc0000103, /* TSC_AUX */
};
#define MSR_NUMBERS (sizeof msr_numbers / sizeof msr_numbers[0])
_Static_assert(MSR_NUMBERS <= VMM_MSRS_MAX, "the state has room for them");

/* The kernel's list of MSRs, for one. */
union one_msr {
	struct kvm_msrs list;
	char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

/* Takes those that this processor has: KVM reads a list up to the first that it does not know. */
static void save_msrs(const struct vmm *v, struct vmm_state *state)
{
	for (size_t i = 0; i < MSR_NUMBERS; i++) {
		union one_msr msr = {.list.nmsrs = 1};

		msr.list.entries[0] = (struct kvm_msr_entry){.index = msr_numbers[i]};
		if (ioctl(v->cpu, KVM_GET_MSRS, &msr) == 1)
			state->msrs[state->msrs_count++] = msr.list.entries[0];
	}
}

static int restore_msrs(const struct vmm *v, const struct vmm_state *state)
{
	for (uint32_t i = 0; i < state->msrs_count; i++) {
		union one_msr msr = {.list.nmsrs = 1};

		msr.list.entries[0] = state->msrs[i];
		int count = ioctl(v->cpu, KVM_SET_MSRS, &msr);

		if (count != 1)
			return count < 0 ? -errno : -EINVAL;
	}
	return 0;
}

/* A machine whose state may be looked at or replaced. */
static bool stands_still(struct vmm *v)
{
	return runner_condition(&v->runner, NULL, 0) == RUNNER_PAUSED;
}

static struct kvm_segment flat_segment(uint8_t type)
{
	return (struct kvm_segment){
	    .limit = UINT32_MAX,
	    .selector = type == TYPE_CODE ? 8 : 16,
	    .type = type,
	    .present = 1,
	    .s = 1,
	    .l = type == TYPE_CODE,
	    .db = type == TYPE_DATA,
	    .g = 1,
	};
}

int vmm_boot(struct vmm *v, const struct vmm_entry *entry)
{
	struct kvm_regs regs = {.rip = entry->instruction, .rflags = FLAGS_RESERVED};
	struct kvm_sregs sregs;

	if (!stands_still(v))
		return -EBUSY;
	if (ioctl(v->cpu, KVM_GET_SREGS, &sregs))
		return -errno;
	sregs.cs = flat_segment(TYPE_CODE);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(TYPE_DATA);
	sregs.cr0 = CR0_PROTECTED | CR0_EXTENSION_TYPE | CR0_NUMERIC_ERROR | CR0_PAGING;
	sregs.cr3 = entry->page_tables;
	sregs.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
	sregs.efer = EFER_LONG_MODE;
	v->has_state = false;
	if (ioctl(v->cpu, KVM_SET_SREGS, &sregs) || ioctl(v->cpu, KVM_SET_REGS, &regs))
		return -errno;
	memset(&v->serial, 0, sizeof v->serial);
	memset(&v->timer, 0, sizeof v->timer);
	v->has_state = true;
	return 0;
}

int vmm_save(struct vmm *v, struct vmm_state *out)
{
	if (!v->has_state || !stands_still(v))
		return -EBUSY;
	struct vmm_state state = {
	    .magic = VMM_STATE_MAGIC,
	    .version = VMM_STATE_VERSION,
	    .bytes = sizeof state,
	    .serial = v->serial,
	    .timer = v->timer,
	};

	if (ioctl(v->cpu, KVM_GET_REGS, &state.regs) || ioctl(v->cpu, KVM_GET_SREGS, &state.sregs) ||
	    ioctl(v->cpu, KVM_GET_FPU, &state.fpu) || ioctl(v->cpu, KVM_GET_VCPU_EVENTS, &state.events))
		return -errno;
	save_msrs(v, &state);
	*out = state;
	return 0;
}

/* It came over a wire: what the devices index with must be within bounds. */
static bool makes_sense(const struct vmm_state *state)
{
	return state->magic == VMM_STATE_MAGIC && state->version == VMM_STATE_VERSION &&
	       state->bytes == sizeof *state && state->msrs_count <= VMM_MSRS_MAX &&
	       state->serial.used < SERIAL_LINE_MAX - 1 && state->timer.rest <= TIMER_RESTING &&
	       !state->timer.started_ns;
}

int vmm_restore(struct vmm *v, const struct vmm_state *state)
{
	if (!stands_still(v))
		return -EBUSY;
	if (!makes_sense(state))
		return -EPROTO;
	v->has_state = false; /* not what a part of it was put into */
	/* MSRs after what says which mode the processor is in; events last, for they may depend on all
	 * others. */
	if (ioctl(v->cpu, KVM_SET_SREGS, &state->sregs) || ioctl(v->cpu, KVM_SET_REGS, &state->regs) ||
	    ioctl(v->cpu, KVM_SET_FPU, &state->fpu))
		return -errno;
	int error = restore_msrs(v, state);

	if (error)
		return error;
	if (ioctl(v->cpu, KVM_SET_VCPU_EVENTS, &state->events))
		return -errno;
	v->serial = state->serial;
	v->timer = state->timer;
	v->has_state = true;
	return 0;
}
