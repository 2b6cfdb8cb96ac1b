/* sightglass golden: reference values of a model, in f64, to hold other runs against. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "verified.h"

static const char help[] =
    "usage: sightglass golden MODEL [--text T | --tokens FILE]... [options]\n\n"
    "Writes every named value of a model on some prompts, computed in f64 by the reference kernels. The file's layout\n"
    "is the one that `sightglass verify --golden` reads from any program.\n\n"
    "  --text T              a prompt; may be repeated\n"
    "  --tokens FILE         prompts as token ids: one row a line, JSON, FILE.npy or FILE.safetensors:NAME\n"
    "                        (without either: three prompts of the model's vocabulary, drawn by --seed)\n"
    "  --seed N              for those (0)\n"
    "  --fetch PATTERN       these values alone (blocks.*.hook_resid_post); may be repeated\n"
    "  --out FILE            (NAME.golden.safetensors in this folder, of MODEL's name)\n"
    "  --reference f64|f32   what is computed in (f64)\n"
    "  --json                for machines\n";

typedef struct request {
    const char *out, *tokens;
    const char **texts, **patterns;
    int n_texts, n_patterns;
    long long seed;
    sg_dtype dtype;
    bool json;
} request;

static sg_status read_prompts(const request *r, const sg_model *m, cli_rows *rows, const char ***texts, sg_error *err)
{
    for (int i = 0; i < r->n_texts; i++)
        SG_TRY(cli_rows_text(rows, m, r->texts[i], err));
    if (r->tokens)
        SG_TRY(cli_rows_file(rows, r->tokens, err));
    *texts = calloc((size_t)SG_MAX(rows->n, 1), sizeof **texts);
    if (!*texts)
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    for (int i = 0; i < r->n_texts; i++)
        (*texts)[i] = r->texts[i];
    return SG_OK;
}

static sg_status make(const request *r, const char *model, sg_golden **out, asked_progress *shown, sg_error *err)
{
    sg_model *m = NULL;
    cli_rows rows = {0};
    const char **texts = NULL;
    sg_golden_prompt *prompts = NULL;
    sg_golden_opts opts = sg_golden_defaults();
    sg_model_opts how = sg_model_defaults();

    how.dtype = r->dtype;
    SG_TRY(verified_fits(model, how.dtype, err));
    SG_TRY(sg_model_open(&m, model, how, err));
    sg_status status = read_prompts(r, m, &rows, &texts, err);
    if (status == SG_OK)
        status = verified_prompts(&rows, texts, &prompts, err);
    opts.n_prompts = rows.n;
    opts.prompts = prompts;
    opts.n_patterns = r->n_patterns;
    opts.patterns = r->patterns;
    opts.seed = (uint64_t)r->seed;
    opts.cancel = &asked_stop;
    opts.progress = isatty(STDERR_FILENO) ? asked_show : NULL;
    opts.context = shown;
    if (status == SG_OK)
        status = sg_golden_make(out, m, opts, err);
    free(prompts);
    free(texts);
    cli_rows_free(&rows);
    sg_model_close(m);
    return status;
}

static int tell(const request *r, const sg_golden *g, const char *out, const char *hash)
{
    sg_dim tokens = 0;

    for (int i = 0; i < g->n_prompts; i++)
        tokens += g->prompts[i].n_rows * g->prompts[i].n_tokens;
    if (r->json)
        return cli_print_json(json_pack("{s:s, s:s, s:s, s:i, s:I, s:i}", "out", out, "model_sha256", hash, "computed",
                                        g->from, "prompts", g->n_prompts, "tokens", (json_int_t)tokens, "values",
                                        g->prompts[0].n_sites));
    printf("%s: %d values on %d prompt%s of %lld tokens in all, %s\n", out, g->prompts[0].n_sites, g->n_prompts,
           g->n_prompts == 1 ? "" : "s", (long long)tokens, g->from);
    return 0;
}

static int run(const request *r, const char *model)
{
    char usual[300], name[256];
    const char *out = r->out;
    sg_error err = {SG_OK, ""};
    sg_golden *g = NULL;
    sg_file_identity *id = NULL;
    asked_progress shown = {0};
    sg_file_identity_opts full = sg_file_identity_defaults();
    int code = 0;

    if (!out) {
        snprintf(usual, sizeof usual, "%s.golden.safetensors", verified_name(name, model));
        out = usual;
    }
    full.cancel = &asked_stop;
    full.progress = isatty(STDERR_FILENO) ? asked_show : NULL;
    full.context = &shown;
    sg_status status = sg_writer_check(out, &err);
    if (status == SG_OK)
        status = make(r, model, &g, &shown, &err);
    if (status == SG_OK)
        status = sg_file_identity_of(&id, model, full, &err);
    if (status == SG_OK)
        status = sg_golden_save(g, out, verified_program, verified_name(name, model), id->hash, &err);
    asked_hide(&shown);
    code = status == SG_OK ? tell(r, g, out, id->hash) : asked_fail(&err);
    sg_file_identity_free(id);
    sg_golden_free(g);
    return code;
}

int cmd_golden(int argc, char **argv)
{
    static const struct option options[] = {{"text", required_argument, NULL, 't'},
                                            {"tokens", required_argument, NULL, 'k'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"fetch", required_argument, NULL, 'f'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"reference", required_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    request r = {.dtype = SG_F64};
    sg_error err = {SG_OK, ""};
    int code = -1;

    r.texts = calloc((size_t)argc, sizeof *r.texts);
    r.patterns = calloc((size_t)argc, sizeof *r.patterns);
    if (!r.texts || !r.patterns)
        code = EXIT_FAILED;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        sg_status status = SG_OK;
        switch (o) {
        case 't':
            r.texts[r.n_texts++] = optarg;
            break;
        case 'k':
            r.tokens = optarg;
            break;
        case 's':
            status = cli_whole("--seed", optarg, 0, INT64_MAX, &r.seed, &err);
            break;
        case 'f':
            r.patterns[r.n_patterns++] = optarg;
            break;
        case 'o':
            r.out = optarg;
            break;
        case 'r':
            r.dtype = strcmp(optarg, "f32") == 0 ? SG_F32 : SG_F64;
            if (strcmp(optarg, "f32") != 0 && strcmp(optarg, "f64") != 0)
                code = cli_usage("golden", "--reference is \"%.20s\", wanted f64 or f32", optarg);
            break;
        case 'j':
            r.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            code = 0;
            break;
        default:
            code = EXIT_USAGE;
        }
        if (status != SG_OK)
            code = cli_fail(&err);
    }
    if (code < 0 && optind + 1 != argc)
        code = cli_usage("golden", "wanted one MODEL, got %d", argc - optind);
    if (code < 0) {
        asked_catch();
        code = run(&r, argv[optind]);
    }
    free(r.texts);
    free(r.patterns);
    return code;
}
