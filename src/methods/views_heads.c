/* Heads: patterns are summed as they come, by episode, head and gaze; then shares, controls and intervals. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/views_internal.h"
#include "sightglass/bootstrap.h"

const char *sg_gaze_name(sg_gaze g)
{
    static const char *const names[SG_N_GAZES] = {
        [SG_GAZE_MINE] = "mine", [SG_GAZE_YOURS] = "yours",       [SG_GAZE_PARITY] = "same parity",
        [SG_GAZE_SELF] = "self", [SG_GAZE_PREVIOUS] = "previous", [SG_GAZE_FIRST] = "first",
    };
    return g >= 0 && g < SG_N_GAZES ? names[g] : "unknown";
}

/* Sums over the positions of an episode: attention to what the gaze is at, what even attention would give, and all
 * attention that is shared out. */
typedef struct tally {
    double at, even, all;
} tally;

typedef struct viewing {
    const sg_tensor *tokens, *counts, *mover;
    const sg_views_opts *opts;
    int n_layers, n_heads;
    tally *tallies; /* [L,H,gazes,E] */
    sg_dim n_positions;
} viewing;

static tally *tally_of(const viewing *v, int layer, int head, int gaze, sg_dim e)
{
    return v->tallies + (((sg_dim)layer * v->n_heads + head) * SG_N_GAZES + gaze) * v->tokens->dims[0] + e;
}

/* Who made move j: who was to move after the one before; whose turn it is at first, nobody says, so it is 0. */
static int made_by(const viewing *v, sg_dim e, sg_dim j)
{
    return j ? ((const int32_t *)v->mover->data)[e * v->tokens->dims[1] + j - 1] : 0;
}

/* One row of a pattern: weights [0..t] of head (layer, head) at position t. */
static void add_row(viewing *v, int layer, int head, sg_dim e, sg_dim t, const float *weight)
{
    const sg_dim time = v->tokens->dims[1];
    const int next = v->mover ? ((const int32_t *)v->mover->data)[e * time + t] : 0;
    double past = 0, at[3] = {0}, there[3] = {0};
    for (sg_dim j = 0; j < t; j++) {
        const bool mine = v->mover && made_by(v, e, j) == next;
        const bool is[3] = {mine, v->mover && !mine, (t + 1 - j) % 2 == 0};
        past += (double)weight[j];
        for (int k = 0; k < 3; k++)
            if (is[k]) {
                at[k] += (double)weight[j];
                there[k]++;
            }
    }
    for (int k = 0; k < 3; k++) {
        tally *sum = tally_of(v, layer, head, k, e);
        sum->at += at[k];
        sum->even += past * there[k] / (double)t;
        sum->all += past;
    }
    const double rest[3] = {(double)weight[t], (double)weight[t - 1], (double)weight[0]};
    for (int k = 0; k < 3; k++) {
        tally *sum = tally_of(v, layer, head, SG_GAZE_SELF + k, e);
        sum->at += rest[k];
        sum->even += 1 / (double)(t + 1);
        sum->all += past + (double)weight[t];
    }
}

static sg_status watch(viewing *v, const sg_model *m, uint64_t weights, const char *part, sg_error *err)
{
    const sg_dim episodes = v->tokens->dims[0], time = v->tokens->dims[1];
    sg_glass_opts how = sg_glass_defaults();
    how.exec = v->opts->exec;
    how.seed = weights;
    sg_glass *glass = NULL;
    sg_value **patterns = calloc((size_t)v->n_layers, sizeof *patterns);
    sg_tensor *got = calloc((size_t)v->n_layers, sizeof *got);
    sg_status status =
        patterns && got ? sg_glass_new(&glass, m, how, err) : sg_fail(err, SG_ENOMEM, "view: out of memory");
    for (int l = 0; l < v->n_layers && status == SG_OK; l++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.attn.hook_pattern", l);
        status = sg_glass_find(glass, name, &patterns[l], err);
        if (status == SG_OK && sg_value_dtype(patterns[l]) != SG_F32)
            status = sg_fail(err, SG_ETYPE, "view: %s is %s, wanted a model computed in f32", name,
                             sg_dtype_name(sg_value_dtype(patterns[l])));
    }
    v->n_positions = 0;
    for (sg_dim first = 0; first < episodes && status == SG_OK; first += v->opts->batch) {
        const sg_dim n = SG_MIN(v->opts->batch, episodes - first);
        status = sg_views_run(glass, v->tokens, first, n, 0, NULL, v->n_layers, patterns, got, err);
        for (sg_dim i = 0; i < n && status == SG_OK; i++)
            for (sg_dim t = SG_MAX(v->opts->first, 1); t < time; t++) {
                if (!sg_views_asked(v->tokens, v->counts, v->opts->first, first + i, t))
                    continue;
                v->n_positions++;
                for (int l = 0; l < v->n_layers; l++)
                    for (int h = 0; h < v->n_heads; h++)
                        add_row(v, l, h, first + i, t,
                                (const float *)got[l].data + ((i * v->n_heads + h) * time + t) * time);
            }
        if (status == SG_OK)
            status = sg_views_tell(v->opts, part, (double)(first + n) / (double)episodes, err);
    }
    sg_glass_free(glass);
    free(patterns);
    free(got);
    return status;
}

static sg_status judge(sg_head_gaze *out, const viewing *v, int layer, int head, int gaze, double *room, sg_error *err)
{
    const sg_dim episodes = v->tokens->dims[0];
    double *part = room, *whole = room + episodes, at = 0, even = 0, all = 0;
    sg_dim n = 0;
    for (sg_dim e = 0; e < episodes; e++) {
        const tally *sum = tally_of(v, layer, head, gaze, e);
        part[e] = sum->at - sum->even;
        whole[e] = sum->all;
        at += sum->at;
        even += sum->even;
        all += sum->all;
        n += sum->all > 0;
    }
    sg_bootstrap_opts how = sg_bootstrap_defaults();
    sg_interval interval;
    how.n_resamples = v->opts->n_resamples;
    how.seed = v->opts->seed;
    SG_TRY(sg_bootstrap_ratio(&interval, episodes, part, whole, how, err));
    out->share = at / all;
    out->uniform = even / all;
    out->excess = (sg_rate){(at - even) / all, interval.low, interval.high, n};
    return SG_OK;
}

static int by_excess(const void *a, const void *b)
{
    const sg_head *x = a, *y = b;
    const double of_x = x->kind >= 0 ? x->gaze[x->kind].excess.value : -1;
    const double of_y = y->kind >= 0 ? y->gaze[y->kind].excess.value : -1;
    if (of_x != of_y)
        return of_x < of_y ? 1 : -1;
    return x->layer != y->layer ? x->layer - y->layer : x->head - y->head;
}

/* The kind of each head, once it is known what untrained ones do. */
static void classify(sg_heads *out)
{
    for (int i = 0; i < out->n; i++) {
        sg_head *h = &out->heads[i];
        h->kind = -1;
        for (int k = 0; k < SG_N_GAZES; k++) {
            const sg_rate *x = &h->gaze[k].excess;
            if (x->low > SG_GAZE_LEAST && x->low > out->bar[k] &&
                (h->kind < 0 || x->value > h->gaze[h->kind].excess.value))
                h->kind = k;
        }
    }
    qsort(out->heads, (size_t)out->n, sizeof *out->heads, by_excess);
}

static sg_status measure(sg_heads *out, viewing *v, const sg_model *m, double *room, sg_error *err)
{
    sg_model *fresh;
    const size_t n = (size_t)v->n_layers * (size_t)v->n_heads * SG_N_GAZES * (size_t)v->tokens->dims[0];
    SG_TRY(sg_model_untrained(&fresh, m, err));
    sg_status status = watch(v, fresh, v->opts->seed, "untrained network", err);
    for (int k = 0; k < SG_N_GAZES; k++)
        out->bar[k] = -HUGE_VAL;
    for (int i = 0; i < out->n && status == SG_OK; i++)
        for (int k = 0; k < SG_N_GAZES && status == SG_OK; k++) {
            sg_head_gaze control;
            status = judge(&control, v, i / v->n_heads, i % v->n_heads, k, room, err);
            out->heads[i].gaze[k].untrained = control.excess.value;
            out->bar[k] = fmax(out->bar[k], control.excess.value);
        }
    sg_model_close(fresh);
    SG_TRY(status);
    memset(v->tallies, 0, n * sizeof *v->tallies);
    SG_TRY(watch(v, m, v->opts->seed, "attention", err));
    for (int i = 0; i < out->n; i++) {
        out->heads[i].layer = i / v->n_heads;
        out->heads[i].head = i % v->n_heads;
        for (int k = 0; k < SG_N_GAZES; k++) {
            SG_TRY(judge(&out->heads[i].gaze[k], v, i / v->n_heads, i % v->n_heads, k, room, err));
            if (!v->mover && k <= SG_GAZE_YOURS)
                out->heads[i].gaze[k] = (sg_head_gaze){nan(""), nan(""), {nan(""), nan(""), nan(""), 0}, nan("")};
        }
    }
    out->n_episodes = v->tokens->dims[0];
    out->n_positions = v->n_positions;
    if (out->n_positions == 0)
        return sg_fail(err, SG_EARG, "view: no position from %lld on is followed by a token that counts",
                       (long long)v->opts->first);
    classify(out);
    return SG_OK;
}

sg_status sg_heads_view(sg_heads **out, const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts,
                        const sg_tensor *mover, sg_views_opts opts, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    char shape[SG_SHAPE_TEXT];
    *out = NULL;
    SG_TRY(sg_views_check(m, tokens, counts, &opts, err));
    if (mover && (mover->dtype != SG_I32 || mover->n_dims != 2 || mover->dims[0] != tokens->dims[0] ||
                  mover->dims[1] != tokens->dims[1]))
        return sg_fail(err, SG_ESHAPE, "view: mover is %s, wanted i32, a number for each token",
                       sg_shape_text(shape, mover->n_dims, mover->dims));
    viewing v = {.tokens = tokens,
                 .counts = counts,
                 .mover = mover,
                 .opts = &opts,
                 .n_layers = (int)info->n_layers,
                 .n_heads = (int)info->n_heads};
    const size_t n = (size_t)info->n_layers * (size_t)info->n_heads, episodes = (size_t)tokens->dims[0];
    sg_heads *h = calloc(1, sizeof *h);
    double *room = calloc(2 * episodes, sizeof *room);
    v.tallies = calloc(n * SG_N_GAZES * episodes, sizeof *v.tallies);
    if (h)
        *h = (sg_heads){.n = (int)n, .heads = calloc(n, sizeof *h->heads)};
    sg_status status = h && h->heads && room && v.tallies
                           ? measure(h, &v, m, room, err)
                           : sg_fail(err, SG_ENOMEM, "view: out of memory for %zu heads", n);
    free(room);
    free(v.tallies);
    if (status != SG_OK) {
        sg_heads_free(h);
        return status;
    }
    *out = h;
    return SG_OK;
}

void sg_heads_free(sg_heads *h)
{
    if (h)
        free(h->heads);
    free(h);
}
