/* Routes about models: which there are, what they are made of, text to tokens and back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/names.h"
#include "serve/models.h"
#include "serve/prompt.h"
#include "serve/route.h"
#include "sightglass/certificate.h"

/* ---- the part ---- */

static sg_status make(void **out, serve *s, sg_error *err)
{
    const sg_server_opts *server = serve_opts(s);
    serve_models_opts opts = serve_models_defaults();
    serve_models *models = NULL;

    opts.exec.n_threads = SG_MAX(SG_MIN(opts.exec.n_threads, server->n_threads), 1);
    SG_TRY(serve_models_new(&models, opts, err));
    for (int i = 0; i < server->n_models; i++) {
        const sg_status status = serve_models_add(models, server->models[i], err);
        if (status != SG_OK) {
            serve_models_free(models);
            return status;
        }
    }
    for (int i = 0; i < server->n_adapters; i++) {
        const sg_status status = serve_models_adapt(models, &server->adapters[i], err);
        if (status != SG_OK) {
            serve_models_free(models);
            return status;
        }
    }
    *out = models;
    return SG_OK;
}

static void end(void *part)
{
    serve_models_free(part);
}

const serve_part serve_part_models = {"models", make, end};

serve_models *serve_models_of(const serve *s)
{
    return serve_part_of(s, &serve_part_models);
}

/* ---- what there is ---- */

static const char *last_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

/* What it was opened with, where there is any. */
static void set_adapters(json_t *info, const sg_model *m)
{
    static const char *const uses[] = {[SG_SAE_LOOK] = "look", [SG_SAE_KEEP] = "keep", [SG_SAE_REPLACE] = "replace"};
    json_t *loras = json_array(), *saes = json_array();

    for (int i = 0; i < sg_model_n_loras(m); i++) {
        const sg_lora *l = sg_model_lora(m, i);
        json_array_append_new(loras, json_pack("{s:s, s:i, s:I, s:f}", "name", last_of(sg_lora_path(l)), "modules",
                                               sg_lora_count(l), "rank", (json_int_t)sg_lora_rank(l), "strength",
                                               sg_model_lora_strength(m, i)));
    }
    for (int i = 0; i < sg_model_n_saes(m); i++) {
        const sg_sae *a = sg_model_sae(m, i);
        json_array_append_new(saes, json_pack("{s:s, s:s, s:s, s:I, s:b, s:s}", "name", last_of(a->path), "hook", a->hook,
                                              "kind", sg_sae_kind_name(a->kind), "features", (json_int_t)a->d_sae, "labelled",
                                              a->labels != NULL, "use", uses[sg_model_sae_use(m, i)]));
    }
    json_object_set_new(info, "loras", loras);
    json_object_set_new(info, "autoencoders", saes);
}

static int set_sizes(json_t *info, const sg_model *m, uint64_t hash)
{
    const sg_model_info *in = sg_model_get_info(m);
    json_t *warnings = json_array(), *eos = json_array();
    char hex[17];

    for (int i = 0; sg_model_warning(m, i); i++)
        json_array_append_new(warnings, json_string(sg_model_warning(m, i)));
    for (int i = 0; i < in->n_eos; i++)
        json_array_append_new(eos, json_integer(in->eos[i]));
    if (hash) {
        snprintf(hex, sizeof hex, "%016" PRIx64, hash);
        json_object_set_new(info, "hash", json_string(hex));
    }
    json_t *more =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:o, s:o, s:o}",
                  "family", in->family, "architecture", in->architecture, "prompt", prompt_kind(m), "layers",
                  (json_int_t)in->n_layers, "width", (json_int_t)in->d_model, "heads", (json_int_t)in->n_heads,
                  "kv_heads", (json_int_t)in->n_kv_heads, "head_width", (json_int_t)in->d_head, "hidden_width",
                  (json_int_t)in->d_mlp, "vocabulary", (json_int_t)in->n_vocab, "context", (json_int_t)in->n_context,
                  "parameters", (json_int_t)in->n_parameters, "bytes", (json_int_t)in->weight_bytes, "dtype",
                  sg_dtype_name(in->stored), "tied", (int)in->tied, "tokenizer", sg_model_tokenizer(m) != NULL, "bos",
                  in->bos >= 0 ? json_integer(in->bos) : json_null(), "eos", eos, "warnings", warnings);
    if (sg_model_n_loras(m) || sg_model_n_saes(m))
        set_adapters(info, m);
    const int failed = more ? json_object_update(info, more) : -1;
    json_decref(more);
    return failed;
}

/* What `sightglass verify` left beside the model, or why that cannot be read. */
static void set_certificate(json_t *info, const char *path)
{
    sg_certificate *c = NULL;
    sg_error why;

    if (sg_certificate_find(&c, path, &why) != SG_OK) {
        json_object_set_new(info, "certificate_error", json_string(why.text));
    } else if (c) {
        char *text = sg_certificate_text(c);
        json_object_set_new(info, "certificate", text ? json_loads(text, 0, NULL) : NULL);
        free(text);
    }
    sg_certificate_free(c);
}

/* What is told of model i, whose sizes m has. */
static json_t *info_of(serve_models *models, int i, const sg_model *m)
{
    const char *id = serve_models_id(models, i);
    json_t *info = json_pack("{s:s, s:b, s:s}", "id", id, "open", (int)serve_models_is_open(models, i), "from",
                             serve_models_path(models, i));

    if (info && m && set_sizes(info, m, serve_models_hash(models, id)) != 0) {
        json_decref(info);
        return NULL;
    }
    if (info && m)
        set_certificate(info, serve_models_path(models, i));
    return info;
}

static sg_status answer_list(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    json_t *list = json_array();

    (void)r;
    (void)err;
    for (int i = 0; i < serve_models_count(models); i++) {
        const sg_model *m = NULL;
        sg_error why;
        /* What cannot be opened is listed all the same, with the reason. */
        const sg_status status = serve_models_measure(&m, models, serve_models_id(models, i), &why);
        json_t *info = info_of(models, i, m);
        if (info && status != SG_OK)
            json_object_set_new(info, "error", json_string(why.text));
        json_array_append_new(list, info);
    }
    serve_reply_json(reply, json_pack("{s:o}", "models", list));
    return SG_OK;
}

static sg_status answer_one(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    serve_models *models = serve_models_of(s);
    const sg_model *m = NULL;

    SG_TRY(serve_models_open(&m, models, r->param[0], err));
    serve_reply_json(reply, info_of(models, serve_models_find(models, r->param[0]), m));
    return SG_OK;
}

static sg_status answer_names(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const sg_model *m = NULL;
    sg_graph *g = NULL;

    SG_TRY(serve_models_open(&m, serve_models_of(s), r->param[0], err));
    SG_TRY(sg_model_graph(&g, m, 0, 1, err));
    json_t *names = sg_names_json(g);
    sg_graph_free(g);
    serve_reply_json(reply, json_pack("{s:s, s:o}", "model", r->param[0], "names", names));
    return SG_OK;
}

/* ---- text and tokens ---- */

static sg_status answer_tokenize(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const char *text = json_string_value(json_object_get(r->body, "text"));
    const json_t *special = json_object_get(r->body, "special");
    sg_encode_opts opts = sg_encode_defaults();
    const sg_model *m = NULL;
    sg_tokens ids = {0};

    SG_TRY(serve_models_open(&m, serve_models_of(s), r->param[0], err));
    if (special)
        opts.add_special = json_is_true(special);
    const sg_tokenizer *t = sg_model_tokenizer(m);
    const sg_status status = t ? sg_tokenizer_encode(t, text, opts, &ids, err) : prompt_read(m, text, &ids, err);
    json_t *tokens = json_array(), *texts = json_array();
    for (int64_t i = 0; i < ids.n && status == SG_OK; i++) {
        char *one = prompt_token(m, ids.ids[i]);
        json_array_append_new(tokens, json_integer(ids.ids[i]));
        json_array_append_new(texts, one ? json_string(one) : NULL);
        free(one);
    }
    sg_tokens_free(&ids);
    if (status == SG_OK) {
        serve_reply_json(reply, json_pack("{s:s, s:o, s:o}", "model", r->param[0], "tokens", tokens, "texts", texts));
        return SG_OK;
    }
    json_decref(tokens);
    json_decref(texts);
    return status;
}

static sg_status answer_detokenize(serve *s, const serve_request *r, serve_reply *reply, sg_error *err)
{
    const json_t *tokens = json_object_get(r->body, "tokens");
    const size_t n = json_array_size(tokens);
    const sg_model *m = NULL;
    char *text = NULL;

    SG_TRY(serve_models_open(&m, serve_models_of(s), r->param[0], err));
    int32_t *ids = malloc(SG_MAX(n, 1) * sizeof *ids);
    if (!ids)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tokens", n);
    sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i++) {
        const json_int_t id = json_integer_value(json_array_get(tokens, i));
        if (id < 0 || id >= sg_model_get_info(m)->n_vocab) {
            serve_reply_param(reply, "tokens[%zu]", i);
            status = sg_fail(err, SG_EARG, "tokens[%zu]: %lld is outside the vocabulary 0 to %lld", i, (long long)id,
                             (long long)sg_model_get_info(m)->n_vocab - 1);
        } else {
            ids[i] = (int32_t)id;
        }
    }
    if (status == SG_OK && sg_model_tokenizer(m)) {
        status = sg_tokenizer_decode(sg_model_tokenizer(m), ids, (int64_t)n, true, &text, err);
    } else if (status == SG_OK) {
        sg_str all = {0};
        sg_str_puts(&all, "");
        for (size_t i = 0; i < n; i++) {
            char *one = prompt_token(m, ids[i]);
            sg_str_printf(&all, "%s%s", i ? " " : "", one ? one : "");
            all.failed |= !one;
            free(one);
        }
        if (all.failed)
            sg_str_free(&all);
        text = all.text;
        if (!text)
            status = sg_fail(err, SG_ENOMEM, "out of memory for a text");
    }
    free(ids);
    if (status == SG_OK)
        serve_reply_json(reply, json_pack("{s:s, s:s}", "model", r->param[0], "text", text));
    free(text);
    return status;
}

const serve_route serve_routes_models[] = {
    {"GET", "/api/v1/models", answer_list, "", "ModelInfos", "", 0,
     "The models and their sizes; none is opened by that.", 0},
    {"GET", "/api/v1/models/{model}", answer_one, "", "ModelInfo", "", 0,
     "One model, which is opened, with its sizes and hash.", 0},
    {"GET", "/api/v1/models/{model}/names", answer_names, "", "ModelNames", "", 0,
     "Every named value of a model with its shape and type, as `sightglass inspect` lists them.", 0},
    {"POST", "/api/v1/models/{model}/tokenize", answer_tokenize, "TokenizeRequest", "TokenizeReply", "", 0,
     "A text as tokens.", 0},
    {"POST", "/api/v1/models/{model}/detokenize", answer_detokenize, "DetokenizeRequest", "DetokenizeReply", "", 0,
     "Tokens as a text.", 0},
    {0},
};
