/* How alike two tables of embeddings are, and of what dimension one is; see embedgeo.h. */
#include "sightglass/embedgeo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/math.h"
#include "sightglass/linalg.h"
#include "sightglass/rng.h"
#include "sightglass/statistics.h"

enum { ROWS = 256 /* converted at once */ };
enum { STREAM_NEIGHBOURS = 0x6e656172, STREAM_SHUFFLE = 0x73687566, STREAM_NODES = 0x6e6f6465 };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "embedgeo: out of memory");
}

static sg_status check(const sg_tensor *x, const char *name, sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    if (x->n_dims != 2 || x->dims[1] < 1)
        return sg_fail(err, SG_ESHAPE, "embedgeo: %s is %s; points are [N,D]", name,
                       sg_shape_text(shape, x->n_dims, x->dims));
    if (!sg_dtype_is_float(x->dtype))
        return sg_fail(err, SG_ETYPE, "embedgeo: %s is of %s; points are floats", name, sg_dtype_name(x->dtype));
    return SG_OK;
}

/* Row i of a tensor in double. */
static void row_of(double *to, const sg_tensor *x, sg_dim i)
{
    const sg_dim d = x->dims[1];
    sg_convert(to, SG_F64, (const char *)x->data + (size_t)(i * d) * sg_dtype_bytes(x->dtype), x->dtype, d);
}

/* ---- globally alike ---- */

/* One side: rows as they come, their mean, and sums over them. */
typedef struct side {
    const sg_tensor *x;
    const int32_t *ids;
    sg_dim d;
    double *mean, *total; /* [d] of embeddings; of the rows that are compared */
    double *rows;         /* [ROWS,d] */
    double n_there;       /* rows of length 1: a row of zeros has no direction */
    double variance;
} side;

static sg_status open_side(side *s, const sg_tensor *x, const char *name, const int32_t *ids, sg_dim n, sg_error *err)
{
    SG_TRY(check(x, name, err));
    *s = (side){.x = x, .ids = ids, .d = x->dims[1]};
    for (sg_dim i = 0; i < n; i++)
        if (ids ? ids[i] < 0 || ids[i] >= x->dims[0] : i >= x->dims[0])
            return sg_fail(err, SG_EARG, "embedgeo: token %lld of %s; it has %lld", (long long)(ids ? ids[i] : i), name,
                           (long long)x->dims[0]);
    s->mean = calloc((size_t)s->d, sizeof *s->mean);
    s->total = calloc((size_t)s->d, sizeof *s->total);
    s->rows = calloc((size_t)s->d * ROWS, sizeof *s->rows);
    if (!s->mean || !s->total || !s->rows)
        return no_memory(err);
    for (sg_dim i = 0; i < n; i++) {
        row_of(s->rows, x, ids ? ids[i] : i);
        for (sg_dim c = 0; c < s->d; c++) {
            if (!isfinite(s->rows[c]))
                return sg_fail(err, SG_ENUMERIC, "embedgeo: token %lld of %s holds %g", (long long)(ids ? ids[i] : i),
                               name, s->rows[c]);
            s->mean[c] += s->rows[c] / (double)n;
        }
    }
    return SG_OK;
}

static void close_side(side *s)
{
    free(s->mean);
    free(s->total);
    free(s->rows);
}

enum form { AS_IT_IS, CENTRED, ONLY_CENTRED /* not brought to length 1 */ };

static void fill_rows(side *s, sg_dim first, sg_dim n, enum form form)
{
    for (sg_dim i = 0; i < n; i++) {
        double *row = s->rows + i * s->d, sum = 0;
        row_of(row, s->x, s->ids ? s->ids[first + i] : first + i);
        for (sg_dim c = 0; c < s->d; c++) {
            row[c] -= form == AS_IT_IS ? 0 : s->mean[c];
            sum += row[c] * row[c];
        }
        s->variance += sum;
        const double length = form == ONLY_CENTRED ? 1 : sqrt(sum);
        s->n_there += length > 0;
        for (sg_dim c = 0; c < s->d && length > 0; c++)
            s->total[c] += row[c] /= length;
    }
}

/* to [a->d,b->d] += rows of a, turned, times rows of b. */
static sg_status add_product(const sg_tensor *to, const side *a, const side *b, sg_dim n, sg_error *err)
{
    const sg_tensor x = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, a->d}, a->rows);
    const sg_tensor y = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, b->d}, b->rows);
    return sg_product(to, &x, true, &y, false, 1, 1, err);
}

static double squares(const sg_tensor *t)
{
    const double *x = t->data;
    double sum = 0;
    for (sg_dim i = 0; i < sg_tensor_count(t); i++)
        sum += x[i] * x[i];
    return sum;
}

static double dot(const double *a, const double *b, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* aa, bb, ab: sums over all i, j of squared cosines and of their products. */
static sg_status sums(side *a, side *b, sg_dim n, enum form form, sg_tensor gram[3], sg_error *err)
{
    side *const of[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        memset(of[k]->total, 0, (size_t)of[k]->d * sizeof(double));
        of[k]->n_there = of[k]->variance = 0;
    }
    for (int k = 0; k < 3; k++)
        memset(gram[k].data, 0, sg_tensor_bytes(&gram[k]));
    for (sg_dim first = 0; first < n; first += ROWS) {
        const sg_dim some = SG_MIN(ROWS, n - first);
        fill_rows(a, first, some, form);
        fill_rows(b, first, some, form);
        SG_TRY(add_product(&gram[2], a, b, some, err));
        for (int k = 0; k < 2 && form != ONLY_CENTRED; k++)
            SG_TRY(add_product(&gram[k], of[k], of[k], some, err));
    }
    return SG_OK;
}

/* The diagonal, 1 for each row that is there, is no pair. */
static double correlation(const side *a, const side *b, sg_dim n, double both, const sg_tensor gram[3])
{
    const double pairs = (double)n * (double)(n - 1);
    const double mean_a = (dot(a->total, a->total, a->d) - a->n_there) / pairs;
    const double mean_b = (dot(b->total, b->total, b->d) - b->n_there) / pairs;
    const double aa = (squares(&gram[0]) - a->n_there) / pairs - mean_a * mean_a;
    const double bb = (squares(&gram[1]) - b->n_there) / pairs - mean_b * mean_b;
    const double ab = (squares(&gram[2]) - both) / pairs - mean_a * mean_b;
    return aa > 1e-14 && bb > 1e-14 ? ab / sqrt(aa * bb) : (double)NAN;
}

static double n_in_both(side *a, side *b, sg_dim n, enum form form)
{
    double count = 0;
    for (sg_dim i = 0; i < n; i++) {
        bool there[2];
        for (int k = 0; k < 2; k++) {
            const side *s = k ? b : a;
            row_of(s->rows, s->x, s->ids ? s->ids[i] : i);
            there[k] = false;
            for (sg_dim c = 0; c < s->d; c++)
                there[k] |= s->rows[c] - (form == AS_IT_IS ? 0 : s->mean[c]) != 0;
        }
        count += there[0] && there[1];
    }
    return count;
}

/* The least |X R s - Y|^2 over turns R and scales s leaves 1 - (sum of singular values of X'Y)^2 / (|X|^2 |Y|^2). */
static sg_status turned(double *out, const side *a, const side *b, const sg_tensor *cross, sg_error *err)
{
    sg_svd *svd;
    double sum = 0;
    SG_TRY(sg_svd_new(&svd, cross, SG_FACTORS_THIN, err));
    for (sg_dim i = 0; i < sg_tensor_count(&svd->s); i++)
        sum += ((const double *)svd->s.data)[i];
    sg_svd_free(svd);
    const double most = a->variance * b->variance;
    *out = most > 0 ? sum * sum / most : (double)NAN;
    return SG_OK;
}

static sg_status alike(sg_geo_alike *out, side *a, side *b, sg_dim n, sg_tensor gram[3], sg_error *err)
{
    for (int form = AS_IT_IS; form <= CENTRED; form++) {
        SG_TRY(sums(a, b, n, (enum form)form, gram, err));
        const double r = correlation(a, b, n, n_in_both(a, b, n, (enum form)form), gram);
        *(form == AS_IT_IS ? &out->r : &out->centred) = r;
    }
    SG_TRY(sums(a, b, n, ONLY_CENTRED, gram, err));
    return turned(&out->turned, a, b, &gram[2], err);
}

sg_status sg_geo_pearson(sg_geo_alike *out, const sg_tensor *a, const sg_tensor *b, const int32_t *ids_a,
                         const int32_t *ids_b, sg_dim n, sg_error *err)
{
    side one = {0}, other = {0};
    *out = (sg_geo_alike){n, (double)NAN, (double)NAN, (double)NAN};
    if (n < 3)
        return sg_fail(err, SG_EARG, "embedgeo: %lld tokens; geometries are compared on 3 at least", (long long)n);
    sg_status status = open_side(&one, a, "the first table", ids_a, n, err);
    if (status == SG_OK)
        status = open_side(&other, b, "the second table", ids_b, n, err);
    if (status == SG_OK) {
        const sg_dim d[3][2] = {{one.d, one.d}, {other.d, other.d}, {one.d, other.d}};
        sg_tensor gram[3];
        bool good = true;
        for (int k = 0; k < 3; k++) {
            gram[k] = sg_tensor_of(SG_F64, 2, d[k], calloc((size_t)(d[k][0] * d[k][1]), sizeof(double)));
            good &= gram[k].data != NULL;
        }
        status = good ? alike(out, &one, &other, n, gram, err) : no_memory(err);
        for (int k = 0; k < 3; k++)
            free(gram[k].data);
    }
    close_side(&one);
    close_side(&other);
    return status;
}

/* ---- locally alike ---- */

/* Differences of a point from its neighbours, [k,d]. */
static void differences(double *to, double *own, const sg_tensor *x, const sg_neighbours *near, sg_dim i)
{
    const sg_dim d = x->dims[1];
    row_of(own, x, i);
    for (sg_dim j = 0; j < near->k; j++) {
        row_of(to + j * d, x, near->index[i * near->k + j]);
        for (sg_dim c = 0; c < d; c++)
            to[j * d + c] -= own[c];
    }
}

static sg_status weights_of(double *w, const sg_tensor *gram, double regularise, sg_error *err)
{
    const sg_dim k = gram->dims[0];
    double *g = gram->data, trace = 0, sum = 0;
    for (sg_dim j = 0; j < k; j++)
        trace += g[j * k + j];
    /* All neighbours are copies of the point: any weights do, and equal ones are taken. */
    const double more = trace > 0 ? regularise * trace / (double)k : 1;
    for (sg_dim j = 0; j < k; j++) {
        g[j * k + j] += more;
        w[j] = 1;
    }
    sg_cholesky *factor;
    SG_TRY(sg_cholesky_new(&factor, gram, err));
    const sg_tensor x = sg_tensor_of(SG_F64, 1, &k, w);
    const sg_status status = sg_cholesky_solve(&x, factor, &x, err);
    sg_cholesky_free(factor);
    SG_TRY(status);
    for (sg_dim j = 0; j < k; j++)
        sum += w[j];
    for (sg_dim j = 0; j < k; j++)
        w[j] /= sum;
    return SG_OK;
}

static sg_status check_near(const sg_tensor *x, const sg_neighbours *near, sg_error *err)
{
    SG_TRY(check(x, "x", err));
    if (near->n != x->dims[0])
        return sg_fail(err, SG_ESHAPE, "embedgeo: neighbours of %lld points beside %lld points", (long long)near->n,
                       (long long)x->dims[0]);
    return SG_OK;
}

sg_status sg_geo_lle(const sg_tensor *w, const sg_tensor *x, const sg_neighbours *near, double regularise,
                     sg_error *err)
{
    char shape[SG_SHAPE_TEXT];
    const sg_dim k = near->k, d = x->n_dims == 2 ? x->dims[1] : 0;
    SG_TRY(check_near(x, near, err));
    if (w->dtype != SG_F64 || w->n_dims != 2 || w->dims[0] != near->n || w->dims[1] != k)
        return sg_fail(err, SG_ESHAPE, "embedgeo: weights of [%lld,%lld] do not go into %s %s", (long long)near->n,
                       (long long)k, sg_dtype_name(w->dtype), sg_shape_text(shape, w->n_dims, w->dims));
    if (!(regularise > 0) || !isfinite(regularise))
        return sg_fail(err, SG_EARG, "embedgeo: regularise is %g, wanted more than 0", regularise);
    double *off = malloc(sizeof *off * (size_t)(k * d)), *own = malloc(sizeof *own * (size_t)d);
    double *cells = malloc(sizeof *cells * (size_t)(k * k));
    sg_status status = off && own && cells ? SG_OK : no_memory(err);
    for (sg_dim i = 0; status == SG_OK && i < near->n; i++) {
        differences(off, own, x, near, i);
        for (sg_dim a = 0; a < k; a++)
            for (sg_dim b = 0; b <= a; b++)
                cells[a * k + b] = cells[b * k + a] = dot(off + a * d, off + b * d, d);
        const sg_tensor gram = sg_tensor_of(SG_F64, 2, (sg_dim[]){k, k}, cells);
        status = weights_of((double *)w->data + i * k, &gram, regularise, err);
    }
    free(off);
    free(own);
    free(cells);
    return status;
}

sg_status sg_geo_lle_alike(double *cosine, const sg_neighbours *near_a, const sg_tensor *w_a,
                           const sg_neighbours *near_b, const sg_tensor *w_b, sg_error *err)
{
    if (near_a->n != near_b->n)
        return sg_fail(err, SG_ESHAPE, "embedgeo: weights of %lld and of %lld points", (long long)near_a->n,
                       (long long)near_b->n);
    double *spread = calloc((size_t)SG_MAX(near_a->n, 1), sizeof *spread); /* a row of b over all points */
    if (!spread)
        return no_memory(err);
    for (sg_dim i = 0; i < near_a->n; i++) {
        const int32_t *a = near_a->index + i * near_a->k, *b = near_b->index + i * near_b->k;
        const double *x = (const double *)w_a->data + i * near_a->k, *y = (const double *)w_b->data + i * near_b->k;
        double xy = 0;
        for (sg_dim j = 0; j < near_b->k; j++)
            spread[b[j]] = y[j];
        for (sg_dim j = 0; j < near_a->k; j++)
            xy += x[j] * spread[a[j]];
        for (sg_dim j = 0; j < near_b->k; j++)
            spread[b[j]] = 0;
        cosine[i] = xy / sqrt(dot(x, x, near_a->k) * dot(y, y, near_b->k));
    }
    free(spread);
    return SG_OK;
}

sg_status sg_neighbours_random(sg_neighbours **out, sg_dim n, sg_dim k, uint64_t seed, sg_error *err)
{
    *out = NULL;
    if (k < 1 || k >= n || n > INT32_MAX)
        return sg_fail(err, SG_EARG, "embedgeo: %lld others of each of %lld points", (long long)k, (long long)n);
    sg_neighbours *near = calloc(1, sizeof *near);
    if (near)
        *near =
            (sg_neighbours){n, k, malloc(sizeof(int32_t) * (size_t)(n * k)), malloc(sizeof(double) * (size_t)(n * k))};
    if (!near || !near->index || !near->distance) {
        sg_neighbours_free(near);
        return no_memory(err);
    }
    sg_rng r = sg_rng_new(seed, STREAM_NEIGHBOURS);
    for (sg_dim i = 0; i < n; i++)
        for (sg_dim j = 0; j < k;) {
            const int32_t other = (int32_t)sg_rng_below(&r, (uint32_t)n);
            bool fresh = other != i;
            for (sg_dim l = 0; l < j && fresh; l++)
                fresh = near->index[i * k + l] != other;
            if (!fresh)
                continue;
            near->index[i * k + j] = other;
            near->distance[i * k + j++] = (double)NAN;
        }
    *out = near;
    return SG_OK;
}

/* ---- dimension ---- */

/* Components that reach the share, from eigenvalues in rising order. */
static int32_t reached(const double *values, sg_dim n, double share)
{
    double total = 0, sum = 0;
    int32_t count = 0;
    for (sg_dim i = 0; i < n; i++)
        total += fmax(values[i], 0);
    while (count < n && sum < share * total)
        sum += fmax(values[n - 1 - count++], 0);
    return count;
}

/* Neighbours less their mean, [k,d], and the smaller of the two products of that. */
static sg_status localdim(int32_t *dim, const sg_tensor *x, const sg_neighbours *near, sg_dim i, double share,
                          double *rows, double *mean, double *cells, sg_error *err)
{
    const sg_dim k = near->k, d = x->dims[1], n = SG_MIN(k, d);
    memset(mean, 0, (size_t)d * sizeof *mean);
    for (sg_dim j = 0; j < k; j++) {
        row_of(rows + j * d, x, near->index[i * k + j]);
        for (sg_dim c = 0; c < d; c++)
            mean[c] += rows[j * d + c] / (double)k;
    }
    for (sg_dim j = 0; j < k; j++)
        for (sg_dim c = 0; c < d; c++)
            rows[j * d + c] -= mean[c];
    const sg_tensor t = sg_tensor_of(SG_F64, 2, (sg_dim[]){k, d}, rows);
    const sg_tensor gram = sg_tensor_of(SG_F64, 2, (sg_dim[]){n, n}, cells);
    SG_TRY(sg_product(&gram, &t, n == d, &t, n != d, 1, 0, err));
    sg_eigen *eigen;
    SG_TRY(sg_eigen_new(&eigen, &gram, err));
    *dim = reached(eigen->values.data, n, share);
    sg_eigen_free(eigen);
    return SG_OK;
}

sg_status sg_geo_localdim(int32_t *dim, const sg_tensor *x, const sg_neighbours *near, double share, int n_threads,
                          const volatile sig_atomic_t *cancel, sg_error *err)
{
    SG_TRY(check_near(x, near, err));
    if (!(share > 0 && share <= 1))
        return sg_fail(err, SG_EARG, "embedgeo: a share of %g of the variance, wanted one in (0,1]", share);
    const size_t k = (size_t)near->k, d = (size_t)x->dims[1], n = SG_MIN(k, d);
    sg_status first = SG_OK;
    sg_error why = {0};
    n_threads = SG_MAX(n_threads, 1);
#pragma omp parallel num_threads(n_threads)
    {
        double *rows = malloc(sizeof *rows * k * d), *mean = malloc(sizeof *mean * d);
        double *cells = malloc(sizeof *cells * n * n);
#pragma omp for schedule(dynamic, 8)
        for (sg_dim i = 0; i < near->n; i++) {
            sg_error here = {0};
            sg_status status = rows && mean && cells ? SG_OK : no_memory(&here);
            if (status == SG_OK && cancel && *cancel)
                status = sg_fail(&here, SG_ECANCELLED, "embedgeo: stopped as asked");
            if (status == SG_OK && first == SG_OK)
                status = localdim(&dim[i], x, near, i, share, rows, mean, cells, &here);
            if (status != SG_OK) {
#pragma omp critical(embedgeo)
                if (first == SG_OK) {
                    first = status;
                    why = here;
                }
            }
        }
        free(rows);
        free(mean);
        free(cells);
    }
    return first == SG_OK ? SG_OK : sg_fail(err, first, "%s", why.text);
}

sg_status sg_geo_dimension_of(sg_geo_dimension *out, const sg_neighbours *near, sg_error *err)
{
    *out = (sg_geo_dimension){(double)NAN, (double)NAN, 0};
    if (near->k < 3)
        return sg_fail(err, SG_EARG, "embedgeo: %lld neighbours; dimensions take 3 at least", (long long)near->k);
    double *mu = malloc(sizeof *mu * (size_t)SG_MAX(near->n, 1)), inverse = 0;
    if (!mu)
        return no_memory(err);
    sg_dim n = 0, n_likely = 0;
    for (sg_dim i = 0; i < near->n; i++) {
        const double *far = near->distance + i * near->k, last = far[near->k - 1];
        if (!(far[0] > 0))
            continue;
        double sum = 0;
        mu[n++] = sg_math_log(far[1] / far[0]);
        for (sg_dim j = 0; j < near->k - 1; j++)
            sum += sg_math_log(last / far[j]);
        inverse += sum / (double)(near->k - 1); /* without bias for 1/d, so inverses are averaged */
        n_likely++;
    }
    out->n = n;
    if (n_likely > 0 && inverse > 0)
        out->likely = (double)n_likely / inverse;
    /* -log(1 - F(mu)) = d log(mu): a line through the origin over the nearest nine tenths. */
    sg_stats_sort(n, mu);
    double xy = 0, xx = 0;
    for (sg_dim i = 0; i < n * 9 / 10; i++) {
        const double y = -sg_math_log(1 - (double)(i + 1) / (double)(n + 1));
        xy += mu[i] * y;
        xx += mu[i] * mu[i];
    }
    if (xx > 0)
        out->two_nn = xy / xx;
    free(mu);
    return SG_OK;
}

sg_status sg_geo_shuffle(const sg_tensor *to, const sg_tensor *x, uint64_t seed, sg_error *err)
{
    SG_TRY(check(x, "x", err));
    const sg_dim n = x->dims[0], d = x->dims[1];
    if (to->dtype != SG_F32 || to->n_dims != 2 || to->dims[0] != n || to->dims[1] != d)
        return sg_fail(err, SG_ESHAPE, "embedgeo: a shuffle of [%lld,%lld] needs f32 of as many", (long long)n,
                       (long long)d);
    float *cells = to->data;
    sg_convert(cells, SG_F32, x->data, x->dtype, n * d);
    for (sg_dim c = 0; c < d; c++) {
        sg_rng r = sg_rng_new(seed, STREAM_SHUFFLE);
        r.step = (uint64_t)c;
        for (sg_dim i = n - 1; i > 0; i--) {
            const sg_dim j = (sg_dim)sg_rng_below(&r, (uint32_t)i + 1);
            const float kept = cells[i * d + c];
            cells[i * d + c] = cells[j * d + c];
            cells[j * d + c] = kept;
        }
    }
    return SG_OK;
}

/* ---- on a graph ---- */

sg_dirichlet_opts sg_dirichlet_defaults(void)
{
    return (sg_dirichlet_opts){.n_permutations = 200};
}

/* Points and their links; node i holds point at[i]. */
typedef struct placed {
    const double *x;
    sg_dim d;
    const sg_links *links;
    const bool *there;
    const int32_t *present; /* the points that are there */
    sg_dim n_present;
} placed;

static double over_links(const placed *p, const int32_t *at, sg_dim *n_links)
{
    double sum = 0, weight = 0;
    sg_dim n = 0;
    for (sg_dim i = 0; i < p->links->n; i++)
        for (sg_dim l = p->links->first[i]; l < p->links->first[i + 1]; l++) {
            const sg_dim j = p->links->to[l];
            if (j <= i || !p->there[i] || !p->there[j])
                continue;
            double apart = 0;
            for (sg_dim c = 0; c < p->d; c++) {
                const double off = p->x[at[i] * p->d + c] - p->x[at[j] * p->d + c];
                apart += off * off;
            }
            sum += p->links->weight[l] * apart;
            weight += p->links->weight[l];
            n++;
        }
    if (n_links)
        *n_links = n;
    return weight > 0 ? sum / weight : (double)NAN;
}

static sg_status energy(sg_dirichlet *out, const placed *p, int32_t *at, double *null, sg_dirichlet_opts opts,
                        sg_error *err)
{
    double square = 0, of_total = 0;
    const sg_dim n = p->n_present;
    for (sg_dim c = 0; c < p->d; c++) {
        double total = 0;
        for (sg_dim i = 0; i < p->links->n; i++)
            if (p->there[i]) {
                square += p->x[i * p->d + c] * p->x[i * p->d + c];
                total += p->x[i * p->d + c];
            }
        of_total += total * total;
    }
    /* sum over pairs of |x_i - x_j|^2 = n sum |x_i|^2 - |sum x_i|^2 */
    out->n_points = n;
    out->pairs = ((double)n * square - of_total) / ((double)n * (double)(n - 1) / 2);
    for (sg_dim i = 0; i < p->links->n; i++)
        at[i] = (int32_t)i;
    out->edges = over_links(p, at, &out->n_links);
    if (n < 3 || out->n_links < 1)
        return sg_fail(err, SG_EARG, "embedgeo: %lld points and %lld links among them; an energy takes 3 and 1",
                       (long long)n, (long long)out->n_links);
    out->ratio = out->edges / out->pairs;
    for (int t = 0; t < opts.n_permutations; t++) {
        sg_rng r = sg_rng_new(opts.seed, STREAM_NODES);
        r.step = (uint64_t)t;
        for (sg_dim i = p->n_present - 1; i > 0; i--) { /* those that are there change places */
            int32_t *here = &at[p->present[i]], *there = &at[p->present[sg_rng_below(&r, (uint32_t)i + 1)]];
            const int32_t kept = *here;
            *here = *there;
            *there = kept;
        }
        null[t] = over_links(p, at, NULL) / out->pairs;
    }
    return SG_OK;
}

sg_status sg_dirichlet_energy(sg_dirichlet *out, const sg_tensor *x, const sg_links *links, sg_dirichlet_opts opts,
                              sg_error *err)
{
    *out = (sg_dirichlet){.null = (double)NAN, .null_low = (double)NAN, .null_high = (double)NAN};
    SG_TRY(check(x, "x", err));
    if (links->n != x->dims[0])
        return sg_fail(err, SG_ESHAPE, "embedgeo: a graph of %lld points beside %lld points", (long long)links->n,
                       (long long)x->dims[0]);
    if (opts.n_permutations < 1)
        return sg_fail(err, SG_EARG, "embedgeo: %d permutations", opts.n_permutations);
    const sg_dim n = links->n, d = x->dims[1];
    double *rows = malloc(sizeof *rows * (size_t)SG_MAX(n * d, 1)),
           *null = malloc(sizeof *null * (size_t)opts.n_permutations);
    bool *there = malloc(sizeof *there * (size_t)SG_MAX(n, 1));
    int32_t *at = malloc(sizeof *at * (size_t)SG_MAX(n, 1)), *present = malloc(sizeof *present * (size_t)SG_MAX(n, 1));
    sg_dim n_present = 0;
    sg_status status = rows && null && there && at && present ? SG_OK : no_memory(err);
    if (status == SG_OK) {
        for (sg_dim i = 0; i < n; i++) {
            row_of(rows + i * d, x, i);
            there[i] = true;
            for (sg_dim c = 0; c < d; c++)
                there[i] &= isfinite(rows[i * d + c]) != 0;
            if (there[i])
                present[n_present++] = (int32_t)i;
        }
        status = energy(out, &(placed){rows, d, links, there, present, n_present}, at, null, opts, err);
    }
    if (status == SG_OK) {
        out->null = sg_stats_mean(opts.n_permutations, null);
        sg_stats_sort(opts.n_permutations, null);
        out->null_low = sg_stats_quantile(opts.n_permutations, null, .025);
        out->null_high = sg_stats_quantile(opts.n_permutations, null, .975);
    }
    free(rows);
    free(null);
    free(there);
    free(at);
    free(present);
    return status;
}
