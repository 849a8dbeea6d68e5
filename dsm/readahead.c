/*
 * Finding walks among faults. In the fault path: a fault of a thread without a pattern costs a look at
 * READAHEAD_STREAMS streams and READAHEAD_FAULTS numbers.
 */
#include "dsm/readahead.h"

#include <stdbool.h>

/* Steps in a row, before this one, that neighbouring pages need; other steps one more, since among few pages
 * three in a row are soon met by chance. */
#define STEPS_TO_SHOW 2

#define DOUBT_MOST 8

/* A stream with shorter windows than this is young: it may have been a coincidence, and is forgotten if it
 * does not go on within so many faults. */
#define YOUNG_WINDOW 16
#define YOUNG_FAULTS 64

static bool is_young(const struct readahead_stream *stream)
{
	return stream->window < YOUNG_WINDOW;
}

/* Whether pages behind the stream's last window may have been mapped already and have raised no fault, so
 * that this is where the walk comes out. It may be a coincidence, too: it is taken for a young one again. */
static bool comes_out_at(const struct readahead_stream *stream, uint64_t place)
{
	int64_t distance = (int64_t)(place - stream->next);

	if (is_young(stream) || distance % stream->step)
		return false;
	distance /= stream->step;
	return distance > 0 && distance <= stream->window;
}

/* A walk that was one ends some day; one that ended with its first window was none, and the next has to show
 * more. */
static void end_stream(struct readahead *r, struct readahead_stream *stream)
{
	if (!stream->continued && r->doubt < DOUBT_MOST)
		r->doubt++;
	else if (stream->continued > 1 && r->doubt)
		r->doubt--;
	stream->step = 0;
	stream->used = 0;
}

static void widen(struct readahead_stream *stream, uint32_t most)
{
	stream->window = stream->window < most / 2 ? stream->window * 2 : most;
}

/* The stream that @place belongs to; NULL: none. */
static struct readahead_stream *find_stream(struct readahead *r, uint64_t place, uint32_t window_most)
{
	for (unsigned i = 0; i < READAHEAD_STREAMS; i++) {
		struct readahead_stream *stream = &r->streams[i];

		if (!stream->step)
			continue;
		if (place == stream->next) {
			stream->continued++;
			widen(stream, window_most);
		} else if (comes_out_at(stream, place)) {
			stream->window = YOUNG_WINDOW / 2 < window_most ? YOUNG_WINDOW / 2 : window_most;
		} else {
			if (is_young(stream) && r->time - stream->used > YOUNG_FAULTS)
				end_stream(r, stream);
			continue;
		}
		stream->used = r->time;
		return stream;
	}
	return NULL;
}

static bool was_seen(const struct readahead *r, uint64_t place)
{
	bool seen = false;

	for (unsigned i = 0; i < READAHEAD_FAULTS; i++) /* without a branch: this is vectorised */
		seen |= r->faults[i] == place;
	return seen;
}

/* Whether enough pages before @place, @step apart, were seen. */
static bool is_walk(const struct readahead *r, uint64_t place, int64_t step)
{
	bool neighbours = step == 1 || step == -1;
	unsigned steps = STEPS_TO_SHOW + !neighbours + r->doubt;

	for (unsigned k = 1; k <= steps; k++)
		if (!was_seen(r, place - (uint64_t)(step * k)))
			return false;
	return true;
}

static uint64_t magnitude(int64_t step)
{
	return (uint64_t)(step < 0 ? -step : step);
}

/* The shortest step by which one can have come to @place; 0: none. */
static int64_t find_step(const struct readahead *r, uint64_t place)
{
	int64_t found = 0;

	for (unsigned i = 0; i < READAHEAD_FAULTS; i++) {
		int64_t step = (int64_t)(place - r->faults[i]);

		if (step == 0 || magnitude(step) > READAHEAD_REACH)
			continue;
		if (found && magnitude(step) >= magnitude(found))
			continue;
		if (is_walk(r, place, step))
			found = step;
	}
	return found;
}

/* A free one, or the one that was not used for longest. */
static struct readahead_stream *stream_to_replace(struct readahead *r)
{
	struct readahead_stream *oldest = &r->streams[0];

	for (unsigned i = 1; i < READAHEAD_STREAMS; i++)
		if (r->streams[i].used < oldest->used)
			oldest = &r->streams[i];
	if (oldest->step)
		end_stream(r, oldest);
	return oldest;
}

struct readahead_stream *readahead_fault(struct readahead *r, uint64_t place, uint32_t window_most)
{
	r->time++;

	struct readahead_stream *stream = find_stream(r, place, window_most);

	if (stream)
		return stream;

	int64_t step = find_step(r, place);

	r->faults[r->time % READAHEAD_FAULTS] = place;
	if (!step)
		return NULL;
	stream = stream_to_replace(r);
	*stream = (struct readahead_stream){
	    .next = place, .step = step, .window = READAHEAD_FIRST, .used = r->time};
	return stream;
}
