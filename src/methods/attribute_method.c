/* sightglass attribute map: one map of a picture, a text or a row of numbers, beside that of the network with its
 * weights shuffled; sightglass attribute patch: attribution patching of all sites, beside the true patches. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/attribute.h"
#include "sightglass/npy.h"
#include "sightglass/patch.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { MOST_SHOWN = 56, ORDERS = 5, STEPS = 20, ORDER_STREAM = 0x6f726465, TABLE_ROWS = 20 };

typedef struct work {
    sg_method_run *r;
    sg_model *model;
    const sg_model_info *info;
    sg_arena *arena;
    sg_bitmap *picture;
    sg_npy *numbers;
    sg_tensor pixels; /* by malloc */
    sg_tokens ids;
    sg_named_feed feed;
    sg_attribute_input in;
    sg_attribute_opts opts;
    const char *site;
    sg_attributer *a, *shuffled;
    sg_attribute_map *map, *other;
    sg_dim height, width;
    double *places, *other_places, *plain;
    const char *what; /* plain: what was looked at without a network */
} work;

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "attribute: out of memory");
}

static bool ends_in(const char *path, const char *ending)
{
    const size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

static sg_status on_progress(work *w, const char *part, double done, sg_error *err)
{
    const volatile sig_atomic_t *cancel = sg_method_cancel(w->r);
    sg_method_progress(w->r, done, part);
    return cancel && *cancel ? sg_fail(err, SG_ECANCELLED, "stopped in %s", part) : SG_OK;
}

/* ---- words ---- */

/* A class by its number, or by a part of its name that only one has. */
static sg_status read_class(const work *w, const char *text, sg_dim *out, sg_error *err)
{
    char *end;
    const long long number = strtoll(text, &end, 10);
    sg_dim found = -1;
    if (*text && !*end) {
        *out = number;
        return number >= 0 && number < w->info->n_labels
                   ? SG_OK
                   : sg_fail(err, SG_EARG, "attribute: class %lld, wanted 0 to %" PRId64, number,
                             w->info->n_labels - 1);
    }
    for (sg_dim i = 0; i < w->info->n_labels; i++) {
        const char *label = sg_model_label(w->model, i);
        if (label && strcmp(label, text) == 0) {
            *out = i;
            return SG_OK;
        }
        if (label && strstr(label, text)) {
            if (found >= 0)
                return sg_fail(err, SG_EARG,
                               "attribute: \"%.40s\" is in the names of %" PRId64 " %.60s and %" PRId64 " %.60s", text,
                               found, sg_model_label(w->model, found), i, label);
            found = i;
        }
    }
    *out = found;
    return found >= 0 ? SG_OK : sg_fail(err, SG_ENOTFOUND, "attribute: no class is called \"%.60s\"", text);
}

static sg_status read_token(const sg_model *m, const char *text, int32_t *out, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    char *end;
    const long number = strtol(text, &end, 10);
    sg_tokens ids = {0};
    if (*text && !*end) {
        *out = (int32_t)SG_MAX(SG_MIN(number, INT32_MAX), -1);
        return *out >= 0 && *out < sg_model_get_info(m)->n_vocab
                   ? SG_OK
                   : sg_fail(err, SG_EARG, "attribute: token %ld, wanted 0 to %" PRId64, number,
                             sg_model_get_info(m)->n_vocab - 1);
    }
    if (!t)
        return sg_fail(err, SG_EARG, "attribute: the model has no tokenizer, a token is told by its number");
    if (sg_tokenizer_id(t, text) >= 0) { /* as the vocabulary writes it */
        *out = sg_tokenizer_id(t, text);
        return SG_OK;
    }
    SG_TRY(sg_tokenizer_encode(t, text, sg_encode_defaults(), &ids, err));
    const sg_dim n = ids.n;
    const bool begun = n > 1 && ids.ids[0] == sg_model_get_info(m)->bos;
    if (n > 0)
        *out = ids.ids[n - 1];
    sg_tokens_free(&ids);
    return n == (begun ? 2 : 1) ? SG_OK
                                : sg_fail(err, SG_EARG, "attribute: \"%.60s\" is %" PRId64 " tokens, wanted one", text,
                                          begun ? n - 1 : n);
}

static const char *token_text(const sg_model *m, int32_t id, char buf[32])
{
    const sg_tokenizer *t = sg_model_tokenizer(m);
    const char *text = t ? sg_tokenizer_token(t, id) : NULL;
    if (text)
        snprintf(buf, 32, "%.28s", text);
    else
        snprintf(buf, 32, "%" PRId32, id);
    return buf;
}

/* ---- the input ---- */

static sg_status read_input(work *w, sg_error *err)
{
    const char *text = sg_method_text(w->r, "text");
    const bool file = sg_method_n_inputs(w->r) > 1;
    if (file == (text != NULL))
        return sg_fail(err, SG_EARG, "attribute: wanted either INPUT, a picture or FILE.npy, or --text");
    if (text) {
        const sg_tokenizer *t = sg_model_tokenizer(w->model);
        if (!t)
            return sg_fail(err, SG_EARG, "attribute: the model has no tokenizer, so it reads no --text");
        SG_TRY(sg_tokenizer_encode(t, text, sg_encode_defaults(), &w->ids, err));
        w->in.tokens = w->ids.ids;
        w->in.n_tokens = w->ids.n;
        return SG_OK;
    }
    const char *path = sg_method_input_at(w->r, 1);
    SG_TRY(sg_method_data(w->r, path, err));
    w->in.n_feeds = 1;
    w->in.feeds = &w->feed;
    if (ends_in(path, ".npy")) {
        SG_TRY(sg_npy_open(&w->numbers, path, err));
        w->feed = (sg_named_feed){w->site, *sg_npy_tensor(w->numbers)};
        if (w->feed.tensor.n_dims == 1) { /* one row of a table */
            w->feed.tensor.n_dims = 2;
            w->feed.tensor.dims[1] = w->feed.tensor.dims[0];
            w->feed.tensor.dims[0] = 1;
        }
        return SG_OK;
    }
    if (!w->info->image_side)
        return sg_fail(err, SG_EARG, "attribute: %s reads no images; a text is given by --text", w->info->path);
    SG_TRY(sg_bitmap_open(&w->picture, path, err));
    SG_TRY(sg_model_pixels(w->model, 1, (const sg_bitmap *const[]){w->picture}, &w->pixels, err));
    w->feed = (sg_named_feed){"pixels", w->pixels};
    return SG_OK;
}

/* The class or token asked about: as said, or what the model itself says. */
static sg_status read_target(work *w, sg_attribute_target *target, sg_error *err)
{
    const bool labels = w->info->task == SG_TASK_LABEL || w->info->task == SG_TASK_LABEL_EACH;
    const char *one = sg_method_text(w->r, labels ? "class" : "token"), *less = sg_method_text(w->r, "minus");
    sg_dim *const to[2] = {&w->in.index, &w->in.other};
    const char *const texts[2] = {one, less};
    target->position = (sg_dim)sg_method_number(w->r, "position");
    target->probability = sg_method_flag(w->r, "probability");
    target->less_other = less != NULL;
    if (sg_method_text(w->r, labels ? "token" : "class"))
        return sg_fail(err, SG_EARG, "attribute: of this model one asks about %s", labels ? "--class" : "--token");
    for (int i = 0; i < 2; i++) {
        int32_t token = 0;
        if (!texts[i])
            continue;
        if (labels) {
            SG_TRY(read_class(w, texts[i], to[i], err));
        } else {
            SG_TRY(read_token(w->model, texts[i], &token, err));
            *to[i] = token;
        }
    }
    if (one)
        return SG_OK;
    sg_glass *glass;
    sg_glass_opts opts = sg_glass_defaults();
    sg_value *logits;
    sg_tensor out;
    const sg_rows rows = {.n_rows = 1, .tokens = &w->in.tokens, .lengths = &w->in.n_tokens};
    opts.exec = sg_method_exec(w->r);
    SG_TRY(sg_glass_new(&glass, w->model, opts, err));
    sg_status status = sg_glass_find(glass, labels ? "class_logits" : "logits", &logits, err);
    if (status == SG_OK)
        status = sg_glass_run(glass, w->in.tokens ? &rows : NULL, w->in.n_feeds, w->in.feeds, 1, &logits, &out, err);
    if (status == SG_OK) {
        const sg_dim n = out.dims[out.n_dims - 1], time = out.n_dims == 3 ? out.dims[1] : 1;
        const sg_dim at = out.n_dims == 3 ? (target->position < 0 ? time + target->position : target->position) : 0;
        if (at < 0 || at >= time)
            status = sg_fail(err, SG_EARG, "attribute: position %" PRId64 " of %" PRId64, target->position, time);
        for (sg_dim i = 1; i < n && status == SG_OK; i++)
            if (sg_tensor_get(&out, at * n + i) > sg_tensor_get(&out, at * n + w->in.index))
                w->in.index = i;
    }
    sg_glass_free(glass);
    return status;
}

static void name_target(const work *w, char *buf, size_t room)
{
    char token[32];
    const bool labels = w->info->task == SG_TASK_LABEL || w->info->task == SG_TASK_LABEL_EACH;
    const char *label = labels ? sg_model_label(w->model, w->in.index) : NULL;
    if (labels)
        snprintf(buf, room, "class %" PRId64 "%s%.60s", w->in.index, label ? ", " : "", label ? label : "");
    else
        snprintf(buf, room, "token %" PRId64 ", \"%s\"", w->in.index,
                 token_text(w->model, (int32_t)w->in.index, token));
}

/* ---- what is told ---- */

static sg_finding plain_finding(const work *w, const char *id, const char *text, double value, const char *control,
                                double control_value)
{
    return (sg_finding){.id = id,
                        .where = w->site,
                        .text = text,
                        .value = value,
                        .low = nan(""),
                        .high = nan(""),
                        .n = w->height * w->width,
                        .control = control,
                        .control_value = control_value,
                        .control_low = nan(""),
                        .control_high = nan("")};
}

static sg_status correlations(work *w, sg_error *err)
{
    double left, seen;
    const sg_dim n = w->height * w->width;
    SG_TRY(sg_stats_spearman(&left, n, w->places, w->other_places, err));
    SG_TRY(sg_stats_spearman(&seen, n, w->places, w->plain, err));
    const sg_finding f = plain_finding(w, "left",
                                       "rank correlation with the map of the same network, all weights shuffled: near "
                                       "0 if the map is about what it learnt",
                                       left, w->what, seen);
    SG_TRY(sg_result_add(sg_method_result(w->r), &f, err));
    if (w->map->kind != SG_ATTRIBUTE_INTEGRATED)
        return SG_OK;
    sg_attribute_opts o = w->opts;
    sg_attribute_map *m;
    double sum = 0;
    const double whole = w->map->score - w->map->baseline_score;
    o.kind = SG_ATTRIBUTE_INPUT_X_GRADIENT;
    SG_TRY(sg_attribute(&m, w->a, &w->in, &o, err));
    for (sg_dim i = 0; i < m->n; i++)
        sum += m->map[i];
    sg_attribute_map_free(m);
    const sg_finding residual =
        plain_finding(w, "residual", "|sum of the map less S(x) - S(x0)|, share of the latter",
                      fabs(w->map->residual / whole), "input times gradient in its place", fabs((sum - whole) / whole));
    return sg_result_add(sg_method_result(w->r), &residual, err);
}

/* Areas as shares of the way from all filled (0) to the input (1), beside random orders. */
static sg_status areas(work *w, sg_error *err)
{
    const sg_dim n = w->height * w->width;
    double *random = sg_arena_array(w->arena, (size_t)n, sizeof *random), area[2][ORDERS + 1];
    sg_rng g = sg_rng_new(sg_method_seed(w->r), ORDER_STREAM);
    const int n_steps = (int)SG_MIN(n, STEPS);
    if (!random)
        return no_memory(err);
    for (int k = 0; k <= ORDERS; k++) {
        sg_attribute_curve *c;
        for (sg_dim i = 0; i < n && k; i++)
            random[i] = sg_rng_uniform(&g);
        SG_TRY(sg_attribute_curves(&c, w->a, &w->in, k ? random : w->places, n_steps, &w->opts, err));
        const double empty = c->deletion[n_steps], whole = c->deletion[0] - empty;
        area[0][k] = (c->deletion_area - empty) / whole;
        area[1][k] = (c->insertion_area - empty) / whole;
        sg_attribute_curve_free(c);
        SG_TRY(on_progress(w, "filling", (k + 1.0) / (ORDERS + 1), err));
    }
    for (int k = 0; k < 2; k++) {
        sg_finding f = plain_finding(
            w, k ? "insertion" : "deletion",
            k ? "area under the score as places are shown, the map's largest first (1: the input's): high if it "
                "finds what matters"
              : "area under the score as places are filled, the map's largest first: low if it finds what matters",
            area[k][0], "places in random order", sg_stats_mean(ORDERS, area[k] + 1));
        f.control_low = f.control_high = area[k][1];
        for (int i = 2; i <= ORDERS; i++) {
            f.control_low = SG_MIN(f.control_low, area[k][i]);
            f.control_high = SG_MAX(f.control_high, area[k][i]);
        }
        SG_TRY(sg_result_add(sg_method_result(w->r), &f, err));
    }
    return SG_OK;
}

static const char *bar(char buf[64], double v)
{
    const int n = (int)(SG_MIN(fabs(v), 1) * 10 + 0.5);
    buf[0] = 0;
    for (int i = 0; i < n; i++)
        strcat(buf, v < 0 ? "-" : "#");
    return buf;
}

/* Of a text or a row: every place with its number, and the shuffled network's. */
static sg_status place_table(work *w, sg_error *err)
{
    enum { COLUMNS = 5 };
    static const char *const columns[COLUMNS] = {"place", "what", "map", "", "weights shuffled"};
    const int n = (int)w->height;
    sg_cell *cells = sg_arena_array(w->arena, (size_t)n * COLUMNS, sizeof *cells);
    double most = 0;
    if (!cells)
        return no_memory(err);
    for (int i = 0; i < n; i++)
        most = SG_MAX(most, fabs(w->places[i]));
    for (int i = 0; i < n; i++) {
        char token[32], marks[64];
        const char *text = w->in.tokens ? token_text(w->model, w->in.tokens[i], token) : "column";
        cells[i * COLUMNS] = (sg_cell){NULL, i};
        cells[i * COLUMNS + 1] = (sg_cell){sg_arena_strdup(w->arena, text), 0};
        cells[i * COLUMNS + 2] = (sg_cell){NULL, w->places[i]};
        cells[i * COLUMNS + 3] =
            (sg_cell){sg_arena_strdup(w->arena, bar(marks, most > 0 ? w->places[i] / most : 0)), 0};
        cells[i * COLUMNS + 4] = (sg_cell){NULL, w->other_places[i]};
        if (!cells[i * COLUMNS + 1].text || !cells[i * COLUMNS + 3].text)
            return no_memory(err);
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){.id = "places",
                           .title = "The map, place by place",
                           .n_columns = COLUMNS,
                           .n_rows = n,
                           .columns = columns,
                           .cells = cells,
                           .control = "the last column: the same map of the same network with all weights shuffled"},
        err);
}

/* Small enough for a page: means over squares. */
static double *shrunk(work *w, const double *places, sg_dim step, sg_dim height, sg_dim width)
{
    double *small = sg_arena_array(w->arena, (size_t)(height * width), sizeof *small);
    for (sg_dim i = 0; i < height * width && small; i++) {
        double sum = 0;
        int n = 0;
        for (sg_dim y = i / width * step; y < SG_MIN((i / width + 1) * step, w->height); y++)
            for (sg_dim x = i % width * step; x < SG_MIN((i % width + 1) * step, w->width); x++, n++)
                sum += places[y * w->width + x];
        small[i] = sum / n;
    }
    if (small)
        sg_attribute_cap(height * width, small, 0.99);
    return small;
}

static sg_status figure(work *w, sg_error *err)
{
    const sg_dim step = (SG_MAX(w->height, w->width) + MOST_SHOWN - 1) / MOST_SHOWN;
    const sg_dim height = (w->height + step - 1) / step, width = (w->width + step - 1) / step;
    const double *const own = shrunk(w, w->places, step, height, width), *const other = shrunk(w, w->other_places, step,
                                                                                               height, width);
    if (!own || !other)
        return no_memory(err);
    const sg_panel panels[2] = {
        {.title = "the map", .n_rows = (int)height, .n_columns = (int)width, .cells = own},
        {.title = "weights shuffled", .n_rows = (int)height, .n_columns = (int)width, .cells = other}};
    const bool with_sign = sg_method_number(w->r, "reduce") == SG_REDUCE_SUM;
    return sg_result_add_figure(sg_method_result(w->r),
                                &(sg_figure){.id = "map",
                                             .title = sg_attribute_kind_text(w->map->kind),
                                             .caption = "Each to its own scale, cut at the 99th percentile.",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "column"},
                                             .y = {.label = "row"},
                                             .value = {.label = "map", .low = with_sign ? -1 : 0, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                err);
}

/* Rank correlation with the own map as layers are shuffled, from the logits down. */
static sg_status cascade(work *w, sg_error *err)
{
    enum { COLUMNS = 3 };
    static const char *const columns[COLUMNS] = {"layers shuffled", "down to", "rank correlation with the map"};
    const int levels = (int)sg_method_number(w->r, "levels"), n_weights = sg_attributer_n_weights(w->a);
    sg_cell *cells = sg_arena_array(w->arena, (size_t)(levels + 1) * COLUMNS, sizeof *cells);
    double *places = sg_arena_array(w->arena, (size_t)(w->height * w->width), sizeof *places);
    if (!levels)
        return SG_OK;
    if (!cells || !places)
        return no_memory(err);
    for (int k = 0; k <= levels; k++) {
        const int top = (int)((int64_t)n_weights * k / levels);
        sg_attributer *s;
        sg_attribute_map *m = NULL;
        double rho = nan("");
        SG_TRY(sg_attributer_shuffled(&s, w->a, top, sg_method_seed(w->r), err));
        sg_status status = sg_attribute(&m, s, &w->in, &w->opts, err);
        if (status == SG_OK) {
            sg_attribute_places(places, m, (sg_attribute_reduce)sg_method_number(w->r, "reduce"));
            status = sg_stats_spearman(&rho, w->height * w->width, places, w->places, err);
        }
        sg_attribute_map_free(m);
        sg_attributer_free(s);
        SG_TRY(status);
        const char *name = top ? sg_attributer_weight(w->a, top - 1) : "none";
        cells[k * COLUMNS] = (sg_cell){NULL, top};
        cells[k * COLUMNS + 1] = (sg_cell){sg_arena_strdup(w->arena, name ? name : ""), 0};
        cells[k * COLUMNS + 2] = (sg_cell){NULL, rho};
        SG_TRY(on_progress(w, "layers shuffled", (k + 1.0) / (levels + 1), err));
    }
    return sg_result_add_table(
        sg_method_result(w->r),
        &(sg_result_table){
            .id = "cascade",
            .title = "The map as layers are shuffled, from the score down",
            .n_columns = COLUMNS,
            .n_rows = levels + 1,
            .columns = columns,
            .cells = cells,
            .control =
                "the first row, where none is shuffled, is 1; a map that stays near it is not about what was learnt"},
        err);
}

/* Picture, map, both over each other, and the map of shuffled weights; or the map's numbers. */
static sg_status save(work *w, sg_error *err)
{
    const char *out = sg_method_out(w->r);
    if (!out)
        return SG_OK;
    if (ends_in(out, ".npy")) {
        sg_dim dims[SG_MAX_DIMS];
        memcpy(dims, w->map->dims, sizeof dims);
        const sg_tensor t = sg_tensor_of(SG_F64, w->map->n_dims, dims, w->map->map);
        SG_TRY(sg_npy_save(out, &t, err));
        return sg_result_add_file(sg_method_result(w->r), out, "the map, as the site is shaped", err);
    }
    if (w->width < 2)
        return sg_fail(err, SG_EARG, "attribute: pictures are of images; a map of a text or a row goes to FILE.npy");
    const sg_dim n = w->height * w->width;
    const int zoom = SG_MAX(1, (int)(224 / SG_MAX(w->height, w->width)));
    const bool with_sign = sg_method_number(w->r, "reduce") == SG_REDUCE_SUM;
    double *own = sg_arena_array(w->arena, (size_t)n, sizeof *own),
           *other = sg_arena_array(w->arena, (size_t)n, sizeof *other);
    sg_bitmap *parts[4] = {NULL}, *sheet = NULL;
    int n_parts = 0;
    if (!own || !other)
        return no_memory(err);
    memcpy(own, w->places, (size_t)n * sizeof *own);
    memcpy(other, w->other_places, (size_t)n * sizeof *other);
    const double cap = sg_method_number(w->r, "cap");
    sg_attribute_cap(n, own, cap);
    sg_attribute_cap(n, other, cap);
    sg_status status = SG_OK;
    if (w->picture)
        status = sg_bitmap_resize(&parts[n_parts++], w->picture, (int)w->height * zoom, (int)w->width * zoom,
                                  SG_FILTER_BILINEAR, err);
    if (status == SG_OK)
        status = sg_attribute_picture(&parts[n_parts++], w->height, w->width, own, with_sign, zoom, NULL, err);
    if (status == SG_OK && w->picture)
        status = sg_attribute_picture(&parts[n_parts++], w->height, w->width, own, with_sign, zoom, w->picture, err);
    if (status == SG_OK)
        status = sg_attribute_picture(&parts[n_parts++], w->height, w->width, other, with_sign, zoom, NULL, err);
    if (status == SG_OK)
        status = sg_bitmap_beside(&sheet, n_parts, (const sg_bitmap *const *)parts, n_parts, 8, err);
    if (status == SG_OK)
        status = sg_bitmap_save(sheet, out, err);
    for (int i = 0; i < n_parts; i++)
        sg_bitmap_free(parts[i]);
    sg_bitmap_free(sheet);
    SG_TRY(status);
    return sg_result_add_file(sg_method_result(w->r), out,
                              w->picture
                                  ? "the picture, the map, the map over the picture, the map with weights shuffled"
                                  : "the map, the map with weights shuffled",
                              err);
}

/* What a place holds without any network: edges of a picture, or the size of its numbers. */
static void look_plainly(work *w)
{
    const sg_attribute_map *m = w->map;
    if (w->width > 1) {
        sg_attribute_edges(w->plain, m->n / (w->height * w->width), w->height, w->width, m->x);
        w->what = "rank correlation with edges of the input, for which no network is needed";
        return;
    }
    for (sg_dim p = 0; p < w->height; p++) {
        double squares = 0;
        for (sg_dim k = 0; k < m->n / w->height; k++)
            squares += m->x[p * (m->n / w->height) + k] * m->x[p * (m->n / w->height) + k];
        w->plain[p] = sqrt(squares);
    }
    w->what = "rank correlation with the size of what is fed at each place";
}

static sg_status make_map(work *w, sg_error *err)
{
    const sg_attribute_reduce how = (sg_attribute_reduce)sg_method_number(w->r, "reduce");
    SG_TRY(sg_attribute(&w->map, w->a, &w->in, &w->opts, err));
    SG_TRY(on_progress(w, "map", 1, err));
    SG_TRY(sg_attributer_shuffled(&w->shuffled, w->a, sg_attributer_n_weights(w->a), sg_method_seed(w->r), err));
    SG_TRY(sg_attribute(&w->other, w->shuffled, &w->in, &w->opts, err));
    sg_attribute_size(w->map, &w->height, &w->width);
    const size_t n = (size_t)(w->height * w->width);
    w->places = sg_arena_array(w->arena, n, sizeof *w->places);
    w->other_places = sg_arena_array(w->arena, n, sizeof *w->other_places);
    w->plain = sg_arena_array(w->arena, n, sizeof *w->plain);
    if (!w->places || !w->other_places || !w->plain)
        return no_memory(err);
    sg_attribute_places(w->places, w->map, how);
    sg_attribute_places(w->other_places, w->other, how);
    look_plainly(w);
    return on_progress(w, "weights shuffled", 1, err);
}

static sg_status map_all(work *w, sg_error *err)
{
    sg_attribute_target target = sg_attribute_target_defaults();
    char what[128], noise[64] = "";
    SG_TRY(sg_writer_check(sg_method_out(w->r), err));
    SG_TRY(sg_method_model(w->r, 0, &w->model, err));
    w->info = sg_model_get_info(w->model);
    w->site = sg_method_text(w->r, "at");
    if (!w->site)
        w->site = w->info->image_side && !sg_method_text(w->r, "text") ? "pixels" : "hook_embed";
    SG_TRY(read_input(w, err));
    SG_TRY(read_target(w, &target, err));
    w->opts = sg_attribute_defaults();
    w->opts.kind = (sg_attribute_kind)sg_method_number(w->r, "kind");
    w->opts.n = (int)sg_method_number(w->r, "n");
    w->opts.n = w->opts.n ? w->opts.n : -1;
    w->opts.noise = sg_method_number(w->r, "noise");
    w->opts.mean_fill = !sg_method_flag(w->r, "zeros");
    w->opts.window = (sg_dim)sg_method_number(w->r, "window");
    w->opts.seed = sg_method_seed(w->r);
    w->opts.cancel = sg_method_cancel(w->r);
    w->opts.progress = sg_method_on_progress;
    w->opts.context = w->r;
    SG_TRY(sg_attributer_model(&w->a, w->model, w->site, &target, 0, sg_method_exec(w->r), err));
    SG_TRY(make_map(w, err));
    name_target(w, what, sizeof what);
    if (w->map->sigma > 0)
        snprintf(noise, sizeof noise, " of deviation %.4g", w->map->sigma);
    SG_TRY(sg_result_note(sg_method_result(w->r), "%s%s of %s (%.5g) by %s; pictures cut at the %g quantile.",
                          sg_attribute_kind_text(w->map->kind), noise, what, w->map->score, w->site,
                          sg_method_number(w->r, "cap")));
    SG_TRY(correlations(w, err));
    SG_TRY(areas(w, err));
    SG_TRY(cascade(w, err));
    SG_TRY(w->width > 1 ? figure(w, err) : place_table(w, err));
    return save(w, err);
}

static sg_status run_map(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .arena = sg_arena_new()};
    const sg_status status = w.arena ? map_all(&w, err) : no_memory(err);
    sg_attribute_map_free(w.map);
    sg_attribute_map_free(w.other);
    sg_attributer_free(w.shuffled);
    sg_attributer_free(w.a);
    sg_bitmap_free(w.picture);
    sg_npy_close(w.numbers);
    sg_tokens_free(&w.ids);
    free(w.pixels.data);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input map_inputs[] = {
    {"MODEL", SG_METHOD_MODEL, 1, 1, "any model: of images, of texts"},
    {"INPUT", SG_METHOD_FILE, 0, 1, "a picture (PNG, JPEG, BMP), or FILE.npy with what --at is fed"}};

static const sg_option map_options[] = {
    {"kind", SG_OPTION_CHOICE, "smooth", 0, 0,
     "gradient|input-x-gradient|smooth|smooth2|vargrad|integrated|guided|occlusion", "of map"},
    {"text", SG_OPTION_TEXT, "", 0, 0, NULL, "a text, in the place of INPUT"},
    {"class", SG_OPTION_TEXT, "", 0, 0, NULL, "label asked about, by number or a part of its name (the likeliest)"},
    {"token", SG_OPTION_TEXT, "", 0, 0, NULL, "token asked about, by text or number (the likeliest)"},
    {"minus", SG_OPTION_TEXT, "", 0, 0, NULL, "less this one's"},
    {"position", SG_OPTION_WHOLE, "-1", -1e9, 1e9, NULL, "of a text's logits; below 0 from the end"},
    {"probability", SG_OPTION_FLAG, "no", 0, 0, NULL, "its probability in the place of its logit"},
    {"at", SG_OPTION_TEXT, "", 0, 0, NULL, "value the map is of (pixels, hook_embed)"},
    {"n", SG_OPTION_WHOLE, "0", 0, 100000, NULL, "noisy copies, or steps of integrated; 0: 25, or 50"},
    {"noise", SG_OPTION_REAL, "0.15", 0, 1000, NULL, "deviation of the noise, share of the input's range"},
    {"zeros", SG_OPTION_FLAG, "no", 0, 0, NULL, "what is filled is filled with zeros, not with each channel's mean"},
    {"window", SG_OPTION_WHOLE, "0", 0, 4096, NULL, "side of what occlusion fills; 0: an eighth"},
    {"reduce", SG_OPTION_CHOICE, "sum", 0, 0, "sum|max|l2|signed",
     "over channels or components of a place: of sizes, or with signs"},
    {"cap", SG_OPTION_REAL, "0.99", 0, 1, NULL, "quantile at which pictures are cut"},
    {"levels", SG_OPTION_WHOLE, "0", 0, 64, NULL, "steps in which layers are shuffled one after the other"},
};

const sg_method sg_method_attribute_map = {
    .name = "attribute",
    .action = "map",
    .help = "which parts of an input a class or a token depends on",
    .about =
        "Gradients of a logit by pixels, embeddings or any value inside, plain, averaged over noisy copies (Smilkov et "
        "al. 2017), "
        "along a path (Sundararajan et al. 2017), or what filling a part changes. Beside each map stands that of the "
        "same network "
        "with its weights shuffled (Adebayo et al. 2018), what the input shows without any network, and random orders.",
    .artefact = "FILE.png: picture, map, both, and the map with weights shuffled; FILE.npy: the map's numbers",
    .n_inputs = SG_COUNT_OF(map_inputs),
    .inputs = map_inputs,
    .n_options = SG_COUNT_OF(map_options),
    .options = map_options,
    .run = run_map,
};

/* ---- patch ---- */

typedef struct patching {
    sg_method_run *r;
    sg_model *model;
    sg_patch_job job;
    sg_graph *g;
    sg_tokens base, source;
    const char **sites;
    sg_patch_table *estimate, *patched;
    sg_arena *arena;
} patching;

static sg_status read_pair(patching *p, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(p->model);
    const char *base = sg_method_text(p->r, "base"), *source = sg_method_text(p->r, "source"),
               *token = sg_method_text(p->r, "token"), *minus = sg_method_text(p->r, "minus");
    if (!t)
        return sg_fail(err, SG_EARG, "attribute: the model has no tokenizer, and patches are between two texts");
    if (!base || !source || !token)
        return sg_fail(err, SG_EARG, "attribute: wanted --base, --source and --token");
    SG_TRY(sg_tokenizer_encode(t, base, sg_encode_defaults(), &p->base, err));
    SG_TRY(sg_tokenizer_encode(t, source, sg_encode_defaults(), &p->source, err));
    if (p->base.n != p->source.n)
        return sg_fail(err, SG_EARG,
                       "attribute: the texts have %" PRId64 " and %" PRId64 " tokens, wanted two of one length",
                       (int64_t)p->base.n, (int64_t)p->source.n);
    SG_TRY(read_token(p->model, token, &p->job.metric.token, err));
    if (minus)
        SG_TRY(read_token(p->model, minus, &p->job.metric.other, err));
    p->job.metric.kind = minus                                 ? SG_METRIC_LOGIT_DIFF
                         : sg_method_flag(p->r, "probability") ? SG_METRIC_PROB
                                                               : SG_METRIC_LOGIT;
    p->job.base = p->base.ids;
    p->job.source = p->source.ids;
    p->job.n_tokens = p->base.n;
    return SG_OK;
}

static sg_status agreement(patching *p, sg_error *err)
{
    sg_result *result = sg_method_result(p->r);
    sg_patch_agreement a;
    SG_TRY(sg_patch_compare(&a, p->estimate, p->patched, err));
    const sg_finding error = {.id = "error",
                              .text =
                                  "mean |estimated - true effect| of a place, shares of the difference of both runs",
                              .value = a.error,
                              .low = nan(""),
                              .high = a.worst,
                              .n = a.n,
                              .control = "an estimate that says 0 everywhere",
                              .control_value = a.error_of_nothing,
                              .control_low = nan(""),
                              .control_high = nan("")};
    SG_TRY(sg_result_add(result, &error, err));
    /* The same estimates at each other's places: what a correlation would be without knowing where. */
    sg_patch_table moved = *p->estimate;
    const sg_dim n = a.n;
    double *effect = sg_arena_array(p->arena, (size_t)n, sizeof *effect);
    if (!effect)
        return no_memory(err);
    memcpy(effect, p->estimate->effect, (size_t)n * sizeof *effect);
    sg_rng g = sg_rng_new(sg_method_seed(p->r), ORDER_STREAM);
    for (sg_dim i = n - 1; i > 0; i--) {
        const sg_dim j = sg_rng_below(&g, (uint32_t)(i + 1));
        const double x = effect[i];
        effect[i] = effect[j];
        effect[j] = x;
    }
    moved.effect = effect;
    sg_patch_agreement b;
    SG_TRY(sg_patch_compare(&b, &moved, p->patched, err));
    sg_finding f = {.id = "correlation",
                    .text = "Pearson's correlation of estimated and true effects over places",
                    .value = a.correlation,
                    .low = nan(""),
                    .high = nan(""),
                    .n = a.n,
                    .control = "the estimates at each other's places",
                    .control_value = b.correlation,
                    .control_low = nan(""),
                    .control_high = nan("")};
    SG_TRY(sg_result_add(result, &f, err));
    f.id = "ranks";
    f.text = "Spearman's correlation of the same";
    f.value = a.rank_correlation;
    f.control_value = b.rank_correlation;
    return sg_result_add(result, &f, err);
}

static sg_status largest(patching *p, sg_error *err)
{
    enum { COLUMNS = 5 };
    static const char *const columns[COLUMNS] = {"site", "position", "token", "estimate", "true patch"};
    const sg_patch_table *e = p->estimate;
    const sg_dim n = (sg_dim)e->n_sites * e->n_positions * e->n_heads;
    const int shown = (int)SG_MIN(n, TABLE_ROWS);
    double *size = sg_arena_array(p->arena, (size_t)n, sizeof *size);
    sg_dim *order = sg_arena_array(p->arena, (size_t)n, sizeof *order);
    sg_cell *cells = sg_arena_array(p->arena, (size_t)shown * COLUMNS, sizeof *cells);
    if (!size || !order || !cells)
        return no_memory(err);
    for (sg_dim i = 0; i < n; i++)
        size[i] = fabs(p->patched ? p->patched->effect[i] : e->effect[i]);
    SG_TRY(sg_stats_order(order, n, size, true, err));
    for (int k = 0; k < shown; k++) {
        const sg_dim i = order[k], at = i / e->n_heads % e->n_positions;
        const int site = (int)(i / e->n_heads / e->n_positions);
        char token[32], name[160];
        if (e->n_heads > 1)
            snprintf(name, sizeof name, "%.120s head %d", p->sites[site], (int)(i % e->n_heads));
        else
            snprintf(name, sizeof name, "%.140s", p->sites[site]);
        cells[k * COLUMNS] = (sg_cell){sg_arena_strdup(p->arena, name), 0};
        cells[k * COLUMNS + 1] = (sg_cell){NULL, (double)at};
        cells[k * COLUMNS + 2] =
            (sg_cell){sg_arena_strdup(p->arena, token_text(p->model, p->source.ids[at], token)), 0};
        cells[k * COLUMNS + 3] = (sg_cell){NULL, e->effect[i]};
        cells[k * COLUMNS + 4] = (sg_cell){p->patched ? NULL : "not run", p->patched ? p->patched->effect[i] : 0};
        if (!cells[k * COLUMNS].text || !cells[k * COLUMNS + 2].text)
            return no_memory(err);
    }
    return sg_result_add_table(
        sg_method_result(p->r),
        &(sg_result_table){.id = "largest",
                           .title = "The largest effects (0: nothing comes with the place, 1: all)",
                           .n_columns = COLUMNS,
                           .n_rows = shown,
                           .columns = columns,
                           .cells = cells,
                           .control = p->patched ? "the last column: each place patched in earnest"
                                                 : "none was run (--only-estimate): an estimate alone says "
                                                   "nothing of its own error"},
        err);
}

static sg_status patch_figure(patching *p, sg_error *err)
{
    const sg_patch_table *e = p->estimate;
    if (e->n_heads > 1 || !p->patched)
        return SG_OK;
    const sg_panel panels[2] = {
        {.title = "estimated", .n_rows = e->n_sites, .n_columns = e->n_positions, .cells = e->effect},
        {.title = "patched", .n_rows = e->n_sites, .n_columns = e->n_positions, .cells = p->patched->effect}};
    return sg_result_add_figure(sg_method_result(p->r),
                                &(sg_figure){.id = "effects",
                                             .title = "Effect of each site (down) and position (across)",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "position"},
                                             .y = {.label = "site"},
                                             .value = {.label = "effect", .low = -1, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                err);
}

static sg_status patch_all(patching *p, sg_error *err)
{
    const char *at = sg_method_text(p->r, "at");
    SG_TRY(sg_method_model(p->r, 0, &p->model, err));
    p->job = sg_patch_defaults();
    p->job.model = p->model;
    p->job.exec = sg_method_exec(p->r);
    p->job.cancel = sg_method_cancel(p->r);
    p->job.progress = sg_method_on_progress;
    p->job.context = p->r;
    p->job.by_head = sg_method_flag(p->r, "heads");
    SG_TRY(read_pair(p, err));
    SG_TRY(sg_model_graph(&p->g, p->model, 0, 1, err));
    SG_TRY(sg_method_sites(p->g,
                           at               ? at
                           : p->job.by_head ? "blocks.*.attn.hook_z"
                                            : "blocks.*.hook_resid_pre",
                           &p->sites, &p->job.n_sites, err));
    p->job.sites = p->sites;
    const double began = sg_now();
    SG_TRY(sg_patch_estimate(&p->estimate, &p->job, err));
    const double estimated = sg_now();
    if (!sg_method_flag(p->r, "only-estimate"))
        SG_TRY(sg_patch_run(&p->patched, &p->job, err));
    const double patching_took = sg_now() - estimated;
    SG_TRY(sg_result_note(sg_method_result(p->r), "metric %.4g of the base, %.4g of the source", p->estimate->base,
                          p->estimate->source));
    if (p->patched) {
        SG_TRY(sg_result_note(sg_method_result(p->r), "the estimate took %.2f s, patching each place %.2f s",
                              estimated - began, patching_took));
        SG_TRY(agreement(p, err));
    }
    SG_TRY(largest(p, err));
    return patch_figure(p, err);
}

static sg_status run_patch(sg_method_run *r, sg_error *err)
{
    patching p = {.r = r, .arena = sg_arena_new()};
    const sg_status status = p.arena ? patch_all(&p, err) : no_memory(err);
    sg_patch_table_free(p.estimate);
    sg_patch_table_free(p.patched);
    sg_tokens_free(&p.base);
    sg_tokens_free(&p.source);
    free(p.sites);
    sg_graph_free(p.g);
    sg_arena_free(p.arena);
    return status;
}

static const sg_method_input patch_inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "a model of texts"}};

static const sg_option patch_options[] = {
    {"base", SG_OPTION_TEXT, "", 0, 0, NULL, "the text that is patched"},
    {"source", SG_OPTION_TEXT, "", 0, 0, NULL, "the text, of as many tokens, whose values are put in"},
    {"token", SG_OPTION_TEXT, "", 0, 0, NULL, "token whose logit is looked at, by text or number"},
    {"minus", SG_OPTION_TEXT, "", 0, 0, NULL, "less this one's"},
    {"probability", SG_OPTION_FLAG, "no", 0, 0, NULL, "its probability in the place of its logit"},
    {"at", SG_OPTION_TEXT, "", 0, 0, NULL, "sites, by name or pattern (blocks.*.hook_resid_pre)"},
    {"heads", SG_OPTION_FLAG, "no", 0, 0, NULL, "each head by itself (blocks.*.attn.hook_z)"},
    {"only-estimate", SG_OPTION_FLAG, "no", 0, 0, NULL, "no place is patched in earnest"},
};

const sg_method sg_method_attribute_patch = {
    .name = "attribute",
    .action = "patch",
    .help = "which places carry the difference between two texts, by one gradient, and how wrong that is",
    .about = "Attribution patching (Nanda 2023; Kramar et al. 2024): the effect of putting a value of one run into "
             "another, at every site and "
             "position at once, to first order. Beside it the true patches, place by place, and how far the estimate "
             "is from them.",
    .n_inputs = SG_COUNT_OF(patch_inputs),
    .inputs = patch_inputs,
    .n_options = SG_COUNT_OF(patch_options),
    .options = patch_options,
    .run = run_patch,
};
