/*
 * Node 0's memory as a source. See floor_source.h.
 */
#include "bench/floor_source.h"

#include <string.h>
#include <unistd.h>

void floor_source_attach(const struct job *job, struct floor *floor)
{
	struct {
		pid_t pid;
		int fd;
	} home = {getpid(), floor_file(floor)};

	job_share(&home, sizeof home);
	if (job->node == 0)
		return;
	int error = floor_attach_source(floor, home.pid, home.fd);
	if (!error)
		error = floor_populate_source(floor);
	if (error)
		job_fail("floor: cannot map the home's memory: %s", strerror(-error));
}
