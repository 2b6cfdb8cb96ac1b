/* Indices of the k largest along the last axis. Attributes: k.
 *
 * The result row itself holds a heap of the best so far, its worst on top; a last pass sorts it. For f32 and k that is
 * not huge the heap is of keys, an element's rank among floats above its index turned round, so that comparing is
 * comparing whole numbers; and elements come in blocks, of which those without anything better than the worst are
 * passed over. */
#include <string.h>

#include "ops/iter.h"

enum { MOST_KEYS = 2048, BLOCK = 32 };

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[0];
    const sg_dim k = s->attrs->i[0];
    char text[SG_SHAPE_TEXT];

    if (x->dtype != SG_F32 && x->dtype != SG_F64 && x->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "f32, f64 or i32 was wanted");
    if (x->n_dims == 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "an axis was wanted");
    const sg_dim n = x->dims[x->n_dims - 1];
    if (sg_dim_is_const(k) && sg_dim_is_const(n) && k > n)
        return sg_infer_fail(s, err, SG_ESHAPE, "the %s largest of fewer", sg_dim_text(s->g, k, text));
    sg_infer_like(s, 0);
    s->dtype = SG_I32;
    s->dims[s->n_dims - 1] = k;
    return SG_OK;
}

typedef struct job {
    const void *x;
    int32_t *y;
    sg_dim n, k;
} job;

/* before(x, a, b): element a comes before element b. NaN is largest; the first of equals is first.
 * sink restores the heap y[0..n) in which y[i] comes after y[2i+1] and y[2i+2], where only y[i] may be wrong. */
#define DEFINE_TOP(type)                                                                                               \
    static bool before_##type(const type *x, int32_t a, int32_t b)                                                     \
    {                                                                                                                  \
        const bool nan_a = x[a] != x[a], nan_b = x[b] != x[b];                                                         \
        if (nan_a != nan_b)                                                                                            \
            return nan_a;                                                                                              \
        return x[a] > x[b] || (!(x[a] < x[b]) && a < b);                                                               \
    }                                                                                                                  \
    static void sink_##type(const type *x, int32_t *y, sg_dim n, sg_dim i)                                             \
    {                                                                                                                  \
        const int32_t own = y[i];                                                                                      \
        for (sg_dim child; (child = 2 * i + 1) < n; i = child) {                                                       \
            if (child + 1 < n && before_##type(x, y[child], y[child + 1]))                                             \
                child++;                                                                                               \
            if (before_##type(x, y[child], own))                                                                       \
                break;                                                                                                 \
            y[i] = y[child];                                                                                           \
        }                                                                                                              \
        y[i] = own;                                                                                                    \
    }                                                                                                                  \
    static void top_##type(void *context, sg_dim first, sg_dim last)                                                   \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        for (sg_dim r = first; r < last; r++) {                                                                        \
            const type *x = (const type *)j->x + r * j->n;                                                             \
            int32_t *y = j->y + r * j->k;                                                                              \
            for (sg_dim i = 0; i < j->k; i++)                                                                          \
                y[i] = (int32_t)i;                                                                                     \
            for (sg_dim i = j->k / 2 - 1; i >= 0; i--)                                                                 \
                sink_##type(x, y, j->k, i);                                                                            \
            for (sg_dim i = j->k; i < j->n; i++)                                                                       \
                if (before_##type(x, (int32_t)i, y[0])) {                                                              \
                    y[0] = (int32_t)i;                                                                                 \
                    sink_##type(x, y, j->k, 0);                                                                        \
                }                                                                                                      \
            for (sg_dim left = j->k - 1; left > 0; left--) {                                                           \
                const int32_t worst = y[0];                                                                            \
                y[0] = y[left];                                                                                        \
                y[left] = worst;                                                                                       \
                sink_##type(x, y, left, 0);                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_TOP(float)
DEFINE_TOP(double)
DEFINE_TOP(int32_t)

/* Greater keys come first: NaN largest, both zeros equal, of equals the lower index. */
static uint64_t key_of(float x, sg_dim i)
{
    const float y = x + 0.0f;
    uint32_t bits;

    memcpy(&bits, &y, sizeof bits);
    bits = y != y ? UINT32_MAX : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)i);
}

static void sink_key(uint64_t *key, sg_dim n, sg_dim i)
{
    const uint64_t own = key[i];

    for (sg_dim child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && key[child + 1] < key[child];
        if (key[child] >= own)
            break;
        key[i] = key[child];
    }
    key[i] = own;
}

static void top_keys(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;
    uint64_t key[MOST_KEYS];

    for (sg_dim r = first; r < last; r++) {
        const float *x = (const float *)j->x + r * j->n;
        int32_t *y = j->y + r * j->k;
        for (sg_dim i = 0; i < j->k; i++)
            key[i] = key_of(x[i], i);
        for (sg_dim i = j->k / 2 - 1; i >= 0; i--)
            sink_key(key, j->k, i);
        float worst = x[UINT32_MAX - (uint32_t)key[0]];
        for (sg_dim i = j->k; i < j->n;) {
            const sg_dim end = SG_MIN(i + BLOCK, j->n);
            if (end - i == BLOCK) {
                int better = 0;
                for (int l = 0; l < BLOCK; l++)
                    better |= !(x[i + l] <= worst);
                if (!better) {
                    i = end;
                    continue;
                }
            }
            for (; i < end; i++) {
                if (x[i] <= worst)
                    continue;
                const uint64_t own = key_of(x[i], i);
                if (own > key[0]) {
                    key[0] = own;
                    sink_key(key, j->k, 0);
                    worst = x[UINT32_MAX - (uint32_t)key[0]];
                }
            }
        }
        for (sg_dim left = j->k - 1; left > 0; left--) {
            const uint64_t least = key[0];
            key[0] = key[left];
            key[left] = least;
            sink_key(key, left, 0);
        }
        for (sg_dim i = 0; i < j->k; i++)
            y[i] = (int32_t)(UINT32_MAX - (uint32_t)key[i]);
    }
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *x = k->in[0];
    job j = {x->data, k->out->data, x->dims[x->n_dims - 1], k->i[0]};
    sg_dim rows = 1;

    if (j.k < 0 || j.k > j.n)
        return sg_fail(err, SG_ESHAPE, "top_k: the %lld largest of %lld", (long long)j.k, (long long)j.n);
    if (j.n > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "top_k: the indices of %lld elements do not fit i32", (long long)j.n);
    for (int a = 0; a + 1 < x->n_dims; a++)
        rows *= x->dims[a];
    if (j.k > 0)
        sg_split(rows, j.n, k->n_threads,
                 x->dtype == SG_F32 && j.k <= MOST_KEYS ? top_keys
                 : x->dtype == SG_F32                   ? top_float
                 : x->dtype == SG_F64                   ? top_double
                                                        : top_int32_t,
                 &j);
    return SG_OK;
}

const sg_op sg_op_top_k = {.name = "top_k", .min_in = 1, .max_in = 1, .infer = infer, .run = run};

sg_value *sg_top_k(sg_graph *g, sg_value *x, sg_dim k)
{
    return sg_node(g, &sg_op_top_k, 1, &x, &(sg_attrs){.n_i = 1, .i = {k}});
}
