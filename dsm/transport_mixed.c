/*
 * The mixed transport: peers on this machine (this node among them) are near and reached by shm, others by
 * verbs. A job on several machines uses it.
 *
 * Atomics go by verbs for all, near peers too: a device's atomics are not atomic with the CPU's, so all must
 * be made by the device of the node that has the word.
 *
 * Order (see transport.h). To a peer that is not near everything goes by verbs, and its order is that of
 * verbs. To one that is near, reads and writes go by shm and are done when post returns, until an atomic is
 * posted, which goes by verbs and is done later: from then on until complete(), everything to that peer goes
 * by verbs, and stays in order behind it. What was done by shm before is in memory by the time that the
 * device is told of the atomic (verbs: ibv_post_send() has the barrier).
 *
 * What a near peer reads with the CPU, nodes of other machines write by RDMA. That they are told "complete"
 * must mean that the CPU sees it: so verbs is opened with flush_writes (see verbs_plan.c). The CPU only loads
 * the words on which devices do atomics; they are aligned, so it sees them whole. Loads of a version and of
 * the data after it are in that order, and the writer's device stores data before versions.
 */
#include "dsm/transport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/lane.h"
#include "dsm/report.h"

struct mixed {
	struct transport_config config;
	struct transport *shm, *verbs;
	/* Written by who holds the lane. A lane's chain to a peer goes by verbs if its entry of `by_verbs` is
	 * the number of the lane's chain. */
	uint64_t *chain;    /* [lane], from 1 */
	uint64_t *by_verbs; /* lanes x nodes, a lane's together */
};

static struct mixed *mixed_of(struct transport *transport)
{
	return (struct mixed *)transport;
}

static bool is_near(const struct transport *transport, int peer)
{
	const struct mixed *m = (const struct mixed *)(const void *)transport;

	return m->config.hosts[peer] == m->config.hosts[m->config.node];
}

/* --- set-up -------------------------------------------------------------------------------------------- */

static void close_transport(struct transport *transport)
{
	struct mixed *m = mixed_of(transport);

	if (m->verbs)
		transport_verbs.close(m->verbs);
	if (m->shm)
		transport_shm.close(m->shm);
	free(m->by_verbs);
	free(m->chain);
	free(m);
}

static int open_transport(const struct transport_config *config, struct transport **out,
			  struct transport_address *address)
{
	struct mixed *m = calloc(1, sizeof *m);
	struct transport_config verbs_config = *config;
	struct transport_address of_shm;

	if (!m) {
		report("no memory for the mixed transport");
		return -ENOMEM;
	}
	m->config = *config;
	m->chain = calloc(config->lanes, sizeof *m->chain);
	m->by_verbs = calloc(config->lanes * (size_t)config->nodes, sizeof *m->by_verbs);
	int error = m->chain && m->by_verbs ? 0 : -ENOMEM;

	for (unsigned lane = 0; lane < config->lanes && !error; lane++)
		m->chain[lane] = 1;
	verbs_config.flush_writes = true;
	if (!error)
		error = transport_shm.open(config, &m->shm, &of_shm);
	if (error)
		report("no memory for the mixed transport");
	else
		error = transport_verbs.open(&verbs_config, &m->verbs, address);
	if (error) {
		close_transport((struct transport *)m);
		return error;
	}
	memcpy(address->bytes + TRANSPORT_ADDRESS_BYTES, of_shm.bytes, TRANSPORT_ADDRESS_BYTES);
	*out = (struct transport *)m;
	return 0;
}

static int connect_peer(struct transport *transport, int peer, const struct transport_address *address)
{
	struct mixed *m = mixed_of(transport);
	struct transport_address of_shm = {{0}};
	int error = transport_verbs.connect(m->verbs, peer, address);

	if (error || !is_near(transport, peer))
		return error;
	memcpy(of_shm.bytes, address->bytes + TRANSPORT_ADDRESS_BYTES, TRANSPORT_ADDRESS_BYTES);
	return transport_shm.connect(m->shm, peer, &of_shm);
}

/* A key is that of verbs, and that of shm behind it. */
static size_t key_bytes(struct transport *transport, size_t bytes)
{
	struct mixed *m = mixed_of(transport);

	return transport_verbs.key_bytes(m->verbs, bytes) + transport_shm.key_bytes(m->shm, bytes);
}

static int expose(struct transport *transport, unsigned id, const struct segment_memory *memory, void *key)
{
	struct mixed *m = mixed_of(transport);
	unsigned char *of_shm = (unsigned char *)key + transport_verbs.key_bytes(m->verbs, memory->bytes);
	int error = transport_verbs.expose(m->verbs, id, memory, key);

	return error ? error : transport_shm.expose(m->shm, id, memory, of_shm);
}

static int attach(struct transport *transport, unsigned id, int peer, size_t bytes, const void *key)
{
	struct mixed *m = mixed_of(transport);
	const unsigned char *of_shm = (const unsigned char *)key + transport_verbs.key_bytes(m->verbs, bytes);
	int error = transport_verbs.attach(m->verbs, id, peer, bytes, key);

	return error || !is_near(transport, peer) ? error
						  : transport_shm.attach(m->shm, id, peer, bytes, of_shm);
}

static void detach(struct transport *transport, unsigned id)
{
	struct mixed *m = mixed_of(transport);

	transport_verbs.detach(m->verbs, id);
	transport_shm.detach(m->shm, id);
}

/* --- operations: the hot path -------------------------------------------------------------------------- */

static uint64_t *by_verbs_of(struct mixed *m, const struct lane *lane, int peer)
{
	return &m->by_verbs[lane->index * (size_t)m->config.nodes + (size_t)peer];
}

/* Whether a read or write goes by shm. */
static bool goes_by_shm(struct mixed *m, const struct lane *lane, int peer)
{
	return peer >= 0 && peer < m->config.nodes && is_near((struct transport *)m, peer) &&
	       *by_verbs_of(m, lane, peer) != m->chain[lane->index];
}

static void goes_by_verbs_from_here(struct mixed *m, const struct lane *lane, int peer)
{
	if (peer >= 0 && peer < m->config.nodes)
		*by_verbs_of(m, lane, peer) = m->chain[lane->index];
}

static int post_read(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		     uint64_t offset, void *local, size_t bytes)
{
	struct mixed *m = mixed_of(transport);

	if (goes_by_shm(m, lane, peer))
		return transport_shm.post_read(m->shm, lane, peer, segment, offset, local, bytes);
	return transport_verbs.post_read(m->verbs, lane, peer, segment, offset, local, bytes);
}

static int post_write(struct transport *transport, struct lane *lane, int peer, unsigned segment,
		      uint64_t offset, const void *local, size_t bytes)
{
	struct mixed *m = mixed_of(transport);

	if (goes_by_shm(m, lane, peer))
		return transport_shm.post_write(m->shm, lane, peer, segment, offset, local, bytes);
	return transport_verbs.post_write(m->verbs, lane, peer, segment, offset, local, bytes);
}

static int post_fetch_add(struct transport *transport, struct lane *lane, int peer, unsigned segment,
			  uint64_t offset, uint64_t add, uint64_t *old)
{
	struct mixed *m = mixed_of(transport);

	goes_by_verbs_from_here(m, lane, peer);
	return transport_verbs.post_fetch_add(m->verbs, lane, peer, segment, offset, add, old);
}

static int post_compare_swap(struct transport *transport, struct lane *lane, int peer, unsigned segment,
			     uint64_t offset, uint64_t expected, uint64_t desired, uint64_t *old)
{
	struct mixed *m = mixed_of(transport);

	goes_by_verbs_from_here(m, lane, peer);
	return transport_verbs.post_compare_swap(m->verbs, lane, peer, segment, offset, expected, desired,
						 old);
}

static int complete(struct transport *transport, struct lane *lane)
{
	struct mixed *m = mixed_of(transport);

	m->chain[lane->index]++;
	return transport_verbs.complete(m->verbs, lane);
}

/* A near process that has ended is lost whole: its memory can still be read here, but not by all. */
static int probe(struct transport *transport, int peer)
{
	struct mixed *m = mixed_of(transport);
	int error = transport_verbs.probe(m->verbs, peer);

	return error || !is_near(transport, peer) ? error : transport_shm.probe(m->shm, peer);
}

/* A device that pages on demand has not allocated what near peers store to by shm. What it does for others,
 * it finds or allocates itself. */
static int populate(struct transport *transport, int peer, unsigned segment, uint64_t offset, size_t bytes)
{
	struct mixed *m = mixed_of(transport);

	return is_near(transport, peer) ? transport_shm.populate(m->shm, peer, segment, offset, bytes) : 0;
}

const struct transport_ops transport_mixed = {
    .name = "mixed",
    .open = open_transport,
    .connect = connect_peer,
    .is_near = is_near,
    .key_bytes = key_bytes,
    .expose = expose,
    .attach = attach,
    .detach = detach,
    .post_read = post_read,
    .post_write = post_write,
    .post_fetch_add = post_fetch_add,
    .post_compare_swap = post_compare_swap,
    .complete = complete,
    .probe = probe,
    .populate = populate,
    .close = close_transport,
};
