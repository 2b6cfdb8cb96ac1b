/* A look's life: what it is of, its name, what enters each block; and values read from there. */
#include "serve/look_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/ops.h"

/* ---- edits from outside ---- */

sg_status look_check_edits(const json_t *edits, sg_error *err)
{
    if (!edits)
        return SG_OK;
    if (!json_is_array(edits) || json_array_size(edits) > LOOK_MOST_EDITS)
        return sg_fail(err, SG_EARG, "edits: a list of at most %d was wanted", LOOK_MOST_EDITS);
    for (size_t i = 0; i < json_array_size(edits); i++) {
        const json_t *e = json_array_get(edits, i), *value = json_object_get(e, "value");
        if (!json_is_object(e))
            return sg_fail(err, SG_EARG, "edits: edit %zu is no object", i);
        if (json_object_get(e, "rows"))
            return sg_fail(err, SG_EARG,
                           "edits: edit %zu names rows; the edited run is one of its own beside the unedited", i);
        if (json_object_get(value, "file"))
            return sg_fail(err, SG_EARG, "edits: edit %zu takes its value from a file, which requests may not name", i);
    }
    return SG_OK;
}

/* At the first need: what only predicts, such as a slider on its way, never gets here. */
static sg_status read_edits(look *l, sg_error *err)
{
    if (l->list || !l->edits)
        return SG_OK;
    char *text = json_dumps(l->edits, JSON_COMPACT);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    sg_status status = sg_edit_list_parse(&l->list, text, strlen(text), "edits", err);
    free(text);
    if (status != SG_OK)
        return status;
    /* Once: what edits take from other runs stays in the list. */
    sg_glass *glass = NULL;
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = l->of.exec;
    status = sg_glass_new(&glass, l->of.model, opts, err);
    if (status == SG_OK)
        status = sg_glass_sources(glass, l->list, err);
    sg_glass_free(glass);
    if (status != SG_OK) {
        sg_edit_list_free(l->list);
        l->list = NULL;
    }
    return status;
}

/* ---- life ---- */

static uint64_t name_of(const look *l)
{
    uint64_t h = sg_hash(l->of.tokens, (size_t)l->of.n * sizeof *l->of.tokens, l->of.hash);
    char *text = l->edits ? json_dumps(l->edits, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (text)
        h = sg_hash(text, strlen(text), h);
    free(text);
    return h;
}

static sg_status make(look *l, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    if (l->of.n < 1 || l->of.n > in->n_context)
        return sg_fail(err, SG_EARG, "the prompt has %" PRId64 " tokens, the model's context is 1 to %" PRId64, l->of.n,
                       in->n_context);
    for (sg_dim i = 0; i < l->of.n; i++)
        if (l->of.tokens[i] < 0 || l->of.tokens[i] >= in->n_vocab)
            return sg_fail(err, SG_EARG,
                           "token %" PRId32 " at place %" PRId64 " is outside the vocabulary 0 to %" PRId64,
                           l->of.tokens[i], i, in->n_vocab - 1);
    SG_TRY(look_check_edits(l->of.edits, err));
    l->tokens = malloc((size_t)l->of.n * sizeof *l->tokens);
    l->scans = calloc((size_t)in->n_layers, sizeof(look_scan *));
    if (!l->tokens || !l->scans)
        return sg_fail(err, SG_ENOMEM, "out of memory for a prompt");
    memcpy(l->tokens, l->of.tokens, (size_t)l->of.n * sizeof *l->tokens);
    l->of.tokens = l->tokens;
    if (l->of.edits && json_array_size(l->of.edits)) {
        l->edits = json_deep_copy(l->of.edits);
        if (!l->edits)
            return sg_fail(err, SG_ENOMEM, "out of memory for edits");
    }
    l->of.edits = l->edits;
    snprintf(l->id, sizeof l->id, "%016" PRIx64, name_of(l));
    return SG_OK;
}

sg_status look_new(look **out, look_of of, sg_error *err)
{
    look *l = calloc(1, sizeof *l);
    if (!l || pthread_mutex_init(&l->lock, NULL) != 0) {
        free(l);
        return sg_fail(err, SG_ENOMEM, "out of memory for a look");
    }
    l->of = of;
    const sg_status status = make(l, err);
    if (status != SG_OK) {
        look_free(l);
        return status;
    }
    *out = l;
    return SG_OK;
}

void look_free(look *l)
{
    if (!l)
        return;
    for (sg_dim i = 0; l->scans && i < sg_model_get_info(l->of.model)->n_layers; i++)
        if (l->scans[i]) {
            free(l->scans[i]->measure);
            free(l->scans[i]->thumb);
            free(l->scans[i]);
        }
    for (look_pyramid *p = l->pyramids, *next; p; p = next) {
        next = p->next;
        for (int i = 0; i < p->n_levels; i++) {
            free(p->most[i]);
            free(p->mean[i]);
        }
        free(p);
    }
    for (int i = 0; i < LOOK_BANDS; i++)
        free(l->bands[i].rows);
    free(l->scans);
    free(l->entering);
    sg_edit_list_free(l->list);
    json_decref(l->edits);
    free(l->tokens);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

const char *look_id(const look *l)
{
    return l->id;
}

const look_of *look_get_of(const look *l)
{
    return &l->of;
}

size_t look_bytes(look *l)
{
    pthread_mutex_lock(&l->lock);
    const size_t bytes = l->bytes;
    pthread_mutex_unlock(&l->lock);
    return bytes;
}

/* ---- runs ---- */

sg_status look_glass(look *l, bool edited, sg_glass **out, sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    opts.exec = l->of.exec;
    if (edited)
        SG_TRY(read_edits(l, err));
    SG_TRY(sg_glass_new(out, l->of.model, opts, err));
    if (!edited || !l->list)
        return SG_OK;
    const sg_status status = sg_glass_edit(*out, sg_edit_list_count(l->list), sg_edit_list_at(l->list, 0), err);
    if (status != SG_OK) {
        sg_glass_free(*out);
        *out = NULL;
    }
    return status;
}

sg_status look_run_rows(sg_glass *glass, const sg_rows *rows, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                        sg_value *const *fetches, sg_tensor *out, sg_error *err)
{
    const sg_plan *plan;
    SG_TRY(sg_glass_plan(glass, rows, n_feeds, feeds, n_fetches, fetches, &plan, err));
    if (sg_plan_bytes(plan) > LOOK_MOST_BYTES)
        return sg_fail(err, SG_EARG,
                       "this would take %.1f GB between its steps, at most %.1f GB are taken; ask for less",
                       (double)sg_plan_bytes(plan) / 1e9, (double)LOOK_MOST_BYTES / 1e9);
    return sg_glass_run(glass, rows, n_feeds, feeds, n_fetches, fetches, out, err);
}

sg_status look_run(look *l, sg_glass *glass, int n_feeds, const sg_named_feed *feeds, int n_fetches,
                   sg_value *const *fetches, sg_tensor *out, sg_error *err)
{
    const int32_t *row = l->tokens;
    const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &l->of.n};
    return look_run_rows(glass, &rows, n_feeds, feeds, n_fetches, fetches, out, err);
}

const float *look_entering(const look *l, int layer)
{
    const sg_dim d = sg_model_get_info(l->of.model)->d_model;
    return l->entering + (size_t)(layer * l->of.n * d);
}

static void entry_name(const look *l, int layer, char name[48])
{
    if (layer < (int)sg_model_get_info(l->of.model)->n_layers)
        snprintf(name, 48, "blocks.%d.hook_resid_pre", layer);
    else
        snprintf(name, 48, "blocks.%d.hook_resid_post", layer - 1);
}

sg_named_feed look_feed(const look *l, int layer, char name[48])
{
    const sg_dim d = sg_model_get_info(l->of.model)->d_model;
    entry_name(l, layer, name);
    return (sg_named_feed){
        name, sg_tensor_of(SG_F32, 3, (sg_dim[]){1, l->of.n, d}, l->entering + (size_t)(layer * l->of.n * d))};
}

sg_status look_enter(look *l, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const size_t each = (size_t)(l->of.n * in->d_model), bytes = each * (size_t)(in->n_layers + 1) * sizeof(float);
    const int n = (int)in->n_layers + 1;
    char name[48];

    if (l->entering)
        return SG_OK;
    if (bytes > LOOK_MOST_BYTES)
        return sg_fail(err, SG_EARG,
                       "what enters the blocks would take %.1f GB, at most %.1f GB are kept; shorten the prompt",
                       (double)bytes / 1e9, (double)LOOK_MOST_BYTES / 1e9);
    sg_glass *glass = NULL;
    sg_value **fetches = calloc((size_t)n, sizeof *fetches);
    sg_tensor *got = calloc((size_t)n, sizeof *got);
    float *entering = malloc(bytes);
    sg_status status = fetches && got && entering ? look_glass(l, true, &glass, err)
                                                  : sg_fail(err, SG_ENOMEM, "out of memory for what enters the blocks");
    for (int i = 0; i < n && status == SG_OK; i++) {
        entry_name(l, i, name);
        status = sg_glass_find(glass, name, &fetches[i], err);
    }
    if (status == SG_OK)
        status = look_run(l, glass, 0, NULL, n, fetches, got, err);
    for (int i = 0; i < n && status == SG_OK; i++)
        sg_convert(entering + (size_t)i * each, SG_F32, got[i].data, got[i].dtype, (sg_dim)each);
    sg_glass_free(glass);
    free(fetches);
    free(got);
    if (status != SG_OK) {
        free(entering);
        return status;
    }
    l->entering = entering;
    l->bytes += bytes;
    return SG_OK;
}

/* ---- values ---- */

/* The block from whose entry a site is computed; -1: none of them. */
static int block_of(const look *l, const char *site)
{
    int layer;
    const int n = (int)sg_model_get_info(l->of.model)->n_layers;
    if (sscanf(site, "blocks.%d.", &layer) == 1)
        return layer;
    return strcmp(site, "ln_final.hook_normalized") == 0 || strcmp(site, "logits") == 0 || strcmp(site, "nll") == 0 ||
                   strcmp(site, "loss") == 0
               ? n
               : -1;
}

static sg_status cut(look *l, sg_graph *g, const char *site, const look_part *part, sg_value **v, sg_error *err)
{
    for (int k = 0; k < part->n_axes; k++) {
        const sg_dim first = part->axis[k].first, stop = part->axis[k].stop;
        const int axis = k + 1;
        if (first < 0)
            continue;
        if (axis >= sg_value_n_dims(*v))
            return sg_fail(err, SG_EARG, "%.80s has %d axes behind the row, the part has %d", site,
                           sg_value_n_dims(*v) - 1, part->n_axes);
        sg_dim extent = sg_value_dim(*v, axis);
        if (extent < 0) /* a position, or as many as there are successors */
            extent = strcmp(site, "nll") == 0 ? l->of.n - 1 : l->of.n;
        if (stop <= first || stop > extent)
            return sg_fail(err, SG_EARG, "%.80s: places %" PRId64 " to %" PRId64 " of axis %d, it has %" PRId64, site,
                           first, stop - 1, k, extent);
        *v = sg_slice(g, *v, axis, first, stop, 1);
    }
    return sg_graph_status(g, err);
}

static sg_status value(look *l, const char *site, const look_part *part, sg_tensor *out, char *axes, sg_error *err)
{
    sg_glass *glass = NULL;
    sg_value *v = NULL;
    sg_tensor got;
    char name[48];
    sg_named_feed feed;
    const int block = block_of(l, site);

    sg_status status = look_glass(l, true, &glass, err);
    if (status == SG_OK)
        status = sg_glass_find(glass, site, &v, err);
    if (status == SG_OK && strchr(sg_value_axes(v), 'b') != sg_value_axes(v) && sg_value_n_dims(v) > 0)
        status = sg_fail(err, SG_EARG, "%.80s is no value of a run: it has no row", site);
    if (status == SG_OK) {
        const char *a = sg_value_axes(v);
        snprintf(axes, SG_MAX_DIMS + 1, "%s", *a ? a + 1 : a);
        status = block >= 0 ? look_enter(l, err) : SG_OK;
    }
    if (status == SG_OK && part)
        status = cut(l, sg_glass_graph(glass), site, part, &v, err);
    if (status == SG_OK && block >= 0)
        feed = look_feed(l, block, name);
    if (status == SG_OK)
        status = look_run(l, glass, block >= 0, &feed, 1, &v, &got, err);
    if (status == SG_OK) {
        *out = sg_tensor_of(SG_F32, SG_MAX(got.n_dims - 1, 0), got.dims + (got.n_dims > 0), NULL);
        out->data = malloc(SG_MAX(sg_tensor_bytes(out), 1));
        if (out->data)
            sg_convert(out->data, SG_F32, got.data, got.dtype, sg_tensor_count(out));
        else
            status = sg_fail(err, SG_ENOMEM, "out of memory for %.80s", site);
    }
    sg_glass_free(glass);
    return status;
}

sg_status look_value(look *l, const char *site, const look_part *part, sg_tensor *out, char axes[SG_MAX_DIMS + 1],
                     sg_error *err)
{
    pthread_mutex_lock(&l->lock);
    const sg_status status = value(l, site, part, out, axes, err);
    pthread_mutex_unlock(&l->lock);
    return status;
}

look_stats look_stats_of(const sg_tensor *t)
{
    const float *x = t->data;
    look_stats s = {.count = sg_tensor_count(t), .least = (double)INFINITY, .greatest = -(double)INFINITY};
    double sum = 0, squares = 0;

    for (sg_dim i = 0; i < s.count; i++) {
        const double v = (double)x[i];
        if (!isfinite(v))
            continue;
        s.finite++;
        sum += v;
        s.least = fmin(s.least, v);
        s.greatest = fmax(s.greatest, v);
    }
    s.mean = s.finite ? sum / (double)s.finite : (double)NAN;
    sum = 0;
    const double width = s.greatest - s.least;
    for (sg_dim i = 0; i < s.count; i++) {
        const double v = (double)x[i];
        if (!isfinite(v))
            continue;
        sum += (v - s.mean) * (v - s.mean);
        squares += v * v;
        const int bin = width > 0 ? (int)((v - s.least) / width * LOOK_BINS) : 0;
        s.bins[SG_MIN(bin, LOOK_BINS - 1)]++;
    }
    s.deviation = s.finite ? sqrt(sum / (double)s.finite) : (double)NAN;
    s.norm = sqrt(squares);
    return s;
}

/* ---- what a layer writes ---- */

/* The three values of a layer, [3,T,D]; the caller frees. */
static sg_status writes_of(look *l, int layer, float **out, sg_error *err)
{
    static const char *const sites[LOOK_N_WRITES] = {"hook_resid_post", "hook_attn_out", "hook_mlp_out"};
    const sg_model_info *in = sg_model_get_info(l->of.model);
    const size_t each = (size_t)(l->of.n * in->d_model);
    sg_glass *glass = NULL;
    sg_value *v[LOOK_N_WRITES];
    sg_tensor got[LOOK_N_WRITES];
    char name[48], site[64];

    *out = NULL;
    if (layer < 0 || layer >= in->n_layers)
        return sg_fail(err, SG_EARG, "layer %d of %" PRId64, layer, in->n_layers);
    pthread_mutex_lock(&l->lock);
    sg_status status = look_enter(l, err);
    if (status == SG_OK)
        status = look_glass(l, true, &glass, err);
    for (int w = 0; w < LOOK_N_WRITES && status == SG_OK; w++) {
        snprintf(site, sizeof site, "blocks.%d.%s", layer, sites[w]);
        status = sg_glass_find(glass, site, &v[w], err);
    }
    if (status == SG_OK) {
        const sg_named_feed feed = look_feed(l, layer, name);
        status = look_run(l, glass, 1, &feed, LOOK_N_WRITES, v, got, err);
    }
    if (status == SG_OK) {
        *out = malloc(LOOK_N_WRITES * each * sizeof **out);
        status = *out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for layer %d", layer);
    }
    for (int w = 0; w < LOOK_N_WRITES && status == SG_OK; w++)
        sg_convert(*out + (size_t)w * each, SG_F32, got[w].data, got[w].dtype, (sg_dim)each);
    sg_glass_free(glass);
    pthread_mutex_unlock(&l->lock);
    return status;
}

sg_status look_writes(look *l, look *other, int layer, float *norm, float *changed, sg_error *err)
{
    const sg_dim d = sg_model_get_info(l->of.model)->d_model, n = l->of.n * LOOK_N_WRITES;
    float *mine = NULL, *theirs = NULL;

    if (other && (other->of.model != l->of.model || other->of.n != l->of.n))
        return sg_fail(err, SG_EARG,
                       "runs of one model and as many tokens are compared; these have %" PRId64 " and %" PRId64,
                       l->of.n, other->of.n);
    sg_status status = writes_of(l, layer, &mine, err);
    if (status == SG_OK && other)
        status = writes_of(other, layer, &theirs, err);
    for (sg_dim i = 0; i < n && status == SG_OK; i++) {
        double own = 0, apart = 0, base = 0;
        for (sg_dim k = 0; k < d; k++) {
            const double x = (double)mine[i * d + k], y = theirs ? (double)theirs[i * d + k] : 0;
            own += x * x;
            apart += (x - y) * (x - y);
            base += y * y;
        }
        norm[i] = (float)sqrt(own);
        if (other)
            changed[i] = (float)(apart == 0 ? 0 : sqrt(apart / base));
    }
    free(mine);
    free(theirs);
    return status;
}
