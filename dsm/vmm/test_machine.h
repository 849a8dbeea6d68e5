/*
 * For tests of the virtual machine: one with a guest and memory of its own, and what it has said. Calls that
 * cannot do what they say fail the test, or skip it where there can be no virtual machine.
 */
#ifndef MINORCA_DSM_VMM_TEST_MACHINE_H
#define MINORCA_DSM_VMM_TEST_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/memory.h"
#include "kernel/test_support.h"

#include "dsm/vmm/guest.h"
#include "dsm/vmm/vmm.h"

#define MACHINE_BYTES (8 * MIB)
#define MACHINE_LINES_MAX 256

/* What a machine has said, and the machine. */
struct test_machine {
	struct vmm *vmm;
	int file;
	char *memory;
	size_t bytes;
	pthread_mutex_t lock;
	unsigned int lines;
	char text[MACHINE_LINES_MAX][SERIAL_LINE_MAX];
};

/* Walks over all of its memory as fast as it can, and beats every 5 ms. */
extern const struct guest_options machine_busy;

/** Whether a machine that could not be made means that there can be none here: no /dev/kvm for us, or none
 * that is enough. */
bool machine_cannot_be_had(int error);
/** A machine without a state, over memory in pages of @page_bytes. */
void machine_make(struct test_machine *s, size_t page_bytes);
/** Loads the guest and lets it run. */
void machine_boot(struct test_machine *s, const struct guest_options *options);
void machine_end(struct test_machine *s);

/** @return whether it has said so many lines, or made so many steps, before a long time is over. */
bool machine_says(struct test_machine *s, unsigned int lines);
bool machine_makes(const struct test_machine *s, uint64_t steps);
/** @return the words with which it ends by itself; "" if it does not in a long time. */
const char *machine_ends(struct test_machine *s);
unsigned int machine_lines(struct test_machine *s);

/** That what it said are beats, all well, that go on from @beat and @steps, which are moved on. */
void machine_assert_beats(const struct test_machine *s, unsigned long long *beat, unsigned long long *steps);
/** Of a paused machine. */
void machine_assert_memory(struct test_machine *s);

void machine_wait_ms(unsigned int ms);

#endif
