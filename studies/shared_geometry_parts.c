/* The six models, and how alike two of them are. */
#include "shared_geometry_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sightglass/rng.h"
#include "sightglass/statistics.h"
#include "sightglass/table.h"

enum {
    FLOOR = 100 /* times in the text */,
    NEAREST = 10,
    AROUND = 48 /* a tenth, as 512 tokens have few */,
    PERMUTED = 5
};
enum { STREAM = 0x67656f70 };

static const char *const names[GEO_MODELS] = {"w64-1", "w64-2", "w64-3", "w96-1", "w128-1", "shuffled"};

const char *geo_name(int model)
{
    return names[model];
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void geo_tell(geo_study *s, const char *part, double done)
{
    if (s->part != part)
        s->began = now();
    s->part = part;
    if (!s->opts->progress)
        return;
    const double left = done > 0 ? (now() - s->began) * (1 - done) / done : 0;
    s->opts->progress(s->opts->context, &(sg_study_progress){part, done, left, (double)NAN});
}

static sg_status no_memory(const geo_study *s)
{
    return sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
}

/* ---- opening ---- */

static sg_status open_model(geo_study *s, int i)
{
    char own[1024], standard[64];
    sg_study_opts opts = *s->opts;
    snprintf(standard, sizeof standard, "shared-geometry/%s", names[i]);
    if (opts.model) {
        snprintf(own, sizeof own, "%s/%s", s->opts->model, names[i]);
        opts.model = own;
    }
    SG_TRY(sg_study_model(&s->model[i], &opts, standard, s->err));
    SG_TRY(sg_embedding_new(&s->table[i], s->model[i], false, s->err));
    if (s->table[i]->table.dims[0] != s->table[0]->table.dims[0])
        return sg_fail(s->err, SG_EARG, "%s: %lld tokens, and %s has %lld", names[i],
                       (long long)s->table[i]->table.dims[0], names[0], (long long)s->table[0]->table.dims[0]);
    return SG_OK;
}

static sg_status read_counts(geo_study *s)
{
    char path[1100];
    sg_table *t;
    /* Beside the first model's folder. */
    snprintf(path, sizeof path, "%.1000s/../counts.csv", sg_model_get_info(s->model[0])->path);
    SG_TRY(sg_table_open(&t, path, s->err));
    sg_status status = SG_OK;
    if (sg_table_n_rows(t) != s->n_vocab || sg_table_n_columns(t) < 2)
        status = sg_fail(s->err, SG_EFORMAT, "%s: wanted a token and its count in each of %lld rows", path,
                         (long long)s->n_vocab);
    for (sg_dim i = 0; status == SG_OK && i < s->n_vocab; i++)
        s->count[i] = sg_table_number(t, i, 1);
    sg_table_free(t);
    return status;
}

static sg_status choose_tokens(geo_study *s)
{
    sg_dim *order = malloc(sizeof *order * (size_t)s->n_vocab);
    if (!order)
        return no_memory(s);
    const sg_status status = sg_stats_order(order, s->n_vocab, s->count, false, s->err);
    for (sg_dim i = 0; status == SG_OK && i < s->n_vocab; i++)
        if (s->count[order[i]] >= FLOOR)
            s->ids[s->n++] = (int32_t)order[i];
    free(order);
    if (status == SG_OK && s->n < 2 * AROUND)
        return sg_fail(s->err, SG_EARG, "counts.csv: %lld tokens come %d times or more, wanted %d", (long long)s->n,
                       FLOOR, 2 * AROUND);
    return status;
}

sg_status geo_open(geo_study *s, const sg_study_opts *opts, sg_report *report, sg_error *err)
{
    *s = (geo_study){.opts = opts, .report = report, .err = err, .n_draws = opts->full ? 16 : 6};
    for (int i = 0; i < GEO_MODELS; i++)
        SG_TRY(open_model(s, i));
    s->n_vocab = s->table[0]->table.dims[0];
    s->count = calloc((size_t)s->n_vocab, sizeof *s->count);
    s->ids = malloc(sizeof *s->ids * (size_t)s->n_vocab);
    s->shuffled = malloc(sizeof *s->shuffled * (size_t)s->n_vocab);
    if (!s->count || !s->ids || !s->shuffled)
        return no_memory(s);
    SG_TRY(read_counts(s));
    return choose_tokens(s);
}

void geo_close(geo_study *s)
{
    for (int i = 0; i < GEO_MODELS; i++) {
        sg_embedding_free(s->table[i]);
        sg_model_close(s->model[i]);
        free(s->dims[i]);
    }
    free(s->count);
    free(s->ids);
    free(s->shuffled);
}

/* ---- comparing ---- */

static void permute(int32_t *ids, sg_dim n, uint64_t seed, uint64_t step)
{
    sg_rng r = sg_rng_new(seed, STREAM);
    r.step = step;
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1);
        const int32_t kept = ids[i];
        ids[i] = ids[j];
        ids[j] = kept;
    }
}

static sg_status permuted(sg_geo_alike *mean, geo_study *s, int a, int b, sg_dim first, sg_dim n, uint64_t seed)
{
    *mean = (sg_geo_alike){.n = n};
    for (int t = 0; t < PERMUTED; t++) {
        sg_geo_alike one;
        memcpy(s->shuffled, s->ids + first, sizeof *s->ids * (size_t)n);
        permute(s->shuffled, n, seed, (uint64_t)t);
        SG_TRY(sg_geo_pearson(&one, &s->table[a]->table, &s->table[b]->table, s->ids + first, s->shuffled, n, s->err));
        mean->r += one.r / PERMUTED;
        mean->centred += one.centred / PERMUTED;
        mean->turned += one.turned / PERMUTED;
    }
    return SG_OK;
}

static sg_status rows_of(sg_tensor *out, const geo_study *s, int model)
{
    const sg_dim d = s->table[model]->table.dims[1];
    *out = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n, d}, malloc(sizeof(float) * (size_t)(s->n * d)));
    for (sg_dim i = 0; out->data && i < s->n; i++)
        memcpy((float *)out->data + i * d, (const float *)s->table[model]->table.data + s->ids[i] * d,
               sizeof(float) * (size_t)d);
    return out->data ? SG_OK : no_memory(s);
}

typedef struct lle_side {
    sg_tensor x, w;
    sg_neighbours *near;
} lle_side;

static void close_side(lle_side *l)
{
    free(l->x.data);
    free(l->w.data);
    sg_neighbours_free(l->near);
}

/* `seed` not NULL: of random tokens. */
static sg_status open_side(lle_side *l, const geo_study *s, int model, const uint64_t *seed)
{
    sg_neighbours_opts opts = sg_neighbours_defaults();
    opts.metric = SG_METRIC_COSINE;
    SG_TRY(rows_of(&l->x, s, model));
    if (seed)
        SG_TRY(sg_neighbours_random(&l->near, s->n, NEAREST, *seed, s->err));
    else
        SG_TRY(sg_neighbours_new(&l->near, &l->x, NULL, NEAREST, opts, s->err));
    l->w = sg_tensor_of(SG_F64, 2, (sg_dim[]){s->n, NEAREST}, malloc(sizeof(double) * (size_t)(s->n * NEAREST)));
    if (!l->w.data)
        return no_memory(s);
    return sg_geo_lle(&l->w, &l->x, l->near, SG_GEO_REGULARISE, s->err);
}

static sg_status lle(double *mean, const geo_study *s, int a, int b, const uint64_t *seed)
{
    lle_side one = {.near = NULL}, other = {.near = NULL};
    double *cosine = malloc(sizeof *cosine * (size_t)s->n);
    sg_status status = cosine ? open_side(&one, s, a, NULL) : no_memory(s);
    if (status == SG_OK)
        status = open_side(&other, s, b, seed);
    if (status == SG_OK)
        status = sg_geo_lle_alike(cosine, one.near, &one.w, other.near, &other.w, s->err);
    if (status == SG_OK)
        *mean = sg_stats_mean(s->n, cosine);
    free(cosine);
    close_side(&one);
    close_side(&other);
    return status;
}

static sg_status dimensions(geo_study *s, int model)
{
    sg_tensor x;
    sg_neighbours *near = NULL;
    if (s->dims[model])
        return SG_OK;
    int32_t *dim = malloc(sizeof *dim * (size_t)s->n);
    double *to = malloc(sizeof *to * (size_t)s->n);
    sg_status status = rows_of(&x, s, model);
    if (status == SG_OK)
        status =
            dim && to ? sg_neighbours_new(&near, &x, NULL, AROUND, sg_neighbours_defaults(), s->err) : no_memory(s);
    if (status == SG_OK)
        status = sg_geo_localdim(dim, &x, near, .95, 1, s->opts->cancel, s->err);
    for (sg_dim i = 0; status == SG_OK && i < s->n; i++)
        to[i] = dim[i];
    if (status == SG_OK)
        s->dims[model] = to;
    else
        free(to);
    free(dim);
    free(x.data);
    sg_neighbours_free(near);
    return status;
}

static sg_status dims_alike(geo_pair *out, geo_study *s, uint64_t seed)
{
    SG_TRY(dimensions(s, out->a));
    SG_TRY(dimensions(s, out->b));
    SG_TRY(sg_stats_spearman(&out->dim, s->n, s->dims[out->a], s->dims[out->b], s->err));
    double *other = malloc(sizeof *other * (size_t)s->n);
    sg_status status = other ? SG_OK : no_memory(s);
    for (int t = 0; status == SG_OK && t < PERMUTED; t++) {
        double one;
        for (sg_dim i = 0; i < s->n; i++)
            s->shuffled[i] = (int32_t)i;
        permute(s->shuffled, s->n, seed, 100 + (uint64_t)t);
        for (sg_dim i = 0; i < s->n; i++)
            other[i] = s->dims[out->b][s->shuffled[i]];
        status = sg_stats_spearman(&one, s->n, s->dims[out->a], other, s->err);
        out->dim_permuted += one / PERMUTED;
    }
    free(other);
    return status;
}

sg_status geo_compare(geo_pair *out, geo_study *s, int a, int b, uint64_t seed)
{
    *out = (geo_pair){.a = a, .b = b};
    if (s->opts->cancel && *s->opts->cancel)
        return sg_fail(s->err, SG_ECANCELLED, "shared-geometry: stopped as asked");
    SG_TRY(sg_geo_pearson(&out->alike, &s->table[a]->table, &s->table[b]->table, s->ids, s->ids, s->n, s->err));
    SG_TRY(permuted(&out->permuted, s, a, b, 0, s->n, seed));
    for (int k = 0; k < GEO_BANDS; k++) {
        const sg_dim first = s->n * k / GEO_BANDS, n = s->n * (k + 1) / GEO_BANDS - first;
        sg_geo_alike one;
        SG_TRY(
            sg_geo_pearson(&one, &s->table[a]->table, &s->table[b]->table, s->ids + first, s->ids + first, n, s->err));
        out->band[k] = one.r;
        SG_TRY(permuted(&one, s, a, b, first, n, seed));
        out->band_null[k] = one.r;
    }
    SG_TRY(lle(&out->lle, s, a, b, NULL));
    SG_TRY(lle(&out->lle_random, s, a, b, &seed));
    return dims_alike(out, s, seed);
}
