/* An extent as a scalar. Attributes: the extent, the type. */
#include "ops/ops.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    s->dtype = (sg_dtype)s->attrs->i[1];
    s->n_dims = 0;
    if (s->dtype != SG_I32 && s->dtype != SG_F32 && s->dtype != SG_F64)
        return sg_infer_fail(s, err, SG_ETYPE, "i32, f32 or f64 was wanted, not %s", sg_dtype_name(s->dtype));
    return SG_OK;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    if (k->out->dtype == SG_I32) {
        if (k->i[0] > INT32_MAX)
            return sg_fail(err, SG_ESHAPE, "extent: %lld does not fit i32", (long long)k->i[0]);
        *(int32_t *)k->out->data = (int32_t)k->i[0];
    } else if (k->out->dtype == SG_F32) {
        *(float *)k->out->data = (float)k->i[0];
    } else {
        *(double *)k->out->data = (double)k->i[0];
    }
    return SG_OK;
}

const sg_op sg_op_extent = {.name = "extent", .infer = infer, .run = run};

sg_value *sg_extent_of(sg_graph *g, sg_dtype dtype, sg_dim d)
{
    return sg_node(g, &sg_op_extent, 0, NULL, &(sg_attrs){.n_i = 2, .i = {d, (sg_dim)dtype}});
}
