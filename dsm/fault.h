/*
 * The fault path: from the kernel's notice to the access going on. See fault.c; it reads top to bottom.
 */
#ifndef MINORCA_DSM_FAULT_H
#define MINORCA_DSM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

struct lane;
struct dsm_region;

/** Takes over SIGBUS; keeps the handler that was there. @return 0 or -errno. */
int fault_install(void);

/** Gives SIGBUS back to that handler. */
void fault_uninstall(void);

/**
 * Resolves a fault: on return 0 the access that faulted may be tried again. Async-signal-safe. The caller
 * holds @lane and has all signals blocked.
 *
 * @param write    the access was a store
 * @param present  the page was mapped: the store met write protection
 * @return 0 or -errno, for fault_die(). 0 too if the home of the page is lost, where the kernel can poison
 * pages: then the access raises SIGBUS when it is tried again. -EHWPOISON: it has been poisoned before.
 */
int fault_resolve(struct lane *lane, struct dsm_region *region, size_t page, bool write, bool present);

/** Says why a fault cannot be resolved, and ends the process by SIGBUS, as the kernel would have. */
_Noreturn void fault_die(const struct dsm_region *region, size_t page, int error);

/* --- steps that the fault path shares with prefetch, publish and acquire. Pages are locked by the caller.
 * --- */

/** Makes a mapped or about-to-be-mapped page count as changed by this node: twin, and the dirty set. @return
 * 0 or -ENOMEM. */
int page_begin_write(struct lane *lane, struct dsm_region *region, size_t page);

/** Maps pages that are complete in the file, writable or write-protected. @return 0 or -errno. */
int pages_map(struct dsm_region *region, size_t first, size_t count, bool writable);

/** Changes the protection of mapped pages. @return 0 or -errno. */
int pages_protect(struct dsm_region *region, size_t first, size_t count, bool protect);

#endif
