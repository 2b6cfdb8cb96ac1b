/* Gradients of whole expressions, against closed forms and central differences. Each op's own rule is tested in
 * src/ops/gradient_test.c; here is what the walk back makes of them. */
#include "gradcheck.h"
#include "graph/op.h"
#include "values.h"

/* f64 arithmetic: a closed form and the graph differ by a few roundings. */
#define EXACT 1e-13

/* ---- along one path and over many ---- */

static void the_chain_rule(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 0.7);
    sg_value *y = sg_sin(g, sg_exp(g, sg_square(g, x)));
    const double e = exp(0.49);
    CHECK_VALUES(g, sg_grad(g, y, x), EXACT, cos(e) * e * 1.4);
    sg_graph_free(g);
}

static void paths_add_up(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 0.7);
    sg_value *h = sg_sin(g, x);
    sg_value *y = sg_add(g, sg_mul(g, h, sg_exp(g, h)), sg_mul(g, x, sg_sub(g, h, x)));
    const double s = sin(0.7), c = cos(0.7);
    CHECK_VALUES(g, sg_grad(g, y, x), EXACT, c * exp(s) * (1 + s) + s + 0.7 * c - 1.4);
    CHECK_VALUES(g, sg_grad(g, y, h), EXACT, exp(s) * (1 + s) + 0.7);
    CHECK_VALUES(g, sg_grad(g, sg_mul(g, x, sg_mul(g, x, x)), x), EXACT, 3 * 0.49);
    CHECK_VALUES(g, sg_grad(g, sg_sub(g, x, x), x), 0, 0);
    sg_graph_free(g);
}

/* 2^40 paths from y to x, and 40 values on them: each is visited once. */
static void a_value_used_often_is_walked_once(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 3), *y = x;
    for (int i = 0; i < 40; i++)
        y = sg_add(g, y, y);
    const int before = sg_graph_size(g);
    sg_value *dx = sg_grad(g, y, x);
    CHECK(sg_graph_size(g) - before <= 40 * 4 + 4);
    CHECK_VALUES(g, dx, 0, 1099511627776.0);
    sg_value *sum = sg_scalar(g, SG_F64, 0);
    for (int i = 0; i < 100; i++)
        sum = sg_add(g, sum, sg_mul_scalar(g, x, i));
    CHECK_VALUES(g, sg_grad(g, sum, x), 0, 4950);
    sg_graph_free(g);
}

static void long_chains_do_not_recurse(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 3), *y = x;
    for (int i = 0; i < 30001; i++)
        y = sg_neg(g, y);
    CHECK_VALUES(g, sg_grad(g, y, x), 0, -1);
    sg_graph_free(g);
}

/* More inputs than the walk has room for without asking for memory. */
static void an_op_of_many_inputs(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x[150], *dx[150];
    double weights[150];
    for (int i = 0; i < 150; i++) {
        x[i] = NUMBERS(g, SG_F64, DIMS(1), 1);
        weights[i] = i * i;
    }
    sg_value *w = numbers_of(g, SG_F64, DIMS(150), 150, weights);
    sg_gradients(g, sg_sum_all(g, sg_mul(g, sg_concat(g, 150, x, 0), w)), NULL, 150, x, dx);
    for (int i = 0; i < 150; i++)
        CHECK_VALUES(g, dx[i], 0, weights[i]);
    sg_graph_free(g);
}

static void gradients_by_several_values_at_once(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 1, 2), *w = NUMBERS(g, SG_F64, DIMS(2), 3, 5);
    sg_value *h = sg_mul(g, x, w), *y = sg_sum_all(g, sg_add(g, sg_square(g, h), x)), *out[5];
    /* h lies between x and y, and is asked for beside it; y by y is 1; x is asked for twice. */
    sg_gradients(g, y, NULL, 5, (sg_value *[]){x, h, y, w, x}, out);
    CHECK_VALUES(g, out[0], 0, 2 * 1 * 9 + 1, 2 * 2 * 25 + 1);
    CHECK_VALUES(g, out[1], 0, 6, 20);
    CHECK_VALUES(g, out[2], 0, 1);
    CHECK_VALUES(g, out[3], 0, 2 * 3 * 1, 2 * 5 * 4);
    CHECK(out[4] == out[0]);
    sg_graph_free(g);
}

/* ---- broadcasting ---- */

static void a_broadcast_sums_back(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3, 1), 1, 2, 3), *w = NUMBERS(g, SG_F64, DIMS(4), 10, 20, 30, 40);
    sg_value *s = NUMBERS(g, SG_F64, NO_DIMS, 2), *out[3];
    sg_value *y = sg_sum_all(g, sg_mul(g, sg_mul(g, x, w), s)); /* [3,4] */
    sg_gradients(g, y, NULL, 3, (sg_value *[]){x, w, s}, out);
    CHECK_DIMS(out[0], DIMS(3, 1));
    CHECK_VALUES(g, out[0], 0, 200, 200, 200);
    CHECK_VALUES(g, out[1], 0, 12, 12, 12, 12);
    CHECK_VALUES(g, out[2], 0, 600);
    sg_graph_free(g);
}

static void gradients_have_symbolic_extents(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    const sg_dim batch = sg_extent(g, "batch"), time = sg_extent(g, "time");
    sg_value *x = sg_input(g, "x", SG_F64, DIMS(batch, time, 3)), *b = sg_input(g, "b", SG_F64, DIMS(time, 1)), *out[3];
    sg_value *flat = sg_reshape(g, sg_mul(g, x, b), DIMS(sg_dim_mul(g, batch, time), 3));
    sg_value *none = sg_input(g, "none", SG_F64, DIMS(time, batch));
    sg_gradients(g, sg_square(g, flat), NULL, 3, (sg_value *[]){x, b, none}, out);
    CHECK_DIMS(out[0], DIMS(batch, time, 3));
    CHECK_DIMS(out[1], DIMS(time, 1));
    CHECK_DIMS(out[2], DIMS(time, batch));
    CHECK_OK(sg_graph_status(g, NULL), NULL);
    sg_graph_free(g);
}

/* ---- nothing flows ---- */

static void without_dependence_the_gradient_is_zero(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 3, 4), *out[2];
    sg_value *y = sg_sum_all(g, sg_exp(g, NUMBERS(g, SG_F64, DIMS(3), 1, 2, 3)));
    CHECK_VALUES(g, sg_grad(g, y, x), 0, 0, 0);
    sg_value *later = NUMBERS(g, SG_F64, DIMS(1, 2), 1, 1);
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, x), later), 0, 0, 0);
    CHECK_DIMS(sg_grad(g, y, later), DIMS(1, 2));
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, x), sg_square(g, x)), 0, 0, 0); /* behind x, not before y */
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, sg_stop_gradient(g, x)), x), 0, 0, 0);
    sg_value *rounded = sg_cast(g, sg_cast(g, x, SG_I32), SG_F64);
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, sg_mul(g, rounded, x)), x), 0, 3, 4);
    sg_value *more = sg_cast(g, sg_greater(g, x, sg_scalar(g, SG_F64, 3.5)), SG_F64);
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, more), x), 0, 0, 0);
    sg_gradients(g, y, NULL, 2, (sg_value *[]){x, y}, out);
    CHECK_VALUES(g, out[0], 0, 0, 0);
    CHECK_VALUES(g, out[1], 0, 1);
    CHECK_VALUES(g, sg_jvp(g, y, x, x), 0, 0);
    CHECK_VALUES(g, sg_jvp(g, x, x, NUMBERS(g, SG_F64, DIMS(2), 5, 6)), 0, 5, 6);
    sg_graph_free(g);
}

static void gradients_have_the_type_of_what_they_are_by(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F32, DIMS(2), 3, 4), *wide = sg_cast(g, x, SG_F64);
    sg_value *dx = sg_grad(g, sg_sum_all(g, sg_square(g, wide)), x);
    CHECK(sg_value_dtype(dx) == SG_F32);
    CHECK_VALUES(g, dx, 0, 6, 8);
    sg_graph_free(g);
}

/* ---- a given incoming gradient ---- */

static void the_incoming_gradient_weighs(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(3), 1, 2, 3), *dy = NUMBERS(g, SG_F64, DIMS(3), 10, -1, 0), *out[2];
    sg_value *y = sg_square(g, x);
    sg_gradients(g, y, dy, 1, &x, out);
    CHECK_VALUES(g, out[0], 0, 20, -4, 0);
    sg_gradients(g, y, NULL, 1, &x, out);
    CHECK_VALUES(g, out[0], 0, 2, 4, 6);
    sg_gradients(g, y, dy, 2, (sg_value *[]){y, x}, out);
    CHECK(out[0] == dy);
    CHECK_VALUES(g, out[1], 0, 20, -4, 0);
    sg_gradients(g, sg_cumsum(g, x, 0), dy, 1, &x, out);
    CHECK_VALUES(g, out[0], 0, 9, -1, 0);
    /* Gradients flow through dy as well: d/dx sum of (2 x dy) with dy = x is 4x. */
    sg_gradients(g, y, x, 1, &x, out);
    CHECK_VALUES(g, sg_grad(g, sg_sum_all(g, out[0]), x), 0, 4, 8, 12);
    sg_graph_free(g);
}

/* ---- gradients of gradients ---- */

static void derivatives_of_any_order(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 0.7);
    sg_value *p = sg_mul(g, sg_square(g, x), sg_square(g, x)), *s = sg_sin(g, x), *t = sg_tanh(g, x);
    const double powers[6] = {0.2401, 4 * 0.343, 12 * 0.49, 24 * 0.7, 24, 0};
    const double sines[6] = {sin(0.7), cos(0.7), -sin(0.7), -cos(0.7), sin(0.7), cos(0.7)};
    const double u = tanh(0.7), v = 1 - u * u; /* t' = v, t'' = -2uv, t''' = -2v^2 + 4u^2 v, t'''' = 16uv^2 - 8u^3 v */
    const double tangents[5] = {u, v, -2 * u * v, -2 * v * v + 4 * u * u * v, 16 * u * v * v - 8 * u * u * u * v};
    for (int order = 0; order < 6; order++) {
        CHECK_VALUES(g, p, EXACT, powers[order]);
        CHECK_VALUES(g, s, EXACT, sines[order]);
        if (order < 5)
            CHECK_VALUES(g, t, 10 * EXACT, tangents[order]);
        p = sg_grad(g, p, x);
        s = sg_grad(g, s, x);
        t = sg_grad(g, t, x);
    }
    sg_graph_free(g);
}

/* f = sin(x y) + x^2 e^y */
static void mixed_derivatives_agree(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 0.7), *y = NUMBERS(g, SG_F64, NO_DIMS, -0.4);
    sg_value *f = sg_add(g, sg_sin(g, sg_mul(g, x, y)), sg_mul(g, sg_square(g, x), sg_exp(g, y)));
    const double xy = 0.7 * -0.4, e = exp(-0.4), want = cos(xy) - xy * sin(xy) + 1.4 * e;
    CHECK_VALUES(g, sg_grad(g, sg_grad(g, f, x), y), EXACT, want);
    CHECK_VALUES(g, sg_grad(g, sg_grad(g, f, y), x), EXACT, want);
    CHECK_VALUES(g, sg_grad(g, sg_grad(g, f, x), x), EXACT, -0.16 * sin(xy) + 2 * e);
    sg_graph_free(g);
}

/* A layer whose weights are used twice, attention over its rows, a norm. [3,3], [3,3] -> [3,3] */
static sg_value *network(sg_graph *g, sg_value *const *x)
{
    sg_value *h = sg_tanh(g, sg_linear(g, x[0], x[1], NULL));
    sg_value *pattern = sg_softmax(g, sg_matmul(g, h, sg_linear(g, h, x[1], NULL), false, true), -1);

    return sg_rms_norm(g, sg_add(g, x[0], sg_mul(g, sg_matmul(g, pattern, h, false, false), sg_exp(g, h))), 0.1);
}

/* Values that are read after they were replaced. */
static sg_value *spliced(sg_graph *g, sg_value *const *x)
{
    sg_value *h = sg_name(g, sg_sin(g, x[0]), "h", NULL);
    sg_value *y = sg_mul(g, sg_exp(g, h), sg_matmul(g, h, x[1], false, false));
    sg_replace(g, h, sg_where(g, sg_greater(g, x[1], sg_scalar(g, SG_F64, 0)), sg_mul(g, h, sg_square(g, x[1])), h));
    sg_value *again = sg_graph_find(g, "h");
    sg_replace(g, again, sg_add(g, again, sg_mul(g, again, x[1])));
    return y;
}

static void composed_graphs_match_differences(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sg_value *(*build)(sg_graph *g, sg_value *const *x);
    } graphs[] = {{"network", network}, {"spliced", spliced}};
    for (size_t i = 0; i < SG_COUNT_OF(graphs); i++) {
        const gradcheck_case c = {
            graphs[i].name, graphs[i].build, 2, {{2, {3, 3}, -1, 1, true}, {2, {3, 3}, -1, 1, true}}, 0};
        char text[GRADCHECK_TEXT];
        if (!gradcheck(&c, text)) {
            print_error("%s\n", text);
            fail();
        }
    }
}

/* ---- Hessians and Jacobians times vectors ---- */

typedef struct desk {
    sg_graph *g;
    sg_session *s;
    sg_value *x[2], *u, *v; /* u of y's shape, v of x[0]'s: all [3,3] */
    double numbers[4][9];
} desk;

static void open_desk(desk *d)
{
    static const char *const names[4] = {"x", "w", "u", "v"};
    sg_value **const at[4] = {&d->x[0], &d->x[1], &d->u, &d->v};
    sg_rng r = sg_rng_new(3, 0);

    *d = (desk){.g = sg_graph_new()};
    for (int i = 0; i < 4; i++) {
        *at[i] = sg_input(d->g, names[i], SG_F64, DIMS(3, 3));
        for (int k = 0; k < 9; k++)
            d->numbers[i][k] = sg_rng_normal(&r);
    }
}

static void ask(desk *d, sg_value *y, int n, double *out)
{
    sg_value *const at[4] = {d->x[0], d->x[1], d->u, d->v};
    sg_feed feeds[4];
    sg_tensor t;
    sg_error err;

    for (int i = 0; i < 4; i++)
        feeds[i] = (sg_feed){at[i], sg_tensor_of(SG_F64, DIMS(3, 3), d->numbers[i])};
    if (!d->s)
        CHECK_OK(sg_session_new(&d->s, d->g, NULL, values_opts(1), &err), &err);
    CHECK_OK(sg_session_run(d->s, 4, feeds, 1, &y, &t, &err), &err);
    CHECK(sg_tensor_count(&t) == n && t.dtype == SG_F64);
    memcpy(out, t.data, (size_t)n * sizeof *out);
}

/* The derivative of y [3,3] along v, by moving x. */
static void differences(desk *d, sg_value *y, double *out)
{
    const double h = 1e-5;
    double was[9], up[9];

    memcpy(was, d->numbers[0], sizeof was);
    for (int k = 0; k < 9; k++)
        d->numbers[0][k] = was[k] + h * d->numbers[3][k];
    ask(d, y, 9, up);
    for (int k = 0; k < 9; k++)
        d->numbers[0][k] = was[k] - h * d->numbers[3][k];
    ask(d, y, 9, out);
    for (int k = 0; k < 9; k++)
        out[k] = (up[k] - out[k]) / (2 * h);
    memcpy(d->numbers[0], was, sizeof was);
}

static void close_desk(desk *d)
{
    sg_session_free(d->s);
    sg_graph_free(d->g);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;

    for (int k = 0; k < 9; k++)
        sum += a[k] * b[k];
    return sum;
}

/* <u, J v> = <J' u, v>, and J v is what moving x along v does. */
static void jacobians_times_vectors(void **state)
{
    (void)state;
    desk d;
    double forward[9], reverse[9], moved[9], twice[9];
    open_desk(&d);
    sg_value *y = network(d.g, d.x), *pulled;
    sg_value *pushed = sg_jvp(d.g, y, d.x[0], d.v);
    sg_value *linear = sg_jvp(d.g, y, d.x[0], sg_mul_scalar(d.g, d.v, -3));
    sg_gradients(d.g, y, d.u, 1, d.x, &pulled);
    CHECK_OK(sg_graph_status(d.g, NULL), NULL);
    ask(&d, pushed, 9, forward);
    ask(&d, pulled, 9, reverse);
    ask(&d, linear, 9, twice);
    differences(&d, y, moved);
    for (int k = 0; k < 9; k++) {
        CHECK_NEAR(forward[k], moved[k], 1e-8, 1e-7); /* as in gradcheck.h */
        CHECK_NEAR(twice[k], -3 * forward[k], EXACT, EXACT);
    }
    CHECK(fabs(dot(d.numbers[2], forward)) > 0.01); /* 0 = 0 would say little */
    CHECK_NEAR(dot(d.numbers[2], forward), dot(reverse, d.numbers[3]), EXACT, EXACT);
    close_desk(&d);
}

/* H v as the gradient of <gradient, v>, as the gradient pushed along v, and by moving x. H is symmetric. */
static void hessians_times_vectors(void **state)
{
    (void)state;
    desk d;
    double by_reverse[9], by_forward[9], moved[9], other[9];
    open_desk(&d);
    sg_value *f = sg_sum_all(d.g, sg_mul(d.g, network(d.g, d.x), sg_sin(d.g, d.x[1])));
    sg_value *df = sg_grad(d.g, f, d.x[0]);
    sg_value *hv = sg_grad(d.g, sg_sum_all(d.g, sg_mul(d.g, df, d.v)), d.x[0]);
    sg_value *hu = sg_grad(d.g, sg_sum_all(d.g, sg_mul(d.g, df, d.u)), d.x[0]);
    sg_value *pushed = sg_jvp(d.g, df, d.x[0], d.v);
    CHECK_OK(sg_graph_status(d.g, NULL), NULL);
    ask(&d, hv, 9, by_reverse);
    ask(&d, hu, 9, other);
    ask(&d, pushed, 9, by_forward);
    differences(&d, df, moved);
    for (int k = 0; k < 9; k++) {
        CHECK_NEAR(by_reverse[k], moved[k], 1e-8, 1e-7);
        CHECK_NEAR(by_forward[k], by_reverse[k], 10 * EXACT, 10 * EXACT);
    }
    CHECK(fabs(dot(d.numbers[2], by_reverse)) > 0.01);
    CHECK_NEAR(dot(d.numbers[2], by_reverse), dot(other, d.numbers[3]), 10 * EXACT, 10 * EXACT);
    close_desk(&d);
}

/* f = x' A x: gradient (A + A') x, Hessian A + A'. */
static void a_quadratic_form_has_a_constant_hessian(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 1, -2), *v = NUMBERS(g, SG_F64, DIMS(2), 10, 1);
    sg_value *a = NUMBERS(g, SG_F64, DIMS(2, 2), 1, 2, 3, 4);
    sg_value *f = sg_sum_all(g, sg_mul(g, x, sg_linear(g, x, a, NULL)));
    sg_value *df = sg_grad(g, f, x);
    CHECK_VALUES(g, f, 0, 7);                                     /* 1 - 4 - 6 + 16 */
    CHECK_VALUES(g, df, 0, -8, -11);                              /* [2 5; 5 8] [1; -2] */
    CHECK_VALUES(g, sg_jvp(g, df, x, v), 0, 25, 58);              /* [2 5; 5 8] [10; 1] */
    CHECK_VALUES(g, sg_jvp(g, f, x, v), 0, -91);                  /* -80 - 11 */
    CHECK_VALUES(g, sg_grad(g, f, a), 0, 1, -2, -2, 4);           /* x x' */
    CHECK_VALUES(g, sg_jvp(g, sg_jvp(g, f, x, v), x, v), 0, 308); /* v' [2 5; 5 8] v */
    sg_graph_free(g);
}

/* ---- splices ---- */

static void gradients_go_through_splices(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 0.5, -0.3);
    sg_value *h = sg_name(g, sg_sin(g, x), "h", NULL), *y = sg_sum_all(g, sg_square(g, h));
    const double plain[2] = {2 * sin(0.5) * cos(0.5), 2 * sin(-0.3) * cos(-0.3)};
    CHECK_VALUES(g, sg_grad(g, y, x), EXACT, plain[0], plain[1]);

    sg_value *with = sg_mul_scalar(g, h, 3); /* y = 9 sin^2 */
    sg_replace(g, h, with);
    sg_value *dh = sg_grad(g, y, sg_graph_find(g, "h")), *unedited = sg_grad(g, y, sg_graph_find(g, "h.unedited"));
    CHECK_VALUES(g, sg_grad(g, y, x), EXACT, 9 * plain[0], 9 * plain[1]);
    CHECK_VALUES(g, dh, EXACT, 6 * sin(0.5), 6 * sin(-0.3));
    CHECK_VALUES(g, unedited, EXACT, 18 * sin(0.5), 18 * sin(-0.3));

    /* Detached: y reads the numbers, and nothing flows. */
    sg_replace(g, with, sg_stop_gradient(g, with));
    CHECK_VALUES(g, y, EXACT, 9 * (sin(0.5) * sin(0.5) + sin(0.3) * sin(0.3)));
    CHECK_VALUES(g, sg_grad(g, y, x), 0, 0, 0);
    CHECK_VALUES(g, sg_grad(g, y, sg_graph_find(g, "h")), EXACT, 6 * sin(0.5), 6 * sin(-0.3));
    sg_graph_free(g);
}

/* A gradient is a value like others: it has a name, is replaced, and its reader sees that. */
static void gradients_can_be_spliced(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, DIMS(2), 3, -4);
    sg_value *dx = sg_name(g, sg_grad(g, sg_sum_all(g, sg_square(g, x)), x), "dx", "d");
    sg_value *step = sg_sub(g, x, sg_mul_scalar(g, dx, 0.5));
    CHECK_VALUES(g, step, 0, 0, 0);
    sg_replace(g, dx, sg_clamp(g, dx, -2, 2));
    CHECK_VALUES(g, step, 0, 2, -3);
    sg_graph_free(g);
}

static void gradients_tell_where_they_belong(void **state)
{
    (void)state;
    sg_graph *g = sg_graph_new();
    sg_value *x = NUMBERS(g, SG_F64, NO_DIMS, 3);
    sg_scope(g, "blocks.%d", 2);
    sg_value *y = sg_sin(g, x);
    sg_scope(g, "loss");
    sg_value *dx = sg_grad(g, y, x), *ddx = sg_grad(g, dx, x);
    assert_string_equal(dx->scope, "grad.blocks.2");
    assert_string_equal(ddx->scope, "grad.blocks.2");
    assert_string_equal(sg_neg(g, x)->scope, "loss");
    sg_graph_free(g);
}

/* ---- mistakes ---- */

static void wrong_gradients_are_refused(void **state)
{
    (void)state;
    static const struct {
        sg_status status;
        const char *words;
    } want[] = {
        {SG_ESHAPE, "gradient of v: it is [2], a scalar was wanted"},
        {SG_ETYPE, "gradient of n, which is i32"},
        {SG_ETYPE, "gradient by n, which is i32"},
        {SG_ETYPE, "gradient by b, which is bool"},
        {SG_ESHAPE, "gradient of v: the incoming gradient is f64 [3], the value f64 [2]"},
        {SG_ETYPE, "gradient of v: the incoming gradient is f32 [2], the value f64 [2]"},
        {SG_EARG, "gradient of elsewhere, which is of another graph"},
        {SG_EARG, "gradient by elsewhere, which is of another graph"},
        {SG_EARG, "gradient of v: the incoming gradient is of another graph"},
        {SG_ESHAPE, "the incoming gradient is f64 [3], the value f64 [2]"},
        {SG_ETYPE, "gradient of n, which is i32"},
        {SG_EARG, "of another graph"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(want); i++) {
        sg_graph *g = sg_graph_new(), *other = sg_graph_new();
        sg_value *v = sg_input(g, "v", SG_F64, DIMS(2)), *n = sg_input(g, "n", SG_I32, NO_DIMS), *out[2] = {NULL, NULL};
        sg_value *b = sg_input(g, "b", SG_BOOL, NO_DIMS), *three = sg_input(g, "three", SG_F64, DIMS(3));
        sg_value *s = sg_sum_all(g, v), *narrow = sg_cast(g, v, SG_F32), *there = NULL;
        for (int k = 0; k < 100; k++) /* an id that g does not have */
            there = sg_scalar(other, SG_F64, k);
        there = sg_name(other, sg_sum_all(other, there), "elsewhere", NULL);
        const int size = sg_graph_size(g);
        switch (i) {
        case 0:
            out[0] = sg_grad(g, v, v);
            break;
        case 1:
            out[0] = sg_grad(g, n, v);
            break;
        case 2:
        case 3:
            sg_gradients(g, s, NULL, 2, (sg_value *[]){v, i == 2 ? n : b}, out);
            break;
        case 4:
        case 5:
            sg_gradients(g, v, i == 4 ? three : narrow, 1, &v, out);
            break;
        case 6:
            out[0] = sg_grad(g, there, v);
            break;
        case 7:
            out[0] = sg_grad(g, s, there);
            break;
        case 8:
            sg_gradients(g, v, sg_broadcast(other, there, DIMS(2)), 1, &v, out);
            break;
        case 9:
            out[0] = sg_jvp(g, sg_square(g, v), v, three);
            break;
        case 10:
            out[0] = sg_jvp(g, n, v, v);
            break;
        default:
            out[0] = sg_jvp(g, s, there, there);
        }
        CHECK(out[0] != NULL);
        CHECK_BUILD_FAILS(g, want[i].status, want[i].words);
        CHECK(i >= 9 || sg_graph_size(g) == size);
        CHECK_OK(sg_graph_status(other, NULL), NULL);
        sg_graph_free(g);
        sg_graph_free(other);
    }
}

/* What an op's rule may get wrong is found where it is used. */
static sg_status cube_infer(sg_infer *s, sg_error *err)
{
    (void)err;
    sg_infer_like(s, 0);
    return SG_OK;
}

static void cube_grad(sg_graph *g, sg_value *y, sg_value *dy, sg_value **dx)
{
    dx[0] = sg_sum(g, sg_mul(g, dy, sg_mul_scalar(g, sg_square(g, y->in[0]), 3)), 0, false);
}

static void a_rule_that_gives_another_shape_is_named(void **state)
{
    (void)state;
    static const sg_op cube = {.name = "cube", .min_in = 1, .max_in = 1, .infer = cube_infer, .grad = cube_grad};
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F64, DIMS(2, 3)), *y = sg_node(g, &cube, 1, &x, NULL);
    sg_grad(g, sg_sum_all(g, y), x);
    CHECK_BUILD_FAILS(g, SG_ESHAPE, "gradient of cube: input 0 is [2,3], its gradient [3]");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_chain_rule),
        cmocka_unit_test(paths_add_up),
        cmocka_unit_test(a_value_used_often_is_walked_once),
        cmocka_unit_test(long_chains_do_not_recurse),
        cmocka_unit_test(an_op_of_many_inputs),
        cmocka_unit_test(gradients_by_several_values_at_once),
        cmocka_unit_test(a_broadcast_sums_back),
        cmocka_unit_test(gradients_have_symbolic_extents),
        cmocka_unit_test(without_dependence_the_gradient_is_zero),
        cmocka_unit_test(gradients_have_the_type_of_what_they_are_by),
        cmocka_unit_test(the_incoming_gradient_weighs),
        cmocka_unit_test(derivatives_of_any_order),
        cmocka_unit_test(mixed_derivatives_agree),
        cmocka_unit_test(composed_graphs_match_differences),
        cmocka_unit_test(jacobians_times_vectors),
        cmocka_unit_test(hessians_times_vectors),
        cmocka_unit_test(a_quadratic_form_has_a_constant_hessian),
        cmocka_unit_test(gradients_go_through_splices),
        cmocka_unit_test(gradients_can_be_spliced),
        cmocka_unit_test(gradients_tell_where_they_belong),
        cmocka_unit_test(wrong_gradients_are_refused),
        cmocka_unit_test(a_rule_that_gives_another_shape_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
