/* 0, 1, ... n-1. Attributes: the type, n. */
#include "ops/ops.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    s->dtype = (sg_dtype)s->attrs->i[0];
    s->n_dims = 1;
    s->dims[0] = s->attrs->i[1];
    if (s->dtype != SG_I32 && s->dtype != SG_F32 && s->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "i32, f32 or f64 was wanted, not %s", sg_dtype_name(s->dtype));
    return SG_OK;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    const sg_dim n = k->out->dims[0];

    if (k->out->dtype == SG_I32) {
        int32_t *y = k->out->data;
        if (n > INT32_MAX)
            return sg_fail(err, SG_ESHAPE, "iota: %lld numbers do not fit i32", (long long)n);
        for (int32_t i = 0; i < (int32_t)n; i++)
            y[i] = i;
    } else if (k->out->dtype == SG_F32) {
        float *y = k->out->data;
        for (sg_dim i = 0; i < n; i++)
            y[i] = (float)i;
    } else {
        double *y = k->out->data;
        for (sg_dim i = 0; i < n; i++)
            y[i] = (double)i;
    }
    return SG_OK;
}

const sg_op sg_op_iota = {.name = "iota", .infer = infer, .run = run};

sg_value *sg_iota(sg_graph *g, sg_dtype dtype, sg_dim n)
{
    return sg_node(g, &sg_op_iota, 0, NULL, &(sg_attrs){.n_i = 2, .i = {(sg_dim)dtype, n}});
}
