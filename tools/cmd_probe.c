/* sightglass probe: what can be read off a model's inner values, beside what can be read where there is nothing. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sightglass/bootstrap.h"
#include "sightglass/probe.h"
#include "sightglass/report.h"
#include "sightglass/rng.h"
#include "sightglass/world.h"

static const char help[] =
    "usage: sightglass probe fit MODEL --world NAME [world's options] [options]\n"
    "       sightglass probe eval MODEL DIR[/NAME] [--games N] [--data FILE] [--seed N] [--map] [--json]\n"
    "       sightglass probe show DIR[/NAME] [--json]\n\n"
    "fit fits a probe for each site and label on some episodes of a world and judges it on others, beside the same\n"
    "probe of the untrained network, of which tokens occurred, of the embedding, and of labels of other episodes.\n"
    "eval judges saved probes and their controls on fresh episodes, or on those of a file. show tells what saved\n"
    "probes say of themselves and how the directions of their tasks lie to each other.\n\n"
    "  --at PATTERN[,...]     sites (blocks.*.hook_resid_post)\n"
    "  --labels NAME[,...]    fields of the world's sample (board_rel,board_abs, where the world has them)\n"
    "  --parity               board_parity for board_rel: whose turn it is told by parity, as the authors' code does\n"
    "  --kind KIND            ridge, softmax, mlp or mean (ridge)\n"
    "  --lambda X             ridge: penalty, for each row (0.0001)\n"
    "  --hidden N             mlp: hidden units (128)\n"
    "  --lr X                 softmax, mlp: learning rate (0.01, 0.001)\n"
    "  --weight-decay X       softmax, mlp (0.01)\n"
    "  --epochs N             softmax, mlp: at most (16)\n"
    "  --rows N               softmax, mlp: rows of a batch (1024)\n"
    "  --games N              episodes, three quarters of which are fitted on (2000; eval: 500)\n"
    "  --data FILE            the episodes of a file, one a line, instead of drawn ones (all, or the first --games)\n"
    "  --seed N               of the episodes (1000003; eval: the next after the one of the fit)\n"
    "  --untrained-seed N     of the untrained network's weights (0)\n"
    "  --memory MB            for activations; with less the model is run more often (512)\n"
    "  --out DIR              keep the probes there, DIR/LABEL.SITE.safetensors with a manifest in .json\n"
    "  --map                  accuracy by task as a square, of each label's best site\n"
    "  --json                 everything for machines\n";

typedef struct request {
    const char *model, *at, *labels, *kind, *data, *out, *dir;
    const sg_world *world;
    sg_setting *settings;
    int n_settings;
    long long hidden, epochs, rows, games, seed, untrained_seed, memory;
    double lambda, lr, decay;
    bool parity, map, json, has_seed;
} request;

static const struct number {
    const char *name;
    size_t place;
    bool real, fit_only;
    double least, most;
} numbers[] = {
    {"--hidden", offsetof(request, hidden), false, true, 1, 1 << 16},
    {"--epochs", offsetof(request, epochs), false, true, 1, 1 << 20},
    {"--rows", offsetof(request, rows), false, true, 1, 1 << 24},
    {"--games", offsetof(request, games), false, false, 4, 1 << 24},
    {"--seed", offsetof(request, seed), false, false, 0, 1e18},
    {"--untrained-seed", offsetof(request, untrained_seed), false, true, 0, 1e18},
    {"--memory", offsetof(request, memory), false, false, 1, 1 << 24},
    {"--lambda", offsetof(request, lambda), true, true, 0, 1e12},
    {"--lr", offsetof(request, lr), true, true, 1e-12, 1e6},
    {"--weight-decay", offsetof(request, decay), true, true, 0, 1e6},
};
static const struct word {
    const char *name;
    size_t place;
    bool fit_only;
} words[] = {
    {"--at", offsetof(request, at), true},     {"--labels", offsetof(request, labels), true},
    {"--kind", offsetof(request, kind), true}, {"--data", offsetof(request, data), false},
    {"--out", offsetof(request, out), true},
};

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

/* ---- what was asked ---- */

static int usage_option(const char *verb, const char *name)
{
    char whole[40];
    snprintf(whole, sizeof whole, "probe %s", verb);
    return cli_usage(whole, "there is no option %.40s", name);
}

/* -1: go on; else the exit status. Options that are not the command's are the world's. */
static int read_options(request *r, const char *verb, int argc, char **argv)
{
    const bool fit = strcmp(verb, "fit") == 0, show = strcmp(verb, "show") == 0;
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        sg_status parsed = SG_OK;
        bool known = false;
        if (strcmp(name, "--json") == 0) {
            r->json = true;
            continue;
        } else if (strcmp(name, "--map") == 0 && !show) {
            r->map = true;
            continue;
        } else if (strcmp(name, "--parity") == 0 && fit) {
            r->parity = true;
            continue;
        } else if (strncmp(name, "--", 2) != 0) {
            if (!show && !r->model)
                r->model = name;
            else if (!fit && !r->dir)
                r->dir = name;
            else
                return cli_usage("probe", "\"%.60s\" is one name too many", name);
            continue;
        }
        if (i + 1 == argc)
            return show ? usage_option(verb, name) : cli_usage("probe", "%.40s wants a value", name);
        for (size_t k = 0; k < SG_COUNT_OF(numbers) && !known && !show; k++) {
            if (strcmp(name, numbers[k].name) != 0 || (numbers[k].fit_only && !fit))
                continue;
            void *at = (char *)r + numbers[k].place;
            known = true;
            r->has_seed |= at == &r->seed;
            parsed = numbers[k].real ? cli_real(name, argv[++i], numbers[k].least, numbers[k].most, at, &err)
                                     : cli_whole(name, argv[++i], (long long)numbers[k].least,
                                                 (long long)numbers[k].most, at, &err);
        }
        for (size_t k = 0; k < SG_COUNT_OF(words) && !known && !show; k++) {
            if (strcmp(name, words[k].name) != 0 || (words[k].fit_only && !fit))
                continue;
            const char *text = argv[++i];
            memcpy((char *)r + words[k].place, &text, sizeof text);
            known = true;
        }
        if (!known && !fit)
            return usage_option(verb, name);
        if (!known && strcmp(name, "--world") == 0) {
            if (!(r->world = sg_world_find(argv[++i], &err)))
                parsed = err.status = SG_EARG;
        } else if (!known) {
            r->settings[r->n_settings++] = (sg_setting){name + 2, argv[++i]};
        }
        if (parsed != SG_OK)
            return cli_fail(&err);
    }
    if (!show && !r->model)
        return cli_usage("probe", "%s wants a MODEL", verb);
    if (!fit && !r->dir)
        return cli_usage("probe", "%s wants DIR or DIR/NAME of saved probes", verb);
    if (fit && !r->world)
        return cli_usage("probe", "fit wants --world NAME; `sightglass world list` names them");
    return -1;
}

static bool has_field(const sg_world *w, const char *name)
{
    for (int i = 0; i < w->n_fields; i++)
        if (strcmp(w->fields[i].name, name) == 0)
            return true;
    return false;
}

/* Names that own their texts. */
typedef struct names {
    char **list;
    int n;
} names;

static void names_free(names *n)
{
    for (int i = 0; i < n->n; i++)
        free(n->list[i]);
    free(n->list);
}

static sg_status names_add(names *n, const char *text, size_t bytes, sg_error *err)
{
    char **more = realloc(n->list, (size_t)(n->n + 1) * sizeof *more);
    char *copy = more ? strndup(text, bytes) : NULL;
    if (more)
        n->list = more;
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    n->list[n->n++] = copy;
    return SG_OK;
}

static sg_status split(names *to, const char *list, sg_error *err)
{
    while (list && *list) {
        const size_t bytes = strcspn(list, ",");
        if (bytes)
            SG_TRY(names_add(to, list, bytes, err));
        list += bytes + (list[bytes] == ',');
    }
    return SG_OK;
}

static sg_status read_labels(names *to, const request *r, sg_error *err)
{
    const char *labels = r->labels ? r->labels : has_field(r->world, "board_rel") ? "board_rel,board_abs" : NULL;
    if (!labels)
        return sg_fail(err, SG_EARG, "which fields of world %s? --labels NAME[,...]", r->world->name);
    SG_TRY(split(to, labels, err));
    for (int i = 0; i < to->n && r->parity; i++)
        if (strcmp(to->list[i], "board_rel") == 0) {
            free(to->list[i]);
            to->list[i] = strdup("board_parity");
            if (!to->list[i])
                return sg_fail(err, SG_ENOMEM, "out of memory");
        }
    return to->n ? SG_OK : sg_fail(err, SG_EARG, "--labels names none");
}

static sg_status read_sites(names *to, const request *r, const sg_model *m, sg_error *err)
{
    names patterns = {0};
    sg_glass *glass = NULL;
    sg_value **found = NULL;
    int n = 0;
    sg_status status = split(&patterns, r->at ? r->at : "blocks.*.hook_resid_post", err);
    if (status == SG_OK)
        status = sg_glass_new(&glass, m, sg_glass_defaults(), err);
    for (int i = 0; i < patterns.n && status == SG_OK; i++)
        status = cli_match(sg_glass_graph(glass), patterns.list[i], &found, &n, err);
    for (int i = 0; i < n && status == SG_OK; i++)
        status = names_add(to, sg_value_name(found[i]), SIZE_MAX, err);
    if (status == SG_OK && n == 0)
        status = sg_fail(err, SG_EARG, "--at names no site");
    free(found);
    sg_glass_free(glass);
    names_free(&patterns);
    return status;
}

/* ---- progress ---- */

static void show_progress(void *context, double done, const char *what)
{
    double *at = context; /* when it began, when it was last shown */
    const double now = sg_now();
    if (now - at[1] < 0.1)
        return;
    at[1] = now;
    const int full = (int)(done * 30);
    fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %-36.36s", full, "##############################", 30 - full, "", 100 * done,
            what);
    if (done > 0.02)
        fprintf(stderr, " %4.0f s left", (now - at[0]) * (1 - done) / done);
    fputs("\033[K", stderr);
}

static void end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void watch(sg_probe_job *job, double at[2])
{
    struct sigaction stop = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    at[0] = sg_now();
    at[1] = 0;
    job->cancel = &stopped;
    job->context = at;
    job->progress = isatty(STDERR_FILENO) ? show_progress : NULL;
}

/* ---- for people ---- */

static void print_rate(const sg_rate *r)
{
    if (r->n)
        printf("  %5.1f (%5.1f to %5.1f)", 100 * r->value, 100 * r->low, 100 * r->high);
    else
        printf("  %5s  %16s", "-", "");
}

static void print_head(const char *first)
{
    printf("%-30s %-12s %-6s  %-22s %10s %8s %10s %9s\n", first, "label", "of", "accuracy, %", "untrained", "tokens",
           "embedding", "shuffled");
}

static void print_row(const char *site, const char *label, const char *of, const sg_rate *r,
                      const sg_rate *const control[SG_N_PROBE_CONTROLS])
{
    static const int width[SG_N_PROBE_CONTROLS] = {
        [SG_CONTROL_UNTRAINED] = 12, [SG_CONTROL_BAG] = 8, [SG_CONTROL_EMBEDDING] = 10, [SG_CONTROL_SHUFFLED] = 9};
    printf("%-30.48s %-12.24s %-6s", site, label, of);
    print_rate(r);
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        printf("%*.1f%s", width[c] - (c == 0 ? 2 : 0), 100 * control[c]->value,
               c + 1 < SG_N_PROBE_CONTROLS ? " " : "\n");
}

static void print_result(const sg_probe_result *x)
{
    const sg_rate *all[SG_N_PROBE_CONTROLS], *hard[SG_N_PROBE_CONTROLS];
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++) {
        all[c] = &x->control[c]->all;
        hard[c] = &x->control[c]->hard;
    }
    print_row(x->site, x->label, "not 0", &x->score->hard, hard);
    print_row("", "", "all", &x->score->all, all);
}

static double gap_of(const sg_probe_score *a, const sg_probe_score *b)
{
    return a->hard.value - b->hard.value;
}

/* Paired: both labels are asked at the same rows of the same episodes. */
static sg_status gap_interval(sg_interval *out, const sg_probe_score *a, const sg_probe_score *b, sg_error *err)
{
    const sg_dim n = a->n_episodes;
    double *part = malloc((size_t)SG_MAX(n, 1) * sizeof *part);
    if (!part)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < n; i++) /* the labels may ask for different numbers, as when one is not known */
        part[i] = b->hard_asked[i] > 0 && a->hard_asked[i] > 0
                      ? a->hard_right[i] - b->hard_right[i] * a->hard_asked[i] / b->hard_asked[i]
                      : 0;
    const sg_status status = sg_bootstrap_ratio(out, n, part, a->hard_asked, sg_bootstrap_defaults(), err);
    free(part);
    return status;
}

static sg_status print_gaps(const sg_probe_table *t, sg_error *err)
{
    printf("\n%s less %s, of labels that are not 0, in percent points\n", t->results[0].label, t->results[1].label);
    for (int i = 0; i < t->n; i += 2) {
        const sg_probe_result *a = &t->results[i], *b = &t->results[i + 1];
        sg_interval in;
        SG_TRY(gap_interval(&in, a->score, b->score, err));
        printf("%-50.50s  %5.1f (%5.1f to %5.1f)", a->site, 100 * gap_of(a->score, b->score), 100 * in.low,
               100 * in.high);
        static const int width[SG_N_PROBE_CONTROLS] = {10, 8, 10, 9};
        for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
            printf("%*.1f%s", width[c], 100 * gap_of(a->control[c], b->control[c]),
                   c + 1 < SG_N_PROBE_CONTROLS ? " " : "\n");
    }
    return SG_OK;
}

/* The accuracy of each task where tasks are the squares of a board, of the label's best site beside its untrained
 * network. */
static sg_status print_map(const sg_probe_table *t, int label, sg_error *err)
{
    const sg_probe_result *best = &t->results[label];
    for (int i = label; i < t->n; i += t->n_labels)
        if (t->results[i].score->hard.value > best->score->hard.value)
            best = &t->results[i];
    const sg_dim side = (sg_dim)lround(sqrt((double)best->score->n_tasks));
    char title[240];
    if (side * side != best->score->n_tasks || side < 2)
        return sg_fail(err, SG_EARG, "--map: %s has %" PRId64 " tasks, which make no square", best->label,
                       best->score->n_tasks);
    snprintf(title, sizeof title, "%s at %s: accuracy of labels that are not 0, by task", best->label, best->site);
    const sg_panel panels[2] = {
        {.title = "trained", .n_rows = (int)side, .n_columns = (int)side, .cells = best->score->hard_by_task},
        {.title = "untrained network",
         .n_rows = (int)side,
         .n_columns = (int)side,
         .cells = best->control[SG_CONTROL_UNTRAINED]->hard_by_task}};
    putchar('\n');
    return sg_figure_write_text(&(sg_figure){.id = "map",
                                             .title = title,
                                             .kind = SG_FIGURE_MATRIX,
                                             .x = {.label = "column"},
                                             .y = {.label = "row"},
                                             .value = {.label = "accuracy", .low = 0, .high = 1},
                                             .n_panels = 2,
                                             .panels = panels},
                                stdout, cli_colours().bold[0] != 0, err);
}

/* ---- for machines ---- */

static json_t *real_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *reals_json(const double *x, sg_dim n)
{
    json_t *a = json_array();
    for (sg_dim i = 0; i < n; i++)
        json_array_append_new(a, real_json(x[i]));
    return a;
}

static json_t *rate_json(const sg_rate *r)
{
    return json_pack("{s:o, s:o, s:o, s:I}", "value", real_json(r->value), "low", real_json(r->low), "high",
                     real_json(r->high), "n", (json_int_t)r->n);
}

static json_t *score_json(const sg_probe_score *s)
{
    return json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "all", rate_json(&s->all), "not_0",
                     rate_json(&s->hard), "macro_f1", real_json(s->macro_f1), "absent_classes", s->n_absent, "rows",
                     (json_int_t)s->n_rows, "episodes", (json_int_t)s->n_episodes, "by_task",
                     reals_json(s->by_task, s->n_tasks), "not_0_by_task", reals_json(s->hard_by_task, s->n_tasks),
                     "recall", reals_json(s->recall, s->n_classes), "precision", reals_json(s->precision, s->n_classes),
                     "not_0_by_position", reals_json(s->hard_by_position, s->n_positions));
}

static json_t *result_json(const sg_probe_result *x)
{
    static const char *const keys[SG_N_PROBE_CONTROLS] = {"untrained", "bag", "embedding", "shuffled"};
    json_t *controls = json_object();
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        json_object_set_new(controls, keys[c], score_json(x->control[c]));
    return json_pack("{s:s, s:s, s:o, s:o}", "site", x->site, "label", x->label, "score", score_json(x->score),
                     "controls", controls);
}

static sg_status gaps_json(json_t *root, const sg_probe_table *t, sg_error *err)
{
    json_t *gaps = json_array();
    json_object_set_new(root, "gaps", gaps);
    for (int i = 0; i < t->n; i += 2) {
        const sg_probe_result *a = &t->results[i], *b = &t->results[i + 1];
        sg_interval in;
        SG_TRY(gap_interval(&in, a->score, b->score, err));
        json_array_append_new(
            gaps, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "site", a->site, "of", a->label, "less",
                            b->label, "value", real_json(gap_of(a->score, b->score)), "low", real_json(in.low), "high",
                            real_json(in.high), "untrained",
                            real_json(gap_of(a->control[SG_CONTROL_UNTRAINED], b->control[SG_CONTROL_UNTRAINED])),
                            "embedding",
                            real_json(gap_of(a->control[SG_CONTROL_EMBEDDING], b->control[SG_CONTROL_EMBEDDING]))));
    }
    return SG_OK;
}

/* ---- fit ---- */

static const char legend[] =
    "of: all labels, or those that are not 0 (an empty square is nearly free). Controls, of the same kind of probe on\n"
    "the same episodes: the untrained network at the site, which tokens occurred, the embedding, labels of other\n"
    "episodes at the same positions. Intervals are 95 %, by bootstrap over episodes.\n\n";

static sg_status read_file(const request *r, sg_probe_job *job, sg_world_file *file, sg_tensor part[2], char data[300],
                           sg_error *err)
{
    SG_TRY(sg_world_file_read(file, job->world, job->n_settings, job->settings, r->data, err));
    const sg_dim there = file->tokens.dims[0], n = r->games ? SG_MIN(r->games, there) : there;
    part[0] = sg_rows_of(&file->tokens, 0, n);
    part[1] = sg_rows_of(&file->counts, 0, n);
    job->tokens = &part[0];
    job->counts = &part[1];
    job->n_fit = job->n_fit ? n - n / 4 : 0;
    job->n_test = n - job->n_fit;
    snprintf(data, 300, "%.200s, %" PRId64 " of %" PRId64 " sequences, hash %016" PRIx64, r->data, n, there,
             file->hash);
    job->data = data;
    return SG_OK;
}

static sg_status read_kind(sg_probe_kind *out, const char *text, sg_error *err)
{
    for (int k = 0; k < SG_N_PROBE_KINDS; k++)
        if (!text || strcmp(text, sg_probe_kind_name((sg_probe_kind)k)) == 0) {
            *out = (sg_probe_kind)k;
            return SG_OK;
        }
    return sg_fail(err, SG_EARG, "--kind is \"%.40s\", wanted ridge, softmax, mlp or mean", text);
}

static sg_status print_fit(const request *r, const sg_probe_job *job, const sg_probe_table *t, sg_error *err)
{
    const sg_probe_score *s = t->results[0].score;
    if (r->json) {
        char hash[20];
        json_t *root = json_object(), *results = json_array();
        snprintf(hash, sizeof hash, "%016" PRIx64, sg_model_hash(job->model));
        for (int i = 0; i < t->n; i++)
            json_array_append_new(results, result_json(&t->results[i]));
        json_object_update_new(root,
                               json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "model", r->model, "model_hash",
                                         hash, "world", job->world->name, "kind", sg_probe_kind_name(job->probe.kind),
                                         "seed", (json_int_t)job->seed, "n_fit", (json_int_t)job->n_fit, "n_test",
                                         (json_int_t)job->n_test, "results", results));
        const sg_status status = t->n_labels == 2 ? gaps_json(root, t, err) : SG_OK;
        return cli_print_json(root) != 0 ? sg_fail(err, SG_EIO, "the result could not be written") : status;
    }
    printf("%s: %s probes, fitted on %" PRId64 " episodes, judged on %" PRId64 " others (%" PRId64 " rows)\n%s",
           r->model, sg_probe_kind_name(job->probe.kind), job->n_fit, job->n_test, s->n_rows, legend);
    print_head("site");
    for (int i = 0; i < t->n; i++)
        print_result(&t->results[i]);
    if (t->n_labels == 2)
        SG_TRY(print_gaps(t, err));
    for (int l = 0; l < t->n_labels && r->map; l++)
        SG_TRY(print_map(t, l, err));
    return SG_OK;
}

static sg_status fit_on(const request *r, sg_probe_job *job, names *sites, names *labels, sg_world_file *file,
                        sg_error *err)
{
    sg_tensor part[2];
    char data[300];
    double began[2];
    sg_probe_table *t = NULL;
    SG_TRY(read_labels(labels, r, err));
    SG_TRY(read_sites(sites, r, job->model, err));
    SG_TRY(read_kind(&job->probe.kind, r->kind, err));
    job->n_sites = sites->n;
    job->sites = (const char *const *)sites->list;
    job->n_labels = labels->n;
    job->labels = (const char *const *)labels->list;
    if (r->data)
        SG_TRY(read_file(r, job, file, part, data, err));
    watch(job, began);
    sg_status status = sg_probe_run(&t, job, err);
    end_progress();
    if (status == SG_OK && r->out)
        status = sg_probe_table_save(t, job, r->out, err);
    if (status == SG_OK)
        status = print_fit(r, job, t, err);
    sg_probe_table_free(t);
    return status;
}

static int fit(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_world_file file = {0};
    names sites = {0}, labels = {0};
    sg_probe_job job = sg_probe_job_defaults();
    job.world = r->world;
    job.n_settings = r->n_settings;
    job.settings = r->settings;
    job.n_fit = r->games - r->games / 4;
    job.n_test = r->games / 4;
    if (!r->games)
        job.n_fit = 1500, job.n_test = 500;
    job.seed = r->has_seed ? (uint64_t)r->seed : job.seed;
    job.untrained_seed = (uint64_t)r->untrained_seed;
    job.at_once = (size_t)r->memory << 20;
    job.probe.lambda = r->lambda;
    job.probe.hidden = (int)r->hidden;
    job.probe.lr = r->lr;
    job.probe.weight_decay = r->decay;
    job.probe.n_epochs = (int)r->epochs;
    job.probe.batch = r->rows;
    sg_status status = sg_model_open(&m, r->model, sg_model_defaults(), &err);
    if (status == SG_OK) {
        cli_warnings(m);
        job.model = m;
        status = fit_on(r, &job, &sites, &labels, &file, &err);
    }
    names_free(&sites);
    names_free(&labels);
    sg_world_file_free(&file);
    sg_model_close(m);
    return status == SG_OK ? 0 : status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
}

/* ---- saved probes ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* DIR: all its probes; DIR/NAME: that one. dir is written to. */
static sg_status list_probes(names *to, char **dir, const char *where, sg_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.json", where);
    const char *slash = strrchr(where, '/');
    const bool one = access(path, R_OK) == 0;
    *dir = one ? (slash ? strndup(where, (size_t)(slash - where)) : strdup(".")) : strdup(where);
    if (!*dir)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    if (one)
        return names_add(to, slash ? slash + 1 : where, SIZE_MAX, err);
    DIR *d = opendir(where);
    if (!d)
        return sg_fail(err, SG_ENOTFOUND, "%s: neither a folder of probes nor a probe", where);
    sg_status status = SG_OK;
    for (const struct dirent *e; status == SG_OK && (e = readdir(d)) != NULL;) {
        const size_t n = strlen(e->d_name);
        if (n > 5 && e->d_name[0] != '.' && strcmp(e->d_name + n - 5, ".json") == 0)
            status = names_add(to, e->d_name, n - 5, err);
    }
    closedir(d);
    if (status == SG_OK && to->n == 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: holds no probes", where);
    if (status == SG_OK)
        qsort(to->list, (size_t)to->n, sizeof *to->list, by_name);
    return status;
}

/* "othello size 6" -> the world and its settings, whose texts are those of `said`, which is cut up. */
static sg_status read_world(char *said, const sg_world **world, sg_setting *settings, int *n, int most, sg_error *err)
{
    char *rest = NULL, *word = strtok_r(said, " ", &rest);
    *n = 0;
    if (!(*world = sg_world_find(word ? word : "", err)))
        return SG_ENOTFOUND;
    while (*n < most && (word = strtok_r(NULL, " ", &rest)) != NULL) {
        const char *value = strtok_r(NULL, " ", &rest);
        if (!value)
            return sg_fail(err, SG_EFORMAT, "the manifest's world has %.40s without a value", word);
        settings[(*n)++] = (sg_setting){word, value};
    }
    return SG_OK;
}

static sg_status eval_one(const request *r, const sg_model *m, const char *dir, const char *name, json_t *results,
                          sg_error *err)
{
    sg_probe_table *t = NULL;
    sg_probe_manifest said;
    sg_world_file file = {0};
    sg_tensor part[2];
    sg_setting settings[16];
    char data[300];
    double began[2];
    SG_TRY(sg_probe_table_open(&t, &said, dir, name, err));
    sg_probe_job job = sg_probe_job_defaults();
    const char *site = t->results[0].site, *label = t->results[0].label;
    char *world = strdup(said.world);
    sg_status status = world ? read_world(world, &job.world, settings, &job.n_settings, (int)SG_COUNT_OF(settings), err)
                             : sg_fail(err, SG_ENOMEM, "out of memory");
    job.model = m;
    job.settings = settings;
    job.n_sites = job.n_labels = 1;
    job.sites = &site;
    job.labels = &label;
    job.n_fit = 0;
    job.n_test = r->games ? r->games : 500;
    job.seed = r->has_seed ? (uint64_t)r->seed : said.data_seed + 1;
    job.untrained_seed = said.untrained_seed;
    if (said.model_hash != sg_model_hash(m))
        fprintf(stderr,
                "sightglass: warning: %s/%s was fitted to another model (hash %016" PRIx64 ", this is %016" PRIx64
                ")\n",
                dir, name, said.model_hash, sg_model_hash(m));
    if (status == SG_OK && r->data)
        status = read_file(r, &job, &file, part, data, err);
    else if (status == SG_OK && !said.data && job.seed == said.data_seed)
        fprintf(stderr, "sightglass: warning: seed %" PRIu64 " is the one that %s/%s was fitted on\n", job.seed, dir,
                name);
    if (status == SG_OK) {
        watch(&job, began);
        status = sg_probe_judge(t, &job, err);
        end_progress();
    }
    if (status == SG_OK && results)
        json_array_append_new(results, result_json(&t->results[0]));
    else if (status == SG_OK)
        print_result(&t->results[0]);
    if (status == SG_OK && r->map && !results)
        status = print_map(t, 0, err);
    sg_world_file_free(&file);
    free(world);
    sg_probe_table_free(t);
    return status;
}

static int eval(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    names probes = {0};
    char *dir = NULL;
    json_t *results = r->json ? json_array() : NULL;
    sg_status status = list_probes(&probes, &dir, r->dir, &err);
    if (status == SG_OK)
        status = sg_model_open(&m, r->model, sg_model_defaults(), &err);
    if (status == SG_OK && !r->json) {
        printf("%s: saved probes on %s%s\n%s", r->model, r->data ? "the episodes of " : "fresh episodes",
               r->data ? r->data : "", legend);
        print_head("site");
    }
    for (int i = 0; i < probes.n && status == SG_OK; i++)
        status = eval_one(r, m, dir, probes.list[i], results, &err);
    int code = status == SG_OK ? 0 : status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
    if (results && code == 0)
        code = cli_print_json(json_pack("{s:s, s:o}", "model", r->model, "results", results));
    else
        json_decref(results);
    sg_model_close(m);
    names_free(&probes);
    free(dir);
    return code;
}

/* ---- show ---- */

/* Cosines between the directions of tasks, of class `to` less class `from`: [S,S]. */
static sg_status cosines(double *cosine, const sg_probe *p, int to, int from, sg_error *err)
{
    const sg_dim tasks = sg_probe_n_tasks(p), width = sg_probe_width(p);
    float *direction = malloc((size_t)SG_MAX(tasks * width, 1) * sizeof *direction);
    if (!direction)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = SG_OK;
    for (sg_dim s = 0; s < tasks && status == SG_OK; s++) {
        status = sg_probe_direction(p, s, to, from, direction + s * width, err);
        if (status == SG_ENUMERIC) { /* a task without labels lies nowhere */
            memset(direction + s * width, 0, (size_t)width * sizeof *direction);
            status = SG_OK;
        }
    }
    for (sg_dim a = 0; a < tasks && status == SG_OK; a++)
        for (sg_dim b = 0; b < tasks; b++) {
            double sum = 0;
            for (sg_dim d = 0; d < width; d++)
                sum += (double)direction[a * width + d] * (double)direction[b * width + d];
            cosine[a * tasks + b] = sum;
        }
    free(direction);
    return status;
}

/* Mean cosine of tasks that are neighbours on the board, king's moves apart, and of the others; with the squares
 * permuted at random as control. */
static void neighbours(double out[2], const double *cosine, sg_dim side, const sg_dim *place)
{
    const sg_dim tasks = side * side;
    double sum[2] = {0}, n[2] = {0};
    for (sg_dim a = 0; a < tasks; a++)
        for (sg_dim b = 0; b < tasks; b++) {
            const sg_dim dy = a / side - b / side, dx = a % side - b % side;
            const int near = dy >= -1 && dy <= 1 && dx >= -1 && dx <= 1;
            if (a == b)
                continue;
            sum[!near] += cosine[place[a] * tasks + place[b]];
            n[!near]++;
        }
    out[0] = sum[0] / n[0];
    out[1] = n[1] > 0 ? sum[1] / n[1] : (double)NAN;
}

static sg_status board_cosines(double out[2][2], const double *cosine, sg_dim side, sg_error *err)
{
    const sg_dim tasks = side * side;
    sg_dim *place = malloc((size_t)tasks * sizeof *place);
    sg_rng g = sg_rng_new(0, 0);
    if (!place)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    for (sg_dim i = 0; i < tasks; i++)
        place[i] = i;
    neighbours(out[0], cosine, side, place);
    for (sg_dim i = tasks - 1; i > 0; i--) {
        const sg_dim k = (sg_dim)sg_rng_below(&g, (uint32_t)(i + 1)), was = place[i];
        place[i] = place[k];
        place[k] = was;
    }
    neighbours(out[1], cosine, side, place);
    free(place);
    return SG_OK;
}

static void print_manifest(const char *name, const sg_probe *p, const sg_probe_manifest *m)
{
    printf("%s\n  %s, %" PRId64 " tasks of %d classes, at %s (width %" PRId64 "), label %s\n  model %016" PRIx64
           ", world %s, %s",
           name, sg_probe_kind_name(sg_probe_get_kind(p)), sg_probe_n_tasks(p), sg_probe_n_classes(p),
           m->site ? m->site : "-", sg_probe_width(p), m->label ? m->label : "-", m->model_hash,
           m->world ? m->world : "-", m->data ? m->data : "");
    if (!m->data)
        printf("seed %" PRIu64, m->data_seed);
    printf("; fitted on %" PRId64 " episodes, judged on %" PRId64 "\n  accuracy, %%            not 0     all\n",
           m->n_fit, m->n_test);
    printf("    %-22s %5.1f   %5.1f\n", "this probe", 100 * m->hard_accuracy, 100 * m->accuracy);
    for (int c = 0; c < SG_N_PROBE_CONTROLS; c++)
        printf("    %-22.22s %5.1f   %5.1f\n", sg_probe_control_name((sg_probe_control)c), 100 * m->hard_control[c],
               100 * m->control[c]);
}

static json_t *manifest_json(const char *name, const sg_probe *p, const sg_probe_manifest *m)
{
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, m->model_hash);
    return json_pack("{s:s, s:s, s:I, s:I, s:i, s:s?, s:s?, s:s?, s:s?, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o}",
                     "name", name, "kind", sg_probe_kind_name(sg_probe_get_kind(p)), "width",
                     (json_int_t)sg_probe_width(p), "tasks", (json_int_t)sg_probe_n_tasks(p), "classes",
                     sg_probe_n_classes(p), "site", m->site, "label", m->label, "world", m->world, "data", m->data,
                     "model_hash", hash, "data_seed", (json_int_t)m->data_seed, "n_fit", (json_int_t)m->n_fit, "n_test",
                     (json_int_t)m->n_test, "accuracy", real_json(m->accuracy), "not_0_accuracy",
                     real_json(m->hard_accuracy), "controls", reals_json(m->control, SG_N_PROBE_CONTROLS),
                     "not_0_controls", reals_json(m->hard_control, SG_N_PROBE_CONTROLS));
}

static sg_status show_geometry(const sg_probe *p, json_t *into, sg_error *err)
{
    const sg_dim tasks = sg_probe_n_tasks(p), side = (sg_dim)lround(sqrt((double)tasks));
    const int to = 1, from = sg_probe_n_classes(p) > 2 ? 2 : 0;
    double board[2][2] = {{(double)NAN, (double)NAN}, {(double)NAN, (double)NAN}}, mean = 0, size = 0;
    if (sg_probe_get_kind(p) == SG_PROBE_MLP || tasks < 2 || sg_probe_n_classes(p) < 2)
        return SG_OK;
    double *cosine = malloc((size_t)(tasks * tasks) * sizeof *cosine);
    if (!cosine)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_status status = cosines(cosine, p, to, from, err);
    if (status == SG_OK && side * side == tasks)
        status = board_cosines(board, cosine, side, err);
    for (sg_dim i = 0; i < tasks * tasks && status == SG_OK; i++)
        if (i / tasks != i % tasks) {
            mean += cosine[i] / (double)(tasks * (tasks - 1));
            size += fabs(cosine[i]) / (double)(tasks * (tasks - 1));
        }
    if (status == SG_OK && into) {
        json_object_set_new(into, "directions",
                            json_pack("{s:i, s:i, s:f, s:f, s:o, s:o, s:o, s:o, s:o}", "to", to, "from", from,
                                      "mean_cosine", mean, "mean_magnitude", size, "neighbours", real_json(board[0][0]),
                                      "others", real_json(board[0][1]), "neighbours_permuted", real_json(board[1][0]),
                                      "others_permuted", real_json(board[1][1]), "cosines",
                                      reals_json(cosine, tasks * tasks)));
    } else if (status == SG_OK) {
        printf("  directions of class %d less class %d: cosine of two tasks %.3f on average, %.3f in magnitude (two "
               "random\n"
               "    directions of this width: %.3f)\n",
               to, from, mean, size, sqrt(2 / (M_PI * (double)sg_probe_width(p))));
        if (side * side == tasks)
            printf("    on a board of %" PRId64 ": neighbours %.3f, others %.3f; with squares permuted %.3f and %.3f\n",
                   side, board[0][0], board[0][1], board[1][0], board[1][1]);
    }
    free(cosine);
    return status;
}

static int show(const request *r)
{
    sg_error err = {SG_OK, ""};
    names probes = {0};
    char *dir = NULL;
    json_t *results = r->json ? json_array() : NULL;
    sg_status status = list_probes(&probes, &dir, r->dir, &err);
    for (int i = 0; i < probes.n && status == SG_OK; i++) {
        sg_probe *p = NULL;
        sg_probe_manifest m;
        status = sg_probe_open(&p, &m, dir, probes.list[i], &err);
        json_t *one = status == SG_OK && results ? manifest_json(probes.list[i], p, &m) : NULL;
        if (status == SG_OK && !results)
            print_manifest(probes.list[i], p, &m);
        if (status == SG_OK)
            status = show_geometry(p, one, &err);
        if (one)
            json_array_append_new(results, one);
        sg_probe_free(p);
    }
    int code = status == SG_OK ? 0 : cli_fail(&err);
    if (results && code == 0)
        code = cli_print_json(results);
    else
        json_decref(results);
    names_free(&probes);
    free(dir);
    return code;
}

int cmd_probe(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const request *r);
    } verbs[] = {{"fit", fit}, {"eval", eval}, {"show", show}};

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
    for (size_t v = 0; v < SG_COUNT_OF(verbs) && argc >= 2; v++) {
        if (strcmp(argv[1], verbs[v].name) != 0)
            continue;
        const sg_probe_opts standard = sg_probe_defaults();
        request r = {.settings = calloc((size_t)argc + 1, sizeof(sg_setting)),
                     .lambda = standard.lambda,
                     .hidden = standard.hidden,
                     .decay = standard.weight_decay,
                     .epochs = standard.n_epochs,
                     .rows = standard.batch,
                     .memory = 512};
        int code = r.settings ? read_options(&r, verbs[v].name, argc - 1, argv + 1) : EXIT_FAILED;
        if (code < 0)
            code = verbs[v].run(&r);
        free(r.settings);
        return code;
    }
    return cli_usage("probe", "wanted fit MODEL, eval MODEL DIR or show DIR");
}
