/* The builders of ops.h and image.h by name, for callers that cannot call C: values come as a list, numbers as a list
 * of doubles, in the order of the builder's own arguments. A row says how many of each there may be. */
#include "builders.h"

#include <string.h>

#include "sightglass/image.h"
#include "sightglass/ops.h"

#define ANY 1000

typedef struct call {
    sg_graph *g;
    sg_value *const *x;
    const double *a;
    int n_x, n_a;
} call;

static sg_value *value(const call *c, int i) /* NULL where it was left out */
{
    return i < c->n_x ? c->x[i] : NULL;
}

static bool flag(const call *c, int i)
{
    return i < c->n_a && c->a[i] != 0;
}

static sg_dim dim(const call *c, int i)
{
    return (sg_dim)c->a[i];
}

/* Numbers from i on as extents. */
typedef struct dims {
    int n;
    sg_dim d[SG_MAX_DIMS];
} dims;

static dims dims_from(const call *c, int i)
{
    dims out = {.n = c->n_a - i};
    for (int k = 0; k < out.n && k < SG_MAX_DIMS; k++)
        out.d[k] = dim(c, i + k);
    return out;
}

static unsigned axes_from(const call *c, int i) /* no numbers: all axes */
{
    unsigned axes = 0;
    for (int k = i; k < c->n_a; k++) {
        const int axis = (int)c->a[k] + (c->a[k] < 0 ? sg_value_n_dims(c->x[0]) : 0);
        axes |= axis >= 0 && axis < SG_MAX_DIMS ? 1u << axis : 1u << 31; /* the builder says which axes there are */
    }
    return i < c->n_a ? axes : SG_ALL_AXES;
}

/* Numbers 0 to 3: the seed's halves, the stream, whether rows have streams of their own. */
static sg_random origin(const call *c, int i)
{
    return (sg_random){.seed = (uint64_t)(uint32_t)c->a[i] | (uint64_t)(uint32_t)c->a[i + 1] << 32,
                       .stream = (uint32_t)c->a[i + 2],
                       .row_streams = c->a[i + 3] != 0};
}

/* down and across: stride, before, after, dilation, then groups, then output padding */
static sg_conv2d_opts conv_opts(const call *c)
{
    sg_conv2d_opts o = sg_conv2d_defaults();
    sg_dim *const at[11] = {&o.stride[0], &o.stride[1],         &o.before[0],        &o.before[1],
                            &o.after[0],  &o.after[1],          &o.dilation[0],      &o.dilation[1],
                            &o.groups,    &o.output_padding[0], &o.output_padding[1]};
    for (int k = 0; k < c->n_a; k++)
        *at[k] = dim(c, k);
    return o;
}

/* kernel, stride, then before, after, count_padding */
static sg_pool2d_opts pool_opts(const call *c)
{
    sg_pool2d_opts o = {.kernel = {dim(c, 0), dim(c, 1)}, .stride = {dim(c, 2), dim(c, 3)}, .count_padding = true};
    sg_dim *const at[4] = {&o.before[0], &o.before[1], &o.after[0], &o.after[1]};
    for (int k = 4; k < c->n_a && k < 8; k++)
        *at[k - 4] = dim(c, k);
    if (c->n_a > 8)
        o.count_padding = c->a[8] != 0;
    return o;
}

static sg_value *transpose(const call *c)
{
    int perm[SG_MAX_DIMS];
    if (c->n_a != sg_value_n_dims(c->x[0]))
        return sg_graph_fail(c->g, SG_ESHAPE, "transpose: %d axes, wanted %d", c->n_a, sg_value_n_dims(c->x[0]));
    for (int k = 0; k < c->n_a; k++)
        perm[k] = (int)c->a[k];
    return sg_transpose(c->g, c->x[0], perm);
}

/* Each of numbers 1 and on. */
#define WITH_DIMS(first, expression)                                                                                   \
    const dims d = dims_from(c, first);                                                                                \
    if (d.n > SG_MAX_DIMS)                                                                                             \
        return sg_graph_fail(c->g, SG_ESHAPE, "%d axes", d.n);                                                         \
    return expression

static sg_value *full(const call *c)
{
    WITH_DIMS(2, sg_full(c->g, (sg_dtype)c->a[0], d.n, d.d, c->a[1]));
}

static sg_value *reshape(const call *c)
{
    WITH_DIMS(0, sg_reshape(c->g, c->x[0], d.n, d.d));
}

static sg_value *broadcast(const call *c)
{
    WITH_DIMS(0, sg_broadcast(c->g, c->x[0], d.n, d.d));
}

static sg_value *sum_to(const call *c)
{
    WITH_DIMS(0, sg_sum_to(c->g, c->x[0], d.n, d.d));
}

static sg_value *random_uniform(const call *c)
{
    WITH_DIMS(5, sg_random_uniform(c->g, (sg_dtype)c->a[4], d.n, d.d, origin(c, 0), c->x[0]));
}

static sg_value *random_normal(const call *c)
{
    WITH_DIMS(5, sg_random_normal(c->g, (sg_dtype)c->a[4], d.n, d.d, origin(c, 0), c->x[0]));
}

static sg_value *random_bernoulli(const call *c)
{
    WITH_DIMS(5, sg_random_bernoulli(c->g, c->a[4], d.n, d.d, origin(c, 0), c->x[0]));
}

/* w, m, v, grad, lr, step; beta1, beta2, eps, weight_decay */
static sg_value *adam(const call *c)
{
    sg_adam_opts o = sg_adam_defaults();
    double *const at[4] = {&o.beta1, &o.beta2, &o.eps, &o.weight_decay};
    for (int k = 0; k < c->n_a; k++)
        *at[k] = c->a[k];
    return sg_adam(c->g, c->x[0], c->x[1], c->x[2], c->x[3], c->x[4], c->x[5], o);
}

#define X       value(c, 0)
#define Y       value(c, 1)
#define Z       value(c, 2)
#define A(i)    c->a[i]
#define D(i)    dim(c, i)
#define F(i)    flag(c, i)
#define AXIS(i) ((int)c->a[i])
#define TYPE(i) ((sg_dtype)c->a[i])

#define ROW(name, ...)                                                                                                 \
    static sg_value *build_##name(const call *c)                                                                       \
    {                                                                                                                  \
        return __VA_ARGS__;                                                                                            \
    }
#define BUILDER(name, least_x, most_x, least_a, most_a, ...) ROW(name, __VA_ARGS__)
#include "builders.def"
#undef BUILDER

static const struct builder {
    const char *name;
    int least_x, most_x, least_a, most_a;
    sg_value *(*build)(const call *c);
} table[] = {
#define BUILDER(name, least_x, most_x, least_a, most_a, ...) {#name, least_x, most_x, least_a, most_a, build_##name},
#include "builders.def"
#undef BUILDER
};

static const struct builder *find(const char *name)
{
    for (size_t i = 0; i < SG_COUNT_OF(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const char *builder_name(int i)
{
    return i >= 0 && (size_t)i < SG_COUNT_OF(table) ? table[i].name : NULL;
}

static const char *nearest(const char *name)
{
    const char *best = table[0].name;
    for (size_t i = 1; i < SG_COUNT_OF(table); i++)
        if (sg_edit_distance(name, table[i].name) < sg_edit_distance(name, best))
            best = table[i].name;
    return best;
}

sg_value *builder_call(sg_graph *g, const char *name, int n_x, sg_value *const *x, int n_a, const double *a)
{
    const struct builder *b = find(name);
    const call c = {g, x, a, n_x, n_a};

    if (!b)
        return sg_graph_fail(g, SG_ENOTFOUND, "there is no operation \"%.60s\"; nearest is \"%s\"", name,
                             nearest(name));
    if (n_x < b->least_x || n_x > b->most_x)
        return sg_graph_fail(g, SG_EARG, "%s takes %d to %d values, given %d", name, b->least_x, b->most_x, n_x);
    if (n_a < b->least_a || n_a > b->most_a)
        return sg_graph_fail(g, SG_EARG, "%s takes %d to %d numbers, given %d", name, b->least_a, b->most_a, n_a);
    for (int k = 0; k < n_x; k++)
        if (!x[k])
            return sg_graph_fail(g, SG_EARG, "%s: value %d is missing", name, k);
    return b->build(&c);
}
