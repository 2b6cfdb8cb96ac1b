/* CAVs through inner products: w is a sum of rows, w = sum a_i x_i, so that a classifier needs K = X X' alone, and
 * sensitivities need G X' alone. One graph makes both of a repeat; D does not occur after that. */
#include "sightglass/tcav.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/bootstrap.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"

enum { STREAM = 0x63617630, PATIENCE = 5, NEWTON_STEPS = 50 };

sg_cav_opts sg_cav_defaults(void)
{
    return (sg_cav_opts){.alpha = 0.01, .n_epochs = 1000, .tol = 1e-3, .held_out = 0.33, .exec = sg_exec_defaults()};
}

sg_tcav_job sg_tcav_defaults(void)
{
    return (sg_tcav_job){
        .set_size = 30, .n_repeats = 20, .n_tests = 1, .level = 0.05, .cav = sg_cav_defaults(), .n_resamples = 1000};
}

/* ---- inner products ---- */

typedef struct products {
    sg_graph *g;
    sg_session *session;
    sg_value *rows, *gradients, *gram, *slopes;
    sg_dim width;
    float *both; /* [2m,D], the two sides under each other */
} products;

static void products_close(products *p)
{
    sg_session_free(p->session);
    sg_graph_free(p->g);
    free(p->both);
}

static sg_status products_open(products *p, sg_dim width, sg_dim m, sg_exec_opts exec, sg_error *err)
{
    *p = (products){.g = sg_graph_new(), .width = width};
    p->both = malloc((size_t)(2 * m * width) * sizeof *p->both);
    if (!p->g || !p->both)
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory for %lld rows of %lld", (long long)(2 * m),
                       (long long)width);
    p->rows = sg_input(p->g, "rows", SG_F32, 2, (sg_dim[]){sg_extent(p->g, "n"), width});
    p->gradients = sg_input(p->g, "gradients", SG_F32, 2, (sg_dim[]){sg_extent(p->g, "images"), width});
    p->gram = sg_matmul(p->g, p->rows, p->rows, false, true);
    p->slopes = sg_matmul(p->g, p->gradients, p->rows, false, true);
    return sg_session_new(&p->session, p->g, NULL, exec, err);
}

/* K [2m,2m], and G X' [n,2m] unless gradients is NULL; borrowed until the next. */
static sg_status multiply(products *p, const float *positive, const float *negative, sg_dim m, const float *gradients,
                          sg_dim n, const float **gram, const float **slopes, sg_error *err)
{
    sg_value *const fetches[2] = {p->gram, p->slopes};
    sg_tensor out[2];
    const size_t half = (size_t)(m * p->width);
    memcpy(p->both, positive, half * sizeof *p->both);
    memcpy(p->both + half, negative, half * sizeof *p->both);
    const sg_feed feeds[2] = {
        {p->rows, sg_tensor_of(SG_F32, 2, (sg_dim[]){2 * m, p->width}, p->both)},
        {p->gradients, sg_tensor_of(SG_F32, 2, (sg_dim[]){n, p->width}, (void *)(uintptr_t)gradients)}};
    SG_TRY(sg_session_run(p->session, gradients ? 2 : 1, feeds, gradients ? 2 : 1, fetches, out, err));
    *gram = out[0].data;
    *slopes = gradients ? out[1].data : NULL;
    return SG_OK;
}

/* ---- classifiers: rows 0..m-1 are the concept ---- */

typedef struct fit {
    sg_dim n, n_train;
    sg_dim *order; /* [n] a permutation; the first n_train are fitted to */
    double *a;     /* [n] of rows */
    double *f;     /* [n] scratch */
    double bias, accuracy;
} fit;

static double label(const fit *t, sg_dim i)
{
    return i < t->n / 2 ? 1 : -1;
}

static double value(const fit *t, const float *gram, sg_dim i)
{
    double sum = t->bias;
    for (sg_dim j = 0; j < t->n; j++)
        sum += t->a[j] * (double)gram[i * t->n + j];
    return sum;
}

static void mix(sg_dim *x, sg_dim n, sg_rng *r)
{
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = sg_rng_below(r, (uint32_t)(i + 1)), t = x[i];
        x[i] = x[j];
        x[j] = t;
    }
}

/* SGD on alpha |w|^2 / 2 + mean of max(0, 1 - y f), rate 1 / (alpha (t0 + t)) (Bottou 2012), bias unpenalised. */
static void hinge(fit *t, const float *gram, const sg_cav_opts *o, sg_rng *r)
{
    const double typical = sqrt(1 / sqrt(o->alpha)), t0 = 1 / (typical * o->alpha);
    double best = (double)INFINITY, scale = 1, now = 0; /* a is kept divided by scale */
    int waited = 0;
    for (int epoch = 0; epoch < o->n_epochs && waited < PATIENCE; epoch++) {
        double loss = 0;
        mix(t->order, t->n_train, r);
        for (sg_dim k = 0; k < t->n_train; k++) {
            const sg_dim i = t->order[k];
            const double y = label(t, i), rate = 1 / (o->alpha * (t0 + now++));
            double f = 0;
            for (sg_dim j = 0; j < t->n_train; j++)
                f += t->a[t->order[j]] * (double)gram[i * t->n + t->order[j]];
            const double margin = y * (scale * f + t->bias);
            scale *= SG_MAX(0, 1 - rate * o->alpha);
            if (scale < 1e-9) { /* as where the first step takes all away */
                for (sg_dim j = 0; j < t->n; j++)
                    t->a[j] *= scale;
                scale = 1;
            }
            loss += SG_MAX(0, 1 - margin);
            if (margin < 1) {
                t->a[i] += rate * y / scale;
                t->bias += rate * y;
            }
        }
        waited = loss > best - o->tol * (double)t->n_train ? waited + 1 : 0;
        best = SG_MIN(best, loss);
    }
    for (sg_dim j = 0; j < t->n; j++)
        t->a[j] *= scale;
}

/* Newton on alpha |w|^2 / 2 + mean log(1 + e^(-y f)): each step is the weighted ridge regression
 * (K + n alpha / W) a + b = z, sum a = 0, with W = p (1 - p) and z = f + (target - p) / W. */
static sg_status logistic(fit *t, const float *gram, const sg_cav_opts *o, sg_error *err)
{
    const sg_dim n = t->n_train;
    double *m = malloc((size_t)(n * n + 2 * n) * sizeof *m), *sides = m ? m + n * n : NULL;
    sg_status status = m ? SG_OK : sg_fail(err, SG_ENOMEM, "tcav: out of memory");
    for (int step = 0; step < NEWTON_STEPS && status == SG_OK; step++) {
        double moved = 0, ones = 0, rest = 0;
        for (sg_dim i = 0; i < n; i++) {
            const double f = value(t, gram, t->order[i]), p = sg_math_sigmoid(f), w = SG_MAX(p * (1 - p), 1e-9);
            for (sg_dim j = 0; j < n; j++)
                m[i * n + j] = (double)gram[t->order[i] * t->n + t->order[j]] + (i == j ? (double)n * o->alpha / w : 0);
            sides[2 * i] = 1;
            sides[2 * i + 1] = f + ((label(t, t->order[i]) > 0) - p) / w;
        }
        const sg_tensor a = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, n}, m),
                        b = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, 2}, sides);
        sg_cholesky *c;
        status = sg_cholesky_new(&c, &a, err);
        if (status != SG_OK)
            break;
        status = sg_cholesky_solve(&b, c, &b, err);
        sg_cholesky_free(c);
        for (sg_dim i = 0; i < n; i++) {
            ones += sides[2 * i];
            rest += sides[2 * i + 1];
        }
        const double bias = rest / ones;
        for (sg_dim i = 0; i < n; i++) {
            const double next = sides[2 * i + 1] - bias * sides[2 * i];
            moved = SG_MAX(moved, sg_math_abs(next - t->a[t->order[i]]));
            t->a[t->order[i]] = next;
        }
        t->bias = bias;
        double largest = 0;
        for (sg_dim i = 0; i < n; i++)
            largest = SG_MAX(largest, sg_math_abs(t->a[t->order[i]]));
        if (moved <= 1e-9 * largest)
            break;
    }
    free(m);
    return status;
}

/* Splits, fits, judges, and makes |w| = 1. */
static sg_status classify(fit *t, const float *gram, const sg_cav_opts *o, uint64_t seed, sg_error *err)
{
    sg_rng r = sg_rng_new(seed, STREAM);
    for (sg_dim i = 0; i < t->n; i++) {
        t->order[i] = i;
        t->a[i] = 0;
    }
    t->bias = 0;
    mix(t->order, t->n, &r);
    const sg_dim held = (sg_dim)(o->held_out * (double)t->n);
    t->n_train = t->n - held;
    if (o->kind == SG_CAV_HINGE)
        hinge(t, gram, o, &r);
    else
        SG_TRY(logistic(t, gram, o, err));
    sg_dim right = 0;
    for (sg_dim k = t->n_train; k < t->n; k++)
        right += value(t, gram, t->order[k]) * label(t, t->order[k]) > 0;
    t->accuracy = held ? (double)right / (double)held : nan("");
    double squares = 0;
    for (sg_dim i = 0; i < t->n; i++)
        squares += t->a[i] * (value(t, gram, i) - t->bias);
    if (!(squares > 0) || !isfinite(squares))
        return sg_fail(err, SG_ENUMERIC, "tcav: nothing tells the two sets apart: all %lld rows are alike",
                       (long long)t->n);
    const double length = sqrt(squares);
    for (sg_dim i = 0; i < t->n; i++)
        t->a[i] /= length;
    t->bias /= length;
    return SG_OK;
}

static sg_status fit_new(fit *t, sg_dim m, sg_error *err)
{
    *t = (fit){.n = 2 * m};
    t->order = malloc((size_t)t->n * sizeof *t->order);
    t->a = malloc((size_t)t->n * sizeof *t->a);
    return t->order && t->a ? SG_OK : sg_fail(err, SG_ENOMEM, "tcav: out of memory for %lld rows", (long long)t->n);
}

static void fit_free(fit *t)
{
    free(t->order);
    free(t->a);
}

static sg_status check(const sg_cav_opts *o, sg_error *err)
{
    if ((o->kind != SG_CAV_HINGE && o->kind != SG_CAV_LOGISTIC) || !(o->alpha > 0 && o->alpha < 1e6) ||
        o->n_epochs < 1 || !(o->held_out >= 0 && o->held_out < 1))
        return sg_fail(err, SG_EARG, "tcav: penalty %g, %d epochs, a share of %g held out", o->alpha, o->n_epochs,
                       o->held_out);
    return SG_OK;
}

/* v += sum a_i x_i over the rows that lie in p. */
static void add_direction(float *v, const products *p, const fit *t)
{
    for (sg_dim i = 0; i < t->n; i++)
        for (sg_dim d = 0; d < p->width; d++)
            v[d] += (float)t->a[i] * p->both[i * p->width + d];
}

static void make_unit(float *v, sg_dim width)
{
    double squares = 0;
    for (sg_dim d = 0; d < width; d++)
        squares += (double)v[d] * (double)v[d];
    for (sg_dim d = 0; d < width && squares > 0; d++)
        v[d] = (float)((double)v[d] / sqrt(squares));
}

sg_status sg_cav_fit(sg_cav **out, sg_dim width, const sg_tcav_set *concept, const sg_tcav_set *against,
                     const sg_cav_opts *opts, sg_error *err)
{
    const sg_dim m = SG_MIN(concept->n, against->n);
    const float *gram, *slopes;
    products p = {0};
    fit t = {0};
    *out = NULL;
    SG_TRY(check(opts, err));
    if (m < 2 || m > 1 << 15 || width < 1)
        return sg_fail(err, SG_EARG, "tcav: %lld rows of %s against %lld of %s, wanted 2 to 32768 of each",
                       (long long)concept->n, concept->name, (long long)against->n, against->name);
    sg_cav *c = calloc(1, sizeof *c);
    if (!c || !(c->v = calloc((size_t)width, sizeof *c->v))) {
        free(c);
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory");
    }
    sg_status status = fit_new(&t, m, err);
    if (status == SG_OK)
        status = products_open(&p, width, m, opts->exec, err);
    if (status == SG_OK)
        status = multiply(&p, concept->acts, against->acts, m, NULL, 0, &gram, &slopes, err);
    if (status == SG_OK)
        status = classify(&t, gram, opts, opts->seed, err);
    if (status == SG_OK) {
        add_direction(c->v, &p, &t);
        make_unit(c->v, width);
        c->width = width;
        c->bias = t.bias;
        c->accuracy = t.accuracy;
        c->n_each = m;
        *out = c;
    } else {
        sg_cav_free(c);
    }
    products_close(&p);
    fit_free(&t);
    return status;
}

void sg_cav_free(sg_cav *c)
{
    if (!c)
        return;
    free(c->v);
    free(c);
}

static double dot(sg_dim n, const float *a, const float *b)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

double sg_cav_cosine(const sg_cav *a, const sg_cav *b)
{
    return a->width == b->width ? dot(a->width, a->v, b->v) : nan("");
}

sg_status sg_cav_sort(sg_dim *order, double *projection, const sg_cav *c, const sg_tcav_set *set, sg_error *err)
{
    double *along = projection ? projection : calloc((size_t)SG_MAX(set->n, 1), sizeof *along);
    if (!along)
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory");
    for (sg_dim i = 0; i < set->n; i++)
        along[i] = dot(c->width, c->v, set->acts + i * c->width);
    const sg_status status = sg_stats_order(order, set->n, along, true, err);
    if (!projection)
        free(along);
    return status;
}

void sg_cav_sensitivities(double *out, const sg_cav *c, sg_dim n, const float *gradients)
{
    for (sg_dim i = 0; i < n; i++)
        out[i] = dot(c->width, c->v, gradients + i * c->width);
}

double sg_cav_score(sg_dim n, const double *s)
{
    sg_dim above = 0;
    for (sg_dim i = 0; i < n; i++)
        above += s[i] > 0;
    return n > 0 ? (double)above / (double)n : nan("");
}

double sg_cav_weighted_score(sg_dim n, const double *s)
{
    double above = 0, all = 0;
    for (sg_dim i = 0; i < n; i++) {
        above += SG_MAX(s[i], 0);
        all += sg_math_abs(s[i]);
    }
    return all > 0 ? above / all : nan("");
}

/* ---- the test ---- */

typedef struct owned {
    sg_tcav_result face;
    sg_arena *arena;
} owned;

typedef struct work {
    const sg_tcav_job *job;
    owned *o;
    products p;
    fit t;
    double *s, *above; /* [n_class] sensitivities of a repeat; repeats in which an image's was above 0 */
    int done;
} work;

/* One repeat: the score in *score; sums are the concept's, or NULL. */
static sg_status repeat(work *w, const float *positive, const float *negative, uint64_t seed, double *score,
                        sg_tcav_concept *sums, sg_error *err)
{
    const sg_tcav_job *j = w->job;
    const float *gram, *slopes;
    if (j->cancel && *j->cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped at repeat %d", w->done);
    SG_TRY(multiply(&w->p, positive, negative, j->set_size, j->gradients, j->n_class, &gram, &slopes, err));
    SG_TRY(classify(&w->t, gram, &j->cav, seed, err));
    for (sg_dim i = 0; i < j->n_class; i++) {
        w->s[i] = 0;
        for (sg_dim k = 0; k < w->t.n; k++)
            w->s[i] += w->t.a[k] * (double)slopes[i * w->t.n + k];
    }
    *score = sg_cav_score(j->n_class, w->s);
    if (sums) {
        sums->score += *score;
        sums->weighted += sg_cav_weighted_score(j->n_class, w->s);
        sums->accuracy += w->t.accuracy;
        sums->n_flagged += w->t.accuracy < SG_CAV_LEAST_ACCURACY;
        for (sg_dim i = 0; i < j->n_class; i++) {
            sums->sensitivity += w->s[i] / (double)j->n_class;
            w->above[i] += w->s[i] > 0;
        }
        add_direction(sums->v, &w->p, &w->t);
    }
    w->done++;
    if (j->progress)
        j->progress(j->context, (double)w->done / ((double)(j->n_concepts + 1) * w->o->face.n_repeats));
    return SG_OK;
}

/* The pool's set number k. */
static const float *random_set(const sg_tcav_job *j, int k)
{
    return j->random.acts + (sg_dim)k * j->set_size * j->width;
}

static sg_status test_concept(work *w, int c, sg_error *err)
{
    const sg_tcav_job *j = w->job;
    const int n = w->o->face.n_repeats;
    sg_tcav_concept *r = &w->o->face.concepts[c];
    const sg_tcav_set *set = &j->concepts[c];
    r->name = set->name;
    r->fresh = set->n >= n * j->set_size;
    r->scores = sg_arena_array(w->o->arena, (size_t)n, sizeof *r->scores);
    r->v = sg_arena_array(w->o->arena, (size_t)j->width, sizeof *r->v);
    if (!r->scores || !r->v)
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory");
    memset(w->above, 0, (size_t)j->n_class * sizeof *w->above);
    for (int k = 0; k < n; k++) {
        const float *own = set->acts + (r->fresh ? (sg_dim)k * j->set_size * j->width : 0);
        SG_TRY(repeat(w, own, random_set(j, k), j->cav.seed + (uint64_t)k, &r->scores[k], r, err));
    }
    r->score /= n;
    r->weighted /= n;
    r->accuracy /= n;
    r->sensitivity /= n;
    make_unit(r->v, j->width);
    for (sg_dim i = 0; i < j->n_class; i++)
        w->above[i] /= n;
    sg_bootstrap_opts b = sg_bootstrap_defaults();
    sg_interval interval;
    b.n_resamples = j->n_resamples;
    b.seed = j->cav.seed;
    SG_TRY(sg_bootstrap_ratio(&interval, j->n_class, w->above, NULL, b, err));
    r->low = interval.low;
    r->high = interval.high;
    r->p = sg_test_welch(n, r->scores, n, w->o->face.random_scores).p;
    r->corrected_p = sg_test_bonferroni(r->p, SG_MAX(j->n_tests, j->n_concepts));
    r->significant = r->corrected_p < j->level;
    return SG_OK;
}

static sg_status all(work *w, sg_error *err)
{
    const sg_tcav_job *j = w->job;
    sg_tcav_result *f = &w->o->face;
    SG_TRY(fit_new(&w->t, j->set_size, err));
    SG_TRY(products_open(&w->p, j->width, j->set_size, j->cav.exec, err));
    const int n = f->n_repeats;
    f->concepts = sg_arena_array(w->o->arena, (size_t)SG_MAX(j->n_concepts, 1), sizeof *f->concepts);
    f->random_scores = sg_arena_array(w->o->arena, (size_t)n, sizeof *f->random_scores);
    f->cosines = sg_arena_array(w->o->arena, (size_t)(j->n_concepts * j->n_concepts) + 1, sizeof *f->cosines);
    w->s = sg_arena_array(w->o->arena, (size_t)j->n_class, sizeof *w->s);
    w->above = sg_arena_array(w->o->arena, (size_t)j->n_class, sizeof *w->above);
    if (!f->concepts || !f->random_scores || !f->cosines || !w->s || !w->above)
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory for %lld images", (long long)j->n_class);
    f->random_low = (double)INFINITY;
    f->random_high = -(double)INFINITY;
    for (int k = 0; k < n; k++) {
        double *score = &f->random_scores[k];
        SG_TRY(repeat(w, random_set(j, n + 2 * k), random_set(j, n + 2 * k + 1), j->cav.seed + (uint64_t)(n + k), score,
                      NULL, err));
        f->random_score += *score / n;
        f->random_low = SG_MIN(f->random_low, *score);
        f->random_high = SG_MAX(f->random_high, *score);
    }
    for (int c = 0; c < j->n_concepts; c++)
        SG_TRY(test_concept(w, c, err));
    for (int a = 0; a < j->n_concepts; a++)
        for (int b = 0; b < j->n_concepts; b++)
            f->cosines[a * j->n_concepts + b] = dot(j->width, f->concepts[a].v, f->concepts[b].v);
    return SG_OK;
}

static sg_status check_job(const sg_tcav_job *j, int *n_repeats, sg_error *err)
{
    SG_TRY(check(&j->cav, err));
    if (j->width < 1 || j->n_class < 1 || j->set_size < 2 || j->set_size > 1 << 15 || j->n_repeats < 2 ||
        j->n_repeats > 100000 || j->n_concepts < 0 || !(j->level > 0 && j->level < 1) || j->n_resamples < 1)
        return sg_fail(err, SG_EARG, "tcav: %lld class images, sets of %lld rows, %d repeats", (long long)j->n_class,
                       (long long)j->set_size, j->n_repeats);
    *n_repeats = (int)SG_MIN((sg_dim)j->n_repeats, j->random.n / j->set_size / 3);
    if (*n_repeats < 2)
        return sg_fail(
            err, SG_EARG,
            "tcav: %lld random inputs give %lld sets of %lld that do not overlap; two repeats want 6 sets, %lld inputs",
            (long long)j->random.n, (long long)(j->random.n / j->set_size), (long long)j->set_size,
            (long long)(6 * j->set_size));
    for (int c = 0; c < j->n_concepts; c++)
        if (j->concepts[c].n < j->set_size)
            return sg_fail(err, SG_EARG, "tcav: %s has %lld inputs, sets are of %lld", j->concepts[c].name,
                           (long long)j->concepts[c].n, (long long)j->set_size);
    return SG_OK;
}

sg_status sg_tcav_test(sg_tcav_result **out, const sg_tcav_job *job, sg_error *err)
{
    int n_repeats = 0;
    *out = NULL;
    SG_TRY(check_job(job, &n_repeats, err));
    sg_arena *arena = sg_arena_new();
    owned *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    if (!o) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "tcav: out of memory");
    }
    o->arena = arena;
    o->face.n_concepts = job->n_concepts;
    o->face.n_repeats = n_repeats;
    work w = {.job = job, .o = o};
    const sg_status status = all(&w, err);
    products_close(&w.p);
    fit_free(&w.t);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_tcav_free(sg_tcav_result *r)
{
    if (r)
        sg_arena_free(((owned *)r)->arena);
}
