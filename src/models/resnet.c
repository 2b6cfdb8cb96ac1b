/* resnet_cifar: the residual networks that He et al. 2015 trained on CIFAR-10 (section 4.2), with the names that
 * PyTorch gives their weights: three stages of blocks of two convolutions, a norm behind each, shortcuts without
 * weights. */
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

static const char *const cifar10[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                      "dog",      "frog",       "horse", "ship", "truck"};

/* A convolution `name` with the norm `norm`. */
static sg_status add_conv(sg_conv_net *net, sg_model *m, const char *name, const char *norm, sg_dim stride,
                          sg_conv_act act, sg_error *err)
{
    static const char *const ends[] = {".weight", ".bias", ".running_mean", ".running_var"};
    sg_conv_layer l = {.kind = SG_CONV_CONV, .act = act, .stride = stride};
    const sg_tensor *w;
    bool ok =
        (l.name = sg_arena_strdup(m->arena, name)) && (l.weights[0] = sg_arena_printf(m->arena, "%s.weight", name));

    for (int i = 0; i < 4; i++)
        ok = ok && (l.weights[SG_CONV_NORM_GAIN + i] = sg_arena_printf(m->arena, "%s%s", norm, ends[i]));
    if (!ok)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    SG_TRY(sg_safetensors_get(&w, m->file, l.weights[0], err));
    if (w->n_dims != 4)
        return sg_fail(err, SG_EFORMAT, "%s: %s has not four axes", m->info.path, l.weights[0]);
    l.channels = w->dims[0];
    l.kernel = w->dims[2];
    l.pad = l.kernel / 2;
    return sg_conv_add(m->arena, net, l) ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a model");
}

static sg_status add_block(sg_conv_net *net, sg_model *m, int stage, int block, sg_error *err)
{
    char conv[64], norm[64];
    const int began = net->n_layers - 1;

    snprintf(conv, sizeof conv, "layer%d.%d.conv1", stage, block);
    snprintf(norm, sizeof norm, "layer%d.%d.bn1", stage, block);
    SG_TRY(add_conv(net, m, conv, norm, stage > 1 && block == 0 ? 2 : 1, SG_CONV_RELU, err));
    snprintf(conv, sizeof conv, "layer%d.%d.conv2", stage, block);
    snprintf(norm, sizeof norm, "layer%d.%d.bn2", stage, block);
    SG_TRY(add_conv(net, m, conv, norm, 1, SG_CONV_LINEAR, err));
    const sg_conv_layer sum = {.kind = SG_CONV_SUM,
                               .act = SG_CONV_RELU,
                               .with = began,
                               .name = sg_arena_printf(m->arena, "layer%d.%d", stage, block)};
    return sum.name && sg_conv_add(m->arena, net, sum) ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a model");
}

sg_status sg_conv_resnet(sg_conv_net *net, sg_model *m, bool *is_it, sg_error *err)
{
    char name[64];
    const sg_tensor *labels = sg_safetensors_find(m->file, "linear.weight");

    *is_it = labels && sg_safetensors_find(m->file, "layer3.0.conv2.weight") &&
             sg_safetensors_find(m->file, "bn1.running_var") && labels->n_dims == 2;
    if (!*is_it)
        return SG_OK;
    *net = (sg_conv_net){
        .channels = 3, .side = 32, .eps = 1e-5, .mean = {.485, .456, .406}, .deviation = {.229, .224, .225}};
    SG_TRY(add_conv(net, m, "conv1", "bn1", 1, SG_CONV_RELU, err));
    for (int stage = 1; stage <= 3; stage++)
        for (int block = 0;; block++) {
            snprintf(name, sizeof name, "layer%d.%d.conv1.weight", stage, block);
            if (!sg_safetensors_find(m->file, name))
                break;
            SG_TRY(add_block(net, m, stage, block, err));
        }
    const sg_conv_layer rest[] = {
        {.kind = SG_CONV_GLOBAL, .name = "pool"},
        {.kind = SG_CONV_DENSE, .channels = labels->dims[0], .weights = {"linear.weight", "linear.bias"}}};
    for (size_t i = 0; i < SG_COUNT_OF(rest); i++)
        if (!sg_conv_add(m->arena, net, rest[i]))
            return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    if (labels->dims[0] == (sg_dim)SG_COUNT_OF(cifar10)) {
        m->encoder->labels = (const char **)(uintptr_t)cifar10;
        m->encoder->n_labels = labels->dims[0];
    }
    return SG_OK;
}
