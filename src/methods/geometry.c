/* The dictionary of low coherence is a variable of a graph: atoms are brought to length 1, and the logarithm of the sum
 * of exp(sharp cos^2) over pairs is lowered by Adam, sharper and sharper, until it is the greatest |cosine| alone. */
#include "sightglass/geometry.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/linalg.h"
#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { STREAM_OF_GAUSSIAN = 1, STREAM_OF_START };

sg_dict_geometry_opts sg_dict_geometry_defaults(void)
{
    return (sg_dict_geometry_opts){.most = 512, .most_rows = 4096, .n_steps = 300, .exec = sg_exec_defaults()};
}

double sg_hoyer(sg_dim n, const double *z)
{
    double sum = 0, squares = 0;
    for (sg_dim i = 0; i < n; i++) {
        sum += fabs(z[i]);
        squares += z[i] * z[i];
    }
    if (n < 2 || !(squares > 0))
        return (double)NAN;
    const double root = sqrt((double)n);
    return (root - sum / sqrt(squares)) / (root - 1);
}

/* The struct leads an arena that holds the rest. */
typedef struct owned {
    sg_dict_geometry face;
    sg_arena *arena;
} owned;

typedef struct work {
    sg_dict_geometry *g;
    sg_arena *arena, *scratch;
    const sg_dict_geometry_opts *opts;
    sg_error *err;
    sg_dim n, m, d; /* rows of codes, atoms, width */
    double *atoms;  /* [m,d] of length 1 */
    double *codes;  /* [n,m]; NULL: none */
    double *rows;   /* [n,d] what the codes make */
    sg_dim k;       /* codes of a row that are not 0, on average */
    double *other;  /* [m,d] the dictionary that is looked at now */
    double *other_codes;
    double *gram, *together; /* [m,m] */
    double *list, *list2;    /* [m (m - 1) / 2] */
} work;

static double *numbers(work *w, sg_arena *arena, sg_dim count)
{
    double *x = sg_arena_array(arena, (size_t)SG_MAX(count, 1), sizeof *x);
    if (!x)
        (void)sg_fail(w->err, SG_ENOMEM, "geometry: out of memory for %" PRId64 " numbers", count);
    return x;
}

static sg_tensor matrix(sg_dim m, sg_dim n, const double *x)
{
    return sg_tensor_of(SG_F64, 2, (sg_dim[]){m, n}, (void *)(uintptr_t)x);
}

static void scale_to_one(double *x, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (sg_dim i = 0; i < n && sum > 0; i++)
        x[i] /= sqrt(sum);
}

/* ---- which atoms ---- */

typedef struct ranked {
    double energy;
    int32_t atom;
} ranked;

static int more_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->energy != y->energy ? (x->energy < y->energy) - (x->energy > y->energy)
                                  : (x->atom > y->atom) - (x->atom < y->atom);
}

static sg_status load(work *w, const sg_tensor *atoms, const sg_tensor *codes)
{
    const sg_dim all = atoms->dims[0];
    ranked *order = sg_arena_array(w->scratch, (size_t)all, sizeof *order);
    if (!order)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory for %" PRId64 " atoms", all);
    w->n = codes ? SG_MIN(codes->dims[0], w->opts->most_rows) : 0;
    for (sg_dim i = 0; i < all; i++)
        order[i].atom = (int32_t)i;
    for (sg_dim i = 0; codes && i < w->n * all; i++) {
        const double z = sg_tensor_get(codes, i);
        if (!isfinite(z))
            return sg_fail(w->err, SG_ENUMERIC, "geometry: element %" PRId64 " of the codes is not finite", i);
        order[i % all].energy += z * z;
    }
    sg_dim kept = 0;
    for (sg_dim i = 0; i < all; i++) {
        double squares = 0;
        for (sg_dim j = 0; j < w->d; j++)
            squares += sg_tensor_get(atoms, i * w->d + j) * sg_tensor_get(atoms, i * w->d + j);
        if (!isfinite(squares))
            return sg_fail(w->err, SG_ENUMERIC, "geometry: atom %" PRId64 " is not finite", i);
        order[i].energy *= squares;
        if (squares > 0 && (!codes || order[i].energy > 0))
            order[kept++] = order[i];
    }
    w->g->n_dead = all - kept;
    qsort(order, (size_t)kept, sizeof *order, more_first);
    w->m = SG_MIN(kept, w->opts->most);
    if (w->m < 3)
        return sg_fail(w->err, SG_EARG, "geometry: %" PRId64 " atoms that fire and have a length, wanted at least 3",
                       w->m);
    w->atoms = numbers(w, w->scratch, w->m * w->d);
    w->other = numbers(w, w->scratch, w->m * w->d);
    w->gram = numbers(w, w->scratch, w->m * w->m);
    w->together = numbers(w, w->scratch, w->m * w->m);
    w->list = numbers(w, w->scratch, w->m * (w->m - 1) / 2);
    w->list2 = numbers(w, w->scratch, w->m * (w->m - 1) / 2);
    w->g->atom = sg_arena_array(w->arena, (size_t)w->m, sizeof *w->g->atom);
    if (!w->atoms || !w->other || !w->gram || !w->together || !w->list || !w->list2 || !w->g->atom)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory for %" PRId64 " atoms", w->m);
    for (sg_dim i = 0; i < w->m; i++) {
        w->g->atom[i] = order[i].atom;
        for (sg_dim j = 0; j < w->d; j++)
            w->atoms[i * w->d + j] = sg_tensor_get(atoms, order[i].atom * w->d + j);
    }
    if (codes) { /* rows are what codes make of atoms as they are, before those are brought to length 1 */
        w->codes = numbers(w, w->scratch, w->n * w->m);
        w->other_codes = numbers(w, w->scratch, w->n * w->m);
        w->rows = numbers(w, w->scratch, w->n * w->d);
        if (!w->codes || !w->other_codes || !w->rows)
            return SG_ENOMEM;
        double active = 0;
        for (sg_dim i = 0; i < w->n * w->m; i++) {
            w->codes[i] = sg_tensor_get(codes, i / w->m * all + w->g->atom[i % w->m]);
            active += w->codes[i] != 0;
        }
        w->k = SG_MAX((sg_dim)(active / (double)SG_MAX(w->n, 1) + .5), 1);
        const sg_tensor z = matrix(w->n, w->m, w->codes), a = matrix(w->m, w->d, w->atoms),
                        x = matrix(w->n, w->d, w->rows);
        SG_TRY(sg_product(&x, &z, false, &a, false, 1, 0, w->err));
    }
    for (sg_dim i = 0; i < w->m; i++)
        scale_to_one(w->atoms + i * w->d, w->d);
    w->g->n_atoms = w->m;
    w->g->width = w->d;
    w->g->welch = w->m > w->d ? sqrt((double)(w->m - w->d) / ((double)w->d * (double)(w->m - 1))) : 0;
    return SG_OK;
}

/* ---- the numbers of one dictionary ---- */

static int greater_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->energy != y->energy ? (x->energy < y->energy) - (x->energy > y->energy)
                                  : (x->atom > y->atom) - (x->atom < y->atom);
}

/* Codes of another dictionary: the k greatest products of each row that are above 0. */
static sg_status encode(work *w, const double *atoms)
{
    const sg_tensor x = matrix(w->n, w->d, w->rows), a = matrix(w->m, w->d, atoms),
                    z = matrix(w->n, w->m, w->other_codes);
    ranked *order = malloc((size_t)w->m * sizeof *order);
    if (!order)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    const sg_status status = sg_product(&z, &x, false, &a, true, 1, 0, w->err);
    for (sg_dim i = 0; status == SG_OK && i < w->n; i++) {
        double *row = w->other_codes + i * w->m;
        for (sg_dim j = 0; j < w->m; j++)
            order[j] = (ranked){row[j], (int32_t)j};
        qsort(order, (size_t)w->m, sizeof *order, greater_first);
        for (sg_dim j = 0; j < w->m; j++)
            if (j >= w->k || order[j].energy < 0)
                row[order[j].atom] = 0;
    }
    free(order);
    return status;
}

static sg_status with_codes(work *w, sg_dict_geometry_numbers *to, const double *codes)
{
    const sg_tensor z = matrix(w->n, w->m, codes), both = matrix(w->m, w->m, w->together);
    SG_TRY(sg_product(&both, &z, true, &z, false, 1, 0, w->err));
    sg_dim count = 0;
    for (sg_dim i = 0; i < w->m; i++)
        for (sg_dim j = 0; j < i; j++) {
            const double own = w->together[i * w->m + i] * w->together[j * w->m + j];
            w->list[count] = own > 0 ? w->together[i * w->m + j] / sqrt(own) : 0;
            w->list2[count++] = w->gram[i * w->m + j];
        }
    SG_TRY(sg_stats_spearman(&to->together, count, w->list, w->list2, w->err));
    double sum = 0, rows = 0;
    for (sg_dim i = 0; i < w->n; i++) {
        const double h = sg_hoyer(w->m, codes + i * w->m);
        sum += isfinite(h) ? h : 0;
        rows += isfinite(h);
    }
    to->hoyer = rows > 0 ? sum / rows : (double)NAN;
    return SG_OK;
}

static sg_status measure(work *w, sg_dict_geometry_of which, const double *atoms)
{
    sg_dict_geometry_numbers *to = &w->g->of[which];
    const sg_tensor a = matrix(w->m, w->d, atoms), gram = matrix(w->m, w->m, w->gram);
    SG_TRY(sg_product(&gram, &a, false, &a, true, 1, 0, w->err));
    const double pairs = (double)w->m * (double)(w->m - 1) / 2;
    double squares = 0;
    sg_dim count = 0;
    for (sg_dim i = 0; i < w->m; i++) {
        double most = 0;
        for (sg_dim j = 0; j < w->m; j++) {
            const double c = w->gram[i * w->m + j];
            if (j != i)
                most = fmax(most, fabs(c));
            if (j >= i)
                continue;
            const int bin = (int)((c + 1) / 2 * SG_DICT_GEOMETRY_BINS);
            w->g->histogram[which][SG_MAX(SG_MIN(bin, SG_DICT_GEOMETRY_BINS - 1), 0)] += 1 / pairs;
            w->list[count++] = fabs(c);
            squares += c * c;
            to->antipodal += (c < SG_ANTIPODAL) * 1000.0 / (double)w->m;
        }
        to->nearest += most / (double)w->m;
        to->coherence = fmax(to->coherence, most);
    }
    sg_stats_sort(count, w->list);
    to->tail = sg_stats_quantile(count, w->list, .99);
    to->rms = sqrt(squares / pairs);
    sg_svd *svd;
    SG_TRY(sg_svd_new(&svd, &a, SG_FACTORS_THIN, w->err));
    const sg_dim n = svd->s.dims[0];
    double whole = 0, entropy = 0;
    w->g->n_spectrum = n;
    w->g->spectrum[which] = numbers(w, w->arena, n);
    for (sg_dim i = 0; w->g->spectrum[which] && i < n; i++) {
        w->g->spectrum[which][i] = sg_tensor_get(&svd->s, i);
        whole += w->g->spectrum[which][i] * w->g->spectrum[which][i];
    }
    for (sg_dim i = 0; w->g->spectrum[which] && i < n; i++) {
        const double share = w->g->spectrum[which][i] * w->g->spectrum[which][i] / whole;
        entropy -= share > 0 ? share * sg_math_log(share) : 0;
    }
    sg_svd_free(svd);
    if (!w->g->spectrum[which])
        return SG_ENOMEM;
    to->effective_rank = sg_math_exp(entropy);
    to->together = to->hoyer = (double)NAN;
    if (!w->codes)
        return SG_OK;
    if (which == SG_DICT_GEOMETRY_OWN)
        return with_codes(w, to, w->codes);
    SG_TRY(encode(w, atoms));
    return with_codes(w, to, w->other_codes);
}

/* ---- low coherence ---- */

typedef struct descent {
    sg_graph *g;
    sg_state *state;
    sg_session *session;
    sg_value *atoms, *update, *sharp, *lr, *step;
} descent;

static sg_status build(descent *d, work *w)
{
    sg_graph *g = d->g = sg_graph_new();
    if (!g)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    const sg_dim dims[2] = {w->m, w->d};
    sg_value *a = sg_variable(g, "atoms", SG_F32, 2, dims, sg_init_normal(1)),
             *m = sg_variable(g, "m", SG_F32, 2, dims, sg_init_constant(0)),
             *v = sg_variable(g, "v", SG_F32, 2, dims, sg_init_constant(0));
    d->sharp = sg_input(g, "sharp", SG_F32, 0, NULL);
    d->lr = sg_input(g, "lr", SG_F32, 0, NULL);
    d->step = sg_input(g, "step", SG_F32, 0, NULL);
    sg_value *unit = sg_mul(g, a, sg_rsqrt(g, sg_sum(g, sg_square(g, a), 1, true)));
    sg_value *places = sg_iota(g, SG_I32, w->m);
    sg_value *same = sg_equal(g, sg_expand(g, places, 1), places);
    sg_value *squared = sg_square(g, sg_matmul(g, unit, unit, false, true));
    squared = sg_where(g, same, sg_scalar(g, SG_F32, 0), squared);
    squared = sg_reshape(g, sg_mul(g, squared, d->sharp), 1, (sg_dim[]){w->m * w->m});
    sg_value *loss = sg_div(g, sg_logsumexp(g, squared, 0, false), d->sharp);
    d->update = sg_adam(g, a, m, v, sg_grad(g, loss, a), d->lr, d->step, sg_adam_defaults());
    d->atoms = a;
    SG_TRY(sg_graph_status(g, w->err));
    SG_TRY(sg_state_new(&d->state, g, w->err));
    SG_TRY(sg_state_init(d->state, w->opts->seed + STREAM_OF_START, w->err));
    return sg_session_new(&d->session, g, d->state, w->opts->exec, w->err);
}

static sg_status descend(descent *d, work *w)
{
    SG_TRY(build(d, w));
    for (int i = 0; i < w->opts->n_steps; i++) {
        const double done = (double)i / w->opts->n_steps;
        float sharp = (float)(20 * sg_math_pow(100, done)), lr = (float)(.05 * (1 - done)), step = (float)(i + 1);
        const sg_feed feeds[3] = {{d->sharp, sg_tensor_of(SG_F32, 0, NULL, &sharp)},
                                  {d->lr, sg_tensor_of(SG_F32, 0, NULL, &lr)},
                                  {d->step, sg_tensor_of(SG_F32, 0, NULL, &step)}};
        sg_tensor got;
        if (w->opts->cancel && *w->opts->cancel)
            return sg_fail(w->err, SG_ECANCELLED, "geometry: stopped");
        SG_TRY(sg_session_run(d->session, 3, feeds, 1, &d->update, &got, w->err));
        if (w->opts->progress)
            w->opts->progress(w->opts->context, .1 + .8 * done);
    }
    SG_TRY(sg_state_fetch(d->state, w->err));
    const sg_tensor *a = sg_state_tensor(d->state, d->atoms);
    sg_convert(w->other, SG_F64, a->data, a->dtype, w->m * w->d);
    return SG_OK;
}

static sg_status low_coherence(work *w)
{
    descent d = {0};
    const sg_status status = descend(&d, w);
    sg_session_free(d.session);
    sg_state_free(d.state);
    sg_graph_free(d.g);
    SG_TRY(status);
    w->g->low = sg_arena_array(w->arena, (size_t)(w->m * w->d), sizeof(float));
    if (!w->g->low)
        return sg_fail(w->err, SG_ENOMEM, "geometry: out of memory");
    for (sg_dim i = 0; i < w->m; i++)
        scale_to_one(w->other + i * w->d, w->d);
    for (sg_dim i = 0; i < w->m * w->d; i++)
        w->g->low[i] = (float)w->other[i];
    return SG_OK;
}

/* ---- all of it ---- */

static sg_status run(work *w, const sg_tensor *atoms, const sg_tensor *codes)
{
    SG_TRY(load(w, atoms, codes));
    SG_TRY(measure(w, SG_DICT_GEOMETRY_OWN, w->atoms));
    sg_rng r = sg_rng_new(w->opts->seed, STREAM_OF_GAUSSIAN);
    for (sg_dim i = 0; i < w->m * w->d; i++)
        w->other[i] = sg_rng_normal(&r);
    for (sg_dim i = 0; i < w->m; i++)
        scale_to_one(w->other + i * w->d, w->d);
    SG_TRY(measure(w, SG_DICT_GEOMETRY_GAUSSIAN, w->other));
    SG_TRY(low_coherence(w));
    return measure(w, SG_DICT_GEOMETRY_LOW, w->other);
}

sg_status sg_dict_geometry_new(sg_dict_geometry **out, const sg_tensor *atoms, const sg_tensor *codes,
                               sg_dict_geometry_opts opts, sg_error *err)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
    *out = NULL;
    if (atoms->n_dims != 2 || !sg_dtype_is_float(atoms->dtype) || atoms->dims[1] < 1 || atoms->dims[0] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "geometry: atoms are %s%s, wanted floats [M,D]", sg_dtype_name(atoms->dtype),
                       sg_shape_text(a, atoms->n_dims, atoms->dims));
    if (codes && (codes->n_dims != 2 || codes->dims[1] != atoms->dims[0] || !sg_dtype_is_float(codes->dtype)))
        return sg_fail(err, SG_ESHAPE, "geometry: codes are %s, wanted a column for each of the atoms %s",
                       sg_shape_text(b, codes->n_dims, codes->dims), sg_shape_text(a, atoms->n_dims, atoms->dims));
    if (opts.most < 3 || opts.most > 8192 || opts.most_rows < 1 || opts.n_steps < 1)
        return sg_fail(err, SG_EARG,
                       "geometry: at most %" PRId64 " atoms of %" PRId64 " rows in %d steps makes no sense", opts.most,
                       opts.most_rows, opts.n_steps);
    sg_arena *arena = sg_arena_new(), *scratch = sg_arena_new();
    owned *o = arena && scratch ? sg_arena_alloc(arena, sizeof *o) : NULL;
    sg_status status = o ? SG_OK : sg_fail(err, SG_ENOMEM, "geometry: out of memory");
    if (status == SG_OK) {
        o->arena = arena;
        work w = {.g = &o->face, .arena = arena, .scratch = scratch, .opts = &opts, .err = err, .d = atoms->dims[1]};
        status = run(&w, atoms, codes);
    }
    sg_arena_free(scratch);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_dict_geometry_free(sg_dict_geometry *g)
{
    if (g)
        sg_arena_free(((owned *)g)->arena);
}

/* ---- which atoms a task uses ---- */

typedef struct owned_use {
    sg_task_use face;
    sg_arena *arena;
} owned_use;

sg_status sg_task_use_new(sg_task_use **out, const sg_tensor *atoms, const sg_tensor *codes, const double *w,
                          const bool *mask, sg_error *err)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];
    *out = NULL;
    if (atoms->n_dims != 2 || codes->n_dims != 2 || codes->dims[1] != atoms->dims[0])
        return sg_fail(err, SG_ESHAPE, "task use: codes %s and atoms %s, wanted [N,M] and [M,D]",
                       sg_shape_text(a, codes->n_dims, codes->dims), sg_shape_text(b, atoms->n_dims, atoms->dims));
    const sg_dim n = codes->dims[0], m = atoms->dims[0], d = atoms->dims[1];
    sg_arena *arena = sg_arena_new();
    owned_use *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;
    double *list[4] = {NULL};
    for (int i = 0; i < 4 && o; i++)
        list[i] = sg_arena_array(arena, (size_t)SG_MAX(m, 1), sizeof(double));
    if (!list[0] || !list[1] || !list[2] || !list[3]) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "task use: out of memory for %" PRId64 " atoms", m);
    }
    *o = (owned_use){.face = {.n = m, .use = list[0], .on = list[1], .off = list[2], .elsewhere = list[3]},
                     .arena = arena};
    sg_dim n_on = 0;
    for (sg_dim i = 0; i < n; i++)
        n_on += mask && mask[i];
    for (sg_dim i = 0; i < m; i++) {
        double on = 0, off = 0, read = 0;
        for (sg_dim j = 0; j < d; j++)
            read += sg_tensor_get(atoms, i * d + j) * w[j];
        for (sg_dim r = 0; r < n; r++)
            *(mask && mask[r] ? &on : &off) += sg_tensor_get(codes, r * m + i);
        o->face.use[i] = n ? (on + off) / (double)n * read : 0;
        on = n_on ? on / (double)n_on : (double)NAN;
        off = mask && n > n_on ? off / (double)(n - n_on) : (double)NAN;
        o->face.on[i] = on * read;
        o->face.off[i] = off * read;
        o->face.elsewhere[i] = o->face.use[i] > 0 && on > 0 ? off / on : (double)NAN;
    }
    *out = &o->face;
    return SG_OK;
}

void sg_task_use_free(sg_task_use *u)
{
    if (u)
        sg_arena_free(((owned_use *)u)->arena);
}
