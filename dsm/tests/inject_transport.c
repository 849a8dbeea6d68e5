/*
 * Between the runtime and its transport. A call that is to fail is not passed on, but for complete(), which
 * fails when all is done. Either way all that was posted and not completed has outputs that are undefined:
 * they are spoiled.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "dsm/tests/inject.h"
#include "dsm/transport.h"

#define SPOILED 0xa5
#define OUTPUTS_MAX 1024

static const struct transport_ops *real;
static struct transport_ops shim;
static bool fabric;
static int lost_peer = -1;
static atomic_int_fast64_t operations_left; /* until it is lost */

/* What this thread has posted and not completed. */
static __thread struct {
	void *memory;
	size_t bytes;
} outputs[OUTPUTS_MAX];
static __thread unsigned output_count;

void inject_fabric(void)
{
	fabric = true;
}

void inject_lost_peer(int peer, uint64_t nth)
{
	lost_peer = peer;
	atomic_store(&operations_left, (int_fast64_t)nth);
}

static bool is_lost(int peer)
{
	return peer == lost_peer && atomic_fetch_sub(&operations_left, 1) <= 1;
}

static void note_output(void *memory, size_t bytes)
{
	if (output_count == OUTPUTS_MAX)
		return;
	outputs[output_count].memory = memory;
	outputs[output_count++].bytes = bytes;
}

static void spoil_outputs(void)
{
	for (unsigned i = 0; i < output_count; i++)
		memset(outputs[i].memory, SPOILED, outputs[i].bytes);
	output_count = 0;
}

/* What happens to an operation; its output counts as posted. */
static int decide(enum inject_call call, int peer, void *output, size_t bytes)
{
	inject_dice();
	if (output)
		note_output(output, bytes);
	int error = is_lost(peer) ? -EHOSTDOWN : inject_decide(call);
	if (error)
		spoil_outputs();
	return error;
}

static int shim_open(const struct transport_config *config, struct transport **out,
		     struct transport_address *address)
{
	int error = inject_decide(INJECT_OPEN);

	return error ? error : real->open(config, out, address);
}

static int shim_connect(struct transport *t, int peer, const struct transport_address *address)
{
	int error = inject_decide(INJECT_CONNECT);

	return error ? error : real->connect(t, peer, address);
}

static bool never_near(const struct transport *t, int peer)
{
	(void)t, (void)peer;
	return false;
}

static int shim_expose(struct transport *t, unsigned id, const struct segment_memory *memory, void *key)
{
	int error = inject_decide(INJECT_EXPOSE);

	return error ? error : real->expose(t, id, memory, key);
}

static int shim_attach(struct transport *t, unsigned id, int peer, size_t bytes, const void *key)
{
	int error = inject_decide(INJECT_ATTACH);

	return error ? error : real->attach(t, id, peer, bytes, key);
}

static int shim_read(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		     void *local, size_t bytes)
{
	int error = decide(INJECT_READ, peer, local, bytes);

	return error ? error : real->post_read(t, lane, peer, segment, offset, local, bytes);
}

static int shim_write(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
		      const void *local, size_t bytes)
{
	int error = decide(INJECT_WRITE, peer, NULL, 0);

	return error ? error : real->post_write(t, lane, peer, segment, offset, local, bytes);
}

static int shim_fetch_add(struct transport *t, struct lane *lane, int peer, unsigned segment, uint64_t offset,
			  uint64_t add, uint64_t *old)
{
	int error = decide(INJECT_FETCH_ADD, peer, old, sizeof *old);

	return error ? error : real->post_fetch_add(t, lane, peer, segment, offset, add, old);
}

static int shim_compare_swap(struct transport *t, struct lane *lane, int peer, unsigned segment,
			     uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old)
{
	int error = decide(INJECT_COMPARE_SWAP, peer, old, sizeof *old);

	return error ? error
		     : real->post_compare_swap(t, lane, peer, segment, offset, expected, desired, old);
}

static int shim_complete(struct transport *t, struct lane *lane)
{
	int error = real->complete(t, lane);

	inject_dice();
	if (!error)
		error = inject_decide(INJECT_COMPLETE);
	if (error)
		spoil_outputs();
	output_count = 0;
	return error;
}

static int shim_populate(struct transport *t, int peer, unsigned segment, uint64_t offset, size_t bytes)
{
	int error = decide(INJECT_POPULATE, peer, NULL, 0);

	return error ? error : real->populate(t, peer, segment, offset, bytes);
}

const struct transport_ops *transport_choose_hook(const struct transport_ops *chosen)
{
	real = chosen;
	shim = *chosen;
	if (fabric) {
		shim.is_near = never_near;
		shim.writes_from_anywhere = false;
	}
	shim.open = shim_open;
	shim.connect = shim_connect;
	shim.expose = shim_expose;
	shim.attach = shim_attach;
	shim.post_read = shim_read;
	shim.post_write = shim_write;
	shim.post_fetch_add = shim_fetch_add;
	shim.post_compare_swap = shim_compare_swap;
	shim.complete = shim_complete;
	if (chosen->populate)
		shim.populate = shim_populate;
	return &shim;
}
