/*
 * Decisions of the verbs transport that are arithmetic only, so that they are tested without a device: what
 * is fenced, how operations are split, what goes inline, how long the device retries, what an error means.
 */
#ifndef MINORCA_DSM_VERBS_PLAN_H
#define MINORCA_DSM_VERBS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>

/* How often a device sends a request again before it calls the peer lost. Not the most that verbs allows:
 * soft-RoCE takes 7 for "for ever". */
#define VERBS_RETRIES 6

/* Inline payload that is asked for: a version, a log entry, a small difference. */
#define VERBS_INLINE_BYTES 128

/** Whether @bytes at @offset lie in a segment of @segment_bytes. */
static inline bool verbs_range_is_inside(uint64_t segment_bytes, uint64_t offset, uint64_t bytes)
{
	return bytes <= segment_bytes && offset <= segment_bytes - bytes;
}

/**
 * Whether a request has to wait in the device until earlier reads and atomics of its queue pair are done, so
 * that the requests take effect in the order in which they were posted. See the argument in verbs_plan.c.
 *
 * @param reads, atomics  one of this queue pair may still be under way, and no fence came since
 * @param bus_atomics     the devices do atomics by PCI Express AtomicOps
 */
bool verbs_needs_fence(enum ibv_wr_opcode opcode, bool reads, bool atomics, bool bus_atomics);

/** The most bytes of one request, given the port's max_msg_sz: whole pages, so that pieces stay aligned. */
size_t verbs_piece_bytes(uint32_t port_max_message);

/** The most bytes of a read, given that of any request and MINORCA_VERBS_READ: whole pages. */
size_t verbs_read_bytes(size_t piece_bytes, uint64_t wanted_bytes);

/**
 * The value of a queue pair's timeout attribute: the longest with which all tries together end within half of
 * @timeout_ns, so that a dead peer shows as one before the wait for it is given up.
 */
uint8_t verbs_ack_timeout(uint64_t timeout_ns);

/** How many requests of a lane may be under way, given the device's max_qp_wr and max_cqe; 0: too few to
 * work. */
unsigned verbs_window(int device_requests, int device_completions);

/** The error of a failed request: -EHOSTDOWN: the peer is lost; -EIO: the request was at fault. 0: no error.
 */
int verbs_status_error(enum ibv_wc_status status);

#endif
