/* Planning: from fetches and feeds to the least list of steps.
 *
 * In order: prune (walk back from the fetches, stop at feeds), share equal nodes, fold constants, decide which shape
 * operations are views, join what is better computed together (cluster.c), order steps so that whoever reads a variable
 * does so before it changes, choose a kernel for each step, lay out memory by lifetime. */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"
#include "ops/copy.h"
#include "ops/ops.h"

#define FOLD_BYTES ((size_t)1 << 20) /* constants larger than this are computed in the run instead */

extern const sg_op sg_op_identity;

/* ---- views ---- */

bool sg_view_is_contiguous(const sg_view *v)
{
    sg_dim stride = 1;

    for (int k = v->n_dims - 1; k >= 0; k--) {
        if (v->dims[k] != 1 && v->strides[k] != stride)
            return v->dims[k] == 0;
        stride *= v->dims[k];
    }
    return true;
}

void sg_resolve_dims(const sg_graph *extents, const sg_value *v, const int64_t *symbols, sg_dim *dims)
{
    for (int k = 0; k < v->n_dims; k++)
        dims[k] = v->dims[k] >= 0 ? v->dims[k] : sg_dim_eval(extents, v->dims[k], symbols);
}

void sg_resolve_attrs(const sg_graph *extents, const sg_value *v, const int64_t *symbols, int64_t *out)
{
    for (int k = 0; k < v->attrs.n_i; k++)
        out[k] = v->attrs.i[k] >= 0 ? v->attrs.i[k] : sg_dim_eval(extents, v->attrs.i[k], symbols);
}

static unsigned symbols_of(const sg_graph *g, const sg_value *v)
{
    unsigned bits = 0;

    for (int k = 0; k < v->n_dims; k++)
        bits |= sg_dim_symbols(g, v->dims[k]);
    for (int k = 0; k < v->attrs.n_i; k++)
        bits |= sg_dim_symbols(g, v->attrs.i[k]);
    return bits;
}

static sg_status no_memory(sg_planner *pl)
{
    return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan of %d values", pl->p->n_values);
}

/* ---- sharing ---- */

static bool same(const sg_value *a, const sg_value *b, const int *value_of)
{
    if (a->op != b->op || a->dtype != b->dtype || a->n_in != b->n_in || a->n_dims != b->n_dims ||
        a->attrs.n_i != b->attrs.n_i || a->attrs.n_f != b->attrs.n_f)
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (value_of[a->in[i]->id] != value_of[b->in[i]->id])
            return false;
    if (memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof a->dims[0]) != 0 ||
        memcmp(a->attrs.i, b->attrs.i, (size_t)a->attrs.n_i * sizeof a->attrs.i[0]) != 0 ||
        memcmp(a->attrs.f, b->attrs.f, (size_t)a->attrs.n_f * sizeof a->attrs.f[0]) != 0)
        return false;
    if (a->data != b->data) {
        if (!a->data || !b->data || a->n_dims > 1)
            return false;
        const sg_dim n = a->n_dims ? a->dims[0] : 1;
        return n <= 64 && sg_dtype_block(a->dtype) == 1 &&
               memcmp(a->data, b->data, (size_t)n * sg_dtype_bytes(a->dtype)) == 0;
    }
    return true;
}

static uint64_t hash_of(const sg_value *v, const int *value_of)
{
    uint64_t h = sg_hash(&v->op, sizeof v->op, (uint64_t)v->n_in);

    for (int i = 0; i < v->n_in; i++)
        h = sg_hash(&value_of[v->in[i]->id], sizeof(int), h);
    h = sg_hash(v->dims, (size_t)v->n_dims * sizeof v->dims[0], h);
    h = sg_hash(v->attrs.i, (size_t)v->attrs.n_i * sizeof v->attrs.i[0], h);
    return sg_hash(v->attrs.f, (size_t)v->attrs.n_f * sizeof v->attrs.f[0], h);
}

/* ---- kernel arguments without data, for views, backends and scratch ---- */

static void arguments(sg_plan *p, const sg_plan_value *x, int n_in, const int *in, const sg_view **ins, sg_view *out,
                      sg_kernel_args *k)
{
    for (int i = 0; i < n_in; i++)
        ins[i] = &p->values[in[i]].view;
    *k = (sg_kernel_args){.op = x->v->op,
                          .n_in = n_in,
                          .in = ins,
                          .out = out,
                          .i = x->attr_i,
                          .f = x->v->attrs.f,
                          .n_threads = p->opts.n_threads,
                          .compute = p->opts.compute};
}

/* Folds a value whose inputs are all constants with known extents; false: computed in the run. */
static bool fold(sg_planner *pl, sg_plan_value *x, const int *in)
{
    sg_plan *p = pl->p;
    const sg_op *op = x->v->op;
    const sg_view *ins[SG_MAX_DIMS];
    sg_kernel_args k;

    if (!p->opts.fold || (op->flags & (SG_OP_STATE | SG_OP_VIEW)) || !op->run || symbols_of(pl->g, x->v) ||
        x->v->n_in > SG_MAX_DIMS)
        return false;
    for (int i = 0; i < x->v->n_in; i++) {
        const sg_plan_value *y = &p->values[in[i]];
        if (p->values[y->root].home != SG_HOME_CONST ||
            (!(op->flags & SG_OP_STRIDED) && !sg_view_is_contiguous(&y->view)))
            return false;
    }
    const size_t bytes = x->bytes;
    if (bytes > FOLD_BYTES)
        return false;
    x->view.data = sg_arena_alloc(p->arena, SG_MAX(bytes, 1));
    if (!x->view.data)
        return false;
    arguments(p, x, x->v->n_in, in, ins, &x->view, &k);
    k.n_threads = 1;
    void *scratch = NULL;
    if (op->scratch) {
        scratch = aligned_alloc(SG_BLOCK_ALIGN, (op->scratch(&k) + SG_BLOCK_ALIGN) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN);
        k.scratch = scratch;
    }
    const bool done =
        (!op->scratch || scratch) && op->run(&k, NULL) == SG_OK; /* an error is left to the run, which can name it */
    free(scratch);
    if (!done) {
        x->view.data = NULL;
        return false;
    }
    x->home = SG_HOME_CONST;
    x->data = x->view.data;
    return true;
}

/* How x would look as a view of its input, were these the extents; false if it cannot be one. */
static bool probe(const sg_planner *pl, const sg_plan_value *x, int in, const int64_t *symbols, sg_view *out)
{
    const sg_plan *p = pl->p;
    const sg_plan_value *y = &p->values[in];
    int64_t attrs[SG_MAX_ATTR_I];
    sg_view from = y->view;

    if (y->home != SG_HOME_VIEW) {
        sg_resolve_dims(p->extents, y->v, symbols, from.dims);
        sg_view_row_major(&from);
    } else if (!probe(pl, y, y->at, symbols, &from)) {
        return false;
    }
    *out = x->view;
    sg_resolve_dims(p->extents, x->v, symbols, out->dims);
    sg_resolve_attrs(p->extents, x->v, symbols, attrs);
    from.data = out->data = NULL;
    const sg_view *ins[1] = {&from};
    const sg_kernel_args k = {
        .op = x->v->op, .n_in = 1, .in = ins, .out = out, .i = attrs, .f = x->v->attrs.f, .n_threads = 1};
    return x->v->op->view(&k);
}

/* Whether value x can be a view of its input for every extent a run may have. */
static bool as_view(sg_planner *pl, sg_plan_value *x, int in)
{
    sg_plan *p = pl->p;
    const sg_plan_value *y = &p->values[in];
    const sg_view *ins[1];
    sg_kernel_args k;
    sg_view out = x->view;

    if (!x->v->op->view)
        return false;
    arguments(p, x, 1, &in, ins, &out, &k);
    if (!x->v->op->view(&k))
        return false;
    if (!x->varies && !y->varies) {
        x->view = out;
        return true;
    }
    /* What happens to fit at the largest extents may not at others: the least, and some in between, stand for them. */
    sg_view probed;
    if (!probe(pl, x, in, pl->least, &probed) || !probe(pl, x, in, pl->middle, &probed))
        return false;
    x->view = out;
    return true;
}

/* A view whose extents vary is trusted to be contiguous only if it is a plain renaming of axes of a contiguous value.
 */
static bool contiguous_always(const sg_planner *pl, const sg_plan_value *x)
{
    if (x->home != SG_HOME_VIEW)
        return true;
    if (!sg_view_is_contiguous(&x->view))
        return false;
    const sg_plan_value *y = &pl->p->values[x->at];
    if (!x->varies && !y->varies)
        return true;
    return strcmp(x->v->op->name, "slice") != 0 && contiguous_always(pl, y);
}

/* ---- the passes ---- */

static sg_status collect(sg_planner *pl, int n_feeds, sg_value *const *feeds, int n_fetches, sg_value *const *fetches)
{
    sg_plan *p = pl->p;
    const int size = sg_graph_size(pl->g);
    bool *stop = calloc((size_t)size + 1, sizeof *stop);
    int *order = malloc(((size_t)size + 1) * sizeof *order);
    int *feed_at = malloc(((size_t)size + 1) * sizeof *feed_at);
    uint32_t n_buckets = 64;
    while (n_buckets < 2u * (uint32_t)size)
        n_buckets *= 2;
    int *buckets = malloc(n_buckets * sizeof *buckets), *chain = malloc(((size_t)size + 1) * sizeof *chain);
    sg_status status = SG_OK;

    if (!stop || !order || !feed_at || !buckets || !chain) {
        status = no_memory(pl);
        goto done;
    }
    memset(buckets, -1, n_buckets * sizeof *buckets);
    memset(feed_at, -1, ((size_t)size + 1) * sizeof *feed_at);
    for (int i = 0; i < n_feeds; i++) {
        if (feed_at[feeds[i]->id] >= 0) {
            status = sg_fail(pl->err, SG_EARG, "%s is fed twice", sg_value_name(feeds[i]));
            goto done;
        }
        stop[feeds[i]->id] = true;
        feed_at[feeds[i]->id] = i;
    }
    const int n = sg_graph_order(pl->g, n_fetches, fetches, stop, order);
    p->values = n < 0 ? NULL : sg_arena_array(p->arena, (size_t)n + (size_t)n_fetches + 1, sizeof *p->values);
    if (!p->values) {
        status = no_memory(pl);
        goto done;
    }
    for (int o = 0; o < n; o++) {
        const sg_value *v = sg_graph_at(pl->g, order[o]);
        const bool fed = feed_at[v->id] >= 0;
        if (v->op == &sg_op_input && !fed) {
            status = sg_fail(pl->err, SG_EARG, "%s is needed and was not fed", sg_value_name(v));
            goto done;
        }
        int *bucket = NULL;
        if (!fed && p->opts.share && !(v->op->flags & SG_OP_STATE) && v->op != &sg_op_input) {
            bucket = &buckets[hash_of(v, pl->value_of) & (n_buckets - 1)];
            int at = *bucket;
            while (at >= 0 && !(same(p->values[at].v, v, pl->value_of) && sg_plan_together(p, p->values[at].v, v)))
                at = chain[at];
            if (at >= 0) {
                pl->value_of[v->id] = at;
                continue;
            }
        }
        const int at = p->n_values++;
        sg_plan_value *x = &p->values[at];
        pl->value_of[v->id] = at;
        if (bucket) {
            chain[at] = *bucket;
            *bucket = at;
        }
        const unsigned symbols = symbols_of(pl->g, v);
        for (int s = 0; s < p->n_symbols; s++)
            if ((symbols >> s & 1) && p->most[s] < 0) {
                status = sg_fail(pl->err, SG_EARG, "%s depends on the extent '%s', which no feed determines",
                                 sg_value_name(v), sg_graph_symbol(pl->g, s));
                goto done;
            }
        *x = (sg_plan_value){.v = v, .root = at, .step = -1, .at = -1};
        x->varies = (symbols & p->varying) != 0;
        x->view.dtype = v->dtype;
        x->view.n_dims = v->n_dims;
        sg_resolve_dims(p->extents, v, p->most, x->view.dims);
        sg_dim count = 1;
        for (int k = 0; k < v->n_dims; k++) {
            if (x->view.dims[k] < 0 || __builtin_mul_overflow(count, x->view.dims[k], &count)) {
                status =
                    sg_fail(pl->err, SG_ESHAPE, "%s: an extent is negative or the value too large", sg_value_name(v));
                goto done;
            }
        }
        status = sg_dtype_room(v->dtype, count, &x->bytes);
        if (status != SG_OK) {
            sg_fail(pl->err, status, status == SG_ENOMEM ? "%s is too large" : "%s is no whole number of blocks",
                    sg_value_name(v));
            goto done;
        }
        sg_view_row_major(&x->view);
        if (v->attrs.n_i) {
            int64_t *attr = sg_arena_array(p->arena, (size_t)v->attrs.n_i, sizeof *attr);
            if (!attr) {
                status = no_memory(pl);
                goto done;
            }
            sg_resolve_attrs(p->extents, v, p->most, attr);
            x->attr_i = attr;
        }
        if (fed) {
            x->home = SG_HOME_FEED;
            x->at = feed_at[v->id];
            x->moves = true;
            p->feeds[x->at] = at;
        } else if (v->op == &sg_op_const) {
            x->home = SG_HOME_CONST;
            x->data = v->data;
            memcpy(&x->view.data, &v->data, sizeof v->data);
        } else if (v->op == &sg_op_variable) {
            x->home = SG_HOME_VARIABLE;
            x->at = v->slot;
        } else {
            x->home = SG_HOME_BLOCK;
        }
    }
    for (int i = 0; i < n_fetches; i++)
        p->fetches[i] = pl->value_of[fetches[i]->id];
done:
    free(stop);
    free(order);
    free(feed_at);
    free(buckets);
    free(chain);
    return status;
}

static bool computed(const sg_plan_value *x)
{
    return x->home == SG_HOME_BLOCK || x->home == SG_HOME_VIEW;
}

/* Which values somebody needs in one piece. */
static void find_readers(sg_planner *pl)
{
    sg_plan *p = pl->p;

    for (int a = 0; a < p->n_values; a++)
        pl->strided_ok[a] = true;
    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!computed(x))
            continue;
        for (int i = 0; i < x->v->n_in; i++)
            if (!(x->v->op->flags & (SG_OP_STRIDED | SG_OP_VIEW)))
                pl->strided_ok[sg_plan_input(pl, x, i)] = false;
    }
    for (int i = 0; i < p->n_fetches; i++)
        pl->strided_ok[p->fetches[i]] = false;
}

/* Constants are folded, shape operations become views, the rest become steps-to-be. */
static sg_status place(sg_planner *pl)
{
    sg_plan *p = pl->p;

    for (int a = 0; a < p->n_values; a++) {
        sg_plan_value *x = &p->values[a];
        if (x->home != SG_HOME_BLOCK)
            continue;
        const sg_op *op = x->v->op;
        int in[SG_MAX_DIMS];
        for (int i = 0; i < x->v->n_in; i++) {
            const sg_plan_value *y = &p->values[sg_plan_input(pl, x, i)];
            if (i < SG_MAX_DIMS)
                in[i] = sg_plan_input(pl, x, i);
            const sg_home home = p->values[y->root].home; /* of a variable a slice may begin elsewhere in each run */
            x->moves |= y->moves && (home == SG_HOME_FEED || home == SG_HOME_VARIABLE) && (op->flags & SG_OP_VIEW);
        }
        x->moves |= x->varies;
        if (x->v->n_in > 0 && x->v->n_in <= SG_MAX_DIMS && fold(pl, x, in))
            continue;
        if (op->flags & SG_OP_ALIAS) { /* the variable itself, after the kernel changed it */
            const sg_plan_value *y = &p->values[in[0]];
            if (p->values[y->root].home != SG_HOME_VARIABLE)
                return sg_fail(pl->err, SG_EARG, "%s: its first input is %s, a variable was wanted", op->name,
                               sg_value_name(y->v));
            x->root = y->root;
            x->at = y->root;
            x->view = y->view;
            continue;
        }
        if ((op->flags & SG_OP_VIEW) && as_view(pl, x, in[0])) {
            x->home = SG_HOME_VIEW;
            x->at = in[0];
            x->root = p->values[in[0]].root;
            if (!pl->strided_ok[a] && !contiguous_always(pl, x)) {
                x->home = SG_HOME_BLOCK; /* somebody needs it in one piece: copy */
                x->root = a;
                x->at = -1;
                sg_view_row_major(&x->view);
                x->moves = x->varies;
            } else if (p->values[in[0]].home == SG_HOME_CONST ||
                       p->values[p->values[in[0]].root].home == SG_HOME_CONST) {
                const sg_view *ins[1];
                sg_kernel_args k;
                arguments(p, x, 1, in, ins, &x->view, &k); /* again, now for the address */
                (void)op->view(&k);
            }
        }
    }
    return SG_OK;
}

static bool changes_input(const sg_plan_value *x, int i)
{
    return i < 32 && (x->v->op->changes >> i & 1);
}

/* A fetch of what a variable held before a step of this run changes it is copied out in time. */
static sg_status copy_old_fetches(sg_planner *pl)
{
    sg_plan *p = pl->p;
    const int n = p->n_values;

    for (int f = 0; f < p->n_fetches; f++) {
        const int version = sg_plan_version(pl, p->fetches[f]);
        bool changes = false;
        if (p->values[p->values[p->fetches[f]].root].home != SG_HOME_VARIABLE)
            continue;
        for (int a = 0; a < n; a++) {
            const sg_plan_value *x = &p->values[a];
            if (x->home != SG_HOME_BLOCK || !x->v->op->changes)
                continue;
            for (int i = 0; i < x->v->n_in; i++)
                changes |= changes_input(x, i) && sg_plan_version(pl, sg_plan_input(pl, x, i)) == version;
        }
        if (!changes)
            continue;
        const sg_plan_value *y = &p->values[p->fetches[f]];
        sg_value *copy = sg_arena_alloc(p->arena, sizeof *copy);
        sg_value **in = sg_arena_array(p->arena, 1, sizeof *in);
        if (!copy || !in)
            return no_memory(pl);
        *copy = *y->v;
        copy->op = &sg_op_identity;
        copy->n_in = 1;
        copy->in = in;
        copy->attrs = (sg_attrs){0};
        in[0] = sg_graph_at(pl->g, y->v->id);
        const int at = p->n_values++;
        p->values[at] = (sg_plan_value){.v = copy,
                                        .home = SG_HOME_BLOCK,
                                        .at = -1,
                                        .root = at,
                                        .step = -1,
                                        .view = y->view,
                                        .bytes = y->bytes,
                                        .varies = y->varies,
                                        .moves = y->varies};
        sg_view_row_major(&p->values[at].view);
        p->values[at].view.data = NULL;
        p->fetches[f] = at;
    }
    return SG_OK;
}

/* The value that stands for the step which computes a: a itself, or the first of its cluster. */
static int step_of(const sg_planner *pl, int a)
{
    return pl->cluster_of[a] < 0 ? a : pl->clusters[pl->cluster_of[a]].members[0];
}

static bool is_computed(const sg_plan_value *x)
{
    return x->home == SG_HOME_BLOCK || x->home == SG_HOME_INSIDE;
}

/* Orders the steps: inputs first, and whoever reads a version of a variable before the step that changes it. Among
 * those that are ready the earliest in the walk goes first. *circle: they depend on each other, which clusters may be
 * to blame for. */
static sg_status order_steps(sg_planner *pl, bool *circle)
{
    sg_plan *p = pl->p;
    const size_t n = (size_t)SG_MAX(p->n_values, 1);
    int *waits = calloc(n, sizeof *waits), *changer = malloc(n * sizeof *changer), *head = malloc(n * sizeof *head);
    int n_edges = 0, capacity = 0, n_steps = 0, *order = malloc(n * sizeof *order),
        *unit_of = malloc(n * sizeof *unit_of);
    sg_edge *edges = NULL;
    bool *done = calloc(n, sizeof *done);
    sg_status status = SG_OK;

    *circle = false;
    if (!waits || !changer || !head || !done || !order || !unit_of) {
        status = no_memory(pl);
        goto out;
    }
    memset(changer, -1, n * sizeof *changer);
    memset(head, -1, n * sizeof *head);
    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!is_computed(x))
            continue;
        n_steps += step_of(pl, a) == a;
        for (int i = 0; i < x->v->n_in; i++) {
            if (!changes_input(x, i))
                continue;
            const int version = sg_plan_version(pl, sg_plan_input(pl, x, i));
            p->values[p->values[version].root].changes = true;
            if (changer[version] >= 0 && changer[version] != a) {
                status = sg_fail(pl->err, SG_EARG, "one run would store into %s twice",
                                 sg_value_name(p->values[p->values[version].root].v));
                goto out;
            }
            changer[version] = a;
        }
    }
    for (int a = 0; a < p->n_values; a++) {
        const sg_plan_value *x = &p->values[a];
        if (!is_computed(x))
            continue;
        for (int i = 0; i < x->v->n_in; i++) {
            const int from = sg_plan_version(pl, sg_plan_input(pl, x, i));
            const int after[2] = {is_computed(&p->values[from]) ? from : -1, changer[from]};
            for (int e = 0; e < 2; e++) {
                /* e = 0: x after its input; e = 1: whoever changes x's input after x */
                int before = e == 0 ? after[0] : a, later = e == 0 ? a : after[1];
                if (before < 0 || later < 0)
                    continue;
                before = step_of(pl, before);
                later = step_of(pl, later);
                if (before == later)
                    continue;
                void *array = edges;
                if (n_edges == capacity) {
                    capacity = capacity ? capacity * 2 : 256;
                    array = realloc(edges, (size_t)capacity * sizeof *edges);
                    if (!array) {
                        status = no_memory(pl);
                        goto out;
                    }
                    edges = array;
                }
                edges[n_edges] = (sg_edge){later, head[before]};
                head[before] = n_edges++;
                waits[later]++;
            }
        }
    }
    p->n_steps = 0;
    p->steps = sg_arena_array(p->arena, (size_t)SG_MAX(n_steps, 1), sizeof *p->steps);
    if (!p->steps) {
        status = no_memory(pl);
        goto out;
    }
    int n_order = p->n_values;
    for (int a = 0; a < p->n_values; a++) {
        order[a] = a;
        unit_of[a] = is_computed(&p->values[a]) ? step_of(pl, a) : -1;
    }
    if (p->opts.keep && (n_order = sg_order(pl, unit_of, waits, head, edges, order)) < 0) {
        status = no_memory(pl);
        goto out;
    }
    /* A sweep takes everything ready in order of the walk; only readers that must wait for others are left to the next.
     */
    for (int found = 1; p->n_steps < n_steps && found;) {
        found = 0;
        for (int k = 0; k < n_order; k++) {
            const int a = order[k];
            const sg_plan_value *x = &p->values[a];
            if (!is_computed(x) || step_of(pl, a) != a || done[a] || waits[a] > 0)
                continue;
            done[a] = true;
            found = 1;
            const sg_cluster *c = pl->cluster_of[a] < 0 ? NULL : &pl->clusters[pl->cluster_of[a]];
            for (int m = 0; m < (c ? c->n : 1); m++)
                p->values[c ? c->members[m] : a].step = p->n_steps;
            p->steps[p->n_steps++] = (sg_plan_step){.value = a};
            for (int e = head[a]; e >= 0; e = edges[e].next)
                waits[edges[e].to]--;
        }
    }
    if (p->n_steps < n_steps) {
        *circle = true;
        for (int a = 0; a < p->n_values; a++)
            if (is_computed(&p->values[a]) && !done[step_of(pl, a)] && p->values[a].v->op->changes) {
                status =
                    sg_fail(pl->err, SG_EARG, "%s stores into %s, whose old value is read by what depends on the store",
                            p->values[a].v->op->name, sg_value_name(p->values[a].v->in[0]));
                break;
            }
        if (status == SG_OK)
            status = sg_fail(pl->err, SG_EARG, "the steps of this plan depend on each other in a circle");
    }
out:
    free(waits);
    free(changer);
    free(head);
    free(edges);
    free(done);
    free(order);
    free(unit_of);
    return status;
}

static const char *step_name(const sg_plan *p, const sg_value *v)
{
    return v->name ? v->name
                   : sg_arena_printf(p->arena, "%s%s%s.%d", v->scope, v->scope[0] ? "/" : "", v->op->name, v->id);
}

/* The inputs of a cluster from outside it, each once, and those of its values that others read. */
static sg_status gather(sg_planner *pl, const sg_cluster *c, sg_plan_step *step)
{
    sg_plan *p = pl->p;
    int n_reads = 0, *in, *outs;

    for (int m = 0; m < c->n; m++)
        n_reads += p->values[c->members[m]].v->n_in;
    in = sg_arena_array(p->arena, (size_t)(n_reads + c->n_inputs) + 1, sizeof *in);
    outs = sg_arena_array(p->arena, (size_t)c->n, sizeof *outs);
    if (!in || !outs)
        return no_memory(pl);
    for (int i = 0; i < c->n_inputs; i++)
        in[step->n_in++] = c->inputs[i];
    for (int m = 0; m < c->n; m++) {
        const sg_plan_value *x = &p->values[c->members[m]];
        for (int i = 0; i < x->v->n_in && !c->n_inputs; i++) {
            const int at = sg_plan_input(pl, x, i), version = sg_plan_version(pl, at);
            bool there = is_computed(&p->values[version]) && pl->cluster_of[version] == pl->cluster_of[c->members[m]];
            for (int k = 0; k < step->n_in && !there; k++)
                there = in[k] == at;
            if (!there)
                in[step->n_in++] = at;
        }
        if (x->home != SG_HOME_INSIDE)
            outs[step->n_out++] = c->members[m];
    }
    step->in = in;
    step->outs = outs;
    step->value = outs[step->n_out - 1];
    return SG_OK;
}

sg_status sg_plan_offer(sg_planner *pl, const sg_kernel_args *k, sg_plan_step *step)
{
    sg_plan *p = pl->p;

    if (p->opts.same_rows && !p->device && k->op == &sg_op_matmul && sg_matmul_rows_fit(k)) {
        step->kernel = (sg_prepared){.run = k->i[1] ? sg_matmul_rows_turned : sg_matmul_rows};
        step->backend = "rows";
        return SG_OK;
    }
    for (int b = 0; b < p->opts.n_backends; b++) {
        sg_prepared prepared = {0};
        if (step->varies && !p->opts.backends[b]->device)
            continue;
        if (!p->opts.backends[b]->prepare(p->opts.backends[b], k, &prepared))
            continue;
        if (prepared.release && sg_arena_defer(p->arena, prepared.release, prepared.self) != SG_OK)
            return no_memory(pl);
        step->kernel = prepared;
        step->backend = p->opts.backends[b]->name;
        step->on_device = p->opts.backends[b]->device != NULL;
        break;
    }
    return SG_OK;
}

static sg_status choose_kernels(sg_planner *pl)
{
    sg_plan *p = pl->p;

    for (int s = 0; s < p->n_steps; s++) {
        sg_plan_step *step = &p->steps[s];
        const sg_plan_value *x = &p->values[step->value];
        if (pl->cluster_of[step->value] >= 0) {
            const sg_cluster *c = &pl->clusters[pl->cluster_of[step->value]];
            SG_TRY(gather(pl, c, step));
            step->name = step_name(p, p->values[step->value].v);
            step->op = c->op;
            step->backend = "fused";
            SG_TRY(c->prepare(pl, c, step));
            if (!step->name)
                return no_memory(pl);
            continue;
        }
        const int n_in = x->v->n_in;
        int *in = sg_arena_array(p->arena, (size_t)n_in + 1, sizeof *in);
        const sg_view **ins = malloc((size_t)SG_MAX(n_in, 1) * sizeof *ins);
        sg_kernel_args k;
        if (!in || !ins) {
            free(ins);
            return no_memory(pl);
        }
        step->n_in = n_in;
        step->in = in;
        in[n_in] = step->value;
        step->outs = in + n_in;
        step->n_out = 1;
        step->op = x->v->op->name;
        step->varies = x->varies;
        for (int i = 0; i < n_in; i++) {
            in[i] = sg_plan_input(pl, x, i);
            step->varies |= p->values[in[i]].varies;
        }
        step->name = step_name(p, x->v);
        step->backend = "reference";
        step->kernel.run = x->v->op->run;
        sg_view out = x->view;
        arguments(p, x, n_in, in, ins, &out, &k);
        sg_view bare[SG_MAX_DIMS];
        for (int i = 0; i < n_in && i < SG_MAX_DIMS; i++) { /* backends see no data */
            bare[i] = *ins[i];
            bare[i].data = NULL;
            ins[i] = &bare[i];
        }
        out.data = NULL;
        if (x->v->op->scratch)
            step->kernel.scratch_bytes = x->v->op->scratch(&k);
        const bool fixed = !step->varies || p->device;
        const sg_status status = !fixed || n_in > SG_MAX_DIMS ? SG_OK : sg_plan_offer(pl, &k, step);
        if (status != SG_OK) {
            free(ins);
            return status;
        }
        free(ins);
        if (!step->name)
            return no_memory(pl);
        if (!step->kernel.run)
            return sg_fail(pl->err, SG_EUNSUPPORTED, "%s: the op %s has no kernel", step->name, x->v->op->name);
    }
    return SG_OK;
}

/* Whether x may be stored over its input y, which no step after this one reads. */
static bool fits_over(const sg_plan *p, const sg_plan_step *step, int in, int last_use)
{
    const sg_plan_value *x = &p->values[step->value], *y = &p->values[in];

    if (y->home != SG_HOME_BLOCK || y->root != in || (y->v->op->flags & SG_OP_ALIAS) || last_use != x->step ||
        y->bytes != x->bytes || y->view.dtype != x->view.dtype || y->view.n_dims != x->view.n_dims ||
        x->varies != y->varies ||
        memcmp(y->view.dims, x->view.dims, (size_t)x->view.n_dims * sizeof x->view.dims[0]) != 0)
        return false;
    if (x->varies && memcmp(y->v->dims, x->v->dims, (size_t)x->view.n_dims * sizeof x->v->dims[0]) != 0)
        return false;
    for (int i = 0; i < step->n_in; i++)
        if (step->in[i] != in && p->values[step->in[i]].root == in)
            return false;
    return true;
}

static sg_status lay_out(sg_planner *pl)
{
    sg_plan *p = pl->p;
    const size_t n = (size_t)SG_MAX(p->n_values, 1);
    int *last = malloc(n * sizeof *last), *owner = malloc(n * sizeof *owner), *at = malloc(n * sizeof *at);
    sg_interval *intervals = malloc((n + (size_t)p->n_steps) * sizeof *intervals); /* values, then scratch */
    int n_intervals = 0;
    sg_status status = SG_OK;

    if (!last || !owner || !at || !intervals) {
        status = no_memory(pl);
        goto out;
    }
    for (int a = 0; a < p->n_values; a++) {
        last[a] = p->values[a].step;
        owner[a] = a;
        at[a] = -1;
    }
    for (int s = 0; s < p->n_steps; s++)
        for (int i = 0; i < p->steps[s].n_in; i++) {
            const int root = p->values[p->steps[s].in[i]].root;
            last[root] = SG_MAX(last[root], s);
        }
    for (int i = 0; i < p->n_fetches; i++)
        last[p->values[p->fetches[i]].root] = p->n_steps;
    for (int s = 0; s < p->n_steps; s++) {
        const sg_plan_step *step = &p->steps[s];
        for (int o = 0; o < step->n_out; o++) {
            const int a = step->outs[o];
            const sg_plan_value *x = &p->values[a];
            if (x->v->op->flags & SG_OP_ALIAS)
                continue;
            if ((x->v->op->flags & SG_OP_ELEMENTWISE) && pl->cluster_of[a] < 0)
                for (int i = 0; i < step->n_in && owner[a] == a; i++)
                    if (fits_over(p, step, step->in[i], last[step->in[i]]))
                        owner[a] = owner[step->in[i]];
            if (owner[a] == a) {
                at[a] = n_intervals;
                intervals[n_intervals++] = (sg_interval){s, SG_MAX(s, last[a]), x->bytes, 0};
            } else {
                sg_interval *shared = &intervals[at[owner[a]]];
                shared->last = SG_MAX(shared->last, last[a]);
            }
        }
    }
    const int n_values = n_intervals;
    for (int s = 0; s < p->n_steps; s++)
        if (p->steps[s].kernel.scratch_bytes)
            intervals[n_intervals++] = (sg_interval){s, s, p->steps[s].kernel.scratch_bytes, 0};
    p->block_bytes = sg_layout(n_intervals, intervals);
    if (p->block_bytes == SIZE_MAX) {
        status = no_memory(pl);
        goto out;
    }
    for (int a = 0; a < p->n_values; a++)
        if (p->values[a].home == SG_HOME_BLOCK && at[owner[a]] >= 0)
            p->values[a].offset = intervals[at[owner[a]]].offset;
    for (int s = 0, k = n_values; s < p->n_steps; s++)
        if (p->steps[s].kernel.scratch_bytes)
            p->steps[s].scratch_offset = intervals[k++].offset;
out:
    free(last);
    free(owner);
    free(at);
    free(intervals);
    return status;
}

static void free_graph(void *g)
{
    sg_graph_free(g);
}

/* Plans from this fork of the graph instead: ids, and so feeds and fetches, stay. Frees it with the plan. */
static sg_status use_fork(sg_planner *pl, sg_graph *fork, int n_fetches, sg_value *const **fetches)
{
    sg_plan *p = pl->p;

    if (sg_arena_defer(p->arena, free_graph, fork) != SG_OK)
        return no_memory(pl);
    sg_value **same = sg_arena_array(p->arena, (size_t)n_fetches + 1, sizeof *same);
    int *value_of = realloc(pl->value_of, ((size_t)sg_graph_size(fork) + (size_t)n_fetches + 1) * sizeof *value_of);
    if (value_of)
        pl->value_of = value_of;
    bool *ok = realloc(pl->strided_ok, (size_t)sg_graph_size(fork) + (size_t)n_fetches + 1);
    if (ok)
        pl->strided_ok = ok;
    if (!same || !value_of || !ok)
        return no_memory(pl);
    for (int i = 0; i < n_fetches; i++)
        same[i] = sg_graph_at(fork, (*fetches)[i]->id);
    memset(value_of, -1, ((size_t)sg_graph_size(fork) + (size_t)n_fetches + 1) * sizeof *value_of);
    pl->g = fork;
    *fetches = same;
    /* What is built on the fork may have new extents in it. */
    sg_graph *extents = sg_graph_copy_extents(fork);
    if (!extents || sg_arena_defer(p->arena, free_graph, extents) != SG_OK)
        return no_memory(pl);
    p->extents = extents;
    return SG_OK;
}

/* A fork in which gradients find less of the forward pass, then one in which less is computed, where there are such. */
static sg_status use_forks(sg_planner *pl, int n_feeds, sg_value *const *feeds, int n_fetches,
                           sg_value *const **fetches)
{
    sg_plan *p = pl->p;
    sg_graph *fork = NULL;

    if (p->opts.keep)
        SG_TRY(sg_recompute(&fork, pl->g, p->opts.keep, n_feeds, feeds, n_fetches, *fetches, pl->err));
    if (fork)
        SG_TRY(use_fork(pl, fork, n_fetches, fetches));
    if (!p->opts.fuse)
        return SG_OK;
    for (int s = 0; s < p->n_symbols; s++)
        if (p->most[s] < 0)
            return SG_OK;
    SG_TRY(sg_narrow(&fork, pl->g, n_feeds, feeds, n_fetches, *fetches, p->most, p->varying, pl->err));
    return fork ? use_fork(pl, fork, n_fetches, fetches) : SG_OK;
}

sg_status sg_plan_new(sg_plan **out, const sg_graph *g, int n_feeds, sg_value *const *feeds, int n_fetches,
                      sg_value *const *fetches, int n_extents, const sg_extent_value *extents, sg_exec_opts opts,
                      sg_error *err)
{
    sg_planner pl = {.g = g, .err = err};
    sg_arena *arena;
    sg_status status;

    SG_TRY(sg_graph_status(g, err));
    for (int i = 0; i < n_feeds + n_fetches; i++) {
        const sg_value *v = i < n_feeds ? feeds[i] : fetches[i - n_feeds];
        if (!v || v->graph != g || v->id < 0)
            return sg_fail(err, SG_EARG, "%s %d is not a value of this graph", i < n_feeds ? "feed" : "fetch",
                           i < n_feeds ? i : i - n_feeds);
    }
    if (!(arena = sg_arena_new()) || !(pl.p = sg_arena_alloc(arena, sizeof *pl.p))) {
        sg_arena_free(arena);
        return sg_fail(err, SG_ENOMEM, "out of memory for a plan");
    }
    sg_plan *p = pl.p;
    p->arena = arena;
    p->opts = opts;
    p->device = opts.n_backends ? opts.backends[0]->device : NULL;
    p->opts.fuse &= !p->device; /* fused steps are the processor's */
    p->n_feeds = n_feeds;
    p->n_fetches = n_fetches;
    p->n_slots = sg_graph_n_slots(g);
    p->n_symbols = sg_graph_n_symbols(g);
    p->extents = sg_graph_copy_extents(g);
    if (p->extents && sg_arena_defer(arena, free_graph, p->extents) != SG_OK)
        p->extents = NULL;
    p->feeds = sg_arena_array(arena, (size_t)n_feeds + 1, sizeof *p->feeds);
    p->feed_of = sg_arena_array(arena, (size_t)n_feeds + 1, sizeof *p->feed_of);
    p->fetches = sg_arena_array(arena, (size_t)n_fetches + 1, sizeof *p->fetches);
    const size_t size = (size_t)sg_graph_size(g) + (size_t)n_fetches + 1;
    pl.value_of = malloc(size * sizeof *pl.value_of);
    pl.strided_ok = calloc(size, sizeof *pl.strided_ok);
    if (!p->extents || !p->feeds || !p->feed_of || !p->fetches || !pl.value_of || !pl.strided_ok) {
        status = no_memory(&pl);
    } else {
        memset(pl.value_of, -1, size * sizeof *pl.value_of);
        for (int i = 0; i < n_feeds; i++) {
            p->feeds[i] = -1;
            p->feed_of[i] = feeds[i];
        }
        for (int s = 0; s < p->n_symbols; s++)
            p->most[s] = -1;
        status = SG_OK;
        for (int i = 0; i < n_extents && status == SG_OK; i++) {
            const int s = sg_graph_symbol_index(g, extents[i].symbol);
            if (s < 0)
                continue; /* a symbol that this graph does not use */
            if (extents[i].value < 0)
                status = sg_fail(err, SG_EARG, "extent '%s' is %lld", extents[i].symbol, (long long)extents[i].value);
            p->most[s] = extents[i].value;
            if (extents[i].varies)
                p->varying |= 1u << s;
        }
        for (int s = 0; s < p->n_symbols; s++) {
            pl.least[s] = (p->varying >> s & 1) ? 0 : p->most[s];
            pl.middle[s] = (p->varying >> s & 1) ? (p->most[s] + 1) / 2 : p->most[s];
        }
        if (status == SG_OK)
            status = use_forks(&pl, n_feeds, feeds, n_fetches, &fetches);
        if (status == SG_OK)
            status = collect(&pl, n_feeds, feeds, n_fetches, fetches);
        if (status == SG_OK) {
            find_readers(&pl);
            status = place(&pl);
        }
        if (status == SG_OK)
            status = copy_old_fetches(&pl);
        bool circle = false;
        if (status == SG_OK)
            status = sg_cluster_values(&pl);
        if (status == SG_OK)
            status = order_steps(&pl, &circle);
        if (circle &&
            pl.n_clusters) { /* a step between may read what another has to store first: then each by itself */
            sg_clusters_forget(&pl);
            status = order_steps(&pl, &circle);
        }
        if (status == SG_OK)
            status = choose_kernels(&pl);
        if (status == SG_OK)
            status = lay_out(&pl);
    }
    free(pl.value_of);
    free(pl.strided_ok);
    sg_clusters_free(&pl);
    if (status != SG_OK) {
        sg_arena_free(arena);
        return status;
    }
    *out = p;
    return SG_OK;
}

void sg_plan_free(sg_plan *plan)
{
    if (plan)
        sg_arena_free(plan->arena);
}

int sg_plan_n_steps(const sg_plan *plan)
{
    return plan->n_steps;
}

const char *sg_plan_step_name(const sg_plan *plan, int i)
{
    return plan->steps[i].name;
}

const char *sg_plan_step_op(const sg_plan *plan, int i)
{
    return plan->steps[i].op;
}

const char *sg_plan_step_backend(const sg_plan *plan, int i)
{
    return plan->steps[i].backend;
}

size_t sg_plan_packed_bytes(const sg_plan *plan)
{
    size_t sum = 0;

    for (int s = 0; s < plan->n_steps; s++)
        for (int i = 0; i < plan->steps[s].n_in && i < (int)SG_COUNT_OF(plan->steps[s].kernel.packed_bytes); i++)
            if (plan->values[plan->values[plan->steps[s].in[i]].root].home == SG_HOME_VARIABLE)
                sum += plan->steps[s].kernel.packed_bytes[i];
    return sum;
}

/* A file's page that is touched comes with those about it: 64 KB, as Linux has it. */
#define BYTES_ABOUT ((size_t)64 << 10)

size_t sg_plan_read_bytes(const sg_plan *plan)
{
    size_t sum = 0;

    for (int a = 0; a < plan->n_values; a++) {
        const sg_plan_value *x = &plan->values[a];
        size_t read = 0;
        if (x->home != SG_HOME_VARIABLE || x->v->n_dims != 2)
            continue;
        for (int s = 0; s < plan->n_steps && read < x->bytes; s++)
            for (int i = 0; i < plan->steps[s].n_in; i++) {
                const sg_plan_step *step = &plan->steps[s];
                if (plan->values[step->in[i]].root != a)
                    continue;
                const bool gathers = strcmp(step->op, "embed") == 0;
                read += gathers ? BYTES_ABOUT * (size_t)sg_view_count(&plan->values[step->in[1]].view) : x->bytes;
            }
        sum += SG_MIN(read, x->bytes);
    }
    return sum;
}

/* The largest, and the largest below it: when the buffers of a smaller product are given back, the C library keeps them
 * for the next of that size. */
size_t sg_plan_hidden_bytes(const sg_plan *plan)
{
    size_t most = 0, second = 0, code = 0;

    for (int s = 0; s < plan->n_steps; s++) {
        most = SG_MAX(most, plan->steps[s].kernel.hidden_bytes);
        code = SG_MAX(code, plan->steps[s].kernel.code_bytes);
    }
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].kernel.hidden_bytes < most)
            second = SG_MAX(second, plan->steps[s].kernel.hidden_bytes);
    return code + most + second;
}

size_t sg_plan_bytes(const sg_plan *plan)
{
    return plan->block_bytes;
}

size_t sg_plan_fetched_bytes(const sg_plan *plan)
{
    size_t bytes = 0;

    for (int i = 0; i < plan->n_fetches; i++) {
        const int root = plan->values[plan->fetches[i]].root;
        bool counted = plan->values[root].home != SG_HOME_BLOCK;
        for (int k = 0; k < i && !counted; k++)
            counted = plan->values[plan->fetches[k]].root == root;
        bytes += counted ? 0 : plan->values[root].bytes;
    }
    return bytes;
}
