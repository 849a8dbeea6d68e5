/*
 * Making and freeing regions. Collective: each stage ends with the nodes telling each other how it went, and
 * all go on or all give up.
 */
#include "dsm/region.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/address.h"
#include "dsm/bootstrap.h"
#include "dsm/capacity.h"
#include "dsm/delivery.h"
#include "dsm/destroyed.h"
#include "dsm/fault.h"
#include "dsm/fetch.h"
#include "dsm/lane.h"
#include "dsm/lock_table.h"
#include "dsm/migration.h"
#include "dsm/prefetch.h"
#include "dsm/report.h"
#include "dsm/runtime.h"
#include "dsm/topology.h"
#include "kernel/memory.h"
#include "kernel/uffd.h"

/* Tries at an address that all nodes have free: another thread may map something there first. */
#define ADDRESS_TRIES 4
/* Allocated by one system call. */
#define ALLOCATE_AT_ONCE_BYTES (256 * MIB)

/* What the nodes must agree on, and what they tell each other first. */
struct proposal {
	uint64_t bytes, page_bytes, chunk_bytes, address;
	int32_t home, home_node, delivery, readahead;
	uint32_t id;
	uint64_t movable, sparse; /* words: nothing between the fields that memcmp() would see */
	struct address_space space;
};

/* A region that is being made. */
struct draft {
	struct dsm_region *region;
	struct proposal proposal;
	char what[96];	   /* "dsm_region_create(NAME)" */
	char message[512]; /* what to tell the user if this node is the one that speaks */
};

/* --- checking what was asked for ------------------------------------------------------------------------ */

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) / unit * unit;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct draft *draft, int error, const char *format,
							...)
{
	size_t used = (size_t)snprintf(draft->message, sizeof draft->message, "%s: ", draft->what);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(draft->message + used, sizeof draft->message - used, format, arguments);
	va_end(arguments);
	return error;
}

static int propose(struct draft *draft, size_t bytes, const struct dsm_region_options *o)
{
	struct proposal *p = &draft->proposal;
	uint64_t page_bytes = o->page_size_bytes ? o->page_size_bytes : runtime.settings.page_size_bytes;

	if (!memory_page_size_is_known(page_bytes))
		return refuse(draft, -EINVAL,
			      "a page size of %" PRIu64 " bytes; regions have 4096, 2097152 or 1073741824",
			      page_bytes);
	if (!bytes || bytes > UINT64_MAX / 2)
		return refuse(draft, -EINVAL, "%zu bytes", bytes);
	p->bytes = round_up(bytes, page_bytes);
	p->page_bytes = page_bytes;
	p->home = (int32_t)o->home;
	p->address = (uint64_t)(uintptr_t)o->address;
	p->delivery = (int32_t)(o->delivery ? o->delivery : runtime.settings.delivery);
	p->sparse = o->sparse;
	p->movable = o->movable;
	if (o->movable && (o->sparse || o->home != DSM_HOME_NODE))
		return refuse(
		    draft, -EINVAL,
		    "a movable region has one home, which may move (DSM_HOME_NODE), and is not sparse");
	p->readahead = (int32_t)o->readahead;
	if (p->address % page_bytes)
		return refuse(draft, -EINVAL, "address %p is not a multiple of the page size", o->address);
	if (p->delivery > DSM_DELIVERY_THREAD_BLOCK || p->delivery < 0)
		return refuse(draft, -EINVAL, "%d is not a delivery", p->delivery);
	if (p->readahead != DSM_READAHEAD_AUTO && p->readahead != DSM_READAHEAD_OFF)
		return refuse(draft, -EINVAL, "%d is not a way to read ahead", p->readahead);
	switch (o->home) {
	case DSM_HOME_BLOCK:
		return 0;
	case DSM_HOME_CYCLIC:
		p->chunk_bytes = o->chunk_bytes		? o->chunk_bytes
				 : page_bytes > 2 * MIB ? page_bytes
							: 2 * MIB;
		if (p->chunk_bytes % page_bytes)
			return refuse(draft, -EINVAL, "chunks of %" PRIu64 " bytes are not whole pages",
				      p->chunk_bytes);
		return 0;
	case DSM_HOME_NODE:
		p->home_node = o->home_node;
		if (o->home_node < 0 || o->home_node >= runtime.nodes)
			return refuse(draft, -EINVAL, "home_node %d; the job has nodes 0 to %d", o->home_node,
				      runtime.nodes - 1);
		return 0;
	default:
		return refuse(draft, -EINVAL, "%d is not a home policy", (int)o->home);
	}
}

static void read_address_space(struct draft *draft)
{
	size_t alignment = draft->proposal.page_bytes > 2 * MIB ? draft->proposal.page_bytes : 2 * MIB;
	FILE *maps = fopen("/proc/self/maps", "re");

	memset(&draft->proposal.space, 0, sizeof draft->proposal.space);
	if (!maps)
		return;
	address_read_free(maps, draft->proposal.bytes, alignment, &draft->proposal.space);
	fclose(maps);
}

static int compare_proposals(struct draft *draft, const struct proposal *all)
{
	const struct proposal *mine = &draft->proposal;

	for (int i = 0; i < runtime.nodes; i++)
		if (memcmp(&all[i], mine, offsetof(struct proposal, space)))
			return refuse(draft, -EINVAL,
				      "differs between nodes: here %" PRIu64 " bytes of %" PRIu64
				      "-byte pages, home policy %d, %ssparse, %smovable; on node %d %" PRIu64
				      " bytes of %" PRIu64 "-byte pages, home policy %d, %ssparse, %smovable",
				      mine->bytes, mine->page_bytes, mine->home, mine->sparse ? "" : "not ",
				      mine->movable ? "" : "not ", i, all[i].bytes, all[i].page_bytes,
				      all[i].home, all[i].sparse ? "" : "not ", all[i].movable ? "" : "not ");
	return 0;
}

/* --- mapping ------------------------------------------------------------------------------------------- */

static int describe_collision(struct draft *draft, uint64_t address)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[256] = "something";

	if (maps) {
		address_find_user(maps, address, draft->proposal.bytes, line, sizeof line);
		fclose(maps);
	}
	return refuse(draft, -EADDRINUSE,
		      "cannot be at %#" PRIx64 ", %" PRIu64
		      " bytes: taken by \"%s\"; choose another address, or none (then "
		      "the nodes agree on one)",
		      address, draft->proposal.bytes, line);
}

/* Maps the region at @address, if it is free here. */
static int map_at(struct draft *draft, uint64_t address)
{
	struct dsm_region *r = draft->region;
	void *app;

	destroyed_forget((void *)(uintptr_t)address, r->bytes);
	int error = memory_map(r->fd, r->bytes, (void *)(uintptr_t)address, &app);

	if (!error)
		r->app = app;
	else if (error == -EEXIST)
		return describe_collision(draft, address);
	else
		return refuse(draft, error, "cannot map %zu bytes: %s; see `ulimit -v` and vm.max_map_count",
			      r->bytes, strerror(-error));
	return 0;
}

/* What the nodes tell of their free addresses, checked. */
static int take_spaces(struct draft *draft, const struct proposal *all, struct address_space *spaces)
{
	for (int i = 0; i < runtime.nodes; i++) {
		spaces[i] = all[i].space;
		if (!address_space_is_possible(&spaces[i]))
			return refuse(draft, -EPROTO, "node %d tells of free addresses that cannot be", i);
	}
	return 0;
}

/* Maps the region at the address that was asked for, or at one that is free on all nodes. */
static int choose_and_map(struct draft *draft, const struct address_space *spaces, size_t alignment)
{
	struct dsm_region *r = draft->region;
	uint64_t address = draft->proposal.address;

	if (!address)
		address = address_choose(spaces, runtime.nodes, r->bytes, alignment);
	if (!address)
		return refuse(draft, -ENOMEM,
			      "too large: no range of %zu bytes of address space is free on all nodes",
			      r->bytes);
	return map_at(draft, address);
}

/*
 * Agrees on an address and maps the region there. The address that the user asked for is tried once;
 * otherwise each node says what it has free, all choose the same, and all try.
 */
static int agree_on_address(struct draft *draft, const struct proposal *first_round)
{
	struct proposal *all = calloc((size_t)runtime.nodes, sizeof *all);
	struct address_space *spaces = calloc((size_t)runtime.nodes, sizeof *spaces);
	struct dsm_region *r = draft->region;
	size_t alignment = r->hugetlb && region_page_bytes(r) > 2 * MIB ? region_page_bytes(r) : 2 * MIB;
	int error = bootstrap_agree(draft->what, all && spaces ? 0 : -ENOMEM, "out of memory");

	if (all)
		memcpy(all, first_round, (size_t)runtime.nodes * sizeof *all);
	for (int attempt = 0; !error && all && spaces; attempt++) {
		error = take_spaces(draft, all, spaces);
		if (!error)
			error = choose_and_map(draft, spaces, alignment);
		bool last = draft->proposal.address || attempt + 1 == ADDRESS_TRIES;
		error =
		    bootstrap_agree(draft->what, error, last || error != -EADDRINUSE ? draft->message : NULL);
		if (error != -EADDRINUSE || last)
			break;
		if (r->app)
			munmap(r->app, r->bytes);
		r->app = NULL;
		read_address_space(draft);
		error = bootstrap_gather(draft->what, &draft->proposal, all, sizeof draft->proposal);
	}
	free(all);
	free(spaces);
	return error;
}

/* The memory file and the alias mapping, the version table, and what this node knows of its pages. */
static int make_memory(struct draft *draft)
{
	struct dsm_region *r = draft->region;
	const struct proposal *p = &draft->proposal;
	size_t pages = r->bytes >> r->page_shift;
	void *memory;
	char why[384];
	int error = r->sparse ? 0 : capacity_check(&r->home, r->page_shift, why, sizeof why);

	if (error)
		return refuse(draft, error, "%s", why);
	r->file_bytes = r->bytes + (p->movable ? migration_spare_bytes(p->page_bytes, pages) : 0);
	r->fd = memory_file_create(r->name, r->file_bytes, region_page_bytes(r));
	if (r->fd < 0)
		return refuse(draft, r->fd == -EMFILE ? -EMFILE : -ENODEV,
			      "cannot make a memory file of pages of %s: %s; see `minorca info`",
			      memory_page_size_name(region_page_bytes(r)), strerror(-r->fd));
	r->versions_bytes = round_up(p->movable ? migration_words_bytes(pages * r->blocks_per_page)
						: region_versions_offset(r, pages),
				     4096);
	r->versions_fd = memory_file_create("minorca-versions", r->versions_bytes, 4096);
	if (r->versions_fd < 0)
		return refuse(draft, r->versions_fd, "cannot make the version table: %s",
			      strerror(-r->versions_fd));
	error = memory_map(r->fd, r->file_bytes, NULL, &memory);
	if (!error) {
		r->alias = memory;
		error = memory_map(r->versions_fd, r->versions_bytes, NULL, &memory);
	}
	if (!error) {
		r->versions = memory;
		error = page_table_create(&r->table, pages, r->blocks_per_page);
	}
	if (!error)
		error = twins_create(&r->twins, pages, region_page_bytes(r));
	if (!error)
		error = page_set_create(&r->dirty, pages);
	if (!error)
		error = page_set_create(&r->cached, pages);
	if (!error && p->movable)
		error = migration_create(r);
	if (error)
		return refuse(draft, -ENOMEM,
			      "too large: %zu bytes of address space for it and its tables are not to be had "
			      "(%s); see `ulimit "
			      "-v`",
			      r->bytes, strerror(-error));
	if (runtime.settings.bind_memory)
		topology_bind_memory(runtime.topology, r->alias, r->bytes); /* without it: slower, no more */
	return 0;
}

/* --- userfaultfd and home pages ------------------------------------------------------------------------- */

static int register_app_mapping(struct draft *draft)
{
	struct dsm_region *r = draft->region;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
	char why[320];

	r->uffd = delivery_open(r->delivery, why, sizeof why);
	if (r->uffd < 0)
		return refuse(draft, r->uffd, "%s", why);
	if (r->migration && r->migration->holder == runtime.node)
		return 0; /* plain memory, until it has been elsewhere */
	int error = uffd_register(r->uffd, r->app, r->bytes, modes, NULL);
	if (error)
		return refuse(draft, error,
			      "cannot register with userfaultfd: %s; see vm.max_map_count and `minorca info`",
			      strerror(-error));
	/* mlockall(MCL_FUTURE) has mapped every page, writable, before we were registered. */
	if (munlock(r->app, r->bytes) || madvise(r->app, r->bytes, MADV_DONTNEED_LOCKED)) {
		error = -errno;
		return refuse(draft, error, "cannot un-map the fresh region: %s", strerror(-error));
	}
	return 0;
}

/* With signals blocked: a timer's (a profiler's) would interrupt the kernel each time before it is done. In
 * pieces, so that a signal is not held up for long. */
int region_allocate_pages(struct dsm_region *r, size_t first, size_t count)
{
	size_t piece = ALLOCATE_AT_ONCE_BYTES >> r->page_shift, page_bytes = region_page_bytes(r);
	int error = 0;

	piece = piece ? piece : 1;
	for (size_t done = 0; done < count && !error; done += piece) {
		size_t pages = count - done < piece ? count - done : piece;
		sigset_t saved;
		runtime_block_signals(&saved);
		do
			error = memory_allocate(r->fd, (first + done) * page_bytes, pages * page_bytes);
		while (error == -EINTR);
		runtime_unblock_signals(&saved);
	}
	return error;
}

/* Allocates and maps the pages that this node is home of, so that a first load from them does not fault. Not
 * of a sparse region: there each is allocated and mapped when it is touched. */
static int map_home_pages(struct draft *draft)
{
	struct dsm_region *r = draft->region;
	int error = 0;

	for (size_t page = r->sparse ? r->home.pages : 0, end; page < r->home.pages && !error; page = end) {
		end = home_run_end(&r->home, page);
		if (home_of(&r->home, page) != runtime.node)
			continue;
		error = region_allocate_pages(r, page, end - page);
		if (error)
			return refuse(
			    draft, error == -ENOSPC ? -ENOSPC : -ENOMEM,
			    "cannot allocate %zu home pages of %s: %s; another program took them meanwhile?",
			    end - page, memory_page_size_name(region_page_bytes(r)), strerror(-error));
		for (size_t i = page; i < end; i++)
			r->table.pages[i].flags |= PAGE_IN_FILE;
		if (r->migration || !r->detects_stores)
			continue; /* each is mapped, writable, when it is touched */
		error = pages_map(r, page, end - page, false);
		if (error)
			return refuse(draft, error, "cannot map home pages: %s", strerror(-error));
		for (size_t i = page; i < end; i++)
			r->table.pages[i].state = PAGE_READ;
	}
	return error;
}

/* --- peers --------------------------------------------------------------------------------------------- */

/* Peers need nothing of pages of other homes. */
static bool is_home_of_any(const void *region, uint64_t offset, uint64_t bytes)
{
	const struct dsm_region *r = region;
	size_t end = (size_t)((offset + bytes + region_page_bytes(r) - 1) >> r->page_shift);

	for (size_t page = (size_t)(offset >> r->page_shift); page < end; page = home_run_end(&r->home, page))
		if (home_of(&r->home, page) == runtime.node)
			return true;
	return false;
}

/* What peers must be told of a region: the key of its bytes, and that of its versions. */
struct region_keys {
	size_t data_bytes, versions_bytes;
	unsigned char *bytes;
};

static size_t keys_bytes(const struct region_keys *keys)
{
	return keys->data_bytes + keys->versions_bytes;
}

static int expose(struct draft *draft, struct region_keys *keys)
{
	struct dsm_region *r = draft->region;
	struct segment_memory data = {
	    .name = draft->what,
	    .fd = r->fd,
	    .base = r->alias,
	    .bytes = r->file_bytes,
	    .page_bytes = region_page_bytes(r),
	    .access = PEERS_READ | PEERS_WRITE | (r->migration ? 0 : PEERS_ATOMIC),
	    .is_served = r->migration ? NULL : is_home_of_any,
	    .argument = r,
	};
	struct segment_memory versions = {
	    .name = "its versions",
	    .fd = r->versions_fd,
	    .base = r->versions,
	    .bytes = r->versions_bytes,
	    .page_bytes = 4096,
	    .access = r->migration ? PEERS_WRITE : PEERS_READ | PEERS_ATOMIC,
	    .words = true,
	};

	keys->data_bytes = runtime.ops->key_bytes(runtime.transport, r->file_bytes);
	keys->versions_bytes = runtime.ops->key_bytes(runtime.transport, r->versions_bytes);
	keys->bytes = calloc(1, keys_bytes(keys));
	if (!keys->bytes)
		return -ENOMEM;
	int error = runtime.ops->expose(runtime.transport, SEGMENT_DATA(r->id), &data, keys->bytes);
	if (!error)
		error = runtime.ops->expose(runtime.transport, SEGMENT_VERSIONS(r->id), &versions,
					    keys->bytes + keys->data_bytes);
	return error;
}

static int attach_peers(struct draft *draft, const struct region_keys *keys)
{
	struct dsm_region *r = draft->region;
	unsigned char *all = calloc((size_t)runtime.nodes, keys_bytes(keys)), *at = all;
	int error = bootstrap_gather(draft->what, keys->bytes, all, keys_bytes(keys));

	for (int peer = 0; all && peer < runtime.nodes && !error; peer++, at += keys_bytes(keys)) {
		error = runtime.ops->attach(runtime.transport, SEGMENT_DATA(r->id), peer, r->file_bytes, at);
		if (!error)
			error = runtime.ops->attach(runtime.transport, SEGMENT_VERSIONS(r->id), peer,
						    r->versions_bytes, at + keys->data_bytes);
	}
	free(all);
	return bootstrap_agree(draft->what, error, NULL);
}

/* Makes the region reachable for peers, and their parts of it for us. */
static int connect_region(struct draft *draft)
{
	struct region_keys keys = {0};
	int error = bootstrap_agree(draft->what, expose(draft, &keys), NULL); /* the transport has said it */

	if (!error)
		error = attach_peers(draft, &keys);
	free(keys.bytes);
	return error;
}

/* --- making and freeing --------------------------------------------------------------------------------- */

/* Takes apart what there is of a region. */
static void release(struct dsm_region *r)
{
	migration_destroy(r); /* ends its threads */
	runtime.ops->detach(runtime.transport, SEGMENT_DATA(r->id));
	runtime.ops->detach(runtime.transport, SEGMENT_VERSIONS(r->id));
	if (r->app)
		munmap(r->app, r->bytes);
	if (r->alias)
		munmap(r->alias, r->file_bytes);
	if (r->versions)
		munmap(r->versions, r->versions_bytes);
	home_writes_destroy(r);
	page_set_destroy(&r->cached);
	page_set_destroy(&r->dirty);
	twins_destroy(&r->twins);
	page_table_destroy(&r->table);
	if (r->versions_fd >= 0)
		close(r->versions_fd);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

void regions_release_all(void)
{
	for (unsigned id = 0; id < REGIONS_MAX; id++) {
		struct dsm_region *r = atomic_exchange(&runtime.regions[id], NULL);
		if (!r)
			continue;
		lanes_quiesce();
		release(r);
	}
}

/* The lowest free number; the same on every node, since all make and free regions in the same order. */
static int find_free_id(struct draft *draft, unsigned first, unsigned end)
{
	for (unsigned id = first; id < end; id++)
		if (!atomic_load(&runtime.regions[id])) {
			draft->proposal.id = id;
			return 0;
		}
	return refuse(draft, -EMFILE, "there are %u regions already", end - first);
}

static struct home_map make_home_map(const struct proposal *p)
{
	size_t pages = p->bytes / p->page_bytes;
	struct home_map map = {.policy = (enum dsm_home_policy)p->home,
			       .nodes = runtime.nodes,
			       .home_node = p->home_node,
			       .pages = pages,
			       .chunk_pages = pages};

	if (map.policy == DSM_HOME_BLOCK)
		map.chunk_pages = (pages + (size_t)runtime.nodes - 1) / (size_t)runtime.nodes;
	else if (map.policy == DSM_HOME_CYCLIC)
		map.chunk_pages = p->chunk_bytes / p->page_bytes;
	return map;
}

/* Windows of readahead: what the setting allows, and what can be fetched at once. */
static uint32_t readahead_pages(const struct dsm_region *r, const struct proposal *p)
{
	size_t pages = runtime.settings.readahead_bytes >> r->page_shift;

	if (p->readahead == DSM_READAHEAD_OFF)
		return 0;
	pages = pages < fetch_pages_max(r) ? pages : fetch_pages_max(r);
	return (uint32_t)(pages < PREFETCH_PAGES_MAX ? pages : PREFETCH_PAGES_MAX);
}

static void fill_region(struct draft *draft, const char *name)
{
	const struct proposal *p = &draft->proposal;
	struct dsm_region *r = draft->region;
	size_t block_bytes = p->page_bytes / BLOCKS_PER_PAGE_MAX;

	block_bytes = block_bytes < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : block_bytes;
	r->bytes = p->bytes;
	r->page_shift = (unsigned)__builtin_ctzll(p->page_bytes);
	r->block_shift = (unsigned)__builtin_ctzll(block_bytes);
	r->blocks_per_page = (unsigned)(p->page_bytes / block_bytes);
	r->words_per_page = r->blocks_per_page > 1 ? r->blocks_per_page + 1 : 1;
	r->id = p->id;
	r->delivery = (enum dsm_delivery)p->delivery;
	r->inline_delivery = r->delivery == DSM_DELIVERY_INLINE;
	r->hugetlb = p->page_bytes > 4096;
	r->sparse = p->sparse;
	r->readahead_pages = readahead_pages(r, p);
	r->detects_stores = runtime.kernel[KERNEL_UFFD_CONTINUE_WP].available;
	r->home = make_home_map(p);
	/* A hot page is published from a copy, see publish.c. */
	r->keeps_hot_pages =
	    runtime.ops->writes_from_anywhere && r->detects_stores && r->blocks_per_page == 1;
	r->twins_kept_most = (runtime.settings.kept_twins_mib << 20) >> r->page_shift;
	snprintf(r->name, sizeof r->name, "%s", name);
}

/* Stage 1: the nodes want the same. */
static int agree_on_proposal(struct draft *draft, int status, struct proposal *all)
{
	if (!status)
		read_address_space(draft);
	status = bootstrap_agree(draft->what, status, draft->message);
	if (!status && all)
		status = bootstrap_gather(draft->what, &draft->proposal, all, sizeof draft->proposal);
	if (status || !all)
		return status;
	return bootstrap_agree(draft->what, compare_proposals(draft, all), draft->message);
}

/* Stages 2 to 4: memory, address, kernel and peers. */
static int build(struct draft *draft, const struct proposal *all)
{
	int error = bootstrap_agree(draft->what, make_memory(draft), draft->message);

	if (!error)
		error = agree_on_address(draft, all);
	if (error)
		return error;
	if (!draft->region->migration)
		home_writes_create(draft->region);
	error = register_app_mapping(draft);
	if (!error)
		error = map_home_pages(draft);
	error = bootstrap_agree(draft->what, error, draft->message);
	if (error)
		return error;
	return connect_region(draft);
}

int region_create(const char *name, size_t bytes, const struct dsm_region_options *options, unsigned first_id,
		  unsigned end_id, struct dsm_region **region)
{
	static const struct dsm_region_options defaults;
	struct draft draft = {0};
	int saved_errno = errno;

	if (!runtime.started)
		return -EINVAL;
	bool named = name && strlen(name) < REGION_NAME_BYTES;
	if (!named)
		name = "?";
	snprintf(draft.what, sizeof draft.what, "dsm_region_create(%s)", name);

	struct proposal *all = calloc((size_t)runtime.nodes, sizeof *all);
	draft.region = aligned_alloc(_Alignof(struct dsm_region), sizeof *draft.region);
	if (draft.region)
		memset(draft.region, 0, sizeof *draft.region);
	int error = all && draft.region ? propose(&draft, bytes, options ? options : &defaults)
					: refuse(&draft, -ENOMEM, "out of memory");
	if (!error && !named)
		error = refuse(&draft, -EINVAL, "a region needs a name, of up to %d bytes",
			       REGION_NAME_BYTES - 1);
	if (!error)
		error = find_free_id(&draft, first_id, end_id);
	error = agree_on_proposal(&draft, error, all);
	if (!error && (!all || !draft.region))
		error = -ENOMEM; /* cannot be: all have agreed that they have both */
	if (error) {
		free(draft.region);
	} else {
		draft.region->fd = draft.region->versions_fd = -1;
		fill_region(&draft, name);
		error = build(&draft, all);
		if (error)
			release(draft.region);
	}
	free(all);
	if (!error) {
		/* Release: a fault finds the region complete. The address of the region is known only from
		 * here on. */
		atomic_store_explicit(&runtime.regions[draft.region->id], draft.region, memory_order_release);
		*region = draft.region;
	}
	errno = saved_errno;
	return error;
}

int dsm_region_create(const char *name, size_t bytes, const struct dsm_region_options *options,
		      dsm_region **region)
{
	return region_create(name, bytes, options, 0, REGIONS_OF_APPLICATION, region);
}

int dsm_region_destroy(dsm_region *r)
{
	char what[96];
	int saved_errno = errno;

	if (!runtime.started || !r)
		return -EINVAL;
	bool known = false;
	for (unsigned id = 0; id < REGIONS_MAX; id++)
		known |= atomic_load(&runtime.regions[id]) == r;
	if (!known)
		return -EINVAL;
	snprintf(what, sizeof what, "dsm_region_destroy(%s)", r->name);
	size_t locks = lock_table_count(r->app, r->bytes);
	if (locks)
		report("%s: threads of this node hold or wait for %zu locks in it; unlock them before", what,
		       locks);
	/* Nobody's pages may go while a peer still reads them. */
	int error = bootstrap_agree(what, locks ? -EBUSY : 0, NULL);
	if (error == -EBUSY) {
		errno = saved_errno;
		return error;
	}
	atomic_store(&runtime.regions[r->id], NULL);
	lanes_quiesce();
	migration_destroy(r); /* before the mapping goes, and before the other side's memory may */
	/* Once more: until here threads of other nodes may have been publishing to ours, or comparing
	 * versions. */
	if (!error || error == -EHOSTDOWN) {
		int again = bootstrap_agree(what, 0, NULL);
		error = error ? error : again;
	}
	destroyed_remember(r->app, r->bytes, r->name);
	r->app = NULL;
	release(r);
	errno = saved_errno;
	return error;
}

void region_note_dirty(struct dsm_region *r, size_t page)
{
	uint64_t bit = (uint64_t)1 << r->id;

	page_set_add(&r->dirty, page);
	/* After the page is in the set. A pass clears the bit before it takes the set: if we see the bit, the
	 * pass that clears it finds the page. */
	if (!(atomic_load(&runtime.dirty_regions) & bit))
		atomic_fetch_or(&runtime.dirty_regions, bit);
}

int region_find_range(const void *address, size_t bytes, struct dsm_region **region, size_t *first,
		      size_t *count)
{
	struct dsm_region *r = runtime_find_region(address);

	if (!r || r->migration)
		return -EFAULT;
	size_t offset = (size_t)((const unsigned char *)address - r->app);
	if (bytes > r->bytes - offset)
		return -EFAULT;
	*region = r;
	*first = offset >> r->page_shift;
	*count = bytes ? ((offset + bytes + region_page_bytes(r) - 1) >> r->page_shift) - *first : 0;
	return 0;
}

void *dsm_region_base(const dsm_region *r)
{
	return r->app;
}

size_t dsm_region_bytes(const dsm_region *r)
{
	return r->bytes;
}

size_t dsm_region_page_bytes(const dsm_region *r)
{
	return region_page_bytes(r);
}

int dsm_home(const void *address)
{
	sigset_t saved;

	if (!runtime.started)
		return -EFAULT;
	runtime_block_signals(&saved);
	struct lane *lane = lane_acquire(); /* while it is held, no region that is found is freed */
	const struct dsm_region *r = runtime_find_region(address);
	int home = r && r->migration ? dsm_migrate_holder(r)
		   : r ? home_of(&r->home, (size_t)((const unsigned char *)address - r->app) >> r->page_shift)
		       : -EFAULT;
	lane_release(lane);
	runtime_unblock_signals(&saved);
	return home;
}
