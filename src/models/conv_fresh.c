/* Convolutional networks whose weights are in memory: drawn, calibrated, saved. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/conv.h"
#include "sightglass/convnet.h"

static sg_status is_made(const sg_model *m, sg_error *err)
{
    if (!m->encoder || !m->encoder->conv)
        return sg_fail(err, SG_EARG, "%s is no convolutional network (family %s)", m->info.path, m->info.family);
    return m->file ? sg_fail(err, SG_EARG, "%s: the weights of an opened model stay as they are", m->info.path) : SG_OK;
}

/* Memory for the weights, with what a state draws. */
static sg_status draw(sg_model *m, uint64_t seed, sg_error *err)
{
    sg_graph *g;
    sg_state *s = NULL;

    SG_TRY(sg_conv_graph(&g, m, false, err));
    sg_status status = sg_state_new(&s, g, err);
    if (status == SG_OK)
        status = sg_state_init(s, seed, err);
    for (int i = 0; i < m->encoder->n_weights && status == SG_OK; i++) {
        sg_tensor *w = &m->encoder->weights[i].tensor;
        const sg_tensor *drawn = sg_state_tensor(s, sg_graph_find(g, m->encoder->weights[i].name));
        w->data = sg_arena_alloc(m->arena, SG_MAX(sg_tensor_bytes(w), 1));
        if (!w->data)
            status = sg_fail(err, SG_ENOMEM, "out of memory for weights");
        else
            memcpy(w->data, drawn->data, sg_tensor_bytes(w));
    }
    sg_state_free(s);
    sg_graph_free(g);
    return status;
}

static sg_status begin(sg_model **out, sg_error *err)
{
    sg_arena *arena = sg_arena_new();

    *out = arena ? sg_arena_alloc(arena, sizeof **out) : NULL;
    if (!*out) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    }
    (*out)->arena = arena;
    (*out)->opts = sg_model_defaults();
    return SG_OK;
}

static sg_status fill_new(sg_model *m, const char *config, uint64_t seed, sg_error *err)
{
    m->info.path = "convnet";
    SG_TRY(sg_config_parse(m, config, strlen(config), m->info.path, err));
    SG_TRY(is_made(m, err));
    SG_TRY(sg_conv_name_weights(m, err));
    SG_TRY(sg_conv_preprocess(m, err));
    return draw(m, seed, err);
}

sg_status sg_convnet_new(sg_model **out, const char *config, uint64_t seed, sg_error *err)
{
    sg_model *m;

    *out = NULL;
    SG_TRY(begin(&m, err));
    const sg_status status = fill_new(m, config, seed, err);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

static sg_status fill_fresh(sg_model *m, const sg_model *like, uint64_t seed, sg_error *err)
{
    m->opts = like->opts;
    m->opts.only_sizes = false;
    m->info = like->info;
    m->info.n_parameters = 0;
    m->info.weight_bytes = m->info.unread_bytes = m->info.converted_bytes = 0;
    m->arch = like->arch;
    m->encoder = sg_arena_alloc(m->arena, sizeof *m->encoder);
    sg_conv_net *net = sg_arena_alloc(m->arena, sizeof *net);
    if (!m->encoder || !net)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    *m->encoder = *like->encoder;
    *net = *like->encoder->conv;
    net->layers = sg_arena_array(m->arena, (size_t)net->n_layers, sizeof *net->layers);
    if (!net->layers)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    memcpy(net->layers, like->encoder->conv->layers, (size_t)net->n_layers * sizeof *net->layers);
    net->channels_last = false; /* as the graph reads them */
    m->encoder->conv = net;
    m->encoder->n_weights = 0;
    SG_TRY(sg_conv_name_weights(m, err));
    return draw(m, seed, err);
}

sg_status sg_convnet_fresh(sg_model **out, const sg_model *like, uint64_t seed, sg_error *err)
{
    sg_model *m;

    *out = NULL;
    if (!like->encoder || !like->encoder->conv)
        return sg_fail(err, SG_EARG, "%s is no convolutional network (family %s)", like->info.path, like->info.family);
    SG_TRY(begin(&m, err));
    const sg_status status = fill_fresh(m, like, seed, err);
    if (status != SG_OK) {
        sg_model_close(m);
        return status;
    }
    *out = m;
    return SG_OK;
}

/* ---- calibration ---- */

static void scale_rows(sg_tensor *w, const sg_tensor *var, double eps)
{
    const sg_dim n = w->dims[0], each = sg_tensor_count(w) / n;

    for (sg_dim i = 0; i < n; i++)
        for (sg_dim k = 0; k < each; k++)
            sg_tensor_set(w, i * each + k, sg_tensor_get(w, i * each + k) / sqrt(sg_tensor_get(var, i) + eps));
}

/* var is the unbiased estimate over n numbers. */
static void apply(sg_conv_layer *l, const sg_tensor *mean, sg_tensor *var, double n, double eps)
{
    for (sg_dim i = 0; i < var->dims[0]; i++) /* what the batch itself has is what it was divided by */
        sg_tensor_set(var, i, sg_tensor_get(var, i) * (n - 1) / n);
    if (l->bound[SG_CONV_NORM_MEAN]) {
        memcpy(l->bound[SG_CONV_NORM_MEAN]->tensor.data, mean->data, sg_tensor_bytes(mean));
        memcpy(l->bound[SG_CONV_NORM_VAR]->tensor.data, var->data, sg_tensor_bytes(var));
        return;
    }
    sg_tensor *b = l->bound[SG_CONV_BIAS] ? &l->bound[SG_CONV_BIAS]->tensor : NULL;
    scale_rows(&l->bound[SG_CONV_WEIGHT]->tensor, var, eps);
    for (sg_dim i = 0; b && i < b->dims[0]; i++)
        sg_tensor_set(b, i, (sg_tensor_get(b, i) - sg_tensor_get(mean, i)) / sqrt(sg_tensor_get(var, i) + eps));
}

/* Mean and variance of each layer that has a name, in the order of layers. */
static sg_status measure(const sg_model *m, sg_session *session, const sg_graph *g, const sg_tensor *pixels,
                         sg_error *err)
{
    sg_conv_net *net = m->encoder->conv;
    sg_value **fetch = calloc(2 * (size_t)net->n_layers, sizeof *fetch);
    sg_tensor *out = calloc(2 * (size_t)net->n_layers, sizeof *out);
    int n = 0;
    char text[160];

    sg_status status = fetch && out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for statistics");
    for (int i = 0; i < net->n_layers && status == SG_OK; i++) {
        const char *name = net->layers[i].name;
        if (!name || !net->layers[i].bound[SG_CONV_WEIGHT])
            continue;
        snprintf(text, sizeof text, "%s.batch_mean", name);
        fetch[n++] = sg_graph_find(g, text);
        snprintf(text, sizeof text, "%s.batch_var", name);
        fetch[n++] = sg_graph_find(g, text);
    }
    const sg_feed feed = {sg_graph_find(g, "pixels"), *pixels};
    if (status == SG_OK && n)
        status = sg_session_run(session, 1, &feed, n, fetch, out, err);
    n = 0;
    for (int i = 0; i < net->n_layers && status == SG_OK; i++)
        if (net->layers[i].name && net->layers[i].bound[SG_CONV_WEIGHT]) { /* fetched numbers are ours to change */
            const sg_dim plane = net->layers[i].side ? net->layers[i].side * net->layers[i].side : 1;
            apply(&net->layers[i], &out[n], &out[n + 1], (double)(pixels->dims[0] * plane), sg_conv_eps(net));
            n += 2;
        }
    free(fetch);
    free(out);
    return status;
}

sg_status sg_convnet_calibrate(sg_model *m, const sg_tensor *pixels, sg_error *err)
{
    sg_graph *g;
    sg_state *s = NULL;
    sg_session *session = NULL;

    SG_TRY(is_made(m, err));
    SG_TRY(sg_conv_graph(&g, m, true, err));
    sg_status status = sg_state_new(&s, g, err);
    if (status == SG_OK)
        status = sg_model_bind(m, g, s, err);
    if (status == SG_OK)
        status = sg_state_init(s, 0, err);
    if (status == SG_OK)
        status = sg_session_new(&session, g, s, sg_exec_defaults(), err);
    if (status == SG_OK)
        status = measure(m, session, g, pixels, err);
    sg_session_free(session);
    sg_state_free(s);
    sg_graph_free(g);
    return status;
}

/* ---- saving ---- */

static sg_status save_weights(const sg_model *m, sg_arena *arena, sg_dtype stored, const char *dir, sg_error *err)
{
    const sg_encoder *e = m->encoder;
    sg_named_tensor *list = sg_arena_array(arena, (size_t)e->n_weights + 1, sizeof *list);
    const char *path = sg_arena_printf(arena, "%s/model.safetensors", dir);
    int n = 0;

    if (!list || !path)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    for (int pass = 0; pass < 2; pass++) /* wider types first, so that all are aligned */
        for (int i = 0; i < e->n_weights; i++) {
            sg_tensor t = e->weights[i].tensor;
            const bool converted = t.n_dims > 1 && t.dtype != stored;
            if (converted != (pass == 1))
                continue;
            if (converted) {
                void *room = sg_arena_array(arena, (size_t)sg_tensor_count(&t), sg_dtype_bytes(stored));
                if (!room)
                    return sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
                sg_convert(room, stored, t.data, t.dtype, sg_tensor_count(&t));
                t = sg_tensor_of(stored, t.n_dims, t.dims, room);
            }
            list[n++] = (sg_named_tensor){e->weights[i].name, t};
        }
    return sg_safetensors_save(path, list, n, &(sg_pair){"format", "pt"}, 1, err);
}

sg_status sg_convnet_save(const sg_model *m, sg_dtype stored, const char *dir, sg_error *err)
{
    SG_TRY(is_made(m, err));
    const char *config = m->encoder->conv->config;
    if (!config)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: a network of the family %s is not something that this version writes",
                       dir, m->info.family);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", dir, strerror(errno));
    sg_arena *arena = sg_arena_new();
    char *path = arena ? sg_arena_printf(arena, "%s/config.json", dir) : NULL;
    sg_writer *w = NULL;
    sg_status status =
        path ? save_weights(m, arena, stored, dir, err) : sg_fail(err, SG_ENOMEM, "%s: out of memory", dir);
    if (status == SG_OK)
        status = sg_writer_begin(&w, path, err);
    if (status == SG_OK) {
        fputs(config, sg_writer_stream(w)); /* a failed write leaves its mark on the stream, and commit looks at it */
        status = sg_writer_commit(w, err);
    }
    sg_arena_free(arena);
    return status;
}
