/* sightglass generate: writing on from texts, several at once where that is asked for. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "adapted.h"
#include "cli.h"
#include "sightglass/generate.h"
#include "sightglass/safetensors.h"
#include "sightglass/template.h"

static const char help[] =
    "usage: sightglass generate MODEL --text T [options]\n\n"
    "Writes on from a text until the model ends it, -n tokens are written, or the context is full.\n\n"
    "  --text T              the beginning; several are written on side by side\n"
    "  --tokens FILE         beginnings as token ids, one a line\n"
    "  --chat T              what a user says, by the model's chat template; the answer is written\n"
    "  --system T            what the model is told before\n"
    "  -n N                  tokens to write (128)\n"
    "  --temperature X       0: always the most likely token (0)\n"
    "  --top-k K             sample from the K most likely (0: all)\n"
    "  --top-p P             sample from the fewest that together reach P (1)\n"
    "  --min-p P             sample from those at least P times as likely as the likeliest (0)\n"
    "  --repetition-penalty X  divide logits of tokens that were there before (1)\n"
    "  --presence-penalty X, --frequency-penalty X  taken off the logit of a token once it was written, and each time "
    "(0)\n"
    "  --bias ID=X           add X to a token's logit; may be repeated\n"
    "  --stop T              end before this text; may be repeated, up to 16\n"
    "  --seed S              of the sampling (0)\n"
    "  --samples N           texts of each beginning (1)\n"
    "  --beams N             the likeliest texts that a search of width N finds, up to 16\n"
    "  --length-penalty A    a beam counts by its log-probability / length^A (1)\n"
    "  --logprobs K          with --json: log-probabilities, and the K likeliest tokens beside each\n"
    "  --cache f32|bf16      how keys and values are kept (f32)\n"
    "  --sinks S --window W  keep keys and values of the first S and the last W tokens alone: a text without end\n"
    "  --dtype f32|bf16      what the prompt's large products are computed in (f32)\n"
    "  --edits FILE.json     splice edits into values while it writes\n" ADAPTED_HELP ADAPTED_VECTOR_HELP
    "  --fetch PATTERN       collect values over all positions, with --out; may be repeated\n"
    "  --out FILE.safetensors\n"
    "  --dry-run             only say what memory it takes\n"
    "  --json                for machines: tokens, text, time\n";

enum { MOST_TEXTS = 256, MOST_BIASES = 1024 };

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

typedef struct asked {
    const char *model, *tokens, *chat, *system, *edits, *out, *texts[MOST_TEXTS];
    const char **fetch;
    int n_texts, n_fetch;
    sg_generate_opts write;
    sg_bias biases[MOST_BIASES];
    sg_batch_opts batch;
    long long samples, beams;
    double length_penalty;
    adapted added;
    bool json, dry;
} asked;

typedef struct work {
    const asked *ask;
    sg_model *model;
    sg_batch *batch;
    sg_graph *names; /* that holds the names of what is fetched */
    sg_edit_list *edits;
    sg_prompt *prompts;
    int n_prompts, n_texts;
    sg_generation *texts;
    sg_tokens ids; /* of a single text, with its prompt */
    collected *fetched;
    const char **fetches;
    int n_fetched;
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

/* The pieces side by side along the position axis; key positions that a step did not have yet are 0. There are n_keys.
 */
static sg_status join(const collected *c, sg_dim n_keys, sg_tensor *out, sg_error *err)
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
            out->dims[s] = n_keys; /* they come in whole blocks */
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
            bool there = true;
            for (int k = p->n_dims - 1; k >= 0; k--) {
                there &= k != s || rest % p->dims[k] < n_keys;
                at += (rest % p->dims[k] + (k == t ? start : 0)) * stride;
                rest /= p->dims[k];
                stride *= out->dims[k];
            }
            if (there)
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
        status = join(&w->fetched[i], w->ids.n, &list[n].tensor, err);
        n += status == SG_OK;
    }
    if (status == SG_OK)
        status = sg_safetensors_save(path, list, n, NULL, 0, err);
    for (int i = 1; i < n; i++)
        free(list[i].tensor.data);
    free(list);
    return status;
}

/* What a run gave, of the one row there is. */
static sg_status keep_run(void *context, int first, int n_rows, sg_dim time, sg_error *err)
{
    work *w = context;

    (void)n_rows;
    (void)time;
    for (int i = 0; i < w->n_fetched; i++)
        SG_TRY(keep_piece(&w->fetched[i], sg_batch_fetched(w->batch, i, &first), err));
    return SG_OK;
}

/* A single text is shown as it is written. Tokens that have no text have a blank before them, the first one too. */
static bool show(void *context, int i, const sg_generation *g, size_t text)
{
    const work *w = context;

    (void)i;
    if (w->n_texts == 1 && !w->ask->json && g->text) {
        fputs(g->text + text + (text == 0 && !w->ask->write.echo && g->text[0] == ' ' && !sg_model_tokenizer(w->model)),
              stdout);
        fflush(stdout);
    }
    return !stopped;
}

static void release(work *w)
{
    for (int i = 0; i < w->n_fetched; i++) {
        for (int k = 0; k < w->fetched[i].n; k++)
            free(w->fetched[i].pieces[k].data);
        free(w->fetched[i].pieces);
    }
    free(w->fetched);
    free(w->fetches);
    for (int i = 0; i < w->n_texts && w->texts; i++)
        sg_generation_free(&w->texts[i]);
    free(w->texts);
    for (int i = 0; i < w->n_prompts; i++)
        free((void *)(uintptr_t)w->prompts[i].tokens);
    free(w->prompts);
    sg_tokens_free(&w->ids);
    sg_batch_free(w->batch);
    sg_graph_free(w->names);
    sg_edit_list_free(w->edits);
    sg_model_close(w->model);
}

/* ---- prompts ---- */

/* Takes over ids. */
static sg_status add_prompt(work *w, int32_t *ids, sg_dim n, sg_error *err)
{
    sg_prompt *more = realloc(w->prompts, (size_t)(w->n_prompts + 1) * sizeof *more);

    if (more)
        w->prompts = more;
    if (!more || !ids) {
        free(ids);
        return sg_fail(err, SG_ENOMEM, "out of memory");
    }
    w->prompts[w->n_prompts++] = (sg_prompt){ids, n};
    return SG_OK;
}

static sg_status read_rows(work *w, cli_rows *rows, sg_error *err)
{
    for (int i = 0; i < rows->n; i++) {
        const size_t bytes = (size_t)rows->lengths[i] * sizeof(int32_t);
        int32_t *ids = malloc(SG_MAX(bytes, 1));
        if (ids && bytes)
            memcpy(ids, rows->tokens[i], bytes);
        SG_TRY(add_prompt(w, ids, rows->lengths[i], err));
    }
    return SG_OK;
}

static sg_status read_chat(work *w, sg_error *err)
{
    const asked *a = w->ask;
    const sg_tokenizer *t = sg_model_tokenizer(w->model);
    const sg_chat_message messages[2] = {{"system", a->system}, {"user", a->chat}};
    sg_tokens ids = {0};
    char *text = NULL;

    if (!t)
        return sg_fail(err, SG_EARG, "%s has no tokenizer, so it reads no text", a->model);
    SG_TRY(sg_chat_render(&text, t, a->system ? 2 : 1, messages + (a->system ? 0 : 1), sg_chat_defaults(), err));
    const sg_status status = sg_tokenizer_encode(t, text, (sg_encode_opts){.parse_special = true}, &ids, err);
    free(text);
    if (status != SG_OK) {
        sg_tokens_free(&ids);
        return status;
    }
    return add_prompt(w, ids.ids, ids.n, err);
}

static sg_status read_prompts(work *w, sg_error *err)
{
    const asked *a = w->ask;
    const sg_dim n_context = sg_model_get_info(w->model)->n_context;
    cli_rows rows = {0};
    sg_status status = SG_OK;

    if (a->chat)
        SG_TRY(read_chat(w, err));
    if (a->tokens)
        status = cli_rows_file(&rows, a->tokens, err);
    for (int i = 0; i < a->n_texts && status == SG_OK; i++)
        status = cli_rows_text(&rows, w->model, a->texts[i], err);
    if (status == SG_OK)
        status = read_rows(w, &rows, err);
    cli_rows_free(&rows);
    SG_TRY(status);
    if (w->n_prompts == 0)
        return sg_fail(err, SG_EARG, "no prompt was given");
    for (int i = 0; i < w->n_prompts; i++) {
        if (w->prompts[i].n < 1)
            return sg_fail(err, SG_EARG, "the prompt has no tokens");
        if (w->prompts[i].n > n_context && !a->batch.window)
            return sg_fail(err, SG_EARG, "the prompt has %lld tokens, the model's context is %lld",
                           (long long)w->prompts[i].n, (long long)n_context);
    }
    return SG_OK;
}

/* ---- the batch ---- */

static sg_status find_fetches(work *w, sg_batch_opts *opts, sg_error *err)
{
    sg_value **found = NULL;
    int n_found = 0;
    sg_status status = SG_OK;

    if (!w->ask->n_fetch)
        return SG_OK;
    SG_TRY(
        sg_model_cached_graph(&w->names, w->model, (sg_cache_opts){.capacity = 64, .n_rows = 1, .apart = true}, err));
    for (int i = 0; i < w->ask->n_fetch && status == SG_OK; i++)
        status = cli_match(w->names, w->ask->fetch[i], &found, &n_found, err);
    if (status == SG_OK && (!(w->fetched = calloc((size_t)n_found + 1, sizeof *w->fetched)) ||
                            !(w->fetches = calloc((size_t)n_found + 1, sizeof *w->fetches))))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    for (int i = 0; i < n_found && status == SG_OK; i++)
        if (strchr(sg_value_axes(found[i]), 't')) { /* weights and inputs do not go along with positions */
            w->fetches[w->n_fetched] = sg_value_name(found[i]);
            w->fetched[w->n_fetched++].value = found[i];
        }
    free(found);
    opts->n_fetches = w->n_fetched;
    opts->fetches = w->fetches;
    return status;
}

static sg_status read_edits(work *w, sg_batch_opts *opts, sg_generate_opts *write, sg_error *err)
{
    sg_glass *plain = NULL;
    bool any = false;

    SG_TRY(adapted_edits(&w->edits, w->ask->edits, &w->ask->added, err));
    if (!w->edits)
        return SG_OK;
    const int n = sg_edit_list_count(w->edits);
    for (int i = 0; i < n; i++)
        any |= sg_edit_list_source(w->edits, i) != NULL;
    if (any) {
        sg_glass_opts glass = sg_glass_defaults();
        glass.exec = opts->exec;
        SG_TRY(sg_glass_new(&plain, w->model, glass, err));
        const sg_status status = sg_glass_sources(plain, w->edits, err);
        sg_glass_free(plain);
        SG_TRY(status);
    }
    opts->n_edits = write->n_edits = n;
    opts->edits = write->edits = n ? sg_edit_list_at(w->edits, 0) : NULL;
    return SG_OK;
}

/* Rows and places for what is asked. */
static void size_batch(const work *w, sg_batch_opts *opts)
{
    const asked *a = w->ask;
    sg_dim most = 1;

    for (int i = 0; i < w->n_prompts; i++)
        most = SG_MAX(most, w->prompts[i].n);
    opts->n_rows = SG_MIN((sg_dim)SG_BATCH_ROWS, a->beams ? a->beams : w->n_texts);
    if (!opts->window)
        opts->capacity = SG_MAX(1, SG_MIN(sg_model_get_info(w->model)->n_context, most + a->write.most));
}

static sg_status say_memory(const work *w, const sg_batch_opts *opts, sg_error *err)
{
    const sg_model_info *in = sg_model_get_info(w->model);
    size_t cache = 0;

    SG_TRY(sg_batch_cache_bytes(w->model, opts, &cache, err));
    const sg_dim places = opts->window ? opts->sinks + opts->window : opts->capacity;
    if (w->ask->json)
        return cli_print_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "model", w->ask->model, "weight_bytes",
                                        (json_int_t)(in->weight_bytes + in->converted_bytes), "cache_bytes",
                                        (json_int_t)cache, "rows", (json_int_t)opts->n_rows, "tokens",
                                        (json_int_t)places, "cache", sg_dtype_name(opts->cache))) == 0
                   ? SG_OK
                   : sg_fail(err, SG_EIO, "nothing could be written");
    printf("weights %.1f MB, keys and values %.1f MB (%lld rows of %lld tokens in %s)\n",
           (double)(in->weight_bytes + in->converted_bytes) / 1e6, (double)cache / 1e6, (long long)opts->n_rows,
           (long long)places, sg_dtype_name(opts->cache));
    return SG_OK;
}

/* ---- answering ---- */

static const char *reason_of(const asked *a, const sg_generation *g)
{
    return g->reason && strcmp(g->reason, "stop") == 0 && (!a->write.n_stops || a->beams) ? "end of text"
           : g->reason                                                                    ? g->reason
                                                                                          : "interrupted";
}

static json_t *logprobs_json(const sg_generation *g, int from)
{
    json_t *list = json_array();

    for (int i = from; i < g->n_tokens; i++) {
        const sg_written *t = &g->tokens[i];
        json_t *top = json_array();
        for (int k = 0; k < t->n_top; k++)
            json_array_append_new(top, json_pack("[i, f]", t->top[k].token, t->top[k].logprob));
        json_array_append_new(list, json_pack("{s:i, s:f, s:o}", "token", t->id, "logprob", t->logprob, "top", top));
    }
    return list;
}

static json_t *text_json(const work *w, int i)
{
    const asked *a = w->ask;
    const sg_generation *g = &w->texts[i];
    const sg_prompt *p = &w->prompts[a->beams ? 0 : i / (int)a->samples];
    const int from = a->write.echo && !a->beams && sg_model_tokenizer(w->model) ? (int)p->n : 0;
    json_t *ids = json_array(), *text = json_string(sg_model_tokenizer(w->model) && g->text ? g->text : "");

    for (sg_dim k = 0; k < p->n; k++)
        json_array_append_new(ids, json_integer(p->tokens[k]));
    for (int k = from; k < g->n_tokens; k++)
        json_array_append_new(ids, json_integer(g->tokens[k].id));
    json_t *j =
        json_pack("{s:o, s:o, s:I, s:s, s:f}", "tokens", ids, "text", text ? text : json_null(), "prompt_tokens",
                  (json_int_t)p->n, "ended_by", reason_of(a, g), "first_token_seconds", g->first);
    if (j && (a->beams || a->write.n_top >= 0))
        json_object_set_new(j, "logprob", json_real(g->logprob));
    if (j && a->write.n_top >= 0 && !a->beams)
        json_object_set_new(j, "logprobs", logprobs_json(g, SG_MIN(from, g->n_tokens)));
    return j;
}

static int answer(const work *w, double seconds)
{
    const asked *a = w->ask;

    if (a->json) {
        json_t *all = w->n_texts == 1 ? text_json(w, 0) : json_pack("{s:[]}", "texts");
        for (int i = 0; w->n_texts > 1 && i < w->n_texts; i++)
            json_array_append_new(json_object_get(all, "texts"), text_json(w, i));
        if (all) {
            json_object_set_new(all, "model", json_string(a->model));
            json_object_set_new(all, "seconds", json_real(seconds));
        }
        return cli_print_json(all);
    }
    for (int i = 0; w->n_texts > 1 && i < w->n_texts; i++) {
        const sg_generation *g = &w->texts[i];
        if (a->beams)
            printf("--- %.4f\n", g->logprob);
        else
            printf("--- %d.%d\n", i / (int)a->samples + 1, i % (int)a->samples + 1);
        puts(g->text ? g->text : "");
    }
    if (w->n_texts == 1 && a->beams)
        fputs(w->texts[0].text ? w->texts[0].text : "", stdout);
    if (w->n_texts == 1)
        putchar('\n');
    return 0;
}

static sg_status write_all(work *w, sg_error *err)
{
    const asked *a = w->ask;
    sg_batch_opts opts = a->batch;
    sg_generate_opts write = a->write;
    sg_model_opts model = sg_model_defaults();

    model.only_sizes = a->dry;
    SG_TRY(adapted_open(&w->model, a->model, model, &a->added, false, err));
    SG_TRY(read_prompts(w, err));
    if (a->beams && w->n_prompts > 1)
        return sg_fail(err, SG_EARG, "beams are of one text, %d were given", w->n_prompts);
    w->n_texts = a->beams ? (int)a->beams : w->n_prompts * (int)a->samples;
    if (a->n_fetch && (w->n_texts > 1 || opts.window))
        return sg_fail(err, SG_EARG, "values are fetched of one text, and of all its tokens");
    size_batch(w, &opts);
    if (a->dry)
        return say_memory(w, &opts, err);
    w->texts = calloc((size_t)w->n_texts, sizeof *w->texts);
    if (!w->texts)
        return sg_fail(err, SG_ENOMEM, "out of memory for texts");
    SG_TRY(read_edits(w, &opts, &write, err));
    SG_TRY(find_fetches(w, &opts, err));
    SG_TRY(sg_batch_new(&w->batch, w->model, opts, err));
    if (w->n_fetched)
        sg_batch_watch(w->batch, keep_run, w);
    cli_warnings(w->model);
    write.echo &= sg_model_tokenizer(w->model) != NULL;
    if (a->beams)
        return sg_generate_beams(w->texts, w->batch, w->prompts[0].tokens, w->prompts[0].n, (int)a->beams,
                                 a->length_penalty, &write, err);
    SG_TRY(sg_generate_all(w->texts, w->batch, w->n_prompts, w->prompts, (int)a->samples, &write, show, w, err));
    return SG_OK;
}

static sg_status keep_ids(work *w, sg_error *err)
{
    const sg_generation *g = &w->texts[0];
    const int from = g->n_tokens && w->ask->write.echo && sg_model_tokenizer(w->model) ? (int)w->prompts[0].n : 0;

    for (sg_dim k = 0; k < w->prompts[0].n; k++)
        SG_TRY(sg_tokens_push(&w->ids, w->prompts[0].tokens[k], err));
    for (int k = from; k < g->n_tokens; k++)
        SG_TRY(sg_tokens_push(&w->ids, g->tokens[k].id, err));
    return SG_OK;
}

/* ---- the command ---- */

static sg_status read_bias(asked *a, const char *text, sg_error *err)
{
    char *end = NULL;
    const long id = strtol(text, &end, 10);
    double add = 0;

    if (a->write.n_biases == MOST_BIASES)
        return sg_fail(err, SG_EARG, "--bias: more than %d tokens", MOST_BIASES);
    if (end == text || *end != '=' || id < 0 || id > INT32_MAX)
        return sg_fail(err, SG_EARG, "--bias is \"%.40s\", wanted a token and a number, as 17=-5", text);
    SG_TRY(cli_real("--bias", end + 1, -1000, 1000, &add, err));
    a->biases[a->write.n_biases++] = (sg_bias){(int32_t)id, add};
    return SG_OK;
}

static sg_status read_dtype(const char *option, const char *text, sg_dtype *out, sg_error *err)
{
    *out = strcmp(text, "bf16") == 0 ? SG_BF16 : SG_F32;
    return *out == SG_F32 && strcmp(text, "f32") != 0
               ? sg_fail(err, SG_EARG, "%s is \"%.20s\", wanted f32 or bf16", option, text)
               : SG_OK;
}

enum {
    REPETITION = 256,
    PRESENCE,
    FREQUENCY,
    BIAS,
    STOP,
    SAMPLES,
    BEAMS,
    LENGTH,
    LOGPROBS,
    CACHE,
    SINKS,
    WINDOW,
    DRY,
    MIN_P,
    CHAT,
    SYSTEM
};

static const struct option options[] = {{"text", required_argument, NULL, 't'},
                                        {"tokens", required_argument, NULL, 'T'},
                                        {"chat", required_argument, NULL, CHAT},
                                        {"system", required_argument, NULL, SYSTEM},
                                        {"temperature", required_argument, NULL, 'x'},
                                        {"top-k", required_argument, NULL, 'k'},
                                        {"top-p", required_argument, NULL, 'p'},
                                        {"min-p", required_argument, NULL, MIN_P},
                                        {"repetition-penalty", required_argument, NULL, REPETITION},
                                        {"presence-penalty", required_argument, NULL, PRESENCE},
                                        {"frequency-penalty", required_argument, NULL, FREQUENCY},
                                        {"bias", required_argument, NULL, BIAS},
                                        {"stop", required_argument, NULL, STOP},
                                        {"seed", required_argument, NULL, 's'},
                                        {"samples", required_argument, NULL, SAMPLES},
                                        {"beams", required_argument, NULL, BEAMS},
                                        {"length-penalty", required_argument, NULL, LENGTH},
                                        {"logprobs", required_argument, NULL, LOGPROBS},
                                        {"cache", required_argument, NULL, CACHE},
                                        {"sinks", required_argument, NULL, SINKS},
                                        {"window", required_argument, NULL, WINDOW},
                                        {"dtype", required_argument, NULL, 'd'},
                                        {"edits", required_argument, NULL, 'e'},
                                        ADAPTED_OPTIONS,
                                        {"fetch", required_argument, NULL, 'f'},
                                        {"out", required_argument, NULL, 'o'},
                                        {"dry-run", no_argument, NULL, DRY},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {0}};

static sg_status read_option(asked *a, int o, const char *text, sg_error *err)
{
    sg_generate_opts *w = &a->write;
    long long x = 0;
    sg_status status = SG_OK;

    switch (o) {
    case 't':
        if (a->n_texts == MOST_TEXTS)
            return sg_fail(err, SG_EARG, "--text: more than %d texts", MOST_TEXTS);
        a->texts[a->n_texts++] = text;
        return SG_OK;
    case 'T':
        a->tokens = text;
        return SG_OK;
    case CHAT:
        a->chat = text;
        return SG_OK;
    case SYSTEM:
        a->system = text;
        return SG_OK;
    case 'n':
        status = cli_whole("-n", text, 0, 100000000, &x, err);
        w->most = x;
        return status;
    case 'x':
        return cli_real("--temperature", text, 0, 1e6, &w->sample.temperature, err);
    case 'k':
        status = cli_whole("--top-k", text, 0, 1 << 24, &x, err);
        w->sample.top_k = (int)x;
        return status;
    case 'p':
        return cli_real("--top-p", text, 0, 1, &w->sample.top_p, err);
    case MIN_P:
        return cli_real("--min-p", text, 0, 1, &w->sample.min_p, err);
    case REPETITION:
        return cli_real("--repetition-penalty", text, 0.01, 100, &w->repetition, err);
    case PRESENCE:
        return cli_real("--presence-penalty", text, -100, 100, &w->presence, err);
    case FREQUENCY:
        return cli_real("--frequency-penalty", text, -100, 100, &w->frequency, err);
    case BIAS:
        return read_bias(a, text, err);
    case STOP:
        if (w->n_stops == SG_MOST_STOPS || !*text)
            return sg_fail(err, SG_EARG, "--stop: up to %d texts that are not empty", SG_MOST_STOPS);
        w->stops[w->n_stops++] = text;
        return SG_OK;
    case 's':
        status = cli_whole("--seed", text, 0, INT64_MAX, &x, err);
        w->seed = (uint64_t)x;
        return status;
    case SAMPLES:
        return cli_whole("--samples", text, 1, 1024, &a->samples, err);
    case BEAMS:
        return cli_whole("--beams", text, 1, SG_BATCH_ROWS, &a->beams, err);
    case LENGTH:
        return cli_real("--length-penalty", text, 0, 100, &a->length_penalty, err);
    case LOGPROBS:
        status = cli_whole("--logprobs", text, 0, SG_MOST_TOP, &x, err);
        w->n_top = (int)x;
        return status;
    case CACHE:
        return read_dtype("--cache", text, &a->batch.cache, err);
    case SINKS:
        status = cli_whole("--sinks", text, 0, 1 << 24, &x, err);
        a->batch.sinks = x;
        return status;
    case WINDOW:
        status = cli_whole("--window", text, 1, 1 << 24, &x, err);
        a->batch.window = x;
        return status;
    case 'd':
        return read_dtype("--dtype", text, &a->batch.exec.compute, err);
    case 'e':
        a->edits = text;
        return SG_OK;
    case 'f':
        a->fetch[a->n_fetch++] = text;
        return SG_OK;
    case 'o':
        a->out = text;
        return SG_OK;
    case DRY:
        a->dry = true;
        return SG_OK;
    case 'j':
        a->json = true;
        return SG_OK;
    default:
        (void)adapted_option(&a->added, o, text); /* what is left */
        return SG_OK;
    }
}

static int run(const asked *a)
{
    work w = {.ask = a};
    sg_error err = {SG_OK, ""};
    const double start = sg_now();
    int code = 0;

    cli_catch(on_interrupt);
    sg_status status = sg_writer_check(a->out, &err);
    if (status == SG_OK)
        status = write_all(&w, &err);
    if (status == SG_OK && a->out && !a->dry)
        status = keep_ids(&w, &err);
    if (status == SG_OK && a->out && !a->dry)
        status = save(&w, a->out, &err);
    if (status != SG_OK)
        code = cli_fail(&err);
    else if (!a->dry)
        code = answer(&w, sg_now() - start);
    if (code == 0 && stopped) {
        long long written = 0;
        for (int i = 0; i < w.n_texts; i++)
            written += w.texts[i].n_written;
        fprintf(stderr, "sightglass: stopped; %lld tokens were written\n", written);
        code = 130;
    }
    release(&w);
    return code;
}

int cmd_generate(int argc, char **argv)
{
    asked *a = calloc(1, sizeof *a);
    sg_error err = {SG_OK, ""};
    sg_status status = SG_OK;
    int code = 0;

    if (!a || !(a->fetch = calloc((size_t)argc + 1, sizeof *a->fetch))) {
        free(a);
        return EXIT_FAILED;
    }
    a->write = sg_generate_defaults();
    a->write.echo = true;
    a->write.biases = a->biases;
    a->batch = sg_batch_defaults();
    a->samples = 1;
    a->length_penalty = 1;
    bool asks_help = false, wrong = false;
    for (int o; status == SG_OK && !asks_help && !wrong && (o = getopt_long(argc, argv, "hn:", options, NULL)) != -1;) {
        asks_help = o == 'h';
        wrong = o == '?';
        if (!asks_help && !wrong)
            status = read_option(a, o, optarg, &err);
    }
    a->write.echo = !a->chat;
    if (asks_help)
        fputs(help, stdout);
    else if (wrong)
        code = EXIT_USAGE;
    else if (status != SG_OK)
        code = cli_fail(&err);
    else if (optind + 1 != argc)
        code = cli_usage("generate", "wanted one MODEL, got %d", argc - optind);
    else if ((a->n_texts > 0) + (a->tokens != NULL) + (a->chat != NULL) != 1)
        code = cli_usage("generate", "wanted --text, --tokens or --chat");
    else if (a->system && !a->chat)
        code = cli_usage("generate", "--system wants --chat");
    else if (a->n_fetch && !a->out)
        code = cli_usage("generate", "--fetch wants --out, where the values go");
    else if (a->out && (a->beams || a->samples > 1 || a->n_texts > 1))
        code = cli_usage("generate", "--out is of one text");
    else if (a->batch.sinks && !a->batch.window)
        code = cli_usage("generate", "--sinks wants --window");
    else {
        a->model = argv[optind];
        code = run(a);
    }
    free(a->fetch);
    free(a);
    return code;
}
