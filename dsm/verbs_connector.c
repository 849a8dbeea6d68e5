/*
 * The connector's thread.
 *
 * Life of a queue pair, here:
 *   asked for by our lane          make our end; ASK the peer, again and again, with our end
 *   ASK from the peer              make our end, connect it to theirs, ANSWER with ours
 *   ANSWER from the peer           connect our end, if it is not yet; the lane may go
 * Both may ask at once: each connects on the other's ASK and lets its lane go on the ANSWER. Until the ANSWER
 * has come, the peer's end may not be connected, and what the lane sent would be dropped and sent again only
 * after the fabric's own time-out. Every step may be repeated: it finds what it would do done.
 */
#include "dsm/verbs_connector.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dsm/clock.h"
#include "dsm/report.h"
#include "dsm/verbs_connection.h"

#define PACKET_NUMBER_MASK 0xffffffu
/* Q_Keys with the highest bit are for the privileged. */
#define Q_KEY_MASK 0x7fffffffu

/* Datagrams that can come in before the thread looks: more are lost, and sent again. */
#define RECEIVES 128u
#define SENDS 32u
/* The device puts a header (or, for RoCE, room for one) before each datagram that comes in. */
#define HEADER_BYTES 40u
#define SLOT_BYTES 128u

/* An ASK is repeated after this, then after twice as long, and so on. */
#define REPEAT_FIRST_NS 20000000ull
#define REPEAT_MOST_NS 500000000ull

_Static_assert(HEADER_BYTES + VERBS_GREETING_BYTES <= SLOT_BYTES, "a datagram fits");

/* A peer. Written by the set-up thread before `known`, read by the connector's after. */
struct peer {
	struct verbs_address address;
	struct ibv_ah *way;
	atomic_bool known;
};

/* What the connector knows of a queue pair. Its thread only. */
struct making {
	struct ibv_qp *pair; /* NULL: not made */
	struct verbs_end own, theirs;
	unsigned inline_bytes;
	bool connected;
	bool waited_for; /* by the lane */
	uint64_t repeat_ns, repeat_after_ns, end_ns;
};

struct verbs_connector {
	struct verbs_connector_config config;
	uint32_t q_key;
	struct peer *peers;

	/* The thread's own. */
	pthread_t thread;
	bool started;
	struct verbs_endpoint *endpoints; /* one per lane; made with its first queue pair */
	struct making *makings;		  /* lanes x nodes, as queues */
	unsigned waited_for;
	bool told_of_strangers;
	bool link_is_down;

	/* What it is woken by: a lane that asks (a bit of `asked` for each queue), or the end. */
	_Atomic uint64_t *asked;
	size_t asked_words;
	int event;
	atomic_bool stop;

	/* Datagrams. */
	struct ibv_comp_channel *channel;
	struct ibv_cq *completions;
	struct ibv_qp *greeter;
	unsigned char *slots; /* RECEIVES, then SENDS */
	struct ibv_mr *slots_region;
	unsigned free_sends[SENDS], free_count;
	unsigned posted;    /* of both kinds, with the device */
	bool greeter_ended; /* it is in the error state, or on its way there; made ready again when none is
			       posted */
};

static size_t queue_index(const struct verbs_connector *c, unsigned lane, uint32_t peer)
{
	return lane * (size_t)c->config.nodes + peer;
}

/* --- datagrams ----------------------------------------------------------------------------------------- */

static void post_receive(struct verbs_connector *c, unsigned slot)
{
	struct ibv_sge buffer = {(uintptr_t)(c->slots + slot * SLOT_BYTES), SLOT_BYTES,
				 c->slots_region->lkey};
	struct ibv_recv_wr request = {.wr_id = slot, .sg_list = &buffer, .num_sge = 1}, *refused;

	/* Refused: one fewer that can come in at once. */
	c->posted += !ibv_post_recv(c->greeter, &request, &refused);
}

static int to_state(struct verbs_connector *c, enum ibv_qp_state state, int mask)
{
	struct ibv_qp_attr attr = {
	    .qp_state = state,
	    .port_num = (uint8_t)c->config.device->port,
	    .qkey = c->q_key,
	};

	return -ibv_modify_qp(c->greeter, &attr, IBV_QP_STATE | mask);
}

static int make_greeter_ready(struct verbs_connector *c)
{
	int error = to_state(c, IBV_QPS_INIT, IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);

	if (!error)
		error = to_state(c, IBV_QPS_RTR, 0);
	if (!error)
		error = to_state(c, IBV_QPS_RTS, IBV_QP_SQ_PSN);
	for (unsigned slot = 0; slot < RECEIVES && !error; slot++)
		post_receive(c, slot);
	return error;
}

/* A datagram could not be sent: soft-RoCE ends a queue pair when its network interface is down. What is
 * posted comes back. */
static void end_greeter(struct verbs_connector *c)
{
	c->greeter_ended = true;
	to_state(c, IBV_QPS_ERR, 0); /* an adapter may have stopped sending only */
}

/* All has come back, so that no completion of before is taken for one of after. It keeps its number. If it
 * fails, it is tried again at the next look. */
static void revive_greeter(struct verbs_connector *c)
{
	if (!to_state(c, IBV_QPS_RESET, 0) && !make_greeter_ready(c))
		c->greeter_ended = false;
}

/* A greeting that cannot be sent now is as one that is lost: it is sent again. */
static void send_greeting(struct verbs_connector *c, uint32_t to, const struct verbs_greeting *greeting)
{
	if (!c->free_count || c->greeter_ended)
		return;

	unsigned slot = c->free_sends[--c->free_count];
	unsigned char *bytes = c->slots + slot * SLOT_BYTES;
	struct ibv_sge buffer = {(uintptr_t)bytes, VERBS_GREETING_BYTES, c->slots_region->lkey};
	struct ibv_send_wr request = {
	    .wr_id = slot,
	    .sg_list = &buffer,
	    .num_sge = 1,
	    .opcode = IBV_WR_SEND,
	    .send_flags = IBV_SEND_SIGNALED,
	    .wr.ud = {c->peers[to].way, c->peers[to].address.greeter, c->q_key},
	};
	struct ibv_send_wr *refused;

	verbs_encode_greeting(greeting, bytes);
	if (ibv_post_send(c->greeter, &request, &refused))
		c->free_sends[c->free_count++] = slot;
	else
		c->posted++;
}

static void greet(struct verbs_connector *c, enum verbs_greeting_kind kind, unsigned lane, uint32_t peer,
		  int error)
{
	struct verbs_greeting greeting = {
	    .kind = kind,
	    .job_key = {c->config.job_key[0], c->config.job_key[1]},
	    .from = c->config.node,
	    .to = peer,
	    .lane = lane,
	    .end = c->makings[queue_index(c, lane, peer)].own,
	    .error = (uint32_t)-error,
	};

	send_greeting(c, peer, &greeting);
}

/* --- queue pairs --------------------------------------------------------------------------------------- */

/* A start that packets of an earlier connection with the same queue pair number do not match. */
static uint32_t random_packet_number(void)
{
	uint32_t number;

	if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
		number = (uint32_t)clock_ns();
	return number & PACKET_NUMBER_MASK;
}

/* Makes our end, if it is not made. @return 0 or -errno, reported. */
static int make_end(struct verbs_connector *c, unsigned lane, uint32_t peer)
{
	struct making *m = &c->makings[queue_index(c, lane, peer)];
	struct verbs_endpoint *endpoint = &c->endpoints[lane];
	int error = 0;

	if (m->pair)
		return 0;
	if (!endpoint->completions) {
		error = verbs_endpoint_open(c->config.device, c->config.domain, endpoint);
		/* Seen by the lane with the first queue pair that is ready. */
		c->config.lane[lane].completions = endpoint->completions;
	}
	if (!error)
		error = verbs_pair_create(c->config.device, endpoint, &m->pair, &m->inline_bytes);
	if (!error)
		m->own = (struct verbs_end){m->pair->qp_num, random_packet_number()};
	return error;
}

/* Connects our end to @theirs, if it is not connected. @return 0; -EPROTO: it is, to another; or -errno,
 * reported. */
static int connect_end(struct verbs_connector *c, unsigned lane, uint32_t peer,
		       const struct verbs_end *theirs)
{
	struct making *m = &c->makings[queue_index(c, lane, peer)];

	if (m->connected)
		return memcmp(&m->theirs, theirs, sizeof *theirs) ? -EPROTO : 0;

	int error = verbs_pair_connect(c->config.device, m->pair, m->own.packet, (int)peer,
				       &c->peers[peer].address, theirs, c->config.timeout_ns);

	if (!error) {
		m->theirs = *theirs;
		m->connected = true;
	}
	return error;
}

/* The lane waits no more. */
static void conclude(struct verbs_connector *c, unsigned lane, uint32_t peer, enum verbs_queue_state state)
{
	struct making *m = &c->makings[queue_index(c, lane, peer)];
	struct verbs_queue *queue = &c->config.queue[queue_index(c, lane, peer)];

	m->waited_for = false;
	c->waited_for--;
	queue->pair = m->pair;
	queue->inline_bytes = m->inline_bytes;
	/* Release: pairs with the lane's acquire in queue_check(). */
	atomic_store_explicit(&queue->state, state, memory_order_release);
}

/* --- asking -------------------------------------------------------------------------------------------- */

/* A lane asks for the first time. */
static void begin(struct verbs_connector *c, unsigned lane, uint32_t peer)
{
	struct making *m = &c->makings[queue_index(c, lane, peer)];
	uint64_t now_ns = clock_ns();

	m->waited_for = true;
	c->waited_for++;
	m->end_ns = now_ns + c->config.timeout_ns / 2; /* as long as a device asks a peer that is silent */
	m->repeat_after_ns = REPEAT_FIRST_NS;
	m->repeat_ns = now_ns + m->repeat_after_ns;

	int error = atomic_load_explicit(&c->peers[peer].known, memory_order_acquire)
			? make_end(c, lane, peer)
			: -EINVAL;
	if (!error && peer == c->config.node) /* to ourselves: both ends are one */
		error = connect_end(c, lane, peer, &m->own);
	if (error || peer == c->config.node)
		conclude(c, lane, peer, error ? QUEUE_FAILED : QUEUE_READY);
	else
		greet(c, VERBS_ASK, lane, peer, 0);
}

static void take_asked(struct verbs_connector *c)
{
	for (size_t word = 0; word < c->asked_words; word++) {
		/* Acquire: after the lane's release in verbs_connector_ask(). */
		uint64_t bits = atomic_exchange_explicit(&c->asked[word], 0, memory_order_acquire);

		for (; bits; bits &= bits - 1) {
			size_t index = word * 64 + (size_t)__builtin_ctzll(bits);

			begin(c, (unsigned)(index / c->config.nodes), (uint32_t)(index % c->config.nodes));
		}
	}
}

/* Asks again where no answer has come, and gives up where none will. */
static void repeat_asked(struct verbs_connector *c)
{
	uint64_t now_ns = clock_ns();
	size_t count = c->config.lanes * (size_t)c->config.nodes;

	for (size_t i = 0; i < count && c->waited_for; i++) {
		struct making *m = &c->makings[i];
		unsigned lane = (unsigned)(i / c->config.nodes);
		uint32_t peer = (uint32_t)(i % c->config.nodes);

		if (!m->waited_for || now_ns < m->repeat_ns)
			continue;
		if (now_ns >= m->end_ns) {
			report("node %u does not answer the request for a queue pair within %g s (half of "
			       "MINORCA_TIMEOUT); see whether its process ended, and whether the network "
			       "between the two is up",
			       peer, (double)c->config.timeout_ns / 2e9);
			atomic_store_explicit(&c->config.lane[lane].common->peers[peer].lost, true,
					      memory_order_relaxed);
			conclude(c, lane, peer, QUEUE_REFUSED);
			continue;
		}
		greet(c, VERBS_ASK, lane, peer, 0);
		m->repeat_after_ns =
		    m->repeat_after_ns * 2 < REPEAT_MOST_NS ? m->repeat_after_ns * 2 : REPEAT_MOST_NS;
		m->repeat_ns = now_ns + m->repeat_after_ns;
	}
}

/* When to look again, for poll(). */
static int milliseconds_to_wait(const struct verbs_connector *c)
{
	return c->waited_for ? (int)(REPEAT_FIRST_NS / 1000000) : -1;
}

/* --- being asked --------------------------------------------------------------------------------------- */

static void on_ask(struct verbs_connector *c, const struct verbs_greeting *g)
{
	int error = make_end(c, g->lane, g->from);

	if (!error)
		error = connect_end(c, g->lane, g->from, &g->end);
	greet(c, error ? VERBS_REFUSE : VERBS_ANSWER, g->lane, g->from, error);
}

static void on_answer(struct verbs_connector *c, const struct verbs_greeting *g)
{
	const struct making *m = &c->makings[queue_index(c, g->lane, g->from)];

	if (!m->waited_for || !m->pair)
		return; /* a second answer */

	int error = connect_end(c, g->lane, g->from, &g->end);

	conclude(c, g->lane, g->from, error ? QUEUE_REFUSED : QUEUE_READY);
}

static void on_refusal(struct verbs_connector *c, const struct verbs_greeting *g)
{
	if (!c->makings[queue_index(c, g->lane, g->from)].waited_for)
		return;
	report("node %u cannot make a queue pair for this node: %s; it says more", g->from,
	       strerror((int)g->error));
	conclude(c, g->lane, g->from, QUEUE_REFUSED);
}

/* Whether a greeting is of this job and makes sense. Strangers get no answer. */
static bool is_ours(struct verbs_connector *c, const struct verbs_greeting *g)
{
	const uint64_t *key = c->config.job_key;
	bool ours = g->job_key[0] == key[0] && g->job_key[1] == key[1] && g->to == c->config.node &&
		    g->from < c->config.nodes && g->from != c->config.node && g->lane < c->config.lanes;

	if (!ours && !c->told_of_strangers) {
		c->told_of_strangers = true;
		report("somebody who is not of this job asked for a queue pair, and was ignored");
	}
	return ours && atomic_load_explicit(&c->peers[g->from].known, memory_order_acquire);
}

static void on_datagram(struct verbs_connector *c, const unsigned char *bytes, size_t length)
{
	struct verbs_greeting g;

	if (length < HEADER_BYTES || verbs_decode_greeting(bytes + HEADER_BYTES, length - HEADER_BYTES, &g) ||
	    !is_ours(c, &g))
		return;
	if (g.kind == VERBS_ASK)
		on_ask(c, &g);
	else if (g.kind == VERBS_ANSWER)
		on_answer(c, &g);
	else
		on_refusal(c, &g);
}

static void take_datagrams(struct verbs_connector *c)
{
	struct ibv_wc completion;

	while (ibv_poll_cq(c->completions, 1, &completion) > 0) {
		unsigned slot = (unsigned)completion.wr_id;

		c->posted--;
		if (completion.status != IBV_WC_SUCCESS && !c->greeter_ended)
			end_greeter(c);
		if (slot >= RECEIVES) {
			c->free_sends[c->free_count++] = slot;
			continue;
		}
		if (completion.status == IBV_WC_SUCCESS)
			on_datagram(c, c->slots + slot * SLOT_BYTES, completion.byte_len);
		if (!c->greeter_ended)
			post_receive(c, slot);
	}
	if (c->greeter_ended && !c->posted)
		revive_greeter(c);
}

/* --- what the device says by itself -------------------------------------------------------------------- */

static void break_lane(struct verbs_connector *c, const struct ibv_cq *completions)
{
	for (unsigned lane = 0; lane < c->config.lanes; lane++)
		if (!completions || c->endpoints[lane].completions == completions)
			atomic_store_explicit(&c->config.lane[lane].broken, true, memory_order_relaxed);
}

static void on_event(struct verbs_connector *c, const struct ibv_async_event *event)
{
	const char *device = c->config.device->name;
	bool own_port = event->element.port_num == c->config.device->port;

	switch (event->event_type) {
	case IBV_EVENT_CQ_ERR:
		break_lane(c, event->element.cq);
		break;
	case IBV_EVENT_DEVICE_FATAL:
		report("RDMA device %s has failed; all that waits for it ends with an error", device);
		break_lane(c, NULL);
		break;
	case IBV_EVENT_PORT_ERR:
		if (own_port && !c->link_is_down)
			report("the link of port %d of RDMA device %s is down; requests are tried again for "
			       "half of MINORCA_TIMEOUT (%g s)",
			       c->config.device->port, device, (double)c->config.timeout_ns / 2e9);
		c->link_is_down |= own_port;
		break;
	case IBV_EVENT_PORT_ACTIVE:
		if (own_port && c->link_is_down)
			report("the link of port %d of RDMA device %s is up again", c->config.device->port,
			       device);
		c->link_is_down &= !own_port;
		break;
	default:
		break; /* a queue pair's own failure shows in its completions */
	}
}

static void take_events(struct verbs_connector *c)
{
	struct ibv_async_event event;

	while (ibv_get_async_event(c->config.device->context, &event) == 0) {
		on_event(c, &event);
		ibv_ack_async_event(&event);
	}
}

/* --- the thread ---------------------------------------------------------------------------------------- */

/* Asks to be woken by the next datagram. Those that came before are found by the look that follows. */
static void rearm(struct verbs_connector *c)
{
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(c->channel, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
	ibv_req_notify_cq(c->completions, 0);
}

static void *run(void *argument)
{
	struct verbs_connector *c = argument;
	struct pollfd fds[] = {
	    {.fd = c->event, .events = POLLIN},
	    {.fd = c->channel->fd, .events = POLLIN},
	    {.fd = c->config.device->context->async_fd, .events = POLLIN},
	};
	uint64_t count;

	while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
		poll(fds, sizeof fds / sizeof *fds, milliseconds_to_wait(c));
		if (fds[0].revents && read(c->event, &count, sizeof count) < 0)
			continue; /* another look */
		if (fds[1].revents)
			rearm(c);
		take_asked(c);
		take_datagrams(c);
		if (fds[2].revents)
			take_events(c);
		/* Of a device that was taken away: poll() would tell of it for ever. */
		for (unsigned i = 1; i < sizeof fds / sizeof *fds; i++)
			if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
				fds[i].fd = -1;
		repeat_asked(c);
	}
	return NULL;
}

void verbs_connector_ask(void *connector, unsigned lane, uint32_t peer)
{
	struct verbs_connector *c = connector;
	size_t index = queue_index(c, lane, peer);
	int saved_errno = errno;

	/* Release: the state that the lane wrote comes before. The event after the bit: whoever is woken
	 * finds it. */
	atomic_fetch_or_explicit(&c->asked[index / 64], (uint64_t)1 << index % 64, memory_order_release);
	/* By a bare system call: write() is a cancellation point, and the caller has a lane. */
	if (syscall(SYS_write, c->event, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		errno = saved_errno; /* it is full: the thread is about to look */
}

/* --- opening and closing ------------------------------------------------------------------------------- */

static int allocate(struct verbs_connector *c)
{
	size_t nodes = c->config.nodes, queues = c->config.lanes * nodes;

	c->asked_words = (queues + 63) / 64;
	c->peers = calloc(nodes, sizeof *c->peers);
	c->endpoints = calloc(c->config.lanes, sizeof *c->endpoints);
	c->makings = calloc(queues, sizeof *c->makings);
	c->asked = calloc(c->asked_words, sizeof *c->asked);
	c->slots = aligned_alloc(4096, (RECEIVES + SENDS) * SLOT_BYTES);
	return c->peers && c->endpoints && c->makings && c->asked && c->slots ? 0 : -ENOMEM;
}

/* The queue pair for datagrams, ready. */
static int open_greeter(struct verbs_connector *c)
{
	struct ibv_qp_init_attr attr = {
	    .cap = {.max_send_wr = SENDS, .max_recv_wr = RECEIVES, .max_send_sge = 1, .max_recv_sge = 1},
	    .qp_type = IBV_QPT_UD,
	};
	int error;

	c->channel = ibv_create_comp_channel(c->config.device->context);
	if (!c->channel)
		return -errno;
	c->completions =
	    ibv_create_cq(c->config.device->context, (int)(RECEIVES + SENDS), NULL, c->channel, 0);
	if (!c->completions)
		return -errno;
	c->slots_region =
	    ibv_reg_mr(c->config.domain, c->slots, (RECEIVES + SENDS) * SLOT_BYTES, IBV_ACCESS_LOCAL_WRITE);
	if (!c->slots_region)
		return -errno;
	attr.send_cq = attr.recv_cq = c->completions;
	c->greeter = ibv_create_qp(c->config.domain, &attr);
	if (!c->greeter)
		return -errno;

	error = make_greeter_ready(c);
	while (c->free_count < SENDS) {
		c->free_sends[c->free_count] = RECEIVES + c->free_count;
		c->free_count++;
	}
	return error ? error : -ibv_req_notify_cq(c->completions, 0);
}

/* Nothing that the thread reads may make it wait. */
static int open_wake_up(struct verbs_connector *c)
{
	int fds[] = {c->channel->fd, c->config.device->context->async_fd};

	for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++) {
		int flags = fcntl(fds[i], F_GETFL);

		if (flags < 0 || fcntl(fds[i], F_SETFL, flags | O_NONBLOCK))
			return -errno;
	}
	c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return c->event < 0 ? -errno : 0;
}

static int start_thread(struct verbs_connector *c)
{
	sigset_t all, saved;

	sigfillset(&all); /* signals are for the application's threads */
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	int error = -pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	c->started = !error;
	return error;
}

int verbs_connector_open(const struct verbs_connector_config *config, struct verbs_connector **out,
			 uint32_t *greeter)
{
	struct verbs_connector *c = calloc(1, sizeof *c);
	int error = c ? 0 : -ENOMEM;

	if (c) {
		c->config = *config;
		c->event = -1;
		c->q_key = (uint32_t)(config->job_key[0] ^ config->job_key[1] >> 32) & Q_KEY_MASK;
		error = allocate(c);
		if (!error)
			error = open_greeter(c);
		if (!error)
			error = open_wake_up(c);
		if (!error)
			error = start_thread(c);
	}
	if (error) {
		report("cannot make what connects lanes on RDMA device %s: %s", config->device->name,
		       strerror(-error));
		verbs_connector_close(c);
		return error;
	}
	*greeter = c->greeter->qp_num;
	*out = c;
	return 0;
}

int verbs_connector_add(struct verbs_connector *c, uint32_t peer, const struct verbs_address *address)
{
	struct ibv_ah_attr way = verbs_way_to(c->config.device, address);
	int error = verbs_check_peer(c->config.device, (int)peer, address);

	if (error)
		return error;
	c->peers[peer].address = *address;
	/* The kernel resolves the peer's Ethernet address here: that is what usually fails. */
	c->peers[peer].way = ibv_create_ah(c->config.domain, &way);
	if (!c->peers[peer].way) {
		error = errno;
		verbs_report_no_way(c->config.device, (int)peer, error);
		return -error;
	}
	atomic_store_explicit(&c->peers[peer].known, true, memory_order_release);
	return 0;
}

static void stop_thread(struct verbs_connector *c)
{
	atomic_store_explicit(&c->stop, true, memory_order_relaxed);
	if (write(c->event, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		abort(); /* an eventfd of ours that is not full takes it */
	pthread_join(c->thread, NULL);
}

void verbs_connector_close(struct verbs_connector *c)
{
	if (!c)
		return;
	if (c->started)
		stop_thread(c);
	for (size_t i = 0; c->makings && i < c->config.lanes * (size_t)c->config.nodes; i++)
		if (c->makings[i].pair)
			ibv_destroy_qp(c->makings[i].pair);
	for (unsigned lane = 0; c->endpoints && lane < c->config.lanes; lane++)
		verbs_endpoint_close(&c->endpoints[lane], c->config.domain);
	for (uint32_t peer = 0; c->peers && peer < c->config.nodes; peer++)
		if (c->peers[peer].way)
			ibv_destroy_ah(c->peers[peer].way);
	if (c->greeter)
		ibv_destroy_qp(c->greeter);
	if (c->slots_region)
		ibv_dereg_mr(c->slots_region);
	if (c->completions)
		ibv_destroy_cq(c->completions);
	if (c->channel)
		ibv_destroy_comp_channel(c->channel);
	if (c->event >= 0)
		close(c->event);
	free(c->slots);
	free(c->asked);
	free(c->makings);
	free(c->endpoints);
	free(c->peers);
	free(c);
}
