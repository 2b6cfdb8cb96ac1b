/* A point is d normal numbers, scaled to its sphere's radius. Point i of a training set has a step of its own, so that
 * it is the same whichever points are drawn with it. */
#include "sightglass/spheres.h"

#include <math.h>

#include "base/base.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

/* Streams of one origin: the points, which sphere or which point of the set, and the points of training sets. */
enum { OF_POINTS = 0, OF_CHOICE = 1 << 16, OF_TRAIN = 1 << 17 };

sg_spheres sg_spheres_defaults(void)
{
    return (sg_spheres){.d = 100, .outer = 1.3};
}

sg_status sg_spheres_check(const sg_spheres *s, sg_error *err)
{
    if (s->d < 2)
        return sg_fail(err, SG_EARG, "spheres: d is %lld, wanted at least 2", (long long)s->d);
    if (!(s->outer > 1) || !isfinite(s->outer))
        return sg_fail(err, SG_EARG, "spheres: the outer radius is %g, wanted more than 1", s->outer);
    if (s->train < 0 || s->train == 1)
        return sg_fail(err, SG_EARG,
                       "spheres: a training set of %lld points, wanted 0 (every point is new) or at least 2",
                       (long long)s->train);
    return SG_OK;
}

static void put_on_sphere(float *x, sg_dim d, double radius, sg_rng *r)
{
    double square = 0;
    for (sg_dim i = 0; i < d; i++) {
        x[i] = (float)sg_rng_normal(r);
        square += (double)x[i] * (double)x[i];
    }
    for (sg_dim i = 0; i < d; i++)
        x[i] = (float)(radius / sqrt(square) * (double)x[i]);
}

static sg_rng stream_of(sg_origin from, uint32_t which)
{
    sg_rng r = sg_rng_new(from.seed, from.stream + which);
    r.step = from.step;
    return r;
}

static void put_train_point(float *x, const sg_spheres *s, uint64_t seed, sg_dim i)
{
    sg_rng r = stream_of((sg_origin){.seed = seed, .step = (uint64_t)i}, OF_TRAIN);
    put_on_sphere(x, s->d, i % 2 ? s->outer : 1, &r);
}

static void sample(float *x, int32_t *label, const sg_spheres *s, sg_dim count, sg_origin from)
{
    sg_rng points = stream_of(from, OF_POINTS), choice = stream_of(from, OF_CHOICE);
    for (sg_dim i = 0; i < count; i++) {
        const double u = sg_rng_uniform(&choice);
        const sg_dim k = s->train ? (sg_dim)(u * (double)s->train) : 0;
        const bool outer = s->train ? k % 2 == 1 : u >= .5;
        if (s->train)
            put_train_point(x + i * s->d, s, from.seed, k);
        else
            put_on_sphere(x + i * s->d, s->d, outer ? s->outer : 1, &points);
        if (label)
            label[i] = outer;
    }
}

static sg_status check_x(const sg_tensor *x, sg_dim count, sg_dim d, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->dtype != SG_F32 || x->n_dims != 2 || (count >= 0 && x->dims[0] != count) || (d >= 0 && x->dims[1] != d))
        return sg_fail(err, SG_ESHAPE, "spheres: x is %s %s, wanted f32 [count,d]", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims));
    return SG_OK;
}

sg_status sg_spheres_sample(sg_tensor *x, int32_t *label, const sg_spheres *s, sg_origin from, sg_error *err)
{
    SG_TRY(sg_spheres_check(s, err));
    SG_TRY(check_x(x, -1, s->d, err));
    sample(x->data, label, s, x->dims[0], from);
    return SG_OK;
}

sg_status sg_spheres_points(sg_tensor *x, const sg_spheres *s, uint64_t seed, sg_error *err)
{
    SG_TRY(sg_spheres_check(s, err));
    SG_TRY(check_x(x, s->train, s->d, err));
    for (sg_dim i = 0; i < s->train; i++)
        put_train_point((float *)x->data + i * s->d, s, seed, i);
    return SG_OK;
}

sg_status sg_spheres_on(sg_tensor *x, double radius, sg_origin from, sg_error *err)
{
    SG_TRY(check_x(x, -1, -1, err));
    sg_rng r = stream_of(from, OF_POINTS);
    for (sg_dim i = 0; i < x->dims[0]; i++)
        put_on_sphere((float *)x->data + i * x->dims[1], x->dims[1], radius, &r);
    return SG_OK;
}

sg_value *sg_spheres_value(sg_graph *g, const sg_spheres *s, sg_dim n_instances, sg_dim batch, const sg_tensor *points,
                           sg_random from, sg_value *step, sg_value **outer)
{
    const sg_dim both[] = {n_instances, batch};
    sg_random choice = from;
    choice.stream += OF_CHOICE;
    choice.row_streams = from.row_streams = true;
    sg_value *u = sg_random_uniform(g, SG_F32, 2, both, choice, step);
    if (points) {
        const sg_dim n = points->dims[1];
        const sg_tensor table = sg_tensor_of(SG_F32, 2, (sg_dim[]){n_instances * n, s->d}, points->data);
        sg_value *k = sg_cast(g, sg_mul_scalar(g, u, (double)n), SG_I32); /* [K,B] */
        sg_value *odd = sg_sub(g, k, sg_mul_scalar(g, sg_div(g, k, sg_scalar(g, SG_I32, 2)), 2));
        sg_value *first = sg_expand(g, sg_mul_scalar(g, sg_iota(g, SG_I32, n_instances), (double)n), 1); /* [K,1] */
        *outer = sg_cast(g, odd, SG_F32);
        return sg_embed(g, sg_const(g, &table), sg_add(g, k, first));
    }
    *outer = sg_cast(g, sg_greater_equal(g, u, sg_scalar(g, SG_F32, .5)), SG_F32);
    sg_value *x = sg_random_normal(g, SG_F32, 3, (sg_dim[]){n_instances, batch, s->d}, from, step);
    sg_value *length = sg_sqrt(g, sg_sum(g, sg_square(g, x), 2, true)); /* [K,B,1] */
    sg_value *radius = sg_add_scalar(g, sg_mul_scalar(g, sg_expand(g, *outer, 2), s->outer - 1), 1);
    return sg_mul(g, x, sg_div(g, radius, length));
}

/* ---- as a world ---- */

static const sg_option options[] = {
    {"d", SG_OPTION_WHOLE, "100", 2, 1 << 20, NULL, "dimensions"},
    {"outer", SG_OPTION_REAL, "1.3", 1, 1e6, NULL, "radius of the outer sphere; the inner one's is 1"},
    {"train", SG_OPTION_WHOLE, "0", 0, 1 << 28, NULL,
     "points of a training set that all are drawn from; 0: all are new"},
};

static const sg_world_field fields[] = {
    {"x", "[count,d] points, uniform on their sphere"},
    {"label", "[count] 0 on the inner sphere, 1 on the outer"},
};

static sg_spheres from_options(const double *option)
{
    return (sg_spheres){.d = (sg_dim)option[0], .outer = option[1], .train = (sg_dim)option[2]};
}

static sg_status world_shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_spheres s = from_options(option);
    SG_TRY(sg_spheres_check(&s, err));
    field[0] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, s.d}, NULL);
    field[1] = sg_tensor_of(SG_I32, 1, &count, NULL);
    return SG_OK;
}

static void world_sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_spheres s = from_options(option);
    sample(field[0].data, field[1].data, &s, count, from);
}

const sg_world sg_world_spheres = {
    .name = "spheres",
    .help = "points on two concentric spheres, labelled by which",
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = world_shape,
    .sample = world_sample,
};
