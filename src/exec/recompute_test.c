/* What is computed again for gradients gives the numbers it gave the first time, and memory is left over. */
#include <unistd.h>

#include "sightglass/model.h"
#include "sightglass/rng.h"
#include "sightglass/train.h"
#include "values.h"

enum { ROWS = 3, TIME = 17, MOST = 200 };

/* A transformer that is trained by Adam, one step a run. */
typedef struct trained {
    sg_model *m;
    sg_graph *g;
    sg_value *inputs[5], *params[MOST], *grads[MOST], *updates[MOST];
    int n_params;
    int32_t tokens[ROWS * TIME], positions[ROWS * TIME], step;
    uint8_t mask[ROWS * TIME];
    float lr;
    sg_feed feeds[5];
} trained;

static sg_model *model_of(const char *config)
{
    char path[] = "/tmp/sightglass-recompute-XXXXXX";
    sg_model *m;
    sg_error err;
    const int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, config, strlen(config)) == (ssize_t)strlen(config));
    close(fd);
    CHECK_OK(sg_model_new(&m, path, NULL, sg_model_defaults(), &err), &err);
    unlink(path);
    return m;
}

static void begin(trained *t, const char *config, bool edited)
{
    static const char *const names[3] = {"tokens", "positions", "key_mask"};
    sg_error err;

    memset(t, 0, sizeof *t);
    t->m = model_of(config);
    CHECK_OK(sg_model_graph(&t->g, t->m, 0, 0, &err), &err);
    sg_graph *g = t->g;
    for (int i = 0; i < 3; i++)
        t->inputs[i] = sg_graph_find(g, names[i]);
    t->inputs[3] = sg_input(g, "step", SG_I32, NO_DIMS);
    t->inputs[4] = sg_input(g, "lr", SG_F32, NO_DIMS);
    if (edited) { /* readers with lesser numbers than what they read, and noise that has to come out the same */
        sg_value *mid = sg_graph_find(g, "blocks.1.hook_resid_mid");
        sg_value *noise = sg_random_normal(g, SG_F32, 3, sg_value_dims(mid), (sg_random){.seed = 3}, t->inputs[3]);
        sg_replace(g, mid, sg_mul(g, mid, sg_add_scalar(g, sg_tanh(g, noise), 1.5)));
    }
    for (sg_model_weight w; (w = sg_model_get_weight(t->m, t->n_params)).name;)
        t->params[t->n_params++] = sg_graph_find(g, w.name);
    CHECK(t->n_params < MOST);
    sg_gradients(g, sg_graph_find(g, "loss"), NULL, t->n_params, t->params, t->grads);
    sg_adam_opts adam = sg_adam_defaults();
    adam.eps = 1e-3; /* else it makes whole steps of what is 0 but for rounding, as the gradient of keys' biases */
    sg_train_adam(g, sg_graph_find(g, "loss"), t->n_params, t->params, t->inputs[4], t->inputs[3], adam, t->updates);
    CHECK_OK(sg_graph_status(g, &err), &err);
    for (int i = 0; i < ROWS * TIME; i++) {
        t->tokens[i] = (i * 131 + 7) % 50;
        t->positions[i] = i % TIME;
        t->mask[i] = i / TIME != 1 || i % TIME < 13; /* one row is shorter */
    }
    t->step = 1;
    t->lr = 1e-2f;
    t->feeds[0] = (sg_feed){t->inputs[0], sg_tensor_of(SG_I32, DIMS(ROWS, TIME), t->tokens)};
    t->feeds[1] = (sg_feed){t->inputs[1], sg_tensor_of(SG_I32, DIMS(ROWS, TIME), t->positions)};
    t->feeds[2] = (sg_feed){t->inputs[2], sg_tensor_of(SG_BOOL, DIMS(ROWS, TIME), t->mask)};
    t->feeds[3] = (sg_feed){t->inputs[3], sg_tensor_of(SG_I32, NO_DIMS, &t->step)};
    t->feeds[4] = (sg_feed){t->inputs[4], sg_tensor_of(SG_F32, NO_DIMS, &t->lr)};
}

static void end(trained *t)
{
    sg_graph_free(t->g);
    sg_model_close(t->m);
}

/* One step from the first weights: what was fetched, copied out. Returns the number of steps of the plan. */
static int step(trained *t, sg_exec_opts opts, int n, sg_value *const *fetches, sg_tensor *out)
{
    sg_state *state;
    sg_session *s;
    sg_error err;

    CHECK_OK(sg_state_new(&state, t->g, &err), &err);
    CHECK_OK(sg_state_init(state, 4, &err), &err);
    CHECK_OK(sg_session_new(&s, t->g, state, opts, &err), &err);
    CHECK_OK(sg_session_run(s, 5, t->feeds, n, fetches, out, &err), &err);
    const int n_steps = sg_plan_n_steps(sg_session_plan(s));
    for (int i = 0; i < n; i++) {
        void *copy = malloc(sg_tensor_bytes(&out[i]) + 1);
        CHECK(copy);
        memcpy(copy, out[i].data, sg_tensor_bytes(&out[i]));
        out[i].data = copy;
    }
    sg_session_free(s);
    sg_state_free(state);
    return n_steps;
}

static void agree(const sg_tensor *a, const sg_tensor *b, double tolerance, const char *name, const char *keep)
{
    double size = 0;

    CHECK(sg_tensor_count(a) == sg_tensor_count(b));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++)
        if (fabs(sg_tensor_get(a, i)) < (double)INFINITY)
            size = fmax(size, fabs(sg_tensor_get(a, i)));
    for (sg_dim i = 0; i < sg_tensor_count(a); i++) {
        const double x = sg_tensor_get(a, i), y = sg_tensor_get(b, i);
        if (!(fabs(x - y) <= tolerance * (size + 1e-3)) && !(x == y)) {
            print_error("%s, number %lld, keeping %s: %.9g, %.9g with recomputation\n", name, (long long)i, keep, x, y);
            fail();
        }
    }
}

/* A name of the graph, parts of which may be anything: "blocks.*.hook_?_pre". */
static void random_pattern(const sg_graph *g, sg_rng *rng, char out[96])
{
    static const char *const some[] = {"*",        "blocks.*", "blocks.*.hook_resid_pre",
                                       "*.hook_*", "nothing",  "*.hook_resid_p*"};
    const uint32_t which = sg_rng_below(rng, 12);

    if (which < 6) {
        snprintf(out, 96, "%s", some[which]);
        return;
    }
    snprintf(out, 96, "%s", sg_value_name(sg_graph_named(g, (int)sg_rng_below(rng, (uint32_t)sg_graph_n_names(g)))));
    for (char *c = out; *c; c++)
        *c = *c >= '0' && *c <= '9' ? '?' : *c;
    const size_t length = strlen(out), at = sg_rng_below(rng, (uint32_t)length),
                 n = sg_rng_below(rng, (uint32_t)(length - at));
    if (n > 0 && sg_rng_below(rng, 2)) {
        out[at] = '*';
        memmove(out + at + 1, out + at + n, length - at - n + 1);
    }
}

static const char llama[] =
    "{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":4,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"intermediate_size\":80,\"vocab_size\":50,\"max_position_embeddings\":32,"
    "\"hidden_act\":\"silu\"}";
static const char gpt2[] = "{\"model_type\":\"gpt2\",\"n_embd\":40,\"n_layer\":3,\"n_head\":4,\"vocab_size\":50,"
                           "\"n_positions\":32}";

/* The loss, some gradients, weights after the step, and now and then values of the forward pass: the same bytes where
 * the same kernels compute them, within rounding where fused steps do, which differ with what else is read. */
static void whatever_is_kept_the_numbers_are_the_same(void **state)
{
    (void)state;
    sg_rng rng = sg_rng_new(17, 0);
    int computed_again = 0;

    for (int turn = 0; turn < 60; turn++) {
        trained t;
        char keep[96];
        sg_value *set[8];
        sg_tensor a[8], b[8];
        begin(&t, turn % 2 ? llama : gpt2, turn % 4 > 1);
        random_pattern(t.g, &rng, keep);
        const int n = 2 + (int)sg_rng_below(&rng, 7);
        set[0] = sg_graph_find(t.g, "loss");
        for (int i = 1; i < n; i++) {
            const uint32_t which = sg_rng_below(&rng, 5), p = sg_rng_below(&rng, (uint32_t)t.n_params);
            set[i] = which < 2 ? t.grads[p] : t.updates[p];
            for (int k = 1; k < i; k++)
                if (set[k] == set[i])
                    set[i] = set[0];
            if (which == 4)
                set[i] = sg_graph_named(t.g, (int)sg_rng_below(&rng, (uint32_t)sg_graph_n_names(t.g)));
        }
        for (int fuse = 0; fuse < 2; fuse++) {
            sg_exec_opts opts = sg_exec_defaults();
            opts.fuse = fuse;
            opts.n_threads = 1 + turn % 3;
            const int steps = step(&t, opts, n, set, a);
            opts.keep = keep;
            computed_again += step(&t, opts, n, set, b) > steps;
            for (int i = 0; i < n; i++) {
                agree(&a[i], &b[i], fuse ? 5e-5 : 0, sg_value_name(set[i]), keep);
                free(a[i].data);
                free(b[i].data);
            }
        }
        end(&t);
    }
    CHECK(computed_again > 60);
}

/* Gradients of gradients, with the weights' step on top. */
static void gradients_of_gradients_agree(void **state)
{
    (void)state;
    trained t;
    sg_tensor a, b;

    begin(&t, gpt2, false);
    sg_value *twice =
        sg_grad(t.g, sg_sum_all(t.g, sg_square(t.g, t.grads[3])), sg_graph_find(t.g, "blocks.1.hook_resid_pre"));
    sg_exec_opts opts = sg_exec_defaults();
    opts.fuse = false;
    const int steps = step(&t, opts, 1, &twice, &a);
    opts.keep = "blocks.*.hook_resid_pre";
    CHECK(step(&t, opts, 1, &twice, &b) > steps);
    agree(&a, &b, 0, "the gradient of a gradient", opts.keep);
    free(a.data);
    free(b.data);
    end(&t);
}

/* Variables that the forward pass itself changes: a running mean that is read before and after. */
static void what_state_takes_part_in_is_kept(void **state)
{
    (void)state;
    enum { N = 5, D = 4 };
    float x[N * D], got[2][3][D], means[2][D];

    for (int i = 0; i < N * D; i++)
        x[i] = (float)((i * 37 + 11) % 29) / 29;
    for (int turn = 0; turn < 2; turn++) {
        sg_graph *g = sg_graph_new();
        sg_state *s;
        sg_session *session;
        sg_error err;
        sg_tensor out[3];
        sg_value *in = sg_input(g, "x", SG_F32, DIMS(N, D));
        sg_value *w = sg_variable(g, "w", SG_F32, DIMS(D, D), sg_init_normal(0.5));
        sg_value *mean = sg_variable(g, "mean", SG_F32, DIMS(D), sg_init_constant(0.25));
        sg_value *h = sg_tanh(g, sg_sub(g, sg_matmul(g, in, w, false, false), sg_exp(g, mean)));
        sg_value *now = sg_assign(g, mean, sg_add(g, sg_mul_scalar(g, mean, 0.9), sg_mean(g, h, 0, false)));
        h = sg_name(g, sg_tanh(g, sg_matmul(g, sg_mul(g, h, sg_exp(g, now)), w, false, false)), "second", "bd");
        sg_value *y = sg_sum_all(g, sg_square(g, sg_matmul(g, h, w, false, false)));
        sg_value *fetches[3] = {sg_grad(g, y, w), sg_grad(g, y, in), now};
        CHECK_OK(sg_state_new(&s, g, &err), &err);
        CHECK_OK(sg_state_init(s, 9, &err), &err);
        sg_exec_opts opts = sg_exec_defaults();
        opts.fuse = false;
        opts.keep = turn ? "second" : NULL;
        CHECK_OK(sg_session_new(&session, g, s, opts, &err), &err);
        for (int run = 0; run < 3; run++)
            CHECK_OK(
                sg_session_run(session, 1, &(sg_feed){in, sg_tensor_of(SG_F32, DIMS(N, D), x)}, 3, fetches, out, &err),
                &err);
        for (int i = 0; i < 3; i++)
            memcpy(got[turn][i], out[i].data, sizeof got[turn][i]);
        memcpy(means[turn], sg_state_tensor(s, mean)->data, sizeof means[turn]);
        sg_session_free(session);
        sg_state_free(s);
        sg_graph_free(g);
    }
    assert_memory_equal(got[0], got[1], sizeof got[0]);
    assert_memory_equal(means[0], means[1], sizeof means[0]);
}

/* Twelve layers, of which the residual stream is kept. */
static void a_deep_model_takes_less_than_half_the_memory(void **state)
{
    (void)state;
    static const char deep[] = "{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":12,\"n_head\":4,\"vocab_size\":50,"
                               "\"n_positions\":64}";
    const sg_extent_value extents[2] = {{"batch", 16, false}, {"time", 48, false}};
    trained t;
    sg_error err;
    int n_steps[2], forward;
    size_t bytes[2];

    begin(&t, deep, false);
    sg_value *loss = sg_graph_find(t.g, "loss");
    for (int fuse = 0; fuse < 2; fuse++) {
        sg_exec_opts opts = sg_exec_defaults();
        sg_plan *plan;
        opts.fuse = fuse;
        CHECK_OK(sg_plan_new(&plan, t.g, 5, t.inputs, 1, &loss, 2, extents, opts, &err), &err);
        forward = sg_plan_n_steps(plan);
        sg_plan_free(plan);
        for (int k = 0; k < 2; k++) {
            opts.keep = k ? "blocks.*.hook_resid_pre" : NULL;
            CHECK_OK(sg_plan_new(&plan, t.g, 5, t.inputs, t.n_params, t.updates, 2, extents, opts, &err), &err);
            n_steps[k] = sg_plan_n_steps(plan);
            bytes[k] = sg_plan_bytes(plan);
            sg_plan_free(plan);
        }
        print_message("%s: %.1f MB in %d steps, recomputing %.1f MB in %d; forward %d\n", fuse ? "fused" : "each alone",
                      (double)bytes[0] / 1e6, n_steps[0], (double)bytes[1] / 1e6, n_steps[1], forward);
        CHECK(2 * bytes[1] < bytes[0]);
        CHECK(n_steps[1] > n_steps[0] + forward / 2);
        CHECK(n_steps[1] < n_steps[0] + forward * 5 / 4);
    }
    end(&t);
}

/* A pattern that fits nothing changes nothing; neither does one in a plan without gradients. */
static void without_gradients_nothing_changes(void **state)
{
    (void)state;
    trained t;
    sg_tensor a[1], b[1];
    sg_exec_opts opts = sg_exec_defaults();

    begin(&t, llama, false);
    sg_value *loss = sg_graph_find(t.g, "loss");
    const int steps = step(&t, opts, 1, &loss, a);
    opts.keep = "blocks.*.hook_resid_pre";
    CHECK(step(&t, opts, 1, &loss, b) == steps);
    agree(a, b, 0, "loss", opts.keep);
    free(a[0].data);
    free(b[0].data);
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_kept_the_numbers_are_the_same),
        cmocka_unit_test(gradients_of_gradients_agree),
        cmocka_unit_test(what_state_takes_part_in_is_kept),
        cmocka_unit_test(a_deep_model_takes_less_than_half_the_memory),
        cmocka_unit_test(without_gradients_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
