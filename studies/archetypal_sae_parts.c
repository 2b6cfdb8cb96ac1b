/* The fits. Rows are drawn once for each frame of the world; arms differ in kind, points and order of rows, starts in
 * everything that is drawn but the points, which all starts of an arm share unless it says otherwise. */
#include "archetypal_sae_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/kmeans.h"
#include "sightglass/rng.h"
#include "sightglass/simplex.h"

enum { D = 64, N = 64, K = 8, ROWS_SEED = 7, SHUFFLE_STEP = 7919 };

static const struct {
    const char *name;
    sg_dict_kind kind;
    double delta;
    sg_dict_points points;
    bool own, shuffled, right, full; /* full: only there */
} arms[ARCH_ARMS] = {
    [ARCH_TOPK] = {.name = "TopK", .kind = SG_DICT_TOPK},
    [ARCH_RELAXED] = {.name = "relaxed, delta 1", .kind = SG_DICT_RELAXED, .delta = 1, .points = SG_DICT_GIVEN},
    [ARCH_TIGHT] =
        {.name = "relaxed, delta .1", .kind = SG_DICT_RELAXED, .delta = .1, .points = SG_DICT_GIVEN, .full = true},
    [ARCH_HULL] = {.name = "archetypal", .kind = SG_DICT_ARCHETYPAL, .points = SG_DICT_GIVEN},
    [ARCH_OWN] = {.name = "relaxed, centroids of its own",
                  .kind = SG_DICT_RELAXED,
                  .delta = 1,
                  .points = SG_DICT_CENTROIDS,
                  .own = true,
                  .full = true},
    [ARCH_RANDOM] = {.name = "relaxed, random points", .kind = SG_DICT_RELAXED, .delta = 1, .points = SG_DICT_RANDOM},
    [ARCH_TOPK_SHUFFLED] = {.name = "TopK, rows shuffled", .kind = SG_DICT_TOPK, .shuffled = true},
    [ARCH_RELAXED_SHUFFLED] = {.name = "relaxed, rows shuffled",
                               .kind = SG_DICT_RELAXED,
                               .delta = 1,
                               .points = SG_DICT_GIVEN,
                               .shuffled = true},
    [ARCH_TOPK_RIGHT] = {.name = "TopK, orthogonal", .kind = SG_DICT_TOPK, .right = true},
    [ARCH_RELAXED_RIGHT] =
        {.name = "relaxed, orthogonal", .kind = SG_DICT_RELAXED, .delta = 1, .points = SG_DICT_GIVEN, .right = true},
};

const char *arch_name(arch_which which)
{
    return arms[which].name;
}

/* A frame of the world: rows to fit and to judge on, its archetypes less the rows' mean, centroids. */
typedef struct frame {
    sg_sample *sample;
    sg_kmeans *centroids;
    float *shuffled; /* [n_rows,D] */
    float truth[N * D];
    sg_tensor fit, held, mixed;
} frame;

static void frame_free(frame *f)
{
    sg_sample_free(f->sample);
    sg_kmeans_free(f->centroids);
    free(f->shuffled);
}

static sg_status frame_new(frame *f, const arch_parts *p, bool right)
{
    const sg_setting setting = {"frame", right ? "orthogonal" : "hull"};
    double mean[D] = {0};

    SG_TRY(sg_world_sample(&f->sample, sg_world_find("archetypes", p->err), 1, &setting, p->n_rows + p->n_held,
                           ROWS_SEED, p->err));
    float *x = sg_sample_find(f->sample, "x")->data;
    const float *a = sg_sample_find(f->sample, "archetypes")->data;
    f->fit = sg_tensor_of(SG_F32, 2, (sg_dim[]){p->n_rows, D}, x);
    f->held = sg_tensor_of(SG_F32, 2, (sg_dim[]){p->n_held, D}, x + p->n_rows * D);
    for (sg_dim i = 0; i < p->n_rows * D; i++)
        mean[i % D] += (double)x[i] / (double)p->n_rows;
    for (int i = 0; i < N * D; i++)
        f->truth[i] = (float)((double)a[i] - mean[i % D]);
    f->shuffled = malloc((size_t)(p->n_rows * D) * sizeof *f->shuffled);
    if (!f->shuffled)
        return sg_fail(p->err, SG_ENOMEM, "archetypal-sae: out of memory");
    for (sg_dim i = 0; i < p->n_rows; i++) /* a step that has no divisor in common with the number of rows visits all */
        memcpy(f->shuffled + i * D, x + i * SHUFFLE_STEP % p->n_rows * D, D * sizeof *x);
    f->mixed = sg_tensor_of(SG_F32, 2, (sg_dim[]){p->n_rows, D}, f->shuffled);
    sg_kmeans_opts how = sg_kmeans_defaults();
    how.k = p->n_points;
    how.most_steps = 30;
    how.cancel = p->opts->cancel;
    return sg_kmeans_fit(&f->centroids, &f->fit, how, p->err);
}

static void on_fit(void *context, double done, double left, double loss)
{
    const arch_parts *p = context;

    if (p->opts->progress) {
        char part[32];
        snprintf(part, sizeof part, "fit %d of %d", p->n_done + 1, p->n_todo);
        p->opts->progress(p->opts->context, &(sg_study_progress){part, done, left, loss});
    }
}

/* How far the atom that is farthest from it lies from the hull of the points, over its length. */
static sg_status outside(double *out, const arch_parts *p, const sg_dict *d, const frame *f)
{
    double mean[D] = {0};
    float atoms[128 * D];
    sg_simplex_fit *fit;

    for (sg_dim i = 0; i < p->n_rows * D; i++)
        mean[i % D] += (double)((const float *)f->fit.data)[i] / (double)p->n_rows;
    for (sg_dim i = 0; i < d->m * D; i++)
        atoms[i] = (float)((double)((const float *)d->dec.data)[i] + mean[i % D]);
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){d->m, D}, atoms);
    SG_TRY(
        sg_simplex_fit_new(&fit, &f->centroids->centroids, 1, &p->n_points, &t, NULL, sg_simplex_defaults(), p->err));
    *out = 0;
    for (sg_dim i = 0; i < d->m; i++) {
        double length = 0;
        for (int c = 0; c < D; c++)
            length += (double)atoms[i * D + c] * (double)atoms[i * D + c];
        *out = fmax(*out, sg_tensor_get(&fit->residual, i) / sqrt(length));
    }
    sg_simplex_fit_free(fit);
    return SG_OK;
}

static int falling(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static sg_status judge(arch_parts *p, arch_which which, int start, const sg_dict *d, const frame *f)
{
    arch_found *to = &p->found[which];
    const sg_tensor truth = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, (float *)(uintptr_t)f->truth);
    sg_dict_data held;
    sg_dict_report *r;
    sg_dict_match *m;

    SG_TRY(sg_dict_rows(&held, &f->held, p->err));
    const sg_status status = sg_dict_report_new(&r, d, &held, p->n_held, p->opts->exec, p->err);
    sg_dict_data_free(&held);
    SG_TRY(status);
    to->r2[start] = r->r2;
    to->dead[start] = r->dead;
    sg_dict_report_free(r);
    SG_TRY(sg_dict_match_new(&m, &truth, &d->dec, 1, p->err));
    to->recovered[start] = 0;
    for (int i = 0; i < N; i++)
        to->recovered[start] += m->pair[i] >= 0 && m->cosine[i] >= .9;
    if (start == 0) {
        memcpy(to->cosine, m->cosine, sizeof to->cosine);
        qsort(to->cosine, N, sizeof *to->cosine, falling);
    }
    sg_dict_match_free(m);
    if (which == ARCH_HULL || which == ARCH_TOPK)
        SG_TRY(outside(&to->outside[start], p, d, f));
    return SG_OK;
}

static sg_status match_all(arch_parts *p, arch_which which, sg_dict *const *d)
{
    arch_found *to = &p->found[which];

    for (int i = 0, pair = 0; i < p->n_starts; i++)
        for (int j = i + 1; j < p->n_starts; j++, pair++) {
            sg_dict_match *m;
            SG_TRY(sg_dict_match_new(&m, &d[i]->dec, &d[j]->dec, 1, p->err));
            to->stability[pair] = m->stability;
            to->null = m->null;
            for (sg_dim k = 0; k < d[i]->m && pair == 0; k++)
                to->histogram[(int)fmin(fmax((m->cosine[k] + 1) / 2 * ARCH_BINS, 0), ARCH_BINS - 1)]++;
            sg_dict_match_free(m);
        }
    return SG_OK;
}

static sg_status fit_arm(arch_parts *p, arch_which which, const frame *f)
{
    sg_dict *d[ARCH_STARTS] = {NULL};
    sg_dict_data data;
    sg_dict_opts o = sg_dict_defaults();

    SG_TRY(sg_dict_rows(&data, arms[which].shuffled ? &f->mixed : &f->fit, p->err));
    o.kind = arms[which].kind;
    o.width = p->width;
    o.k = K;
    o.delta = arms[which].delta;
    o.points = arms[which].points;
    o.given = &f->centroids->centroids;
    o.n_points = p->n_points;
    o.batch = 512;
    o.n_steps = p->n_steps;
    o.exec = p->opts->exec;
    o.cancel = p->opts->cancel;
    o.progress = on_fit;
    o.context = p;
    sg_status status = SG_OK;
    for (int i = 0; i < p->n_starts && status == SG_OK; i++) {
        o.seed = p->seeds[i];
        o.points_seed = arms[which].own ? p->seeds[i] : 0;
        status = sg_dict_fit(&d[i], &data, o, p->err);
        if (status == SG_OK)
            status = judge(p, which, i, d[i], f);
        p->n_done++;
    }
    if (status == SG_OK)
        status = match_all(p, which, d);
    p->found[which].there = status == SG_OK;
    for (int i = 0; i < p->n_starts; i++)
        sg_dict_free(d[i]);
    sg_dict_data_free(&data);
    return status;
}

/* Archetypes that random atoms of the same shape come near to. */
static sg_status by_chance(arch_parts *p, const frame *f)
{
    float atoms[128 * D];
    sg_dict_match *m;
    const sg_tensor truth = sg_tensor_of(SG_F32, 2, (sg_dim[]){N, D}, (float *)(uintptr_t)f->truth),
                    t = sg_tensor_of(SG_F32, 2, (sg_dim[]){p->width, D}, atoms);
    sg_rng r = sg_rng_new(1, 1);

    for (sg_dim i = 0; i < p->width * D; i++)
        atoms[i] = (float)sg_rng_normal(&r);
    SG_TRY(sg_dict_match_new(&m, &truth, &t, 1, p->err));
    for (int i = 0; i < N; i++)
        p->random_recovered += m->pair[i] >= 0 && m->cosine[i] >= .9;
    sg_dict_match_free(m);
    return SG_OK;
}

sg_status arch_run(arch_parts *p)
{
    sg_status status = SG_OK;

    for (int which = 0; which < ARCH_ARMS; which++)
        p->n_todo += p->n_starts * (p->opts->full || !arms[which].full);
    for (int right = 0; right < 2 && status == SG_OK; right++) {
        frame f = {0};
        status = frame_new(&f, p, right);
        for (int which = 0; which < ARCH_ARMS && status == SG_OK; which++)
            if (arms[which].right == right && (p->opts->full || !arms[which].full))
                status = fit_arm(p, (arch_which)which, &f);
        if (!right && status == SG_OK)
            status = by_chance(p, &f);
        frame_free(&f);
    }
    return status;
}
