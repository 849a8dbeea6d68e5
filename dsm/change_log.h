/*
 * The change log: what was published at each home, in order, so that an acquire costs what changed and not
 * what there is.
 *
 * Each home has one ring for each node that publishes there. A ring has one writer: its publisher, whose
 * passes are serial (consistency.c). So appending needs no atomic and nobody waits for anybody: the entries
 * and the new head are writes at the end of the chain that publishes, and no slot is ever reserved and not
 * filled by somebody slow. A reader remembers how far it has read in each ring.
 *
 * An entry is one word that proves itself: it holds the lap number of its slot. A reader that finds another
 * lap than it expects (overwritten since it read the head, or a head that ran ahead of its entries, which the
 * order of a chain rules out) knows that it has lost track, as it does when the head is more than a lap
 * ahead, and compares versions instead.
 *
 * In the manner of the write notices of TreadMarks (Keleher, Cox and Zwaenepoel, "Lazy release consistency
 * for software distributed shared memory", 1992), but kept where they are published, for nobody sends
 * messages here.
 */
#ifndef MINORCA_DSM_CHANGE_LOG_H
#define MINORCA_DSM_CHANGE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lane;

/* --- entries: arithmetic only --------------------------------------------------------------------------- */

/* Pages [first, first + count) of a region. */
struct change {
	unsigned region; /* its number, < 64 */
	uint64_t first;	 /* < 2^38 */
	unsigned count;	 /* 1 .. 256 */
};

#define CHANGE_PAGES_MAX 256u

/* Laps that are told apart. Those within one reader's look at a ring are enough: it reads the head again
 * after the entries. */
#define CHANGE_LAPS 4096u

/* Bits from the top: 12 lap, 6 region, 8 count - 1, 38 first page. Lap 0 is written as 1: fresh memory is no
 * entry. */
static inline uint64_t change_encode(const struct change *change, uint64_t lap)
{
	return (lap + 1) % CHANGE_LAPS << 52 | (uint64_t)change->region << 46 |
	       (uint64_t)(change->count - 1) << 38 | change->first;
}

/** @return false: not an entry of that lap. */
static inline bool change_decode(uint64_t word, uint64_t lap, struct change *change)
{
	if (word >> 52 != (lap + 1) % CHANGE_LAPS)
		return false;
	change->region = (unsigned)(word >> 46 & 63);
	change->count = (unsigned)(word >> 38 & 255) + 1;
	change->first = word & (((uint64_t)1 << 38) - 1);
	return true;
}

/** True if the pages lie in a region of @pages. */
static inline bool change_lies_in(const struct change *change, uint64_t pages)
{
	return change->first < pages && change->count <= pages - change->first;
}

/* --- this node's part ------------------------------------------------------------------------------------
 */

/** Makes the rings of which this node is home, of @entries each. @return 0 or -errno. */
int change_log_create(unsigned nodes, uint64_t entries);
void change_log_destroy(void);
/** Makes them known to all nodes. Collective. */
int change_log_connect(void);

/* --- publishing: one thread of the node at a time --------------------------------------------------------
 */

/**
 * Posts @count entries and the new head to this node's ring at @home, as the end of a chain that publishes
 * what they tell of. @words: count + 1 words that the transport can read, unused until the chain is complete.
 * If the chain fails, the entries are a hole: a reader finds another lap there, and compares versions.
 *
 * @return 0 or what post_write() says.
 */
int change_log_post(struct lane *lane, int home, const struct change *changes, unsigned count,
		    uint64_t *words);

/* --- acquiring -------------------------------------------------------------------------------------------
 */

/**
 * Has anything been logged at other homes that this node has not applied? Any thread.
 * @return 1, 0, or -errno.
 */
int change_log_is_news(struct lane *lane);

/**
 * Calls @apply for each change that other nodes logged at @home since the last time, and then counts them as
 * applied. One thread of the node at a time.
 *
 * @param lost  set to true if some are lost, else to false. If so the caller must look at all pages of that
 * home, and then call change_log_caught_up().
 * @return 0; -EPROTO: a head went back: reported; what the transport or @apply answered: what was not applied
 * comes again the next time.
 */
int change_log_apply(struct lane *lane, int home, int (*apply)(void *argument, const struct change *change),
		     void *argument, bool *lost);

/** All that was logged at @home before the last change_log_apply() is applied: right after that, for the same
 * home. */
void change_log_caught_up(int home);

#endif
