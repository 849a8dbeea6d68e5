#include "dsm/tests/litmus_shapes.h"

/* --- outcomes --------------------------------------------------------------------------------------------
 */

static bool new_then_old(const struct outcome *o)
{
	return o->r[A] && !o->r[B];
}

static bool both_old(const struct outcome *o)
{
	return !o->r[A] && !o->r[B];
}

static bool both_new(const struct outcome *o)
{
	return o->r[A] && o->r[B];
}

static bool one_new(const struct outcome *o)
{
	return !o->r[A] != !o->r[B];
}

static bool a_new(const struct outcome *o)
{
	return o->r[A];
}

static bool b_new(const struct outcome *o)
{
	return o->r[B];
}

static bool c_new(const struct outcome *o)
{
	return o->r[C];
}

static bool third_old(const struct outcome *o)
{
	return o->r[A] && o->r[B] && !o->r[C];
}

static bool third_or_own_old(const struct outcome *o)
{
	return (o->r[A] && !o->r[D]) || (o->r[B] && !o->r[C]);
}

static bool one_of_two_old(const struct outcome *o)
{
	return o->r[A] && (!o->r[B] || !o->r[C]);
}

static bool fourth_old(const struct outcome *o)
{
	return o->r[C] && !o->r[D];
}

static bool readers_disagree(const struct outcome *o)
{
	return o->r[A] && !o->r[B] && o->r[C] && !o->r[D];
}

static bool a_reader_between(const struct outcome *o)
{
	return (o->r[A] && !o->r[B]) || (o->r[C] && !o->r[D]);
}

static bool first_store_at_last(const struct outcome *o)
{
	return o->last[X] != 2;
}

static bool handed_over_and_lost(const struct outcome *o)
{
	return o->r[A] ? o->last[X] != 2 : o->last[X] != 1;
}

static bool both_first_at_last(const struct outcome *o)
{
	return (o->last[X] == 1 && o->last[Y] == 1) || !o->last[X] || !o->last[Y];
}

static bool mixed_at_last(const struct outcome *o)
{
	return o->last[X] != o->last[Y];
}

static bool not_what_was_last(const struct outcome *o)
{
	return o->last[X] != 2 || o->last[Y] != 1;
}

static bool was_in_the_future(const struct outcome *o)
{
	return o->r[A] != 0;
}

static bool any_at_all(const struct outcome *o)
{
	(void)o;
	return true;
}

static bool not_both_new(const struct outcome *o)
{
	return !both_new(o);
}

static bool saw_backwards(const struct outcome *o)
{
	return o->r[A] > o->r[B] || o->last[X] != 2;
}

/* --- shapes ----------------------------------------------------------------------------------------------
 */

/* Each access is synchronised by itself; stages are what barriers go between. */
static const struct shape mp = {
    "MP", {{{STORE, X, 1, 0}, {STORE, Y, 1, 0}}, {{LOAD, Y, A, 1}, {LOAD, X, B, 1}}}, new_then_old, both_new};
static const struct shape sb = {
    "SB", {{{STORE, X, 1, 0}, {LOAD, Y, A, 1}}, {{STORE, Y, 1, 0}, {LOAD, X, B, 1}}}, both_old, one_new};
static const struct shape lb = {
    "LB", {{{LOAD, X, A, 0}, {STORE, Y, 1, 1}}, {{LOAD, Y, B, 0}, {STORE, X, 1, 1}}}, both_new, one_new};
static const struct shape corr = {
    "CoRR", {{{STORE, X, 1, 0}}, {{LOAD, X, A, 1}, {LOAD, X, B, 1}}}, new_then_old, b_new};
static const struct shape coww = {
    "CoWW", {{{STORE, X, 1, 0}, {STORE, X, 2, 0}}, {{LOAD, X, A, 1}, {LOAD, X, B, 1}}}, saw_backwards, b_new};
static const struct shape coww_alone = {
    "CoWW", {{{STORE, X, 1, 0}, {STORE, X, 2, 0}}}, first_store_at_last, any_at_all};
static const struct shape two_two_w = {
    "2+2W",
    {{{STORE, X, 1, 0}, {STORE, Y, 2, 1}}, {{STORE, Y, 1, 0}, {STORE, X, 2, 1}}},
    both_first_at_last,
    mixed_at_last};
static const struct shape wrc = {
    "WRC",
    {{{STORE, X, 1, 0}}, {{LOAD, X, A, 1}, {STORE, Y, 1, 1}}, {{LOAD, Y, B, 1}, {LOAD, X, C, 1}}},
    third_old,
    both_new};
static const struct shape isa2 = {"ISA2",
				  {{{STORE, X, 1, 0}, {STORE, Y, 1, 0}},
				   {{LOAD, Y, A, 0}, {STORE, Z, 1, 0}},
				   {{LOAD, Z, B, 1}, {LOAD, X, C, 1}}},
				  third_old,
				  both_new};
static const struct shape iriw = {"IRIW",
				  {{{STORE, X, 1, 0}},
				   {{STORE, Y, 1, 0}},
				   {{LOAD, X, A, 1}, {LOAD, Y, B, 1}},
				   {{LOAD, Y, C, 1}, {LOAD, X, D, 1}}},
				  readers_disagree,
				  a_reader_between};

/* x is plain, and flags tell of it. */
static const struct shape mp_flag = {
    "MP", {{{STORE, X, 1, 0}, {SET, F, 0, 0}}, {{SEE, F, A, 0}, {LOAD, X, B, 0}}}, new_then_old, a_new};
/* Several variables go with one flag, and the one that is told has stored to their page as well. */
static const struct shape mp_flag_wide = {
    "MP2",
    {{{STORE, X, 1, 0}, {STORE, Y, 1, 0}, {SET, F, 0, 0}},
     {{STORE, Z, 1, 0}, {SEE, F, A, 0}, {LOAD, X, B, 0}, {LOAD, Y, C, 0}}},
    one_of_two_old,
    a_new};
static const struct shape wrc_flag = {"WRC",
				      {{{STORE, X, 1, 0}, {SET, F, 0, 0}},
				       {{SEE, F, A, 0}, {LOAD, X, D, 0}, {SET, G, 0, 0}},
				       {{SEE, G, B, 0}, {LOAD, X, C, 0}}},
				      third_or_own_old,
				      b_new};
static const struct shape isa2_flag = {
    "ISA2",
    {{{STORE, X, 1, 0}, {SET, F, 0, 0}}, {{SEE, F, A, 0}, {SET, G, 0, 0}}, {{SEE, G, B, 0}, {LOAD, X, C, 0}}},
    third_old,
    b_new};
static const struct shape isa3_flag = {"ISA3",
				       {{{STORE, X, 1, 0}, {SET, F, 0, 0}},
					{{SEE, F, A, 0}, {SET, G, 0, 0}},
					{{SEE, G, B, 0}, {SET, H, 0, 0}},
					{{SEE, H, C, 0}, {LOAD, X, D, 0}}},
				       fourth_old,
				       c_new};
/* A store after another node's store, and after another node's load. */
static const struct shape ww_flag = {"CoWW",
				     {{{STORE, X, 1, 0}, {SET, F, 0, 0}}, {{SEE, F, A, 0}, {STORE, X, 2, 0}}},
				     handed_over_and_lost,
				     a_new};
static const struct shape rw_flag = {"CoRW",
				     {{{LOAD, X, A, 0}, {SET, F, 0, 0}}, {{SEE, F, B, 0}, {STORE, X, 1, 0}}},
				     was_in_the_future,
				     b_new};

/* With barriers the outcome is known, and all others are forbidden. */
static const struct shape mp_barrier = {
    "MP", {{{STORE, X, 1, 0}, {STORE, Y, 1, 0}}, {{LOAD, Y, A, 1}, {LOAD, X, B, 1}}}, not_both_new, both_new};
static const struct shape sb_barrier = {
    "SB", {{{STORE, X, 1, 0}, {LOAD, Y, A, 1}}, {{STORE, Y, 1, 0}, {LOAD, X, B, 1}}}, not_both_new, both_new};
static const struct shape two_two_w_barrier = {
    "2+2W",
    {{{STORE, X, 1, 0}, {STORE, Y, 1, 1}}, {{STORE, Y, 2, 0}, {STORE, X, 2, 1}}},
    not_what_was_last,
    any_at_all};

/* --- with what orders the accesses -----------------------------------------------------------------------
 */

const struct test litmus_tests[] = {
    {&mp, BARE, "MP+bare"},
    {&sb, BARE, "SB+bare"},
    {&two_two_w, BARE, "2+2W+bare"},
    {&iriw, BARE, "IRIW+bare"},
    {&coww_alone, BARE, "CoWW+nothing"},
    {&mp, MUTEX, "MP+mutex"},
    {&mp, MUTEXES, "MP+mutexes"},
    {&mp, RWLOCK, "MP+rwlock"},
    {&mp, ATOMICS, "MP+atomics"},
    {&mp_barrier, BARRIERS, "MP+barrier"},
    {&mp_flag, FLAG_WORD, "MP+release-acquire"},
    {&mp_flag_wide, FLAG_WORD, "MP2+release-acquire"},
    {&mp_flag_wide, FLAG_MESSAGE, "MP2+message"},
    {&mp_flag, FLAG_EVENT, "MP+event"},
    {&mp_flag, FLAG_MUTEX, "MP+mutex-of-flag"},
    {&mp_flag, FLAG_RWLOCK, "MP+rwlock-of-flag"},
    {&sb, MUTEX, "SB+mutex"},
    {&sb, MUTEXES, "SB+mutexes"},
    {&sb, RWLOCK, "SB+rwlock"},
    {&sb, ATOMICS, "SB+atomics"},
    {&sb_barrier, BARRIERS, "SB+barrier"},
    {&lb, MUTEX, "LB+mutex"},
    {&lb, RWLOCK, "LB+rwlock"},
    {&lb, ATOMICS, "LB+atomics"},
    {&corr, MUTEX, "CoRR+mutex"},
    {&corr, RWLOCK, "CoRR+rwlock"},
    {&corr, ATOMICS, "CoRR+atomics"},
    {&coww, MUTEX, "CoWW+mutex"},
    {&coww, ATOMICS, "CoWW+atomics"},
    {&ww_flag, FLAG_WORD, "CoWW+release-acquire"},
    {&ww_flag, FLAG_MUTEX, "CoWW+mutex-of-flag"},
    {&rw_flag, FLAG_WORD, "CoRW+release-acquire"},
    {&two_two_w, MUTEX, "2+2W+mutex"},
    {&two_two_w, MUTEXES, "2+2W+mutexes"},
    {&two_two_w, ATOMICS, "2+2W+atomics"},
    {&two_two_w_barrier, BARRIERS, "2+2W+barrier"},
    {&wrc, MUTEXES, "WRC+mutexes"},
    {&wrc, ATOMICS, "WRC+atomics"},
    {&wrc_flag, FLAG_WORD, "WRC+release-acquire"},
    {&wrc_flag, FLAG_EVENT, "WRC+events"},
    {&wrc_flag, FLAG_MUTEX, "WRC+mutexes-of-flags"},
    {&wrc_flag, FLAG_MESSAGE, "WRC+messages"},
    {&isa2, MUTEXES, "ISA2+mutexes"},
    {&isa2_flag, FLAG_WORD, "ISA2+release-acquire"},
    {&isa2_flag, FLAG_MUTEX, "ISA2+mutexes-of-flags"},
    {&isa2_flag, FLAG_RWLOCK, "ISA2+rwlocks-of-flags"},
    {&isa3_flag, FLAG_WORD, "ISA3+release-acquire"},
    {&iriw, MUTEXES, "IRIW+mutexes"},
    {&iriw, RWLOCK, "IRIW+rwlock"},
    {&iriw, ATOMICS, "IRIW+atomics"},
};

const size_t litmus_test_count = sizeof litmus_tests / sizeof litmus_tests[0];
