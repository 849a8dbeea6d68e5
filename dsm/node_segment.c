#include "dsm/node_segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dsm/bootstrap.h"
#include "dsm/runtime.h"
#include "kernel/memory.h"

int node_segment_create(struct node_segment *segment, const char *name, size_t bytes)
{
	void *memory;

	bytes = (bytes + 4095) & ~(size_t)4095;
	int fd = memory_file_create(name, bytes, 4096);
	if (fd < 0)
		return fd;
	int error = memory_map(fd, bytes, NULL, &memory);
	if (error) {
		close(fd);
		return error;
	}
	*segment = (struct node_segment){memory, bytes, fd};
	return 0;
}

void node_segment_destroy(struct node_segment *segment)
{
	if (!segment->memory)
		return;
	munmap(segment->memory, segment->bytes);
	close(segment->fd);
	memset(segment, 0, sizeof *segment);
}

int node_segment_connect(const struct node_segment *segment, unsigned id, bool atomic)
{
	struct segment_key mine, *all = calloc((size_t)runtime.nodes, sizeof *all);
	struct segment_memory memory = {segment->fd, segment->memory, segment->bytes, 4096, atomic, true};
	int error = all ? runtime.ops->expose(runtime.transport, id, &memory, &mine) : -ENOMEM;

	error = bootstrap_agree("dsm_init()", error, NULL);
	if (!error)
		error = bootstrap_gather("dsm_init()", &mine, all, sizeof mine);
	for (int peer = 0; peer < runtime.nodes && !error; peer++)
		error = runtime.ops->attach(runtime.transport, id, peer, &all[peer]);
	free(all);
	return bootstrap_agree("dsm_init()", error, NULL);
}
