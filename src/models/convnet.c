/* convnet: small convolutional networks, whose config.json lists their layers. */
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

#define MOST_LAYERS 256

static sg_status one_layer(sg_encoder *e, const json_t *config, const char *path, int numbers[3], sg_error *err)
{
    static const struct {
        const char *name;
        sg_conv_kind kind;
    } kinds[] = {{"conv", SG_CONV_CONV},      {"depthwise", SG_CONV_CONV},          {"max_pool", SG_CONV_MAX},
                 {"mean_pool", SG_CONV_MEAN}, {"global_mean_pool", SG_CONV_GLOBAL}, {"dense", SG_CONV_DENSE}};
    static const char *const acts[] = {"linear", "relu", "relu6"};
    const char *kind = json_string_value(json_object_get(config, "kind"));
    const char *act = json_string_value(json_object_get(config, "activation"));
    size_t k = 0, a = 0;

    while (k < SG_COUNT_OF(kinds) && (!kind || strcmp(kind, kinds[k].name) != 0))
        k++;
    if (k == SG_COUNT_OF(kinds))
        return sg_fail(
            err, SG_EFORMAT,
            "%s: a layer's kind is \"%.40s\", wanted conv, depthwise, max_pool, mean_pool, global_mean_pool or dense",
            path, kind ? kind : "");
    const bool weighs = kinds[k].kind == SG_CONV_CONV || kinds[k].kind == SG_CONV_DENSE;
    const bool conv = kinds[k].kind == SG_CONV_CONV, depthwise = k == 1;
    while (a < SG_COUNT_OF(acts) && strcmp(act ? act : "relu", acts[a]) != 0)
        a++;
    if (a == SG_COUNT_OF(acts))
        return sg_fail(err, SG_EFORMAT, "%s: a layer's activation is \"%.40s\", wanted relu, relu6 or linear", path,
                       act);
    sg_conv_layer l = {.kind = kinds[k].kind, .depthwise = depthwise, .act = weighs ? (sg_conv_act)a : SG_CONV_LINEAR};
    if (weighs && !depthwise)
        SG_TRY(sg_config_int(config, path, "channels", 1, 1 << 16, &l.channels, err));
    if (kinds[k].kind != SG_CONV_DENSE && kinds[k].kind != SG_CONV_GLOBAL) {
        SG_TRY(sg_config_int_or(config, path, "kernel", conv ? 3 : 2, 1, 1 << 10, &l.kernel, err));
        SG_TRY(sg_config_int_or(config, path, "stride", conv ? 1 : l.kernel, 1, 1 << 10, &l.stride, err));
        SG_TRY(sg_config_int_or(config, path, "padding", conv ? l.kernel / 2 : 0, 0, l.kernel - 1, &l.pad, err));
    }
    int *number = &numbers[conv ? 0 : weighs ? 1 : 2];
    l.name = sg_arena_printf(e->arena, "%s%d", conv ? "conv" : weighs ? "dense" : "pool", ++*number);
    if (weighs) {
        l.weights[SG_CONV_WEIGHT] = sg_arena_printf(e->arena, "%s.weight", l.name);
        l.weights[SG_CONV_BIAS] = sg_arena_printf(e->arena, "%s.bias", l.name);
    }
    if (!l.name || (weighs && (!l.weights[0] || !l.weights[1])) || !sg_conv_add(e->arena, e->conv, l))
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    return SG_OK;
}

/* The config as it was given, for saving. */
static sg_status keep_config(sg_encoder *e, const json_t *config, sg_error *err)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)config);

    json_object_del(copy, ""); /* where keys that were read are marked */
    char *text = copy ? json_dumps(copy, JSON_INDENT(2)) : NULL;
    e->conv->config = text ? sg_arena_printf(e->arena, "%s\n", text) : NULL;
    free(text);
    json_decref(copy);
    return e->conv->config ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a model");
}

sg_status sg_encoder_convnet(sg_encoder *e, const json_t *config, const char *architecture, const char *path,
                             sg_error *err)
{
    const json_t *layers = json_object_get(config, "layers");
    sg_conv_net *net = e->conv = sg_arena_alloc(e->arena, sizeof *net);
    int numbers[3] = {0};
    sg_dim n_labels;

    (void)architecture;
    if (!net)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    *net = (sg_conv_net){.deviation = {1, 1, 1}};
    SG_TRY(sg_config_int(config, path, "image_size", 1, 1 << 14, &net->side, err));
    SG_TRY(sg_config_int_or(config, path, "num_channels", 3, 1, 1 << 10, &net->channels, err));
    SG_TRY(sg_config_int(config, path, "num_labels", 1, 1 << 20, &n_labels, err));
    if (!json_is_array(layers) || json_array_size(layers) > MOST_LAYERS)
        return sg_fail(err, SG_EFORMAT, "%s: layers is not a list of up to %d layers", path, MOST_LAYERS);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        if (!json_is_object(json_array_get(layers, i)))
            return sg_fail(err, SG_EFORMAT, "%s: layer %zu is not an object", path, i + 1);
        SG_TRY(one_layer(e, json_array_get(layers, i), path, numbers, err));
    }
    const sg_conv_layer labels = {
        .kind = SG_CONV_DENSE, .channels = n_labels, .weights = {"labels.weight", "labels.bias"}};
    if (!sg_conv_add(e->arena, net, labels))
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    return keep_config(e, config, err);
}
