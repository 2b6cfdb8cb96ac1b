/* Encoders: their config chooses the family, the family names the weights, every weight is found, checked and accounted
 * for. */
#include "models/encoder.h"

#include "models/conv.h"

#include <string.h>

/* ---- configs ---- */

sg_status sg_tower_sizes(sg_tower *t, const json_t *config, const char *path, const sg_size_keys *k, sg_error *err)
{
    const struct {
        const char *key;
        sg_dim most, *to;
    } sizes[] = {{k->width, 1 << 20, &t->d_model},
                 {k->layers, 1 << 12, &t->n_layers},
                 {k->heads, 1 << 12, &t->n_heads},
                 {k->hidden, 1 << 22, &t->d_mlp}};
    sg_arch arch = {.act = k->fallback_act};

    for (size_t i = 0; i < SG_COUNT_OF(sizes); i++)
        if (sizes[i].key && (!k->fallback[i] || sg_config_has(config, sizes[i].key)))
            SG_TRY(sg_config_int(config, path, sizes[i].key, 1, sizes[i].most, sizes[i].to, err));
        else if (sizes[i].key)
            *sizes[i].to = k->fallback[i];
    if (t->d_model % t->n_heads)
        return sg_fail(err, SG_EFORMAT, "%s: %s %lld is no multiple of %s %lld", path, k->width, (long long)t->d_model,
                       k->heads, (long long)t->n_heads);
    t->d_head = t->d_model / t->n_heads;
    if (sg_config_has(config, k->act))
        SG_TRY(sg_config_act(config, path, k->act, &arch, err));
    t->act = arch.act;
    return SG_OK;
}

sg_status sg_tower_image(sg_tower *t, const json_t *config, const char *path, sg_dim patch, sg_error *err)
{
    SG_TRY(sg_config_int_or(config, path, "image_size", 224, 1, 1 << 14, &t->stored, err));
    SG_TRY(sg_config_int_or(config, path, "patch_size", SG_MIN(patch, t->stored), 1, t->stored, &t->patch, err));
    SG_TRY(sg_config_int_or(config, path, "num_channels", 3, 1, 1 << 10, &t->channels, err));
    const sg_dim along = t->stored / t->patch;
    t->side = t->stored;
    t->n_places = t->n_first + along * along;
    return SG_OK;
}

void sg_tower_linear(sg_tower *t, sg_part part, const char *weight, const char *bias, const char *shape)
{
    static const char *const alone[] = {"?D", "?F", "?G", "?L"};
    const bool optional = shape[0] == '?';

    t->slots[part] = (sg_slot){weight, shape};
    for (size_t i = 0; i < SG_COUNT_OF(alone); i++)
        if (alone[i][1] == shape[optional])
            t->slots[part + 1] = (sg_slot){bias, alone[i] + !optional};
}

sg_dim sg_tower_places(const sg_tower *t)
{
    return t->n_first + t->n_registers + t->side / t->patch * (t->side / t->patch);
}

static sg_status read_labels(sg_model *m, const json_t *config, const char *path, sg_error *err)
{
    sg_encoder *e = m->encoder;
    const json_t *labels = json_object_get(config, "id2label");
    const size_t n = json_object_size(labels);

    if (!n || n > 1 << 20)
        return SG_OK;
    e->labels = sg_arena_array(m->arena, n, sizeof *e->labels);
    if (!e->labels)
        return sg_fail(err, SG_ENOMEM, "out of memory for labels");
    for (size_t i = 0; i < n; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *label = json_string_value(json_object_get(labels, key));
        if (!label)
            return sg_fail(err, SG_EFORMAT, "%s: id2label has %zu labels, and none for %s", path, n, key);
        if (!(e->labels[i] = sg_arena_strdup(m->arena, label)))
            return sg_fail(err, SG_ENOMEM, "out of memory for labels");
    }
    e->n_labels = (sg_dim)n;
    return SG_OK;
}

/* "BertModel" and "BertForMaskedLM" are of "Bert", "BertGenerationEncoder" is not. */
static bool is_of(const char *architecture, const char *name)
{
    const size_t n = strlen(name);

    return strncmp(architecture, name, n) == 0 &&
           (strncmp(architecture + n, "Model", 5) == 0 || strncmp(architecture + n, "For", 3) == 0);
}

sg_status sg_encoder_choose(sg_model *m, const json_t *config, const char *path, bool *found, sg_error *err)
{
    static const struct {
        const char *family, *type, *name;
        sg_encoder_fn fill;
    } families[] = {
#define SG_ENCODER(name, model_type, architecture) {#name, model_type, architecture, sg_encoder_##name},
#include "models/encoders.def"
#undef SG_ENCODER
    };
    const char *arch = json_string_value(json_array_get(json_object_get(config, "architectures"), 0));
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const char *name = arch ? arch : type;
    size_t i = 0;

    while (i < SG_COUNT_OF(families) &&
           !(arch ? is_of(arch, families[i].name) : type && strcmp(type, families[i].type) == 0))
        i++;
    *found = i < SG_COUNT_OF(families);
    if (!*found)
        return SG_OK;
    sg_encoder *e = m->encoder = sg_arena_alloc(m->arena, sizeof *e);
    m->info.architecture = sg_arena_strdup(m->arena, name);
    if (!e || !m->info.architecture)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    e->arena = m->arena;
    SG_TRY(families[i].fill(e, config, name, path, err));
    SG_TRY(read_labels(m, config, path, err));
    if (e->conv) {
        const sg_dim named = e->n_labels;
        m->info.family = m->arch.family = families[i].family;
        SG_TRY(sg_conv_sizes(m, path, err));
        return !e->labels || named == e->n_labels
                   ? SG_OK
                   : sg_fail(err, SG_EFORMAT, "%s: num_labels is %lld, id2label has %lld", path,
                             (long long)e->n_labels, (long long)named);
    }
    e->tied = !json_is_false(json_object_get(config, "tie_word_embeddings"));
    const sg_tower *t = &e->towers[0], *image = t->image ? t : e->n_towers > 1 ? &e->towers[1] : NULL;
    sg_model_info *in = &m->info;
    in->family = m->arch.family = families[i].family;
    in->n_layers = t->n_layers;
    in->d_model = t->d_model;
    in->n_heads = in->n_kv_heads = t->n_heads;
    in->d_head = t->d_head;
    in->d_mlp = t->d_mlp;
    in->n_vocab = t->n_vocab;
    in->n_context = t->image ? sg_tower_places(t) : t->n_places;
    in->tied = e->tied;
    if (image) {
        in->n_channels = image->channels;
        in->image_side = image->side;
    }
    return SG_OK;
}

/* ---- weights ---- */

static bool in_block(sg_part part)
{
    return part >= SG_P_NORM1 && part <= SG_P_SCALE2;
}

static sg_dim extent(const sg_tower *t, char letter)
{
    switch (letter) {
    case 'V':
        return t->n_vocab;
    case 'T':
        return t->n_places;
    case 'Y':
        return t->n_types;
    case 'D':
        return t->d_model;
    case 'F':
        return t->d_mlp;
    case 'G':
        return 2 * t->d_mlp;
    case 'C':
        return t->channels;
    case 'P':
        return t->patch;
    case 'R':
        return t->n_registers;
    case 'L':
        return t->n_labels;
    case 'E':
        return 2 * t->d_model;
    case 'J':
        return t->d_projection;
    default:
        return letter - '0';
    }
}

/* Files from before 2020 call a norm's gain gamma and its shift beta. */
static const sg_tensor *find_old(const sg_model *m, const char *name)
{
    char old[256];
    const char *end = strstr(name, "LayerNorm.weight") ? "weight" : strstr(name, "LayerNorm.bias") ? "bias" : NULL;
    const sg_tensor *t = sg_safetensors_find(m->file, name);

    if (t || !end)
        return t;
    snprintf(old, sizeof old, "%.*s%s", (int)(strlen(name) - strlen(end)), name, *end == 'w' ? "gamma" : "beta");
    return sg_safetensors_find(m->file, old);
}

/* The tensor of a part of a layer, NULL if there is none; `full` gets the name that it has in the graph. */
static const sg_tensor *find(const sg_model *m, const sg_tower *t, sg_part part, int layer, char full[256])
{
    const char *pattern = t->slots[part].name, *percent = strstr(pattern, "%d");
    const char *prefix = part < SG_P_FIRST_HEAD ? t->prefix : "";
    const size_t skip = strlen(prefix);

    if (percent)
        snprintf(full, 256, "%s%.*s%d%s", prefix, (int)(percent - pattern), pattern, layer, percent + 2);
    else
        snprintf(full, 256, "%s%s", prefix, pattern);
    const sg_tensor *found = find_old(m, full);
    if (!found && skip && (found = find_old(m, full + skip)))
        memmove(full, full + skip, strlen(full + skip) + 1);
    return found;
}

/* How many labels there are follows from the weights; a config that names them agrees. */
static sg_status count_labels(sg_model *m, sg_tower *t, const char *name, const sg_tensor *stored, sg_error *err)
{
    sg_encoder *e = m->encoder;
    const bool named = t->labels_of != SG_LABELS_OF_EACH || strncmp(name, "qa_", 3) != 0;

    if (stored->n_dims < 1 || stored->dims[0] < 1)
        return sg_fail(err, SG_EFORMAT, "%s: %s has no labels", m->info.path, name);
    if (named && e->labels && e->n_labels != stored->dims[0])
        return sg_fail(err, SG_EFORMAT, "%s: %s has %lld labels, id2label of config.json %lld", m->info.path, name,
                       (long long)stored->dims[0], (long long)e->n_labels);
    if (!named)
        e->labels = NULL;
    t->n_labels = e->n_labels = m->info.n_labels = stored->dims[0];
    return SG_OK;
}

static sg_status load_part(sg_model *m, sg_tower *t, sg_part part, int layer, sg_weight *w, bool *used, sg_error *err)
{
    const char *shape = t->slots[part].shape + (t->slots[part].shape[0] == '?');
    char full[256];
    sg_dim dims[SG_MAX_DIMS];
    const int n_dims = (int)strlen(shape);
    const sg_tensor *stored = find(m, t, part, layer, full);

    if (!stored)
        SG_TRY(sg_safetensors_get(&stored, m->file, full, err)); /* says what is wrong with it, or which name is near */
    w->name = sg_arena_strdup(m->arena, full);
    if (!w->name)
        return sg_fail(err, SG_ENOMEM, "out of memory for weights");
    for (int i = 0; i < sg_safetensors_count(m->file); i++)
        if (sg_safetensors_at(m->file, i) == stored)
            used[i] = true;
    if (strchr(shape, 'L') && !t->n_labels)
        SG_TRY(count_labels(m, t, full, stored, err));
    for (int k = 0; k < n_dims; k++)
        dims[k] = extent(t, shape[k]);
    if (part == SG_P_TOKEN || part == SG_P_PATCH)
        m->info.stored = stored->dtype;
    return sg_weight_load(m, stored, n_dims, dims, false, w, err);
}

/* Whether a part is to be loaded: those that are optional where the file has them. */
static bool is_there(const sg_model *m, const sg_tower *t, sg_part part)
{
    char full[256];

    if (!t->slots[part].name || (part == SG_P_UNEMBED && m->encoder->tied))
        return false;
    return t->slots[part].shape[0] != '?' || find(m, t, part, 0, full);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0;
}

/* A tensor that has no place would be one whose numbers are silently not used. */
static sg_status check_used(const sg_model *m, const bool *used, sg_error *err)
{
    const sg_encoder *e = m->encoder;
    char tied[256];

    for (int i = 0; i < sg_safetensors_count(m->file); i++) {
        const char *name = sg_safetensors_name(m->file, i);
        bool known = used[i];
        for (const char *const *end = e->unused; *end && !known; end++)
            known = ends_with(name, *end);
        for (int k = 0; k < e->n_towers && !known; k++) { /* a copy of the embedding */
            const sg_tower *t = &e->towers[k];
            known =
                e->tied && t->slots[SG_P_UNEMBED].name && find(m, t, SG_P_UNEMBED, 0, tied) && strcmp(name, tied) == 0;
        }
        if (!known)
            return sg_fail(err, SG_EFORMAT, "%s: the tensor %.160s has no place in a model of the family %s (%s)",
                           m->info.path, name, m->info.family, m->info.architecture);
    }
    return SG_OK;
}

sg_status sg_encoder_load(sg_model *m, sg_error *err)
{
    sg_encoder *e = m->encoder;
    size_t n = 0;

    if (e->conv)
        return sg_conv_load(m, err);
    for (int k = 0; k < e->n_towers; k++)
        for (int part = 0; part < SG_N_PARTS; part++)
            if (is_there(m, &e->towers[k], (sg_part)part))
                n += in_block((sg_part)part) ? (size_t)e->towers[k].n_layers : 1;
    e->weights = sg_arena_array(m->arena, n + 1, sizeof *e->weights);
    bool *used = sg_arena_array(m->arena, (size_t)sg_safetensors_count(m->file) + 1, sizeof *used);
    if (!e->weights || !used)
        return sg_fail(err, SG_ENOMEM, "out of memory for weights");
    for (int k = 0; k < e->n_towers; k++) {
        sg_tower *t = &e->towers[k];
        for (int part = 0; part < SG_N_PARTS; part++) {
            if (!is_there(m, t, (sg_part)part))
                continue;
            t->weights[part] = e->weights + e->n_weights;
            const int layers = in_block((sg_part)part) ? (int)t->n_layers : 1;
            for (int i = 0; i < layers; i++)
                SG_TRY(load_part(m, t, (sg_part)part, i, &e->weights[e->n_weights++], used, err));
        }
    }
    m->info.task = e->n_towers == 2 ? SG_TASK_MATCH
                   : e->towers[0].weights[SG_P_LABELS]
                       ? e->towers[0].labels_of == SG_LABELS_OF_EACH ? SG_TASK_LABEL_EACH : SG_TASK_LABEL
                   : e->towers[0].weights[SG_P_UNEMBED_BIAS] ? SG_TASK_MASKED
                                                             : SG_TASK_EMBED;
    return check_used(m, used, err);
}

const char *sg_model_label(const sg_model *m, sg_dim i)
{
    return m->encoder && m->encoder->labels && i >= 0 && i < m->encoder->n_labels ? m->encoder->labels[i] : NULL;
}
