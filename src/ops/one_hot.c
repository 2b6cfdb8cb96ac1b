/* A row of zeros with a 1 at each id. Attributes: n, the type. */
#include <string.h>

#include "ops/iter.h"

static sg_status infer(sg_infer *s, sg_error *err)
{
    const sg_dtype dtype = (sg_dtype)s->attrs->i[1];

    if (s->in[0]->dtype != SG_I32)
        return sg_infer_fail(s, err, SG_ETYPE, "i32 ids were wanted");
    if (dtype != SG_F32 && dtype != SG_F64 && dtype != SG_I32 && dtype != SG_BOOL)
        return sg_infer_fail(s, err, SG_ETYPE, "f32, f64, i32 or bool was wanted, not %s", sg_dtype_name(dtype));
    if (s->in[0]->n_dims == SG_MAX_DIMS)
        return sg_infer_fail(s, err, SG_ESHAPE, "the result would have more than %d axes", SG_MAX_DIMS);
    sg_infer_like(s, 0);
    s->dtype = dtype;
    s->dims[s->n_dims++] = s->attrs->i[0];
    return SG_OK;
}

static sg_status run(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    const int32_t *ids = k->in[0]->data;
    const sg_dim n = k->out->dims[k->out->n_dims - 1], rows = sg_view_count(k->in[0]);
    const size_t size = sg_dtype_bytes(k->out->dtype);
    unsigned char one[8];
    sg_tensor t = sg_tensor_of(k->out->dtype, 0, NULL, one);

    sg_tensor_set(&t, 0, 1);
    memset(k->out->data, 0, (size_t)(rows * n) * size);
    for (sg_dim r = 0; r < rows; r++)
        if (ids[r] >= 0 && ids[r] < n)
            memcpy((char *)k->out->data + (size_t)(r * n + ids[r]) * size, one, size);
    return SG_OK;
}

const sg_op sg_op_one_hot = {.name = "one_hot", .min_in = 1, .max_in = 1, .infer = infer, .run = run};

sg_value *sg_one_hot(sg_graph *g, sg_value *ids, sg_dim n, sg_dtype dtype)
{
    return sg_node(g, &sg_op_one_hot, 1, &ids, &(sg_attrs){.n_i = 2, .i = {n, (sg_dim)dtype}});
}
