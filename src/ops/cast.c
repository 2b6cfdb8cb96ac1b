/* Conversion between element types. */
#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    if (s->attrs->i[0] < 0 || s->attrs->i[0] >= SG_N_DTYPES)
        return sg_infer_fail(s, err, SG_EARG, "no such type");
    sg_infer_like(s, 0);
    s->dtype = (sg_dtype)s->attrs->i[0];
    if (sg_dtype_block(s->dtype) > 1)
        return sg_infer_fail(s, err, SG_ETYPE, "nothing is cast to %s, in which weights are stored",
                             sg_dtype_name(s->dtype));
    return SG_OK;
}

/* Blocks of the input, of one number where it is not packed. */
static void part(void *context, sg_dim first, sg_dim last)
{
    const sg_kernel_args *k = context;
    const sg_view *x = k->in[0], *y = k->out;
    const sg_dim block = sg_dtype_block(x->dtype);

    sg_convert((char *)y->data + (size_t)(first * block) * sg_dtype_bytes(y->dtype), y->dtype,
               (const char *)x->data + (size_t)first * sg_dtype_block_bytes(x->dtype), x->dtype,
               (last - first) * block);
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    sg_kernel_args own = *k;

    (void)err;
    const sg_dim block = sg_dtype_block(k->in[0]->dtype);
    sg_split(sg_view_count(k->out) / block, 4 * block, k->n_threads, part, &own);
    return SG_OK;
}

static void grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    if (sg_dtype_is_float(y->dtype) && sg_dtype_is_float(y->in[0]->dtype))
        dx[0] = sg_cast(g, dy, y->in[0]->dtype);
}

const sg_op sg_op_cast = {.name = "cast",
                          .min_in = 1,
                          .max_in = 1,
                          .flags = SG_OP_PACKED,
                          .rows = SG_ROWS_ANY,
                          .infer = infer,
                          .run = run,
                          .grad = grad};

sg_value *sg_cast(sg_graph *g, sg_value *x, sg_dtype to)
{
    if (x->dtype == to)
        return x;
    return sg_node(g, &sg_op_cast, 1, &x, &(sg_attrs){.n_i = 1, .i = {to}});
}
