/* A batch of one row each for every change, and one in front in which nothing is changed. */
#include "sightglass/saliency.h"

#include <math.h>

#include "base/base.h"

typedef struct owned {
    sg_saliency face;
    sg_arena *arena;
} owned;

static void probabilities(double *out, const float *logits, sg_dim n)
{
    double most = -(double)INFINITY, sum = 0;
    for (sg_dim t = 0; t < n; t++)
        most = fmax(most, (double)logits[t]);
    for (sg_dim t = 0; t < n; t++)
        sum += out[t] = exp((double)logits[t] - most);
    for (sg_dim t = 0; t < n; t++)
        out[t] /= sum;
}

static sg_status run(owned *s, sg_intervener *iv, const int32_t *tokens, sg_dim n_tokens, const sg_change *changes,
                     sg_intervene_opts opts, sg_error *err)
{
    const sg_dim n = s->face.n;
    sg_rewrite *rows = sg_arena_array(s->arena, (size_t)n + 1, sizeof *rows);
    sg_intervention *r;
    if (!rows)
        return sg_fail(err, SG_ENOMEM, "saliency: out of memory");
    for (sg_dim i = 0; i <= n; i++)
        rows[i] = (sg_rewrite){tokens, n_tokens, i > 0, i > 0 ? &changes[i - 1] : NULL};
    SG_TRY(sg_intervener_run(&r, iv, n + 1, rows, opts, err));
    const sg_dim v = s->face.n_vocab = r->n_vocab;
    s->face.before = sg_arena_array(s->arena, (size_t)v, sizeof(double));
    s->face.after = sg_arena_array(s->arena, (size_t)(n * v), sizeof(double));
    if (!s->face.before || !s->face.after) {
        sg_intervention_free(r);
        return sg_fail(err, SG_ENOMEM, "saliency: out of memory for %d changes", s->face.n);
    }
    probabilities(s->face.before, r->logits, v);
    for (sg_dim i = 0; i < n; i++)
        probabilities(s->face.after + i * v, r->logits + (i + 1) * v, v);
    sg_intervention_free(r);
    return SG_OK;
}

sg_status sg_saliency_latent(sg_saliency **out, sg_intervener *iv, const int32_t *tokens, sg_dim n_tokens,
                             int n_changes, const sg_change *changes, sg_intervene_opts opts, sg_error *err)
{
    *out = NULL;
    if (n_changes < 1)
        return sg_fail(err, SG_EARG, "saliency: no changes");
    if (opts.norms)
        return sg_fail(err, SG_EARG, "saliency: lengths are not known of its rows");
    sg_arena *arena = sg_arena_new();
    owned *s = arena ? sg_arena_alloc(arena, sizeof *s) : NULL;
    if (!s) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "saliency: out of memory");
    }
    *s = (owned){.arena = arena, .face.n = n_changes};
    const sg_status status = run(s, iv, tokens, n_tokens, changes, opts, err);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &s->face;
    return SG_OK;
}

double sg_saliency_score(const sg_saliency *s, int i, int32_t token)
{
    SG_ASSERT(i >= 0 && i < s->n && token >= 0 && token < s->n_vocab);
    return s->before[token] - s->after[i * s->n_vocab + token];
}

void sg_saliency_free(sg_saliency *s)
{
    if (s)
        sg_arena_free(((owned *)s)->arena);
}
