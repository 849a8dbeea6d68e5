#include "dsm/vmm/churn.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dsm/vmm/power_of_two.h"

#define PAGE_BYTES ((size_t)4096)
#define STRIDE_BYTES_MAX ((size_t)1 << 20)
#define ENTRY_BYTES 64
#define ENTRIES_PER_PAGE (PAGE_BYTES / ENTRY_BYTES)
#define VALUE_WORDS 7
#define SLOTS_PER_KEY 4
#define WALK_MULTIPLIER 6364136223846793005u
#define WALK_ADD 1442695040888963407u

/* All zero: free. */
struct entry {
	uint64_t key_plus_1;
	uint64_t value[VALUE_WORDS];
};
_Static_assert(sizeof(struct entry) == ENTRY_BYTES, "a cache line");

/* Sebastiano Vigna's finalizer of splitmix64: every bit of @n matters to every bit of the result. */
static uint64_t mix(uint64_t n)
{
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
	return n ^ (n >> 31);
}

/* --- where things are ---------------------------------------------------------------------------------- */

static size_t slots_of(const struct churn *c)
{
	return c->walk_bytes / c->stride_bytes * ENTRIES_PER_PAGE;
}

static uint64_t keys_of(const struct churn *c)
{
	return slots_of(c) / SLOTS_PER_KEY;
}

static struct entry *slot(const struct churn *c, size_t number)
{
	char *page = c->memory + number / ENTRIES_PER_PAGE * c->stride_bytes;

	return (struct entry *)(page + number % ENTRIES_PER_PAGE * ENTRY_BYTES);
}

/* Where the search for a key begins. */
static size_t first_slot(const struct churn *c, uint64_t key)
{
	return mix(key + 1) & (slots_of(c) - 1);
}

static size_t next_slot(const struct churn *c, size_t number)
{
	return (number + 1) & (slots_of(c) - 1);
}

/* The key's slot, or the free one where it would be; slots_of() if there is neither, in a table that was
 * damaged. */
static size_t find(const struct churn *c, uint64_t key)
{
	size_t number = first_slot(c, key);

	for (size_t i = 0; i < slots_of(c); i++, number = next_slot(c, number)) {
		uint64_t found = slot(c, number)->key_plus_1;

		if (!found || found == key + 1)
			return number;
	}
	return slots_of(c);
}

/* --- what must be -------------------------------------------------------------------------------------- */

/* What @key is bound to once the walk has come by @pass times; all zero: to nothing, as one key in four. */
static struct entry bound_to(uint64_t key, uint64_t pass)
{
	uint64_t seed = mix(mix(key) + pass);
	struct entry e = {0};

	if (!(seed & 3))
		return e;
	e.key_plus_1 = key + 1;
	for (size_t i = 0; i < VALUE_WORDS; i++)
		e.value[i] = mix(seed + i + 1);
	return e;
}

static uint64_t hash_of(const struct entry *e)
{
	uint64_t hash = e->key_plus_1;

	for (size_t i = 0; i < VALUE_WORDS; i++)
		hash = mix(hash) + e->value[i];
	return hash;
}

/* --- changing it --------------------------------------------------------------------------------------- */

static void account(struct churn_progress *p, const struct entry *e, bool added)
{
	if (!e->key_plus_1)
		return;
	p->entries += added ? 1 : (uint64_t)-1;
	p->checksum += added ? hash_of(e) : -hash_of(e);
}

/* Frees a slot, and moves up what others had to step over it to find (Knuth, TAOCP 3, 6.4, algorithm R). */
static void vacate(const struct churn *c, size_t hole)
{
	size_t mask = slots_of(c) - 1;

	size_t i = next_slot(c, hole);

	/* Bounded, since a table that was damaged may be full. */
	for (size_t n = 0; n < mask && slot(c, i)->key_plus_1; n++, i = next_slot(c, i)) {
		size_t first = first_slot(c, slot(c, i)->key_plus_1 - 1);

		if (((i - first) & mask) < ((i - hole) & mask))
			continue;
		*slot(c, hole) = *slot(c, i);
		hole = i;
	}
	memset(slot(c, hole), 0, ENTRY_BYTES);
}

bool churn_is_possible(const struct churn *c)
{
	return c->bytes % PAGE_BYTES == 0 && is_power_of_two(c->walk_bytes) && c->walk_bytes <= c->bytes &&
	       is_power_of_two(c->stride_bytes) && c->stride_bytes >= PAGE_BYTES &&
	       c->stride_bytes <= STRIDE_BYTES_MAX && c->stride_bytes <= c->walk_bytes;
}

static bool page_is_of_table(const struct churn *c, size_t offset)
{
	return offset < c->walk_bytes && offset % c->stride_bytes == 0;
}

int churn_begin(const struct churn *c, struct churn_progress *p)
{
	if (!churn_is_possible(c))
		return -EINVAL;
	*p = (struct churn_progress){0};
	for (size_t page = 0; page < c->bytes; page += PAGE_BYTES) {
		uint64_t *words = (uint64_t *)(c->memory + page);

		for (size_t i = 0; i < PAGE_BYTES / sizeof *words; i++)
			words[i] = page_is_of_table(c, page) ? 0 : page + i * sizeof *words;
	}
	for (uint64_t key = 0; key < keys_of(c); key++) {
		struct entry e = bound_to(key, 0);

		if (e.key_plus_1)
			*slot(c, find(c, key)) = e;
		account(p, &e, true);
	}
	return 0;
}

bool churn_step(const struct churn *c, struct churn_progress *p, char *why, size_t why_bytes)
{
	uint64_t key = p->position = (p->position * WALK_MULTIPLIER + WALK_ADD) & (keys_of(c) - 1);
	struct entry expected = bound_to(key, p->pass), next = bound_to(key, p->pass + 1);
	size_t number = find(c, key);
	bool right = number < slots_of(c) && !memcmp(slot(c, number), &expected, sizeof expected);

	if (!right) {
		p->failures++;
		snprintf(why, why_bytes, "key %" PRIu64 " is not bound to what it was in pass %" PRIu64, key,
			 p->pass);
	}
	if (number < slots_of(c)) {
		if (next.key_plus_1)
			*slot(c, number) = next;
		else if (slot(c, number)->key_plus_1)
			vacate(c, number);
	}
	account(p, &expected, false);
	account(p, &next, true);
	p->steps++;
	if (key == 0) /* the walk begins, and so each pass ends, there */
		p->pass++;
	return right;
}

/* --- checking all of it -------------------------------------------------------------------------------- */

static bool is_right_or_free(const struct churn *c, const struct churn_progress *p, const struct entry *e)
{
	struct entry before = {0}, after = {0};

	if (e->key_plus_1 > keys_of(c))
		return false;
	if (e->key_plus_1) {
		before = bound_to(e->key_plus_1 - 1, p->pass);
		after = bound_to(e->key_plus_1 - 1, p->pass + 1);
	}
	return !memcmp(e, &before, sizeof before) || !memcmp(e, &after, sizeof after);
}

static int check_table(const struct churn *c, const struct churn_progress *p, char *why, size_t why_bytes)
{
	struct churn_progress found = {0};

	for (size_t i = 0; i < slots_of(c); i++) {
		const struct entry *e = slot(c, i);

		if (!is_right_or_free(c, p, e)) {
			snprintf(why, why_bytes,
				 "the entry at 0x%zx is none of passes %" PRIu64 " and %" PRIu64,
				 (size_t)((const char *)e - c->memory), p->pass, p->pass + 1);
			return -EBADMSG;
		}
		account(&found, e, true);
	}
	if (found.entries == p->entries && found.checksum == p->checksum)
		return 0;
	snprintf(why, why_bytes,
		 "%" PRIu64 " entries with checksum 0x%" PRIx64 " instead of %" PRIu64 " with 0x%" PRIx64,
		 found.entries, found.checksum, p->entries, p->checksum);
	return -EBADMSG;
}

static int check_rest(const struct churn *c, char *why, size_t why_bytes)
{
	for (size_t page = 0; page < c->bytes; page += PAGE_BYTES) {
		const uint64_t *words = (const uint64_t *)(c->memory + page);

		for (size_t i = 0; i < PAGE_BYTES / sizeof *words && !page_is_of_table(c, page); i++) {
			if (words[i] == page + i * sizeof *words)
				continue;
			snprintf(why, why_bytes,
				 "the word at 0x%zx is 0x%" PRIx64 ", and nobody has written it",
				 page + i * sizeof *words, words[i]);
			return -EBADMSG;
		}
	}
	return 0;
}

int churn_check(const struct churn *c, const struct churn_progress *p, char *why, size_t why_bytes)
{
	int error = check_table(c, p, why, why_bytes);

	return error ? error : check_rest(c, why, why_bytes);
}
