/* Storing into variables: whole, a slice along an axis, or rows that each go to a place of their own. The result is the variable after the store. x may show
 * numbers of the variable itself, as when a cache is shifted. */
#include <string.h>

#include "ops/copy.h"

static sg_status check_variable(sg_infer *s, sg_error *err)
{
    if (s->in[0]->op != &sg_op_variable)
        return sg_infer_fail(s, err, SG_EARG, "%s is no variable", sg_value_name(s->in[0]));
    if (s->in[0]->dtype != s->in[1]->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "the types differ");
    sg_infer_like(s, 0);
    return SG_OK;
}

static sg_status infer_assign(sg_infer *s, sg_error *err)
{
    SG_TRY(check_variable(s, err));
    if (s->in[1]->n_dims != s->n_dims || memcmp(s->dims, s->in[1]->dims, (size_t)s->n_dims * sizeof s->dims[0]) != 0)
        return sg_infer_fail(s, err, SG_ESHAPE, "the shapes differ");
    return SG_OK;
}

static sg_status run_assign(const sg_kernel_args *k, sg_error *err)
{
    (void)err;
    memmove(k->out->data, k->in[1]->data, (size_t)sg_view_count(k->out) * sg_dtype_bytes(k->out->dtype));
    return SG_OK;
}

const sg_op sg_op_assign = {
    .name = "assign",
    .min_in = 2,
    .max_in = 2,
    .flags = SG_OP_STATE | SG_OP_ALIAS,
    .changes = 1,
    .infer = infer_assign,
    .run = run_assign,
};

sg_value *sg_assign(sg_graph *g, sg_value *variable, sg_value *x)
{
    return sg_node(g, &sg_op_assign, 2, (sg_value *const[]){variable, x}, NULL);
}

/* ---- a slice; attributes: axis, start ---- */

static sg_status infer_slice(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[1];
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];

    SG_TRY(check_variable(s, err));
    SG_TRY(sg_infer_axis(s, 0, s->n_dims, err));
    const int axis = (int)s->attrs->i[0];
    const sg_dim start = s->attrs->i[1], n = x->n_dims == s->n_dims ? x->dims[axis] : 0;
    for (int k = 0; k < s->n_dims; k++)
        if (x->n_dims != s->n_dims || (k != axis && x->dims[k] != s->dims[k]))
            return sg_infer_fail(s, err, SG_ESHAPE, "the shapes differ in more than axis %d", axis);
    /* The variable's extents are numbers; the slice may have to wait for its own. */
    if (sg_dim_is_const(start) && sg_dim_is_const(n) && start + n > s->dims[axis])
        return sg_infer_fail(s, err, SG_ESHAPE, "%s elements at %s do not fit the %lld of axis %d",
                             sg_dim_text(s->g, n, a), sg_dim_text(s->g, start, b), (long long)s->dims[axis], axis);
    return SG_OK;
}

static sg_status run_slice(const sg_kernel_args *k, sg_error *err)
{
    const int axis = (int)k->i[0];
    const sg_dim start = k->i[1], n = k->in[1]->dims[axis], room = k->out->dims[axis];

    if (start < 0 || start > room || n > room - start)
        return sg_fail(err, SG_ESHAPE, "assign_slice: %lld elements at %lld do not fit the %lld of axis %d",
                       (long long)n, (long long)start, (long long)room, axis);
    sg_view to = *k->out;
    to.dims[axis] = n;
    to.data = sg_view_at(k->out, n > 0 ? start * to.strides[axis] : 0);
    sg_dim rows = 1;
    for (int a = 0; a < axis; a++)
        rows *= to.dims[a];
    const sg_dim count = sg_view_count(&to), room_all = sg_view_count(k->out);
    if (rows == 1) {
        memmove(to.data, k->in[1]->data, (size_t)count * sg_dtype_bytes(to.dtype));
        return SG_OK;
    }
    /* Several rows of x inside the variable could be overwritten before they are read. */
    const uintptr_t x = (uintptr_t)k->in[1]->data, x_end = (uintptr_t)sg_view_at(k->in[1], count);
    const uintptr_t v = (uintptr_t)k->out->data, v_end = (uintptr_t)sg_view_at(k->out, room_all);
    if (count > 0 && x < v_end && v < x_end)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "assign_slice: what is stored shows the variable itself; a copy was wanted");
    sg_view_copy(&to, k->in[1], k->n_threads);
    return SG_OK;
}

const sg_op sg_op_assign_slice = {
    .name = "assign_slice",
    .min_in = 2,
    .max_in = 2,
    .flags = SG_OP_STATE | SG_OP_ALIAS,
    .changes = 1,
    .infer = infer_slice,
    .run = run_slice,
};

sg_value *sg_assign_slice(sg_graph *g, sg_value *variable, sg_value *x, int axis, sg_dim start)
{
    return sg_node(g, &sg_op_assign_slice, 2, (sg_value *const[]){variable, x},
                   &(sg_attrs){.n_i = 2, .i = {axis, start}});
}

/* ---- rows, each from a place of its own; attributes: first ---- */

static sg_status infer_rows(sg_infer *s, sg_error *err)
{
    const sg_value *x = s->in[1], *at = s->in[2];

    if (s->in[0]->op != &sg_op_variable)
        return sg_infer_fail(s, err, SG_EARG, "%s is no variable", sg_value_name(s->in[0]));
    sg_infer_like(s, 0);
    if (x->dtype != SG_F32 && x->dtype != s->dtype)
        return sg_infer_fail(s, err, SG_ETYPE, "the types differ");
    if (!sg_dtype_is_float(s->dtype))
        return sg_infer_fail(s, err, SG_ETYPE, "a variable of floats was wanted");
    if (at->dtype != SG_I32 || at->n_dims != 1)
        return sg_infer_fail(s, err, SG_ETYPE, "wanted i32 places, one for each row");
    if (x->n_dims != s->n_dims || s->n_dims < 2 || at->dims[0] != x->dims[0])
        return sg_infer_fail(s, err, SG_ESHAPE, "wanted rows of positions, and a place for each row");
    for (int k = 2; k < s->n_dims; k++)
        if (x->dims[k] != s->dims[k])
            return sg_infer_fail(s, err, SG_ESHAPE, "the shapes differ behind rows and positions");
    return SG_OK;
}

static sg_status run_rows(const sg_kernel_args *k, sg_error *err)
{
    const sg_view *x = k->in[1];
    const int32_t *places = k->in[2]->data;
    const sg_dim first = k->i[0], rows = x->dims[0], time = x->dims[1], room = k->out->dims[1];
    sg_dim each = 1;

    for (int a = 2; a < x->n_dims; a++)
        each *= x->dims[a];
    if (first < 0 || first + rows > k->out->dims[0])
        return sg_fail(err, SG_ESHAPE, "assign_rows: %lld rows from %lld do not fit the %lld that there are",
                       (long long)rows, (long long)first, (long long)k->out->dims[0]);
    for (sg_dim r = 0; r < rows; r++)
        if (places[r] < 0 || time > room - places[r])
            return sg_fail(err, SG_ESHAPE, "assign_rows: row %lld: %lld elements at %d do not fit the %lld of axis 1",
                           (long long)r, (long long)time, places[r], (long long)room);
    for (sg_dim r = 0; r < rows; r++)
        sg_convert(sg_view_at(k->out, ((first + r) * room + places[r]) * each), k->out->dtype,
                   sg_view_at(x, r * time * each), x->dtype, time * each);
    return SG_OK;
}

const sg_op sg_op_assign_rows = {
    .name = "assign_rows",
    .min_in = 3,
    .max_in = 3,
    .flags = SG_OP_STATE | SG_OP_ALIAS,
    .changes = 1,
    .infer = infer_rows,
    .run = run_rows,
};

sg_value *sg_assign_rows(sg_graph *g, sg_value *variable, sg_value *x, sg_value *places, sg_dim first)
{
    return sg_node(g, &sg_op_assign_rows, 3, (sg_value *const[]){variable, x, places},
                   &(sg_attrs){.n_i = 1, .i = {first}});
}
