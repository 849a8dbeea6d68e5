/*
 * A node dies, and the others wait for it:
 * `lost_peer WHERE [--dead=NODE] [--die=HOW] [--after=FILE] [--within=SECONDS]`.
 * Run with three nodes or more, by a launcher that lets survivors go on (mpirun.sh
 * --survive). WHERE is what they wait in; see `cases` below. HOW: "kill" (SIGKILL), "stop" (SIGSTOP: alive,
 * and silent), or "outside": it says that it is ready, and somebody else sees to it: before FILE exists, for
 * those that do not wait before.
 *
 * Each survivor checks that its call ends with -EHOSTDOWN (with "stop", -ETIMEDOUT) within SECONDS (half of
 * MINORCA_TIMEOUT; all of it suits verbs, where the fabric tries again for half of it), that so do those that
 * follow it, and that it can end. It prints "survivor N: ok". The launcher's exit status says nothing: one
 * process was killed.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <minorca.h>

#include "dsm/runtime.h"

#define PAGE 4096

/* One page each; their home is a survivor. */
struct shared {
	_Alignas(PAGE) dsm_mutex mutex;
	_Alignas(PAGE) dsm_rwlock rwlock;
	_Alignas(PAGE) dsm_event set_up, ready, never;
	_Alignas(PAGE) dsm_cond cond;
};

static struct shared *s;
static volatile unsigned char *theirs; /* pages whose home is the node that dies */
static dsm_region *shared_region, *their_region;
static int node, dead = 1, other, failures, expected;
static const char *how = "kill", *after;
static double within;
static bool memory_survives;

/* --- checks -----------------------------------------------------------------------------------------------
 */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(bool ok, const char *what, int got, double seconds)
{
	if (ok)
		return;
	failures++;
	fprintf(stderr, "# node %d: %s: returned %d (%s) after %.2f s\n", node, what, got,
		got < 0 ? strerror(-got) : "", seconds);
}

/* The call ends with @error, and in time. */
#define EXPECT(error, call)                                                   \
	do {                                                                  \
		double began_ = now();                                        \
		int got_ = (call);                                            \
		double took_ = now() - began_;                                \
		check(got_ == (error) && took_ < within, #call, got_, took_); \
	} while (0)

/* Where memory outlives its process, the call ends well; otherwise as others do. */
#define EXPECT_BY_MEMORY(call) EXPECT(memory_survives ? 0 : expected, call)

/* --- dying ------------------------------------------------------------------------------------------------
 */

static _Noreturn void die(void)
{
	if (!strcmp(how, "outside")) {
		printf("node %d: ready to die, process %d\n", node, (int)getpid());
		fflush(stdout);
		for (;;)
			pause();
	}
	if (!strcmp(how, "stop")) {
		/* The launcher waits for all of its processes. */
		pid_t parent = getpid();
		if (!fork()) {
			sleep((unsigned)(6 * within) + 2); /* longer than the others take */
			kill(parent, SIGKILL);
			_exit(0);
		}
		raise(SIGSTOP);
	}
	raise(SIGKILL);
	abort();
}

/* The survivors go on from here when the node is as good as dead. */
static _Noreturn void announce_and_die(void)
{
	if (dsm_event_advance(&s->ready, 1))
		fprintf(stderr, "# node %d: cannot say that it is ready\n", node);
	die();
}

static void wait_until_ready(void)
{
	int error = dsm_event_await(&s->ready, 1);

	check(!error, "waiting for the others", error, 0);
	while (after && access(after, F_OK))
		usleep(10000);
	/* Over verbs a process can be read from until the kernel has taken it apart. */
	if (!after && (!memory_survives || !strcmp(how, "outside")))
		sleep(2);
}

/* --- where they wait --------------------------------------------------------------------------------------
 */

static void barrier(void)
{
	if (node == dead)
		announce_and_die();
	EXPECT(expected, dsm_barrier());
	EXPECT(expected, dsm_barrier());
}

static void reduce(void)
{
	int64_t one = 1, sum = -1;

	if (node == dead)
		announce_and_die();
	EXPECT(expected, dsm_reduce(&one, &sum, 1, DSM_INT64, DSM_SUM));
	check(sum == -1, "the sum", (int)sum, 0);
}

static void broadcast(void)
{
	int value = node;

	if (node == dead)
		announce_and_die();
	EXPECT(expected, dsm_broadcast(&value, sizeof value, dead));
	check(value == node, "the value", value, 0);
}

static void lock_held(void)
{
	if (node == dead) {
		dsm_lock(&s->mutex);
		announce_and_die();
	}
	wait_until_ready();
	EXPECT(expected, dsm_lock(&s->mutex));
	EXPECT(expected, dsm_lock(&s->mutex));
	EXPECT(-EBUSY, dsm_trylock(&s->mutex));
}

static void *lock_and_stay(void *unused)
{
	(void)unused;
	dsm_lock(&s->mutex);
	return NULL;
}

/* The node that dies is in the queue between two that live. */
static void lock_queued(void)
{
	pthread_t thread;

	if (node == other)
		EXPECT(0, dsm_lock(&s->mutex));
	if (dsm_barrier())
		failures++;
	if (node == dead) {
		pthread_create(&thread, NULL, lock_and_stay, NULL);
		usleep(50000); /* it spins, and then sleeps; not so long that it asks */
		announce_and_die();
	}
	wait_until_ready();
	if (node == other) {
		usleep(200000);
		int error = dsm_unlock(&s->mutex);
		check(!error || error == expected, "dsm_unlock()", error, 0);
	} else {
		EXPECT(expected, dsm_lock(&s->mutex));
		EXPECT(expected, dsm_lock(&s->mutex));
	}
}

static void read_held(void)
{
	if (node == dead) {
		dsm_read_lock(&s->rwlock);
		announce_and_die();
	}
	wait_until_ready();
	if (node == other) {
		EXPECT(expected, dsm_write_lock(&s->rwlock));
	} else {
		EXPECT_BY_MEMORY(dsm_read_lock(&s->rwlock));
		if (memory_survives)
			EXPECT(0, dsm_read_unlock(&s->rwlock));
	}
}

static void write_held(void)
{
	if (node == dead) {
		dsm_write_lock(&s->rwlock);
		announce_and_die();
	}
	wait_until_ready();
	if (node == other)
		EXPECT(expected, dsm_write_lock(&s->rwlock));
	else
		EXPECT(expected, dsm_read_lock(&s->rwlock));
	EXPECT(-EBUSY, dsm_try_read_lock(&s->rwlock));
}

static void event(void)
{
	if (node == dead)
		announce_and_die();
	EXPECT(expected, dsm_event_await(&s->never, 1));
}

static void cond(void)
{
	if (node == dead) {
		usleep(300000);
		announce_and_die();
	}
	EXPECT(0, dsm_lock(&s->mutex));
	EXPECT(expected, dsm_cond_wait(&s->cond, &s->mutex));
}

static void publish(void)
{
	if (node == dead)
		announce_and_die();
	theirs[PAGE + 64 * node] = 5; /* fetched while it lives */
	wait_until_ready();
	EXPECT_BY_MEMORY(dsm_release());
	EXPECT_BY_MEMORY(dsm_release());
	EXPECT_BY_MEMORY(dsm_acquire());
	EXPECT_BY_MEMORY(dsm_invalidate((const void *)theirs, 2 * PAGE));
}

static sigjmp_buf escape;
static volatile sig_atomic_t expects_sigbus;

static void on_sigbus(int signal)
{
	(void)signal;
	if (!expects_sigbus)
		_exit(97);
	siglongjmp(escape, 1);
}

/* -EHOSTDOWN, or 0 and the byte. */
static int load(const volatile unsigned char *at, unsigned char *byte)
{
	int error = -EHOSTDOWN;

	expects_sigbus = 1;
	if (!sigsetjmp(escape, 1)) {
		*byte = *at;
		error = 0;
	}
	expects_sigbus = 0;
	return error;
}

static void fault(void)
{
	unsigned char byte = 0;

	if (node == dead)
		announce_and_die();
	wait_until_ready();
	EXPECT(memory_survives ? 0 : -EHOSTDOWN, load(theirs, &byte));
	check(!memory_survives || byte == 3, "the byte", byte, 0);
	EXPECT(memory_survives ? 0 : -EHOSTDOWN, load(theirs, &byte));
	EXPECT(memory_survives ? 0 : -EHOSTDOWN, load(theirs + 2 * PAGE, &byte));
	EXPECT_BY_MEMORY(dsm_prefetch((const void *)(theirs + 2 * PAGE), PAGE, false));
}

static void heap(void)
{
	void *memory = NULL;

	if (node == dead)
		announce_and_die();
	wait_until_ready();
	EXPECT_BY_MEMORY(dsm_malloc(100, dead, &memory));
	if (memory)
		EXPECT(0, dsm_free(memory));
	memory = NULL;
	EXPECT(0, dsm_malloc(100, DSM_HERE, &memory));
	if (memory)
		EXPECT(0, dsm_free(memory));
}

static void atomics(void)
{
	if (node == dead)
		announce_and_die();
	wait_until_ready();
	EXPECT_BY_MEMORY(
	    dsm_atomic_fetch_add((uint64_t *)(uintptr_t)(theirs + 3 * PAGE), 1, NULL, DSM_RELAXED));
	EXPECT(0, dsm_atomic_fetch_add(&s->never.opaque[1], 1, NULL, DSM_RELAXED));
}

static void create(void)
{
	dsm_region *r = NULL;

	if (node == dead)
		announce_and_die();
	EXPECT(expected, dsm_region_create("another", PAGE, NULL, &r));
}

static void finalize(void)
{
	if (node == dead)
		announce_and_die();
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    {"barrier", barrier},
    {"reduce", reduce},
    {"broadcast", broadcast},
    {"lock-held", lock_held},
    {"lock-queued", lock_queued},
    {"read-held", read_held},
    {"write-held", write_held},
    {"event", event},
    {"cond", cond},
    {"publish", publish},
    {"fault", fault},
    {"heap", heap},
    {"atomics", atomics},
    {"create", create},
    {"finalize", finalize},
};

/* --- the job ----------------------------------------------------------------------------------------------
 */

static void set_up(void)
{
	struct dsm_region_options options = {.page_size_bytes = PAGE, .home = DSM_HOME_NODE};

	node = dsm_node();
	other = dead ? 0 : 1;
	options.home_node = other;
	int error = dsm_region_create("subject", sizeof *s, &options, &shared_region);
	options.home_node = dead;
	if (!error)
		error = dsm_region_create("theirs", 4 * PAGE, &options, &their_region);
	if (error)
		exit(1);
	s = dsm_region_base(shared_region);
	theirs = dsm_region_base(their_region);
	if (node == dead)
		memset((void *)(uintptr_t)theirs, 3, 3 * PAGE);
	/* The barrier ends with a look at what the others logged; who dies waits for them to have looked. */
	if (dsm_barrier())
		exit(1);
	int awaited = node == dead ? dsm_event_await(&s->set_up, (uint64_t)dsm_nodes() - 1)
				   : dsm_event_advance(&s->set_up, 1);
	check(!awaited, "setting up", awaited, 0);
}

/* What is left can end. */
static void end(void)
{
	/* Node 0 hears from all. Without it, who is first finds out, and the others find it gone. */
	EXPECT(expected, dsm_region_destroy(shared_region));
	EXPECT(expected, dsm_finalize());
	printf("survivor %d: %s\n", node, failures ? "not ok" : "ok");
	fflush(stdout);
}

static void parse(int argc, char **argv)
{
	const char *timeout = getenv("MINORCA_TIMEOUT");

	double timeout_s = timeout ? atof(timeout) : 10;

	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "--dead=", 7))
			dead = atoi(argv[i] + 7);
		else if (!strncmp(argv[i], "--die=", 6))
			how = argv[i] + 6;
		else if (!strncmp(argv[i], "--after=", 8))
			after = argv[i] + 8;
		else if (!strncmp(argv[i], "--within=", 9))
			within = atof(argv[i] + 9);
	}
	expected = strcmp(how, "stop") ? -EHOSTDOWN : -ETIMEDOUT;
	if (!within)
		within = timeout_s / 2;
	if (expected == -ETIMEDOUT)
		within = timeout_s * 1.2; /* and some */
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_sigbus};
	size_t i = 0, count = sizeof cases / sizeof cases[0];

	while (argc > 1 && i < count && strcmp(argv[1], cases[i].name) != 0)
		i++;
	if (argc < 2 || i == count) {
		fprintf(stderr,
			"usage: lost_peer WHERE [--dead=NODE] [--die=kill|stop|outside] [--within=S]\n");
		return 2;
	}
	parse(argc, argv);
	sigaction(SIGBUS, &action, NULL); /* before dsm_init(): the runtime hands on to it */
	if (dsm_init(NULL, NULL) || dsm_nodes() < 3)
		return 1;
	memory_survives = expected == -ETIMEDOUT || runtime.ops->memory_outlives_process;
	set_up();
	cases[i].run();
	end();
	return failures != 0;
}
