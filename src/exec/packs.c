/* A list under a lock: there are as many entries as a model has weights. */
#include "exec/packs.h"

#include <stdlib.h>

#include "base/lock.h"

typedef struct pack {
    const void *of;
    uint64_t layout;
    size_t bytes;
    void *data;
    struct pack *next;
} pack;

enum { BUCKETS = 256 };

struct sg_packs {
    sg_lock lock;
    pack *buckets[BUCKETS];
};

sg_packs *sg_packs_new(void)
{
    sg_packs *p = calloc(1, sizeof *p);

    if (p && !sg_lock_init(&p->lock)) {
        free(p);
        return NULL;
    }
    return p;
}

void sg_packs_clear(sg_packs *p)
{
    for (int b = 0; b < BUCKETS; b++)
        while (p->buckets[b]) {
            pack *gone = p->buckets[b];
            p->buckets[b] = gone->next;
            free(gone->data);
            free(gone);
        }
}

void sg_packs_free(sg_packs *p)
{
    if (!p)
        return;
    sg_packs_clear(p);
    sg_lock_destroy(&p->lock);
    free(p);
}

static pack *make(const void *of, uint64_t layout, size_t bytes, bool (*fill)(void *context, void *to), void *context)
{
    pack *made = calloc(1, sizeof *made);

    if (made)
        *made = (pack){.of = of, .layout = layout, .bytes = bytes, .data = aligned_alloc(64, (bytes + 64) / 64 * 64)};
    if (made && made->data && fill(context, made->data))
        return made;
    if (made)
        free(made->data);
    free(made);
    return NULL;
}

void *sg_packs_get(sg_packs *p, const void *of, uint64_t layout, size_t bytes, bool (*fill)(void *context, void *to),
                   void *context)
{
    pack **bucket = &p->buckets[sg_hash(&of, sizeof of, layout) % BUCKETS], *at;

    sg_lock_take(&p->lock);
    for (at = *bucket; at && (at->of != of || at->layout != layout || at->bytes != bytes);)
        at = at->next;
    if (!at && (at = make(of, layout, bytes, fill, context))) {
        at->next = *bucket;
        *bucket = at;
    }
    sg_lock_give(&p->lock);
    return at ? at->data : NULL;
}
