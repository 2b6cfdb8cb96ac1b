/* The map: Jacobians of all sites from one pass for each prompt, summed in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/lre_internal.h"
#include "sightglass/linalg.h"
#include "sightglass/safetensors.h"

typedef struct owned {
    sg_lre face;
    sg_arena *arena;
    sg_dim width[1]; /* of an opened one */
} owned;

sg_lre_opts sg_lre_defaults(void)
{
    return (sg_lre_opts){.n = 8, .n_tests = 200, .batch = 64, .exec = sg_exec_defaults()};
}

void sg_lre_last(char name[48], const sg_model *m)
{
    snprintf(name, 48, "blocks.%d.hook_resid_post", (int)sg_model_get_info(m)->n_layers - 1);
}

static owned *new_owned(void)
{
    sg_arena *arena = sg_arena_new();
    owned *l = arena ? sg_arena_alloc(arena, sizeof *l) : NULL;
    if (!l) {
        sg_arena_free(arena);
        return NULL;
    }
    l->arena = arena;
    return l;
}

void sg_lre_free(sg_lre *lre)
{
    if (lre)
        sg_arena_free(((owned *)lre)->arena);
}

/* Sums over prompts, of one site. */
typedef struct sums {
    double *w, *b;
} sums;

static sg_status take_room(owned *l, sums *sum, const sg_jacobian *j, sg_lre_opts opts, sg_error *err)
{
    sg_lre *f = &l->face;
    const size_t n_sites = (size_t)f->n_sites;
    const char **sites = sg_arena_array(l->arena, n_sites, sizeof *sites);
    sg_dim *width = sg_arena_array(l->arena, n_sites, sizeof *width);
    float **w = sg_arena_array(l->arena, n_sites, sizeof *w), **b = sg_arena_array(l->arena, n_sites, sizeof *b);
    float **s = sg_arena_array(l->arena, n_sites, sizeof *s);
    f->o = sg_arena_array(l->arena, (size_t)(f->n * f->d_o), sizeof *f->o);
    bool good = sites && width && w && b && s && f->o;
    for (int i = 0; i < f->n_sites && good; i++) {
        width[i] = sg_jacobian_source_width(j, i);
        sites[i] = sg_arena_strdup(l->arena, opts.sites[i]);
        w[i] = sg_arena_array(l->arena, (size_t)(f->d_o * width[i]), sizeof(float));
        b[i] = sg_arena_array(l->arena, (size_t)f->d_o, sizeof(float));
        s[i] = sg_arena_array(l->arena, (size_t)(f->n * width[i]), sizeof(float));
        sum[i].w = calloc((size_t)(f->d_o * width[i]), sizeof(double));
        sum[i].b = calloc((size_t)f->d_o, sizeof(double));
        good = sites[i] && w[i] && b[i] && s[i] && sum[i].w && sum[i].b;
    }
    f->sites = sites;
    f->width = width;
    f->w = w;
    f->b = b;
    f->s = s;
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory for %d sites", f->n_sites);
}

/* Adds J and o - J s of one prompt. */
static void add(const sg_lre *f, sums *sum, const sg_jacobian_result *r, int k)
{
    memcpy(f->o + k * f->d_o, r->o, (size_t)f->d_o * sizeof(float));
    for (int i = 0; i < f->n_sites; i++) {
        const sg_dim d = f->width[i];
        memcpy(f->s[i] + k * d, r->s[i], (size_t)d * sizeof(float));
        for (sg_dim row = 0; row < f->d_o; row++) {
            double product = 0;
            for (sg_dim c = 0; c < d; c++) {
                const double x = (double)r->j[i][row * d + c];
                sum[i].w[row * d + c] += x;
                product += x * (double)r->s[i][c];
            }
            sum[i].b[row] += (double)r->o[row] - product;
        }
    }
}

static sg_status fit(owned *l, sums *sum, sg_jacobian *j, const sg_prompts *p, sg_lre_opts opts, sg_error *err)
{
    sg_lre *f = &l->face;
    sg_jacobian_result r;
    for (int k = 0; k < p->n; k++) {
        SG_TRY(sg_jacobian_run(j, p->at[k].tokens, p->at[k].n, p->at[k].subject, p->at[k].n - 1, &r, err));
        add(f, sum, &r, k);
        if (opts.progress)
            opts.progress(opts.context, (double)(k + 1) / p->n);
    }
    for (int i = 0; i < f->n_sites; i++) {
        for (sg_dim x = 0; x < f->d_o * f->width[i]; x++)
            f->w[i][x] = (float)(sum[i].w[x] / p->n);
        for (sg_dim x = 0; x < f->d_o; x++)
            f->b[i][x] = (float)(sum[i].b[x] / p->n);
    }
    f->cost = sg_jacobian_get_cost(j);
    return SG_OK;
}

sg_status sg_lre_fit(sg_lre **out, const sg_model *m, const sg_prompts *prompts, sg_lre_opts opts, sg_error *err)
{
    char last[48];
    sg_jacobian *j = NULL;
    sg_jacobian_opts how = sg_jacobian_defaults();
    *out = NULL;
    if (opts.n_sites < 1 || prompts->n < 1)
        return sg_fail(err, SG_EARG, "lre: %d sites and %d prompts, wanted one of each at least", opts.n_sites,
                       prompts->n);
    sg_lre_last(last, m);
    how.n_sources = opts.n_sites;
    how.sources = opts.sites;
    how.target = opts.target;
    how.batch = opts.batch;
    how.exec = opts.exec;
    how.cancel = opts.cancel;
    SG_TRY(sg_jacobian_new(&j, m, how, err));
    owned *l = new_owned();
    sums *sum = calloc((size_t)opts.n_sites, sizeof *sum);
    sg_status status = l && sum ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    if (status == SG_OK) {
        l->face.n_sites = opts.n_sites;
        l->face.n = prompts->n;
        l->face.d_o = sg_jacobian_target_width(j);
        l->face.target = sg_arena_strdup(l->arena, opts.target ? opts.target : last);
        status = l->face.target ? take_room(l, sum, j, opts, err) : sg_fail(err, SG_ENOMEM, "lre: out of memory");
    }
    if (status == SG_OK)
        status = fit(l, sum, j, prompts, opts, err);
    for (int i = 0; sum && i < opts.n_sites; i++) {
        free(sum[i].w);
        free(sum[i].b);
    }
    free(sum);
    sg_jacobian_free(j);
    if (status != SG_OK) {
        if (l)
            sg_lre_free(&l->face);
        return status;
    }
    *out = &l->face;
    return SG_OK;
}

sg_status sg_lre_apply(float *o, const sg_lre *lre, int site, double beta, sg_dim n, const float *s, sg_error *err)
{
    const sg_tensor out = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, lre->d_o}, o);
    const sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, lre->width[site]}, (void *)(uintptr_t)s);
    const sg_tensor w = sg_tensor_of(SG_F32, 2, (sg_dim[]){lre->d_o, lre->width[site]}, lre->w[site]);
    for (sg_dim i = 0; i < n; i++)
        memcpy(o + i * lre->d_o, lre->b[site], (size_t)lre->d_o * sizeof *o);
    return sg_product(&out, &x, false, &w, true, beta, 1, err);
}

/* ---- files ---- */

sg_status sg_lre_save(const sg_lre *lre, int site, double beta, const char *path, sg_error *err)
{
    char number[40], n[24];
    snprintf(number, sizeof number, "%.9g", beta);
    snprintf(n, sizeof n, "%d", lre->n);
    const sg_named_tensor list[2] = {
        {"w", sg_tensor_of(SG_F32, 2, (sg_dim[]){lre->d_o, lre->width[site]}, lre->w[site])},
        {"b", sg_tensor_of(SG_F32, 1, &lre->d_o, lre->b[site])}};
    const sg_pair about[4] = {{"site", lre->sites[site]}, {"target", lre->target}, {"beta", number}, {"prompts", n}};
    return sg_safetensors_save(path, list, 2, about, 4, err);
}

static sg_status take_file(owned *l, double *beta, const sg_safetensors *st, const char *path, sg_error *err)
{
    const sg_tensor *w, *b;
    char *end;
    const char *site = sg_safetensors_metadata(st, "site"), *target = sg_safetensors_metadata(st, "target");
    const char *number = sg_safetensors_metadata(st, "beta"), *n = sg_safetensors_metadata(st, "prompts");
    sg_lre *f = &l->face;
    SG_TRY(sg_safetensors_get(&w, st, "w", err));
    SG_TRY(sg_safetensors_get(&b, st, "b", err));
    if (w->dtype != SG_F32 || b->dtype != SG_F32 || w->n_dims != 2 || b->n_dims != 1 || b->dims[0] != w->dims[0] ||
        w->dims[1] < 1)
        return sg_fail(err, SG_EFORMAT, "%s: w and b want to be [d,e] and [d] of F32", path);
    if (!site || !target || !number)
        return sg_fail(err, SG_EFORMAT, "%s: its metadata do not say site, target and beta: it is no relation's map",
                       path);
    *beta = strtod(number, &end);
    if (end == number || !isfinite(*beta))
        return sg_fail(err, SG_EFORMAT, "%s: beta is \"%.20s\"", path, number);
    const char **sites = sg_arena_array(l->arena, 1, sizeof *sites);
    float **of_w = sg_arena_array(l->arena, 1, sizeof *of_w), **of_b = sg_arena_array(l->arena, 1, sizeof *of_b);
    if (!sites || !of_w || !of_b)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    l->width[0] = w->dims[1];
    f->n_sites = 1;
    f->n = n ? (int)strtol(n, NULL, 10) : 0;
    f->d_o = w->dims[0];
    f->width = l->width;
    f->target = sg_arena_strdup(l->arena, target);
    sites[0] = sg_arena_strdup(l->arena, site);
    of_w[0] = sg_arena_array(l->arena, (size_t)SG_MAX(sg_tensor_count(w), 1), sizeof(float));
    of_b[0] = sg_arena_array(l->arena, (size_t)SG_MAX(f->d_o, 1), sizeof(float));
    if (!f->target || !sites[0] || !of_w[0] || !of_b[0])
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    memcpy(of_w[0], w->data, sg_tensor_bytes(w));
    memcpy(of_b[0], b->data, sg_tensor_bytes(b));
    f->sites = sites;
    f->w = of_w;
    f->b = of_b;
    return SG_OK;
}

sg_status sg_lre_open(sg_lre **out, double *beta, const char *path, sg_error *err)
{
    sg_safetensors *st;
    *out = NULL;
    SG_TRY(sg_safetensors_open(&st, path, err));
    owned *l = new_owned();
    const sg_status status = l ? take_file(l, beta, st, path, err) : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    sg_safetensors_close(st);
    if (status != SG_OK) {
        if (l)
            sg_lre_free(&l->face);
        return status;
    }
    *out = &l->face;
    return SG_OK;
}

/* ---- the pseudo-inverse ---- */

struct sg_lre_inverse {
    sg_svd *svd;
    sg_dim d_o, width;
};

sg_status sg_lre_inverse_new(sg_lre_inverse **out, const sg_lre *lre, int site, sg_error *err)
{
    sg_lre_inverse *v = calloc(1, sizeof *v);
    const sg_tensor w = sg_tensor_of(SG_F32, 2, (sg_dim[]){lre->d_o, lre->width[site]}, lre->w[site]);
    *out = NULL;
    if (!v)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    v->d_o = lre->d_o;
    v->width = lre->width[site];
    const sg_status status = sg_svd_new(&v->svd, &w, SG_FACTORS_THIN, err);
    if (status != SG_OK) {
        free(v);
        return status;
    }
    *out = v;
    return SG_OK;
}

void sg_lre_inverse_free(sg_lre_inverse *v)
{
    if (v)
        sg_svd_free(v->svd);
    free(v);
}

sg_dim sg_lre_inverse_most(const sg_lre_inverse *v)
{
    return v->svd->s.dims[0];
}

/* V diag(1/s) U' (to - from), of the largest s; those that are zero to rounding are left out. */
sg_status sg_lre_delta(float *delta, const sg_lre_inverse *v, sg_dim rank, sg_dim n, const float *from, const float *to,
                       sg_error *err)
{
    const sg_dim k = sg_lre_inverse_most(v), most = SG_MIN(rank, sg_svd_rank(v->svd, SG_RCOND_DEFAULT));
    const float *s = v->svd->s.data;
    float *change = malloc((size_t)SG_MAX(n * v->d_o, 1) * sizeof *change),
          *along = malloc((size_t)SG_MAX(n * k, 1) * sizeof *along);
    sg_status status =
        change && along ? SG_OK : sg_fail(err, SG_ENOMEM, "lre: out of memory for %lld edits", (long long)n);
    for (sg_dim i = 0; i < n * v->d_o && status == SG_OK; i++)
        change[i] = to[i] - from[i];
    const sg_tensor c = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, v->d_o}, change),
                    a = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, k}, along);
    const sg_tensor out = sg_tensor_of(SG_F32, 2, (sg_dim[]){n, v->width}, delta);
    if (status == SG_OK)
        status = sg_product(&a, &c, false, &v->svd->u, false, 1, 0, err);
    for (sg_dim i = 0; i < n * k && status == SG_OK; i++)
        along[i] = i % k < most ? along[i] / s[i % k] : 0;
    if (status == SG_OK)
        status = sg_product(&out, &a, false, &v->svd->vt, false, 1, 0, err);
    free(change);
    free(along);
    return status;
}

sg_status sg_lre_edit(sg_edit *out, float *value, sg_span *place, const sg_lre *lre, int site, const sg_lre_inverse *v,
                      sg_dim rank, const float *from, const float *to, sg_dim subject, sg_error *err)
{
    SG_TRY(sg_lre_delta(value, v, rank, 1, from, to, err));
    *out = sg_edit_defaults();
    *place = (sg_span){subject, subject};
    out->site = lre->sites[site];
    out->op = SG_EDIT_ADD;
    out->value = sg_tensor_of(SG_F32, 1, &lre->width[site], value);
    out->positions = (sg_spans){1, place};
    return SG_OK;
}
