/*
 * What the tests of dsm/topology.c need beside dsm/topology.h: machines that are not this one.
 */
#ifndef MINORCA_DSM_TOPOLOGY_INTERNAL_H
#define MINORCA_DSM_TOPOLOGY_INTERNAL_H

#include "dsm/topology.h"

/**
 * A machine made up by hwloc instead of read, on which binding does nothing.
 *
 * @param description  as hwloc's synthetic topologies: "pack:2 l3:2 core:2 pu:2"
 * @param usable       the PUs that the process may use, as "0-3,8"; NULL: all
 * @return 0, -ENOMEM, -EINVAL. Freed by topology_destroy().
 */
int topology_create_synthetic(const char *description, const char *usable, struct topology **out);

#endif
