/* Graphs, their state and their runs, for web/src/engine/graph.ts. Extents cross as doubles (a symbolic one is
 * negative, as in graph.h), tensors as `crossing`. A builder's failure is the graph's first and last: what was built
 * before still stands in it, but it cannot be run. */
#include "builders.h"
#include "engine.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

enum { SG_ENGINE_VALUES = 512 }; /* of feeds and of fetches in one run */

/* A tensor on its way: a feed names the value it is for. */
typedef struct crossing {
    sg_value *value;
    int32_t dtype, n_dims;
    void *data;
    int32_t dims[SG_MAX_DIMS];
} crossing;

static void *built(sg_graph *g, sg_value *v)
{
    return engine_result(sg_graph_status(g, engine_error()), v);
}

static bool read_dims(int n, const double *from, sg_dim *dims)
{
    if (n < 0 || n > SG_MAX_DIMS) {
        sg_fail(engine_error(), SG_ESHAPE, "%d axes, at most %d are possible", n, SG_MAX_DIMS);
        return false;
    }
    for (int k = 0; k < n; k++)
        dims[k] = (sg_dim)from[k];
    return true;
}

static bool known_type(int dtype)
{
    if (dtype >= 0 && dtype <= SG_BOOL) /* packed types are storage */
        return true;
    sg_fail(engine_error(), SG_ETYPE, "no element type has the number %d", dtype);
    return false;
}

/* ---- graphs ---- */

SG_EXPORT(sg_graph *, graph_new, void)
{
    sg_graph *g = sg_graph_new();
    return engine_result(g ? SG_OK : sg_fail(engine_error(), SG_ENOMEM, "out of memory for a graph"), g);
}

SG_EXPORT(void, graph_free, sg_graph *g)
{
    sg_graph_free(g);
}

SG_EXPORT(sg_graph *, graph_fork, const sg_graph *g)
{
    sg_graph *out = NULL;
    return engine_result(sg_graph_fork(&out, g, engine_error()), out);
}

SG_EXPORT(double, graph_extent, sg_graph *g, const char *symbol)
{
    return (double)sg_extent(g, symbol);
}

/* a + b, a - b or a b, for how 0, 1 and 2 */
SG_EXPORT(double, graph_extent_of, sg_graph *g, int how, double a, double b)
{
    const sg_dim x = (sg_dim)a, y = (sg_dim)b;
    return (double)(how == 0 ? sg_dim_add(g, x, y) : how == 1 ? sg_dim_sub(g, x, y) : sg_dim_mul(g, x, y));
}

SG_EXPORT(sg_value *, graph_input, sg_graph *g, const char *name, int dtype, int n_dims, const double *dims)
{
    sg_dim d[SG_MAX_DIMS];
    if (!read_dims(n_dims, dims, d) || !known_type(dtype))
        return NULL;
    return built(g, sg_input(g, name, (sg_dtype)dtype, n_dims, d));
}

/* kind: 0 the constant a, 1 normal around a with deviation b, 2 uniform from a to b */
SG_EXPORT(sg_value *, graph_variable, sg_graph *g, const char *name, int dtype, int n_dims, const double *dims,
          int kind, double a, double b)
{
    sg_dim d[SG_MAX_DIMS];
    sg_init init = sg_init_constant(a);
    if (!read_dims(n_dims, dims, d) || !known_type(dtype))
        return NULL;
    if (kind == 1)
        init = sg_init_normal(b), init.a = a;
    else if (kind == 2)
        init = sg_init_uniform(a, b);
    return built(g, sg_variable(g, name, (sg_dtype)dtype, n_dims, d, init));
}

/* data lies in memory in the type's own layout and is copied. */
SG_EXPORT(sg_value *, graph_const, sg_graph *g, int dtype, int n_dims, const double *dims, void *data)
{
    sg_dim d[SG_MAX_DIMS];
    if (!read_dims(n_dims, dims, d) || !known_type(dtype))
        return NULL;
    const sg_tensor t = sg_tensor_of((sg_dtype)dtype, n_dims, d, data);
    return built(g, sg_const(g, &t));
}

SG_EXPORT(sg_value *, graph_op, sg_graph *g, const char *name, int n_values, sg_value *const *values, int n_numbers,
          const double *numbers)
{
    return built(g, builder_call(g, name, n_values, values, n_numbers, numbers));
}

SG_EXPORT(sg_value *, graph_name, sg_graph *g, sg_value *v, const char *name, const char *axes)
{
    return built(g, sg_name(g, v, name, axes[0] ? axes : NULL));
}

/* 0 where no value has the name, and the error suggests one. */
SG_EXPORT(sg_value *, graph_find, const sg_graph *g, const char *name)
{
    sg_value *v = sg_graph_find(g, name);
    const char *near = v ? NULL : sg_graph_nearest(g, name);
    if (!v)
        sg_fail(engine_error(), SG_ENOTFOUND, "no value is named \"%.60s\"%s%.60s%s", name,
                near ? "; nearest is \"" : "", near ? near : "", near ? "\"" : "");
    return v;
}

SG_EXPORT(int, graph_n_names, const sg_graph *g)
{
    return sg_graph_n_names(g);
}

SG_EXPORT(sg_value *, graph_named, const sg_graph *g, int i)
{
    return sg_graph_named(g, i);
}

/* The value of another graph that was forked from this one, or of which this one is a fork. */
SG_EXPORT(sg_value *, graph_same, const sg_graph *g, const sg_value *v)
{
    return sg_value_id(v) < sg_graph_size(g) ? sg_graph_at(g, sg_value_id(v)) : NULL;
}

SG_EXPORT(int, graph_replace, sg_graph *g, sg_value *v, sg_value *with)
{
    sg_replace(g, v, with);
    return (int)sg_graph_status(g, engine_error());
}

/* out[i]: sum over y of dy times dy/dx[i]; dy 0: ones */
SG_EXPORT(int, graph_gradients, sg_graph *g, sg_value *y, sg_value *dy, int n, sg_value *const *xs, sg_value **out)
{
    sg_gradients(g, y, dy, n, xs, out);
    return (int)sg_graph_status(g, engine_error());
}

SG_EXPORT(sg_value *, graph_jvp, sg_graph *g, sg_value *y, sg_value *x, sg_value *v)
{
    return built(g, sg_jvp(g, y, x, v));
}

/* ---- values ---- */

/* type, whether it is a variable, number of axes, extents */
SG_EXPORT(const double *, value_shape, const sg_value *v)
{
    static double out[3 + SG_MAX_DIMS];
    out[0] = sg_value_dtype(v);
    out[1] = v->slot >= 0;
    out[2] = sg_value_n_dims(v);
    for (int k = 0; k < sg_value_n_dims(v); k++)
        out[3 + k] = (double)sg_value_dims(v)[k];
    return out;
}

SG_EXPORT(const char *, value_name, const sg_value *v)
{
    return sg_value_name(v);
}

SG_EXPORT(const char *, value_op, const sg_value *v)
{
    return sg_value_op(v);
}

SG_EXPORT(const char *, value_shape_text, const sg_value *v)
{
    static char text[SG_SHAPE_TEXT];
    return sg_value_shape_text(v, text);
}

/* ---- state ---- */

SG_EXPORT(sg_state *, state_new, const sg_graph *g)
{
    sg_state *s = NULL;
    return engine_result(sg_state_new(&s, g, engine_error()), s);
}

SG_EXPORT(void, state_free, sg_state *s)
{
    sg_state_free(s);
}

SG_EXPORT(int, state_init, sg_state *s, uint32_t seed_low, uint32_t seed_high)
{
    return (int)sg_state_init(s, (uint64_t)seed_high << 32 | seed_low, engine_error());
}

/* The address of a variable's numbers; they may be written between runs. */
SG_EXPORT(void *, state_data, sg_state *s, const sg_value *variable)
{
    const sg_tensor *t = sg_state_tensor(s, variable);
    if (!t)
        sg_fail(engine_error(), SG_EARG,
                "%s has no numbers: it is no variable of this state, or the state was not started",
                sg_value_name(variable));
    return t ? t->data : NULL;
}

/* ---- sessions ---- */

/* One thread and the reference kernels. fuse 0: each operation by itself, in the order that gives the native build's
 * bytes with the same option, whatever the threads there. */
SG_EXPORT(sg_session *, session_new, const sg_graph *g, sg_state *state, int fuse)
{
    sg_session *s = NULL;
    const sg_exec_opts opts = {.n_threads = 1, .share = true, .fold = true, .fuse = fuse != 0, .compute = SG_F32};
    return engine_result(sg_session_new(&s, g, state, opts, engine_error()), s);
}

SG_EXPORT(void, session_free, sg_session *s)
{
    sg_session_free(s);
}

SG_EXPORT(int, session_extent, sg_session *s, const char *symbol, double value, double most)
{
    return (int)sg_session_extent(s, symbol, (sg_dim)value, (sg_dim)most, engine_error());
}

SG_EXPORT(void, session_guard, sg_session *s, int on)
{
    sg_session_guard(s, on != 0);
}

/* Results are the session's until its next run. */
SG_EXPORT(int, session_run, sg_session *s, int n_feeds, const crossing *feeds, int n_fetches, sg_value *const *fetches,
          crossing *out)
{
    sg_feed fed[SG_ENGINE_VALUES];
    sg_tensor got[SG_ENGINE_VALUES];

    if (n_feeds > SG_ENGINE_VALUES || n_fetches > SG_ENGINE_VALUES)
        return (int)sg_fail(engine_error(), SG_EARG, "%d feeds and %d fetches, at most %d of each in a run", n_feeds,
                            n_fetches, SG_ENGINE_VALUES);
    for (int i = 0; i < n_feeds; i++) {
        const crossing *f = &feeds[i];
        sg_dim dims[SG_MAX_DIMS];
        if (f->n_dims < 0 || f->n_dims > SG_MAX_DIMS)
            return (int)sg_fail(engine_error(), SG_ESHAPE, "a feed of %d axes", f->n_dims);
        for (int k = 0; k < f->n_dims; k++)
            dims[k] = f->dims[k];
        fed[i] = (sg_feed){f->value, sg_tensor_of((sg_dtype)f->dtype, f->n_dims, dims, f->data)};
    }
    const sg_status status = sg_session_run(s, n_feeds, fed, n_fetches, fetches, got, engine_error());
    for (int i = 0; i < n_fetches && status == SG_OK; i++) {
        out[i] = (crossing){fetches[i], (int32_t)got[i].dtype, got[i].n_dims, got[i].data, {0}};
        for (int k = 0; k < got[i].n_dims; k++)
            out[i].dims[k] = (int32_t)got[i].dims[k];
    }
    return (int)status;
}

/* How many nodes the last run executed, and what each was. */
SG_EXPORT(int, session_n_steps, const sg_session *s)
{
    const sg_plan *p = sg_session_plan(s);
    return p ? sg_plan_n_steps(p) : 0;
}

SG_EXPORT(const char *, session_step, const sg_session *s, int i)
{
    const sg_plan *p = sg_session_plan(s);
    return p && i >= 0 && i < sg_plan_n_steps(p) ? sg_plan_step_op(p, i) : NULL;
}

/* Bytes of the block that holds the last run's values. */
SG_EXPORT(double, session_bytes, const sg_session *s)
{
    const sg_plan *p = sg_session_plan(s);
    return p ? (double)sg_plan_bytes(p) : 0;
}

/* ---- what there is ---- */

SG_EXPORT(const char *, graph_builder, int i)
{
    return builder_name(i);
}

SG_EXPORT(const char *, graph_operation, int i)
{
    const sg_op *op = sg_op_at(i);
    return op ? op->name : NULL;
}
