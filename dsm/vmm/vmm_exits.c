/*
 * What the guest asks for: its devices, and its end.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dsm/clock.h"
#include "dsm/vmm/guest_layout.h"
#include "dsm/vmm/vmm_internal.h"

enum vmm_next vmm_end(struct vmm *v, const char *format, ...)
{
	char reason[RUNNER_WHY_MAX - 32];
	struct kvm_regs regs = {0};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof reason, format, arguments);
	va_end(arguments);
	ioctl(v->cpu, KVM_GET_REGS, &regs);
	runner_end(&v->runner, "%s (rip 0x%" PRIx64 ")", reason, (uint64_t)regs.rip);
	return VMM_END;
}

static void serial_ports(struct vmm *v, unsigned int number, uint8_t *data, size_t count, bool out)
{
	for (size_t i = 0; i < count; i++) {
		if (!out) {
			data[i] = serial_read(&v->serial, number);
			continue;
		}
		const char *line = serial_write(&v->serial, number, data[i]);

		if (line && v->options.on_line)
			v->options.on_line(v->options.argument, line);
	}
}

static void timer_ports(struct vmm *v, unsigned int number, uint8_t *data, size_t count, bool out)
{
	for (size_t i = 0; i < count; i++, data += sizeof(uint32_t)) {
		uint32_t value = 0;

		if (out) {
			memcpy(&value, data, sizeof value);
			if (number == TIMER_REST)
				timer_arm(&v->timer, value, clock_ns());
		} else {
			value = timer_read(&v->timer, number, clock_ns());
			memcpy(data, &value, sizeof value);
		}
	}
}

/* Ports that nothing is behind take what is written, and read as ones, as on a real machine. */
static enum vmm_next ports(struct vmm *v)
{
	unsigned int port = v->run->io.port, size = v->run->io.size;
	uint8_t *data = (uint8_t *)v->run + v->run->io.data_offset;
	bool out = v->run->io.direction == KVM_EXIT_IO_OUT;

	if (port >= GUEST_SERIAL_PORT && port < GUEST_SERIAL_PORT + SERIAL_REGISTERS && size == 1)
		serial_ports(v, port - GUEST_SERIAL_PORT, data, v->run->io.count, out);
	else if (port >= GUEST_TIMER_PORT && port < GUEST_TIMER_PORT + TIMER_PORTS &&
		 size == sizeof(uint32_t))
		timer_ports(v, port - GUEST_TIMER_PORT, data, v->run->io.count, out);
	else if (!out)
		memset(data, 0xff, (size_t)size * v->run->io.count);
	return VMM_GO_ON;
}

/* Where KVM emulates an instruction, memory that is not to be had looks to it like a device's. */
static enum vmm_next no_memory(struct vmm *v)
{
	uint64_t address = v->run->mmio.phys_addr;
	const char *access = v->run->mmio.is_write ? "store to" : "load from";

	if (address < v->options.bytes)
		return vmm_end(v, "%s 0x%" PRIx64 ": this page of its memory is not to be had", access,
			       address);
	return vmm_end(v, "%s 0x%" PRIx64 ", where there is neither memory nor a device", access, address);
}

/* It rests if it has asked the timer for that; nothing else would ever wake it. */
static enum vmm_next halt(struct vmm *v)
{
	if (v->timer.rest != TIMER_ARMED)
		return vmm_end(v, "the guest halted");
	v->timer.rest = TIMER_RESTING;
	return VMM_GO_ON;
}

enum vmm_next vmm_handle_exit(struct vmm *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		return ports(v);
	case KVM_EXIT_HLT:
		return halt(v);
	case KVM_EXIT_INTR:
		return VMM_GO_ON;
	case KVM_EXIT_MMIO:
		return no_memory(v);
	case KVM_EXIT_SHUTDOWN:
		return vmm_end(v, "the guest shut down (a triple fault)");
	case KVM_EXIT_FAIL_ENTRY:
		return vmm_end(v,
			       "the processor refused to enter the guest, reason 0x%" PRIx64
			       "; if it has moved, let both hosts have the same processor",
			       (uint64_t)v->run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return vmm_end(v, "KVM gave up, suberror %u%s", v->run->internal.suberror,
			       v->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
				   ? ": an instruction that it cannot emulate"
				   : "; see what dmesg says");
	default:
		return vmm_end(v, "exit %u, which nobody asked for", v->run->exit_reason);
	}
}
