/*
 * Conformance: the letter's use case as a whole. A program runs on memory that was copied while its source
 * still changed. Pages that are out of date are replaced through the second mapping, on demand when the
 * program faults and at the same time in the background, and each page is seen up to date and by nobody too
 * early.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

#define GUESTS 2
#define MAX_PAGES 64
#define OLD(page) (page)
#define NEW(page) ((page) + 1000)

/* Every third page did not change after it was copied. */
static bool is_stale(size_t page)
{
	return page % 3 != 0;
}

static uint64_t seed_now(size_t page)
{
	return is_stale(page) ? NEW(page) : OLD(page);
}

struct migration {
	struct trial *trial;
	pthread_mutex_t lock[MAX_PAGES]; /* held while a page is brought up to date */
	bool mapped[MAX_PAGES];		 /* under lock[] */
	atomic_bool over;		 /* set by the case, read by the handler */
	atomic_uint wrong;		 /* pages that a guest saw out of date */
};

struct guest {
	struct migration *migration;
	pthread_t thread;
	bool backwards;
};

/* Whoever comes first updates the page; whoever comes second only has to wake. */
static void bring_up_to_date(struct migration *m, size_t page)
{
	struct trial *t = m->trial;

	pthread_mutex_lock(&m->lock[page]);
	if (!m->mapped[page]) {
		if (is_stale(page))
			fill_page(t, page, NEW(page));
		REQUIRE_OK(t, uffd_continue(t->uffd, app_page(t, page), t->page_bytes, 0, NULL));
		m->mapped[page] = true;
	} else {
		REQUIRE_RESULT(t, -EEXIST, uffd_continue(t->uffd, app_page(t, page), t->page_bytes, 0, NULL));
		REQUIRE_OK(t, uffd_wake(t->uffd, app_page(t, page), t->page_bytes));
	}
	pthread_mutex_unlock(&m->lock[page]);
}

static void *guest_main(void *arg)
{
	struct guest *guest = arg;
	struct trial *t = guest->migration->trial;
	size_t i;

	for (i = 0; i < t->row->pages; i++) {
		size_t page = guest->backwards ? t->row->pages - 1 - i : i;

		if (!page_holds(t, app_page(t, page), seed_now(page)))
			atomic_fetch_add(&guest->migration->wrong, 1);
	}
	return NULL;
}

static void *handler_main(void *arg)
{
	struct migration *m = arg;
	struct trial *t = m->trial;

	while (!atomic_load(&m->over)) {
		struct pollfd ready = {.fd = t->uffd, .events = POLLIN};
		struct uffd_msg msg;

		/* A message vanishes when its thread is woken before it is read: then read() has nothing. */
		if (poll(&ready, 1, 10) == 1 && read(t->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg)) {
			REQUIRE(t, msg.arg.pagefault.flags == UFFD_PAGEFAULT_FLAG_MINOR);
			bring_up_to_date(m, (msg.arg.pagefault.address - (uintptr_t)t->app) / t->page_bytes);
		}
	}
	return NULL;
}

static void copy_while_source_runs(struct migration *m)
{
	size_t page;

	for (page = 0; page < m->trial->row->pages; page++) {
		pthread_mutex_init(&m->lock[page], NULL);
		fill_page(m->trial, page, OLD(page));
	}
}

static void migrate(struct trial *t)
{
	struct migration m = {.trial = t};
	struct guest guests[GUESTS];
	pthread_t handler;
	size_t i;

	REQUIRE(t, t->row->pages <= MAX_PAGES);
	copy_while_source_runs(&m);
	trial_watch(t, 0, MODE_MINOR);
	REQUIRE_OK(t, -pthread_create(&handler, NULL, handler_main, &m));
	for (i = 0; i < GUESTS; i++) {
		guests[i] = (struct guest){.migration = &m, .backwards = i % 2};
		REQUIRE_OK(t, -pthread_create(&guests[i].thread, NULL, guest_main, &guests[i]));
	}
	/* In the background, from the middle: the guests come from both ends. */
	for (i = 0; i < t->row->pages; i++)
		bring_up_to_date(&m, (i + t->row->pages / 2) % t->row->pages);
	for (i = 0; i < GUESTS; i++)
		REQUIRE_OK(t, -pthread_join(guests[i].thread, NULL));
	atomic_store(&m.over, true);
	REQUIRE_OK(t, -pthread_join(handler, NULL));
	REQUIRE(t, atomic_load(&m.wrong) == 0);
}

static const struct conformance_case cases[] = {
    {
	.name = "migration",
	.run = migrate,
	.memory = ON_SHMEM,
	.pages = MAX_PAGES,
	.claim =
	    "a running program sees every page up to date, updated on demand and in the background at once",
	.letter = "every page up to date",
    },
    {
	.name = "migration",
	.run = migrate,
	.memory = ON(MEMORY_HUGETLB_2M),
	.pages = 16,
	.claim = "the same on 2 MiB pages",
	.letter = "every page up to date",
    },
    {
	.name = "migration",
	.run = migrate,
	.memory = ON(MEMORY_HUGETLB_1G),
	.pages = 2,
	.claim = "the same on 1 GiB pages",
	.letter = "every page up to date",
    },
};

const struct case_table migration_cases = {cases, sizeof(cases) / sizeof(cases[0])};
