/* The graph of a convolutional network. A layer NAME has the values NAME.pre, before its activation if it has one, and
 * NAME.out; what pools is NAME.pooled, a sum NAME.sum_pre and NAME.sum. Edits take channels for heads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"
#include "sightglass/image.h"

#define MAP    "bhdd"
#define VECTOR "bd"

typedef struct build {
    sg_graph *g;
    const sg_model *m;
    const sg_conv_net *net;
    const sg_conv_layer *l;
    bool measured;
    sg_dim images;
} build;

static sg_value *name(build *b, sg_value *v, const char *what)
{
    char text[160];

    snprintf(text, sizeof text, "%s.%s", b->l->name, what);
    return sg_name(b->g, v, text, sg_value_n_dims(v) == 4 ? MAP : VECTOR);
}

/* Weights start as He et al. 2015 have it, so that activations keep their size. */
static sg_value *weight(build *b, sg_conv_weight which)
{
    const sg_weight *w = b->l->bound[which];
    const bool rises = b->l->act != SG_CONV_LINEAR;

    if (!w)
        return NULL;
    sg_dim fan = 1;
    for (int k = 1; k < w->tensor.n_dims; k++)
        fan *= w->tensor.dims[k];
    const sg_init init = which == SG_CONV_WEIGHT ? sg_init_normal(sqrt((rises ? 2.0 : 1.0) / (double)fan))
                         : which == SG_CONV_NORM_GAIN || which == SG_CONV_NORM_VAR ? sg_init_constant(1)
                                                                                   : sg_init_constant(0);
    return sg_variable(b->g, w->name, w->tensor.dtype, w->tensor.n_dims, w->tensor.dims, init);
}

/* Zeros before and after along an axis of n pixels. */
static void padding(const sg_conv_layer *l, sg_dim *before, sg_dim *after)
{
    const sg_dim all = SG_MAX((l->side - 1) * l->stride + l->kernel - l->in_side, 0);

    before[0] = before[1] = l->pad < 0 ? all / 2 : l->pad;
    after[0] = after[1] = l->pad < 0 ? all - all / 2 : l->pad;
}

static sg_value *pool(build *b, sg_value *x)
{
    sg_pool2d_opts o = sg_pool2d_strided(b->l->kernel, b->l->stride);

    padding(b->l, o.before, o.after);
    o.count_padding = false;
    return b->l->kind == SG_CONV_MAX ? sg_max_pool2d(b->g, x, o) : sg_avg_pool2d(b->g, x, o);
}

static sg_value *shortcut(build *b, sg_value *x, const sg_conv_layer *from)
{
    const sg_dim channels = from ? from->channels : b->net->channels, side = from ? from->side : b->net->side;
    const sg_dim step = side / b->l->side, missing = b->l->channels - channels;

    for (int axis = 2; axis < 4 && step > 1; axis++)
        x = sg_slice(b->g, x, axis, 0, side, step);
    return missing ? sg_pad(b->g, x, 1, missing / 2, missing / 2, 0, 0) : x;
}

static sg_value *norm(build *b, sg_value *x)
{
    sg_graph *g = b->g;
    const sg_conv_layer *l = b->l;

    if (b->measured) {
        sg_batch_stats stats;
        x = sg_batch_norm(g, x, weight(b, SG_CONV_NORM_GAIN), weight(b, SG_CONV_NORM_SHIFT), sg_conv_eps(b->net), &stats);
        char text[160];
        snprintf(text, sizeof text, "%s.batch_mean", l->name ? l->name : "labels");
        sg_name(g, stats.mean, text, "d");
        snprintf(text, sizeof text, "%s.batch_var", l->name ? l->name : "labels");
        sg_name(g, stats.var, text, "d");
        return x;
    }
    if (!l->bound[SG_CONV_NORM_MEAN])
        return x;
    return sg_batch_norm_given(g, x, weight(b, SG_CONV_NORM_MEAN), weight(b, SG_CONV_NORM_VAR),
                               weight(b, SG_CONV_NORM_GAIN), weight(b, SG_CONV_NORM_SHIFT), b->net->eps);
}

static sg_value *activated(build *b, sg_value *x, const char *before)
{
    if (b->l->act == SG_CONV_LINEAR || !b->l->name)
        return x;
    x = name(b, x, before);
    return b->l->act == SG_CONV_RELU ? sg_relu(b->g, x) : sg_clamp(b->g, x, 0, 6);
}

static sg_value *layer(build *b, sg_value *x, sg_value *with)
{
    sg_graph *g = b->g;
    const sg_conv_layer *l = b->l;

    switch (l->kind) {
    case SG_CONV_MAX:
    case SG_CONV_MEAN:
        return name(b, pool(b, x), "pooled");
    case SG_CONV_GLOBAL:
        return name(b, sg_global_avg_pool2d(g, x), "pooled");
    case SG_CONV_SUM:
        x = sg_add(g, x, shortcut(b, with, l->with >= 0 ? &b->net->layers[l->with] : NULL));
        return name(b, activated(b, x, "sum_pre"), "sum");
    case SG_CONV_CONV: {
        sg_conv2d_opts o = sg_conv2d_defaults();
        o.stride[0] = o.stride[1] = l->stride;
        o.groups = l->depthwise ? l->channels : 1;
        padding(l, o.before, o.after);
        x = sg_conv2d(g, x, weight(b, SG_CONV_WEIGHT), weight(b, SG_CONV_BIAS), o);
        break;
    }
    case SG_CONV_DENSE:
        if (sg_value_n_dims(x) == 4)
            x = sg_reshape(g, x, 2, (sg_dim[]){b->images, l->in_channels});
        x = sg_linear(g, x, weight(b, SG_CONV_WEIGHT), weight(b, SG_CONV_BIAS));
        break;
    }
    if (!l->name)
        return sg_name(g, x, "class_logits", VECTOR);
    return name(b, activated(b, norm(b, x), "pre"), "out");
}

sg_status sg_conv_graph(sg_graph **out, const sg_model *m, bool measured, sg_error *err)
{
    const sg_conv_net *net = m->encoder->conv;
    sg_graph *g = sg_graph_new();
    build b = {.g = g, .m = m, .net = net, .measured = measured};
    sg_value **values = calloc((size_t)net->n_layers, sizeof *values);

    if (!g || !values) {
        sg_graph_free(g);
        free(values);
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    }
    b.images = sg_extent(g, "images");
    sg_value *pixels =
        sg_input(g, "pixels", m->opts.dtype, 4, (sg_dim[]){b.images, net->channels, net->side, net->side});
    sg_name(g, pixels, "pixels", MAP);
    for (int i = 0; i < net->n_layers; i++) {
        const sg_conv_layer *l = b.l = &net->layers[i];
        sg_scope(g, "%s", l->name ? l->name : "labels");
        values[i] = layer(&b, l->from >= 0 ? values[l->from] : pixels,
                          l->kind == SG_CONV_SUM && l->with >= 0 ? values[l->with] : pixels);
    }
    sg_scope(g, "%s", "");
    free(values);
    const sg_status status = sg_graph_status(g, err);
    if (status != SG_OK) {
        sg_graph_free(g);
        return status;
    }
    *out = g;
    return SG_OK;
}
