/* The graph of an encoder, from its towers' tables. Values have the names that decoders' have, and those of
 * docs/encoders.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"
#include "io/resample.h"
#include "models/conv.h"
#include "sightglass/image.h"

typedef struct build {
    sg_graph *g;
    const sg_model *m;
    const sg_tower *t;
    int layer;
    sg_dim rows, time; /* texts or images, places */
    sg_value *tokens, *positions, *types;
    sg_value *visible; /* [rows,1,time,time] bool; NULL: every place sees all */
} build;

static sg_value *name(build *b, sg_value *v, const char *what, const char *axes)
{
    char text[128];

    snprintf(text, sizeof text, "%s%s", b->t->scope, what);
    return sg_name(b->g, v, text, axes);
}

static sg_value *name_in(build *b, sg_value *v, const char *what, const char *axes)
{
    char text[96];

    snprintf(text, sizeof text, "blocks.%d.%s", b->layer, what);
    return name(b, v, text, axes);
}

static void scope(build *b, const char *what)
{
    sg_scope(b->g, "%sblocks.%d%s", b->t->scope, b->layer, what);
}

/* The variable of a weight, of the layer at hand; NULL if the model has none. */
static sg_value *weight(build *b, sg_part part)
{
    const bool in_block = part >= SG_P_NORM1 && part <= SG_P_SCALE2;

    if (!b->t->weights[part])
        return NULL;
    const sg_weight *w = &b->t->weights[part][in_block ? b->layer : 0];
    sg_value *v = sg_graph_find(b->g, w->name);
    const bool gain = part == SG_P_NORM_INPUT || part == SG_P_NORM1 || part == SG_P_NORM2 || part == SG_P_NORM_FINAL ||
                      part == SG_P_HEAD_NORM || part == SG_P_SCALE1 || part == SG_P_SCALE2;
    const sg_init init = gain                    ? sg_init_constant(1)
                         : w->tensor.n_dims >= 2 ? sg_init_normal(0.02)
                                                 : sg_init_constant(0);
    return v ? v : sg_variable(b->g, w->name, w->tensor.dtype, w->tensor.n_dims, w->tensor.dims, init);
}

static sg_value *linear(build *b, sg_value *x, sg_part part)
{
    return sg_linear(b->g, x, weight(b, part), weight(b, part + 1));
}

static sg_value *norm(build *b, sg_value *x, sg_part part)
{
    return sg_layer_norm(b->g, x, weight(b, part), weight(b, part + 1), b->t->eps);
}

static sg_value *activate(build *b, sg_value *x, sg_activation act)
{
    switch (act) {
    case SG_ACT_SILU:
        return sg_silu(b->g, x);
    case SG_ACT_GELU:
        return sg_gelu(b->g, x);
    case SG_ACT_RELU:
        return sg_relu(b->g, x);
    case SG_ACT_GELU_QUICK: /* x sigmoid(1.702 x) (Hendrycks & Gimpel 2016, section 2) */
        return sg_mul_scalar(b->g, sg_silu(b->g, sg_mul_scalar(b->g, x, 1.702)), 1 / 1.702);
    default:
        return sg_gelu_tanh(b->g, x);
    }
}

static sg_value *heads(build *b, sg_value *x, const char *what)
{
    x = sg_reshape(b->g, x, 4, (sg_dim[]){b->rows, b->time, b->t->n_heads, b->t->d_head});
    return name_in(b, x, what, "bthd");
}

static sg_value *attention(build *b, sg_value *x)
{
    static const int to_heads[4] = {0, 2, 1, 3};
    sg_graph *g = b->g;

    sg_value *q = sg_transpose(g, heads(b, linear(b, x, SG_P_Q), "attn.hook_q"), to_heads);
    sg_value *k = sg_transpose(g, heads(b, linear(b, x, SG_P_K), "attn.hook_k"), to_heads);
    sg_value *v = sg_transpose(g, heads(b, linear(b, x, SG_P_V), "attn.hook_v"), to_heads);
    sg_value *scores = sg_mul_scalar(g, sg_matmul(g, q, k, false, true), 1 / sqrt((double)b->t->d_head));
    if (b->visible)
        scores = sg_where(g, b->visible, scores, sg_scalar_like(g, scores, -(double)INFINITY));
    scores = name_in(b, scores, "attn.hook_attn_scores", "bhts");
    sg_value *pattern = name_in(b, sg_softmax(g, scores, -1), "attn.hook_pattern", "bhts");
    sg_value *z = sg_transpose(g, sg_matmul(g, pattern, v, false, false), to_heads);
    z = name_in(b, z, "attn.hook_z", "bthd");
    return linear(b, sg_reshape(g, z, 3, (sg_dim[]){b->rows, b->time, b->t->d_model}), SG_P_O);
}

static sg_value *mlp(build *b, sg_value *x)
{
    sg_value *pre = linear(b, x, SG_P_UP), *post;

    if (b->t->gated) {
        sg_value *other = sg_slice(b->g, pre, 2, b->t->d_mlp, 2 * b->t->d_mlp, 1);
        pre = name_in(b, sg_slice(b->g, pre, 2, 0, b->t->d_mlp, 1), "mlp.hook_pre", "btd");
        post = sg_mul(b->g, activate(b, pre, b->t->act), name_in(b, other, "mlp.hook_pre_linear", "btd"));
    } else {
        post = activate(b, name_in(b, pre, "mlp.hook_pre", "btd"), b->t->act);
    }
    return linear(b, name_in(b, post, "mlp.hook_post", "btd"), SG_P_DOWN);
}

static sg_value *scaled(build *b, sg_value *x, sg_part part)
{
    return b->t->weights[part] ? sg_mul(b->g, x, weight(b, part)) : x;
}

static sg_value *block(build *b, sg_value *x)
{
    sg_graph *g = b->g;
    const bool post = b->t->post_norm;

    scope(b, "");
    x = name_in(b, x, "hook_resid_pre", "btd");
    scope(b, ".attn");
    sg_value *h = post ? x : name_in(b, norm(b, x, SG_P_NORM1), "ln1.hook_normalized", "btd");
    sg_value *a = name_in(b, scaled(b, attention(b, h), SG_P_SCALE1), "hook_attn_out", "btd");
    x = name_in(b, sg_add(g, x, a), "hook_resid_mid", "btd");
    if (post)
        x = name_in(b, norm(b, x, SG_P_NORM1), "ln1.hook_normalized", "btd");
    scope(b, ".mlp");
    h = post ? x : name_in(b, norm(b, x, SG_P_NORM2), "ln2.hook_normalized", "btd");
    sg_value *f = name_in(b, scaled(b, mlp(b, h), SG_P_SCALE2), "hook_mlp_out", "btd");
    x = name_in(b, sg_add(g, x, f), "hook_resid_post", "btd");
    return post ? name_in(b, norm(b, x, SG_P_NORM2), "ln2.hook_normalized", "btd") : x;
}

/* ---- what goes in ---- */

static sg_value *text_embeddings(build *b)
{
    sg_graph *g = b->g;

    sg_value *x = name(b, sg_embed(g, weight(b, SG_P_TOKEN), b->tokens), "hook_embed", "btd");
    x = sg_add(g, x, name(b, sg_embed(g, weight(b, SG_P_POSITION), b->positions), "hook_pos_embed", "btd"));
    if (b->types)
        x = sg_add(g, x, name(b, sg_embed(g, weight(b, SG_P_TYPE), b->types), "hook_token_type_embed", "btd"));
    return b->t->weights[SG_P_NORM_INPUT] ? name(b, norm(b, x, SG_P_NORM_INPUT), "embed.ln.hook_normalized", "btd") : x;
}

/* A matrix [to,from] that resamples a line of `from` numbers, so that images of another size find their places between
 * those of the file. */
static sg_value *between(build *b, sg_dim from, sg_dim to)
{
    double *matrix = calloc((size_t)(to * from), sizeof *matrix);

    if (!matrix)
        return sg_graph_fail(b->g, SG_ENOMEM, "out of memory for position embeddings");
    if (b->t->antialias)
        sg_resample_matrix(SG_FILTER_BICUBIC, from, to, matrix);
    else
        sg_resample_points(from, to, matrix);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){to, from}, matrix);
    sg_value *v = sg_cast(b->g, sg_const(b->g, &t), b->m->opts.dtype);
    free(matrix);
    return v;
}

/* Position embeddings [1,T,D] of this tower's images. */
static sg_value *places(build *b)
{
    sg_graph *g = b->g;
    const sg_tower *t = b->t;
    const sg_dim d = t->d_model, was = t->stored / t->patch, is = t->side / t->patch;

    sg_value *all = sg_reshape(g, weight(b, SG_P_POSITION), 2, (sg_dim[]){t->n_places, d});
    if (was != is) {
        sg_value *matrix = between(b, was, is);
        sg_value *first = sg_slice(g, all, 0, 0, t->n_first, 1);
        sg_value *grid = sg_slice(g, all, 0, t->n_first, t->n_places, 1);
        grid = sg_matmul(g, matrix, sg_reshape(g, grid, 3, (sg_dim[]){was, was, d}), false, false); /* [was,is,d] */
        grid = sg_matmul(g, matrix, sg_reshape(g, grid, 2, (sg_dim[]){was, is * d}), false, false);
        all = sg_concat(g, 2, (sg_value *[]){first, sg_reshape(g, grid, 2, (sg_dim[]){is * is, d})}, 0);
    }
    return sg_expand(g, all, 0);
}

/* A learned token at the same place of each image: [rows,n,D]. */
static sg_value *token(build *b, sg_part part, sg_dim n, const char *what)
{
    const sg_dim d = b->t->d_model;
    sg_value *v = sg_reshape(b->g, weight(b, part), 3, (sg_dim[]){1, n, d});

    return name(b, sg_broadcast(b->g, v, 3, (sg_dim[]){b->rows, n, d}), what, "btd");
}

static sg_value *image_embeddings(build *b)
{
    sg_graph *g = b->g;
    const sg_tower *t = b->t;
    const sg_dim d = t->d_model, along = t->side / t->patch, with = t->n_first + along * along;
    sg_value *pixels = sg_input(g, "pixels", b->m->opts.dtype, 4, (sg_dim[]){b->rows, t->channels, t->side, t->side});
    sg_value *parts[3];
    int n = 0;

    sg_name(g, pixels, "pixels", "bddd");
    sg_value *x =
        sg_conv2d(g, pixels, weight(b, SG_P_PATCH), weight(b, SG_P_PATCH_BIAS), sg_conv2d_strided(t->patch, 0));
    x = sg_swap_axes(g, sg_reshape(g, x, 3, (sg_dim[]){b->rows, d, along * along}), 1, 2);
    x = name(b, x, "hook_patch_embed", "btd");
    parts[n++] = token(b, SG_P_CLASS, 1, "hook_cls");
    if (t->weights[SG_P_DISTILLATION])
        parts[n++] = token(b, SG_P_DISTILLATION, 1, "hook_distillation");
    parts[n++] = x;
    sg_value *p = sg_broadcast(g, places(b), 3, (sg_dim[]){b->rows, with, d});
    x = sg_add(g, sg_concat(g, n, parts, 1), name(b, p, "hook_pos_embed", "btd"));
    if (t->n_registers) { /* they have no place */
        parts[0] = sg_slice(g, x, 1, 0, t->n_first, 1);
        parts[1] = token(b, SG_P_REGISTERS, t->n_registers, "hook_registers");
        parts[2] = sg_slice(g, x, 1, t->n_first, with, 1);
        x = sg_concat(g, 3, parts, 1);
    }
    return t->weights[SG_P_NORM_INPUT] ? name(b, norm(b, x, SG_P_NORM_INPUT), "ln_pre.hook_normalized", "btd") : x;
}

/* ---- what comes out ---- */

static sg_value *place(build *b, sg_value *x, sg_dim i)
{
    return sg_squeeze(b->g, sg_slice(b->g, x, 1, i, i + 1, 1), 1);
}

/* x [rows,time,D] where each text ends. */
static sg_value *at_end(build *b, sg_value *x)
{
    sg_graph *g = b->g;
    const sg_dtype dtype = b->m->opts.dtype;

    sg_value *score = sg_cast(g, b->tokens, dtype);
    if (b->t->end >= 0)
        score = sg_cast(g, sg_equal(g, score, sg_scalar_like(g, score, b->t->end)), dtype);
    sg_value *at = sg_reshape(g, sg_argmax(g, score, 1, true), 3, (sg_dim[]){b->rows, 1, 1});
    at = sg_broadcast(g, at, 3, (sg_dim[]){b->rows, 1, b->t->d_model});
    return sg_squeeze(g, sg_take_along(g, x, at, 1), 1);
}

static sg_value *pooled(build *b, sg_value *x)
{
    switch (b->t->pool) {
    case SG_POOL_END:
        return at_end(b, x);
    case SG_POOL_NORM_FIRST:
        return norm(b, place(b, x, 0), SG_P_NORM_FINAL);
    case SG_POOL_FIRST:
        return place(b, x, 0);
    default:
        return b->t->weights[SG_P_POOL] ? sg_tanh(b->g, linear(b, place(b, x, 0), SG_P_POOL)) : NULL;
    }
}

static void masked_head(build *b, sg_value *x)
{
    sg_value *h = name(b, linear(b, x, SG_P_HEAD), "mlm_head.hook_pre", "btd");

    h = name(b, activate(b, h, b->t->head_act), "mlm_head.hook_post", "btd");
    h = name(b, norm(b, h, SG_P_HEAD_NORM), "mlm_head.ln.hook_normalized", "btd");
    sg_value *unembed = b->t->weights[SG_P_UNEMBED] ? weight(b, SG_P_UNEMBED) : weight(b, SG_P_TOKEN);
    name(b, sg_linear(b->g, h, unembed, weight(b, SG_P_UNEMBED_BIAS)), "logits", "btd");
}

static void labels(build *b, sg_value *x, sg_value *pool)
{
    sg_graph *g = b->g;
    const sg_tower *t = b->t;
    sg_value *h = x;

    switch (t->labels_of) {
    case SG_LABELS_OF_EACH:
        name(b, linear(b, x, SG_P_LABELS), "class_logits", "btd");
        return;
    case SG_LABELS_OF_POOLED:
        h = pool;
        break;
    case SG_LABELS_OF_FIRST:
        h = place(b, x, 0);
        break;
    case SG_LABELS_OF_MEAN: {
        sg_value *patches = sg_slice(g, x, 1, t->n_first + t->n_registers, b->time, 1);
        h = sg_concat(g, 2, (sg_value *[]){place(b, x, 0), sg_mean(g, patches, 1, false)}, 1);
        break;
    }
    }
    if (t->weights[SG_P_BEFORE_LABELS])
        h = sg_relu(g, name(b, linear(b, h, SG_P_BEFORE_LABELS), "class_head.hook_pre", "bd"));
    h = linear(b, h, SG_P_LABELS);
    if (t->weights[SG_P_LABELS2]) { /* two judges, and their mean */
        h = name(b, h, "cls_logits", "bd");
        sg_value *other = name(b, linear(b, place(b, x, 1), SG_P_LABELS2), "distillation_logits", "bd");
        h = sg_mul_scalar(g, sg_add(g, h, other), 0.5);
    }
    name(b, h, "class_logits", "bd");
}

/* What the tower gives to others: its projection, where it has one. */
static sg_value *outputs(build *b, sg_value *x)
{
    const sg_tower *t = b->t;

    sg_scope(b->g, "%sfinal", t->scope);
    if (t->weights[SG_P_NORM_FINAL] && t->pool != SG_POOL_NORM_FIRST)
        x = name(b, norm(b, x, SG_P_NORM_FINAL), "ln_final.hook_normalized", "btd");
    x = name(b, x, "last_hidden_state", "btd");
    sg_value *pool = pooled(b, x);
    if (pool)
        pool = name(b, pool, "pooler_output", "bd");
    if (t->weights[SG_P_NEXT_SENTENCE] && pool)
        name(b, linear(b, pool, SG_P_NEXT_SENTENCE), "next_sentence_logits", "bd");
    if (t->weights[SG_P_UNEMBED_BIAS])
        masked_head(b, x);
    if (t->weights[SG_P_LABELS])
        labels(b, x, pool);
    return t->weights[SG_P_PROJECTION] ? sg_linear(b->g, pool, weight(b, SG_P_PROJECTION), NULL) : NULL;
}

static sg_value *input(build *b, const char *what, sg_dtype dtype, const char *axes)
{
    return sg_name(b->g, sg_input(b->g, what, dtype, 2, (sg_dim[]){b->rows, b->time}), what, axes);
}

static sg_value *tower(build *b)
{
    sg_graph *g = b->g;
    sg_value *x;

    if (b->t->image) {
        b->rows = sg_extent(g, "images");
        b->time = sg_tower_places(b->t);
        x = image_embeddings(b);
    } else {
        b->rows = sg_extent(g, "batch");
        b->time = sg_extent(g, "time");
        b->tokens = input(b, "tokens", SG_I32, "bt");
        b->positions = input(b, "positions", SG_I32, "bt");
        sg_value *mask = sg_reshape(g, input(b, "key_mask", SG_BOOL, "bs"), 4, (sg_dim[]){b->rows, 1, 1, b->time});
        b->types = b->t->weights[SG_P_TYPE] ? input(b, "token_types", SG_I32, "bt") : NULL;
        sg_value *open = b->t->causal
                             ? sg_reshape(g, sg_causal_mask(g, b->time, b->time), 4, (sg_dim[]){1, 1, b->time, b->time})
                             : NULL;
        b->visible = open ? sg_and(g, open, mask) : sg_broadcast(g, mask, 4, (sg_dim[]){b->rows, 1, b->time, b->time});
        sg_name(g, b->visible, "visible", "bhts");
        x = text_embeddings(b);
    }
    for (b->layer = 0; b->layer < (int)b->t->n_layers; b->layer++)
        x = block(b, x);
    return outputs(b, x);
}

static sg_value *unit(sg_graph *g, sg_value *x)
{
    return sg_div(g, x, sg_sqrt(g, sg_sum(g, sg_square(g, x), 1, true)));
}

sg_status sg_encoder_graph(sg_graph **out, const sg_model *m, sg_error *err)
{
    const sg_encoder *e = m->encoder;
    if (e->conv)
        return sg_conv_graph(out, m, false, err);
    sg_graph *g = sg_graph_new();
    sg_value *embeds[2] = {NULL, NULL};

    if (!g)
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    build b = {0};
    for (int k = 0; k < e->n_towers; k++) {
        const sg_tower *t = &e->towers[k];
        b = (build){.g = g, .m = m, .t = t};
        sg_value *x = tower(&b);
        if (x && e->n_towers == 2)
            x = unit(g, name(&b, x, "hook_projected", "bd"));
        if (x)
            embeds[k] = sg_name(g, x, t->image ? "image_embeds" : "text_embeds", "bd");
    }
    if (e->n_towers == 2) {
        sg_value *cosines = sg_matmul(g, embeds[1], embeds[0], false, true);
        sg_name(g, sg_mul(g, cosines, sg_exp(g, weight(&b, SG_P_LOGIT_SCALE))), "logits_per_image", "bd");
    }
    sg_scope(g, "%s", "");
    const sg_status status = sg_graph_status(g, err);
    if (status != SG_OK) {
        sg_graph_free(g);
        return status;
    }
    *out = g;
    return SG_OK;
}
