/*
 * Lanes: a thread keeps its own, more threads than lanes take turns, and no count gets lost. Run under the
 * thread sanitizer too.
 */
#include "dsm/test_support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "dsm/lane.h"
#include "dsm/stats.h"

#define THREADS 6
#define ROUNDS 20000

static int set_up(void **state)
{
	(void)state;
	return lanes_create(4);
}

static int tear_down(void **state)
{
	(void)state;
	lanes_destroy();
	return 0;
}

static void *count_in_own_lane(void *argument)
{
	(void)argument;
	for (int i = 0; i < ROUNDS; i++) {
		struct lane *lane = lane_acquire();
		/* Plain stores into the scratch buffer: two holders at once would be a data race. */
		memset(lane->scratch, i & 255, 16);
		stats_add(&lane->stats.faults, 1);
		lane_release(lane);
	}
	return NULL;
}

static void counts_of_all_threads_add_up(void **state)
{
	pthread_t threads[THREADS];
	struct dsm_stats sum;

	(void)state;
	assert_int_equal(dsm_stats_reset(), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_in_own_lane, NULL), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(dsm_stats(&sum), 0); /* while they count */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(dsm_stats(&sum), 0);
	assert_int_equal(sum.faults, THREADS * ROUNDS);
	assert_int_equal(sum.faults_read, 0);
}

static void a_thread_keeps_its_lane(void **state)
{
	struct lane *first = lane_acquire();

	(void)state;
	lane_release(first);
	for (int i = 0; i < 10; i++) {
		struct lane *again = lane_acquire();
		assert_ptr_equal(again, first);
		lane_release(again);
	}
}

static void scratch_buffers_do_not_overlap(void **state)
{
	(void)state;
	for (unsigned i = 0; i < lanes_count(); i++) {
		assert_int_equal(lane_at(i)->index, i);
		assert_ptr_equal(lane_at(i)->scratch,
				 (unsigned char *)lanes_scratch() + i * LANE_SCRATCH_BYTES);
		assert_int_equal((uintptr_t)lane_at(i)->scratch % 64, 0);
	}
}

static void without_lanes_there_are_no_statistics(void **state)
{
	struct dsm_stats stats;

	(void)state;
	lanes_destroy();
	assert_int_equal(dsm_stats(&stats), -EINVAL);
	assert_int_equal(dsm_stats_reset(), -EINVAL);
	assert_int_equal(lanes_create(4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_of_all_threads_add_up),
	    cmocka_unit_test(a_thread_keeps_its_lane),
	    cmocka_unit_test(scratch_buffers_do_not_overlap),
	    cmocka_unit_test(without_lanes_there_are_no_statistics),
	};

	return cmocka_run_group_tests_name("lane", tests, set_up, tear_down);
}
