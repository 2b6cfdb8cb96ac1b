/* Row-wise operations computed together.
 *
 * The members of such a cluster see the same rows: [rows, columns] numbers, or one number per row, in whatever axes
 * their values are written. A few rows at a time go through all members, each by its own reference kernel, so that what
 * lies between them stays in the processor's near memory and is never stored. Sums over all rows (the gradients of
 * gains and biases) may stand at the end: each thread keeps its own in double, and they are added in the order of the
 * threads. */
#include <stdlib.h>
#include <string.h>

#include "exec/planner.h"
#include "ops/ops.h"

#define TILE_NUMBERS 4096 /* of one value in flight: with a dozen values this stays in the second-level cache */
#define MAX_INPUTS   4

/* How an input is read along rows and columns. */
typedef struct reading {
    int n_lead; /* row axes, joined where strides allow it, innermost first */
    sg_dim extents[SG_MAX_DIMS], strides[SG_MAX_DIMS];
    sg_dim column; /* stride along the columns; 0: one number per row */
} reading;

typedef struct operand {
    int in, out,
        member;    /* where it lies: an input of the step, a result of it, or what a member left in scratch; else -1 */
    size_t offset; /* into a thread's scratch */
    size_t size;   /* of a number */
    reading r;
    sg_dim row; /* stride from row to row within a tile */
} operand;

typedef struct member {
    const sg_op *op;
    int n_in;
    operand in[MAX_INPUTS], out;
    sg_dtype dtype[MAX_INPUTS + 1]; /* the result's last */
    bool per_row;                   /* one number per row */
    bool tail;                      /* a sum over all rows */
    size_t sums;                    /* tail: offset of its doubles */
    const int64_t *i;
    const double *f;
} member;

typedef struct rows_kernel {
    sg_dim rows, columns, tile;
    int n;
    member *members;
    int n_threads;
    size_t scratch_each;
} rows_kernel;

/* ---- what fits ---- */

static sg_dim count_of(const sg_view *v)
{
    return sg_view_count(v);
}

static bool whole_rows(const sg_view *v, sg_dim rows, sg_dim columns)
{
    return v->n_dims > 0 && v->dims[v->n_dims - 1] == columns && count_of(v) == rows * columns;
}

/* A sum over all axes but the last. */
static bool is_tail(const sg_plan_value *x, const sg_plan_value *in)
{
    return x->v->op == &sg_op_sum && in->view.n_dims > 1 && x->attr_i[0] == (1 << (in->view.n_dims - 1)) - 1 &&
           (x->v->dtype == SG_F32 || x->v->dtype == SG_F64);
}

/* x seen from a domain whose axes are `dims`, the last of which are the columns (or, for `per_row`, the last has extent
 * 1 or there are rows only). */
static bool read_by(const sg_view *x, int n_dims, const sg_dim *dims, bool has_columns, reading *r)
{
    const int shift = n_dims - x->n_dims, n_rows = n_dims - has_columns;

    if (shift < 0)
        return false;
    r->n_lead = 0;
    r->column = 0;
    if (has_columns && x->n_dims > 0 && x->dims[x->n_dims - 1] != 1)
        r->column = x->strides[x->n_dims - 1];
    for (int a = n_rows - 1; a >= 0; a--) {
        const sg_dim extent = dims[a], stride = a < shift || x->dims[a - shift] == 1 ? 0 : x->strides[a - shift];
        if (extent == 1)
            continue;
        const int n = r->n_lead;
        if (n > 0 && stride == r->strides[n - 1] * r->extents[n - 1]) {
            r->extents[n - 1] *= extent;
            continue;
        }
        r->extents[n] = extent;
        r->strides[n] = stride;
        r->n_lead++;
    }
    return true;
}

/* How member a reads its input i: the domain is its input for operations that reduce, else its result. */
static bool reading_of(const sg_plan *p, int a, const sg_view *in, sg_dim rows, sg_dim columns, reading *r,
                       bool *per_row)
{
    const sg_plan_value *x = &p->values[a];
    const bool reduces = x->v->op->rows == SG_ROWS_AXES || x->v->op->rows == SG_ROWS_AXIS;
    const sg_view *domain = reduces ? in : &x->view;

    *per_row = !whole_rows(domain, rows, columns);
    if (*per_row && (reduces || count_of(domain) != rows))
        return false;
    const bool has_columns = !*per_row || (domain->n_dims > 0 && domain->dims[domain->n_dims - 1] == 1);
    return read_by(in, domain->n_dims, domain->dims, has_columns, r);
}

static bool attributes_fit(const sg_plan_value *x, const sg_plan_value *in)
{
    const int last = in->view.n_dims - 1;

    switch (x->v->op->rows) {
    case SG_ROWS_ANY:
        return sg_dtype_block(in->view.dtype) == 1; /* a cast of packed numbers: a row's parts are no blocks */
    case SG_ROWS_AXIS:
        return last >= 0 && x->attr_i[0] == last;
    case SG_ROWS_AXES:
        return last >= 0 && x->attr_i[0] == (int64_t)1 << last;
    case SG_ROWS_NO:
        break;
    }
    return false;
}

bool sg_rows_is_tail(const sg_planner *pl, int a)
{
    const sg_plan_value *x = &pl->p->values[a];

    return x->v->n_in == 1 && is_tail(x, &pl->p->values[sg_plan_input(pl, x, 0)]);
}

bool sg_rows_fit(const sg_planner *pl, int a, int c, sg_dim rows, sg_dim columns)
{
    const sg_plan *p = pl->p;
    const sg_plan_value *x = &p->values[a];
    const sg_op *op = x->v->op;

    if (op->rows == SG_ROWS_NO || x->varies || op->changes || op->scratch || !op->run || x->v->n_in < 1 ||
        x->v->n_in > MAX_INPUTS)
        return false;
    const sg_plan_value *first = &p->values[sg_plan_input(pl, x, 0)];
    const bool tail = is_tail(x, first);
    if (!tail && !attributes_fit(x, first))
        return false;
    for (int i = 0; i < x->v->n_in; i++) {
        const sg_plan_value *in = &p->values[sg_plan_input(pl, x, i)];
        const bool inside = c >= 0 && pl->cluster_of[in->root] == c;
        reading r;
        bool per_row;
        if (in->varies || !reading_of(p, a, &in->view, rows, columns, &r, &per_row) ||
            (tail && (per_row || r.column != 1)))
            return false;
        if (r.column > 1 && !(op->flags & SG_OP_STRIDED))
            return false;
        if (!inside)
            continue;
        /* Computed beside: the same rows in the same order. */
        const sg_plan_value *root = &p->values[in->root];
        const bool root_whole = whole_rows(&root->view, rows, columns);
        if (is_tail(root, &p->values[sg_plan_input(pl, root, 0)]) || (!root_whole && count_of(&root->view) != rows))
            return false;
        if (rows > 1 && (r.n_lead != 1 || r.extents[0] != rows || r.strides[0] != (root_whole ? columns : 1)))
            return false;
        if (r.column != (root_whole ? 1 : 0))
            return false;
    }
    return tail ? count_of(&x->view) == columns : whole_rows(&x->view, rows, columns) || count_of(&x->view) == rows;
}

/* ---- the kernel ---- */

static sg_dim offset_of(const reading *r, sg_dim row)
{
    sg_dim at = 0;

    for (int a = 0; a < r->n_lead; a++) {
        at += row % r->extents[a] * r->strides[a];
        row /= r->extents[a];
    }
    return at;
}

/* Rows from `row` on that lie at equal distances. */
static sg_dim run_of(const reading *r, sg_dim row)
{
    return r->n_lead < 2 ? INT64_MAX : r->extents[0] - row % r->extents[0];
}

static void *address(const rows_kernel *k, const sg_kernel_args *args, const operand *o, char *scratch, sg_dim row,
                     bool per_row)
{
    if (o->in >= 0)
        return (char *)args->in[o->in]->data + (size_t)offset_of(&o->r, row) * o->size;
    if (o->out >= 0)
        return (char *)args->outs[o->out]->data + (size_t)(row * (per_row ? 1 : k->columns)) * o->size;
    return scratch + o->offset;
}

static void add_rows(double *sums, const void *data, sg_dtype dtype, sg_dim rows, sg_dim stride, sg_dim columns)
{
    if (dtype == SG_F32) {
        /* Eight rows are added before they reach the double. */
        for (sg_dim r = 0; r < rows; r += 8) {
            const sg_dim n = SG_MIN((sg_dim)8, rows - r);
            const float *x = (const float *)data + r * stride;
            if (n == 8) {
                SG_SIMD
                for (sg_dim c = 0; c < columns; c++) {
                    const float *y = x + c;
                    sums[c] += (double)(((y[0] + y[stride]) + (y[2 * stride] + y[3 * stride])) +
                                        ((y[4 * stride] + y[5 * stride]) + (y[6 * stride] + y[7 * stride])));
                }
                continue;
            }
            for (sg_dim i = 0; i < n; i++)
                for (sg_dim c = 0; c < columns; c++)
                    sums[c] += (double)x[i * stride + c];
        }
        return;
    }
    for (sg_dim i = 0; i < rows; i++)
        for (sg_dim c = 0; c < columns; c++)
            sums[c] += ((const double *)data)[i * stride + c];
}

typedef struct job {
    const rows_kernel *k;
    const sg_kernel_args *args;
    sg_status *status; /* by part */
    sg_error *err;     /* the first part's, if wanted */
} job;

static sg_status run_tile(const job *j, char *scratch, sg_dim row, sg_dim n, sg_error *err)
{
    const rows_kernel *k = j->k;

    for (int m = 0; m < k->n; m++) {
        const member *x = &k->members[m];
        sg_view views[MAX_INPUTS], out;
        const sg_view *ins[MAX_INPUTS];
        for (int i = 0; i < x->n_in; i++) {
            const operand *o = &x->in[i];
            views[i] = (sg_view){.data = address(k, j->args, o, scratch, row, o->r.column == 0),
                                 .dtype = x->dtype[i],
                                 .n_dims = 2,
                                 .dims = {o->row ? n : 1, o->r.column ? k->columns : 1},
                                 .strides = {o->row ? o->row : 1, o->r.column ? o->r.column : 1}};
            ins[i] = &views[i];
        }
        if (x->tail) {
            add_rows((double *)(void *)(scratch + x->sums), views[0].data, x->dtype[0], n, x->in[0].row, k->columns);
            continue;
        }
        const sg_dim columns = x->per_row ? 1 : k->columns;
        out = (sg_view){.data = address(k, j->args, &x->out, scratch, row, x->per_row),
                        .dtype = x->dtype[MAX_INPUTS],
                        .n_dims = 2,
                        .dims = {n, columns},
                        .strides = {columns, 1}};
        const sg_kernel_args args = {
            .op = x->op, .n_in = x->n_in, .in = ins, .out = &out, .i = x->i, .f = x->f, .n_threads = 1};
        SG_TRY(x->op->run(&args, err));
    }
    return SG_OK;
}

static void run_part(const job *j, int part, int parts)
{
    const rows_kernel *k = j->k;
    char *scratch = (char *)j->args->scratch + (size_t)part * k->scratch_each;
    const sg_dim last = k->rows * (part + 1) / parts;
    sg_status status = SG_OK;

    for (int m = 0; m < k->n; m++)
        if (k->members[m].tail)
            memset(scratch + k->members[m].sums, 0, (size_t)k->columns * sizeof(double));
    for (sg_dim row = k->rows * part / parts; row < last && status == SG_OK;) {
        sg_dim n = SG_MIN(k->tile, last - row);
        for (int m = 0; m < k->n; m++)
            for (int i = 0; i < k->members[m].n_in; i++)
                if (k->members[m].in[i].in >= 0)
                    n = SG_MIN(n, run_of(&k->members[m].in[i].r, row));
        status = run_tile(j, scratch, row, n, part == 0 ? j->err : NULL);
        row += n;
    }
    j->status[part] = status;
}

static void parts_from(void *context, sg_dim first, sg_dim last)
{
    const job *j = context;

    for (sg_dim part = first; part < last; part++)
        run_part(j, (int)part, j->k->n_threads);
}

static sg_status run(const sg_kernel_args *args, sg_error *err)
{
    const rows_kernel *k = args->self;
    sg_status status[SG_MAX_THREADS];
    job j = {k, args, status, err};

    sg_split(k->n_threads, k->rows / k->n_threads * k->columns * k->n, k->n_threads, parts_from, &j);
    for (int t = 0; t < k->n_threads; t++)
        if (status[t] != SG_OK)
            return t == 0 ? status[t] : sg_fail(err, status[t], "a row-wise operation failed");
    for (int m = 0; m < k->n; m++) {
        const member *x = &k->members[m];
        if (!x->tail)
            continue;
        double *sums = (double *)(void *)((char *)args->scratch + x->sums);
        for (int t = 1; t < k->n_threads; t++) {
            const double *more =
                (const double *)(const void *)((char *)args->scratch + (size_t)t * k->scratch_each + x->sums);
            for (sg_dim c = 0; c < k->columns; c++)
                sums[c] += more[c];
        }
        void *out = args->outs[x->out.out]->data;
        for (sg_dim c = 0; c < k->columns; c++)
            if (x->dtype[MAX_INPUTS] == SG_F32)
                ((float *)out)[c] = (float)sums[c];
            else
                ((double *)out)[c] = sums[c];
    }
    return SG_OK;
}

/* ---- preparing ---- */

static int index_in(const int *list, int n, int what)
{
    for (int i = 0; i < n; i++)
        if (list[i] == what)
            return i;
    return -1;
}

/* Whether f rows can be read as one: they lie behind each other, or all read the same number. */
static bool joins(const reading *r, sg_dim f, sg_dim columns)
{
    return r->n_lead > 0 && r->extents[0] % f == 0 &&
           (r->column == 0 ? r->strides[0] == 0 : r->column == 1 && r->strides[0] == columns);
}

static void join(reading *r, sg_dim f)
{
    r->extents[0] /= f;
    r->strides[0] *= f;
    if (r->extents[0] > 1)
        return;
    r->n_lead--;
    memmove(r->extents, r->extents + 1, (size_t)r->n_lead * sizeof *r->extents);
    memmove(r->strides, r->strides + 1, (size_t)r->n_lead * sizeof *r->strides);
}

/* How many rows are joined to one. Where all members are element-wise what a row is does not matter, and those of small
 * images (7 numbers) would cost more calls than work: the most that every input allows and that leaves a tile some
 * rows. */
static sg_dim rows_joined(const sg_planner *pl, const sg_cluster *c)
{
    const sg_plan *p = pl->p;
    sg_dim most = c->columns > 0 ? SG_MIN(c->rows, TILE_NUMBERS / 2 / c->columns) : 1;

    for (int m = 0; m < c->n; m++) {
        const sg_plan_value *x = &p->values[c->members[m]];
        if (x->v->op->rows != SG_ROWS_ANY || !(x->v->op->flags & SG_OP_STRIDED) || /* norms of a row take no strides */
            !whole_rows(&x->view, c->rows, c->columns))
            return 1;
        for (int i = 0; i < x->v->n_in; i++) {
            const int at = sg_plan_input(pl, x, i);
            reading r;
            bool per_row;
            if (index_in(c->members, m, p->values[at].root) >= 0)
                continue;
            (void)reading_of(p, c->members[m], &p->values[at].view, c->rows, c->columns, &r, &per_row);
            if (per_row || !joins(&r, 1, c->columns))
                return 1;
            most = SG_MIN(most, r.extents[0]);
        }
    }
    for (sg_dim f = most; f > 1; f--) {
        bool fits = c->rows % f == 0;
        for (int m = 0; m < c->n && fits; m++) {
            const sg_plan_value *x = &p->values[c->members[m]];
            for (int i = 0; i < x->v->n_in && fits; i++) {
                const int at = sg_plan_input(pl, x, i);
                reading r;
                bool per_row;
                if (index_in(c->members, m, p->values[at].root) >= 0)
                    continue;
                (void)reading_of(p, c->members[m], &p->values[at].view, c->rows, c->columns, &r, &per_row);
                fits = joins(&r, f, c->columns);
            }
        }
        if (fits)
            return f;
    }
    return 1;
}

sg_status sg_rows_prepare(sg_planner *pl, const sg_cluster *c, sg_plan_step *step)
{
    sg_plan *p = pl->p;
    static const int64_t last_axis[2] = {1, 1}, last_axes[2] = {2, 1};
    rows_kernel *k = sg_arena_alloc(p->arena, sizeof *k);
    member *members = sg_arena_array(p->arena, (size_t)c->n, sizeof *members);
    sg_interval *intervals = malloc((size_t)c->n * sizeof *intervals);
    int *interval_of = malloc((size_t)c->n * sizeof *interval_of), n_intervals = 0;
    size_t sums = 0;
    const sg_dim f = rows_joined(pl, c), n_rows = c->rows / f, columns = c->columns * f;

    if (!k || !members || !intervals || !interval_of) {
        free(intervals);
        free(interval_of);
        return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
    }
    *k = (rows_kernel){.rows = n_rows, .columns = columns, .n = c->n, .members = members};
    k->tile = SG_MAX(SG_MIN(TILE_NUMBERS / columns, n_rows), (sg_dim)1);
    k->n_threads = n_rows * columns * c->n < 2 * SG_PARALLEL ? 1 : (int)SG_MIN((sg_dim)p->opts.n_threads, n_rows);
    k->n_threads = SG_MIN(k->n_threads, SG_MAX_THREADS);
    for (int m = 0; m < c->n; m++) {
        const int a = c->members[m];
        const sg_plan_value *x = &p->values[a];
        member *y = &members[m];
        y->op = x->v->op;
        y->n_in = x->v->n_in;
        y->tail = is_tail(x, &p->values[sg_plan_input(pl, x, 0)]);
        y->per_row = !whole_rows(&x->view, c->rows, c->columns);
        y->i = y->op->rows == SG_ROWS_AXIS ? last_axis : y->op->rows == SG_ROWS_AXES ? last_axes : x->attr_i;
        y->f = x->v->attrs.f;
        y->dtype[MAX_INPUTS] = x->view.dtype;
        y->out = (operand){
            .in = -1, .out = index_in(step->outs, step->n_out, a), .member = -1, .size = sg_dtype_bytes(x->view.dtype)};
        interval_of[m] = -1;
        if (y->out.out < 0) {
            const size_t numbers = (size_t)(k->tile * (y->per_row ? 1 : columns));
            interval_of[m] = n_intervals;
            intervals[n_intervals++] = (sg_interval){m, m, numbers * y->out.size, 0};
        }
        if (y->tail) {
            y->sums = sums;
            sums += (size_t)columns * sizeof(double);
        }
        for (int i = 0; i < y->n_in; i++) {
            const int at = sg_plan_input(pl, x, i), root = p->values[at].root;
            const int beside = index_in(c->members, m, root);
            operand *o = &y->in[i];
            bool per_row;
            *o = (operand){.in = -1, .out = -1, .member = beside, .size = sg_dtype_bytes(p->values[at].view.dtype)};
            y->dtype[i] = p->values[at].view.dtype;
            (void)reading_of(p, a, &p->values[at].view, c->rows, c->columns, &o->r, &per_row);
            if (f > 1)
                join(&o->r, f);
            if (beside >= 0) {
                o->out = members[beside].out.out;
                o->row = members[beside].per_row ? 1 : columns;
                if (interval_of[beside] >= 0)
                    intervals[interval_of[beside]].last = m;
                continue;
            }
            o->in = index_in(step->in, step->n_in, at);
            SG_ASSERT(o->in >= 0);
            o->row = o->r.n_lead ? o->r.strides[0] : n_rows == 1 && o->r.column ? columns : 0;
        }
    }
    const size_t between = sg_layout(n_intervals, intervals);
    for (int m = 0; m < c->n; m++) {
        if (interval_of[m] >= 0)
            members[m].out.offset = intervals[interval_of[m]].offset;
        if (members[m].tail)
            members[m].sums += between;
    }
    for (int m = 0; m < c->n; m++)
        for (int i = 0; i < members[m].n_in; i++)
            if (members[m].in[i].member >= 0)
                members[m].in[i].offset = members[members[m].in[i].member].out.offset;
    free(intervals);
    free(interval_of);
    if (between == SIZE_MAX)
        return sg_fail(pl->err, SG_ENOMEM, "out of memory for a plan");
    k->scratch_each = (between + sums + SG_BLOCK_ALIGN - 1) / SG_BLOCK_ALIGN * SG_BLOCK_ALIGN;
    step->kernel = (sg_prepared){.run = run, .self = k, .scratch_bytes = k->scratch_each * (size_t)k->n_threads};
    return SG_OK;
}
