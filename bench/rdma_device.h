/*
 * The RDMA device, port and GID that the runtime uses on this node, for what is measured without it.
 */
#ifndef MINORCA_BENCH_RDMA_DEVICE_H
#define MINORCA_BENCH_RDMA_DEVICE_H

#include "bench/job.h"
#include "dsm/verbs_device.h"

/**
 * Chooses as the runtime does: by its settings, by what is near, and in turn with other nodes of the machine.
 * Collective.
 *
 * @param job  NULL: this process is alone
 * @return 0 or -errno; what goes wrong is said.
 */
int rdma_device_open(const struct job *job, struct verbs_device *out);

#endif
