/*
 * Tests of what `minorca info` makes of a machine, on machines that are written down here: nothing is asked
 * of the one that runs the test. Expected outputs are in testdata/; after a change that is meant, look at the
 * difference:
 *
 *     UPDATE_EXPECTED=$PWD/dsm/tools/testdata bazel-bin/dsm/tools/info_test && git diff dsm/tools/testdata
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dsm/tools/machine.h"

#define EXPECTED_DIRECTORY "dsm/tools/testdata"

static struct machine_info machine;
static struct finding findings[MACHINE_MAX_FINDINGS];

static const char *const feature_names[KERNEL_FEATURE_COUNT] = {
    [KERNEL_UFFD] = "uffd",
    [KERNEL_UFFD_SYSCALL] = "uffd-syscall",
    [KERNEL_UFFD_DEVICE] = "uffd-device",
    [KERNEL_UFFD_USER_MODE] = "uffd-user-mode",
    [KERNEL_UFFD_SIGBUS] = "uffd-sigbus",
    [KERNEL_UFFD_MINOR_SHMEM] = "uffd-minor-shmem",
    [KERNEL_UFFD_MINOR_HUGETLB] = "uffd-minor-hugetlb",
    [KERNEL_UFFD_MISSING_SHMEM] = "uffd-missing-shmem",
    [KERNEL_UFFD_MISSING_HUGETLB] = "uffd-missing-hugetlb",
    [KERNEL_UFFD_WP_SHARED] = "uffd-wp-shared",
    [KERNEL_UFFD_CONTINUE_WP] = "uffd-continue-wp",
    [KERNEL_UFFD_EXACT_ADDRESS] = "uffd-exact-address",
    [KERNEL_UFFD_WP_UNPOPULATED] = "uffd-wp-unpopulated",
    [KERNEL_UFFD_POISON] = "uffd-poison",
    [KERNEL_UFFD_WP_ASYNC] = "uffd-wp-async",
    [KERNEL_PAGEMAP_SCAN] = "pagemap-scan",
    [KERNEL_MEMFD_HUGETLB_2M] = "memfd-hugetlb-2m",
    [KERNEL_MEMFD_HUGETLB_1G] = "memfd-hugetlb-1g",
};

static struct setting_value *add_setting(const char *name, const char *default_text, const char *value,
					 bool set)
{
	struct setting_value *s = &machine.settings[machine.setting_count++];

	s->name = name;
	s->default_text = default_text;
	snprintf(s->value, sizeof s->value, "%s", value);
	s->set = set;
	return s;
}

static struct rdma_port *add_port(struct rdma_device *device, bool active, const char *link_layer)
{
	struct rdma_port *p = &device->ports[device->port_count++];

	*p = (struct rdma_port){
	    .number = device->port_count,
	    .active = active,
	    .state = active ? "PORT_ACTIVE" : "PORT_DOWN",
	    .link_layer = link_layer,
	    .mtu_bytes = 4096,
	    .verdict = active ? "the only one that can be used" : "its link is not up",
	    .chosen = active,
	    .gid_used = -1,
	};
	return p;
}

static void add_gid(struct rdma_port *port, const char *address, const char *type)
{
	struct rdma_gid *gid = &port->gids[port->gid_count];

	gid->index = port->gid_count++;
	gid->type = type;
	snprintf(gid->address, sizeof gid->address, "%s", address);
}

static struct rdma_device *add_device(const char *name, const char *transport)
{
	struct rdma_device *d = &machine.rdma_devices[machine.rdma_device_count++];

	snprintf(d->name, sizeof d->name, "%s", name);
	d->transport = transport;
	d->numa_node = -1;
	d->distance = "unknown";
	d->atomics = "with its own";
	d->registration_bytes = MACHINE_UNLIMITED;
	d->reads = 16;
	d->inline_bytes = 128;
	return d;
}

/* A machine on which nothing is missing. */
static int complete_machine(void **state)
{
	(void)state;
	memset(&machine, 0, sizeof machine);
	strcpy(machine.version, "1.2.3");
	strcpy(machine.host, "fig");
	strcpy(machine.kernel_release, "6.18.0");
	strcpy(machine.architecture, "x86_64");
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++)
		machine.features[i] = (struct kernel_feature_status){
		    .name = feature_names[i],
		    .since = "5.14",
		    .required = i == KERNEL_UFFD || i == KERNEL_UFFD_MINOR_SHMEM,
		    .available = true,
		    .purpose = "what it is for",
		    .consequence = "what is lost",
		    .remedy = "what mends it",
		};
	machine.pool_count = 2;
	machine.pools[0] =
	    (struct hugepage_pool){.page_bytes = 2 * MIB, .total = 512, .free = 500, .reserved = 4};
	machine.pools[1] =
	    (struct hugepage_pool){.page_bytes = GIB, .total = 2, .free = 0, .overcommit = 4, .surplus = 1};
	struct rdma_device *device = add_device("rxe0", "InfiniBand");
	struct rdma_port *port = add_port(device, true, "Ethernet");
	device->software = true;
	strcpy(port->interface, "eth0");
	port->gigabits = 10;
	port->gid_used = 1;
	add_gid(port, "fe80::5054:ff:fe12:3456", "RoCE v2");
	add_gid(port, "::ffff:10.0.0.1", "RoCE v2");
	machine.limits = (struct machine_limits){
	    .locked_memory_soft_bytes = MACHINE_UNLIMITED,
	    .locked_memory_hard_bytes = MACHINE_UNLIMITED,
	    .open_files_soft = 1024,
	    .open_files_hard = MACHINE_UNLIMITED,
	    .max_map_count = 65530,
	    .unprivileged_userfaultfd = 0,
	    .dev_shm_total_bytes = 12 * GIB,
	    .dev_shm_free_bytes = 12 * GIB - 4096,
	    .memory_total_bytes = 24 * GIB,
	    .memory_available_bytes = 20 * GIB + 512 * MIB,
	};
	machine.heap_bytes = GIB;
	strcpy(machine.mpi_library, "Open MPI v4.1.4");
	strcpy(machine.topology, "1 package, 2 cores, 2 PUs, 1 NUMA node; this process may use PUs 0-1");
	machine.usable_pus = 2;
	add_setting("MINORCA_TRANSPORT", "auto", "shm", true);
	add_setting("MINORCA_LANES", "32", "32", false);
	add_setting("MINORCA_VERBS_DEVICE", "", "", false);
	return 0;
}

/* A container on an old kernel: nearly all is missing, and each part that can fail has failed. */
static void bare_machine(void)
{
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		machine.features[i].available = false;
		machine.features[i].error = i == KERNEL_UFFD ? -EPERM : 0;
	}
	machine.pool_count = 0;
	machine.rdma_device_count = 0;
	machine.rdma_error = -EACCES;
	machine.limits.unprivileged_userfaultfd = -1;
	machine.limits.dev_shm_total_bytes = machine.limits.dev_shm_free_bytes = 0;
	machine.limits.open_files_soft = 256;
	machine.limits.max_map_count = 1000;
	machine.mpi_library[0] = 0;
	machine.topology_error = -EIO;
	machine.topology[0] = 0;
	machine.usable_pus = 0;
	strcpy(machine.settings_error, "MINORCA_LANES=many: expected a number from 1 to 1024");
	for (unsigned i = 0; i < machine.setting_count; i++)
		machine.settings[i].value[0] = 0;
}

/* A node of a cluster whose set-up is half done. */
static void cluster_node(void)
{
	machine.rdma_device_count = 0;
	memset(machine.rdma_devices, 0, sizeof machine.rdma_devices);
	struct rdma_device *device = add_device("mlx5_0", "InfiniBand");
	device->numa_node = 1;
	device->distance = "other package";
	device->atomics = "with the CPU's";
	device->registration_bytes = 64 * GIB;
	device->on_demand = true;
	add_gid(add_port(device, false, "InfiniBand"), "fe80::1", "IB");
	struct rdma_port *port = add_port(device, false, "Ethernet");
	for (unsigned i = 0; i < MACHINE_MAX_RDMA_GIDS; i++)
		add_gid(port, "fe80::2", "RoCE v1");
	port->gid_count = 20;
	add_device("siw0", "iWARP")->error = -EACCES;
	machine.pools[0] = (struct hugepage_pool){.page_bytes = 64 * KIB};
	machine.pools[1] =
	    (struct hugepage_pool){.page_bytes = 2 * MIB, .total = 8, .free = 3, .reserved = 3};
	machine.pools[2] = (struct hugepage_pool){.page_bytes = GIB};
	machine.pool_count = 3;
	machine.limits.locked_memory_soft_bytes = 8 * MIB;
	machine.features[KERNEL_UFFD_WP_ASYNC].available = false;
	machine.features[KERNEL_UFFD_SYSCALL].available = false;
	machine.features[KERNEL_UFFD_SYSCALL].error = -EPERM;
}

static unsigned judge(void)
{
	return machine_findings(&machine, findings);
}

/* --- what is found missing -------------------------------------------------------------------------------
 */

static void assert_only_finding(const char *subject, bool required, const char *what)
{
	assert_int_equal(judge(), 1);
	assert_string_equal(findings[0].subject, subject);
	assert_int_equal(findings[0].required, required);
	assert_string_equal(findings[0].what, what);
	assert_true(strlen(findings[0].consequence) > 5);
	assert_true(strlen(findings[0].remedy) > 5);
}

static void nothing_is_missing_on_a_complete_machine(void **state)
{
	(void)state;
	assert_int_equal(judge(), 0);
}

static void each_missing_kernel_feature_is_found(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KERNEL_FEATURE_COUNT; i++) {
		if (i == KERNEL_UFFD_SYSCALL || i == KERNEL_UFFD_DEVICE || i == KERNEL_UFFD_USER_MODE)
			continue;
		machine.features[i].available = false;
		assert_int_equal(judge(), 1);
		assert_string_equal(findings[0].subject, feature_names[i]);
		assert_int_equal(findings[0].required, machine.features[i].required);
		machine.features[i].available = true;
	}
}

static void a_door_is_missing_only_if_no_other_is_as_good(void **state)
{
	(void)state;
	machine.features[KERNEL_UFFD_USER_MODE].available = false;
	machine.features[KERNEL_UFFD_DEVICE].available = false;
	machine.features[KERNEL_UFFD_DEVICE].error = -ENOENT;
	assert_int_equal(judge(), 0);

	machine.features[KERNEL_UFFD_DEVICE].available = true;
	machine.features[KERNEL_UFFD_SYSCALL].available = false;
	assert_int_equal(judge(), 0);

	machine.features[KERNEL_UFFD_USER_MODE].available = true;
	machine.features[KERNEL_UFFD_DEVICE].available = false;
	assert_int_equal(judge(), 2);
	assert_string_equal(findings[0].subject, "uffd-syscall");
	assert_string_equal(findings[1].subject, "uffd-device");
	assert_string_equal(findings[1].what, "uffd-device (what it is for): No such file or directory");

	machine.features[KERNEL_UFFD_USER_MODE].available = false;
	assert_int_equal(judge(), 3);
}

static void behind_closed_doors_nothing_else_is_missed(void **state)
{
	(void)state;
	for (unsigned i = KERNEL_UFFD; i <= KERNEL_UFFD_WP_ASYNC; i++)
		machine.features[i].available = false;
	assert_int_equal(judge(), 4);
	assert_string_equal(findings[0].subject, "uffd");
	assert_true(findings[0].required);
	assert_string_equal(findings[1].subject, "uffd-syscall");
	assert_string_equal(findings[2].subject, "uffd-device");
	assert_string_equal(findings[3].subject, "uffd-user-mode");
}

static void an_empty_pool_is_found(void **state)
{
	(void)state;
	machine.pools[0] = (struct hugepage_pool){.page_bytes = 2 * MIB};
	assert_only_finding("hugepages-2MiB", false, "the pool of 2 MiB hugepages is empty");
}

static void a_pool_that_is_used_up_is_found(void **state)
{
	(void)state;
	machine.pools[1] = (struct hugepage_pool){.page_bytes = GIB, .total = 4, .free = 1, .reserved = 1};
	assert_only_finding("hugepages-1GiB", false,
			    "the pool of 1 GiB hugepages is used up: 4 pages, 1 free, 1 of these reserved");
}

static void a_pool_that_grows_on_demand_is_not_missed(void **state)
{
	(void)state;
	machine.pools[0] = (struct hugepage_pool){.page_bytes = 2 * MIB, .overcommit = 64, .surplus = 63};
	assert_int_equal(judge(), 0);
	machine.pools[0].surplus = 64;
	assert_int_equal(judge(), 1);
}

static void no_rdma_device_is_found(void **state)
{
	(void)state;
	machine.rdma_device_count = 0;
	assert_only_finding("rdma-device", false, "there is no RDMA device");
	machine.rdma_error = -EACCES;
	assert_only_finding("rdma-device", false, "RDMA devices cannot be listed: Permission denied");
}

static void ports_that_cannot_be_used_are_found(void **state)
{
	(void)state;
	machine.rdma_devices[0].ports[0].chosen = false;
	machine.rdma_devices[0].ports[0].verdict = "its link is not up";
	assert_only_finding("rdma-port", false,
			    "no port of any RDMA device can be used: rxe0 port 1: its link is not up");
	machine.rdma_devices[0].port_count = 0;
	assert_only_finding("rdma-port", false, "no port of any RDMA device can be used");
}

static void every_port_that_cannot_be_used_is_told_as_far_as_there_is_room(void **state)
{
	(void)state;
	for (unsigned i = 1; i < MACHINE_MAX_RDMA_DEVICES; i++)
		add_port(add_device("mlx5_0123456789", "InfiniBand"), false, "Ethernet");
	machine.rdma_devices[0].ports[0].chosen = false;
	assert_int_equal(judge(), 1);
	assert_non_null(strstr(findings[0].what, "; mlx5_0123456789 port 1: its link is not up; mlx5"));
}

static void small_packets_on_ethernet_are_found(void **state)
{
	struct rdma_port *port = &machine.rdma_devices[0].ports[0];

	(void)state;
	port->mtu_bytes = 1024;
	assert_only_finding("rdma-mtu", false,
			    "port 1 of rxe0 (eth0) sends packets of 1024 bytes: its Ethernet MTU is 1500 or "
			    "thereabouts");
	port->interface[0] = 0;
	assert_only_finding(
	    "rdma-mtu", false,
	    "port 1 of rxe0 sends packets of 1024 bytes: its Ethernet MTU is 1500 or thereabouts");
	port->mtu_bytes = 2048;
	assert_int_equal(judge(), 0);
	port->mtu_bytes = 0; /* not known */
	assert_int_equal(judge(), 0);
	port->mtu_bytes = 1024;
	port->link_layer = "InfiniBand";
	assert_int_equal(judge(), 0);
}

static void a_limit_of_locked_memory_matters_only_to_a_nic(void **state)
{
	(void)state;
	machine.limits.locked_memory_soft_bytes = 64 * KIB;
	assert_only_finding(
	    "memlock", false,
	    "this process may lock only 64 KiB of memory; the heap and the queues take 1.1 GiB, "
	    "regions add theirs");
	machine.rdma_device_count = 0;
	assert_only_finding("rdma-device", false, "there is no RDMA device");
}

static void how_much_must_be_locked_follows_the_heap_and_the_device(void **state)
{
	(void)state;
	machine.limits.locked_memory_soft_bytes = GIB + 64 * MIB;
	assert_int_equal(judge(), 0);
	machine.limits.locked_memory_soft_bytes--;
	assert_int_equal(judge(), 1);
	machine.heap_bytes = 0;
	assert_int_equal(judge(), 0);
	machine.heap_bytes = GIB;
	machine.rdma_devices[0].on_demand = true; /* the heap has atomics */
	assert_int_equal(judge(), 1);
	machine.rdma_devices[0].on_demand_atomic = true;
	assert_int_equal(judge(), 0);
	machine.limits.locked_memory_soft_bytes = 64 * KIB;
	assert_int_equal(judge(), 1);
	machine.limits.may_lock_all = true;
	assert_int_equal(judge(), 0);
}

static void small_limits_are_found(void **state)
{
	(void)state;
	machine.limits.max_map_count = 65529;
	assert_only_finding("max-map-count", false, "a process may have only 65529 mappings");
	machine.limits.max_map_count = 65530;
	machine.limits.open_files_soft = 1023;
	assert_only_finding("open-files", false, "a process may have only 1023 open files");
}

static void a_malformed_setting_is_found(void **state)
{
	(void)state;
	strcpy(machine.settings_error, "MINORCA_LANES=many: expected a number from 1 to 1024");
	assert_only_finding("settings", true, "MINORCA_LANES=many: expected a number from 1 to 1024");
}

static void what_is_required_comes_first(void **state)
{
	unsigned count, i = 0;

	(void)state;
	bare_machine();
	count = judge();
	while (i < count && findings[i].required)
		i++;
	assert_int_equal(i, 2); /* uffd, settings */
	for (; i < count; i++)
		assert_false(findings[i].required);
}

/* --- how it is told ------------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
	char *text = NULL;
	size_t capacity = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	if (getdelim(&text, &capacity, 0, file) < 0)
		fail_msg("%s: nothing in it", path);
	fclose(file);
	return text;
}

static void assert_as_expected(const char *name, const char *text)
{
	const char *update = getenv("UPDATE_EXPECTED");
	char path[512];

	snprintf(path, sizeof path, "%s/%s", update ? update : EXPECTED_DIRECTORY, name);
	if (update) {
		FILE *file = fopen(path, "we");
		assert_non_null(file);
		assert_true(fputs(text, file) >= 0);
		assert_int_equal(fclose(file), 0);
	}
	char *expected = read_file(path);
	assert_string_equal(text, expected);
	free(expected);
}

static void assert_text(const char *name)
{
	char *text = NULL;
	size_t bytes;
	FILE *stream = open_memstream(&text, &bytes);

	assert_non_null(stream);
	info_print(&machine, findings, judge(), stream);
	assert_int_equal(fclose(stream), 0);
	assert_as_expected(name, text);
	free(text);
}

static void assert_json(const char *name)
{
	json_t *object = info_json(&machine, findings, judge());
	char *text;

	assert_non_null(object);
	text = json_dumps(object, JSON_INDENT(2));
	assert_non_null(text);
	assert_as_expected(name, text);
	free(text);
	json_decref(object);
}

static void a_complete_machine_in_text(void **state)
{
	(void)state;
	assert_text("complete.txt");
}

static void a_complete_machine_in_json(void **state)
{
	(void)state;
	assert_json("complete.json");
}

static void a_bare_machine_in_text(void **state)
{
	(void)state;
	bare_machine();
	assert_text("bare.txt");
}

static void a_bare_machine_in_json(void **state)
{
	(void)state;
	bare_machine();
	assert_json("bare.json");
}

static void a_cluster_node_in_text(void **state)
{
	(void)state;
	cluster_node();
	assert_text("cluster.txt");
}

static void a_cluster_node_in_json(void **state)
{
	(void)state;
	cluster_node();
	assert_json("cluster.json");
}

static void bytes_are_told_in_the_largest_fitting_unit(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0 bytes"},	  {1, "1 byte"},	 {1023, "1023 bytes"},	   {1024, "1 KiB"},
	    {65536, "64 KiB"},	  {1536, "1.5 KiB"},	 {2 * MIB, "2 MiB"},	   {GIB, "1 GiB"},
	    {16 * GIB, "16 GiB"}, {1024 * GIB, "1 TiB"}, {3 * GIB / 2, "1.5 GiB"},
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(format_bytes(cases[i].bytes, text, sizeof text), cases[i].text);
}

#define ON_A_COMPLETE_MACHINE(test) cmocka_unit_test_setup(test, complete_machine)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_A_COMPLETE_MACHINE(nothing_is_missing_on_a_complete_machine),
	    ON_A_COMPLETE_MACHINE(each_missing_kernel_feature_is_found),
	    ON_A_COMPLETE_MACHINE(a_door_is_missing_only_if_no_other_is_as_good),
	    ON_A_COMPLETE_MACHINE(behind_closed_doors_nothing_else_is_missed),
	    ON_A_COMPLETE_MACHINE(an_empty_pool_is_found),
	    ON_A_COMPLETE_MACHINE(a_pool_that_is_used_up_is_found),
	    ON_A_COMPLETE_MACHINE(a_pool_that_grows_on_demand_is_not_missed),
	    ON_A_COMPLETE_MACHINE(no_rdma_device_is_found),
	    ON_A_COMPLETE_MACHINE(ports_that_cannot_be_used_are_found),
	    ON_A_COMPLETE_MACHINE(every_port_that_cannot_be_used_is_told_as_far_as_there_is_room),
	    ON_A_COMPLETE_MACHINE(small_packets_on_ethernet_are_found),
	    ON_A_COMPLETE_MACHINE(a_limit_of_locked_memory_matters_only_to_a_nic),
	    ON_A_COMPLETE_MACHINE(how_much_must_be_locked_follows_the_heap_and_the_device),
	    ON_A_COMPLETE_MACHINE(small_limits_are_found),
	    ON_A_COMPLETE_MACHINE(a_malformed_setting_is_found),
	    ON_A_COMPLETE_MACHINE(what_is_required_comes_first),
	    ON_A_COMPLETE_MACHINE(a_complete_machine_in_text),
	    ON_A_COMPLETE_MACHINE(a_complete_machine_in_json),
	    ON_A_COMPLETE_MACHINE(a_bare_machine_in_text),
	    ON_A_COMPLETE_MACHINE(a_bare_machine_in_json),
	    ON_A_COMPLETE_MACHINE(a_cluster_node_in_text),
	    ON_A_COMPLETE_MACHINE(a_cluster_node_in_json),
	    cmocka_unit_test(bytes_are_told_in_the_largest_fitting_unit),
	};

	return cmocka_run_group_tests_name("info", tests, NULL, NULL);
}
