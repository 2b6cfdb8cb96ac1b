/* Opening a model: its config chooses the family, the family names the weights, every weight's shape is checked. Weights in
 * the compute type, and matrices of packed types, stay in the mapped file; others are converted once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "exec/backend.h"
#include "models/adapt.h"
#include "models/conv.h"
#include "models/gguf_model.h"
#include "sightglass/hub.h"
#include "ops/packed.h"

#define SEARCHED ((size_t)64 << 20) /* bytes of weights up to which opening reads all of them, in search of NaN */

sg_model_opts sg_model_defaults(void)
{
    const sg_exec_opts exec = sg_exec_defaults();
    const bool on_device = exec.n_backends && exec.backends[0]->device; /* none of which reads packed weights yet */

    return (sg_model_opts){.dtype = SG_F32, .as_stored = !on_device};
}

bool sg_weight_in_block(sg_weight_role role)
{
    return role != SG_W_EMBED && role != SG_W_POSITION && role != SG_W_NORM_FINAL && role != SG_W_NORM_FINAL_BIAS &&
           role != SG_W_UNEMBED && role != SG_W_UNEMBED_BIAS;
}

int sg_weight_shape(const sg_model *m, sg_weight_role role, sg_dim dims[2])
{
    const sg_model_info *in = &m->info;
    const sg_dim d = in->d_model, q = in->n_heads * in->d_head, kv = in->n_kv_heads * in->d_head, f = in->d_mlp;
    sg_dim out_extent = 0, in_extent = 0;

    switch (role) {
    case SG_W_EMBED:
    case SG_W_UNEMBED: /* never stored [in,out] */
        dims[0] = in->n_vocab;
        dims[1] = d;
        return 2;
    case SG_W_POSITION:
        dims[0] = in->n_context;
        dims[1] = d;
        return 2;
    case SG_W_Q_BIAS:
        dims[0] = q;
        return 1;
    case SG_W_K_BIAS:
    case SG_W_V_BIAS:
        dims[0] = kv;
        return 1;
    case SG_W_QKV_BIAS:
        dims[0] = q + 2 * kv;
        return 1;
    case SG_W_GATE_BIAS:
    case SG_W_UP_BIAS:
        dims[0] = f;
        return 1;
    case SG_W_Q_NORM:
    case SG_W_K_NORM:
        dims[0] = m->arch.qk_norm == SG_QK_NORM_HEAD ? in->d_head : role == SG_W_Q_NORM ? q : kv;
        return 1;
    case SG_W_UNEMBED_BIAS:
        dims[0] = in->n_vocab;
        return 1;
    case SG_W_NORM1:
    case SG_W_NORM1_BIAS:
    case SG_W_NORM1_POST:
    case SG_W_NORM2:
    case SG_W_NORM2_BIAS:
    case SG_W_NORM2_POST:
    case SG_W_NORM_FINAL:
    case SG_W_NORM_FINAL_BIAS:
    case SG_W_O_BIAS:
    case SG_W_DOWN_BIAS:
        dims[0] = d;
        return 1;
    case SG_W_Q:
        out_extent = q;
        in_extent = d;
        break;
    case SG_W_K:
    case SG_W_V:
        out_extent = kv;
        in_extent = d;
        break;
    case SG_W_QKV:
        out_extent = q + 2 * kv;
        in_extent = d;
        break;
    case SG_W_O:
        out_extent = d;
        in_extent = q;
        break;
    case SG_W_GATE:
    case SG_W_UP:
        out_extent = f;
        in_extent = d;
        break;
    case SG_W_GATE_UP:
        out_extent = 2 * f;
        in_extent = d;
        break;
    case SG_W_DOWN:
        out_extent = d;
        in_extent = f;
        break;
    case SG_N_WEIGHTS:
        break;
    }
    dims[0] = m->arch.in_out ? in_extent : out_extent;
    dims[1] = m->arch.in_out ? out_extent : in_extent;
    return 2;
}

static sg_status warn(sg_model *m, char *text, sg_error *err)
{
    const char **more = sg_arena_array(m->arena, (size_t)m->n_warnings + 1, sizeof *more);

    if (!more || !text)
        return sg_fail(err, SG_ENOMEM, "out of memory for the model's warnings");
    for (int i = 0; i < m->n_warnings; i++)
        more[i] = m->warnings[i];
    more[m->n_warnings++] = text;
    m->warnings = more;
    return SG_OK;
}

static const char *join(sg_model *m, const char *dir, const char *file)
{
    const size_t n = strlen(dir);

    return sg_arena_printf(m->arena, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", file);
}

static bool is_there(const char *path)
{
    FILE *f = fopen(path, "rb");

    if (f)
        fclose(f);
    return f != NULL;
}

/* Whether a name is one of those in a text that separates them by spaces. */
static bool is_among(const char *names, const char *name)
{
    const size_t n = strlen(name);

    if (!n || strchr(name, ' '))
        return false;
    for (const char *at = strstr(names, name); at; at = strstr(at + 1, name))
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static sg_status choose_family(sg_model *m, const json_t *config, const char *path, sg_error *err)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const char *arch = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    static const struct {
        const char *type, *archs;
        sg_family_fn fill;
    } families[] = {
#define SG_FAMILY(name, model_type, architectures) {model_type, architectures, sg_family_##name},
#include "models/models.def"
#undef SG_FAMILY
    };
    char known[256] = "";

    bool encoder;
    SG_TRY(sg_encoder_choose(m, config, path, &encoder, err));
    if (encoder)
        return SG_OK;
    for (size_t i = 0; i < SG_COUNT_OF(families); i++) {
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", families[i].type);
        if (arch ? !is_among(families[i].archs, arch) : !type || strcmp(type, families[i].type) != 0)
            continue;
        m->info.architecture = sg_arena_strdup(m->arena, arch ? arch : type);
        SG_TRY(families[i].fill(&m->arch, &m->info, config, path, err));
        m->info.family = m->arch.family;
        if (m->arch.window >= m->info.n_context)
            m->arch.window = 0; /* everything is within it */
        return m->info.architecture ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    }
    if (!arch && !type)
        return sg_fail(err, SG_EFORMAT, "%s: neither architectures nor model_type is there", path);
    return sg_fail(err, SG_EUNSUPPORTED, "%s: %s is \"%.60s\"; this version knows the families %s; and of encoders bert, distilbert, vit, deit, dinov2, clip; and of networks of convolutions convnet", path,
                   arch ? "architectures" : "model_type", arch ? arch : type, known);
}

/* Keys of which nothing is known are a warning; those that would change what is computed, an error. */
static sg_status look_at_rest(sg_model *m, const json_t *config, const char *path, sg_error *err)
{
    char *unknown;

    SG_TRY(sg_config_rest(config, path, m->arch.family, &unknown, err));
    if (!unknown)
        return SG_OK;
    const sg_status status =
        warn(m, sg_arena_printf(m->arena, "config.json has keys of which this version knows nothing: %s", unknown), err);
    free(unknown);
    return status;
}

sg_status sg_config_parse(sg_model *m, const char *json, size_t n_bytes, const char *path, sg_error *err)
{
    json_error_t at;
    json_t *config = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &at);

    if (!json_is_object(config)) {
        const sg_status status = config ? sg_fail(err, SG_EFORMAT, "%s: not a JSON object", path)
                                        : sg_fail(err, SG_EFORMAT, "%s: line %d: %s", path, at.line, at.text);
        json_decref(config);
        return status;
    }
    json_object_set_new(config, "", json_object()); /* where the keys that are read are marked */
    sg_status status = choose_family(m, config, path, err);
    if (status == SG_OK && !m->encoder)
        status = look_at_rest(m, config, path, err);
    const json_t *bos = json_object_get(config, "bos_token_id"), *eos = json_object_get(config, "eos_token_id");
    m->info.bos = json_is_integer(bos) && json_integer_value(bos) >= 0 && json_integer_value(bos) < m->info.n_vocab
                      ? (int32_t)json_integer_value(bos)
                      : -1;
    const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (json_is_integer(e) && json_integer_value(e) >= 0 && json_integer_value(e) < m->info.n_vocab &&
            m->info.n_eos < (int)SG_COUNT_OF(m->info.eos))
            m->info.eos[m->info.n_eos++] = (int32_t)json_integer_value(e);
    }
    json_decref(config);
    return status;
}

sg_status sg_config_read(sg_model *m, const sg_file *file, sg_error *err)
{
    const char *text = sg_file_data(file) ? (const char *)sg_file_data(file) : "";

    return sg_config_parse(m, text, sg_file_bytes(file), sg_file_path(file), err);
}

static sg_status read_config(sg_model *m, const char *path, sg_error *err)
{
    sg_file *file;

    SG_TRY(sg_file_open(&file, path, err));
    const sg_status status = sg_config_read(m, file, err);
    sg_file_close(file);
    return status;
}

/* What stands beside the model in a file, without its prefix. */
static bool is_head(sg_weight_role role)
{
    return role == SG_W_UNEMBED || role == SG_W_UNEMBED_BIAS;
}

char *sg_weight_name(const sg_model *m, sg_weight_role role, int layer)
{
    const char *pattern = m->arch.names[role], *percent = strstr(pattern, "%d");
    const char *prefix = is_head(role) ? "" : m->arch.prefix;

    if (!percent)
        return sg_arena_printf(m->arena, "%s%s", prefix, pattern);
    return sg_arena_printf(m->arena, "%s%.*s%d%s", prefix, (int)(percent - pattern), pattern, layer, percent + 2);
}

/* The first NaN among a weight's numbers; -1: none. */
static sg_dim first_nan(const sg_tensor *t)
{
    const sg_dim n = sg_tensor_count(t);
    float part[256]; /* whole blocks of any type */

    if (t->dtype == SG_F64) {
        const double *x = t->data;
        for (sg_dim i = 0; i < n; i++)
            if (x[i] != x[i])
                return i;
        return -1;
    }
    for (sg_dim i = 0; i < n; i += (sg_dim)SG_COUNT_OF(part)) {
        const sg_dim here = SG_MIN((sg_dim)SG_COUNT_OF(part), n - i);
        const float *x = part;
        if (t->dtype == SG_F32)
            x = (const float *)t->data + i;
        else
            sg_convert(part, SG_F32, (const char *)t->data + (size_t)(i / sg_dtype_block(t->dtype)) * sg_dtype_block_bytes(t->dtype),
                       t->dtype, here);
        for (sg_dim k = 0; k < here; k++)
            if (x[k] != x[k])
                return i + k;
    }
    return -1;
}

/* Whether a weight that needs no conversion stays where it is, unread, until somebody computes with it. */
static bool is_left_alone(const sg_model *m, const sg_tensor *stored)
{
    return m->file_bytes > SEARCHED && stored->n_dims > 1;
}

/* The weight in a type: in the file where it has that type, else converted, aligned as kernels like it. */
static sg_status take(sg_model *m, const char *name, const sg_tensor *stored, sg_dtype type, sg_tensor *out, sg_error *err)
{
    const sg_dim n = sg_tensor_count(stored);

    *out = *stored;
    if (stored->dtype != type) {
        size_t bytes;
        out->dtype = type;
        if (sg_bytes(n, sg_dtype_bytes(type), &bytes) != SG_OK || !(out->data = sg_arena_alloc(m->arena, SG_MAX(bytes, 1))))
            return sg_fail(err, SG_ENOMEM, "out of memory for %s (%lld numbers)", name, (long long)n);
        sg_convert(out->data, type, stored->data, stored->dtype, n);
    } else if (is_left_alone(m, stored)) {
        return SG_OK;
    }
    const sg_dim bad = first_nan(out);
    if (bad >= 0)
        return warn(m, sg_arena_printf(m->arena, "%s has NaN, first at element %lld", name, (long long)bad), err);
    return SG_OK;
}

/* The type in which a weight is computed with. */
static sg_dtype type_of(const sg_model *m, const sg_tensor *stored)
{
    const bool stays = m->opts.as_stored && m->opts.dtype == SG_F32 && stored->n_dims == 2 && sg_is_packed(stored->dtype);
    return stays ? stored->dtype : m->opts.dtype;
}

sg_status sg_weight_load(sg_model *m, const sg_tensor *t, int n_dims, const sg_dim *dims, bool may_stay, sg_weight *w,
                         sg_error *err)
{
    char found[SG_SHAPE_TEXT], wanted[SG_SHAPE_TEXT];

    for (int i = 0; m->info.weight_bytes == 0 && i < sg_safetensors_count(m->file); i++)
        m->file_bytes += sg_tensor_bytes(sg_safetensors_at(m->file, i)); /* at the first weight */
    if (t->n_dims != n_dims || (n_dims && memcmp(t->dims, dims, (size_t)n_dims * sizeof dims[0]) != 0))
        return sg_fail(err, SG_EFORMAT, "%s: %s is %s, the config says %s", m->info.path, w->name,
                       sg_shape_text(found, t->n_dims, t->dims), sg_shape_text(wanted, n_dims, dims));
    if (!sg_dtype_is_float(t->dtype) && sg_dtype_block(t->dtype) == 1)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %s, floats were wanted", m->info.path, w->name, sg_dtype_name(t->dtype));
    m->info.n_parameters += sg_tensor_count(t);
    m->info.weight_bytes += sg_tensor_bytes(t);
    const sg_dtype type = may_stay ? type_of(m, t) : m->opts.dtype;
    if (t->dtype != type)
        m->info.converted_bytes += (size_t)sg_tensor_count(t) * sg_dtype_bytes(type);
    else if (is_left_alone(m, t))
        m->info.unread_bytes += sg_tensor_bytes(t);
    if (!m->opts.only_sizes)
        return take(m, w->name, t, type, &w->tensor, err);
    w->tensor = sg_tensor_of(type, t->n_dims, t->dims, NULL);
    return SG_OK;
}

static sg_status load_weight(sg_model *m, sg_weight_role role, int layer, sg_weight *w, bool *used, sg_error *err)
{
    sg_dim dims[2];

    w->name = sg_weight_name(m, role, layer);
    if (!w->name)
        return sg_fail(err, SG_ENOMEM, "out of memory for weights");
    const char *bare = w->name + (is_head(role) ? 0 : strlen(m->arch.prefix));
    const sg_tensor *t = m->arch.prefix[0] ? sg_safetensors_find(m->file, bare) : NULL;
    if (!t)
        SG_TRY(sg_safetensors_get(&t, m->file, w->name, err)); /* says what is wrong with it, or which name is near */
    for (int i = 0; i < sg_safetensors_count(m->file); i++)
        if (sg_safetensors_at(m->file, i) == t)
            used[i] = true;
    m->n_stored[t->dtype] += sg_tensor_count(t);
    if (m->n_stored[t->dtype] > m->n_stored[m->info.stored])
        m->info.stored = t->dtype;
    const int n = sg_weight_shape(m, role, dims);
    return sg_weight_load(m, t, n, dims, true, w, err);
}

static bool in_file(const sg_model *m, const char *pattern)
{
    char bare[128], full[160];
    const char *percent = strstr(pattern, "%d");

    if (percent)
        snprintf(bare, sizeof bare, "%.*s0%s", (int)(percent - pattern), pattern, percent + 2);
    else
        snprintf(bare, sizeof bare, "%s", pattern);
    snprintf(full, sizeof full, "%s%s", m->arch.prefix, bare);
    return sg_safetensors_find(m->file, bare) || sg_safetensors_find(m->file, full);
}

/* What old files carry along and the graph computes: causal masks and rotary tables; and the copy of tied embeddings. */
static bool is_buffer(const sg_model *m, const char *name)
{
    static const char *const ends[] = {"attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias",
                                       "rotary_emb.inv_freq"};
    const size_t n = strlen(name);

    for (size_t i = 0; i < SG_COUNT_OF(ends); i++)
        if (n >= strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    const char *unembed = m->arch.names[SG_W_UNEMBED];
    return m->info.tied && unembed && strcmp(name, unembed) == 0;
}

static sg_status load_weights(sg_model *m, sg_error *err)
{
    const int count = sg_safetensors_count(m->file);
    bool *used = sg_arena_array(m->arena, (size_t)count + 1, sizeof *used);

    if (!used)
        return sg_fail(err, SG_ENOMEM, "out of memory for weights");
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const char *pattern = m->arch.names[role];
        if (!pattern || (m->arch.optional[role] && !in_file(m, pattern)) ||
            (role == SG_W_UNEMBED && m->info.tied))
            continue;
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        m->weights[role] = sg_arena_array(m->arena, (size_t)n, sizeof(sg_weight));
        if (!m->weights[role])
            return sg_fail(err, SG_ENOMEM, "out of memory for weights");
        for (int i = 0; i < n; i++)
            SG_TRY(load_weight(m, (sg_weight_role)role, i, &m->weights[role][i], used, err));
    }
    int n_unused = 0, first = -1;
    for (int i = 0; i < count; i++)
        if (!used[i] && !is_buffer(m, sg_safetensors_name(m->file, i)) && n_unused++ == 0)
            first = i;
    if (n_unused)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: %s has no place in the family %s%s", m->info.path,
                       sg_safetensors_name(m->file, first), m->arch.family,
                       n_unused > 1 ? ", nor have others of its tensors" : "");
    return SG_OK;
}

static sg_status check_tokenizer(sg_model *m, sg_error *err)
{
    if (sg_tokenizer_size(m->tokenizer) <= m->info.n_vocab)
        return SG_OK;
    return warn(m, sg_arena_printf(m->arena, "the tokenizer has %d ids, the model %lld", sg_tokenizer_size(m->tokenizer),
                                   (long long)m->info.n_vocab),
                err);
}

static sg_status open_gguf(sg_model *m, const char *path, sg_error *err)
{
    m->info.path = sg_arena_strdup(m->arena, path);
    if (!m->info.path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    SG_TRY(sg_gguf_model_open(&m->gguf, path, m->opts.only_sizes, err));
    SG_TRY(sg_config_parse(m, m->gguf->config, strlen(m->gguf->config), path, err));
    if (m->encoder)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: encoders (%s) are read from folders, not from GGUF files", path, m->info.family);
    m->arch.in_out = false; /* no GGUF file has such matrices */
    m->file = m->gguf->weights;
    m->info.converted_bytes += m->gguf->moved_bytes;
    SG_TRY(load_weights(m, err));
    m->tokenizer = m->gguf->tokenizer;
    return m->tokenizer ? check_tokenizer(m, err) : SG_OK;
}

/* Whichever tokenizer the folder has; a model may do without. */
static sg_status open_tokenizer(sg_model *m, const char *dir, sg_error *err)
{
    const sg_status status = sg_tokenizer_open_folder(&m->tokenizer, dir, err);

    if (status == SG_ENOTFOUND)
        return SG_OK;
    SG_TRY(status);
    return check_tokenizer(m, err);
}

static sg_status open_in(sg_model *m, const char *dir, sg_error *err)
{
    struct stat there;
    if (sg_gguf_is(dir))
        return open_gguf(m, dir, err);
    bool weights_alone;
    SG_TRY(sg_conv_open(m, dir, &weights_alone, err));
    if (weights_alone)
        return SG_OK;
    if (stat(dir, &there) == 0 && S_ISREG(there.st_mode))
        return sg_fail(err, SG_EFORMAT, "%s: %s, wanted a GGUF file, a folder with config.json, or weights of a known network of convolutions (.safetensors)", dir,
                       there.st_size ? "is a file that does not begin with GGUF" : "is empty");
    const char *config = join(m, dir, "config.json"), *weights = join(m, dir, "model.safetensors");
    const char *index = join(m, dir, "model.safetensors.index.json");

    m->info.path = sg_arena_strdup(m->arena, dir);
    if (!config || !weights || !index || !m->info.path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    SG_TRY(read_config(m, config, err));
    SG_TRY(sg_safetensors_open(&m->file, !is_there(weights) && is_there(index) ? index : weights, err));
    SG_TRY(m->encoder ? sg_preprocess_open(m, dir, err) : SG_OK);
    SG_TRY(m->encoder ? sg_encoder_load(m, err) : load_weights(m, err));
    return m->info.n_vocab ? open_tokenizer(m, dir, err) : SG_OK;
}

sg_status sg_model_open(sg_model **out, const char *dir, sg_model_opts opts, sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_model *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;

    if (!m) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    m->arena = arena;
    m->opts = opts;
    char *found = NULL; /* a folder, or what was pulled under this name */
    sg_status status = sg_hub_locate(&found, dir, err);
    if (status == SG_OK)
        status = open_in(m, found, err);
    free(found);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

void sg_model_close(sg_model *m)
{
    if (!m)
        return;
    sg_adapt_close(m);
    if (m->gguf) { /* whose the weights and the tokenizer are */
        sg_gguf_model_close(m->gguf);
    } else {
        sg_tokenizer_free(m->tokenizer);
        sg_safetensors_close(m->file);
    }
    sg_file_close(m->config);
    sg_file_close(m->tokenizer_file);
    sg_arena_free(m->arena);
}

const sg_model_info *sg_model_get_info(const sg_model *m)
{
    return &m->info;
}

/* Of the numbers in a type, whatever the type that they lie in. */
static uint64_t hash_of(const sg_tensor *t, sg_dtype type, uint64_t hash)
{
    const size_t bytes = (size_t)sg_tensor_count(t) * sg_dtype_bytes(type);
    void *numbers = t->dtype == type ? t->data : malloc(SG_MAX(bytes, 1));

    if (!numbers) /* no such model is meant */
        return sg_hash(t->data, sg_tensor_bytes(t), ~hash);
    if (t->dtype != type)
        sg_convert(numbers, type, t->data, t->dtype, sg_tensor_count(t));
    hash = sg_hash(numbers, bytes, hash);
    if (t->dtype != type)
        free(numbers);
    return hash;
}

uint64_t sg_model_hash(const sg_model *m)
{
    uint64_t hash = 0;

    for (int i = 0; m->encoder && i < m->encoder->n_weights; i++)
        if (m->encoder->weights[i].tensor.data)
            hash = sg_hash(m->encoder->weights[i].tensor.data, sg_tensor_bytes(&m->encoder->weights[i].tensor), hash);
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        for (int i = 0; m->weights[role] && i < n; i++)
            if (m->weights[role][i].tensor.data)
                hash = hash_of(&m->weights[role][i].tensor, m->opts.dtype, hash);
    }
    return sg_adapt_hash(m, hash);
}

const sg_tokenizer *sg_model_tokenizer(const sg_model *m)
{
    return m->tokenizer;
}

const char *sg_model_warning(const sg_model *m, int i)
{
    return i >= 0 && i < m->n_warnings ? m->warnings[i] : NULL;
}
