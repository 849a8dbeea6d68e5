/*
 * Conformance: page tables of hugetlb memory are not shared where userfaultfd needs them apart.
 *
 * Two mappings of one hugetlb file that both cover an aligned GiB may share the page table below it (the
 * "PMD page"), in one process or in two. Then a page that one of them maps is mapped in the other, which
 * would never see its minor fault. The letter forbids that for registered ranges.
 *
 * How it is seen: this process maps page 0, a second one maps page 1, and this process looks up page 1, which
 * it never touched, in its own /proc/self/pagemap. With a shared table it is there. Every case first makes
 * that happen between unregistered mappings: where it does not, nothing can be shown, and the case is
 * skipped. The flags of both mappings must be equal, or the kernel would not share for that reason alone: so
 * both processes register, each with a descriptor of its own.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kernel/conformance/trial.h"

#define SHARED_BYTES GIB
#define PAGE_BYTES (2 * MIB)

/* One mapping of the file: an aligned GiB. */
struct side {
	char *base;
	int uffd; /* -1: not registered */
};

/* What the second process is asked to do, and what it answers: 0, 1 or -errno. */
enum peer_operation {
	PEER_MAP,     /* map the file, register it for `argument` (0: not) */
	PEER_BRING,   /* bring page `argument` in */
	PEER_PRESENT, /* is page `argument` in the page table? */
};

struct peer_command {
	enum peer_operation operation;
	uint64_t argument;
};

struct peer {
	int commands; /* we write struct peer_command */
	int answers;  /* we read int */
};

static int map_aligned(int file, char **out)
{
	size_t room_bytes = 2 * SHARED_BYTES;
	char *room = mmap(NULL, room_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *p = NULL;
	char *aligned;
	int err;

	if (room == MAP_FAILED)
		return -errno;
	aligned = room + (SHARED_BYTES - (uintptr_t)room % SHARED_BYTES) % SHARED_BYTES;
	munmap(room, room_bytes);
	err = memory_map(file, SHARED_BYTES, aligned, &p);
	if (!err)
		*out = p;
	return err;
}

static int register_side(struct side *side, uint64_t modes)
{
	if (modes == 0)
		return 0;
	side->uffd = uffd_open(0, false, NULL);
	if (side->uffd < 0)
		return side->uffd;
	return uffd_register(side->uffd, side->base, SHARED_BYTES, modes, NULL);
}

static int open_side(int file, struct side *side, uint64_t modes)
{
	int err = map_aligned(file, &side->base);

	side->uffd = -1;
	return err ? err : register_side(side, modes);
}

static char *side_page(const struct side *side, size_t page)
{
	return side->base + page * PAGE_BYTES;
}

/* Maps a page that is in the file: by CONTINUE where a touch would be a minor fault. */
static int bring_in(const struct side *side, uint64_t modes, size_t page)
{
	if (modes & MODE_MINOR)
		return uffd_continue(side->uffd, side_page(side, page), PAGE_BYTES, 0, NULL);
	(void)*(volatile uint64_t *)side_page(side, page);
	return 0;
}

/* @return 1: the page is in the side's page table, 0: it is not; or -errno. */
static int present(const struct side *side, size_t page)
{
	uint64_t entry = 0;
	int fd = pagemap_open();
	int err;

	if (fd < 0)
		return fd;
	err = pagemap_read(fd, side_page(side, page), 1, &entry);
	close(fd);
	return err ? err : (entry & PAGEMAP_PRESENT) != 0;
}

static int obey(const struct peer_command *command, int file, struct side *side, uint64_t *modes)
{
	switch (command->operation) {
	case PEER_MAP:
		*modes = command->argument;
		return open_side(file, side, *modes);
	case PEER_BRING:
		return bring_in(side, *modes, command->argument);
	case PEER_PRESENT:
		return present(side, command->argument);
	default:
		return -EINVAL;
	}
}

static _Noreturn void peer_main(int file, int commands, int answers)
{
	struct side side = {.uffd = -1};
	struct peer_command command;
	uint64_t modes = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(commands, &command, sizeof(command)) == (ssize_t)sizeof(command)) {
		int answer = obey(&command, file, &side, &modes);

		if (write(answers, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
			break;
	}
	_exit(0);
}

static void start_peer(struct trial *t, int file, struct peer *peer)
{
	int commands[2];
	int answers[2];
	pid_t pid;

	REQUIRE(t, pipe(commands) == 0 && pipe(answers) == 0);
	pid = fork();
	REQUIRE(t, pid >= 0);
	if (pid == 0) {
		close(commands[1]);
		peer_main(file, commands[0], answers[1]);
	}
	close(commands[0]);
	close(answers[1]);
	peer->commands = commands[1];
	peer->answers = answers[0];
}

static int ask_peer(struct trial *t, const struct peer *peer, enum peer_operation operation,
		    uint64_t argument)
{
	struct peer_command command = {.operation = operation, .argument = argument};
	int answer;

	REQUIRE(t, write(peer->commands, &command, sizeof(command)) == (ssize_t)sizeof(command));
	REQUIRE(t, read(peer->answers, &answer, sizeof(answer)) == (ssize_t)sizeof(answer));
	return answer;
}

/* A file of a GiB with its first pages in it, one for each side. */
static int make_file(struct trial *t)
{
	int pagemap = trial_pagemap(t);
	int file = memory_file_create("minorca-conformance-sharing", SHARED_BYTES, PAGE_BYTES);
	int err;

	close(pagemap);
	REQUIRE(t, file >= 0);
	err = memory_allocate(file, 0, 2 * PAGE_BYTES);
	if (err == -ENOSPC)
		trial_skip(t, "somebody else took the free hugepages");
	REQUIRE_OK(t, err);
	return file;
}

/* Page 0 is mapped by us, page 1 by a second process. @return whether we see page 1 mapped. */
static bool shares_with_peer(struct trial *t, uint64_t modes, struct side *ours, struct peer *peer)
{
	int file = make_file(t);
	int seen;

	start_peer(t, file, peer);
	REQUIRE_OK(t, open_side(file, ours, modes));
	REQUIRE_OK(t, bring_in(ours, modes, 0));
	REQUIRE_RESULT(t, 1, present(ours, 0));
	REQUIRE_OK(t, ask_peer(t, peer, PEER_MAP, modes));
	REQUIRE_OK(t, ask_peer(t, peer, PEER_BRING, 1));
	REQUIRE_RESULT(t, 1, ask_peer(t, peer, PEER_PRESENT, 1));
	seen = present(ours, 1);
	REQUIRE(t, seen >= 0);
	close(file);
	return seen;
}

static void require_control(struct trial *t, bool shared)
{
	if (!shared)
		trial_skip(t, "control: unregistered mappings share no page table on this kernel either "
			      "(CONFIG_HUGETLB_PMD_PAGE_TABLE_SHARING)");
}

static void drop_side(struct side *side)
{
	munmap(side->base, SHARED_BYTES);
	if (side->uffd >= 0)
		close(side->uffd);
}

static void control_shares(struct trial *t, struct side *ours, struct peer *peer)
{
	require_control(t, shares_with_peer(t, 0, ours, peer));
}

static void registered_not_shared(struct trial *t, uint64_t modes)
{
	struct side ours = {.uffd = -1};
	struct peer control;
	struct peer peer;

	control_shares(t, &ours, &control);
	drop_side(&ours);
	trial_answer(t, shares_with_peer(t, modes, &ours, &peer) ? "shared" : "not shared");
}

static void not_shared_minor(struct trial *t)
{
	registered_not_shared(t, MODE_MINOR);
}

static void not_shared_wp(struct trial *t)
{
	registered_not_shared(t, MODE_WP);
}

/*
 * A table that is shared already is given up when its range is registered: nothing is mapped there any more,
 * the next touch is a minor fault, and the other process keeps what it has.
 */
static void unshared_by(struct trial *t, uint64_t modes)
{
	struct side ours = {.uffd = -1};
	struct peer peer;

	control_shares(t, &ours, &peer);
	REQUIRE_OK(t, register_side(&ours, modes));
	REQUIRE_RESULT(t, 0, present(&ours, 1));
	REQUIRE_OK(t, bring_in(&ours, modes, 0));
	REQUIRE_RESULT(t, 0, present(&ours, 1));
	REQUIRE_RESULT(t, 1, ask_peer(t, &peer, PEER_PRESENT, 1));
}

static void unshared_minor(struct trial *t)
{
	unshared_by(t, MODE_MINOR);
}

static void unshared_wp(struct trial *t)
{
	unshared_by(t, MODE_WP);
}

/* Our own alias is a second mapping, too: what it maps must not be mapped in the registered one. */
static bool shares_with_alias(struct trial *t, uint64_t modes)
{
	int file = make_file(t);
	struct side alias = {.uffd = -1};
	struct side app = {.uffd = -1};
	int seen;

	REQUIRE_OK(t, open_side(file, &app, modes));
	REQUIRE_OK(t, open_side(file, &alias, 0));
	REQUIRE_OK(t, bring_in(&app, modes, 0));
	REQUIRE_OK(t, bring_in(&alias, 0, 1));
	REQUIRE_RESULT(t, 1, present(&alias, 1));
	seen = present(&app, 1);
	REQUIRE(t, seen >= 0);
	drop_side(&alias);
	drop_side(&app);
	close(file);
	return seen;
}

static void alias_not_shared(struct trial *t)
{
	require_control(t, shares_with_alias(t, 0));
	trial_answer(t, shares_with_alias(t, MODE_MINOR) ? "shared" : "not shared");
}

static const struct conformance_case cases[] = {
    {
	.name = "pmd-not-shared-minor",
	.run = not_shared_minor,
	.memory = ON(MEMORY_HUGETLB_2M),
	.pages = 4,
	.claim = "two processes that registered one aligned GiB for minor faults share no page table",
	.letter = "not shared",
    },
    {
	.name = "pmd-not-shared-wp",
	.run = not_shared_wp,
	.memory = ON(MEMORY_HUGETLB_2M),
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 4,
	.claim = "nor do two that registered it for write-protection",
	.letter = "not shared",
    },
    {
	.name = "pmd-unshared-minor",
	.run = unshared_minor,
	.memory = ON(MEMORY_HUGETLB_2M),
	.pages = 2,
	.claim = "registering for minor faults gives up a table that is shared already",
	.later = "given up",
	.since = "5.13",
    },
    {
	.name = "pmd-unshared-wp",
	.run = unshared_wp,
	.memory = ON(MEMORY_HUGETLB_2M),
	.features = UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	.pages = 2,
	.claim = "so does registering for write-protection",
	.letter = "given up",
    },
    {
	.name = "pmd-alias-not-shared",
	.run = alias_not_shared,
	.memory = ON(MEMORY_HUGETLB_2M),
	.pages = 4,
	.claim = "what the alias maps is not mapped in the registered mapping beside it",
	.letter = "not shared",
    },
};

const struct case_table sharing_cases = {cases, sizeof(cases) / sizeof(cases[0])};
