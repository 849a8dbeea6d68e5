/*
 * Walks are found, windows grow and follow, and who touches pages at random gets nothing.
 */
#include "dsm/test_support.h"

#include <stdlib.h>
#include <string.h>

#include "dsm/readahead.h"

#define REGION 3
#define MOST 256u

/* A reader of pages: what faults, and what it was given beyond that. */
struct reader {
	struct readahead readahead;
	unsigned char *here; /* by page */
	size_t pages;
	size_t faults, ahead;
};

static void reader_open(struct reader *r, size_t pages)
{
	memset(r, 0, sizeof *r);
	r->pages = pages;
	r->here = calloc(pages, 1);
	assert_non_null(r->here);
}

static void reader_close(struct reader *r)
{
	free(r->here);
}

/* As fault.c does: what is here, or not there at all, ends a window. */
static uint32_t bring_in(struct reader *r, size_t page, const struct readahead_stream *stream)
{
	uint32_t count = 1;

	for (; count < stream->window; count++) {
		int64_t next = (int64_t)page + stream->step * count;

		if (next < 0 || (size_t)next >= r->pages || r->here[next])
			break;
		r->here[next] = 1;
		r->ahead++;
	}
	return count;
}

static void touch(struct reader *r, size_t page)
{
	uint64_t place = readahead_place(REGION, page);

	assert_true(page < r->pages);
	if (r->here[page])
		return;
	r->faults++;
	r->here[page] = 1;

	struct readahead_stream *stream = readahead_fault(&r->readahead, place, MOST);

	if (stream)
		readahead_taken(stream, place, bring_in(r, page, stream));
}

static size_t logarithm(size_t n)
{
	size_t result = 0;

	while (n >>= 1)
		result++;
	return result;
}

/* Windows of 2, 4, ... MOST, and MOST from then on, after a few single pages. */
static size_t faults_of_walk(size_t pages)
{
	return 3 + logarithm(MOST) + pages / MOST;
}

static void who_walks_forward_faults_once_for_each_window(void **state)
{
	struct reader r;

	(void)state;
	reader_open(&r, 100000);
	for (size_t page = 0; page < r.pages; page++)
		touch(&r, page);
	assert_true(r.faults <= faults_of_walk(r.pages));
	assert_int_equal(r.faults + r.ahead, r.pages);
	reader_close(&r);
}

static void so_does_who_walks_backward(void **state)
{
	struct reader r;

	(void)state;
	reader_open(&r, 100000);
	for (size_t page = r.pages; page-- > 0;)
		touch(&r, page);
	assert_true(r.faults <= faults_of_walk(r.pages));
	reader_close(&r);
}

static void steps_are_followed_and_nothing_between_them(void **state)
{
	static const long steps[] = {2, 3, 17, 256, READAHEAD_REACH, -2, -31};

	(void)state;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		struct reader r;
		size_t step = (size_t)labs(steps[i]), walked = 2000;

		reader_open(&r, walked * step + 1);
		for (size_t k = 0; k < walked; k++)
			touch(&r, steps[i] > 0 ? k * step : r.pages - 1 - k * step);
		assert_true(r.faults <= 1 + faults_of_walk(walked));
		for (size_t page = 0; page < r.pages; page++)
			if (r.here[page])
				assert_int_equal((steps[i] > 0 ? page : r.pages - 1 - page) % step, 0);
		reader_close(&r);
	}
}

static void many_walks_at_once_do_not_disturb_each_other(void **state)
{
	enum { WALKS = 5, LENGTH = 5000 };
	struct reader r;

	(void)state;
	reader_open(&r, (size_t)WALKS * LENGTH);
	for (size_t k = 0; k < LENGTH; k++)
		for (size_t walk = 0; walk < WALKS; walk++)
			touch(&r, walk * LENGTH + k);
	assert_true(r.faults <= WALKS * (1 + faults_of_walk(LENGTH)));
	reader_close(&r);
}

/* Two rows of a matrix, near each other, by turns. */
static void neighbouring_walks_are_told_apart(void **state)
{
	enum { ROW = 64 };
	struct reader r;

	(void)state;
	reader_open(&r, 2 * ROW);
	for (size_t k = 0; k < ROW; k++) {
		touch(&r, k);
		touch(&r, ROW + k);
	}
	assert_true(r.faults <= 2 * (3 + logarithm(ROW)));
	reader_close(&r);
}

static void who_touches_pages_at_random_gets_next_to_nothing(void **state)
{
	static const size_t sizes[] = {64, 1000, 30000, 1000000};

	(void)state;
	srandom(1);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct reader r;

		reader_open(&r, sizes[i]);
		for (size_t k = 0; k < 20000; k++) {
			touch(&r, (size_t)random() % r.pages);
			memset(r.here, 0, r.pages < 30000 ? r.pages : 0); /* taken away by others */
		}
		assert_true(r.ahead * 50 <= r.faults); /* 2 % */
		reader_close(&r);
	}
}

/* Runs of a few pages here and there: whoever is given pages in vain is given fewer. */
static void short_runs_cost_little(void **state)
{
	struct reader r;
	size_t touched = 0, wasted = 0;

	(void)state;
	srandom(2);
	reader_open(&r, 1000000);
	for (size_t k = 0; k < 5000; k++) {
		size_t first = (size_t)random() % (r.pages - 8);

		for (size_t i = 0; i < 3; i++, touched++)
			touch(&r, first + i);
	}
	for (size_t page = 0; page < r.pages; page++)
		wasted += r.here[page];
	wasted -= touched < wasted ? touched : wasted;
	assert_true(wasted * 20 < touched); /* 5 %: a run of three is given one page too many, at first */
	reader_close(&r);
}

static void a_walk_is_followed_past_pages_that_are_here(void **state)
{
	struct reader r;

	(void)state;
	reader_open(&r, 10000);
	for (size_t page = 50; page < r.pages; page += 97)
		r.here[page] = 1;
	for (size_t page = 0; page < r.pages; page++)
		touch(&r, page);
	/* Windows of 8, 16, 32 and what is left, from one to the next. */
	assert_true(r.faults <= 5 * (r.pages / 97) + faults_of_walk(r.pages));
	reader_close(&r);
}

static void who_has_walked_and_touches_pages_at_random_gets_little(void **state)
{
	struct reader r;

	(void)state;
	srandom(3);
	reader_open(&r, 2000);
	for (size_t walk = 0; walk < READAHEAD_STREAMS; walk++) { /* that end here and there */
		memset(r.here, 0, r.pages);
		for (size_t page = walk; page < 1000 + 100 * walk; page++)
			touch(&r, page);
	}
	r.ahead = r.faults = 0;
	for (size_t k = 0; k < 2000; k++) {
		memset(r.here, 0, r.pages);
		touch(&r, (size_t)random() % r.pages);
	}
	assert_true(r.ahead * 20 <= r.faults); /* 5 % */
	reader_close(&r);
}

/* A region's number is given again, to one with larger pages perhaps. */
static void no_window_is_larger_than_what_is_asked_for(void **state)
{
	struct readahead r = {0};
	struct readahead_stream *stream = NULL;
	uint64_t place = readahead_place(REGION, 0);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		stream = readahead_fault(&r, place, MOST);
		if (stream)
			readahead_taken(stream, place, stream->window);
		place = stream ? stream->next : place + 1;
	}
	assert_non_null(stream);
	assert_int_equal(stream->window, MOST);
	stream = readahead_fault(&r, place + 5, 4); /* where it may have come out */
	assert_non_null(stream);
	assert_true(stream->window <= 4);
	readahead_taken(stream, place + 5, stream->window);
	stream = readahead_fault(&r, stream->next, 4);
	assert_non_null(stream);
	assert_int_equal(stream->window, 4);
}

static void regions_are_told_apart(void **state)
{
	struct readahead r = {0};

	(void)state;
	for (size_t page = 0; page < 3; page++)
		for (unsigned region = 0; region < 3; region++) {
			struct readahead_stream *stream =
			    readahead_fault(&r, readahead_place(region, page), MOST);

			assert_true(page < 2 ? stream == NULL : stream != NULL && stream->step == 1);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_walks_forward_faults_once_for_each_window),
	    cmocka_unit_test(so_does_who_walks_backward),
	    cmocka_unit_test(steps_are_followed_and_nothing_between_them),
	    cmocka_unit_test(many_walks_at_once_do_not_disturb_each_other),
	    cmocka_unit_test(neighbouring_walks_are_told_apart),
	    cmocka_unit_test(who_touches_pages_at_random_gets_next_to_nothing),
	    cmocka_unit_test(short_runs_cost_little),
	    cmocka_unit_test(a_walk_is_followed_past_pages_that_are_here),
	    cmocka_unit_test(who_has_walked_and_touches_pages_at_random_gets_little),
	    cmocka_unit_test(no_window_is_larger_than_what_is_asked_for),
	    cmocka_unit_test(regions_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
