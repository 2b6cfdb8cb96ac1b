/* sightglass probe: what can be read off a model's inner values, beside what can be read where there is nothing. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe_parts.h"

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
    "  --lambda X             ridge: penalty for each row, in units of a feature's mean variance (0.0001)\n"
    "  --hidden N             mlp: hidden units (128)\n"
    "  --lr X                 softmax, mlp: learning rate (0.01, 0.003)\n"
    "  --weight-decay X       softmax, mlp (0.01)\n"
    "  --epochs N             softmax, mlp: at most (8)\n"
    "  --rows N               softmax, mlp: rows of a batch (256)\n"
    "  --games N              episodes, three quarters of which are fitted on (2000; eval: 500)\n"
    "  --data FILE            the episodes of a file, one a line, instead of drawn ones (all, or the first --games)\n"
    "  --seed N               of the episodes (1000003; eval: the next after the one of the fit)\n"
    "  --untrained-seed N     of the untrained network's weights (0)\n"
    "  --memory MB            for activations; with less the model is run more often (512)\n"
    "  --out DIR              keep the probes there, DIR/LABEL.SITE.safetensors with a manifest in .json\n"
    ADAPTED_HELP
    "  --map                  accuracy by task as a square, of each label's best site\n"
    "  --json                 everything for machines\n";

static const struct number {
    const char *name;
    size_t place;
    bool real, fit_only;
    double least, most;
} numbers[] = {
    {"--hidden", offsetof(probe_request, hidden), false, true, 1, 1 << 16},
    {"--epochs", offsetof(probe_request, epochs), false, true, 1, 1 << 20},
    {"--rows", offsetof(probe_request, rows), false, true, 1, 1 << 24},
    {"--games", offsetof(probe_request, games), false, false, 4, 1 << 24},
    {"--seed", offsetof(probe_request, seed), false, false, 0, 1e18},
    {"--untrained-seed", offsetof(probe_request, untrained_seed), false, true, 0, 1e18},
    {"--memory", offsetof(probe_request, memory), false, false, 1, 1 << 24},
    {"--lambda", offsetof(probe_request, lambda), true, true, 0, 1e12},
    {"--lr", offsetof(probe_request, lr), true, true, 1e-12, 1e6},
    {"--weight-decay", offsetof(probe_request, decay), true, true, 0, 1e6},
};
static const struct word {
    const char *name;
    size_t place;
    bool fit_only;
} words[] = {
    {"--at", offsetof(probe_request, at), true},     {"--labels", offsetof(probe_request, labels), true},
    {"--kind", offsetof(probe_request, kind), true}, {"--data", offsetof(probe_request, data), false},
    {"--out", offsetof(probe_request, out), true},
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
static int read_options(probe_request *r, const char *verb, int argc, char **argv)
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
        if (!show && (strcmp(name, "--lora") == 0 || strcmp(name, "--sae") == 0)) {
            (void)adapted_option(&r->added, strcmp(name, "--lora") == 0 ? ADAPTED_LORA : ADAPTED_SAE, argv[++i]);
            continue;
        }
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

void probe_names_free(probe_names *n)
{
    for (int i = 0; i < n->n; i++)
        free(n->list[i]);
    free(n->list);
}

sg_status probe_names_add(probe_names *n, const char *text, size_t bytes, sg_error *err)
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

static sg_status split(probe_names *to, const char *list, sg_error *err)
{
    while (list && *list) {
        const size_t bytes = strcspn(list, ",");
        if (bytes)
            SG_TRY(probe_names_add(to, list, bytes, err));
        list += bytes + (list[bytes] == ',');
    }
    return SG_OK;
}

static sg_status read_labels(probe_names *to, const probe_request *r, sg_error *err)
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

static sg_status read_sites(probe_names *to, const probe_request *r, const sg_model *m, sg_error *err)
{
    probe_names patterns = {0};
    sg_glass *glass = NULL;
    sg_value **found = NULL;
    int n = 0;
    sg_status status = split(&patterns, r->at ? r->at : "blocks.*.hook_resid_post", err);
    if (status == SG_OK)
        status = sg_glass_new(&glass, m, sg_glass_defaults(), err);
    for (int i = 0; i < patterns.n && status == SG_OK; i++)
        status = cli_match(sg_glass_graph(glass), patterns.list[i], &found, &n, err);
    for (int i = 0; i < n && status == SG_OK; i++)
        status = probe_names_add(to, sg_value_name(found[i]), SIZE_MAX, err);
    if (status == SG_OK && n == 0)
        status = sg_fail(err, SG_EARG, "--at names no site");
    free(found);
    sg_glass_free(glass);
    probe_names_free(&patterns);
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

void probe_end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

void probe_watch(sg_probe_job *job, double at[2])
{
    at[0] = sg_now();
    at[1] = 0;
    job->cancel = &stopped;
    job->context = at;
    job->progress = isatty(STDERR_FILENO) ? show_progress : NULL;
}

/* ---- fit ---- */

sg_status probe_read_file(const probe_request *r, sg_probe_job *job, sg_world_file *file, sg_tensor part[2],
                          char data[300], sg_error *err)
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

static sg_status print_fit(const probe_request *r, const sg_probe_job *job, const sg_probe_table *t, sg_error *err)
{
    const sg_probe_score *s = t->results[0].score;
    if (r->json) {
        char hash[20];
        json_t *root = json_object(), *results = json_array();
        snprintf(hash, sizeof hash, "%016" PRIx64, sg_model_hash(job->model));
        for (int i = 0; i < t->n; i++)
            json_array_append_new(results, probe_result_json(&t->results[i]));
        json_object_update_new(root,
                               json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "model", r->model, "model_hash",
                                         hash, "world", job->world->name, "kind", sg_probe_kind_name(job->probe.kind),
                                         "seed", (json_int_t)job->seed, "n_fit", (json_int_t)job->n_fit, "n_test",
                                         (json_int_t)job->n_test, "results", results));
        const sg_status status = t->n_labels == 2 ? probe_gaps_json(root, t, err) : SG_OK;
        return cli_print_json(root) != 0 ? sg_fail(err, SG_EIO, "the result could not be written") : status;
    }
    printf("%s: %s probes, fitted on %" PRId64 " episodes, judged on %" PRId64 " others (%" PRId64 " rows)\n%s",
           r->model, sg_probe_kind_name(job->probe.kind), job->n_fit, job->n_test, s->n_rows, probe_legend);
    probe_print_head("site");
    for (int i = 0; i < t->n; i++)
        probe_print_result(&t->results[i]);
    if (t->n_labels == 2)
        SG_TRY(probe_print_gaps(t, err));
    for (int l = 0; l < t->n_labels && r->map; l++)
        SG_TRY(probe_print_map(t, l, err));
    return SG_OK;
}

static sg_status fit_on(const probe_request *r, sg_probe_job *job, probe_names *sites, probe_names *labels,
                        sg_world_file *file, sg_error *err)
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
        SG_TRY(probe_read_file(r, job, file, part, data, err));
    probe_watch(job, began);
    sg_status status = sg_probe_run(&t, job, err);
    probe_end_progress();
    if (status == SG_OK && r->out)
        status = sg_probe_table_save(t, job, r->out, err);
    if (status == SG_OK)
        status = print_fit(r, job, t, err);
    sg_probe_table_free(t);
    return status;
}

static int fit(const probe_request *r)
{
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_world_file file = {0};
    probe_names sites = {0}, labels = {0};
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
    sg_status status = adapted_open(&m, r->model, sg_model_defaults(), &r->added, false, &err);
    if (status == SG_OK) {
        cli_warnings(m);
        job.model = m;
        status = fit_on(r, &job, &sites, &labels, &file, &err);
    }
    probe_names_free(&sites);
    probe_names_free(&labels);
    sg_world_file_free(&file);
    sg_model_close(m);
    return status == SG_OK ? 0 : status == SG_ECANCELLED ? (cli_fail(&err), 130) : cli_fail(&err);
}

int cmd_probe(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(const probe_request *r);
    } verbs[] = {{"fit", fit}, {"eval", probe_eval}, {"show", probe_show}};

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
    for (size_t v = 0; v < SG_COUNT_OF(verbs) && argc >= 2; v++) {
        if (strcmp(argv[1], verbs[v].name) != 0)
            continue;
        const sg_probe_opts standard = sg_probe_defaults();
        probe_request r = {.settings = calloc((size_t)argc + 1, sizeof(sg_setting)),
                           .lambda = standard.lambda,
                           .hidden = standard.hidden,
                           .decay = standard.weight_decay,
                           .epochs = standard.n_epochs,
                           .rows = standard.batch,
                           .memory = 512};
        int code = r.settings ? read_options(&r, verbs[v].name, argc - 1, argv + 1) : EXIT_FAILED;
        if (code < 0) {
            cli_catch(on_interrupt);
            code = verbs[v].run(&r);
        }
        free(r.settings);
        return code;
    }
    return cli_usage("probe", "wanted fit MODEL, eval MODEL DIR or show DIR");
}
