/* What both views share. */
#include "methods/views_internal.h"

#include <stdlib.h>

#include "sightglass/rng.h"

sg_views_opts sg_views_defaults(void)
{
    return (sg_views_opts){.batch = 32, .first = 4, .n_resamples = 1000, .exec = sg_exec_defaults()};
}

sg_status sg_views_check(const sg_model *m, const sg_tensor *tokens, const sg_tensor *counts, const sg_views_opts *opts,
                         sg_error *err)
{
    const sg_model_info *info = sg_model_get_info(m);
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (tokens->dtype != SG_I32 || tokens->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "view: tokens are %s %s, wanted [episodes,time] i32",
                       sg_dtype_name(tokens->dtype), sg_shape_text(one, tokens->n_dims, tokens->dims));
    if (counts && (counts->dtype != SG_BOOL || counts->n_dims != 2 || counts->dims[0] != tokens->dims[0] ||
                   counts->dims[1] != tokens->dims[1]))
        return sg_fail(err, SG_ESHAPE, "view: counts are %s %s, wanted bool %s as tokens are",
                       sg_dtype_name(counts->dtype), sg_shape_text(one, counts->n_dims, counts->dims),
                       sg_shape_text(other, 2, tokens->dims));
    if (tokens->dims[0] < 4)
        return sg_fail(err, SG_EARG, "view: %lld episodes, wanted at least 4", (long long)tokens->dims[0]);
    if (tokens->dims[1] > info->n_context)
        return sg_fail(err, SG_EARG, "view: sequences of %lld tokens, the model's context is %lld",
                       (long long)tokens->dims[1], (long long)info->n_context);
    if (opts->batch < 1 || opts->first < 0 || opts->n_resamples < 1)
        return sg_fail(err, SG_EARG, "view: batches of %lld, positions from %lld on, %d resamples",
                       (long long)opts->batch, (long long)opts->first, opts->n_resamples);
    return SG_OK;
}

bool sg_views_asked(const sg_tensor *tokens, const sg_tensor *counts, sg_dim first, sg_dim e, sg_dim t)
{
    const sg_dim time = tokens->dims[1], at = e * time + t;
    const uint8_t *counted = counts ? counts->data : NULL;
    return t >= first && t + 1 < time && (!counted || (counted[at] && counted[at + 1]));
}

sg_status sg_views_others(sg_dim **other, sg_dim episodes, uint64_t seed, sg_error *err)
{
    const sg_dim half = episodes / 2;
    sg_dim *order = malloc((size_t)episodes * sizeof *order), *to = malloc((size_t)episodes * sizeof *to);
    *other = to;
    if (!order || !to) {
        free(order);
        return sg_fail(err, SG_ENOMEM, "view: out of memory for %lld episodes", (long long)episodes);
    }
    sg_rng r = sg_rng_new(seed, 0x5f17u);
    for (int part = 0; part < 2; part++) {
        const sg_dim first = part * half, n = part ? episodes - half : half;
        for (sg_dim i = 0; i < n; i++) {
            const sg_dim k = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1);
            order[i] = order[k];
            order[k] = first + i;
        }
        for (sg_dim i = 0; i < n; i++)
            to[order[i]] = order[(i + 1) % n];
    }
    free(order);
    return SG_OK;
}

sg_status sg_views_tell(const sg_views_opts *opts, const char *part, double done, sg_error *err)
{
    if (opts->cancel && *opts->cancel)
        return sg_fail(err, SG_ECANCELLED, "stopped");
    if (opts->progress)
        opts->progress(opts->context, part, done);
    return SG_OK;
}

sg_status sg_views_run(sg_glass *glass, const sg_tensor *tokens, sg_dim first, sg_dim n, int n_feeds,
                       const sg_named_feed *feeds, int n_fetches, sg_value *const *fetches, sg_tensor *out,
                       sg_error *err)
{
    const sg_dim time = tokens->dims[1];
    const int32_t **rows = malloc((size_t)n * sizeof *rows);
    sg_dim *lengths = malloc((size_t)n * sizeof *lengths);
    sg_status status =
        rows && lengths ? SG_OK : sg_fail(err, SG_ENOMEM, "view: out of memory for %lld rows", (long long)n);
    for (sg_dim i = 0; status == SG_OK && i < n; i++) {
        rows[i] = (const int32_t *)tokens->data + (first + i) * time;
        lengths[i] = time;
    }
    const sg_rows what = {.n_rows = (int)n, .tokens = rows, .lengths = lengths, .time = time};
    if (status == SG_OK)
        status = sg_glass_run(glass, &what, n_feeds, feeds, n_fetches, fetches, out, err);
    free(rows);
    free(lengths);
    return status;
}
