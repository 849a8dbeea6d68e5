#include "dsm/vmm/timer.h"

void timer_start(struct timer_counter *t, uint64_t now_ns)
{
	t->started_ns = now_ns;
}

void timer_stop(struct timer_counter *t, uint64_t now_ns)
{
	t->ran_ns = timer_ran_ns(t, now_ns);
	t->started_ns = 0;
}

uint64_t timer_ran_ns(const struct timer_counter *t, uint64_t now_ns)
{
	return t->ran_ns + (t->started_ns ? now_ns - t->started_ns : 0);
}

uint32_t timer_read(struct timer_counter *t, unsigned int number, uint64_t now_ns)
{
	uint64_t us = timer_ran_ns(t, now_ns) / 1000;

	if (number == TIMER_HIGH)
		return t->high;
	if (number != TIMER_LOW)
		return 0;
	t->high = (uint32_t)(us >> 32);
	return (uint32_t)us;
}

void timer_arm(struct timer_counter *t, uint32_t us, uint64_t now_ns)
{
	uint64_t ran_ns = timer_ran_ns(t, now_ns), until_ns = t->rest_until_ns + us * 1000ull;

	/* What a slow stretch has cost is not made up for. */
	t->rest_until_ns = until_ns > ran_ns ? until_ns : ran_ns;
	t->rest = TIMER_ARMED;
}

uint64_t timer_rest_ends_ns(const struct timer_counter *t)
{
	return t->started_ns + (t->rest_until_ns > t->ran_ns ? t->rest_until_ns - t->ran_ns : 0);
}
