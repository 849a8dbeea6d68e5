/*
 * The guest from outside: putting it into a virtual machine's memory, and checking that memory, all of it,
 * against what the guest must have made of it. What it does by itself is said in guest.S.
 */
#ifndef MINORCA_DSM_VMM_GUEST_H
#define MINORCA_DSM_VMM_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "dsm/vmm/guest_layout.h"

/* How much memory a guest may have. */
#define GUEST_BYTES_MIN ((size_t)4 << 20)
#define GUEST_BYTES_MAX ((size_t)60 << 30) /* its page tables end there */

struct guest_options {
	size_t walk_bytes; /* it walks over the memory below this; a power of two, at least GUEST_BYTES_MIN */
	size_t stride_bytes; /* ... and there over one page in so many bytes; a power of two, at most 1 MiB */
	uint64_t steps_per_rest; /* at least 1 */
	uint64_t rest_us;	 /* from the end of a rest to that of the next; 0: it never rests */
	uint64_t beat_us;	 /* between lines that it prints */
};

/** Writes the guest and all of its memory: its program, header and page tables, and in every other word that
 * word's own address. @return 0; -EINVAL: sizes. */
int guest_load(void *memory, size_t bytes, const struct guest_options *options);

/**
 * Checks every byte of a paused guest's memory, but for its header, its stack and its text page: that each
 * page is as its last visit left it, that the pages are of the same pass or of two that follow each other,
 * that there were as many visits as the guest has made steps, and that below GUEST_FIRST all else is as it
 * was loaded.
 *
 * @param r12   the guest's register, steps that are left until it rests
 * @param why   what was found; untouched if nothing was
 * @return 0; -EBADMSG; -ENOMEM.
 */
int guest_check(const void *memory, size_t bytes, uint64_t r12, char *why, size_t why_bytes);

/** Its steps so far, as of its last rest. @memory is read. */
uint64_t guest_steps(const void *memory);

#endif
