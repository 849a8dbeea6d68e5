/*
 * Bare requests. See sync_rdma.h.
 */
#include "bench/sync_rdma.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench/bare_verbs.h"
#include "bench/sync_bench.h"
#include "kernel/memory.h"

#define DATA_BYTES (2 * MIB)

/* The same on every node; what others write is apart from what they are written from. */
struct words {
	_Alignas(64) uint64_t ball; /* others write it */
	_Alignas(64) uint64_t thrown;
	_Alignas(64) uint64_t word; /* of atomics */
	_Alignas(64) uint64_t old[BARE_CHAIN_MOST];
	_Alignas(4096) char source[DATA_BYTES];
	char target[DATA_BYTES];
};

struct sync_rdma {
	struct bare *bare;
	struct bare_memory exposed;
	struct words *words;
	bool throwing;
};

struct sync_rdma *sync_rdma_open(const struct job *job)
{
	struct sync_rdma *rdma = calloc(1, sizeof *rdma);
	void *memory =
	    mmap(NULL, sizeof *rdma->words, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!rdma || memory == MAP_FAILED)
		job_fail("out of memory");
	rdma->words = memory;
	bare_open(job, 1, &rdma->bare);
	bare_expose(rdma->bare, memory, sizeof *rdma->words, &rdma->exposed);
	return rdma;
}

void sync_rdma_close(struct sync_rdma *rdma)
{
	if (!rdma)
		return;
	job_meet(); /* nobody has a request under way */
	bare_conceal(&rdma->exposed);
	bare_close(rdma->bare);
	munmap(rdma->words, sizeof *rdma->words);
	free(rdma);
}

/* Who has the row's home. */
static int home_of_row(const struct bench *b)
{
	return b->row->home == HOME_THERE ? b->peer : 0;
}

static struct bare_request read_word(const struct sync_rdma *r)
{
	return (struct bare_request){
	    .opcode = IBV_WR_RDMA_READ,
	    .local = r->words->old,
	    .bytes = sizeof r->words->old[0],
	    .offset = offsetof(struct words, word),
	};
}

static struct bare_request add_one(const struct sync_rdma *r, unsigned int index)
{
	return (struct bare_request){
	    .opcode = IBV_WR_ATOMIC_FETCH_AND_ADD,
	    .local = &r->words->old[index],
	    .bytes = sizeof r->words->old[0],
	    .offset = offsetof(struct words, word),
	    .add_or_expected = 1,
	};
}

static void do_one(const struct bench *b, const struct bare_request *request)
{
	struct sync_rdma *r = b->rdma;

	require(b, bare_do(r->bare, 0, home_of_row(b), &r->exposed, request), "bare RDMA");
}

void sync_rdma_read(struct bench *b)
{
	struct bare_request request = read_word(b->rdma);

	do_one(b, &request);
}

void sync_rdma_read_all(struct bench *b)
{
	struct sync_rdma *r = b->rdma;
	struct bare_request request = read_word(r);

	for (int peer = 1; peer < b->job->nodes; peer++)
		require(b, bare_post(r->bare, 0, peer, &r->exposed, &request, 1), "bare RDMA");
	for (int peer = 1; peer < b->job->nodes; peer++)
		require(b, bare_wait(r->bare, 0), "bare RDMA");
}

void sync_rdma_add(struct bench *b)
{
	struct bare_request request = add_one(b->rdma, 0);

	do_one(b, &request);
}

void sync_rdma_two_adds(struct bench *b)
{
	sync_rdma_add(b);
	sync_rdma_add(b);
}

void sync_rdma_compare_swap(struct bench *b)
{
	struct bare_request request = add_one(b->rdma, 0);

	request.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
	do_one(b, &request);
}

void sync_rdma_two_compare_swaps(struct bench *b)
{
	sync_rdma_compare_swap(b);
	sync_rdma_compare_swap(b);
}

/* --- publishing ---------------------------------------------------------------------------------------- */

/* Of each page so much has changed, at places that are a page apart as far as there is memory for it. */
static struct bare_request write_page(const struct sync_rdma *r, const struct sync_row *row,
				      unsigned int page)
{
	size_t at = page * row->page_bytes % DATA_BYTES;

	return (struct bare_request){
	    .opcode = IBV_WR_RDMA_WRITE,
	    .local = r->words->source + at,
	    .bytes = row->changed_bytes,
	    .offset = offsetof(struct words, target) + at,
	};
}

void sync_rdma_publish(const struct bench *b)
{
	struct sync_rdma *r = b->rdma;
	struct bare_request requests[BARE_CHAIN_MOST];
	unsigned int count = 0;

	for (unsigned int page = 0; page < b->row->changed; page++) {
		if (b->row->home == HOME_THERE)
			requests[count++] = write_page(r, b->row, page);
		requests[count] = add_one(r, count);
		count++;
		if (count + 2 <= BARE_CHAIN_MOST && page + 1 < b->row->changed)
			continue;
		require(b, bare_post(r->bare, 0, home_of_row(b), &r->exposed, requests, count), "bare RDMA");
		require(b, bare_wait(r->bare, 0), "bare RDMA");
		count = 0;
	}
}

/* --- a ball -------------------------------------------------------------------------------------------- */

void sync_rdma_throw(struct bench *b, uint64_t value)
{
	struct sync_rdma *r = b->rdma;
	const struct bare_request request = {
	    .opcode = IBV_WR_RDMA_WRITE,
	    .local = &r->words->thrown,
	    .bytes = sizeof value,
	    .offset = offsetof(struct words, ball),
	};

	sync_rdma_finish_throw(b);
	r->words->thrown = value;
	require(b, bare_post(r->bare, 0, b->job->node ? 0 : b->peer, &r->exposed, &request, 1), "bare RDMA");
	r->throwing = true;
}

const uint64_t *sync_rdma_ball(const struct bench *b)
{
	return &b->rdma->words->ball;
}

void sync_rdma_finish_throw(struct bench *b)
{
	if (b->rdma->throwing)
		require(b, bare_wait(b->rdma->bare, 0), "bare RDMA");
	b->rdma->throwing = false;
}
