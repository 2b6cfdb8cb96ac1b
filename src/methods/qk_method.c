/* sightglass qk: contrasts of one head on pairs of a file, exchanges of keys, shares of scores. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/qk.h"
#include "sightglass/safetensors.h"

typedef struct work {
    sg_method_run *r;
    sg_qk_job job;
    sg_qk_pairs *pairs;
    int factors[SG_QK_MOST_FACTORS];
    sg_qk *found, *untrained;
    sg_model *fresh;
    sg_qk_basis bases[SG_QK_MOST_FACTORS];
    sg_arena *arena;
    char where[32]; /* "head 1.3" */
} work;

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "qk: out of memory");
}

static sg_status read_head(work *w, sg_error *err)
{
    const char *text = sg_method_text(w->r, "head");
    char behind;
    if (!text || sscanf(text, "%d.%d%c", &w->job.layer, &w->job.head, &behind) != 2)
        return sg_fail(err, SG_EARG, "--head is \"%.40s\", wanted LAYER.HEAD, as 1.3", text ? text : "");
    snprintf(w->where, sizeof w->where, "head %d.%d", w->job.layer, w->job.head);
    return SG_OK;
}

static sg_status read_factors(work *w, sg_error *err)
{
    const char *at = sg_method_text(w->r, "factor");
    if (!at)
        at = w->pairs->factors[0] ? w->pairs->factors[0] : "";
    while (*at) {
        char name[128];
        const size_t n = strcspn(at, ",");
        if (n == 0 || n >= sizeof name || w->job.n_factors == SG_QK_MOST_FACTORS)
            return sg_fail(err, SG_EARG, "--factor \"%.60s\": wanted names with commas between, up to %d", at,
                           SG_QK_MOST_FACTORS);
        memcpy(name, at, n);
        name[n] = 0;
        SG_TRY(sg_qk_pairs_find(&w->factors[w->job.n_factors++], w->pairs, name, err));
        at += n + (at[n] == ',');
    }
    if (!w->job.n_factors)
        return sg_fail(err, SG_EARG, "the pairs say of no factor whether keys match on it");
    w->job.factors = w->factors;
    return SG_OK;
}

/* ---- what is told ---- */

static sg_status sizes(work *w, sg_error *err)
{
    for (int f = 0; f < w->found->n_factors; f++) {
        const sg_qk_factor *z = w->found->factors[f], *u = w->untrained->factors[f];
        const sg_finding sigma = {.id = "sigma",
                                  .where = z->name,
                                  .text = "largest singular value of the contrast",
                                  .value = z->sigma[0],
                                  .low = (double)NAN,
                                  .high = (double)NAN,
                                  .n = z->n_match + z->n_differ,
                                  .control = "the same queries and keys, paired at random",
                                  .control_value = z->sigma_shuffled[0],
                                  .control_low = (double)NAN,
                                  .control_high = (double)NAN};
        sg_finding rank = sigma;
        SG_TRY(sg_result_add(sg_method_result(w->r), &sigma, err));
        rank.id = "rank";
        rank.text = "directions that have the share of the contrast's squares asked for";
        rank.value = z->rank;
        rank.control = "the same head of the model with fresh weights";
        rank.control_value = u->rank;
        SG_TRY(sg_result_add(sg_method_result(w->r), &rank, err));
    }
    return SG_OK;
}

static sg_status spectrum(work *w, const sg_qk_factor *z, const sg_qk_factor *u, sg_error *err)
{
    enum { COLUMNS = 5 };
    static const char *const columns[COLUMNS] = {"direction", "sigma", "means off", "shuffled", "fresh weights"};
    const int n = (int)SG_MIN(z->width, 16);
    sg_cell cells[16 * COLUMNS];
    double x[16];
    for (int i = 0; i < n; i++) {
        const double row[COLUMNS] = {i + 1, z->sigma[i], z->sigma_other[i], z->sigma_shuffled[i], u->sigma[i]};
        x[i] = i + 1;
        for (int c = 0; c < COLUMNS; c++)
            cells[i * COLUMNS + c] = (sg_cell){NULL, row[c]};
    }
    char id[80], title[160];
    snprintf(id, sizeof id, "sigma.%.60s", z->name);
    snprintf(title, sizeof title, "Singular values of the contrast of %.80s", z->name);
    const sg_result_table t = {
        .id = id,
        .title = title,
        .n_columns = COLUMNS,
        .n_rows = n,
        .columns = columns,
        .cells = cells,
        .control = "shuffled: the same queries and keys paired at random; fresh weights: the same head untrained. "
                   "Means off: of the contrast of centred covariances (with --centred, of uncentred ones)"};
    SG_TRY(sg_result_add_table(sg_method_result(w->r), &t, err));
    const sg_series series[] = {
        {"this head", n, x, z->sigma}, {"pairs shuffled", n, x, z->sigma_shuffled}, {"fresh weights", n, x, u->sigma}};
    const sg_panel panel = {.n_series = 3, .series = series};
    return sg_result_add_figure(
        sg_method_result(w->r),
        &(sg_figure){.id = id,
                     .title = title,
                     .kind = SG_FIGURE_LINES,
                     .caption = "The rank of a contrast comes from the data, and a head with fresh weights shows it "
                                "too; its size comes with what was learnt.",
                     .x = {.label = "direction"},
                     .y = {.label = "singular value"},
                     .n_panels = 1,
                     .panels = &panel},
        err);
}

/* How often the other factors match in either kind of pairs: what differs there is in the contrast too. */
static sg_status balance(work *w, sg_error *err)
{
    enum { COLUMNS = 4 };
    static const char *const columns[COLUMNS] = {"contrast of", "other factor", "matches where this does",
                                                 "and where it differs"};
    const sg_qk_pairs *p = w->pairs;
    const int most = w->job.n_factors * p->n_factors;
    sg_cell *cells = sg_arena_array(w->arena, (size_t)(most * COLUMNS) + 1, sizeof *cells);
    int n = 0;
    if (!cells)
        return no_memory(err);
    for (int f = 0; f < w->job.n_factors; f++)
        for (int o = 0; o < p->n_factors; o++) {
            double match[2] = {0}, all[2] = {0};
            if (o == w->factors[f])
                continue;
            for (sg_dim i = 0; i < p->n_pairs; i++) {
                const int8_t *m = p->pairs[i].match;
                if (m[w->factors[f]] < 0 || m[o] < 0)
                    continue;
                all[m[w->factors[f]]]++;
                match[m[w->factors[f]]] += m[o];
            }
            const sg_cell row[COLUMNS] = {{p->factors[w->factors[f]], 0},
                                          {p->factors[o], 0},
                                          {NULL, match[1] / all[1]},
                                          {NULL, match[0] / all[0]}};
            memcpy(cells + n++ * COLUMNS, row, sizeof row);
            if (fabs(match[1] / all[1] - match[0] / all[0]) > .1)
                SG_TRY(sg_result_note(
                    sg_method_result(w->r),
                    "Pairs that match on %s match on %s in %.0f %% of cases, pairs that differ in %.0f %%: "
                    "the contrast mixes the two.",
                    p->factors[w->factors[f]], p->factors[o], 100 * match[1] / all[1], 100 * match[0] / all[0]));
        }
    if (!n)
        return SG_OK;
    const sg_result_table t = {.id = "balance",
                               .title = "What else matches in the pairs",
                               .n_columns = COLUMNS,
                               .n_rows = n,
                               .columns = columns,
                               .cells = cells,
                               .control = "the two shares of a row are to be alike, or the contrast is of both "
                                          "factors; there is nothing else to compare with"};
    return sg_result_add_table(sg_method_result(w->r), &t, err);
}

/* The exchange in each factor's subspace and in all of them, beside random subspaces of equal rank. */
static sg_status swaps(work *w, sg_error *err)
{
    const int n_factors = w->found->n_factors, draws = (int)sg_method_number(w->r, "draws");
    const sg_dim width = w->found->width;
    double *joint = sg_arena_array(w->arena, (size_t)(width * width), sizeof *joint);
    int ranks[SG_QK_MOST_FACTORS], rank = 0;
    if (!joint)
        return no_memory(err);
    SG_TRY(sg_qk_orthogonal(joint, ranks, n_factors, w->bases, width, err));
    for (int f = 0; f < n_factors; f++)
        rank += ranks[f];
    for (int f = 0; f < n_factors; f++)
        for (int all = 0; all < (n_factors > 1 ? 2 : 1); all++) {
            const sg_qk_basis basis = all ? (sg_qk_basis){rank, joint} : w->bases[f];
            sg_qk_basis *bases = sg_arena_array(w->arena, (size_t)draws + 1, sizeof *bases);
            sg_qk_moved *moved = sg_arena_array(w->arena, (size_t)draws + 1, sizeof *moved);
            double before[2], mean[2] = {0}, low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {-HUGE_VAL, -HUGE_VAL};
            int64_t n;
            if (!bases || !moved)
                return no_memory(err);
            bases[0] = basis;
            for (int d = 0; d < draws; d++) {
                double *rows = sg_arena_array(w->arena, (size_t)(basis.rank * width) + 1, sizeof *rows);
                if (!rows)
                    return no_memory(err);
                SG_TRY(sg_qk_random(rows, basis.rank, width, sg_method_seed(w->r), (uint32_t)d, err));
                bases[d + 1] = (sg_qk_basis){basis.rank, rows};
            }
            SG_TRY(sg_qk_swaps(moved, before, &n, &w->job, w->found, f, draws + 1, bases, err));
            for (int d = 1; d <= draws; d++) {
                const double is[2] = {moved[d].attention, moved[d].scores};
                for (int i = 0; i < 2; i++) {
                    mean[i] += is[i] / draws;
                    low[i] = fmin(low[i], is[i]);
                    high[i] = fmax(high[i], is[i]);
                }
            }
            char control[96], where[160], text[200];
            snprintf(control, sizeof control, "%d random subspaces of rank %d: mean, least and most", draws,
                     basis.rank);
            snprintf(where, sizeof where, "%.60s, keys exchanged in %s", w->found->factors[f]->name,
                     all ? "all subspaces together" : "its subspace");
            snprintf(text, sizeof text,
                     "share of the attention on the matching key (%.3g before) less that on the other (%.3g) that goes "
                     "along",
                     before[0], before[1]);
            sg_finding found = {.id = "moved",
                                .where = where,
                                .text = text,
                                .value = moved[0].attention,
                                .low = moved[0].attention_within.low,
                                .high = moved[0].attention_within.high,
                                .n = n,
                                .control = control,
                                .control_value = mean[0],
                                .control_low = low[0],
                                .control_high = high[0]};
            SG_TRY(sg_result_add(sg_method_result(w->r), &found, err));
            found.id = "moved-scores";
            found.text = "share of the difference of the two scores that goes along";
            found.value = moved[0].scores;
            found.low = moved[0].scores_within.low;
            found.high = moved[0].scores_within.high;
            found.control_value = mean[1];
            found.control_low = low[1];
            found.control_high = high[1];
            SG_TRY(sg_result_add(sg_method_result(w->r), &found, err));
        }
    return SG_OK;
}

/* Scores split in the order given, and in the reverse where there are two. */
static sg_status shares(work *w, sg_error *err)
{
    const int n = w->found->n_factors;
    for (int turned = 0; turned < (n == 2 ? 2 : 1); turned++) {
        sg_qk_basis bases[SG_QK_MOST_FACTORS];
        double share[SG_QK_MOST_FACTORS], explained, by_random;
        char where[SG_QK_MOST_FACTORS * 64] = "", text[SG_QK_MOST_FACTORS * 80];
        for (int f = 0; f < n; f++) {
            const int at = turned ? n - 1 - f : f;
            bases[f] = w->bases[at];
            snprintf(where + strlen(where), sizeof where - strlen(where), "%s%.50s", f ? ", then " : "",
                     w->found->factors[at]->name);
        }
        SG_TRY(sg_qk_explained(&explained, &by_random, share, &w->job, n, bases, err));
        snprintf(text, sizeof text, "share of the squares of centred scores explained; by each:");
        for (int f = 0; f < n; f++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s %.3g", f ? "," : "", share[f]);
        SG_TRY(sg_result_add(sg_method_result(w->r),
                             &(sg_finding){.id = "explained",
                                           .where = where,
                                           .text = text,
                                           .value = explained,
                                           .low = (double)NAN,
                                           .high = (double)NAN,
                                           .n = w->pairs->n_pairs,
                                           .control = "random subspaces of equal ranks, in the mean of 5 draws",
                                           .control_value = by_random,
                                           .control_low = (double)NAN,
                                           .control_high = (double)NAN},
                             err));
    }
    return SG_OK;
}

/* ---- the joint map ---- */

static const char *label_of(const work *w, sg_dim pair, bool key)
{
    const sg_qk_pair *p = &w->pairs->pairs[pair];
    const int f = w->factors[0];
    if (p->of_key[f])
        return key ? p->of_key[f] : p->of_query[f];
    return !key ? "" : p->match[f] == 1 ? "match" : p->match[f] == 0 ? "differ" : "other";
}

static sg_status map(work *w, sg_error *err)
{
    enum { MOST_SERIES = 24 };
    float *q = NULL, *k = NULL;
    double c;
    const sg_dim n = w->pairs->n_pairs;
    double *points = sg_arena_array(w->arena, (size_t)(4 * n), sizeof *points),
           *xy = sg_arena_array(w->arena, (size_t)(4 * n), sizeof *xy);
    sg_series series[MOST_SERIES];
    const char *labels[MOST_SERIES] = {NULL};
    int n_series = 0;
    if (!points || !xy)
        return no_memory(err);
    if (w->bases[0].rank < 1)
        return SG_OK;
    SG_TRY(sg_qk_vectors(&q, &k, &w->job, err));
    const sg_status status = sg_qk_joint(points, &c, &w->bases[0], n, q, n, k, w->found->width, err);
    free(q);
    free(k);
    SG_TRY(status);
    double *at = xy;
    for (int key = 0; key < 2; key++)
        for (sg_dim i = 0; i < n && n_series < MOST_SERIES; i++) {
            const char *label = label_of(w, i, key);
            int s = 0;
            for (; s < n_series; s++)
                if (!strcmp(labels[s], label) && (series[s].name[0] == 'k') == key)
                    break;
            if (s < n_series)
                continue;
            /* A label that was not there: all its points. */
            double *x = at;
            int count = 0;
            for (sg_dim j = i; j < n; j++)
                count += !strcmp(label_of(w, j, key), label);
            double *y = x + count;
            int to = 0;
            for (sg_dim j = i; j < n; j++)
                if (!strcmp(label_of(w, j, key), label)) {
                    x[to] = points[2 * (key * n + j)];
                    y[to++] = points[2 * (key * n + j) + 1];
                }
            at += 2 * count;
            labels[n_series] = label;
            const char *name = sg_arena_printf(w->arena, "%s %.40s", key ? "keys" : "queries", label);
            if (!name)
                return no_memory(err);
            series[n_series++] = (sg_series){name, count, x, y};
        }
    char title[160], caption[320];
    snprintf(title, sizeof title, "Queries and keys of %s in the subspace of %.60s", w->where,
             w->found->factors[0]->name);
    snprintf(caption, sizeof caption,
             "Queries divided by c = %.3g, keys times c, so that products stay; the two axes of the subspace in which "
             "they reach furthest.",
             c);
    const sg_panel panel = {.n_series = n_series, .series = series};
    return sg_result_add_figure(sg_method_result(w->r),
                                &(sg_figure){.id = "joint",
                                             .title = title,
                                             .caption = caption,
                                             .kind = SG_FIGURE_POINTS,
                                             .x = {.label = "first axis"},
                                             .y = {.label = "second axis"},
                                             .n_panels = 1,
                                             .panels = &panel},
                                err);
}

/* ---- files ---- */

static sg_status save(work *w, sg_error *err)
{
    const char *dir = sg_method_out(w->r);
    const int n = w->found->n_factors;
    if (!dir)
        return SG_OK;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    sg_named_tensor *list = sg_arena_array(w->arena, (size_t)n * 4, sizeof *list);
    const char *numbers = sg_arena_printf(w->arena, "%s/qk.safetensors", dir),
               *manifest = sg_arena_printf(w->arena, "%s/manifest.json", dir);
    if (!list || !numbers || !manifest)
        return no_memory(err);
    for (int f = 0; f < n; f++) {
        const sg_qk_factor *z = w->found->factors[f];
        static const char *const what[4] = {"delta", "left", "right", "sigma"};
        const double *data[4] = {z->delta, z->left, z->right, z->sigma};
        for (int i = 0; i < 4; i++) {
            const char *name = sg_arena_printf(w->arena, "%s.%s", z->name, what[i]);
            if (!name)
                return no_memory(err);
            list[f * 4 + i] = (sg_named_tensor){
                name, sg_tensor_of(SG_F64, i < 3 ? 2 : 1, (sg_dim[]){z->width, z->width}, (void *)(uintptr_t)data[i])};
        }
    }
    const sg_pair about[] = {
        {"query_site", w->found->query_site}, {"key_site", w->found->key_site}, {"head", w->where}};
    SG_TRY(sg_safetensors_save(numbers, list, 4 * n, about, 3, err));
    SG_TRY(sg_manifest_save(sg_method_manifest(w->r), manifest, err));
    SG_TRY(sg_result_add_file(sg_method_result(w->r), numbers,
                              "contrasts, their directions as rows and singular values, by factor", err));
    return sg_result_add_file(sg_method_result(w->r), manifest, "where they come from", err);
}

/* ---- all ---- */

static sg_status look(work *w, sg_error *err)
{
    sg_result *result = sg_method_result(w->r);
    sg_method_progress(w->r, 0, "contrast");
    SG_TRY(sg_qk_contrast(&w->found, &w->job, err));
    sg_method_progress(w->r, .2, "fresh weights");
    SG_TRY(sg_model_untrained(&w->fresh, w->job.model, err));
    sg_qk_job fresh = w->job;
    fresh.model = w->fresh;
    SG_TRY(sg_qk_contrast(&w->untrained, &fresh, err));
    for (int f = 0; f < w->found->n_factors; f++)
        w->bases[f] = sg_qk_keys_of(w->found->factors[f]);
    SG_TRY(sizes(w, err));
    for (int f = 0; f < w->found->n_factors; f++)
        SG_TRY(spectrum(w, w->found->factors[f], w->untrained->factors[f], err));
    SG_TRY(balance(w, err));
    sg_method_progress(w->r, .3, "exchanges");
    SG_TRY(swaps(w, err));
    sg_method_progress(w->r, .8, "shares");
    SG_TRY(shares(w, err));
    SG_TRY(map(w, err));
    SG_TRY(sg_result_note(
        result,
        "%s of %s by keys of group %d at %s; offsets of %" PRId64 " to %" PRId64 " tokens%s. Width %" PRId64
        "; %d steps in %zu bytes were run for it.",
        w->where, w->found->query_site, w->found->group, w->found->key_site, w->found->least_offset,
        w->found->most_offset,
        w->job.place == SG_QK_PLAIN ? ", of which these values know nothing: they are those before a rotation" : "",
        w->found->width, w->found->n_steps, w->found->bytes));
    return save(w, err);
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    work w = {.r = r, .job = sg_qk_job_defaults(), .arena = sg_arena_new()};
    const char *path = sg_method_text(r, "pairs");
    sg_model *m;
    if (!w.arena)
        return no_memory(err);
    sg_status status = read_head(&w, err);
    if (status == SG_OK && !path)
        status = sg_fail(err, SG_EARG, "--pairs FILE is missing: lines of { \"text\", \"query\", \"keys\" }");
    if (status == SG_OK)
        status = sg_method_model(r, 0, &m, err);
    if (status == SG_OK)
        status = sg_method_data(r, path, err);
    if (status == SG_OK) {
        w.job.model = m;
        status = sg_qk_pairs_read(&w.pairs, m, path, err);
        w.job.pairs = w.pairs;
    }
    if (status == SG_OK)
        status = read_factors(&w, err);
    if (status == SG_OK) {
        w.job.place = (int)sg_method_number(r, "place") ? SG_QK_TURNED : SG_QK_PLAIN;
        w.job.contrast.centred = sg_method_flag(r, "centred");
        w.job.contrast.share = sg_method_number(r, "share");
        w.job.seed = sg_method_seed(r);
        w.job.exec = sg_method_exec(r);
        w.job.cancel = sg_method_cancel(r);
        status = look(&w, err);
    }
    sg_qk_free(w.found);
    sg_qk_free(w.untrained);
    sg_model_close(w.fresh);
    sg_qk_pairs_free(w.pairs);
    sg_arena_free(w.arena);
    return status;
}

static const sg_method_input inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "a decoder"}};
static const sg_option options[] = {
    {"head", SG_OPTION_TEXT, "", 0, 0, NULL, "LAYER.HEAD, from 0"},
    {"pairs", SG_OPTION_PATH, "", 0, 0, NULL, "file of JSON lines { text, query, keys }; see docs/methods/qk.md"},
    {"factor", SG_OPTION_TEXT, "", 0, 0, NULL,
     "names of factors with commas between, in the order in which shares are taken; else the first"},
    {"place", SG_OPTION_CHOICE, "plain", 0, 0, "plain|turned",
     "queries and keys before rotary positions, or after them"},
    {"centred", SG_OPTION_FLAG, "no", 0, 0, NULL, "take the means of queries and keys off in each kind of pairs"},
    {"share", SG_OPTION_REAL, "0.99", 0, 1, NULL, "of the contrast's squares that the subspace has"},
    {"draws", SG_OPTION_WHOLE, "10", 1, 1000, NULL, "random subspaces of equal rank"},
};

const sg_method sg_method_qk = {
    .name = "qk",
    .help = "in which subspaces a head's queries meet its keys, and on what",
    .about = "The covariance of queries and keys that match on a factor less that of those that differ (Lee et al. "
             "2026), its singular "
             "directions, what attention does when two keys exchange their parts in them, and how much of the scores "
             "they explain. Beside "
             "each: pairs shuffled, the same head with fresh weights, random subspaces of equal rank.",
    .artefact = "a folder: contrasts and directions as safetensors, and a manifest",
    .n_inputs = SG_COUNT_OF(inputs),
    .inputs = inputs,
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
