/*
 * Progress on stderr. See progress.h.
 */
#include "bench/progress.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/timer.h"

#define INTERVAL_NS UINT64_C(4000000000)

static unsigned int seconds_since(uint64_t start_ns)
{
	return (unsigned int)((timer_now_ns() - start_ns) / 1000000000u);
}

void progress_begin(struct progress *progress, size_t steps, bool speak)
{
	uint64_t now_ns = timer_now_ns();

	*progress = (struct progress){
	    .steps = steps,
	    .started_ns = now_ns,
	    .told_ns = now_ns,
	    .speak = speak,
	    .terminal =
		isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO), /* not through the rows on one terminal */
	};
}

void progress_step(struct progress *progress)
{
	progress->done++;
	if (!progress->speak || timer_now_ns() - progress->told_ns < INTERVAL_NS)
		return;
	progress->told_ns = timer_now_ns();
	fprintf(stderr, "%s%s: %zu of %zu cases, %u s%s", progress->terminal ? "\r" : "",
		program_invocation_short_name, progress->done, progress->steps,
		seconds_since(progress->started_ns), progress->terminal ? "" : "\n");
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->speak && progress->terminal && progress->told_ns != progress->started_ns)
		fputs("\r\033[K", stderr);
}
