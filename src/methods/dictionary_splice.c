/* A dictionary in a model: its formula at its site, and what the model loses by reading the reconstruction. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/dictionary_internal.h"

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory");
}

/* The site as [...,D], whatever axes its last numbers lie on; *n_lead are the axes before. */
static sg_status look_at(sg_graph *g, const sg_dict *d, sg_value **site, sg_value **flat, int *n_lead, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    sg_dim dims[SG_MAX_DIMS], width = 1;

    if (!d->site)
        return sg_fail(err, SG_EARG, "dictionary: it is not known what site it is of");
    *site = sg_graph_find(g, d->site);
    if (!*site) {
        const char *nearest = sg_graph_nearest(g, d->site);
        return sg_fail(err, SG_ENOTFOUND, "dictionary: the model has no value %.120s; the nearest name is %s", d->site,
                       nearest ? nearest : "none");
    }
    const int n = sg_value_n_dims(*site);
    *n_lead = n;
    while (*n_lead > 0 && width < d->d && sg_value_dim(*site, *n_lead - 1) > 0)
        width *= sg_value_dim(*site, --*n_lead);
    if (width != d->d)
        return sg_fail(err, SG_ESHAPE, "dictionary: it reads %" PRId64 " numbers, %s is %s", d->d, d->site,
                       sg_value_shape_text(*site, shape));
    memcpy(dims, sg_value_dims(*site), (size_t)*n_lead * sizeof dims[0]);
    dims[*n_lead] = d->d;
    *flat = *n_lead == n - 1 ? *site : sg_reshape(g, *site, *n_lead + 1, dims);
    return SG_OK;
}

static sg_value *named(sg_graph *g, sg_value *v, const sg_dict *d, const char *what, const char *axes)
{
    char name[256];

    snprintf(name, sizeof name, "%.200s/dict.%s", d->site, what);
    return sg_name(g, sg_identity(g, v), name, axes);
}

sg_status sg_dict_splice(sg_glass *glass, const sg_dict *d, sg_dict_use use, sg_error *err)
{
    sg_graph *g = sg_glass_graph(glass);
    sg_value *site, *x, *clean, *recons;
    char axes[SG_MAX_DIMS + 2] = "";
    int n_lead;

    SG_TRY(look_at(g, d, &site, &x, &n_lead, err));
    sg_scope(g, "dict");
    memcpy(axes, sg_value_axes(site), strnlen(sg_value_axes(site), (size_t)n_lead));
    strcat(axes, "d");
    /* the formula of codes, then the decoder again over codes that have a name, so that edits of them show */
    SG_TRY(sg_dict_graph(g, d, x, &clean, &recons, err));
    sg_value *codes = named(g, clean, d, "code", axes);
    sg_value *dec = sg_const(g, &d->dec), *b = sg_const(g, &d->b_dec);
    if (sg_value_dtype(x) != SG_F32) {
        dec = sg_cast(g, dec, sg_value_dtype(x));
        b = sg_cast(g, b, sg_value_dtype(x));
    }
    recons = named(g, sg_add(g, sg_matmul(g, codes, dec, false, false), b), d, "recons", axes);
    sg_value *out =
        use == SG_DICT_KEEP ? sg_add(g, x, sg_matmul(g, sg_sub(g, codes, clean), dec, false, false)) : recons;
    if (use != SG_DICT_LOOK) {
        if (sg_value_n_dims(out) != sg_value_n_dims(site))
            out = sg_reshape(g, out, sg_value_n_dims(site), sg_value_dims(site));
        sg_replace(g, site, out);
    }
    sg_scope(g, "%s", "");
    return sg_graph_status(g, err);
}

/* ---- the model's loss ---- */

enum { BATCH = 8 };

typedef struct judge {
    sg_glass *glass;
    sg_value *site, *loss, *recons, *x;
    const sg_dict *d;
    const sg_tensor *tokens;
    const int32_t *rows[BATCH];
    sg_dim lengths[BATCH];
    float *fed;   /* [BATCH*T,D] */
    double *mean; /* [D] */
} judge;

/* nats per token times tokens, with `fed` at the site, or as it is. */
static sg_status loss_with(judge *j, sg_dim first, int n, bool feeds, int n_more, sg_value *const *more, sg_tensor *got,
                           double *sum, sg_error *err)
{
    const sg_dim time = j->tokens->dims[1];
    sg_value *fetches[4] = {j->loss};
    sg_tensor out[4];
    sg_named_feed feed = {.name = j->d->site};

    for (int r = 0; r < n; r++) {
        j->rows[r] = (const int32_t *)j->tokens->data + (first + r) * time;
        j->lengths[r] = time;
    }
    sg_dim dims[SG_MAX_DIMS];
    memcpy(dims, sg_value_dims(j->site), (size_t)sg_value_n_dims(j->site) * sizeof dims[0]);
    dims[0] = n;
    dims[1] = time;
    feed.tensor = sg_tensor_of(SG_F32, sg_value_n_dims(j->site), dims, j->fed);
    for (int i = 0; i < n_more; i++)
        fetches[i + 1] = more[i];
    const sg_rows rows = {.n_rows = n, .tokens = j->rows, .lengths = j->lengths};
    SG_TRY(sg_glass_run(j->glass, &rows, feeds, &feed, n_more + 1, fetches, out, err));
    *sum += sg_tensor_get(&out[0], 0) * (double)(n * (time - 1));
    for (int i = 0; i < n_more; i++)
        got[i] = out[i + 1];
    return SG_OK;
}

static sg_status run_judge(judge *j, sg_dict_loss *out, sg_error *err)
{
    const sg_dim n = j->tokens->dims[0], time = j->tokens->dims[1], width = j->d->d;
    sg_value *const more[2] = {j->recons, j->x};
    sg_tensor got[2];

    for (sg_dim e = 0; e < n; e += BATCH) {
        const int some = (int)SG_MIN(BATCH, n - e);
        SG_TRY(loss_with(j, e, some, false, 2, more, got, &out->clean, err));
        for (sg_dim i = 0; i < some * time * width; i++)
            j->mean[i % width] += (double)((const float *)got[1].data)[i] / (double)(n * time);
        memcpy(j->fed, got[0].data, (size_t)(some * time * width) * sizeof *j->fed);
        SG_TRY(loss_with(j, e, some, true, 0, NULL, NULL, &out->spliced, err));
        memset(j->fed, 0, (size_t)(some * time * width) * sizeof *j->fed);
        SG_TRY(loss_with(j, e, some, true, 0, NULL, NULL, &out->zero, err));
    }
    for (sg_dim e = 0; e < n; e += BATCH) {
        const int some = (int)SG_MIN(BATCH, n - e);
        for (sg_dim i = 0; i < some * time * width; i++)
            j->fed[i] = (float)j->mean[i % width];
        SG_TRY(loss_with(j, e, some, true, 0, NULL, NULL, &out->mean, err));
    }
    out->n_tokens = n * (time - 1);
    double *const all[] = {&out->clean, &out->spliced, &out->zero, &out->mean};
    for (size_t i = 0; i < SG_COUNT_OF(all); i++)
        *all[i] /= (double)out->n_tokens;
    out->recovered = (out->zero - out->spliced) / (out->zero - out->clean);
    out->recovered_mean = (out->mean - out->spliced) / (out->mean - out->clean);
    return SG_OK;
}

static sg_status begin_judge(judge *j, const sg_model *m, sg_exec_opts exec, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    char shape[SG_SHAPE_TEXT];
    sg_value *codes;
    int n_lead;

    how.exec = exec;
    SG_TRY(sg_glass_new(&j->glass, m, how, err));
    sg_graph *g = sg_glass_graph(j->glass);
    SG_TRY(look_at(g, j->d, &j->site, &j->x, &n_lead, err));
    j->loss = sg_graph_find(g, "loss");
    if (!j->loss || n_lead != 2)
        return sg_fail(err, SG_EUNSUPPORTED, "dictionary: %s is %s, and there is %s loss of next tokens", j->d->site,
                       sg_value_shape_text(j->site, shape), j->loss ? "a" : "no");
    if (sg_value_dtype(j->x) != SG_F32)
        return sg_fail(err, SG_EUNSUPPORTED, "dictionary: the model is computed in %s, f32 was wanted",
                       sg_dtype_name(sg_value_dtype(j->x)));
    SG_TRY(sg_dict_graph(g, j->d, j->x, &codes, &j->recons, err));
    const sg_dim time = j->tokens->dims[1];
    j->fed = malloc((size_t)(BATCH * time * j->d->d) * sizeof *j->fed);
    j->mean = calloc((size_t)j->d->d, sizeof *j->mean);
    return j->fed && j->mean ? SG_OK : no_memory(err);
}

sg_status sg_dict_loss_of(sg_dict_loss *out, const sg_model *m, const sg_dict *d, const sg_tensor *tokens,
                          sg_exec_opts exec, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    judge j = {.d = d, .tokens = tokens};

    *out = (sg_dict_loss){0};
    if (tokens->dtype != SG_I32 || tokens->n_dims != 2 || tokens->dims[0] < 1 || tokens->dims[1] < 2)
        return sg_fail(err, SG_ESHAPE, "dictionary: tokens are %s %s, wanted i32 [sequences, 2 or more]",
                       sg_dtype_name(tokens->dtype), sg_shape_text(shape, tokens->n_dims, tokens->dims));
    sg_status status = begin_judge(&j, m, exec, err);
    if (status == SG_OK)
        status = run_judge(&j, out, err);
    sg_glass_free(j.glass);
    free(j.fed);
    free(j.mean);
    return status;
}
