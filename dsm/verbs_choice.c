/*
 * The choice of port and GID.
 */
#include "dsm/verbs_choice.h"

#include <string.h>

/* --- GIDs ---------------------------------------------------------------------------------------------- */

static bool is_ipv4(const union ibv_gid *gid)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(gid->raw, mapped, sizeof mapped) == 0;
}

static bool is_loopback(const union ibv_gid *gid)
{
	static const uint8_t ipv6[16] = {[15] = 1};

	return memcmp(gid->raw, ipv6, sizeof ipv6) == 0 || (is_ipv4(gid) && gid->raw[12] == 127);
}

/* Of an interface without a hardware address, such as lo: made up by the kernel, and nothing answers to it.
 */
static bool is_made_up(const union ibv_gid *gid)
{
	static const uint8_t of_address_0[16] = {0xfe, 0x80, [8] = 0x02, [11] = 0xff, [12] = 0xfe};

	return memcmp(gid->raw, of_address_0, sizeof of_address_0) == 0;
}

static bool is_link_local(const union ibv_gid *gid)
{
	if (is_ipv4(gid))
		return gid->raw[12] == 169 && gid->raw[13] == 254;
	return gid->raw[0] == 0xfe && (gid->raw[1] & 0xc0) == 0x80;
}

/* 0: there is no such GID. */
static int gid_rank(const struct ibv_gid_entry *entry)
{
	static const union ibv_gid none;
	int rank = 4;

	if (memcmp(&entry->gid, &none, sizeof none) == 0)
		return 0;
	if (is_made_up(&entry->gid))
		return 1;
	if (is_loopback(&entry->gid))
		return is_ipv4(&entry->gid) ? 3 : 2;
	if (entry->gid_type == IBV_GID_TYPE_ROCE_V2)
		rank += 4;
	if (!is_link_local(&entry->gid))
		rank += is_ipv4(&entry->gid) ? 2 : 1;
	return rank;
}

int verbs_choose_gid(const struct ibv_gid_entry *entries, size_t count, int port, int wanted)
{
	int best = -1;

	for (size_t i = 0; i < count; i++) {
		const struct ibv_gid_entry *entry = &entries[i];

		if (entry->port_num != (uint32_t)port || gid_rank(entry) == 0)
			continue;
		if (wanted >= 0 && entry->gid_index != (uint32_t)wanted)
			continue;
		if (best < 0 || gid_rank(entry) > gid_rank(&entries[best]))
			best = (int)i;
	}
	return best;
}

unsigned verbs_gigabits(uint8_t speed, uint8_t width)
{
	/* By bit of active_speed: SDR, DDR, QDR, FDR10, FDR, EDR, HDR, NDR; tenths of Gbit/s of one lane. */
	static const unsigned tenths[] = {25, 50, 100, 100, 140, 250, 500, 1000};
	/* By bit of active_width. */
	static const unsigned wires[] = {1, 4, 8, 12, 2};

	for (unsigned s = 0; s < sizeof tenths / sizeof *tenths; s++)
		for (unsigned w = 0; w < sizeof wires / sizeof *wires; w++)
			if (speed == 1u << s && width == 1u << w)
				return tenths[s] * wires[w] / 10;
	return 0;
}

/* --- ports --------------------------------------------------------------------------------------------- */

/* What decides between two ports, in this order. */
enum criterion {
	BY_FITNESS,
	BY_HARDWARE,
	BY_ADDRESS,
	BY_DISTANCE,
	BY_SPEED,
	CRITERIA,
	BY_ORDER = CRITERIA,
	BY_TURN,
};

enum verbs_fitness verbs_fitness(const struct verbs_candidate *candidate, const struct verbs_wish *wish)
{
	if (wish->device && strcmp(candidate->device, wish->device) != 0)
		return VERBS_OTHER_DEVICE;
	if (!candidate->context)
		return VERBS_NOT_OPENED;
	if (wish->port && candidate->port != wish->port)
		return VERBS_OTHER_PORT;
	if (!candidate->connected)
		return VERBS_NOT_CONNECTED;
	if (!candidate->atomic)
		return VERBS_WITHOUT_ATOMIC;
	if (!candidate->active)
		return VERBS_DOWN;
	if (!candidate->has_gid)
		return VERBS_WITHOUT_GID;
	return VERBS_FIT;
}

/* How far the port's address reaches. InfiniBand routes by LID: there a link-local GID is the usual one. */
static int reach(const struct verbs_candidate *candidate)
{
	if (!candidate->has_gid || is_loopback(&candidate->gid.gid) || is_made_up(&candidate->gid.gid))
		return 0;
	if (candidate->link_layer == IBV_LINK_LAYER_ETHERNET && is_link_local(&candidate->gid.gid))
		return 1;
	return 2;
}

/* The more, the better. */
static int grade(const struct verbs_candidate *candidate, const struct verbs_wish *wish,
		 enum criterion criterion)
{
	switch (criterion) {
	case BY_FITNESS:
		return (int)verbs_fitness(candidate, wish);
	case BY_HARDWARE:
		return !candidate->software;
	case BY_ADDRESS:
		return reach(candidate);
	case BY_DISTANCE:
		return -(int)candidate->distance;
	case BY_SPEED:
		return (int)candidate->gigabits;
	default:
		return 0;
	}
}

/* What decides between two, and for which: @balance > 0: for @a, < 0: for @b, 0: nothing does. */
static enum criterion decide(const struct verbs_candidate *a, const struct verbs_candidate *b,
			     const struct verbs_wish *wish, int *balance)
{
	enum criterion criterion = BY_FITNESS;

	for (; criterion < CRITERIA; criterion++) {
		*balance = grade(a, wish, criterion) - grade(b, wish, criterion);
		if (*balance)
			return criterion;
	}
	return BY_ORDER;
}

/* The first of the best, but for @except. -1: there is none. */
static int first_best(const struct verbs_candidate *candidates, size_t count, const struct verbs_wish *wish,
		      int except)
{
	int best = -1, balance = 0;

	for (int i = 0; i < (int)count; i++) {
		if (i == except)
			continue;
		if (best >= 0)
			decide(&candidates[i], &candidates[best], wish, &balance);
		if (best < 0 || balance > 0)
			best = i;
	}
	return best;
}

/* Nodes of one machine may be dealt out to both: as good, and of one InfiniBand subnet. */
static bool is_twin(const struct verbs_candidate *a, const struct verbs_candidate *b,
		    const struct verbs_wish *wish)
{
	int balance;

	return decide(a, b, wish, &balance) == BY_ORDER && a->link_layer == IBV_LINK_LAYER_INFINIBAND &&
	       b->link_layer == IBV_LINK_LAYER_INFINIBAND &&
	       a->gid.gid.global.subnet_prefix == b->gid.gid.global.subnet_prefix;
}

int verbs_choose_port(const struct verbs_candidate *candidates, size_t count, const struct verbs_wish *wish)
{
	int best = first_best(candidates, count, wish, -1);
	unsigned twins = 0;

	if (best < 0 || verbs_fitness(&candidates[best], wish) != VERBS_FIT)
		return best;
	for (size_t i = 0; i < count; i++)
		twins += is_twin(&candidates[i], &candidates[best], wish);
	if (!twins)
		return best; /* not InfiniBand */

	unsigned turn = wish->turn % twins;
	int chosen = best;

	while (!is_twin(&candidates[chosen], &candidates[best], wish) || turn-- > 0)
		chosen++;
	return chosen;
}

static const char *unfit_text(enum verbs_fitness fitness, const struct verbs_wish *wish)
{
	switch (fitness) {
	case VERBS_OTHER_DEVICE:
		return "MINORCA_VERBS_DEVICE names another";
	case VERBS_NOT_OPENED:
		return "cannot be opened";
	case VERBS_OTHER_PORT:
		return "MINORCA_VERBS_PORT names another";
	case VERBS_NOT_CONNECTED:
		return "neither InfiniBand nor RoCE";
	case VERBS_WITHOUT_ATOMIC:
		return "serves no atomics";
	case VERBS_DOWN:
		return "its link is not up";
	case VERBS_WITHOUT_GID:
		return wish->gid_index < 0 ? "has no GID" : "has no GID of the number in MINORCA_VERBS_GID";
	default:
		return "can be used";
	}
}

/* Why the chosen one is preferred to its strongest rival. */
static const char *chosen_text(enum criterion criterion, enum verbs_fitness rival)
{
	switch (criterion) {
	case BY_FITNESS:
		if (rival == VERBS_OTHER_DEVICE || rival == VERBS_OTHER_PORT)
			return "the settings name it";
		return "the only one that can be used";
	case BY_HARDWARE:
		return "hardware, not software";
	case BY_ADDRESS:
		return "has an address of the network";
	case BY_DISTANCE:
		return "nearest to the CPUs of this process";
	case BY_SPEED:
		return "the fastest of the nearest";
	case BY_TURN:
		return "as good as others, which other nodes of this machine use";
	default:
		return "the first of those that are as good";
	}
}

static const char *beaten_text(enum criterion criterion)
{
	switch (criterion) {
	case BY_HARDWARE:
		return "software; hardware is preferred";
	case BY_ADDRESS:
		return "has only a link-local or loopback address";
	case BY_DISTANCE:
		return "farther from the CPUs of this process";
	case BY_SPEED:
		return "slower";
	case BY_TURN:
		return "as good; for other nodes of this machine";
	default:
		return "as good, but not the first";
	}
}

const char *verbs_verdict(const struct verbs_candidate *candidates, size_t count, int chosen, size_t index,
			  const struct verbs_wish *wish)
{
	enum verbs_fitness fitness = verbs_fitness(&candidates[index], wish);
	const struct verbs_candidate *winner, *rival;
	enum criterion criterion;
	int other = (int)index, balance;

	if (fitness != VERBS_FIT || chosen < 0)
		return unfit_text(fitness, wish);
	if (other == chosen)
		other = first_best(candidates, count, wish, chosen);
	if (other < 0)
		return chosen_text(BY_FITNESS, VERBS_FIT);
	winner = &candidates[chosen];
	rival = &candidates[other];
	criterion = is_twin(winner, rival, wish) ? BY_TURN : decide(winner, rival, wish, &balance);
	return (int)index == chosen ? chosen_text(criterion, verbs_fitness(rival, wish))
				    : beaten_text(criterion);
}
