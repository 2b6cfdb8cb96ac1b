/* What a model computes, in GGUF's words. */
#include <math.h>
#include <string.h>

#include "models/arch.h"
#include "models/gguf_model.h"

static const char *key_of(char buf[160], const sg_gguf_family *f, const char *key)
{
    snprintf(buf, 160, "%s.%s", f->gguf, key);
    return buf;
}

static sg_status describe_window(sg_gguf_meta *meta, const sg_gguf_family *f, const sg_model *m, sg_error *err)
{
    char key[160];
    const bool alternates = strcmp(f->model_type, "gemma2") == 0,
               all = strcmp(f->model_type, "mistral") == 0 || strcmp(f->gguf, "phi3") == 0;
    bool fits = alternates || all;

    if (m->arch.window == 0)
        return alternates
                   ? sg_fail(err, SG_EUNSUPPORTED, "%s: GGUF cannot say that a gemma2 has no windows", m->info.path)
                   : SG_OK;
    for (int i = 0; i < (int)m->info.n_layers; i++)
        fits = fits && sg_arch_windowed(&m->arch, i) == (all || i % 2 == 0);
    if (!fits)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: GGUF cannot say which layers of a %s are windowed", m->info.path,
                       f->model_type);
    sg_gguf_meta_whole(meta, key_of(key, f, "attention.sliding_window"), m->arch.window);
    return SG_OK;
}

static void describe_rope(sg_gguf_meta *meta, const sg_gguf_family *f, const sg_model *m)
{
    char key[160];
    const sg_rope_scaling *r = &m->arch.rope;

    sg_gguf_meta_whole(meta, key_of(key, f, "rope.dimension_count"), m->arch.rotary);
    sg_gguf_meta_real(meta, key_of(key, f, "rope.freq_base"), m->arch.rope_theta);
    if (r->kind == SG_ROPE_LINEAR || r->kind == SG_ROPE_YARN) {
        sg_gguf_meta_text(meta, key_of(key, f, "rope.scaling.type"), r->kind == SG_ROPE_YARN ? "yarn" : "linear");
        sg_gguf_meta_real(meta, key_of(key, f, "rope.scaling.factor"), r->factor);
    }
    if (r->kind == SG_ROPE_YARN) {
        const double own = r->factor <= 1 ? 1 : 0.1 * log(r->factor) + 1;
        sg_gguf_meta_whole(meta, key_of(key, f, "rope.scaling.original_context_length"), r->original);
        sg_gguf_meta_real(meta, key_of(key, f, "rope.scaling.yarn_beta_fast"), r->high);
        sg_gguf_meta_real(meta, key_of(key, f, "rope.scaling.yarn_beta_slow"), r->low);
        if (fabs(r->scale / own - 1) > 1e-6)
            sg_gguf_meta_real(meta, key_of(key, f, "rope.scaling.attn_factor"), r->scale / own);
    }
    if (r->kind == SG_ROPE_LONGROPE && strcmp(f->gguf, "phi3") == 0) {
        sg_gguf_meta_whole(meta, key_of(key, f, "rope.scaling.original_context_length"), r->original);
        sg_gguf_meta_real(meta, key_of(key, f, "rope.scaling.attn_factor"), r->scale);
    }
}

sg_status sg_gguf_describe(sg_gguf_meta *meta, const sg_gguf_family *f, const sg_model *m, sg_error *err)
{
    char key[160];
    const sg_arch *a = &m->arch;
    const sg_model_info *in = &m->info;

    sg_gguf_meta_whole(meta, key_of(key, f, "context_length"), in->n_context);
    sg_gguf_meta_whole(meta, key_of(key, f, "embedding_length"), in->d_model);
    sg_gguf_meta_whole(meta, key_of(key, f, "block_count"), in->n_layers);
    sg_gguf_meta_whole(meta, key_of(key, f, "feed_forward_length"), in->d_mlp);
    sg_gguf_meta_whole(meta, key_of(key, f, "attention.head_count"), in->n_heads);
    sg_gguf_meta_whole(meta, key_of(key, f, "attention.head_count_kv"), in->n_kv_heads);
    if (!a->learned_positions) {
        sg_gguf_meta_whole(meta, key_of(key, f, "attention.key_length"), in->d_head);
        sg_gguf_meta_whole(meta, key_of(key, f, "attention.value_length"), in->d_head);
        describe_rope(meta, f, m);
    }
    sg_gguf_meta_real(
        meta, key_of(key, f, a->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon"),
        a->eps);
    sg_gguf_meta_whole(meta, key_of(key, f, "vocab_size"), in->n_vocab);
    SG_TRY(describe_window(meta, f, m, err));
    if (isfinite(a->qkv_cap))
        sg_gguf_meta_real(meta, key_of(key, f, "attention.clamp_kqv"), a->qkv_cap);
    if (isfinite(a->attention_cap))
        sg_gguf_meta_real(meta, key_of(key, f, "attn_logit_softcapping"), a->attention_cap);
    if (isfinite(a->logit_cap))
        sg_gguf_meta_real(meta, key_of(key, f, "final_logit_softcapping"), a->logit_cap);
    if (strcmp(f->gguf, "gptneox") == 0)
        sg_gguf_meta_bool(meta, key_of(key, f, "use_parallel_residual"), a->parallel != SG_SERIAL);
    if (strcmp(f->gguf, "gemma2") == 0)
        sg_gguf_meta_real(meta, key_of(key, f, "attention.query_pre_attn_scalar"),
                          1 / (a->query_scale * a->query_scale));
    return SG_OK;
}

sg_status sg_gguf_factors(sg_named_tensor t[2], int *n, sg_arena *arena, const sg_model *m, sg_error *err)
{
    const sg_arch *a = &m->arch;
    const sg_dim pairs = a->rotary / 2;
    const bool lists = a->rope.kind == SG_ROPE_LONGROPE;
    float *x[2];

    *n = 0;
    if (a->learned_positions || (a->rope.kind != SG_ROPE_LLAMA3 && !lists))
        return SG_OK;
    bool alike = true;
    for (int k = 0; k < 2; k++) {
        x[k] = sg_arena_array(arena, (size_t)SG_MAX(pairs, 1), sizeof(float));
        if (!x[k])
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", m->info.path);
        for (sg_dim i = 0; i < pairs; i++) {
            const double plain = pow(a->rope_theta, -2.0 * (double)i / (double)a->rotary);
            x[k][i] =
                (float)(lists ? (k ? a->rope.longer : a->rope.shorter)[i] : plain / sg_rope_frequency(a, i, false));
            alike = alike && x[k][i] == x[0][i];
        }
    }
    const bool phi3 = strcmp(a->family, "phi3") == 0;
    if (lists && !phi3 && (!alike || a->rope.scale != 1))
        return sg_fail(err, SG_EUNSUPPORTED, "%s: GGUF has two lists of rotary factors for phi3 alone", m->info.path);
    t[0] = (sg_named_tensor){phi3 ? "rope_factors_short.weight" : "rope_freqs.weight",
                             sg_tensor_of(SG_F32, 1, &pairs, x[0])};
    t[1] = (sg_named_tensor){"rope_factors_long.weight", sg_tensor_of(SG_F32, 1, &pairs, x[1])};
    *n = phi3 ? 2 : 1;
    return SG_OK;
}

static bool close_to(double x, double y)
{
    return x == y || fabs(x - y) <= 1e-6 * fabs(x); /* metadata are f32 */
}

const char *sg_gguf_differs(const sg_model *one, const sg_model *two)
{
    const sg_arch *a = &one->arch, *b = &two->arch;
    const sg_model_info *x = &one->info, *y = &two->info;

    if (x->n_layers != y->n_layers || x->d_model != y->d_model || x->n_heads != y->n_heads ||
        x->n_kv_heads != y->n_kv_heads || x->d_head != y->d_head || x->d_mlp != y->d_mlp || x->n_vocab != y->n_vocab ||
        x->n_context != y->n_context)
        return "sizes";
    if (x->tied != y->tied)
        return "tying of the embeddings";
    if (a->act != b->act)
        return "activation";
    if (a->layer_norm != b->layer_norm || a->norms != b->norms || !close_to(a->eps, b->eps) || a->qk_norm != b->qk_norm)
        return "norms";
    if (a->parallel != b->parallel || a->gated != b->gated || a->learned_positions != b->learned_positions)
        return "blocks";
    if (!close_to(a->query_scale, b->query_scale) || a->scale_by_layer != b->scale_by_layer)
        return "scale of the scores";
    if (!close_to(a->embed_scale, b->embed_scale))
        return "scale of the embeddings";
    if (!close_to(a->attention_cap, b->attention_cap) || !close_to(a->logit_cap, b->logit_cap) ||
        !close_to(a->qkv_cap, b->qkv_cap))
        return "caps";
    for (int i = 0; i < (int)x->n_layers; i++)
        if (sg_arch_windowed(a, i) != sg_arch_windowed(b, i) || (sg_arch_windowed(a, i) && a->window != b->window))
            return "windows";
    if (a->learned_positions)
        return NULL;
    if (a->rotary != b->rotary || a->rope_layout != b->rope_layout || !close_to(a->rope.scale, b->rope.scale))
        return "rotary positions";
    for (sg_dim i = 0; i < a->rotary / 2; i++)
        for (int longer = 0; longer < 2; longer++)
            if (!close_to(sg_rope_frequency(a, i, longer), sg_rope_frequency(b, i, longer)))
                return "rotary angles";
    return NULL;
}
