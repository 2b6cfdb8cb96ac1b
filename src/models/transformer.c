/* The graph of a transformer, from its table of switches. Every named value of docs/names.md is made here; a name
 * is given where others would pass the value on, so that feeding or splicing it reaches all readers. */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "graph/op.h"
#include "models/adapt.h"
#include "models/encoder.h"

typedef struct build {
    sg_graph *g;
    const sg_model *m;
    const sg_model_info *info;
    sg_dim batch, time, past, keys; /* keys = past + time */
    sg_value *tokens, *positions, *key_mask;
    sg_value *visible;       /* [batch,1,time,keys] bool */
    sg_value *visible_local; /* the same within windows; NULL: no layer is windowed */
    sg_value *frequencies;   /* rotary */
    sg_value *longer;        /* those of long texts, NULL: all are turned by the same */
    sg_value *is_long;       /* [batch,1,1,1] bool */
    sg_value *rotary_scale;  /* [d_head], with which what was turned is multiplied; NULL: nothing is */
    sg_value *variables[SG_N_WEIGHTS + 1]; /* of the layer at hand; the last, for weights that there never are, stays NULL */
    sg_cache_opts cache;
    sg_dim first;            /* rows at different lengths: the first of the cache that is at hand */
    sg_value *places;        /* and where in it the new keys go */
    sg_value *key_positions; /* sliding: of what the cache holds */
} build;

static sg_value *name_in(build *b, sg_value *v, int layer, const char *what, const char *axes)
{
    char name[96];

    snprintf(name, sizeof name, "blocks.%d.%s", layer, what);
    return sg_name(b->g, v, name, axes);
}

/* The variables of one layer (or, with layer -1, of those outside the blocks). */
static void declare(build *b, int layer)
{
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        sg_dim dims[2];
        if (sg_weight_in_block((sg_weight_role)role) != (layer >= 0))
            continue;
        b->variables[role] = NULL;
        if (!b->m->weights[role])
            continue;
        const int n = sg_weight_shape(b->m, (sg_weight_role)role, dims);
        const sg_weight *w = &b->m->weights[role][layer < 0 ? 0 : layer];
        b->variables[role] = sg_variable(b->g, w->name, w->tensor.dtype, n, dims, sg_weight_init(b->m, (sg_weight_role)role));
    }
}

static sg_value *apply_linear(build *b, sg_value *x, sg_weight_role w, sg_weight_role bias)
{
    sg_value *y = sg_matmul(b->g, x, b->variables[w], false, !b->m->arch.in_out);

    return b->variables[bias] ? sg_add(b->g, y, b->variables[bias]) : y;
}

static sg_value *gain(build *b, sg_weight_role w)
{
    const double offset = b->m->arch.norm_offset;

    return offset == 0 ? b->variables[w] : sg_add_scalar(b->g, b->variables[w], offset);
}

static sg_value *rms_norm(build *b, sg_value *x, sg_weight_role w, const char *name, const char *axes)
{
    return sg_mul(b->g, sg_name(b->g, sg_rms_norm(b->g, x, b->m->arch.eps), name, axes), gain(b, w));
}

/* RMS norm is named before its gain, layer norm after gain and bias, as the field does. */
static sg_value *apply_norm(build *b, sg_value *x, sg_weight_role w, sg_weight_role bias, const char *name)
{
    const sg_arch *arch = &b->m->arch;

    if (arch->layer_norm)
        return sg_name(b->g, sg_layer_norm(b->g, x, b->variables[w], b->variables[bias], arch->eps), name, "btd");
    return rms_norm(b, x, w, name, "btd");
}

/* A norm inside a block: "ln1", "ln1_post". */
static sg_value *norm_in(build *b, sg_value *x, sg_weight_role w, sg_weight_role bias, int layer, const char *what)
{
    char name[96];

    snprintf(name, sizeof name, "blocks.%d.%s.hook_normalized", layer, what);
    return apply_norm(b, x, w, bias, name);
}

static sg_value *heads(build *b, sg_value *x, sg_dim n)
{
    return sg_reshape(b->g, x, 4, (sg_dim[]){b->batch, b->time, n, b->info->d_head});
}

/* Keys or values of all positions so far: the cache with the new ones written behind the past. */
static sg_value *remember(build *b, sg_value *x, int layer, const char *what)
{
    const sg_cache_opts *c = &b->cache;
    const sg_dim dims[4] = {c->n_rows, c->capacity, x->dims[2], x->dims[3]};
    char name[96];

    if (!c->capacity)
        return x;
    snprintf(name, sizeof name, "blocks.%d.attn.cache_%s", layer, what);
    sg_value *cache = sg_variable(b->g, name, c->apart && x->dtype == SG_F32 ? c->dtype : x->dtype, 4, dims,
                                  sg_init_constant(0));
    if (c->apart) {
        sg_value *all = sg_assign_rows(b->g, cache, x, b->places, b->first);
        all = sg_slice(b->g, all, 0, b->first, sg_dim_add(b->g, b->first, b->batch), 1);
        return sg_cast(b->g, sg_slice(b->g, all, 1, 0, b->keys, 1), x->dtype);
    }
    return sg_slice(b->g, sg_assign_slice(b->g, cache, x, 1, b->past), 1, 0, b->keys, 1);
}

/* Queries, keys and values [batch,time,heads,width], from one matrix or three. */
static void project(build *b, sg_value *x, sg_value *qkv[3])
{
    static const sg_weight_role weights[3] = {SG_W_Q, SG_W_K, SG_W_V}, biases[3] = {SG_W_Q_BIAS, SG_W_K_BIAS, SG_W_V_BIAS};
    const sg_model_info *in = b->info;
    const sg_arch *arch = &b->m->arch;
    const sg_dim d = in->d_head, n[3] = {in->n_heads, in->n_kv_heads, in->n_kv_heads};
    sg_value *all = b->variables[SG_W_QKV] ? apply_linear(b, x, SG_W_QKV, SG_W_QKV_BIAS) : NULL;

    if (all && arch->qkv == SG_QKV_HEADS)
        all = sg_reshape(b->g, all, 4, (sg_dim[]){b->batch, b->time, in->n_heads, 3 * d});
    for (int i = 0, from = 0; i < 3; from += (int)n[i++]) {
        if (all && arch->qkv == SG_QKV_HEADS)
            qkv[i] = sg_slice(b->g, all, 3, i * d, (i + 1) * d, 1);
        else if (all)
            qkv[i] = sg_slice(b->g, all, 2, from * d, (from + n[i]) * d, 1);
        else
            qkv[i] = apply_linear(b, x, weights[i], biases[i]);
        if (isfinite(arch->qkv_cap))
            qkv[i] = sg_clamp(b->g, qkv[i], -arch->qkv_cap, arch->qkv_cap);
        if (!all || arch->qkv != SG_QKV_HEADS)
            qkv[i] = heads(b, qkv[i], n[i]);
    }
}

/* RMS norm of queries or keys, of each head or of all together. */
static sg_value *norm_heads(build *b, sg_value *x, sg_dim n, sg_weight_role w, int layer, const char *what)
{
    char name[96];

    snprintf(name, sizeof name, "blocks.%d.attn.%s.hook_normalized", layer, what);
    if (b->m->arch.qk_norm == SG_QK_NORM_HEAD)
        return rms_norm(b, x, w, name, "bthd");
    sg_value *flat = sg_reshape(b->g, x, 3, (sg_dim[]){b->batch, b->time, n * b->info->d_head});
    return heads(b, rms_norm(b, flat, w, name, "btd"), n);
}

static sg_value *turn(build *b, sg_value *x, sg_value *positions)
{
    const sg_rope_layout layout = b->m->arch.rope_layout;
    sg_value *y = sg_rope(b->g, x, positions, b->frequencies, layout);

    if (b->longer) /* both, since rows of one batch may be short and long */
        y = sg_where(b->g, b->is_long, sg_rope(b->g, x, positions, b->longer, layout), y);
    return b->rotary_scale ? sg_mul(b->g, y, b->rotary_scale) : y;
}

/* Keys or values of the past that all rows share, [1,kv,past,d]; with a group axis as [1,kv,1,past,d]. */
static sg_value *shared_past(build *b, int layer, const char *what)
{
    static const int to_heads[4] = {0, 2, 1, 3};
    const sg_model_info *in = b->info;
    char name[96];

    snprintf(name, sizeof name, "blocks.%d.attn.%s", layer, what);
    const sg_dim dims[4] = {1, b->past, in->n_kv_heads, in->d_head};
    sg_value *x = sg_name(b->g, sg_input(b->g, name, b->m->opts.dtype, 4, dims), name, "dsdd");
    x = sg_transpose(b->g, x, to_heads);
    return in->n_heads > in->n_kv_heads ? sg_expand(b->g, x, 2) : x;
}

/* cap tanh(x / cap), of x times a scale. */
static sg_value *scale_and_cap(sg_graph *g, sg_value *x, double scale, double cap)
{
    if (!isfinite(cap))
        return scale == 1 ? x : sg_mul_scalar(g, x, scale);
    return sg_mul_scalar(g, sg_tanh(g, sg_mul_scalar(g, x, scale / cap)), cap);
}

static sg_value *attention(build *b, sg_value *x, int layer)
{
    sg_graph *g = b->g;
    const sg_model_info *in = b->info;
    const sg_arch *arch = &b->m->arch;
    const sg_dim h = in->n_heads, kv = in->n_kv_heads, d = in->d_head, group = h / kv;
    static const int to_heads[4] = {0, 2, 1, 3};
    sg_value *qkv[3];

    project(b, x, qkv);
    sg_value *q = name_in(b, qkv[0], layer, "attn.hook_q", "bthd");
    sg_value *k = name_in(b, qkv[1], layer, "attn.hook_k", "bthd");
    sg_value *v = name_in(b, qkv[2], layer, "attn.hook_v", "bthd");
    if (arch->qk_norm != SG_QK_NORM_NONE) {
        q = norm_heads(b, q, h, SG_W_Q_NORM, layer, "q_norm");
        k = norm_heads(b, k, kv, SG_W_K_NORM, layer, "k_norm");
    }
    if (b->frequencies) {
        q = name_in(b, turn(b, q, b->positions), layer, "attn.hook_rot_q", "bthd");
        if (!b->key_positions)
            k = name_in(b, turn(b, k, b->positions), layer, "attn.hook_rot_k", "bthd");
    }
    k = remember(b, k, layer, "k");
    if (b->frequencies && b->key_positions) /* places move as the cache slides: keys turn when they are read */
        k = turn(b, k, b->key_positions);
    k = sg_transpose(g, k, to_heads); /* [batch,kv,keys,d] */
    v = sg_transpose(g, remember(b, v, layer, "v"), to_heads);
    q = sg_transpose(g, q, to_heads);
    if (group > 1) { /* each key/value head serves `group` query heads */
        q = sg_reshape(g, q, 5, (sg_dim[]){b->batch, kv, group, b->time, d});
        k = sg_expand(g, k, 2);
        v = sg_expand(g, v, 2);
    }
    const double scale = arch->query_scale / (arch->scale_by_layer ? layer + 1 : 1);
    sg_value *products = sg_matmul(g, q, k, false, true);
    if (b->cache.shared) { /* two products in the place of a copy of the past for each row */
        sg_value *both[2] = {sg_matmul(g, q, shared_past(b, layer, "past_k"), false, true), products};
        products = sg_concat(g, 2, both, -1);
    }
    sg_value *scores = scale_and_cap(g, products, scale, arch->attention_cap);
    scores = sg_reshape(g, scores, 4, (sg_dim[]){b->batch, h, b->time, b->keys});
    sg_value *visible = sg_arch_windowed(arch, layer) ? b->visible_local : b->visible;
    scores = sg_where(g, visible, scores, sg_scalar_like(g, scores, -(double)INFINITY));
    scores = name_in(b, scores, layer, "attn.hook_attn_scores", "bhts");
    sg_value *pattern = name_in(b, sg_softmax(g, scores, -1), layer, "attn.hook_pattern", "bhts");
    sg_value *p = group > 1 ? sg_reshape(g, pattern, 5, (sg_dim[]){b->batch, kv, group, b->time, b->keys}) : pattern;
    sg_value *mean;
    if (b->cache.shared) {
        const int last = group > 1 ? 4 : 3;
        mean = sg_add(g, sg_matmul(g, sg_slice(g, p, last, 0, b->past, 1), shared_past(b, layer, "past_v"), false, false),
                      sg_matmul(g, sg_slice(g, p, last, b->past, b->keys, 1), v, false, false));
    } else {
        mean = sg_matmul(g, p, v, false, false);
    }
    sg_value *z = sg_reshape(g, mean, 4, (sg_dim[]){b->batch, h, b->time, d});
    z = name_in(b, sg_transpose(g, z, to_heads), layer, "attn.hook_z", "bthd");
    z = sg_reshape(g, z, 3, (sg_dim[]){b->batch, b->time, h * d});
    return apply_linear(b, z, SG_W_O, SG_W_O_BIAS);
}

static sg_value *activate(build *b, sg_value *x)
{
    switch (b->m->arch.act) {
    case SG_ACT_SILU:
        return sg_silu(b->g, x);
    case SG_ACT_GELU:
        return sg_gelu(b->g, x);
    case SG_ACT_RELU:
        return sg_relu(b->g, x);
    default:
        return sg_gelu_tanh(b->g, x);
    }
}

static sg_value *mlp(build *b, sg_value *x, int layer)
{
    const sg_dim f = b->info->d_mlp;
    sg_value *post;

    if (b->m->arch.gated) {
        sg_value *both = b->variables[SG_W_GATE_UP] ? apply_linear(b, x, SG_W_GATE_UP, SG_N_WEIGHTS) : NULL;
        sg_value *gate = both ? sg_slice(b->g, both, 2, 0, f, 1) : apply_linear(b, x, SG_W_GATE, SG_W_GATE_BIAS);
        sg_value *up = both ? sg_slice(b->g, both, 2, f, 2 * f, 1) : apply_linear(b, x, SG_W_UP, SG_W_UP_BIAS);
        gate = name_in(b, gate, layer, "mlp.hook_pre", "btd");
        up = name_in(b, up, layer, "mlp.hook_pre_linear", "btd");
        post = sg_mul(b->g, activate(b, gate), up);
    } else {
        post = activate(b, name_in(b, apply_linear(b, x, SG_W_UP, SG_W_UP_BIAS), layer, "mlp.hook_pre", "btd"));
    }
    return apply_linear(b, name_in(b, post, layer, "mlp.hook_post", "btd"), SG_W_DOWN, SG_W_DOWN_BIAS);
}

static sg_value *block(build *b, sg_value *x, int layer)
{
    const sg_arch *arch = &b->m->arch;
    const bool before = arch->norms != SG_NORM_OUTPUT, behind = arch->norms != SG_NORM_PRE;
    sg_graph *g = b->g;

    sg_scope(g, "blocks.%d", layer);
    declare(b, layer);
    x = name_in(b, x, layer, "hook_resid_pre", "btd");
    sg_scope(g, "blocks.%d.attn", layer);
    sg_value *read = before ? norm_in(b, x, SG_W_NORM1, SG_W_NORM1_BIAS, layer, "ln1") : x;
    sg_value *a = attention(b, read, layer);
    if (behind)
        a = norm_in(b, a, SG_W_NORM1_POST, SG_N_WEIGHTS, layer, "ln1_post");
    a = name_in(b, a, layer, "hook_attn_out", "btd");
    sg_value *sum = sg_add(g, x, a);
    if (arch->parallel == SG_SERIAL)
        x = sum = name_in(b, sum, layer, "hook_resid_mid", "btd");
    sg_scope(g, "blocks.%d.mlp", layer);
    if (arch->parallel != SG_PARALLEL_ONE_NORM)
        read = before ? norm_in(b, x, SG_W_NORM2, SG_W_NORM2_BIAS, layer, "ln2") : x;
    sg_value *f = mlp(b, read, layer);
    if (behind)
        f = norm_in(b, f, SG_W_NORM2_POST, SG_N_WEIGHTS, layer, "ln2_post");
    f = name_in(b, f, layer, "hook_mlp_out", "btd");
    return name_in(b, sg_add(g, sum, f), layer, "hook_resid_post", "btd");
}

static sg_value *numbers(build *b, const double *x, sg_dim n)
{
    const sg_tensor t = sg_tensor_of(SG_F64, 1, &n, (void *)(uintptr_t)x);

    return sg_cast(b->g, sg_const(b->g, &t), b->m->opts.dtype);
}

/* Angles per position, and what is multiplied with what they turned. */
static void rotary(build *b)
{
    const sg_arch *arch = &b->m->arch;
    const sg_dim n = arch->rotary / 2, d = b->info->d_head;
    const bool two = arch->rope.kind == SG_ROPE_LONGROPE && b->info->n_context > arch->rope.original;
    sg_arena *arena = sg_arena_new();
    double *f = arena ? sg_arena_array(arena, (size_t)(2 * n + d), sizeof *f) : NULL;

    if (!f) {
        sg_arena_free(arena);
        sg_graph_fail(b->g, SG_ENOMEM, "out of memory for rotary frequencies");
        return;
    }
    double *scale = f + 2 * n;
    for (sg_dim k = 0; k < n; k++) {
        f[k] = sg_rope_frequency(arch, k, false);
        f[n + k] = sg_rope_frequency(arch, k, true);
    }
    for (sg_dim i = 0; i < d; i++)
        scale[i] = i < arch->rotary ? arch->rope.scale : 1;
    b->frequencies = numbers(b, f, n);
    if (two) {
        sg_value *last = sg_reshape(b->g, sg_max(b->g, b->positions, 1, false), 4, (sg_dim[]){b->batch, 1, 1, 1});
        b->is_long = sg_greater_equal(b->g, last, sg_scalar(b->g, SG_I32, (double)arch->rope.original));
        b->longer = numbers(b, f + n, n);
    }
    b->rotary_scale = arch->rope.scale != 1 ? numbers(b, scale, d) : NULL;
    sg_arena_free(arena);
}

static sg_value *input(build *b, const char *name, sg_dtype dtype, sg_dim n, const char *axes)
{
    return sg_name(b->g, sg_input(b->g, name, dtype, 2, (sg_dim[]){b->batch, n}), name, axes);
}

/* Rows at different lengths: keys up to a query's own, and, with `window`, no further back than that. */
static sg_value *apart_mask(build *b, sg_value *reach, sg_dim window)
{
    sg_graph *g = b->g;
    sg_value *places = sg_reshape(g, sg_iota(g, SG_I32, b->keys), 4, (sg_dim[]){1, 1, 1, b->keys});

    if (!window)
        return sg_less_equal(g, places, sg_reshape(g, reach, 4, (sg_dim[]){b->batch, 1, b->time, 1}));
    sg_value *from = sg_sub(g, b->positions, sg_scalar(g, SG_I32, (double)window));
    if (b->key_positions)
        places = sg_reshape(g, b->key_positions, 4, (sg_dim[]){b->batch, 1, 1, b->keys});
    return sg_greater(g, places, sg_reshape(g, from, 4, (sg_dim[]){b->batch, 1, b->time, 1}));
}

/* Which keys each position looks at, everywhere and in the layers that are windowed. */
static void masks(build *b)
{
    sg_graph *g = b->g;
    const sg_arch *arch = &b->m->arch;
    const sg_dim dims[4] = {1, 1, b->time, b->keys};
    bool any = false;

    sg_value *mask = sg_reshape(g, b->key_mask, 4, (sg_dim[]){b->batch, 1, 1, b->keys});
    sg_value *causal = b->cache.apart ? apart_mask(b, input(b, "reach", SG_I32, b->time, "bt"), 0)
                                      : sg_reshape(g, sg_causal_mask(g, b->time, b->keys), 4, dims);
    b->visible = sg_name(g, sg_and(g, causal, mask), "visible", "bhts"); /* may be fed: rows that are trees, say */
    for (int layer = 0; layer < (int)b->info->n_layers; layer++)
        any |= sg_arch_windowed(arch, layer);
    if (!any)
        return;
    sg_value *near = b->cache.apart ? apart_mask(b, NULL, arch->window)
                                    : sg_reshape(g, sg_window_mask(g, b->time, b->keys, arch->window), 4, dims);
    b->visible_local = sg_name(g, sg_and(g, near, b->visible), "visible_local", "bhts");
}

static void loss(build *b, sg_value *logits)
{
    sg_graph *g = b->g;
    const sg_dim fewer = sg_dim_sub(g, b->time, 1);
    sg_value *ahead = sg_slice(g, logits, 1, 0, fewer, 1);
    sg_value *next = sg_slice(g, b->tokens, 1, 1, b->time, 1);
    sg_value *known = sg_and(g, sg_slice(g, b->key_mask, 1, 0, fewer, 1), sg_slice(g, b->key_mask, 1, 1, b->time, 1));
    sg_value *weight = sg_cast(g, known, logits->dtype);
    sg_value *nll = sg_name(g, sg_mul(g, sg_cross_entropy(g, ahead, next), weight), "nll", "bt");
    sg_value *count = sg_maximum(g, sg_sum_all(g, weight), sg_scalar_like(g, weight, 1));

    sg_name(g, sg_div(g, sg_sum_all(g, nll), count), "loss", "");
}

sg_cache_opts sg_cache_defaults(void)
{
    return (sg_cache_opts){.capacity = 0, .n_rows = 1, .dtype = SG_F32};
}

sg_status sg_model_graph(sg_graph **out, const sg_model *m, sg_dim capacity, sg_dim n_rows, sg_error *err)
{
    return sg_model_cached_graph(out, m, (sg_cache_opts){.capacity = capacity, .n_rows = n_rows, .dtype = SG_F32}, err);
}

sg_status sg_model_cached_graph(sg_graph **out, const sg_model *m, sg_cache_opts cache, sg_error *err)
{
    if (m->encoder) {
        if (cache.capacity || cache.shared)
            return sg_fail(err, SG_EARG, "%s is an encoder (%s), which has no cache and writes no text", m->info.path,
                           m->info.family);
        SG_TRY(sg_encoder_graph(out, m, err));
        const sg_status adapted = sg_adapt_graph(m, *out, err);
        if (adapted != SG_OK)
            sg_graph_free(*out);
        return adapted;
    }
    sg_graph *g = sg_graph_new();
    const sg_dim capacity = cache.capacity;

    if (!g)
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    build b = {.g = g, .m = m, .info = &m->info, .cache = cache};
    b.batch = capacity && !cache.apart ? cache.n_rows : sg_extent(g, "batch");
    b.time = sg_extent(g, "time");
    b.past = (capacity && !cache.apart) || cache.shared ? sg_extent(g, "past") : 0;
    b.keys = cache.apart ? sg_extent(g, "keys") : sg_dim_add(g, b.past, b.time);
    if (cache.apart) {
        b.first = sg_extent(g, "first");
        b.places = sg_name(g, sg_input(g, "places", SG_I32, 1, &b.batch), "places", "b");
    }

    b.tokens = input(&b, "tokens", SG_I32, b.time, "bt");
    b.positions = input(&b, "positions", SG_I32, b.time, "bt");
    b.key_mask = input(&b, "key_mask", SG_BOOL, b.keys, "bs");
    if (cache.sliding && !m->arch.learned_positions)
        b.key_positions = input(&b, "key_positions", SG_I32, b.keys, "bs");
    masks(&b);
    declare(&b, -1);
    if (!m->arch.learned_positions)
        rotary(&b);

    sg_value *x = scale_and_cap(g, sg_embed_as(g, b.variables[SG_W_EMBED], b.tokens, m->opts.dtype), m->arch.embed_scale, (double)INFINITY);
    x = sg_name(g, x, "hook_embed", "btd");
    if (m->arch.learned_positions)
        x = sg_add(g, x, sg_name(g, sg_embed_as(g, b.variables[SG_W_POSITION], b.positions, m->opts.dtype), "hook_pos_embed", "btd"));
    for (int layer = 0; layer < (int)m->info.n_layers; layer++)
        x = block(&b, x, layer);
    sg_scope(g, "final");
    x = apply_norm(&b, x, SG_W_NORM_FINAL, SG_W_NORM_FINAL_BIAS, "ln_final.hook_normalized");
    sg_value *unembed = b.variables[SG_W_UNEMBED] ? b.variables[SG_W_UNEMBED] : b.variables[SG_W_EMBED];
    sg_value *logits = sg_matmul(g, x, unembed, false, true);
    if (b.variables[SG_W_UNEMBED_BIAS])
        logits = sg_add(g, logits, b.variables[SG_W_UNEMBED_BIAS]);
    logits = sg_name(g, scale_and_cap(g, logits, 1, m->arch.logit_cap), "logits", "btd");
    if (!capacity && !cache.shared)
        loss(&b, logits);
    sg_scope(g, "%s", "");

    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_adapt_graph(m, g, err);
    if (status != SG_OK) {
        sg_graph_free(g);
        return status;
    }
    *out = g;
    return SG_OK;
}

sg_status sg_model_bind(const sg_model *m, const sg_graph *g, sg_state *s, sg_error *err)
{
    if (m->file && m->opts.only_sizes)
        return sg_fail(err, SG_EARG, "%s: only the sizes of its weights were read, so nothing can be run", m->info.path);
    for (int i = 0; m->encoder && i < m->encoder->n_weights; i++) {
        const sg_weight *w = &m->encoder->weights[i];
        const sg_value *v = sg_graph_find(g, w->name);
        if (v && w->tensor.data) /* a head that nothing reads has no variable */
            SG_TRY(sg_state_bind(s, v, &w->tensor, err));
    }
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        for (int i = 0; m->weights[role] && m->weights[role][0].tensor.data && i < n; i++) {
            const sg_value *v = sg_graph_find(g, m->weights[role][i].name);
            if (!v)
                return sg_fail(err, SG_EARG, "this graph has no weight %s", m->weights[role][i].name);
            SG_TRY(sg_state_bind(s, v, &m->weights[role][i].tensor, err));
        }
    }
    return sg_adapt_bind(m, g, s, err);
}
