/* sweep_engine: what the reference kernels take on one thread, for bench/engine.mjs to set beside the same graphs in
 * WebAssembly. Each line: name, seconds (the least of many runs), what one run counts as. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "sightglass/image.h"
#include "sightglass/ops.h"
#include "sightglass/run.h"

static double least(sg_session *s, int n_feeds, const sg_feed *feeds, int n_fetches, sg_value *const *fetches)
{
    double best = 1e9;
    const double began = sg_now();
    sg_tensor got[32];

    for (int run = 0; run < 5 || (sg_now() - began < 0.4 && run < 20000); run++) {
        const double start = sg_now();
        if (sg_session_run(s, n_feeds, feeds, n_fetches, fetches, got, NULL) != SG_OK)
            return -1;
        best = SG_MIN(best, sg_now() - start);
    }
    return best;
}

static sg_session *session(sg_graph *g)
{
    sg_state *state = NULL;
    sg_session *s = NULL;
    sg_error err;
    sg_exec_opts opts = sg_exec_defaults();

    opts.n_backends = 0;
    opts.n_threads = 1;
    opts.fuse = false;
    if (sg_state_new(&state, g, &err) != SG_OK || sg_state_init(state, 1, &err) != SG_OK ||
        sg_session_new(&s, g, state, opts, &err) != SG_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return s;
}

static void *numbers(sg_dim n, sg_dtype dtype)
{
    sg_tensor t = sg_tensor_of(dtype, 1, &n, calloc((size_t)n, 8));
    SG_ASSERT(t.data);
    for (sg_dim i = 0; i < n; i++)
        sg_tensor_set(&t, i, -2 + (double)(i * 7919 % 4001) / 1000);
    return t.data;
}

static void tell(const char *name, double seconds, double amount, const char *unit)
{
    printf("%s\t%.9f\t%g\t%s\n", name, seconds, amount, unit);
}

static void product(sg_dtype dtype, sg_dim m, sg_dim k, sg_dim n)
{
    char name[64];
    sg_graph *g = sg_graph_new();
    sg_value *a = sg_input(g, "a", dtype, 2, (sg_dim[]){m, k}), *b = sg_input(g, "b", dtype, 2, (sg_dim[]){k, n});
    sg_value *y = sg_matmul(g, a, b, false, false);
    const sg_feed feeds[2] = {{a, sg_tensor_of(dtype, 2, (sg_dim[]){m, k}, numbers(m * k, dtype))},
                              {b, sg_tensor_of(dtype, 2, (sg_dim[]){k, n}, numbers(k * n, dtype))}};
    snprintf(name, sizeof name, "matmul %s %dx%dx%d", sg_dtype_name(dtype), (int)m, (int)k, (int)n);
    tell(name, least(session(g), 2, feeds, 1, &y), 2.0 * (double)(m * k * n), "FLOP");
}

static void of_one(const char *name, sg_value *(*build)(sg_graph *, sg_value *), sg_dtype dtype)
{
    char label[64];
    const sg_dim n = 100000;
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", dtype, 1, &n), *y = build(g, x);
    const sg_feed feed = {x, sg_tensor_of(dtype, 1, &n, numbers(n, dtype))};
    snprintf(label, sizeof label, "%s %s", name, sg_dtype_name(dtype));
    tell(label, least(session(g), 1, &feed, 1, &y), (double)n, "elements");
}

static void image(void)
{
    sg_graph *g = sg_graph_new();
    sg_value *x = sg_input(g, "x", SG_F32, 4, (sg_dim[]){8, 16, 32, 32});
    sg_value *w = sg_variable(g, "w", SG_F32, 4, (sg_dim[]){16, 16, 3, 3}, sg_init_normal(0.1));
    sg_value *y = sg_conv2d(g, x, w, NULL, sg_conv2d_strided(1, 1));
    const sg_feed feed = {x, sg_tensor_of(SG_F32, 4, (sg_dim[]){8, 16, 32, 32}, numbers(8 * 16 * 1024, SG_F32))};
    tell("conv2d 3x3 16 of 16, 8x32x32", least(session(g), 1, &feed, 1, &y), 2.0 * 8 * 1024 * 16 * 16 * 9, "FLOP");
}

/* A step of Adam on a net of tanh with two hidden layers. */
static void mlp(sg_dim batch, sg_dim width, sg_dim second)
{
    char name[64];
    sg_graph *g = sg_graph_new();
    const sg_dim sizes[4] = {2, width, second, 1};
    sg_value *x = sg_input(g, "x", SG_F32, 2, (sg_dim[]){batch, 2}),
             *y = sg_input(g, "y", SG_F32, 2, (sg_dim[]){batch, 1});
    sg_value *params[6], *updates[7], *h = x;
    for (int l = 0; l < 3; l++) {
        char w[8], b[8];
        snprintf(w, sizeof w, "w%d", l);
        snprintf(b, sizeof b, "b%d", l);
        params[2 * l] = sg_variable(g, w, SG_F32, 2, (sg_dim[]){sizes[l + 1], sizes[l]}, sg_init_normal(0.5));
        params[2 * l + 1] = sg_variable(g, b, SG_F32, 1, &sizes[l + 1], sg_init_constant(0.1));
        h = sg_tanh(g, sg_linear(g, h, params[2 * l], params[2 * l + 1]));
    }
    sg_value *loss = sg_mean_all(g, sg_square(g, sg_sub(g, h, y))), *grads[6];
    sg_value *count = sg_variable(g, "step", SG_F32, 0, NULL, sg_init_constant(0));
    sg_value *step = sg_assign(g, count, sg_add_scalar(g, count, 1));
    sg_gradients(g, loss, NULL, 6, params, grads);
    for (int i = 0; i < 6; i++) {
        char m[8], v[8];
        snprintf(m, sizeof m, "m%d", i);
        snprintf(v, sizeof v, "v%d", i);
        const sg_value *p = params[i];
        sg_value *first = sg_variable(g, m, SG_F32, sg_value_n_dims(p), sg_value_dims(p), sg_init_constant(0));
        sg_value *other = sg_variable(g, v, SG_F32, sg_value_n_dims(p), sg_value_dims(p), sg_init_constant(0));
        updates[i] =
            sg_adam(g, params[i], first, other, grads[i], sg_scalar(g, SG_F32, 0.001), step, sg_adam_defaults());
    }
    updates[6] = loss;
    const sg_feed feeds[2] = {{x, sg_tensor_of(SG_F32, 2, (sg_dim[]){batch, 2}, numbers(2 * batch, SG_F32))},
                              {y, sg_tensor_of(SG_F32, 2, (sg_dim[]){batch, 1}, numbers(batch, SG_F32))}};
    snprintf(name, sizeof name, "train 2-%d-%d-1 batch %d", (int)width, (int)second, (int)batch);
    tell(name, least(session(g), 2, feeds, 7, updates), 1, "steps");
}

int main(void)
{
    product(SG_F32, 256, 256, 256);
    product(SG_F32, 64, 64, 64);
    product(SG_F32, 1, 512, 512);
    product(SG_F64, 256, 256, 256);
    image();
    of_one("tanh", sg_tanh, SG_F32);
    of_one("tanh", sg_tanh, SG_F64);
    of_one("exp", sg_exp, SG_F32);
    of_one("square", sg_square, SG_F32);
    of_one("erf", sg_erf, SG_F32);
    mlp(10, 4, 2);
    mlp(64, 64, 64);
    mlp(256, 256, 256);
    return 0;
}
