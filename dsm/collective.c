/*
 * Round by round: each node (or the root) puts a piece into its buffer, all pass a barrier, and each reads
 * the others' pieces. There are two buffers, used in turn: who fills one for the second time has passed the
 * barrier of the round between, which nobody enters before having read what was there the first time. A round
 * counts once its barrier is passed, also for a node that cannot read the pieces then, and that takes part in
 * the rest of the call all the same: so all stay in step.
 *
 * A piece says of which round and which part of the call it is. A node that made a call again after an error,
 * when the others were in the middle of theirs, would be found out by it.
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
#include "dsm/peers.h"
#include "dsm/report.h"
#include "dsm/runtime.h"

/* What precedes each piece. */
struct round {
	uint64_t number;     /* since dsm_init() */
	uint64_t done_bytes; /* of the call, in rounds before */
	uint64_t bytes;	     /* of the piece */
};

#define BUFFER_BYTES LANE_SCRATCH_BYTES
#define PIECE_BYTES (BUFFER_BYTES - sizeof(struct round))

static struct node_segment segment;
static uint64_t passed_rounds;
static atomic_flag busy = ATOMIC_FLAG_INIT;

int collective_create(void)
{
	passed_rounds = 0;
	return node_segment_create(&segment, "minorca-collective", 2 * BUFFER_BYTES);
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

static size_t buffer_offset(const struct round *round)
{
	return round->number % 2 * BUFFER_BYTES;
}

/* This node's piece is there for all once the barrier is passed. @piece may lie in a region: no lane is held.
 */
static int offer(const void *piece, size_t bytes, size_t done_bytes, const char *what, struct round *round)
{
	*round = (struct round){passed_rounds, done_bytes, bytes};
	unsigned char *buffer = (unsigned char *)segment.memory + buffer_offset(round);

	memcpy(buffer, round, sizeof *round);
	if (piece && bytes)
		memcpy(buffer + sizeof *round, piece, bytes);
	int error = barrier_pass(what);
	passed_rounds += !error;
	return error;
}

/* The piece of @node. */
static int read_piece(int node, const struct round *round, void *to, const char *what)
{
	struct lane *lane = lane_acquire_sync();
	int error = runtime.ops->post_read(runtime.transport, lane, node, SEGMENT_COLLECTIVE,
					   buffer_offset(round), lane->scratch, sizeof *round + round->bytes);
	int completed = runtime.ops->complete(runtime.transport, lane);
	bool is_another = false;

	error = error ? error : completed;
	if (!error) {
		is_another = memcmp(lane->scratch, round, sizeof *round);
		memcpy(to, lane->scratch + sizeof *round, round->bytes);
	}
	lane_release(lane);
	if (is_another) {
		report(
		    "%s: node %d is in another call, or in another part of it; all nodes must make the same "
		    "calls in the same order, with the same arguments",
		    what, node);
		return -EPROTO;
	}
	peers_note(node, error);
	peers_tell(error, what, "what it has to give cannot be had");
	return error;
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

static int combine_pieces(const struct round *round, unsigned char *out, enum dsm_type type,
			  enum dsm_reduction reduction, const char *what)
{
	_Alignas(64) unsigned char sum[PIECE_BYTES], piece[PIECE_BYTES];
	int error = 0;

	for (int node = 0; node < runtime.nodes && !error; node++) {
		error = read_piece(node, round, node ? piece : sum, what);
		if (!error && node)
			combine(sum, piece, round->bytes / size_of(type), type, reduction);
	}
	if (!error && round->bytes)
		memcpy(out, sum, round->bytes);
	return error;
}

static int reduce(const unsigned char *in, unsigned char *out, size_t count, enum dsm_type type,
		  enum dsm_reduction reduction)
{
	static const char what[] = "dsm_reduce()";
	size_t size = size_of(type), done = 0;
	int error = 0;

	do {
		size_t some = count - done < PIECE_BYTES / size ? count - done : PIECE_BYTES / size;
		struct round round;
		int offered = offer(in + done * size, some * size, done * size, what, &round);
		if (offered)
			return error ? error : offered;
		if (!error)
			error = combine_pieces(&round, out + done * size, type, reduction, what);
		done += some;
	} while (done < count);
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

static int broadcast(unsigned char *buffer, size_t bytes, int root)
{
	static const char what[] = "dsm_broadcast()";
	unsigned char piece[PIECE_BYTES];
	bool is_root = root == runtime.node;
	size_t done = 0;
	int error = 0;

	do {
		size_t some = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
		struct round round;
		int offered = offer(is_root ? buffer + done : NULL, some, done, what, &round);
		if (offered)
			return error ? error : offered;
		if (!is_root && !error) {
			error = read_piece(root, &round, piece, what);
			if (!error && some)
				memcpy(buffer + done, piece, some);
		}
		done += some;
	} while (done < bytes);
	return error;
}

int dsm_broadcast(void *buffer, size_t bytes, int root)
{
	int saved_errno = errno;

	if (!runtime.started || root < 0 || root >= runtime.nodes || (bytes && !buffer))
		return -EINVAL;
	if (atomic_flag_test_and_set(&busy))
		return -EBUSY;
	int error = broadcast(buffer, bytes, root);
	atomic_flag_clear(&busy);
	errno = saved_errno;
	return error;
}
