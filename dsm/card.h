/*
 * Cards: what nodes tell each other of themselves when they start.
 */
#ifndef MINORCA_DSM_CARD_H
#define MINORCA_DSM_CARD_H

#include <stddef.h>
#include <stdint.h>

#define CARD_SETTING_BYTES 64
#define CARD_SETTINGS_MAX 32

/* Plain bytes, sent by MPI. Strings of another node's need not be terminated. */
struct card {
	char build[72];
	uint64_t host;
	uint64_t place;	     /* equal on nodes of a machine that may run on the same NUMA nodes */
	uint64_t job_key[2]; /* node 0's is the job's */
	uint32_t bytes;	     /* size of this struct: the first thing that a different build has different */
	char settings[CARD_SETTINGS_MAX][CARD_SETTING_BYTES];
};

/**
 * Compares with node 0's card: both are to be of the same build, with the same settings.
 * @return 0; -EPROTO: they differ, and @message says in what and what to do.
 */
int card_compare(const struct card *mine, const struct card *first, char *message, size_t bytes);

#endif
