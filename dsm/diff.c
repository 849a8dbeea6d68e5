#include "dsm/diff.h"

#include <stdint.h>
#include <string.h>

/* Equal stretches are skipped with libc's memcmp(), which uses the widest vectors that the CPU has. */
#define STRIDE ((size_t)256)

static uint64_t load(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	return word;
}

/* The first byte from @at on that differs, or @bytes. */
static size_t skip_equal(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes)
{
	while (bytes - at >= STRIDE && !memcmp(now + at, before + at, STRIDE))
		at += STRIDE;
	for (; bytes - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t difference = load(now + at) ^ load(before + at);
		if (difference)
			return at + (size_t)__builtin_ctzll(difference) / 8; /* little-endian */
	}
	while (at < bytes && now[at] == before[at])
		at++;
	return at;
}

/* True if some byte of @x is zero. (The classic: borrow runs into the top bit of a zero byte.) */
static uint64_t zero_bytes(uint64_t x)
{
	return (x - 0x0101010101010101) & ~x & 0x8080808080808080;
}

/* The first byte from @at on that is equal, or @bytes. */
static size_t skip_different(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes)
{
	for (; bytes - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t equal = zero_bytes(load(now + at) ^ load(before + at));
		if (equal)
			return at + (size_t)__builtin_ctzll(equal) / 8; /* its lowest bit is exact */
	}
	while (at < bytes && now[at] != before[at])
		at++;
	return at;
}

size_t diff_next(const unsigned char *now, const unsigned char *before, size_t from, size_t bytes,
		 size_t *end)
{
	size_t start = skip_equal(now, before, from, bytes);

	if (start < bytes)
		*end = skip_different(now, before, start, bytes);
	return start;
}
