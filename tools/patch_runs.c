/* Two runs and all places at the sites that were named, as a heat map of positions. */
#include "patch_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "sightglass/patch.h"
#include "sightglass/report.h"

typedef struct work {
    const patch_runs *r;
    sg_model *model;
    sg_glass *glass;
    cli_rows rows;
    const char **sites;
    int n_sites;
    sg_patch_table *table;
} work;

/* A token by its text, or its id. */
static sg_status read_token(const work *w, const char *option, const char *text, int32_t *out, sg_error *err)
{
    const sg_tokenizer *t = sg_model_tokenizer(w->model);
    char *end;
    const long id = strtol(text, &end, 10);
    if (*text && !*end) {
        *out = (int32_t)SG_MAX(SG_MIN(id, INT32_MAX), -1);
        return SG_OK;
    }
    if (!t)
        return sg_fail(err, SG_EARG, "%s %.60s: the model has no tokenizer, wanted an id", option, text);
    cli_rows rows = {0};
    sg_status status = cli_rows_text(&rows, w->model, text, err);
    if (status == SG_OK && rows.lengths[0] < 1)
        status = sg_fail(err, SG_EARG, "%s \"%.60s\" is no token", option, text);
    const sg_dim n = status == SG_OK ? rows.lengths[0] : 0; /* what begins a text may stand before it */
    if (status == SG_OK)
        *out = rows.tokens[0][n - 1];
    if (status == SG_OK && n > 1 && !(n == 2 && rows.tokens[0][0] == sg_model_get_info(w->model)->bos))
        status = sg_fail(err, SG_EARG, "%s \"%.60s\" is %lld tokens, wanted one", option, text, (long long)n);
    cli_rows_free(&rows);
    return status;
}

static sg_status find_sites(work *w, sg_error *err)
{
    char *list = strdup(w->r->at ? w->r->at : "blocks.*.hook_resid_pre"), *rest = NULL;
    sg_value **found = NULL;
    int n = 0;
    if (!list)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    SG_TRY(sg_glass_new(&w->glass, w->model, sg_glass_defaults(), err));
    sg_status status = SG_OK;
    for (char *word = strtok_r(list, ",", &rest); word && status == SG_OK; word = strtok_r(NULL, ",", &rest))
        status = cli_match(sg_glass_graph(w->glass), word, &found, &n, err);
    w->sites = malloc((size_t)SG_MAX(n, 1) * sizeof *w->sites);
    for (int i = 0; i < n && status == SG_OK && w->sites; i++)
        w->sites[w->n_sites++] = sg_value_name(found[i]);
    free(found);
    free(list);
    return status;
}

static sg_status prepare(work *w, sg_patch_job *j, sg_error *err)
{
    const patch_runs *r = w->r;
    SG_TRY(sg_model_open(&w->model, r->model, sg_model_defaults(), err));
    if (r->tokens) {
        SG_TRY(cli_rows_file(&w->rows, r->tokens, err));
    } else {
        if (!r->base || !r->source)
            return sg_fail(err, SG_EARG, "wanted both --base and --source");
        SG_TRY(cli_rows_text(&w->rows, w->model, r->base, err));
        SG_TRY(cli_rows_text(&w->rows, w->model, r->source, err));
    }
    if (w->rows.n != 2 || w->rows.lengths[0] != w->rows.lengths[1])
        return sg_fail(err, SG_EARG, "%d rows, of %lld and %lld tokens; wanted two of one length", w->rows.n,
                       (long long)w->rows.lengths[0], (long long)(w->rows.n > 1 ? w->rows.lengths[1] : 0));
    if (!r->token)
        return sg_fail(err, SG_EARG, "wanted --token, whose logit is looked at");
    SG_TRY(read_token(w, "--token", r->token, &j->metric.token, err));
    if (r->minus)
        SG_TRY(read_token(w, "--minus", r->minus, &j->metric.other, err));
    if (r->minus && r->prob)
        return sg_fail(err, SG_EARG, "either --prob or --minus");
    SG_TRY(find_sites(w, err));
    j->model = w->model;
    j->n_sites = w->n_sites;
    j->sites = w->sites;
    j->base = w->rows.tokens[0];
    j->source = w->rows.tokens[1];
    j->n_tokens = w->rows.lengths[0];
    j->by_head = r->by_head;
    j->metric.kind = r->minus ? SG_METRIC_LOGIT_DIFF : r->prob ? SG_METRIC_PROB : SG_METRIC_LOGIT;
    j->cancel = r->cancel;
    return SG_OK;
}

static sg_status print_text(const work *w, sg_error *err)
{
    const sg_patch_table *t = w->table;
    const sg_tokenizer *tok = sg_model_tokenizer(w->model);
    char a[64], b[64];
    printf("%s: metric %.4g of the base, %.4g of the source\n", w->r->model, t->base, t->source);
    printf("which part of the difference comes with a value of the source (0 none, 1 all)\n\n%10s", "position");
    for (int p = 0; p < t->n_positions; p++)
        printf(" %8d", p);
    for (int row = 0; row < 2; row++) {
        printf("\n%10s", row ? "source" : "base");
        for (int p = 0; p < t->n_positions; p++)
            printf(" %8.8s", row ? cli_token(b, tok, w->rows.tokens[1][p]) : cli_token(a, tok, w->rows.tokens[0][p]));
    }
    for (int i = 0; i < t->n_sites; i++)
        for (int h = 0; h < t->n_heads; h++) {
            printf("\n%s", w->sites[i]);
            if (w->r->by_head)
                printf(" head %d", h);
            printf("\n%10s", "");
            for (int p = 0; p < t->n_positions; p++)
                printf(" %8.3f", t->effect[(i * t->n_positions + p) * t->n_heads + h]);
        }
    putchar('\n');
    if (t->n_heads > 1 || !cli_colours().bold[0]) /* the picture tells no more where there are no colours */
        return SG_OK;
    putchar('\n');
    const sg_panel panel = {.n_rows = t->n_sites, .n_columns = t->n_positions, .cells = t->effect};
    return sg_figure_write_text(&(sg_figure){.id = "effect",
                                             .title = "effect of each site (down) and position (across)",
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "position"},
                                             .y = {.label = "site"},
                                             .value = {.label = "effect", .low = -1, .high = 1},
                                             .n_panels = 1,
                                             .panels = &panel},
                                stdout, cli_colours().bold[0] != 0, err);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static int print_json(const work *w)
{
    const sg_patch_table *t = w->table;
    json_t *sites = json_object();
    for (int i = 0; i < t->n_sites; i++) {
        json_t *rows = json_array();
        for (int p = 0; p < t->n_positions; p++) {
            json_t *heads = json_array();
            for (int h = 0; h < t->n_heads; h++) {
                const int at = (i * t->n_positions + p) * t->n_heads + h;
                json_array_append_new(
                    heads, json_pack("{s:o, s:o}", "metric", number(t->metric[at]), "effect", number(t->effect[at])));
            }
            json_array_append_new(rows, heads);
        }
        json_object_set_new(sites, w->sites[i], rows);
    }
    return cli_print_json(json_pack("{s:s, s:o, s:o, s:o}", "model", w->r->model, "base", number(t->base), "source",
                                    number(t->source), "sites", sites));
}

int patch_runs_run(const patch_runs *r)
{
    sg_error err = {SG_OK, ""};
    work w = {.r = r};
    sg_patch_job j = sg_patch_defaults();
    sg_status status = prepare(&w, &j, &err);
    if (status == SG_OK)
        status = sg_patch_run(&w.table, &j, &err);
    int code = 0;
    if (status == SG_OK && r->json)
        code = print_json(&w);
    else if (status == SG_OK)
        status = print_text(&w, &err);
    if (status != SG_OK)
        code = status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
    sg_patch_table_free(w.table);
    free(w.sites);
    sg_glass_free(w.glass);
    cli_rows_free(&w.rows);
    sg_model_close(w.model);
    return code;
}
