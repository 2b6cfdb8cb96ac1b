/* Checks gradients against central differences, in f64 and through the public interface alone.
 *
 *     static sg_value *build(sg_graph *g, sg_value *const *x)
 *     {
 *         return sg_matmul(g, x[0], x[1], false, true);
 *     }
 *     const gradcheck_case c = {"matmul", build, 2, {{2, {3, 4}, -1, 1}, {2, {5, 4}, -1, 1}}};
 *     char text[GRADCHECK_TEXT];
 *     CHECK(gradcheck(&c, text));   // text says where it failed
 *
 * Three things are compared for every element of every input: the gradient of <y, r> with a random r; the gradient of
 * <that gradient, q> with a random q (second derivatives); and y's derivative along a random direction by sg_jvp. The
 * differences are taken of numbers computed forward (for second derivatives: of first gradients, which were
 * checked before), so that a wrong sign or factor has nothing to hide behind. */
#ifndef SG_TEST_GRADCHECK_H
#define SG_TEST_GRADCHECK_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/ops.h"
#include "sightglass/rng.h"
#include "sightglass/run.h"

#define GRADCHECK_TEXT   640
#define GRADCHECK_INPUTS 4
#define GRADCHECK_MOST   256 /* elements of one value */

/* An f64 input. An extent -n is the symbol "sn", which is n in the run. */
typedef struct gradcheck_input {
    int n_dims;
    sg_dim dims[6];
    double low, high;
    bool apart; /* elements keep apart from each other and from 0: for ops with kinks at ties or at 0 */
} gradcheck_input;

typedef struct gradcheck_case {
    const char *op;
    sg_value *(*build)(sg_graph *g, sg_value *const *x);
    int n_in;
    gradcheck_input in[GRADCHECK_INPUTS];
    double step; /* 0: the usual one. Otherwise inputs are multiples of it: for ops that round to another type */
} gradcheck_case;

typedef struct gradcheck_numbers {
    sg_tensor t;
    double x[GRADCHECK_MOST];
} gradcheck_numbers;

typedef struct gradcheck_job {
    const gradcheck_case *c;
    sg_graph *g;
    sg_session *s;
    sg_feed feeds[3 * GRADCHECK_INPUTS + 1];
    int n_feeds;
    sg_value *x[GRADCHECK_INPUTS], *y;
    gradcheck_numbers in[GRADCHECK_INPUTS], q[GRADCHECK_INPUTS], r, before, after;
    char *text;
} gradcheck_job;

/* The usual step balances the two errors of a central difference, h^2 f'''/6 and 1e-16 |f| / h. With h = 1e-5 both
 * stay below 1e-9 of the size of f where derivatives are moderate, so that 1e-7 of the derivative and 1e-8 of the
 * numbers that were added up leave a margin of ten, and an error of 1 % is far outside. */
#define GRADCHECK_STEP    1e-5
#define GRADCHECK_REL_TOL 1e-7
#define GRADCHECK_ABS_TOL 1e-8

static inline sg_dim gradcheck_number(sg_dim d)
{
    return d < 0 ? -d : d;
}

static inline void gradcheck_draw(gradcheck_numbers *n, int n_dims, const sg_dim *dims, sg_rng *rng, double low,
                                  double high)
{
    sg_dim numbers[SG_MAX_DIMS];

    for (int k = 0; k < n_dims; k++)
        numbers[k] = gradcheck_number(dims[k]);
    n->t = sg_tensor_of(SG_F64, n_dims, numbers, n->x);
    for (sg_dim i = 0; i < sg_tensor_count(&n->t) && i < GRADCHECK_MOST; i++)
        n->x[i] = low + (high - low) * sg_rng_uniform(rng);
}

/* Equal steps from low to high in random order, leaving out whatever lies near 0. */
static inline void gradcheck_keep_apart(gradcheck_numbers *n, sg_rng *rng, double low, double high)
{
    const sg_dim count = sg_tensor_count(&n->t);
    const double gap = (high - low) / (double)(count + 1);

    for (sg_dim i = 0; i < count; i++) {
        n->x[i] = low + gap * (double)(i + 1);
        if (fabs(n->x[i]) < gap / 4)
            n->x[i] = gap / 3;
    }
    for (sg_dim i = count - 1; i > 0; i--) {
        const sg_dim j = (sg_dim)sg_rng_below(rng, (uint32_t)(i + 1));
        const double x = n->x[i];
        n->x[i] = n->x[j];
        n->x[j] = x;
    }
}

static inline bool gradcheck_fail(gradcheck_job *j, const char *what, const char *why)
{
    snprintf(j->text, GRADCHECK_TEXT, "%s: %s: %s", j->c->op, what, why);
    return false;
}

/* Computes a value and copies its numbers. */
static inline bool gradcheck_run(gradcheck_job *j, sg_value *v, gradcheck_numbers *out)
{
    sg_error err;
    sg_tensor t;

    if (sg_session_run(j->s, j->n_feeds, j->feeds, 1, &v, &t, &err) != SG_OK)
        return gradcheck_fail(j, "run", err.text);
    if (t.dtype != SG_F64 || sg_tensor_count(&t) > GRADCHECK_MOST)
        return gradcheck_fail(j, "run", "the value is not f64 or too large to check");
    out->t = t;
    out->t.data = out->x;
    if (sg_tensor_bytes(&t) > 0)
        memcpy(out->x, t.data, sg_tensor_bytes(&t));
    return true;
}

static inline double gradcheck_dot(const gradcheck_numbers *a, const gradcheck_numbers *b, double *size)
{
    double sum = 0;

    for (sg_dim i = 0; i < sg_tensor_count(&a->t); i++) {
        sum += a->x[i] * b->x[i];
        *size += fabs(a->x[i] * b->x[i]);
    }
    return sum;
}

/* sum_k <v_k, w_k>, which the finite differences are taken of. */
static inline bool gradcheck_total(gradcheck_job *j, int n, sg_value *const *v, gradcheck_numbers *const *w,
                                   double *sum, double *size)
{
    *sum = *size = 0;
    for (int k = 0; k < n; k++) {
        if (!gradcheck_run(j, v[k], &j->after))
            return false;
        *sum += gradcheck_dot(&j->after, w[k], size);
    }
    return true;
}

static inline bool gradcheck_agree(gradcheck_job *j, const char *what, int i_in, sg_dim i, double graph,
                                   double difference, double size)
{
    const double far = GRADCHECK_REL_TOL * (fabs(graph) + fabs(difference)) + GRADCHECK_ABS_TOL * (1 + size);

    if (fabs(graph - difference) <= far) /* false for a NaN */
        return true;
    snprintf(j->text, GRADCHECK_TEXT, "%s: %s by element %lld of input %d: the graph says %.12g, differences %.12g",
             j->c->op, what, (long long)i, i_in, graph, difference);
    return false;
}

/* d total / d x_k for every element, against the graph's `grads`. */
static inline bool gradcheck_differences(gradcheck_job *j, const char *what, int n, sg_value *const *v,
                                         gradcheck_numbers *const *w, sg_value *const *grads)
{
    for (int k = 0; k < j->c->n_in; k++) {
        if (!gradcheck_run(j, grads[k], &j->before))
            return false;
        if (sg_tensor_count(&j->before.t) != sg_tensor_count(&j->in[k].t))
            return gradcheck_fail(j, what, "the gradient has not the shape of its input");
        for (sg_dim i = 0; i < sg_tensor_count(&j->in[k].t); i++) {
            double *x = &j->in[k].x[i], up, down, size;
            const double was = *x, h = j->c->step > 0 ? j->c->step : GRADCHECK_STEP * fmax(1, fabs(was));
            *x = was + h;
            bool ok = gradcheck_total(j, n, v, w, &up, &size);
            *x = was - h;
            ok = ok && gradcheck_total(j, n, v, w, &down, &size);
            *x = was;
            if (!ok || !gradcheck_agree(j, what, k, i, j->before.x[i], (up - down) / (2 * h), size))
                return false;
        }
    }
    return true;
}

/* The derivative of y along q_k, by sg_jvp against differences, element by element of y. */
static inline bool gradcheck_forward(gradcheck_job *j, int k, sg_value *along)
{
    const double h = j->c->step > 0 ? j->c->step : GRADCHECK_STEP;
    const sg_dim n = sg_tensor_count(&j->in[k].t);
    gradcheck_numbers *graph = malloc(sizeof *graph);
    double was[GRADCHECK_MOST];
    bool ok = graph && gradcheck_run(j, along, graph);

    memcpy(was, j->in[k].x, sizeof was);
    for (sg_dim i = 0; i < n; i++)
        j->in[k].x[i] = was[i] + h * j->q[k].x[i];
    ok = ok && gradcheck_run(j, j->y, &j->after);
    for (sg_dim i = 0; i < n; i++)
        j->in[k].x[i] = was[i] - h * j->q[k].x[i];
    ok = ok && gradcheck_run(j, j->y, &j->before);
    memcpy(j->in[k].x, was, sizeof was);
    for (sg_dim i = 0; ok && i < sg_tensor_count(&j->after.t); i++) {
        const double up = j->after.x[i], down = j->before.x[i];
        ok = gradcheck_agree(j, "forward derivative", k, i, graph->x[i], (up - down) / (2 * h), fabs(up) + fabs(down));
    }
    free(graph);
    return ok;
}

static inline bool gradcheck_case_run(gradcheck_job *j)
{
    const gradcheck_case *c = j->c;
    sg_value *q[GRADCHECK_INPUTS], *first[GRADCHECK_INPUTS], *second[GRADCHECK_INPUTS], *along[GRADCHECK_INPUTS];
    gradcheck_numbers *by_r[1] = {&j->r}, *by_q[GRADCHECK_INPUTS];
    sg_rng rng = sg_rng_new(20, 1);
    sg_error err;
    char name[32];

    for (int k = 0; k < c->n_in; k++) {
        const gradcheck_input *in = &c->in[k];
        sg_dim dims[SG_MAX_DIMS];
        for (int a = 0; a < in->n_dims; a++) {
            snprintf(name, sizeof name, "s%lld", (long long)-in->dims[a]);
            dims[a] = in->dims[a] < 0 ? sg_extent(j->g, name) : in->dims[a];
        }
        gradcheck_draw(&j->in[k], in->n_dims, in->dims, &rng, in->low, in->high);
        if (in->apart)
            gradcheck_keep_apart(&j->in[k], &rng, in->low, in->high);
        for (sg_dim i = 0; i < sg_tensor_count(&j->in[k].t) && c->step > 0; i++)
            j->in[k].x[i] = c->step * nearbyint(j->in[k].x[i] / c->step);
        snprintf(name, sizeof name, "x%d", k);
        j->x[k] = sg_input(j->g, name, SG_F64, in->n_dims, dims);
        gradcheck_draw(&j->q[k], in->n_dims, in->dims, &rng, -1, 1);
        for (sg_dim i = 0; i < sg_tensor_count(&j->q[k].t) && c->step > 0; i++)
            j->q[k].x[i] = c->step * nearbyint(j->q[k].x[i] / c->step);
        snprintf(name, sizeof name, "q%d", k);
        q[k] = sg_input(j->g, name, SG_F64, in->n_dims, dims);
        by_q[k] = &j->q[k];
        j->feeds[j->n_feeds++] = (sg_feed){j->x[k], j->in[k].t};
    }
    j->y = c->build(j->g, j->x);
    sg_value *r = sg_input(j->g, "r", SG_F64, sg_value_n_dims(j->y), sg_value_dims(j->y));
    sg_gradients(j->g, j->y, r, c->n_in, j->x, first);
    sg_value *total = sg_scalar(j->g, SG_F64, 0);
    for (int k = 0; k < c->n_in; k++)
        total = sg_add(j->g, total, sg_sum_all(j->g, sg_mul(j->g, first[k], q[k])));
    sg_gradients(j->g, total, NULL, c->n_in, j->x, second);
    for (int k = 0; k < c->n_in; k++)
        along[k] = sg_jvp(j->g, j->y, j->x[k], q[k]);
    if (sg_graph_status(j->g, &err) != SG_OK)
        return gradcheck_fail(j, "build", err.text);

    sg_exec_opts opts = sg_exec_defaults();
    opts.n_backends = 0; /* the oracle is what is checked */
    if (sg_session_new(&j->s, j->g, NULL, opts, &err) != SG_OK)
        return gradcheck_fail(j, "session", err.text);
    if (!gradcheck_run(j, j->y, &j->after))
        return false;
    gradcheck_draw(&j->r, j->after.t.n_dims, j->after.t.dims, &rng, -1, 1);
    j->feeds[j->n_feeds++] = (sg_feed){r, j->r.t};
    for (int k = 0; k < c->n_in; k++)
        j->feeds[j->n_feeds++] = (sg_feed){q[k], j->q[k].t};

    if (!gradcheck_differences(j, "gradient", 1, &j->y, by_r, first) ||
        !gradcheck_differences(j, "second gradient", c->n_in, first, by_q, second))
        return false;
    for (int k = 0; k < c->n_in; k++)
        if (!gradcheck_forward(j, k, along[k]))
            return false;
    return true;
}

/* Whether the case's gradients are right; if not, text has the first that is not. */
static inline bool gradcheck(const gradcheck_case *c, char text[GRADCHECK_TEXT])
{
    gradcheck_job *j = calloc(1, sizeof *j);
    bool ok = false;

    snprintf(text, GRADCHECK_TEXT, "%s: out of memory", c->op);
    if (j && (j->g = sg_graph_new()) != NULL) {
        j->c = c;
        j->text = text;
        ok = gradcheck_case_run(j);
    }
    if (j) {
        sg_session_free(j->s);
        sg_graph_free(j->g);
    }
    free(j);
    return ok;
}

#endif
