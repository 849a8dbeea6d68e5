#include "dsm/card.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dsm/settings.h"

/* A copy that surely ends. */
static struct card terminated(const struct card *card)
{
	struct card copy = *card;

	copy.build[sizeof copy.build - 1] = 0;
	for (size_t i = 0; i < CARD_SETTINGS_MAX; i++)
		copy.settings[i][CARD_SETTING_BYTES - 1] = 0;
	return copy;
}

int card_compare(const struct card *mine, const struct card *received, char *message, size_t bytes)
{
	const struct card first = terminated(received);
	size_t count;
	const struct setting *table = settings_table(&count);

	if (strcmp(mine->build, first.build) || mine->bytes != first.bytes) {
		snprintf(message, bytes,
			 "this node runs build %s of libminorca, node 0 runs %s; install the same build on "
			 "all nodes",
			 mine->build, first.build);
		return -EPROTO;
	}
	for (size_t i = 0; i < count && i < CARD_SETTINGS_MAX; i++)
		if (strcmp(mine->settings[i], first.settings[i])) {
			snprintf(message, bytes,
				 "%s is %s on this node and %s on node 0; set it alike on all nodes (mpirun "
				 "-x %s)",
				 table[i].name, mine->settings[i], first.settings[i], table[i].name);
			return -EPROTO;
		}
	return 0;
}
