/*
 * What can be moved while it works: a virtual machine, or a process's own hash table where there is no
 * /dev/kvm. Both work on memory that they are given, keep changing it, check it at every step, and say so in
 * lines that heartbeat.h reads; so tools and benchmarks treat both alike.
 *
 * Calls that return an int return 0 or -errno. All are made by one thread.
 */
#ifndef MINORCA_DSM_VMM_WORKLOAD_H
#define MINORCA_DSM_VMM_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dsm/vmm/guest.h"
#include "dsm/vmm/runner.h"

struct workload_options {
	void *memory; /* page-aligned; stays the caller's */
	size_t bytes; /* WORKLOAD_BYTES_MIN to WORKLOAD_BYTES_MAX */

	/* For boot(). What is restored goes on with those that it was booted with. */
	size_t walk_bytes;   /* it works on the memory below this, a power of two; 0: as much as there is */
	size_t stride_bytes; /* ... on one page of 4 KiB in so many bytes, a power of two up to 1 MiB; 0: on
				all */
	uint64_t
	    writes_per_s; /* steps, each of which stores to another page of 4 KiB; 0: as fast as it goes */
	uint64_t beat_us; /* between two beats; 0: 0.1 s */

	/* Called for each line that it says, by the thread that works. */
	void (*on_line)(void *argument, const char *line);
	void *argument;
};

/* What a guest can have. A table does with less, where walk_bytes says how much. */
#define WORKLOAD_BYTES_MIN GUEST_BYTES_MIN
#define WORKLOAD_BYTES_MAX GUEST_BYTES_MAX

/* One that was created; the kind's own. */
struct workload;

struct workload_kind {
	const char *name; /* "vm", "process" */
	const char *what; /* for people */

	/** Makes one, paused, without touching memory. boot() or restore() comes next.
	 * @param why  set to a sentence when it cannot be had here */
	int (*create)(const struct workload_options *options, struct workload **out, char *why,
		      size_t why_bytes);
	/** Writes all of its memory, and gives it the state it begins with. @return 0; -EINVAL: options;
	 * -EBUSY: it runs, or has ended; or another error */
	int (*boot)(struct workload *w);
	/** @return 0; -EBUSY: it was neither booted nor restored, runs already, or has ended */
	int (*run)(struct workload *w);
	/** @return 0; -ESRCH: it has ended by itself; -ETIMEDOUT: it waits for memory */
	int (*pause)(struct workload *w);
	/** All of it but its memory, which goes into @state, WORKLOAD_STATE_MAX bytes at most. @return its
	 * bytes; -EBUSY: it is not paused, or was neither booted nor restored; -EMSGSIZE: more than @capacity
	 */
	ssize_t (*save)(struct workload *w, void *state, size_t capacity);
	/** @return 0; -EPROTO: not such a state; -EBUSY: as boot(); or another error of KVM's */
	int (*restore)(struct workload *w, const void *state, size_t bytes);
	/** Checks every byte of a paused one's memory, but what a guest writes for itself alone:
	 * guest_check().
	 * @param why  what is wrong @return 0; -EBADMSG; -EBUSY: as save(); or another error that kept it
	 * from looking */
	int (*check)(struct workload *w, char *why, size_t why_bytes);
	enum runner_condition (*condition)(struct workload *w, char *why, size_t why_bytes);
	void (*destroy)(struct workload *w);
};

#define WORKLOAD_STATE_MAX ((size_t)16384)

extern const struct workload_kind workload_vm, workload_process;

/** How many steps are made between two rests, so that rests are some milliseconds apart. */
uint64_t workload_steps_per_rest(uint64_t writes_per_s);

/** How long these steps are to take; 0: no rest. */
uint64_t workload_rest_us(uint64_t writes_per_s);

/** Between two beats. */
uint64_t workload_beat_us(const struct workload_options *options);

/** The walked part of memory: @walk_bytes, or the largest power of two in @bytes. */
size_t workload_walk_bytes(const struct workload_options *options);

#endif
