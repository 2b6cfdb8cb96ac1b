/* The net as a graph of the engine, so that fetch, feed, splice and differentiate work on it. */
#include <stdio.h>

#include "base/base.h"
#include "play/play_internal.h"
#include "sightglass/ops.h"

/* [batch,N] of the inputs that are on, from points [batch,2]. */
static sg_value *inputs_of(sg_graph *g, const sg_play_state *s, sg_value *points)
{
    sg_value *x = sg_slice(g, points, 1, 0, 1, 1), *y = sg_slice(g, points, 1, 1, 2, 1), *on[SG_PLAY_INPUTS];
    int n = 0;
    for (int i = 0; i < SG_PLAY_INPUTS; i++) {
        if (!s->inputs[i])
            continue;
        on[n++] = i == SG_PLAY_X       ? x
                  : i == SG_PLAY_Y     ? y
                  : i == SG_PLAY_X2    ? sg_square(g, x)
                  : i == SG_PLAY_Y2    ? sg_square(g, y)
                  : i == SG_PLAY_XY    ? sg_mul(g, x, y)
                  : i == SG_PLAY_SIN_X ? sg_sin(g, x)
                                       : sg_sin(g, y);
    }
    return sg_concat(g, n, on, 1);
}

static sg_value *activated(sg_graph *g, sg_value *x, sg_play_activation a)
{
    return a == SG_PLAY_TANH      ? sg_tanh(g, x)
           : a == SG_PLAY_SIGMOID ? sg_sigmoid(g, x)
           : a == SG_PLAY_RELU    ? sg_relu(g, x)
                                  : sg_identity(g, x);
}

static void build(sg_graph *g, const sg_play *p, sg_dtype dtype)
{
    const sg_dim batch = sg_extent(g, "batch");
    char name[32];
    sg_value *points = sg_name(g, sg_input(g, "points", dtype, 2, (sg_dim[]){batch, 2}), "points", "bd");
    sg_value *target = sg_name(g, sg_input(g, "target", dtype, 1, &batch), "target", "b");
    sg_value *h = sg_name(g, inputs_of(g, &p->state, points), "inputs", "bd");
    for (int l = 0; l < p->net.n_layers; l++) {
        const play_layer *layer = &p->net.layers[l];
        sg_value *w =
            sg_variable(g, p->names[l][0], dtype, 2, (sg_dim[]){layer->units, layer->from}, sg_init_constant(0));
        sg_value *b = sg_variable(g, p->names[l][1], dtype, 1, (sg_dim[]){layer->units}, sg_init_constant(0));
        snprintf(name, sizeof name, "layers.%d.hook_pre", l);
        h = sg_name(g, sg_linear(g, h, w, b), name, "bd");
        snprintf(name, sizeof name, "layers.%d.hook_post", l);
        h = sg_name(g, activated(g, h, layer->activation), name, "bd");
    }
    sg_value *output = sg_name(g, sg_reshape(g, h, 1, &batch), "output", "b");
    sg_value *half = sg_mul_scalar(g, sg_square(g, sg_sub(g, output, target)), 0.5);
    sg_name(g, sg_mean_all(g, half), "loss", "");
}

sg_status sg_play_graph(sg_graph **out, const sg_play *p, sg_dtype dtype, sg_error *err)
{
    *out = NULL;
    if (dtype != SG_F32 && dtype != SG_F64)
        return sg_fail(err, SG_ETYPE, "a net in %s; f32 or f64 was wanted", sg_dtype_name(dtype));
    if (p->net.n_inputs == 0)
        return sg_fail(err, SG_EUNSUPPORTED, "a net whose inputs are all off has no graph");
    sg_graph *g = sg_graph_new();
    if (!g)
        return sg_fail(err, SG_ENOMEM, "out of memory for a graph");
    build(g, p, dtype);
    const sg_status status = sg_graph_status(g, err);
    if (status != SG_OK) {
        sg_graph_free(g);
        return status;
    }
    *out = g;
    return SG_OK;
}

sg_status sg_play_bind(const sg_play *p, const sg_graph *g, sg_state *s, sg_error *err)
{
    for (int l = 0; l < p->net.n_layers; l++)
        for (int k = 0; k < 2; k++) {
            const play_layer *layer = &p->net.layers[l];
            const sg_value *v = sg_graph_find(g, p->names[l][k]);
            sg_tensor *t = v ? sg_state_tensor(s, v) : NULL;
            const sg_dim n = k ? layer->units : (sg_dim)layer->units * layer->from;
            const double *from = p->net.parameters + (k ? layer->bias : layer->weight);
            if (!t || sg_tensor_count(t) != n)
                return sg_fail(err, SG_ESHAPE, "the graph is of another net: %s", p->names[l][k]);
            sg_convert(t->data, t->dtype, from, SG_F64, n);
        }
    return SG_OK;
}
