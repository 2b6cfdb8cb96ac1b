/* sightglass generate: writing on from a text, one token at a time through the cache. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "adapted.h"
#include "cli.h"
#include "sightglass/ops.h"
#include "sightglass/safetensors.h"
#include "sightglass/sample.h"

static const char help[] =
    "usage: sightglass generate MODEL --text T [options]\n\n"
    "Writes on from a text until the model ends it, -n tokens are written, or the context is full.\n\n"
    "  --text T              the beginning\n"
    "  --tokens FILE         the beginning as token ids\n"
    "  -n N                  tokens to write (128)\n"
    "  --temperature X       0: always the most likely token (0)\n"
    "  --top-k K             sample from the K most likely (0: all)\n"
    "  --top-p P             sample from the fewest that together reach P (1)\n"
    "  --seed S              of the sampling (0)\n"
    "  --dtype f32|bf16      what the prompt's large products are computed in (f32)\n"
    "  --edits FILE.json     splice edits into values while it writes\n" ADAPTED_HELP ADAPTED_VECTOR_HELP
    "  --fetch PATTERN       collect values over all positions, with --out; may be repeated\n"
    "  --out FILE.safetensors\n"
    "  --json                for machines: tokens, text, time\n";

static volatile sig_atomic_t stopped;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

typedef struct collected {
    sg_value *value;
    sg_tensor *pieces; /* one per step, owned */
    int n, capacity;
} collected;

typedef struct work {
    sg_model *model;
    sg_glass *glass;
    sg_value *last; /* logits behind the last token */
    sg_edit_list *edits;
    cli_rows rows;
    sg_tokens ids; /* prompt and what was written */
    collected *fetched;
    int n_fetched;
    sg_sample_pair *scratch;
    sg_stream stream;
    sg_str text;
} work;

static sg_status keep_piece(collected *c, const sg_tensor *t, sg_error *err)
{
    if (c->n == c->capacity) {
        const int capacity = c->capacity ? c->capacity * 2 : 64;
        sg_tensor *more = realloc(c->pieces, (size_t)capacity * sizeof *more);
        if (!more)
            return sg_fail(err, SG_ENOMEM, "out of memory for %s", sg_value_name(c->value));
        c->pieces = more;
        c->capacity = capacity;
    }
    sg_tensor *p = &c->pieces[c->n];
    *p = *t;
    p->data = malloc(SG_MAX(sg_tensor_bytes(t), 1));
    if (!p->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for %s", sg_value_name(c->value));
    memcpy(p->data, t->data, sg_tensor_bytes(t));
    c->n++;
    return SG_OK;
}

/* The pieces side by side along the position axis; key positions that a step did not have yet are 0. */
static sg_status join(const collected *c, sg_tensor *out, sg_error *err)
{
    const char *axes = sg_value_axes(c->value);
    const char *t_axis = strchr(axes, 't'), *s_axis = strchr(axes, 's');
    const int t = t_axis ? (int)(t_axis - axes) : -1, s = s_axis ? (int)(s_axis - axes) : -1;

    if (t < 0 || !c->n)
        return sg_fail(err, SG_EARG, "%s has no positions to collect", sg_value_name(c->value));
    *out = c->pieces[0];
    out->dims[t] = 0;
    for (int i = 0; i < c->n; i++) {
        out->dims[t] += c->pieces[i].dims[t];
        if (s >= 0)
            out->dims[s] = SG_MAX(out->dims[s], c->pieces[i].dims[s]);
    }
    out->data = calloc(SG_MAX(sg_tensor_bytes(out), 1), 1);
    if (!out->data)
        return sg_fail(err, SG_ENOMEM, "out of memory for %s", sg_value_name(c->value));
    const size_t size = sg_dtype_bytes(out->dtype);
    sg_dim start = 0;
    for (int i = 0; i < c->n; i++) {
        const sg_tensor *p = &c->pieces[i];
        for (sg_dim e = 0; e < sg_tensor_count(p); e++) {
            sg_dim rest = e, at = 0, stride = 1;
            for (int k = p->n_dims - 1; k >= 0; k--) {
                at += (rest % p->dims[k] + (k == t ? start : 0)) * stride;
                rest /= p->dims[k];
                stride *= out->dims[k];
            }
            memcpy((char *)out->data + (size_t)at * size, (const char *)p->data + (size_t)e * size, size);
        }
        start += p->dims[t];
    }
    return SG_OK;
}

static sg_status save(work *w, const char *path, sg_error *err)
{
    sg_named_tensor *list = calloc((size_t)w->n_fetched + 1, sizeof *list);
    const sg_dim dims[2] = {1, w->ids.n};
    int n = 0;

    if (!list)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    list[n++] = (sg_named_tensor){"tokens", sg_tensor_of(SG_I32, 2, dims, w->ids.ids)};
    sg_status status = SG_OK;
    for (int i = 0; i < w->n_fetched && status == SG_OK; i++) {
        list[n].name = sg_value_name(w->fetched[i].value);
        status = join(&w->fetched[i], &list[n].tensor, err);
        n += status == SG_OK;
    }
    if (status == SG_OK)
        status = sg_safetensors_save(path, list, n, NULL, 0, err);
    for (int i = 1; i < n; i++)
        free(list[i].tensor.data);
    free(list);
    return status;
}

static sg_status show(work *w, char *piece, bool json)
{
    if (piece && !json) {
        fputs(piece, stdout);
        fflush(stdout);
    }
    if (piece)
        sg_str_puts(&w->text, piece);
    free(piece);
    return SG_OK;
}

static bool ends(const sg_model_info *in, int32_t id)
{
    for (int i = 0; i < in->n_eos; i++)
        if (in->eos[i] == id)
            return true;
    return false;
}

/* Feeds the prompt, then each token written; returns why it ended in *reason. */
static sg_status write_on(work *w, long long n, sg_sample_opts opts, uint64_t seed, bool json, const char **reason,
                          double *first, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(w->model);
    const sg_tokenizer *tok = sg_model_tokenizer(w->model);
    const sg_dim capacity = SG_MIN(in->n_context, w->rows.lengths[0] + n);
    const double start = sg_now();
    sg_rng rng = sg_rng_new(seed, 0);
    sg_value **fetches = malloc((size_t)(w->n_fetched + 1) * sizeof *fetches);
    sg_tensor *out = malloc((size_t)(w->n_fetched + 1) * sizeof *out);
    const int32_t *row = w->rows.tokens[0];
    sg_dim length = w->rows.lengths[0];
    sg_status status = fetches && out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");

    w->scratch = malloc((size_t)in->n_vocab * sizeof *w->scratch);
    if (status == SG_OK && !w->scratch)
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK) {
        fetches[0] = w->last;
        for (int i = 0; i < w->n_fetched; i++)
            fetches[i + 1] = w->fetched[i].value;
    }
    for (sg_dim i = 0; i < length && status == SG_OK; i++) {
        char *piece = NULL;
        status = sg_tokens_push(&w->ids, row[i], err);
        if (status == SG_OK && tok)
            status = sg_stream_push(tok, &w->stream, row[i], &piece, err);
        if (status == SG_OK)
            status = show(w, piece, json);
    }
    *reason = "length";
    int32_t id = -1;
    for (long long i = 0; i < n && status == SG_OK; i++) {
        if (stopped) {
            *reason = "interrupted";
            break;
        }
        if (sg_glass_past(w->glass) + length > capacity) {
            *reason = "context";
            break;
        }
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &length};
        status = sg_glass_extend(w->glass, &rows, w->n_fetched + 1, fetches, out, err);
        for (int f = 0; f < w->n_fetched && status == SG_OK; f++)
            status = keep_piece(&w->fetched[f], &out[f + 1], err);
        if (status != SG_OK)
            break;
        id = sg_sample_next(out[0].data, (int32_t)in->n_vocab, opts, &rng, w->scratch);
        if (id < 0) {
            status = sg_fail(err, SG_ENUMERIC,
                             "the logits after %lld tokens are all NaN (sightglass run --guard names the first node)",
                             (long long)w->ids.n);
            break;
        }
        if (i == 0)
            *first = sg_now() - start;
        if (ends(in, id)) {
            *reason = "end of text";
            break;
        }
        char *piece = NULL;
        status = sg_tokens_push(&w->ids, id, err);
        if (status == SG_OK && tok)
            status = sg_stream_push(tok, &w->stream, id, &piece, err);
        else if (status == SG_OK && !json)
            printf("%s%d", i ? " " : "", id);
        if (status == SG_OK)
            status = show(w, piece, json);
        row = &id;
        length = 1;
    }
    if (status == SG_OK && tok) {
        char *piece = NULL;
        status = sg_stream_finish(tok, &w->stream, &piece, err);
        if (status == SG_OK)
            status = show(w, piece, json);
    }
    if (!json)
        putchar('\n');
    free(fetches);
    free(out);
    return status;
}

static void release(work *w)
{
    for (int i = 0; i < w->n_fetched; i++) {
        for (int k = 0; k < w->fetched[i].n; k++)
            free(w->fetched[i].pieces[k].data);
        free(w->fetched[i].pieces);
    }
    free(w->fetched);
    free(w->scratch);
    sg_tokens_free(&w->ids);
    sg_stream_free(&w->stream);
    sg_str_free(&w->text);
    cli_rows_free(&w->rows);
    sg_glass_free(w->glass);
    sg_edit_list_free(w->edits);
    sg_model_close(w->model);
}

static sg_status prepare(work *w, sg_dtype compute, const char *model, const char *text, const char *tokens,
                         const char *edits, const adapted *added, long long n, const char *const *fetch, int n_fetch,
                         sg_error *err)
{
    sg_glass_opts opts = sg_glass_defaults();
    sg_value **found = NULL;
    int n_found = 0;

    SG_TRY(adapted_open(&w->model, model, sg_model_defaults(), added, false, err));
    SG_TRY(text ? cli_rows_text(&w->rows, w->model, text, err) : cli_rows_file(&w->rows, tokens, err));
    const sg_model_info *in = sg_model_get_info(w->model);
    if (w->rows.n != 1)
        return sg_fail(err, SG_EARG, "one prompt is continued at a time, %d were given", w->rows.n);
    if (w->rows.lengths[0] < 1)
        return sg_fail(err, SG_EARG, "the prompt has no tokens");
    if (w->rows.lengths[0] > in->n_context)
        return sg_fail(err, SG_EARG, "the prompt has %lld tokens, the model's context is %lld",
                       (long long)w->rows.lengths[0], (long long)in->n_context);
    opts.exec.compute = compute;
    opts.capacity = SG_MIN(in->n_context, w->rows.lengths[0] + n);
    SG_TRY(sg_glass_new(&w->glass, w->model, opts, err));
    SG_TRY(adapted_edits(&w->edits, edits, added, err));
    if (w->edits)
        SG_TRY(sg_glass_edit_list(w->glass, w->edits, err));
    /* Of a long prompt only the last token's successor is asked for. */
    sg_graph *g = sg_glass_graph(w->glass);
    const sg_dim time = sg_extent(g, "time");
    w->last = sg_slice(g, sg_graph_find(g, "logits"), 1, sg_dim_sub(g, time, 1), time, 1);
    sg_status status = sg_graph_status(g, err);
    for (int i = 0; i < n_fetch && status == SG_OK; i++)
        status = cli_match(sg_glass_graph(w->glass), fetch[i], &found, &n_found, err);
    if (status == SG_OK && !(w->fetched = calloc((size_t)n_found + 1, sizeof *w->fetched)))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < n_found && status == SG_OK; i++)
        if (strchr(sg_value_axes(found[i]), 't')) /* weights and inputs do not go along with positions */
            w->fetched[w->n_fetched++].value = found[i];
    free(found);
    return status;
}

int cmd_generate(int argc, char **argv)
{
    static const struct option options[] = {{"text", required_argument, NULL, 't'},
                                            {"tokens", required_argument, NULL, 'T'},
                                            {"temperature", required_argument, NULL, 'x'},
                                            {"top-k", required_argument, NULL, 'k'},
                                            {"top-p", required_argument, NULL, 'p'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {"edits", required_argument, NULL, 'e'},
                                            ADAPTED_OPTIONS,
                                            {"fetch", required_argument, NULL, 'f'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *text = NULL, *tokens = NULL, *edits = NULL, *out = NULL, *reason = "length";
    const char **fetch = calloc((size_t)argc + 1, sizeof *fetch);
    adapted added = {0};
    sg_sample_opts opts = sg_sample_defaults();
    long long n = 128, top_k = 0, seed = 0;
    double first = 0;
    bool json = false;
    int n_fetch = 0;
    sg_error err = {SG_OK, ""};
    sg_dtype compute = SG_F32;
    sg_status status = SG_OK;

    if (!fetch)
        return EXIT_FAILED;
    for (int o; status == SG_OK && (o = getopt_long(argc, argv, "hn:", options, NULL)) != -1;) {
        switch (o) {
        case 't':
            text = optarg;
            break;
        case 'T':
            tokens = optarg;
            break;
        case 'n':
            status = cli_whole("-n", optarg, 0, 100000000, &n, &err);
            break;
        case 'x':
            status = cli_real("--temperature", optarg, 0, 1e6, &opts.temperature, &err);
            break;
        case 'k':
            status = cli_whole("--top-k", optarg, 0, 1 << 24, &top_k, &err);
            break;
        case 'p':
            status = cli_real("--top-p", optarg, 0, 1, &opts.top_p, &err);
            break;
        case 's':
            status = cli_whole("--seed", optarg, 0, INT64_MAX, &seed, &err);
            break;
        case 'd':
            compute = strcmp(optarg, "bf16") == 0 ? SG_BF16 : SG_F32;
            if (compute == SG_F32 && strcmp(optarg, "f32") != 0)
                status = sg_fail(&err, SG_EARG, "--dtype is \"%.20s\", wanted f32 or bf16", optarg);
            break;
        case 'e':
            edits = optarg;
            break;
        case 'f':
            fetch[n_fetch++] = optarg;
            break;
        case 'o':
            out = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            free(fetch);
            return 0;
        default:
            if (adapted_option(&added, o, optarg))
                break;
            free(fetch);
            return EXIT_USAGE;
        }
    }
    opts.top_k = (int)top_k;
    int code = status == SG_OK ? 0 : cli_fail(&err);
    if (code == 0 && optind + 1 != argc)
        code = cli_usage("generate", "wanted one MODEL, got %d", argc - optind);
    if (code == 0 && !text == !tokens)
        code = cli_usage("generate", "wanted either --text or --tokens");
    if (code == 0 && n_fetch && !out)
        code = cli_usage("generate", "--fetch wants --out, where the values go");
    if (code == 0) {
        work w = {0};
        cli_catch(on_interrupt);
        status = sg_writer_check(out, &err);
        if (status == SG_OK)
            status = prepare(&w, compute, argv[optind], text, tokens, edits, &added, n, fetch,
                             n_fetch, &err);
        const double start = sg_now();
        if (status == SG_OK) {
            cli_warnings(w.model);
            status = write_on(&w, n, opts, (uint64_t)seed, json, &reason, &first, &err);
        }
        const double seconds = sg_now() - start;
        if (status == SG_OK && out)
            status = save(&w, out, &err);
        if (status != SG_OK) {
            code = cli_fail(&err);
        } else if (json) {
            json_t *ids = json_array();
            for (int64_t i = 0; i < w.ids.n; i++)
                json_array_append_new(ids, json_integer(w.ids.ids[i]));
            json_t *whole = json_string(w.text.text ? w.text.text : "");
            code = cli_print_json(json_pack("{s:s, s:o, s:o, s:I, s:s, s:f, s:f}", "model", argv[optind], "tokens", ids,
                                            "text", whole ? whole : json_null(), "prompt_tokens",
                                            (json_int_t)w.rows.lengths[0], "ended_by", reason, "first_token_seconds",
                                            first, "seconds", seconds));
        } else if (stopped) {
            fprintf(stderr, "sightglass: stopped; %lld tokens were written\n",
                    (long long)(w.ids.n - w.rows.lengths[0]));
        }
        if (code == 0 && stopped)
            code = 130;
        release(&w);
    }
    free(fetch);
    return code;
}
