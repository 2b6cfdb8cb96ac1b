/* A run on a device. Everything its steps read and write lies there; what crosses is feeds before the first step,
 * fetches after the last, and, for steps whose kernel is the processor's, their inputs and results. Those are copied
 * whole each time: such steps are meant to be few. */
#include "exec/device.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN ((size_t)256)

/* Memory here that grows as it has to. */
typedef struct room {
    void *data;
    size_t bytes;
} room;

/* A step on the processor. */
typedef struct shadow {
    const sg_device *device;
    sg_kernel_fn run;
    const void *self;
    unsigned changes;
    bool alias;
    int n_rooms;
    room *rooms; /* of inputs, then results, then scratch */
    sg_view *views;
    const sg_view **in;
    sg_view **outs;
    size_t scratch_bytes;
} shadow;

struct sg_away {
    const sg_plan *plan;
    const sg_device *device;
    sg_arena *arena;
    void *block, *fixed; /* there */
    void **at;           /* by value, there: feeds and constants */
    room *landing;       /* by fetch */
    room looked;
};

static sg_status grow(room *r, size_t bytes, sg_error *err)
{
    bytes = (SG_MAX(bytes, 1) + SG_BLOCK_ALIGN - 1) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
    if (bytes <= r->bytes)
        return SG_OK;
    free(r->data);
    r->bytes = 0;
    r->data = aligned_alloc(SG_BLOCK_ALIGN, bytes);
    if (!r->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for a copy of %zu bytes from the device", bytes);
    r->bytes = bytes;
    return SG_OK;
}

static void free_away(void *object)
{
    sg_away *w = object;

    w->device->give(w->device, w->block);
    w->device->give(w->device, w->fixed);
    for (int i = 0; i < w->plan->n_fetches; i++)
        free(w->landing[i].data);
    free(w->looked.data);
}

static sg_status send_constants(sg_away *w, sg_error *err)
{
    const sg_plan *p = w->plan;
    size_t bytes = 0;

    for (int a = 0; a < p->n_values; a++)
        if (p->values[a].home == SG_HOME_FEED || p->values[a].home == SG_HOME_CONST)
            bytes += (p->values[a].bytes + ALIGN - 1) / ALIGN * ALIGN;
    SG_TRY(w->device->take(w->device, SG_MAX(bytes, 1), &w->fixed, err));
    bytes = 0;
    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (x->home != SG_HOME_FEED && x->home != SG_HOME_CONST)
            continue;
        w->at[a] = (char *)w->fixed + bytes;
        if (x->home == SG_HOME_CONST)
            SG_TRY(w->device->upload(w->device, w->at[a], x->data, x->bytes, err));
        bytes += (x->bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    return SG_OK;
}

sg_status sg_away_new(sg_away **out, sg_arena *arena, const sg_plan *plan, unsigned char **block, sg_error *err)
{
    sg_away *w = sg_arena_alloc(arena, sizeof *w);

    if (w) {
        w->plan = plan;
        w->device = plan->device;
        w->arena = arena;
        w->at = sg_arena_array(arena, (size_t)SG_MAX(plan->n_values, 1), sizeof *w->at);
        w->landing = sg_arena_array(arena, (size_t)SG_MAX(plan->n_fetches, 1), sizeof *w->landing);
    }
    if (!w || !w->at || !w->landing || sg_arena_defer(arena, free_away, w) != SG_OK)
        return sg_fail(err, SG_ENOMEM, "out of memory for a run");
    SG_TRY(w->device->take(w->device, SG_MAX(plan->block_bytes, 1), &w->block, err));
    SG_TRY(send_constants(w, err));
    *block = w->block;
    *out = w;
    return SG_OK;
}

void *sg_away_at(const sg_away *w, int a)
{
    return w->at[a];
}

sg_status sg_away_feed(sg_away *w, const sg_tensor *const *fed, sg_error *err)
{
    const sg_plan *p = w->plan;

    for (int i = 0; i < p->n_feeds; i++)
        if (p->feeds[i] >= 0)
            SG_TRY(w->device->upload(w->device, w->at[p->feeds[i]], fed[i]->data, sg_tensor_bytes(fed[i]), err));
    return SG_OK;
}

static sg_status download(sg_away *w, room *to, const void *from, sg_tensor *t, sg_error *err)
{
    const size_t bytes = sg_tensor_bytes(t);

    SG_TRY(grow(to, bytes, err));
    SG_TRY(w->device->download(w->device, to->data, from, bytes, err));
    t->data = to->data;
    return SG_OK;
}

sg_status sg_away_land(sg_away *w, int i, const void *from, sg_tensor *t, sg_error *err)
{
    return download(w, &w->landing[i], from, t, err);
}

sg_status sg_away_look(sg_away *w, sg_tensor *t, sg_error *err)
{
    return download(w, &w->looked, t->data, t, err);
}

/* ---- steps on the processor ---- */

/* From the first to the last number that a view shows. */
static size_t span(const sg_view *v)
{
    sg_dim n = 1;

    for (int d = 0; d < v->n_dims; d++) {
        if (v->dims[d] == 0)
            return 0;
        n += (v->dims[d] - 1) * v->strides[d];
    }
    size_t bytes = 0;
    const sg_status status = sg_dtype_room(v->dtype, n, &bytes);
    SG_ASSERT(status == SG_OK); /* checked by the plan */
    return bytes;
}

static sg_status run_here(const sg_kernel_args *k, sg_error *err)
{
    const shadow *h = k->self;
    const sg_device *d = h->device;
    sg_kernel_args own = *k;
    room *const scratch = &h->rooms[h->n_rooms - 1];

    for (int i = 0; i < k->n_in; i++) {
        const size_t bytes = span(k->in[i]);
        SG_TRY(grow(&h->rooms[i], bytes, err));
        SG_TRY(d->download(d, h->rooms[i].data, k->in[i]->data, bytes, err));
        h->views[i] = *k->in[i];
        h->views[i].data = h->rooms[i].data;
    }
    for (int o = 0; o < k->n_out; o++) {
        room *const at = &h->rooms[h->alias ? 0 : k->n_in + o];
        SG_TRY(grow(at, span(k->outs[o]), err));
        *h->outs[o] = *k->outs[o];
        h->outs[o]->data = at->data;
        if (k->outs[o] == k->out)
            own.out = h->outs[o];
    }
    SG_TRY(grow(scratch, h->scratch_bytes, err));
    own.in = h->in;
    own.outs = h->outs;
    own.scratch = scratch->data;
    own.self = h->self;
    own.fixed = 0;
    SG_TRY(h->run(&own, err));
    for (int o = 0; o < k->n_out; o++)
        SG_TRY(d->upload(d, k->outs[o]->data, h->outs[o]->data, span(k->outs[o]), err));
    for (int i = 0; i < k->n_in && i < 32; i++)
        if (h->changes >> i & 1)
            SG_TRY(d->upload(d, k->in[i]->data, h->views[i].data, span(k->in[i]), err));
    return SG_OK;
}

static void free_shadow(void *object)
{
    shadow *h = object;

    for (int i = 0; i < h->n_rooms; i++)
        free(h->rooms[i].data);
}

bool sg_away_shadow(sg_away *w, const sg_plan_step *step, sg_kernel_fn *run, sg_kernel_args *k)
{
    const int n = step->n_in + step->n_out;
    shadow *h = sg_arena_alloc(w->arena, sizeof *h);

    if (!h)
        return false;
    h->device = w->device;
    h->run = *run;
    h->self = k->self;
    h->changes = k->op->changes;
    h->alias = (k->op->flags & SG_OP_ALIAS) != 0;
    h->scratch_bytes = step->kernel.scratch_bytes;
    h->rooms = sg_arena_array(w->arena, (size_t)n + 1, sizeof *h->rooms);
    h->views = sg_arena_array(w->arena, (size_t)n, sizeof *h->views);
    h->in = sg_arena_array(w->arena, (size_t)step->n_in + 1, sizeof *h->in);
    h->outs = sg_arena_array(w->arena, (size_t)step->n_out, sizeof *h->outs);
    if (!h->rooms || !h->views || !h->in || !h->outs || sg_arena_defer(w->arena, free_shadow, h) != SG_OK)
        return false;
    h->n_rooms = n + 1;
    for (int i = 0; i < step->n_in; i++)
        h->in[i] = &h->views[i];
    for (int o = 0; o < step->n_out; o++)
        h->outs[o] = &h->views[step->n_in + o];
    *run = run_here;
    k->self = h;
    return true;
}
