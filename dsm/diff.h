/*
 * Which bytes of a page changed: comparison with its twin.
 */
#ifndef MINORCA_DSM_DIFF_H
#define MINORCA_DSM_DIFF_H

#include <stddef.h>

/**
 * Finds the next run of bytes that differ between @now and @before, in [@from, @bytes).
 *
 * The run is exact: every byte in it differs, and the bytes next to it do not. A byte that this node did not
 * change must not be written to the master: another node may have.
 *
 * @param end  set to the end of the run (exclusive), when there is one
 * @return where the run begins, or @bytes when there is none.
 */
size_t diff_next(const unsigned char *now, const unsigned char *before, size_t from, size_t bytes,
		 size_t *end);

#endif
