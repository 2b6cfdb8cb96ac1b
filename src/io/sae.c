/* Sparse autoencoders in SAELens' layout, read and written. Files of all its versions are read: keys that moved (into
 * metadata) or changed their names are looked for under each. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"
#include "io/sae_labels.h"
#include "sightglass/sae.h"
#include "sightglass/safetensors.h"

#define MAX_WIDTH ((sg_dim)1 << 26)

typedef struct opened {
    sg_sae s; /* first: what is handed out */
    sg_arena *arena;
    sg_safetensors *file;
} opened;

typedef struct reader {
    opened *o;
    const json_t *config, *metadata;
    bool scaled_features, scaled_by_decoder;
    const char *path;
    sg_error *err;
} reader;

static const char *const kind_names[SG_N_SAE_KINDS] = {"standard", "topk", "gated", "jumprelu"};
static const char *const norm_names[SG_N_SAE_NORMS] = {"none", "constant_norm_rescale", "layer_norm"};

const char *sg_sae_kind_name(sg_sae_kind kind)
{
    return kind >= 0 && kind < SG_N_SAE_KINDS ? kind_names[kind] : "?";
}

static sg_status no_memory(const reader *r)
{
    return sg_fail(r->err, SG_ENOMEM, "%s: out of memory", r->path);
}

/* A key under its present name, at the top or in metadata, or under an older one (NULL: it has none). */
static const json_t *key(const reader *r, const char *name, const char *older)
{
    const json_t *v = json_object_get(r->config, name);

    v = v ? v : json_object_get(r->metadata, name);
    v = v || !older ? v : json_object_get(r->config, older);
    return v && !json_is_null(v) ? v : NULL;
}

static sg_status whole(const reader *r, const json_t *v, const char *name, sg_dim *out)
{
    const double x = json_is_number(v) ? json_number_value(v) : -1;

    if (!(x >= 1 && x <= (double)MAX_WIDTH) || x != floor(x))
        return sg_fail(r->err, SG_EFORMAT, "%s: cfg.json: %s is not a whole number from 1 to %lld", r->path, name,
                       (long long)MAX_WIDTH);
    *out = (sg_dim)x;
    return SG_OK;
}

static sg_status keep(reader *r, const json_t *v, const char **out)
{
    if (json_is_string(v) && !(*out = sg_arena_strdup(r->o->arena, json_string_value(v))))
        return no_memory(r);
    return SG_OK;
}

static sg_status read_kind(reader *r)
{
    sg_sae *s = &r->o->s;
    const json_t *kwargs = key(r, "activation_fn_kwargs", NULL), *k = key(r, "k", NULL);
    const char *arch = json_string_value(key(r, "architecture", NULL));
    const char *act = json_string_value(key(r, "activation_fn_str", "activation_fn"));

    arch = arch ? arch : "standard"; /* files from before there were others do not say */
    s->kind = SG_N_SAE_KINDS;
    for (int i = 0; i < SG_N_SAE_KINDS; i++)
        if (strcmp(arch, kind_names[i]) == 0)
            s->kind = (sg_sae_kind)i;
    if (s->kind == SG_N_SAE_KINDS)
        return sg_fail(
            r->err, SG_EUNSUPPORTED,
            "%s: architecture is \"%.40s\"%s; this version knows standard, topk, gated and jumprelu", r->path, arch,
            strstr(arch, "transcoder") || strcmp(arch, "clt") == 0 ? ", which predicts another site than it reads"
            : strstr(arch, "batchtopk") ? ", which SAELens saves as jumprelu when training is over"
                                        : "");
    if (act && strcmp(act, "topk") == 0 && s->kind == SG_SAE_STANDARD)
        s->kind = SG_SAE_TOPK;
    else if (act && strcmp(act, "relu") != 0 && !(strcmp(act, "topk") == 0 && s->kind == SG_SAE_TOPK))
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: activation_fn is \"%.40s\" in a %s; relu was wanted (or topk)",
                       r->path, act, arch);
    if (s->kind == SG_SAE_TOPK) {
        SG_TRY(whole(r, k ? k : json_object_get(kwargs, "k"), "k", &s->k));
        if (s->k > s->d_sae)
            return sg_fail(r->err, SG_EFORMAT, "%s: cfg.json: k is %lld of %lld features", r->path, (long long)s->k,
                           (long long)s->d_sae);
    }
    return SG_OK;
}

static sg_status read_norm(reader *r)
{
    sg_sae *s = &r->o->s;
    const json_t *v = key(r, "normalize_activations", NULL);
    const char *norm = json_is_string(v) ? json_string_value(v) : "none";

    if (json_is_true(v))
        return sg_fail(r->err, SG_EUNSUPPORTED, "%s: normalize_activations is true: a norm was wanted by its name",
                       r->path);
    if (strcmp(norm, "expected_average_only_in") == 0)
        norm = "none"; /* its one factor is worked into the weights when training is over */
    s->norm = SG_N_SAE_NORMS;
    for (int i = 0; i < SG_N_SAE_NORMS; i++)
        if (strcmp(norm, norm_names[i]) == 0)
            s->norm = (sg_sae_norm)i;
    if (s->norm == SG_N_SAE_NORMS)
        return sg_fail(r->err, SG_EUNSUPPORTED,
                       "%s: normalize_activations is \"%.40s\"; this version knows none, expected_average_only_in, "
                       "constant_norm_rescale and layer_norm",
                       r->path, norm);
    if (s->norm == SG_SAE_NORM_LAYER && s->d_in < 2)
        return sg_fail(r->err, SG_EFORMAT, "%s: layer_norm of one number", r->path);
    return SG_OK;
}

static sg_status read_config(reader *r)
{
    sg_sae *s = &r->o->s;
    const json_t *b_dec = key(r, "apply_b_dec_to_input", NULL), *out = key(r, "hook_name_out", NULL);
    const char *reshape = json_string_value(key(r, "reshape_activations", NULL));

    SG_TRY(whole(r, json_object_get(r->config, "d_in"), "d_in", &s->d_in));
    SG_TRY(whole(r, json_object_get(r->config, "d_sae"), "d_sae", &s->d_sae));
    SG_TRY(keep(r, key(r, "hook_name", "hook_point"), &s->hook));
    SG_TRY(keep(r, key(r, "model_name", NULL), &s->model));
    SG_TRY(read_kind(r));
    SG_TRY(read_norm(r));
    if (!s->hook || !*s->hook)
        return sg_fail(r->err, SG_EFORMAT, "%s: cfg.json: hook_name is missing", r->path);
    if (key(r, "hook_head_index", "hook_point_head_index"))
        return sg_fail(r->err, SG_EUNSUPPORTED,
                       "%s: hook_head_index: a single head is not something this version can do", r->path);
    if (out || key(r, "d_out", NULL))
        return sg_fail(r->err, SG_EUNSUPPORTED,
                       "%s: %s: a transcoder predicts another site than it reads, which this version cannot do",
                       r->path, out ? "hook_name_out" : "d_out");
    s->apply_b_dec = b_dec ? json_is_true(b_dec) : true; /* before there was a choice, it was so */
    const size_t n = strlen(s->hook);
    s->by_heads = reshape ? strcmp(reshape, "hook_z") == 0 : n >= 2 && strcmp(s->hook + n - 2, "_z") == 0;
    r->scaled_features = json_is_true(key(r, "finetuning_scaling_factor", NULL));
    r->scaled_by_decoder = s->kind == SG_SAE_TOPK && json_is_true(key(r, "rescale_acts_by_decoder_norm", NULL));
    return SG_OK;
}

/* A tensor that has to be there, of this shape. */
static sg_status take(reader *r, const char *name, int n_dims, sg_dim d0, sg_dim d1, sg_tensor *out)
{
    const sg_dim dims[2] = {d0, d1};
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];
    const sg_tensor *t;

    SG_TRY(sg_safetensors_get(&t, r->o->file, name, r->err));
    if (t->n_dims != n_dims || memcmp(t->dims, dims, (size_t)n_dims * sizeof dims[0]) != 0)
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is %s, the configuration says %s", r->path, name,
                       sg_shape_text(found, t->n_dims, t->dims), sg_shape_text(wanted, n_dims, dims));
    if (!sg_dtype_is_float(t->dtype))
        return sg_fail(r->err, SG_EFORMAT, "%s: %s is %s, floats were wanted", r->path, name, sg_dtype_name(t->dtype));
    *out = *t;
    return SG_OK;
}

/* A copy of a tensor in f32 that may be written. */
static sg_status own(reader *r, sg_tensor *t)
{
    float *numbers = sg_arena_array(r->o->arena, (size_t)sg_tensor_count(t), sizeof *numbers);

    if (!numbers)
        return no_memory(r);
    sg_convert(numbers, SG_F32, t->data, t->dtype, sg_tensor_count(t));
    *t = sg_tensor_of(SG_F32, t->n_dims, t->dims, numbers);
    return SG_OK;
}

/* features' = features * f is W_dec' = f W_dec, row by row. */
static sg_status fold_features(reader *r)
{
    sg_sae *s = &r->o->s;
    sg_tensor f;

    SG_TRY(take(r, "finetuning_scaling_factor", 1, s->d_sae, 0, &f));
    SG_TRY(own(r, &s->w_dec));
    float *w = s->w_dec.data;
    for (sg_dim i = 0; i < s->d_sae; i++)
        for (sg_dim k = 0; k < s->d_in; k++)
            w[i * s->d_in + k] *= (float)sg_tensor_get(&f, i);
    return SG_OK;
}

/* Features are chosen by p |W_dec_i|, and divided by it before decoding: W_enc' = W_enc |W_dec_i|, W_dec' = W_dec /
 * |W_dec_i|. */
static sg_status fold_decoder(reader *r)
{
    sg_sae *s = &r->o->s;

    SG_TRY(own(r, &s->w_dec));
    SG_TRY(own(r, &s->w_enc));
    SG_TRY(own(r, &s->b_enc));
    float *dec = s->w_dec.data, *enc = s->w_enc.data, *b = s->b_enc.data;
    for (sg_dim i = 0; i < s->d_sae; i++) {
        double square = 0;
        for (sg_dim k = 0; k < s->d_in; k++)
            square += (double)dec[i * s->d_in + k] * (double)dec[i * s->d_in + k];
        const double norm = sqrt(square);
        if (!(norm > 0))
            return sg_fail(r->err, SG_EFORMAT, "%s: W_dec: feature %lld has no direction", r->path, (long long)i);
        b[i] = (float)((double)b[i] * norm);
        for (sg_dim k = 0; k < s->d_in; k++) {
            dec[i * s->d_in + k] = (float)((double)dec[i * s->d_in + k] / norm);
            enc[k * s->d_sae + i] = (float)((double)enc[k * s->d_sae + i] * norm);
        }
    }
    return SG_OK;
}

static sg_status read_threshold(reader *r)
{
    sg_sae *s = &r->o->s;

    if (sg_safetensors_find(r->o->file, "threshold") || !sg_safetensors_find(r->o->file, "log_threshold"))
        return take(r, "threshold", 1, s->d_sae, 0, &s->threshold);
    SG_TRY(take(r, "log_threshold", 1, s->d_sae, 0, &s->threshold)); /* as training has it */
    SG_TRY(own(r, &s->threshold));
    for (sg_dim i = 0; i < s->d_sae; i++)
        sg_tensor_set(&s->threshold, i, exp(sg_tensor_get(&s->threshold, i)));
    return SG_OK;
}

static sg_status read_weights(reader *r)
{
    static const char *const known[] = {
        "W_enc",         "W_dec", "b_enc",  "b_dec",         "threshold",
        "r_mag",         "b_mag", "b_gate", "log_threshold", "finetuning_scaling_factor",
        "scaling_factor"};
    sg_sae *s = &r->o->s;

    SG_TRY(take(r, "W_enc", 2, s->d_in, s->d_sae, &s->w_enc));
    SG_TRY(take(r, "W_dec", 2, s->d_sae, s->d_in, &s->w_dec));
    SG_TRY(take(r, "b_dec", 1, s->d_in, 0, &s->b_dec));
    if (s->kind != SG_SAE_GATED) {
        SG_TRY(take(r, "b_enc", 1, s->d_sae, 0, &s->b_enc));
    } else {
        SG_TRY(take(r, "r_mag", 1, s->d_sae, 0, &s->r_mag));
        SG_TRY(take(r, "b_mag", 1, s->d_sae, 0, &s->b_mag));
        SG_TRY(take(r, "b_gate", 1, s->d_sae, 0, &s->b_gate));
    }
    if (s->kind == SG_SAE_JUMPRELU)
        SG_TRY(read_threshold(r));
    for (int i = 0; i < sg_safetensors_count(r->o->file); i++) {
        const char *name = sg_safetensors_name(r->o->file, i);
        bool found = false;
        for (size_t k = 0; k < SG_COUNT_OF(known); k++)
            found |= strcmp(name, known[k]) == 0;
        if (!found)
            return sg_fail(r->err, SG_EUNSUPPORTED, "%s: the tensor %.100s has no place in a %s autoencoder", r->path,
                           name, sg_sae_kind_name(s->kind));
    }
    if (r->scaled_features)
        SG_TRY(fold_features(r));
    return r->scaled_by_decoder ? fold_decoder(r) : SG_OK;
}

/* ---- opening ---- */

static sg_status start(opened **out, const char *name, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    opened *o = arena ? sg_arena_alloc(arena, sizeof *o) : NULL;

    if (!o || !(o->s.path = sg_arena_strdup(arena, name))) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    o->arena = arena;
    *out = o;
    return SG_OK;
}

static sg_status read_all(opened *o, const char *config, size_t n_config, sg_error *err)
{
    json_error_t at;
    json_t *root = json_loadb(config, n_config, JSON_REJECT_DUPLICATES, &at);
    reader r = {.o = o, .config = root, .metadata = json_object_get(root, "metadata"), .path = o->s.path, .err = err};
    sg_status status;

    if (!root)
        return sg_fail(err, SG_EFORMAT, "%s: cfg.json: line %d: %s", o->s.path, at.line, at.text);
    status =
        json_is_object(root) ? read_config(&r) : sg_fail(err, SG_EFORMAT, "%s: cfg.json is not an object", o->s.path);
    if (status == SG_OK)
        status = read_weights(&r);
    json_decref(root);
    return status;
}

static void close_opened(opened *o)
{
    sg_safetensors_close(o->file);
    sg_arena_free(o->arena);
}

sg_status sg_sae_parse(sg_sae **out, const char *config, size_t n_config, const void *weights, size_t n_weights,
                       const char *name, sg_error *err)
{
    opened *o = NULL;

    *out = NULL;
    SG_TRY(start(&o, name, err));
    sg_status status = sg_safetensors_parse(&o->file, weights, n_weights, name, err);
    if (status == SG_OK)
        status = read_all(o, config, n_config, err);
    if (status != SG_OK) {
        close_opened(o);
        return status;
    }
    *out = &o->s;
    return SG_OK;
}

static sg_status open_in(opened *o, const char *dir, sg_error *err)
{
    const char *config = sg_arena_printf(o->arena, "%s/cfg.json", dir);
    const char *weights = sg_arena_printf(o->arena, "%s/sae_weights.safetensors", dir);
    sg_file *file;

    if (!config || !weights)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    SG_TRY(sg_file_open(&file, config, err));
    sg_status status = sg_safetensors_open(&o->file, weights, err);
    if (status == SG_OK)
        status = read_all(o, sg_file_data(file) ? (const char *)sg_file_data(file) : "", sg_file_bytes(file), err);
    sg_file_close(file);
    return status == SG_OK ? sg_sae_read_labels(&o->s.labels, o->arena, dir, o->s.d_sae, err) : status;
}

sg_status sg_sae_open(sg_sae **out, const char *dir, sg_error *err)
{
    opened *o = NULL;

    *out = NULL;
    SG_TRY(start(&o, dir, err));
    const sg_status status = open_in(o, dir, err);
    if (status != SG_OK) {
        close_opened(o);
        return status;
    }
    *out = &o->s;
    return SG_OK;
}

void sg_sae_close(sg_sae *s)
{
    if (s)
        close_opened((opened *)(void *)s);
}

static int tensors_of(const sg_sae *s, sg_named_tensor list[8])
{
    const sg_named_tensor all[] = {{"W_enc", s->w_enc}, {"W_dec", s->w_dec},         {"b_enc", s->b_enc},
                                   {"b_dec", s->b_dec}, {"threshold", s->threshold}, {"r_mag", s->r_mag},
                                   {"b_mag", s->b_mag}, {"b_gate", s->b_gate}};
    int n = 0;

    for (size_t i = 0; i < SG_COUNT_OF(all); i++)
        if (all[i].tensor.data)
            list[n++] = all[i];
    return n;
}

size_t sg_sae_bytes(const sg_sae *s)
{
    sg_named_tensor list[8];
    size_t bytes = 0;

    for (int n = tensors_of(s, list); n > 0; n--)
        bytes += sg_tensor_bytes(&list[n - 1].tensor);
    return bytes;
}

/* ---- saving ---- */

static sg_status check_shapes(const sg_sae *s, const char *dir, sg_error *err)
{
    const bool gated = s->kind == SG_SAE_GATED;
    const struct {
        const char *name;
        const sg_tensor *t;
        bool wanted;
        int n_dims;
        sg_dim dims[2];
    } all[] = {{"W_enc", &s->w_enc, true, 2, {s->d_in, s->d_sae}},
               {"W_dec", &s->w_dec, true, 2, {s->d_sae, s->d_in}},
               {"b_enc", &s->b_enc, !gated, 1, {s->d_sae, 0}},
               {"b_dec", &s->b_dec, true, 1, {s->d_in, 0}},
               {"threshold", &s->threshold, s->kind == SG_SAE_JUMPRELU, 1, {s->d_sae, 0}},
               {"r_mag", &s->r_mag, gated, 1, {s->d_sae, 0}},
               {"b_mag", &s->b_mag, gated, 1, {s->d_sae, 0}},
               {"b_gate", &s->b_gate, gated, 1, {s->d_sae, 0}}};
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    for (size_t i = 0; i < SG_COUNT_OF(all); i++) {
        if (!all[i].wanted != !all[i].t->data)
            return sg_fail(err, SG_EARG, "%s: a %s autoencoder %s %s", dir, sg_sae_kind_name(s->kind),
                           all[i].wanted ? "wants" : "has no", all[i].name);
        if (all[i].wanted && (all[i].t->n_dims != all[i].n_dims ||
                              memcmp(all[i].t->dims, all[i].dims, (size_t)all[i].n_dims * sizeof(sg_dim)) != 0))
            return sg_fail(err, SG_ESHAPE, "%s: %s is %s, %s was wanted", dir, all[i].name,
                           sg_shape_text(found, all[i].t->n_dims, all[i].t->dims),
                           sg_shape_text(wanted, all[i].n_dims, all[i].dims));
    }
    if (!s->hook || (s->kind == SG_SAE_TOPK && (s->k < 1 || s->k > s->d_sae)))
        return sg_fail(err, SG_EARG, "%s: %s", dir,
                       s->hook ? "k is not between 1 and the number of features" : "a hook is needed");
    return SG_OK;
}

/* "blocks.5.hook_resid_post" -> 5; 0 where there is no number. */
static int layer_of(const char *hook)
{
    int layer = 0;

    return sscanf(hook, "blocks.%d.", &layer) == 1 ? layer : 0;
}

static json_t *config_of(const sg_sae *s)
{
    const char *dtype = s->w_enc.dtype == SG_F64    ? "float64"
                        : s->w_enc.dtype == SG_BF16 ? "bfloat16"
                        : s->w_enc.dtype == SG_F16  ? "float16"
                                                    : "float32";
    json_t *root =
        json_pack("{s:s, s:I, s:I, s:s, s:s, s:b, s:s, s:s, s:{s:s, s:i, s:n, s:s}}", "architecture",
                  sg_sae_kind_name(s->kind), "d_in", (json_int_t)s->d_in, "d_sae", (json_int_t)s->d_sae, "dtype", dtype,
                  "device", "cpu", "apply_b_dec_to_input", (int)s->apply_b_dec, "normalize_activations",
                  norm_names[s->norm], "reshape_activations", s->by_heads ? "hook_z" : "none", "metadata", "hook_name",
                  s->hook, "hook_layer", layer_of(s->hook), "hook_head_index", "model_name", s->model ? s->model : "");
    if (s->kind == SG_SAE_TOPK)
        json_object_set_new(root, "k", json_integer(s->k));
    return root;
}

static sg_status save_config(const sg_sae *s, const char *path, sg_error *err)
{
    json_t *root = config_of(s);
    sg_writer *w = NULL;

    if (!root)
        return sg_fail(err, SG_EARG, "%s: a name is not UTF-8, or memory is out", path);
    sg_status status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        json_dumpf(root, sg_writer_stream(w), JSON_INDENT(2));
        status = sg_writer_commit(w, err);
    }
    json_decref(root);
    return status;
}

sg_status sg_sae_save(const sg_sae *s, const char *dir, sg_error *err)
{
    sg_named_tensor list[8];
    sg_str config = {0}, weights = {0};

    SG_TRY(check_shapes(s, dir, err));
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    sg_str_printf(&config, "%s/cfg.json", dir);
    sg_str_printf(&weights, "%s/sae_weights.safetensors", dir);
    sg_status status = config.failed || weights.failed ? sg_fail(err, SG_ENOMEM, "%s: out of memory", dir) : SG_OK;
    const int n = tensors_of(s, list);
    if (status == SG_OK)
        status = sg_safetensors_save(weights.text, list, n, &(sg_pair){"format", "pt"}, 1, err);
    if (status == SG_OK)
        status = save_config(s, config.text, err);
    if (status == SG_OK && s->labels)
        status = sg_sae_write_labels(s->labels, s->d_sae, dir, err);
    sg_str_free(&config);
    sg_str_free(&weights);
    return status;
}
