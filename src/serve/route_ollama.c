/* A second door, for programs that speak Ollama's interface: the models, generate and chat. What it has in common with
 * the first one is in generation.h and transcript.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "serve/generation.h"
#include "serve/prompt.h"
#include "serve/route.h"
#include "serve/transcript.h"

enum { USUAL_TOKENS = 128 }; /* as there */

typedef struct hatch {
    serve *s;
    const serve_request *r;
    serve_reply *reply;
    bool chat, stream, opened;
    const sg_model *model;
    char id[130];
    sg_tokens prompt;
    generation_ask ask;
    double began, loaded;
} hatch;

/* ---- reading ---- */

static const json_t *field(const hatch *h, const char *name)
{
    const json_t *v = json_object_get(h->r->body, name);
    return json_is_null(v) ? NULL : v;
}

static sg_status number(const hatch *h, const char *name, double least, double most, double *out, sg_error *err)
{
    const json_t *v = json_object_get(field(h, "options"), name);

    if (!v)
        return SG_OK;
    *out = json_number_value(v);
    if (*out >= least && *out <= most)
        return SG_OK;
    serve_reply_param(h->reply, "options.%s", name);
    return sg_fail(err, SG_EARG, "options.%s: %g is not from %g to %g", name, *out, least, most);
}

static sg_status refuse_unsupported(const hatch *h, sg_error *err)
{
    static const char *const names[] = {"suffix", "images", "format", "context", "template", "tools", "think"};

    for (size_t i = 0; i < SG_COUNT_OF(names); i++) {
        const json_t *v = field(h, names[i]);
        const char *text = json_string_value(v);
        if (!v || json_is_false(v) || (json_is_array(v) && !json_array_size(v)) || (text && !*text))
            continue;
        serve_reply_param(h->reply, "%s", names[i]);
        return sg_fail(err, SG_EARG, "%s: not supported by this server", names[i]);
    }
    return SG_OK;
}

static sg_status read_options(hatch *h, sg_error *err)
{
    generation_ask *a = &h->ask;
    const json_t *options = field(h, "options"), *stop = json_object_get(options, "stop"),
                 *seed = json_object_get(options, "seed");
    double top_k = 40, most = USUAL_TOKENS;
    uint32_t word = 0;

    a->write.sample.temperature = 0.8;
    a->write.sample.top_p = 0.9;
    SG_TRY(number(h, "temperature", 0, 100, &a->write.sample.temperature, err));
    SG_TRY(number(h, "top_p", 0, 1, &a->write.sample.top_p, err));
    SG_TRY(number(h, "top_k", 0, INT32_MAX, &top_k, err));
    SG_TRY(number(h, "min_p", 0, 1, &a->write.sample.min_p, err));
    SG_TRY(number(h, "repeat_penalty", 0.01, 100, &a->write.repetition, err));
    SG_TRY(number(h, "num_predict", -2, INT32_MAX, &most, err));
    SG_TRY(number(h, "presence_penalty", -100, 100, &a->write.presence, err));
    SG_TRY(number(h, "frequency_penalty", -100, 100, &a->write.frequency, err));
    a->write.sample.top_k = (int)top_k;
    a->write.most = most < 0 ? sg_model_get_info(h->model)->n_context : (sg_dim)most; /* -1: without end, -2: the context */
    if (!seed && getrandom(&word, sizeof word, 0) != (ssize_t)sizeof word)
        word = (uint32_t)time(NULL);
    a->write.seed = seed ? (uint64_t)json_integer_value(seed) : word;
    const size_t n = json_is_array(stop) ? json_array_size(stop) : stop ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_is_array(stop) ? json_array_get(stop, i) : stop);
        if (n > 4 || !text || !*text || strlen(text) > 1000) {
            serve_reply_param(h->reply, "options.stop");
            return sg_fail(err, SG_EARG, "options.stop: up to 4 texts of 1 to 1000 bytes were wanted");
        }
        a->write.stops[a->write.n_stops++] = text;
    }
    return SG_OK;
}

static sg_status read_prompt(hatch *h, sg_error *err)
{
    const char *prompt = json_string_value(field(h, "prompt")), *system = json_string_value(field(h, "system"));
    char where[64] = "prompt";
    sg_str text = {0};
    sg_status status = SG_OK;

    sg_str_puts(&text, "");
    if (h->chat && !sg_model_tokenizer(h->model)) {
        status = sg_fail(err, SG_EARG, "messages: %s has no tokenizer, so it reads no text", h->id);
    } else if (h->chat) {
        bool plain = true;
        status = transcript_tokens(h->model, field(h, "messages"), &h->prompt, &plain, where, err);
        for (int i = 0; i < TRANSCRIPT_STOPS && plain; i++)
            h->ask.write.stops[h->ask.write.n_stops++] = transcript_stops[i];
        h->ask.write.trim = plain;
    } else {
        sg_str_printf(&text, "%s%s%s", system ? system : "", system && *system ? "\n" : "", prompt ? prompt : "");
    }
    if (status == SG_OK && text.failed)
        status = sg_fail(err, SG_ENOMEM, "out of memory for a prompt");
    if (status == SG_OK && !h->chat)
        status = prompt_read(h->model, text.text, &h->prompt, err);
    if (status != SG_OK)
        serve_reply_param(h->reply, "%s", where);
    sg_str_free(&text);
    h->ask.tokens = h->prompt.ids;
    h->ask.n = h->prompt.n;
    return status;
}

/* ---- answering ---- */

static void say_time(char text[32], time_t when)
{
    struct tm utc;

    gmtime_r(&when, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static json_t *piece(const hatch *h, const char *text, bool done)
{
    char now[32];

    say_time(now, time(NULL));
    return h->chat ? json_pack("{s:s, s:s, s:{s:s, s:s}, s:b}", "model", h->id, "created_at", now, "message", "role",
                               "assistant", "content", text, "done", (int)done)
                   : json_pack("{s:s, s:s, s:s, s:b}", "model", h->id, "created_at", now, "response", text, "done",
                               (int)done);
}

static sg_status send(hatch *h, json_t *line, sg_error *err)
{
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    sg_str all = {0};

    json_decref(line);
    if (text)
        sg_str_printf(&all, "%s\n", text);
    free(text);
    sg_status status = !text || all.failed ? sg_fail(err, SG_ENOMEM, "out of memory for the reply") : SG_OK;
    if (status == SG_OK && !h->opened) {
        h->opened = true;
        status = serve_stream_begin(h->reply, "application/x-ndjson", err);
    }
    if (status == SG_OK)
        status = serve_stream_write(h->reply, all.text, all.bytes, err);
    sg_str_free(&all);
    return status;
}

static sg_status tell(void *context, const generation *g, size_t text, int token, int step, bool last, sg_error *err)
{
    hatch *h = context;

    (void)token;
    (void)step;
    (void)last;
    return g->w.bytes > text ? send(h, piece(h, g->w.text + text, false), err) : SG_OK;
}

static json_int_t nanoseconds(double seconds)
{
    return (json_int_t)(seconds * 1e9);
}

static sg_status finish(hatch *h, const generation *g, sg_error *err)
{
    const double now = sg_now();
    json_t *end = piece(h, h->stream || !g->w.text ? "" : g->w.text, true);
    json_t *more =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "done_reason", g->w.reason, "total_duration",
                  nanoseconds(now - h->began), "load_duration", nanoseconds(h->loaded - h->began), "prompt_eval_count",
                  (json_int_t)h->prompt.n, "prompt_eval_duration", nanoseconds(g->w.first), "eval_count",
                  (json_int_t)g->w.n_written, "eval_duration", nanoseconds(now - h->loaded - g->w.first));

    if (!end || !more || json_object_update(end, more) != 0) {
        json_decref(end);
        end = NULL;
    }
    json_decref(more);
    if (h->stream)
        return send(h, end, err);
    serve_reply_json(h->reply, end);
    return SG_OK;
}

static sg_status write_on(hatch *h, sg_error *err)
{
    generation g = {0};
    const char *at = NULL;
    const json_t *stream = field(h, "stream");
    /* Programs name a model with its tag. */
    const char *name = json_string_value(json_object_get(h->r->body, "model")), *tag = strstr(name, ":latest");

    snprintf(h->id, sizeof h->id, "%.*s", (int)SG_MIN(tag && !tag[7] ? (size_t)(tag - name) : strlen(name), 129), name);
    h->began = sg_now();
    h->stream = !stream || json_is_true(stream); /* as there */
    h->ask = generation_defaults();
    h->ask.models = serve_models_of(h->s);
    h->ask.model = h->id;
    h->ask.gone = h->r->gone;
    h->ask.edits = field(h, "edits");
    serve_reply_param(h->reply, "model");
    SG_TRY(serve_models_open(&h->model, h->ask.models, h->id, err));
    serve_reply_param(h->reply, "%s", "");
    h->loaded = sg_now();
    SG_TRY(refuse_unsupported(h, err));
    SG_TRY(read_options(h, err));
    SG_TRY(read_prompt(h, err));
    if (h->stream) {
        h->ask.tell = tell;
        h->ask.context = h;
    }
    sg_status status = generation_run(&g, &h->ask, &at, err);
    if (status != SG_OK && at)
        serve_reply_param(h->reply, "%s", at);
    serve_count(h->s, SERVE_COUNT_tokens, (double)g.w.n_written);
    if (status == SG_OK)
        status = finish(h, &g, err);
    else if (h->opened && status != SG_ECANCELLED && err)
        (void)(send(h, json_pack("{s:s}", "error", err->text), NULL) == SG_OK);
    generation_free(&g);
    return status;
}

static sg_status answer(serve *s, const serve_request *r, serve_reply *reply, bool chat, sg_error *err)
{
    hatch h = {.s = s, .r = r, .reply = reply, .chat = chat};
    const sg_status status = write_on(&h, err);

    sg_tokens_free(&h.prompt);
    return status;
}

static sg_status answer_generate(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(s, r, reply, false, err);
}

static sg_status answer_chat(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    return answer(s, r, reply, true, err);
}

static sg_status answer_tags(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    json_t *list = json_array();

    (void)r;
    (void)err;
    for (int i = 0; i < serve_models_count(models); i++) {
        const char *id = serve_models_id(models, i);
        const sg_model *m = NULL;
        char name[140], digest[17], size[32], modified[32];
        struct stat about;
        if (serve_models_measure(&m, models, id, NULL) != SG_OK || sg_model_get_info(m)->n_vocab == 0)
            continue; /* GET /api/v1/models says why; images alone are nothing for these programs */
        const sg_model_info *in = sg_model_get_info(m);
        snprintf(name, sizeof name, "%s:latest", id);
        /* Known once the model is open. */
        const uint64_t hash = serve_models_hash(models, id);
        digest[0] = '\0';
        if (hash)
            snprintf(digest, sizeof digest, "%016" PRIx64, hash);
        say_time(modified, stat(serve_models_path(models, i), &about) == 0 ? about.st_mtime : 0);
        snprintf(size, sizeof size, "%.1fM", (double)in->n_parameters / 1e6);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:s, s:{s:s, s:s, s:[s], s:s, s:s}}", "name", name,
                                              "model", name, "modified_at", modified, "size",
                                              (json_int_t)in->weight_bytes, "digest", digest, "details", "format",
                                              "safetensors", "family", in->family, "families", in->family,
                                              "parameter_size", size, "quantization_level", sg_dtype_name(in->stored)));
    }
    serve_reply_json(reply, json_pack("{s:o}", "models", list));
    return SG_OK;
}

static sg_status answer_version(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    (void)s;
    (void)r;
    (void)err;
    serve_reply_json(reply, json_pack("{s:s}", "version", SG_VERSION));
    return SG_OK;
}

const serve_route serve_routes_ollama[] = {
    {"GET", "/api/tags", answer_tags, "", "OllamaTags", "", 0, "The models, as in Ollama's interface.", 0},
    {"GET", "/api/version", answer_version, "", "OllamaVersion", "", 0, "The version, as in Ollama's interface.", 0},
    {"POST", "/api/generate", answer_generate, "OllamaGenerate", "OllamaReply", "", SERVE_STREAM,
     "Writes on from a text, as in Ollama's interface.", 0},
    {"POST", "/api/chat", answer_chat, "OllamaChat", "OllamaReply", "", SERVE_STREAM,
     "Answers messages, as in Ollama's interface.", 0},
    {0},
};
