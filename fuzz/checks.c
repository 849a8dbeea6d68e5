#include <stdio.h>
#include <stdlib.h>

#include "fuzz/node.h"

_Noreturn void fuzz_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: %s is false\n", file, line, condition);
	abort();
}
