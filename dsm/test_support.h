/* cmocka and the headers that it wants before it. */
#ifndef MINORCA_DSM_TEST_SUPPORT_H
#define MINORCA_DSM_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
