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
	*segment = (struct node_segment){name, memory, bytes, fd};
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

int node_segment_connect(const struct node_segment *segment, unsigned id, unsigned access)
{
	size_t key_bytes = runtime.ops->key_bytes(runtime.transport, segment->bytes);
	unsigned char *mine = calloc(1, key_bytes), *all = calloc((size_t)runtime.nodes, key_bytes);
	struct segment_memory memory = {
	    .name = segment->name,
	    .fd = segment->fd,
	    .base = segment->memory,
	    .bytes = segment->bytes,
	    .page_bytes = 4096,
	    .access = access,
	    .words = true,
	};
	int error = mine && all ? runtime.ops->expose(runtime.transport, id, &memory, mine) : -ENOMEM;

	error = bootstrap_agree("dsm_init()", error, NULL);
	if (!error)
		error = bootstrap_gather("dsm_init()", mine, all, key_bytes);
	for (int peer = 0; peer < runtime.nodes && !error; peer++)
		error = runtime.ops->attach(runtime.transport, id, peer, segment->bytes,
					    all + (size_t)peer * key_bytes);
	free(mine);
	free(all);
	return bootstrap_agree("dsm_init()", error, NULL);
}
