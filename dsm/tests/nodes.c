#include "dsm/tests/nodes.h"

#include <mpi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/runtime.h"
#include "kernel/memory.h"

const size_t nodes_page_sizes[] = {4 * KIB, 2 * MIB, GIB};
const size_t nodes_page_size_count = 3;

static struct {
	char name[128];
	bool open;
	const char *skipped;
	int failures; /* of this node, in this case */
	int number;
	int failed_cases;
} current;

static int effort_percent = 100;

static void take_effort(int *argc, char **argv)
{
	static const char option[] = "--effort=";
	int kept = 1;

	for (int i = 1; i < *argc; i++)
		if (!strncmp(argv[i], option, strlen(option)))
			effort_percent = atoi(argv[i] + strlen(option));
		else
			argv[kept++] = argv[i];
	argv[kept] = NULL;
	*argc = kept;
}

int nodes_rounds(int rounds, int least)
{
	int share = (int)((int64_t)rounds * effort_percent / 100);

	return share > least ? share : least;
}

void nodes_begin(int *argc, char ***argv)
{
	take_effort(argc, *argv);
	/* Under a sanitizer, with more nodes than cores, a page of 1 GiB takes its time. */
	setenv("MINORCA_TIMEOUT", "60", 0);
	if (dsm_init(argc, argv))
		exit(1);
}

static void end_case(void)
{
	int total = 0;

	if (!current.open)
		return;
	MPI_Allreduce(&current.failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	current.number++;
	current.failed_cases += total > 0;
	if (!dsm_node()) {
		if (total)
			printf("not ok %d - %s\n", current.number, current.name);
		else if (current.skipped)
			printf("ok %d - %s # SKIP %s\n", current.number, current.name, current.skipped);
		else
			printf("ok %d - %s\n", current.number, current.name);
		fflush(stdout);
	}
	current.open = false;
}

void nodes_case(const char *format, ...)
{
	va_list arguments;

	end_case();
	va_start(arguments, format);
	vsnprintf(current.name, sizeof current.name, format, arguments);
	va_end(arguments);
	current.open = true;
	current.failures = 0;
	current.skipped = NULL;
}

void nodes_skip(const char *reason)
{
	current.skipped = reason;
}

int nodes_end(void)
{
	end_case();
	int failed = current.failed_cases;
	if (!dsm_node()) {
		printf("1..%d\n", current.number);
		fflush(stdout);
	}
	int error = dsm_finalize();
	if (error)
		fprintf(stderr, "dsm_finalize() returned %d\n", error);
	return failed || error ? 1 : 0;
}

bool nodes_check(bool ok, const char *text, const char *file, int line, const char *detail)
{
	if (ok)
		return true;
	/* The first few are enough to understand, and the rest are counted. */
	if (current.failures++ < 5)
		fprintf(stderr, "# node %d: %s: %s:%d: %s is false%s%s\n", dsm_node(), current.name, file,
			line, text, detail ? ": " : "", detail ? detail : "");
	return false;
}

bool nodes_check_equal(uint64_t actual, uint64_t expected, const char *actual_text, const char *expected_text,
		       const char *file, int line)
{
	char text[256], detail[96];

	if (actual == expected)
		return true;
	snprintf(text, sizeof text, "%s == %s", actual_text, expected_text);
	snprintf(detail, sizeof detail, "%llu, expected %llu", (unsigned long long)actual,
		 (unsigned long long)expected);
	return nodes_check(false, text, file, line, detail);
}

bool nodes_have_pages(size_t page_bytes, size_t pages, unsigned copies)
{
	struct hugepage_pool pool;
	int enough =
	    page_bytes == 4096 || (!hugepage_pool_read(page_bytes, &pool) && pool.free >= pages * copies);
	int all;

	MPI_Allreduce(&enough, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
	if (!all)
		nodes_skip(page_bytes == GIB ? "the pool has too few 1 GiB hugepages"
					     : "the pool has too few 2 MiB hugepages");
	return all;
}

bool nodes_memory_is_pinned(void)
{
	return strcmp(runtime.ops->name, "shm");
}

bool nodes_skip_if_pinned(void)
{
	if (nodes_memory_is_pinned())
		nodes_skip("this transport registers, and so pins, all of a region");
	return nodes_memory_is_pinned();
}

/* Stacks of more address space than there is. */
void nodes_give_no_threads(bool none)
{
	static pthread_attr_t usual;
	pthread_attr_t attributes;

	if (!none) {
		CHECK_EQUAL(pthread_setattr_default_np(&usual), 0);
		return;
	}
	CHECK_EQUAL(pthread_getattr_default_np(&usual), 0);
	CHECK_EQUAL(pthread_getattr_default_np(&attributes), 0);
	CHECK_EQUAL(pthread_attr_setstacksize(&attributes, (size_t)1 << 47), 0);
	CHECK_EQUAL(pthread_setattr_default_np(&attributes), 0);
}

const char *nodes_page_name(size_t page_bytes)
{
	return memory_page_size_name(page_bytes);
}

const char *nodes_delivery_name(enum dsm_delivery delivery)
{
	static const char *const names[] = {"default", "inline", "thread-spin", "thread-block"};

	return names[delivery];
}

const char *nodes_home_name(enum dsm_home_policy home)
{
	static const char *const names[] = {"block", "cyclic", "node"};

	return names[home];
}

struct dsm_stats nodes_stats(void)
{
	struct dsm_stats now;

	dsm_stats(&now);
	return now;
}

struct dsm_stats nodes_stats_since(const struct dsm_stats *before)
{
	struct dsm_stats now = nodes_stats();
	uint64_t *n = (uint64_t *)&now;
	const uint64_t *b = (const uint64_t *)before;

	for (size_t i = 0; i < sizeof now / sizeof *n; i++)
		n[i] -= b[i];
	return now;
}
