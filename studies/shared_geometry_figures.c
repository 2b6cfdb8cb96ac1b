/* Pictures of the shared-geometry study. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shared_geometry_parts.h"
#include "sightglass/layout.h"

static sg_status matrices(geo_study *s, const geo_pair *pairs, const geo_pair *shuffled)
{
    double cells[2][GEO_MODELS * GEO_MODELS];
    sg_panel panels[2];
    static const char *const titles[2] = {"correlation of cosines", "cosine of locally linear weights"};
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < GEO_MODELS * GEO_MODELS; i++)
            cells[k][i] = i / GEO_MODELS == i % GEO_MODELS ? 1 : (double)NAN;
        for (int i = 0; i < GEO_PAIRS + GEO_SAME; i++) {
            const geo_pair *p = i < GEO_PAIRS ? &pairs[i] : &shuffled[i - GEO_PAIRS];
            const double x = k ? p->lle : p->alike.r;
            cells[k][p->a * GEO_MODELS + p->b] = cells[k][p->b * GEO_MODELS + p->a] = x;
        }
        panels[k] = (sg_panel){.title = titles[k], .n_rows = GEO_MODELS, .n_columns = GEO_MODELS, .cells = cells[k]};
    }
    return sg_report_add_figure(s->report,
                                &(sg_figure){.id = "alike",
                                             .title = "How alike the six models are",
                                             .kind = SG_FIGURE_MATRIX,
                                             .caption =
                                                 "0 to 2: width 64, three seeds; 3: width 96; 4: width 128; 5: the "
                                                 "text with its words shuffled.",
                                             .x = {.label = "model"},
                                             .y = {.label = "model"},
                                             .value = {.label = "alike", .low = -1, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                s->err);
}

static sg_status bands(geo_study *s, const geo_pair *pairs, const geo_pair *shuffled)
{
    enum { N = GEO_PAIRS * GEO_BANDS };
    double x[3][N], y[3][N];
    for (int i = 0; i < N; i++) {
        const geo_pair *p = &pairs[i / GEO_BANDS];
        x[0][i] = x[1][i] = i % GEO_BANDS + 1;
        y[0][i] = p->band[i % GEO_BANDS];
        y[1][i] = p->band_null[i % GEO_BANDS];
    }
    for (int i = 0; i < GEO_SAME * GEO_BANDS; i++) {
        x[2][i] = i % GEO_BANDS + 1.15;
        y[2][i] = shuffled[i / GEO_BANDS].band[i % GEO_BANDS];
    }
    const sg_series series[] = {{"one text", N, x[0], y[0]},
                                {"tokens permuted", N, x[1], y[1]},
                                {"words shuffled", GEO_SAME * GEO_BANDS, x[2], y[2]}};
    const sg_panel panel = {.n_series = 3, .series = series};
    return sg_report_add_figure(s->report,
                                &(sg_figure){.id = "bands",
                                             .title = "Correlation of cosines within thirds of frequency",
                                             .kind = SG_FIGURE_POINTS,
                                             .caption =
                                                 "1: the rarest third of the tokens, 3: the most frequent. A point for "
                                                 "each pair of models.",
                                             .x = {.label = "third of frequency", .low = .5, .high = GEO_BANDS + .5},
                                             .y = {.label = "Pearson's r", .low = -.2, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                s->err);
}

static sg_status steering(geo_study *s, int n, const geo_carried *carried)
{
    static const char *const names[GEO_WAYS] = {"the target's own", "carried", "map of permuted tokens", "random map",
                                                "random direction"};
    double *numbers = malloc(sizeof *numbers * (size_t)n * (GEO_WAYS + 1));
    sg_series series[GEO_WAYS];
    if (!numbers)
        return sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
    for (int i = 0; i < n; i++)
        numbers[i] = i + 1;
    for (int k = 0; k < GEO_WAYS; k++) {
        double *y = numbers + (k + 1) * n;
        for (int i = 0; i < n; i++)
            y[i] = carried[i].way[k].log_odds;
        series[k] = (sg_series){names[k], n, numbers, y};
    }
    const sg_panel panel = {.n_series = GEO_WAYS, .series = series};
    const sg_status status = sg_report_add_figure(
        s->report,
        &(sg_figure){.id = "steering",
                     .title = "What directions do in another model",
                     .kind = SG_FIGURE_POINTS,
                     .caption = "Rise of the log-odds of upper case at the strength that costs .1 nats per "
                                "token of plain text.",
                     .x = {.label = "pair of source and target", .low = .5, .high = n + .5},
                     .y = {.label = "log-odds", .unit = "nats"},
                     .n_panels = 1,
                     .panels = &panel},
        s->err);
    free(numbers);
    return status;
}

static sg_status curves(geo_study *s, geo_steered *from, geo_steered *to, int i_from, int i_to)
{
    double x[2][GEO_CURVE], y[2][GEO_CURVE];
    sg_emb2emb *map;
    float *carried = malloc(sizeof *carried * (size_t)geo_steered_width(to));
    if (!carried)
        return sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
    sg_status status = sg_emb2emb_fit(&map, &s->table[i_from]->table, &s->table[i_to]->table, s->ids, s->ids, s->n,
                                      sg_emb2emb_defaults(), s->err);
    if (status == SG_OK) {
        sg_emb2emb_vector(carried, map, geo_steered_native(from));
        status = geo_curve(y[0], x[0], to, geo_steered_native(to));
        if (status == SG_OK)
            status = geo_curve(y[1], x[1], to, carried);
    }
    sg_emb2emb_free(map);
    free(carried);
    SG_TRY(status);
    const sg_series series[] = {{"the target's own", GEO_CURVE, x[0], y[0]}, {"carried", GEO_CURVE, x[1], y[1]}};
    const sg_panel panel = {.n_series = 2, .series = series};
    return sg_report_add_figure(s->report,
                                &(sg_figure){.id = "cost",
                                             .title = "Effect against cost, from w64-1 to w96-1",
                                             .kind = SG_FIGURE_LINES,
                                             .x = {.label = "cost on plain text", .unit = "nats per token"},
                                             .y = {.label = "log-odds of upper case", .unit = "nats"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                s->err);
}

/* ---- maps of tokens ---- */

enum { BEGINS, INNER, UPPER, REST, CLASSES };

static sg_status classes(int *of, geo_study *s)
{
    const sg_tokenizer *tok = sg_model_tokenizer(s->model[0]);
    for (sg_dim i = 0; i < s->n; i++) {
        char *bytes = NULL;
        size_t n = 0;
        bool upper = false, lower = false;
        if (tok)
            SG_TRY(sg_token_bytes(&bytes, &n, tok, sg_token_escape_of(tok), s->ids[i], s->err));
        for (size_t k = 0; k < n; k++) {
            upper |= bytes[k] >= 'A' && bytes[k] <= 'Z';
            lower |= bytes[k] >= 'a' && bytes[k] <= 'z';
        }
        of[i] = upper ? UPPER : !lower ? REST : bytes[0] == ' ' ? BEGINS : INNER;
        free(bytes);
    }
    return SG_OK;
}

static sg_status lay_out(sg_tensor *xy, const geo_study *s, int model)
{
    const sg_dim d = s->table[model]->table.dims[1];
    sg_layout_opts opts = sg_layout_defaults();
    sg_tensor x = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n, d}, malloc(sizeof(float) * (size_t)(s->n * d)));
    *xy = sg_tensor_of(SG_F32, 2, (sg_dim[]){s->n, 2}, malloc(sizeof(float) * 2 * (size_t)s->n));
    sg_status status = x.data && xy->data ? SG_OK : sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
    for (sg_dim i = 0; status == SG_OK && i < s->n; i++)
        memcpy((float *)x.data + i * d, (const float *)s->table[model]->table.data + s->ids[i] * d,
               sizeof(float) * (size_t)d);
    opts.metric = SG_METRIC_COSINE;
    opts.cancel = s->opts->cancel;
    if (status == SG_OK)
        status = sg_layout_make(xy, &x, opts, s->err);
    free(x.data);
    return status;
}

static sg_status map_figure(geo_study *s)
{
    enum { MAPS = 2 };
    static const int of[MAPS] = {0, 4};
    static const char *const names[CLASSES] = {"begins a word", "inside a word", "upper case", "other"};
    sg_series series[MAPS][CLASSES];
    sg_panel panels[MAPS];
    int *class = malloc(sizeof *class * (size_t)s->n);
    double *numbers = malloc(sizeof *numbers * MAPS * 2 * (size_t)s->n), *at = numbers;
    sg_status status =
        class && numbers ? classes(class, s) : sg_fail(s->err, SG_ENOMEM, "shared-geometry: out of memory");
    for (int k = 0; status == SG_OK && k < MAPS; k++) {
        sg_tensor xy = {0};
        status = lay_out(&xy, s, of[k]);
        for (int c = 0; status == SG_OK && c < CLASSES; c++) {
            int n = 0;
            for (sg_dim i = 0; i < s->n; i++)
                n += class[i] == c;
            series[k][c] = (sg_series){names[c], n, at, at + n};
            double *x = at, *y = at + n;
            for (sg_dim i = 0; i < s->n; i++)
                if (class[i] == c) {
                    *x++ = (double)((const float *)xy.data)[2 * i];
                    *y++ = (double)((const float *)xy.data)[2 * i + 1];
                }
            at += 2 * n;
        }
        panels[k] = (sg_panel){.title = geo_name(of[k]), .n_series = CLASSES, .series = series[k]};
        free(xy.data);
    }
    if (status == SG_OK)
        status = sg_report_add_figure(s->report,
                                      &(sg_figure){.id = "maps",
                                                   .title = "Tokens of two models by t-SNE of cosines",
                                                   .kind = SG_FIGURE_POINTS,
                                                   .caption =
                                                       "Each is laid out for itself: what is alike is which tokens lie "
                                                       "together, not where.",
                                                   .x = {.label = "first coordinate"},
                                                   .y = {.label = "second coordinate"},
                                                   .n_panels = MAPS,
                                                   .panels = panels},
                                      s->err);
    free(class);
    free(numbers);
    return status;
}

sg_status geo_figures(geo_study *s, const geo_pair *pairs, const geo_pair *shuffled, int n_carried,
                      const geo_carried *carried, geo_steered *from, geo_steered *to)
{
    SG_TRY(matrices(s, pairs, shuffled));
    SG_TRY(bands(s, pairs, shuffled));
    SG_TRY(steering(s, n_carried, carried));
    SG_TRY(curves(s, from, to, 0, GEO_SEEDS));
    return map_figure(s);
}
