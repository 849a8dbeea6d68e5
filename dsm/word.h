/*
 * Words in regions that are used through the transport alone: of locks, events and atomics.
 *
 * They live in the home's copy of their page. Other nodes' copies of the page hold whatever was there when it
 * was fetched, which nobody looks at, and nobody publishes: a twin holds the same.
 */
#ifndef MINORCA_DSM_WORD_H
#define MINORCA_DSM_WORD_H

#include <stddef.h>
#include <stdint.h>

struct word {
	int home;
	unsigned segment;
	uint64_t offset;
};

/**
 * Where the word at @address is. If this node has plain stores to its page that are not published, publishes
 * them: among them may be the one that initialised the word, and later it would undo what is done here.
 *
 * @param bytes  size of the object that begins there, which must lie in one region
 * @param what   the call of the public interface, for messages
 * @return 0; -EINVAL: not started or not 8-byte aligned; -EFAULT: not in a region; or as
 * consistency_release().
 */
int word_find(const void *address, size_t bytes, const char *what, struct word *out);

/** For messages: "PART of region NAME", or what else it is in. */
void word_describe(const struct word *word, char *text, size_t bytes);

/* Word number @index from @word on. Done when they return, and seen by all nodes: 0, -EHOSTDOWN, -ETIMEDOUT.
 * Take no lock; any thread that holds no lane. */
int word_read(const struct word *word, unsigned index, uint64_t *value);
int word_fetch_add(const struct word *word, unsigned index, uint64_t add, uint64_t *old);
int word_compare_swap(const struct word *word, unsigned index, uint64_t expected, uint64_t desired,
		      uint64_t *old);

#endif
