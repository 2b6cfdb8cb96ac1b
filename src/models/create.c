/* Models from nothing: a config without weights. The graph's variables say how each weight starts, a state holds it,
 * and saving writes what a state holds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/encoder.h"

sg_init sg_weight_init(const sg_model *m, sg_weight_role role)
{
    switch (role) {
    case SG_W_NORM1:
    case SG_W_NORM1_POST:
    case SG_W_NORM2:
    case SG_W_NORM2_POST:
    case SG_W_NORM_FINAL:
    case SG_W_Q_NORM:
    case SG_W_K_NORM:
        return sg_init_constant(1 - m->arch.norm_offset);
    case SG_W_O:
    case SG_W_DOWN:
        return sg_init_normal(m->arch.residual);
    case SG_W_EMBED:
    case SG_W_POSITION:
    case SG_W_Q:
    case SG_W_K:
    case SG_W_V:
    case SG_W_QKV:
    case SG_W_GATE:
    case SG_W_GATE_UP:
    case SG_W_UP:
    case SG_W_UNEMBED:
        return sg_init_normal(m->arch.deviation);
    default:
        return sg_init_constant(0);
    }
}

static sg_status name_weights(sg_model *m, sg_error *err)
{
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        if (!m->arch.names[role] || (m->arch.optional[role] && !m->arch.attention_bias) ||
            (role == SG_W_UNEMBED && m->info.tied))
            continue;
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        sg_weight *w = m->weights[role] = sg_arena_array(m->arena, (size_t)n, sizeof *w);
        for (int i = 0; w && i < n; i++) {
            sg_dim dims[2];
            const int n_dims = sg_weight_shape(m, (sg_weight_role)role, dims);
            w[i].tensor = sg_tensor_of(m->opts.dtype, n_dims, dims, NULL);
            w[i].name = sg_weight_name(m, (sg_weight_role)role, i);
            if (!w[i].name)
                return sg_fail(err, SG_ENOMEM, "out of memory for the names of weights");
            m->info.n_parameters += sg_tensor_count(&w[i].tensor);
            m->info.weight_bytes += sg_tensor_bytes(&w[i].tensor);
        }
        if (!w)
            return sg_fail(err, SG_ENOMEM, "out of memory for the names of weights");
    }
    m->info.stored = m->opts.dtype;
    return SG_OK;
}

static sg_status fill(sg_model *m, const char *config, const char *tokenizer, sg_error *err)
{
    SG_TRY(sg_file_open(&m->config, config, err));
    SG_TRY(sg_config_read(m, m->config, err));
    if (m->encoder)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: encoders (%s) are opened, and not made from nothing", config, m->info.family);
    m->info.path = sg_arena_strdup(m->arena, config);
    if (!m->info.path)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    SG_TRY(name_weights(m, err));
    if (!tokenizer)
        return SG_OK;
    SG_TRY(sg_file_open(&m->tokenizer_file, tokenizer, err));
    SG_TRY(sg_tokenizer_open(&m->tokenizer, tokenizer, err));
    if (sg_tokenizer_size(m->tokenizer) > m->info.n_vocab)
        return sg_fail(err, SG_EARG, "%s has %d ids, %s has a vocabulary of %lld", tokenizer,
                       sg_tokenizer_size(m->tokenizer), config, (long long)m->info.n_vocab);
    return SG_OK;
}

sg_status sg_model_new(sg_model **out, const char *config, const char *tokenizer, sg_model_opts opts, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_model *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;

    if (!m) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    m->arena = arena;
    m->opts = opts;
    const sg_status status = fill(m, config, tokenizer, err);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

static sg_status copy_encoder(sg_model *m, const sg_encoder *from, sg_error *err)
{
    sg_encoder *e = m->encoder = sg_arena_alloc(m->arena, sizeof *e);
    sg_weight *w = sg_arena_array(m->arena, (size_t)from->n_weights + 1, sizeof *w);

    if (!e || !w)
        return sg_fail(err, SG_ENOMEM, "out of memory for the names of weights");
    *e = *from;
    e->weights = w;
    for (int i = 0; i < e->n_weights; i++) {
        w[i] = from->weights[i];
        w[i].tensor.data = NULL;
    }
    for (int k = 0; k < e->n_towers; k++)
        for (int part = 0; part < SG_N_PARTS; part++)
            if (e->towers[k].weights[part])
                e->towers[k].weights[part] = w + (from->towers[k].weights[part] - from->weights);
    return SG_OK;
}

static sg_status copy_sizes(sg_model *m, const sg_model *from, sg_error *err)
{
    if (from->encoder)
        return copy_encoder(m, from->encoder, err);
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        if (!from->weights[role])
            continue;
        sg_weight *w = m->weights[role] = sg_arena_array(m->arena, (size_t)n, sizeof *w);
        if (!w)
            return sg_fail(err, SG_ENOMEM, "out of memory for the names of weights");
        for (int i = 0; i < n; i++) {
            w[i] = from->weights[role][i];
            w[i].tensor.data = NULL;
        }
    }
    return SG_OK;
}

sg_status sg_model_untrained(sg_model **out, const sg_model *from, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_model *m = arena ? sg_arena_alloc(arena, sizeof *m) : NULL;

    if (!m) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    m->arena = arena;
    m->opts = from->opts;
    m->info = from->info;
    m->arch = from->arch;
    const sg_status status = copy_sizes(m, from, err);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

sg_model_weight sg_model_get_weight(const sg_model *m, int i)
{
    if (m->encoder)
        return i < m->encoder->n_weights ? (sg_model_weight){.name = m->encoder->weights[i].name} : (sg_model_weight){.name = NULL};
    for (int role = 0; role < SG_N_WEIGHTS; role++) {
        const int n = sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1;
        if (!m->weights[role])
            continue;
        if (i < n)
            return (sg_model_weight){.name = m->weights[role][i].name,
                                     .decays = m->weights[role][i].tensor.n_dims == 2 && role != SG_W_EMBED &&
                                               role != SG_W_POSITION && role != SG_W_UNEMBED};
        i -= n;
    }
    return (sg_model_weight){.name = NULL};
}

/* ---- saving ---- */

static sg_status copy_file(const sg_file *file, const char *dir, const char *name, sg_error *err)
{
    char *path = malloc(strlen(dir) + strlen(name) + 2);
    sg_writer *w = NULL;
    if (!path)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sprintf(path, "%s/%s", dir, name);
    sg_status status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        const size_t bytes = sg_file_bytes(file);
        if (bytes) /* a failed write leaves its mark on the stream, and commit looks at it */
            fwrite(sg_file_data(file), 1, bytes, sg_writer_stream(w));
        status = sg_writer_commit(w, err);
    }
    free(path);
    return status;
}

/* Copies of the matrices in another type, which the arena keeps; vectors stay as they are. */
static sg_status convert_matrices(sg_arena *arena, sg_named_tensor *list, int n, sg_dtype stored, sg_error *err)
{
    for (int i = 0; i < n; i++) {
        sg_tensor *t = &list[i].tensor;
        if (t->n_dims < 2 || t->dtype == stored)
            continue;
        void *data = sg_arena_array(arena, (size_t)sg_tensor_count(t), sg_dtype_bytes(stored));
        if (!data)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", list[i].name);
        sg_convert(data, stored, t->data, t->dtype, sg_tensor_count(t));
        *t = sg_tensor_of(stored, t->n_dims, t->dims, data);
    }
    return SG_OK;
}

/* Wider types first, so that all are aligned. */
static int by_width(const void *a, const void *b)
{
    const sg_named_tensor *x = a, *y = b;
    const size_t wide = sg_dtype_bytes(x->tensor.dtype), other = sg_dtype_bytes(y->tensor.dtype);
    return wide != other ? (wide < other ? 1 : -1) : strcmp(x->name, y->name);
}

static sg_status save_weights(sg_arena *arena, const sg_model *m, const sg_graph *g, sg_state *s, const char *beside,
                              sg_dtype stored, const char *dir, sg_named_tensor *list, sg_error *err)
{
    char name[320];
    int n = 0;
    for (; sg_model_get_weight(m, n).name; n++) {
        list[n].name = sg_model_get_weight(m, n).name;
        snprintf(name, sizeof name, "%s%s", beside, list[n].name);
        const sg_value *v = sg_graph_find(g, name);
        const sg_tensor *t = v ? sg_state_tensor(s, v) : NULL;
        if (!t)
            return sg_fail(err, SG_EARG, "%s: the state has no %.200s", dir, name);
        list[n].tensor = *t;
    }
    SG_TRY(convert_matrices(arena, list, n, stored, err));
    if (stored != SG_F32)
        qsort(list, (size_t)n, sizeof *list, by_width);
    const char *path = sg_arena_printf(arena, "%s/model.safetensors", dir);
    if (!path)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    return sg_safetensors_save(path, list, n, &(sg_pair){"format", "pt"}, 1, err);
}

sg_status sg_model_save(const sg_model *m, const sg_graph *g, sg_state *s, const char *beside, sg_dtype stored,
                        const char *dir, sg_error *err)
{
    int n = 0;
    if (!m->config)
        return sg_fail(err, SG_EARG, "%s: only a model made by sg_model_new is saved", m->info.path);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    while (sg_model_get_weight(m, n).name)
        n++;
    sg_arena *arena = sg_arena_new();
    sg_named_tensor *list = arena ? sg_arena_array(arena, (size_t)SG_MAX(n, 1), sizeof *list) : NULL;
    sg_status status = list ? save_weights(arena, m, g, s, beside, stored, dir, list, err)
                            : sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sg_arena_free(arena);
    if (status == SG_OK)
        status = copy_file(m->config, dir, "config.json", err);
    if (status == SG_OK && m->tokenizer_file)
        status = copy_file(m->tokenizer_file, dir, "tokenizer.json", err);
    return status;
}

static sg_status copy_beside(const char *from, const char *name, const char *dir, bool needed, sg_error *err)
{
    sg_error quiet;
    sg_str path = {0};
    sg_file *file = NULL;

    sg_str_printf(&path, "%s/%s", from, name);
    if (path.failed)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sg_status status = sg_file_open(&file, path.text, needed ? err : &quiet);
    sg_str_free(&path);
    if (status != SG_OK)
        return needed ? status : SG_OK;
    status = copy_file(file, dir, name, err);
    sg_file_close(file);
    return status;
}

static sg_status write_weights(sg_arena *arena, const sg_model *m, sg_dtype stored, const char *dir, sg_error *err)
{
    int n = 0;

    while (sg_model_get_weight(m, n).name)
        n++;
    sg_named_tensor *list = sg_arena_array(arena, (size_t)n + 1, sizeof *list);
    const char *path = sg_arena_printf(arena, "%s/model.safetensors", dir);
    if (!list || !path)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    n = 0;
    for (int role = 0; role < SG_N_WEIGHTS; role++)
        for (int i = 0; m->weights[role] && i < (sg_weight_in_block((sg_weight_role)role) ? (int)m->info.n_layers : 1); i++) {
            if (!m->weights[role][i].tensor.data)
                return sg_fail(err, SG_EARG, "%s: its weights were not read", m->info.path);
            list[n++] = (sg_named_tensor){m->weights[role][i].name, m->weights[role][i].tensor};
        }
    SG_TRY(convert_matrices(arena, list, n, stored, err));
    qsort(list, (size_t)n, sizeof *list, by_width);
    return sg_safetensors_save(path, list, n, &(sg_pair){"format", "pt"}, 1, err);
}

/* The config as it was, with the biases that the model has got since. */
static sg_status write_config(const sg_model *m, const char *dir, sg_error *err)
{
    sg_str from = {0}, to = {0};
    json_error_t e;
    sg_writer *w;
    sg_str_printf(&from, "%s/config.json", m->info.path);
    sg_str_printf(&to, "%s/config.json", dir);
    json_t *config = from.failed || to.failed ? NULL : json_load_file(from.text, 0, &e);
    sg_status status = config ? SG_OK : sg_fail(err, SG_EIO, "%s: config.json cannot be read again", m->info.path);
    if (status == SG_OK && json_object_set_new(config, "attention_bias", json_true()) != 0)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    if (status == SG_OK)
        status = sg_writer_begin(&w, to.text, err);
    if (status == SG_OK) {
        json_dumpf(config, sg_writer_stream(w), JSON_INDENT(2));
        fputc('\n', sg_writer_stream(w));
        status = sg_writer_commit(w, err);
    }
    json_decref(config);
    sg_str_free(&from);
    sg_str_free(&to);
    return status;
}

sg_status sg_model_write(const sg_model *m, sg_dtype stored, const char *dir, sg_error *err)
{
    static const char *const beside[] = {"tokenizer.json",          "tokenizer_config.json", "special_tokens_map.json",
                                         "generation_config.json",  "vocab.json",            "merges.txt",
                                         "tokenizer.model",         "chat_template.jinja"};
    struct stat from, to;

    if (!m->file || m->gguf)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: only a model from a folder is written as one; convert it first", m->info.path);
    if (m->encoder)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: encoders are not something that this version writes", m->info.path);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    if (stat(m->info.path, &from) == 0 && stat(dir, &to) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return sg_fail(err, SG_EARG, "%s: the model is read from there; name another folder", dir);
    sg_arena *arena = sg_arena_new();
    sg_status status = arena ? write_weights(arena, m, stored, dir, err) : sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    sg_arena_free(arena);
    if (status == SG_OK)
        status = m->new_biases ? write_config(m, dir, err) : copy_beside(m->info.path, "config.json", dir, true, err);
    for (size_t i = 0; i < SG_COUNT_OF(beside) && status == SG_OK; i++)
        status = copy_beside(m->info.path, beside[i], dir, false, err);
    return status;
}
