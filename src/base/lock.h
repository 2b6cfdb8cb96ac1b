/* A lock: POSIX's where there are threads, nothing where a program has one (WebAssembly in a page). */
#ifndef SG_BASE_LOCK_H
#define SG_BASE_LOCK_H

#include <stdbool.h>

#ifdef __wasm__

typedef char sg_lock;

static inline bool sg_lock_init(sg_lock *lock)
{
    *lock = 0;
    return true;
}

static inline void sg_lock_destroy(sg_lock *lock)
{
    (void)lock;
}

static inline void sg_lock_take(sg_lock *lock)
{
    (void)lock;
}

static inline void sg_lock_give(sg_lock *lock)
{
    (void)lock;
}

#else

#include <pthread.h>

typedef pthread_mutex_t sg_lock;

static inline bool sg_lock_init(sg_lock *lock)
{
    return pthread_mutex_init(lock, NULL) == 0;
}

static inline void sg_lock_destroy(sg_lock *lock)
{
    pthread_mutex_destroy(lock);
}

static inline void sg_lock_take(sg_lock *lock)
{
    pthread_mutex_lock(lock);
}

static inline void sg_lock_give(sg_lock *lock)
{
    pthread_mutex_unlock(lock);
}

#endif
#endif
