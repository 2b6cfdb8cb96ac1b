/* Two small trainings and two gradients whose numbers the public TensorFlow.js gives (version 4.22.0, CPU): Dense(3,
 * tanh) and Dense(1) under a mean squared error, batches of two in order, five epochs. web/test/engine/ asks the page's
 * engine the same. */
#include "check.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

enum { N_PARAMS = 4, N_EPOCHS = 5, N_MOST = 20 };

typedef struct net {
    sg_graph *g;
    sg_value *x, *y, *loss, *params[N_PARAMS], *updates[N_MOST];
    int n_updates;
} net;

static net dense(void)
{
    net m = {.g = sg_graph_new()};
    const sg_dim batch = sg_extent(m.g, "batch");
    static const struct {
        const char *name;
        int n_dims;
        sg_dim dims[2];
    } of[N_PARAMS] = {{"w1", 2, {2, 3}}, {"b1", 1, {3}}, {"w2", 2, {3, 1}}, {"b2", 1, {1}}};

    m.x = sg_input(m.g, "x", SG_F32, 2, (sg_dim[]){batch, 2});
    m.y = sg_input(m.g, "y", SG_F32, 2, (sg_dim[]){batch, 1});
    for (int i = 0; i < N_PARAMS; i++)
        m.params[i] = sg_variable(m.g, of[i].name, SG_F32, of[i].n_dims, of[i].dims, sg_init_constant(0));
    sg_value *h = sg_tanh(m.g, sg_add(m.g, sg_matmul(m.g, m.x, m.params[0], false, false), m.params[1]));
    sg_value *out = sg_add(m.g, sg_matmul(m.g, h, m.params[2], false, false), m.params[3]);
    m.loss = sg_mean_all(m.g, sg_square(m.g, sg_sub(m.g, out, m.y)));
    return m;
}

static void sgd(net *m, sg_value **grads)
{
    for (int i = 0; i < N_PARAMS; i++)
        m->updates[m->n_updates++] = sg_sgd(m->g, m->params[i], grads[i], sg_scalar(m->g, SG_F32, 0.1));
}

/* The library multiplies powers of the betas, as f32, once a step; 1 - 0.999 in f32 is off by 1e-5 of itself. */
static void adam(net *m, sg_value **grads)
{
    static const double betas[2] = {0.9, 0.999};
    sg_graph *g = m->g;
    sg_value *powers[2], *moments[2];

    for (int k = 0; k < 2; k++)
        powers[k] = sg_variable(g, k ? "power2" : "power1", SG_F32, 0, NULL, sg_init_constant(betas[k]));
    for (int i = 0; i < N_PARAMS; i++) {
        sg_value *p = m->params[i];
        for (int k = 0; k < 2; k++) {
            char name[16];
            snprintf(name, sizeof name, "%c.%d", "mv"[k], i);
            sg_value *v = sg_variable(g, name, SG_F32, sg_value_n_dims(p), sg_value_dims(p), sg_init_constant(0));
            sg_value *given = k ? sg_square(g, grads[i]) : grads[i];
            v = sg_assign(g, v, sg_add(g, sg_mul_scalar(g, v, betas[k]), sg_mul_scalar(g, given, 1 - betas[k])));
            m->updates[m->n_updates++] = v;
            moments[k] = sg_div(g, v, sg_sub(g, sg_scalar(g, SG_F32, 1), powers[k]));
        }
        sg_value *by = sg_div(g, moments[0], sg_add_scalar(g, sg_sqrt(g, moments[1]), 1e-7));
        m->updates[m->n_updates++] = sg_assign(g, p, sg_sub(g, p, sg_mul_scalar(g, by, 0.01)));
    }
    for (int k = 0; k < 2; k++)
        m->updates[m->n_updates++] = sg_assign(g, powers[k], sg_mul_scalar(g, powers[k], betas[k]));
}

static void losses_of(void (*rule)(net *, sg_value **), const char *backend, const double *wanted)
{
    static float xs[8] = {1, 2, 3, -1, -2, 0.5f, 0.3f, 0.7f}, ys[4] = {1, 0, -1, 0.5f};
    static const float start[N_PARAMS][6] = {
        {0.1f, -0.2f, 0.3f, 0.4f, 0.5f, -0.6f}, {0, 0.1f, -0.1f}, {0.7f, -0.8f, 0.9f}, {0.05f}};
    net m = dense();
    sg_value *grads[N_PARAMS], *fetches[N_MOST + 1];
    sg_state *state;
    sg_session *session;
    sg_exec_opts opts = sg_exec_defaults();
    sg_error err;

    sg_gradients(m.g, m.loss, NULL, N_PARAMS, m.params, grads);
    rule(&m, grads);
    CHECK_OK(sg_exec_use(&opts, backend, &err), &err);
    CHECK_OK(sg_state_new(&state, m.g, &err), &err);
    CHECK_OK(sg_state_init(state, 0, &err), &err);
    for (int i = 0; i < N_PARAMS; i++) {
        sg_tensor *t = sg_state_tensor(state, m.params[i]);
        memcpy(t->data, start[i], sg_tensor_bytes(t));
    }
    CHECK_OK(sg_session_new(&session, m.g, state, opts, &err), &err);
    fetches[0] = m.loss;
    memcpy(fetches + 1, m.updates, (size_t)m.n_updates * sizeof *fetches);
    for (int epoch = 0; epoch < N_EPOCHS; epoch++) {
        double mean = 0;
        for (int b = 0; b < 2; b++) {
            const sg_feed feeds[2] = {{m.x, sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 2}, xs + 4 * b)},
                                      {m.y, sg_tensor_of(SG_F32, 2, (sg_dim[]){2, 1}, ys + 2 * b)}};
            sg_tensor got[N_MOST + 1];
            CHECK_OK(sg_session_run(session, 2, feeds, m.n_updates + 1, fetches, got, &err), &err);
            mean += sg_tensor_get(&got[0], 0) / 2;
        }
        CHECK_NEAR(mean, wanted[epoch], 1e-6, 0);
    }
    sg_session_free(session);
    sg_state_free(state);
    sg_graph_free(m.g);
}

static void gradient_descent_has_the_losses_of_the_public_library(void **state)
{
    (void)state;
    static const double wanted[N_EPOCHS] = {1.41431892, 0.46796209, 0.23769750, 0.12335775, 0.06752865};
    losses_of(sgd, "reference", wanted);
    losses_of(sgd, "cpu", wanted);
}

static void adam_has_the_losses_of_the_public_library(void **state)
{
    (void)state;
    static const double wanted[N_EPOCHS] = {1.39743197, 1.22489083, 1.08004868, 0.95351052, 0.84327912};
    losses_of(adam, "reference", wanted);
    losses_of(adam, "cpu", wanted);
}

static void gradients_are_those_of_the_public_library(void **state)
{
    (void)state;
    float x[2] = {1, 2}, y[2] = {3, 4}, z[3] = {1, 2, 3};
    sg_graph *g = sg_graph_new();
    sg_value *vx = sg_input(g, "x", SG_F32, 1, (sg_dim[]){2}), *vy = sg_input(g, "y", SG_F32, 1, (sg_dim[]){2});
    sg_value *vz = sg_input(g, "z", SG_F32, 1, (sg_dim[]){3});
    sg_value *product = sg_sum_all(g, sg_mul(g, vx, vy)), *square = sg_sum_all(g, sg_square(g, vz));
    sg_value *fetches[4] = {sg_grad(g, product, vx), sg_grad(g, product, vy), square, sg_grad(g, square, vz)};
    const sg_feed feeds[3] = {{vx, sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, x)},
                              {vy, sg_tensor_of(SG_F32, 1, (sg_dim[]){2}, y)},
                              {vz, sg_tensor_of(SG_F32, 1, (sg_dim[]){3}, z)}};
    sg_session *session;
    sg_tensor got[4];
    sg_error err;

    CHECK_OK(sg_session_new(&session, g, NULL, sg_exec_defaults(), &err), &err);
    CHECK_OK(sg_session_run(session, 3, feeds, 4, fetches, got, &err), &err);
    for (int i = 0; i < 2; i++) {
        CHECK(sg_tensor_get(&got[0], i) == (double)y[i]);
        CHECK(sg_tensor_get(&got[1], i) == (double)x[i]);
    }
    CHECK(sg_tensor_get(&got[2], 0) == 14);
    for (int i = 0; i < 3; i++)
        CHECK(sg_tensor_get(&got[3], i) == 2 * (double)z[i]);
    sg_session_free(session);
    sg_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_descent_has_the_losses_of_the_public_library),
        cmocka_unit_test(adam_has_the_losses_of_the_public_library),
        cmocka_unit_test(gradients_are_those_of_the_public_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
