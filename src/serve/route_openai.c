/* The door for programs that speak OpenAI's interface: models, completions, chat completions,
 * embeddings. Beside its own fields
 * a request may carry `edits` (edit.h) and `fetch` (fetched.h), and `top_k`. docs/serving.md tells it to people. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "serve/generation.h"
#include "serve/prompt.h"
#include "serve/route.h"
#include "serve/transcript.h"

enum { MOST_PROMPTS = 64, MOST_CHOICES = 128, CHAT_TOKENS = 1024, MOST_LOGPROBS = 1 << 18 };

typedef struct door {
    serve *s;
    const serve_request *r;
    serve_reply *reply;
    const json_t *body;
    const sg_model *model;
    bool chat, stream, stream_usage;
    int n; /* choices for each prompt */
    int n_prompts;
    sg_tokens *prompts;
    sg_bias *biases;
    generation_ask ask; /* what all choices share */
    char id[48], fingerprint[32];
    json_int_t created;
    double began, first;
    const char *backend;
    int index; /* of the choice that is being written */
    bool opened;
    json_int_t n_prompt_tokens, n_written;
    json_t *choices; /* of an answer that does not stream */
} door;

/* ---- reading ---- */

static sg_status wrong(door *d, sg_error *err, const char *field, const char *fmt, ...) SG_PRINTF(4, 5);
static sg_status wrong(door *d, sg_error *err, const char *field, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    serve_reply_param(d->reply, "%s", field);
    return sg_fail(err, SG_EARG, "%s: %s", field, text);
}

static const json_t *field(const door *d, const char *name)
{
    const json_t *v = json_object_get(d->body, name);
    return json_is_null(v) ? NULL : v;
}

static sg_status real(door *d, const char *name, double least, double most, double *out, sg_error *err)
{
    const json_t *v = field(d, name);

    if (!v)
        return SG_OK;
    *out = json_number_value(v);
    return *out >= least && *out <= most ? SG_OK : wrong(d, err, name, "%g is not from %g to %g", *out, least, most);
}

static sg_status whole(door *d, const char *name, json_int_t least, json_int_t most, json_int_t *out, sg_error *err)
{
    const json_t *v = field(d, name);

    if (!v)
        return SG_OK;
    *out = json_integer_value(v);
    return *out >= least && *out <= most ? SG_OK
                                         : wrong(d, err, name, "%lld is not from %lld to %lld", (long long)*out,
                                                 (long long)least, (long long)most);
}

/* Fields that would change the answer if they were heeded, which they are not: only what asks for nothing is let
 * through. */
static sg_status refuse_unsupported(door *d, sg_error *err)
{
    static const char *const names[] = {
        "suffix", "tools",      "tool_choice", "functions",          "function_call",    "response_format",
        "audio",  "modalities", "prediction",  "web_search_options", "reasoning_effort", "verbosity"};

    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        const json_t *v = field(d, names[i]), *type = json_object_get(v, "type");
        const char *text = json_is_string(v) ? json_string_value(v) : json_string_value(type);
        const json_t *only = json_array_size(v) == 1 ? json_array_get(v, 0) : NULL;
        const bool nothing =
            !v || json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0) ||
            (json_is_object(v) && json_object_size(v) == 0) ||
            (text && (!*text || strcmp(text, "none") == 0 || strcmp(text, "text") == 0 || strcmp(text, "auto") == 0)) ||
            (json_is_string(only) && strcmp(json_string_value(only), "text") == 0);
        if (!nothing)
            return wrong(d, err, names[i], "not supported by this server");
    }
    return SG_OK;
}

static sg_status read_stops(door *d, sg_error *err)
{
    const json_t *v = field(d, "stop");
    const size_t n = json_is_array(v) ? json_array_size(v) : v ? 1 : 0;

    if (n > 4)
        return wrong(d, err, "stop", "%zu texts, at most 4 are taken", n);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        if (!text || !*text || strlen(text) > 1000)
            return wrong(d, err, "stop", "a text of 1 to 1000 bytes was wanted");
        d->ask.write.stops[d->ask.write.n_stops++] = text;
    }
    return SG_OK;
}

static sg_status read_biases(door *d, sg_error *err)
{
    const json_t *v = field(d, "logit_bias");
    const char *key;
    json_t *value;

    if (!json_object_size(v))
        return SG_OK;
    if (json_object_size(v) > GENERATION_MOST_BIASES)
        return wrong(d, err, "logit_bias", "more than %d tokens", GENERATION_MOST_BIASES);
    d->biases = calloc(json_object_size(v), sizeof *d->biases);
    if (!d->biases)
        return sg_fail(err, SG_ENOMEM, "out of memory for logit_bias");
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        char *end;
        const long long id = strtoll(key, &end, 10);
        const double add = json_number_value(value);
        if (*end || end == key || id < 0 || id > INT32_MAX || !(fabs(add) <= 1000))
            return wrong(d, err, "logit_bias", "\"%.40s\": a token's number and a bias from -1000 to 1000 were wanted",
                         key);
        d->biases[d->ask.write.n_biases++] = (sg_bias){(int32_t)id, add};
    }
    d->ask.write.biases = d->biases;
    return SG_OK;
}

static sg_status read_logprobs(door *d, sg_error *err)
{
    const json_t *v = field(d, "logprobs");
    json_int_t n = -1;

    if (!d->chat) {
        SG_TRY(whole(d, "logprobs", 0, SG_MOST_TOP, &n, err));
    } else {
        n = json_is_true(v) ? 0 : -1;
        if (field(d, "top_logprobs") && n < 0)
            return wrong(d, err, "top_logprobs", "only together with logprobs: true");
        SG_TRY(whole(d, "top_logprobs", 0, SG_MOST_TOP, &n, err));
    }
    d->ask.write.n_top = (int)n;
    return SG_OK;
}

static sg_status read_sampling(door *d, sg_error *err)
{
    json_int_t n = 1, top_k = 0, seed = 0, best_of = 0, most = d->chat ? -1 : 16;
    generation_ask *a = &d->ask;

    a->write.sample.temperature = 1; /* as there */
    SG_TRY(real(d, "temperature", 0, 100, &a->write.sample.temperature, err));
    SG_TRY(real(d, "top_p", 0, 1, &a->write.sample.top_p, err));
    SG_TRY(whole(d, "top_k", 0, INT32_MAX, &top_k, err));
    SG_TRY(real(d, "min_p", 0, 1, &a->write.sample.min_p, err));
    SG_TRY(real(d, "repetition_penalty", 0.01, 100, &a->write.repetition, err));
    SG_TRY(real(d, "presence_penalty", -100, 100, &a->write.presence, err));
    SG_TRY(real(d, "frequency_penalty", -100, 100, &a->write.frequency, err));
    SG_TRY(whole(d, "n", 1, MOST_CHOICES, &n, err));
    SG_TRY(whole(d, "best_of", 1, MOST_CHOICES, &best_of, err));
    if (best_of > n)
        return wrong(d, err, "best_of", "not supported by this server beyond n");
    SG_TRY(whole(d, "max_tokens", 0, INT32_MAX, &most, err));
    SG_TRY(whole(d, "max_completion_tokens", 0, INT32_MAX, &most, err));
    a->write.most = most;
    a->write.sample.top_k = (int)top_k;
    d->n = (int)n;
    if (field(d, "seed")) {
        SG_TRY(whole(d, "seed", INT64_MIN, INT64_MAX, &seed, err));
        a->write.seed = (uint64_t)seed;
    } else {
        uint32_t word = 0;
        if (getrandom(&word, sizeof word, 0) != (ssize_t)sizeof word)
            word = (uint32_t)time(NULL);
        a->write.seed = word; /* told in the answer, which can so be had again */
    }
    return SG_OK;
}

static sg_status read_options(door *d, sg_error *err)
{
    SG_TRY(refuse_unsupported(d, err));
    SG_TRY(read_sampling(d, err));
    SG_TRY(read_stops(d, err));
    SG_TRY(read_biases(d, err));
    SG_TRY(read_logprobs(d, err));
    d->stream = json_is_true(field(d, "stream"));
    d->stream_usage = json_is_true(json_object_get(field(d, "stream_options"), "include_usage"));
    if (d->stream_usage && !d->stream)
        return wrong(d, err, "stream_options", "only together with stream: true");
    d->ask.write.echo = json_is_true(field(d, "echo"));
    d->ask.edits = field(d, "edits");
    d->ask.fetch = field(d, "fetch");
    return SG_OK;
}

/* ---- prompts ---- */

static sg_status read_ids(door *d, const json_t *list, sg_tokens *out, sg_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_int_t id = json_integer_value(json_array_get(list, i));
        if (id < 0 || id >= sg_model_get_info(d->model)->n_vocab)
            return wrong(d, err, "prompt", "token %lld at place %zu is outside the vocabulary 0 to %lld", (long long)id,
                         i, (long long)sg_model_get_info(d->model)->n_vocab - 1);
        SG_TRY(sg_tokens_push(out, (int32_t)id, err));
    }
    return SG_OK;
}

/* A text, texts, tokens, or lists of tokens. */
static sg_status read_prompts(door *d, const char *name, sg_error *err)
{
    const json_t *v = field(d, name);
    const bool many = json_is_array(v) && !json_is_integer(json_array_get(v, 0));
    const size_t n = many ? json_array_size(v) : 1;

    if (n < 1 || n > MOST_PROMPTS)
        return wrong(d, err, name, "%zu prompts, wanted 1 to %d", n, MOST_PROMPTS);
    d->prompts = calloc(n, sizeof *d->prompts);
    if (!d->prompts)
        return sg_fail(err, SG_ENOMEM, "out of memory for prompts");
    d->n_prompts = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = many ? json_array_get(v, i) : v;
        sg_tokens *ids = &d->prompts[i];
        serve_reply_param(d->reply, "%s", name);
        if (json_is_array(one))
            SG_TRY(read_ids(d, one, ids, err));
        else
            SG_TRY(prompt_read(d->model, one ? json_string_value(one) : "", ids, err));
        if (ids->n == 0)
            return wrong(d, err, name, "it has no tokens");
        if (ids->n > sg_model_get_info(d->model)->n_context)
            return wrong(d, err, name, "%lld tokens, the model's context is %lld", (long long)ids->n,
                         (long long)sg_model_get_info(d->model)->n_context);
        d->n_prompt_tokens += ids->n;
    }
    serve_reply_param(d->reply, "%s", "");
    return SG_OK;
}

static sg_status read_messages(door *d, sg_error *err)
{
    char where[64] = "messages";
    bool plain = true;

    if (!sg_model_tokenizer(d->model))
        return wrong(d, err, "messages", "%s has no tokenizer, so it reads no text; /v1/completions takes tokens",
                     d->ask.model);
    d->prompts = calloc(1, sizeof *d->prompts);
    if (!d->prompts)
        return sg_fail(err, SG_ENOMEM, "out of memory for messages");
    d->n_prompts = 1;
    const sg_status status = transcript_tokens(d->model, field(d, "messages"), &d->prompts[0], &plain, where, err);
    if (status != SG_OK)
        serve_reply_param(d->reply, "%s", where);
    SG_TRY(status);
    d->n_prompt_tokens = d->prompts[0].n;
    const sg_dim n_context = sg_model_get_info(d->model)->n_context;
    if (d->prompts[0].n > n_context)
        return wrong(d, err, "messages", "%lld tokens, the model's context is %lld", (long long)d->prompts[0].n,
                     (long long)n_context);
    for (int i = 0; i < TRANSCRIPT_STOPS && plain; i++)
        d->ask.write.stops[d->ask.write.n_stops++] = transcript_stops[i];
    d->ask.write.trim = plain;
    if (d->ask.write.most < 0)
        d->ask.write.most = CHAT_TOKENS;
    return SG_OK;
}

/* ---- log-probabilities ---- */

static json_t *logprob_json(double x)
{
    return isfinite(x) ? json_real(x) : json_real(-9999); /* as there, for what cannot occur */
}

static json_t *token_json(const door *d, int32_t id)
{
    char *text = prompt_token(d->model, id);
    json_t *j = text ? json_string(text) : NULL;

    free(text);
    return j;
}

/* {"tokens", "token_logprobs", "top_logprobs", "text_offset"} */
static json_t *completion_logprobs(const door *d, const generation *g, int from)
{
    json_t *tokens = json_array(), *logprobs = json_array(), *tops = json_array(), *offsets = json_array();

    for (int i = from; i < g->w.n_tokens; i++) {
        const sg_written *t = &g->w.tokens[i];
        json_array_append_new(tokens, token_json(d, t->id));
        json_array_append_new(logprobs, isnan(t->logprob) ? json_null() : logprob_json(t->logprob));
        json_array_append_new(offsets, json_integer((json_int_t)t->text));
        json_t *top = isnan(t->logprob) || d->ask.write.n_top == 0 ? json_null() : json_object();
        for (int k = 0; k <= t->n_top && json_is_object(top); k++) { /* and itself; where two read alike the likelier */
            const sg_guess guess = k < t->n_top ? t->top[k] : (sg_guess){t->id, t->logprob};
            char *text = prompt_token(d->model, guess.token);
            if (text && !json_object_get(top, text))
                json_object_set_new(top, text, logprob_json(guess.logprob));
            free(text);
        }
        json_array_append_new(tops, top);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", logprobs, "top_logprobs", tops,
                     "text_offset", offsets);
}

/* {"token", "logprob", "bytes"}: a byte of a character that has several, or what the token reads as. */
static json_t *one_logprob(const door *d, int32_t id, double logprob)
{
    const sg_tokenizer *t = sg_model_tokenizer(d->model);
    const char *own = t ? sg_tokenizer_token(t, id) : NULL;
    char *text = prompt_token(d->model, id);
    unsigned byte;
    json_t *bytes = json_null();

    if (own && strlen(own) == 6 && sscanf(own, "<0x%2x>", &byte) == 1) {
        bytes = json_pack("[i]", (int)byte);
    } else if (text && !strstr(text, "\xef\xbf\xbd") && !(t && sg_tokenizer_is_special(t, id))) {
        bytes = json_array();
        for (const char *p = text; *p; p++)
            json_array_append_new(bytes, json_integer((unsigned char)*p));
    }
    json_t *j =
        json_pack("{s:s, s:o, s:o}", "token", text ? text : "", "logprob", logprob_json(logprob), "bytes", bytes);
    free(text);
    return j;
}

static json_t *chat_logprobs(const door *d, const generation *g, int from)
{
    json_t *content = json_array();

    for (int i = from; i < g->w.n_tokens; i++) {
        const sg_written *t = &g->w.tokens[i];
        json_t *one = one_logprob(d, t->id, t->logprob), *tops = json_array();
        for (int k = 0; k < t->n_top; k++)
            json_array_append_new(tops, one_logprob(d, t->top[k].token, t->top[k].logprob));
        if (one)
            json_object_set_new(one, "top_logprobs", tops);
        json_array_append_new(content, one);
    }
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

static json_t *logprobs_json(const door *d, const generation *g, int from)
{
    if (d->ask.write.n_top < 0)
        return json_null();
    return d->chat ? chat_logprobs(d, g, from) : completion_logprobs(d, g, from);
}

/* ---- answering ---- */

static json_t *usage_json(const door *d)
{
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", d->n_prompt_tokens, "completion_tokens", d->n_written,
                     "total_tokens", d->n_prompt_tokens + d->n_written);
}

static json_t *origin_json(const door *d)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:f}", "where", "server", "backend", d->backend ? d->backend : "none",
                     "model", d->ask.model, "seed", (json_int_t)d->ask.write.seed, "seconds", sg_now() - d->began,
                     "first_token_seconds", d->first);
}

/* An answer or a piece of one around its choices, which are taken over. */
static json_t *envelope(const door *d, json_t *choices)
{
    const char *object = !d->chat ? "text_completion" : d->stream ? "chat.completion.chunk" : "chat.completion";

    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", d->id, "object", object, "created", d->created, "model",
                     d->ask.model, "system_fingerprint", d->fingerprint, "choices", choices);
}

static sg_status send(door *d, json_t *event, sg_error *err)
{
    char *text = event ? json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    sg_str line = {0};

    json_decref(event);
    if (text)
        sg_str_printf(&line, "data: %s\n\n", text);
    free(text);
    sg_status status = !text || line.failed ? sg_fail(err, SG_ENOMEM, "out of memory for the reply") : SG_OK;
    if (status == SG_OK && !d->opened) {
        d->opened = true; /* not before there is something to say, so that what is wrong gets its own code */
        serve_reply_header(d->reply, "Cache-Control", "no-store");
        status = serve_stream_begin(d->reply, "text/event-stream", err);
    }
    if (status == SG_OK)
        status = serve_stream_write(d->reply, line.text, line.bytes, err);
    sg_str_free(&line);
    return status;
}

static sg_status send_piece(door *d, json_t *choice, sg_error *err)
{
    json_t *event = envelope(d, json_pack("[o]", choice));

    if (event && d->stream_usage)
        json_object_set_new(event, "usage", json_null());
    return send(d, event, err);
}

/* The beginning of each choice of a chat names who speaks. */
static sg_status send_role(door *d, sg_error *err)
{
    return send_piece(d,
                      json_pack("{s:i, s:{s:s, s:s}, s:n, s:n}", "index", d->index, "delta", "role", "assistant",
                                "content", "", "logprobs", "finish_reason"),
                      err);
}

static sg_status tell(void *context, const generation *g, size_t text, int token, int step, bool last, sg_error *err)
{
    door *d = context;
    const char *piece = g->w.text ? g->w.text + text : "";
    const bool more = *piece || g->w.n_tokens > token || fetched_steps(g->fetched) > step;

    if (d->chat && text == 0 && token == 0 && step == 0)
        SG_TRY(send_role(d, err));
    if (more) {
        json_t *choice = d->chat ? json_pack("{s:i, s:{s:s}, s:o, s:n}", "index", d->index, "delta", "content", piece,
                                             "logprobs", logprobs_json(d, g, token), "finish_reason")
                                 : json_pack("{s:i, s:s, s:o, s:n}", "index", d->index, "text", piece, "logprobs",
                                             logprobs_json(d, g, token), "finish_reason");
        if (choice && fetched_steps(g->fetched) > step)
            json_object_set_new(choice, "fetched", fetched_json(g->fetched, step));
        SG_TRY(send_piece(d, choice, err));
    }
    if (!last)
        return SG_OK;
    return send_piece(
        d,
        d->chat
            ? json_pack("{s:i, s:{}, s:n, s:s}", "index", d->index, "delta", "logprobs", "finish_reason", g->w.reason)
            : json_pack("{s:i, s:s, s:n, s:s}", "index", d->index, "text", "", "logprobs", "finish_reason", g->w.reason),
        err);
}

static sg_status keep_choice(door *d, const generation *g, sg_error *err)
{
    const char *text = g->w.text ? g->w.text : "";
    json_t *choice =
        d->chat ? json_pack("{s:i, s:{s:s, s:s, s:n}, s:o, s:s}", "index", d->index, "message", "role", "assistant",
                            "content", text, "refusal", "logprobs", logprobs_json(d, g, 0), "finish_reason", g->w.reason)
                : json_pack("{s:i, s:s, s:o, s:s}", "index", d->index, "text", text, "logprobs", logprobs_json(d, g, 0),
                            "finish_reason", g->w.reason);

    if (choice && !d->chat &&
        !sg_model_tokenizer(d->model)) { /* words of a board are read back; numbers are for programs */
        json_t *ids = json_array();
        for (int i = 0; i < g->w.n_tokens; i++)
            json_array_append_new(ids, json_integer(g->w.tokens[i].id));
        json_object_set_new(choice, "tokens", ids);
    }
    if (choice && g->fetched)
        json_object_set_new(choice, "fetched", fetched_json(g->fetched, 0));
    return json_array_append_new(d->choices, choice) == 0 ? SG_OK
                                                          : sg_fail(err, SG_ENOMEM, "out of memory for the reply");
}

static sg_status write_choices(door *d, sg_error *err)
{
    for (int p = 0; p < d->n_prompts; p++)
        for (int k = 0; k < d->n; k++) {
            generation g = {0};
            const char *at = NULL;
            generation_ask ask = d->ask;
            ask.n = d->prompts[p].n;
            ask.tokens = d->prompts[p].ids;
            ask.write.stream = (uint32_t)k; /* so that a prompt's choices do not depend on the prompts beside it */
            ask.n_choices = d->n_prompts * d->n;
            if (d->stream) {
                ask.tell = tell;
                ask.context = d;
            }
            d->index = p * d->n + k;
            sg_status status = generation_run(&g, &ask, &at, err);
            if (status != SG_OK && at)
                serve_reply_param(d->reply, "%s", strcmp(at, "prompt") == 0 && d->chat ? "messages" : at);
            if (status == SG_OK && !d->stream)
                status = keep_choice(d, &g, err);
            d->n_written += g.w.n_written;
            serve_count(d->s, SERVE_COUNT_tokens, (double)g.w.n_written);
            if (d->index == 0)
                d->first = g.w.first;
            d->backend = g.backend;
            generation_free(&g);
            SG_TRY(status);
        }
    return SG_OK;
}

static sg_status finish(door *d, sg_error *err)
{
    if (!d->stream) {
        json_t *all = envelope(d, json_incref(d->choices));
        if (all) {
            json_object_set_new(all, "usage", usage_json(d));
            json_object_set_new(all, "origin", origin_json(d));
        }
        serve_reply_json(d->reply, all);
        return SG_OK;
    }
    if (d->stream_usage) {
        json_t *event = envelope(d, json_array());
        if (event) {
            json_object_set_new(event, "usage", usage_json(d));
            json_object_set_new(event, "origin", origin_json(d));
        }
        SG_TRY(send(d, event, err));
    }
    static const char done[] = "data: [DONE]\n\n";
    return serve_stream_write(d->reply, done, sizeof done - 1, err);
}

static void make_names(door *d)
{
    uint64_t random[2] = {0, 0};
    char hex[17];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        random[0] = (uint64_t)(d->began * 1e9);
    snprintf(d->id, sizeof d->id, "%s-%016" PRIx64 "%08" PRIx64, d->chat ? "chatcmpl" : "cmpl", random[0],
             random[1] >> 32);
    d->created = (json_int_t)time(NULL);
    /* What numbers depend on beside the request: the weights and the program. */
    snprintf(hex, sizeof hex, "%016" PRIx64, serve_models_hash(d->ask.models, d->ask.model));
    snprintf(d->fingerprint, sizeof d->fingerprint, "sg_%.8s_%.12s", hex, serve_opts(d->s)->commit);
}

static void release(door *d)
{
    for (int i = 0; i < d->n_prompts; i++)
        sg_tokens_free(&d->prompts[i]);
    free(d->prompts);
    free(d->biases);
    json_decref(d->choices);
}

static sg_status begin(door *d, sg_error *err)
{
    d->ask = generation_defaults();
    d->ask.models = serve_models_of(d->s);
    d->ask.model = json_string_value(json_object_get(d->body, "model"));
    d->ask.gone = d->r->gone;
    d->began = sg_now();
    d->choices = json_array();
    serve_reply_param(d->reply, "model");
    SG_TRY(serve_models_open(&d->model, d->ask.models, d->ask.model, err));
    serve_reply_param(d->reply, "%s", "");
    return SG_OK;
}

/* What an answer that is put together in memory may hold. */
static sg_status check_amount(door *d, sg_error *err)
{
    sg_dim logprobs = 0;

    if (d->n * d->n_prompts > MOST_CHOICES)
        return wrong(d, err, "n", "%d choices in all, at most %d are written", d->n * d->n_prompts, MOST_CHOICES);
    for (int i = 0; i < d->n_prompts; i++) {
        const sg_dim room = SG_MIN(d->prompts[i].n + d->ask.write.most, sg_model_get_info(d->model)->n_context);
        logprobs += d->n * (room - (d->ask.write.echo ? 0 : d->prompts[i].n)) * (d->ask.write.n_top + 1);
    }
    if (!d->stream && logprobs > MOST_LOGPROBS)
        return wrong(d, err, "logprobs", "up to %lld would come back, at most %d do; a stream has no such bound",
                     (long long)logprobs, MOST_LOGPROBS);
    return SG_OK;
}

static sg_status converse(door *d, sg_error *err)
{
    SG_TRY(begin(d, err));
    make_names(d);
    SG_TRY(read_options(d, err));
    SG_TRY(d->chat ? read_messages(d, err) : read_prompts(d, "prompt", err));
    SG_TRY(check_amount(d, err));
    sg_status status = write_choices(d, err);
    if (status == SG_OK)
        return finish(d, err);
    if (d->opened && status != SG_ECANCELLED && err) /* the code has gone out: the reason follows in the stream */
        (void)(send(d,
                    json_pack("{s:{s:s, s:s, s:n, s:n}}", "error", "message", err->text, "type", "server_error",
                              "param", "code"),
                    NULL) == SG_OK);
    return status;
}

static sg_status answer(serve *s, const serve_request *r, serve_reply *reply, bool chat, sg_error *err)
{
    door d = {.s = s, .r = r, .reply = reply, .body = r->body, .chat = chat};
    const sg_status status = converse(&d, err);

    release(&d);
    return status;
}

static sg_status answer_completion(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(s, r, reply, false, err);
}

static sg_status answer_chat(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(s, r, reply, true, err);
}

/* ---- embeddings ---- */

/* The mean of a site [1,T,D] over its positions, in double; of a site [1,D] itself. */
static json_t *mean_json(const sg_tensor *t, bool as_base64)
{
    const sg_dim n = t->n_dims == 3 ? t->dims[1] : 1, width = t->dims[t->n_dims - 1];
    float *mean = malloc((size_t)width * sizeof *mean);

    if (!mean)
        return NULL;
    for (sg_dim d = 0; d < width; d++) {
        double sum = 0;
        for (sg_dim i = 0; i < n; i++)
            sum += sg_tensor_get(t, i * width + d);
        mean[d] = (float)(sum / (double)n);
    }
    const sg_tensor row = sg_tensor_of(SG_F32, 1, &width, mean);
    json_t *j = as_base64 ? fetched_base64(mean, (size_t)width * sizeof *mean) : fetched_numbers(&row);
    free(mean);
    return j;
}

static sg_status embed(door *d, serve_glass *glass, sg_value *site, sg_error *err)
{
    const char *format = json_string_value(field(d, "encoding_format"));
    const bool as_base64 = format && strcmp(format, "base64") == 0;

    for (int i = 0; i < d->n_prompts; i++) {
        const int32_t *row = d->prompts[i].ids;
        const sg_dim n = d->prompts[i].n;
        const sg_rows rows = {.n_rows = 1, .tokens = &row, .lengths = &n};
        sg_tensor t;
        if (*d->r->gone)
            return sg_fail(err, SG_ECANCELLED, "the client has left");
        SG_TRY(sg_glass_run(glass->glass, &rows, 0, NULL, 1, &site, &t, err));
        json_array_append_new(d->choices, json_pack("{s:s, s:i, s:o}", "object", "embedding", "index", i, "embedding",
                                                    mean_json(&t, as_base64)));
    }
    if (json_array_size(d->choices) != (size_t)d->n_prompts)
        return sg_fail(err, SG_ENOMEM, "out of memory for the reply");
    return SG_OK;
}

static sg_status make_embeddings(door *d, sg_error *err)
{
    const char *name = json_string_value(field(d, "site"));
    serve_glass *glass = NULL;
    sg_value *site = NULL;

    SG_TRY(begin(d, err));
    const bool encodes = sg_model_get_info(d->model)->task != SG_TASK_NEXT;
    name = name ? name : encodes ? "last_hidden_state" : "ln_final.hook_normalized";
    SG_TRY(read_prompts(d, "input", err));
    serve_reply_param(d->reply, "edits");
    sg_status status = serve_glass_take(&glass, d->ask.models,
                                        (serve_glass_ask){.model = d->ask.model, .edits = field(d, "edits")}, err);
    if (status == SG_OK) {
        serve_reply_param(d->reply, "site");
        status = sg_glass_find(glass->glass, name, &site, err);
    }
    if (status == SG_OK && strcmp(sg_value_axes(site), "btd") != 0 && strcmp(sg_value_axes(site), "bd") != 0)
        status = sg_fail(err, SG_EARG, "%.120s has axes \"%s\", btd or bd were wanted", name, sg_value_axes(site));
    if (status == SG_OK) {
        serve_reply_param(d->reply, "%s", "");
        status = embed(d, glass, site, err);
    }
    serve_glass_give(glass, status == SG_OK || status == SG_ECANCELLED);
    if (status == SG_ENOTFOUND) /* a name that is not there, of a model that is */
        status = err ? (err->status = SG_EARG) : SG_EARG;
    SG_TRY(status);
    const sg_exec_opts exec = serve_models_exec(d->ask.models, d->model);
    serve_reply_json(d->reply, json_pack("{s:s, s:O, s:s, s:{s:I, s:I}, s:{s:s, s:s, s:s, s:s, s:f}}", "object", "list",
                                         "data", d->choices, "model", d->ask.model, "usage", "prompt_tokens",
                                         d->n_prompt_tokens, "total_tokens", d->n_prompt_tokens, "origin", "where",
                                         "server", "backend", sg_exec_name(&exec), "model", d->ask.model, "site", name,
                                         "seconds", sg_now() - d->began));
    return SG_OK;
}

static sg_status answer_embeddings(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    door d = {.s = s, .r = r, .reply = reply, .body = r->body};
    const sg_status status = make_embeddings(&d, err);

    release(&d);
    return status;
}

/* ---- models ---- */

/* Created: when the folder was last written to. */
static json_t *model_json(const serve_models *models, int i)
{
    struct stat about;
    const json_int_t created = stat(serve_models_path(models, i), &about) == 0 ? (json_int_t)about.st_mtime : 0;

    return json_pack("{s:s, s:s, s:I, s:s}", "id", serve_models_id(models, i), "object", "model", "created", created,
                     "owned_by", "sightglass");
}

static sg_status answer_models(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    json_t *list = json_array();

    (void)r;
    (void)err;
    for (int i = 0; i < serve_models_count(models); i++) {
        const sg_model *m = NULL;
        const sg_status status = serve_models_measure(&m, models, serve_models_id(models, i), NULL);
        if (status != SG_OK || sg_model_get_info(m)->n_vocab > 0) /* images alone are nothing for these programs */
            json_array_append_new(list, model_json(models, i));
    }
    serve_reply_json(reply, json_pack("{s:s, s:o}", "object", "list", "data", list));
    return SG_OK;
}

static sg_status answer_model(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    const sg_model *m = NULL;

    serve_reply_param(reply, "model");
    SG_TRY(serve_models_measure(&m, models, r->param[0], err));
    serve_reply_json(reply, model_json(models, serve_models_find(models, r->param[0])));
    return SG_OK;
}

const serve_route serve_routes_openai[] = {
    {"GET", "/v1/models", answer_models, "", "OpenAIModels", "", 0, "The models, as in OpenAI's interface.", 0},
    {"GET", "/v1/models/{model}", answer_model, "", "OpenAIModel", "", 0, "One model, as in OpenAI's interface.", 0},
    {"POST", "/v1/completions", answer_completion, "CompletionRequest", "Completion", "", SERVE_STREAM,
     "Writes on from prompts, as in OpenAI's interface, with edits and fetched values.", 0},
    {"POST", "/v1/chat/completions", answer_chat, "ChatRequest", "ChatCompletion", "", SERVE_STREAM,
     "Answers messages, as in OpenAI's interface, with edits and fetched values.", 0},
    {"POST", "/v1/embeddings", answer_embeddings, "EmbeddingRequest", "Embeddings", "", 0,
     "The mean of a value over the positions of each input, as in OpenAI's interface.", 0},
    {0},
};
