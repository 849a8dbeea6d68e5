/* Keys of the shm transport: mapped is the file that was meant, or nothing. */
#include <string.h>
#include <unistd.h>

#include "dsm/report.h"
#include "dsm/transport.h"
#include "fuzz/node.h"
#include "kernel/memory.h"

#define BYTES ((size_t)65536)
#define SEGMENT 3

static struct transport *transport;
static int file;
static void *base;

static void set_up(void)
{
	static char reports[1024];
	struct transport_config config = {.node = 0, .nodes = 2, .lanes = 1};
	struct transport_address address;

	report_capture(reports, sizeof reports);
	file = memory_file_create("fuzz", BYTES, 4096);
	REQUIRE(file >= 0 && !memory_map(file, BYTES, NULL, &base));
	REQUIRE(!transport_shm.open(&config, &transport, &address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct segment_memory memory = {
	    .name = "fuzz", .bytes = BYTES, .page_bytes = 4096, .access = PEERS_READ, .words = true};
	static unsigned char key[64], right[64];
	size_t key_bytes;
	int pid = (int)getpid();
	unsigned char got[16];

	if (!transport)
		set_up();
	memory.fd = file;
	memory.base = base;
	key_bytes = transport_shm.key_bytes(transport, BYTES);
	REQUIRE(key_bytes <= sizeof key);
	REQUIRE(!transport_shm.expose(transport, SEGMENT, &memory, right));
	/* The first byte says which bytes of the right key stay. */
	memcpy(key, right, sizeof key);
	if (size > 1 && data[0] & 1)
		for (size_t i = 2; i < size; i += 2)
			key[data[i - 1] % key_bytes] ^= data[i];
	else if (size > 1)
		memcpy(key, data + 1, size - 1 < key_bytes ? size - 1 : key_bytes);
	if (size && data[0] & 2)
		memcpy(key, &pid, sizeof pid);
	int error = transport_shm.attach(transport, SEGMENT, 1, BYTES, key);
	REQUIRE_STATUS(error);
	if (!error) {
		/* Its end can be read: the file is as large as it was said to be. */
		REQUIRE(!transport_shm.post_read(transport, NULL, 1, SEGMENT, BYTES - sizeof got, got,
						 sizeof got));
		memset(base, 0x5a, 8);
		REQUIRE(!transport_shm.post_read(transport, NULL, 1, SEGMENT, 0, got, 8) && got[0] == 0x5a);
	}
	transport_shm.detach(transport, SEGMENT);
	return 0;
}
