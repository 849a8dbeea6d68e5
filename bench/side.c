/*
 * What both sides need. See side.h.
 */
#include "bench/side.h"

#include <string.h>

size_t side_pages(const struct side *side)
{
	return side->setup->pages * (size_t)(side->job->nodes - 1);
}

size_t side_first(const struct side *side)
{
	return side->setup->pages * (size_t)(side->job->node - 1);
}

void side_next_pattern(struct side *side, unsigned int changed)
{
	side->pattern = (struct pattern){
	    .page_bytes = side->setup->page_bytes,
	    .blocks = side->setup->blocks,
	    .changed = changed,
	    .seed = side->seed,
	    .generation = side->pattern.generation + 1,
	};
}

void side_require(const struct side *side, int error, const char *what)
{
	if (error)
		job_fail("%s, case %s: %s: %s", side->operations->name, side->setup->kind->name, what,
			 strerror(-error));
}
