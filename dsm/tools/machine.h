/*
 * What `minorca info` tells of a machine, in three parts that know little of each other:
 *
 *   machine_capture()   asks the machine and fills a struct machine_info; judges nothing, prints nothing
 *   machine_findings()  judges: what is missing, what that costs, what mends it
 *   info_print(), info_json()   render both
 *
 * The last two depend on nothing but their arguments, so tests feed them machines that nobody has at hand.
 */
#ifndef MINORCA_DSM_TOOLS_MACHINE_H
#define MINORCA_DSM_TOOLS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "kernel/memory.h"
#include "kernel/probe.h"

#define MACHINE_MAX_POOLS 8
#define MACHINE_MAX_RDMA_DEVICES 32
#define MACHINE_MAX_RDMA_PORTS 4
#define MACHINE_MAX_RDMA_GIDS 8
#define MACHINE_MAX_SETTINGS 64

/* A limit that is not there; of an amount: not known. */
#define MACHINE_UNLIMITED UINT64_MAX

struct settings;
struct topology;

struct rdma_gid {
	unsigned index;
	char address[48]; /* as an IPv6 address */
	const char *type; /* "IB", "RoCE v1", "RoCE v2" */
};

struct rdma_port {
	unsigned number;
	bool active;
	const char *state;	/* in libibverbs' words: "PORT_ACTIVE" */
	const char *link_layer; /* "InfiniBand", "Ethernet", "unspecified" */
	unsigned mtu_bytes;
	unsigned gigabits;   /* per second; 0: not known */
	char interface[16];  /* its network interface; "": it has none, or it is not known */
	bool chosen;	     /* the one that a job would use */
	const char *verdict; /* why, or why not */
	int gid_used;	     /* index; -1: none can be used */
	unsigned gid_count;  /* how many the port has; the first MACHINE_MAX_RDMA_GIDS of them are in gids */
	struct rdma_gid gids[MACHINE_MAX_RDMA_GIDS];
};

struct rdma_device {
	char name[64];
	const char *transport; /* "InfiniBand", "iWARP", ... as libibverbs names it */
	int error;	       /* -errno: it is there and does not let us in; then only the name is known */
	bool software;	       /* soft-RoCE */
	int numa_node;	       /* -1: not known */
	const char *distance;  /* from the CPUs of this process: "same NUMA node" */
	const char *atomics;   /* "none", "with its own", "with the CPU's" */
	bool on_demand;	       /* memory need not be pinned ... */
	bool on_demand_atomic; /* ... not even where atomics go */
	uint64_t registration_bytes; /* the most of one memory region */
	unsigned reads;		     /* under way at a time on one connection */
	unsigned inline_bytes;	     /* the most that goes with a request */
	unsigned port_count;	     /* how many it has; at most MACHINE_MAX_RDMA_PORTS are in ports */
	struct rdma_port ports[MACHINE_MAX_RDMA_PORTS];
};

/* In bytes or pieces; MACHINE_UNLIMITED: none. */
struct machine_limits {
	uint64_t locked_memory_soft_bytes, locked_memory_hard_bytes;
	uint64_t open_files_soft, open_files_hard;
	uint64_t max_map_count;
	int unprivileged_userfaultfd;			  /* the sysctl: 0, 1; -1: this kernel has none */
	uint64_t dev_shm_total_bytes, dev_shm_free_bytes; /* total 0: not mounted */
	uint64_t memory_total_bytes, memory_available_bytes;
	bool may_lock_all; /* CAP_IPC_LOCK: the limit of locked memory does not count */
};

struct setting_value {
	const char *name;
	const char *default_text;
	char value[160];
	bool set; /* by the environment */
};

/* A machine as it was found. Plain data: no pointer but to static strings. */
struct machine_info {
	char version[32]; /* of Minorca */
	char host[65], kernel_release[65], architecture[65];
	struct kernel_feature_status features[KERNEL_FEATURE_COUNT];
	unsigned pool_count;
	struct hugepage_pool pools[MACHINE_MAX_POOLS]; /* ascending page sizes */
	int rdma_error; /* -errno: devices could not be listed; 0 with none: there are none */
	unsigned rdma_device_count;
	struct rdma_device rdma_devices[MACHINE_MAX_RDMA_DEVICES];
	struct machine_limits limits;
	char mpi_library[160];
	int topology_error; /* -errno: hwloc could not read it */
	char topology[320];
	unsigned usable_pus;
	uint64_t heap_bytes;	  /* MINORCA_HEAP_BYTES */
	char settings_error[640]; /* "": none; else what is wrong, and the values are not known */
	unsigned setting_count;
	struct setting_value settings[MACHINE_MAX_SETTINGS];
};

/** Asks the machine. Costs tens of ms. @param environment  NAME=VALUE strings, as environ; not kept */
void machine_capture(char *const *environment, struct machine_info *out);

/** Part of machine_capture(): RDMA devices, and the one that a job would use. @topology: may be NULL. */
void machine_capture_rdma(const struct settings *settings, const struct topology *topology,
			  struct machine_info *out);

/**
 * Part of machine_capture(): the settings in force.
 *
 * @param settings  set to them; to the defaults if there is an error
 * @return 0 or -EINVAL (settings_error says why).
 */
int machine_capture_settings(char *const *environment, struct settings *settings, struct machine_info *out);

/* Something that is not there, or not as it should be. Strings are static or belong to the machine_info, but
 * for `what`. */
struct finding {
	const char *subject; /* "uffd-wp-async", "hugepages-2MiB", "memlock" */
	bool required;	     /* nothing works without it */
	char what[720];
	const char *consequence;
	const char *remedy;
};

#define MACHINE_MAX_FINDINGS (KERNEL_FEATURE_COUNT + 16)

/** What is missing on @info, what is required first. @return how many of @out are filled. */
unsigned machine_findings(const struct machine_info *info, struct finding out[MACHINE_MAX_FINDINGS]);

/** The port that a job would use, and its device. NULL: none. */
const struct rdma_port *machine_chosen_port(const struct machine_info *info,
					    const struct rdma_device **device);

/** How much memory a job must be able to lock on this machine, regions of its own aside. 0: no RDMA. */
uint64_t machine_locked_memory_needed(const struct machine_info *info);

/** Whether it is. */
bool machine_locked_memory_suffices(const struct machine_info *info);

/** For people. */
void info_print(const struct machine_info *info, const struct finding *findings, unsigned count,
		FILE *stream);

/** For programs; docs/info.md documents the layout. @return a new reference, NULL: out of memory. */
json_t *info_json(const struct machine_info *info, const struct finding *findings, unsigned count);

/** Parts of both: RDMA. */
void info_print_rdma(const struct machine_info *info, FILE *stream);
json_t *info_json_rdma(const struct machine_info *info);

/** "2 MiB": the largest unit in which @bytes is a whole number, or else one decimal. Into @text. @return
 * @text. */
char *format_bytes(uint64_t bytes, char *text, size_t text_bytes);

/** The same, or "unlimited". */
char *format_limit(uint64_t bytes, char *text, size_t text_bytes);

#endif
