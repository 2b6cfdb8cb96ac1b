/* sightglass convert, sightglass quantize: models from one format to another, and into fewer bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asked.h"
#include "sightglass/convert.h"

static const char convert_help[] =
    "usage: sightglass convert MODEL OUT.gguf|OUTDIR [--dtype TYPE] [--keep PATTERN=TYPE ...] [--json]\n\n"
    "Writes a model in the other format: a GGUF file, or a folder with config.json, model.safetensors and\n"
    "tokenizer.json. MODEL is either. What the target has no words for is an error.\n\n"
    "  --dtype TYPE          f32, f16 or bf16; in a GGUF file also q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k,\n"
    "                        iq4_nl (as stored; what is packed becomes f32 in a folder)\n"
    "  --keep PATTERN=TYPE   tensors whose name fits, in either format's words, have this type; may be repeated\n"
    "  --json                what was done to each tensor, for machines\n";

static const char quantize_help[] =
    "usage: sightglass quantize MODEL OUT.gguf [--type TYPE] [--keep PATTERN=TYPE ...] [--pure] [--json]\n\n"
    "Packs a model's matrices into fewer bits and tells what that cost each of them: the root mean square of the\n"
    "change over that of the numbers.\n\n"
    "  --type TYPE           q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k or iq4_nl (q4_k)\n"
    "  --keep PATTERN=TYPE   tensors whose name fits, as blk.*.attn_v.weight=q6_k, have this type; may be repeated\n"
    "  --pure                embeddings and unembedding too (they become q6_k where the type has fewer bits)\n"
    "  --json                for machines\n";

enum { MOST_RULES = 64 };

typedef struct request {
    const char *command, *from, *to;
    sg_convert_opts opts;
    sg_convert_rule rules[MOST_RULES];
    bool json;
} request;

static sg_status read_type(const char *option, const char *text, sg_dtype *out, sg_error *err)
{
    char known[160];
    size_t at = 0;
    if (sg_dtype_named(text, out) && *out != SG_F64 && *out != SG_I32 && *out != SG_BOOL)
        return SG_OK;
    for (int t = 0; t < SG_N_DTYPES; t++)
        if (t != SG_F64 && t != SG_I32 && t != SG_BOOL)
            at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", sg_dtype_name((sg_dtype)t));
    return sg_fail(err, SG_EARG, "%s is \"%.40s\", wanted one of %s", option, text, known);
}

static sg_status read_rule(request *r, char *text, sg_error *err)
{
    char *equals = strrchr(text, '=');
    if (!equals || equals == text)
        return sg_fail(err, SG_EARG, "--keep %.100s: wanted PATTERN=TYPE", text);
    if (r->opts.n_rules == MOST_RULES)
        return sg_fail(err, SG_EARG, "--keep is given more than %d times", MOST_RULES);
    *equals = 0;
    r->rules[r->opts.n_rules].pattern = text;
    return read_type("--keep's type", equals + 1, &r->rules[r->opts.n_rules++].dtype, err);
}

/* -1: go on; else the exit status. */
static int read_options(request *r, int argc, char **argv, const char *help, bool packs)
{
    static const struct option options[] = {{"dtype", required_argument, NULL, 'd'},
                                            {"type", required_argument, NULL, 't'},
                                            {"keep", required_argument, NULL, 'k'},
                                            {"pure", no_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    sg_error err = {SG_OK, ""};
    sg_status status = SG_OK;
    for (int o; status == SG_OK && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;)
        switch (o) {
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'd':
        case 't':
            if ((o == 't') != packs)
                return cli_usage(r->command, "the type is given with --%s", packs ? "type" : "dtype");
            r->opts.as_stored = false;
            status = read_type(packs ? "--type" : "--dtype", optarg, &r->opts.dtype, &err);
            if (status == SG_OK && packs && sg_dtype_block(r->opts.dtype) == 1)
                return cli_usage(r->command, "%s packs nothing; sightglass convert --dtype %s writes it", optarg,
                                 optarg);
            break;
        case 'k':
            status = read_rule(r, optarg, &err);
            break;
        case 'p':
            if (!packs)
                return cli_usage(r->command, "--pure is an option of quantize");
            r->opts.mix = false;
            break;
        case 'j':
            r->json = true;
            break;
        default:
            return EXIT_USAGE;
        }
    if (status != SG_OK)
        return cli_fail(&err);
    if (optind + 2 != argc)
        return cli_usage(r->command, "wanted MODEL and where it goes, got %d names", argc - optind);
    r->from = argv[optind];
    r->to = argv[optind + 1];
    const size_t n = strlen(r->to);
    if (packs && (n < 6 || strcmp(r->to + n - 5, ".gguf") != 0))
        return cli_usage(r->command, "%.100s does not end in .gguf, which is what holds packed weights", r->to);
    return -1;
}

static bool go_on(void *context, const char *tensor, double done)
{
    if (isatty(STDERR_FILENO))
        asked_show(context, "converting", done);
    (void)tensor;
    return !asked_stop;
}

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static int as_json(const request *r, const sg_conversion *c)
{
    json_t *tensors = json_array(), *warnings = json_array();
    for (int i = 0; i < sg_conversion_count(c); i++) {
        const sg_converted *t = sg_conversion_at(c, i);
        json_array_append_new(tensors, json_pack("{s:s, s:o, s:s, s:s, s:o}", "name", t->name, "shape",
                                                 cli_shape(t->n_dims, t->dims), "from", sg_dtype_name(t->from), "to",
                                                 sg_dtype_name(t->to), "error", real(t->error)));
    }
    for (int i = 0; sg_conversion_warning(c, i); i++)
        json_array_append_new(warnings, json_string(sg_conversion_warning(c, i)));
    return cli_print_json(json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "from", r->from, "to", r->to, "bytes_from",
                                    (json_int_t)sg_conversion_bytes_from(c), "bytes_to",
                                    (json_int_t)sg_conversion_bytes_to(c), "error", real(sg_conversion_error(c)),
                                    "tensors", tensors, "warnings", warnings));
}

static int for_people(const request *r, const sg_conversion *c)
{
    const cli_paint p = cli_colours();
    char shape[SG_SHAPE_TEXT];
    int n_alike = 0;

    printf("%s%-44s %-16s %-6s    %-6s   error%s\n", p.bold, "tensor", "shape", "from", "to", p.off);
    for (int i = 0; i < sg_conversion_count(c); i++) {
        const sg_converted *t = sg_conversion_at(c, i);
        if (t->from == t->to && t->error == 0) {
            n_alike++;
            continue;
        }
        printf("%-44s %-16s %-6s -> %-6s ", t->name, sg_shape_text(shape, t->n_dims, t->dims), sg_dtype_name(t->from),
               sg_dtype_name(t->to));
        if (isfinite(t->error))
            printf("%7.3f %%\n", 100 * t->error);
        else
            printf("%snot finite%s\n", p.bold, p.off);
    }
    printf("%d tensors as they were\n", n_alike);
    printf("%s%s%s: %.1f MB of weights became %.1f MB, error %.3f %%\n", p.bold, r->to, p.off,
           (double)sg_conversion_bytes_from(c) / 1e6, (double)sg_conversion_bytes_to(c) / 1e6,
           100 * sg_conversion_error(c));
    return 0;
}

static int run(request *r)
{
    sg_error err = {SG_OK, ""};
    asked_progress shown = {0};
    sg_conversion *c;

    r->opts.rules = r->rules;
    r->opts.n_threads = sg_exec_defaults().n_threads;
    r->opts.progress = go_on;
    r->opts.context = &shown;
    asked_catch();
    const sg_status status = sg_convert_model(&c, r->from, r->to, &r->opts, &err);
    asked_hide(&shown);
    if (status != SG_OK)
        return asked_fail(&err);
    for (int i = 0; sg_conversion_warning(c, i); i++)
        fprintf(stderr, "sightglass: warning: %s\n", sg_conversion_warning(c, i));
    const int code = r->json ? as_json(r, c) : for_people(r, c);
    sg_conversion_free(c);
    return code;
}

int cmd_convert(int argc, char **argv)
{
    static request r;
    r = (request){.command = "convert", .opts = sg_convert_defaults()};
    const int code = read_options(&r, argc, argv, convert_help, false);
    return code >= 0 ? code : run(&r);
}

int cmd_quantize(int argc, char **argv)
{
    static request r;
    r = (request){.command = "quantize", .opts = sg_convert_defaults()};
    r.opts.as_stored = false;
    r.opts.dtype = SG_Q4_K;
    r.opts.mix = true;
    const int code = read_options(&r, argc, argv, quantize_help, true);
    return code >= 0 ? code : run(&r);
}
