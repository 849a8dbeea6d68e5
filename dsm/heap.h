/*
 * The heap: dsm_malloc(), dsm_calloc(), dsm_free().
 */
#ifndef MINORCA_DSM_HEAP_H
#define MINORCA_DSM_HEAP_H

/**
 * Makes the heap that the settings ask for. Collective. A heap that cannot be made, for lack of memory say,
 * is no error here: an application that does not use it goes on, and dsm_malloc() says why there is none.
 *
 * @return 0; -ETIMEDOUT: a node did not arrive; -EIO: MPI failed.
 */
int heap_create(void);

/** Frees what the process holds. Regions and transport are gone already, and no node uses the words. */
void heap_destroy(void);

/**
 * Atomics are about to be done on words of the object at @address, which lies in the heap. They change the
 * home's copy and no version, so that other nodes' copies stay as they were: right while the words are used
 * for atomics alone; but when the memory is freed and used for something else, no old copy may be found
 * current. So the slab is marked, and what is freed in it has its versions advanced.
 *
 * @return 0, -EHOSTDOWN, -ETIMEDOUT.
 */
int heap_note_atomics(const void *address);

#endif
