/*
 * The virtual machine and its guest, as a workload.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/vmm/guest.h"
#include "dsm/vmm/vmm.h"
#include "dsm/vmm/workload.h"

struct workload {
	struct workload_options options;
	struct vmm *vmm;
};

_Static_assert(sizeof(struct vmm_state) <= WORKLOAD_STATE_MAX, "callers have room for it");

static int create(const struct workload_options *options, struct workload **out, char *why, size_t why_bytes)
{
	struct vmm_options machine = {.memory = options->memory,
				      .bytes = options->bytes,
				      .on_line = options->on_line,
				      .argument = options->argument};
	struct workload *w = calloc(1, sizeof *w);

	if (!w) {
		snprintf(why, why_bytes, "a virtual machine: %s; free some memory", strerror(ENOMEM));
		return -ENOMEM;
	}
	w->options = *options;
	int error = vmm_create(&machine, &w->vmm, why, why_bytes);

	if (error) {
		free(w);
		return error;
	}
	*out = w;
	return 0;
}

static void destroy(struct workload *w)
{
	if (!w)
		return;
	vmm_destroy(w->vmm);
	free(w);
}

static int boot(struct workload *w)
{
	const struct workload_options *o = &w->options;
	struct guest_options guest = {
	    .walk_bytes = workload_walk_bytes(o),
	    .stride_bytes = o->stride_bytes ? o->stride_bytes : GUEST_PAGE_BYTES,
	    .steps_per_rest = workload_steps_per_rest(o->writes_per_s),
	    .rest_us = workload_rest_us(o->writes_per_s),
	    .beat_us = workload_beat_us(o),
	};
	struct vmm_entry entry = {.instruction = GUEST_IMAGE, .page_tables = GUEST_PML4};
	int error = guest_load(o->memory, o->bytes, &guest);

	return error ? error : vmm_boot(w->vmm, &entry);
}

static int run(struct workload *w)
{
	return vmm_run(w->vmm);
}

static int pause_machine(struct workload *w)
{
	return vmm_pause(w->vmm);
}

static ssize_t save(struct workload *w, void *out, size_t capacity)
{
	struct vmm_state state;

	if (capacity < sizeof state)
		return -EMSGSIZE;
	int error = vmm_save(w->vmm, &state);

	if (error)
		return error;
	memcpy(out, &state, sizeof state);
	return sizeof state;
}

static int restore(struct workload *w, const void *in, size_t bytes)
{
	struct vmm_state state;

	if (bytes != sizeof state)
		return -EPROTO;
	memcpy(&state, in, sizeof state);
	return vmm_restore(w->vmm, &state);
}

static int check(struct workload *w, char *why, size_t why_bytes)
{
	struct vmm_state state;
	int error = vmm_save(w->vmm, &state);

	if (error) {
		snprintf(why, why_bytes, "the state of its processor: %s", strerror(-error));
		return error;
	}
	return guest_check(w->options.memory, w->options.bytes, state.regs.r12, why, why_bytes);
}

static enum runner_condition condition(struct workload *w, char *why, size_t why_bytes)
{
	return vmm_condition(w->vmm, why, why_bytes);
}

const struct workload_kind workload_vm = {
    .name = "vm",
    .what = "a virtual machine on /dev/kvm",
    .create = create,
    .boot = boot,
    .run = run,
    .pause = pause_machine,
    .save = save,
    .restore = restore,
    .check = check,
    .condition = condition,
    .destroy = destroy,
};
