/* mobilenet_v2 (Sandler et al. 2018) with its batch norms folded into the convolutions, as a safetensors file whose
 * names say what each step is: op03.conv.s1.relu6.weight is step 3, a convolution of stride 1 with ReLU6; dw is
 * depthwise, lin has no activation. Steps without weights are sums: behind a linear convolution that has as many
 * channels as its block began with; the last one is the mean before the labels. */
#include <stdlib.h>
#include <string.h>

#include "models/conv.h"

#define FIRST "op00.conv.s2.relu6.weight"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

typedef struct step {
    int number, stride;
    bool depthwise;
    sg_conv_act act;
} step;

/* "op03.conv.s1.relu6.weight"; false: it says something else. */
static bool read_name(const char *name, step *s)
{
    char kind[8], act[8];
    int end = 0;

    if (sscanf(name, "op%2d.%7[a-z].s%1d.%7[a-z0-9].weight%n", &s->number, kind, &s->stride, act, &end) != 4 || !end ||
        name[end] || s->number < 0 || s->stride < 1)
        return false;
    s->depthwise = strcmp(kind, "dw") == 0;
    s->act = strcmp(act, "relu6") == 0 ? SG_CONV_RELU6 : SG_CONV_LINEAR;
    return (s->depthwise || strcmp(kind, "conv") == 0) && (s->act == SG_CONV_RELU6 || strcmp(act, "lin") == 0);
}

static sg_status add_step(sg_conv_net *net, sg_model *m, const char *name, const step *s, bool last, sg_error *err)
{
    const sg_tensor *w = sg_safetensors_find(m->file, name);
    sg_conv_layer l = {.kind = last ? SG_CONV_DENSE : SG_CONV_CONV,
                       .act = s->act,
                       .depthwise = s->depthwise,
                       .stride = s->stride,
                       .pad = -1,
                       .weights = {name, sg_arena_printf(m->arena, "op%02d.bias", s->number)}};

    if (!w || w->n_dims != 4)
        return sg_fail(err, SG_EFORMAT, "%s: %s has not four axes", m->info.path, name);
    l.channels = s->depthwise ? w->dims[3] : w->dims[0];
    l.kernel = w->dims[1];
    l.name = last ? NULL : sg_arena_printf(m->arena, "op%02d", s->number);
    if (!l.weights[SG_CONV_BIAS] || (!last && !l.name) || !sg_conv_add(m->arena, net, l))
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    return SG_OK;
}

sg_status sg_conv_mobilenet(sg_conv_net *net, sg_model *m, bool *is_it, sg_error *err)
{
    const int count = sg_safetensors_count(m->file);
    int n = 0, before = -1, began = -1; /* the layer that a block reads */
    sg_dim channels = 0;                /* of it */

    *is_it = sg_safetensors_find(m->file, FIRST) != NULL;
    if (!*is_it)
        return SG_OK;
    const char **names = sg_arena_array(m->arena, (size_t)count + 1, sizeof *names);
    if (!names)
        return sg_fail(err, SG_ENOMEM, "out of memory for a model");
    for (int i = 0; i < count; i++)
        if (strstr(sg_safetensors_name(m->file, i), ".weight"))
            names[n++] = sg_safetensors_name(m->file, i);
    qsort(names, (size_t)n, sizeof *names, by_text);
    *net = (sg_conv_net){
        .channels = 3, .side = 224, .channels_last = true, .mean = {.5, .5, .5}, .deviation = {.5, .5, .5}};
    for (int i = 0; i < n; i++) {
        step s;
        if (!read_name(names[i], &s))
            return sg_fail(err, SG_EFORMAT, "%s: the tensor %.160s is no step of mobilenet_v2", m->info.path, names[i]);
        const bool last = i + 1 == n;
        if (s.number == before + 2 && (last || began < 0 || net->layers[net->n_layers - 1].act != SG_CONV_LINEAR ||
                                       net->layers[net->n_layers - 1].channels != channels)) {
            if (!last)
                return sg_fail(err, SG_EFORMAT, "%s: step %d is neither there nor a sum", m->info.path, before + 1);
            const sg_conv_layer mean = {.kind = SG_CONV_GLOBAL,
                                        .name = sg_arena_printf(m->arena, "op%02d", before + 1)};
            if (!mean.name || !sg_conv_add(m->arena, net, mean))
                return sg_fail(err, SG_ENOMEM, "out of memory for a model");
        } else if (s.number == before + 2) {
            const sg_conv_layer sum = {
                .kind = SG_CONV_SUM, .with = began, .name = sg_arena_printf(m->arena, "op%02d", before + 1)};
            if (!sum.name || !sg_conv_add(m->arena, net, sum))
                return sg_fail(err, SG_ENOMEM, "out of memory for a model");
            net->layers[net->n_layers - 1].channels = channels;
        } else if (s.number != before + 1) {
            return sg_fail(err, SG_EFORMAT, "%s: step %d of mobilenet_v2 is missing", m->info.path, before + 1);
        }
        /* A block begins behind a linear convolution or a sum. */
        const sg_conv_layer *l = net->n_layers ? &net->layers[net->n_layers - 1] : NULL;
        if (l && (l->kind == SG_CONV_SUM || (l->kind == SG_CONV_CONV && l->act == SG_CONV_LINEAR))) {
            began = net->n_layers - 1;
            channels = l->channels;
        }
        SG_TRY(add_step(net, m, names[i], &s, last, err));
        before = s.number;
    }
    return SG_OK;
}
