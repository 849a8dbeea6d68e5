/*
 * What the guest, its assembly source, and those who load it agree on: where things lie in its memory, its
 * ports, and its header. For the C and the assembler's preprocessor alike.
 */
#ifndef MINORCA_DSM_VMM_GUEST_LAYOUT_H
#define MINORCA_DSM_VMM_GUEST_LAYOUT_H

/* Guest-physical addresses; virtual ones are the same. What lies below GUEST_FIRST is not walked over. */
#define GUEST_HEADER 0x1000
#define GUEST_STACK_TOP 0x3000 /* of one page */
#define GUEST_TEXT 0x3000      /* what is being printed: one page */
#define GUEST_PML4 0x4000
#define GUEST_PDPT 0x5000
#define GUEST_IMAGE 0x10000 /* the program; it begins with its first instruction */
#define GUEST_IMAGE_END 0x20000
#define GUEST_PAGE_DIRECTORIES 0x20000 /* a page for each GiB */
#define GUEST_FIRST 0x100000

/* The header's fields: offsets from GUEST_HEADER, 8 bytes each. The first ones are read by the guest when it
 * boots. */
#define GUEST_WALK_ADD 0
#define GUEST_WALK_MASK 8
#define GUEST_STEPS_PER_REST 16
#define GUEST_REST_US 24
#define GUEST_BEAT_US 32
/* The guest's own: */
#define GUEST_STEPS 40
#define GUEST_BEATS 48
#define GUEST_FAILURES 56
#define GUEST_TIME_US 64
#define GUEST_NEXT_BEAT_US 72
#define GUEST_HEADER_END (GUEST_HEADER + 80)

/* The walk: position = (position * GUEST_WALK_MULTIPLIER + add) & mask comes to every page before it comes to
 * one again. */
#define GUEST_WALK_MULTIPLIER 1664525

/* The j-th visit to a page writes the page's address + (j << GUEST_VISIT_SHIFT), into slot j modulo their
 * number. */
#define GUEST_VISIT_SHIFT 36
#define GUEST_SLOT_BYTES 64
#define GUEST_PAGE_BYTES 4096

/* Ports. */
#define GUEST_SERIAL_PORT 0x3f8 /* a 16550's eight registers */
#define GUEST_TIMER_PORT \
	0x500 /* in: microseconds, the lower 32 bits, and holds the upper ones for the next */
#define GUEST_TIMER_HIGH_PORT 0x504
#define GUEST_TIMER_REST_PORT \
	0x508 /* out: the next HLT lasts until so many microseconds after the last one ended */

#endif
