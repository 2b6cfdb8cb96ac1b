/* Convolutional networks: sizes, weights, and files that have weights alone. */
#include "models/conv.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

sg_conv_layer *sg_conv_add(sg_arena *arena, sg_conv_net *net, sg_conv_layer layer)
{
    if ((net->n_layers & (net->n_layers - 1)) == 0) { /* room for twice as many */
        sg_conv_layer *more = sg_arena_array(arena, (size_t)SG_MAX(net->n_layers, 1) * 2, sizeof *more);
        if (!more)
            return NULL;
        if (net->n_layers)
            memcpy(more, net->layers, (size_t)net->n_layers * sizeof *more);
        net->layers = more;
    }
    layer.from = net->n_layers - 1;
    net->layers[net->n_layers] = layer;
    return &net->layers[net->n_layers++];
}

/* ---- sizes ---- */

static sg_status size_of(const sg_conv_net *net, sg_conv_layer *l, const char *path, sg_error *err)
{
    const sg_conv_layer *from = l->from >= 0 ? &net->layers[l->from] : NULL;
    const char *name = l->name ? l->name : "the last layer";

    l->in_channels = from ? from->channels : net->channels;
    l->in_side = from ? from->side : net->side;
    if (l->kind == SG_CONV_DENSE) {
        l->in_channels *= l->in_side ? l->in_side * l->in_side : 1;
        l->side = 0;
        return SG_OK;
    }
    if (!l->in_side)
        return sg_fail(err, SG_EFORMAT, "%s: %s reads a map, and what comes before it is a vector", path, name);
    if (l->kind == SG_CONV_SUM) {
        const sg_conv_layer *with = l->with >= 0 ? &net->layers[l->with] : NULL;
        const sg_dim channels = with ? with->channels : net->channels, side = with ? with->side : net->side;
        l->side = l->in_side;
        l->channels = l->in_channels;
        if (channels > l->channels || (l->channels - channels) % 2 || side < l->side || side % l->side)
            return sg_fail(err, SG_EFORMAT, "%s: %s adds a map of %lldx%lldx%lld to one of %lldx%lldx%lld", path, name,
                           (long long)channels, (long long)side, (long long)side, (long long)l->channels,
                           (long long)l->side, (long long)l->side);
        return SG_OK;
    }
    if (l->kind == SG_CONV_GLOBAL) {
        l->channels = l->in_channels;
        l->side = 0;
        return SG_OK;
    }
    if (l->kind != SG_CONV_CONV || l->depthwise)
        l->channels = l->in_channels;
    const sg_dim padded = l->in_side + 2 * SG_MAX(l->pad, 0);
    l->side = l->pad < 0 ? (l->in_side + l->stride - 1) / l->stride : (padded - l->kernel) / l->stride + 1;
    if (l->kernel > (l->pad < 0 ? l->in_side + l->kernel - 1 : padded))
        return sg_fail(err, SG_EFORMAT, "%s: %s has a window of %lld over %lld pixels", path, name,
                       (long long)l->kernel, (long long)padded);
    return SG_OK;
}

sg_status sg_conv_sizes(sg_model *m, const char *path, sg_error *err)
{
    sg_conv_net *net = m->encoder->conv;
    sg_model_info *in = &m->info;

    for (int i = 0; i < net->n_layers; i++) {
        SG_TRY(size_of(net, &net->layers[i], path, err));
        in->n_layers += net->layers[i].kind == SG_CONV_CONV || net->layers[i].kind == SG_CONV_DENSE;
    }
    const sg_conv_layer *last = &net->layers[net->n_layers - 1];
    in->d_model = last->in_channels;
    in->n_channels = net->channels;
    in->image_side = net->side;
    in->n_labels = m->encoder->n_labels = last->channels;
    in->task = SG_TASK_LABEL;
    return SG_OK;
}

/* ---- weights ---- */

static int shape_of(const sg_conv_net *net, const sg_conv_layer *l, sg_conv_weight which, sg_dim dims[4])
{
    const sg_dim in = l->depthwise ? 1 : l->in_channels;

    if (which != SG_CONV_WEIGHT) {
        dims[0] = l->channels;
        return 1;
    }
    if (l->kind == SG_CONV_DENSE) {
        dims[0] = l->channels;
        dims[1] = net->channels_last ? 1 : in;
        dims[2] = 1;
        dims[3] = in;
        return net->channels_last ? 4 : 2;
    }
    dims[0] = net->channels_last && l->depthwise ? 1 : l->channels;
    dims[1] = net->channels_last ? l->kernel : in;
    dims[2] = l->kernel;
    dims[3] = net->channels_last ? (l->depthwise ? l->channels : in) : l->kernel;
    return 4;
}

/* The weight as the graph reads it: [out,in,rows,columns], [out,in] of dense layers. */
static sg_status turn(sg_model *m, const sg_conv_layer *l, sg_weight *w, sg_error *err)
{
    const sg_dim out = l->channels, in = l->depthwise ? 1 : l->in_channels, k = l->kernel,
                 each = (sg_dim)sg_dtype_bytes(w->tensor.dtype);
    const bool dense = l->kind == SG_CONV_DENSE;
    sg_tensor to = dense ? sg_tensor_of(w->tensor.dtype, 2, (sg_dim[]){out, in}, NULL)
                         : sg_tensor_of(w->tensor.dtype, 4, (sg_dim[]){out, in, k, k}, NULL);

    if (w->tensor.data && !dense) {
        char *room = sg_arena_array(m->arena, (size_t)sg_tensor_count(&to), (size_t)each);
        const char *from = w->tensor.data;
        if (!room)
            return sg_fail(err, SG_ENOMEM, "out of memory for %s", w->name);
        for (sg_dim o = 0; o < out; o++)
            for (sg_dim i = 0; i < in; i++)
                for (sg_dim at = 0; at < k * k; at++) {
                    const sg_dim source = l->depthwise ? at * out + o : (o * k * k + at) * in + i;
                    memcpy(room + ((o * in + i) * k * k + at) * each, from + source * each, (size_t)each);
                }
        to.data = room;
    } else {
        to.data = w->tensor.data;
    }
    w->tensor = to;
    return SG_OK;
}

static sg_status room_for_weights(sg_model *m, sg_error *err)
{
    sg_encoder *e = m->encoder;
    const size_t most = (size_t)e->conv->n_layers * SG_N_CONV_WEIGHTS + 1;

    e->weights = sg_arena_array(m->arena, most, sizeof *e->weights);
    return e->weights ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for weights");
}

sg_status sg_conv_load(sg_model *m, sg_error *err)
{
    sg_encoder *e = m->encoder;
    const int count = sg_safetensors_count(m->file);
    bool *used = sg_arena_array(m->arena, (size_t)count + 1, sizeof *used);

    SG_TRY(room_for_weights(m, err));
    if (!used)
        return sg_fail(err, SG_ENOMEM, "out of memory for weights");
    for (int i = 0; i < e->conv->n_layers; i++)
        for (int k = 0; k < SG_N_CONV_WEIGHTS; k++) {
            sg_conv_layer *l = &e->conv->layers[i];
            sg_weight *w = l->bound[k] = &e->weights[e->n_weights];
            const sg_tensor *stored;
            sg_dim dims[4];
            if (!l->weights[k]) {
                l->bound[k] = NULL;
                continue;
            }
            SG_TRY(sg_safetensors_get(&stored, m->file, l->weights[k], err));
            for (int t = 0; t < count; t++)
                used[t] |= sg_safetensors_at(m->file, t) == stored;
            if (!(w->name = sg_arena_strdup(m->arena, l->weights[k])))
                return sg_fail(err, SG_ENOMEM, "out of memory for weights");
            const int n_dims = shape_of(e->conv, l, (sg_conv_weight)k, dims);
            if (i == 0 && k == SG_CONV_WEIGHT)
                m->info.stored = stored->dtype;
            SG_TRY(sg_weight_load(m, stored, n_dims, dims, false, w, err));
            if (k == SG_CONV_WEIGHT && e->conv->channels_last)
                SG_TRY(turn(m, l, w, err));
            e->n_weights++;
        }
    for (int t = 0; t < count; t++)
        if (!used[t])
            return sg_fail(err, SG_EFORMAT, "%s: the tensor %.160s has no place in a model of the family %s",
                           m->info.path, sg_safetensors_name(m->file, t), m->info.family);
    return SG_OK;
}

sg_status sg_conv_name_weights(sg_model *m, sg_error *err)
{
    sg_encoder *e = m->encoder;

    SG_TRY(room_for_weights(m, err));
    for (int i = 0; i < e->conv->n_layers; i++)
        for (int k = 0; k < SG_N_CONV_WEIGHTS; k++) {
            sg_conv_layer *l = &e->conv->layers[i];
            sg_dim dims[4];
            if (!l->weights[k])
                continue;
            sg_weight *w = l->bound[k] = &e->weights[e->n_weights++];
            if (!(w->name = sg_arena_strdup(m->arena, l->weights[k])))
                return sg_fail(err, SG_ENOMEM, "out of memory for weights");
            const int n_dims = shape_of(e->conv, l, (sg_conv_weight)k, dims);
            w->tensor = sg_tensor_of(m->opts.dtype, n_dims, dims, NULL);
            m->info.n_parameters += sg_tensor_count(&w->tensor);
            m->info.weight_bytes += sg_tensor_bytes(&w->tensor);
        }
    m->info.stored = m->opts.dtype;
    return SG_OK;
}

sg_status sg_conv_preprocess(sg_model *m, sg_error *err)
{
    return sg_preprocess_stretch(m, m->encoder->conv->mean, m->encoder->conv->deviation, err);
}

/* ---- files with weights alone ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0;
}

/* The only safetensors file of a folder, in the arena; NULL: there is none, or several. */
static sg_status only_file(sg_model *m, const char *dir, const char **out, sg_error *err)
{
    const char *only = NULL;
    int n = 0;
    DIR *d = opendir(dir);

    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        if (ends_with(entry->d_name, ".safetensors") && n++ == 0)
            only = sg_arena_printf(m->arena, "%s%s%s", dir, ends_with(dir, "/") ? "" : "/", entry->d_name);
    if (d)
        closedir(d);
    *out = n == 1 ? only : NULL;
    return n && !only ? sg_fail(err, SG_ENOMEM, "out of memory for a model") : SG_OK;
}

/* Labels from a text file, a line each, where one lies beside the weights. */
static sg_status labels_beside(sg_model *m, const char *file, sg_error *err)
{
    static const char *const names[] = {"labels.txt", "imagenet_labels.txt", "images/imagenet_labels.txt"};
    sg_encoder *e = m->encoder;
    const char *slash = strrchr(file, '/');
    const int n_dir = slash ? (int)(slash - file) + 1 : 0;
    FILE *f = NULL;
    char line[512];

    for (size_t i = 0; i < SG_COUNT_OF(names) && !f; i++) {
        const char *path = sg_arena_printf(m->arena, "%.*s%s", n_dir, file, names[i]);
        f = path ? fopen(path, "rb") : NULL;
    }
    if (!f)
        return SG_OK;
    const char **labels = sg_arena_array(m->arena, (size_t)e->n_labels, sizeof *labels);
    sg_dim n = 0;
    bool whole = labels != NULL;
    while (whole && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        whole = n < e->n_labels && (labels[n++] = sg_arena_strdup(m->arena, line));
    }
    fclose(f);
    if (!labels)
        return sg_fail(err, SG_ENOMEM, "out of memory for labels");
    if (whole && n == e->n_labels) /* a list of another length is of another network */
        e->labels = labels;
    return SG_OK;
}

sg_status sg_conv_open(sg_model *m, const char *path, bool *found, sg_error *err)
{
    static const struct {
        const char *family, *architecture;
        sg_conv_fill fill;
    } known[] = {{"mobilenet_v2", "MobileNetV2", sg_conv_mobilenet}, {"resnet_cifar", "ResNetCifar", sg_conv_resnet}};
    struct stat there;

    *found = false;
    if (stat(path, &there) != 0)
        return SG_OK;
    if (S_ISDIR(there.st_mode)) {
        const char *config = sg_arena_printf(m->arena, "%s/config.json", path), *file = NULL;
        if (!config)
            return sg_fail(err, SG_ENOMEM, "out of memory for a model");
        if (stat(config, &there) == 0)
            return SG_OK;
        SG_TRY(only_file(m, path, &file, err));
        if (!file)
            return SG_OK;
        path = file;
    } else if (!ends_with(path, ".safetensors")) {
        return SG_OK;
    }
    SG_TRY(sg_safetensors_open(&m->file, path, err));
    sg_encoder *e = sg_arena_alloc(m->arena, sizeof *e);
    m->info.path = sg_arena_strdup(m->arena, path);
    if (!e || !m->info.path || !(e->conv = sg_arena_alloc(m->arena, sizeof *e->conv)))
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    for (size_t i = 0; i < SG_COUNT_OF(known) && !*found; i++) {
        m->info.family = m->arch.family = known[i].family;
        m->info.architecture = known[i].architecture;
        m->encoder = e;
        SG_TRY(known[i].fill(e->conv, m, found, err));
    }
    if (!*found) {
        m->encoder = NULL;
        const char *slash = strrchr(path, '/');
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%.*sconfig.json: No such file; weights alone are read of mobilenet_v2 and resnet_cifar, and "
                       "those in %s are named otherwise",
                       slash ? (int)(slash - path) + 1 : 0, path, path);
    }
    m->info.bos = -1;
    SG_TRY(sg_conv_sizes(m, path, err));
    SG_TRY(sg_conv_preprocess(m, err));
    SG_TRY(sg_conv_load(m, err));
    return e->labels ? SG_OK : labels_beside(m, path, err);
}
