/*
 * See delivery.h.
 */
#include "bench/delivery.h"

#include "bench/options.h"

enum dsm_delivery delivery_of_runtime(unsigned int delivery)
{
	static const enum dsm_delivery deliveries[DELIVERY_COUNT] = {
	    [DELIVERY_INLINE] = DSM_DELIVERY_INLINE,
	    [DELIVERY_THREAD_BLOCK] = DSM_DELIVERY_THREAD_BLOCK,
	    [DELIVERY_THREAD_SPIN] = DSM_DELIVERY_THREAD_SPIN,
	};

	return deliveries[delivery];
}

enum floor_delivery delivery_of_floor(unsigned int delivery)
{
	static const enum floor_delivery deliveries[DELIVERY_COUNT] = {
	    [DELIVERY_INLINE] = FLOOR_INLINE,
	    [DELIVERY_THREAD_BLOCK] = FLOOR_THREAD_BLOCK,
	    [DELIVERY_THREAD_SPIN] = FLOOR_THREAD_SPIN,
	};

	return deliveries[delivery];
}
