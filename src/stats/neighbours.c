/* Nearest neighbours by looking at all pairs, a few points against a block of others at a time; see neighbours.h.
 *
 * Points lie in blocks of LANES, component by component, so that the loop over a block's points is what runs in SIMD
 * and each distance is still summed in the order of its components. Each asking point keeps a heap of its k best with
 * the worst on top; what is no better than that, which is nearly all, costs one comparison. */
#include "sightglass/neighbours.h"

#include <math.h>
#include <stdlib.h>

#include "base/base.h"

enum { LANES = 32, ASKING = 4 };

sg_neighbours_opts sg_neighbours_defaults(void)
{
    return (sg_neighbours_opts){.metric = SG_METRIC_EUCLIDEAN, .n_threads = 1};
}

static sg_status no_memory(sg_error *err, sg_dim n, sg_dim k)
{
    return sg_fail(err, SG_ENOMEM, "neighbours: out of memory for %lld of each of %lld points", (long long)k,
                   (long long)n);
}

/* ---- the best so far ---- */

/* Whether a is a worse neighbour than b. */
static bool is_worse(double a_far, int32_t a, double b_far, int32_t b)
{
    return a_far > b_far || (a_far == b_far && a > b);
}

typedef struct best {
    double *far; /* [k] a heap: each is no better than its children */
    int32_t *which;
    sg_dim n, k;
} best;

static void sink(best *b, sg_dim n, sg_dim i)
{
    const double far = b->far[i];
    const int32_t which = b->which[i];
    for (sg_dim child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_worse(b->far[child + 1], b->which[child + 1], b->far[child], b->which[child]))
            child++;
        if (!is_worse(b->far[child], b->which[child], far, which))
            break;
        b->far[i] = b->far[child];
        b->which[i] = b->which[child];
    }
    b->far[i] = far;
    b->which[i] = which;
}

static void consider(best *b, double far, int32_t which)
{
    if (b->n == b->k) {
        if (is_worse(far, which, b->far[0], b->which[0]))
            return;
        b->far[0] = far;
        b->which[0] = which;
        sink(b, b->k, 0);
        return;
    }
    sg_dim i = b->n++;
    while (i > 0 && is_worse(far, which, b->far[(i - 1) / 2], b->which[(i - 1) / 2])) {
        b->far[i] = b->far[(i - 1) / 2];
        b->which[i] = b->which[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->far[i] = far;
    b->which[i] = which;
}

/* The heap becomes a list, nearest first. */
static void order(best *b)
{
    for (sg_dim n = b->n; n-- > 1;) {
        const double far = b->far[0];
        const int32_t which = b->which[0];
        b->far[0] = b->far[n];
        b->which[0] = b->which[n];
        b->far[n] = far;
        b->which[n] = which;
        sink(b, n, 0);
    }
}

/* ---- points ---- */

/* Rows in double, for cosines of length 1 (or 0). */
static sg_status rows_of(double **out, const sg_tensor *x, const char *name, sg_metric metric, sg_error *err)
{
    const sg_dim n = x->dims[0], d = x->dims[1];
    double *rows = *out = malloc(sizeof *rows * (size_t)SG_MAX(n * d, 1));
    if (!rows)
        return no_memory(err, n, d);
    sg_convert(rows, SG_F64, x->data, x->dtype, n * d);
    for (sg_dim i = 0; i < n; i++) {
        double *row = rows + i * d, sum = 0;
        for (sg_dim c = 0; c < d; c++) {
            if (!isfinite(row[c]))
                return sg_fail(err, SG_ENUMERIC, "neighbours: %s[%lld,%lld] is %g", name, (long long)i, (long long)c,
                               row[c]);
            sum += row[c] * row[c];
        }
        const double length = sqrt(sum);
        for (sg_dim c = 0; metric == SG_METRIC_COSINE && length > 0 && c < d; c++)
            row[c] /= length;
    }
    return SG_OK;
}

/* blocks [n/LANES,d,LANES], the last filled up with zeros. */
static double *blocks_of(const double *rows, sg_dim n, sg_dim d)
{
    const sg_dim n_blocks = (n + LANES - 1) / LANES;
    double *to = calloc((size_t)SG_MAX(n_blocks * d * LANES, 1), sizeof *to);
    for (sg_dim i = 0; to && i < n; i++)
        for (sg_dim c = 0; c < d; c++)
            to[(i / LANES * d + c) * LANES + i % LANES] = rows[i * d + c];
    return to;
}

static void squares(double *restrict to, const double *restrict block, const double *row, sg_dim d)
{
    for (int l = 0; l < LANES; l++)
        to[l] = 0;
    for (sg_dim c = 0; c < d; c++)
        for (int l = 0; l < LANES; l++) {
            const double apart = block[c * LANES + l] - row[c];
            to[l] += apart * apart;
        }
}

static void products(double *restrict to, const double *restrict block, const double *row, sg_dim d)
{
    for (int l = 0; l < LANES; l++)
        to[l] = 0;
    for (sg_dim c = 0; c < d; c++)
        for (int l = 0; l < LANES; l++)
            to[l] += block[c * LANES + l] * row[c];
    for (int l = 0; l < LANES; l++)
        to[l] = fmax(1 - to[l], 0);
}

typedef struct job {
    const double *blocks, *rows;
    sg_dim n, d, n_asking;
    bool itself; /* is left out */
    sg_neighbours_opts opts;
    sg_neighbours *out;
} job;

/* Some asking points against all: a block is in the cache for each of them. */
static void ask(const job *j, sg_dim from)
{
    best b[ASKING];
    const int n_asking = (int)SG_MIN(ASKING, j->n_asking - from);
    for (int a = 0; a < n_asking; a++)
        b[a] = (best){j->out->distance + (from + a) * j->out->k, j->out->index + (from + a) * j->out->k, 0, j->out->k};
    for (sg_dim first = 0; first < j->n; first += LANES) {
        const double *block = j->blocks + first * j->d;
        double far[LANES];
        for (int a = 0; a < n_asking; a++) {
            const double *row = j->rows + (from + a) * j->d;
            (j->opts.metric == SG_METRIC_COSINE ? products : squares)(far, block, row, j->d);
            const int n = (int)SG_MIN(LANES, j->n - first);
            for (int l = 0; l < n; l++)
                if ((b[a].n < b[a].k || far[l] <= b[a].far[0]) && !(j->itself && first + l == from + a))
                    consider(&b[a], far[l], (int32_t)(first + l));
        }
    }
    for (int a = 0; a < n_asking; a++) {
        order(&b[a]);
        for (sg_dim i = 0; j->opts.metric == SG_METRIC_EUCLIDEAN && i < b[a].k; i++)
            b[a].far[i] = sqrt(b[a].far[i]);
    }
}

static sg_status search(const job *j, sg_error *err)
{
    const sg_dim n_parts = (j->n_asking + ASKING - 1) / ASKING;
    volatile sig_atomic_t stopped = 0;
    const int n_threads = (int)SG_MIN(SG_MAX(j->opts.n_threads, 1), SG_MAX(n_parts, 1));
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 4)
    for (sg_dim part = 0; part < n_parts; part++) {
        if (stopped || (j->opts.cancel && *j->opts.cancel))
            stopped = 1;
        else
            ask(j, part * ASKING);
    }
    (void)n_threads; /* where there is no OpenMP */
    return stopped ? sg_fail(err, SG_ECANCELLED, "neighbours: stopped as asked") : SG_OK;
}

static sg_status check(const sg_tensor *x, const char *name, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->n_dims != 2)
        return sg_fail(err, SG_ESHAPE, "neighbours: %s is %s; points are [N,D]", name,
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (!sg_dtype_is_float(x->dtype))
        return sg_fail(err, SG_ETYPE, "neighbours: %s is of %s; points are floats", name, sg_dtype_name(x->dtype));
    if (x->dims[0] > INT32_MAX - LANES)
        return sg_fail(err, SG_EUNSUPPORTED, "neighbours: %s has %lld points", name, (long long)x->dims[0]);
    return SG_OK;
}

sg_status sg_neighbours_new(sg_neighbours **out, const sg_tensor *x, const sg_tensor *to, sg_dim k,
                            sg_neighbours_opts opts, sg_error *err)
{
    *out = NULL;
    SG_TRY(check(x, "x", err));
    if (to) {
        SG_TRY(check(to, "to", err));
        if (to->dims[1] != x->dims[1])
            return sg_fail(err, SG_ESHAPE, "neighbours: points of %lld and of %lld components", (long long)x->dims[1],
                           (long long)to->dims[1]);
    }
    const sg_dim n = x->dims[0], d = x->dims[1], n_asking = to ? to->dims[0] : n, most = to ? n : n - 1;
    if (k < 1 || k > most)
        return sg_fail(err, SG_EARG, "neighbours: %lld of each were asked for; a point has 1 to %lld", (long long)k,
                       (long long)SG_MAX(most, 0));
    size_t room;
    if (sg_bytes(n_asking, (size_t)k * sizeof(double), &room) != SG_OK)
        return no_memory(err, n_asking, k);
    double *rows = NULL, *asking = NULL, *blocks = NULL;
    sg_neighbours *found = calloc(1, sizeof *found);
    sg_status status = found ? SG_OK : no_memory(err, n_asking, k);
    if (status == SG_OK) {
        *found = (sg_neighbours){.n = n_asking, .k = k, .index = malloc(room / 2 + 1), .distance = malloc(room + 1)};
        status = found->index && found->distance ? SG_OK : no_memory(err, n_asking, k);
    }
    if (status == SG_OK)
        status = rows_of(&rows, x, "x", opts.metric, err);
    if (status == SG_OK && to)
        status = rows_of(&asking, to, "to", opts.metric, err);
    if (status == SG_OK && !(blocks = blocks_of(rows, n, d)))
        status = no_memory(err, n, d);
    if (status == SG_OK)
        status = search(&(job){blocks, to ? asking : rows, n, d, n_asking, !to, opts, found}, err);
    free(blocks);
    free(asking);
    free(rows);
    if (status == SG_OK)
        *out = found;
    else
        sg_neighbours_free(found);
    return status;
}

void sg_neighbours_free(sg_neighbours *n)
{
    if (!n)
        return;
    free(n->index);
    free(n->distance);
    free(n);
}
