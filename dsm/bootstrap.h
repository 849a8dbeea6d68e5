/*
 * Bootstrap: MPI starts the job and carries addresses between nodes. The only file that calls MPI, and only
 * from dsm_init(), dsm_finalize() and the making and freeing of regions; never in the fault path.
 *
 * Every wait is bounded, and says whom it waited for.
 */
#ifndef MINORCA_DSM_BOOTSTRAP_H
#define MINORCA_DSM_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Starts MPI if nobody has, and makes a communicator of our own.
 *
 * @param owns_mpi  set to whether we started MPI and are to end it
 * @return 0; -EINVAL: MPI has been finalized; -ETIMEDOUT: a node did not arrive; -EIO: MPI failed.
 */
int bootstrap_open(int *argc, char ***argv, uint64_t timeout_ns, int *node, int *nodes, bool *owns_mpi);

/** Ends what bootstrap_open() began. With @in_step false (a node is missing), MPI is not ended: that would
 * wait. */
void bootstrap_close(bool owns_mpi, bool in_step);

/**
 * From here on nodes for which @is_lost says so are not waited for; @ask: it may ask the node, which takes
 * time, and not just say what is known. NULL: nobody knows.
 */
void bootstrap_watch(bool (*is_lost)(int node, bool ask));

/**
 * Collects @bytes from every node, in node order, at every node. @bytes and @what are the same everywhere.
 *
 * @param all   room for all nodes' bytes; NULL: this node has none, and the call fails with -ENOMEM on all of
 * them
 * @param what  for the message when a node is missing: "dsm_region_create(grid)"
 * @return 0; -ETIMEDOUT: the nodes named on stderr (by node 0) did not arrive; -EHOSTDOWN: they are lost,
 * and all others have arrived, if node 0 lives; -EIO: nodes are in different calls.
 */
int bootstrap_gather(const char *what, const void *mine, void *all, size_t bytes);

/**
 * Tells all nodes how a step went on this one: @status is 0 or -errno. When it went wrong on several, only
 * the lowest-numbered of them says so: it reports @message (unless that is NULL: it has been reported
 * already).
 *
 * @return 0 if it went well everywhere; this node's error if it has one; otherwise the error of the
 * lowest-numbered node that has.
 */
int bootstrap_agree(const char *what, int status, const char *message);

#endif
