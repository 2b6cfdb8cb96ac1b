/* A probe as numbers: what it is made of, what it computes, its directions. How each kind comes by its numbers is in
 * probe_closed.c and probe_trained.c. */
#include "sightglass/probe.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "methods/probe_internal.h"
#include "sightglass/ops.h"

#define ROWS 4096 /* that are read at once */

const char *sg_probe_kind_name(sg_probe_kind kind)
{
    static const char *const names[SG_N_PROBE_KINDS] = {"ridge", "softmax", "mlp", "mean"};
    return kind >= 0 && kind < SG_N_PROBE_KINDS ? names[kind] : "unknown";
}

sg_probe_opts sg_probe_defaults(void)
{
    return (sg_probe_opts){.kind = SG_PROBE_RIDGE,
                           .n_classes = 2,
                           .lambda = 1e-4,
                           .bias = true,
                           .hidden = 128,
                           .weight_decay = 0.01,
                           .n_epochs = 8,
                           .batch = 256,
                           .n_held = -1,
                           .exec = sg_exec_defaults()};
}

/* ---- making one ---- */

static bool room(sg_arena *arena, sg_tensor *t, int n_dims, const sg_dim *dims)
{
    size_t n = 1;
    for (int k = 0; k < n_dims; k++)
        if (__builtin_mul_overflow(n, (size_t)dims[k], &n))
            return false;
    *t = sg_tensor_of(SG_F32, n_dims, dims, sg_arena_array(arena, SG_MAX(n, 1), sizeof(float)));
    return t->data != NULL;
}

sg_status sg_probe_new(sg_probe **out, sg_probe_kind kind, sg_dim width, sg_dim tasks, int classes, sg_dim hidden,
                       sg_error *err)
{
    sg_arena *arena = sg_arena_new();
    sg_probe *p = arena ? sg_arena_alloc(arena, sizeof *p) : NULL;
    bool good = p != NULL;

    *out = NULL;
    if (good) {
        *p = (sg_probe){.arena = arena, .kind = kind, .width = width, .tasks = tasks, .classes = classes};
        p->hidden = kind == SG_PROBE_MLP ? hidden : 0;
        const sg_dim in = p->hidden ? hidden : width;
        good = room(arena, &p->w, 3, (sg_dim[]){in, tasks, classes}) &&
               room(arena, &p->b, 2, (sg_dim[]){tasks, classes}) &&
               (!p->hidden ||
                (room(arena, &p->first, 2, (sg_dim[]){width, hidden}) && room(arena, &p->first_bias, 1, &hidden)));
    }
    if (!good) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "probe: out of memory for %" PRId64 " tasks of width %" PRId64, tasks, width);
    }
    *out = p;
    return SG_OK;
}

void sg_probe_free(sg_probe *p)
{
    if (p)
        sg_arena_free(p->arena);
}

sg_status sg_probe_of(sg_probe **out, const sg_tensor *w, const sg_tensor *b, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    *out = NULL;
    if (!sg_dtype_is_float(w->dtype) || w->n_dims != 3 || w->dims[2] < 1 || w->dims[2] > INT32_MAX)
        return sg_fail(err, SG_ESHAPE, "probe: w is %s %s, wanted floats [width,tasks,classes]",
                       sg_dtype_name(w->dtype), sg_shape_text(shape, w->n_dims, w->dims));
    const bool has_b = b && b->data;
    if (has_b &&
        (!sg_dtype_is_float(b->dtype) || b->n_dims != 2 || b->dims[0] != w->dims[1] || b->dims[1] != w->dims[2]))
        return sg_fail(err, SG_ESHAPE, "probe: b is %s %s, wanted floats [%" PRId64 ",%" PRId64 "]",
                       sg_dtype_name(b->dtype), sg_shape_text(shape, b->n_dims, b->dims), w->dims[1], w->dims[2]);
    SG_TRY(sg_probe_new(out, SG_PROBE_RIDGE, w->dims[0], w->dims[1], (int)w->dims[2], 0, err));
    sg_probe *p = *out;
    sg_convert(p->w.data, SG_F32, w->data, w->dtype, sg_tensor_count(w));
    if (has_b)
        sg_convert(p->b.data, SG_F32, b->data, b->dtype, sg_tensor_count(b));
    return SG_OK;
}

static sg_status check_fit(const sg_tensor *acts, const sg_tensor *labels, const sg_probe_opts *opts, sg_error *err)
{
    char one[SG_SHAPE_TEXT], other[SG_SHAPE_TEXT];
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || labels->dtype != SG_I32 || labels->n_dims != 2 ||
        acts->dims[0] != labels->dims[0])
        return sg_fail(err, SG_ESHAPE,
                       "probe: acts are %s %s and labels %s %s, wanted [rows,width] f32 and [rows,tasks] i32",
                       sg_dtype_name(acts->dtype), sg_shape_text(one, acts->n_dims, acts->dims),
                       sg_dtype_name(labels->dtype), sg_shape_text(other, labels->n_dims, labels->dims));
    if (opts->kind < 0 || opts->kind >= SG_N_PROBE_KINDS || opts->n_classes < 2 || opts->hidden < 1 ||
        !(opts->lambda >= 0) || !(opts->lr >= 0) || !(opts->weight_decay >= 0) || opts->n_epochs < 1 ||
        opts->batch < 1 || opts->n_held >= acts->dims[0])
        return sg_fail(err, SG_EARG,
                       "probe: %d classes, %d hidden, lambda %g, lr %g, decay %g, %d epochs of batches of %" PRId64
                       ", %" PRId64 " rows held back do not go together",
                       opts->n_classes, opts->hidden, opts->lambda, opts->lr, opts->weight_decay, opts->n_epochs,
                       opts->batch, opts->n_held);
    const int32_t *label = labels->data;
    const sg_dim n = sg_tensor_count(labels), tasks = labels->dims[1];
    sg_dim known = 0;
    for (sg_dim i = 0; i < n; i++) {
        if (label[i] >= opts->n_classes)
            return sg_fail(err, SG_EARG,
                           "probe: row %" PRId64 " has label %" PRId32 " for task %" PRId64 ", wanted 0 to %d",
                           i / tasks, label[i], i % tasks, opts->n_classes - 1);
        known += label[i] >= 0;
    }
    if (known == 0)
        return sg_fail(err, SG_EARG, "probe: %" PRId64 " rows without a label: nothing to fit", acts->dims[0]);
    const float *x = acts->data;
    for (sg_dim i = 0; i < sg_tensor_count(acts); i++)
        if (!isfinite(x[i]))
            return sg_fail(err, SG_ENUMERIC, "probe: row %" PRId64 " of acts has %g at place %" PRId64,
                           i / acts->dims[1], (double)x[i], i % acts->dims[1]);
    return SG_OK;
}

sg_status sg_probe_fit(sg_probe **out, const sg_tensor *acts, const sg_tensor *labels, sg_probe_opts opts,
                       sg_error *err)
{
    *out = NULL;
    SG_TRY(check_fit(acts, labels, &opts, err));
    sg_probe *p;
    SG_TRY(sg_probe_new(&p, opts.kind, acts->dims[1], labels->dims[1], opts.n_classes, opts.hidden, err));
    const sg_status status = opts.kind == SG_PROBE_RIDGE  ? sg_probe_fit_closed(p, acts, labels, &opts, err)
                             : opts.kind == SG_PROBE_MEAN ? sg_probe_fit_means(p, acts, labels, &opts, err)
                                                          : sg_probe_fit_trained(p, acts, labels, &opts, err);
    if (status != SG_OK) {
        sg_probe_free(p);
        return status;
    }
    *out = p;
    return SG_OK;
}

sg_probe_kind sg_probe_get_kind(const sg_probe *p)
{
    return p->kind;
}

sg_dim sg_probe_width(const sg_probe *p)
{
    return p->width;
}

sg_dim sg_probe_n_tasks(const sg_probe *p)
{
    return p->tasks;
}

int sg_probe_n_classes(const sg_probe *p)
{
    return p->classes;
}

const sg_tensor *sg_probe_weights(const sg_probe *p)
{
    static const sg_tensor none = {0};
    return p->kind == SG_PROBE_MLP ? &none : &p->w;
}

/* ---- reading ---- */

sg_value *sg_probe_formula(sg_graph *g, sg_value *x, sg_value *first, sg_value *first_bias, sg_value *w, sg_value *b,
                           sg_dim tasks, int classes)
{
    const int n = sg_value_n_dims(x);
    const sg_dim outputs = tasks * classes, inner = sg_value_dim(w, 0);
    sg_dim dims[SG_MAX_DIMS] = {0};
    if (n < 1 || n + 1 > SG_MAX_DIMS)
        return sg_reshape(g, x, 1, (sg_dim[]){-1}); /* leaves the graph with its error */
    if (first)
        x = sg_relu(g, sg_add(g, sg_matmul(g, x, first, false, false), first_bias));
    sg_value *y = sg_matmul(g, x, sg_reshape(g, w, 2, (sg_dim[]){inner, outputs}), false, false);
    if (b)
        y = sg_add(g, y, sg_reshape(g, b, 1, &outputs));
    for (int k = 0; k + 1 < n; k++)
        dims[k] = sg_value_dim(x, k);
    dims[n - 1] = tasks;
    dims[n] = classes;
    return sg_reshape(g, y, n + 1, dims);
}

sg_value *sg_probe_graph(sg_graph *g, const sg_probe *p, sg_value *x)
{
    const bool mlp = p->kind == SG_PROBE_MLP;
    return sg_probe_formula(g, x, mlp ? sg_const(g, &p->first) : NULL, mlp ? sg_const(g, &p->first_bias) : NULL,
                            sg_const(g, &p->w), sg_const(g, &p->b), p->tasks, p->classes);
}

/* What the graph makes of acts, in slices: logits, or the classes that have the greatest. */
static sg_status apply(const sg_probe *p, const sg_tensor *acts, bool classes, void *out, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (acts->dtype != SG_F32 || acts->n_dims != 2 || acts->dims[1] != p->width)
        return sg_fail(err, SG_ESHAPE, "probe: acts are %s %s, wanted [rows,%" PRId64 "] f32",
                       sg_dtype_name(acts->dtype), sg_shape_text(shape, acts->n_dims, acts->dims), p->width);
    sg_graph *g = sg_graph_new();
    sg_session *session = NULL;
    if (!g)
        return sg_fail(err, SG_ENOMEM, "probe: out of memory");
    const sg_dim dims[2] = {sg_extent(g, "batch"), p->width};
    sg_value *x = sg_input(g, "x", SG_F32, 2, dims), *y = sg_probe_graph(g, p, x);
    if (classes)
        y = sg_argmax(g, y, -1, false);
    sg_status status = sg_graph_status(g, err);
    if (status == SG_OK)
        status = sg_session_new(&session, g, NULL, sg_exec_defaults(), err);
    char *to = out;
    for (sg_dim i = 0; i < acts->dims[0] && status == SG_OK; i += ROWS) {
        sg_tensor read;
        const sg_feed feed = {x, sg_rows_of(acts, i, SG_MIN(ROWS, acts->dims[0] - i))};
        status = sg_session_run(session, 1, &feed, 1, &y, &read, err);
        if (status == SG_OK) {
            memcpy(to, read.data, sg_tensor_bytes(&read));
            to += sg_tensor_bytes(&read);
        }
    }
    sg_session_free(session);
    sg_graph_free(g);
    return status;
}

sg_status sg_probe_logits(const sg_probe *p, const sg_tensor *acts, float *out, sg_error *err)
{
    return apply(p, acts, false, out, err);
}

sg_status sg_probe_read(const sg_probe *p, const sg_tensor *acts, int32_t *out, sg_error *err)
{
    return apply(p, acts, true, out, err);
}

sg_status sg_probe_direction(const sg_probe *p, sg_dim task, int to, int from, float *out, sg_error *err)
{
    const int classes = p->classes;
    if (p->kind == SG_PROBE_MLP)
        return sg_fail(err, SG_EUNSUPPORTED, "probe: an mlp has no direction; its gradient does, at each activation");
    if (task < 0 || task >= p->tasks || to < 0 || to >= classes || from >= classes || from == to)
        return sg_fail(err, SG_EARG,
                       "probe: class %d less %d of task %" PRId64 "; there are %d classes, %" PRId64 " tasks", to, from,
                       task, classes, p->tasks);
    double norm2 = 0;
    for (sg_dim i = 0; i < p->width; i++) {
        const float *w = (const float *)p->w.data + (i * p->tasks + task) * classes;
        double others = from >= 0 ? (double)w[from] : 0;
        for (int c = 0; c < classes && from < 0; c++)
            others += c == to ? 0 : (double)w[c] / (classes - 1);
        out[i] = (float)((double)w[to] - others);
        norm2 += (double)out[i] * (double)out[i];
    }
    if (!(norm2 > 0))
        return sg_fail(err, SG_ENUMERIC, "probe: class %d of task %" PRId64 " has no direction, its weights are 0", to,
                       task);
    for (sg_dim i = 0; i < p->width; i++)
        out[i] = (float)((double)out[i] / sqrt(norm2));
    return SG_OK;
}
