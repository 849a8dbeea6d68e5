/*
 * Deliveries: the userfaultfd descriptors that regions are registered with, and the handler threads behind
 * those that are read. Made when the first region asks for one, kept until dsm_finalize().
 */
#ifndef MINORCA_DSM_DELIVERY_H
#define MINORCA_DSM_DELIVERY_H

#include <stddef.h>

#include <minorca.h>

/**
 * The descriptor for a delivery. For the thread deliveries, also starts the handler threads
 * (MINORCA_HANDLERS).
 *
 * @param message  filled with what to tell the user, on an error
 * @return the descriptor; -EPERM: thread delivery needs a privilege that this user lacks; -EOPNOTSUPP;
 * -EAGAIN: no thread.
 */
int delivery_open(enum dsm_delivery delivery, char *message, size_t message_bytes);

/** Stops the handler threads and closes the descriptors. No region is left. */
void delivery_close_all(void);

/** "inline", "thread-spin", "thread-block". */
const char *delivery_name(enum dsm_delivery delivery);

#endif
