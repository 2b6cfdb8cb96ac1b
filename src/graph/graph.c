/* Building graphs: values, leaves, names, forks and replacement.
 *
 * A graph owns everything in its arena; the tables that grow are malloc'd and freed with it. The first
 * failure is kept in the graph, and from then on builders return the dummy. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph_internal.h"

/* ---- leaves: they have no kernel, their shape is given ---- */

const sg_op sg_op_input = {.name = "input", .flags = SG_OP_LEAF};
const sg_op sg_op_const = {.name = "const", .flags = SG_OP_LEAF};
const sg_op sg_op_variable = {.name = "variable", .flags = SG_OP_LEAF | SG_OP_STATE};

extern const sg_op sg_op_identity;

bool sg_graph_grow(void **array, int n, int *capacity, size_t size)
{
    if (n < *capacity)
        return true;
    const int more = *capacity ? *capacity * 2 : 16;
    void *p = realloc(*array, (size_t)more * size);
    if (!p)
        return false;
    *array = p;
    *capacity = more;
    return true;
}

sg_graph *sg_graph_new(void)
{
    sg_graph *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->arena = sg_arena_new();
    g->names = sg_map_new(64);
    g->scope = "";
    g->dummy = (sg_value){.id = -1, .op = &sg_op_const, .graph = g, .slot = -1, .scope = ""};
    static const float zero = 0;
    g->dummy.data = &zero;
    if (!g->arena || !g->names) {
        sg_graph_free(g);
        return NULL;
    }
    return g;
}

void sg_graph_free(sg_graph *g)
{
    if (!g)
        return;
    sg_arena_free(g->arena);
    sg_map_free(g->names);
    free(g->nodes);
    free(g->named);
    free(g->slots);
    free(g->polys);
    free(g);
}

sg_status sg_graph_status(const sg_graph *g, sg_error *err)
{
    if (g->failure.status != SG_OK && err)
        *err = g->failure;
    return g->failure.status;
}

bool sg_graph_failed(const sg_graph *g)
{
    return g->failure.status != SG_OK;
}

sg_value *sg_graph_fail(sg_graph *g, sg_status status, const char *fmt, ...)
{
    if (g->failure.status == SG_OK) {
        va_list args;
        g->failure.status = status;
        va_start(args, fmt);
        vsnprintf(g->failure.text, sizeof g->failure.text, fmt, args);
        va_end(args);
    }
    return &g->dummy;
}

static sg_value *out_of_memory(sg_graph *g)
{
    return sg_graph_fail(g, SG_ENOMEM, "out of memory for a graph of %d values", g->n_nodes);
}

/* Whether v is of g; else g has failed. */
static bool own(sg_graph *g, const char *what, const sg_value *v)
{
    if (v->graph == g)
        return true;
    sg_graph_fail(g, SG_EARG, "%s: %s is of another graph", what, sg_value_name(v));
    return false;
}

/* Whether dims are numbers or extents of g; else g has failed. */
static bool own_dims(sg_graph *g, const sg_op *op, int n_dims, const sg_dim *dims)
{
    for (int k = 0; k < n_dims; k++)
        if (dims[k] < 0 && -1 - dims[k] >= g->n_polys) {
            sg_graph_fail(g, SG_ESHAPE, "%s: extent %lld", op->name, (long long)dims[k]);
            return false;
        }
    return true;
}

/* A value with an id and room for its inputs; NULL when memory is out. */
static sg_value *new_value(sg_graph *g, const sg_op *op, int n_in)
{
    void *array = g->nodes;
    const bool grown = sg_graph_grow(&array, g->n_nodes, &g->nodes_capacity, sizeof g->nodes[0]);
    g->nodes = array;
    sg_value *v = grown ? sg_arena_alloc(g->arena, sizeof *v) : NULL;
    if (!v || (n_in > 0 && !(v->in = sg_arena_array(g->arena, (size_t)n_in, sizeof v->in[0]))))
        return NULL;
    v->id = g->n_nodes;
    v->op = op;
    v->graph = g;
    v->n_in = n_in;
    v->slot = -1;
    v->scope = g->scope;
    g->nodes[g->n_nodes++] = v;
    return v;
}

sg_value *sg_node(sg_graph *g, const sg_op *op, int n_in, sg_value *const *in, const sg_attrs *attrs)
{
    sg_attrs own = {0};
    sg_error err = {SG_OK, ""};

    if (sg_graph_failed(g))
        return &g->dummy;
    if (attrs)
        own = *attrs;
    if (n_in < op->min_in || n_in > op->max_in)
        return sg_graph_fail(g, SG_EARG, "%s: %d inputs, wanted %d to %d", op->name, n_in, op->min_in, op->max_in);
    for (int i = 0; i < n_in; i++)
        if (!in[i] || in[i]->graph != g)
            return sg_graph_fail(g, SG_EARG, "%s: input %d is %s", op->name, i, in[i] ? "of another graph" : "NULL");

    sg_infer s = {.g = g, .op = op, .n_in = n_in, .in = in, .attrs = &own};
    for (int i = 0; i < n_in && !(op->flags & SG_OP_PACKED); i++)
        if (sg_dtype_block(in[i]->dtype) > 1)
            return sg_graph_fail(g, SG_ETYPE, "%s: %s is packed as %s, which this operation cannot take", op->name,
                                 sg_value_name(in[i]), sg_dtype_name(in[i]->dtype));
    const sg_status status = op->infer(&s, &err);
    if (status != SG_OK)
        return sg_graph_fail(g, status, "%s", err.text);
    if (sg_graph_failed(g) || !own_dims(g, op, s.n_dims, s.dims)) /* failed: an extent's arithmetic */
        return &g->dummy;

    sg_value *v = new_value(g, op, n_in);
    if (!v)
        return out_of_memory(g);
    if (n_in > 0)
        memcpy(v->in, in, (size_t)n_in * sizeof in[0]);
    v->dtype = s.dtype;
    v->n_dims = s.n_dims;
    memcpy(v->dims, s.dims, sizeof v->dims);
    v->attrs = own;
    return v;
}

static sg_value *leaf(sg_graph *g, const sg_op *op, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    if (sg_graph_failed(g))
        return NULL;
    if (n_dims < 0 || n_dims > SG_MAX_DIMS) {
        sg_graph_fail(g, SG_ESHAPE, "%s: %d axes, at most %d", op->name, n_dims, SG_MAX_DIMS);
        return NULL;
    }
    if (!own_dims(g, op, n_dims, dims))
        return NULL;
    sg_value *v = new_value(g, op, 0);
    if (!v) {
        out_of_memory(g);
        return NULL;
    }
    v->dtype = dtype;
    v->n_dims = n_dims;
    if (n_dims > 0)
        memcpy(v->dims, dims, (size_t)n_dims * sizeof dims[0]);
    return v;
}

sg_value *sg_input(sg_graph *g, const char *name, sg_dtype dtype, int n_dims, const sg_dim *dims)
{
    if (sg_dtype_block(dtype) > 1)
        return sg_graph_fail(g, SG_ETYPE, "input %s: %s is how weights are stored", name, sg_dtype_name(dtype));
    sg_value *v = leaf(g, &sg_op_input, dtype, n_dims, dims);

    return v ? sg_name(g, v, name, NULL) : &g->dummy;
}

sg_value *sg_const(sg_graph *g, const sg_tensor *t)
{
    sg_value *v = leaf(g, &sg_op_const, t->dtype, t->n_dims, t->dims);

    if (!v)
        return &g->dummy;
    const size_t bytes = sg_tensor_bytes(t);
    void *data = sg_arena_alloc(g->arena, SG_MAX(bytes, 1));
    if (!data)
        return out_of_memory(g);
    if (bytes)
        memcpy(data, t->data, bytes);
    v->data = data;
    return v;
}

sg_value *sg_scalar(sg_graph *g, sg_dtype dtype, double x)
{
    double room;
    sg_tensor t = sg_tensor_of(dtype, 0, NULL, &room);

    sg_tensor_set(&t, 0, x);
    return sg_const(g, &t);
}

sg_init sg_init_constant(double x)
{
    return (sg_init){SG_INIT_CONSTANT, x, 0};
}

sg_init sg_init_normal(double deviation)
{
    return (sg_init){SG_INIT_NORMAL, 0, deviation};
}

sg_init sg_init_uniform(double low, double high)
{
    return (sg_init){SG_INIT_UNIFORM, low, high};
}

sg_value *sg_variable(sg_graph *g, const char *name, sg_dtype dtype, int n_dims, const sg_dim *dims, sg_init init)
{
    for (int k = 0; k < n_dims; k++)
        if (dims[k] < 0)
            return sg_graph_fail(g, SG_ESHAPE, "variable %s: extent %d is not a number", name, k);
    if (sg_dtype_block(dtype) > 1 && (n_dims == 0 || dims[n_dims - 1] % sg_dtype_block(dtype)))
        return sg_graph_fail(g, SG_ESHAPE, "variable %s: rows of %s are whole blocks of %lld numbers", name,
                             sg_dtype_name(dtype), (long long)sg_dtype_block(dtype));
    sg_value *v = leaf(g, &sg_op_variable, dtype, n_dims, dims);
    if (!v)
        return &g->dummy;
    void *array = g->slots;
    const bool grown = sg_graph_grow(&array, g->n_slots, &g->slots_capacity, sizeof g->slots[0]);
    g->slots = array;
    if (!grown)
        return out_of_memory(g);
    v->slot = g->n_slots;
    v->init = init;
    g->slots[g->n_slots++] = v;
    return sg_name(g, v, name, NULL);
}

int sg_graph_n_slots(const sg_graph *g)
{
    return g->n_slots;
}

sg_value *sg_graph_slot(const sg_graph *g, int slot)
{
    return g->slots[slot];
}

/* ---- forks and replacement ---- */

sg_graph *sg_graph_copy_extents(const sg_graph *g)
{
    sg_graph *f = sg_graph_new();

    if (!f)
        return NULL;
    memcpy(f->symbols, g->symbols, sizeof f->symbols);
    f->n_symbols = g->n_symbols;
    f->polys_capacity = SG_MAX(g->n_polys, 1);
    f->polys = malloc((size_t)f->polys_capacity * sizeof *f->polys);
    if (!f->polys) {
        sg_graph_free(f);
        return NULL;
    }
    if (g->n_polys)
        memcpy(f->polys, g->polys, (size_t)g->n_polys * sizeof *f->polys);
    f->n_polys = g->n_polys;
    return f;
}

sg_status sg_graph_fork(sg_graph **out, const sg_graph *g, sg_error *err)
{
    SG_TRY(sg_graph_status(g, err));
    sg_graph *f = sg_graph_copy_extents(g);
    bool ok = f != NULL;

    /* First all values, then the inputs: a replaced value's readers have smaller ids than what they read. */
    for (int i = 0; ok && i < g->n_nodes; i++) {
        const sg_value *v = g->nodes[i];
        sg_value *copy = new_value(f, v->op, v->n_in);
        ok = copy != NULL;
        if (ok) {
            sg_value **in = copy->in;
            *copy = *v;
            copy->in = in;
            copy->graph = f;
        }
    }
    for (int i = 0; ok && i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            f->nodes[i]->in[k] = f->nodes[g->nodes[i]->in[k]->id];

    for (int i = 0; ok && i < g->n_named; i++) {
        void *array = f->named;
        ok = sg_graph_grow(&array, f->n_named, &f->named_capacity, sizeof f->named[0]);
        f->named = array;
        if (ok) {
            sg_value *v = f->nodes[g->named[i]->id];
            f->named[f->n_named++] = v;
            ok = sg_map_put(f->names, v->name, strlen(v->name), i) == SG_OK;
        }
    }
    for (int i = 0; ok && i < g->n_slots; i++) {
        void *array = f->slots;
        ok = sg_graph_grow(&array, f->n_slots, &f->slots_capacity, sizeof f->slots[0]);
        f->slots = array;
        if (ok)
            f->slots[f->n_slots++] = f->nodes[g->slots[i]->id];
    }
    if (!ok) {
        sg_graph_free(f);
        return sg_fail(err, SG_ENOMEM, "out of memory for a copy of a graph of %d values", g->n_nodes);
    }
    *out = f;
    return SG_OK;
}

int sg_graph_order(const sg_graph *g, int n_roots, sg_value *const *roots, const bool *stop, int *order)
{
    /* Depth first without recursion: graphs may be thousands of values deep. */
    typedef struct {
        const sg_value *v;
        int next;
    } sg_frame;
    const size_t n = (size_t)SG_MAX(g->n_nodes, 1);
    sg_frame *stack = malloc(n * sizeof *stack);
    bool *seen = calloc(n, sizeof *seen);
    int count = -1;

    if (stack && seen) {
        count = 0;
        for (int r = 0; r < n_roots; r++) {
            int depth = 0;
            if (roots[r]->id < 0 || seen[roots[r]->id])
                continue;
            seen[roots[r]->id] = true;
            stack[depth++] = (sg_frame){roots[r], 0};
            while (depth > 0) {
                sg_frame *top = &stack[depth - 1];
                const bool stopped = stop && stop[top->v->id];
                if (stopped || top->next == top->v->n_in) {
                    order[count++] = top->v->id;
                    depth--;
                    continue;
                }
                const sg_value *in = top->v->in[top->next++];
                if (in->id >= 0 && !seen[in->id]) {
                    seen[in->id] = true;
                    stack[depth++] = (sg_frame){in, 0};
                }
            }
        }
    }
    free(stack);
    free(seen);
    return count;
}

bool sg_graph_ancestors(const sg_graph *g, const sg_value *v, bool *seen)
{
    int *order = malloc((size_t)SG_MAX(g->n_nodes, 1) * sizeof *order);

    if (!order || v->id < 0) {
        free(order);
        return false;
    }
    const int n = sg_graph_order(g, 1, (sg_value *const[]){g->nodes[v->id]}, NULL, order);
    for (int i = 0; i < n; i++)
        seen[order[i]] = true;
    free(order);
    return n >= 0;
}

/* Whether the graph is well and v and `with` are its own and alike. */
static bool replaceable(sg_graph *g, sg_value *v, sg_value *with)
{
    char a[SG_SHAPE_TEXT], b[SG_SHAPE_TEXT];

    if (sg_graph_failed(g) || v == with || !own(g, "replacing", v) || !own(g, "replacing", with))
        return false;
    if (v->dtype != with->dtype || v->n_dims != with->n_dims ||
        memcmp(v->dims, with->dims, (size_t)v->n_dims * sizeof v->dims[0]) != 0) {
        sg_graph_fail(g, v->dtype != with->dtype ? SG_ETYPE : SG_ESHAPE,
                      "replacing %s: it is %s %s, the new value is %s %s", sg_value_name(v), sg_dtype_name(v->dtype),
                      sg_value_shape_text(v, a), sg_dtype_name(with->dtype), sg_value_shape_text(with, b));
        return false;
    }
    return true;
}

/* Readers of v that `with` is not computed from read `with`. */
static bool redirect(sg_graph *g, sg_value *v, sg_value *with)
{
    bool *behind = calloc((size_t)g->n_nodes, sizeof *behind);
    if (!behind || !sg_graph_ancestors(g, with, behind)) {
        free(behind);
        out_of_memory(g);
        return false;
    }
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; !behind[i] && k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] == v)
                g->nodes[i]->in[k] = with;
    free(behind);

    return true;
}

/* v's name is now `with`'s, which has none of its own. */
static void pass_name(sg_graph *g, sg_value *v, sg_value *with)
{
    const int32_t at = sg_map_get(g->names, v->name, strlen(v->name));

    SG_ASSERT(at >= 0 && g->named[at] == v);
    g->named[at] = with;
    with->name = v->name;
    with->axes = v->axes;
    v->name = v->axes = NULL;
}

void sg_graph_redirect(sg_graph *g, sg_value *v, sg_value *with)
{
    if (replaceable(g, v, with))
        (void)redirect(g, v, with);
}

void sg_graph_substitute(sg_graph *g, sg_value *v, sg_value *with)
{
    if (!replaceable(g, v, with))
        return;
    if (v->name && with->name)
        with = sg_node(g, &sg_op_identity, 1, &with, NULL);
    if (!sg_graph_failed(g) && redirect(g, v, with) && v->name)
        pass_name(g, v, with);
}

void sg_replace(sg_graph *g, sg_value *v, sg_value *with)
{
    if (!replaceable(g, v, with))
        return;
    if (v->name && with->name) /* so that both names are values of their own, as in sg_name */
        with = sg_node(g, &sg_op_identity, 1, &with, NULL);
    if (sg_graph_failed(g) || !redirect(g, v, with) || !v->name)
        return;
    pass_name(g, v, with);
    char *old = sg_arena_printf(g->arena, "%s.unedited", with->name);
    if (!old)
        out_of_memory(g);
    else if (sg_map_get(g->names, old, strlen(old)) < 0) /* a second edit of a site keeps the first original */
        sg_name(g, v, old, with->axes);
}

/* ---- names ---- */

void sg_scope(sg_graph *g, const char *fmt, ...)
{
    char text[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (strcmp(text, g->scope) == 0)
        return;
    const char *scope = text[0] ? sg_arena_strdup(g->arena, text) : "";
    if (!scope)
        out_of_memory(g);
    else
        g->scope = scope;
}

sg_value *sg_name(sg_graph *g, sg_value *v, const char *name, const char *axes)
{
    if (sg_graph_failed(g) || !own(g, name, v))
        return &g->dummy;
    if (axes && (int)strlen(axes) != v->n_dims)
        return sg_graph_fail(g, SG_EARG, "name %s: axes \"%s\" for %d axes", name, axes, v->n_dims);
    if (v->name && strcmp(v->name, name) == 0) { /* its own name again: the axes are what is new */
        const char *said = axes ? sg_arena_strdup(g->arena, axes) : v->axes;
        if (!said)
            return out_of_memory(g);
        v->axes = said;
        return v;
    }
    if (v->name)
        v = sg_node(g, &sg_op_identity, 1, &v, NULL);
    if (sg_graph_failed(g))
        return &g->dummy;
    if (sg_map_get(g->names, name, strlen(name)) >= 0)
        return sg_graph_fail(g, SG_EARG, "two values are named %s", name);

    void *array = g->named;
    const bool grown = sg_graph_grow(&array, g->n_named, &g->named_capacity, sizeof g->named[0]);
    g->named = array;
    const char *kept = grown ? sg_arena_strdup(g->arena, name) : NULL;
    const char *kept_axes = kept ? sg_arena_strdup(g->arena, axes ? axes : &"dddddddd"[SG_MAX_DIMS - v->n_dims]) : NULL;
    if (!kept_axes || sg_map_put(g->names, kept, strlen(kept), g->n_named) != SG_OK)
        return out_of_memory(g);
    v->name = kept;
    v->axes = kept_axes;
    g->named[g->n_named++] = v;
    return v;
}

sg_value *sg_graph_find(const sg_graph *g, const char *name)
{
    const int32_t at = sg_map_get(g->names, name, strlen(name));

    return at < 0 ? NULL : g->named[at];
}

int sg_graph_n_names(const sg_graph *g)
{
    return g->n_named;
}

sg_value *sg_graph_named(const sg_graph *g, int i)
{
    return g->named[i];
}

const char *sg_graph_nearest(const sg_graph *g, const char *name)
{
    const char *best = NULL;
    int least = 0;

    for (int i = 0; i < g->n_named; i++) {
        const int d = sg_edit_distance(name, g->named[i]->name);
        if (!best || d < least) {
            best = g->named[i]->name;
            least = d;
        }
    }
    return best;
}

/* ---- looking at values ---- */

int sg_graph_size(const sg_graph *g)
{
    return g->n_nodes;
}

sg_value *sg_graph_at(const sg_graph *g, int id)
{
    SG_ASSERT(id >= 0 && id < g->n_nodes);
    return g->nodes[id];
}

int sg_value_id(const sg_value *v)
{
    return v->id;
}

const char *sg_value_name(const sg_value *v)
{
    if (v->name)
        return v->name;
    /* Made once on demand would write to a graph that threads share, so such names are made by whoever plans. */
    return v->op->name;
}

bool sg_value_is_named(const sg_value *v)
{
    return v->name != NULL;
}

const char *sg_value_axes(const sg_value *v)
{
    return v->axes ? v->axes : "";
}

const char *sg_value_op(const sg_value *v)
{
    return v->op->name;
}

sg_dtype sg_value_dtype(const sg_value *v)
{
    return v->dtype;
}

int sg_value_n_dims(const sg_value *v)
{
    return v->n_dims;
}

sg_dim sg_value_dim(const sg_value *v, int axis)
{
    const int k = axis < 0 ? axis + v->n_dims : axis;

    return k >= 0 && k < v->n_dims ? v->dims[k] : 1;
}

const sg_dim *sg_value_dims(const sg_value *v)
{
    return v->dims;
}

int sg_value_n_in(const sg_value *v)
{
    return v->n_in;
}

sg_value *sg_value_in(const sg_value *v, int i)
{
    return v->in[i];
}

const char *sg_value_shape_text(const sg_value *v, char buf[SG_SHAPE_TEXT])
{
    char one[SG_SHAPE_TEXT];
    size_t at = 1;

    buf[0] = '[';
    for (int k = 0; k < v->n_dims && at < SG_SHAPE_TEXT - 2; k++)
        at += (size_t)snprintf(buf + at, SG_SHAPE_TEXT - at, "%s%s", k ? "," : "", sg_dim_text(v->graph, v->dims[k], one));
    at = SG_MIN(at, SG_SHAPE_TEXT - 2);
    buf[at] = ']';
    buf[at + 1] = 0;
    return buf;
}
