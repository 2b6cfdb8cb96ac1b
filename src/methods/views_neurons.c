/* Neurons: correlations with features, from sums that a splice of the graph computes batch by batch, so that no
 * activation is kept. With thousands of neurons and hundreds of features a best pair always looks good: features are
 * chosen on one half of the episodes and judged on the other, and the same is done with features of other episodes at
 * the same positions, which know the ply and nothing else of the board. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/views_internal.h"
#include "models/arch.h"
#include "sightglass/ops.h"

/* Sums over rows of one half: of each neuron and of each feature. Features stand twice, true and shuffled. */
typedef struct sums {
    double n;
    double *a, *aa; /* [L,F] */
    double *f;      /* [2*K] */
    double *af;     /* [L,F,2*K] */
} sums;

/* What was chosen for a neuron: a feature each among the true and the shuffled, and how it fared on the other half. */
typedef struct choice {
    int best[2];
    double chosen[2], judged[2];
} choice;

typedef struct viewing {
    const sg_model *m;
    const sg_tensor *tokens, *counts;
    int n_labels;
    const sg_label *labels;
    const sg_views_opts *opts;
    int n_layers, k;     /* k: features */
    sg_dim width;        /* F */
    sg_feature *feature; /* [k] */
    sg_dim *other;       /* [E] whose features an episode is given as shuffled ones */
} viewing;

/* ---- features ---- */

static sg_dim n_places(const sg_label *l)
{
    return l->values->n_dims == 3 ? l->values->dims[2] : 1;
}

static int n_classes(const sg_label *l)
{
    double most = 1;
    for (sg_dim i = 0; i < sg_tensor_count(l->values); i++)
        most = fmax(most, sg_tensor_get(l->values, i));
    return most < 4096 ? (int)most + 1 : 4096;
}

static sg_status list_features(viewing *v, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    for (int pass = 0; pass < 2; pass++) {
        v->k = 0;
        for (int i = 0; i < v->n_labels; i++) {
            const sg_tensor *t = v->labels[i].values;
            if ((t->dtype != SG_I32 && t->dtype != SG_BOOL) || t->n_dims < 2 || t->n_dims > 3 ||
                t->dims[0] != v->tokens->dims[0] || t->dims[1] != v->tokens->dims[1])
                return sg_fail(err, SG_ESHAPE, "view: %s is %s %s, wanted classes for each of %s tokens",
                               v->labels[i].name, sg_dtype_name(t->dtype), sg_shape_text(one, t->n_dims, t->dims),
                               sg_shape_text(other, 2, v->tokens->dims));
            const int classes = n_classes(&v->labels[i]);
            /* Of two classes one is enough: the other says the same. */
            for (int p = 0; p < n_places(&v->labels[i]); p++)
                for (int c = classes == 2; c < classes; c++, v->k++)
                    if (pass)
                        v->feature[v->k] = (sg_feature){i, p, c};
        }
        if (!pass && !(v->feature = calloc((size_t)v->k + 1, sizeof *v->feature)))
            return sg_fail(err, SG_ENOMEM, "view: out of memory for %d features", v->k);
    }
    return v->k ? SG_OK : sg_fail(err, SG_EARG, "view: no labels, so there are no features");
}

static bool has(const viewing *v, const sg_feature *f, sg_dim e, sg_dim t)
{
    const sg_label *l = &v->labels[f->label];
    const sg_dim at = (e * v->tokens->dims[1] + t) * n_places(l) + f->place;
    return (l->values->dtype == SG_BOOL ? ((const uint8_t *)l->values->data)[at]
                                        : ((const int32_t *)l->values->data)[at]) == f->class_id;
}

/* A row that is asked about has features of its own and of another episode that is as long. */
static bool asked(const viewing *v, sg_dim e, sg_dim t)
{
    return sg_views_asked(v->tokens, v->counts, v->opts->first, e, t) &&
           sg_views_asked(v->tokens, v->counts, v->opts->first, v->other[e], t);
}

/* row [2k+1] of position t: true features, shuffled ones, 1. Zeros where it is not asked about. */
static bool fill(const viewing *v, sg_dim e, sg_dim t, float *row)
{
    memset(row, 0, (size_t)(2 * v->k + 1) * sizeof *row);
    if (!asked(v, e, t))
        return false;
    for (int i = 0; i < v->k; i++) {
        row[i] = has(v, &v->feature[i], e, t) ? 1 : 0;
        row[v->k + i] = has(v, &v->feature[i], v->other[e], t) ? 1 : 0;
    }
    row[2 * v->k] = 1;
    return true;
}

/* ---- sums ---- */

static void sums_free(sums *s)
{
    free(s->a);
    free(s->aa);
    free(s->f);
    free(s->af);
    *s = (sums){0};
}

static sg_status sums_new(sums *s, const viewing *v, sg_error *err)
{
    const size_t neurons = (size_t)v->n_layers * (size_t)v->width, k = 2 * (size_t)v->k;
    *s = (sums){.a = calloc(neurons, sizeof(double)),
                .aa = calloc(neurons, sizeof(double)),
                .f = calloc(k, sizeof(double)),
                .af = calloc(neurons * k, sizeof(double))};
    if (s->a && s->aa && s->f && s->af)
        return SG_OK;
    sums_free(s);
    return sg_fail(err, SG_ENOMEM, "view: out of memory for %zu neurons with %zu features", neurons, k);
}

typedef struct tap {
    sg_glass *glass;
    sg_value **fetch; /* [3*L]: products [F,2k+1], squares [F,1], activations [B,T,F] */
    sg_tensor *got;
} tap;

static void tap_free(tap *t)
{
    sg_glass_free(t->glass);
    free(t->fetch);
    free(t->got);
}

static sg_status tap_new(tap *t, const viewing *v, const sg_model *m, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    how.exec = v->opts->exec;
    how.seed = v->opts->seed;
    const int n = v->n_layers;
    *t = (tap){.fetch = calloc(3 * (size_t)n, sizeof *t->fetch), .got = calloc(3 * (size_t)n, sizeof *t->got)};
    if (!t->fetch || !t->got)
        return sg_fail(err, SG_ENOMEM, "view: out of memory");
    SG_TRY(sg_glass_new(&t->glass, m, how, err));
    sg_graph *g = sg_glass_graph(t->glass);
    sg_value *rows = NULL, *flat_rows = NULL, *ones = NULL;
    for (int l = 0; l < n; l++) {
        char name[64];
        sg_value *post;
        snprintf(name, sizeof name, "blocks.%d.mlp.hook_post", l);
        SG_TRY(sg_glass_find(t->glass, name, &post, err));
        const sg_dim batch = sg_value_dim(post, 0), time = sg_value_dim(post, 1), all = sg_dim_mul(g, batch, time);
        if (sg_value_dtype(post) != SG_F32)
            return sg_fail(err, SG_ETYPE, "view: %s is %s, wanted a model computed in f32", name,
                           sg_dtype_name(sg_value_dtype(post)));
        if (!rows) {
            rows = sg_input(g, "views.rows", SG_F32, 3, (sg_dim[]){batch, time, 2 * v->k + 1});
            flat_rows = sg_reshape(g, rows, 2, (sg_dim[]){all, 2 * v->k + 1});
            ones = sg_slice(g, flat_rows, 1, 2 * v->k, 2 * v->k + 1, 1);
        }
        sg_value *a = sg_reshape(g, post, 2, (sg_dim[]){all, v->width});
        t->fetch[l] = sg_matmul(g, a, flat_rows, true, false);
        t->fetch[n + l] = sg_matmul(g, sg_square(g, a), ones, true, false);
        t->fetch[2 * n + l] = post;
    }
    return sg_graph_status(g, err);
}

/* Called with each batch's activations, where somebody wants them. */
typedef struct listener {
    void (*hear)(struct listener *self, const viewing *v, sg_dim e, sg_dim t, const tap *from, sg_dim row,
                 const float *features);
} listener;

static void add(sums *s, const viewing *v, const tap *t)
{
    const sg_dim k = 2 * v->k;
    for (int l = 0; l < v->n_layers; l++) {
        const float *af = t->got[l].data, *aa = t->got[v->n_layers + l].data;
        for (sg_dim i = 0; i < v->width; i++) {
            const sg_dim at = l * v->width + i;
            for (sg_dim j = 0; j < k; j++)
                s->af[at * k + j] += (double)af[i * (k + 1) + j];
            s->a[at] += (double)af[i * (k + 1) + k];
            s->aa[at] += (double)aa[i];
        }
    }
}

static sg_status gather(sums *s, const viewing *v, const sg_model *m, int half, listener *who, const char *part,
                        sg_error *err)
{
    const sg_dim episodes = v->tokens->dims[0], time = v->tokens->dims[1];
    const sg_dim begin = half ? episodes / 2 : 0, end = half ? episodes : episodes / 2, width = 2 * v->k + 1;
    tap t = {0};
    float *rows = malloc((size_t)(v->opts->batch * time * width) * sizeof *rows);
    sg_status status = rows ? tap_new(&t, v, m, err) : sg_fail(err, SG_ENOMEM, "view: out of memory for features");
    for (sg_dim first = begin; first < end && status == SG_OK; first += v->opts->batch) {
        const sg_dim n = SG_MIN(v->opts->batch, end - first);
        for (sg_dim i = 0; i < n * time; i++) {
            float *row = rows + i * width;
            s->n += fill(v, first + i / time, i % time, row);
            for (sg_dim j = 0; j < 2 * v->k; j++)
                s->f[j] += (double)row[j];
        }
        const sg_named_feed feed = {"views.rows", sg_tensor_of(SG_F32, 3, (sg_dim[]){n, time, width}, rows)};
        status = sg_views_run(t.glass, v->tokens, first, n, 1, &feed, (who ? 3 : 2) * v->n_layers, t.fetch, t.got, err);
        if (status != SG_OK)
            break;
        add(s, v, &t);
        for (sg_dim i = 0; who && i < n * time; i++)
            if (rows[i * width + width - 1] > 0)
                who->hear(who, v, first + i / time, i % time, &t, i, rows + i * width);
        status = sg_views_tell(v->opts, part, (double)(first + n - begin) / (double)(end - begin), err);
    }
    if (status == SG_OK && s->n < 2)
        status = sg_fail(err, SG_EARG, "view: half of the episodes has %g positions to ask about", s->n);
    tap_free(&t);
    free(rows);
    return status;
}

/* 0 where one of the two never changes. */
static double correlation(double n, double a, double aa, double f, double ff, double af)
{
    const double va = aa / n - a / n * (a / n), vf = ff / n - f / n * (f / n);
    return va > 1e-12 * (aa / n) && vf > 0 ? (af / n - a / n * (f / n)) / sqrt(va * vf) : 0;
}

static double r_of(const sums *s, const viewing *v, sg_dim neuron, int feature)
{
    return correlation(s->n, s->a[neuron], s->aa[neuron], s->f[feature], s->f[feature],
                       s->af[neuron * 2 * v->k + feature]);
}

/* ---- choosing on a half, judging on the other ---- */

static void choose(choice *c, const sums *s, const viewing *v)
{
    for (sg_dim i = 0; i < v->n_layers * v->width; i++)
        for (int set = 0; set < 2; set++) {
            c[i].chosen[set] = -HUGE_VAL;
            for (int f = set * v->k; f < (set + 1) * v->k; f++) {
                const double r = r_of(s, v, i, f);
                if (r > c[i].chosen[set]) {
                    c[i].chosen[set] = r;
                    c[i].best[set] = f;
                }
            }
        }
}

static void judge(choice *c, const sums *s, const viewing *v)
{
    for (sg_dim i = 0; i < v->n_layers * v->width; i++)
        for (int set = 0; set < 2; set++)
            c[i].judged[set] = r_of(s, v, i, c[i].best[set]);
}

static sg_status untrained(choice *c, const viewing *v, sg_error *err)
{
    sg_model *fresh;
    sums s;
    SG_TRY(sg_model_untrained(&fresh, v->m, err));
    sg_status status = SG_OK;
    for (int half = 0; half < 2 && status == SG_OK; half++) {
        status = sums_new(&s, v, err);
        if (status == SG_OK)
            status = gather(&s, v, fresh, half, NULL, "untrained network", err);
        if (status == SG_OK)
            half ? judge(c, &s, v) : choose(c, &s, v);
        sums_free(&s);
    }
    sg_model_close(fresh);
    return status;
}

/* ---- the neurons that are told ---- */

/* Sums of one pair by episode, for an interval by the jackknife. */
typedef struct close_look {
    listener face;
    sg_neurons *out;
    sg_dim first, episodes; /* of the half */
    double *by_episode;     /* [n,episodes,5]: n, a, aa, f, af */
    const int *feature;     /* [n] */
} close_look;

static void hear(listener *self, const viewing *v, sg_dim e, sg_dim t, const tap *from, sg_dim row,
                 const float *features)
{
    close_look *c = (close_look *)self;
    (void)t;
    for (int i = 0; i < c->out->n; i++) {
        const sg_neuron *u = &c->out->neurons[i];
        const double a = (double)((const float *)from->got[2 * v->n_layers + u->layer].data)[row * v->width + u->index];
        const double f = (double)features[c->feature[i]];
        double *s = c->by_episode + (i * c->episodes + e - c->first) * 5;
        s[0] += 1;
        s[1] += a;
        s[2] += a * a;
        s[3] += f;
        s[4] += a * f;
    }
}

/* r with its 95 % interval: r of all episodes but one, for each in turn (Efron & Tibshirani 1993, chapter 11). */
static void tell(sg_neuron *u, const close_look *c, int i)
{
    const double *s = c->by_episode + i * c->episodes * 5;
    double all[5] = {0}, mean = 0, var = 0;
    sg_dim n = 0;
    for (sg_dim e = 0; e < c->episodes; e++) {
        for (int k = 0; k < 5; k++)
            all[k] += s[e * 5 + k];
        n += s[e * 5] > 0;
    }
    for (int pass = 0; pass < 2; pass++)
        for (sg_dim e = 0; e < c->episodes; e++) {
            if (!(s[e * 5] > 0))
                continue;
            double x[5];
            for (int k = 0; k < 5; k++)
                x[k] = all[k] - s[e * 5 + k];
            const double r = correlation(x[0], x[1], x[2], x[3], x[3], x[4]);
            if (pass)
                var += (r - mean) * (r - mean);
            else
                mean += r / (double)n;
        }
    const double error = sqrt(var * (double)(n - 1) / (double)n);
    u->r.value = correlation(all[0], all[1], all[2], all[3], all[3], all[4]);
    u->r.low = u->r.value - 1.96 * error;
    u->r.high = u->r.value + 1.96 * error;
    u->r.n = n;
    u->on = all[3] > 0 ? all[4] / all[3] : nan("");
    u->off = all[0] > all[3] ? (all[1] - all[4]) / (all[0] - all[3]) : nan("");
}

static double cosine(const float *a, const float *b, sg_dim n)
{
    double ab = 0, aa = 0, bb = 0;
    for (sg_dim i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : nan("");
}

/* What a neuron reads, as a direction of the residual stream: its weights times the norm's gain, without their mean
 * where the norm takes the mean off; and what it writes. */
static void weights_of(const sg_model *m, const sg_neuron *u, float *in, float *out)
{
    const sg_dim d = m->info.d_model, f = m->info.d_mlp;
    const sg_tensor *up = &m->weights[SG_W_UP][u->layer].tensor, *down = &m->weights[SG_W_DOWN][u->layer].tensor;
    const float *gain = m->weights[SG_W_NORM2] ? m->weights[SG_W_NORM2][u->layer].tensor.data : NULL;
    double mean = 0;
    for (sg_dim j = 0; j < d; j++) {
        in[j] = (float)sg_tensor_get(up, m->arch.in_out ? j * f + u->index : u->index * d + j) * (gain ? gain[j] : 1.0f);
        out[j] = (float)sg_tensor_get(down, m->arch.in_out ? u->index * d + j : j * f + u->index);
        mean += (double)in[j] / (double)d;
    }
    for (sg_dim j = 0; j < d && m->arch.layer_norm; j++)
        in[j] -= (float)mean;
}

static sg_status add_cosines(sg_neurons *out, const viewing *v, const sg_probe *probe, sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(v->m);
    for (int i = 0; i < out->n; i++)
        out->neurons[i].cos_in = out->neurons[i].cos_out = nan("");
    if (!probe)
        return SG_OK;
    if (sg_probe_width(probe) != info->d_model || sg_probe_n_tasks(probe) != n_places(&v->labels[0]) ||
        sg_probe_n_classes(probe) != n_classes(&v->labels[0]))
        return sg_fail(err, SG_ESHAPE,
                       "view: the probe is of %lld numbers, %lld tasks and %d classes; the model's width is %lld, and "
                       "%s has %lld places and %d classes",
                       (long long)sg_probe_width(probe), (long long)sg_probe_n_tasks(probe), sg_probe_n_classes(probe),
                       (long long)info->d_model, v->labels[0].name, (long long)n_places(&v->labels[0]),
                       n_classes(&v->labels[0]));
    if (!v->m->weights[SG_W_UP] || !v->m->weights[SG_W_UP][0].tensor.data)
        return sg_fail(err, SG_EARG, "view: a model without weights of its own has none to compare a probe with");
    float *room = malloc(3 * (size_t)info->d_model * sizeof *room);
    if (!room)
        return sg_fail(err, SG_ENOMEM, "view: out of memory for a direction");
    sg_status status = SG_OK;
    for (int i = 0; i < out->n && status == SG_OK; i++) {
        sg_neuron *u = &out->neurons[i];
        if (u->feature.label != 0)
            continue;
        status = sg_probe_direction(probe, u->feature.place, u->feature.class_id, -1, room, err);
        weights_of(v->m, u, room + info->d_model, room + 2 * info->d_model);
        u->cos_in = cosine(room, room + info->d_model, info->d_model);
        u->cos_out = cosine(room, room + 2 * info->d_model, info->d_model);
    }
    free(room);
    return status;
}

static int by_r(const void *a, const void *b)
{
    const sg_neuron *x = a, *y = b;
    if (x->r.value != y->r.value)
        return x->r.value < y->r.value ? 1 : -1;
    return x->layer != y->layer ? x->layer - y->layer : x->index - y->index;
}

/* Those of which the chosen correlation is greatest, in that order. */
static void pick(sg_neurons *out, const viewing *v, const choice *c, bool *taken)
{
    for (int i = 0; i < out->n; i++) {
        sg_dim best = -1;
        for (sg_dim k = 0; k < v->n_layers * v->width; k++)
            if (!taken[k] && (best < 0 || c[k].chosen[0] > c[best].chosen[0]))
                best = k;
        taken[best] = true;
        out->neurons[i] = (sg_neuron){.layer = (int)(best / v->width),
                                      .index = (int)(best % v->width),
                                      .feature = v->feature[c[best].best[0]],
                                      .chosen = c[best].chosen[0]};
    }
}

static sg_status measure(sg_neurons *out, viewing *v, choice *c, choice *fresh, close_look *look, int *feature,
                         sg_error *err)
{
    sums s = {0};
    SG_TRY(untrained(fresh, v, err));
    sg_status status = sums_new(&s, v, err);
    if (status == SG_OK)
        status = gather(&s, v, v->m, 0, NULL, "choosing features", err);
    bool *taken = calloc((size_t)(v->n_layers * v->width), 1);
    if (status == SG_OK && !taken)
        status = sg_fail(err, SG_ENOMEM, "view: out of memory for neurons");
    if (status == SG_OK) {
        choose(c, &s, v);
        pick(out, v, c, taken);
        for (int i = 0; i < out->n; i++)
            feature[i] = c[out->neurons[i].layer * v->width + out->neurons[i].index].best[0];
    }
    free(taken);
    sums_free(&s);
    if (status == SG_OK)
        status = sums_new(&s, v, err);
    if (status == SG_OK)
        status = gather(&s, v, v->m, 1, &look->face, "judging them", err);
    if (status == SG_OK)
        judge(c, &s, v);
    out->n_rows = (sg_dim)s.n;
    sums_free(&s);
    return status;
}

static void count(sg_neurons *out, const viewing *v, const choice *c, const choice *fresh)
{
    out->bar = -HUGE_VAL;
    for (sg_dim i = 0; i < v->n_layers * v->width; i++)
        out->bar = fmax(out->bar, c[i].judged[1]);
    for (sg_dim i = 0; i < v->n_layers * v->width; i++) {
        out->above[i / v->width] += c[i].judged[0] > out->bar;
        out->untrained_above[i / v->width] += fresh[i].judged[0] > out->bar;
    }
    for (int i = 0; i < out->n; i++) {
        const sg_dim at = out->neurons[i].layer * v->width + out->neurons[i].index;
        out->neurons[i].shuffled = c[at].judged[1];
        out->neurons[i].untrained = fresh[at].judged[0];
    }
}

static sg_status view(sg_neurons *out, viewing *v, const sg_probe *probe, sg_error *err)
{
    const size_t neurons = (size_t)v->n_layers * (size_t)v->width;
    const sg_dim episodes = v->tokens->dims[0];
    SG_TRY(list_features(v, err));
    SG_TRY(sg_views_others(&v->other, v->tokens->dims[0], v->opts->seed, err));
    out->n = SG_MIN(out->n, (int)neurons);
    close_look look = {.face = {hear}, .out = out, .first = episodes / 2, .episodes = episodes - episodes / 2};
    choice *c = calloc(neurons, sizeof *c), *fresh = calloc(neurons, sizeof *fresh);
    int *feature = calloc((size_t)out->n + 1, sizeof *feature);
    out->neurons = calloc((size_t)out->n + 1, sizeof *out->neurons);
    out->above = calloc((size_t)v->n_layers, sizeof *out->above);
    out->untrained_above = calloc((size_t)v->n_layers, sizeof *out->untrained_above);
    look.by_episode = calloc((size_t)out->n * (size_t)look.episodes * 5 + 1, sizeof(double));
    look.feature = feature;
    sg_status status = c && fresh && feature && out->neurons && out->above && out->untrained_above && look.by_episode
                           ? measure(out, v, c, fresh, &look, feature, err)
                           : sg_fail(err, SG_ENOMEM, "view: out of memory for %zu neurons", neurons);
    if (status == SG_OK) {
        count(out, v, c, fresh);
        for (int i = 0; i < out->n; i++)
            tell(&out->neurons[i], &look, i);
        status = add_cosines(out, v, probe, err);
        qsort(out->neurons, (size_t)out->n, sizeof *out->neurons, by_r);
    }
    out->n_layers = v->n_layers;
    out->n_in_layer = v->width;
    out->n_features = v->k;
    out->n_episodes = look.episodes;
    free(c);
    free(fresh);
    free(feature);
    free(look.by_episode);
    return status;
}

sg_status sg_neurons_view(sg_neurons **out, const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts,
                          int n_labels, const sg_label *labels, const sg_probe *probe, int most, sg_views_opts opts,
                          sg_error *err)
{
    *out = NULL;
    SG_TRY(sg_views_check(m, tokens, counts, &opts, err));
    if (n_labels < 1 || most < 0)
        return sg_fail(err, SG_EARG, "view: %d labels, %d neurons to tell", n_labels, most);
    viewing v = {.m = m,
                 .tokens = tokens,
                 .counts = counts,
                 .n_labels = n_labels,
                 .labels = labels,
                 .opts = &opts,
                 .n_layers = (int)m->info.n_layers,
                 .width = m->info.d_mlp};
    sg_neurons *n = calloc(1, sizeof *n);
    if (!n)
        return sg_fail(err, SG_ENOMEM, "view: out of memory");
    n->n = most;
    const sg_status status = view(n, &v, probe, err);
    free(v.feature);
    free(v.other);
    if (status != SG_OK) {
        sg_neurons_free(n);
        return status;
    }
    *out = n;
    return SG_OK;
}

void sg_neurons_free(sg_neurons *n)
{
    if (!n)
        return;
    free(n->neurons);
    free(n->above);
    free(n->untrained_above);
    free(n);
}
