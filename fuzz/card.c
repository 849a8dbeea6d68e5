/* The card of another node, of any bytes, against one like it but for some. */
#include <string.h>

#include "dsm/card.h"
#include "fuzz/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct card mine, theirs;
	char message[512];

	memset(&mine, 0, sizeof mine);
	mine.bytes = sizeof mine;
	strcpy(mine.build, "0.1.0 build");
	theirs = mine;
	/* No zero in it, if the input begins so. */
	if (size && data[0] == 0xff)
		memset(theirs.settings, 's', sizeof theirs.settings);
	/* Pieces of the input, each behind a place and a length. */
	while (size >= 3) {
		size_t at = (size_t)(data[0] | data[1] << 8) % sizeof theirs, bytes = data[2];
		data += 3;
		size -= 3;
		bytes = bytes < size ? bytes : size;
		bytes = bytes < sizeof theirs - at ? bytes : sizeof theirs - at;
		memcpy((unsigned char *)&theirs + at, data, bytes);
		data += bytes;
		size -= bytes;
	}
	memset(message, 'x', sizeof message);
	int error = card_compare(&mine, &theirs, message, sizeof message);
	REQUIRE_STATUS(error);
	REQUIRE(!error || memchr(message, 0, sizeof message));
	REQUIRE(!card_compare(&mine, &mine, message, sizeof message));
	return 0;
}
