/* Memory that runs out on purpose: the n-th allocation fails, for each n in turn.
 *
 *     for (long n = 0;; n++) {
 *         sg_faults_begin(n, SG_FAULT_ONCE);
 *         const sg_status status = sg_thing_open(&thing, path, &err);
 *         if (!sg_faults_end()) {
 *             CHECK_OK(status, &err);   // no allocation was left to fail
 *             break;
 *         }
 *         CHECK(status == SG_ENOMEM);
 *     }
 *
 * Including this file is all a test has to do: the build links it with --wrap, which sends the calls of the test and
 * of the (static) library here.  Shared libraries keep their own; those with settable allocators can be sent here as
 * well, as by json_set_alloc_funcs(malloc, free). */
#ifndef SG_TEST_FAULTS_H
#define SG_TEST_FAULTS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum sg_fault_kind {
    SG_FAULT_ONCE,  /* the n-th allocation fails, later ones succeed */
    SG_FAULT_ONWARD /* the n-th and all that follow fail */
} sg_fault_kind;

static atomic_bool sg_faults_on, sg_faults_onward, sg_faults_fired;
static atomic_long sg_faults_left;

/* From now on allocation number n fails, the next one being number 0. */
static inline void sg_faults_begin(long n, sg_fault_kind kind)
{
    sg_faults_left = n;
    sg_faults_onward = kind == SG_FAULT_ONWARD;
    sg_faults_fired = false;
    sg_faults_on = true;
}

/* Allocations succeed again.  Says whether one was made to fail. */
static inline bool sg_faults_end(void)
{
    sg_faults_on = false;
    return sg_faults_fired;
}

static inline bool sg_faults_hit(void)
{
    if (!sg_faults_on)
        return false;
    const long left = atomic_fetch_sub(&sg_faults_left, 1);
    if (left > 0 || (left < 0 && !sg_faults_onward))
        return false;
    sg_faults_fired = true;
    errno = ENOMEM;
    return true;
}

/* The linker gives these their names: a reference to malloc means __wrap_malloc, and __real_malloc the old one. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
int __real_posix_memalign(void **out, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return sg_faults_hit() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return sg_faults_hit() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return sg_faults_hit() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return sg_faults_hit() ? NULL : __real_aligned_alloc(alignment, bytes);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes)
{
    return sg_faults_hit() ? ENOMEM : __real_posix_memalign(out, alignment, bytes);
}

#endif
