/* sightglass verify: how far a model's values are from reference values, for each backend and number format at hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/report.h"
#include "verified.h"

static const char help[] =
    "usage: sightglass verify MODEL [--golden FILE | --against MODEL2] [options]\n\n"
    "Compares a model's values layer by layer with reference values, for each backend and number format at hand, and\n"
    "writes a certificate beside the model, which inspect, the server and the page show. Exit status 1: a row "
    "fails.\n\n"
    "  --golden FILE         values that another program computed (or `sightglass golden`): safetensors, see "
    "docs/verify.md\n"
    "  --against MODEL2      another model's values, computed here: what quantising it has changed\n"
    "                        (without either: our own run in f64, which proves kernels and formats, not the reading\n"
    "                        of the model's config)\n"
    "  --text T, --tokens FILE, --seed N   the prompts, as `sightglass golden` takes them\n"
    "  --fetch PATTERN       these values alone; may be repeated (with --golden all it has, else one of each kind a "
    "layer)\n"
    "  --backend NAME        cpu, reference or cuda alone (all there are)\n"
    "  --reference f64|f32   what our own reference is computed in (f64)\n"
    "  --tolerance X         greatest relative error of a site, for all rows (by format)\n"
    "  --variation X         greatest mean total variation of the next token's distribution (by format)\n"
    "  --all                 list every site, not the worst of each kind alone\n"
    "  --certificate FILE    where the certificate goes (MODEL/sightglass-certificate.json, "
    "FILE.gguf.certificate.json)\n"
    "  --no-certificate      write none\n"
    "  --json                the certificate on stdout, for machines\n";

enum { MOST_RUNS = 8 };

typedef struct request {
    const char *model, *golden, *against, *certificate, *backend, *tokens;
    const char **texts, **patterns;
    int n_texts, n_patterns;
    long long seed;
    double relative, variation; /* < 0: by format */
    sg_dtype reference;
    bool json, all, no_certificate;
} request;

typedef struct work {
    const request *r;
    sg_golden *want;
    sg_dtype other; /* stored type behind the reference */
    sg_verify_run *runs[MOST_RUNS];
    int n_runs;
    sg_file_identity *id, *other_id;
    asked_progress shown;
    char other_name[256];
} work;

static void (*progress_of(void))(void *, const char *, double)
{
    return isatty(STDERR_FILENO) ? asked_show : NULL;
}

/* ---- the reference ---- */

static sg_status make_reference(work *w, const char *model, sg_error *err)
{
    const request *r = w->r;
    sg_model *m = NULL;
    cli_rows rows = {0};
    const char **texts = NULL;
    sg_golden_prompt *prompts = NULL;
    sg_golden_opts opts = sg_golden_defaults();
    sg_model_opts how = sg_model_defaults();

    how.dtype = r->reference;
    SG_TRY(verified_fits(model, how.dtype, err));
    SG_TRY(sg_model_open(&m, model, how, err));
    w->other = sg_model_get_info(m)->stored;
    sg_status status = SG_OK;
    for (int i = 0; i < r->n_texts && status == SG_OK; i++)
        status = cli_rows_text(&rows, m, r->texts[i], err);
    if (status == SG_OK && r->tokens)
        status = cli_rows_file(&rows, r->tokens, err);
    texts = calloc((size_t)SG_MAX(rows.n, 1), sizeof *texts);
    if (status == SG_OK && !texts)
        status = sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    for (int i = 0; texts && i < SG_MIN(r->n_texts, rows.n); i++)
        texts[i] = r->texts[i];
    if (status == SG_OK)
        status = verified_prompts(&rows, texts, &prompts, err);
    opts.n_prompts = rows.n;
    opts.prompts = prompts;
    opts.n_patterns = r->n_patterns ? r->n_patterns : sg_verify_n_sites;
    opts.patterns = r->n_patterns ? r->patterns : sg_verify_sites;
    opts.seed = (uint64_t)r->seed;
    opts.cancel = &asked_stop;
    opts.progress = progress_of();
    opts.context = &w->shown;
    if (status == SG_OK)
        status = sg_golden_make(&w->want, m, opts, err);
    free(prompts);
    free(texts);
    cli_rows_free(&rows);
    sg_model_close(m);
    return status;
}

static sg_status reference(work *w, sg_error *err)
{
    const request *r = w->r;

    w->other = SG_N_DTYPES;
    if (r->golden)
        return sg_golden_open(&w->want, r->golden, err);
    SG_TRY(make_reference(w, r->against ? r->against : r->model, err));
    if (!r->against)
        w->other = SG_N_DTYPES;
    return SG_OK;
}

/* ---- runs ---- */

static sg_status run_one(work *w, const sg_model *m, const sg_exec_opts *exec, sg_error *err)
{
    const request *r = w->r;
    sg_verify_opts opts = sg_verify_defaults();

    opts.exec = *exec;
    opts.other = w->other;
    if (r->relative >= 0 || r->variation >= 0) {
        const sg_dtype stored = sg_model_get_info(m)->stored;
        opts.tolerance = sg_verify_tolerance(exec->compute, stored, w->other == SG_N_DTYPES ? stored : w->other);
        opts.tolerance.why = "as asked";
        if (r->relative >= 0)
            opts.tolerance.relative = r->relative;
        if (r->variation >= 0)
            opts.tolerance.variation = r->variation;
    }
    opts.n_patterns = r->golden ? r->n_patterns : 0;
    opts.patterns = r->patterns;
    opts.cancel = &asked_stop;
    opts.progress = progress_of();
    opts.context = &w->shown;
    SG_TRY(sg_verify(&w->runs[w->n_runs], m, w->want, opts, err));
    sg_verify_run *run = w->runs[w->n_runs++];
    for (int i = 0; i < w->n_runs - 1; i++)
        if (exec->compute == SG_BF16 && strcmp(run->backend, w->runs[i]->backend) == 0 && run->logits_hash &&
            run->logits_hash == w->runs[i]->logits_hash)
            run->note = "no product was large enough for bf16: the numbers are those of f32";
    return SG_OK;
}

static bool same_backend(const work *w, const char *name)
{
    for (int i = 0; i < w->n_runs; i++)
        if (strcmp(w->runs[i]->backend, name) == 0)
            return true;
    return false;
}

static sg_status run_all(work *w, sg_error *err)
{
    static const char *const names[] = {"reference", "cpu", "cuda"};
    const request *r = w->r;
    sg_model *m = NULL;
    sg_model_opts how = sg_model_defaults();
    sg_status status = SG_OK;

    /* Of golden values our own arithmetic without rounding is a row too: what is left of its error is the reading. */
    if (r->golden && !r->backend && verified_fits(r->model, SG_F64, NULL) == SG_OK) {
        how.dtype = SG_F64;
        SG_TRY(sg_model_open(&m, r->model, how, err));
        sg_exec_opts exec = sg_golden_defaults().exec;
        status = run_one(w, m, &exec, err);
        sg_model_close(m);
        SG_TRY(status);
    }
    const int first = w->n_runs;
    SG_TRY(sg_model_open(&m, r->model, sg_model_defaults(), err));
    for (size_t i = 0; i < SG_COUNT_OF(names) && status == SG_OK; i++) {
        sg_exec_opts exec = sg_exec_defaults();
        if (r->backend && strcmp(r->backend, names[i]) != 0)
            continue;
        const sg_status there = sg_exec_use(&exec, names[i], err);
        if (there != SG_OK) {
            status = r->backend ? there : SG_OK;
            continue;
        }
        if (w->n_runs > first && same_backend(w, sg_exec_name(&exec)))
            continue; /* "cpu" in a build without faster kernels */
        status = run_one(w, m, &exec, err);
        if (status == SG_OK && exec.n_backends) {
            exec.compute = SG_BF16;
            status = run_one(w, m, &exec, err);
        }
    }
    sg_model_close(m);
    return status;
}

/* ---- telling ---- */

typedef struct colours {
    const char *bold, *dim, *good, *bad, *off;
} colours;

static colours paint(void)
{
    const cli_paint c = cli_colours();
    return c.off[0] ? (colours){c.bold, c.dim, "\033[32m", "\033[31m", c.off} : (colours){"", "", "", "", ""};
}

/* "blocks.*.hook_mlp_out" for any layer's. */
static void kind_of(char out[128], const char *site)
{
    size_t n = 0;

    for (const char *c = site; *c && n < 126;) {
        if (c > site && c[-1] == '.' && *c >= '0' && *c <= '9') {
            out[n++] = '*';
            while (*c >= '0' && *c <= '9')
                c++;
        } else {
            out[n++] = *c++;
        }
    }
    out[n] = '\0';
}

static void print_row(const colours *c, const sg_verify_row *row, const char *label, double limit)
{
    printf("  %-34s %9.1e %9.1e %9.1e %9.1e  ", label, row->max_abs, row->mean_abs, row->max_rel, row->mean_rel);
    if (row->n_bad)
        printf("%s%lld not finite%s\n", c->bad, (long long)row->n_bad, c->off);
    else
        printf("%s%s%s\n", row->holds ? c->good : c->bad, row->holds ? "holds" : "FAILS", c->off);
    if (!row->holds && !row->n_bad)
        printf("  %s%34s at most %.1e was allowed; prompt %d, position %lld%s\n", c->dim, "", limit, row->at_prompt,
               (long long)row->at_position, c->off);
}

/* Of each kind of site the worst layer; failures all. */
static void print_rows(const colours *c, const sg_verify_run *r, bool all)
{
    char kind[128], other[128], label[160];

    for (int i = 0; i < r->n_rows; i++) {
        const sg_verify_row *row = &r->rows[i];
        kind_of(kind, row->site);
        bool worst = true;
        int layers = 0;
        for (int k = 0; k < r->n_rows; k++) {
            kind_of(other, r->rows[k].site);
            if (strcmp(kind, other) != 0)
                continue;
            layers++;
            worst &= !(r->rows[k].max_rel > row->max_rel || (r->rows[k].max_rel == row->max_rel && k < i));
        }
        if (!all && row->holds && !worst)
            continue;
        snprintf(label, sizeof label, "%s", row->site);
        print_row(c, row, label, r->tolerance.relative);
    }
}

static void print_run(const colours *c, const sg_verify_run *r, bool all)
{
    printf("\n%s%s, %s, weights %s%s  %s%s%s  %s%.2f s; a site holds within %.2g, variation %.2g (%s)%s\n", c->bold,
           r->backend, r->compute, r->stored, c->off, r->holds ? c->good : c->bad, r->holds ? "holds" : "FAILS", c->off,
           c->dim, r->seconds, r->tolerance.relative, r->tolerance.variation, r->tolerance.why, c->off);
    if (r->note)
        printf("  %s%s%s\n", c->dim, r->note, c->off);
    if (r->first_bad)
        printf("  %sthe first value that is not finite is %s%s\n", c->bad, r->first_bad, c->off);
    printf("  %s%-34s %9s %9s %9s %9s%s\n", c->dim, all ? "site" : "site (of each kind the worst layer)", "max abs",
           "mean abs", "max rel", "mean rel", c->off);
    print_rows(c, r, all);
    char clear[80] = "clear nowhere";
    if (r->next.n_clear)
        snprintf(clear, sizeof clear, "%.4g %% of the %lld where it is clear", 100 * r->next.top1_clear,
                 (long long)r->next.n_clear);
    if (r->next.n)
        printf("  predictions: %.4g %% the same first choice (%s), total variation mean %.1e max %.1e, KL mean %.1e "
               "max %.1e nats  "
               "%s%s%s\n",
               100 * r->next.top1, clear, r->next.tv_mean, r->next.tv_max, r->next.kl_mean, r->next.kl_max,
               r->next.holds ? c->good : c->bad, r->next.holds ? "holds" : "FAILS", c->off);
    else
        printf("  %sno predictions to compare%s\n", c->dim, c->off);
}

static int tell(const work *w, const sg_certificate *cert, const char *where)
{
    const colours c = paint();

    if (w->r->json) {
        char *text = sg_certificate_text(cert);
        if (!text || puts(text) < 0 || fflush(stdout) != 0)
            return EXIT_FAILED;
        free(text);
        return cert->holds ? 0 : EXIT_FAILED;
    }
    printf("%s%s%s against %s, %d prompt%s, %lld positions\n", c.bold, cert->model, c.off, cert->reference,
           cert->n_prompts, cert->n_prompts == 1 ? "" : "s", (long long)cert->n_positions);
    printf("%s%s%s\n", c.dim, sg_certificate_meaning(cert), c.off);
    for (int i = 0; i < cert->n_runs; i++)
        print_run(&c, cert->runs[i], w->r->all);
    printf("\n%s%s%s", cert->holds ? c.good : c.bad, cert->holds ? "every row holds" : "not every row holds", c.off);
    if (where)
        printf("; certificate: %s", where);
    printf("\n");
    return cert->holds ? 0 : EXIT_FAILED;
}

static sg_status certify(work *w, sg_certificate *cert, char **where, sg_error *err)
{
    const request *r = w->r;

    for (int i = 0; i < w->want->n_prompts; i++)
        cert->n_positions += w->want->prompts[i].n_rows ? w->want->prompts[i].n_rows * w->want->prompts[i].n_tokens : 1;
    for (int i = 0; i < w->n_runs; i++)
        cert->holds &= w->runs[i]->holds;
    if (r->no_certificate)
        return SG_OK;
    return sg_certificate_save(cert, r->model, r->certificate, where, err);
}

static int run(const request *r)
{
    work w = {.r = r};
    sg_error err = {SG_OK, ""};
    sg_file_identity_opts full = sg_file_identity_defaults();
    char cpu[SG_CPU_TEXT], date[32] = "", name[256], *where = NULL;
    const time_t now = time(NULL);
    struct tm utc;

    full.cancel = &asked_stop;
    full.progress = progress_of();
    full.context = &w.shown;
    sg_status status = sg_writer_check(r->certificate, &err);
    if (status == SG_OK)
        status = reference(&w, &err);
    if (status == SG_OK)
        status = run_all(&w, &err);
    if (status == SG_OK)
        status = sg_file_identity_of(&w.id, r->model, full, &err);
    if (status == SG_OK && r->against)
        status = sg_file_identity_of(&w.other_id, r->against, full, &err);
    if (gmtime_r(&now, &utc))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    int code = EXIT_FAILED;
    if (status == SG_OK) {
        const char *hash = w.other_id ? w.other_id->hash : w.want->hash;
        const bool own = r->golden && w.want->own && hash && strcmp(hash, w.id->hash) == 0;
        sg_certificate cert = {.program = verified_program,
                               .date = date,
                               .cpu = sg_cpu_name(cpu),
                               .model = verified_name(name, r->model),
                               .hash = w.id->hash,
                               .fingerprint = w.id->fingerprint,
                               .against = r->against || (r->golden && w.want->own && !own) ? "model"
                                          : r->golden && !own                              ? "golden"
                                                                                           : "self",
                               .reference = r->against ? verified_name(w.other_name, r->against) : w.want->from,
                               .reference_hash = r->against || r->golden ? hash : w.id->hash,
                               .n_prompts = w.want->n_prompts,
                               .n_runs = w.n_runs,
                               .runs = (const sg_verify_run *const *)w.runs,
                               .holds = true};
        status = certify(&w, &cert, &where, &err);
        asked_hide(&w.shown);
        w.shown.last = 0;
        /* What was measured is told even where it could not be kept. */
        code = tell(&w, &cert, where);
    }
    asked_hide(&w.shown);
    if (status != SG_OK)
        code = asked_fail(&err);
    free(where);
    for (int i = 0; i < w.n_runs; i++)
        sg_verify_run_free(w.runs[i]);
    sg_file_identity_free(w.id);
    sg_file_identity_free(w.other_id);
    sg_golden_free(w.want);
    return code;
}

int cmd_verify(int argc, char **argv)
{
    enum { ALL = 256, NO_CERTIFICATE };
    static const struct option options[] = {{"golden", required_argument, NULL, 'g'},
                                            {"against", required_argument, NULL, 'a'},
                                            {"text", required_argument, NULL, 't'},
                                            {"tokens", required_argument, NULL, 'k'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"fetch", required_argument, NULL, 'f'},
                                            {"backend", required_argument, NULL, 'b'},
                                            {"reference", required_argument, NULL, 'r'},
                                            {"tolerance", required_argument, NULL, 'x'},
                                            {"variation", required_argument, NULL, 'v'},
                                            {"certificate", required_argument, NULL, 'c'},
                                            {"all", no_argument, NULL, ALL},
                                            {"no-certificate", no_argument, NULL, NO_CERTIFICATE},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    request r = {.reference = SG_F64, .relative = -1, .variation = -1};
    sg_error err = {SG_OK, ""};
    int code = -1;

    r.texts = calloc((size_t)argc, sizeof *r.texts);
    r.patterns = calloc((size_t)argc, sizeof *r.patterns);
    if (!r.texts || !r.patterns)
        code = EXIT_FAILED;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        sg_status status = SG_OK;
        switch (o) {
        case 'g':
            r.golden = optarg;
            break;
        case 'a':
            r.against = optarg;
            break;
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
        case 'b':
            r.backend = optarg;
            break;
        case 'x':
            status = cli_real("--tolerance", optarg, 0, 1e9, &r.relative, &err);
            break;
        case 'v':
            status = cli_real("--variation", optarg, 0, 1, &r.variation, &err);
            break;
        case 'c':
            r.certificate = optarg;
            break;
        case 'r':
            r.reference = strcmp(optarg, "f32") == 0 ? SG_F32 : SG_F64;
            if (strcmp(optarg, "f32") != 0 && strcmp(optarg, "f64") != 0)
                code = cli_usage("verify", "--reference is \"%.20s\", wanted f64 or f32", optarg);
            break;
        case ALL:
            r.all = true;
            break;
        case NO_CERTIFICATE:
            r.no_certificate = true;
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
        code = cli_usage("verify", "wanted one MODEL, got %d", argc - optind);
    if (code < 0 && r.golden && r.against)
        code = cli_usage("verify", "--golden and --against are two references; one is wanted");
    if (code < 0 && r.golden && (r.n_texts || r.tokens))
        code = cli_usage("verify", "--golden brings its own prompts; --text and --tokens are for runs of our own");
    if (code < 0 && r.certificate && r.no_certificate)
        code = cli_usage("verify", "--certificate and --no-certificate cannot both be");
    if (code < 0 && r.backend && strcmp(r.backend, "cpu") != 0 && strcmp(r.backend, "reference") != 0 &&
        strcmp(r.backend, "cuda") != 0)
        code = cli_usage("verify", "--backend is \"%.20s\", wanted cpu, reference or cuda", r.backend);
    if (code < 0) {
        asked_catch();
        r.model = argv[optind];
        code = run(&r);
    }
    free(r.texts);
    free(r.patterns);
    return code;
}
