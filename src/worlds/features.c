/* One uniform u decides everything about a group of features that exclude each other: member j is active where
 * j <= u/p < j + 1, and u/p - j, which is then uniform on [0,1), is its value. An independent feature is a group of
 * one, so it costs one random word. A correlated group has one word for whether and one per member for how much:
 *
 *     words of an item:  independent, anti-correlated  u_0 u_1 ...                 one per group
 *                        correlated                    u_0 v_00 v_01 .. u_1 v_10 ..
 *
 * The graph and the plain loop do the same f32 operations in the same order; a test holds them to equal numbers. */
#include "sightglass/features.h"

#include <math.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/rng.h"
#include "worlds/worlds.h"

sg_features sg_features_defaults(void)
{
    return (sg_features){.n = 5, .p = 0.05, .decay = 0.9, .relation = SG_FEATURES_INDEPENDENT, .group = 2};
}

static sg_dim group_of(const sg_features *f)
{
    return f->relation == SG_FEATURES_INDEPENDENT ? 1 : f->group;
}

/* Random words per group. */
static sg_dim words_of(const sg_features *f)
{
    return f->relation == SG_FEATURES_CORRELATED ? 1 + f->group : 1;
}

sg_status sg_features_check(const sg_features *f, sg_error *err)
{
    if (f->n < 1)
        return sg_fail(err, SG_EARG, "features: n is %lld, wanted at least 1", (long long)f->n);
    if (!(f->p > 0 && f->p <= 1))
        return sg_fail(err, SG_EARG, "features: p(active) is %g, wanted more than 0, at most 1", f->p);
    if (!(f->decay > 0 && isfinite(f->decay)))
        return sg_fail(err, SG_EARG, "features: importance is %g, wanted a decay above 0", f->decay);
    const sg_dim group = group_of(f);
    if (group < 1 || f->n % group)
        return sg_fail(err, SG_EARG, "features: groups of %lld do not divide n = %lld", (long long)group,
                       (long long)f->n);
    if (f->relation == SG_FEATURES_ANTICORRELATED && (double)group * f->p > 1)
        return sg_fail(err, SG_EARG, "features: p(active) is %g, but %lld that exclude each other leave at most %g",
                       f->p, (long long)group, 1.0 / (double)group);
    return SG_OK;
}

/* Word i of a stream at a step, as the random operations number them. The last block is kept: words come in order. */
typedef struct words {
    sg_origin from;
    int64_t block;
    uint32_t word[4];
} words;

static float uniform(words *w, int64_t i)
{
    if (i / 4 != w->block) {
        w->block = i / 4;
        sg_philox_block(w->word, w->from.seed, w->from.stream, w->from.step, (uint32_t)w->block);
    }
    return sg_word_uniform(w->word[i % 4]);
}

static void sample(float *x, const sg_features *f, sg_dim count, sg_origin from)
{
    const sg_dim group = group_of(f), n_words = words_of(f);
    const float p = (float)f->p;
    words w = {.from = from, .block = -1};
    for (sg_dim i = 0; i < count * (f->n / group); i++) {
        const float u = uniform(&w, i * n_words);
        for (sg_dim j = 0; j < group; j++) {
            float *at = &x[i * group + j];
            if (f->relation == SG_FEATURES_CORRELATED) {
                *at = u < p ? uniform(&w, i * n_words + 1 + j) : 0.0f;
            } else {
                const float d = u / p - (float)j;
                *at = d >= 0.0f && d < 1.0f ? d : 0.0f;
            }
        }
    }
}

sg_status sg_features_sample(sg_tensor *x, const sg_features *f, sg_origin from, sg_error *err)
{
    SG_TRY(sg_features_check(f, err));
    if (x->dtype != SG_F32 || x->n_dims != 2 || x->dims[1] != f->n) {
        char shape[SG_SHAPE_TEXT];
        return sg_fail(err, SG_ESHAPE, "features: x is %s%s, wanted f32[count,%lld]", sg_dtype_name(x->dtype),
                       sg_shape_text(shape, x->n_dims, x->dims), (long long)f->n);
    }
    sample(x->data, f, x->dims[0], from);
    return SG_OK;
}

sg_value *sg_features_value(sg_graph *g, const sg_features *f, sg_value *p, sg_dim n_instances, sg_dim batch,
                            sg_random from, sg_value *step)
{
    const sg_dim group = group_of(f), n_words = words_of(f), n_groups = f->n / SG_MAX(group, 1);
    if (!p)
        p = sg_scalar(g, SG_F32, f->p);
    if (sg_value_n_dims(p) == 3) /* [K,1,1] -> [K,1,1,1]: groups have an axis of their own */
        p = sg_expand(g, p, 3);
    /* [K,B,groups,words] */
    sg_value *u = sg_random_uniform(g, SG_F32, 4, (sg_dim[]){n_instances, batch, n_groups, n_words}, from, step);
    sg_value *x;
    if (f->relation == SG_FEATURES_CORRELATED) {
        sg_value *gate = sg_less(g, sg_slice(g, u, 3, 0, 1, 1), p);
        x = sg_where(g, gate, sg_slice(g, u, 3, 1, n_words, 1), sg_scalar(g, SG_F32, 0));
    } else {
        sg_value *d = sg_div(g, u, p);
        sg_value *active = NULL;
        if (group > 1) {
            d = sg_sub(g, d, sg_iota(g, SG_F32, group)); /* [K,B,groups,group] */
            active = sg_greater_equal(g, d, sg_scalar(g, SG_F32, 0));
        }
        sg_value *below = sg_less(g, d, sg_scalar(g, SG_F32, 1));
        x = sg_where(g, active ? sg_and(g, active, below) : below, d, sg_scalar(g, SG_F32, 0));
    }
    x = sg_reshape(g, x, 3, (sg_dim[]){n_instances, batch, f->n});
    return x;
}

void sg_features_importance(float *importance, const sg_features *f)
{
    for (sg_dim i = 0; i < f->n; i++)
        importance[i] = (float)sg_math_pow(f->decay, (double)i);
}

/* ---- as a world ---- */

static const sg_option options[] = {
    {"n", SG_OPTION_WHOLE, "5", 1, 1 << 20, NULL, "features"},
    {"p", SG_OPTION_REAL, "0.05", 0, 1, NULL, "p(active) of each feature"},
    {"importance", SG_OPTION_REAL, "0.9", 0, 1e6, NULL, "decay: feature i has importance decay^i"},
    {"relation", SG_OPTION_CHOICE, "independent", 0, 0, "independent|correlated|anticorrelated",
     "how the members of a group go together"},
    {"group", SG_OPTION_WHOLE, "2", 1, 1 << 20, NULL, "members of a group, where features are related"},
};

static const sg_world_field fields[] = {
    {"x", "[count,n] the features' values, 0 where inactive"},
    {"importance", "[n] weight of each feature in the loss"},
    {"dictionary", "[n,n] the true directions, one per row: the identity"},
};

static sg_features from_options(const double *option)
{
    return (sg_features){.n = (sg_dim)option[0],
                         .p = option[1],
                         .decay = option[2],
                         .relation = (sg_feature_relation)(int)option[3],
                         .group = (sg_dim)option[4]};
}

static sg_status world_shape(sg_tensor *field, const double *option, sg_dim count, sg_error *err)
{
    const sg_features f = from_options(option);
    SG_TRY(sg_features_check(&f, err));
    field[0] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, f.n}, NULL);
    field[1] = sg_tensor_of(SG_F32, 1, &f.n, NULL);
    field[2] = sg_tensor_of(SG_F32, 2, (sg_dim[]){f.n, f.n}, NULL);
    return SG_OK;
}

static void world_sample(sg_tensor *field, const double *option, sg_dim count, sg_origin from)
{
    const sg_features f = from_options(option);
    sample(field[0].data, &f, count, from);
    sg_features_importance(field[1].data, &f);
    float *dictionary = field[2].data;
    for (sg_dim i = 0; i < f.n * f.n; i++)
        dictionary[i] = i % (f.n + 1) == 0 ? 1.0f : 0.0f;
}

const sg_world sg_world_features = {
    .name = "features",
    .help = "sparse features: each coordinate is 0 or, with probability p, uniform on [0,1)",
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .n_fields = SG_COUNT_OF(fields),
    .fields = fields,
    .shape = world_shape,
    .sample = world_sample,
};
