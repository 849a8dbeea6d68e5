/*
 * A hash table under churn, in memory that is given: open addressing, entries of 64 bytes. Each step takes
 * the next key of a pseudo-random walk over all keys, looks it up, and inserts it, overwrites its value or
 * deletes it. What a key must be bound to follows from the key and from how often the walk has come by, so
 * that an entry that is older or younger than it must be is found when it is met; and a checksum over all
 * entries is kept beside the table.
 *
 * No state but what is declared here; all of it but the memory is plain data.
 */
#ifndef MINORCA_DSM_VMM_CHURN_H
#define MINORCA_DSM_VMM_CHURN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a table is. Immutable. */
struct churn {
	char *memory;
	size_t bytes;
	size_t walk_bytes,
	    stride_bytes; /* the table is in the first page of 4 KiB of each stride below walk_bytes */
};

/* How far it is. */
struct churn_progress {
	uint64_t steps;
	uint64_t position, pass; /* of the walk */
	uint64_t entries;	 /* in the table */
	uint64_t checksum;	 /* sum over what they are */
	uint64_t failures;	 /* of the checks that steps make */
};

/** Whether its sizes make sense. */
bool churn_is_possible(const struct churn *c);

/** Writes all of the memory: the table as it is before the first step, and elsewhere in each word its offset.
 * @return 0; -EINVAL: sizes */
int churn_begin(const struct churn *c, struct churn_progress *p);

/** Makes a step. @return false: the key was not bound to what it must be, which @why says; the table goes on
 * with what is right. */
bool churn_step(const struct churn *c, struct churn_progress *p, char *why, size_t why_bytes);

/** Checks every byte. @return 0; -EBADMSG: @why says what is wrong */
int churn_check(const struct churn *c, const struct churn_progress *p, char *why, size_t why_bytes);

#endif
