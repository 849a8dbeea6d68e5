/*
 * A node for fuzz targets: what the runtime's files need around them, in a job whose other nodes cannot be
 * trusted.
 *
 * Its transport does what is asked for, and what the input says besides: it changes words of what was read,
 * and words in this node's own memory. It ends the program if it is asked for something that lies in no
 * segment: whoever asked has not checked what it read.
 */
#ifndef MINORCA_FUZZ_NODE_H
#define MINORCA_FUZZ_NODE_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_NODES 3 /* this one is node 0 */

/* What libFuzzer, or replay.c, calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** Begins with fresh memory. The peers do what @data says until it is used up, and what they should from then
 * on. */
void node_begin(const uint8_t *data, size_t size);

/** Gives all back. */
void node_end(void);

/** The next byte of the input; 0 when it is used up. */
uint8_t node_byte(void);
/** How many are left. */
size_t node_bytes_left(void);

/** Ends the program if @condition is false: a finding. */
#define REQUIRE(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *condition, const char *file, int line);

/** What a function of the runtime may return: 0 or -errno. */
#define REQUIRE_STATUS(status) REQUIRE((status) <= 0 && (status) > -4096)

#endif
