/* The numbers of variables: bound to the caller's memory, or owned and started from a seed. A run on a device works on
 * a mirror of them, made when it first asks; who of the two has the newest numbers is kept, and they are moved when the
 * other side wants them. */
#include <stdlib.h>
#include <string.h>

#include "base/blocks.h"
#include "exec/exec_internal.h"
#include "sightglass/rng.h"

sg_status sg_state_new(sg_state **out, const sg_graph *g, sg_error *err)
{
    SG_TRY(sg_graph_status(g, err));
    sg_state *s = calloc(1, sizeof *s);
    const int n = sg_graph_n_slots(g);

    if (!s || !(s->slots = calloc((size_t)SG_MAX(n, 1), sizeof *s->slots)) || !(s->packs = sg_packs_new())) {
        if (s)
            free(s->slots);
        free(s);
        return sg_fail(err, SG_ENOMEM, "out of memory for a state of %d variables", n);
    }
    s->n_slots = n;
    s->generation = 1;
    for (int i = 0; i < n; i++) {
        const sg_value *v = sg_graph_slot(g, i);
        s->slots[i].v = v;
        s->slots[i].tensor = sg_tensor_of(v->dtype, v->n_dims, v->dims, NULL);
    }
    *out = s;
    return SG_OK;
}

static void drop_mirror(sg_state *s, struct sg_slot *slot)
{
    if (!slot->mirror)
        return;
    slot->device->give(slot->device, slot->mirror);
    slot->mirror = NULL;
    slot->newest = SG_NEWEST_BOTH;
    s->n_mirrors--;
    s->generation++;
}

void sg_state_free(sg_state *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n_slots; i++) {
        drop_mirror(s, &s->slots[i]);
        if (s->slots[i].owned)
            free(s->slots[i].tensor.data);
    }
    free(s->slots);
    sg_packs_free(s->packs);
    free(s);
}

static struct sg_slot *slot_of(const sg_state *s, const sg_value *v)
{
    return v->slot >= 0 && v->slot < s->n_slots ? &s->slots[v->slot] : NULL;
}

sg_status sg_state_bind(sg_state *s, const sg_value *variable, const sg_tensor *t, sg_error *err)
{
    struct sg_slot *slot = slot_of(s, variable);
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    if (!slot)
        return sg_fail(err, SG_EARG, "%s is not a variable of this state", sg_value_name(variable));
    const sg_tensor *w = &slot->tensor;
    if (t->dtype != w->dtype || t->n_dims != w->n_dims ||
        memcmp(t->dims, w->dims, (size_t)w->n_dims * sizeof w->dims[0]) != 0)
        return sg_fail(err, SG_ESHAPE, "variable %s is %s %s, the tensor given is %s %s", sg_value_name(slot->v),
                       sg_dtype_name(w->dtype), sg_shape_text(wanted, w->n_dims, w->dims), sg_dtype_name(t->dtype),
                       sg_shape_text(found, t->n_dims, t->dims));
    drop_mirror(s, slot);
    if (slot->owned)
        free(slot->tensor.data);
    slot->tensor = *t;
    slot->owned = false;
    slot->bound = true;
    sg_packs_clear(s->packs);
    s->generation++;
    return SG_OK;
}

static double drawn(const sg_init *init, sg_rng *r)
{
    switch (init->kind) {
    case SG_INIT_NORMAL:
        return init->a + init->b * sg_rng_normal(r);
    case SG_INIT_UNIFORM:
        return init->a + (init->b - init->a) * sg_rng_uniform(r);
    case SG_INIT_CONSTANT:
        break;
    }
    return init->a;
}

static void start(const struct sg_slot *slot, uint64_t seed)
{
    sg_tensor t = slot->tensor;
    const sg_dim n = sg_tensor_count(&t), block = sg_dtype_block(t.dtype);
    const char *name = sg_value_name(slot->v);
    sg_rng r = sg_rng_new(seed, (uint32_t)sg_hash(name, strlen(name), 0));

    for (sg_dim i = 0; block == 1 && i < n; i++)
        sg_tensor_set(&t, i, drawn(&slot->v->init, &r));
    for (sg_dim i = 0; block > 1 && i < n / block; i++) { /* packed numbers come to be together */
        float numbers[SG_BLOCK_MOST];
        for (sg_dim k = 0; k < block; k++)
            numbers[k] = (float)drawn(&slot->v->init, &r);
        sg_blocks_write((char *)t.data + (size_t)i * sg_dtype_block_bytes(t.dtype), t.dtype, numbers, 1);
    }
}

sg_status sg_state_init(sg_state *s, uint64_t seed, sg_error *err)
{
    for (int i = 0; i < s->n_slots; i++) {
        struct sg_slot *slot = &s->slots[i];
        if (slot->bound)
            continue;
        if (!slot->tensor.data) {
            const size_t bytes = sg_tensor_bytes(&slot->tensor);
            slot->tensor.data =
                aligned_alloc(SG_BLOCK_ALIGN, (bytes + SG_BLOCK_ALIGN) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN);
            if (!slot->tensor.data)
                return sg_fail(err, SG_ENOMEM, "out of memory for variable %s (%zu bytes)", sg_value_name(slot->v),
                               bytes);
            slot->owned = true;
            s->generation++;
        }
        start(slot, seed);
        slot->newest = slot->mirror ? SG_NEWEST_HERE : SG_NEWEST_BOTH;
    }
    return SG_OK;
}

/* The mirror's numbers into the processor's memory, where they are newer. */
static sg_status come_back(struct sg_slot *slot, sg_error *err)
{
    if (slot->newest != SG_NEWEST_MIRROR)
        return SG_OK;
    SG_TRY(slot->device->download(slot->device, slot->tensor.data, slot->mirror, sg_tensor_bytes(&slot->tensor), err));
    slot->newest = SG_NEWEST_BOTH;
    return SG_OK;
}

sg_status sg_state_place(sg_state *s, int i, const sg_device *device, bool changes, void **out, sg_error *err)
{
    struct sg_slot *slot = &s->slots[i];
    const size_t bytes = sg_tensor_bytes(&slot->tensor);

    if (slot->mirror && slot->device != device)
        SG_TRY(come_back(slot, err));
    if (!device) {
        *out = slot->tensor.data;
        if (changes && slot->mirror)
            slot->newest = SG_NEWEST_HERE;
        return SG_OK;
    }
    if (slot->mirror && slot->device != device)
        drop_mirror(s, slot);
    if (!slot->mirror) {
        SG_TRY(device->take(device, SG_MAX(bytes, 1), &slot->mirror, err));
        slot->device = device;
        slot->newest = SG_NEWEST_HERE;
        s->n_mirrors++;
        s->generation++;
    }
    if (slot->newest == SG_NEWEST_HERE) {
        SG_TRY(device->upload(device, slot->mirror, slot->tensor.data, bytes, err));
        slot->newest = SG_NEWEST_BOTH;
    }
    if (changes)
        slot->newest = SG_NEWEST_MIRROR;
    *out = slot->mirror;
    return SG_OK;
}

sg_status sg_state_fetch(sg_state *s, sg_error *err)
{
    for (int i = 0; i < s->n_slots; i++)
        SG_TRY(come_back(&s->slots[i], err));
    return SG_OK;
}

sg_tensor *sg_state_tensor(sg_state *s, const sg_value *variable)
{
    struct sg_slot *slot = slot_of(s, variable);

    if (!slot || !slot->tensor.data || come_back(slot, NULL) != SG_OK)
        return NULL;
    if (slot->mirror) /* the caller may write */
        slot->newest = SG_NEWEST_HERE;
    return &slot->tensor;
}
