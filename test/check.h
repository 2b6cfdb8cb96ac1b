/* What every test includes: cmocka, and checks that print both sides.
 *
 *     static void a_sum_is_checked(void **state)
 *     {
 *         (void)state;
 *         sg_error err;
 *         CHECK_OK(sg_thing_open(&thing, path, &err), &err);
 *         CHECK_NEAR(thing_value(thing), 1.25, 1e-6, 0);
 *     }
 *
 * A check that fails leaves the test at once; what it held is then not freed. */
#ifndef SG_TEST_CHECK_H
#define SG_TEST_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sightglass/error.h"

#define CHECK(cond) _assert_true((cond) ? 1u : 0u, #cond, __FILE__, __LINE__)

/* The call is to succeed; `err` is the sg_error* that it was given, or NULL. */
#define CHECK_OK(call, err) sg_check_status((call), SG_OK, (err), #call, __FILE__, __LINE__)

/* The call is to return this status. */
#define CHECK_STATUS(call, status) sg_check_status((call), (status), NULL, #call, __FILE__, __LINE__)

/* |got - want| <= abs_tol + rel_tol * |want|; equal infinities agree, a NaN on either side fails. */
#define CHECK_NEAR(got, want, abs_tol, rel_tol)                                                                        \
    sg_check_near((double)(got), (double)(want), (double)(abs_tol), (double)(rel_tol), #got, __FILE__, __LINE__)

/* The text holds these words. */
#define CHECK_TEXT(haystack, needle) sg_check_text((haystack), (needle), __FILE__, __LINE__)

/* Leaves the test as skipped, aloud, where a file is absent.  `path` may be NULL. */
#define SKIP_WITHOUT(path, what)                                                                                       \
    do {                                                                                                               \
        if (!(path) || access((path), R_OK) != 0) {                                                                    \
            print_message("skipped: %s is not here\n", (what));                                                        \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

static inline void sg_check_status(sg_status got, sg_status want, const sg_error *err, const char *call,
                                   const char *file, int line)
{
    if (got == want)
        return;
    print_error("%s\n  gives \"%s\", wanted \"%s\"\n", call, sg_status_text(got), sg_status_text(want));
    if (err && got != SG_OK)
        print_error("  %s\n", err->text);
    _fail(file, line);
}

static inline void sg_check_near(double got, double want, double abs_tol, double rel_tol, const char *text,
                                 const char *file, int line)
{
    if (got == want || fabs(got - want) <= abs_tol + rel_tol * fabs(want))
        return;
    print_error("%s\n  is %.17g, wanted %.17g within %g + %g of it\n", text, got, want, abs_tol, rel_tol);
    _fail(file, line);
}

static inline void sg_check_text(const char *haystack, const char *needle, const char *file, int line)
{
    if (haystack && strstr(haystack, needle))
        return;
    print_error("\"%s\"\n  does not hold \"%s\"\n", haystack ? haystack : "(null)", needle);
    _fail(file, line);
}

#ifdef SG_SOURCE_DIR
/* The path of a file in the folder of shared data ($SIGHTGLASS_SHARED, or shared/ beside the source tree) written to
 * buf, or NULL where there is no such file. */
static inline const char *sg_test_shared(char buf[1024], const char *relative)
{
    const char *folder = getenv("SIGHTGLASS_SHARED");
    const int n = folder ? snprintf(buf, 1024, "%s/%s", folder, relative)
                         : snprintf(buf, 1024, "%s/../shared/%s", SG_SOURCE_DIR, relative);
    return n > 0 && n < 1024 && access(buf, R_OK) == 0 ? buf : NULL;
}
#endif

#endif
