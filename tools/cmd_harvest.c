/* sightglass harvest: activations of a corpus to a folder of shards. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/shards.h"

static const char help[] =
    "usage: sightglass harvest MODEL --data FILE... --fetch PATTERN... --out DIR [options]\n\n"
    "Writes what a model holds at some places on every token of a corpus, as safetensors shards with an index. "
    "Nothing\n"
    "behind the last place is computed. Ctrl-C keeps what was done, and the same command goes on from there.\n\n"
    "  --data FILE          text, JSON lines (.jsonl, .ndjson; either may be .gz), or tokens (.npy, "
    ".safetensors[:NAME],\n"
    "                       i32 [rows,time] or [time]); may be repeated\n"
    "  --fetch PATTERN      values (blocks.6.hook_resid_post, blocks.*.attn.hook_z); may be repeated\n"
    "  --out DIR            where shards and index.json go; its README is docs/harvest.md\n"
    "  --field NAME         of JSON lines (text)\n"
    "  --context N          tokens of a sequence (512, or the model's context)\n"
    "  --batch N            sequences that are run at once (16)\n"
    "  --skip N             tokens at the beginning of each sequence that are left out (0)\n"
    "  --rows N             stop after so many (all); asking for more later goes on\n"
    "  --dtype f32|bf16     what large products multiply in (f32)\n"
    "  --save-dtype f32|bf16|f16  what is written (f32)\n"
    "  --shard-mb N         size of a shard (256)\n"
    "  --dry-run            how many rows, bytes and seconds it would take; writes nothing\n"
    "  --json               the summary for machines\n";

typedef struct request {
    const char *model, *out;
    const char **data, **fetch;
    int n_data, n_fetch;
    sg_shards_opts opts;
    bool json, dry_run;
} request;

/* ---- progress ---- */

typedef struct watching {
    double last, first_done; /* first_done below 0: nothing was shown */
} watching;

/* The time left is told from this run's rate, since what earlier runs did took none of it. */
static void show(void *context, const sg_shards_progress *p)
{
    watching *w = context;
    const double now = sg_now();
    if (w->first_done < 0)
        w->first_done = p->done;
    if (now - w->last < 0.2)
        return;
    w->last = now;
    const int full = (int)(p->done * 30);
    fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %lld rows  %.0f tokens/s", full, "##############################", 30 - full,
            "", 100 * p->done, (long long)p->rows, (double)p->tokens / p->seconds);
    if (p->done > w->first_done)
        fprintf(stderr, "  %.0f s left", p->seconds * (1 - p->done) / (p->done - w->first_done));
    fputs(" \033[K", stderr);
}

/* ---- what it says ---- */

static void print_size(double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    int u = 0;
    while (bytes >= 1000 && u < 4) {
        bytes /= 1000;
        u++;
    }
    printf("%.*f %s", u ? 1 : 0, bytes, units[u]);
}

static void print_time(double seconds)
{
    if (seconds < 120)
        printf("%.1f s", seconds);
    else if (seconds < 7200)
        printf("%.1f min", seconds / 60);
    else
        printf("%.1f h", seconds / 3600);
}

static int say(const request *r, const sg_shards_report *report, int n_sites)
{
    if (r->json)
        return cli_print_json(json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:b}", "model", r->model,
                                        "out", r->out, "sites", n_sites, "rows", (json_int_t)report->rows, "sequences",
                                        (json_int_t)report->sequences, "shards", (json_int_t)report->shards, "bytes",
                                        (json_int_t)report->bytes, "tokens", (json_int_t)report->tokens, "seconds",
                                        report->seconds, "resumed", report->resumed, "finished", report->finished));
    printf("%s: %lld rows of %d site%s in %lld shard%s, ", r->out, (long long)report->rows, n_sites,
           n_sites == 1 ? "" : "s", (long long)report->shards, report->shards == 1 ? "" : "s");
    print_size((double)report->bytes);
    if (report->tokens)
        printf("; %lld tokens at %.0f/s", (long long)report->tokens, (double)report->tokens / report->seconds);
    printf("%s\n", report->finished ? report->tokens ? "" : "; nothing was left to do" : "; not finished");
    return 0;
}

static int foretell(const request *r, const sg_shards_forecast *f, int n_sites)
{
    if (r->json)
        return cli_print_json(json_pack("{s:s, s:i, s:I, s:I, s:I, s:f, s:f}", "model", r->model, "sites", n_sites,
                                        "rows", (json_int_t)f->rows, "bytes", (json_int_t)f->bytes, "row_bytes",
                                        (json_int_t)f->row_bytes, "seconds", f->seconds, "tokens_per_second",
                                        f->tokens_per_second));
    printf("about %.0f rows of %d site%s, %zu bytes each: ", f->rows, n_sites, n_sites == 1 ? "" : "s", f->row_bytes);
    print_size(f->bytes);
    printf(", ");
    print_time(f->seconds);
    printf(" at %.0f tokens/s\n", f->tokens_per_second);
    return 0;
}

/* ---- the command ---- */

static sg_status dtype_of(const char *option, const char *word, bool f16, sg_dtype *out, sg_error *err)
{
    const sg_dtype all[] = {SG_F32, SG_BF16, SG_F16};
    for (int i = 0; i < (f16 ? 3 : 2); i++)
        if (strcmp(word, sg_dtype_name(all[i])) == 0) {
            *out = all[i];
            return SG_OK;
        }
    return sg_fail(err, SG_EARG, "%s is \"%.20s\", wanted f32%s bf16", option, word, f16 ? ", f16 or" : " or");
}

static sg_status take_whole(const char *option, long long least, long long most, sg_dim *out, sg_error *err)
{
    long long x;
    SG_TRY(cli_whole(option, optarg, least, most, &x, err));
    *out = x;
    return SG_OK;
}

static int parse(int argc, char **argv, request *r)
{
    static const struct option words[] = {{"data", required_argument, NULL, 'd'},
                                          {"fetch", required_argument, NULL, 'f'},
                                          {"out", required_argument, NULL, 'o'},
                                          {"field", required_argument, NULL, 'F'},
                                          {"context", required_argument, NULL, 'c'},
                                          {"batch", required_argument, NULL, 'b'},
                                          {"skip", required_argument, NULL, 's'},
                                          {"rows", required_argument, NULL, 'r'},
                                          {"dtype", required_argument, NULL, 'y'},
                                          {"save-dtype", required_argument, NULL, 'Y'},
                                          {"shard-mb", required_argument, NULL, 'm'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    sg_error err;
    sg_status status = SG_OK;
    sg_dim mb;
    for (int o; status == SG_OK && (o = getopt_long(argc, argv, "h", words, NULL)) != -1;)
        switch (o) {
        case 'd':
            r->data[r->n_data++] = optarg;
            break;
        case 'f':
            r->fetch[r->n_fetch++] = optarg;
            break;
        case 'o':
            r->out = optarg;
            break;
        case 'F':
            r->opts.field = optarg;
            break;
        case 'c':
            status = take_whole("--context", 1, 1 << 26, &r->opts.context, &err);
            break;
        case 'b':
            status = take_whole("--batch", 1, 1 << 16, &r->opts.batch, &err);
            break;
        case 's':
            status = take_whole("--skip", 0, 1 << 26, &r->opts.skip, &err);
            break;
        case 'r':
            status = take_whole("--rows", 1, INT64_MAX, &r->opts.most_rows, &err);
            break;
        case 'm':
            status = take_whole("--shard-mb", 1, 1 << 20, &mb, &err);
            if (status == SG_OK)
                r->opts.shard_bytes = (size_t)mb * 1000000;
            break;
        case 'y':
            status = dtype_of("--dtype", optarg, false, &r->opts.exec.compute, &err);
            break;
        case 'Y':
            status = dtype_of("--save-dtype", optarg, true, &r->opts.stored, &err);
            break;
        case 'n':
            r->dry_run = true;
            break;
        case 'j':
            r->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            return EXIT_USAGE;
        }
    if (status != SG_OK)
        return cli_fail(&err);
    if (optind + 1 != argc)
        return cli_usage("harvest", "wanted one MODEL, got %d", argc - optind);
    r->model = argv[optind];
    if (!r->n_data || !r->n_fetch || (!r->out && !r->dry_run))
        return cli_usage("harvest", "wanted --%s",
                         !r->n_data    ? "data FILE"
                         : !r->n_fetch ? "fetch PATTERN"
                                       : "out DIR");
    return -1;
}

/* The names that fit the patterns, each once. */
static sg_status find_names(const request *r, const sg_model *m, const char ***out, int *n, sg_graph **g, sg_error *err)
{
    sg_value **found = NULL;
    int n_found = 0;
    SG_TRY(sg_model_graph(g, m, 0, 0, err));
    sg_status status = SG_OK;
    for (int i = 0; i < r->n_fetch && status == SG_OK; i++)
        status = cli_match(*g, r->fetch[i], &found, &n_found, err);
    *out = calloc((size_t)n_found + 1, sizeof **out);
    if (status == SG_OK && !*out)
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < n_found && status == SG_OK; i++) {
        bool again = false;
        for (int k = 0; k < *n; k++)
            again = again || strcmp((*out)[k], sg_value_name(found[i])) == 0;
        if (!again)
            (*out)[(*n)++] = sg_value_name(found[i]);
    }
    free(found);
    return status;
}

int cmd_harvest(int argc, char **argv)
{
    request r = {.opts = sg_shards_defaults(),
                 .data = calloc((size_t)argc, sizeof *r.data),
                 .fetch = calloc((size_t)argc, sizeof *r.fetch)};
    sg_model *m = NULL;
    sg_graph *g = NULL;
    const char **names = NULL;
    sg_error err = {SG_OK, ""};
    int n = 0, code = r.data && r.fetch ? parse(argc, argv, &r) : EXIT_FAILED;
    if (code < 0) {
        watching w = {.first_done = -1};
        r.opts.cancel = &asked_stop;
        if (isatty(STDERR_FILENO)) {
            r.opts.progress = show;
            r.opts.context_of_progress = &w;
        }
        sg_status status = sg_model_open(&m, r.model, sg_model_defaults(), &err);
        if (status == SG_OK) {
            cli_warnings(m);
            status = find_names(&r, m, &names, &n, &g, &err);
        }
        asked_catch();
        if (status == SG_OK && r.dry_run) {
            sg_shards_forecast f;
            status = sg_shards_foresee(&f, m, n, names, r.n_data, r.data, r.opts, &err);
            code = status == SG_OK ? foretell(&r, &f, n) : 0;
        } else if (status == SG_OK) {
            sg_shards_report report;
            status = sg_shards_harvest(&report, r.out, m, n, names, r.n_data, r.data, r.opts, &err);
            if (w.last > 0)
                fputs("\r\033[K", stderr);
            code = status == SG_OK ? say(&r, &report, n) : 0;
        }
        if (status != SG_OK)
            code = asked_fail(&err);
    }
    free(names);
    sg_graph_free(g);
    sg_model_close(m);
    free(r.data);
    free(r.fetch);
    return code;
}
