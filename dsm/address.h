/*
 * Where a region can be: an address that is free on every node.
 */
#ifndef MINORCA_DSM_ADDRESS_H
#define MINORCA_DSM_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct address_range {
	uint64_t start, end;
};

/* What a node tells the others: its largest free ranges, ascending. */
#define ADDRESS_RANGES_MAX 32

struct address_space {
	uint32_t count, unused;
	struct address_range free[ADDRESS_RANGES_MAX];
};

/** Reads the free ranges from @maps, in the format of /proc/self/maps: those that hold @bytes at @alignment.
 */
void address_read_free(FILE *maps, size_t bytes, size_t alignment, struct address_space *out);

/** True if a node can have told us so: no more ranges than fit, ascending, within user space. */
bool address_space_is_possible(const struct address_space *space);

/**
 * Chooses an address for @bytes that lies in a free range of each of @count possible spaces: far from both
 * ends of the largest common range, since what is next to it (heap, libraries, stacks) grows. The same input
 * gives the same answer everywhere.
 *
 * @return the address, or 0 if there is none.
 */
uint64_t address_choose(const struct address_space *spaces, int count, size_t bytes, size_t alignment);

/** The line of @maps that overlaps the range, without its newline. @return false if there is none. */
bool address_find_user(FILE *maps, uint64_t start, size_t bytes, char *line, size_t line_bytes);

#endif
