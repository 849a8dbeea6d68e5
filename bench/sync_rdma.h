/*
 * Baselines of sync over RDMA: the requests that an operation cannot do without, by bare libibverbs.
 *
 * Of a row whose home is node 0 they go to node 0's own memory through its device, as the runtime's do.
 */
#ifndef MINORCA_BENCH_SYNC_RDMA_H
#define MINORCA_BENCH_SYNC_RDMA_H

#include <stdint.h>

#include "bench/job.h"

struct bench;
struct sync_rdma;

/** Connects the nodes. Collective; what goes wrong ends the job. */
struct sync_rdma *sync_rdma_open(const struct job *job);
void sync_rdma_close(struct sync_rdma *rdma);

/* Each waits until it is done. */
void sync_rdma_read_all(struct bench *b); /* 8 bytes of every other node, at the same time */
void sync_rdma_read(struct bench *b);
void sync_rdma_add(struct bench *b);
void sync_rdma_two_adds(struct bench *b);
void sync_rdma_compare_swap(struct bench *b);
void sync_rdma_two_compare_swaps(struct bench *b);

/** What publishing the row's pages takes: a WRITE of each one's changed bytes, then a FETCH_ADD of its
 * version; one chain. At home there is nothing to write. */
void sync_rdma_publish(const struct bench *b);

/** Writes @value to the other node of the pair, without waiting; and the word that the other writes. */
void sync_rdma_throw(struct bench *b, uint64_t value);
const uint64_t *sync_rdma_ball(const struct bench *b);
/** Waits for the last sync_rdma_throw(), if there was one. */
void sync_rdma_finish_throw(struct bench *b);

#endif
