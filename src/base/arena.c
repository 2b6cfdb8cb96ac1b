/* Arenas: chunks from calloc, handed out front to back and released together.
 *
 * A chunk's bytes are zero until handed out, since they are never handed out twice.  In sanitizer builds
 * everything in a chunk outside a live object is poisoned, the gap after each object included. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(WITH_ASAN)
#define WITH_ASAN 1
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, bytes)   ASAN_POISON_MEMORY_REGION(p, bytes)
#define UNPOISON(p, bytes) ASAN_UNPOISON_MEMORY_REGION(p, bytes)
#define GAP                ((size_t)64)
#else
#define POISON(p, bytes)   ((void)0)
#define UNPOISON(p, bytes) ((void)0)
#define GAP                ((size_t)0)
#endif

#define ALIGN       ((size_t)64) /* a cache line, and the widest vector register */
#define CHUNK_FIRST ((size_t)4096)
#define CHUNK_MOST  ((size_t)1 << 20)

struct chunk {
    struct chunk *next;
    unsigned char *bytes; /* aligned, inside the same allocation */
    size_t used, capacity;
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *);
    void *object;
};

struct sg_arena {
    struct chunk *chunks; /* the first one is being filled */
    struct deferred *deferred;
    size_t next_capacity, used;
};

static struct chunk *chunk_new(size_t capacity)
{
    struct chunk *c = calloc(1, sizeof *c + ALIGN + capacity);
    if (!c)
        return NULL;
    unsigned char *start = (unsigned char *)(c + 1);
    c->bytes = start + (ALIGN - (uintptr_t)start % ALIGN) % ALIGN;
    c->capacity = capacity;
    POISON(c->bytes, capacity);
    return c;
}

sg_arena *sg_arena_new(void)
{
    sg_arena *arena = calloc(1, sizeof *arena);
    if (arena)
        arena->next_capacity = CHUNK_FIRST;
    return arena;
}

void sg_arena_free(sg_arena *arena)
{
    if (!arena)
        return;
    /* A deferred call may look at objects of the arena, and may defer again. */
    while (arena->deferred) {
        const struct deferred d = *arena->deferred;
        arena->deferred = d.next;
        d.fn(d.object);
    }
    for (struct chunk *c = arena->chunks, *next; c; c = next) {
        next = c->next;
        UNPOISON(c->bytes, c->capacity);
        free(c);
    }
    free(arena);
}

void *sg_arena_alloc(sg_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) /* no machine has it, and the sums below stay in range */
        return NULL;
    /* An object of no bytes still has an address of its own. */
    const size_t taken = SG_MAX(bytes + ALIGN - 1, ALIGN) / ALIGN * ALIGN + GAP;

    struct chunk *c = arena->chunks;
    if (!c || taken > c->capacity - c->used) {
        /* A large object gets a chunk to itself, behind the one being filled, whose rest stays in use. */
        const bool alone = taken > arena->next_capacity / 4;
        struct chunk *fresh = chunk_new(alone ? taken : arena->next_capacity);
        if (!fresh)
            return NULL;
        if (alone && c) {
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            arena->chunks = fresh;
        }
        if (!alone)
            arena->next_capacity = SG_MIN(2 * arena->next_capacity, CHUNK_MOST);
        c = fresh;
    }
    unsigned char *p = c->bytes + c->used;
    c->used += taken;
    arena->used += taken;
    UNPOISON(p, bytes);
    return p;
}

void *sg_arena_array(sg_arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return sg_arena_alloc(arena, count * size);
}

char *sg_arena_strndup(sg_arena *arena, const char *text, size_t bytes)
{
    char *copy = bytes < SIZE_MAX ? sg_arena_alloc(arena, bytes + 1) : NULL;
    if (copy && bytes)
        memcpy(copy, text, bytes);
    return copy;
}

char *sg_arena_strdup(sg_arena *arena, const char *text)
{
    return sg_arena_strndup(arena, text, strlen(text));
}

char *sg_arena_printf(sg_arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : sg_arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

sg_status sg_arena_defer(sg_arena *arena, void (*fn)(void *), void *object)
{
    struct deferred *d = sg_arena_alloc(arena, sizeof *d);
    if (!d) {
        fn(object);
        return SG_ENOMEM;
    }
    *d = (struct deferred){.next = arena->deferred, .fn = fn, .object = object};
    arena->deferred = d;
    return SG_OK;
}

size_t sg_arena_used(const sg_arena *arena)
{
    return arena->used;
}
