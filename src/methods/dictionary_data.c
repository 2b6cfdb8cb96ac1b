/* Where rows come from: memory, shards on disk, or a model that is run as they are asked for. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "methods/dictionary_internal.h"

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "dictionary: out of memory for rows");
}

void sg_dict_data_free(sg_dict_data *data)
{
    if (data->free)
        data->free(data->self);
    *data = (sg_dict_data){0};
}

/* ---- in memory ---- */

static sg_status read_rows(void *self, sg_dim first, sg_dim n, float *out, sg_error *err)
{
    const sg_tensor *t = self;

    (void)err;
    memcpy(out, (const float *)t->data + first * t->dims[1], (size_t)(n * t->dims[1]) * sizeof *out);
    return SG_OK;
}

sg_status sg_dict_rows(sg_dict_data *out, const sg_tensor *acts, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];

    *out = (sg_dict_data){0};
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || acts->dims[0] < 1 || acts->dims[1] < 1)
        return sg_fail(err, acts->dtype != SG_F32 ? SG_ETYPE : SG_ESHAPE,
                       "dictionary: rows are %s %s, [N,D] f32 was wanted", sg_dtype_name(acts->dtype),
                       sg_shape_text(shape, acts->n_dims, acts->dims));
    sg_tensor *t = malloc(sizeof *t);
    if (!t)
        return no_memory(err);
    *t = *acts;
    *out = (sg_dict_data){.n_rows = acts->dims[0], .width = acts->dims[1], .read = read_rows, .free = free, .self = t};
    return SG_OK;
}

/* ---- shards ---- */

typedef struct on_disk {
    const sg_shards *shards;
    int site;
} on_disk;

static sg_status read_shards(void *self, sg_dim first, sg_dim n, float *out, sg_error *err)
{
    const on_disk *d = self;

    return sg_shards_read(d->shards, d->site, first, n, out, err);
}

sg_status sg_dict_shards(sg_dict_data *out, const sg_shards *s, int site, sg_error *err)
{
    *out = (sg_dict_data){0};
    if (site < 0 || site >= sg_shards_n_sites(s) || sg_shards_n_rows(s) < 1)
        return sg_fail(err, SG_EARG, "dictionary: site %d of %d, with %" PRId64 " rows", site, sg_shards_n_sites(s),
                       sg_shards_n_rows(s));
    on_disk *d = malloc(sizeof *d);
    if (!d)
        return no_memory(err);
    *d = (on_disk){s, site};
    *out = (sg_dict_data){.n_rows = sg_shards_n_rows(s),
                          .width = sg_shards_width(s, site),
                          .site = sg_shards_site(s, site),
                          .read = read_shards,
                          .free = free,
                          .self = d};
    return SG_OK;
}

/* ---- a live model ---- */

/* Rows come in chunks of so many batches of the source. Chunk c depends on c alone: its batches are numbers c batches
 * and on, and its rows are handed out in an order drawn for it, so that neighbours in a text do not become neighbours
 * in a batch. Each chunk has the same number of rows, which is what the source promises at least: if tokens do not
 * count, rows begin again within it. */
typedef struct live {
    sg_dict_live_opts opts;
    const sg_source *source;
    sg_glass *glass;
    sg_value *site;
    const sg_model *m;
    sg_tensor field[SG_SOURCE_FIELDS];
    sg_dim width, n_most, n; /* rows that a chunk can have, and has */
    sg_dim chunk;            /* that is here; -1: none */
    float *rows;             /* [n_most,width] */
    const int32_t **tokens;
    sg_dim *lengths;
} live;

static void live_free(void *self)
{
    live *l = self;

    if (!l)
        return;
    for (int i = 0; i < SG_SOURCE_FIELDS; i++)
        free(l->field[i].data);
    sg_glass_free(l->glass);
    free(l->rows);
    free(l->tokens);
    free(l->lengths);
    free(l);
}

static void keep(live *l, const sg_tensor *got)
{
    const sg_dim n_rows = got->dims[0], time = got->dims[1];
    const uint8_t *counts = l->source->n_fields > 1 ? l->field[1].data : NULL;

    for (sg_dim r = 0; r < n_rows; r++)
        for (sg_dim t = l->opts.skip; t < time; t++)
            if (!counts || counts[r * time + t])
                sg_convert(l->rows + l->n++ * l->width, SG_F32,
                           (const char *)got->data + (size_t)((r * time + t) * l->width) * sg_dtype_bytes(got->dtype),
                           got->dtype, l->width);
}

static sg_status run_chunk(live *l, sg_dim chunk, sg_error *err)
{
    l->n = 0;
    l->chunk = -1;
    for (sg_dim b = 0; b < l->opts.batches; b++) {
        SG_TRY(l->source->fill(l->source->self, chunk * l->opts.batches + b, l->field, err));
        const sg_dim n = l->field[0].dims[0], time = l->field[0].dims[1];
        for (sg_dim r = 0; r < n; r++) {
            l->tokens[r] = (const int32_t *)l->field[0].data + r * time;
            l->lengths[r] = time;
        }
        const sg_rows rows = {.n_rows = (int)n, .tokens = l->tokens, .lengths = l->lengths};
        sg_tensor got;
        SG_TRY(sg_glass_run(l->glass, &rows, 0, NULL, 1, &l->site, &got, err));
        keep(l, &got);
    }
    if (l->n == 0)
        return sg_fail(err, SG_EARG, "dictionary: no token of these sequences counts");
    l->chunk = chunk;
    return SG_OK;
}

static sg_status read_live(void *self, sg_dim first, sg_dim n, float *out, sg_error *err)
{
    live *l = self;

    for (sg_dim i = first; i < first + n; i++) {
        const sg_dim chunk = i / l->n_most;
        if (chunk != l->chunk)
            SG_TRY(run_chunk(l, chunk, err));
        const sg_shuffle order = sg_shuffle_new(l->opts.seed ^ (uint64_t)chunk, l->n);
        const sg_dim row = sg_shuffle_at(&order, i % l->n_most / l->n, i % l->n_most % l->n);
        memcpy(out + (i - first) * l->width, l->rows + row * l->width, (size_t)l->width * sizeof *out);
    }
    return SG_OK;
}

sg_dict_live_opts sg_dict_live_defaults(void)
{
    return (sg_dict_live_opts){.batches = 8, .skip = 1, .exec = sg_exec_defaults()};
}

static sg_status check_live(const sg_source *s, const sg_dict_live_opts *opts, sg_error *err)
{
    const sg_tensor *t = &s->field[0], *c = &s->field[1];

    if (s->n_fields < 1 || s->n_fields > 2 || t->dtype != SG_I32 || t->n_dims != 2 ||
        (s->n_fields > 1 && (c->dtype != SG_BOOL || c->n_dims != 2)))
        return sg_fail(err, SG_ESHAPE,
                       "dictionary: a live model reads tokens [rows,time] i32, and perhaps which count");
    if (opts->batches < 1 || opts->skip < 0 || opts->skip >= t->dims[1])
        return sg_fail(err, SG_EARG,
                       "dictionary: %" PRId64 " batches, the first %" PRId64 " of %" PRId64 " tokens left out",
                       opts->batches, opts->skip, t->dims[1]);
    return SG_OK;
}

static sg_status begin_live(live *l, const char *site, sg_error *err)
{
    sg_glass_opts how = sg_glass_defaults();
    char shape[SG_SHAPE_TEXT];

    how.exec = l->opts.exec;
    SG_TRY(sg_glass_new(&l->glass, l->m, how, err));
    SG_TRY(sg_glass_find(l->glass, site, &l->site, err));
    const int n_dims = sg_value_n_dims(l->site);
    l->width = 1;
    for (int i = 2; i < n_dims; i++)
        l->width *= SG_MAX(sg_value_dim(l->site, i), 0);
    if (n_dims < 3 || l->width < 1)
        return sg_fail(err, SG_ESHAPE, "dictionary: %s is %s, wanted [batch,time,...]", site,
                       sg_value_shape_text(l->site, shape));
    const sg_tensor *t = &l->source->field[0];
    l->n_most = l->opts.batches * t->dims[0] * (t->dims[1] - l->opts.skip);
    l->rows = malloc((size_t)(l->n_most * l->width) * sizeof *l->rows);
    l->tokens = calloc((size_t)t->dims[0] + 1, sizeof *l->tokens);
    l->lengths = calloc((size_t)t->dims[0] + 1, sizeof *l->lengths);
    bool good = l->rows && l->tokens && l->lengths;
    for (int i = 0; i < l->source->n_fields && good; i++) {
        l->field[i] = l->source->field[i];
        good = (l->field[i].data = malloc(sg_tensor_bytes(&l->field[i]) + 1)) != NULL;
    }
    return good ? SG_OK : no_memory(err);
}

sg_status sg_dict_live(sg_dict_data *out, const sg_model *m, const char *site, const sg_source *tokens,
                       sg_dict_live_opts opts, sg_error *err)
{
    *out = (sg_dict_data){0};
    SG_TRY(check_live(tokens, &opts, err));
    live *l = calloc(1, sizeof *l);
    if (!l)
        return no_memory(err);
    *l = (live){.opts = opts, .source = tokens, .m = m, .chunk = -1};
    const sg_status status = begin_live(l, site, err);
    if (status != SG_OK) {
        live_free(l);
        return status;
    }
    *out = (sg_dict_data){.n_rows = INT64_MAX,
                          .width = l->width,
                          .site = sg_value_name(l->site),
                          .model = sg_model_get_info(m)->path,
                          .read = read_live,
                          .free = live_free,
                          .self = l};
    return SG_OK;
}

/* ---- what is known of rows before any fit ---- */

sg_status dict_sample(float **rows, sg_dim *n, const sg_dict_data *data, sg_dim most, uint64_t seed, sg_error *err)
{
    const bool all = data->n_rows <= most || data->n_rows == INT64_MAX;
    size_t bytes;

    *n = SG_MIN(most, data->n_rows);
    SG_TRY(sg_bytes(*n, (size_t)data->width * sizeof **rows, &bytes));
    *rows = malloc(bytes);
    if (!*rows)
        return no_memory(err);
    sg_status status = all ? data->read(data->self, 0, *n, *rows, err) : SG_OK;
    const sg_shuffle order = sg_shuffle_new(seed ^ 0x73616d70, SG_MIN(data->n_rows, (sg_dim)1 << 60));
    for (sg_dim i = 0; i < *n && !all && status == SG_OK; i++)
        status = data->read(data->self, sg_shuffle_at(&order, 0, i), 1, *rows + i * data->width, err);
    for (sg_dim i = 0; i < *n * data->width && status == SG_OK; i++)
        if (!isfinite((*rows)[i]))
            status =
                sg_fail(err, SG_ENUMERIC, "dictionary: number %" PRId64 " of a row is not finite", i % data->width);
    if (status != SG_OK) {
        free(*rows);
        *rows = NULL;
    }
    return status;
}

void dict_standard(float *mean, double *scale, const float *rows, sg_dim n, sg_dim width, bool centre)
{
    double length = 0;

    for (sg_dim d = 0; d < width; d++) {
        double sum = 0;
        for (sg_dim i = 0; i < n && centre; i++)
            sum += (double)rows[i * width + d];
        mean[d] = (float)(sum / (double)n);
    }
    for (sg_dim i = 0; i < n; i++) {
        double square = 0;
        for (sg_dim d = 0; d < width; d++) {
            const double off = (double)rows[i * width + d] - (double)mean[d];
            square += off * off;
        }
        length += sqrt(square);
    }
    *scale = length > 0 ? sqrt((double)width) * (double)n / length : 1;
}
