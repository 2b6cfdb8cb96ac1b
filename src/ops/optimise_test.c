/* Optimiser steps against the update rules written out in double. */
#include "values.h"

enum { N = 21, N_STEPS = 3 };
enum { SGD, MOMENTUM, RMSPROP, ADAM, ADAMW, N_RULES };

static const double lr = 0.1, mu = 0.9, rho = 0.95, eps = 1e-3, decay = 0.01;

/* Each loss is half of sum(a w^2), so the gradient is a w. */
static double slope(int i)
{
    return 0.5 + 0.25 * (i - 4);
}

static double start(int i)
{
    return 1 - 0.125 * i;
}

static void by_hand(int rule, double w[N], double m[N], double v[N])
{
    const sg_adam_opts o = sg_adam_defaults();

    for (int i = 0; i < N; i++) {
        w[i] = start(i);
        m[i] = v[i] = 0;
        for (int t = 1; t <= N_STEPS; t++) {
            const double g = slope(i) * w[i];
            switch (rule) {
            case SGD:
                w[i] -= lr * g;
                break;
            case MOMENTUM:
                m[i] = mu * m[i] + g;
                w[i] -= lr * m[i];
                break;
            case RMSPROP:
                m[i] = rho * m[i] + (1 - rho) * g * g;
                w[i] -= lr * g / (sqrt(m[i]) + eps);
                break;
            default:
                m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
                v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
                w[i] -= lr * (m[i] / (1 - pow(o.beta1, t)) / (sqrt(v[i] / (1 - pow(o.beta2, t))) + o.eps) +
                              (rule == ADAMW ? decay * w[i] : 0));
            }
        }
    }
}

typedef struct fixture {
    sg_graph *g;
    sg_value *w, *m, *v, *step, *after;
    sg_state *state;
    sg_session *session;
} fixture;

static fixture build(int rule, sg_dtype type, int n_dims, const sg_dim *dims, int n_threads)
{
    fixture f = {.g = sg_graph_new()};
    sg_graph *g = f.g;
    sg_error err;
    sg_adam_opts opts = sg_adam_defaults();

    f.w = sg_variable(g, "w", type, n_dims, dims, sg_init_constant(0));
    f.m = sg_variable(g, "m", type, n_dims, dims, sg_init_constant(0));
    f.v = sg_variable(g, "v", type, n_dims, dims, sg_init_constant(0));
    f.step = sg_input(g, "step", type, NO_DIMS);
    sg_value *a = sg_add_scalar(g, sg_mul_scalar(g, sg_iota(g, type, n_dims ? dims[0] : 1), 0.25), 0.5 - 4 * 0.25);
    sg_value *grad = sg_mul(g, n_dims ? a : sg_squeeze(g, a, 0), f.w), *rate = sg_scalar(g, type, lr);
    opts.weight_decay = rule == ADAMW ? decay : 0;
    f.after = rule == SGD        ? sg_sgd(g, f.w, grad, rate)
              : rule == MOMENTUM ? sg_momentum(g, f.w, f.m, grad, rate, mu)
              : rule == RMSPROP  ? sg_rmsprop(g, f.w, f.m, grad, rate, rho, eps)
                                 : sg_adam(g, f.w, f.m, f.v, grad, rate, f.step, opts);
    CHECK_OK(sg_graph_status(g, &err), &err);
    CHECK_OK(sg_state_new(&f.state, g, &err), &err);
    CHECK_OK(sg_state_init(f.state, 1, &err), &err);
    CHECK_OK(sg_session_new(&f.session, g, f.state, values_opts(n_threads), &err), &err);
    return f;
}

static sg_status run(fixture *f, double t, sg_error *err)
{
    double room;
    sg_feed feed = {f->step, sg_tensor_of(sg_value_dtype(f->step), NO_DIMS, &room)};
    sg_tensor out;

    sg_tensor_set(&feed.tensor, 0, t);
    SG_TRY(sg_session_run(f->session, 1, &feed, 1, &f->after, &out, err));
    /* What is fetched is the parameter after the step. */
    CHECK(memcmp(out.data, sg_state_tensor(f->state, f->w)->data, sg_tensor_bytes(&out)) == 0);
    return SG_OK;
}

static void discard(fixture *f)
{
    sg_session_free(f->session);
    sg_state_free(f->state);
    sg_graph_free(f->g);
}

static void three_steps_by_hand(void **state)
{
    (void)state;
    for (int rule = 0; rule < N_RULES; rule++)
        for (int t = 0; t < 2; t++) {
            fixture f = build(rule, t ? SG_F64 : SG_F32, DIMS(N), 1);
            double w[N], m[N], v[N];
            const double tol = t ? 1e-13 : 3e-6; /* f32: rounding of w, magnified where m / sqrt(v) is near 0 / 0 */
            sg_error err;
            by_hand(rule, w, m, v);
            for (int i = 0; i < N; i++)
                sg_tensor_set(sg_state_tensor(f.state, f.w), i, start(i));
            for (int step = 1; step <= N_STEPS; step++)
                CHECK_OK(run(&f, step, &err), &err);
            for (int i = 0; i < N; i++) {
                CHECK_NEAR(sg_tensor_get(sg_state_tensor(f.state, f.w), i), w[i], tol, tol);
                CHECK_NEAR(sg_tensor_get(sg_state_tensor(f.state, f.m), i), m[i], tol, tol);
                CHECK_NEAR(sg_tensor_get(sg_state_tensor(f.state, f.v), i), v[i], tol * 1e-3, tol);
            }
            discard(&f);
        }
}

/* The first step of Adam is lr * sign(gradient), whatever its size. */
static void adams_first_step_has_the_size_of_the_rate(void **state)
{
    (void)state;
    fixture f = build(ADAM, SG_F32, NO_DIMS, 1);
    sg_error err;
    sg_tensor_set(sg_state_tensor(f.state, f.w), 0, 1000);
    CHECK_OK(run(&f, 1, &err), &err);
    CHECK_NEAR(sg_tensor_get(sg_state_tensor(f.state, f.w), 0), 1000 + lr, 1e-4, 0); /* slope(0) is negative */
    discard(&f);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    for (int rule = 0; rule < N_RULES; rule++) {
        fixture f[2];
        sg_error err;
        for (int r = 0; r < 2; r++) {
            f[r] = build(rule, SG_F32, DIMS(30000), r ? 4 : 1);
            sg_tensor *w = sg_state_tensor(f[r].state, f[r].w);
            for (int i = 0; i < 30000; i++)
                sg_tensor_set(w, i, sin(i));
            for (int step = 1; step <= N_STEPS; step++)
                CHECK_OK(run(&f[r], step, &err), &err);
        }
        const sg_tensor *a = sg_state_tensor(f[0].state, f[0].w), *b = sg_state_tensor(f[1].state, f[1].w);
        CHECK(memcmp(a->data, b->data, sg_tensor_bytes(a)) == 0);
        discard(&f[0]);
        discard(&f[1]);
    }
}

static void wrong_use_is_named(void **state)
{
    (void)state;
    fixture f = build(ADAM, SG_F32, DIMS(N), 1);
    sg_error err;
    CHECK(run(&f, 0, &err) == SG_EARG);
    CHECK_TEXT(err.text, "adam: step 0, steps count from 1");
    sg_sgd(f.g, f.w, sg_zeros_like(f.g, f.step), sg_scalar(f.g, SG_F32, 1));
    CHECK_BUILD_FAILS(f.g, SG_ESHAPE, "sgd: input 1 has another shape than the parameter");
    discard(&f);

    f = build(ADAM, SG_F32, DIMS(N), 1);
    sg_sgd(f.g, f.w, f.w, f.w);
    CHECK_BUILD_FAILS(f.g, SG_ESHAPE, "sgd: input 2 is not a scalar");
    discard(&f);

    f = build(ADAM, SG_F32, DIMS(N), 1);
    sg_sgd(f.g, f.w, f.w, sg_scalar(f.g, SG_F64, 1));
    CHECK_BUILD_FAILS(f.g, SG_ETYPE, "sgd: input 2 is of another type than the parameter");
    discard(&f);

    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, DIMS(2));
    sg_sgd(g, x, x, sg_scalar(g, SG_F32, 1));
    CHECK_BUILD_FAILS(g, SG_EARG, "sgd: x is no variable");
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_steps_by_hand),
        cmocka_unit_test(adams_first_step_has_the_size_of_the_rate),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
