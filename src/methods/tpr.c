/* The probe itself: its numbers, the linear probe it amounts to, its graph, and what an edit by it is.
 *
 * A trilinear probe keeps its two embeddings and their product, which is the embedding of roles of a bilinear one, so
 * all but training sees one form. */
#include "methods/tpr_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/op.h"
#include "sightglass/linalg.h"

/* ---- numbers ---- */

sg_status tpr_room(sg_tensor *out, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = sg_tensor_of(dtype, n_dims, dims, NULL);
    const size_t bytes = sg_tensor_bytes(out);
    out->data = calloc(bytes ? bytes : 1, 1);
    return out->data ? SG_OK
                     : sg_fail(err, SG_ENOMEM, "tpr: out of memory for %s %s", sg_dtype_name(dtype),
                               sg_shape_text(shape, n_dims, dims));
}

sg_tensor tpr_as(const sg_tensor *t, int n_dims, const sg_dim *dims)
{
    const sg_tensor other = sg_tensor_of(t->dtype, n_dims, dims, t->data);
    SG_ASSERT(sg_tensor_count(&other) == sg_tensor_count(t));
    return other;
}

sg_status tpr_copy(sg_tensor *out, const sg_tensor *t, sg_dtype dtype, sg_error *err)
{
    SG_TRY(tpr_room(out, dtype, t->n_dims, t->dims, err));
    sg_convert(out->data, dtype, t->data, t->dtype, sg_tensor_count(t));
    return SG_OK;
}

sg_status tpr_check_finite(const sg_tensor *t, const char *what, sg_error *err)
{
    const sg_dim n = sg_tensor_count(t);
    for (sg_dim i = 0; i < n; i++)
        if (!isfinite(sg_tensor_get(t, i)))
            return sg_fail(err, SG_ENUMERIC, "tpr: element %" PRId64 " of %s is %g", i, what, sg_tensor_get(t, i));
    return SG_OK;
}

sg_status tpr_evaluate(sg_tensor *out, sg_graph *g, sg_value *v, int n_feeds, const sg_feed *feeds, sg_error *err)
{
    sg_session *s = NULL;
    sg_tensor t;
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_session_new(&s, g, NULL, sg_exec_defaults(), err);
    if (status == SG_OK)
        status = sg_session_run(s, n_feeds, feeds, 1, &v, &t, err);
    if (status == SG_OK)
        status = tpr_copy(out, &t, t.dtype, err);
    sg_session_free(s);
    sg_graph_free(g);
    return status;
}

sg_status tpr_product(sg_tensor *out, const sg_tensor *a, bool trans_a, const sg_tensor *b, bool trans_b, sg_error *err)
{
    sg_graph *g = sg_graph_new();
    if (!g)
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    const sg_feed feeds[2] = {{sg_input(g, "a", a->dtype, 2, a->dims), *a},
                              {sg_input(g, "b", b->dtype, 2, b->dims), *b}};
    return tpr_evaluate(out, g, sg_matmul(g, feeds[0].value, feeds[1].value, trans_a, trans_b), 2, feeds, err);
}

/* ---- the object ---- */

static sg_status keep(sg_tensor *out, sg_arena *arena, const sg_tensor *t, sg_error *err)
{
    *out = *t;
    out->data = sg_arena_alloc(arena, SG_MAX(sg_tensor_bytes(t), (size_t)1));
    if (!out->data)
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    memcpy(out->data, t->data, sg_tensor_bytes(t));
    return SG_OK;
}

static sg_status check_part(const sg_tensor *t, const char *what, int n_dims, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (!t->data)
        return sg_fail(err, SG_EARG, "tpr: no %s", what);
    if (t->dtype != SG_F32)
        return sg_fail(err, SG_ETYPE, "tpr: %s are %s, wanted f32", what, sg_dtype_name(t->dtype));
    if (t->n_dims != n_dims || sg_tensor_count(t) < 1)
        return sg_fail(err, SG_ESHAPE, "tpr: %s are %s, wanted %d axes", what, sg_shape_text(shape, t->n_dims, t->dims),
                       n_dims);
    return tpr_check_finite(t, what, err);
}

static sg_status check_fit(const sg_tpr_parts *q, sg_error *err)
{
    char u[SG_SHAPE_TEXT], r[SG_SHAPE_TEXT], f[SG_SHAPE_TEXT];
    if (q->binding.dims[1] != q->roles.dims[1] || q->binding.dims[2] != q->fillers.dims[1])
        return sg_fail(err, SG_ESHAPE, "tpr: binding %s does not bind roles %s and fillers %s",
                       sg_shape_text(u, 3, q->binding.dims), sg_shape_text(r, 2, q->roles.dims),
                       sg_shape_text(f, 2, q->fillers.dims));
    if (q->bias.data && (q->bias.dims[0] != q->roles.dims[0] || q->bias.dims[1] != q->fillers.dims[0]))
        return sg_fail(err, SG_ESHAPE, "tpr: bias is %s with %" PRId64 " roles and %" PRId64 " fillers",
                       sg_shape_text(u, 2, q->bias.dims), q->roles.dims[0], q->fillers.dims[0]);
    return SG_OK;
}

/* R of rows [I,a] and columns [J,b], in the order of squares. */
static sg_status product_of(sg_tensor *out, sg_arena *arena, const sg_tensor *rows, const sg_tensor *columns,
                            sg_error *err)
{
    const sg_dim I = rows->dims[0], a = rows->dims[1], J = columns->dims[0], b = columns->dims[1];
    *out = sg_tensor_of(SG_F32, 2, (sg_dim[]){I * J, a * b}, NULL);
    float *to = out->data = sg_arena_alloc(arena, sg_tensor_bytes(out));
    if (!to)
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    for (sg_dim i = 0; i < I; i++)
        for (sg_dim j = 0; j < J; j++)
            for (sg_dim k = 0; k < a; k++)
                for (sg_dim l = 0; l < b; l++)
                    *to++ = ((const float *)rows->data)[i * a + k] * ((const float *)columns->data)[j * b + l];
    return SG_OK;
}

static sg_status fill(sg_tpr *p, const sg_tpr_parts *parts, sg_error *err)
{
    sg_tpr_parts *q = &p->parts;
    SG_TRY(check_part(&parts->binding, "binding's numbers", 3, err));
    SG_TRY(check_part(&parts->fillers, "fillers", 2, err));
    SG_TRY(keep(&q->binding, p->arena, &parts->binding, err));
    SG_TRY(keep(&q->fillers, p->arena, &parts->fillers, err));
    if (parts->rows.data) {
        SG_TRY(check_part(&parts->rows, "rows", 2, err));
        SG_TRY(check_part(&parts->columns, "columns", 2, err));
        SG_TRY(keep(&q->rows, p->arena, &parts->rows, err));
        SG_TRY(keep(&q->columns, p->arena, &parts->columns, err));
        SG_TRY(product_of(&q->roles, p->arena, &q->rows, &q->columns, err));
    } else {
        SG_TRY(check_part(&parts->roles, "roles", 2, err));
        SG_TRY(keep(&q->roles, p->arena, &parts->roles, err));
    }
    if (parts->bias.data) {
        SG_TRY(check_part(&parts->bias, "biases", 2, err));
        SG_TRY(keep(&q->bias, p->arena, &parts->bias, err));
    }
    SG_TRY(check_fit(q, err));
    const sg_dim *u = q->binding.dims;
    const sg_tensor flat = tpr_as(&q->binding, 2, (sg_dim[]){u[0], u[1] * u[2]});
    sg_pinv *pinv;
    SG_TRY(sg_pinv_new(&pinv, &flat, sg_pinv_defaults(), err));
    const sg_status status = keep(&p->lift, p->arena, &pinv->inverse, err);
    sg_pinv_free(pinv);
    return status;
}

sg_status sg_tpr_of(sg_tpr **out, const sg_tpr_parts *parts, sg_error *err)
{
    *out = NULL;
    sg_arena *arena = sg_arena_new();
    sg_tpr *p = arena ? sg_arena_alloc(arena, sizeof *p) : NULL;
    if (!p) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    }
    p->arena = arena;
    const sg_status status = fill(p, parts, err);
    if (status != SG_OK) {
        sg_tpr_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

void sg_tpr_free(sg_tpr *p)
{
    if (p)
        sg_arena_free(p->arena);
}

const sg_tpr_parts *sg_tpr_get_parts(const sg_tpr *p)
{
    return &p->parts;
}

sg_dim sg_tpr_n_parameters(const sg_tpr *p)
{
    const sg_tpr_parts *q = &p->parts;
    const sg_dim roles =
        q->rows.data ? sg_tensor_count(&q->rows) + sg_tensor_count(&q->columns) : sg_tensor_count(&q->roles);
    return sg_tensor_count(&q->binding) + roles + sg_tensor_count(&q->fillers) +
           (q->bias.data ? sg_tensor_count(&q->bias) : 0);
}

/* ---- as linear probe and as graph ---- */

sg_value *tpr_bindings(sg_graph *g, sg_value *roles, sg_value *fillers)
{
    const sg_dim S = sg_value_dim(roles, 0), r = sg_value_dim(roles, 1);
    const sg_dim C = sg_value_dim(fillers, 0), f = sg_value_dim(fillers, 1);
    sg_value *by_role = sg_reshape(g, sg_swap_axes(g, roles, 0, 1), 4, (sg_dim[]){r, 1, S, 1});
    sg_value *by_filler = sg_reshape(g, sg_swap_axes(g, fillers, 0, 1), 4, (sg_dim[]){1, f, 1, C});
    return sg_reshape(g, sg_mul(g, by_role, by_filler), 2, (sg_dim[]){r * f, S * C});
}

sg_value *sg_tpr_logits(sg_graph *g, sg_value *x, sg_value *binding, sg_value *roles, sg_value *fillers, sg_value *bias)
{
    const int n = sg_value_n_dims(x);
    if (n < 1 || n + 1 > SG_MAX_DIMS || sg_value_n_dims(binding) != 3 || sg_value_n_dims(roles) != 2 ||
        sg_value_n_dims(fillers) != 2)
        return sg_graph_fail(g, SG_ESHAPE, "tpr: wanted x [...,D], binding [D,r,f], roles [S,r], fillers [C,f]");
    const sg_dim D = sg_value_dim(binding, 0), rf = sg_value_dim(binding, 1) * sg_value_dim(binding, 2);
    sg_value *rows = n == 1 ? sg_expand(g, x, 0) : x;
    sg_value *bound = sg_matmul(g, rows, sg_reshape(g, binding, 2, (sg_dim[]){D, rf}), false, false);
    sg_value *flat = sg_matmul(g, bound, tpr_bindings(g, roles, fillers), false, false); /* [...,S C] */
    sg_dim dims[SG_MAX_DIMS];
    memcpy(dims, sg_value_dims(x), (size_t)(n - 1) * sizeof *dims);
    dims[n - 1] = sg_value_dim(roles, 0);
    dims[n] = sg_value_dim(fillers, 0);
    sg_value *logits = sg_reshape(g, flat, n + 1, dims);
    return bias ? sg_add(g, logits, bias) : logits;
}

sg_value *sg_tpr_graph(sg_graph *g, const sg_tpr *p, sg_value *x)
{
    const sg_tpr_parts *q = &p->parts;
    return sg_tpr_logits(g, x, sg_const(g, &q->binding), sg_const(g, &q->roles), sg_const(g, &q->fillers),
                         q->bias.data ? sg_const(g, &q->bias) : NULL);
}

sg_status sg_tpr_linear(sg_tensor *out, const sg_tpr *p, sg_error *err)
{
    const sg_tpr_parts *q = &p->parts;
    const sg_dim *u = q->binding.dims, dims[3] = {u[0], q->roles.dims[0], q->fillers.dims[0]};
    sg_graph *g = sg_graph_new();
    if (!g)
        return sg_fail(err, SG_ENOMEM, "tpr: out of memory");
    sg_value *flat = sg_reshape(g, sg_const(g, &q->binding), 2, (sg_dim[]){u[0], u[1] * u[2]});
    sg_value *w = sg_matmul(g, flat, tpr_bindings(g, sg_const(g, &q->roles), sg_const(g, &q->fillers)), false, false);
    return tpr_evaluate(out, g, sg_reshape(g, w, 3, dims), 0, NULL, err);
}

sg_status sg_tpr_probe(sg_probe **out, const sg_tpr *p, sg_error *err)
{
    sg_tensor w;
    *out = NULL;
    SG_TRY(sg_tpr_linear(&w, p, err));
    const sg_status status = sg_probe_of(out, &w, &p->parts.bias, err);
    free(w.data);
    return status;
}

/* ---- edits ---- */

sg_status sg_tpr_delta(float *out, const sg_tpr *p, sg_dim role, int from, int to, sg_error *err)
{
    const sg_tpr_parts *q = &p->parts;
    const sg_dim S = q->roles.dims[0], C = q->fillers.dims[0];
    const sg_dim D = q->binding.dims[0], r = q->binding.dims[1], f = q->binding.dims[2];
    if (role < 0 || role >= S)
        return sg_fail(err, SG_EARG, "tpr: no role %" PRId64 ", there are %" PRId64, role, S);
    if (from < 0 || from >= C || to < 0 || to >= C)
        return sg_fail(err, SG_EARG, "tpr: from filler %d to %d, there are %" PRId64, from, to, C);
    const float *R = (const float *)q->roles.data + role * r, *F = q->fillers.data, *lift = p->lift.data;
    memset(out, 0, (size_t)D * sizeof *out);
    if (from == to)
        return SG_OK;
    for (sg_dim i = 0; i < r; i++)
        for (sg_dim k = 0; k < f; k++) {
            const float change = R[i] * (F[to * f + k] - F[from * f + k]);
            for (sg_dim d = 0; d < D; d++)
                out[d] += change * lift[(i * f + k) * D + d];
        }
    return SG_OK;
}

sg_status sg_tpr_fit_delta(sg_tpr *p, const sg_tensor *acts, double lambda, sg_error *err)
{
    const sg_tensor *u = &p->parts.binding;
    char shape[SG_SHAPE_TEXT];
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || acts->dims[1] != u->dims[0] || acts->dims[0] < 1)
        return sg_fail(err, SG_ESHAPE, "tpr: activations are %s %s, wanted f32 [rows,%" PRId64 "]",
                       sg_dtype_name(acts->dtype), sg_shape_text(shape, acts->n_dims, acts->dims), u->dims[0]);
    const sg_tensor flat = tpr_as(u, 2, (sg_dim[]){u->dims[0], u->dims[1] * u->dims[2]});
    sg_tensor bound = {0};
    sg_ridge *ridge = NULL;
    SG_TRY(tpr_product(&bound, acts, false, &flat, false, err));
    const double penalty = lambda * (double)acts->dims[0];
    const sg_status status = sg_ridge_new(&ridge, &bound, acts, &penalty, 1, sg_ridge_defaults(), err);
    if (status == SG_OK)
        memcpy(p->lift.data, ridge->weights.data, sg_tensor_bytes(&p->lift));
    sg_ridge_free(ridge);
    free(bound.data);
    return status;
}
