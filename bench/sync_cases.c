/*
 * The table of cases, and what they are called. See sync_plan.h.
 */
#include "bench/sync_plan.h"

static const struct sync_case cases[SYNC_CASES] = {
    [ACQUIRE_NOTHING] = {"acquire_nothing",
			 "dsm_acquire() when nothing has changed, pages of another home mapped",
			 NEEDS_TWO_NODES},
    [ACQUIRE_CHANGED] = {"acquire_changed",
			 "dsm_acquire() when another node has published pages that are mapped here",
			 NEEDS_TWO_NODES},
    [PUBLISH_LINE] = {"publish_line", "dsm_release() with one changed line of 64 bytes in one page", 0},
    [PUBLISH_LINE_HOT] = {"publish_line_hot", "the same for a page that stays writable",
			  NEEDS_TWO_NODES | NEEDS_HOT_PAGES},
    [PUBLISH_BYTES] = {"publish_bytes", "dsm_release() with so many changed bytes in one page",
		       NEEDS_TWO_NODES},
    [PUBLISH_PAGE] = {"publish_page", "dsm_release() with one page changed in every byte", NEEDS_TWO_NODES},
    [PUBLISH_PAGES] = {"publish_pages", "dsm_release() with one changed line in each of several pages",
		       NEEDS_TWO_NODES},
    [STORE_FIRST] = {"store_first",
		     "the first store of an interval to a page whose twin was kept; baseline: that was not",
		     NEEDS_TWO_NODES},
    [STORE_HOT] = {"store_hot", "the first store of an interval to a page that stays writable",
		   NEEDS_TWO_NODES | NEEDS_HOT_PAGES},
    [DIFF] = {"diff", "comparison of a page with its twin", 0},
    [LOCK_UNCONTENDED] = {"lock_uncontended", "dsm_lock() and dsm_unlock(), nobody else, nothing to publish",
			  0},
    [LOCK_PUBLISH] = {"lock_publish", "the same with one line changed under the lock", NEEDS_TWO_NODES},
    [TRYLOCK] = {"trylock", "dsm_trylock() and dsm_unlock(), nobody else, nothing to publish", 0},
    [LOCK_HANDOVER] = {"lock_handover", "from dsm_unlock() to the return of another's dsm_lock()",
		       NEEDS_TWO_NODES | NEEDS_ONE_HOST},
    [RWLOCK_READ] = {"rwlock_read", "dsm_read_lock() and dsm_read_unlock(), nobody else", 0},
    [RWLOCK_READ_ALL] = {"rwlock_read_all", "the same by all nodes at once", NEEDS_TWO_NODES},
    [RWLOCK_WRITE] = {"rwlock_write", "dsm_write_lock() and dsm_write_unlock(), nobody else", 0},
    [FALSE_SHARING] = {"false_sharing",
		       "each node stores to a word of its own, in one page or in one each, and all pass a "
		       "barrier",
		       NEEDS_TWO_NODES},
    [FALSE_SHARING_LOCK] = {"false_sharing_lock", "the same under a lock that all nodes want, and no barrier",
			    NEEDS_TWO_NODES},
    [STORM_ONE] = {"storm_one",
		   "one node stores to pages that all have mapped; a barrier, and all have read them again",
		   NEEDS_TWO_NODES},
    [STORM_ALL] = {"storm_all", "the same by every node, to a part of the pages of its own", NEEDS_TWO_NODES},
    [BARRIER] = {"barrier", "dsm_barrier() on all nodes, nothing to publish", NEEDS_TWO_NODES},
    [BARRIER_PUBLISH] = {"barrier_publish", "the same with one changed line on each node", NEEDS_TWO_NODES},
    [ATOMIC_ADD] = {"atomic_add", "dsm_atomic_fetch_add(), relaxed", 0},
    [ATOMIC_LOAD] = {"atomic_load", "dsm_atomic_load(), relaxed", 0},
    [ATOMIC_COMPARE_SWAP] = {"atomic_compare_swap", "dsm_atomic_compare_swap(), relaxed", 0},
    [ATOMIC_ADD_CONTENDED] = {"atomic_add_contended", "dsm_atomic_fetch_add() to one word by all nodes",
			      NEEDS_TWO_NODES},
    [EVENT_PINGPONG] = {"event_pingpong", "dsm_event_advance() to another node's dsm_event_await(), one way",
			NEEDS_TWO_NODES},
    [REDUCE] = {"reduce", "dsm_reduce() of 8 bytes", NEEDS_TWO_NODES},
    [BROADCAST] = {"broadcast", "dsm_broadcast() of 4 KiB", NEEDS_TWO_NODES},
    [MALLOC_FREE] = {"malloc_free", "dsm_malloc() and dsm_free() of 64 bytes", 0},
};

const struct sync_case *sync_case(unsigned int id)
{
	return &cases[id];
}

const char *const *sync_case_names(void)
{
	static const char *names[SYNC_CASES + 1];

	_Static_assert(SYNC_CASES <= 32, "list_parse_words() gives a mask of 32 bits");
	for (unsigned int i = 0; i < SYNC_CASES; i++)
		names[i] = cases[i].name;
	return names;
}

const char *sync_home_name(enum sync_home home)
{
	return home == HOME_HERE ? "here" : home == HOME_THERE ? "there" : NULL;
}

const char *sync_variant_name(enum sync_variant variant)
{
	static const char *const names[] = {
	    [VARIANT_NONE] = NULL,
	    [NEIGHBOURS] = "neighbours",
	    [SCATTERED] = "scattered",
	    [EQUAL] = "equal",
	    [ONE_LINE] = "one_line",
	    [BETWEEN_NODES] = "between_nodes",
	    [WITHIN_NODE] = "within_node",
	    [ONE_PAGE] = "one_page",
	    [PAGE_EACH] = "page_each",
	    [PAGE_AT_HOME] = "page_at_home",
	    [FAULTS] = "faults",
	    [READAHEAD] = "readahead",
	    [LOG_OVERFLOW] = "log_overflow",
	};

	return names[variant];
}
