/* The weights of TensorFlow.js from their parts: what a manifest says, and bytes. Every length is checked here, whoever
 * read the JSON. */
#include "sightglass/tfjs.h"

#include <math.h>
#include <string.h>

#include "base/base.h"

typedef struct fact {
    struct fact *next;
    const char *key, *text;
} fact;

typedef struct weight {
    struct weight *next;
    const char *name;
    sg_tensor tensor;
} weight;

struct sg_tfjs {
    sg_arena *arena;
    const char *name;
    fact *facts;
    weight *first, **last;
    int n;
};

static sg_status no_memory(const sg_tfjs *t, sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "%s: out of memory", t->name);
}

sg_status sg_tfjs_new(sg_tfjs **out, const char *name, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_tfjs *t = arena ? sg_arena_alloc(arena, sizeof *t) : NULL;
    if (t)
        t->name = sg_arena_strdup(arena, name);
    if (!t || !t->name) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    t->arena = arena;
    t->last = &t->first;
    *out = t;
    return SG_OK;
}

void sg_tfjs_free(sg_tfjs *t)
{
    if (t)
        sg_arena_free(t->arena);
}

sg_status sg_tfjs_add_fact(sg_tfjs *t, const char *key, const char *text, sg_error *err)
{
    fact *f = sg_arena_alloc(t->arena, sizeof *f);
    if (!f || !(f->key = sg_arena_strdup(t->arena, key)) || !(f->text = sg_arena_strdup(t->arena, text)))
        return no_memory(t, err);
    f->next = t->facts;
    t->facts = f;
    return SG_OK;
}

const char *sg_tfjs_fact(const sg_tfjs *t, const char *key)
{
    for (const fact *f = t->facts; f; f = f->next)
        if (strcmp(f->key, key) == 0)
            return f->text;
    return NULL;
}

/* ---- numbers ---- */

typedef enum stored { AS_F32, AS_I32, AS_BOOL, AS_U8, AS_U16, AS_F16, N_STORED } stored;
static const size_t stored_bytes[N_STORED] = {4, 4, 1, 1, 2, 2};

static sg_status stored_as(stored *out, const sg_tfjs *t, const sg_tfjs_entry *e, sg_error *err)
{
    static const struct {
        const char *dtype, *packed;
        stored as;
    } known[] = {{"float32", NULL, AS_F32},   {"int32", NULL, AS_I32},       {"bool", NULL, AS_BOOL},
                 {"float32", "uint8", AS_U8}, {"float32", "uint16", AS_U16}, {"float32", "float16", AS_F16}};
    for (size_t i = 0; i < SG_COUNT_OF(known); i++)
        if (strcmp(e->dtype, known[i].dtype) == 0 &&
            (e->packed && known[i].packed ? strcmp(e->packed, known[i].packed) == 0 : e->packed == known[i].packed)) {
            *out = known[i].as;
            return SG_OK;
        }
    return sg_fail(
        err, SG_EUNSUPPORTED,
        "%s: weight \"%.80s\" is %.20s%s%.20s, wanted float32 (plain or as uint8, uint16, float16), int32 or bool",
        t->name, e->name, e->dtype, e->packed ? " as " : "", e->packed ? e->packed : "");
}

static uint32_t little_endian(const unsigned char *p, size_t n)
{
    uint32_t x = 0;
    for (size_t i = 0; i < n; i++)
        x |= (uint32_t)p[i] << (8 * i);
    return x;
}

static void widen(void *to, const unsigned char *from, sg_dim count, stored as, const sg_tfjs_entry *e)
{
    const size_t each = stored_bytes[as];
    float *f = to;
    for (sg_dim i = 0; i < count; i++, from += each) {
        const uint32_t x = little_endian(from, each);
        if (as == AS_F32 || as == AS_I32)
            memcpy((uint32_t *)to + i, &x, 4);
        else if (as == AS_BOOL)
            ((uint8_t *)to)[i] = x != 0;
        else if (as == AS_F16)
            f[i] = sg_f16_to_f32((uint16_t)x);
        else
            f[i] = (float)(x * e->scale + e->min);
    }
}

/* Bytes that an entry takes. */
static sg_status size_of(size_t *bytes, sg_dim *count, stored as, const sg_tfjs *t, const sg_tfjs_entry *e,
                         sg_error *err)
{
    *count = 1;
    if (e->n_dims < 0 || e->n_dims > SG_MAX_DIMS)
        return sg_fail(err, SG_EFORMAT, "%s: weight \"%.80s\" has %d axes, more than %d", t->name, e->name, e->n_dims,
                       SG_MAX_DIMS);
    for (int d = 0; d < e->n_dims; d++)
        if (e->dims[d] < 0 || __builtin_mul_overflow(*count, e->dims[d], count) || *count > (sg_dim)1 << 40)
            return sg_fail(err, SG_EFORMAT, "%s: weight \"%.80s\" has a shape that no weight has", t->name, e->name);
    if (e->packed && as != AS_F16 && !(isfinite(e->scale) && isfinite(e->min)))
        return sg_fail(err, SG_EFORMAT, "%s: weight \"%.80s\" has no finite scale and min", t->name, e->name);
    *bytes = (size_t)*count * stored_bytes[as];
    return SG_OK;
}

static sg_status add_weight(sg_tfjs *t, const sg_tfjs_entry *e, stored as, const unsigned char *bytes, sg_dim count,
                            sg_error *err)
{
    const sg_dtype dtype = as == AS_I32 ? SG_I32 : as == AS_BOOL ? SG_BOOL : SG_F32;
    if (sg_tfjs_find(t, e->name))
        return sg_fail(err, SG_EFORMAT, "%s: weight \"%.80s\" is there twice", t->name, e->name);
    weight *w = sg_arena_alloc(t->arena, sizeof *w);
    if (!w || !(w->name = sg_arena_strdup(t->arena, e->name)))
        return no_memory(t, err);
    w->tensor = sg_tensor_of(dtype, e->n_dims, e->dims, NULL);
    w->tensor.data = sg_arena_array(t->arena, (size_t)SG_MAX(count, 1), sg_dtype_bytes(dtype));
    if (!w->tensor.data)
        return no_memory(t, err);
    widen(w->tensor.data, bytes, count, as, e);
    *t->last = w;
    t->last = &w->next;
    t->n++;
    return SG_OK;
}

sg_status sg_tfjs_add_group(sg_tfjs *t, int n, const sg_tfjs_entry *entries, const void *bytes, size_t n_bytes,
                            sg_error *err)
{
    size_t total = 0;
    /* First whether all fits, so that nothing is taken for numbers that are not there. */
    for (int i = 0; i < n; i++) {
        stored as;
        sg_dim count;
        size_t size;
        SG_TRY(stored_as(&as, t, &entries[i], err));
        SG_TRY(size_of(&size, &count, as, t, &entries[i], err));
        total += size; /* of at most 2^31 entries of 2^42 bytes */
        if (total > n_bytes)
            return sg_fail(err, SG_EFORMAT, "%s: weight \"%.80s\" ends at byte %zu of %zu", t->name, entries[i].name,
                           total, n_bytes);
    }
    if (total != n_bytes)
        return sg_fail(err, SG_EFORMAT, "%s: the weights take %zu bytes, and there are %zu", t->name, total, n_bytes);
    const unsigned char *at = bytes;
    for (int i = 0; i < n; i++) {
        stored as;
        sg_dim count;
        size_t size;
        SG_TRY(stored_as(&as, t, &entries[i], err));
        SG_TRY(size_of(&size, &count, as, t, &entries[i], err));
        SG_TRY(add_weight(t, &entries[i], as, at, count, err));
        at += size;
    }
    return SG_OK;
}

int sg_tfjs_count(const sg_tfjs *t)
{
    return t->n;
}

static const weight *weight_at(const sg_tfjs *t, int i)
{
    const weight *w = t->first;
    for (; w && i > 0; i--)
        w = w->next;
    SG_ASSERT(w);
    return w;
}

const char *sg_tfjs_weight_name(const sg_tfjs *t, int i)
{
    return weight_at(t, i)->name;
}

const sg_tensor *sg_tfjs_weight(const sg_tfjs *t, int i)
{
    return &weight_at(t, i)->tensor;
}

const sg_tensor *sg_tfjs_find(const sg_tfjs *t, const char *name)
{
    for (const weight *w = t->first; w; w = w->next)
        if (strcmp(w->name, name) == 0)
            return &w->tensor;
    return NULL;
}
