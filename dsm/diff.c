/*
 * A chunk of 64 bytes becomes a mask with a bit for each byte that differs, and runs are read off the mask
 * with bit operations. The only part that depends on the CPU is therefore small: making masks, and skipping
 * the chunks that are equal, which most are.
 *
 * There is no AVX-512 version. One was measured on a Zen 5, which has the full width: it saves 5 to 16 ns of
 * about 40 on a page of 4 KiB in the first-level cache, nothing on one that comes from further away, and
 * costs 15 % on many short runs, because masks take longer to arrive. On CPUs that lower their clock for
 * 512-bit vectors, the application would pay as well. libc's memcmp(), which AVX2 keeps up with, stays at 256
 * bits too.
 */
#include "dsm/diff_internal.h"

#include <endian.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define ALL_DIFFERENT UINT64_MAX

/* --- making masks -------------------------------------------------------------------------------------- */

/*
 * The common body of all diff_skip_fn, into which the compiler puts @equal (are two chunks?) and @mask_of.
 * Most chunks are equal, and knowing that is cheaper than a mask.
 */
static inline __attribute__((always_inline)) size_t skip(
    const unsigned char *now, const unsigned char *before, size_t at, size_t bytes, uint64_t same,
    uint64_t *mask, bool (*equal)(const unsigned char *, const unsigned char *),
    uint64_t (*mask_of)(const unsigned char *, const unsigned char *))
{
	if (!same)
		while (bytes - at >= DIFF_CHUNK && equal(now + at, before + at))
			at += DIFF_CHUNK;
	for (; bytes - at >= DIFF_CHUNK; at += DIFF_CHUNK) {
		*mask = mask_of(now + at, before + at);
		if (*mask != same)
			break;
	}
	return at;
}

/* The bits in which word @i differs; its lowest byte is the one at the lowest address. */
static inline uint64_t plain_word(const unsigned char *now, const unsigned char *before, size_t i)
{
	uint64_t a, b;

	memcpy(&a, now + i * sizeof a, sizeof a);
	memcpy(&b, before + i * sizeof b, sizeof b);
	return le64toh(a ^ b);
}

static inline bool plain_equal(const unsigned char *now, const unsigned char *before)
{
	uint64_t difference = 0;

	for (size_t i = 0; i < DIFF_CHUNK / sizeof(uint64_t); i++)
		difference |= plain_word(now, before, i);
	return !difference;
}

/* One bit for each byte of @x that is not zero. */
static inline uint64_t nonzero_bytes(uint64_t x)
{
	/* Into the top bit of each byte: adding 0x7f carries there from any lower bit, and not beyond. */
	uint64_t tops = (((x & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f) | x) & 0x8080808080808080;

	/* The product gathers them: bit 8i lands in bit 56 + i. No two of its terms meet, so none carries. */
	return ((tops >> 7) * 0x0102040810204080) >> 56;
}

static inline uint64_t plain_mask(const unsigned char *now, const unsigned char *before)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < DIFF_CHUNK / sizeof(uint64_t); i++)
		mask |= nonzero_bytes(plain_word(now, before, i)) << 8 * i;
	return mask;
}

static size_t plain_skip(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes,
			 uint64_t same, uint64_t *mask)
{
	return skip(now, before, at, bytes, same, mask, plain_equal, plain_mask);
}

static bool plain_supported(void)
{
	return true;
}

#ifdef __x86_64__

/* 0xff in each byte of vector @i that is equal. */
static inline __m128i sse2_same(const unsigned char *now, const unsigned char *before, size_t i)
{
	return _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)now + i),
			      _mm_loadu_si128((const __m128i *)(const void *)before + i));
}

static inline bool sse2_equal(const unsigned char *now, const unsigned char *before)
{
	__m128i low = _mm_and_si128(sse2_same(now, before, 0), sse2_same(now, before, 1)),
		high = _mm_and_si128(sse2_same(now, before, 2), sse2_same(now, before, 3));

	return _mm_movemask_epi8(_mm_and_si128(low, high)) == 0xffff;
}

static inline uint64_t sse2_mask(const unsigned char *now, const unsigned char *before)
{
	uint64_t same = 0;

	for (size_t i = 0; i < 4; i++)
		same |= (uint64_t)(unsigned)_mm_movemask_epi8(sse2_same(now, before, i)) << 16 * i;
	return ~same;
}

static size_t sse2_skip(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes,
			uint64_t same, uint64_t *mask)
{
	return skip(now, before, at, bytes, same, mask, sse2_equal, sse2_mask);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i avx2_same(const unsigned char *now, const unsigned char *before, size_t i)
{
	return _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)now + i),
				 _mm256_loadu_si256((const __m256i *)(const void *)before + i));
}

AVX2 static inline bool avx2_equal(const unsigned char *now, const unsigned char *before)
{
	return _mm256_movemask_epi8(_mm256_and_si256(avx2_same(now, before, 0), avx2_same(now, before, 1))) ==
	       -1;
}

AVX2 static inline uint64_t avx2_mask(const unsigned char *now, const unsigned char *before)
{
	uint64_t low = (unsigned)_mm256_movemask_epi8(avx2_same(now, before, 0)),
		 high = (unsigned)_mm256_movemask_epi8(avx2_same(now, before, 1));

	return ~(high << 32 | low);
}

AVX2 static size_t avx2_skip(const unsigned char *now, const unsigned char *before, size_t at, size_t bytes,
			     uint64_t same, uint64_t *mask)
{
	return skip(now, before, at, bytes, same, mask, avx2_equal, avx2_mask);
}

static bool avx2_supported(void)
{
	__builtin_cpu_init(); /* a constructor may come before libgcc's own */
	return __builtin_cpu_supports("avx2");
}

#endif

/* --- choosing ------------------------------------------------------------------------------------------ */

const struct diff_implementation diff_implementations[] = {
    {"plain", plain_supported, plain_skip},
#ifdef __x86_64__
    {"sse2", plain_supported, sse2_skip}, /* x86-64 includes it */
    {"avx2", avx2_supported, avx2_skip},
#endif
    {NULL, NULL, NULL},
};

/* Valid from the start, for the constructors that run before the one below. */
static const struct diff_implementation *chosen = &diff_implementations[0];

const struct diff_implementation *diff_chosen(void)
{
	return chosen;
}

void diff_choose(const struct diff_implementation *implementation)
{
	chosen = implementation;
}

/*
 * A constructor, not an ifunc: the resolver of an ifunc runs while relocations are being made, before a
 * sanitizer has set up what instrumented code needs. And not on the first call, in which threads would race.
 */
__attribute__((constructor)) static void choose_fastest(void)
{
	for (const struct diff_implementation *i = diff_implementations; i->name; i++)
		if (i->supported())
			chosen = i;
}

/* --- runs ---------------------------------------------------------------------------------------------- */

/* The mask of the last chunk, which is not a whole one. Bytes beyond the end count as equal. */
static uint64_t tail_mask(const struct diff *d, size_t at)
{
	uint64_t mask = 0;

	for (size_t i = 0; at + i < d->bytes; i++)
		mask |= (uint64_t)(d->now[at + i] != d->before[at + i]) << i;
	return mask;
}

/* Skips chunks with the mask @same, and goes to the one after them; beyond the end, nothing differs. */
static void skip_chunks(struct diff *d, uint64_t same)
{
	size_t at = chosen->skip(d->now, d->before, d->at, d->bytes, same, &d->left);

	if (d->bytes - at < DIFF_CHUNK)
		d->left = tail_mask(d, at);
	d->at = at + DIFF_CHUNK;
}

bool diff_seek(struct diff *d)
{
	if (d->at < d->bytes)
		skip_chunks(d, 0);
	return d->left != 0;
}

/* Such a run ended in a whole chunk, so @at is not beyond the end yet. */
size_t diff_seek_end(struct diff *d)
{
	skip_chunks(d, ALL_DIFFERENT);
	size_t end = d->at - DIFF_CHUNK + (size_t)__builtin_ctzll(~d->left);
	d->left &= d->left + 1; /* without the lowest run of ones */
	return end;
}

size_t diff_next(const unsigned char *now, const unsigned char *before, size_t from, size_t bytes,
		 size_t *end)
{
	struct diff d = {.now = now, .before = before, .bytes = bytes, .at = from};
	size_t start;

	return diff_run(&d, &start, end) ? start : bytes;
}
