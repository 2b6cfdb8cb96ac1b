/* The graph of a transformer, from its table of switches. Every named value of docs/names.md is made here; a name
 * is given where others would pass the value on, so that feeding or splicing it reaches all readers. */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "graph/op.h"
#include "models/adapt.h"
#include "models/arch.h"

typedef struct build {
    sg_graph *g;
    const sg_model *m;
    const sg_model_info *info;
    sg_dim batch, time, past, keys; /* keys = past + time */
    sg_value *tokens, *positions, *key_mask;
    sg_value *visible;     /* [batch,1,time,keys] bool */
    sg_value *frequencies; /* rotary */
    sg_value *variables[SG_N_WEIGHTS]; /* of the layer at hand */
    sg_dim capacity, n_rows;
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
        const char *name = b->m->weights[role][layer < 0 ? 0 : layer].name;
        b->variables[role] = sg_variable(b->g, name, b->m->opts.dtype, n, dims, sg_weight_init(b->m, (sg_weight_role)role));
    }
}

static sg_value *apply_linear(build *b, sg_value *x, sg_weight_role w, sg_weight_role bias)
{
    sg_value *y = sg_matmul(b->g, x, b->variables[w], false, !b->m->arch.in_out);

    return b->variables[bias] ? sg_add(b->g, y, b->variables[bias]) : y;
}

/* RMS norm is named before its gain, layer norm after gain and bias, as the field does. */
static sg_value *apply_norm(build *b, sg_value *x, sg_weight_role w, sg_weight_role bias, const char *name)
{
    const sg_arch *arch = &b->m->arch;

    if (arch->layer_norm)
        return sg_name(b->g, sg_layer_norm(b->g, x, b->variables[w], b->variables[bias], arch->eps), name, "btd");
    return sg_mul(b->g, sg_name(b->g, sg_rms_norm(b->g, x, arch->eps), name, "btd"), b->variables[w]);
}

static sg_value *heads(build *b, sg_value *x, sg_dim n)
{
    return sg_reshape(b->g, x, 4, (sg_dim[]){b->batch, b->time, n, b->info->d_head});
}

/* Keys or values of all positions so far: the cache with the new ones written behind the past. */
static sg_value *remember(build *b, sg_value *x, int layer, const char *what)
{
    char name[96];

    if (!b->capacity)
        return x;
    snprintf(name, sizeof name, "blocks.%d.attn.cache_%s", layer, what);
    sg_value *cache = sg_variable(b->g, name, x->dtype, 4,
                                  (sg_dim[]){b->n_rows, b->capacity, b->info->n_kv_heads, b->info->d_head}, sg_init_constant(0));
    return sg_slice(b->g, sg_assign_slice(b->g, cache, x, 1, b->past), 1, 0, b->keys, 1);
}

static sg_value *attention(build *b, sg_value *x, int layer)
{
    sg_graph *g = b->g;
    const sg_model_info *in = b->info;
    const sg_dim h = in->n_heads, kv = in->n_kv_heads, d = in->d_head, group = h / kv;
    static const int to_heads[4] = {0, 2, 1, 3};
    sg_value *q, *k, *v;

    if (b->variables[SG_W_QKV]) {
        sg_value *all = apply_linear(b, x, SG_W_QKV, SG_W_QKV_BIAS);
        q = sg_slice(g, all, 2, 0, h * d, 1);
        k = sg_slice(g, all, 2, h * d, (h + kv) * d, 1);
        v = sg_slice(g, all, 2, (h + kv) * d, (h + 2 * kv) * d, 1);
    } else {
        q = apply_linear(b, x, SG_W_Q, SG_W_Q_BIAS);
        k = apply_linear(b, x, SG_W_K, SG_W_K_BIAS);
        v = apply_linear(b, x, SG_W_V, SG_W_V_BIAS);
    }
    q = name_in(b, heads(b, q, h), layer, "attn.hook_q", "bthd");
    k = name_in(b, heads(b, k, kv), layer, "attn.hook_k", "bthd");
    v = name_in(b, heads(b, v, kv), layer, "attn.hook_v", "bthd");
    if (b->frequencies) {
        q = name_in(b, sg_rope(g, q, b->positions, b->frequencies, SG_ROPE_HALF), layer, "attn.hook_rot_q", "bthd");
        k = name_in(b, sg_rope(g, k, b->positions, b->frequencies, SG_ROPE_HALF), layer, "attn.hook_rot_k", "bthd");
    }
    k = sg_transpose(g, remember(b, k, layer, "k"), to_heads); /* [batch,kv,keys,d] */
    v = sg_transpose(g, remember(b, v, layer, "v"), to_heads);
    q = sg_transpose(g, q, to_heads);
    if (group > 1) { /* each key/value head serves `group` query heads */
        q = sg_reshape(g, q, 5, (sg_dim[]){b->batch, kv, group, b->time, d});
        k = sg_expand(g, k, 2);
        v = sg_expand(g, v, 2);
    }
    sg_value *scores = sg_mul_scalar(g, sg_matmul(g, q, k, false, true), 1 / sqrt((double)d));
    scores = sg_reshape(g, scores, 4, (sg_dim[]){b->batch, h, b->time, b->keys});
    scores = sg_where(g, b->visible, scores, sg_scalar_like(g, scores, -(double)INFINITY));
    scores = name_in(b, scores, layer, "attn.hook_attn_scores", "bhts");
    sg_value *pattern = name_in(b, sg_softmax(g, scores, -1), layer, "attn.hook_pattern", "bhts");
    sg_value *p = group > 1 ? sg_reshape(g, pattern, 5, (sg_dim[]){b->batch, kv, group, b->time, b->keys}) : pattern;
    sg_value *z = sg_reshape(g, sg_matmul(g, p, v, false, false), 4, (sg_dim[]){b->batch, h, b->time, d});
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
    sg_value *post;

    if (b->m->arch.gated) {
        sg_value *gate = name_in(b, sg_matmul(b->g, x, b->variables[SG_W_GATE], false, !b->m->arch.in_out), layer,
                                 "mlp.hook_pre", "btd");
        sg_value *up = name_in(b, apply_linear(b, x, SG_W_UP, SG_W_UP_BIAS), layer, "mlp.hook_pre_linear", "btd");
        post = sg_mul(b->g, activate(b, gate), up);
    } else {
        post = activate(b, name_in(b, apply_linear(b, x, SG_W_UP, SG_W_UP_BIAS), layer, "mlp.hook_pre", "btd"));
    }
    return apply_linear(b, name_in(b, post, layer, "mlp.hook_post", "btd"), SG_W_DOWN, SG_W_DOWN_BIAS);
}

static sg_value *block(build *b, sg_value *x, int layer)
{
    sg_graph *g = b->g;
    char norm[64];

    sg_scope(g, "blocks.%d", layer);
    declare(b, layer);
    x = name_in(b, x, layer, "hook_resid_pre", "btd");
    sg_scope(g, "blocks.%d.attn", layer);
    snprintf(norm, sizeof norm, "blocks.%d.ln1.hook_normalized", layer);
    sg_value *a = attention(b, apply_norm(b, x, SG_W_NORM1, SG_W_NORM1_BIAS, norm), layer);
    a = name_in(b, a, layer, "hook_attn_out", "btd");
    x = name_in(b, sg_add(g, x, a), layer, "hook_resid_mid", "btd");
    sg_scope(g, "blocks.%d.mlp", layer);
    snprintf(norm, sizeof norm, "blocks.%d.ln2.hook_normalized", layer);
    sg_value *f = mlp(b, apply_norm(b, x, SG_W_NORM2, SG_W_NORM2_BIAS, norm), layer);
    f = name_in(b, f, layer, "hook_mlp_out", "btd");
    return name_in(b, sg_add(g, x, f), layer, "hook_resid_post", "btd");
}

/* theta^(-2k/R), k = 0..R/2-1 (Su et al. 2021, section 3.2.2) */
static sg_value *rotary_frequencies(build *b)
{
    const sg_dim n = b->m->arch.rotary / 2;
    double *f = sg_arena_array(b->m->arena, (size_t)n, sizeof *f);

    if (!f)
        return sg_graph_fail(b->g, SG_ENOMEM, "out of memory for rotary frequencies");
    for (sg_dim k = 0; k < n; k++)
        f[k] = sg_math_pow(b->m->arch.rope_theta, -2.0 * (double)k / (double)b->m->arch.rotary);
    sg_tensor t = sg_tensor_of(SG_F64, 1, &n, f);
    return sg_cast(b->g, sg_const(b->g, &t), b->m->opts.dtype);
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

static sg_value *input(build *b, const char *name, sg_dtype dtype, sg_dim n, const char *axes)
{
    return sg_name(b->g, sg_input(b->g, name, dtype, 2, (sg_dim[]){b->batch, n}), name, axes);
}

sg_status sg_model_graph(sg_graph **out, const sg_model *m, sg_dim capacity, sg_dim n_rows, sg_error *err)
{
    sg_graph *g = sg_graph_new();

    if (!g)
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    build b = {.g = g, .m = m, .info = &m->info, .capacity = capacity, .n_rows = n_rows};
    b.batch = capacity ? n_rows : sg_extent(g, "batch");
    b.time = sg_extent(g, "time");
    b.past = capacity ? sg_extent(g, "past") : 0;
    b.keys = sg_dim_add(g, b.past, b.time);

    b.tokens = input(&b, "tokens", SG_I32, b.time, "bt");
    b.positions = input(&b, "positions", SG_I32, b.time, "bt");
    b.key_mask = input(&b, "key_mask", SG_BOOL, b.keys, "bs");
    sg_value *mask = sg_reshape(g, b.key_mask, 4, (sg_dim[]){b.batch, 1, 1, b.keys});
    sg_value *causal = sg_reshape(g, sg_causal_mask(g, b.time, b.keys), 4, (sg_dim[]){1, 1, b.time, b.keys});
    b.visible = sg_name(g, sg_and(g, causal, mask), "visible", "bhts"); /* may be fed: rows that are trees, say */
    declare(&b, -1);
    if (!m->arch.learned_positions)
        b.frequencies = rotary_frequencies(&b);

    sg_value *x = sg_name(g, sg_embed(g, b.variables[SG_W_EMBED], b.tokens), "hook_embed", "btd");
    if (m->arch.learned_positions)
        x = sg_add(g, x, sg_name(g, sg_embed(g, b.variables[SG_W_POSITION], b.positions), "hook_pos_embed", "btd"));
    for (int layer = 0; layer < (int)m->info.n_layers; layer++)
        x = block(&b, x, layer);
    sg_scope(g, "final");
    x = apply_norm(&b, x, SG_W_NORM_FINAL, SG_W_NORM_FINAL_BIAS, "ln_final.hook_normalized");
    sg_value *unembed = b.variables[SG_W_UNEMBED] ? b.variables[SG_W_UNEMBED] : b.variables[SG_W_EMBED];
    sg_value *logits = sg_name(g, sg_matmul(g, x, unembed, false, true), "logits", "btd");
    if (!capacity)
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
