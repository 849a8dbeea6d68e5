/*
 * Where a benchmark ran, for the head of its results.
 */
#ifndef MINORCA_BENCH_HOST_H
#define MINORCA_BENCH_HOST_H

#include <stddef.h>

#define HOST_TEXT_MAX 128

struct host {
	char name[HOST_TEXT_MAX];
	char kernel[HOST_TEXT_MAX]; /* "Linux 6.18.0 x86_64" */
	char cpu[HOST_TEXT_MAX];    /* "AMD EPYC, 2 online" */
	char pools[HOST_TEXT_MAX];  /* "2 MiB: 512 pages, 384 free; 1 GiB: none" */
};

/** What cannot be found out is "unknown". */
void host_describe(struct host *out);

/** The commit that this program was built from, as far as the build knows: "unknown" if not. */
const char *host_commit(void);

/** "shm" or "verbs": what the runtime chooses on one host or on several, unless MINORCA_TRANSPORT says. */
const char *host_transport(int one_host);

#endif
