/* What a dictionary is like on rows, and how it compares: with another, with directions of a classifier, with
 * generators that are known. Sums are double; cosines are of atoms as they are, through one product. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/dictionary_internal.h"
#include "sightglass/assignment.h"
#include "sightglass/linalg.h"

enum { ROWS = 2048, STREAM_NULL = 0x6e756c };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
}

/* Rows over their lengths; a row without one stays 0. By malloc. */
static float *units(const sg_tensor *t)
{
    const sg_dim n = t->dims[0], width = t->dims[1];
    float *out = malloc((size_t)(n * width) * sizeof *out + 1);

    for (sg_dim i = 0; i < n && out; i++) {
        const float *row = (const float *)t->data + i * width;
        const double length = dict_length(row, width);
        for (sg_dim d = 0; d < width; d++)
            out[i * width + d] = (float)(length > 0 ? (double)row[d] / length : 0);
    }
    return out;
}

/* Cosines [A,B] of the rows of a and b, by malloc. */
static sg_status cosines(float **out, const sg_tensor *a, const sg_tensor *b, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];

    *out = NULL;
    if (a->dtype != SG_F32 || b->dtype != SG_F32 || a->n_dims != 2 || b->n_dims != 2 || a->dims[1] != b->dims[1])
        return sg_fail(err, SG_ESHAPE, "dictionary: atoms %s and %s, rows of f32 of one width were wanted",
                       sg_shape_text(one, a->n_dims, a->dims), sg_shape_text(other, b->n_dims, b->dims));
    float *x = units(a), *y = units(b);
    *out = malloc((size_t)(a->dims[0] * b->dims[0]) * sizeof **out + 1);
    sg_status status = x && y && *out ? SG_OK : no_memory(err);
    if (status == SG_OK) {
        const sg_tensor left = sg_tensor_of(SG_F32, 2, a->dims, x), right = sg_tensor_of(SG_F32, 2, b->dims, y),
                        to = sg_tensor_of(SG_F32, 2, (sg_dim[]){a->dims[0], b->dims[0]}, *out);
        status = sg_product(&to, &left, false, &right, true, 1, 0, err);
    }
    free(x);
    free(y);
    if (status != SG_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- reports ---- */

typedef struct report {
    sg_dict_report face; /* first: what is handed out */
    sg_arena *arena;
    double *energy, *firing;
} report;

static sg_status look_at_atoms(sg_dict_report *r, const sg_dict *d, sg_error *err)
{
    float *cosine;
    sg_svd *svd;
    double sum = 0, entropy = 0;

    SG_TRY(cosines(&cosine, &d->dec, &d->dec, err));
    r->max_cosine = d->m > 1 ? -1 : 0;
    for (sg_dim i = 0; i < d->m; i++) {
        double most = -1;
        for (sg_dim j = 0; j < d->m; j++)
            if (i != j)
                most = fmax(most, (double)cosine[i * d->m + j]);
        r->max_cosine = fmax(r->max_cosine, d->m > 1 ? most : 0);
        r->mean_max_cosine += (d->m > 1 ? most : 0) / (double)d->m;
    }
    free(cosine);
    SG_TRY(sg_svd_new(&svd, &d->dec, SG_FACTORS_THIN, err));
    for (sg_dim i = 0; i < svd->s.dims[0]; i++)
        sum += sg_tensor_get(&svd->s, i);
    for (sg_dim i = 0; i < svd->s.dims[0]; i++) {
        const double p = sum > 0 ? sg_tensor_get(&svd->s, i) / sum : 0;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    r->effective_rank = exp(entropy);
    sg_svd_free(svd);
    return SG_OK;
}

typedef struct sums {
    double sse, squares, *mean; /* over rows; [D] */
    double codes;
    float *rows;
} sums;

static void add(report *r, sums *s, const sg_dict *d, const sg_tensor *codes, const sg_tensor *recons)
{
    const float *z = codes->data, *out = recons->data;

    for (sg_dim i = 0; i < codes->dims[0]; i++) {
        for (sg_dim c = 0; c < d->d; c++) {
            const double x = (double)s->rows[i * d->d + c], off = x - (double)out[i * d->d + c];
            s->sse += off * off;
            s->squares += x * x;
            s->mean[c] += x;
        }
        for (sg_dim j = 0; j < d->m; j++) {
            const double own = (double)z[i * d->m + j];
            s->codes += own != 0;
            r->firing[j] += own != 0;
            r->energy[j] += own * own;
        }
    }
}

static sg_status run_report(report *r, sums *s, const sg_dict *d, const sg_dict_data *data, sg_exec_opts exec,
                            sg_error *err)
{
    sg_dict_coder *c;
    sg_status status = SG_OK;

    SG_TRY(sg_dict_coder_new(&c, d, exec, err));
    for (sg_dim i = 0; i < r->face.n_rows && status == SG_OK; i += ROWS) {
        const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){SG_MIN(ROWS, r->face.n_rows - i), d->d}, s->rows);
        sg_tensor codes, recons;
        status = data->read(data->self, i, x.dims[0], s->rows, err);
        if (status == SG_OK)
            status = sg_dict_coder_run(c, &x, &codes, &recons, err);
        if (status == SG_OK)
            add(r, s, d, &codes, &recons);
    }
    sg_dict_coder_free(c);
    return status;
}

static void finish(report *r, const sums *s, const sg_dict *d)
{
    const double n = (double)r->face.n_rows;
    double sst = s->squares;

    for (sg_dim c = 0; c < d->d; c++)
        sst -= s->mean[c] * s->mean[c] / n;
    r->face.r2 = sst > 0 ? 1 - s->sse / sst : (double)NAN;
    r->face.l0 = s->codes / n;
    for (sg_dim j = 0; j < d->m; j++) {
        const double length = dict_length((const float *)d->dec.data + j * d->d, d->d);
        r->firing[j] /= n;
        r->energy[j] *= length * length / n;
        r->face.dead += (r->firing[j] <= 0) / (double)d->m;
        r->face.dense += (r->firing[j] > 0.1) / (double)d->m;
        if (r->firing[j] > 0) {
            const int bin = (int)((log10(r->firing[j]) + 6) / 6 * SG_DICT_BINS);
            r->face.histogram[SG_MAX(0, SG_MIN(bin, SG_DICT_BINS - 1))]++;
        }
    }
    r->face.energy = r->energy;
    r->face.firing = r->firing;
}

sg_status sg_dict_report_new(sg_dict_report **out, const sg_dict *d, const sg_dict_data *data, sg_dim n_rows,
                             sg_exec_opts exec, sg_error *err)
{
    *out = NULL;
    if (data->width != d->d || n_rows < 1)
        return sg_fail(err, SG_ESHAPE,
                       "dictionary: it reads %" PRId64 " numbers, %" PRId64 " rows are %" PRId64 " wide", d->d, n_rows,
                       data->width);
    sg_arena *arena = sg_arena_new();
    report *r = arena ? sg_arena_alloc(arena, sizeof *r) : NULL;
    sums s = {0};
    if (r) {
        *r = (report){.face = {.n_rows = SG_MIN(n_rows, data->n_rows)}, .arena = arena};
        r->energy = sg_arena_array(arena, (size_t)d->m, sizeof *r->energy);
        r->firing = sg_arena_array(arena, (size_t)d->m, sizeof *r->firing);
        s.mean = sg_arena_array(arena, (size_t)d->d, sizeof *s.mean);
        s.rows = sg_arena_array(arena, (size_t)(ROWS * d->d), sizeof *s.rows);
    }
    sg_status status =
        r && r->energy && r->firing && s.mean && s.rows ? run_report(r, &s, d, data, exec, err) : no_memory(err);
    if (status == SG_OK) {
        finish(r, &s, d);
        status = look_at_atoms(&r->face, d, err);
    }
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = &r->face;
    return SG_OK;
}

void sg_dict_report_free(sg_dict_report *r)
{
    if (r)
        sg_arena_free(((report *)(void *)r)->arena);
}

/* ---- matching ---- */

static sg_status mean_matched(double *out, int32_t *pair, const float *cosine, sg_dim a, sg_dim b, bool absolute,
                              sg_error *err)
{
    float *worth = malloc((size_t)(a * b) * sizeof *worth + 1);
    double total;

    if (!worth)
        return no_memory(err);
    for (sg_dim i = 0; i < a * b; i++)
        worth[i] = absolute ? fabsf(cosine[i]) : cosine[i];
    const sg_tensor t = sg_tensor_of(SG_F32, 2, (sg_dim[]){a, b}, worth);
    const sg_status status = sg_assignment(pair, &total, &t, SG_GREATEST, err);
    *out = total / (double)SG_MAX(SG_MIN(a, b), 1);
    free(worth);
    return status;
}

/* The two means for random directions of these shapes. */
static sg_status null_of(double *plain, double *absolute, sg_dim a, sg_dim b, sg_dim width, uint64_t seed,
                         sg_error *err)
{
    float *x = malloc((size_t)(a * width) * sizeof *x + 1), *y = malloc((size_t)(b * width) * sizeof *y + 1);
    int32_t *pair = malloc((size_t)a * sizeof *pair + 1);
    sg_status status = x && y && pair ? SG_OK : no_memory(err);

    *plain = *absolute = 0;
    for (uint32_t i = 0; i < SG_DICT_NULLS && status == SG_OK; i++) {
        const sg_tensor one = sg_tensor_of(SG_F32, 2, (sg_dim[]){a, width}, x),
                        two = sg_tensor_of(SG_F32, 2, (sg_dim[]){b, width}, y);
        float *cosine;
        double found = 0, size = 0;
        dict_random_rows(x, a, width, seed, STREAM_NULL + 2 * i);
        dict_random_rows(y, b, width, seed, STREAM_NULL + 2 * i + 1);
        status = cosines(&cosine, &one, &two, err);
        if (status == SG_OK)
            status = mean_matched(&found, pair, cosine, a, b, false, err);
        if (status == SG_OK)
            status = mean_matched(&size, pair, cosine, a, b, true, err);
        *plain += found / SG_DICT_NULLS;
        *absolute += size / SG_DICT_NULLS;
        free(cosine);
    }
    free(x);
    free(y);
    free(pair);
    return status;
}

/* The pairs' cosines again, in double: a product in f32 chose them, but of equal atoms it would not say 1. */
static double of_pairs(sg_dict_match *m, const sg_tensor *a, const sg_tensor *b)
{
    const sg_dim width = a->dims[1];
    double sum = 0;

    for (sg_dim i = 0; i < a->dims[0]; i++) {
        m->cosine[i] = (double)NAN;
        if (m->pair[i] < 0)
            continue;
        const float *x = (const float *)a->data + i * width, *y = (const float *)b->data + m->pair[i] * width;
        double xy = 0, xx = 0, yy = 0;
        for (sg_dim d = 0; d < width; d++) {
            xy += (double)x[d] * (double)y[d];
            xx += (double)x[d] * (double)x[d];
            yy += (double)y[d] * (double)y[d];
        }
        m->cosine[i] = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
        sum += m->cosine[i];
    }
    return sum / (double)SG_MAX(SG_MIN(a->dims[0], b->dims[0]), 1);
}

sg_status sg_dict_match_new(sg_dict_match **out, const sg_tensor *atoms_a, const sg_tensor *atoms_b, uint64_t seed,
                            sg_error *err)
{
    float *cosine;

    *out = NULL;
    SG_TRY(cosines(&cosine, atoms_a, atoms_b, err));
    const sg_dim a = atoms_a->dims[0], b = atoms_b->dims[0];
    sg_dict_match *m = calloc(1, sizeof *m);
    if (m) {
        m->pair = calloc((size_t)a + 1, sizeof *m->pair);
        m->cosine = calloc((size_t)a + 1, sizeof *m->cosine);
    }
    sg_status status = m && m->pair && m->cosine ? SG_OK : no_memory(err);
    if (status == SG_OK)
        status = mean_matched(&m->absolute, m->pair, cosine, a, b, true, err);
    if (status == SG_OK)
        status = mean_matched(&m->stability, m->pair, cosine, a, b, false, err);
    if (status == SG_OK)
        m->stability = of_pairs(m, atoms_a, atoms_b);
    if (status == SG_OK)
        status = null_of(&m->null, &m->absolute_null, a, b, atoms_a->dims[1], seed, err);
    free(cosine);
    if (status != SG_OK) {
        sg_dict_match_free(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

void sg_dict_match_free(sg_dict_match *m)
{
    if (!m)
        return;
    free(m->pair);
    free(m->cosine);
    free(m);
}

/* ---- benchmarks ---- */

static sg_status nearest_atoms(double *out, const sg_tensor *directions, const sg_tensor *atoms, sg_error *err)
{
    float *cosine;

    SG_TRY(cosines(&cosine, directions, atoms, err));
    const sg_dim n = directions->dims[0], m = atoms->dims[0];
    *out = 0;
    for (sg_dim i = 0; i < n; i++) {
        double most = -1;
        for (sg_dim j = 0; j < m; j++)
            most = fmax(most, (double)cosine[i * m + j]);
        *out += most / (double)n;
    }
    free(cosine);
    return SG_OK;
}

sg_status sg_dict_plausibility(double *out, double *null, const sg_dict *d, const sg_tensor *directions, uint64_t seed,
                               sg_error *err)
{
    SG_TRY(nearest_atoms(out, directions, &d->dec, err));
    sg_tensor random = d->dec;
    random.data = malloc(sg_tensor_bytes(&random));
    if (!random.data)
        return no_memory(err);
    dict_random_rows(random.data, d->m, d->d, seed, STREAM_NULL);
    const sg_status status = nearest_atoms(null, directions, &random, err);
    free(random.data);
    return status;
}

static sg_status f1_of(double *out, const sg_dict *d, const sg_dict_match *m, const sg_tensor *x,
                       const sg_tensor *active, sg_error *err)
{
    const sg_dim n = x->dims[0], g = active->dims[1];
    float *codes = malloc((size_t)(n * d->m) * sizeof *codes + 1);

    if (!codes)
        return no_memory(err);
    const sg_status status = sg_dict_encode(codes, d, x, err);
    *out = 0;
    for (sg_dim k = 0; k < g && status == SG_OK; k++) {
        double both = 0, found = 0, truth = 0;
        for (sg_dim i = 0; i < n && m->pair[k] >= 0; i++) {
            const bool fires = codes[i * d->m + m->pair[k]] != 0, is = ((const float *)active->data)[i * g + k] != 0;
            both += fires && is;
            found += fires;
            truth += is;
        }
        *out += found + truth > 0 ? 2 * both / (found + truth) / (double)g : 0;
    }
    free(codes);
    return status;
}

sg_status sg_dict_identify(sg_dict_identified *out, const sg_dict *d, const sg_tensor *generators, const sg_tensor *x,
                           const sg_tensor *active, uint64_t seed, sg_error *err)
{
    sg_dict_match *m;
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];

    *out = (sg_dict_identified){.f1 = (double)NAN};
    SG_TRY(sg_dict_match_new(&m, generators, &d->dec, seed, err));
    const sg_dim g = generators->dims[0];
    out->null = m->null;
    for (sg_dim i = 0; i < g; i++) {
        const double own = m->pair[i] < 0 ? 0 : m->cosine[i];
        out->cosine += own / (double)g;
        out->recovered += (own >= 0.9) / (double)g;
    }
    sg_status status = SG_OK;
    if (x && (active->n_dims != 2 || active->dims[0] != x->dims[0] || active->dims[1] != g || active->dtype != SG_F32))
        status = sg_fail(err, SG_ESHAPE, "dictionary: %s is active in %s rows",
                         sg_shape_text(one, active->n_dims, active->dims), sg_shape_text(other, x->n_dims, x->dims));
    else if (x)
        status = f1_of(&out->f1, d, m, x, active, err);
    sg_dict_match_free(m);
    return status;
}
