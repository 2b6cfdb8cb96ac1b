/* Least-squares maps between tables of embeddings, and edits carried along them; see emb2emb.h. */
#include "sightglass/emb2emb.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"

enum { STREAM = 0x65326500 };

sg_emb2emb_opts sg_emb2emb_defaults(void)
{
    return (sg_emb2emb_opts){.ridge = 1e-6};
}

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "emb2emb: out of memory");
}

static sg_status new_map(sg_emb2emb **out, sg_dim from, sg_dim to, sg_error *err)
{
    sg_emb2emb *map = *out = calloc(1, sizeof *map);
    if (!map)
        return no_memory(err);
    map->a = sg_tensor_of(SG_F32, 2, (sg_dim[]){from, to}, calloc((size_t)(from * to) + 1, sizeof(float)));
    return map->a.data ? SG_OK : no_memory(err);
}

void sg_emb2emb_free(sg_emb2emb *map)
{
    if (!map)
        return;
    free(map->a.data);
    free(map);
}

/* ---- fitting ---- */

/* The rows of some tokens, f64 [n,d]. */
static sg_status rows_of(sg_tensor *out, const sg_tensor *e, const char *name, const int32_t *ids, sg_dim n,
                         sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (e->n_dims != 2 || e->dims[1] < 1 || !sg_dtype_is_float(e->dtype))
        return sg_fail(err, SG_ESHAPE, "emb2emb: the %s's embeddings are %s %s, wanted [V,D] of floats", name,
                       sg_dtype_name(e->dtype), sg_shape_text(shape, e->n_dims, e->dims));
    const sg_dim d = e->dims[1];
    *out = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, d}, malloc(sizeof(double) * (size_t)(n * d) + 1));
    if (!out->data)
        return no_memory(err);
    for (sg_dim i = 0; i < n; i++) {
        const sg_dim id = ids ? ids[i] : i;
        if (id < 0 || id >= e->dims[0])
            return sg_fail(err, SG_EARG, "emb2emb: token %lld of the %s; it has %lld", (long long)id, name,
                           (long long)e->dims[0]);
        sg_convert((double *)out->data + i * d, SG_F64,
                   (const char *)e->data + (size_t)(id * d) * sg_dtype_bytes(e->dtype), e->dtype, d);
    }
    return SG_OK;
}

static double squares(const sg_tensor *t)
{
    double sum = 0;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        sum += ((const double *)t->data)[i] * ((const double *)t->data)[i];
    return sum;
}

/* What x A leaves of y. */
static double left(const sg_tensor *x, const sg_tensor *y, const double *a)
{
    const sg_dim n = x->dims[0], d = x->dims[1], e = y->dims[1];
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < e; j++) {
            double off = ((const double *)y->data)[i * e + j];
            for (sg_dim c = 0; c < d; c++)
                off -= ((const double *)x->data)[i * d + c] * a[c * e + j];
            sum += off * off;
        }
    return sum;
}

static sg_status fit(sg_emb2emb **out, const sg_tensor *x, const sg_tensor *y, sg_emb2emb_opts opts, sg_error *err)
{
    sg_ridge *ridge;
    const double lambda = opts.ridge * squares(x) / (double)x->dims[1], most = squares(y);
    SG_TRY(sg_ridge_new(&ridge, x, y, &lambda, 1, (sg_ridge_opts){.intercept = false}, err));
    sg_status status = new_map(out, x->dims[1], y->dims[1], err);
    if (status == SG_OK) {
        sg_convert((*out)->a.data, SG_F32, ridge->weights.data, SG_F64, x->dims[1] * y->dims[1]);
        (*out)->fit = most > 0 ? 1 - left(x, y, ridge->weights.data) / most : (double)NAN;
    }
    sg_ridge_free(ridge);
    return status;
}

sg_status sg_emb2emb_fit(sg_emb2emb **out, const sg_tensor *source, const sg_tensor *target, const int32_t *ids_source,
                         const int32_t *ids_target, sg_dim n, sg_emb2emb_opts opts, sg_error *err)
{
    sg_tensor x = {0}, y = {0};
    *out = NULL;
    if (n < 1)
        return sg_fail(err, SG_EARG, "emb2emb: no tokens in common");
    if (!(opts.ridge >= 0) || !isfinite(opts.ridge))
        return sg_fail(err, SG_EARG, "emb2emb: a ridge of %g", opts.ridge);
    sg_status status = rows_of(&x, source, "source", ids_source, n, err);
    if (status == SG_OK)
        status = rows_of(&y, target, "target", ids_target, n, err);
    if (status == SG_OK)
        status = fit(out, &x, &y, opts, err);
    free(x.data);
    free(y.data);
    if (status != SG_OK) {
        sg_emb2emb_free(*out);
        *out = NULL;
    }
    return status;
}

/* The first k columns of a random orthogonal matrix [d,d], by QR of normal draws. */
static sg_status frame(sg_qr **out, sg_dim d, sg_dim k, sg_rng *r, sg_error *err)
{
    double *drawn = malloc(sizeof *drawn * (size_t)(d * k) + 1);
    if (!drawn)
        return no_memory(err);
    for (sg_dim i = 0; i < d * k; i++)
        drawn[i] = sg_rng_normal(r);
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){d, k}, drawn);
    const sg_status status = sg_qr_new(out, &t, SG_FACTORS_THIN, err);
    free(drawn);
    return status;
}

sg_status sg_emb2emb_random(sg_emb2emb **out, const sg_emb2emb *like, uint64_t seed, sg_error *err)
{
    const sg_dim d = like->a.dims[0], e = like->a.dims[1], k = SG_MIN(d, e);
    sg_svd *svd = NULL;
    sg_qr *u = NULL, *v = NULL;
    sg_rng r = sg_rng_new(seed, STREAM);
    *out = NULL;
    sg_status status = sg_svd_new(&svd, &like->a, SG_FACTORS_THIN, err);
    if (status == SG_OK)
        status = frame(&u, d, k, &r, err);
    if (status == SG_OK)
        status = frame(&v, e, k, &r, err);
    if (status == SG_OK)
        status = new_map(out, d, e, err);
    if (status == SG_OK) {
        const double *left_ones = u->q.data, *right_ones = v->q.data;
        for (sg_dim i = 0; i < d; i++)
            for (sg_dim j = 0; j < e; j++) {
                double sum = 0;
                for (sg_dim l = 0; l < k; l++)
                    sum += left_ones[i * k + l] * (double)((const float *)svd->s.data)[l] * right_ones[j * k + l];
                ((float *)(*out)->a.data)[i * e + j] = (float)sum;
            }
        (*out)->fit = (double)NAN;
    } else {
        sg_emb2emb_free(*out);
        *out = NULL;
    }
    sg_svd_free(svd);
    sg_qr_free(u);
    sg_qr_free(v);
    return status;
}

/* ---- carrying ---- */

void sg_emb2emb_vector(float *to, const sg_emb2emb *map, const float *v)
{
    const sg_dim d = map->a.dims[0], e = map->a.dims[1];
    const float *a = map->a.data;
    for (sg_dim j = 0; j < e; j++) {
        double sum = 0;
        for (sg_dim c = 0; c < d; c++)
            sum += (double)v[c] * (double)a[c * e + j];
        to[j] = (float)sum;
    }
}

sg_dim sg_emb2emb_layer(sg_dim layer, sg_dim n_layers_source, sg_dim n_layers_target)
{
    const double at = (double)layer * (double)n_layers_target / (double)SG_MAX(n_layers_source, 1);
    return SG_MIN((sg_dim)floor(at + .5), SG_MAX(n_layers_target - 1, 0));
}

/* "blocks.3.hook_resid_post" in the other model. */
static sg_status site_of(char to[128], const sg_edit *e, int i, sg_dim n_from, sg_dim n_to, sg_error *err)
{
    static const char *const sites[] = {"hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out",
                                        "hook_mlp_out"};
    const char *site = e->site ? e->site : "";
    if (strcmp(site, "hook_embed") == 0) {
        snprintf(to, 128, "%s", site);
        return SG_OK;
    }
    char *end = NULL;
    const long long layer = strncmp(site, "blocks.", 7) == 0 ? strtoll(site + 7, &end, 10) : -1;
    for (size_t k = 0; layer >= 0 && end && *end == '.' && k < SG_COUNT_OF(sites); k++)
        if (strcmp(end + 1, sites[k]) == 0) {
            if (layer >= n_from)
                return sg_fail(err, SG_EARG, "emb2emb: edit %d: %s; the source has %lld layers", i, site,
                               (long long)n_from);
            snprintf(to, 128, "blocks.%lld.%s", (long long)sg_emb2emb_layer(layer, n_from, n_to), sites[k]);
            return SG_OK;
        }
    return sg_fail(err, SG_EARG,
                   "emb2emb: edit %d: %s is no site of the residual stream, whose vectors alone can be carried", i,
                   *site ? site : "no site");
}

static sg_status values_of(sg_tensor *to, const sg_emb2emb *map, const sg_edit *e, int i, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const sg_dim d = map->a.dims[0], width = map->a.dims[1];
    *to = e->value;
    to->data = NULL;
    if (!e->value.data)
        return SG_OK;
    if (e->value.n_dims < 1 || e->value.dims[e->value.n_dims - 1] != d)
        return sg_fail(err, SG_ESHAPE, "emb2emb: edit %d: its value is %s; the map takes vectors of %lld", i,
                       sg_shape_text(shape, e->value.n_dims, e->value.dims), (long long)d);
    const sg_dim n = sg_tensor_count(&e->value) / d;
    float *v = malloc(sizeof *v * (size_t)d);
    to->dtype = SG_F32;
    to->dims[to->n_dims - 1] = width;
    to->data = malloc(sizeof(float) * (size_t)(n * width) + 1);
    if (v && to->data)
        for (sg_dim row = 0; row < n; row++) {
            for (sg_dim c = 0; c < d; c++)
                v[c] = (float)sg_tensor_get(&e->value, row * d + c);
            sg_emb2emb_vector((float *)to->data + row * width, map, v);
        }
    const bool good = v && to->data;
    free(v);
    return good ? SG_OK : no_memory(err);
}

static sg_status check(const sg_edit *e, const sg_edit_source *source, int i, sg_error *err)
{
    const bool known =
        e->op == SG_EDIT_SET || e->op == SG_EDIT_ADD || e->op == SG_EDIT_ABLATE || e->op == SG_EDIT_PROJECT;
    if (!known)
        return sg_fail(err, SG_EARG, "emb2emb: edit %d: %s depends on lengths or components, which a map does not keep",
                       i, sg_edit_op_name(e->op));
    if (source)
        return sg_fail(err, SG_EARG, "emb2emb: edit %d: its value comes from a run of the source; fill it in first", i);
    if (e->when.site || e->features.n > 0)
        return sg_fail(err, SG_EARG, "emb2emb: edit %d: %s cannot be carried", i,
                       e->when.site ? "its condition" : "its choice of components");
    if (!e->value.data && e->op != SG_EDIT_ABLATE)
        return sg_fail(err, SG_EARG, "emb2emb: edit %d: it has no value", i);
    return SG_OK;
}

sg_status sg_emb2emb_apply(const sg_emb2emb *map, sg_dim n_layers_source, sg_edit_list *from, sg_dim n_layers_target,
                           sg_edit_list *to, sg_error *err)
{
    for (int i = 0; i < sg_edit_list_count(from); i++) {
        char site[128];
        sg_edit e = *sg_edit_list_at(from, i);
        sg_tensor carried = {0};
        SG_TRY(check(&e, sg_edit_list_source(from, i), i, err));
        SG_TRY(site_of(site, &e, i, n_layers_source, n_layers_target, err));
        sg_status status = values_of(&carried, map, &e, i, err);
        if (status == SG_OK) {
            e.site = site;
            e.value = carried;
            status = sg_edit_list_add(to, &e, err); /* which copies */
        }
        free(carried.data);
        SG_TRY(status);
    }
    return SG_OK;
}
