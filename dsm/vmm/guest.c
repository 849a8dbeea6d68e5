#include "dsm/vmm/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/vmm/power_of_two.h"

#define SLOTS (GUEST_PAGE_BYTES / GUEST_SLOT_BYTES)
#define LARGE_PAGE_BYTES ((size_t)2 << 20)
#define GIB_BYTES ((size_t)1 << 30)
#define WORDS_PER_PAGE (GUEST_PAGE_BYTES / sizeof(uint64_t))
#define WALK_ADD_PAGES 12345 /* odd, so that the walk comes to all pages */

/* Page table entries: present, writable, accessed, dirty; and a page of 2 MiB instead of a table. */
#define ENTRY_TABLE 0x23u
#define ENTRY_LARGE_PAGE 0xe3u

extern const char guest_image[], guest_image_end[];

static uint64_t *word_at(void *memory, size_t address)
{
	return (uint64_t *)((char *)memory + address);
}

static uint64_t header(const void *memory, size_t field)
{
	uint64_t value;

	memcpy(&value, (const char *)memory + GUEST_HEADER + field, sizeof value);
	return value;
}

static void write_page_tables(void *memory, size_t bytes)
{
	uint64_t *directories = word_at(memory, GUEST_PAGE_DIRECTORIES);

	*word_at(memory, GUEST_PML4) = GUEST_PDPT | ENTRY_TABLE;
	for (size_t i = 0; i * GIB_BYTES < bytes; i++)
		word_at(memory, GUEST_PDPT)[i] =
		    (GUEST_PAGE_DIRECTORIES + i * GUEST_PAGE_BYTES) | ENTRY_TABLE;
	for (size_t i = 0; i * LARGE_PAGE_BYTES < bytes; i++)
		directories[i] = i * LARGE_PAGE_BYTES | ENTRY_LARGE_PAGE;
}

static void write_header(void *memory, const struct guest_options *o)
{
	*word_at(memory, GUEST_HEADER + GUEST_WALK_ADD) = WALK_ADD_PAGES * o->stride_bytes;
	*word_at(memory, GUEST_HEADER + GUEST_WALK_MASK) = (o->walk_bytes - 1) & ~(o->stride_bytes - 1);
	*word_at(memory, GUEST_HEADER + GUEST_STEPS_PER_REST) = o->steps_per_rest;
	*word_at(memory, GUEST_HEADER + GUEST_REST_US) = o->rest_us;
	*word_at(memory, GUEST_HEADER + GUEST_BEAT_US) = o->beat_us;
}

static size_t image_bytes(void)
{
	return (size_t)(guest_image_end - guest_image);
}

/* All below GUEST_FIRST but the header, of a machine of @bytes. */
static void write_program(void *memory, size_t bytes)
{
	memset(memory, 0, GUEST_FIRST);
	write_page_tables(memory, bytes);
	memcpy((char *)memory + GUEST_IMAGE, guest_image, image_bytes());
}

int guest_load(void *memory, size_t bytes, const struct guest_options *o)
{
	if (bytes < GUEST_BYTES_MIN || bytes > GUEST_BYTES_MAX || bytes % GUEST_PAGE_BYTES ||
	    !is_power_of_two(o->walk_bytes) || o->walk_bytes < GUEST_BYTES_MIN || o->walk_bytes > bytes ||
	    !is_power_of_two(o->stride_bytes) || o->stride_bytes < GUEST_PAGE_BYTES ||
	    o->stride_bytes > GUEST_FIRST || !o->steps_per_rest || o->rest_us > UINT32_MAX ||
	    image_bytes() > GUEST_IMAGE_END - GUEST_IMAGE)
		return -EINVAL;
	write_program(memory, bytes);
	write_header(memory, o);
	for (size_t address = GUEST_FIRST; address < bytes; address += sizeof(uint64_t))
		*word_at(memory, address) = address;
	return 0;
}

/* What the word at @address must be after @visits to its page. */
static uint64_t expected_word(size_t address, uint64_t visits)
{
	size_t page = address & ~(size_t)(GUEST_PAGE_BYTES - 1);
	uint64_t slot = (address - page) / GUEST_SLOT_BYTES, age = (visits - slot) % SLOTS;

	/* Visit j, from 1 on, writes slot j mod SLOTS: the last one of this slot was @age visits ago. */
	if (address % GUEST_SLOT_BYTES || age >= visits)
		return address;
	return page + ((visits - age) << GUEST_VISIT_SHIFT);
}

/* How often a page was visited, by its youngest slot; what is right is seen when all words are compared. */
static uint64_t visits_of(const uint64_t *page)
{
	uint64_t most = 0;

	for (size_t slot = 0; slot < SLOTS; slot++) {
		uint64_t visit = page[slot * GUEST_SLOT_BYTES / sizeof *page] >> GUEST_VISIT_SHIFT;

		most = visit > most ? visit : most;
	}
	return most;
}

struct tally {
	uint64_t visits, least, most;
};

/* What the guest itself writes to below GUEST_FIRST: header, stack, and the text that is being printed. */
static bool is_guests_own(size_t address)
{
	size_t page = address & ~(size_t)(GUEST_PAGE_BYTES - 1);

	return (page == GUEST_HEADER && address < GUEST_HEADER_END) ||
	       page == GUEST_STACK_TOP - GUEST_PAGE_BYTES || page == GUEST_TEXT;
}

/* The program, page tables, and what is zero between them. */
static int check_program(const void *memory, size_t bytes, char *why, size_t why_bytes)
{
	uint64_t *expected = malloc(GUEST_FIRST);
	const uint64_t *words = memory;
	int error = 0;

	if (!expected) {
		snprintf(why, why_bytes, "no memory to compare it with; free some");
		return -ENOMEM;
	}
	write_program(expected, bytes);
	for (size_t i = 0; i < GUEST_FIRST / sizeof *words && !error; i++) {
		if (words[i] == expected[i] || is_guests_own(i * sizeof *words))
			continue;
		snprintf(why, why_bytes,
			 "the word at 0x%zx, of the program, is 0x%" PRIx64 " instead of 0x%" PRIx64,
			 i * sizeof *words, words[i], expected[i]);
		error = -EBADMSG;
	}
	free(expected);
	return error;
}

static int check_page(const void *memory, size_t address, bool walked, struct tally *tally, char *why,
		      size_t why_bytes)
{
	const uint64_t *page = (const uint64_t *)((const char *)memory + address);
	uint64_t visits = walked ? visits_of(page) : 0;

	for (size_t i = 0; i < WORDS_PER_PAGE; i++) {
		uint64_t expected = expected_word(address + i * sizeof *page, visits);

		if (page[i] == expected)
			continue;
		snprintf(why, why_bytes, "the word at 0x%zx is 0x%" PRIx64 " instead of 0x%" PRIx64,
			 address + i * sizeof *page, page[i], expected);
		return -EBADMSG;
	}
	if (walked) {
		tally->visits += visits;
		tally->least = visits < tally->least ? visits : tally->least;
		tally->most = visits > tally->most ? visits : tally->most;
	}
	return 0;
}

/*
 * A guest that is paused between the write of a step and the count of it has made one visit more than it has
 * counted. With
 * @r12 0, its header may or may not have the steps since its last rest.
 */
static bool visits_make_sense(const void *memory, uint64_t r12, uint64_t visits)
{
	uint64_t at_rest = header(memory, GUEST_STEPS), per_rest = header(memory, GUEST_STEPS_PER_REST);
	uint64_t steps = at_rest + per_rest - r12;

	return visits == steps || visits == steps + 1 || (r12 == 0 && visits == at_rest);
}

int guest_check(const void *memory, size_t bytes, uint64_t r12, char *why, size_t why_bytes)
{
	struct tally tally = {.least = UINT64_MAX};
	uint64_t mask = header(memory, GUEST_WALK_MASK);
	int error = check_program(memory, bytes, why, why_bytes);

	for (size_t address = GUEST_FIRST; address < bytes && !error; address += GUEST_PAGE_BYTES)
		error = check_page(memory, address, !(address & ~mask), &tally, why, why_bytes);
	if (error)
		return error;
	if (tally.most - tally.least > 1) {
		snprintf(why, why_bytes, "one page was visited %" PRIu64 " times, and another %" PRIu64,
			 tally.least, tally.most);
		return -EBADMSG;
	}
	if (!visits_make_sense(memory, r12, tally.visits)) {
		snprintf(why, why_bytes,
			 "pages show %" PRIu64 " visits, and the guest counted %" PRIu64 " steps until "
			 "its last rest, and has %" PRIu64 " until its next",
			 tally.visits, header(memory, GUEST_STEPS), r12);
		return -EBADMSG;
	}
	return 0;
}

uint64_t guest_steps(const void *memory)
{
	return header(memory, GUEST_STEPS);
}
