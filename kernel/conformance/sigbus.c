/*
 * SIGBUS as a case sees it: resolved on the thread that took it, or given up. See trial.h.
 *
 * One handler at a time, on one thread: a case is alone in its process.
 */
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "kernel/conformance/trial.h"

struct sigbus_report sigbus_seen;

static struct trial *handler_trial;
static int (*handler_resolve)(struct trial *t, void *address);
static sigjmp_buf handler_escape;

bool sigbus_has_error_code(void)
{
#ifdef __x86_64__
	return true;
#else
	return false;
#endif
}

static void record(const siginfo_t *info, const void *context)
{
	sigbus_seen.count++;
	sigbus_seen.code = info->si_code;
	sigbus_seen.address = info->si_addr;
#ifdef __x86_64__
	const ucontext_t *uc = context;

	sigbus_seen.trap = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
	sigbus_seen.error_code = (uint64_t)uc->uc_mcontext.gregs[REG_ERR];
#else
	(void)context;
#endif
}

static void handle_by_resolving(int signal, siginfo_t *info, void *context)
{
	int err;

	(void)signal;
	record(info, context);
	err = handler_resolve(handler_trial, info->si_addr);
	if (err)
		trial_fail(handler_trial, __FILE__, __LINE__, "in the SIGBUS handler: %s", result_name(err));
}

static void handle_by_giving_up(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	record(info, context);
	siglongjmp(handler_escape, 1);
}

static void install(struct trial *t, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigfillset(&action.sa_mask);
	handler_trial = t;
	REQUIRE(t, sigaction(SIGBUS, &action, NULL) == 0);
}

void sigbus_resolve_by(struct trial *t, int (*resolve)(struct trial *t, void *address))
{
	handler_resolve = resolve;
	install(t, handle_by_resolving);
}

bool raises_sigbus(struct trial *t, volatile uint64_t *address, bool write)
{
	install(t, handle_by_giving_up);
	if (sigsetjmp(handler_escape, 1))
		return true;
	if (write)
		*address = 0;
	else
		(void)*address;
	return false;
}
