/*
 * The litmus tests: what the threads of each store and load, what orders that, and which outcome is never to
 * be seen. litmus.c runs them.
 */
#ifndef MINORCA_DSM_TESTS_LITMUS_SHAPES_H
#define MINORCA_DSM_TESTS_LITMUS_SHAPES_H

#include <stdbool.h>
#include <stddef.h>

#define ROLES_MAX 4
#define OPS_MAX 4
#define STAGES_MAX 2

/* Variables, registers, and flags that tell of variables. */
enum { X, Y, Z, VARIABLES };
enum { A, B, C, D, REGISTERS };
enum { F, G, H, FLAGS };

enum action {
	END = 0,
	STORE, /* `number` into `object` */
	LOAD,  /* `object` into register `number` */
	SET,   /* flag `object` */
	SEE,   /* flag `object`; register `number` becomes 1, or, if the flag is not set, the role ends */
};

struct op {
	enum action action;
	unsigned char object, number;
	unsigned char stage; /* for barriers: what is to be done before the first, and after */
};

/* What came out: registers, and variables at last, as this node sees them after a barrier. */
struct outcome {
	unsigned char r[REGISTERS];
	unsigned char last[VARIABLES];
};

struct shape {
	const char *name;
	struct op roles[ROLES_MAX][OPS_MAX];
	bool (*forbidden)(const struct outcome *);
	/* An outcome that shows that the roles met. */
	bool (*relevant)(const struct outcome *);
};

enum order {
	BARE,	   /* nothing */
	MUTEX,	   /* each access is made under the instance's mutex ... */
	MUTEXES,   /* ... under its variable's */
	RWLOCK,	   /* ... under the instance's read-write lock */
	ATOMICS,   /* each access is an atomic */
	BARRIERS,  /* dsm_barrier() between the stages */
	FLAG_WORD, /* flags are stored with DSM_RELEASE and loaded with DSM_ACQUIRE */
	FLAG_EVENT,
	FLAG_MUTEX,   /* flags are plain, each under a mutex of its own */
	FLAG_RWLOCK,  /* the same with read-write locks */
	FLAG_MESSAGE, /* dsm_release(), something outside of the runtime, dsm_acquire() */
};

struct test {
	const struct shape *shape;
	enum order order;
	const char *name;
};

extern const struct test litmus_tests[];
extern const size_t litmus_test_count;

#endif
