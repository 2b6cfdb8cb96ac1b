/* LoRA in PEFT's layout: the configuration says ranks and scales, by pattern too, the tensors' names say which module
 * of the base each belongs to. What would change the numbers and is not done here is refused by name. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <math.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/lora.h"
#include "sightglass/safetensors.h"

#define PREFIX      "base_model.model."
#define MATCH_STEPS 100000
#define MAX_RANK    ((sg_dim)1 << 20)

struct sg_lora {
    sg_arena *arena;
    const char *path, *base;
    sg_safetensors *file;
    sg_lora_part *parts;
    int n_parts;
    sg_lora_bias *biases;
    int n_biases;
    sg_dim rank;
    size_t bytes;
};

/* One reading of the two files. */
typedef struct reader {
    sg_lora *l;
    json_t *config;
    sg_map *modules; /* module -> part */
    sg_error *err;
} reader;

static sg_status no_memory(const reader *r)
{
    return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->l->path);
}

/* ---- patterns ---- */

/* Whether the whole text fits a regular expression, as Python's re understands it as far as PCRE does. */
static sg_status fits(const reader *r, const char *key, const char *before, const char *pattern, const char *after,
                      const char *text, bool *out)
{
    int code;
    size_t at;
    PCRE2_UCHAR why[128];
    sg_str all = {0};

    sg_str_printf(&all, "%s%s%s", before, pattern, after);
    pcre2_code *compiled = all.failed ? NULL
                                      : pcre2_compile((PCRE2_SPTR)all.text, all.bytes,
                                                      PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code, &at, NULL);
    const bool memory = !all.failed;
    sg_str_free(&all);
    if (!memory)
        return no_memory(r);
    if (!compiled) {
        pcre2_get_error_message(code, why, sizeof why);
        return sg_fail(r->err, SG_EFORMAT, "%s: %s: \"%.80s\" is no pattern: %s", r->l->path, key, pattern,
                       (char *)why);
    }
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    int rc = PCRE2_ERROR_NOMEMORY;
    if (data && limits) {
        pcre2_set_match_limit(limits, MATCH_STEPS);
        rc = pcre2_match(compiled, (PCRE2_SPTR)text, strlen(text), 0, 0, data, limits);
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(compiled);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return sg_fail(r->err, SG_EFORMAT, "%s: %s: \"%.80s\" takes too long on %.120s", r->l->path, key, pattern,
                       text);
    *out = rc >= 0;
    return SG_OK;
}

/* The number of the first pattern of an object that fits the module, or of its last dotted parts. */
static sg_status by_pattern(const reader *r, const char *key, const char *module, double *out)
{
    const char *pattern;
    json_t *value, *patterns = json_object_get(r->config, key);
    sg_status status = SG_OK;

    if (patterns && !json_is_null(patterns) && !json_is_object(patterns))
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is not an object", r->l->path, key);
    json_object_foreach(patterns, pattern, value)
    {
        bool fit = false;
        if (status != SG_OK)
            break;
        status = fits(r, key, "(?:.*\\.)?(?:", pattern, ")", module, &fit);
        if (status != SG_OK || !fit)
            continue;
        if (!json_is_number(value))
            return sg_fail(r->err, SG_EFORMAT, "%s: %s: \"%.80s\" has no number", r->l->path, key, pattern);
        *out = json_number_value(value);
        return SG_OK;
    }
    return status;
}

/* Whether PEFT would have put an adapter there. */
static sg_status is_target(const reader *r, const char *module, bool *out)
{
    const json_t *targets = json_object_get(r->config, "target_modules");
    const size_t n = strlen(module);

    *out = true;
    if (!targets || json_is_null(targets))
        return SG_OK;
    if (json_is_string(targets)) {
        const char *text = json_string_value(targets);
        return strcmp(text, "all-linear") == 0 ? SG_OK : fits(r, "target_modules", "(?:", text, ")", module, out);
    }
    if (!json_is_array(targets))
        return sg_fail(r->err, SG_EFORMAT, "%s: target_modules is neither a text nor a list", r->l->path);
    *out = false;
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *t = json_string_value(json_array_get(targets, i));
        const size_t k = t ? strlen(t) : 0;
        *out |= t && (strcmp(t, module) == 0 || (k < n && strcmp(module + n - k, t) == 0 && module[n - k - 1] == '.'));
    }
    return SG_OK;
}

/* ---- the configuration ---- */

static bool says(const json_t *v)
{
    return v && !json_is_null(v) && !json_is_false(v) && !(json_is_array(v) && json_array_size(v) == 0) &&
           !(json_is_object(v) && json_object_size(v) == 0);
}

static sg_status check_config(reader *r)
{
    static const struct {
        const char *key, *what;
    } refused[] = {{"use_dora", "weights split into magnitude and direction (DoRA)"},
                   {"modules_to_save", "whole modules beside the low-rank ones"},
                   {"use_qalora", "grouped inputs (QALoRA)"},
                   {"layer_replication", "layers used several times"},
                   {"trainable_token_indices", "single rows of the embedding"},
                   {"target_parameters", "adapters of parameters that are no modules"},
                   {"alora_invocation_tokens", "an adapter that begins at certain tokens (aLoRA)"},
                   {"arrow_config", "routing between adapters (Arrow)"}};
    const char *path = r->l->path, *type = json_string_value(json_object_get(r->config, "peft_type"));
    const char *bias = json_string_value(json_object_get(r->config, "bias"));
    const char *start = json_string_value(json_object_get(r->config, "init_lora_weights"));
    const char *base = json_string_value(json_object_get(r->config, "base_model_name_or_path"));

    if (!type || strcmp(type, "LORA") != 0)
        return sg_fail(r->err, type ? SG_EUNSUPPORTED : SG_EFORMAT, "%s: peft_type is %.40s, LORA was wanted", path,
                       type ? type : "not there");
    for (size_t i = 0; i < SG_COUNT_OF(refused); i++)
        if (says(json_object_get(r->config, refused[i].key)))
            return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %s: %s is not something this version can do", path,
                           refused[i].key, refused[i].what);
    /* These take something out of the base's weights before training, so A and B belong to another base. */
    if (start && (strncmp(start, "pissa", 5) == 0 || strcmp(start, "olora") == 0 || strcmp(start, "corda") == 0))
        return sg_fail(
            r->err, SG_EUNSUPPORTED,
            "%s: init_lora_weights %.20s changes the base too; save it with path_initial_model_for_weight_conversion",
            path, start);
    if (bias && strcmp(bias, "none") != 0 && strcmp(bias, "all") != 0 && strcmp(bias, "lora_only") != 0)
        return sg_fail(r->err, SG_EFORMAT, "%s: bias is \"%.40s\", wanted none, all or lora_only", path, bias);
    if (base && !(r->l->base = sg_arena_strdup(r->l->arena, base)))
        return no_memory(r);
    return SG_OK;
}

/* r and alpha of a module. */
static sg_status sizes_of(const reader *r, const char *module, sg_dim *rank, double *scale)
{
    const json_t *n = json_object_get(r->config, "r"), *alpha = json_object_get(r->config, "lora_alpha");
    double k = json_is_number(n) ? json_number_value(n) : 8, a = json_is_number(alpha) ? json_number_value(alpha) : 8;

    SG_TRY(by_pattern(r, "rank_pattern", module, &k));
    SG_TRY(by_pattern(r, "alpha_pattern", module, &a));
    if (!(k >= 1 && k <= (double)MAX_RANK) || k != floor(k))
        return sg_fail(r->err, SG_EFORMAT, "%s: the rank of %.160s is %g", r->l->path, module, k);
    if (!isfinite(a))
        return sg_fail(r->err, SG_EFORMAT, "%s: lora_alpha of %.160s is %g", r->l->path, module, a);
    *rank = (sg_dim)k;
    *scale = a / (json_is_true(json_object_get(r->config, "use_rslora")) ? sqrt(k) : k);
    return SG_OK;
}

/* ---- the tensors ---- */

static sg_lora_part *part_of(reader *r, const char *module, size_t n)
{
    const int32_t at = sg_map_get(r->modules, module, n);

    if (at >= 0)
        return &r->l->parts[at];
    char *name = sg_arena_strndup(r->l->arena, module, n);
    sg_lora_part *p = &r->l->parts[r->l->n_parts];
    if (!name || sg_map_put(r->modules, name, n, r->l->n_parts) != SG_OK)
        return NULL;
    p->module = name;
    r->l->n_parts++;
    return p;
}

/* Which tensor of a part a name's end says: "weight", or with the adapter's name between ("default.weight"), or, for
 * embeddings, nothing. */
static const char *last_part(const char *rest)
{
    const char *dot = strrchr(rest, '.');

    return dot ? dot + 1 : rest;
}

static sg_status take_tensor(reader *r, const char *name, const sg_tensor *t)
{
    static const struct {
        const char *mark;
        bool embedding, b;
    } marks[] = {{".lora_A", false, false},
                 {".lora_B", false, true},
                 {".lora_embedding_A", true, false},
                 {".lora_embedding_B", true, true}};
    const char *bare = strncmp(name, PREFIX, strlen(PREFIX)) == 0 ? name + strlen(PREFIX) : name;
    const size_t n = strlen(bare);

    if (!sg_dtype_is_float(t->dtype))
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s is %s, floats were wanted", r->l->path, name,
                       sg_dtype_name(t->dtype));
    for (size_t i = 0; i < SG_COUNT_OF(marks); i++) {
        const char *at = strstr(bare, marks[i].mark), *rest = at ? at + strlen(marks[i].mark) : NULL;
        if (!at || at == bare || (*rest && *rest != '.'))
            continue;
        sg_lora_part *p = part_of(r, bare, (size_t)(at - bare));
        if (!p)
            return no_memory(r);
        const bool is_bias = *rest && strcmp(last_part(rest), "bias") == 0;
        if (is_bias && (!marks[i].b || marks[i].embedding))
            break;
        sg_tensor *slot = is_bias ? &p->b_bias : marks[i].b ? &p->b : &p->a;
        if (slot->data || (p->a.data && p->embedding != marks[i].embedding) ||
            (p->b.data && p->embedding != marks[i].embedding))
            return sg_fail(r->err, SG_EFORMAT, "%s: %.200s has this part twice", r->l->path, name);
        p->embedding = marks[i].embedding;
        *slot = *t;
        return SG_OK;
    }
    const char *base = strstr(bare, ".base_layer.bias");
    const bool wrapped = base && base[strlen(".base_layer.bias")] == '\0';
    if (wrapped || (n > 5 && strcmp(bare + n - 5, ".bias") == 0 && !strstr(bare, "lora_"))) {
        sg_lora_bias *b = &r->l->biases[r->l->n_biases];
        b->name = wrapped ? sg_arena_printf(r->l->arena, "%.*s.bias", (int)(base - bare), bare)
                          : sg_arena_strdup(r->l->arena, bare);
        b->tensor = *t;
        if (!b->name)
            return no_memory(r);
        if (t->n_dims != 1)
            return sg_fail(r->err, SG_EFORMAT, "%s: %.200s has %d axes, a bias has one", r->l->path, name, t->n_dims);
        r->l->n_biases++;
        return SG_OK;
    }
    return sg_fail(r->err, SG_EUNSUPPORTED, "%s: %.200s is neither lora_A, lora_B nor a bias: it has no place here",
                   r->l->path, name);
}

static sg_status check_part(reader *r, sg_lora_part *p)
{
    char found[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    const char *path = r->l->path, *e = p->embedding ? "embedding_" : "";
    bool target;
    sg_dim rank = 0;

    if (!p->a.data || !p->b.data)
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s has lora_%s%c without lora_%s%c", path, p->module, e,
                       p->a.data ? 'A' : 'B', e, p->a.data ? 'B' : 'A');
    SG_TRY(is_target(r, p->module, &target));
    if (!target)
        return sg_fail(r->err, SG_EFORMAT, "%s: target_modules does not take in %.200s, which has tensors", path,
                       p->module);
    SG_TRY(sizes_of(r, p->module, &rank, &p->scale));
    if (p->a.n_dims != 2 || p->a.dims[0] != rank || p->a.dims[1] < 1)
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s.lora_%sA is %s, the configuration says [%lld,in]", path,
                       p->module, e, sg_shape_text(found, p->a.n_dims, p->a.dims), (long long)rank);
    if (p->b.n_dims != 2 || p->b.dims[1] != rank || p->b.dims[0] < 1)
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s.lora_%sB is %s, the configuration says [out,%lld]", path,
                       p->module, e, sg_shape_text(found, p->b.n_dims, p->b.dims), (long long)rank);
    if (p->b_bias.data && (p->b_bias.n_dims != 1 || p->b_bias.dims[0] != p->b.dims[0]))
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s.lora_B.bias is %s, its lora_B is %s", path, p->module,
                       sg_shape_text(found, p->b_bias.n_dims, p->b_bias.dims), sg_shape_text(other, 2, p->b.dims));
    r->l->rank = SG_MAX(r->l->rank, rank);
    return SG_OK;
}

static sg_status read_all(reader *r)
{
    sg_lora *l = r->l;
    const int n = sg_safetensors_count(l->file);

    SG_TRY(check_config(r));
    l->parts = sg_arena_array(l->arena, (size_t)n + 1, sizeof *l->parts);
    l->biases = sg_arena_array(l->arena, (size_t)n + 1, sizeof *l->biases);
    if (!l->parts || !l->biases)
        return no_memory(r);
    for (int i = 0; i < n; i++) {
        const sg_tensor *t = sg_safetensors_at(l->file, i);
        SG_TRY(take_tensor(r, sg_safetensors_name(l->file, i), t));
        l->bytes += sg_tensor_bytes(t);
    }
    for (int i = 0; i < l->n_parts; i++)
        SG_TRY(check_part(r, &l->parts[i]));
    if (!l->n_parts)
        return sg_fail(r->err, SG_EFORMAT, "%s: the weights have no lora_A and lora_B that can be read", l->path);
    const char *bias = json_string_value(json_object_get(r->config, "bias"));
    if (l->n_biases && (!bias || strcmp(bias, "none") == 0))
        return sg_fail(r->err, SG_EFORMAT, "%s: %.200s is there, but bias is none", l->path, l->biases[0].name);
    return SG_OK;
}

/* ---- opening ---- */

static sg_status start(sg_lora **out, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_lora *l = arena ? sg_arena_alloc(arena, sizeof *l) : NULL;

    if (!l || !(l->path = sg_arena_strdup(arena, name))) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    l->arena = arena;
    *out = l;
    return SG_OK;
}

static sg_status read_config(sg_lora *l, const char *config, size_t n_config, sg_error *err)
{
    json_error_t at;
    reader r = {.l = l, .err = err, .config = json_loadb(config, n_config, JSON_REJECT_DUPLICATES, &at)};
    sg_status status;

    if (!r.config)
        return sg_fail(err, SG_EFORMAT, "%s: adapter_config.json: line %d: %s", l->path, at.line, at.text);
    r.modules = sg_map_new((size_t)sg_safetensors_count(l->file) + 1);
    if (!json_is_object(r.config))
        status = sg_fail(err, SG_EFORMAT, "%s: adapter_config.json is not an object", l->path);
    else
        status = r.modules ? read_all(&r) : no_memory(&r);
    sg_map_free(r.modules);
    json_decref(r.config);
    return status;
}

sg_status sg_lora_parse(sg_lora **out, const char *config, size_t n_config, const void *weights, size_t n_weights,
                        const char *name, sg_error *err)
{
    sg_lora *l = NULL;

    *out = NULL;
    SG_TRY(start(&l, name, err));
    sg_status status = sg_safetensors_parse(&l->file, weights, n_weights, name, err);
    if (status == SG_OK)
        status = read_config(l, config, n_config, err);
    if (status != SG_OK) {
        sg_lora_close(l);
        return status;
    }
    *out = l;
    return SG_OK;
}

static sg_status open_in(sg_lora *l, const char *dir, sg_error *err)
{
    const char *config = sg_arena_printf(l->arena, "%s/adapter_config.json", dir);
    const char *weights = sg_arena_printf(l->arena, "%s/adapter_model.safetensors", dir);
    const char *pickle = sg_arena_printf(l->arena, "%s/adapter_model.bin", dir);
    sg_file *file;

    if (!config || !weights || !pickle)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    SG_TRY(sg_file_open(&file, config, err));
    sg_status status = sg_safetensors_open(&l->file, weights, err);
    FILE *f = status == SG_ENOTFOUND ? fopen(pickle, "rb") : NULL;
    if (f) {
        fclose(f);
        status = sg_fail(err, SG_EUNSUPPORTED,
                         "%s: only adapter_model.bin is there, a pickle; save it as adapter_model.safetensors", dir);
    }
    if (status == SG_OK)
        status = read_config(l, sg_file_data(file) ? (const char *)sg_file_data(file) : "", sg_file_bytes(file), err);
    sg_file_close(file);
    return status;
}

sg_status sg_lora_open(sg_lora **out, const char *dir, sg_error *err)
{
    sg_lora *l = NULL;

    *out = NULL;
    SG_TRY(start(&l, dir, err));
    const sg_status status = open_in(l, dir, err);
    if (status != SG_OK) {
        sg_lora_close(l);
        return status;
    }
    *out = l;
    return SG_OK;
}

void sg_lora_close(sg_lora *l)
{
    if (!l)
        return;
    sg_safetensors_close(l->file);
    sg_arena_free(l->arena);
}

const char *sg_lora_path(const sg_lora *l)
{
    return l->path;
}

const char *sg_lora_base(const sg_lora *l)
{
    return l->base;
}

sg_dim sg_lora_rank(const sg_lora *l)
{
    return l->rank;
}

size_t sg_lora_bytes(const sg_lora *l)
{
    return l->bytes;
}

int sg_lora_count(const sg_lora *l)
{
    return l->n_parts;
}

const sg_lora_part *sg_lora_at(const sg_lora *l, int i)
{
    return i >= 0 && i < l->n_parts ? &l->parts[i] : NULL;
}

int sg_lora_n_biases(const sg_lora *l)
{
    return l->n_biases;
}

const sg_lora_bias *sg_lora_bias_at(const sg_lora *l, int i)
{
    return i >= 0 && i < l->n_biases ? &l->biases[i] : NULL;
}
