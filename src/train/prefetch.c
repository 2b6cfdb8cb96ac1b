/* Two buffers and one thread. The invariant: buffers [used, used + n_full) of the endless sequence are full, and
 * belong to the reader; the others are the thread's. One lock guards the two counters and the flags, never the numbers.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/source.h"

struct sg_prefetch {
    sg_arena *arena;
    const sg_source *source;
    sg_tensor field[SG_PREFETCH_BUFFERS][SG_SOURCE_FIELDS];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop, in_use; /* in_use: the reader still has the buffer it was given last */
    sg_dim next;       /* batch that the thread fills next */
    sg_dim n_used, n_full;
    sg_status status; /* of the fill that ended the thread */
    sg_error error;
};

void sg_source_free(sg_source *s)
{
    if (s->free)
        s->free(s->self);
    *s = (sg_source){0};
}

size_t sg_source_bytes(const sg_source *s)
{
    size_t bytes = 0;
    for (int i = 0; i < s->n_fields; i++)
        bytes += sg_tensor_bytes(&s->field[i]);
    return bytes;
}

static void *work(void *context)
{
    sg_prefetch *p = context;
    sg_status status = SG_OK;
    pthread_mutex_lock(&p->lock);
    while (status == SG_OK) {
        while (!p->stop && p->n_full == SG_PREFETCH_BUFFERS)
            pthread_cond_wait(&p->changed, &p->lock);
        if (p->stop)
            break;
        sg_tensor *field = p->field[(p->n_used + p->n_full) % SG_PREFETCH_BUFFERS];
        const sg_dim i = p->next++;
        pthread_mutex_unlock(&p->lock);
        sg_error error = {SG_OK, ""};
        status = p->source->fill(p->source->self, i, field, &error);
        pthread_mutex_lock(&p->lock);
        if (status == SG_OK) {
            p->n_full++;
        } else {
            p->status = status;
            p->error = error;
        }
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool take_memory(sg_prefetch *p)
{
    for (int b = 0; b < SG_PREFETCH_BUFFERS; b++)
        for (int i = 0; i < p->source->n_fields; i++) {
            p->field[b][i] = p->source->field[i];
            p->field[b][i].data = sg_arena_alloc(p->arena, SG_MAX(sg_tensor_bytes(&p->field[b][i]), 1));
            if (!p->field[b][i].data)
                return false;
        }
    return true;
}

sg_status sg_prefetch_new(sg_prefetch **out, const sg_source *source, sg_dim first, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_prefetch *p = arena ? sg_arena_alloc(arena, sizeof *p) : NULL;
    if (p) {
        p->arena = arena;
        p->source = source;
        p->next = first;
    }
    if (!p || !take_memory(p)) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for batches of %zu bytes", sg_source_bytes(source));
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    if (pthread_create(&p->thread, NULL, work, p) != 0) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "no thread can be started that reads ahead");
    }
    *out = p;
    return SG_OK;
}

sg_status sg_prefetch_next(sg_prefetch *p, const sg_tensor **field, sg_error *err)
{
    *field = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->in_use) {
        p->in_use = false;
        p->n_used++;
        p->n_full--;
        pthread_cond_broadcast(&p->changed);
    }
    while (p->n_full == 0 && p->status == SG_OK)
        pthread_cond_wait(&p->changed, &p->lock);
    const bool full = p->n_full > 0;
    p->in_use = full;
    const sg_tensor *got = p->field[p->n_used % SG_PREFETCH_BUFFERS];
    pthread_mutex_unlock(&p->lock);
    if (!full) /* the thread has ended, so what it left is at rest */
        return sg_fail(err, p->status, "%s", p->error.text);
    *field = got;
    return SG_OK;
}

void sg_prefetch_free(sg_prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    sg_arena_free(p->arena);
}
