/*
 * Round by round: each node (or the root) puts a piece into its buffer, all pass a barrier, and each reads
 * the others' pieces. There are two buffers, used in turn: who fills one for the second time has passed the
 * barrier of the round between, which nobody enters before having read what was there the first time.
 *
 * Every node combines all pieces, in the order of the nodes: a tree would move less, but its result would
 * depend on the number of nodes in another way than adding up does, and be no faster for the few bytes that
 * reductions have.
 */
#include "dsm/collective.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <minorca.h>

#include "dsm/barrier.h"
#include "dsm/lane.h"
#include "dsm/node_segment.h"
#include "dsm/runtime.h"

#define PIECE_BYTES LANE_SCRATCH_BYTES

static struct node_segment segment;
static uint64_t finished_rounds;
static atomic_flag busy = ATOMIC_FLAG_INIT;

int collective_create(void)
{
	finished_rounds = 0;
	return node_segment_create(&segment, "minorca-collective", 2 * PIECE_BYTES);
}

void collective_destroy(void)
{
	node_segment_destroy(&segment);
}

int collective_connect(void)
{
	return node_segment_connect(&segment, SEGMENT_COLLECTIVE, PEERS_READ);
}

/* --- a round ---------------------------------------------------------------------------------------------
 */

static size_t buffer_offset(void)
{
	return finished_rounds % 2 * PIECE_BYTES;
}

/* This node's piece is there for all once the barrier is passed. @piece may lie in a region: no lane is held.
 */
static int offer(const void *piece, size_t bytes, const char *what)
{
	if (piece && bytes)
		memcpy((unsigned char *)segment.memory + buffer_offset(), piece, bytes);
	return barrier_pass(what);
}

/* The piece of @node. */
static int read_piece(int node, void *to, size_t bytes)
{
	struct lane *lane = lane_acquire_sync();
	int error = runtime.ops->post_read(runtime.transport, lane, node, SEGMENT_COLLECTIVE, buffer_offset(),
					   lane->scratch, bytes);
	int completed = runtime.ops->complete(runtime.transport, lane);

	if (!error && !completed)
		memcpy(to, lane->scratch, bytes);
	lane_release(lane);
	return error ? error : completed;
}

/* --- combining -------------------------------------------------------------------------------------------
 */

/* A type cannot stand in parentheses. */
/* NOLINTBEGIN(bugprone-macro-parentheses) */
#define COMBINE_NUMBERS(name, type, minimum, maximum)                                              \
	static void name(void *into, const void *from, size_t count, enum dsm_reduction reduction) \
	{                                                                                          \
		type *a = into;                                                                    \
		const type *b = from;                                                              \
		for (size_t i = 0; i < count; i++)                                                 \
			a[i] = reduction == DSM_SUM	  ? (type)(a[i] + b[i])                    \
			       : reduction == DSM_PRODUCT ? (type)(a[i] * b[i])                    \
			       : reduction == DSM_MIN	  ? minimum(a[i], b[i])                    \
							  : maximum(a[i], b[i]);                       \
	}

/* NOLINTEND(bugprone-macro-parentheses) */

#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define GREATEST(a, b) ((a) > (b) ? (a) : (b))

/* Sums and products of signed numbers are taken of unsigned ones: the same bits, and wrapping is defined. */
COMBINE_NUMBERS(combine_uint32, uint32_t, LEAST, GREATEST)
COMBINE_NUMBERS(combine_uint64, uint64_t, LEAST, GREATEST)
COMBINE_NUMBERS(order_int32, int32_t, LEAST, GREATEST)
COMBINE_NUMBERS(order_int64, int64_t, LEAST, GREATEST)
COMBINE_NUMBERS(combine_float, float, fminf, fmaxf)
COMBINE_NUMBERS(combine_double, double, fmin, fmax)

static void combine_bits(unsigned char *a, const unsigned char *b, size_t bytes, enum dsm_reduction reduction)
{
	for (size_t i = 0; i < bytes; i++)
		a[i] = (unsigned char)(reduction == DSM_AND  ? a[i] & b[i]
				       : reduction == DSM_OR ? a[i] | b[i]
							     : a[i] ^ b[i]);
}

static size_t size_of(enum dsm_type type)
{
	return type == DSM_INT32 || type == DSM_UINT32 || type == DSM_FLOAT ? 4 : 8;
}

static void combine(void *a, const void *b, size_t count, enum dsm_type type, enum dsm_reduction reduction)
{
	bool order = reduction == DSM_MIN || reduction == DSM_MAX;

	if (reduction >= DSM_AND)
		combine_bits(a, b, count * size_of(type), reduction);
	else if (type == DSM_FLOAT)
		combine_float(a, b, count, reduction);
	else if (type == DSM_DOUBLE)
		combine_double(a, b, count, reduction);
	else if (type == DSM_INT32 && order)
		order_int32(a, b, count, reduction);
	else if (type == DSM_INT64 && order)
		order_int64(a, b, count, reduction);
	else if (size_of(type) == 4)
		combine_uint32(a, b, count, reduction);
	else
		combine_uint64(a, b, count, reduction);
}

/* --- for users -------------------------------------------------------------------------------------------
 */

static int reduce_piece(const unsigned char *in, unsigned char *out, size_t count, enum dsm_type type,
			enum dsm_reduction reduction)
{
	_Alignas(64) unsigned char sum[PIECE_BYTES], piece[PIECE_BYTES];
	size_t bytes = count * size_of(type);
	int error = offer(in, bytes, "dsm_reduce()");

	for (int node = 0; node < runtime.nodes && !error; node++) {
		error = read_piece(node, node ? piece : sum, bytes);
		if (!error && node)
			combine(sum, piece, count, type, reduction);
	}
	if (error)
		return error;
	finished_rounds++;
	if (bytes)
		memcpy(out, sum, bytes);
	return 0;
}

static int reduce(const void *in, void *out, size_t count, enum dsm_type type, enum dsm_reduction reduction)
{
	size_t size = size_of(type), done = 0;
	int error = 0;

	do {
		size_t some = count - done < PIECE_BYTES / size ? count - done : PIECE_BYTES / size;
		error = reduce_piece((const unsigned char *)in + done * size,
				     (unsigned char *)out + done * size, some, type, reduction);
		done += some;
	} while (done < count && !error);
	return error;
}

int dsm_reduce(const void *in, void *out, size_t count, enum dsm_type type, enum dsm_reduction reduction)
{
	int saved_errno = errno;

	if (!runtime.started || (unsigned)type > DSM_DOUBLE || (unsigned)reduction > DSM_XOR ||
	    (reduction >= DSM_AND && type >= DSM_FLOAT) || (count && (!in || !out)))
		return -EINVAL;
	if (atomic_flag_test_and_set(&busy))
		return -EBUSY;
	int error = reduce(in, out, count, type, reduction);
	atomic_flag_clear(&busy);
	errno = saved_errno;
	return error;
}

static int broadcast_piece(unsigned char *buffer, size_t bytes, int root)
{
	unsigned char piece[PIECE_BYTES];
	int error = offer(root == runtime.node ? buffer : NULL, bytes, "dsm_broadcast()");

	if (!error && root != runtime.node)
		error = read_piece(root, piece, bytes);
	if (error)
		return error;
	finished_rounds++;
	if (root != runtime.node && bytes)
		memcpy(buffer, piece, bytes);
	return 0;
}

int dsm_broadcast(void *buffer, size_t bytes, int root)
{
	int saved_errno = errno, error = 0;
	size_t done = 0;

	if (!runtime.started || root < 0 || root >= runtime.nodes || (bytes && !buffer))
		return -EINVAL;
	if (atomic_flag_test_and_set(&busy))
		return -EBUSY;
	do {
		size_t some = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
		error = broadcast_piece((unsigned char *)buffer + done, some, root);
		done += some;
	} while (done < bytes && !error);
	atomic_flag_clear(&busy);
	errno = saved_errno;
	return error;
}
