/* Convolutional networks of images: a list of layers, each of which reads earlier ones. As with other families a table
 * says everything: convnet.c fills it from a config.json, mobilenet.c and resnet.c from the names in a file of weights;
 * conv.c finds and checks the weights, conv_graph.c builds the graph. */
#ifndef SG_MODELS_CONV_H
#define SG_MODELS_CONV_H

#include "models/encoder.h"

typedef enum sg_conv_kind {
    SG_CONV_CONV,
    SG_CONV_MAX,    /* the greatest of a window */
    SG_CONV_MEAN,   /* the mean of one */
    SG_CONV_GLOBAL, /* of a whole map: [images,channels] */
    SG_CONV_DENSE,
    SG_CONV_SUM /* with an earlier layer, of which every second row and column is taken where it is larger, and to whose
                 * channels zeros are added on both sides where it has fewer (He et al. 2015, option A) */
} sg_conv_kind;

typedef enum sg_conv_act { SG_CONV_LINEAR, SG_CONV_RELU, SG_CONV_RELU6 } sg_conv_act;

/* What the weights of a layer do. Those of a norm follow the form it has after training. */
typedef enum sg_conv_weight {
    SG_CONV_WEIGHT,
    SG_CONV_BIAS,
    SG_CONV_NORM_GAIN,
    SG_CONV_NORM_SHIFT,
    SG_CONV_NORM_MEAN,
    SG_CONV_NORM_VAR,
    SG_N_CONV_WEIGHTS
} sg_conv_weight;

typedef struct sg_conv_layer {
    sg_conv_kind kind;
    sg_conv_act act;
    const char *name;                       /* "conv1", which begins the names of its values; the last one has none */
    const char *weights[SG_N_CONV_WEIGHTS]; /* names in the file; NULL: it has none */
    sg_dim channels;                        /* that come out */
    sg_dim kernel, stride, pad;        /* pad -1: as little as gives ceil(side / stride) windows, more of it after */
    bool depthwise;                    /* each channel for itself */
    int from, with;                    /* the layer that is read, and what is added to it; -1: pixels */
    sg_dim in_channels, in_side, side; /* sg_conv_sizes finds them; side 0: a vector */
    sg_weight *bound[SG_N_CONV_WEIGHTS];
} sg_conv_layer;

typedef struct sg_conv_net {
    int n_layers;
    sg_conv_layer *layers;
    sg_dim channels, side;
    bool channels_last; /* weights lie [out,rows,columns,in], those of depthwise layers [1,rows,columns,channels] */
    double mean[3], deviation[3]; /* of pixels between 0 and 1, as the network reads them */
    double eps;                   /* of norms */
    char *config;                 /* JSON, of a network that can be saved; NULL */
} sg_conv_net;

/* Beneath a batch's variance: a channel may be the same everywhere. */
static inline double sg_conv_eps(const sg_conv_net *net)
{
    return SG_MAX(net->eps, 1e-5);
}

/* Checks that layers fit, fills in their sizes, and the model's info. */
sg_status sg_conv_sizes(sg_model *m, const char *path, sg_error *err) SG_MUST_CHECK;
/* Adds a layer behind the others, which reads the one before it: NULL when memory is out. */
sg_conv_layer *sg_conv_add(sg_arena *arena, sg_conv_net *net, sg_conv_layer layer);
sg_status sg_conv_load(sg_model *m, sg_error *err) SG_MUST_CHECK;
/* Names and shapes of all weights, without numbers. */
sg_status sg_conv_name_weights(sg_model *m, sg_error *err) SG_MUST_CHECK;
/* `measured`: each layer's norm is that of the batch; NAME.batch_mean and NAME.batch_var [channels] say what it was. */
sg_status sg_conv_graph(sg_graph **out, const sg_model *m, bool measured, sg_error *err) SG_MUST_CHECK;
/* Pixels of [0,255] as the network reads them, where a folder does not say otherwise. */
sg_status sg_conv_preprocess(sg_model *m, sg_error *err) SG_MUST_CHECK;

/* A file of weights, or a folder that has one and no config.json, if it is of a network that is known by its names. */
sg_status sg_conv_open(sg_model *m, const char *path, bool *found, sg_error *err) SG_MUST_CHECK;
typedef sg_status (*sg_conv_fill)(sg_conv_net *net, sg_model *m, bool *is_it, sg_error *err);
sg_status sg_conv_mobilenet(sg_conv_net *net, sg_model *m, bool *is_it, sg_error *err) SG_MUST_CHECK;
sg_status sg_conv_resnet(sg_conv_net *net, sg_model *m, bool *is_it, sg_error *err) SG_MUST_CHECK;

#endif
