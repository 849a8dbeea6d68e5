/*
 * Litmus tests of the memory model (docs/memory-model.md).
 *
 * A test is a shape, which is what a few threads store and load, and what keeps its accesses from racing. It
 * is named by both ("MP+mutex") and says which outcome is never to be seen. The threads of a shape are its
 * *roles*. Each round has many *instances* of a test, each with variables of its own; the roles walk through
 * them in one random order, side by side, on nodes that are drawn anew for each round. So also two roles of a
 * node meet one of another.
 *
 * The tests are crossed with where the variables lie and how their memory is made. In half of the rounds
 * threads of no role disturb: they store beside the variables, release, acquire, prefetch and invalidate.
 *
 * A test that never races proves nothing. The outcomes are therefore counted and printed, and a test of which
 * the relevant outcome was never seen fails. Tests "+bare" have nothing that orders them: they show how often
 * the runtime gives what the others forbid, and have no verdict.
 */
#include "dsm/tests/nodes.h"

#include <mpi.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dsm/tests/litmus_shapes.h"
#include "dsm/tests/torture.h"
#include "kernel/memory.h"

#define INSTANCES 256u /* of a round, at most; a power of two */

/* --- where the variables are -----------------------------------------------------------------------------
 */

/* An instance has these places: its variables, a word of which each node's disturber has a byte, and flags.
 */
enum { PLACE_DISTURBED = VARIABLES, PLACE_FLAG, PLACES = PLACE_FLAG + FLAGS, PLACES_ALIGNED = 8 };

enum placement {
	ONE_WORD,   /* bytes of one word */
	NEIGHBOURS, /* words side by side */
	BLOCKS,	    /* blocks of one page of 2 MiB */
	PAGES,	    /* pages of one home */
	HOMES,	    /* pages of different homes */
};

static const char *const placement_names[] = {"one word", "one block", "blocks of a page",
					      "pages of one home", "pages of different homes"};

static const struct memory {
	size_t page_bytes;
	enum placement placement;
	enum dsm_delivery delivery;
} memories[] = {
    {4 * KIB, ONE_WORD, DSM_DELIVERY_INLINE},	 {4 * KIB, NEIGHBOURS, DSM_DELIVERY_INLINE},
    {4 * KIB, PAGES, DSM_DELIVERY_INLINE},	 {4 * KIB, HOMES, DSM_DELIVERY_INLINE},
    {4 * KIB, HOMES, DSM_DELIVERY_THREAD_SPIN},	 {2 * MIB, ONE_WORD, DSM_DELIVERY_INLINE},
    {2 * MIB, BLOCKS, DSM_DELIVERY_INLINE},	 {2 * MIB, HOMES, DSM_DELIVERY_INLINE},
    {2 * MIB, BLOCKS, DSM_DELIVERY_THREAD_SPIN},
};

#define MEMORIES (sizeof memories / sizeof memories[0])

/* What an instance needs to be ordered; in a region of its own, around all homes. */
struct objects {
	dsm_mutex mutex[VARIABLES];
	dsm_rwlock rwlock[FLAGS];
	dsm_event event[FLAGS];
};

static struct torture_options options;
static int node, nodes;
static const struct memory *memory;
static unsigned char *base;
static struct objects *objects;

/* Of a round: fewer where an access may cost the copy of a large page. A power of two. */
static unsigned instances(void)
{
	return memory->page_bytes > 4 * KIB ? INSTANCES / 4 : INSTANCES;
}

static size_t stride(void)
{
	switch (memory->placement) {
	case ONE_WORD:
		return 32;
	case NEIGHBOURS:
		return PLACES_ALIGNED * sizeof(uint64_t);
	default:
		return sizeof(uint64_t);
	}
}

/* How far the places of an instance are apart; 0: together. */
static size_t distance(void)
{
	switch (memory->placement) {
	case ONE_WORD:
	case NEIGHBOURS:
		return 0;
	case BLOCKS:
		return memory->page_bytes / PLACES_ALIGNED;
	default:
		return memory->page_bytes;
	}
}

static void *place(unsigned instance, unsigned number)
{
	size_t apart = distance();

	if (memory->placement == ONE_WORD) {
		unsigned char *word = base + instance * stride();
		return number < VARIABLES	   ? word + number
		       : number == PLACE_DISTURBED ? word + 4
						   : word + (number - PLACE_FLAG + 1) * sizeof(uint64_t);
	}
	if (!apart)
		return base + instance * stride() + number * sizeof(uint64_t);
	size_t in_a_group = apart / stride();
	in_a_group = in_a_group < INSTANCES ? in_a_group : INSTANCES;
	return base + (instance / in_a_group * PLACES_ALIGNED + number) * apart +
	       instance % in_a_group * stride();
}

static size_t memory_bytes(void)
{
	size_t in_a_group = distance() / stride();

	if (!distance())
		return INSTANCES * stride();
	return (INSTANCES + in_a_group - 1) / in_a_group * PLACES_ALIGNED * distance();
}

static volatile unsigned char *variable(unsigned instance, unsigned number)
{
	return place(instance, number);
}

static uint64_t *word(unsigned instance, unsigned number)
{
	return place(instance, number);
}

/* --- what the nodes share beside the runtime -------------------------------------------------------------
 */

/* Where the roles are, that they may walk side by side; and flags of FLAG_MESSAGE. It orders nothing that the
 * runtime could know of. */
static struct beside {
	struct {
		_Atomic uint64_t at; /* round << 32 | instances done */
		uint64_t padding[7]; /* a line apart; MPI aligns the window to less than a line */
	} role[ROLES_MAX];
	_Atomic uint64_t message[FLAGS][INSTANCES]; /* the last round in which it was sent */
} * beside;

/* --- a round ---------------------------------------------------------------------------------------------
 */

/* Of this round; constant while roles are under way. */
static struct {
	const struct test *test;
	uint64_t number;
	unsigned factor, offset; /* of the permutation of instances */
	unsigned stage;		 /* BARRIERS: the one that is under way; else all are */
	int node_of[ROLES_MAX];
	unsigned roles;
} current;

static struct outcome outcomes[INSTANCES];

/* Values in words of atomics grow from round to round, so that nobody has to set them to zero. */
static uint64_t atomic_base(void)
{
	return current.number * 4;
}

static enum dsm_order any_order(struct dice *dice)
{
	return (enum dsm_order)dice_throw(dice, DSM_ACQ_REL + 1);
}

static void atomic_put(struct dice *dice, uint64_t *at, uint64_t value, enum dsm_order order)
{
	uint64_t old = 0, found;

	switch (dice_throw(dice, 3)) {
	case 0:
		CHECK_EQUAL(dsm_atomic_store(at, value, order), 0);
		break;
	case 1:
		CHECK_EQUAL(dsm_atomic_swap(at, value, NULL, order), 0);
		break;
	default:
		for (found = old + 1; found != old;) {
			CHECK_EQUAL(dsm_atomic_load(at, &old, DSM_RELAXED), 0);
			CHECK_EQUAL(dsm_atomic_compare_swap(at, old, value, &found, order), 0);
		}
	}
}

static void access_plain(unsigned instance, const struct op *op)
{
	if (op->action == STORE)
		*variable(instance, op->object) = op->number;
	else
		outcomes[instance].r[op->number] = *variable(instance, op->object);
}

static void access_atomic(struct dice *dice, unsigned instance, const struct op *op)
{
	uint64_t *at = word(instance, op->object), value = 0;

	if (op->action == STORE) {
		atomic_put(dice, at, atomic_base() + op->number, any_order(dice));
	} else {
		CHECK_EQUAL(dsm_atomic_load(at, &value, any_order(dice)), 0);
		outcomes[instance].r[op->number] =
		    value > atomic_base() ? (unsigned char)(value - atomic_base()) : 0;
	}
}

static void access_locked(unsigned instance, const struct op *op)
{
	struct objects *o = &objects[instance];

	if (current.test->order == RWLOCK) {
		bool store = op->action == STORE;
		CHECK_EQUAL(store ? dsm_write_lock(&o->rwlock[0]) : dsm_read_lock(&o->rwlock[0]), 0);
		access_plain(instance, op);
		CHECK_EQUAL(store ? dsm_write_unlock(&o->rwlock[0]) : dsm_read_unlock(&o->rwlock[0]), 0);
		return;
	}
	dsm_mutex *mutex = &o->mutex[current.test->order == MUTEXES ? op->object : 0];
	CHECK_EQUAL(dsm_lock(mutex), 0);
	access_plain(instance, op);
	CHECK_EQUAL(dsm_unlock(mutex), 0);
}

/* A flag under a lock is a variable of its own: a byte of the flag's word, which is plain then. */
static volatile unsigned char *plain_flag(unsigned instance, unsigned flag)
{
	return place(instance, PLACE_FLAG + flag);
}

static void set_flag(struct dice *dice, unsigned instance, unsigned flag)
{
	struct objects *o = &objects[instance];

	switch (current.test->order) {
	case FLAG_WORD:
		atomic_put(dice, word(instance, PLACE_FLAG + flag), current.number,
			   dice_throw(dice, 2) ? DSM_RELEASE : DSM_ACQ_REL);
		break;
	case FLAG_EVENT:
		CHECK_EQUAL(dsm_event_advance(&o->event[flag], 1), 0);
		break;
	case FLAG_MUTEX:
		CHECK_EQUAL(dsm_lock(&o->mutex[flag]), 0);
		*plain_flag(instance, flag) = 1;
		CHECK_EQUAL(dsm_unlock(&o->mutex[flag]), 0);
		break;
	case FLAG_RWLOCK:
		CHECK_EQUAL(dsm_write_lock(&o->rwlock[flag]), 0);
		*plain_flag(instance, flag) = 1;
		CHECK_EQUAL(dsm_write_unlock(&o->rwlock[flag]), 0);
		break;
	default:
		CHECK_EQUAL(dsm_release(), 0);
		torture_tell(&beside->message[flag][instance], current.number);
	}
}

/* How often each event of an instance was advanced in this memory: in each round once, or not at all. */
static uint64_t advanced[FLAGS];

static void note_advances(const struct test *test)
{
	for (unsigned role = 0; role < ROLES_MAX; role++)
		for (unsigned i = 0; i < OPS_MAX; i++) {
			const struct op *op = &test->shape->roles[role][i];
			if (op->action == SET && test->order == FLAG_EVENT)
				advanced[op->object]++;
		}
}

static bool look_at_flag(struct dice *dice, unsigned instance, unsigned flag)
{
	struct objects *o = &objects[instance];
	uint64_t value = 0;
	bool set;

	switch (current.test->order) {
	case FLAG_WORD:
		CHECK_EQUAL(dsm_atomic_load(word(instance, PLACE_FLAG + flag), &value,
					    dice_throw(dice, 2) ? DSM_ACQUIRE : DSM_ACQ_REL),
			    0);
		return value == current.number;
	case FLAG_EVENT: /* always waited for, for all of them to have one number afterwards */
		CHECK_EQUAL(dsm_event_await(&o->event[flag], advanced[flag] + 1), 0);
		return true;
	case FLAG_MUTEX:
		CHECK_EQUAL(dsm_lock(&o->mutex[flag]), 0);
		set = *plain_flag(instance, flag);
		CHECK_EQUAL(dsm_unlock(&o->mutex[flag]), 0);
		return set;
	case FLAG_RWLOCK:
		CHECK_EQUAL(dsm_read_lock(&o->rwlock[flag]), 0);
		set = *plain_flag(instance, flag);
		CHECK_EQUAL(dsm_read_unlock(&o->rwlock[flag]), 0);
		return set;
	default:
		set = atomic_load(&beside->message[flag][instance]) == current.number;
		CHECK_EQUAL(dsm_acquire(), 0);
		return set;
	}
}

static bool is_locked(enum order order)
{
	return order == MUTEX || order == MUTEXES || order == RWLOCK;
}

/* A few looks: an instance whose flag is never seen tells nothing. */
static bool see_flag(struct dice *dice, unsigned instance, unsigned flag)
{
	for (unsigned looks = dice_throw(dice, 16); looks; looks--)
		if (look_at_flag(dice, instance, flag))
			return true;
	return look_at_flag(dice, instance, flag);
}

static void run_instance(struct dice *dice, unsigned role, unsigned instance)
{
	const struct op *op = current.test->shape->roles[role];
	enum order order = current.test->order;

	for (const struct op *end = op + OPS_MAX; op < end && op->action; op++) {
		if (order == BARRIERS && op->stage != current.stage)
			continue;
		dice_hesitate(dice);
		if (op->action == SET) {
			set_flag(dice, instance, op->object);
		} else if (op->action == SEE) {
			if (!see_flag(dice, instance, op->object))
				return;
			outcomes[instance].r[op->number] = 1;
		} else if (order == ATOMICS) {
			access_atomic(dice, instance, op);
		} else if (is_locked(order)) {
			access_locked(instance, op);
		} else {
			access_plain(instance, op);
		}
	}
}

/* Lets the others catch up, within reason: there may be fewer cores than roles. */
static void walk_beside(unsigned role, unsigned done, unsigned slack)
{
	uint64_t now = current.number << 32;

	torture_tell(&beside->role[role].at, now | done);
	for (unsigned other = 0; other < current.roles; other++)
		for (unsigned turns = 0; turns < 420; turns++) {
			uint64_t at = atomic_load(&beside->role[other].at);
			if (at >= (now | done) || (at >= now && done - (unsigned)(at - now) <= slack))
				break;
			if (turns < 400)
				__builtin_ia32_pause();
			else
				usleep(10);
		}
}

static void run_role(unsigned role)
{
	struct dice dice = dice_of(options.seed, current.number, role + ROLES_MAX * current.stage);
	unsigned slack = dice_throw(&dice, 3);

	for (unsigned k = 0; k < instances(); k++) {
		walk_beside(role, k, slack);
		run_instance(&dice, role, (k * current.factor + current.offset) % instances());
	}
	torture_tell(&beside->role[role].at, current.number << 32 | UINT32_MAX);
}

/* --- disturbance -----------------------------------------------------------------------------------------
 */

static unsigned char disturbed[INSTANCES]; /* what this node's bytes must be */
static atomic_bool disturbing;

static volatile unsigned char *disturbed_byte(unsigned instance)
{
	return (volatile unsigned char *)place(instance, PLACE_DISTURBED) + node;
}

static void disturb(void)
{
	struct dice dice = dice_of(options.seed, current.number, 100 + (unsigned)node);

	while (atomic_load(&disturbing)) {
		unsigned instance = dice_throw(&dice, instances());
		void *somewhere = place(instance, dice_throw(&dice, PLACES));
		switch (dice_throw(&dice, 16)) {
		case 0:
			CHECK_EQUAL(dsm_release(), 0);
			break;
		case 1:
			CHECK_EQUAL(dsm_acquire(), 0);
			break;
		case 2:
			CHECK_EQUAL(dsm_prefetch(somewhere, 1, dice_throw(&dice, 2)), 0);
			break;
		case 3:
			CHECK_EQUAL(dsm_invalidate(somewhere, 1), 0);
			break;
		case 4:
			usleep(50); /* the roles need the cores too */
			break;
		default:
			CHECK_EQUAL(*disturbed_byte(instance), disturbed[instance]);
			*disturbed_byte(instance) = ++disturbed[instance];
		}
	}
}

/* --- threads ---------------------------------------------------------------------------------------------
 */

/* One for each role, and the disturber; each node has all of them. */
static struct worker {
	sem_t go, done;
	unsigned role; /* ROLES_MAX: disturbs */
} workers[ROLES_MAX + 1];

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (;;) {
		sem_wait(&worker->go);
		if (!current.test)
			return NULL;
		if (worker->role == ROLES_MAX)
			disturb();
		else
			run_role(worker->role);
		sem_post(&worker->done);
	}
}

static pthread_t threads[ROLES_MAX + 1];

static void start_workers(void)
{
	for (unsigned i = 0; i <= ROLES_MAX; i++) {
		workers[i].role = i;
		sem_init(&workers[i].go, 0, 0);
		sem_init(&workers[i].done, 0, 0);
		CHECK_EQUAL(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
}

static void end_workers(void)
{
	current.test = NULL;
	for (unsigned i = 0; i <= ROLES_MAX; i++) {
		sem_post(&workers[i].go);
		pthread_join(threads[i], NULL);
	}
}

static void await_worker(struct worker *worker)
{
	while (sem_wait(&worker->done))
		;
}

static void run_stage(unsigned stage)
{
	current.stage = stage;
	for (unsigned role = 0; role < current.roles; role++)
		if (current.node_of[role] == node)
			sem_post(&workers[role].go);
	for (unsigned role = 0; role < current.roles; role++)
		if (current.node_of[role] == node)
			await_worker(&workers[role]);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* --- verdicts --------------------------------------------------------------------------------------------
 */

/* Of one test in one memory. */
static struct tally {
	uint64_t rounds, instances, relevant, forbidden;
	uint64_t by_outcome[256]; /* 2 bits for each register */
} tally;

static void draw_round(const struct test *test, uint64_t number)
{
	struct dice dice = dice_of(options.seed, number, 1000);

	current.test = test;
	current.number = number;
	current.factor = dice_throw(&dice, instances()) | 1;
	current.offset = dice_throw(&dice, instances());
	for (current.roles = 0; current.roles < ROLES_MAX && test->shape->roles[current.roles][0].action;)
		current.roles++;
	/* The first two are never of one node. */
	for (unsigned role = 0; role < current.roles; role++)
		current.node_of[role] = (int)dice_throw(&dice, (size_t)nodes);
	if (nodes > 1 && current.node_of[0] == current.node_of[1])
		current.node_of[1] =
		    (current.node_of[0] + 1 + (int)dice_throw(&dice, (size_t)nodes - 1)) % nodes;
	bool disturbed_round = dice_throw(&dice, 2);
	/* Each node needs a byte in half a word. */
	atomic_store(&disturbing,
		     disturbed_round && nodes <= 4 && (int)dice_throw(&dice, (size_t)nodes) <= node);
}

/* By one node, another each time. Not the words of atomics. */
static void reset(void)
{
	if (current.number % (uint64_t)nodes == (uint64_t)node && current.test->order != ATOMICS)
		for (unsigned i = 0; i < instances(); i++) {
			for (unsigned v = 0; v < VARIABLES; v++)
				*variable(i, v) = 0;
			for (unsigned f = 0; f < FLAGS; f++)
				if (current.test->order == FLAG_MUTEX || current.test->order == FLAG_RWLOCK)
					*plain_flag(i, f) = 0;
		}
	memset(outcomes, 0, sizeof outcomes);
	CHECK_EQUAL(dsm_barrier(), 0);
}

/* What is in the variables after the barrier, for this node. */
static void note_last(void)
{
	for (unsigned i = 0; i < instances(); i++)
		for (unsigned v = 0; v < VARIABLES; v++) {
			uint64_t value = 0;
			if (current.test->order != ATOMICS) {
				outcomes[i].last[v] = *variable(i, v);
				continue;
			}
			CHECK_EQUAL(dsm_atomic_load(word(i, v), &value, DSM_RELAXED), 0);
			outcomes[i].last[v] =
			    value > atomic_base() ? (unsigned char)(value - atomic_base()) : 0;
		}
}

/* Without anything that orders them, nothing is forbidden, except where one thread stores all. */
static bool is_judged(const struct test *test)
{
	return test->order != BARE || !test->shape->roles[1][0].action;
}

static void report_forbidden(unsigned instance, const struct outcome *o)
{
	if (tally.forbidden++ > 3 || !is_judged(current.test))
		return;
	fprintf(
	    stderr,
	    "# node %d: %s, round %llu, instance %u, seed %llu: a=%u b=%u c=%u d=%u, at last x=%u y=%u z=%u; "
	    "roles on nodes %d %d %d %d\n",
	    node, current.test->name, (unsigned long long)current.number, instance,
	    (unsigned long long)options.seed, o->r[A], o->r[B], o->r[C], o->r[D], o->last[X], o->last[Y],
	    o->last[Z], current.node_of[0], current.node_of[1], current.node_of[2], current.node_of[3]);
}

static void judge(void)
{
	const struct shape *shape = current.test->shape;

	tally.rounds++;
	tally.instances += instances();
	for (unsigned i = 0; i < instances(); i++) {
		const struct outcome *o = &outcomes[i];
		unsigned code = 0;
		for (unsigned r = 0; r < REGISTERS; r++)
			code = code << 2 | (o->r[r] & 3);
		tally.by_outcome[code]++;
		tally.relevant += shape->relevant(o);
		if (shape->forbidden(o))
			report_forbidden(i, o);
	}
}

static void run_round(const struct test *test, uint64_t number)
{
	draw_round(test, number);
	reset();
	bool is_disturbed = atomic_load(&disturbing);
	if (is_disturbed)
		sem_post(&workers[ROLES_MAX].go);
	run_stage(0);
	for (unsigned stage = 1; stage < STAGES_MAX && test->order == BARRIERS; stage++)
		run_stage(stage);
	atomic_store(&disturbing, false);
	if (is_disturbed)
		await_worker(&workers[ROLES_MAX]);
	note_advances(test);
	/* Registers are zero but on the node of their role. */
	for (unsigned i = 0; i < instances(); i++)
		memset(outcomes[i].last, 0, sizeof outcomes[i].last);
	MPI_Allreduce(MPI_IN_PLACE, outcomes, sizeof outcomes, MPI_UNSIGNED_CHAR, MPI_MAX, MPI_COMM_WORLD);
	note_last();
	judge();
	CHECK_EQUAL(dsm_barrier(), 0); /* before the next one stores */
}

/* --- tests -----------------------------------------------------------------------------------------------
 */

static uint64_t round_number, instances_of_all;
static size_t left_out; /* tests that time did not suffice for */

static void print_outcomes(const struct test *test)
{
	printf("# %-22s %6llu rounds, %8llu instances, %3.0f %% relevant, %llu %s; abcd", test->name,
	       (unsigned long long)tally.rounds, (unsigned long long)tally.instances,
	       100. * (double)tally.relevant / (double)tally.instances, (unsigned long long)tally.forbidden,
	       is_judged(test) ? "forbidden" : "weak");
	for (unsigned code = 0; code < 256; code++)
		if (tally.by_outcome[code])
			printf(" %u%u%u%u:%llu", code >> 6, code >> 4 & 3, code >> 2 & 3, code & 3,
			       (unsigned long long)tally.by_outcome[code]);
	printf("\n");
	fflush(stdout);
}

static void run_test(const struct test *test, double seconds)
{
	double end = torture_now() + seconds;

	memset(&tally, 0, sizeof tally);
	do
		run_round(test, ++round_number);
	while (options.phases ? tally.rounds < options.phases : torture_goes_on(end));
	instances_of_all += tally.instances;
	if (!node)
		print_outcomes(test);
	if (!is_judged(test))
		return;
	CHECK_EQUAL(tally.forbidden, 0);
	/* What never met was not tested. A few rounds may do without. */
	CHECK(tally.relevant > 0 || tally.rounds < 20);
}

static bool is_possible(const struct test *test)
{
	/* Atomics take whole words. */
	return test->order != ATOMICS || memory->placement != ONE_WORD;
}

/* The words of atomics and plain ones are never the same: an atomic's memory is not accessed plainly again.
 */
static dsm_region *make_data(void)
{
	struct dsm_region_options how = {
	    .page_size_bytes = memory->page_bytes,
	    .home = memory->placement == HOMES ? DSM_HOME_CYCLIC : DSM_HOME_NODE,
	    .chunk_bytes = memory->placement == HOMES ? memory->page_bytes : 0,
	    .home_node = memory->placement == HOMES ? 0 : (int)(round_number % (uint64_t)nodes),
	    .delivery = memory->delivery,
	};
	dsm_region *r;

	if (!CHECK_EQUAL(dsm_region_create("litmus", memory_bytes(), &how, &r), 0))
		return NULL;
	base = dsm_region_base(r);
	memset(disturbed, 0, sizeof disturbed);
	return r;
}

static bool is_among(const struct test *test, enum order from, enum order to)
{
	return test->order >= from && test->order <= to && is_possible(test) &&
	       torture_wanted(&options, test->name);
}

/* Where a round takes longer than the time that a test has, not all tests fit. Which do is drawn by the seed.
 */
static void run_in_memory(double seconds, enum order from, enum order to)
{
	struct dice dice = dice_of(options.seed, (uint64_t)(memory - memories), from);
	size_t first = dice_throw(&dice, litmus_test_count), count = 0;

	for (size_t t = 0; t < litmus_test_count; t++)
		count += is_among(&litmus_tests[t], from, to);
	if (!count)
		return;
	dsm_region *data = make_data();
	double end = torture_now() + 2 * seconds * (double)count;
	for (size_t i = 0; data && i < litmus_test_count; i++) {
		const struct test *test = &litmus_tests[(first + i) % litmus_test_count];
		if (!is_among(test, from, to))
			continue;
		if (options.phases || torture_goes_on(end))
			run_test(test, seconds);
		else
			left_out++;
	}
	if (data)
		CHECK_EQUAL(dsm_region_destroy(data), 0);
}

static void run_memory(double seconds)
{
	struct dsm_region_options around = {
	    .home = DSM_HOME_CYCLIC, .chunk_bytes = 4096, .page_size_bytes = 4096};
	dsm_region *r;

	if (!CHECK_EQUAL(dsm_region_create("litmus-objects", INSTANCES * sizeof *objects, &around, &r), 0))
		return;
	objects = dsm_region_base(r);
	memset(advanced, 0, sizeof advanced);
	/* In three regions, by how the words of variables and flags are accessed. */
	run_in_memory(seconds, BARE, RWLOCK);
	run_in_memory(seconds, ATOMICS, ATOMICS);
	run_in_memory(seconds, BARRIERS, FLAG_EVENT);
	run_in_memory(seconds, FLAG_MUTEX, FLAG_MESSAGE);
	CHECK_EQUAL(dsm_region_destroy(r), 0);
}

static size_t tests_wanted(void)
{
	size_t count = 0;

	for (size_t m = 0; m < MEMORIES; m++) {
		memory = &memories[m];
		for (size_t t = 0; t < litmus_test_count; t++)
			count +=
			    is_possible(&litmus_tests[t]) && torture_wanted(&options, litmus_tests[t].name);
	}
	return count;
}

int main(int argc, char **argv)
{
	options = torture_options(argc, argv, 40);
	torture_start_mpi(&argc, &argv);
	nodes_begin(&argc, &argv);
	node = dsm_node();
	nodes = dsm_nodes();
	if (!node)
		torture_print(&options);
	beside = torture_share(sizeof *beside);
	start_workers();
	double began = torture_now(), seconds = options.seconds / (double)tests_wanted();
	for (size_t m = 0; m < MEMORIES; m++) {
		memory = &memories[m];
		nodes_case("litmus tests: %s, %s, %s", nodes_page_name(memory->page_bytes),
			   placement_names[memory->placement], nodes_delivery_name(memory->delivery));
		size_t pages = (memory_bytes() + memory->page_bytes - 1) / memory->page_bytes;
		if (nodes_have_pages(memory->page_bytes, pages, (unsigned)nodes))
			run_memory(seconds);
	}
	if (!node)
		printf("# %llu rounds, %llu instances in %.0f s, seed %llu; %zu tests left out, for lack of "
		       "time\n",
		       (unsigned long long)round_number, (unsigned long long)instances_of_all,
		       torture_now() - began, (unsigned long long)options.seed, left_out);
	CHECK(round_number > 0);
	end_workers();
	torture_unshare();
	int status = nodes_end();
	MPI_Finalize();
	return status;
}
