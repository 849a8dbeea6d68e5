/*
 * dsm_release() and dsm_acquire(), and what locks, barriers and atomics do to plain memory.
 *
 * A pass (publishing, or un-mapping what was logged) is made by one thread of the node at a time, under
 * `passes`. A thread that finds another at it waits: what that one took from the dirty set may be this
 * thread's, and is published only when the pass is over. The fault path never takes this mutex.
 *
 * Most releases have nothing to publish and most acquires nothing to apply; they find that out without the
 * mutex and without a system call.
 */
#include "dsm/consistency.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include <minorca.h>

#include "dsm/acquire.h"
#include "dsm/change_log.h"
#include "dsm/lane.h"
#include "dsm/peers.h"
#include "dsm/publish.h"
#include "dsm/region.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/stats.h"

static pthread_mutex_t passes = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint publishing; /* passes that publish, begun and ended: odd while one is under way */

/* Makes a pass with a lane, all signals blocked, alone on this node. */
static int make_pass(int (*pass)(struct lane *, void *), void *argument)
{
	sigset_t saved;

	runtime_block_signals(&saved);
	pthread_mutex_lock(&passes); /* its holder waits for nobody without a bound */
	struct lane *lane = lane_acquire();
	int error = pass(lane, argument);
	lane_release(lane);
	pthread_mutex_unlock(&passes);
	runtime_unblock_signals(&saved);
	return error;
}

/* --- release ---------------------------------------------------------------------------------------------
 */

/* Pages whose home is lost stay dirty, and all others are published: it ends with -EHOSTDOWN then. */
static int publish_pass(struct lane *lane, void *unused)
{
	int error = 0, lost = 0;

	(void)unused;
	atomic_fetch_add(&publishing, 1); /* before the exchange: see is_published() */
	uint64_t left = atomic_exchange(&runtime.dirty_regions, 0);
	for (uint64_t bits = left; bits && !error; bits &= bits - 1) {
		unsigned id = (unsigned)__builtin_ctzll(bits);
		struct dsm_region *r = atomic_load_explicit(&runtime.regions[id], memory_order_acquire);
		error = r ? publish_region(lane, r) : 0;
		if (error || (r && r->home_writes.scanned)) /* the next pass looks, or scans, again */
			atomic_fetch_or(&runtime.dirty_regions, (uint64_t)1 << id);
		if (error == -EHOSTDOWN) {
			lost = error;
			error = 0;
		}
		if (error)
			atomic_fetch_or(&runtime.dirty_regions, bits); /* those not looked at */
	}
	atomic_fetch_add(&publishing, 1); /* after what is to be looked at again is in the set again */
	return error ? error : lost;
}

/*
 * True if nothing that this thread stored waits to be published: if at one moment no pass was under way and
 * no region had a dirty page. For a page that was stored to is in the set from before it was writable until
 * the pass that publishes it; what a pass has taken out is published, or back in the set, when the pass ends.
 *
 * A pass under way may have compared a hot page before this thread stored to it, so it is not enough to find
 * the set empty first and no pass under way then. And such a store, which did not fault, must be out of this
 * core's store buffer before we look, or a pass that begins after we looked at the count might not see it:
 * hence the fence. (Whoever stores to a hot page sees that there are some: that is told before the system
 * call that makes the page writable.)
 */
static bool is_published(void)
{
	if (atomic_load_explicit(&runtime.hot_pages, memory_order_relaxed))
		atomic_thread_fence(memory_order_seq_cst);
	unsigned before = atomic_load(&publishing);
	return before % 2 == 0 && !atomic_load(&runtime.dirty_regions) && atomic_load(&publishing) == before;
}

int consistency_release(const char *what)
{
	if (is_published())
		return 0;
	int error = make_pass(publish_pass, NULL);
	if (error && error != -EHOSTDOWN)
		report("%s: cannot publish what this node stored: %s", what, strerror(-error));
	return peers_tell(error, what, "what this node stored to pages of its cannot be published");
}

/* --- acquire ---------------------------------------------------------------------------------------------
 */

static int acquire_pass(struct lane *lane, void *unused)
{
	(void)unused;
	return acquire_all(lane);
}

int consistency_acquire(const char *what)
{
	struct lane *lane = lane_acquire_sync();
	int news = change_log_is_news(lane);

	stats_add(&lane->stats.acquires, 1);
	lane_release(lane);
	if (!news)
		return 0;
	/* Also if a node is lost: what is known of the pages of the others is applied. */
	int error = news < 0 && news != -EHOSTDOWN ? news : make_pass(acquire_pass, NULL);
	if (error && error != -EHOSTDOWN)
		report("%s: cannot take out of sight what other nodes changed: %s", what, strerror(-error));
	return peers_tell(error, what, "nobody can say which pages of its are out of date here");
}

/* --- both, for users -------------------------------------------------------------------------------------
 */

int dsm_release(void)
{
	int saved_errno = errno;
	int error = runtime.started ? consistency_release("dsm_release()") : -EINVAL;

	errno = saved_errno;
	return error;
}

int dsm_acquire(void)
{
	int saved_errno = errno;
	int error = runtime.started ? consistency_acquire("dsm_acquire()") : -EINVAL;

	errno = saved_errno;
	return error;
}

/* --- un-mapping by hand ----------------------------------------------------------------------------------
 */

struct range {
	const void *address;
	size_t bytes;
};

static int unmap_pass(struct lane *lane, void *argument)
{
	const struct range *range = argument;
	struct dsm_region *r;
	size_t first, count;
	int error = region_find_range(range->address, range->bytes, &r, &first, &count);

	return error ? error : acquire_unmap(lane, r, first, count);
}

static int renew_pass(struct lane *lane, void *argument)
{
	const struct range *range = argument;
	struct dsm_region *r;
	size_t first, count;
	int error = region_find_range(range->address, range->bytes, &r, &first, &count);

	if (!error)
		error = publish_renewed(lane, r, (size_t)((const unsigned char *)range->address - r->app),
					range->bytes);
	/* Not before: a thread of this node that touched a page in between would find its old copy current.
	 */
	if (!error)
		error = acquire_unmap(lane, r, first, count);
	return error;
}

int consistency_renew(const void *address, size_t bytes)
{
	struct range range = {address, bytes};

	return make_pass(renew_pass, &range);
}

int dsm_invalidate(const void *address, size_t bytes)
{
	struct range range = {address, bytes};
	int saved_errno = errno, error = -EFAULT;

	if (runtime.started)
		error = make_pass(unmap_pass, &range);
	peers_tell(error, "dsm_invalidate()", "what this node stored to pages of its cannot be published");
	errno = saved_errno;
	return error;
}
