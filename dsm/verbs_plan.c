/*
 * Decisions of the verbs transport. Nothing here talks to a device.
 *
 * Ordering. transport.h promises that operations posted to one peer on one lane run in the order in which
 * they were posted. One lane and peer is one RC queue pair, and what the InfiniBand specification says of one
 * (volume 1, chapters 9.5 and 10.8.3.3) gives this:
 *
 * - A write, then anything: ordered. A responder executes writes and atomics in the order of their
 *   arrival, and a read never before an earlier write. So "write data; fetch_add version" needs
 *   nothing, nor does a read of what the same lane has just written.
 * - A read, then a read: ordered. Responses are in order, and if one is lost the requester drops
 *   what came after it and asks for all of them again. So "read version; read data" needs nothing:
 *   one round trip, and the data are no older than the version.
 * - A read, then a write or an atomic: not ordered. The responder may begin them before it has
 *   read; and a response that is lost is made again from memory as it is then. These are fenced:
 *   the device holds the request back until the read is done.
 * - An atomic, then anything: ordered, when the device does atomics itself. A lost response is
 *   answered again from a record, not executed again. A device that does them by PCI Express
 *   AtomicOps may let later requests overtake them on the bus: there they are fenced.
 *
 * The chains of the fault path and of publishing (reads only; writes, then atomics) have no fence. Fencing
 * costs a round trip.
 *
 * All memory is registered without IBV_ACCESS_RELAXED_ORDERING: with it, a write could become visible after
 * the atomic that announces it.
 *
 * Visibility. That a write is complete says that the responder's device has it; it may still be on its way to
 * memory. What comes over the same device later finds it there, for a device's reads and atomics push its
 * writes before them. A CPU that loads the word might not, if it has learned by another way that the write is
 * complete. Where peers use the CPU for what others write by RDMA and read by it (transport_mixed.c), a chain
 * that ends in writes ends in a read of a byte that was written: that is answered after they are in memory.
 * It is one request more, and no round trip.
 *
 * The initiator's side: only complete() makes a local buffer free. A write that is sent again fetches its
 * source again, perhaps after a later read's data came in, so no buffer may be both within one chain;
 * transport.h says so ("stays as it is").
 */
#include "dsm/verbs_plan.h"

#include <errno.h>

/* A window that is much larger than what a device pipelines (max_rd_atomic, usually 16) gains nothing. One
 * less than a power of two: soft-RoCE adds one, and rounds up to the next. */
#define WINDOW_MOST 127u
/* Below this a chain of one page's blocks would drain several times. */
#define WINDOW_LEAST 16u

#define PAGE_BYTES ((size_t)4096)
#define PIECE_MOST ((size_t)1 << 30)

/* The unit of the timeout attribute is 4.096 us times a power of two. */
#define ACK_UNIT_NS 4096u
/* Less than 4 ms is shorter than many devices can count, more than 17 s serves nobody. */
#define ACK_LEAST 10
#define ACK_MOST 22

bool verbs_needs_fence(enum ibv_wr_opcode opcode, bool reads, bool atomics, bool bus_atomics)
{
	if (atomics && bus_atomics)
		return true;
	return reads && opcode != IBV_WR_RDMA_READ;
}

size_t verbs_piece_bytes(uint32_t port_max_message)
{
	if (port_max_message >= PIECE_MOST)
		return PIECE_MOST;
	if (port_max_message < PAGE_BYTES)
		return port_max_message;
	return port_max_message / PAGE_BYTES * PAGE_BYTES;
}

size_t verbs_read_bytes(size_t piece_bytes, uint64_t wanted_bytes)
{
	uint64_t pages = wanted_bytes / PAGE_BYTES;

	if (wanted_bytes == 0 || wanted_bytes >= piece_bytes)
		return piece_bytes;
	return pages ? pages * PAGE_BYTES : PAGE_BYTES;
}

uint8_t verbs_ack_timeout(uint64_t timeout_ns)
{
	uint64_t one_try_ns = timeout_ns / 2 / (VERBS_RETRIES + 1);
	uint8_t exponent = ACK_LEAST;

	while (exponent < ACK_MOST && (uint64_t)ACK_UNIT_NS << (exponent + 1) <= one_try_ns)
		exponent++;
	return exponent;
}

unsigned verbs_window(int device_requests, int device_completions)
{
	int least = device_requests < device_completions ? device_requests : device_completions;

	if (least < (int)WINDOW_LEAST)
		return 0;
	return (unsigned)least < WINDOW_MOST ? (unsigned)least : WINDOW_MOST;
}

int verbs_status_error(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
	case IBV_WC_WR_FLUSH_ERR:
	case IBV_WC_REM_ABORT_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_FATAL_ERR:
	/* The kernel takes a dying process's registrations away before its queue pairs: for a moment requests
	 * are refused, and only then unanswered. */
	case IBV_WC_REM_ACCESS_ERR:
		return -EHOSTDOWN;
	default:
		return -EIO;
	}
}
