/*
 * DELIVERY_* of options.h, as the runtime and as the floor call it.
 */
#ifndef MINORCA_BENCH_DELIVERY_H
#define MINORCA_BENCH_DELIVERY_H

#include <minorca.h>

#include "bench/floor.h"

enum dsm_delivery delivery_of_runtime(unsigned int delivery);
enum floor_delivery delivery_of_floor(unsigned int delivery);

#endif
