/* Inspect: the inside of a model's run over HTTP. What is computed is in look.h; here it becomes JSON and tensors. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/looks.h"
#include "serve/models.h"
#include "serve/prompt.h"
#include "serve/route.h"
#include "sightglass/patch.h"

/* ---- the part: looks and glasses ---- */

typedef struct inspect {
    looks *looks;
    look_glasses *glasses;
} inspect;

static void end(void *part)
{
    inspect *p = part;
    if (!p)
        return;
    looks_free(p->looks);
    look_glasses_free(p->glasses);
    free(p);
}

static sg_status make(void **out, serve *s, sg_error *err)
{
    inspect *p = calloc(1, sizeof *p);
    (void)s;
    sg_status status = p ? looks_new(&p->looks, 64, LOOK_MOST_BYTES, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = look_glasses_new(&p->glasses, 8, err);
    if (status != SG_OK) {
        end(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

const serve_part serve_part_inspect = {"inspect", make, end};

static inspect *part_of(serve *s)
{
    return serve_part_of(s, &serve_part_inspect);
}

/* ---- numbers, and where they are from ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *origin(const char *model, const sg_exec_opts *exec, double began)
{
    return json_pack("{s:s, s:s, s:s, s:f}", "where", "server", "backend", sg_exec_name(exec), "model", model,
                     "seconds", sg_now() - began);
}

static void add_number(json_t *list, double x)
{
    json_array_append_new(list, number(x));
}

/* The texts of tokens that a reply names, each once. */
static void add_text(json_t *texts, const sg_model *m, int32_t id)
{
    char key[16];
    snprintf(key, sizeof key, "%" PRId32, id);
    if (json_object_get(texts, key))
        return;
    char *text = prompt_token(m, id);
    json_object_set_new(texts, key, text ? json_string(text) : json_string("?"));
    free(text);
}

/* ---- what a request names ---- */

static sg_status read_prompt(const sg_model *m, const json_t *prompt, const char *what, sg_tokens *out, sg_error *err)
{
    const char *text = json_string_value(json_object_get(prompt, "text"));
    const json_t *tokens = json_object_get(prompt, "tokens");
    if (!text == !tokens)
        return sg_fail(err, SG_EARG, "%s: wanted either text or tokens", what);
    if (text)
        SG_TRY(prompt_read(m, text, out, err));
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_int_t id = json_integer_value(json_array_get(tokens, i));
        if (id < 0 || id > INT32_MAX)
            return sg_fail(err, SG_EARG, "%s: tokens[%zu] is %" JSON_INTEGER_FORMAT, what, i, id);
        SG_TRY(sg_tokens_push(out, (int32_t)id, err));
    }
    if (out->n == 0)
        return sg_fail(err, SG_EARG, "%s: it has no tokens", what);
    return SG_OK;
}

/* The model that a path names, and what it runs on. */
typedef struct opened {
    const sg_model *model;
    sg_exec_opts exec;
    uint64_t hash;
} opened;

static sg_status open_model(serve *s, const char *name, opened *out, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    SG_TRY(serve_models_open(&out->model, models, name, err));
    out->exec = serve_models_exec(models, out->model);
    out->hash = serve_models_hash(models, name);
    return SG_OK;
}

/* ---- POST run ---- */

static json_t *row_of(const look_prediction *p, int row)
{
    const sg_dim n = p->n, at = row * n;
    json_t *ids = json_array(), *probabilities = json_array(), *logits = json_array(), *loss = json_array(),
           *rank = json_array(), *entropy = json_array(), *tracked_p = json_array(), *tracked_logit = json_array();
    for (sg_dim i = at * p->k; i < (at + n) * p->k; i++) {
        json_array_append_new(ids, json_integer(p->top[i].token));
        add_number(probabilities, p->top[i].p);
        add_number(logits, p->top[i].logit);
    }
    for (sg_dim i = at * p->n_tracked; i < (at + n) * p->n_tracked; i++) {
        add_number(tracked_p, p->tracked[i].p);
        add_number(tracked_logit, p->tracked[i].logit);
    }
    for (sg_dim t = at; t < at + n; t++) {
        add_number(loss, p->loss[t]);
        add_number(rank, p->rank[t]);
        add_number(entropy, p->entropy[t]);
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "ids", ids, "p", probabilities, "logits", logits,
                     "loss", loss, "rank", rank, "entropy", entropy, "tracked_p", tracked_p, "tracked_logits",
                     tracked_logit);
}

static json_t *tokens_json(const sg_model *m, const sg_tokens *ids)
{
    json_t *tokens = json_array();
    for (sg_dim i = 0; i < ids->n; i++) {
        char *text = prompt_token(m, ids->ids[i]);
        json_array_append_new(tokens, json_pack("{s:i, s:s}", "id", (int)ids->ids[i], "text", text ? text : "?"));
        free(text);
    }
    return tokens;
}

static json_t *prediction_json(const sg_model *m, const look_prediction *p)
{
    json_t *rows = json_array(), *texts = json_object(), *divergence = p->divergence ? json_array() : json_null();
    for (int r = 0; r < p->n_rows; r++)
        json_array_append_new(rows, row_of(p, r));
    for (sg_dim i = 0; i < p->n_rows * p->n * p->k; i++)
        add_text(texts, m, p->top[i].token);
    for (int i = 0; i < p->n_tracked; i++)
        add_text(texts, m, p->tracked[i].token);
    for (sg_dim t = 0; p->divergence && t < p->n; t++)
        add_number(divergence, p->divergence[t]);
    return json_pack("{s:I, s:I, s:i, s:o, s:o, s:o}", "first", (json_int_t)p->first, "n", (json_int_t)p->n, "k", p->k,
                     "rows", rows, "divergence", divergence, "texts", texts);
}

static sg_status run_on(serve *s, const serve_request *r, const opened *at, const sg_tokens *ids, json_t **out,
                        sg_error *err)
{
    const double began = sg_now();
    const sg_model *m = at->model;
    const json_t *edits = json_object_get(r->body, "edits"), *track = json_object_get(r->body, "track");
    const json_t *first = json_object_get(r->body, "first"), *n = json_object_get(r->body, "n"),
                 *top = json_object_get(r->body, "top");
    int32_t tracked[LOOK_MOST_EDITS];
    look *plain = NULL, *edited = NULL;
    look_prediction *p = NULL;

    if (json_array_size(track) > LOOK_MOST_EDITS)
        return sg_fail(err, SG_EARG, "track: %zu tokens, at most %d", json_array_size(track), LOOK_MOST_EDITS);
    for (size_t i = 0; i < json_array_size(track); i++) {
        const json_int_t id = json_integer_value(json_array_get(track, i));
        tracked[i] = id < 0 || id > INT32_MAX ? -1 : (int32_t)id;
    }
    if (!first != !n)
        return sg_fail(err, SG_EARG, "first and n come together");
    const look_question q = {.first = json_integer_value(first),
                             .n = json_integer_value(n),
                             .k = top ? (int)SG_MIN(json_integer_value(top), 1000) : 5,
                             .n_tracked = (int)json_array_size(track),
                             .tracked = tracked};
    if (n && q.n == 0)
        return sg_fail(err, SG_EARG, "n is 0");
    const bool any = json_array_size(edits) > 0;
    look_of of = {m, at->exec, ids->n, ids->ids, at->hash, any ? edits : NULL};
    SG_TRY(look_predict(part_of(s)->glasses, of, q, &p, err));
    sg_status status = SG_OK;
    if (any)
        status = looks_open(part_of(s)->looks, of, r->param[0], &edited, err);
    of.edits = NULL;
    if (status == SG_OK)
        status = looks_open(part_of(s)->looks, of, r->param[0], &plain, err);
    if (status == SG_OK) {
        json_t *reply = prediction_json(m, p);
        json_object_set_new(reply, "run", json_string(look_id(plain)));
        json_object_set_new(reply, "edited", edited ? json_string(look_id(edited)) : json_null());
        json_object_set_new(reply, "tokens", tokens_json(m, ids));
        json_object_set_new(reply, "origin", origin(r->param[0], &of.exec, began));
        *out = reply;
    }
    looks_let_go(part_of(s)->looks, plain);
    looks_let_go(part_of(s)->looks, edited);
    look_prediction_free(p);
    return status;
}

static sg_status answer_run(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    opened m;
    sg_tokens ids = {0};
    json_t *out = NULL;
    SG_TRY(open_model(s, r->param[0], &m, err));
    sg_status status = read_prompt(m.model, json_object_get(r->body, "prompt"), "prompt", &ids, err);
    if (status == SG_OK)
        status = run_on(s, r, &m, &ids, &out, err);
    sg_tokens_free(&ids);
    if (status == SG_OK)
        serve_reply_json(reply, out);
    return status;
}

/* ---- values ---- */

/* "3,:,0:64": an index, a range or all, per axis behind the row. */
static sg_status read_part(const char *text, look_part *out, sg_error *err)
{
    *out = (look_part){0};
    for (const char *at = text; at;) {
        char *rest;
        if (out->n_axes == SG_MAX_DIMS)
            return sg_fail(err, SG_EARG, "part: too many axes");
        const bool all = *at == ':' && (at[1] == ',' || !at[1]);
        long long first = all ? -1 : strtoll(at, &rest, 10), stop = first + 1;
        bool good = all || (rest != at && first >= 0);
        if (all)
            rest = strchr(at, ':') + 1;
        if (good && !all && *rest == ':') {
            const char *from = rest + 1;
            stop = strtoll(from, &rest, 10);
            good = rest != from;
        }
        if (!good || (*rest && *rest != ','))
            return sg_fail(err, SG_EARG, "part \"%.60s\": wanted an index, a range or : per axis, as in 3,:,0:64",
                           text);
        out->axis[out->n_axes].first = first;
        out->axis[out->n_axes++].stop = stop;
        at = *rest ? rest + 1 : NULL;
    }
    return SG_OK;
}

/* A number of the query as a whole one, -1 where it is far outside of everything. */
static sg_dim query_whole(const serve_request *r, const char *name, sg_dim without)
{
    const double x = serve_query_number(r, name, (double)without);
    return x >= 0 && x < 1e9 ? (sg_dim)x : -1;
}

static sg_status find_look(serve *s, const serve_request *r, look **out, sg_error *err)
{
    return looks_find(part_of(s)->looks, r->param[1], r->param[0], out, err);
}

static sg_status read_value(serve *s, const serve_request *r, sg_tensor *t, char axes[SG_MAX_DIMS + 1],
                            sg_exec_opts *exec, sg_error *err)
{
    look *l = NULL;
    look_part part = {0};
    if (serve_query(r, "part"))
        SG_TRY(read_part(serve_query(r, "part"), &part, err));
    if (!serve_query(r, "site"))
        return sg_fail(err, SG_EARG, "which site? (?site=blocks.0.hook_resid_post)");
    SG_TRY(find_look(s, r, &l, err));
    *exec = look_get_of(l)->exec;
    const sg_status status = look_value(l, serve_query(r, "site"), &part, t, axes, err);
    looks_let_go(part_of(s)->looks, l);
    return status;
}

enum { MOST_NUMBERS = 4096 };

static sg_status answer_value(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const double began = sg_now();
    sg_tensor t;
    char axes[SG_MAX_DIMS + 1];
    sg_exec_opts exec;
    SG_TRY(read_value(s, r, &t, axes, &exec, err));
    const look_stats st = look_stats_of(&t);
    json_t *shape = json_array(), *bins = json_array(), *numbers = json_null();
    for (int k = 0; k < t.n_dims; k++)
        json_array_append_new(shape, json_integer(t.dims[k]));
    for (int i = 0; i < LOOK_BINS; i++)
        json_array_append_new(bins, json_integer(st.bins[i]));
    if (st.count <= MOST_NUMBERS) {
        numbers = json_array();
        for (sg_dim i = 0; i < st.count; i++)
            add_number(numbers, sg_tensor_get(&t, i));
    }
    free(t.data);
    json_t *stats =
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "count", (json_int_t)st.count, "finite",
                  (json_int_t)st.finite, "least", number(st.least), "greatest", number(st.greatest), "mean",
                  number(st.mean), "deviation", number(st.deviation), "norm", number(st.norm), "bins", bins);
    serve_reply_json(reply, json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "origin", origin(r->param[0], &exec, began),
                                      "site", serve_query(r, "site"), "axes", axes, "shape", shape, "stats", stats,
                                      "numbers", numbers));
    return SG_OK;
}

/* The hash in a path stands for the numbers, so that a browser may keep what it got. */
static void may_be_kept(serve_reply *reply)
{
    serve_reply_header(reply, "Cache-Control", "private, max-age=3600");
}

static sg_status answer_tensor(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    sg_tensor t;
    char axes[SG_MAX_DIMS + 1];
    sg_exec_opts exec;
    SG_TRY(read_value(s, r, &t, axes, &exec, err));
    const char *name = serve_query(r, "site");
    may_be_kept(reply);
    const sg_status status = serve_reply_tensors(reply, r, 1, &name, &t, err);
    free(t.data);
    return status;
}

/* ---- strips and heads ---- */

static sg_status answer_strip(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    look *l = NULL, *other = NULL;
    float *numbers = NULL;
    SG_TRY(find_look(s, r, &l, err));
    sg_status status = SG_OK;
    if (serve_query(r, "against"))
        status = looks_find(part_of(s)->looks, serve_query(r, "against"), r->param[0], &other, err);
    const sg_dim layers = sg_model_get_info(look_get_of(l)->model)->n_layers, n = look_get_of(l)->n;
    const bool only = json_object_get(r->query, "layer") != NULL;
    const int first = only ? (int)query_whole(r, "layer", 0) : 0;
    const sg_dim count = only ? 1 : layers, all = count * n;
    if (status == SG_OK) {
        numbers = calloc((size_t)(2 * LOOK_N_WRITES * all + 2 * LOOK_N_WRITES * n), sizeof *numbers);
        status = numbers ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a strip");
    }
    float *norm = numbers ? numbers + 2 * LOOK_N_WRITES * all : NULL, *changed = norm ? norm + LOOK_N_WRITES * n : NULL;
    for (int i = 0; i < count && status == SG_OK; i++) {
        status = atomic_load(r->gone) ? sg_fail(err, SG_ECANCELLED, "nobody waits for it")
                                      : look_writes(l, other, first + i, norm, changed, err);
        for (int w = 0; w < LOOK_N_WRITES && status == SG_OK; w++) {
            memcpy(numbers + w * all + i * n, norm + w * n, (size_t)n * sizeof *norm);
            memcpy(numbers + (LOOK_N_WRITES + w) * all + i * n, changed + w * n, (size_t)n * sizeof *norm);
        }
    }
    if (status == SG_OK) {
        static const char *const names[2 * LOOK_N_WRITES] = {"resid",         "attn",         "mlp",
                                                             "resid_changed", "attn_changed", "mlp_changed"};
        sg_tensor t[2 * LOOK_N_WRITES];
        for (int w = 0; w < 2 * LOOK_N_WRITES; w++)
            t[w] = sg_tensor_of(SG_F32, 2, (sg_dim[]){count, n}, numbers + w * all);
        may_be_kept(reply);
        status = serve_reply_tensors(reply, r, other ? 2 * LOOK_N_WRITES : LOOK_N_WRITES, names, t, err);
    }
    free(numbers);
    looks_let_go(part_of(s)->looks, l);
    looks_let_go(part_of(s)->looks, other);
    return status;
}

static sg_status answer_heads(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    look *l = NULL;
    const look_scan *scan = NULL;
    SG_TRY(find_look(s, r, &l, err));
    const sg_dim n = look_get_of(l)->n;
    sg_status status = look_heads(l, (int)query_whole(r, "layer", 0), &scan, err);
    if (status == SG_OK) {
        const char *names[LOOK_N_MEASURES + 1];
        sg_tensor t[LOOK_N_MEASURES + 1];
        for (int i = 0; i < LOOK_N_MEASURES; i++) {
            names[i] = look_measures[i];
            t[i] = sg_tensor_of(SG_F32, 2, (sg_dim[]){scan->n_heads, n}, scan->measure + i * scan->n_heads * n);
        }
        names[LOOK_N_MEASURES] = "thumb";
        t[LOOK_N_MEASURES] = sg_tensor_of(SG_F16, 3, (sg_dim[]){scan->n_heads, scan->side, scan->side}, scan->thumb);
        may_be_kept(reply);
        status = serve_reply_tensors(reply, r, LOOK_N_MEASURES + 1, names, t, err);
    }
    looks_let_go(part_of(s)->looks, l);
    return status;
}

/* A path's parameter as a whole number; -1: it is none. */
static int whole(const char *text)
{
    char *end;
    const long x = strtol(text, &end, 10);
    return *end || end == text || x < 0 || x > INT32_MAX ? -1 : (int)x;
}

static sg_status answer_tile(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const char *how = serve_query(r, "how") ? serve_query(r, "how") : "most", *name = "tile";
    look *l = NULL;
    uint16_t *tile = NULL;
    sg_dim rows = 0, columns = 0;
    if (strcmp(how, "most") != 0 && strcmp(how, "mean") != 0)
        return sg_fail(err, SG_EARG, "how \"%.20s\": wanted most or mean", how);
    SG_TRY(find_look(s, r, &l, err));
    sg_status status =
        look_tile(l, whole(r->param[2]), whole(r->param[3]), (int)query_whole(r, "level", 0), query_whole(r, "row", 0),
                  query_whole(r, "column", 0), strcmp(how, "mean") == 0, &tile, &rows, &columns, err);
    looks_let_go(part_of(s)->looks, l);
    if (status == SG_OK) {
        const sg_tensor t = sg_tensor_of(SG_F16, 2, (sg_dim[]){rows, columns}, tile);
        may_be_kept(reply);
        status = serve_reply_tensors(reply, r, 1, &name, &t, err);
    }
    free(tile);
    return status;
}

/* ---- the logit lens ---- */

static json_t *guesses(const look_guess *g, sg_dim n, const char *what)
{
    json_t *list = json_array();
    for (sg_dim i = 0; i < n; i++)
        json_array_append_new(list, *what == 'i'   ? json_integer(g[i].token)
                                    : *what == 'p' ? number(g[i].p)
                                                   : number(g[i].logit));
    return list;
}

static sg_status answer_lens(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const double began = sg_now();
    const char *token = serve_query(r, "token") ? serve_query(r, "token") : "next";
    look *l = NULL;
    look_lens *lens = NULL;
    const int32_t wanted = strcmp(token, "next") == 0    ? LOOK_NEXT
                           : strcmp(token, "final") == 0 ? LOOK_FINAL
                                                         : whole(token);
    if (wanted == LOOK_NEXT && strcmp(token, "next") != 0)
        return sg_fail(err, SG_EARG, "token \"%.40s\": wanted next, final, or a token's number", token);
    SG_TRY(find_look(s, r, &l, err));
    const look_of *of = look_get_of(l);
    const sg_dim first = query_whole(r, "first", 0), n = query_whole(r, "n", of->n - first);
    const sg_status status = look_at_lens(l, first, n, (int)query_whole(r, "top", 3), wanted, &lens, err);
    if (status == SG_OK) {
        json_t *rows = json_array(), *texts = json_object(), *tokens = json_array();
        for (int row = 0; row < lens->n_rows; row++) {
            const sg_dim at = row * lens->n;
            json_t *rank = json_array(), *entropy = json_array();
            for (sg_dim t = 0; t < lens->n; t++) {
                add_number(rank, lens->rank[at + t]);
                add_number(entropy, lens->entropy[at + t]);
            }
            for (sg_dim i = at * lens->k; i < (at + lens->n) * lens->k; i++)
                add_text(texts, of->model, lens->top[i].token);
            json_array_append_new(rows, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "ids",
                                                  guesses(lens->top + at * lens->k, lens->n * lens->k, "i"), "p",
                                                  guesses(lens->top + at * lens->k, lens->n * lens->k, "p"), "wanted_p",
                                                  guesses(lens->target + at, lens->n, "p"), "wanted_logits",
                                                  guesses(lens->target + at, lens->n, "l"), "rank", rank, "entropy",
                                                  entropy));
        }
        for (sg_dim t = 0; t < lens->n; t++) {
            json_array_append_new(tokens, json_integer(lens->wanted[t]));
            add_text(texts, of->model, lens->wanted[t]);
        }
        serve_reply_json(reply,
                         json_pack("{s:o, s:I, s:I, s:i, s:o, s:o, s:o}", "origin",
                                   origin(r->param[0], &of->exec, began), "first", (json_int_t)first, "n",
                                   (json_int_t)lens->n, "k", lens->k, "wanted", tokens, "rows", rows, "texts", texts));
    }
    look_lens_free(lens);
    looks_let_go(part_of(s)->looks, l);
    return status;
}

/* ---- patching between two prompts ---- */

static sg_status patch_on(const serve_request *r, const opened *at, const sg_tokens *base, const sg_tokens *source,
                          json_t **out, sg_error *err)
{
    static const char *const sites[] = {"hook_resid_pre", "hook_attn_out", "hook_mlp_out", "attn.hook_z"};
    const double began = sg_now();
    const sg_model *m = at->model;
    const json_t *b = r->body, *metric = json_object_get(b, "metric");
    const char *where = json_string_value(json_object_get(b, "site")),
               *kind = json_string_value(json_object_get(metric, "kind"));
    const json_int_t layer = json_integer_value(json_object_get(b, "layer"));
    char site[64] = "";
    const char *name = site;

    for (size_t i = 0; i < SG_COUNT_OF(sites); i++)
        if (strcmp(where, sites[i]) == 0)
            snprintf(site, sizeof site, "blocks.%d.%s", (int)SG_MAX(SG_MIN(layer, 100000), -1), sites[i]);
    if (layer < 0 || layer >= sg_model_get_info(m)->n_layers)
        return sg_fail(err, SG_EARG, "layer %" JSON_INTEGER_FORMAT " of %" PRId64, layer,
                       sg_model_get_info(m)->n_layers);
    if (base->n != source->n)
        return sg_fail(err, SG_EARG,
                       "base and source have %" PRId64 " and %" PRId64 " tokens; values are put from one into the "
                       "other position by position, so they are to have as many",
                       base->n, source->n);
    sg_patch_job job = sg_patch_defaults();
    job.model = m;
    job.exec = at->exec;
    job.n_sites = 1;
    job.sites = &name;
    job.base = base->ids;
    job.source = source->ids;
    job.n_tokens = base->n;
    job.by_head = strcmp(where, "attn.hook_z") == 0;
    /* Rows of a batch have all tokens each: as many places at once as make some thousands of tokens. */
    job.batch = SG_MAX(1, SG_MIN(64, 8192 / base->n));
    job.metric.kind = strcmp(kind, "p") == 0            ? SG_METRIC_PROB
                      : strcmp(kind, "logprob") == 0    ? SG_METRIC_LOGPROB
                      : strcmp(kind, "difference") == 0 ? SG_METRIC_LOGIT_DIFF
                                                        : SG_METRIC_LOGIT;
    const json_t *token = json_object_get(metric, "token"), *other = json_object_get(metric, "other"),
                 *position = json_object_get(metric, "position");
    const json_int_t ids[2] = {json_integer_value(token), json_integer_value(other)};
    job.metric.token = ids[0] < 0 || ids[0] > INT32_MAX ? -1 : (int32_t)ids[0];
    job.metric.other = ids[1] < 0 || ids[1] > INT32_MAX ? -1 : (int32_t)ids[1];
    job.metric.position = position ? json_integer_value(position) : -1;
    if (job.metric.kind == SG_METRIC_LOGIT_DIFF && !other)
        return sg_fail(err, SG_EARG, "metric: a difference wants the other token");
    sg_patch_table *t = NULL;
    SG_TRY(sg_patch_run(&t, &job, err));
    json_t *effect = json_array(), *values = json_array();
    for (int i = 0; i < t->n_positions * t->n_heads; i++) {
        add_number(effect, t->effect[i]);
        add_number(values, t->metric[i]);
    }
    *out = json_pack("{s:o, s:s, s:I, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "origin",
                     origin(r->param[0], &job.exec, began), "site", where, "layer", layer, "positions", t->n_positions,
                     "heads", t->n_heads, "base", number(t->base), "source", number(t->source), "effect", effect,
                     "metric", values, "base_tokens", tokens_json(m, base), "source_tokens", tokens_json(m, source));
    sg_patch_table_free(t);
    return SG_OK;
}

static sg_status answer_patch(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    opened m;
    sg_tokens base = {0}, source = {0};
    json_t *out = NULL;
    SG_TRY(open_model(s, r->param[0], &m, err));
    sg_status status = read_prompt(m.model, json_object_get(r->body, "base"), "base", &base, err);
    if (status == SG_OK)
        status = read_prompt(m.model, json_object_get(r->body, "source"), "source", &source, err);
    if (status == SG_OK)
        status = patch_on(r, &m, &base, &source, &out, err);
    sg_tokens_free(&base);
    sg_tokens_free(&source);
    if (status == SG_OK)
        serve_reply_json(reply, out);
    return status;
}

const serve_route serve_routes_model[] = {
    {"POST", "/api/v1/models/{model}/run", answer_run, "InspectRequest", "InspectRun", "", 0,
     "Runs a prompt, edited beside unedited in one batch: the likeliest tokens, loss, rank and entropy at each "
     "position, and names "
     "under which more is read of either run.",
     0},
    {"GET", "/api/v1/models/{model}/runs/{run}/value", answer_value, "", "InspectValue", "site: string, part?: string",
     0, "Statistics of a value of a run, or of a part of it (3,:,0:64), and its numbers where they are few.", 0},
    {"GET", "/api/v1/models/{model}/runs/{run}/tensor", answer_tensor, "", "", "site: string, part?: string",
     SERVE_FILE, "The numbers of a value or of its part.", 0},
    {"GET", "/api/v1/models/{model}/runs/{run}/strip", answer_strip, "", "", "layer?: integer, against?: string",
     SERVE_FILE,
     "What each layer writes at each position: norms of hook_resid_post, hook_attn_out and hook_mlp_out as "
     "[layers,positions], and "
     "how much they differ from those of another run, over its norm.",
     0},
    {"GET", "/api/v1/models/{model}/runs/{run}/heads", answer_heads, "", "", "layer?: integer", SERVE_FILE,
     "The heads of a layer: entropy, greatest weight, weight on itself, on the token before and on the first, "
     "distance, and the "
     "norm of what it writes, as [heads,positions]; and thumbnails of their patterns.",
     0},
    {"GET", "/api/v1/models/{model}/runs/{run}/attention/{layer}/{head}", answer_tile, "", "",
     "level?: integer, row?: integer, column?: integer, how?: 'most' | 'mean'", SERVE_FILE,
     "A tile of at most 256 by 256 weights of a head's pattern; level k is pooled from 2^k by 2^k weights.", 0},
    {"GET", "/api/v1/models/{model}/runs/{run}/lens", answer_lens, "", "InspectLens",
     "first?: integer, n?: integer, top?: integer, token?: string", 0,
     "The logit lens: what the last norm and the unembedding make of the residual stream before block 0 and after each "
     "block.",
     0},
    {"POST", "/api/v1/models/{model}/patch", answer_patch, "PatchRequest", "PatchLayer", "", 0,
     "Puts what one prompt has at a layer into the run of another, position by position (and head by head), and tells "
     "which part "
     "of the difference of a metric comes with it: 0 none, 1 all.",
     0},
    {0}};
