/* t-SNE by a quadtree (Barnes & Hut 1986; van der Maaten 2014).
 *
 *     dC/dy_i = 4 sum_j (p_ij - q_ij) q'_ij (y_i - y_j),  q' = 1 / (1 + |y_i - y_j|^2),  q = q' / Z
 *
 * Points are kept in the order of a curve through the plane, so that eight in a row lie together: they walk the tree as
 * one, and a cell that is too near for any of them is opened for all. That is more exact than each walking alone, and
 * SIMD. Each group's sums are its own and Z is added up in order, so threads do not change a byte. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/math.h"
#include "methods/layout_internal.h"

enum { LANES = 8, LEVELS = 16, EARLY_STEPS = 250 };

static sg_status no_memory(sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "layout: out of memory");
}

/* ---- p(j|i) ---- */

/* The precision beta at which the entropy of p_j = exp(-beta d_j^2) / sum is log(perplexity), by halving. */
static void probabilities(double *p, const double *far, sg_dim k, double perplexity)
{
    double beta = 1, low = 0, high = (double)INFINITY;
    const double wanted = sg_math_log(SG_MIN(perplexity, (double)k)), nearest = far[0] * far[0];
    for (int round = 0; round < 200; round++) {
        double sum = 0, mean = 0;
        for (sg_dim j = 0; j < k; j++) {
            const double d = far[j] * far[j] - nearest; /* which the sum takes out again */
            p[j] = sg_math_exp(-beta * d);
            sum += p[j];
            mean += p[j] * d;
        }
        const double entropy = sg_math_log(sum) + beta * mean / sum;
        for (sg_dim j = 0; j < k; j++)
            p[j] /= sum;
        if (fabs(entropy - wanted) < 1e-7)
            break;
        if (entropy > wanted)
            low = beta;
        else
            high = beta;
        beta = isfinite(high) ? (low + high) / 2 : 2 * beta;
        if (!isfinite(beta)) /* more copies of the point than the perplexity: they share alike */
            break;
    }
}

static sg_status affinities(layout_weights *out, const sg_neighbours *near, double perplexity, sg_error *err)
{
    double *p = malloc(sizeof *p * (size_t)(near->n * near->k));
    if (!p)
        return no_memory(err);
    for (sg_dim i = 0; i < near->n; i++)
        probabilities(p + i * near->k, near->distance + i * near->k, near->k, perplexity);
    const sg_status status = layout_unite(out, near, p, false, err);
    free(p);
    double sum = 0;
    for (sg_dim l = 0; status == SG_OK && l < out->first[near->n]; l++)
        sum += out->weight[l];
    for (sg_dim l = 0; status == SG_OK && l < out->first[near->n]; l++)
        out->weight[l] /= sum;
    return status;
}

/* ---- the tree ---- */

/* Cells in the order of a walk that opens all: the first child follows, `skip` is what follows without opening. */
typedef struct cell {
    double x, y, count; /* centre of mass, points */
    double width2;      /* side squared; 0: a leaf, which is never opened */
    int32_t skip;
} cell;

typedef struct tree {
    cell *cells;
    int32_t n;
    sg_dim n_points;
    uint32_t *code, *code_to; /* [n] places along the curve, rising */
    int32_t *who, *who_to;    /* [n] the points at these places */
    double *sorted;           /* [n + LANES,2] in that order */
    double side;
} tree;

static uint32_t spread_bits(uint32_t x)
{
    x = (x | x << 8) & 0x00FF00FFu;
    x = (x | x << 4) & 0x0F0F0F0Fu;
    x = (x | x << 2) & 0x33333333u;
    return (x | x << 1) & 0x55555555u;
}

/* By the digits of the code, lowest first; equal ones keep the order of the points. */
static void sort_codes(tree *t)
{
    for (int shift = 0; shift < 32; shift += 8) {
        sg_dim start[257] = {0};
        for (sg_dim i = 0; i < t->n_points; i++)
            start[(t->code[i] >> shift & 255u) + 1]++;
        for (int b = 0; b < 256; b++)
            start[b + 1] += start[b];
        for (sg_dim i = 0; i < t->n_points; i++) {
            const sg_dim to = start[t->code[i] >> shift & 255u]++;
            t->code_to[to] = t->code[i];
            t->who_to[to] = t->who[i];
        }
        uint32_t *code = t->code;
        int32_t *who = t->who;
        t->code = t->code_to, t->who = t->who_to;
        t->code_to = code, t->who_to = who;
    }
}

/* The cell of points first..last-1, which agree in all digits above `level`; gives how many points' sums it holds. */
static void grow(tree *t, sg_dim first, sg_dim last, int level)
{
    while (level > 0) { /* cells with one child are passed over */
        const int shift = 2 * (level - 1);
        if ((t->code[first] >> shift & 3u) != (t->code[last - 1] >> shift & 3u))
            break;
        level--;
    }
    const int32_t own = t->n++;
    cell *c = &t->cells[own];
    *c = (cell){0, 0, (double)(last - first), 0, 0};
    if (level == 0 || last - first == 1) {
        for (sg_dim i = first; i < last; i++) {
            c->x += t->sorted[2 * i];
            c->y += t->sorted[2 * i + 1];
        }
    } else {
        const int shift = 2 * (level - 1);
        const double width = t->side * ldexp(1, level - LEVELS);
        c->width2 = width * width;
        for (sg_dim from = first, to; from < last; from = to) {
            const uint32_t digit = t->code[from] >> shift & 3u;
            sg_dim low = from, high = last; /* code[low] has the digit, code[high] has not */
            while (high - low > 1) {
                const sg_dim middle = low + (high - low) / 2;
                if ((t->code[middle] >> shift & 3u) == digit)
                    low = middle;
                else
                    high = middle;
            }
            to = high;
            const int32_t child = t->n;
            grow(t, from, to, level - 1);
            c = &t->cells[own];
            c->x += t->cells[child].x * t->cells[child].count;
            c->y += t->cells[child].y * t->cells[child].count;
        }
    }
    c->x /= c->count;
    c->y /= c->count;
    c->skip = t->n;
}

static void plant(tree *t, const double *y)
{
    const sg_dim n = t->n_points;
    double low[2] = {y[0], y[1]}, high[2] = {y[0], y[1]};
    for (sg_dim i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
            low[k] = fmin(low[k], y[2 * i + k]);
            high[k] = fmax(high[k], y[2 * i + k]);
        }
    t->side = fmax(fmax(high[0] - low[0], high[1] - low[1]), 1e-300) * (1 + 1e-9);
    const double scale = (double)(1 << LEVELS) / t->side;
    for (sg_dim i = 0; i < n; i++) {
        const uint32_t at[2] = {(uint32_t)fmin((y[2 * i] - low[0]) * scale, (1 << LEVELS) - 1),
                                (uint32_t)fmin((y[2 * i + 1] - low[1]) * scale, (1 << LEVELS) - 1)};
        t->code[i] = spread_bits(at[0]) | spread_bits(at[1]) << 1;
        t->who[i] = (int32_t)i;
    }
    sort_codes(t);
    for (sg_dim i = 0; i < n + LANES; i++) { /* the last group is filled up with its last point */
        const int32_t who = t->who[SG_MIN(i, n - 1)];
        t->sorted[2 * i] = y[2 * who];
        t->sorted[2 * i + 1] = y[2 * who + 1];
    }
    t->n = 0;
    grow(t, 0, n, LEVELS);
}

/* push [LANES,2]: sum of q'^2 (y_i - y_j); total [LANES]: sum of q', for a group of points that follow each other. */
static void walk(double *push, double *total, const tree *t, sg_dim first, double theta2)
{
    double x[LANES], y[LANES], fx[LANES] = {0}, fy[LANES] = {0}, z[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
        x[l] = t->sorted[2 * (first + l)];
        y[l] = t->sorted[2 * (first + l) + 1];
    }
    for (int32_t i = 0; i < t->n;) {
        const cell c = t->cells[i];
        double dx[LANES], dy[LANES], d2[LANES], nearest = (double)INFINITY;
        for (int l = 0; l < LANES; l++) {
            dx[l] = x[l] - c.x;
            dy[l] = y[l] - c.y;
            d2[l] = dx[l] * dx[l] + dy[l] * dy[l];
        }
        for (int l = 0; l < LANES; l++)
            nearest = d2[l] < nearest ? d2[l] : nearest;
        if (c.width2 > theta2 * nearest || (c.width2 > 0 && theta2 == 0)) {
            i++;
            continue;
        }
        for (int l = 0; l < LANES; l++) {
            const double q = 1 / (1 + d2[l]), many = c.count * q;
            z[l] += many;
            fx[l] += many * q * dx[l];
            fy[l] += many * q * dy[l];
        }
        i = c.skip;
    }
    for (int l = 0; l < LANES; l++) {
        push[2 * l] = fx[l];
        push[2 * l + 1] = fy[l];
        total[l] = z[l];
    }
}

/* ---- descent ---- */

typedef struct descent {
    tree tree;
    double *y;
    double *push, *total;        /* [n + LANES,2] and [n + LANES], in the order of the curve */
    double *pull, *speed, *gain; /* [n,2] */
    sg_dim *place;               /* of each point along the curve */
    layout_weights p;
    double theta2;
    int n_threads;
} descent;

static double forces(descent *s)
{
    const sg_dim n = s->tree.n_points, n_groups = (n + LANES - 1) / LANES;
    plant(&s->tree, s->y);
#pragma omp parallel for num_threads(s->n_threads) schedule(dynamic, 16)
    for (sg_dim g = 0; g < n_groups; g++)
        walk(s->push + 2 * g * LANES, s->total + g * LANES, &s->tree, g * LANES, s->theta2);
    double z = 0;
    for (sg_dim i = 0; i < n; i++) {
        z += s->total[i] - 1; /* itself */
        s->place[s->tree.who[i]] = i;
    }
#pragma omp parallel for num_threads(s->n_threads) schedule(static)
    for (sg_dim i = 0; i < n; i++) {
        const double x = s->y[2 * i], y = s->y[2 * i + 1];
        double fx = 0, fy = 0;
        for (sg_dim l = s->p.first[i]; l < s->p.first[i + 1]; l++) {
            const double *other = s->y + 2 * s->p.to[l], dx = x - other[0], dy = y - other[1];
            const double q = s->p.weight[l] / (1 + dx * dx + dy * dy);
            fx += q * dx;
            fy += q * dy;
        }
        s->pull[2 * i] = fx;
        s->pull[2 * i + 1] = fy;
    }
    return fmax(z, 1e-300);
}

static sg_status descend(descent *s, const sg_layout_opts *opts, sg_error *err)
{
    const sg_dim n = s->tree.n_points;
    const int n_steps = opts->n_steps > 0 ? opts->n_steps : 1000, early = SG_MIN(EARLY_STEPS, n_steps / 2);
    const double rate = opts->rate > 0 ? opts->rate : fmax((double)n / opts->early / 4, 50);
    for (int step = 0; step < n_steps; step++) {
        const double more = step < early ? opts->early : 1, momentum = step < early ? .5 : .8;
        SG_TRY(layout_tell(opts, step, n_steps, err));
        const double z = forces(s);
        double mean[2] = {0, 0};
        for (sg_dim i = 0; i < 2 * n; i++) {
            const double grad = 4 * (more * s->pull[i] - s->push[2 * s->place[i / 2] + i % 2] / z);
            /* Jacobs' gains (1988), as van der Maaten has them. */
            const bool against = (grad > 0) != (s->speed[i] > 0);
            s->gain[i] = fmax(against ? s->gain[i] + .2 : s->gain[i] * .8, .01);
            s->speed[i] = momentum * s->speed[i] - rate * s->gain[i] * grad;
            s->y[i] += s->speed[i];
            mean[i % 2] += s->y[i] / (double)n;
        }
        for (sg_dim i = 0; i < 2 * n; i++)
            s->y[i] -= mean[i % 2];
    }
    return SG_OK;
}

static void shrink(double *y, sg_dim n)
{
    double sum = 0;
    for (sg_dim i = 0; i < n; i++)
        sum += y[2 * i] * y[2 * i];
    const double deviation = sqrt(sum / (double)n);
    for (sg_dim i = 0; i < 2 * n; i++)
        y[i] *= deviation > 0 ? 1e-4 / deviation : 0;
    for (sg_dim i = 0; deviation == 0 && i < n; i++) /* points that are all one need some place to go from */
        y[2 * i] = 1e-4 * (double)i / (double)n;
}

sg_status layout_tsne(double *y, const sg_neighbours *near, const sg_layout_opts *opts, sg_error *err)
{
    const size_t n = (size_t)near->n;
    descent s = {.y = y, .theta2 = opts->theta * opts->theta, .n_threads = SG_MAX(opts->n_threads, 1)};
    sg_arena *arena = sg_arena_new();
    if (!arena)
        return no_memory(err);
    /* Each cell has two children at least, or none. */
    s.tree = (tree){.cells = sg_arena_array(arena, 2 * n, sizeof(cell)),
                    .n_points = near->n,
                    .code = sg_arena_array(arena, n, sizeof(uint32_t)),
                    .code_to = sg_arena_array(arena, n, sizeof(uint32_t)),
                    .who = sg_arena_array(arena, n, sizeof(int32_t)),
                    .who_to = sg_arena_array(arena, n, sizeof(int32_t)),
                    .sorted = sg_arena_array(arena, 2 * (n + LANES), sizeof(double))};
    s.push = sg_arena_array(arena, 2 * (n + LANES), sizeof(double));
    s.total = sg_arena_array(arena, n + LANES, sizeof(double));
    s.pull = sg_arena_array(arena, 2 * n, sizeof(double));
    s.speed = sg_arena_array(arena, 2 * n, sizeof(double));
    s.gain = sg_arena_array(arena, 2 * n, sizeof(double));
    s.place = sg_arena_array(arena, n, sizeof(sg_dim));
    const bool good = s.tree.cells && s.tree.code && s.tree.code_to && s.tree.who && s.tree.who_to && s.tree.sorted &&
                      s.push && s.total && s.pull && s.speed && s.gain && s.place;
    sg_status status = good ? affinities(&s.p, near, opts->perplexity, err) : no_memory(err);
    if (status == SG_OK) {
        for (size_t i = 0; i < 2 * n; i++)
            s.gain[i] = 1;
        shrink(y, near->n);
        status = descend(&s, opts, err);
    }
    layout_weights_free(&s.p);
    sg_arena_free(arena);
    return status;
}
