/* The same value under another name, with or without a gradient behind it. */
#include <string.h>

#include "ops/copy.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    (void)err;
    sg_infer_like(s, 0);
    return SG_OK;
}

static bool view(const sg_kernel_args *k)
{
    memcpy(k->out->strides, k->in[0]->strides, sizeof k->out->strides);
    k->out->data = k->in[0]->data;
    return true;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    (void)g;
    (void)y;
    dx[0] = dy;
}

const sg_op sg_op_identity = {.name = "identity",
                              .min_in = 1,
                              .max_in = 1,
                              .flags = SG_OP_VIEW | SG_OP_STRIDED,
                              .infer = infer,
                              .run = sg_view_kernel,
                              .grad = grad,
                              .view = view};
const sg_op sg_op_stop_gradient = {.name = "stop_gradient",
                                   .min_in = 1,
                                   .max_in = 1,
                                   .flags = SG_OP_VIEW | SG_OP_STRIDED,
                                   .infer = infer,
                                   .run = sg_view_kernel,
                                   .view = view};

sg_value *sg_identity(sg_graph *g, sg_value *x)
{
    return sg_node(g, &sg_op_identity, 1, &x, NULL);
}

sg_value *sg_stop_gradient(sg_graph *g, sg_value *x)
{
    return sg_node(g, &sg_op_stop_gradient, 1, &x, NULL);
}
