/* sightglass world: data whose truth is known, and how well a model of it knows it. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "sightglass/legality.h"
#include "sightglass/world.h"

static void help(FILE *to)
{
    fprintf(
        to,
        "usage: sightglass world list\n"
        "       sightglass world sample NAME [--OPTION VALUE ...] [--count N] [--seed S] [--json]\n"
        "       sightglass world words NAME [--OPTION VALUE ...]\n"
        "       sightglass world score NAME MODEL [--OPTION VALUE ...] [--count N] [--seed S] [--data FILE] [--json]\n"
        "\nsample draws items of a synthetic world together with the truth behind them. score asks a model of the\n"
        "world's sequences what comes next, at every position of 10000 fresh ones (or those of a file), and counts\n"
        "what cannot; beside it stands the same network with fresh weights. words prints the tokenizer.json of a world "
        "whose\n"
        "tokens are words, for `sightglass train --tokenizer`.\n");
    for (int w = 0; w < sg_world_count(); w++) {
        const sg_world *world = sg_world_at(w);
        fprintf(to, "\n%s: %s\n", world->name, world->help);
        for (int i = 0; i < world->n_options; i++)
            fprintf(to, "  --%-16s %s (%s)\n", world->options[i].name, world->options[i].help,
                    world->options[i].standard);
    }
}

typedef struct request {
    const sg_world *world;
    const char *model, *data;
    sg_setting *settings;
    int n_settings;
    long long count, seed;
    bool json;
} request;

/* Every --name value is an option of the world, but for these. -1: go on; else the exit status. */
static int read_options(request *r, int argc, char **argv, bool wants_model)
{
    sg_error err = {SG_OK, ""};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        sg_status parsed = SG_OK;
        if (strcmp(name, "--json") == 0) {
            r->json = true;
        } else if (strncmp(name, "--", 2) != 0) {
            if (r->world && (r->model || !wants_model))
                return cli_usage("world", "\"%.60s\" is one name too many", name);
            if (r->world)
                r->model = name;
            else if (!(r->world = sg_world_find(name, &err)))
                return cli_fail(&err), EXIT_USAGE;
        } else if (i + 1 == argc) {
            return cli_usage("world", "%.40s wants a value", name);
        } else if (strcmp(name, "--count") == 0) {
            parsed = cli_whole(name, argv[++i], 1, 100000000, &r->count, &err);
        } else if (strcmp(name, "--seed") == 0) {
            parsed = cli_whole(name, argv[++i], 0, INT64_MAX, &r->seed, &err);
        } else if (wants_model && strcmp(name, "--data") == 0) {
            r->data = argv[++i];
        } else {
            r->settings[r->n_settings++] = (sg_setting){name + 2, argv[++i]};
        }
        if (parsed != SG_OK)
            return cli_fail(&err);
    }
    if (!r->world)
        return cli_usage("world", "which world? `sightglass world list` names them");
    if (wants_model && !r->model)
        return cli_usage("world", "score wants a model too: sightglass world score %s MODEL", r->world->name);
    return -1;
}

static int sample(const request *r)
{
    sg_error err = {SG_OK, ""};
    sg_sample *s = NULL;
    int status = 0;
    if (sg_world_sample(&s, r->world, r->n_settings, r->settings, r->count ? r->count : 8, (uint64_t)r->seed, &err) !=
            SG_OK ||
        (r->json ? sg_sample_write_json(s, stdout, &err) : sg_sample_write_text(s, stdout, &err)) != SG_OK)
        status = cli_fail(&err);
    sg_sample_free(s);
    return status;
}

static int words(const request *r)
{
    sg_error err = {SG_OK, ""};
    return sg_world_write_tokenizer(r->world, r->n_settings, r->settings, stdout, &err) == SG_OK ? 0 : cli_fail(&err);
}

/* ---- score ---- */

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

static void show(double began, long long done, long long of)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%lld of %lld sequences, %.0f s left \033[K", done, of,
                (sg_now() - began) * (double)(of - done) / (double)done);
}

/* Sequences first..first+n: drawn by a seed of their own for each part, or out of the file. */
static sg_status truth_of(sg_sample **out, const request *r, const sg_world_file *f, long long first, long long n,
                          sg_error *err)
{
    if (!r->data)
        return sg_world_sample(out, r->world, r->n_settings, r->settings, n, (uint64_t)(r->seed + first), err);
    sg_tensor part = f->tokens;
    part.dims[0] = n;
    part.data = (int32_t *)f->tokens.data + first * f->tokens.dims[1];
    return sg_world_truth(out, r->world, r->n_settings, r->settings, &part, err);
}

static sg_status score_model(const request *r, const sg_model *m, const sg_world_file *f, long long count,
                             sg_legality **out, sg_error *err)
{
    enum { PART = 512 };
    const double began = sg_now();
    SG_TRY(sg_legality_new(out, m, sg_legality_defaults(), err));
    for (long long done = 0; done < count && !stopped;) {
        const long long n = SG_MIN(count - done, PART);
        sg_sample *s = NULL;
        SG_TRY(truth_of(&s, r, f, done, n, err));
        const sg_tensor *next = sg_sample_find(s, "next");
        const sg_status status =
            next ? sg_legality_add(*out, sg_sample_find(s, "tokens"), sg_sample_find(s, "counts"), next, err)
                 : sg_fail(err, SG_EARG, "world %s: does not say what may come next", r->world->name);
        sg_sample_free(s);
        SG_TRY(status);
        show(began, done += n, count);
    }
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    return SG_OK;
}

static json_t *result_json(const sg_legality_result *r)
{
    json_t *by = json_array();
    for (sg_dim t = 0; t < r->n_positions; t++)
        json_array_append_new(by, r->by_position[t] == r->by_position[t] ? json_real(r->by_position[t]) : json_null());
    return json_pack("{s:I, s:I, s:f, s:[f,f], s:f, s:[f,f], s:f, s:f, s:o}", "sequences", (json_int_t)r->n_sequences,
                     "positions", (json_int_t)r->n_asked, "illegal_top", r->top.value, "illegal_top_interval",
                     r->top.low, r->top.high, "illegal_mass", r->mass.value, "illegal_mass_interval", r->mass.low,
                     r->mass.high, "loss", r->loss, "uniform", r->uniform, "illegal_top_by_position", by);
}

static void print_line(const char *what, const sg_legality_result *r)
{
    printf("%-20s %9" PRId64 "  %8.3f %% (%.3f to %.3f)  %8.3f %% (%.3f to %.3f)  %.4f\n", what, r->n_sequences,
           100 * r->top.value, 100 * r->top.low, 100 * r->top.high, 100 * r->mass.value, 100 * r->mass.low,
           100 * r->mass.high, r->loss);
}

static int print_score(const request *r, sg_legality *model, sg_legality *untrained)
{
    const sg_legality_result is = sg_legality_get(model), fresh = sg_legality_get(untrained);
    if (r->json)
        return cli_print_json(json_pack("{s:s, s:s, s:o, s:o}", "world", r->world->name, "model", r->model, "score",
                                        result_json(&is), "untrained", result_json(&fresh)));
    printf("%-20s %9s  %-26s  %-26s  %s\n", "", "sequences", "likeliest is impossible", "impossible, by mass", "loss");
    print_line("the model", &is);
    print_line("with fresh weights", &fresh);
    printf("a uniform guess      %9s  %8.3f %%\n", "", 100 * is.uniform);
    return 0;
}

static int score(const request *r)
{
    enum { COUNT = 10000, CONTROL = 256 };
    sg_error err = {SG_OK, ""};
    sg_world_file file = {0};
    sg_model *m = NULL, *fresh = NULL;
    sg_legality *of_model = NULL, *of_fresh = NULL;
    char *config = malloc(strlen(r->model) + sizeof "/config.json");
    cli_catch(on_interrupt);
    sg_status status =
        config ? sg_model_open(&m, r->model, sg_model_defaults(), &err) : sg_fail(&err, SG_ENOMEM, "out of memory");
    if (status == SG_OK && r->data)
        status = sg_world_file_read(&file, r->world, r->n_settings, r->settings, r->data, &err);
    const long long there = r->data && status == SG_OK ? file.tokens.dims[0] : INT64_MAX;
    const long long count = SG_MIN(r->count ? r->count : r->data ? there : COUNT, there);
    if (status == SG_OK) {
        sprintf(config, "%s/config.json", r->model);
        status = sg_model_new(&fresh, config, NULL, sg_model_defaults(), &err);
    }
    if (status == SG_OK)
        status = score_model(r, fresh, &file, SG_MIN(count, CONTROL), &of_fresh, &err);
    if (status == SG_OK)
        status = score_model(r, m, &file, count, &of_model, &err);
    int code = status != SG_OK ? cli_fail(&err) : 0;
    if (code == 0 && sg_legality_get(of_model).n_sequences)
        code = print_score(r, of_model, of_fresh);
    sg_legality_free(of_model);
    sg_legality_free(of_fresh);
    sg_model_close(m);
    sg_model_close(fresh);
    sg_world_file_free(&file);
    free(config);
    return code == 0 && stopped ? 130 : code;
}

int cmd_world(int argc, char **argv)
{
    static char title[40];
    static const char *const verbs[] = {"sample", "words", "score"};

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < sg_world_count(); i++)
            printf("%-16s %s\n", sg_world_at(i)->name, sg_world_at(i)->help);
        return 0;
    }
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        help(stdout);
        return 0;
    }
    for (int v = 0; v < 3 && argc >= 2; v++) {
        if (strcmp(argv[1], verbs[v]) != 0)
            continue;
        request r = {.settings = calloc((size_t)argc + 1, sizeof(sg_setting))};
        snprintf(title, sizeof title, "sightglass world %s", verbs[v]);
        argv[1] = title;
        int code = r.settings ? read_options(&r, argc - 1, argv + 1, v == 2) : EXIT_FAILED;
        if (code < 0)
            code = v == 0 ? sample(&r) : v == 1 ? words(&r) : score(&r);
        free(r.settings);
        return code;
    }
    return cli_usage("world", "wanted list, sample NAME, words NAME or score NAME MODEL");
}
